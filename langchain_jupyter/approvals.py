"""Which calls a person approves, as LangChain's middleware wants to be told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from langchain_core.tools import BaseTool

from langchain_jupyter.errors import MissingExtra
from langchain_jupyter.human import Act, Approve, gated
from langchain_jupyter.tools.base import JupyterTool

try:
    from langchain.agents.middleware import InterruptOnConfig, ToolCallRequest
    from langgraph.config import get_config
except ImportError as error:
    raise MissingExtra("agents", "interrupt_on") from error


def interrupt_on(tools: Iterable[BaseTool], approve: Approve = "all") -> dict[str, bool | InterruptOnConfig]:
    """The calls that a person approves, for `HumanInTheLoopMiddleware` and `create_deep_agent`.

    The person is shown the code, or the diff. What they were shown is what runs: a cell that was changed in between
    is refused.

    Args:
        tools: Of the toolkit; others are left out.
        approve: "writes" to the notebook, "runs" of code, "all" (stopping and restarting the kernel too), "none".

    Raises:
        UsageError: No such value of `approve`.
    """
    wanted = gated(approve)
    ours = [tool for tool in tools if isinstance(tool, JupyterTool)]
    return {tool.name: _config(tool, wanted) for tool in ours if _most(tool) & wanted}


def asked_about(request: ToolCallRequest, approve: Approve) -> bool:
    """Whether a middleware with `interrupt_on(tools, approve)` has asked about this call."""
    tool = request.tool
    return isinstance(tool, JupyterTool) and bool(tool.acts(request.tool_call["args"]) & gated(approve))


def _most(tool: JupyterTool) -> frozenset[Act]:
    """What it does if every argument asks for more."""
    return tool.acts(dict.fromkeys(tool.args, True))


def _config(tool: JupyterTool, wanted: frozenset[Act]) -> InterruptOnConfig:
    def describe(tool_call: Mapping[str, Any], state: Any, runtime: Any) -> str:
        return tool.describe(tool_call, SimpleNamespace(config=get_config()))

    def when(request: ToolCallRequest) -> bool:
        return bool(tool.acts(request.tool_call["args"]) & wanted)

    changeable = tool.effect != "kernel"
    config = InterruptOnConfig(
        allowed_decisions=["approve", "edit", "reject"] if changeable else ["approve", "reject"], description=describe
    )
    if not tool.acts({}) & wanted:
        config["when"] = when
    return config
