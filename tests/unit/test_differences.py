"""Differences are difflib's where they can be found in time, and no texts make it slow."""

from __future__ import annotations

import difflib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_jupyter.differences import Matcher, TooDifferent, opcodes, unified
from langchain_jupyter.documents.text import common, merged, replayed, text_edits
from langchain_jupyter.rendering.outline import render_diff
from langchain_jupyter.tools.approval import difference

LINES = st.lists(st.sampled_from(["a", "b", "c", "", "x = 1"]), max_size=12)
SLOW = {
    "letters": ("x" * 800, "y" + "xz" * 800 + "z"),
    "lines": ("x = 1\n" * 1_000, "y\n" + "x = 1\nx = 2\n" * 1_000 + "z\n"),
    "words": ("x " * 2_000, "y " + "x z " * 2_000),
    "few and many lines": ("x\n" * 20_000, "x\ny\n" * 99),
    "a megabyte": ("x\n" * 250_000, "y\nx\n" * 250_000),
}


@given(LINES, LINES, st.integers(0, 3))
def test_they_are_those_of_difflib(old: list[str], new: list[str], context: int) -> None:
    theirs = list(difflib.unified_diff(old, new, n=context, lineterm=""))[2:]

    assert list(unified(old, new, context=context)) == theirs
    assert list(opcodes(old, new)) == difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()


@pytest.mark.parametrize("what", SLOW)
def test_no_texts_make_it_slow(what: str) -> None:
    old, new = SLOW[what]
    started = time.process_time()

    edited = old.encode()
    for edit in text_edits(old, new):
        edited = edited[: edit.start] + edit.text.encode() + edited[edit.end :]
    shared = list(common(old, new))
    merged(old, new, old + "!")
    replayed([(old, new)], new, old)
    render_diff(old, new)
    shown = difference(old, new, "python")

    assert time.process_time() - started < 60  # they took from half a minute to hours
    assert edited.decode() == new
    assert all(old[first] == new[second] for first, second in shared)
    assert "The whole new source" in shown or shown.startswith("```diff")


def test_elements_without_a_pair_take_time_as_well() -> None:
    old, new = ([str(number * each) for number in range(20_000)] for each in (3, 25))

    with pytest.raises(TooDifferent):
        Matcher(old, new).get_matching_blocks()


def test_what_takes_too_long_is_said_each_time() -> None:
    old, new = (text.splitlines() for text in SLOW["lines"])

    for _ in range(2):
        with pytest.raises(TooDifferent):
            Matcher(old, new).get_matching_blocks()
