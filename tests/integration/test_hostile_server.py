"""What a broken or hostile Jupyter server can answer: each comes to a typed error, soon, and within bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.errors import ConnectionLost, JupyterError, OutOfReach, ServerError, ServerRefused
from langchain_jupyter.servers import server as servers
from langchain_jupyter.servers.server import JupyterServer
from langchain_jupyter.settings import ServerSettings

TOKEN = "a-token-that-stays-here-1"


class Hostile:
    """Answers every request in one way.

    Attributes:
        heads: What was asked, as it came.
    """

    def __init__(self, head: str, parts: Sequence[bytes], endless: bytes, pause: float) -> None:
        self._head, self._parts, self._endless, self._pause = head, parts, endless, pause
        self.heads: list[str] = []
        self.url = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self._head.encode())
            for part in itertools.chain(self._parts, itertools.repeat(self._endless) if self._endless else ()):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(self._pause)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def hostile(head: str, *parts: bytes, endless: bytes = b"", pause: float = 0.0) -> AsyncIterator[Hostile]:
    answers = Hostile(head, parts, endless, pause)
    listener = await asyncio.start_server(answers, "127.0.0.1", 0)
    answers.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield answers
    finally:
        listener.close()


def ok(body: bytes) -> str:
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"


ENDLESS = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
BODIES = [b"", b"null", b"[]", b"{}", b'"x"', b"7", b"true", b"<html></html>", b'{"a', b"[" * 100_000, b"\xff\xfe\x00"]


async def asked(url: str) -> object:
    server = JupyterServer(ServerSettings(url=url, token=SecretStr(TOKEN)))
    try:
        async with asyncio.timeout(60):
            return await server.request("GET", "/api")
    finally:
        await server.close()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading is repeated without pauses."""
    monkeypatch.setattr(servers, "wait_exponential", lambda *args, **options: lambda state: 0.0)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:8]))
async def test_answers_of_the_wrong_type_are_typed_errors(body: bytes) -> None:
    async with (
        hostile(ok(body), body) as there,
        JupyterToolkit("a.ipynb", server_url=there.url, token=TOKEN, tools=["get_notebook_info"]) as toolkit,
    ):
        (info,) = toolkit.get_tools()
        with pytest.raises(OutOfReach) as raised:
            await asyncio.wait_for(info.ainvoke({}), 60)

    assert TOKEN not in str(raised.value)


async def test_an_answer_without_end_is_given_up_when_it_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_LARGEST", 1_000_000)
    async with hostile(ENDLESS, endless=b" " * 65_536) as there:
        with pytest.raises(ServerError, match="more than 1 MB"):
            await asked(there.url)


async def test_an_answer_that_drips_is_given_up_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_LONGEST", 2.0)
    async with hostile(ENDLESS, endless=b" ", pause=0.05) as there:
        with pytest.raises(ConnectionLost, match="no whole answer in 2 s"):
            await asked(there.url)


async def test_an_answer_that_breaks_off_is_told() -> None:
    async with hostile("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b'{"version":') as there:
        with pytest.raises(ConnectionLost):
            await asked(there.url)


@pytest.mark.parametrize("head", ["", "nonsense\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n", "SSH-2.0-x\r\n"])
async def test_what_is_no_http_is_told(head: str) -> None:
    async with hostile(head) as there:
        with pytest.raises(OutOfReach):
            await asked(there.url)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_carries_no_token(status: int) -> None:
    async with hostile(ok(b"{}"), b"{}") as elsewhere:
        head = f"HTTP/1.1 {status} Found\r\nLocation: {elsewhere.url}/api\r\nContent-Length: 0\r\n\r\n"
        async with hostile(head) as there:
            with pytest.raises(ServerError, match="elsewhere"):
                await asked(there.url)

    assert f"authorization: token {TOKEN}" in there.heads[0].lower()
    assert elsewhere.heads == []


async def test_a_token_that_the_server_repeats_is_not_told() -> None:
    body = f'{{"message": "bad token {TOKEN}"}}'.encode()
    async with hostile(ok(body).replace("200 OK", "403 Forbidden"), body) as there:
        with pytest.raises(ServerRefused) as raised:
            await asked(there.url)

    assert "bad token [redacted: Jupyter token]" in str(raised.value)


async def test_a_handshake_is_logged_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with hostile("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as there:
        server = JupyterServer(ServerSettings(url=there.url, token=SecretStr(TOKEN)))
        with pytest.raises(ServerRefused):
            await server.connect("/api/kernels/x/channels")
        await server.close()

    assert f"token {TOKEN}" in there.heads[0]
    assert "GET /api/kernels/x/channels" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "url", ["ftp://a.org", "file:///etc/passwd", "javascript:alert(1)", "//a.org", "a.org", "http://"]
)
def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(JupyterError, match="must begin with http"):
        ServerSettings(url=url)


def test_credentials_are_taken_off_an_address() -> None:
    settings = ServerSettings(url="https://ada:secret-word-1@hub.example.org/user/ada")

    assert settings.url == "https://hub.example.org/user/ada"
    assert "secret-word" not in repr(settings)
