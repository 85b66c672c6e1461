"""Kernels of other languages, for the tests."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SPECS: dict[str, dict[str, Any]] = {
    "bash": {
        "argv": [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"],
        "display_name": "Bash",
        "language": "bash",
    },
    "deno": {
        "argv": [str(Path(sys.executable).with_name("deno")), "jupyter", "--kernel", "--conn", "{connection_file}"],
        "display_name": "Deno",
        "language": "typescript",
        "interrupt_mode": "message",  # a signal ends it
    },
    "ir": {
        "argv": ["R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"],
        "display_name": "R",
        "language": "R",
    },
}
"""Kernel specs, which not all packages install by themselves."""


@contextmanager
def installed(folder: Path, *names: str) -> Iterator[None]:
    """Those kernel specs, besides what the machine has."""
    for name in names:
        spec = folder / "kernels" / name / "kernel.json"
        spec.parent.mkdir(parents=True)
        spec.write_text(json.dumps(SPECS[name]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        yield
