"""Whether people have the notebook open in another kernel than ours.

JupyterLab starts a kernel in a session of a made-up path, and gives that the notebook's path afterwards. So the server
does not find it when somebody else asks for the notebook's kernel at the same moment, and lists two of them then.
"""

from __future__ import annotations

import asyncio
import logging

from langchain_jupyter.errors import OutOfReach
from langchain_jupyter.kernels.lease import Lease, Session, Wanted, bound, named
from langchain_jupyter.servers.answers import KernelSpecs, SessionModel
from langchain_jupyter.servers.server import JupyterServer

logger = logging.getLogger(__name__)

_LOOK_AGAIN = 1.0  # a list of all sessions is not much slower than a run, but not for nothing either
_LOOK_TIMEOUT = 5.0
_TWO_KERNELS = (
    "The notebook is open in two kernels of the server: {ours}, which you and somebody else use, and {theirs}, which "
    "other people use. What runs in one is not known in the other. Call again to run in yours, or have the people "
    "choose one for all: in JupyterLab, Kernel > Change Kernel."
)


class Company:
    """Looks, before a run, which kernel people have the notebook open in.

    Args:
        server: That runs the kernels.
    """

    def __init__(self, server: JupyterServer) -> None:
        self._server = server
        self._looked = 0.0
        self._told: set[str] = set()

    async def elsewhere(self, wanted: Wanted, ours: Lease) -> Lease | None:
        """The kernel to follow people to: nobody but us is on ours, which we have one connection to.

        None also where that is not known, and within a second after it was asked for.

        Raises:
            OutOfReach: People are on both; said once for each other kernel.
        """
        now = asyncio.get_running_loop().time()
        if not wanted.any_of_notebook or now - self._looked < _LOOK_AGAIN:
            return None
        self._looked = now
        try:
            sessions = await self._server.ask(list[SessionModel], "GET", "/api/sessions", timeout=_LOOK_TIMEOUT)
            other = _other(sessions, wanted, ours)
            if other is None:
                return None
            if not _shared(sessions, ours):
                return named(other.kernel, await self._server.read(KernelSpecs, "/api/kernelspecs"))
        except OutOfReach as error:
            logger.info("whether %s has another kernel is not known: %s", wanted.path, error)
            return None
        if other.kernel.id in self._told:
            return None
        self._told.add(other.kernel.id)
        raise OutOfReach(_TWO_KERNELS.format(ours=ours.kernel_id, theirs=other.kernel.id))


def _other(sessions: list[SessionModel], wanted: Wanted, ours: Lease) -> Session | None:
    """Another session of the notebook, with people on its kernel; or whatever it has if ours is in none any more."""
    places = [each.path for each in sessions if each.kernel is not None and each.kernel.id == ours.kernel_id]
    if places and wanted.path not in places:
        return None  # the notebook was renamed, and has taken its kernel along
    for each in bound(sessions, wanted.path):
        fits = each.kernel.id != ours.kernel_id and wanted.choice in ("", each.kernel.name)
        if fits and (each.kernel.others or not places):
            return each
    return None


def _shared(sessions: list[SessionModel], ours: Lease) -> bool:
    """Whether somebody is on our kernel besides us."""
    return any(
        each.kernel.others > 1 for each in sessions if each.kernel is not None and each.kernel.id == ours.kernel_id
    )
