"""A kernel on this machine, started and ended by us."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager

from langchain_jupyter.errors import ConnectionLost, KernelDied, KernelStartError, OutOfReach
from langchain_jupyter.kernels.death import cause, oom_kills
from langchain_jupyter.kernels.evaluation import SUBSHELLS, evaluate
from langchain_jupyter.kernels.ipykernel import IPYKERNEL
from langchain_jupyter.kernels.kernel import OVER, TOO_LARGE, Channel, Inbox, Message, truncated, until_idle
from langchain_jupyter.kernels.numbers import DROPPED, Numbers
from langchain_jupyter.kernels.request import execute_content
from langchain_jupyter.kernels.sockets import bound, breaks, deepen, received, send, socket_of
from langchain_jupyter.models import KernelInfo, KernelState

logger = logging.getLogger(__name__)

_DEFAULT = "python3"
_START_TIMEOUT = 60.0
_WATCH_INTERVAL = 0.2
_STOP_TIMEOUT = 2.0
_ARRIVAL = 60.0
_ASK_AGAIN = 5.0
_IN_A_ROW = 50
_OVER = 200
_LINGER = 0.05  # Deno publishes some of what code shows when it is idle again
_LONGEST_LINGER = 1.0
_ENDED = "the kernel {cause} and was restarted."  # by the session, which is told


class LocalKernel:
    """A child process that speaks Jupyter messaging: over Unix sockets if it is written in Python, or else over TCP.

    Args:
        spec: Name of an installed kernel spec; "" for the notebook's, or else python3.
        cwd: Working directory of its code; the notebook's folder.
    """

    def __init__(self, spec: str = "", *, cwd: Path | None = None) -> None:
        self._spec = spec or _DEFAULT
        self._asked = bool(spec)
        self._cwd = cwd
        self._language = self._display_name = ""
        self._state: KernelState = "not started"
        self._manager: AsyncKernelManager | None = None
        self._client: AsyncKernelClient | None = None
        self._sockets: tempfile.TemporaryDirectory[str] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: dict[str, Inbox] = {}
        self._asking: dict[str, asyncio.Future[Mapping[str, Any]]] = {}
        self._over: deque[str] = deque(maxlen=_OVER)
        self._features: Sequence[str] = ()
        self._linger = 0.0
        self._numbers = Numbers()
        self._too_large = 0
        self._oom_kills: tuple[int, ...] = ()
        self._ended = _ENDED.format(cause="ended")
        self._callbacks: list[Callable[[], None]] = []
        self._late_callbacks: list[Callable[[Message], None]] = []
        self._lock = asyncio.Lock()

    @property
    def info(self) -> KernelInfo:
        return KernelInfo(self._spec, self._language, self._state, self._display_name)

    def prefer(self, spec: str) -> None:
        if not self._asked:
            self._spec = spec or _DEFAULT

    def on_death(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def on_late(self, callback: Callable[[Message], None]) -> None:
        self._late_callbacks.append(callback)

    async def start(self) -> None:
        async with self._lock:
            if self._state not in ("idle", "busy"):
                await self._stop()
                await self._start()

    async def restart(self) -> None:
        async with self._lock:
            await self._stop()
            await self._start()

    async def close(self) -> None:
        async with self._lock:
            await self._stop()
            self._state = "not started"

    async def interrupt(self) -> None:
        manager, client = self._manager, self._client
        if manager is None or client is None or self._state != "busy":
            return
        await manager.interrupt_kernel()
        # Asleep in an `await` of the cell's, ipykernel 7 sees the signal when a message wakes it, and not before.
        await send(client, "shell", client.session.msg("kernel_info_request", {}))

    def answer(self, text: str) -> None:
        if self._client is not None:
            send(self._client, "stdin", self._client.session.msg("input_reply", {"value": text}))

    async def execute(
        self, code: str, *, allow_stdin: bool = False, store_history: bool = True
    ) -> AsyncIterator[Message]:
        client = self._client
        if client is None or self._state == "dead":
            raise KernelDied(self._ended)
        request = client.session.msg(
            "execute_request", execute_content(code, allow_stdin=allow_stdin, store_history=store_history)
        )
        msg_id: str = request["header"]["msg_id"]
        inbox = self._waiting[msg_id] = asyncio.Queue()
        self._state, since, refused = "busy", self._numbers.last, self._too_large
        try:
            await send(client, "shell", request)
            async for message in until_idle(inbox, self._arrived):
                yield message
            async for message in _last(inbox, self._linger):
                yield message
            await asyncio.sleep(0)  # that a line broke and is there again may be told in the same breath as the end
            if self._too_large > refused:
                yield TOO_LARGE
            if count := self._numbers.lost(since):
                yield truncated(DROPPED.format(count=count), shown=True)
        finally:
            del self._waiting[msg_id]
            self._over.append(msg_id)
            if not self._waiting and self._state == "busy":
                self._state = "idle"

    async def evaluate(self, expression: str, *, beside: bool = False) -> Mapping[str, Any] | None:
        if beside and SUBSHELLS not in self._features:
            return None
        return await evaluate(self._ask, expression, beside=beside)

    async def _arrived(self) -> None:
        """Wait for something new that the kernel publishes, a minute at most: what came before it is here or lost."""
        client = self._client
        if client is None:
            return
        inbox: Inbox = asyncio.Queue()
        asked = []
        try:
            async with asyncio.timeout(_ARRIVAL):
                while True:
                    request = client.session.msg("kernel_info_request", {})
                    asked.append(request["header"]["msg_id"])
                    self._waiting[asked[-1]] = inbox
                    await send(client, "shell", request)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_ASK_AGAIN):
                            await _published(inbox)
                            return
        except TimeoutError:
            return
        finally:
            for msg_id in asked:
                del self._waiting[msg_id]

    async def _ask(
        self, channel: Channel, msg_type: str, content: Mapping[str, Any], *, subshell: str = ""
    ) -> Mapping[str, Any]:
        client = self._client
        if client is None or self._state == "dead":
            raise KernelDied(self._ended)
        request = client.session.msg(msg_type, dict(content))
        if subshell:
            request["header"]["subshell_id"] = subshell
        msg_id: str = request["header"]["msg_id"]
        reply: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._asking[msg_id] = reply
        try:
            await send(client, channel, request)
            return await reply
        finally:
            del self._asking[msg_id]

    # -- the process --------------------------------------------------------------------------------------------

    async def _start(self, *, again: bool = True) -> None:
        self._state, self._oom_kills = "starting", oom_kills()
        try:
            self._manager = manager = self._new_manager()
            await manager.start_kernel(cwd=str(self._cwd) if self._cwd else None)
            self._client = client = manager.client()
            bound(client)
            client.start_channels(hb=False)  # its thread dies loudly when the start is given up; we watch the process
            await client.wait_for_ready(timeout=_START_TIMEOUT)
            about = await _kernel_info(client)
            self._features = about.get("supported_features", ())
            if about.get("implementation") == IPYKERNEL:
                await deepen(client)
            if (spec := manager.kernel_spec) is not None:
                self._language, self._display_name = spec.language.lower(), spec.display_name
        except NoSuchKernel as error:
            raise self._failed(
                f"There is no kernel spec {self._spec!r}. Installed: {_specs()}. Give one of them as kernel=."
            ) from error
        except (RuntimeError, OSError) as error:
            ended = manager.transport == "tcp" and not await manager.is_alive()
            await self._stop()
            if again and ended:  # somebody may have taken one of its ports before it did
                await self._start(again=False)
                return
            raise self._failed(f"The kernel {self._spec!r} did not start: {error}") from error
        except BaseException:
            await self._stop()
            self._state = "not started"
            raise
        self._state = "idle"
        channels: tuple[Channel, ...] = ("shell", "iopub", "stdin", "control")
        for channel in channels:
            self._spawn(self._read(client, channel))
            self._spawn(self._mind(client, channel))
        self._spawn(self._watch(manager))

    def _new_manager(self) -> AsyncKernelManager:
        """Of a kernel that is to speak over Unix sockets, if it is written in Python; others may know TCP only.

        Raises:
            NoSuchKernel: There is no such kernel spec.
        """
        manager = AsyncKernelManager(kernel_name=self._spec, shutdown_wait_time=_STOP_TIMEOUT)
        spec = manager.kernel_spec
        in_python = spec is not None and Path(spec.argv[0]).name.startswith(("python", "pypy"))
        self._linger = 0 if in_python else _LINGER
        if os.name == "posix" and in_python:
            # Left to itself, jupyter_client names the sockets relative to the working directory; the kernel's is
            # another.
            self._sockets = tempfile.TemporaryDirectory(prefix="jupyter-", ignore_cleanup_errors=True)
            manager.transport, manager.ip = "ipc", f"{self._sockets.name}/kernel"
        return manager

    def _remove_sockets(self) -> None:
        if self._sockets is not None:
            self._sockets.cleanup()
            self._sockets = None

    def _failed(self, message: str) -> KernelStartError:
        self._state, self._manager = "dead", None
        self._remove_sockets()
        return KernelStartError(message)

    async def _stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail_waiting("the kernel was stopped while the code ran.")
        manager, client, self._manager, self._client = self._manager, self._client, None, None
        if client is not None:
            client.stop_channels()
        if manager is not None:
            with contextlib.suppress(ProcessLookupError):
                # Asked politely while it starts, it prints the traceback of an interrupt on our stderr.
                await manager.shutdown_kernel(now=self._state in ("starting", "busy"))
        self._remove_sockets()

    async def _watch(self, manager: AsyncKernelManager) -> None:
        """Notice within a second that the process has ended; no message tells it."""
        while await manager.is_alive():  # noqa: ASYNC110, a process sets no event
            await asyncio.sleep(_WATCH_INTERVAL)
        self._state = "dead"
        status = await manager.provisioner.poll() if manager.provisioner is not None else None
        self._ended = _ENDED.format(cause=cause(status, self._oom_kills, oom_kills()))
        self._fail_waiting(self._ended)
        for callback in self._callbacks:
            callback()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _mind(self, client: AsyncKernelClient, channel: Channel) -> None:
        """Notice that a message was too large, and find out what has ended with it."""
        async for _ in breaks(client, channel):
            self._too_large += 1
            if channel != "iopub":
                self._fail_asking(ConnectionLost("A message of the kernel was too large, and others may be lost."))
            self._spawn(self._settle(list(self._waiting.values())))

    async def _settle(self, waiting: Sequence[Inbox]) -> None:
        """End what waits when the kernel is done with it: what it answers now comes behind."""
        with contextlib.suppress(OutOfReach):
            await self._ask("shell", "kernel_info_request", {})
            await self._arrived()
            for inbox in waiting:
                inbox.put_nowait(OVER)

    def _fail_waiting(self, reason: str) -> None:
        for inbox in self._waiting.values():
            inbox.put_nowait(KernelDied(reason))
        self._fail_asking(KernelDied(reason))

    def _fail_asking(self, error: OutOfReach) -> None:
        for reply in self._asking.values():
            if not reply.done():
                reply.set_exception(type(error)(str(error)))

    def _trail(self, message: Message) -> None:
        """Tell of what is published for a request when that is over, and not of what showing a value has printed."""
        if message.msg_type == "status" and message.content.get("execution_state") == "idle":
            self._over.append(message.parent)
        elif message.parent in self._over:
            for callback in self._late_callbacks:
                callback(message)

    async def _read(self, client: AsyncKernelClient, channel: Channel) -> None:
        """Hand each message to the request that is its parent."""
        session, socket = client.session, socket_of(client, channel)
        for number in itertools.count():
            if number % _IN_A_ROW == 0:
                await asyncio.sleep(0)  # what is there already is received without a pause, and nobody else has a turn
            frames = await socket.recv_multipart()
            try:
                header, message = received(session, channel, frames)
            except Exception as error:  # noqa: BLE001, whatever the library makes of it, the next message is taken
                logger.warning("left out a message of the kernel that is none: %r", error)
                continue
            self._numbers.take(header)
            inbox = self._waiting.get(message.parent)
            if inbox is not None:
                inbox.put_nowait(message)
            elif channel == "iopub" and message.parent.startswith(session.session):
                self._trail(message)
            reply = self._asking.get(message.parent)
            if reply is not None and not reply.done() and channel != "iopub":
                reply.set_result(message.content)


async def _last(inbox: Inbox, linger: float) -> AsyncIterator[Message]:
    """What has come for a run that is over, and comes until nothing does for so long; a thread may go on for ever."""
    loop = asyncio.get_running_loop()
    there, until = inbox.qsize(), loop.time() + _LONGEST_LINGER
    while there or (linger and loop.time() < until):
        there -= there > 0
        try:
            async with asyncio.timeout(linger):
                message = await inbox.get()
        except TimeoutError:
            return
        if isinstance(message, Message):
            yield message


async def _published(inbox: Inbox) -> None:
    """Wait for something that the kernel publishes, or for its death, of which whoever waits for the run is told."""
    message = await inbox.get()
    while isinstance(message, Message) and message.channel != "iopub":
        message = await inbox.get()


async def _kernel_info(client: AsyncKernelClient) -> Mapping[str, Any]:
    """What the kernel says of itself; before anything else reads its replies."""
    reply = await client.kernel_info(reply=True, timeout=_START_TIMEOUT)
    content: Mapping[str, Any] = reply["content"]
    return content


def installed_specs() -> dict[str, str]:
    """The kernel specs of this machine: name -> display name."""
    found = cast(Mapping[str, Mapping[str, Any]], KernelSpecManager().get_all_specs())
    return {name: str(found[name]["spec"].get("display_name", name)) for name in sorted(found)}


def _specs() -> str:
    return ", ".join(installed_specs()) or "none; pip install ipykernel"
