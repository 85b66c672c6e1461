"""What an agent did, gathered from its stream while it does it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from langchain_jupyter.models import Cell


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a tool, and what came of it.

    Attributes:
        said: What the model said before it, if it said something; of calls of one turn the first has it.
        tool: Name of the tool.
        arguments: What the model gave.
        result: Line one of the answer; empty if there was none.
        failed: Whether the call failed; code that raises is not a failure of the call.
        status: Of the execution ("ok", "error", "running", …); empty where nothing ran.
        cell: Id of the cell that it was about; empty for none.
        seconds: From the call to its answer.
    """

    said: str
    tool: str
    arguments: Mapping[str, Any]
    result: str = ""
    failed: bool = False
    status: str = ""
    cell: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A session of an agent in one notebook.

    Attributes:
        task: What the agent was asked for.
        model: Which model did it.
        notebook: What the notebook is called.
        started: When it began.
        seconds: How long it took.
        steps: What it did, in order.
        said: Its last words.
        stopped: Why it ended before its end; empty if it did not.
        before: The cells as they stood when it began.
        after: The cells as they stand now.
    """

    task: str
    model: str
    notebook: str
    started: datetime
    seconds: float
    steps: Sequence[Step]
    said: str = ""
    stopped: str = ""
    before: Sequence[Cell] = ()
    after: Sequence[Cell] = ()


@dataclass(slots=True)
class _Open:
    """A call that has no answer yet."""

    step: Step
    at: float


@dataclass(slots=True)
class Recorder:
    """Listens to the stream of one agent.

    Args:
        clock: Seconds, growing.
    """

    clock: Callable[[], float] = time.monotonic
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _began: float = field(init=False)
    _open: dict[str, _Open] = field(default_factory=dict)
    _steps: dict[str, Step] = field(default_factory=dict)
    _said: str = ""

    def __post_init__(self) -> None:
        self._began = self.clock()

    def hear(self, messages: Sequence[BaseMessage]) -> None:
        """New messages of the agent's thread, as the stream mode `updates` brings them."""
        for message in messages:
            if isinstance(message, AIMessage):
                self._called(message)
            elif isinstance(message, ToolMessage):
                self._answered(message)

    def record(self, **about: Any) -> Record:
        """All that was heard.

        Args:
            about: The attributes of a Record that no stream tells.
        """
        return Record(
            started=self.started,
            seconds=self.clock() - self._began,
            steps=tuple(self._steps.values()),
            said=self._said,
            **about,
        )

    def _called(self, message: AIMessage) -> None:
        said = message.text.strip()
        self._said = "" if message.tool_calls else said
        for call in message.tool_calls:
            key = call["id"] or str(len(self._steps))
            self._steps[key] = Step(said, call["name"], call["args"])
            self._open[key] = _Open(self._steps[key], self.clock())
            said = ""

    def _answered(self, message: ToolMessage) -> None:
        called = self._open.pop(message.tool_call_id, None)
        if called is None:
            return
        artifact = message.artifact if isinstance(message.artifact, dict) else {}
        self._steps[message.tool_call_id] = Step(
            called.step.said,
            called.step.tool,
            called.step.arguments,
            result=result_line(message.text),
            failed=message.status == "error",
            status=str(artifact.get("status", "")),
            cell=str(artifact.get("cell") or ""),
            seconds=self.clock() - called.at,
        )


def result_line(text: str) -> str:
    """Line one of a tool's answer, without the announcement of what follows it."""
    line = text.partition("\n")[0]
    return f"{line.rpartition('. ')[0]}." if line.endswith(":") and ". " in line else line
