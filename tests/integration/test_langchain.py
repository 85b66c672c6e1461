"""The tools as LangChain and LangGraph see them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from langgraph.checkpoint.memory import InMemorySaver

from langchain_jupyter import JupyterToolkit, create_jupyter_agent
from langchain_jupyter.testing import ScriptedModel, calls, tool_call

EXAMPLES: dict[str, dict[str, Any]] = {
    "get_notebook_info": {},
    "read_all_cells": {"find": "print"},
    "read_cell": {"cell": "0"},
    "read_output": {"output": "o1", "lines": 3},
    "append_markdown_cell": {"source": "# Title"},
    "insert_markdown_cell": {"cell": "0", "source": "above"},
    "append_execute_code_cell": {"source": "1 + 1"},
    "insert_execute_code_cell": {"cell": "0", "source": "2"},
    "execute_cell_with_progress": {"cell": "[1]"},
    "overwrite_cell_source": {"cell": "[1]", "source": "print('x\\n' * 5000)"},
    "edit_cell_source": {"cell": "[1]", "old": "5000", "new": "5000"},
    "move_cell": {"cell": "[1]", "before": ""},
    "delete_cell": {"cell": "1"},
    "run_code": {"code": "3"},
    "run_cells": {"scope": "below", "cell": "[1]"},
    "wait_for_execution": {"execution": "e1"},
    "inspect_variables": {"names": ["x"]},
    "check_notebook": {},
    "interrupt_kernel": {},
    "restart_kernel": {},
}


@pytest.fixture(scope="module", params=EXAMPLES)
def tool_and_example(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[BaseTool, dict[str, Any]]]:
    with JupyterToolkit(tmp_path_factory.mktemp("standard") / "a.ipynb") as toolkit:
        tools = {tool.name: tool for tool in toolkit.get_tools()}
        source = "print(*(f'line {n}' for n in range(5000)), sep='\\n')"
        tools["append_execute_code_cell"].invoke({"source": source})
        for text in "ab" * 4:
            tools["append_markdown_cell"].invoke({"source": text})
        yield tools[request.param], EXAMPLES[request.param]


class Standard:
    """What langchain-tests asks of a test class for one tool."""

    tool: BaseTool
    example: dict[str, Any]

    @pytest.fixture(autouse=True)
    def _chosen(self, tool_and_example: tuple[BaseTool, dict[str, Any]]) -> None:
        type(self).tool, type(self).example = tool_and_example

    @property
    def tool_constructor(self) -> Any:
        return self.tool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return dict(self.example)


class TestStandardUnit(Standard, ToolsUnitTests):
    """LangChain's own unit tests, for each tool."""


class TestStandardIntegration(Standard, ToolsIntegrationTests):
    """LangChain's own integration tests, for each tool."""


def test_every_tool_has_an_example() -> None:
    assert [tool.name for tool in JupyterToolkit("none.ipynb").get_tools()] == list(EXAMPLES)


def test_definitions_are_small_and_flat() -> None:
    tools = JupyterToolkit("none.ipynb").get_tools()

    text = json.dumps([convert_to_openai_tool(tool) for tool in tools], separators=(",", ":"))

    assert len(text) <= 7_000
    assert not [word for word in ("anyOf", "$ref", "null", "runtime", "tool_call_id") if word in text]


def test_an_agent_works_in_a_notebook_and_does_not_store_its_view_of_it(tmp_path: Path) -> None:
    model = ScriptedModel(
        [
            calls(
                tool_call("append_markdown_cell", source="# Sum"),
                tool_call("append_execute_code_cell", cell_source="sum(range(5))"),
            ),
            "Ten.",
        ]
    )
    with JupyterToolkit(tmp_path / "a.ipynb") as toolkit:
        agent = create_jupyter_agent(model, toolkit, task="data_analysis", checkpointer=InMemorySaver())
        state = agent.invoke({"messages": [("user", "Add.")]}, {"configurable": {"thread_id": "t"}})

    assert "10" in state["messages"][3].text
    assert [type(message).__name__ for message in state["messages"]] == [
        "HumanMessage", "AIMessage", "ToolMessage", "ToolMessage", "AIMessage",
    ]  # fmt: skip
    assert "sum(range(5))" in model.seen[1][-1].text
    assert model.seen[1][-1].text.count("\n") < 15


async def test_an_agent_works_in_async_code(tmp_path: Path) -> None:
    model = ScriptedModel([calls(tool_call("append_execute_code_cell", source="6 * 7")), "It is 42."])
    events: list[Any] = []

    async with JupyterToolkit(tmp_path / "a.ipynb") as toolkit:
        agent = create_jupyter_agent(model, toolkit)
        async for mode, event in agent.astream({"messages": [("user", "?")]}, stream_mode=["custom", "updates"]):
            if mode == "custom":
                events.append(event)

    assert events[0]["type"] == "jupyter_output"
    assert events[0]["outputs"][0]["text"] == "42"


def test_the_tools_work_in_create_react_agent(tmp_path: Path) -> None:
    from langgraph.prebuilt import create_react_agent

    model = ScriptedModel([calls(tool_call("append_execute_code_cell", source="1/0")), "It raises."])
    with JupyterToolkit(tmp_path / "a.ipynb") as toolkit, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # deprecated upstream, still used
        agent = create_react_agent(model, toolkit.get_tools())
        message = agent.invoke({"messages": [("user", "?")]})["messages"][2]

    assert isinstance(message, ToolMessage)
    assert message.status == "success"
    assert message.artifact["status"] == "error"


@pytest.mark.parametrize("react", [False, True], ids=["create_agent", "create_react_agent"])
def test_calls_of_one_turn_leave_their_cells_in_the_order_of_the_calls(tmp_path: Path, react: bool) -> None:
    from langgraph.prebuilt import create_react_agent

    code, text = "append_execute_code_cell", "append_markdown_cell"
    made = [call for number in range(5) for call in ((text, f"# {number}"), (code, f"{number} * 10"))]
    turns = [calls(*(tool_call(name, source=source) for name, source in made)), "Done."]
    with JupyterToolkit(tmp_path / "a.ipynb") as toolkit, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of create_react_agent
        make = create_react_agent if react else create_agent
        make(ScriptedModel(turns), toolkit.get_tools()).invoke({"messages": [("user", "Go.")]})

    cells = nbformat.read(tmp_path / "a.ipynb", as_version=4).cells
    assert [cell.source for cell in cells] == [source for _, source in made]
    assert [cell.execution_count for cell in cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5]


def test_a_call_that_is_repeated_from_a_checkpoint_runs_once(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    code = f"open({str(counter)!r}, 'a').write('x')"
    call = tool_call("append_execute_code_cell", source=code)
    with JupyterToolkit(tmp_path / "a.ipynb") as toolkit:
        agent = create_jupyter_agent(ScriptedModel([calls(call), "Done."]), toolkit, checkpointer=InMemorySaver())
        config: Any = {"configurable": {"thread_id": "t"}}
        agent.invoke({"messages": [("user", "Count.")]}, config)
        before_tools = next(s for s in agent.get_state_history(config) if s.next == ("tools",))
        agent.invoke(None, before_tools.config)

    assert counter.read_text() == "x"


def test_a_call_that_an_earlier_process_made_is_not_run_again(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    call = tool_call("append_execute_code_cell", "call_1", source=f"open({str(counter)!r}, 'a').write('x')")
    for _ in range(2):  # two toolkits: two kernels, two sessions, one file
        with JupyterToolkit(tmp_path / "a.ipynb") as toolkit:
            tool = next(tool for tool in toolkit.get_tools() if tool.name == call["name"])
            message = tool.invoke(call)

    assert counter.read_text() == "x"
    assert "not run again" in message.text


def test_a_big_figure_does_not_fill_the_checkpoints(tmp_path: Path) -> None:
    code = (
        "import io, os\nfrom IPython.display import Image\nfrom PIL import Image as P\n"
        "f = io.BytesIO(); P.frombytes('RGB', (900, 800), os.urandom(900 * 800 * 3)).save(f, 'PNG')\n"
        "Image(f.getvalue())"
    )
    saver = InMemorySaver()
    model = ScriptedModel([calls(tool_call("append_execute_code_cell", source=code)), "Noise."])
    with JupyterToolkit(tmp_path / "a.ipynb") as toolkit:
        agent = create_jupyter_agent(model, toolkit, checkpointer=saver)
        agent.invoke({"messages": [("user", "?")]}, {"configurable": {"thread_id": "t"}})

    blobs = sum(len(value[1]) for value in saver.blobs.values())
    writes = sum(len(write[2][1]) for entry in saver.writes.values() for write in entry.values())
    assert (tmp_path / "a.ipynb").stat().st_size > 2_000_000
    assert blobs + writes < 1_000_000


def test_images_move_to_a_message_of_the_user_for_chat_completions() -> None:
    from langchain_jupyter.middleware import _images_to_user

    image = {"type": "image", "base64": "eA==", "mime_type": "image/png"}
    messages = [ToolMessage([{"type": "text", "text": "ok"}, image], tool_call_id="1")]

    moved = _images_to_user(messages)

    assert moved[0].content == [{"type": "text", "text": "ok"}]
    assert isinstance(moved[1], HumanMessage)
    assert moved[1].content == [image]
