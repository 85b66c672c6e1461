"""Fixtures that several test modules share."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.tools.base import JupyterTool
from langchain_jupyter.tools.call import Call
from tests import gateways, planted, search
from tests.faulttable import table
from tests.hub import Hub
from tests.servers import Child, jupyter_server
from tests.serving import Served, served

LEAKS = planted.Leaks()

search.register()


def pytest_configure() -> None:
    """Plant a secret, before anything is started."""
    os.environ[planted.VARIABLE] = planted.secret("environment")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A search takes its time, and is a failure only where it hangs."""
    if search.searching():
        for item in items:
            item.add_marker(pytest.mark.timeout(search.PATIENCE), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A search ends with its time."""
    test = getattr(item, "obj", None)
    with search.bounded(test) if search.searching() and hasattr(test, "hypothesis") else nullcontext():
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def planted_secrets() -> Iterator[None]:
    """Tokens of servers are planted, and all answers, events and log records are looked into."""
    given, answered, told = LabServer.__init__, JupyterTool._answered, Call._tell

    def give(self: LabServer, *args: Any, **options: Any) -> None:
        given(self, *args, **options)
        self._token = f"{planted.MARK}-{self._token}"

    async def answer(self: JupyterTool, *args: Any) -> tuple[Any, Any]:
        content, artifact = await answered(self, *args)
        LEAKS.check(f"an answer of {self.name}", (content, artifact))
        return content, artifact

    def tell(self: Call, event: dict[str, Any]) -> None:
        LEAKS.check("an event", event)
        told(self, event)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LabServer, "__init__", give)
        patch.setattr(JupyterTool, "_answered", answer)
        patch.setattr(Call, "_tell", tell)
        logging.getLogger().addHandler(LEAKS)
        yield
        logging.getLogger().removeHandler(LEAKS)


@pytest.fixture(autouse=True)
def no_planted_secret_gets_out(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test fails if something that it has made told a planted secret, or wrote one into its folder."""
    LEAKS.found.clear()
    yield
    folder = request.node.funcargs.get("tmp_path") if hasattr(request.node, "funcargs") else None
    written = [] if folder is None else [str(path) for path in planted.leaking_files(folder)]
    assert not [*LEAKS.found, *written]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The run fails if a notebook, journal, checkpoint, log or page that it has written holds a planted secret."""
    if hasattr(session.config, "workerinput"):  # pytest-xdist: its main process looks into the folders of all workers
        return
    factory = getattr(session.config, "_tmp_path_factory", None)
    leaking = list(planted.leaking_files(factory.getbasetemp())) if factory is not None else []
    for path in leaking:
        print(f"\na planted secret stands in {path}")
    if leaking:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def jupyter_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Settings of JupyterLab that are not those of whoever runs the tests."""
    home = tmp_path_factory.mktemp("jupyter-home")
    notifications = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    notifications.parent.mkdir(parents=True)
    notifications.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("JUPYTER_CONFIG_DIR", str(home))
        environment.setenv("JUPYTERLAB_SETTINGS_DIR", str(home / "settings"))
        environment.setenv("JUPYTERLAB_WORKSPACES_DIR", str(home / "workspaces"))
        yield home


@pytest.fixture(scope="session")
def lab(jupyter_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A JupyterLab with collaboration that the whole test run shares; its folder is `lab.root`.

    A test that kills, stops or starves its server starts one of its own.
    """
    lab = LabServer(tmp_path_factory.mktemp("lab"))
    asyncio.run(lab.start())
    yield lab
    asyncio.run(lab.close())


@pytest.fixture(scope="session")
def mcp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An MCP server over HTTP, with sessions and a token, on one notebook, that the whole test run shares.

    A test that ends its server, or gives it options, starts one of its own.
    """
    with served(tmp_path_factory.mktemp("mcp") / "notebook.ipynb") as process:
        yield process


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A JupyterHub that the whole test run shares; each test has a user of its own."""
    hub = Hub(tmp_path_factory.mktemp("hub"))
    asyncio.run(hub.child.start())
    yield hub
    asyncio.run(hub.child.close())


@pytest.fixture(scope="session")
def kernel_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """A Kernel Gateway that the whole test run shares."""
    gateway = gateways.kernel_gateway(tmp_path_factory.mktemp("kernel-gateway"))
    asyncio.run(gateway.start())
    yield gateway
    asyncio.run(gateway.close())


@pytest.fixture(scope="session")
def enterprise_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    """An Enterprise Gateway that the whole test run shares, with kernels on this machine."""
    gateway = gateways.enterprise_gateway(tmp_path_factory.mktemp("enterprise-gateway"))
    asyncio.run(gateway.start())
    yield gateway
    asyncio.run(gateway.close())


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Child, Path]]:
    """A Jupyter server without collaboration that the whole test run shares, and its folder."""
    root = tmp_path_factory.mktemp("bare")
    server = jupyter_server(root)
    asyncio.run(server.start())
    yield server, root
    asyncio.run(server.close())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The faults that were injected, with what was told of each and when."""
    entries = [tuple(told) for told in _properties(terminalreporter, "passed", "told")]
    failed = [tuple(begun) for begun in _properties(terminalreporter, "failed", "begun")]
    if entries or failed:
        terminalreporter.section("faults")
        for line in table(entries, failed):
            terminalreporter.line(line)


def _properties(terminalreporter: pytest.TerminalReporter, outcome: str, wanted: str) -> list[Any]:
    reports = terminalreporter.getreports(outcome)
    return [value for report in reports for name, value in report.user_properties if name == wanted]
