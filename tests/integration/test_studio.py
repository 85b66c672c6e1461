"""The agent behind `langgraph dev`, used through LangGraph's SDK client."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from pydantic import SecretStr

from langchain_jupyter.settings import ServerSettings
from tests.notebooks import written
from tests.servers import Child, free_port

pytestmark = pytest.mark.servers

GRAPH = """
from langchain_jupyter.studio import agent_of
from langchain_jupyter.testing import ScriptedModel, calls, tool_call

MODEL = ScriptedModel(
    [
        calls(tool_call("append_execute_code_cell", source="x = 6 * 7\\nprint(x)")),
        "It is 42.",
        calls(tool_call("append_execute_code_cell", source="print(x + 1)")),
        "It is 43.",
    ]
)

async def graph():
    return agent_of(MODEL)
"""


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Child]:
    """The shipped configuration, with a scripted model in place of the environment's."""
    shipped = json.loads((Path(__file__).parents[2] / "langgraph.json").read_text())
    assert shipped["graphs"] == {"jupyter": "langchain_jupyter.studio:graph"}
    (tmp_path / "scripted.py").write_text(GRAPH)
    graphs = {"shipped": shipped["graphs"]["jupyter"], "jupyter": "./scripted.py:graph"}
    (tmp_path / "langgraph.json").write_text(json.dumps({"dependencies": ["."], "graphs": graphs}))
    command = shutil.which("langgraph", path=str(Path(sys.executable).parent))
    assert command is not None
    port = free_port()
    server = Child(
        [command, "dev", "--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", str(port)],
        ServerSettings(url=f"http://127.0.0.1:{port}", token=SecretStr("")),
        log=tmp_path / "log",
        env={"DOCUMENT_ID": str(tmp_path / "a.ipynb"), "APPROVE": "runs", "LANGSMITH_TRACING": "false"},
        cwd=tmp_path,
        ready="/ok",
    )
    async with server:
        yield server


async def test_a_thread_is_approved_streamed_and_goes_on_in_its_kernel(served: Child, tmp_path: Path) -> None:
    client = get_client(url=served.settings.url)
    thread = (await client.threads.create())["thread_id"]
    approve = {"resume": {"decisions": [{"type": "approve"}]}}

    asked: Any = await client.runs.wait(thread, "jupyter", input={"messages": [{"role": "user", "content": "6 * 7?"}]})
    events = [
        part.data
        async for part in client.runs.stream(thread, "jupyter", command=approve, stream_mode="custom")
        if part.event == "custom"
    ]
    await client.runs.wait(thread, "jupyter", input={"messages": [{"role": "user", "content": "And one more?"}]})
    state: Any = await client.runs.wait(thread, "jupyter", command=approve)
    await client.aclose()

    assert "print(x)" in asked["__interrupt__"][0]["value"]["action_requests"][0]["description"]
    assert events[0]["type"] == "jupyter_output"
    assert "42" in str(events)
    assert "43" in str(state["messages"][-2]["content"])  # the same kernel, in another run
    assert state["messages"][-1]["content"] == "It is 43."
    notebook = await written(tmp_path / "a.ipynb", lambda notebook: len(notebook.cells) == 2)
    assert [cell.source for cell in notebook.cells] == ["x = 6 * 7\nprint(x)", "print(x + 1)"]


async def test_the_shipped_graph_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_jupyter.errors import SettingsError
    from langchain_jupyter.studio import graph

    for name in ("MODEL", "DOCUMENT_ID", "ROOM_ID"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(SettingsError, match="MODEL"):
        await graph()
    assert "MODEL" not in os.environ
