"""Copies of a notebook as it was here, where others' changes took the place of ours or may have."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from langchain_jupyter.documents import format as ipynb
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.errors import DocumentConflict


def as_it_was(document: NotebookDocument, doubtful: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The cells of a notebook, those that are in doubt as they were."""
    return [doubtful.get(cell_id) or document.snapshot(cell_id) for cell_id in document.ids]


def moved(document: NotebookDocument, path: str, doubtful: Sequence[str], copy: str) -> DocumentConflict:
    """What is to be told of cells that somebody moved amid our edits."""
    handles = ", ".join(f"'{document.handle(cell_id)}'" for cell_id in doubtful if cell_id in document)
    return DocumentConflict(
        f"Somebody moved cells of {path} while they were edited here: {handles}. The edits stand in them as far as "
        f"they fit: read these cells again. The notebook as it was here is in {copy}.",
        cells=doubtful,
        copy=copy,
    )


def kept_here(path: str, cells: Sequence[Mapping[str, Any]]) -> str:
    """Write a notebook into a temporary file of this machine; its path."""
    stem = PurePosixPath(path).stem
    with tempfile.NamedTemporaryFile("w", prefix=f"{stem}.", suffix=".ipynb", encoding="utf-8", delete=False) as file:
        file.write(ipynb.dump(cells))
    return file.name
