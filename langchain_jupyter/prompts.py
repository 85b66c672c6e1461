"""Finds, checks and renders the prompts: `system.md` and one file per task in `tasks/`.

They are mustache templates. Values stand in triple braces, `{{{notebook}}}`, because double ones escape HTML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from langchain_core.messages import SystemMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.prompts.string import get_template_variables, mustache_formatter

from langchain_jupyter.errors import UsageError
from langchain_jupyter.rendering.fences import one_line

_PACKAGE = Path(__file__).parent

# In a wheel, and in a source tree or an editable install.
_HOMES = (_PACKAGE / "_prompts", _PACKAGE.parent / "prompts")

# What is known wherever a prompt is made: a template may do without it.
_ALWAYS = frozenset({"notebook", "language"})

_DEFAULTS: Mapping[str, str] = {"language": "Python"}

_ESCAPING = re.compile(r"(?<!\{)\{\{\s*[\w.]+\s*\}\}(?!\})")


def task_names(*, folder: Path | None = None) -> tuple[str, ...]:
    """The tasks that there is a prompt for, sorted.

    Args:
        folder: A user's own prompts, laid out like ours. Its files go before ours of the same name.

    Raises:
        UsageError: No such folder.
    """
    return tuple(sorted({path.stem for home in _homes(folder) for path in (home / "tasks").glob("*.md")}))


def system_text(*, folder: Path | None = None, **variables: str) -> str:
    """What every agent is told: how to work in a notebook.

    Args:
        folder: A user's own prompts; without a `system.md` in it, ours is taken.
        variables: What the template asks for. Ours: `notebook`, and `language` (Python).

    Raises:
        UsageError: A variable is missing or unknown, or the template cannot be read.
    """
    return _render({"system.md": _source("system.md", folder)}, variables)[0]


def task_text(name: str, *, folder: Path | None = None, **variables: str) -> str:
    """What an agent is told about one kind of task.

    Args:
        name: One of `task_names()`.
        folder: A user's own prompts, where it is looked for first.
        variables: What the template asks for. Ours ask for nothing.

    Raises:
        UsageError: No such task, with the names of those that exist; or as for `system_text`.
    """
    return _render(_task_source(name, folder), variables)[0]


def system_prompt(task: str | None = None, *, folder: Path | None = None, **variables: str) -> str:
    """The system text, followed by a task's; a variable may belong to either.

    Raises:
        UsageError: As for `task_text`.
    """
    sources = {"system.md": _source("system.md", folder)}
    if task is not None:
        sources |= _task_source(task, folder)
    return "\n".join(_render(sources, variables))


def get_prompt(task: str | None = None, *, folder: Path | None = None, **variables: str) -> ChatPromptTemplate:
    """`system_prompt` as a system message, then a place for `messages`.

    Braces in the text are text: the finished prompt has no variable but `messages`.

    Raises:
        UsageError: As for `task_text`.
    """
    text = system_prompt(task, folder=folder, **variables)
    return ChatPromptTemplate.from_messages([SystemMessage(text), MessagesPlaceholder("messages")])


def _homes(folder: Path | None) -> list[Path]:
    if folder is not None and not folder.is_dir():
        raise UsageError(f"No folder of prompts {str(folder)!r}. It has the layout of ours: system.md, tasks/NAME.md.")
    ours = next(home for home in _HOMES if home.is_dir())
    return [ours] if folder is None else [folder, ours]


def _task_source(name: str, folder: Path | None) -> dict[str, str]:
    names = task_names(folder=folder)
    if name not in names:
        raise UsageError(f"No task {name!r}. Tasks: {', '.join(names)}.")
    file = f"tasks/{name}.md"
    return {file: _source(file, folder)}


def _source(file: str, folder: Path | None) -> str:
    path = next(home / file for home in _homes(folder) if (home / file).is_file())
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Prompt {str(path)!r} cannot be read as UTF-8 text: {error}.") from error


def _render(sources: Mapping[str, str], variables: Mapping[str, str]) -> list[str]:
    """Every template with its values; none may be missing, and each must be known always or wanted by one of them."""
    wanted = {file: _variables(file, text) for file, text in sources.items()}
    every = sorted(set().union(*wanted.values()))
    takes = f"takes {', '.join(every)}" if every else "takes no variables"
    if unknown := sorted(variables.keys() - _ALWAYS - set(every)):
        raise UsageError(f"Unknown variables {', '.join(unknown)}: the prompt {takes}.")
    values = {**_DEFAULTS, **variables}
    if "notebook" in values:  # the name of a file may be any text
        values["notebook"] = one_line(values["notebook"]).replace("`", "'")
    if missing := sorted(set(every) - values.keys()):
        raise UsageError(f"Missing variables {', '.join(missing)}: the prompt {takes}.")
    return [mustache_formatter(text, **{name: values[name] for name in wanted[file]}) for file, text in sources.items()]


def _variables(file: str, text: str) -> set[str]:
    if escaping := _ESCAPING.search(text):
        inner = escaping[0].strip("{} ")
        raise UsageError(f"{file} has {escaping[0]}, which would escape HTML. Write {{{{{{{inner}}}}}}}.")
    try:
        return set(get_template_variables(text, "mustache"))
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{file} is not a mustache template: {error}.") from error
