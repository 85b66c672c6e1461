from __future__ import annotations

import time

import pytest
import regex

from langchain_jupyter.errors import InvalidArgument, OutputNotFound, SettingsError
from langchain_jupyter.rendering.mime import html_text
from langchain_jupyter.rendering.reading import render_output
from langchain_jupyter.rendering.references import Kept, References, matcher, search, window
from langchain_jupyter.settings import OutputLimits

ROWS = "".join(f"row {number}\n" for number in range(100))


def text(content: str) -> Kept:
    return Kept("text/plain", content)


def test_the_same_output_has_the_same_reference() -> None:
    references = References()

    first = references.keep("cell", 0, text("a"))
    again = references.keep("cell", 0, text("a"))

    assert first == again == "o1"


def test_another_text_owner_or_index_has_another_reference() -> None:
    references = References()

    refs = {
        references.keep(owner, index, text(said))
        for owner, index, said in [("a", 0, "x"), ("a", 0, "y"), ("b", 0, "x"), ("a", 1, "x")]
    }

    assert len(refs) == 4


def test_the_oldest_is_dropped_when_there_are_too_many() -> None:
    references = References(count=2)

    for index in range(3):
        references.keep("cell", index, text("a"))

    assert len(references) == 2
    with pytest.raises(OutputNotFound, match="o2, o3"):
        references.get("o1")


def test_the_oldest_is_dropped_when_they_are_too_large() -> None:
    references = References(size=10)

    references.keep("cell", 0, text("a" * 6))
    references.keep("cell", 1, text("b" * 6))

    assert references.get("o2").content == "b" * 6
    with pytest.raises(OutputNotFound):
        references.get("o1")


def test_one_that_alone_is_too_large_is_kept_until_the_next() -> None:
    references = References(size=10)

    references.keep("cell", 0, Kept("image/png", b"a" * 60))

    assert len(references) == 1


def test_what_was_used_again_is_not_the_oldest() -> None:
    references = References(count=2)
    references.keep("cell", 0, text("a"))
    references.keep("cell", 1, text("b"))

    references.keep("cell", 0, text("a"))
    references.keep("cell", 2, text("c"))

    assert references.get("o1").content == "a"


def test_a_dropped_output_comes_back_under_a_new_reference() -> None:
    references = References(count=1)
    references.keep("cell", 0, text("a"))
    references.keep("cell", 1, text("b"))

    ref = references.keep("cell", 0, text("a"))

    assert ref == "o3"


def test_a_window_counts_lines_from_0() -> None:
    rows = window(ROWS, 5, 2)

    assert rows == [(5, "row 5"), (6, "row 6")]


def test_a_window_behind_the_end_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="Lines 0 to 99"):
        window(ROWS, 100, 1)


def test_a_line_longer_than_2000_characters_counts_as_several() -> None:
    rows = window("x" * 4_500 + "\nend", 0, 10)

    assert [len(row) for _, row in rows] == [2_000, 2_000, 500, 3]


def test_a_search_counts_all_and_shows_from_start_on() -> None:
    count, rows = search(ROWS, "/7$/", 20, 2)

    assert count == 10
    assert rows == [(27, "row 27"), (37, "row 37")]


def test_plain_text_is_no_expression() -> None:
    count, rows = search("a.c\nabc\n", "a.c", 0, 10)

    assert (count, rows) == (1, [(0, "a.c")])


def test_a_search_finds_what_stands_across_the_parts_of_a_long_line() -> None:
    count, rows = search("x" * 1_998 + "needle" + "x" * 3_000, "needle", 0, 10)

    assert count == 1
    assert rows[0][0] == 0


def test_a_pattern_that_backtracks_without_end_is_stopped() -> None:
    began = time.monotonic()

    with pytest.raises(InvalidArgument, match="nested repeats"):
        search("a" * 60 + "b", "/^(a|aa)+$/", 0, 1)

    assert time.monotonic() - began < 60  # a busy machine has its own time; unstopped it takes for ever


@pytest.mark.parametrize("find", ["/(/", "/[/", "/a{2,1}/", "", "x" * 501])
def test_an_invalid_find_is_refused(find: str) -> None:
    with pytest.raises(InvalidArgument):
        matcher(find)


def test_a_million_lines_are_searched_in_time() -> None:
    count, _ = search("the same line\n" * 300_000 + "needle\n", "/^needle$/", 0, 1)

    assert count == 1


def test_a_matching_line_cannot_leave_its_fence() -> None:
    result = render_output("o1", text("a </output> needle\n"), find="needle", limits=OutputLimits())

    assert result.content[0]["text"].count("</output>") == 1


def test_an_answer_says_where_to_go_on() -> None:
    result = render_output("o1", text(ROWS), start=10, lines=5, limits=OutputLimits())

    assert "go on with start=15" in result.content[0]["text"]
    assert result.artifact["next"] == 15


def test_a_window_stays_within_the_budget() -> None:
    result = render_output("o1", text("y" * 90_000), limits=OutputLimits(per_call=3_000))

    assert len(result.content[0]["text"]) <= 3_000
    assert result.artifact["next"] == 1


@pytest.mark.parametrize("limits", [{"per_call": 0}, {"per_output": -1}, {"images": -1}, {"image_side": True}])
def test_limits_that_cannot_work_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(SettingsError):
        OutputLimits(**limits)


def test_the_pattern_library_is_the_one_with_timeouts() -> None:
    assert regex.compile("a").search("a", timeout=1) is not None


def test_matching_lines_are_paged_through_to_the_end() -> None:
    kept, limits = Kept("text/plain", ROWS), OutputLimits()
    pages, start = [], 0

    while start is not None:
        page = render_output("o1", kept, find="/7$/", start=start, lines=3, limits=limits)
        pages.append(page.artifact["shown"])
        start = page.artifact["next"]

    shown = [number for page in pages for number in page]
    assert shown == [number for number, row in enumerate(ROWS.splitlines()) if row.endswith("7")]
    assert all(len(page) == 3 for page in pages[:-1])


def test_html_that_is_too_long_says_how_much_was_not_read() -> None:
    text = html_text("<p>word</p>" * 30_000)

    assert text.endswith("[HTML of 330,000 characters; the rest after 200,000 was not read]")
    assert "not read" not in html_text("<p>word</p>")
