"""What a broken line is said to have cost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from langchain_jupyter.kernels.conversation import GAP, UNARRIVED, Conversation
from langchain_jupyter.kernels.kernel import Channel
from langchain_jupyter.kernels.wire import Envelope
from langchain_jupyter.servers.answers import KernelModel

KERNEL = "kernel-session"


class Wire:
    """A line on which what is sent gets no answer."""

    session = "our-session"

    def header(self, msg_type: str) -> dict[str, Any]:
        return {"msg_type": msg_type, "session": self.session}

    async def send(
        self,
        channel: Channel,
        head: Mapping[str, Any],
        content: Mapping[str, Any],
        parent_header: Mapping[str, Any] | None = None,
    ) -> None:
        return None


def message(number: int, msg_type: str, *, channel: Channel = "iopub", **content: Any) -> Envelope:
    header = {"msg_id": f"{KERNEL}_1_{number}", "session": KERNEL, "msg_type": msg_type}
    return Envelope(channel, header, {"msg_id": "run"}, {}, content)


@pytest.mark.parametrize(
    ("connections", "next_number", "told"), [(0, 4, []), (0, 5, [UNARRIVED]), (1, 4, [GAP]), (1, 5, [GAP])]
)
async def test_output_that_was_on_its_way_when_the_line_broke_is_not_put_down_to_another_client(
    connections: int, next_number: int, told: list[str]
) -> None:
    talk = Conversation(lambda replaced: None)
    talk.begin(Wire())
    request = talk.expect("run")

    for number, state in ((1, "idle"), (2, "busy")):
        talk.receive(message(number, "status", execution_state=state))
    talk.receive(message(3, "stream", name="stdout", text="before"))
    talk.resumed(KernelModel("k", "python3", "busy", connections))
    talk.receive(message(next_number, "stream", name="stdout", text="after"))
    talk.receive(message(next_number + 1, "execute_reply", channel="shell", status="ok"))
    talk.receive(message(next_number + 2, "status", execution_state="idle"))
    async with asyncio.timeout(30):
        taken = [each async for each in talk.follow(request)]
    talk.stop()

    assert [each.content["reason"] for each in taken if each.msg_type == "truncated"] == told
    assert [each.content["text"] for each in taken if each.msg_type == "stream"] == ["before", "after"]
