"""Servers that tests start, stop, freeze and kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import httpx
from pydantic import SecretStr

from langchain_jupyter.settings import TLS, ServerSettings

_PORTS = range(20_000, 32_000)
_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 30.0  # a hub stops its users' servers first


def free_port() -> int:
    """One that nobody listens on, below those that the system gives to whoever asks for any: they might come first."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


class Child:
    """A server as a child process, in a process group of its own; `async with` ends it.

    Args:
        command: What starts it.
        settings: How to reach it.
        log: File that gets what it prints.
        env: Environment variables besides ours.
        cwd: Its working directory.
        ready: Path that answers as soon as it is ready.
    """

    def __init__(
        self,
        command: Sequence[str],
        settings: ServerSettings,
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready: str = "/api",
    ) -> None:
        self.command = command
        self.settings = settings
        self.log = log
        self._env = {**os.environ, **(env or {})}
        self._cwd = cwd
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
            )
        tls = self.settings.tls.context if self.settings.url.startswith("https:") else True
        async with asyncio.timeout(_START_TIMEOUT), httpx.AsyncClient(verify=tls) as client:
            while True:
                assert self._process.poll() is None, self.log.read_text()
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.get(f"{self.settings.url}{self._ready}", timeout=5)
                    if answer.is_success or answer.status_code in (401, 403):
                        return
                await asyncio.sleep(0.1)

    @property
    def pid(self) -> int:
        """Of the server."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """To the server alone; its kernels go on."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """End it without a warning; its kernels see that their parent is gone."""
        self.signal(signal.SIGKILL)
        await self._wait()

    async def close(self) -> None:
        """End it in order, by force if that takes long."""
        if self._process is None or self._process.poll() is not None:
            return
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            await self._wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _wait(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(_STOP_TIMEOUT):
            while self._process.poll() is None:
                await asyncio.sleep(0.02)


def jupyter_server(root: Path, *options: str, port: int = 0, token: str = "", log: Path | None = None) -> Child:
    """A bare Jupyter server: kernels, sessions, contents; no page, no rooms. Logs into its folder if not told where."""
    port, token = port or free_port(), token or secrets.token_urlsafe(16)
    command = [
        *(sys.executable, "-m", "jupyter_server", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
        *("--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}", "--ServerApp.open_browser=False"),
        *("--ServerApp.allow_root=True", "--ServerApp.jpserver_extensions={'jupyter_server_ydoc': False}", *options),
    ]
    settings = ServerSettings(url=f"http://127.0.0.1:{port}", token=SecretStr(token))
    return Child(command, settings, log=log or root / "server.log", env={"JUPYTER_TOKEN": token})


def collaboration_server(
    root: Path, state: Path, *options: str, port: int = 0, token: str = "", certificate: Path | None = None
) -> Child:
    """A Jupyter server with rooms; `state` keeps their history over a restart. With a certificate, over https."""
    port, token = port or free_port(), token or secrets.token_urlsafe(16)
    state.mkdir(exist_ok=True)
    command = [
        *(sys.executable, "-m", "jupyter_server", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
        *("--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}", "--ServerApp.open_browser=False"),
        "--ServerApp.allow_root=True",
        "--ServerApp.jpserver_extensions={'jupyter_server_ydoc': True, 'jupyter_server_fileid': True}",
        f"--SQLiteYStore.db_path={state / 'rooms.db'}",
        f"--YDocExtension.session_store_path={state / 'sessions.json'}",
        f"--BaseFileIdManager.db_path={state / 'file_ids.db'}",
        *((f"--ServerApp.certfile={certificate}",) if certificate else ()),
        *options,
    ]
    scheme = "https" if certificate else "http"
    tls = TLS(ca_bundle=certificate)
    settings = ServerSettings(url=f"{scheme}://127.0.0.1:{port}", token=SecretStr(token), tls=tls)
    return Child(command, settings, log=state / "server.log", env={"JUPYTER_TOKEN": token})
