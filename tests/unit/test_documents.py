"""The document: cells by id, the mirror of ids, handles, the journal, the sink for outputs."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jupyter_ydoc import YNotebook
from pycrdt import Doc, Text

from langchain_jupyter.documents import journal
from langchain_jupyter.documents.journal import Edit
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.documents.text import text_edits
from langchain_jupyter.errors import CellChanged, NotKept
from langchain_jupyter.outputs import Outputs
from tests.search import examples

TEXTS = st.text(alphabet="ab \n🐍e\u0301é中👩\u200d🔬", max_size=30)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "source", "move", "delete", "metadata", "outputs"]),
        st.integers(0, 9),
        st.integers(0, 9),
        TEXTS,
    ),
    max_size=15,
)


def a_document(*cell_ids: str) -> NotebookDocument:
    document = NotebookDocument()
    document.load([document.new_cell("code", f"source of {i}", i) for i in cell_ids], {})
    return document


def content(document: NotebookDocument) -> list[dict[str, Any]]:
    members = ("id", "cell_type", "source", "metadata", "outputs", "execution_count")
    return [{m: document.snapshot(i).get(m) for m in members} for i in document.ids]


def edit(document: NotebookDocument, steps: list[tuple[str, int, int, str]], made: str = "made") -> None:
    for number, (op, at, to, text) in enumerate(steps):
        ids = list(document.ids)
        if op == "insert" or not ids:
            after = ids[at % len(ids)] if ids else None
            document.insert(document.new_cell("code", text, f"{made}-{number}"), place=(after, None))
            continue
        cell_id, other = ids[at % len(ids)], ids[to % len(ids)]
        if op == "source":
            document.set_source(cell_id, text)
        elif op == "move" and other != cell_id:
            document.move(cell_id, place=(other, None))
        elif op == "delete":
            document.delete(cell_id)
        elif op == "metadata":
            document.set_metadata(cell_id, "key", text or None)
        elif op == "outputs":
            document.set_outputs(cell_id, [{"output_type": "stream", "name": "stdout", "text": text}], to)


@given(old=TEXTS, new=TEXTS)
def test_the_edits_of_a_text_give_the_new_text(old: str, new: str) -> None:
    text = Doc().get("text", type=Text)
    text += old

    for start, end, replacement in text_edits(old, new):
        del text[start:end]
        text.insert(start, replacement)

    assert str(text) == new


def test_a_source_is_set_only_where_the_expected_text_stands() -> None:
    document = a_document("aaaa")

    document.set_source("aaaa", "new", expect="source of aaaa")
    with pytest.raises(CellChanged):
        document.set_source("aaaa", "newer", expect="source of aaaa")

    assert document.source("aaaa") == "new"


@pytest.mark.parametrize(
    ("place", "ids"),
    [
        ((None, None), ["one", "two", "new"]),
        ((None, "one"), ["new", "one", "two"]),
        (("one", None), ["one", "new", "two"]),
        (("gone", "two"), ["one", "new", "two"]),
        (("one", "gone"), ["one", "new", "two"]),
        (("gone", None), ["one", "two", "new"]),
        ((None, "gone"), ["new", "one", "two"]),
    ],
)
def test_a_cell_is_inserted_by_its_neighbours(place: journal.Place, ids: list[str]) -> None:
    document = a_document("one", "two")

    document.insert(document.new_cell("markdown", "", "new"), place=place)

    assert document.ids == ids


@pytest.mark.parametrize("cell_id", ["one", "not valid", "", "a" * 65])
def test_an_id_that_is_taken_or_not_valid_is_refused(cell_id: str) -> None:
    document = a_document("one")

    with pytest.raises(ValueError, match="taken or not valid"):
        document.insert({"id": cell_id, "cell_type": "raw", "source": "", "metadata": {}})

    assert document.ids == ["one"]


def test_a_moved_cell_keeps_its_content() -> None:
    document = a_document("one", "two", "three")
    before = content(document)

    document.move("one", place=("three", None))

    assert content(document) == [before[1], before[2], before[0]]


@settings(max_examples=examples(40))
@given(ours=STEPS, theirs=STEPS)
def test_the_mirror_of_ids_follows_a_second_replica(ours: Any, theirs: Any) -> None:
    document = a_document("one", "two", "three")
    replica = Doc()
    YNotebook(replica)
    replica.apply_update(document.ydoc.get_update())
    other = NotebookDocument(replica)

    edit(document, ours, "ours")
    edit(other, theirs, "theirs")
    ours_update, theirs_update = document.ydoc.get_update(), other.ydoc.get_update()
    document.ydoc.apply_update(theirs_update)
    other.ydoc.apply_update(ours_update)

    for side in (document, other):
        assert list(side.ids) == [cell["id"] for cell in side._cells]
    assert content(document) == content(other)


def test_a_handle_is_the_shortest_unique_prefix_from_four() -> None:
    document = a_document("abcdef", "abcdeg", "xyzuvw")

    assert [document.handle(i) for i in document.ids] == ["abcdef", "abcdeg", "xyzu"]


def test_a_handle_is_never_only_digits() -> None:
    assert a_document("12345a78").handle("12345a78") == "12345a"


def test_the_prefix_of_a_deleted_cell_stays_reserved() -> None:
    document = a_document("abcd1", "other")
    document.delete("abcd1")

    document.insert(document.new_cell("code", "", "abcd2"))

    assert document.handle("abcd2") == "abcd2"
    assert document.matching("abcd") == ["abcd1", "abcd2"]


def test_a_snapshot_is_the_same_object_until_the_cell_changes() -> None:
    document = a_document("one", "two")
    one, two = document.snapshot("one"), document.snapshot("two")

    document.set_source("one", "new")

    assert document.snapshot("two") is two
    assert document.snapshot("one") is not one
    assert document.snapshot("one") is document.snapshot("one")


@settings(max_examples=examples(60))
@given(steps=STEPS)
def test_random_edits_are_taken_back(steps: Any) -> None:
    document = a_document("one", "two", "three")
    before = content(document)
    edit(document, steps)

    left = document.journal.revert(document, 0)

    assert left == []
    assert content(document) == before


@settings(max_examples=examples(60))
@given(steps=STEPS)
def test_replaying_the_journal_gives_the_same(steps: Any) -> None:
    document, fresh = a_document("one", "two", "three"), a_document("one", "two", "three")
    edit(document, steps)

    clashing = journal.apply(fresh, [Edit.from_json(e.to_json()) for e in document.journal.since(0)])

    assert clashing == []
    assert content(fresh) == content(document)


def test_applying_twice_changes_nothing_more() -> None:
    document, fresh = a_document("one", "two"), a_document("one", "two")
    edit(document, [("source", 0, 0, "a"), ("insert", 0, 0, "b"), ("move", 0, 2, ""), ("outputs", 0, 1, "c")])
    edits = document.journal.since(0)
    journal.apply(fresh, edits)

    journal.apply(fresh, edits)

    assert content(fresh) == content(document)


def test_an_edit_that_cannot_be_kept_is_not_applied() -> None:
    document = a_document("one")

    def refuse(edit: Edit) -> None:
        raise NotKept("full")

    document.journal.keep = refuse
    before = content(document)

    for verb in (
        lambda: document.set_source("one", "x"),
        lambda: document.delete("one"),
        lambda: document.set_metadata("one", "k", 1),
        lambda: document.set_outputs("one", [], 1),
        lambda: document.insert(document.new_cell("code", "")),
    ):
        with pytest.raises(NotKept):
            verb()

    assert content(document) == before
    assert len(document.journal) == 0


def test_lone_surrogates_are_replaced() -> None:
    document = a_document("one")

    document.set_source("one", "a\ud800b")
    document.insert(document.new_cell("code", "\udfff", "two"))

    assert [document.source(i) for i in document.ids] == ["a\ufffdb", "\ufffd"]


def test_outputs_are_appended_extended_and_rewritten() -> None:
    document, outputs = a_document("one"), Outputs()
    before = document.snapshot("one")
    document.begin_run("one")

    for text in ("a\n", "b", "\rc"):
        outputs.feed("stream", {"name": "stdout", "text": text})
        document.write_outputs("one", outputs.take())  # type: ignore[arg-type]
        assert document.snapshot("one")["outputs"] == outputs.items()
    outputs.feed("display_data", {"data": {"text/plain": "d"}})
    document.write_outputs("one", outputs.take())  # type: ignore[arg-type]
    document.end_run("one", 7, before)

    assert document.snapshot("one")["outputs"] == outputs.items()
    assert document.cell("one").execution_count == 7
    assert [e.op for e in document.journal.since(0)] == ["outputs"]


def test_of_very_many_edits_the_latest_are_kept_and_all_that_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_KEPT", 100)
    document = a_document("one")
    start = len(document.journal)
    for number in range(500):
        document.set_source("one", f"{number}")

    latest = document.journal.since(start + 450)
    document.journal.needed = needed = len(document.journal) - 20
    for number in range(500, 1_000):
        document.set_source("one", f"{number}")

    assert len(document.journal) == start + 1_000
    assert [edit.new for edit in latest] == [f"{number}" for number in range(450, 500)]
    assert document.journal.forgotten(start)
    assert not document.journal.forgotten(needed)
    assert len(document.journal.since(needed)) == 520
