"""Messages on the wire, against what Jupyter Server itself reads and writes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jupyter_server.services.kernels.connection.base import (
    deserialize_msg_from_ws_v1,
    serialize_binary_message,
    serialize_msg_to_ws_v1,
)

from langchain_jupyter.kernels.wire import V1, Envelope, decode, encode, header

MESSAGE: dict[str, Any] = {
    "header": header("stream", "s1"),
    "parent_header": header("execute_request", "s2"),
    "metadata": {"more": [1, 2]},
    "content": {"name": "stdout", "text": "Grüße 🌍 \udc80\n"},
}


def pack(part: Any) -> bytes:
    return json.dumps(part).encode()


def test_the_server_reads_what_we_write() -> None:
    written = encode(Envelope("shell", *MESSAGE.values()), V1)
    assert isinstance(written, bytes)

    channel, parts = deserialize_msg_from_ws_v1(written)

    assert channel == "shell"
    assert [json.loads(part) for part in parts] == list(MESSAGE.values())


def test_we_read_what_the_server_writes() -> None:
    parts = [pack(part) for part in MESSAGE.values()]

    found = decode(serialize_msg_to_ws_v1([*parts, b"a buffer"], "iopub"), V1)

    assert found == Envelope("iopub", *MESSAGE.values())
    assert found.msg_type == "stream"
    assert found.parent == MESSAGE["parent_header"]["msg_id"]


def test_plain_json_is_read_as_it_is_written() -> None:
    envelope = Envelope("shell", *MESSAGE.values())

    written = encode(envelope, None)

    assert isinstance(written, str)
    assert json.loads(written)["channel"] == "shell"
    assert decode(written, None) == envelope


def test_plain_json_with_buffers_is_read_without_them() -> None:
    message = {**MESSAGE, "channel": "iopub", "buffers": [b"1234", b"56"]}

    assert decode(serialize_binary_message(message), None) == Envelope("iopub", *MESSAGE.values())


def test_a_message_that_no_request_caused_has_no_parent() -> None:
    envelope = Envelope("iopub", MESSAGE["header"])

    assert decode(encode(envelope, V1), V1).parent == ""


@pytest.mark.parametrize("data", [b"", b"\x01", b"\xff" * 40, "text", encode(Envelope("shell", {}), V1)[:60]])
def test_what_is_no_message_is_refused(data: bytes | str) -> None:
    with pytest.raises((ValueError, LookupError)):
        decode(data, V1)


def test_messages_are_numbered_where_the_sender_counts_them() -> None:
    from jupyter_client.session import Session

    session = Session()
    first, second = (Envelope("iopub", session.msg_header("status")) for _ in range(2))

    assert first.number is not None
    assert second.number == first.number + 1
    assert Envelope("iopub", header("status", "s1")).number is None
