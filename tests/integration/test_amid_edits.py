"""Somebody whose line was down has edited and moved a cell that we edit: what may not stand as it should is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nbformat
import pytest
from jupyter_nbmodel_client import NbModelClient, get_jupyter_notebook_websocket_url
from nbformat.v4 import new_code_cell, new_notebook

from langchain_jupyter.documents.client import ClientStore
from langchain_jupyter.documents.room import RoomStore
from langchain_jupyter.documents.store import DocumentStore
from langchain_jupyter.errors import DocumentConflict
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer
from tests.proxy import Proxy


def store_of(kind: str, server: JupyterServer, path: str) -> DocumentStore:
    if kind == "room":
        return RoomStore(server, path)
    token = server.settings.token.get_secret_value()
    return ClientStore(NbModelClient(get_jupyter_notebook_websocket_url(server.url, path, token), path=path))


@pytest.mark.parametrize("kind", ["room", "client"])
async def test_an_edit_of_a_cell_that_was_moved_meanwhile_is_told_each_time(
    lab: LabServer, tmp_path: Path, kind: str
) -> None:
    path = f"{tmp_path.name}-{kind}.ipynb"
    cells = [new_code_cell("a = 0", id="one"), new_code_cell("", id="two")]
    nbformat.write(new_notebook(cells=cells), lab.root / path)  # type: ignore[no-untyped-call]
    server = JupyterServer(lab.settings)
    told: list[DocumentConflict] = []
    async with asyncio.timeout(120), Proxy(lab.settings) as proxy:
        far = JupyterServer(proxy.settings)
        ours, people = store_of(kind, server, path), RoomStore(far, path)
        document, theirs = await ours.open(), await people.open()
        for place, order in ((("two", None), ["two", "one"]), ((None, "two"), ["one", "two"])):
            proxy.refuse()
            theirs.set_source("one", f"a = 'theirs {order}'")
            theirs.move("one", place=place)
            document.set_source("one", f"a = 'ours {order}'")
            proxy.restore()
            while list(document.ids) != order or theirs.source("one") != document.source("one"):
                await asyncio.sleep(0.01)
            with pytest.raises(DocumentConflict, match="Somebody moved cells") as raised:
                await ours.refresh()
            told.append(raised.value)
            await ours.refresh()
        await ours.close()
        await people.close()
        await far.close()
    await server.close()

    assert [conflict.cells for conflict in told] == [("one",), ("one",)]
    copies = [lab.root / conflict.copy for conflict in told]  # an absolute path stays as it is
    assert "ours ['two', 'one']" in copies[0].read_text("utf-8")
    assert "ours ['one', 'two']" in copies[1].read_text("utf-8")
    for copy in copies:
        copy.unlink()
