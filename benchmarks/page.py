"""JupyterLab's page beside a cell that puts out too much: who sits there works on. Exit code 1 if not.

python benchmarks/page.py [--bomb NAME] [--by agent|person] [--pictures FOLDER]

A person has the notebook open in a real browser, with the caret in a cell of theirs, and types a key a second while an
agent runs the bomb in the same room. A key counts until another collaborator has it and the page has drawn a frame.
After that the person runs their cell, and the notebook is opened afresh. With `--by person` nobody but JupyterLab is
there, and the person runs the bomb: the floor. It wants Debian's chromium (`make test-browser` installs it).
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bombs import BOMBS, in_process
from nbformat.v4 import new_code_cell, new_notebook, new_output, writes_json
from playwright.async_api import Browser, Error, Locator, Page, async_playwright, expect

from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.documents.room import RoomStore
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer

PATIENCE = 60
"""Seconds after which a page that has not answered is given up."""
BOUNDS = {"key": 5.0, "after": 5.0, "runs": 5.0, "opens": 30.0, "heap": 500.0, "nodes": 100_000.0}
"""At most: seconds; MB of JavaScript's heap; nodes of the document."""
NAME = "bomb.ipynb"
MINE = "6 * 7  # "
FRAME = "new Promise(requestAnimationFrame)"
OPTIONS = [*(["--no-sandbox"] if os.geteuid() == 0 else []), "--disable-gpu", "--disable-background-networking"]
SHOWN = (
    "print, endless",
    "1 MB/s, endless",
    "a line of 40 MB",
    "40 MB beyond the BMP",
    "100,000 updates",
    "100,000 clears",
    "100,000 returns",
    "10,000 figures",
    "an error of 20 MB",
    "HTML of 38 MB",
    "JSON of 40 MB",
    "9 MB in lines",
    "JSON of 9 MB",
    "2,000 outputs",
)


class Seat:
    """A person at a page, the caret in their cell, the first; and another collaborator, who sees what they type.

    Args:
        page: That has the notebook open.
        document: The other's.
    """

    def __init__(self, page: Page, document: NotebookDocument) -> None:
        self.page = page
        self._document = document
        self._cell = document.ids[0]
        self._changed = asyncio.Event()
        document.listen(self._changed.set)

    def cell(self, at: int) -> Locator:
        return self.page.locator(".jp-Notebook .jp-Cell").nth(at)

    async def sit_down(self) -> None:
        await self.cell(0).locator(".cm-content").click()
        await self.page.keyboard.press("Control+End")

    async def key(self) -> None:
        """Type one, wait until the other has it, and for a frame."""
        expected = self._document.source(self._cell) + "x"
        await self.page.keyboard.type("x")
        while self._document.source(self._cell) != expected:
            self._changed.clear()
            await self._changed.wait()
        await self.page.evaluate(FRAME)

    async def run(self) -> None:
        """Run their cell, and wait for its result."""
        await self.page.keyboard.press("Control+Enter")
        await expect(self.cell(0).locator(".jp-OutputArea-output")).to_have_text("42")


async def seconds(call: Awaitable[Any]) -> float:
    """How long it took; infinite if the page has crashed, or does not answer."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE):
            await call
    except (TimeoutError, Error, AssertionError):
        return math.inf
    return time.monotonic() - started


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    path = shutil.which("chromium")
    assert path, "`make test-browser` installs Chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        await browser.close()


async def opened(browser: Browser, lab: LabServer, document: NotebookDocument) -> Seat:
    """Open the notebook, until its last cell is shown and the person can type."""
    page = await browser.new_page(viewport={"width": 1200, "height": 940})
    page.set_default_timeout(1000 * PATIENCE)
    expect.set_options(timeout=1000 * PATIENCE)
    await page.goto(f"{lab.page(NAME)}&reset")
    await expect(page.locator(".jp-Notebook .jp-Cell").last).to_contain_text("42")
    await expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute("data-status", "idle")
    seat = Seat(page, document)
    await seat.sit_down()
    await seat.key()
    return seat


def peak(pid: int) -> float:
    """MB that a process has had at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM"))


async def weight(browser: Browser, page: Page) -> dict[str, float]:
    """MB of JavaScript's heap after a collection, nodes of the document, MB that a page's process had at most."""
    session, root = await page.context.new_cdp_session(page), await browser.new_browser_cdp_session()
    await session.send("Performance.enable")
    await session.send("HeapProfiler.collectGarbage")
    metrics = {each["name"]: each["value"] for each in (await session.send("Performance.getMetrics"))["metrics"]}
    processes = (await root.send("SystemInfo.getProcessInfo"))["processInfo"]
    memory = max(peak(each["id"]) for each in processes if each["type"] == "renderer")
    return {"heap": metrics["JSHeapUsedSize"] / 1e6, "nodes": metrics["Nodes"], "memory": memory}


async def by_agent(name: str, lab: LabServer, seat: Seat) -> None:
    """An agent's process joins the room, and runs it."""
    token = lab.settings.token.get_secret_value()
    await in_process(name, {"server_url": lab.settings.url, "token": token, "path": NAME})


async def by_person(name: str, lab: LabServer, seat: Seat) -> None:
    """The person runs it, and goes back to their cell."""
    await seat.cell(1).locator(".cm-content").click()
    await seat.page.keyboard.press("Control+Enter")
    await seat.sit_down()
    if BOMBS[name].seconds:
        await asyncio.sleep(BOMBS[name].seconds)
        server = JupyterServer(lab.settings)
        for kernel in await server.request("GET", "/api/kernels"):
            await server.request("POST", f"/api/kernels/{kernel['id']}/interrupt")
        await server.close()


async def end_of(code: str, document: NotebookDocument) -> float:
    """When the run of a cell with that code has ended, as the other collaborator sees it."""
    while True:
        for cell_id in document.ids:
            cell = document.ycell(cell_id)
            ended = cell["execution_count"] is not None and cell.get("execution_state") == "idle"
            if ended and str(cell["source"]) == code:
                return time.monotonic()
        await asyncio.sleep(0.02)


def notebook(bomb: str) -> str:
    """The person's cell, the bomb's if they run it, and a last one that shows something."""
    python = {"name": "python3", "display_name": "Python 3", "language": "python"}
    sources = [MINE, *([bomb] if bomb else []), "6 * 7"]
    cells = [new_code_cell(source) for source in sources]
    cells[-1]["outputs"] = [new_output("execute_result", {"text/plain": "42"}, execution_count=1)]
    text: str = writes_json(new_notebook(cells=cells, metadata={"kernelspec": python}))
    return text


async def type_on(seat: Seat, ended: asyncio.Task[float]) -> dict[str, float]:
    """Type while the bomb goes on: the slowest key, and from its end until the page has drawn one typed after it."""
    slowest = 0.0
    while not ended.done() and slowest < math.inf:
        slowest = max(slowest, await seconds(seat.key()))
        await asyncio.wait([ended], timeout=1)
    last = await seconds(seat.key()) if slowest < math.inf else math.inf
    return {"key": slowest, "after": time.monotonic() - ended.result() if last < math.inf else math.inf}


async def photograph(seat: Seat, folder: Path, name: str) -> None:
    """Where the person sits, and the end of what the bomb's cell shows."""
    await seat.page.screenshot(path=folder / f"{name}.png")
    await seat.page.locator(".jp-Notebook .jp-Cell").last.scroll_into_view_if_needed()
    await seat.page.screenshot(path=folder / f"{name}, end.png")


async def beside(
    name: str, who: str, lab: LabServer, document: NotebookDocument, pictures: Path | None
) -> dict[str, float]:
    """What the page was like."""
    found = dict.fromkeys(("runs", "heap", "nodes", "memory"), math.inf)
    async with chromium() as browser:
        seat = await opened(browser, lab, document)
        before = await weight(browser, seat.page)
        run = asyncio.create_task((by_agent if who == "agent" else by_person)(name, lab, seat))
        started = time.monotonic()
        ended = asyncio.create_task(end_of(BOMBS[name].code, document))
        found |= await type_on(seat, ended)
        await seconds(run)
        await seconds(ended)
        found["took"] = ended.result() - started if ended.done() and not ended.cancelled() else math.inf
        if found["after"] < math.inf:
            found["runs"] = await seconds(seat.run())
            after = await weight(browser, seat.page)
            found |= {"heap": after["heap"] - before["heap"], "nodes": after["nodes"] - before["nodes"]}
            found["memory"] = after["memory"]
            if pictures:
                await photograph(seat, pictures, f"{name}, {who}")
    async with chromium() as browser:
        found["opens"] = await seconds(opened(browser, lab, document))
    return found


async def measure(name: str, who: str, pictures: Path | None) -> list[str]:
    """Let one bomb go off; what was over its bound."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root, home = Path(folder) / "root", Path(folder) / "home"
        root.mkdir()
        for kept in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"):
            os.environ[kept] = str(home)
        (root / NAME).write_text(notebook(BOMBS[name].code if who == "person" else ""))
        lab = LabServer(root)
        await lab.start()
        server = JupyterServer(lab.settings)
        other = RoomStore(server, NAME)
        try:
            found = await beside(name, who, lab, await other.open(), pictures)
        finally:
            await other.close()
            await server.close()
            await lab.close()
    print(
        f"{name:<22} {who:<7} {found['took']:7.1f} {found['key']:7.2f} {found['after']:7.2f} {found['runs']:7.2f} "
        f"{found['opens']:7.1f} {found['heap']:6.0f} {found['nodes']:9,.0f} {found['memory']:7.0f}",
        flush=True,
    )
    return [f"{name}, {figure} {found[figure]:.1f}" for figure, bound in BOUNDS.items() if found[figure] > bound]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bomb", choices=list(BOMBS), action="append")
    parser.add_argument("--by", choices=("agent", "person"), action="append")
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    columns = ("by", "took s", "key s", "after s", "runs s", "opens s", "heap", "nodes", "memory")
    print("{:<22} {:<7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>6} {:>9} {:>7}".format("bomb", *columns))
    wrong = []
    for name in options.bomb or SHOWN:
        for who in options.by or ("agent",):
            over = asyncio.run(measure(name, who, options.pictures))
            wrong += over if who == "agent" else []
    print("Over: " + "; ".join(wrong) if wrong else "The page stays usable.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
