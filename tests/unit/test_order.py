"""Calls of one turn are done in the order in which the model made them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.backends import Backend, LocalDocuments
from langchain_jupyter.testing import ScriptedKernels, calls, tool_call
from langchain_jupyter.tools.order import Order

NAMES = ("append", "read")


def turn(*ids: str, name: str = "append", message_id: str = "m1") -> dict[str, Any]:
    calls = [{"name": name, "args": {}, "id": each} for each in ids]
    return {"messages": [HumanMessage("Do it."), AIMessage("", tool_calls=calls, id=message_id)]}


async def done(order: Order, state: Any, arrivals: Sequence[str], *, seconds: float = 0.0) -> list[str]:
    """The order in which calls are done that come one after another."""
    found: list[str] = []

    async def call(tool_call_id: str) -> None:
        async with order.kept("thread", state, tool_call_id, NAMES):
            found.append(f"{tool_call_id} begins")
            await asyncio.sleep(seconds)
            found.append(f"{tool_call_id} ends")

    async with asyncio.timeout(30):
        await asyncio.gather(*(call(each) for each in arrivals))
    return found


async def test_calls_that_come_the_wrong_way_round_are_done_the_right_way_round() -> None:
    found = await done(Order(), turn("a", "b", "c"), ["c", "b", "a"], seconds=0.01)

    assert found == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]


async def test_a_call_that_somebody_refused_holds_up_none() -> None:
    assert await done(Order(), turn("a", "b", "c"), ["c", "b"]) == ["b begins", "b ends", "c begins", "c ends"]


async def test_calls_of_other_tools_are_not_waited_for() -> None:
    order, state = Order(), turn("a", "b", name="search")
    async with asyncio.timeout(30), order.kept("thread", state, "a", NAMES):
        assert await done(order, state, ["b"]) == ["b begins", "b ends"]


async def test_a_call_that_fails_lets_the_next_go_on_and_may_come_again() -> None:
    order, state = Order(), turn("a", "b")
    with pytest.raises(ZeroDivisionError):
        async with order.kept("thread", state, "a", NAMES):
            raise ZeroDivisionError

    assert await done(order, state, ["b", "a"]) == ["a begins", "a ends", "b begins", "b ends"]


async def test_an_id_that_comes_again_in_another_turn_is_another_call() -> None:
    order = Order()
    await done(order, turn("a", "b"), ["a", "b"])

    found = await done(order, turn("a", "b", message_id="m2"), ["b", "a"])

    assert found == ["a begins", "a ends", "b begins", "b ends"]


@pytest.mark.parametrize("state", [None, {}, {"messages": []}, [], turn("z")])
async def test_a_call_that_no_message_makes_waits_for_nothing(state: Any) -> None:
    assert await done(Order(), state, ["a"]) == ["a begins", "a ends"]


def test_the_positions_in_one_turn_are_those_that_the_model_saw(tmp_path: Path) -> None:
    backend = Backend(LocalDocuments(tmp_path / "a.ipynb"), ScriptedKernels())
    with JupyterToolkit(backend=backend) as toolkit:
        tools = {tool.name: tool for tool in toolkit.get_tools()}
        for name in "abcde":
            tools["append_markdown_cell"].invoke({"source": name})
        graph = StateGraph(MessagesState).add_node("tools", ToolNode(toolkit.get_tools())).add_edge(START, "tools")
        both = calls(
            tool_call("delete_cell", cell="1"),
            tool_call("delete_cell", cell="2"),
            tool_call("insert_markdown_cell", cell="0", source="first"),
            tool_call("overwrite_cell_source", cell="4", source="E"),
        )
        graph.compile().invoke({"messages": [both]})
        outline = str(tools["read_all_cells"].invoke({})[0]["text"])

    assert [line for line in outline.splitlines() if len(line) == 1 or line == "first"] == ["first", "a", "d", "E"]
