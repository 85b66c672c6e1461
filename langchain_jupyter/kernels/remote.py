"""A kernel of a Jupyter server, hub server or gateway."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
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
from langchain_jupyter.kernels.company import Company
from langchain_jupyter.kernels.conversation import GAP, GAVE_UP, Conversation
from langchain_jupyter.kernels.kernel import Message, truncated
from langchain_jupyter.kernels.lease import Lease, Wanted, give_back, take
from langchain_jupyter.kernels.line import Line
from langchain_jupyter.models import KernelInfo, KernelState
from langchain_jupyter.servers.answers import KernelModel
from langchain_jupyter.servers.hub import awake
from langchain_jupyter.servers.server import Capabilities, JupyterServer

logger = logging.getLogger(__name__)

_CLOSE_TIMEOUT = 15.0
_RESTART_TIMEOUT = 120.0
_GONE_TIMEOUT = 10.0
_QUIET = 10.0
_POLL = 0.1
_NOT_FOUND = 404
_ANOTHER = "the kernel that ran it is not there any more."
_MOMENT = (
    "Our process ended while it ran, and took it up again: output of that very moment may be missing. It was not run "
    "again."
)


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
        self._talk = Conversation(self._died)
        self._former: list[Lease] = []
        self._company = Company(server)
        self._untold = self._used = self._followed = False
        self._gone = ""
        self._promised = ""
        self._recalled: Mapping[str, str] = {}
        self._callbacks: list[Callable[[], None]] = []
        self._lock = asyncio.Lock()

    @property
    def info(self) -> KernelInfo:
        state = self._talk.shown
        if self._lease is None:
            return KernelInfo(self._choice or self._spec, state=state)
        lease = self._lease
        return KernelInfo(
            lease.spec, lease.language, state, lease.display_name, found=not lease.ours, followed=self._followed
        )

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

    def on_late(self, callback: Callable[[Message], None]) -> None:
        self._talk.late.append(callback)

    async def start(self) -> None:
        """Be ready for code: on the kernel that we have if it is there, or else on a new one.

        Where people have the notebook open in another kernel by now, and nobody else is on ours, that one is used from
        now on, as if ours had been restarted.

        Raises:
            KernelStartError: Unknown kernel spec or id, or it did not start.
            ServerUnreachable: Nobody answers.
            ServerRefused: The token does not allow it.
            ServerError: Anything else that the server answered.
            ConnectionLost: It did not answer in time.
            OutOfReach: People are on ours and on another kernel; said once, and the next `start` is on ours.
        """
        async with self._lock:
            if await self._ready():
                assert self._lease is not None
                idle = not self._talk.pending
                other = await self._company.elsewhere(self._wanted, self._lease) if idle else None
                if other is None:
                    return
                await self._follow(other)
            await self._start()

    async def restart(self) -> None:
        async with self._lock:
            self._talk.fail(KernelDied("the kernel was restarted."))
            await self._leave_line()
            self._untold = self._followed = False
            before = self._talk.forget_process()
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
            self._talk.fail(
                KernelDied("the notebook was closed, and its kernel with it.")
                if ended
                else ConnectionLost("The notebook was closed while it ran; the kernel runs on.")
            )
            await self._leave_line()
            self._lease, self._talk.state, self._untold, self._followed = None, "not started", False, False

    async def interrupt(self) -> None:
        if self._talk.shown == "busy":
            await self._interrupt()
            self._talk.wake()

    async def _interrupt(self) -> None:
        await self._server.request("POST", f"/api/kernels/{self.kernel_id}/interrupt")

    def answer(self, text: str) -> None:
        self._talk.answer(text)

    def receipt(self) -> Mapping[str, str]:
        if self._line is None:
            return {}
        self._promised = uuid.uuid4().hex
        return {"kernel": self.kernel_id, "session": self._line.session, "msg_id": self._promised}

    async def left(self, receipt: Mapping[str, str]) -> bool:
        try:
            model = await self._server.read(KernelModel, f"/api/kernels/{receipt['kernel']}")
        except OutOfReach:
            return False
        return model.connections == 0

    async def alone(self) -> bool:
        if self._line is None:
            return False
        return (await self._line.model()).others <= self._line.up

    def recall(self, receipt: Mapping[str, str]) -> AsyncIterator[Message]:
        request = self._talk.expect(receipt["msg_id"])
        self._used = True
        if self._line is None:
            request.tell(truncated(_MOMENT))
            self._recalled = receipt
        elif receipt["kernel"] != self.kernel_id:
            request.fail(KernelDied(_ANOTHER))
        else:
            request.tell(truncated(GAP))
            self._talk.later(self._talk.settle([request]))
        return self._talk.follow(request)

    def execute(self, code: str, *, allow_stdin: bool = False, store_history: bool = True) -> AsyncIterator[Message]:
        msg_id, self._promised = self._promised, ""
        self._used = True
        return self._talk.execute(code, allow_stdin=allow_stdin, store_history=store_history, msg_id=msg_id)

    async def evaluate(self, expression: str, *, beside: bool = False) -> Mapping[str, Any] | None:
        return await self._talk.evaluate(expression, beside=beside)

    # -- from start to end --------------------------------------------------------------------------------------

    async def _ready(self) -> bool:
        """Whether the kernel that we have is there; asked for if nothing was heard of it for a while."""
        talk = self._talk
        if self._line is None or talk.end is not None or not (self._line.up or talk.pending):
            return False  # a line that is down is opened anew where no run hangs on it
        if await self._line.settled() is not None:
            return False
        if talk.silence > _QUIET:
            await self._look(self._line)
        return talk.end is None

    async def _start(self, *, unlike: str = "") -> None:
        await self._leave_line()
        talk = self._talk
        if isinstance(talk.end, KernelDied) and self._lease is not None:
            unlike = talk.forget_process()
        if self._untold:
            self._tell_death()
        talk.state = "starting"
        try:
            await self._find()
            assert self._lease is not None
            await self._open(self._lease, unlike=unlike)
        except BaseException as error:
            await self._leave_line()
            lost: KernelState = "disconnected" if self._lease is not None else "not started"
            talk.state = "dead" if isinstance(error, KernelStartError) else lost
            if self._recalled:
                talk.fail(ConnectionLost(f"How it ended is not known. {error}"))
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
            self._taking = asyncio.create_task(take(self._server, self._wanted))
            try:
                self._lease, self._talk.identity = await asyncio.shield(self._taking), ""
                self._followed, self._used = self._used and not self._lease.ours, False
            finally:  # given up, it goes on: the server starts the kernel all the same, and `close` ends it
                self._taking = None if self._taking.done() else self._taking

    @property
    def _wanted(self) -> Wanted:
        return Wanted(choice=self._choice, spec=self._spec, path=self._path, sessions=bool(self._sessions))

    async def _follow(self, other: Lease) -> None:
        """Use that kernel from now on. One of ours ends at once if nothing has run in it, or else with `close`."""
        former, known = self._lease, {each.kernel_id: each for each in self._former}
        assert former is not None
        logger.info("people have %s open in the kernel %s, and not in %s", self._path, other.kernel_id, self.kernel_id)
        self._lease = known.get(other.kernel_id, other)
        self._former = [each for each in (*self._former, former) if each != self._lease]
        await self._leave_line()
        self._talk.identity = ""
        if self._used or not former.ours:
            self._followed, self._used = True, False
            self._tell_death()
            return
        with contextlib.suppress(OutOfReach):
            if await self._end(former, ourselves=1):
                self._former.remove(former)

    async def _open(self, lease: Lease, *, unlike: str) -> None:
        recalled, self._recalled = self._recalled, {}
        ours = recalled.get("kernel") == lease.kernel_id
        talk = self._talk
        line = Line(
            self._server,
            lease.kernel_id,
            receive=talk.receive,
            resumed=talk.resumed,
            ended=self._ended,
            session=recalled["session"] if ours else "",
        )
        self._line = line
        talk.begin(line)
        model = await line.model()
        await line.open()
        if ours:
            talk.resumed(model)
        elif recalled:
            talk.fail(KernelDied(_ANOTHER))
        busy = model.execution_state == "busy"
        if unlike or not busy:  # what is asked of a busy kernel waits until it is idle
            await talk.answering(unlike)
            busy = talk.state == "busy"
        if lease.ours and not busy:
            await talk.deepen()
        talk.state = "busy" if busy else "idle"
        talk.later(self._watch(line))

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
        former, self._former = self._former, []
        for each in former:
            await self._end(each, ourselves=0)
        if self._lease is None:
            return False
        return await self._end(self._lease, ourselves=self._line is not None and self._line.up)

    async def _end(self, lease: Lease, *, ourselves: int) -> bool:
        """Whether a kernel was ended: only if it is ours, not to be kept, and nobody else is on it."""
        if not lease.ours or self._keep:
            return False
        if (model := await self._model(lease.kernel_id)) is None:
            return True
        if model.others > ourselves:
            logger.info("the kernel %s is left running: others are on it", lease.kernel_id)
            return False
        if self._talk.pending:
            await self._interrupt()  # code that runs holds up the end of the process
        await give_back(self._server, lease)
        return True

    async def _leave_line(self) -> None:
        self._talk.stop()
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    async def _model(self, kernel_id: str) -> KernelModel | None:
        """What the server says of a kernel; None if it has none of that id."""
        try:
            return await self._server.read(KernelModel, f"/api/kernels/{kernel_id}")
        except ServerError as error:
            if error.status != _NOT_FOUND:
                raise
            return None

    async def _leaving(self, kernel_id: str) -> None:
        """Wait for the end of a kernel that is being shut down: the server lists it until then."""
        try:
            async with asyncio.timeout(_GONE_TIMEOUT):
                while await self._model(kernel_id) is not None:  # noqa: ASYNC110, the server sends no event
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            logger.warning("the kernel %s is being shut down, and is there still", kernel_id)
        self._gone = ""

    # -- the end ------------------------------------------------------------------------------------------------

    async def _watch(self, line: Line) -> None:
        """Not every kernel tells that it is shut down: ask the server when a run is silent for long."""
        while self._talk.end is None:
            await asyncio.sleep(_QUIET)
            if self._talk.pending and self._talk.silence > _QUIET:
                with contextlib.suppress(ServerUnreachable, ConnectionLost):  # the line tells, if that lasts
                    await self._look(line)

    async def _look(self, line: Line) -> None:
        """Notice that the server has no such kernel any more."""
        try:
            model = await line.model()
        except ServerError as error:
            if error.status != _NOT_FOUND:
                raise
            self._talk.shut_down(str(await line.gone()))
            return
        if model.execution_state == "dead":
            self._talk.shut_down(GAVE_UP)

    def _ended(self, error: OutOfReach) -> None:
        """The line could not be taken up again."""
        if isinstance(error, KernelDied):
            self._talk.shut_down(str(error))
        else:
            self._talk.lose(error)

    def _died(self, replaced: bool) -> None:
        if replaced:
            self._tell_death()
        else:
            self._untold, self._gone, self._lease = True, self.kernel_id, None

    def _tell_death(self) -> None:
        self._untold = False
        for callback in self._callbacks:
            callback()
