"""The corpus: what fuzzing has found, by what it was. All of it is tried again in each run of the tests."""

from __future__ import annotations

from typing import Any, TypeAlias

WIDGET = "application/vnd.jupyter.widget-view+json"

Sent: TypeAlias = tuple[str, str, Any, str, str]
"""Channel, type, content, whose answer it is, and what befalls its frames."""


def _shown(data: Any) -> list[Sent]:
    return [("iopub", "display_data", {"data": data, "metadata": {}}, "ours", "whole")]


def _sent(channel: str, kind: str, content: Any) -> list[Sent]:
    return [(channel, kind, content, "ours", "whole")]


def _nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


MESSAGES: dict[str, list[Sent]] = {
    "a stream without text": _sent("iopub", "stream", {"name": "stdout"}),
    "a stream whose content is null": _sent("iopub", "stream", None),
    "a status without a state": _sent("iopub", "status", {}),
    "a reply without a status": _sent("shell", "execute_reply", {}),
    "bytes that are no UTF-8": [("iopub", "stream", {"name": "stdout", "text": "x"}, "ours", "changed")],
    "a widget that is a number": _shown({WIDGET: 5}),
    "a widget whose model is a list": _shown({WIDGET: {"model_id": [5]}}),
    "a comm without data": _sent("iopub", "comm_open", {"comm_id": 5, "data": None}),
    "a MIME bundle that is a text": _shown("no bundle"),
    "a MIME bundle with null for a text": _shown({"text/plain": "x", "text/html": None}),
    "a MIME bundle with nothing but null": _shown({"": None}),
    "a display of lists, hundreds deep": _shown({"application/json": _nested(300)}),
    "an execution count that is true": _sent(
        "iopub", "execute_result", {"data": {"text/plain": "x"}, "metadata": {}, "execution_count": True}
    ),
    "a traceback of numbers": _sent("iopub", "error", {"ename": "E", "evalue": "v", "traceback": [1]}),
    "a display id that is a list": _sent(
        "iopub", "update_display_data", {"data": {}, "metadata": {}, "transient": {"display_id": [1]}}
    ),
    "half a surrogate pair": _sent("iopub", "stream", {"name": "stdout", "text": "\ud83d"}),
}

CELLS: dict[str, dict[str, Any]] = {
    "a type that is a number": {"cell_type": 5},
    "a source that is null": {"source": None},
    "a source of numbers": {"source": [1, 2]},
    "a source with half a surrogate pair": {"source": "\ud83d"},
    "metadata that are a list": {"metadata": []},
    "a mark of ours that is a text": {"metadata": {"langchain_jupyter": "x"}},
    "an execution count that is true": {"execution_count": True},
    "an execution count beyond 64 bits": {"execution_count": 2**70},
    "a number beyond 64 bits": {"metadata": {"n": 2**70}},
    "outputs that are an object": {"outputs": {}},
    "a stream without a name": {"outputs": [{"output_type": "stream", "text": "x"}]},
    "an error without a traceback": {"outputs": [{"output_type": "error", "ename": "E", "evalue": "v"}]},
    "a display whose data are a text": {"outputs": [{"output_type": "display_data", "data": "x", "metadata": {}}]},
    "attachments that are a text": {"attachments": "x"},
    "an id that is a number": {"id": 5},
    "lists hundreds deep": {"metadata": {"deep": _nested(300)}},
}
"""By what it was, what a code cell has in place of what is right."""
