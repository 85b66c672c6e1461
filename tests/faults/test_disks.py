"""Our own disk, and other programs that write on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from langchain_jupyter.documents import whole
from langchain_jupyter.errors import DocumentError
from tests.disks import Disk, disk
from tests.faulttable import injects
from tests.servers import Child
from tests.trials import Ground, GroundOf, Trial

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """A disk of ours: for notebooks that are files, and for the journals of those that are not."""
    with disk(tmp_path_factory.mktemp("ours") / "disk", kilobytes=1024) as ours:
        yield ours


@pytest.fixture(scope="module")
def ground(ours: Disk, bare: tuple[Child, Path]) -> GroundOf:
    """Files on our disk; a server, with notebooks on its own."""
    server, root = bare

    @asynccontextmanager
    async def at(place: str) -> AsyncIterator[Ground]:
        folder = root if place.startswith("contents") else ours.folder
        yield Ground(folder, server.settings if "remote" in place else None)

    return at


@pytest.fixture(autouse=True)
def unhurried(ours: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is saved until a trial wants it, and journals are on our disk."""
    monkeypatch.setenv("XDG_STATE_HOME", str(ours.folder / "state"))
    monkeypatch.setattr(whole, "_SAVE_AFTER", 300)


@injects("our disk is full")
async def test_on_a_full_disk_an_edit_is_refused(trial: Trial, ours: Disk) -> None:
    async with trial as bench:
        await bench.save()
        before = bench.file.read_bytes()
        ours.fill()
        try:
            trial.begins()
            refused = await bench.change("x" * 100_000)
            trial.told("NotKept", refused)
            assert bench.file.read_bytes() == before
        finally:
            ours.free()


@injects("our disk is full", at="file")
async def test_a_disk_that_fills_between_an_edit_and_the_save_costs_neither(trial: Trial, ours: Disk) -> None:
    async with trial as bench:
        await bench.save()
        before = bench.file.read_bytes()
        await bench.change("'accepted'")
        ours.fill()
        try:
            trial.begins()
            with pytest.raises(DocumentError, match="cannot be saved") as caught:
                await bench.save()
            trial.told("DocumentError", caught.value)
            assert bench.file.read_bytes() == before
        finally:
            ours.free()


@injects("our folder is read-only")
async def test_in_a_read_only_folder_an_edit_is_refused(trial: Trial, ours: Disk) -> None:
    async with trial as bench:
        await bench.toolkit.aclose()
        ours.forbid()
        try:
            trial.begins()
            refused = await bench.add("in a read-only folder")
            trial.told("NotKept", refused)
        finally:
            ours.permit()


@injects("another program changes the same cell")
async def test_what_another_program_changed_stands_and_ours_is_beside_it(trial: Trial) -> None:
    async with trial as bench:
        await bench.save()
        await bench.change("'ours'")
        await bench.add("ours, in another cell")
        bench.others_write("'theirs'")
        trial.begins()
        answer = await bench.call("get_notebook_info")
        trial.told("ChangedOnDisk", answer)

        assert "'ours'" in bench.set_aside
