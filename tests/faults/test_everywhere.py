"""What befalls a kernel, or us, wherever the notebook is and its code runs. Nothing runs twice, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.errors import OutOfReach
from langchain_jupyter.servers.lab import LabServer
from tests import notebooks
from tests.faulttable import Fault
from tests.servers import Child

Faults = Callable[[str, str], Fault]

PLACES = ("file, local kernel", "file, server's kernel", "room", "contents")
UNTOUCHED = "# Nobody touches this"
RUN = """\
import os, time
with open({count!r}, "a") as file: file.write("x")
print("begun", flush=True)
while not os.path.exists({go!r}): time.sleep(0.05)
print("ended")
"""
SHORT_OF_MEMORY = """\
import resource
before = resource.getrlimit(resource.RLIMIT_AS)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, before[1]))
try:
    bytearray(1_000_000_000)
finally:
    resource.setrlimit(resource.RLIMIT_AS, before)
"""


@dataclass
class Bench:
    """A toolkit on a notebook.

    Attributes:
        place: Where it is.
        toolkit: To be called.
        notebook: The file, wherever it is.
        folder: For files of the code that runs.
    """

    place: str
    toolkit: JupyterToolkit
    notebook: Path
    folder: Path

    async def call(self, tool: str, **arguments: Any) -> str:
        named = {each.name: each for each in self.toolkit.get_tools()}
        async with asyncio.timeout(120):
            content = await named[tool].ainvoke(arguments)
        return str(content[0]["text"]) if isinstance(content, list) else str(content)

    async def kernel_pid(self) -> int:
        said = await self.call("run_code", code="import os; os.getpid()")
        return int(next(line for line in said.splitlines() if line.isdigit()))

    async def begun(self, name: str, timeout: float = 60) -> asyncio.Task[str]:
        """A cell that counts how often it runs, and then runs until `go`."""
        count, go = self.folder / name, self.folder / "go"
        go.unlink(missing_ok=True)
        source = RUN.format(count=str(count), go=str(go))
        running = asyncio.create_task(self.call("append_execute_code_cell", source=source, timeout=timeout))
        async with asyncio.timeout(60):
            while not count.exists() or not count.read_text():
                assert not running.done(), running.result()
                await asyncio.sleep(0.01)
        return running

    def go(self) -> None:
        (self.folder / "go").touch()

    def ran(self, name: str) -> int:
        return len((self.folder / name).read_text())

    async def works(self) -> str:
        said = await self.call("run_code", code="6 * 7")
        assert "42" in said, said
        return said

    @property
    def sources(self) -> list[str]:
        """What is in the file, after the toolkit has been closed."""
        return notebooks.sources(self.notebook)


@contextlib.asynccontextmanager
async def bench_at(place: str, folder: Path, lab: LabServer, bare: tuple[Child, Path]) -> AsyncIterator[Bench]:
    name = f"{folder.name}.ipynb"
    server, root = bare
    options: dict[str, Any] = {"soft_wait": 60}
    notebook = folder / name
    if place == "file, server's kernel":
        options |= {"runtime_url": server.settings.url, "runtime_token": server.settings.token}
    if place == "room":
        options |= {"server_url": lab.settings.url, "token": lab.settings.token}
        notebook = lab.root / name
    if place == "contents":
        options |= {"server_url": server.settings.url, "token": server.settings.token}
        notebook = root / name
    path = name if "server_url" in options else notebook
    async with JupyterToolkit(path, **options) as toolkit:
        yield Bench(place, toolkit, notebook, folder)


@pytest.mark.parametrize("place", PLACES)
async def test_what_befalls_a_kernel(
    place: str, tmp_path: Path, lab: LabServer, bare: tuple[Child, Path], faults: Faults
) -> None:
    async with bench_at(place, tmp_path, lab, bare) as bench:
        await bench.call("append_markdown_cell", source=UNTOUCHED)

        pid = await bench.kernel_pid()
        running = await bench.begun("killed")
        fault = faults("the kernel is killed", place)
        os.kill(pid, signal.SIGKILL)
        said = await running
        fault.told("died")
        assert " died " in said.splitlines()[0]
        assert "variables are gone" in await bench.works()

        fault = faults("the kernel runs out of memory", place)
        said = await bench.call("append_execute_code_cell", source=SHORT_OF_MEMORY)
        fault.told("error")
        assert "MemoryError" in said.splitlines()[0]
        await bench.works()

        pid = await bench.kernel_pid()
        running = await bench.begun("stopped", timeout=3)
        fault = faults("the kernel is stopped", place)
        os.kill(pid, signal.SIGSTOP)
        try:
            said = await running
            fault.told("running")
        finally:
            os.kill(pid, signal.SIGCONT)
            bench.go()
        assert " running " in said.splitlines()[0]
        ref = said.partition('wait_for_execution("')[2].partition('"')[0]
        ended = await bench.call("wait_for_execution", execution=ref, timeout=60)
        assert " ok " in ended.splitlines()[0]
        assert "ended" in ended
        await bench.works()

    assert (bench.ran("killed"), bench.ran("stopped")) == (1, 1)
    sources = bench.sources
    assert sources[0] == UNTOUCHED
    assert len(sources) == 4


@pytest.mark.parametrize("place", ["file, local kernel", "room"])
async def test_what_befalls_us(
    place: str,
    tmp_path: Path,
    lab: LabServer,
    bare: tuple[Child, Path],
    faults: Faults,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with bench_at(place, tmp_path, lab, bare) as bench:
        await bench.call("append_markdown_cell", source=UNTOUCHED)
        await bench.works()

        fault = faults("the clock jumps", place)
        with monkeypatch.context() as patch:
            clock = time.time
            for day in (86_400, -86_400):
                patch.setattr(time, "time", lambda day=day: clock() + day)
                said = await bench.call("append_execute_code_cell", source="'on time'")
                assert " ok " in said.splitlines()[0]
                assert float(said.split()[2].removesuffix("s")) < 60
        fault.told()

        running = await bench.begun("blocked")
        fault = faults("our event loop is blocked", place)
        await bench.toolkit.bridge.arun(_block)
        bench.go()
        said = await running
        fault.told()
        assert " ok " in said.splitlines()[0]
        assert "begun\nended" in said

        running = await bench.begun("ended")
        fault = faults("our thread is ended", place)
        loop = bench.toolkit.bridge._loop
        assert loop is not None
        loop.call_soon_threadsafe(_leave)
        [ended] = await asyncio.gather(running, return_exceptions=True)
        fault.told("OutOfReach" if isinstance(ended, OutOfReach) else "died")
        assert ("next call opens it again" if isinstance(ended, OutOfReach) else " died ") in str(ended)
        assert "variables are gone" in await bench.works()

    assert (bench.ran("blocked"), bench.ran("ended")) == (1, 1)
    sources = bench.sources
    assert sources[0] == UNTOUCHED
    assert len(sources) == 5


async def _block() -> None:
    time.sleep(5)


def _leave() -> None:
    raise SystemExit
