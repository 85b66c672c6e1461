"""Tools that change cells and run nothing, unless asked to."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from langchain_jupyter.errors import ToolError
from langchain_jupyter.fences import restored
from langchain_jupyter.models import Cell
from langchain_jupyter.outline import render_diff
from langchain_jupyter.render import Rendered
from langchain_jupyter.sight import first_line, lines_around
from langchain_jupyter.tools.base import Call, JupyterTool, ToolArgs, answer, preceded
from langchain_jupyter.tools.read import CELL, ReadCellArgs
from langchain_jupyter.tools.run import rendered_run

BEFORE = f"{CELL}; the new cell goes before it"
RUN = "Run it afterwards"


class AppendMarkdownArgs(ToolArgs):
    """Arguments of append_markdown_cell."""

    source: str = Field(description="Markdown")


class InsertMarkdownArgs(ToolArgs):
    """Arguments of insert_markdown_cell."""

    cell: str = Field(description=BEFORE)
    source: str = Field(description="Markdown")


class OverwriteArgs(ToolArgs):
    """Arguments of overwrite_cell_source."""

    cell: str = Field(description=CELL)
    source: str = Field(description="New whole source")
    run: bool = Field(default=False, description=RUN)


class EditArgs(ToolArgs):
    """Arguments of edit_cell_source."""

    cell: str = Field(description=CELL)
    old: str = Field(description="Text that stands there exactly once")
    new: str = Field(description="Text to put in its place")
    run: bool = Field(default=False, description=RUN)


class MoveArgs(ToolArgs):
    """Arguments of move_cell."""

    cell: str = Field(description=CELL)
    before: str = Field(description='Handle of the cell to put it before; "" for the end')


class AppendMarkdownCell(JupyterTool):
    """A markdown cell at the end."""

    effect = "edit"
    name: str = "append_markdown_cell"
    description: str = "Add a markdown cell at the end."
    args_schema: type[BaseModel] = AppendMarkdownArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        cell = call.session.insert("markdown", arguments["source"], caller=call.caller, key=call.key)
        return _placed(call, cell, "added")


class InsertMarkdownCell(JupyterTool):
    """A markdown cell before another."""

    effect = "edit"
    name: str = "insert_markdown_cell"
    description: str = "Add a markdown cell before another cell."
    args_schema: type[BaseModel] = InsertMarkdownArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        before = resolve(call, arguments["cell"])
        cell = call.session.insert("markdown", arguments["source"], caller=call.caller, key=call.key, before=before)
        return _placed(call, cell, "added")


class OverwriteCellSource(JupyterTool):
    """A new source for a cell."""

    effect = "edit"
    name: str = "overwrite_cell_source"
    description: str = "Replace the whole source of a cell; shows what changed."
    args_schema: type[BaseModel] = OverwriteArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        cell_id = resolve(call, arguments["cell"])
        old, cell = call.session.overwrite(cell_id, arguments["source"], caller=call.caller)
        return await _edited(call, old, cell, run=arguments["run"])


class EditCellSource(JupyterTool):
    """A part of a source replaced."""

    effect = "edit"
    name: str = "edit_cell_source"
    description: str = "Replace a text that stands exactly once in a cell; shows what changed."
    args_schema: type[BaseModel] = EditArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        cell_id = resolve(call, arguments["cell"])
        old, new = arguments["old"], arguments["new"]
        source = call.session.document.source(cell_id)
        if old not in source and restored(old) in source:
            old, new = restored(old), restored(new)
        old, cell = call.session.replace_text(cell_id, old, new, caller=call.caller)
        return await _edited(call, old, cell, run=arguments["run"])


class MoveCell(JupyterTool):
    """A cell put elsewhere."""

    effect = "edit"
    name: str = "move_cell"
    description: str = "Move a cell before another one; shows the new order around it."
    args_schema: type[BaseModel] = MoveArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        cell_id = resolve(call, arguments["cell"])
        before = resolve(call, arguments["before"]) if arguments["before"] else ""
        call.session.move(cell_id, before, caller=call.caller)
        return _placed(call, call.session.document.cell(cell_id), "moved")


class DeleteCell(JupyterTool):
    """A cell removed."""

    effect = "edit"
    name: str = "delete_cell"
    description: str = "Delete a cell."
    args_schema: type[BaseModel] = ReadCellArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        cell_id = resolve(call, arguments["cell"])
        handle = call.session.document.handle(cell_id)
        cell = call.session.delete(cell_id, caller=call.caller)
        text = f"{handle} deleted ({cell.cell_type}): {first_line(cell.source)}"
        return answer(text, {"status": "ok", "cell": cell_id})


def resolve(call: Call, text: str) -> str:
    """The cell that the model means."""
    return call.session.sight(call.caller).resolve(call.session.document, text)


def _placed(call: Call, cell: Cell, verb: str) -> Rendered:
    document = call.session.document
    position = document.index(cell.id)
    text = f"{document.handle(cell.id)} {verb} at {position}. The cells around it:\n{lines_around(document, position)}"
    return answer(text, {"status": "ok", "cell": cell.id, "position": position})


async def _edited(call: Call, old: str, cell: Cell, *, run: bool) -> Rendered:
    handle = call.session.document.handle(cell.id)
    changed = "changed" if old != cell.source else "unchanged: it stood so already"
    text = f"{handle} {changed}\n{render_diff(old, cell.source)}".rstrip()
    if not run:
        return answer(text, {"status": "ok", "cell": cell.id})
    try:
        execution = await call.session.run_cell(cell.id, caller=call.caller, key=call.key, listener=call.emit)
    except ToolError as error:
        return answer(f"{text}\nIt was not run: {error}", {"status": "failed", "cell": cell.id, "code": error.code})
    return preceded(text, rendered_run(call, execution))
