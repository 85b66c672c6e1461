"""Secrets that are planted in the whole test run, and looked for in all that it tells and writes.

One is in the environment, where every toolkit, kernel and server finds it; the others are tokens of servers. All of
them begin with the same mark, so that a piece of one is found too. A test that has a secret printed plants one of its
own: what a cell prints stands in the notebook, and may.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARK = "planted-5d0c7a"
VARIABLE = "PLANTED_API_TOKEN"

# What we write: notebooks, their journals and copies, checkpoints, traces, pages, logs. Jupyter's own files have its
# token, its logs too.
_OURS = frozenset(
    {".ipynb", ".journal", ".new", ".tmp", ".begin", ".sqlite", ".sqlite-wal", ".db", ".db-wal"}
    | {".jsonl", ".md", ".html", ".txt", ".log"}
)
_JUPYTER = frozenset({"server.log", "gateway.log", "hub.log"})
_LARGEST = 100_000_000


def secret(name: str) -> str:
    """A secret that must not be found anywhere."""
    return f"{MARK}-{name}-0123456789"


class Leaks(logging.Handler):
    """Collects what has told a planted secret; listens to all log records that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if MARK in self.format(record):
            self.found.append(f"the log {record.name}: {record.msg!r}")

    def check(self, what: str, told: Any) -> None:
        """Look into something that is told to a model or a stream."""
        if MARK in str(told):
            self.found.append(what)


def leaking_files(folder: Path) -> Iterator[Path]:
    """The files of ours that have a planted secret in them."""
    for path in folder.rglob("*"):
        ours = path.suffix in _OURS and path.name not in _JUPYTER and path.is_file() and not path.is_symlink()
        with contextlib.suppress(FileNotFoundError):  # a server of others may still be at work
            if ours and path.stat().st_size < _LARGEST and MARK.encode() in path.read_bytes():
                yield path
