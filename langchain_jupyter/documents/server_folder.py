"""The notebooks below a folder of a Jupyter server.

Source: https://jupyter-server.readthedocs.io/en/latest/developers/contents.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC
from pathlib import PurePosixPath
from typing import Any

from langchain_jupyter.documents.directory import SKIPPED, SUFFIX, check_name, named, nearest, relative
from langchain_jupyter.errors import NotebookNotFound, NotebookUnavailable, ServerError
from langchain_jupyter.models import NotebookFile
from langchain_jupyter.rendering.fences import one_line, reason
from langchain_jupyter.servers.answers import ContentsModel
from langchain_jupyter.servers.server import Capabilities, JupyterServer, quoted
from langchain_jupyter.settings import NotebookLimits

_FOLDERS = 1_000
_AT_ONCE = 8
_NOT_FOUND = 404
_EMPTY = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


class ServerFolder:
    """Notebooks through the contents API, which lets nothing outside of the server's root be seen.

    Args:
        open: Gives the server.
        root: A folder there; "" for the server's root.
    """

    def __init__(self, open: Callable[[], Awaitable[tuple[JupyterServer, Capabilities]]], root: str = "") -> None:
        self._open = open
        self._root = root.strip("/")

    @property
    def root(self) -> str:
        return self._root or "the server's root"

    def location(self, path: str) -> str:
        """The path on the server of one that `locate` or `create` has given."""
        return f"{self._root}/{path}" if self._root else path

    async def locate(self, path: str) -> str:
        inside = _inside(named(path))
        if await self._model(inside) is None:
            raise NotebookNotFound(f"No notebook '{one_line(path)}'. {await self._near(inside)}".rstrip())
        return inside

    async def create(self, path: str) -> str:
        inside = _inside(named(path))
        check_name(inside)
        if await self._model(inside) is None:
            server, _ = await self._open()
            for folder in reversed(PurePosixPath(inside).parents[:-1]):
                await self._make(server, str(folder), {"type": "directory"})
            await self._make(server, inside, {"type": "notebook", "format": "json", "content": _EMPTY})
        return inside

    async def copy(self, path: str, to: str, limits: NotebookLimits) -> None:
        """Begin a notebook as a copy of another, as that was last saved; nothing if it is there, or the other is not.

        Raises:
            NotebookTooLarge: The other is larger than may be opened.
            NotebookUnavailable: It cannot be made.
        """
        if await self._model(to) is not None or (found := await self._model(path)) is None:
            return
        limits.check_size(path, found.size or 0)
        if (model := await self._model(path, content=True)) is None:
            return
        server, _ = await self._open()
        await self._make(server, to, {"type": "notebook", "format": "json", "content": model.content})

    async def notebooks(self, path: str = "") -> Sequence[NotebookFile]:
        folder = _inside(path) if path.strip("/") else ""
        model = await self._model(folder, content=True)
        if model is None or model.type != "directory":
            raise NotebookNotFound(f"No folder '{one_line(path)}' below {self.root}.")
        return sorted(await self._walk(model), key=lambda found: found.path)

    async def _walk(self, model: ContentsModel) -> list[NotebookFile]:
        """Level by level, some folders at once; at most a thousand folders."""
        found: list[NotebookFile] = []
        level, left = [model], _FOLDERS
        while level:
            folders: list[str] = []
            for each in [entry for parent in level for entry in await self._entries(parent)]:
                if each.type == "directory" and not each.name.startswith(".") and each.name not in SKIPPED:
                    folders.append(self._relative(each.path))
                elif each.type == "notebook" and not each.name.startswith("."):
                    found.append(self._file(each))
            folders, left = folders[:left], left - len(folders[:left])
            level = [inner for inner in await self._models(folders) if inner is not None]
        return found

    async def _entries(self, folder: ContentsModel | None) -> Sequence[ContentsModel]:
        """What stands in a folder."""
        server, _ = await self._open()
        if folder is None or folder.content is None:
            return ()
        return server.check(list[ContentsModel], folder.content, f"/api/contents/{quoted(folder.path)}")

    async def _models(self, folders: Sequence[str]) -> list[ContentsModel | None]:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(folder: str) -> ContentsModel | None:
            async with gate:
                return await self._model(folder, content=True)

        return list(await asyncio.gather(*map(one, folders)))

    async def _model(self, path: str, *, content: bool = False) -> ContentsModel | None:
        server, _ = await self._open()
        try:
            where = quoted(self.location(path) if path else self._root)
            return await server.read(ContentsModel, f"/api/contents/{where}", params={"content": int(content)})
        except ServerError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    async def _make(self, server: JupyterServer, path: str, body: Mapping[str, Any]) -> None:
        if body["type"] == "directory" and await self._model(path) is not None:
            return
        try:
            await server.ask(ContentsModel, "PUT", f"/api/contents/{quoted(self.location(path))}", json=body)
        except ServerError as error:
            raise NotebookUnavailable(f"'{one_line(path)}' cannot be made: {reason(error)}") from error

    async def _near(self, path: str) -> str:
        """What there is beside a notebook that is not there."""
        folder = str(PurePosixPath(path).parent)
        model = await self._model("" if folder == "." else folder, content=True)
        there = [self._relative(each.path) for each in await self._entries(model) if each.name.endswith(SUFFIX)]
        return nearest(there, path)

    def _relative(self, path: str) -> str:
        return path.strip("/").removeprefix(f"{self._root}/" if self._root else "")

    def _file(self, model: ContentsModel) -> NotebookFile:
        when = model.last_modified
        modified = 0.0 if when is None else (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        return NotebookFile(self._relative(model.path), model.size or 0, modified)


def _inside(path: str) -> str:
    """A path below the root, in its one spelling.

    Raises:
        OutsideRoot: It would leave the root.
        NotebookNotFound: It is no text that can stand in an address.
    """
    inside = str(relative(path, "the root"))
    try:
        quoted(inside)
    except UnicodeEncodeError as error:
        raise NotebookNotFound(f"'{one_line(ascii(path)[1:-1])}' is not a path.") from error
    return inside
