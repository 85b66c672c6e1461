"""Faults are injected by `faults(name, place)`, with the name that the README has for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple

import pytest

from tests.faulttable import Fault, Outcome, documented


@pytest.fixture
def faults(request: pytest.FixtureRequest) -> Iterator[Callable[[str, str], Fault]]:
    """Begins a fault, whose clock runs until its `told`; the row is printed at the end of the test run."""
    rows = documented()
    begun: list[Fault] = []

    def report(outcome: Outcome) -> None:
        request.node.user_properties.append(("fault", astuple(outcome)))

    def begin(name: str, place: str) -> Fault:
        assert name in rows, f"the README's section on reliability has no row {name!r}"
        begun.append(Fault(rows[name], place, report))
        return begun[-1]

    yield begin
    for fault in begun:
        assert fault.over, f"{fault}: nothing was told"
