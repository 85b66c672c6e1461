"""Tracebacks as a model needs them: the exception, the user's frames by cell and line, the libraries' folded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from langchain_jupyter.rendering.fences import printable

CellOf = Callable[[int], "str | None"]
"""Execution count -> handle of the cell that had it at its last run; None if no cell has."""

SCRATCH = "scratch"
"""In place of the handle of a cell: code that stands in none."""

_HEAD = re.compile(r"(?:-{20,}|\S+ +Traceback \(most recent call last\):?)\s*")
_CELL = re.compile(r"\s*(?:Cell |Input )In ?\[(\d+)\](?:, line (\d+))?(?:, in (?!<cell line)([^\n]+))?[^\n]*")
_FILE = re.compile(r"\s*File ([^\n]+?):(\d+)(?:, in ([^\n]+))?\s*(?:\n|$)")
_ARROW = re.compile(r"^-+> *(\d+) ?(.*)$", re.MULTILINE)
_LIBRARY = re.compile(
    r"[\\/](?:site-packages|dist-packages|lib(?:64)?[\\/]python3[^\\/]*|Lib)[\\/](?!site-packages)([^\\/:]+)"
)
_COMPILED = re.compile(r"<frozen |[^\\/~<].*\.(?:pyx|pxi|pxd)$")
_MOST = 12
_HEADING = 4
_UNREADABLE = "Could not get source"


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame of the user, or the name of the library that a frame is in, or text between frames."""

    text: str = ""
    library: str = ""
    chain: bool = False


def condense(traceback: Sequence[str], cell_of: CellOf) -> tuple[str, bool]:
    """The traceback of IPython, shortened; of any other kernel, as it is but without colours.

    Args:
        traceback: As the kernel sent it: one string per frame, or all in one.
        cell_of: Names the cells.

    Returns:
        The text, and whether frames are folded in it.
    """
    parts = [printable(part) for part in traceback]
    if not any(_CELL.match(part) or _FILE.match(part) for part in parts):
        return "\n".join(parts), False
    frames = [_frame(part, cell_of) for part in parts if not _HEAD.fullmatch(part)]
    groups = [(kind, list(group)) for kind, group in groupby(frames, _kind)]
    folded = any(kind == "library" or (kind == "user" and len(group) > _MOST) for kind, group in groups)
    return "\n".join(line for kind, group in groups for line in _lines(kind, group)), folded


def own_first(execution_count: int | None, handle: str, cell_of: CellOf) -> CellOf:
    """Names the cell whose run it is by its own count: cells that ran before a restart may have that count as well."""
    return lambda count: handle if count == execution_count else cell_of(count)


def _frame(part: str, cell_of: CellOf) -> _Frame:
    if cell := _CELL.match(part):
        return _in_cell(part, cell, cell_of)
    if file := _FILE.match(part):
        path, line, function = file.groups()
        if library := _library(path):
            return _Frame(library=library)
        return _Frame(f"{path}, line {line}{_where(function)}{_code(part)}")
    return _Frame(part.strip("\n"), chain=True)


def _in_cell(part: str, cell: re.Match[str], cell_of: CellOf) -> _Frame:
    count, line, function = cell.groups()
    arrow = _ARROW.search(part)
    line = line or (arrow[1] if arrow else "?")
    handle = cell_of(int(count)) if len(count) < 10 else None
    name = handle if handle == SCRATCH else f"cell {handle}" if handle else f"In[{count}]"
    return _Frame(f"{name}, line {line}{_where(function)}{_code(part) if arrow else part[cell.end() :].rstrip()}")


def _where(function: str | None) -> str:
    return f", in {function}" if function else ""


def _code(part: str) -> str:
    arrow = _ARROW.search(part)
    return "" if arrow is None or _UNREADABLE in arrow[2] else f"\n    {arrow[2].strip()}"


def _library(path: str) -> str:
    if found := _LIBRARY.search(path):
        return found[1].removesuffix(".py")
    return re.split(r"[\\/]", path)[0] if _COMPILED.match(path) else ""


def _kind(frame: _Frame) -> str:
    return "text" if frame.chain else "library" if frame.library else "user"


def _lines(kind: str, frames: list[_Frame]) -> Iterator[str]:
    if kind == "library":
        names = ", ".join(dict.fromkeys(frame.library for frame in frames))
        yield f"… {len(frames)} {'frame' if len(frames) == 1 else 'frames'} in {names}"
        return
    if kind == "text" or len(frames) <= _MOST:
        yield from (frame.text for frame in frames)
        return
    yield from (frame.text for frame in frames[:_HEADING])
    yield f"… {len(frames) - 2 * _HEADING:,} frames more"
    yield from (frame.text for frame in frames[-_HEADING:])
