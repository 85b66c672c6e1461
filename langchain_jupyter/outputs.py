"""Kernel messages -> nbformat outputs, as a notebook shows them. Pure: no I/O, no clock.

Source: https://jupyter-client.readthedocs.io/en/stable/messaging.html#messages-on-the-iopub-pub-sub-channel
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_jupyter.models import Output

_CONTROL = re.compile(r"(\r+\n|\r|\n|\x08|\x1b\[\d*[AK])")
_SPECIAL = re.compile(r"[\r\x08]|\x1b\[\d*[AK]")


@dataclass(frozen=True, slots=True)
class OutputChange:
    """What came since the last look.

    Attributes:
        standing: How many outputs there were at the last look.
        text: To be appended to the last of them, a stream.
        added: Outputs that follow.
        rewritten: Something that stood there has changed; only `everything` is right.
    """

    standing: int
    text: str
    added: Sequence[Output]
    rewritten: bool
    _everything: Callable[[], list[Output]]

    @property
    def everything(self) -> list[Output]:
        """All outputs as they are now."""
        return self._everything()


class Outputs:
    r"""The outputs of one execution, built from its messages in order.

    Adjacent streams of one name are joined, with `\r`, `\b`, erase-line and cursor-up applied as a terminal would;
    `clear_output(wait=True)` takes effect with the next output; a display that is updated changes in its place.
    """

    def __init__(self) -> None:
        self._items: list[_Stream | dict[str, Any]] = []
        self._displays: dict[str, list[int]] = {}
        self._clear_pending = False
        self._seen = 0
        self._rewritten = False

    def __len__(self) -> int:
        return len(self._items)

    def begin_with(self, outputs: Sequence[Output]) -> None:
        """Go on from outputs that stand in the cell already: an earlier process wrote them."""
        for output in outputs:
            if output["output_type"] == "stream":
                self._write(output["name"], output["text"])
            else:
                self._items.append(dict(output))
        self.take()

    def feed(self, msg_type: str, content: Mapping[str, Any]) -> bool:
        """Take one IOPub message.

        Args:
            msg_type: Of the message's header.
            content: Of the message.

        Returns:
            Whether it was an output of this execution; False for an update of a display that is not here, too.
        """
        if msg_type == "update_display_data":
            return self._update(content)
        if msg_type == "clear_output":
            self._clear_pending = True
            if not content.get("wait"):
                self._clear()
            return True
        build = _BUILD.get(msg_type)
        if build is None and msg_type != "stream":
            return False
        if self._clear_pending:
            self._clear()
        if build is None:
            self._write(content["name"], clean(content["text"]))
            return True
        self._items.append(clean(build(content)))
        if display_id := display_of(content):
            self._displays.setdefault(display_id, []).append(len(self._items) - 1)
        return True

    @property
    def displays(self) -> Mapping[str, Sequence[int]]:
        """Positions of the outputs that were displayed under each display id."""
        return self._displays

    def items(self) -> list[Output]:
        """The nbformat outputs as they are now."""
        return [_plain(item) for item in self._items]

    def take(self) -> OutputChange | None:
        """What came since the last call; None if nothing did."""
        standing, added = self._seen, self._items[self._seen :]
        before = self._items[standing - 1] if standing else None
        text, rewritten = "", self._rewritten
        if isinstance(before, _Stream):
            text, changed = before.take()
            rewritten = rewritten or changed
        for item in added:
            if isinstance(item, _Stream):
                item.take()
        self._seen, self._rewritten = len(self._items), False
        if not (added or text or rewritten):
            return None
        return OutputChange(standing, text, [_plain(item) for item in added], rewritten, self.items)

    def _write(self, name: str, text: str) -> None:
        last = self._items[-1] if self._items else None
        if not (isinstance(last, _Stream) and last.name == name):
            last = _Stream(name)
            self._items.append(last)
        last.write(text)

    def _update(self, content: Mapping[str, Any]) -> bool:
        positions = self._displays.get(display_of(content) or "", ())
        for position in positions:
            item = self._items[position]
            assert isinstance(item, dict), "only bundles have display ids"
            item |= clean({"data": content["data"], "metadata": content.get("metadata", {})})
            self._rewritten = self._rewritten or position < self._seen
        return bool(positions)

    def _clear(self) -> None:
        self._rewritten = self._rewritten or self._seen > 0
        self._items.clear()
        self._displays.clear()
        self._clear_pending = False
        self._seen = 0


class _Stream:
    """The text of one stream on a terminal of endless width: lines, and a cursor."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lines = [""]
        self._row = self._column = 0
        self._fresh: list[str] = []
        self._taken = (0, 0)
        self._rewritten = False

    def text(self) -> str:
        return "\n".join(self._lines)

    def take(self) -> tuple[str, bool]:
        """Text appended since the last call, and whether what was taken before has changed."""
        fresh, rewritten = "".join(self._fresh), self._rewritten
        self._fresh, self._rewritten = [], False
        self._taken = (len(self._lines) - 1, len(self._lines[-1]))
        return ("", True) if rewritten else (fresh, False)

    def write(self, text: str) -> None:
        if self._at_end() and not _SPECIAL.search(text):
            self._append(text)
            return
        for piece in _CONTROL.split(text):
            if piece and _CONTROL.fullmatch(piece):
                self._control(piece)
            elif piece:
                self._put(piece)

    def _at_end(self) -> bool:
        return self._row == len(self._lines) - 1 and self._column == len(self._lines[-1])

    def _append(self, text: str) -> None:
        first, *more = text.split("\n")
        self._lines[-1] += first
        self._lines += more
        self._row, self._column = len(self._lines) - 1, len(self._lines[-1])
        self._fresh.append(text)

    def _control(self, sequence: str) -> None:
        if sequence.endswith("\n"):
            self._newline()
        elif sequence == "\r":
            self._column = 0
        elif sequence == "\x08":
            self._column = max(self._column - 1, 0)
        elif sequence.endswith("A"):
            self._row = max(self._row - int(sequence[2:-1] or 1), 0)
        else:
            self._erase(int(sequence[2:-1] or 0))

    def _newline(self) -> None:
        if self._row == len(self._lines) - 1:
            self._column = len(self._lines[-1])
            self._append("\n")
        else:
            self._row, self._column = self._row + 1, 0

    def _put(self, text: str) -> None:
        if self._at_end():
            self._append(text)
            return
        line = self._lines[self._row].ljust(self._column)
        self._replace(line[: self._column] + text + line[self._column + len(text) :])
        self._column += len(text)

    def _erase(self, how: int) -> None:
        line = self._lines[self._row]
        kept = "" if how == 2 else line[: self._column] if how == 0 else " " * self._column + line[self._column :]
        if kept != line:
            self._replace(kept)

    def _replace(self, line: str) -> None:
        """Change the line of the cursor. What has not been taken yet may change without anybody noticing."""
        row, column = self._taken
        if self._row < row or (self._row == row and self._lines[row][:column] != line[:column]):
            self._rewritten = True
        self._lines[self._row] = line
        self._fresh = ["\n".join(self._lines[row:])[column:]]


def clean(value: Any) -> Any:
    """JSON that a document can hold: lone surrogates become U+FFFD, integers beyond 64 bits text, at any depth."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, int):  # pycrdt panics, with a BaseException
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, Mapping):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    return value


def display_of(content: Mapping[str, Any]) -> str | None:
    """The display id that a message carries."""
    transient = content.get("transient")
    return transient.get("display_id") if isinstance(transient, Mapping) else None


def _plain(item: _Stream | dict[str, Any]) -> Output:
    if isinstance(item, _Stream):
        return {"output_type": "stream", "name": item.name, "text": item.text()}
    return dict(item)


def _bundle(content: Mapping[str, Any]) -> dict[str, Any]:
    return {"data": content["data"], "metadata": content.get("metadata", {})}


_BUILD: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "display_data": lambda content: {"output_type": "display_data", **_bundle(content)},
    "execute_result": lambda content: {
        "output_type": "execute_result",
        "execution_count": content["execution_count"],
        **_bundle(content),
    },
    "error": lambda content: {
        "output_type": "error",
        **{key: content[key] for key in ("ename", "evalue", "traceback")},
    },
}
