"""The ZeroMQ sockets of a kernel of this machine: what is sent and received on them, and how much may wait there."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any

import zmq
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.session import DELIM, Session
from zmq.utils.monitor import recv_monitor_message

from langchain_jupyter.kernels.ipykernel import deepen_content
from langchain_jupyter.kernels.kernel import LARGEST, Channel, Message

_QUEUE = 10_000
_OUR_QUEUE = 100
_PROTOCOL = "5"


def bound(client: AsyncKernelClient) -> None:
    """Limit what one message may take, and how many may wait; before its channels are started."""
    client.context.setsockopt(zmq.MAXMSGSIZE, LARGEST)
    client.context.setsockopt(zmq.RCVHWM, _QUEUE)


async def deepen(client: AsyncKernelClient) -> None:
    """Have an ipykernel let more wait on its side, and less on ours: what waits here is our memory."""
    client.iopub_channel.socket.setsockopt(zmq.RCVHWM, _OUR_QUEUE)
    await send(client, "shell", client.session.msg("execute_request", deepen_content()))


def send(client: AsyncKernelClient, channel: Channel, message: dict[str, Any]) -> Awaitable[Any]:
    """Not `channel.send`: that writes past the asyncio socket, and may swallow the wake-up of what comes in."""
    sent: Awaitable[Any] = socket_of(client, channel).send_multipart(client.session.serialize(message))
    return sent


def socket_of(client: AsyncKernelClient, channel: Channel) -> Any:
    """The socket of a channel."""
    return getattr(client, f"{channel}_channel").socket


async def breaks(client: AsyncKernelClient, channel: Channel) -> AsyncIterator[None]:
    """Each time that the line of a channel broke and is there again; not where the process has ended.

    Where a message is larger than it may be, ZeroMQ hangs up, and leaves it at that.
    """
    socket = socket_of(client, channel)
    monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
    broken = False
    try:
        while True:
            event = (await recv_monitor_message(monitor))["event"]
            if event == zmq.EVENT_DISCONNECTED:
                endpoint = socket.LAST_ENDPOINT
                with contextlib.suppress(zmq.ZMQError):
                    socket.disconnect(endpoint)
                socket.connect(endpoint)
            elif broken:
                yield
            broken = event == zmq.EVENT_DISCONNECTED
    finally:
        socket.disable_monitor()


def received(session: Session, channel: Channel, frames: Sequence[bytes]) -> tuple[Mapping[str, Any], Message]:
    """The header of a message, and the message.

    Session's own `deserialize` makes dates of all that looks like one, which takes longer than all the rest.

    Raises:
        Exception: It is none.
    """
    signature, *parts = frames[frames.index(DELIM) + 1 :]
    header, parent, metadata, content = (session.unpack(part) for part in parts[:4])
    if not str(header.get("version", "")).startswith(_PROTOCOL):  # it is adapted to what is spoken now
        _, whole = session.feed_identities(list(frames))
        raw = session.deserialize(whole)
        header, parent, metadata, content = (raw[key] for key in ("header", "parent_header", "metadata", "content"))
    elif not hmac.compare_digest(session.sign(parts[:4]), signature):
        raise ValueError("its signature is not right")
    if not (isinstance(content, dict) and isinstance(metadata, dict)):
        raise ValueError("its content is no object")
    return header, Message(channel, str(header["msg_type"]), content, metadata, str(parent.get("msg_id", "")))
