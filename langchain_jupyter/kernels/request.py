"""One request to a kernel, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from langchain_jupyter.errors import ConnectionLost, OutOfReach
from langchain_jupyter.kernels.kernel import SILENCE, UNFINISHED, Message, truncated
from langchain_jupyter.kernels.wire import Envelope

UNHEARD = (
    "The line to the kernel broke while it ran, and how it ended was not heard. The kernel is idle again, with its "
    "variables; nothing was run again."
)
_UNSEEN = (
    "The line to the kernel broke as it was sent, and nothing was heard of it: whether it ran is not known. The kernel "
    "is idle, with its variables; nothing was run again."
)


class Request:
    """What the kernel sends for one message id, to be iterated once; done after both the reply and the idle status.

    Where one of these two has come, and then nothing for three seconds, the other may be lost.

    Args:
        msg_id: Of the request; parent of all that comes.
        doubted: Told, once, that one of the two may be lost, to find out; if None, it is over then.
    """

    def __init__(self, msg_id: str, *, doubted: Callable[[], None] | None = None) -> None:
        self.msg_id = msg_id
        self.sender = ""
        self._doubted = doubted
        self._patience: float | None = SILENCE
        self._inbox: asyncio.Queue[Message | OutOfReach | None] = asyncio.Queue()
        self._replied = self._idle = self._heard = self._over = False

    @property
    def over(self) -> bool:
        """Whether nothing more is taken."""
        return self._over

    def take(self, envelope: Envelope) -> None:
        """A message that came for it."""
        self._heard, self.sender = True, str(envelope.header.get("session", ""))
        self._replied = self._replied or (envelope.channel != "iopub" and envelope.msg_type.endswith("_reply"))
        self._idle = self._idle or (envelope.msg_type == "status" and envelope.content.get("execution_state") == "idle")
        self.tell(envelope.message)
        if self._replied and self._idle:
            self._end(None)

    def tell(self, message: Message) -> None:
        """A message for it that is ours, or the kernel's."""
        if not self._over:
            self._inbox.put_nowait(message)

    def fail(self, error: OutOfReach) -> None:
        """Nothing more comes, and that is why."""
        self._end(error)

    def give_up(self) -> None:
        """The kernel has answered what was asked later: what has not come is lost."""
        if self._replied and not self._idle:
            self.tell(truncated(UNFINISHED))
        if self._replied or self._idle:
            self._end(None)
        else:
            self._end(ConnectionLost(UNHEARD if self._heard else _UNSEEN))

    async def __aiter__(self) -> AsyncIterator[Message]:
        while (item := await self._next()) is not None:
            if isinstance(item, OutOfReach):
                raise item
            yield item

    async def _next(self) -> Message | OutOfReach | None:
        try:
            async with asyncio.timeout(self._patience if self._replied or self._idle else None):
                return await self._inbox.get()
        except TimeoutError:
            if self._doubted is None:
                return None
            self._patience = None
            self._doubted()
            return await self._inbox.get()

    def _end(self, last: OutOfReach | None) -> None:
        if not self._over:
            self._over = True
            self._inbox.put_nowait(last)


def execute_content(code: str, *, allow_stdin: bool, store_history: bool) -> dict[str, Any]:
    """The content of an execute_request."""
    return {
        "code": code,
        "silent": False,
        "store_history": store_history,
        "user_expressions": {},
        "allow_stdin": allow_stdin,
        "stop_on_error": True,
    }
