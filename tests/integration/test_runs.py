"""A session on a real kernel: what reaches the document, and when."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.errors import KernelStartError
from langchain_jupyter.kernels.local import LocalKernel
from langchain_jupyter.models import Cell, Execution
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.settings import OutputLimits


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[NotebookSession]:
    limits = OutputLimits(outputs_per_run=10_000)
    session = NotebookSession(MemoryStore(), LocalKernel(cwd=tmp_path), ask=True, limits=limits)
    await session.open()
    yield session
    await session.close()


async def run(session: NotebookSession, source: str, timeout: float = 30) -> tuple[Execution, Cell]:
    execution = await session.insert_and_run(source, caller="test", timeout=timeout)
    return execution, session.document.cell(str(execution.cell_id))


async def test_outputs_reach_the_document_while_the_cell_runs(session: NotebookSession, tmp_path: Path) -> None:
    source = (
        "import os, time\nprint('early', flush=True)\nwhile not os.path.exists('gate'): time.sleep(0.02)\nprint('late')"
    )
    launch = await launched(session, source)
    async with asyncio.timeout(60):
        while not (shown := [cell for cell in session.document.cells() if cell.outputs]):
            await asyncio.sleep(0.01)
        (cell,) = shown

        assert cell.running
        assert cell.outputs[0]["text"] == "early\n"

        (tmp_path / "gate").touch()
        await launch
    ended = session.document.cell(cell.id)

    assert not ended.running
    assert ended.outputs[0]["text"] == "early\nlate\n"
    assert ended.execution_count == 1


async def test_what_is_in_the_document_is_what_the_execution_says(session: NotebookSession) -> None:
    source = (
        "import sys\nfrom IPython.display import display, clear_output\n"
        "print('gone')\nclear_output(wait=True)\nprint('kept')\nprint('warn', file=sys.stderr)\n"
        "handle = display('first', display_id=True)\nhandle.update('second')\nprint('50%\\r100%')\n'last'"
    )

    execution, cell = await run(session, source)

    assert list(cell.outputs) == list(execution.outputs)
    assert [output["output_type"] for output in cell.outputs] == [
        "stream", "stream", "display_data", "stream", "execute_result",
    ]  # fmt: skip
    assert [output.get("text") for output in cell.outputs] == ["kept\n", "warn\n", None, "100%\n", None]
    assert cell.outputs[2]["data"]["text/plain"] == "'second'"


async def test_a_display_of_an_earlier_cell_is_updated_in_its_place(session: NotebookSession) -> None:
    _, shown = await run(session, "from IPython.display import display\nhandle = display('before', display_id=True)")

    await run(session, "handle.update('after')")

    assert session.document.cell(shown.id).outputs[0]["data"]["text/plain"] == "'after'"


async def test_input_is_asked_for_and_answered_in_the_same_execution(session: NotebookSession) -> None:
    asked, _ = await run(session, "name = input('name? ')\nname.upper()")
    session.answer(asked.ref, "ada")
    ended = await session.wait(asked.ref, 60)

    assert (asked.status, asked.prompt) == ("input", "name? ")
    assert ended.status == "ok"
    assert ended.outputs[-1]["data"]["text/plain"] == "'ADA'"


async def test_code_runs_in_the_folder_of_the_notebook(session: NotebookSession, tmp_path: Path) -> None:
    execution, _ = await run(session, "import os\nprint(os.getcwd())")

    assert execution.outputs[0]["text"].strip() == str(tmp_path.resolve())


async def test_an_interrupted_run_is_drained_before_the_next_one(session: NotebookSession) -> None:
    running, _ = await run(session, "import time\ntime.sleep(60)", 0.5)
    stopped = await session.interrupt()
    following, _ = await run(session, "'works'")

    assert running.status == "running"
    assert stopped is not None
    assert stopped.status == "interrupted"
    assert following.outputs[0]["data"]["text/plain"] == "'works'"


async def test_a_run_longer_than_allowed_is_interrupted(tmp_path: Path) -> None:
    session = NotebookSession(MemoryStore(), LocalKernel(cwd=tmp_path), max_runtime=1)
    await session.open()

    execution, _ = await run(session, "import time\ntime.sleep(60)")
    await session.close()

    assert execution.status == "interrupted"
    assert "longest time allowed" in execution.note


async def test_a_cell_that_is_deleted_while_it_runs_ends_nevertheless(session: NotebookSession) -> None:
    running, cell = await run(session, "import time\ntime.sleep(1)\n'done'", 0.3)
    session.document.delete(cell.id)  # by somebody else: the session itself refuses

    ended = await session.wait(running.ref, 60)
    following, _ = await run(session, "1")

    assert ended.status == "ok"
    assert ended.outputs[0]["data"]["text/plain"] == "'done'"
    assert following.status == "ok"


async def test_a_kernel_spec_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(KernelStartError, match=r"'no-such'.*python3"):
        await LocalKernel("no-such").start()


async def test_two_requests_at_once_do_not_mix(tmp_path: Path) -> None:
    kernel = LocalKernel(cwd=tmp_path)
    await kernel.start()

    async def result(code: str) -> str:
        messages = [message async for message in kernel.execute(code)]
        return next(m.content["data"]["text/plain"] for m in messages if m.msg_type == "execute_result")

    async with asyncio.timeout(60):
        results = await asyncio.gather(*(result(f"{n} * 11") for n in range(1, 6)))
    await kernel.close()

    assert results == ["11", "22", "33", "44", "55"]


def test_ctrl_c_ends_the_kernel_and_keeps_the_notebook(tmp_path: Path) -> None:
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background shell ignores it
        "from langchain_jupyter import JupyterToolkit\n"
        "tools = {t.name: t for t in JupyterToolkit('a.ipynb').get_tools()}\n"
        "print(tools['run_code'].invoke({'code': 'import os; os.getpid()'})[0]['text'].split()[-2], flush=True)\n"
        'source = \'open("started", "w").close(); import time; time.sleep(60)\'\n'
        "tools['append_execute_code_cell'].invoke({'source': source, 'timeout': 60})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        kernel = Path("/proc") / process.stdout.readline().strip()
        deadline = time.monotonic() + 60
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    finally:
        process.kill()
        process.communicate()

    assert kernel.name.isdigit()
    assert not kernel.exists()
    assert "time.sleep(60)" in (tmp_path / "a.ipynb").read_text()


SLEEPS = ["import time\ntime.sleep(60)", "import asyncio\nawait asyncio.sleep(60)"]


async def launched(session: NotebookSession, source: str) -> asyncio.Task[Execution]:
    """A run that has just been sent, or waits for the kernel's start."""
    task = asyncio.create_task(session.insert_and_run(source, caller="test", timeout=30))
    while not session.busy:
        await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("source", SLEEPS, ids=["sleeping", "awaiting"])
async def test_an_interrupt_right_after_the_launch_stops_that_run_and_not_the_next(
    session: NotebookSession, source: str
) -> None:
    for number in range(6):  # from the kernel's start on, and then at other moments of the launch
        launch = await launched(session, source)
        async with asyncio.timeout(30):
            await asyncio.sleep(number / 500)
            stopped = await session.interrupt()
            ended = await launch
        following, _ = await run(session, "6 * 7")

        assert stopped is not None
        assert (stopped.status, ended.status, following.status) == ("interrupted", "interrupted", "ok")
        assert following.outputs[0]["data"]["text/plain"] == "42"


async def test_an_interrupt_at_the_end_of_a_run_never_hits_the_next_one(session: NotebookSession) -> None:
    for number in range(20):
        launch = await launched(session, "import time\ntime.sleep(0.01)")
        await asyncio.sleep(0.008 + number / 2000)
        await session.interrupt()
        first = await launch
        following, _ = await run(session, "import time\ntime.sleep(0.03)\n'ok'")

        assert first.status in ("ok", "interrupted")
        assert (following.status, following.error) == ("ok", None)


async def test_thousands_of_outputs_arrive_though_nobody_takes_them_for_a_while(session: NotebookSession) -> None:
    source = (
        "import time\nfrom IPython.display import display\n"
        "for n in range(5_000):\n    display(n)\n    if n % 50 == 0: time.sleep(0.02)"  # faster, the kernel drops some
    )
    launch = await launched(session, source)
    async with asyncio.timeout(60):
        while session.executions.current is None or not session.executions.current.outputs.items():
            await asyncio.sleep(0.01)
        time.sleep(2)  # nothing of ours runs meanwhile, as in a process that is kept busy

        execution = await launch
        execution = await session.wait(execution.ref, 60)

    assert (execution.status, len(execution.outputs)) == ("ok", 5_000)
