"""A user's server behind a real JupyterHub."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.errors import ServerError
from langchain_jupyter.kernels.remote import RemoteKernel
from langchain_jupyter.servers.hub import awake, hub_server
from langchain_jupyter.servers.server import JupyterServer
from langchain_jupyter.settings import ServerSettings
from tests import notebooks
from tests.hub import SLOW, Hub

pytestmark = pytest.mark.servers


async def six_times_seven(settings: ServerSettings) -> str:
    """What a kernel of that server says, in a cell of a notebook."""
    server = JupyterServer(settings)
    kernel = RemoteKernel(server, path="analysis.ipynb")
    try:
        async with asyncio.timeout(60):
            await kernel.start()
            found = [m async for m in kernel.execute("6 * 7") if m.msg_type == "execute_result"]
            await kernel.close()
    finally:
        await server.close()
    return str(found[0].content["data"]["text/plain"])


async def test_a_stopped_server_is_started(hub: Hub) -> None:
    assert await six_times_seven(await hub.settings("ada")) == "42"


async def test_a_named_server_that_is_still_starting_is_waited_for(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    settings = await hub.settings("ben", SLOW, scopes=["servers", "read:servers"])
    await hub.request("POST", f"/users/ben/servers/{SLOW}")
    caplog.set_level(logging.INFO, "langchain_jupyter.servers.hub")

    started = time.monotonic()
    assert await six_times_seven(settings) == "42"

    assert time.monotonic() - started > 2
    assert "the server starts, " in caplog.text
    assert "runs" in caplog.messages[-1]


async def test_a_token_that_may_not_start_it_says_where_a_person_can(hub: Hub) -> None:
    settings = await hub.settings("cleo", scopes=[])

    with pytest.raises(ServerError, match=r"may not start it. Start it at .*/base/hub/spawn/cleo"):
        await six_times_seven(settings)


async def test_a_token_that_may_only_use_a_server_uses_one_that_runs(hub: Hub) -> None:
    server = JupyterServer(await hub.settings("ada"))
    await awake(server)
    await server.close()

    assert await six_times_seven(await hub.settings("ada", scopes=[])) == "42"


async def test_a_server_stopped_by_the_hub_is_started_for_the_next_run(hub: Hub) -> None:
    settings = await hub.settings("ada")
    server = JupyterServer(settings)
    kernel = RemoteKernel(server, path="analysis.ipynb")
    await kernel.start()
    first = kernel.kernel_id

    await hub.stop("ada")
    async with asyncio.timeout(60):
        await kernel.start()
        found = [m async for m in kernel.execute("6 * 7") if m.msg_type == "execute_result"]
    second = kernel.kernel_id
    await kernel.close()
    await server.close()

    assert found[0].content["data"]["text/plain"] == "42"
    assert second != first


async def test_a_toolkit_works_in_a_live_notebook_behind_a_hub(hub: Hub) -> None:
    settings = await hub.settings("ada")
    token = settings.token.get_secret_value()
    async with asyncio.timeout(90), JupyterToolkit("live.ipynb", server_url=settings.url, token=token) as toolkit:
        tools = {tool.name: tool for tool in toolkit.get_tools()}
        found = await tools["append_execute_code_cell"].ainvoke({"source": "6 * 7"})

    assert "\n42\n" in found[0]["text"]
    [cell] = notebooks.read(hub.root / "ada" / "live.ipynb").cells
    assert cell.outputs[0]["data"]["text/plain"] == "42"


@pytest.mark.parametrize(
    ("url", "hub", "user", "name"),
    [
        ("https://h.org/user/ada", "https://h.org/hub", "ada", ""),
        ("https://h.org/base/user/a%40b/gpu", "https://h.org/base/hub", "a%40b", "gpu"),
    ],
)
def test_a_server_behind_a_hub_is_known_by_its_url(url: str, hub: str, user: str, name: str) -> None:
    found = hub_server(url)

    assert found is not None
    assert (found.hub, found.user, found.name) == (hub, user, name)


def test_other_servers_are_behind_no_hub() -> None:
    assert hub_server("http://localhost:8888") is None
    assert hub_server("https://h.org/services/user") is None
