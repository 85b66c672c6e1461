"""Tools that look at the notebook and change nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel, Field

from langchain_jupyter.rendering.cells import render_cell, render_cells, state_of
from langchain_jupyter.rendering.outline import render_outline
from langchain_jupyter.rendering.reading import render_output
from langchain_jupyter.rendering.render import Rendered
from langchain_jupyter.rendering.variables import render_variables
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.tools.arguments import ToolArgs
from langchain_jupyter.tools.base import JupyterTool
from langchain_jupyter.tools.call import Call

CELL = "Cell handle from get_notebook_info"
FIND = "text, or /regular expression/"


class NoArgs(ToolArgs):
    """Nothing that the model gives, yet not an empty schema: that would drop the runtime."""


class ReadAllCellsArgs(ToolArgs):
    """Arguments of read_all_cells."""

    find: str = Field(default="", description=f"Only cells with this in source or output: {FIND}")
    start: int = Field(default=0, description="Position of the first cell, from 0")
    limit: int = Field(default=0, description="How many cells; 0 = as many as fit")
    outputs: bool = Field(default=True, description="With outputs")


class ReadCellArgs(ToolArgs):
    """Arguments of read_cell."""

    cell: str = Field(description=CELL)


class ReadOutputArgs(ToolArgs):
    """Arguments of read_output."""

    output: str = Field(description='Reference of a cut output or an image, such as "o3"')
    find: str = Field(default="", description=f"Only lines with this: {FIND}")
    start: int = Field(default=0, description="First line, from 0")
    lines: int = Field(default=60, description="How many lines")


class InspectArgs(ToolArgs):
    """Arguments of inspect_variables."""

    names: list[str] = Field(default=[], description="Tell all about these; none = all in brief")


class GetNotebookInfo(JupyterTool):
    """The outline of the notebook."""

    effect = "read"
    name: str = "get_notebook_info"
    description: str = "Outline of the notebook: kernel, and each cell's handle, state and first line. Start here."
    args_schema: type[BaseModel] = NoArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        return outline_of(call.session, call.caller)


class ReadAllCells(JupyterTool):
    """Cells in order."""

    effect = "read"
    name: str = "read_all_cells"
    description: str = "Sources and outputs of the cells in order, as many as fit, and how to go on."
    args_schema: type[BaseModel] = ReadAllCellsArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        document, sight = call.session.document, call.session.sight(call.caller)
        rendered = render_cells(
            list(document.cells()),
            handle_of=document.handle,
            find=arguments["find"],
            start=arguments["start"],
            limit=arguments["limit"],
            outputs=arguments["outputs"],
            limits=call.limits,
            references=call.session.references,
            cell_of=call.session.cell_of_count,
            states=call.session.standings,
        )
        for cell_id in rendered.whole:
            sight.saw(document.cell(cell_id))
        sight.positions.saw(document)
        return rendered


class ReadCell(JupyterTool):
    """One cell whole."""

    effect = "read"
    name: str = "read_cell"
    description: str = "Whole source of a cell, and its outputs."
    args_schema: type[BaseModel] = ReadCellArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        document, sight = call.session.document, call.session.sight(call.caller)
        cell = document.cell(sight.resolve(document, arguments["cell"]))
        sight.saw(cell)
        return render_cell(
            cell,
            handle=document.handle(cell.id),
            position=document.index(cell.id),
            total=len(document),
            limits=call.limits,
            references=call.session.references,
            cell_of=call.session.cell_of_count,
            states=call.session.standings,
        )


class ReadOutput(JupyterTool):
    """The whole of an output that was cut."""

    effect = "read"
    name: str = "read_output"
    description: str = "More of an output that was cut: a window of lines, or matching lines; or an image."
    args_schema: type[BaseModel] = ReadOutputArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        ref = arguments["output"].strip()
        return await asyncio.to_thread(  # a large image takes most of a second
            render_output,
            ref,
            call.session.references.get(ref),
            find=arguments["find"],
            start=arguments["start"],
            lines=arguments["lines"],
            limits=call.limits,
        )


class InspectVariables(JupyterTool):
    """What the kernel holds."""

    effect = "read"
    name: str = "inspect_variables"
    description: str = "Variables: type, shape, preview, columns. Changes nothing."
    args_schema: type[BaseModel] = InspectArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        return render_variables(await call.session.inspect(arguments["names"]), call.limits)


def outline_of(session: NotebookSession, caller: str) -> Rendered:
    """The outline of a notebook; the caller has seen its cells thereby."""
    document, sight = session.document, session.sight(caller)
    cells = list(document.cells())
    for cell in cells:
        sight.saw(cell)
    sight.positions.saw(document)
    states = session.standings
    return render_outline(session.info, [(cell, document.handle(cell.id), state_of(cell, states)) for cell in cells])
