"""Whatever a path says, the tools reach nothing outside of their folder, and nothing that is no file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from langchain_jupyter.documents.directory import Folder, relative
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.errors import DocumentError, NotebookNotFound, NotebookUnavailable, OutsideRoot, ToolError

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
]


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
