"""What callers remember."""

import pytest

from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.errors import CellNotFound, OrderChanged
from langchain_jupyter.models import Cell
from langchain_jupyter.sessions.sight import Sight, Sights, member_of


def seen(*cell_ids: str) -> tuple[NotebookDocument, Sight]:
    """A notebook, and the memory of a caller who has seen its order."""
    document = NotebookDocument()
    for cell_id in cell_ids:
        document.insert(document.new_cell("code", cell_id, cell_id))
    sight = Sight(0)
    sight.positions.saw(document)
    return document, sight


def delete(document: NotebookDocument, sight: Sight, cell_id: str) -> None:
    order, at = document.order, document.index(cell_id)
    document.delete(cell_id)
    sight.positions.deleted(document, order, at)


def test_the_positions_of_one_turn_are_those_before_its_first_call() -> None:
    document, sight = seen("aaaa", "bbbb", "cccc", "dddd")

    delete(document, sight, sight.resolve(document, "1", turn="m1"))
    also = sight.resolve(document, "2", turn="m1")
    with pytest.raises(CellNotFound, match="deleted by a call before"):
        sight.resolve(document, "1", turn="m1")
    later = sight.resolve(document, "1", turn="m2")

    assert (also, later) == ("cccc", "cccc")


def test_where_turns_are_not_known_a_position_behind_a_deleted_cell_is_refused_once() -> None:
    document, sight = seen("aaaa", "bbbb", "cccc", "dddd")

    delete(document, sight, sight.resolve(document, "1"))
    assert sight.resolve(document, "0") == "aaaa"
    with pytest.raises(OrderChanged, match="1 cccc"):
        sight.resolve(document, "1")

    assert sight.resolve(document, "1") == "cccc"


def test_a_person_who_moves_cells_in_the_middle_of_a_turn_is_noticed() -> None:
    document, sight = seen("aaaa", "bbbb", "cccc")

    sight.resolve(document, "0", turn="m1")
    document.move("cccc", place=(None, "aaaa"))

    with pytest.raises(OrderChanged):
        sight.resolve(document, "1", turn="m1")


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
