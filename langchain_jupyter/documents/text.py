"""The smallest edits that turn one text into another, so that a person's caret stays where it is."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator, Sequence
from difflib import Match
from typing import NamedTuple, TypeAlias

from langchain_jupyter.differences import Matcher, TooDifferent, opcodes

_Block: TypeAlias = tuple[int, int, str]

_BRACKETS = {"(": ")", "[": "]", "{": "}", "<": ">"}
_WORD = re.compile(r"\w+|\W")
_SLIDE = 1_000
_CHARACTERWISE = 4_000
"""Above this many characters a changed block is compared by lines; by nothing, where lines take too long, too."""
_LINEWISE = 4_000_000
"""Above this many characters it is compared by nothing: to split it into lines takes a second."""


class TextEdit(NamedTuple):
    """Replace `old[start:end]` by `text`; offsets count UTF-8 bytes, as pycrdt.Text does."""

    start: int
    end: int
    text: str


def text_edits(old: str, new: str) -> Iterator[TextEdit]:
    """The edits from `old` to `new`, last one first, so that each leaves the offsets of the next alone."""
    for start, end, text in reversed(list(_blocks(old, new))):
        first = len(old[:start].encode())
        yield TextEdit(first, first + len(old[start:end].encode()), text)


def common(one: str, other: str) -> Iterator[tuple[int, int]]:
    """Where the characters that both texts share stand in each, word by word."""
    a, b = (_WORD.findall(text) for text in (one, other))
    starts, others = ([0, *itertools.accumulate(map(len, words))] for words in (a, b))
    for block in _shared(a, b):
        first, second = starts[block.a], others[block.b]
        yield from ((first + n, second + n) for n in range(starts[block.a + block.size] - first))


def _shared(a: Sequence[str], b: Sequence[str]) -> Sequence[Match]:
    """Where two texts have the same words; their beginning and their end, where more takes too long to find out."""
    try:
        return Matcher(a, b).get_matching_blocks()
    except TooDifferent:
        first = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        rest = zip(reversed(a[first:]), reversed(b[first:]), strict=False)
        last = next((at for at, (x, y) in enumerate(rest) if x != y), min(len(a), len(b)) - first)
        return [Match(0, 0, first), Match(len(a) - last, len(b) - last, last)]


def merged(base: str, ours: str, theirs: str, *, ours_first: bool = True) -> str | None:
    """What both sides made of a text, together; None where one changed what the other changed.

    Of two texts put in at the same place both stay, ours first or last, unless theirs has ours in it already.
    """
    if base in (ours, theirs) or ours == theirs:
        return theirs if ours == base else ours
    edits = list(_blocks(base, theirs))
    for mine in _blocks(base, ours):
        at = [other for other in edits if other[:2] == mine[:2]]
        if any(mine[2] in text for _, _, text in at):
            continue
        if any(_overlap(mine, other) for other in edits):
            return None
        edits.insert(len(edits) if ours_first else 0, mine)
    text = base
    for start, end, new in sorted(edits, key=lambda edit: edit[:2], reverse=True):
        text = text[:start] + new + text[end:]
    return text


def replayed(edits: Sequence[tuple[str, str]], was: str, now: str) -> str | None:
    """A text that lost some of our edits, with these edits in it again; None where they no longer fit.

    Args:
        edits: All that we did to the text, each as before and after, oldest first; others may have edited in between.
        was: The text as it last stood with our edits; what is not in it has been taken out on purpose.
        now: The text as it stands.
    """
    start = next((at for at in range(len(edits), 0, -1) if now == edits[at - 1][1]), None)
    if start is None:
        start = next((at for at in range(len(edits) - 1, -1, -1) if now == edits[at][0]), None)
    text = now
    for old, new in edits if start is None else _joined(edits[start:]):
        if _gone(old, new, was) or (start is None and _stands(old, new, now)):
            continue
        both = [merged(old, new, text, ours_first=first) for first in (True, False)]
        possible = [each for each in both if each is not None]
        if not possible:
            return None
        text = next((each for each in possible if _within(each, was)), possible[0])
    return text


def _joined(edits: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """The same edits, those in one that nobody has edited between."""
    joined: list[tuple[str, str]] = []
    for old, new in edits:
        begun = joined.pop()[0] if joined and joined[-1][1] == old else old
        joined.append((begun, new))
    return joined


def _gone(old: str, new: str, text: str) -> bool:
    """Whether an edit put something in, and a text has none of it."""
    put_in = _put_in(old, new)
    telling = {at for at in put_in if not new[at].isspace()} or put_in
    return bool(telling) and telling <= _missing(new, text)


def _stands(old: str, new: str, text: str) -> bool:
    """Whether a text seems to have that edit."""
    return _put_in(old, new).isdisjoint(_missing(new, text)) and _put_in(new, old) <= _missing(old, text)


def _put_in(old: str, new: str) -> set[int]:
    """Which characters of the new text an edit put in."""
    shift, found = 0, set[int]()
    for left, right, put in _blocks(old, new):
        found |= set(range(left + shift, left + shift + len(put)))
        shift += len(put) - (right - left)
    return found


def _missing(text: str, other: str) -> set[int]:
    """Which characters of a text another does not have: word by word, or line by line where much differs."""
    lines, others = text.splitlines(keepends=True), other.splitlines(keepends=True)
    first = _alike(lines, others)
    last = _alike(lines[first:][::-1], others[first:][::-1])
    at = sum(map(len, lines[:first]))
    a, b = ("".join(each[first : len(each) - last]) for each in (lines, others))
    if len(a) + len(b) > _CHARACTERWISE:
        return {each for left, right, _ in _differences(a, b) for each in range(at + left, at + right)}
    return set(range(at, at + len(a))).difference(at + each for each, _ in common(a, b))


def _alike(lines: Sequence[str], others: Sequence[str]) -> int:
    """How many lines are the same from the beginning on."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(lines, others, strict=False)))


def _within(text: str, whole: str) -> bool:
    """Whether the whole has all characters of the text in their order."""
    rest = iter(whole)
    return all(character in rest for character in text)


def _overlap(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    (a, b, _), (c, d, _) = one, other
    return max(a, c) < min(b, d) or c < a == b < d or a < c == d < b


def _common_prefix(a: str, b: str) -> int:
    """Number of leading characters that both texts share."""
    if a == b:
        return len(a)
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _blocks(old: str, new: str) -> Iterator[_Block]:
    """Changed blocks as (start, end, replacement), in characters of `old`, in order."""
    first = _common_prefix(old, new)
    last = _common_prefix(old[first:][::-1], new[first:][::-1])
    blocks = [
        (first + start, first + end, text)
        for start, end, text in _differences(old[first : len(old) - last], new[first : len(new) - last])
    ]
    edges = [0, *(edge for start, end, _ in blocks for edge in (start, end)), len(old)]
    for number, block in enumerate(blocks):
        yield _slid(old, block, edges[2 * number], edges[2 * number + 3])


def _differences(old: str, new: str) -> Iterator[_Block]:
    if not old and not new:
        return
    for characterwise in (True, False) if len(old) + len(new) <= _LINEWISE else ():
        if characterwise and len(old) + len(new) > _CHARACTERWISE:
            continue
        a, b = (list(old), list(new)) if characterwise else (old.splitlines(True), new.splitlines(True))
        with contextlib.suppress(TooDifferent):
            steps = opcodes(a, b)
            offsets = [0, *itertools.accumulate(map(len, a))]
            for tag, i1, i2, j1, j2 in steps:
                if tag != "equal":
                    yield offsets[i1], offsets[i2], "".join(b[j1:j2])
            return
    yield 0, len(old), new


def _slid(old: str, block: _Block, left: int, right: int) -> _Block:
    """The same change where it makes most sense: of `ab` to `abab` it does not tell which `ab` is new.

    Whoever edits beside it meanwhile would find theirs amid ours, or ours torn, where it was put by chance.
    """
    start, end, text = block
    if (start < end) == bool(text):
        return block
    changed, best = text or old[start:end], (_sense(old, block), 0, block)
    for step in (-1, 1):
        at, moving = start, changed
        for distance in range(1, _SLIDE):
            beside = at + len(moving) * (not text) if step > 0 else at - 1
            if not left <= beside < right or old[beside] != moving[0 if step > 0 else -1]:
                break
            moving = moving[1:] + moving[0] if step > 0 else moving[-1] + moving[:-1]
            at += step
            slid = (at, at, moving) if text else (at, at + len(moving), "")
            best = max(best, (_sense(old, slid), -distance, slid))
    return best[2]


def _sense(old: str, block: _Block) -> tuple[int, bool, int]:
    """How much a change looks like one that somebody would make: whole lines, whole brackets, whole words."""
    start, end, text = block
    changed, before, after = text or old[start:end], old[start - 1 : start], old[end : end + 1]
    lines = 2 * (before in ("", "\n") and changed.endswith("\n")) or int(
        changed.startswith("\n") and after in ("", "\n")
    )
    words = sum(not (one + other).isalnum() for one, other in ((before, changed[:1]), (changed[-1:], after)))
    return lines, _balanced(changed), words


def _balanced(text: str) -> bool:
    opened = []
    for character in text:
        if character in _BRACKETS:
            opened.append(_BRACKETS[character])
        elif character in _BRACKETS.values() and (not opened or opened.pop() != character):
            return False
    return not opened
