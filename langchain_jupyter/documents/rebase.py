"""Our own edits, put onto a notebook that went on without them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from langchain_jupyter.documents.journal import Edit, Place
from langchain_jupyter.documents.lineage import Lineage
from langchain_jupyter.documents.notebook import METADATA_KEY, NotebookDocument
from langchain_jupyter.documents.text import replayed

_RECENT = 100
_FOLLOWED = 200
_LONG = 50_000
"""Characters of a source beyond which its changes are not followed one by one."""

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
        steps: For each changed member, what each edit found there and left there, oldest first.
    """

    cell_id: str
    inserted: Mapping[str, Any] | None = None
    deleted: Mapping[str, Any] | None = None
    place: Place | None = None
    steps: dict[Member, list[tuple[Any, Any]]] = field(default_factory=dict)


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
            change.steps.setdefault((edit.op, edit.key), []).append((edit.old, edit.new))
    return list(found.values())


def rebase(document: NotebookDocument, edits: Iterable[Edit], before: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Make the notebook have what the edits did, unless it has it already. Not journalled again.

    Args:
        document: In its new state.
        edits: Ours, that it may lack.
        before: The cells by id, as they stood when our edits were in them.

    Returns:
        Ids of the cells in which others changed the same; theirs stands there.
    """
    with document.unrecorded():
        todo = changes(edits)
        clashing = [change.cell_id for change in todo if not _apply(document, change, before.get(change.cell_id))]
        for change in todo:
            if change.place is not None and change.inserted is None and change.cell_id in document:
                document.move(change.cell_id, place=change.place)
    return clashing


class EditKeeper:
    """Puts right what a move by somebody else does: it replaces a cell by a copy, which may be from before our edit.

    Call `brace` before a message of others is applied, and `mend` after.

    Args:
        document: Where we edit.
        doubt: Called with cells as they were, by id, that may not read as they should now: an edit of ours is gone, or
            was put where it seemed to fit.
    """

    def __init__(
        self, document: NotebookDocument, *, doubt: Callable[[Mapping[str, Mapping[str, Any]]], None] | None = None
    ) -> None:
        self._document = document
        self._doubt = doubt
        self._lineages: dict[str, Lineage] = {}
        self._theirs = self._mending = False
        self._order = -1
        document.follow = self._follow

    def brace(self) -> None:
        """Know how the cells stand that we changed lately."""
        document = self._document
        document.take_replaced()
        for edit in document.journal.since(max(len(document.journal) - _RECENT, 0)):
            if edit.cell_id in document:
                document.snapshot(edit.cell_id)
        self._order, self._theirs = document.order, True

    def mend(self) -> None:
        """Bring back what is gone, and make ids unique again."""
        self._theirs = False
        document, replaced = self._document, self._document.take_replaced()
        if document.order == self._order:
            return
        self._mending = True
        ours = {change.cell_id: change for change in self._changes_of(replaced)}
        doubtful: dict[str, Mapping[str, Any]] = {}
        caught_up = self._catch_up(doubtful)
        for cell_id, change in ours.items():
            if cell_id in caught_up:
                change.steps.pop(("source", ""), None)
            if cell_id in document and not _restore(document, change, replaced[cell_id]):
                doubtful[cell_id] = replaced[cell_id]
        document.mend(self._outdated_by(ours))
        self._catch_up(doubtful)  # a cell may have got back the id that it once had from us
        self._mending = False
        if doubtful and self._doubt is not None:
            self._doubt(doubtful)

    # -- inside -------------------------------------------------------------------------------------------------

    def _changes_of(self, cells: Mapping[str, Any]) -> Sequence[Change]:
        edits = self._document.journal.since(0) if cells else ()
        return changes(edit for edit in edits if edit.cell_id in cells)

    def _follow(self, cell_id: str, before: Mapping[str, Any] | None, delta: Sequence[Mapping[str, Any]]) -> None:
        if self._mending:
            return
        lineage = self._lineages.pop(cell_id, None)
        if before is not None and (lineage is None or str(lineage) != before["source"]):
            lineage = Lineage.of(before["source"])
        if lineage is None or len(lineage) > _LONG:
            return
        lineage.change(delta, ours=not self._theirs)
        self._lineages[cell_id] = lineage
        if len(self._lineages) > _FOLLOWED:
            del self._lineages[next(iter(self._lineages))]

    def _catch_up(self, doubtful: dict[str, Mapping[str, Any]]) -> Collection[str]:
        """Give each copy the edits of its source that it lacks.

        Returns:
            Ids of the cells whose sources need nothing more.
        """
        document, done = self._document, set()
        for cell_id, lineage in list(self._lineages.items()):
            if cell_id not in document:
                continue
            cell, before = document.snapshot(cell_id), str(lineage)
            if cell["source"] != before:
                adoption = lineage.adopt(cell["source"])
                if adoption is None:
                    del self._lineages[cell_id]
                    continue
                if not adoption.certain:
                    doubtful[cell_id] = {**cell, "source": before}
                with document.unrecorded():
                    document.set_source(cell_id, str(lineage), edits=adoption.edits)
            done.add(cell_id)
        return done

    def _outdated_by(self, ours: Mapping[str, Change]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], bool]:
        def outdated(cell: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
            change, lineage = ours.get(cell["id"]), self._lineages.get(cell["id"])
            return change is not None and _outdated(change, lineage, cell, other)

        return outdated


def _restore(document: NotebookDocument, change: Change, before: Mapping[str, Any]) -> bool:
    """Bring our edits back into a cell that was replaced; whether all that was lost is back."""
    with document.unrecorded():
        fine = [_bring(document, change.cell_id, member, steps, before) for member, steps in change.steps.items()]
    return all(fine)


def _outdated(change: Change, lineage: Lineage | None, cell: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the other cell is this one as it was before some of our changes, and nothing else."""
    source: Member = ("source", "")
    members: set[Member] = {("outputs", ""), ("cell_type", ""), ("attachments", "")}
    members |= {("metadata", key) for each in (cell, other) for key in each.get("metadata") or {}}
    if lineage is None or not lineage.has_been(other["source"]):
        members.add(source)
    return all(_older(change.steps.get(member, []), _value(cell, member), _value(other, member)) for member in members)


def _older(steps: Sequence[tuple[Any, Any]], value: Any, other: Any) -> bool:
    return bool(value == other or (_found(steps, other) and other != steps[-1][1]))


def _put_in(change: Change, edit: Edit) -> None:
    """A new cell, or one that was deleted and comes back."""
    if change.deleted is None:
        change.inserted = edit.new
    else:
        for member in (("source", ""), ("outputs", "")):
            old, new = _value(change.deleted, member), _value(edit.new, member)
            if old != new:
                change.steps.setdefault(member, []).append((old, new))
    change.deleted, change.place = None, edit.place


def _apply(document: NotebookDocument, change: Change, before: Mapping[str, Any] | None) -> bool:
    present = change.cell_id in document
    if change.deleted is not None:
        return not present or _remove(document, change)
    if not present and change.inserted is None:
        return before is None or not change.steps
    if not present and before is None:
        return True  # somebody has deleted it since
    if not present and change.inserted is not None:
        document.insert(change.inserted, place=change.place or (None, None))
    fine = []
    for member, steps in change.steps.items():
        first = [(value := _value(change.inserted, member), value)] if change.inserted is not None else []
        fine.append(_bring(document, change.cell_id, member, [*first, *steps], before))
    return all(fine)


def _remove(document: NotebookDocument, change: Change) -> bool:
    assert change.deleted is not None
    source = document.source(change.cell_id)
    if source != change.deleted["source"] and not _found(change.steps.get(("source", ""), ()), source):
        return False
    document.delete(change.cell_id)
    return True


def _bring(
    document: NotebookDocument,
    cell_id: str,
    member: Member,
    steps: Sequence[tuple[Any, Any]],
    before: Mapping[str, Any] | None,
) -> bool:
    """Make a member what we made of it, if it is what it ever was; texts are merged if it is something else."""
    now, last = _value(document.snapshot(cell_id), member), steps[-1][1]
    was = last if before is None else _value(before, member)
    if now in (was, last):
        return True
    if member[0] == "source":
        last = replayed(steps, was, now)
        if last is None:
            return False
    elif was != last:
        return True  # somebody has changed it after us, and brings that back
    elif not _found(steps, now) and member != ("metadata", METADATA_KEY):
        return False
    _set(document, cell_id, member, last)
    return True


def _found(steps: Sequence[tuple[Any, Any]], value: Any) -> bool:
    return any(value in step for step in steps)


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
