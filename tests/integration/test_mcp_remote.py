"""The tools of a server elsewhere, as LangChain tools."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage

from langchain_jupyter import JupyterToolkit
from langchain_jupyter.errors import ServerError, ServerRefused, ServerUnreachable, UsageError
from langchain_jupyter.mcp.remote import McpToolkit
from langchain_jupyter.testing import ScriptedModel, calls, tool_call
from tests.mcp_client import SHOW, SLOW
from tests.servers import free_port
from tests.serving import TOKEN, Served, balancer, served


@pytest.fixture
async def toolkit(mcp_server: Served) -> AsyncIterator[McpToolkit]:
    async with await JupyterToolkit.from_mcp(f"{mcp_server.url}/mcp", token=TOKEN) as toolkit:
        yield toolkit


def called(toolkit: McpToolkit, name: str, **arguments: Any) -> ToolMessage:
    tool = next(tool for tool in toolkit.get_tools() if tool.name == name)
    message: ToolMessage = tool.invoke(tool_call(name, **arguments))
    return message


async def test_images_errors_and_artifacts_arrive_sync_and_async(toolkit: McpToolkit) -> None:
    tools = {tool.name: tool for tool in toolkit.get_tools()}
    image = await tools["append_execute_code_cell"].ainvoke(tool_call("append_execute_code_cell", source=SHOW))
    error = called(toolkit, "read_cell", cell="nope")
    raised = called(toolkit, "append_execute_code_cell", source="1/0")

    assert [block["mime_type"] for block in image.content if block["type"] == "image"] == ["image/png"]
    assert (error.status, error.text.partition(" ")[0]) == ("error", "[cell_not_found]")
    assert (raised.status, raised.artifact["structured_content"]["status"]) == ("success", "error")


async def test_all_calls_go_over_one_session(mcp_server: Served) -> None:
    async with (
        balancer(mcp_server) as between,
        await JupyterToolkit.from_mcp(f"{between.url}/mcp", token=TOKEN) as toolkit,
    ):
        for _ in range(3):
            await asyncio.to_thread(called, toolkit, "get_notebook_info")

    assert between.asked.count(b'"tools/call"') == 3
    assert between.asked.count(b'"initialize"') == 1


async def test_a_graph_names_its_calls_and_hears_what_cells_print(toolkit: McpToolkit) -> None:
    turn = calls(tool_call("append_execute_code_cell", "call_of_the_graph", source=SLOW))
    heard = []
    answers = []
    for _ in range(2):
        agent = create_agent(ScriptedModel([turn]), toolkit.get_tools())
        async for mode, event in agent.astream({"messages": [("user", "go")]}, stream_mode=["custom", "values"]):
            if mode == "custom":
                heard.append(event["text"])
            else:
                answers = [message for message in event["messages"] if isinstance(message, ToolMessage)]

    assert "step 0" in "".join(heard)
    listing = called(toolkit, "read_all_cells", find="range(3)").text
    assert listing.count("import time") == 1
    assert "step 2" in answers[0].text


async def test_prompts_are_those_of_the_server(toolkit: McpToolkit) -> None:
    text = toolkit.get_prompt("data_analysis").invoke({"messages": [("user", "Hello")]}).messages[0].text

    assert "notebook.ipynb" in text
    with pytest.raises(UsageError, match=r"no prompt 'nope'\. Prompts: system, code_review"):
        toolkit.get_prompt("nope")


async def test_a_server_that_is_started_anew_is_found_again(tmp_path: Path) -> None:
    notebook = tmp_path / "a.ipynb"
    port = free_port()
    with served(notebook, "--port", str(port)) as first:
        toolkit = await JupyterToolkit.from_mcp(f"{first.url}/mcp", token=TOKEN)
        called(toolkit, "append_markdown_cell", source="before")
    with pytest.raises(ServerUnreachable):
        called(toolkit, "get_notebook_info")
    with served(notebook, "--port", str(port)) as second:
        assert second.url == first.url
        listing = called(toolkit, "read_all_cells").text
        await toolkit.aclose()

    assert "before" in listing


async def test_who_cannot_be_reached_is_said(mcp_server: Served) -> None:
    with pytest.raises(ServerRefused, match="does not accept the token: 401"):
        await JupyterToolkit.from_mcp(f"{mcp_server.url}/mcp", token="wrong")
    with pytest.raises(ServerUnreachable, match="Nobody answers at http"):
        await JupyterToolkit.from_mcp("http://127.0.0.1:9/mcp")
    with pytest.raises(ServerError, match="answered 404"):
        await JupyterToolkit.from_mcp(mcp_server.url, token=TOKEN)
