"""The text of an .ipynb file <-> cells. What is not changed keeps its bytes. Pure.

Source: https://nbformat.readthedocs.io/en/latest/format_description.html
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from langchain_jupyter.outputs import clean

_SPACE = re.compile(r"[ \t\r\n]*")
VALID_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What nbformat has for the id of a cell."""
_SPLIT = ("application/javascript", "image/svg+xml")
_FOREIGN = re.compile(r"\d{19}|\\u[dD][89a-fA-F]")
"""Where a document may be unable to hold what JSON can: integers beyond 64 bits, lone surrogates."""
_MEMBERS = ("cells", "metadata", "nbformat", "nbformat_minor")
_DECODER = json.JSONDecoder()
_DEPTH = 200
"""Levels of JSON: pycrdt, in native code, and Python go one call deeper for each."""


class NotANotebook(ValueError):
    """The text is not a notebook; the message says why."""


class NotJSON(NotANotebook):
    """The text is not even JSON: damaged, or not yet written to its end."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file writes what it writes.

    Attributes:
        members: Top-level keys, each with the text before its value and the text of the value.
        tail: What follows the last value.
        first: What stands between `[` and the first cell.
        between: What stands between cells.
        last: What stands between the last cell and `]`.
        indent: One level; None where everything stands on one line.
        ascii: Whether other characters are escaped.
    """

    members: Sequence[tuple[str, str, str]]
    tail: str
    first: str
    between: str
    last: str
    indent: str | None
    ascii: bool

    def dump(self, value: Any, base: str = "") -> str:
        """A value as this file would write it, `base` before each further line."""
        if self.indent is None:
            return json.dumps(value, ensure_ascii=self.ascii, sort_keys=True)
        text = json.dumps(value, ensure_ascii=self.ascii, sort_keys=True, indent=self.indent)
        return text.replace("\n", ("\r\n" if "\r\n" in self.tail + self.first else "\n") + base)

    def dump_cell(self, cell: Mapping[str, Any]) -> str:
        """A cell as this file would write it: multi-line strings as lists of lines."""
        base = self.first.rpartition("\n")[2] if "\n" in self.first else ""
        return self.dump(split_lines(cell), base)

    def join(self, cells: Sequence[str], metadata: str) -> str:
        """The whole file from the texts of its cells and of its metadata."""
        array = f"[{self.first}{self.between.join(cells)}{self.last}]" if cells else "[]"
        values = {"cells": array, "metadata": metadata}
        return "".join(before + values.get(key, value) for key, before, value in self.members) + self.tail


@dataclass(frozen=True, slots=True)
class NotebookText:
    """A notebook as a file holds it.

    Attributes:
        cells: nbformat 4.5 cells with ids, strings joined.
        raws: The text of each cell; None where it has to be written anew.
        metadata: Of the notebook.
        raw_metadata: Its text.
        layout: How to write it back.
    """

    cells: list[dict[str, Any]]
    raws: list[str | None]
    metadata: dict[str, Any]
    raw_metadata: str
    layout: Layout = field(repr=False)


def parse(text: str) -> NotebookText:
    """Read nbformat 3 or 4; what is older than 4.5 is converted and gets ids that follow from the text.

    Raises:
        NotJSON: Not JSON.
        NotANotebook: JSON, but not a notebook.
    """
    try:
        value = json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise NotJSON(f"it is not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except ValueError as error:  # Python converts no integer of more than 4,300 digits
        raise NotANotebook("it holds a number of thousands of digits") from error
    except RecursionError as error:
        raise NotANotebook(f"it is nested too deeply, in more than {_DEPTH} levels") from error
    if _is_deep(value):
        raise NotANotebook(f"it is nested too deeply, in more than {_DEPTH} levels")
    major = value.get("nbformat") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(major, int):
        raise NotANotebook("it is JSON, but not a notebook")
    if major > 4 or major < 3:
        raise NotANotebook(f"its format is nbformat {major}; 3 and 4 can be opened")
    if ("cells" if major == 4 else "worksheets") not in value:
        raise NotANotebook("it is JSON, but not a notebook")
    if _FOREIGN.search(text):
        value = clean(value)
    if major == 3:
        text = json.dumps(_upgraded(value), indent=1, ensure_ascii=False) + "\n"
        value = json.loads(text)
    return _read(text, value)


def empty() -> NotebookText:
    """A notebook without cells, as nbformat writes one."""
    value = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return parse(json.dumps(value, indent=1) + "\n")


def dump(cells: Sequence[Mapping[str, Any]]) -> str:
    """The text of a notebook with these cells and no metadata."""
    layout = empty().layout
    return layout.join([layout.dump_cell(cell) for cell in cells], "{}")


def split_lines(cell: Mapping[str, Any]) -> dict[str, Any]:
    """A cell with its multi-line strings as lists of lines, the way files hold them."""
    split = {key: value for key, value in cell.items() if key != "execution_state"}
    split["source"] = str(cell["source"]).splitlines(True)
    if "outputs" in cell:
        split["outputs"] = [_split_output(output) for output in cell["outputs"] or []]
    if not split.get("attachments", True):
        del split["attachments"]
    return split


def _upgraded(value: dict[str, Any]) -> dict[str, Any]:
    import nbformat

    try:
        notebook: dict[str, Any] = nbformat.convert(nbformat.from_dict(value), 4)  # type: ignore[no-untyped-call]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotANotebook("it says that it is nbformat 3, but cannot be converted") from error
    for cell in notebook["cells"]:
        cell.pop("id", None)  # random; ours follow from the text
    return notebook


def _read(text: str, value: dict[str, Any]) -> NotebookText:
    members, tail = _members(text)
    spans: dict[str, str] = {key: raw for key, _, raw in members}
    cells = value["cells"]
    if not isinstance(cells, list) or not all(isinstance(c, dict) and "cell_type" in c for c in cells):
        raise NotANotebook("its cells are not a list of cells")
    for number, cell in enumerate(cells):
        if wrong := _wrong(cell):
            raise NotANotebook(f"the {wrong} of cell {number} is not what a notebook has there")
    raws, first, between, last = _array(spans["cells"])
    indent = _indent(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    if not raws:
        first = "" if indent is None else newline + indent * 2
        between, last = f",{first or ' '}", "" if indent is None else newline + indent
    minor = value.get("nbformat_minor", 0)
    old = minor < 5 if isinstance(minor, int) else True
    members = [(k, before, "5" if k == "nbformat_minor" and old else raw) for k, before, raw in members]
    layout = Layout(members, tail, first, between, last, indent, text.isascii() and "\\u" in text)
    complete = all(key in spans for key in _MEMBERS)
    metadata = value.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    if not complete:
        layout = empty().layout
    joined, kept = _with_ids([_joined(cell) for cell in cells], raws if complete else [None] * len(cells))
    raw_metadata = spans.get("metadata", "{}") if isinstance(value.get("metadata"), dict) else "{}"
    return NotebookText(joined, kept, metadata, raw_metadata, layout)


def _is_deep(value: Any) -> bool:
    """Whether JSON has more levels than can be worked with."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(_DEPTH):
        within = (each.values() if isinstance(each, dict) else each for each in level)
        level = [inner for several in within for inner in several if isinstance(inner, (dict, list))]
        if not level:
            return False
    return True


def _wrong(cell: Mapping[str, Any]) -> str:
    """Which member of a cell is not what nbformat allows, and what we could not hold; empty if none."""
    outputs = cell.get("outputs") or []
    count = cell.get("execution_count")
    checks = {
        "cell_type": isinstance(cell["cell_type"], str),
        "source": _is_text(cell.get("source", "")),
        "metadata": isinstance(cell.get("metadata") or {}, dict),
        "attachments": isinstance(cell.get("attachments") or {}, dict),
        "execution_count": count is None or (isinstance(count, int) and not isinstance(count, bool)),
        "outputs": isinstance(outputs, list) and all(map(is_output, outputs)),
    }
    return next((name for name, right in checks.items() if not right), "")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))


def is_output(value: Any) -> bool:
    """Whether it has what an output must have."""
    if not isinstance(value, dict) or not isinstance(value.get("output_type"), str):
        return False
    if value["output_type"] == "stream":
        return isinstance(value.get("name"), str) and _is_text(value.get("text"))
    if value["output_type"] == "error":
        return isinstance(value.get("ename"), str) and isinstance(value.get("evalue"), str)
    return isinstance(value.get("data"), dict)


def _with_ids(
    cells: Sequence[dict[str, Any]], raws: Sequence[str | None]
) -> tuple[list[dict[str, Any]], list[str | None]]:
    """Cells with an id each; where it was missing, taken or not valid, one that follows from position and source."""
    wanted = [cell.get("id") for cell in cells]
    good = {id_ for id_ in wanted if isinstance(id_, str) and VALID_ID.fullmatch(id_)}
    used: set[str] = set()
    named, kept = [], []
    for position, (cell, raw) in enumerate(zip(cells, raws, strict=True)):
        cell_id = cell.get("id")
        fine = isinstance(cell_id, str) and cell_id in good and cell_id not in used
        if not fine:
            cell_id = next(c for c in _candidates(position, cell["source"]) if c not in used | good)
        used.add(str(cell_id))
        named.append({**cell, "id": cell_id})
        kept.append(raw if fine else None)
    return named, kept


def _candidates(position: int, source: str) -> Iterator[str]:
    n = 0
    while True:
        digest = hashlib.sha256(f"{position}/{n}/{source}".encode("utf-8", "replace")).hexdigest()
        if not digest[:4].isdigit():
            yield digest[:8]
        n += 1


def _joined(cell: Mapping[str, Any]) -> dict[str, Any]:
    """A cell with its strings joined, and with the members that its type must have."""
    joined = {**cell, "source": _text(cell.get("source", "")), "metadata": dict(cell.get("metadata") or {})}
    if cell["cell_type"] == "code" or cell.get("outputs"):  # a cell that is no code any more may still have some
        joined["outputs"] = [_joined_output(output) for output in cell.get("outputs") or []]
    if cell["cell_type"] == "code":
        joined.setdefault("execution_count", None)
    return joined


def _joined_output(output: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(output)
    if output.get("output_type") == "stream":
        joined["text"] = _text(output.get("text", ""))
        joined.setdefault("name", "stdout")
    if isinstance(output.get("data"), Mapping):
        joined["data"] = {key: value if key.endswith("json") else _text(value) for key, value in output["data"].items()}
    return joined


def _split_output(output: Mapping[str, Any]) -> dict[str, Any]:
    split = dict(output)
    if output["output_type"] == "stream":
        split["text"] = output["text"].splitlines(True)
    if "data" in output:
        split["data"] = {
            key: value.splitlines(True)
            if isinstance(value, str) and (key.startswith("text/") or key in _SPLIT)
            else value
            for key, value in output["data"].items()
        }
    return split


def _text(value: Any) -> Any:
    """A multi-line string; anything else as it is."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "".join(value)
    return value


def _indent(text: str) -> str | None:
    match = re.match(r"\ufeff?\s*\{\r?\n([ \t]*)", text)
    return None if match is None else match[1]


def _members(text: str) -> tuple[list[tuple[str, str, str]], str]:
    """The top-level members, each with what stands before its value."""
    at = text.index("{") + 1
    before = 0
    members: list[tuple[str, str, str]] = []
    while True:
        at = _skip(text, at)
        if text[at] == "}":
            return members, text[before:]
        if text[at] == ",":
            at = _skip(text, at + 1)
        key, at = scanstring(text, at + 1, True)
        at = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, at)
        members.append((key, text[before:at], text[at:end]))
        before = at = end


def _array(text: str) -> tuple[list[str | None], str, str, str]:
    """The texts of an array's items, and what stands before, between and after them."""
    raws: list[str | None] = []
    gaps: list[str] = []
    at = 1
    while True:
        start = _skip(text, at)
        if text[start] == ",":
            start = _skip(text, start + 1)
        if text[start] == "]":
            gaps.append(text[at:start])
            break
        _, end = _DECODER.raw_decode(text, start)
        gaps.append(text[at:start])
        raws.append(text[start:end])
        at = end
    between = gaps[1] if len(raws) > 1 else f",{gaps[0]}"
    return raws, gaps[0], between, gaps[-1]


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
