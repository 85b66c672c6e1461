"""This machine: its kernel specs, its kernels, the folder of the notebook."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager

from langchain_jupyter.doctor.finding import Finding, fine, problem
from langchain_jupyter.documents.file import LocalFile
from langchain_jupyter.documents.format import NotANotebook
from langchain_jupyter.documents.whole import read_settled
from langchain_jupyter.errors import DocumentError, KernelStartError
from langchain_jupyter.kernels.local import LocalKernel
from langchain_jupyter.settings import NotebookLimits

_DEFAULT = "python3"
_ITSELF = {"python", "python3", f"python3.{sys.version_info.minor}"}
"""Names by which jupyter-client starts the Python that it runs on."""


def kernel_specs(wanted: str = "", manager: KernelSpecManager | None = None) -> list[Finding]:
    """Whether the kernel spec that is wanted is there, and whether what the specs start is.

    Args:
        wanted: Name of a kernel spec; "" for python3.
        manager: Where specs are looked for; None for where Jupyter does.
    """
    found: Mapping[str, Any] = (manager or KernelSpecManager()).get_all_specs()
    name = wanted or _DEFAULT
    if not found:
        mend = "pip install ipykernel brings python3; other languages have kernels of their own."
        return [problem("Kernel specs", "This machine has no kernel spec at all.", mend)]
    if name not in found:
        said = f"There is no kernel spec '{name}'. There are: {', '.join(sorted(found))}."
        mend = "pip install ipykernel" if name == _DEFAULT else "Give one of these as --kernel, or install that kernel."
        return [problem("Kernel specs", said, mend)]
    broken = [
        problem(
            "Kernel specs",
            f"The kernel spec '{each}' starts {command}, and there is no such program ({found[each]['resource_dir']}).",
            f"jupyter kernelspec remove {each}, then install that kernel again.",
        )
        for each in sorted(found)
        if (command := _missing(found[each]))
    ]
    return broken or [fine("Kernel specs", f"{', '.join(sorted(found))}.")]


async def kernel(wanted: str = "") -> Finding:
    """Whether a kernel starts and answers; it is ended again."""
    local = LocalKernel(wanted)
    started = time.monotonic()
    try:
        await local.start()
    except KernelStartError as error:
        return problem("Kernel", str(error), f"jupyter run --kernel {wanted or _DEFAULT} shows what it prints.")
    finally:
        await local.close()
    return fine("Kernel", f"{wanted or _DEFAULT} started and answered in {time.monotonic() - started:.1f}s.")


async def folder(notebook: Path, limits: NotebookLimits | None = None) -> Finding:
    """Whether the notebook can be read within the limits, and written in its folder. It is not opened."""
    file, misplaced = _placed(notebook)
    if misplaced is not None:
        return misplaced
    try:
        found = await read_settled(LocalFile(file, notebook, limits=limits).read)
    except (NotANotebook, DocumentError) as error:
        said = f"{notebook} cannot be opened: {str(error).rstrip('.')}."
        return problem("Notebook", said, "Mend it, or give another notebook.")
    if (refusal := _refusal(file.parent)) is not None:
        said = f"The folder {file.parent} cannot be written to ({refusal.strerror}); no edit would be kept."
        return problem("Notebook", said, "Get the right to write there, or give a notebook in another folder.")
    return fine("Notebook", f"{notebook} {'can be made' if found is None else 'can be read and written'}.")


def _placed(notebook: Path) -> tuple[Path, Finding | None]:
    """Where the notebook is; and why none can be there, if none can."""
    file = notebook.expanduser().absolute()
    if file.is_dir():
        return file, problem("Notebook", f"{notebook} is a folder.", "Give the path of an .ipynb file in it.")
    if not file.parent.is_dir():
        return file, problem("Notebook", f"There is no folder {file.parent}.", f"mkdir -p '{file.parent}'")
    return file, None


def _missing(spec: Mapping[str, Any]) -> str:
    """The program that a spec starts, if there is none."""
    command = str((spec["spec"].get("argv") or [""])[0])
    return "" if command in _ITSELF or shutil.which(command) else command or "nothing"


def _refusal(place: Path) -> OSError | None:
    """Tried, not read off its rights: root has all of them, on a read-only disk too."""
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return error
