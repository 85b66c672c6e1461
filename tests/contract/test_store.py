"""What every store keeps to.

A store of another kind joins by one line in PLACES: a `Place`, which is where a notebook is kept, with two ways to it,
our store and the hands of somebody else.
"""

from __future__ import annotations

import asyncio
import copy
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import nbformat
import pytest
from jupyter_nbmodel_client import NbModelClient, get_jupyter_notebook_websocket_url

from langchain_jupyter.documents.client import ClientStore
from langchain_jupyter.documents.contents import ContentsStore
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.documents.presence import Collaborator
from langchain_jupyter.documents.room import RoomStore
from langchain_jupyter.documents.store import DocumentStore
from langchain_jupyter.errors import DocumentConflict, NotKept
from langchain_jupyter.outputs import Outputs
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer
from tests import notebooks
from tests.servers import Child, collaboration_server

Notebook: TypeAlias = dict[str, Any]
"""nbformat 4.5, multi-line strings joined."""

Change: TypeAlias = Callable[[NotebookDocument], None]

CELL = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
PRINTED = {"output_type": "stream", "name": "stdout", "text": "a\nb é🙂\n"}
FIGURE = {
    "output_type": "display_data",
    "data": {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>", "application/vnd.x+json": {"a": [1, {"b": None}]}},
    "metadata": {"image/png": {"width": 640}},
}

NOTEBOOK: Notebook = {
    "cells": [
        {
            "id": "title",
            "cell_type": "markdown",
            "metadata": {"tags": ["intro"]},
            "source": "# Ünïcode 🙂\n![a](attachment:a.png)",
            "attachments": {"a.png": {"image/png": "iVBORw0KGgo="}},
        },
        {**CELL, "id": "load", "source": "x = 'é🙂'\nx", "execution_count": 3, "outputs": [PRINTED, FIGURE]},
        {**CELL, "id": "plot", "source": "plot(x)", "metadata": {"collapsed": True, "other": {"deep": [1, 2]}}},
        {"id": "note", "cell_type": "raw", "metadata": {}, "source": "raw <b>"},
    ],
    "metadata": {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
        "theirs": {"kept": 1},
    },
    "nbformat": 4,
    "nbformat_minor": 5,
}


class Place(Protocol):
    """Where a notebook is kept."""

    def store(self) -> DocumentStore:
        """A store of ours over that notebook; not yet opened."""

    async def others(self, change: Change) -> None:
        """Somebody else, who reads the notebook as it stands there now, changes it and leaves it there."""

    async def stands(self) -> Notebook:
        """The notebook as others read it now."""

    def aside(self, copy: str) -> str:
        """The text that a conflict has set aside."""


class FilePlace:
    """An .ipynb file, and an editor that writes the whole of it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "a.ipynb"
        self._path.write_text(nbformat.writes(nbformat.from_dict(NOTEBOOK)), encoding="utf-8")

    def store(self) -> DocumentStore:
        return FileStore(self._path)

    async def others(self, change: Change) -> None:
        changed = nbformat.from_dict(applied(change, await self.stands()))
        self._path.write_text(nbformat.writes(changed), encoding="utf-8")

    async def stands(self) -> Notebook:
        notebook = notebooks.read(self._path)
        nbformat.validate(notebook)
        return json.loads(json.dumps(notebook))

    def aside(self, copy: str) -> str:
        return Path(copy).read_text(encoding="utf-8")


class RoomPlace:
    """A room of a JupyterLab, and a collaborator who joins it."""

    def __init__(self, server: JupyterServer, folder: Path) -> None:
        self._server = server
        self._path = folder / f"{uuid.uuid4().hex}.ipynb"
        self._path.write_text(nbformat.writes(nbformat.from_dict(NOTEBOOK)), encoding="utf-8")

    def store(self) -> DocumentStore:
        return RoomStore(self._server, self._path.name)

    async def others(self, change: Change) -> None:
        store = RoomStore(self._server, self._path.name, collaborator=Collaborator(name="Ada"))
        change(await store.open())
        await store.close()

    async def stands(self) -> Notebook:
        notebook = notebooks.read(self._path)
        nbformat.validate(notebook)
        return json.loads(json.dumps(notebook))

    def aside(self, copy: str) -> str:
        return (self._path.parent / copy).read_text(encoding="utf-8")


class ClientPlace(RoomPlace):
    """The same, and a client of jupyter-nbmodel-client that its user has made for it."""

    def store(self) -> DocumentStore:
        url = get_jupyter_notebook_websocket_url(self._server.url, self._path.name, self._token)
        return ClientStore(NbModelClient(url, path=self._path.name))

    @property
    def _token(self) -> str:
        return self._server.settings.token.get_secret_value()


class ContentsPlace(FilePlace):
    """A server without rooms, and an editor on its machine."""

    def __init__(self, server: JupyterServer, root: Path, state: Path) -> None:
        folder = root / uuid.uuid4().hex
        folder.mkdir()
        super().__init__(folder)
        self._server = server
        self._root = root
        self._state = state

    def store(self) -> DocumentStore:
        return ContentsStore(self._server, str(self._path.relative_to(self._root)), state=self._state)

    def aside(self, copy: str) -> str:
        return (self._root / copy).read_text(encoding="utf-8")


@asynccontextmanager
async def a_file(folder: Path) -> AsyncIterator[Place]:
    yield FilePlace(folder)


@asynccontextmanager
async def a_room(lab: LabServer) -> AsyncIterator[Place]:
    server = JupyterServer(lab.settings)
    yield RoomPlace(server, lab.root)
    await server.close()


@asynccontextmanager
async def with_a_client(quick: tuple[Child, Path]) -> AsyncIterator[Place]:
    child, root = quick
    server = JupyterServer(child.settings)
    yield ClientPlace(server, root)
    await server.close()


@asynccontextmanager
async def on_a_server(bare: tuple[Child, Path], state: Path) -> AsyncIterator[Place]:
    child, root = bare
    server = JupyterServer(child.settings)
    yield ContentsPlace(server, root, state)
    await server.close()


PLACES: dict[str, Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Place]]] = {
    "file": lambda request: a_file(request.getfixturevalue("tmp_path")),
    "contents": lambda request: on_a_server(request.getfixturevalue("bare"), request.getfixturevalue("tmp_path")),
    "room": lambda request: a_room(request.getfixturevalue("lab")),
    "client": lambda request: with_a_client(request.getfixturevalue("quick")),
}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Child, Path]]:
    """A server with rooms, and its folder, that writes soon: one whose clients cannot have it write."""
    root = tmp_path_factory.mktemp("quick")
    server = collaboration_server(root, root / "state", "--YDocExtension.document_save_delay=0.1")
    asyncio.run(server.start())
    yield server, root
    asyncio.run(server.close())


def applied(change: Change, notebook: Notebook) -> Notebook:
    """What a notebook is after a change."""
    document = NotebookDocument()
    document.load(notebook["cells"], notebook["metadata"])
    change(document)
    return {**notebook, "metadata": document.metadata, "cells": cells(document)}


def cells(document: NotebookDocument) -> list[dict[str, Any]]:
    """The cells as nbformat has them."""
    return [normal(document.snapshot(cell_id)) for cell_id in document.ids]


def normal(cell: Mapping[str, Any]) -> dict[str, Any]:
    """A cell without what only lives in the shared document, and without empty attachments."""
    left_out = {"execution_state"} | ({"attachments"} if not cell.get("attachments") else set())
    metadata = {key: value for key, value in cell["metadata"].items() if key != "trusted"}
    return {key: value for key, value in cell.items() if key not in left_out} | {"metadata": metadata}


def run_a_cell(document: NotebookDocument) -> None:
    """What a session does while a cell runs."""
    before, outputs = document.snapshot("plot"), Outputs()
    document.begin_run("plot")
    for text in ("1%\r", "2%\r", "done\n"):
        outputs.feed("stream", {"name": "stderr", "text": text})
        if (change := outputs.take()) is not None:
            document.write_outputs("plot", change)
    outputs.feed("display_data", {key: value for key, value in FIGURE.items() if key != "output_type"})
    if (change := outputs.take()) is not None:
        document.write_outputs("plot", change)
    document.end_run("plot", 4, before)


CHANGES: dict[str, Change] = {
    "insert": lambda d: (d.insert(d.new_cell("code", "new\n'é🙂'", "fresh"), place=("title", None)), None)[1],
    "append": lambda d: (d.insert(d.new_cell("markdown", "the end", "fresh")), None)[1],
    "edit": lambda d: d.set_source("load", "x = 'é🙂!'\ny\nx"),
    "empty": lambda d: d.set_source("load", ""),
    "delete": lambda d: d.delete("load"),
    "move up": lambda d: d.move("plot", place=(None, "title")),
    "move down": lambda d: d.move("title", place=("note", None)),
    "outputs": lambda d: d.set_outputs("load", [PRINTED, PRINTED, FIGURE], 7),
    "run": run_a_cell,
    "cell metadata": lambda d: d.set_metadata("plot", "mark", {"a": [1, {"b": "é"}]}),
    "cell metadata gone": lambda d: d.set_metadata("plot", "collapsed", None),
    "notebook metadata": lambda d: d.set_notebook_metadata({**d.metadata, "ours": {"a": 1}}),
}

each_change = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


@pytest.fixture(params=PLACES)
def ground(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Place]:
    return PLACES[request.param](request)


@pytest.fixture
async def place(ground: AbstractAsyncContextManager[Place]) -> AsyncIterator[Place]:
    async with asyncio.timeout(60), ground as place:
        yield place


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[tuple[DocumentStore, NotebookDocument]]:
    store = place.store()
    document = await store.open()
    try:
        yield store, document
    finally:
        await store.close()


async def arrived(store: DocumentStore, document: NotebookDocument, expected: Notebook) -> None:
    """Wait until the document is as expected, as calls of a tool would: each refreshes first."""
    async with asyncio.timeout(30):
        while cells(document) != expected["cells"] or document.metadata != expected["metadata"]:
            await store.refresh()
            await asyncio.sleep(0.01)


def differing(one: Notebook, other: Notebook) -> list[str]:
    """Ids of the cells that are not the same in both."""
    ours, theirs = ({cell["id"]: cell for cell in notebook["cells"]} for notebook in (one, other))
    return [cell_id for cell_id in {**ours, **theirs} if ours.get(cell_id) != theirs.get(cell_id)]


async def test_it_opens_as_it_stands(place: Place) -> None:
    async with opened(place) as (store, document):
        assert cells(document) == NOTEBOOK["cells"]
        assert document.metadata == NOTEBOOK["metadata"]
        assert store.saved


async def test_opening_and_closing_changes_nothing(place: Place) -> None:
    async with opened(place) as (store, _):
        await store.refresh()
        await store.save()

    assert await place.stands() == NOTEBOOK


@each_change
async def test_a_change_is_there_for_others_once_it_is_saved(place: Place, change: Change) -> None:
    async with opened(place) as (store, document):
        change(document)
        await store.save()

        assert store.saved
        assert await place.stands() == applied(change, NOTEBOOK)


@each_change
async def test_a_change_is_there_after_reopening(place: Place, change: Change) -> None:
    async with opened(place) as (_, document):
        change(document)

    async with opened(place) as (_, document):
        expected = applied(change, NOTEBOOK)
        assert cells(document) == expected["cells"]
        assert document.metadata == expected["metadata"]


@each_change
async def test_a_change_by_others_arrives_and_stays(place: Place, change: Change) -> None:
    expected = applied(change, NOTEBOOK)
    async with opened(place) as (store, document):
        await place.others(change)
        await arrived(store, document, expected)
        await store.save()

    assert await place.stands() == expected


@each_change
async def test_our_change_joins_one_by_others_in_another_cell(place: Place, change: Change) -> None:
    def ours(document: NotebookDocument) -> None:
        document.set_source("note", "ours")

    expected = applied(change, applied(ours, NOTEBOOK))
    async with opened(place) as (store, document):
        ours(document)
        await place.others(change)
        await arrived(store, document, expected)

    assert await place.stands() == expected


async def test_our_source_joins_their_outputs_of_the_same_cell(place: Place) -> None:
    def ours(document: NotebookDocument) -> None:
        document.set_source("load", "ours")

    expected = applied(ours, applied(CHANGES["outputs"], NOTEBOOK))
    async with opened(place) as (store, document):
        ours(document)
        await place.others(CHANGES["outputs"])
        await arrived(store, document, expected)

    assert await place.stands() == expected


async def test_of_two_changes_of_one_source_none_is_lost(place: Place) -> None:
    aside = ""
    async with opened(place) as (store, document):
        document.set_source("plot", "plot(x, 'ours')")
        await place.others(lambda d: d.set_source("plot", f"'theirs', {d.source('plot')}"))
        try:
            await store.save()
        except DocumentConflict as conflict:
            aside = place.aside(conflict.copy)

    source = applied(lambda _: None, await place.stands())["cells"][2]["source"]
    assert "theirs" in source
    assert "ours" in source + aside


async def test_our_change_of_a_cell_that_others_delete_harms_no_other(place: Place) -> None:
    async with opened(place) as (store, document):
        document.set_source("plot", "ours")
        await place.others(lambda d: d.delete("plot"))
        with suppress(DocumentConflict):
            await store.save()

    assert set(differing(await place.stands(), NOTEBOOK)) <= {"plot"}


@each_change
async def test_cells_that_nobody_touched_stay_as_they_were(place: Place, change: Change) -> None:
    touched = differing(applied(change, NOTEBOOK), NOTEBOOK)
    async with opened(place) as (_, document):
        change(document)
        change_back = copy.deepcopy(document.metadata)

    stands = await place.stands()
    assert differing(stands, NOTEBOOK) == touched
    assert stands["metadata"] == change_back


async def test_ids_stay_whatever_happens(place: Place) -> None:
    async with opened(place) as (store, document):
        document.insert(document.new_cell("code", "new", "fresh"), place=("load", None))
        document.move("fresh", place=(None, "title"))
        document.set_source("fresh", "newer")
        await store.save()
        await place.others(lambda d: d.move("note", place=(None, "fresh")))
        await arrived(store, document, await place.stands())
        ids = list(document.ids)

    async with opened(place) as (_, document):
        assert ids == list(document.ids) == ["note", "fresh", "title", "load", "plot"]


async def test_many_changes_in_a_row_are_all_there(place: Place) -> None:
    async with opened(place) as (store, document):
        for number in range(60):
            document.insert(document.new_cell("code", f"{number}", f"fresh-{number}"))
            if number % 3 == 0:
                document.set_source(f"fresh-{number}", f"edited {number}")
            if number % 20 == 0:
                await store.save()

    found = [cell["source"] for cell in (await place.stands())["cells"][4:]]
    assert found == [f"edited {n}" if n % 3 == 0 else f"{n}" for n in range(60)]


async def test_listeners_are_told_what_we_and_what_others_change(place: Place) -> None:
    told = asyncio.Event()
    async with opened(place) as (store, document):
        document.listen(told.set)
        document.set_source("plot", "ours")
        ours = told.is_set()
        await store.save()
        told.clear()
        await place.others(CHANGES["edit"])
        await arrived(store, document, await place.stands())

    assert (ours, told.is_set()) == (True, True)


async def test_closing_is_final_and_may_be_repeated(place: Place) -> None:
    store = place.store()
    document = await store.open()
    document.set_source("plot", "before")

    await store.close()
    stands = await place.stands()
    with suppress(NotKept):
        document.set_source("plot", "after")
    await store.close()

    assert stands["cells"][2]["source"] == "before"
    assert await place.stands() == stands
    async with opened(place) as (_, document):
        assert document.source("plot") == "before"


async def test_a_document_in_memory_is_empty_takes_edits_and_needs_no_saving() -> None:
    store = MemoryStore()
    document = await store.open()
    empty = list(document.ids)

    document.insert(document.new_cell("code", "1", "one"))
    await store.refresh()
    await store.save()
    await store.close()
    await store.close()

    assert (empty, list(document.ids), store.saved) == ([], ["one"], True)
