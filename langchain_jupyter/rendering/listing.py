"""The notebooks of a workspace at a glance. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from langchain_jupyter.rendering.fences import one_line
from langchain_jupyter.rendering.render import Rendered, content_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_jupyter.models import KernelInfo, NotebookFile

_BUDGET = 6_000
_FOLDERS = 1_500
_RECORDED = 500


def render_listing(
    files: Sequence[NotebookFile],
    *,
    root: str,
    folder: str,
    opened: Mapping[str, KernelInfo],
    specs: Mapping[str, str],
    budget: int = _BUDGET,
) -> Rendered:
    """A line about the whole, then one per notebook, the open ones first; folders with counts where they are too many.

    Args:
        files: All notebooks of the folder, sorted.
        root: The workspace's folder, as the user gave it.
        folder: What was asked for; "" for the root.
        opened: Kernels of the open notebooks, by path.
        specs: Kernel specs, name -> display name.
        budget: Characters of the whole.
    """
    kernels = ", ".join(f"{name} ({one_line(display, 60)})" for name, display in specs.items()) or "none"
    where = f"{root} {one_line(folder)}".rstrip() if folder else root
    count = f"{len(files):,} {'notebook' if len(files) == 1 else 'notebooks'}"
    first = f"{count} in {where} · {sum(file.path in opened for file in files)} open · kernels: {kernels}"[:budget]
    ordered = sorted(files, key=lambda file: file.path not in opened)
    lines = [_line(file, opened.get(file.path)) for file in ordered]
    room = budget - len(first) - 1
    if sum(len(line) + 1 for line in lines) > room:
        lines = _shortened(ordered, lines, room)
    artifact = {
        "root": root,
        "notebooks": [
            {"path": file.path, "size": file.size, "kernel": opened[file.path].state if file.path in opened else None}
            for file in ordered[:_RECORDED]
        ],
        "total": len(files),
        "kernel_specs": dict(specs),
    }
    return Rendered(content_of([first, *lines]), artifact)


def _line(file: NotebookFile, kernel: KernelInfo | None) -> str:
    state = "" if kernel is None else f" · open, kernel {one_line(kernel.label, 80)}"
    return f"{one_line(file.path, 300)} · {_size(file.size)}{state}"


def _shortened(files: Sequence[NotebookFile], lines: Sequence[str], room: int) -> list[str]:
    room -= _FOLDERS
    shown: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        shown.append(line)
    folders = Counter(file.path.rpartition("/")[0] for file in files[len(shown) :])
    note = f"[{len(files) - len(shown):,} more notebooks; list_notebooks(path=…) shows a folder:"
    left = _FOLDERS - len(note) - 4
    named: list[str] = []
    for folder, count in sorted(folders.items()):
        name = f"{one_line(folder or '.', 300)} {count:,}"
        left -= len(name) + 2
        if left < 0:
            break
        named.append(name)
    return [*shown, f"{note} {', '.join(named)}{' …' if len(named) < len(folders) else ''}]"]


def _size(size: int) -> str:
    if size < 1_000:
        return f"{size} B"
    return f"{size / 1_000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"
