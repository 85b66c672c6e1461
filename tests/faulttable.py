"""The table of faults in the README, and what became of each when it was injected."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_SECONDS = re.compile(r"(\d+) s")
NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Row:
    """One fault, as the README documents it.

    Attributes:
        fault: What goes wrong.
        told: The words for it: statuses, errors, or nothing.
        deadline: Seconds within which that is told, or everything works again.
    """

    fault: str
    told: str
    deadline: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one fault went.

    Attributes:
        fault: As the README calls it.
        place: Where the notebook was and its code ran.
        told: What was told of it.
        seconds: From the fault until then.
        deadline: As documented.
    """

    fault: str
    place: str
    told: str
    seconds: float
    deadline: float


def documented() -> dict[str, Row]:
    """The rows of the README's section on reliability, by fault."""
    section = (_ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Reliability\n")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {row[0]: Row(row[0], row[2], float(_seconds(row[3]))) for row in cells[2:]}


def injected() -> set[str]:
    """The faults that the tests inject, by what they call `faults` with."""
    found = set()
    for file in (_ROOT / "tests/faults").glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "faults":
                name = node.args[0]
                assert isinstance(name, ast.Constant), f"{file.name}:{node.lineno}: name the fault itself"
                found.add(str(name.value))
    return found


class Fault:
    """A fault that has just been injected.

    Args:
        row: What the README says of it.
        place: Where the notebook is and its code runs.
        report: Gets what became of it.

    Attributes:
        over: Whether it was told of.
    """

    def __init__(self, row: Row, place: str, report: Callable[[Outcome], None]) -> None:
        self.over = False
        self._report = report
        self._row = row
        self._place = place
        self._begun = time.monotonic()

    def told(self, what: str = NOTHING) -> None:
        """It was told of, as documented; or nothing had to be, and everything works again."""
        seconds = time.monotonic() - self._begun
        row = self._row
        named = what in row.told if what == NOTHING else f"`{what}`" in row.told
        assert named, f"{row.fault}: told as {what!r}, documented as {row.told}"
        assert seconds <= row.deadline, f"{row.fault}: told after {seconds:.1f} s, documented are {row.deadline:.0f} s"
        self.over = True
        self._report(Outcome(row.fault, self._place, what, seconds, row.deadline))

    def __str__(self) -> str:
        return f"{self._row.fault} ({self._place})"


def table(outcomes: Iterable[Outcome]) -> Sequence[str]:
    """A line for each fault at each place, in the order of the README."""
    order = list(documented())
    rows = sorted(outcomes, key=lambda outcome: (order.index(outcome.fault), outcome.place))
    width = max((len(row.fault) for row in rows), default=0)
    where = max((len(row.place) for row in rows), default=0)
    return [
        f"{row.fault:{width}}  {row.place:{where}}  {row.told:18}  {row.seconds:6.1f} s of {row.deadline:3.0f} s"
        for row in rows
    ]


def _seconds(text: str) -> str:
    found = _SECONDS.search(text)
    assert found, f"no deadline in {text!r}"
    return found[1]
