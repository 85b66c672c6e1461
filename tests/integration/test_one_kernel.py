"""Agent and people share one kernel, also where JupyterLab has started a second one for the same notebook."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.errors import KernelUnavailable
from langchain_jupyter.kernels import company
from langchain_jupyter.kernels.line import Line
from langchain_jupyter.kernels.remote import RemoteKernel
from langchain_jupyter.models import Execution
from langchain_jupyter.servers.answers import KernelModel, SessionModel
from langchain_jupyter.servers.server import JupyterServer
from langchain_jupyter.sessions.session import NotebookSession
from tests.servers import Child

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(bare: tuple[Child, Path]) -> AsyncIterator[JupyterServer]:
    server = JupyterServer(bare[0].settings)
    yield server
    await server.close()


@pytest.fixture
def path() -> str:
    return f"{uuid.uuid4().hex}.ipynb"


@pytest.fixture(autouse=True)
def _looks_at_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(company, "_LOOK_AGAIN", 0.0)


class Page:
    """What JupyterLab asks of the server for a notebook, request by request."""

    def __init__(self, server: JupyterServer, path: str) -> None:
        self._server = server
        self._path = path
        self._lines: list[Line] = []
        self.session = ""
        self.kernel = ""

    async def starts(self) -> None:
        """Start a kernel, in a session that does not have the notebook's path yet."""
        model = {"path": str(uuid.uuid4()), "name": self._path, "type": "notebook", "kernel": {"name": "python3"}}
        made = await self._server.ask(SessionModel, "POST", "/api/sessions", json=model)
        assert made.kernel is not None
        self.session, self.kernel = made.id, made.kernel.id

    async def shows(self) -> None:
        """Give the session the notebook's path, and be connected to its kernel."""
        await self._server.request("PATCH", f"/api/sessions/{self.session}", json={"path": self._path})
        await self.connects(self.kernel)

    async def connects(self, kernel_id: str) -> None:
        """Be connected to a kernel that nobody is on; the server counts it when the kernel has answered."""
        line = Line(self._server, kernel_id, receive=lambda _: None, resumed=lambda *_: None, ended=lambda _: None)
        await line.open()
        self._lines.append(line)
        await connected(self._server, kernel_id, 1)

    async def changes_kernel(self) -> str:
        """Kernel > Change Kernel: another one in the same session. Its id."""
        path = f"/api/sessions/{self.session}"
        changed = await self._server.ask(SessionModel, "PATCH", path, json={"kernel": {"name": "python3"}})
        assert changed.kernel is not None
        self.kernel = changed.kernel.id
        return self.kernel

    async def closes(self) -> None:
        """Leave the kernels, which go on."""
        for line in self._lines:
            await line.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(server: JupyterServer, path: str) -> AsyncIterator[Page]:
    page = Page(server, path)
    yield page
    await page.closes()
    for kernel in await running(server, path):
        await server.request("DELETE", f"/api/kernels/{kernel}")


@asynccontextmanager
async def agent(
    server: JupyterServer, path: str, choice: str = ""
) -> AsyncIterator[tuple[NotebookSession, RemoteKernel]]:
    kernel = RemoteKernel(server, choice, path=path)
    session = NotebookSession(MemoryStore(), kernel, shared=True)
    await session.open()
    yield session, kernel
    await session.close()


async def run(session: NotebookSession, code: str) -> Execution:
    return await session.insert_and_run(code, caller="test", timeout=90)


async def running(server: JupyterServer, path: str) -> list[str]:
    """The kernels that the server lists for a notebook."""
    sessions = await server.read(list[SessionModel], "/api/sessions")
    return [each.kernel.id for each in sessions if each.path == path and each.kernel is not None]


async def connected(server: JupyterServer, kernel_id: str, count: int) -> None:
    """Wait until so many are on a kernel: the server notices a little later that somebody has gone."""
    async with asyncio.timeout(60):
        while (await server.read(KernelModel, f"/api/kernels/{kernel_id}")).others != count:
            await asyncio.sleep(0.02)


async def test_a_kernel_that_nothing_has_run_in_gives_way_to_that_of_a_page(
    server: JupyterServer, path: str, page: Page
) -> None:
    await page.starts()
    async with agent(server, path) as (session, kernel):
        await session.beside(lambda *_: asyncio.sleep(0))
        started = kernel.kernel_id
        await page.shows()

        execution = await run(session, "6 * 7")

        assert started != page.kernel
        assert kernel.kernel_id == page.kernel
        assert execution.execution_count == 1
        assert not session.news("test")
        assert await running(server, path) == [page.kernel]
    assert await running(server, path) == [page.kernel]


async def test_a_page_that_opened_another_kernel_is_followed_and_told(
    server: JupyterServer, path: str, page: Page
) -> None:
    await page.starts()
    async with agent(server, path) as (session, kernel):
        await run(session, "x = 5")
        session.news("test")
        started = kernel.kernel_id
        await page.shows()

        execution = await run(session, "x")

        assert execution.status == "error"  # in the page's kernel, where it is not known
        assert kernel.kernel_id == page.kernel
        assert session.news("test").startswith("The notebook is in another kernel since your last call")
        assert not session.news("test")
        assert session.standings[session.document.ids[0]].state == "stale"
        assert set(await running(server, path)) == {started, page.kernel}  # what it holds may be missed
    assert await running(server, path) == [page.kernel]


async def test_a_page_that_goes_back_to_our_kernel_is_followed_there(
    server: JupyterServer, path: str, page: Page
) -> None:
    await page.starts()
    async with agent(server, path) as (session, kernel):
        await run(session, "x = 5")
        started = kernel.kernel_id
        await page.shows()
        await run(session, "x")
        await page.closes()
        await connected(server, page.kernel, 1)
        await connected(server, started, 0)
        await page.connects(started)

        execution = await run(session, "x")

        assert kernel.kernel_id == started
        assert execution.outputs[0]["data"]["text/plain"] == "5"
        await page.closes()
        await connected(server, started, 1)
    assert await running(server, path) == [page.kernel]


async def test_where_others_are_on_our_kernel_as_well_the_first_run_is_refused_with_both_kernels(
    server: JupyterServer, path: str, page: Page
) -> None:
    await page.starts()
    async with agent(server, path) as (session, kernel), agent(server, path) as (other, _):
        await run(session, "x = 5")
        await run(other, "x")
        await page.shows()

        with pytest.raises(KernelUnavailable) as raised:
            await run(session, "x + 1")
        count = len(session.document)
        execution = await run(session, "x + 1")

        assert kernel.kernel_id in str(raised.value)
        assert page.kernel in str(raised.value)
        assert "Change Kernel" in str(raised.value)
        assert "The code has not run." in str(raised.value)
        assert count == 1
        assert execution.outputs[0]["data"]["text/plain"] == "6"


async def test_a_kernel_that_a_person_changed_is_followed_and_told(
    server: JupyterServer, path: str, page: Page
) -> None:
    await page.starts()
    await page.shows()
    async with agent(server, path) as (session, kernel):
        await run(session, "x = 5")
        session.news("test")
        before = kernel.kernel_id

        changed = await page.changes_kernel()
        execution = await run(session, "'x' in globals()")

        assert before != changed
        assert kernel.kernel_id == changed
        assert execution.outputs[0]["data"]["text/plain"] == "False"
        assert session.news("test").startswith("The notebook is in another kernel since your last call")
    assert await running(server, path) == [changed]


async def test_who_opens_a_notebook_with_two_kernels_takes_the_one_that_people_are_on(
    server: JupyterServer, path: str, page: Page
) -> None:
    left = Page(server, path)
    for each in (left, page):
        await each.starts()
        await each.shows()
    await left.closes()
    await connected(server, left.kernel, 0)

    async with agent(server, path) as (session, kernel):
        await run(session, "6 * 7")

        assert kernel.kernel_id == page.kernel
        assert (await running(server, path))[0] == left.kernel


async def test_a_kernel_that_was_asked_for_is_kept_whatever_a_page_shows(
    server: JupyterServer, path: str, page: Page
) -> None:
    await page.starts()
    async with agent(server, path, "new") as (session, kernel):
        await run(session, "x = 5")
        await page.shows()

        execution = await run(session, "x")

        assert execution.status == "ok"
        assert kernel.kernel_id != page.kernel


async def test_a_notebook_that_is_renamed_takes_its_kernel_along(server: JupyterServer, path: str, page: Page) -> None:
    await page.starts()
    await page.shows()
    async with agent(server, path) as (session, kernel):
        await run(session, "x = 5")
        await server.request("PATCH", f"/api/sessions/{page.session}", json={"path": f"renamed-{path}"})
        another = Page(server, path)
        await another.starts()
        await another.shows()

        execution = await run(session, "x")

        assert execution.status == "ok"
        assert kernel.kernel_id == page.kernel
        await another.closes()
    await server.request("DELETE", f"/api/sessions/{page.session}")
