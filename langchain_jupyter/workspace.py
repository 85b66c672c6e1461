"""Path -> session; the one place that chooses stores and kernels."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.documents.store import DocumentStore
from langchain_jupyter.kernels.local import LocalKernel
from langchain_jupyter.session import NotebookSession

logger = logging.getLogger(__name__)


class Workspace:
    """Opens sessions at their first use, and closes them.

    Args:
        path: The .ipynb file; None for code without a notebook.
        kernel: Name of a kernel spec; "" for the notebook's.
        soft_wait: Seconds that a run is waited for when the caller says nothing.
        max_runtime: Seconds after which a run is interrupted; None for never.
    """

    def __init__(
        self, path: Path | None, *, kernel: str = "", soft_wait: float = 30.0, max_runtime: float | None = None
    ) -> None:
        self._path = path
        self._kernel = kernel
        self._soft_wait = soft_wait
        self._max_runtime = max_runtime
        self._session: NotebookSession | None = None
        self._lock: asyncio.Lock | None = None

    async def session(self) -> NotebookSession:
        """The session, opened if it is not open.

        Raises:
            DocumentError: The notebook cannot be opened.
        """
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._session is None:
                session = self._build()
                await session.open()
                self._session = session
        return self._session

    async def close(self) -> None:
        """Save, and end the kernels that we started. The next call opens again."""
        session, self._session, self._lock = self._session, None, None
        if session is not None:
            await session.close()

    def _build(self) -> NotebookSession:
        store: DocumentStore = MemoryStore() if self._path is None else FileStore(self._path)
        cwd = Path.cwd() if self._path is None else self._path.absolute().parent
        logger.info("%s: a file and a local kernel", store.path)
        return NotebookSession(
            store,
            LocalKernel(self._kernel, cwd=cwd),
            soft_wait=self._soft_wait,
            max_runtime=self._max_runtime,
        )
