"""Where the notebooks of a workspace are: a folder of this machine, or what a server holds."""

from __future__ import annotations

import asyncio
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol

from langchain_jupyter.documents import format as ipynb
from langchain_jupyter.errors import NotebookNotFound, NotebookUnavailable, OutsideRoot
from langchain_jupyter.models import NotebookFile
from langchain_jupyter.rendering.fences import one_line

SUFFIX = ".ipynb"

SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages"})
_ENTRIES = 100_000
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_FORBIDDEN = re.compile(r'[<>:"|?*]|[. ]$|[\uff0f\uff3c\u2215\u2044\uff1a\uff0e\u2024\u2025]')  # as / \ : . look, too
_RESERVED = re.compile(r"(?i)(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)")


class Directory(Protocol):
    """Finds notebooks by path. Paths are relative to its root, with `/` between the parts, in all it takes and gives.

    Whatever a path says, nothing outside of the root is read, made or told of.
    """

    @property
    def root(self) -> str:
        """As the user gave it."""

    async def locate(self, path: str) -> str:
        """The one path of a notebook that is there: two spellings of a file give the same.

        Raises:
            OutsideRoot: It would leave the root.
            NotebookNotFound: There is no such notebook; names those that are near.
        """

    async def create(self, path: str) -> str:
        """As `locate`; a notebook that is not there is made, empty, with the folders above it.

        Raises:
            OutsideRoot: It would leave the root.
            NotebookUnavailable: It cannot be made there.
        """

    async def notebooks(self, path: str = "") -> Sequence[NotebookFile]:
        """All notebooks below a folder, sorted by path; hidden folders and those of packages are left out.

        Raises:
            OutsideRoot: It would leave the root.
            NotebookNotFound: There is no such folder.
        """


class Folder:
    """The notebooks below a folder of this machine.

    Links are followed where they stay below the root; links to folders are not walked when notebooks are listed.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._given = root
        self._root = root.resolve()

    @property
    def root(self) -> str:
        return str(self._given)

    def file(self, path: str) -> Path:
        """The file of a path that `locate` or `create` has given."""
        return self._root / path

    async def locate(self, path: str) -> str:
        return await asyncio.to_thread(self._locate, path)

    async def create(self, path: str) -> str:
        return await asyncio.to_thread(self._create, path)

    async def notebooks(self, path: str = "") -> Sequence[NotebookFile]:
        return await asyncio.to_thread(self._notebooks, path)

    def _locate(self, path: str) -> str:
        file = self._inside(named(path))
        if not os.path.isfile(file):  # unlike `Path.is_file`, it does not raise for a name that is too long
            raise NotebookNotFound(f"No notebook '{one_line(path)}' below {self.root}. {self._near(path)}".rstrip())
        return file.relative_to(self._root).as_posix()

    def _create(self, path: str) -> str:
        file = self._inside(named(path))
        check_name(path)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(file, "x", encoding="utf-8") as new:
                new.write(ipynb.empty().layout.join([], "{}"))
        except FileExistsError as error:
            if not os.path.isfile(file):
                raise NotebookUnavailable(f"'{one_line(path)}' cannot be made: something else is there.") from error
        except OSError as error:
            raise NotebookUnavailable(f"'{one_line(path)}' cannot be made: {error.strerror}.") from error
        return file.relative_to(self._root).as_posix()

    def _notebooks(self, path: str) -> Sequence[NotebookFile]:
        folder = self._inside(path)
        if not os.path.isdir(folder):
            raise NotebookNotFound(f"No folder '{one_line(path)}' below {self.root}.")
        return sorted(self._walk(folder), key=lambda found: found.path)

    def _inside(self, path: str) -> Path:
        """Where a path leads, links followed.

        Raises:
            OutsideRoot: Not below the root.
        """
        parts = relative(path, self.root)
        try:
            target = (self._root / parts).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise NotebookNotFound(f"'{one_line(ascii(path)[1:-1])}' is not a path.") from error
        if not target.is_relative_to(self._root):
            raise OutsideRoot(f"'{one_line(path)}' is not below {self.root}.")
        return target

    def _walk(self, folder: Path) -> Iterator[NotebookFile]:
        folders, left = [folder], _ENTRIES
        while folders and left > 0:
            try:
                entries = list(os.scandir(folders.pop()))
            except OSError:
                continue
            left -= len(entries)
            if any(entry.name == "pyvenv.cfg" for entry in entries):
                continue
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith(".") and entry.name not in SKIPPED:
                        folders.append(Path(entry.path))
                elif entry.name.endswith(SUFFIX) and not entry.name.startswith("."):
                    yield from self._file(entry)

    def _file(self, entry: os.DirEntry[str]) -> Iterator[NotebookFile]:
        try:
            if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(self._root):
                return
            status = entry.stat()
        except (OSError, RuntimeError):  # gone, or a link to itself
            return
        yield NotebookFile(Path(entry.path).relative_to(self._root).as_posix(), status.st_size, status.st_mtime)

    def _near(self, path: str) -> str:
        return nearest([file.path for file in self._walk(self._root)], path)


def named(path: str) -> str:
    """A path that names a notebook.

    Raises:
        NotebookNotFound: By its name it is none.
    """
    if not path.endswith(SUFFIX):
        raise NotebookNotFound(f"'{one_line(path)}' does not name a notebook; their names end in {SUFFIX}.")
    return path


def relative(path: str, root: str) -> PurePosixPath:
    """A path below a root, as any system writes it.

    Raises:
        OutsideRoot: It is absolute, names a drive or another machine, or goes up.
    """
    parts = PurePosixPath(path.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or PureWindowsPath(path).drive:
        raise OutsideRoot(f"'{one_line(path)}' is not below {root}.")
    return parts


def check_name(path: str) -> None:
    """Refuse a path that not every system can have, or that somebody may take for another.

    Raises:
        NotebookUnavailable: A part of it has characters that cannot be seen, or are not allowed in names everywhere,
            ends in a dot or a blank, or is the name of a device of Windows.
    """
    for part in PurePosixPath(path.replace("\\", "/")).parts:
        unseen = any(unicodedata.category(char) in _UNSEEN for char in part)
        if unseen or _FORBIDDEN.search(part) or _RESERVED.match(part):
            raise NotebookUnavailable(f"'{one_line(ascii(part)[1:-1])}' cannot be the name of a file everywhere.")


def nearest(paths: Sequence[str], path: str) -> str:
    """A sentence with those whose names are most like that of a notebook that is not there; empty for none."""
    wanted = PurePosixPath(path).name.lower()
    found = sorted(paths, key=lambda each: (-_shared(PurePosixPath(each).name.lower(), wanted), each))
    return f"There are: {', '.join(map(one_line, found[:5]))}{' …' if len(found) > 5 else ''}." if found else ""


def _shared(a: str, b: str) -> int:
    return next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
