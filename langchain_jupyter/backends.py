"""Where notebooks are kept and where their code runs: the one place that chooses stores and kernels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from langchain_jupyter.documents.directory import Directory, Folder
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.documents.store import DocumentStore
from langchain_jupyter.kernels.kernel import Kernel
from langchain_jupyter.kernels.local import LocalKernel, installed_specs

logger = logging.getLogger(__name__)


class Backend(Protocol):
    """What a workspace makes its sessions of. Its coroutines belong to one event loop."""

    @property
    def directory(self) -> Directory | None:
        """Where many notebooks are; None with one notebook, or none."""

    @property
    def notebook(self) -> str:
        """What a prompt calls the notebook, or the notebooks."""

    async def build(self, path: str, kernel: str) -> tuple[DocumentStore, Kernel]:
        """What keeps a notebook and what runs it, neither of them open yet.

        Args:
            path: As the directory gives it; "" for the one notebook.
            kernel: Name of a kernel spec, another choice that the backend knows, or "" for the notebook's.

        Raises:
            OutOfReach: A server does not answer, or cannot do what is needed.
        """

    async def kernel_specs(self) -> Mapping[str, str]:
        """The kernel specs that a notebook can be opened with: name -> display name.

        Raises:
            OutOfReach: A server does not answer.
        """

    async def close(self) -> None:
        """Release what is shared by all sessions; they are closed already. Another `build` starts anew."""


class LocalBackend:
    """Files and kernels of this machine.

    Args:
        path: The one .ipynb file; None for code without a notebook, or with `root`.
        root: The folder that many notebooks are in.
    """

    def __init__(self, path: Path | None = None, *, root: Path | None = None) -> None:
        self._path = path
        self._folder = None if root is None else Folder(root)

    @property
    def directory(self) -> Directory | None:
        return self._folder

    @property
    def notebook(self) -> str:
        if self._folder is not None:
            return f"several below {self._folder.root}; list_notebooks shows them"
        return self._path.name if self._path else "none"

    async def build(self, path: str, kernel: str) -> tuple[DocumentStore, Kernel]:
        store, folder = self._store(path)
        logger.info("%s: a file and a local kernel", store.path)
        return store, LocalKernel(kernel, cwd=folder)

    async def kernel_specs(self) -> Mapping[str, str]:
        return await asyncio.to_thread(installed_specs)

    async def close(self) -> None:
        """Nothing is shared."""

    def _store(self, path: str) -> tuple[DocumentStore, Path]:
        """What keeps a notebook, and the folder that its code runs in."""
        if self._folder is not None:
            file = self._folder.file(path)
            return FileStore(file, name=path), file.parent
        if self._path is None:
            return MemoryStore(), Path.cwd()
        return FileStore(self._path), self._path.absolute().parent
