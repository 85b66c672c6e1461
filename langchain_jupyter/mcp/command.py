"""The commands `serve` and `health`."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer

from langchain_jupyter.errors import SettingsError
from langchain_jupyter.redaction import RedactingFilter, Redactor
from langchain_jupyter.settings import Environment, NotebookLimits, secrets_of_environment
from langchain_jupyter.toolkit import JupyterToolkit

if TYPE_CHECKING:
    from langchain_jupyter.mcp.routes import HttpSettings, Target


_NOTEBOOK = "Notebook and kernel"
_HTTP = "Over HTTP"
_ACCESS = "Who may call, and what"
_LIMITS = NotebookLimits()

# Characters of a record of ours. What it shows of a message is ten times as long, for what is cut there is not shown.
_LOGGED = 2_000


def serve(
    transport: Annotated[
        str, typer.Option(envvar="TRANSPORT", help="stdio, or streamable-http (http for short).")
    ] = "stdio",
    host: Annotated[
        str, typer.Option(envvar="HOST", rich_help_panel=_HTTP, help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="PORT", min=0, max=65_535, rich_help_panel=_HTTP, help="0 for any that is free.")
    ] = 4040,
    notebook: Annotated[
        str,
        typer.Option(
            "--notebook", "-n", rich_help_panel=_NOTEBOOK, help="The notebook; ROOM_ID or DOCUMENT_ID if left out."
        ),
    ] = "",
    root: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=_NOTEBOOK, help="A folder, in place of --notebook: every call names its notebook."
        ),
    ] = None,
    tools: Annotated[
        str, typer.Option(rich_help_panel=_NOTEBOOK, help="notebook, workspace, interpreter or read_only.")
    ] = "",
    kernel: Annotated[str, typer.Option(rich_help_panel=_NOTEBOOK, help="Name of an installed kernel spec.")] = "",
    token: Annotated[
        str,
        typer.Option(
            envvar="MCP_TOKEN",
            rich_help_panel=_ACCESS,
            help="What clients send as a bearer token; one is made if left out.",
        ),
    ] = "",
    auth: Annotated[
        bool, typer.Option(rich_help_panel=_ACCESS, help="--no-auth lets everybody on this machine in.")
    ] = True,
    stateless: Annotated[
        bool, typer.Option(envvar="STATELESS", rich_help_panel=_HTTP, help="No MCP sessions: any replica can answer.")
    ] = False,
    host_name: Annotated[
        list[str] | None, typer.Option(rich_help_panel=_HTTP, help="A name that clients know this server by.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(rich_help_panel=_HTTP, help="A page that browsers may call from.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(rich_help_panel=_ACCESS, help="A Jupyter server that /api/connect may name.")
    ] = None,
    oauth_issuer: Annotated[
        str, typer.Option(envvar="OAUTH_ISSUER", rich_help_panel=_ACCESS, help="An OAuth 2.1 authorization server.")
    ] = "",
    oauth_resource: Annotated[
        str, typer.Option(envvar="OAUTH_RESOURCE", rich_help_panel=_ACCESS, help="Our own URL, in its tokens.")
    ] = "",
    oauth_scopes: Annotated[
        str, typer.Option(envvar="OAUTH_SCOPES", rich_help_panel=_ACCESS, help="What a token must allow.")
    ] = "",
    oauth_client: Annotated[
        str,
        typer.Option(
            envvar="OAUTH_CLIENT",
            rich_help_panel=_ACCESS,
            help="ID:SECRET, to ask the issuer about tokens that are no JWTs.",
        ),
    ] = "",
    rate_limit: Annotated[
        int, typer.Option(rich_help_panel=_HTTP, help="Requests per minute of one client; 0 for no limit.")
    ] = 3_000,
    max_concurrent: Annotated[
        int, typer.Option(rich_help_panel=_HTTP, help="Requests that are answered at a time.")
    ] = 64,
    soft_wait: Annotated[
        float, typer.Option(rich_help_panel=_NOTEBOOK, help="Seconds that a run is waited for.")
    ] = 30.0,
    max_runtime: Annotated[
        float | None, typer.Option(rich_help_panel=_NOTEBOOK, help="Seconds after which a run is interrupted.")
    ] = None,
    max_notebook_size: Annotated[
        int,
        typer.Option(
            envvar="MAX_NOTEBOOK_SIZE", min=1, rich_help_panel=_NOTEBOOK, help="Bytes of a notebook that is opened."
        ),
    ] = _LIMITS.size,
    max_notebook_cells: Annotated[
        int,
        typer.Option(
            envvar="MAX_NOTEBOOK_CELLS", min=1, rich_help_panel=_NOTEBOOK, help="Cells of a notebook that is opened."
        ),
    ] = _LIMITS.cells,
    max_source: Annotated[
        int,
        typer.Option(
            envvar="MAX_SOURCE",
            min=1,
            rich_help_panel=_NOTEBOOK,
            help="Characters of a source that a tool writes or runs.",
        ),
    ] = _LIMITS.source,
    end_kernels: Annotated[
        bool,
        typer.Option(
            rich_help_panel=_NOTEBOOK, help="End kernels that were started on a Jupyter server; they go on otherwise."
        ),
    ] = False,
    tls_certificate: Annotated[
        Path | None, typer.Option(envvar="TLS_CERTIFICATE", rich_help_panel=_HTTP, help="PEM file: https.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(envvar="TLS_KEY", rich_help_panel=_HTTP, help="PEM file of its key.")
    ] = None,
    grace: Annotated[
        float, typer.Option(envvar="GRACE", rich_help_panel=_HTTP, help="Seconds from SIGTERM to the end.")
    ] = 40.0,
    debug: Annotated[bool, typer.Option(envvar="DEBUG", help="Log the protocol, without secrets.")] = False,
) -> None:
    """Serve the tools to MCP clients, over stdio or HTTP."""
    environment = Environment.read()
    redactor = Redactor(secrets_of_environment())
    _log(redactor, debug=debug)
    redactor.add("MCP token", token, oauth_client.partition(":")[2])
    redactor.add("Jupyter token", *_tokens_of(environment))

    options: dict[str, Any] = {
        "tools": tools,
        "soft_wait": soft_wait,
        "max_runtime": max_runtime,
        "keep_kernels": not end_kernels,
        "notebook_limits": NotebookLimits(size=max_notebook_size, cells=max_notebook_cells, source=max_source),
        "redact": redactor if environment.redact else False,
    }
    toolkit = _toolkit(environment, notebook, root, {**options, **({"kernel": kernel} if kernel else {})})

    def connect(target: Target) -> JupyterToolkit:
        return _connected(target, redactor, {**options, "tls": environment.tls})

    if transport == "stdio":
        asyncio.run(_stdio(toolkit, grace))
        return
    if transport not in ("streamable-http", "http"):
        raise SettingsError(f"No transport {transport!r}. There are stdio and streamable-http.")
    if not auth:
        _check_alone(host)
    oauth = (oauth_issuer, oauth_resource, oauth_scopes, oauth_client) if auth and oauth_issuer else None
    settings = _http_settings(
        token=(token or _new_token(redactor)) if auth and oauth is None else "",
        oauth=oauth,
        names=[*(host_name or ()), *_name_of(host)],
        origins=allow_origin or (),
        allow_hosts=[*(allow_host or ()), *_hosts_of(environment)],
        rate=rate_limit,
        concurrent=max_concurrent,
        stateless=stateless,
    )
    from langchain_jupyter.mcp.service import Binding

    binding = Binding(host=host, port=port, certificate=tls_certificate, key=tls_key)
    asyncio.run(_http(toolkit, settings, binding, grace, connect))


def health(
    url: Annotated[str, typer.Argument(help="Of a server that runs, such as http://localhost:4040.")],
    watch: Annotated[float, typer.Option(help="Ask again every so many seconds, until you stop it.")] = 0.0,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 5.0,
) -> None:
    """Ask a server how it is; the exit code is 0 if it was healthy when last asked."""
    healthy = False
    with httpx.Client(timeout=timeout) as client, suppress(KeyboardInterrupt):
        while True:
            healthy, line = _asked(client, url.rstrip("/"))
            typer.echo(f"{time.strftime('%H:%M:%S')} {line}" if watch else line)
            if not watch:
                break
            time.sleep(watch)
    raise typer.Exit(0 if healthy else 1)


def _asked(client: httpx.Client, url: str) -> tuple[bool, str]:
    try:
        response = client.get(f"{url.removesuffix('/mcp')}/api/healthz")
        state = response.json()
        status = str(state["status"])
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        return False, f"{url!r} is no address of a server. Give one like http://localhost:4040."
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return False, f"no answer from {url}: {type(error).__name__}"
    rest = ("kernel_status", "documents", "running_calls", "uptime", "version")
    return status == "healthy", " ".join([status, *(f"{name}={state.get(name)}" for name in rest)])


async def _stdio(toolkit: JupyterToolkit, grace: float) -> None:
    from langchain_jupyter.mcp.server import NotebookServer
    from langchain_jupyter.mcp.service import serve_stdio
    from langchain_jupyter.mcp.watch import Watch

    await serve_stdio(NotebookServer(toolkit, Watch()), grace=grace)


async def _http(
    toolkit: JupyterToolkit,
    settings: HttpSettings,
    binding: Any,
    grace: float,
    connect: Callable[[Target], JupyterToolkit],
) -> None:
    from langchain_jupyter.mcp.routes import build_app
    from langchain_jupyter.mcp.server import NotebookServer
    from langchain_jupyter.mcp.service import serve_http
    from langchain_jupyter.mcp.watch import Watch

    watch = Watch()
    server = NotebookServer(toolkit, watch)
    app = build_app(server, watch, settings, connect)
    await serve_http(
        server, app, binding, grace=grace, started=lambda url: typer.echo(f"Listening on {url}/mcp", err=True)
    )


def _toolkit(environment: Environment, notebook: str, root: Path | None, options: dict[str, Any]) -> JupyterToolkit:
    """What is served at the start: the options, and the environment for what they leave open."""
    if root is not None:
        return JupyterToolkit.from_env(root=str(root), **options)
    if notebook or environment.document_id:
        return JupyterToolkit.from_env(**({"path": notebook} if notebook else {}), **options)
    if options["tools"] == "interpreter":
        return JupyterToolkit(**options)
    raise SettingsError("Which notebook? --notebook PATH, the variable ROOM_ID, or --root FOLDER for many.")


def _connected(target: Target, redactor: Redactor, options: dict[str, Any]) -> JupyterToolkit:
    """What PUT /api/connect asks for."""
    document, runtime = target.document, target.runtime
    redactor.add("Jupyter token", document.token.get_secret_value(), runtime.token.get_secret_value())
    elsewhere: dict[str, Any] = (
        {"runtime_url": runtime.url, "runtime_token": runtime.token} if runtime != document else {}
    )
    return JupyterToolkit(
        target.document_id,
        server_url=document.url,
        token=document.token,
        kernel=target.runtime_id or "",
        **elsewhere,
        **options,
    )


def _new_token(redactor: Redactor) -> str:
    """A token made now, which is shown once and in no log."""
    token = secrets.token_urlsafe(32)
    typer.echo(f"Token for clients (made now; give your own with --token or MCP_TOKEN): {token}", err=True)
    redactor.add("MCP token", token)
    return token


def _http_settings(
    *,
    token: str,
    oauth: tuple[str, str, str, str] | None,
    names: Iterable[str],
    origins: Iterable[str],
    allow_hosts: Iterable[str],
    rate: int,
    concurrent: int,
    stateless: bool,
) -> HttpSettings:
    from langchain_jupyter.mcp.auth import OAuthTokens, SharedToken, scopes_of
    from langchain_jupyter.mcp.gate import GateSettings
    from langchain_jupyter.mcp.routes import HttpSettings

    verifier: Any = SharedToken(token) if token else None
    issuer = resource = scopes = ""
    if oauth is not None:
        issuer, resource, scopes, client = oauth
        if not resource:
            raise SettingsError("--oauth-issuer needs --oauth-resource: the URL that clients know this server by.")
        name, _, secret = client.partition(":")
        verifier = OAuthTokens(issuer, resource, client=(name, secret) if client else None)
    return HttpSettings(
        gate=GateSettings(names=tuple(names), origins=tuple(origins), rate=rate, concurrent=concurrent),
        verifier=verifier,
        scopes=scopes_of(scopes),
        resource_url=resource,
        issuer=issuer,
        stateless=stateless,
        allow_hosts=tuple(allow_hosts),
        origins=tuple(origins),
    )


def _log(redactor: Redactor, *, debug: bool) -> None:
    logging.basicConfig(level=logging.WARNING, handlers=[log_handler(redactor)], force=True)
    logging.getLogger("langchain_jupyter").setLevel(logging.DEBUG if debug else logging.INFO)


def log_handler(redactor: Redactor) -> logging.Handler:
    """One line each, on stderr: stdout may carry the protocol. Half of a secret is none to a redactor: cut last."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    handler.addFilter(RedactingFilter(redactor))
    handler.addFilter(_shortened)
    return handler


def _shortened(record: logging.LogRecord) -> bool:
    """Of what the SDK logs one line and no trace: else all that a client sent wrongly, and each that hangs up."""
    if record.name != "root" and not record.name.startswith("mcp."):
        record.msg, record.args = record.getMessage()[:_LOGGED], None
        return True
    kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
    record.msg, record.args = f"{record.getMessage().partition(chr(10))[0][:200]} {kind}".strip(), None
    record.exc_info = record.exc_text = None
    return kind != "ClosedResourceError"


def _tokens_of(environment: Environment) -> list[str]:
    found = (environment.jupyter_token, environment.document_token, environment.runtime_token)
    return [token.get_secret_value() for token in found if token is not None]


def _hosts_of(environment: Environment) -> list[str]:
    servers = (environment.document_server, environment.runtime_server)
    return [httpx.URL(server.url).host for server in servers if server is not None]


def _name_of(host: str) -> list[str]:
    """The address itself is a name that we are known by, unless it stands for all of them."""
    return [] if host in ("0.0.0.0", "::", "") else [host]


def _check_alone(host: str) -> None:
    """Without a token only this machine may come.

    Raises:
        SettingsError: Others could.
    """
    try:
        alone = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        alone = False
    if not alone:
        raise SettingsError(f"--no-auth is for this machine only, and {host} is open to others. Leave it out.")
    logging.getLogger(__name__).warning("--no-auth: every program on this machine can run code in the kernel.")
