"""Tokens of Jupyter servers, kept by the operating system's keyring, or encrypted in a file where there is none.

`tokens.json` in the user's configuration folder says which servers have one, so that nothing else is asked about
servers that have none. Without a keyring the tokens stand in it encrypted, and the key in `tokens.key` beside it, which
only its owner can read: that protects copies and backups of the one file, and nobody who can read both.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import platformdirs
from pydantic import SecretStr

from langchain_jupyter.errors import MissingExtra, SettingsError
from langchain_jupyter.settings import ServerSettings

_SERVICE = "langchain-jupyter"
_OTHERS = 0o077


class Keyring(Protocol):
    """What we need of a backend of `keyring`."""

    def get_password(self, service: str, username: str) -> str | None: ...
    def set_password(self, service: str, username: str, password: str) -> None: ...
    def delete_password(self, service: str, username: str) -> None: ...


class TokenStore:
    """The tokens of this user.

    Args:
        folder: Where `tokens.json` and `tokens.key` are; the user's configuration folder if left out.
        keyring: Where new tokens go; None for the file.
    """

    def __init__(self, folder: Path | None = None, *, keyring: Keyring | None = None) -> None:
        folder = folder or Path(platformdirs.user_config_dir("langchain-jupyter"))
        self._file = folder / "tokens.json"
        self._key = folder / "tokens.key"
        self._keyring = keyring

    def servers(self) -> dict[str, str]:
        """Servers that have a token, each with where it is kept: "keyring" or "file"."""
        return {server: str(entry["kept"]) for server, entry in sorted(self._read().items())}

    def get(self, server: str) -> SecretStr | None:
        """The token of a server; None if it has none here.

        Raises:
            SettingsError: It has one that cannot be read: the key is lost, damaged, or open to others.
            MissingExtra: What it was kept with is not installed.
        """
        url = _url(server)
        entry = self._read().get(url)
        if entry is None:
            return None
        if entry["kept"] == "file":
            return SecretStr(self._decrypted(url, str(entry["token"])))
        token = _asked(self._keyring or _system_keyring(), url)
        if token is None:
            raise SettingsError(f"The keyring has no token of {url} any more. {_AGAIN.format(url)}")
        return SecretStr(token)

    def set(self, server: str, token: str) -> str:
        """Keep a token, in place of the one that the server had.

        Returns:
            Where it is kept now: "keyring" or "file".

        Raises:
            SettingsError: It is empty, or the files cannot be written or are open to others.
            MissingExtra: Nothing is installed to keep it with.
        """
        if not token.strip():
            raise SettingsError("The token is empty; nothing was kept.")
        url = _url(server)
        with self._alone():
            entries = self._read()
            if self._keyring is not None:
                self._keyring.set_password(_SERVICE, url, token.strip())
                entries[url] = {"kept": "keyring"}
            else:
                entries[url] = {"kept": "file", "token": self._encrypted(token.strip(), entries)}
            self._write(entries)
        return str(entries[url]["kept"])

    def remove(self, server: str) -> bool:
        """Forget the token of a server, also one that cannot be read; returns whether there was one."""
        url = _url(server)
        if url not in self._read():
            return False
        with self._alone():
            entries = self._read()
            if (entry := entries.pop(url, None)) is None:
                return False
            if entry["kept"] == "keyring":
                backend = self._keyring or _system_keyring()
                if _asked(backend, url) is not None:
                    backend.delete_password(_SERVICE, url)
            self._write(entries)
            if not any(each["kept"] == "file" for each in entries.values()):
                self._key.unlink(missing_ok=True)
        return True

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise SettingsError(f"{self._file} cannot be read: {error}. Mend it, or delete it to begin anew.") from None
        if not isinstance(found, dict) or not all(_is_entry(entry) for entry in found.values()):
            raise SettingsError(f"{self._file} is not a file of tokens. Delete it to begin anew.")
        return found

    def _write(self, entries: Mapping[str, Any]) -> None:
        self._put(self._file, json.dumps(entries, indent=1).encode())

    def _put(self, path: Path, content: bytes) -> None:
        """A file as a whole or not at all, readable by its owner only."""
        try:
            handle, half = tempfile.mkstemp(dir=path.parent, prefix=".tokens-")  # with mode 0600
            with open(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(handle)  # a renamed file may be empty after the machine's death, and a key is not made again
            os.replace(half, path)
        except OSError as error:
            raise SettingsError(f"{path} cannot be written: {error}. The token was not kept.") from error

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time changes the files: two that came together would each make a key, and one would go.

        Raises:
            SettingsError: There is no folder for them.
        """
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            guard = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingsError(f"{self._file.parent} cannot be written: {error}. Nothing was changed.") from error
        try:
            with contextlib.suppress(OSError):  # a file system that knows no locks
                fcntl.flock(guard, fcntl.LOCK_EX)
            yield
        finally:
            os.close(guard)

    def _encrypted(self, token: str, entries: Mapping[str, Any]) -> str:
        fernet, _ = _fernet()
        if not self._key.exists():
            if lost := [url for url, entry in entries.items() if entry["kept"] == "file"]:
                raise self._lost(lost[0])
            self._put(self._key, fernet.generate_key())
        return str(self._cipher(fernet, "each server").encrypt(token.encode()).decode())

    def _decrypted(self, url: str, token: str) -> str:
        fernet, invalid = _fernet()
        cipher = self._cipher(fernet, url)
        try:
            return str(cipher.decrypt(token.encode()).decode())
        except (invalid, ValueError) as error:
            raise self._damaged(url) from error

    def _cipher(self, fernet: Any, url: str) -> Any:
        key = self._read_key(url)
        try:
            return fernet(key)
        except ValueError as error:
            raise self._damaged(url) from error

    def _read_key(self, url: str) -> bytes:
        try:
            status = self._key.stat()
            key = self._key.read_bytes()
        except FileNotFoundError:
            raise self._lost(url) from None
        except OSError as error:
            raise SettingsError(f"{self._key} cannot be read: {error}.") from error
        if sys.platform != "win32" and status.st_mode & _OTHERS:
            raise SettingsError(
                f"{self._key} has mode {status.st_mode & 0o777:04o}: others can read it, and with it your tokens. "
                f"Run: chmod 600 {self._key}"
            )
        return key

    def _damaged(self, url: str) -> SettingsError:
        return SettingsError(
            f"The token of {url} cannot be decrypted: {self._key} is damaged, or not the key that it was kept with. "
            "Remove the tokens with `langchain-jupyter token remove SERVER`, and keep them again."
        )

    def _lost(self, url: str) -> SettingsError:
        return SettingsError(
            f"The key of your tokens, {self._key}, is gone, and they cannot be decrypted without it. Remove each with "
            f"`langchain-jupyter token remove SERVER`, then keep it again, such as {url}."
        )


_AGAIN = "Keep it again: langchain-jupyter token set {}"


def open_tokens() -> TokenStore:
    """The user's tokens; new ones go to the keyring, if this machine has one that works."""
    try:
        return TokenStore(keyring=_system_keyring())
    except MissingExtra:
        return TokenStore()


def token_of(server: str) -> SecretStr | None:
    """The token that the user keeps for a server; None if they keep none.

    Raises:
        SettingsError: They keep one, and it cannot be read.
    """
    return TokenStore().get(server)


def _system_keyring() -> Keyring:
    """The backend of this machine.

    Raises:
        MissingExtra: keyring is not installed, or finds no service that keeps anything.
    """
    try:
        import keyring
    except ImportError as error:
        raise MissingExtra("tokens", "The keyring") from error
    backend = keyring.get_keyring()
    if backend.priority <= 0:
        raise MissingExtra("tokens", "The keyring of this machine, which runs no service that it knows,")
    return backend


def _fernet() -> Any:
    """Fernet, and what it raises for a token that is none."""
    try:
        from cryptography.fernet import Fernet, InvalidToken
    except ImportError as error:
        raise MissingExtra("tokens", "Keeping tokens") from error
    return Fernet, InvalidToken


def _asked(backend: Keyring, url: str) -> str | None:
    try:
        return backend.get_password(_SERVICE, url)
    except Exception as error:
        raise SettingsError(f"The keyring does not give the token of {url}: {error}. Is it locked?") from error


def _url(server: str) -> str:
    """The one spelling of a server's address.

    Raises:
        SettingsError: It is none.
    """
    scheme, _, rest = ServerSettings(url=server).url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.lower()}{slash}{path}"


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and (
        entry.get("kept") == "keyring" or (entry.get("kept") == "file" and isinstance(entry.get("token"), str))
    )
