"""What a cell tells of its last run to a process that comes later."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import nbformat
import pytest

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.backends import Backend, LocalDocuments
from langchain_jupyter.errors import KernelDied
from langchain_jupyter.models import Cell
from langchain_jupyter.sessions import marks
from langchain_jupyter.testing import ScriptedKernels, iopub, printed, raised, tool_call

SCRIPT: Any = {
    "print(1)": [printed("1\n")],
    "show()": [iopub("display_data", data={"text/plain": "x", "application/json": {"a": [1, 2.5]}}, metadata={})],
    "1/0": raised("ZeroDivisionError", "division by zero"),
    "x = 1": [],
    "die": [KernelDied("gone")],
}


def toolkit(path: Path) -> JupyterToolkit:
    return JupyterToolkit(backend=Backend(LocalDocuments(path), ScriptedKernels(SCRIPT)))


def use(toolkit: JupyterToolkit, name: str, **arguments: Any) -> str:
    tool = next(tool for tool in toolkit.get_tools() if tool.name == name)
    return str(tool.invoke(tool_call(name, **arguments)).content[0]["text"])


def edited(path: Path, source: str) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source = source
    nbformat.write(notebook, path)


@pytest.mark.parametrize("source", ["print(1)", "show()", "1/0"])
def test_another_process_sees_that_a_cell_was_edited_after_its_run(tmp_path: Path, source: str) -> None:
    path = tmp_path / "a.ipynb"
    with toolkit(path) as first:
        use(first, "append_execute_code_cell", source=source)
    with toolkit(path) as second:
        untouched = use(second, "get_notebook_info"), use(second, "check_notebook")
    edited(path, source + "  # otherwise")
    with toolkit(path) as third:
        found = use(third, "get_notebook_info"), use(third, "check_notebook")

    assert "ran before the kernel started" in untouched[0]
    assert "edited" not in untouched[1]
    assert "stale (edited since it ran)" in found[0]
    assert "is stale: edited since it ran" in found[1]


def test_a_cell_that_somebody_else_ran_after_the_edit_is_not_called_edited(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    with toolkit(path) as first:
        use(first, "append_execute_code_cell", source="print(1)")
    edited(path, "print(2)")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text="2\n")]
    nbformat.write(notebook, path)

    with toolkit(path) as second:
        assert "edited" not in use(second, "check_notebook")


def test_of_a_cell_without_outputs_nothing_is_claimed(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    with toolkit(path) as first:
        use(first, "append_execute_code_cell", source="x = 1")
    edited(path, "x = 2")

    with toolkit(path) as second:
        assert "edited" not in use(second, "check_notebook")


def test_a_cell_in_which_the_kernel_ended_is_told_as_such_here_and_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    with toolkit(path) as first:
        use(first, "append_execute_code_cell", source="print(1)")
        use(first, "append_execute_code_cell", source="die")
        here = use(first, "get_notebook_info"), use(first, "check_notebook"), use(first, "run_cells", scope="stale")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].execution_count = None  # as of a kernel that ends before it tells its count
    nbformat.write(notebook, path)
    with toolkit(path) as second:
        there = use(second, "get_notebook_info"), use(second, "check_notebook")

    for outline, findings in (here[:2], there):
        assert "code died" in outline
        assert "was running when the kernel ended" in findings
        assert "never run" not in findings
    assert "died" not in here[2]  # what ended the kernel is not run again unasked


@pytest.mark.parametrize(
    ("status", "receipt", "died"),
    [("died", {}, True), ("running", {}, True), ("running", {"session": "s"}, False), ("ok", {}, False)],
)
def test_a_run_that_ended_with_our_process_has_died(status: str, receipt: dict[str, str], died: bool) -> None:
    mark = {**marks.begun("key", "e1", receipt), "status": status}

    assert marks.has_died(Cell("c1", "code", "x", metadata={"langchain_jupyter": mark})) is died


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [{"output_type": "stream", "name": "stdout", "text": 'a"\n😀é\ud800' * 300_000}],
        [{"output_type": "display_data", "data": {"b": {"z": [1, None], "a": 0.5}, "a": []}, "metadata": {}}],
        [{"output_type": "error", "ename": "E", "evalue": "", "traceback": ["1", "2"]}],
    ],
)
def test_outputs_are_known_by_the_digest_of_their_json(outputs: list[Any]) -> None:
    text = json.dumps(outputs, sort_keys=True)

    assert marks._fingerprint(outputs) == marks.digest(text)


def test_long_outputs_are_not_written_out_to_be_known_by_a_digest() -> None:
    outputs = [{"output_type": "stream", "name": "stdout", "text": "😀" * 5_000_000}]  # 60 MB of JSON

    tracemalloc.start()
    marks._fingerprint(outputs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 10_000_000
