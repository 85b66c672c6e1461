"""What callers remember."""

from langchain_jupyter.models import Cell
from langchain_jupyter.sessions.sight import Sights, member_of


def test_a_new_session_of_a_client_goes_on_from_what_the_last_one_saw() -> None:
    sights = Sights()
    sights.of(member_of("client", "1"), 0).saw(Cell("c1", "code", "x = 1"))

    second = sights.of(member_of("client", "2"), 0)
    second.saw(Cell("c2", "code", "y = 2"))

    assert "c1" in second._sources
    assert "c2" not in sights.of(member_of("client", "1"), 0)._sources
    assert "c1" not in sights.of("another client", 0)._sources


def test_callers_that_were_silent_longest_are_forgotten() -> None:
    sights = Sights()
    first = sights.of("0", 0)

    for number in range(1, 500):
        sights.of(str(number), 0)

    assert sights.of("499", 0) is not first
    assert sights.of("0", 0) is not first
    assert len(sights._of) <= 200
