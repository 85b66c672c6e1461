"""What a graph's streams tell while a cell runs."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver

from langchain_jupyter import JupyterToolkit, create_jupyter_agent
from langchain_jupyter.testing import ScriptedModel, calls, tool_call

ASK: Any = {"messages": [("user", "Go.")]}
SOURCE = """\
import os, sys, time
from IPython.display import HTML
for n in range(3):
    print("epoch", n, flush=True)
    while not os.path.exists(f"seen {n}"): time.sleep(0.01)
print("careful", file=sys.stderr)
HTML("<b>done</b>")"""
"""Goes on when what it has printed was seen."""

MODES: dict[str, list[Any]] = {"custom": ["custom"], "tools": ["tools", "messages"]}
"""What to ask a graph for; "tools" by itself comes at the end of a step only (langgraph 1.2, `Pregel.stream`)."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.ipynb"


def model() -> ScriptedModel:
    return ScriptedModel([calls(tool_call("append_execute_code_cell", "call-1", source=SOURCE)), "Done."])


class Events(dict[str, list[Any]]):
    """Our events by the mode of the stream they came through; the cell is let go on when they have come.

    Args:
        folder: Where the cell looks for what was seen.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(custom=[], tools=[])
        self._folder = folder

    def take(self, mode: str, chunk: Any) -> None:
        """Take what a stream has brought."""
        if mode == "messages" or (mode == "tools" and chunk["event"] != "tool-output-delta"):
            return
        event = chunk if mode == "custom" else chunk["delta"]
        self[mode].append(event)
        for n in range(3):
            if f"epoch {n}\n" in event["text"] + "".join(output.get("text", "") for output in event["outputs"]):
                (self._folder / f"seen {n}").touch()


def check(found: list[Any]) -> None:
    assert {(event["type"], event["tool_call_id"]) for event in found} == {("jupyter_output", "call-1")}
    assert {event["execution"] for event in found} == {"e1"}
    outputs = [output for event in found for output in event["outputs"]]
    printed = outputs[0]["text"] + "".join(event["text"] for event in found)
    assert printed.startswith("epoch 0\nepoch 1\nepoch 2\n")
    assert {"output_type": "stream", "name": "stderr", "text": "careful\n"} in outputs
    assert outputs[-1]["output_type"] == "execute_result"
    assert outputs[-1]["mime_types"] == ["text/html", "text/plain"]


@pytest.mark.parametrize("mode", MODES)
def test_outputs_come_while_the_cell_runs(path: Path, mode: Any) -> None:
    found = Events(path.parent)
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(model(), toolkit)
        for chunk in agent.stream(ASK, stream_mode=MODES[mode]):
            found.take(*chunk)

    check(found[mode])


@pytest.mark.parametrize("mode", MODES)
async def test_outputs_come_while_the_cell_runs_in_async_code(path: Path, mode: Any) -> None:
    found = Events(path.parent)
    async with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(model(), toolkit)
        async for chunk in agent.astream(ASK, stream_mode=MODES[mode]):
            found.take(*chunk)

    check(found[mode])


async def test_outputs_come_in_a_react_agent(path: Path) -> None:
    from langgraph.prebuilt import create_react_agent

    found = Events(path.parent)
    async with JupyterToolkit(path) as toolkit:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # deprecated upstream, still used
            agent = create_react_agent(model(), toolkit.get_tools())
        async for chunk in agent.astream(ASK, stream_mode=["custom", "tools"]):
            found.take(*chunk)

    check(found["custom"])
    assert found["tools"] == found["custom"]


def test_a_progress_bar_and_an_error_stay_small(path: Path) -> None:
    source = "print('x' * 100_000)\nfor n in range(20):\n    print(f'\\r{n:3}%', end='')\ndef f(n): f(n)\nf(0)"
    script = ScriptedModel([calls(tool_call("append_execute_code_cell", source=source)), "Done."])
    with JupyterToolkit(path) as toolkit:
        agent: Any = create_agent(script, toolkit.get_tools())
        found = [event for _, event in agent.stream(ASK, stream_mode=["custom"])]

    assert max(len(str(event)) for event in found) < 25_000
    last = found[-1]["outputs"][-1]
    assert (last["output_type"], last["ename"]) == ("error", "RecursionError")


def test_a_run_that_is_waited_for_is_streamed_to_whoever_waits(path: Path) -> None:
    source = (
        "import itertools, os, time\nfor n in itertools.count():\n    print('step', n, flush=True)\n"
        "    time.sleep(0.1)\n    if os.path.exists('seen'): break\nprint('the end')"
    )
    script = ScriptedModel(
        [
            calls(tool_call("append_execute_code_cell", "start", source=source, timeout=0.3)),
            "It runs.",
            calls(tool_call("wait_for_execution", "wait", execution="e1")),
            "Done.",
        ]
    )
    config: Any = {"configurable": {"thread_id": "t"}}
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(script, toolkit, checkpointer=InMemorySaver())
        agent.invoke(ASK, config)
        later = []
        for _, event in agent.stream(ASK, config, stream_mode=["custom"]):
            later.append(event)
            (path.parent / "seen").touch()

    assert {event["tool_call_id"] for event in later} == {"wait"}
    assert "the end\n" in "".join(event["text"] for event in later)


def test_a_run_ends_well_though_the_loop_of_its_listener_is_gone(path: Path) -> None:
    source = "import time\nfor n in range(6):\n    print(n, flush=True)\n    time.sleep(0.2)"
    script = ScriptedModel([calls(tool_call("append_execute_code_cell", source=source, timeout=0.3)), "It runs."])
    with JupyterToolkit(path) as toolkit:
        agent = create_jupyter_agent(script, toolkit)

        async def once() -> None:
            async for _ in agent.astream(ASK, stream_mode=["custom", "tools"]):
                pass

        asyncio.run(once())
        wait = next(tool for tool in toolkit.get_tools() if tool.name == "wait_for_execution")
        ended = wait.invoke({"execution": "e1"})[0]["text"]

    assert " ok " in ended.splitlines()[0]
    assert "4\\n" in path.read_text()
