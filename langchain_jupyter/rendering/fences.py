"""Foreign text between fences, so that a model can tell it from the toolkit's own words, cut to a budget."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from langchain_jupyter.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LONGEST = 10_000_000
"""Characters of a text that is looked through whole: as many as a run may print."""

_ANSI = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[PX^_][^\x1b\n]*\x1b\\|\x1b[ -/]*[0-~]"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_INVISIBLE = "\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufeff"
_TAGS = "output|traceback|source|diff|notebooks?"
_FENCE = re.compile(rf"<(?=[{_INVISIBLE}]*(?:\s*/[\s{_INVISIBLE}]*)?(?:{_TAGS})\b)", re.IGNORECASE)
_UNBROKEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_UNSEEN = re.compile("[\U000e0000-\U000e007f]+")  # tags: text that no screen shows, and a model reads
_SEPARATOR = "·"
_CHUNK = 200
_REPEATS = 3
_REACH = 40
_LINE_ENDS = 8
_CLIPPED = 200
_END = 120_000
_EDGE = 20_000  # what may be half of a secret, and so is not known for one
_REASON = 1_000


@dataclass(frozen=True, slots=True)
class _Row:
    """A line with its end, or a part of a long one; `more` times the same line follows."""

    text: str
    more: int = 0


def printable(text: str, longest: int = LONGEST) -> str:
    """Without ANSI escapes and control characters other than newline and tab, and without secrets.

    Args:
        text: Of any length.
        longest: Characters of one that is looked through whole. Of a longer one its beginning and its end are given,
            and a line between them that says so: to look for secrets in ten million characters takes about a second.
    """
    if len(text) > max(longest, 2 * _END):
        head, tail = _plain(text[:_END])[:-_EDGE], _plain(text[-_END:])[_EDGE:]
        return f"{head}\n[… of {len(text):,} characters only the beginning and the end are looked into …]\n{tail}"
    return _plain(text)


def ending(text: str, size: int) -> str:
    """The last characters of a text, printable, or fewer of them: what may be half of a secret is not shown."""
    end = text[-size - 2 * _EDGE :]
    return (_plain(end) if len(end) == len(text) else _plain(end)[_EDGE:])[-size:]


def _plain(text: str) -> str:
    return redact(_CONTROL.sub("", _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n")))


def neutral(text: str) -> str:
    r"""With whatever looks like a fence of ours broken by a backslash: `<\/output>`."""
    return _FENCE.sub(r"<\\", text)


def restored(text: str) -> str:
    """What `neutral` was given: a model copies what it was shown."""
    return text.replace("<\\", "<")


def one_line(text: str, limit: int = _CLIPPED) -> str:
    """Foreign text as part of a line of ours: white space collapsed, clipped to `limit` characters.

    It has no `·`, which stands between the parts of our lines.
    """
    flat = _UNBROKEN.sub(" ", neutral(redact(_ANSI.sub("", text[: 20 * limit]))))
    flat = _UNSEEN.sub("", flat).replace(_SEPARATOR, "•")
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def reason(error: Exception) -> str:
    """What an error says, as part of a line of ours: it may have the words of a server in it, or the name of a file."""
    return one_line(str(error), _REASON)


def fence(text: str, tag: str) -> str:
    """Neutral text between the lines of a fence. A tag is a name and, after a space, attributes."""
    return f"<{tag}>\n{text.removesuffix(chr(10))}\n</{tag.partition(' ')[0]}>"


def fenced(text: str, tag: str, budget: int, whole: Callable[[], str], *, fold: bool = True) -> tuple[str, bool] | None:
    """Foreign text in fences; head and tail of it, if it is too long.

    Args:
        text: Printable text; fences inside are broken here.
        tag: Of the fence.
        budget: Characters of what is returned, at most.
        whole: Called if the text is cut; ends the note, such as `; all of it: read_output("o3")`.
        fold: Whether runs of the same line are given as one line and a count.

    Returns:
        Fences and notes, and whether something was left out; None if not even a head and a tail fit.
    """
    if budget <= len(fence("", tag)):
        return None
    text = neutral(text)
    front, back = _split(text, _REACH * budget)
    rows = _rows(front, fold)
    if not back and sum(_cost(row, tag) for row in rows) <= budget + _CHUNK:
        shown = _emit(rows, tag)
        if len(shown) <= budget:
            return shown, False
    ending = whole()
    longest = f"[{len(text):,} of {len(text):,} characters left out{ending}]"
    room = budget - 2 * len(fence("", tag)) - len(longest) - _LINE_ENDS
    if room < 2:
        return None
    head = _take(rows, room // 2, tag)
    behind = _rows(back, fold) if back else rows[len(head) :]
    tail = _take(behind[::-1], room - sum(_cost(row, tag) for row in head), tag)[::-1]
    if not head and not tail:
        return None
    parts = [_emit(head, tag), _note([*head, *tail], text, ending), _emit(tail, tag)]
    return "\n".join(part for part in parts if part), True


def _split(text: str, reach: int) -> tuple[str, str]:
    """What a head and a tail can be made of: all of a text and nothing, or the ends of one that is very long."""
    if len(text) <= 2 * reach:
        return text, ""
    end = text.rfind("\n", 0, reach) + 1
    start = text.find("\n", len(text) - reach, -1) + 1
    return text[: end or reach], text[start or len(text) - reach :]


def _rows(text: str, fold: bool) -> list[_Row]:
    rows: list[_Row] = []
    for line, group in groupby(_lines(text)):
        count = sum(1 for _ in group)
        if fold and count > _REPEATS and len(line) <= _CHUNK:
            rows.append(_Row(line, count - 1))
        else:
            chunks = [_Row(line[at : at + _CHUNK]) for at in range(0, len(line), _CHUNK)]
            rows += chunks * count
    return rows


def _lines(text: str) -> Iterable[str]:
    lines = text.split("\n")
    yield from (line + "\n" for line in lines[:-1])
    if lines[-1]:
        yield lines[-1]


def _cost(row: _Row, tag: str) -> int:
    return len(row.text) + (len(_more(row)) + len(fence("", tag)) + 3 if row.more else 0)


def _take(rows: Sequence[_Row], room: int, tag: str) -> list[_Row]:
    """The first rows that fit."""
    taken: list[_Row] = []
    for row in rows:
        cost = _cost(row, tag)
        if cost > room:
            break
        taken.append(row)
        room -= cost
    return taken


def _emit(rows: Sequence[_Row], tag: str) -> str:
    parts: list[str] = []
    body: list[str] = []
    for row in rows:
        body.append(row.text)
        if row.more:
            parts += [fence("".join(body), tag), _more(row)]
            body = []
    if body:
        parts.append(fence("".join(body), tag))
    return "\n".join(parts)


def _more(row: _Row) -> str:
    return f"[the line above {row.more:,} times more]"


def _note(shown: Sequence[_Row], text: str, ending: str) -> str:
    lines = text.count("\n") - sum(row.text.count("\n") * (row.more + 1) for row in shown)
    if lines > 1:
        return f"[{lines:,} of {_count(text):,} lines left out{ending}]"
    characters = len(text) - sum(len(row.text) * (row.more + 1) for row in shown)
    return f"[{characters:,} of {len(text):,} characters left out{ending}]"


def _count(text: str) -> int:
    return text.count("\n") + (not text.endswith("\n"))
