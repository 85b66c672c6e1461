"""An .ipynb file on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from langchain_jupyter.documents import format as ipynb
from langchain_jupyter.documents import journal, merge
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.documents.recovery import JournalFile
from langchain_jupyter.errors import DocumentConflict, DocumentError, NotKept

T = TypeVar("T")

logger = logging.getLogger(__name__)

_SAVE_AFTER = 0.5
_SAVE_SHARE = 10
_RETRY_AFTER = 5.0
_HALF_WRITTEN = 1.0


class FileStore:
    """Opens, saves and watches one file.

    What is acknowledged is in the journal beside it (`recovery.py`); the whole file follows within a second,
    atomically. Cells that nobody touched keep their bytes. A file that others change meanwhile is merged cell by cell;
    where both changed the same, the file's version stands, ours is written beside it, and DocumentConflict tells.

    Args:
        path: The file. One that is not there is created by the first save, in a folder that is.
        name: What people and models are told instead of the path.
    """

    def __init__(self, path: Path, *, name: str = "") -> None:
        self._given = Path(name) if name else path
        self._path = path
        self._document: NotebookDocument
        self._journal: JournalFile
        self._text = ipynb.empty()
        self._raws: dict[str, tuple[Mapping[str, Any], str]] = {}
        self._base: dict[str, Mapping[str, Any]] = {}
        self._base_metadata: dict[str, Any] = {}
        self._raw_metadata = self._text.raw_metadata
        self._stamp: tuple[int, ...] | None = None
        self._version = self._saved_version = 0
        self._lock = asyncio.Lock()
        self._autosave: asyncio.Task[None] | None = None
        self._fault: DocumentError | None = None
        self._closing = self._closed = False

    @property
    def path(self) -> str:
        """As the user gave it."""
        return str(self._given)

    @property
    def saved(self) -> bool:
        """Whether the whole file holds every change; the journal holds them in any case."""
        return self._version == self._saved_version

    async def open(self) -> NotebookDocument:
        """The notebook, with the edits that a crash has left in the journal.

        Raises:
            DocumentError: Not a notebook, not readable, no such folder.
        """
        self._path = await _off_loop(_located, self._path, self._given)
        self._journal = JournalFile(self._path)
        raw, self._stamp = await _off_loop(_read, self._path)
        if raw is not None:
            self._text = await _off_loop(self._parse, raw)
        self._document = NotebookDocument()
        self._document.load(self._text.cells, self._text.metadata)
        self._know(self._text)
        self._base_metadata = self._document.metadata
        digest = None if raw is None else _digest(raw)
        edits, known = self._journal.recover(digest)
        self._journal.start(digest)
        self._document.listen(self._changed)
        if edits:
            await self._replay(edits, known)
            self._journal.adopt(digest, self._document.journal.since(0))
        self._document.journal.keep = self._journal.append
        return self._document

    async def save(self) -> None:
        """Write the whole file now, if anything has changed.

        The file is looked at right before it is replaced; a change by others within that last moment is lost.

        Raises:
            DocumentError: It cannot be written; the file is as it was.
            DocumentConflict: Others changed the same cells.
        """
        async with self._lock:
            conflict = await self._take_in()
            if not self.saved:
                await self._write_out()
        if conflict is not None:
            raise conflict

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
        if _stamp(self._path) not in (self._stamp, None):
            async with self._lock:
                conflict = await self._take_in()
            if conflict is not None:
                raise conflict

    async def close(self) -> None:
        """Save, and release the journal; edits are refused from now on."""
        if self._closed:
            return
        self._closing = True
        self._document.journal.keep = _refuse
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

    def _parse(self, raw: bytes) -> ipynb.NotebookText:
        try:
            return ipynb.parse(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise DocumentError(f"{self._given} cannot be opened: it is not UTF-8 text. It was not changed.") from error
        except ipynb.NotANotebook as error:
            raise DocumentError(
                f"{self._given} cannot be opened: {error}. It was not changed; mend it, or give another path."
            ) from error

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
        clashing = journal.apply(self._document, edits)
        logger.info("%s: %d edits recovered that were not saved", self._given, len(edits) - len(clashing))
        if clashing:
            copy = await _off_loop(self._set_aside, [edit.to_json() for edit in clashing])
            ids = sorted({edit.cell_id for edit in clashing})
            why = "the file was changed by another program since" if not known else "the cells are not there any more"
            self._fault = DocumentConflict(
                f"{len(clashing)} edits from before a crash do not fit {self._given} ({why}). "
                f"The file's version stands; the edits are in {copy}.",
                cells=ids,
                copy=str(copy),
            )

    async def _take_in(self) -> DocumentConflict | None:
        """Merge what others wrote since we last read or wrote the file."""
        if _stamp(self._path) in (self._stamp, None):
            return None
        text, stamp, digest = await self._read_settled()
        clashing = merge.clashes(self._document, self._base, text.cells)
        conflict = None
        if clashing:
            names = ", ".join(f"'{self._document.handle(cell_id)}'" for cell_id in clashing)
            copy = await _off_loop(self._set_aside, self._plan())
            conflict = DocumentConflict(
                f"{self._given} was changed by another program in cells that were changed here too: {names}. "
                f"The file's version stands; the notebook as it was here is in {copy.name}.",
                cells=clashing,
                copy=str(copy),
            )
        merge.take_in(self._document, self._base, text.cells)
        if text.metadata != self._base_metadata and self._document.metadata == self._base_metadata:
            self._document.set_notebook_metadata(text.metadata)
        self._stamp = stamp
        self._relearn(text)
        if self._stands(text):
            self._journal.saved(digest, len(self._journal))
            self._saved_version = self._version
        return conflict

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

    async def _read_settled(self) -> tuple[ipynb.NotebookText, tuple[int, ...] | None, str]:
        """The file as others wrote it; read again for a second while it is half-written."""
        deadline = time.monotonic() + _HALF_WRITTEN
        while True:
            raw, stamp = await _off_loop(_read, self._path)
            try:
                return await _off_loop(self._parse, raw or b""), stamp, _digest(raw or b"")
            except DocumentError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.1)

    # -- writing ------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._version += 1
        if not self._closing and (self._autosave is None or self._autosave.done()):
            self._autosave = asyncio.create_task(self._save_soon())

    async def _save_soon(self) -> None:
        """Save in the background until everything is saved; what fails is told by `refresh`, once."""
        wait = _SAVE_AFTER
        while not self.saved:
            await asyncio.sleep(wait)
            started = time.monotonic()
            try:
                await self.save()
                wait = max(_SAVE_AFTER, _SAVE_SHARE * (time.monotonic() - started))
            except DocumentError as error:
                logger.warning("%s", error)
                self._fault = error
                wait = _RETRY_AFTER

    def _plan(self) -> list[Mapping[str, Any]]:
        return [self._document.snapshot(cell_id) for cell_id in self._document.ids]

    async def _write_out(self) -> None:
        version, edits, plan = self._version, len(self._journal), self._plan()
        metadata = self._document.metadata
        raw_metadata = self._raw_metadata if metadata == self._base_metadata else self._layout_metadata(metadata)
        content, raws = await _off_loop(self._serialise, plan, raw_metadata)
        digest = _digest(content)
        try:
            self._journal.intend(digest, edits)
            self._stamp = await _off_loop(_replace, self._path, content)
        except (OSError, NotKept) as error:
            why = error.strerror if isinstance(error, OSError) else error.message.rstrip(".")
            raise DocumentError(
                f"{self._given} cannot be saved: {why}. The file is as it was; "
                f"the changes are kept in {self._journal.path.name} until it can be."
            ) from error
        self._journal.saved(digest, edits)
        self._raws = raws
        self._base = {cell["id"]: cell for cell in plan}
        self._base_metadata, self._raw_metadata = metadata, raw_metadata
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

    def _set_aside(self, plan: Sequence[Mapping[str, Any]]) -> Path:
        """Write the notebook as we have it beside the file."""
        import json

        number = 1
        while True:
            name = f"{self._path.stem}.conflict-{number}{self._path.suffix}"
            copy = self._path.with_name(name)
            try:
                with open(copy, "x", encoding="utf-8") as file:
                    if plan and "op" in plan[0]:
                        file.write(json.dumps(list(plan), indent=1))
                    else:
                        layout = ipynb.empty().layout
                        file.write(layout.join([layout.dump_cell(cell) for cell in plan], "{}"))
                return copy
            except FileExistsError:
                number += 1


def _refuse(edit: journal.Edit) -> None:
    raise NotKept("The notebook is closed.", hint="Nothing was changed.")


async def _off_loop(call: Callable[..., T], *args: Any) -> T:
    """Call in a thread; or here, where the interpreter is exiting and takes no more work for threads."""
    try:
        done = asyncio.get_running_loop().run_in_executor(None, call, *args)
    except RuntimeError:
        return call(*args)
    return await done


def _located(file: Path, given: Path) -> Path:
    """Where the file is, links followed.

    Raises:
        DocumentError: No file can be there.
    """
    path = file.resolve()
    if path.is_dir():
        raise DocumentError(f"{given} is a folder. Give the path of an .ipynb file in it.")
    if not path.parent.is_dir():
        raise DocumentError(f"There is no folder {path.parent}. Make it, or give another path.")
    return path


def _read(path: Path) -> tuple[bytes | None, tuple[int, ...] | None]:
    try:
        stamp = _stamp(path)
        return path.read_bytes(), stamp
    except FileNotFoundError:
        return None, None
    except OSError as error:
        raise DocumentError(f"{path} cannot be read: {error.strerror}.") from error


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What tells one version of a file from the next; None if it is gone."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _replace(path: Path, content: bytes) -> tuple[int, ...] | None:
    """Put a file with that content in the place of another, whole or not at all."""
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(fd, "wb") as file:
            _copy_permissions(path, file.fileno())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return _stamp(path)


def _copy_permissions(path: Path, fd: int) -> None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(fd, 0o666 & ~mask)
        return
    if not status.st_mode & stat.S_IWUSR:
        raise PermissionError(13, "the file is read-only", str(path))
    os.fchmod(fd, stat.S_IMODE(status.st_mode))
    with contextlib.suppress(PermissionError):
        os.fchown(fd, status.st_uid, status.st_gid)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
