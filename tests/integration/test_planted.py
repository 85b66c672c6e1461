"""The scan for planted secrets finds them, wherever they are told or written, and names the test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFTEST = """
from tests.conftest import (  # noqa: F401
    no_planted_secret_gets_out, planted_secrets, pytest_configure, pytest_sessionfinish,
)
"""
TESTS = """
import logging
import os
import sqlite3

import pytest

from langchain_jupyter.backends import Backend
from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.testing import ScriptedKernels
from langchain_jupyter.toolkit import JupyterToolkit

SECRET = os.environ["PLANTED_API_TOKEN"]


def test_that_tells_nothing(tmp_path):
    (tmp_path / "a.txt").write_text("nothing")


@pytest.mark.parametrize("name", ["a.ipynb", "trace.jsonl", "page.html", "run.log", ".a.ipynb.journal"])
def test_that_writes_one(tmp_path, name):
    (tmp_path / name).write_text(f"before {SECRET} after")


def test_that_checkpoints_one(tmp_path):
    with sqlite3.connect(tmp_path / "checkpoints.sqlite") as database:
        database.execute("create table a (b text)")
        database.execute("insert into a values (?)", [SECRET])
    database.close()


def test_that_logs_one():
    logging.getLogger("somebody").warning("the token is %s", SECRET)


def test_that_answers_with_one(tmp_path):
    with JupyterToolkit(tmp_path / "none.ipynb", tools=["append_markdown_cell", "read_cell"], redact=False) as toolkit:
        append, read = toolkit.get_tools()
        append.invoke({"source": SECRET[:30]})
"""
BETWEEN = """
import os

import pytest


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    yield (folder := tmp_path_factory.mktemp("shared-by-all"))
    (folder / "late.txt").write_text(os.environ["PLANTED_API_TOKEN"])


def test_that_uses_what_writes_one_at_the_end(shared):
    pass
"""
LEAKING = {
    *(
        f"test_that_writes_one[{name}]"
        for name in ("a.ipynb", "trace.jsonl", "page.html", "run.log", ".a.ipynb.journal")
    ),
    "test_that_checkpoints_one",
    "test_that_logs_one",
    "test_that_answers_with_one",
}


@pytest.fixture
def apart() -> Iterator[Path]:
    """A folder that the scan of this run does not look into."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def session(folder: Path, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_inner.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-rEf", "-p", "no:cacheprovider", f"--basetemp={folder}/made"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    return subprocess.run(
        [*command, *options, "test_inner.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )


def test_each_test_that_leaks_is_named_by_the_processes_of_xdist(apart: Path) -> None:
    done = session(apart, TESTS, "-n", "2")

    named = set(re.findall(r"^(?:ERROR|FAILED) test_inner\.py::(\S+)", done.stdout, re.MULTILINE))
    assert (named, done.returncode) == (LEAKING, 1), done.stdout + done.stderr
    found = re.findall(r"^a planted secret stands in \S+/(\S+)$", done.stdout, re.MULTILINE)  # of all processes
    assert sorted(found) == [".a.ipynb.journal", "a.ipynb", "checkpoints.sqlite", "none.ipynb", "page.html", "run.log",
                             "trace.jsonl"]  # fmt: skip


def test_what_is_written_after_the_last_test_fails_a_run_of_one_process_and_is_named(apart: Path) -> None:
    done = session(apart, BETWEEN)

    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert re.search(r"a planted secret stands in \S+shared-by-all0/late\.txt", done.stdout)
    assert done.returncode == 1
