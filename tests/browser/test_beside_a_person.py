"""An agent and a person in one notebook, in real JupyterLab."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.async_api import expect

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.servers.lab import LabServer
from tests.browser.person import Person

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "live.png"

SCENE = """\
import time
from sklearn.linear_model import SGDRegressor
from sklearn.preprocessing import scale

X, y = scale(data.drop(columns="target")), scale(data["target"])
model = SGDRegressor(eta0=0.001, random_state=0)
for epoch in range(1, 31):
    model.partial_fit(X, y)
    print(f"epoch {epoch:2}/30: R2 {model.score(X, y):.3f}", flush=True)
    time.sleep(0.3)
"""

FIGURE = """\
import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes

data = load_diabetes(as_frame=True, scaled=False).frame
data.plot.scatter("bmi", "target", c="s5", colormap="viridis", s=12, figsize=(6, 2.4));
"""

MANY_KINDS = """\
import sys, time
from IPython.display import HTML, clear_output, display

print("gone")
time.sleep(0.2)
clear_output(wait=True)
print("out", flush=True)
print("err", file=sys.stderr, flush=True)
print("out again")
shown = display(HTML("<b>first</b>"), display_id=True)
for step in range(5):
    print(f"\\rstep {step}", end="", flush=True)
    time.sleep(0.1)
print()
shown.update(HTML("<b>second</b>"))
time.sleep(0.2)
1 / 0
"""

SLOW = """\
import pathlib, time  # größer als ein Byte: é 😀
for step in range(8):
    print("step", step, flush=True)
    while step == 5 and not pathlib.Path("seen").exists():
        time.sleep(0.1)
"""


@pytest.fixture
async def name(lab: LabServer, request: pytest.FixtureRequest) -> str:
    """A notebook of its own for each test: a title, and one line of code."""
    python = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    cells = [new_markdown_cell("# Beside each other"), new_code_cell("6 * 7")]
    name = f"{request.node.name.removeprefix('test_')}.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=python), lab.root / name)  # type: ignore[no-untyped-call]
    return name


class Agent:
    """The tools, as an agent calls them."""

    def __init__(self, toolkit: JupyterToolkit) -> None:
        self._tools = {tool.name: tool for tool in toolkit.get_tools()}

    async def __call__(self, tool: str, **arguments: Any) -> str:
        content = await self._tools[tool].ainvoke(arguments)
        return str(content[0]["text"]) if isinstance(content, list) else str(content)

    async def reads(self, cell: str, text: str) -> None:
        """Read a cell until it holds a text that somebody else has written."""
        async with asyncio.timeout(60):
            while text not in await self("read_cell", cell=cell):
                await asyncio.sleep(0.05)


@pytest.fixture
async def agent(lab: LabServer, name: str) -> AsyncIterator[Agent]:
    token = lab.settings.token
    async with JupyterToolkit(name, server_url=lab.settings.url, token=token, username="Ada's agent") as toolkit:
        yield Agent(toolkit)


async def test_a_person_sees_the_agents_cell_grow_and_who_it_is(
    agent: Agent, person: Person, lab: LabServer, name: str, tmp_path: Path
) -> None:
    await person.opens(name)

    running = asyncio.create_task(agent("append_execute_code_cell", source=SLOW))

    await expect(person.prompt(2)).to_have_text("[*]:")
    await expect(person.outputs(2)).to_contain_text("step 1")
    assert not running.done()
    await expect(person.carets).to_have_count(1)
    await person.photographs(tmp_path / "running.png")
    (lab.root / "seen").touch()
    assert (await running).split("\n")[0].endswith("[1]")
    await expect(person.prompt(2)).to_have_text("[1]:")
    await expect(person.outputs(2)).to_contain_text("step 7")
    assert await person.outputs(2).all_inner_texts() == ["".join(f"step {n}\n" for n in range(8))]
    listed = (await person.collaborators()).filter(has_text="Ada's agent")
    await expect(listed).to_have_count(1)
    await expect(listed.get_by_title(name)).to_have_class(re.compile("jp-DirListing-itemText"))
    await person.photographs(tmp_path / "listed.png")


async def test_a_person_types_elsewhere_while_the_agent_works(agent: Agent, person: Person, name: str) -> None:
    await person.opens(name)
    await agent("append_markdown_cell", source="")
    await person.clicks_into(1)
    text = "".join(chr(ord("a") + n % 26) for n in range(200))

    typing = asyncio.create_task(person.types(f"  # {text}", delay=10))
    for number in range(10):
        await agent("append_execute_code_cell", source=f"print({number})")
    await typing

    await person.reads(1, f"6 * 7  # {text}")
    await agent.reads("1", f"6 * 7  # {text}")


async def test_both_write_in_one_cell_and_no_character_is_lost(agent: Agent, person: Person, name: str) -> None:
    handle = (await agent("append_markdown_cell", source="version 0\nmiddle line\nlast line")).split()[0]
    await person.opens(name)
    await person.cell(2).dblclick()
    await person.clicks_into(2)

    typing = asyncio.create_task(person.types(" and what a person adds", delay=50))
    version = 0
    while not typing.done():
        await agent("read_cell", cell=handle)
        old, new = f"version {version}", f"version {version + 1}"
        said = await agent("edit_cell_source", cell=handle, old=old, new=new)
        version += "[cell_changed]" not in said  # refused where the person has typed since it was read
    await typing

    assert version
    source = f"version {version}\nmiddle line\nlast line and what a person adds"
    await person.reads(2, source)
    await agent.reads(handle, source)


async def test_a_person_runs_a_cell_and_the_agent_sees_the_result(agent: Agent, person: Person, name: str) -> None:
    ran = await agent("append_execute_code_cell", source="answer = 42")
    assert ran.split("\n")[0].endswith("[1]")
    await person.opens(name)
    await person.clicks_into(1)
    await person.presses("Control+a")
    await person.types("answer + 1")

    await person.presses("Control+Enter")
    await expect(person.outputs(1)).to_have_text(["43"])

    await agent.reads("1", "43")
    await agent.reads("1", "answer + 1")


async def test_undo_takes_back_only_what_the_person_did(agent: Agent, person: Person, name: str) -> None:
    await person.opens(name)
    await person.clicks_into(1)
    await person.types("  # mine")
    await agent("append_markdown_cell", source="the agent's")
    await agent("edit_cell_source", cell="1", old="6 * 7", new="6 * 9")
    await expect(person.cell(2)).to_contain_text("the agent's")

    await person.presses("Control+z")
    await expect(person.cell(1)).not_to_contain_text("# mine")

    await person.reads(1, "6 * 9")
    await expect(person.cell(2)).to_contain_text("the agent's")


async def test_a_figure_and_a_table_appear_as_jupyter_draws_them(
    agent: Agent, person: Person, name: str, tmp_path: Path
) -> None:
    await person.opens(name)
    code = (
        "import pandas as pd, matplotlib.pyplot as plt\n"
        "table = pd.DataFrame({'x': range(5), 'square': [n * n for n in range(5)]})\n"
        "table.plot('x', 'square'); plt.show()\n"
        "table"
    )

    await agent("append_execute_code_cell", source=code)

    await expect(person.cell(2).locator("img")).to_have_count(1)
    await expect(person.cell(2).locator("table")).to_have_count(1)
    await person.photographs(tmp_path / "figure.png")


async def test_progression_of_diabetes_as_the_readme_shows_it(
    agent: Agent, person: Person, name: str, tmp_path: Path
) -> None:
    await agent("overwrite_cell_source", cell="0", source="## What goes with the progression of diabetes?")
    await agent("overwrite_cell_source", cell="1", source=FIGURE, run=True)
    await person.opens(name)

    running = asyncio.create_task(agent("append_execute_code_cell", source=SCENE))
    await expect(person.outputs(2)).to_contain_text("epoch  4/30")
    await expect(person.carets).to_have_count(1)
    await expect(person.cell(1).locator("img")).to_be_visible()
    await person.photographs(PICTURE if os.environ.get("UPDATE_SNAPSHOTS") == "1" else tmp_path / "live.png")

    assert "epoch 30/30" in await running


async def test_outputs_of_many_kinds_stand_as_in_a_notebook_run_by_hand(
    agent: Agent, person: Person, name: str
) -> None:
    await agent("overwrite_cell_source", cell="1", source=MANY_KINDS)
    await person.opens(name)
    expected = ["out\n", "err\n", "out again\n", "second", "step 4\n"]

    for run in (1, 2):
        await agent("execute_cell_with_progress", cell="1")
        await expect(person.prompt(1)).to_have_text(f"[{run}]:")
        await expect(person.outputs(1)).to_have_count(6)
        seen = await person.outputs(1).all_inner_texts()
        assert seen[:5] == expected
        assert "ZeroDivisionError" in seen[5]

    await person.opens(name)
    await expect(person.outputs(1)).to_have_count(6)
    assert (await person.outputs(1).all_inner_texts())[:5] == expected
