"""What a person sees of a call before it is done, and what they decide about it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from langchain_jupyter.differences import TooDifferent, unified
from langchain_jupyter.errors import CellChanged, NotApproved
from langchain_jupyter.guards import guards_of
from langchain_jupyter.human import APPROVED, EditDecision, Human, Person, RejectDecision
from langchain_jupyter.redaction import CURRENT

if TYPE_CHECKING:
    from langchain_jupyter.tools.base import JupyterTool
    from langchain_jupyter.tools.call import Call

_HIDING = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


@dataclass(frozen=True, slots=True)
class Preview:
    """A call before it is done.

    Attributes:
        text: For a person, as Markdown.
        sources: The cells that it runs or changes, by id, as they are now.
    """

    text: str
    sources: Mapping[str, str] = field(default_factory=dict)


def approved(
    tool: JupyterTool, human: Human, call: Call, arguments: dict[str, Any]
) -> tuple[Call, dict[str, Any], str]:
    """The call as a person has approved it, before anything is done.

    Returns:
        The call, its arguments, and what the model has to be told if a person changed them.

    Raises:
        GraphInterrupt: The person has not answered yet.
        NotApproved: They said no, or nobody can be asked.
        CellChanged: The cell is no longer the one that they saw.
    """
    change = ""
    if _to_be_asked(tool, human, call, arguments):
        preview = tool.preview(call, arguments)
        human.show(call.key, preview.sources)
        arguments, change = decided(tool, call.person, call.tool_call_id, arguments, preview)
        call = replace(call, key=tool.identify(call.runtime, call.tool_call_id, arguments)[1])
    _check_unchanged(human, call)
    return call, arguments, change


def decided(
    tool: JupyterTool, person: Person | str, tool_call_id: str, arguments: dict[str, Any], preview: Preview
) -> tuple[dict[str, Any], str]:
    """What a person decides: the arguments, and what the model has to be told if they are others.

    Raises:
        GraphInterrupt: They have not answered yet.
        NotApproved: They said no, or nobody can be asked.
    """
    if not isinstance(person, Person):
        raise NotApproved(f"A person has to approve this call, and nobody can be asked: {person}.")
    request = {
        "type": "tool_approval",
        "tool_call_id": tool_call_id,
        "name": tool.name,
        "args": CURRENT.get().redacted(arguments),
        "description": CURRENT.get().redact(preview.text),
    }
    decision = person.decide(request, lambda edit: _checked(tool, arguments, edit))
    if isinstance(decision, RejectDecision):
        reason = f" They say: {decision.message}" if decision.message else ""
        raise NotApproved(f"A person rejected this call; nothing was done.{reason}")
    if not isinstance(decision, EditDecision):
        return arguments, ""
    arguments = {
        name: restored(value, arguments.get(name)) for name, value in tool.parsed(decision.edited_action.args).items()
    }
    given = json.dumps(arguments, ensure_ascii=False)
    return arguments, f"[A person changed this call before it was done. It was done with {given}]"


def restored(value: Any, original: Any) -> Any:
    """An argument as a person meant it, who saw the original without its secrets."""
    both = isinstance(value, str) and isinstance(original, str)
    return CURRENT.get().restored(value, original) if both else value


def _to_be_asked(tool: JupyterTool, human: Human, call: Call, arguments: Mapping[str, Any]) -> bool:
    """Whether a person approves this call; not once more where it was done already, in a task of its own."""
    if APPROVED.get():
        return False
    gated = tool.acts(arguments) & human.gated
    if not gated and not any(_wants_to_be_asked(call, cell_id) for cell_id in tool.runs(call, arguments)):
        return False
    asked = isinstance(call.person, Person) and call.person.answered
    return asked or call.session.executions.of_key(call.key) is None


def _wants_to_be_asked(call: Call, cell_id: str) -> bool:
    return "ask" in guards_of(call.session.document.cell(cell_id).metadata)


def _checked(tool: JupyterTool, arguments: Mapping[str, Any], edit: EditDecision) -> EditDecision:
    """The edit, if it can be done.

    Raises:
        ValueError: It names another tool or notebook, or its arguments are not valid.
    """
    action = edit.edited_action
    if action.name != tool.name:
        raise ValueError(f"an edit cannot turn {tool.name} into {action.name}: reject it, and say what to do instead")
    try:
        parsed = tool.parsed(action.args)
    except ValidationError as error:
        raise ValueError(str(error)) from error
    if parsed.get("notebook") != arguments.get("notebook"):
        raise ValueError("an edit cannot name another notebook")
    return edit


def _check_unchanged(human: Human, call: Call) -> None:
    """Refuse what a person has approved with another text before their eyes."""
    document = call.session.document
    for cell_id, source in human.approved(call.key).items():
        if cell_id in document and document.source(cell_id) != source:
            raise CellChanged(
                f"Cell '{document.handle(cell_id)}' was changed since a person was shown the call to approve it.",
                hint="Nothing was done. Read the cell and call again, so that it is approved as it is now.",
            )


def block(source: str, language: str) -> str:
    """A source as a Markdown code block that it cannot end, and in which nothing hides.

    Characters that change the order of others, or that take no room, are written as escapes.

    Source:
        https://trojansource.codes
    """
    source = _HIDING.sub(lambda found: f"\\u{ord(found[0]):04x}", source)
    fence = "```"
    while fence in source:
        fence += "`"
    return f"{fence}{language}\n{source}\n{fence}"


def difference(old: str, new: str, language: str) -> str:
    """What an edit changes, as a Markdown code block; never cut, for it is what a person approves."""
    before, after = old.split("\n"), new.split("\n")
    try:
        lines = list(unified(before, after, context=3))
    except TooDifferent:
        return f"The whole new source:\n{block(new, language)}"
    return block("\n".join(lines), "diff") if lines else "It stands so already."
