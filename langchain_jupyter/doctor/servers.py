"""Servers: a Jupyter server, alone or behind a hub, and our MCP server. Nothing is started, made or changed there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import PurePosixPath

import httpx
from packaging.version import InvalidVersion, Version

from langchain_jupyter.doctor.finding import Finding, fine, note, problem
from langchain_jupyter.errors import ConnectionLost, OutOfReach, ServerError, ServerRefused, ServerUnreachable
from langchain_jupyter.servers.answers import ContentsModel, KernelSpecs, Package
from langchain_jupyter.servers.hub import HubServer, hub_server
from langchain_jupyter.servers.server import Capabilities, JupyterServer, quoted
from langchain_jupyter.settings import ServerSettings

_COLLABORATION = 5
_INSTALL = "In the environment of that server: pip install -U 'jupyter-collaboration>=5.0.4', then restart it."
_PACKAGE = "/lab/extensions/@jupyter/collaboration-extension/package.json"
_PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
_TOKEN = (
    "Give the token that the server prints when it starts (jupyter server list shows it) as JUPYTER_TOKEN, or keep it "
    "with langchain-jupyter token set."
)
_FORBIDDEN = (401, 403)


async def jupyter_server(settings: ServerSettings, *, notebook: str = "", kernel: str = "") -> list[Finding]:
    """Whether it answers, lets us in, is live, has the kernel and lets the notebook be written.

    Args:
        settings: How to reach it.
        notebook: Path of the notebook there.
        kernel: Name of a kernel spec there; "" for its default.
    """
    server = JupyterServer(settings)
    try:
        if (absent := await _absence(server)) is not None:
            return [absent]
        return [each async for each in _inside(server, notebook, kernel)]
    finally:
        await server.close()


async def _absence(server: JupyterServer) -> Finding | None:
    """Why nobody is there; None if somebody is."""
    whose = hub_server(server.url)
    try:
        await server.request("GET", "/api")
    except (ServerUnreachable, ConnectionLost) as error:
        mend = "Start it, or mend the address: the one that the browser shows will do."
        if whose is not None:
            mend = f"Not even the hub answers: start it ({whose.hub}), or mend the address."
        return problem("Server", str(error), mend)
    except ServerRefused:
        return problem("Token", f"{server.url} does not accept the token.", _TOKEN)
    except ServerError as error:
        if whose is not None:
            return await _asleep(server, whose)
        return problem("Server", str(error), "Give the base address of a Jupyter server, such as http://localhost:8888")
    return None


async def _asleep(server: JupyterServer, whose: HubServer) -> Finding:
    """What the hub says of a user's server that does not answer."""
    hub = JupyterServer(replace(server.settings, url=whose.hub))
    try:
        await hub.request("GET", "/api/user")
    except ServerRefused:
        mend = f"Make a token at {whose.hub}/token, and give it as JUPYTER_TOKEN."
        return problem("Token", f"The hub {whose.hub} does not accept the token.", mend)
    except OutOfReach as error:
        return problem("Server", f"Neither the server nor its hub answers. {error}", "Start the hub, or ask its admin.")
    finally:
        await hub.close()
    name = f"the server {whose.name} of {whose.user}" if whose.name else f"the server of {whose.user}"
    mend = (
        f"Start it at {whose.page}. With the scope 'servers' in the token, an agent's first call starts it by itself."
    )
    return problem("Server", f"The hub answers, but {name} is not running.", mend)


async def _inside(server: JupyterServer, notebook: str, kernel: str) -> AsyncIterator[Finding]:
    try:
        can = await server.capabilities()
    except ServerRefused as error:
        yield problem("Token", str(error), _TOKEN)
        return
    yield fine(
        "Server", f"{server.url} answers, and lets us in (Jupyter Server {can.version or 'of unknown version'})."
    )
    yield await _collaboration(server, can)
    for found in (await _kernel_specs(server, kernel), await _websockets(server)):
        if found is not None:
            yield found
    if can.contents and notebook:
        yield await _folder(server, notebook)


async def _collaboration(server: JupyterServer, can: Capabilities) -> Finding:
    if not can.contents:
        said = f"{server.url} runs kernels and keeps no notebooks, as a gateway does."
        return note("Collaboration", said, "Give it as runtime_url (RUNTIME_URL), beside a file or a server.")
    if not can.collaboration:
        said = (
            "The server has no real-time collaboration: people see the agent's work only when they open the file anew."
        )
        return note("Collaboration", said, _INSTALL)
    version = await _collaboration_version(server)
    if version is None:
        return fine("Collaboration", "Notebooks are live. The version is not told, as there is no JupyterLab.")
    if version.major < _COLLABORATION:
        said = f"Its jupyter-collaboration is older than {_COLLABORATION} (JupyterLab's part of it is {version})."
        return problem("Collaboration", said, _INSTALL)
    return fine("Collaboration", f"Notebooks are live (jupyter-collaboration {version}).")


async def _collaboration_version(server: JupyterServer) -> Version | None:
    """As JupyterLab's part of the extension says, whose major is that of the whole since 4."""
    try:
        return Version((await server.read(Package, _PACKAGE)).version)
    except (ServerError, InvalidVersion):
        return None


async def _kernel_specs(server: JupyterServer, wanted: str) -> Finding | None:
    try:
        known = await server.read(KernelSpecs, "/api/kernelspecs")
    except ServerError as error:
        return problem("Kernel specs", f"The server does not tell its kernel specs: {error}", "Ask who runs it.")
    names = sorted(known.kernelspecs)
    if not names:
        mend = "In the environment of that server: pip install ipykernel, then restart it."
        return problem("Kernel specs", "The server has no kernel spec at all.", mend)
    if wanted and wanted not in names:
        said = f"The server has no kernel spec '{wanted}'. It has: {', '.join(names)}."
        return problem("Kernel specs", said, "Give one of these as --kernel, or install that kernel there.")
    return fine("Kernel specs", f"On the server: {', '.join(names)}; by default {known.default}.")


async def _websockets(server: JupyterServer) -> Finding | None:
    """Whether they reach the server, tried at its event log, which changes nothing; None where it cannot be tried."""
    try:
        await (await server.connect("/api/events/subscribe")).close()
    except ServerError as error:
        if error.status in (*_FORBIDDEN, 404):
            return None
        mend = "A proxy in between must pass on the headers Upgrade and Connection."
        return problem("WebSockets", f"They do not get through: {error}", mend)
    except OutOfReach as error:
        return problem("WebSockets", f"They do not get through: {error}", "Look at the proxies in between.")
    return fine("WebSockets", "They get through.")


async def _folder(server: JupyterServer, notebook: str) -> Finding:
    """Whether it can be written, as the server says of it, or of its folder if it is not there yet."""
    for path in (notebook, str(PurePosixPath(notebook).parent).removeprefix(".")):
        try:
            found = await server.read(ContentsModel, f"/api/contents/{quoted(path)}", params={"content": 0})
        except ServerError as error:
            if error.status != 404:
                return problem("Notebook", str(error), "Give the path of a notebook below the server's root.")
            continue
        if found.writable is False:
            said = f"'{path or 'the root'}' is read-only on the server; no edit would be kept."
            return problem("Notebook", said, "Have the server's user get the right to write there.")
        return fine("Notebook", f"{notebook} can be {'written' if path == notebook else 'made'} on the server.")
    return problem("Notebook", f"The server has no folder for '{notebook}'.", "Make it there, or give another path.")


async def mcp_server(url: str, token: str = "") -> Finding:
    """Whether our MCP server answers there, is healthy, and takes the token."""
    base = re.sub(r"/mcp/?$", "", url.rstrip("/"))
    async with httpx.AsyncClient(timeout=10) as client:
        try:
            health = await client.get(f"{base}/api/healthz")
            answer = await client.post(f"{base}/mcp", json=_PING, headers=_headers(token))
        except (httpx.TransportError, httpx.InvalidURL) as error:
            said = f"No MCP server answers at {base} ({type(error).__name__})."
            return problem("MCP server", said, "Start it: langchain-jupyter serve --transport streamable-http")
    if answer.status_code in _FORBIDDEN:
        mend = "Give the token that `langchain-jupyter serve` was started with, or has printed, as MCP_TOKEN."
        return problem("MCP server", f"{base} does not accept the token ({answer.status_code}).", mend)
    if answer.status_code == httpx.codes.MISDIRECTED_REQUEST:
        mend = f"Start it with --host-name {httpx.URL(base).host}"
        return problem("MCP server", f"{base} does not know itself by that name.", mend)
    if not answer.is_success or not health.is_success:
        said = f"{base} answered {health.status_code} to /api/healthz and {answer.status_code} to /mcp."
        return problem("MCP server", said, "Is it a `langchain-jupyter serve`? See its log, with --debug.")
    return fine("MCP server", f"{base} answers, and lets us in.")


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}
