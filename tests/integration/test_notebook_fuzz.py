"""Whatever an agent and another program do to one file, in whatever order: nothing is lost unsaid.

What each of the two wants is worked out here once more, cell by cell and member by member, and compared.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.errors import CellChanged, DocumentError, NotACodeCell, TextNotFound
from langchain_jupyter.models import CellType
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.sessions.undo import moment, revert
from langchain_jupyter.testing import ScriptedKernel, printed
from tests.books import Books, placed, turns
from tests.found import PLAYS, Step
from tests.program import MEMBERS, NO_NOTEBOOKS, TAGS, TEXTS, Change, Manner, changes, manners, readable, view
from tests.search import examples

AT = st.integers(0, 9)
STEPS = st.integers(0, 12)


class Play(Books):
    """An agent with a session, and a program, on one file."""

    @initialize(texts=st.lists(TEXTS, max_size=4), manner=manners)
    def begin(self, texts: list[str], manner: Manner) -> None:
        self.program.begin([self.program.cell(text) for text in texts], manner)
        self.open()

    # -- what the agent does --------------------------------------------------------------------------------------

    @precondition(lambda self: self.session)
    @rule(kind=st.sampled_from(["code", "markdown", "raw"]), text=TEXTS, at=AT)
    def insert(self, kind: CellType, text: str, at: int) -> None:
        ids = ["", *self.ours]
        before, source, key = ids[at % len(ids)], self._new(text), f"call {next(self._numbers)}"
        cell = self._call(lambda: self._session.insert(kind, source, caller="agent", key=key, before=before))
        new = {**dict.fromkeys(MEMBERS), "source": source, "cell_type": kind}
        self._expect(placed(self.ours, cell.id, new, before), cell.id)
        self.added.add(cell.id)
        again = self._call(lambda: self._session.insert(kind, source, caller="agent", key=key, before=before))
        assert again.id == cell.id
        self._expect(self.ours)

    @precondition(lambda self: self.session and self.ours)
    @rule(at=AT, text=TEXTS)
    def overwrite(self, at: int, text: str) -> None:
        cell_id, source = self._cell(at), self._new(text)
        if self._allowed(cell_id, lambda: self._session.overwrite(cell_id, source, caller="agent")):
            self._change(cell_id, source=source)

    @precondition(lambda self: self.session and self.ours)
    @rule(at=AT, text=TEXTS)
    def edit(self, at: int, text: str) -> None:
        cell_id = self._cell(at)
        old, new = self.ours[cell_id]["source"], self._new(text)
        part = old.rpartition("#")[2]
        if not part or old.count(part) != 1:
            with pytest.raises((TextNotFound, CellChanged)):
                self._call(lambda: self._session.replace_text(cell_id, part, new, caller="agent"))
            self._expect(self.ours)
        elif self._allowed(cell_id, lambda: self._session.replace_text(cell_id, part, new, caller="agent")):
            self._change(cell_id, source=old.replace(part, new))

    @precondition(lambda self: self.session and self.ours)
    @rule(at=AT, to=AT)
    def move(self, at: int, to: int) -> None:
        cell_id = self._cell(at)
        others = {each: cell for each, cell in self.ours.items() if each != cell_id}
        before = ["", *others][to % (len(others) + 1)]
        if self._allowed(cell_id, lambda: self._session.move(cell_id, before, caller="agent")):
            self._expect(placed(others, cell_id, self.ours[cell_id], before), cell_id)

    @precondition(lambda self: self.session and self.ours)
    @rule(at=AT)
    def delete(self, at: int) -> None:
        cell_id = self._cell(at)
        if self._allowed(cell_id, lambda: self._session.delete(cell_id, caller="agent"), guard="agent:"):
            self._expect({each: cell for each, cell in self.ours.items() if each != cell_id}, cell_id)

    @precondition(lambda self: self.session and self.ours)
    @rule(at=AT, tags=TAGS)
    def tag(self, at: int, tags: list[str] | None) -> None:
        cell_id = self._cell(at)
        self._call(lambda: self._session.document.set_metadata(cell_id, "tags", tags))
        metadata = {**(self.ours[cell_id]["metadata"] or {}), "tags": tags}
        self._change(cell_id, metadata={key: value for key, value in metadata.items() if value is not None} or None)

    @precondition(lambda self: self.session and self.ours)
    @rule(at=AT)
    def run(self, at: int) -> None:
        cell_id, kernel, text = self._cell(at), self._session.kernel, self._new("ran ")
        assert isinstance(kernel, ScriptedKernel)
        kernel.script[self.ours[cell_id]["source"]] = [printed(text)]
        if self.ours[cell_id]["cell_type"] != "code":
            with pytest.raises(NotACodeCell):
                self._do(self._session.run_cell(cell_id, caller="agent"))
            self._expect(self.ours)
        elif self._allowed(cell_id, lambda: self._session.run_cell(cell_id, caller="agent"), guard=None):
            output = {"output_type": "stream", "name": "stdout", "text": text}
            self._change(cell_id, outputs=[output], execution_count=len(kernel.ran))

    @precondition(lambda self: self.session)
    @rule()
    def remember(self) -> None:
        self.moments.append((moment(self._session), self.ours, self.met, len(self.touched)))

    @precondition(lambda self: self.session and self.moments)
    @rule(at=AT)
    def undo(self, at: int) -> None:
        to, was, number, touched = self.moments[at % len(self.moments)]
        before = self.ours
        self._call(lambda: revert(self._session, to))
        now = self._there()
        if number == self.met:
            assert list(now.items()) == list(was.items())
        for cell_id in before.keys() - set(self.touched[touched:]):
            assert now[cell_id] == before[cell_id]
        for cell_id in (self.theirs.keys() & before.keys()) - self.added:
            assert self.theirs[cell_id].items() <= now[cell_id].items()
        unmoved = [each for each in before if each in now] == [each for each in now if each in before]
        self._expect(now, *(each for each in {**before, **now} if now.get(each) != before.get(each) or not unmoved))

    # -- what the other program does ------------------------------------------------------------------------------

    @rule(wanted=changes, manner=manners)
    def they_edit(self, wanted: list[Change], manner: Manner) -> None:
        self.program.edit(wanted, manner)

    @rule(at=AT)
    def they_bring_back_an_earlier_text(self, at: int) -> None:
        self.program.put(self.program.earlier[at % len(self.program.earlier)])

    @rule(text=st.sampled_from(NO_NOTEBOOKS))
    def they_write_no_notebook(self, text: bytes) -> None:
        self.program.put(text)

    @precondition(lambda self: self.program.text)
    @rule(part=st.integers(1, 9))
    def they_write_a_part(self, part: int) -> None:
        text = self.program.text or b""
        self.program.put(text[: len(text) * part // 10])

    @rule()
    def they_remove_it(self) -> None:
        self.program.remove()

    # -- where the two meet ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.session)
    @rule()
    def look(self) -> None:
        if self.failed:
            assert type(self._failure(self._session.store.refresh())) is DocumentError
            self.failed = False
        self._meet(self._session.store.refresh())

    @precondition(lambda self: self.session)
    @rule()
    def save(self) -> None:
        if self._meet(self._session.store.save()):
            self._check_saved()

    @precondition(lambda self: self.session)
    @rule()
    def seconds_go_by(self) -> None:
        """It is saved in the background, if something was changed since it last was."""
        text = self.program.text
        if not self._do(self._saves_soon()):
            assert self.program.text == text
            assert self._session.store.saved
            return
        self.loop.now += 10
        self._do(turns(100))
        clashing = self._take(text)
        if clashing is None:
            self.failed = True
        else:
            self.owed |= clashing
            self._check_saved()

    @precondition(lambda self: self.session and self.ours and readable(self.program.text))
    @rule(steps=STEPS, at=AT, text=TEXTS)
    def edit_amid_a_save(self, steps: int, at: int, text: str) -> None:
        self.look()

        async def both() -> None:
            saving = asyncio.create_task(self._session.store.save())
            await turns(steps)
            self._session.insert("code", source, caller="agent", key=source)
            await saving

        source = self._new(text)
        self._do(both())
        if self.program.text not in (None, self.known):
            self._has_saved()
        [added] = self._session.document.ids[len(self.ours) :]
        new = {**dict.fromkeys(MEMBERS), "source": source, "cell_type": "code"}
        self._expect({**self.ours, added: new}, added)
        self.added.add(added)
        self.save()

    @precondition(lambda self: self.session and readable(self.program.text))
    @rule(steps=STEPS, wanted=changes, manner=manners)
    def they_edit_amid_a_save(self, steps: int, wanted: list[Change], manner: Manner) -> None:
        self.look()
        before, store = self.program.text, self._session.store

        async def both() -> bytes | None:
            saving = asyncio.create_task(store.save())
            await turns(steps)
            if self.program.text != before:
                self._has_saved()
            self.program.edit(wanted, manner)
            text = self.program.text
            told.append(*await asyncio.gather(saving, return_exceptions=True))
            return text

        told: list[Any] = []
        text = self._do(both())
        told.append(self._failure(store.save()))
        clashing = self._take(text)
        assert clashing is not None
        self._check_told(told, clashing)
        self._check_saved()

    @precondition(lambda self: self.session)
    @rule()
    def close(self) -> None:
        text = self.program.text
        told = self._failure(self._session.close())
        clashing = self._take(text)
        self.pending, self.before_death = clashing is None, self.base
        if clashing is None:
            assert type(told) is DocumentError
        else:
            self._check_told([told], clashing)
            self._check_saved()
            left = {path.name for path in self.file.parent.iterdir() if "conflict" not in path.name}
            assert left <= {self.file.name}
        self.session, self.owed, self.failed = None, set(), False

    @precondition(lambda self: self.session)
    @rule(steps=STEPS)
    def die(self, steps: int) -> None:
        """Our process is killed, perhaps while it saves."""
        before, self.before_death = self.program.text, self.base

        async def save() -> None:
            task = asyncio.create_task(self._session.store.save())
            await turns(steps)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        if before == self.known:
            self._do(save())
        if self.program.text != before:
            self._has_saved()
        self._end()
        self.pending, self.owed, self.failed = True, set(), False

    @precondition(lambda self: not self.session)
    @rule()
    def open(self) -> None:
        text = self.program.text
        session = NotebookSession(FileStore(self.file), ScriptedKernel())
        failure = self._failure(session.open())
        if not readable(text):
            assert type(failure) is DocumentError
            assert self.program.text == text
            return
        assert failure is None
        self.session, self.moments = session, []
        now, theirs = self._there(), view(text) if text else {}
        if not self.pending:
            assert list(now.items()) == list(theirs.items())
            untouched = set(now)
        elif list(theirs.items()) == list(self.base.items()):
            assert list(now.items()) == list(self.ours.items())
            untouched = {each for each in now if now[each] == self.base.get(each)} - set(self.touched)
        else:
            untouched = self._check_recovered(now, theirs)
        self.ours, self.base, self.known, self.pending = now, theirs, text, False
        self.raws = {each: raw for each, raw in self.program.raws.items() if each in untouched}


@pytest.mark.hypothesis
def test_whatever_two_do_to_a_file_nothing_is_lost_unsaid_and_it_is_a_notebook() -> None:
    run_state_machine_as_test(Play, settings=settings(max_examples=examples(25), stateful_step_count=25))


@pytest.mark.parametrize("steps", PLAYS.values(), ids=PLAYS)
def test_nothing_is_lost_unsaid_in_what_was_found(steps: list[Step]) -> None:
    play = Play()
    try:
        play.begin(texts=["a", "b"], manner=Manner())
        for name, given in steps:
            manner = {"manner": Manner()} if "wanted" in given else {}
            getattr(play, name)(**given, **manner)
    finally:
        play.teardown()
