"""Fixtures that several test modules share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from langchain_jupyter.lab import LabServer


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A JupyterLab with collaboration that the whole test run shares; its folder is `lab.root`.

    A test that kills, stops or starves its server starts one of its own.
    """
    lab = LabServer(tmp_path_factory.mktemp("lab"))
    asyncio.run(lab.start())
    yield lab
    asyncio.run(lab.close())
