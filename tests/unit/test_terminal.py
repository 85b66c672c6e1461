"""What the commands print of an agent."""

from __future__ import annotations

from io import StringIO

from langchain_core.messages import ToolMessage
from rich.console import Console

from langchain_jupyter.redaction import Redactor
from langchain_jupyter.terminal import Terminal, presentable
from langchain_jupyter.testing import calls, tool_call


def test_what_a_model_says_and_asks_for_is_shown_without_secrets() -> None:
    redactor, out = Redactor({"MY_TOKEN": "tr0ub4dor&3-horse"}), StringIO()
    asked = calls(tool_call("run_code", code="login('tr0ub4dor&3-horse')"), text="I use tr0ub4dor&3-horse.")

    shown = presentable(asked, redactor)
    Terminal(Console(file=out, width=200)).messages([shown])

    assert "tr0ub4dor" not in out.getvalue()
    assert "tr0ub4dor" not in str(shown)
    assert "login('[redacted: MY_TOKEN]')" in out.getvalue()
    assert "tr0ub4dor" in str(asked)  # the agent's own thread is as it was


def test_results_of_tools_are_shown_as_they_are() -> None:
    message = ToolMessage("a1b2 ok", tool_call_id="c")

    assert presentable(message, Redactor({})) is message
