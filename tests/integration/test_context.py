"""What a long session costs: the state of the notebook per call, the prompt's prefix, the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain.agents.middleware import ClearToolUsesEdit, ContextEditingMiddleware, SummarizationMiddleware
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.checkpoint.sqlite import SqliteSaver

from langchain_jupyter import JupyterToolkit, create_jupyter_agent
from langchain_jupyter.testing import ScriptedModel, calls, tool_call

CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 1_000}
ASK: Any = {"messages": [("user", "Go.")]}
FIGURE = (
    "import io, os\nfrom IPython.display import Image\nfrom PIL import Image as P\n"
    "f = io.BytesIO(); P.frombytes('RGB', (600, 400), os.urandom(600 * 400 * 3)).save(f, 'PNG')\n"
    "Image(f.getvalue())"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.ipynb"


def state_of(messages: Sequence[BaseMessage]) -> str:
    assert messages[-1].name == "notebook_state"
    return messages[-1].text


def test_the_state_is_short_and_only_the_end_of_a_prompt_changes(path: Path) -> None:
    turns = [calls(tool_call("append_execute_code_cell", source=f"x{n} = {n}")) for n in range(20)]
    model = ScriptedModel([*turns, calls(tool_call("read_cell", cell="3")), "Done."])
    with JupyterToolkit(path) as toolkit:
        create_jupyter_agent(model, toolkit).invoke(ASK, CONFIG)

    states = [state_of(messages) for messages in model.seen]
    assert max(state.count("\n") + 1 for state in states) <= 15
    assert states[-1] == states[-2]  # nothing has changed: the same text, no clock in it
    for earlier, later in zip(model.seen, model.seen[1:], strict=False):
        assert later[: len(earlier) - 1] == earlier[:-1]


def test_a_hundred_turns_with_twenty_figures_make_a_small_checkpoint(path: Path) -> None:
    turns = [
        calls(tool_call("append_execute_code_cell", source=FIGURE if n % 5 == 0 else f"print('line ' * 20, {n})"))
        for n in range(100)
    ]
    model = ScriptedModel([*turns, "Done."])
    database = path.with_name("checkpoints.sqlite")
    with JupyterToolkit(path) as toolkit, SqliteSaver.from_conn_string(str(database)) as saver:
        agent = create_jupyter_agent(model, toolkit, checkpointer=saver)
        state = agent.invoke(ASK, CONFIG, durability="exit")  # one checkpoint: what is measured, and soon done
        size = saver.conn.execute(
            "select length(checkpoint) from checkpoints order by checkpoint_id desc limit 1"
        ).fetchone()[0]

    pictures = [block for message in state["messages"] for block in message.content_blocks if block["type"] == "image"]
    assert len(pictures) == 20
    assert path.stat().st_size > 20 * 500_000  # the notebook has them whole
    assert 1_000_000 < size < 5_000_000


def test_a_long_session_is_edited_and_summarised_and_still_knows_its_notebook(path: Path) -> None:
    turns = [calls(tool_call("append_execute_code_cell", source=f"print('word ' * 400, {n})")) for n in range(30)]
    model = ScriptedModel([*turns, "Done."])
    summariser = ScriptedModel(["So far: cells were added."] * 30)
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(
            model,
            toolkit,
            middleware=[
                SummarizationMiddleware(
                    summariser, trigger=("messages", 30), keep=("messages", 12), trim_tokens_to_summarize=None
                ),
                ContextEditingMiddleware(edits=[ClearToolUsesEdit(trigger=2_000, keep=3)]),
            ],
        )
        state = agent.invoke(ASK, CONFIG)

    last = model.seen[-1]
    shown = [message for message in last if isinstance(message, ToolMessage)]
    assert len(state["messages"]) < 31
    assert sum("word" in message.text for message in shown) == 3
    assert "So far: cells were added." in "".join(message.text for message in last)
    assert "print('word ' * 400, 29)" in state_of(last)
    answered = {message.tool_call_id for message in shown}
    asked = {call["id"] for message in last if isinstance(message, AIMessage) for call in message.tool_calls}
    assert asked == answered  # what providers insist upon
