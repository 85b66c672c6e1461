"""A notebook that is kept as one text: read whole, merged, written whole, with a journal of the edits in between."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any, Protocol, TypeAlias, TypeVar

from langchain_jupyter.documents import format as ipynb
from langchain_jupyter.documents import journal, merge
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.documents.recovery import JournalFile
from langchain_jupyter.errors import DocumentConflict, DocumentError, NotKept, OutOfReach
from langchain_jupyter.outputs import clean
from langchain_jupyter.settings import NotebookLimits

T = TypeVar("T")

Stamp: TypeAlias = Hashable | None
"""What tells one version of a text from the next; None if there is none."""

logger = logging.getLogger(__name__)

_SAVE_AFTER = 0.5
_SAVE_SHARE = 10
_RETRY_AFTER = 5.0
_TRIES = 5
_HALF_WRITTEN = 1.0
_CELL = b'"cell_type"'
"""Stands in each cell; not in a string, where its quotes are escaped."""


class Overtaken(Exception):
    """Somebody else has written since we looked."""


class Place(Protocol):
    """Where the text of a notebook is."""

    async def locate(self) -> JournalFile:
        """See that a notebook can be there; the journal of its edits.

        Raises:
            DocumentError: None can be.
        """

    async def stamp(self) -> Stamp:
        """Of the text that is there now; cheap."""

    async def read(self) -> tuple[bytes | None, Stamp]:
        """The text and its stamp; None where there is none yet.

        Raises:
            NotebookTooLarge: It was not read, or not to its end.
        """

    async def write(self, content: bytes, over: Stamp) -> Stamp:
        """Put a text in the place of the one with that stamp, whole or not at all; returns its own stamp.

        Raises:
            Overtaken: Another text is there; it was left alone.
            OSError: The system does not let us.
            OutOfReach: A server does not.
        """

    async def set_aside(self, text: str) -> str:
        """Keep a text beside it, under a name that is free; returns that name."""


class WholeStore:
    """Opens, saves and watches a text that is written whole.

    What is acknowledged is in the journal (`recovery.py`); the whole text follows within a second. Cells that nobody
    touched keep their bytes. A text that others change meanwhile is merged cell by cell; where both changed the same,
    theirs stands, ours is written beside it, and DocumentConflict tells.

    Args:
        place: Where the text is.
        given: What people and models are told of it.
        limits: How large it may be.
    """

    def __init__(self, place: Place, given: str, limits: NotebookLimits) -> None:
        self._place = place
        self._given = given
        self._limits = limits
        self._document: NotebookDocument
        self._journal: JournalFile
        self._text = ipynb.empty()
        self._raws: dict[str, tuple[Mapping[str, Any], str]] = {}
        self._base: dict[str, Mapping[str, Any]] = {}
        self._base_metadata: dict[str, Any] = {}
        self._raw_metadata = self._text.raw_metadata
        self._stamp: Stamp = None
        self._version = self._saved_version = 0
        self._lock = asyncio.Lock()
        self._autosave: asyncio.Task[None] | None = None
        self._fault: OutOfReach | None = None
        self._untold: DocumentConflict | None = None
        self._closing = self._closed = False

    @property
    def path(self) -> str:
        """As the user gave it."""
        return self._given

    @property
    def saved(self) -> bool:
        """Whether the whole file holds every change; the journal holds them in any case."""
        return self._version == self._saved_version

    async def open(self) -> NotebookDocument:
        """The notebook, with the edits that a crash has left in the journal.

        Raises:
            DocumentError: Not a notebook, not readable, no such folder, too large.
        """
        self._journal = await self._place.locate()
        digest: str | None = None
        if (found := await self._read_settled()) is not None:
            self._text, self._stamp, digest = found
        self._document = NotebookDocument()
        self._document.load(self._text.cells, self._text.metadata)
        self._know(self._text)
        self._base_metadata = self._document.metadata
        edits, known = await off_loop(self._journal.recover, digest)
        self._journal.start(digest)
        self._document.listen(self._changed)
        if edits:
            await self._replay(edits, known)
            await off_loop(self._journal.adopt, digest, self._document.journal.since(0))
        self._document.journal.keep = self._journal.append
        return self._document

    async def save(self) -> None:
        """Write the whole file now, if anything has changed.

        The file is looked at right before it is replaced; a change by others within that last moment is lost.

        Raises:
            DocumentError: It cannot be written; the file is as it was.
            DocumentConflict: Others changed the same cells.
        """
        await self._save()
        self._tell()

    async def settle(self) -> str:
        """Nothing to wait for: an edit is in the journal before it is applied."""
        return ""

    async def refresh(self) -> None:
        """Take in what others did to the file; a stat if they did nothing.

        Raises:
            DocumentError: A save in the background failed.
            DocumentConflict: Others changed the same cells.
        """
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        if await self._place.stamp() not in (self._stamp, None):
            async with self._lock:
                await self._take_in()
        self._tell()

    async def close(self) -> None:
        """Save, and release the journal; edits are refused from now on."""
        if self._closed:
            return
        self._closing = True
        self._document.journal.keep = refuse
        if self._autosave is not None:
            async with self._lock:  # a save under way is not cut off: its thread would go on and overwrite ours
                self._autosave.cancel()
            await asyncio.gather(self._autosave, return_exceptions=True)
        try:
            await self.save()
            self._closed = True
        finally:
            self._journal.close()

    # -- reading ------------------------------------------------------------------------------------------------

    def _know(self, text: ipynb.NotebookText) -> None:
        """Remember what the file holds, with the document's snapshots of it."""
        self._text, self._raw_metadata = text, text.raw_metadata
        self._document.snapshot_all()
        for cell, raw in zip(text.cells, text.raws, strict=True):
            snapshot = self._document.snapshot(cell["id"])
            self._base[cell["id"]] = snapshot
            if raw is not None:
                self._raws[cell["id"]] = (snapshot, raw)

    async def _replay(self, edits: Sequence[journal.Edit], known: bool) -> None:
        held = [
            edit if edit.op == "move" else replace(edit, old=clean(edit.old), new=clean(edit.new)) for edit in edits
        ]
        clashing = journal.apply(self._document, held, alone=known)
        logger.info("%s: %d edits recovered that were not saved", self._given, len(edits) - len(clashing))
        if clashing:
            copy = await self._place.set_aside(json.dumps([edit.to_json() for edit in clashing], indent=1))
            ids = sorted({edit.cell_id for edit in clashing})
            why = "the file was changed by another program since" if not known else "the cells are not there any more"
            self._untold = DocumentConflict(
                f"{len(clashing)} edits from before a crash do not fit {self._given} ({why}). "
                f"The file's version stands; the edits are in {copy}.",
                cells=ids,
                copy=copy,
            )

    async def _take_in(self) -> None:
        """Merge what others wrote since we last read or wrote the file; what clashes is told by whoever tells next."""
        if await self._place.stamp() in (self._stamp, None):
            return
        if (found := await self._read_settled()) is None:  # somebody has just removed it: our save puts it back
            return
        text, stamp, digest = found
        clashing = merge.clashes(self._document, self._base, text.cells)
        if clashing:
            await self._clash(clashing)
        merge.take_in(self._document, self._base, text.cells)
        if text.metadata != self._base_metadata and self._document.metadata == self._base_metadata:
            self._document.set_notebook_metadata(text.metadata)
        self._stamp = stamp
        self._relearn(text)
        if self._stands(text):
            self._journal.saved(digest, len(self._journal))
            self._saved_version = self._version
            await off_loop(self._journal.tidy)

    async def _clash(self, clashing: Sequence[str]) -> None:
        """Keep the notebook as it is here beside theirs, and have that told; what was not told yet is told with it."""
        names = ", ".join(f"'{self._document.handle(cell_id)}'" for cell_id in clashing)
        copy = await self._place.set_aside(ipynb.dump(self._plan()))
        before = self._untold
        self._untold = DocumentConflict(
            f"{'' if before is None else f'{before} '}"
            f"{self._given} was changed by another program in cells that were changed here too: {names}. "
            f"The file's version stands; the notebook as it was here is in {PurePath(copy).name}.",
            cells=list(dict.fromkeys([*(() if before is None else before.cells), *clashing])),
            copy=copy,
        )

    def _tell(self) -> None:
        """Tell of what clashed, once.

        Raises:
            DocumentConflict: Something did.
        """
        untold, self._untold = self._untold, None
        if untold is not None:
            raise untold

    def _stands(self, text: ipynb.NotebookText) -> bool:
        """Whether the document is what their file holds, so that there is nothing to save."""
        return (
            list(self._document.ids) == [cell["id"] for cell in text.cells]
            and not any(merge.differ(self._document.snapshot(cell["id"]), cell) for cell in text.cells)
            and self._document.metadata == text.metadata
        )

    def _relearn(self, text: ipynb.NotebookText) -> None:
        """Their file is the new base; a cell that now stands here as it stands there keeps its bytes."""
        self._text, self._raw_metadata = text, text.raw_metadata
        self._base_metadata = text.metadata
        self._base, self._raws = {}, {}
        for cell, raw in zip(text.cells, text.raws, strict=True):
            cell_id = cell["id"]
            if cell_id not in self._document:
                self._base[cell_id] = cell
                continue
            snapshot = self._document.snapshot(cell_id)
            same = not merge.differ(snapshot, cell)
            self._base[cell_id] = snapshot if same else cell
            if raw is not None and same:
                self._raws[cell_id] = (snapshot, raw)

    async def _read_settled(self) -> tuple[ipynb.NotebookText, Stamp, str] | None:
        """As `read_settled`.

        Raises:
            DocumentError: Not a notebook, or too large.
        """
        try:
            found = await read_settled(self._read)
        except ipynb.NotANotebook as error:
            raise DocumentError(
                f"{self._given} cannot be opened: {error}. It was not changed; mend it, or give another path."
            ) from error
        if found is not None:
            self._limits.check_cells(self._given, len(found[0].cells))
        return found

    async def _read(self) -> tuple[bytes | None, Stamp]:
        raw, stamp = await self._place.read()
        if raw is not None:
            self._limits.check_cells(self._given, raw.count(_CELL))  # what is parsed takes many times the space
        return raw, stamp

    # -- writing ------------------------------------------------------------------------------------------------

    async def _save(self) -> None:
        """As `save`, but whoever tells next tells of what clashed."""
        async with self._lock:
            for _ in range(_TRIES):
                await self._take_in()
                with contextlib.suppress(Overtaken):
                    if not self.saved:
                        await self._write_out()
                    return
        raise DocumentError(
            f"{self._given} cannot be saved: another program writes it all the time. The changes are kept in "
            f"{self._journal.path.name} until it can be."
        )

    def _changed(self) -> None:
        self._version += 1
        if not self._closing and (self._autosave is None or self._autosave.done()):
            self._autosave = asyncio.create_task(self._save_soon())

    async def _save_soon(self) -> None:
        """Save in the background until everything is saved; what fails is told by `refresh`, once."""
        wait = _SAVE_AFTER
        while not self.saved:
            await asyncio.sleep(wait)
            started, told = time.monotonic(), self._untold
            try:
                await self._save()
                if self._untold is not told:
                    logger.warning("%s", self._untold)
                wait = max(_SAVE_AFTER, _SAVE_SHARE * (time.monotonic() - started))
            except OutOfReach as error:
                logger.warning("%s", error)
                self._failed(error)
                wait = _RETRY_AFTER

    def _failed(self, error: OutOfReach) -> None:
        self._fault = error

    def _plan(self) -> list[Mapping[str, Any]]:
        return [self._document.snapshot(cell_id) for cell_id in self._document.ids]

    async def _write_out(self) -> None:
        version, edits, plan = self._version, len(self._journal), self._plan()
        metadata = self._document.metadata
        raw_metadata = self._raw_metadata if metadata == self._base_metadata else self._layout_metadata(metadata)
        content, raws = await off_loop(self._serialise, plan, raw_metadata)
        digest = digest_of(content)
        try:
            self._journal.intend(digest, edits)
            self._stamp = await self._place.write(content, self._stamp)
        except (OSError, NotKept, OutOfReach) as error:
            raise DocumentError(
                f"{self._given} cannot be saved: {_why(error)}. The file is as it was; "
                f"the changes are kept in {self._journal.path.name} until it can be."
            ) from error
        self._journal.saved(digest, edits)
        self._raws = raws
        self._base = {cell["id"]: cell for cell in plan}
        self._base_metadata, self._raw_metadata = metadata, raw_metadata
        self._document.renew()  # nobody else has this replica, and what was deleted in it weighs upon each change
        await off_loop(self._journal.tidy)
        self._saved_version = version

    def _serialise(
        self, plan: Sequence[Mapping[str, Any]], raw_metadata: str
    ) -> tuple[bytes, dict[str, tuple[Mapping[str, Any], str]]]:
        layout = self._text.layout
        raws: dict[str, tuple[Mapping[str, Any], str]] = {}
        for cell in plan:
            known = self._raws.get(cell["id"])
            same = known is not None and known[0] is cell
            raws[cell["id"]] = known if known is not None and same else (cell, layout.dump_cell(cell))
        text = layout.join([raw for _, raw in raws.values()], raw_metadata)
        return text.encode("utf-8", "replace"), raws

    def _layout_metadata(self, metadata: Mapping[str, Any]) -> str:
        return self._text.layout.dump(metadata, self._text.layout.indent or "")


async def read_settled(
    read: Callable[[], Awaitable[tuple[bytes | None, Stamp]]],
) -> tuple[ipynb.NotebookText, Stamp, str] | None:
    """A notebook as others wrote it, its stamp and its hash; None where there is none.

    What is not even JSON is read again for a second: it may be half-written. A Jupyter server, for one, empties a file
    before it fills it.

    Args:
        read: As `Place.read`.

    Raises:
        NotANotebook: It is none.
    """
    deadline = time.monotonic() + _HALF_WRITTEN
    while True:
        raw, stamp = await read()
        if raw is None:
            return None
        try:
            return await off_loop(_parsed, raw), stamp, digest_of(raw)
        except ipynb.NotJSON:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.1)


def refuse(edit: journal.Edit) -> None:
    """What a journal does once its document is closed.

    Raises:
        NotKept: Always.
    """
    raise NotKept("The notebook is closed.", hint="Nothing was changed.")


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return str(error.strerror)
    return (error.message if isinstance(error, NotKept) else str(error)).rstrip(".")


def _parsed(raw: bytes) -> ipynb.NotebookText:
    try:
        return ipynb.parse(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ipynb.NotJSON("it is not UTF-8 text") from error


async def off_loop(call: Callable[..., T], *args: Any) -> T:
    """Call in a thread; or here, where the interpreter is exiting and takes no more work for threads."""
    try:
        done = asyncio.get_running_loop().run_in_executor(None, call, *args)
    except RuntimeError:
        return call(*args)
    return await done


def digest_of(content: bytes) -> str:
    """The sha256 by which a text is known."""
    return hashlib.sha256(content).hexdigest()
