"""What is too large, too deep or too many is refused, before it is read where that can be, and nothing is lost."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from langchain_jupyter import JupyterToolkit, NotebookLimits
from langchain_jupyter.backends import Backend, LocalDocuments
from langchain_jupyter.documents import room
from langchain_jupyter.documents.contents import ContentsStore, RemoteFile
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.documents.room import RoomStore
from langchain_jupyter.errors import DocumentError, NotebookTooLarge, ServerError
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer
from langchain_jupyter.settings import ServerSettings
from langchain_jupyter.testing import ScriptedKernels, tool_call
from tests.hostile import served
from tests.notebooks import sources
from tests.servers import Child

SMALL = NotebookLimits(size=5_000, cells=3, source=1_000)
CELL = {"cell_type": "code", "metadata": {}, "source": "", "outputs": [], "execution_count": None}


def notebook(*cells: dict[str, Any], **metadata: Any) -> str:
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def code(cell_id: str, source: str = "", **members: Any) -> dict[str, Any]:
    return {**CELL, "id": cell_id, "source": source, **members}


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


TOO_MUCH = {
    "size": notebook(code("a", "x" * 6_000)),
    "attachment": notebook(
        {**CELL, "cell_type": "markdown", "id": "a", "attachments": {"a.png": {"image/png": "A" * 6_000}}}
    ),
    "cells": notebook(*(code(f"cell-{number}") for number in range(4))),
}


@pytest.fixture(params=["file", "contents", "room"])
async def place(
    request: pytest.FixtureRequest, bare: tuple[Child, Path], lab: LabServer, tmp_path: Path
) -> AsyncIterator[tuple[Path, Any]]:
    """A file that is not there yet, and what opens it within limits."""
    kind, name = request.param, f"{tmp_path.name}.ipynb"
    if kind == "file":
        yield tmp_path / name, lambda limits: FileStore(tmp_path / name, limits=limits)
        return
    server = JupyterServer(bare[0].settings if kind == "contents" else lab.settings)
    stores = {
        "contents": lambda limits: ContentsStore(server, name, state=tmp_path, limits=limits),
        "room": lambda limits: RoomStore(server, name, limits=limits),
    }
    yield (bare[1] if kind == "contents" else lab.root) / name, stores[kind]
    await server.close()


@pytest.mark.parametrize("what", TOO_MUCH)
async def test_a_notebook_that_is_too_large_is_refused_and_left(place: tuple[Path, Any], what: str) -> None:
    path, store = place
    path.write_text(TOO_MUCH[what])

    with pytest.raises(NotebookTooLarge, match=r"(bytes|cells); notebooks of up to [35].* opened.*NotebookLimits"):
        await store(SMALL).open()

    assert path.read_text() == TOO_MUCH[what]


async def test_a_notebook_within_the_limits_is_opened(place: tuple[Path, Any]) -> None:
    path, store = place
    path.write_text(notebook(code("a", "x" * 4_000), code("b"), code("c")))

    opened = store(SMALL)
    document = await opened.open()
    document.insert(document.new_cell("code", "y"))  # what is open may grow
    await opened.close()

    assert [len(source) for source in sources(path)] == [4_000, 0, 0, 1]


async def test_a_room_that_says_too_much_at_once_is_left(
    lab: LabServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_SHARED", 0)
    monkeypatch.setattr(room, "_LEAST", 1_000)
    name = f"{tmp_path.name}.ipynb"
    (lab.root / name).write_text(notebook(code("a", "x" * 4_000)))
    server = JupyterServer(lab.settings)

    with pytest.raises(NotebookTooLarge, match="sends more than 1,000 bytes at once"):
        await RoomStore(server, name).open()
    await server.close()


async def test_a_server_that_understates_a_size_is_read_no_further() -> None:
    async with served() as there:
        large = {"name": "a.ipynb", "path": "a.ipynb", "type": "notebook", "size": 9, "content": "x" * 500_000}
        there.answers = {**there.answers, ("GET", "/api/contents/a.ipynb"): large}
        server = JupyterServer(ServerSettings(url=there.url))

        with pytest.raises(ServerError, match="with more than"):
            await RemoteFile(server, "a.ipynb", limits=SMALL).read()
        await server.close()


# -- files --------------------------------------------------------------------------------------------------------


async def test_two_gigabytes_are_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.touch()
    os.truncate(path, 2_000_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(NotebookTooLarge, match="2,000,000,000 bytes"):
        await FileStore(path).open()

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes
    path.unlink()


async def test_a_million_cells_are_refused_before_they_are_parsed(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text('{"nbformat": 4, "cells": [' + ",".join(['{"cell_type":"raw","source":""}'] * 1_000_000) + "]}")

    with pytest.raises(NotebookTooLarge, match="1,000,000 cells"):
        await FileStore(path).open()
    path.unlink()


@pytest.mark.parametrize("depth", [250, 900, 100_000])
@pytest.mark.parametrize("where", ['"metadata"', '"cells"', '"x"', "output"])
async def test_deep_nesting_is_refused(tmp_path: Path, depth: int, where: str) -> None:
    path = tmp_path / "a.ipynb"
    deep = {"output_type": "display_data", "metadata": {}, "data": {"application/json": "HERE"}}
    text = notebook(code("a", outputs=[deep])) if where == "output" else notebook()
    inner = nested(depth) if where == '"cells"' else '{"a":' * depth + "1" + "}" * depth
    text = text.replace('"HERE"', inner) if where == "output" else text[:-1] + f", {where}: {inner}}}"
    path.write_text(text)

    with pytest.raises(DocumentError, match="nested too deeply"):
        await FileStore(path).open()

    assert path.read_text() == text


async def test_nesting_that_is_not_deep_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    inner = json.loads('{"a":' * 150 + "1" + "}" * 150)
    output = {"output_type": "display_data", "metadata": {}, "data": {"application/json": inner}}
    path.write_text(notebook(code("a", outputs=[output]), deep=inner))

    store = FileStore(path)
    document = await store.open()
    document.set_metadata("a", "deep", inner)
    await store.close()

    kept = json.loads(path.read_text())
    assert kept["metadata"]["deep"] == kept["cells"][0]["metadata"]["deep"] == inner
    assert kept["cells"][0]["outputs"][0]["data"]["application/json"] == inner


async def test_long_ids_and_large_metadata_are_worked_with(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(notebook(code("i" * 1_000_000, "x = 1"), code("b"), widgets={"state": "m" * 10_000_000}))

    store = FileStore(path)
    document = await store.open()
    document.set_source("b", "y = 2")
    metadata = document.metadata
    again = document.metadata
    await store.close()

    assert again is metadata  # ten megabytes are not read anew at each look
    assert sources(path) == ["x = 1", "y = 2"]
    assert len(path.read_bytes()) > 10_000_000
    nbformat.validate(nbformat.read(path, as_version=4))  # type: ignore[no-untyped-call]


async def test_a_notebook_that_grew_past_the_limit_elsewhere_is_not_taken_in_and_no_edit_is_lost(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(notebook(code("a", "1"), code("b", "2")))
    store = FileStore(path, limits=SMALL)
    document = await store.open()
    path.write_text(theirs := notebook(code("a", "x" * 6_000), code("b", "2")))
    document.set_source("b", "ours")

    with pytest.raises(NotebookTooLarge):
        await store.refresh()
    with pytest.raises(NotebookTooLarge):
        await store.close()

    assert path.read_text() == theirs
    again = FileStore(path)
    document = await again.open()
    assert document.source("b") == "ours"
    await again.close()


async def test_a_thread_gets_no_copy_of_a_notebook_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(TOO_MUCH["size"])
    toolkit = JupyterToolkit(path, isolation="thread", notebook_limits=SMALL)

    async with toolkit:
        with pytest.raises(NotebookTooLarge):
            await toolkit.bridge.arun(lambda: toolkit.session(thread="t"))

    assert [each.name for each in tmp_path.iterdir()] == ["a.ipynb"]


# -- tools --------------------------------------------------------------------------------------------------------


@pytest.fixture
def toolkit(tmp_path: Path) -> Iterator[JupyterToolkit]:
    path = tmp_path / "a.ipynb"
    path.write_text(notebook(code("one", "a = 1"), code("two", "#" * 2_000)))
    backend = Backend(LocalDocuments(path), ScriptedKernels())
    with JupyterToolkit(backend=backend, notebook_limits=SMALL) as toolkit:
        yield toolkit


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("append_markdown_cell", {"source": "x" * 1_001}),
        ("insert_markdown_cell", {"cell": "one", "source": "x" * 1_001}),
        ("append_execute_code_cell", {"source": "x" * 100_000_000}),
        ("insert_execute_code_cell", {"cell": "one", "source": "x" * 1_001}),
        ("overwrite_cell_source", {"cell": "one", "source": "x" * 1_001}),
        ("overwrite_cell_source", {"cell": "one", "source": "x" * 1_001, "run": True}),
        ("edit_cell_source", {"cell": "one", "old": "1", "new": "x" * 1_001}),
        ("edit_cell_source", {"cell": "two", "old": "#" * 2_000, "new": "#" * 2_001}),
        ("run_code", {"code": "x" * 1_001}),
    ],
)
def test_a_source_that_is_too_long_is_refused_and_nothing_is_done(
    toolkit: JupyterToolkit, name: str, arguments: dict[str, Any]
) -> None:
    tools = {tool.name: tool for tool in toolkit.get_tools()}

    answer = tools[name].invoke(tool_call(name, **arguments))

    assert answer.status == "error"
    assert answer.content.startswith("[source_too_large] The source has ")
    assert "up to 1,000 are accepted. Nothing was done." in answer.content
    info = tools["get_notebook_info"].invoke(tool_call("get_notebook_info")).content[0]["text"]
    assert "2 cells" in info
    assert "a = 1" in info


def test_a_cell_that_a_person_made_too_long_can_be_shortened(toolkit: JupyterToolkit) -> None:
    edit = next(tool for tool in toolkit.get_tools() if tool.name == "overwrite_cell_source")

    answer = edit.invoke(tool_call("overwrite_cell_source", cell="two", source="#" * 1_500))

    assert answer.status == "success"


def test_a_workspace_tells_the_model_of_a_notebook_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text(TOO_MUCH["size"])

    with JupyterToolkit(root=tmp_path, notebook_limits=SMALL) as toolkit:
        read = next(tool for tool in toolkit.get_tools() if tool.name == "read_cell")
        answer = read.invoke(tool_call("read_cell", notebook="a.ipynb", cell="a"))

    assert answer.content.startswith("[notebook_unavailable] a.ipynb has 6,")
    assert "NotebookLimits(size=…)" in answer.content


def test_code_of_any_length_is_reviewed(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(notebook(code("a", "x = 1\n" * 1_000_000), code("b", "print(y)"), code("c", "1")))

    with JupyterToolkit(backend=Backend(LocalDocuments(path), ScriptedKernels())) as toolkit:
        check = next(tool for tool in toolkit.get_tools() if tool.name == "check_notebook")
        told = check.invoke(tool_call("check_notebook")).content[0]["text"]

    assert "a has 6,000,000 characters of code: too long to be looked into [long]" in told
