"""A user's own kernel client, of jupyter-kernel-client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from langchain_jupyter.errors import ConnectionLost, KernelDied, KernelStartError, OutOfReach
from langchain_jupyter.kernels.conversation import GAVE_UP, SHUT_DOWN, Conversation
from langchain_jupyter.kernels.kernel import LARGEST, Channel, Message
from langchain_jupyter.kernels.wire import Envelope, decode, encode, header
from langchain_jupyter.models import KernelInfo

logger = logging.getLogger(__name__)

_WATCH_INTERVAL = 1.0
_QUIET = 5.0
_RESTART_TIMEOUT = 120.0
_DEFAULT = "python3"


class ClientKernel:
    """A `jupyter_kernel_client.JupyterKernelClient`, made by its user, as a kernel.

    Its WebSocket and its calls to the server are used; the client is synchronous, so each call has a thread. What it
    has started already stays; what is started here ends with `close`, and its kernel too if the client started it. Its
    user can go on using it meanwhile.

    It cannot do what `RemoteKernel` does:
        - A line that breaks is not taken up again: the run ends with ConnectionLost. After that, and after its kernel
          was shut down, the client cannot be used again: `start` says so. Make a new one.
        - The notebook's session on the server is not used: people who open the notebook get another kernel, unless the
          client was given the `kernel_id` of theirs.
        - It sends its token in the WebSocket's URL, which JupyterHub 5 and later refuse, and `Bearer` to REST, which
          Kernel Gateway and Enterprise Gateway refuse.
        - A message that is too large is left out, but the client has read it by then: it takes twice its size.

    Args:
        client: The client, started or not.
        path: The notebook's path on the server, for a kernel that is started here.
    """

    def __init__(self, client: Any, *, path: str = "") -> None:
        self._client = client
        self._path = path
        self._spec = _DEFAULT
        self._started_here = self._gone = False
        self._tap: _Tap | None = None
        self._talk = Conversation(self._died)
        self._callbacks: list[Callable[[], None]] = []
        self._lock = asyncio.Lock()

    @property
    def info(self) -> KernelInfo:
        language = str(self._talk.about.get("language_info", {}).get("name", "")).lower()
        found = self._tap is not None and not self._started_here
        return KernelInfo(self._spec, language, self._talk.shown, found=found)

    def prefer(self, spec: str) -> None:
        self._spec = spec or _DEFAULT

    def on_death(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def on_late(self, callback: Callable[[Message], None]) -> None:
        self._talk.late.append(callback)

    async def start(self) -> None:
        async with self._lock:
            if self._tap is None:
                await self._start()
            elif self._talk.end is not None:
                await self._start_again(self._tap)

    async def restart(self) -> None:
        async with self._lock:
            self._talk.fail(KernelDied("the kernel was restarted."))
            if self._tap is None:
                await self._start()
                return
            self._talk.stop()
            before = self._talk.forget_process()
            try:
                await self._call(self._client.restart, timeout=_RESTART_TIMEOUT)
            except ConnectionLost as error:
                self._talk.lose(error)
                raise KernelStartError(f"The kernel did not restart: {error}") from error
            await self._begin(self._tap, unlike=before)

    async def interrupt(self) -> None:
        if self._talk.shown == "busy":
            await self._call(self._client.interrupt)
            self._talk.wake()

    async def close(self) -> None:
        async with self._lock:
            ends = self._started_here and not self._gone and self._client._own_kernel
            running = self._talk.pending
            self._talk.fail(
                KernelDied("the notebook was closed, and its kernel with it.")
                if ends
                else ConnectionLost("The notebook was closed while it ran; the kernel runs on.")
            )
            self._talk.stop()
            if ends:
                await self._end_kernel(running)
            if self._tap is not None:
                self._tap.close()
                if self._started_here:
                    # As its `stop` does, which waits 10 s until its thread has noticed that the line is closed.
                    threading.Thread(target=self._tap.channels.stop_channels, daemon=True).start()
            self._tap, self._talk.state, self._started_here = None, "not started", False

    def answer(self, text: str) -> None:
        self._talk.answer(text)

    def execute(self, code: str, *, allow_stdin: bool = False, store_history: bool = True) -> AsyncIterator[Message]:
        return self._talk.execute(code, allow_stdin=allow_stdin, store_history=store_history)

    async def evaluate(self, expression: str, *, beside: bool = False) -> Mapping[str, Any] | None:
        return await self._talk.evaluate(expression, beside=beside)

    # -- inside -------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        try:
            if not (self._client.has_kernel and self._channels.channels_running):
                await self._call(self._client.start, name=self._spec, path=self._path or None)
                self._started_here = True
            if not self._channels.channels_running:  # its `start` does not tell
                raise ConnectionLost("The kernel client could not connect. Are its URL and token right?")
            await self._call(self._client.is_alive)
            self._tap = _Tap(self._channels, self._talk, broke=self._broke)
            await self._begin(self._tap)
        except OutOfReach as error:
            self._talk.state = "not started"
            raise KernelStartError(f"The kernel client did not start: {error}") from error

    async def _start_again(self, tap: _Tap) -> None:
        """On the process that the server has put in the place of the one that ended."""
        if self._gone or not tap.channels.channels_running:
            raise KernelStartError(
                f"{self._talk.end} A JupyterKernelClient cannot be used after that: make a new one, and a new toolkit."
            )
        await self._begin(tap, unlike=self._talk.forget_process())

    async def _begin(self, tap: _Tap, *, unlike: str = "") -> None:
        talk = self._talk
        talk.begin(tap)
        talk.state = "starting"
        busy = not unlike and self._client.execution_state == "busy"
        if not busy:  # what is asked of a busy kernel waits until it is idle
            await talk.answering(unlike)
            busy = talk.shown == "busy"
        talk.state = "busy" if busy else "idle"
        talk.later(self._watch())

    async def _end_kernel(self, running: bool) -> None:
        try:
            if running:
                await self._call(self._client.interrupt)  # code that runs holds up the end of the process
            await self._call(self._client._manager.shutdown_kernel, now=True)
        except ConnectionLost as error:
            logger.warning("the kernel %s may run on: %s", self._client.id, error)

    async def _watch(self) -> None:
        """Not every kernel tells that it is shut down: ask the server when a run is silent for long."""
        while self._talk.end is None:
            await asyncio.sleep(_WATCH_INTERVAL)
            if self._talk.pending and self._talk.silence > _QUIET:
                with contextlib.suppress(ConnectionLost):  # the server may be slow; the line tells
                    await self._look()

    async def _look(self) -> None:
        if not await self._call(self._client.is_alive):
            self._talk.shut_down(SHUT_DOWN)
        elif self._client.execution_state == "dead":
            self._talk.shut_down(GAVE_UP)

    def _broke(self) -> None:
        self._talk.lose(ConnectionLost("The line to the kernel broke."))

    def _died(self, replaced: bool) -> None:
        self._gone = self._gone or not replaced
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


class _Tap:
    """The client's WebSocket, which its user goes on using: what answers us comes to us alone, all else to both.

    Its own way to run code is not used: it hears nothing of a kernel that ends, and waits for ever for one that did.

    Args:
        channels: The client's WebSocket client, connected.
        talk: Told each message.
        broke: Told that the line broke, though it may be there again.
    """

    def __init__(self, channels: Any, talk: Conversation, *, broke: Callable[[], None]) -> None:
        self.session = uuid.uuid4().hex
        self.channels = channels
        self._closed = False
        self._socket = channels.kernel_socket
        self._talk = talk
        self._broke = broke
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()
        self._theirs = {name: getattr(self._socket, name) for name in ("on_message", "on_close", "on_open")}
        self._ours = {"on_message": self._on_message, "on_close": self._on_close, "on_open": self._on_open}
        for name, handler in self._ours.items():
            setattr(self._socket, name, handler)

    def header(self, msg_type: str) -> dict[str, Any]:
        return header(msg_type, self.session)

    async def send(
        self,
        channel: Channel,
        head: Mapping[str, Any],
        content: Mapping[str, Any],
        parent_header: Mapping[str, Any] | None = None,
    ) -> None:
        envelope = Envelope(channel, head, parent_header or {}, {}, content)
        async with self._sending:
            try:
                await asyncio.to_thread(self._write, encode(envelope, self._subprotocol))
            except Exception as error:  # whatever its library raises
                raise ConnectionLost(f"The line to the kernel broke ({type(error).__name__}).") from error

    def close(self) -> None:
        """Leave the WebSocket as it was."""
        self._closed = True
        for name, handler in self._ours.items():
            if getattr(self._socket, name) == handler:
                setattr(self._socket, name, self._theirs[name])

    # -- inside; what is called back is so in a thread of the client's --------------------------------------------

    @property
    def _subprotocol(self) -> str | None:
        found: str | None = self._socket.sock.getsubprotocol()
        return found

    def _write(self, data: bytes | str) -> None:
        if isinstance(data, str):
            self._socket.send_text(data)
        else:
            self._socket.send_bytes(data)

    def _on_message(self, socket: Any, data: bytes | str) -> None:
        if len(data) > LARGEST:
            if self._talk.pending:  # then it is ours most likely; to find out would take ten times its size
                self._tell(self._talk.left_out)
            else:
                self._theirs["on_message"](socket, data)
            return
        try:
            envelope = decode(data, self._subprotocol)
        except (ValueError, LookupError, TypeError):
            self._theirs["on_message"](socket, data)
            return
        if envelope.parent_header.get("session") != self.session:
            self._theirs["on_message"](socket, data)
        self._tell(self._talk.receive, envelope)

    def _on_close(self, *arguments: Any) -> None:
        self._theirs["on_close"](*arguments)
        self._tell(self._broke)

    def _on_open(self, socket: Any) -> None:
        """The client has connected again; what came meanwhile is lost."""
        self._theirs["on_open"](socket)
        self._tell(self._broke)

    def _tell(self, what: Callable[..., None], *about: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
            self._loop.call_soon_threadsafe(self._deliver, what, *about)

    def _deliver(self, what: Callable[..., None], *about: Any) -> None:
        if not self._closed:
            what(*about)
