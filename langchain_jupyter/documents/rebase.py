"""Our own edits, put onto a notebook that went on without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from langchain_jupyter.documents.journal import Edit, Place
from langchain_jupyter.documents.notebook import METADATA_KEY, NotebookDocument
from langchain_jupyter.documents.text import merged

Member: TypeAlias = tuple[str, str]
"""A part of a cell that changes as a whole: `("source", "")`, `("outputs", "")`, `("metadata", key)`."""


@dataclass(slots=True)
class Change:
    """All that a row of edits did to one cell.

    Attributes:
        cell_id: Which cell.
        inserted: The cell as it was put in; None if it stood there before.
        deleted: The cell as it was taken out; None if it stands.
        place: Where it was put, or moved to; None if it was neither.
        versions: For each changed member, what it was and what it became, oldest first.
    """

    cell_id: str
    inserted: Mapping[str, Any] | None = None
    deleted: Mapping[str, Any] | None = None
    place: Place | None = None
    versions: dict[Member, list[Any]] = field(default_factory=dict)


def changes(edits: Iterable[Edit]) -> Sequence[Change]:
    """What the edits came to, cell by cell, in the order in which cells were first touched."""
    found: dict[str, Change] = {}
    for edit in edits:
        change = found.setdefault(edit.cell_id, Change(edit.cell_id))
        if edit.op == "cell" and edit.new is None:
            if change.inserted is not None:
                del found[edit.cell_id]
            else:
                change.deleted, change.place = edit.old, None
        elif edit.op == "cell":
            _put_in(change, edit)
        elif edit.op == "move":
            change.place = edit.new
        else:
            change.versions.setdefault((edit.op, edit.key), [edit.old]).append(edit.new)
    return list(found.values())


def rebase(document: NotebookDocument, edits: Iterable[Edit]) -> list[str]:
    """Make the notebook have what the edits did, unless it has it already. Not journalled again.

    Returns:
        Ids of the cells in which others changed the same; theirs stands there.
    """
    with document.unrecorded():
        todo = changes(edits)
        clashing = [change.cell_id for change in todo if not _apply(document, change)]
        for change in todo:
            if change.place is not None and change.inserted is None and change.cell_id in document:
                document.move(change.cell_id, place=change.place)
    return clashing


def restore(document: NotebookDocument, change: Change, before: Mapping[str, Any]) -> bool:
    """Bring our edits back into a cell that somebody else has replaced by a copy from before them: a move does that.

    Args:
        document: It stands there.
        change: What we did to that cell so far.
        before: The cell as it was right before it was replaced.

    Returns:
        Whether all that was lost is back.
    """
    fine = True
    with document.unrecorded():
        for member, versions in change.versions.items():
            was, now = _value(before, member), _value(document.snapshot(change.cell_id), member)
            if was != now:
                fine = _bring(document, change.cell_id, member, versions) and fine
    return fine


def _put_in(change: Change, edit: Edit) -> None:
    """A new cell, or one that was deleted and comes back."""
    if change.deleted is None:
        change.inserted = edit.new
    else:
        for member in (("source", ""), ("outputs", "")):
            old, new = _value(change.deleted, member), _value(edit.new, member)
            if old != new:
                change.versions.setdefault(member, [old]).append(new)
    change.deleted, change.place = None, edit.place


def _apply(document: NotebookDocument, change: Change) -> bool:
    present = change.cell_id in document
    if change.deleted is not None:
        return not present or _remove(document, change)
    if not present and change.inserted is None:
        return not change.versions
    if not present and change.inserted is not None:
        document.insert(change.inserted, place=change.place or (None, None))
    known = change.inserted or {}
    fine = [
        _bring(document, change.cell_id, member, ([_value(known, member)] if known else []) + versions)
        for member, versions in change.versions.items()
    ]
    return all(fine)


def _remove(document: NotebookDocument, change: Change) -> bool:
    assert change.deleted is not None
    sources = [change.deleted["source"], *change.versions.get(("source", ""), [])]
    if document.source(change.cell_id) not in sources:
        return False
    document.delete(change.cell_id)
    return True


def _bring(document: NotebookDocument, cell_id: str, member: Member, versions: Sequence[Any]) -> bool:
    """Make a member what it last became, if it is what it ever was; texts are merged if it is something else."""
    now, last = _value(document.snapshot(cell_id), member), versions[-1]
    if now == last:
        return True
    if now not in versions and member[0] == "source":
        last = merged(versions[0], last, now)
        if last is None:
            return False
    elif now not in versions and member != ("metadata", METADATA_KEY):
        return False
    _set(document, cell_id, member, last)
    return True


def _value(cell: Mapping[str, Any], member: Member) -> Any:
    name, key = member
    if name == "outputs":
        return {"outputs": list(cell.get("outputs") or []), "execution_count": cell.get("execution_count")}
    return (cell.get("metadata") or {}).get(key) if name == "metadata" else cell.get(name)


def _set(document: NotebookDocument, cell_id: str, member: Member, value: Any) -> None:
    name, key = member
    if name == "source":
        document.set_source(cell_id, value)
    elif name == "metadata":
        document.set_metadata(cell_id, key, value)
    else:
        document.set_outputs(cell_id, value["outputs"], value["execution_count"])
