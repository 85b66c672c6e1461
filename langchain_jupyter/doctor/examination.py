"""All that is looked at, in the order in which it is told."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import SecretStr

from langchain_jupyter.doctor.finding import Finding, fine, problem
from langchain_jupyter.doctor.installation import installation
from langchain_jupyter.doctor.machine import folder, kernel, kernel_specs
from langchain_jupyter.doctor.servers import jupyter_server, mcp_server
from langchain_jupyter.errors import SettingsError, UsageError
from langchain_jupyter.settings import Environment, ServerSettings
from langchain_jupyter.tokens import token_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What somebody wants to work with; the environment says what is left open.

    Attributes:
        notebook: Its path, on the server if there is one.
        kernel: Name of a kernel spec.
        server_url: Of a Jupyter server.
        mcp_url: Of a `langchain-jupyter serve`.
        model: A chat model as `provider:name`.
    """

    notebook: str = ""
    kernel: str = ""
    server_url: str = ""
    mcp_url: str = ""
    model: str = ""


async def examine(case: Case) -> list[Finding]:
    """Look at everything; what is wrong with one thing keeps nobody from looking at the next."""
    found = installation()
    try:
        environment = Environment.read()
        documents, runtimes = _servers(case, environment)
    except SettingsError as error:
        return [*found, problem("Environment", str(error), "Set it right, or unset it.")]
    notebook = case.notebook or environment.document_id or ""
    if runtimes is None:
        specs = kernel_specs(case.kernel)
        found += specs
        if all(each.state == "ok" for each in specs):
            found.append(await kernel(case.kernel))
    if documents is None and notebook:
        found.append(await folder(Path(notebook), environment.notebook_limits))
    if documents is not None:
        found += await jupyter_server(documents, notebook=notebook, kernel=case.kernel)
    if runtimes is not None and runtimes != documents:
        found += [replace(each, subject=f"Runtime: {each.subject}") for each in await jupyter_server(runtimes)]
    if case.mcp_url:
        found.append(await mcp_server(case.mcp_url, os.environ.get("MCP_TOKEN", "")))
    if case.model:
        found.append(_model(case.model))
    return found


def _servers(case: Case, environment: Environment) -> tuple[ServerSettings | None, ServerSettings | None]:
    """Of the notebook and of the kernel, with the tokens that are kept for them; None for this machine."""
    if not case.server_url:
        return _known(environment.document_server), _known(environment.runtime_server)
    token = environment.jupyter_token or environment.document_token or SecretStr("")
    given = _known(ServerSettings(url=case.server_url, token=token, tls=environment.tls))
    return given, given


def _known(server: ServerSettings | None) -> ServerSettings | None:
    """As a toolkit reaches it."""
    kept = None if server is None or server.token else token_of(server.url)
    return server if server is None or kept is None else replace(server, token=kept)


def _model(name: str) -> Finding:
    """Whether it can be made. It is not asked: that would cost money."""
    try:
        from langchain_jupyter.agent import chat_model

        chat_model(name)
    except UsageError as error:
        return problem("Model", str(error), "Install the provider's package, and set its key.")
    return fine("Model", f"{name} can be made. Whether its key is valid shows at the first call.")
