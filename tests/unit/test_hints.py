"""What to do about an exception, and why a kernel has ended."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from langchain_jupyter.analysis.hints import hint_of
from langchain_jupyter.kernels.death import cause, oom_kills
from langchain_jupyter.models import ErrorInfo


@pytest.mark.parametrize(
    ("name", "value", "install"),
    [
        ("ModuleNotFoundError", "No module named 'polars'", "%pip install polars"),
        ("ModuleNotFoundError", "No module named 'sklearn'", "%pip install scikit-learn"),
        ("ModuleNotFoundError", "No module named 'yaml'", "%pip install pyyaml"),
        ("ModuleNotFoundError", "No module named 'numpy.missing'", ""),
        ("ModuleNotFoundError", "No module named 'a'; import os", ""),
        ("ImportError", "cannot import name 'x' from 'y'", ""),
        ("ValueError", "No module named 'polars'", ""),
    ],
)
def test_a_missing_module_is_told_with_what_installs_it(name: str, value: str, install: str) -> None:
    hint = hint_of(ErrorInfo(name, value))

    assert (install in hint) if install else not hint


def test_a_name_that_an_earlier_kernel_had_is_told_with_the_cell_that_sets_it() -> None:
    def unmade(name: str) -> str:
        return "a1b2" if name == "df" else ""

    hint = hint_of(ErrorInfo("NameError", "name 'df' is not defined"), unmade)

    assert hint == "df is set in a1b2, which has not run since the kernel started."
    assert not hint_of(ErrorInfo("NameError", "name 'nope' is not defined"), unmade)


def test_code_that_asks_where_nobody_can_answer_is_told_what_to_do() -> None:
    assert "Write the value into the code" in hint_of(ErrorInfo("StdinNotImplementedError", "raw_input was called"))


@pytest.mark.parametrize(
    ("status", "before", "after", "said"),
    [
        (-signal.SIGKILL, (1, 0), (1, 1), "was killed by the system for want of memory"),
        (-signal.SIGKILL, (1,), (1,), "was killed (SIGKILL: out of memory?)"),
        (-signal.SIGKILL, (), (), "was killed (SIGKILL: out of memory?)"),
        (-signal.SIGSEGV, (0,), (0,), "crashed (SIGSEGV)"),
        (-200, (0,), (0,), "ended with exit status -200"),
        (3, (0,), (9,), "ended with exit status 3"),
        (None, (0,), (0,), "ended"),
    ],
)
def test_a_death_is_told_as_far_as_it_is_known(
    status: int | None, before: tuple[int, ...], after: tuple[int, ...], said: str
) -> None:
    assert cause(status, before, after) == said


@pytest.mark.parametrize(
    ("group", "file", "text"),
    [
        ("0::/work/pod", "work/pod/memory.events", "low 0\noom 3\noom_kill 2\n"),
        ("4:memory:/work/pod", "memory/work/pod/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
    ],
)
def test_kills_are_counted_in_both_generations_of_control_groups(
    tmp_path: Path, group: str, file: str, text: str
) -> None:
    for path, content in {
        "proc/self/cgroup": f"9:pids:/\n{group}\n",
        "proc/vmstat": "oom_kill 7\n",
        f"cg/{file}": text,
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)

    assert oom_kills(tmp_path / "proc", tmp_path / "cg") == (7, 2)


def test_where_nobody_counts_nothing_is_known(tmp_path: Path) -> None:
    assert oom_kills(tmp_path, tmp_path) == ()
