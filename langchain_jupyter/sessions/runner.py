"""Runs in a kernel: started, driven to their end, stopped; what they print goes into the document."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

from langchain_jupyter.analysis.freshness import History
from langchain_jupyter.analysis.namespace import Outcome
from langchain_jupyter.documents.notebook import METADATA_KEY, NotebookDocument
from langchain_jupyter.errors import ConnectionLost, KernelDied, KernelUnavailable, OutOfReach
from langchain_jupyter.kernels.kernel import Kernel, Message, Recallable, Trailing, truncated
from langchain_jupyter.models import Cell, Execution
from langchain_jupyter.rendering.fences import reason
from langchain_jupyter.sessions import marks
from langchain_jupyter.sessions.displays import EarlierDisplays
from langchain_jupyter.sessions.executions import INVALID, Executions, Listener, Run
from langchain_jupyter.sessions.late import LateOutputs
from langchain_jupyter.sessions.marks import digest, mark_of, receipt_of
from langchain_jupyter.sessions.turn import Turn
from langchain_jupyter.sessions.writer import OutputWriter

logger = logging.getLogger(__name__)

_INTERRUPT_PATIENCE = 5.0
_OUTPUT_PATIENCE = 30.0
_TAKEN_UP = 0.2
_NOT_VALID = "A message of the kernel was not valid and is left out."
_RESTARTED = "the kernel was restarted."
_GONE = "All variables are gone; every cell is stale."


class Runner:
    """One kernel and the runs in it, one at a time. All methods belong to one event loop.

    Args:
        document: Where outputs go.
        kernel: Started by `start`, and again when it has died.
        executions: The runs.
        history: Learns what ran and how it ended.
        max_runtime: Seconds after which a run is interrupted; None for never.
        shared: Whether other processes may run code in this kernel and write into this document.

    Attributes:
        turn: Who has the kernel.
        generation: Goes up with each restart and death.
        late: What comes of runs that have ended.
    """

    def __init__(
        self,
        document: NotebookDocument,
        kernel: Kernel,
        executions: Executions,
        history: History,
        *,
        max_runtime: float | None,
        shared: bool,
    ) -> None:
        self.turn = Turn(document, executions)
        self.generation = 0
        self._document = document
        self._kernel = kernel
        self._executions = executions
        self._history = history
        self._max_runtime = max_runtime
        self._shared = shared
        self._displays = EarlierDisplays(document)
        self.late = LateOutputs(document, executions, self._displays)
        self._signalling = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Task[None] | None = None
        kernel.on_death(self._died)
        if isinstance(kernel, Trailing):
            kernel.on_late(self.late.take)

    def start(self) -> None:
        """Start the kernel without waiting for it."""
        self._start().add_done_callback(self._found)

    async def close(self) -> None:
        """End the kernel if we started it, and what still runs with it."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._kernel.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.late.flush()

    async def ready(self) -> None:
        """The kernel is up, started again if it has died.

        Raises:
            KernelUnavailable: It does not start; the code has not run.
        """
        if self._starting is None or self._starting.done():
            self._start()  # does nothing if it is there
        assert self._starting is not None
        try:
            await asyncio.shield(self._starting)
        except OutOfReach as error:
            raise KernelUnavailable(reason(error), hint="The code has not run.") from error

    async def take_turn(self) -> None:
        """Take the turn, of a kernel that is up; see `Turn.take`.

        Raises:
            Busy: Another run was left running.
            KernelUnavailable: The kernel does not start.
        """
        await self.turn.take()
        try:
            await self.ready()
        except BaseException:
            self.turn.give()
            raise

    def launch(self, cell_id: str | None, code: str, *, key: str, listener: Listener | None, allow_stdin: bool) -> Run:
        """Start a run in a task of its own; it has the turn until the kernel is idle again."""
        run = self._executions.begin(cell_id, key)
        if cell_id is not None and key:
            receipt = self._kernel.receipt() if isinstance(self._kernel, Recallable) else {}
            self._document.set_metadata(cell_id, METADATA_KEY, marks.begun(digest(key), run.ref, receipt))
        if cell_id is not None:
            self._name_kernel()
        if listener is not None:
            run.listeners.append(listener)
        messages = self._kernel.execute(code, allow_stdin=allow_stdin, store_history=cell_id is not None)
        self._spawn(self._drive(run, code, messages, digest(key) if key else ""))
        return run

    async def recall_left(self) -> None:
        """Take up what an earlier process has left running in a kernel that outlived it."""
        if not isinstance(self._kernel, Recallable):
            return
        marked = [cell for cell in self._document.cells() if receipt_of(cell)]
        if marked and await self._kernel.left(receipt_of(marked[-1])):
            await self.turn.take()
            self.recall(marked[-1])

    def recall(self, cell: Cell, *, gone: bool = True) -> Run:
        """The run that another process has begun, which is gone or may be there; has the turn, as in `launch`."""
        assert isinstance(self._kernel, Recallable)
        mark = mark_of(cell)
        key = str(mark["key"])
        run = self._executions.begin(cell.id, key, ref=str(mark.get("execution", "")))
        run.begun.set()
        run.unattended.set()
        writer = OutputWriter(self._document, run, self._displays)
        writer.go_on() if gone else writer.listen()
        self._spawn(self._drive(run, cell.source, self._kernel.recall(receipt_of(cell)), key, writer))
        return run

    async def interrupt(self) -> Execution | None:
        """Stop what runs or is about to, and wait until the kernel is idle again; None if nothing ran."""
        run = await self._running()
        if run is None:
            return None
        signal = self._stop(run)
        await asyncio.wait({signal}, timeout=_INTERRUPT_PATIENCE)
        if signal.done():
            signal.result()
        execution = await run.wait(_INTERRUPT_PATIENCE)
        if run.finished and not run.ended.is_set():  # it has stopped, and what it had put out is still on its way
            execution = await run.wait(_OUTPUT_PATIENCE)
        return execution

    async def restart(self) -> None:
        """End the kernel's process and start another.

        Raises:
            KernelStartError: It does not start again.
        """
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        self._forget_variables()
        run = self._executions.current
        if run is not None:
            run.interrupted = True
        await self._kernel.restart()

    # -- inside -------------------------------------------------------------------------------------------------

    def _start(self) -> asyncio.Task[None]:
        self._starting = asyncio.create_task(self._kernel.start())
        self._starting.add_done_callback(_retrieve)
        return self._starting

    def _found(self, started: asyncio.Task[None]) -> None:
        """A kernel that ran before we came may have run the cells as they stand."""
        if not started.cancelled() and self._kernel.info.found:
            self._history.adopt(self._document.cells(), alive=True)

    def _died(self) -> None:
        self._forget_variables()
        self._start()

    def _forget_variables(self) -> None:
        self.generation += 1
        self.late.forget()
        self._displays.forget()
        self._history.restarted()

    def _name_kernel(self) -> None:
        """Tell in a notebook that names no kernel which one runs it, so that others start the same."""
        kernel, metadata = self._kernel.info, self._document.metadata
        if metadata.get("kernelspec", {}).get("name") or not kernel.display_name:
            return
        spec = {"name": kernel.name, "display_name": kernel.display_name, "language": kernel.language}
        self._document.set_notebook_metadata(
            {**metadata, "kernelspec": spec, "language_info": {"name": kernel.language}}
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_retrieve)
        return task

    async def _drive(
        self, run: Run, code: str, messages: AsyncIterator[Message], mark: str, begun: OutputWriter | None = None
    ) -> None:
        writer = begun or OutputWriter(self._document, run, self._displays)
        cut_off = False
        try:
            with self._limited(run):
                if begun is None:
                    writer.begin()
                async for message in messages:
                    self.late.follow(run, code, message.parent)
                    self._take(run, message)
                    writer.soon()
            run.unheard()
        except KernelDied as error:
            run.died(f"{_RESTARTED if run.interrupted else error} {_GONE}")
        except ConnectionLost as error:
            cut_off = True
            run.lost(str(error))
        finally:
            try:
                if told := await writer.told():
                    run.status = told["status"]
                else:  # a run of ours that was cut off goes on, and another process may take it up
                    writer.end("" if self._shared and cut_off and begun is None else mark, code)
                self._displays.learn(run)
                self._remember(run, code)
            finally:
                async with self._signalling:
                    self._executions.end(run)
                    self.turn.give()

    def _take(self, run: Run, message: Message) -> None:
        try:
            run.take(message)
            self._displays.take(message)
        except INVALID as error:
            logger.warning("left out a %r of the kernel that is not valid: %r", message.msg_type, error)
            run.take(truncated(_NOT_VALID))

    @contextlib.contextmanager
    def _limited(self, run: Run) -> Iterator[None]:
        """Interrupt the run after the longest time allowed."""
        if self._max_runtime is None:
            yield
            return

        def stop() -> None:
            run.note = f"It was interrupted after the longest time allowed, {self._max_runtime:g}s."
            self._stop(run)

        limit = asyncio.get_running_loop().call_later(self._max_runtime, stop)
        try:
            yield
        finally:
            limit.cancel()

    async def _running(self) -> Run | None:
        """What runs, or is about to: a run may wait for the kernel's start."""
        while self._executions.current is None and self.turn.taken and self._starting is not None:
            await asyncio.wait({self._starting})
            await asyncio.sleep(0)  # the turn of those who waited for it
        return self._executions.current

    def _stop(self, run: Run) -> asyncio.Task[None]:
        """Have a run interrupted as soon as the kernel has taken it up."""
        run.interrupted = True
        if run.status == "input":
            run.resumed()  # or whoever waits for its end would stop waiting at once, on the question
        return self._spawn(self._signal(run))

    async def _signal(self, run: Run) -> None:
        """Interrupt once the code has begun: before that the interrupt is lost, or hits what somebody else runs.

        Between `execute_input` and the code, ipykernel may lose it still, or its own reply with it. Nor may it hit what
        runs next: while it is on its way the run keeps its turn.
        """
        await run.begun.wait()
        await asyncio.sleep(_TAKEN_UP - run.age)
        async with self._signalling:
            if self._executions.current is run:
                await self._kernel.interrupt()

    def _remember(self, run: Run, code: str) -> None:
        if run.status == "died":
            if run.cell_id is not None:
                self._history.died(run.cell_id, code, run.execution_count)
            return
        outcome: Outcome = run.status if run.status in ("ok", "error") else "unknown"
        self._history.ran(run.cell_id, code, outcome, run.execution_count)


def _retrieve(task: asyncio.Future[Any]) -> None:
    """A background task may fail; whoever needs it is told by awaiting it."""
    if not task.cancelled() and task.exception() is not None:
        logger.info("in the background: %s", task.exception())
