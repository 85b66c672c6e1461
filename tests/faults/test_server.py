"""A server that is killed, or whose disk is full, under a toolkit: rooms and plain contents."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.errors import DocumentError
from langchain_jupyter.kernels import line
from tests import notebooks
from tests.faulttable import Fault
from tests.servers import Child, collaboration_server, jupyter_server

Faults = Callable[[str, str], Fault]
PLACES = ("room", "contents")
RUN = """\
import time
with open("count", "a") as file: file.write("x")
time.sleep(600)"""


@asynccontextmanager
async def toolkit_on(place: str, root: Path) -> AsyncIterator[tuple[JupyterToolkit, Child]]:
    cells = [new_code_cell("start = 1", id="cell0")]
    nbformat.write(new_notebook(cells=cells), root / "a.ipynb")  # type: ignore[no-untyped-call]
    child = collaboration_server(root, root / "state") if place == "room" else jupyter_server(root)
    async with child:
        token = child.settings.token
        async with JupyterToolkit("a.ipynb", server_url=child.settings.url, token=token) as toolkit:
            yield toolkit, child


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals of notebooks on servers are not those of whoever runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))


async def call(toolkit: JupyterToolkit, tool: str, **arguments: Any) -> str:
    named = {each.name: each for each in toolkit.get_tools()}
    async with asyncio.timeout(120):
        content = await named[tool].ainvoke(arguments)
    return str(content[0]["text"]) if isinstance(content, list) else str(content)


async def written(root: Path, last: str) -> None:
    await notebooks.written(root / "a.ipynb", lambda notebook: last in [cell.source for cell in notebook.cells])


@pytest.mark.parametrize("place", PLACES)
async def test_a_server_that_is_killed_costs_the_run_and_no_edit(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> None:
    monkeypatch.setattr(line, "_PATIENCE", 3.0)
    async with toolkit_on(place, tmp_path) as (toolkit, server):
        await call(toolkit, "append_markdown_cell", source="before")
        running = asyncio.create_task(call(toolkit, "append_execute_code_cell", source=RUN, timeout=100))
        async with asyncio.timeout(60):
            while not (tmp_path / "count").exists():
                await asyncio.sleep(0.01)

        await server.kill()
        fault = faults("the server is killed", place)
        said = await running
        fault.told("lost")
        edited = await call(toolkit, "append_markdown_cell", source="meanwhile")
        refused = await call(toolkit, "run_code", code="6 * 7")
        await server.start()
        await written(tmp_path, "meanwhile")
        works = await call(toolkit, "run_code", code="6 * 7")

    assert " lost " in said
    assert "Not yet on the server" in edited
    assert "has not run" in refused
    assert "42" in works
    assert (tmp_path / "count").read_text() == "x"
    assert notebooks.sources(tmp_path / "a.ipynb") == ["start = 1", "before", RUN, "meanwhile"]


@pytest.mark.parametrize("place", PLACES)
async def test_a_server_whose_disk_is_full_says_so_and_writes_later(place: str, tmp_path: Path, faults: Faults) -> None:
    async with toolkit_on(place, tmp_path) as (toolkit, server):
        await call(toolkit, "append_markdown_cell", source="before")
        await written(tmp_path, "before")
        before = notebooks.text(tmp_path / "a.ipynb")
        store = (await toolkit.bridge.arun(toolkit._workspace.session)).store

        usual = resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        fault = faults("the server's disk is full", place)
        await call(toolkit, "append_markdown_cell", source="meanwhile")
        with pytest.raises(DocumentError):
            await toolkit.bridge.arun(store.save)
        fault.told("DocumentError")
        full = notebooks.text(tmp_path / "a.ipynb")
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, usual)
        await toolkit.bridge.arun(store.save)

    assert full == before
    assert notebooks.sources(tmp_path / "a.ipynb") == ["start = 1", "before", "meanwhile"]
