"""A run of many cells as a model sees it: a line per cell, in full only what it stopped at and the last. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_jupyter.rendering.fences import one_line
from langchain_jupyter.rendering.render import Rendered, content_of, first_line, last_line, render_execution, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_jupyter.analysis.hints import Unmade
    from langchain_jupyter.models import BatchState, CellOutcome, Execution
    from langchain_jupyter.rendering.references import References
    from langchain_jupyter.rendering.tracebacks import CellOf
    from langchain_jupyter.settings import OutputLimits

_LINES = 60
_SHARE = 2
_LEFT_OUT = 40
_NAMED = 20
_NOTE = 600


def render_batch(
    batch: BatchState,
    *,
    handle_of: Callable[[str], str],
    limits: OutputLimits,
    references: References,
    cell_of: CellOf,
    unmade: Unmade = lambda name: "",
) -> Rendered:
    """How it went in one line, a line per cell, then the outputs of the cell that it stopped at, or of the last one.

    Args:
        batch: Finished, or as it is so far.
        handle_of: Cell id -> handle.
        limits: Bounds of the result; the lines take at most half of the characters.
        references: Keeps what is cut.
        cell_of: Names the cells of a traceback.
        unmade: Finds the cell that would have set a name.
    """
    head = _head(batch, handle_of)[: limits.per_call]
    top = [head, *_noted(batch, limits.per_call - len(head) - _LEFT_OUT)]
    room = limits.per_call - sum(len(line) + 1 for line in top)
    lines = _lines(batch, handle_of, min(room, limits.per_call // _SHARE))
    last = batch.current or next((each.execution for each in reversed(batch.outcomes) if each.execution), None)
    room -= sum(len(line) + 1 for line in lines)
    artifact: dict[str, Any] = {
        "status": batch.status,
        "execution": batch.ref,
        "duration": batch.duration,
        "cells": [_facts(outcome) for outcome in batch.outcomes],
        "left": list(batch.left),
    }
    if last is None or room < 1:
        return Rendered(content_of([*top, *lines]), artifact)
    shown = render_execution(
        last,
        handle=handle_of(str(last.cell_id)),
        limits=replace(limits, per_call=room, per_output=min(limits.per_output, room)),
        references=references,
        cell_of=cell_of,
        unmade=unmade,
    )
    blocks: list[str | dict[str, Any]] = [
        str(block["text"]) if block["type"] == "text" else block for block in shown.content
    ]
    title, _, rest = str(blocks[0]).partition("\n")
    if lines and lines[-1].startswith(title):  # it was said in the line above
        blocks[:1] = [rest] if rest else []
    return Rendered(content_of([*top, *lines, *blocks]), artifact | {"last": shown.artifact})


def _head(batch: BatchState, handle_of: Callable[[str], str]) -> str:
    ran = sum(outcome.execution is not None for outcome in batch.outcomes)
    total = len(batch.outcomes) + len(batch.left) + (batch.current is not None)
    first = f"run_cells {batch.status} {seconds(batch.duration)}"
    if batch.status in ("running", "input"):
        wait = f'wait_for_execution("{batch.ref}") or interrupt_kernel()'
        done = f"{len(batch.outcomes)} of {total} cells done{_now(batch, handle_of)}"
        return f"{first} execution {batch.ref}: {done} · {wait}"
    counted = f"{ran} of {total} {'cell' if total == 1 else 'cells'} ran"
    said = f"{first}: {counted if total else 'there was nothing to run'}"
    if batch.restarted:
        said += " in a new kernel"
        changed = sum(bool(outcome.note) and outcome.execution is not None for outcome in batch.outcomes)
        said += f", {changed} with other outputs than before" if changed else ", outputs as before"
    if batch.left:
        said += f"; not run: {_named([handle_of(cell_id) for cell_id in batch.left])}"
    return said


def _noted(batch: BatchState, room: int) -> list[str]:
    """Why it stopped: the text of an error, which may have the source of a cell in a fence."""
    if not batch.note or room < 2:
        return []
    return [batch.note if len(batch.note) < room else one_line(batch.note, room - 1)]


def _now(batch: BatchState, handle_of: Callable[[str], str]) -> str:
    """The cell that runs, and what it has printed last or asks."""
    current = batch.current
    if current is None:
        return ""
    said = f'asks "{one_line(current.prompt)}"' if current.status == "input" else last_line(current)
    return f", {handle_of(str(current.cell_id))} runs for {seconds(current.duration)}{said and ': '}{said}"


def _lines(batch: BatchState, handle_of: Callable[[str], str], budget: int) -> list[str]:
    """A line per cell; cells in a row that went well and the same are one line where there are many."""
    rows = [(_line(outcome, handle_of), _plain(outcome)) for outcome in batch.outcomes]
    if not rows:
        return []
    if len(rows) > _LINES or sum(len(line) + 1 for line, _ in rows) > budget:
        rows = _folded(rows)
    lines = [line for line, _ in rows]
    room = budget
    taken: list[str] = []
    for line in reversed(lines):  # what it stopped at is at the end
        room -= len(line) + 1
        if room < 0:
            return [f"[{len(lines) - len(taken)} lines left out]", *reversed(taken)]
        taken.append(line)
    return lines


def _folded(rows: Sequence[tuple[str, bool]]) -> list[tuple[str, bool]]:
    folded: list[tuple[str, bool]] = []
    run: list[str] = []
    for line, plain in [*rows, ("", False)]:
        if plain:
            run.append(line)
            continue
        if len(run) > 2:
            folded.append((f"[{run[0].partition(' ')[0]} to {run[-1].partition(' ')[0]}: {len(run)} cells ok]", True))
        else:
            folded += [(each, True) for each in run]
        run = []
        if line:
            folded.append((line, plain))
    return folded


def _line(outcome: CellOutcome, handle_of: Callable[[str], str]) -> str:
    if outcome.execution is None:
        return f"{handle_of(outcome.cell_id)} {one_line(outcome.note)}"
    said = first_line(outcome.execution, handle_of(outcome.cell_id))
    return f"{said} · {one_line(outcome.note, _NOTE)}" if outcome.note else said


def _plain(outcome: CellOutcome) -> bool:
    return outcome.execution is not None and outcome.execution.status == "ok" and not outcome.note


def _named(handles: Sequence[str]) -> str:
    more = f" and {len(handles) - _NAMED} more" if len(handles) > _NAMED else ""
    return f"{', '.join(handles[:_NAMED])}{more}"


def _facts(outcome: CellOutcome) -> dict[str, Any]:
    execution: Execution | None = outcome.execution
    status = "not run" if execution is None else execution.status
    return {"cell": outcome.cell_id, "status": status, "note": outcome.note}
