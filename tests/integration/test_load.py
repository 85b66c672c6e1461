"""Steady calls leave nothing behind; for minutes and with figures: benchmarks/load.py."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path

import pytest

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.analysis import freshness
from langchain_jupyter.backends import Backend, LocalDocuments
from langchain_jupyter.documents import journal, notebook
from langchain_jupyter.sessions import executions, sight
from langchain_jupyter.testing import ScriptedKernels, printed

NOTEBOOKS = 4
ROUNDS = 22
SOURCE = "print('x' * 200)"


class Load:
    def __init__(self, toolkit: JupyterToolkit) -> None:
        self._toolkit = toolkit
        self._tools = {tool.name: tool for tool in toolkit.get_tools()}
        self._first: dict[str, str] = {}

    async def call(self, tool: str, **arguments: object) -> str:
        content = await self._tools[tool].ainvoke(arguments)
        assert isinstance(content, list), content
        return str(content[0]["text"])

    async def open(self, notebook: str) -> None:
        await self.call("open_notebook", path=notebook, create=True)
        self._first[notebook] = await self.add(notebook)

    async def add(self, notebook: str) -> str:
        """A cell that has run; its handle."""
        said = await self.call("append_execute_code_cell", notebook=notebook, source=SOURCE)
        return said.split()[0]

    async def work(self, notebook: str) -> None:
        for _ in range(ROUNDS):
            said = await self.call("execute_cell_with_progress", notebook=notebook, cell=self._first[notebook])
            assert " ok " in said, said
            added = await self.add(notebook)
            await self.call("read_all_cells", notebook=notebook)
            await self.call("delete_cell", notebook=notebook, cell=added)

    async def measure(self) -> tuple[int, int, int, int, int, int]:
        """Tasks, threads outside of pools, file handles, objects of ours that live, bytes of replicas, sources seen."""
        await self._toolkit.bridge.arun(self._save)
        gc.collect()
        loop = self._toolkit.bridge._loop
        assert loop is not None
        ours = sum(str(type(each).__module__).startswith("langchain_jupyter") for each in gc.get_objects())
        replicas, seen = await self._toolkit.bridge.arun(self._weigh)
        handles = len(os.listdir("/proc/self/fd"))
        threads = [each for each in threading.enumerate() if not each.name.startswith("asyncio_")]
        return len(asyncio.all_tasks(loop)), len(threads), handles, ours, replicas, seen

    async def _save(self) -> None:
        for session in self._toolkit._workspace.opened.values():
            await session.store.save()

    async def _weigh(self) -> tuple[int, int]:
        sessions = self._toolkit._workspace.opened.values()
        replicas = sum(len(session.document.ydoc.get_update()) for session in sessions)
        return replicas, sum(len(session.sight("toolkit")._sources) for session in sessions)


async def test_steady_calls_leave_no_tasks_threads_handles_or_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_KEPT", 20)
    monkeypatch.setattr(executions, "_KEPT", 20)
    monkeypatch.setattr(freshness, "_KEPT", 20)
    monkeypatch.setattr(notebook, "_WORN", 100)
    monkeypatch.setattr(sight, "_GONE", 10)
    names = [f"{number}.ipynb" for number in range(NOTEBOOKS)]
    backend = Backend(LocalDocuments(root=tmp_path), ScriptedKernels({SOURCE: [printed("x" * 200 + "\n")]}))
    async with JupyterToolkit(backend=backend, tools="workspace") as toolkit:
        load = Load(toolkit)
        for name in names:
            await load.open(name)
        seen = []
        for _ in range(3):  # the first fills what is kept of the past
            await asyncio.gather(*(load.work(name) for name in names))
            seen.append(await load.measure())

    _, before, after = seen
    assert after[0] <= before[0] + NOTEBOOKS  # saves that are due
    assert after[1] <= before[1] + 2
    assert after[2] <= before[2] + 2
    assert after[3] <= before[3] + ROUNDS  # one that each call leaves would be four times as many
    assert after[4] <= NOTEBOOKS * 20_000
    assert after[5] <= NOTEBOOKS * (2 * 2 + 10 + 2)  # twice the cells, those that are gone, and one or two
