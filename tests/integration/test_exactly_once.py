"""Our process is killed between the start of a cell and its end; the thread goes on in another process."""

from __future__ import annotations

import asyncio
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from langchain_jupyter import JupyterToolkit, create_jupyter_agent
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer
from langchain_jupyter.testing import ScriptedModel

CONFIG: Any = {"configurable": {"thread_id": "t"}}

CHILD = """
import sys, warnings
from langgraph.checkpoint.sqlite import SqliteSaver
from langchain_jupyter import JupyterToolkit, create_jupyter_agent
from langchain_jupyter.testing import ScriptedModel, calls, tool_call

path, database, url, token, builder, source = sys.argv[1:]
model = ScriptedModel([calls(tool_call("append_execute_code_cell", "call-1", source=source))])
config = {"configurable": {"thread_id": "t"}}
with JupyterToolkit(path, server_url=url, token=token) as toolkit, SqliteSaver.from_conn_string(database) as saver:
    if builder == "create_react_agent":
        warnings.simplefilter("ignore")
        from langgraph.prebuilt import create_react_agent
        agent = create_react_agent(model, toolkit.get_tools(), checkpointer=saver)
    else:
        agent = create_jupyter_agent(model, toolkit, checkpointer=saver)
    agent.invoke({"messages": [("user", "Count.")]}, config, durability="sync")
"""


def counting(folder: Path, seconds: int) -> str:
    """Leaves a mark at its start, prints twice a second, and leaves a file at its end."""
    return (
        f"import time\nopen({str(folder / 'counter')!r}, 'a').write('x')\n"
        f"for n in range({2 * seconds}):\n    print('line', n, flush=True)\n    time.sleep(0.5)\n"
        f"open({str(folder / 'ended')!r}, 'w').close()\n'the end'"
    )


async def killed_while_it_runs(*arguments: str, counter: Path) -> None:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, *arguments)
    try:
        async with asyncio.timeout(60):
            while not counter.exists():
                assert child.returncode is None
                await asyncio.sleep(0.05)
    finally:
        child.send_signal(signal.SIGKILL)
        await child.wait()


async def until_exists(file: Path) -> None:
    async with asyncio.timeout(60):
        while not file.exists():
            await asyncio.sleep(0.1)


def tool_message(state: Any) -> ToolMessage:
    (message,) = (message for message in state["messages"] if isinstance(message, ToolMessage))
    return message


def resumed(builder: str, toolkit: JupyterToolkit, saver: Any) -> Any:
    model = ScriptedModel(["Counted."])
    if builder == "create_jupyter_agent":
        return create_jupyter_agent(model, toolkit, checkpointer=saver)
    from langgraph.prebuilt import create_react_agent

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # deprecated upstream, still used
        return create_react_agent(model, toolkit.get_tools(), checkpointer=saver)


@pytest.mark.parametrize("builder", ["create_jupyter_agent", "create_react_agent"])
@pytest.mark.parametrize("when", ["while it runs", "after its end"])
async def test_a_kernel_of_a_server_goes_on_and_its_outputs_reach_the_thread(
    lab: LabServer, tmp_path: Path, builder: str, when: str
) -> None:
    name, database = f"once-{builder}-{when.replace(' ', '-')}.ipynb", str(tmp_path / "checkpoints.sqlite")
    nbformat.write(nbformat.v4.new_notebook(), lab.root / name)  # type: ignore[no-untyped-call]
    url, token = lab.settings.url, lab.settings.token.get_secret_value()
    seconds = 4 if when == "while it runs" else 1
    source = counting(tmp_path, seconds)

    await killed_while_it_runs(name, database, url, token, builder, source, counter=tmp_path / "counter")
    if when == "after its end":
        await until_exists(tmp_path / "ended")
    async with (
        JupyterToolkit(name, server_url=url, token=token) as toolkit,
        AsyncSqliteSaver.from_conn_string(database) as saver,
    ):
        agent = resumed(builder, toolkit, saver)
        before = (await agent.aget_state(CONFIG)).next
        state = await agent.ainvoke(None, CONFIG)
        document = (await toolkit.bridge.arun(toolkit.session)).document
        (cell,) = [cell for cell in await toolkit.bridge.arun(lambda: _cells(document)) if cell.source]

    message = tool_message(state)
    assert before == ("tools",)
    assert (tmp_path / "counter").read_text() == "x"
    assert message.artifact["status"] == "ok"
    lines = [int(line.split()[1]) for line in message.text.splitlines() if line.startswith("line")]
    assert lines == list(range(lines[0], 2 * seconds))  # none twice; the first may have been on its way to the process
    assert "may be missing" in message.text
    assert "the end" in message.text
    assert "the end" in str(cell.outputs)
    assert not cell.running
    assert isinstance(state["messages"][-1], AIMessage)


async def test_with_somebody_else_on_the_kernel_what_was_missed_is_lost_and_nothing_runs_again(
    lab: LabServer, tmp_path: Path
) -> None:
    name, database = "once-beside-a-person.ipynb", str(tmp_path / "checkpoints.sqlite")
    nbformat.write(nbformat.v4.new_notebook(), lab.root / name)  # type: ignore[no-untyped-call]
    url, token = lab.settings.url, lab.settings.token.get_secret_value()
    arguments = (name, database, url, token, "create_jupyter_agent", counting(tmp_path, seconds=3))

    await killed_while_it_runs(*arguments, counter=tmp_path / "counter")
    server = JupyterServer(lab.settings)
    (kernel_id,) = [each["kernel"]["id"] for each in await server.get("/api/sessions") if each["path"] == name]
    somebody = await server.connect(f"/api/kernels/{kernel_id}/channels")
    async with (
        JupyterToolkit(name, server_url=url, token=token) as toolkit,
        AsyncSqliteSaver.from_conn_string(database) as saver,
    ):
        state = await resumed("create_jupyter_agent", toolkit, saver).ainvoke(None, CONFIG)
        connections = (await server.get(f"/api/kernels/{kernel_id}"))["connections"]
    await somebody.close()
    await server.close()

    message = tool_message(state)
    assert (tmp_path / "counter").read_text() == "x"
    assert (tmp_path / "ended").exists()  # waited for
    assert "line 5" in message.text
    assert message.artifact["truncated"]
    assert "nothing was run again" in message.text
    assert connections == 2  # nobody was put off the line


async def _cells(document: Any) -> list[Any]:
    return list(document.cells())


def test_a_kernel_of_this_machine_dies_with_us_and_the_cell_is_not_run_again(tmp_path: Path) -> None:
    path, database = str(tmp_path / "a.ipynb"), str(tmp_path / "checkpoints.sqlite")
    source = counting(tmp_path, seconds=30)

    arguments = (path, database, "", "", "create_jupyter_agent", source)
    asyncio.run(killed_while_it_runs(*arguments, counter=tmp_path / "counter"))
    with JupyterToolkit(path) as toolkit, SqliteSaver.from_conn_string(database) as saver:
        state = resumed("create_jupyter_agent", toolkit, saver).invoke(None, CONFIG)

    assert tool_message(state).artifact["status"] == "died"
    assert "was not run again" in tool_message(state).text
    assert (tmp_path / "counter").read_text() == "x"
