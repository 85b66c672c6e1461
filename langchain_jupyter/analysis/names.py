"""What running a source does to the global names: the terms in which cells depend on each other. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

EVERYTHING = "*"
"""In place of a name: all of them. A cell with `exec`, `%run` or `from x import *` sets what nobody can foresee."""

RANDOM = "random numbers"
"""In place of a name: the state of the random generators, which every draw changes."""


@dataclass(frozen=True, slots=True)
class Closure:
    """What a function or an object made of some does later, when it is used.

    Attributes:
        reads: Global names that are looked up then.
        changes: Global names that are set or changed then.
        arguments: Whether its arguments may be changed then.
        once: Whether using it changes it: a generator, an open file, a source of random numbers.
    """

    reads: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    arguments: bool = False
    once: bool = False

    def __or__(self, other: Closure) -> Closure:
        return Closure(
            self.reads | other.reads,
            self.changes | other.changes,
            self.arguments or other.arguments,
            self.once or other.once,
        )


NOTHING = Closure()


@dataclass(slots=True)
class Names:
    """What running a source does to the global names.

    Attributes:
        code: What tells this code from another: a digest of the source without comments and layout.
        reads: Looked up before the source itself has set them.
        sets: Bound anew in any case.
        changes: Set in some cases only, or changed in place: what they are then depends on what they were.
        touches: Names of objects with a method that is called for its effect: they change, unless they are modules.
        uses: Names that are loaded at once, whose closures therefore take effect.
        given: Names handed to each called name, which may change them.
        shares: Set or changed name -> the names whose objects it may share.
        closures: Set or changed name -> what it does later.
        draws: Set or changed name -> the names whose closures it takes over.
        modules: Names bound by an import.
    """

    code: str
    reads: set[str] = field(default_factory=set)
    sets: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    touches: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)
    given: dict[str, set[str]] = field(default_factory=dict)
    shares: dict[str, set[str]] = field(default_factory=dict)
    closures: dict[str, Closure] = field(default_factory=dict)
    draws: dict[str, set[str]] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)

    @property
    def mentioned(self) -> frozenset[str]:
        """All names that occur in any of these."""
        later = (closure.reads | closure.changes for closure in self.closures.values())
        groups = (*self.given.values(), *self.shares.values(), *self.draws.values(), *later)
        keys = (*self.given, *self.shares, *self.draws, *self.closures)
        plain = (self.reads, self.sets, self.changes, self.touches, self.uses, self.modules)
        return frozenset().union(*plain, *groups, keys)
