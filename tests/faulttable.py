"""The table of faults in the README: what the tests inject, where, and what became of each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

_ROOT = Path(__file__).parents[1]
_SECONDS = re.compile(r"(\d+) s")

PLACES = ("file + local kernel", "file + remote kernel", "contents + remote kernel", "room + remote kernel")
"""Where a notebook is, and where its code runs."""

_WHERE: Mapping[str, Sequence[str]] = {
    "everywhere": PLACES,
    "server's kernel": PLACES[1:],
    "file": PLACES[:2],
    "contents": PLACES[2:3],
    "room": PLACES[3:],
}

NOTHING = "nothing"

Entry: TypeAlias = tuple[str, str, str, float]
"""A fault, a place, what was told of it there, and the seconds until then."""


@dataclass(frozen=True, slots=True)
class Row:
    """One fault, as the README documents it.

    Attributes:
        fault: What goes wrong.
        places: Where it can go wrong.
        told: The words for it: statuses, errors, or nothing.
        deadline: Seconds within which that is told, or everything works again.
    """

    fault: str
    places: Sequence[str]
    told: str
    deadline: float


def documented() -> dict[str, Row]:
    """The rows of the README's section on reliability, by fault."""
    section = (_ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Reliability\n")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {row[0]: Row(row[0], _places(row[1]), row[3], float(_seconds(row[4]))) for row in cells[2:]}


def injects(fault: str, *, at: str = "everywhere") -> pytest.MarkDecorator:
    """A test that injects a fault, at each place that the README has for it, and gets a `trial` of it.

    Args:
        fault: As the README calls it.
        at: To which places this way of injecting it is limited.
    """
    row = documented().get(fault)
    assert row is not None, f"the README's section on reliability has no row {fault!r}"
    places = [place for place in row.places if place in _WHERE[at]]
    return pytest.mark.parametrize("trial", [(fault, place) for place in places], ids=places, indirect=True)


def injected() -> set[str]:
    """The faults that the tests inject, by what they call `injects` with."""
    found = set()
    for file in (_ROOT / "tests/faults").glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "injects":
                name = node.args[0]
                assert isinstance(name, ast.Constant), f"{file.name}:{node.lineno}: name the fault itself"
                found.add(str(name.value))
    return found


def table(entries: Iterable[Entry], failed: Iterable[tuple[str, str]]) -> Sequence[str]:
    """A line for each fault and what was told of it, with the seconds at each place, in the order of the README.

    Args:
        entries: What became of the faults; the slowest counts, where one was injected in several ways.
        failed: Faults and places where something else came than what is documented.
    """
    rows, lost = documented(), set(failed)
    slowest: dict[tuple[str, str], dict[str, float]] = {(fault, ""): {} for fault, _ in lost}
    for fault, place, told, seconds in entries:
        slowest.pop((fault, ""), None)
        times = slowest.setdefault((fault, told), {})
        times[place] = max(seconds, times.get(place, 0))
    width = max((len(fault) for fault, _ in slowest), default=0)
    lines = [f"{'':{width}}  {'told as':18}" + "".join(f"{place:>26}" for place in PLACES) + f"{'within':>8}"]
    for fault, told in sorted(slowest, key=lambda line: (list(rows).index(line[0]), line[1])):
        times, row = slowest[fault, told], rows[fault]
        cells = [
            "FAILED" if (fault, place) in lost else f"{times[place]:.1f} s" if place in times else "-"
            for place in PLACES
        ]
        lines.append(
            f"{fault:{width}}  {told:18}" + "".join(f"{cell:>26}" for cell in cells) + f"{row.deadline:>6.0f} s"
        )
    return lines


def _places(where: str) -> Sequence[str]:
    named = [_WHERE[name.strip()] for name in where.split(",")]
    return [place for place in PLACES if any(place in places for places in named)]


def _seconds(text: str) -> str:
    found = _SECONDS.search(text)
    assert found, f"no deadline in {text!r}"
    return found[1]
