"""The loop on which the work is done, as those see it who call from other threads and loops."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from langchain_jupyter import bridge as bridges
from langchain_jupyter.bridge import LoopBridge


async def test_a_call_after_the_thread_ended_waits_for_its_saving_and_holds_up_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bridges, "_STOP_TIMEOUT", 60.0)
    saving, saved, order = threading.Event(), threading.Event(), list[str]()

    async def save() -> None:
        saving.set()
        await asyncio.to_thread(saved.wait, 60)
        order.append("saved")

    async def call() -> None:
        order.append("called")

    bridge = LoopBridge(at_loss=save)
    await bridge.arun(lambda: asyncio.sleep(0))
    loop, ended = bridge._loop, bridge._thread
    assert loop is not None
    assert ended is not None
    loop.call_soon_threadsafe(sys.exit)
    assert await asyncio.to_thread(saving.wait, 60)

    async with asyncio.timeout(120):
        next_call = asyncio.create_task(bridge.arun(call))
        for _ in range(10):
            await asyncio.sleep(0)
        order.append("others went on")
        saved.set()
        await next_call

    assert order == ["others went on", "saved", "called"]
    assert not ended.is_alive()
    await asyncio.to_thread(bridge.close)
