"""What `o3` stands for: outputs that a model was shown cut or not at all, and how to look into them."""

from __future__ import annotations

import bisect
import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import regex

from langchain_jupyter.errors import InvalidArgument, OutputNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

_COUNT = 200
_BYTES = 64_000_000
_ROW = 2_000
_PATTERN = 500
_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Kept:
    """One output as it was, whole.

    Attributes:
        mime: Its MIME type.
        content: Text, or the bytes of an image as the kernel sent it.
    """

    mime: str
    content: str | bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    key: tuple[str, int, str, bytes]
    kept: Kept
    size: int


class References:
    """Outputs by reference, `o1`, `o2`, …; the oldest are dropped when there are too many.

    Args:
        count: How many are kept.
        size: Bytes that are kept together; the newest is kept even if it alone is larger.
    """

    def __init__(self, *, count: int = _COUNT, size: int = _BYTES) -> None:
        self._count = count
        self._size = size
        self._last = 0
        self._total = 0
        self._entries: dict[str, _Entry] = {}
        self._refs: dict[tuple[str, int, str, bytes], str] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def names(self) -> list[str]:
        """The references that are kept, oldest first."""
        return list(self._entries)

    def keep(self, owner: str, index: int, kept: Kept) -> str:
        """Keep an output and return its reference, the same one as before if it has not changed.

        Args:
            owner: Id of the cell, or reference of the execution, that it belongs to.
            index: Which of the owner's outputs.
            kept: The output.
        """
        content = kept.content.encode("utf-8", "replace") if isinstance(kept.content, str) else kept.content
        key = (owner, index, kept.mime, hashlib.blake2b(content, digest_size=16).digest())
        ref = self._refs.get(key)
        if ref is not None:
            self._entries[ref] = self._entries.pop(ref)
            return ref
        self._last += 1
        ref = f"o{self._last}"
        self._refs[key] = ref
        self._entries[ref] = _Entry(key, kept, len(content))
        self._total += len(content)
        self._drop()
        return ref

    def get(self, ref: str) -> Kept:
        """The output behind a reference.

        Raises:
            OutputNotFound: There is none, or it was dropped.
        """
        entry = self._entries.get(ref.strip())
        if entry is not None:
            return entry.kept
        if not self._entries:
            raise OutputNotFound(f"No output '{ref[:40]}'; none is kept.")
        newest = sorted(self._entries, key=lambda name: int(name[1:]))[-8:]
        earlier = "… " if len(self._entries) > len(newest) else ""
        raise OutputNotFound(
            f"No output '{ref[:40]}' among the {len(self._entries)} kept: {earlier}{', '.join(newest)}."
        )

    def _drop(self) -> None:
        while len(self._entries) > 1 and (len(self._entries) > self._count or self._total > self._size):
            entry = self._entries.pop(next(iter(self._entries)))
            del self._refs[entry.key]
            self._total -= entry.size


class Matcher:
    """Text or a regular expression to look for, with one second for all its searches together."""

    def __init__(self, pattern: regex.Pattern[str]) -> None:
        self._pattern = pattern
        self._left = _SECONDS

    def find(self, text: str, start: int = 0) -> int | None:
        """Where the next match begins, at `start` or behind it; None if there is none.

        Raises:
            InvalidArgument: The time is up.
        """
        began = time.monotonic()
        try:
            found = self._pattern.search(text, start, timeout=max(self._left, 1e-3), concurrent=True)
        except TimeoutError:
            found, self._left = None, 0.0
        self._left -= time.monotonic() - began
        if self._left <= 0:
            raise InvalidArgument(
                "The search took longer than one second.",
                hint="Give plain text, or a pattern without nested repeats such as (a+)+.",
            )
        return None if found is None else found.start()


def matcher(find: str) -> Matcher:
    """What `find` looks for: plain text, letter by letter, or a regular expression between slashes.

    In an expression `^` and `$` stand for the ends of each line.

    Raises:
        InvalidArgument: The expression is not valid, too long, or `find` is empty.
    """
    if not find:
        raise InvalidArgument(
            "`find` is empty.", hint='Give plain text or a regular expression, as in find="/^ERROR/".'
        )
    if len(find) > _PATTERN:
        raise InvalidArgument(
            f"`find` has {len(find):,} characters; {_PATTERN} are accepted.", hint="Give a part of it."
        )
    expression = len(find) > 2 and find.startswith("/") and find.endswith("/")
    try:
        return Matcher(regex.compile(find[1:-1] if expression else regex.escape(find), regex.MULTILINE))
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise InvalidArgument(
            f"`find` is not a valid regular expression: {error}.",
            hint="Escape special characters with a backslash, or leave out the slashes to look for plain text.",
        ) from None


@dataclass(frozen=True, slots=True)
class Rows:
    """A text by lines, numbered from 0; a line longer than 2,000 characters counts as several.

    Attributes:
        text: The whole.
        starts: Where each row begins, and where the last one ends.
    """

    text: str
    starts: Sequence[int]

    @classmethod
    def of(cls, text: str) -> Rows:
        """Split a text. An empty one has no rows."""
        starts, at = [0], 0
        while at < len(text):
            end = text.find("\n", at) + 1 or len(text)
            starts += [*range(at + _ROW, end, _ROW), end] if end - at > _ROW + 1 else [end]
            at = end
        return cls(text, starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, number: int) -> str:
        return self.text[self.starts[number] : self.starts[number + 1]].removesuffix("\n")


def window(text: str, start: int, lines: int) -> list[tuple[int, str]]:
    """Rows of a text with their numbers, from `start` on.

    Raises:
        InvalidArgument: `start` is not a row of it, or `lines` is less than 1.
    """
    rows = Rows.of(text)
    _check(start, lines)
    if start >= max(len(rows), 1):
        raise InvalidArgument(f"start={start} is behind the end.", hint=f"Lines 0 to {max(len(rows) - 1, 0)} exist.")
    return [(number, rows[number]) for number in range(start, min(start + lines, len(rows)))]


def search(text: str, find: str, start: int, lines: int) -> tuple[int, list[tuple[int, str]]]:
    """How many rows match in all, and the matching rows from row `start` on, at most `lines`.

    Raises:
        InvalidArgument: `find` is not valid or takes too long, `start` is negative, or `lines` is less than 1.
    """
    _check(start, lines)
    rows, wanted = Rows.of(text), matcher(find)
    found: list[int] = []
    at = 0
    while at < len(text) and (hit := wanted.find(text, at)) is not None and hit < len(text):
        number = bisect.bisect_right(rows.starts, hit) - 1
        found.append(number)
        at = rows.starts[number + 1]
    shown = found[bisect.bisect_left(found, start) :][:lines]
    return len(found), [(number, rows[number]) for number in shown]


def _check(start: int, lines: int) -> None:
    if start < 0 or lines < 1:
        raise InvalidArgument(f"start={start}, lines={lines}.", hint="Give start=0 or more and lines=1 or more.")
