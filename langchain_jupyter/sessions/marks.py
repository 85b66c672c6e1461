"""What a cell tells of the last run that a tool call gave it, in its metadata: the mark. Pure.

It outlives the process that has written it, so that no other runs the cell again for the same call.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from langchain_jupyter.documents.notebook import METADATA_KEY
from langchain_jupyter.models import Cell, ErrorInfo, Execution, Output, Status

_PIECE = 100_000
_OUTPUTS_TO_DATA = 3
_STATUSES = frozenset(get_args(Status))
_WORD = re.compile(r"[A-Za-z0-9-]{0,40}")


def digest(text: str) -> str:
    """What a mark tells of a text: the key of a tool call, a source."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def begun(key: str, execution: str, receipt: Mapping[str, str]) -> dict[str, Any]:
    """The mark of a run that begins.

    Args:
        key: Digest of the key of the tool call.
        execution: Reference for wait_for_execution.
        receipt: What takes it up again in a kernel that outlives our process; empty where none does.
    """
    mark: dict[str, Any] = {"key": key, "status": "running", "execution": execution}
    return {**mark, "receipt": dict(receipt)} if receipt else mark


def ended(key: str, execution: str, status: str, source: str, outputs: Sequence[Output]) -> dict[str, Any]:
    """The mark of a run that is over; the last two tell whether its outputs stand under another source since."""
    mark = {"key": key, "status": status, "execution": execution}
    return {**mark, "source": digest(source), "outputs": _fingerprint(outputs)} if outputs else mark


def mark_of(cell: Cell) -> Mapping[str, Any]:
    """The mark: `key`, `status`, `execution`, and what else `begun` and `ended` put in; empty if there is none.

    A notebook is no more to be trusted in its metadata than anywhere else: what we cannot have written is none.
    """
    mark = cell.metadata.get(METADATA_KEY)
    return mark if isinstance(mark, Mapping) and _is_ours(mark) else {}


def _is_ours(mark: Mapping[str, Any]) -> bool:
    words = all(isinstance(mark.get(name), str) and _WORD.fullmatch(mark[name]) for name in ("key", "execution"))
    return words and mark.get("status") in _STATUSES and isinstance(mark.get("receipt", {}), Mapping)


def receipt_of(cell: Cell) -> Mapping[str, str]:
    """What takes up the run that an earlier process has left in that cell; empty if there is none."""
    mark = mark_of(cell)
    return mark.get("receipt") or {} if mark.get("status") == "running" else {}


def is_edited(cell: Cell) -> bool:
    """Whether the outputs are those of the marked run, and the source is not.

    Where somebody else has run the cell since, the outputs are theirs and nothing is told of the source.
    """
    mark = mark_of(cell)
    if "outputs" not in mark or mark.get("source") == digest(cell.source):
        return False
    return bool(mark["outputs"] == _fingerprint(cell.outputs))


def has_died(cell: Cell) -> bool:
    """Whether the kernel ended in the marked run, alone or with our process, and the cell has not run since."""
    mark = mark_of(cell)
    died = mark.get("status") == "died" or (mark.get("status") == "running" and not receipt_of(cell))
    return died and cell.execution_count is None and not cell.running


def past_execution(cell: Cell, mark: Mapping[str, Any]) -> Execution:
    """The execution of an earlier process, as the cell tells it."""
    error = next((output for output in cell.outputs if output["output_type"] == "error"), None)
    over = mark.get("status") != "running"
    return Execution(
        ref="",
        cell_id=cell.id,
        status=mark["status"] if over else "died",
        execution_count=cell.execution_count,
        outputs=cell.outputs,
        error=None if error is None else ErrorInfo(error["ename"], error["evalue"], tuple(error["traceback"])),
        note="It ran before this process started and was not run again."
        if over
        else "our process ended while it ran, and the kernel with it. It was not run again.",
    )


def _fingerprint(outputs: Sequence[Output]) -> str:
    """The digest of the outputs as JSON with sorted keys."""
    found = hashlib.sha256()
    for piece in _pieces(outputs, _OUTPUTS_TO_DATA):
        found.update(piece.encode())
    return found.hexdigest()[:16]


def _pieces(value: Any, depth: int) -> Iterator[str]:
    """JSON in pieces, down to that depth: emoji are twelve characters there, and 40 MB of them three times that."""
    if isinstance(value, str):
        yield '"'
        yield from (json.dumps(value[at : at + _PIECE])[1:-1] for at in range(0, len(value), _PIECE))
        yield '"'
    elif isinstance(value, Mapping) and depth:
        for number, key in enumerate(sorted(value)):
            yield f"{', ' if number else '{'}{json.dumps(key)}: "
            yield from _pieces(value[key], depth - 1)
        yield "}" if value else "{}"
    elif isinstance(value, (list, tuple)) and depth:
        for number, item in enumerate(value):
            yield ", " if number else "["
            yield from _pieces(item, depth - 1)
        yield "]" if value else "[]"
    else:
        yield json.dumps(value, sort_keys=True, default=str)
