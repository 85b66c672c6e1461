"""Going back: by the toolkit, and by a LangGraph thread to one of its checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from langchain_core.messages import ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from langchain_jupyter import JupyterToolkit, UsageError, create_jupyter_agent
from langchain_jupyter.testing import ScriptedModel, calls, tool_call

CONFIG: Any = {"configurable": {"thread_id": "t"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.ipynb"
    cells = [nbformat.v4.new_code_cell(f"{name} = {at}", id=f"{name}-cell") for at, name in enumerate("abc")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def use(toolkit: JupyterToolkit, name: str, **arguments: Any) -> str:
    tool = next(tool for tool in toolkit.get_tools() if tool.name == name)
    content = tool.invoke(arguments)
    return content if isinstance(content, str) else str(content[0]["text"])


def cells(toolkit: JupyterToolkit) -> list[tuple[str, str, int | None]]:
    async def read() -> list[tuple[str, str, int | None]]:
        document = (await toolkit.session()).document
        return [(cell.id, cell.source, cell.execution_count) for cell in document.cells()]

    return toolkit.bridge.run(read)


def by_a_person(toolkit: JupyterToolkit, change: Callable[[Any], Any]) -> None:
    """A change that comes from elsewhere, as one in JupyterLab does."""

    async def do() -> None:
        document = (await toolkit.session()).document
        with document.unrecorded():
            change(document)

    toolkit.bridge.run(do)


def test_what_was_done_since_is_taken_back_and_a_persons_edits_stay(path: Path) -> None:
    with JupyterToolkit(path) as toolkit:
        use(toolkit, "execute_cell_with_progress", cell="a-cell")
        snapshot, before = cells(toolkit), toolkit.checkpoint()
        use(toolkit, "overwrite_cell_source", cell="a-cell", source="a = 100", run=True)
        use(toolkit, "append_execute_code_cell", source="d = 4")
        use(toolkit, "delete_cell", cell="b-cell")
        use(toolkit, "move_cell", cell="c-cell", before="a-cell")
        by_a_person(toolkit, lambda document: document.set_source("c-cell", "c = 22  # Ada's"))
        by_a_person(toolkit, lambda document: document.insert(document.new_cell("code", "e = 5", "e-cell")))
        (done,) = toolkit.revert(before)
        after = cells(toolkit)

    expected = [(i, "c = 22  # Ada's" if i == "c-cell" else s, n) for i, s, n in snapshot] + [("e-cell", "e = 5", None)]
    assert after == expected
    assert [cell.source for cell in nbformat.read(path, as_version=4).cells] == [source for _, source, _ in expected]
    assert done.ran
    assert list(done.stale) == ["a-ce"]
    assert "variables of the kernel did not go back" in str(done)


def test_a_cell_that_a_person_has_changed_since_is_left_alone(path: Path) -> None:
    with JupyterToolkit(path) as toolkit:
        before = toolkit.checkpoint()
        use(toolkit, "overwrite_cell_source", cell="a-cell", source="a = 100", run=True)
        use(toolkit, "overwrite_cell_source", cell="b-cell", source="b = 200")
        by_a_person(toolkit, lambda document: document.set_source("a-cell", "a = 101"))
        (done,) = toolkit.revert(before)
        after = cells(toolkit)

    assert after == [("a-cell", "a = 101", 1), ("b-cell", "b = 1", None), ("c-cell", "c = 2", None)]
    assert list(done.kept) == ["a-ce"]
    assert list(done.restored) == ["b-ce"]


def test_going_back_is_itself_taken_back(path: Path) -> None:
    with JupyterToolkit(path) as toolkit:
        before = toolkit.checkpoint()
        use(toolkit, "append_markdown_cell", source="# More")
        changed, middle = cells(toolkit), toolkit.checkpoint()
        toolkit.revert(before)
        toolkit.revert(middle)

        assert cells(toolkit) == changed


def test_nothing_done_is_nothing_to_take_back(path: Path) -> None:
    with JupyterToolkit(path) as toolkit:
        assert toolkit.revert(toolkit.checkpoint()) == []


def test_a_moment_of_a_notebook_that_was_opened_again_is_refused(path: Path) -> None:
    with JupyterToolkit(path) as toolkit:
        before = toolkit.checkpoint()
        toolkit.close()
        use(toolkit, "append_markdown_cell", source="# More")

        with pytest.raises(UsageError, match="opened again"):
            toolkit.revert(before)
        with pytest.raises(UsageError, match="thread_id"):
            toolkit.revert({"configurable": {"thread_id": "t"}})


def tool_messages(state: Any) -> list[ToolMessage]:
    return [message for message in state["messages"] if isinstance(message, ToolMessage)]


def test_a_fork_from_an_earlier_checkpoint_finds_the_notebook_as_it_was_there(path: Path) -> None:
    counter = path.with_name("counter")
    count = f"open({str(counter)!r}, 'a').write('x')"
    model = ScriptedModel(
        [
            calls(tool_call("append_execute_code_cell", source="first = 1")),
            "First turn done.",
            calls(
                tool_call("append_execute_code_cell", source=count),
                tool_call("overwrite_cell_source", cell="b-cell", source="b = 'agent'"),
            ),
            "Second turn done.",
            calls(tool_call("overwrite_cell_source", cell="b-cell", source="b = 'fork'")),
            "Fork done.",
        ]
    )
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(model, toolkit, checkpointer=InMemorySaver())
        agent.invoke({"messages": [("user", "One.")]}, CONFIG)
        snapshot, turn = cells(toolkit), agent.get_state(CONFIG).config
        agent.invoke({"messages": [("user", "Two.")]}, CONFIG)
        by_a_person(toolkit, lambda document: document.set_source("c-cell", "c = 'Ada'"))
        use(toolkit, "append_markdown_cell", source="By another caller")
        done = toolkit.revert(turn)
        reverted = cells(toolkit)
        forked = agent.invoke({"messages": [("user", "Otherwise.")]}, turn)

    theirs = [(i, "c = 'Ada'" if i == "c-cell" else source, n) for i, source, n in snapshot]
    assert [cell for cell in reverted if cell[1] != "By another caller"] == theirs
    assert "By another caller" in [source for _, source, _ in reverted]
    assert len(done) == 1
    (first, last) = tool_messages(forked)
    assert last.artifact["status"] == "ok"
    assert "went back to an earlier state" in last.text
    assert first.artifact["status"] == "ok"
    assert counter.read_text() == "x"


async def test_a_call_that_was_taken_back_is_done_again_when_the_graph_makes_it_again(path: Path) -> None:
    counter = path.with_name("counter")
    model = ScriptedModel(
        [calls(tool_call("append_execute_code_cell", source=f"open({str(counter)!r}, 'a').write('x')")), "Done."]
    )
    async with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(model, toolkit, checkpointer=InMemorySaver())
        await agent.ainvoke({"messages": [("user", "Count.")]}, CONFIG)
        (before_tools,) = [s async for s in agent.aget_state_history(CONFIG) if s.next == ("tools",)]
        await toolkit.arevert(before_tools.config)
        await agent.ainvoke(None, before_tools.config)
        checkpoint = await toolkit.acheckpoint()

    assert counter.read_text() == "xx"
    assert len(nbformat.read(path, as_version=4).cells) == 4
    assert checkpoint.moments


def test_a_checkpoint_of_an_earlier_process_is_refused_and_the_first_of_this_one_works(path: Path) -> None:
    def turn() -> ScriptedModel:
        return ScriptedModel([calls(tool_call("append_markdown_cell", source="By the agent")), "Done."])

    saver = InMemorySaver()
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(turn(), toolkit, checkpointer=saver)
        agent.invoke({"messages": [("user", "One.")]}, CONFIG)
        earlier = agent.get_state(CONFIG).config

    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(turn(), toolkit, checkpointer=saver)
        found = cells(toolkit)
        agent.invoke({"messages": [("user", "Two.")]}, CONFIG)
        changed = cells(toolkit)
        with pytest.raises(UsageError, match="older than this toolkit's memory"):
            toolkit.revert(earlier)
        refused = cells(toolkit)
        first = next(s for s in reversed(list(agent.get_state_history(CONFIG))) if s.created_at > _made(agent, earlier))
        toolkit.revert(first.config)

        assert (len(found), len(changed), refused) == (4, 5, changed)
        assert cells(toolkit) == found


def test_a_thread_goes_back_step_by_step(path: Path) -> None:
    def change(source: str) -> Any:
        return calls(tool_call("overwrite_cell_source", cell="a-cell", source=source))

    model = ScriptedModel([change("a = 1"), "One.", change("a = 2"), "Two.", change("a = 3"), "Three."])
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(model, toolkit, checkpointer=InMemorySaver())
        turns = []
        for number in ("one", "two", "three"):
            agent.invoke({"messages": [("user", number)]}, CONFIG)
            turns.append(agent.get_state(CONFIG).config)
        found = []
        for turn in reversed(turns[:-1]):
            toolkit.revert(turn)
            found.append(cells(toolkit)[0][1])

    assert found == ["a = 2", "a = 1"]


def test_a_notebook_that_was_closed_since_cannot_be_brought_back_and_none_is(tmp_path: Path) -> None:
    write = calls(
        *(tool_call("append_markdown_cell", notebook=name, source="By the agent") for name in ("a.ipynb", "b.ipynb"))
    )
    opened = [tool_call("open_notebook", path=name, create=True) for name in ("a.ipynb", "b.ipynb")]
    with JupyterToolkit(root=tmp_path) as toolkit:
        agent = create_jupyter_agent(
            ScriptedModel([calls(*opened), "One.", write, "Two."]), toolkit, checkpointer=InMemorySaver()
        )
        agent.invoke({"messages": [("user", "One.")]}, CONFIG)
        turn = agent.get_state(CONFIG).config
        agent.invoke({"messages": [("user", "Two.")]}, CONFIG)
        toolkit.bridge.run(lambda: toolkit.workspace.close_idle(0))
        use(toolkit, "read_all_cells", notebook="b.ipynb")

        with pytest.raises(UsageError, match=r"Closed since.*a\.ipynb"):
            toolkit.revert(turn)
        use(toolkit, "read_all_cells", notebook="a.ipynb")
        with pytest.raises(UsageError, match="opened again"):
            toolkit.revert(turn)

        assert "By the agent" in use(toolkit, "read_all_cells", notebook="b.ipynb")


def _made(agent: Any, config: Any) -> str:
    """When a checkpoint was made."""
    return str(agent.get_state(config).created_at)
