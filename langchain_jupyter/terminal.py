"""What the commands print: an agent at work, findings, errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

import typer
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from langchain_jupyter.doctor.finding import Finding, State
from langchain_jupyter.errors import JupyterError
from langchain_jupyter.redaction import Redactor
from langchain_jupyter.report.record import result_line
from langchain_jupyter.sessions.positions import first_line

_SHOWN = 8
_WIDTH = 110
_MARKS: Mapping[State, str] = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "problem": "[red]problem[/]"}


class Terminal:
    """Where the commands write.

    Args:
        console: Rich's, for what was asked for; errors go to stderr.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    def messages(self, messages: Iterable[BaseMessage]) -> None:
        """New messages of an agent's thread."""
        for message in messages:
            self._message(message)

    def findings(self, findings: Iterable[Finding]) -> None:
        """What the doctor found, each with what to do."""
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for found in findings:
            table.add_row(_MARKS[found.state], found.subject, escape(found.said))
            if found.mend:
                table.add_row("", "", f"[bold]→ {escape(found.mend)}[/]")
        self.console.print(table)

    def _message(self, message: BaseMessage) -> None:
        if isinstance(message, AIMessage):
            if message.text:
                self.console.print(f"\n{escape(message.text)}")
            for call in message.tool_calls:
                what = first_line(str(next(iter(call["args"].values()), "")), 70)
                self.console.print(f"[cyan]●[/] [bold]{call['name']}[/] [dim]{escape(what)}[/]")
        elif isinstance(message, ToolMessage):
            self.console.print(f"  [{_colour(message)}]{escape(result_line(message.text))}[/]")

    def output(self, event: Mapping[str, Any]) -> None:
        """What a running cell has printed since the last event."""
        text = str(event.get("text", ""))
        for output in event.get("outputs", ()):
            pictures = [kind for kind in output.get("mime_types", ()) if kind.startswith("image/")]
            text += f"[{pictures[0]}]\n" if pictures else str(output.get("text", ""))
        lines = [line for line in text.splitlines() if line.strip()]
        for line in lines[-_SHOWN:]:
            self.console.print(f"    [dim]{escape(line[:_WIDTH])}[/]")


def presentable(message: BaseMessage, redactor: Redactor) -> BaseMessage:
    """A message of an agent as it may be shown and written down: what a model says and asks for may hold secrets.

    Results of tools hold none any more.
    """
    if not isinstance(message, AIMessage):
        return message
    said, asked = redactor.redacted(message.content), redactor.redacted(message.tool_calls)
    return message.model_copy(update={"content": said, "tool_calls": asked})


def _colour(message: ToolMessage) -> str:
    """Of the call's result: code that raised is no failed call, but nothing to be glad of."""
    artifact = message.artifact if isinstance(message.artifact, dict) else {}
    if message.status == "error":
        return "red"
    return "yellow" if artifact.get("status") in ("error", "died", "lost", "interrupted") else "green"


class Told:
    """Errors as one paragraph that says what to do, without a stack trace.

    Args:
        debug: With the stack trace.
    """

    def __init__(self, *, debug: bool = False) -> None:
        self._debug = debug

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        own = type(error).__module__.partition(".")[0] in ("click", "typer")  # an end, or a word on the usage
        if self._debug or own or not isinstance(error, Exception):
            return
        said = str(error) if isinstance(error, JupyterError) else _foreign(error)
        Console(stderr=True).print(f"[red]Error:[/] {escape(said)}", soft_wrap=True)
        raise typer.Exit(1) from error


def _foreign(error: Exception) -> str:
    """One that we did not expect: of a model's provider, of the system, or a fault of ours."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{said[:600].rstrip('.')}. --debug shows where it comes from."
