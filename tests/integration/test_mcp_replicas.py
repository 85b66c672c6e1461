"""Several servers before one Jupyter server: any of them can answer any call."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import httpx
import nbformat

from langchain_jupyter.servers.lab import LabServer
from tests.serving import Served, served, text_of

SLOW = """import time
open('ran.txt', 'a').write('x')
print('begun', flush=True)
time.sleep({seconds})
print('finished')"""


@contextmanager
def replica(lab: LabServer, notebook: str, *options: str) -> Iterator[Served]:
    """A stateless server on a notebook of the lab, as the guide's variables and our Kubernetes manifests start it."""
    token = lab.settings.token.get_secret_value()
    server = {"ROOM_URL": lab.settings.url, "RUNTIME_URL": lab.settings.url, "JUPYTER_TOKEN": token}
    with served("", "--stateless", *options, ROOM_ID=notebook, **server) as process:
        yield process


@asynccontextmanager
async def balancer(*servers: Served) -> AsyncIterator[str]:
    """The address of a proxy that sends each connection to the next server."""
    turns = itertools.cycle(int(httpx.URL(server.url).port or 0) for server in servers)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", next(turns))
        await asyncio.gather(carry(reader, back), carry(there, writer))

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with proxy:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"


def a_notebook(lab: LabServer, name: str) -> str:
    (lab.root / name).mkdir()
    nbformat.write(nbformat.v4.new_notebook(), lab.root / name / "a.ipynb")
    return f"{name}/a.ipynb"


def call(server: Served, tool: str, *, key: str = "", **arguments: Any) -> str:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    with server.client() as http:
        answer = http.post("/mcp", json=message, headers={"Idempotency-Key": key} if key else {}).json()
    return text_of(answer["result"])


def reference(text: str) -> str:
    found = re.search(r"execution (e\d+)", text)
    assert found is not None, text
    return found[1]


async def test_calls_that_alternate_between_replicas_see_one_notebook_and_one_kernel(lab: LabServer) -> None:
    notebook = a_notebook(lab, "alternating")
    with replica(lab, notebook) as first, replica(lab, notebook) as second:
        async with balancer(first, second) as url:
            told = []
            for step in range(6):
                source = "total = 1" if step == 0 else "total += 1\ntotal"
                message = {"name": "append_execute_code_cell", "arguments": {"source": source}}
                request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": message}
                async with httpx.AsyncClient(base_url=url, headers=first.headers, timeout=60) as http:
                    told.append(text_of((await http.post("/mcp", json=request)).json()["result"]))
            shown = await asyncio.to_thread(call, second, "read_all_cells")
        counts = [sum("append_execute_code_cell" in line for line in each.log) for each in (first, second)]

    assert counts == [3, 3]
    assert "\n6\n" in told[-1]
    assert shown.count("total += 1") == 5
    assert [f"[{number}]" in text.partition("\n")[0] for number, text in enumerate(told, 1)] == [True] * 6


async def test_the_other_replica_tells_of_an_execution_and_does_not_run_it_again(lab: LabServer) -> None:
    notebook = a_notebook(lab, "elsewhere")
    source = SLOW.format(seconds=4)
    with replica(lab, notebook) as first, replica(lab, notebook) as second:
        left = call(first, "append_execute_code_cell", key="k1", source=source, timeout=1)
        again = call(second, "append_execute_code_cell", key="k1", source=source, timeout=0.1)
        ended = call(second, "wait_for_execution", execution=reference(left), timeout=30)

    assert reference(left) == reference(again)
    assert " ok " in ended.partition("\n")[0]
    assert "finished" in ended
    assert (lab.root / "elsewhere" / "ran.txt").read_text() == "x"


async def test_when_a_replica_is_killed_in_mid_cell_the_other_tells_what_is_known(lab: LabServer) -> None:
    notebook = a_notebook(lab, "killed")
    source = SLOW.format(seconds=6)
    with replica(lab, notebook) as first, replica(lab, notebook) as second:
        call(second, "get_notebook_info")
        left = call(first, "append_execute_code_cell", key="k1", source=source, timeout=1)
        first.process.kill()
        first.process.wait()
        running = call(second, "wait_for_execution", execution=reference(left), timeout=0.1)
        ended = call(second, "wait_for_execution", execution=reference(left), timeout=30)
        again = call(second, "append_execute_code_cell", key="k1", source=source)

    assert " running " in running.partition("\n")[0]
    assert "begun" in running
    assert " lost " in ended.partition("\n")[0]  # the reply went to the one that was killed
    assert "nothing was run again" in again
    assert "finished" in again
    assert (lab.root / "killed" / "ran.txt").read_text() == "x"


async def test_a_replica_that_is_stopped_leaves_its_cell_running_on_the_server(lab: LabServer) -> None:
    notebook = a_notebook(lab, "stopped")
    with replica(lab, notebook, "--grace", "7") as first:
        left = call(first, "append_execute_code_cell", source=SLOW.format(seconds=8) + "\nkept = 'kept'", timeout=1)
        assert first.stop() == 0
    with replica(lab, notebook) as second:
        ended = call(second, "wait_for_execution", execution=reference(left), timeout=30)
        kept = call(second, "run_code", code="kept")

    assert " ok " in ended.partition("\n")[0]
    assert "finished" in ended
    assert "'kept'" in kept
