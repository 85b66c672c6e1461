"""What threads and tasks put out after their cell has ended: in that cell, or the model is told that it is not."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.kernels.local import LocalKernel
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.sessions.marks import is_edited
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.settings import OutputLimits
from tests.notebooks import read, written

PATIENCE = 60
LIMITS = OutputLimits(per_run=100_000, outputs_per_run=100)
TASK = """
import asyncio, os
async def work():
    while not os.path.exists('go'): await asyncio.sleep(0.02)
    {body}
task = asyncio.create_task(work())
"""
MORE = "has put out more since it ended"


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[NotebookSession]:
    session = NotebookSession(FileStore(tmp_path / "a.ipynb"), LocalKernel(cwd=tmp_path), soft_wait=60, limits=LIMITS)
    await session.open()
    yield session
    await session.close()


async def news(session: NotebookSession) -> str:
    """What the caller is told as soon as there is something to tell."""
    async with asyncio.timeout(PATIENCE):
        while not (told := session.news("test")):
            await asyncio.sleep(0.05)
    return told


def text_of(outputs: Any) -> str:
    return "".join(output.get("text", "") for output in outputs)


@pytest.fixture(params=["file", "room"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A folder, and what a toolkit is given for `a.ipynb` in it."""
    if request.param == "file":
        return tmp_path, {"path": str(tmp_path / "a.ipynb")}
    lab: LabServer = request.getfixturevalue("lab")
    folder = Path(tempfile.mkdtemp(dir=lab.root))
    server = {"server_url": lab.settings.url, "token": lab.settings.token.get_secret_value()}
    return folder, {"path": f"{folder.name}/a.ipynb", **server}


async def test_what_a_task_prints_after_its_cell_stands_there_and_is_told_of_once(
    where: tuple[Path, dict[str, Any]],
) -> None:
    folder, options = where
    answers = []
    async with JupyterToolkit(**options) as toolkit, asyncio.timeout(PATIENCE):
        tools = {tool.name: tool for tool in toolkit.get_tools()}
        ran = await tools["append_execute_code_cell"].ainvoke({"source": TASK.format(body="print('la' + 'te')")})
        (folder / "go").touch()
        while not answers or "late" not in answers[-1]:
            answers.append(str(await tools["read_cell"].ainvoke({"cell": "0"})))
            await asyncio.sleep(0.05)
        answers += [str(await tools["read_cell"].ainvoke({"cell": "0"})) for _ in range(2)]

    assert " ok " in str(ran)
    assert "late" not in str(ran)
    assert sum(MORE in answer for answer in answers) == 1
    notebook = await written(folder / "a.ipynb", lambda found: text_of(found.cells[0].outputs))
    assert text_of(notebook.cells[0].outputs) == "late\n"


async def test_a_task_that_prints_while_another_cell_runs_prints_into_its_own(
    session: NotebookSession, tmp_path: Path
) -> None:
    first = await session.insert_and_run(TASK.format(body="print('from the task')"), caller="test")
    second = await session.insert_and_run("print('mine')\nopen('go', 'w').close()\nawait task", caller="test")
    told = await news(session)

    assert MORE in told
    assert text_of(second.outputs) == "mine\n"
    assert text_of(session.document.cell(str(first.cell_id)).outputs) == "from the task\n"


async def test_what_a_thread_shows_after_something_was_looked_up_is_of_the_cell_that_ran_last(
    session: NotebookSession, tmp_path: Path
) -> None:
    code = """
import os, threading, time
class Loud:
    def __repr__(self):
        print('asked')
        return 'loud'
loud = Loud()
def work():
    while not os.path.exists('go'): time.sleep(0.02)
    print('from the thread')
threading.Thread(target=work).start()
"""
    await session.insert_and_run(code, caller="test")
    assert await session.inspect(["loud"])  # ipykernel takes this for what the thread works for
    (tmp_path / "go").touch()
    await news(session)

    [cell] = session.document.cells()
    assert text_of(cell.outputs) == "from the thread\n"
    assert not is_edited(cell)


async def test_late_output_of_a_cell_that_was_cleared_is_left_out_and_told_of(
    session: NotebookSession, tmp_path: Path
) -> None:
    await session.insert_and_run("print('early')" + TASK.format(body="print('late')"), caller="test")
    [cell] = session.document.cells()
    session.document.set_outputs(cell.id, [], None)  # as a person does in JupyterLab
    (tmp_path / "go").touch()
    told = await news(session)

    assert "It is left out: the cell shows something else by now" in told
    assert not session.document.cell(cell.id).outputs


async def test_late_output_without_end_is_bounded_and_told_of(session: NotebookSession, tmp_path: Path) -> None:
    body = "for n in range(3_000): print('line', n, 'x' * 100); await asyncio.sleep(0)"
    await session.insert_and_run(TASK.format(body=body), caller="test")
    (tmp_path / "go").touch()
    told = ""
    async with asyncio.timeout(PATIENCE):
        while "left out" not in told:
            told += await news(session)
    await session.insert_and_run("await task", caller="test")
    await session.store.save()

    outputs = read(tmp_path / "a.ipynb").cells[0].outputs
    assert text_of(outputs).startswith("line 0 ")
    assert "Of one run the notebook keeps 100,000 characters" in text_of(outputs)
    assert len(text_of(outputs)) < 1.1 * LIMITS.per_run


async def test_late_output_is_taken_back_with_its_run(session: NotebookSession, tmp_path: Path) -> None:
    await session.insert_and_run("print('early')" + TASK.format(body="print('late')"), caller="test")
    (tmp_path / "go").touch()
    await news(session)
    [cell] = session.document.cells()
    shown = text_of(cell.outputs)
    clashing = session.document.journal.revert(session.document, 1)

    assert shown == "early\nlate\n"
    assert not clashing
    assert not session.document.cell(cell.id).outputs


async def test_what_scratch_code_left_running_is_found_by_its_reference(
    session: NotebookSession, tmp_path: Path
) -> None:
    session.news("test")
    execution = await session.run_code(TASK.format(body="print('late')"))
    (tmp_path / "go").touch()
    told = await news(session)

    assert f'wait_for_execution("{execution.ref}") shows it' in told
    assert text_of((await session.wait(execution.ref, 0)).outputs) == "late\n"
