"""Which cell a position means to one caller: the order of the cells that it was last shown."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.errors import CellNotFound, OrderChanged
from langchain_jupyter.rendering.fences import one_line

_AROUND = 2


class Positions:
    """What one caller knows of the order of the cells.

    Where the model's turns are known, all positions of one turn mean the cells that stood there before its first call,
    for that is what the model saw. Where they are not, a call may have been made before the one before it was
    answered, with positions that are no longer right.
    """

    def __init__(self) -> None:
        self._order: int | None = None
        self._right: int | None = None  # how many positions, from the first, are right; None if all are
        self._turn = ""
        self._turn_ids: Sequence[str] = ()

    def copy(self) -> Positions:
        """The same knowledge, to go on from, in no turn."""
        twin = Positions()
        twin._order, twin._right = self._order, self._right
        return twin

    def enter(self, document: NotebookDocument, turn: str) -> None:
        """A call of that turn begins; "" where turns are not known."""
        if turn != self._turn:
            self._turn, self._turn_ids = turn, tuple(document.ids) if turn else ()

    def saw(self, document: NotebookDocument) -> None:
        """The caller was shown where the cells stand."""
        self._order, self._right = document.order, None

    def moved(self, document: NotebookDocument, before: int) -> None:
        """The caller itself changed the order, which was `before`."""
        if self._order == before:
            self._order = document.order

    def deleted(self, document: NotebookDocument, before: int, at: int) -> None:
        """The caller itself deleted the cell at the position `at`; the order was `before`."""
        self.moved(document, before)
        if not self._turn:
            self._right = at if self._right is None else min(self._right, at)

    def cell_at(self, document: NotebookDocument, position: int) -> str:
        """The id of the cell that the caller means.

        Raises:
            OrderChanged: With the cells around it as they stand now; the caller has seen them thereby.
            CellNotFound: There are not as many, or it was deleted in this turn.
        """
        moved = self._order is not None and self._order != document.order
        if moved or (self._right is not None and position >= self._right):
            around = lines_around(document, position)
            self.saw(document)
            raise OrderChanged(f"The cells have moved since you last saw their order. Now:\n{around}\n")
        ids = self._turn_ids if self._turn else document.ids
        if position >= len(ids):
            raise CellNotFound(f"There is no cell at position {position}; there are {len(ids)} cells.")
        if ids[position] not in document:
            raise CellNotFound(f"The cell at position {position} was deleted by a call before this one.")
        return ids[position]


def lines_around(document: NotebookDocument, position: int) -> str:
    """A line for each cell around a position."""
    first = max(0, min(position, len(document) - 1) - _AROUND)
    return "\n".join(
        f"{at} {document.handle(cell_id)} · {first_line(document.source(cell_id))}"
        for at, cell_id in enumerate(document.ids[first : first + 2 * _AROUND + 1], first)
    )


def first_line(source: str, width: int = 80) -> str:
    """The first line of a source that is not empty, as it can stand on a line of ours."""
    return one_line(next((line for line in source.splitlines() if line.strip()), ""), width)
