"""Where notebooks are kept and where their code runs: what a workspace makes its sessions of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from langchain_jupyter.documents.directory import Directory, Folder
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.documents.store import DocumentStore
from langchain_jupyter.kernels.kernel import Kernel
from langchain_jupyter.kernels.local import LocalKernel, installed_specs
from langchain_jupyter.settings import NotebookLimits

logger = logging.getLogger(__name__)


class Documents(Protocol):
    """Where notebooks are. Its coroutines belong to one event loop."""

    @property
    def directory(self) -> Directory | None:
        """Where many notebooks are; None with one notebook, or none."""

    @property
    def notebook(self) -> str:
        """What a prompt calls the notebook, or the notebooks."""

    def location(self, path: str) -> str:
        """Where a notebook is: its path for a server's kernels, and for the folder that local ones run in."""

    async def store(self, path: str) -> DocumentStore:
        """What keeps a notebook, not yet open.

        Args:
            path: As the directory gives it; "" for the one notebook.

        Raises:
            OutOfReach: A server does not answer, or keeps no notebooks.
        """

    async def close(self) -> None:
        """Release what the stores share; they are closed already. Another `store` starts anew."""


class Kernels(Protocol):
    """Where code runs. Its coroutines belong to one event loop."""

    async def kernel(self, location: str, choice: str) -> Kernel:
        """The kernel of a notebook, not yet started.

        Args:
            location: Where the notebook is, as its `Documents` say.
            choice: Name of a kernel spec, "new", an id where kernels have ids, or "" for the notebook's.

        Raises:
            OutOfReach: A server does not answer.
        """

    async def specs(self) -> Mapping[str, str]:
        """The kernel specs that a notebook can be opened with: name -> display name.

        Raises:
            OutOfReach: A server does not answer.
        """

    async def close(self) -> None:
        """Release what the kernels share; they are closed already. Another `kernel` starts anew."""


@dataclass(frozen=True, slots=True)
class Backend:
    """Documents and kernels, which need not be in the same place.

    Attributes:
        documents: Where notebooks are.
        kernels: Where their code runs.
        shared: Whether other processes may be at work in the same notebooks and kernels.
    """

    documents: Documents
    kernels: Kernels
    shared: bool = False

    async def build(self, path: str, choice: str) -> tuple[DocumentStore, Kernel]:
        """What keeps a notebook and what runs it, neither of them open yet.

        Raises:
            OutOfReach: A server does not answer, or cannot do what is needed.
        """
        store = await self.documents.store(path)
        kernel = await self.kernels.kernel(self.documents.location(path), choice)
        logger.info("%s: %s and %s", store.path, type(store).__name__, type(kernel).__name__)
        return store, kernel

    async def close(self) -> None:
        """Release what all sessions share; they are closed already."""
        await self.documents.close()
        await self.kernels.close()


class LocalDocuments:
    """Files of this machine.

    Args:
        path: The one .ipynb file; None for code without a notebook, or with `root`.
        root: The folder that many notebooks are in.
        limits: How large a notebook may be.
    """

    def __init__(
        self, path: Path | None = None, *, root: Path | None = None, limits: NotebookLimits | None = None
    ) -> None:
        self._path = path
        self._limits = limits
        self._folder = None if root is None else Folder(root)

    @property
    def directory(self) -> Directory | None:
        return self._folder

    @property
    def notebook(self) -> str:
        if self._folder is not None:
            return f"several below {self._folder.root}; list_notebooks shows them"
        return self._path.name if self._path else "none"

    def location(self, path: str) -> str:
        file = self._file(path)
        return "" if file is None else str(file)

    async def store(self, path: str) -> DocumentStore:
        file = self._file(path)
        if file is None:
            return MemoryStore()
        if self._folder is None:
            return FileStore(file, limits=self._limits)
        return FileStore(file, name=path, root=self._folder.file(""), limits=self._limits)

    async def close(self) -> None:
        """Nothing is shared."""

    def _file(self, path: str) -> Path | None:
        return self._folder.file(path) if self._folder is not None else self._path


class LocalKernels:
    """Kernels of this machine, which run in the folder of their notebook."""

    async def kernel(self, location: str, choice: str) -> Kernel:
        return LocalKernel(choice, cwd=_folder_of(location))

    async def specs(self) -> Mapping[str, str]:
        return await asyncio.to_thread(installed_specs)

    async def close(self) -> None:
        """Nothing is shared."""


def _folder_of(location: str) -> Path:
    """Where a notebook's code runs; our own folder if the notebook is on another machine, or none."""
    folder = Path(location).absolute().parent
    return folder if location and folder.is_dir() else Path.cwd()
