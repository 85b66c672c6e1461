"""Speed as a ratio to the floor, measured in turn with it, round by round.

python benchmarks/local.py [--quick]

Each contender is a process of its own that does one call when it is told to, so that none works while another is timed.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager

CODE = "1+1"
QUICK = "--quick" in sys.argv
ROUNDS = 30 if QUICK else 200
STARTS = 3 if QUICK else 11
WARM_UP = 10


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


class Ours:
    """A toolkit, and the call that an agent's framework makes: a ToolCall with an id."""

    def __init__(self, notebook: str) -> None:
        from langchain_jupyter import JupyterToolkit

        self._toolkit = JupyterToolkit(notebook)
        self._tools = {tool.name: tool for tool in self._toolkit.get_tools()}

    async def __aenter__(self) -> Ours:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._toolkit.aclose()

    async def run(self) -> None:
        """`ainvoke`."""
        self._check(await self._tools["append_execute_code_cell"].ainvoke(self._call()))

    async def run_sync(self) -> None:
        """`invoke`, from a thread with a running loop."""
        self._check(self._tools["append_execute_code_cell"].invoke(self._call()))

    async def tidy(self) -> None:
        """Remove what was added, so that the notebook stays as long as it is."""
        call = {"name": "delete_cell", "args": {"cell": self._added}, "id": uuid.uuid4().hex, "type": "tool_call"}
        await self._tools["delete_cell"].ainvoke(call)

    def _call(self) -> dict[str, Any]:
        name = "append_execute_code_cell"
        return {"name": name, "args": {"source": CODE}, "id": f"call_{uuid.uuid4().hex}", "type": "tool_call"}

    def _check(self, message: Any) -> None:
        assert message.artifact["status"] == "ok", message.text
        self._added = message.artifact["cell"]


async def timed(call: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    await call()
    return 1000 * (time.perf_counter() - started)


# -- a contender, in a process of its own ------------------------------------------------------------------------------


async def contend(kind: str, notebook: str) -> None:
    """Do a call for each line that comes, and answer how long it took."""
    if kind == "start":
        import langchain_jupyter  # noqa: F401, as jupyter_client is for the floor

        print(await timed(lambda: first_result(notebook)), flush=True)
        return
    async with Floor() if kind == "floor" else Ours(notebook) as contender:
        call = contender.run_sync if kind == "invoke" else contender.run  # type: ignore[union-attr]
        while await asyncio.to_thread(sys.stdin.readline):
            print(await timed(call), flush=True)
            if isinstance(contender, Ours):
                await contender.tidy()


async def first_result(notebook: str) -> None:
    """From nothing to the first result; what is left running is not timed, and ends with the process."""
    contender = Ours(notebook) if notebook else await Floor().__aenter__()
    await contender.run()


class Contender:
    """The other end of such a process."""

    def __init__(self, kind: str, notebook: Path | str = "") -> None:
        self._command = [sys.executable, __file__, "--contend", kind, str(notebook)]

    async def __aenter__(self) -> Contender:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def __call__(self) -> float:
        """Milliseconds of one call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        async with asyncio.timeout(120):
            return float(await self._process.stdout.readline())


# -- what is measured --------------------------------------------------------------------------------------------------


def report(figure: str, ours: Sequence[float], floor: Sequence[float], promised: float) -> bool:
    """Print one row, of ratios round by round; whether the promise holds."""
    ratios = [one / other for one, other in zip(ours, floor, strict=True)]
    low, ratio, high = statistics.quantiles(ratios, n=4)
    print(
        f"{figure:<46} {statistics.median(ours):8.1f} {statistics.median(floor):8.1f} "
        f"{ratio:6.2f} ({low:.2f}-{high:.2f})   at most {promised}",
        flush=True,
    )
    return ratio <= promised


def a_notebook(path: Path, cells: int) -> Path:
    """A file with so many cells, a tenth of them code with output."""
    import nbformat.v4 as v4

    def cell(number: int) -> Any:
        if number % 10:
            return v4.new_markdown_cell(f"## Step {number}\n\nSome words about it.")
        output: Any = v4.new_output("stream", name="stdout", text=f"row {number}\n" * 5)
        return v4.new_code_cell(f"print({number})", execution_count=number + 1, outputs=[output])

    import nbformat

    path.write_text(nbformat.writes(v4.new_notebook(cells=[cell(n) for n in range(cells)])), encoding="utf-8")
    return path


async def calls(folder: Path) -> list[bool]:
    """One cell appended and run, async and sync, against the bare kernel; then late in a long notebook."""
    early, late = a_notebook(folder / "early.ipynb", 9), a_notebook(folder / "late.ipynb", 999)
    async with (
        Contender("floor") as floor,
        Contender("ainvoke", folder / "a.ipynb") as ainvoke,
        Contender("invoke", folder / "b.ipynb") as invoke,
        Contender("ainvoke", early) as at_10,
        Contender("ainvoke", late) as at_1000,
    ):
        contenders = {"floor": floor, "ainvoke": ainvoke, "invoke": invoke, "10": at_10, "1000": at_1000}
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(WARM_UP + ROUNDS):
            for name, contender in contenders.items():
                milliseconds = await contender()
                if number >= WARM_UP:
                    times[name].append(milliseconds)
    return [
        report("append and run 1+1, ainvoke / bare kernel", times["ainvoke"], times["floor"], 1.5),
        report("append and run 1+1, invoke / bare kernel", times["invoke"], times["floor"], 1.5),
        report("the same, ainvoke, as cell 1,000 / as cell 10", times["1000"], times["10"], 1.1),
    ]


async def starts(folder: Path) -> bool:
    """From nothing to the first result in a new process, our import not counted, against a bare kernel's."""
    ours, floors = [], []
    for number in range(STARTS):
        for found, notebook in ((floors, Path()), (ours, folder / f"start{number}.ipynb")):
            async with Contender("start", notebook if notebook.name else "") as start:
                found.append(await start())
    return report("cold start to the first result / bare kernel", ours, floors, 1.3)


async def main() -> int:
    """Measure everything; 1 if a promise is broken."""
    print(f"{'medians, milliseconds; ratio and its quartiles':<46} {'ours':>8} {'floor':>8}  ratio")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        kept = [await starts(Path(folder)), *await calls(Path(folder))]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    if "--contend" in sys.argv:
        asyncio.run(contend(*sys.argv[2:4]))
    else:
        sys.exit(asyncio.run(main()))
