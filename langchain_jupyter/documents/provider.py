"""One replica of a shared document, and the WebSocket that joins it to the others in a room.

Source: https://github.com/yjs/y-protocols/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pycrdt import (
    Awareness,
    Decoder,
    Doc,
    Encoder,
    TransactionEvent,
    YMessageType,
    YSyncMessageType,
    create_awareness_message,
    create_sync_message,
    create_update_message,
    handle_sync_message,
    read_message,
)

from langchain_jupyter.errors import ConnectionLost
from langchain_jupyter.servers.server import WebSocket

T = TypeVar("T")

logger = logging.getLogger(__name__)

_RAW = 2
"""Messages of jupyter-collaboration itself, beside those of the y-protocols: a save, a conflict."""

_LEAVE = 1.0
_RENEW = 15.0


class Replica:
    """A copy of a shared document: what is ours in it, and how much of that the server is known to have.

    Attributes:
        ydoc: The copy.
        awareness: Who is there, and where their cursors are.
        before: Called before a message of others is applied, outside of any transaction.
        after: Called after it has been.

    Args:
        client_id: What tells its changes from those of others; None for a random number.
    """

    def __init__(self, client_id: int | None = None) -> None:
        self.ydoc: Doc[Any] = Doc(client_id=client_id)
        self.awareness = Awareness(self.ydoc)
        self.before: Callable[[], None] = _nothing
        self.after: Callable[[], None] = _nothing
        self._forward: Callable[[bytes], None] | None = None
        self._receiving = False
        self._changes = self._confirmed = self._clock = 0
        self._subscription = self.ydoc.observe(self._changed)

    @property
    def confirmed(self) -> bool:
        """Whether the server has all that was changed here."""
        return self._changes == self._confirmed

    def connect(self, forward: Callable[[bytes], None] | None) -> None:
        """Hand each change of ours to `forward`, as a message; None for nobody."""
        self._forward = forward

    def take(self, message: bytes) -> bytes | None:
        """Apply a message of the sync protocol; returns the answer to it, if it asks for one."""
        if message[1] == YSyncMessageType.SYNC_STEP1:
            _clocks(read_message(message[2:]))  # pycrdt looks for no end of a state vector that says to be long
        self.before()
        self._receiving = True
        try:
            answer = handle_sync_message(message[1:], self.ydoc)
        finally:
            self._receiving = False
        self.after()
        return answer

    def mark(self) -> tuple[int, int]:
        """How far we are now, for `confirm`."""
        return self._changes, _clocks(self.ydoc.get_state()).get(self.ydoc.client_id, 0)

    def confirm(self, mark: tuple[int, int]) -> None:
        """The server has what was changed here before that mark."""
        changes, clock = mark
        self._confirmed, self._clock = max(self._confirmed, changes), max(self._clock, clock)

    def continues_in(self, state: bytes) -> bool:
        """Whether a room with that state vector still has all that it is known to have had.

        If it has not, it was made anew: joined to it, texts would double and cells vanish. A history of the file alone
        (client 0, the same for every room of that content) tells nothing.
        """
        theirs = _clocks(state)
        known = {**_clocks(self.ydoc.get_state()), self.ydoc.client_id: self._clock}
        covered = all(theirs.get(client, 0) >= clock for client, clock in known.items())
        return covered and any(client != 0 and clock for client, clock in known.items())

    def close(self) -> None:
        """Observe no more."""
        self._forward = None
        self.ydoc.unobserve(self._subscription)

    def _changed(self, event: TransactionEvent) -> None:
        if self._receiving:
            return
        self._changes += 1
        if self._forward is not None:
            self._forward(create_update_message(event.update))


class RoomProvider:
    """Carries one replica over one WebSocket, until that breaks.

    Args:
        socket: Freshly opened, to a room.
        replica: What takes part.

    Attributes:
        diverged: Whether an update did not fit the other side's history; the replica must not be joined again.
    """

    def __init__(self, socket: WebSocket, replica: Replica) -> None:
        self.diverged = False
        self._socket = socket
        self._replica = replica
        self._joined = False
        self._early: list[bytes] = []
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._greeting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._barriers: list[tuple[asyncio.Future[None], tuple[int, int]]] = []
        self._saves: dict[int, asyncio.Future[str]] = {}
        self._numbers = itertools.count(1)
        self._observing = replica.awareness.observe(self._aware)
        self._tasks = [asyncio.create_task(work()) for work in (self._receive, self._transmit, self._renew)]
        self._end = asyncio.create_task(self._ending())

    @property
    def close_code(self) -> int | None:
        """Why the server closed the line; None while it stands."""
        return self._socket.close_code

    @property
    def close_reason(self) -> str:
        """What the server said when it closed the line."""
        return self._socket.close_reason

    @property
    def refused(self) -> bool:
        """Whether we closed the line, over a message that was too large."""
        return self._socket.refused

    async def room_state(self) -> bytes:
        """The state vector of the room, with which the server greets.

        Raises:
            ConnectionLost: It never came.
        """
        return read_message((await self._or_lost(self._greeting))[2:])

    async def join(self) -> None:
        """Exchange what either side lacks; from then on every change is passed on, both ways.

        Raises:
            ConnectionLost: The line broke first.
        """
        greeting = await self._or_lost(self._greeting)
        self._joined = True
        self._replica.connect(self._outbox.put_nowait)
        early, self._early = self._early, []
        try:
            for message in (greeting, *early):
                self._answer(message)
        except Exception as error:
            self.diverged = True
            raise ConnectionLost(f"What the room says of the notebook cannot be read ({error}).") from error
        await self.barrier()

    async def barrier(self) -> None:
        """Wait until the server has applied all that was changed here so far: it works in order.

        Raises:
            ConnectionLost: The line broke first.
        """
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._barriers.append((answered, self._replica.mark()))
        self._outbox.put_nowait(create_sync_message(self._replica.ydoc))
        await self._or_lost(answered)

    async def save(self) -> str:
        """Have the server write the file; one at a time, or it answers only one.

        Returns:
            "success", which the server also says where it was interrupted or failed; "skipped" or "failed".

        Raises:
            ConnectionLost: The line broke first.
        """
        number = next(self._numbers)
        answered = self._saves[number] = asyncio.get_running_loop().create_future()
        message = Encoder()
        message.write_var_uint(_RAW)
        message.write_var_string("save")
        message.write_var_uint(number)
        self._outbox.put_nowait(message.to_bytes())
        return await self._or_lost(answered)

    def gone(self, other: Replica) -> None:
        """Tell the room that another replica of ours, which lost its own line, is no longer there."""
        client = other.awareness.client_id
        other.awareness.set_local_state(None)
        self._outbox.put_nowait(create_awareness_message(other.awareness.encode_awareness_update([client])))

    async def ended(self) -> None:
        """Wait until the line is broken or closed."""
        await asyncio.wait({self._end})

    async def close(self) -> None:
        """Take leave of the others and close the line, within some seconds."""
        self._replica.awareness.set_local_state(None)
        with contextlib.suppress(TimeoutError, ConnectionLost):
            async with asyncio.timeout(_LEAVE):
                await self._or_lost(asyncio.ensure_future(self._outbox.join()))
        for task in self._tasks:
            task.cancel()
        await self.ended()

    # -- inside -------------------------------------------------------------------------------------------------

    async def _or_lost(self, answered: asyncio.Future[T]) -> T:
        waited: set[asyncio.Future[Any]] = {answered, self._end}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not answered.done() or answered.cancelled():
            answered.cancel()
            raise ConnectionLost("The connection to the room broke.")
        return answered.result()

    async def _receive(self) -> None:
        async for message in self._socket:
            if isinstance(message, bytes) and message:
                self._handle(message)

    async def _transmit(self) -> None:
        while True:
            await self._socket.send(await self._outbox.get())
            self._outbox.task_done()

    async def _renew(self) -> None:
        """Go on being there: who is silent for 30 s counts as gone."""
        while True:
            await asyncio.sleep(_RENEW)
            awareness = self._replica.awareness
            awareness.set_local_state(awareness.get_local_state())

    async def _ending(self) -> None:
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self._replica.connect(None)
        self._replica.awareness.unobserve(self._observing)
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            # pycrdt's panics are no Exception
            if isinstance(ended, BaseException) and not isinstance(ended, (ConnectionLost, asyncio.CancelledError)):
                logger.warning("a message of the room could not be taken in", exc_info=ended)
                self.diverged = True
        await self._socket.close()

    def _handle(self, message: bytes) -> None:
        if message[0] == YMessageType.AWARENESS:
            self._replica.awareness.apply_awareness_update(read_message(message[1:]), self)
        elif message[0] == _RAW:
            self._take_note(json.loads(Decoder(message[1:]).read_var_string()))
        elif message[0] == YMessageType.SYNC and self._joined:
            self._answer(message)
        elif message[0] == YMessageType.SYNC and message[1] == YSyncMessageType.SYNC_STEP1:
            _clocks(read_message(message[2:]))
            if not self._greeting.done():
                self._greeting.set_result(message)
        elif message[0] == YMessageType.SYNC:
            self._early.append(message)

    def _answer(self, message: bytes) -> None:
        answer = self._replica.take(message)
        if answer is not None:
            self._outbox.put_nowait(answer)
        if message[1] == YSyncMessageType.SYNC_STEP2 and self._barriers:
            answered, mark = self._barriers.pop(0)
            self._replica.confirm(mark)
            if not answered.done():
                answered.set_result(None)

    def _take_note(self, said: Mapping[str, Any]) -> None:
        if said.get("type") == "save":
            answered = self._saves.pop(said.get("responseTo", 0), None)
            if answered is not None and not answered.done():
                answered.set_result(str(said.get("status")))
        elif said.get("type") == "conflict":
            self.diverged = True
            self._tasks[0].cancel()

    def _aware(self, topic: str, changes: tuple[Mapping[str, list[int]], Any]) -> None:
        """Tell the room of our own presence, whenever it changes or is renewed."""
        kinds, origin = changes
        if topic == "update" and origin == "local":
            clients = [client for kind in kinds.values() for client in kind]
            state = self._replica.awareness.encode_awareness_update(clients)
            self._outbox.put_nowait(create_awareness_message(state))


def _clocks(state: bytes) -> dict[int, int]:
    """A state vector: how many changes of each client a document has."""
    decoder = Decoder(state)
    return {decoder.read_var_uint(): decoder.read_var_uint() for _ in range(decoder.read_var_uint())}


def _nothing() -> None:
    pass
