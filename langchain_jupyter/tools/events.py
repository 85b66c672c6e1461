"""What the graph's `custom` and `tools` streams are told while code runs, without secrets.

    {"type": "jupyter_output", "notebook", "execution", "cell", "tool_call_id",
     "rewritten": whether `outputs` is all there is, in place of what came before,
     "text": what is added to the text of the last output,
     "outputs": what comes after it: {"output_type": "stream", "name", "text"},
         {"output_type": "display_data" or "execute_result", "mime_types", "text"} without the pictures,
         {"output_type": "error", "ename", "evalue"}}
    {"type": "jupyter_progress", "notebook", "execution", "cell", "tool_call_id", "status", "done", "total"}

A text is at most its last 10,000 characters. What may turn out to be the beginning of a secret is told when it is
known not to be one, or when the code has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_jupyter.models import BatchState
from langchain_jupyter.outputs import OutputChange
from langchain_jupyter.redaction import Redactor
from langchain_jupyter.sessions.executions import Run

_MOST = 10_000
_SECRET = 20_000  # a secret is not longer; with so much before what is told, none begins in what was cut off


def output_event(run: Run, change: OutputChange | None, redactor: Redactor) -> dict[str, Any] | None:
    """What a run has printed since the last event; None if there is nothing to tell yet.

    Args:
        run: Keeps what is held back.
        change: What came; None when nothing more comes.
        redactor: Knows the secrets.
    """
    text, run.untold = run.untold, ""
    rewritten = change is not None and change.rewritten
    outputs: list[dict[str, Any]] = []
    if change is not None:
        text = "" if rewritten else text + change.text
        outputs = [_brief(output) for output in (change.everything if rewritten else change.added)]
    if change is not None and not outputs:
        text, run.untold = _apart(text, redactor)
    elif outputs and outputs[-1]["output_type"] == "stream":
        outputs[-1]["text"], run.untold = _apart(outputs[-1]["text"], redactor)
    if not (text or outputs or rewritten):
        return None
    told = [{name: _told(value, redactor) for name, value in output.items()} for output in outputs]
    return {
        "type": "jupyter_output",
        "execution": run.ref,
        "cell": run.cell_id,
        "rewritten": rewritten,
        "text": _told(text, redactor),
        "outputs": told,
    }


def progress_event(batch: BatchState) -> dict[str, Any]:
    """How far a run of many cells has come."""
    last = batch.outcomes[-1]
    return {
        "type": "jupyter_progress",
        "execution": batch.ref,
        "cell": last.cell_id,
        "status": "not run" if last.execution is None else last.execution.status,
        "done": len(batch.outcomes),
        "total": len(batch.outcomes) + len(batch.left) + (batch.current is not None),
    }


def _brief(output: Mapping[str, Any]) -> dict[str, Any]:
    """An output without its pictures and frames."""
    kind = output["output_type"]
    if kind == "stream":
        return {"output_type": kind, "name": output["name"], "text": _joined(output["text"])}
    if kind == "error":
        return {"output_type": kind, "ename": output["ename"], "evalue": _joined(output["evalue"])}
    text = output["data"].get("text/plain", "")
    return {"output_type": kind, "mime_types": sorted(output["data"]), "text": _joined(text)}


def _apart(text: str, redactor: Redactor) -> tuple[str, str]:
    """What can be told now, and what has to wait."""
    end = redactor.unfinished(text)
    return text[:end], text[end:]


def _told(value: Any, redactor: Redactor) -> Any:
    return redactor.redact(value[-_MOST - _SECRET :])[-_MOST:] if isinstance(value, str) else value


def _joined(text: Any) -> str:
    return "".join(text) if isinstance(text, list) else str(text)
