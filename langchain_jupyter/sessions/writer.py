"""Outputs on their way from a run into the document."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from langchain_jupyter.documents.notebook import METADATA_KEY, NotebookDocument
from langchain_jupyter.errors import NotKept
from langchain_jupyter.sessions import marks
from langchain_jupyter.sessions.displays import EarlierDisplays
from langchain_jupyter.sessions.executions import Run
from langchain_jupyter.sessions.marks import mark_of

_FLUSH_INTERVAL = 0.05
_PACE = 1_000_000
_DRAWN = 250_000
_LAST_WORDS = 40


class OutputWriter:
    """Carries the outputs of one run into the document: every 50 ms, more seldom if they are large, and at its end.

    Other people have the same document, and get every change: a million characters a second at most, on average. Their
    pages draw a stream anew as often as it grows, so the longer it is, the more seldom that is.

    Args:
        document: Where its cell is.
        run: The run.
        displays: Of earlier cells, which it may update.
    """

    def __init__(self, document: NotebookDocument, run: Run, displays: EarlierDisplays) -> None:
        self._document = document
        self._run = run
        self._displays = displays
        self._not_before = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._listening = False
        self._before: Mapping[str, Any] = {}

    def begin(self) -> None:
        """Clear what the cell showed."""
        if self._cell_id:
            self._before = self._document.snapshot(self._cell_id)
            self._document.begin_run(self._cell_id)

    def go_on(self) -> None:
        """Add to what the cell shows: an earlier process has begun it."""
        if self._cell_id:
            self._before = self._document.snapshot(self._cell_id)
            self._run.outputs.begin_with(self._before.get("outputs") or [])

    def listen(self) -> None:
        """As `go_on`, but write nothing before the end: the process that has begun it may be there, and write."""
        self.go_on()
        self._listening = True

    async def told(self) -> Mapping[str, Any]:
        """What the process that has begun it has written of the end; empty if it is gone, and if it was not ours."""
        looks = _LAST_WORDS if self._listening else 0
        for _ in range(looks):
            if not self._cell_id:
                break
            mark = mark_of(self._document.cell(self._cell_id))
            if mark.get("status") != "running":
                return mark
            await asyncio.sleep(_FLUSH_INTERVAL)
        return {}

    def soon(self) -> None:
        """Something came; it is written when it is time."""
        if self._timer is None and not self._listening:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time() + _FLUSH_INTERVAL, self._not_before), self._flush)

    def end(self, key: str, source: str) -> None:
        """Write the rest, and journal the whole.

        Args:
            key: Marks which tool call it was; empty for none.
            source: What ran.
        """
        self._run.outputs.finish()
        cell_id = self._cell_id
        if self._listening and cell_id:
            self._document.set_outputs(cell_id, self._run.outputs.items(), self._run.execution_count)
        else:
            self._flush()
        for listener in self._run.listeners:
            listener(self._run, None)
        if not cell_id:
            return
        try:
            self._document.end_run(cell_id, self._run.execution_count, self._before)
            if key:
                outputs = self._document.cell(cell_id).outputs
                mark = marks.ended(key, self._run.ref, self._run.status, source, outputs)
                self._document.set_metadata(cell_id, METADATA_KEY, mark)
        except NotKept as error:
            self._run.note = f"The outputs are not kept on disk yet: {error.message}"

    @property
    def _cell_id(self) -> str:
        """Empty for scratch code, and when somebody has deleted the cell meanwhile."""
        cell_id = self._run.cell_id
        return cell_id if cell_id is not None and cell_id in self._document else ""

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        written, redrawn, change = self._displays.write(), 0, self._run.outputs.take()
        if change is not None:
            if self._cell_id:
                self._document.write_outputs(self._cell_id, change)
                written, redrawn = written + change.size, change.redrawn
            for listener in self._run.listeners:
                listener(self._run, change)
        self._not_before = asyncio.get_running_loop().time() + pause(written, redrawn)


def pause(written: int, redrawn: int) -> float:
    """Seconds that people's pages are left alone.

    JupyterLab's takes half a second for a million characters of a stream, and does nothing else meanwhile.

    Args:
        written: Characters that they were sent.
        redrawn: Characters that they draw anew.
    """
    return max(written / _PACE, redrawn / _DRAWN)
