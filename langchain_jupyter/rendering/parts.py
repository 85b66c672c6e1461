"""The outputs of one cell or execution within a budget: what is shown, what is cut, what is named by reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from langchain_jupyter.rendering import images
from langchain_jupyter.rendering.fences import fenced, one_line, printable
from langchain_jupyter.rendering.mime import Other, choose
from langchain_jupyter.rendering.references import Kept, References
from langchain_jupyter.rendering.tracebacks import CellOf, condense

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_jupyter.models import Output
    from langchain_jupyter.settings import OutputLimits

_GAP = 200
_NOTE = 100
_NAMED = 3


@dataclass(slots=True)
class Part:
    """Something of an output that can be shown, and how it was.

    Attributes:
        index: Which output it is of.
        mime: MIME type of it.
        text: What is shown of it, printable; empty for images.
        kept: What its reference stands for.
        tag: Of the fence around it; empty if it is only named.
        size: In words, if it is only named.
        blocks: How it is shown: text, and the dicts of image blocks. Empty if it is left out.
        ref: Its reference, if the model was told one.
        cut: Whether the model sees less than all of it.
    """

    index: int
    mime: str
    text: str
    kept: Kept
    tag: str = ""
    size: str = ""
    blocks: list[str | dict[str, Any]] = field(default_factory=list)
    ref: str | None = None
    cut: bool = False

    @property
    def pictured(self) -> bool:
        """Whether it is an image."""
        return isinstance(self.kept.content, bytes)

    @property
    def last(self) -> bool:
        """Whether it matters most: it says what went wrong."""
        return self.tag == "traceback"


class Drawing:
    """Draws parts within the limits of one call, over as many cells as the call shows.

    Attributes:
        images: How many images may still be shown.
    """

    def __init__(self, limits: OutputLimits, references: References) -> None:
        self._limits = limits
        self._references = references
        self.images = limits.images

    def draw(self, parts: Sequence[Part], owner: str, budget: int) -> list[str | dict[str, Any]]:
        """Text and image blocks for all parts in order; each text counts one character more, for its line end.

        The traceback and the last other part are served first, then the rest from the first on.

        Args:
            parts: Filled in with what became of them.
            owner: Id of the cell or reference of the execution.
            budget: Characters of all texts.
        """
        room = budget - (2 * _GAP if len(parts) > 1 else 0)
        final = next((part for part in reversed(parts) if not part.last), None)
        for part in sorted(parts, key=lambda each: (not each.last, each is not final)):
            self._show(part, owner, min(self._limits.per_output, room))
            if not part.blocks:
                break
            room -= length(part.blocks)
        blocks: list[str | dict[str, Any]] = []
        for shown, group in groupby(parts, lambda part: bool(part.blocks)):
            alike = list(group)
            blocks += [block for part in alike for block in part.blocks] if shown else [self._gap(alike, owner)]
        return _within(blocks, budget)

    def _show(self, part: Part, owner: str, budget: int) -> None:
        if isinstance(part.kept.content, bytes):
            blocks = self._image(part, part.kept.content, owner) if budget > _NOTE else []
        else:
            blocks = self._text(part, owner, budget - 1)
        if length(blocks) <= budget:
            part.blocks = blocks

    def _text(self, part: Part, owner: str, budget: int) -> list[str | dict[str, Any]]:
        if not part.tag:
            part.cut = True
            ref = self._keep(part, owner)
            return [f"[{ref} {one_line(part.mime, 80)}, {part.size}, not shown]"]
        if part.last and part.kept.content != part.text:
            ref = self._keep(part, owner)
            note = f'[the whole traceback: read_output("{ref}")]'
            shown = fenced(part.text, part.tag, budget - len(note) - 1, str)
            part.cut = True
            return [] if shown is None else [shown[0], note]
        shown = fenced(part.text, part.tag, budget, lambda: more(self._keep(part, owner)))
        if shown is None:
            return []
        part.cut = shown[1]
        return [shown[0]]

    def _image(self, part: Part, data: bytes, owner: str) -> list[str | dict[str, Any]]:
        ref = self._keep(part, owner)
        picture = None
        if self.images:
            picture = images.fit(data, side=self._limits.image_side, size=self._limits.image_bytes)
        if picture is None:
            part.cut = True
            return [f'[image {ref} {part.mime}{_size(data)} not shown: read_output("{ref}")]']
        self.images -= 1
        name = f"[image {ref} {picture.mime} {picture.width}x{picture.height}]"
        return [name, {"type": "image", "base64": picture.base64, "mime_type": picture.mime}]

    def _gap(self, parts: Sequence[Part], owner: str) -> str:
        """What is left out of the parts in a row, in one line."""
        for part in parts:
            part.cut = True
        said = []
        if texts := [part for part in parts if part.text]:
            whole = "\n".join(part.text for part in texts)
            ref = self._references.keep(owner, texts[0].index, Kept("text/plain", whole))
            for part in texts:
                part.ref = ref
            said.append(f'{_plural(len(texts), "output")} with {len(whole):,} characters: read_output("{ref}")')
        if pictures := [part for part in parts if part.pictured]:
            refs = [self._keep(part, owner) for part in pictures]
            named = ", ".join(f'read_output("{ref}")' for ref in refs[:_NAMED])
            said.append(f"{_plural(len(refs), 'image')}: {named}{' …' if len(refs) > _NAMED else ''}")
        return f"[left out: {'; '.join(said) or _plural(len(parts), 'output')}]"

    def _keep(self, part: Part, owner: str) -> str:
        part.ref = self._references.keep(owner, part.index, part.kept)
        return part.ref


def parts_of(outputs: Sequence[Output], cell_of: CellOf) -> list[Part]:
    """What there is to show of nbformat outputs, in order."""
    return [part for index, output in enumerate(outputs) for part in _parts(index, output, cell_of)]


def records(outputs: Sequence[Output], parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Outputs for the artifact: reference, MIME types, and size in characters, or in bytes for an image."""
    rows = []
    for index, output in enumerate(outputs):
        mine = [part for part in parts if part.index == index]
        row: dict[str, Any] = {"ref": next((part.ref for part in mine if part.ref), None), "mime": _mimes(output)}
        picture = next((part for part in mine if part.pictured), None)
        rows.append(row | ({"bytes": len(picture.kept.content)} if picture else {"chars": _chars(mine)}))
    return rows


def length(blocks: Sequence[str | dict[str, Any]]) -> int:
    """Characters of the texts, each with its line end."""
    return sum(len(block) + 1 for block in blocks if isinstance(block, str))


def more(ref: str) -> str:
    """How to see the rest of a text that was cut; the end of a note."""
    return f'; all of it: read_output("{ref}"), or search it: read_output("{ref}", find="…")'


def _parts(index: int, output: Output, cell_of: CellOf) -> Iterator[Part]:
    kind = output["output_type"]
    if kind == "stream":
        yield from _plain(index, str(output["text"]), "output stderr" if output["name"] == "stderr" else "output")
    elif kind == "error":
        yield from _error(index, output, cell_of)
    else:
        yield from _bundle(index, output)


def _plain(index: int, text: str, tag: str) -> Iterator[Part]:
    if text := printable(text):
        yield Part(index, "text/plain", text, Kept("text/plain", text), tag)


def _error(index: int, output: Output, cell_of: CellOf) -> Iterator[Part]:
    lines = [str(line) for line in output.get("traceback") or [f"{output['ename']}: {output['evalue']}"]]
    text, folded = condense(lines, cell_of)
    if text:
        whole = "\n".join(printable(line) for line in lines)
        yield Part(index, "text/plain", text, Kept("text/plain", whole if folded else text), "traceback")


def _bundle(index: int, output: Output) -> Iterator[Part]:
    choice = choose(output["data"])
    yield from _plain(index, choice.text, "output")
    if choice.image is not None:
        mime, encoded = choice.image
        data = images.decode(encoded)
        yield Part(index, mime, "", Kept(mime, data)) if data else _named(index, Other(mime, "", len(encoded)))
    for other in choice.others:
        yield _named(index, other)


def _named(index: int, other: Other) -> Part:
    size = f"{max(other.size // 1000, 1):,} kB"
    what = other.text or f"{size} of {one_line(other.mime, 80)}, which only the notebook itself can show"
    return Part(index, other.mime, other.text, Kept(other.mime, what), size=size)


def _mimes(output: Output) -> list[str]:
    return sorted(output["data"]) if "data" in output else ["text/plain"]


def _chars(parts: Sequence[Part]) -> int:
    return sum(len(part.text) for part in parts)


def _size(data: bytes) -> str:
    size = images.size_of(data)
    return f" {size[0]}x{size[1]}" if size else ""


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _within(blocks: list[str | dict[str, Any]], budget: int) -> list[str | dict[str, Any]]:
    """The blocks that fit; only notes about what is left out can fail to."""
    kept: list[str | dict[str, Any]] = []
    for block in blocks:
        if not isinstance(block, str):
            kept.append(block)
        elif len(block) < budget:
            kept.append(block)
            budget -= len(block) + 1
    return kept
