"""Notebooks, cells and outputs as resources, and what completes their addresses: of one notebook, and of many."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest

from tests.serving import Served, ask, call, first_line, served, text_of

CLIENTS, STEPS = 8, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of notebooks."""
    folder = tmp_path_factory.mktemp("many")
    (folder / "deep er").mkdir()
    for name in [*(f"{number}.ipynb" for number in range(CLIENTS)), "deep er/ü.ipynb"]:
        nbformat.write(nbformat.v4.new_notebook(), folder / name)
    return folder


@pytest.fixture(scope="module")
def many(folder: Path) -> Iterator[Served]:
    with served("", "--root", str(folder)) as process:
        yield process


def completed(http: httpx.Client, template: str, name: str, begun: str = "", **known: str) -> list[str]:
    """What completes an argument of a template."""
    reference = {"type": "ref/resource", "uri": template}
    argument = {"name": name, "value": begun}
    context = {"context": {"arguments": known}} if known else {}
    answer = ask(http, "completion/complete", ref=reference, argument=argument, **context)
    values: list[str] = answer["result"]["completion"]["values"]
    return values


def read(http: httpx.Client, uri: str) -> list[dict[str, Any]]:
    """The contents of a resource."""
    contents: list[dict[str, Any]] = ask(http, "resources/read", uri=uri)["result"]["contents"]
    return contents


def filled(template: str, **arguments: str) -> str:
    for name, value in arguments.items():
        template = template.replace("{" + name + "}", value)
    return template


def test_cells_and_outputs_of_the_one_notebook_are_resources(mcp_server: Served) -> None:
    with mcp_server.client() as http:
        cell = first_line(call(http, "append_execute_code_cell", source="print('x' * 9000)")).split()[0]
        uri = ask(http, "resources/list")["result"]["resources"][0]["uri"]
        whole, of_cell, of_output = (
            each["uriTemplate"] for each in ask(http, "resources/templates/list")["result"]["resourceTemplates"]
        )
        (path,) = completed(http, whole, "path")
        (handle,) = completed(http, of_cell, "id", cell[:2], path=path)
        output = completed(http, of_output, "ref", "o", path=path)[-1]

        assert filled(whole, path=path) == uri
        assert handle == cell
        assert "print('x' * 9000)" in read(http, filled(of_cell, path=path, id=handle))[0]["text"]
        assert "xxxx" in read(http, filled(of_output, path=path, ref=output))[0]["text"]


def test_notebooks_of_a_folder_are_resources(many: Served) -> None:
    with many.client() as http:
        made = call(http, "append_execute_code_cell", notebook="deep er/ü.ipynb", source="print('y' * 9000)")
        listed = [each["uri"] for each in ask(http, "resources/list")["result"]["resources"]]
        whole, of_cell, of_output = (
            each["uriTemplate"] for each in ask(http, "resources/templates/list")["result"]["resourceTemplates"]
        )
        paths = completed(http, whole, "path")
        (deep,) = completed(http, of_cell, "path", "deep")
        (handle,) = completed(http, of_cell, "id", path=deep)
        (output,) = completed(http, of_output, "ref", path=deep)

        assert [filled(whole, path=path) for path in paths] == listed
        assert len(listed) == CLIENTS + 1
        assert handle == first_line(made).split()[0]
        assert "print('y' * 9000)" in read(http, filled(whole, path=deep))[0]["text"]
        assert "print('y' * 9000)" in read(http, filled(of_cell, path=deep, id=handle))[0]["text"]
        assert "yyyy" in read(http, filled(of_output, path=deep, ref=output))[0]["text"]


def test_a_picture_is_read_as_one(mcp_server: Served) -> None:
    source = "from PIL import Image\nfrom IPython.display import display\ndisplay(Image.new('RGB', (9, 9)))"
    with mcp_server.client() as http:
        cell = first_line(call(http, "append_execute_code_cell", source=source)).split()[0]
        uri = ask(http, "resources/list")["result"]["resources"][0]["uri"]
        kinds = [each["mimeType"] for each in read(http, f"{uri}/cells/{cell}") if "blob" in each]

    assert kinds == ["image/png"]


@pytest.mark.parametrize("uri", ["notebook://../../etc/passwd", "notebook://%2Fetc%2Fpasswd", "notebook://nope.ipynb"])
def test_what_is_not_in_the_folder_is_no_resource(many: Served, folder: Path, uri: str) -> None:
    with many.client() as http:
        error = ask(http, "resources/read", uri=uri)["error"]

    assert error["code"] == -32002
    assert "root:" not in error["message"]
    assert not (folder / "nope.ipynb").exists()


def test_what_completes_nothing_is_empty(many: Served) -> None:
    with many.client() as http:
        closed = completed(http, "notebook://{path}/cells/{id}", "id", path="7.ipynb")
        strange = completed(http, "file:///{name}", "name")

    assert (closed, strange) == ([], [])


async def test_eight_clients_with_eight_notebooks_get_their_own_cells_and_outputs(many: Served, folder: Path) -> None:
    async def work(http: httpx.AsyncClient, number: int) -> list[str]:
        told = []
        for step in range(STEPS):
            arguments = {"notebook": f"{number}.ipynb", "source": f"print('client', {number}, 'step', {step})"}
            params = {"name": "append_execute_code_cell", "arguments": arguments}
            answer = await http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
            told.append(text_of(answer.json()["result"]))
        return told

    async with (
        asyncio.timeout(150),
        httpx.AsyncClient(base_url=many.url, headers=many.headers, timeout=150) as http,
    ):
        told = await asyncio.gather(*(work(http, number) for number in range(CLIENTS)))
    with many.client() as plain:
        plain.delete("/api/stop")  # saves

    for number in range(CLIENTS):
        printed = [f"client {number} step {step}" for step in range(STEPS)]
        cells = nbformat.read(folder / f"{number}.ipynb", as_version=4).cells
        assert [cell.outputs[0].text.strip() for cell in cells] == printed
        assert [line in text for line, text in zip(printed, told[number], strict=True)] == [True] * STEPS
