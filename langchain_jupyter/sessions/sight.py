"""What one caller has last seen of a notebook: which handle means which cell, and whether that cell is still so."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.errors import CellAmbiguous, CellChanged, CellNotFound
from langchain_jupyter.models import Cell, Execution
from langchain_jupyter.rendering.fences import fenced, printable
from langchain_jupyter.sessions.positions import Positions

_POSITION = re.compile(r"#?(\d{1,9})")
_COUNT = re.compile(r"(?:In)?\s*\[(\d{1,9})\]")
_SHOWN = 8_000
_READ = 1_000_000
_MEMBER = "\x1f"
_CALLERS = 200
_LOOKED = 100
_GONE = 100


def member_of(family: str, member: str) -> str:
    """The name of a caller that shares its memory with others of its family; see `Sights`."""
    return f"{family}{_MEMBER}{member}" if member else family


def family_of(caller: str) -> str:
    """The family that a caller belongs to; its own name, if it has none."""
    return caller.partition(_MEMBER)[0]


class Sight:
    """The memory of one caller: a LangGraph thread, an MCP client, or the toolkit itself.

    Attributes:
        generation: Which start of the kernel it has been told of.
        positions: Which cells it means by them.
        late: How much of what runs put out after their end it has been told of; see `LateOutputs.count`.
    """

    def __init__(self, generation: int, late: int = 0) -> None:
        self.generation = generation
        self.positions = Positions()
        self.late = late
        self._sources: dict[str, str] = {}
        self._looked: dict[str, tuple[int, int, int]] = {}

    def copy(self) -> Sight:
        """The same memory, to go on from."""
        twin = Sight(self.generation, self.late)
        twin._sources, twin._looked = dict(self._sources), dict(self._looked)
        twin.positions = self.positions.copy()
        return twin

    def saw(self, cell: Cell) -> None:
        """The caller was shown this cell, or wrote it."""
        self._sources.pop(cell.id, None)
        self._sources[cell.id] = cell.source

    def forget(self, cell_ids: Iterable[str]) -> None:
        """What the caller saw of these cells no longer counts: it has been taken back to an earlier state of them."""
        for cell_id in cell_ids:
            self._sources.pop(cell_id, None)

    def tidy(self, document: NotebookDocument) -> None:
        """Of the cells that are gone, remember the latest only."""
        if len(self._sources) > 2 * len(document) + _GONE:
            self.forget([cell_id for cell_id in self._sources if cell_id not in document][:-_GONE])

    def unseen(self, execution: Execution) -> Execution:
        """The execution with what came since this caller last looked at it, which is now."""
        count, size, digest = self._looked.get(execution.ref, (0, 0, 0))
        outputs = list(execution.outputs)
        fresh = outputs[max(count - 1, 0) :]
        if count and fresh:
            now = str(fresh[0].get("text", ""))
            grown = hash(now[:size]) == digest
            if len(now) == size and grown:
                del fresh[0]
            elif grown:
                fresh[0] = {**fresh[0], "text": now[size:]}
        self.looked(execution)
        return replace(execution, outputs=fresh)

    def looked(self, execution: Execution) -> None:
        """The caller was shown all outputs that an execution has so far."""
        outputs = execution.outputs
        text = str(outputs[-1].get("text", "")) if outputs else ""
        self._looked.pop(execution.ref, None)
        self._looked[execution.ref] = (len(outputs), len(text), hash(text))
        while len(self._looked) > _LOOKED:
            del self._looked[next(iter(self._looked))]

    def check(self, document: NotebookDocument, cell_id: str) -> None:
        """Refuse if somebody else changed the cell since this caller last saw it. What is shown whole is seen thereby.

        Raises:
            CellChanged: With the text as it is now.
        """
        now, seen = document.cell(cell_id), self._sources.get(cell_id)
        if seen is None or seen == now.source:
            return
        shown = fenced(printable(now.source, _READ), "source", _SHOWN, str, fold=False)
        if shown is not None and not shown[1]:
            self.saw(now)
        raise CellChanged(
            f"Cell '{document.handle(cell_id)}' was changed by somebody else since you last saw it. "
            f"It is now:\n{shown[0] if shown else '(too long to be shown; read_cell shows it)'}\n"
        )

    def resolve(self, document: NotebookDocument, text: str, *, turn: str = "") -> str:
        """The id of the cell that `text` means: a handle, a position (`3`, `#3`) or an execution count (`[12]`).

        Args:
            document: Where the cell is.
            text: As the caller gave it.
            turn: Names the turn of a model that makes the call; see `Positions`.

        Raises:
            CellNotFound: No cell, never a fallback to another one.
            CellAmbiguous: Several cells.
            OrderChanged: A position, but the cells have moved since this caller saw them.
        """
        self.positions.enter(document, turn)
        text = text.strip()
        if text in document:
            return text
        if count := _COUNT.fullmatch(text):
            return _by_count(document, int(count[1]))
        if position := _POSITION.fullmatch(text):
            return self.positions.cell_at(document, int(position[1]))
        return _by_prefix(document, text)


class Sights:
    """The memory of each caller; those that were silent longest are forgotten.

    A caller that is new in its family begins with what the last one of that family has seen: some clients come under
    a new name at each call, and their memory must not be lost between two of them.
    """

    def __init__(self) -> None:
        self._of: dict[str, Sight] = {}
        self._latest: dict[str, str] = {}

    def __contains__(self, caller: str) -> bool:
        return family_of(caller) in self._latest

    def of(self, caller: str, generation: int, late: int = 0) -> Sight:
        """What that caller has seen so far.

        Args:
            caller: See `member_of`.
            generation: Which start of the kernel a caller without a memory is told of.
            late: How much of late outputs such a caller need not be told of.
        """
        sight = self._of.pop(caller, None)
        family = family_of(caller)
        if sight is None:
            latest = self._of.get(self._latest.get(family, ""))
            sight = Sight(generation, late) if latest is None else latest.copy()
        self._of[caller] = sight
        self._latest[family] = caller
        while len(self._of) > _CALLERS:
            oldest = next(iter(self._of))
            del self._of[oldest]
            self._latest = {family: name for family, name in self._latest.items() if name != oldest}
        return sight


def _by_prefix(document: NotebookDocument, prefix: str) -> str:
    known = document.matching(prefix) if len(prefix) >= 4 else []
    alive = [cell_id for cell_id in known if cell_id in document]
    if len(known) == 1 and alive:
        return alive[0]
    if len(alive) > 1 or (alive and len(known) > 1):
        names = ", ".join(document.handle(cell_id) for cell_id in alive[:5])
        raise CellAmbiguous(f"'{prefix}' may mean several cells: {names}.")
    if known:
        raise CellNotFound(f"Cell '{prefix}' was deleted.")
    raise CellNotFound(f"No cell '{prefix}' among the {len(document)} cells. {_nearest(document, prefix)}")


def _by_count(document: NotebookDocument, count: int) -> str:
    found = [cell.id for cell in document.cells() if cell.execution_count == count]
    if not found:
        raise CellNotFound(f"No cell has the execution count [{count}].")
    if len(found) > 1:
        names = ", ".join(document.handle(cell_id) for cell_id in found)
        raise CellAmbiguous(f"Several cells have the execution count [{count}]: {names}.", hint="Use the handle.")
    return found[0]


def _nearest(document: NotebookDocument, prefix: str) -> str:
    def shared(cell_id: str) -> int:
        return next((at for at, (a, b) in enumerate(zip(cell_id, prefix, strict=False)) if a != b), 0)

    nearest = sorted(document.ids, key=shared, reverse=True)[:3]
    return "Nearest: " + ", ".join(document.handle(cell_id) for cell_id in nearest) + "." if nearest else ""
