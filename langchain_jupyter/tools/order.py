"""The calls of one turn of a model, done one after another in the order in which it made them.

A graph does them all at once, in threads where it is sync; and who asks for a heading and a cell wants them in that
order. Nothing is lost by it: the graph waits for all of them in any case.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

_GRACE = 0.25
"""Seconds within which calls of one turn come; one that does not was refused by somebody before it came to us."""

_KEPT = 1_000

_Key: TypeAlias = tuple[str, str, str]


@dataclass(slots=True)
class _Place:
    """Of one call: set when it has come, and when it is over."""

    come: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Order:
    """Which calls have come, and which are over. All methods belong to one event loop."""

    def __init__(self) -> None:
        self._places: dict[_Key, _Place] = {}

    @contextlib.asynccontextmanager
    async def kept(self, thread: str, state: Any, tool_call_id: str, names: Collection[str]) -> AsyncIterator[None]:
        """Within it, the calls of these tools that stand before this one in its turn are over.

        Args:
            thread: Of the graph.
            state: Of the graph, with the message that makes the call.
            tool_call_id: Of the call; where no message makes it, nothing is waited for.
            names: Of the tools whose calls count.
        """
        turn, earlier = turn_of(state, tool_call_id, names)
        if not turn:
            yield
            return
        key = thread, turn, tool_call_id
        place = self._place(key)
        place.come.set()
        try:
            for each in earlier:
                await self._over(self._place((thread, turn, each)))
            yield
        except BaseException:  # it may come again, after a person was asked
            self._places.pop(key, None)
            raise
        finally:
            place.over.set()

    def _place(self, key: _Key) -> _Place:
        place = self._places.setdefault(key, _Place())
        while len(self._places) > _KEPT:
            del self._places[next(iter(self._places))]
        return place

    async def _over(self, place: _Place) -> None:
        try:
            async with asyncio.timeout(_GRACE):
                await place.come.wait()
        except TimeoutError:
            return
        await place.over.wait()


def turn_of(state: Any, tool_call_id: str, names: Collection[str]) -> tuple[str, Sequence[str]]:
    """The id of the message that makes a call, and those of the calls in it that come before; empty if there is none.

    Args:
        state: Of the graph, with its messages.
        tool_call_id: Of the call.
        names: Of the tools whose calls count.
    """
    messages = state.get("messages") if isinstance(state, Mapping) else getattr(state, "messages", state)
    for message in reversed(messages if isinstance(messages, list) else []):
        calls = getattr(message, "tool_calls", None) or ()
        ids = [call["id"] for call in calls]
        if tool_call_id in ids:
            before = calls[: ids.index(tool_call_id)]
            return message.id or " ".join(ids), [call["id"] for call in before if call["name"] in names]
    return "", ()
