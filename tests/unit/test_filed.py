"""What a room's file is known to have, from what the server tells and when."""

from __future__ import annotations

import pytest

from langchain_jupyter.documents.filed import Filed


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def filed(clock: Clock) -> Filed:
    """The server has got three edits just now."""
    filed = Filed(clock)
    filed.changed()
    filed.confirmed(3)
    return filed


def test_what_the_server_got_a_moment_before_it_wrote_may_not_be_in_the_file(filed: Filed, clock: Clock) -> None:
    clock.now += 0.4
    filed.written(confirmed=True)

    assert (filed.likely, filed.sure, filed.all) == (0, 0, False)


def test_what_the_server_got_a_second_before_it_wrote_is_likely_in_the_file(filed: Filed, clock: Clock) -> None:
    clock.now += 1
    filed.written(confirmed=True)

    assert (filed.likely, filed.sure, filed.all) == (3, 0, True)


def test_what_the_server_got_half_a_minute_before_it_wrote_is_in_the_file(filed: Filed, clock: Clock) -> None:
    clock.now += 31
    filed.confirmed(5)
    filed.written(confirmed=True)

    assert (filed.likely, filed.sure) == (3, 3)


def test_a_change_that_the_server_has_not_got_is_not_in_what_it_wrote(filed: Filed, clock: Clock) -> None:
    clock.now += 1
    filed.written(confirmed=False)

    assert not filed.all


def test_a_change_that_the_server_has_only_just_got_may_not_be_in_what_it_wrote(filed: Filed, clock: Clock) -> None:
    clock.now += 10
    filed.confirmed(4)
    filed.written(confirmed=True)

    assert not filed.all


def test_a_save_that_was_asked_for_has_what_the_server_had_then(filed: Filed) -> None:
    request = filed.request()
    filed.confirmed(4)
    filed.written(confirmed=True)

    assert filed.answered(request)
    assert (filed.likely, filed.sure, filed.all) == (3, 3, True)


def test_a_save_after_which_the_server_wrote_nothing_has_failed(filed: Filed) -> None:
    filed.written(confirmed=True)

    assert not filed.answered(filed.request())
    assert (filed.sure, filed.all) == (0, False)


def test_a_change_during_a_save_is_not_in_it(filed: Filed) -> None:
    request = filed.request()
    filed.changed()
    filed.written(confirmed=True)

    assert filed.answered(request)
    assert not filed.all


def test_a_new_room_has_only_what_is_surely_in_the_file(filed: Filed, clock: Clock) -> None:
    clock.now += 1
    filed.written(confirmed=True)
    filed.anew()
    clock.now += 31
    filed.written(confirmed=True)

    assert (filed.likely, filed.sure) == (0, 0)


def test_what_is_given_up_is_not_put_back_again(filed: Filed) -> None:
    filed.give_up(7)

    assert (filed.likely, filed.sure) == (7, 0)
