"""What befalls a kernel, wherever it runs."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faulttable import injects
from tests.trials import Trial

pytestmark = pytest.mark.asyncio(loop_scope="module")

GONE = "all variables are gone"
SHORT_OF_MEMORY = """\
import resource
before = resource.getrlimit(resource.RLIMIT_AS)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, before[1]))
try:
    bytearray(1_000_000_000)
finally:
    resource.setrlimit(resource.RLIMIT_AS, before)
"""


@injects("the kernel is killed")
async def test_a_kernel_that_is_killed(trial: Trial) -> None:
    async with trial as bench:
        pid = await bench.kernel_pid()
        run = await bench.begin()
        trial.begins()
        os.kill(pid, signal.SIGKILL)
        answer = await run.answering
        trial.told("died", answer)

        assert " died " in answer.text.splitlines()[0]
        works = await bench.call("run_code", code="0")
        assert works.artifact["status"] == "ok", works
        assert GONE in works.text


@injects("the kernel runs out of memory")
async def test_a_kernel_that_runs_out_of_memory(trial: Trial) -> None:
    async with trial as bench:
        await bench.call("run_code", code="kept = 5")
        trial.begins()
        run = await bench.begin(SHORT_OF_MEMORY)
        answer = await run.answering
        trial.told("error", answer)

        assert "MemoryError" in answer.text.splitlines()[0]
        assert "5" in (await bench.call("run_code", code="kept")).text


@injects("the kernel is stopped")
async def test_a_kernel_that_is_stopped(trial: Trial) -> None:
    async with trial as bench:
        pid = await bench.kernel_pid()
        run = await bench.begin(timeout=3)
        trial.begins()
        os.kill(pid, signal.SIGSTOP)
        try:
            answer = await run.answering
            trial.told("running", answer)
        finally:
            os.kill(pid, signal.SIGCONT)
            run.go.touch()

        ended = await bench.call("wait_for_execution", execution=answer.artifact["execution"], timeout=60)
        assert ended.artifact["status"] == "ok"
        assert "ended" in ended.text


@injects("a person restarts the kernel")
async def test_a_kernel_that_a_person_restarts(trial: Trial) -> None:
    async with trial as bench:
        run = await bench.begin()
        trial.begins()
        await bench.restart()
        answer = await run.answering
        interrupted = "interrupted" in answer.words  # as the server does before, if the kernel still says so
        trial.told("interrupted" if interrupted else "died", answer)

        assert interrupted or "somebody restarted the kernel" in answer.text
        works = await bench.call("run_code", code="0")
        assert works.artifact["status"] == "ok", works
        assert GONE in answer.text + works.text


@injects("a person shuts the kernel down")
async def test_a_kernel_that_a_person_shuts_down(trial: Trial) -> None:
    async with trial as bench:
        run = await bench.begin()
        trial.begins()
        await bench.shut_down()
        answer = await run.answering
        trial.told("died", answer)

        assert "the kernel was shut down" in answer.text
