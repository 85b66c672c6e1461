"""A notebook and a kernel of its own for each LangGraph thread."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from pathlib import Path
from typing import Literal, TypeAlias

from langchain_jupyter.backends import Backend, LocalDocuments
from langchain_jupyter.documents.directory import Directory
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.documents.store import DocumentStore
from langchain_jupyter.errors import DocumentError, UsageError

Isolation: TypeAlias = Literal["shared", "thread"]
"""One notebook for all threads, or one for each."""

_READABLE = 40


class ThreadDocuments:
    """Files of this machine: one for each thread, beside the notebook that it begins as a copy of.

    `analysis.ipynb` is left to whoever calls outside of a thread; thread "Ada 1" works in
    `analysis.Ada-1-<8 characters>.ipynb`.

    Args:
        path: The notebook to begin with; need not be there. None for code without a notebook.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

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
        return FileStore(file)

    async def close(self) -> None:
        """Nothing is shared."""

    def _file(self, thread: str) -> Path | None:
        if self._path is None or not thread:
            return self._path
        readable = re.sub(r"[^A-Za-z0-9_-]+", "-", thread)[:_READABLE]
        digest = hashlib.sha256(thread.encode()).hexdigest()[:8]
        return self._path.with_name(f"{self._path.stem}.{readable}-{digest}{self._path.suffix}")

    def _begin(self, file: Path) -> None:
        """A copy of the notebook, whole or not at all, unless the thread has one."""
        assert self._path is not None
        if file.exists() or not self._path.is_file():
            return
        half = file.with_name(f".{file.name}.begin")
        try:
            shutil.copyfile(self._path, half)
            half.replace(file)
        except OSError as error:
            raise DocumentError(f"{self._path} cannot be copied for a thread: {error}") from error


def isolated(backend: Backend, path: Path | None) -> Backend:
    """The same kernels, with a notebook for each thread.

    Raises:
        UsageError: The notebooks are on a server, or below a root.
    """
    if not isinstance(backend.documents, LocalDocuments) or backend.documents.directory is not None:
        raise UsageError(
            "isolation='thread' works with one notebook of this machine: give a path, and no root= or server."
        )
    return Backend(ThreadDocuments(path), backend.kernels)
