"""A `langchain-jupyter serve` process for tests, and plain HTTP to it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

TOKEN = "a-token-for-tests-0123456789"
_STARTS_WITHIN = 60


class Served:
    """A server process that listens.

    Attributes:
        url: Its base, without /mcp.
        process: To be signalled.
        log: Lines of its stderr so far.
    """

    def __init__(self, process: subprocess.Popen[str], token: str) -> None:
        self.process = process
        self.token = token
        self.log: list[str] = []
        self.url = ""
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self) -> None:
        """Wait until it listens."""
        assert self._listening.wait(_STARTS_WITHIN), "".join(self.log)
        assert self.url, "".join(self.log)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def client(self, **options: Any) -> httpx.Client:
        """Plain HTTP, with the token."""
        return httpx.Client(base_url=self.url, timeout=60, headers=self.headers, **options)

    def call(self, tool: str, client: httpx.Client | None = None, **arguments: Any) -> dict[str, Any]:
        """A tool call as plain JSON-RPC; its result."""
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
        with client or self.client() as http:
            answer = http.post("/mcp", json=message).json()
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

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
                self.url = found[1]
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
        server.wait()
        yield server
    finally:
        try:
            server.stop()
        finally:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


def text_of(result: dict[str, Any]) -> str:
    """All text of a tool's result."""
    return "\n".join(block["text"] for block in result["content"] if block["type"] == "text")
