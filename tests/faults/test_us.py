"""What befalls us: our process, our thread, our loop, our clock."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import pytest

from langchain_jupyter.errors import OutOfReach
from tests.faulttable import injects
from tests.trials import Answer, Trial

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANOTHER = """\
import asyncio, json, sys
from langchain_jupyter import JupyterToolkit

async def main(options, source, texts):
    tools = {tool.name: tool for tool in JupyterToolkit(**options).get_tools()}
    await tools["append_execute_code_cell"].ainvoke({"source": source, "timeout": 0.1})
    for text in texts:
        await tools["append_markdown_cell"].ainvoke({"source": text})
        print(text, flush=True)
    await asyncio.sleep(600)

asyncio.run(main(*json.loads(sys.stdin.readline())))
"""
TEXTS = [f"Acknowledged by a process that was killed: {number}" for number in range(5)]


@injects("our process is killed")
async def test_what_a_killed_process_has_acknowledged_is_there_and_nothing_runs_again(trial: Trial) -> None:
    async with trial as bench:
        await bench.toolkit.aclose()
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", ANOTHER, stdin=pipe, stdout=pipe)
        assert process.stdin is not None
        assert process.stdout is not None
        run = bench.counting()
        process.stdin.write(json.dumps([bench.options, run.source, TEXTS]).encode() + b"\n")
        async with asyncio.timeout(120):
            acknowledged = [(await process.stdout.readline()).decode().strip() for _ in TEXTS]
            while not run.count.exists():
                await asyncio.sleep(0.01)
        process.kill()
        trial.begins()
        await process.communicate()
        bench.sources += acknowledged
        run.go.touch()  # a kernel of this machine has ended with the process, one of a server goes on
        trial.told("nothing", await bench.call("get_notebook_info"))

        assert acknowledged == TEXTS


@injects("our event loop is blocked")
async def test_a_loop_that_is_blocked_only_delays(trial: Trial) -> None:
    async with trial as bench:
        run = await bench.begin()
        trial.begins()
        await bench.toolkit.bridge.arun(block)
        run.go.touch()
        answer = await run.answering
        trial.told("nothing", answer)

        assert "begun\nended" in answer.text


@injects("our thread is ended")
async def test_a_thread_that_is_ended_ends_the_run_and_the_next_call_has_another(trial: Trial) -> None:
    async with trial as bench:
        run = await bench.begin()
        loop = bench.toolkit.bridge._loop
        assert loop is not None
        trial.begins()
        loop.call_soon_threadsafe(leave)
        [ended] = await asyncio.gather(run.answering, return_exceptions=True)
        found = isinstance(ended, Answer) and "lost" in ended.words  # a kernel of a server that we had found there
        word = "OutOfReach" if isinstance(ended, OutOfReach) else "lost" if found else "died"
        trial.told(word, ended)

        calling = asyncio.create_task(bench.call("run_code", code="0"))
        run.go.touch()  # or the call may wait in the kernel behind the run that goes on
        works = await calling
        assert "thread ended" in works.text
        assert ("variables are gone" in works.text) == (not found)
        async with asyncio.timeout(60):
            while "Busy" in works.words:  # the run that went on has been taken up again
                works = await bench.call("run_code", code="0")
        assert works.artifact["status"] == "ok", works


@injects("the clock jumps")
async def test_a_clock_that_jumps_by_a_day_changes_nothing(trial: Trial) -> None:
    async with trial as bench:
        clock = time.time
        trial.begins()
        for day in (86_400, -86_400):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(time, "time", lambda day=day: clock() + day)
                run = await bench.begin("'on time'")
                answer = await run.answering
            trial.told("nothing", answer)
            assert answer.artifact["duration"] < 60


async def block() -> None:
    time.sleep(3)


def leave() -> None:
    raise SystemExit
