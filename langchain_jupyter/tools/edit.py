"""Tools that change cells and run nothing, unless asked to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from langchain_jupyter.errors import ToolError
from langchain_jupyter.human import Act
from langchain_jupyter.models import Cell
from langchain_jupyter.rendering.fences import restored
from langchain_jupyter.rendering.outline import render_diff
from langchain_jupyter.rendering.render import Rendered
from langchain_jupyter.sessions.positions import first_line, lines_around
from langchain_jupyter.tools.approval import difference
from langchain_jupyter.tools.arguments import ToolArgs
from langchain_jupyter.tools.base import JupyterTool
from langchain_jupyter.tools.call import Call
from langchain_jupyter.tools.read import CELL, ReadCellArgs
from langchain_jupyter.tools.results import answer, preceded
from langchain_jupyter.tools.run import attended_run

RUN = "Run it afterwards"


class AppendMarkdownArgs(ToolArgs):
    """Arguments of append_markdown_cell."""

    source: str = Field(description="Markdown")


class InsertMarkdownArgs(ToolArgs):
    """Arguments of insert_markdown_cell."""

    cell: str = Field(description=CELL)
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
    new: str = Field(description="Text in its place")
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
        position = call.session.document.index(cell.id)
        text = f"{call.session.document.handle(cell.id)} added at {position}, the end"
        return answer(text, {"status": "ok", "cell": cell.id, "position": position})


class InsertMarkdownCell(JupyterTool):
    """A markdown cell before another."""

    effect = "edit"
    name: str = "insert_markdown_cell"
    description: str = "Add a markdown cell before another cell."
    args_schema: type[BaseModel] = InsertMarkdownArgs

    def touches(self, call: Call, arguments: Mapping[str, Any]) -> list[str]:
        return []

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        before = call.resolve(arguments["cell"])
        cell = call.session.insert("markdown", arguments["source"], caller=call.caller, key=call.key, before=before)
        return _placed(call, cell, "added")


class OverwriteCellSource(JupyterTool):
    """A new source for a cell."""

    effect = "edit"
    name: str = "overwrite_cell_source"
    description: str = "Replace the whole source of a cell; shows what changed."
    args_schema: type[BaseModel] = OverwriteArgs

    def acts(self, arguments: Mapping[str, Any]) -> frozenset[Act]:
        return _written(arguments)

    def _shown(self, call: Call, cells: Sequence[str], arguments: Mapping[str, Any]) -> str:
        return _changed(call, cells[0], call.meant(arguments["source"], call.session.document.source(cells[0])))

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        cell_id = call.resolve(arguments["cell"])
        session, caller = call.session, call.caller
        source = call.meant(arguments["source"], session.document.source(cell_id))
        old, cell = call.once("edit", lambda: session.overwrite(cell_id, source, caller=caller))
        return await _edited(call, old, cell, run=arguments["run"])


class EditCellSource(JupyterTool):
    """A part of a source replaced."""

    effect = "edit"
    name: str = "edit_cell_source"
    description: str = "Replace a part of a cell; shows what changed."
    args_schema: type[BaseModel] = EditArgs

    def acts(self, arguments: Mapping[str, Any]) -> frozenset[Act]:
        return _written(arguments)

    def _shown(self, call: Call, cells: Sequence[str], arguments: Mapping[str, Any]) -> str:
        source = call.session.document.source(cells[0])
        old, new = _meant(call, source, arguments)
        once = old and source.count(old) == 1
        return _changed(call, cells[0], source.replace(old, new)) if once else "The text does not stand there once."

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        cell_id = call.resolve(arguments["cell"])
        session, caller = call.session, call.caller
        texts = _meant(call, session.document.source(cell_id), arguments)
        old, cell = call.once("edit", lambda: session.replace_text(cell_id, *texts, caller=caller))
        return await _edited(call, old, cell, run=arguments["run"])


class MoveCell(JupyterTool):
    """A cell put elsewhere."""

    effect = "edit"
    name: str = "move_cell"
    description: str = "Move a cell before another one; shows the new order around it."
    args_schema: type[BaseModel] = MoveArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        cell_id = call.resolve(arguments["cell"])
        before = call.resolve(arguments["before"]) if arguments["before"] else ""
        call.session.move(cell_id, before, caller=call.caller)
        return _placed(call, call.session.document.cell(cell_id), "moved")


class DeleteCell(JupyterTool):
    """A cell removed."""

    effect = "edit"
    name: str = "delete_cell"
    description: str = "Delete a cell."
    args_schema: type[BaseModel] = ReadCellArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        cell_id = call.resolve(arguments["cell"])
        handle = call.session.document.handle(cell_id)
        cell = call.session.delete(cell_id, caller=call.caller)
        text = f"{handle} deleted ({cell.cell_type}) · {first_line(cell.source)}"
        return answer(text, {"status": "ok", "cell": cell_id})


def _written(arguments: Mapping[str, Any]) -> frozenset[Act]:
    return frozenset({"write", "run"} if arguments.get("run") else {"write"})


def _changed(call: Call, cell_id: str, source: str) -> str:
    return difference(call.session.document.source(cell_id), source, call.language)


def _meant(call: Call, source: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """Old and new text; what a model has copied from a fence or a marker is put back to how the cell has it."""
    old, new = call.meant(arguments["old"], source), call.meant(arguments["new"], source)
    if old not in source and restored(old) in source:
        return restored(old), restored(new)
    return old, new


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
        execution = await call.session.run_cell(
            cell.id, caller=call.caller, key=call.key, ask=call.asks, listener=call.emit
        )
    except ToolError as error:
        return answer(f"{text}\nIt was not run: {error}", {"status": "failed", "cell": cell.id, "code": error.code})
    return preceded(text, await attended_run(call, execution))
