"""The small file beside a notebook that holds the edits since its last save."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_jupyter.documents.journal import Edit
from langchain_jupyter.errors import NotKept

_VERSION = 1


class JournalFile:
    """JSON lines: a header with the hash of the file that the edits apply to, then one edit per line.

    An edit is written before it is applied, so that what was acknowledged survives the death of our process. It is not
    synchronised with the disk each time: the machine's death may cost what the last second brought.

    Args:
        notebook: The .ipynb file.
    """

    def __init__(self, notebook: Path) -> None:
        self.path = notebook.with_name(f".{notebook.name}.journal")
        self._base: str | None = None
        self._lines: list[bytes] = []
        self._fd: int | None = None

    def __len__(self) -> int:
        return len(self._lines)

    def start(self, base: str | None) -> None:
        """The edits to come apply to the file with that hash; None if there is no file yet."""
        self._base, self._lines = base, []

    def adopt(self, base: str | None, edits: Sequence[Edit]) -> None:
        """Take the place of what a dead process left: these edits apply to the file with that hash.

        Raises:
            NotKept: As `append`; what stood there is intact.
        """
        self._base, self._lines = base, [_line(edit.to_json()) for edit in edits]
        if self._lines:
            self._write(b"")
            return
        with contextlib.suppress(OSError):
            self._fd = self._claim()
            self.path.unlink(missing_ok=True)
            self.close()

    def append(self, edit: Edit) -> None:
        """Keep an edit.

        Raises:
            NotKept: The disk is full, the folder cannot be written, or another process edits the notebook.
        """
        line = _line(edit.to_json())
        self._write(line)
        self._lines.append(line)

    def intend(self, digest: str, edits: int) -> None:
        """A file with that hash, holding the first `edits` edits, is about to take the notebook's place."""
        if self._lines:
            self._write(_line({"saving": digest, "edits": edits}))

    def saved(self, digest: str, edits: int) -> None:
        """The file with that hash is in place: only the later edits are still needed.

        Where the later ones cannot be written again, the whole stays: the record of the intent says which they are.
        """
        later, old = self._lines[edits:], self._fd
        if later:
            try:
                self._fd = self._replaced(digest, later)
            except OSError:
                return
        elif old is not None:
            self._fd = None
            self.path.unlink(missing_ok=True)
        self._base, self._lines = digest, later
        if old is not None:
            os.close(old)

    def recover(self, digest: str | None) -> tuple[list[Edit], bool]:
        """The edits that the file with that hash does not hold yet.

        Returns:
            The edits, and whether the file is one that we know; if not, somebody else has changed it since.
        """
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return [], True
        except OSError as error:
            raise NotKept(f"{self.path} cannot be read: {error.strerror}.") from error
        if not lock(fd):
            os.close(fd)
            return [], True
        with os.fdopen(fd, "rb") as file:
            records = [record for record in map(_record, file) if record is not None]
        return _remaining(records, digest)

    def close(self) -> None:
        """Release the file; it stays if it holds edits."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, line: bytes) -> None:
        try:
            if self._fd is None:
                claimed = self._claim()
                try:
                    self._fd = self._replaced(self._base, self._lines)
                except OSError:
                    if not os.fstat(claimed).st_size:
                        self.path.unlink(missing_ok=True)
                    raise
                finally:
                    os.close(claimed)
            end = os.lseek(self._fd, 0, os.SEEK_END)
            try:
                _write_all(self._fd, line)
            except OSError:
                os.ftruncate(self._fd, end)
                raise
        except OSError as error:
            raise NotKept(
                f"The edit cannot be written to {self.path}: {error.strerror}.", hint="Nothing was changed."
            ) from error

    def _claim(self) -> int:
        """The journal in its place, locked; an empty one if there was none."""
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not lock(fd):
                os.close(fd)
                name = self.path.name.removeprefix(".").removesuffix(".journal")
                raise NotKept(f"Another process is editing {name}.", hint="Nothing was changed.")
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), os.stat(self.path)):
                    return fd
            os.close(fd)  # its owner has just removed or replaced it

    def _replaced(self, base: str | None, lines: Sequence[bytes]) -> int:
        """Put a new journal in the place of the old one, whole or not at all; it is open and locked."""
        temporary = self.path.with_name(self.path.name + ".new")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            lock(fd)
            os.ftruncate(fd, 0)
            _write_all(fd, _line({"langchain_jupyter_journal": _VERSION, "base": base}) + b"".join(lines))
            os.replace(temporary, self.path)
        except OSError:
            os.close(fd)
            temporary.unlink(missing_ok=True)
            raise
        return fd


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _write_all(fd: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.write(fd, data[written:])


def lock(fd: int) -> bool:
    """Hold a file as long as it is open; whether nobody else does."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _record(line: bytes) -> dict[str, Any] | None:
    """One line; None for the torn last one."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and line.endswith(b"\n") else None


def _remaining(records: Sequence[dict[str, Any]], digest: str | None) -> tuple[list[Edit], bool]:
    if not records or records[0].get("langchain_jupyter_journal") != _VERSION:
        return [], True
    edits = [Edit.from_json(record) for record in records[1:] if "op" in record]
    if records[0]["base"] == digest:
        return edits, True
    for record in reversed(records):
        if record.get("saving") == digest and digest is not None:
            return edits[record["edits"] :], True
    return edits, False
