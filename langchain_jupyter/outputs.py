"""Kernel messages -> nbformat outputs, as a notebook shows them. Pure: no I/O, no clock.

Source: https://jupyter-client.readthedocs.io/en/stable/messaging.html#messages-on-the-iopub-pub-sub-channel
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_jupyter.models import Output
from langchain_jupyter.streams import StreamText
from langchain_jupyter.widgets import Widgets

PER_RUN = 10_000_000
OUTPUTS_PER_RUN = 2_000

_NUMBER = 8
_JSON = re.compile(r"application/(.*\+)?json")  # of these types nbformat allows any value
_PIECE = 1_000_000
_END_SHARE = 8
_END = 100_000
_END_COUNT = 20


@dataclass(frozen=True, slots=True)
class OutputChange:
    """What came since the last look.

    Attributes:
        standing: How many outputs there were at the last look.
        text: To be appended to the last of them, a stream.
        added: Outputs that follow.
        rewritten: Something that stood there has changed; only `everything` is right.
        size: Characters that are written for it.
        redrawn: Characters of streams that a page draws anew for it; JupyterLab's draws all of a stream that grows.
    """

    standing: int
    text: str
    added: Sequence[Output]
    rewritten: bool
    size: int
    redrawn: int
    _everything: Callable[[], list[Output]]

    @property
    def everything(self) -> list[Output]:
        """All outputs that can be taken now."""
        return self._everything()


class _Bundle:
    """An output that is not a stream.

    Attributes:
        output: As nbformat has it.
        display: The id that it was displayed under; "" for none.
        position: Among the outputs; -1 at the end of what is too much.
        size: Characters of it.
        said: Its text as a widget, when it was taken.
    """

    def __init__(self, output: dict[str, Any], display: str = "") -> None:
        self.output = output
        self.display = display
        self.position = -1
        self.size = size_of(output)
        self.said: str | None = None


_Item: TypeAlias = StreamText | _Bundle


class Outputs:
    r"""The outputs of one execution, built from its messages in order.

    Adjacent streams of one name are joined, with `\r`, `\b`, erase-line and cursor-up applied as a terminal would;
    `clear_output(wait=True)` takes effect with the next output; a display that is updated changes in its place. The
    text of a widget is what it shows now, for those who have no browser.

    Where there is more than is kept, the beginning stays, then comes a note, then the end of it: its last 100,000
    characters and 20 outputs at least, or an eighth of the limits if that is less; and the count once more, below.
    While the code runs the end changes all the time: `items` has it, `take` gives it after `finish`.

    Args:
        size: Characters that are kept, base64 counted.
        count: Outputs that are kept.
    """

    def __init__(self, *, size: int = PER_RUN, count: int = OUTPUTS_PER_RUN) -> None:
        self._limits = size, count
        self._clear_pending = False
        self._rewritten = False
        self._widgets = Widgets()
        self._begin()

    def _begin(self) -> None:
        size, count = self._limits
        end = min(size // _END_SHARE, _END), min(count // _END_SHARE, _END_COUNT)
        self._end = _End(*end)
        self._most = size - 2 * end[0], count - end[1]
        self._items: list[_Item] = []
        self._displays: dict[str, list[_Bundle]] = {}
        self._size = self._seen = self._updates_lost = 0
        self._full = self._finished = False

    @property
    def size(self) -> int:
        """Characters that are kept now."""
        return self._size + self._end.size

    def begin_with(self, outputs: Sequence[Output]) -> None:
        """Go on from outputs that stand in the cell already: an earlier process wrote them."""
        for output in outputs:
            if output["output_type"] == "stream":
                self._write(output["name"], output["text"])
            else:
                self._add(_Bundle(dict(output)))
        self.take()

    def feed(self, msg_type: str, content: Mapping[str, Any]) -> bool:
        """Take one IOPub message.

        Args:
            msg_type: Of the message's header.
            content: Of the message.

        Returns:
            Whether it was an output of this execution; False for an update of a display that is not here, too.

        Raises:
            ValueError: It is not valid; nothing was taken.
        """
        if msg_type == "update_display_data":
            _check(msg_type, content)
            return self._update(content)
        if msg_type == "clear_output":
            self._clear_pending = True
            if not content.get("wait"):
                self._clear()
            return True
        build = _BUILD.get(msg_type)
        if build is None and msg_type != "stream":
            self._widgets.feed(msg_type, content)
            return False
        _check(msg_type, content)
        if self._clear_pending:
            self._clear()
        if build is None:
            self._write(content["name"], content["text"])
        else:
            self._add(_Bundle(clean(build(content)), display_of(content) or ""))
        return True

    def finish(self) -> None:
        """Nothing more comes: what was kept of the end can be taken, and the last state of widgets."""
        self.look_again()
        if self._finished or not self._full:
            return
        self._finished = True
        self._note(self._end.lost)
        for item in self._end.items:
            if isinstance(item, StreamText):
                self._print(item.name, item.text())
            else:
                self._keep(item)
        self._note(f"Before this end: {self._end.lost}")  # the other is far above, where nobody scrolls to
        self._end.items.clear()
        self._end.size = 0

    def look_again(self) -> None:
        """Have `take` give what widgets show now."""
        self._rewritten = self._rewritten or any(map(self._moved, self._items[: self._seen]))

    @property
    def displays(self) -> Mapping[str, Sequence[int]]:
        """Positions of the outputs that were displayed under each display id."""
        return {name: [bundle.position for bundle in bundles] for name, bundles in self._displays.items()}

    @property
    def left_out(self) -> str:
        """What was left out, and why; empty if nothing was."""
        size, count = self._limits
        kept = f"Of one run {size:,} characters and {count:,} outputs are kept."
        if self._full:
            return f"{self._end.lost} {kept}"
        return f"{_plural(self._updates_lost, 'update')} of displays left out. {kept}" if self._updates_lost else ""

    def items(self) -> list[Output]:
        """The nbformat outputs as they are now."""
        items = self._standing()
        if not self._full or self._finished:
            return items
        items[-1] = {**items[-1], "text": f"{items[-1]['text']}[{self._end.lost}]\n"}
        return [*items, *map(self._shown, self._end.items)]

    def take(self) -> OutputChange | None:
        """What came since the last call; None if nothing did."""
        standing, added = self._seen, self._items[self._seen :]
        before = self._items[standing - 1] if standing else None
        text, rewritten = "", self._rewritten
        if isinstance(before, StreamText):
            text, changed = before.take()
            rewritten = rewritten or changed
        for item in added:
            if isinstance(item, StreamText):
                item.take()
            else:
                item.said = self._said(item.output)
        self._seen, self._rewritten = len(self._items), False
        if not (added or text or rewritten):
            return None
        size = self._size if rewritten else len(text) + sum(item.size for item in added)
        drawn = self._items if rewritten else [*([before] if text else []), *added]
        redrawn = sum(item.size for item in drawn if isinstance(item, StreamText))
        shown = [self._shown(item) for item in added]
        return OutputChange(standing, text, shown, rewritten, size, redrawn, self._standing)

    # -- inside -------------------------------------------------------------------------------------------------

    def _standing(self) -> list[Output]:
        return [self._shown(item) for item in self._items]

    def _shown(self, item: _Item) -> Output:
        output = _plain(item)
        text = self._said(output)
        return output if text is None else {**output, "data": {**output["data"], "text/plain": text}}

    def _said(self, output: Output) -> str | None:
        """What it shows as a widget."""
        return self._widgets.text(output["data"]) if "data" in output else None

    def _moved(self, item: _Item) -> bool:
        """Whether it shows something else, as a widget, than when it was taken."""
        return isinstance(item, _Bundle) and self._said(item.output) != item.said

    def _write(self, name: str, text: str) -> None:
        at = 0
        while at < len(text) and not self._full:  # in pieces, or a gigabyte is gone through for its beginning
            following = _following(text, at)
            self._write_piece(name, clean(text[at:following]))
            at = following
        if at < len(text):
            self._end.write(name, text, at)

    def _write_piece(self, name: str, text: str) -> None:
        size, count = self._most
        if not self._full and len(self._items) == count and self._last_name != name:
            self._fill()
        if self._full:
            self._end.write(name, text)
            return
        last = self._print(name, text)
        if (surplus := self._size - size) > 0:
            rest = last.cut(max(last.size - surplus, 0))
            self._size -= len(rest)
            self._fill()
            self._end.write(name, rest)

    def _add(self, bundle: _Bundle) -> None:
        if bundle.display:
            self._displays.setdefault(bundle.display, []).append(bundle)
        size, count = self._most
        if not self._full and (self._size + bundle.size > size or len(self._items) == count):
            self._fill()
        if not self._full:
            self._keep(bundle)
            return
        for lost in self._end.add(bundle):
            if lost.display:
                self._displays[lost.display].remove(lost)
                if not self._displays[lost.display]:
                    del self._displays[lost.display]

    def _keep(self, bundle: _Bundle) -> None:
        bundle.position = len(self._items)
        self._items.append(bundle)
        self._size += bundle.size

    @property
    def _last_name(self) -> str:
        """Name of the stream that text is joined to; "" if the last output is none."""
        last = self._items[-1] if self._items else None
        return last.name if isinstance(last, StreamText) else ""

    def _print(self, name: str, text: str) -> StreamText:
        """Text of a stream at the end of what is kept, whatever it takes."""
        if self._last_name != name:
            self._items.append(StreamText(name))
        last = self._items[-1]
        assert isinstance(last, StreamText)
        before = last.size
        last.write(text)
        self._size += last.size - before
        return last

    def _fill(self) -> None:
        """From here on only the end is kept."""
        self._full = True
        size, count = self._limits
        self._note(f"Of one run the notebook keeps {size:,} characters and {count:,} outputs. The rest is not here.")

    def _note(self, text: str) -> None:
        last = self._items[-1] if self._items else None
        inside = isinstance(last, StreamText) and last.name == "stderr" and last.column > 0
        self._print("stderr", f"{chr(10) if inside else ''}[{text}]\n")

    def _update(self, content: Mapping[str, Any]) -> bool:
        bundles = self._displays.get(display_of(content) or "", ())
        for bundle in bundles:
            changed = bundle.output | clean(_bundle(content))
            size = size_of(changed)
            if size > bundle.size and self.size + size - bundle.size > self._limits[0]:
                self._updates_lost += 1
                continue
            if bundle.position < 0:
                self._end.size += size - bundle.size
            else:
                self._size += size - bundle.size
                self._rewritten = self._rewritten or bundle.position < self._seen
            bundle.output, bundle.size = changed, size
        return bool(bundles)

    def _clear(self) -> None:
        self._rewritten = self._rewritten or self._seen > 0
        self._clear_pending = False
        self._begin()


class _End:
    """The end of what is too much.

    Args:
        size: Characters that are kept at least, and twice as many at most.
        count: Outputs that are kept at most.

    Attributes:
        items: What is kept.
        size: Characters of it.
    """

    def __init__(self, size: int, count: int) -> None:
        self._most = size, count
        self.items: list[_Item] = []
        self.size = 0
        self._lost_size = self._lost_count = 0

    @property
    def lost(self) -> str:
        """What is not kept, in words."""
        outputs = f" and {_plural(self._lost_count, 'output')}" if self._lost_count else ""
        return f"{_plural(self._lost_size, 'character')}{outputs} left out."

    def write(self, name: str, text: str, start: int = 0) -> None:
        """Text of a stream, from a character on."""
        begin = max(len(text) - self._most[0], start)
        self._lost_size += begin - start
        last = self.items[-1] if self.items else None
        if not (isinstance(last, StreamText) and last.name == name):
            last = StreamText(name)
            self.items.append(last)
        before = last.size
        last.write(clean(text[begin:]))
        self.size += last.size - before
        self._trim()

    def add(self, bundle: _Bundle) -> list[_Bundle]:
        """Another output; returns those that are kept no longer."""
        self.items.append(bundle)
        self.size += bundle.size
        return self._trim()

    def _trim(self) -> list[_Bundle]:
        gone = []
        size, count = self._most
        while self.items and (self.size > 2 * size or len(self.items) > count):
            first, surplus = self.items[0], self.size - size
            if isinstance(first, StreamText) and first.size > surplus and len(self.items) <= count:
                first.forget(surplus)
                self.size -= surplus
                self._lost_size += surplus
                continue
            del self.items[0]
            self.size -= first.size
            self._lost_size += first.size
            self._lost_count += 1
            gone += [first] if isinstance(first, _Bundle) else []
        return gone


def clean(value: Any) -> Any:
    """JSON that a document can hold: lone surrogates become U+FFFD, integers beyond 64 bits text, at any depth."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, int):  # pycrdt panics, with a BaseException
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    if isinstance(value, Mapping):
        return {clean(key): clean(item) for key, item in value.items()}
    return value


def display_of(content: Mapping[str, Any]) -> str | None:
    """The display id that a message carries."""
    transient = content.get("transient")
    return transient.get("display_id") if isinstance(transient, Mapping) else None


def _plain(item: _Item) -> Output:
    if isinstance(item, StreamText):
        return {"output_type": "stream", "name": item.name, "text": item.text()}
    return dict(item.output)


def size_of(value: Any) -> int:
    """Characters of a JSON value, about."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, (int, float)):  # most of what is large and no text: to ask for a Mapping is slow
        return _NUMBER
    if isinstance(value, (list, tuple)):
        return sum(map(size_of, value))
    if isinstance(value, Mapping):
        return sum(map(size_of, value)) + sum(map(size_of, value.values()))
    return _NUMBER


def _following(text: str, at: int) -> int:
    """Where the piece of a text ends that begins there: at a line end, if it has one."""
    end = at + _PIECE
    return len(text) if end >= len(text) else text.rfind("\n", at, end) + 1 or end


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _check(msg_type: str, content: Mapping[str, Any]) -> None:
    """Raise ValueError if an output of that type cannot be made of a content."""
    count, traceback = content.get("execution_count"), content.get("traceback")
    match msg_type:
        case "stream":
            right = isinstance(content.get("name"), str) and isinstance(content.get("text"), str)
        case "error":
            named = isinstance(content.get("ename"), str) and isinstance(content.get("evalue"), str)
            right = named and isinstance(traceback, list) and all(isinstance(line, str) for line in traceback)
        case _:
            data = content.get("data")
            right = isinstance(data, Mapping) and isinstance(content.get("metadata", {}), Mapping)
            right = right and (not data or any(_shows(*each) for each in data.items()))
            right = right and (count is None or (isinstance(count, int) and not isinstance(count, bool)))
    if not right:
        raise ValueError(f"no {msg_type} can be made of {str(content)[:200]}")


def _shows(mime: str, value: Any) -> bool:
    """Whether nbformat allows that value: of types that are no JSON, text only."""
    text = isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))
    return text or _JSON.fullmatch(mime) is not None


def _bundle(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the message shows, without representations that no notebook may hold."""
    data = {mime: value for mime, value in content["data"].items() if _shows(mime, value)}
    return {"data": data, "metadata": content.get("metadata", {})}


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
