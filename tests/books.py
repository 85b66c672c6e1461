"""The books that are kept of a notebook's file while an agent and another program have it: what must stand where."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import os
import re
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import nbformat
import pytest
from hypothesis.stateful import RuleBasedStateMachine

from langchain_jupyter.documents import whole
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.errors import CellChanged, CellGuarded, DocumentConflict, DocumentError, JupyterError
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.sessions.undo import Moment
from tests.program import Cells, Clashing, Program, counting, met, readable, view

T = TypeVar("T")

_COPY = re.compile(r"a\.conflict-\d+\.ipynb")


class Clockwork(asyncio.SelectorEventLoop):
    """A loop whose time goes on when it is told to, and whose threads take turns with it: a play can be repeated."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        done = self.create_future()
        self.call_soon(self._work, done, func, args)
        return done

    def _work(self, done: asyncio.Future[Any], func: Callable[..., Any], args: Any) -> None:
        if done.cancelled():
            return
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)


class Books(RuleBasedStateMachine):
    """An agent with a session, and a program, on one file.

    Attributes:
        program: The other one.
        session: Ours; None while the notebook is closed.
        ours: What the notebook has for the agent, as was acknowledged.
        base: What the two last had in common.
        known: The file as the store last read or wrote it.
        owed: What whoever tells next has to tell.
        failed: Whether a save in the background did, which the next look has to tell.
        pending: Whether the last session ended without a save.
        before_death: What the two had in common before that one's last save, which it may not have noted.
        raws: By id, how the file has the cells that the agent has not touched.
    """

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(whole, "_HALF_WRITTEN", 0.0)  # nobody writes it on
        self._patch.setattr(whole, "_SAVE_SHARE", 0)
        self._patch.setattr(os, "fsync", lambda fd: None)
        self._folder = tempfile.TemporaryDirectory()
        self.file = Path(self._folder.name) / "a.ipynb"
        self.loop = Clockwork()
        self.program = Program(self.file)
        self.session: NotebookSession | None = None
        self.ours: Cells = {}
        self.base: Cells = {}
        self.known: bytes | None = None
        self.raws: dict[str, str] = {}
        self.owed: Clashing = set()
        self.failed = False
        self.pending = False
        self.before_death: Cells = {}
        self.touched: list[str] = []
        self.added: set[str] = set()
        self.theirs: Cells = {}
        self.moments: list[tuple[Moment, Cells, int, int]] = []
        self.met = 0
        self._numbers = itertools.count(1)

    def teardown(self) -> None:
        if self.session is not None:
            self._end()
        self.loop.close()
        self._patch.undo()
        self._folder.cleanup()

    @property
    def _session(self) -> NotebookSession:
        assert self.session is not None
        return self.session

    def _do(self, work: Awaitable[T]) -> T:
        async def do() -> T:
            return await work

        return self.loop.run_until_complete(do())

    def _call(self, call: Callable[[], Any]) -> Any:
        """What a call gives, or what it gives that has to be awaited."""

        async def do() -> Any:
            given = call()
            return await given if inspect.isawaitable(given) else given

        return self.loop.run_until_complete(do())

    def _failure(self, work: Awaitable[Any]) -> JupyterError | None:
        try:
            self._do(work)
        except JupyterError as error:
            return error
        return None

    def _new(self, text: str) -> str:
        """A source that nobody else has, but for the empty one."""
        return f"{text}#{next(self._numbers)}" if text else ""

    def _cell(self, at: int) -> str:
        return list(self.ours)[at % len(self.ours)]

    def _there(self) -> Cells:
        document = self._session.document
        assert len(set(document.ids)) == len(document.ids)
        return {cell_id: counting(document.snapshot(cell_id)) for cell_id in document.ids}

    def _expect(self, cells: Cells, *touched: str) -> None:
        """See that the notebook is that now, of which the agent has touched some cells."""
        assert list(self._there().items()) == list(cells.items())
        self.ours = cells
        self.touched += touched
        for cell_id in touched:
            self.raws.pop(cell_id, None)
            self.theirs.pop(cell_id, None)

    def _change(self, cell_id: str, **members: Any) -> None:
        self._expect({**self.ours, cell_id: {**self.ours[cell_id], **members}}, cell_id)

    def _allowed(self, cell_id: str, act: Callable[[], Any], guard: str | None = "agent:readonly") -> bool:
        """Do it, again if the agent has first to be shown the cell; whether no person's mark forbids it."""
        tags = (self.ours[cell_id]["metadata"] or {}).get("tags") or []
        guarded = guard is not None and any(tag.startswith(guard) for tag in tags)
        try:
            self._call(act)
        except CellChanged:
            self._expect(self.ours)
            self._call(act)
        except CellGuarded:
            self._expect(self.ours)
            assert guarded
            return False
        assert not guarded
        return True

    def _meet(self, work: Awaitable[Any]) -> bool:
        """Have the store look at the file; whether that is a notebook."""
        text = self.program.text
        told = self._failure(work)
        clashing = self._take(text)
        if clashing is None:
            assert type(told) is DocumentError
            return False
        self._check_told([told], clashing)
        return True

    def _take(self, text: bytes | None) -> Clashing | None:
        """See that the store has read a file, and what came of it; the cells that clash, None if it is no notebook."""
        if not readable(text):
            assert self.program.text == text
            self._expect(self.ours)
            return None
        if text in (None, self.known):
            self._expect(self.ours)
            return set()
        assert text is not None
        theirs = view(text)
        expected, clashing = met(self.base, self.ours, theirs)
        now = self._there()
        assert now == expected
        moved = [each for each in self.base if each in theirs] != [each for each in theirs if each in self.base]
        order = theirs if moved else self.ours
        assert [each for each in now if each in order] == [each for each in order if each in now]
        untouched = {each for each in theirs if now.get(each) == theirs[each]}
        self.raws = {each: raw for each, raw in self.program.raws_of(text).items() if each in untouched}
        for cell_id, cell in theirs.items():
            before = self.base.get(cell_id, {})
            changed = {member: value for member, value in cell.items() if value != before.get(member)}
            self.theirs[cell_id] = {**self.theirs.get(cell_id, {}), **changed}
        self.ours, self.base, self.known = now, theirs, text
        self.met += 1
        return clashing

    def _check_told(self, told: Sequence[JupyterError | None], clashing: Clashing) -> None:
        """See that what was told are these cells, and that their sources as we had them are kept where it says."""
        clashing, self.owed = clashing | self.owed, set()
        conflicts = [error for error in told if isinstance(error, DocumentConflict)]
        assert conflicts == [error for error in told if error is not None]
        assert {cell_id for error in conflicts for cell_id in error.cells} == {cell_id for cell_id, _ in clashing}
        copies = [self.file.with_name(name) for error in conflicts for name in _COPY.findall(str(error))]
        kept = [(cell_id, cell["source"]) for copy in copies for cell_id, cell in view(copy.read_bytes()).items()]
        assert {(cell_id, source) for cell_id, source in clashing if source is not None} <= set(kept)
        for copy in copies:
            valid(copy.read_bytes())

    def _check_saved(self) -> None:
        """See that the file is what the agent has, as a notebook, and that what nobody touched is as it was."""
        assert self._session.store.saved
        if self.program.text is None:  # somebody took it away, and nothing was to be saved
            assert list(self.ours.items()) == list(self.base.items())
        else:
            self._has_saved()
            assert list(view(self.known or b"").items()) == list(self.ours.items())

    def _has_saved(self) -> None:
        text = self.program.text
        assert text is not None
        if text != self.known:
            valid(text)
        for raw in self.raws.values():
            assert raw in text.decode()
        self.base, self.known = view(text), text

    def _check_recovered(self, now: Cells, theirs: Cells) -> set[str]:
        """See what came of our edits in a file that was changed since; the cells that only they have touched."""
        told = self._failure(self._session.store.refresh())
        cells = set(told.cells) if isinstance(told, DocumentConflict) else set()
        assert any(self._recovered(base, now, theirs, cells) for base in (self.base, self.before_death))
        return {each for each in now if self.ours.get(each) == self.base.get(each) and now[each] == theirs.get(each)}

    def _recovered(self, base: Cells, now: Cells, theirs: Cells, told: set[str]) -> bool:
        expected, clashing = met(base, self.ours, theirs)
        right = {each for each in {**expected, **now} if now.get(each) == expected.get(each)}
        return {cell_id for cell_id, _ in clashing} <= told and {*expected, *now} <= right | told

    async def _saves_soon(self) -> bool:
        """Whether a save in the background has been started, which has not ended."""
        await turns(2)
        return any("_save_soon" in str(task.get_coro()) for task in asyncio.all_tasks())

    def _end(self) -> None:
        """End the session as the death of its process does."""

        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._do(end())
        store = self._session.store
        assert isinstance(store, FileStore)
        store._journal.close()
        self.session = None


def placed(cells: Cells, cell_id: str, cell: dict[str, Any], before: str) -> Cells:
    """The cells with one more, before another or at the end."""
    ids = list(cells)
    ids.insert(ids.index(before) if before else len(ids), cell_id)
    return {each: cell if each == cell_id else cells[each] for each in ids}


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def valid(text: bytes) -> None:
    nbformat.validate(nbformat.from_dict(json.loads(text)))  # type: ignore[no-untyped-call]
