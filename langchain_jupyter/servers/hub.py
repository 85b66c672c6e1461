"""A user's server behind JupyterHub: waited for while it starts, started if it is stopped.

Source: https://jupyterhub.readthedocs.io/en/stable/reference/rest-api.html
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from langchain_jupyter.errors import ServerError, ServerRefused
from langchain_jupyter.servers.answers import Progress
from langchain_jupyter.servers.server import JupyterServer

logger = logging.getLogger(__name__)

_SERVER = re.compile(r"(?P<root>.*?)/user/(?P<user>[^/]+)(?:/(?P<name>[^/]+))?")
_ASLEEP = frozenset({302, 303, 404, 424, 502, 503, 504})
_SPAWN_TIMEOUT = 600.0
_BLIND_TIMEOUT = 60.0
_POLL = 0.5


@dataclass(frozen=True, slots=True)
class HubServer:
    """Whose server it is, as its URL tells.

    Attributes:
        hub: URL of the hub itself, such as "https://example.org/hub".
        user: Name of its user, as in the URL.
        name: Name of the server, as in the URL; "" for the user's default server.
    """

    hub: str
    user: str
    name: str

    @property
    def api(self) -> str:
        """Path below the hub's URL that starts and stops it."""
        return f"/api/users/{self.user}/servers/{self.name}" if self.name else f"/api/users/{self.user}/server"

    @property
    def page(self) -> str:
        """Where a person starts it."""
        return f"{self.hub}/spawn/{self.user}" + (f"/{self.name}" if self.name else "")


def hub_server(url: str) -> HubServer | None:
    """What a server's URL says of its hub; None if it is behind none."""
    found = _SERVER.fullmatch(url)
    return None if found is None else HubServer(f"{found['root']}/hub", found["user"], found["name"] or "")


async def awake(server: JupyterServer) -> None:
    """Make sure that a user's server behind a hub runs: start it if it is stopped, wait while it starts.

    Waits for 10 minutes at most, and says in the log how far it is. Does nothing for a server that is behind no hub.

    Raises:
        ServerUnreachable: Nobody answers, not even the hub.
        ServerError: It is stopped and the token may not start it, or it did not start; says where to start it.
    """
    whose = hub_server(server.url)
    if whose is None or await _runs(server):
        return
    async with _hub(server, whose) as hub:
        await _start(hub, whose)
        try:
            async with asyncio.timeout(_SPAWN_TIMEOUT):
                await _progress(hub, whose)
                while not await _runs(server):  # noqa: ASYNC110, the proxy tells nobody
                    await asyncio.sleep(_POLL)
        except TimeoutError as error:
            raise ServerError(
                f"The server {server.url} did not start in {_SPAWN_TIMEOUT:.0f}s. See {whose.page}."
            ) from error
    logger.info("the server %s runs", server.url)


@asynccontextmanager
async def _hub(server: JupyterServer, whose: HubServer) -> AsyncIterator[JupyterServer]:
    hub = JupyterServer(replace(server.settings, url=whose.hub))
    try:
        yield hub
    finally:
        await hub.close()


async def _runs(server: JupyterServer) -> bool:
    try:
        await server.get("/api")
    except ServerError as error:
        if error.status not in _ASLEEP:
            raise
        return False
    return True


async def _start(hub: JupyterServer, whose: HubServer) -> None:
    """Ask for its start, which does nothing if it is starting already."""
    logger.info("the server %s of %s does not run; asking the hub to start it", whose.name or "(default)", whose.user)
    try:
        await hub.request("POST", whose.api, json={}, timeout=_BLIND_TIMEOUT)
    except ServerRefused as error:
        raise ServerError(
            f"The server of {whose.user} at the hub is stopped or starting, and the token may not start it. "
            f"Start it at {whose.page}, or give a token with the scope servers.",
            status=error.status,
        ) from error
    except ServerError as error:
        if error.status != 400:  # it runs by now, or is on its way to
            raise


async def _progress(hub: JupyterServer, whose: HubServer) -> None:
    """Log what the hub tells of the start, until it is over.

    Raises:
        ServerError: The hub says that it failed.
    """
    events = hub.events(Progress, f"{whose.api}/progress")
    async with contextlib.aclosing(events):  # a generator that is left alone holds its connection
        with contextlib.suppress(ServerRefused):  # it may start, and not be looked at
            async for event in events:
                logger.info("the server starts, %s%%: %s", event.progress, event.message)
                if event.failed:
                    raise ServerError(f"The server of {whose.user} did not start: {event.message}. See {whose.page}.")
