"""A notebook in a collaboration room of a Jupyter server, beside people who have it open in JupyterLab.

Source: https://jupyterlab-realtime-collaboration.readthedocs.io/en/latest/developer/architecture.html
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pycrdt import Map, MapEvent

from langchain_jupyter.documents import format as ipynb
from langchain_jupyter.documents.aside import as_it_was, kept_here, lost, moved, overwritten
from langchain_jupyter.documents.attendance import Attendance
from langchain_jupyter.documents.contents import RemoteFile
from langchain_jupyter.documents.filed import Filed
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.documents.overwrites import Overwrites
from langchain_jupyter.documents.presence import FOLLOWS, Collaborator, autosave, cursor_at_end
from langchain_jupyter.documents.provider import Replica, RoomProvider
from langchain_jupyter.documents.rebase import EditKeeper
from langchain_jupyter.documents.whole import Overtaken, refuse
from langchain_jupyter.errors import (
    ConnectionLost,
    DocumentConflict,
    DocumentError,
    JupyterError,
    NotebookTooLarge,
    OutOfReach,
    ServerError,
    ServerRefused,
)
from langchain_jupyter.servers.answers import RoomSession
from langchain_jupyter.servers.server import JupyterServer, quoted
from langchain_jupyter.settings import NotebookLimits

logger = logging.getLogger(__name__)

_SYNCHRONISE = 60.0
_SETTLE = 3.0
_SAVE = 15.0
_CLOSE = 5.0
_TRIES = 3
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_SHARED = 3
"""Bytes that a room may send at once, for one of the largest notebook: it knows more of it than the file has."""
_LEAST = 10_000_000


class RoomStore:
    """Takes part in the room of one notebook, as a collaborator whom people see.

    Acknowledged means known to the server; the server writes the file a second after the last change, unless all
    people in the room have switched autosave off: then at their next save, or when we leave. (Those who were there
    before us are known within 15 s; until then it is written.) A line that
    breaks is taken up again by itself. While it is down, edits are kept in memory and `settle` says so: they survive
    the server's absence, not the end of our process.

    Where the room still has its history, the same replica goes on, and the edits of both sides merge. Where it has
    not (a restarted server, a container made anew), a fresh replica takes its place and our edits that may not be in
    the file yet are put onto it, cell by cell; where somebody else changed the same, theirs stands, and `refresh`
    raises DocumentConflict with a copy of ours beside the notebook.

    A program that writes the file past the server discards what the room had not saved yet (jupyter-collaboration
    issue 243). What we had changed is put back, or told in the same way; what people had, is gone.

    Args:
        server: Has jupyter-collaboration 5. Not closed by us.
        path: Of the notebook on the server; created where it does not exist, in a folder that does.
        collaborator: Whom people see.
        limits: How large it may be: the file, before we join, and what the room sends.
    """

    def __init__(
        self,
        server: JupyterServer,
        path: str,
        *,
        collaborator: Collaborator | None = None,
        limits: NotebookLimits | None = None,
    ) -> None:
        self._server = server
        self._given = path
        self._limits = limits or NotebookLimits()
        self._largest = max(_SHARED * self._limits.size, _LEAST)
        self._collaborator = collaborator or Collaborator()
        self._attendance = Attendance(server, self._collaborator, path)
        self._document: NotebookDocument
        self._keeper: EditKeeper
        self._overwrites: Overwrites
        self._replica: Replica | None = None
        self._session: Mapping[str, str] = {}
        self._provider: RoomProvider | None = None
        self._staying: asyncio.Task[None] | None = None
        self._online = asyncio.Event()
        self._hurry = asyncio.Event()
        self._tried = asyncio.Event()
        self._saving = asyncio.Lock()
        self._fault: OutOfReach | None = None
        self._conflict: DocumentConflict | None = None
        self._doubtful: dict[str, Mapping[str, Any]] = {}
        self._filed = Filed()
        self._pointed: tuple[str, int] = ("", 0)
        self._state: Map[Any]
        self._watching: Any
        self._closed = False

    @property
    def path(self) -> str:
        """As the user gave it."""
        return self._given

    @property
    def saved(self) -> bool:
        """Whether the server has written the file since the last change that we know of."""
        return self._filed.all and (self._replica is None or self._replica.confirmed)

    async def open(self) -> NotebookDocument:
        """Join the room.

        Raises:
            DocumentError: Not a notebook, too large, or no such folder.
            ServerError: The server has no such rooms.
            ServerUnreachable: Nobody answers.
            ServerRefused: The token does not allow it.
            ConnectionLost: The room did not synchronise in time.
        """
        created = await self._create()
        provider = await self._enter()
        await self._check_cells(provider)
        if created:
            self._take_out_the_empty_cell()
        self._document.listen(self._changed)
        self._document.journal.needed = self._filed.sure
        self._staying = asyncio.create_task(self._stay(provider))
        return self._document

    async def _check_cells(self, provider: RoomProvider) -> None:
        """Leave again where there are too many.

        Raises:
            NotebookTooLarge: There are.
        """
        assert self._replica is not None
        try:
            self._limits.check_cells(self._given, len(self._document))
        except NotebookTooLarge:
            await provider.close()
            self._replica.close()
            raise

    async def save(self) -> None:
        """Have the server write the file now, and see that it did.

        Raises:
            DocumentError: It did not, in some seconds.
        """
        async with self._saving:
            try:
                async with asyncio.timeout(_SAVE):
                    for _ in range(_TRIES):
                        if self.saved or await self._save_once(await self._joined()):
                            return
            except (TimeoutError, ConnectionLost) as error:
                raise DocumentError(f"{self._given} was not saved: {self._why_down()}.") from error
        raise DocumentError(
            f"The server did not write {self._given}. Is the file read-only, or the disk full? Its log says more; "
            "the changes are in the room."
        )

    async def settle(self) -> str:
        """Wait until the server has what was changed so far, for some seconds.

        Returns:
            That it has it not yet, and why; empty if it has.
        """
        try:
            async with asyncio.timeout(_SETTLE if self._provider is not None else _SETTLE / 3):
                while self._replica is not None and not self._replica.confirmed:
                    with contextlib.suppress(ConnectionLost):
                        await self._confirm(await self._joined())
        except TimeoutError:
            return (
                f"Not yet on the server: {self._why_down()}. What was changed is kept here and is sent when the "
                "server answers again."
            )
        return ""

    async def refresh(self) -> None:
        """What others change arrives by itself; this tells what stands in its way.

        Raises:
            DocumentError: The notebook is gone from the server, or cannot be opened any more.
            ServerRefused: The token is no longer accepted.
            DocumentConflict: Edits of ours do not fit what the room holds now, or may not stand where they should;
                told once.
        """
        conflict, self._conflict = self._conflict, None
        if conflict is None:
            conflict = await self._overwrote()
        if conflict is None and self._doubtful:
            conflict = await self._doubted()
        if conflict is not None:
            raise conflict
        if self._fault is not None:
            await self._try_again()
        if self._fault is not None:
            raise self._fault

    async def close(self) -> None:
        """Send and save what is not, for some seconds, and leave the room; edits are refused from now on.

        Raises:
            DocumentError: Something never reached the server; a copy of the notebook is named.
        """
        if self._closed or self._staying is None:
            return
        self._closed = True
        self._document.journal.keep = refuse
        fault: OutOfReach | None = None
        try:
            async with asyncio.timeout(_CLOSE):
                await self.save()
        except (TimeoutError, OutOfReach):
            fault = await self._unsent()
        finally:
            self._staying.cancel()
            await asyncio.gather(self._staying, return_exceptions=True)
            if self._replica is not None:
                self._replica.close()
        if fault is not None:
            raise fault

    def others(self) -> Sequence[Mapping[str, Any]]:
        """The awareness of those who are in the room with us: their `user`, their `cursors`."""
        return () if self._replica is None else _others(self._replica)

    # -- the line -----------------------------------------------------------------------------------------------

    async def _stay(self, provider: RoomProvider) -> None:
        """Stay in the room: whenever the line breaks, join again, after growing pauses."""
        current: RoomProvider | None = provider
        pause = _FIRST_PAUSE
        while True:
            if current is not None:
                await self._stay_while(current)
                current, pause = None, _FIRST_PAUSE
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hurry.wait()
            self._hurry.clear()
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                current = await self._enter()
            except OutOfReach as error:
                logger.info("%s: %s", self._given, error)
                self._fault = error if isinstance(error, (DocumentError, ServerRefused)) else None
            except Exception:  # whatever it is, the next try may do better, and nobody else would take it up
                logger.exception("%s: the room cannot be joined", self._given)
            finally:
                self._tried.set()

    async def _stay_while(self, provider: RoomProvider) -> None:
        self._provider, self._fault = provider, None
        self._online.set()
        self._point()
        attending = asyncio.create_task(self._attendance.stay())
        try:
            await provider.ended()
        finally:
            attending.cancel()
            await asyncio.gather(attending, return_exceptions=True)
            self._online.clear()
            self._provider = None
            await provider.close()
        if provider.diverged and self._replica is not None:
            self._session = {}
        logger.info("%s: the line to the room broke (%s)", self._given, provider.close_code)

    async def _enter(self) -> RoomProvider:
        """Join with the replica that we have, or with a fresh one where the room has lost what it had."""
        session = await self._current_session()
        if self._replica is not None and session == self._session:
            provider = await self._join(self._replica, session, again=True)
            if provider is not None:
                return provider
        fresh = Replica()
        provider = await self._join(fresh, session)
        assert provider is not None
        self._session = session
        old, self._replica = self._replica, fresh
        self._watch(fresh)
        if old is None:
            self._document = NotebookDocument(fresh.ydoc)
            self._keeper = EditKeeper(self._document, doubt=self._doubtful.update)
            self._overwrites = Overwrites(self._document, self._keeper, self._filed)
        fresh.before, fresh.after = self._brace, self._mend
        if old is not None:
            provider.gone(old)
            old.close()
            self._filed.anew()
            await self._carry_over(fresh)
        return provider

    async def _current_session(self) -> Mapping[str, str]:
        """The room of the notebook, and the server's life that it belongs to."""
        path = self._path_now()
        try:
            wanted = {"format": "json", "type": "notebook"}
            session = await self._server.ask(
                RoomSession, "PUT", f"/api/collaboration/session/{quoted(path)}", json=wanted
            )
            return {"room": f"json:notebook:{session.fileId}", "sessionId": session.sessionId}
        except ServerRefused:
            raise
        except ServerError as error:
            if error.status == 404:
                raise DocumentError(f"There is no notebook {path} on {self._server.url} any more.") from error
            raise

    async def _join(self, replica: Replica, session: Mapping[str, str], *, again: bool = False) -> RoomProvider | None:
        """Join the room; None where it no longer has the history of the replica."""
        path = f"/api/collaboration/room/{session['room']}"  # its colons stand as they are, or it is another room
        socket = await self._server.connect(path, params={"sessionId": session["sessionId"]}, largest=self._largest)
        provider = RoomProvider(socket, replica)
        try:
            async with asyncio.timeout(_SYNCHRONISE):
                if again and not replica.continues_in(await provider.room_state()):
                    await provider.close()
                    return None
                replica.awareness.set_local_state({"user": self._collaborator.user(), "autosave": True, FOLLOWS: True})
                await provider.join()
        except TimeoutError as error:
            await provider.close()
            raise ConnectionLost(f"{self._given}: the room did not synchronise in {_SYNCHRONISE:.0f}s.") from error
        except BaseException as error:
            await provider.close()
            if isinstance(error, ConnectionLost) and (told := self._told(provider)) is not None:
                raise told from error
            raise
        return provider

    def _told(self, provider: RoomProvider) -> DocumentError | None:
        """Why the line was closed, where a new try does not help; None where it may."""
        if provider.refused:
            return self._limits.too_large(f"The room of {self._given} sends more than {self._largest:,} bytes at once.")
        if provider.close_code == 4404:
            return DocumentError(f"There is no notebook {self._path_now()} on {self._server.url} any more.")
        if provider.close_code in (4400, 4500):
            return DocumentError(
                f"{self._given} cannot be opened by the server: it is no notebook, or cannot be read. "
                "It was not changed; the server's log says more."
            )
        if provider.close_code == 1003:
            self._session = {}
            with contextlib.suppress(ValueError, AttributeError):
                said = json.loads(provider.close_reason)
                if not said.get("reloadable"):
                    return DocumentError(f"{self._given} cannot be opened by the server: {said.get('errorReason')}.")
        return None

    async def _carry_over(self, fresh: Replica) -> None:
        """Put what may not be in the file yet onto a fresh replica."""
        document = self._document
        ours = {cell_id: document.snapshot(cell_id) for cell_id in document.ids}
        document.continue_in(fresh.ydoc)
        clashing = self._keeper.carry_over(document.journal.since(self._filed.sure), ours)
        if not clashing:
            return
        copy = await self._set_aside(list(ours.values()))
        self._conflict = lost(document, self._given, clashing, copy)

    async def _overwrote(self) -> DocumentConflict | None:
        """What is to be told of cells that another program has written, past the server."""
        ours = self._overwrites.take_lost()
        if not ours:
            return None
        copy = await self._set_aside(as_it_was(self._document, ours))
        return overwritten(self._document, self._given, list(ours), copy)

    async def _doubted(self) -> DocumentConflict:
        """What is to be told of cells that somebody moved amid our edits."""
        doubtful = list(self._doubtful)
        ours = as_it_was(self._document, self._doubtful)
        self._doubtful.clear()  # it is the keeper's, too
        return moved(self._document, self._given, doubtful, await self._set_aside(ours))

    # -- what is known ------------------------------------------------------------------------------------------

    async def _joined(self) -> RoomProvider:
        """The line, waited for while it is down."""
        while self._provider is None:
            self._hurry.set()
            await self._online.wait()
        return self._provider

    async def _confirm(self, provider: RoomProvider) -> None:
        mark = len(self._document.journal)
        await provider.barrier()
        self._filed.confirmed(mark)

    async def _save_once(self, provider: RoomProvider) -> bool:
        """Whether the server has written what we had at the start."""
        await self._confirm(provider)
        request = self._filed.request()
        await provider.save()
        await provider.barrier()  # what the server noted in the room when it had saved is here by then
        written = self._filed.answered(request)
        self._document.journal.needed = self._filed.sure
        return written

    def _watch(self, replica: Replica) -> None:
        self._state = replica.ydoc.get("state", type=Map)
        self._watching = self._state.observe(self._state_changed)
        replica.awareness.observe(self._follow_autosave)

    def _state_changed(self, event: MapEvent) -> None:
        """The server notes here where the file is, and that it has written it."""
        if "path" in event.keys:  # type: ignore[attr-defined]
            self._attendance.moved(self._path_now())
        actions = {key: change["action"] for key, change in event.keys.items()}  # type: ignore[attr-defined]
        if self._overwrites.state_changed(actions):
            self._filed.written(confirmed=self._replica is None or self._replica.confirmed)
            self._document.journal.needed = self._filed.sure

    def _brace(self) -> None:
        """Before a message of others is applied."""
        self._keeper.brace()
        self._overwrites.brace()

    def _mend(self) -> None:
        """After it has been."""
        self._overwrites.mend(self._state)
        self._keeper.mend()

    def _changed(self) -> None:
        self._filed.changed()
        if self._pointed != (self._document.focus, len(self._document.journal)):
            asyncio.get_running_loop().call_soon(self._point)

    def _point(self) -> None:
        """Show people where we work."""
        document, replica = self._document, self._replica
        self._pointed = (document.focus, len(document.journal))
        if replica is None or not document.focus:
            return
        self._overwrites.leave_a_mark(self._state)
        if document.focus in document and replica.awareness.get_local_state() is not None:
            cursors = cursor_at_end(document.ycell(document.focus))
            replica.awareness.set_local_state_field("cursors", cursors)

    def _follow_autosave(self, topic: str, changes: tuple[Any, Any]) -> None:
        replica = self._replica
        if topic != "change" or changes[1] == "local" or replica is None:
            return
        wanted, state = autosave(_others(replica)), replica.awareness.get_local_state()
        if state is not None and state.get("autosave") != wanted:
            replica.awareness.set_local_state_field("autosave", wanted)

    def _why_down(self) -> str:
        if self._fault is not None:
            return str(self._fault).rstrip(".")
        if self._provider is None:
            return f"the line to {self._server.url} is down"
        return f"{self._server.url} does not answer"

    async def _try_again(self) -> None:
        self._tried.clear()
        self._hurry.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE):
                await self._tried.wait()

    # -- the file -----------------------------------------------------------------------------------------------

    def _path_now(self) -> str:
        """Where the notebook is: people may have renamed it."""
        if self._replica is not None:
            path = self._state.get("path")
            if isinstance(path, str) and path:
                return path
        return self._given

    async def _create(self) -> bool:
        """Make the notebook where there is none; whether it was made."""
        file = RemoteFile(self._server, self._given, limits=self._limits)
        if await file.exists():
            return False
        await file.check_folder()
        try:
            await file.write(ipynb.dump([]).encode(), None)
        except Overtaken:
            return False
        return True

    def _take_out_the_empty_cell(self) -> None:
        """The room puts one into a notebook without cells."""
        cells = list(self._document.cells())
        if len(cells) == 1 and not cells[0].source:
            with self._document.unrecorded():
                self._document.delete(cells[0].id)

    async def _unsent(self) -> DocumentError | None:
        """What a caller who closes us has to know."""
        assert self._replica is not None
        if self._replica.confirmed:
            logger.warning("%s: not saved before it was closed; the server does it by itself", self._given)
            return None
        copy = kept_here(self._given, [self._document.snapshot(cell_id) for cell_id in self._document.ids])
        return DocumentError(
            f"{self._given}: the last changes never reached the server ({self._why_down()}). "
            f"The notebook as it was here is in {copy}."
        )

    async def _set_aside(self, cells: Sequence[Mapping[str, Any]]) -> str:
        """Write the notebook as we had it beside the one on the server, or on this machine if that fails."""
        try:
            return await RemoteFile(self._server, self._path_now()).set_aside(ipynb.dump(cells))
        except JupyterError as error:
            logger.info("the copy cannot be written to the server: %s", error)
            return kept_here(self._given, cells)


def _others(replica: Replica) -> Sequence[Mapping[str, Any]]:
    awareness = replica.awareness
    return [state for client, state in awareness.states.items() if client != awareness.client_id and "user" in state]
