"""Executions that another process has started in the same notebook and kernel, as the document tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.kernels.kernel import Kernel
from langchain_jupyter.models import Cell, Execution
from langchain_jupyter.sessions.marks import mark_of, past_execution

_LOOK = 0.1
_LAST_WORD = 2.0
_LOST = (
    "the process that ran it has gone. The code went on in the kernel, which is idle now; what it printed after that "
    "is not in the notebook. It was not run again."
)


def cell_of(document: NotebookDocument, ref: str) -> str:
    """The cell whose last run has that reference; empty if there is none."""
    return next((cell.id for cell in document.cells() if mark_of(cell).get("execution") == ref), "")


async def follow(document: NotebookDocument, kernel: Kernel, cell_id: str, timeout: float) -> Execution:
    """Wait for the end of a run of another process, at most `timeout` seconds.

    It writes into the document what comes and how it ended. If it does not, and the kernel is idle, it has gone.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    silent = started
    while True:
        if cell_id not in document:
            return Execution(ref="", cell_id=None, status="lost", note="The cell was deleted while it ran.")
        cell, now = document.cell(cell_id), loop.time()
        mark = mark_of(cell)
        if mark.get("status") != "running":
            return past_execution(cell, mark)
        if kernel.info.state != "idle":
            silent = now
        elif now - silent > _LAST_WORD:
            return _so_far(cell, mark, "lost", now - started, _LOST)
        if now - started >= timeout:
            return _so_far(cell, mark, "running", now - started)
        await asyncio.sleep(_LOOK)


def _so_far(cell: Cell, mark: Mapping[str, Any], status: Any, duration: float, note: str = "") -> Execution:
    return Execution(
        ref=str(mark.get("execution", "")),
        cell_id=cell.id,
        status=status,
        execution_count=cell.execution_count,
        outputs=cell.outputs,
        duration=duration,
        note=note,
    )
