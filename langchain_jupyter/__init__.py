"""LangChain and LangGraph agents in live Jupyter notebooks."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from langchain_jupyter.errors import JupyterError, ToolError, UsageError
from langchain_jupyter.settings import NotebookLimits, OutputLimits
from langchain_jupyter.toolkit import JupyterToolkit

if TYPE_CHECKING:
    from langchain_jupyter.agent import create_jupyter_agent
    from langchain_jupyter.approvals import interrupt_on
    from langchain_jupyter.middleware import JupyterMiddleware

__version__ = version("langchain-jupyter")

__all__ = [
    "JupyterError",
    "JupyterMiddleware",
    "JupyterToolkit",
    "NotebookLimits",
    "OutputLimits",
    "ToolError",
    "UsageError",
    "create_jupyter_agent",
    "interrupt_on",
]

_AGENTS = {"JupyterMiddleware": "middleware", "create_jupyter_agent": "agent", "interrupt_on": "approvals"}


def __getattr__(name: str) -> Any:
    """The agent's names need the extra `agents`, so they are looked up when they are asked for."""
    if name in _AGENTS:
        from importlib import import_module

        return getattr(import_module(f"langchain_jupyter.{_AGENTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
