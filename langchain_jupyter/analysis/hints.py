"""What to do about an exception of a cell, where that is plain. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from langchain_jupyter.models import ErrorInfo

Unmade: TypeAlias = Callable[[str], str]
"""Name -> handle of the cell that sets it and has not run in this kernel; "" if there is none."""

_MODULE = re.compile(r"No module named '([A-Za-z_]\w*)'")

_NAME = re.compile(r"name '(\w+)' is not defined")

_DISTRIBUTIONS = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "git": "gitpython",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "pyyaml",
}


def hint_of(error: ErrorInfo, unmade: Unmade = lambda name: "") -> str:
    """A sentence for a model; empty if there is nothing to say.

    The exception is code's of the user, and its text the only place that names the module, or the name.

    Args:
        error: What was raised.
        unmade: Finds the cell that would have set a name.
    """
    if error.name == "StdinNotImplementedError":
        return "Nobody can be asked from here. Write the value into the code."
    if error.name == "NameError" and (found := _NAME.match(error.value)) and (cell := unmade(found[1])):
        return f"{found[1]} is set in {cell}, which has not run since the kernel started."
    if error.name != "ModuleNotFoundError" or (found := _MODULE.fullmatch(error.value.strip())) is None:
        return ""
    module = found[1]
    name = _DISTRIBUTIONS.get(module, module)
    return f"{module} is not installed in the kernel's environment. If it may be: %pip install {name}"
