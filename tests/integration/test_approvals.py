"""A person approves calls before they are done, in the graphs that people build."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command
from pydantic import ValidationError

from langchain_jupyter import JupyterToolkit, UsageError, create_jupyter_agent, interrupt_on
from langchain_jupyter.testing import ScriptedModel, calls, tool_call
from langchain_jupyter.tools.approval import block

CONFIG: Any = {"configurable": {"thread_id": "t"}}
APPROVE = {"type": "approve"}
ASK: Any = {"messages": [("user", "Go.")]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.ipynb"


def write(path: Path, *cells: tuple[str, str, list[str]]) -> None:
    """A notebook of cells: id, source, tags."""
    notebook = nbformat.v4.new_notebook()
    for cell_id, source, tags in cells:
        notebook.cells.append(nbformat.v4.new_code_cell(source, id=cell_id, metadata={"tags": tags}))
    nbformat.write(notebook, path)


def sources(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


def append(source: str, call_id: str = "") -> dict[str, Any]:
    return tool_call("append_execute_code_cell", call_id, source=source)


def react_agent(model: ScriptedModel, toolkit: JupyterToolkit) -> Any:
    from langgraph.prebuilt import create_react_agent

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # deprecated upstream, still used
        return create_react_agent(model, toolkit.get_tools(), checkpointer=InMemorySaver())


def tool_messages(state: Any) -> list[ToolMessage]:
    return [message for message in state["messages"] if isinstance(message, ToolMessage)]


def pending(state: Any) -> list[Any]:
    return list(state.get("__interrupt__", ()))


def answer(state: Any, **decisions: Any) -> Command[Any]:
    """Resume every interrupt by the id of its tool call."""
    return Command(resume={ask.id: decisions[ask.value["tool_call_id"]] for ask in pending(state)})


# -- the agent, which asks once for all calls of a turn --------------------------------------------------------------


def test_two_calls_of_a_turn_are_approved_and_edited_at_once(path: Path) -> None:
    model = ScriptedModel([calls(append("a = 1"), append("b = 2")), "Done."])
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(model, toolkit, approve="runs", checkpointer=InMemorySaver())
        asked = agent.invoke(ASK, CONFIG)
        request = pending(asked)[0].value
        before = path.exists() and sources(path)
        edit = {"name": "append_execute_code_cell", "args": {"source": "b = 22\nprint(b)"}}
        state = agent.invoke(Command(resume={"decisions": [APPROVE, {"type": "edit", "edited_action": edit}]}), CONFIG)

    assert [action["args"]["source"] for action in request["action_requests"]] == ["a = 1", "b = 2"]
    assert "```python\na = 1\n```" in request["action_requests"][0]["description"]
    assert not before
    assert sorted(sources(path)) == ["a = 1", "b = 22\nprint(b)"]
    assert "22" in tool_messages(state)[1].text
    assert "replaced this tool call" in tool_messages(state)[1].text


def test_a_rejected_call_is_not_done_and_the_model_is_told_why(path: Path) -> None:
    model = ScriptedModel([calls(append("import os; os.remove('data.csv')")), "I did not."])
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(model, toolkit, approve="all", checkpointer=InMemorySaver())
        agent.invoke(ASK, CONFIG)
        no = {"type": "reject", "message": "Keep the data."}
        state = agent.invoke(Command(resume={"decisions": [no]}), CONFIG)

    assert "Keep the data." in tool_messages(state)[0].text
    assert state["messages"][-1].text == "I did not."
    assert not path.exists() or sources(path) == []


async def test_the_agent_asks_in_async_code(path: Path) -> None:
    model = ScriptedModel([calls(append("print('ran')")), "Done."])
    async with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(model, toolkit, approve="runs", checkpointer=InMemorySaver())
        asked = await agent.ainvoke(ASK, CONFIG)
        state = await agent.ainvoke(Command(resume={"decisions": [APPROVE]}), CONFIG)

    assert pending(asked)
    assert "ran" in tool_messages(state)[0].text


def test_a_person_is_shown_the_diff_of_an_edit(path: Path) -> None:
    write(path, ("cell-one", "a = 1\nb = 2", []))
    call = tool_call("edit_cell_source", cell="cell-one", old="b = 2", new="b = 3")
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(
            ScriptedModel([calls(call)]), toolkit, approve="writes", checkpointer=InMemorySaver()
        )
        asked = agent.invoke(ASK, CONFIG)

    description = pending(asked)[0].value["action_requests"][0]["description"]
    assert "-b = 2\n+b = 3" in description
    assert "cell cell" in description


def test_what_does_not_run_code_is_not_asked_about_when_runs_are_approved(path: Path) -> None:
    write(path, ("cell-one", "a = 1", []))
    edit = tool_call("overwrite_cell_source", cell="cell-one", source="a = 2")
    edit_and_run = tool_call("overwrite_cell_source", cell="cell-one", source="a = 3", run=True)
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(
            ScriptedModel([calls(edit), calls(edit_and_run)]), toolkit, approve="runs", checkpointer=InMemorySaver()
        )
        asked = agent.invoke(ASK, CONFIG)
        toolkit.save()

    assert [action["args"]["source"] for action in pending(asked)[0].value["action_requests"]] == ["a = 3"]
    assert sources(path) == ["a = 2"]


def test_a_cell_that_is_changed_after_it_was_approved_is_not_run(path: Path) -> None:
    counter = path.with_name("counter")
    evil = f"open({str(counter)!r}, 'a').write('x')"
    write(path, ("cell-one", "a = 1", []))
    overwrite = tool_call("overwrite_cell_source", cell="cell-one", source=evil)
    run = tool_call("execute_cell_with_progress", cell="cell-one")
    with JupyterToolkit(path) as toolkit:
        tools = toolkit.get_tools()
        agent = create_agent(
            ScriptedModel([calls(run)]),
            tools,
            middleware=[HumanInTheLoopMiddleware(interrupt_on(tools, "runs"))],
            checkpointer=InMemorySaver(),
        )
        agent.invoke(ASK, CONFIG)  # shown: a = 1
        next(tool for tool in tools if tool.name == "overwrite_cell_source").invoke(
            overwrite, {"configurable": {"thread_id": "t"}}
        )
        state = agent.invoke(Command(resume={"decisions": [APPROVE]}), CONFIG)

    assert tool_messages(state)[0].status == "error"
    assert "[cell_changed]" in tool_messages(state)[0].text
    assert not counter.exists()


def test_nothing_hides_from_the_person_who_approves() -> None:
    source = "access = 'user\u202e # admins only\u2066'\n```\nprint(1)"

    shown = block(source, "python")

    assert shown == "````python\naccess = 'user\\u202e # admins only\\u2066'\n```\nprint(1)\n````"


def test_the_mapping_names_the_tools_that_could_do_it() -> None:
    tools = JupyterToolkit("none.ipynb").get_tools()

    writes, runs, everything = (interrupt_on(tools, which) for which in ("writes", "runs", "all"))

    assert "append_markdown_cell" in writes
    assert "run_code" not in writes
    assert "append_markdown_cell" not in runs
    assert "when" in runs["edit_cell_source"]  # type: ignore[operator]
    assert everything["restart_kernel"]["allowed_decisions"] == ["approve", "reject"]  # type: ignore[index]
    assert not {"read_cell", "wait_for_execution"} & everything.keys()
    assert interrupt_on(tools, "none") == {}
    with pytest.raises(UsageError, match="'writes'"):
        interrupt_on(tools, "everything")  # type: ignore[arg-type]


# -- the toolkit, which asks inside the tool --------------------------------------------------------------------------


@pytest.mark.parametrize("builder", ["create_agent", "create_react_agent"])
def test_each_call_asks_for_itself_inside_the_tool(path: Path, builder: str) -> None:
    first, second, third = append("a = 1", "one"), append("b = 2", "two"), append("c = 3", "three")
    model = ScriptedModel([calls(first, second, third), "Done."])
    with JupyterToolkit(path, approve="runs") as toolkit:
        saver = InMemorySaver()
        agent: Any = (
            create_agent(model, toolkit.get_tools(), checkpointer=saver)
            if builder == "create_agent"
            else react_agent(model, toolkit)
        )
        asked = agent.invoke(ASK, CONFIG)
        nothing_done = toolkit.bridge.run(toolkit.session)
        cells_before = len(nothing_done.document)
        edit = {"type": "edit", "edited_action": {"name": "append_execute_code_cell", "args": {"source": "b = 22"}}}
        no = {"type": "reject", "message": "Not c."}
        state = agent.invoke(answer(asked, one=APPROVE, two=edit, three=no), CONFIG)

    assert {ask.value["type"] for ask in pending(asked)} == {"tool_approval"}
    assert cells_before == 0
    assert sorted(sources(path)) == ["a = 1", "b = 22"]
    one, two, three = tool_messages(state)
    assert one.artifact["status"] == "ok"
    assert "A person changed this call" in two.text
    assert (three.status, "Not c." in three.text) == ("error", True)


async def test_the_tool_asks_in_async_code(path: Path) -> None:
    model = ScriptedModel([calls(append("print('ran')", "one")), "Done."])
    async with JupyterToolkit(path, approve="all") as toolkit:
        agent = create_agent(model, toolkit.get_tools(), checkpointer=InMemorySaver())
        asked = await agent.ainvoke(ASK, CONFIG)
        state = await agent.ainvoke(answer(asked, one=APPROVE), CONFIG)

    assert "ran" in tool_messages(state)[0].text


def test_an_answer_of_a_wrong_form_is_refused_and_can_be_given_again(path: Path) -> None:
    model = ScriptedModel([calls(append("print('ran')", "one")), "Done."])
    other = {"type": "edit", "edited_action": {"name": "run_code", "args": {"code": "1"}}}
    bad_args = {"type": "edit", "edited_action": {"name": "append_execute_code_cell", "args": {"source": 1}}}
    with JupyterToolkit(path, approve="all") as toolkit:
        agent: Any = create_agent(model, toolkit.get_tools(), checkpointer=InMemorySaver())
        asked = agent.invoke(ASK, CONFIG)
        for wrong in ("yes", {"type": "maybe"}, other, bad_args):
            with pytest.raises(ValidationError):
                agent.invoke(answer(asked, one=wrong), CONFIG)
        state = agent.invoke(answer(asked, one=APPROVE), CONFIG)

    assert "ran" in tool_messages(state)[0].text
    assert sources(path) == ["print('ran')"]


def test_without_a_checkpointer_nobody_can_be_asked(path: Path) -> None:
    model = ScriptedModel([calls(append("a = 1")), "Done."])
    with JupyterToolkit(path, approve="all") as toolkit:
        state = create_agent(model, toolkit.get_tools()).invoke(ASK)
        alone = toolkit.get_tools()[6].invoke(append("a = 1"))

    assert "[not_approved]" in tool_messages(state)[0].text
    assert "checkpointer" in tool_messages(state)[0].text
    assert "[not_approved]" in alone.text
    assert not path.exists() or sources(path) == []


def one_node_graph(model: ScriptedModel, toolkit: JupyterToolkit) -> Any:
    """A graph of one's own, where all calls of a turn share one task."""

    def call_model(state: MessagesState) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    def route(state: MessagesState) -> str:
        last = state["messages"][-1]
        return "tools" if isinstance(last, AIMessage) and last.tool_calls else "__end__"

    graph = StateGraph(MessagesState)
    graph.add_node("model", call_model)
    graph.add_node("tools", ToolNode(toolkit.get_tools()))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", route)
    graph.add_edge("tools", "model")
    return graph.compile(checkpointer=InMemorySaver())


def test_where_calls_share_a_task_the_first_one_asks_and_takes_no_answer_of_another(path: Path) -> None:
    model = ScriptedModel([calls(append("a = 1", "one"), append("b = 2", "two")), calls(append("b = 2", "again"))])
    with JupyterToolkit(path, approve="runs") as toolkit:
        graph = one_node_graph(model, toolkit)
        asked = graph.invoke(ASK, CONFIG)
        asked_again = graph.invoke(Command(resume=APPROVE), CONFIG)
        state = graph.invoke(Command(resume={"type": "reject"}), CONFIG)

    assert [ask.value["tool_call_id"] for ask in pending(asked)] == ["one"]
    assert [ask.value["tool_call_id"] for ask in pending(asked_again)] == ["again"]
    one, two, again = tool_messages(state)
    assert one.artifact["status"] == "ok"
    assert "call again with this one alone" in two.text
    assert again.status == "error"
    assert sources(path) == ["a = 1"]


# -- what a person has tagged -----------------------------------------------------------------------------------------


@pytest.fixture
def tagged(path: Path) -> Iterator[JupyterToolkit]:
    write(
        path,
        ("data-cell", "data = 1", ["agent:readonly"]),
        ("slow-cell", "print('slow')", ["other", "agent:ask"]),
        ("skip-cell", "print('skip')", ["agent:skip"]),
        ("free-cell", "print('free')", []),
    )
    with JupyterToolkit(path) as toolkit:
        yield toolkit


@pytest.mark.parametrize(
    "call",
    [
        tool_call("overwrite_cell_source", cell="data-cell", source="data = 2"),
        tool_call("edit_cell_source", cell="data-cell", old="1", new="2"),
        tool_call("move_cell", cell="data-cell", before=""),
        tool_call("delete_cell", cell="data-cell"),
        tool_call("delete_cell", cell="slow-cell"),
        tool_call("delete_cell", cell="skip-cell"),
    ],
    ids=lambda call: f"{call['name']}-{call['args']['cell']}",
)
def test_a_guarded_cell_stays_as_it_is(tagged: JupyterToolkit, call: dict[str, Any]) -> None:
    tool = next(tool for tool in tagged.get_tools() if tool.name == call["name"])

    message = tool.invoke(call)

    assert message.artifact["code"] == "cell_guarded"
    assert "A person has tagged cell" in message.text
    assert tagged.bridge.run(tagged.session).document.ids == ["data-cell", "slow-cell", "skip-cell", "free-cell"]


def test_no_tool_changes_the_tags(tagged: JupyterToolkit, path: Path) -> None:
    tools = {tool.name: tool for tool in tagged.get_tools()}
    tools["overwrite_cell_source"].invoke({"cell": "slow-cell", "source": "print('other')"})
    tools["execute_cell_with_progress"].invoke(tool_call("execute_cell_with_progress", cell="data-cell"))
    tools["move_cell"].invoke({"cell": "skip-cell", "before": ""})
    tagged.save()

    tags = {cell.id: cell.metadata.get("tags") for cell in nbformat.read(path, as_version=4).cells}

    assert tags["slow-cell"] == ["other", "agent:ask"]
    assert tags["data-cell"] == ["agent:readonly"]
    assert tags["skip-cell"] == ["agent:skip"]


def test_the_model_sees_the_guards(tagged: JupyterToolkit) -> None:
    tools = {tool.name: tool for tool in tagged.get_tools()}

    outline = tools["get_notebook_info"].invoke({})[0]["text"]

    assert "data code not run readonly · data = 1" in outline
    assert "slow code not run ask" in outline


def test_a_tagged_cell_asks_before_it_runs_and_others_do_not(tagged: JupyterToolkit) -> None:
    free = tool_call("execute_cell_with_progress", "free", cell="free-cell")
    slow = tool_call("execute_cell_with_progress", "slow", cell="slow-cell")
    agent: Any = create_agent(
        ScriptedModel([calls(free), calls(slow), "Done."]), tagged.get_tools(), checkpointer=InMemorySaver()
    )

    asked = agent.invoke(ASK, CONFIG)
    state = agent.invoke(answer(asked, slow=APPROVE), CONFIG)

    assert "print('slow')" in pending(asked)[0].value["description"]
    assert [message.artifact["status"] for message in tool_messages(state)] == ["ok", "ok"]


def test_many_cells_with_a_tagged_one_among_them_ask_first(tagged: JupyterToolkit) -> None:
    everything = tool_call("run_cells", "all")
    agent: Any = create_agent(
        ScriptedModel([calls(everything), "Done."]), tagged.get_tools(), checkpointer=InMemorySaver()
    )

    asked = agent.invoke(ASK, CONFIG)
    state = agent.invoke(answer(asked, all=APPROVE), CONFIG)

    assert "print('slow')" in pending(asked)[0].value["description"]
    assert "skipped: tagged agent:skip" in tool_messages(state)[0].text
    assert "slow ok" in tool_messages(state)[0].text


def test_a_tagged_cell_is_not_run_where_nobody_can_be_asked(tagged: JupyterToolkit) -> None:
    tool = next(tool for tool in tagged.get_tools() if tool.name == "execute_cell_with_progress")

    message = tool.invoke(tool_call("execute_cell_with_progress", cell="slow-cell"))

    assert message.artifact["code"] == "not_approved"


def test_a_tagged_cell_that_the_agent_has_asked_about_is_not_asked_about_twice(tagged: JupyterToolkit) -> None:
    slow = tool_call("execute_cell_with_progress", "slow", cell="slow-cell")
    agent = create_jupyter_agent(
        ScriptedModel([calls(slow), "Done."]), tagged, approve="runs", checkpointer=InMemorySaver()
    )

    agent.invoke(ASK, CONFIG)
    state = agent.invoke(Command(resume={"decisions": [APPROVE]}), CONFIG)

    assert tool_messages(state)[0].artifact["status"] == "ok"
