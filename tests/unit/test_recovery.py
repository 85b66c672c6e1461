"""The journal of a notebook: whenever its process dies, it has what is not in the notebook's file, and no more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_jupyter.documents import recovery
from langchain_jupyter.documents.journal import Edit
from langchain_jupyter.documents.recovery import JournalFile
from tests.search import examples

STEPS = st.lists(st.sampled_from(["edit", "edit", "save", "save and edit", "failed save", "tidy"]), max_size=30)


def an_edit(number: int) -> Edit:
    return Edit("source", "one", f"{number - 1}", f"{number}")


class Life:
    """A process that edits and saves; after each step another could find its journal.

    Attributes:
        digest: Of the file in the notebook's place.
        unsaved: The edits that are acknowledged and not in it.
    """

    def __init__(self, folder: Path) -> None:
        self.journal = JournalFile(folder / "a.ipynb")
        self.journal.start("file 0")
        self.digest = "file 0"
        self.unsaved: list[Edit] = []
        self._made = self._saves = 0

    def take(self, step: str) -> Iterator[None]:
        """Do it, and stop wherever the process could die."""
        if step == "edit":
            self._edit()
        elif step == "tidy":
            self.journal.tidy()
        else:
            yield from self._save(fails=step == "failed save", edits=step == "save and edit")
        yield

    def _edit(self) -> None:
        self._made += 1
        self.journal.append(an_edit(self._made))
        self.unsaved.append(an_edit(self._made))

    def _save(self, *, fails: bool, edits: bool) -> Iterator[None]:
        self._saves += 1
        digest, count = f"file {self._saves}", len(self.journal)
        assert count == len(self.unsaved)
        self.journal.intend(digest, count)
        yield
        if fails:
            return
        if edits:
            self._edit()
            yield
        self.digest, self.unsaved = digest, self.unsaved[count:]
        yield
        if edits:
            self._edit()
            yield
        self.journal.saved(digest, count)


def found(life: Life, folder: Path) -> list[Edit]:
    """What another process finds, once the one that lived is dead: a copy has no lock."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    copy = JournalFile(folder / "a.ipynb")
    if life.journal.path.exists():
        shutil.copy(life.journal.path, copy.path)
    edits, known = copy.recover(life.digest)
    assert known
    assert edits or not copy.path.exists()
    return edits


@pytest.mark.parametrize("large", [0, 400, recovery._LARGE])
def test_wherever_a_process_dies_its_unsaved_edits_are_found_and_no_others(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr(recovery, "_LARGE", large)

    @settings(max_examples=examples(60))
    @given(STEPS)
    def dies_at_each_step(steps: list[str]) -> None:
        folder = tmp_path_factory.mktemp("life")
        life = Life(folder)
        for step in steps:
            for _ in life.take(step):
                assert found(life, folder / "next") == life.unsaved
        life.journal.close()

    dies_at_each_step()


def test_a_journal_whose_last_line_is_torn_has_the_others(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path / "a.ipynb")
    journal.start("file 0")
    for number in (1, 2):
        journal.append(an_edit(number))
    journal.close()
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-5])

    edits, known = journal.recover("file 0")

    assert (edits, known) == ([an_edit(1)], True)


def test_a_save_writes_nothing_again_until_the_journal_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_LARGE", 2_000)
    journal = JournalFile(tmp_path / "a.ipynb")
    journal.start("file 0")
    files, sizes = [], []

    for number in range(1, 61):
        journal.append(an_edit(number))
        journal.intend(f"file {number}", 1)
        journal.append(an_edit(number))
        journal.saved(f"file {number}", len(journal) - 1)
        files.append(journal.path.stat().st_ino)
        sizes.append(journal.path.stat().st_size)

    assert len(set(files[:5])) == 1
    assert len(set(files)) > 1
    assert max(sizes) < 3_000
    assert list(tmp_path.iterdir()) == [journal.path]
    journal.close()


def test_a_journal_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path / "a.ipynb")
    journal.path.write_text(json.dumps({"langchain_jupyter_journal": 3, "base": "file 0"}) + "\n")

    assert journal.recover("file 0") == ([], True)
    assert journal.path.exists()


def test_a_journal_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    living = JournalFile(tmp_path / "a.ipynb")
    living.start("file 0")
    living.append(an_edit(1))
    living.intend("file 1", 1)
    living.saved("file 1", 1)

    assert JournalFile(tmp_path / "a.ipynb").recover("file 1") == ([], True)
    assert living.path.exists()
    living.tidy()
    assert not living.path.exists()


def test_the_journal_holds_any_text_as_utf_8(tmp_path: Path) -> None:
    text = "😀\u2028é\ud800\n" * 1_000
    journal = JournalFile(tmp_path / "a.ipynb")
    journal.start("base")
    journal.append(Edit("source", "one", "", text))
    size = journal.path.stat().st_size
    journal.close()
    edits, known = JournalFile(tmp_path / "a.ipynb").recover("base")

    assert known
    assert [edit.new for edit in edits] == [text]
    assert size < 3 * len(text)
