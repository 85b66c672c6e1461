"""A page for a model: fenced data and the toolkit's own words, within a budget that holds."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_jupyter.images import shrink
from langchain_jupyter.references import References, Whole
from langchain_jupyter.settings import OutputLimits

_FENCE = re.compile(r"<(?=/?(?:output|source|traceback|diff|notebook)\b)", re.IGNORECASE)
_OVERHEAD = 200
_FOLD_FROM = 4


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the model gets, and what programs get.

    Attributes:
        content: LangChain content blocks, text and image; at least one text.
        artifact: Plain JSON without pictures.
    """

    content: list[dict[str, Any]]
    artifact: dict[str, Any]

    @classmethod
    def of_text(cls, text: str, artifact: dict[str, Any]) -> Rendered:
        """One block of text."""
        return cls([{"type": "text", "text": text}], artifact)

    def preceded_by(self, text: str) -> Rendered:
        """The same under another first line."""
        first, *more = self.content
        return Rendered([{"type": "text", "text": f"{text}\n{first['text']}"}, *more], self.artifact)


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing to show: a text between fences, or an image.

    Attributes:
        fence: Name of the fence.
        whole: The text or image.
        note: The toolkit's own words after it, in brackets.
    """

    fence: str
    whole: Whole
    note: str = ""


@dataclass(slots=True)
class Page:
    """Collects what is to be shown; `blocks` never hold more text than `limits.per_call`.

    Attributes:
        limits: How much.
        references: Where what is left out can be asked for.
    """

    limits: OutputLimits
    references: References
    _parts: list[str | dict[str, Any]] = field(default_factory=list)
    _used: int = 0
    _images: int = 0

    @property
    def room(self) -> int:
        """Characters that are left."""
        return self.limits.per_call - self._used

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The content blocks: adjacent texts joined."""
        joined: list[dict[str, Any]] = []
        for is_text, parts in itertools.groupby(self._parts, key=lambda part: isinstance(part, str)):
            if is_text:
                joined.append({"type": "text", "text": "\n".join(map(str, parts))})
            else:
                joined += [dict(part) for part in parts if isinstance(part, Mapping)]
        return joined

    def words(self, text: str) -> None:
        """The toolkit's own words, cut where the page ends."""
        text = text[: max(self.room - 1, 0)]
        if text:
            self._parts.append(text)
            self._used += len(text) + 1

    def show(self, pieces: Sequence[Piece]) -> list[dict[str, Any]]:
        """Show as much as fits, the last piece first, and tell how to see the rest.

        Returns:
            For the artifact: reference, MIME type and size of each piece.
        """
        allowances = self._allowances(pieces)
        told = []
        hidden: list[str] = []
        for piece, allowance in zip(pieces, allowances, strict=True):
            if allowance == 0:
                hidden.append(self.references.add(piece.whole))
                told.append(_told(piece, hidden[-1]))
                continue
            self._hidden(hidden)
            hidden = []
            told.append(_told(piece, self._show(piece, allowance)))
        self._hidden(hidden)
        return told

    def fenced(self, fence: str, text: str, allowance: int) -> bool:
        """Text between fences, head and tail of it where it is too long; returns whether all of it was shown."""
        entries = _folded(text.rstrip("\n").split("\n"), max(allowance // 2, 40))
        head, tail = _fitting(entries, allowance)
        self._entries(fence, entries[:head])
        if head + tail < len(entries):
            left, total = (sum(count for _, count in part) for part in (entries[head : len(entries) - tail], entries))
            reference = self.references.add(Whole("text/plain", text=text))
            self.words(
                f"[{left:,} of {total:,} lines left out; all: "
                f'read_output("{reference}"), or search it: read_output("{reference}", find="…")]'
            )
            self._entries(fence, entries[len(entries) - tail :] if tail else [])
        return head + tail == len(entries)

    def _allowances(self, pieces: Sequence[Piece]) -> list[int]:
        """Characters for each piece; 0 for those that are only named."""
        allowances = [0] * len(pieces)
        room = self.room - 2 * _OVERHEAD
        images = self._images
        for at in [len(pieces) - 1, *range(len(pieces) - 1)] if pieces else []:
            whole = pieces[at].whole
            wanted = min(len(whole.text) + 1, self.limits.per_output)
            if whole.image:
                images += 1
                wanted = 1 if images <= self.limits.images else 0
            if wanted and wanted + _OVERHEAD + len(pieces[at].note) <= room:
                allowances[at] = wanted
                room -= wanted + _OVERHEAD + len(pieces[at].note)
        return allowances

    def _show(self, piece: Piece, allowance: int) -> str | None:
        if piece.whole.image:
            return self._image(piece.whole)
        complete = self.fenced(piece.fence, piece.whole.text, allowance) if piece.whole.text else True
        if piece.note:
            self.words(piece.note)
        return None if complete else self.references.add(Whole("text/plain", text=piece.whole.text))

    def _image(self, whole: Whole) -> str:
        reference = self.references.add(whole)
        picture = shrink(
            whole.image, whole.mime_type, side=self.limits.image_side, size=self.limits.image_bytes
        )
        if picture is None:
            self.words(f"[image {reference} {whole.mime_type}: it cannot be read]")
            return reference
        self.words(f"[image {reference} {whole.mime_type} {picture.width}x{picture.height}]")
        self._parts.append({"type": "image", "base64": picture.base64, "mime_type": picture.mime_type})
        self._images += 1
        return reference

    def _hidden(self, references: Sequence[str]) -> None:
        if references:
            names = ", ".join(references[:12]) + (f" … {references[-1]}" if len(references) > 12 else "")
            self.words(f'[{len(references)} outputs not shown: {names}; read_output("{references[0]}") shows one]')

    def _entries(self, fence: str, entries: Sequence[tuple[str, int]]) -> None:
        """Lines between fences; a line that was repeated closes them, so that its count is in our own words."""
        lines: list[str] = []
        for line, count in entries:
            lines.append(line)
            if count > 1:
                self._fence(fence, lines)
                self.words(f"[the line above {count - 1:,} times more]")
                lines = []
        if lines:
            self._fence(fence, lines)

    def _fence(self, fence: str, lines: Sequence[str]) -> None:
        text = neutral("\n".join(lines))
        opening, closing = f"<{fence}>\n", f"\n</{fence.split()[0]}>"
        room = self.room - len(opening) - len(closing) - 1
        if room > 0:
            self.words(opening + text[:room] + closing)


def neutral(text: str) -> str:
    """Text in which nothing looks like one of our fences."""
    return _FENCE.sub(r"<\\", text)


def one_line(text: str, width: int = 200) -> str:
    """Text of others on a line of ours: control characters gone, cut."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return neutral(line if len(line) <= width else line[: width - 1] + "…")


def first_line(source: str, width: int = 80) -> str:
    """The first line that is not empty, cut, without control characters."""
    line = next((line for line in source.splitlines() if line.strip()), "")
    line = "".join(character if character.isprintable() else " " for character in line)
    return line if len(line) <= width else line[: width - 1] + "…"


def _told(piece: Piece, reference: str | None) -> dict[str, Any]:
    return {"ref": reference, "mime_type": piece.whole.mime_type, "size": piece.whole.size}


def _folded(lines: Sequence[str], width: int) -> list[tuple[str, int]]:
    """Lines with how often they follow each other; overlong ones keep their ends."""
    folded: list[tuple[str, int]] = []
    for line, group in itertools.groupby(lines):
        count = sum(1 for _ in group)
        short = line if len(line) <= width else f"{line[: width * 2 // 3]} … {line[-(width // 4) :]}"
        if count >= _FOLD_FROM:
            folded.append((short, count))
        else:
            folded += [(short, 1)] * count
    return folded


def _fitting(entries: Sequence[tuple[str, int]], allowance: int) -> tuple[int, int]:
    """How many entries from the head and from the tail fit."""
    costs = [len(line) + 1 + (60 if count > 1 else 0) for line, count in entries]
    if sum(costs) <= allowance:
        return len(entries), 0
    head = _taken(costs, allowance * 3 // 5)
    return head, _taken(list(reversed(costs[head:])), allowance * 2 // 5)


def _taken(costs: Sequence[int], allowance: int) -> int:
    return sum(1 for total in itertools.accumulate(costs) if total <= allowance)
