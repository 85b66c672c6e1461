"""What every kernel keeps to."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jupyter_kernel_client import JupyterKernelClient

from langchain_jupyter.errors import ConnectionLost, KernelDied, KernelStartError
from langchain_jupyter.kernels import client as client_kernel
from langchain_jupyter.kernels import line, sockets
from langchain_jupyter.kernels.client import ClientKernel
from langchain_jupyter.kernels.kernel import TOO_LARGE, Kernel, Message, Trailing
from langchain_jupyter.kernels.local import LocalKernel
from langchain_jupyter.kernels.numbers import DROPPED
from langchain_jupyter.kernels.remote import RemoteKernel
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer
from tests.hub import Hub
from tests.servers import Child

_PATIENCE = 60
"""Seconds; what a slow machine may need for the slowest of these tests, and then much more."""


@dataclass(frozen=True)
class Case:
    """A kernel under test, ready for code.

    Attributes:
        folder: Where its code runs.
        beside: Whether it can evaluate an expression while code runs.
    """

    kernel: Kernel
    folder: Path
    beside: bool = True


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[Case]:
    yield Case(LocalKernel(cwd=folder), folder)


@asynccontextmanager
async def remote(lab: LabServer) -> AsyncIterator[Case]:
    folder = Path(tempfile.mkdtemp(dir=lab.root))
    server = JupyterServer(lab.settings)
    yield Case(RemoteKernel(server, path=f"{folder.name}/analysis.ipynb"), folder)
    await server.close()


@asynccontextmanager
async def behind_hub(hub: Hub) -> AsyncIterator[Case]:
    settings = await hub.settings("contract")
    folder = Path(tempfile.mkdtemp(dir=hub.root / "contract"))
    server = JupyterServer(settings)
    yield Case(RemoteKernel(server, path=f"{folder.name}/analysis.ipynb"), folder)
    await server.close()


@asynccontextmanager
async def of_gateway(gateway: Child) -> AsyncIterator[Case]:
    server = JupyterServer(gateway.settings)
    subshells = gateway.command[0] == sys.executable  # Enterprise Gateway's environment has ipykernel 6
    kernel = RemoteKernel(server, path="analysis.ipynb")
    yield Case(kernel, gateway.log.parent, beside=subshells)
    await server.close()


@asynccontextmanager
async def client(lab: LabServer) -> AsyncIterator[Case]:
    folder = Path(tempfile.mkdtemp(dir=lab.root))
    theirs = JupyterKernelClient(server_url=lab.settings.url, token=lab.settings.token.get_secret_value())
    yield Case(ClientKernel(theirs, path=f"{folder.name}/analysis.ipynb"), folder)


IMPLEMENTATIONS = [
    pytest.param((local, "tmp_path"), id="local"),
    pytest.param((remote, "lab"), id="lab"),
    pytest.param((client, "lab"), id="client"),
    pytest.param((behind_hub, "hub"), id="hub", marks=pytest.mark.servers),
    pytest.param((of_gateway, "kernel_gateway"), id="kernel_gateway", marks=pytest.mark.servers),
    pytest.param((of_gateway, "enterprise_gateway"), id="enterprise_gateway", marks=pytest.mark.servers),
]
"""How a kernel is made, and the fixture of what runs it."""


@pytest.fixture(params=IMPLEMENTATIONS)
def host(request: pytest.FixtureRequest) -> tuple[Callable[[Any], AbstractAsyncContextManager[Case]], Any]:
    make, fixture = request.param
    return make, request.getfixturevalue(fixture)


@pytest.fixture
async def case(host: tuple[Callable[[Any], AbstractAsyncContextManager[Case]], Any]) -> AsyncIterator[Case]:
    make, where = host
    async with make(where) as case:
        await case.kernel.start()
        yield case
        await case.kernel.close()


@pytest.fixture
def kernel(case: Case) -> Kernel:
    return case.kernel


async def messages(kernel: Kernel, code: str, *, allow_stdin: bool = False) -> list[Message]:
    async with asyncio.timeout(_PATIENCE):
        return [message async for message in kernel.execute(code, allow_stdin=allow_stdin)]


async def value(kernel: Kernel, code: str) -> str:
    found = [m.content["data"]["text/plain"] for m in await messages(kernel, code) if m.msg_type == "execute_result"]
    return str(found[-1])


def reply(found: list[Message]) -> Message:
    return next(message for message in found if message.msg_type == "execute_reply")


async def test_a_run_ends_with_both_reply_and_idle(kernel: Kernel) -> None:
    found = await messages(kernel, "print('x')")

    states = [m.content["execution_state"] for m in found if m.msg_type == "status"]
    assert reply(found).content["status"] == "ok"
    assert states == ["busy", "idle"]
    assert kernel.info.state == "idle"


async def test_two_runs_at_once_do_not_mix(kernel: Kernel) -> None:
    results = await asyncio.gather(*(value(kernel, f"print('noise'); {n} * 11") for n in range(1, 6)))

    assert results == ["11", "22", "33", "44", "55"]


@pytest.mark.parametrize("death", ["os._exit(1)", "os.kill(os.getpid(), signal.SIGKILL)"])
async def test_death_is_noticed_and_told(kernel: Kernel, death: str) -> None:
    told = asyncio.Event()
    kernel.on_death(told.set)
    running = kernel.execute(f"import os, signal; print('bye', flush=True); {death}")

    async with asyncio.timeout(_PATIENCE):
        with pytest.raises(KernelDied):
            async for _ in running:
                pass
        await told.wait()

    assert kernel.info.state == "dead"


async def test_a_dead_kernel_refuses_and_starts_again(kernel: Kernel) -> None:
    with pytest.raises(KernelDied):
        await messages(kernel, "import os; os._exit(1)")
    with pytest.raises(KernelDied):
        await messages(kernel, "1")

    await kernel.start()

    assert await value(kernel, "6 * 7") == "42"


async def test_an_interrupted_run_ends_and_the_next_one_works(kernel: Kernel) -> None:
    found = []
    async with asyncio.timeout(_PATIENCE):
        async for message in kernel.execute("import time\nprint('in', flush=True)\ntime.sleep(600)"):
            found.append(message)
            if message.msg_type == "stream":
                await kernel.interrupt()

    assert reply(found).content["ename"] == "KeyboardInterrupt"
    assert await value(kernel, "6 * 7") == "42"


async def test_code_asleep_in_an_await_is_interrupted_too(kernel: Kernel) -> None:
    found = []
    async with asyncio.timeout(_PATIENCE):
        async for message in kernel.execute("import asyncio\nprint('in', flush=True)\nawait asyncio.sleep(600)"):
            found.append(message)
            if message.msg_type == "stream":
                await kernel.interrupt()

    assert reply(found).content["status"] == "error"
    assert await value(kernel, "6 * 7") == "42"


LOSSY = """
def lossy(stream, what, content=None, *args, session=get_ipython().kernel.session, **kwargs):
    if what == "{msg_type}" and content.get("execution_state") in (None, "idle"):
        del session.send
        return {{"content": content}}
    return type(session).send(session, stream, what, content, *args, **kwargs)

get_ipython().kernel.session.send = lossy
print("in")
"""
"""Makes the kernel lose the end of the run."""


@pytest.mark.parametrize("msg_type", ["execute_reply", "status"])
async def test_a_run_whose_end_the_kernel_loses_ends_and_the_next_one_works(kernel: Kernel, msg_type: str) -> None:
    found = await messages(kernel, LOSSY.format(msg_type=msg_type))

    kinds = [message.msg_type for message in found]
    assert "stream" in kinds
    assert ("execute_reply" in kinds, "truncated" in kinds) == ((False, False) if "reply" in msg_type else (True, True))
    assert kernel.info.state == "idle"
    assert await value(kernel, "6 * 7") == "42"


DROPPING = """
from IPython.display import display
for number in range(1_200):
    display(number)
get_ipython().kernel.session.message_count += {count}
"""
"""Makes the kernel publish more than a queue takes, and then count messages that it does not send."""


async def test_messages_that_the_kernel_drops_are_told_of(kernel: Kernel) -> None:
    said = []
    for count in (0, 345, 1):  # one number alone may be of a message that was never sent
        found = await messages(kernel, DROPPING.format(count=count))
        said.append([message.content["reason"] for message in found if message.msg_type == "truncated"])

    assert said == [[], [DROPPED.format(count=345)], []]


async def test_numbers_that_are_missing_in_a_run_of_few_messages_are_no_loss(kernel: Kernel) -> None:
    found = await messages(kernel, "get_ipython().kernel.session.message_count += 99; print('x')")

    assert all(message.msg_type != "truncated" for message in found)


@pytest.mark.parametrize(
    "code", ["display({'text/plain': 'x' * 3_000_000}, raw=True)", "raise OSError('x' * 3_000_000)"]
)
async def test_a_message_that_is_too_large_is_told_of_and_the_next_run_works(
    host: tuple[Callable[[Any], AbstractAsyncContextManager[Case]], Any], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "LARGEST", 1_000_000)
    monkeypatch.setattr(line, "LARGEST", 1_000_000)
    monkeypatch.setattr(client_kernel, "LARGEST", 1_000_000)
    make, where = host
    found = []
    async with make(where) as case, asyncio.timeout(_PATIENCE):
        await case.kernel.start()
        with contextlib.suppress(ConnectionLost):  # what came at the same moment may be lost, the end too
            async for message in case.kernel.execute(code):
                found.append(message)  # noqa: PERF401, those before it are told

        assert TOO_LARGE in found
        assert await value(case.kernel, "6 * 7") == "42"
        await case.kernel.close()


async def test_what_a_task_prints_after_its_run_is_told_as_that_runs(case: Case) -> None:
    kernel, gate = case.kernel, case.folder / f"{uuid.uuid4().hex}.go"
    late = asyncio.Queue[Message]()
    code = (
        "import asyncio, os\nasync def work():\n"
        f"    while not os.path.exists({str(gate)!r}): await asyncio.sleep(0.02)\n"
        "    print('late')\ntask = asyncio.create_task(work())"
    )
    assert isinstance(kernel, Trailing)
    kernel.on_late(late.put_nowait)
    found = await messages(kernel, code)
    gate.touch()
    async with asyncio.timeout(_PATIENCE):
        while (message := await late.get()).msg_type != "stream":
            continue

    assert message.content["text"] == "late\n"
    assert message.parent
    assert {each.parent for each in found} == {message.parent}


@pytest.mark.parametrize("host", [each for each in IMPLEMENTATIONS if each.id != "client"], indirect=True)
async def test_a_kernel_of_ours_drops_less_than_it_would(kernel: Kernel) -> None:
    queue = "get_ipython().kernel.iopub_thread.socket.getsockopt(__import__('zmq').SNDHWM)"
    first = await value(kernel, queue)
    await kernel.restart()

    assert first == "10000"
    assert await value(kernel, queue) == first
    assert await value(kernel, "len(In)") == "3"


@pytest.mark.parametrize("host", [each for each in IMPLEMENTATIONS if each.id != "client"], indirect=True)
async def test_a_kernel_of_ours_prints_in_pieces(kernel: Kernel) -> None:
    found = await messages(kernel, "import sys; print('y' * 2_500_000, end=''); print('z' * 9, file=sys.stderr)")

    texts = [each.content["text"] for each in found if each.msg_type == "stream" and each.content["name"] == "stdout"]
    assert [len(text) for text in texts] == [1_000_000, 1_000_000, 500_000]
    assert "".join(texts) == "y" * 2_500_000
    assert [each.content["text"] for each in found if each.content.get("name") == "stderr"] == ["z" * 9 + "\n"]
    assert len({each.parent for each in found}) == 1


async def test_a_restart_forgets_and_ends_what_runs(kernel: Kernel) -> None:
    await messages(kernel, "x = 1")
    running = kernel.execute("print('in', flush=True)\nimport time; time.sleep(600)")
    async for message in running:
        if message.msg_type == "stream":
            break

    await kernel.restart()
    with pytest.raises(KernelDied):
        async for _ in running:
            pass

    assert await value(kernel, "'x' in globals()") == "False"


async def test_input_that_nobody_answers_fails_at_once(kernel: Kernel) -> None:
    found = await messages(kernel, "input('name? ')")

    assert reply(found).content["ename"] == "StdinNotImplementedError"
    assert await value(kernel, "6 * 7") == "42"


@pytest.mark.parametrize("ask", ["input", "__import__('getpass').getpass"])
async def test_input_is_asked_for_and_answered(kernel: Kernel, ask: str) -> None:
    found = []
    async with asyncio.timeout(_PATIENCE):
        async for message in kernel.execute(f"{ask}('name? ')", allow_stdin=True):
            found.append(message)
            if message.msg_type == "input_request":
                kernel.answer("Ada")

    asked = next(m for m in found if m.msg_type == "input_request")
    answered = next(m for m in found if m.msg_type == "execute_result")
    assert asked.content["prompt"] == "name? "
    assert answered.content["data"]["text/plain"] == "'Ada'"


async def test_code_runs_in_the_folder_of_the_notebook(case: Case) -> None:
    assert await value(case.kernel, "import os; os.getcwd()") == repr(str(case.folder.resolve()))


async def test_scratch_code_does_not_move_the_execution_count(kernel: Kernel) -> None:
    counts = []
    for history in (True, False, True):
        found = [message async for message in kernel.execute("1", store_history=history)]
        counts.append(reply(found).content["execution_count"])

    assert counts[2] == counts[0] + 1


async def test_nothing_is_left_after_close(kernel: Kernel) -> None:
    process = Path("/proc") / await value(kernel, "import os; os.getpid()")

    await kernel.close()

    assert not process.exists()


async def test_closing_ends_what_runs(kernel: Kernel) -> None:
    running = kernel.execute("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    async for message in running:
        if message.msg_type == "stream":
            process = Path("/proc") / message.content["text"].strip()
            break

    async with asyncio.timeout(_PATIENCE):
        await kernel.close()
    await running.aclose()

    assert not process.exists()


async def test_a_spec_that_is_not_installed_is_named_with_those_that_are() -> None:
    with pytest.raises(KernelStartError, match=r"no-such.*Installed: .*python3"):
        await LocalKernel("no-such").start()


async def test_an_expression_is_evaluated_without_a_trace(kernel: Kernel) -> None:
    await messages(kernel, "x = 41")
    before = await value(kernel, "len(In), sorted(k for k in globals() if not k.startswith('_'))")

    async with asyncio.timeout(_PATIENCE):
        found = await kernel.evaluate("x + 1")
        wrong = await kernel.evaluate("y")

    assert found is not None
    assert wrong is not None
    assert (found["status"], found["data"]["text/plain"]) == ("ok", "42")
    assert (wrong["status"], wrong["ename"]) == ("error", "NameError")
    after = await value(kernel, "len(In) - 1, sorted(k for k in globals() if not k.startswith('_'))")
    assert after == before


async def test_an_expression_is_evaluated_while_code_runs_or_not_at_all(case: Case) -> None:
    kernel = case.kernel
    running = kernel.execute("x = 41\nprint('in', flush=True)\nimport time; time.sleep(600)")
    async for message in running:
        if message.msg_type == "stream":
            break

    async with asyncio.timeout(_PATIENCE):
        found = [await kernel.evaluate(f"x + {n}", beside=True) for n in (1, 2)]
        await kernel.interrupt()
        rest = [message async for message in running]

    values = [None if each is None else each["data"]["text/plain"] for each in found]
    assert values == (["42", "43"] if case.beside else [None, None])
    assert reply(rest).content["ename"] == "KeyboardInterrupt"
    assert await value(kernel, "x") == "41"


async def test_a_kernel_that_ends_meanwhile_evaluates_nothing(kernel: Kernel) -> None:
    with pytest.raises(KernelDied):
        async with asyncio.timeout(_PATIENCE):
            await kernel.evaluate("__import__('os')._exit(1)")
