"""What differs between two sequences, found with an effort that has an end. Pure.

difflib alone takes half a minute for eight hundred times the same letter: its effort grows with the cube of the length
where elements repeat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import Match, SequenceMatcher
from typing import TypeAlias

_EFFORT = 2_000_000

Opcode: TypeAlias = tuple[str, int, int, int, int]


class TooDifferent(ValueError):
    """To find out how the sequences differ would take too long."""


class Matcher(SequenceMatcher[str]):
    """difflib's, without its heuristics for what is frequent, and with a bound on the elements and pairs looked at.

    Args:
        old: Letters, words or lines.
        new: The same of the other text.

    Raises:
        TooDifferent: In all that compares, where it would take too long. The same texts give the same each time.
    """

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(None, old, new, autojunk=False)
        places = self.b2j  # type: ignore[attr-defined]
        self._pairs = [0]
        for element in old:
            self._pairs.append(self._pairs[-1] + len(places.get(element, ())))
        self._left = _EFFORT

    def find_longest_match(self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None) -> Match:
        """As difflib's.

        Raises:
            TooDifferent: The effort is used up.
        """
        end = len(self._pairs) - 1 if ahi is None else ahi
        self._left -= end - alo + self._pairs[end] - self._pairs[alo]
        if self._left < 0:
            raise TooDifferent
        return super().find_longest_match(alo, ahi, blo, bhi)


def opcodes(old: Sequence[str], new: Sequence[str]) -> Sequence[Opcode]:
    """How to make the new sequence of the old one, as difflib tells it.

    Raises:
        TooDifferent: It would take too long to find out.
    """
    return Matcher(old, new).get_opcodes()


def unified(old: Sequence[str], new: Sequence[str], *, context: int) -> Iterator[str]:
    """The lines of a unified diff, without its head.

    Raises:
        TooDifferent: It would take too long to find out.
    """
    for group in Matcher(old, new).get_grouped_opcodes(context):
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
        for tag, start, end, to, until in group:
            if tag == "equal":
                yield from (f" {line}" for line in old[start:end])
            else:
                yield from (f"-{line}" for line in old[start:end])
                yield from (f"+{line}" for line in new[to:until])


def _range(start: int, end: int) -> str:
    """Lines as `diff -u` counts them: from 1; of none, the one before."""
    return str(start + 1) if end - start == 1 else f"{start + (end > start)},{end - start}"
