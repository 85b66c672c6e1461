"""The HTTP face: MCP itself, plain JSON-RPC, and the routes of the integration guide."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import AliasChoices, BaseModel, Field, SecretStr, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from langchain_jupyter.errors import JupyterError, UsageError
from langchain_jupyter.mcp import sdk
from langchain_jupyter.mcp.envelope import Flaw, parse
from langchain_jupyter.mcp.gate import Gate, GateSettings, refusal
from langchain_jupyter.mcp.server import NotebookServer
from langchain_jupyter.mcp.watch import Watch
from langchain_jupyter.settings import ServerSettings
from langchain_jupyter.toolkit import JupyterToolkit

_BOTH = b"application/json, text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """How the server is reached over HTTP.

    Attributes:
        gate: What is let in.
        verifier: Tells whose a token is; None lets everybody in.
        scopes: What a token must allow.
        resource_url: Our own URL, for clients of an authorization server; empty without one.
        issuer: The authorization server; empty without one.
        stateless: No MCP sessions: any replica can answer any request.
        allow_hosts: Jupyter servers that /api/connect may name, besides those of this machine.
        origins: Pages that browsers may call us from.
    """

    gate: GateSettings
    verifier: sdk.TokenVerifier | None
    scopes: Sequence[str] = ()
    resource_url: str = ""
    issuer: str = ""
    stateless: bool = False
    allow_hosts: Sequence[str] = ()
    origins: Sequence[str] = ()


class Target(BaseModel):
    """The body of PUT /api/connect, as the guide has it; the later spelling `document_…` is taken too."""

    provider: str = "jupyter"
    document_url: str = Field(validation_alias=AliasChoices("room_url", "document_url"))
    document_id: str = Field(validation_alias=AliasChoices("room_id", "document_id"))
    document_token: SecretStr | None = Field(None, validation_alias=AliasChoices("room_token", "document_token"))
    runtime_url: str | None = None
    runtime_id: str | None = None
    runtime_token: SecretStr | None = None

    @property
    def document(self) -> ServerSettings:
        """The server that has the notebook."""
        return ServerSettings(url=self.document_url, token=self.document_token or SecretStr(""))

    @property
    def runtime(self) -> ServerSettings:
        """The server that runs the kernel; the notebook's if none is named."""
        if not self.runtime_url:
            return self.document
        return ServerSettings(url=self.runtime_url, token=self.runtime_token or SecretStr(""))


def build_app(
    server: NotebookServer, watch: Watch, settings: HttpSettings, connect: Callable[[Target], JupyterToolkit]
) -> ASGIApp:
    """The ASGI application.

    Args:
        server: Answers MCP.
        watch: Has the metrics.
        settings: How it is reached.
        connect: Makes the toolkit that /api/connect asks for; opens nothing.
    """
    transport = sdk.HttpTransport(server, stateless=settings.stateless)
    api = _Api(server, watch, settings, connect)

    def protected(app: ASGIApp, scopes: Sequence[str] = settings.scopes) -> ASGIApp:
        if settings.verifier is None:
            return app
        return sdk.guarded(app, settings.verifier, scopes=scopes, resource_url=settings.resource_url)

    routes: list[BaseRoute] = [
        Route("/mcp", endpoint=protected(_Mcp(transport, server, stateless=settings.stateless))),
        Route("/api/healthz", api.health, methods=["GET"]),
        Route("/api/connect", endpoint=protected(_Endpoint(api.connect)), methods=["PUT"]),
        Route("/api/stop", endpoint=protected(_Endpoint(api.stop)), methods=["DELETE"]),
        Route("/metrics", endpoint=protected(_Endpoint(api.metrics)), methods=["GET"]),
    ]
    if settings.resource_url and settings.issuer:
        routes += sdk.resource_metadata_routes(settings.resource_url, settings.issuer, settings.scopes)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with transport.run():
            yield

    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(settings.origins),
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        allow_headers=["*"],
        expose_headers=["Mcp-Session-Id", "X-Request-ID"],
    )
    app = Starlette(routes=routes, lifespan=lifespan, middleware=[cors] if settings.origins else [])
    return Gate(app, settings.gate)


class _Endpoint:
    """A handler of ours as an ASGI application, so that it can stand behind the token."""

    def __init__(self, handle: Callable[[Request], Any]) -> None:
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response: Response = await self._handle(Request(scope, receive))
        await response(scope, receive, send)


class _Api:
    """The routes of the guide."""

    def __init__(
        self,
        server: NotebookServer,
        watch: Watch,
        settings: HttpSettings,
        connect: Callable[[Target], JupyterToolkit],
    ) -> None:
        self._server = server
        self._watch = watch
        self._hosts = {host.lower() for host in settings.allow_hosts} | {"localhost", "127.0.0.1", "::1"}
        self._connect = connect
        self._started = time.monotonic()

    async def health(self, request: Request) -> Response:
        """How we are, for probes and the guide's monitor. Needs no token, and tells no secret."""
        infos = [session.info for session in self._server.toolkit.workspace.opened.values()]
        states = [info.kernel.state for info in infos]
        status = "stopping" if self._server.stopping else "degraded" if "dead" in states else "healthy"
        body = {
            "status": status,
            "kernel_status": states[0] if states else "not started",
            "documents": len(infos),
            "running_calls": len(self._server.calls),
            "uptime": round(time.monotonic() - self._started, 1),
            "version": self._server.version,
        }
        return JSONResponse(body, 503 if self._server.stopping else 200)

    async def connect(self, request: Request) -> Response:
        """Work on another notebook, with other servers, from now on."""
        try:
            target = Target.model_validate_json(await request.body())
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors()]
            return refusal(422, f"{'; '.join(wrong)}. Nothing was changed.")
        try:
            hosts = {urlsplit(each.url).hostname or "" for each in (target.document, target.runtime)}
            if strange := sorted(hosts - self._hosts):
                return refusal(
                    403, f"Not allowed to connect to {', '.join(strange)}. Start the server with --allow-host NAME."
                )
            if target.provider != "jupyter":
                return refusal(422, f"No provider {target.provider[:40]!r}; there is 'jupyter'.")
            toolkit = self._connect(target)
        except UsageError as error:
            return refusal(422, str(error))
        try:
            await toolkit.bridge.arun(toolkit.session)
        except JupyterError as error:
            await toolkit.aclose()
            return refusal(502, f"{error} The notebook is the same as before.")
        await self._server.replace(toolkit)
        return JSONResponse({"status": "connected", "document_id": target.document_id, "document": target.document.url})

    async def stop(self, request: Request) -> Response:
        """Save and close the notebook, and end the kernel if we started it. The next call opens it again."""
        await self._server.close()
        return JSONResponse({"status": "stopped"})

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        sessions = self._server.toolkit.workspace.opened.values()
        self._watch.executions.set(sum(session.executions.current is not None for session in sessions))
        self._watch.kernels.clear()
        for session in sessions:
            self._watch.kernels.labels(session.info.kernel.state).inc()
        return Response(generate_latest(self._watch.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class _Mcp:
    """In front of the SDK: chooses the transport by what a request brings, and lets plain JSON-RPC in.

    Source:
        https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http
    """

    def __init__(self, transport: sdk.HttpTransport, server: NotebookServer, *, stateless: bool) -> None:
        self._transport = transport
        self._server = server
        self._stateless = stateless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method == "POST":
            await self._post(request, scope, receive, send)
        elif self._stateless:
            await refusal(405, "Without sessions there is only POST.")(scope, receive, send)
        else:
            await self._transport.main.handle_request(scope, receive, send)

    async def _post(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_json(request):
            await refusal(415, "Send the header Content-Type: application/json.")(scope, receive, send)
            return
        body = await request.body()
        try:
            message = parse(body)
            sdk.check_method(message)
        except Flaw as flaw:
            # A request that can be told by its id is answered like any other.
            await JSONResponse(flaw.answer, 400 if flaw.request_id is None else 200)(scope, receive, send)
            return
        session = request.headers.get("mcp-session-id", "")
        if message.get("method") == "notifications/cancelled" and session:
            self._server.cancelled(session, str((message.get("params") or {}).get("requestId", "")))
        if self._server.stopping and message.get("method") == "initialize":
            await refusal(503, "The server is stopping.")(scope, receive, send)
            return
        manager, scope = self._chosen(request, message, scope)
        await manager.handle_request(scope, _replayed(body, receive), send)

    def _chosen(self, request: Request, message: dict[str, Any], scope: Scope) -> tuple[Any, Scope]:
        """The transport that answers, and the request as it wants it."""
        streams = "text/event-stream" in request.headers.get("accept", "")
        if not streams and not request.headers.get("mcp-session-id"):
            headers = [(name, value) for name, value in scope["headers"] if name != b"accept"]
            return self._transport.plain, {**scope, "headers": [*headers, (b"accept", _BOTH)]}
        if request.headers.get("mcp-session-id") or message.get("method") == "initialize":
            return self._transport.main, scope
        return self._transport.without_session, scope


def _is_json(request: Request) -> bool:
    """As the body must be called: what pages of other sites may send unasked is called otherwise."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body that we have read, for the next to read."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again
