"""The WebSocket to one kernel of a server, taken up again when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from langchain_jupyter.errors import (
    ConnectionLost,
    KernelDied,
    OutOfReach,
    ServerError,
    ServerRefused,
    ServerUnreachable,
)
from langchain_jupyter.kernels.conversation import SHUT_DOWN
from langchain_jupyter.kernels.kernel import LARGEST, Channel
from langchain_jupyter.kernels.wire import V1, Envelope, decode, encode, header
from langchain_jupyter.servers.answers import KernelModel, Status
from langchain_jupyter.servers.server import JupyterServer, WebSocket

logger = logging.getLogger(__name__)

_PATIENCE = 30.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 3.0
_MUTE = 10
_NOT_FOUND = 404


class Line:
    """Messages to and from one kernel, under one session id.

    A line that breaks is taken up again, for 30 s with growing pauses. A line that is silent though it is open is
    found out by pings, within 45 s. Under the same session id the server gives what was missed, if nobody else is on
    the kernel; if somebody is, it is lost.

    Args:
        server: The server that runs the kernel.
        kernel_id: Its id there.
        receive: Told each message.
        resumed: Told, when the line is there again after it broke, what the server said of the kernel just before, and
            whether it broke because a message was larger than is taken.
        ended: Told why no more comes: KernelDied, ServerRefused, ConnectionLost. Not after `close`.
        session: The session id of a line of an earlier process, to get what that one missed; "" for a new one.
    """

    def __init__(
        self,
        server: JupyterServer,
        kernel_id: str,
        *,
        receive: Callable[[Envelope], None],
        resumed: Callable[[KernelModel, bool], None],
        ended: Callable[[OutOfReach], None],
        session: str = "",
    ) -> None:
        self.session = session or uuid.uuid4().hex
        self._server = server
        self._path = f"/api/kernels/{kernel_id}"
        self._receive = receive
        self._resumed = resumed
        self._ended = ended
        self._socket: WebSocket | None = None
        self._task: asyncio.Task[None] | None = None
        self._end: OutOfReach | None = None
        self._settled = asyncio.Event()
        self._started = ""

    async def open(self) -> None:
        """Connect, once.

        Raises:
            ServerUnreachable: Nobody answers.
            ServerRefused: The token does not allow it.
            ServerError: The server knows no such kernel, or the kernel does not answer.
        """
        self._started, socket = await asyncio.gather(self._server_start(), self._connect())
        self._socket = socket
        self._settled.set()
        self._task = asyncio.create_task(self._keep(socket))

    async def settled(self) -> OutOfReach | None:
        """Wait until it is open, or known to be lost; returns why it is lost."""
        await self._settled.wait()
        return self._end

    async def send(
        self,
        channel: Channel,
        head: Mapping[str, Any],
        content: Mapping[str, Any],
        parent_header: Mapping[str, Any] | None = None,
    ) -> None:
        """Send one message, when the line is open. That it was received is not promised.

        Raises:
            KernelDied: The kernel has ended; it was not sent.
            ConnectionLost: The line is lost; it was not sent.
        """
        if (end := await self.settled()) is not None:
            raise KernelDied(str(end)) if isinstance(end, KernelDied) else ConnectionLost(str(end))
        assert self._socket is not None
        envelope = Envelope(channel, head, parent_header or {}, {}, content)
        with contextlib.suppress(ConnectionLost):  # its reader notices as well, and takes the line up
            await self._socket.send(encode(envelope, self._socket.subprotocol))

    def header(self, msg_type: str) -> dict[str, Any]:
        """The header of a new message of ours."""
        return header(msg_type, self.session)

    async def model(self) -> KernelModel:
        """What the server says of the kernel.

        Raises:
            ServerError: Status 404 if it has no such kernel.
            OutOfReach: Whatever else is wrong.
        """
        return await self._server.ask(KernelModel, "GET", self._path)

    async def gone(self) -> KernelDied:
        """Why the server does not have the kernel any more, as far as known."""
        if await self._server_start() != self._started:
            return KernelDied("the Jupyter server was started anew, and the kernel has ended.")
        return KernelDied(SHUT_DOWN)

    @property
    def up(self) -> bool:
        """Whether it is open, as far as known."""
        return self._settled.is_set() and self._end is None

    async def close(self) -> None:
        """Close it; nothing is told any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()

    # -- inside -------------------------------------------------------------------------------------------------

    async def _connect(self) -> WebSocket:
        return await self._server.connect(
            f"{self._path}/channels", params={"session_id": self.session}, subprotocols=[V1], largest=LARGEST
        )

    async def _server_start(self) -> str:
        """When the server was started; "" where it does not tell."""
        try:
            return (await self._server.read(Status, "/api/status")).started
        except ServerError:
            return ""

    def _read(self, data: bytes | str, subprotocol: str | None) -> None:
        try:
            envelope = decode(data, subprotocol)
        except ValueError as error:
            logger.warning("left out a message that is none: %s", error)
            return
        self._receive(envelope)

    async def _keep(self, socket: WebSocket) -> None:
        mute, clock = 0, asyncio.get_running_loop().time
        try:
            while True:
                self._socket = socket
                self._settled.set()
                opened, heard = clock(), False
                async for data in socket:
                    heard = True
                    self._read(data, socket.subprotocol)
                self._settled.clear()
                logger.info("the line to %s broke (%s)", self._path, socket.close_code)
                refused = socket.refused
                mute = 0 if heard or clock() - opened > _PATIENCE else mute + 1
                await self._wait(mute)
                socket, model = await self._take_up()
                self._socket = socket
                self._settled.set()
                self._resumed(model, refused)
        except OutOfReach as error:
            self._end = error
            self._settled.set()
            self._ended(error)

    async def _wait(self, mute: int) -> None:
        """Be slow with a server that closes one line after the other as soon as it is open.

        Raises:
            ConnectionLost: So many of them carried nothing.
        """
        if mute > _MUTE:
            raise ConnectionLost(f"The server opens the line to the kernel and closes it at once, {mute} times by now.")
        if mute > 1:
            await asyncio.sleep(min(_FIRST_PAUSE * 2**mute, _LONGEST_PAUSE))

    async def _take_up(self) -> tuple[WebSocket, KernelModel]:
        """Connect again; and what the server said of the kernel just before.

        Raises:
            KernelDied: The server does not have the kernel any more.
            ServerRefused: The token does not allow it any more.
            ConnectionLost: Not within 30 s.
        """
        pause, last = _FIRST_PAUSE, ""
        try:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    try:
                        model = await self.model()
                        return await self._connect(), model
                    except ServerRefused as error:
                        raise ServerRefused(
                            f"The line to the kernel broke, and the server does not let us back. {error}",
                            status=error.status,
                        ) from error
                    except (ServerUnreachable, ConnectionLost) as error:
                        last = str(error)
                    except ServerError as error:
                        if error.status == _NOT_FOUND:
                            raise await self.gone() from error
                        last = str(error)  # a proxy whose server starts again
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
        except TimeoutError as error:
            raise ConnectionLost(
                f"The line to the kernel broke and could not be taken up again in {_PATIENCE:.0f}s. {last}".strip()
            ) from error
