"""Parts of the MCP server that need no server."""

from __future__ import annotations

import importlib
import json
import logging
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typer.main import get_command

from langchain_jupyter.cli import app
from langchain_jupyter.errors import MissingExtra
from langchain_jupyter.mcp.command import log_handler
from langchain_jupyter.mcp.resources import Address
from langchain_jupyter.redaction import Redactor

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize(
    ("address", "uri"),
    [
        (Address("analysis.ipynb"), "notebook://analysis.ipynb"),
        (Address("/home/ada/My notes.ipynb"), "notebook:///home/ada/My%20notes.ipynb"),
        (Address("a/ü#?.ipynb", cell="a1b2"), "notebook://a/%C3%BC%23%3F.ipynb/cells/a1b2"),
        (Address("cells/outputs/a.ipynb", output="o3"), "notebook://cells/outputs/a.ipynb/outputs/o3"),
    ],
)
def test_an_address_and_its_uri_mean_the_same(address: Address, uri: str) -> None:
    assert address.uri == uri
    assert Address.parse(uri) == address


@pytest.mark.parametrize("uri", ["", "notebook://", "file:///etc/passwd", "NOTEBOOK"])
def test_what_is_no_notebook_has_no_address(uri: str) -> None:
    assert Address.parse(uri) is None


def test_a_missing_sdk_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    monkeypatch.setitem(sys.modules, "mcp.types", None)
    monkeypatch.delitem(sys.modules, "langchain_jupyter.mcp.sdk", raising=False)

    with pytest.raises(MissingExtra, match=r"pip install 'langchain-jupyter\[mcp\]'"):
        importlib.import_module("langchain_jupyter.mcp.sdk")


def test_the_server_starts_without_a_grammar_that_it_never_uses_and_iris_are_checked_all_the_same() -> None:
    code = """
        import sys
        import langchain_jupyter.mcp.sdk
        import jsonschema
        compiled = [name for name in sys.modules if name.startswith(("rfc3987_syntax", "lark"))]
        checker = jsonschema.Draft7Validator.FORMAT_CHECKER
        print(compiled, checker.conforms("http://ü.example", "iri"), checker.conforms("no iri", "iri"))
    """

    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)

    assert done.stdout == "[] True False\n", done.stderr


def snippets() -> dict[str, str]:
    """What the README says to write down, by client."""
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| `(.*)` \|$", README.read_text(), re.MULTILINE)
    return {name: text for name, text in rows if text.startswith(("{", "claude mcp add"))}


def test_what_clients_are_told_can_be_read_and_names_options_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("PORT", "HOST"):
        monkeypatch.delenv(variable, raising=False)
    told = snippets()
    servers = {name: json.loads(text) for name, text in told.items() if text.startswith("{")}
    (desktop,) = servers["Claude Desktop"]["mcpServers"].values()
    (cursor,) = servers["Cursor"]["mcpServers"].values()
    (code,) = servers["VS Code"]["servers"].values()
    name, separator, *started = shlex.split(told["Claude Code"].removeprefix("claude mcp add "))
    serve = get_command(app).commands["serve"]  # type: ignore[attr-defined]

    assert {"Claude Desktop", "Claude Code", "the same, over HTTP", "Cursor", "VS Code"} == told.keys()
    for command, *arguments in ([desktop["command"], *desktop["args"]], started):
        assert (command, arguments[0]) == ("langchain-jupyter", "serve")
        assert serve.make_context("serve", arguments[1:]).params["notebook"].endswith("analysis.ipynb")
    assert (name, separator, code["type"]) == ("jupyter", "--", "http")
    default = serve.make_context("serve", []).params
    address = f"http://{default['host']}:{default['port']}/mcp"
    assert cursor == {"url": address, "headers": {"Authorization": "Bearer TOKEN"}}
    assert (code["url"], code["headers"]) == (cursor["url"], cursor["headers"])
    assert address in told["the same, over HTTP"]


@pytest.mark.parametrize(
    ("logger", "length"), [("mcp.server", 200), ("root", 200), ("langchain_jupyter.mcp.sdk", 2_000)]
)
def test_a_log_line_that_is_cut_does_not_end_in_half_a_secret(logger: str, length: int) -> None:
    secret = "tok-0123456789abcdefghijklmnopqrst"
    handler = log_handler(Redactor({"MCP token": secret}))
    text = "x" * (length - 10) + secret + "y" * length
    record = logging.LogRecord(logger, logging.DEBUG, "", 0, "%s", (text,), None)

    assert handler.filter(record)
    line = handler.format(record)

    assert len(line) < length + 100
    assert line.count("x") >= length - 10
    assert secret[:5] not in line
