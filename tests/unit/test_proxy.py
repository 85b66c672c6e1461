"""The proxy that the fault tests stand on does break lines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from langchain_jupyter.settings import ServerSettings
from tests.proxy import Proxy


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(100):
                writer.write(data)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Proxy(ServerSettings(url=f"http://127.0.0.1:{port}/base")) as proxy:
            yield proxy


class Line:
    def __init__(self, proxy: Proxy) -> None:
        self._port = urlsplit(proxy.settings.url).port

    async def __aenter__(self) -> Line:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def read(self, within: float = 5) -> bytes:
        """What comes next; b"" if the line is broken."""
        async with asyncio.timeout(within):
            try:
                return await self.reader.read(100)
            except ConnectionError:
                return b""

    async def echo(self, within: float = 5) -> bytes:
        self.writer.write(b"hello")
        return await self.read(within)


async def test_it_passes_on_what_it_gets(proxy: Proxy) -> None:
    async with Line(proxy) as line:
        assert await line.echo() == b"hello"
        assert proxy.open == 1
    assert urlsplit(proxy.settings.url).path == "/base"


async def test_a_cut_breaks_what_is_open_and_takes_new_connections(proxy: Proxy) -> None:
    async with Line(proxy) as line:
        await line.echo()
        proxy.cut()
        assert await line.read() == b""

    async with Line(proxy) as line:
        assert await line.echo() == b"hello"
    assert proxy.accepted == 2


async def test_frozen_nothing_passes_and_restored_nothing_is_lost(proxy: Proxy) -> None:
    async with Line(proxy) as line:
        await line.echo()
        proxy.freeze()
        with pytest.raises(TimeoutError):
            await line.echo(within=0.2)

        proxy.restore()

        assert await line.read() == b"hello"


async def test_refusing_it_takes_no_connection_until_restored(proxy: Proxy) -> None:
    proxy.refuse()
    async with Line(proxy) as line:
        assert await line.read() == b""

    proxy.restore()

    async with Line(proxy) as line:
        assert await line.echo() == b"hello"
    assert proxy.accepted == 1
