"""A kernel of a Jupyter server, hub server or gateway."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any

from langchain_jupyter.errors import (
    ConnectionLost,
    JupyterError,
    KernelDied,
    KernelStartError,
    OutOfReach,
    ServerError,
    ServerUnreachable,
)
from langchain_jupyter.kernels.evaluation import SUBSHELLS, evaluate
from langchain_jupyter.kernels.kernel import Channel, Message, truncated
from langchain_jupyter.kernels.lease import Lease, Wanted, give_back, take
from langchain_jupyter.kernels.line import SHUT_DOWN, Line
from langchain_jupyter.kernels.request import Request, execute_content
from langchain_jupyter.kernels.wire import Envelope
from langchain_jupyter.models import KernelInfo, KernelState
from langchain_jupyter.servers.hub import awake
from langchain_jupyter.servers.server import Capabilities, JupyterServer

logger = logging.getLogger(__name__)

_READY_TIMEOUT = 60.0
_CLOSE_TIMEOUT = 15.0
_RESTART_TIMEOUT = 120.0
_GONE_TIMEOUT = 10.0
_ASK_AGAIN = 1.0
_QUIET = 10.0
_POLL = 0.1
_NOT_FOUND = 404
_STATES: Mapping[str, KernelState] = {"idle": "idle", "busy": "busy", "starting": "starting"}
_CRASHED = "the kernel ended (out of memory?) and the server started it again."
_GAVE_UP = "the kernel ended, and the server could not start it again."
_RESTARTED = "somebody restarted the kernel."
_ANOTHER = "the kernel that ran it is not there any more."
_GAP = (
    "The line to the kernel broke while it ran, with another client on the kernel: output of that time is missing. "
    "It was not run again."
)
_MOMENT = (
    "Our process ended while it ran, and took it up again: output of that very moment may be missing. It was not run "
    "again."
)
_RATE = (
    "The server left out output that came too fast. Print less, or start the server with {option}, which lifts its "
    "limit."
)
_RATES = {
    "IOPub data rate exceeded.": "--ServerApp.iopub_data_rate_limit=0",
    "IOPub message rate exceeded.": "--ServerApp.iopub_msg_rate_limit=0",
}


class RemoteKernel:
    """A kernel that people may be on as well: what they run in it changes its state, and does not reach us.

    Args:
        server: The server that runs it; not closed with the kernel.
        choice: "" for the notebook's running kernel, or else a new one of its kernel spec; the name of a kernel spec;
            the id of a running kernel; "new" for a new one. A kernel that somebody uses is never ended for another.
        path: The notebook's path on the server; its folder is where code runs. "" for none.
        capabilities: What the server can do; asked for at the start if None.
        keep: Whether `close` leaves it running though we started it.
    """

    def __init__(
        self,
        server: JupyterServer,
        choice: str = "",
        *,
        path: str = "",
        capabilities: Capabilities | None = None,
        keep: bool = False,
    ) -> None:
        self._server = server
        self._choice = choice
        self._path = path.strip("/")
        self._spec = ""
        self._keep = keep
        self._sessions = None if capabilities is None else capabilities.sessions
        self._lease: Lease | None = None
        self._taking: asyncio.Task[Lease] | None = None
        self._line: Line | None = None
        self._end: OutOfReach | None = None
        self._untold = False
        self._gone = ""
        self._state: KernelState = "not started"
        self._identity = ""
        self._features: Sequence[str] = ()
        self._last = self._next = 0
        self._heard = 0.0
        self._waiting: dict[str, Request] = {}
        self._promised = ""
        self._recalled: Mapping[str, str] = {}
        self._question: Mapping[str, Any] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()

    @property
    def info(self) -> KernelInfo:
        state: KernelState = "busy" if self._waiting and self._state == "idle" else self._state
        if self._lease is None:
            return KernelInfo(self._choice or self._spec, state=state)
        lease = self._lease
        return KernelInfo(lease.spec, lease.language, state, lease.display_name, found=not lease.ours)

    @property
    def kernel_id(self) -> str:
        """Its id on the server; "" while it has none."""
        return "" if self._lease is None else self._lease.kernel_id

    def prefer(self, spec: str) -> None:
        self._spec = spec

    def on_death(self, callback: Callable[[], None]) -> None:
        """Call back when the process ends without our doing.

        At once if another takes its place; at the next `start` if somebody shut it down, since starting another one
        at once would undo what they meant.
        """
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Be ready for code: on the kernel that we have if it is there, or else on a new one.

        Raises:
            KernelStartError: Unknown kernel spec or id, or it did not start.
            ServerUnreachable: Nobody answers.
            ServerRefused: The token does not allow it.
            ServerError: Anything else that the server answered.
            ConnectionLost: It did not answer in time.
        """
        async with self._lock:
            if not await self._ready():
                await self._start()

    async def restart(self) -> None:
        async with self._lock:
            self._fail(KernelDied("the kernel was restarted."))
            await self._leave_line()
            self._untold, before, self._identity = False, self._identity, ""
            if self._lease is not None:
                await self._restart(self._lease)
            await self._start(unlike=before)

    async def close(self) -> None:
        """End the kernel if we started it, are not to keep it, and nobody else is on it; or else leave it alone."""
        async with self._lock:
            ended = False
            try:
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    ended = await self._give_back()
            except (JupyterError, TimeoutError) as error:
                logger.warning("the kernel %s may run on: %s", self.kernel_id, error)
            self._fail(
                KernelDied("the notebook was closed, and its kernel with it.")
                if ended
                else ConnectionLost("The notebook was closed while it ran; the kernel runs on.")
            )
            await self._leave_line()
            self._lease, self._state, self._untold = None, "not started", False

    async def interrupt(self) -> None:
        if self.info.state == "busy":
            await self._server.request("POST", f"/api/kernels/{self.kernel_id}/interrupt")

    def answer(self, text: str) -> None:
        if self._line is not None:
            content = {"value": text, "status": "ok"}
            self._later(self._line.send("stdin", self._line.header("input_reply"), content, self._question))

    def receipt(self) -> Mapping[str, str]:
        if self._line is None:
            return {}
        self._promised = uuid.uuid4().hex
        return {"kernel": self.kernel_id, "session": self._line.session, "msg_id": self._promised}

    async def left(self, receipt: Mapping[str, str]) -> bool:
        try:
            model = await self._server.get(f"/api/kernels/{receipt['kernel']}")
        except OutOfReach:
            return False
        return bool(model.get("connections") == 0)

    async def alone(self) -> bool:
        if self._line is None:
            return False
        return int((await self._line.model()).get("connections", 0)) <= self._line.up

    def recall(self, receipt: Mapping[str, str]) -> AsyncIterator[Message]:
        request = self._waiting[receipt["msg_id"]] = Request(receipt["msg_id"])
        if self._line is None:
            request.tell(truncated(_MOMENT))
            self._recalled = receipt
        elif receipt["kernel"] != self.kernel_id:
            request.fail(KernelDied(_ANOTHER))
        else:
            request.tell(truncated(_GAP))
            self._later(self._settle([request]))
        return self._followed(request)

    async def _followed(self, request: Request) -> AsyncIterator[Message]:
        try:
            async for message in request:
                yield message
        finally:
            self._waiting.pop(request.msg_id, None)

    async def execute(
        self, code: str, *, allow_stdin: bool = False, store_history: bool = True
    ) -> AsyncIterator[Message]:
        self._check()
        content = execute_content(code, allow_stdin=allow_stdin, store_history=store_history)
        promised, self._promised = self._promised, ""
        async for message in self._followed(await self._ask("execute_request", content, msg_id=promised)):
            yield message

    async def evaluate(self, expression: str, *, beside: bool = False) -> Mapping[str, Any] | None:
        self._check()
        if beside and SUBSHELLS not in self._features:
            return None
        return await evaluate(self._reply_to, expression, beside=beside)

    async def _reply_to(
        self, channel: Channel, msg_type: str, content: Mapping[str, Any], *, subshell: str = ""
    ) -> Mapping[str, Any]:
        request = await self._ask(msg_type, content, channel=channel, subshell=subshell)
        reply: Mapping[str, Any] = {}
        try:
            async for message in request:
                if message.channel == channel:
                    reply = message.content
        finally:
            del self._waiting[request.msg_id]
        return reply

    # -- from start to end --------------------------------------------------------------------------------------

    async def _ready(self) -> bool:
        """Whether the kernel that we have is there; asked for if nothing was heard of it for a while."""
        if self._line is None or self._end is not None or not (self._line.up or self._waiting):
            return False  # a line that is down is opened anew where no run hangs on it
        if await self._line.settled() is not None:
            return False
        if self._silence > _QUIET:
            await self._look(self._line)
        return self._end is None

    async def _start(self, *, unlike: str = "") -> None:
        await self._leave_line()
        if isinstance(self._end, KernelDied) and self._lease is not None:
            unlike, self._identity = self._identity, ""
        if self._untold:
            self._tell_death()
        self._state = "starting"
        try:
            await self._find()
            assert self._lease is not None
            await self._open(self._lease, unlike=unlike)
        except BaseException as error:
            await self._leave_line()
            lost: KernelState = "disconnected" if self._lease is not None else "not started"
            self._state = "dead" if isinstance(error, KernelStartError) else lost
            if self._recalled:
                self._fail(ConnectionLost(f"How it ended is not known. {error}"))
                self._recalled = {}
            raise

    async def _find(self) -> None:
        """Make sure that we have a kernel."""
        await awake(self._server)
        if self._sessions is None:
            self._sessions = (await self._server.capabilities()).sessions
        if self._gone:
            await self._leaving(self._gone)
        if self._lease is not None and await self._model(self._lease.kernel_id) is None:
            self._lease = None
            self._tell_death()
        if self._taking is not None:
            self._lease, self._taking = await self._taking, None
        if self._lease is None:
            wanted = Wanted(choice=self._choice, spec=self._spec, path=self._path, sessions=self._sessions)
            self._taking = asyncio.create_task(take(self._server, wanted))
            try:
                self._lease, self._identity = await asyncio.shield(self._taking), ""
            finally:  # given up, it goes on: the server starts the kernel all the same, and `close` ends it
                self._taking = None if self._taking.done() else self._taking

    async def _open(self, lease: Lease, *, unlike: str) -> None:
        recalled, self._recalled = self._recalled, {}
        ours = recalled.get("kernel") == lease.kernel_id
        line = Line(
            self._server,
            lease.kernel_id,
            receive=self._receive,
            resumed=self._resumed,
            ended=self._ended,
            session=recalled["session"] if ours else "",
        )
        self._line, self._end = line, None
        model = await line.model()
        state = model.get("execution_state")
        await line.open()
        if ours:
            self._resumed(model)
        elif recalled:
            self._fail(KernelDied(_ANOTHER))
        if unlike or state != "busy":  # what is asked of a busy kernel waits until it is idle
            await self._answering(unlike)
            state = "busy" if self._state == "busy" else "idle"
        self._state = _STATES.get(str(state), "idle")
        self._later(self._watch(line))

    async def _answering(self, unlike: str) -> None:
        """Wait until the kernel answers, with another process than that one. What an old one was asked is lost.

        One that somebody makes busy meanwhile is there, and answers when it is idle.
        """
        try:
            async with asyncio.timeout(_READY_TIMEOUT):
                while await self._answers() in ("", unlike):
                    if self._state == "busy" and not unlike:
                        return
                    await asyncio.sleep(_POLL)
        except TimeoutError as error:
            raise KernelStartError(f"The kernel {self.kernel_id} did not answer in {_READY_TIMEOUT:.0f}s.") from error

    async def _answers(self) -> str:
        """Session id of the process that answers; "" if none does soon."""
        request = await self._ask("kernel_info_request", {})
        try:
            async with asyncio.timeout(_ASK_AGAIN):
                async for message in request:
                    if message.msg_type == "kernel_info_reply":
                        self._features = message.content.get("supported_features", ())
        except TimeoutError:
            return ""
        finally:
            del self._waiting[request.msg_id]
        return request.sender or "?"

    async def _restart(self, lease: Lease) -> None:
        path = f"/api/kernels/{lease.kernel_id}/restart"
        try:
            await self._server.request("POST", path, json={}, timeout=_RESTART_TIMEOUT)
        except ServerError as error:
            if error.status != _NOT_FOUND:
                raise KernelStartError(f"The kernel did not restart: {error}") from error
            self._lease = None

    async def _give_back(self) -> bool:
        """Whether the kernel was ended."""
        if self._taking is not None:
            self._lease, self._taking = await self._taking, None
        lease = self._lease
        if lease is None or not lease.ours or self._keep:
            return False
        if (model := await self._model(lease.kernel_id)) is None:
            return True
        ourselves = self._line is not None and self._line.up
        if int(model.get("connections", 0)) > ourselves:
            logger.info("the kernel %s is left running: others are on it", lease.kernel_id)
            return False
        if self._waiting:
            await self.interrupt()  # code that runs holds up the end of the process
        await give_back(self._server, lease)
        return True

    async def _leave_line(self) -> None:
        for task in self._tasks:
            task.cancel()
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    async def _model(self, kernel_id: str) -> Mapping[str, Any] | None:
        """What the server says of a kernel; None if it has none of that id."""
        try:
            found: Mapping[str, Any] = await self._server.get(f"/api/kernels/{kernel_id}")
        except ServerError as error:
            if error.status != _NOT_FOUND:
                raise
            return None
        return found

    async def _leaving(self, kernel_id: str) -> None:
        """Wait for the end of a kernel that is being shut down: the server lists it until then."""
        try:
            async with asyncio.timeout(_GONE_TIMEOUT):
                while await self._model(kernel_id) is not None:  # noqa: ASYNC110, the server sends no event
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            logger.warning("the kernel %s is being shut down, and is there still", kernel_id)
        self._gone = ""

    # -- what is asked and what comes ---------------------------------------------------------------------------

    def _check(self) -> None:
        """Refuse what cannot be sent.

        Raises:
            KernelDied: The kernel has ended, or was not started.
            ConnectionLost: The line to it is lost.
        """
        if isinstance(self._end, KernelDied):
            raise KernelDied(str(self._end))
        if self._end is not None:
            raise ConnectionLost(str(self._end))
        if self._line is None:
            raise KernelDied("the kernel was not started.")

    async def _ask(
        self,
        msg_type: str,
        content: Mapping[str, Any],
        *,
        channel: Channel = "shell",
        subshell: str = "",
        msg_id: str = "",
    ) -> Request:
        assert self._line is not None
        head = self._line.header(msg_type)
        if subshell:
            head["subshell_id"] = subshell
        if msg_id:
            head["msg_id"] = msg_id
        msg_id = head["msg_id"]
        request = self._waiting[msg_id] = Request(msg_id)
        try:
            await self._line.send(channel, head, content)
        except BaseException:
            del self._waiting[msg_id]
            raise
        return request

    def _receive(self, envelope: Envelope) -> None:
        self._heard = asyncio.get_running_loop().time()
        if self._line is None or self._end is not None:
            return
        if envelope.number is not None and envelope.header["session"] == self._identity:
            self._count(envelope.number)
        if envelope.channel == "iopub":
            self._follow(envelope, self._line)
        elif envelope.msg_type == "input_request":
            self._question = envelope.header
        request = self._waiting.get(envelope.parent)
        if request is None:
            return
        request.take(envelope)
        if (option := self._limit(envelope)) is not None:
            request.tell(truncated(_RATE.format(option=option)))

    def _follow(self, envelope: Envelope, line: Line) -> None:
        """Keep the state, also while other people's code runs; notice that the process has ended."""
        if envelope.msg_type == "shutdown_reply":
            if envelope.content.get("restart"):
                self._die(_RESTARTED)
            else:
                self._shut_down(SHUT_DOWN)
        elif envelope.msg_type == "status":
            state = envelope.content.get("execution_state")
            if envelope.parent:
                self._identify(str(envelope.header.get("session", "")), line)
            elif state in ("restarting", "autorestarting"):
                self._die(_CRASHED)
            elif state == "dead":
                self._shut_down(_GAVE_UP)
            if self._end is None:
                self._state = _STATES.get(str(state), self._state)

    def _identify(self, session: str, line: Line) -> None:
        """Each process has a session id of its own, unless it gives back ours: so another process is noticed."""
        if session in ("", line.session, self._identity):
            return
        before, self._identity = self._identity, session
        if not before:
            return
        if self._state == "starting":
            self._tell_death()
        else:
            self._die(_RESTARTED)

    def _limit(self, envelope: Envelope) -> str | None:
        """The option that lifts the limit which the server says was exceeded, under its own session id."""
        if envelope.msg_type != "stream" or envelope.content.get("name") != "stderr":
            return None
        if envelope.header.get("session") == self._identity:
            return None  # code that prints those words
        return _RATES.get(str(envelope.content.get("text", "")).split("\n", 1)[0])

    def _resumed(self, model: Mapping[str, Any]) -> None:
        """The line is there again."""
        if model.get("connections") != 0:
            self._tell_gap()
        elif model.get("execution_state") == "busy" and self._last:
            self._next = self._last + 1
        self._later(self._settle(list(self._waiting.values())))

    def _count(self, number: int) -> None:
        """Notice what is missing though nobody is on the kernel: somebody was, and left again."""
        if self._next and number > self._next:
            self._tell_gap()
        self._next, self._last = 0, number

    def _tell_gap(self) -> None:
        for request in self._waiting.values():
            request.tell(truncated(_GAP))

    async def _settle(self, requests: list[Request]) -> None:
        """Find out which of them are over: a request that the kernel answers comes behind them."""
        probe = await self._ask("kernel_info_request", {})
        try:
            async for _ in probe:
                pass
        finally:
            del self._waiting[probe.msg_id]
        for request in requests:
            request.give_up()

    async def _watch(self, line: Line) -> None:
        """Not every kernel tells that it is shut down: ask the server when a run is silent for long."""
        while self._end is None:
            await asyncio.sleep(_QUIET)
            if self._waiting and self._silence > _QUIET:
                with contextlib.suppress(ServerUnreachable, ConnectionLost):  # the line tells, if that lasts
                    await self._look(line)

    async def _look(self, line: Line) -> None:
        """Notice that the server has no such kernel any more."""
        try:
            model = await line.model()
        except ServerError as error:
            if error.status != _NOT_FOUND:
                raise
            self._shut_down(str(await line.gone()))
            return
        if model.get("execution_state") == "dead":
            self._shut_down(_GAVE_UP)

    def _ended(self, error: OutOfReach) -> None:
        """The line could not be taken up again."""
        if isinstance(error, KernelDied):
            self._shut_down(str(error))
            return
        self._end, self._state = error, "disconnected"
        self._fail(ConnectionLost(str(error)))

    def _die(self, why: str) -> None:
        """The process ended, and another takes its place."""
        self._end, self._state = KernelDied(why), "dead"
        self._fail(self._end)
        self._tell_death()

    def _shut_down(self, why: str) -> None:
        """The process ended, and the server has none in its place."""
        self._end, self._state, self._untold = KernelDied(why), "dead", True
        self._gone, self._lease = self.kernel_id, None
        self._fail(self._end)

    def _tell_death(self) -> None:
        self._untold = False
        for callback in self._callbacks:
            callback()

    def _fail(self, error: OutOfReach) -> None:
        for request in self._waiting.values():
            request.fail(_copy(error))

    @property
    def _silence(self) -> float:
        return asyncio.get_running_loop().time() - self._heard

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.info("in the background of the kernel %s: %s", self.kernel_id, error)


def _copy(error: OutOfReach) -> OutOfReach:
    """For each who waits one of their own: a raised exception keeps its traceback."""
    return type(error)(str(error))
