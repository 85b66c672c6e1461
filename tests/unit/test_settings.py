"""Servers, TLS and the environment, as a developer sets them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from langchain_jupyter.errors import SettingsError
from langchain_jupyter.settings import TLS, Environment, NotebookLimits, ServerSettings


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://localhost:8888", "http://localhost:8888"),
        ("http://localhost:8888/", "http://localhost:8888"),
        ("http://localhost:8888/lab/tree/a%20b.ipynb", "http://localhost:8888"),
        ("https://hub.example.org/user/ada/lab?redirects=1", "https://hub.example.org/user/ada"),
        (" https://hub.example.org/user/ada/tree ", "https://hub.example.org/user/ada"),
        ("https://ada:secret@example.org/base/", "https://example.org/base"),
    ],
)
def test_an_address_from_the_browser_is_taken_for_its_server(given: str, base: str) -> None:
    assert ServerSettings(url=given).url == base


def test_the_token_of_a_copied_address_is_used_unless_another_is_given() -> None:
    url = "http://localhost:8888/lab?token=pasted"

    assert ServerSettings(url=url).headers == {"Authorization": "token pasted"}
    assert ServerSettings(url=url, token=SecretStr("given")).headers == {"Authorization": "token given"}


def test_a_token_is_never_in_the_text_of_its_settings() -> None:
    settings = ServerSettings(url="http://localhost:8888?token=sesame")

    assert "sesame" not in f"{settings!r} {settings!s} {settings.url}"


@pytest.mark.parametrize("url", ["localhost:8888", "ftp://example.org", "", "http://"])
def test_what_is_no_http_url_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(SettingsError, match="such as http://localhost:8888"):
        ServerSettings(url=url)


def test_a_certificate_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"TLS\.ca_bundle: there is no file .*missing\.pem"):
        TLS(ca_bundle=tmp_path / "missing.pem")


def test_a_file_that_is_no_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello")

    with pytest.raises(SettingsError, match="must be PEM files"):
        _ = TLS(ca_bundle=tmp_path / "ca.pem").context


def test_a_key_without_its_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("x")

    with pytest.raises(SettingsError, match=r"TLS\.certificate"):
        TLS(key=tmp_path / "key.pem")


def test_an_unverified_connection_warns() -> None:
    with pytest.warns(UserWarning, match="Development only"):
        _ = TLS(verify=False).context


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in Environment.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("ROOM_URL", "ROOM_ID", "ROOM_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_with_nothing_set_all_is_on_this_machine(environment: pytest.MonkeyPatch) -> None:
    found = Environment.read()

    assert (found.document_server, found.runtime_server, found.kernel) == (None, None, "")


def test_the_variables_of_the_guide_are_read(environment: pytest.MonkeyPatch) -> None:
    variables = {
        "PROVIDER": "jupyter",
        "JUPYTER_TOKEN": "shared",
        "ROOM_URL": "http://rooms:8888",
        "ROOM_ID": "analysis.ipynb",
        "ROOM_TOKEN": "",
        "RUNTIME_URL": "http://runtimes:8888",
        "RUNTIME_TOKEN": "own",
        "START_NEW_RUNTIME": "true",
        "TRANSPORT": "streamable-http",
        "PORT": "4040",
    }
    for name, value in variables.items():
        environment.setenv(name, value)

    found = Environment.read()

    assert found.document_server == ServerSettings(url="http://rooms:8888", token=SecretStr("shared"))
    assert found.runtime_server == ServerSettings(url="http://runtimes:8888", token=SecretStr("own"))
    assert (found.document_id, found.kernel) == ("analysis.ipynb", "new")
    assert (found.transport, found.port) == ("streamable-http", 4040)


def test_limits_of_notebooks_are_read_and_what_is_not_set_stays(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MAX_NOTEBOOK_SIZE", "500_000_000")
    environment.setenv("MAX_SOURCE", "10")
    environment.setenv("MAX_NOTEBOOK_CELLS", "")

    assert Environment.read().notebook_limits == NotebookLimits(size=500_000_000, source=10)


def test_their_later_names_go_first(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JUPYTER_URL", "http://all:1")
    environment.setenv("ROOM_URL", "http://old:1")
    environment.setenv("DOCUMENT_URL", "http://new:1")
    environment.setenv("DOCUMENT_ID", "new.ipynb")
    environment.setenv("RUNTIME_ID", "0123")

    found = Environment.read()

    assert found.document_server is not None
    assert found.document_server.url == "http://new:1"
    assert found.runtime_server == found.document_server
    assert (found.document_id, found.kernel) == ("new.ipynb", "0123")


def test_empty_variables_count_as_not_set(environment: pytest.MonkeyPatch) -> None:
    for name in ("PROVIDER", "ROOM_URL", "ROOM_TOKEN", "RUNTIME_ID", "START_NEW_RUNTIME", "PORT"):
        environment.setenv(name, "")

    found = Environment.read()

    assert found.document_server is None
    assert (found.kernel, found.port) == ("", None)


@pytest.mark.parametrize(
    ("name", "value"),
    [("PROVIDER", "elsewhere"), ("PORT", "many"), ("START_NEW_RUNTIME", "perhaps"), ("MAX_NOTEBOOK_SIZE", "0")],
)
def test_a_value_that_cannot_work_is_named(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)
    environment.setenv("JUPYTER_TOKEN", "sesame")

    with pytest.raises(SettingsError, match=name) as raised:
        Environment.read()
    assert "sesame" not in str(raised.value)
