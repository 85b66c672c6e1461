"""Our edits, where a server puts the file that another program has written in the place of what its room had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pycrdt import Map

from langchain_jupyter.documents.filed import Filed
from langchain_jupyter.documents.journal import Edit
from langchain_jupyter.documents.notebook import METADATA_KEY, NotebookDocument
from langchain_jupyter.documents.rebase import EditKeeper

_PUT_BACK = 3  # a program that writes the file again and again is not written against for ever


class Overwrites:
    """Puts our edits back that the file may not have had, at most three times without a save between.

    Call `brace` before a message of others is applied, `state_changed` amid it, and `mend` after it.

    Args:
        document: Of the room.
        keeper: Of our edits in it.
        filed: How many of them the file has.
    """

    def __init__(self, document: NotebookDocument, keeper: EditKeeper, filed: Filed) -> None:
        self._document = document
        self._keeper = keeper
        self._filed = filed
        self._order: Sequence[str] = ()
        self._ordered = -1
        self._edits: Sequence[Edit] = ()
        self._stood: dict[str, Mapping[str, Any]] = {}
        self._overwritten = False
        self._times = 0
        self._lost: dict[str, Mapping[str, Any]] = {}

    def leave_a_mark(self, state: Map[Any]) -> None:
        """Have something in the room's state that goes with an overwrite; its hash comes with its first save only."""
        if METADATA_KEY not in state:
            state[METADATA_KEY] = True

    def brace(self) -> None:
        """Know how the cells stand whose edits the file may lack."""
        document = self._document
        self._overwritten = False
        self._edits = document.journal.since(self._filed.likely)
        edited = {edit.cell_id for edit in self._edits}
        self._stood = {cell_id: document.snapshot(cell_id) for cell_id in edited if cell_id in document}
        if edited and self._ordered != document.order:
            self._order, self._ordered = tuple(document.ids), document.order

    def state_changed(self, actions: Mapping[str, str]) -> bool:
        """Look at what became of the room's state: an overwrite takes everything out that is not the server's.

        Args:
            actions: pycrdt's, by key of the state.

        Returns:
            Whether the server has written the file: it puts the hash of the file there each time.
        """
        self._overwritten |= "delete" in (actions.get("hash"), actions.get(METADATA_KEY))
        saved = actions.get("hash", "delete") != "delete"
        if saved:
            self._times = 0
        return saved

    def mend(self, state: Map[Any]) -> None:
        """Put back what is gone, if that was an overwrite."""
        if not self._overwritten or not self._edits:
            return
        self._times += 1
        if self._times <= _PUT_BACK:
            before = {cell_id: self._stood.get(cell_id, {}) for cell_id in self._order}
            clashing = self._keeper.carry_over(self._edits, before)
        else:
            clashing = list({edit.cell_id: None for edit in self._edits})
            self._filed.give_up(len(self._document.journal))
        self._lost.update((cell_id, self._stood.get(cell_id, {})) for cell_id in clashing)
        self.leave_a_mark(state)

    def take_lost(self) -> Mapping[str, Mapping[str, Any]]:
        """Cells of ours that read otherwise now, as they were, since the last call; empty where one was gone before."""
        lost, self._lost = self._lost, {}
        return lost
