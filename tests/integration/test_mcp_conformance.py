"""The conformance suite of MCP, and its inspector, at our server: `make test-mcp` installs both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.serving import TOKEN, served

ROOT = Path(__file__).parents[2]
BIN = ROOT / "build" / "mcp-tools" / "node_modules" / ".bin"
PYTHONS = {"1": sys.executable, "2": str(ROOT / "build" / "mcp2" / "bin" / "python")}

INSPECTOR = ["--cli", "--connect-timeout", "120000"]

FOR_US = {
    "server-initialize",
    "ping",
    "completion-complete",
    "tools-list",
    "server-sse-multiple-streams",
    "resources-list",
    "prompts-list",
    "dns-rebinding-protection",
}

# The suite is written for a server made for it, and we are none. What each of these asks for, as we say that we have
# not got it: the same is asked of tools, prompts and resources that we do have in `test_mcp_clients.py`.
NOT_FOR_US = {
    "tools-call-simple-text": "Unknown tool 'test_simple_text'",
    "tools-call-image": "Unknown tool 'test_image_content'",
    "tools-call-audio": "Unknown tool 'test_audio_content'",
    "tools-call-embedded-resource": "Unknown tool 'test_embedded_resource'",
    "tools-call-mixed-content": "Unknown tool 'test_multiple_content_types'",
    "tools-call-error": "Unknown tool 'test_error_handling'",
    "tools-call-with-progress": "Unknown tool 'test_tool_with_progress'",
    "json-schema-2020-12": "Tool 'json_schema_2020_12_tool' not found",
    "prompts-get-simple": "No prompt 'test_simple_prompt'",
    "prompts-get-with-args": "No prompt 'test_prompt_with_arguments'",
    "prompts-get-embedded-resource": "No prompt 'test_prompt_with_embedded_resource'",
    "prompts-get-with-image": "No prompt 'test_prompt_with_image'",
    "resources-read-text": "No resource 'test://static-text'",
    "resources-read-binary": "No resource 'test://static-binary'",
    "resources-templates-read": "No resource 'test://template/123/data'",
    # We ask nothing of clients in mid-call: whoever has a model and a person is the client.
    "tools-call-sampling": "Unknown tool 'test_sampling'",
    "tools-call-elicitation": "Unknown tool 'test_elicitation'",
    "elicitation-sep1034-defaults": "Unknown tool 'test_elicitation_sep1034_defaults'",
    "elicitation-sep1330-enums": "Unknown tool 'test_elicitation_sep1330_enums'",
    # Capabilities that a server may have, and that we do not declare.
    "logging-set-level": "Method not found",
    "tools-call-with-logging": "Method not found",
    "resources-subscribe": "Method not found",
    "resources-unsubscribe": "Method not found",
    # A stream that broke is not taken up again; the cell runs on, and can be asked for (`Idempotency-Key`).
    "server-sse-polling": "This is recommended for resumability",
}

pytestmark = pytest.mark.servers


def node(tool: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run one of the tools, with a folder for what it writes."""
    assert (BIN / tool).exists(), "`make test-mcp` installs it"
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(home)}
    return subprocess.run(
        [BIN / tool, *arguments], capture_output=True, text=True, timeout=150, env=environment, cwd=home
    )


def checks(results: Path) -> dict[str, list[dict[str, Any]]]:
    """What was checked, by scenario: folders are named after it and the time."""
    found = {}
    for file in results.glob("server-*/checks.json"):
        scenario = file.parent.name.removeprefix("server-")[: -len("-2026-01-01T00-00-00-000Z")]
        found[scenario] = json.loads(file.read_text())
    return found


@pytest.mark.parametrize("sdk", PYTHONS)
def test_the_server_conforms(sdk: str, tmp_path: Path) -> None:
    with served(tmp_path / "a.ipynb", "--no-auth", token="", python=PYTHONS[sdk]) as process:
        options = ["--url", f"{process.url}/mcp", "--suite", "all", "-o", str(tmp_path / "results")]
        done = node("conformance", "server", *options, home=tmp_path)

    found = checks(tmp_path / "results")
    assert found.keys() == FOR_US | NOT_FOR_US.keys(), done.stderr
    for scenario in FOR_US:
        statuses = [check["status"] for check in found[scenario]]
        assert set(statuses) == {"SUCCESS"}, found[scenario]
    for scenario, lacking in NOT_FOR_US.items():
        (said,) = {lacking in check.get("errorMessage", "") for check in found[scenario] if _speaks(check)}
        assert said, found[scenario]


def _speaks(check: Mapping[str, Any]) -> bool:
    return check["status"] == "FAILURE" or check["id"] == "server-sse-priming-event"


def test_the_inspector_works_over_http(tmp_path: Path) -> None:
    def inspected(*arguments: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
        who = ["--header", f"Authorization: Bearer {token}"] if token else ["--stored-auth-only"]
        return node("mcp-inspector", *INSPECTOR, f"{process.url}/mcp", *who, *arguments, home=tmp_path)

    def seen(*arguments: str) -> Any:
        done = inspected(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with served(tmp_path / "a.ipynb") as process:
        listed = inspected("--method", "tools/list", "--strict")
        call = ["--method", "tools/call", "--tool-name", "append_execute_code_cell", "--tool-arg"]
        ran = seen(*call, "source=print('seen by the inspector')")
        resource = seen("--method", "resources/list")["resources"][0]
        read = seen("--method", "resources/read", "--uri", resource["uri"])
        templates = seen("--method", "resources/templates/list")["resourceTemplates"]
        asked = ["--method", "prompts/get", "--prompt-name", "data_analysis", "--prompt-args"]
        prompt = seen(*asked, "request=Why did sales drop?")
        unknown = inspected("--method", "tools/call", "--tool-name", "nope")
        stranger = inspected("--method", "tools/list", token="")

    assert (listed.returncode, listed.stderr.strip()) == (0, "")  # the strictest reading of our schemas
    assert ran["isError"] is False
    assert "seen by the inspector" in ran["content"][0]["text"]
    assert "seen by the inspector" in read["contents"][0]["text"]
    assert len(templates) == 3
    assert "Why did sales drop?" in prompt["messages"][0]["content"]["text"]
    assert (unknown.returncode, stranger.returncode) != (0, 0)
    assert "auth_required" in stranger.stderr


def test_the_inspector_works_over_stdio(tmp_path: Path) -> None:
    command: Sequence[str] = [sys.executable, "-m", "langchain_jupyter.cli", "serve", "--notebook", "a.ipynb"]

    done = node("mcp-inspector", *INSPECTOR, *command, "--method", "tools/list", home=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "append_execute_code_cell" in {tool["name"] for tool in json.loads(done.stdout)["tools"]}
