"""What a person asks of agents with a cell's tags, set in JupyterLab; no tool of ours writes tags.

    agent:readonly   never changed, moved or deleted
    agent:ask        running it asks a person first (expensive cells)
    agent:skip       left out when many cells are run at once

A cell with any of them is not deleted either: the tag would go with it. Pure.

Source: https://nbformat.readthedocs.io/en/latest/format_description.html#cell-metadata
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_jupyter.errors import CellGuarded

if TYPE_CHECKING:
    from langchain_jupyter.models import Cell

Guard: TypeAlias = Literal["readonly", "ask", "skip"]

_PREFIX = "agent:"
_GUARDS: tuple[Guard, ...] = ("readonly", "ask", "skip")


def guards_of(metadata: Mapping[str, Any]) -> list[Guard]:
    """The marks of a cell that are meant for agents, without their prefix."""
    tags = metadata.get("tags")
    return [guard for guard in _GUARDS if isinstance(tags, list) and _PREFIX + guard in tags]


def check_change(cell: Cell, handle: str) -> None:
    """Refuse to change or move a cell that a person has marked as not to be changed.

    Raises:
        CellGuarded: It is marked.
    """
    if "readonly" in guards_of(cell.metadata):
        raise _guarded(handle, "readonly", "It is not changed, moved or deleted.")


def check_deletion(cell: Cell, handle: str) -> None:
    """Refuse to delete a cell that carries any mark of a person.

    Raises:
        CellGuarded: It is marked.
    """
    for guard in guards_of(cell.metadata):
        raise _guarded(handle, guard, "It is not deleted.")


def _guarded(handle: str, guard: Guard, meaning: str) -> CellGuarded:
    return CellGuarded(f"A person has tagged cell '{handle}' {_PREFIX}{guard}. {meaning}")
