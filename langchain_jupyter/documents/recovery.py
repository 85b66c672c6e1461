"""The small file beside a notebook that holds the edits since its last save."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_jupyter.documents.journal import Edit
from langchain_jupyter.errors import DocumentError, NotKept

_VERSION = 2
_KNOWN = (1, 2)
_LARGE = 1_000_000


class JournalFile:
    """JSON lines: a header with the hash of the file that the edits apply to, then one edit per line.

    An edit is written before it is applied, so that what was acknowledged survives the death of our process. It is not
    synchronised with the disk each time: the machine's death may cost what the last second brought.

    A save says before and after that it puts a file in the notebook's place, and how many edits that holds: so nothing
    of the journal has to be written again after each save. It is removed by `tidy`, which may be called in a thread,
    once nothing in it is needed; beside other programs that make the disk busy, that can take a second.

    Args:
        notebook: The .ipynb file.
    """

    def __init__(self, notebook: Path) -> None:
        self.path = notebook.with_name(f".{notebook.name}.journal")
        self._base: str | None = None
        self._lines: list[bytes] = []
        self._intent = b""
        self._fd: int | None = None
        self._written = 0
        self._guard = threading.Lock()

    def __len__(self) -> int:
        return len(self._lines)

    def start(self, base: str | None) -> None:
        """The edits to come apply to the file with that hash; None if there is no file yet."""
        self._base, self._lines = base, []

    def adopt(self, base: str | None, edits: Sequence[Edit]) -> None:
        """Take the place of what a dead process left: these edits apply to the file with that hash.

        Raises:
            NotKept: As `append`; what stood there is intact.
        """
        self._base, self._lines = base, [_line(edit.to_json()) for edit in edits]
        if self._lines:
            self._write(b"")
            return
        with contextlib.suppress(OSError, NotKept):
            self._fd = self._claim()
            self.tidy()

    def append(self, edit: Edit) -> None:
        """Keep an edit.

        Raises:
            NotKept: The disk is full, the folder cannot be written, or another process edits the notebook.
        """
        line = _line(edit.to_json())
        with self._guard:
            self._write(line)
            self._lines.append(line)

    def intend(self, digest: str, edits: int) -> None:
        """A file with that hash, holding the first `edits` edits, is about to take the notebook's place.

        Raises:
            NotKept: As `append`.
        """
        line = _line({"saving": digest, "edits": edits})
        with self._guard:
            if self._fd is not None:
                self._write(line)
            else:  # what is edited meanwhile begins the journal, with this
                self._intent = line

    def saved(self, digest: str, edits: int) -> None:
        """The file with that hash is in place: only the later edits are still needed.

        Where that cannot be written, the whole stays: the record of the intent says which they are.
        """
        with self._guard:
            later = self._lines[edits:]
            try:
                self._shorten(digest, edits, later)
            except OSError:
                return
            self._base, self._lines, self._intent = digest, later, b""

    def tidy(self) -> None:
        """Remove the file, unless something in it is needed."""
        with self._guard, contextlib.suppress(OSError):
            if not self._lines:
                self._remove()

    def recover(self, digest: str | None) -> tuple[list[Edit], bool]:
        """The edits that the file with that hash does not hold yet.

        Returns:
            The edits, and whether the file is one that we know; if not, somebody else has changed it since.

        Raises:
            DocumentError: It cannot be read.
        """
        try:
            fd = open_file(self.path, os.O_RDWR)
        except FileNotFoundError:
            return [], True
        except OSError as error:
            raise DocumentError(f"{self.path} cannot be read: {error.strerror}.") from error
        with os.fdopen(fd, "rb") as file:
            if not lock(fd) or not self._in_place(fd):
                return [], True  # whose it is lives
            try:
                records = [json.loads(line) for line in file if line.endswith(b"\n")]  # the last one may be torn
                if not records or records[0].get("langchain_jupyter_journal") not in _KNOWN:
                    return [], True
                edits, known = _remaining(records, digest)
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                raise DocumentError(
                    f"{self.path}, which has edits that were not saved, is damaged. Nothing was changed. To open the "
                    "notebook without them, move it away."
                ) from error
            if not edits:  # who died had saved it all
                with contextlib.suppress(OSError):
                    self.path.unlink(missing_ok=True)
        return edits, known

    def close(self) -> None:
        """Release the file; it stays if it holds edits."""
        with self._guard:
            self._release()

    def _release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _shorten(self, digest: str, edits: int, later: Sequence[bytes]) -> None:
        if self._fd is None:
            return
        if later and self._written > _LARGE:
            self._renew(digest, later)
            return
        try:
            self._put(self._fd, _line({"saved": digest, "edits": edits}))
        except OSError:
            if later:
                raise
            self._remove()

    def _write(self, line: bytes) -> None:
        try:
            if self._fd is None:
                self._begin()
            assert self._fd is not None
            self._put(self._fd, line)
        except OSError as error:
            raise NotKept(
                f"The edit cannot be written to {self.path}: {error.strerror}.", hint="Nothing was changed."
            ) from error

    def _begin(self) -> None:
        """A journal with what is to be kept so far, in its place, open and locked."""
        self._fd = self._claim()
        try:
            if os.fstat(self._fd).st_size:
                self._renew(self._base, self._lines)
            else:
                self._put(self._fd, _whole(self._base, self._lines))
            self._put(self._fd, self._intent)
        except OSError:
            if not os.fstat(self._fd).st_size:
                self.path.unlink(missing_ok=True)
            self._release()
            raise

    def _put(self, fd: int, data: bytes) -> None:
        """Write at the end: all of it, or nothing."""
        end = os.lseek(fd, 0, os.SEEK_END)
        try:
            _write_all(fd, data)
        except OSError:
            os.ftruncate(fd, end)
            raise
        self._written = end + len(data)

    def _remove(self) -> None:
        """Remove the file, if it is ours."""
        if self._fd is not None:
            self.path.unlink(missing_ok=True)
            self._release()

    def _claim(self) -> int:
        """The journal in its place, locked; an empty one if there was none."""
        while True:
            fd = open_file(self.path, os.O_RDWR | os.O_CREAT)
            if not lock(fd):
                os.close(fd)
                name = self.path.name.removeprefix(".").removesuffix(".journal")
                raise NotKept(f"Another process is editing {name}.", hint="Nothing was changed.")
            if self._in_place(fd):
                return fd
            os.close(fd)  # its owner has just removed or replaced it

    def _in_place(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _renew(self, base: str | None, lines: Sequence[bytes]) -> None:
        """Put a new journal in the place of the old one, whole or not at all."""
        temporary = self.path.with_name(self.path.name + ".new")
        fd = open_file(temporary, os.O_RDWR | os.O_CREAT)
        try:
            lock(fd)
            os.ftruncate(fd, 0)
            self._put(fd, _whole(base, lines))
            os.replace(temporary, self.path)
        except OSError:
            os.close(fd)
            temporary.unlink(missing_ok=True)
            raise
        self._release()
        self._fd = fd


def _whole(base: str | None, lines: Sequence[bytes]) -> bytes:
    return _line({"langchain_jupyter_journal": _VERSION, "base": base}) + b"".join(lines)


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _write_all(fd: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.write(fd, data[written:])


def open_file(path: Path, flags: int, *, follow: bool = False) -> int:
    """Open what must be a file, in a folder that others may write into: waits for no pipe, follows a link only if told.

    Raises:
        OSError: It cannot be opened; ELOOP for a link, EINVAL for a pipe or a device.
    """
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW), 0o600)
    except OSError as error:
        raise (OSError(errno.ELOOP, "it is a link", str(path)) if error.errno == errno.ELOOP else error) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no file but a pipe, a device or a socket", str(path))
    return fd


def lock(fd: int) -> bool:
    """Hold a file as long as it is open; whether nobody else does."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remaining(records: Sequence[dict[str, Any]], digest: str | None) -> tuple[list[Edit], bool]:
    """The edits that the file with that hash does not hold, and whether the journal knows that file."""
    base, edits, intents = records[0]["base"], list[Edit](), dict[str, int]()
    for record in records[1:]:
        if "op" in record:
            edits.append(Edit.from_json(record))
        elif "saving" in record:
            intents[record["saving"]] = record["edits"]
        elif "saved" in record:
            base, edits, intents = record["saved"], edits[record["edits"] :], {}
    if digest != base and digest in intents:
        return edits[intents[digest] :], True
    return edits, digest == base
