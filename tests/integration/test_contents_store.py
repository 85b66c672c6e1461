"""A notebook on a server without rooms: when the server is away, when somebody else writes, when there are rooms."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from langchain_jupyter.documents.contents import ContentsStore
from langchain_jupyter.errors import DocumentConflict, DocumentError
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer
from tests.notebooks import sources, text
from tests.proxy import Proxy
from tests.servers import Child

TEXT = """\
{
    "nbformat": 4, "nbformat_minor": 5,   "metadata": {},
    "cells": [
        {"id": "one", "cell_type": "code", "source": ["a = 1"], "metadata": {}, "outputs": [], "execution_count": null},
        {"id": "two",  "cell_type": "markdown", "source": "odd  layout", "metadata": {}}
    ]
}
"""


@pytest.fixture
def file(bare: tuple[Child, Path], tmp_path: Path) -> Path:
    folder = bare[1] / tmp_path.name
    folder.mkdir()
    (folder / "a.ipynb").write_text(TEXT)
    return folder / "a.ipynb"


async def test_edits_outlive_a_server_that_is_away(bare: tuple[Child, Path], file: Path, tmp_path: Path) -> None:
    async with Proxy(bare[0].settings) as proxy:
        server = JupyterServer(proxy.settings)
        store = ContentsStore(server, f"{file.parent.name}/a.ipynb", state=tmp_path / "state")
        document = await store.open()
        proxy.refuse()
        document.set_source("one", "a = 2")
        async with asyncio.timeout(60):
            while not (said := await store.settle()):
                await store.refresh()
        away = sources(file)
        proxy.restore()
        async with asyncio.timeout(60):
            while not store.saved:
                await asyncio.sleep(0.05)

        assert "kept on this machine" in said
        assert away == ["a = 1", "odd  layout"]
        assert sources(file) == ["a = 2", "odd  layout"]
        assert await store.settle() == ""
        await store.close()
        await server.close()
        assert not list((tmp_path / "state").iterdir())


async def test_edits_that_a_dead_process_could_not_send_are_put_in_at_the_next_opening(
    bare: tuple[Child, Path], file: Path, tmp_path: Path
) -> None:
    path, state = f"{file.parent.name}/a.ipynb", tmp_path / "state"
    async with Proxy(bare[0].settings) as proxy:
        server = JupyterServer(proxy.settings)
        store = ContentsStore(server, path, state=state)
        document = await store.open()
        proxy.refuse()
        document.set_source("one", "a = 2")
        with pytest.raises(DocumentError, match="kept in"):
            await store.close()
        proxy.restore()

        again = ContentsStore(server, path, state=state)
        document = await again.open()
        found = document.source("one")
        await again.close()
        await server.close()

    assert found == "a = 2"
    assert sources(file) == ["a = 2", "odd  layout"]


async def test_what_nobody_touched_keeps_its_bytes(bare: tuple[Child, Path], file: Path, tmp_path: Path) -> None:
    server = JupyterServer(bare[0].settings)
    store = ContentsStore(server, f"{file.parent.name}/a.ipynb", state=tmp_path / "state")
    document = await store.open()
    document.set_source("one", "a = 2")
    await store.close()
    await server.close()

    assert text(file).splitlines()[-3:] == TEXT.splitlines()[-3:]


async def test_where_both_changed_a_cell_theirs_stands_and_ours_is_beside(
    bare: tuple[Child, Path], file: Path, tmp_path: Path
) -> None:
    server = JupyterServer(bare[0].settings)
    store = ContentsStore(server, f"{file.parent.name}/a.ipynb", state=tmp_path / "state")
    document = await store.open()
    document.set_source("one", "ours")
    file.write_text(TEXT.replace("a = 1", "theirs"))

    with pytest.raises(DocumentConflict) as raised:
        await store.save()
    await store.close()
    await server.close()

    assert raised.value.cells == ("one",)
    assert sources(file) == ["theirs", "odd  layout"]
    assert sources(bare[1] / raised.value.copy) == ["ours", "odd  layout"]


async def test_a_server_with_rooms_is_not_written_past_them(lab: LabServer, tmp_path: Path) -> None:
    server = JupyterServer(lab.settings)
    (lab.root / "shared.ipynb").write_text(TEXT)

    with pytest.raises(DocumentError, match="shared through its rooms"):
        await ContentsStore(server, "shared.ipynb", state=tmp_path).open()
    await server.close()
