"""A notebook on a Jupyter server without collaboration, through its contents API.

Source: https://jupyter-server.readthedocs.io/en/latest/developers/contents.html
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path, PurePosixPath
from typing import TypeVar

import platformdirs

from langchain_jupyter.documents.recovery import JournalFile
from langchain_jupyter.documents.whole import Overtaken, Stamp, WholeStore, digest_of
from langchain_jupyter.errors import (
    ConnectionLost,
    DocumentError,
    OutOfReach,
    ServerError,
    ServerRefused,
    ServerUnreachable,
)
from langchain_jupyter.servers.answers import ContentsModel, TextModel
from langchain_jupyter.servers.server import JupyterServer, quoted
from langchain_jupyter.settings import NotebookLimits

T = TypeVar("T")

logger = logging.getLogger(__name__)

_AWAY = (ServerUnreachable, ConnectionLost)
_ESCAPED = 3
"""Bytes of JSON for one of UTF-8, at most: `é` is written `\\u00e9`."""
_HEAD = 100_000


class ContentsStore(WholeStore):
    """Opens, saves and watches a notebook of a server that has no rooms.

    What is acknowledged is in a journal on this machine; the whole notebook follows within a second, after a look at
    the hash of what stands there. Others' changes are merged cell by cell, as those of a file are. While the server
    does not answer, edits go on into the journal, and `settle` says so. If our process is killed, they are put in when
    the notebook is next opened from this machine; elsewhere they are not known.

    The server checks nothing when it writes: a change by others in the milliseconds between look and write is lost.
    Others see nothing before it is saved, and JupyterLab asks the person there which version to keep: where people
    take part, the server wants jupyter-collaboration. On a server that has it, this store refuses to open, since a
    file written past a room costs what people have not saved yet.

    Args:
        server: Not closed by us.
        path: Of the notebook on the server; created by the first save, in a folder that is there.
        state: Folder of this machine for the journal; None for the user's.
        limits: How large it may be.
    """

    def __init__(
        self, server: JupyterServer, path: str, *, state: Path | None = None, limits: NotebookLimits | None = None
    ) -> None:
        limits = limits or NotebookLimits()
        super().__init__(RemoteFile(server, path, state, limits), path, limits)
        self._away = ""

    async def _save(self) -> None:
        try:
            await super()._save()
            self._away = ""
        except _AWAY as error:
            raise DocumentError(
                f"{self.path} cannot be saved: {str(error).rstrip('.')}. The changes are kept in {self._journal.path}."
            ) from error

    async def settle(self) -> str:
        """Nothing to wait for: an edit is in the journal before it is applied; says where it is not on the server."""
        if self.saved:
            self._away = ""
        if not self._away:
            return ""
        return f"Not yet on the server: {self._away} What was changed is kept on this machine until it answers again."

    async def refresh(self) -> None:
        """Take in what others did; one small request if they did nothing. A server that is away is no reason to stop.

        Raises:
            DocumentError: A save in the background failed.
            DocumentConflict: Others changed the same cells.
            ServerRefused: The token is no longer accepted.
        """
        try:
            await super().refresh()
            self._away = ""
        except _AWAY as error:
            self._away = str(error)

    def _failed(self, error: OutOfReach) -> None:
        if isinstance(error, _AWAY) or isinstance(error.__cause__, _AWAY):
            self._away = str(error.__cause__ or error)
        else:
            super()._failed(error)


class RemoteFile:
    """A file of a server, and the journal that this machine keeps for it.

    Args:
        server: Not closed by us.
        path: On the server.
        state: Folder for the journal; None for the user's.
        limits: How large it may be.
    """

    def __init__(
        self, server: JupyterServer, path: str, state: Path | None = None, limits: NotebookLimits | None = None
    ) -> None:
        self._server = server
        self._path = PurePosixPath(path.strip("/"))
        self._state = state
        self._limits = limits or NotebookLimits()
        self._sha256 = False

    async def locate(self) -> JournalFile:
        """The journal of this machine.

        Raises:
            DocumentError: No such folder, or a server that has rooms.
        """
        if (await self._server.capabilities()).collaboration:
            raise DocumentError(
                f"{self._server.url} has collaboration: {self._path} is shared through its rooms, and is not written "
                "past them."
            )
        await self.check_folder()
        state = self._state or Path(platformdirs.user_state_dir("langchain-jupyter"))
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        known = hashlib.sha256(f"{self._server.url}/{self._path}".encode()).hexdigest()[:16]
        return JournalFile(state / f"{self._path.stem}-{known}{self._path.suffix}")

    async def check_folder(self) -> None:
        """See that a file can be there.

        Raises:
            DocumentError: No such folder.
        """
        if self._path.parent.name and await self._model(str(self._path.parent), ContentsModel, content=0) is None:
            raise DocumentError(
                f"There is no folder {self._path.parent} on {self._server.url}. Make it, or give another path."
            )

    async def exists(self) -> bool:
        """Whether something is there.

        Raises:
            NotebookTooLarge: It is, and is larger than may be opened.
        """
        model = await self._model(str(self._path), ContentsModel, content=0)
        if model is not None and model.size is not None:
            self._limits.check_size(str(self._path), model.size)
        return model is not None

    async def stamp(self) -> Stamp:
        """The hash of what is there; its time and size where the server makes no hashes."""
        return self._stamped(await self._model(str(self._path), ContentsModel, content=0, hash=1))

    async def read(self) -> tuple[bytes | None, Stamp]:
        """The text, byte for byte.

        Raises:
            DocumentError: It is no text, or too large.
        """
        if not await self.exists():
            return None, None
        try:
            largest = _HEAD + _ESCAPED * self._limits.size
            model = await self._model(
                str(self._path), TextModel, largest=largest, content=1, hash=1, type="file", format="text"
            )
        except ServerError as error:
            if error.status != 400:
                raise
            raise DocumentError(f"{self._path} cannot be opened: {error}. It was not changed.") from error
        if model is None:
            return None, None
        content = model.content.encode("utf-8", "surrogatepass")
        self._limits.check_size(str(self._path), len(content))
        return content, self._stamped(model)

    async def write(self, content: bytes, over: Stamp) -> Stamp:
        """Replace the text; the server does it whole or not at all.

        Raises:
            Overtaken: Another one is there.
        """
        if await self.stamp() not in (over, None):
            raise Overtaken
        await self._put(str(self._path), content.decode("utf-8"))
        return digest_of(content) if self._sha256 else await self.stamp()

    async def set_aside(self, text: str) -> str:
        """Write a copy beside it on the server; returns its path there."""
        number = 1
        while await self._model(copy := self._beside(number), ContentsModel, content=0) is not None:
            number += 1
        await self._put(copy, text)
        return copy

    def _beside(self, number: int) -> str:
        return str(self._path.with_name(f"{self._path.stem}.conflict-{number}{self._path.suffix}"))

    def _stamped(self, model: ContentsModel | TextModel | None) -> Stamp:
        if model is None:
            return None
        self._sha256 = model.hash_algorithm == "sha256"
        return model.hash or (model.last_modified, model.size)

    async def _model(self, path: str, shape: type[T], *, largest: int | None = None, **params: str | int) -> T | None:
        """What the server says of a path, in so many bytes; None where nothing is."""
        try:
            return await self._server.ask(shape, "GET", f"/api/contents/{quoted(path)}", params=params, largest=largest)
        except ServerRefused:
            raise
        except ServerError as error:
            if error.status == 404:
                return None
            raise

    async def _put(self, path: str, text: str) -> None:
        # As a file, not as a notebook: the server would write it its own way, and every byte that nobody touched stays.
        body = {"type": "file", "format": "text", "content": text}
        await self._server.ask(ContentsModel, "PUT", f"/api/contents/{quoted(path)}", json=body)
