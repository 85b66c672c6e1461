"""A user's own kernel client, of jupyter-kernel-client."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeAlias

from langchain_jupyter.errors import ConnectionLost, KernelDied, KernelStartError, OutOfReach
from langchain_jupyter.kernels.kernel import Channel, Message
from langchain_jupyter.models import KernelInfo, KernelState

_WATCH_INTERVAL = 1.0
_STOP_TIMEOUT = 10.0
_DEFAULT = "python3"
_CRASHED = "the kernel ended (out of memory?)."
_SHUT_DOWN = "the kernel was shut down, by a person or because it was idle for long."

_Inbox: TypeAlias = "asyncio.Queue[Message | OutOfReach | None]"


class ClientKernel:
    """A `jupyter_kernel_client.JupyterKernelClient`, made by its user, as a kernel.

    The client is synchronous: each of its calls has a thread. What it has started already stays; what is started here
    ends with `close`, and its kernel too if the client started it.

    It cannot do what `RemoteKernel` does:
        - A line that breaks is not taken up again: the run ends with ConnectionLost.
        - After the kernel or the line has ended, the client cannot be used again: `start` says so. Make a new one.
        - A kernel that ends in a run is mostly noticed some seconds later, and one that ends between two runs with the
          next. Where the server goes on saying `busy` it is not noticed: the run stays `running`. Whether it crashed or
          was restarted by somebody is not told apart.
        - The notebook's session on the server is not used: people who open the notebook get another kernel, unless the
          client was given the `kernel_id` of theirs.
        - Runs wait for each other, and output is slow: about 50 ms for `1+1`, and 5 MB/s.
        - It sends its token in the WebSocket's URL, which JupyterHub 5 and later refuse, and `Bearer` to REST, which
          Kernel Gateway and Enterprise Gateway refuse.

    Args:
        client: The client, started or not.
        path: The notebook's path on the server, for a kernel that is started here.
    """

    def __init__(self, client: Any, *, path: str = "") -> None:
        self._client = client
        self._path = path
        self._spec = _DEFAULT
        self._language = ""
        self._display_name = ""
        self._state: KernelState = "not started"
        self._started_here = False
        self._end: OutOfReach | None = None
        self._runs: set[_Run] = set()
        self._callbacks: list[Callable[[], None]] = []
        self._lock = asyncio.Lock()

    @property
    def info(self) -> KernelInfo:
        state: KernelState = "busy" if self._runs and self._state == "idle" else self._state
        return KernelInfo(self._spec, self._language, state, self._display_name)

    def prefer(self, spec: str) -> None:
        self._spec = spec or _DEFAULT

    def on_death(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    async def start(self) -> None:
        async with self._lock:
            if self._end is not None:
                raise KernelStartError(
                    f"{self._end} A JupyterKernelClient cannot be used after that: make a new one, and a new toolkit."
                )
            if self._state == "not started":
                await self._start()

    async def restart(self) -> None:
        """Stop the code first: the client would wait for ever for what a restarted kernel no longer says."""
        async with self._lock:
            await self._stop(KernelDied("the kernel was restarted."))
            await self._call(self._client.restart)
            self._state = "idle"

    async def interrupt(self) -> None:
        if self._runs:
            await self._call(self._client.interrupt)

    async def close(self) -> None:
        async with self._lock:
            if self._started_here and self._end is None:
                with contextlib.suppress(KernelStartError):  # code that does not stop ends with its process
                    await self._stop(KernelDied("the notebook was closed, and its kernel with it."))
                await self._end_client()
            for run in self._runs:
                run.fail(ConnectionLost("The notebook was closed while it ran; the kernel runs on."))
            self._state, self._started_here = "not started", False

    def answer(self, text: str) -> None:
        threading.Thread(target=self._channels.input, args=(text,), daemon=True).start()

    async def execute(
        self, code: str, *, allow_stdin: bool = False, store_history: bool = True
    ) -> AsyncIterator[Message]:
        if self._state == "not started" or self._end is not None:
            raise KernelDied("the kernel was not started.") if self._end is None else _copy(self._end)
        options = {"allow_stdin": allow_stdin, "store_history": store_history}
        async for message in self._messages(code, options):
            yield message

    async def evaluate(self, expression: str, *, beside: bool = False) -> Mapping[str, Any] | None:
        if self._state == "not started" or self._end is not None:
            raise KernelDied("the kernel was not started.") if self._end is None else _copy(self._end)
        if beside:
            return None
        options = {"silent": True, "user_expressions": {"value": expression}, "allow_stdin": False}
        found: Mapping[str, Any] = {}
        async for message in self._messages("", {**options, "store_history": False, "stop_on_error": False}):
            if message.channel == "shell":
                found = message.content["user_expressions"]["value"]
        return found

    async def _messages(self, code: str, options: Mapping[str, Any]) -> AsyncIterator[Message]:
        run = _Run(self._client, code, options)
        self._runs.add(run)
        run.start()
        watch = asyncio.create_task(self._watch())
        try:
            while (item := await run.inbox.get()) is not None:
                if isinstance(item, OutOfReach):
                    raise item
                yield item
        finally:
            watch.cancel()
            self._runs.discard(run)

    # -- inside -------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        self._state = "starting"
        try:
            if not (self._client.has_kernel and self._channels.channels_running):
                await self._call(self._client.start, name=self._spec, path=self._path or None)
                self._started_here = True
            if not self._channels.channels_running:  # its `start` does not tell
                raise ConnectionLost("The kernel client could not connect. Are its URL and token right?")
            about = await self._call(lambda: self._client.kernel_info) or {}
        except OutOfReach as error:
            self._state = "not started"
            raise KernelStartError(f"The kernel client did not start: {error}") from error
        language = about.get("content", about).get("language_info", {})
        self._language = str(language.get("name", "")).lower()
        self._state = "idle"

    async def _stop(self, why: OutOfReach) -> None:
        """End what runs, and wait until its thread has the end.

        Raises:
            KernelStartError: The code does not stop.
        """
        runs = set(self._runs)
        if not runs:
            return
        for run in runs:
            run.fail(_copy(why))
        await self._call(self._client.interrupt)
        try:
            async with asyncio.timeout(_STOP_TIMEOUT):
                await asyncio.gather(*(run.ended.wait() for run in runs))
        except TimeoutError as error:
            raise KernelStartError("The code that runs does not stop, and the client cannot leave it.") from error

    async def _end_client(self) -> None:
        """As its `stop` does, which ends the kernel 10 s later, when its thread has noticed that the line is closed."""
        channels = self._channels
        if self._client._own_kernel:
            await self._call(self._client._manager.shutdown_kernel, now=True)
        threading.Thread(target=channels.stop_channels, daemon=True).start()

    async def _watch(self) -> None:
        """Notice that a run will never end; the client does not."""
        suspicion = 0
        while self._end is None:
            await asyncio.sleep(_WATCH_INTERVAL)
            if not self._channels.channels_running:
                self._over(ConnectionLost("The line to the kernel broke while it ran."), "disconnected")
                return
            try:
                alive = await self._call(self._client.is_alive)
            except ConnectionLost:
                continue  # the server may be slow; the line tells
            if not alive:
                self._over(KernelDied(_SHUT_DOWN), "dead")
            suspicion = 0 if self._client.execution_state == "busy" else suspicion + 1
            if suspicion > 1:
                self._over(KernelDied(_CRASHED), "dead")

    def _over(self, error: OutOfReach, state: KernelState) -> None:
        self._end, self._state = error, state
        for run in self._runs:
            run.fail(_copy(error))
        if isinstance(error, KernelDied):
            for callback in self._callbacks:
                callback()

    @property
    def _channels(self) -> Any:
        """Its WebSocket client, which its public face does not give."""
        return self._client._manager.client

    async def _call(self, function: Callable[..., Any], /, **arguments: Any) -> Any:
        """Call the client in a thread.

        Raises:
            ConnectionLost: It raised; it has no exceptions of its own.
        """
        try:
            return await asyncio.to_thread(function, **arguments)
        except Exception as error:
            raise ConnectionLost(f"{type(error).__name__}: {error}") from error


class _Run:
    """One `execute_interactive`, in a daemon thread: if it hangs, the process can end all the same."""

    def __init__(self, client: Any, code: str, options: Mapping[str, Any]) -> None:
        self.inbox: _Inbox = asyncio.Queue()
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._over = False
        self._client = client
        self._code = code
        self._options = options

    def start(self) -> None:
        threading.Thread(target=self._work, daemon=True).start()

    def fail(self, error: OutOfReach) -> None:
        """Nothing more comes, and that is why."""
        self._put(error)
        self._over = True

    def _work(self) -> None:
        end: OutOfReach | None = None
        try:
            reply = self._client.execute_interactive(
                self._code,
                timeout=None,
                output_hook=lambda message: self._tell("iopub", message),
                stdin_hook=lambda message: self._tell("stdin", message),
                **self._options,
            )
            self._tell("shell", reply)
        except Exception as error:  # noqa: BLE001, it raises whatever its libraries do
            end = ConnectionLost(f"The kernel client failed while it ran ({type(error).__name__}: {error}).")
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._finish, end)

    def _tell(self, channel: Channel, message: Mapping[str, Any]) -> None:
        told = Message(channel, message["header"]["msg_type"], message["content"], message.get("metadata", {}))
        self._loop.call_soon_threadsafe(self._put, told)

    def _finish(self, end: OutOfReach | None) -> None:
        self._put(end)
        self.ended.set()

    def _put(self, item: Message | OutOfReach | None) -> None:
        if not self._over:
            self.inbox.put_nowait(item)


def _copy(error: OutOfReach) -> OutOfReach:
    return type(error)(str(error))
