"""Messages of a kernel that did not come are counted, and nothing else is taken for one."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from jupyter_client.session import Session

from langchain_jupyter.kernels.numbers import Numbers, numbered


def header(number: int, *, msg_type: str = "status", sender: str = "s_7") -> dict[str, str]:
    return {"session": "s", "msg_id": f"{sender}_{number}", "msg_type": msg_type}


def taken(*numbers: int) -> Numbers:
    found = Numbers()
    for number in numbers:
        found.take(header(number))
    return found


def test_a_session_counts_its_messages() -> None:
    session = Session()
    first, second = (numbered(session.msg_header("status")) for _ in range(2))

    assert second == (first[0], first[1] + 1)


def test_message_ids_of_other_kernels_are_no_numbers() -> None:
    uuids = ("64b7a3b8-5a3c-4d4b-9f0f-0b5ad3a8f3d1", "0123456789", "", "x_1", "s_x", "ss_1")

    assert {numbered({"session": "s", "msg_id": each})[1] for each in uuids} == {-1}
    assert numbered({"msg_id": "_1"})[1] == -1


def test_what_is_missing_between_two_messages_is_lost() -> None:
    assert taken(5, 6, 1_500, 1_501).lost(since=5) == 1_493


def test_a_number_that_is_missing_alone_is_none_of_a_message_that_was_lost() -> None:
    assert taken(*range(0, 3_000, 2)).lost(since=0) == 0


def test_fewer_messages_than_a_queue_takes_are_not_lost() -> None:
    assert taken(0, 900).lost(since=0) == 0


def test_what_was_missing_before_does_not_count() -> None:
    numbers = taken(0, 2_000)

    since = numbers.last
    numbers.take(header(4_000))

    assert numbers.lost(since) == 1_999


def test_a_process_that_the_kernel_has_forked_counts_for_itself() -> None:
    numbers = taken(*range(1_200))

    numbers.take(header(90_000, msg_type="stream", sender="s_8"))

    assert numbers.lost(since=0) == 0
    assert numbers.last == 1_199


def test_another_process_begins_anew() -> None:
    numbers = taken(0, 2_000)

    for number in (1, 5_000):
        numbers.take(header(number, sender="s_9"))

    assert numbers.lost(since=0) == 4_998


@given(st.randoms(use_true_random=False), st.integers(1_100, 1_300), st.integers(0, 400))
def test_messages_that_overtake_each_other_are_not_lost(chance: random.Random, count: int, gap: int) -> None:
    numbers = [number for number in range(count) if not 500 < number <= 500 + gap]
    shuffled = [0, *sorted(numbers[1:], key=lambda number: number + chance.randrange(20))]

    assert taken(*shuffled).lost(since=0) == (gap if gap > 1 else 0)
