"""A TCP proxy whose line a test can cut, freeze, slow down or refuse."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Self
from urllib.parse import urlsplit

from langchain_jupyter.settings import ServerSettings

_CHUNK = 65_536


class Proxy:
    """Stands between us and a server: `async with Proxy(lab.settings) as proxy`, then connect to `proxy.settings`.

    Args:
        target: The server behind it.

    Attributes:
        delay: Seconds that each piece of data takes in either direction.
        garbling: Whether what passes is changed on its way, at the beginning of each piece of data.
        refusing: Whether new connections are closed as soon as they are made.
        accepted: Connections made so far, those refused not counted.
    """

    def __init__(self, target: ServerSettings) -> None:
        self._target = target
        self.delay = 0.0
        self.garbling = self.refusing = False
        self.accepted = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._lines: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def settings(self) -> ServerSettings:
        """How to reach the server through this proxy."""
        assert self._server is not None, "start it first"
        port = self._server.sockets[0].getsockname()[1]
        return replace(self._target, url=f"http://127.0.0.1:{port}{urlsplit(self._target.url).path}")

    @property
    def open(self) -> int:
        """Connections through it now."""
        return len(self._lines) // 2

    async def start(self) -> None:
        """Listen, on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def close(self) -> None:
        """Cut everything and stop listening."""
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def cut(self) -> None:
        """Break all connections, as a lost Wi-Fi or a restarted router does; new ones can be made."""
        for writer in self._lines:
            writer.transport.abort()
        self._lines.clear()

    def refuse(self) -> None:
        """Break all connections, and take no new ones until `restore`."""
        self.refusing = True
        self.cut()

    def freeze(self) -> None:
        """Let nothing through, with all connections open, until `restore`."""
        self._flowing.clear()

    def restore(self) -> None:
        """Work again: take connections, let through what waits, whole and without delay."""
        self.garbling, self.refusing, self.delay = False, False, 0.0
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        self.accepted += 1
        target = urlsplit(self._target.url)
        try:
            there, back = await asyncio.open_connection(target.hostname, target.port)
        except OSError:
            writer.transport.abort()
            return
        self._lines |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(_CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._flowing.wait()
                if self.garbling:
                    data = bytes(byte ^ 0xFF for byte in data[:2]) + data[2:]
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # the other side is gone; so is this one
        finally:
            with contextlib.suppress(OSError):
                sink.close()
            self._lines.discard(sink)
