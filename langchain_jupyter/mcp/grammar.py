"""The grammar of IRIs, which jsonschema compiles when it is imported: two seconds, for a format that we never check."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

_LIBRARY = "rfc3987_syntax"  # beside JupyterLab; jsonschema takes one function of it


@contextmanager
def compiled_when_used() -> Iterator[None]:
    """Import jsonschema, or what imports it, within; it checks IRIs as ever, and compiles at the first of them."""
    if _LIBRARY in sys.modules or find_spec(_LIBRARY) is None:
        yield
        return
    stand_in = ModuleType(_LIBRARY)
    stand_in.is_valid_syntax = _is_valid_syntax  # type: ignore[attr-defined]
    sys.modules[_LIBRARY] = stand_in
    try:
        yield
    finally:
        del sys.modules[_LIBRARY]


def _is_valid_syntax(term: str, text: str) -> bool:
    return bool(import_module(_LIBRARY).is_valid_syntax(term, text))
