"""A notebook at a glance, and the diff of an edit. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from langchain_jupyter.differences import TooDifferent, unified
from langchain_jupyter.guards import guards_of
from langchain_jupyter.rendering.fences import fenced, one_line, printable
from langchain_jupyter.rendering.render import Rendered, content_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_jupyter.models import Cell, CellType, NotebookInfo

Row: TypeAlias = "tuple[Cell, str, str]"
"""A cell, its handle, and its state in words."""

_TYPES: tuple[CellType, ...] = ("code", "markdown", "raw")
_OUTLINE = 4_000
_DIFF = 1_500
_CLIP = 80
_COMPARED = 200_000
_LONGEST = 2_000_000
"""Characters of both sources together; to read more takes longer than their difference is worth."""
_LISTED = 500
"""Cells in the artifact, which is checkpointed with each step."""


def render_outline(info: NotebookInfo, rows: Sequence[Row], *, budget: int = _OUTLINE) -> Rendered:
    """Path, kernel and counts in one line, then a line per cell; head and tail if they are too many.

    Args:
        info: The notebook.
        rows: All its cells, in order.
        budget: Characters of the whole.
    """
    first = _first(info, len(rows))[:budget]
    lines = [_line(position, *row) for position, row in enumerate(rows)]
    room = budget - len(first) - 1
    if sum(len(line) + 1 for line in lines) > room:
        lines = _ends(lines, room)
    artifact = {
        "path": info.path,
        "saved": info.saved,
        "kernel": {"name": info.kernel.name, "language": info.kernel.language, "state": info.kernel.state},
        "cells": [{"cell": cell.id, "type": cell.cell_type, "state": state} for cell, _, state in rows[:_LISTED]],
        "total": len(rows),
    }
    return Rendered(content_of([first, *lines]), artifact)


def render_diff(old: str, new: str, *, budget: int = _DIFF) -> str:
    """The lines of a source that an edit changed, in a fence; one line in brackets if they are too many to compare.

    Args:
        old: The source before.
        new: The source after.
        budget: Characters of what is returned.
    """
    if old != new and len(old) + len(new) > _LONGEST:
        return f"[{old.count(chr(10)) + 1:,} lines became {new.count(chr(10)) + 1:,}]"
    before, after = printable(old).split("\n"), printable(new).split("\n")
    if before == after:
        return "[nothing changed that can be seen]" if old != new else "[nothing changed]"
    became = f"[{len(before):,} lines became {len(after):,}]"
    if len(before) * len(after) > _COMPARED:
        return became
    try:
        lines = list(unified(before, after, context=1))
    except TooDifferent:
        return became
    shown = fenced("\n".join(lines), "diff", budget, str, fold=False)
    return shown[0] if shown else f"[{len(lines):,} lines of difference]"


def _first(info: NotebookInfo, total: int) -> str:
    counts = ", ".join(f"{info.cells[kind]} {kind}" for kind in _TYPES if info.cells.get(kind))
    kernel = f"kernel {one_line(info.kernel.label, 80)}"
    saved = "saved" if info.saved else "not saved"
    cells = f"{total} {'cell' if total == 1 else 'cells'}{f': {counts}' if counts else ''}"
    return f"{one_line(info.path)} · {saved} · {kernel} · {cells}"


def _line(position: int, cell: Cell, handle: str, state: str) -> str:
    head = f"{position} {handle} {cell.cell_type}"
    if cell.cell_type == "code":
        head += f" {state}" + ("" if cell.execution_count is None else f" [{cell.execution_count}]")
    head += "".join(f" {guard}" for guard in guards_of(cell.metadata))
    source = next((line for line in printable(cell.source[:10_000]).split("\n") if line.strip()), "")
    return f"{head} · {one_line(source.strip(), _CLIP)}" if source else head


def _ends(lines: Sequence[str], room: int) -> list[str]:
    """The first and the last lines, and between them how to see the others."""
    room -= len(_left_out(len(lines), len(lines))) + 1
    head: list[str] = []
    for line in lines:
        if sum(len(each) + 1 for each in head) + len(line) + 1 > room * 2 // 3:
            break
        head.append(line)
    room -= sum(len(each) + 1 for each in head)
    tail: list[str] = []
    for line in reversed(lines[len(head) :]):
        if len(line) + 1 > room:
            break
        tail.insert(0, line)
        room -= len(line) + 1
    if room < 0:
        return []
    return [*head, _left_out(len(lines) - len(head) - len(tail), len(head)), *tail]


def _left_out(count: int, start: int) -> str:
    return f"[{count:,} cells left out; read them with read_all_cells(start={start})]"
