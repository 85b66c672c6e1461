"""Real MCP clients against real servers: a picture, an error, progress, a prompt and a resource through each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest

from langchain_jupyter import JupyterToolkit
from tests.serving import TOKEN, served

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "tests" / "mcp_client.py"

# Environments by the major of the SDK in them; `make mcp2` makes the second one.
PYTHONS = {"1": sys.executable, "2": str(ROOT / "build" / "mcp2" / "bin" / "python")}
CLIENTS = {"sdk": "1", "adapters": "1", "sdk 2": "2", "sdk 2 legacy": "2", "langchain.mcp": "2"}
KINDS = {"sdk 2": "sdk", "sdk 2 legacy": "sdk-legacy", "langchain.mcp": "langchain"}
WAYS = {"sessions": (), "stateless": ("--stateless",), "open": ("--no-auth",)}
# Which clients try which server, by its SDK; the first of each two lists in `make test`, the others with both SDKs.
OVER_HTTP = {
    ("1", "sessions"): (["sdk", "adapters"], ["sdk 2", "sdk 2 legacy", "langchain.mcp"]),
    ("1", "stateless"): (["sdk"], ["adapters", "sdk 2", "langchain.mcp"]),
    ("2", "sessions"): ([], ["sdk", "adapters", "sdk 2", "sdk 2 legacy", "langchain.mcp"]),
    ("2", "stateless"): ([], ["sdk", "adapters", "sdk 2", "langchain.mcp"]),
    ("2", "open"): ([], ["sdk 2"]),
}
OVER_STDIO = {"1": (["sdk"], ["adapters", "sdk 2", "langchain.mcp"]), "2": ([], ["sdk", "sdk 2", "langchain.mcp"])}


def saw(client: str, target: str, token: str) -> dict[str, Any]:
    """What a client saw at a server."""
    command = [PYTHONS[CLIENTS[client]], str(CLIENT), KINDS.get(client, client), target]
    environment = {**os.environ, "TOKEN": token}
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=environment)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def check(seen: dict[str, Any], client: str) -> None:
    assert "append_execute_code_cell" in seen["tools"]
    assert seen["tools"] == sorted(tool.name for tool in JupyterToolkit("none.ipynb").get_tools())
    assert seen["image"] == ["image/png"]
    assert seen["error"] == [True, "[cell_not_found]"]
    assert seen["raised"][0] is False
    assert seen["raised"][1].endswith("ZeroDivisionError: division by zero")
    assert "step 0\nstep 1\nstep 2" in seen["slow"]
    assert "Why did sales drop?" in seen["prompt"]
    assert "1/0" in seen["resource"]
    if KINDS.get(client, client).startswith("sdk"):
        assert seen["reads"] is True
        assert seen["output_schemas"] == []
        assert seen["progress"].splitlines() == ["step 0", "step 1", "step 2"]
        assert seen["prompts"] == ["system", "code_review", "data_analysis", "machine_learning"]
        assert seen["templates"] == 3


def over_http(folder: Path, server: str, way: str, clients: list[str]) -> None:
    """All those clients at once, at one server."""
    token = "" if way == "open" else TOKEN
    notebook = folder / "notebook.ipynb"
    with (
        served(notebook, *WAYS[way], token=token, python=PYTHONS[server]) as process,
        ThreadPoolExecutor(len(clients)) as pool,
    ):
        seen = pool.map(lambda client: saw(client, f"{process.url}/mcp", token), clients)
        for client, each in zip(clients, seen, strict=True):
            check(each, client)
    nbformat.validate(nbformat.read(notebook, as_version=4))


def over_stdio(folder: Path, server: str, client: str) -> None:
    notebook = folder / "notebook.ipynb"
    command = [PYTHONS[server], "-m", "langchain_jupyter.cli", "serve", "--notebook", str(notebook)]
    check(saw(client, json.dumps(command), ""), client)
    assert "1/0" in [cell.source for cell in nbformat.read(notebook, as_version=4).cells]


@pytest.mark.parametrize("way", ["sessions", "stateless"])
def test_clients_of_sdk_1_are_served_over_http(way: str, tmp_path: Path) -> None:
    over_http(tmp_path, "1", way, OVER_HTTP["1", way][0])


def test_a_client_of_sdk_1_is_served_over_stdio(tmp_path: Path) -> None:
    over_stdio(tmp_path, "1", "sdk")


@pytest.mark.servers
@pytest.mark.parametrize(("server", "way"), OVER_HTTP)
def test_clients_and_servers_of_both_sdks_fit_over_http(server: str, way: str, tmp_path: Path) -> None:
    over_http(tmp_path, server, way, OVER_HTTP[server, way][1])


@pytest.mark.servers
@pytest.mark.parametrize(("server", "client"), [(s, c) for s, (_, clients) in OVER_STDIO.items() for c in clients])
def test_clients_and_servers_of_both_sdks_fit_over_stdio(server: str, client: str, tmp_path: Path) -> None:
    over_stdio(tmp_path, server, client)
