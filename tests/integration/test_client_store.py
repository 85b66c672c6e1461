"""A user's own NbModelClient as a store: on our loop, on the user's, and what is said when it fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_nbmodel_client import NbModelClient, get_jupyter_notebook_websocket_url
from nbformat.v4 import new_code_cell, new_notebook

from langchain_jupyter.documents.client import ClientStore
from langchain_jupyter.documents.room import RoomStore
from langchain_jupyter.errors import DocumentError
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer
from tests.notebooks import sources
from tests.proxy import Proxy


@pytest.fixture
def path(lab: LabServer, tmp_path: Path) -> str:
    name = f"{tmp_path.name}.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("a = 1", id="one")]), lab.root / name)  # type: ignore[no-untyped-call]
    return name


@pytest.fixture
def elsewhere() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop of the user, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def client_of(lab: LabServer, path: str, *, url: str = "") -> NbModelClient:
    token = lab.settings.token.get_secret_value()
    here = get_jupyter_notebook_websocket_url(lab.settings.url, path, token)
    return NbModelClient(here.replace(lab.settings.url[4:], url[4:] or lab.settings.url[4:]), path=path)


async def test_a_client_that_nobody_started_is_started_and_stopped(lab: LabServer, path: str) -> None:
    client = client_of(lab, path)
    store = ClientStore(client)
    document = await store.open()
    document.set_source("one", "a = 2")
    document.insert(document.new_cell("markdown", "é🙂", "two"))
    settled = await store.settle()
    await store.save()
    running = client.synced
    await store.close()

    assert (settled, running, client.synced) == ("", True, False)
    assert sources(lab.root / path) == ["a = 2", "é🙂"]


async def test_a_client_on_its_users_loop_stays_there_and_both_sides_see_each_other(
    lab: LabServer, path: str, elsewhere: asyncio.AbstractEventLoop
) -> None:
    client = client_of(lab, path)
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(client.start(), elsewhere))
    store = ClientStore(client)
    document = await store.open()
    server = JupyterServer(lab.settings)
    people = RoomStore(server, path)
    theirs = await people.open()
    try:
        document.set_source("one", "ours")
        async with asyncio.timeout(30):
            while theirs.source("one") != "ours":
                await asyncio.sleep(0.01)
            theirs.insert(theirs.new_cell("code", "theirs", "two"))
            while "two" not in document:
                await asyncio.sleep(0.01)
        elsewhere.call_soon_threadsafe(client.add_code_cell, "the client's own")
        async with asyncio.timeout(30):
            while len(document) < 3:
                await asyncio.sleep(0.01)
    finally:
        await store.close()
        await people.close()
        await server.close()
    still = client.synced
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(client.stop(), elsewhere))

    assert [document.source(cell_id) for cell_id in document.ids] == ["ours", "theirs", "the client's own"]
    assert still


async def test_a_client_that_lost_its_server_is_told(lab: LabServer, path: str) -> None:
    async with Proxy(lab.settings) as proxy:
        client = client_of(lab, path, url=proxy.settings.url)
        store = ClientStore(client)
        document = await store.open()
        proxy.refuse()
        async with asyncio.timeout(30):
            while client.synced:
                await asyncio.sleep(0.01)
        document.set_source("one", "too late")

        assert "lost its server" in await store.settle()
        with pytest.raises(DocumentError, match="Make a new client"):
            await store.refresh()
        with pytest.raises(DocumentError):
            await store.close()
