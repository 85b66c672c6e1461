"""What befalls a server, under a toolkit that has its kernel there, or its notebook too."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from langchain_jupyter.errors import DocumentError, OutOfReach
from langchain_jupyter.kernels import line
from tests.disks import Disk, disk
from tests.faulttable import injects
from tests.servers import Child, collaboration_server, jupyter_server
from tests.trials import Answer, Bench, Ground, GroundOf, Trial

pytestmark = pytest.mark.asyncio(loop_scope="module")

FROZEN = float(os.environ.get("FROZEN_SECONDS", "5"))
"""How long a server is frozen: long enough for a `note`. `make faults` takes longer."""


@pytest.fixture(scope="module")
def disks() -> dict[str, Disk]:
    """The disks of the servers, by folder."""
    return {}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, disks: dict[str, Disk]) -> GroundOf:
    """A server for each place, that may be harmed, and its notebooks on a disk of their own."""

    @asynccontextmanager
    async def at(place: str) -> AsyncIterator[Ground]:
        folder = tmp_path_factory.mktemp("server")
        root, state = folder / "root", folder / "state"
        async with AsyncExitStack() as stack:
            disks[str(root)] = stack.enter_context(disk(root, kilobytes=1024, pid=lambda: child.pid))
            child = (
                collaboration_server(root, state)
                if place.startswith("room")
                else jupyter_server(root, log=folder / "server.log")
            )
            await stack.enter_async_context(child)
            files = folder if place.startswith("file") else root
            yield Ground(files, child.settings, child, state)

    return at


@injects("the server is killed")
async def test_a_server_that_is_killed_costs_the_run_and_no_edit(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "_PATIENCE", 3.0)
    async with trial as bench:
        run = await bench.begin()
        await server(bench).kill()
        trial.begins()
        answer = await run.answering
        trial.told("lost", answer)
        edited = await bench.add("while the server was not there")
        refused = await bench.call("run_code", code="6 * 7")
        await server(bench).start()
        await bench.settled()

        assert ("Not yet on the server" in edited.text) != bench.place.startswith("file")
        assert "has not run" in refused.text


@injects("the server is killed and started again")
async def test_a_server_that_is_killed_and_started_again_takes_the_kernel_with_it(trial: Trial) -> None:
    async with trial as bench:
        run = await bench.begin()
        trial.begins()
        await server(bench).kill()
        edited = await bench.add("while the server was started")
        await server(bench).start()
        answer = await run.answering
        trial.told("died", answer)
        await bench.settled()

        assert edited.text
        assert "server was started anew" in answer.text


@injects("the server is frozen")
async def test_a_server_that_is_frozen_delays_and_loses_nothing(trial: Trial) -> None:
    async with trial as bench:
        run = await bench.begin()
        run.go.touch()
        server(bench).signal(signal.SIGSTOP)
        asyncio.get_running_loop().call_later(FROZEN, server(bench).signal, signal.SIGCONT)
        trial.begins()
        edited = await bench.add("while the server was frozen")
        [word] = edited.words  # a room waits some seconds for it, contents for the whole answer
        trial.told(word, edited)
        answer = await run.answering
        trial.told("nothing", answer)
        await bench.settled()

        assert "begun\nended" in answer.text


@injects("the server has lost the room's history")
async def test_a_room_that_has_lost_its_history_gets_our_edits(trial: Trial) -> None:
    async with trial as bench:
        await server(bench).kill()
        forget(bench)
        trial.begins()
        await bench.add("while the history was lost")
        await server(bench).start()
        await bench.settled()
        trial.told("nothing", await bench.call("read_cell", cell="edited"))


@injects("the server has lost the room's history")
async def test_where_the_file_of_a_lost_room_is_another_it_stands_and_ours_is_beside_it(trial: Trial) -> None:
    async with trial as bench:
        await bench.save()
        await bench.change("'ours'")
        await server(bench).kill()
        forget(bench)
        bench.others_write("'theirs'")
        trial.begins()
        await server(bench).start()
        trial.told("ChangedOnDisk", await refusal(bench))

        assert "'ours'" in bench.set_aside


@injects("the server's disk is full")
async def test_a_server_whose_disk_is_full_says_so_and_writes_later(trial: Trial, disks: dict[str, Disk]) -> None:
    await refused_by_the_server(trial, disks, Disk.fill, Disk.free)


@injects("the server's folder is read-only")
async def test_a_server_that_may_not_write_says_so_and_writes_later(trial: Trial, disks: dict[str, Disk]) -> None:
    await refused_by_the_server(trial, disks, Disk.forbid, Disk.permit)


@injects("the token is revoked")
async def test_a_revoked_token_is_told_with_what_to_do_and_a_valid_one_goes_on(trial: Trial) -> None:
    async with trial as bench:
        run = await bench.begin()
        trial.begins()
        await server(bench).kill()
        async with another(bench):
            trial.told("lost", await run.answering)
            if bench.place.startswith("file"):
                refused = await bench.call("run_code", code="0")
                trial.told("KernelUnavailable", refused)
                assert "give a valid one as token=" in refused.text
            else:
                with pytest.raises(OutOfReach, match="token") as caught:
                    await refusal(bench)
                trial.told("ServerRefused", caught.value)
        await server(bench).start()
        await bench.settled()


async def refused_by_the_server(
    trial: Trial, disks: dict[str, Disk], harm: Callable[[Disk], None], mend: Callable[[Disk], None]
) -> None:
    async with trial as bench:
        await bench.save()
        before = bench.read()
        disk = disks[str(bench.ground.folder)]
        harm(disk)
        try:
            trial.begins()
            await bench.add("while the server could not write")
            with pytest.raises(DocumentError) as caught:
                await bench.save()
            trial.told("DocumentError", caught.value)
            assert bench.read() == before
        finally:
            mend(disk)


async def refusal(bench: Bench) -> Answer:
    """Call until a call fails: it may take a moment until the line to a room is taken up, or refused."""
    async with asyncio.timeout(60):
        while (answer := await bench.call("read_cell", cell="edited")).artifact.get("status") != "failed":
            await asyncio.sleep(0.05)
    return answer


def server(bench: Bench) -> Child:
    assert bench.ground.child is not None
    return bench.ground.child


def another(bench: Bench) -> Child:
    """A server in the place of the one that was killed, which does not know our token."""
    child, ground = server(bench), bench.ground
    assert ground.state is not None
    port = int(child.settings.url.rpartition(":")[2])
    if bench.place.startswith("room"):
        return collaboration_server(ground.folder, ground.state, port=port, token="another")
    return jupyter_server(ground.folder, port=port, token="another", log=child.log)


def forget(bench: Bench) -> None:
    """Lose the history of the rooms."""
    assert bench.ground.state is not None
    shutil.rmtree(bench.ground.state)
    bench.ground.state.mkdir()
