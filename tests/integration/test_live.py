"""The toolkit in a live notebook of a Jupyter server, beside others."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.errors import OutOfReach, ServerRefused, UsageError
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer
from tests import notebooks


@pytest.fixture
def name(lab: LabServer, request: pytest.FixtureRequest) -> str:
    name = f"{request.node.name}.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("6 * 7")]), lab.root / name)  # type: ignore[no-untyped-call]
    return name


def toolkit(lab: LabServer, path: str, **options: Any) -> JupyterToolkit:
    return JupyterToolkit(path, server_url=lab.settings.url, token=lab.settings.token, **options)


async def call(toolkit: JupyterToolkit, tool: str, **arguments: Any) -> str:
    named = {each.name: each for each in toolkit.get_tools()}
    content = await named[tool].ainvoke(arguments)
    return str(content[0]["text"]) if isinstance(content, list) else str(content)


@pytest.fixture
async def server(lab: LabServer) -> AsyncIterator[JupyterServer]:
    server = JupyterServer(lab.settings)
    yield server
    await server.close()


async def kernels_of(server: JupyterServer, path: str) -> list[str]:
    return [each["kernel"]["id"] for each in await server.get("/api/sessions") if each["path"] == path]


async def test_what_one_agent_writes_and_runs_another_sees(lab: LabServer, name: str) -> None:
    async with toolkit(lab, name) as one, toolkit(lab, name) as other:
        await call(one, "append_execute_code_cell", source="shared = 6 * 7\nshared")

        seen = await call(other, "read_all_cells")
        value = await call(other, "run_code", code="shared + 1")

    assert "shared = 6 * 7" in seen
    assert "42" in seen
    assert "43" in value  # one notebook, one kernel


async def test_the_file_on_the_server_holds_what_was_done(lab: LabServer, name: str) -> None:
    async with toolkit(lab, name) as live:
        await call(live, "append_execute_code_cell", source="6 * 9")

    saved = notebooks.read(lab.root / name)
    nbformat.validate(saved)
    assert [cell.source for cell in saved.cells] == ["6 * 7", "6 * 9"]
    assert saved.cells[1].outputs[0]["data"]["text/plain"] == "54"


async def test_a_notebook_that_is_not_there_is_made(lab: LabServer) -> None:
    async with toolkit(lab, "made by an agent.ipynb") as live:
        await call(live, "append_markdown_cell", source="# New")

    assert notebooks.sources(lab.root / "made by an agent.ipynb") == ["# New"]


async def test_the_kernel_of_a_notebook_is_taken_over_and_left_running(
    lab: LabServer, server: JupyterServer, name: str
) -> None:
    body = {"path": name, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
    session = await server.request("POST", "/api/sessions", json=body)

    async with toolkit(lab, name) as live:
        await call(live, "run_code", code="1")

    assert await kernels_of(server, name) == [session["kernel"]["id"]]


async def test_a_kernel_that_was_started_for_the_agent_ends_with_it(
    lab: LabServer, server: JupyterServer, name: str
) -> None:
    async with toolkit(lab, name) as live:
        await call(live, "run_code", code="1")
        assert len(await kernels_of(server, name)) == 1

    assert await kernels_of(server, name) == []


async def test_four_toolkits_on_two_notebooks_do_not_mix(lab: LabServer, request: pytest.FixtureRequest) -> None:
    names = [f"{request.node.name}-{letter}.ipynb" for letter in "ab"]
    async with AsyncExitStack() as stack:
        kits = [(name, await stack.enter_async_context(toolkit(lab, name))) for name in names for _ in range(2)]

        async def work(name: str, kit: JupyterToolkit, who: int) -> list[str]:
            said = []
            for number in range(5):
                source = f"print({f'{name} {who} {number}'!r})"
                said.append(await call(kit, "append_execute_code_cell", source=source))
            return said

        answers = await asyncio.gather(*(work(name, kit, who) for who, (name, kit) in enumerate(kits)))

    for who, ((name, _), said) in enumerate(zip(kits, answers, strict=True)):
        assert all(f"{name} {who} {number}\n" in text for number, text in enumerate(said))
    for name in names:
        cells = notebooks.read(lab.root / name).cells
        assert len(cells) == 10
        assert all(cell.source == f"print({cell.outputs[0]['text'].strip()!r})" for cell in cells)


async def test_a_wrong_token_is_told_at_the_first_call(lab: LabServer, name: str) -> None:
    async with JupyterToolkit(name, server_url=lab.settings.url, token="sesame") as live:
        with pytest.raises(ServerRefused) as raised:
            await call(live, "get_notebook_info")

    assert "sesame" not in str(raised.value)


async def test_a_server_that_is_not_there_is_told_at_the_first_call(name: str) -> None:
    async with JupyterToolkit(name, server_url="http://127.0.0.1:9") as live:
        async with asyncio.timeout(30):
            with pytest.raises(OutOfReach, match=r"127\.0\.0\.1:9"):
                await call(live, "get_notebook_info")


async def test_many_notebooks_of_a_server(lab: LabServer) -> None:
    folder = lab.root / "many"
    (folder / "inner").mkdir(parents=True)
    for name in ("one.ipynb", "inner/two.ipynb"):
        nbformat.write(new_notebook(), folder / name)  # type: ignore[no-untyped-call]
    kit = JupyterToolkit(root="many", server_url=lab.settings.url, token=lab.settings.token)

    async with kit:
        listed = await call(kit, "list_notebooks")
        made = await call(kit, "open_notebook", path="deep/er/three.ipynb", create=True)
        await call(kit, "append_execute_code_cell", notebook="inner/two.ipynb", source="6 * 7")
        outside = await call(kit, "read_all_cells", notebook="../alone.ipynb")
        missing = await call(kit, "read_all_cells", notebook="on.ipynb")

    assert "one.ipynb" in listed
    assert "inner/two.ipynb" in listed
    assert "three.ipynb" in made
    assert "[outside_root]" in outside
    assert "There are: one.ipynb" in missing
    assert "42" in notebooks.text(folder / "inner" / "two.ipynb")


async def test_the_environment_names_server_notebook_and_kernel(
    lab: LabServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOM_URL", lab.settings.url)
    monkeypatch.setenv("ROOM_ID", name)
    monkeypatch.setenv("JUPYTER_TOKEN", lab.settings.token.get_secret_value())

    async with JupyterToolkit.from_env() as live:
        info = await call(live, "get_notebook_info")

    assert name in info
    assert "6 * 7" in info


def test_an_environment_without_a_notebook_says_which_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DOCUMENT_ID", "ROOM_ID"):
        monkeypatch.delenv(variable, raising=False)

    with pytest.raises(UsageError, match="DOCUMENT_ID"):
        JupyterToolkit.from_env()


def test_a_lab_of_its_own_starts_and_ends_with_the_toolkit(tmp_path: Path) -> None:
    with JupyterToolkit.launch(tmp_path / "watched.ipynb") as toolkit:
        named = {tool.name: tool for tool in toolkit.get_tools()}
        answer = named["append_execute_code_cell"].invoke({"source": "import os; os.getppid()"})
        address = toolkit.lab_url

    server = int(answer[0]["text"].split("\n")[2])
    assert "/lab/tree/watched.ipynb?token=" in address
    assert not Path(f"/proc/{server}").exists()
    assert "os.getppid" in notebooks.text(tmp_path / "watched.ipynb")


def test_a_lab_of_its_own_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal\n"
        "from langchain_jupyter import JupyterToolkit\n"
        "toolkit = JupyterToolkit.launch('watched.ipynb')\n"
        "tools = {tool.name: tool for tool in toolkit.get_tools()}\n"
        "said = tools['run_code'].invoke({'code': 'import os; os.getpid(), os.getppid()'})\n"
        "print(said[0]['text'], flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(3)][2]
        process.kill()
    processes = [Path("/proc") / pid for pid in re.findall(r"\d+", said)]

    deadline = time.monotonic() + 20
    while any(_alive(each) for each in processes) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert len(processes) == 2
    assert not [each for each in processes if _alive(each)]


def _alive(process: Path) -> bool:
    try:
        return "\nState:\tZ" not in (process / "status").read_text()
    except OSError:
        return False


async def test_going_back_in_a_room_leaves_what_a_person_did_beside_us(lab: LabServer, name: str) -> None:
    async with toolkit(lab, name) as live, toolkit(lab, name, username="Ada") as person:
        await call(live, "append_execute_code_cell", source="ours = 1")
        before = await live.acheckpoint()
        added = await call(live, "append_execute_code_cell", source="ours = 2")
        await call(live, "overwrite_cell_source", cell="0", source="changed = 6 * 7")
        await call(live, "append_markdown_cell", source="ours as well")
        await call(person, "append_markdown_cell", source="Ada's text")
        await call(person, "edit_cell_source", cell=added[:4], old="ours = 2", new="ours = 2  # Ada's remark")

        (reverted,) = await live.arevert(before)
        seen = "changed"
        async with asyncio.timeout(60):
            while "changed" in seen or "ours as well" in seen:  # on its way to her
                seen = await call(person, "read_all_cells")
                await asyncio.sleep(0.05)

    assert "6 * 7" in seen
    assert "Ada's text" in seen
    assert "Ada's remark" in seen
    assert added[:4] in reverted.kept
    saved = notebooks.read(lab.root / name)
    assert [cell.source for cell in saved.cells] == ["6 * 7", "ours = 1", "ours = 2  # Ada's remark", "Ada's text"]
