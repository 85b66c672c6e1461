"""A notebook in a file, and its kernel on a gateway."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.errors import ServerError
from tests.servers import Child

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("fixture", ["kernel_gateway", "enterprise_gateway"])
def test_the_cells_of_a_file_run_on_a_gateway(fixture: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    gateway: Child = request.getfixturevalue(fixture)
    token = gateway.settings.token.get_secret_value()
    path = tmp_path / "analysis.ipynb"

    with JupyterToolkit(path, runtime_url=gateway.settings.url, runtime_token=token) as toolkit:
        tools = {tool.name: tool for tool in toolkit.get_tools()}
        found = tools["append_execute_code_cell"].invoke({"source": "import os; os.getcwd()"})

    assert str(gateway.log.parent) in found[0]["text"]
    [cell] = nbformat.read(path, as_version=4).cells
    assert cell.execution_count == 1


def test_a_gateway_keeps_no_notebooks_and_says_what_to_give_instead(kernel_gateway: Child) -> None:
    settings = kernel_gateway.settings
    token = settings.token.get_secret_value()

    with JupyterToolkit("analysis.ipynb", server_url=settings.url, token=token) as toolkit:
        tools = {tool.name: tool for tool in toolkit.get_tools()}
        with pytest.raises(ServerError, match="give the gateway as runtime_url"):
            tools["get_notebook_info"].invoke({})
