"""A notebook and a kernel for each LangGraph thread."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import nbformat
import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from langchain_jupyter import JupyterToolkit, UsageError, create_jupyter_agent
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer
from langchain_jupyter.testing import ScriptedModel, calls, tool_call
from tests.notebooks import sources


def config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def says(text: str) -> Any:
    return {"messages": [("user", text)]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.ipynb"
    cell = nbformat.v4.new_code_cell("shared = 1", id="first-cell")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    return path


def run_what_was_asked() -> ScriptedModel:
    """A model that runs the user's words, in every thread."""

    def turn(messages: Any) -> Any:
        last = [message for message in messages if message.name != "notebook_state"][-1]
        if isinstance(last, HumanMessage):
            return calls(tool_call("append_execute_code_cell", source=last.text))
        return calls(text="Done.")

    return ScriptedModel([turn] * 20)


async def test_threads_do_not_see_each_other(path: Path) -> None:
    model = run_what_was_asked()
    async with JupyterToolkit(path, isolation="thread") as toolkit:
        agent = create_jupyter_agent(model, toolkit, checkpointer=InMemorySaver())
        await asyncio.gather(
            agent.ainvoke(says("mine = 'Ada'"), config("Ada / 1")), agent.ainvoke(says("mine = 'Bob'"), config("bob"))
        )
        ada = await agent.ainvoke(says("print(mine, 'other' in dir())"), config("Ada / 1"))
        await agent.ainvoke(says("other = 1"), config("bob"))

    texts = {file.name.split("-")[0]: sources(file) for file in path.parent.glob("a.*-*.ipynb")}
    assert "Ada False" in ada["messages"][-2].text
    assert texts == {
        "a.Ada": ["shared = 1", "mine = 'Ada'", "print(mine, 'other' in dir())"],
        "a.bob": ["shared = 1", "mine = 'Bob'", "other = 1"],
    }
    assert sources(path) == ["shared = 1"]
    assert all("Bob" not in messages[-1].text for messages in model.seen if "Ada" in messages[1].text)


def test_a_shared_notebook_is_the_same_for_all_threads(path: Path) -> None:
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(run_what_was_asked(), toolkit, checkpointer=InMemorySaver())
        agent.invoke(says("mine = 'Ada'"), config("ada"))
        bob = agent.invoke(says("print(mine)"), config("bob"))

    assert "Ada" in bob["messages"][-2].text
    assert sources(path) == ["shared = 1", "mine = 'Ada'", "print(mine)"]


def test_a_thread_goes_on_in_its_notebook_after_it_was_closed_for_idleness(path: Path) -> None:
    with JupyterToolkit(path, isolation="thread") as toolkit:
        agent = create_jupyter_agent(run_what_was_asked(), toolkit, checkpointer=InMemorySaver())
        agent.invoke(says("mine = 'Ada'"), config("ada"))
        toolkit.bridge.run(lambda: toolkit.workspace.close_idle(0))
        closed = dict(toolkit.workspace.opened)
        state = agent.invoke(says("print('mine' in dir())"), config("ada"))

    assert not closed
    assert "nobody used it" in state["messages"][-2].text
    assert "False" in state["messages"][-2].text
    (file,) = path.parent.glob("a.*-*.ipynb")
    assert sources(file) == ["shared = 1", "mine = 'Ada'", "print('mine' in dir())"]


def test_code_without_a_notebook_is_isolated_too(tmp_path: Path) -> None:
    with JupyterToolkit(tools="interpreter", isolation="thread") as toolkit:
        (run_code,) = (tool for tool in toolkit.get_tools() if tool.name == "run_code")
        script = [calls(tool_call("run_code", code="x = 1")), "Done.", calls(tool_call("run_code", code="print(x)"))]
        agent: Any = create_agent(ScriptedModel(script), [run_code], checkpointer=InMemorySaver())
        agent.invoke(says("?"), config("one"))
        other = agent.invoke(says("?"), config("two"))

    assert "NameError" in other["messages"][-2].text


async def test_threads_on_a_server_have_a_notebook_and_a_kernel_each(lab: LabServer, path: Path) -> None:
    name = f"{uuid.uuid4().hex}.ipynb"
    (lab.root / name).write_bytes(path.read_bytes())
    server = JupyterServer(lab.settings)
    async with JupyterToolkit(
        name, server_url=lab.settings.url, token=lab.settings.token, isolation="thread"
    ) as toolkit:
        agent = create_jupyter_agent(run_what_was_asked(), toolkit, checkpointer=InMemorySaver())
        await asyncio.gather(
            agent.ainvoke(says("mine = 'Ada'"), config("ada")), agent.ainvoke(says("mine = 'Bob'"), config("bob"))
        )
        ada = await agent.ainvoke(says("print(mine)"), config("ada"))
        sessions = [each for each in await server.get("/api/sessions") if each["path"].startswith(name[:-6])]
    await server.close()

    texts = {file.name.split(".")[1].split("-")[0]: sources(file) for file in lab.root.glob(f"{name[:-6]}.*-*.ipynb")}
    assert "Ada" in ada["messages"][-2].text
    assert texts == {"ada": ["shared = 1", "mine = 'Ada'", "print(mine)"], "bob": ["shared = 1", "mine = 'Bob'"]}
    assert sources(lab.root / name) == ["shared = 1"]
    assert len({each["kernel"]["id"] for each in sessions}) == 2


def test_what_cannot_be_isolated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="isolation='thread'"):
        JupyterToolkit(root=tmp_path, isolation="thread")
    with pytest.raises(UsageError, match="isolation='thread'"):
        JupyterToolkit(root="", server_url="http://localhost:1", isolation="thread")
