"""What cells are called: the shortest beginnings of their ids that no other cell has, or had of late."""

from __future__ import annotations

import bisect
import uuid
from collections.abc import Iterable, Sequence

_LENGTH = 4
_GONE = 10_000
"""How many cells that are gone keep their names to themselves, so that none comes to mean another cell."""

_TRIES = 100


class Handles:
    """The names of the cells of one notebook; of those that are gone, the latest 10,000 keep theirs."""

    def __init__(self) -> None:
        self._known: list[str] = []
        self._gone: dict[str, None] = {}

    @property
    def known(self) -> Sequence[str]:
        """Ids of the cells that stand here or are remembered, sorted. Read only."""
        return self._known

    def come(self, cell_ids: Sequence[str]) -> None:
        """These cells stand here from now on."""
        for cell_id in cell_ids:
            self._gone.pop(cell_id, None)
        if len(cell_ids) > 16:
            self._known = sorted({*self._known, *cell_ids})
            return
        for cell_id in cell_ids:
            at = bisect.bisect_left(self._known, cell_id)
            if self._known[at : at + 1] != [cell_id]:
                self._known.insert(at, cell_id)

    def go(self, cell_ids: Iterable[str]) -> None:
        """These cells do not stand here any more."""
        self._gone |= dict.fromkeys(cell_ids)
        if len(self._gone) > _GONE:
            count = len(self._gone) - _GONE + _GONE // 10
            forgotten = set(list(self._gone)[:count])
            self._gone = {cell_id: None for cell_id in self._gone if cell_id not in forgotten}
            self._known = [cell_id for cell_id in self._known if cell_id not in forgotten]

    def of(self, cell_id: str) -> str:
        """The shortest prefix of an id, from 4 characters, that no other known cell has.

        It goes on to the first character that is not a digit, so that it cannot be read as a position.
        """
        at = bisect.bisect_left(self._known, cell_id)
        neighbours = self._known[max(at - 1, 0) : at] + self._known[at + 1 : at + 2]
        length = _LENGTH
        for other in neighbours:
            while length < len(cell_id) and other[:length] == cell_id[:length]:
                length += 1
        while length < len(cell_id) and cell_id[:length].isdigit():
            length += 1
        return cell_id[:length]

    def matching(self, prefix: str) -> list[str]:
        """The known ids with that prefix."""
        at = bisect.bisect_left(self._known, prefix)
        end = at
        while end < len(self._known) and self._known[end].startswith(prefix):
            end += 1
        return self._known[at:end]

    def fresh(self) -> str:
        """An id whose first four characters, one of them a letter, no known cell has; more where those are used up."""
        for _ in range(_TRIES):
            cell_id = uuid.uuid4().hex[:8]
            if not numeric(cell_id) and not self.matching(cell_id[:_LENGTH]):
                return cell_id
        while (cell_id := uuid.uuid4().hex).isdigit() or self.matching(cell_id):
            pass
        return cell_id


def numeric(cell_id: str) -> bool:
    """Whether a handle of that id could be read as a position."""
    return cell_id[:_LENGTH].isdigit()
