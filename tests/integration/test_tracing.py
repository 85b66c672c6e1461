"""What a trace of LangSmith's kind holds of a tool call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.schemas import Run
from langgraph.checkpoint.memory import InMemorySaver

from langchain_jupyter import JupyterToolkit, create_jupyter_agent
from langchain_jupyter.backends import Backend, LocalDocuments
from langchain_jupyter.kernels.kernel import Kernel, Message
from langchain_jupyter.testing import ScriptedKernel, ScriptedModel, calls, printed, tool_call

ASK: Any = {"messages": [("user", "Go.")]}
TOKEN = "t0ken-that-nobody-may-read"


class Recorder(BaseTracer):
    """Keeps all runs of a trace."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        waiting = [run]
        while waiting:
            one = waiting.pop()
            self.runs.append(one)
            waiting += one.child_runs

    def one(self, name: str) -> Run:
        (found,) = (run for run in self.runs if run.name == name)
        return found


class TracedKernel(ScriptedKernel):
    """A kernel that uses LangChain while it runs, on the toolkit's own loop."""

    async def execute(
        self, code: str, *, allow_stdin: bool = False, store_history: bool = True
    ) -> AsyncIterator[Message]:
        await RunnableLambda(lambda _: code, name="inside the kernel").ainvoke(code)
        async for message in super().execute(code, allow_stdin=allow_stdin, store_history=store_history):
            yield message


class OneKernel:
    """The same kernel for every notebook."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def kernel(self, location: str, choice: str) -> Kernel:
        return self._kernel

    async def specs(self) -> Mapping[str, str]:
        return {}

    async def close(self) -> None:
        """Nothing is shared."""


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def config(recorder: Recorder) -> Any:
    return {"configurable": {"thread_id": "t"}, "callbacks": [recorder], "tags": ["nightly"], "metadata": {"team": "x"}}


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_a_tool_call_is_named_tagged_and_the_parent_of_what_happens_inside(
    tmp_path: Path, recorder: Recorder, mode: str
) -> None:
    kernel = TracedKernel({"6 * 7": [printed("42")]})
    backend = Backend(LocalDocuments(tmp_path / "a.ipynb"), OneKernel(kernel))
    model = ScriptedModel([calls(tool_call("append_execute_code_cell", source="6 * 7")), "Done."])
    with JupyterToolkit(backend=backend) as toolkit:
        agent = create_jupyter_agent(model, toolkit, checkpointer=InMemorySaver())
        if mode == "sync":
            agent.invoke(ASK, config(recorder))
        else:
            await agent.ainvoke(ASK, config(recorder))

    tool, inside = recorder.one("append_execute_code_cell"), recorder.one("inside the kernel")
    assert tool.run_type == "tool"
    assert {"jupyter", "jupyter:run", "nightly"} <= set(tool.tags or ())
    assert (tool.metadata["effect"], tool.metadata["team"], tool.metadata["thread_id"]) == ("run", "x", "t")
    assert inside.parent_run_id == tool.id
    assert inside.trace_id == tool.trace_id


def test_a_trace_holds_neither_the_runtime_nor_base64_in_artifacts(tmp_path: Path, recorder: Recorder) -> None:
    source = "from PIL import Image as P\nimport os\nP.frombytes('RGB', (300, 300), os.urandom(300 * 300 * 3))"
    model = ScriptedModel([calls(tool_call("append_execute_code_cell", source=source)), "Done."])
    with JupyterToolkit(tmp_path / "a.ipynb") as toolkit:
        agent = create_jupyter_agent(model, toolkit, checkpointer=InMemorySaver())
        agent.invoke(ASK, config(recorder) | {"configurable": {"thread_id": "t", "token": TOKEN}})

    tool = recorder.one("append_execute_code_cell")
    assert set(tool.inputs) <= {"input", "source"}
    assert "runtime" not in str(tool.inputs)
    assert TOKEN not in str(tool.inputs)
    artifact = tool.outputs["output"].artifact  # type: ignore[index]
    assert len(str(artifact)) < 1_000
    assert artifact["outputs"][0]["ref"]
