"""What tools answer: a text and what it was made of, before and after others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from langchain_jupyter.rendering.render import Rendered


def answer(text: str, artifact: dict[str, Any]) -> Rendered:
    """A result of one text."""
    return Rendered([{"type": "text", "text": text}], artifact)


def preceded(text: str, rendered: Rendered) -> Rendered:
    """A result under another first line."""
    first, *more = rendered.content
    return replace(rendered, content=[{"type": "text", "text": f"{text}\n{first['text']}"}, *more])


def followed(rendered: Rendered, text: str) -> Rendered:
    """A result with another last line."""
    return replace(rendered, content=[*rendered.content, {"type": "text", "text": text}])
