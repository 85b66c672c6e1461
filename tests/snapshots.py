"""Golden files: what a model sees, so that a change to it is visible in review."""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path(__file__).parent / "snapshots"


def check(name: str, text: str) -> None:
    """Compare a text with `tests/snapshots/<name>.txt`; write it there if UPDATE_SNAPSHOTS=1."""
    path = _ROOT / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    assert path.exists(), f"no snapshot {path}; run again with UPDATE_SNAPSHOTS=1 and review it"
    assert text == path.read_text(encoding="utf-8")
