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
    "a cursor that goes up by a number of 5,000 digits": _sent(
        "iopub", "stream", {"name": "stdout", "text": f"a\nb\x1b[{'9' * 5_000}Ac"}
    ),
}

HANDLES: dict[str, str] = {
    "a position of 5,000 digits": "9" * 5_000,
    "a count of 5,000 digits": f"[{'9' * 5_000}]",
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
    "outputs of what is no code": {
        "cell_type": "raw",
        "outputs": [{"output_type": "stream", "name": "stdout", "text": ["x\n", "y"]}],
    },
    "a stream without a name": {"outputs": [{"output_type": "stream", "text": "x"}]},
    "an error without a traceback": {"outputs": [{"output_type": "error", "ename": "E", "evalue": "v"}]},
    "a display whose data are a text": {"outputs": [{"output_type": "display_data", "data": "x", "metadata": {}}]},
    "attachments that are a text": {"attachments": "x"},
    "an id that is a number": {"id": 5},
    "lists hundreds deep": {"metadata": {"deep": _nested(300)}},
}
"""By what it was, what a code cell has in place of what is right."""

NOTEBOOKS: dict[str, str] = {
    "a number of 5,000 digits": '{"nbformat": 4, "nbformat_minor": 5, "metadata": {"n": %s}, "cells": []}'
    % ("9" * 5_000),
}

_HEAD = '{"langchain_jupyter_journal": 2, "base": null}\n'

JOURNALS: dict[str, str] = {
    "an edit without a name": _HEAD + '{"cell_id": "one", "op": "paint", "old": "1", "new": "2"}\n',
    "an edit of nothing": _HEAD + '{"op": "source"}\n',
    "a cell without a source": _HEAD + '{"op": "cell", "cell_id": "a", "old": null, "new": {"id": "a"}}\n',
    "a save of a text": _HEAD + '{"saved": "x", "edits": "one"}\n',
    "a list in place of an edit": _HEAD + "[]\n",
    "a number beyond 64 bits": _HEAD
    + f'{{"op": "metadata", "cell_id": "one", "key": "k", "old": null, "new": {2**70}}}\n',
    "a line that is damaged": _HEAD + '{"op": "sour\n{"op": "source", "cell_id": "one", "old": "1", "new": "2"}\n',
    "no head": '{"op": "source", "cell_id": "one", "old": "1", "new": "2"}\n',
}
"""The whole of it, beside the notebook of `tests/unit/test_fuzz.py`."""

Step: TypeAlias = tuple[str, dict[str, Any]]
"""A rule of `tests/integration/test_notebook_fuzz.py`, and what it is given."""

_OURS: Step = ("overwrite", {"at": 0, "text": "ours"})
_RUN: Step = ("run", {"at": 0})
_DEATH: Step = ("die", {"steps": 0})


def _theirs(*wanted: tuple[str, int, Any]) -> Step:
    return ("they_edit", {"wanted": list(wanted)})


PLAYS: dict[str, list[Step]] = {
    "made markdown while its source is edited": [_OURS, _theirs(("type", 0, 0)), ("save", {})],
    "made markdown while it runs": [_RUN, _theirs(("type", 0, 0)), ("save", {})],
    "given a file while its source is edited": [
        _theirs(("type", 0, 0)),
        ("look", {}),
        _OURS,
        _theirs(("attach", 0, 0)),
        ("save", {}),
    ],
    "written in the middle of a save": [
        _OURS,
        ("they_edit_amid_a_save", {"steps": 3, "wanted": [("source", 1, "theirs")]}),
    ],
    "a clash in the background, and then the end": [
        _OURS,
        _theirs(("source", 0, "theirs")),
        ("seconds_go_by", {}),
        ("close", {}),
    ],
    "a clash in the background, and then a file that is damaged": [
        _OURS,
        _theirs(("source", 0, "theirs")),
        ("seconds_go_by", {}),
        ("they_write_a_part", {"part": 5}),
        _OURS,
        ("seconds_go_by", {}),
        _theirs(),
        ("look", {}),
    ],
    "two clashes in the background": [
        _OURS,
        _theirs(("source", 0, "theirs")),
        ("seconds_go_by", {}),
        ("overwrite", {"at": 1, "text": "ours"}),
        _theirs(("source", 1, "theirs")),
        ("seconds_go_by", {}),
        ("look", {}),
    ],
    "tagged by both before we died": [
        ("tag", {"at": 0, "tags": ["a"]}),
        _DEATH,
        _theirs(("tags", 0, ["b"])),
        ("open", {}),
    ],
    "run by both before we died": [_RUN, _DEATH, _theirs(("output", 0, "theirs")), ("open", {})],
    "run before we died, and made markdown by them": [_RUN, _DEATH, _theirs(("type", 0, 0)), ("open", {})],
    "deleted before we died, and run by them": [
        ("delete", {"at": 0}),
        _DEATH,
        _theirs(("output", 0, "theirs")),
        ("open", {}),
    ],
    "tagged by them after us, and taken back": [
        ("remember", {}),
        ("tag", {"at": 0, "tags": ["a"]}),
        ("save", {}),
        _theirs(("tags", 0, ["b"])),
        ("look", {}),
        ("undo", {"at": 0}),
    ],
}
"""By what befell a cell, of a notebook of two."""
