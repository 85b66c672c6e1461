"""A JupyterLab of our own, with real-time collaboration, so that a person can watch and join in."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO
from urllib.parse import urlencode

from pydantic import SecretStr

from langchain_jupyter.errors import JupyterError, MissingExtra, OutOfReach, ServerUnreachable
from langchain_jupyter.servers.answers import KernelModel
from langchain_jupyter.servers.server import JupyterServer, quoted
from langchain_jupyter.settings import ServerSettings

_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 5.0
_POLL = 0.1
_LOG_LINES = 12

# JupyterLab, and a thread that ends it when its standard input does: with us, however we end.
_CHILD = """\
import os, runpy, signal, threading

def follow():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)

threading.Thread(target=follow, daemon=True).start()
runpy.run_module("jupyterlab", run_name="__main__", alter_sys=True)
"""


class LabServer:
    """A `jupyter lab` as a child process, on this machine only, with a token of its own.

    Its kernels end with it, and it ends with us, also where we are killed. What it writes besides the notebooks (the
    rooms' history, its log) goes into a temporary folder. Kernels may print faster than Jupyter's limit of 1 MB/s.

    Args:
        root: Folder that it serves.
        port: TCP port; 0 for a free one.
    """

    def __init__(self, root: Path, *, port: int = 0) -> None:
        self.root = root
        self._port = port
        self._token = secrets.token_urlsafe(24)
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._log: IO[bytes] | None = None

    @property
    def token(self) -> SecretStr:
        """With which it is reached; known before it is started."""
        return SecretStr(self._token)

    @property
    def settings(self) -> ServerSettings:
        """How to reach it, once it is started."""
        return ServerSettings(url=f"http://127.0.0.1:{self._port}", token=self.token)

    @property
    def pid(self) -> int | None:
        """Of its process; None while it is not running."""
        return None if self._process is None else self._process.pid

    def page(self, notebook: str = "") -> str:
        """Address of JupyterLab for a browser, with the token; of one notebook if its path is given."""
        path = f"/lab/tree/{quoted(notebook)}" if notebook else "/lab"
        return f"{self.settings.url}{path}?{urlencode({'token': self._token})}"

    async def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            MissingExtra: JupyterLab or its collaboration extension is not installed.
            OutOfReach: The port is taken; it ended, or did not answer within a minute: says what it printed last.
        """
        if any(importlib.util.find_spec(name) is None for name in ("jupyterlab", "jupyter_server_ydoc")):
            raise MissingExtra("lab", "A JupyterLab of our own")
        self._port = _free_port(self._port)
        self._scratch = tempfile.TemporaryDirectory(prefix="jupyter-lab-", ignore_cleanup_errors=True)
        self._log = open(Path(self._scratch.name) / "log", "wb")  # noqa: ASYNC230, SIM115
        self._process = subprocess.Popen(  # noqa: ASYNC220, a few milliseconds
            self._command(Path(self._scratch.name)),
            cwd=self.root,
            env={**os.environ, "JUPYTER_TOKEN": self._token},
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # a Ctrl-C in our terminal is ours: we end it in order
        )
        try:
            await self._answering(self._process)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End its kernels, then the server; by force after some seconds."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            await self._end_kernels()
            # With a room open it ignores SIGTERM; the second SIGINT answers the question that the first one asks.
            for _ in range(2):
                process.send_signal(signal.SIGINT)
                await asyncio.sleep(_POLL)
            if not await _ended(process):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await _ended(process)
        if process is not None and process.stdin is not None:
            process.stdin.close()
        if self._log is not None:
            self._log.close()
        if self._scratch is not None:
            self._scratch.cleanup()

    def _command(self, scratch: Path) -> list[str]:
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": self._port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.root.resolve(),
            "ServerApp.open_browser": False,
            "ServerApp.allow_root": hasattr(os, "geteuid") and os.geteuid() == 0,
            "ZMQChannelsWebsocketConnection.limit_rate": False,
            "SQLiteYStore.db_path": scratch / "rooms.db",
            "YDocExtension.session_store_path": scratch / "sessions.json",
            "BaseFileIdManager.db_path": scratch / "file_ids.db",
        }
        return [sys.executable, "-c", _CHILD, *(f"--{name}={value}" for name, value in options.items())]

    async def _answering(self, process: subprocess.Popen[bytes]) -> None:
        server = JupyterServer(self.settings)
        deadline = time.monotonic() + _START_TIMEOUT
        try:
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    raise OutOfReach(f"JupyterLab ended as it started. It said:\n{self._said()}")
                with contextlib.suppress(ServerUnreachable):
                    await server.request("GET", "/api")
                    return
                await asyncio.sleep(_POLL)
        finally:
            await server.close()
        raise OutOfReach(f"JupyterLab did not answer within {_START_TIMEOUT:.0f}s. It said:\n{self._said()}")

    def _said(self) -> str:
        """The last lines of its log."""
        assert self._scratch is not None
        lines = (Path(self._scratch.name) / "log").read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:]).replace(self._token, "…")

    async def _end_kernels(self) -> None:
        server = JupyterServer(self.settings)
        try:
            async with asyncio.timeout(_STOP_TIMEOUT):
                for kernel in await server.ask(list[KernelModel], "GET", "/api/kernels"):
                    await server.request("DELETE", f"/api/kernels/{kernel.id}")
        except (JupyterError, TimeoutError):
            pass  # a server that does not answer is ended by force, and its kernels see that their parent is gone
        finally:
            await server.close()


async def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        await asyncio.to_thread(process.wait, _STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        return False
    return True


def _free_port(port: int) -> int:
    """A port that can be listened on: the given one, or any if it is 0.

    Raises:
        OutOfReach: Somebody else listens there.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does, after one that has ended
        try:
            listener.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise OutOfReach(
                f"Port {port} of this machine cannot be listened on: {getattr(error, 'strerror', error)}. "
                "Give another port, or 0 for any that is free."
            ) from error
        return int(listener.getsockname()[1])
