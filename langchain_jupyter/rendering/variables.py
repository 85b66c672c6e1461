"""Variables of a kernel as a model sees them. Pure."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from langchain_jupyter.rendering.fences import fence, neutral, one_line, printable
from langchain_jupyter.rendering.render import Rendered, content_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_jupyter.settings import OutputLimits

_NOTES = 400
_NAMED = 30
_LINE = 2_000


def render_variables(report: Mapping[str, Any], limits: OutputLimits) -> Rendered:
    """A line per variable; or the named ones at length, each within its share of the budget.

    Args:
        report: Of `probe.report`.
        limits: Bounds of the result.
    """
    return _details(report, limits) if "details" in report else _all(report, limits)


def _all(report: Mapping[str, Any], limits: OutputLimits) -> Rendered:
    rows: Sequence[Mapping[str, Any]] = report["variables"]
    total = len(rows) + report["more"]
    first = f"{total} {'variable' if total == 1 else 'variables'}"
    others = [_list("modules", report["modules"]), _list("functions and classes", report["callables"])]
    shown = _fitting([_line(row) for row in rows], limits.per_call - len(first) - _NOTES - sum(map(len, others)))
    blocks: list[str | dict[str, Any]] = [first]
    if shown:
        blocks.append(fence("\n".join(shown), "output"))
    if len(shown) < total:
        blocks.append(f"[{total - len(shown)} more; name them: inspect_variables(names=[…])]")
    blocks += [each for each in others if each]
    artifact = {
        "variables": [{"name": row["name"], "type": row["type"], "size": row["size"]} for row in rows],
        "total": total,
    }
    return Rendered(content_of(_within(blocks, limits.per_call)), artifact)


def _details(report: Mapping[str, Any], limits: OutputLimits) -> Rendered:
    rows: Sequence[Mapping[str, Any]] = report["details"]
    share = max(limits.per_call // max(len(rows), 1) - 2, 1)
    blocks: list[str | dict[str, Any]] = [
        "\n".join(_detail(row, report["known"], min(share, limits.per_output))) for row in rows
    ]
    artifact = {"variables": [{"name": row["name"], "type": row.get("type", "")} for row in rows]}
    return Rendered(content_of(_within(blocks, limits.per_call)), artifact)


def _detail(row: Mapping[str, Any], known: Sequence[str], room: int) -> Iterator[str]:
    if "type" not in row:
        near = difflib.get_close_matches(row["name"], known, 3)
        yield f"{_flat(row['name'])} is not defined.{' Near: ' + ', '.join(map(_flat, near)) + '.' if near else ''}"
        return
    head = _line(row)
    yield head
    lines = [neutral(printable(line)) for line in row["lines"]]
    shown = _fitting(lines, room - len(head) - _NOTES // 4)
    if shown:
        yield fence("\n".join(shown), "output")
    if len(shown) < len(lines):
        yield f"[{len(lines) - len(shown)} lines left out]"


def _line(row: Mapping[str, Any]) -> str:
    said = f"{_flat(row['name'])}: {_flat(row['type'])} {_flat(row['size'])}".rstrip()
    return f"{said} · {_flat(row['preview'])}" if row["preview"] else said


def _list(title: str, names: Sequence[str]) -> str:
    more = " …" if len(names) > _NAMED else ""
    return f"[{title}: {', '.join(_flat(name) for name in names[:_NAMED])}{more}]" if names else ""


def _flat(text: str) -> str:
    return one_line(text, _LINE)


def _fitting(lines: Sequence[str], room: int) -> list[str]:
    taken: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        taken.append(line)
    return taken


def _within(blocks: Sequence[str | dict[str, Any]], room: int) -> list[str | dict[str, Any]]:
    kept: list[str | dict[str, Any]] = []
    for block in blocks:
        if not kept or len(str(block)) + 1 <= room:
            kept.append(str(block)[:room])
            room -= len(str(block)) + 1
    return kept
