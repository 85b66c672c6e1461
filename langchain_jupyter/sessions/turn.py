"""One run at a time: who has the kernel, who queues for it, who is refused."""

from __future__ import annotations

import asyncio
from types import TracebackType

from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.errors import Busy
from langchain_jupyter.sessions.executions import Executions, Run


class Turn:
    """The kernel's turn; from the start of a run until the kernel is idle again.

    Args:
        document: Whose cells run.
        executions: The runs that have it.
    """

    def __init__(self, document: NotebookDocument, executions: Executions) -> None:
        self._document = document
        self._executions = executions
        self._lock = asyncio.Lock()

    @property
    def taken(self) -> bool:
        """Whether code runs, or waits for the kernel to start."""
        return self._lock.locked()

    async def take(self) -> None:
        """Queue behind a run that its caller waits for; refuse behind one that was left running.

        Raises:
            Busy: Naming the cell that runs.
        """
        if self._lock.locked():
            await self._queue()
        else:
            await self._lock.acquire()

    def give(self) -> None:
        """Let the next one have it."""
        self._lock.release()

    def check(self, cell_id: str | None = None) -> None:
        """Refuse if a cell runs, or if that cell does.

        Raises:
            Busy: Naming the cell.
        """
        run = self._executions.current
        if run is not None and cell_id in (None, run.cell_id):
            raise self._busy(run)

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    async def _queue(self) -> None:
        ahead = asyncio.ensure_future(self._lock.acquire())
        left = asyncio.ensure_future(self._executions.unattended.wait())
        try:
            await asyncio.wait({ahead, left}, return_when=asyncio.FIRST_COMPLETED)
            run = self._executions.current
            if not ahead.done() and run is not None:
                raise self._busy(run)
            await ahead
        except BaseException:
            if not ahead.cancel() and not ahead.cancelled():
                self._lock.release()
            raise
        finally:
            left.cancel()

    def _busy(self, run: Run) -> Busy:
        alive = run.cell_id is not None and run.cell_id in self._document
        what = f"Cell '{self._document.handle(str(run.cell_id))}'" if alive else "Scratch code"
        seconds = run.snapshot().duration
        return Busy(
            f"{what} has been running for {seconds:.0f}s.",
            hint=f'wait_for_execution("{run.ref}") or interrupt_kernel() first. Reading and editing go on.',
        )
