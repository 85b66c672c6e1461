"""Executions -> content blocks for a model, within OutputLimits, and the artifact beside them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_jupyter.analysis.hints import Unmade, hint_of
from langchain_jupyter.rendering.fences import ending, one_line
from langchain_jupyter.rendering.parts import Drawing, parts_of, records
from langchain_jupyter.rendering.tracebacks import own_first

if TYPE_CHECKING:
    from langchain_jupyter.models import Execution
    from langchain_jupyter.rendering.references import References
    from langchain_jupyter.rendering.tracebacks import CellOf
    from langchain_jupyter.settings import OutputLimits

Blocks: TypeAlias = "list[str | dict[str, Any]]"

_NOTE = 600
_LAST = 2_000
"""Characters of a note, which may tell of several things, and of the last of them what matters most."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a tool answers.

    Attributes:
        content: Content blocks of langchain-core's v1, `{"type": "text", "text": …}` and
            `{"type": "image", "base64": …, "mime_type": …}`; the first is a text, and no text is empty.
        artifact: Plain JSON without base64.
        whole: Ids of the cells whose source the model has now seen whole.
    """

    content: list[dict[str, Any]]
    artifact: dict[str, Any]
    whole: tuple[str, ...] = ()


def render_execution(
    execution: Execution,
    *,
    handle: str,
    limits: OutputLimits,
    references: References,
    cell_of: CellOf,
    unmade: Unmade = lambda name: "",
) -> Rendered:
    """A line about how it went, then its outputs.

    Args:
        execution: Finished, or as it is so far.
        handle: Of the cell that ran; "scratch" if none did.
        limits: Bounds of the result.
        references: Keeps what is cut.
        cell_of: Names the cells of a traceback.
        unmade: Finds the cell that would have set a name.
    """
    first = first_line(execution, handle)[: limits.per_call]
    cell_of = own_first(execution.execution_count, handle, cell_of)
    parts = parts_of(execution.outputs, cell_of)
    error = execution.error
    if error is not None and not any(part.last for part in parts):
        output = {"output_type": "error", "ename": error.name, "evalue": error.value, "traceback": error.traceback}
        parts += [part for part in parts_of([*execution.outputs, output], cell_of) if part.last]
    hint = hint_of(error, unmade) if error is not None else ""
    room = limits.per_call - len(first) - 1
    last: Blocks = [f"[{hint}]"] if hint and len(hint) < room // 2 else []
    body = Drawing(limits, references).draw(parts, _owner(execution), room - sum(len(str(each)) + 1 for each in last))
    artifact = {
        "status": execution.status,
        "execution": execution.ref,
        "cell": execution.cell_id,
        "execution_count": None if execution.cell_id is None else execution.execution_count,
        "duration": execution.duration,
        "error": {"name": error.name[:200], "value": error.value[:2_000]} if error else None,
        "outputs": records(execution.outputs, parts),
        "truncated": execution.truncated or any(part.cut for part in parts),
    }
    return Rendered(content_of([first, *body, *last]), artifact)


def first_line(execution: Execution, handle: str) -> str:
    """`a1b2 ok 1.2s [8]`: handle, status, duration, execution count, and what else has to be known at once."""
    head = f"{handle} {execution.status} {seconds(execution.duration)}"
    counted = execution.cell_id is not None and execution.execution_count is not None
    count = f" [{execution.execution_count}]" if counted else ""
    match execution.status:
        case "error":
            error = execution.error
            said = (
                "" if error is None else f" {one_line(f'{error.name}: {error.value}' if error.value else error.name)}"
            )
            return f"{head}{count}{said}{f' · {one_line(execution.note, _NOTE)}' if execution.note else ''}"
        case "running":
            last = last_line(execution)
            wait = f'wait_for_execution("{execution.ref}") or interrupt_kernel()'
            return f"{head}{count} execution {execution.ref}{f': {last}' if last else ''} · {wait}"
        case "input":
            return f'{head} execution {execution.ref} asks: "{one_line(execution.prompt)}"'
        case "died":
            return f"{head}{f': {one_line(execution.note, _NOTE)}' if execution.note else ''}"
        case _:
            return f"{head}{count}{f': {one_line(execution.note, _NOTE)}' if execution.note else ''}"


def content_of(blocks: Blocks) -> list[dict[str, Any]]:
    """Content blocks, texts in a row joined by line ends."""
    content: list[dict[str, Any]] = []
    for block in blocks:
        if not isinstance(block, str):
            content.append(block)
        elif content and content[-1]["type"] == "text":
            content[-1] = {"type": "text", "text": f"{content[-1]['text']}\n{block}"}
        else:
            content.append({"type": "text", "text": block})
    return content


def _owner(execution: Execution) -> str:
    return execution.cell_id or execution.ref


def seconds(duration: float) -> str:
    """A duration in words."""
    return f"{duration:.1f}s" if duration < 9.95 else f"{duration:.0f}s"


def last_line(execution: Execution) -> str:
    """The last line that was printed; empty if there is none."""
    for output in reversed(execution.outputs):
        if output["output_type"] == "stream":
            lines = [line for line in ending(str(output["text"]), _LAST).split("\n") if line.strip()]
            if lines:
                return one_line(lines[-1].strip())
    return ""
