"""A notebook as a shared document: cells by id, compare-and-set, minimal text edits, the sink for outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from jupyter_ydoc import YNotebook
from pycrdt import Array, Doc, Map, Text

from langchain_jupyter.documents.format import VALID_ID
from langchain_jupyter.documents.handles import Handles
from langchain_jupyter.documents.journal import Edit, Journal, Place, outputs_of
from langchain_jupyter.documents.mirror import CellMirror
from langchain_jupyter.documents.text import TextEdit, text_edits
from langchain_jupyter.errors import CellChanged
from langchain_jupyter.models import Cell, CellType, Output
from langchain_jupyter.outputs import OutputChange, clean

METADATA_KEY = "langchain_jupyter"
"""The entry of a cell's metadata that is ours: which tool call ran it, and how that ended."""

_WORN = 2_000
_WORN_EACH = 5
_NO_ID = re.compile(r"[^a-zA-Z0-9_-]")


class NotebookDocument:
    """One notebook as a CRDT, on one event loop.

    The nested shape is that of `jupyter_ydoc.YNotebook`, so any replica of it is understood:

        meta: Map(nbformat, nbformat_minor, metadata: Map)
        cells: Array[Map(id, cell_type, source: Text, metadata: Map, execution_state, execution_count,
                         outputs: Array[Map(output_type, ...; a stream's text: Text)], attachments)]

    Cells are resolved by id at each write: a move or a reload replaces their Map, and an old handle would write into
    nothing.

    Attributes:
        journal: What was changed through this object, with inverses. Changes that arrive from elsewhere are not in it.
        version: Goes up with each change by anybody.
        focus: Id of the cell that was last changed or run through this object; empty before.
    """

    def __init__(self, ydoc: Doc[Any] | None = None) -> None:
        self.journal = Journal()
        self.version = 0
        self.focus = ""
        self._recording = True
        self._listeners: list[Callable[[], None]] = []
        self._metadata: dict[str, Any] | None = None
        self._mirror = CellMirror(self._changed)
        self._attach(Doc() if ydoc is None else ydoc)
        self._watch()

    def continue_in(self, ydoc: Doc[Any]) -> None:
        """Go on in another replica of the notebook. What was changed in the old one alone is not in it."""
        self._unwatch()
        self._mirror.forget()
        self._attach(ydoc)
        self._watch()
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
        raws, metadata = [self.snapshot(cell_id) for cell_id in self.ids], self.metadata
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
        return self._mirror.ids

    @property
    def order(self) -> int:
        """Goes up whenever cells come, go or move."""
        return self._mirror.order

    @property
    def known_ids(self) -> Sequence[str]:
        """Ids of the cells that stand here, or stood here of late, sorted. Read only."""
        return self._names.known

    def __len__(self) -> int:
        return len(self._mirror)

    def __contains__(self, cell_id: object) -> bool:
        return cell_id in self._mirror

    def index(self, cell_id: str) -> int:
        """Position of a cell, from 0.

        Raises:
            KeyError: There is no such cell.
        """
        return self._mirror.index(cell_id)

    def source(self, cell_id: str) -> str:
        """Text of a cell.

        Raises:
            KeyError: There is no such cell.
        """
        source: str = self._mirror.snapshot(cell_id)["source"]
        return source

    def snapshot(self, cell_id: str) -> dict[str, Any]:
        """A cell as JSON (nbformat, and `execution_state`): the same object until the cell changes. Read only.

        Raises:
            KeyError: There is no such cell.
        """
        return self._mirror.snapshot(cell_id)

    def snapshot_all(self) -> None:
        """Read all cells at once, much faster than one by one."""
        self._mirror.read_all()

    def ycell(self, cell_id: str) -> Map[Any]:
        """A cell as it is shared; do not keep it.

        Raises:
            KeyError: There is no such cell.
        """
        return self._mirror.ycell(cell_id)

    def cell(self, cell_id: str) -> Cell:
        """A cell as a value: the same object until the cell changes.

        Raises:
            KeyError: There is no such cell.
        """
        return self._mirror.cell(cell_id)

    def cells(self) -> Iterator[Cell]:
        """The cells in order."""
        self._mirror.read_most()
        return (self.cell(cell_id) for cell_id in list(self.ids))

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
        at, ids = self.index(cell_id), self.ids
        return ids[at - 1] if at else None, ids[at + 1] if at + 1 < len(ids) else None

    def follow(self, follower: Callable[[str, Mapping[str, Any] | None, Sequence[Mapping[str, Any]]], None]) -> None:
        """Have somebody told amid each change of a source; see `CellMirror.follow`."""
        self._mirror.follow = follower

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
        if cell_id in self or not VALID_ID.fullmatch(cell_id):
            raise ValueError(f"cell id {cell_id!r} is taken or not valid")
        at = self._position(place)
        neighbours = (
            self.ids[at - 1] if at else None,
            self.ids[at] if at < len(self.ids) else None,
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
        others = [other for other in self.ids if other != cell_id]
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
        self._record(Edit("outputs", cell_id, outputs_of(before), outputs_of(self.snapshot(cell_id))))

    def set_outputs(self, cell_id: str, outputs: Sequence[Output], execution_count: int | None) -> None:
        """Replace the outputs and the execution count of a code cell.

        Raises:
            KeyError: There is no such cell.
        """
        new = {"outputs": list(outputs), "execution_count": execution_count}
        self._record(Edit("outputs", cell_id, outputs_of(self.snapshot(cell_id)), new))
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
        """Cells that were replaced since the last call, as they were; see `CellMirror.take_replaced`."""
        return self._mirror.take_replaced()

    def mend(self, outdated: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] | None = None) -> None:
        """Make ids unique again; see `CellMirror.mend`."""
        self._mirror.mend(outdated)

    # -- inside -------------------------------------------------------------------------------------------------

    def _attach(self, ydoc: Doc[Any]) -> None:
        self.ydoc = ydoc
        self._notebook = YNotebook(ydoc)
        # It pins every deleted output for ever: 20 runs of a 2 MB figure make a 40 MB document.
        self._notebook._undo_manager = None  # type: ignore[assignment]
        self._cells: Array[Any] = self._notebook.ycells
        self._attached = self.version

    def _watch(self) -> None:
        self._metadata = None
        self._mirror.watch(self.ydoc, self._cells)
        self._meta_subscription = self._notebook._ymeta.observe_deep(self._forget_metadata)

    def _unwatch(self) -> None:
        self._mirror.unwatch()
        self._notebook._ymeta.unobserve(self._meta_subscription)

    def _forget_metadata(self, events: Sequence[Any]) -> None:
        self._metadata = None

    @property
    def _names(self) -> Handles:
        _ = self.ids
        return self._mirror.handles

    def _position(self, place: Place, among: Sequence[str] | None = None) -> int:
        ids = self.ids if among is None else among
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

    def _changed(self) -> None:
        self.version += 1
        for listener in self._listeners:
            listener()


def _youtputs(outputs: Sequence[Output]) -> list[Map[Any]]:
    return [
        Map({**output, "text": Text(output["text"])}) if output["output_type"] == "stream" else Map(dict(output))
        for output in outputs
    ]
