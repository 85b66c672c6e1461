"""Runs of many cells, on a kernel that plays a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.errors import Busy, CellChanged, InvalidArgument
from langchain_jupyter.models import BatchState
from langchain_jupyter.rendering.tally import render_batch
from langchain_jupyter.sessions.batches import cells_of
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.settings import OutputLimits
from langchain_jupyter.testing import ScriptedKernel, iopub, printed, raised
from tests.unit.test_session import GatedKernel


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    async with asyncio.timeout(30):
        yield


async def opened(kernel: ScriptedKernel, *sources: str) -> tuple[NotebookSession, list[str]]:
    """A session with a code cell for each source."""
    session = NotebookSession(MemoryStore(), kernel)
    await session.open()
    for source in sources:
        session.document.insert(session.document.new_cell("code", source))
    return session, list(session.document.ids)


async def ran(session: NotebookSession, cell_ids: Sequence[str], **options: Any) -> BatchState:
    return await session.batches.begin(cell_ids, caller="a", **options).wait(5)


def rendered(session: NotebookSession, batch: BatchState, **limits: int) -> str:
    shown = render_batch(
        batch,
        handle_of=session.document.handle,
        limits=OutputLimits(**limits),
        references=session.references,
        cell_of=session.cell_of_count,
    )
    return str(shown.content[0]["text"])


async def test_cells_run_in_order_up_to_the_first_error() -> None:
    kernel = ScriptedKernel({"2": raised("ValueError", "no")})
    session, ids = await opened(kernel, "1", "2", "3")

    batch = await ran(session, ids)

    assert kernel.ran == ["1", "2"]
    assert batch.status == "error"
    assert [outcome.execution and outcome.execution.status for outcome in batch.outcomes] == ["ok", "error"]
    assert batch.left == (ids[2],)


@pytest.mark.parametrize("tag", ["agent:skip", "skip-execution"])
async def test_tagged_cells_are_passed_over(tag: str) -> None:
    kernel = ScriptedKernel()
    session, ids = await opened(kernel, "1", "2", "3")
    session.document.set_metadata(ids[1], "tags", ["x", tag])

    batch = await ran(session, ids)

    assert kernel.ran == ["1", "3"]
    assert (batch.status, batch.outcomes[1].note) == ("ok", f"skipped: tagged {tag}")


async def test_a_cell_that_is_tagged_to_fail_does_not_stop_the_others() -> None:
    kernel = ScriptedKernel({"1": raised("ValueError", "as planned")})
    session, ids = await opened(kernel, "1", "2")
    session.document.set_metadata(ids[0], "tags", ["raises-exception"])

    batch = await ran(session, ids)

    assert kernel.ran == ["1", "2"]
    assert batch.status == "ok"


async def test_a_run_of_many_goes_on_when_nobody_waits_and_is_found_again() -> None:
    kernel = GatedKernel({"slow": [printed("step 3 of 9\n")]}, held=("slow",))
    session, ids = await opened(kernel, "1", "slow", "3")
    batch = session.batches.begin(ids, caller="a")

    running = await batch.wait(0.05)
    text = rendered(session, running)
    kernel.let_go()
    found = session.batches.find(batch.ref)
    assert found is not None
    ended = await found.wait(5)

    assert text.startswith("run_cells running 0.")
    assert "1 of 3 cells done, " in text
    assert f'step 3 of 9 · wait_for_execution("{batch.ref}") or interrupt_kernel()' in text
    assert (ended.status, kernel.ran) == ("ok", ["1", "slow", "3"])


async def test_behind_one_that_was_left_others_are_refused_between_its_cells_too() -> None:
    kernel = GatedKernel(held=("slow",))
    session, ids = await opened(kernel, "slow", "2")
    batch = session.batches.begin(ids, caller="a")
    await batch.wait(0.02)

    with pytest.raises(Busy, match=batch.ref):
        await session.run_code("scratch")
    with pytest.raises(Busy, match=batch.ref):
        session.batches.begin(ids, caller="b")
    kernel.let_go()
    await batch.wait(5)

    assert kernel.ran == ["slow", "2"]


async def test_behind_one_that_is_waited_for_others_run_at_its_end() -> None:
    kernel = ScriptedKernel()
    session, ids = await opened(kernel, "1", "2", "3")

    await asyncio.gather(ran(session, ids), session.run_code("scratch"))

    assert kernel.ran == ["1", "2", "3", "scratch"]


async def test_an_interrupt_ends_it_even_where_the_cell_shrugs_it_off() -> None:
    kernel = GatedKernel(held=("slow",))
    session, ids = await opened(kernel, "slow", "2")
    batch = session.batches.begin(ids, caller="a")
    await batch.wait(0.02)

    kernel.interrupted = -1  # the reply will say that all is well
    await session.interrupt()
    ended = await batch.wait(5)

    assert kernel.ran == ["slow"]
    assert (ended.status, ended.left) == ("interrupted", (ids[1],))


async def test_the_same_key_finds_the_run_that_it_has_started() -> None:
    kernel = ScriptedKernel()
    session, ids = await opened(kernel, "1", "2")

    first = await ran(session, ids, key="t/1")
    again = await ran(session, ids, key="t/1")

    assert again.ref == first.ref
    assert kernel.ran == ["1", "2"]


async def test_what_an_earlier_process_has_begun_is_told_and_not_run_again() -> None:
    kernel = ScriptedKernel({"2": raised("ValueError", "no")})
    session, ids = await opened(kernel, "1", "2", "3")
    await ran(session, ids, key="t/1")
    store = MemoryStore()
    later = NotebookSession(store, ScriptedKernel())
    await later.open()
    for cell_id in ids:
        later.document.insert(session.document.snapshot(cell_id))

    batch = await ran(later, ids, key="t/1")

    assert later.kernel.ran == []  # type: ignore[attr-defined]
    assert batch.status == "error"
    assert [outcome.cell_id for outcome in batch.outcomes] == ids[:2]
    assert "were not run again" in batch.note


async def test_a_cell_that_somebody_else_changed_stops_it_before_it_starts() -> None:
    kernel = ScriptedKernel()
    session, ids = await opened(kernel, "1", "2")
    session.sight("a").saw(session.document.cell(ids[1]))
    session.document.set_source(ids[1], "rm -rf")

    with pytest.raises(CellChanged):
        await ran(session, ids)

    assert kernel.ran == []


async def test_a_cell_that_is_changed_or_deleted_meanwhile_is_not_run() -> None:
    kernel = GatedKernel(held=("slow",))
    session, ids = await opened(kernel, "slow", "gone", "changed", "last")
    session.sight("a").saw(session.document.cell(ids[2]))
    batch = session.batches.begin(ids, caller="a")
    await batch.wait(0.02)

    session.document.delete(ids[1])
    session.document.set_source(ids[2], "other")
    kernel.let_go()
    ended = await batch.wait(5)

    assert kernel.ran == ["slow"]
    assert [outcome.note for outcome in ended.outcomes] == [
        "",
        "deleted meanwhile",
        "not run: somebody else changed it",
    ]


async def test_after_a_restart_it_tells_which_outputs_are_others() -> None:
    kernel = ScriptedKernel({"1": [printed("accuracy 0.91 at 0x7f1234567890\n")], "2": [printed("same\n")]})
    session, ids = await opened(kernel, "1", "2", "3")
    await ran(session, ids)
    kernel.script["1"] = [printed("accuracy 0.87 at 0x7fabcdefabcd\n")]

    batch = await ran(session, ids, restart=True)

    assert kernel.restarted == 1
    assert [outcome.note for outcome in batch.outcomes] == [
        "output: accuracy 0.91 at <address> -> accuracy 0.87 at <address>", "", "",
    ]  # fmt: skip
    assert "in a new kernel, 1 with other outputs than before" in rendered(session, batch)


async def test_it_tells_how_far_it_is() -> None:
    session, ids = await opened(ScriptedKernel(), "1", "2", "3")
    seen: list[tuple[int, int]] = []

    await ran(session, ids, progress=lambda state: seen.append((len(state.outcomes), len(state.left))))

    assert seen == [(1, 2), (2, 1), (3, 0)]


async def test_scopes_choose_code_cells_that_have_something_to_run() -> None:
    session, ids = await opened(ScriptedKernel(), "a = 1", " ", "b = 2", "print(a)")
    session.document.insert(session.document.new_cell("markdown", "# text"))

    def chosen(scope: str, at: int = 0) -> list[int]:
        return [ids.index(cell_id) for cell_id in cells_of(session, scope, ids[at], restart=False)]

    assert chosen("all") == [0, 2, 3]
    assert (chosen("above", 2), chosen("below", 2)) == ([0], [2, 3])
    await ran(session, cells_of(session, "all", "", restart=False))
    assert chosen("stale") == []
    session.document.set_source(ids[0], "a = 7")
    assert chosen("stale") == [0, 3]


@pytest.mark.parametrize(("scope", "cell"), [("everything", ""), ("above", ""), ("below", "")])
async def test_a_scope_that_cannot_be_is_refused(scope: str, cell: str) -> None:
    session, _ = await opened(ScriptedKernel(), "1")

    with pytest.raises(InvalidArgument):
        cells_of(session, scope, cell, restart=False)


async def test_many_cells_fit_the_budget_and_the_failing_one_is_shown_whole() -> None:
    kernel = ScriptedKernel({"400": raised("ValueError", "no")})
    session, ids = await opened(kernel, *(str(n) for n in range(500)))

    batch = await ran(session, ids)
    text = rendered(session, batch, per_call=2_000)

    assert len(text) <= 2_000
    assert "400 cells ok]" in text
    assert "<traceback>\nValueError: no" in text
    assert "not run: " in text
    assert " and 79 more" in text


async def test_a_cell_that_asks_is_told_and_goes_on_when_it_is_answered() -> None:
    asks = iopub("input_request", prompt="name? ", password=False)
    kernel = GatedKernel({"asks": [asks], "3": []}, held=("asks",))
    session, ids = await opened(kernel, "1", "asks", "3")
    batch = session.batches.begin(ids, caller="a", ask=True)

    asking = await batch.wait(5)
    assert asking.current is not None
    text = rendered(session, asking)
    session.answer(asking.current.ref, "Ada")
    batch.answered()
    kernel.let_go()
    ended = await batch.wait(5)

    assert asking.status == "input"
    assert 'asks "name? "' in text
    assert (ended.status, kernel.answers) == ("ok", ["Ada"])
