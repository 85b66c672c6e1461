"""Whatever a path says, the tools reach nothing outside of their folder, and nothing that is no file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

from langchain_jupyter.documents import server_folder
from langchain_jupyter.documents.directory import Folder, relative
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.errors import (
    DocumentError,
    NotebookNotFound,
    NotebookUnavailable,
    NotKept,
    OutsideRoot,
    ToolError,
)
from langchain_jupyter.servers.server import quoted

OUTSIDE = [
    "../secret.ipynb",
    "a/../../secret.ipynb",
    "a/../secret.ipynb",
    "/etc/secret.ipynb",
    "..\\secret.ipynb",
    "\\secret.ipynb",
    "\\\\server\\share\\secret.ipynb",
    "//server/share/secret.ipynb",
    "C:\\secret.ipynb",
    "C:secret.ipynb",
    "c:/secret.ipynb",
    "\\\\?\\C:\\secret.ipynb",
]
NO_NAMES = [
    "a\x00.ipynb",
    "a\nb.ipynb",
    "a\x1b[31m.ipynb",
    "a\u202egnp.ipynb",
    "a\u200b.ipynb",
    "CON.ipynb",
    "sub/nul.ipynb",
    "com1.ipynb",
    "sub./a.ipynb",
    "sub /a.ipynb",
    "ab:c.ipynb",
    "a?.ipynb",
    "a.ipynb:stream.ipynb",
    "\uff0e\uff0e\uff0fa.ipynb",
    "sub\u2215a.ipynb",
    "C\uff1a\uff3ca.ipynb",
    "a" * 300 + ".ipynb",
    "a\ud800.ipynb",
]
ENCODED = ["%2e%2e/secret.ipynb", "%252e%252e%252fsecret.ipynb", "a%00.ipynb", "a#b.ipynb", "a?b.ipynb", "a;b/c.ipynb"]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "secret.ipynb").write_text("{}")
    return Folder(tmp_path / "root")


@pytest.mark.parametrize("path", OUTSIDE)
async def test_a_path_that_leads_out_is_refused(folder: Folder, path: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))

    for go in (folder.locate, folder.create):
        with pytest.raises(OutsideRoot):
            await go(path)
    with pytest.raises(OutsideRoot):
        relative(path, "the root")

    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("path", NO_NAMES)
async def test_a_name_that_not_every_system_can_have_is_not_made(folder: Folder, path: str, tmp_path: Path) -> None:
    with pytest.raises((NotebookUnavailable, NotebookNotFound)) as raised:
        await folder.create(path)

    assert not list((tmp_path / "root").rglob("*.ipynb"))
    assert all(char.isprintable() for char in str(raised.value))


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
async def test_links_lead_nowhere_outside(folder: Folder, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "link.ipynb").symlink_to(tmp_path / "secret.ipynb")
    (root / "up").symlink_to(tmp_path)
    (root / "loop.ipynb").symlink_to(root / "loop.ipynb")

    for path in ("link.ipynb", "up/secret.ipynb", "loop.ipynb"):
        with pytest.raises(ToolError):
            await folder.locate(path)
    with pytest.raises(OutsideRoot):
        await folder.create("up/new.ipynb")
    assert await folder.notebooks() == []


@pytest.mark.skipif(sys.platform == "win32", reason="there are none")
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
async def test_what_is_no_file_is_not_opened(folder: Folder, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "root" / "a.ipynb"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            path.mkdir()

    with pytest.raises(ToolError):
        await folder.locate("a.ipynb")
    with pytest.raises(DocumentError):
        await FileStore(path).open()


@pytest.mark.parametrize("name", ["Ärger.ipynb", "A\u0308rger.ipynb", "データ.ipynb", "a b (1).ipynb"])
async def test_names_of_all_languages_are_found_as_they_are(folder: Folder, name: str) -> None:
    made = await folder.create(f"a/{name}")

    assert await folder.locate(made) == f"a/{name}"
    assert [file.path for file in await folder.notebooks()] == [f"a/{name}"]


@pytest.mark.parametrize("path", ENCODED)
def test_what_is_encoded_in_a_path_is_a_name_to_a_server_however_often(path: str) -> None:
    inside = server_folder._inside(path)

    address = httpx.URL(f"http://server/api/contents/{quoted(inside)}").raw_path.decode()

    assert unquote(address) == f"/api/contents/{path}"  # a server decodes it once
    assert "?" not in address


@pytest.mark.parametrize("path", [*OUTSIDE, "a\ud800.ipynb"])
def test_a_path_that_leads_out_is_not_asked_of_a_server(path: str) -> None:
    with pytest.raises(ToolError):
        server_folder._inside(path)


@pytest.mark.parametrize("path", ["a" * 300 + ".ipynb", "a\0.ipynb", "/proc/self/mem", "/dev/zero", "/dev/null/a"])
async def test_a_path_where_no_notebook_can_be_is_told(tmp_path: Path, path: str) -> None:
    with pytest.raises(DocumentError):
        await FileStore(tmp_path / path).open()


@pytest.mark.parametrize("name", [".a.ipynb.journal", ".a.ipynb.journal.new", ".a.ipynb.x.tmp"])
async def test_a_pipe_beside_a_notebook_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)

    async with asyncio.timeout(60):
        with contextlib.suppress(DocumentError):
            store = FileStore(tmp_path / "a.ipynb")
            document = await store.open()
            document.insert(document.new_cell("code", "1"))
            await store.close()

    assert (tmp_path / "a.ipynb").exists() == (not name.endswith(".journal"))


@pytest.mark.parametrize("name", [".a.ipynb.journal", ".a.ipynb.journal.new"])
async def test_a_link_beside_a_notebook_is_not_written_through(tmp_path: Path, name: str) -> None:
    store = FileStore(tmp_path / "a.ipynb")
    document = await store.open()
    (tmp_path / "other").write_text("theirs")
    (tmp_path / name).symlink_to(tmp_path / "other")

    with contextlib.suppress(NotKept):
        document.insert(document.new_cell("code", "1"))
    await store.close()

    assert (tmp_path / "other").read_text() == "theirs"


async def test_a_link_that_takes_the_place_of_a_notebook_leads_nowhere(folder: Folder, tmp_path: Path) -> None:
    made = folder.file(await folder.create("a.ipynb"))
    store = FileStore(made, name="a.ipynb", root=tmp_path / "root")
    await store.open()

    made.unlink()
    made.symlink_to(tmp_path / "secret.ipynb")
    with pytest.raises(DocumentError, match="it is a link"):
        await store.refresh()
    with pytest.raises(DocumentError, match=r"leads out of"):
        await FileStore(made, name="a.ipynb", root=tmp_path / "root").open()

    assert (tmp_path / "secret.ipynb").read_text() == "{}"
