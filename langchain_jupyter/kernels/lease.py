"""Which of a server's kernels a notebook uses, and whether ending it is ours.

Source: https://jupyter-server.readthedocs.io/en/latest/developers/rest-api.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from langchain_jupyter.errors import KernelStartError, ServerError, ServerRefused
from langchain_jupyter.servers.answers import Id, KernelModel, KernelSpec, KernelSpecs, SessionModel
from langchain_jupyter.servers.server import JupyterServer

_ID = re.compile(r"\w{8}-\w{4}-\w{4}-\w{4}-\w{12}")
_START_TIMEOUT = 120.0
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Lease:
    """A kernel of a server that we use.

    Attributes:
        kernel_id: Its id on the server.
        spec: Name of its kernel spec.
        language: As the spec says, lower case; "" if it does not.
        display_name: As the spec says; "" if it does not.
        ours: Whether we started it, and end it.
        session: Id of the notebook's session that was made for it; "" if there was one, or the server has none.
    """

    kernel_id: str
    spec: str
    language: str = ""
    display_name: str = ""
    ours: bool = False
    session: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which kernel to use.

    Attributes:
        choice: "" for the notebook's running kernel, or else a new one of `spec`; the name of a kernel spec; the id of
            a running kernel; "new" for a new one.
        spec: Kernel spec that the notebook names; "" for the server's default.
        path: The notebook's path on the server; "" for none.
        sessions: Whether the server binds kernels to notebooks.
    """

    choice: str
    spec: str
    path: str
    sessions: bool

    @property
    def any_of_notebook(self) -> bool:
        """Whether it is the notebook's kernel, whichever that is, or whichever that is of a kernel spec."""
        return bool(self.sessions and self.path) and self.choice != "new" and not _ID.fullmatch(self.choice)


@dataclass(frozen=True, slots=True)
class Session:
    """A session of the server with its kernel."""

    id: Id
    kernel: KernelModel


async def take(server: JupyterServer, wanted: Wanted) -> Lease:
    """Find the kernel, or start it.

    The notebook's session gets it, so that a person who opens the notebook is on the same kernel. Where another kernel
    is wanted than the session has, the new one takes its place, and the server ends the old one; but never one that
    somebody is connected to or that runs code: then the new kernel runs beside it, outside of the session.

    Raises:
        KernelStartError: No such spec or id, or it did not start.
        ServerUnreachable: Nobody answers.
        ServerError: The server would not tell.
    """
    specs = await server.read(KernelSpecs, "/api/kernelspecs")
    if _ID.fullmatch(wanted.choice):
        return named(await _running(server, wanted.choice), specs)
    session = await _session(server, wanted.path) if wanted.sessions and wanted.path else None
    if session is not None and wanted.choice in ("", session.kernel.name):
        return named(session.kernel, specs)
    name = wanted.spec if wanted.choice in ("", "new") else wanted.choice
    _check(name, specs)
    try:
        return await _start(server, wanted, name, session, specs)
    except ServerRefused:
        raise
    except ServerError as error:
        raise KernelStartError(f"The kernel {name or 'of the server'!r} did not start: {error}") from error


async def give_back(server: JupyterServer, lease: Lease) -> None:
    """End a kernel of ours, and the session that was made for it.

    Raises:
        OutOfReach: The server does not do it.
    """
    path = f"/api/sessions/{lease.session}" if lease.session else f"/api/kernels/{lease.kernel_id}"
    try:
        await server.request("DELETE", path)
    except ServerError as error:
        if error.status not in (_NOT_FOUND, 410):  # gone already
            raise


async def _start(
    server: JupyterServer, wanted: Wanted, name: str, session: Session | None, specs: KernelSpecs
) -> Lease:
    kernel = {"name": name} if name else {}
    if session is not None and not _in_use(session.kernel):
        path, change = f"/api/sessions/{session.id}", {"kernel": kernel or {"name": specs.default}}
        changed = await server.ask(Session, "PATCH", path, json=change, timeout=_START_TIMEOUT)
        return named(changed.kernel, specs, ours=True)
    if session is None and wanted.sessions and wanted.path:
        model = {
            "path": wanted.path,
            "name": PurePosixPath(wanted.path).name,
            "type": "notebook",
            "kernel": kernel,
        }
        made = await server.ask(Session, "POST", "/api/sessions", json=model, timeout=_START_TIMEOUT)
        if made.kernel.others:  # somebody's who came first: the server gives that one
            return named(made.kernel, specs)
        return await _agreed(server, wanted, named(made.kernel, specs, ours=True, session=made.id), specs)
    place = {"path": wanted.path} if wanted.path else {}
    alone = await server.ask(KernelModel, "POST", "/api/kernels", json={**kernel, **place}, timeout=_START_TIMEOUT)
    return named(alone, specs, ours=True)


async def _agreed(server: JupyterServer, wanted: Wanted, ours: Lease, specs: KernelSpecs) -> Lease:
    """The kernel that all use who opened the notebook at the same moment; ours is ended if it is not that one.

    The server looks for a session and then makes one, and in between another client may do the same. Whoever comes to
    the list later sees both, in the order in which they were made, and the first is the one that everybody finds.
    """
    session = await _session(server, wanted.path)
    if session is None or session.id == ours.session or wanted.choice not in ("", session.kernel.name):
        return ours
    await give_back(server, ours)
    return named(session.kernel, specs)


def _in_use(kernel: KernelModel) -> bool:
    return kernel.others > 0 or kernel.execution_state == "busy"


async def _running(server: JupyterServer, kernel_id: str) -> KernelModel:
    try:
        return await server.read(KernelModel, f"/api/kernels/{kernel_id}")
    except ServerError as error:
        if error.status != _NOT_FOUND:
            raise
        raise KernelStartError(
            f"No kernel with the id {kernel_id} runs on {server.url}; it may have been shut down. "
            'Give kernel="" for the notebook\'s kernel, or the id of a running one.'
        ) from error


async def _session(server: JupyterServer, path: str) -> Session | None:
    """The notebook's session; of several the first that people are on, or else the first."""
    found = bound(await server.read(list[SessionModel], "/api/sessions"), path)
    return next((each for each in found if each.kernel.others), found[0] if found else None)


def bound(sessions: Sequence[SessionModel], path: str) -> list[Session]:
    """The sessions of a notebook that have a kernel."""
    return [Session(each.id, each.kernel) for each in sessions if each.path == path and each.kernel is not None]


def _check(name: str, specs: KernelSpecs) -> None:
    installed = specs.kernelspecs
    if name and name not in installed:
        listed = ", ".join(sorted(installed)) or "none"
        raise KernelStartError(
            f"There is no kernel spec {name!r} on the server. Installed: {listed}. Give one of them as kernel=."
        )


def named(kernel: KernelModel, specs: KernelSpecs, *, ours: bool = False, session: str = "") -> Lease:
    """A kernel of the server as one that we use."""
    spec = specs.kernelspecs.get(kernel.name, KernelSpec()).spec
    return Lease(
        kernel_id=kernel.id,
        spec=kernel.name,
        language=spec.language.lower(),
        display_name=spec.display_name,
        ours=ours,
        session=session,
    )
