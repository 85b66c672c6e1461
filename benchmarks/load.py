"""Steady calls on many notebooks: nothing may grow. Exit code 1 if something does, 2 on a machine too busy to tell.

python benchmarks/load.py [--minutes 10] [--scripted 64] [--real 8]

64 notebooks whose kernels are played by a script, in this process, and 8 with real ones. Each is called once a second:
a cell is overwritten and run, read, added, deleted. After the first fifth of the time, in which caches and histories
fill (which are set to be small, so that they do), memory, tasks, threads, file handles and times of calls must stay.

Each notebook has its own moment of the second and keeps it. If each waited a second after its last answer, as this
program once did, those that were late together would stay together: they gather into crowds, and the 95th percentile
grows for as long as the crowds do, whatever a call costs. Times count from the moment at which a call was due. The
processor time of this process is told as well, and how long its threads waited for a processor that others had: the
real kernels, for some 2 ms a call on two processors. Where it is twice that, times tell of other programs (work that
piles up even takes less of a processor).

Before that, a cell appended and run in a notebook of 1,000 cells is compared with one in a notebook of ten.
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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.analysis import freshness
from langchain_jupyter.backends import Backend, LocalDocuments, LocalKernels
from langchain_jupyter.documents import handles, journal, notebook
from langchain_jupyter.sessions import executions, sight
from langchain_jupyter.testing import ScriptedKernels, printed

WINDOWS = 10
WARM_UP = 2
PERIOD = 1.0
BUSY = 4.0
SOURCE = "print('x' * 200)"
SCRIPT = {SOURCE: [printed("x" * 200 + "\n")]}

UNTOLD = "whether times grow cannot be told"

CELLS = 1_000
ROUNDS = 100
DEARER = 1.5
"""How many times the processor time of a call in a short notebook one in a long one may take."""


@dataclass(frozen=True, slots=True)
class Window:
    """A tenth of the time.

    Attributes:
        memory: Resident at its end, in MB.
        tasks: Of the toolkits' loops, then.
        threads: Of this process, then.
        files: Open handles, then.
        calls: How many were answered.
        cpu: Processor time of this process for each, in milliseconds.
        waited: How long its threads were ready and had no processor, for each, in milliseconds; Linux tells.
        scripted: 95th percentile of the calls of notebooks with scripted kernels, in milliseconds.
        real: As `scripted`, with real ones.
    """

    memory: float
    tasks: int
    threads: int
    files: int
    calls: int
    cpu: float
    waited: float
    scripted: float
    real: float


class Load:
    """Notebooks of one toolkit, called in a steady rhythm.

    Attributes:
        times: Seconds of each call in the present window, from the moment at which it was due.
    """

    def __init__(self, root: Path, kernels: Any, count: int) -> None:
        root.mkdir()
        self.toolkit = JupyterToolkit(backend=Backend(LocalDocuments(root=root), kernels), tools="workspace")
        self.times: list[float] = []
        self._tools = {tool.name: tool for tool in self.toolkit.get_tools()}
        self._names = [f"{number}.ipynb" for number in range(count)]
        self._tasks: list[asyncio.Task[None]] = []

    async def call(self, tool: str, **arguments: Any) -> str:
        content = await self._tools[tool].ainvoke(arguments)
        assert isinstance(content, list), content
        return str(content[0]["text"])

    async def add(self, name: str) -> str:
        """A cell that has run; its handle."""
        said = await self.call("append_execute_code_cell", notebook=name, source=SOURCE)
        assert " ok " in said, said
        return said.split()[0]

    async def start(self) -> None:
        firsts = {}
        for name in self._names:
            await self.call("open_notebook", path=name, create=True)
            firsts[name] = await self.add(name)
        begin = time.perf_counter()
        self._tasks = [
            asyncio.create_task(self._go_on(name, firsts[name], begin + PERIOD * number / len(self._names)))
            for number, name in enumerate(self._names)
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
        await self.toolkit.aclose()

    async def _go_on(self, name: str, first: str, due: float) -> None:
        added = ""
        number = 0
        while True:
            await asyncio.sleep(due - time.perf_counter())
            match number % 4:
                case 0:
                    source = SOURCE + " " * (number % 3)
                    await self.call("overwrite_cell_source", notebook=name, cell=first, source=source, run=True)
                case 1:
                    await self.call("read_all_cells", notebook=name)
                case 2:
                    added = await self.add(name)
                case 3:
                    await self.call("delete_cell", notebook=name, cell=added)
            now = time.perf_counter()
            self.times.append(now - due)
            number += 1
            due += PERIOD * max(1, -(-(now - due) // PERIOD))  # what is missed is not made up for


async def measure(loads: Sequence[Load], seconds: float) -> Window:
    for load in loads:
        load.times.clear()
    cpu, waited = time.process_time(), _waited()
    await asyncio.sleep(seconds)
    cpu, waited = time.process_time() - cpu, _waited() - waited
    times = [list(load.times) for load in loads]
    calls = sum(map(len, times))
    gc.collect()
    return Window(
        memory=_resident(),
        tasks=sum(len(asyncio.all_tasks(load.toolkit.bridge._loop)) for load in loads),
        threads=threading.active_count(),
        files=len(os.listdir("/proc/self/fd")),
        calls=calls,
        cpu=1000 * cpu / max(calls, 1),
        waited=1000 * waited / max(calls, 1),
        scripted=_p95(times[0]),
        real=_p95(times[1]),
    )


def _waited() -> float:
    """Seconds, of all threads that are there."""
    return sum(int(each.read_text().split()[1]) for each in Path("/proc/self/task").glob("*/schedstat")) / 1e9


def _resident() -> float:
    """In MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _p95(seconds: Sequence[float]) -> float:
    """In milliseconds."""
    return 1000 * statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else 0.0


# Member, what it is called, and by which share and by how much more its end may lie above its beginning. A notebook
# that is to be saved has a task and its journal open, and how many those are at one moment is chance.
FIGURES = (
    ("memory", "memory, MB", 1.05, 3),
    ("tasks", "tasks", 1.0, 72),
    ("threads", "threads", 1.0, 2),
    ("files", "file handles", 1.0, 72),
    ("cpu", "processor time of a call, ms", 1.25, 0.2),
    ("waited", "waited for a processor, ms", 1.0, float("inf")),
    ("scripted", "95th percentile, scripted, ms", 1.5, 5),
    ("real", "95th percentile, real, ms", 1.5, 5),
)


def grown(windows: Sequence[Window]) -> list[str]:
    """What is more at the end than after the warm-up; medians of thirds, since single windows are chance."""
    kept = windows[WARM_UP:]
    third = max(len(kept) // 3, 1)
    said = []
    for member, name, share, more in FIGURES:
        before, after = (statistics.median(getattr(w, member) for w in part) for part in (kept[:third], kept[-third:]))
        if after > share * before + more:
            said.append(
                f"{name.removesuffix(', ms')}: {before:.1f} -> {after:.1f}{' ms' if name.endswith('ms') else ''}"
            )
    return said


def busy(windows: Sequence[Window]) -> bool:
    """Whether others had the processors so much that percentiles tell nothing."""
    return statistics.median(window.waited for window in windows) > BUSY


def table(windows: Sequence[Window]) -> str:
    """The windows, for benchmarks/README.md."""
    rows = [
        f"| {name} | " + " | ".join(f"{getattr(w, member):.4g}" for w in windows) + " |" for member, name, *_ in FIGURES
    ]
    numbers = range(1, len(windows) + 1)
    head = "| window | " + " | ".join(map(str, numbers)) + " |\n|---" + "|---" * len(windows) + "|"
    return "\n".join([head, f"| calls | {' | '.join(str(w.calls) for w in windows)} |", *rows])


async def steady(folder: Path, minutes: float, scripted: int, real: int) -> list[str]:
    loads = [
        Load(folder / "scripted", ScriptedKernels(SCRIPT), scripted),
        Load(folder / "real", LocalKernels(), real),
    ]
    windows = []
    try:
        for load in loads:
            await load.start()
        for number in range(WINDOWS):
            windows.append(await measure(loads, 60 * minutes / WINDOWS))
            print(f"{number + 1} of {WINDOWS}: {windows[-1]}", file=sys.stderr, flush=True)
    finally:
        for load in loads:
            await load.stop()
    print(table(windows), flush=True)
    said = grown(windows)
    if busy(windows):
        print("\nOthers had the processors: times are not judged. Run it again on a quiet machine.")
        return [each for each in said if not each.endswith("ms")] or [UNTOLD]
    return said


async def long(folder: Path) -> list[str]:
    """Two notebooks, one of ten and one of very many cells, filled call by call: what a call costs in either."""
    load = Load(folder / "long", ScriptedKernels(SCRIPT), 2)
    costs: dict[str, list[float]] = {"0.ipynb": [], "1.ipynb": []}
    for name, cells in zip(costs, (10, CELLS), strict=True):
        await load.call("open_notebook", path=name, create=True)
        for _ in range(cells):
            await load.add(name)
    for _ in range(ROUNDS):
        for name, each in costs.items():
            cpu = time.process_time()
            added = await load.add(name)
            each.append(1000 * (time.process_time() - cpu))
            await load.call("delete_cell", notebook=name, cell=added)
    await load.stop()
    early, late = map(statistics.median, costs.values())
    said = f"cell {CELLS:,} against cell 10, processor time: {early:.1f} -> {late:.1f} ms, {late / early:.2f}"
    print(f"\n{said} (at most {DEARER})\n", flush=True)
    return [said] if late > DEARER * early else []


async def run(minutes: float, scripted: int, real: int) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        dearer = await long(Path(folder))
        calls = 60 * minutes / PERIOD * WARM_UP / WINDOWS  # of one notebook; half of them run code
        kept = max(int(calls / 4), 5)
        journal._KEPT = executions._KEPT = freshness._KEPT = sight._GONE = handles._GONE = kept
        notebook._WORN = int(calls)
        return dearer + await steady(Path(folder), minutes, scripted, real)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--scripted", type=int, default=64)
    parser.add_argument("--real", type=int, default=8)
    options = parser.parse_args()
    more = asyncio.run(run(options.minutes, options.scripted, options.real))
    if more == [UNTOLD]:
        print("\nNothing else has grown.")
        return 2
    print("\nGrown: " + "; ".join(more) if more else "\nNothing has grown.")
    return 1 if more else 0


if __name__ == "__main__":
    sys.exit(main())
