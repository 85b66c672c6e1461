"""input() and getpass() in a cell reach the person behind the graph."""

from __future__ import annotations

import sqlite3
import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.schemas import Run
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command
from pydantic import ValidationError

from langchain_jupyter import JupyterToolkit, create_jupyter_agent
from langchain_jupyter.testing import ScriptedModel, calls, tool_call

CONFIG: Any = {"configurable": {"thread_id": "t"}}
ASK: Any = {"messages": [("user", "Go.")]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.ipynb"


def counting(path: Path, source: str) -> str:
    """The source, which leaves a mark in a file each time it starts."""
    return f"open({str(path.with_name('counter'))!r}, 'a').write('x')\n{source}"


def starts(path: Path) -> int:
    return len(path.with_name("counter").read_text())


def append(source: str, **arguments: Any) -> dict[str, Any]:
    return tool_call("append_execute_code_cell", source=source, **arguments)


def tool_texts(state: Any) -> list[str]:
    return [message.text for message in state["messages"] if isinstance(message, ToolMessage)]


def question(state: Any) -> Any:
    (ask,) = state["__interrupt__"]
    return ask.value


@pytest.mark.parametrize("builder", ["create_jupyter_agent", "create_agent", "create_react_agent"])
def test_a_cell_asks_and_goes_on_with_the_answer_in_the_same_execution(path: Path, builder: str) -> None:
    source = counting(path, "name = input('name? ')\nage = int(input('age? '))\nprint(name, age + 1)")
    model = ScriptedModel([calls(append(source)), "Done."])
    with JupyterToolkit(path) as toolkit:
        agent = build(builder, model, toolkit)
        first = agent.invoke(ASK, CONFIG)
        second = agent.invoke(Command(resume="Ada"), CONFIG)
        state = agent.invoke(Command(resume="36"), CONFIG)

    assert question(first)["type"] == "jupyter_input"
    assert (question(first)["prompt"], question(second)["prompt"]) == ("name? ", "age? ")
    assert question(first)["execution"] == question(second)["execution"]
    assert "Ada 37" in tool_texts(state)[0]
    assert starts(path) == 1


def build(builder: str, model: ScriptedModel, toolkit: JupyterToolkit) -> Any:
    saver = InMemorySaver()
    if builder == "create_jupyter_agent":
        return create_jupyter_agent(model, toolkit, checkpointer=saver)
    if builder == "create_agent":
        return create_agent(model, toolkit.get_tools(), checkpointer=saver)
    from langgraph.prebuilt import create_react_agent

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # deprecated upstream, still used
        return create_react_agent(model, toolkit.get_tools(), checkpointer=saver)


async def test_a_cell_asks_in_async_code(path: Path) -> None:
    model = ScriptedModel([calls(append("print('hello', input('name? '))")), "Done."])
    async with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(model, toolkit, checkpointer=InMemorySaver())
        asked = await agent.ainvoke(ASK, CONFIG)
        state = await agent.ainvoke(Command(resume="Ada"), CONFIG)

    assert question(asked)["prompt"] == "name? "
    assert "hello Ada" in tool_texts(state)[0]


def test_two_cells_of_a_turn_get_their_own_answers(path: Path) -> None:
    one = tool_call("append_execute_code_cell", "one", source="print('first', input('one? '))")
    two = tool_call("append_execute_code_cell", "two", source="print('second', input('two? '))")
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(ScriptedModel([calls(one, two), "Done."]), toolkit, checkpointer=InMemorySaver())
        state = agent.invoke(ASK, CONFIG)
        while asked := state.get("__interrupt__"):
            state = agent.invoke(Command(resume={ask.id: ask.value["prompt"].upper() for ask in asked}), CONFIG)

    texts = [text for text in tool_texts(state) if not text.startswith("[busy]")]  # behind one that was left waiting
    assert texts
    assert all(("first ONE?" in text) != ("second TWO?" in text) for text in texts)


def test_an_edit_that_runs_is_done_once_though_its_cell_asks(path: Path) -> None:
    add = tool_call("append_execute_code_cell", source="value = 1")
    edit = tool_call("edit_cell_source", cell="[1]", old="1", new="1 + int(input('n? '))\nprint(value)", run=True)
    model = ScriptedModel([calls(add), calls(edit), "Done."])
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(model, toolkit, checkpointer=InMemorySaver())
        agent.invoke(ASK, CONFIG)
        state = agent.invoke(Command(resume="1"), CONFIG)

    assert tool_texts(state)[1].count("+value = 1 + int(input('n? '))") == 1
    assert "\n2\n" in tool_texts(state)[1]
    assert [cell.source for cell in nbformat.read(path, as_version=4).cells] == [
        "value = 1 + int(input('n? '))\nprint(value)"
    ]


def test_an_approved_call_may_ask_as_well(path: Path) -> None:
    source = counting(path, "print('hello', input('name? '))")
    model = ScriptedModel([calls(append(source)), "Done."])
    with JupyterToolkit(path, approve="runs") as toolkit:
        agent: Any = create_agent(model, toolkit.get_tools(), checkpointer=InMemorySaver())
        first = agent.invoke(ASK, CONFIG)
        second = agent.invoke(Command(resume={"type": "approve"}), CONFIG)
        state = agent.invoke(Command(resume="Ada"), CONFIG)

    assert (question(first)["type"], question(second)["type"]) == ("tool_approval", "jupyter_input")
    assert "hello Ada" in tool_texts(state)[0]
    assert starts(path) == 1


def test_a_run_that_was_left_asks_when_it_is_waited_for(path: Path) -> None:
    source = "import time\ntime.sleep(1)\nprint('hello', input('name? '))"
    model = ScriptedModel(
        [calls(append(source, timeout=0.2)), calls(tool_call("wait_for_execution", execution="e1")), "Done."]
    )
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(model, toolkit, checkpointer=InMemorySaver())
        asked = agent.invoke(ASK, CONFIG)
        state = agent.invoke(Command(resume="Ada"), CONFIG)

    assert question(asked)["prompt"] == "name? "
    assert "hello Ada" in tool_texts(state)[1]


class Recorder(BaseTracer):
    """Keeps every run as text, with all that a trace would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def _persist_run(self, run: Run) -> None:
        self.text += run.model_dump_json(fallback=str)


def test_a_password_is_in_no_checkpoint_trace_or_notebook(path: Path) -> None:
    secret = "correct-horse-battery"
    source = "import getpass\nword = getpass.getpass('password? ')\nprint(len(word), word == word[::-1])"
    model = ScriptedModel([calls(append(source)), "Done."])
    database, recorder = path.with_name("checkpoints.sqlite"), Recorder()
    config = CONFIG | {"callbacks": [recorder]}
    with JupyterToolkit(path) as toolkit, SqliteSaver.from_conn_string(str(database)) as saver:
        agent = create_jupyter_agent(model, toolkit, checkpointer=saver)
        asked = agent.invoke(ASK, config)
        state = agent.invoke(Command(resume=toolkit.conceal(secret)), config)

    assert (question(asked)["prompt"], question(asked)["password"]) == ("password? ", True)
    assert f"{len(secret)} False" in tool_texts(state)[0]
    assert "password? " in recorder.text
    for kept in (dumped(database), recorder.text, path.read_text(), str(state)):
        assert secret not in kept


def dumped(database: Path) -> str:
    raw = b"".join(file.read_bytes() for file in database.parent.glob(f"{database.name}*"))
    with sqlite3.connect(database) as connection:
        assert connection.execute("select count(*) from checkpoints").fetchone()[0]
    connection.close()
    return raw.decode("latin-1")


def test_a_password_in_clear_is_refused_before_it_is_kept(path: Path) -> None:
    model = ScriptedModel([calls(append("import getpass\nprint(len(getpass.getpass()))")), "Done."])
    database = path.with_name("checkpoints.sqlite")
    with JupyterToolkit(path) as toolkit, SqliteSaver.from_conn_string(str(database)) as saver:
        agent = create_jupyter_agent(model, toolkit, checkpointer=saver)
        asked = agent.invoke(ASK, CONFIG)
        (ask,) = asked["__interrupt__"]
        with pytest.raises(ValidationError):
            agent.invoke(Command(resume={ask.id: "in-the-clear"}), CONFIG)
        kept = dumped(database)
        with pytest.raises(ValidationError, match="conceal"):
            agent.invoke(Command(resume={ask.id: "secret:" + "0" * 32}), CONFIG)
        state = agent.invoke(Command(resume={ask.id: toolkit.conceal("four")}), CONFIG)

    assert "in-the-clear" not in kept
    assert "\n4\n" in tool_texts(state)[0]


def test_without_a_checkpointer_input_fails_at_once_inside_the_cell(path: Path) -> None:
    model = ScriptedModel([calls(append("input('name? ')")), calls(append("'usable'")), "Done."])
    with JupyterToolkit(path) as toolkit:
        texts = tool_texts(create_jupyter_agent(model, toolkit).invoke(ASK))

    assert "StdinNotImplementedError" in texts[0]
    assert "usable" in texts[1]


def test_a_fork_from_before_the_call_does_not_ask_again(path: Path) -> None:
    source = counting(path, "print('hello', input('name? '))")
    model = ScriptedModel([calls(append(source)), "Done."])
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(model, toolkit, checkpointer=InMemorySaver())
        agent.invoke(ASK, CONFIG)
        agent.invoke(Command(resume="Ada"), CONFIG)
        before_tools = next(s for s in agent.get_state_history(CONFIG) if s.next == ("tools",))
        forked = agent.invoke(None, before_tools.config)

    assert "hello Ada" in tool_texts(forked)[0]
    assert starts(path) == 1
