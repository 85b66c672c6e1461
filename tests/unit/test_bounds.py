"""What a long-lived process keeps of the past has an end: how much, and what is told when it is forgotten."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings

from langchain_jupyter import workspace
from langchain_jupyter.analysis.dependencies import names_of
from langchain_jupyter.backends import Backend, LocalDocuments
from langchain_jupyter.documents import handles, notebook
from langchain_jupyter.documents.handles import Handles
from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.kernels.conversation import Conversation
from langchain_jupyter.outputs import Outputs
from langchain_jupyter.sessions import batches, displays, executions, sight
from langchain_jupyter.sessions.displays import EarlierDisplays
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.testing import ScriptedKernel, iopub, printed
from langchain_jupyter.workspace import Workspace
from tests.search import examples
from tests.unit.test_documents import STEPS, a_document, edit

# -- the replica of a notebook ---------------------------------------------------------------------------------------


def bytes_of(document: NotebookDocument) -> int:
    return len(document.ydoc.get_update())


def come_and_go(document: NotebookDocument, times: int) -> None:
    for _ in range(times):
        document.delete(document.insert(document.new_cell("code", "x = 1")))


def test_cells_that_come_and_go_weigh_nothing_once_the_replica_is_renewed() -> None:
    document = a_document("a", "b")
    document.renew()
    before = bytes_of(document)

    come_and_go(document, 1_200)
    worn = bytes_of(document)
    renewed = document.renew()

    assert worn > 10 * before
    assert renewed
    assert bytes_of(document) < 2 * before


def test_a_replica_is_renewed_only_when_many_changes_for_its_size_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "_WORN", 10)
    document = a_document(*(f"c{number}" for number in range(20)))

    come_and_go(document, 10)
    early = document.renew()
    come_and_go(document, 40)

    assert not early
    assert document.renew()
    assert not document.renew()


@settings(max_examples=examples(40))
@given(STEPS)
def test_a_renewed_replica_says_the_same_and_is_gone_on_with(steps: Sequence[tuple[str, int, int, str]]) -> None:
    document = a_document("a", "b")
    edit(document, list(steps))
    snapshots = {cell_id: document.snapshot(cell_id) for cell_id in document.ids}
    ids, version, metadata = list(document.ids), document.version, document.metadata

    document._attached -= notebook._WORN
    assert document.renew()

    assert list(document.ids) == ids
    assert (document.version, document.metadata) == (version, metadata)
    assert all(document.snapshot(cell_id) is known for cell_id, known in snapshots.items())
    assert json.loads(str(document._cells)) == [snapshots[cell_id] for cell_id in ids]
    edit(document, list(steps), made="later")
    assert [raw["id"] for raw in json.loads(str(document._cells))] == list(document.ids)


def test_a_cell_that_runs_goes_on_running_in_a_renewed_replica() -> None:
    document = a_document("a", "b")
    before = document.snapshot("b")
    document.begin_run("b")
    outputs = Outputs()
    outputs.feed("stream", {"name": "stdout", "text": "one\n"})
    first = outputs.take()
    assert first is not None
    document.write_outputs("b", first)

    come_and_go(document, 1_200)
    assert document.renew()
    running = document.cell("b").running
    outputs.feed("stream", {"name": "stdout", "text": "two\n"})
    second = outputs.take()
    assert second is not None
    document.write_outputs("b", second)
    document.end_run("b", 1, before)

    assert running
    assert document.snapshot("b")["outputs"] == [{"output_type": "stream", "name": "stdout", "text": "one\ntwo\n"}]
    assert not document.cell("b").running


def test_a_cell_that_is_gone_leaves_no_value_behind() -> None:
    document = a_document("a")

    come_and_go(document, 50)
    list(document.cells())
    document.set_source("a", "y = 2")
    document.cell("a")

    assert set(document._mirror._values) == {"a"}
    assert set(document._mirror._snapshots) <= {"a"}


# -- names of cells --------------------------------------------------------------------------------------------------


def test_a_name_is_not_given_again_until_very_many_cells_have_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "_GONE", 100)
    names = Handles()
    names.come(["abcd0000", "stays000"])
    names.go(["abcd0000"])

    remembered = names.matching("abcd")
    for number in range(200):
        names.come([f"x{number}"])
        names.go([f"x{number}"])

    assert remembered == ["abcd0000"]
    assert names.matching("abcd") == []
    assert names.matching("stay") == ["stays000"]
    assert len(names.known) <= 1 + 100


def test_a_cell_that_came_back_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "_GONE", 10)
    names = Handles()
    names.come(["abcd0000"])
    names.go(["abcd0000"])
    names.come(["abcd0000"])

    for number in range(50):
        names.go([f"x{number}"])

    assert names.matching("abcd") == ["abcd0000"]


def test_a_new_id_is_found_where_all_short_names_are_taken() -> None:
    names = Handles()
    names.come([f"{number:04x}0000" for number in range(16**4)])

    fresh = names.fresh()

    assert not names.matching(fresh)


# -- what callers saw, what ran, what was shown -----------------------------------------------------------------------


def test_a_caller_forgets_cells_that_are_gone_but_not_those_that_stand() -> None:
    document = a_document("a")
    seen = sight.Sight(0)
    seen.saw(document.cell("a"))

    for _ in range(1_000):
        cell_id = document.insert(document.new_cell("code", "x"))
        seen.tidy(document)
        seen.saw(document.cell(cell_id))
        document.delete(cell_id)

    assert "a" in seen._sources
    assert len(seen._sources) <= 2 * (len(document) + 1) + sight._GONE + 2


async def test_a_run_that_is_over_holds_nobody_who_listened() -> None:
    session = NotebookSession(MemoryStore(), ScriptedKernel())
    await session.open()

    execution = await session.insert_and_run("1", caller="a", listener=lambda run, change: None)

    assert session.executions.find(execution.ref).listeners == []
    await session.close()


async def test_many_runs_of_many_cells_keep_the_latest_outputs_and_all_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_KEPT", 5)
    monkeypatch.setattr(batches, "_OUTPUTS", 250)
    session = NotebookSession(MemoryStore(), ScriptedKernel({"1": [printed("x" * 100)]}))
    await session.open()
    cell = session.insert("code", "1", caller="a")

    runs = []
    for number in range(12):
        batch = session.batches.begin(
            [cell.id], caller="a", key=f"k{number}", listener=lambda run, change: None, progress=lambda state: None
        )
        await batch.wait(30)
        runs.append(batch)

    assert len(session.batches._kept) == len(session.batches._keys) == 5
    held = [sum(len(each.execution.outputs) for each in run.state.outcomes if each.execution) for run in runs]
    assert held[-1] == 1
    assert sum(held) <= 3
    assert {run.state.status for run in runs} == {"ok"}
    assert not [run for run in runs if run._listener or run._progress]
    await session.close()


def test_displays_with_very_many_ids_are_forgotten_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(displays, "_KEPT", 3)
    document = a_document("a")
    known = EarlierDisplays(document)

    for number in range(6):
        shown: Any = SimpleNamespace(cell_id="a", outputs=SimpleNamespace(displays={f"d{number}": [0]}))
        known.learn(shown)
    for number in (0, 5):
        known.take(iopub("update_display_data", data={}, metadata={}, transient={"display_id": f"d{number}"}))

    assert list(known._places) == ["d3", "d4", "d5"]
    assert set(known._waiting) == {"a"}


def test_what_is_known_of_a_source_is_not_larger_with_its_length() -> None:
    short, long = names_of("a = 1"), names_of(f"a = {'x' * 5_000!r}")

    broken = names_of("a = (" * 5_000)

    assert len(short.code) == len(long.code) == len(broken.code)
    assert len({short.code, long.code, broken.code}) == 3


async def test_what_runs_hold_is_counted_only_when_it_may_be_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executions, "_OUTPUTS", 1_000)
    session = NotebookSession(MemoryStore(), ScriptedKernel({"1": [printed("x" * 100)]}))
    await session.open()
    counted: list[int] = []
    count = session.executions._forget_outputs
    monkeypatch.setattr(session.executions, "_forget_outputs", lambda: counted.append(len(counted)) or count())

    runs = [await session.run_code("1") for _ in range(5)]
    early = list(counted)
    runs += [await session.run_code("1") for _ in range(30)]

    kept = [run for run in runs if session.executions.find(run.ref).outputs.size]
    assert early == []
    assert counted
    assert kept == runs[-len(kept) :]
    assert 5 <= len(kept) <= 10
    await session.close()


# -- kernels ---------------------------------------------------------------------------------------------------------


def test_the_earlier_processes_of_a_kernel_are_known_as_long_as_they_may_be_heard() -> None:
    talk = Conversation(lambda replaced: None)

    for number in range(1_000):
        talk.identity = f"process-{number}"
        talk.forget_process()

    assert list(talk._former) == [f"process-{number}" for number in range(900, 1_000)]


class Scripted:
    """Kernels of one spec, without processes."""

    async def kernel(self, location: str, choice: str) -> ScriptedKernel:
        return ScriptedKernel()

    async def specs(self) -> dict[str, str]:
        return {"python3": "Python 3"}

    async def close(self) -> None:
        return None


async def test_kernels_that_were_chosen_for_very_many_notebooks_are_forgotten_oldest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "_KEPT", 3)
    kernels = Workspace(Backend(LocalDocuments(root=tmp_path), Scripted()))

    for number in range(5):
        await kernels.open(f"n{number}.ipynb", kernel="python3", create=True)
    await kernels.close()

    assert list(kernels._kernels) == ["n2.ipynb", "n3.ipynb", "n4.ipynb"]
