"""Texts that are far larger than what a model gets to see of them: others may have put any size into a notebook."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from langchain_jupyter.analysis import review as analysis_review
from langchain_jupyter.analysis.review import review
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.documents.text import text_edits
from langchain_jupyter.errors import CellChanged
from langchain_jupyter.models import Cell
from langchain_jupyter.redaction import CURRENT, Redactor, kinds_of
from langchain_jupyter.rendering.cells import render_cell
from langchain_jupyter.rendering.fences import LONGEST, ending, printable
from langchain_jupyter.rendering.outline import render_diff
from langchain_jupyter.rendering.references import References
from langchain_jupyter.rendering.render import Rendered
from langchain_jupyter.sessions.sight import Sight
from langchain_jupyter.settings import OutputLimits

KEY = "s3cr3t-Qd7Xz8Yw"
LARGE = "token = 'sk-x' # https://\n" * 1_600_000
MOST = 3_000_000
"""Characters that may be looked through for secrets, which takes most of the time: a tenth of a second each million."""


class Counting(Redactor):
    """Knows how much it was given."""

    def __init__(self) -> None:
        super().__init__({"KEY": KEY})
        self.count = 0

    def redact(self, text: str) -> str:
        self.count += len(text)
        return super().redact(text)


@pytest.fixture(autouse=True)
def redactor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counting]:
    """As in a call of a tool: secrets are looked for in all that is shown."""
    redactor = Counting()

    def counted(text: str) -> list[str]:
        redactor.count += len(text)
        return kinds_of(text)

    monkeypatch.setattr(analysis_review, "kinds_of", counted)
    token = CURRENT.set(redactor)
    yield redactor
    CURRENT.reset(token)


def printed(text: str) -> list[dict[str, object]]:
    return [{"output_type": "stream", "name": "stdout", "text": text}]


def rendered(cell: Cell, references: References) -> Rendered:
    return render_cell(
        cell, handle="a", position=0, total=1, limits=OutputLimits(), references=references, cell_of=lambda n: None
    )


def changed_by_somebody() -> None:
    document, sight = NotebookDocument(), Sight(0)
    document.insert(document.new_cell("code", "x", "aaaa"))
    sight.saw(document.cell("aaaa"))
    document.set_source("aaaa", LARGE)
    with pytest.raises(CellChanged):
        sight.check(document, "aaaa")


@pytest.mark.parametrize(
    "look",
    [
        lambda: rendered(Cell("a", "code", LARGE), References()),
        lambda: rendered(Cell("a", "code", "x", outputs=printed(LARGE)), References()),
        lambda: review([Cell("a", "code", LARGE, 1, printed(LARGE))], {}, python=True, name_of=str),
        lambda: render_diff(LARGE, "x = 1"),
        changed_by_somebody,
    ],
    ids=["source", "output", "review", "diff", "changed"],
)
def test_little_of_a_large_text_is_looked_through(look: Callable[[], object], redactor: Counting) -> None:
    look()

    assert redactor.count < MOST < len(LARGE) / 10


def test_of_a_source_that_is_too_long_the_ends_are_kept_and_it_counts_as_not_seen() -> None:
    references = References()

    shown = rendered(Cell("a", "code", f"first = 1\n{LARGE}last = 2"), references)

    text = shown.content[0]["text"]
    assert f"[{len(LARGE) + 18:,} characters of source; of its beginning and its end:]" in text
    assert "first = 1" in text
    assert "last = 2" in text
    kept = references.get("o1").content
    assert len(kept) < 300_000
    assert f"… of {len(LARGE) + 18:,} characters only the beginning and the end are looked into …" in str(kept)
    assert shown.whole == ()


@pytest.mark.parametrize("split", range(1, 15, 3))
def test_no_half_of_a_secret_is_shown_where_a_long_text_is_cut(split: int) -> None:
    """In every thousandth place stands one, that at the end of the beginning and that before the end in two parts."""
    text = "-" * (1_000 - split) + (KEY + "-" * (1_000 - len(KEY))) * (LONGEST // 1_000) + "-" * split

    shown = printable(text)

    assert len(shown) < 300_000
    assert "[redacted: KEY]" in shown
    assert not re.search("s3c|8Yw|Qd7", shown)


@pytest.mark.parametrize("split", range(1, 15, 3))
@pytest.mark.parametrize("before", [1_000, 100_000])
def test_the_last_line_of_a_long_text_does_not_begin_within_a_secret(split: int, before: int) -> None:
    shown = ending("-" * before + KEY + "-" * (2_000 - split), 2_000)

    assert shown.endswith("-" * (2_000 - split))
    assert not re.search("s3c|8Yw|Qd7", shown)


def test_what_changed_in_a_large_text_is_replaced_as_a_whole() -> None:
    old = f"begin\n{LARGE}end\n"

    (edit,) = text_edits(old, "begin\nelse\nend\n")

    encoded = old.encode()
    assert (encoded[: edit.start].decode() + edit.text + encoded[edit.end :].decode()) == "begin\nelse\nend\n"
