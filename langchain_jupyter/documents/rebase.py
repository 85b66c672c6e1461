"""Our own edits, put onto a notebook that went on without them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from langchain_jupyter.documents.journal import Edit, Place, outputs_of
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
        placed: Whether it was put in, or moved.
        steps: For each changed member, what each edit found there and left there, oldest first.
    """

    cell_id: str
    inserted: Mapping[str, Any] | None = None
    deleted: Mapping[str, Any] | None = None
    placed: bool = False
    steps: dict[Member, list[tuple[Any, Any]]] = field(default_factory=dict)


def changes(edits: Iterable[Edit]) -> Sequence[Change]:
    """What the edits came to, cell by cell, in the order in which cells were first touched."""
    found: dict[str, Change] = {}
    for edit in edits:
        change = found.setdefault(edit.cell_id, Change(edit.cell_id))
        if edit.op == "cell" and edit.new is None:
            change.deleted, change.placed = edit.old, False
        elif edit.op == "cell":
            _put_in(change, edit)
        elif edit.op == "move":
            change.placed = True
        else:
            change.steps.setdefault((edit.op, edit.key), []).append((edit.old, edit.new))
    return list(found.values())


def rebase(
    document: NotebookDocument,
    edits: Iterable[Edit],
    before: Mapping[str, Mapping[str, Any]],
    lineages: Mapping[str, Lineage] | None = None,
) -> list[str]:
    """Make the notebook have what the edits did, unless it has it already. Not journalled again.

    It may have the first so many of them already: an edit too many does no harm.

    Args:
        document: In its new state.
        edits: Ours, that it may lack.
        before: The cells by id, in order, as they stood when our edits were in them.
        lineages: Of sources, by id of the cell, as far as they are known; they go on in the new state.

    Returns:
        Ids of the cells in which others changed the same; theirs stands there.
    """
    order = {cell_id: position for position, cell_id in enumerate(before)}
    todo = sorted(changes(edits), key=lambda change: order.get(change.cell_id, -1))
    placed = {change.cell_id for change in todo if change.placed}
    clashing = []
    with document.unrecorded():
        for change in todo:
            lineage = (lineages or {}).get(change.cell_id)
            if lineage is not None and _adopted(document, change, before, lineage):
                del change.steps["source", ""]
            if not _apply(document, change, before, placed):
                clashing.append(change.cell_id)
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
        document.follow(self._follow)

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

    def carry_over(self, edits: Iterable[Edit], before: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """As `rebase`, where the document goes on in a state from before some of the edits."""
        document = self._document
        self._theirs, self._mending = False, True
        try:
            clashing = rebase(document, edits, before, self._lineages)
        finally:
            self._mending = False
        followed = {cell_id: each for cell_id, each in self._lineages.items() if cell_id in document}
        self._lineages = {cell_id: each for cell_id, each in followed.items() if str(each) == document.source(cell_id)}
        document.take_replaced()
        return clashing

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


def _adopted(
    document: NotebookDocument, change: Change, before: Mapping[str, Mapping[str, Any]], lineage: Lineage
) -> bool:
    """Give a source that is from before some of our edits those; whether it is one, and they fit."""
    cell_id = change.cell_id
    known = cell_id in document and str(lineage) == before.get(cell_id, {}).get("source")
    if not known or ("source", "") not in change.steps:
        return False
    adoption = lineage.adopt(document.source(cell_id))
    if adoption is None or not adoption.certain or not adoption.whole:
        return False
    document.set_source(cell_id, str(lineage), edits=adoption.edits)
    return True


def _put_in(change: Change, edit: Edit) -> None:
    """A new cell, or one that was deleted and comes back."""
    if change.deleted is None or change.inserted is not None:
        change.inserted = edit.new
    if change.deleted is not None:
        for member in (("source", ""), ("outputs", "")):
            old, new = _value(change.deleted, member), _value(edit.new, member)
            if old != new:
                change.steps.setdefault(member, []).append((old, new))
    change.deleted, change.placed = None, True


def _apply(
    document: NotebookDocument, change: Change, before: Mapping[str, Mapping[str, Any]], placed: Collection[str]
) -> bool:
    cell_id, was = change.cell_id, before.get(change.cell_id)
    present = cell_id in document
    if change.deleted is not None:
        return not present or was is not None or _remove(document, change)
    if not present and change.inserted is None:
        return was is None or not change.steps
    if not present and was is None:
        return True  # somebody has deleted it since
    if change.placed and was is not None:
        _place(document, change, list(before), placed)
    fine = []
    for member, steps in change.steps.items():
        first = [(value := _value(change.inserted, member), value)] if change.inserted is not None else []
        fine.append(_bring(document, cell_id, member, [*first, *steps], was))
    return all(fine)


def _place(document: NotebookDocument, change: Change, order: Sequence[str], placed: Collection[str]) -> None:
    """Put a cell behind the one that it stood behind; those that come earlier in that order have their places.

    One that stands between the same cells, as far as these are there, is left alone: a move takes it out and puts in a
    copy.
    """
    cell_id, at = change.cell_id, order.index(change.cell_id)
    behind = next((other for other in reversed(order[:at]) if other in document), None)
    ahead = next((other for other in order[at + 1 :] if other in document and other not in placed), None)
    place: Place = (behind, ahead if behind is None else None)
    if cell_id not in document:
        assert change.inserted is not None
        document.insert(change.inserted, place=place)
        return
    here = document.index(cell_id)
    fits = (behind is None or document.index(behind) < here) and (ahead is None or here < document.index(ahead))
    if not fits:
        document.move(cell_id, place=place)


def _remove(document: NotebookDocument, change: Change) -> bool:
    assert change.deleted is not None
    source, states = document.source(change.cell_id), [change.deleted, change.inserted or change.deleted]
    if not any(source == state["source"] for state in states) and not _found(
        change.steps.get(("source", ""), ()), source
    ):
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
        return outputs_of(cell)
    return (cell.get("metadata") or {}).get(key) if name == "metadata" else cell.get(name)


def _set(document: NotebookDocument, cell_id: str, member: Member, value: Any) -> None:
    name, key = member
    if name == "source":
        document.set_source(cell_id, value)
    elif name == "metadata":
        document.set_metadata(cell_id, key, value)
    else:
        document.set_outputs(cell_id, value["outputs"], value["execution_count"])
