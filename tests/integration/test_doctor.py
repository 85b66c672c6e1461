"""The doctor names the cause: on healthy setups none, on each broken one the right one."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from pydantic import SecretStr
from typer.testing import CliRunner

from langchain_jupyter.cli import app
from langchain_jupyter.doctor.finding import Finding, fine
from langchain_jupyter.doctor.installation import installation
from langchain_jupyter.doctor.machine import folder, kernel, kernel_specs
from langchain_jupyter.doctor.servers import jupyter_server as examined
from langchain_jupyter.doctor.servers import mcp_server
from langchain_jupyter.documents import whole
from langchain_jupyter.documents.file import LocalFile
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.settings import ServerSettings
from tests.hub import Hub
from tests.servers import Child, free_port, jupyter_server
from tests.serving import served


def wrong(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """What is not as it should be: subject and cause."""
    return [(found.subject, found.said) for found in findings if found.state != "ok"]


def pretend(folder: Path, name: str, version: str, *requires: str) -> None:
    """An installed distribution of that version, as far as its metadata go."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    (info / "METADATA").write_text("\n".join(lines) + "\n")


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may write to; permissions do not bind root, but the kernel's own folders do."""
    if os.geteuid() == 0:
        yield Path("/sys")
        return
    tmp_path.chmod(0o555)
    yield tmp_path
    tmp_path.chmod(0o755)


def test_an_installation_that_is_complete_has_no_problem() -> None:
    assert [found for found in installation() if found.state == "problem"] == []


def test_mcp_2_beside_the_adapters_of_mcp_1_is_a_mismatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, "mcp", "2.0.1")
    monkeypatch.syspath_prepend(str(tmp_path))

    found = [each for each in installation() if each.state == "problem"]

    assert ("Packages", "The extra 'mcp-adapters' needs mcp<2,>=1.24, and 2.0.1 is installed.") in wrong(found)
    assert all("either mcp 1 with langchain-mcp-adapters, or mcp 2 with langchain[mcp]" in each.mend for each in found)


def test_an_old_collaboration_that_is_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, "jupyter-collaboration", "4.0.2")
    monkeypatch.syspath_prepend(str(tmp_path))

    [found] = [each for each in installation() if each.state == "problem"]

    assert found.said == "The extra 'lab' needs jupyter-collaboration<6,>=5.0.4, and 4.0.2 is installed."
    assert found.mend == "pip install 'langchain-jupyter[lab]'"


def test_a_machine_without_any_kernel_spec(tmp_path: Path) -> None:
    nothing = KernelSpecManager(kernel_dirs=[str(tmp_path)], ensure_native_kernel=False)

    [found] = kernel_specs(manager=nothing)

    assert found.said == "This machine has no kernel spec at all."
    assert "pip install ipykernel" in found.mend


def test_a_kernel_spec_that_is_not_there_is_told_with_those_that_are() -> None:
    [found] = kernel_specs("julia-1.11")

    assert found.state == "problem"
    assert found.said.startswith("There is no kernel spec 'julia-1.11'. There are: ")
    assert "python3" in found.said


def test_a_kernel_spec_whose_program_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    spec = {"argv": ["/gone/bin/python", "-f", "{connection_file}"], "display_name": "Gone", "language": "python"}
    (tmp_path / "gone" / "kernel.json").write_text(json.dumps(spec))

    [found] = kernel_specs(manager=KernelSpecManager(kernel_dirs=[str(tmp_path)]))

    assert found.said.startswith("The kernel spec 'gone' starts /gone/bin/python, and there is no such program")
    assert found.mend == "jupyter kernelspec remove gone, then install that kernel again."


async def test_a_kernel_is_started_and_ended() -> None:
    found = await kernel()

    assert found.state == "ok"
    assert found.said.startswith("python3 started and answered in ")


async def test_a_read_only_folder(closed_folder: Path) -> None:
    found = await folder(closed_folder / "analysis.ipynb")

    assert found.state == "problem"
    assert found.said.startswith(f"The folder {closed_folder} cannot be written to (")


@pytest.mark.parametrize(
    ("content", "cause"),
    [("{", "it is not JSON"), ("[1]", "it is JSON, but not a notebook"), (None, "There is no folder")],
)
async def test_a_notebook_that_cannot_be_opened(content: str | None, cause: str, tmp_path: Path) -> None:
    path = tmp_path / ("nowhere/a.ipynb" if content is None else "a.ipynb")
    if content is not None:
        path.write_text(content)

    found = await folder(path)

    assert found.state == "problem"
    assert cause in found.said


async def test_a_notebook_that_is_being_written_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "_HALF_WRITTEN", 60.0)
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"")
    looked = asyncio.Event()
    read = LocalFile.read

    async def noticed(file: LocalFile) -> tuple[bytes | None, tuple[int, ...] | None]:
        found = await read(file)
        looked.set()
        return found

    monkeypatch.setattr(LocalFile, "read", noticed)
    async with asyncio.timeout(60):
        finding = asyncio.create_task(folder(path))
        await looked.wait()
        path.write_text(nbformat.writes(nbformat.v4.new_notebook()), encoding="utf-8")
        found = await finding

    assert found == fine("Notebook", f"{path} can be read and written.")


async def test_a_live_server_has_no_problem(lab: LabServer) -> None:
    findings = await examined(lab.settings, notebook="new.ipynb")

    assert wrong(findings) == []
    assert [found.subject for found in findings] == [
        "Server",
        "Collaboration",
        "Kernel specs",
        "WebSockets",
        "Notebook",
    ]
    assert "jupyter-collaboration 5." in findings[1].said


async def test_a_wrong_token(lab: LabServer) -> None:
    [found] = await examined(replace(lab.settings, token=SecretStr("wrong")))

    assert found.subject == "Token"
    assert "The token was refused" in found.said
    assert "JUPYTER_TOKEN" in found.mend


async def test_a_server_that_is_down() -> None:
    [found] = await examined(ServerSettings(url=f"http://127.0.0.1:{free_port()}"))

    assert found.subject == "Server"
    assert found.said.startswith("No Jupyter server answers at http://127.0.0.1:")


async def test_a_hub_that_is_down() -> None:
    [found] = await examined(ServerSettings(url=f"http://127.0.0.1:{free_port()}/user/ada"))

    assert found.mend.startswith("Not even the hub answers: start it (http://127.0.0.1:")


async def test_a_server_without_collaboration(bare: tuple[Child, Path]) -> None:
    findings = await examined(bare[0].settings, notebook="new.ipynb")

    [(subject, said)] = wrong(findings)
    assert subject == "Collaboration"
    assert said.startswith("The server has no real-time collaboration")


async def test_a_kernel_spec_that_the_server_has_not(bare: tuple[Child, Path]) -> None:
    findings = await examined(bare[0].settings, kernel="julia-1.11")

    assert ("Kernel specs", "The server has no kernel spec 'julia-1.11'.") in [
        (subject, said.partition(" It has: ")[0]) for subject, said in wrong(findings)
    ]


async def test_a_folder_that_the_server_has_not(bare: tuple[Child, Path]) -> None:
    findings = await examined(bare[0].settings, notebook="nowhere/a.ipynb")

    assert ("Notebook", "The server has no folder for 'nowhere/a.ipynb'.") in wrong(findings)


async def test_an_old_collaboration_on_a_server(tmp_path: Path) -> None:
    old = tmp_path / "labextensions" / "@jupyter" / "collaboration-extension"
    old.mkdir(parents=True)
    (old / "package.json").write_text('{"name": "@jupyter/collaboration-extension", "version": "4.4.2"}')
    extensions = {"jupyter_server_ydoc": True, "jupyter_server_fileid": True, "jupyterlab": True}
    server = jupyter_server(tmp_path, f"--LabApp.extra_labextensions_path={old.parents[1]}")
    server.command = [part.replace("{'jupyter_server_ydoc': False}", str(extensions)) for part in server.command]

    async with server:
        findings = await examined(server.settings)

    [(subject, said)] = wrong(findings)
    assert subject == "Collaboration"
    assert said == "Its jupyter-collaboration is older than 5 (JupyterLab's part of it is 4.4.2)."


@pytest.mark.servers
async def test_a_server_behind_a_hub_that_is_not_started(hub: Hub) -> None:
    settings = await hub.settings("dora")

    [found] = await examined(settings)
    [refused] = await examined(replace(settings, token=SecretStr("wrong")))

    assert found.said == "The hub answers, but the server of dora is not running."
    assert f"Start it at {hub.url}/hub/spawn/dora" in found.mend
    assert refused.subject == "Token"
    assert f"{hub.url}/hub/token" in refused.mend
    assert not (await hub.request("GET", "/users/dora"))["server"]  # looking has not started it


async def test_mcp_servers(tmp_path: Path) -> None:
    with served(tmp_path / "a.ipynb") as server:
        lets_in = await mcp_server(f"{server.url}/mcp", server.token)
        refuses = await mcp_server(server.url, "wrong")
    gone = await mcp_server(server.url, server.token)

    assert lets_in.state == "ok"
    assert "does not accept the token (401)" in refuses.said
    assert "No MCP server answers" in gone.said


def test_the_command_tells_what_to_do_and_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    port = free_port()

    done = CliRunner().invoke(app, ["doctor", "--server-url", f"http://127.0.0.1:{port}", "--model", "nobody:none"])

    assert done.exit_code == 1
    assert f"problem  Server    No Jupyter server answers at http://127.0.0.1:{port}" in done.output
    assert "→ Start it, or mend the address" in done.output
    assert "problem  Model     The model 'nobody:none' cannot be made" in done.output


def test_the_command_finds_nothing_wrong_with_this_environment(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", "--json", "--notebook", str(tmp_path / "a.ipynb")])

    assert done.exit_code == 0, done.output
    assert [found["subject"] for found in json.loads(done.output)][-1] == "Notebook"
