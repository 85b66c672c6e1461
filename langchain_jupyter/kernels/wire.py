"""Kernel messages as they travel over a WebSocket, in both of Jupyter's encodings. Pure: no I/O.

Source:
    https://jupyter-server.readthedocs.io/en/latest/developers/websocket-protocols.html
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from langchain_jupyter.kernels.kernel import Channel, Message
from langchain_jupyter.kernels.numbers import numbered

V1 = "v1.kernel.websocket.jupyter.org"
_WORD = 8
_CHANNELS = ("shell", "iopub", "stdin", "control")
_PARTS = ("header", "parent_header", "metadata", "content")


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message, on its channel.

    Attributes:
        channel: Of the kernel's sockets.
        header: Who sent what, with `msg_id`, `msg_type` and `session`.
        parent_header: The header of the request that caused it; empty if none did.
        metadata: Of the message.
        content: Of the message.
    """

    channel: Channel
    header: Mapping[str, Any]
    parent_header: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict)

    @property
    def msg_type(self) -> str:
        """What kind of message it is."""
        return str(self.header["msg_type"])

    @property
    def number(self) -> int | None:
        """Its place among all that its sender sent, where the sender counts."""
        number = numbered(self.header)[1]
        return number if number >= 0 else None

    @property
    def parent(self) -> str:
        """Id of the request that caused it; "" if none did."""
        return str(self.parent_header.get("msg_id", ""))

    @property
    def message(self) -> Message:
        """What a session needs of it."""
        return Message(self.channel, self.msg_type, self.content, self.metadata, self.parent)


def header(msg_type: str, session: str) -> dict[str, Any]:
    """The header of a new message of ours."""
    return {
        "msg_id": uuid.uuid4().hex,
        "msg_type": msg_type,
        "session": session,
        "username": "langchain-jupyter",
        "version": "5.3",
        "date": datetime.now(UTC).isoformat(),
    }


def encode(envelope: Envelope, subprotocol: str | None) -> bytes | str:
    """The message as the subprotocol that the server agreed to wants it; None is plain JSON."""
    parts = (envelope.header, envelope.parent_header, envelope.metadata, envelope.content)
    if subprotocol != V1:
        return json.dumps({"channel": envelope.channel, "buffers": [], **dict(zip(_PARTS, parts, strict=True))})
    blobs = [envelope.channel.encode(), *(json.dumps(part).encode() for part in parts)]
    offsets = [_WORD * (len(blobs) + 2)]
    for blob in blobs:
        offsets.append(offsets[-1] + len(blob))
    return b"".join((len(offsets).to_bytes(_WORD, "little"), *(n.to_bytes(_WORD, "little") for n in offsets), *blobs))


def decode(data: bytes | str, subprotocol: str | None) -> Envelope:
    """The message that came; its binary buffers are left out, no output of a notebook has any.

    Raises:
        ValueError: It is none.
    """
    if subprotocol != V1:
        return _decode_json(data if isinstance(data, str) else _first_buffer(data))
    if isinstance(data, str):
        raise ValueError("a text frame where the subprotocol has binary ones only")
    count = int.from_bytes(data[:_WORD], "little")
    if not len(_PARTS) + 2 <= count < len(data) // _WORD:
        raise ValueError("a frame that is shorter than it says")
    offsets = [int.from_bytes(data[_WORD * n : _WORD * (n + 1)], "little") for n in range(1, len(_PARTS) + 3)]
    channel = data[offsets[0] : offsets[1]].decode()
    return _envelope(channel, [_json(data[offsets[n] : offsets[n + 1]]) for n in range(1, len(_PARTS) + 1)])


def _decode_json(text: str | bytes) -> Envelope:
    message = _json(text)
    if not isinstance(message, Mapping):
        raise ValueError("a message that is no object")
    return _envelope(message.get("channel") or "iopub", [message.get(part) or {} for part in _PARTS])


def _envelope(channel: Any, parts: list[Any]) -> Envelope:
    if channel not in _CHANNELS or not all(isinstance(part, Mapping) for part in parts):
        raise ValueError("a message whose parts are no objects, or on no channel")
    if not isinstance(parts[0].get("msg_type"), str):
        raise ValueError("a message without a type")
    return Envelope(cast(Channel, channel), *parts)


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON that is too deep") from error


def _first_buffer(data: bytes) -> bytes:
    """The JSON of a message with buffers: a count and offsets of 4 bytes, big-endian, then the pieces."""
    count, start, end = (int.from_bytes(data[4 * n : 4 * (n + 1)], "big") for n in range(3))
    return data[start : end if count > 1 else None]
