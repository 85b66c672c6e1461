"""A toolkit on the client that its user has already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_kernel_client import JupyterKernelClient
from jupyter_nbmodel_client import NbModelClient, get_jupyter_notebook_websocket_url

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.errors import UsageError
from langchain_jupyter.servers.lab import LabServer
from tests import notebooks


@pytest.fixture
def kernel_client(lab: LabServer) -> Iterator[JupyterKernelClient]:
    client = JupyterKernelClient(server_url=lab.settings.url, token=lab.settings.token.get_secret_value())
    client.start()
    yield client
    client.stop()


def run(toolkit: JupyterToolkit, source: str) -> str:
    tool = next(tool for tool in toolkit.get_tools() if tool.name == "append_execute_code_cell")
    return str(tool.invoke({"source": source})[0]["text"])


def test_cells_of_a_file_run_in_the_kernel_of_a_client(kernel_client: JupyterKernelClient, tmp_path: Path) -> None:
    kernel_client.execute("x = 20")

    with JupyterToolkit(tmp_path / "analysis.ipynb", kernel_client=kernel_client) as toolkit:
        text = run(toolkit, "x += 22; print(x)")

    assert "\n42\n" in text
    assert kernel_client.execute("x")["outputs"][0]["data"]["text/plain"] == "42"  # the client is its user's


def test_a_client_is_for_one_notebook_and_one_kernel(kernel_client: JupyterKernelClient, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out root="):
        JupyterToolkit(root=tmp_path, kernel_client=kernel_client)
    with pytest.raises(UsageError, match="leave out kernel="):
        JupyterToolkit("a.ipynb", kernel="python3", kernel_client=kernel_client)
    with pytest.raises(UsageError, match="for all threads"):
        JupyterToolkit("a.ipynb", isolation="thread", kernel_client=kernel_client)


def test_a_notebook_client_and_a_kernel_client_together(kernel_client: JupyterKernelClient, lab: LabServer) -> None:
    (lab.root / "both.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    url = get_jupyter_notebook_websocket_url(lab.settings.url, "both.ipynb", lab.settings.token.get_secret_value())
    client = NbModelClient(url, path="both.ipynb")

    with JupyterToolkit(notebook_client=client, kernel_client=kernel_client) as toolkit:
        text = run(toolkit, "6 * 7")
        system = toolkit.get_prompt().invoke({"messages": []}).messages[0].text
        toolkit.save()  # closing leaves that to the server, which does it in a second

    assert "\n42\n" in text
    assert "both.ipynb" in system
    assert "42" in notebooks.text(lab.root / "both.ipynb")


def test_a_notebook_client_has_its_notebook() -> None:
    client = NbModelClient("ws://127.0.0.1:9/api/collaboration/room/x", path="x.ipynb")

    with pytest.raises(UsageError, match="leave out path and server_url="):
        JupyterToolkit("a.ipynb", server_url="http://127.0.0.1:9", notebook_client=client)
