"""What to do about an exception of a cell, where that is plain. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_jupyter.models import ErrorInfo

_MODULE = re.compile(r"No module named '([A-Za-z_]\w*)'")

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


def hint_of(error: ErrorInfo) -> str:
    """A sentence for a model; empty if there is nothing to say.

    The exception is code's of the user, and its text the only place that names the module.
    """
    if error.name != "ModuleNotFoundError" or (found := _MODULE.fullmatch(error.value.strip())) is None:
        return ""
    module = found[1]
    name = _DISTRIBUTIONS.get(module, module)
    return f"{module} is not installed in the kernel's environment. If it may be: %pip install {name}"
