"""An .ipynb file on this machine."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from langchain_jupyter.documents.recovery import JournalFile, lock, open_file
from langchain_jupyter.documents.whole import Overtaken, Stamp, WholeStore, off_loop
from langchain_jupyter.errors import DocumentError
from langchain_jupyter.settings import NotebookLimits


class FileStore(WholeStore):
    """Opens, saves and watches one file.

    What is acknowledged is in the journal beside it (`recovery.py`); the whole file follows within a second,
    atomically. Cells that nobody touched keep their bytes. A file that others change meanwhile is merged cell by cell;
    where both changed the same, the file's version stands, ours is written beside it, and DocumentConflict tells.

    Args:
        path: The file. One that is not there is created by the first save, in a folder that is.
        name: What people and models are told instead of the path.
        root: A folder that links must not lead out of; None where they may lead anywhere.
        limits: How large it may be.
    """

    def __init__(
        self, path: Path, *, name: str = "", root: Path | None = None, limits: NotebookLimits | None = None
    ) -> None:
        given, limits = Path(name) if name else path, limits or NotebookLimits()
        super().__init__(LocalFile(path, given, root=root, limits=limits), str(given), limits)


class LocalFile:
    """A file, and the journal beside it.

    Args:
        path: As it was given; links are followed.
        given: What people are told.
        root: A folder that links must not lead out of; None where they may lead anywhere.
        limits: How large it may be.
    """

    def __init__(
        self, path: Path, given: Path, *, root: Path | None = None, limits: NotebookLimits | None = None
    ) -> None:
        self._path = path
        self._given = given
        self._root = root
        self._limits = limits or NotebookLimits()

    async def locate(self) -> JournalFile:
        """The journal beside it.

        Raises:
            DocumentError: No file can be there, or none that we may open.
        """
        self._path = await off_loop(_located, self._path, self._given, self._root)
        await off_loop(_remove_leftovers, self._path)
        return JournalFile(self._path)

    async def stamp(self) -> tuple[int, ...] | None:
        """Its time, size and inode; not off the loop, a stat is cheaper than a thread."""
        return _stamp(self._path)

    async def read(self) -> tuple[bytes | None, tuple[int, ...] | None]:
        """What it holds.

        Raises:
            DocumentError: It cannot be read, is no longer where it was found, or is too large.
        """
        return await off_loop(self._read)

    async def write(self, content: bytes, over: Stamp) -> tuple[int, ...] | None:
        """Replace it atomically.

        Raises:
            Overtaken: Another program has written it since.
        """
        return await off_loop(_replace, self._path, content, over)

    async def set_aside(self, text: str) -> str:
        """Write a copy beside it; returns its path."""
        return str(await off_loop(_write_beside, self._path, text))

    def _read(self) -> tuple[bytes | None, tuple[int, ...] | None]:
        try:
            with os.fdopen(open_file(self._path, os.O_RDONLY, follow=self._root is None), "rb") as file:
                status = os.fstat(file.fileno())
                self._limits.check_size(str(self._given), status.st_size)
                content = file.read(self._limits.size + 1)  # it may grow meanwhile, or have no end, as in /proc
        except FileNotFoundError:
            return None, None
        except OSError as error:
            raise DocumentError(f"{self._given} cannot be read: {error.strerror}.") from error
        self._limits.check_size(str(self._given), len(content))
        return content, _of(status)


def _located(file: Path, given: Path, root: Path | None) -> Path:
    """Where the file is, links followed.

    Raises:
        DocumentError: No file can be there.
    """
    try:
        path = file.resolve()
        os.stat(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, RuntimeError) as error:  # too long, with a NUL in it, a link to itself
        why = error.strerror if isinstance(error, OSError) else error
        raise DocumentError(f"{given} cannot be the path of a file: {why}. Give another path.") from error
    if root is not None and not path.is_relative_to(root):
        raise DocumentError(f"{given} leads out of {root} by a link. Nothing there was read.")
    if path.is_dir():
        raise DocumentError(f"{given} is a folder. Give the path of an .ipynb file in it.")
    if path.exists() and not path.is_file():  # reading a pipe or a device may never end
        raise DocumentError(f"{given} is no file but a pipe, a device or a socket. Give the path of an .ipynb file.")
    if not path.parent.is_dir():
        raise DocumentError(f"There is no folder {path.parent}. Make it, or give another path.")
    return path


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What tells one version of a file from the next; None if it is gone."""
    try:
        return _of(os.stat(path))
    except FileNotFoundError:
        return None


def _of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _replace(path: Path, content: bytes, over: Stamp) -> tuple[int, ...] | None:
    """Put a file with that content in the place of another, whole or not at all.

    Raises:
        Overtaken: It is no longer the one with that stamp. Before other programs let go of the disk, seconds can pass.
    """
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(fd, "wb") as file:
            lock(fd)  # or another process takes it for a leftover
            _copy_permissions(path, fd)
            file.write(content)
            file.flush()
            os.fsync(fd)
            if _stamp(path) not in (over, None):
                raise Overtaken
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


def _remove_leftovers(path: Path) -> None:
    """Remove what a process that was killed while it saved has left beside the file; one that saves holds its lock."""
    journal = f".{path.name}.journal.new"
    for entry in list(os.scandir(path.parent)):
        temporary = entry.name.startswith(f".{path.name}.") and entry.name.endswith(".tmp")
        if temporary or entry.name == journal:
            with contextlib.suppress(OSError), os.fdopen(open_file(Path(entry.path), os.O_RDONLY), "rb") as file:
                if lock(file.fileno()):
                    os.unlink(entry.path)


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


def _write_beside(path: Path, text: str) -> Path:
    number = 1
    while True:
        copy = path.with_name(f"{path.stem}.conflict-{number}{path.suffix}")
        try:
            with open(copy, "x", encoding="utf-8") as file:
                file.write(text)
            return copy
        except FileExistsError:
            number += 1
