"""The smallest edits that turn one text into another, so that a person's caret stays where it is."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import NamedTuple

_CHARACTERWISE = 4_000
"""Above this many characters a changed block is compared by lines: difflib is quadratic."""


class TextEdit(NamedTuple):
    """Replace `old[start:end]` by `text`; offsets count UTF-8 bytes, as pycrdt.Text does."""

    start: int
    end: int
    text: str


def text_edits(old: str, new: str) -> Iterator[TextEdit]:
    """The edits from `old` to `new`, last one first, so that each leaves the offsets of the next alone."""
    start = _common_prefix(old, new)
    end = _common_prefix(old[start:][::-1], new[start:][::-1])
    before, after = old[start : len(old) - end], new[start : len(new) - end]
    for left, right, text in reversed(list(_blocks(before, after))):
        first = len(old[: start + left].encode())
        yield TextEdit(first, first + len(before[left:right].encode()), text)


def merged(base: str, ours: str, theirs: str) -> str | None:
    """What both sides made of a text, together; None where both changed the same place of it."""
    if base in (ours, theirs) or ours == theirs:
        return theirs if ours == base else ours
    mine, others = list(_blocks(base, ours)), list(_blocks(base, theirs))
    if any(left <= end and start <= right for left, right, _ in mine for start, end, _ in others):
        return None
    text = base
    for start, end, new in sorted(mine + others, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _common_prefix(a: str, b: str) -> int:
    """Number of leading characters that both texts share."""
    if a == b:
        return len(a)
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _blocks(old: str, new: str) -> Iterator[tuple[int, int, str]]:
    """Changed blocks as (start, end, replacement), in characters of `old`, in order."""
    if not old and not new:
        return
    characterwise = len(old) + len(new) <= _CHARACTERWISE
    a, b = (list(old), list(new)) if characterwise else (old.splitlines(True), new.splitlines(True))
    offsets = [0]
    for piece in a:
        offsets.append(offsets[-1] + len(piece))
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag != "equal":
            yield offsets[i1], offsets[i2], "".join(b[j1:j2])
