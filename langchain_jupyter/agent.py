"""A ready agent: LangChain's own, with our prompt and the notebook in view."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import SystemMessage

from langchain_jupyter.approvals import interrupt_on
from langchain_jupyter.errors import MissingExtra, UsageError
from langchain_jupyter.human import Approve
from langchain_jupyter.middleware import JupyterMiddleware
from langchain_jupyter.prompts import system_prompt
from langchain_jupyter.toolkit import JupyterToolkit

try:
    from langchain.agents import create_agent
    from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware
    from langchain.chat_models import init_chat_model
    from langgraph.graph.state import CompiledStateGraph
except ImportError as error:
    raise MissingExtra("agents", "create_jupyter_agent") from error

_SAID = 200


def create_jupyter_agent(
    model: str | BaseChatModel,
    toolkit: JupyterToolkit,
    *,
    task: str | None = None,
    approve: Approve = "none",
    checkpointer: Any = None,
    middleware: Sequence[AgentMiddleware[Any, Any]] = (),
    **options: Any,
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """An agent that works in the toolkit's notebook.

    Args:
        model: A chat model, or its name as `provider:name`.
        toolkit: Whose tools; it stays the caller's to close.
        task: Name of a task prompt: "data_analysis", "machine_learning", "code_review".
        approve: Which calls a person approves before they are done: "writes" to the notebook, "runs" of code, "all"
            (the kernel's restart too) or "none". One interrupt for all such calls of a turn, LangChain's HITLRequest;
            it needs a checkpointer, and goes on with `Command(resume={"decisions": [{"type": "approve"}, …]})`.
        checkpointer: LangGraph's, for threads that go on.
        middleware: Others, after ours.
        options: Passed on to `langchain.agents.create_agent`.

    Raises:
        UsageError: No such task, no such value of `approve`, or a model that cannot be made.
    """
    model = chat_model(model) if isinstance(model, str) else model
    prompt = system_prompt(task, notebook=toolkit.notebook)
    tools = toolkit.get_tools()
    ours: list[AgentMiddleware[Any, Any]] = [JupyterMiddleware(toolkit, approve=approve)]
    if gates := interrupt_on(tools, approve):
        ours.insert(0, HumanInTheLoopMiddleware(gates))
    return create_agent(
        model,
        tools=tools,
        system_prompt=SystemMessage(prompt),
        middleware=[*ours, *middleware],
        checkpointer=checkpointer,
        **options,
    )


def chat_model(name: str) -> BaseChatModel:
    """The chat model of that name, `provider:name`. Nobody is asked yet.

    Raises:
        UsageError: No such provider, its package is not installed, or it has no key.
    """
    try:
        return init_chat_model(name)
    except Exception as error:  # each provider has exceptions of its own
        said = shorten(str(error), _SAID, placeholder=" …").rstrip(".") + "."
        raise UsageError(
            f"The model {name!r} cannot be made: {said} Give it as provider:name, such as "
            "anthropic:claude-sonnet-4-5, with the provider's package installed (pip install langchain-anthropic) and "
            "its key set (ANTHROPIC_API_KEY)."
        ) from error
