"""What stands in a shared notebook, cell by cell, kept up to date by what pycrdt tells of each change."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pycrdt import Array, ArrayEvent, Doc, Map, MapEvent, TextEvent

from langchain_jupyter.documents.handles import Handles, numeric
from langchain_jupyter.models import Cell, CellType

_TYPES: tuple[CellType, ...] = ("code", "markdown", "raw")


class CellMirror:
    """The ids of the cells in their order, and each cell as JSON, from when it is read until it changes.

    To find a cell in a pycrdt Array takes a time that grows with its position, and to read one is slow.

    Args:
        changed: Called after each change by anybody.

    Attributes:
        order: Goes up whenever cells come, go or move.
        handles: What the cells are called; only after `ids` was looked at.
        follow: Called amid each change of a source, by anybody: the cell's id, the cell before it where that had been
            read, and pycrdt's delta. It must not change or read the document.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.order = 0
        self.handles = Handles()
        self.follow: Callable[[str, Mapping[str, Any] | None, Sequence[Mapping[str, Any]]], None] | None = None
        self._changed = changed
        self._members: tuple[int, frozenset[str]] = (-1, frozenset())
        self._found: tuple[int, str, int] = (-1, "", -1)
        self._mended = -1
        self._replaced: dict[str, Mapping[str, Any]] = {}
        self.forget()

    def forget(self) -> None:
        """Read everything anew: another replica takes the place of this one."""
        self._snapshots: dict[str, dict[str, Any]] = {}
        self._values: dict[str, tuple[Mapping[str, Any], Cell]] = {}
        self._replaced.clear()
        self._ids: list[str] | None = None
        self.order += 1

    def watch(self, ydoc: Doc[Any], ycells: Array[Any]) -> None:
        """Follow the cells of a replica; what is known of them stays known."""
        self._ydoc, self._ycells = ydoc, ycells
        self._subscription = ycells.observe_deep(self._observe)

    def unwatch(self) -> None:
        """Follow them no longer."""
        self._ycells.unobserve(self._subscription)

    # -- ids ----------------------------------------------------------------------------------------------------

    @property
    def ids(self) -> list[str]:
        """Ids of the cells in order, read at the first look: opening does not wait for it. Read only."""
        if self._ids is None:
            raws = json.loads(str(self._ycells))  # much faster than one by one
            self._ids = [raw["id"] for raw in raws]
            told = dict(self._snapshots)  # a store knows by them which cells are as it wrote them
            self._learn(self._ids)
            self._snapshots |= told
            self._cache(raws)
            self.mend()
        return self._ids

    def __len__(self) -> int:
        return len(self._ycells if self._ids is None else self._ids)  # to read all ids takes a while

    def __contains__(self, cell_id: object) -> bool:
        if self._members[0] != self.order:
            self._members = (self.order, frozenset(self.ids))
        return cell_id in self._members[1]

    def index(self, cell_id: str) -> int:
        """Position of a cell, from 0.

        Raises:
            KeyError: There is no such cell.
        """
        if self._found[:2] != (self.order, cell_id):
            try:
                self._found = self.order, cell_id, self.ids.index(cell_id)
            except ValueError:
                raise KeyError(cell_id) from None
        return self._found[2]

    # -- cells --------------------------------------------------------------------------------------------------

    def ycell(self, cell_id: str) -> Map[Any]:
        """A cell as it is shared; do not keep it.

        Raises:
            KeyError: There is no such cell.
        """
        ycell: Map[Any] = self._ycells[self.index(cell_id)]
        return ycell

    def snapshot(self, cell_id: str) -> dict[str, Any]:
        """A cell as JSON (nbformat, and `execution_state`): the same object until the cell changes. Read only.

        Raises:
            KeyError: There is no such cell.
        """
        cached = self._snapshots.get(cell_id)
        if cached is None:
            cached = self._snapshots[cell_id] = json.loads(str(self.ycell(cell_id)))
        return cached

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

    def read_all(self) -> None:
        """Read all cells that are not known, at once: much faster than one by one."""
        self._cache(json.loads(str(self._ycells)))

    def read_most(self) -> None:
        """The same, where half of them or more are not known."""
        if len(self._snapshots) < len(self.ids) // 2:
            self.read_all()

    def take_replaced(self) -> dict[str, Mapping[str, Any]]:
        """Cells that were taken out and put back since the last call, as they were before: a move does that.

        Only cells whose snapshot had been read are known, and none while nobody follows.
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
        if self._mended == self.order or self._ids is None:
            return
        self._mended = self.order
        if len(set(self._ids)) < len(self._ids):
            with self._ydoc.transaction():
                self._part(outdated)

    # -- inside -------------------------------------------------------------------------------------------------

    def _part(self, outdated: Callable[[Mapping[str, Any], Mapping[str, Any]], bool] | None) -> None:
        firsts: dict[str, dict[str, Any]] = {}
        gone = []
        for position, raw in enumerate(json.loads(str(self._ycells))):
            first = firsts.setdefault(raw["id"], raw)
            if first is raw:
                continue
            if _content(first) == _content(raw) or (outdated is not None and outdated(first, raw)):
                gone.append(position)
            else:
                self._ycells[position]["id"] = raw["id"] = self._following(raw["id"], firsts)
                firsts[raw["id"]] = raw
        for position in reversed(gone):
            del self._ycells[position]

    def _following(self, cell_id: str, taken: Mapping[str, Any]) -> str:
        for number in itertools.count():
            following = hashlib.sha256(f"{cell_id}/{number}".encode()).hexdigest()[:8]
            if following not in taken and following not in self.ids and not numeric(following):
                return following
        raise AssertionError("unreachable")

    def _cache(self, raws: Sequence[dict[str, Any]]) -> None:
        for raw in raws:
            self._snapshots.setdefault(raw["id"], raw)

    def _observe(self, events: Sequence[Any]) -> None:
        """Keep the ids, and forget the snapshots of what changed. Events come outermost first."""
        before: dict[str, Mapping[str, Any]] = {}
        for event in events if self._ids is not None else ():
            path = event.path
            if path:
                cell_id = self.ids[path[0]]
                if (snapshot := self._snapshots.pop(cell_id, None)) is not None:
                    before[cell_id] = snapshot
                if path[1:] == ["source"] and isinstance(event, TextEvent) and self.follow is not None:
                    self.follow(cell_id, before.get(cell_id), event.delta)  # type: ignore[attr-defined]
                if len(path) == 1 and isinstance(event, MapEvent) and "id" in event.keys:  # type: ignore[attr-defined]
                    self._rename(path[0], event.target["id"])  # type: ignore[attr-defined]
            elif isinstance(event, ArrayEvent):
                self._shift(event.delta)  # type: ignore[attr-defined]
        self._changed()

    def _rename(self, position: int, cell_id: str) -> None:
        """A cell got another id: we or the server found two with the same."""
        former, self.ids[position] = self.ids[position], cell_id
        self._unlearn([former])
        self._learn([cell_id])
        self.order += 1

    def _shift(self, delta: Sequence[Mapping[str, Any]]) -> None:
        """Cells came, or went."""
        at = 0
        ids = self.ids
        before: dict[str, Mapping[str, Any]] = {}
        come: list[str] = []
        gone: list[str] = []
        for step in delta:
            if "retain" in step:
                at += int(step["retain"])
            elif "delete" in step:
                out = ids[at : at + int(step["delete"])]
                before |= {each: self._snapshots[each] for each in out if each in self._snapshots}
                gone += out
                del ids[at : at + len(out)]
            else:
                new = [ycell["id"] for ycell in step["insert"]]
                before.update((each, self._snapshots[each]) for each in new if each in self._snapshots)
                ids[at:at] = new
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
        self.handles.come(cell_ids)

    def _unlearn(self, cell_ids: Sequence[str]) -> None:
        for cell_id in cell_ids:
            self._snapshots.pop(cell_id, None)
        here = self.ids if len(cell_ids) < 16 else set(self.ids)
        gone = [cell_id for cell_id in cell_ids if cell_id not in here]  # two may have had the same
        for cell_id in gone:
            self._values.pop(cell_id, None)
        self.handles.go(gone)


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
