"""LangChain and LangGraph agents in live Jupyter notebooks."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from langchain_jupyter.errors import JupyterError, ToolError, UsageError
from langchain_jupyter.settings import OutputLimits
from langchain_jupyter.toolkit import JupyterToolkit

if TYPE_CHECKING:
    from langchain_jupyter.agent import JupyterMiddleware, create_jupyter_agent

__version__ = version("langchain-jupyter")

__all__ = [
    "JupyterError",
    "JupyterMiddleware",
    "JupyterToolkit",
    "OutputLimits",
    "ToolError",
    "UsageError",
    "create_jupyter_agent",
]


def __getattr__(name: str) -> Any:
    """The agent's names need the extra `agents`, so they are looked up when they are asked for."""
    if name in ("JupyterMiddleware", "create_jupyter_agent"):
        from langchain_jupyter import agent

        return getattr(agent, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
