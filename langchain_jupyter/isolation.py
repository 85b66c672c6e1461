"""A notebook and a kernel of its own for each LangGraph thread."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from pathlib import Path, PurePath, PurePosixPath
from typing import Literal, TypeAlias, TypeVar

from langchain_jupyter.backends import Backend, LocalDocuments
from langchain_jupyter.documents.directory import Directory
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.documents.server_folder import ServerFolder
from langchain_jupyter.documents.store import DocumentStore
from langchain_jupyter.errors import DocumentError, UsageError
from langchain_jupyter.reach import ServerDocuments
from langchain_jupyter.settings import NotebookLimits

Isolation: TypeAlias = Literal["shared", "thread"]
"""One notebook for all threads, or one for each."""

P = TypeVar("P", bound=PurePath)

_READABLE = 40


class ThreadDocuments:
    """Files of this machine: one for each thread, beside the notebook that it begins as a copy of.

    `analysis.ipynb` is left to whoever calls outside of a thread; thread "Ada 1" works in
    `analysis.Ada-1-<8 characters>.ipynb`.

    Args:
        path: The notebook to begin with; need not be there. None for code without a notebook.
        limits: How large a notebook may be.
    """

    def __init__(self, path: Path | None, limits: NotebookLimits) -> None:
        self._path = path
        self._limits = limits

    @property
    def directory(self) -> Directory | None:
        return None

    @property
    def notebook(self) -> str:
        return self._path.name if self._path else "none"

    def location(self, path: str) -> str:
        file = self._file(path)
        return "" if file is None else str(file)

    async def store(self, path: str) -> DocumentStore:
        file = self._file(path)
        if file is None:
            return MemoryStore()
        if path:
            await asyncio.to_thread(self._begin, file)
        return FileStore(file, limits=self._limits)

    async def close(self) -> None:
        """Nothing is shared."""

    def _file(self, thread: str) -> Path | None:
        return None if self._path is None else _of_thread(self._path, thread)

    def _begin(self, file: Path) -> None:
        """A copy of the notebook, whole or not at all, unless the thread has one."""
        assert self._path is not None
        if file.exists() or not self._path.is_file():
            return
        self._limits.check_size(str(self._path), self._path.stat().st_size)
        half = file.with_name(f".{file.name}.begin")
        try:
            shutil.copyfile(self._path, half)
            half.replace(file)
        except OSError as error:
            raise DocumentError(f"{self._path} cannot be copied for a thread: {error}") from error


class ServerThreadDocuments:
    """As `ThreadDocuments`, on a server: live beside people, who find the notebooks beside the one they know.

    Args:
        documents: The notebook to begin with, as it was last saved.
    """

    def __init__(self, documents: ServerDocuments) -> None:
        self._documents = documents

    @property
    def directory(self) -> Directory | None:
        return None

    @property
    def notebook(self) -> str:
        return self._documents.notebook

    def location(self, path: str) -> str:
        return str(_of_thread(PurePosixPath(self._documents.location("")), path))

    async def store(self, path: str) -> DocumentStore:
        location = self.location(path)
        if path:
            await ServerFolder(self._documents.reach.open).copy(self.location(""), location, self._documents.limits)
        return await self._documents.store_at(location)

    async def close(self) -> None:
        await self._documents.close()


def isolated(backend: Backend, path: Path | None, limits: NotebookLimits) -> Backend:
    """The same kernels, with a notebook for each thread.

    Raises:
        UsageError: There is more than one notebook, or a store of the user's own.
    """
    documents = backend.documents
    if isinstance(documents, LocalDocuments) and documents.directory is None:
        return Backend(ThreadDocuments(path, limits), backend.kernels)
    if isinstance(documents, ServerDocuments) and documents.directory is None:
        return Backend(ServerThreadDocuments(documents), backend.kernels, shared=backend.shared)
    raise UsageError("isolation='thread' works with one notebook: give a path, and no root=, backend= or client.")


def _of_thread(path: P, thread: str) -> P:
    """The path of a thread's notebook; without a thread, the one that it begins as a copy of."""
    if not thread:
        return path
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", thread)[:_READABLE]
    digest = hashlib.sha256(thread.encode()).hexdigest()[:8]
    return path.with_name(f"{path.stem}.{readable}-{digest}{path.suffix}")
