"""What the notebooks of this folder show with: an agent at work, and the notebook that it has worked in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from IPython.display import Markdown, display


def watch(agent: Any, task: Any, config: Any = None) -> Any:
    """Let an agent work, and print what it says, what it calls and how that ended; returns the last state."""
    state: Any = None
    begin = task if not isinstance(task, str) else {"messages": [("user", task)]}
    for mode, event in agent.stream(begin, config, stream_mode=["updates", "values"]):
        if mode == "values":
            state = event
            continue
        for update in event.values():
            for message in update.get("messages", ()) if isinstance(update, dict) else ():
                print("\n".join(_lines(message)))
    return state


def _lines(message: Any) -> Iterator[str]:
    if message.type == "tool":
        yield f"    {message.text.partition(chr(10))[0]}"
        return
    if message.text:
        yield message.text
    for call in getattr(message, "tool_calls", ()):
        first = str(next(iter(call["args"].values()), "")).partition("\n")[0]
        yield f"  > {call['name']} {first}".rstrip()


def show(path: str | Path, *, cells: slice = slice(None)) -> None:
    """Show cells of another notebook as a person sees them there."""
    if not Path(path).exists():
        print("Nothing was written.")
        return
    for cell in nbformat.read(path, as_version=4).cells[cells]:
        if cell.cell_type == "markdown":
            display(Markdown(cell.source))
            continue
        display(Markdown(f"`[{cell.execution_count or ' '}]`\n```python\n{cell.source}\n```"))
        for output in cell.outputs:
            if output.output_type == "stream":
                print(output.text, end="")
            elif output.output_type == "error":
                print(f"{output.ename}: {output.evalue}")
            else:
                display(dict(output.data), raw=True)
