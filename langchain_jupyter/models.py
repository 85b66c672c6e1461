"""The values that travel between the layers: frozen, without behaviour beyond reading them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

CellType: TypeAlias = Literal["code", "markdown", "raw"]
Status: TypeAlias = Literal["ok", "error", "running", "input", "interrupted", "died", "lost"]
CellState: TypeAlias = Literal["not run", "running", "ok", "error", "died", "stale"]
KernelState: TypeAlias = Literal["not started", "starting", "idle", "busy", "dead", "disconnected"]
Scope: TypeAlias = Literal["all", "above", "below", "stale"]
"""Cells of a run of many: above a cell without it, below with it; stale ones with what they need to be so no more."""
Output: TypeAlias = Mapping[str, Any]
"""One nbformat output: a dict with `output_type` stream, display_data, execute_result or error.

Source: https://nbformat.readthedocs.io/en/latest/format_description.html#code-cell-outputs
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell as it stood when it was read.

    Attributes:
        id: The nbformat cell id, whole.
        cell_type: "code", "markdown" or "raw".
        source: The text of the cell, lines joined.
        execution_count: The kernel's counter at its last run; None if it never ran or is running.
        outputs: nbformat outputs in order; empty for cells that are not code.
        metadata: The cell's own metadata.
        running: Whether the document says that a kernel is executing it now.
    """

    id: str
    cell_type: CellType
    source: str
    execution_count: int | None = None
    outputs: Sequence[Output] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    running: bool = False


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """The exception that ended an execution, as the kernel told it.

    Attributes:
        name: Class name of the exception.
        value: Its text; may have several lines.
        traceback: One string per frame, with ANSI colours, as the kernel sent it.
    """

    name: str
    value: str
    traceback: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Execution:
    """What one execute_request came to, or has come to so far.

    Attributes:
        ref: Reference that wait_for_execution takes, such as "e7".
        cell_id: The cell that ran; None for scratch code.
        status: "error" if the code raised; that is a result, not a failure of ours. "lost" if the line to the kernel
            broke and nobody told how it ended: it may have run, in part or whole, and may run still.
        execution_count: The kernel's own counter, from 1; None if it never started.
        outputs: nbformat outputs in order of arrival, adjacent streams of one name joined.
        duration: Seconds from sending to the end, or until now while it runs.
        error: The exception, if the code raised or was interrupted.
        prompt: What input() or getpass() asks, while status is "input".
        password: Whether it asks for something that nobody may read.
        note: What else has to be said, such as why a kernel died; empty if nothing.
        truncated: Whether output is known to be missing; `note` says why.
    """

    ref: str
    cell_id: str | None
    status: Status
    execution_count: int | None = None
    outputs: Sequence[Output] = ()
    duration: float = 0.0
    error: ErrorInfo | None = None
    prompt: str = ""
    password: bool = False
    note: str = ""
    truncated: bool = False

    @property
    def finished(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status not in ("running", "input")


@dataclass(frozen=True, slots=True)
class KernelInfo:
    """The kernel bound to a notebook.

    Attributes:
        name: Kernel spec, such as "python3"; "" while it is not known.
        language: Language of its code, lower case; "" until it has told.
        state: What it is doing; "disconnected" if the line to it is lost.
        display_name: How people call it; "" until it has told.
        found: Whether it ran before we came, so that it may hold the variables of the notebook.
        followed: Whether we left another one for it, because people have the notebook open in it.
    """

    name: str
    language: str = ""
    state: KernelState = "not started"
    display_name: str = ""
    found: bool = False
    followed: bool = False

    @property
    def label(self) -> str:
        """Name and state on a line; the state alone while it is not known which kernel it will be."""
        return f"{self.name} {self.state}".lstrip()


@dataclass(frozen=True, slots=True)
class NotebookInfo:
    """A notebook and its kernel at one moment.

    Attributes:
        path: As the user gave it.
        saved: Whether the whole file holds every change (the journal may hold them already).
        kernel: The kernel bound to it.
        cells: Number of cells by type.
    """

    path: str
    saved: bool
    kernel: KernelInfo
    cells: Mapping[CellType, int]


@dataclass(frozen=True, slots=True)
class NotebookFile:
    """A notebook of a workspace, open or not.

    Attributes:
        path: Relative to the workspace's root, with `/` between the parts.
        size: Bytes; 0 if not known.
        modified: Seconds since the epoch.
    """

    path: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a code cell stands.

    Attributes:
        state: "ok" and "error" if it shows what it would show if all cells were run in order in a new kernel; "died"
            if the kernel ended while it ran; "stale" if it ran, but would not, or not for certain.
        why: Why it is stale; or what it reads and would find changed if it alone were run again; empty for nothing.
    """

    state: CellState
    why: str = ""


@dataclass(frozen=True, slots=True)
class CellOutcome:
    """What became of one cell in a run of many.

    Attributes:
        cell_id: Which one.
        execution: How it ran; None if it did not.
        note: Why it did not run; or what differs from the outputs that it had before; empty for nothing.
    """

    cell_id: str
    execution: Execution | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class BatchState:
    """A run of many cells, finished or so far.

    Attributes:
        ref: Reference that wait_for_execution takes, such as "r2".
        status: "ok" if all cells ran that should; else the status of the one that it stopped at, or that runs.
        outcomes: The cells that ran or were passed over, in order.
        current: What runs now; None if nothing does.
        left: Ids of the cells that have not had their turn.
        duration: Seconds from the start to the end, or until now.
        restarted: Whether the kernel was started anew first, so that outputs could be compared.
        note: Why it stopped, where no cell tells; empty if nothing.
    """

    ref: str
    status: Status
    outcomes: Sequence[CellOutcome]
    current: Execution | None = None
    left: Sequence[str] = ()
    duration: float = 0.0
    restarted: bool = False
    note: str = ""
