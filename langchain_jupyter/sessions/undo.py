"""Going back: what was done to a notebook since a moment is taken back, and what others did since stays.

Variables of the kernel never go back; whoever goes back is told what may be stale.
"""

from __future__ import annotations

import bisect
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import ReferenceType, ref

from langchain_jupyter.documents import journal
from langchain_jupyter.documents.journal import AUTHOR, Edit, Journal
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.errors import Busy, UsageError
from langchain_jupyter.rendering.fences import one_line
from langchain_jupyter.sessions.session import NotebookSession

_KEPT = 10_000
_UUID6 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-6[0-9a-f]{3}-.*")
_GREGORIAN = 0x01B21DD213814000  # ticks of 100 ns from 1582-10-15 to 1970


@dataclass(frozen=True, slots=True)
class Moment:
    """A place in the journal of an open notebook.

    Attributes:
        journal: Which one; a notebook that is opened again has another, and its old one is gone.
        edits: How many edits it had.
        runs: The number of the last run of code before it.
        results: How many answers of tools there had been.
    """

    journal: ReferenceType[Journal] = field(repr=False)
    edits: int
    runs: int
    results: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A moment to go back to, of one notebook or of all that are open; good until they are closed.

    Attributes:
        moments: By the path of the notebook.
    """

    moments: Mapping[str, Moment]


@dataclass(frozen=True, slots=True)
class Reverted:
    """What going back came to in one notebook.

    Attributes:
        notebook: Its path.
        restored: Handles of the cells that are again as they were, or gone again.
        kept: Handles of cells that were left as they are: somebody else has changed them since.
        stale: Handles of restored cells that ran since: their outputs are not those of the last run.
        ran: Whether code ran since, so that variables are not those that the notebook shows.
    """

    notebook: str
    restored: Sequence[str]
    kept: Sequence[str]
    stale: Sequence[str]
    ran: bool

    def __str__(self) -> str:
        cells = f"{len(self.restored)} {'cell' if len(self.restored) == 1 else 'cells'}"
        said = [f"{one_line(self.notebook)}: {cells} brought back to what they were."]
        if self.kept:
            said.append(f"Left alone, since somebody else has changed them: {', '.join(self.kept)}.")
        if self.ran:
            said.append("Code ran since, and the variables of the kernel did not go back.")
        if self.stale:
            said.append(f"Stale until run again: {', '.join(self.stale)}.")
        return " ".join(said)


class Undo:
    """The moments of the notebooks of a toolkit, and the way back to them. All methods belong to one event loop.

    They live as long as the toolkit. What was done before is not known, and who asks to go back there is told so.
    """

    def __init__(self) -> None:
        self._horizon = _checkpoint_id(time.time_ns())
        self._writes: dict[tuple[str, str], list[tuple[str, Moment]]] = {}

    def before_write(self, session: NotebookSession, thread: str, checkpoint_id: str) -> None:
        """A thread is about to write, in a step of its graph that begins at that checkpoint.

        LangGraph's checkpoint ids are in order of time, so a notebook was at a checkpoint what it was before the first
        write from a later one.
        """
        writes = self._writes.setdefault((session.store.path, thread), [])
        at = bisect.bisect_left(writes, checkpoint_id, key=_checkpoint_of)
        if at == len(writes) or writes[at][0] != checkpoint_id:
            writes.insert(at, (checkpoint_id, moment(session)))
        if len(writes) > _KEPT:
            self._forget(writes.pop(0))
        if len(self._writes) > _KEPT:
            self._forget(*self._writes.pop(next(iter(self._writes))))

    def at(self, sessions: Mapping[str, NotebookSession], thread: str, checkpoint_id: str) -> Mapping[str, Moment]:
        """What notebooks were at a checkpoint of a thread; as now, those in which the thread has not written since.

        Args:
            sessions: Those that are open, by their paths.
            thread: Of the graph.
            checkpoint_id: Of the thread.

        Raises:
            UsageError: The thread has written since in a notebook that was closed, or may have in an earlier process.
        """
        if _UUID6.fullmatch(checkpoint_id) and checkpoint_id < self._horizon:
            raise UsageError(
                "That checkpoint is older than this toolkit's memory: what was done from there on, in an earlier "
                "process or long ago, cannot be taken back, and nothing was changed. Go back to one that was made "
                "since; the first of them finds the notebook as this toolkit found it."
            )
        opened = {session.store.path for session in sessions.values()}
        closed = [path for path, by in self._writes if by == thread and path not in opened]
        if lost := [path for path in closed if self._later(path, thread, checkpoint_id)]:
            raise UsageError(f"Closed since that checkpoint, and what was done before is forgotten: {', '.join(lost)}.")
        return {path: self._of(session, thread, checkpoint_id) for path, session in sessions.items()}

    def _of(self, session: NotebookSession, thread: str, checkpoint_id: str) -> Moment:
        now = moment(session)
        later = self._later(session.store.path, thread, checkpoint_id)
        gone = (known for known in later if known.journal() is not session.document.journal)
        return next(gone, min(later, key=lambda known: known.edits, default=now))

    def _forget(self, *writes: tuple[str, Moment]) -> None:
        self._horizon = max(self._horizon, *map(_checkpoint_of, writes))

    def _later(self, path: str, thread: str, checkpoint_id: str) -> list[Moment]:
        writes = self._writes.get((path, thread), [])
        return [known for _, known in writes[bisect.bisect_left(writes, checkpoint_id, key=_checkpoint_of) :]]


def moment(session: NotebookSession) -> Moment:
    """This moment of a notebook."""
    edits = session.document.journal
    return Moment(ref(edits), len(edits), session.executions.begun, session.results.made)


def beginning(session: NotebookSession) -> Moment:
    """The moment at which a notebook was opened."""
    return Moment(ref(session.document.journal), 0, session.executions.first, 0)


def revert(session: NotebookSession, to: Moment, *, thread: str = "") -> Reverted:
    """Take back what was done to a notebook since a moment.

    The calls that did it are forgotten: if a graph makes them again, they are done again.

    Args:
        session: The notebook.
        to: A moment of it.
        thread: Only what this LangGraph thread did; "" for whatever went through this session.

    Raises:
        UsageError: The notebook was opened again since, or edited more than 10,000 times.
        Busy: A cell is running.
    """
    document = session.document
    if to.journal() is not document.journal:
        raise UsageError(f"{session.store.path} was opened again since that moment, and what came before is forgotten.")
    if document.journal.forgotten(to.edits):
        raise UsageError(f"{session.store.path} was edited too often since that moment: its first edits are forgotten.")
    if session.busy:
        raise Busy(f"A cell of {session.store.path} is running.", hint="Interrupt it, or wait for its end.")
    signed = document.journal.signed_since(to.edits, author=thread)
    done = [edit for edit, _ in signed]
    before = {edit.cell_id: _state(document, edit.cell_id) for edit in done}
    handles = {edit.cell_id: _handle(document, edit.cell_id) for edit in done}
    foreign = _foreign(document, done)
    for edit, author in reversed(signed):
        if edit.cell_id not in foreign:
            _take_back(document, edit, author)
    restored = [cell_id for cell_id, state in before.items() if _state(document, cell_id) != state]
    outputs = {edit.cell_id for edit in done if edit.op == "outputs"}
    reverted = Reverted(
        notebook=session.store.path,
        restored=[handles[cell_id] for cell_id in restored],
        kept=[handles[cell_id] for cell_id in handles if cell_id in foreign],
        stale=[handles[cell_id] for cell_id in restored if cell_id in outputs and cell_id in document],
        ran=session.executions.begun > to.runs,
    )
    family = f"{thread}/" if thread else ""
    session.executions.forget_since(to.runs, family)
    session.results.forget_since(to.results, family)
    if thread:
        session.sight(thread).forget(restored)
        session.tell(thread, f"The user went back to an earlier state. {reverted}")
    return reverted


def _take_back(document: NotebookDocument, edit: Edit, author: str) -> None:
    """Undo one edit, in the name of who made it: whoever goes back further finds the cell as its author left it."""
    token = AUTHOR.set(author)
    try:
        journal.apply(document, [edit.inverse()])
    finally:
        AUTHOR.reset(token)


def _checkpoint_id(nanoseconds: int) -> str:
    """The beginning of the ids that LangGraph gives to checkpoints from that time on; they are UUIDs of version 6."""
    ticks = nanoseconds // 100 + _GREGORIAN
    return f"{ticks >> 28:08x}-{ticks >> 12 & 0xFFFF:04x}-6{ticks & 0xFFF:03x}-"


def _checkpoint_of(write: tuple[str, Moment]) -> str:
    return write[0]


def _handle(document: NotebookDocument, cell_id: str) -> str:
    return document.handle(cell_id) if cell_id in document else cell_id[:4]


def _state(document: NotebookDocument, cell_id: str) -> Any:
    """A cell and its place, to be compared."""
    return (document.snapshot(cell_id), document.place(cell_id)) if cell_id in document else None


def _foreign(document: NotebookDocument, edits: Sequence[Edit]) -> set[str]:
    """The cells that do not stand as these edits have left them: somebody else was there since."""
    left: dict[tuple[str, str], Any] = {}
    for edit in edits:
        if edit.op == "cell":
            left = {at: value for at, value in left.items() if at[0] != edit.cell_id}
            left[edit.cell_id, "source"] = None if edit.new is None else edit.new["source"]
        elif edit.op in ("source", "outputs"):
            left[edit.cell_id, edit.op] = edit.new
    return {cell_id for (cell_id, what), value in left.items() if _changed(document, cell_id, what, value)}


def _changed(document: NotebookDocument, cell_id: str, what: str, left: Any) -> bool:
    if cell_id not in document:
        return False  # deleted by us, which is taken back, or by somebody else, who meant it
    snapshot = document.snapshot(cell_id)
    if what == "source":
        return bool(snapshot["source"] != left)
    return bool((snapshot.get("outputs") or []) != left["outputs"])
