"""Notebooks, cells and outputs as MCP resources: their addresses, and what is read there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from langchain_core.messages import ToolMessage

from langchain_jupyter.mcp.sdk import Json
from langchain_jupyter.rendering.fences import one_line

_SCHEME = "notebook://"
_PART = re.compile(r"(?P<path>.+)/(?P<part>cells|outputs)/(?P<name>[^/]+)")

TEMPLATES: list[Json] = [
    {
        "uriTemplate": "notebook://{path}",
        "name": "notebook",
        "description": "The cells of a notebook with their outputs, as many as fit.",
        "mimeType": "text/plain",
    },
    {
        "uriTemplate": "notebook://{path}/cells/{id}",
        "name": "cell",
        "description": "One cell with its outputs.",
        "mimeType": "text/plain",
    },
    {
        "uriTemplate": "notebook://{path}/outputs/{ref}",
        "name": "output",
        "description": "An output that was cut, or an image, by its reference such as o3.",
    },
]


@dataclass(frozen=True, slots=True)
class Address:
    """Where something of a notebook is read.

    Attributes:
        path: Of the notebook.
        cell: Handle of a cell, or empty.
        output: Reference of an output, or empty.
    """

    path: str
    cell: str = ""
    output: str = ""

    @classmethod
    def parse(cls, uri: str) -> Address | None:
        """The address that a URI means; None if it is none of ours."""
        rest = uri.removeprefix(_SCHEME)
        if rest in (uri, ""):
            return None
        if (found := _PART.fullmatch(rest)) is None:
            return cls(unquote(rest))
        path, name = unquote(found["path"]), unquote(found["name"])
        return cls(path, cell=name) if found["part"] == "cells" else cls(path, output=name)

    @property
    def uri(self) -> str:
        """As a URI."""
        part = f"/cells/{quote(self.cell, safe='')}" if self.cell else ""
        part = f"/outputs/{quote(self.output, safe='')}" if self.output else part
        return f"{_SCHEME}{quote(self.path)}{part}"

    @property
    def tool_call(self) -> tuple[str, Json]:
        """The tool that reads it, and its arguments."""
        if self.cell:
            return "read_cell", {"cell": self.cell}
        if self.output:
            return "read_output", {"output": self.output}
        return "read_all_cells", {}


def listed(path: str) -> Json:
    """A notebook as resources/list shows it."""
    return {"uri": Address(path).uri, "name": one_line(path), "mimeType": "text/plain"}


def contents_of(uri: str, message: ToolMessage) -> list[Json]:
    """What a tool has read, as the contents of a resource: its text in one piece, for clients that look no further."""
    blocks = blocks_of(message)
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    images = [block for block in blocks if block["type"] == "image"]
    text = {"uri": uri, "mimeType": "text/plain", "text": "\n".join(texts)}
    return [text, *({"uri": uri, "mimeType": each["mime_type"], "blob": each["base64"]} for each in images)]


def blocks_of(message: ToolMessage) -> list[dict[str, Any]]:
    """The content blocks of a tool's answer."""
    content = message.content
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block if isinstance(block, dict) else {"type": "text", "text": block} for block in content]
