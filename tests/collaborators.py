"""Three who edit one notebook at the same time: an agent with our document, and two people at a JupyterLab.

Whatever is typed is a token that names the cell that was meant, so that what is lost, doubled or astray shows.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st
from jupyter_ydoc import YNotebook
from pycrdt import Array, Doc, Map, Text

from langchain_jupyter.documents.notebook import NotebookDocument

_TOKEN = re.compile(r"<([\w-]+)\|(\w+)>")
_OURS = re.compile(r"c\d|n\d+x")
"""Ids that a step gave; a cell that stood twice and reads otherwise has another one since."""

VERBS = ("insert", "type", "type", "type", "cut", "move", "move", "delete", "output")

Step = tuple[int, str, int, int]
"""Who, which verb, and two numbers from which cells and places follow."""

steps = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from((*VERBS, "send", "send", "receive", "receive", "receive")),
        st.integers(0, 30),
        st.integers(0, 30),
    ),
    min_size=10,
    max_size=60,
)

NOTEBOOK = [
    {"id": f"c{n}", "cell_type": "code", "source": "", "metadata": {}, "outputs": [], "execution_count": None}
    for n in range(3)
]


class Log:
    """What was done to which cell by whom, and of which cells the agent was told that its edits may not stand there."""

    def __init__(self) -> None:
        self.typed: dict[str, list[str]] = {"agent": [], "person": []}
        self.cut: dict[str, set[str]] = {"agent": set(), "person": set()}
        self.moved: set[str] = set()
        self.deleted: set[str] = set()
        self.printed: dict[str, tuple[str, str]] = {}
        self.printed_by_people: set[str] = set()
        self.doubted: set[str] = set()
        self._count = 0

    def all(self) -> set[str]:
        return {*self.typed["agent"], *self.typed["person"], *self.cut["agent"], *self.cut["person"]}

    def token(self, cell_id: str) -> str:
        self._count += 1
        return f"<{cell_id}|{self._count}>"

    def new_id(self) -> str:
        self._count += 1
        return f"n{self._count}x"


class Person:
    """Somebody at a JupyterLab, by what its shared model does: a move takes a cell out and puts a copy in."""

    def __init__(self, ydoc: Doc[Any], log: Log) -> None:
        self.ydoc = ydoc
        self._log = log
        self._notebook = YNotebook(ydoc)

    @property
    def cells(self) -> list[dict[str, Any]]:
        cells: list[dict[str, Any]] = json.loads(str(self._notebook.ycells))
        return cells

    def do(self, verb: str, a: int, b: int) -> None:
        cells: Array[Any] = self._notebook.ycells
        here = self.cells
        if verb == "insert" or not here:
            cell_id = self._log.new_id()
            cell = {**NOTEBOOK[0], "id": cell_id, "source": self._log.token(cell_id)}
            with self.ydoc.transaction():
                cells.insert(a % (len(here) + 1), self._notebook.create_ycell(cell))
            return
        at = a % len(here)
        cell_id = here[at]["id"]
        if verb == "type":
            text: Text = cells[at]["source"]
            token = self._log.token(cell_id)
            text.insert(_boundary(str(text), b), token)
            self._log.typed["person"].append(token)
        elif verb == "cut":
            text = cells[at]["source"]
            if (match := _token(str(text), b)) is not None:
                del text[match.start() : match.end()]
                self._log.cut["person"].add(match[0])
        elif verb == "move":
            self._log.moved.add(cell_id)
            with self.ydoc.transaction():
                copy = json.loads(str(cells[at]))
                del cells[at]
                cells.insert(b % len(here), self._notebook.create_ycell(copy))
        elif verb == "delete":
            self._log.deleted.add(cell_id)
            del cells[at]
        elif verb == "output":
            self._log.printed_by_people.add(cell_id)
            outputs: Array[Any] = cells[at]["outputs"]
            with self.ydoc.transaction():
                outputs.clear()
                outputs.append(Map({"output_type": "stream", "name": "stdout", "text": Text(self._log.token(cell_id))}))


class Agent:
    """Ours."""

    def __init__(self, document: NotebookDocument, log: Log) -> None:
        self.document = document
        self._log = log

    @property
    def cells(self) -> list[dict[str, Any]]:
        return [dict(self.document.snapshot(cell_id)) for cell_id in self.document.ids]

    def do(self, verb: str, a: int, b: int) -> None:
        document = self.document
        if verb == "insert" or not document.ids:
            cell_id = self._log.new_id()
            before = document.ids[a % len(document)] if document.ids else None
            document.insert(document.new_cell("code", self._log.token(cell_id), cell_id), place=(None, before))
            return
        cell_id = document.ids[a % len(document)]
        if verb == "type":
            source, token = document.source(cell_id), self._log.token(cell_id)
            at = _boundary(source, b)
            document.set_source(cell_id, source[:at] + token + source[at:])
            self._log.typed["agent"].append(token)
        elif verb == "cut":
            source = document.source(cell_id)
            if (match := _token(source, b)) is not None:
                document.set_source(cell_id, source[: match.start()] + source[match.end() :])
                self._log.cut["agent"].add(match[0])
        elif verb == "move":
            self._log.moved.add(cell_id)
            document.move(cell_id, place=(None, document.ids[b % len(document)]))
        elif verb == "delete":
            self._log.deleted.add(cell_id)
            document.delete(cell_id)
        elif verb == "output":
            token = self._log.token(cell_id)
            self._log.printed[cell_id] = (token, "agent")
            document.set_outputs(cell_id, [{"output_type": "stream", "name": "stdout", "text": token}], a)


def check(cells: Sequence[Mapping[str, Any]], log: Log) -> None:
    """Nothing of the agent is lost or doubled or back again, nothing is astray, ids are unique."""
    ids = Counter(cell["id"] for cell in cells)
    assert not [cell_id for cell_id, count in ids.items() if count > 1]
    sources = {cell["id"]: cell["source"] for cell in cells}
    for cell_id, source in sources.items():
        if cell_id in log.doubted:
            continue
        meant = {match[0] for match in _TOKEN.findall(source)}
        assert len(meant - {cell_id}) <= (0 if _OURS.fullmatch(cell_id) else 1), f"{cell_id}: {source}"
        assert _TOKEN.sub("", source) == "", f"{cell_id}: {source}"
        tokens = _TOKEN.findall(source)
        assert len(tokens) == len(set(tokens)), f"doubled in {cell_id}: {source}"
    gone = log.cut["agent"] | log.cut["person"]
    sure = {token: cell for token in log.all() if (cell := _cell(token)) not in log.deleted | log.doubted}
    for token in log.typed["agent"]:
        if token not in gone and token in sure:
            assert token in sources[sure[token]], f"{token} is lost: {sources}"
    for token in log.typed["person"]:
        if token not in gone and token in sure and sure[token] not in log.moved:
            assert token in sources[sure[token]], f"{token} is lost: {sources}"
    for token in log.cut["agent"]:
        assert token not in sure or token not in sources[sure[token]], f"{token} is back: {sources}"
    for cell_id, (token, _) in log.printed.items():
        if cell_id not in log.deleted | log.printed_by_people:
            printed = next(cell["outputs"] for cell in cells if cell["id"] == cell_id)
            assert [output["text"] for output in printed] == [token]


def _cell(token: str) -> str:
    match = _TOKEN.fullmatch(token)
    assert match is not None
    return match[1]


def _token(source: str, number: int) -> re.Match[str] | None:
    tokens = list(_TOKEN.finditer(source))
    return tokens[number % len(tokens)] if tokens else None


def _boundary(source: str, number: int) -> int:
    """A place between two tokens. They are ASCII, so that characters and bytes are one."""
    places = [0, *(match.end() for match in _TOKEN.finditer(source))]
    return places[number % len(places)]
