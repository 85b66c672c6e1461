"""Cells -> content blocks for a model, within OutputLimits, and the artifact beside them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_jupyter.errors import InvalidArgument
from langchain_jupyter.guards import guards_of
from langchain_jupyter.rendering.fences import fenced, one_line, printable
from langchain_jupyter.rendering.parts import Drawing, Part, length, more, parts_of, records
from langchain_jupyter.rendering.references import Kept, References, matcher
from langchain_jupyter.rendering.render import Blocks, Rendered, content_of
from langchain_jupyter.rendering.tracebacks import own_first

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_jupyter.models import Cell, Standing
    from langchain_jupyter.rendering.tracebacks import CellOf
    from langchain_jupyter.settings import OutputLimits

States: TypeAlias = "Mapping[str, Standing]"
"""Where cells stand, by id; of a cell that is not in it, the cell itself tells."""

_SOURCE = -1
_LAST_LINE = 120
_WHY = 100
_LONGEST = 1_000_000
"""Characters of a source that is shown whole, or kept to be read on; more than that is no code, but data."""


def render_cell(
    cell: Cell,
    *,
    handle: str,
    position: int,
    total: int,
    limits: OutputLimits,
    references: References,
    cell_of: CellOf,
    states: States | None = None,
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
        states: Where the cells stand.
    """
    first = f"{_title(cell, handle, states)} · cell {position} of {total}"[: limits.per_call]
    drawing, named = Drawing(limits, references), own_first(cell.execution_count, handle, cell_of)
    sheet = _sheet(cell, first, limits.per_call, drawing, references, named, states=states)
    return Rendered(content_of(sheet.blocks), sheet.facts, (cell.id,) if sheet.whole else ())


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
    states: States | None = None,
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
        states: Where the cells stand.

    Raises:
        InvalidArgument: `find` is not valid or takes too long, or `start` or `limit` is out of range.
    """
    _check(start, limit, len(cells))
    matching = _matching(cells, find, outputs)
    wanted = [position for position in matching if position >= start]
    first: Blocks = [f"[{len(matching)} of {len(cells)} cells match]"[: limits.per_call]] if find else []
    budget = max(limits.per_call - _LAST_LINE - length(first), 0)
    drawing = Drawing(limits, references)
    sheets: list[_Sheet] = []
    room = budget
    for position in wanted[: limit or None]:
        cell = cells[position]
        handle = handle_of(cell.id)
        title, named = f"{position} {_title(cell, handle, states)}", own_first(cell.execution_count, handle, cell_of)
        sheet = _sheet(cell, title[:budget], budget, drawing, references, named, outputs=outputs, states=states)
        room -= length(sheet.blocks)
        if sheets and room < 0:
            break
        sheets.append(sheet)
    following = wanted[len(sheets)] if len(sheets) < len(wanted) else None
    last = _going_on(wanted[: len(sheets)], following, len(cells))
    blocks = [*first, *(block for sheet in sheets for block in sheet.blocks)]
    blocks.append(last[: limits.per_call - length(blocks)])
    artifact = {
        "cells": [sheet.facts for sheet in sheets],
        "matches": len(matching),
        "total": len(cells),
        "next": following,
    }
    return Rendered(content_of(blocks), artifact, tuple(sheet.cell.id for sheet in sheets if sheet.whole))


def state_of(cell: Cell, states: States | None = None) -> str:
    """Where a code cell stands, and why it is stale if it is; cells of other types are "not run".

    That a name which an ok cell reads may have changed since is left out: it holds after nearly every method call.

    Args:
        cell: Which one.
        states: See `States`.
    """
    if states and cell.id in states:
        standing = states[cell.id]
        return f"stale ({one_line(standing.why, _WHY)})" if standing.state == "stale" else standing.state
    if cell.running:
        return "running"
    if any(output["output_type"] == "error" for output in cell.outputs):
        return "error"
    return "not run" if cell.execution_count is None else "ok"


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A cell drawn.

    Attributes:
        cell: Which one.
        blocks: Title, source, outputs.
        whole: Whether the source is all there.
        parts: Its outputs, as they were drawn.
        state: Where it stands.
    """

    cell: Cell
    blocks: Blocks
    whole: bool
    parts: list[Part]
    state: str

    @property
    def facts(self) -> dict[str, Any]:
        """The cell for the artifact."""
        return {
            "cell": self.cell.id,
            "cell_type": self.cell.cell_type,
            "state": self.state,
            "execution_count": self.cell.execution_count,
            "outputs": records(self.cell.outputs, self.parts) if self.parts else [],
            "truncated": not self.whole or any(part.cut for part in self.parts),
        }


def _sheet(
    cell: Cell,
    title: str,
    budget: int,
    drawing: Drawing,
    references: References,
    cell_of: CellOf,
    *,
    outputs: bool = True,
    states: States | None = None,
) -> _Sheet:
    blocks: Blocks = [title] if title else []
    source, whole = printable(cell.source, _LONGEST), len(cell.source) <= _LONGEST
    if not whole and budget - length(blocks) > _LAST_LINE:
        blocks.append(f"[{len(cell.source):,} characters of source; of its beginning and its end:]")
    if source:
        kept = Kept("text/plain", source)
        room = budget - length(blocks) - 1
        shown = fenced(source, "source", room, lambda: more(references.keep(cell.id, _SOURCE, kept)), fold=False)
        whole = whole and shown is not None and not shown[1]
        blocks += [shown[0]] if shown else []
    parts = parts_of(cell.outputs, cell_of) if outputs else []
    blocks += drawing.draw(parts, cell.id, budget - length(blocks)) if parts else []
    return _Sheet(cell, blocks, whole, parts, state_of(cell, states).partition(" (")[0])


def _title(cell: Cell, handle: str, states: States | None) -> str:
    guards = "".join(f" {guard}" for guard in guards_of(cell.metadata))
    if cell.cell_type != "code":
        return f"{handle} {cell.cell_type}{guards}"
    count = "" if cell.execution_count is None else f" [{cell.execution_count}]"
    return f"{handle} code {state_of(cell, states)}{count}{guards}"


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


def _going_on(shown: Sequence[int], following: int | None, total: int) -> str:
    onward = "" if following is None else f"; go on with start={following}"
    if not shown:
        return f"[no cells of {total}{onward}]"
    if shown[-1] - shown[0] + 1 == len(shown):
        return f"[cells {shown[0]}-{shown[-1]} of {total}{onward}]"
    return f"[{len(shown)} cells from {shown[0]} to {shown[-1]} of {total}{onward}]"
