"""Cells and executions -> content blocks for a model, within OutputLimits, and the artifact beside them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from langchain_jupyter.errors import InvalidArgument
from langchain_jupyter.fences import fenced, one_line, printable
from langchain_jupyter.models import Cell, Execution
from langchain_jupyter.parts import Drawing, length, more, parts_of, records
from langchain_jupyter.references import Kept, References, matcher
from langchain_jupyter.settings import OutputLimits
from langchain_jupyter.tracebacks import CellOf

CellState: TypeAlias = Literal["running", "error", "not run", "ok"]
Blocks: TypeAlias = "list[str | dict[str, Any]]"

_SOURCE = -1
_LAST_LINE = 120


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
    execution: Execution, *, handle: str, limits: OutputLimits, references: References, cell_of: CellOf
) -> Rendered:
    """A line about how it went, then its outputs.

    Args:
        execution: Finished, or as it is so far.
        handle: Of the cell that ran; "scratch" if none did.
        limits: Bounds of the result.
        references: Keeps what is cut.
        cell_of: Names the cells of a traceback.
    """
    first = first_line(execution, handle)[: limits.per_call]
    parts = parts_of(execution.outputs, cell_of)
    error = execution.error
    if error is not None and not any(part.last for part in parts):
        output = {"output_type": "error", "ename": error.name, "evalue": error.value, "traceback": error.traceback}
        parts += [part for part in parts_of([*execution.outputs, output], cell_of) if part.last]
    body = Drawing(limits, references).draw(parts, _owner(execution), limits.per_call - len(first) - 1)
    artifact = {
        "status": execution.status,
        "execution": execution.ref,
        "cell": execution.cell_id,
        "execution_count": execution.execution_count,
        "duration": execution.duration,
        "error": {"name": error.name[:200], "value": error.value[:2_000]} if error else None,
        "outputs": records(execution.outputs, parts),
        "truncated": any(part.cut for part in parts),
    }
    return Rendered(content_of([first, *body]), artifact)


def render_cell(
    cell: Cell,
    *,
    handle: str,
    position: int,
    total: int,
    limits: OutputLimits,
    references: References,
    cell_of: CellOf,
) -> Rendered:
    """One cell: its type and state, source, outputs.

    Args:
        cell: As it stands.
        handle: Of the cell.
        position: Of the cell, from 0.
        total: How many cells there are.
        limits: Bounds of the result.
        references: Keeps what is cut.
        cell_of: Names the cells of a traceback.
    """
    first = f"{_title(cell, handle)} · cell {position} of {total}"[: limits.per_call]
    drawing = Drawing(limits, references)
    sheet = _sheet(cell, first, limits.per_call, drawing, references, cell_of)
    return Rendered(content_of(sheet.blocks), _facts(cell, sheet), (cell.id,) if sheet.whole else ())


def render_cells(
    cells: Sequence[Cell],
    *,
    handle_of: Callable[[str], str],
    find: str = "",
    start: int = 0,
    limit: int = 0,
    outputs: bool = True,
    limits: OutputLimits,
    references: References,
    cell_of: CellOf,
) -> Rendered:
    """Cells in order, as many as fit, and how to go on. A cell is shown as a whole or left for the next call.

    Args:
        cells: All cells of the notebook.
        handle_of: Cell id -> handle.
        find: Keeps the cells whose source or output has this; see `matcher`. Empty keeps all.
        start: Position of the first cell that may be shown, from 0.
        limit: How many at most; 0 is as many as fit.
        outputs: Whether outputs are shown too.
        limits: Bounds of the result.
        references: Keeps what is cut.
        cell_of: Names the cells of a traceback.

    Raises:
        InvalidArgument: `find` is not valid or takes too long, or `start` or `limit` is out of range.
    """
    _check(start, limit, len(cells))
    positions = _matching(cells, find, outputs)
    wanted = [position for position in positions if position >= start]
    drawing = Drawing(limits, references)
    blocks: Blocks = [f"[{len(positions)} of {len(cells)} cells match]"[: limits.per_call]] if find else []
    room = limits.per_call - _LAST_LINE - length(blocks)
    shown: list[int] = []
    sheets: list[dict[str, Any]] = []
    whole: list[str] = []
    for position in wanted[: limit or None]:
        cell = cells[position]
        images = drawing.images
        budget = max(room if shown else room, 1)
        title = f"{position} {_title(cell, handle_of(cell.id))}"[:budget]
        sheet = _sheet(cell, title, budget, drawing, references, cell_of, outputs=outputs)
        if shown and (length(sheet.blocks) > room or not sheet.whole or sheet.squeezed):
            drawing.images = images
            break
        blocks += sheet.blocks
        room -= length(sheet.blocks)
        shown.append(position)
        sheets.append(_facts(cell, sheet))
        whole += [cell.id] if sheet.whole else []
    blocks.append(_going_on(shown, wanted, len(cells)))
    artifact = {"cells": sheets, "matches": len(positions), "total": len(cells), "next": _next(shown, wanted)}
    return Rendered(content_of(_clipped(blocks, limits.per_call)), artifact, tuple(whole))


def state_of(cell: Cell) -> CellState:
    """What became of a code cell; cells of other types are "not run"."""
    if cell.running:
        return "running"
    if any(output["output_type"] == "error" for output in cell.outputs):
        return "error"
    return "not run" if cell.execution_count is None else "ok"


def first_line(execution: Execution, handle: str) -> str:
    """`a1b2 ok 1.2s [8]`: handle, status, duration, execution count, and what else has to be known at once."""
    head = f"{handle} {execution.status} {_seconds(execution.duration)}"
    count = "" if execution.execution_count is None else f" [{execution.execution_count}]"
    match execution.status:
        case "error":
            error = execution.error
            said = (
                "" if error is None else f" {one_line(f'{error.name}: {error.value}' if error.value else error.name)}"
            )
            return f"{head}{count}{said}"
        case "running":
            last = _last_line(execution)
            wait = f'wait_for_execution("{execution.ref}") or interrupt_kernel()'
            return f"{head}{count} execution {execution.ref}{f': {last}' if last else ''} · {wait}"
        case "input":
            return f'{head} execution {execution.ref} asks: "{one_line(execution.prompt)}"'
        case "died":
            return f"{head}{f': {one_line(execution.note)}' if execution.note else ''}"
        case _:
            return f"{head}{count}{f': {one_line(execution.note)}' if execution.note else ''}"


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


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A cell drawn.

    Attributes:
        blocks: Title, source, outputs.
        whole: Whether the source is all there.
        outputs: For the artifact.
        squeezed: Whether some output is left out or cut.
    """

    blocks: Blocks
    whole: bool
    outputs: list[dict[str, Any]]
    squeezed: bool


def _sheet(
    cell: Cell,
    title: str,
    budget: int,
    drawing: Drawing,
    references: References,
    cell_of: CellOf,
    *,
    outputs: bool = True,
) -> _Sheet:
    source = printable(cell.source)
    blocks: Blocks = [title]
    whole = True
    if source:
        kept = Kept("text/plain", source)
        room = budget - length(blocks) - 1
        shown = fenced(source, "source", room, lambda: more(references.keep(cell.id, _SOURCE, kept)))
        whole = shown is not None and not shown[1]
        blocks += [shown[0]] if shown else []
    if not outputs:
        return _Sheet(blocks, whole, [], False)
    parts = parts_of(cell.outputs, cell_of)
    blocks += drawing.draw(parts, cell.id, budget - length(blocks))
    return _Sheet(blocks, whole, records(cell.outputs, parts), any(not part.blocks for part in parts))


def _facts(cell: Cell, sheet: _Sheet) -> dict[str, Any]:
    return {
        "cell": cell.id,
        "cell_type": cell.cell_type,
        "state": state_of(cell),
        "execution_count": cell.execution_count,
        "outputs": sheet.outputs,
        "truncated": not sheet.whole or sheet.squeezed,
    }


def _title(cell: Cell, handle: str) -> str:
    if cell.cell_type != "code":
        return f"{handle} {cell.cell_type}"
    count = "" if cell.execution_count is None else f" [{cell.execution_count}]"
    return f"{handle} code {state_of(cell)}{count}"


def _matching(cells: Sequence[Cell], find: str, outputs: bool) -> list[int]:
    if not find:
        return list(range(len(cells)))
    wanted = matcher(find)
    return [at for at, cell in enumerate(cells) if any(wanted.find(text) is not None for text in _texts(cell, outputs))]


def _texts(cell: Cell, outputs: bool) -> list[str]:
    parts = parts_of(cell.outputs, lambda _: None) if outputs else []
    return [cell.source, *(part.text for part in parts)]


def _check(start: int, limit: int, total: int) -> None:
    if limit < 0 or start < 0 or (start and start >= total):
        raise InvalidArgument(
            f"start={start}, limit={limit} with {total} cells.", hint=f"Give start from 0 to {max(total - 1, 0)}."
        )


def _next(shown: Sequence[int], wanted: Sequence[int]) -> int | None:
    return wanted[len(shown)] if len(shown) < len(wanted) else None


def _going_on(shown: Sequence[int], wanted: Sequence[int], total: int) -> str:
    following = _next(shown, wanted)
    onward = "" if following is None else f"; go on with start={following}"
    if not shown:
        return f"[no cells of {total}{onward}]"
    if shown[-1] - shown[0] + 1 == len(shown):
        return f"[cells {shown[0]}-{shown[-1]} of {total}{onward}]"
    return f"[{len(shown)} cells from {shown[0]} to {shown[-1]} of {total}{onward}]"


def _clipped(blocks: Blocks, budget: int) -> Blocks:
    """With the last line shortened if not even that fits."""
    over = length(blocks) - 1 - budget
    last = blocks[-1]
    assert isinstance(last, str), "the last block is the line that says how to go on"
    if over <= 0:
        return blocks
    return [*blocks[:-1], last[:-over]] if over < len(last) else blocks[:-1]


def _owner(execution: Execution) -> str:
    return execution.cell_id or execution.ref


def _seconds(duration: float) -> str:
    return f"{duration:.1f}s" if duration < 9.95 else f"{duration:.0f}s"


def _last_line(execution: Execution) -> str:
    for output in reversed(execution.outputs):
        if output["output_type"] == "stream":
            lines = [line for line in printable(str(output["text"])[-2_000:]).split("\n") if line.strip()]
            if lines:
                return one_line(lines[-1])
    return ""
