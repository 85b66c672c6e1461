"""Speed as a ratio to the floor, measured in turn in the same run.

python benchmarks/local.py [--quick]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager

from langchain_jupyter import JupyterToolkit

CODE = "1+1"
QUICK = "--quick" in sys.argv
ROUNDS = 20 if QUICK else 100
STARTS = 3 if QUICK else 7


class Floor:
    """A kernel and jupyter_client's own client, as bare as can be."""

    async def __aenter__(self) -> Floor:
        self._folder = tempfile.TemporaryDirectory(prefix="floor-")
        self.manager = AsyncKernelManager(transport="ipc", ip=f"{self._folder.name}/k")
        await self.manager.start_kernel()
        self.client: Any = self.manager.client()
        self.client.start_channels()
        await self.client.wait_for_ready(timeout=60)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.client.stop_channels()
        await self.manager.shutdown_kernel(now=True)
        self._folder.cleanup()

    async def run(self) -> None:
        """Execute, and wait for the reply and for idle."""
        msg_id = self.client.execute(CODE)
        while True:
            message = await self.client.get_iopub_msg()
            mine = message["parent_header"].get("msg_id") == msg_id
            if mine and message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        while (await self.client.get_shell_msg())["parent_header"].get("msg_id") != msg_id:
            pass


async def timed(call: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    await call()
    return 1000 * (time.perf_counter() - started)


def report(figure: str, ours: float, floor: float, promised: float) -> bool:
    """Print one row; whether the promise holds."""
    ratio = ours / floor
    print(f"{figure:<44} {ours:9.1f} {floor:9.1f} {ratio:7.2f}   at most {promised}")
    return ratio <= promised


async def calls(folder: Path) -> list[bool]:
    """One cell appended and run, async and sync, against the bare kernel; then late in a long notebook."""
    toolkit = JupyterToolkit(folder / "calls.ipynb")
    tool = next(tool for tool in toolkit.get_tools() if tool.name == "append_execute_code_cell")
    times: dict[str, list[float]] = {"ainvoke": [], "invoke": [], "floor": [], "early": [], "late": []}

    async def sync_call() -> None:
        tool.invoke({"source": CODE})

    async with Floor() as floor:
        for _ in range(5):
            await floor.run()
            await tool.ainvoke({"source": CODE})
        for _ in range(ROUNDS):
            times["floor"].append(await timed(floor.run))
            times["ainvoke"].append(await timed(lambda: tool.ainvoke({"source": CODE})))
            times["invoke"].append(await timed(sync_call))
    await toolkit.aclose()

    toolkits = {name: JupyterToolkit(folder / f"{name}.ipynb") for name in ("early", "late")}
    tools = {name: {t.name: t for t in kit.get_tools()} for name, kit in toolkits.items()}
    for name, cells in (("early", 10), ("late", 1_000)):
        for number in range(cells):
            await tools[name]["append_markdown_cell"].ainvoke({"source": f"cell {number}"})
        await tools[name]["append_execute_code_cell"].ainvoke({"source": CODE})
    await asyncio.sleep(2)  # the whole files are saved by then
    for _ in range(ROUNDS):
        for name, named in tools.items():
            times[name].append(await timed(lambda run=named["append_execute_code_cell"]: run.ainvoke({"source": CODE})))
    for kit in toolkits.values():
        await kit.aclose()

    median = {name: statistics.median(values) for name, values in times.items()}
    return [
        report("append and run 1+1, ainvoke / raw kernel", median["ainvoke"], median["floor"], 1.5),
        report("append and run 1+1, invoke / raw kernel", median["invoke"], median["floor"], 1.5),
        report("the same at cell 1,000 / at cell 10", median["late"], median["early"], 1.1),
    ]


async def starts(folder: Path) -> bool:
    """From nothing to the first result, against a bare kernel's."""
    ours, floors = [], []

    for number in range(STARTS):
        started = time.perf_counter()
        floor = Floor()
        await floor.__aenter__()
        await floor.run()
        floors.append(1000 * (time.perf_counter() - started))
        await floor.__aexit__()

        started = time.perf_counter()
        toolkit = JupyterToolkit(folder / f"start{number}.ipynb")
        tool = next(tool for tool in toolkit.get_tools() if tool.name == "append_execute_code_cell")
        await tool.ainvoke({"source": CODE})
        ours.append(1000 * (time.perf_counter() - started))
        await toolkit.aclose()
    return report(
        "cold start to the first result / bare kernel", statistics.median(ours), statistics.median(floors), 1.3
    )


async def main() -> int:
    """Measure everything; 1 if a promise is broken."""
    print(f"{'figure (medians, milliseconds)':<44} {'ours':>9} {'floor':>9} {'ratio':>7}   promised")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        kept = [await starts(Path(folder)), *await calls(Path(folder))]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
