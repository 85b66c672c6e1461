"""A JupyterHub for tests: any user, named servers, processes of this machine, one server that is slow to start."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from langchain_jupyter.servers.server import JupyterServer
from langchain_jupyter.settings import ServerSettings
from tests.servers import Child, free_port

PROXY = Path(__file__).parents[1] / "build" / "servers" / "node_modules" / ".bin" / "configurable-http-proxy"
TOKEN = "token-of-the-tests"
SLOW = "slow"

CONFIG = """\
import asyncio

async def before(spawner):
    if spawner.name == "{slow}":
        await asyncio.sleep(3)

c.JupyterHub.bind_url = "http://127.0.0.1:{port}/base/"
c.JupyterHub.hub_port = {hub_port}
c.JupyterHub.db_url = "sqlite:///{root}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{root}/cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{root}/{{username}}"
c.SimpleLocalProcessSpawner.interrupt_timeout = 1  # a server with a room ends by force only
c.SimpleLocalProcessSpawner.term_timeout = 1
c.JupyterHub.allow_named_servers = True
c.JupyterHub.services = [{{"name": "tests", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [
    {{
        "name": "tests",
        "services": ["tests"],
        "scopes": ["admin:users", "admin:servers", "access:servers", "tokens"],
    }}
]
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.Spawner.cmd = ["{python}", "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root", "--SQLiteYStore.db_path={root}/rooms.db"]
c.Spawner.pre_spawn_hook = before
c.ConfigurableHTTPProxy.command = ["{proxy}"]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.pid_file = "{root}/proxy.pid"
"""


class Hub:
    """The hub, and what its administrator does.

    Args:
        root: Folder for all that it keeps; a user's notebooks are in `root / user`.
    """

    def __init__(self, root: Path) -> None:
        assert PROXY.exists(), "the hub's proxy is not installed: make test-servers"
        self.root = root
        port = free_port()
        config = root / "jupyterhub_config.py"
        config.write_text(
            CONFIG.format(
                root=root,
                port=port,
                hub_port=free_port(),
                proxy_port=free_port(),
                python=sys.executable,
                proxy=PROXY,
                token=TOKEN,
                slow=SLOW,
            )
        )
        self.url = f"http://127.0.0.1:{port}/base"
        self.child = Child(
            [sys.executable, "-m", "jupyterhub", "-f", str(config)],
            ServerSettings(url=f"{self.url}/hub", token=SecretStr(TOKEN)),
            log=root / "hub.log",
            cwd=root,
        )

    async def request(self, method: str, path: str, json: dict[str, Any] | None = None) -> Any:
        """Ask the hub's REST API, as its administrator."""
        server = JupyterServer(self.child.settings)
        try:
            return await server.request(method, f"/api{path}", json=json or {}, timeout=60)
        finally:
            await server.close()

    async def settings(self, user: str, name: str = "", *, scopes: Sequence[str] = ("servers",)) -> ServerSettings:
        """How that user reaches one of their servers, with a token that may use it, and what else `scopes` say."""
        if user not in {each["name"] for each in await self.request("GET", "/users")}:
            (self.root / user).mkdir()
            await self.request("POST", f"/users/{user}")
        limited = [f"access:servers!user={user}", *(f"{scope}!user={user}" for scope in scopes)]
        made = await self.request("POST", f"/users/{user}/tokens", {"scopes": limited})
        url = f"{self.url}/user/{user}" + (f"/{name}" if name else "")
        return ServerSettings(url=url, token=SecretStr(made["token"]))

    async def stop(self, user: str, name: str = "") -> None:
        """Stop a user's server."""
        await self.request("DELETE", f"/users/{user}/servers/{name}" if name else f"/users/{user}/server")
