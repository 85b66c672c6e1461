"""A Jupyter server, hub server or gateway: its REST API, its WebSockets, what it can do.

Source: https://jupyter-server.readthedocs.io/en/latest/developers/rest-api.html
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import CloseCode
from websockets.typing import Subprotocol

from langchain_jupyter.errors import ConnectionLost, ServerError, ServerRefused, ServerUnreachable
from langchain_jupyter.redaction import Redactor
from langchain_jupyter.rendering.fences import one_line
from langchain_jupyter.servers.answers import About, WrongShape, checked
from langchain_jupyter.settings import ServerSettings

T = TypeVar("T")

_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_HANDSHAKE = 30.0
_PING_INTERVAL = 15.0
_PING_TIMEOUT = 30.0  # a server that reads or writes a large notebook answers nothing meanwhile
_ATTEMPTS = 4
_LONGEST = 300.0  # seconds for a whole answer, however steadily it comes
_LARGEST = 1_000_000_000  # bytes of an answer, or of a message: a notebook is one
_EVENTS = 1_000_000  # characters of one event
_READ, _SAID = 100_000, 300  # characters of what it says went wrong: read, and told
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)

wire = logging.getLogger(f"{__name__}.wire")
wire.addFilter(lambda record: "Authorization" not in record.getMessage())  # websockets logs all headers it sends


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server offers, probed without side effects.

    Attributes:
        version: Of the server's API, such as "2.18.0".
        collaboration: Rooms of jupyter-collaboration.
        contents: Files.
        sessions: Kernels bound to notebooks.
    """

    version: str
    collaboration: bool
    contents: bool
    sessions: bool


class JupyterServer:
    """One server over HTTP and WebSocket. Foreign faults become ours here.

    Args:
        settings: Where it is, and who we are.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self._redactor = Redactor({"Jupyter token": settings.token.get_secret_value()})
        secure = settings.url.startswith("https:")
        self._ssl = settings.tls.context if secure else None
        self._client = httpx.AsyncClient(
            headers=settings.headers,
            timeout=_TIMEOUT,
            verify=self._ssl if self._ssl is not None else False,
            follow_redirects=False,  # a token goes to the host that it was given for
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # one would outlive a token that is revoked
        )

    @property
    def url(self) -> str:
        """Its base URL, without a slash at the end and without the token."""
        return self.settings.url

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str | int] | None = None,
        timeout: float | None = None,
        largest: int | None = None,
    ) -> object:
        """Ask, once. What is read of the answer goes through `ask`.

        Args:
            method: Of HTTP.
            path: Below the base URL, such as "/api/kernels"; quoted with `quoted` where it has a user's names.
            json: The body.
            params: The query.
            timeout: Seconds that it may take to answer; None for what everything but the start of a kernel needs.
            largest: Bytes that the answer may have; None for a gigabyte.

        Returns:
            The JSON of the answer; None if it has no body.

        Raises:
            ServerUnreachable: Nobody answers; nothing was sent.
            ConnectionLost: It was sent, and no whole answer came.
            ServerRefused: 401 or 403.
            ServerError: Any other status but 2xx, or an answer that is not JSON, or too large.
        """
        patience = _TIMEOUT if timeout is None else httpx.Timeout(timeout, connect=_TIMEOUT.connect)
        try:
            async with (
                asyncio.timeout(_LONGEST),
                self._client.stream(method, f"{self.url}{path}", json=json, params=params, timeout=patience) as answer,
            ):
                body = await self._body(answer, f"{method} {path}", min(largest or _LARGEST, _LARGEST))
        except TimeoutError as error:
            raise ConnectionLost(f"{method} {path} at {self.url}: no whole answer in {_LONGEST:.0f} s.") from error
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise self._unreachable(error) from error
        except httpx.TransportError as error:
            raise ConnectionLost(f"{method} {path} at {self.url}: no whole answer came ({_name(error)}).") from error
        except httpx.DecodingError as error:
            raise self._strange(path, "it is compressed, and cannot be read") from error
        if not answer.is_success:
            raise self._refusal(answer.status_code, f"{method} {path}", _reason(body, self._redactor))
        if not body:
            return None
        try:
            answered: object = jsonlib.loads(body)
        except (ValueError, RecursionError) as error:
            raise self._strange(path, "it is no JSON") from error
        return answered

    async def ask(
        self,
        shape: type[T],
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str | int] | None = None,
        timeout: float | None = None,
        largest: int | None = None,
    ) -> T:
        """As `request`; what is answered has that shape.

        Raises:
            ServerError: It has another.
        """
        answer = await self.request(method, path, json=json, params=params, timeout=timeout, largest=largest)
        return self.check(shape, answer, path)

    async def read(self, shape: type[T], path: str, *, params: Mapping[str, str | int] | None = None) -> T:
        """As `get`; what is answered has that shape.

        Raises:
            ServerError: It has another.
        """
        return self.check(shape, await self.get(path, params=params), path)

    def check(self, shape: type[T], answer: object, path: str) -> T:
        """An answer, or a part of it, in the shape that it must have.

        Raises:
            ServerError: It has another.
        """
        try:
            return checked(shape, answer)
        except WrongShape as error:
            raise self._strange(path, self._redactor.redact(str(error))) from None  # its own words may hold the token

    async def get(self, path: str, *, params: Mapping[str, str | int] | None = None) -> object:
        """Read, again with growing pauses where nobody answers: reading twice does no harm.

        Raises:
            ServerUnreachable: Nobody answered in some seconds.
            ConnectionLost: No whole answer came.
            ServerRefused: 401 or 403.
            ServerError: Any other status but 2xx, or an answer that is not JSON.
        """
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type((ServerUnreachable, ConnectionLost)),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential(0.2, max=2),
            reraise=True,
        ):
            with attempt:
                return await self.request("GET", path, params=params)
        raise AssertionError("tenacity raises or returns")

    async def capabilities(self) -> Capabilities:
        """What it can do.

        Raises:
            ServerUnreachable: Nobody answers.
            ServerRefused: The token does not give enough rights to see anything.
            ServerError: It is no Jupyter server.
        """
        about = await self.read(About, "/api")
        rooms, contents, sessions = await asyncio.gather(
            # PUT would create a room and GET is not there: 405 tells of the extension, 404 of its absence.
            self._status("/api/collaboration/session/x"),
            self._status("/api/contents", params={"content": 0}),
            self._status("/api/sessions"),
        )
        if {contents, sessions} == {403} or 401 in (contents, sessions):
            raise self._refusal(403, "GET /api/contents", "")
        return Capabilities(about.version, rooms == 405, contents == 200, sessions == 200)

    async def connect(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        largest: int = _LARGEST,
    ) -> WebSocket:
        """Open a WebSocket, once.

        Args:
            path: Below the base URL.
            params: The query.
            subprotocols: That we speak, the best first.
            largest: Bytes of a message that is taken; where one is larger, the WebSocket is closed.

        Raises:
            ServerUnreachable: Nobody answers.
            ServerRefused: 401 or 403.
            ServerError: Any other status.
        """
        query = f"?{urlencode(params)}" if params else ""
        try:
            connection = await _Connect(
                f"ws{self.url.removeprefix('http')}{path}{query}",
                additional_headers=self.settings.headers,
                subprotocols=[Subprotocol(each) for each in subprotocols] or None,
                max_size=largest,
                compression=None,
                open_timeout=_HANDSHAKE,
                ping_interval=_PING_INTERVAL,
                ping_timeout=_PING_TIMEOUT,
                ssl=self._ssl,
                logger=wire,
            )
        except InvalidStatus as error:
            raise self._refusal(error.response.status_code, f"the WebSocket {path}", "") from error
        except (OSError, TimeoutError) as error:
            raise self._unreachable(error) from error
        except WebSocketException as error:
            raise ServerError(f"{self.url} does not speak WebSocket at {path}: {_name(error)}.") from error
        return WebSocket(connection)

    async def events(self, shape: type[T], path: str) -> AsyncGenerator[T, None]:
        """The server-sent events of a path, each in that shape, until the server ends them.

        Raises:
            ServerUnreachable: Nobody answers.
            ConnectionLost: The stream broke.
            ServerRefused: 401 or 403.
            ServerError: Any other status but 2xx, or what is no event of that shape.
        """
        try:
            async with self._client.stream("GET", f"{self.url}{path}") as answer:
                if not answer.is_success:
                    raise self._refusal(answer.status_code, f"GET {path}", "")
                async for line in self._lines(answer, path):
                    if line.startswith("data:"):
                        yield self.check(shape, self._event(line.removeprefix("data:"), path), path)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise self._unreachable(error) from error
        except httpx.TransportError as error:
            raise ConnectionLost(f"GET {path} at {self.url}: the stream broke ({_name(error)}).") from error
        except httpx.DecodingError as error:
            raise self._strange(path, "it is compressed, and cannot be read") from error

    async def close(self) -> None:
        """Give the connections back. WebSockets are their owners' to close."""
        await self._client.aclose()

    async def _body(self, answer: httpx.Response, what: str, largest: int) -> bytes:
        """All of an answer, if it has an end that we can wait for."""
        chunks: list[bytes] = []
        size = 0
        async for chunk in answer.aiter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            if size > largest:
                raise ServerError(f"{self.url} answered {what} with more than {largest / 1e6:,.0f} MB.")
        return b"".join(chunks)

    async def _lines(self, answer: httpx.Response, path: str) -> AsyncIterator[str]:
        """The lines of an answer as they come, none of them without end."""
        rest = ""
        async for text in answer.aiter_text():
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                yield line
            if len(rest) > _EVENTS:
                raise self._strange(path, "an event has no end")

    def _event(self, data: str, path: str) -> object:
        try:
            event: object = jsonlib.loads(data)
        except (ValueError, RecursionError) as error:
            raise self._strange(path, "an event is no JSON") from error
        return event

    async def _status(self, path: str, *, params: Mapping[str, str | int] | None = None) -> int:
        try:
            await self.get(path, params=params)
        except ServerError as error:
            return error.status
        return 200

    def _strange(self, path: str, what: str) -> ServerError:
        return ServerError(
            f"{self.url} does not answer {path} as a Jupyter server does ({what}). Is the URL the base of one?"
        )

    def _unreachable(self, error: Exception) -> ServerUnreachable:
        if (untrusted := _untrusted(error)) is not None:
            return ServerUnreachable(
                f"The certificate of {self.url} is not trusted ({untrusted.verify_message}). Give the PEM file of the "
                "authority that signed it: TLS(ca_bundle=…), or JUPYTER_CA_BUNDLE in the environment."
            )
        return ServerUnreachable(
            f"No Jupyter server answers at {self.url} ({_name(error)}). Is it running, and is the address right?"
        )

    def _refusal(self, status: int, what: str, reason: str) -> ServerError:
        said = f": {reason}" if reason else ""
        if status in (401, 403):
            given = "was refused" if self.settings.headers else "is missing"
            return ServerRefused(
                f"{self.url} does not allow {what} ({status}{said}). The token {given}; give a valid one as token=.",
                status=status,
            )
        if 300 <= status < 400:
            said = ": it sends us elsewhere. Is the URL the base of a running server?"
        return ServerError(f"{self.url} answered {status} to {what}{said}", status=status)


class WebSocket:
    """Messages to and from a server, without the 40 ms that Nagle's algorithm and a delayed ACK cost.

    Tornado leaves Nagle on; an ACK sent at once ends its wait. Linux only, and not sticky: set after each message.

    Attributes:
        refused: Whether it was closed by us, over a message that was too large.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.refused = False
        self._connection = connection
        self._socket = connection.transport.get_extra_info("socket")

    @property
    def subprotocol(self) -> str | None:
        """What the server agreed to speak."""
        return self._connection.subprotocol

    @property
    def close_code(self) -> int | None:
        """Why it was closed; None while it is open. Source: RFC 6455, 7.4."""
        return self._connection.close_code

    @property
    def close_reason(self) -> str:
        """What the server said when it closed."""
        return self._connection.close_reason or ""

    async def send(self, data: bytes | str) -> None:
        """Send one message.

        Raises:
            ConnectionLost: It is closed.
        """
        try:
            await self._connection.send(data)
        except ConnectionClosed as error:
            raise ConnectionLost(f"The connection to the server broke ({_name(error)}).") from error

    async def __aiter__(self) -> AsyncIterator[bytes | str]:
        """The messages as they come, until it is closed by either side or breaks; `close_code` tells."""
        try:
            while True:
                data = await self._connection.recv()
                self._acknowledge()
                yield data
        except ConnectionClosed as error:
            self.refused = error.sent is not None and error.sent.code == CloseCode.MESSAGE_TOO_BIG
            return

    async def close(self) -> None:
        """Close it."""
        await self._connection.close()

    def _acknowledge(self) -> None:
        if _QUICKACK is not None and self._socket is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class _Connect(connect):
    """Without redirects: a token goes to the host that it was given for."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def quoted(path: str) -> str:
    """A path of the server's contents, as it can stand in a URL; slashes stay."""
    return quote(path.strip("/"))


def _untrusted(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The fault of a certificate that an error comes from."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def _name(error: BaseException) -> str:
    """Its class, and what it says: the reason with which a server closes a WebSocket is among that."""
    return f"{type(error).__name__}: {one_line(str(error))}" if str(error) else type(error).__name__


def _reason(body: bytes, redactor: Redactor) -> str:
    """What Jupyter says went wrong, in one line; a server may repeat what it was sent."""
    try:
        said = jsonlib.loads(body)
    except (ValueError, RecursionError):
        return ""
    message = said.get("message") or said.get("reason") if isinstance(said, Mapping) else None
    return one_line(redactor.redact(str(message or "")[:_READ]).strip(), _SAID)
