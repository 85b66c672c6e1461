"""Runs of many cells in a row: all of them, those above or below a cell, the stale ones; with a new kernel or not."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias, get_args

from langchain_jupyter.analysis.comparison import differences
from langchain_jupyter.errors import Busy, CellChanged, InvalidArgument, ToolError
from langchain_jupyter.models import BatchState, Cell, CellOutcome, Execution, Output, Scope, Status
from langchain_jupyter.outputs import size_of
from langchain_jupyter.sessions.executions import Listener, Run

if TYPE_CHECKING:
    from langchain_jupyter.sessions.session import NotebookSession

Progress: TypeAlias = Callable[[BatchState], None]
"""Told after each cell; runs on the toolkit's loop."""

SKIPPED = ("agent:skip", "skip-execution")
"""Tags of cells that only people run; the second is nbclient's."""

MAY_FAIL = "raises-exception"
"""Tag of cells after whose errors the others go on, as with nbclient."""

_KEPT = 50
_OUTPUTS = 50_000_000
_FOREVER = 1e9
_AT_ONCE = 1e-3


class Batch:
    """One run of many cells; it goes on in a task of its own until the first error.

    Args:
        ref: Reference for wait_for_execution.
        session: Whose cells.
        cell_ids: Which ones, in order.
        caller: Who asked.
        key: Of the tool call; empty if it has none.
        restart: Whether the kernel starts anew first, and outputs are compared with those before.
    """

    def __init__(
        self,
        ref: str,
        session: NotebookSession,
        cell_ids: Sequence[str],
        *,
        caller: str,
        key: str,
        restart: bool,
        ask: bool | None = None,
        listener: Listener | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.ref = ref
        self._session = session
        self._left = list(cell_ids)
        self._caller = caller
        self._key = key
        self._restart = restart
        self._ask = ask
        self._asked = asyncio.Event()
        self._answered = asyncio.Event()
        self._listener = listener
        self._progress = progress
        self._outcomes: list[CellOutcome] = []
        self._before: dict[str, Sequence[Output]] = {}
        self._status: Status = "running"
        self._note = ""
        self._started = time.monotonic()
        self._ended: float | None = None
        self._watched = 0
        self._over = asyncio.Event()
        self._left_alone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> BatchState:
        """What it has come to so far."""
        run = self._session.executions.current if self._ended is None else None
        current = run.snapshot() if run is not None and run.cell_id in self._left[:1] else None
        return BatchState(
            ref=self.ref,
            status="input" if current is not None and current.status == "input" else self._status,
            outcomes=tuple(self._outcomes),
            current=current,
            left=tuple(self._left[1:] if current is not None else self._left),
            duration=(self._ended or time.monotonic()) - self._started,
            restarted=self._restart,
            note=self._note,
        )

    def start(self) -> None:
        """Begin; the cells run one after another from now on."""
        self._task = asyncio.create_task(self._run())

    def answered(self) -> None:
        """What a cell has asked for was given to it."""
        self._asked.clear()
        self._answered.set()

    def stop(self) -> None:
        """Run no further cell."""
        if not self._over.is_set() and self._status == "running":
            self._status = "interrupted"

    async def give_way(self) -> None:
        """Wait for the end while somebody does; the cells of this run itself go on at once.

        Raises:
            Busy: It was left running.
        """
        if self._over.is_set() or asyncio.current_task() is self._task:
            return
        ends = [asyncio.ensure_future(event.wait()) for event in (self._over, self._left_alone)]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        self.check_over()

    def check_over(self) -> None:
        """Refuse while cells of it are to come.

        Raises:
            Busy: Saying how far it is.
        """
        if not self._over.is_set():
            raise Busy(
                f"run_cells has done {len(self._outcomes)} cells, and {len(self._left)} are to come.",
                hint=f'wait_for_execution("{self.ref}") or interrupt_kernel() first. Reading and editing go on.',
            )

    async def wait(self, timeout: float) -> BatchState:
        """Wait for the end, at most so many seconds; it goes on in any case.

        Raises:
            KernelUnavailable: The kernel does not start.
        """
        if self._task is None:
            return self.state
        self._watched += 1
        self._left_alone.clear()
        try:
            asked = asyncio.ensure_future(self._asked.wait())
            await asyncio.wait({self._task, asked}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
        finally:
            self._watched -= 1
            self._leave()
        if self._task.done():
            self._task.result()
        return self.state

    @property
    def size(self) -> int:
        """Characters of the outputs that it holds."""
        return sum(size_of(each.execution.outputs) for each in self._outcomes if each.execution is not None)

    def forget_outputs(self) -> None:
        """Keep no more of the cells than how they ended."""
        self._outcomes = [
            each if each.execution is None else replace(each, execution=replace(each.execution, outputs=()))
            for each in self._outcomes
        ]

    def recall(self, past: Mapping[str, Execution]) -> None:
        """Be the run that an earlier process has begun and not brought to its end; nothing runs again."""
        self._outcomes = [CellOutcome(cell_id, past[cell_id]) for cell_id in self._left if cell_id in past]
        self._left = [cell_id for cell_id in self._left if cell_id not in past]
        last = list(past.values())[-1]
        self._status = "died" if self._left and last.status == "ok" else last.status
        self._note = "These cells ran before this process started and were not run again."
        self._end()

    # -- inside -------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            if self._restart:
                self._before = {cell_id: self._session.document.cell(cell_id).outputs for cell_id in self._left}
                await self._session.restart()
                self._session.news(self._caller)
            while self._left and self._status == "running":
                self._take(await self._one(self._left[0]))
            if self._status == "running":
                self._status = "ok"
        except ToolError as error:
            self._status, self._note = "interrupted", str(error)
        finally:
            if self._status == "running":
                self._status, self._note = "interrupted", "It was ended before its end."
            self._end()

    def _end(self) -> None:
        self._ended = time.monotonic()
        self._before = {}
        self._listener = self._progress = None  # each holds a call, with the whole state of its graph
        self._over.set()

    async def _one(self, cell_id: str) -> CellOutcome:
        """Run a cell, or say why not."""
        if cell_id not in self._session.document:
            return CellOutcome(cell_id, None, "deleted meanwhile")
        if excuse := skipped(self._session.document.cell(cell_id)):
            return CellOutcome(cell_id, None, excuse)
        key = f"{self._key}/{cell_id}" if self._key else ""
        patience = _FOREVER if self._watched else _AT_ONCE
        try:
            execution = await self._session.run_cell(
                cell_id, caller=self._caller, key=key, timeout=patience, ask=self._ask, listener=self._listener
            )
        except CellChanged as error:
            self._status, self._note = "interrupted", str(error)
            return CellOutcome(cell_id, None, "not run: somebody else changed it")
        if not execution.finished:
            run = self._session.executions.find(execution.ref)
            execution = await self._to_its_end(run)
        return CellOutcome(cell_id, execution, self._difference(cell_id, execution))

    async def _to_its_end(self, run: Run) -> Execution:
        while not run.ended.is_set():
            await run.settled.wait()
            if run.ended.is_set():
                break
            self._asked.set()
            goes_on = [asyncio.ensure_future(event.wait()) for event in (self._answered, run.ended)]
            await asyncio.wait(goes_on, return_when=asyncio.FIRST_COMPLETED)
            for each in goes_on:
                each.cancel()
            self._asked.clear()
            self._answered.clear()
        return run.snapshot()

    def _take(self, outcome: CellOutcome) -> None:
        self._left.pop(0)
        self._outcomes.append(outcome)
        execution = outcome.execution
        if execution is not None and execution.status != "ok" and not self._may_fail(outcome):
            self._status = execution.status
        if self._progress is not None:
            self._progress(self.state)

    def _may_fail(self, outcome: CellOutcome) -> bool:
        if outcome.execution is None or outcome.execution.status != "error":
            return False
        document = self._session.document
        return outcome.cell_id in document and MAY_FAIL in tags_of(document.cell(outcome.cell_id))

    def _difference(self, cell_id: str, execution: Execution) -> str:
        before = self._before.get(cell_id)
        return differences(before, execution.outputs) if before else ""

    def _leave(self) -> None:
        """Nobody waits any more: others are told that the kernel is busy instead of queueing."""
        if self._watched or self._over.is_set():
            return
        self._left_alone.set()
        if self._session.executions.current is not None:
            self._session.executions.unattended.set()


class Batches:
    """The runs of many cells of one session, by reference and by key.

    The latest 50 are kept; and of the outputs of those that are over, the latest 50,000,000 characters.
    """

    def __init__(self, session: NotebookSession) -> None:
        self._session = session
        self._kept: dict[str, Batch] = {}
        self._keys: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._latest: Batch | None = None

    async def give_way(self) -> None:
        """Let a run of many cells come to its end first.

        Raises:
            Busy: It was left running.
        """
        if self._latest is not None:
            await self._latest.give_way()

    def stop(self) -> None:
        """Run no further cell of the run that is under way, if there is one."""
        if self._latest is not None:
            self._latest.stop()

    def find(self, ref: str) -> Batch | None:
        """The run with that reference."""
        return self._kept.get(ref.strip())

    def begin(
        self,
        cell_ids: Sequence[str],
        *,
        caller: str,
        key: str = "",
        restart: bool = False,
        ask: bool | None = None,
        listener: Listener | None = None,
        progress: Progress | None = None,
    ) -> Batch:
        """Start a run of these cells; the same key again finds the one that it has started.

        Raises:
            Busy: A cell runs already.
            CellChanged: Somebody else changed one of the cells since this caller saw it.
        """
        if (known := self._kept.get(self._keys.get(key, ""))) is not None:
            return known
        ref = f"r{next(self._numbers)}"
        batch = Batch(
            ref,
            self._session,
            cell_ids,
            caller=caller,
            key=key,
            restart=restart,
            ask=ask,
            listener=listener,
            progress=progress,
        )
        if past := self._session.past({cell_id: f"{key}/{cell_id}" for cell_id in cell_ids}) if key else {}:
            batch.recall(past)
        else:
            if self._latest is not None:
                self._latest.check_over()
            self._session.check_idle()
            for cell_id in cell_ids:
                self._session.sight(caller).check(self._session.document, cell_id)
            batch.start()
            self._latest = batch
        self._keep(batch, key)
        return batch

    def _keep(self, batch: Batch, key: str) -> None:
        size = 0
        for earlier in reversed(self._kept.values()):
            size += earlier.size
            if size > _OUTPUTS:
                earlier.forget_outputs()
        self._kept[batch.ref] = batch
        if key:
            self._keys[key] = batch.ref
        while len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
            self._keys = {key: ref for key, ref in self._keys.items() if ref in self._kept}


def tags_of(cell: Cell) -> Sequence[str]:
    """The tags that people have given a cell."""
    tags = cell.metadata.get("tags")
    return [str(tag) for tag in tags] if isinstance(tags, list) else []


def skipped(cell: Cell) -> str:
    """Why a cell has no turn in a run of many; empty if it has."""
    tag = next((tag for tag in tags_of(cell) if tag in SKIPPED), "")
    return f"skipped: tagged {tag}" if tag else ""


def cells_of(session: NotebookSession, scope: str, cell_id: str, *, restart: bool) -> list[str]:
    """The cells that a run of many is to run, in order.

    Args:
        session: Whose cells.
        scope: See `Scope`.
        cell_id: The cell that "above" and "below" start from.
        restart: Whether the kernel starts anew first; then every cell that ever ran is stale.

    Raises:
        InvalidArgument: No such scope, or no cell where one is needed.
    """
    if scope not in get_args(Scope):
        raise InvalidArgument(f"No scope '{scope[:40]}'.", hint=f"Scopes: {', '.join(get_args(Scope))}.")
    if scope in ("above", "below") and not cell_id:
        raise InvalidArgument(f'Which cell? scope="{scope}" needs one.', hint="Give its handle as `cell`.")
    cells = [cell for cell in session.document.cells() if cell.cell_type == "code" and cell.source.strip()]
    if scope == "stale":
        wanted = {cell.id for cell in cells if cell.execution_count is not None} if restart else set(session.plan())
        return [cell.id for cell in cells if cell.id in wanted]
    if scope == "all":
        return [cell.id for cell in cells]
    at = session.document.index(cell_id)
    side = range(at) if scope == "above" else range(at, len(session.document))
    return [cell.id for cell in cells if session.document.index(cell.id) in side]
