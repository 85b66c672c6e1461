"""A Jupyter server that is as it should be but for one route: what comes is an answer, or an error of ours."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

import langchain_jupyter
from langchain_jupyter.doctor.servers import jupyter_server
from langchain_jupyter.documents import room
from langchain_jupyter.documents.contents import RemoteFile
from langchain_jupyter.documents.presence import Collaborator
from langchain_jupyter.documents.room import RoomStore
from langchain_jupyter.documents.server_folder import ServerFolder
from langchain_jupyter.errors import ConnectionLost, JupyterError, OutOfReach
from langchain_jupyter.kernels import conversation, lease, line
from langchain_jupyter.kernels.lease import Lease, Wanted
from langchain_jupyter.kernels.remote import RemoteKernel
from langchain_jupyter.reach import Reach, ServerKernels
from langchain_jupyter.servers import hub
from langchain_jupyter.servers import server as servers
from langchain_jupyter.servers.server import Capabilities, JupyterServer
from langchain_jupyter.settings import ServerSettings
from tests.hostile import FORGED, GOOD, KERNEL, TOKEN, Raw, Route, Server, body, served, spoiled

CAN = Capabilities("2.21.1", collaboration=True, contents=True, sessions=True)
NOTEBOOK = Wanted(choice="", spec="python3", path="a.ipynb", sessions=True)
BARE = Wanted(choice="new", spec="python3", path="", sessions=False)


def settings(url: str) -> ServerSettings:
    return ServerSettings(url=url, token=SecretStr(TOKEN))


async def started(server: JupyterServer, then: Callable[[RemoteKernel], Awaitable[object]]) -> None:
    kernel = RemoteKernel(server, KERNEL, path="a.ipynb", capabilities=CAN)
    try:
        await kernel.start()
        await then(kernel)
    finally:
        await kernel.close()


async def interrupted(kernel: RemoteKernel) -> None:
    kernel._talk.state = "busy"
    await kernel.interrupt()


def folder(server: JupyterServer) -> ServerFolder:
    async def opened() -> tuple[JupyterServer, Capabilities]:
        return server, CAN

    return ServerFolder(opened)


async def awake(server: JupyterServer) -> None:
    there = JupyterServer(settings(f"{server.url}/user/ada"))
    try:
        await hub.awake(there)
    finally:
        await there.close()


async def entered(server: JupyterServer) -> None:
    store = RoomStore(server, "a.ipynb", collaborator=Collaborator())
    try:
        await store.open()
    finally:
        await store.close()


async def listed(server: JupyterServer) -> None:
    kernels = ServerKernels(Reach(server.settings))
    try:
        await kernels.specs()
    finally:
        await kernels.close()


async def replaced(server: JupyterServer) -> None:
    file = RemoteFile(server, "a.ipynb")
    await file.write(b"{}", await file.stamp())


async def looked_into(server: JupyterServer, path: str = "") -> None:
    found = await jupyter_server(settings(f"{server.url}{path}"), notebook="a.ipynb", kernel="python3")
    assert found
    assert TOKEN not in str(found)


@dataclass(frozen=True)
class Use:
    """Something of ours that asks at a route, and what the server must answer elsewhere for that."""

    route: Route
    what: Callable[[JupyterServer], Awaitable[object]]
    beside: Mapping[Route, Any] = field(default_factory=dict)
    sockets: str = "answer"


def taken(wanted: Wanted) -> Callable[[JupyterServer], Awaitable[object]]:
    return lambda server: lease.take(server, wanted)


ROOMS = {("GET", "/api/collaboration/session/x"): body(b"", status="405 Method Not Allowed")}
PROGRESS = ("GET", "/hub/api/users/ada/server/progress")
ASLEEP = {
    ("GET", "/user/ada/api"): body(b"", status="503 Asleep"),
    PROGRESS: body(b"data: %s\n\n" % json.dumps({"progress": 1, "failed": True, "message": f"no{FORGED}"}).encode()),
}
USES = [
    Use(("GET", "/api"), lambda server: server.capabilities()),
    Use(("GET", "/api"), looked_into),
    Use(("GET", "/api/status"), lambda server: line.Line(server, KERNEL, receive=id, resumed=id, ended=id).gone()),  # type: ignore[arg-type]
    Use(("GET", "/api/kernelspecs"), taken(NOTEBOOK)),
    Use(("GET", "/api/kernelspecs"), listed),
    Use(("GET", "/api/kernelspecs"), looked_into),
    Use(("GET", "/api/sessions"), taken(NOTEBOOK)),
    Use(("POST", "/api/sessions"), taken(NOTEBOOK), {("GET", "/api/sessions"): []}),
    Use(("PATCH", "/api/sessions/session-1"), taken(Wanted(choice="ir", spec="", path="a.ipynb", sessions=True))),
    Use(
        ("DELETE", "/api/sessions/session-1"),
        lambda server: lease.give_back(server, Lease(KERNEL, "python3", session="session-1")),
    ),
    Use(("GET", f"/api/kernels/{KERNEL}"), taken(Wanted(choice=KERNEL, spec="", path="", sessions=False))),
    Use(("POST", "/api/kernels"), taken(BARE)),
    Use(("DELETE", f"/api/kernels/{KERNEL}"), lambda server: lease.give_back(server, Lease(KERNEL, "python3"))),
    Use(("POST", f"/api/kernels/{KERNEL}/interrupt"), lambda server: started(server, interrupted)),
    Use(("POST", f"/api/kernels/{KERNEL}/restart"), lambda server: started(server, RemoteKernel.restart)),
    Use(("GET", "/api/contents"), lambda server: server.capabilities()),
    Use(("GET", "/api/contents/"), lambda server: folder(server).notebooks()),
    Use(("GET", "/api/contents/"), lambda server: folder(server).locate("z.ipynb")),
    Use(("GET", "/api/contents/deep"), lambda server: folder(server).notebooks()),
    Use(("GET", "/api/contents/a.ipynb"), lambda server: RemoteFile(server, "a.ipynb").read()),
    Use(("GET", "/api/contents/a.ipynb"), lambda server: RemoteFile(server, "a.ipynb").stamp()),
    Use(("GET", "/api/contents/a.ipynb"), looked_into),
    Use(("PUT", "/api/contents/a.ipynb"), replaced),
    Use(("PUT", "/api/contents/new.ipynb"), lambda server: folder(server).create("new.ipynb")),
    Use(("PUT", "/api/collaboration/session/a.ipynb"), entered, sockets="HTTP 403 Forbidden"),
    Use(("GET", "/lab/extensions/@jupyter/collaboration-extension/package.json"), looked_into, ROOMS),
    Use(("GET", "/user/ada/api"), awake, ASLEEP),
    Use(("POST", "/hub/api/users/ada/server"), awake, ASLEEP),
    Use(PROGRESS, awake, ASLEEP),
    Use(("GET", "/hub/api/user"), lambda server: looked_into(server, "/user/ada"), ASLEEP),
]
NAMES = [f"{' '.join(use.route).replace(KERNEL, 'ID')}-{number}" for number, use in enumerate(USES)]


TOLD = json.dumps({"message": f"bad {TOKEN}{FORGED}", "reason": None}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BROKEN: Mapping[str, Raw] = {
    "nothing": body(b""),
    "null": body(b"null"),
    "a list": body(b"[[], 7, null]"),
    "an object": body(b"{}"),
    "half": body(b'{"version": "2'),
    "deep": body(b"[" * 100_000),
    "no text": body(b"\xff\xfe\x00"),
    "a login page": body(b"<html>Log in</html>", more="Content-Type: text/html\r\n"),
    "an error page": body(b"<html>Oops</html>", status="502 Bad Gateway"),
    **{f"status {status}": body(TOLD, status=f"{status} No") for status in (400, 401, 403, 404, 409, 410, 429, 500)},
    "a redirect": body(b"", status="302 Found", more="Location: http://127.0.0.1:9/elsewhere\r\n"),
    "compressed badly": body(b"x" * 50, more="Content-Encoding: gzip\r\n"),
    "the token as a key": body(json.dumps({TOKEN: 7, "kernelspecs": {f"{TOKEN}{FORGED}": 7}}).encode()),
    "shorter than it says": Raw(HEAD + b"Content-Length: 100\r\n\r\n{"),
    "no HTTP": Raw(b"SSH-2.0-x\r\n\r\n"),
    "cut": Raw(b""),
    "endless": Raw(HEAD + b"Connection: close\r\n\r\n[", endless=b" " * 65_536),
    "endless lines": Raw(HEAD + b"Connection: close\r\n\r\n", endless=b"data: 7\n" * 100, pause=0.01),
}
SLOW: Mapping[str, Raw] = {
    "drips": Raw(HEAD + b"Connection: close\r\n\r\n[", endless=b" ", pause=0.05),
    "silence": Raw(b"", pause=60),
}
WAITING = [
    use
    for use in USES
    if use.route in (("GET", "/api"), ("POST", "/api/kernels"), PROGRESS) and use.what != looked_into
]
READ = [
    use
    for use in USES
    if GOOD.get(use.route) and use.what not in (looked_into, listed) and not use.route[1].endswith("/restart")
]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """All limits are low, and nothing is asked twice. On a slow machine more is given up, which comes to the same."""
    monkeypatch.setattr(servers, "_ATTEMPTS", 1)
    monkeypatch.setattr(servers, "_TIMEOUT", httpx.Timeout(0.5))
    monkeypatch.setattr(servers, "_LONGEST", 0.5)
    monkeypatch.setattr(servers, "_LARGEST", 500_000)
    monkeypatch.setattr(servers, "_EVENTS", 10_000)
    monkeypatch.setattr(servers, "_HANDSHAKE", 5.0)
    monkeypatch.setattr(lease, "_START_TIMEOUT", 0.5)
    monkeypatch.setattr(hub, "_SPAWN_TIMEOUT", 0.5)
    monkeypatch.setattr(hub, "_BLIND_TIMEOUT", 0.5)
    monkeypatch.setattr(conversation, "_READY_TIMEOUT", 2.0)
    monkeypatch.setattr(line, "_PATIENCE", 2.0)
    monkeypatch.setattr(line, "_MUTE", 3)
    monkeypatch.setattr(room, "_SYNCHRONISE", 2.0)


async def wrong_with(use: Use, server: Server, ours: JupyterServer, answer: Any) -> str:
    """What a use of ours comes to that it must not come to; "" if all is well."""
    server.answers, server.sockets = {**GOOD, **use.beside, use.route: answer}, use.sockets
    try:
        async with asyncio.timeout(30):
            await use.what(ours)
    except JupyterError as error:
        told = "".join(traceback.format_exception(error))
        if TOKEN in told:
            return f"the token is told: {told}"
        return "" if sober(error) else f"nothing is told, or more than a line: {error}"
    except TimeoutError:
        return "it hangs"
    except Exception as error:
        return "".join(traceback.format_exception(error))
    return ""


def sober(error: JupyterError) -> bool:
    """Whether it says something, and nothing that could be taken for a line of the toolkit."""
    return len(str(error).splitlines()) == 1 and "</" not in str(error) and "<output" not in str(error)


@pytest.fixture
async def there() -> AsyncIterator[tuple[Server, JupyterServer]]:
    """The server, and our client of it."""
    async with served() as server:
        ours = JupyterServer(settings(server.url))
        yield server, ours
        await ours.close()


@pytest.mark.parametrize("use", USES, ids=NAMES)
async def test_a_route_that_answers_as_no_jupyter_server_does(use: Use, there: tuple[Server, JupyterServer]) -> None:
    server, ours = there
    answers = {**BROKEN, **SLOW} if use in WAITING else BROKEN

    wrong = {name: found for name, raw in answers.items() if (found := await wrong_with(use, server, ours, raw))}

    assert use.route in server.asked
    assert not wrong, "\n".join(f"--- {name}: {found}" for name, found in wrong.items())


@pytest.mark.parametrize("use", READ, ids=lambda use: " ".join(use.route))
async def test_a_value_of_another_type_in_an_answer(use: Use, there: tuple[Server, JupyterServer]) -> None:
    server, ours = there

    wrong = [
        f"--- {answer}: {found}"
        for answer in spoiled(GOOD[use.route])
        if (found := await wrong_with(use, server, ours, answer))
    ]

    assert use.route in server.asked
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "sockets",
    ["close", "cut", "text", "bytes", "nothing", "flood", "vector", "update", "HTTP 200 OK", "HTTP 302 Found",
     "HTTP 403 Forbidden", "HTTP 500 Oops"],
)  # fmt: skip
@pytest.mark.parametrize("what", [lambda server: started(server, idle), entered], ids=["kernel", "room"])
async def test_a_websocket_that_answers_as_no_jupyter_server_does(
    what: Callable[[JupyterServer], Awaitable[object]], sockets: str
) -> None:
    async with served() as server:
        server.sockets = sockets
        ours = JupyterServer(settings(server.url))

        async with asyncio.timeout(60):
            with pytest.raises(OutOfReach) as raised:
                await what(ours)

        await ours.close()
    assert TOKEN not in "".join(traceback.format_exception(raised.value))
    assert sober(raised.value)


async def idle(kernel: RemoteKernel) -> None:
    """Start, and nothing more."""


async def test_a_kernel_that_answers_can_be_used_at_the_good_server() -> None:
    async with served() as server:
        ours = JupyterServer(settings(server.url))

        await started(ours, RemoteKernel.restart)

        await ours.close()


async def test_a_line_that_is_closed_as_soon_as_it_is_open_is_given_up() -> None:
    ended: asyncio.Future[OutOfReach] = asyncio.get_running_loop().create_future()
    async with served() as server:
        ours = JupyterServer(settings(server.url))
        server.sockets = "close"
        connection = line.Line(ours, KERNEL, receive=id, resumed=lambda *_: None, ended=ended.set_result)  # type: ignore[arg-type]

        await connection.open()
        async with asyncio.timeout(60):
            why = await ended

        await connection.close()
        await ours.close()
    assert isinstance(why, ConnectionLost)
    assert "closes it at once" in str(why)


def test_every_route_that_we_ask_at_is_among_them() -> None:
    asked = {use.route[1].replace(KERNEL, "*") for use in USES}
    asked |= {"/api/collaboration/session/x", "/api/events/subscribe"}  # nothing is read there but the status
    asked |= {"/api/kernels/*/channels", "/api/collaboration/room/*"}  # WebSockets
    asked.add("/hub/api/users/*/servers/*")  # as at that of the user's default server

    unknown = {path for path in _paths() if not any(_like(path, known) for known in asked)}

    assert not unknown


def _like(path: str, known: str) -> bool:
    return re.fullmatch("(?:/hub)?" + re.escape(path).replace(r"\*", ".*"), known) is not None


def _paths() -> Iterator[str]:
    """The paths of a server that stand in our code; `*` for what is put in."""
    package = Path(langchain_jupyter.__file__).parent
    for file in package.rglob("*.py"):
        if file.relative_to(package).parts[0] in ("mcp", "doctor") and file.name != "servers.py":
            continue
        nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
        pieces = {id(piece) for node in nodes if isinstance(node, ast.JoinedStr) for piece in node.values}
        for node in nodes:
            text = "" if id(node) in pieces else _written(node)
            if text.startswith(("/api/", "/lab/extensions")) and " " not in text:
                yield text


def _written(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "*" for each in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
