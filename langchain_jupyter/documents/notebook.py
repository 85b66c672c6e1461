"""A notebook as a shared document: cells by id, compare-and-set, minimal text edits, the sink for outputs."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from jupyter_ydoc import YNotebook
from pycrdt import Array, ArrayEvent, Doc, Map, MapEvent, Text, TextEvent

from langchain_jupyter.documents.handles import Handles, numeric
from langchain_jupyter.documents.journal import Edit, Journal, Place
from langchain_jupyter.documents.text import TextEdit, text_edits
from langchain_jupyter.errors import CellChanged
from langchain_jupyter.models import Cell, CellType, Output
from langchain_jupyter.outputs import OutputChange, clean

METADATA_KEY = "langchain_jupyter"
"""The entry of a cell's metadata that is ours: which tool call ran it, and how that ended."""

_WORN = 2_000
_WORN_EACH = 5
_VALID_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NO_ID = re.compile(r"[^a-zA-Z0-9_-]")
_TYPES: tuple[CellType, ...] = ("code", "markdown", "raw")


class NotebookDocument:
    """One notebook as a CRDT, on one event loop.

    The nested shape is that of `jupyter_ydoc.YNotebook`, so any replica of it is understood:

        meta: Map(nbformat, nbformat_minor, metadata: Map)
        cells: Array[Map(id, cell_type, source: Text, metadata: Map, execution_state, execution_count,
                         outputs: Array[Map(output_type, ...; a stream's text: Text)], attachments)]

    Cells are resolved by id at each write: a move or a reload replaces their Map, and an old handle would write into
    nothing. A mirror of the ids is kept, since finding a cell in the Array is linear.

    Attributes:
        journal: What was changed through this object, with inverses. Changes that arrive from elsewhere are not in it.
        order: Goes up whenever cells come, go or move.
        version: Goes up with each change by anybody.
        focus: Id of the cell that was last changed or run through this object; empty before.
        follow: Called amid each change of a source, by anybody: the cell's id, the cell before it where that had been
            read, and pycrdt's delta. It must not change or read the document.
    """

    def __init__(self, ydoc: Doc[Any] | None = None) -> None:
        self.journal = Journal()
        self.order = self.version = 0
        self.focus = ""
        self.follow: Callable[[str, Mapping[str, Any] | None, Sequence[Mapping[str, Any]]], None] | None = None
        self._recording = True
        self._members: tuple[int, frozenset[str]] = (-1, frozenset())
        self._mended = -1
        self._found: tuple[int, str, int] = (-1, "", -1)
        self._replaced: dict[str, Mapping[str, Any]] = {}
        self._handles = Handles()
        self._listeners: list[Callable[[], None]] = []
        self._metadata: dict[str, Any] | None = None
        self._forget_read()
        self._attach(Doc() if ydoc is None else ydoc)
        self._watch()

    def continue_in(self, ydoc: Doc[Any]) -> None:
        """Go on in another replica of the notebook. What was changed in the old one alone is not in it."""
        self._unwatch()
        self._forget_read()
        self._attach(ydoc)
        self._watch()
        self.order += 1
        self._changed()

    def renew(self) -> bool:
        """Go on in a fresh replica that says the same, if so much has been changed in this one that it is worth it.

        A replica keeps a place for whatever was deleted in it, and goes past all of those at each change. Nobody else
        may have this replica: whoever has it knows nothing of the fresh one.

        Returns:
            Whether it is another one now. Nothing else is: snapshots are the same objects.
        """
        if self.version - self._attached < max(_WORN, _WORN_EACH * len(self)):
            return False
        raws, metadata = [self.snapshot(cell_id) for cell_id in self._ids], self.metadata
        self._unwatch()
        self._attach(Doc())
        self.load(raws, metadata)
        with self.ydoc.transaction():
            for position, raw in enumerate(raws):
                if raw.get("execution_state") == "running":
                    self._cells[position]["execution_state"] = "running"
        self._watch()
        return True

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def ids(self) -> Sequence[str]:
        """Ids of the cells in order. Read only."""
        return self._ids

    @property
    def known_ids(self) -> Sequence[str]:
        """Ids of the cells that stand here, or stood here of late, sorted. Read only."""
        return self._names.known

    def __len__(self) -> int:
        return len(self._ids) if "_ids" in vars(self) else len(self._cells)  # to read all ids takes a while

    def __contains__(self, cell_id: object) -> bool:
        if self._members[0] != self.order:
            self._members = (self.order, frozenset(self._ids))
        return cell_id in self._members[1]

    def index(self, cell_id: str) -> int:
        """Position of a cell, from 0.

        Raises:
            KeyError: There is no such cell.
        """
        if self._found[:2] != (self.order, cell_id):
            try:
                self._found = self.order, cell_id, self._ids.index(cell_id)
            except ValueError:
                raise KeyError(cell_id) from None
        return self._found[2]

    def source(self, cell_id: str) -> str:
        """Text of a cell.

        Raises:
            KeyError: There is no such cell.
        """
        source: str = self.snapshot(cell_id)["source"]
        return source

    def snapshot(self, cell_id: str) -> dict[str, Any]:
        """A cell as JSON (nbformat, and `execution_state`): the same object until the cell changes. Read only.

        Raises:
            KeyError: There is no such cell.
        """
        cached = self._snapshots.get(cell_id)
        if cached is None:
            cached = self._snapshots[cell_id] = json.loads(str(self.ycell(cell_id)))
        return cached

    def ycell(self, cell_id: str) -> Map[Any]:
        """A cell as it is shared; do not keep it.

        Raises:
            KeyError: There is no such cell.
        """
        ycell: Map[Any] = self._cells[self.index(cell_id)]
        return ycell

    def cell(self, cell_id: str) -> Cell:
        """A cell as a value: the same object until the cell changes.

        Raises:
            KeyError: There is no such cell.
        """
        raw = self.snapshot(cell_id)
        known = self._values.get(cell_id)
        if known is None or known[0] is not raw:
            known = self._values[cell_id] = (raw, _cell(cell_id, raw))
        return known[1]

    def cells(self) -> Iterator[Cell]:
        """The cells in order."""
        if len(self._snapshots) < len(self._ids) // 2:
            self.snapshot_all()
        return (self.cell(cell_id) for cell_id in list(self._ids))

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of the notebook, as JSON: the same object until it changes. Read only."""
        if self._metadata is None:
            ymetadata = self._notebook._ymeta.get("metadata")
            self._metadata = {} if ymetadata is None else json.loads(str(ymetadata))
        return self._metadata

    def handle(self, cell_id: str) -> str:
        """What the cell is called; see `Handles.of`. Whatever a room has for an id, it is one word."""
        return _NO_ID.sub("_", self._names.of(cell_id))

    def matching(self, prefix: str) -> list[str]:
        """Ids with that prefix, among `known_ids`."""
        return self._names.matching(prefix)

    def place(self, cell_id: str) -> Place:
        """The neighbours of a cell."""
        at = self.index(cell_id)
        return (
            self._ids[at - 1] if at else None,
            self._ids[at + 1] if at + 1 < len(self._ids) else None,
        )

    def listen(self, listener: Callable[[], None]) -> None:
        """Call back, without arguments, after each change by anybody."""
        self._listeners.append(listener)

    # -- writing ------------------------------------------------------------------------------------------------

    def load(self, cells: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any]) -> None:
        """Fill an empty document; not journalled.

        Args:
            cells: nbformat 4.5 cells, each with an id of its own.
            metadata: Of the notebook.
        """
        with self.ydoc.transaction():
            self._notebook._ymeta["nbformat"] = 4
            self._notebook._ymeta["nbformat_minor"] = 5
            self._notebook._ymeta["metadata"] = Map(dict(metadata))
            for cell in reversed(cells):  # pycrdt looks for a place from the start: forwards is quadratic
                self._cells.insert(0, self._notebook.create_ycell(dict(cell)))

    def set_notebook_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Replace the metadata of the notebook; not journalled."""
        self._notebook._ymeta["metadata"] = Map(dict(metadata))
        self._changed()

    def new_id(self) -> str:
        """A fresh cell id; see `Handles.fresh`."""
        return self._names.fresh()

    def new_cell(self, cell_type: CellType, source: str, cell_id: str | None = None) -> dict[str, Any]:
        """An nbformat cell, not yet in the notebook."""
        cell: dict[str, Any] = {
            "id": cell_id or self.new_id(),
            "cell_type": cell_type,
            "source": clean(source),
            "metadata": {},
        }
        return cell | {"outputs": [], "execution_count": None} if cell_type == "code" else cell

    def insert(self, cell: Mapping[str, Any], *, place: Place = (None, None)) -> str:
        """Put a cell before `place[1]`, or else after `place[0]`, or else at the end; returns its id.

        Raises:
            ValueError: The id stands here already, or is not an nbformat cell id.
        """
        cell_id = cell["id"]
        if cell_id in self or not _VALID_ID.fullmatch(cell_id):
            raise ValueError(f"cell id {cell_id!r} is taken or not valid")
        at = self._position(place)
        neighbours = (
            self._ids[at - 1] if at else None,
            self._ids[at] if at < len(self._ids) else None,
        )
        self._record(Edit("cell", cell_id, None, dict(cell), place=neighbours))
        with self.ydoc.transaction():
            self._cells.insert(at, self._notebook.create_ycell(dict(cell)))
        return str(cell_id)

    def set_source(
        self, cell_id: str, source: str, *, expect: str | None = None, edits: Sequence[TextEdit] | None = None
    ) -> None:
        """Change a source by the smallest edits.

        Args:
            cell_id: Which cell.
            source: The new text.
            expect: The text that must stand there now; None if any may.
            edits: That make the new text of the old one, last one first; None for the smallest.

        Raises:
            KeyError: There is no such cell.
            CellChanged: Another text stands there.
        """
        old, source = self.source(cell_id), clean(source)
        if expect is not None and old != expect:
            raise CellChanged(f"Cell '{self.handle(cell_id)}' has changed.")
        if old == source:
            return
        self._record(Edit("source", cell_id, old, source))
        with self.ydoc.transaction():
            text: Text = self.ycell(cell_id)["source"]
            for edit in text_edits(old, source) if edits is None else edits:
                if edit.end > edit.start:
                    del text[edit.start : edit.end]
                if edit.text:
                    text.insert(edit.start, edit.text)

    def move(self, cell_id: str, *, place: Place) -> None:
        """Put a cell before `place[1]`, or else after `place[0]`, or else at the end.

        Raises:
            KeyError: There is no such cell.
        """
        old, raw = self.place(cell_id), self.snapshot(cell_id)
        others = [other for other in self._ids if other != cell_id]
        at = self._position(place, among=others)
        if at == self.index(cell_id):
            return
        new = (others[at - 1] if at else None, others[at] if at < len(others) else None)
        self._record(Edit("move", cell_id, old, new))
        with self.ydoc.transaction():
            del self._cells[self.index(cell_id)]
            self._cells.insert(at, self._notebook.create_ycell(raw))
            if raw.get("execution_state") == "running":
                self._cells[at]["execution_state"] = "running"

    def delete(self, cell_id: str) -> None:
        """Remove a cell.

        Raises:
            KeyError: There is no such cell.
        """
        self._record(Edit("cell", cell_id, self.snapshot(cell_id), None, place=self.place(cell_id)))
        with self.ydoc.transaction():
            del self._cells[self.index(cell_id)]

    def set_metadata(self, cell_id: str, key: str, value: Any) -> None:
        """Set one entry of a cell's metadata; None removes it.

        Raises:
            KeyError: There is no such cell.
        """
        old = self.snapshot(cell_id).get("metadata", {}).get(key)
        if old == value:
            return
        self._record(Edit("metadata", cell_id, old, value, key=key))
        with self.ydoc.transaction():
            metadata = self.ycell(cell_id)["metadata"]
            if value is not None:
                metadata[key] = value
            elif key in metadata:
                del metadata[key]

    # -- the sink for outputs -----------------------------------------------------------------------------------

    def begin_run(self, cell_id: str) -> None:
        """Clear the outputs of a cell and mark it as running; `end_run` journals the whole.

        Raises:
            KeyError: There is no such cell.
        """
        self.focus = cell_id
        with self.ydoc.transaction():
            ycell = self.ycell(cell_id)
            ycell["outputs"].clear()
            ycell["execution_count"] = None
            ycell["execution_state"] = "running"

    def write_outputs(self, cell_id: str, change: OutputChange) -> None:
        """Write what has come since the last write, the way JupyterLab's model follows.

        It appends outputs, extends the last stream, or starts over; a change inside an earlier output is not drawn.

        Raises:
            KeyError: There is no such cell.
        """
        with self.ydoc.transaction():
            youtputs: Array[Any] = self.ycell(cell_id)["outputs"]
            if change.rewritten or len(youtputs) != change.standing:
                youtputs.clear()
                youtputs.extend(_youtputs(change.everything))
                return
            if change.text:
                last: Text = youtputs[len(youtputs) - 1]["text"]
                last += change.text
            if change.added:
                youtputs.extend(_youtputs(change.added))

    def end_run(self, cell_id: str, execution_count: int | None, before: Mapping[str, Any]) -> None:
        """Mark a cell as no longer running, and journal what the run changed.

        Args:
            cell_id: Which cell.
            execution_count: The kernel's counter; None if the code never started.
            before: The cell's snapshot from before `begin_run`.

        Raises:
            KeyError: There is no such cell.
        """
        with self.ydoc.transaction():
            ycell = self.ycell(cell_id)
            ycell["execution_count"] = execution_count
            ycell["execution_state"] = "idle"
        self._record(Edit("outputs", cell_id, _outputs(before), _outputs(self.snapshot(cell_id))))

    def set_outputs(self, cell_id: str, outputs: Sequence[Output], execution_count: int | None) -> None:
        """Replace the outputs and the execution count of a code cell.

        Raises:
            KeyError: There is no such cell.
        """
        new = {"outputs": list(outputs), "execution_count": execution_count}
        self._record(Edit("outputs", cell_id, _outputs(self.snapshot(cell_id)), new))
        with self.ydoc.transaction():
            ycell = self.ycell(cell_id)
            ycell["outputs"].clear()
            ycell["outputs"].extend(_youtputs(outputs))
            ycell["execution_count"] = execution_count

    @contextmanager
    def unrecorded(self) -> Iterator[None]:
        """Changes inside are not journalled: they come from somewhere that keeps them already."""
        self._recording, before = False, self._recording
        try:
            yield
        finally:
            self._recording = before

    def take_replaced(self) -> dict[str, Mapping[str, Any]]:
        """Cells that were taken out and put back since the last call, as they were before: a move does that.

        Only cells whose snapshot had been read are known.
        """
        replaced, self._replaced = self._replaced, {}
        return replaced

    def mend(self, outdated: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] | None = None) -> None:
        """Make ids unique again: when two move a cell at the same time, it stands there twice.

        The first one stays, and every replica that mends finds the same. A later one that says the same goes; one that
        reads otherwise, since somebody has changed it, gets an id that follows from the old one.

        Args:
            outdated: Whether the second cell is the first one as it was before changes of ours; it goes as well.
        """
        if self._mended == self.order or self._mirror_of_ids is None:
            return
        self._mended = self.order
        if len(set(self._ids)) < len(self._ids):
            with self.ydoc.transaction():
                self._part(outdated)

    # -- inside -------------------------------------------------------------------------------------------------

    def _part(self, outdated: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] | None) -> None:
        firsts: dict[str, dict[str, Any]] = {}
        gone = []
        for position, raw in enumerate(json.loads(str(self._cells))):
            first = firsts.setdefault(raw["id"], raw)
            if first is raw:
                continue
            if _content(first) == _content(raw) or (outdated is not None and outdated(first, raw)):
                gone.append(position)
            else:
                self._cells[position]["id"] = raw["id"] = self._following(raw["id"], firsts)
                firsts[raw["id"]] = raw
        for position in reversed(gone):
            del self._cells[position]

    def _following(self, cell_id: str, taken: Mapping[str, Any]) -> str:
        for number in itertools.count():
            following = hashlib.sha256(f"{cell_id}/{number}".encode()).hexdigest()[:8]
            if following not in taken and following not in self._ids and not numeric(following):
                return following
        raise AssertionError("unreachable")

    def _attach(self, ydoc: Doc[Any]) -> None:
        self.ydoc = ydoc
        self._notebook = YNotebook(ydoc)
        # It pins every deleted output for ever: 20 runs of a 2 MB figure make a 40 MB document.
        self._notebook._undo_manager = None  # type: ignore[assignment]
        self._cells: Array[Any] = self._notebook.ycells
        self._attached = self.version

    def _watch(self) -> None:
        self._metadata = None
        self._subscription = self._cells.observe_deep(self._observe)
        self._meta_subscription = self._notebook._ymeta.observe_deep(self._forget_metadata)

    def _unwatch(self) -> None:
        self._cells.unobserve(self._subscription)
        self._notebook._ymeta.unobserve(self._meta_subscription)

    def _forget_metadata(self, events: Sequence[Any]) -> None:
        self._metadata = None

    def _forget_read(self) -> None:
        self._snapshots: dict[str, dict[str, Any]] = {}
        self._values: dict[str, tuple[Mapping[str, Any], Cell]] = {}
        self._replaced.clear()
        self._mirror_of_ids: list[str] | None = None

    @property
    def _ids(self) -> list[str]:
        """The mirror; made at the first look, since opening a long notebook should not wait for it."""
        if self._mirror_of_ids is None:
            raws = json.loads(str(self._cells))  # much faster than one by one
            self._mirror_of_ids = [raw["id"] for raw in raws]
            told = dict(self._snapshots)  # a store knows by them which cells are as it wrote them
            self._learn(self._mirror_of_ids)
            self._snapshots |= told
            self._cache(raws)
            self.mend()
        return self._mirror_of_ids

    @property
    def _names(self) -> Handles:
        _ = self._ids
        return self._handles

    def _cache(self, raws: Sequence[dict[str, Any]]) -> None:
        for raw in raws:
            self._snapshots.setdefault(raw["id"], raw)

    def _position(self, place: Place, among: Sequence[str] | None = None) -> int:
        ids = self._ids if among is None else among
        after, before = place
        if before is not None and before in ids:
            return ids.index(before)
        if after is not None and after in ids:
            return ids.index(after) + 1
        return 0 if place[0] is None and before is not None else len(ids)

    def _record(self, edit: Edit) -> None:
        if self._recording:
            self.journal.add(edit)
            self.focus = edit.cell_id

    def standing(self) -> dict[str, Mapping[str, Any]]:
        """The cells by id, in order, as they stand now; those that nobody has read are empty."""
        return {cell_id: self._snapshots.get(cell_id, {}) for cell_id in self._ids}

    def snapshot_all(self) -> None:
        """Read all cells at once, much faster than one by one."""
        self._cache(json.loads(str(self._cells)))

    def _observe(self, events: Sequence[Any]) -> None:
        """Keep the mirror of ids, and forget the snapshots of what changed. Events come outermost first."""
        before: dict[str, Mapping[str, Any]] = {}
        for event in events if self._mirror_of_ids is not None else ():
            path = event.path
            if path:
                cell_id = self._ids[path[0]]
                if (snapshot := self._snapshots.pop(cell_id, None)) is not None:
                    before[cell_id] = snapshot
                if path[1:] == ["source"] and isinstance(event, TextEvent) and self.follow is not None:
                    self.follow(cell_id, before.get(cell_id), event.delta)  # type: ignore[attr-defined]
                if len(path) == 1 and isinstance(event, MapEvent) and "id" in event.keys:  # type: ignore[attr-defined]
                    self._rename(path[0], event.target["id"])  # type: ignore[attr-defined]
            elif isinstance(event, ArrayEvent):
                self._mirror(event.delta)  # type: ignore[attr-defined]
        self._changed()

    def _rename(self, position: int, cell_id: str) -> None:
        """A cell got another id: we or the server found two with the same."""
        former, self._ids[position] = self._ids[position], cell_id
        self._unlearn([former])
        self._learn([cell_id])
        self.order += 1

    def _mirror(self, delta: Sequence[Mapping[str, Any]]) -> None:
        at = 0
        before: dict[str, Mapping[str, Any]] = {}
        come: list[str] = []
        gone: list[str] = []
        for step in delta:
            if "retain" in step:
                at += int(step["retain"])
            elif "delete" in step:
                out = self._ids[at : at + int(step["delete"])]
                before |= {each: self._snapshots[each] for each in out if each in self._snapshots}
                gone += out
                del self._ids[at : at + len(out)]
            else:
                new = [ycell["id"] for ycell in step["insert"]]
                before.update((each, self._snapshots[each]) for each in new if each in self._snapshots)
                self._ids[at:at] = new
                at += len(new)
                come += new
        self._unlearn(gone)
        self._learn(come)
        if self.follow is not None:  # whoever follows takes them
            self._replaced.update((each, before[each]) for each in come if each in before)
        self.order += 1

    def _learn(self, cell_ids: Sequence[str]) -> None:
        for cell_id in cell_ids:
            self._snapshots.pop(cell_id, None)
        self._handles.come(cell_ids)

    def _unlearn(self, cell_ids: Sequence[str]) -> None:
        for cell_id in cell_ids:
            self._snapshots.pop(cell_id, None)
        here = self._ids if len(cell_ids) < 16 else set(self._ids)
        gone = [cell_id for cell_id in cell_ids if cell_id not in here]  # two may have had the same
        for cell_id in gone:
            self._values.pop(cell_id, None)
        self._handles.go(gone)

    def _changed(self) -> None:
        self.version += 1
        for listener in self._listeners:
            listener()


def _cell(cell_id: str, raw: Mapping[str, Any]) -> Cell:
    """What others have for a type or a count, and nbformat has not, is none: both stand in lines of our own."""
    count, kind = raw.get("execution_count"), raw.get("cell_type")
    return Cell(
        id=cell_id,
        cell_type=kind if kind in _TYPES else "raw",
        source=raw["source"],
        execution_count=int(count) if isinstance(count, (int, float)) else None,
        outputs=raw.get("outputs") or (),
        metadata=raw.get("metadata") or {},
        running=raw.get("execution_state") == "running",
    )


def _content(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key != "execution_state"}


def _outputs(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "outputs": list(snapshot.get("outputs") or []),
        "execution_count": snapshot.get("execution_count"),
    }


def _youtputs(outputs: Sequence[Output]) -> list[Map[Any]]:
    return [
        Map({**output, "text": Text(output["text"])}) if output["output_type"] == "stream" else Map(dict(output))
        for output in outputs
    ]
