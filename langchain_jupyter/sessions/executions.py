"""What runs and what ran: references, the soft wait, exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from langchain_jupyter.errors import ExecutionNotFound
from langchain_jupyter.kernels.kernel import Message
from langchain_jupyter.models import ErrorInfo, Execution, Status
from langchain_jupyter.outputs import OutputChange, Outputs
from langchain_jupyter.settings import OutputLimits

Listener: TypeAlias = Callable[["Run", OutputChange | None], None]
"""Told what came, while it comes, and None when nothing more comes; runs on the toolkit's loop."""

INVALID = (LookupError, TypeError, ValueError, AttributeError)
"""What taking a message raises that a kernel has sent against the rules."""

_KEPT = 200
_RESULTS = 50
_OUTPUTS = 50_000_000


class Run:
    """One execute_request on its way, or at its end.

    Attributes:
        ref: Reference for wait_for_execution, such as "e7".
        cell_id: The cell that runs; None for scratch code.
        outputs: What the kernel has sent so far.
        truncated: Output is known to be missing.
        interrupted: Somebody asked it to stop.
        begun: Set when the kernel has taken it up, from when on an interrupt stops it; and at the end.
        ended: Set when the kernel is idle again and everything is in the document.
        settled: Set while its caller has nothing to wait for: it has ended, or asks for input.
        unattended: Set when its caller stopped waiting though it runs.
        untold: What its listeners hold back, because it may be the beginning of a secret.
    """

    def __init__(self, ref: str, cell_id: str | None, unattended: asyncio.Event, outputs: Outputs) -> None:
        self.ref = ref
        self.cell_id = cell_id
        self.outputs = outputs
        self.status: Status = "running"
        self.execution_count: int | None = None
        self.error: ErrorInfo | None = None
        self.prompt = ""
        self.password = False
        self.note = ""
        self.truncated = False
        self.interrupted = False
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self.settled = asyncio.Event()
        self.unattended = unattended
        self.listeners: list[Listener] = []
        self.untold = ""
        self._waiting = 0
        self._started = self._begun_at = time.monotonic()
        self._duration: float | None = None

    def take(self, message: Message) -> None:
        """Take one message that the kernel sent for this request."""
        content = message.content
        if message.msg_type != "status" and not self.begun.is_set():
            self._begun_at = time.monotonic()
            self.begun.set()
        if message.msg_type == "execute_input":
            self.execution_count = content["execution_count"]
        elif message.msg_type == "execute_reply":
            self._take_reply(content)
        elif message.msg_type == "input_request":
            self.prompt, self.password, self.status = content["prompt"], bool(content.get("password")), "input"
            self.settled.set()
        elif message.msg_type == "truncated":
            self._take_missing(content["reason"], shown=bool(content.get("shown")))
        else:
            self.outputs.feed(message.msg_type, content)

    def resumed(self) -> None:
        """The input it asked for was given; nothing to do if it has ended meanwhile."""
        if self.ended.is_set():
            return
        self.prompt, self.password, self.status = "", False, "running"
        self.settled.clear()

    def died(self, note: str) -> None:
        """The kernel ended before the code did."""
        self.status, self.note = "died", note

    def lost(self, note: str) -> None:
        """How it ended was not heard."""
        self.status, self.note = "lost", f"{self.note} {note}".strip()

    def unheard(self) -> None:
        """The kernel is done with it; if its reply did not come, it may have ended in any way."""
        if self.finished:
            return
        if self.interrupted:
            self.status, self.note = "interrupted", "The kernel did not say how it ended."
        else:
            self.lost("How it ended was not heard; nothing was run again.")

    def end(self) -> None:
        """Nothing more comes."""
        self._duration = time.monotonic() - self._started
        self.unheard()
        for event in (self.begun, self.ended, self.settled):
            event.set()

    def forget_outputs(self) -> None:
        """Keep no more than how it ended."""
        where = "" if self.cell_id is None else "; read_cell has those that stand in its cell"
        self.outputs = Outputs()
        self._add_note(f"Its outputs are no longer kept{where}.")

    @property
    def finished(self) -> bool:
        """Whether its status is final."""
        return self.status not in ("running", "input")

    @property
    def age(self) -> float:
        """Seconds since the kernel has taken it up."""
        return time.monotonic() - self._begun_at

    def snapshot(self) -> Execution:
        """What it has come to so far."""
        left_out = self.outputs.left_out
        duration = self._duration if self._duration is not None else time.monotonic() - self._started
        return Execution(
            ref=self.ref,
            cell_id=self.cell_id,
            status=self.status if self.ended.is_set() or self.status == "input" else "running",
            execution_count=self.execution_count,
            outputs=self.outputs.items(),
            duration=duration,
            error=self.error,
            prompt=self.prompt,
            password=self.password,
            note=f"{self.note} {left_out}".strip(),
            truncated=self.truncated or bool(left_out),
        )

    async def wait(self, timeout: float) -> Execution:
        """Wait until it has ended or asks for input, at most `timeout` seconds; it goes on in either case."""
        self._waiting += 1
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self.settled.wait()
        finally:
            self._waiting -= 1
            if not self._waiting and not self.ended.is_set():
                self.unattended.set()
        return self.snapshot()

    def _take_missing(self, reason: str, *, shown: bool) -> None:
        self.truncated = True
        if shown and reason not in self.note:
            self.outputs.feed("stream", {"name": "stderr", "text": f"[{reason}]\n"})
        self._add_note(reason)

    def _add_note(self, note: str) -> None:
        if note not in self.note:
            self.note = f"{self.note} {note}".strip()

    def _take_reply(self, content: Mapping[str, Any]) -> None:
        if self.cell_id is not None or self.execution_count is None:  # ipykernel gives scratch code the count before
            self.execution_count = content.get("execution_count") or self.execution_count
        if content["status"] == "ok":
            self.status = "ok"
        elif content["status"] == "error":
            self.error = ErrorInfo(content["ename"], content["evalue"], tuple(content.get("traceback", ())))
            stopped = self.interrupted or content["ename"] == "KeyboardInterrupt"
            self.status = "interrupted" if stopped else "error"
        else:  # of code that was stopped, R's kernel says what others say of code that did not run
            self.status = "interrupted"
            if not self.interrupted:
                self.note = "The kernel did not run it: a run before it failed."


class Executions:
    """The runs of one session, by reference and by key; one at a time.

    Args:
        first: What references count from.
        limits: How much of a run's outputs is kept.

    Attributes:
        first: What references count from.
        begun: The number of the last that has begun.
        current: What runs now.
        unattended: Set while the current run goes on though its caller has stopped waiting.
    """

    def __init__(self, first: int = 0, *, limits: OutputLimits | None = None) -> None:
        self._limits = limits or OutputLimits()
        self._runs: dict[str, Run] = {}
        self._keys: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._held = 0
        self.first = self.begun = first
        self.current: Run | None = None
        self.unattended = asyncio.Event()

    def begin(self, cell_id: str | None, key: str, *, ref: str = "") -> Run:
        """A run that is about to start; under the reference that it has from another process, if it has one."""
        self.unattended.clear()
        self.begun += 1
        run = Run(
            ref or f"e{self.begun}",
            cell_id,
            self.unattended,
            Outputs(size=self._limits.per_run, count=self._limits.outputs_per_run),
        )
        self._runs[run.ref] = self.current = run
        self._numbers[run.ref] = self.begun
        if key:
            self._keys[key] = run.ref
        self._forget()
        return run

    def end(self, run: Run) -> None:
        """The kernel is idle again and everything is in the document."""
        self.current = None
        self.unattended.clear()
        run.end()
        run.listeners.clear()  # each holds a call, with the whole state of its graph
        self.grown(run.outputs.size)

    def find(self, ref: str) -> Run:
        """The run with that reference.

        Raises:
            ExecutionNotFound: There is none, or it is no longer kept.
        """
        run = self._runs.get(ref.strip())
        if run is None:
            known = ", ".join(list(self._runs)[-5:]) or "none so far"
            raise ExecutionNotFound(f"No execution '{ref}'. The latest: {known}.")
        return run

    def __contains__(self, ref: str) -> bool:
        return ref.strip() in self._runs

    def of_key(self, key: str) -> Run | None:
        """The run that this tool call has started already."""
        return self._runs.get(self._keys.get(key, ""))

    def forget_since(self, begun: int, family: str = "") -> None:
        """Forget which calls, with keys of that beginning, have started the runs after so many."""
        numbers = {key: self._numbers.get(ref, 0) for key, ref in self._keys.items() if key.startswith(family)}
        late = {key for key, number in numbers.items() if number > begun}
        self._keys = {key: ref for key, ref in self._keys.items() if key not in late}

    def _forget(self) -> None:
        while len(self._runs) > _KEPT:
            oldest = next(iter(self._runs))
            del self._runs[oldest], self._numbers[oldest]
            self._keys = {key: ref for key, ref in self._keys.items() if ref != oldest}

    def grown(self, size: int) -> None:
        """Runs that are over have so many more characters of outputs."""
        self._held += size
        if self._held > _OUTPUTS:
            self._forget_outputs()

    def _forget_outputs(self) -> None:
        """Of runs that are over, so much is kept together; of the last one everything."""
        size = 0
        for run in reversed(self._runs.values()):
            if size and size + run.outputs.size > _OUTPUTS and run.ended.is_set() and run.outputs.size:
                run.forget_outputs()
            size += run.outputs.size
        self._held = size


class Results:
    """What tool calls have answered, by key, so that a repeated call does nothing twice.

    Attributes:
        made: How many there have been.
    """

    def __init__(self) -> None:
        self.made = 0
        self._kept: dict[str, tuple[int, Any]] = {}

    def get(self, key: str) -> Any:
        """The answer to that call; None if it was never made, or long ago."""
        return self._kept.get(key, (0, None))[1]

    def put(self, key: str, result: Any) -> None:
        """Keep an answer; the oldest go."""
        if key:
            self.made += 1
            self._kept[key] = (self.made, result)
            while len(self._kept) > _RESULTS:
                del self._kept[next(iter(self._kept))]

    def forget_since(self, made: int, family: str = "") -> None:
        """Forget the answers after so many, of keys with that beginning."""
        late = [key for key, (number, _) in self._kept.items() if key.startswith(family) and number > made]
        for key in late:
            del self._kept[key]
