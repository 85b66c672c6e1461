"""The edge to the MCP SDK, and the only module that knows it: one path for mcp 1.24 up to 2.x.

What serves (a `Surface`) speaks the JSON of the specification, in plain dicts; what differs between the SDK's majors
ends here. Its low-level server is used: the high-level one installs a log handler on the root logger, and hides errors.

Source:
    https://modelcontextprotocol.io/specification/2025-11-25/schema
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, get_args

from langchain_jupyter.errors import MissingExtra
from langchain_jupyter.mcp.envelope import METHOD_NOT_FOUND, Flaw
from langchain_jupyter.mcp.grammar import compiled_when_used

try:
    with compiled_when_used():
        import mcp.types as types
        from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, BearerAuthBackend, RequireAuthMiddleware
        from mcp.server.auth.provider import AccessToken
        from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
        from mcp.server.lowlevel import Server
        from mcp.server.stdio import stdio_server
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
        from pydantic import AnyHttpUrl
        from starlette.middleware.authentication import AuthenticationMiddleware
        from starlette.routing import BaseRoute
        from starlette.types import ASGIApp
except ImportError as error:
    raise MissingExtra("mcp", "The MCP server") from error

logger = logging.getLogger(__name__)

Json: TypeAlias = dict[str, Any]
"""One JSON object, with the member names of the MCP specification."""

INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

_MODERN = hasattr(Server, "add_request_handler")  # 2.x

# Method -> the SDK's names of its request, of the request's parameters, and of its result.
_METHODS: Mapping[str, tuple[str, str, str]] = {
    "tools/list": ("ListToolsRequest", "PaginatedRequestParams", "ListToolsResult"),
    "tools/call": ("CallToolRequest", "CallToolRequestParams", "CallToolResult"),
    "prompts/list": ("ListPromptsRequest", "PaginatedRequestParams", "ListPromptsResult"),
    "prompts/get": ("GetPromptRequest", "GetPromptRequestParams", "GetPromptResult"),
    "resources/list": ("ListResourcesRequest", "PaginatedRequestParams", "ListResourcesResult"),
    "resources/templates/list": (
        "ListResourceTemplatesRequest",
        "PaginatedRequestParams",
        "ListResourceTemplatesResult",
    ),
    "resources/read": ("ReadResourceRequest", "ReadResourceRequestParams", "ReadResourceResult"),
    "completion/complete": ("CompleteRequest", "CompleteRequestParams", "CompleteResult"),
}

# What clients can ask for; None where the SDK answers that there is no such method. mcp 1 says something else.
_KNOWN: frozenset[str] | None = None
if not _MODERN:
    _asked = get_args(types.ClientRequest.model_fields["root"].annotation)
    _KNOWN = frozenset(get_args(each.model_fields["method"].annotation)[0] for each in _asked)


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a client, whatever brought it.

    Attributes:
        method: Such as "tools/call".
        params: Its parameters, as they came.
        id: The JSON-RPC id: unique in a session, and nowhere else.
        session: The MCP session over HTTP; empty over stdio and where there is none.
        client: Name that the client gave itself; empty if it gave none.
        subject: Who the bearer token says it is; empty without one.
        headers: Of the HTTP request, lower case; empty over stdio.
        report: Sends progress, as a count that grows and a text; None if the client did not ask for it.
    """

    method: str
    params: Json
    id: str
    session: str = ""
    client: str = ""
    subject: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    report: Callable[[float, str], Awaitable[None]] | None = None


class Refused(Exception):
    """A request that is answered with a JSON-RPC error.

    Args:
        message: What the client is told.
        code: Of JSON-RPC.
    """

    def __init__(self, message: str, code: int = INVALID_PARAMS) -> None:
        super().__init__(message)
        self.code = code


class Surface(Protocol):
    """What is served."""

    @property
    def name(self) -> str:
        """Of the server, for clients."""

    @property
    def version(self) -> str:
        """Of the server."""

    @property
    def instructions(self) -> str:
        """For the model, at the start of a session."""

    @property
    def methods(self) -> Mapping[str, Callable[[Request], Awaitable[Json]]]:
        """What answers each method."""

    def cancelled(self, session: str, request_id: str) -> None:
        """The client says that it no longer wants an answer; the SDK cancels the request afterwards."""


def build_server(surface: Surface) -> Any:
    """The SDK's low-level server over a surface."""
    server = Server(surface.name, version=surface.version, instructions=surface.instructions)
    register = _register_modern if _MODERN else _register
    for method, answer in surface.methods.items():
        register(server, method, answer)
    return server


async def serve_stdio(surface: Surface) -> None:
    """Serve one client on stdin and stdout until it closes them."""
    server = build_server(surface)
    async with stdio_server() as (incoming, outgoing):
        watched = _Watched(incoming, outgoing, lambda request_id: surface.cancelled("", request_id))
        await server.run(watched, outgoing, server.create_initialization_options())


def check_method(message: Json) -> None:
    """Whether a request asks for what can be asked for.

    Raises:
        Flaw: There is no such method in MCP.
    """
    method = message.get("method")
    if method is not None and "id" in message and _KNOWN is not None and method not in _KNOWN:
        raise Flaw(METHOD_NOT_FOUND, f"There is no method {method[:80]!r}.", message["id"])


class HttpTransport:
    """The SDK's streamable HTTP, three ways: with sessions, without them, and as plain JSON.

    Args:
        surface: What is served.
        stateless: No sessions, whoever asks for one: any replica can answer any request.
    """

    def __init__(self, surface: Surface, *, stateless: bool = False) -> None:
        server = build_server(surface)
        self.without_session = StreamableHTTPSessionManager(server, stateless=True)
        self.plain = StreamableHTTPSessionManager(server, stateless=True, json_response=True)
        self.main = self.without_session if stateless else StreamableHTTPSessionManager(server)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve while entered; once."""
        async with AsyncExitStack() as stack:
            for manager in dict.fromkeys((self.main, self.without_session, self.plain)):
                await stack.enter_async_context(manager.run())
            yield


class TokenVerifier(Protocol):
    """Tells whose a bearer token is; the SDK's own protocol."""

    async def verify_token(self, token: str) -> AccessToken | None:
        """The token's meaning; None if it is not valid here."""


def access(token: str, client: str, scopes: Sequence[str], *, subject: str = "", expires_at: int | None = None) -> Any:
    """A token that was found good.

    `subject` is left out by SDKs before 1.26, which then know the client only.
    """
    return AccessToken.model_validate(
        {"token": token, "client_id": client, "scopes": list(scopes), "expires_at": expires_at, "subject": subject}
    )


def guarded(app: ASGIApp, verifier: TokenVerifier, *, scopes: Sequence[str] = (), resource_url: str = "") -> ASGIApp:
    """An application behind a bearer token: 401 without a valid one, 403 if it lacks a scope."""
    metadata = build_resource_metadata_url(AnyHttpUrl(resource_url)) if resource_url else None
    required = RequireAuthMiddleware(app, list(scopes), metadata)
    return AuthenticationMiddleware(required, backend=BearerAuthBackend(verifier))


def resource_metadata_routes(resource_url: str, issuer: str, scopes: Sequence[str]) -> list[BaseRoute]:
    """Where clients learn which authorization server gives tokens for us (RFC 9728)."""
    return [
        *create_protected_resource_routes(
            AnyHttpUrl(resource_url), authorization_servers=[AnyHttpUrl(issuer)], scopes_supported=list(scopes) or None
        )
    ]


def _register(server: Any, method: str, answer: Callable[[Request], Awaitable[Json]]) -> None:
    """For mcp 1.x: by the class of the request, the context in a context variable."""
    request_type, _, result_type = (getattr(types, name) for name in _METHODS[method])

    async def handle(request: Any) -> Any:
        params = request.params.model_dump(mode="json", by_alias=True, exclude_none=True) if request.params else {}
        result = await _answered(answer, _request(method, params, server.request_context))
        return types.ServerResult(result_type.model_validate(result))

    server.request_handlers[request_type] = handle


def _register_modern(server: Any, method: str, answer: Callable[[Request], Awaitable[Json]]) -> None:
    """For mcp 2.x: by name, the context as an argument. The models fill in what its newest protocol asks for."""
    params_type, result_type = (getattr(types, name) for name in _METHODS[method][1:])

    async def handle(context: Any, params: Any) -> Any:
        result = await _answered(answer, _request(method, dict(context.params or {}), context))
        return result_type.model_validate(result)

    server.add_request_handler(method, params_type, handle)


def _request(method: str, params: Json, context: Any) -> Request:
    http = context.request
    headers = dict(http.headers) if http is not None else {}
    user = http.scope.get("user") if http is not None else None
    opened = context.session.client_params
    client = getattr(opened, "clientInfo", None) or getattr(opened, "client_info", None)
    return Request(
        method=method,
        params=params,
        id=str(context.request_id),
        session=headers.get("mcp-session-id", ""),
        client=client.name if client is not None else "",
        subject=_subject(user.access_token) if isinstance(user, AuthenticatedUser) else "",
        headers=headers,
        report=_reporter(context, params),
    )


def _subject(token: AccessToken) -> str:
    return f"{token.client_id}/{getattr(token, 'subject', None) or ''}"


def _reporter(context: Any, params: Json) -> Callable[[float, str], Awaitable[None]] | None:
    token = (params.get("_meta") or {}).get("progressToken")
    if token is None:
        return None
    session, request_id = context.session, str(context.request_id)

    async def report(progress: float, text: str) -> None:
        if _MODERN:
            await session.report_progress(progress, None, text)
        else:
            await session.send_progress_notification(token, progress, None, text, related_request_id=request_id)

    return report


async def _answered(answer: Callable[[Request], Awaitable[Json]], request: Request) -> Json:
    """The answer, or a JSON-RPC error; what is unexpected is logged and told to nobody."""
    logger.debug("-> %s id=%s session=%s %.20000s", request.method, request.id, request.session or "-", request.params)
    try:
        result = await answer(request)
        logger.debug("<- %s id=%s %.20000s", request.method, request.id, result)
        return result
    except Refused as refused:
        raise _rpc_error(refused.code, str(refused)) from None
    except Exception:  # the SDK's majors differ in what they would tell
        logger.exception("%s failed", request.method)
        raise _rpc_error(INTERNAL_ERROR, "Internal error; the server's log has more.") from None


def _rpc_error(code: int, message: str) -> Exception:
    from mcp.shared import exceptions

    raised: Exception
    if _MODERN:
        raised = exceptions.MCPError(code=code, message=message)  # type: ignore[attr-defined, unused-ignore]
    else:
        raised = exceptions.McpError(types.ErrorData(code=code, message=message))
    return raised


class _Watched:
    """A stream of messages that tells of cancellations before the SDK acts upon them, and refuses unknown methods."""

    def __init__(self, stream: Any, answers: Any, cancelled: Callable[[str], None]) -> None:
        self._stream = stream
        self._answers = answers
        self._cancelled = cancelled

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        while True:
            item = await self._stream.__anext__()
            message: Any = getattr(item, "message", None)
            message = getattr(message, "root", message)
            if getattr(message, "method", None) == "notifications/cancelled":
                self._cancelled(str((message.params or {}).get("requestId", "")))
            if not hasattr(message, "method") or not hasattr(message, "id"):
                return item
            try:
                check_method({"id": message.id, "method": message.method})
            except Flaw as flaw:
                refusal = types.JSONRPCError.model_validate(flaw.answer)
                await self._answers.send(type(item)(message=types.JSONRPCMessage(refusal)))
            else:
                return item

    async def __aenter__(self) -> _Watched:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> Any:
        return await self._stream.__aexit__(*exc_info)
