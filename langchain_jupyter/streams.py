"""The text of one stream of an execution, as a terminal shows it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_CONTROL = re.compile(r"\r+\n|\r|\x08|\x1b\[\d*[AK]")
_SCREEN = 1_000
_DIGITS = 9
"""More of a number are not looked at: it means the top of the screen in any case, and Python converts only so many."""


class StreamText:
    r"""What a terminal of endless width shows, with at least 1,000 rows that the cursor can go up to.

    `\r`, `\b`, erase-line and cursor-up are applied; rows that have scrolled off stand as they are.

    Attributes:
        name: "stdout" or "stderr".
        size: Characters of the text.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        self._above: list[str] = []
        self._fresh: list[str] = []
        self._rows = [""]
        self._row = self._column = 0
        self._taken = (0, 0)
        self._rewritten = False

    @property
    def column(self) -> int:
        """Where the cursor stands in its row; 0 at the beginning."""
        return 0 if self._rows[self._row].endswith("\n") else self._column

    def text(self) -> str:
        """All of it."""
        return "".join([*self._above, "\n".join(self._rows)])

    def take(self) -> tuple[str, bool]:
        """What was appended since the last call, and whether what was taken before has changed."""
        row, column = self._taken
        fresh = "".join([*self._fresh, "\n".join(self._rows[row:])[column:]])
        rewritten, self._rewritten = self._rewritten, False
        self._all_taken()
        return ("", True) if rewritten else (fresh, False)

    def write(self, text: str) -> None:
        """Print a text at the cursor."""
        at = 0
        for control in _CONTROL.finditer(text):
            self._put(text[at : control.start()])
            self._control(control[0])
            at = control.end()
        self._put(text[at:])

    def cut(self, size: int) -> str:
        """Keep so many characters of the beginning, and return the rest."""
        whole = self.text()
        row, column = self._taken
        above = sum(map(len, self._above)) - sum(map(len, self._fresh))
        taken = above + _offset(self._rows, row) + column
        self._rewritten = self._rewritten or taken > size
        self._above, self._fresh, self._rows = [], [], [whole[:size]]
        self._row, self._column = 0, min(size, len(whole))
        self._taken = (0, min(taken, size))
        self.size = min(size, len(whole))
        return whole[size:]

    def forget(self, size: int) -> None:
        """Forget so many characters of the beginning. Only for a text that is not taken before its end."""
        self.size -= size
        above = "".join(self._above)
        self._above = [above[size:]]
        size -= len(above)
        while size > len(self._rows[0]) and len(self._rows) > 1:
            size -= len(self._rows.pop(0)) + 1
            self._row -= 1
        if size > 0:
            self._rows[0] = self._rows[0][size:]
            self._column -= size if self._row == 0 else 0
        self._row, self._column = max(self._row, 0), max(self._column, 0)
        self._all_taken()

    def _all_taken(self) -> None:
        self._fresh = []
        self._taken = (len(self._rows) - 1, len(self._rows[-1]))

    def _at_end(self) -> bool:
        return self._row == len(self._rows) - 1 and self._column == len(self._rows[-1])

    def _put(self, text: str) -> None:
        while text and not self._at_end():
            line, newline, text = text.partition("\n")
            if line:
                row = self._rows[self._row].ljust(self._column)
                self._replace(row[: self._column] + line + row[self._column + len(line) :])
                self._column += len(line)
            if newline:
                self._newline()
        if text:
            self._append(text)

    def _append(self, text: str) -> None:
        self.size += len(text)
        reach = _reach(text)
        if reach:
            self._scroll(len(self._rows), text[:reach])
        first, *more = text[reach:].split("\n")
        self._rows[-1] += first
        self._rows += more
        if len(self._rows) > 2 * _SCREEN:
            self._scroll(len(self._rows) - _SCREEN, "\n")
        self._row, self._column = len(self._rows) - 1, len(self._rows[-1])

    def _scroll(self, count: int, following: str) -> None:
        """Let so many rows scroll off, and after them a text that ends in a line end."""
        gone = "\n".join(self._rows[:count]) + following
        row, column = self._taken
        if row < count:
            self._fresh.append(gone[_offset(self._rows, row) + column :])
            self._taken = (0, 0)
        else:
            self._taken = (row - count, column)
        self._above.append(gone)
        self._rows = self._rows[count:] or [""]

    def _control(self, sequence: str) -> None:
        if sequence.endswith("\n"):
            self._newline()
        elif sequence == "\r":
            self._column = 0
        elif sequence == "\x08":
            self._column = max(self._column - 1, 0)
        elif sequence.endswith("A"):
            self._row = max(self._row - int(sequence[2:-1][:_DIGITS] or 1), 0)
        else:
            self._erase(int(sequence[2:-1][:_DIGITS] or 0))

    def _newline(self) -> None:
        if self._row == len(self._rows) - 1:
            self._column = len(self._rows[-1])
            self._append("\n")
        else:
            self._row, self._column = self._row + 1, 0

    def _erase(self, how: int) -> None:
        line = self._rows[self._row]
        kept = "" if how == 2 else line[: self._column] if how == 0 else " " * self._column + line[self._column :]
        if kept != line:
            self._replace(kept)

    def _replace(self, line: str) -> None:
        """Change the row of the cursor. What has not been taken yet may change without anybody noticing."""
        row, column = self._taken
        old = self._rows[self._row]
        if self._row < row or (self._row == row and old[:column] != line[:column]):
            self._rewritten = True
        self._rows[self._row] = line
        self.size += len(line) - len(old)


def _offset(rows: Sequence[str], row: int) -> int:
    """Where a row begins, in characters of the text of all."""
    return sum(len(each) + 1 for each in rows[:row])


def _reach(text: str) -> int:
    """Where those of its rows begin that the cursor can go up to; 0 if it can go up to all of them."""
    if text.count("\n") <= 2 * _SCREEN:
        return 0
    at = len(text)
    for _ in range(_SCREEN):
        at = text.rindex("\n", 0, at)
    return at + 1
