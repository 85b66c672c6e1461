"""The tools, and which of them a model gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from langchain_jupyter.errors import UsageError
from langchain_jupyter.tools.base import JupyterTool, ToolHost
from langchain_jupyter.tools.edit import (
    AppendMarkdownCell,
    DeleteCell,
    EditCellSource,
    InsertMarkdownCell,
    MoveCell,
    OverwriteCellSource,
)
from langchain_jupyter.tools.kernel import InterruptKernel, RestartKernel
from langchain_jupyter.tools.read import GetNotebookInfo, InspectVariables, ReadAllCells, ReadCell, ReadOutput
from langchain_jupyter.tools.review import CheckNotebook
from langchain_jupyter.tools.run import (
    AppendExecuteCodeCell,
    ExecuteCellWithProgress,
    InsertExecuteCodeCell,
    RunCells,
    RunCode,
    WaitForExecution,
)
from langchain_jupyter.tools.workspace import ListNotebooks, OpenNotebook

Preset: TypeAlias = Literal["notebook", "interpreter", "read_only", "workspace"]

TOOLS: tuple[type[JupyterTool], ...] = (
    GetNotebookInfo,
    ReadAllCells,
    ReadCell,
    ReadOutput,
    AppendMarkdownCell,
    InsertMarkdownCell,
    AppendExecuteCodeCell,
    InsertExecuteCodeCell,
    ExecuteCellWithProgress,
    OverwriteCellSource,
    EditCellSource,
    MoveCell,
    DeleteCell,
    RunCode,
    RunCells,
    WaitForExecution,
    InspectVariables,
    CheckNotebook,
    InterruptKernel,
    RestartKernel,
)

WORKSPACE_TOOLS: tuple[type[JupyterTool], ...] = (ListNotebooks, OpenNotebook, *TOOLS)

_INTERPRETER = (RunCode, ReadOutput, WaitForExecution, InspectVariables, InterruptKernel, RestartKernel)
_READING = tuple(tool for tool in TOOLS if tool.effect == "read" and tool is not WaitForExecution)

PRESETS: Mapping[str, tuple[type[JupyterTool], ...]] = {
    "notebook": TOOLS,
    "interpreter": _INTERPRETER,
    "read_only": _READING,
}
"""Tools that work on one notebook."""

WORKSPACE_PRESETS: Mapping[str, tuple[type[JupyterTool], ...]] = {
    "workspace": WORKSPACE_TOOLS,
    "read_only": (ListNotebooks, *_READING),
}
"""Tools that work on many; all but the first two take `notebook`."""


def build_tools(selection: str | Iterable[str], host: ToolHost) -> list[JupyterTool]:
    """The tools of a preset, or those of the given names; what is not selected does not exist for the model.

    Raises:
        UsageError: No such preset or tool; names those that exist.
    """
    many = host.workspace.directory is not None
    presets, tools = (WORKSPACE_PRESETS, WORKSPACE_TOOLS) if many else (PRESETS, TOOLS)
    if isinstance(selection, str):
        if selection not in presets:
            kind = "a root" if many else "one notebook"
            raise UsageError(
                f"No preset {selection!r} of tools for {kind}. Presets: {', '.join(presets)}; or a list of names."
            )
        return [tool(host) for tool in presets[selection]]
    by_name = {str(tool.model_fields["name"].default): tool for tool in tools}
    wanted = list(selection)
    if unknown := [name for name in wanted if name not in by_name]:
        raise UsageError(f"No tools {', '.join(unknown)}. Tools: {', '.join(by_name)}.")
    return [by_name[name](host) for name in wanted]
