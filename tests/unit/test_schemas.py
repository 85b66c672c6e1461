"""What a model sees of the tools, and what they accept beyond it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.errors import UsageError
from langchain_jupyter.tools import PRESETS, TOOLS
from tests import snapshots

DEFINITIONS = [convert_to_openai_tool(tool) for tool in JupyterToolkit("none.ipynb").get_tools()]
ARGUMENTS: dict[str, Any] = {
    tool.model_fields["name"].default: tool.model_fields["args_schema"].default for tool in TOOLS
}


def names(**options: Any) -> list[str]:
    return [tool.name for tool in JupyterToolkit(**options).get_tools()]


def test_the_definitions_read_as_reviewed() -> None:
    snapshots.check("tools", json.dumps(DEFINITIONS, indent=1, ensure_ascii=False) + "\n")


def test_the_definitions_for_many_notebooks_read_as_reviewed(tmp_path: Path) -> None:
    definitions = [convert_to_openai_tool(tool) for tool in JupyterToolkit(root=tmp_path).get_tools()]

    shown = [
        each for each in definitions if each["function"]["name"] in ("list_notebooks", "open_notebook", "read_cell")
    ]

    snapshots.check("tools_workspace", json.dumps(shown, indent=1, ensure_ascii=False) + "\n")


def test_the_definitions_are_short() -> None:
    assert len(json.dumps(DEFINITIONS, separators=(",", ":"))) <= 7_000


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition["function"]["name"])
def test_a_schema_is_flat(definition: dict[str, Any]) -> None:
    text = json.dumps(definition)

    kinds = {argument["type"] for argument in definition["function"]["parameters"]["properties"].values()}

    assert not [word for word in ("anyOf", "$ref", "null", "runtime", "tool_call_id") if word in text]
    assert kinds <= {"string", "integer", "number", "boolean", "array"}


def test_the_presets_are_those_that_are_documented() -> None:
    assert names(path="a.ipynb") == list(ARGUMENTS)
    assert names(tools="interpreter") == [
        "run_code", "read_output", "wait_for_execution", "inspect_variables", "interrupt_kernel", "restart_kernel",
    ]  # fmt: skip
    assert names(path="a.ipynb", tools="read_only") == [
        "get_notebook_info", "read_all_cells", "read_cell", "read_output", "inspect_variables",
        "check_notebook",
    ]  # fmt: skip


def test_tools_are_chosen_by_name() -> None:
    assert names(path="a.ipynb", tools=["read_cell", "run_code"]) == ["read_cell", "run_code"]


@pytest.mark.parametrize("tools", ["everything", ["read_cell", "rm"]])
def test_a_selection_that_does_not_exist_is_refused_with_what_does(tools: Any) -> None:
    with pytest.raises(UsageError, match=r"read_only|read_all_cells"):
        JupyterToolkit("a.ipynb", tools=tools)


def test_what_only_reads_is_all_that_read_only_has() -> None:
    assert {tool.effect for tool in PRESETS["read_only"]} == {"read"}


@pytest.mark.parametrize("spelling", ["cell_index", "index", "cell"])
@pytest.mark.parametrize("value", [0, "0"])
def test_a_cell_may_be_named_as_elsewhere(spelling: str, value: Any) -> None:
    assert ARGUMENTS["read_cell"](**{spelling: value}).cell == "0"


@pytest.mark.parametrize("spelling", ["cell_source", "code", "content", "source"])
@pytest.mark.parametrize("tool", ["append_markdown_cell", "append_execute_code_cell"])
def test_a_source_may_be_named_as_elsewhere(tool: str, spelling: str) -> None:
    assert ARGUMENTS[tool](**{spelling: "x"}).source == "x"


def test_a_timeout_may_be_named_as_elsewhere() -> None:
    assert ARGUMENTS["run_code"](code="1", timeout_seconds=5).timeout == 5


def test_scratch_code_keeps_its_own_name() -> None:
    assert ARGUMENTS["run_code"](code="1").code == "1"


@pytest.mark.parametrize("runtime", [{"config": {"configurable": {"thread_id": "forged"}}}, "x"])
def test_a_model_cannot_see_a_runtime(runtime: Any) -> None:
    assert "runtime" not in ARGUMENTS["read_cell"](cell="0", runtime=runtime).model_dump()
