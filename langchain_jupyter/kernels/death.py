"""Why a process of this machine has ended: what its exit status and the kernel's counters tell, and no more."""

from __future__ import annotations

import contextlib
import re
import signal
from pathlib import Path

_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def oom_kills(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> tuple[int, ...]:
    """How many processes were killed so far for want of memory: of our control group, and of the machine.

    Nothing where nobody counts them. Children belong to our group, unless somebody has moved them.

    Source:
        https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
    """
    files = [proc / "vmstat"]
    with contextlib.suppress(OSError):
        for line in (proc / "self/cgroup").read_text().splitlines():
            number, names, path = line.split(":", 2)
            if number == "0":
                files += [groups / path.lstrip("/") / "memory.events", groups / "memory.events"]
            elif "memory" in names.split(","):
                files += [groups / "memory" / path.lstrip("/") / "memory.oom_control"]
    counts = []
    for file in files:
        with contextlib.suppress(OSError):
            counts += [int(found) for found in _COUNT.findall(file.read_text())]
    return tuple(counts)


def cause(status: int | None, before: tuple[int, ...], after: tuple[int, ...]) -> str:
    """How a process has ended, as the end of a sentence; with a question mark where it is a guess.

    Args:
        status: Its exit status, or the negative number of the signal that ended it; None if nobody knows.
        before: `oom_kills` when it started.
        after: `oom_kills` now.
    """
    if status == -signal.SIGKILL:
        if len(before) == len(after) and any(now > then for then, now in zip(before, after, strict=True)):
            return "was killed by the system for want of memory"
        return "was killed (SIGKILL: out of memory?)"
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            return f"crashed ({signal.Signals(-status).name})"
    return "ended" if status is None else f"ended with exit status {status}"
