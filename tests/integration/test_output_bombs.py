"""Code that prints without end: our memory, the notebook and the model's view of it stay within bounds.

In full size, by hand: figures in benchmarks/README.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.kernels import sockets
from langchain_jupyter.kernels.local import LocalKernel
from langchain_jupyter.rendering.render import render_execution
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.settings import OutputLimits

LIMITS = OutputLimits(per_run=100_000, outputs_per_run=100)


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[NotebookSession]:
    session = NotebookSession(
        FileStore(tmp_path / "a.ipynb"), LocalKernel(cwd=tmp_path), soft_wait=60, max_runtime=60, limits=LIMITS
    )
    await session.open()
    yield session
    await session.close()


async def outputs_on_disk(session: NotebookSession, path: Path) -> list[Any]:
    await session.store.save()
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return list(notebook.cells[-1].outputs)


async def test_an_endless_print_can_be_stopped_and_leaves_beginning_end_and_count(
    session: NotebookSession, tmp_path: Path
) -> None:
    endless = "import itertools\nfor n in itertools.count():\n    print('line', n)"
    running = await session.insert_and_run(endless, caller="test", timeout=2)
    stopped = await session.interrupt()
    after = await session.insert_and_run("6 * 7", caller="test")

    assert running.status == "running"
    assert stopped is not None
    assert stopped.status == "interrupted"
    assert "characters left out" in stopped.note
    assert after.outputs[0]["data"]["text/plain"] == "42"
    await session.store.save()
    cell = nbformat.read(tmp_path / "a.ipynb", as_version=4).cells[0]
    assert cell.outputs[0].text.startswith("line 0\nline 1\n")
    assert "Of one run the notebook keeps 100,000 characters" in cell.outputs[1].text
    assert cell.outputs[-2].ename == "KeyboardInterrupt"
    assert "characters left out" in cell.outputs[-1].text  # where who scrolls to the end sees it
    assert sum(len(output.get("text", "")) for output in cell.outputs) < 1.1 * LIMITS.per_run


async def test_ten_million_characters_are_seen_by_the_model_as_head_tail_and_count(
    session: NotebookSession, tmp_path: Path
) -> None:
    execution = await session.insert_and_run("for n in range(1_000): print(f'{n:04}' * 2_500)", caller="test")

    [block] = render_execution(
        execution, handle="a1b2", limits=LIMITS, references=session.references, cell_of=lambda _: None
    ).content
    assert execution.status == "ok"
    assert execution.truncated
    assert block["text"].startswith("a1b2 ok ")
    assert "9,9" in block["text"].splitlines()[0]
    assert "characters left out" in block["text"].splitlines()[0]
    assert "00000000" in block["text"]
    assert "0999" * 10 in block["text"][-LIMITS.per_output :]
    outputs = await outputs_on_disk(session, tmp_path / "a.ipynb")
    assert sum(len(output.text) for output in outputs) < 1.1 * LIMITS.per_run


async def test_a_stream_that_grows_is_drawn_anew_more_seldom_the_longer_it_is(tmp_path: Path) -> None:
    session = NotebookSession(FileStore(tmp_path / "a.ipynb"), LocalKernel(cwd=tmp_path), soft_wait=60, max_runtime=60)
    await session.open()
    drawn = [0]
    code = "import time\nfor n in range(40): print('y' * 25_000, flush=True); time.sleep(0.05)"

    execution = await session.insert_and_run(
        code, caller="test", listener=lambda _, change: drawn.append(change.redrawn if change else 0)
    )
    await session.close()

    assert len(execution.outputs[0]["text"]) == 40 * 25_001
    assert max(drawn) == 40 * 25_001  # the end is written at once
    assert sum(drawn) < 5_000_000  # 20 millions where each line draws all


async def test_thousands_of_updates_of_a_display_are_one_output(session: NotebookSession, tmp_path: Path) -> None:
    await session.insert_and_run(
        "from IPython.display import display\nearlier = display('e', display_id=True)", caller="test"
    )
    code = "h = display('h', display_id=True)\nfor n in range(500):\n    h.update(n)\n    earlier.update(-n)"
    execution = await session.insert_and_run(code, caller="test")

    assert execution.status == "ok"
    assert [output["data"]["text/plain"] for output in execution.outputs] == ["499"]
    assert not execution.truncated
    await session.store.save()
    first, second = nbformat.read(tmp_path / "a.ipynb", as_version=4).cells
    assert first.outputs[0].data["text/plain"] == "-499"
    assert second.outputs[0].data["text/plain"] == "499"
    assert len(session.document.journal) < 500  # of 1,000 updates; at most so many a second are written


async def test_output_that_was_not_taken_has_a_note_in_the_notebook_and_in_the_result(
    session: NotebookSession, tmp_path: Path
) -> None:
    code = """
from IPython.display import display
for number in range(1_200): display(number)
get_ipython().kernel.session.message_count += 345
"""
    execution = await session.insert_and_run(code, caller="test")

    assert execution.truncated
    assert "About 345 messages of the kernel are missing" in execution.note
    assert (
        "About 345 messages of the kernel are missing"
        in (await outputs_on_disk(session, tmp_path / "a.ipynb"))[-1].text
    )


async def test_an_error_that_is_too_large_is_lost_and_says_so(
    session: NotebookSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "LARGEST", 1_000_000)
    await session.restart()

    execution = await session.insert_and_run("raise OSError('x' * 3_000_000)", caller="test")
    after = await session.insert_and_run("6 * 7", caller="test")

    assert execution.status == "lost"
    assert "larger than" in execution.note
    assert "nothing was run again" in execution.note
    assert after.outputs[0]["data"]["text/plain"] == "42"
    await session.store.save()
    assert "larger than" in nbformat.read(tmp_path / "a.ipynb", as_version=4).cells[0].outputs[-1].text


async def test_of_too_many_figures_the_first_and_the_last_stay(session: NotebookSession, tmp_path: Path) -> None:
    code = "from IPython.display import display\nfor n in range(400): display({'text/plain': f'figure {n}'}, raw=True)"
    execution = await session.insert_and_run(code, caller="test")

    outputs = await outputs_on_disk(session, tmp_path / "a.ipynb")
    figures = [output.data["text/plain"] for output in outputs if "data" in output]
    assert execution.status == "ok"
    assert "300 outputs left out" in execution.note
    assert (figures[0], figures[-1], len(figures)) == ("figure 0", "figure 399", 100)
