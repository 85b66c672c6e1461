"""The edits of a document, by cell id, each with its inverse, as plain JSON.

One list serves three needs: undo, our unsent edits put onto a fresh replica, and the edits of a file between two
saves (`file.py` appends them to a small file beside the notebook).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_jupyter.documents.format import VALID_ID, is_output
from langchain_jupyter.outputs import size_of

if TYPE_CHECKING:
    from langchain_jupyter.documents.notebook import NotebookDocument

AUTHOR: ContextVar[str] = ContextVar("author", default="")
"""Who makes the edits of this context: a LangGraph thread; "" if nobody in particular."""

_KEPT = 10_000
_SIZE = 50_000_000

Op: TypeAlias = Literal["cell", "source", "move", "outputs", "metadata"]
Place: TypeAlias = tuple[str | None, str | None]
"""Ids of the cells before and after; None at either end of the notebook."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one cell, with what stood there before.

    Attributes:
        op: "cell" is an insertion (`old` is None) or a deletion (`new` is None).
        cell_id: The cell that changes.
        old: Before: a cell as JSON, a source, a Place, `{"outputs", "execution_count"}`, or a value of the metadata.
        new: After, in the same form.
        place: Where the cell stands ("cell" only).
        key: Which entry of the metadata ("metadata" only).
    """

    op: Op
    cell_id: str
    old: Any
    new: Any
    place: Place = (None, None)
    key: str = ""

    def inverse(self) -> Edit:
        """The edit that takes this one back."""
        return replace(self, old=self.new, new=self.old)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object, which shares its values with the edit; `from_json` reads it."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Edit:
        """From what `to_json` gave.

        Raises:
            TypeError: It is not such an object.
            ValueError: As TypeError.
        """
        fields = dict(value)
        fields["place"] = _place(fields.get("place"))
        if fields.get("op") == "move":
            fields["old"], fields["new"] = _place(fields.get("old")), _place(fields.get("new"))
        edit = cls(**fields)
        fits = _FITS.get(edit.op)
        if fits is None or not VALID_ID.fullmatch(edit.cell_id) or not isinstance(edit.key, str):
            raise ValueError(f"no edit: {edit.op!r}")
        if not (fits(edit, edit.old) and fits(edit, edit.new)):
            raise ValueError(f"an edit ({edit.op}) without what it has to have")
        return edit


class Journal:
    """The edits made through one document, oldest first; of very many the latest.

    Args:
        keep: Called with each edit before it is applied; if it raises, nothing is changed.

    Attributes:
        needed: The number of the edit from which on all are kept, however many they are; None if none has to be.
    """

    def __init__(self, keep: Callable[[Edit], None] | None = None) -> None:
        self.keep = keep
        self.needed: int | None = None
        self._first = self._size = 0
        self._edits: list[Edit] = []
        self._authors: list[str] = []

    def __len__(self) -> int:
        return self._first + len(self._edits)

    def forgotten(self, mark: int) -> bool:
        """Whether edits that were made after the journal had the length `mark` are no longer kept."""
        return mark < self._first

    def add(self, edit: Edit) -> None:
        """Remember an edit that is about to be applied."""
        if self.keep is not None:
            self.keep(edit)
        self._edits.append(edit)
        self._authors.append(AUTHOR.get())
        self._size += _size(edit)
        if len(self._edits) > _KEPT or self._size > _SIZE:
            self._forget()

    def since(self, mark: int, *, author: str = "") -> Sequence[Edit]:
        """The edits made after the journal had the length `mark` that are kept, by everybody or by one author."""
        return [edit for edit, _ in self.signed_since(mark, author=author)]

    def signed_since(self, mark: int, *, author: str = "") -> Sequence[tuple[Edit, str]]:
        """As `since`, each with its author."""
        begin = max(mark - self._first, 0)
        signed = zip(self._edits[begin:], self._authors[begin:], strict=True)
        return [(edit, by) for edit, by in signed if author in ("", by)]

    def revert(self, document: NotebookDocument, mark: int) -> list[Edit]:
        """Take back what was done since `mark`, newest first; a cell that somebody else changed since is left alone.

        What is taken back is journalled like any other edit.

        Returns:
            The edits that could not be taken back.
        """
        undone = [edit.inverse() for edit in reversed(self.since(mark))]
        return apply(document, undone)

    def _forget(self) -> None:
        """Forget the oldest edits, a tenth of them at once."""
        count = len(self._edits) // 10 + 1
        if self.needed is not None:
            count = min(count, self.needed - self._first)
        if count > 0:
            self._size -= sum(map(_size, self._edits[:count]))
            self._first += count
            del self._edits[:count], self._authors[:count]


def apply(document: NotebookDocument, edits: Iterable[Edit], *, alone: bool = False) -> list[Edit]:
    """Put edits onto a document that may have changed in between.

    An edit whose result stands already is passed over, so the same edits can be applied twice.

    Args:
        document: What they are put onto.
        edits: Oldest first.
        alone: Nobody else has changed it. Outputs that are neither those from before a run nor those from after it
            are from amid it, then.

    Returns:
        The edits that clash with what stands there now; they have not been applied.
    """
    return [edit for edit in edits if not _APPLY[edit.op](document, edit, alone)]


def _apply_cell(document: NotebookDocument, edit: Edit, alone: bool) -> bool:
    present = edit.cell_id in document
    if edit.new is not None:
        if not present:
            document.insert(edit.new, place=edit.place)
        return True
    if not present:
        return True
    if not alone and _meant(document.snapshot(edit.cell_id)) != _meant(edit.old):
        return False
    document.delete(edit.cell_id)
    return True


def _apply_source(document: NotebookDocument, edit: Edit, alone: bool) -> bool:
    if edit.cell_id not in document:
        return False
    now = document.source(edit.cell_id)
    if now == edit.old:
        document.set_source(edit.cell_id, edit.new)
    return now in (edit.old, edit.new)


def _apply_move(document: NotebookDocument, edit: Edit, alone: bool) -> bool:
    if edit.cell_id in document:
        document.move(edit.cell_id, place=edit.new)
    return edit.cell_id in document


def _apply_outputs(document: NotebookDocument, edit: Edit, alone: bool) -> bool:
    if edit.cell_id not in document or document.snapshot(edit.cell_id)["cell_type"] != "code":
        return False
    now = outputs_of(document.snapshot(edit.cell_id))
    if now == edit.old or (alone and now != edit.new):
        document.set_outputs(edit.cell_id, edit.new["outputs"], edit.new["execution_count"])
    return alone or now in (edit.old, edit.new)


def _apply_metadata(document: NotebookDocument, edit: Edit, alone: bool) -> bool:
    if edit.cell_id not in document:
        return False
    now = document.snapshot(edit.cell_id)["metadata"].get(edit.key)
    if now == edit.old:
        document.set_metadata(edit.cell_id, edit.key, edit.new)
    return now in (edit.old, edit.new)


def outputs_of(cell: Mapping[str, Any]) -> dict[str, Any]:
    """What a run writes into a cell."""
    return {"outputs": list(cell.get("outputs") or []), "execution_count": cell.get("execution_count")}


def _meant(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a cell its deletion is about: whoever has changed that since would not have it gone."""
    members = [cell.get(name) or None for name in ("source", "cell_type", "attachments", "outputs")]
    return *members, cell["metadata"].get("tags")


_APPLY: Mapping[Op, Callable[[NotebookDocument, Edit, bool], bool]] = {
    "cell": _apply_cell,
    "source": _apply_source,
    "move": _apply_move,
    "outputs": _apply_outputs,
    "metadata": _apply_metadata,
}


def _fits_cell(edit: Edit, value: Any) -> bool:
    if value is None:
        return True
    members = {"id": str, "cell_type": str, "source": str, "metadata": dict}
    right = isinstance(value, dict) and all(isinstance(value.get(name), kind) for name, kind in members.items())
    return (
        right and value["id"] == edit.cell_id and _fits_outputs(edit, {"outputs": [], "execution_count": None, **value})
    )


def _fits_outputs(edit: Edit, value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("outputs"), list) or "execution_count" not in value:
        return False
    return all(map(is_output, value["outputs"]))


_FITS: Mapping[Op, Callable[[Edit, Any], bool]] = {
    "cell": _fits_cell,
    "source": lambda edit, value: isinstance(value, str),
    "move": lambda edit, value: True,
    "outputs": _fits_outputs,
    "metadata": lambda edit, value: True,
}


def _size(edit: Edit) -> int:
    """Characters of what it holds."""
    return size_of(edit.old) + size_of(edit.new)


def _place(value: Any) -> Place:
    after, before = value or (None, None)
    if not all(name is None or isinstance(name, str) for name in (after, before)):
        raise ValueError("no place")
    return after, before
