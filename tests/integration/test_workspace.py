"""Many notebooks below one folder, on real kernels."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from langchain_core.messages import ToolMessage

from langchain_jupyter import JupyterToolkit, create_jupyter_agent
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.errors import UsageError
from langchain_jupyter.testing import ScriptedModel, calls, tool_call


class Desk:
    """A toolkit with a root, and a short way to call its tools."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.root = root
        self.toolkit = JupyterToolkit(root=root, **options)
        self.tools = {tool.name: tool for tool in self.toolkit.get_tools()}

    def __call__(self, name: str, **arguments: Any) -> ToolMessage:
        message: ToolMessage = self.tools[name].invoke(tool_call(name, **arguments))
        return message


def write(path: Path, *sources: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    write(tmp_path / "a.ipynb", "x = 'of a'", "x")
    write(tmp_path / "sub/b.ipynb", "x = 'of b'")
    desk = Desk(tmp_path)
    with desk.toolkit:
        yield desk


def test_each_notebook_has_a_kernel_and_variables_of_its_own(desk: Desk) -> None:
    desk("append_execute_code_cell", notebook="a.ipynb", source="x = 'of a'")
    desk("append_execute_code_cell", notebook="sub/b.ipynb", source="x = 'of b'")

    assert "of a" in desk("run_code", notebook="a.ipynb", code="x").text
    assert "of b" in desk("run_code", notebook="./sub/b.ipynb", code="x").text
    assert str(desk.root / "sub") in desk("run_code", notebook="sub/b.ipynb", code="import os; os.getcwd()").text


def test_the_list_tells_size_state_and_kernels(desk: Desk) -> None:
    before = desk("list_notebooks").text.splitlines()
    desk("run_code", notebook="sub/b.ipynb", code="1")
    after = desk("list_notebooks").text.splitlines()

    assert before[0].startswith(f"2 notebooks in {desk.root} · 0 open · kernels: ")
    assert "python3 (Python 3" in before[0]
    assert [line.partition(" ")[0] for line in before[1:]] == ["a.ipynb", "sub/b.ipynb"]
    assert after[1].startswith("sub/b.ipynb · ")
    assert after[1].endswith(" · open, kernel python3 idle")


def test_a_long_list_is_cut_to_folders_with_their_counts(desk: Desk) -> None:
    for number in range(500):
        write(desk.root / f"many/of {number % 7}/{number}.ipynb")

    message = desk("list_notebooks")

    assert len(message.text) <= 6_000
    assert "more notebooks; list_notebooks(path=…) shows a folder: " in message.text
    assert "many/of 6 71" in message.text
    assert message.artifact["total"] == 502


def test_opening_gives_the_outline_and_making_a_notebook_is_said_by_it(desk: Desk) -> None:
    known = desk("open_notebook", path="a.ipynb")
    made = desk("open_notebook", path="new/n.ipynb", create=True)
    again = desk("open_notebook", path="new/n.ipynb", create=True)

    assert known.text.startswith("a.ipynb · saved · kernel python3")
    assert "x = 'of a'" in known.text
    assert made.text.startswith("new/n.ipynb · saved · kernel python3")
    assert again.status == "success"
    assert (desk.root / "new/n.ipynb").is_file()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"path": "none.ipynb"}, "notebook_not_found"),
        ({"path": "../x.ipynb", "create": True}, "outside_root"),
        ({"path": "a.ipynb", "kernel": "cobol"}, "kernel_not_found"),
        ({"path": "broken.ipynb"}, "notebook_unavailable"),
    ],
)
def test_what_cannot_be_opened_is_told_to_the_model(desk: Desk, arguments: dict[str, Any], code: str) -> None:
    (desk.root / "broken.ipynb").write_text("{")

    message = desk("open_notebook", **arguments)

    assert message.status == "error"
    assert message.artifact["code"] == code
    assert message.text.startswith(f"[{code}] ")


def test_a_tool_on_a_notebook_that_is_not_there_fails_and_makes_nothing(desk: Desk) -> None:
    message = desk("append_markdown_cell", notebook="c.ipynb", source="text")

    assert message.artifact["code"] == "notebook_not_found"
    assert not (desk.root / "c.ipynb").exists()


def test_a_new_kernel_forgets_and_every_caller_is_told(desk: Desk) -> None:
    desk("append_execute_code_cell", notebook="a.ipynb", source="y = 1")
    same = desk("open_notebook", path="a.ipynb")
    fresh = desk("open_notebook", path="a.ipynb", kernel="new")
    gone = desk("run_code", notebook="a.ipynb", code="'y' in globals()")

    assert "all variables are gone" not in same.text
    assert fresh.text.startswith("[The notebook was opened with another kernel: all variables are gone")
    assert "False" in gone.text


def test_a_kernel_is_not_taken_from_a_cell_that_runs(desk: Desk) -> None:
    desk("append_execute_code_cell", notebook="a.ipynb", source="import time; time.sleep(60)", timeout=0.1)

    message = desk("open_notebook", path="a.ipynb", kernel="new")

    assert message.artifact["code"] == "busy"


async def test_idle_notebooks_are_closed_and_saved_and_busy_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "idle.ipynb", "1")
    write(tmp_path / "busy.ipynb", "1")
    desk = Desk(tmp_path, idle_close=0.5)
    closed, loop, close = asyncio.Event(), asyncio.get_running_loop(), FileStore.close

    async def closing(store: FileStore) -> None:
        await close(store)
        loop.call_soon_threadsafe(closed.set)

    monkeypatch.setattr(FileStore, "close", closing)
    async with desk.toolkit, asyncio.timeout(120):
        tools = desk.tools
        busy = {"notebook": "busy.ipynb", "source": "import time; time.sleep(600)", "timeout": 0.1}
        await tools["append_execute_code_cell"].ainvoke(busy)
        await tools["append_execute_code_cell"].ainvoke({"notebook": "idle.ipynb", "source": "kept = 1"})
        await closed.wait()
        opened = list(desk.toolkit.workspace.opened)
        told = await tools["run_code"].ainvoke({"notebook": "idle.ipynb", "code": "'kept' in globals()"})

    assert opened == ["busy.ipynb"]
    assert "closed because nobody used it" in told[0]["text"]
    assert "False" in told[0]["text"]
    assert "kept = 1" in (tmp_path / "idle.ipynb").read_text()


def test_every_tool_but_two_names_its_notebook_first(desk: Desk) -> None:
    firsts = {name: next(iter(tool.args), "") for name, tool in desk.tools.items()}

    assert firsts.pop("list_notebooks") == firsts.pop("open_notebook") == "path"
    assert set(firsts.values()) == {"notebook"}


def test_with_one_notebook_there_is_no_such_argument(tmp_path: Path) -> None:
    assert not [tool for tool in JupyterToolkit(tmp_path / "a.ipynb").get_tools() if "notebook" in tool.args]


def test_other_spellings_are_taken_beside_the_notebook(desk: Desk) -> None:
    assert "of a" in desk("read_cell", notebook="a.ipynb", cell_index=0).text


def test_an_agent_works_in_two_notebooks(tmp_path: Path) -> None:
    write(tmp_path / "a.ipynb", "1")
    turns = [
        calls(tool_call("list_notebooks")),
        calls(
            tool_call("append_execute_code_cell", notebook="a.ipynb", source="6 * 7"),
            tool_call("open_notebook", path="report.ipynb", create=True),
        ),
        calls(tool_call("append_markdown_cell", notebook="report.ipynb", source="It is 42.")),
    ]
    model = ScriptedModel(turns)
    with JupyterToolkit(root=tmp_path) as toolkit:
        create_jupyter_agent(model, toolkit).invoke({"messages": [("user", "compute and report")]})

    assert "It is 42." in (tmp_path / "report.ipynb").read_text()
    assert json.loads((tmp_path / "a.ipynb").read_text())["cells"][-1]["outputs"][0]["data"]["text/plain"] == ["42"]
    assert "a.ipynb · kernel python3" in str(model.seen[-1][-1].content)


@pytest.mark.parametrize(
    "options", [{"path": "a.ipynb", "root": "."}, {"root": "no such folder"}, {"root": ".", "tools": "notebook"}, {}]
)
def test_a_toolkit_of_no_place_or_of_two_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        JupyterToolkit(**options)
