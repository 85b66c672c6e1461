from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_jupyter.outputs import Outputs

PIECES = st.text(st.sampled_from("ab\n\r\x08"), max_size=6) | st.sampled_from(
    ["\x1b[K", "\x1b[2K", "\x1b[A", "\r\n", "x"]
)
STREAMS = st.tuples(
    st.just("stream"),
    st.builds(lambda name, text: {"name": name, "text": text}, st.sampled_from(["stdout", "stderr"]), PIECES),
)
DISPLAYS = st.tuples(
    st.sampled_from(["display_data", "update_display_data"]),
    st.builds(
        lambda text, ref: {"data": {"text/plain": text}, "metadata": {}, "transient": {"display_id": ref}},
        PIECES,
        st.sampled_from("pq"),
    ),
)
CLEARS = st.tuples(st.just("clear_output"), st.builds(lambda wait: {"wait": wait}, st.booleans()))
MESSAGES = st.lists(STREAMS | DISPLAYS | CLEARS, max_size=20)


def printed(*texts: str) -> Outputs:
    outputs = Outputs()
    for text in texts:
        outputs.feed("stream", {"name": "stdout", "text": text})
    return outputs


def text_of(outputs: Outputs) -> Any:
    return outputs.items()[0]["text"]


def apply(standing: list[Any], outputs: Outputs) -> list[Any]:
    change = outputs.take()
    if change is None:
        return standing
    if change.rewritten or len(standing) != change.standing:
        return list(change.everything)
    if change.text:
        standing[-1] = {**standing[-1], "text": standing[-1]["text"] + change.text}
    return [*standing, *change.added]


def test_200_updates_of_a_progress_bar_are_one_line() -> None:
    outputs = printed(*(f"\r{number}/200" for number in range(1, 201)))

    assert text_of(outputs) == "200/200"


def test_a_change_says_how_much_text_a_page_draws_anew() -> None:
    outputs = printed("a" * 10)
    drawn = []

    for name, content in (
        ("display_data", {"data": {"image/png": "x" * 100}, "metadata": {}}),
        ("stream", {"name": "stdout", "text": "b" * 5}),
        ("stream", {"name": "stdout", "text": "b"}),
        ("stream", {"name": "stdout", "text": "\rc"}),
    ):
        change = outputs.take()
        outputs.feed(name, content)
        drawn.append(change.redrawn if change else None)
    last = outputs.take()

    assert drawn == [10, 0, 5, 6]
    assert last is not None
    assert last.redrawn == 16


def test_a_stream_after_a_figure_starts_a_new_output() -> None:
    outputs = printed("a")
    outputs.feed("display_data", {"data": {"image/png": ""}, "metadata": {}})
    outputs.feed("stream", {"name": "stdout", "text": "b"})

    assert [output["output_type"] for output in outputs.items()] == ["stream", "display_data", "stream"]


def test_a_clear_that_waits_takes_effect_with_the_next_output() -> None:
    outputs = printed("a")

    outputs.feed("clear_output", {"wait": True})
    before = text_of(outputs)
    outputs.feed("stream", {"name": "stdout", "text": "b"})

    assert (before, text_of(outputs)) == ("a", "b")


def test_a_lone_surrogate_is_replaced() -> None:
    assert text_of(printed("a\ud800b")) == "a\ufffdb"


@given(st.lists(st.text(st.sampled_from("ab\n\r\x08"), max_size=8), max_size=8))
def test_pieces_of_a_stream_are_the_same_as_the_whole(pieces: list[str]) -> None:
    whole = printed("".join(pieces))

    in_pieces = printed(*pieces)

    assert in_pieces.items() == (whole.items() if pieces else [])


@given(MESSAGES, st.lists(st.booleans(), min_size=20, max_size=20))
def test_applying_each_change_gives_what_stands(messages: list[tuple[str, dict[str, Any]]], looks: list[bool]) -> None:
    outputs = Outputs()
    standing: list[Any] = []
    for (kind, content), look in zip(messages, looks, strict=False):
        outputs.feed(kind, content)
        if look:
            standing = apply(standing, outputs)
            assert standing == outputs.items()

    standing = apply(standing, outputs)

    assert standing == outputs.items()


# -- more than is kept ------------------------------------------------------------------------------------------------


def figure(size: int, display: str = "") -> tuple[str, dict[str, Any]]:
    return "display_data", {
        "data": {"image/png": "x" * size},
        "metadata": {},
        "transient": {"display_id": display} if display else {},
    }


def test_of_a_long_text_beginning_and_end_stay_with_a_note_and_a_count_between_and_below() -> None:
    outputs = Outputs(size=1_000)
    for number in range(100_000):
        outputs.feed("stream", {"name": "stdout", "text": f"{number}\n"})
    outputs.finish()

    beginning, note, end, below = outputs.items()
    whole = "".join(f"{number}\n" for number in range(100_000))
    assert whole.startswith(beginning["text"])
    assert whole.endswith(end["text"])
    assert len(beginning["text"]) + len(end["text"]) <= 1_000
    assert (note["output_type"], note["name"]) == ("stream", "stderr")
    assert "keeps 1,000 characters" in note["text"]
    lost = f"{len(whole) - len(beginning['text']) - len(end['text']):,} characters left out."
    assert lost in note["text"]
    assert below["text"] == f"[Before this end: {lost}]\n"
    assert "characters left out" in outputs.left_out


def test_one_print_of_more_than_is_kept_is_cut_like_many() -> None:
    outputs = Outputs(size=1_000)
    outputs.feed("stream", {"name": "stdout", "text": "a" * 5_000 + "b" * 5_000})
    outputs.finish()

    beginning, _, end, _ = outputs.items()
    assert set(beginning["text"]) == {"a"}
    assert set(end["text"]) == {"b"}


def test_while_it_runs_the_end_is_seen_and_not_yet_taken() -> None:
    outputs = Outputs(size=1_000)
    outputs.feed("stream", {"name": "stdout", "text": "a" * 5_000})
    standing = apply([], outputs)
    outputs.feed("stream", {"name": "stdout", "text": "the latest"})

    assert outputs.take() is None
    assert outputs.items()[-1]["text"].endswith("the latest")
    outputs.finish()
    assert apply(standing, outputs) == outputs.items()


def test_of_many_figures_the_first_and_the_last_stay() -> None:
    outputs = Outputs(count=80)
    for number in range(10_000):
        kind, content = figure(100)
        outputs.feed(kind, content | {"data": {"text/plain": f"figure {number}"}})
    outputs.finish()

    texts = [item["data"]["text/plain"] for item in outputs.items() if "data" in item]
    assert texts[:70] == [f"figure {number}" for number in range(70)]
    assert texts[70:] == [f"figure {number}" for number in range(9_990, 10_000)]
    assert "9,920 outputs left out" in outputs.left_out


def test_an_error_behind_a_flood_stays() -> None:
    outputs = Outputs(size=4_000)
    outputs.feed("stream", {"name": "stderr", "text": "a" * 100_000})
    outputs.feed("error", {"ename": "ValueError", "evalue": "x", "traceback": ["y"]})
    outputs.finish()

    assert outputs.items()[1]["ename"] == "ValueError"
    assert [item["output_type"] for item in outputs.items()] == ["stream", "error", "stream"]


def test_100_000_updates_of_a_display_are_one_output() -> None:
    outputs = Outputs()
    outputs.feed(*figure(10, "p"))
    for number in range(100_000):
        outputs.feed("update_display_data", {"data": {"text/plain": str(number)}, "transient": {"display_id": "p"}})

    assert [item["data"] for item in outputs.items()] == [{"text/plain": "99999"}]
    assert not outputs.left_out


def test_an_update_that_makes_a_display_too_large_is_left_out_and_told() -> None:
    outputs = Outputs(size=1_000)
    outputs.feed(*figure(100, "p"))
    before = outputs.items()

    known = outputs.feed(*("update_display_data", figure(5_000, "p")[1]))

    assert known
    assert outputs.items() == before
    assert "1 update of displays left out" in outputs.left_out


def test_a_bar_that_is_drawn_anew_for_ever_costs_nothing() -> None:
    outputs = Outputs(size=1_000)
    for number in range(20_000):
        outputs.feed("stream", {"name": "stderr", "text": f"\r{number}/20000"})

    assert text_of(outputs) == "19999/20000"
    assert not outputs.left_out


def test_a_clear_begins_anew_after_a_flood() -> None:
    outputs = Outputs(size=1_000)
    outputs.feed("stream", {"name": "stdout", "text": "a" * 5_000})
    outputs.feed("clear_output", {"wait": True})
    outputs.feed("stream", {"name": "stdout", "text": "b"})

    assert [item["text"] for item in outputs.items()] == ["b"]
    assert not outputs.left_out


LONG = st.builds(
    lambda name, text: ("stream", {"name": name, "text": text}), st.sampled_from("ab"), st.text("xy\n\r\x08")
)
FIGURES = st.builds(figure, st.integers(0, 300), st.sampled_from(["", "p"]))
UPDATES = st.integers(0, 300).map(lambda size: ("update_display_data", figure(size, "p")[1]))


@given(st.lists(LONG | FIGURES | UPDATES | CLEARS, max_size=60), st.integers(50, 500), st.integers(1, 12))
def test_what_is_kept_and_taken_is_never_more_than_the_limits_and_a_note(
    messages: list[tuple[str, dict[str, Any]]], size: int, count: int
) -> None:
    outputs = Outputs(size=size, count=count)
    standing: list[Any] = []
    for kind, content in messages:
        outputs.feed(kind, content)
        standing = apply(standing, outputs)
        assert len(outputs.items()) <= count + 1
        assert outputs.size <= size + 300
    outputs.finish()

    assert apply(standing, outputs) == outputs.items()
    assert len(outputs.items()) <= count + 1
    assert outputs.size <= size + 300


@given(st.lists(st.text("ab\n\r", max_size=30), max_size=20), st.integers(0, 100))
def test_a_screen_that_scrolls_shows_what_a_long_one_does(pieces: list[str], looks: int) -> None:
    whole = printed(*pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("langchain_jupyter.streams._SCREEN", 2)
        scrolled = Outputs()
        standing: list[Any] = []
        for number, piece in enumerate(pieces):
            scrolled.feed("stream", {"name": "stdout", "text": piece})
            if looks >> number & 1:
                standing = apply(standing, scrolled)
        standing = apply(standing, scrolled)

    assert scrolled.items() == whole.items()
    assert standing == whole.items()


@pytest.mark.parametrize("digits", [1, 9, 10, 5_000])
def test_the_cursor_goes_up_to_the_top_and_no_further(digits: int) -> None:
    assert text_of(printed("a\nb", f"\x1b[{'9' * digits}A", "\rc")) == "c\nb"
