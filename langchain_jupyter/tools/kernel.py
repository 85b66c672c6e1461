"""Tools for the kernel as a whole."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from langchain_jupyter.rendering.render import Rendered
from langchain_jupyter.tools.base import JupyterTool
from langchain_jupyter.tools.call import Call
from langchain_jupyter.tools.read import NoArgs
from langchain_jupyter.tools.results import answer, preceded
from langchain_jupyter.tools.run import rendered_run


class InterruptKernel(JupyterTool):
    """What runs, stopped."""

    effect = "kernel"
    name: str = "interrupt_kernel"
    description: str = "Stop the cell that is running; variables stay."
    args_schema: type[BaseModel] = NoArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        execution = await call.session.interrupt()
        if execution is None:
            return answer("Nothing was running.", {"status": "ok"})
        rendered = rendered_run(call, execution)
        if execution.finished:
            return rendered
        return preceded("[The code does not stop when interrupted; restart_kernel() ends it.]", rendered)


class RestartKernel(JupyterTool):
    """A new process for the kernel."""

    effect = "kernel"
    name: str = "restart_kernel"
    description: str = "Restart the kernel: what runs is ended, all variables are lost."
    args_schema: type[BaseModel] = NoArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        await call.session.restart()
        call.session.news(call.caller)
        document = call.session.document
        ran = [document.handle(cell.id) for cell in document.cells() if cell.execution_count is not None]
        stale = f"Stale until run again: {', '.join(ran[:40])}" if ran else "No cell had run"
        more = f" and {len(ran) - 40} more" if len(ran) > 40 else ""
        text = f"The kernel was restarted. All variables are gone. {stale}{more}."
        return answer(text, {"status": "ok", "stale": ran})
