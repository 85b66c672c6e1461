"""Path -> session."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from weakref import WeakValueDictionary

from langchain_jupyter.backends import Backend
from langchain_jupyter.documents.directory import Directory
from langchain_jupyter.errors import Busy, DocumentError, KernelNotFound, NotebookUnavailable
from langchain_jupyter.rendering.fences import one_line, reason
from langchain_jupyter.sessions.executions import Results
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.settings import NotebookLimits, OutputLimits

logger = logging.getLogger(__name__)

_KEPT = 1_000
_LOST = ": all variables are gone, every cell is stale."
NEW_KERNEL = "new"
"""In place of a kernel's name: a new process, whatever ran before."""


class Workspace:
    """Opens sessions at their first use, and closes them: that of one notebook, or those of many by path.

    There is no current notebook: whoever has several names the one that is meant at each call.

    Args:
        backend: Where the notebooks are kept, and where their code runs.
        kernel: Name of a kernel spec, or another choice that the backend knows; "" for the notebook's.
        soft_wait: Seconds that a run is waited for when the caller says nothing.
        max_runtime: Seconds after which a run is interrupted; None for never.
        idle_close: Seconds after which a notebook of `root` that nobody has used, and where nothing runs, is closed;
            None for never.
        limits: How much of a run's outputs is kept.
        notebook_limits: How long a source may be.

    Attributes:
        results: What calls that belong to no one notebook have answered.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        kernel: str = "",
        soft_wait: float = 30.0,
        max_runtime: float | None = None,
        idle_close: float | None = None,
        limits: OutputLimits | None = None,
        notebook_limits: NotebookLimits | None = None,
    ) -> None:
        self._backend = backend
        self.results = Results()
        self._kernel = kernel
        self._soft_wait = soft_wait
        self._max_runtime = max_runtime
        self._idle_close = idle_close
        self._limits = limits
        self._notebook_limits = notebook_limits
        self._sessions: dict[str, NotebookSession] = {}
        self._used: dict[str, float] = {}
        self._left: dict[str, str] = {}
        self._kernels: dict[str, str] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def directory(self) -> Directory | None:
        """Where many notebooks are; None with one notebook, or none."""
        return self._backend.documents.directory

    @property
    def notebook(self) -> str:
        """What a prompt calls the notebook, or the notebooks."""
        return self._backend.documents.notebook

    @property
    def opened(self) -> Mapping[str, NotebookSession]:
        """The sessions that are open, by path."""
        return dict(self._sessions)

    async def session(self, notebook: str = "") -> NotebookSession:
        """The session of a notebook, opened if it is not open.

        Args:
            notebook: Its path in the directory; nothing where there is one notebook, or none; a thread's name where
                each has its own.

        Raises:
            DocumentError: The one notebook cannot be opened.
            NotebookUnavailable: That one of many cannot be opened.
            NotebookNotFound, OutsideRoot: There is none of that path.
        """
        path = notebook if self.directory is None else await self.directory.locate(notebook)
        async with self._lock(path):
            return await self._session(path)

    async def open(self, notebook: str, *, kernel: str = "", create: bool = False) -> NotebookSession:
        """The session of a notebook of the directory, with the kernel that is wanted.

        Args:
            notebook: Its path.
            kernel: "" for the kernel that it has, or else its kernel spec; the name of a spec, or "new", ends a
                kernel of ours that does not fit and starts another.
            create: Whether a notebook that is not there is made.

        Raises:
            KernelNotFound: There is no such kernel.
            Busy: A cell runs in the kernel that would be ended.
            NotebookUnavailable, NotebookNotFound, OutsideRoot: As for `session`.
        """
        assert self.directory is not None
        specs = await self.kernel_specs() if kernel not in ("", NEW_KERNEL) else {}
        if specs and kernel not in specs:
            raise KernelNotFound(f"No kernel '{one_line(kernel)}'. Kernel specs: {', '.join(specs)}.")
        path = await (self.directory.create if create else self.directory.locate)(notebook)
        async with self._lock(path):
            known = self._sessions.get(path)
            if known is not None and kernel and (kernel == NEW_KERNEL or kernel != known.kernel.info.name):
                await self._leave(path, known)
            if specs:
                _keep(self._kernels, path, kernel)
            session = await self._session(path)
            if specs and session.document.metadata.get("kernelspec", {}).get("name") != kernel:
                spec = {"name": kernel, "display_name": specs[kernel]}
                kept = {key: value for key, value in session.document.metadata.items() if key != "language_info"}
                session.document.set_notebook_metadata({**kept, "kernelspec": spec})
            return session

    async def kernel_specs(self) -> Mapping[str, str]:
        """The kernel specs that a notebook can be opened with: name -> display name."""
        return await self._backend.kernels.specs()

    async def close(self) -> None:
        """Save, and end the kernels that we started. The next call opens again."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        sessions, self._sessions, self._sweeper = self._sessions, {}, None
        self._used.clear()
        self._left.clear()
        self._locks.clear()
        ends = await asyncio.gather(*(session.close() for session in sessions.values()), return_exceptions=True)
        await self._backend.close()
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    async def abandon(self) -> None:
        """Close, since the loop that the sessions live on is ended; whoever comes next is told."""
        left = {path: f"The toolkit's thread ended, {_fate(session)}" for path, session in self._sessions.items()}
        try:
            await self.close()
        finally:
            self._left |= left

    async def close_idle(self, seconds: float) -> None:
        """Close the notebooks that nobody has used for so long, and where nothing runs."""
        for path in list(self._sessions):
            async with self._lock(path):
                session = self._sessions.get(path)
                if session is None:
                    continue
                if session.busy:
                    self._used[path] = time.monotonic()
                elif time.monotonic() - self._used[path] >= seconds:
                    logger.info("%s: closed, not used for %.0f s", path, seconds)
                    await self._end(path, f"The notebook was closed because nobody used it, {_fate(session)}")

    # -- inside -------------------------------------------------------------------------------------------------

    def _lock(self, path: str) -> asyncio.Lock:
        """Of one path; it is there as long as somebody has it or waits for it."""
        return self._locks.setdefault(path, asyncio.Lock())

    async def _session(self, path: str) -> NotebookSession:
        """The session of a path, opened if it is not open; its lock is held."""
        session = self._sessions.get(path)
        if session is None:
            session = await self._build(path)
            try:
                await session.open()
            except DocumentError as error:
                if self.directory is None:
                    raise
                raise NotebookUnavailable(reason(error)) from error
            session.greeting = self._left.pop(path, "")
            self._sessions[path] = session
            self._sweep()
        self._used[path] = time.monotonic()
        return session

    async def _leave(self, path: str, session: NotebookSession) -> None:
        if session.busy:
            raise Busy(
                f"A cell of '{one_line(path)}' is running.", hint="interrupt_kernel() first, or wait for its end."
            )
        await self._end(path, "The notebook was opened with another kernel" + _LOST)

    async def _end(self, path: str, why: str) -> None:
        """Close a session; whoever comes next is told."""
        _keep(self._left, path, why)
        self._used.pop(path, None)
        await self._sessions.pop(path).close()

    def _sweep(self) -> None:
        several = self.directory is not None or any(self._sessions)
        if self._idle_close is not None and several and self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep_on(self._idle_close))

    async def _sweep_on(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds / 4)
            try:
                await self.close_idle(seconds)
            except DocumentError as error:  # what could not be saved is in its journal
                logger.warning("%s", error)

    async def _build(self, path: str) -> NotebookSession:
        """A session for a path, not yet open."""
        store, kernel = await self._backend.build(path, self._kernels.get(path, self._kernel))
        return NotebookSession(
            store,
            kernel,
            soft_wait=self._soft_wait,
            max_runtime=self._max_runtime,
            shared=self._backend.shared,
            limits=self._limits,
            notebook_limits=self._notebook_limits,
        )


def _keep(known: dict[str, str], path: str, value: str) -> None:
    """Know that of a path, and forget what was said of others longest ago."""
    known.pop(path, None)
    known[path] = value
    while len(known) > _KEPT:
        del known[next(iter(known))]


def _fate(session: NotebookSession) -> str:
    """What becomes of the kernel of a session that is closed."""
    if session.kernel.info.found:
        return "and its kernel, which was there before, runs on."
    return "and its kernel with it" + _LOST
