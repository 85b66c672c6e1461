"""Tokens of servers are kept for their user, and found where none is given."""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keyring
import keyring.backend
import pytest
from typer.testing import CliRunner

from langchain_jupyter import JupyterToolkit, cli
from langchain_jupyter.errors import MissingExtra, SettingsError
from langchain_jupyter.tokens import TokenStore

SERVER = "https://hub.example.org/user/ada"
TOKEN = "a-token-of-ada-5512"


class Memory(keyring.backend.KeyringBackend):
    """A keyring that lasts as long as the test."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration folder of a user who has kept nothing so far."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("platformdirs.user_config_dir", lambda name: str(tmp_path / name))
    return tmp_path / "langchain-jupyter"


@pytest.fixture
def store(home: Path) -> TokenStore:
    return TokenStore(home)


def value(store: TokenStore, server: str = SERVER) -> str:
    token = store.get(server)
    assert token is not None
    return token.get_secret_value()


def test_a_token_is_kept_encrypted_and_found_again(store: TokenStore, home: Path) -> None:
    where = store.set(SERVER, f"{TOKEN}\n")

    assert where == "file"
    assert value(TokenStore(home)) == TOKEN
    assert store.servers() == {SERVER: "file"}
    assert not [path for path in home.iterdir() if TOKEN in path.read_text()]


def test_only_their_owner_can_read_the_files(store: TokenStore, home: Path) -> None:
    store.set(SERVER, TOKEN)

    assert {path.name: path.stat().st_mode & 0o777 for path in home.iterdir()} == {
        "tokens.json": 0o600,
        "tokens.key": 0o600,
        "tokens.lock": 0o600,
    }


def test_who_dies_while_the_key_is_written_leaves_none(
    store: TokenStore, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(handle: int) -> None:
        raise SystemExit

    with monkeypatch.context() as death:
        death.setattr(os, "fsync", dies)
        with pytest.raises(SystemExit):
            store.set(SERVER, TOKEN)

    assert not (home / "tokens.key").exists()
    store.set(SERVER, TOKEN)
    assert value(store) == TOKEN


def test_who_keep_tokens_at_the_same_time_keep_them_all_with_one_key(home: Path) -> None:
    servers = [f"https://hub.example.org/user/{number}" for number in range(8)]
    together = threading.Barrier(len(servers), timeout=60)

    def keep(server: str) -> str:
        together.wait()
        return TokenStore(home).set(server, f"{TOKEN}-{server}")

    with ThreadPoolExecutor(len(servers)) as pool:
        kept = list(pool.map(keep, servers, timeout=60))

    assert kept == ["file"] * len(servers)
    assert [value(TokenStore(home), server) for server in servers] == [f"{TOKEN}-{server}" for server in servers]


@pytest.mark.parametrize(
    "spelling", ["https://HUB.example.org/user/ada", f"{SERVER}/", f"{SERVER}/lab/tree/a.ipynb", f"{SERVER}?token=x"]
)
def test_other_spellings_of_the_address_find_it(store: TokenStore, spelling: str) -> None:
    store.set(SERVER, TOKEN)

    assert value(store, spelling) == TOKEN


@pytest.mark.parametrize("other", ["https://hub.example.org/user/bob", "http://hub.example.org/user/ada"])
def test_other_servers_do_not(store: TokenStore, other: str) -> None:
    store.set(SERVER, TOKEN)

    assert store.get(other) is None


@pytest.mark.skipif(sys.platform == "win32", reason="files have no modes there")
def test_a_key_that_others_can_read_is_refused(store: TokenStore, home: Path) -> None:
    store.set(SERVER, TOKEN)
    os.chmod(home / "tokens.key", 0o640)

    with pytest.raises(SettingsError, match=r"mode 0640.*chmod 600"):
        store.get(SERVER)


def test_a_lost_key_is_told_and_can_be_begun_anew(store: TokenStore, home: Path) -> None:
    store.set(SERVER, TOKEN)
    (home / "tokens.key").unlink()

    with pytest.raises(SettingsError, match="is gone"):
        store.get(SERVER)
    with pytest.raises(SettingsError, match="is gone"):
        store.set("http://localhost:8888", TOKEN)

    assert store.remove(SERVER)
    store.set(SERVER, TOKEN)
    assert value(store) == TOKEN


@pytest.mark.parametrize("key", [b"", b"damaged", b"A" * 43 + b"="])
def test_a_damaged_or_wrong_key_is_told(store: TokenStore, home: Path, key: bytes) -> None:
    store.set(SERVER, TOKEN)
    (home / "tokens.key").write_bytes(key)

    with pytest.raises(SettingsError, match="cannot be decrypted"):
        store.get(SERVER)


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"a": {"kept": "file"}}', "\x00"])
def test_a_damaged_file_is_told(store: TokenStore, home: Path, content: str) -> None:
    home.mkdir()
    (home / "tokens.json").write_text(content)

    with pytest.raises(SettingsError, match=r"tokens\.json"):
        store.get(SERVER)


def test_a_folder_that_cannot_be_made_is_told(home: Path) -> None:
    home.write_text("a file")

    with pytest.raises(SettingsError, match="cannot be"):
        TokenStore(home).set(SERVER, TOKEN)


def test_an_empty_token_is_not_kept(store: TokenStore) -> None:
    with pytest.raises(SettingsError, match="empty"):
        store.set(SERVER, " \n")
    assert store.servers() == {}


def test_a_keyring_keeps_tokens_outside_of_files(home: Path) -> None:
    memory = Memory()
    store = TokenStore(home, keyring=memory)

    assert store.set(SERVER, TOKEN) == "keyring"
    assert value(store) == TOKEN
    assert sorted(path.name for path in home.iterdir()) == ["tokens.json", "tokens.lock"]
    assert TOKEN not in (home / "tokens.json").read_text()
    assert store.remove(SERVER)
    assert memory.kept == {}
    assert not store.remove(SERVER)


def test_a_token_that_the_keyring_has_lost_is_told(home: Path) -> None:
    memory = Memory()
    store = TokenStore(home, keyring=memory)
    store.set(SERVER, TOKEN)
    memory.kept.clear()

    with pytest.raises(SettingsError, match="no token of"):
        store.get(SERVER)


def test_without_its_keyring_a_token_cannot_be_had(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TokenStore(home, keyring=Memory()).set(SERVER, TOKEN)
    nothing = Memory()
    nothing.__class__ = type("Nothing", (Memory,), {"priority": 0})
    monkeypatch.setattr(keyring, "get_keyring", lambda: nothing)

    with pytest.raises(MissingExtra, match="keyring"):
        TokenStore(home).get(SERVER)


def test_a_toolkit_finds_the_token_of_its_server(store: TokenStore) -> None:
    store.set("http://localhost:8888", TOKEN)

    toolkit = JupyterToolkit("a.ipynb", server_url="http://localhost:8888/lab")

    assert toolkit.redactor.redact(TOKEN) == "[redacted: Jupyter token]"
    assert TOKEN not in repr(toolkit)


def test_a_token_that_is_given_goes_first(store: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.set("http://localhost:8888", TOKEN)
    monkeypatch.setenv("JUPYTER_URL", "http://localhost:8888")
    monkeypatch.setenv("JUPYTER_TOKEN", "from-the-environment-1")
    monkeypatch.setenv("DOCUMENT_ID", "a.ipynb")

    toolkit = JupyterToolkit.from_env()

    assert "[redacted" in toolkit.redactor.redact("from-the-environment-1")
    assert toolkit.redactor.redact(TOKEN) == TOKEN


def test_the_commands_keep_list_and_forget(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "get_keyring", Memory)
    nothing = type("Nothing", (Memory,), {"priority": 0})
    monkeypatch.setattr(keyring, "get_keyring", nothing)
    run = CliRunner().invoke

    kept = run(cli.app, ["token", "set", SERVER], input=f"{TOKEN}\n")
    listed = run(cli.app, ["token", "list"])
    forgotten = run(cli.app, ["token", "remove", SERVER])
    again = run(cli.app, ["token", "remove", SERVER])
    empty = run(cli.app, ["token", "list"])

    assert kept.output == f"Kept for {SERVER}, encrypted in a file.\n"
    assert listed.output == f"{SERVER}  (file)\n"
    assert forgotten.output == "Forgotten.\n"
    assert again.exit_code == 1
    assert "No tokens are kept" in empty.output
    assert not [each for each in (kept, listed, forgotten, again, empty) if TOKEN in each.output]
    assert json.loads((home / "tokens.json").read_text()) == {}


def test_a_token_is_no_argument(home: Path) -> None:
    run = CliRunner().invoke

    assert run(cli.app, ["token", "set", SERVER, TOKEN]).exit_code == 2
    assert run(cli.app, ["token", "set", f"{SERVER}?token={TOKEN}"]).exit_code == 1
    assert not home.exists()
