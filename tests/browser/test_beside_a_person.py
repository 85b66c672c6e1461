"""An agent and a person in one notebook, in real JupyterLab."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.async_api import expect

from langchain_jupyter.lab import LabServer
from tests.browser.person import Person


def notebook(folder: Path, name: str, *cells: nbformat.NotebookNode) -> str:
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=list(cells), metadata={"kernelspec": spec}), folder / name)  # type: ignore[no-untyped-call]
    return name


async def test_a_person_works_in_a_lab_of_ours(lab: LabServer, person: Person) -> None:
    name = notebook(lab.root, "alone.ipynb", new_markdown_cell("# Alone"), new_code_cell("6 * 7"))

    await person.opens(name)
    await person.clicks_into(1)
    await person.presses("Control+Enter")

    await expect(person.outputs(1)).to_have_text(["42"])
    await expect(person.prompt(1)).to_have_text("[1]:")
