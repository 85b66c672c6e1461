"""What holds for a kernel of another language than Python: bash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from langchain_jupyter.errors import InspectionUnavailable, KernelDied
from langchain_jupyter.kernels.kernel import Message
from langchain_jupyter.kernels.local import LocalKernel
from langchain_jupyter.sessions.inspection import inspect
from tests.kernels import bash_installed


@pytest.fixture(scope="module", autouse=True)
def _bash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with bash_installed(tmp_path_factory.mktemp("jupyter")):
        yield


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[LocalKernel]:
    kernel = LocalKernel("bash", cwd=tmp_path)
    await kernel.start()
    yield kernel
    await kernel.close()


async def messages(kernel: LocalKernel, code: str) -> list[Message]:
    async with asyncio.timeout(20):
        return [message async for message in kernel.execute(code)]


async def printed(kernel: LocalKernel, code: str) -> str:
    found = await messages(kernel, code)
    return "".join(each.content["text"] for each in found if each.msg_type == "stream").strip()


def reply(found: list[Message]) -> Message:
    return next(message for message in found if message.msg_type == "execute_reply")


async def test_code_runs_and_keeps_its_variables(kernel: LocalKernel, tmp_path: Path) -> None:
    await messages(kernel, "name=world")

    assert await printed(kernel, "echo hello $name") == "hello world"
    assert await printed(kernel, "pwd") == str(tmp_path.resolve())
    assert kernel.info.language == "bash"
    assert kernel.info.state == "idle"


async def test_a_run_ends_with_both_reply_and_idle(kernel: LocalKernel) -> None:
    found = await messages(kernel, "true")

    assert reply(found).content["status"] == "ok"
    assert found[-1].msg_type in ("status", "execute_reply")


async def test_a_restart_forgets(kernel: LocalKernel) -> None:
    await messages(kernel, "name=world")

    await kernel.restart()

    assert await printed(kernel, "echo [$name]") == "[]"


async def test_death_is_noticed_and_told(kernel: LocalKernel) -> None:
    with pytest.raises(KernelDied, match=r"the kernel was killed \(SIGKILL: out of memory\?\)"):
        await messages(kernel, "kill -9 $PPID")


async def test_an_expression_has_no_value_and_says_so(kernel: LocalKernel) -> None:
    async with asyncio.timeout(30):
        found = await kernel.evaluate("$name")

    assert found is not None
    assert found["status"] == "error"


async def test_its_variables_are_not_inspected(kernel: LocalKernel) -> None:
    with pytest.raises(InspectionUnavailable, match="this one runs bash"):
        await inspect(kernel, [], beside=False)
