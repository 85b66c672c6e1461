"""The examples run, with scripted models in place of real ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
from langchain_core.messages import ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.testing import ScriptedModel, calls, tool_call

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG: Any = {"configurable": {"thread_id": "t"}}


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_supervisor_an_analyst_and_a_reviewer_work_on_one_notebook(tmp_path: Path) -> None:
    boss = ScriptedModel(
        [
            calls(tool_call("analyse", task="Add two and two.")),
            calls(tool_call("review", question="Is the sum right?")),
            calls(tool_call("analyse", task="Mend the sum.")),
            "It is four.",
        ]
    )
    analyst = ScriptedModel(
        [
            calls(tool_call("append_execute_code_cell", source="total = 2 + 3\ntotal")),
            "The sum stands.",
            calls(tool_call("edit_cell_source", cell="0", old="2 + 3", new="2 + 2", run=True)),
            "Mended.",
        ]
    )
    reviewer = ScriptedModel([calls(tool_call("read_cell", cell="0")), "It adds 3, not 2."])
    with JupyterToolkit(tmp_path / "a.ipynb") as toolkit:
        team = example("supervisor").supervisor(
            toolkit, boss=boss, analyst=analyst, reviewer=reviewer, checkpointer=InMemorySaver()
        )
        state = team.invoke({"messages": [("user", "Add.")]}, CONFIG)

    (cell,) = nbformat.read(tmp_path / "a.ipynb", as_version=4).cells
    reports = [message.text for message in state["messages"] if isinstance(message, ToolMessage)]
    assert reports == ["The sum stands.", "It adds 3, not 2.", "Mended."]
    assert "total = 2 + 3" in reviewer.seen[-1][-1].text
    assert cell.source == "total = 2 + 2\ntotal"
    assert cell.outputs[0]["data"]["text/plain"] == "4"
