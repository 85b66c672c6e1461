"""What every directory of notebooks keeps to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from langchain_jupyter.documents.directory import Directory, Folder
from langchain_jupyter.errors import NotebookNotFound, NotebookUnavailable, OutsideRoot

EMPTY = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}\n'

IMPLEMENTATIONS: dict[str, Callable[[Path], Directory]] = {"folder": Folder}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for path in ("a.ipynb", "sub/b.ipynb", "sub/deep/c.ipynb", "ünï cödé/שלום.ipynb"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(EMPTY)
    (root / "notes.txt").write_text("no notebook")
    (tmp_path / "secret.ipynb").write_text(EMPTY)
    return root


@pytest.fixture(params=IMPLEMENTATIONS)
def directory(request: pytest.FixtureRequest, root: Path) -> Directory:
    return IMPLEMENTATIONS[request.param](root)


async def paths(directory: Directory, folder: str = "") -> list[str]:
    return [found.path for found in await directory.notebooks(folder)]


async def test_the_notebooks_below_a_folder_are_listed_by_path(directory: Directory) -> None:
    assert await paths(directory) == ["a.ipynb", "sub/b.ipynb", "sub/deep/c.ipynb", "ünï cödé/שלום.ipynb"]
    assert await paths(directory, "sub") == ["sub/b.ipynb", "sub/deep/c.ipynb"]
    assert [found.size for found in await directory.notebooks("sub")] == [len(EMPTY)] * 2


@pytest.mark.parametrize("folder", [".git", "x/.ipynb_checkpoints", "node_modules", "x/__pycache__"])
async def test_what_is_hidden_or_made_by_programs_is_left_out(directory: Directory, root: Path, folder: str) -> None:
    (root / folder).mkdir(parents=True)
    (root / folder / "copy.ipynb").write_text(EMPTY)

    assert not [path for path in await paths(directory) if "copy" in path]


async def test_two_spellings_of_a_path_are_one_notebook(directory: Directory) -> None:
    spellings = ("sub/b.ipynb", "./sub/b.ipynb", "sub//b.ipynb", "sub/./b.ipynb")

    assert {await directory.locate(spelling) for spelling in spellings} == {"sub/b.ipynb"}


@pytest.mark.parametrize(
    "path", ["../secret.ipynb", "sub/../../secret.ipynb", "sub/../a.ipynb", "/etc/x.ipynb", "..\\secret.ipynb"]
)
async def test_a_path_that_leaves_the_root_is_refused(directory: Directory, root: Path, path: str) -> None:
    for verb in (directory.locate, directory.create):
        with pytest.raises(OutsideRoot, match=r"below .*root\. Give a path relative to the workspace"):
            await verb(path)
    with pytest.raises(OutsideRoot):
        await directory.notebooks(path.rpartition("/")[0] or "..")

    assert sorted(each.name for each in root.parent.iterdir()) == ["root", "secret.ipynb"]


async def test_a_notebook_that_is_not_there_is_refused_with_those_that_are_near(directory: Directory) -> None:
    with pytest.raises(NotebookNotFound, match=r"No notebook 'b2.ipynb'.*There are: sub/b.ipynb"):
        await directory.locate("b2.ipynb")


@pytest.mark.parametrize("path", ["notes.txt", "", "a", "sub", "bad\0.ipynb", "x" * 5000 + ".ipynb"])
async def test_what_cannot_be_a_notebook_is_refused(directory: Directory, path: str) -> None:
    with pytest.raises((NotebookNotFound, NotebookUnavailable)):
        await directory.locate(path)
    with pytest.raises((NotebookNotFound, NotebookUnavailable)):
        await directory.create(path)


async def test_a_folder_that_is_not_there_is_refused(directory: Directory) -> None:
    with pytest.raises(NotebookNotFound, match="No folder 'none'"):
        await directory.notebooks("none")


async def test_a_new_notebook_is_there_at_once_and_valid(directory: Directory, root: Path) -> None:
    made = await directory.create("new/folder/n.ipynb")

    nbformat.validate(nbformat.read(root / made, as_version=4))
    assert made == "new/folder/n.ipynb"
    assert made in await paths(directory)


async def test_making_a_notebook_that_is_there_leaves_it_alone(directory: Directory, root: Path) -> None:
    (root / "a.ipynb").write_text(EMPTY + "\n")

    assert await directory.create("a.ipynb") == "a.ipynb"

    assert (root / "a.ipynb").read_text() == EMPTY + "\n"


async def test_many_notebooks_are_listed_fast(directory: Directory, root: Path) -> None:
    for number in range(600):
        folder = root / f"many/{number % 30}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.ipynb").write_text(EMPTY)
    started = time.monotonic()

    found = await paths(directory, "many")

    assert len(found) == 600
    assert time.monotonic() - started < 30


async def test_links_are_followed_inside_of_a_folder_and_not_out_of_it(root: Path) -> None:
    (root / "inner.ipynb").symlink_to(root / "sub/b.ipynb")
    (root / "outer.ipynb").symlink_to(root.parent / "secret.ipynb")
    (root / "loop").symlink_to(root)
    (root / "out").symlink_to(root.parent)
    folder = Folder(root)

    listed = await paths(folder)

    assert await folder.locate("inner.ipynb") == await folder.locate("loop/sub/b.ipynb") == "sub/b.ipynb"
    assert "inner.ipynb" in listed
    assert not [path for path in listed if path.startswith(("out", "loop"))]
    for path in ("outer.ipynb", "out/secret.ipynb"):
        with pytest.raises(OutsideRoot):
            await folder.locate(path)


async def test_a_new_notebook_does_not_follow_a_link_that_dangles_outside(root: Path) -> None:
    (root / "dangling.ipynb").symlink_to(root.parent / "made.ipynb")

    with pytest.raises(OutsideRoot):
        await Folder(root).create("dangling.ipynb")

    assert not (root.parent / "made.ipynb").exists()


async def test_a_folder_that_is_a_virtual_environment_is_left_out(root: Path) -> None:
    (root / "env/lib").mkdir(parents=True)
    (root / "env/pyvenv.cfg").touch()
    (root / "env/lib/example.ipynb").write_text(EMPTY)

    assert "env/lib/example.ipynb" not in await paths(Folder(root))


async def test_a_root_that_is_itself_a_link_works(root: Path) -> None:
    link = root.parent / "link"
    os.symlink(root, link)

    assert await Folder(link).locate("a.ipynb") == "a.ipynb"
