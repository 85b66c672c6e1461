"""Disks that can be full, or may not be written."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


class Disk:
    """A small file system of its own, that is filled by a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with suppress(OSError), open(self._ballast, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def forbid(self) -> None:
        """Let nobody write in the folder. No file in it may be open for writing."""
        subprocess.run(["mount", "-o", "remount,ro", self.folder], check=True)

    def permit(self) -> None:
        subprocess.run(["mount", "-o", "remount,rw", self.folder], check=True)


class Limits(Disk):
    """For those who may not mount one: no file may grow, and the folder is closed by its permissions.

    Args:
        folder: Where the files are.
        pid: Of the process that writes them; 0 for this one.
    """

    def __init__(self, folder: Path, pid: Callable[[], int]) -> None:
        super().__init__(folder)
        self._pid = pid
        self._usual = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.prlimit(self._pid(), resource.RLIMIT_FSIZE, (0, self._usual[1]))

    def free(self) -> None:
        resource.prlimit(self._pid(), resource.RLIMIT_FSIZE, self._usual)

    def forbid(self) -> None:
        if os.geteuid() == 0:
            pytest.skip("this root may not mount a file system, and permissions do not bind it")
        self.folder.chmod(0o555)

    def permit(self) -> None:
        self.folder.chmod(0o755)


@contextmanager
def disk(folder: Path, *, kilobytes: int, pid: Callable[[], int] = lambda: 0) -> Iterator[Disk]:
    """A disk at that folder: a file system of its own for root, limits of that process for everybody else."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield Disk(folder) if mounted else Limits(folder, pid)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)
