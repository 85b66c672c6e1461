"""A server process: from its start to a graceful end."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from langchain_jupyter.errors import JupyterError, SettingsError
from langchain_jupyter.mcp import sdk
from langchain_jupyter.mcp.server import NotebookServer

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_TO_SAVE = 5.0
_TO_HANG_UP = 1.0
_BY_HAND = (
    "Waiting for an MCP client on stdin: clients start this command themselves. For clients that connect to a server "
    "which runs, give --transport streamable-http. Ctrl-C ends it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Where an HTTP server listens.

    Attributes:
        host: Address or name of this machine.
        port: 0 for any that is free.
        certificate: PEM file; None for http.
        key: PEM file of its key; None if it stands in `certificate`.
    """

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None

    def listen(self) -> socket.socket:
        """A socket that listens there.

        Raises:
            SettingsError: It cannot.
        """
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
        except OSError as error:
            raise SettingsError(
                f"There is no address {self.host!r} to listen on: {error.strerror or error}."
            ) from error
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError as error:
            listening.close()
            raise SettingsError(
                f"Cannot listen on {self.host} port {self.port}: {error.strerror}. {_advice(error)}"
            ) from error
        return listening


def _check_certificate(binding: Binding) -> None:
    """Whether https can be served.

    Raises:
        SettingsError: The files are not there, or are none.
    """
    if binding.certificate is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(binding.certificate, binding.key)
    except OSError as error:  # ssl.SSLError is one
        files = " and ".join(str(file) for file in (binding.certificate, binding.key) if file)
        raise SettingsError(
            f"https cannot be served with {files}: {error.strerror or error}. Give PEM files."
        ) from error


def _advice(error: OSError) -> str:
    """What helps against a socket that cannot listen."""
    if error.errno == errno.EADDRNOTAVAIL:
        return "Give an address of this machine with --host, such as 127.0.0.1 or 0.0.0.0."
    if error.errno == errno.EACCES:
        return "Ports below 1024 are the administrator's; choose another with --port."
    return "Choose another with --port, or 0 for any that is free."


async def serve_http(
    server: NotebookServer, app: ASGIApp, binding: Binding, *, grace: float, started: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT, then end within `grace` seconds.

    At the signal nothing new is accepted; calls that run get their answer if it comes in time; then the notebook is
    saved and what we started is ended. A second signal ends at once.

    Args:
        server: What is saved and closed at the end.
        app: What answers.
        binding: Where.
        grace: Seconds from the signal to the end.
        started: Told our URL once we listen.
    """
    _check_certificate(binding)
    listening = binding.listen()
    http = _HttpServer(app, binding, server, patience=max(0.0, grace - _TO_SAVE - _TO_HANG_UP))
    scheme = "https" if binding.certificate else "http"
    host, port = listening.getsockname()[:2]
    http.on_start = lambda: started(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")
    try:
        await http.serve(sockets=[listening])
    finally:
        listening.close()
        await _closed(server)


async def serve_stdio(server: NotebookServer, *, grace: float) -> None:
    """Serve one client on stdin and stdout until it closes them, or until SIGTERM or SIGINT; see `serve_http`."""
    serving = asyncio.create_task(sdk.serve_stdio(server))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in _SIGNALS:
        loop.add_signal_handler(each, stop.set)
    stopped = asyncio.create_task(stop.wait())
    if sys.stdin.isatty():
        sys.stderr.write(f"{_BY_HAND}\n")
        sys.stderr.flush()
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        server.stopping = True
        await _finished(server, max(0.0, grace - _TO_SAVE))
        await _closed(server)
        logger.info("stopped")
        # The SDK reads stdin in a thread that nothing ends but the client, and that the interpreter would wait for.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    stopped.cancel()
    try:
        await serving
    finally:
        await _closed(server)


class _HttpServer(uvicorn.Server):
    """uvicorn, with an end that lets running cells answer."""

    def __init__(self, app: ASGIApp, binding: Binding, server: NotebookServer, *, patience: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                ssl_certfile=binding.certificate,
                ssl_keyfile=binding.key,
                timeout_graceful_shutdown=int(_TO_HANG_UP),
            )
        )
        self._served = server
        self._patience = patience
        self._ending: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.on_start: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        if self.started:
            self.on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came; in the main thread, between two steps of the loop."""
        if self._served.stopping:
            self.should_exit = self.force_exit = True
            return
        self._served.stopping = True
        self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        logger.info("stopping: no new calls; %d running", len(self._served.calls))
        for listener in self.servers:
            listener.close()
        self._ending = asyncio.create_task(self._end_soon())

    async def _end_soon(self) -> None:
        await _finished(self._served, self._patience)
        self.should_exit = True


async def _finished(server: NotebookServer, patience: float) -> None:
    try:
        async with asyncio.timeout(patience):
            await server.calls.finished()
    except TimeoutError:
        logger.warning("stopping: %d calls still run", len(server.calls))


async def _closed(server: NotebookServer) -> None:
    """Save, and end what we started; not longer than it may take."""
    try:
        async with asyncio.timeout(_TO_SAVE):
            await server.close()
    except (TimeoutError, JupyterError) as error:
        logger.warning("not closed in order: %s", str(error) or "it took too long")
