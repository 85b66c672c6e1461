"""Tools that run code, and look after what runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from langchain_jupyter.human import Act, Person
from langchain_jupyter.models import Execution
from langchain_jupyter.render import Rendered, render_execution
from langchain_jupyter.tools.base import Call, JupyterTool, ToolArgs
from langchain_jupyter.tools.read import CELL

TIMEOUT = "Seconds to wait for the end; 0 = default. The code goes on after that"


class AppendCodeArgs(ToolArgs):
    """Arguments of append_execute_code_cell."""

    source: str = Field(description="Code")
    timeout: float = Field(default=0, description=TIMEOUT)


class InsertCodeArgs(ToolArgs):
    """Arguments of insert_execute_code_cell."""

    cell: str = Field(description=f"{CELL}; the new cell goes before it")
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
    description: str = "Run scratch code in the kernel, on its variables; nothing is added to the notebook."
    args_schema: type[BaseModel] = RunCodeArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        execution = await call.session.run_code(
            arguments["code"], key=call.key, timeout=arguments["timeout"], ask=call.asks, listener=call.emit
        )
        return await attended_run(call, execution, arguments["timeout"])


class WaitForExecution(JupyterTool):
    """The state of a run that was left."""

    effect = "read"
    name: str = "wait_for_execution"
    description: str = "Wait for an execution that is still running; gives its status and what is new."
    args_schema: type[BaseModel] = WaitArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        timeout = max(arguments["timeout"], 0)
        call.session.executions.find(arguments["execution"]).listeners[:] = [call.emit]  # not the call that left it
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


def rendered_run(call: Call, execution: Execution) -> Rendered:
    """An execution as the model sees it."""
    session, cell_id = call.session, execution.cell_id
    if cell_id is None:
        handle = "scratch"
    else:
        handle = session.document.handle(cell_id) if cell_id in session.document else cell_id[:4]
    session.sight(call.caller).looked(execution)
    return render_execution(
        execution,
        handle=handle,
        limits=call.limits,
        references=session.references,
        cell_of=session.cell_of_count,
    )
