"""What is asked of one kernel of a server, what it answers, and what that tells of its process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from langchain_jupyter.errors import ConnectionLost, KernelDied, KernelStartError, OutOfReach
from langchain_jupyter.kernels.evaluation import SUBSHELLS, evaluate
from langchain_jupyter.kernels.ipykernel import IPYKERNEL, deepen_content
from langchain_jupyter.kernels.kernel import TOO_LARGE, UNFINISHED, Channel, Message, truncated
from langchain_jupyter.kernels.numbers import DROPPED, Numbers
from langchain_jupyter.kernels.request import Request, execute_content
from langchain_jupyter.kernels.wire import Envelope
from langchain_jupyter.models import KernelState
from langchain_jupyter.servers.answers import KernelModel

logger = logging.getLogger(__name__)

SHUT_DOWN = "the kernel was shut down, by a person or because it was idle for long."
GAVE_UP = "the kernel ended, and the server could not start it again."
GAP = (
    "The line to the kernel broke while it ran, with another client on the kernel: output of that time is missing. "
    "It was not run again."
)
UNARRIVED = (
    "The line to the kernel broke while it ran: output of that moment is missing, which was on its way, or went to a "
    "client that came and left. It was not run again."
)
_CRASHED = "the kernel ended (out of memory?) and the server started it again."
_RESTARTED = "somebody restarted the kernel."
_FORMER = 100
_READY_TIMEOUT = 60.0
_ASK_AGAIN = 1.0
_INTRODUCTION = 5.0
_POLL = 0.1
_ARRIVAL = 60.0
_STATES: Mapping[str, KernelState] = {"idle": "idle", "busy": "busy", "starting": "starting"}
_RATE = (
    "The server left out output that came too fast. Print less, or start the server with {option}, which lifts its "
    "limit."
)
_RATES = {
    "IOPub data rate exceeded.": "--ServerApp.iopub_data_rate_limit=0",
    "IOPub message rate exceeded.": "--ServerApp.iopub_msg_rate_limit=0",
}


class Carrier(Protocol):
    """Takes messages to a kernel."""

    @property
    def session(self) -> str:
        """The session id of what we send."""

    def header(self, msg_type: str) -> dict[str, Any]:
        """The header of a new message of ours."""

    async def send(
        self,
        channel: Channel,
        head: Mapping[str, Any],
        content: Mapping[str, Any],
        parent_header: Mapping[str, Any] | None = None,
    ) -> None:
        """Send one message. That it was received is not promised.

        Raises:
            KernelDied, ConnectionLost: It was not sent.
        """


class Conversation:
    """Requests and answers, with whatever process the kernel has, over one line after the other.

    Args:
        died: Told, once, when the process has ended. Where `replaced`, another takes its place; or else the server has
            none in its place.

    Attributes:
        state: Of the kernel, also while other people's code runs.
        end: Why nothing can be asked; None while it can.
        identity: Session id of the process; "" if it is not known.
        line: What carries the messages; None if there is none.
        about: What the kernel has said of itself, as in its kernel_info_reply; empty if nothing yet.
        late: Told what is published for a request of ours when that is over.
    """

    def __init__(self, died: Callable[[bool], None]) -> None:
        self.state: KernelState = "not started"
        self.end: OutOfReach | None = None
        self.identity = ""
        self.line: Carrier | None = None
        self.about: Mapping[str, Any] = {}
        self.late: list[Callable[[Message], None]] = []
        self._died = died
        self._former: deque[str] = deque(maxlen=_FORMER)  # what they have sent comes in the next seconds, or never
        self._last = self._next = 0
        self._heard = 0.0
        self._numbers = Numbers()
        self._waiting: dict[str, Request] = {}
        self._question: Mapping[str, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def pending(self) -> bool:
        """Whether an answer is waited for."""
        return bool(self._waiting)

    @property
    def shown(self) -> KernelState:
        """The state as others are told it: busy while anything is asked."""
        return "busy" if self._waiting and self.state == "idle" else self.state

    @property
    def silence(self) -> float:
        """Seconds since something was heard."""
        return asyncio.get_running_loop().time() - self._heard

    # -- the line -----------------------------------------------------------------------------------------------

    def begin(self, line: Carrier) -> None:
        """Go on over that line."""
        self.line, self.end = line, None

    def stop(self) -> None:
        """Nothing more is done in the background."""
        for task in self._tasks:
            task.cancel()
        self.line = None

    def resumed(self, model: KernelModel, refused: bool = False) -> None:
        """The line is there again after it broke; the server said that of the kernel just before.

        Args:
            model: What the server said.
            refused: Whether it broke because a message was larger than is taken.
        """
        if refused:
            self.left_out()
        if model.connections != 0:
            self._tell(GAP)
        elif model.execution_state == "busy" and self._last:
            self._next = self._last + 1
        self.later(self.settle(list(self._waiting.values())))

    def left_out(self) -> None:
        """A message was larger than is taken; whose it was is not known."""
        for request in self._waiting.values():
            request.tell(TOO_LARGE)

    # -- what is asked ------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Refuse what cannot be sent.

        Raises:
            KernelDied: The kernel has ended, or was not started.
            ConnectionLost: The line to it is lost.
        """
        if isinstance(self.end, KernelDied):
            raise KernelDied(str(self.end))
        if self.end is not None:
            raise ConnectionLost(str(self.end))
        if self.line is None:
            raise KernelDied("the kernel was not started.")

    async def execute(
        self, code: str, *, allow_stdin: bool, store_history: bool, msg_id: str = ""
    ) -> AsyncIterator[Message]:
        """As `Kernel.execute` says; under that message id, if one is given."""
        self.check()
        content = execute_content(code, allow_stdin=allow_stdin, store_history=store_history)
        request = self.expect(msg_id or uuid.uuid4().hex)
        since, told = self._numbers.last, False
        try:
            await self._send(request, "execute_request", content)
            async for message in request:
                told = told or (message.msg_type == "truncated" and message != truncated(UNFINISHED))
                yield message
            if (count := self._numbers.lost(since)) and not told:
                yield truncated(DROPPED.format(count=count), shown=True)
        finally:
            self._waiting.pop(request.msg_id, None)

    async def evaluate(self, expression: str, *, beside: bool) -> Mapping[str, Any] | None:
        """As `Kernel.evaluate` says."""
        self.check()
        if beside and not self.about:
            await self._introduced()
        if beside and SUBSHELLS not in self.about.get("supported_features", ()):
            return None
        return await evaluate(self._reply_to, expression, beside=beside)

    def expect(self, msg_id: str) -> Request:
        """What comes for an execute_request, sent or about to be."""
        request = Request(msg_id, doubted=lambda: self.later(self.settle([request])))
        self._waiting[msg_id] = request
        return request

    async def follow(self, request: Request) -> AsyncIterator[Message]:
        """The messages of a request that was sent."""
        try:
            async for message in request:
                yield message
        finally:
            self._waiting.pop(request.msg_id, None)

    def answer(self, text: str) -> None:
        """Answer the input_request that the kernel has sent."""
        if self.line is not None:
            content = {"value": text, "status": "ok"}
            self.later(self.line.send("stdin", self.line.header("input_reply"), content, self._question))

    def wake(self) -> None:
        """Asleep in an `await` of the cell's, ipykernel 7 sees a signal when a message wakes it, and not before."""
        if self.line is not None:
            self.later(self.line.send("shell", self.line.header("kernel_info_request"), {}))

    async def settle(self, requests: Sequence[Request]) -> None:
        """Find out which of them are over: a request that the kernel answers comes behind them.

        What it publishes for that one comes behind what it has published for them, which may take its time.
        """
        if not await self._publishes():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ARRIVAL):
                    while not await self._publishes():
                        continue
        for request in requests:
            request.give_up()

    async def answering(self, unlike: str = "") -> None:
        """Wait until the kernel answers, with another process than that one. What an old one was asked is lost.

        One that somebody makes busy meanwhile is there, and answers when it is idle.

        Raises:
            KernelStartError: It does not answer in time, or has ended.
        """
        patience = _ASK_AGAIN
        try:
            async with asyncio.timeout(_READY_TIMEOUT):
                while await self._answers(patience) in ("", unlike):
                    if self.end is not None:
                        raise KernelStartError(f"The kernel did not start: {self.end}")
                    if self.state == "busy" and not unlike:
                        return
                    patience *= 2  # a slow machine may need longer for each answer
                    await asyncio.sleep(_POLL)
        except TimeoutError as error:
            raise KernelStartError(f"The kernel did not answer in {_READY_TIMEOUT:.0f}s.") from error

    async def deepen(self) -> None:
        """Have a kernel of ours drop less of what it publishes faster than its server takes, if it is an ipykernel."""
        if self.about.get("implementation") == IPYKERNEL:
            with contextlib.suppress(TimeoutError):  # somebody has begun to run something in it
                async with asyncio.timeout(_INTRODUCTION):
                    await self._ask("execute_request", deepen_content())

    async def _introduced(self) -> None:
        """Have a kernel that was found busy say what it can do, on the channel that it may answer meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_INTRODUCTION):
                await self._ask("kernel_info_request", channel="control")

    async def _publishes(self) -> bool:
        """Whether something comes that the kernel has published for a request that it has answered just now."""
        request = Request(uuid.uuid4().hex)
        self._waiting[request.msg_id] = request
        try:
            await self._send(request, "kernel_info_request", {})
            taken = [message async for message in request]
            return any(each.channel == "iopub" and each.msg_type != "truncated" for each in taken)
        finally:
            self._waiting.pop(request.msg_id, None)

    async def _answers(self, patience: float) -> str:
        """Session id of the process that answers; "" if none does soon."""
        try:
            async with asyncio.timeout(patience):
                sender, _ = await self._ask("kernel_info_request")
        except TimeoutError:
            return ""
        return sender or "?"

    async def _reply_to(
        self, channel: Channel, msg_type: str, content: Mapping[str, Any], *, subshell: str = ""
    ) -> Mapping[str, Any]:
        _, reply = await self._ask(msg_type, content, channel=channel, subshell=subshell)
        return reply

    async def _ask(
        self,
        msg_type: str,
        content: Mapping[str, Any] | None = None,
        *,
        channel: Channel = "shell",
        subshell: str = "",
    ) -> tuple[str, Mapping[str, Any]]:
        """Who answers, by session id, and the content of the reply."""
        request, reply = Request(uuid.uuid4().hex), dict[str, Any]()
        self._waiting[request.msg_id] = request
        try:
            await self._send(request, msg_type, content or {}, channel=channel, subshell=subshell)
            async for message in request:
                if message.channel == channel:
                    reply = dict(message.content)
        finally:
            self._waiting.pop(request.msg_id, None)
        return request.sender, reply

    async def _send(
        self,
        request: Request,
        msg_type: str,
        content: Mapping[str, Any],
        *,
        channel: Channel = "shell",
        subshell: str = "",
    ) -> None:
        assert self.line is not None
        head = {**self.line.header(msg_type), "msg_id": request.msg_id}
        if subshell:
            head["subshell_id"] = subshell
        await self.line.send(channel, head, content)

    # -- what comes ---------------------------------------------------------------------------------------------

    def receive(self, envelope: Envelope) -> None:
        """One message, from the kernel or from its server."""
        self._heard = asyncio.get_running_loop().time()
        session = str(envelope.header.get("session", ""))
        if self.line is None or self.end is not None or session in self._former:
            return
        self._numbers.take(envelope.header)
        if envelope.number is not None and session == self.identity:
            self._count(envelope.number)
        if envelope.msg_type == "kernel_info_reply":
            self.about = envelope.content
        if envelope.channel == "iopub":
            self._track(envelope, self.line)
        elif envelope.msg_type == "input_request":
            self._question = envelope.header
        request = self._waiting.get(envelope.parent)
        if request is None or request.over:
            self._trail(envelope, self.line)
            return
        request.take(envelope)
        if (option := self._limit(envelope)) is not None:
            request.tell(truncated(_RATE.format(option=option)))

    def _track(self, envelope: Envelope, line: Carrier) -> None:
        """Keep the state; notice that the process has ended. While it starts, one that ends is waited out."""
        starting = self.state == "starting"
        if envelope.msg_type == "shutdown_reply":
            if not envelope.content.get("restart"):
                self.shut_down(SHUT_DOWN)
            elif not starting:
                self._die(_RESTARTED)
        elif envelope.msg_type == "status":
            state = envelope.content.get("execution_state")
            if envelope.parent:
                self._identify(str(envelope.header.get("session", "")), line)
            elif state in ("restarting", "autorestarting"):
                if not starting:
                    self._die(_CRASHED)
            elif state == "dead":
                self.shut_down(GAVE_UP)
            if self.end is None:
                self.state = _STATES.get(str(state), self.state)

    def _trail(self, envelope: Envelope, line: Carrier) -> None:
        if envelope.channel == "iopub" and envelope.parent_header.get("session") == line.session:
            for callback in self.late:
                callback(envelope.message)

    def _identify(self, session: str, line: Carrier) -> None:
        """Each process has a session id of its own, unless it gives back ours: so another process is noticed."""
        if session in ("", line.session, self.identity):
            return
        before, self.identity = self.identity, session
        if not before:
            return
        self._former.append(before)
        if self.state == "starting":
            self._died(True)
        else:
            self._die(_RESTARTED)

    def _limit(self, envelope: Envelope) -> str | None:
        """The option that lifts the limit which the server says was exceeded, under its own session id."""
        if envelope.msg_type != "stream" or envelope.content.get("name") != "stderr":
            return None
        if envelope.header.get("session") == self.identity:
            return None  # code that prints those words
        return _RATES.get(str(envelope.content.get("text", "")).split("\n", 1)[0])

    def _count(self, number: int) -> None:
        """Notice what is missing though nobody is on the kernel.

        Somebody was, and left again; or the server had sent it when the line broke, and keeps nothing that it has sent.
        """
        if self._next and number > self._next:
            self._tell(UNARRIVED)
        self._next, self._last = 0, number

    def _tell(self, gap: str) -> None:
        for request in self._waiting.values():
            request.tell(truncated(gap))

    # -- the end ------------------------------------------------------------------------------------------------

    def forget_process(self) -> str:
        """Another process takes the place of this one, by our doing; returns the identity of this one."""
        before, self.identity = self.identity, ""
        if before:
            self._former.append(before)
        return before

    def lose(self, error: OutOfReach) -> None:
        """Nothing more is heard, and how what runs has ended is not known."""
        self.end, self.state = error, "disconnected"
        self.fail(ConnectionLost(str(error)))

    def shut_down(self, why: str) -> None:
        """The process ended, and the server has none in its place."""
        self.end, self.state = KernelDied(why), "dead"
        self.fail(self.end)
        self._died(False)

    def _die(self, why: str) -> None:
        self.end, self.state = KernelDied(why), "dead"
        self.fail(self.end)
        self._died(True)

    def fail(self, error: OutOfReach) -> None:
        """Nothing more comes for whatever was asked, and that is why."""
        for request in self._waiting.values():
            request.fail(type(error)(str(error)))  # a raised exception keeps its traceback: for each one of its own

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do that in the background, until `stop`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.info("in the background of a kernel: %s", error)
