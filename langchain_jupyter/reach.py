"""Jupyter servers as places for notebooks and kernels."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from os import PathLike
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from langchain_jupyter.backends import Documents, Kernels, LocalDocuments, LocalKernels
from langchain_jupyter.documents.client import ClientStore
from langchain_jupyter.documents.contents import ContentsStore
from langchain_jupyter.documents.directory import Directory
from langchain_jupyter.documents.presence import Collaborator
from langchain_jupyter.documents.room import RoomStore
from langchain_jupyter.documents.server_folder import ServerFolder
from langchain_jupyter.documents.store import DocumentStore
from langchain_jupyter.errors import ServerError
from langchain_jupyter.kernels.client import ClientKernel
from langchain_jupyter.kernels.kernel import Kernel
from langchain_jupyter.kernels.remote import RemoteKernel
from langchain_jupyter.servers.answers import KernelSpecs
from langchain_jupyter.servers.hub import awake
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import Capabilities, JupyterServer
from langchain_jupyter.settings import NotebookLimits, ServerSettings


class Reach:
    """One server that documents and kernels share: probed at its first use, and never configured by hand.

    Args:
        server: How to reach it; or one of our own, which is started at its first use and ended with `close`.
    """

    def __init__(self, server: ServerSettings | LabServer) -> None:
        self._server = server
        self._opened: tuple[JupyterServer, Capabilities] | None = None
        self._lock: asyncio.Lock | None = None

    @property
    def settings(self) -> ServerSettings:
        """How to reach it; of our own server once it has started."""
        return self._server.settings if isinstance(self._server, LabServer) else self._server

    async def open(self) -> tuple[JupyterServer, Capabilities]:
        """The server, and what it can do.

        Raises:
            OutOfReach: Nobody answers, the token is refused, or our own server does not start.
        """
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._opened is None:
                self._opened = await self._open()
            return self._opened

    async def close(self) -> None:
        """Give the connections back, and end a server of our own."""
        opened, self._opened, self._lock = self._opened, None, None
        if opened is not None:
            await opened[0].close()
        if isinstance(self._server, LabServer):
            await self._server.close()

    async def _open(self) -> tuple[JupyterServer, Capabilities]:
        if isinstance(self._server, LabServer):
            await self._server.start()
        server = JupyterServer(self.settings)
        try:
            await awake(server)
            return server, await server.capabilities()
        except BaseException:
            await server.close()
            raise


class ServerDocuments:
    """Notebooks of a server: live beside people where it has rooms, or else through its contents API.

    Args:
        reach: The server.
        path: Path of the one notebook there; with `root` None.
        root: Folder there that many notebooks are in; "" for the server's root.
        collaborator: Whom people see.
        limits: How large a notebook may be.

    Attributes:
        reach: The server.
        limits: How large a notebook may be.
    """

    def __init__(
        self,
        reach: Reach,
        path: str | None = None,
        *,
        root: str | None = None,
        collaborator: Collaborator,
        limits: NotebookLimits | None = None,
    ) -> None:
        self.reach = reach
        self.limits = limits or NotebookLimits()
        self._path = "" if path is None else path.strip("/")
        self._folder = None if root is None else ServerFolder(reach.open, root)
        self._collaborator = collaborator

    @property
    def directory(self) -> Directory | None:
        return self._folder

    @property
    def notebook(self) -> str:
        if self._folder is not None:
            return "several on the server; list_notebooks shows them"
        return PurePosixPath(self._path).name

    def location(self, path: str) -> str:
        return self._path if self._folder is None else self._folder.location(path)

    async def store(self, path: str) -> DocumentStore:
        return await self.store_at(self.location(path))

    async def store_at(self, location: str) -> DocumentStore:
        """The store of any notebook of the server, by its path there.

        Raises:
            ServerError: The server keeps no notebooks.
        """
        server, can = await self.reach.open()
        if can.collaboration:
            return RoomStore(server, location, collaborator=self._collaborator, limits=self.limits)
        if can.contents:
            return ContentsStore(server, location, limits=self.limits)
        raise ServerError(
            f"{server.url} keeps no notebooks: it has neither collaboration nor contents, as a gateway has not. "
            "Leave server_url out for a file on this machine, and give the gateway as runtime_url."
        )

    async def close(self) -> None:
        await self.reach.close()


class ServerKernels:
    """Kernels of a server, hub server or gateway.

    Args:
        reach: The server.
        keep: Whether kernels that we started go on when they are closed.
    """

    def __init__(self, reach: Reach, *, keep: bool = False) -> None:
        self._reach = reach
        self._keep = keep

    async def kernel(self, location: str, choice: str) -> Kernel:
        server, can = await self._reach.open()
        return RemoteKernel(server, choice, path=location, capabilities=can, keep=self._keep)

    async def specs(self) -> Mapping[str, str]:
        server, _ = await self._reach.open()
        known = (await server.read(KernelSpecs, "/api/kernelspecs")).kernelspecs
        return {name: each.spec.display_name for name, each in known.items()}

    async def close(self) -> None:
        await self._reach.close()


class ClientDocuments:
    """The one notebook of a user's own NbModelClient.

    Args:
        client: The client.
    """

    def __init__(self, client: Any) -> None:
        self._store = ClientStore(client)

    @property
    def directory(self) -> Directory | None:
        return None

    @property
    def notebook(self) -> str:
        return PurePosixPath(self._store.path).name

    def location(self, path: str) -> str:
        return self._store.path

    async def store(self, path: str) -> DocumentStore:
        return self._store

    async def close(self) -> None:
        """The client is its user's."""


class ClientKernels:
    """The one kernel of a user's own JupyterKernelClient.

    Args:
        client: The client.
        served: Whether the notebook's path is one of the client's server.
    """

    def __init__(self, client: Any, *, served: bool) -> None:
        self._client = client
        self._served = served

    async def kernel(self, location: str, choice: str) -> Kernel:
        return ClientKernel(self._client, path=location if self._served else "")

    async def specs(self) -> Mapping[str, str]:
        """It has its kernel, and is asked for no other."""
        return {}

    async def close(self) -> None:
        """The client is its user's."""


def documents_of(
    path: str | PathLike[str] | None,
    root: str | PathLike[str] | None,
    server: ServerSettings | None,
    collaborator: Collaborator,
    client: Any = None,
    *,
    limits: NotebookLimits | None = None,
) -> Documents:
    """Where a toolkit's notebooks are: with a user's own client, on a server, or on this machine."""
    if client is not None:
        return ClientDocuments(client)
    if server is not None and (path is not None or root is not None):
        return ServerDocuments(
            Reach(server),
            None if path is None else PurePath(path).as_posix(),
            root=None if root is None else PurePath(root).as_posix().removeprefix("."),
            collaborator=collaborator,
            limits=limits,
        )
    return LocalDocuments(_local(path), root=_local(root), limits=limits)


def kernels_of(
    server: ServerSettings | None, documents: Documents, client: Any = None, *, keep: bool = False
) -> Kernels:
    """Where a toolkit's code runs: with a user's own client, on a server (where it may go on), or on this machine."""
    beside = documents.reach if isinstance(documents, ServerDocuments) else None
    if client is not None:
        return ClientKernels(client, served=not isinstance(documents, LocalDocuments))
    if server is None:
        return LocalKernels()
    return ServerKernels(beside if beside is not None and beside.settings == server else Reach(server), keep=keep)


def _local(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path).expanduser()
