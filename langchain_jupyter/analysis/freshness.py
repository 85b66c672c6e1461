"""Which cells show what the notebook would show if it were run from the top. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_jupyter.analysis.dependencies import names_of
from langchain_jupyter.analysis.names import EVERYTHING, RANDOM
from langchain_jupyter.analysis.namespace import Namespace, Outcome, digest, signature_of
from langchain_jupyter.analysis.rerun import Rerun, Step
from langchain_jupyter.models import Cell, Standing

_PYTHON = frozenset({"python", "python3", "ipython", ""})
_KEPT = 20_000
_SCRATCH = "(scratch)"


@dataclass(frozen=True, slots=True)
class Ran:
    """The last run of a cell.

    Attributes:
        signature: Of its source and its inputs.
        source: As it was sent; None if all that is known of it is that it was another than stands there now.
        reads: The inputs: name -> signature then.
        outcome: How it ended.
        execution_count: The kernel's counter.
        order: Which run it was, over all cells.
        generation: Which start of the kernel.
        died: Whether the kernel ended in it.
    """

    signature: str
    source: str | None
    reads: Mapping[str, str]
    outcome: Outcome
    execution_count: int | None
    order: int
    generation: int
    died: bool = False


class History:
    """What has run in one kernel, and what that means for the cells as they stand now.

    The runs are replayed by signature: that of a run covers its source and the signatures of what it reads, that of a
    name covers the runs that made it. A cell is fresh if its last run has the signature that it would have if all cells
    were run in order in a new kernel. For languages other than Python, every cell is taken to depend on all above it.

    Attributes:
        version: Goes up with each run, and each end of a kernel.
    """

    def __init__(self) -> None:
        self.version = 0
        self._namespace = Namespace()
        self._runs: dict[str, Ran] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._told: dict[str, tuple[Step, int, Standing]] = {}
        self._ids: list[str] = []
        self._rerun = Rerun(lambda signature: self._outcomes.get(signature, "ok"))
        self._order = 0
        self._generation = 0

    def adopt(self, cells: Iterable[Cell], *, alive: bool) -> None:
        """Take the cells of a notebook that was just opened.

        Args:
            cells: With the execution counts that they were saved with.
            alive: Whether the kernel that ran them is the one of now.
        """
        self.version += 1
        self._runs.clear()
        if not alive:
            for cell in cells:
                if cell.cell_type == "code" and cell.execution_count is not None:
                    self._lost(cell.id, cell.source, cell.execution_count)
        else:
            self.observe(cells)

    def edited(self, cell_id: str) -> None:
        """A cell was edited since it ran, before the notebook was opened."""
        if cell_id in self._runs:
            self._runs[cell_id] = replace(self._runs[cell_id], source=None)

    def observe(self, cells: Iterable[Cell]) -> None:
        """Take note of runs that somebody else has made, told by execution counts that we have not given."""
        fresh = [
            cell
            for cell in cells
            if cell.cell_type == "code"
            and not cell.running
            and cell.execution_count is not None
            and (cell.id not in self._runs or self._runs[cell.id].execution_count != cell.execution_count)
        ]
        for cell in sorted(fresh, key=lambda each: each.execution_count or 0):
            failed = any(output["output_type"] == "error" for output in cell.outputs)
            self.ran(cell.id, cell.source, "error" if failed else "ok", cell.execution_count)

    def ran(self, cell_id: str | None, source: str, outcome: Outcome, execution_count: int | None = None) -> None:
        """A cell, or scratch code, has run to its end.

        Args:
            cell_id: None for scratch code.
            source: As it was sent.
            outcome: "unknown" if it was stopped in between.
            execution_count: The kernel's counter.
        """
        self.version += 1
        names = names_of(source)
        reads = self._namespace.inputs(names)
        signature = signature_of(names, reads)
        self._order += 1
        if outcome == "unknown":
            signature = digest(signature, str(self._order))
        self._outcomes[signature] = outcome
        _keep_latest(self._outcomes, signature)
        self._namespace.apply(names, signature, cell_id or _SCRATCH, outcome)
        if cell_id is not None:
            self._runs[cell_id] = Ran(signature, source, reads, outcome, execution_count, self._order, self._generation)
            _keep_latest(self._runs, cell_id)

    def died(self, cell_id: str, source: str, execution_count: int | None) -> None:
        """The kernel ended while a cell ran."""
        self._lost(cell_id, source, execution_count, died=True)

    def cell_of_count(self, execution_count: int) -> str | None:
        """Id of the cell that ran under that count of the kernel of now, if that was its last run."""
        runs = ((cell_id, run) for cell_id, run in reversed(self._runs.items()) if run.generation == self._generation)
        return next((cell_id for cell_id, run in runs if run.execution_count == execution_count), None)

    def unmade(self, name: str, cells: Sequence[Cell]) -> str | None:
        """Id of the last of these cells that sets a name and has not run in this kernel; None where one has set it."""
        setting = [cell.id for cell in cells if cell.cell_type == "code" and name in names_of(cell.source).sets]
        runs = {cell_id: self._runs[cell_id] for cell_id in setting if cell_id in self._runs}
        here = {cell_id: run.outcome for cell_id, run in runs.items() if run.generation == self._generation}
        if "ok" in here.values():
            return None
        return next((cell_id for cell_id in reversed(setting) if cell_id not in here), None)

    def restarted(self) -> None:
        """The kernel's process is a new one."""
        self.version += 1
        self._generation += 1
        self._namespace = Namespace()

    def standings(
        self, cells: Sequence[Cell], *, language: str = "python", name_of: Callable[[str], str] = str
    ) -> dict[str, Standing]:
        """Where each code cell stands.

        Args:
            cells: All cells of the notebook, in order.
            language: Of the kernel.
            name_of: Cell id -> what the cell is called in reasons.
        """
        self.observe(cells)
        code = [cell for cell in cells if cell.cell_type == "code"]
        if language not in _PYTHON:
            return self._by_order(code, name_of)
        found: dict[str, Standing] = {}
        for cell in code:
            if (known := self._known(cell, lambda source: names_of(source).code)) is not None:
                found[cell.id] = known
        last = max((at for at, cell in enumerate(code) if cell.id not in found), default=-1)
        ids = [cell.id for cell in code]
        told, self._told = self._told, {}
        for step in self._rerun.through(code[: last + 1]):
            cell_id = step.cell.id
            if cell_id not in found:
                before = told.get(cell_id)
                if before is None or before[:2] != (step, self.version) or (before[2].why and ids != self._ids):
                    before = step, self.version, self._standing(step, name_of)
                self._told[cell_id], found[cell_id] = before, before[2]
        self._ids = ids
        return {cell.id: found[cell.id] for cell in code}

    def plan(self, cells: Sequence[Cell], *, language: str = "python") -> list[str]:
        """The cells to run, in order, so that none is stale: those that are, and those that make what they read.

        A cell that ran and whose names were bound again below runs again before it is read, and so does what bound
        them again, or the kernel would hold something else than the notebook says.

        Args:
            cells: All cells of the notebook, in order.
            language: Of the kernel.
        """
        standings = self.standings(cells, language=language)
        code = [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]
        stale = [cell.id for cell in code if standings[cell.id].state == "stale"]
        if not stale or language not in _PYTHON:
            first = next((at for at, cell in enumerate(code) if cell.id in stale), len(code))
            return [cell.id for cell in code[first:]]
        wanted = set(stale)
        while missing := self._missing(code, wanted, standings):
            wanted |= missing
        return [cell.id for cell in code if cell.id in wanted]

    def _missing(self, cells: Sequence[Cell], wanted: set[str], standings: Mapping[str, Standing]) -> set[str]:
        """Cells that have to run as well, or those that are wanted would read or leave behind something else."""
        clean, actual = Namespace(), self._namespace.copy()
        missing: set[str] = set()
        touched: set[str] = set()
        for cell in cells:
            names = names_of(cell.source)
            reads = clean.inputs(names)
            signature = signature_of(names, reads)
            outcome = self._outcomes.get(signature, "ok")
            if cell.id in wanted:
                then = actual.inputs(names)
                differing = [name for name in {*reads, *then} if reads.get(name, "") != then.get(name, "")]
                missing |= {clean.values[name].cell for name in differing if name in clean.values}
                touched |= actual.apply(names, signature_of(names, then), cell.id, outcome)
            clean.apply(names, signature, cell.id, outcome)
        for name in touched & clean.values.keys():
            now, last = actual.values.get(name), clean.values[name]
            if standings[last.cell].state != "not run" and (now is None or now.signature != last.signature):
                missing.add(last.cell)
        return missing - wanted

    def _lost(self, cell_id: str, source: str, execution_count: int | None, *, died: bool = False) -> None:
        """A cell ran in a kernel that is gone."""
        self.version += 1
        self._runs[cell_id] = Ran("", source, {}, "unknown", execution_count, 0, -1, died)

    def _standing(self, step: Step, name_of: Callable[[str], str]) -> Standing:
        """Of a cell whose turn it is in the run from the top."""
        run = self._runs[step.cell.id]
        if run.signature != step.signature:
            return Standing("stale", self._cause(step.cell, run, self._rerun.namespace, step.reads, name_of))
        now = self._namespace.inputs(step.names)
        later = [name for name in sorted({*now, *run.reads}) if now.get(name, "") != run.reads.get(name, "")]
        changed = f"{_named(later)} changed since" if later else ""
        return Standing("error" if run.outcome == "error" else "ok", changed)

    def _known(self, cell: Cell, code_of: Callable[[str], str]) -> Standing | None:
        """What can be told of a cell without its dependencies."""
        if cell.running:
            return Standing("running")
        run = self._runs.get(cell.id)
        if run is None or (cell.execution_count is None and not run.died):
            return Standing("not run")
        if run.source is None or (run.source != cell.source and code_of(run.source) != code_of(cell.source)):
            return Standing("stale", "edited since it ran")
        if run.died:
            return Standing("died")
        if run.generation != self._generation:
            return Standing("stale", "ran before the kernel started")
        return Standing("stale", "was stopped") if run.outcome == "unknown" else None

    def _cause(
        self, cell: Cell, run: Ran, clean: Namespace, reads: Mapping[str, str], name_of: Callable[[str], str]
    ) -> str:
        """Why a run is not the one that the cells above would lead to, by the first name that differs."""
        differing = [name for name in sorted({*reads, *run.reads}) if reads.get(name) != run.reads.get(name)]
        name = next((each for each in differing if each not in (EVERYTHING, RANDOM)), "")
        if not name:
            return "the order of runs differs"
        value = clean.values.get(name)
        if value is None:
            return f"{name} is set by no cell above"
        now = self._namespace.values.get(name)
        if now is not None and now.cell == cell.id and run.reads.get(name):
            return f"{name} was changed by an earlier run of it"
        return f"{name} changed" if value.cell == cell.id else f"{name} changed in {name_of(value.cell)}"

    def _by_order(self, cells: Sequence[Cell], name_of: Callable[[str], str]) -> dict[str, Standing]:
        found: dict[str, Standing] = {}
        latest, doubt = 0, ""
        for cell in cells:
            standing = self._known(cell, str.strip) if cell.source.strip() else Standing("not run")
            run = self._runs.get(cell.id)
            if standing is None and run is not None:
                if doubt or run.order < latest:
                    standing = Standing("stale", doubt or "a cell above ran again")
                else:
                    standing = Standing("error" if run.outcome == "error" else "ok")
            found[cell.id] = standing or Standing("not run")
            if cell.source.strip():
                latest = max(latest, run.order if run is not None else 0)
                if found[cell.id].state not in ("ok", "error", "running"):
                    doubt = doubt or f"{name_of(cell.id)} above is {found[cell.id].state}"
        return found


def _keep_latest(values: dict[str, Any], newest: str) -> None:
    """Forget the oldest of very many: cells that come and go leave their runs behind."""
    values[newest] = values.pop(newest)
    if len(values) > _KEPT:
        del values[next(iter(values))]


def _named(names: Sequence[str]) -> str:
    shown = [name for name in names if name != EVERYTHING]
    return f"{', '.join(shown[:3])}{' …' if len(shown) > 3 else ''}" if shown else "something"
