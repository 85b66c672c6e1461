"""Steady calls on many notebooks: nothing may grow. Exit code 1 if something does.

python benchmarks/load.py [--minutes 10] [--scripted 64] [--real 8]

64 notebooks whose kernels are played by a script, in this process, and 8 with real ones. Each is called once a second:
a cell is overwritten and run, read, added, deleted. After the first fifth of the time, in which caches and histories
fill (which are set to be small, so that they do), memory, tasks, threads, file handles and times of calls must stay.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.analysis import freshness
from langchain_jupyter.backends import Backend, LocalDocuments, LocalKernels
from langchain_jupyter.documents import journal
from langchain_jupyter.sessions import executions
from langchain_jupyter.testing import ScriptedKernels, printed

WINDOWS = 10
WARM_UP = 2
HISTORY = 50
PERIOD = 1.0
SOURCE = "print('x' * 200)"


@dataclass(frozen=True, slots=True)
class Sample:
    """This process at one moment.

    Attributes:
        memory: Resident, in MB.
        tasks: Of the toolkits' loops.
        threads: Of this process.
        files: Open handles.
    """

    memory: float
    tasks: int
    threads: int
    files: int


class Load:
    """Notebooks of one toolkit, called in a steady rhythm.

    Attributes:
        times: Seconds of each call in the present window.
    """

    def __init__(self, root: Path, kernels: Any, count: int) -> None:
        root.mkdir()
        self.toolkit = JupyterToolkit(backend=Backend(LocalDocuments(root=root), kernels), tools="workspace")
        self.times: list[float] = []
        self._tools = {tool.name: tool for tool in self.toolkit.get_tools()}
        self._names = [f"{number}.ipynb" for number in range(count)]
        self._tasks: list[asyncio.Task[None]] = []

    async def call(self, tool: str, **arguments: Any) -> str:
        started = time.perf_counter()
        content = await self._tools[tool].ainvoke(arguments)
        self.times.append(time.perf_counter() - started)
        return str(content[0]["text"])

    async def start(self) -> None:
        for name in self._names:
            await self.call("open_notebook", path=name, create=True)
            await self.call("append_execute_code_cell", notebook=name, source=SOURCE)
        self._tasks = [
            asyncio.create_task(self._go_on(name, PERIOD * number / len(self._names)))
            for number, name in enumerate(self._names)
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
        await self.toolkit.aclose()

    async def _go_on(self, notebook: str, delay: float) -> None:
        await asyncio.sleep(delay)
        number = 0
        while True:
            started = time.perf_counter()
            match number % 4:
                case 0:
                    said = await self.call(
                        "overwrite_cell_source",
                        notebook=notebook,
                        cell="#0",
                        source=SOURCE + " " * (number % 3),
                        run=True,
                    )
                    assert " ok " in said, said
                case 1:
                    await self.call("read_all_cells", notebook=notebook)
                case 2:
                    await self.call("append_execute_code_cell", notebook=notebook, source=SOURCE)
                case 3:
                    await self.call("get_notebook_info", notebook=notebook)
                    await self.call("delete_cell", notebook=notebook, cell="#1")
            number += 1
            await asyncio.sleep(max(PERIOD - (time.perf_counter() - started), 0))


def sample(loads: list[Load]) -> Sample:
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    tasks = sum(len(asyncio.all_tasks(load.toolkit.bridge._loop)) for load in loads)
    return Sample(resident / 1e6, tasks, threading.active_count(), len(os.listdir("/proc/self/fd")))


def grown(samples: list[Sample], p95: list[float]) -> list[str]:
    """What is more at the end than after the warm-up."""
    kept, times = samples[WARM_UP:], p95[WARM_UP:]
    third = max(len(kept) // 3, 1)
    early, late = kept[:third], kept[-third:]
    said = []
    for name, share, more in (("memory", 1.05, 5), ("tasks", 1.1, 5), ("threads", 1.0, 2), ("files", 1.0, 5)):
        before, after = (statistics.median(getattr(each, name) for each in part) for part in (early, late))
        if after > share * before + more:
            said.append(f"{name}: {before:.0f} -> {after:.0f}")
    before, after = statistics.median(times[:third]), statistics.median(times[-third:])
    if after > 1.5 * before + 0.01:
        said.append(f"p95: {1000 * before:.0f} -> {1000 * after:.0f} ms")
    return said


async def run(minutes: float, scripted: int, real: int) -> list[str]:
    journal._KEPT = executions._KEPT = freshness._KEPT = HISTORY
    window = 60 * minutes / WINDOWS
    with tempfile.TemporaryDirectory() as folder:
        loads = [
            Load(Path(folder) / "scripted", ScriptedKernels({SOURCE: [printed("x" * 200 + "\n")]}), scripted),
            Load(Path(folder) / "real", LocalKernels(), real),
        ]
        for load in loads:
            await load.start()
        samples, p95 = [], []
        print("window  memory  tasks  threads  files   calls  p95 scripted  p95 real")
        for number in range(WINDOWS):
            for load in loads:
                load.times.clear()
            await asyncio.sleep(window)
            now = sample(loads)
            times = [_p95(load.times) for load in loads]
            samples.append(now)
            p95.append(max(times))
            calls = sum(len(load.times) for load in loads)
            print(
                f"{number:6}  {now.memory:4.0f} MB  {now.tasks:5}  {now.threads:7}  {now.files:5}  {calls:6}  "
                f"{1000 * times[0]:9.0f} ms  {1000 * times[1]:5.0f} ms",
                flush=True,
            )
        for load in loads:
            await load.stop()
    return grown(samples, p95)


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1] if len(times) > 1 else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--scripted", type=int, default=64)
    parser.add_argument("--real", type=int, default=8)
    options = parser.parse_args()
    more = asyncio.run(run(options.minutes, options.scripted, options.real))
    print("Grown: " + "; ".join(more) if more else "Nothing has grown.")
    return 1 if more else 0


if __name__ == "__main__":
    sys.exit(main())
