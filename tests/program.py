"""Another program that has a notebook's file open: it writes the whole, in a manner of its own, and asks nobody."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from hypothesis import strategies as st

from langchain_jupyter.documents import format as ipynb

GROUPS = (("source",), ("cell_type",), ("metadata",), ("attachments",), ("outputs", "execution_count"))
"""Members of a cell that belong together."""
MEMBERS = tuple(member for group in GROUPS for member in group)

Cells: TypeAlias = dict[str, dict[str, Any]]
"""By id and in order: what of a cell counts, its strings joined, None for what it has not."""

Clashing: TypeAlias = Set[tuple[str, str | None]]
"""Ids of cells that two have changed, and our sources of them."""

Change: TypeAlias = tuple[str, int, Any]
"""A verb, from which a cell follows, and what it needs."""

TEXTS = st.sampled_from(
    ["", "x = 1\n", "x = 1\ny = 2", "é🐍", "a\r\nb\n", "a\u2028b", '"cells": [', "\x85", "👩\u200d🔬\n\n"]
)
TAGS = st.sampled_from([None, ["a"], ["agent:readonly"], ["agent:ask", "b"], ["é"]])
_AT = st.integers(0, 9)

changes = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["source", "source", "insert", "output", "duplicate"]), _AT, TEXTS),
        st.tuples(st.just("tags"), _AT, TAGS),
        st.tuples(st.sampled_from(["move", "move", "delete", "type", "attach", "title"]), _AT, _AT),
    ),
    max_size=3,
)

NO_NOTEBOOKS = [
    b"",
    b"{}",
    b"[]",
    b"\xff\xfe",
    b"<!DOCTYPE html>",
    b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": {}}',
    b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": 5, "source": ""}]}',
    b'{"nbformat": 9, "nbformat_minor": 5, "metadata": {}, "cells": []}',
]


@dataclass(frozen=True)
class Manner:
    """How the program writes.

    Attributes:
        indent: Spaces of one level; None for one line.
        newline: Between lines, where there are some.
        ascii: Whether other characters are escaped.
        lines: Whether sources are lists of lines.
        backwards: Whether keys stand in the wrong order.
        ids: Whether it knows of cell ids: nbformat has them from 4.5 on.
    """

    indent: int | None = 1
    newline: str = "\n"
    ascii: bool = False
    lines: bool = True
    backwards: bool = False
    ids: bool = True


manners = st.just(Manner()) | st.builds(
    Manner,
    st.sampled_from([1, 2, None]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
)


class Program:
    """The other one.

    Args:
        file: Where it writes.

    Attributes:
        earlier: What it wrote, oldest first.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._numbers = itertools.count(1)
        self._time = 10**18
        self._raws: dict[bytes, dict[str, str]] = {}
        self.earlier: list[bytes] = []

    @property
    def text(self) -> bytes | None:
        """What the file holds now."""
        return self._file.read_bytes() if self._file.exists() else None

    @property
    def raws(self) -> dict[str, str]:
        """By id, how it wrote the cells that stand in the file, where nobody else has a reason to change that."""
        return self.raws_of(self.text or b"")

    def raws_of(self, text: bytes) -> dict[str, str]:
        """As `raws`, of a text that the file has had."""
        return self._raws.get(text, {})

    def begin(self, cells: Sequence[Mapping[str, Any]], manner: Manner) -> None:
        """Write a new notebook."""
        self._write({"cells": [dict(cell) for cell in cells], "metadata": {}}, manner)

    def edit(self, wanted: Sequence[Change], manner: Manner) -> None:
        """Read what stands there, change it, write it."""
        text = self.text if readable(self.text) else next(filter(readable, reversed(self.earlier)))
        notebook = {"cells": [], "metadata": {}} if text is None else json.loads(text)
        for verb, at, what in wanted:
            self._change(notebook, verb, at, what)
        self._write(notebook, manner)

    def put(self, text: bytes) -> None:
        """Write whatever it is, at a time of its own: two within one tick of the clock may look the same."""
        self._file.write_bytes(text)
        self._time += 1_000_000
        os.utime(self._file, ns=(self._time, self._time))
        self.earlier.append(text)

    def remove(self) -> None:
        """Take the file away."""
        self._file.unlink(missing_ok=True)

    def cell(self, text: str) -> dict[str, Any]:
        """A new code cell, whose source nobody else has."""
        number = next(self._numbers)
        return {
            "id": f"their-{number}",
            "cell_type": "code",
            "source": f"{text}#{number}",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }

    def _change(self, notebook: dict[str, Any], verb: str, at: int, what: Any) -> None:
        cells: list[dict[str, Any]] = notebook["cells"]
        if verb == "title":
            notebook["metadata"] = {"title": f"{what}"}
        elif verb == "insert" or not cells:
            cells.insert(at % (len(cells) + 1), self.cell(what if isinstance(what, str) else ""))
        elif verb == "move":
            cell = cells.pop(at % len(cells))
            cells.insert(what % (len(cells) + 1), cell)
        elif verb == "delete":
            del cells[at % len(cells)]
        elif verb == "duplicate":
            cells.append(json.loads(json.dumps(cells[at % len(cells)])))
        else:
            self._change_cell(cells[at % len(cells)], verb, what)

    def _change_cell(self, cell: dict[str, Any], verb: str, what: Any) -> None:
        code = cell["cell_type"] == "code"
        if verb == "source":
            cell["source"] = f"{what}#{next(self._numbers)}"
        elif verb == "tags":
            cell["metadata"] = {**cell["metadata"], "tags": what} if what is not None else {}
        elif verb == "output" and code:
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": f"{what}#{next(self._numbers)}"}]
            cell["execution_count"] = next(self._numbers)
        elif verb == "attach" and not code:
            cell["attachments"] = {"a.txt": {"text/plain": f"{next(self._numbers)}"}}
        elif verb == "type":
            for member in ("outputs", "execution_count", "attachments"):
                cell.pop(member, None)
            cell["cell_type"] = ("markdown", "raw", "code")[what % 3]
            if cell["cell_type"] == "code":
                cell |= {"outputs": [], "execution_count": None}

    def _write(self, notebook: Mapping[str, Any], manner: Manner) -> None:
        cells = [_written(cell, manner) for cell in notebook["cells"]]
        ids = [cell.get("id") for cell in notebook["cells"]] if manner.ids else []
        raws = [_dumped(cell, manner, level=2) for cell in cells]
        whole = {"metadata": notebook["metadata"], "nbformat": 4, "nbformat_minor": 5 if manner.ids else 4}
        rest = [f'"{key}": {_dumped(value, manner, level=1)}' for key, value in whole.items()]
        line = "" if manner.indent is None else manner.newline + " " * manner.indent
        first, last = (f"{line}{line[len(manner.newline) :]}", line) if raws and line else ("", "")
        between, end = f",{line or ' '}", manner.newline if line else ""
        array = f'"cells": [{first}{("," + (first or " ")).join(raws)}{last}]'
        text = f"{{{line}{between.join([array, *rest])}{end}}}{end}".encode()
        self._raws[text] = {i: raw for i, raw in zip(ids, raws, strict=False) if i is not None and ids.count(i) == 1}
        self.put(text)


def _written(cell: Mapping[str, Any], manner: Manner) -> dict[str, Any]:
    source = _joined(cell["source"])
    written = {**cell, "source": source.splitlines(True) if manner.lines else source}
    if not manner.ids:
        written.pop("id", None)
    return dict(sorted(written.items(), reverse=manner.backwards))


def _dumped(value: Any, manner: Manner, *, level: int) -> str:
    text = json.dumps(value, indent=manner.indent, ensure_ascii=manner.ascii)
    return text.replace("\n", manner.newline + " " * (manner.indent or 0) * level)


def readable(text: bytes | None) -> bool:
    """Whether it is a notebook, or there is none."""
    try:
        return text is None or isinstance(view(text), dict)
    except (UnicodeDecodeError, ipynb.NotANotebook):
        return False


def view(text: bytes) -> Cells:
    """The cells of a file; ids that are missing or doubled are those that we give."""
    named = ipynb.parse(text.decode()).cells
    return {cell["id"]: counting(raw) for cell, raw in zip(named, json.loads(text)["cells"], strict=True)}


def counting(cell: Mapping[str, Any]) -> dict[str, Any]:
    """What of a cell counts."""
    found = {member: cell.get(member) or None for member in MEMBERS}
    outputs = [{**output, "text": _joined(output["text"])} for output in found["outputs"] or ()]
    return {**found, "source": _joined(cell["source"]), "outputs": outputs or None}


def met(base: Cells, ours: Cells, theirs: Cells) -> tuple[Cells, Clashing]:
    """What two who began with the same come to, without an order; and the cells that clash.

    What only one has changed is as that one has it. Where both have, theirs stands.
    """
    both: Cells = {}
    clashing = set()
    for cell_id in {**theirs, **ours}:
        before, mine, yours = (side.get(cell_id) for side in (base, ours, theirs))
        if mine is not None and yours is not None:
            both[cell_id], clash = _met(before or {}, mine, yours)
        else:
            added = before is None or (mine is None and yours != before)
            clash = before is not None and (mine or yours) != before
            if added:
                both[cell_id] = mine or yours or {}
        if clash:
            clashing.add((cell_id, mine["source"] if mine else None))
    return both, clashing


def _met(before: Mapping[str, Any], mine: Mapping[str, Any], yours: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    cell: dict[str, Any] = {}
    clash = False
    for group in GROUPS:
        was, one, other = ({member: side.get(member, ...) for member in group} for side in (before, mine, yours))
        cell |= one if other == was else other
        clash = clash or (was not in (one, other) and one != other)
    if cell["cell_type"] != "code" and cell["outputs"]:  # there is no place for them any more
        return {**cell, "outputs": None, "execution_count": None}, True
    return cell, clash


def _joined(text: Any) -> str:
    return text if isinstance(text, str) else "".join(text)
