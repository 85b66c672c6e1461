"""Two agents of two processes on one Jupyter server: one over MCP, one with the toolkit, each with two notebooks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

import nbformat
import pytest

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.servers.lab import LabServer
from tests import notebooks
from tests.serving import Served, served, text_of, waiting

FOLDER = "two-agents"
NAMES = ("first-a", "first-b", "second-a", "second-b", "shared", "queued", "busy")
_RUNS = 6


class Agent(Protocol):
    async def __call__(self, tool: str, **arguments: Any) -> str:
        """What a tool answers."""


@pytest.fixture(scope="module", autouse=True)
def folder(lab: LabServer) -> Path:
    """The notebooks, on the server."""
    folder = lab.root / FOLDER
    folder.mkdir()
    for name in NAMES:
        nbformat.write(nbformat.v4.new_notebook(), folder / f"{name}.ipynb")  # type: ignore[no-untyped-call]
    return folder


@pytest.fixture(scope="module")
def server(folder: Path, lab: LabServer) -> Iterator[Served]:
    token = lab.settings.token.get_secret_value()
    with served("", "--root", FOLDER, "--end-kernels", JUPYTER_URL=lab.settings.url, JUPYTER_TOKEN=token) as process:
        yield process


@pytest.fixture
def over_mcp(server: Served) -> Agent:
    async def call(tool: str, **arguments: Any) -> str:
        return text_of(await asyncio.to_thread(server.call, tool, **arguments))

    return call


@pytest.fixture
async def beside(folder: Path, lab: LabServer) -> AsyncIterator[Agent]:
    """An agent with a toolkit, in this process."""
    async with JupyterToolkit(root=FOLDER, server_url=lab.settings.url, token=lab.settings.token) as toolkit:
        tools = {tool.name: tool for tool in toolkit.get_tools()}

        async def call(tool: str, **arguments: Any) -> str:
            content = await tools[tool].ainvoke(arguments)
            return str(content[0]["text"]) if isinstance(content, list) else str(content)

        yield call


async def works(agent: Agent, notebook: str, who: str) -> list[str]:
    """Run some cells, one after the other, that print who has run them."""
    sources = [f"print({f'{who} {notebook} {number}'!r})" for number in range(_RUNS)]
    return [await agent("append_execute_code_cell", notebook=f"{notebook}.ipynb", source=each) for each in sources]


def count_of(told: str) -> int:
    """The execution count in the first line of a run's result."""
    found = re.search(r"\[(\d+)\]$", told.partition("\n")[0])
    assert found is not None, told
    return int(found[1])


async def test_each_has_its_two_notebooks_and_no_output_strays(over_mcp: Agent, beside: Agent, folder: Path) -> None:
    places = [(over_mcp, "first-a"), (over_mcp, "first-b"), (beside, "second-a"), (beside, "second-b")]

    told = await asyncio.gather(*(works(agent, notebook, "one") for agent, notebook in places))

    for (_, notebook), answers in zip(places, told, strict=True):
        assert [count_of(each) for each in answers] == list(range(1, _RUNS + 1))
        assert all(f"one {notebook} {number}\n" in each for number, each in enumerate(answers))
    for agent, notebook in places:
        seen = await (over_mcp if agent is beside else beside)("read_all_cells", notebook=f"{notebook}.ipynb")
        assert all(seen.count(f"one {notebook} {number}\n") == 1 for number in range(_RUNS))


async def test_on_one_notebook_runs_come_one_after_the_other_with_outputs_in_their_own_cells(
    over_mcp: Agent, beside: Agent, folder: Path
) -> None:
    told = await asyncio.gather(works(over_mcp, "shared", "mcp"), works(beside, "shared", "kit"))
    await beside("append_execute_code_cell", notebook="shared.ipynb", source="print('last')")

    counts = [count_of(each) for answers in told for each in answers]
    assert sorted(counts) == list(range(1, 2 * _RUNS + 1))  # one kernel, and nothing ran twice
    printed: dict[str, list[str]] = {}
    async with asyncio.timeout(60):
        while len(printed) <= 2 * _RUNS or not all(printed.values()):
            cells = [cell for cell in notebooks.read(folder / "shared.ipynb").cells if cell.source]
            printed = {cell.source: [output["text"] for output in cell.outputs] for cell in cells}
            await asyncio.sleep(0.05)
    assert all(texts == [f"{source[7:-2]}\n"] for source, texts in printed.items())


async def test_a_run_waits_for_that_of_the_other_process_and_begins_when_it_has_ended(
    over_mcp: Agent, beside: Agent, tmp_path: Path
) -> None:
    gate, mark = tmp_path / "gate", tmp_path / "mark"
    there = {"notebook": "queued.ipynb"}
    async with asyncio.timeout(120):
        left = await over_mcp("append_execute_code_cell", **there, source=waiting(gate), timeout=1)
        while "\nbegun" not in await beside("read_all_cells", **there):
            await asyncio.sleep(0.05)
        queued = await beside(
            "append_execute_code_cell", **there, source=f"open({str(mark)!r}, 'x')\nprint('after it')", timeout=1
        )
        early = mark.exists()
        edited = await beside("append_markdown_cell", **there, source="meanwhile")
        gate.touch()
        first = await over_mcp("wait_for_execution", **there, execution=reference(left), timeout=60)
        second = await beside("wait_for_execution", **there, execution=reference(queued), timeout=60)

    assert " running " in queued.partition("\n")[0]
    assert not early
    assert "added" in edited
    assert "finished" in first
    assert "after it" not in first
    assert "after it" in second
    assert "finished" not in second
    assert count_of(second) == count_of(first) + 1


async def test_a_second_run_of_the_same_process_is_refused_with_the_cell_that_runs(
    over_mcp: Agent, tmp_path: Path
) -> None:
    there = {"notebook": "busy.ipynb"}
    gate = tmp_path / "gate"
    async with asyncio.timeout(120):
        left = await over_mcp("append_execute_code_cell", **there, source=waiting(gate), timeout=1)
        refused = await over_mcp("append_execute_code_cell", **there, source="print('never')")
        gate.touch()
        ended = await over_mcp("wait_for_execution", **there, execution=reference(left), timeout=60)
        seen = await over_mcp("read_all_cells", **there)

    assert refused.startswith("[busy]")
    assert reference(left) in refused
    assert "finished" in ended
    assert "never" not in seen


def reference(told: str) -> str:
    found = re.search(r"execution (e\d+)", told)
    assert found is not None, told
    return found[1]
