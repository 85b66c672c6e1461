"""What the README promises is what is tested."""

from __future__ import annotations

from tests.faulttable import documented, injected


def test_every_documented_fault_is_injected_and_every_injected_one_documented() -> None:
    assert injected() == set(documented())
