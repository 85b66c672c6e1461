"""How much of what was changed in a room its file is known to have."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

_QUIET = 0.5
_SURE = 30.0  # a save begun before an edit was here has ended by then, on a busy server, too


class Request(NamedTuple):
    """A save that is asked for.

    Attributes:
        version: Of the document then.
        confirmed: How many of our edits the server had then.
        writes: How often it had written the file.
    """

    version: int
    confirmed: int
    writes: int


class Filed:
    """Counts, from what a server tells: that it has our edits, and that it has written the file.

    It tells the latter without saying what it has written. A change makes it forget a save that runs, so what it had a
    while before is in there, as a rule; on a busy server that is sure only after half a minute.

    Args:
        clock: Seconds that never go back.

    Attributes:
        sure: How many of our edits are in the file for certain, if they are not taken out of it again.
        likely: The same, as a rule.
        writes: How often the server has written the file.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.sure = self.likely = self.writes = 0
        self._clock = clock
        self._version = self._written_version = self._confirmed = 0
        self._changed_at = self._confirmed_at = -_QUIET
        self._marks: deque[tuple[float, int]] = deque()

    @property
    def all(self) -> bool:
        """Whether the file was written since the last change that we know of."""
        return self._version == self._written_version

    def changed(self) -> None:
        """Somebody has changed the document, here or elsewhere."""
        self._version += 1
        self._changed_at = self._clock()

    def confirmed(self, count: int) -> None:
        """The server has so many of our edits."""
        self._confirmed_at = self._clock()
        if count > self._confirmed:
            self._confirmed = count
            self._marks.append((self._confirmed_at, count))

    def written(self, *, confirmed: bool) -> None:
        """The server says that it has written the file.

        Args:
            confirmed: Whether it has all that was changed here.
        """
        self.writes += 1
        now = self._clock()
        while self._marks and self._marks[0][0] < now - _SURE:
            self.sure = self._marks.popleft()[1]
        self.likely = max([self.likely, self.sure, *(mark for at, mark in self._marks if at < now - _QUIET)])
        if confirmed and now - max(self._changed_at, self._confirmed_at) > _QUIET:
            self._written_version = self._version

    def request(self) -> Request:
        """What a save has to write that is asked for now."""
        return Request(self._version, self._confirmed, self.writes)

    def answered(self, request: Request) -> bool:
        """The server has done with that save; whether it has written the file."""
        if self.writes == request.writes:
            return False
        self._written_version = max(self._written_version, request.version)
        self.sure = max(self.sure, request.confirmed)
        self.likely = max(self.likely, self.sure)
        return True

    def give_up(self, count: int) -> None:
        """So many of our edits are not put into the file again."""
        self.likely = max(self.likely, count)

    def anew(self) -> None:
        """Another room begins with the file: it has to get anew what is not in there for certain."""
        self._confirmed = self.likely = self.sure
        self._marks.clear()
