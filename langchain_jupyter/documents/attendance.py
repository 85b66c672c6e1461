"""The list of collaborators in JupyterLab's side panel, and who is in it for us."""

from __future__ import annotations

import asyncio
import logging

from langchain_jupyter.documents.presence import Collaborator
from langchain_jupyter.documents.provider import Replica, RoomProvider
from langchain_jupyter.errors import OutOfReach
from langchain_jupyter.servers.server import JupyterServer

logger = logging.getLogger(__name__)

_ROOM = "JupyterLab:globalAwareness"
_PAUSE = 15.0


class Attendance:
    """Stands in the list of who is on the server, with the notebook that it works in, as a person does.

    The list is the awareness of one room that all JupyterLabs of a server join, beside those of their documents:
    `user`, `current` (the kind and path of the tab in front), and `documents` (paths of all that is open).

    Args:
        server: Has jupyter-collaboration.
        collaborator: Whom people see.
        path: Of the notebook.
    """

    def __init__(self, server: JupyterServer, collaborator: Collaborator, path: str) -> None:
        self._server = server
        self._collaborator = collaborator
        self._path = path
        self._replica: Replica | None = None

    def moved(self, path: str) -> None:
        """The notebook has another path now."""
        self._path = path
        if self._replica is not None:
            self._replica.awareness.set_local_state(self._state())

    async def stay(self) -> None:
        """Be listed until cancelled. Where the server does not allow it, people see us in the notebook alone."""
        while True:
            try:
                await self._stay_once()
            except OutOfReach as error:
                logger.info("not in the list of collaborators: %s", error)
            await asyncio.sleep(_PAUSE)

    async def _stay_once(self) -> None:
        replica = Replica()
        provider = RoomProvider(await self._server.connect(f"/api/collaboration/room/{_ROOM}"), replica)
        try:
            self._replica = replica
            replica.awareness.set_local_state(self._state())
            await provider.join()
            await provider.ended()
        finally:
            self._replica = None
            await provider.close()
            replica.close()

    def _state(self) -> dict[str, object]:
        user = self._collaborator.user()
        return {"user": user, "current": f"notebook:{self._path}", "documents": [self._path]}
