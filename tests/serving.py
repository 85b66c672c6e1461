"""A `langchain-jupyter serve` process for tests, and plain HTTP to it."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.planted import secret

TOKEN = secret("mcp")
_STARTS_WITHIN = 90


class Served:
    """A server process; whoever asks for its address waits until it listens, so that several can start at once.

    Attributes:
        process: To be signalled.
        log: Lines of its stderr so far.
    """

    def __init__(self, process: subprocess.Popen[str], token: str) -> None:
        self.process = process
        self.token = token
        self.log: list[str] = []
        self._url = ""
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        """Its base, without /mcp."""
        assert self._listening.wait(_STARTS_WITHIN), "".join(self.log)
        assert self._url, "".join(self.log)
        return self._url

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def client(self, **options: Any) -> httpx.Client:
        """Plain HTTP, with the token."""
        return httpx.Client(base_url=self.url, timeout=60, headers=self.headers, **options)

    def call(self, tool: str, *, headers: dict[str, str] | None = None, **arguments: Any) -> dict[str, Any]:
        """A tool call of a client that comes for it alone."""
        with self.client() as http:
            return call(http, tool, headers=headers, **arguments)

    def stop(self) -> int:
        """End it in order; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._reader.join(10)
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"Listening on (\S+)/mcp", line):
                self._url = found[1]
                self._listening.set()
        self._listening.set()


@contextmanager
def served(
    notebook: Path | str,
    *options: str,
    token: str = TOKEN,
    python: str = sys.executable,
    command: Sequence[str] = (),
    **environment: str,
) -> Iterator[Served]:
    """A server over HTTP on a free port, ended afterwards; `command` in place of the options, if it is given."""
    command = list(command)
    if not command:
        command = [python, "-m", "langchain_jupyter.cli", "serve", "--transport", "streamable-http", "--port", "0"]
        command += [*(["--notebook", str(notebook)] if notebook else []), *options]
    known = {name: value for name, value in os.environ.items() if name != "MCP_TOKEN"}
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**known, **({"MCP_TOKEN": token} if token else {}), **environment},
    )
    server = Served(process, token)
    try:
        yield server
    finally:
        try:
            server.stop()
        finally:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


class Balancer:
    """Stands before servers and gives each connection to the next of them; one server will do.

    Attributes:
        url: Its base.
        asked: All that came from clients.
    """

    def __init__(self, servers: Sequence[Served]) -> None:
        self._turns = itertools.cycle(int(httpx.URL(server.url).port or 0) for server in servers)
        self.url = ""
        self.asked = bytearray()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        there, back = await asyncio.open_connection("127.0.0.1", next(self._turns))
        await asyncio.gather(self._carry(reader, back, heard=self.asked), self._carry(there, writer))

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray | None = None
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if heard is not None:
                    heard += data
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def balancer(*servers: Served) -> AsyncIterator[Balancer]:
    """A proxy that sends each connection to the next server."""
    between = Balancer(servers)
    listening = await asyncio.start_server(between.serve, "127.0.0.1", 0)
    async with listening:
        between.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        yield between


def until(happened: Callable[[], object], within: float = 60.0) -> None:
    """Ask until it has happened."""
    deadline = time.monotonic() + within
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def waiting(gate: Path) -> str:
    """Code that says that it has begun, and ends when there is a file."""
    return f"""import os, time
print('begun', flush=True)
while not os.path.exists({str(gate)!r}):
    time.sleep(0.05)
print('finished')"""


def call(http: httpx.Client, tool: str, *, headers: dict[str, str] | None = None, **arguments: Any) -> dict[str, Any]:
    """A tool call as plain JSON-RPC; its result."""
    answer = ask(http, "tools/call", headers=headers, name=tool, arguments=arguments)
    assert "result" in answer, answer
    result: dict[str, Any] = answer["result"]
    return result


def ask(http: httpx.Client, method: str, *, headers: dict[str, str] | None = None, **params: Any) -> dict[str, Any]:
    """A request as plain JSON-RPC; what is answered."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer: dict[str, Any] = http.post("/mcp", json=message, headers=headers).json()
    return answer


def text_of(result: dict[str, Any]) -> str:
    """All text of a tool's result."""
    return "\n".join(block["text"] for block in result["content"] if block["type"] == "text")


def first_line(result: dict[str, Any]) -> str:
    """The line of a tool's result that says what became of the call."""
    return text_of(result).partition("\n")[0]
