"""A disk of ours that is full: nothing is left beside the file, and no accepted edit is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from langchain_jupyter.documents import whole
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.errors import DocumentError, NotKept
from tests.disks import Disk, disk


def write(path: Path, **sources: str) -> None:
    cells = [new_code_cell(source, id=cell_id) for cell_id, source in sources.items()]
    nbformat.write(new_notebook(cells=cells), path)  # type: ignore[no-untyped-call]


def sources(path: Path) -> dict[str, str]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return {cell["id"]: cell["source"] for cell in notebook.cells}


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Disk]:
    """A disk that can be full."""
    with disk(tmp_path / "disk", kilobytes=64) as full:
        yield full


async def test_on_a_full_disk_an_edit_is_refused_and_later_works(full: Disk) -> None:
    path = full.folder / "a.ipynb"
    write(path, one="1")
    before = path.read_bytes()
    store = FileStore(path)
    document = await store.open()
    full.fill()

    with pytest.raises(NotKept):
        document.set_source("one", "new")

    assert document.source("one") == "1"
    assert path.read_bytes() == before
    full.free()
    document.set_source("one", "later")
    await store.close()
    assert sources(path) == {"one": "later"}
    assert os.listdir(full.folder) == ["a.ipynb"]


async def test_a_process_that_dies_with_the_disk_full_loses_no_accepted_edit(
    full: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "_SAVE_AFTER", 60)
    path = full.folder / "a.ipynb"
    write(path, one="1")
    store = FileStore(path)
    document = await store.open()
    document.set_source("one", "accepted")
    full.fill()
    with pytest.raises(DocumentError):
        await store.close()
    full.free()

    again = FileStore(path)
    document = await again.open()
    await again.close()

    assert sources(path) == {"one": "accepted"}
