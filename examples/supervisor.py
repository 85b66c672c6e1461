"""A supervisor with an analyst and a reviewer, who work on one notebook.

The analyst has all tools, the reviewer those that only read. Each has a memory of its own of what it has seen, so that
the analyst's changes do not count as seen by the reviewer, and the other way round.

    python examples/supervisor.py anthropic:claude-sonnet-4-5 "Why did sales drop in March? See sales.csv."
"""

from __future__ import annotations

import sys
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool

from langchain_jupyter import JupyterToolkit, create_jupyter_agent

BOSS = (
    "You lead an analyst and a reviewer who work in one notebook. Have the analyst do one step at a time, have the "
    "reviewer check what matters, and have what they find mended. Answer with what was found and what is uncertain."
)
REVIEWER = (
    "You review a notebook and change nothing. Say which cells do not show what is claimed of them, by handle, and "
    "what is wrong; or that you found nothing."
)


def supervisor(
    toolkit: JupyterToolkit,
    *,
    boss: str | BaseChatModel,
    analyst: str | BaseChatModel,
    reviewer: str | BaseChatModel,
    checkpointer: Any = None,
) -> Any:
    """The three of them as one agent."""
    reading = [each for each in toolkit.get_tools() if (each.metadata or {}).get("effect") == "read"]
    worker = create_jupyter_agent(analyst, toolkit, task="data_analysis")
    reader = create_agent(reviewer, reading, system_prompt=REVIEWER)

    @tool
    def analyse(task: str, config: RunnableConfig) -> str:
        """Have the analyst do a task in the notebook; gives what they report."""
        return report(worker, task, config, "analyst")

    @tool
    def review(question: str, config: RunnableConfig) -> str:
        """Have the reviewer look at the notebook; gives what they found."""
        return report(reader, question, config, "reviewer")

    return create_agent(boss, [analyse, review], system_prompt=BOSS, checkpointer=checkpointer)


def report(agent: Any, task: str, config: RunnableConfig, name: str) -> str:
    """What one of them says at the end."""
    own: RunnableConfig = {**config, "configurable": {**config.get("configurable", {}), "caller_session": name}}
    text: str = agent.invoke({"messages": [("user", task)]}, own)["messages"][-1].text
    return text


if __name__ == "__main__":
    model, question = sys.argv[1:]
    with JupyterToolkit("analysis.ipynb") as notebook:
        team = supervisor(notebook, boss=model, analyst=model, reviewer=model)
        print(team.invoke({"messages": [("user", question)]})["messages"][-1].text)
