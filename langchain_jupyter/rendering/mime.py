"""Which of the representations of an output a model is shown."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_jupyter.rendering.charts import chart
from langchain_jupyter.rendering.drawings import SVG, in_words
from langchain_jupyter.rendering.fences import printable
from langchain_jupyter.widgets import VIEW

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp")
_TEXTS = ("text/llm+plain", "text/markdown", "text/latex", "text/plain")
_REPR = re.compile(r"<[A-Za-z_][^\n]*>\s*")
_TAG = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", re.IGNORECASE | re.DOTALL)
_MIME = re.compile(r"[\w.+-]{1,60}/[\w.+;=-]{1,60}", re.ASCII)
_HTML = 200_000


@dataclass(frozen=True, slots=True)
class Other:
    """A representation that is not shown.

    Attributes:
        mime: Its type.
        text: What it says, if it can be read at all; else empty.
        size: Its characters, base64 or not.
    """

    mime: str
    text: str
    size: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What of one MIME bundle is shown.

    Attributes:
        text: Printable; empty if there is nothing worth it.
        image: MIME type and base64 of the image to show.
        others: What a person sees and a model does not.
    """

    text: str
    image: tuple[str, str] | None = None
    others: tuple[Other, ...] = ()


def choose(data: Mapping[str, Any]) -> Choice:
    """The best text and the image of a MIME bundle, as nbformat or the kernel has it."""
    image = next(((mime, _joined(data[mime])) for mime in IMAGES if mime in data), None)
    drawn = None if image else chart(data)
    text = _text(data, image is not None) if drawn is None else drawn
    known = {*IMAGES, *_TEXTS, "application/json", "text/html"}
    if VIEW in data and text:
        # What happens to it later goes to the browser and never comes back.
        text, known = f"{text}\n(a widget, without what happens to it after its cell has run)", known | {VIEW}
    others = () if image else tuple(_other(mime, data[mime]) for mime in data if mime not in known)
    return Choice(printable(text), image, others)


def _text(data: Mapping[str, Any], pictured: bool) -> str:
    plain = _joined(data.get("text/plain", ""))
    empty = _REPR.fullmatch(plain) is not None
    for mime in _TEXTS:
        if mime in data and not (mime == "text/plain" and empty):
            return _joined(data[mime])
    if "application/json" in data:
        return _json(data["application/json"])
    if SVG in data and not pictured:
        return in_words(_joined(data[SVG]))
    if "text/html" in data and not pictured:
        return html_text(_joined(data["text/html"])) or plain
    return "" if pictured else plain


def html_text(full: str) -> str:
    """HTML reduced to text; tables stay tables. Only the first 200,000 characters are read, and a last line says so."""
    import markdownify

    html = re.sub(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", "", full[:_HTML], flags=re.IGNORECASE | re.DOTALL)
    try:
        text: str = markdownify.markdownify(html, heading_style="ATX", escape_misc=False, escape_underscores=False)
    except (RecursionError, ValueError, AssertionError):
        # Beautiful Soup walks a document by recursion, and html.parser gives up on some broken declarations.
        text = _TAG.sub(" ", html)
    cut = f"\n[HTML of {len(full):,} characters; the rest after {_HTML:,} was not read]" if len(full) > _HTML else ""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + cut


def _other(mime: str, value: Any) -> Other:
    text = _json(value) if not isinstance(value, (str, list)) else _joined(value)
    readable = mime.startswith("text/") or mime.endswith(("json", "xml"))
    known = mime if _MIME.fullmatch(mime) else "an unknown type"  # it stands in lines of our own: no words, then
    return Other(known, printable(text) if readable else "", len(text))


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1, default=str)


def _joined(value: Any) -> str:
    """Text that nbformat may keep as a list of lines."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "".join(value)
    return _json(value)
