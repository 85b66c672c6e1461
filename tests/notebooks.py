"""Notebook files that another process writes.

A Jupyter server empties the file and then fills it: whoever reads it just then finds nothing, or a part. It may do so
again a moment after a save, with the same text. Nothing but whole JSON is read here; how long that takes is bounded.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

_WITHIN = 60.0
_PAUSE = 0.02


def text(path: Path) -> str:
    """The text of the file, once it is whole.

    Blocks while the file is half-written, and with it the event loop of whoever calls.
    """
    deadline = time.monotonic() + _WITHIN
    while (found := _whole(path)) is None:
        assert time.monotonic() < deadline, f"{path} is no whole notebook: {path.read_bytes()[:200]!r}"
        time.sleep(_PAUSE)
    return found


def read(path: Path) -> Any:
    """The notebook in the file, as nbformat reads it."""
    return nbformat.reads(text(path), as_version=4)


def sources(path: Path) -> list[str]:
    """The sources of its cells."""
    return [cell.source for cell in read(path).cells]


async def written(path: Path, true: Callable[[Any], object]) -> Any:
    """The notebook in the file, as soon as something is true of it."""
    async with asyncio.timeout(_WITHIN):
        while True:
            found = _whole(path)
            if found is not None and true(notebook := nbformat.reads(found, as_version=4)):
                return notebook
            await asyncio.sleep(_PAUSE)


def _whole(path: Path) -> str | None:
    """The text of the file; None where it is not whole, or not there yet."""
    try:
        found = path.read_text(encoding="utf-8")
        json.loads(found)
    except (FileNotFoundError, ValueError):
        return None
    return found
