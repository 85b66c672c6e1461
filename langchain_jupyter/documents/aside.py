"""Copies of a notebook as it was here, where others' changes took the place of ours or may have."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from langchain_jupyter.documents import format as ipynb
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.errors import DocumentConflict


def as_it_was(document: NotebookDocument, ours: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The cells of a notebook, some of them as they were here; those that are gone come last."""
    gone = [cell for cell_id, cell in ours.items() if cell and cell_id not in document]
    return [*(ours.get(cell_id) or document.snapshot(cell_id) for cell_id in document.ids), *gone]


def moved(document: NotebookDocument, path: str, doubtful: Sequence[str], copy: str) -> DocumentConflict:
    """What is to be told of cells that somebody moved amid our edits."""
    what = f"Somebody moved cells of {path} while they were edited here"
    then = "The edits stand in them as far as they fit: read these cells again."
    return _conflict(what, [cell_id for cell_id in doubtful if cell_id in document], then, document, copy)


def overwritten(document: NotebookDocument, path: str, clashing: Sequence[str], copy: str) -> DocumentConflict:
    """What is to be told of cells that another program has written otherwise than we had them."""
    what = f"Another program wrote {path}, and cells that we had changed a moment before read otherwise there"
    return _conflict(what, clashing, "The file's version stands.", document, copy)


def lost(document: NotebookDocument, path: str, clashing: Sequence[str], copy: str) -> DocumentConflict:
    """What is to be told of cells that read otherwise in the file with which a server begins its room anew."""
    what = f"The server had lost the recent history of {path}, and cells that we had changed read otherwise there now"
    return _conflict(what, clashing, "The server's version stands.", document, copy)


def _conflict(what: str, cell_ids: Sequence[str], then: str, document: NotebookDocument, copy: str) -> DocumentConflict:
    handles = ", ".join(f"'{document.handle(cell_id)}'" for cell_id in cell_ids)
    return DocumentConflict(
        f"{what}: {handles}. {then} The notebook as it was here is in {copy}.", cells=cell_ids, copy=copy
    )


def kept_here(path: str, cells: Sequence[Mapping[str, Any]]) -> str:
    """Write a notebook into a temporary file of this machine; its path."""
    stem = PurePosixPath(path).stem
    with tempfile.NamedTemporaryFile("w", prefix=f"{stem}.", suffix=".ipynb", encoding="utf-8", delete=False) as file:
        file.write(ipynb.dump(cells))
    return file.name
