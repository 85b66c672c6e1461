"""What differs between the outputs of two runs of a cell, apart from what differs at every run. Pure."""

from __future__ import annotations

import io
import itertools
import math
import re
from typing import TYPE_CHECKING

from langchain_jupyter.differences import TooDifferent, opcodes
from langchain_jupyter.rendering import images
from langchain_jupyter.rendering.fences import one_line, printable
from langchain_jupyter.rendering.mime import choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_jupyter.models import Output

_VARYING = tuple(
    (re.compile(pattern), mark)
    for pattern, mark in (
        (r"\b0x[0-9a-fA-F]{4,}\b", "<address>"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>"),
        (r"\b[0-9a-f]{32}\b", "<id>"),
        (r"(?:/private)?/(?:var/folders|tmp)/[^\s'\":]+", "<temporary path>"),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?", "<time>"),
        (
            r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? (?:\w{3,9} +\d+|\d+ \w{3,9})[ ,\d]*\d\d:\d\d:\d\d[\w +:]*",
            "<time>",
        ),
        (r"\b1[5-9]\d{8}\.\d+\b", "<time>"),
        (r"\b\d{1,2}:\d\d:\d\d(?:[.,]\d+)?\b", "<time>"),
        (r"\[\d+:\d\d<[\d:?]+, *[^\]]*\]", "<rate>"),
        (r"\b\d+(?:\.\d+)?(?: ?(?:ns|[uµμ]s|ms|s|sec|secs|seconds?|min|minutes?|hours?))\b", "<duration>"),
        (r"\b(?:CPU times|Wall time):[^\n]*", "<duration>"),
        (r"\b\d+(?:\.\d+)? ?(?:[kKMGT]i?B|bytes)\b", "<memory>"),
        (r"\b\d+(?:\.\d+)? ?(?:it|rows|steps?|samples?|batch(?:es)?)/s\b", "<rate>"),
        (r"(?i)\bpid[ =:]+\d+", "<process>"),
    )
)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_CLOSE = 1e-6
_PIXEL = 24
_FIGURE = 0.001
_COMPARED = 200_000
_CLIP = 60


def differences(before: Sequence[Output], after: Sequence[Output]) -> str:
    """How the second outputs differ from the first, in one line; empty if they say the same.

    Addresses, times, durations, memory, rates and temporary names are taken as the same, and so are numbers that
    agree in six digits and figures in which fewer than one pixel in a thousand has changed.
    """
    said = [
        _error(before, after),
        _text(_printed(before), _printed(after), "output"),
        _text(_shown(before), _shown(after), "result"),
        _figures(_pictures(before), _pictures(after)),
    ]
    return "; ".join(each for each in said if each)


def normalised(text: str) -> str:
    """A text without what differs at every run."""
    text = printable(text)
    for pattern, mark in _VARYING:
        text = pattern.sub(mark, text)
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()


def _error(before: Sequence[Output], after: Sequence[Output]) -> str:
    old, new = _raised(before), _raised(after)
    if normalised(old) == normalised(new):
        return ""
    if not old:
        return f"now fails with {one_line(new, 2 * _CLIP)}"
    if not new:
        return f"failed before with {one_line(old, 2 * _CLIP)}"
    return f"error {one_line(old, _CLIP)} -> {one_line(new, _CLIP)}"


def _raised(outputs: Sequence[Output]) -> str:
    return next((f"{each['ename']}: {each['evalue']}" for each in outputs if each["output_type"] == "error"), "")


def _printed(outputs: Sequence[Output]) -> str:
    return "".join(
        str(each["text"]) for each in outputs if each["output_type"] == "stream" and each["name"] == "stdout"
    )


def _shown(outputs: Sequence[Output]) -> str:
    return "\n".join(choose(each["data"]).text for each in outputs if "data" in each)


def _text(old: str, new: str, what: str) -> str:
    """The first lines that differ, and how many do."""
    old, new = normalised(old[:_COMPARED]), normalised(new[:_COMPARED])
    if old == new:
        return ""
    if not old or not new:
        return f"{what} {'is new' if new else 'is gone'}: {one_line(_first(new or old), _CLIP)}"
    removed, added = _changed(old.split("\n"), new.split("\n"))
    if not removed and not added:
        return ""
    count = max(len(removed), len(added))
    first = f"{one_line(removed[0].strip(), _CLIP) if removed else '(nothing)'} -> "
    first += one_line(added[0].strip(), _CLIP) if added else "(nothing)"
    return f"{what}: {first}" + (f" and {count - 1} more lines" if count > 1 else "")


def _changed(old: Sequence[str], new: Sequence[str]) -> tuple[list[str], list[str]]:
    """Lines that are not the same, numbers taken by their value."""
    try:
        steps = opcodes(old, new)
    except TooDifferent:  # line by line
        pairs = [(x, y) for x, y in itertools.zip_longest(old, new, fillvalue="") if not _same(x, y)]
        return [x for x, _ in pairs], [y for _, y in pairs]
    removed: list[str] = []
    added: list[str] = []
    for tag, a, b, c, d in steps:
        if tag == "equal":
            continue
        gone, come = list(old[a:b]), list(new[c:d])
        if len(gone) == len(come):
            pairs = [(x, y) for x, y in zip(gone, come, strict=True) if not _same(x, y)]
            gone, come = [x for x, _ in pairs], [y for _, y in pairs]
        removed += gone
        added += come
    return removed, added


def _same(old: str, new: str) -> bool:
    """Whether two lines differ in no more than the last digits of their numbers."""
    if _squeezed(old) != _squeezed(new):
        return False
    pairs = zip(_NUMBER.findall(old), _NUMBER.findall(new), strict=False)
    return all(math.isclose(float(x), float(y), rel_tol=_CLOSE, abs_tol=1e-12) for x, y in pairs)


def _squeezed(line: str) -> str:
    return re.sub(r"\s+", " ", _NUMBER.sub("#", line)).strip()


def _first(text: str) -> str:
    return next((line for line in text.split("\n") if line.strip()), "")


def _pictures(outputs: Sequence[Output]) -> list[bytes]:
    found = (choose(each["data"]).image for each in outputs if "data" in each)
    decoded = (images.decode(each[1]) for each in found if each is not None)
    return [each for each in decoded if each is not None]


def _figures(before: Sequence[bytes], after: Sequence[bytes]) -> str:
    if len(before) != len(after):
        return f"{len(before)} figures -> {len(after)}"
    shares = [_unlike(old, new) for old, new in zip(before, after, strict=True)]
    differing = [share for share in shares if share > _FIGURE]
    if not differing:
        return ""
    return (
        f"figure differs in {max(differing):.1%} of its pixels"
        if len(shares) == 1
        else (f"{len(differing)} of {len(shares)} figures differ, by up to {max(differing):.1%} of the pixels")
    )


def _unlike(old: bytes, new: bytes) -> float:
    """The share of pixels that are not the same; 1.0 for images of different sizes, or that cannot be read."""
    if old == new:
        return 0.0
    from PIL import Image, ImageChops, UnidentifiedImageError

    if images.size_of(old) is None or images.size_of(old) != images.size_of(new):
        return 1.0
    try:
        first, second = (Image.open(io.BytesIO(data)).convert("RGB") for data in (old, new))
        histogram = ImageChops.difference(first, second).convert("L").histogram()
    except (OSError, ValueError, UnidentifiedImageError):
        return 1.0
    return sum(histogram[_PIXEL:]) / max(sum(histogram), 1)
