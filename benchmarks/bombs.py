"""Cells that put out too much: our memory, the notebook and what a model sees stay bounded. Exit code 1 if not.

python benchmarks/bombs.py [--quick] [--place file|contents|room|limited] [--bomb NAME]

Each bomb goes off in a notebook of its own, in a process of its own, at each place: a file with a kernel of this
machine, a Jupyter server without rooms, and a live room of a JupyterLab. The servers' own limit on what is put out is
lifted, except at the place "limited", a server without rooms that is asked for by name. After it another cell must run,
and of those that never end the time is printed that the interrupt took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.outputs import PER_RUN
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.settings import OutputLimits

CAP = 500
"""MB that a bomb may take of our memory, beyond what the process had."""
NOTEBOOK = 4 * PER_RUN + 100_000
"""Bytes of the file: a character takes four at most, and what is not output is little."""
MODEL = OutputLimits().per_call
PATIENCE = 400.0
PLACES = ("file", "contents", "room")
LIMITED = "limited"
_REFERENCE = re.compile(r'wait_for_execution\("(e\d+)"')


@dataclass(frozen=True, slots=True)
class Bomb:
    """One cell.

    Attributes:
        code: What it runs.
        sent: Bytes that it puts out, about; 0 where it never ends.
        seconds: After which it is interrupted; 0 if it ends by itself.
    """

    code: str
    sent: int = 0
    seconds: int = 0


_SHOW = "from IPython.display import display, clear_output, HTML\n"
BOMBS = {
    "print, endless": Bomb("import itertools\nfor n in itertools.count(): print('line', n)", seconds=15),
    "1 MB/s, endless": Bomb(
        "import time\nwhile True:\n    for n in range(20): print('y' * 50_000)\n    time.sleep(1)", seconds=30
    ),
    "0.8 MB/s": Bomb("import time\nfor n in range(200): print('y' * 80_000); time.sleep(0.1)", 16_000_000),
    "figures, endless": Bomb(f"{_SHOW}while True: display({{'image/png': 'A' * 20_000}}, raw=True)", seconds=15),
    "a thread, endless": Bomb(
        "import threading, itertools, time\n"
        "def work():\n    for n in itertools.count(): print('late', n); time.sleep(0.0001)\n"
        "threading.Thread(target=work, daemon=True).start(); time.sleep(5)"
    ),
    "1 GB in lines": Bomb("for n in range(10_000): print('y' * 99_999)", 1_000_000_000),
    "1 GB at once": Bomb("print('y' * 1_000_000_000)", 1_000_000_000),
    "a line of 200 MB": Bomb("print('y' * 200_000_000)", 200_000_000),
    "a line of 40 MB": Bomb("print('y' * 40_000_000)", 40_000_000),
    "40 MB beyond the BMP": Bomb("print('\\U0001F600' * 10_000_000)", 40_000_000),
    "100,000 updates": Bomb(
        f"{_SHOW}h = display('h', display_id=True)\nfor n in range(100_000): h.update(n)", 60_000_000
    ),
    "100,000 clears": Bomb(f"{_SHOW}for n in range(100_000):\n    clear_output(wait=True); display(n)", 80_000_000),
    "100,000 returns": Bomb("for n in range(100_000): print(f'\\r{n:%}', end='', flush=n % 10 == 0)", 6_000_000),
    "10,000 figures": Bomb(
        f"{_SHOW}for n in range(10_000): display({{'image/png': 'A' * 20_000}}, raw=True)", 200_000_000
    ),
    "10,000 widgets": Bomb(
        "from comm import create_comm\n"
        "for n in range(10_000):\n"
        "    create_comm(target_name='jupyter.widget', data={'state': {'_model_name': 'IntSliderModel', 'value': n}})",
        6_000_000,
    ),
    "RecursionError": Bomb(
        "class A:\n    def __repr__(self): return 'y' * 1_000_000\ndef f(a, n=0): return f(a, n + 1)\nf(A())",
        100_000,
    ),
    "an error of 20 MB": Bomb("raise ValueError('y' * 20_000_000)", 80_000_000),
    "an error of 50 MB": Bomb("raise ValueError('y' * 50_000_000)", 200_000_000),
    "HTML of 38 MB": Bomb(f"{_SHOW}display(HTML('<tr><td>y</td></tr>' * 2_000_000))", 38_000_000),
    "JSON of 37 MB": Bomb(
        f"{_SHOW}display({{'application/json': {{str(n): [n] * 8 for n in range(500_000)}}}}, raw=True)", 37_000_000
    ),
    # As large as is kept whole.
    "9 MB in lines": Bomb("for n in range(300_000): print('line', n, 'of this', 'y' * 8)", 9_000_000),
    "HTML of 9 MB": Bomb(f"{_SHOW}display(HTML(f\"<table>{{'<tr><td>y</td></tr>' * 470_000}}</table>\"))", 9_000_000),
    "Markdown of 9 MB": Bomb(
        f"{_SHOW}display({{'text/markdown': '* _y_ and **z**\\n' * 560_000}}, raw=True)", 9_000_000
    ),
    "JSON of 9 MB": Bomb(
        f"{_SHOW}display({{'application/json': {{str(n): [n] * 8 for n in range(120_000)}}}}, raw=True)", 9_000_000
    ),
    "2,000 outputs": Bomb(
        "import sys\nfor n in range(900):\n"
        "    print('y' * 4_000, flush=True); print('z' * 4_000, file=sys.stderr, flush=True)",
        7_200_000,
    ),
    "stderr, 100 MB": Bomb("import sys\nfor n in range(1_000): print('y' * 99_999, file=sys.stderr)", 100_000_000),
}
QUICK = ("print, endless", "a line of 200 MB", "a line of 40 MB", "10,000 figures", "an error of 20 MB")


class Notebook:
    """One notebook, used through its tools.

    Attributes:
        toolkit: That has it open.
    """

    def __init__(self, toolkit: JupyterToolkit) -> None:
        self.toolkit = toolkit
        self._tools = {tool.name: tool for tool in toolkit.get_tools()}

    async def call(self, tool: str, **arguments: Any) -> str:
        content = await self._tools[tool].ainvoke(arguments)
        if isinstance(content, str):  # an error
            return content
        return "".join(str(block.get("text", "")) for block in content)

    async def run(self, bomb: Bomb) -> tuple[str, float]:
        """What the model is told at the end, and how many seconds an interrupt took, if there was one."""
        started = time.monotonic()
        said = await self.call("append_execute_code_cell", source=bomb.code, timeout=5)
        while (running := _REFERENCE.search(said)) and time.monotonic() - started < (bomb.seconds or PATIENCE):
            said = await self.call("wait_for_execution", execution=running[1], timeout=5)
        if not running:
            return said, 0.0
        asked = time.monotonic()
        said = await self.call("interrupt_kernel")
        return said, time.monotonic() - asked


def memory(what: str) -> float:
    """Of this process, in MB: `VmRSS` now, or `VmHWM` at most since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1000
    return 0.0


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


async def explode(bomb: Bomb, **where: Any) -> dict[str, Any]:
    """What came of it."""
    async with JupyterToolkit(**where) as toolkit:
        notebook = Notebook(toolkit)
        await notebook.call("append_execute_code_cell", source="1")
        before = memory("VmRSS")
        forget_peak()
        started = time.monotonic()
        said, interrupted = await notebook.run(bomb)
        took = time.monotonic() - started
        asked = time.monotonic()
        after = await notebook.call("append_execute_code_cell", source="6 * 7")
        return {
            "peak": memory("VmHWM") - before,
            "took": took,
            "interrupted": interrupted,
            "told": len(said),
            "said": said.split("\n", 1)[0],
            "next": time.monotonic() - asked,
            "works": "42" in after and " ok " in after,
            "after": after,
        }


def size(path: Path) -> int:
    """Bytes of the notebook, when its server has written the last of it."""
    until = time.monotonic() + 60
    while not path.is_file() or b"6 * 7" not in (data := path.read_bytes()):
        assert time.monotonic() < until, f"{path} was not written"
        time.sleep(0.2)
    return len(data)


@asynccontextmanager
async def bare_server(root: Path, *, limited: bool = False) -> AsyncIterator[tuple[str, str]]:
    """A Jupyter server without rooms, with its limit on output or without: its address and token."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    token = secrets.token_urlsafe(16)
    options = (
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--ServerApp.root_dir={root}", "--ServerApp.open_browser=False", "--ServerApp.allow_root=True"),
        "--ServerApp.jpserver_extensions={'jupyter_server_ydoc': False}",
        f"--ZMQChannelsWebsocketConnection.limit_rate={limited}",
    )
    process = subprocess.Popen(  # noqa: ASYNC220, a few milliseconds
        [sys.executable, "-m", "jupyter_server", *options],
        env={**os.environ, "JUPYTER_TOKEN": token},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(60), httpx.AsyncClient() as client:
            while True:
                try:
                    await client.get(f"{url}/api")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
        yield url, token
    finally:
        process.terminate()
        process.wait(30)


@asynccontextmanager
async def place(name: str, root: Path) -> AsyncIterator[dict[str, Any]]:
    """What a toolkit is given besides the notebook's path."""
    if name == "file":
        yield {}
    elif name in ("contents", LIMITED):
        async with bare_server(root, limited=name == LIMITED) as (url, token):
            yield {"server_url": url, "token": token}
    else:
        lab = LabServer(root)
        await lab.start()
        try:
            yield {"server_url": lab.settings.url, "token": lab.settings.token.get_secret_value()}
        finally:
            await lab.close()


async def measure(name: str, places: list[str]) -> list[str]:
    """Let one bomb go off at each place; what was over its bound."""
    wrong = []
    for where in places:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            root = Path(folder)
            async with place(where, root) as options:
                path = root / "bomb.ipynb"
                given = {**options, "path": str(path) if where == "file" else path.name}
                found = await in_process(name, given)
                kept = await asyncio.to_thread(size, path) if found["works"] else path.stat().st_size
        bomb = BOMBS[name]
        faults = [
            *([f"{found['peak']:.0f} MB of memory"] if found["peak"] > CAP else []),
            *([f"{kept:,} bytes of notebook"] if kept > NOTEBOOK else []),
            *([f"{found['told']:,} characters told"] if found["told"] > MODEL else []),
            *([f"the next call does not work: {found['after']}"] if not found["works"] else []),
        ]
        wrong += [f"{name}, {where}: {fault}" for fault in faults]
        stopped = f"{found['interrupted']:.1f}" if bomb.seconds else ""
        sent = f"{bomb.sent / 1e6:,.0f}" if bomb.sent else "endless"
        print(
            f"{name:<22} {where:<9} {sent:>8} {found['took']:7.1f} {found['peak']:7.0f} {kept / 1e6:8.1f} "
            f"{found['told']:7,} {stopped:>6} {found['next']:6.1f}  {found['said'][:140]}",
            flush=True,
        )
    return wrong


async def in_process(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """What came of a bomb, in a process of its own."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--one", json.dumps([name, given]), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    if child.returncode:
        raise SystemExit(f"{name}: the process ended with {child.returncode}")
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--place", choices=(*PLACES, LIMITED), action="append")
    parser.add_argument("--bomb", choices=list(BOMBS), action="append")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, given = json.loads(options.one)
        print(json.dumps(asyncio.run(explode(BOMBS[name], **given))))
        return 0
    columns = ("place", "sent MB", "took s", "memory", "file MB", "told", "stop s", "next s")
    print("{:<22} {:<9} {:>8} {:>7} {:>7} {:>8} {:>7} {:>6} {:>6}  what the model reads first".format("bomb", *columns))
    names = options.bomb or (QUICK if options.quick else BOMBS)
    wrong = [fault for name in names for fault in asyncio.run(measure(name, options.place or list(PLACES)))]
    print("Over: " + "; ".join(wrong) if wrong else f"All within {CAP} MB.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
