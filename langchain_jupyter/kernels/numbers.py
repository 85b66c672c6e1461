"""Which messages of a kernel did not come, by the numbers that it gives them. Pure.

A kernel that counts its messages, as those built on jupyter_client's Session do, has one count for all its channels. Of
what it publishes faster than it can be sent, ZeroMQ drops what its queue does not hold, and tells nobody.

Source: https://zeromq.org/socket-api/ (a PUB socket drops messages at its high-water mark)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DROPPED = (
    "About {count:,} messages of the kernel are missing: it published them faster than they could be sent. Show fewer "
    "outputs, or show them more slowly."
)

_QUEUE = 1_000
_GAPS = 1_000


class Numbers:
    """The numbers of one kernel's messages, whatever they answer.

    A number that is missing alone says nothing: it is of a reply to somebody else, or of a message that was never sent
    (of the display hook, where a value shows itself). And less than a queue takes is not dropped.

    Attributes:
        last: The highest that has come; -1 before any.
    """

    def __init__(self) -> None:
        self.last = -1
        self._sender = ""
        self._gaps: list[tuple[int, int]] = []

    def take(self, header: Mapping[str, Any]) -> None:
        """A message has come; those of different channels may overtake each other."""
        sender, number = numbered(header)
        if number < 0 or (sender != self._sender and header.get("msg_type") != "status"):
            return  # it does not count, or is a process that the kernel has forked: that counts for itself
        if sender != self._sender:
            self._sender, self._gaps = sender, []
        elif number > self.last + 1:
            self._gaps = [*self._gaps[-_GAPS:], (self.last + 1, number)]
        elif number <= self.last:
            self._fill(number)
            return
        self.last = number

    def lost(self, since: int) -> int:
        """How many messages after that number did not come and never will, about; 0 where none is known to be lost."""
        if self.last - since < _QUEUE:
            return 0
        return sum(end - start for start, end in self._gaps if start > since and end - start > 1)

    def _fill(self, number: int) -> None:
        for at in range(len(self._gaps) - 1, -1, -1):
            start, end = self._gaps[at]
            if start <= number < end:
                parts = ((start, number), (number + 1, end))
                self._gaps[at : at + 1] = [part for part in parts if part[0] < part[1]]
                return


def numbered(header: Mapping[str, Any]) -> tuple[str, int]:
    """Which process has sent a message, and its place among all that this one sent; -1 where it does not count.

    Source: the message ids of `jupyter_client.session.Session`: `session_pid_number`, of old `session_number`.
    """
    sender, _, count = str(header.get("msg_id", "")).rpartition("_")
    session = str(header.get("session", ""))
    counts = bool(session) and f"{sender}_".startswith(f"{session}_") and count.isdecimal()
    return (sender, int(count)) if counts else ("", -1)
