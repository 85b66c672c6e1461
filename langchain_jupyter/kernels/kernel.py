"""What a kernel is to a session, wherever it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from langchain_jupyter.errors import ConnectionLost, KernelDied
from langchain_jupyter.models import KernelInfo

Channel: TypeAlias = Literal["shell", "iopub", "stdin", "control"]

SILENCE = 3.0
LARGEST = 50_000_000
"""Bytes of one message of a kernel that is taken. To read one can take ten times as much of our memory."""

UNFINISHED = "The end of its output was not heard: some may be missing. It was not run again."


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a kernel, reduced to what a session needs.

    Attributes:
        parent: Id of the request that caused it; "" where it is not the kernel's, or nobody tells.

    Source: https://jupyter-client.readthedocs.io/en/stable/messaging.html
    """

    channel: Channel
    msg_type: str
    content: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    parent: str = ""


def truncated(reason: str, *, shown: bool = False) -> Message:
    """Says in the place of output that it is missing, and why; `shown` to those who read the notebook, too."""
    return Message("iopub", "truncated", {"reason": reason, "shown": shown})


OVER = Message("shell", "over", {})
"""Says that nothing more comes, though the end was not heard."""
TOO_LARGE = truncated(
    f"Output is missing: one message of the kernel was larger than {LARGEST // 1_000_000} MB, and was not taken. Print "
    "or show less at a time.",
    shown=True,
)


Inbox: TypeAlias = asyncio.Queue[Message | KernelDied | ConnectionLost]
"""What comes for one request: messages of which it is the parent, or why no more will come."""


async def until_idle(inbox: Inbox, arrived: Callable[[], Awaitable[None]] | None = None) -> AsyncIterator[Message]:
    """The messages of one execute_request, until both its execute_reply and the idle status are there.

    They may come in either order. Where the idle status has come and then nothing for three seconds, the reply is lost:
    ipykernel sends none when it is interrupted between `execute_input` and the code. Where the reply has come and then
    nothing, outputs may be on their way still: a gigabyte takes its time. When what was published after them is here
    they are lost, since ZeroMQ drops what a publisher cannot get rid of, and the last message says so. `OVER` ends it,
    too.

    Args:
        inbox: What comes for the request.
        arrived: Waits until all that the kernel has published so far has been put into the inbox, or was lost.

    Raises:
        KernelDied, ConnectionLost: As the inbox says.
    """
    replied = idle = False
    while not (replied and idle):
        try:
            async with asyncio.timeout(SILENCE if replied or idle else None):
                message = await inbox.get()
        except TimeoutError:
            if idle:
                return
            if arrived is not None:
                await arrived()
            if inbox.empty():
                yield truncated(UNFINISHED)
                return
            continue
        if message is OVER:
            return
        if not isinstance(message, Message):
            raise message
        replied = replied or message.msg_type == "execute_reply"
        idle = idle or (message.msg_type == "status" and message.content.get("execution_state") == "idle")
        yield message


class Kernel(Protocol):
    """Runs code, one request at a time. All methods belong to one event loop."""

    @property
    def info(self) -> KernelInfo:
        """Name, language and state, as far as known now."""

    def prefer(self, spec: str) -> None:
        """Use that kernel spec, the notebook's, unless another one was asked for. Before `start`."""

    async def start(self) -> None:
        """Be ready for code; does nothing if it is ready already.

        Raises:
            KernelStartError: Unknown kernel spec, or the process ended before it answered.
        """

    def execute(self, code: str, *, allow_stdin: bool = False, store_history: bool = True) -> AsyncIterator[Message]:
        """Send one execute_request and yield what the kernel answers, until it is idle again.

        Ends as `until_idle` says. Messages caused by other clients are left out. One type of message is ours and not
        the kernel's: `truncated`, made by the function of that name, where output is known to be missing.

        Args:
            code: Source in the kernel's language; may be empty.
            allow_stdin: Whether input() may ask; if not, it raises inside the code at once.
            store_history: Whether the execution count goes up.

        Raises:
            KernelDied: The process ended. Nothing is sent again.
            ConnectionLost: The channel broke, and how the code ended was not heard. Nothing is sent again.
        """

    async def evaluate(self, expression: str, *, beside: bool = False) -> Mapping[str, Any] | None:
        """The value of an expression, without a trace: not shown to anybody, not in the history, not counted.

        Sent as the `user_expressions` of a silent execute_request with no code. The caller sees to it that nothing
        else runs, or says `beside`.

        Args:
            expression: Source in the kernel's language.
            beside: Whether code runs meanwhile: then a subshell answers, if the kernel can have one (ipykernel 7).

        Returns:
            As in the execute_reply: `{"status": "ok", "data": {MIME type: …}}`, or `{"status": "error", "ename": …,
            "evalue": …}`; None if code runs and the kernel can do one thing at a time only.

        Raises:
            KernelDied: The process ended, or was not started.
            ConnectionLost: The channel broke.
        """

    def answer(self, text: str) -> None:
        """Answer the input_request that the kernel has sent."""

    async def interrupt(self) -> None:
        """Ask the running code to stop; what `execute` yields tells when it has.

        Returns when the kernel has been signalled, and not before. One that runs nothing is left alone.
        """

    async def restart(self) -> None:
        """End the process and start another; all variables are gone. Whatever runs ends with KernelDied."""

    async def close(self) -> None:
        """End what we started, leave alone what we found."""

    def on_death(self, callback: Callable[[], None]) -> None:
        """Call back when the process ends without our doing."""


@runtime_checkable
class Trailing(Protocol):
    """A kernel that tells what is published for a request of ours when that is over."""

    def on_late(self, callback: Callable[[Message], None]) -> None:
        """Call back with each such message: of threads and tasks that code has left running.

        ipykernel gives what a thread shows to the request that it was sent last, of whatever type.
        """


@runtime_checkable
class Recallable(Protocol):
    """A kernel whose requests outlive the process that sent them."""

    def receipt(self) -> Mapping[str, str]:
        """What takes up the next execute_request from another process; plain JSON, no secret."""

    async def left(self, receipt: Mapping[str, str]) -> bool:
        """Whether the kernel is there and nobody is on it, so that whoever sent that request is gone."""

    async def alone(self) -> bool:
        """Whether nobody but us is on the kernel, so that whoever ran something in it is gone; after `start`."""

    def recall(self, receipt: Mapping[str, str]) -> AsyncIterator[Message]:
        """The messages of a request of an earlier process.

        Before `start`, and if it was left, from when that process was lost. Or else from now on, and a message says
        that some are missing.

        Raises:
            KernelDied: Its kernel is not there any more.
            ConnectionLost: What came meanwhile is lost, with how it ended.
        """
