"""Ruff's findings, by cell. It is the extra `review`; without it the rest of a review is made all the same."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_jupyter.analysis.magics import LONGEST, code_of
from langchain_jupyter.models import Cell
from langchain_jupyter.rendering.fences import one_line
from langchain_jupyter.rendering.findings import Finding, Weight

MISSING = "not linted: pip install 'langchain-jupyter[review]' brings ruff"

_SECONDS = 20.0
_SELECT = "F,B,E711,E712,E721,E722,PLE,PLW0120,PLW0127,PLW0129,PLW0133"
# F405 says F403 again, F704 and F706 know no notebooks; the others are matters of taste.
_IGNORE = "F405,F704,F706,PLE1142,B007,B008,B010,B011,B028,B904,B905"
_WRONG = ("F5", "F6", "F7", "F821", "F822", "F823", "PLE")
_UNTIDY = ("F401", "F541", "F811", "F841", "B018")


async def lint(cells: Sequence[Cell]) -> list[Finding] | None:
    """What ruff says of Python cells, with its own settings and not the user's; None if it is not there.

    Cells that are no valid Python are left out: they would hide the rest.
    """
    program = _ruff()
    if program is None:
        return None
    process = await asyncio.create_subprocess_exec(
        program,
        *("check", "--isolated", "--no-cache", "--quiet", "--exit-zero", "--output-format", "json"),
        *("--select", _SELECT, "--ignore", _IGNORE, "--stdin-filename", "notebook.ipynb", "-"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            out, _ = await process.communicate(_notebook(cells).encode("utf-8", "replace"))
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    try:
        reports: Sequence[Mapping[str, Any]] = json.loads(out)
    except ValueError:
        return None
    return [_finding(report, cells) for report in reports if report.get("cell")]


def _ruff() -> str | None:
    """Beside our Python, or on the path."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return shutil.which("ruff", path=beside)


def _notebook(cells: Sequence[Cell]) -> str:
    """The cells as ruff reads them: it counts all cells, and skips those that are not code."""
    rows: list[dict[str, Any]] = []
    for cell in cells:
        code = cell.source if cell.cell_type == "code" and _readable(cell.source) else ""
        rows.append(
            {"cell_type": "code", "metadata": {}, "source": code, "outputs": [], "execution_count": None, "id": cell.id}
        )
    metadata = {"language_info": {"name": "python"}}
    return json.dumps({"cells": rows, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def _readable(source: str) -> bool:
    if len(source) > LONGEST:
        return False
    try:
        compile(code_of(source), "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _finding(report: Mapping[str, Any], cells: Sequence[Cell]) -> Finding:
    code = str(report["code"])
    weight: Weight = "wrong" if code.startswith(_WRONG) else "untidy" if code.startswith(_UNTIDY) else "risky"
    cell = cells[int(report["cell"]) - 1]
    return Finding(cell.id, weight, code, f"line {report['location']['row']}: {one_line(str(report['message']), 150)}")
