"""A session on a kernel that plays a script: turns, keys, handles, the stale guard, the ends of a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.errors import (
    Busy,
    CellAmbiguous,
    CellChanged,
    CellNotFound,
    KernelDied,
    NotACodeCell,
    OrderChanged,
    TextNotFound,
)
from langchain_jupyter.kernels.kernel import Message
from langchain_jupyter.sessions import runner
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.testing import ScriptedKernel, iopub, printed, raised


class GatedKernel(ScriptedKernel):
    """Holds back the reply of some codes until they are let go, or interrupted."""

    def __init__(self, script: Any = None, held: tuple[str, ...] = ()) -> None:
        super().__init__(script)
        self.started = {code: asyncio.Event() for code in held}
        self.gates = {code: asyncio.Event() for code in held}

    async def execute(
        self, code: str, *, allow_stdin: bool = False, store_history: bool = True
    ) -> AsyncIterator[Message]:
        async for message in super().execute(code, allow_stdin=allow_stdin, store_history=store_history):
            if message.msg_type == "execute_reply" and code in self.gates:
                self.started[code].set()
                await self.gates[code].wait()
                if self.interrupted:
                    for stopped in raised("KeyboardInterrupt", ""):
                        yield stopped
                    return
            yield message

    async def interrupt(self) -> None:
        await super().interrupt()
        for gate in self.gates.values():
            gate.set()

    def let_go(self) -> None:
        for gate in self.gates.values():
            gate.set()


class KeptStore(MemoryStore):
    """A document that an earlier process has left."""

    def __init__(self, document: NotebookDocument) -> None:
        self._document = document

    async def open(self) -> NotebookDocument:
        return self._document


async def opened(kernel: ScriptedKernel, store: MemoryStore | None = None, **options: Any) -> NotebookSession:
    session = NotebookSession(store or MemoryStore(), kernel, **options)
    await session.open()
    return session


def texts(session: NotebookSession, cell_id: str | None) -> list[str]:
    outputs = session.document.cell(str(cell_id)).outputs
    return [output["text"] if "text" in output else output["data"]["text/plain"] for output in outputs]


def shown(text: str, display_id: str, msg_type: str = "display_data") -> Message:
    return iopub(msg_type, data={"text/plain": text}, metadata={}, transient={"display_id": display_id})


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    async with asyncio.timeout(30):
        yield


# -- turns ---------------------------------------------------------------------------------------------------------


async def test_a_run_longer_than_the_soft_wait_is_left_running_and_can_be_waited_for() -> None:
    kernel = GatedKernel({"slow": [printed("early\n")]}, held=("slow",))
    session = await opened(kernel, soft_wait=0.5)

    running = await session.insert_and_run("slow", caller="a")
    kernel.let_go()
    ended = await session.wait(running.ref, 5)

    assert (running.status, running.outputs[0]["text"]) == ("running", "early\n")
    assert (ended.status, kernel.interrupted) == ("ok", 0)


async def test_behind_a_run_that_was_left_another_is_refused_and_adds_no_cell() -> None:
    kernel = GatedKernel(held=("slow",))
    session = await opened(kernel)
    running = await session.insert_and_run("slow", caller="a", timeout=0.02)

    with pytest.raises(Busy, match=running.ref):
        await session.insert_and_run("next", caller="b")
    kernel.let_go()
    await session.wait(running.ref, 5)

    assert kernel.ran == ["slow"]
    assert len(session.document) == 1


async def test_behind_a_run_that_is_waited_for_others_run_in_order() -> None:
    kernel = GatedKernel(held=("first",))
    session = await opened(kernel)

    tasks = [asyncio.create_task(session.insert_and_run("first", caller="a"))]
    await kernel.started["first"].wait()
    tasks += [asyncio.create_task(session.insert_and_run(code, caller="a")) for code in ("second", "third")]
    kernel.let_go()
    ended = await asyncio.gather(*tasks)

    assert kernel.ran == ["first", "second", "third"]
    assert [execution.status for execution in ended] == ["ok"] * 3


async def test_who_queues_behind_a_run_is_refused_when_that_run_is_left() -> None:
    kernel = GatedKernel(held=("first",))
    session = await opened(kernel)

    first = asyncio.create_task(session.insert_and_run("first", caller="a", timeout=0.05))
    await kernel.started["first"].wait()
    with pytest.raises(Busy):
        await session.insert_and_run("second", caller="a")
    kernel.let_go()
    await session.wait((await first).ref, 5)

    assert kernel.ran == ["first"]


async def test_a_caller_that_is_cancelled_in_the_queue_blocks_nobody() -> None:
    kernel = GatedKernel(held=("first",))
    session = await opened(kernel)
    first = asyncio.create_task(session.insert_and_run("first", caller="a"))
    await kernel.started["first"].wait()
    second = asyncio.create_task(session.insert_and_run("second", caller="a"))
    third = asyncio.create_task(session.insert_and_run("third", caller="a"))

    second.cancel()
    kernel.let_go()
    await asyncio.gather(first, third)

    assert kernel.ran == ["first", "third"]


async def test_a_cell_that_runs_cannot_be_deleted() -> None:
    kernel = GatedKernel(held=("slow",))
    session = await opened(kernel)
    running = await session.insert_and_run("slow", caller="a", timeout=0.02)

    with pytest.raises(Busy):
        session.delete(str(running.cell_id), caller="a")
    kernel.let_go()
    await session.wait(running.ref, 5)
    session.delete(str(running.cell_id), caller="a")

    assert len(session.document) == 0


# -- exactly once --------------------------------------------------------------------------------------------------


async def test_the_same_key_twice_is_one_cell_and_one_execution() -> None:
    kernel = ScriptedKernel()
    session = await opened(kernel)

    first = await session.insert_and_run("1", caller="a", key="k")
    second = await session.insert_and_run("1", caller="a", key="k")

    assert first.ref == second.ref
    assert (kernel.ran, len(session.document)) == (["1"], 1)


async def test_the_same_key_finds_a_run_that_goes_on() -> None:
    kernel = GatedKernel(held=("slow",))
    session = await opened(kernel)
    first = await session.insert_and_run("slow", caller="a", key="k", timeout=0.02)

    again = asyncio.create_task(session.insert_and_run("slow", caller="a", key="k"))
    kernel.let_go()

    assert (first.ref, (await again).ref) == ("e1", "e1")
    assert ((await again).status, kernel.ran) == ("ok", ["slow"])


async def test_the_same_key_of_scratch_code_and_of_a_standing_cell_runs_once() -> None:
    kernel = ScriptedKernel()
    session = await opened(kernel)
    cell = session.insert("code", "2", caller="a")

    for _ in range(2):
        await session.run_code("1", key="scratch")
        await session.run_cell(cell.id, caller="a", key="cell")

    assert kernel.ran == ["1", "2"]


async def test_other_keys_run_again() -> None:
    kernel = ScriptedKernel()
    session = await opened(kernel)

    for key in ("k", "l", "", ""):
        await session.insert_and_run("1", caller="a", key=key)

    assert (len(kernel.ran), len(session.document)) == (4, 4)


async def test_what_an_earlier_process_ran_is_not_run_again() -> None:
    session = await opened(ScriptedKernel({"1": [printed("hi\n")]}))
    await session.insert_and_run("1", caller="a", key="k")
    kernel = ScriptedKernel()
    later = await opened(kernel, KeptStore(session.document))

    execution = await later.insert_and_run("1", caller="a", key="k")

    assert (execution.status, execution.outputs[0]["text"]) == ("ok", "hi\n")
    assert (kernel.ran, len(later.document)) == ([], 1)


async def test_what_an_earlier_process_left_running_is_told_as_died() -> None:
    first = GatedKernel(held=("slow",))
    session = await opened(first)
    running = await session.insert_and_run("slow", caller="a", key="k", timeout=0.02)
    kernel = ScriptedKernel()
    later = await opened(kernel, KeptStore(session.document))

    execution = await later.insert_and_run("slow", caller="a", key="k")
    first.let_go()
    await session.wait(running.ref, 5)

    assert (execution.status, kernel.ran) == ("died", [])


# -- the stale guard -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["overwrite", "replace_text", "delete", "run_cell"])
async def test_a_cell_changed_by_somebody_else_is_refused_with_its_text_and_then_let_through(verb: str) -> None:
    session = await opened(ScriptedKernel())
    cell = session.insert("code", "mine", caller="a")
    session.document.set_source(cell.id, "theirs")

    async def act() -> None:
        if verb == "overwrite":
            session.overwrite(cell.id, "new", caller="a")
        elif verb == "replace_text":
            session.replace_text(cell.id, "theirs", "new", caller="a")
        elif verb == "delete":
            session.delete(cell.id, caller="a")
        else:
            await session.run_cell(cell.id, caller="a")

    with pytest.raises(CellChanged, match="theirs"):
        await act()
    untouched = session.document.source(cell.id)
    await act()

    assert untouched == "theirs"


async def test_each_caller_has_seen_what_it_has_seen() -> None:
    session = await opened(ScriptedKernel())
    cell = session.insert("code", "first", caller="a")

    session.overwrite(cell.id, "second", caller="b")

    with pytest.raises(CellChanged):
        session.overwrite(cell.id, "third", caller="a")


@pytest.mark.parametrize(("old", "why"), [("x", "2 times"), ("z", "does not stand"), ("", "does not stand")])
async def test_a_text_that_does_not_stand_exactly_once_is_not_replaced(old: str, why: str) -> None:
    session = await opened(ScriptedKernel())
    cell = session.insert("code", "x = x", caller="a")

    with pytest.raises(TextNotFound, match=why):
        session.replace_text(cell.id, old, "y", caller="a")


async def test_markdown_cannot_be_run() -> None:
    session = await opened(ScriptedKernel())
    cell = session.insert("markdown", "# A", caller="a")

    with pytest.raises(NotACodeCell):
        await session.run_cell(cell.id, caller="a")


# -- which cell ----------------------------------------------------------------------------------------------------


async def test_a_cell_is_found_by_id_prefix_position_and_count() -> None:
    session = await opened(ScriptedKernel())
    session.insert("markdown", "above", caller="a")
    ran = await session.insert_and_run("1", caller="a")
    document, sight = session.document, session.sight("a")
    cell_id = str(ran.cell_id)

    names = [cell_id, document.handle(cell_id), cell_id[:-1], "1", "#1", " 1 ", "[1]", "In [1]"]

    assert [sight.resolve(document, name) for name in names] == [cell_id] * len(names)


@pytest.mark.parametrize("name", ["zzzz", "abc", "", "7", "-1", "[9]", "None"])
async def test_what_names_no_cell_is_refused(name: str) -> None:
    session = await opened(ScriptedKernel())
    session.document.insert(session.document.new_cell("code", "1", "abcd1234"))

    with pytest.raises(CellNotFound):
        session.sight("a").resolve(session.document, name)


async def test_a_prefix_of_two_cells_is_refused_with_both() -> None:
    session = await opened(ScriptedKernel())
    for cell_id in ("abcd1111", "abcd2222"):
        session.document.insert(session.document.new_cell("code", "1", cell_id))

    with pytest.raises(CellAmbiguous, match=r"abcd1.*abcd2"):
        session.sight("a").resolve(session.document, "abcd")


async def test_the_prefix_of_a_deleted_cell_never_falls_to_another() -> None:
    session = await opened(ScriptedKernel())
    document = session.document
    document.insert(document.new_cell("code", "1", "abcd1111"))
    document.delete("abcd1111")
    document.insert(document.new_cell("code", "2", "abcd2222"))

    with pytest.raises(CellAmbiguous):
        session.sight("a").resolve(document, "abcd")
    with pytest.raises(CellNotFound, match="deleted"):
        session.sight("a").resolve(document, "abcd1")


async def test_a_position_is_refused_once_after_somebody_else_moved_cells() -> None:
    session = await opened(ScriptedKernel())
    mine = session.insert("code", "mine", caller="a")
    document, sight = session.document, session.sight("a")
    sight.positions.saw(document)
    document.insert(document.new_cell("code", "theirs"), place=(None, mine.id))

    with pytest.raises(OrderChanged, match="theirs"):
        sight.resolve(document, "0")

    assert sight.resolve(document, "1") == mine.id
    assert sight.resolve(document, document.handle(mine.id)) == mine.id


async def test_ones_own_insertion_keeps_positions_usable() -> None:
    session = await opened(ScriptedKernel())
    first = session.insert("code", "first", caller="a")
    session.sight("a").positions.saw(session.document)

    above = session.insert("code", "above", caller="a", before=first.id)

    assert session.sight("a").resolve(session.document, "0") == above.id


async def test_a_frame_is_named_after_the_cell_that_ran_in_this_kernel_under_that_count() -> None:
    session = await opened(ScriptedKernel())
    document = session.document
    for cell_id, count in (("aaaa1111", 1), ("bbbb2222", 2), ("cccc3333", 2)):
        document.insert({**document.new_cell("code", cell_id, cell_id), "execution_count": count})

    saved = session.cell_of_count(1), session.cell_of_count(2)
    ran = await session.insert_and_run("1", caller="a")

    assert saved == ("aaaa", None)  # two say that they were [2]
    assert session.cell_of_count(1) == document.handle(str(ran.cell_id))


async def test_the_cell_that_would_have_set_a_name_is_found_until_it_has_run() -> None:
    session = await opened(ScriptedKernel())
    cell = session.insert("code", "df = 1", caller="a")

    before = session.unmade("df"), session.unmade("nope")
    await session.run_cell(cell.id, caller="a")

    assert before == (session.document.handle(cell.id), "")
    assert session.unmade("df") == ""


# -- how a run ends ------------------------------------------------------------------------------------------------


async def test_an_exception_is_a_result_and_the_next_run_works() -> None:
    session = await opened(ScriptedKernel({"1/0": raised("ZeroDivisionError", "division by zero")}))

    failed = await session.insert_and_run("1/0", caller="a")
    following = await session.insert_and_run("1", caller="a")

    assert failed.error is not None
    assert (failed.status, failed.error.name) == ("error", "ZeroDivisionError")
    assert following.status == "ok"


async def test_a_kernel_that_dies_is_told_to_each_caller_once() -> None:
    kernel = ScriptedKernel({"die": [printed("last words\n"), KernelDied("gone")]})
    session = await opened(kernel)
    session.sight("a")
    session.sight("b")

    died = await session.insert_and_run("die", caller="a")
    kernel.die()
    news = [session.news(caller) for caller in ("a", "a", "b", "c")]
    following = await session.insert_and_run("1", caller="a")

    assert (died.status, texts(session, died.cell_id)) == ("died", ["last words\n"])
    assert ["variables are gone" in text for text in news] == [True, False, True, False]
    assert following.status == "ok"


async def test_what_is_interrupted_says_so() -> None:
    kernel = GatedKernel(held=("slow",))
    session = await opened(kernel)
    running = await session.insert_and_run("slow", caller="a", timeout=0.02)

    stopped = await session.interrupt()
    again = await session.interrupt()

    assert stopped is not None
    assert (running.status, stopped.status) == ("running", "interrupted")
    assert again is None


class Draining(GatedKernel):
    """What was put out before the interrupt is long on its way, after the reply."""

    def __init__(self) -> None:
        super().__init__(held=("flood",))
        self.replied, self.drained = asyncio.Event(), asyncio.Event()

    async def execute(self, code: str, **options: Any) -> AsyncIterator[Message]:
        async for message in super().execute(code, **options):
            yield message
        self.replied.set()
        await self.drained.wait()
        yield printed("the end\n")


async def test_code_that_has_stopped_is_not_said_to_run_while_its_output_is_on_its_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "_INTERRUPT_PATIENCE", 0.02)
    kernel = Draining()
    session = await opened(kernel)
    await session.insert_and_run("flood", caller="a", timeout=0.02)
    kernel.let_go()
    await kernel.replied.wait()

    interrupt = asyncio.create_task(session.interrupt())
    await asyncio.sleep(0.05)
    kernel.drained.set()
    stopped = await interrupt

    assert stopped is not None
    assert stopped.finished
    assert stopped.outputs[-1]["text"] == "the end\n"


class SlowSignal(GatedKernel):
    """An interrupt takes its time, as one over a network does."""

    def __init__(self, held: tuple[str, ...] = ()) -> None:
        super().__init__(held=held)
        self.sent, self.arrived = asyncio.Event(), asyncio.Event()

    async def interrupt(self) -> None:
        self.sent.set()
        await self.arrived.wait()
        await super().interrupt()


async def test_while_an_interrupt_is_on_its_way_nothing_else_is_run() -> None:
    kernel = SlowSignal(held=("first",))
    session = await opened(kernel)
    first = asyncio.create_task(session.insert_and_run("first", caller="a"))
    await kernel.started["first"].wait()
    interrupt = asyncio.create_task(session.interrupt())
    await kernel.sent.wait()

    kernel.let_go()  # it ends by itself
    second = asyncio.create_task(session.insert_and_run("second", caller="a"))
    for _ in range(20):
        await asyncio.sleep(0)
    meanwhile = list(kernel.ran)
    kernel.arrived.set()
    await asyncio.gather(first, second, interrupt)

    assert (meanwhile, kernel.ran) == (["first"], ["first", "second"])


class Unbegun(GatedKernel):
    """Takes a code up only when it is told to: before that, an interrupt would hit what somebody else runs."""

    def __init__(self) -> None:
        super().__init__(held=("code",))
        self.begin = asyncio.Event()

    async def execute(self, code: str, **options: Any) -> AsyncIterator[Message]:
        await self.begin.wait()
        async for message in super().execute(code, **options):
            yield message


async def test_an_interrupt_waits_until_the_kernel_has_taken_the_code_up() -> None:
    kernel = Unbegun()
    session = await opened(kernel)
    running = await session.insert_and_run("code", caller="a", timeout=0.02)

    interrupt = asyncio.create_task(session.interrupt())
    for _ in range(20):
        await asyncio.sleep(0)
    before = kernel.interrupted
    kernel.begin.set()
    stopped = await interrupt

    assert running.status == "running"
    assert stopped is not None
    assert (before, kernel.interrupted, stopped.status) == (0, 1, "interrupted")


class Unready(GatedKernel):
    """Starts when it is told to."""

    def __init__(self) -> None:
        super().__init__(held=("code",))
        self.up = asyncio.Event()

    async def start(self) -> None:
        await self.up.wait()


async def test_a_run_that_waits_for_the_kernels_start_can_be_interrupted() -> None:
    kernel = Unready()
    session = await opened(kernel)
    launch = asyncio.create_task(session.insert_and_run("code", caller="a"))
    await asyncio.sleep(0)

    interrupt = asyncio.create_task(session.interrupt())
    await asyncio.sleep(0)
    kernel.up.set()
    stopped = await interrupt

    assert stopped is not None
    assert (stopped.status, (await launch).status) == ("interrupted", "interrupted")


def _asking() -> GatedKernel:
    ask = Message("stdin", "input_request", {"prompt": "name? ", "password": False})
    return GatedKernel({"ask": [ask]}, held=("ask",))


async def test_a_prompt_is_told_and_its_answer_goes_to_the_same_run() -> None:
    kernel = _asking()
    session = await opened(kernel, ask=True)

    asked = await session.insert_and_run("ask", caller="a")
    session.answer(asked.ref, "Ada")
    kernel.let_go()
    ended = await session.wait(asked.ref, 5)

    assert (asked.status, asked.prompt) == ("input", "name? ")
    assert (ended.status, kernel.answers, kernel.ran) == ("ok", ["Ada"], ["ask"])


async def test_an_interrupt_ends_a_run_that_waits_for_an_answer() -> None:
    session = await opened(_asking(), ask=True)
    await session.insert_and_run("ask", caller="a")

    stopped = await session.interrupt()

    assert stopped is not None
    assert stopped.status == "interrupted"


# -- what reaches the document -------------------------------------------------------------------------------------


async def test_a_clear_that_waits_takes_effect_with_the_next_output() -> None:
    clear = iopub("clear_output", wait=True)
    kernel = ScriptedKernel({"kept": [printed("old\n"), clear], "new": [printed("old\n"), clear, printed("new\n")]})
    session = await opened(kernel)

    kept = await session.insert_and_run("kept", caller="a")
    new = await session.insert_and_run("new", caller="a")

    assert (texts(session, kept.cell_id), texts(session, new.cell_id)) == (["old\n"], ["new\n"])


async def test_a_display_of_an_earlier_cell_is_updated_there_and_nowhere_else() -> None:
    kernel = ScriptedKernel(
        {"show": [printed("x\n"), shown("before", "d")], "update": [shown("after", "d", "update_display_data")]}
    )
    session = await opened(kernel)

    first = await session.insert_and_run("show", caller="a")
    second = await session.insert_and_run("update", caller="a")

    assert texts(session, first.cell_id) == ["x\n", "after"]
    assert texts(session, second.cell_id) == []


async def test_scratch_code_leaves_no_trace_in_the_notebook() -> None:
    session = await opened(ScriptedKernel({"1": [printed("hi\n")]}))

    execution = await session.run_code("1")

    assert execution.outputs[0]["text"] == "hi\n"
    assert len(session.document) == 0
