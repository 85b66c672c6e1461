"""What befalls the line to a server: to its kernel, and to the notebook where that is on the server too."""

from __future__ import annotations

import asyncio

import pytest

from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.documents.room import RoomStore
from tests.faulttable import injects
from tests.proxy import Proxy
from tests.trials import Bench, Trial

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS = """\
for n in range(10):
    print(n, flush=True)
    time.sleep(0.1)
"""
PRINTED = "".join(f"{n}\n" for n in range(10))
MEANWHILE = """\
print("begun", flush=True)
while not os.path.exists(step): time.sleep(0.02)
print("meanwhile", flush=True)
time.sleep(0.5)
open(done, "w").close()
while not os.path.exists(go): time.sleep(0.02)
print("ended")
"""


@injects("the line to the kernel is cut")
async def test_what_is_printed_while_the_line_is_cut_is_received_afterwards(trial: Trial) -> None:
    async with trial as bench:
        run = await bench.begin(MEANWHILE)
        await bench.heard("begun")
        trial.begins()
        await cut_off(bench)
        run.step.touch()
        await run.reaches(run.done)
        proxy(bench).restore()
        await bench.settled()
        run.go.touch()
        answer = await run.answering
        trial.told("nothing", answer)

        assert "begun\nmeanwhile\nended" in answer.text


@injects("the line to the kernel is cut")
async def test_with_others_on_the_kernel_what_is_printed_meanwhile_is_missing(trial: Trial) -> None:
    async with trial as bench, bench.somebody():
        run = await bench.begin(MEANWHILE)
        await bench.heard("begun")
        trial.begins()
        await cut_off(bench, others=1)
        run.step.touch()
        await run.reaches(run.done)
        proxy(bench).restore()
        await connected(bench, 2)
        await bench.settled()
        run.go.touch()
        answer = await run.answering
        trial.told("truncated", answer)

        assert "another client" in answer.text
        assert "begun\nended" in answer.text


@injects("the line to the kernel is cut")
async def test_an_end_that_nobody_heard_is_never_called_ok(trial: Trial) -> None:
    async with trial as bench, bench.somebody() as somebody:
        run = await bench.begin()
        await bench.heard("begun")
        trial.begins()
        await cut_off(bench, others=1)
        run.go.touch()
        _ = [message async for message in somebody.execute("0")]  # it waits behind the first run
        proxy(bench).restore()
        answer = await run.answering
        trial.told("lost", answer)

        assert "how it ended was not" in answer.text


@injects("the line is slow, or silent for some seconds")
async def test_a_slow_line_only_delays(trial: Trial) -> None:
    async with trial as bench:
        proxy(bench).delay = 0.1
        trial.begins()
        run = await bench.begin(STEPS)
        answer = await run.answering
        trial.told("nothing", answer)
        proxy(bench).restore()

        assert PRINTED in answer.text


@injects("the line is slow, or silent for some seconds")
async def test_a_line_that_is_silent_for_3_seconds_only_delays(trial: Trial) -> None:
    async with trial as bench:
        run = await bench.begin(STEPS)
        trial.begins()
        proxy(bench).freeze()
        asyncio.get_running_loop().call_later(3, proxy(bench).restore)
        answer = await run.answering
        trial.told("nothing", answer)

        assert PRINTED in answer.text


@injects("the line is corrupted")
async def test_a_line_that_garbles_what_it_carries_is_closed_and_taken_up(trial: Trial) -> None:
    async with trial as bench:
        run = await bench.begin(MEANWHILE)
        await bench.heard("begun")
        trial.begins()
        proxy(bench).garbling = True
        run.step.touch()
        await bench.change("'while the line was garbled'")
        await run.reaches(run.done)
        proxy(bench).restore()
        await bench.settled()
        run.go.touch()
        answer = await run.answering
        [word] = answer.words  # what the kernel said in that moment was on the line
        trial.told(word, answer)

        assert "begun" in answer.text
        assert ("ended" in answer.text) == (word != "lost")


@injects("the line to the notebook is cut")
async def test_edits_of_both_sides_are_there_once_the_line_is_back(trial: Trial) -> None:
    async with trial as bench:
        await bench.save()
        proxy(bench).refuse()
        trial.begins()
        edited = await bench.add("while the line was cut")
        trial.told("note", edited)
        await somebody_adds(bench, "meanwhile, by somebody else")
        again = await bench.change("'while the line was cut'")
        proxy(bench).restore()
        await bench.settled()

        assert "Not yet on the server" in edited.text
        assert "Not yet on the server" in again.text


def proxy(bench: Bench) -> Proxy:
    assert bench.proxy is not None
    return bench.proxy


async def cut_off(bench: Bench, *, others: int = 0) -> None:
    """Cut the line; until the server has seen that, it goes on sending on it."""
    proxy(bench).refuse()
    await connected(bench, others)


async def connected(bench: Bench, clients: int) -> None:
    """Wait until so many are on the kernel."""
    path = f"/api/kernels/{await bench.kernel_id()}"
    async with bench.direct() as server, asyncio.timeout(30):
        while (await server.get(path))["connections"] != clients:
            await asyncio.sleep(0.05)


async def somebody_adds(bench: Bench, source: str) -> None:
    """A person puts a cell at the top: in the room, or in the file on the server where there are no rooms."""
    async with bench.direct() as server:
        store = RoomStore(server, bench.path) if bench.place.startswith("room") else FileStore(bench.file)
        document = await store.open()
        document.insert(document.new_cell("markdown", source), place=(None, document.ids[0]))
        await store.close()
    bench.added_at_the_top(source)
