"""The global names of a kernel, as far as the sources of the cells tell what is in them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from langchain_jupyter.analysis.names import EVERYTHING, NOTHING, Closure, Names

Outcome: TypeAlias = Literal["ok", "error", "unknown"]


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of a global name at one moment.

    Attributes:
        signature: The same for the same history: source and inputs of the runs that made it what it is.
        cell: Id of the cell that set or changed it last.
        closure: What it does when it is used.
        module: Whether an import bound it.
    """

    signature: str
    cell: str
    closure: Closure = NOTHING
    module: bool = False


@dataclass(slots=True)
class Namespace:
    """The global names of a kernel, as far as the sources tell."""

    values: dict[str, Value] = field(default_factory=dict)
    shared: dict[str, set[str]] = field(default_factory=dict)

    def inputs(self, names: Names) -> dict[str, str]:
        """What a source would read now: name -> signature."""
        reads, _ = self._reach(names)
        reads |= self.values.keys() if EVERYTHING in reads else {EVERYTHING} & self.values.keys()
        return {name: self.values[name].signature if name in self.values else "" for name in sorted(reads)}

    def copy(self) -> Namespace:
        """Another that begins with the same."""
        return Namespace(dict(self.values), {name: set(others) for name, others in self.shared.items()})

    def apply(self, names: Names, signature: str, cell: str, outcome: Outcome) -> set[str]:
        """Let a source run, and tell what it sets or changes; one that fails may have set its names or not."""
        written = self.writes(names, signature, cell, outcome)
        self.values.update(written)
        self.share(names, names.sets if outcome == "ok" else set())
        return set(written)

    def writes(self, names: Names, signature: str, cell: str, outcome: Outcome) -> dict[str, Value]:
        """What a source would set or change, as it would leave it."""
        sets = names.sets if outcome == "ok" else set()
        if outcome != "ok":
            signature = digest(signature, outcome)
        changes = self._reach(names)[1] | (names.sets - sets)
        if EVERYTHING in changes:
            changes |= self.values.keys()
        changes = {other for name in changes for other in (name, *self.shared.get(name, ()))}
        written = {}
        for name in changes | sets:
            old = None if name in sets else self.values.get(name)
            mark = digest(signature, name, "" if old is None else old.signature)
            closure = self._closure(name, names) | (NOTHING if old is None else old.closure)
            module = name in names.modules or (old is not None and old.module)
            written[name] = Value(mark, cell, closure, module)
        return written

    def _reach(self, names: Names) -> tuple[set[str], set[str]]:
        """What a source reads and changes, with what is done by the functions and objects that it uses."""
        reads, changes = set(names.reads), set(names.changes)
        touched = {name for name in names.touches if name not in self.values or not self.values[name].module}
        changes |= touched
        for called, given in names.given.items():
            if called in names.sets:
                continue
            if called in self.values and self.values[called].closure.arguments:
                changes |= given
                reads |= given
        ahead, seen = list(reads), set()
        while ahead:
            name = ahead.pop()
            if name in seen:
                continue
            seen.add(name)
            closure = self.values[name].closure if name in self.values else NOTHING
            reads |= closure.reads
            changes |= closure.changes
            if closure.once:
                changes.add(name)
            ahead += closure.reads
        return reads, changes

    def _closure(self, name: str, names: Names) -> Closure:
        """What a name that a source sets will do when it is used, and what it is made of does."""
        found = names.closures.get(name, NOTHING)
        ahead, seen = list(names.draws.get(name, ())), set()
        while ahead:
            source = ahead.pop()
            if source in seen:
                continue
            seen.add(source)
            if source in names.closures:
                found |= names.closures[source]
                ahead += names.draws.get(source, ())
            if source in self.values:
                found |= self.values[source].closure
        return found

    def share(self, names: Names, sets: Iterable[str]) -> None:
        """Let a source that sets those names make them share objects with others, or no longer."""
        for name in sets:
            for other in self.shared.pop(name, ()):
                self.shared[other].discard(name)
        for name, sources in names.shares.items():
            group = {name} | sources | self.shared.get(name, set())
            for source in sources:
                group |= self.shared.get(source, set())
            for member in group:
                self.shared[member] = group - {member}


def signature_of(names: Names, reads: Mapping[str, str]) -> str:
    """The same for the same code with the same inputs."""
    return digest(names.code, *(f"{name}={signature}" for name, signature in reads.items()))


def digest(*parts: str) -> str:
    """A short name for some texts."""
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=12).hexdigest()
