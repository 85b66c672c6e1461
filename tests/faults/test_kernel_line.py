"""What happens to runs when the line to a server's kernel, the kernel, or the server fails. Nothing runs twice."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.errors import KernelDied, KernelUnavailable, ServerUnreachable
from langchain_jupyter.kernels.remote import RemoteKernel
from langchain_jupyter.models import Execution
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer
from langchain_jupyter.sessions.session import NotebookSession
from tests.proxy import Proxy
from tests.servers import jupyter_server
from tests.serving import waiting

COUNT = """\
import time
with open("count", "a") as file: file.write("x")
for n in range({steps}):
    print(n, flush=True)
    time.sleep({pause})
"""


@dataclass
class Bench:
    """A session on a kernel of a server, with a proxy between.

    Attributes:
        folder: Where its code runs.
        direct: The server, past the proxy.
    """

    session: NotebookSession
    kernel: RemoteKernel
    proxy: Proxy
    direct: JupyterServer
    folder: Path

    @property
    def path(self) -> str:
        return f"{self.folder.name}/analysis.ipynb"

    @property
    def ran(self) -> int:
        """How often the code that counts has run."""
        return len((self.folder / "count").read_text())

    async def run(self, code: str, during: Callable[[], Awaitable[None] | None] | None = None) -> Execution:
        """Run a cell; after its first output comes what happens during it."""
        printed = asyncio.Event()
        running = asyncio.create_task(
            self.session.insert_and_run(code, caller="test", timeout=90, listener=lambda *_: printed.set())
        )
        if during is not None:
            await asyncio.wait({running, asyncio.create_task(printed.wait())}, return_when=asyncio.FIRST_COMPLETED)
            happening = during()
            if happening is not None:
                await happening
        return await running

    async def works(self) -> None:
        """The next call works."""
        execution = await self.run("6 * 7")
        assert execution.status == "ok", execution
        assert execution.outputs[0]["data"]["text/plain"] == "42"


@asynccontextmanager
async def bench_of(settings: object, root: Path) -> AsyncIterator[Bench]:
    folder = Path(tempfile.mkdtemp(dir=root))
    async with Proxy(settings) as proxy:  # type: ignore[arg-type]
        server, direct = JupyterServer(proxy.settings), JupyterServer(settings)  # type: ignore[arg-type]
        kernel = RemoteKernel(server, path=f"{folder.name}/analysis.ipynb")
        session = NotebookSession(MemoryStore(), kernel)
        await session.open()
        yield Bench(session, kernel, proxy, direct, folder)
        await session.close()
        await server.close()
        await direct.close()


@pytest.fixture
async def bench(lab: LabServer) -> AsyncIterator[Bench]:
    async with bench_of(lab.settings, lab.root) as bench:
        yield bench


@pytest.fixture
async def somebody(bench: Bench) -> AsyncIterator[RemoteKernel]:
    """Another client on the same kernel, as a person's JupyterLab is."""
    await bench.works()
    kernel = RemoteKernel(bench.direct, path=bench.path)
    await kernel.start()
    assert kernel.kernel_id == bench.kernel.kernel_id
    yield kernel
    await kernel.close()


def text(execution: Execution) -> str:
    return "".join(output["text"] for output in execution.outputs if output["output_type"] == "stream")


def cut_for(proxy: Proxy, seconds: float) -> Callable[[], None]:
    def cut() -> None:
        proxy.refuse()
        asyncio.get_running_loop().call_later(seconds, proxy.restore)

    return cut


# -- the line breaks --------------------------------------------------------------------------------------------------


async def test_a_run_that_ends_while_the_line_is_down_is_received_afterwards(bench: Bench) -> None:
    execution = await bench.run(COUNT.format(steps=5, pause=0.1) + "1 / 0", cut_for(bench.proxy, 2))

    assert execution.status == "error"
    assert text(execution) == "0\n1\n2\n3\n4\n"
    assert execution.error is not None
    assert execution.error.name == "ZeroDivisionError"
    assert bench.ran == 1
    await bench.works()


async def test_a_gap_is_said_though_the_other_client_has_left_again(bench: Bench) -> None:
    async def cut_while_somebody_looks_in() -> None:
        bench.proxy.refuse()
        kernel = RemoteKernel(bench.direct, path=bench.path)
        await kernel.start()
        await kernel.close()
        bench.proxy.restore()

    execution = await bench.run(COUNT.format(steps=40, pause=0.1), cut_while_somebody_looks_in)

    assert execution.status == "ok"
    assert text(execution) != "".join(f"{n}\n" for n in range(40))
    assert execution.truncated
    assert bench.ran == 1


async def test_a_line_that_does_not_come_back_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_jupyter.kernels.line._PATIENCE", 2.0)
    started = time.monotonic()

    execution = await bench.run(COUNT.format(steps=100, pause=0.1), bench.proxy.refuse)

    assert execution.status == "lost"
    assert "could not be taken up again" in execution.note
    assert bench.kernel.info.state == "disconnected"
    assert time.monotonic() - started < 60  # a busy machine has its own time; the usual patience is longer
    with pytest.raises(KernelUnavailable, match="answer"):
        await bench.run("6 * 7")
    bench.proxy.restore()
    await bench.works()  # it waits behind the first run, which went on
    assert bench.ran == 1


async def test_a_line_that_breaks_while_nothing_runs_is_taken_up(bench: Bench) -> None:
    await bench.run("x = 5")

    bench.proxy.cut()
    execution = await bench.run("x")

    assert execution.outputs[0]["data"]["text/plain"] == "5"


# -- the kernel ends --------------------------------------------------------------------------------------------------


async def test_a_crash_is_told_and_the_next_cell_has_a_new_kernel(bench: Bench) -> None:
    execution = await bench.run("import os; os._exit(1)")

    assert execution.status == "died"
    assert "out of memory?" in execution.note
    assert "All variables are gone" in execution.note
    await bench.works()


async def test_a_restart_by_a_person_is_told_from_a_crash(bench: Bench) -> None:
    async def restart() -> None:
        await bench.direct.request("POST", f"/api/kernels/{bench.kernel.kernel_id}/restart", json={})

    await bench.run("x = 5")
    kernel_id = bench.kernel.kernel_id
    execution = await bench.run(COUNT.format(steps=600, pause=0.1), restart)

    assert execution.status == "died"
    assert execution.note.startswith("somebody restarted the kernel.")
    assert "restarted since your last call" in bench.session.news("test")
    await bench.works()
    assert bench.kernel.kernel_id == kernel_id  # a person's JupyterLab shows the same one
    assert (await bench.run("x")).status == "error"


async def test_a_kernel_that_a_person_shut_down_is_started_again_with_the_next_run_only(bench: Bench) -> None:
    await bench.run("x = 5")
    bench.session.sight("test")
    [session] = [s for s in await bench.direct.get("/api/sessions") if s["path"] == bench.path]

    await bench.direct.request("DELETE", f"/api/sessions/{session['id']}")
    async with asyncio.timeout(30):
        while bench.kernel.info.state != "dead":
            await asyncio.sleep(0.02)
    assert not [s for s in await bench.direct.get("/api/sessions") if s["path"] == bench.path]
    await bench.works()

    assert "restarted since your last call" in bench.session.news("test")
    assert [s for s in await bench.direct.get("/api/sessions") if s["path"] == bench.path]


# -- whose kernel it is -----------------------------------------------------------------------------------------------


async def test_a_kernel_that_was_there_is_shared_and_left_alone(bench: Bench, somebody: RemoteKernel) -> None:
    await bench.run("x = 5")
    found = [m async for m in somebody.execute("x")]
    kernel_id = somebody.kernel_id

    await bench.session.close()  # ours, but somebody is on it
    again = [m async for m in somebody.execute("x")]
    await somebody.close()

    assert [m.content["data"] for m in found if m.msg_type == "execute_result"]
    assert [m.content["data"] for m in again if m.msg_type == "execute_result"]
    assert await bench.direct.get(f"/api/kernels/{kernel_id}")
    await bench.direct.request("DELETE", f"/api/kernels/{kernel_id}")


async def test_all_who_open_a_notebook_at_the_same_moment_get_one_kernel(lab: LabServer) -> None:
    servers = [JupyterServer(lab.settings) for _ in range(4)]
    before = {each["id"] for each in await servers[0].get("/api/kernels")}
    kernels = [RemoteKernel(server, path="at-once.ipynb") for server in servers]

    await asyncio.gather(*(kernel.start() for kernel in kernels))
    _ = [m async for m in kernels[0].execute("x = 5")]
    found = [m async for m in kernels[-1].execute("x") if m.msg_type == "execute_result"]
    [session] = [s for s in await servers[0].get("/api/sessions") if s["path"] == "at-once.ipynb"]
    running = {each["id"] for each in await servers[0].get("/api/kernels")}
    for kernel in sorted(kernels, key=lambda each: not each.info.found):  # last the one that has started it
        await kernel.close()
    left = {each["id"] for each in await servers[0].get("/api/kernels")}
    await asyncio.gather(*(server.close() for server in servers))

    assert running - before == {session["kernel"]["id"]}
    assert left <= before
    assert [m.content["data"]["text/plain"] for m in found] == ["5"]


async def test_a_new_kernel_runs_beside_one_that_somebody_uses(bench: Bench, somebody: RemoteKernel) -> None:
    await bench.run("x = 5")
    fresh = RemoteKernel(bench.direct, "new", path=bench.path)
    await fresh.start()
    found = [m async for m in fresh.execute("'x' in globals()")]
    await fresh.close()

    assert [m.content["data"]["text/plain"] for m in found if m.msg_type == "execute_result"] == ["False"]
    assert fresh.kernel_id != somebody.kernel_id
    assert (await bench.run("x")).status == "ok"


async def test_a_new_kernel_takes_the_place_of_one_that_nobody_uses(bench: Bench) -> None:
    model = {"path": "alone.ipynb", "name": "alone.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
    before = await bench.direct.request("POST", "/api/sessions", json=model)

    fresh = RemoteKernel(bench.direct, "new", path="alone.ipynb")
    await fresh.start()
    [session] = [s for s in await bench.direct.get("/api/sessions") if s["path"] == "alone.ipynb"]
    started = fresh.kernel_id
    await fresh.close()

    assert session["kernel"]["id"] == started
    assert started != before["kernel"]["id"]


async def test_a_running_kernel_is_taken_by_its_id(bench: Bench) -> None:
    await bench.run("x = 5")
    same = RemoteKernel(bench.direct, bench.kernel.kernel_id)
    await same.start()
    found = [m async for m in same.execute("x")]
    await same.close()

    assert [m.content["data"]["text/plain"] for m in found if m.msg_type == "execute_result"] == ["5"]
    await bench.works()


async def test_a_kernel_that_is_found_busy_is_looked_into_meanwhile(bench: Bench, somebody: RemoteKernel) -> None:
    found = RemoteKernel(bench.direct, path=bench.path)
    async with asyncio.timeout(90):
        running = somebody.execute("x = 41\nprint('in', flush=True)\nimport time; time.sleep(600)")
        async for message in running:
            if message.msg_type == "stream":
                break
        await found.start()
        state, value = found.info.state, await found.evaluate("x + 1", beside=True)
        await somebody.interrupt()
        _ = [message async for message in running]
    await found.close()

    assert state == "busy"
    assert value is not None
    assert value["data"]["text/plain"] == "42"


async def test_the_state_follows_what_other_people_run(bench: Bench, somebody: RemoteKernel, tmp_path: Path) -> None:
    running = somebody.execute(waiting(tmp_path / "gate"))
    async for message in running:
        if message.msg_type == "stream":
            break

    async with asyncio.timeout(60):
        while bench.kernel.info.state != "busy":
            await asyncio.sleep(0.01)
        (tmp_path / "gate").touch()
        while bench.kernel.info.state != "idle":
            await asyncio.sleep(0.01)
    await running.aclose()


# -- what a server holds back -----------------------------------------------------------------------------------------


async def test_output_that_the_server_left_out_is_said_with_how_to_get_it(tmp_path: Path) -> None:
    limit = "--ZMQChannelsWebsocketConnection.iopub_data_rate_limit=10000"
    async with jupyter_server(tmp_path, limit) as server, bench_of(server.settings, tmp_path) as bench:
        flood = await bench.run("for n in range(100): print('x' * 10_000, flush=True)")
        quote = await bench.run("import sys; print('IOPub data rate exceeded.', file=sys.stderr)")

        assert flood.status == "ok"
        assert flood.truncated
        assert "iopub_data_rate_limit" in flood.note
        assert quote.status == "ok"
        assert not quote.truncated


async def test_a_server_that_speaks_plain_json_is_understood(tmp_path: Path) -> None:
    plain = "--ZMQChannelsWebsocketConnection.kernel_ws_protocol="
    async with jupyter_server(tmp_path, plain) as server, bench_of(server.settings, tmp_path) as bench:
        execution = await bench.run("print('Grüße'); 1 / 0")

        assert text(execution) == "Grüße\n"
        assert execution.status == "error"
        await bench.works()


async def test_a_kernel_that_is_just_being_started_ends_with_the_notebook(lab: LabServer) -> None:
    direct = JupyterServer(lab.settings)
    before = {each["id"] for each in await direct.get("/api/kernels")}
    async with Proxy(lab.settings) as proxy:
        server = JupyterServer(proxy.settings)
        kernel = RemoteKernel(server, path="given-up.ipynb")
        proxy.delay = 0.2  # the start takes some seconds
        starting = asyncio.create_task(kernel.start())
        async with asyncio.timeout(60):
            while {each["id"] for each in await direct.get("/api/kernels")} == before:
                await asyncio.sleep(0.02)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)

        await kernel.close()
        await server.close()
    left = {each["id"] for each in await direct.get("/api/kernels")}
    await direct.close()

    assert left <= before


# -- without a session of ours ----------------------------------------------------------------------------------------


async def test_a_kernel_without_a_server_says_so(tmp_path: Path) -> None:
    async with jupyter_server(tmp_path) as server:
        settings = server.settings
    kernel = RemoteKernel(JupyterServer(settings), path="a.ipynb")

    with pytest.raises(ServerUnreachable):
        await kernel.start()
    with pytest.raises(KernelDied):
        _ = [m async for m in kernel.execute("1")]
