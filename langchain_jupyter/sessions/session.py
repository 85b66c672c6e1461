"""One document, one kernel: the only writer of outputs, the stale guard, one run at a time."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from langchain_jupyter.analysis.freshness import History
from langchain_jupyter.documents.journal import Place
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.documents.store import DocumentStore
from langchain_jupyter.errors import CellNotFound, NotACodeCell, TextNotFound
from langchain_jupyter.guards import check_change, check_deletion
from langchain_jupyter.kernels.kernel import Kernel, Recallable
from langchain_jupyter.models import Cell, CellType, Execution, NotebookInfo, Standing
from langchain_jupyter.rendering.references import References
from langchain_jupyter.sessions.batches import Batches
from langchain_jupyter.sessions.elsewhere import cell_of, follow
from langchain_jupyter.sessions.executions import Executions, Listener, Results, Run
from langchain_jupyter.sessions.inspection import inspect
from langchain_jupyter.sessions.marks import digest, has_died, is_edited, mark_of, past_execution, receipt_of
from langchain_jupyter.sessions.runner import Runner
from langchain_jupyter.sessions.sight import Sight, Sights
from langchain_jupyter.settings import NotebookLimits, OutputLimits

T = TypeVar("T")

_TOLD = 200
_RESTARTED = "The kernel was restarted since your last call: all variables are gone, every cell is stale."
_FOLLOWED = (
    "The notebook is in another kernel since your last call, which somebody chose or opened it in: it does not have "
    "your variables, every cell is stale."
)
_REFERENCES = 900_000  # where several processes count, each begins at a number of its own


class NotebookSession:
    """What tools work on. All methods belong to one event loop.

    Args:
        store: What keeps the document.
        kernel: Where its cells run; started in the background by `open`.
        soft_wait: Seconds that a run is waited for when the caller says nothing.
        max_runtime: Seconds after which a run is interrupted; None for never.
        shared: Whether other processes may run code in this kernel and write into this document.
        ask: Whether input() may ask; if not, it raises inside the cell at once.
        limits: How much of a run's outputs is kept.
        notebook_limits: How long a source may be that is written here, or run.

    Attributes:
        greeting: What every caller is told at its first call; empty if nothing.
    """

    def __init__(
        self,
        store: DocumentStore,
        kernel: Kernel,
        *,
        soft_wait: float = 30.0,
        max_runtime: float | None = None,
        ask: bool = False,
        shared: bool = False,
        limits: OutputLimits | None = None,
        notebook_limits: NotebookLimits | None = None,
    ) -> None:
        self.store = store
        self.kernel = kernel
        self.executions = Executions(secrets.randbelow(_REFERENCES) if shared else 0, limits=limits)
        self.references = References()
        self.results = Results()
        self.steps = Results()
        self.document: NotebookDocument
        self.greeting = ""
        self.soft_wait = soft_wait
        self._sizes = notebook_limits or NotebookLimits()
        self._max_runtime = max_runtime
        self._ask = ask
        self._shared = shared
        self._history = History()
        self.batches = Batches(self)
        self._sights = Sights()
        self._to_tell: dict[str, str] = {}
        self._standings: tuple[tuple[int, int, str], Mapping[str, Standing]] | None = None
        self._runner: Runner

    async def open(self) -> None:
        """Open the document, and start the kernel without waiting for it.

        Raises:
            DocumentError: The notebook cannot be opened.
        """
        self.document = await self.store.open()
        self._history.adopt(self.document.cells(), alive=False)
        for cell in self.document.cells():
            if is_edited(cell):
                self._history.edited(cell.id)
            elif has_died(cell):
                self._history.died(cell.id, cell.source, None)
        self.kernel.prefer(str(self.document.metadata.get("kernelspec", {}).get("name", "")))
        self._runner = Runner(
            self.document,
            self.kernel,
            self.executions,
            self._history,
            max_runtime=self._max_runtime,
            shared=self._shared,
        )
        await self._runner.recall_left()
        self._runner.start()

    async def close(self) -> None:
        """Save, and end the kernel if we started it. What still runs is ended with it."""
        await self._runner.close()
        await self.store.close()

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def info(self) -> NotebookInfo:
        """The notebook and its kernel now."""
        counts: dict[CellType, int] = {}
        for cell in self.document.cells():
            counts[cell.cell_type] = counts.get(cell.cell_type, 0) + 1
        return NotebookInfo(self.store.path, self.store.saved, self.kernel.info, counts)

    @property
    def busy(self) -> bool:
        """Whether code runs here, or waits for the kernel to start."""
        return self._runner.turn.taken

    @property
    def standings(self) -> Mapping[str, Standing]:
        """Where each code cell stands: never run, ok, failed, stale."""
        if self._standings is None or self._standings[0] != self._moment:
            found = self._history.standings(
                list(self.document.cells()),
                language=self.kernel.info.language,
                name_of=lambda cell_id: self.document.handle(cell_id) if cell_id in self.document else "a deleted cell",
            )
            self._standings = (self._moment, found)
        return self._standings[1]

    @property
    def _moment(self) -> tuple[int, int, str]:
        """The same while the standings are: they take a while in a long notebook."""
        return self.document.version, self._history.version, self.kernel.info.language

    def check_idle(self) -> None:
        """Refuse if a cell runs.

        Raises:
            Busy: Naming the cell.
        """
        self._runner.turn.check()

    def past(self, keys: Mapping[str, str]) -> dict[str, Execution]:
        """What an earlier process has run: cell id -> execution, of cell ids -> keys."""
        found = {cell_id: self._known(key, cell_id) for cell_id, key in keys.items()}
        return {cell_id: known for cell_id, known in found.items() if isinstance(known, Execution)}

    @property
    def python(self) -> bool:
        """Whether the code is Python, by the kernel or, before it starts, by the notebook's metadata."""
        metadata = self.document.metadata
        named = metadata.get("language_info", {}).get("name") or metadata.get("kernelspec", {}).get("language")
        return str(self.kernel.info.language or named or "python").lower() in ("python", "ipython")

    def plan(self) -> list[str]:
        """Ids of the cells to run, in order, so that none is stale."""
        return self._history.plan(list(self.document.cells()), language=self.kernel.info.language)

    def sight(self, caller: str) -> Sight:
        """What that caller has seen so far."""
        return self._sights.of(caller, self._runner.generation, self._runner.late.count)

    def news(self, caller: str) -> str:
        """What this caller has to be told before anything else; empty if nothing. Said once."""
        if caller not in self._sights and self.greeting:
            self.sight(caller)
            return self.greeting
        sight, late = self.sight(caller), self._runner.late
        told = f"{self._to_tell.pop(caller, '')} {late.since(sight.late)}".strip()
        sight.late = late.count
        if sight.generation == self._runner.generation:
            return told
        sight.generation = self._runner.generation
        return f"{told} {_FOLLOWED if self.kernel.info.followed else _RESTARTED}".lstrip()

    def tell(self, caller: str, text: str) -> None:
        """Have a caller told something at its next call."""
        self._to_tell[caller] = f"{self._to_tell.pop(caller, '')} {text}".lstrip()
        while len(self._to_tell) > _TOLD:
            del self._to_tell[next(iter(self._to_tell))]

    def cell_of_count(self, execution_count: int) -> str | None:
        """Handle of the cell that ran as `In[execution_count]`: in this kernel, or else the only one that says so."""
        if (ran := self._history.cell_of_count(execution_count)) is not None:
            return self.document.handle(ran) if ran in self.document else None
        saved = [cell.id for cell in self.document.cells() if cell.execution_count == execution_count]
        return self.document.handle(saved[0]) if len(saved) == 1 else None

    def unmade(self, name: str) -> str:
        """Handle of the cell that sets a name and has not run in this kernel; "" if there is none."""
        found = self._history.unmade(name, list(self.document.cells())) if self.python else None
        return "" if found is None else self.document.handle(found)

    # -- editing ------------------------------------------------------------------------------------------------

    def insert(self, cell_type: CellType, source: str, *, caller: str, key: str = "", before: str = "") -> Cell:
        """Add a cell before another, or at the end; the same key again finds the cell that it has added.

        Raises:
            NotKept: It cannot be kept; nothing was added.
            SourceTooLarge: It is longer than a source may be.
        """
        self._sizes.check_source(source)
        cell_id = self._keyed_id(key)
        if cell_id not in self.document:
            order = self.document.order
            cell = self.document.new_cell(cell_type, source, cell_id)
            self.document.insert(cell, place=self._before(before))
            self.sight(caller).positions.moved(self.document, order)
            self.sight(caller).tidy(self.document)
        added = self.document.cell(cell_id)
        self.sight(caller).saw(added)
        return added

    def overwrite(self, cell_id: str, source: str, *, caller: str) -> tuple[str, Cell]:
        """Change a whole source; returns the old one and the cell.

        Raises:
            CellGuarded: A person has marked it as not to be changed.
            CellChanged: Somebody else changed it since this caller saw it.
            SourceTooLarge: It is longer than a source may be.
        """
        check_change(self.document.cell(cell_id), self.document.handle(cell_id))
        sight = self.sight(caller)
        sight.check(self.document, cell_id)
        old = self.document.source(cell_id)
        if len(source) > len(old):  # what a person has written may be longer, and can be made shorter
            self._sizes.check_source(source)
        self.document.set_source(cell_id, source, expect=old)
        cell = self.document.cell(cell_id)
        sight.saw(cell)
        return old, cell

    def replace_text(self, cell_id: str, old: str, new: str, *, caller: str) -> tuple[str, Cell]:
        """Replace a text that stands in the source exactly once; returns the old source and the cell.

        Raises:
            TextNotFound: It stands there never or several times.
            CellChanged: Somebody else changed the cell since this caller saw it.
        """
        self.sight(caller).check(self.document, cell_id)
        source = self.document.source(cell_id)
        count = source.count(old) if old else 0
        if count != 1:
            times = "does not stand" if count == 0 else f"stands {count} times"
            raise TextNotFound(f"The text {times} in cell '{self.document.handle(cell_id)}'.")
        return self.overwrite(cell_id, source.replace(old, new), caller=caller)

    def move(self, cell_id: str, before: str, *, caller: str) -> None:
        """Put a cell before another; "" for the end.

        Raises:
            CellGuarded: A person has marked it as not to be changed.
        """
        check_change(self.document.cell(cell_id), self.document.handle(cell_id))
        order = self.document.order
        self.document.move(cell_id, place=self._before(before))
        self.sight(caller).positions.moved(self.document, order)

    def delete(self, cell_id: str, *, caller: str) -> Cell:
        """Remove a cell and return what it was.

        Raises:
            CellGuarded: A person has marked it.
            CellChanged: Somebody else changed it since this caller saw it.
            Busy: It is running.
        """
        check_deletion(self.document.cell(cell_id), self.document.handle(cell_id))
        self._runner.turn.check(cell_id)
        sight, order = self.sight(caller), self.document.order
        sight.check(self.document, cell_id)
        cell, at = self.document.cell(cell_id), self.document.index(cell_id)
        self.document.delete(cell_id)
        sight.positions.deleted(self.document, order, at)
        return cell

    # -- running ------------------------------------------------------------------------------------------------

    async def insert_and_run(
        self,
        source: str,
        *,
        caller: str,
        key: str = "",
        before: str = "",
        timeout: float = 0,
        ask: bool | None = None,
        listener: Listener | None = None,
    ) -> Execution:
        """Add a code cell and run it; the same key again gives the execution that it has started.

        Raises:
            Busy: Another cell runs and nobody waits for it; no cell was added.
            SourceTooLarge: It is longer than a source may be; no cell was added.
        """
        self._sizes.check_source(source)
        if (known := self._known(key, self._keyed_id(key))) is not None:
            return await self._outcome(known, timeout)
        await self._take_turn()
        try:
            cell = self.insert("code", source, caller=caller, key=key, before=before)
            run = self._launch(cell.id, cell.source, key, listener, ask)
        except BaseException:
            self._runner.turn.give()
            raise
        return await run.wait(timeout or self.soft_wait)

    async def run_cell(
        self,
        cell_id: str,
        *,
        caller: str,
        key: str = "",
        timeout: float = 0,
        ask: bool | None = None,
        listener: Listener | None = None,
    ) -> Execution:
        """Run a cell that stands already; the same key again gives the execution that it has started.

        Raises:
            CellChanged: Somebody else changed it since this caller saw it.
            NotACodeCell: There is nothing to run.
            Busy: Another cell runs and nobody waits for it.
        """
        if (known := self._known(key, cell_id)) is not None:
            return await self._outcome(known, timeout)
        self._check_runnable(cell_id, caller)
        await self._take_turn()
        try:
            self._check_runnable(cell_id, caller)
            run = self._launch(cell_id, self.document.source(cell_id), key, listener, ask)
        except BaseException:
            self._runner.turn.give()
            raise
        return await run.wait(timeout or self.soft_wait)

    async def run_code(
        self,
        code: str,
        *,
        key: str = "",
        timeout: float = 0,
        ask: bool | None = None,
        listener: Listener | None = None,
    ) -> Execution:
        """Run scratch code: nothing is saved in the notebook, the execution count does not move.

        Raises:
            Busy: A cell runs and nobody waits for it.
            SourceTooLarge: It is longer than a source may be.
        """
        self._sizes.check_source(code)
        run = self.executions.of_key(key)
        if run is None:
            await self._take_turn()
            try:
                run = self._launch(None, code, key, listener, ask)
            except BaseException:
                self._runner.turn.give()
                raise
        return await run.wait(timeout or self.soft_wait)

    async def wait(self, ref: str, timeout: float) -> Execution:
        """Wait for an execution that was left running.

        Raises:
            ExecutionNotFound: No execution has that reference.
        """
        if self._shared and ref not in self.executions and (cell_id := cell_of(self.document, ref.strip())):
            return await self._elsewhere(cell_id, timeout)
        return await self.executions.find(ref).wait(timeout)

    async def inspect(self, names: Sequence[str]) -> Mapping[str, Any]:
        """Look at variables, also while a cell runs; see `inspection.inspect`.

        Raises:
            InspectionUnavailable: Not in this language, or not while a cell runs.
            KernelUnavailable: The kernel does not start.
        """
        return await self.beside(lambda kernel, beside: inspect(kernel, names, beside=beside))

    async def beside(self, ask: Callable[[Kernel, bool], Awaitable[T]]) -> T:
        """Ask the kernel something that is no run; `ask` gets it, and whether code runs in it meanwhile.

        Raises:
            KernelUnavailable: The kernel does not start.
        """
        if self.executions.current is not None:
            return await ask(self.kernel, True)
        async with self._runner.turn:
            await self._runner.ready()
            return await ask(self.kernel, self.kernel.info.state == "busy")

    def answer(self, ref: str, text: str) -> None:
        """Answer the input() that an execution waits in."""
        run = self.executions.find(ref)
        run.resumed()
        self.kernel.answer(text)

    async def interrupt(self) -> Execution | None:
        """Stop what runs or is about to, and wait until the kernel is idle again; None if nothing ran."""
        self.batches.stop()
        return await self._runner.interrupt()

    async def restart(self) -> None:
        """End the kernel's process and start another.

        Raises:
            KernelStartError: It does not start again.
        """
        await self._runner.restart()

    # -- inside -------------------------------------------------------------------------------------------------

    def _before(self, cell_id: str) -> Place:
        if not cell_id:
            return (None, None)
        return (self.document.place(cell_id)[0], cell_id)

    def _keyed_id(self, key: str) -> str:
        """The id of the cell that a key adds: the same for the same key, whoever asks, also after a crash."""
        if not key:
            return self.document.new_id()
        candidates = [hashlib.sha256(f"{key}/{n}".encode()).hexdigest()[:12] for n in range(8)]
        for cell_id in candidates:
            if cell_id in self.document:
                return cell_id
        free = (c for c in candidates if not c[:4].isdigit() and not self.document.matching(c[:4]))
        return next(free, candidates[0])

    def _known(self, key: str, cell_id: str) -> Run | Execution | None:
        """The execution that a key has started already, in this process or in an earlier one."""
        if not key:
            return None
        if (run := self.executions.of_key(key) or self.executions.of_key(digest(key))) is not None:
            return run
        if cell_id not in self.document:
            return None
        cell = self.document.cell(cell_id)
        mark = mark_of(cell)
        return past_execution(cell, mark) if mark.get("key") == digest(key) else None

    async def _outcome(self, known: Run | Execution, timeout: float) -> Execution:
        if isinstance(known, Execution):
            cell = self.document.cell(str(known.cell_id))
            if not receipt_of(cell) or not isinstance(self.kernel, Recallable):
                return known
            return await self._elsewhere(cell.id, timeout or self.soft_wait)
        return await known.wait(timeout or self.soft_wait)

    async def _elsewhere(self, cell_id: str, timeout: float) -> Execution:
        """What another process runs in this kernel, or ran; taken up from it if it has gone."""
        await self._runner.ready()
        if (run := self.executions.current) is not None and run.cell_id == cell_id:
            return await run.wait(timeout)
        cell = self.document.cell(cell_id)
        if receipt_of(cell) and isinstance(self.kernel, Recallable):
            gone = await self.kernel.alone()
            await self._take_turn()
            return await self._runner.recall(cell, gone=gone).wait(timeout)
        return await follow(self.document, self.kernel, cell_id, timeout)

    def _check_runnable(self, cell_id: str, caller: str) -> None:
        if cell_id not in self.document:
            raise CellNotFound("The cell was deleted.")
        if self.document.snapshot(cell_id)["cell_type"] != "code":
            raise NotACodeCell(f"Cell '{self.document.handle(cell_id)}' is not a code cell.")
        self.sight(caller).check(self.document, cell_id)

    async def _take_turn(self) -> None:
        """Take the kernel's turn, after a run of many cells that somebody waits for.

        Raises:
            Busy: Something was left running.
        """
        await self.batches.give_way()
        await self._runner.take_turn()

    def _launch(self, cell_id: str | None, code: str, key: str, listener: Listener | None, ask: bool | None) -> Run:
        allow_stdin = self._ask if ask is None else ask
        return self._runner.launch(cell_id, code, key=key, listener=listener, allow_stdin=allow_stdin)
