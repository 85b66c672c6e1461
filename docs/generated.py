"""Parts of the reference that are made from the program, when the documentation is built: its tools, its commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from typer.main import get_command

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.cli import EXAMPLES, app

_EFFECTS = {
    "read": "Changes nothing.",
    "edit": "Changes the notebook.",
    "run": "Runs code.",
    "kernel": "Acts on the kernel.",
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs asks this of every page."""
    for name, make in PARTS.items():
        marker = f"<!-- generated: {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, make())
    return markdown


def tools() -> str:
    """Every tool: what it is for, what it takes."""
    one, many = JupyterToolkit("none.ipynb").get_tools(), JupyterToolkit(root=".").get_tools()
    known = {tool.name for tool in one}
    listed = [*one, *(tool for tool in many if tool.name not in known)]
    return "\n".join(line for tool in listed for line in _tool(tool))


def commands() -> str:
    """Every command: what it does, its options, examples."""
    root = get_command(app)
    return "\n".join(line for path, found in _commands(root) for line in _command(path, found))


PARTS: Mapping[str, Callable[[], str]] = {"tools": tools, "commands": commands}


def _tool(tool: Any) -> Iterator[str]:
    schema = tool.tool_call_schema.model_json_schema()
    yield f"## `{tool.name}`\n\n{tool.description} {_EFFECTS[tool.metadata['effect']]}\n"
    if schema.get("properties"):
        rows = [
            (f"`{name}`", _type(each), _default(name, each, schema.get("required", ())), each.get("description", ""))
            for name, each in schema["properties"].items()
        ]
        yield from _table(("argument", "type", "default", ""), rows)


def _type(argument: Mapping[str, Any]) -> str:
    if "enum" in argument:
        return " ".join(f'`"{value}"`' for value in argument["enum"])
    return f"list of {argument['items']['type']}" if argument["type"] == "array" else str(argument["type"])


def _default(name: str, argument: Mapping[str, Any], required: Sequence[str]) -> str:
    return "needed" if name in required else f"`{json.dumps(argument.get('default'))}`"


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, found in group.commands.items():
        if hasattr(found, "commands"):
            yield from _commands(found, (*path, name))
        else:
            yield " ".join((*path, name)), found


def _command(path: str, command: Any) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    words = " ".join(each.name.upper() if each.required else f"[{each.name.upper()}]" for each in arguments)
    yield f"## {path}\n\n{command.help}\n"
    yield "```text\n" + f"langchain-jupyter {path} [OPTIONS] {words}".rstrip() + "\n```\n"
    if arguments:
        yield from _table(("argument", ""), [(f"`{each.name.upper()}`", each.help or "") for each in arguments])
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    yield from _table(("option", "variable", "default", ""), [_option(each) for each in options])
    yield "\n".join(("```bash", *(_wrapped(example) for example in EXAMPLES[path]), "```", ""))


def _option(option: Any) -> tuple[str, ...]:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    default = "needed" if option.required else f"`{option.default}`" if option.default not in (None, "", False) else ""
    return names, f"`{option.envvar}`" if option.envvar else "", default, option.help or ""


def _wrapped(example: str) -> str:
    """A long line in two, which a shell takes for one."""
    words = example.split(" ") if len(example) > 88 else []
    cut = next((at for at in range(len(words) - 1, 0, -1) if words[at].startswith("-") and len(words) - at > 1), 0)
    wrapped = f"{' '.join(words[:cut])} \\\n    {' '.join(words[cut:])}" if cut else example
    assert shlex.split(wrapped.replace("\\\n", "")) == shlex.split(example)
    return wrapped


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Without the columns that have nothing in them."""
    kept = [at for at in range(len(head)) if any(row[at] for row in rows)]
    yield f"| {' | '.join(head[at] for at in kept)} |\n|{'---|' * len(kept)}"
    yield from (f"| {' | '.join(row[at].replace('|', chr(92) + '|') for at in kept)} |" for row in rows)
    yield ""
