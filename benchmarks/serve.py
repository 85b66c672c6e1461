"""A cell run through the MCP server, against the bare kernel and an empty MCP call, measured in turn.

python benchmarks/serve.py [--quick]
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

CODE = "1+1"
QUICK = "--quick" in sys.argv
ROUNDS = 30 if QUICK else 200
PROMISED = 1.3
TOKEN = "benchmark-token"

# The SDK as its own quick start has it, with a tool that does nothing.
EMPTY = """
import socket, sys, uvicorn
from mcp.server.fastmcp import FastMCP
server = FastMCP("empty", log_level="ERROR")
@server.tool()
def nothing() -> str:
    return "nothing"
listening = socket.create_server(("127.0.0.1", 0))
print(f"Listening on http://127.0.0.1:{listening.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
config = uvicorn.Config(server.streamable_http_app(), log_level="error", access_log=False)
uvicorn.Server(config).run(sockets=[listening])
"""


@asynccontextmanager
async def server(*command: str) -> AsyncIterator[str]:
    """A process that says where it listens; its address."""
    environment = {**os.environ, "MCP_TOKEN": TOKEN}
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, env=environment)
    assert process.stderr is not None
    try:
        async for line in process.stderr:
            if found := re.search(rb"Listening on (\S+)", line):
                rest = asyncio.create_task(process.stderr.read())
                yield found[1].decode()
                process.terminate()
                await rest
                break
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def session(url: str) -> AsyncIterator[ClientSession]:
    """A session of the SDK's client."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with streamablehttp_client(url, headers=headers) as (read, write, _), ClientSession(read, write) as opened:
        await opened.initialize()
        yield opened


@asynccontextmanager
async def kernel() -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A kernel and jupyter_client's own client, as bare as can be; runs the code, and waits for reply and idle."""
    with tempfile.TemporaryDirectory(prefix="floor-") as folder:
        manager = AsyncKernelManager(transport="ipc", ip=f"{folder}/k")
        await manager.start_kernel()
        client: Any = manager.client()
        client.start_channels()
        await client.wait_for_ready(timeout=60)

        async def run() -> None:
            msg_id = client.execute(CODE)
            while True:
                message = await client.get_iopub_msg()
                mine = message["parent_header"].get("msg_id") == msg_id
                if mine and message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                    break
            while (await client.get_shell_msg())["parent_header"].get("msg_id") != msg_id:
                pass

        yield run
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


async def timed(call: Callable[[], Awaitable[Any]]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    await call()
    return 1000 * (time.perf_counter() - started)


async def main() -> int:
    """Measure; 1 if the promise is broken."""
    times: dict[str, list[float]] = {"ours": [], "kernel": [], "empty": [], "ratio": []}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        ours = [sys.executable, "-m", "langchain_jupyter.cli", "serve", "--transport", "http", "--port", "0"]
        ours += ["--rate-limit", "0", "--notebook", str(Path(folder) / "a.ipynb")]
        async with AsyncExitStack() as stack:
            run = await stack.enter_async_context(kernel())
            empty = await stack.enter_async_context(
                session(await stack.enter_async_context(server(sys.executable, "-c", EMPTY)))
            )
            served = await stack.enter_async_context(session(await stack.enter_async_context(server(*ours))))
            calls: dict[str, Callable[[], Awaitable[Any]]] = {
                "ours": lambda: served.call_tool("append_execute_code_cell", {"source": CODE}),
                "kernel": run,
                "empty": lambda: empty.call_tool("nothing", {}),
            }
            for number in range(ROUNDS + 5):
                took = {name: await timed(call) for name, call in calls.items()}
                if number >= 5:
                    took["ratio"] = took["ours"] / (took["kernel"] + took["empty"])
                    for name, value in took.items():
                        times[name].append(value)
    median = {name: statistics.median(values) for name, values in times.items()}
    low, _, high = statistics.quantiles(times["ratio"], n=4)
    print(f"append and run 1+1 over HTTP: {median['ours']:.1f} ms")
    print(f"bare kernel {median['kernel']:.1f} ms + empty MCP call {median['empty']:.1f} ms")
    print(f"ratio {median['ratio']:.2f} ({low:.2f}-{high:.2f}), promised: at most {PROMISED}")
    return 0 if median["ratio"] <= PROMISED else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
