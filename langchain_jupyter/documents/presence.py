"""Who the people in a shared notebook see: a named collaborator, and its cursor in the cell that it works on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pycrdt import Assoc, Map, StickyIndex

FOLLOWS = "follows_autosave"
"""In the awareness of one who asks for what the people in the room ask for, and is no reason for others to."""

_COLOURS = 7
"""JupyterLab's themes define `--jp-collaborator-color1` to 7."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collaborator:
    """Whom JupyterLab shows in its list of collaborators and at the cursor.

    Attributes:
        name: As people read it.
        username: What tells it from others; "" for one that follows from the name.
        initials: At most a few characters; "" for those of the name.
        color: Any CSS colour; "" for one of JupyterLab's own.
    """

    name: str = "Agent"
    username: str = ""
    initials: str = ""
    color: str = ""

    def user(self) -> dict[str, str]:
        """As it stands in the awareness of a room.

        Source: https://jupyter-server.readthedocs.io/en/latest/operators/security.html#identity-model
        """
        words = self.name.split() or ["Agent"]
        number = int(hashlib.sha256(self.name.encode()).hexdigest(), 16) % _COLOURS + 1
        return {
            "username": self.username or "agent-" + re.sub(r"\W+", "-", self.name.lower()).strip("-"),
            "name": self.name,
            "display_name": self.name,
            "initials": self.initials or (words[0][0] + (words[-1][0] if len(words) > 1 else "")).upper(),
            "color": self.color or f"var(--jp-collaborator-color{number})",
        }


def cursor_at_end(ycell: Map[Any]) -> Sequence[dict[str, Any]]:
    """A caret at the end of a cell, as JupyterLab's editors draw it.

    It names the text and no character of it: pycrdt counts bytes where Yjs counts UTF-16, and would name another one.
    What a position of Yjs does not have must be null, or JupyterLab throws an error.
    """
    text = StickyIndex.new(ycell["source"], 0, Assoc.BEFORE).to_json()["type"]
    index = {"type": text, "tname": None, "item": None, "assoc": Assoc.AFTER.value}
    return [{"anchor": index, "head": index, "primary": True, "empty": True}]


def autosave(others: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the server should write the file after each change: as the people in the room would have it.

    It does where anybody there asks for it, so an agent that always did would overrule them.

    Args:
        others: The awareness of all who are there but us.
    """
    people = [state for state in others if "user" in state and not state.get(FOLLOWS)]
    return not people or any(state.get("autosave", True) for state in people)
