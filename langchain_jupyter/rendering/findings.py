"""What a review has found, and how a model is told. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from langchain_jupyter.rendering.fences import one_line
from langchain_jupyter.rendering.render import Rendered, content_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_jupyter.settings import OutputLimits

Weight: TypeAlias = Literal["wrong", "risky", "untidy"]

WEIGHTS: tuple[Weight, ...] = ("wrong", "risky", "untidy")

_NOTE = 80
_RECORDED = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a cell that deserves a look.

    Attributes:
        cell_id: Which cell; empty if it is about the notebook.
        weight: How much it matters.
        rule: Its name, short and stable; a linter's findings have the linter's.
        text: What it is, in a line, without the handle of the cell.
    """

    cell_id: str
    weight: Weight
    rule: str
    text: str


def ranked(findings: Sequence[Finding], cell_ids: Sequence[str]) -> list[Finding]:
    """Each once, the weightiest first, then in the order of the cells."""
    place = {cell_id: at for at, cell_id in enumerate(cell_ids)}
    once = {(each.cell_id, each.rule, each.text): each for each in findings}
    return sorted(once.values(), key=lambda each: (WEIGHTS.index(each.weight), place.get(each.cell_id, -1), each.rule))


def render_findings(
    findings: Sequence[Finding],
    *,
    total: int,
    handle_of: Callable[[str], str],
    limits: OutputLimits,
    note: str = "",
) -> Rendered:
    """How many there are, then a line for each, as many as fit.

    Args:
        findings: Ranked.
        total: How many cells the notebook has.
        handle_of: Cell id -> handle.
        limits: Bounds of the result.
        note: What was not looked at; empty if everything was.
    """
    counts: Mapping[str, int] = Counter(each.weight for each in findings)
    said = ", ".join(f"{counts[weight]} {weight}" for weight in WEIGHTS if counts.get(weight))
    head = f"{len(findings)} findings in {total} cells{f': {said}' if said else ''}"
    blocks: list[str | dict[str, object]] = [head[: limits.per_call]]
    room = limits.per_call - len(head) - 1 - _NOTE - len(note)
    lines: list[str] = []
    for each in findings:
        where = handle_of(each.cell_id) if each.cell_id else "notebook"
        line = f"{each.weight}: {where} {one_line(each.text)} [{each.rule}]"
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    blocks += lines
    if len(lines) < len(findings):
        blocks.append(f"[{len(findings) - len(lines)} more, of less weight]")
    if note:
        blocks.append(f"[{note}]")
    artifact = {
        "findings": [
            {"cell": each.cell_id, "weight": each.weight, "rule": each.rule, "text": each.text}
            for each in findings[:_RECORDED]
        ],
        "total": len(findings),
    }
    return Rendered(content_of(blocks), artifact)
