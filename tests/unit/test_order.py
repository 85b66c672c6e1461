"""Calls of one turn are done in the order in which the model made them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

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
