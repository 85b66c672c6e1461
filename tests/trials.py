"""A fault at a place, and the judgement over what became of it: the same for all faults, at all places."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from langchain_jupyter import JupyterToolkit, errors
from langchain_jupyter.kernels.remote import RemoteKernel
from langchain_jupyter.servers.server import JupyterServer
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.settings import ServerSettings
from tests import notebooks
from tests.faulttable import NOTHING, Entry, Row
from tests.proxy import Proxy
from tests.servers import Child

_CODES = {kind.code: kind.__name__ for kind in vars(errors).values() if hasattr(kind, "code")}
_UNTOUCHED = ("text", "code")
_EDITED = "edited"
_PATIENCE = 60.0

UNTIL_GO = """\
print("begun", flush=True)
while not os.path.exists(go): time.sleep(0.02)
print("ended")
"""


@dataclass
class Ground:
    """What a place stands on.

    Attributes:
        folder: For notebooks: of this machine, or of the server that has them.
        server: Has notebooks or kernels; None where nothing is on a server.
        child: The same, where a trial may kill it.
        state: What the server keeps besides, such as the history of its rooms.
    """

    folder: Path
    server: ServerSettings | None = None
    child: Child | None = None
    state: Path | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool has answered."""

    text: str
    artifact: Mapping[str, Any]

    @property
    def words(self) -> set[str]:
        """How the README calls what it tells."""
        status, code = self.artifact.get("status"), self.artifact.get("code")
        words = {str(status)} if status not in (None, "ok", "failed") else set()
        if status == "failed":
            return {_CODES[str(code)]}
        if self.text.startswith("["):
            words.add("note")
        if self.artifact.get("truncated"):
            words.add("truncated")
        return words or {NOTHING}


@dataclass
class Run:
    """A cell that counts how often it is run.

    Attributes:
        source: Its code.
        count: Gets a character each time.
        go: What it waits for, if its code does, before it ends.
        step: What it may wait for before.
        done: What it may make when it has come so far.
        answering: The tool call that has started it.
    """

    source: str
    count: Path
    go: Path
    step: Path
    done: Path
    answering: asyncio.Task[Answer] = field(init=False)

    async def reaches(self, path: Path) -> None:
        """Wait until its code makes that file."""
        async with asyncio.timeout(_PATIENCE):
            while not path.exists():
                assert not self.answering.done(), self.answering.result()
                await asyncio.sleep(0.01)


@dataclass
class Bench:
    """A toolkit on a notebook, and a record of what it has acknowledged.

    Attributes:
        place: Where the notebook is and its code runs.
        ground: What it stands on.
        toolkit: Reaches the server through the proxy.
        options: With which it was made.
        path: Of the notebook, for others on the server.
        proxy: Before the server, if there is one.
        scratch: For files of the code that runs.
        sources: Of all cells in order, if nothing is lost, doubled or touched that should not be.
        runs: All that were begun.
    """

    place: str
    ground: Ground
    toolkit: JupyterToolkit
    options: Mapping[str, Any]
    path: str
    proxy: Proxy | None
    scratch: Path
    sources: list[str]
    runs: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._untouched = self._cells(_UNTOUCHED)
        self._edited = len(_UNTOUCHED)
        self._tools = {tool.name: tool for tool in self.toolkit.get_tools()}

    @property
    def file(self) -> Path:
        """The notebook, as others read it."""
        return self.ground.folder / self.path

    async def call(self, tool: str, **arguments: Any) -> Answer:
        call = {"type": "tool_call", "id": uuid.uuid4().hex, "name": tool, "args": arguments}
        async with asyncio.timeout(120):
            message = await self._tools[tool].ainvoke(call)
        return Answer(message.text, message.artifact or {})

    async def add(self, source: str) -> Answer:
        """A new cell at the end; recorded unless it is refused."""
        answer = await self.call("append_markdown_cell", source=source)
        if answer.artifact.get("status") != "failed":
            self.sources.append(source)
        return answer

    async def change(self, source: str) -> Answer:
        """Another source in the cell that is there to be edited; recorded unless it is refused."""
        answer = await self.call("overwrite_cell_source", cell=_EDITED, source=source)
        if answer.artifact.get("status") != "failed":
            self.changed(source)
        return answer

    def changed(self, source: str) -> None:
        """Record that the cell that is there to be edited has another source."""
        self.sources[self._edited] = source

    def added_at_the_top(self, source: str) -> None:
        """Record a cell of somebody else."""
        self.sources.insert(0, source)
        self._edited += 1

    def others_write(self, source: str) -> None:
        """Another program puts another file in the place of the notebook, with that source in the edited cell."""
        notebook = json.loads(notebooks.text(self.file))
        [cell] = [cell for cell in notebook["cells"] if cell["id"] == _EDITED]
        cell["source"] = source
        whole = self.file.with_suffix(".new")
        whole.write_text(json.dumps(notebook), encoding="utf-8")
        whole.replace(self.file)
        self.changed(source)

    @property
    def set_aside(self) -> str:
        """What was set aside in a conflict."""
        return notebooks.text(self.file.with_name(f"{self.file.stem}.conflict-1.ipynb"))

    def counting(self, body: str = UNTIL_GO) -> Run:
        """Code for a new cell, recorded: counts its runs, and then does something.

        Args:
            body: What it does; `go`, `step` and `done` are paths of files that are not there.
        """
        names = ("count", "go", "step", "done")
        paths = [self.scratch / f"{self.file.stem}-{len(self.runs)}-{name}" for name in names]
        files = "\n".join(f"{name} = {str(path)!r}" for name, path in zip(names, paths, strict=True))
        source = f'{files}\nimport os, time\nwith open(count, "a") as file: file.write("x")\n{body}'.rstrip()
        run = Run(source, *paths)
        self.runs.append(run)
        self.sources.append(source)
        return run

    async def begin(self, body: str = UNTIL_GO, timeout: float = 90) -> Run:
        """A new cell that counts its runs; returns when it runs.

        Args:
            body: As for `counting`.
            timeout: Seconds that the call waits for its end.
        """
        run = self.counting(body)
        call = self.call("append_execute_code_cell", source=run.source, timeout=timeout)
        run.answering = asyncio.create_task(call)
        await run.reaches(run.count)
        async with asyncio.timeout(_PATIENCE):
            while not run.count.read_text():
                await asyncio.sleep(0.01)
        return run

    async def heard(self, text: str) -> None:
        """Wait until the last cell has printed that, as far as we have heard."""
        session = await self.session()

        async def outputs() -> str:
            return json.dumps(session.document.snapshot(session.document.ids[-1])["outputs"])

        async with asyncio.timeout(_PATIENCE):
            while text not in await self.toolkit.bridge.arun(outputs):
                await asyncio.sleep(0.01)

    async def kernel_pid(self) -> int:
        answer = await self.call("run_code", code="import os; os.getpid()")
        return int(next(line for line in answer.text.splitlines() if line.isdigit()))

    async def session(self) -> NotebookSession:
        """Of the toolkit, on whose loop it lives."""
        return await self.toolkit.bridge.arun(self.toolkit._workspace.session)

    async def save(self) -> None:
        session = await self.session()
        await self.toolkit.bridge.arun(session.store.save)

    async def settled(self) -> None:
        """Wait until the server has all edits, as its users would, call by call."""
        session = await self.session()
        async with asyncio.timeout(_PATIENCE):
            await self._look()
            while await self.toolkit.bridge.arun(session.store.settle):
                await self._look()

    @asynccontextmanager
    async def direct(self) -> AsyncIterator[JupyterServer]:
        """The server, past the proxy."""
        assert self.ground.server is not None
        server = JupyterServer(self.ground.server)
        yield server
        await server.close()

    @asynccontextmanager
    async def somebody(self) -> AsyncIterator[RemoteKernel]:
        """Another client on the same kernel, as a person's JupyterLab is."""
        await self.call("run_code", code="0")
        async with self.direct() as server:
            kernel = RemoteKernel(server, await self.kernel_id())
            await kernel.start()
            yield kernel
            await kernel.close()

    async def kernel_id(self) -> str:
        """Of the kernel on the server."""
        session = await self.session()
        assert isinstance(session.kernel, RemoteKernel)
        return session.kernel.kernel_id

    async def shut_down(self) -> None:
        """What a person does in JupyterLab."""
        await self._kernels("DELETE")

    async def restart(self) -> None:
        """What a person does in JupyterLab."""
        await self._kernels("POST", "/restart")

    async def stands(self) -> bool:
        """Whether the notebook reads as was acknowledged, and what nobody touched is as it was."""
        return self.read() == self.sources and self._cells(_UNTOUCHED) == self._untouched

    def read(self) -> list[str]:
        """Sources in the file."""
        return notebooks.sources(self.file)

    # -- inside -------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """A call that takes in what others did, and tells what stands in its way."""
        answer = await self.call("get_notebook_info")
        assert answer.artifact.get("status") != "failed", answer

    def _cells(self, ids: tuple[str, ...]) -> list[dict[str, Any]]:
        found = {cell["id"]: cell for cell in json.loads(notebooks.text(self.file))["cells"]}
        return [{**found[cell_id], "metadata": None} for cell_id in ids]  # JupyterLab marks cells as trusted

    async def _kernels(self, method: str, verb: str = "") -> None:
        async with self.direct() as server:
            await server.request(method, f"/api/kernels/{await self.kernel_id()}{verb}", json={})


class Trial:
    """One fault at one place.

    `async with` it: an edit is acknowledged before, and whatever happened within, `_judge` holds afterwards what the
    README promises of every fault.

    Args:
        row: What the README says of the fault.
        place: Where the notebook is and its code runs.
        benches: Has a toolkit there.
        report: Gets what became of it, once it has been judged.
    """

    def __init__(self, row: Row, place: str, benches: Benches, report: Callable[[Entry], None]) -> None:
        self.row = row
        self.place = place
        self.bench: Bench
        self._benches = benches
        self._report = report
        self._begun = 0.0
        self._told: list[Entry] = []

    def begins(self) -> None:
        """The fault is injected now."""
        self._begun = asyncio.get_running_loop().time()

    def told(self, word: str, by: Answer | BaseException) -> None:
        """It was told of in that word, or nothing had to be and everything works again."""
        seconds = asyncio.get_running_loop().time() - self._begun
        words = by.words if isinstance(by, Answer) else {kind.__name__ for kind in type(by).__mro__}
        assert self._begun, f"{self}: it has not begun"
        assert word in words, f"{self}: told as {words}: {by}"
        assert word in self.row.told, f"{self}: told as {word!r}, documented as {self.row.told}"
        assert seconds <= self.row.deadline, f"{self}: told after {seconds:.1f} s, documented: {self.row.deadline} s"
        self._told.append((self.row.fault, self.place, word, seconds))

    async def __aenter__(self) -> Bench:
        self.bench = await self._benches.at(self.place)
        await self.bench.add(f"Acknowledged before: {self}")
        await self.bench.change(f"'before: {self}'")
        return self.bench

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self._judge()
        except BaseException:
            await self._benches.drop(self.place)
            raise
        if kind is not None:
            await self._benches.drop(self.place)

    async def _judge(self) -> None:
        bench = self.bench

        assert self._told, f"{self}: no word of it"

        works = await bench.call("run_code", code="6 * 7")
        assert "42" in works.text, f"{self}: the next call does not work: {works}"
        await bench.add(f"Acknowledged after: {self}")
        await bench.change(f"'after: {self}'")

        await bench.save()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                while not await bench.stands():
                    await asyncio.sleep(0.05)
        lost, more = (set(bench.sources) - set(bench.read()), set(bench.read()) - set(bench.sources))
        assert bench.read() == bench.sources, f"{self}: lost: {lost}; put in: {more}; or doubled, or out of order"
        assert await bench.stands(), f"{self}: a cell was changed that nobody touched"

        counts = [run.count.read_text() for run in bench.runs]
        assert counts == ["x"] * len(bench.runs), f"{self}: a cell did not run once"

        for entry in self._told:
            self._report(entry)

    def __str__(self) -> str:
        return f"{self.row.fault} ({self.place})"


GroundOf: TypeAlias = Callable[[str], AbstractAsyncContextManager[Ground]]


class Benches:
    """A bench at each place, opened when it is asked for and shared by trials, until one of them fails.

    Args:
        ground: What the places stand on.
        scratch: Folder for files of the code that runs.
    """

    def __init__(self, ground: GroundOf, scratch: Path) -> None:
        self._ground = ground
        self._scratch = scratch
        self._open: dict[str, tuple[Bench, AsyncExitStack]] = {}

    async def at(self, place: str) -> Bench:
        if place not in self._open:
            stack = AsyncExitStack()
            ground = await stack.enter_async_context(self._ground(place))
            self._open[place] = (await stack.enter_async_context(_bench(place, ground, self._scratch)), stack)
        return self._open[place][0]

    async def drop(self, place: str) -> None:
        """Have no more of a bench where something has gone wrong."""
        if place in self._open:
            _, stack = self._open.pop(place)
            with suppress(Exception):
                await stack.aclose()

    async def close(self) -> None:
        for place in list(self._open):
            _, stack = self._open.pop(place)
            await stack.aclose()


@asynccontextmanager
async def _bench(place: str, ground: Ground, scratch: Path) -> AsyncIterator[Bench]:
    """A toolkit on a new notebook there."""
    name = f"{uuid.uuid4().hex[:8]}.ipynb"
    sources = _write(ground.folder / name)
    async with AsyncExitStack() as stack:
        options: dict[str, Any] = {"path": str(ground.folder / name), "soft_wait": _PATIENCE}
        proxy = None
        if ground.server is not None:
            proxy = await stack.enter_async_context(Proxy(ground.server))
            at = ("runtime_url", "runtime_token") if place.startswith("file") else ("server_url", "token")
            options |= dict(zip(at, (proxy.settings.url, proxy.settings.token.get_secret_value()), strict=True))
        if "server_url" in options:
            options["path"] = name
        toolkit = await stack.enter_async_context(JupyterToolkit(**options))
        yield Bench(place, ground, toolkit, options, name, proxy, scratch, sources)


def _write(file: Path) -> list[str]:
    cells = [
        new_markdown_cell("Nobody touches this: é🙂", id=_UNTOUCHED[0]),
        new_code_cell("1 + 1", id=_UNTOUCHED[1], execution_count=3, outputs=[new_output("stream", text="kept\n")]),
        new_code_cell("'first'", id=_EDITED),
    ]
    nbformat.write(new_notebook(cells=cells), file)  # type: ignore[no-untyped-call]
    return [str(cell["source"]) for cell in cells]
