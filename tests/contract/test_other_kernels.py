"""What holds for kernels of other languages than Python: bash, TypeScript (Deno), R."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.errors import InspectionUnavailable, KernelDied
from langchain_jupyter.kernels.kernel import Message
from langchain_jupyter.kernels.local import LocalKernel
from langchain_jupyter.sessions.inspection import inspect
from langchain_jupyter.sessions.session import NotebookSession
from tests.kernels import installed

_PATIENCE = 60


@dataclass(frozen=True, kw_only=True)
class Language:
    """How one says it there.

    Attributes:
        spec: Name of the kernel spec.
        name: As the kernel is told to be of.
        assign: Makes a variable.
        show: Shows "hello world", with that variable.
        known: Shows whether there is that variable: yes or no.
        where: Shows the working directory.
        ever: Prints "in", and does not end.
        fail: Ends with an error.
        die: Ends the process of the kernel by SIGKILL.
    """

    spec: str
    name: str
    assign: str
    show: str
    known: str
    where: str
    ever: str
    fail: str
    die: str


BASH = Language(
    spec="bash",
    name="bash",
    assign="name=world",
    show="echo hello $name",
    known='[ -n "$name" ] && echo yes || echo no',
    where="pwd",
    ever="echo in; sleep 600",
    fail="ls /no-such-folder",
    die="kill -9 $PPID",
)
TYPESCRIPT = Language(
    spec="deno",
    name="typescript",
    assign='const whom: string = "world";',
    show="`hello ${whom}`",
    known="eval('typeof whom') === 'string' ? 'yes' : 'no'",
    where="Deno.cwd()",
    ever='console.log("in"); while (true) {}',  # asleep in an `await` it could not be interrupted
    fail='throw new Error("boom")',
    die='Deno.kill(Deno.pid, "SIGKILL"); await new Promise(() => {})',
)
R = Language(
    spec="ir",
    name="r",
    assign='name <- "world"',
    show='cat("hello", name)',
    known='cat(if (exists("name")) "yes" else "no")',
    where="cat(getwd())",
    ever='cat("in\\n"); Sys.sleep(600)',
    fail='stop("boom")',
    die="tools::pskill(Sys.getpid(), 9)",
)

LANGUAGES = [
    pytest.param(BASH, id="bash"),
    pytest.param(TYPESCRIPT, id="deno"),
    pytest.param(R, id="r", marks=pytest.mark.servers),
]


@pytest.fixture(scope="module", autouse=True)
def _specs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed(tmp_path_factory.mktemp("jupyter"), "bash", "deno", "ir"):
        yield


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> Language:
    found: Language = request.param
    return found


@pytest.fixture
async def kernel(language: Language, tmp_path: Path) -> AsyncIterator[LocalKernel]:
    kernel = LocalKernel(language.spec, cwd=tmp_path)
    await kernel.start()
    yield kernel
    await kernel.close()


async def messages(kernel: LocalKernel, code: str) -> list[Message]:
    async with asyncio.timeout(_PATIENCE):
        return [message async for message in kernel.execute(code)]


async def shown(kernel: LocalKernel, code: str) -> str:
    """What it prints, or its value, without colours and quotes.

    Deno publishes some of it when it is idle again, on a slow machine later than anybody waits: then once more.
    """
    texts: list[str] = []
    while not any(texts):
        found = [message.content for message in await messages(kernel, code)]
        texts = [content.get("text") or content.get("data", {}).get("text/plain", "") for content in found]
    return re.sub(r"\x1b\[\d+m", "", "".join(texts)).strip().strip('"')


def reply(found: list[Message]) -> Message:
    return next(message for message in found if message.msg_type == "execute_reply")


async def test_code_runs_and_keeps_its_variables(kernel: LocalKernel, language: Language, tmp_path: Path) -> None:
    found = await messages(kernel, language.assign)

    assert reply(found).content["status"] == "ok"
    assert [m.content["execution_state"] for m in found if m.msg_type == "status"] == ["busy", "idle"]
    assert await shown(kernel, language.show) == "hello world"
    assert await shown(kernel, language.where) == str(tmp_path.resolve())
    assert kernel.info.language == language.name
    assert kernel.info.state == "idle"


async def test_code_that_fails_is_an_error_and_the_next_run_works(kernel: LocalKernel, language: Language) -> None:
    found = await messages(kernel, language.fail)

    assert reply(found).content["status"] == "error"
    assert reply(await messages(kernel, language.assign)).content["status"] == "ok"


async def test_an_interrupted_run_says_so_and_variables_stay(language: Language, tmp_path: Path) -> None:
    session = NotebookSession(MemoryStore(), LocalKernel(language.spec, cwd=tmp_path))
    await session.open()
    begun = asyncio.Event()
    async with asyncio.timeout(_PATIENCE):
        await session.insert_and_run(language.assign, caller="test", timeout=_PATIENCE)
        running = asyncio.create_task(
            session.insert_and_run(language.ever, caller="test", timeout=_PATIENCE, listener=lambda *_: begun.set())
        )
        await begun.wait()
        await session.interrupt()
        stopped = await running
        after = await session.insert_and_run(language.show, caller="test", timeout=_PATIENCE)
    await session.close()

    assert (stopped.status, stopped.note) == ("interrupted", "")
    assert after.status == "ok"


async def test_a_restart_forgets(kernel: LocalKernel, language: Language) -> None:
    await messages(kernel, language.assign)
    before = await shown(kernel, language.known)

    await kernel.restart()

    assert (before, await shown(kernel, language.known)) == ("yes", "no")


async def test_death_is_noticed_and_told(kernel: LocalKernel, language: Language) -> None:
    with pytest.raises(KernelDied, match=r"the kernel was killed \(SIGKILL: out of memory\?\)"):
        await messages(kernel, language.die)


async def test_an_expression_has_no_value_and_its_variables_are_not_inspected(
    kernel: LocalKernel, language: Language
) -> None:
    async with asyncio.timeout(_PATIENCE):
        found = await kernel.evaluate("name")
        with pytest.raises(InspectionUnavailable, match=f"this one runs {language.name}"):
            await inspect(kernel, [], beside=False)

    assert found is not None
    assert found["status"] == "error"
