"""A real Jupyter server, and what is said where there is none."""

from __future__ import annotations

import asyncio
import http.server
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from langchain_jupyter.errors import ServerError, ServerRefused, ServerUnreachable
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer, quoted
from langchain_jupyter.settings import ServerSettings


@pytest.fixture
async def server(lab: LabServer) -> AsyncIterator[JupyterServer]:
    server = JupyterServer(lab.settings)
    yield server
    await server.close()


class _Elsewhere(http.server.BaseHTTPRequestHandler):
    """A web server that is not Jupyter's: a page, and a redirect."""

    protocol_version = "HTTP/1.1"
    asked: list[str] = []  # noqa: RUF012, the server makes a handler for each request

    def do_GET(self) -> None:
        self.asked.append(self.headers.get("Authorization", ""))
        redirect = self.path.startswith("/moved")
        self.send_response(302 if redirect else 200)
        if redirect:
            self.send_header("Location", f"http://localhost:{self.server.server_address[1]}/page")
        page = b"<html>hello</html>"
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[str]:
    _Elsewhere.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


async def test_what_a_server_can_do_is_probed_without_a_trace(server: JupyterServer, lab: LabServer) -> None:
    found = await server.capabilities()

    assert found.collaboration
    assert found.contents
    assert found.sessions
    assert found.version[0].isdigit()
    assert not list(lab.root.glob("x*"))


async def test_a_wrong_token_is_refused_and_not_told(lab: LabServer) -> None:
    server = JupyterServer(ServerSettings(url=lab.settings.url, token=SecretStr("sesame")))

    with pytest.raises(ServerRefused, match=r"give a valid one as token=") as raised:
        await server.capabilities()
    with pytest.raises(ServerRefused):
        await server.connect("/api/events/subscribe")
    await server.close()

    assert raised.value.status == 403
    assert "sesame" not in str(raised.value)


async def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        server = JupyterServer(ServerSettings(url=url))

        async with asyncio.timeout(30):
            with pytest.raises(ServerUnreachable, match=url):
                await server.get("/api")
            with pytest.raises(ServerUnreachable, match=url):
                await server.connect("/api/events/subscribe")
        await server.close()


async def test_another_web_server_is_no_jupyter_server(elsewhere: str) -> None:
    server = JupyterServer(ServerSettings(url=elsewhere))

    with pytest.raises(ServerError, match="as a Jupyter server does"):
        await server.get("/api")
    with pytest.raises(ServerError):
        await server.connect("/api/events/subscribe")
    await server.close()


async def test_a_token_does_not_follow_a_redirect(elsewhere: str) -> None:
    server = JupyterServer(ServerSettings(url=f"{elsewhere}/moved", token=SecretStr("sesame")))

    with pytest.raises(ServerError, match="sends us elsewhere"):
        await server.get("/api")
    with pytest.raises(ServerError, match="sends us elsewhere"):
        await server.connect("/api/events/subscribe")
    await server.close()

    assert _Elsewhere.asked == ["token sesame", "token sesame"]  # nobody asked for the page behind it


async def test_an_answer_of_the_server_says_why(server: JupyterServer) -> None:
    with pytest.raises(ServerError, match="no-such") as raised:
        await server.request("GET", f"/api/contents/{quoted('no-such.ipynb')}")

    assert raised.value.status == 404


async def test_a_server_of_our_own_ends_with_its_kernels(tmp_path: Path) -> None:
    lab = LabServer(tmp_path)
    await lab.start()
    server = JupyterServer(lab.settings)
    await server.request("POST", "/api/kernels", json={"name": "python3"})
    await server.close()
    children = [process for process in Path("/proc").glob("[0-9]*") if _parent(process) == lab.pid]
    assert children

    async with asyncio.timeout(90):
        await lab.close()
        while any(process.exists() for process in children):  # one that ends by itself takes its time on a busy machine
            await asyncio.sleep(0.05)

    assert not list(tmp_path.iterdir())  # no history of rooms, no checkpoints beside a person's files


def _parent(process: Path) -> int:
    """Process id of its parent; 0 if it has ended since it was listed, which others do all the time."""
    try:
        status = (process / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(status.partition("\nPPid:\t")[2].partition("\n")[0])
