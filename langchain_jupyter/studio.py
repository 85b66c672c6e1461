"""The agent for `langgraph dev`, Studio and LangGraph's server: `langgraph.json` names `graph`.

The environment says what it works with: MODEL (`provider:name`), the notebook and server under the names of the guide
(DOCUMENT_ID, JUPYTER_URL, JUPYTER_TOKEN, …), APPROVE and ISOLATION as `JupyterToolkit` and `create_jupyter_agent` take
them. Such a server has a checkpointer of its own.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from langchain_core.language_models import BaseChatModel
from langgraph.graph.state import CompiledStateGraph

from langchain_jupyter.agent import create_jupyter_agent
from langchain_jupyter.errors import SettingsError
from langchain_jupyter.settings import Environment
from langchain_jupyter.toolkit import JupyterToolkit


async def graph() -> CompiledStateGraph[Any, Any, Any, Any]:
    """The agent that the environment describes.

    Raises:
        SettingsError: MODEL is not set, or a variable has a value that cannot work.
        UsageError: No notebook is named.
    """
    model = Environment.read().model
    if not model:
        raise SettingsError("Which model? Set MODEL, such as anthropic:claude-sonnet-4-5, and the key of its provider.")
    return agent_of(model)


def agent_of(model: str | BaseChatModel) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The same agent with a model of your own, for a graph file of your own."""
    return create_jupyter_agent(model, toolkit(), approve=Environment.read().approve)


@cache
def toolkit() -> JupyterToolkit:
    """The one toolkit of the process: the server makes a graph for each run, and kernels live longer than runs.

    It is closed when the interpreter exits.
    """
    made = JupyterToolkit.from_env(isolation=Environment.read().isolation)
    made.bridge.run(_may_block)
    return made


async def _may_block() -> None:
    """Let our own loop wait for a disk: nobody else waits for it.

    `langgraph dev` has blockbuster raise BlockingError in every loop of the process, and blockbuster has no public way
    to leave one out.
    """
    try:
        watch = import_module("blockbuster.blockbuster")
    except ImportError:
        return
    watch._skip.value = True
