"""Everything this package raises.

    JupyterError
    ├── UsageError                 the developer called us wrongly; raised, never shown to a model
    │   ├── SettingsError          a setting or argument has a value that cannot work
    │   └── MissingExtra           an optional dependency is not installed
    ├── OutOfReach                 the world does not answer; raised, the agent's run stops
    │   ├── DocumentError          the notebook cannot be opened or kept
    │   │   ├── DocumentConflict   somebody else changed the same cells on disk
    │   │   └── NotebookTooLarge   it is larger than may be opened
    │   ├── KernelStartError       no kernel could be started
    │   ├── KernelDied             the kernel's process ended
    │   ├── ConnectionLost         the channel to a kernel or server broke
    │   ├── ServerUnreachable      nobody answers at the server's address
    │   └── ServerError            a server answered that it cannot, or will not
    │       └── ServerRefused      the token is missing, wrong, or not enough
    └── ToolError                  this call failed and the model can do something about it
        ├── InvalidArgument, CellNotFound, CellAmbiguous, OrderChanged, CellChanged, CellGuarded, NotApproved,
        ├── TextNotFound, SourceTooLarge, NotACodeCell, Busy, ExecutionNotFound, OutputNotFound,
        ├── KernelUnavailable, NotKept, ChangedOnDisk,
        └── NotebookNotFound, NotebookUnavailable, OutsideRoot, KernelNotFound, InspectionUnavailable

Code in a cell that raises is none of these: it is a result (`Execution.status == "error"`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class JupyterError(Exception):
    """Base of every exception of this package."""


class UsageError(JupyterError, ValueError):
    """The developer called us wrongly. Says what was given, what is accepted, and how to mend it."""


class SettingsError(UsageError):
    """A setting, argument or environment variable has a value that cannot work."""


class MissingExtra(UsageError, ImportError):
    """An optional dependency is not installed.

    Args:
        extra: Name of the extra of `langchain-jupyter` that brings it.
        needs: What was asked for, in the user's words.
    """

    def __init__(self, extra: str, needs: str) -> None:
        super().__init__(f"{needs} needs the extra '{extra}'. Install it: pip install 'langchain-jupyter[{extra}]'")
        self.extra = extra


class OutOfReach(JupyterError):
    """A file, process or server does not do what it should; retrying the tool call does not help."""


class DocumentError(OutOfReach):
    """The notebook cannot be opened or kept. Nothing on disk has been changed."""


class DocumentConflict(DocumentError):
    """Somebody else changed the same cells on disk since we read them.

    The version on disk stands; ours is in `copy`, and cells that did not clash are merged.

    Attributes:
        cells: Ids of the cells that clash.
        copy: Where the notebook as we had it was written.
    """

    def __init__(self, message: str, *, cells: Sequence[str], copy: str) -> None:
        super().__init__(message)
        self.cells = tuple(cells)
        self.copy = copy


class NotebookTooLarge(DocumentError):
    """The notebook is larger than may be opened (`NotebookLimits`). It was not opened, and not changed."""


class KernelStartError(OutOfReach):
    """No kernel could be started: unknown spec, or its process ended before it answered."""


class KernelDied(OutOfReach):
    """The kernel's process ended. Whatever ran is lost, and nothing is sent again.

    Its text says why, as far as known, and goes on a sentence: "the kernel was shut down …".
    """


class ConnectionLost(OutOfReach):
    """The channel broke. Whether the code ran, or how it ended, is unknown; nothing is sent again."""


class ServerUnreachable(OutOfReach):
    """Nobody answers at the server's address. Nothing was sent."""


class ServerError(OutOfReach):
    """A Jupyter server answered that it cannot or will not do what was asked.

    Attributes:
        status: The HTTP status; 0 if the answer was not one of a Jupyter server.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ServerRefused(ServerError):
    """The token is missing, wrong, expired, or does not give enough rights."""


class ToolError(JupyterError):
    """A tool call that failed for a reason the model can act upon.

    Rendered as `[code] what happened. What to do next.`

    Attributes:
        code: Stable, for programs.
        message: What, which one, what exists.
        hint: The next step.
    """

    code: ClassVar[str] = "failed"
    hint: str = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = message
        if hint is not None:
            self.hint = hint
        super().__init__(f"[{self.code}] {message}" + (f" {self.hint}" if self.hint else ""))


class InvalidArgument(ToolError):
    """An argument is outside what the tool accepts."""

    code = "invalid_argument"


class CellNotFound(ToolError):
    """No cell answers to that handle. Never a fallback to another cell."""

    code = "cell_not_found"
    hint = "Call get_notebook_info for the current cells."


class CellAmbiguous(ToolError):
    """Several cells answer to that handle."""

    code = "cell_ambiguous"
    hint = "Use more characters of the id."


class OrderChanged(ToolError):
    """A position was given, but the cells have moved since this caller last saw their order."""

    code = "order_changed"
    hint = "Use the handle of the cell instead of its position."


class CellChanged(ToolError):
    """Somebody else changed the cell since this caller last saw it."""

    code = "cell_changed"
    hint = "Nothing was done. Decide again with this text in view."


class CellGuarded(ToolError):
    """A person has marked the cell as not to be changed, or as not to be run without asking."""

    code = "cell_guarded"
    hint = "Nothing was done. Work in another cell, or tell the user what you wanted to change there."


class NotApproved(ToolError):
    """A person did not approve the call, or none could be asked."""

    code = "not_approved"


class TextNotFound(ToolError):
    """The text to replace stands in the cell not once, but never or several times."""

    code = "text_not_found"
    hint = "Call read_cell and give `old` exactly as it stands, with enough lines around it to be unique."


class SourceTooLarge(ToolError):
    """A source is longer than a tool may write or run."""

    code = "source_too_large"
    hint = "Nothing was done. Keep data in a file that the code reads, or spread the source over several cells."


class NotACodeCell(ToolError):
    """Only code cells can be run."""

    code = "not_a_code_cell"


class Busy(ToolError):
    """Another cell is running; runs are one at a time."""

    code = "busy"


class ExecutionNotFound(ToolError):
    """No execution has that reference."""

    code = "execution_not_found"


class OutputNotFound(ToolError):
    """No output has that reference, or it is no longer kept."""

    code = "output_not_found"
    hint = "Call read_cell to get a new reference."


class KernelUnavailable(ToolError):
    """The kernel was gone before the code was sent; the code has not run."""

    code = "kernel_unavailable"


class NotKept(ToolError):
    """The edit could not be kept (disk full, read-only) and was taken back."""

    code = "not_kept"


class ChangedOnDisk(ToolError):
    """The file was changed by another program in the cells that we changed; its version stands."""

    code = "changed_on_disk"
    hint = "Read those cells again and repeat the edit if it is still wanted."


class NotebookNotFound(ToolError):
    """No notebook, or no folder, of the workspace has that path."""

    code = "notebook_not_found"
    hint = "list_notebooks() gives the paths; open_notebook(path, create=true) makes a new one."


class NotebookUnavailable(ToolError):
    """The notebook is there, but cannot be opened; or it cannot be made."""

    code = "notebook_unavailable"


class OutsideRoot(ToolError):
    """A path leads out of the workspace."""

    code = "outside_root"
    hint = "Give a path relative to the workspace, without '..', such as 'folder/name.ipynb'."


class KernelNotFound(ToolError):
    """No kernel spec and no running kernel has that name."""

    code = "kernel_not_found"


class InspectionUnavailable(ToolError):
    """The variables of this kernel cannot be looked at, or not now."""

    code = "inspection_unavailable"
