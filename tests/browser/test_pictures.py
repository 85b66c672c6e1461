"""What people see of the terminal, the report and the documentation; UPDATE_SNAPSHOTS=1 keeps the pictures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Page
from rich.console import Console
from typer.testing import CliRunner

from langchain_jupyter import cli, demo
from langchain_jupyter.terminal import Terminal
from langchain_jupyter.testing import calls, tool_call

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"

TRAIN = """\
import time
import numpy as np

generator = np.random.default_rng(0)
x = np.linspace(0, 1, 60)
y = 2 * x + 0.5 + generator.normal(0, 0.15, 60)
weight = bias = 0.0
losses = []
for epoch in range(1, 61):
    error = weight * x + bias - y
    weight, bias = weight - 0.5 * (error * x).mean(), bias - 0.5 * error.mean()
    losses.append((error**2).mean())
    if epoch % 10 == 0:
        print(f"epoch {epoch}/60: loss {losses[-1]:.4f}", flush=True)
        time.sleep(0.1)"""
PLOT = """\
import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.6), layout="constrained")
left.plot(losses)
left.set(title="Loss by epoch", xlabel="epoch", yscale="log")
right.scatter(x, y, s=10)
right.plot(x, weight * x + bias, color="tab:red")
right.set(title=f"y = {weight:.2f} x + {bias:.2f}", xlabel="x")
plt.show()"""
SCRIPT = [
    calls(tool_call("get_notebook_info"), text="First a look at the notebook."),
    calls(tool_call("append_markdown_cell", source="# A line through points\n\nGradient descent, 60 epochs.")),
    calls(tool_call("append_execute_code_cell", source=TRAIN), text="I train, and print the loss as it falls."),
    calls(tool_call("append_execute_code_cell", source="losses.plot()")),
    calls(tool_call("append_execute_code_cell", source=PLOT), text="A list has no plot; matplotlib does it."),
    "The loss has settled, and the line fits the points.",
]


@dataclass(frozen=True)
class Session:
    """What a session of the command line has left behind.

    Attributes:
        terminal: What was printed, as SVG.
        report: The page.
    """

    terminal: str
    report: Path


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("session")
    console = Console(highlight=False, record=True, width=100, force_terminal=True, color_system="truecolor")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(demo, "TASK", "Fit a line through noisy points, and show how the loss fell.")
        patch.setattr(demo, "script", lambda: SCRIPT)
        patch.setattr(cli, "console", console)
        patch.setattr(cli, "terminal", Terminal(console))
        done = CliRunner().invoke(cli.app, ["demo", "--notebook", "line.ipynb", "--report", "report.html"])
    assert done.exit_code == 0, done.output
    drawing = console.export_svg(title="langchain-jupyter demo --report report.html")
    return Session(re.sub(r"@font-face \{.*?\}", "", drawing, flags=re.DOTALL), folder / "report.html")


async def shoot(page: Page, name: str, *, full: bool = False) -> None:
    """A picture of a page as it is now."""
    picture = await page.screenshot(full_page=full)
    assert len(picture) > 5_000
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        (IMAGES / f"{name}.png").write_bytes(picture)


async def test_the_terminal_shows_what_the_agent_does_while_it_does_it(page: Page, session: Session) -> None:
    await page.set_viewport_size({"width": 1200, "height": 810})
    await page.set_content(f"<body style='margin: 0'>{session.terminal}</body>")
    text = (await page.locator("svg").text_content() or "").replace("\xa0", " ")

    await shoot(page, "terminal")

    assert "append_execute_code_cell" in text
    assert "epoch 60/60: loss" in text
    assert "AttributeError" in text


async def test_the_report_is_a_page_that_needs_nothing_else(page: Page, session: Session) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url.partition(":")[0]))

    await page.goto(session.report.as_uri())
    drawn = await page.locator("img").evaluate_all("all => all.map(image => image.naturalWidth > 300)")
    await shoot(page, "report", full=True)

    assert drawn == [True]
    assert await page.locator("section.cell.added").count() == 4
    assert await page.locator(".steps > li").count() == 5
    assert await page.locator(".steps > li.failed").count() == 1
    assert await page.locator("pre.error").inner_text() != ""
    assert set(requests) <= {"file", "data"}
    assert complaints == []


async def test_the_documentation_is_read_without_a_server(page: Page, tmp_path_factory: pytest.TempPathFactory) -> None:
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(site)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=150, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))

    await page.set_viewport_size({"width": 1440, "height": 940})
    await page.goto((site / "first-agent.html").as_uri())
    await shoot(page, "docs")

    assert await page.get_by_role("heading", name="A first agent").count() == 1
    assert await page.get_by_role("link", name="In LangGraph").first.is_visible()
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
