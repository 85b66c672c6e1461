"""Every notebook of the corpus through the whole of a working day: open, read, run, review, save."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from langchain_core.messages import ToolMessage

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.documents import format as ipynb
from langchain_jupyter.testing import tool_call
from tests.corpus import CORPUS, write
from tests.kernels import installed


@pytest.fixture(scope="module", autouse=True)
def _bash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed(tmp_path_factory.mktemp("jupyter"), "bash"):
        yield


def cells_as_written(path: Path) -> dict[str, str | None]:
    """The text of each cell, letter by letter."""
    text = ipynb.parse(path.read_bytes().decode("utf-8"))
    return {cell["id"]: raw for cell, raw in zip(text.cells, text.raws, strict=True)}


def others(path: Path) -> dict[str, str | None]:
    """The cells that a run does not touch."""
    kinds = {cell["id"]: cell["cell_type"] for cell in ipynb.parse(path.read_text("utf-8")).cells}
    return {cell_id: raw for cell_id, raw in cells_as_written(path).items() if kinds[cell_id] != "code"}


def faults(content: bytes) -> list[str]:
    """What makes a notebook invalid; ids, which are new in 4.5, aside."""
    raw = {**json.loads(content), "nbformat_minor": 5}
    for number, cell in enumerate(raw["cells"]):
        cell.setdefault("id", f"id-{number}")
    return [error.message for error in nbformat.validator.iter_validate(nbformat.from_dict(raw))]


@pytest.mark.parametrize("name", CORPUS)
def test_a_notebook_is_opened_read_run_reviewed_and_saved(name: str, tmp_path: Path) -> None:
    example, path = CORPUS[name], write(name, tmp_path)
    before, untouched = path.read_bytes(), others(path)
    with JupyterToolkit(path) as toolkit:
        tools = {tool.name: tool for tool in toolkit.get_tools()}

        def call(tool: str, **arguments: object) -> ToolMessage:
            message: ToolMessage = tools[tool].invoke(tool_call(tool, **arguments))
            assert message.status == "success", message.text
            assert len(message.text) <= 12_000
            return message

        outline = call("get_notebook_info")
        call("read_all_cells")
        assert path.read_bytes() == before, "reading has changed the file"
        ran = call("run_cells", restart=True, timeout=240)
        call("read_all_cells")
        review = call("check_notebook")

    saved = nbformat.reads(path.read_text("utf-8"), as_version=4)
    assert faults(path.read_bytes()) == faults(before)
    assert f"· {len(saved.cells)} cell" in outline.text
    assert ran.artifact["status"] == example.ends, ran.text
    assert not example.finds or example.finds in {each["rule"] for each in review.artifact["findings"]}
    if all(untouched.values()):  # a notebook without ids gets them, and with them new texts
        assert others(path) == untouched


@pytest.mark.parametrize("name", ["matplotlib", "unicode", "bash", "widgets"])
def test_a_second_run_in_a_new_kernel_gives_the_same(name: str, tmp_path: Path) -> None:
    path = write(name, tmp_path)
    with JupyterToolkit(path) as toolkit:
        run = next(tool for tool in toolkit.get_tools() if tool.name == "run_cells")
        run.invoke(tool_call("run_cells", timeout=240))
        again: ToolMessage = run.invoke(tool_call("run_cells", restart=True, timeout=240))

    assert "in a new kernel, outputs as before" in again.text, again.text


def test_what_other_kinds_of_output_come_to(tmp_path: Path) -> None:
    shown = {}
    for name in ("plotly", "altair", "widgets", "rich"):
        with JupyterToolkit(write(name, tmp_path)) as toolkit:
            tools = {tool.name: tool for tool in toolkit.get_tools()}
            tools["run_cells"].invoke(tool_call("run_cells", timeout=240))
            shown[name] = tools["read_all_cells"].invoke(tool_call("read_all_cells")).text

    assert "Counts" in shown["plotly"]
    assert "Vega-Lite chart" in shown["altair"]
    assert "IntSlider" in shown["widgets"]
    assert "(a widget, without what happens to it after its cell has run)" in shown["widgets"]
    assert "50/50" in shown["widgets"]
    assert r"\frac{a}{b}" in shown["rich"]
    assert "Title" in shown["rich"]
    assert "**bold**" in shown["rich"]
