"""An .ipynb file: saved atomically, merged with what others write, nothing overwritten silently."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from langchain_jupyter.documents import whole
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.errors import DocumentConflict, DocumentError
from langchain_jupyter.outputs import Outputs


def code(cell_id: str, source: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": cell_id,
        "metadata": {},
        "outputs": [],
        "source": source,
    }


def write(path: Path, *cells: dict[str, Any]) -> None:
    value = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def sources(path: Path) -> dict[str, str]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return {cell["id"]: cell["source"] for cell in notebook.cells}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.ipynb"
    write(path, code("one", "1"), code("two", "2"), code("three", "3"))
    return path


async def printed(store: FileStore, document: NotebookDocument, *, saved_amid: bool) -> None:
    """A run of the first cell, whose file is written when half of its outputs are there."""
    outputs = Outputs()
    before = document.snapshot("one")
    document.begin_run("one")
    for text in ("half\n", "whole\n"):
        outputs.feed("stream", {"name": "stdout", "text": text})
        change = outputs.take()
        assert change is not None
        document.write_outputs("one", change)
        if saved_amid and text == "half\n":
            await store.save()
    document.end_run("one", 7, before)


@pytest.mark.parametrize("then", ["nothing", "deleted"])
@pytest.mark.parametrize("saved_amid", [True, False])
async def test_what_a_run_put_out_is_there_after_a_crash_whenever_the_file_was_written(
    path: Path, tmp_path: Path, saved_amid: bool, then: str
) -> None:
    store = FileStore(path)
    document = await store.open()
    await printed(store, document, saved_amid=saved_amid)
    if then == "deleted":
        document.delete("one")
    left = tmp_path / "left"  # as it is found when this process dies now
    shutil.copytree(path.parent, left, ignore=shutil.ignore_patterns("left"))

    again = FileStore(left / path.name)
    found = await again.open()
    await again.refresh()

    assert ("half" in path.read_text()) is saved_amid
    if then == "nothing":
        assert [output["text"] for output in found.snapshot("one")["outputs"]] == ["half\nwhole\n"]
        assert found.snapshot("one")["execution_count"] == 7
    else:
        assert list(found.ids) == ["two", "three"]
    await again.close()
    await store.close()


async def test_opening_never_writes(path: Path) -> None:
    before, stamp = path.read_bytes(), os.stat(path)

    store = FileStore(path)
    await store.open()
    await store.close()

    assert path.read_bytes() == before
    assert os.stat(path) == stamp or os.stat(path).st_mtime_ns == stamp.st_mtime_ns
    assert os.listdir(path.parent) == ["a.ipynb"]


async def test_an_edit_is_in_the_journal_at_once_and_in_the_file_within_a_second(path: Path) -> None:
    store = FileStore(path)
    document = await store.open()

    document.set_source("one", "new")
    kept = (path.parent / ".a.ipynb.journal").read_text()
    async with asyncio.timeout(30):  # a busy disk has its own time
        while not store.saved:
            await asyncio.sleep(0.01)

    assert '"new"' in kept
    assert sources(path)["one"] == "new"
    assert os.listdir(path.parent) == ["a.ipynb"]
    await store.close()


async def test_permissions_are_kept_and_links_written_through(path: Path) -> None:
    path.chmod(0o640)
    link = path.with_name("link.ipynb")
    link.symlink_to(path)
    store = FileStore(link)
    document = await store.open()

    document.set_source("one", "new")
    await store.close()

    assert link.is_symlink()
    assert sources(path)["one"] == "new"
    assert path.stat().st_mode & 0o777 == 0o640


async def test_changes_that_do_not_clash_are_merged(path: Path) -> None:
    store = FileStore(path)
    document = await store.open()
    document.set_source("one", "ours")
    theirs = code("one", "1") | {"outputs": [{"output_type": "stream", "name": "stdout", "text": "theirs"}]}

    write(path, code("three", "3"), theirs, code("new", "inserted"))
    await store.close()

    assert list(document.ids) == ["three", "one", "new"]
    assert sources(path) == {"three": "3", "one": "ours", "new": "inserted"}
    assert document.snapshot("one")["outputs"][0]["text"] == "theirs"


async def test_what_others_wrote_is_not_written_again(path: Path) -> None:
    store = FileStore(path)
    document = await store.open()
    write(path, code("one", "theirs"), code("two", "2"), code("three", "3"))
    stamp = path.stat().st_mtime_ns

    await store.refresh()

    assert document.source("one") == "theirs"
    assert store.saved
    await store.close()
    assert path.stat().st_mtime_ns == stamp


async def test_a_clash_is_told_once_and_both_versions_are_kept(path: Path) -> None:
    store = FileStore(path)
    document = await store.open()
    document.set_source("one", "ours")
    document.set_source("two", "ours too")
    write(path, code("one", "theirs"), code("two", "2"), code("three", "3"))

    with pytest.raises(DocumentConflict) as caught:
        await store.save()
    await store.save()
    await store.refresh()

    assert caught.value.cells == ("one",)
    assert sources(path) == {"one": "theirs", "two": "ours too", "three": "3"}
    assert sources(Path(caught.value.copy))["one"] == "ours"
    await store.close()


async def test_a_file_made_by_others_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    store = FileStore(path)
    document = await store.open()
    document.insert(code("ours", "ours"))
    write(path, code("theirs", "theirs"))

    await store.close()

    assert sources(path) == {"theirs": "theirs", "ours": "ours"}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is half-written is waited for longer than this machine may need."""
    monkeypatch.setattr(whole, "_HALF_WRITTEN", 60.0)


@pytest.mark.parametrize("so_far", [0, 50])
@pytest.mark.usefixtures("patient")
async def test_a_file_that_is_half_written_is_waited_for(path: Path, so_far: int) -> None:
    store = FileStore(path)
    document = await store.open()
    write(path, code("one", "theirs"), code("two", "2"), code("three", "3"))
    written = path.read_bytes()
    path.write_bytes(written[:so_far])

    refreshing = asyncio.create_task(store.refresh())
    await asyncio.sleep(0.15)
    path.write_bytes(written)
    await refreshing

    assert document.source("one") == "theirs"
    await store.close()


@pytest.mark.parametrize("so_far", [0, 50])
@pytest.mark.usefixtures("patient")
async def test_a_file_that_is_half_written_when_it_is_opened_is_waited_for(path: Path, so_far: int) -> None:
    written = path.read_bytes()
    path.write_bytes(written[:so_far])
    store = FileStore(path)

    opening = asyncio.create_task(store.open())
    await asyncio.sleep(0.15)
    path.write_bytes(written)
    document = await opening
    await store.close()

    assert document.source("one") == "1"
    assert path.read_bytes() == written


async def test_a_file_that_is_removed_while_it_is_half_written_is_saved_again(path: Path, patient: None) -> None:
    store = FileStore(path)
    document = await store.open()
    document.set_source("one", "ours")
    path.write_bytes(b"")

    saving = asyncio.create_task(store.save())
    await asyncio.sleep(0.15)
    path.unlink()
    await saving
    await store.close()

    assert sources(path) == {"one": "ours", "two": "2", "three": "3"}


async def test_a_vanished_file_is_saved_again_with_the_next_edit(path: Path) -> None:
    store = FileStore(path)
    document = await store.open()
    path.unlink()

    document.set_source("one", "new")
    await store.close()

    assert sources(path) == {"one": "new", "two": "2", "three": "3"}


@pytest.mark.parametrize("text", ["{", "[]", "", "\ufeff", '{"nbformat": 4}'])
async def test_what_is_not_a_notebook_is_refused_and_left(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "_HALF_WRITTEN", 0.0)
    path = tmp_path / "a.ipynb"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(DocumentError, match="cannot be opened"):
        await FileStore(path).open()

    assert path.read_text(encoding="utf-8") == text


async def test_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="is a folder"):
        await FileStore(tmp_path).open()
    with pytest.raises(DocumentError, match="There is no folder"):
        await FileStore(tmp_path / "gone" / "a.ipynb").open()


async def test_a_read_only_file_keeps_its_content_and_the_edit_its_journal(path: Path) -> None:
    before = path.read_bytes()
    path.chmod(0o444)
    store = FileStore(path)
    document = await store.open()
    document.set_source("one", "new")

    with pytest.raises(DocumentError, match="read-only"):
        await store.close()

    assert path.read_bytes() == before
    path.chmod(0o644)
    again = FileStore(path)
    document = await again.open()
    assert document.source("one") == "new"
    await again.close()
    assert sources(path)["one"] == "new"


def running(text: str) -> list[dict[str, Any]]:
    return [{"output_type": "stream", "name": "stdout", "text": text}]


async def conflicting(path: Path, ours: Any, *theirs: dict[str, Any]) -> tuple[DocumentConflict, FileStore]:
    """The conflict of a change of ours with what others have written."""
    store = FileStore(path)
    ours(await store.open())
    write(path, *theirs)
    with pytest.raises(DocumentConflict) as caught:
        await store.save()
    return caught.value, store


async def test_their_deletion_stands_against_our_edit_which_is_kept_beside(path: Path) -> None:
    conflict, store = await conflicting(
        path, lambda d: d.set_source("one", "ours"), code("two", "2"), code("three", "3")
    )
    await store.close()

    assert conflict.cells == ("one",)
    assert sources(path) == {"two": "2", "three": "3"}
    assert sources(Path(conflict.copy))["one"] == "ours"


async def test_their_edit_stands_against_our_deletion(path: Path) -> None:
    conflict, store = await conflicting(
        path, lambda d: d.delete("one"), code("one", "theirs"), code("two", "2"), code("three", "3")
    )
    await store.close()

    assert conflict.cells == ("one",)
    assert sources(path) == {"one": "theirs", "two": "2", "three": "3"}


async def test_outputs_that_both_have_written_clash(path: Path) -> None:
    theirs = code("one", "1") | {"outputs": running("theirs"), "execution_count": 5}
    conflict, store = await conflicting(
        path, lambda d: d.set_outputs("one", running("ours"), 4), theirs, code("two", "2"), code("three", "3")
    )
    await store.close()

    cell, copy = (nbformat.read(file, as_version=4).cells[0] for file in (path, conflict.copy))
    assert conflict.cells == ("one",)
    assert (cell.outputs[0].text, cell.execution_count) == ("theirs", 5)
    assert (copy.outputs[0].text, copy.execution_count) == ("ours", 4)


async def test_metadata_that_both_have_written_clash(path: Path) -> None:
    theirs = code("one", "1") | {"metadata": {"mark": "theirs"}}
    conflict, store = await conflicting(
        path, lambda d: d.set_metadata("one", "mark", "ours"), theirs, code("two", "2"), code("three", "3")
    )
    await store.close()

    assert conflict.cells == ("one",)
    assert nbformat.read(path, as_version=4).cells[0].metadata == {"mark": "theirs"}
    assert nbformat.read(conflict.copy, as_version=4).cells[0].metadata == {"mark": "ours"}


async def test_the_same_metadata_from_both_is_no_clash(path: Path) -> None:
    store = FileStore(path)
    document = await store.open()
    document.set_metadata("one", "mark", "same")
    write(path, code("one", "1") | {"metadata": {"mark": "same"}}, code("two", "2"), code("three", "3"))

    await store.close()

    assert nbformat.read(path, as_version=4).cells[0].metadata == {"mark": "same"}


async def test_metadata_of_a_cell_survive_a_kill(path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(whole, "_SAVE_AFTER", 60)
    store = FileStore(path)
    document = await store.open()
    document.set_metadata("one", "mark", {"a": [1]})
    document.set_metadata("two", "mark", 1)
    document.set_metadata("two", "mark", None)
    store._autosave.cancel()
    store._journal.close()  # as the end of the process does

    again = FileStore(path)
    document = await again.open()
    await again.close()

    assert [document.cell(i).metadata for i in ("one", "two")] == [{"mark": {"a": [1]}}, {}]
    assert nbformat.read(path, as_version=4).cells[0].metadata == {"mark": {"a": [1]}}


async def test_a_second_process_is_refused_while_edits_are_unsaved(path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(whole, "_SAVE_AFTER", 60)
    store = FileStore(path)
    document = await store.open()
    document.set_source("one", "ours")
    script = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom langchain_jupyter.documents.file import FileStore\n"
        "from langchain_jupyter.errors import NotKept\n"
        "async def main():\n"
        "    document = await FileStore(Path(sys.argv[1])).open()\n"
        "    try:\n        document.set_source('two', 'x')\n"
        "    except NotKept as error:\n        print(error, document.source('two'))\n"
        "asyncio.run(main())"
    )

    other = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, path], capture_output=True, text=True, check=True
    )

    assert "Another process is editing a.ipynb" in other.stdout
    await store.close()
    assert sources(path) == {"one": "ours", "two": "2", "three": "3"}
