"""deepagents on a notebook's kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_tests.integration_tests import SandboxIntegrationTests
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langchain_jupyter import JupyterToolkit, interrupt_on
from langchain_jupyter.testing import ScriptedModel, calls, tool_call

pytestmark = pytest.mark.servers


# They want names where BaseSandbox.glob gives whole paths, and a refusal where it overwrites.
LAGGING = {
    "test_glob",
    "test_glob_basic_pattern",
    "test_glob_with_directories",
    "test_glob_hidden_files_explicitly",
    "test_glob_with_character_class",
    "test_glob_with_question_mark",
    "test_write_existing_file_fails",
}


@pytest.mark.filterwarnings("ignore:Class-scoped fixtures")  # langchain-tests has such fixtures
class TestKernelBackend(SandboxIntegrationTests):
    """deepagents' own tests of a backend."""

    @pytest.fixture(autouse=True)
    def _lagging(self, request: pytest.FixtureRequest) -> None:
        if request.node.name in LAGGING:
            reason = "langchain-tests 1.1.9 lags deepagents 0.7: fails for a plain subprocess backend, too"
            request.applymarker(pytest.mark.xfail(strict=True, reason=reason))

    @pytest.fixture(scope="class")
    def sandbox(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
        from langchain_jupyter.deep import KernelBackend

        with JupyterToolkit(tmp_path_factory.mktemp("deep") / "a.ipynb") as toolkit:
            yield KernelBackend(toolkit)


def test_a_deep_agent_has_files_commands_and_variables_in_one_place(tmp_path: Path) -> None:
    from deepagents import create_deep_agent

    from langchain_jupyter.deep import KernelBackend

    config: Any = {"configurable": {"thread_id": "t"}}
    data = str(tmp_path / "data.csv")
    model = ScriptedModel(
        [
            calls(tool_call("write_file", file_path=data, content="a,b\n1,2\n")),
            calls(tool_call("append_execute_code_cell", source=f"rows = open({data!r}).read().split()\nlen(rows)")),
            calls(tool_call("execute", command="pwd")),
            calls(tool_call("run_code", code="print(rows)")),
            "Two lines.",
        ]
    )
    with JupyterToolkit(tmp_path / "a.ipynb") as toolkit:
        tools = toolkit.get_tools()
        agent: Any = create_deep_agent(
            model,
            tools=tools,
            backend=KernelBackend(toolkit),
            interrupt_on={**interrupt_on(tools, "writes"), "execute": True},
            checkpointer=InMemorySaver(),
        )
        state = agent.invoke({"messages": [("user", "How many lines?")]}, config)
        asked = []
        while interrupts := state.get("__interrupt__"):
            asked += [action["name"] for action in interrupts[0].value["action_requests"]]
            state = agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), config)

    results = [message.text for message in state["messages"] if isinstance(message, ToolMessage)]
    assert asked == ["append_execute_code_cell", "execute"]
    assert "\n2\n" in results[1]
    assert str(tmp_path) in results[2]
    assert "['a,b', '1,2']" in results[3]


def test_a_command_leaves_nothing_behind_and_works_while_a_cell_runs(tmp_path: Path) -> None:
    from langchain_jupyter.deep import KernelBackend

    with JupyterToolkit(tmp_path / "a.ipynb") as toolkit:
        backend = KernelBackend(toolkit)
        tools = {tool.name: tool for tool in toolkit.get_tools()}
        names = backend.execute("echo hello")
        before = tools["run_code"].invoke({"code": "sorted(n for n in dir() if not n.startswith('_'))"})[0]["text"]
        source = "import time\nfor _ in range(20): time.sleep(0.1)"
        tools["append_execute_code_cell"].invoke({"source": source, "timeout": 0.1})
        meanwhile = backend.execute("echo meanwhile; exit 3")
        killed = backend.execute("sleep 30", timeout=1)
        ended = tools["wait_for_execution"].invoke({"execution": "e2"})[0]["text"]

    assert (names.output, names.exit_code) == ("hello\n", 0)
    assert not {"execute", "write", "read", "answer", "subprocess"} & set(before.split("'"))
    assert (meanwhile.output, meanwhile.exit_code) == ("meanwhile\n", 3)
    assert killed.exit_code == 124
    assert " ok " in ended.splitlines()[0]


def test_large_and_missing_files_are_told_apart(tmp_path: Path) -> None:
    from langchain_jupyter.deep import KernelBackend

    large = bytes(range(256)) * 10_000
    with JupyterToolkit(tmp_path / "a.ipynb") as toolkit:
        backend = KernelBackend(toolkit)
        (up,) = backend.upload_files([(f"{tmp_path}/deep/large", large)])
        there, missing, folder = backend.download_files([f"{tmp_path}/deep/large", "/none", str(tmp_path)])

    assert up.error is None
    assert there.content == large
    assert (missing.error, folder.error) == ("file_not_found", "is_directory")
