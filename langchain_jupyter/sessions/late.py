"""What code puts out after its run has ended: of threads and tasks that it has left running."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field

from langchain_jupyter.documents.journal import AUTHOR
from langchain_jupyter.documents.notebook import METADATA_KEY, NotebookDocument
from langchain_jupyter.errors import NotKept
from langchain_jupyter.kernels.kernel import Message
from langchain_jupyter.sessions import marks
from langchain_jupyter.sessions.displays import EarlierDisplays
from langchain_jupyter.sessions.executions import INVALID, Executions, Run
from langchain_jupyter.sessions.writer import pause

logger = logging.getLogger(__name__)

_INTERVAL = 0.25
_RUNS = 200
_NEWS = 50
_TAKEN = frozenset(
    {
        *("stream", "display_data", "execute_result", "update_display_data", "error", "clear_output"),
        *("comm_open", "comm_msg"),
    }
)
_MORE = "{what} has put out more since it ended, by code that it left running: {how} shows it."
_LESS = "{what} has put out more since it ended, by code that it left running. {why}"
_GONE = "It is left out: the cell shows something else by now, or what the run put out is not kept any more."
_NOT_KEPT = "It is in the notebook, but not kept on disk yet."


@dataclass(slots=True)
class _Followed:
    """A run whose output may go on.

    Attributes:
        run: The run.
        source: What ran.
        author: Who ran it.
        told: What callers were told of it already.
    """

    run: Run
    source: str
    author: str
    told: set[str] = field(default_factory=set)


class LateOutputs:
    """Carries it into the cell that it belongs to, as JupyterLab does, while that shows what its run has left there.

    Of the latest 200 runs. Less often than while a cell runs: each time the whole is journalled.

    Args:
        document: Where the cells are.
        executions: The runs.
        displays: Of earlier cells, which it may update.

    Attributes:
        count: How many things there have been to tell; `since` has them.
    """

    def __init__(self, document: NotebookDocument, executions: Executions, displays: EarlierDisplays) -> None:
        self.count = 0
        self._document = document
        self._executions = executions
        self._displays = displays
        self._news: deque[str] = deque(maxlen=_NEWS)
        self._followed: dict[str, _Followed] = {}
        self._latest: _Followed | None = None
        self._grown: dict[str, _Followed] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0

    def follow(self, run: Run, source: str, parent: str) -> None:
        """What has that parent is the run's."""
        if not parent or parent in self._followed:
            return
        self._latest = self._followed[parent] = _Followed(run, source, AUTHOR.get())
        while len(self._followed) > _RUNS:
            del self._followed[next(iter(self._followed))]

    def forget(self) -> None:
        """The kernel is another one; nothing more comes of what ran."""
        self.flush()
        self._followed.clear()
        self._latest = None

    def take(self, message: Message) -> None:
        """A message of a request that is over; one that was no run is of the code that ran last."""
        followed = self._followed.get(message.parent, self._latest)
        if followed is None or message.msg_type not in _TAKEN:
            return
        try:
            if not followed.run.outputs.feed(message.msg_type, message.content):
                self._displays.take(message)
        except INVALID as error:
            logger.warning("left out a late %r of the kernel that is not valid: %r", message.msg_type, error)
            return
        self._grown[followed.run.ref] = followed
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time() + _INTERVAL, self._not_before), self.flush)

    def since(self, count: int) -> str:
        """What there was to tell after the first so many."""
        new = min(self.count - count, len(self._news))
        return " ".join(list(self._news)[-new:]) if new > 0 else ""

    def flush(self) -> None:
        """Write what has come into the cells."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        grown, self._grown = self._grown, {}
        written, redrawn = self._write_displays(), 0
        for followed in grown.values():
            if followed.run.ended.is_set():  # or its own writer writes it
                sent, drawn = self._write(followed)
                written, redrawn = written + sent, redrawn + drawn
        self._not_before = asyncio.get_running_loop().time() + pause(written, redrawn)

    # -- inside -------------------------------------------------------------------------------------------------

    def _write_displays(self) -> int:
        try:
            return self._displays.write()
        except NotKept as error:
            logger.warning("an update of a display is left out: %s", error)
            return 0

    def _write(self, followed: _Followed) -> tuple[int, int]:
        """Put what came of a run into its cell; returns about how many characters that took, and has pages draw."""
        run = followed.run
        run.outputs.look_again()
        change = run.outputs.take()
        if change is None or run.outputs.left_out:
            self._tell(followed, _LESS, why=run.outputs.left_out)
        if change is None:
            return 0, 0
        self._executions.grown(change.size)
        if run.cell_id is None:
            self._tell(followed, _MORE, how=f'wait_for_execution("{run.ref}")')
            return 0, 0
        if not self._stands(run, change.standing):
            self._tell(followed, _LESS, why=_GONE)
            return 0, 0
        focus, author = self._document.focus, AUTHOR.set(followed.author)
        try:
            before = self._document.snapshot(run.cell_id)
            self._document.write_outputs(run.cell_id, change)
            self._document.end_run(run.cell_id, run.execution_count, before)
            self._mark(followed, run.cell_id)
            self._displays.learn(run)
            self._tell(followed, _MORE, how="read_cell")
        except NotKept as error:
            logger.warning("%s", error)
            self._tell(followed, _LESS, why=_NOT_KEPT)
        finally:
            AUTHOR.reset(author)
            self._document.focus = focus
        return run.outputs.size, change.redrawn

    def _stands(self, run: Run, standing: int) -> bool:
        """Whether the cell shows what the run has left there, as far as known."""
        if run.cell_id not in self._document:
            return False
        cell = self._document.cell(str(run.cell_id))
        return not cell.running and cell.execution_count == run.execution_count and len(cell.outputs) == standing

    def _mark(self, followed: _Followed, cell_id: str) -> None:
        """Let the mark of the run tell of its outputs as they are now."""
        cell, run = self._document.cell(cell_id), followed.run
        mark = marks.mark_of(cell)
        if mark.get("execution") == run.ref:
            new = marks.ended(str(mark["key"]), run.ref, run.status, followed.source, cell.outputs)
            self._document.set_metadata(cell_id, METADATA_KEY, new)

    def _tell(self, followed: _Followed, text: str, **how: str) -> None:
        if text in followed.told or not any(how.values()):
            return
        followed.told.add(text)
        cell_id = followed.run.cell_id
        handle = self._document.handle(cell_id) if cell_id is not None and cell_id in self._document else ""
        what = f"Scratch code {followed.run.ref}" if cell_id is None else f"Cell '{handle}'"
        self._news.append(text.format(what=what if handle or cell_id is None else "A cell that was deleted", **how))
        self.count += 1
