"""Displays of earlier cells, which a later run may update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.kernels.kernel import Message
from langchain_jupyter.outputs import clean, display_of
from langchain_jupyter.sessions.executions import Run

_KEPT = 10_000


class EarlierDisplays:
    """Where displays stand, by display id, and what they are to show; written when `write` is called.

    Those of the latest 10,000 display ids are known. Only the last of many updates is written: code that draws a bar
    anew a thousand times is to cost one edit.
    """

    def __init__(self, document: NotebookDocument) -> None:
        self._document = document
        self._places: dict[str, list[tuple[str, int]]] = {}
        self._waiting: dict[str, dict[int, Any]] = {}

    def learn(self, run: Run) -> None:
        """Remember the displays that a run has left in its cell."""
        if run.cell_id is not None:
            for display_id, positions in run.outputs.displays.items():
                self._places.pop(display_id, None)
                self._places[display_id] = [(run.cell_id, position) for position in positions]
            while len(self._places) > _KEPT:
                del self._places[next(iter(self._places))]

    def forget(self) -> None:
        """The kernel is another one; its display ids mean nothing any more."""
        self._places.clear()
        self._waiting.clear()

    def take(self, message: Message) -> None:
        """An update of a display, if it is one."""
        if message.msg_type != "update_display_data":
            return
        for cell_id, position in self._places.get(display_of(message.content) or "", ()):
            self._waiting.setdefault(cell_id, {})[position] = message.content["data"]

    def write(self) -> int:
        """Write what was updated into the cells that are still there; returns how many characters, about."""
        waiting, self._waiting = self._waiting, {}
        return sum(self._write(cell_id, changes) for cell_id, changes in waiting.items() if cell_id in self._document)

    def _write(self, cell_id: str, changes: Mapping[int, Any]) -> int:
        cell = self._document.cell(cell_id)
        outputs = [dict(output) for output in cell.outputs]
        for position, data in changes.items():
            if position < len(outputs) and "data" in outputs[position]:
                outputs[position]["data"] = clean(data)
        if outputs == list(cell.outputs):
            return 0
        self._document.set_outputs(cell_id, outputs, cell.execution_count)
        return sum(len(str(output)) for output in outputs)
