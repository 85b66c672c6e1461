"""Tools that run code, and look after what runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from langchain_jupyter.human import Act, Person
from langchain_jupyter.models import BatchState, Execution
from langchain_jupyter.rendering.render import Rendered, render_execution
from langchain_jupyter.rendering.tally import render_batch
from langchain_jupyter.rendering.tracebacks import SCRATCH
from langchain_jupyter.sessions.batches import Batch, cells_of
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.tools.arguments import ToolArgs
from langchain_jupyter.tools.base import JupyterTool
from langchain_jupyter.tools.call import Call
from langchain_jupyter.tools.read import CELL
from langchain_jupyter.tools.results import followed

_NAMED = 10

TIMEOUT = "Seconds to wait, then it runs on; 0 = default"


class AppendCodeArgs(ToolArgs):
    """Arguments of append_execute_code_cell."""

    source: str = Field(description="Code")
    timeout: float = Field(default=0, description=TIMEOUT)


class InsertCodeArgs(ToolArgs):
    """Arguments of insert_execute_code_cell."""

    cell: str = Field(description=CELL)
    source: str = Field(description="Code")
    timeout: float = Field(default=0, description=TIMEOUT)


class RunCellArgs(ToolArgs):
    """Arguments of execute_cell_with_progress."""

    cell: str = Field(description=CELL)
    timeout: float = Field(default=0, description=TIMEOUT)


class RunCodeArgs(ToolArgs):
    """Arguments of run_code."""

    code: str = Field(description="Code")
    timeout: float = Field(default=0, description=TIMEOUT)


class RunCellsArgs(ToolArgs):
    """Arguments of run_cells."""

    scope: str = Field(default="all", description="all, above, below (with the cell) or stale")
    cell: str = Field(default="", description="For above and below: cell handle")
    restart: bool = Field(default=False, description="New kernel first; tells which outputs change")
    timeout: float = Field(default=0, description=TIMEOUT)


class WaitArgs(ToolArgs):
    """Arguments of wait_for_execution."""

    execution: str = Field(description='Reference that a `running` answer gives, such as "e7"')
    timeout: float = Field(default=30, description="Seconds to wait at most")


class AppendExecuteCodeCell(JupyterTool):
    """A code cell at the end, run."""

    effect = "run"
    name: str = "append_execute_code_cell"
    description: str = "Add a code cell at the end and run it."
    args_schema: type[BaseModel] = AppendCodeArgs

    def acts(self, arguments: Mapping[str, Any]) -> frozenset[Act]:
        return frozenset({"write", "run"})

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        execution = await call.session.insert_and_run(
            arguments["source"],
            caller=call.caller,
            key=call.key,
            timeout=arguments["timeout"],
            ask=call.asks,
            listener=call.emit,
        )
        return await attended_run(call, execution, arguments["timeout"])


class InsertExecuteCodeCell(JupyterTool):
    """A code cell before another, run."""

    effect = "run"
    name: str = "insert_execute_code_cell"
    description: str = "Add a code cell before another cell and run it."
    args_schema: type[BaseModel] = InsertCodeArgs

    def acts(self, arguments: Mapping[str, Any]) -> frozenset[Act]:
        return frozenset({"write", "run"})

    def touches(self, call: Call, arguments: Mapping[str, Any]) -> list[str]:
        return []

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        before = call.resolve(arguments["cell"])
        execution = await call.session.insert_and_run(
            arguments["source"],
            caller=call.caller,
            key=call.key,
            before=before,
            timeout=arguments["timeout"],
            ask=call.asks,
            listener=call.emit,
        )
        return await attended_run(call, execution, arguments["timeout"])


class ExecuteCellWithProgress(JupyterTool):
    """A cell that stands already, run."""

    effect = "run"
    name: str = "execute_cell_with_progress"
    description: str = "Run a code cell of the notebook. A long run answers `running` and goes on."
    args_schema: type[BaseModel] = RunCellArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        execution = await call.session.run_cell(
            call.resolve(arguments["cell"]),
            caller=call.caller,
            key=call.key,
            timeout=arguments["timeout"],
            ask=call.asks,
            listener=call.emit,
        )
        return await attended_run(call, execution, arguments["timeout"])


class RunCode(JupyterTool):
    """Scratch code."""

    effect = "run"
    name: str = "run_code"
    description: str = "Run scratch code in the kernel; nothing is added to the notebook."
    args_schema: type[BaseModel] = RunCodeArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        execution = await call.session.run_code(
            arguments["code"], key=call.key, timeout=arguments["timeout"], ask=call.asks, listener=call.emit
        )
        return await attended_run(call, execution, arguments["timeout"])


class RunCells(JupyterTool):
    """Many cells in a row."""

    effect = "run"
    name: str = "run_cells"
    description: str = "Run cells in order up to the first error; a line for each."
    args_schema: type[BaseModel] = RunCellsArgs

    def acts(self, arguments: Mapping[str, Any]) -> frozenset[Act]:
        return frozenset({"run", "kernel"} if arguments.get("restart") else {"run"})

    def touches(self, call: Call, arguments: Mapping[str, Any]) -> list[str]:
        cell_id = call.resolve(arguments["cell"]) if arguments["cell"] else ""
        scope, restart = arguments["scope"], arguments["restart"]
        return call.once("cells", lambda: cells_of(call.session, scope, cell_id, restart=restart))

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        session = call.session
        batch = session.batches.begin(
            self.touches(call, arguments),
            caller=call.caller,
            key=call.key,
            restart=arguments["restart"],
            ask=call.asks,
            listener=call.emit,
            progress=call.report,
        )
        state = await _attended_batch(call, batch, arguments["timeout"] or session.soft_wait)
        rendered = rendered_batch(call, state)
        left = _still_stale(session) if arguments["scope"] == "stale" and state.status == "ok" else ""
        return followed(rendered, left) if left else rendered


class WaitForExecution(JupyterTool):
    """The state of a run that was left."""

    effect = "read"
    name: str = "wait_for_execution"
    description: str = "Wait for a running execution; gives its status and what is new."
    args_schema: type[BaseModel] = WaitArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        timeout = max(arguments["timeout"], 0)
        if (batch := call.session.batches.find(arguments["execution"])) is not None:
            return rendered_batch(call, await _attended_batch(call, batch, timeout))
        if (ref := arguments["execution"]) in call.session.executions:
            run = call.session.executions.find(ref)
            run.listeners[:] = [] if run.ended.is_set() else [call.emit]  # not the call that left it
        execution = await call.session.wait(arguments["execution"], timeout)
        execution = await _attended(call, execution, timeout)
        return rendered_run(call, call.session.sight(call.caller).unseen(execution))


async def attended_run(call: Call, execution: Execution, timeout: float = 0) -> Rendered:
    """An execution as the model sees it, after a person has answered what it asks.

    Raises:
        GraphInterrupt: They have not answered yet; the execution waits.
    """
    return rendered_run(call, await _attended(call, execution, timeout))


async def _attended(call: Call, execution: Execution, timeout: float) -> Execution:
    while execution.status == "input" and isinstance(call.person, Person):
        call.session.answer(execution.ref, call.person.answer(execution, call.tool_call_id))
        execution = await call.session.wait(execution.ref, timeout or call.session.soft_wait)
    return execution


async def _attended_batch(call: Call, batch: Batch, timeout: float) -> BatchState:
    """A run of many cells, after a person has answered what its cells ask."""
    state = await batch.wait(timeout)
    while (asking := state.current) is not None and asking.status == "input" and isinstance(call.person, Person):
        call.session.answer(asking.ref, call.person.answer(asking, call.tool_call_id))
        batch.answered()
        state = await batch.wait(timeout)
    return state


def _still_stale(session: NotebookSession) -> str:
    """What running cells cannot mend: the kernel holds names that the notebook no longer makes."""
    stale = [
        f"{session.document.handle(cell_id)} ({standing.why})"
        for cell_id, standing in session.standings.items()
        if standing.state == "stale"
    ]
    more = f" and {len(stale) - _NAMED} more" if len(stale) > _NAMED else ""
    return f"[Still stale: {', '.join(stale[:_NAMED])}{more}. Only restart=true tells more.]" if stale else ""


def rendered_run(call: Call, execution: Execution) -> Rendered:
    """An execution as the model sees it."""
    session, cell_id = call.session, execution.cell_id
    handle = SCRATCH if cell_id is None else session.document.handle(cell_id)
    session.sight(call.caller).looked(execution)
    return render_execution(
        execution,
        handle=handle,
        limits=call.limits,
        references=session.references,
        cell_of=session.cell_of_count,
        unmade=session.unmade,
    )


def rendered_batch(call: Call, batch: BatchState) -> Rendered:
    """A run of many cells as the model sees it."""
    return render_batch(
        batch,
        handle_of=call.session.document.handle,
        limits=call.limits,
        references=call.session.references,
        cell_of=call.session.cell_of_count,
        unmade=call.session.unmade,
    )
