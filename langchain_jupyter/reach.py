"""Jupyter servers as places for notebooks and kernels."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from os import PathLike
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from langchain_jupyter.backends import Backend, Documents, LocalDocuments, LocalKernels
from langchain_jupyter.documents.contents import ContentsStore
from langchain_jupyter.documents.directory import Directory
from langchain_jupyter.documents.presence import Collaborator
from langchain_jupyter.documents.room import RoomStore
from langchain_jupyter.documents.server_folder import ServerFolder
from langchain_jupyter.documents.store import DocumentStore
from langchain_jupyter.errors import ServerError
from langchain_jupyter.hub import awake
from langchain_jupyter.kernels.client import ClientKernel
from langchain_jupyter.kernels.kernel import Kernel
from langchain_jupyter.kernels.remote import RemoteKernel
from langchain_jupyter.lab import LabServer
from langchain_jupyter.server import Capabilities, JupyterServer
from langchain_jupyter.settings import ServerSettings


class Reach:
    """One server that documents and kernels share: probed at its first use, and never configured by hand.

    Args:
        server: How to reach it; or one of our own, which is started at its first use and ended with `close`.
    """

    def __init__(self, server: ServerSettings | LabServer) -> None:
        self._own = server if isinstance(server, LabServer) else None
        self._settings = server if isinstance(server, ServerSettings) else None
        self._opened: tuple[JupyterServer, Capabilities] | None = None
        self._lock: asyncio.Lock | None = None

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
        if self._own is not None:
            await self._own.close()

    async def _open(self) -> tuple[JupyterServer, Capabilities]:
        if self._own is not None:
            await self._own.start()
        server = JupyterServer(self._settings if self._settings is not None else self._own_settings())
        try:
            await awake(server)
            return server, await server.capabilities()
        except BaseException:
            await server.close()
            raise

    def _own_settings(self) -> ServerSettings:
        assert self._own is not None
        return self._own.settings


class ServerDocuments:
    """Notebooks of a server: live beside people where it has rooms, or else through its contents API.

    Args:
        reach: The server.
        path: Path of the one notebook there; with `root` None.
        root: Folder there that many notebooks are in; "" for the server's root.
        collaborator: Whom people see.
    """

    def __init__(
        self, reach: Reach, path: str | None = None, *, root: str | None = None, collaborator: Collaborator
    ) -> None:
        self._reach = reach
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
        server, can = await self._reach.open()
        location = self.location(path)
        if can.collaboration:
            return RoomStore(server, location, collaborator=self._collaborator)
        if can.contents:
            return ContentsStore(server, location)
        raise ServerError(
            f"{server.url} keeps no notebooks: it has neither collaboration nor contents, as a gateway has not. "
            "Leave server_url out for a file on this machine, and give the gateway as runtime_url."
        )

    async def close(self) -> None:
        await self._reach.close()


class ServerKernels:
    """Kernels of a server, hub server or gateway.

    Args:
        reach: The server.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def kernel(self, location: str, choice: str) -> Kernel:
        server, can = await self._reach.open()
        return RemoteKernel(server, choice, path=location, capabilities=can)

    async def specs(self) -> Mapping[str, str]:
        server, _ = await self._reach.open()
        known = (await server.get("/api/kernelspecs"))["kernelspecs"]
        return {name: spec["spec"]["display_name"] for name, spec in known.items()}

    async def close(self) -> None:
        await self._reach.close()


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


def choose(
    path: str | PathLike[str] | None,
    root: str | PathLike[str] | None,
    documents: ServerSettings | None,
    runtimes: ServerSettings | None,
    collaborator: Collaborator,
    kernel_client: Any = None,
) -> Backend:
    """The places for a toolkit's notebooks and kernels: this machine, servers, or a user's own client."""
    reach = None if documents is None else Reach(documents)
    where: Documents = LocalDocuments(_local(path), root=_local(root))
    if reach is not None and (path is not None or root is not None):
        where = _served(reach, path, root, collaborator)
    if kernel_client is not None:
        return Backend(where, ClientKernels(kernel_client, served=documents is not None))
    if runtimes is None:
        return Backend(where, LocalKernels())
    return Backend(where, ServerKernels(reach if reach is not None and runtimes == documents else Reach(runtimes)))


def _served(
    reach: Reach, path: str | PathLike[str] | None, root: str | PathLike[str] | None, collaborator: Collaborator
) -> Documents:
    return ServerDocuments(
        reach,
        None if path is None else PurePath(path).as_posix(),
        root=None if root is None else PurePath(root).as_posix().removeprefix("."),
        collaborator=collaborator,
    )


def _local(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path).expanduser()
