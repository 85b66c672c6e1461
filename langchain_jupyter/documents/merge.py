"""A file that somebody else has changed: their changes and ours, cell by cell and member by member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from langchain_jupyter.documents.notebook import NotebookDocument

Snapshot: TypeAlias = Mapping[str, Any]

_OF_CODE = ("outputs", "execution_count")
_MEMBERS = (("source",), ("cell_type",), ("metadata",), ("attachments",), _OF_CODE)


def clashes(document: NotebookDocument, base: Mapping[str, Snapshot], theirs: Sequence[Snapshot]) -> list[str]:
    """Ids of the cells of which both sides changed the same member differently, or one deleted what the other changed.

    Args:
        document: Ours.
        base: Snapshots by id of what both sides started from.
        theirs: Their cells in order.
    """
    found = []
    their_ids = {cell["id"] for cell in theirs}
    for cell in theirs:
        cell_id, before = cell["id"], base.get(cell["id"])
        if cell_id in document:
            ours = document.snapshot(cell_id)
            if any(_clash(names, before, ours, cell) for names in _MEMBERS) or _ousted(before, ours, cell):
                found.append(cell_id)
        elif before is not None and differ(before, cell):
            found.append(cell_id)
    for cell_id, before in base.items():
        if cell_id not in their_ids and cell_id in document and differ(before, document.snapshot(cell_id)):
            found.append(cell_id)
    return found


def take_in(document: NotebookDocument, base: Mapping[str, Snapshot], theirs: Sequence[Snapshot]) -> None:
    """Bring what they changed into the document; where both changed the same, theirs stands. Not journalled."""
    with document.unrecorded():
        _take_deletions(document, base, {cell["id"] for cell in theirs})
        previous: str | None = None
        for cell in theirs:
            cell_id = cell["id"]
            if cell_id in document:
                _take_members(document, base.get(cell_id), cell)
            elif cell_id not in base or differ(base[cell_id], cell):
                following = next((c["id"] for c in theirs if c["id"] in document), None) if previous is None else None
                document.insert(cell, place=(previous, following))
            if cell_id in document:
                previous = cell_id
        _take_order(document, list(base), [cell["id"] for cell in theirs])


def _take_deletions(document: NotebookDocument, base: Mapping[str, Snapshot], theirs: set[str]) -> None:
    for cell_id in base:
        if cell_id not in theirs and cell_id in document:
            document.delete(cell_id)


def _take_members(document: NotebookDocument, before: Snapshot | None, theirs: Snapshot) -> None:
    cell_id = theirs["id"]
    ours = document.snapshot(cell_id)
    changed = {names[0] for names in _MEMBERS if _changed(names, before, theirs) and _changed(names, ours, theirs)}
    if changed & {"cell_type", "attachments"}:  # a document sets these when a cell comes, and never again
        place = document.place(cell_id)
        document.delete(cell_id)
        document.insert(_joined(ours, theirs, changed), place=place)
        return
    if "source" in changed:
        document.set_source(cell_id, theirs["source"])
    if "metadata" in changed:
        for key in {*ours["metadata"], *theirs["metadata"]}:
            document.set_metadata(cell_id, key, theirs["metadata"].get(key))
    if "outputs" in changed and theirs["cell_type"] == "code":
        document.set_outputs(cell_id, theirs["outputs"], theirs.get("execution_count"))


def _joined(ours: Snapshot, theirs: Snapshot, changed: set[str]) -> dict[str, Any]:
    """Our version of a cell with the members that they changed."""
    taken = {name for names in _MEMBERS if names[0] in changed for name in names}
    cell = {name: theirs[name] for name in theirs if name in taken}
    cell |= {name: ours[name] for name in ours if name not in taken}
    if cell["cell_type"] == "code":
        return {"outputs": [], "execution_count": None} | cell
    return {name: value for name, value in cell.items() if name not in _OF_CODE}


def _take_order(document: NotebookDocument, base: Sequence[str], theirs: Sequence[str]) -> None:
    known = set(base) & set(theirs)
    if [c for c in base if c in known] == [c for c in theirs if c in known]:
        return
    previous: str | None = None
    for cell_id in theirs:
        if cell_id in document:
            following = document.ids[0] if previous is None else None
            if cell_id != following:
                document.move(cell_id, place=(previous, following))
            previous = cell_id


def _clash(names: Sequence[str], before: Snapshot | None, ours: Snapshot, theirs: Snapshot) -> bool:
    return _changed(names, before, ours) and _changed(names, before, theirs) and _changed(names, ours, theirs)


def _ousted(before: Snapshot | None, ours: Snapshot, theirs: Snapshot) -> bool:
    """Whether a cell has run here that is no code any more for them: there is no place for its outputs."""
    return theirs["cell_type"] != "code" and bool(ours.get("outputs")) and _changed(_OF_CODE, before, ours)


def differ(one: Snapshot, other: Snapshot) -> bool:
    """Whether two versions of a cell differ in anything that a file holds."""
    return any(_changed(names, one, other) for names in _MEMBERS)


def _changed(names: Sequence[str], one: Snapshot | None, other: Snapshot) -> bool:
    return one is None or any((one.get(name) or None) != (other.get(name) or None) for name in names)
