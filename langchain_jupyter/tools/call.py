"""One call of a tool: who calls, on which notebook, and how its graph hears of it meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_jupyter.human import Person
from langchain_jupyter.models import BatchState
from langchain_jupyter.outputs import OutputChange
from langchain_jupyter.redaction import NOTHING, Redactor
from langchain_jupyter.sessions.executions import Run
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.sessions.sight import family_of
from langchain_jupyter.settings import OutputLimits
from langchain_jupyter.tools.events import output_event, progress_event
from langchain_jupyter.tools.order import turn_of

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool.

    Attributes:
        session: The notebook it works on.
        caller: Who calls: a LangGraph thread, a session of a client, or the toolkit's user.
        key: The same for the same tool call, also when it is repeated after a crash; empty if there is no id.
        limits: How much the model gets to see.
        tool_call_id: As the model gave it; empty if it is no tool call.
        runtime: LangGraph's ToolRuntime; None outside of a graph.
        person: Who can be asked; or why nobody can.
        redactor: Takes secrets out of what is told.
    """

    session: NotebookSession
    caller: str
    key: str
    limits: OutputLimits
    tool_call_id: str = ""
    runtime: Any = None
    person: Person | str = ""
    redactor: Redactor = NOTHING

    @property
    def thread(self) -> str:
        """The LangGraph thread, or whatever else calls under one name."""
        return family_of(self.caller)

    @property
    def checkpoint_id(self) -> str:
        """The checkpoint of the thread that this step of its graph begins at; "" outside of a graph."""
        return str(getattr(getattr(self.runtime, "execution_info", None), "checkpoint_id", ""))

    @property
    def turn(self) -> str:
        """The model's message that makes the call; "" outside of a graph."""
        return turn_of(getattr(self.runtime, "state", None), self.tool_call_id, ())[0]

    @property
    def asks(self) -> bool:
        """Whether input() in a cell reaches a person."""
        return isinstance(self.person, Person)

    def resolve(self, text: str) -> str:
        """The id of the cell that the model means; the same when the call is entered again after a question.

        Raises:
            CellNotFound, CellAmbiguous, OrderChanged: It means no cell, or not one.
        """
        document, sight = self.session.document, self.session.sight(self.caller)
        return self.once(f"cell {text}", lambda: sight.resolve(document, text, turn=self.turn))

    @property
    def language(self) -> str:
        """Of the code, for a code block; "" if the kernel has not told yet and nothing else does."""
        kernel = self.session.kernel.info
        named = self.session.document.metadata.get("kernelspec", {}).get("language")
        return kernel.language or str(named or ("python" if kernel.name.startswith("python") else ""))

    def meant(self, text: str, original: str) -> str:
        """A text that the model wrote, with the secrets that it saw as markers in `original`."""
        return self.redactor.restored(text, original)

    def once(self, step: str, do: Callable[[], T]) -> T:
        """A step of a call that is entered again when it has asked a person: done once, with the same result."""
        key = f"{self.key}/{step}" if self.key else ""
        done: T | None = self.session.steps.get(key)
        if done is None:
            done = do()
            self.session.steps.put(key, done)
        return done

    def emit(self, run: Run, change: OutputChange | None) -> None:
        """Tell the graph's streams what a run has printed since the last event; see `events`."""
        if (event := output_event(run, change, self.redactor)) is not None:
            self._tell(event)

    def report(self, batch: BatchState) -> None:
        """Tell the graph's streams how far a run of many cells has come."""
        self._tell(progress_event(batch))

    def _tell(self, event: dict[str, Any]) -> None:
        event |= {"notebook": self.session.store.path, "tool_call_id": self.tool_call_id or None}
        for name in ("stream_writer", "emit_output_delta"):
            if (emit := getattr(self.runtime, name, None)) is not None:
                try:
                    emit(event)
                except RuntimeError:  # the run goes on, but the loop of whoever listened has ended
                    logger.debug("nobody listens any more to %s", event["execution"])


def thread_of(runtime: Any) -> str:
    """The LangGraph thread that a call comes from; "" outside of a graph."""
    return str(configurable_of(runtime).get("thread_id") or "")


def configurable_of(runtime: Any) -> Mapping[str, Any]:
    """What the caller has configured; nothing outside of a graph."""
    found: Mapping[str, Any] = (getattr(runtime, "config", None) or {}).get("configurable") or {}
    return found
