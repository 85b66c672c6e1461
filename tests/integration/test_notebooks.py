"""The notebooks for newcomers run from top to bottom without a key, and stand as they were run."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

# All of them run in the fixture that the first test waits for.
pytestmark = pytest.mark.timeout(900)

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
WITH_FIGURES = {"01_quickstart", "02_data_analysis", "03_machine_learning", "05_mcp"}
AT_ONCE = 2
MACHINE = re.compile(r"/(?:home|root|tmp|usr|work|Users|private)/|site-packages")
"""What would tell on which machine the outputs were made."""


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, NotebookNode]:
    """Each of them, run in a copy of their folder; two at a time, as most of it is waiting."""
    folder = tmp_path_factory.mktemp("notebooks")
    shutil.copy(FOLDER / "view.py", folder)

    async def run_all() -> Mapping[str, NotebookNode]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def run(path: Path) -> NotebookNode:
            async with gate:
                notebook = nbformat.read(path, as_version=4)
                client = NotebookClient(
                    notebook,
                    timeout=300,
                    allow_errors=True,
                    record_timing=False,
                    resources={"metadata": {"path": str(folder)}},
                )
                return joined(await client.async_execute())

        return dict(zip((path.stem for path in NOTEBOOKS), await asyncio.gather(*map(run, NOTEBOOKS)), strict=True))

    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("LANGCHAIN_JUPYTER_MODEL", raising=False)
        environment.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        return asyncio.run(run_all())


def joined(notebook: NotebookNode) -> NotebookNode:
    """With what was printed in one piece, as it does not matter when it came."""
    for cell in notebook.cells:
        kept: list[NotebookNode] = []
        for output in cell.get("outputs", ()):
            if kept and output.output_type == "stream" and kept[-1].get("name") == output.name:
                kept[-1].text += output.text
            else:
                kept.append(output)
        if cell.cell_type == "code":
            cell.outputs = kept
    return notebook


def shape(notebook: NotebookNode) -> list[list[str]]:
    """Which kinds of output each cell has."""
    return [
        [output.get("name") or ",".join(sorted(output.get("data", {}))) or output.ename for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def kinds(notebook: NotebookNode) -> set[str]:
    return {kind for cell in shape(notebook) for output in cell for kind in output.split(",")}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path: Path, executed: Mapping[str, NotebookNode]) -> None:
    notebook = executed[path.stem]

    errors = [output for cell in notebook.cells for output in cell.get("outputs", ()) if output.output_type == "error"]

    assert errors == []
    assert "stderr" not in kinds(notebook)
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        nbformat.write(notebook, path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_stands_as_it_runs(path: Path, executed: Mapping[str, NotebookNode]) -> None:
    committed = nbformat.read(path, as_version=4)

    nbformat.validate(committed)
    assert shape(committed) == shape(executed[path.stem]), "UPDATE_SNAPSHOTS=1 renews the outputs"
    assert MACHINE.findall(json.dumps([cell.get("outputs") for cell in committed.cells])) == []
    assert ("image/png" in kinds(committed)) == (path.stem in WITH_FIGURES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_that_its_model_is_a_script(path: Path) -> None:
    first, *_ = nbformat.read(path, as_version=4).cells

    assert "No key is needed." in first.source
    assert "LANGCHAIN_JUPYTER_MODEL" in first.source
    assert "*scripted* model" in first.source
