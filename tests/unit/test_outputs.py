from __future__ import annotations

from typing import Any

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
