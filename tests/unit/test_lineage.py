"""A copy that was made without our last changes gets them, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pycrdt import Doc, Text, TextEvent

from langchain_jupyter.documents.lineage import Lineage


class Follower:
    """A text of pycrdt, followed from its beginning."""

    def __init__(self, text: str) -> None:
        self.lineage = Lineage.of(text)
        self._ours = False
        doc: Doc[Any] = Doc()
        self._text = doc["text"] = Text(text)
        self._subscription = self._text.observe(self._follow)

    def _follow(self, event: TextEvent) -> None:
        delta: Sequence[Mapping[str, Any]] = event.delta  # type: ignore[attr-defined]
        self.lineage.change(delta, ours=self._ours)

    def change(self, start: int, end: int, text: str, *, ours: bool) -> None:
        """In characters."""
        self._ours, whole = ours, str(self._text)
        first, last = (len(whole[:at].encode()) for at in (start, end))
        with self._text.doc.transaction():
            del self._text[first:last]
            self._text.insert(first, text)
        assert str(self.lineage) == str(self._text)


def adopted(lineage: Lineage, copy: str) -> tuple[str, bool]:
    """The copy with what is to be done to it, and whether that is certain."""
    adoption = lineage.adopt(copy)
    assert adoption is not None
    text = copy.encode()
    for start, end, new in adoption.edits:
        text = text[:start] + new.encode() + text[end:]
    assert text.decode() == str(lineage)
    return text.decode(), adoption.certain


def test_a_copy_from_before_our_edit_gets_it() -> None:
    followed = Follower("x = 1\n")
    followed.change(4, 5, "2", ours=True)

    assert adopted(followed.lineage, "x = 1\n") == ("x = 2\n", True)


def test_a_copy_that_has_our_edit_is_left_as_it_is() -> None:
    followed = Follower("x = 1\n")
    followed.change(4, 5, "2", ours=True)
    followed.change(6, 6, "y = 3\n", ours=True)

    assert followed.lineage.adopt("x = 2\ny = 3\n") == ([], True, True)


def test_a_copy_with_the_first_of_our_edits_gets_the_others() -> None:
    followed = Follower("")
    for line in ("one\n", "two\n", "three\n"):
        followed.change(0, 0, line, ours=True)

    assert adopted(followed.lineage, "one\n") == ("three\ntwo\none\n", True)


def test_what_its_maker_had_not_seen_of_another_is_gone_from_a_copy_and_ours_beside_it_is_not() -> None:
    followed = Follower("begin\nend\n")
    followed.change(6, 6, "theirs\n", ours=False)
    followed.change(13, 13, "ours\n", ours=True)

    assert adopted(followed.lineage, "begin\nend\n") == ("begin\nours\nend\n", True)


def test_what_another_had_taken_out_unseen_is_back_with_a_copy_and_what_we_took_out_is_not() -> None:
    followed = Follower("a\nb\nc\n")
    followed.change(0, 2, "", ours=False)
    followed.change(0, 2, "", ours=True)

    assert adopted(followed.lineage, "a\nb\nc\n") == ("a\nc\n", True)


def test_what_both_took_out_does_not_come_back() -> None:
    followed = Follower("a\nb\nc\n")
    followed.change(0, 2, "", ours=True)
    followed.change(0, 2, "new\n", ours=True)

    assert adopted(followed.lineage, "c\n") == ("new\nc\n", True)


def test_characters_of_several_bytes_stay_whole() -> None:
    followed = Follower("größe = 1 # 😀\n")
    followed.change(8, 9, "π", ours=True)
    followed.change(0, 0, "# é\n", ours=True)

    assert adopted(followed.lineage, "größe = 1 # 😀\n") == ("# é\ngröße = π # 😀\n", True)


def test_an_edit_survives_a_second_copy_that_was_made_of_the_first_text() -> None:
    followed = Follower("x\n")
    followed.change(2, 2, "ours\n", ours=True)
    adopted(followed.lineage, "x\n")

    assert adopted(followed.lineage, "x\n") == ("x\nours\n", True)


def test_a_copy_with_what_nobody_told_us_of_is_pieced_together_and_said_to_be() -> None:
    followed = Follower("def f():\n    return 1\n")
    followed.change(20, 21, "2", ours=True)

    assert adopted(followed.lineage, "# mine\ndef f():\n    return 1\n") == ("# mine\ndef f():\n    return 2\n", False)


@pytest.mark.parametrize("ours", [True, False])
def test_long_typing_is_not_remembered_for_ever(ours: bool) -> None:
    followed = Follower("start ")
    for _ in range(1_500):
        followed.change(0, 1, "x", ours=ours)

    assert len(followed.lineage) < 1_200
    assert str(followed.lineage) == "xtart "
    assert followed.lineage.adopt("xtart ") == ([], True, True)
