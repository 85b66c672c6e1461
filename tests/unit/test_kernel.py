"""When the answers to one request are complete."""

from __future__ import annotations

import asyncio

import pytest

from langchain_jupyter.errors import ConnectionLost, KernelDied
from langchain_jupyter.kernels import kernel as kernel_module
from langchain_jupyter.kernels.kernel import OVER, UNFINISHED, Inbox, Message, truncated, until_idle
from langchain_jupyter.testing import iopub, printed

REPLY = Message("shell", "execute_reply", {"status": "ok"})
BUSY, IDLE = (iopub("status", execution_state=state) for state in ("busy", "idle"))


async def taken(*messages: Message | KernelDied | ConnectionLost) -> list[Message]:
    inbox: Inbox = asyncio.Queue()
    for message in messages:
        inbox.put_nowait(message)
    async with asyncio.timeout(30):
        return [message async for message in until_idle(inbox)]


@pytest.mark.parametrize("ending", [(REPLY, IDLE), (IDLE, REPLY), (REPLY, printed("late"), IDLE)])
async def test_both_reply_and_idle_end_it_in_either_order(ending: tuple[Message, ...]) -> None:
    found = await taken(BUSY, printed("x"), *ending, printed("of nobody"))

    assert found == [BUSY, printed("x"), *ending]


async def test_where_no_reply_comes_silence_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_module, "SILENCE", 0.01)

    assert await taken(BUSY, IDLE) == [BUSY, IDLE]


async def test_where_the_end_of_the_output_never_comes_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_module, "SILENCE", 0.01)

    assert await taken(BUSY, REPLY) == [BUSY, REPLY, truncated(UNFINISHED)]


async def test_output_that_is_on_its_way_still_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_module, "SILENCE", 0.01)
    inbox: Inbox = asyncio.Queue()
    inbox.put_nowait(REPLY)

    async def arrived() -> None:
        for message in (printed("late"), IDLE):
            inbox.put_nowait(message)

    async with asyncio.timeout(5):
        assert [message async for message in until_idle(inbox, arrived)] == [REPLY, printed("late"), IDLE]


@pytest.mark.parametrize("before", [(), (REPLY,), (IDLE,)])
async def test_it_ends_when_the_kernel_is_known_to_be_done_with_it(before: tuple[Message, ...]) -> None:
    assert await taken(BUSY, *before, OVER) == [BUSY, *before]


@pytest.mark.parametrize("fault", [KernelDied("gone"), ConnectionLost("broken")])
async def test_what_ends_it_before_is_raised(fault: KernelDied | ConnectionLost) -> None:
    with pytest.raises(type(fault)):
        await taken(BUSY, fault)
