"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is so, and what to do about it.

    Attributes:
        subject: What was looked at: "Packages", "Server", …
        state: "note" for what works, but does less than it could; "problem" for what does not work.
        said: What is so, in one or two sentences.
        mend: The next step; empty where there is none.
    """

    subject: str
    state: State
    said: str
    mend: str = ""

    def as_json(self) -> dict[str, str]:
        """For programs."""
        return {"subject": self.subject, "state": self.state, "said": self.said, "mend": self.mend}


def fine(subject: str, said: str) -> Finding:
    """As it should be."""
    return Finding(subject, "ok", said)


def note(subject: str, said: str, mend: str) -> Finding:
    """Works, but does less than it could."""
    return Finding(subject, "note", said, mend)


def problem(subject: str, said: str, mend: str) -> Finding:
    """Does not work."""
    return Finding(subject, "problem", said, mend)
