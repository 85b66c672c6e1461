"""Parts of the MCP server that need no server."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap

import pytest

from langchain_jupyter.errors import MissingExtra
from langchain_jupyter.mcp.resources import Address


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
