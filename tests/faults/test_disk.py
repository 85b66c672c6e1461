"""A disk that is full or may not be written, and files that others write: no accepted edit is lost."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from langchain_jupyter.documents import whole
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.errors import DocumentConflict, DocumentError, NotKept
from tests.faulttable import Fault

Faults = Callable[[str, str], Fault]


def write(path: Path, **sources: str) -> None:
    cells = [new_code_cell(source, id=cell_id) for cell_id, source in sources.items()]
    nbformat.write(new_notebook(cells=cells), path)  # type: ignore[no-untyped-call]


def sources(path: Path) -> dict[str, str]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return {cell["id"]: cell["source"] for cell in notebook.cells}


class Disk:
    """A file system of 64 kB, that is filled by a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with suppress(OSError), open(self._ballast, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def forbid(self) -> None:
        """Let nobody write in the folder."""
        subprocess.run(["mount", "-o", "remount,ro", self.folder], check=True)


class Limits(Disk):
    """For those who may not mount one: no file may grow, and the folder is closed by its permissions."""

    _usual = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, self._usual[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._usual)

    def forbid(self) -> None:
        if os.geteuid() == 0:
            pytest.skip("this root may not mount a file system, and permissions do not bind it")
        self.folder.chmod(0o555)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk that can be full: a file system of its own for root, limits for everybody else."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    disk = Disk(folder) if mounted else Limits(folder)
    yield disk
    if mounted:
        subprocess.run(["umount", "-l", folder], check=True)
    else:
        disk.free()
        folder.chmod(0o755)


async def test_in_a_read_only_folder_an_edit_is_refused(disk: Disk, faults: Faults) -> None:
    path = disk.folder / "a.ipynb"
    write(path, one="1")
    disk.forbid()
    fault = faults("our folder is read-only", "file")
    store = FileStore(path)
    document = await store.open()

    with pytest.raises(NotKept):
        document.set_source("one", "new")
    fault.told("NotKept")

    assert document.source("one") == "1"
    await store.close()
    assert sources(path) == {"one": "1"}


async def test_on_a_full_disk_an_edit_is_refused_and_later_works(disk: Disk, faults: Faults) -> None:
    path = disk.folder / "a.ipynb"
    write(path, one="1")
    before = path.read_bytes()
    store = FileStore(path)
    document = await store.open()
    disk.fill()
    fault = faults("our disk is full", "file, at an edit")

    with pytest.raises(NotKept):
        document.set_source("one", "new")
    fault.told("NotKept")

    assert document.source("one") == "1"
    assert path.read_bytes() == before
    disk.free()
    document.set_source("one", "later")
    await store.close()
    assert sources(path) == {"one": "later"}
    assert os.listdir(disk.folder) == ["a.ipynb"]


async def test_a_disk_that_fills_between_an_edit_and_the_save_costs_neither(
    disk: Disk, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "_SAVE_AFTER", 60)
    path = disk.folder / "a.ipynb"
    write(path, one="1")
    before = path.read_bytes()
    store = FileStore(path)
    document = await store.open()
    document.set_source("one", "accepted")
    disk.fill()
    fault = faults("our disk is full", "file, at a save")

    with pytest.raises(DocumentError, match="cannot be saved"):
        await store.save()
    fault.told("DocumentError")

    assert (path.read_bytes(), document.source("one"), store.saved) == (before, "accepted", False)
    disk.free()
    await store.close()
    assert sources(path) == {"one": "accepted"}
    assert os.listdir(disk.folder) == ["a.ipynb"]


async def test_a_process_that_dies_with_the_disk_full_loses_no_accepted_edit(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "_SAVE_AFTER", 60)
    path = disk.folder / "a.ipynb"
    write(path, one="1")
    store = FileStore(path)
    document = await store.open()
    document.set_source("one", "accepted")
    disk.fill()
    with pytest.raises(DocumentError):
        await store.close()
    disk.free()

    again = FileStore(path)
    document = await again.open()
    await again.close()

    assert sources(path) == {"one": "accepted"}


async def test_what_another_program_changed_stands_and_ours_is_beside_it(tmp_path: Path, faults: Faults) -> None:
    path = tmp_path / "a.ipynb"
    write(path, one="1", two="2")
    store = FileStore(path)
    document = await store.open()
    document.set_source("one", "ours")
    document.set_source("two", "ours too")
    write(path, one="theirs", two="2")
    fault = faults("another program changes the same cell", "file")

    with pytest.raises(DocumentConflict) as caught:
        await store.save()
    fault.told("DocumentConflict")
    await store.close()

    assert sources(path) == {"one": "theirs", "two": "ours too"}
    assert sources(Path(caught.value.copy))["one"] == "ours"
