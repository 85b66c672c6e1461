"""SVG drawings in words. Pure.

They are not drawn: the renderers that are light enough end the whole process at a drawing that is made to be huge.
"""

from __future__ import annotations

import html
import re

from langchain_jupyter.rendering.fences import one_line

SVG = "image/svg+xml"

_READ = 1_000_000
_SAID = 600
_CLIP = 200
_TITLE = re.compile(r"<(?:\w+:)?(?:title|desc)\b[^<>]{0,300}>([^<]{1,2000})<", re.IGNORECASE)
_LABEL = re.compile(r"<(?:\w+:)?(?:text|tspan|textPath)\b[^<>]{0,300}>([^<]{1,2000})<", re.IGNORECASE)
_COMMENT = re.compile(r"<!--\s*([^<>\s][^<>]{0,200}?)\s*-->")
_MAKER = re.compile(r"Matplotlib v")


def in_words(svg: str) -> str:
    """What is written in a drawing: its title, its description, its labels. Matplotlib keeps labels in comments."""
    head = svg[:_READ]
    titles = [title for found in _TITLE.finditer(head) if not _MAKER.match(title := _words(found[1]))]
    labels = [_words(found[1]) for found in (*_LABEL.finditer(head), *_COMMENT.finditer(head))]
    about = "; ".join(dict.fromkeys(filter(None, titles)))
    said = " · ".join(dict.fromkeys(filter(None, labels)))
    return f"SVG drawing{f': {about}' if about else ''}{f'; labels: {said}' if said else ''}"[:_SAID]


def _words(text: str) -> str:
    return one_line(" ".join(html.unescape(text).split()), _CLIP)
