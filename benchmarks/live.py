"""Speed beside people, as a ratio to the floor, measured in turn in the same run on one JupyterLab of our own.

python benchmarks/live.py [--quick]
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nbformat
from pycrdt import Doc, YMessageType, YSyncMessageType, create_sync_message, handle_sync_message
from websockets.asyncio.client import connect

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.documents.room import RoomStore
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer

CODE = "1+1"
QUICK = "--quick" in sys.argv
ROUNDS = 30 if QUICK else 150
OPENINGS = 3 if QUICK else 11
CELLS = 10_000


class Floor:
    """The WebSocket of a kernel, as bare as can be: JSON, no session, no document.

    Args:
        lab: The server.
        quick: Whether each message is acknowledged at once, which ends Nagle's wait of 40 ms on the server's side.
    """

    def __init__(self, lab: LabServer, *, quick: bool = True) -> None:
        self._lab = lab
        self._quick = quick
        self._session = uuid.uuid4().hex

    async def __aenter__(self) -> Floor:
        self._server = JupyterServer(self._lab.settings)
        self._kernel = await self._server.request("POST", "/api/kernels", json={"name": "python3"})
        url = f"ws{self._lab.settings.url.removeprefix('http')}/api/kernels/{self._kernel['id']}/channels"
        self._socket = await connect(
            f"{url}?session_id={self._session}",
            additional_headers=self._lab.settings.headers,
            compression=None,
            max_size=None,
        )
        await self.run()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._socket.close()
        await self._server.request("DELETE", f"/api/kernels/{self._kernel['id']}")
        await self._server.close()

    async def run(self) -> None:
        """Execute, and wait for the reply and for idle."""
        msg_id = uuid.uuid4().hex
        await self._socket.send(json.dumps(self._request(msg_id)))
        tcp = self._socket.transport.get_extra_info("socket")
        replied = idle = False
        while not (replied and idle):
            message = json.loads(await self._socket.recv())
            if self._quick:
                tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            if message["parent_header"].get("msg_id") == msg_id:
                replied = replied or message["msg_type"] == "execute_reply"
                idle = idle or (message["msg_type"] == "status" and message["content"]["execution_state"] == "idle")

    def _request(self, msg_id: str) -> dict[str, Any]:
        header = {"msg_id": msg_id, "msg_type": "execute_request", "session": self._session, "version": "5.3"}
        content = {"code": CODE, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        empty: dict[str, Any] = {}
        return {
            "channel": "shell",
            "header": {**header, "username": "floor", "date": ""},
            "parent_header": empty,
            "metadata": empty,
            "content": content,
            "buffers": [],
        }


async def timed(call: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    await call()
    return 1000 * (time.perf_counter() - started)


def report(figure: str, ours: float, floor: float, promised: float) -> bool:
    """Print one row; whether the promise holds."""
    ratio = ours / floor
    print(f"{figure:<44} {ours:9.1f} {floor:9.1f} {ratio:7.2f}   at most {promised}")
    return ratio <= promised


def report_ms(figure: str, ours: float, promised: float) -> bool:
    """Print one row without a floor; whether the promise holds."""
    print(f"{figure:<44} {ours:9.1f} {'':>9} {'':>7}   at most {promised} ms")
    return ours <= promised


async def calls(lab: LabServer) -> list[bool]:
    """One cell appended to a room's notebook and run on the server, against the bare WebSocket of a kernel."""
    settings = lab.settings
    toolkit = JupyterToolkit("calls.ipynb", server_url=settings.url, token=settings.token.get_secret_value())
    tool = next(tool for tool in toolkit.get_tools() if tool.name == "append_execute_code_cell")

    def call() -> Awaitable[Any]:
        message = {"type": "tool_call", "id": uuid.uuid4().hex, "name": tool.name, "args": {"source": CODE}}
        return tool.ainvoke(message)

    times: dict[str, list[float]] = {"ours": [], "floor": [], "nagle": []}
    async with toolkit, Floor(lab) as floor, Floor(lab, quick=False) as nagle:
        for _ in range(5):
            await call()
        for _ in range(ROUNDS):
            times["ours"].append(await timed(call))
            times["floor"].append(await timed(floor.run))
            times["nagle"].append(await timed(nagle.run))
    ours, quick, slow = (statistics.median(times[name]) for name in ("ours", "floor", "nagle"))
    print(f"{'':<44} {'ours ms':>9} {'floor ms':>9} {'ratio':>7}")
    return [
        report("append and run 1+1, bare WebSocket", ours, slow, 1.5),
        report("the same, bare WebSocket with quick ACK", ours, quick, float("inf")),
    ]


async def seen_by_others(lab: LabServer) -> list[bool]:
    """From an edit here to the moment in which another collaborator has it."""
    server = JupyterServer(lab.settings)
    ours, theirs = RoomStore(server, "seen.ipynb"), RoomStore(server, "seen.ipynb")
    document, other = await ours.open(), await theirs.open()
    document.insert(document.new_cell("code", "", "one"))
    await ours.settle()
    arrived = asyncio.Event()
    other.listen(arrived.set)

    async def edit() -> None:
        document.set_source("one", document.source("one") + "x")
        while "one" not in other or other.source("one") != document.source("one"):
            arrived.clear()
            await arrived.wait()

    await edit()
    times = [await timed(edit) for _ in range(ROUNDS)]
    await ours.close()
    await theirs.close()
    await server.close()
    return [report_ms("edit seen by another collaborator", statistics.median(times), 10)]


async def large(lab: LabServer) -> list[bool]:
    """A notebook of 10,000 cells: opened against the bare exchange of its document, and one of its cells read."""
    name = "large.ipynb"
    cells = [nbformat.v4.new_code_cell(f"x{n} = {n}\nprint(x{n})", id=f"cell-{n}") for n in range(CELLS)]
    for n, cell in enumerate(cells):
        cell["outputs"] = [nbformat.v4.new_output("stream", name="stdout", text=f"{n}\n")]
        cell["execution_count"] = n + 1
    nbformat.write(nbformat.v4.new_notebook(cells=cells), lab.root / name)
    server = JupyterServer(lab.settings)

    async def bare() -> None:
        session = await server.request(
            "PUT", f"/api/collaboration/session/{name}", json={"format": "json", "type": "notebook"}
        )
        room = f"/api/collaboration/room/json:notebook:{session['fileId']}"
        socket = await server.connect(room, params={"sessionId": session["sessionId"]})
        ydoc: Doc[Any] = Doc()
        await socket.send(create_sync_message(ydoc))
        async for message in socket:
            if isinstance(message, bytes) and message[0] == YMessageType.SYNC:
                handle_sync_message(message[1:], ydoc)
                if message[1] == YSyncMessageType.SYNC_STEP2:
                    break
        await socket.close()

    async def open_and_close() -> float:
        store = RoomStore(server, name)
        taken = await timed(store.open)
        await store.close()
        return taken

    await bare()  # the server reads the file once
    times: dict[str, list[float]] = {"ours": [], "floor": []}
    for _ in range(OPENINGS):
        times["floor"].append(await timed(bare))
        times["ours"].append(await open_and_close())
    await server.close()

    settings = lab.settings
    toolkit = JupyterToolkit(name, server_url=settings.url, token=settings.token.get_secret_value())
    tool = next(tool for tool in toolkit.get_tools() if tool.name == "read_cell")
    async with toolkit:
        await tool.ainvoke({"cell": "cell-0"})
        reads = [await timed(lambda n=n: tool.ainvoke({"cell": f"cell-{n * 37 % CELLS}"})) for n in range(ROUNDS)]
    return [
        report("open 10,000 cells, bare synchronisation", *map(statistics.median, times.values()), 1.2),
        report_ms("read_cell in 10,000 cells", statistics.median(reads), 3),
    ]


async def main() -> int:
    """Exit code 1 if a promise is broken."""
    with tempfile.TemporaryDirectory() as folder:
        lab = LabServer(Path(folder))
        await lab.start()
        try:
            kept = [*await calls(lab), *await seen_by_others(lab), *await large(lab)]
        finally:
            await lab.close()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
