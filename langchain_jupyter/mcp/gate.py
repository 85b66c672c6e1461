"""What is let in over HTTP: names we are known by, pages, sizes, and how many at a time."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from langchain_jupyter.errors import JupyterError

logger = logging.getLogger(__name__)

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# Probes come by the address of a pod, and there is nothing to see without a token.
_ANY_NAME = frozenset({"/api/healthz", "/metrics"})
_KNOWN = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """What is let in.

    Attributes:
        names: Host names that clients know us by, besides those of this machine.
        origins: Pages that browsers may call us from, besides those of our own names.
        body: Bytes of one request.
        rate: Requests per minute of one client; 0 for no limit.
        concurrent: Requests that are answered at a time; open event streams do not count.
    """

    names: Sequence[str] = ()
    origins: Sequence[str] = ()
    body: int = 4 * 1024 * 1024
    rate: int = 3_000
    concurrent: int = 64


class Gate:
    """Refuses what must not come in, before anybody reads it: 421, 403, 413, 429, 503."""

    def __init__(self, app: ASGIApp, settings: GateSettings) -> None:
        self._app = app
        self._settings = settings
        self._names = _LOOPBACK | {name.lower() for name in settings.names}
        self._buckets: dict[str, tuple[float, float]] = {}
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = MutableHeaders(scope=scope)
        if "x-request-id" not in headers:
            headers["x-request-id"] = uuid.uuid4().hex[:12]
        answer = self._refused(scope, headers)
        if answer is not None:
            logger.warning("refused status=%d path=%s", answer.status_code, scope["path"][:80])
            await answer(scope, receive, send)
            return
        await self._let_in(scope, receive, _with_request_id(send, headers["x-request-id"]))

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        counts = scope["method"] != "GET"
        self._open += counts
        try:
            if counts:
                receive = await self._read(receive)
            await self._app(scope, receive, send)
        except _TooLarge:
            await refusal(413, f"A request may have {self._settings.body:,} bytes.")(scope, receive, send)
        except JupyterError as error:  # an authorization server that does not answer
            logger.warning("unavailable: %s", error)
            await refusal(503, str(error))(scope, receive, send)
        finally:
            self._open -= counts

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        host, origin = _host(headers.get("host", "")), headers.get("origin")
        if host not in self._names and scope["path"] not in _ANY_NAME:
            return refusal(421, f"Nothing is served here as {host[:80]!r}. Start the server with --host-name NAME.")
        if origin is not None and origin not in self._settings.origins and _host_of(origin) not in self._names:
            return refusal(403, f"Pages of {origin[:80]!r} may not call. Start the server with --allow-origin ORIGIN.")
        if _declared(headers) > self._settings.body:
            return refusal(413, f"A request may have {self._settings.body:,} bytes.")
        if scope["path"] in _ANY_NAME:
            return None
        if self._open >= self._settings.concurrent and scope["method"] != "GET":
            return refusal(503, "Too many requests at a time. Try again.", {"Retry-After": "1"})
        if (seconds := self._too_fast(scope, headers)) > 0:
            return refusal(429, "Too many requests a minute. Try again later.", {"Retry-After": f"{seconds:.0f}"})
        return None

    def _too_fast(self, scope: Scope, headers: Headers) -> float:
        """Seconds that this client has to wait; 0 for none. A bucket of one minute's requests, filled evenly."""
        rate = self._settings.rate
        if not rate:
            return 0
        client = headers.get("authorization") or (scope.get("client") or ("",))[0]
        now = time.monotonic()
        left, at = self._buckets.pop(client, (float(rate), now))
        left = min(rate, left + (now - at) * rate / 60)
        spent = left >= 1
        self._buckets[client] = (left - spent, now)
        while len(self._buckets) > _KNOWN:
            del self._buckets[next(iter(self._buckets))]
        return 0 if spent else max(1, (1 - left) * 60 / rate)

    async def _read(self, receive: Receive) -> Receive:
        """The whole body, in memory, if it is not too large.

        Raises:
            _TooLarge: It is.
        """
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                break
            body += message.get("body", b"")
            if len(body) > self._settings.body:
                raise _TooLarge
            if not message.get("more_body"):
                message = {"type": "http.request", "body": bytes(body), "more_body": False}
                break
        waiting: list[Message] = [message]

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        return again


class _TooLarge(Exception):
    """A body is larger than it may be."""


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An answer that says what is wrong and what to do."""
    return JSONResponse({"error": message}, status, headers)


def _with_request_id(send: Send, request_id: str) -> Send:
    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["x-request-id"] = request_id
        await send(message)

    return tell


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    return _host_of(f"//{header}")


def _host_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _declared(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdigit() else 0
