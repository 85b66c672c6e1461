"""What happens to edits when the line to a room, or the server, fails. None is lost, none is doubled."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.documents.presence import Collaborator
from langchain_jupyter.documents.room import RoomStore
from langchain_jupyter.errors import DocumentConflict, DocumentError
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer
from langchain_jupyter.settings import ServerSettings
from tests import notebooks
from tests.proxy import Proxy
from tests.servers import Child, collaboration_server

PROMISED = 4.0
"""Seconds within which a call is answered, whatever the server does."""


@asynccontextmanager
async def taking_part(
    settings: ServerSettings, name: str = "Agent"
) -> AsyncIterator[tuple[RoomStore, NotebookDocument]]:
    server = JupyterServer(settings)
    store = RoomStore(server, "a.ipynb", collaborator=Collaborator(name=name))
    document = await store.open()
    try:
        yield store, document
    finally:
        await store.close()
        await server.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Child]:
    write(tmp_path, "start = 1")
    async with collaboration_server(tmp_path, tmp_path / "state") as server:
        yield server


def write(root: Path, *sources: str) -> None:
    cells = [new_code_cell(source, id=f"cell{number}") for number, source in enumerate(sources)]
    nbformat.write(new_notebook(cells=cells), root / "a.ipynb")  # type: ignore[no-untyped-call]


def sources(document: NotebookDocument) -> dict[str, str]:
    return {cell_id: document.source(cell_id) for cell_id in document.ids}


def in_the_file(root: Path) -> dict[str, str]:
    return {cell.id: cell.source for cell in notebooks.read(root / "a.ipynb").cells}


def edit(document: NotebookDocument, who: str, number: int) -> None:
    """A new cell, and a line more in the cell that everybody edits."""
    document.insert(document.new_cell("code", f"{who} {number}", f"{who}{number}"))
    document.set_source("cell0", document.source("cell0") + f"\n{who} {number}")


async def settled(store: RoomStore) -> None:
    async with asyncio.timeout(60):
        while await store.settle():
            pass


async def the_same(one: NotebookDocument, other: NotebookDocument) -> None:
    async with asyncio.timeout(60):
        while sources(one) != sources(other):
            await asyncio.sleep(0.02)


def assert_each_once(document: NotebookDocument, who: str, count: int) -> None:
    lines = document.source("cell0").splitlines()
    for number in range(count):
        assert lines.count(f"{who} {number}") == 1
        assert document.source(f"{who}{number}") == f"{who} {number}"
    assert len(set(document.ids)) == len(document.ids)


async def test_a_line_that_is_cut_for_5_seconds_costs_no_edit_of_either_side(server: Child) -> None:
    async with (
        Proxy(server.settings) as proxy,
        taking_part(proxy.settings) as (store, document),
        taking_part(server.settings, "Ada") as (_, theirs),
    ):
        edit(document, "ours", 0)
        edit(theirs, "hers", 0)
        await settled(store)

        proxy.refuse()
        said = []
        for number in range(1, 51):
            edit(document, "ours", number)
            edit(theirs, "hers", number)
            await asyncio.sleep(0.1)
            if number % 25 == 0:
                started = time.monotonic()
                said.append(await store.settle())
                assert time.monotonic() - started < 3 * PROMISED  # this machine may be busy
        proxy.restore()
        await settled(store)
        await the_same(document, theirs)

        assert all("Not yet on the server" in each for each in said)
        assert_each_once(document, "ours", 51)
        assert_each_once(document, "hers", 51)


async def test_a_room_that_lost_its_history_gets_our_edits_once(server: Child, tmp_path: Path) -> None:
    async with taking_part(server.settings) as (store, document):
        told: list[int] = []
        document.listen(lambda: told.append(document.order))
        edit(document, "ours", 0)
        await store.settle()
        await server.kill()
        shutil.rmtree(tmp_path / "state")
        (tmp_path / "state").mkdir()
        edit(document, "ours", 1)
        document.delete("ours0")
        order = document.order
        await server.start()
        await settled(store)
        await store.refresh()

        assert document.source("cell0").splitlines() == ["start = 1", "ours 0", "ours 1"]
        assert list(document.ids) == ["cell0", "ours1"]
        assert document.order > order
        assert told[-1] == document.order
        async with taking_part(server.settings, "Ada") as (_, theirs):
            await the_same(document, theirs)
            theirs.set_source("ours1", "hers")
            await the_same(document, theirs)


async def test_what_does_not_fit_a_room_made_anew_is_told_once_with_a_copy(server: Child, tmp_path: Path) -> None:
    async with taking_part(server.settings) as (store, document):
        document.set_source("cell0", "ours = 2")
        document.insert(document.new_cell("code", "fits", "fits"))
        await server.kill()
        shutil.rmtree(tmp_path / "state")
        (tmp_path / "state").mkdir()
        write(tmp_path, "theirs = 3")
        await server.start()
        await settled(store)

        with pytest.raises(DocumentConflict, match=r"cell.*stands.*conflict-1\.ipynb") as raised:
            await store.refresh()
        await store.refresh()

        assert raised.value.cells == ("cell0",)
        assert "ours = 2" in (tmp_path / raised.value.copy).read_text()
        assert sources(document) == {"cell0": "theirs = 3", "fits": "fits"}


async def test_closing_without_a_server_takes_seconds_and_names_a_copy(server: Child) -> None:
    store = RoomStore(direct := JupyterServer(server.settings), "a.ipynb")
    document = await store.open()
    await server.kill()
    edit(document, "ours", 0)

    started = time.monotonic()
    with pytest.raises(DocumentError, match=r"never reached the server") as raised:
        await store.close()

    assert time.monotonic() - started < 60  # a busy machine has its own time
    copy = Path(str(raised.value).rpartition(" is in ")[2].removesuffix("."))
    assert "ours 0" in copy.read_text()
    copy.unlink()
    await store.close()
    await direct.close()


async def test_people_see_who_is_there_and_where_and_no_ghost_stays(lab: LabServer) -> None:
    write(lab.root, "a = 1")
    async with taking_part(lab.settings, "Ada Lovelace") as (ada, theirs):
        async with taking_part(lab.settings, "Bob") as (_, document):
            document.set_source("cell0", "a = 12")
            await the_same(document, theirs)
            async with asyncio.timeout(60):
                while len(there := ada.others()) != 1 or "cursors" not in there[0]:
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(60):
            while ada.others():
                await asyncio.sleep(0.01)

    assert there[0]["user"]["name"] == "Bob"
    assert there[0]["user"]["initials"] == "B"
    assert there[0]["user"]["color"].startswith("var(--jp-collaborator-color")


async def test_a_folder_that_is_not_there_is_named(lab: LabServer) -> None:
    server = JupyterServer(lab.settings)

    with pytest.raises(DocumentError, match="There is no folder nowhere"):
        await RoomStore(server, "nowhere/a.ipynb").open()
    await server.close()


async def test_a_file_that_is_no_notebook_is_refused_and_left_alone(lab: LabServer) -> None:
    broken = lab.root / "broken.ipynb"
    broken.write_text("no notebook")
    server = JupyterServer(lab.settings)

    with pytest.raises(DocumentError, match=r"broken\.ipynb"):
        await RoomStore(server, "broken.ipynb").open()
    await server.close()

    assert broken.read_text() == "no notebook"
