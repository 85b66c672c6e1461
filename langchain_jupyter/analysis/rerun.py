"""A run of all cells from the top, thought through; and again, only where something has changed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from langchain_jupyter.analysis.dependencies import names_of
from langchain_jupyter.analysis.names import EVERYTHING, Names
from langchain_jupyter.analysis.namespace import Namespace, Outcome, Value, signature_of
from langchain_jupyter.models import Cell


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one cell does when its turn comes.

    Attributes:
        cell: As it stood.
        names: Of its source.
        reads: Its inputs: name -> signature.
        signature: Of its source and its inputs.
        outcome: How such a run ended, or is thought to end.
        writes: What it sets or changes, as it leaves it.
        concerned: All names on which any of that depends.
    """

    cell: Cell
    names: Names
    reads: Mapping[str, str]
    signature: str
    outcome: Outcome
    writes: Mapping[str, Value]
    concerned: frozenset[str]

    @property
    def sets(self) -> set[str]:
        """Names that it binds anew."""
        return self.names.sets if self.outcome == "ok" else set()

    @property
    def links(self) -> bool:
        """Whether it makes names share objects."""
        return any(self.names.shares.values())

    @property
    def wild(self) -> bool:
        """Whether it may read or change what nobody can foresee."""
        return EVERYTHING in self.concerned


class Rerun:
    """Goes through the cells as if they were run in order in a new kernel.

    A cell that reads otherwise than the last time is thought through again, and so are those below that depend on what
    it then does otherwise; for the others, what they did the last time is taken over. Where that cannot be told (cells
    in another order, objects shared between names, `exec`), all that follow are thought through again.

    Args:
        outcome_of: How a run of that signature ended the last time.

    Attributes:
        namespace: What the names are before the step that `through` gives.
    """

    def __init__(self, outcome_of: Callable[[str], Outcome]) -> None:
        self.namespace = Namespace()
        self._outcome_of = outcome_of
        self._steps: dict[str, Step] = {}

    def through(self, cells: Sequence[Cell]) -> Iterator[Step]:
        """The steps in order; one of before is the same object, as long as its cell is."""
        known, self._steps = self._steps, {}
        self.namespace = Namespace()
        changes = _Changes(known, {cell.id for cell in cells})
        for cell in cells:
            before = changes.before(cell.id, sharing=bool(self.namespace.shared))
            step = before if before is not None and self._stands(before, cell, changes) else self._think(cell, before)
            yield step
            self._pass(step)
            changes.note(before, step, sharing=bool(self.namespace.shared))
            if not step.wild:
                self._steps[cell.id] = step

    def _stands(self, step: Step, cell: Cell, changes: _Changes) -> bool:
        same = step.cell is cell or step.cell == cell
        return same and not changes.concern(step) and self._outcome_of(step.signature) == step.outcome

    def _think(self, cell: Cell, before: Step | None) -> Step:
        names = before.names if before is not None and before.cell.source == cell.source else names_of(cell.source)
        reads = self.namespace.inputs(names)
        signature = signature_of(names, reads)
        outcome = self._outcome_of(signature)
        writes = self.namespace.writes(names, signature, cell.id, outcome)
        return Step(cell, names, reads, signature, outcome, writes, names.mentioned | reads.keys() | writes.keys())

    def _pass(self, step: Step) -> None:
        self.namespace.values.update(step.writes)
        if step.links or self.namespace.shared:
            self.namespace.share(step.names, step.sets)


class _Changes:
    """What is other than in the last pass, at one moment of this one."""

    def __init__(self, known: Mapping[str, Step], here: set[str]) -> None:
        self._known = known
        self._here = here
        self._order = list(known)
        self._at = 0
        self._names: set[str] = set()
        self._all = False

    def before(self, cell_id: str, *, sharing: bool) -> Step | None:
        """The step of that cell in the last pass. Those that stood above it then and are gone, are noted."""
        while self._at < len(self._order) and self._order[self._at] not in self._here:
            self.note(self._known[self._order[self._at]], None, sharing=sharing)
            self._at += 1
        step = self._known.get(cell_id)
        if step is not None:
            self._all = self._all or self._order[self._at] != cell_id
            self._at += 1
        return step

    def concern(self, step: Step) -> bool:
        """Whether the step may be another one now."""
        return self._all or not (self._names.isdisjoint(step.concerned) and (not self._names or not step.wild))

    def note(self, before: Step | None, now: Step | None, *, sharing: bool) -> None:
        """One step instead of another, or where there was or is none; `sharing` if names share objects by then."""
        if before is now:
            if self._names and now is not None:
                self._names -= now.writes.keys()
            return
        for step in (before, now):
            if step is not None and (sharing or step.links or step.wild) and not _alike(before, now):
                self._all = True
        was = {} if before is None else before.writes
        becomes = {} if now is None else now.writes
        for name in was.keys() | becomes.keys():
            if was.get(name) == becomes.get(name):
                self._names.discard(name)
            else:
                self._names.add(name)


def _alike(one: Step | None, other: Step | None) -> bool:
    """Whether both make the same names share objects."""
    return one is not None and other is not None and one.names is other.names and one.outcome == other.outcome
