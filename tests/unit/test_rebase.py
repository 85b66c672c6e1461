"""Our edits come back onto any state that a notebook has had, however many of them it has already."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pycrdt import Doc

from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.documents.rebase import EditKeeper, rebase
from langchain_jupyter.documents.text import replayed
from tests.search import examples

Cells: TypeAlias = Sequence[Mapping[str, Any]]
State: TypeAlias = tuple[int, Cells]
"""How many edits the journal had, and how the cells stood."""

# what one of them has of another stands elsewhere in it as well, and does not tell whether an edit is there
SOURCES = (
    *("'after: the server is killed'", "'before: the token is revoked'", "'after: the folder is read-only'"),
    *("x = 1\ny = 2\n", "x = 1\nz = 3\ny = 2\n", "", "a", "b", "aXb"),
)

verbs = st.sampled_from(["source", "source", "source", "insert", "delete", "move", "outputs", "metadata"])
our_steps = st.lists(st.tuples(verbs, st.integers(0, 5), st.integers(0, 8)), min_size=1, max_size=8)


def document_of(cells: Cells) -> NotebookDocument:
    document = NotebookDocument(Doc())
    document.load(cells, {})
    return document


def cells_of(document: NotebookDocument) -> Cells:
    snapshots = [document.snapshot(cell_id) for cell_id in document.ids]
    return [{key: value for key, value in raw.items() if key != "execution_state"} for raw in snapshots]


def code(cell_id: str, source: str) -> dict[str, Any]:
    return NotebookDocument(Doc()).new_cell("code", source, cell_id)


def edit(document: NotebookDocument, step: tuple[str, int, int]) -> None:
    verb, which, what = step
    ids = list(document.ids)
    cell_id = ids[which % len(ids)] if ids else ""
    places = [(left, right) for left, right in zip([None, *ids], [*ids, None], strict=True) if cell_id != right]
    if verb == "insert" or not ids:
        document.insert(document.new_cell("code", SOURCES[what]), place=places[which % len(places)])
    elif verb == "source":
        document.set_source(cell_id, SOURCES[what])
    elif verb == "delete":
        document.delete(cell_id)
    elif verb == "move":
        document.move(cell_id, place=places[what % len(places)])
    elif verb == "outputs":
        document.set_outputs(cell_id, [{"output_type": "stream", "name": "stdout", "text": str(what)}], what)
    else:
        document.set_metadata(cell_id, "key", what % 3 or None)


@settings(max_examples=examples(60))
@given(our_steps)
def test_whatever_earlier_state_the_file_is_and_however_little_of_it_is_known_all_edits_come_back(
    steps: list[tuple[str, int, int]],
) -> None:
    document = document_of([code("one", SOURCES[0]), code("two", SOURCES[3])])
    states: list[State] = [(0, cells_of(document))]
    for step in steps:
        edit(document, step)
        states.append((len(document.journal), cells_of(document)))
    [*_, (_, final)] = states

    for has, (_, file) in enumerate(states):
        for known in range(has + 1):
            restored = document_of(file)
            clashing = rebase(restored, document.journal.since(states[known][0]), {raw["id"]: raw for raw in final})

            assert cells_of(restored) == final
            assert clashing == []


TEXT = "alpha\nbeta\ngamma\n"
in_one_cell = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["put in", "put in", "line", "take out", "all"]), st.integers(0, 40)),
    min_size=1,
    max_size=7,
)


@settings(max_examples=examples(40))
@given(in_one_cell)
@example([(False, "put in", 0), (True, "take out", 1), (True, "put in", 0)])  # half a mark of theirs, which may go
def test_amid_edits_of_others_ours_come_back_once_or_it_is_told(steps: list[tuple[bool, str, int]]) -> None:
    *_, states = played(steps)
    for has, (_, file) in enumerate(states):
        for known, _ in states[: has + 1]:
            document, keeper, _ = played(steps)
            final, before = document.source("cell"), {"cell": dict(document.snapshot("cell"))}
            document.continue_in(document_of(file).ydoc)
            clashing = keeper.carry_over(document.journal.since(known), before)
            ours = Counter(re.findall(r"O\d", document.source("cell")))

            assert clashing or set(ours) >= set(re.findall(r"O\d", final))
            assert clashing or max(ours.values(), default=1) == 1


def played(steps: Sequence[tuple[bool, str, int]]) -> tuple[NotebookDocument, EditKeeper, list[State]]:
    """A cell that we and others have edited: others put in, we do all that can be done."""
    document = document_of([code("cell", TEXT)])
    keeper = EditKeeper(document)
    states: list[State] = [(0, cells_of(document))]
    for number, (ours, kind, at) in enumerate(steps):
        source = edited(document.source("cell"), f"{'O' if ours else 'T'}{number}", kind if ours else "put in", at)
        if ours:
            document.set_source("cell", source)
        else:
            keeper.brace()
            with document.unrecorded():
                document.set_source("cell", source)
            keeper.mend()
        states.append((len(document.journal), cells_of(document)))
    return document, keeper, states


def edited(text: str, token: str, kind: str, at: int) -> str:
    at %= len(text) + 1
    if kind == "put in":
        return f"{text[:at]}⟨{token}⟩{text[at:]}"
    if kind == "line":
        lines = text.splitlines(keepends=True)
        lines.insert(at % (len(lines) + 1), f"⟨{token}⟩\n")
        return "".join(lines)
    if kind == "take out":
        return text[:at] + text[at + 3 :]
    return f"all ⟨{token}⟩ anew\nbeta\n"


@pytest.mark.parametrize(
    ("was", "ours"),
    [
        ("'after: one'", "'before: two'"),  # the letter that goes stands elsewhere, too
        ("x = 1\nx = 2\n", "x = 2\n"),
        ("aa", "a"),
        ("", "a"),
        ("a", ""),
    ],
)
def test_an_edit_that_a_text_has_lost_comes_back(was: str, ours: str) -> None:
    assert replayed([(was, ours)], ours, was) == ours


def test_what_another_took_out_on_purpose_does_not_come_back() -> None:
    assert replayed([("a\n", "a\nours\n")], "a\n\ntheirs\n", "a\ntheirs\n") == "a\ntheirs\n"


def test_what_another_changed_within_ours_does_not_make_ours_go() -> None:
    assert replayed([("a\n", "a\nours is long\n")], "a\nours was long\n", "a\n") == "a\nours is long\n"


def test_a_cell_that_we_put_in_and_took_out_goes_from_a_file_that_has_it() -> None:
    document = document_of([code("one", "1")])
    document.insert(code("two", "2"))
    file = cells_of(document)
    document.delete("two")

    assert rebase(restored := document_of(file), document.journal.since(0), {"one": document.snapshot("one")}) == []
    assert list(restored.ids) == ["one"]


def test_where_others_have_put_something_else_theirs_stands_and_is_told() -> None:
    document = document_of([code("one", "'first'")])
    document.set_source("one", "'ours'")

    restored = document_of([code("one", "'theirs'")])
    assert rebase(restored, document.journal.since(0), {"one": document.snapshot("one")}) == ["one"]
    assert restored.source("one") == "'theirs'"


def test_a_cell_between_the_same_cells_is_not_taken_out_and_put_in_again() -> None:
    document = document_of([code(name, name) for name in ("one", "two", "three")])
    document.move("three", place=("one", "two"))
    restored = document_of(cells_of(document))
    order = restored.order

    rebase(restored, document.journal.since(0), {name: document.snapshot(name) for name in document.ids})
    assert restored.order == order
