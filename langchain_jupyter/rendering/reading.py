"""What read_output answers: a window of an output, its matching lines, or the image. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_jupyter.rendering import images
from langchain_jupyter.rendering.fences import fence, neutral, printable
from langchain_jupyter.rendering.references import Kept, Rows, search, window
from langchain_jupyter.rendering.render import Rendered, content_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_jupyter.settings import OutputLimits

_NOTES = 160


def render_output(
    ref: str, kept: Kept, *, find: str = "", start: int = 0, lines: int = 60, limits: OutputLimits
) -> Rendered:
    """A part of an output, and how to go on.

    Args:
        ref: Its reference.
        kept: What stands behind it.
        find: Shows only lines that match; see `matcher`.
        start: Number of the first line that may be shown, from 0.
        lines: How many at most.
        limits: Bounds of the result.

    Raises:
        InvalidArgument: `find` is not valid or takes too long, or `start` or `lines` is out of range.
    """
    if isinstance(kept.content, bytes):
        return _picture(ref, kept.mime, kept.content, limits)
    total = len(Rows.of(kept.content))
    if find:
        count, rows = search(kept.content, find, start, lines and lines + 1)
        first = f"[{ref}: {count:,} matching {'line' if count == 1 else 'lines'} of {total:,}]"
        texts = [(number, f"{number}: {neutral(printable(row))}") for number, row in rows[:lines]]
        shown = _fitting(texts, limits)
        following = rows[len(shown) :]
    else:
        rows = window(kept.content, start, lines)
        first = f"[{ref}: {total:,} {'line' if total == 1 else 'lines'}]"
        shown = _fitting([(number, neutral(printable(row))) for number, row in rows], limits)
        at = shown[-1][0] + 1 if shown else start
        following = [(at, "")] if at < total else []
    return _answer(ref, first, shown, following[0][0] if following else None, limits)


def _answer(
    ref: str, first: str, shown: Sequence[tuple[int, str]], after: int | None, limits: OutputLimits
) -> Rendered:
    blocks: list[str | dict[str, Any]] = [first[: limits.per_call]]
    if shown:
        blocks.append(fence("\n".join(row for _, row in shown) + "\n", "output"))
        onward = "; that is all" if after is None else f"; go on with start={after}"
        blocks.append(f"[{len(shown):,} shown, {shown[0][0]} to {shown[-1][0]}{onward}]")
    return Rendered(content_of(blocks), {"ref": ref, "shown": [number for number, _ in shown], "next": after})


def _fitting(rows: Sequence[tuple[int, str]], limits: OutputLimits) -> list[tuple[int, str]]:
    room = limits.per_call - _NOTES
    taken: list[tuple[int, str]] = []
    for number, row in rows:
        if not taken and 0 < room <= len(row):
            return [(number, row[: room - 1])]
        room -= len(row) + 1
        if room < 0:
            break
        taken.append((number, row))
    return taken


def _picture(ref: str, mime: str, data: bytes, limits: OutputLimits) -> Rendered:
    picture = images.fit(data, side=limits.image_side, size=limits.image_bytes)
    artifact = {"ref": ref, "mime": mime, "bytes": len(data)}
    if picture is None:
        return Rendered(content_of([f"[image {ref} {mime} cannot be read]"[: limits.per_call]]), artifact)
    name = f"[image {ref} {picture.mime} {picture.width}x{picture.height}]"[: limits.per_call]
    image = {"type": "image", "base64": picture.base64, "mime_type": picture.mime}
    return Rendered(content_of([name, image]), artifact)
