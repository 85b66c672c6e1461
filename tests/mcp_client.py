"""One MCP client, run in whichever environment has its library: does a round of everything and prints what it saw.

python mcp_client.py {sdk|sdk-legacy|adapters|langchain} TARGET, where the target is a URL or a JSON list of a command;
the token is in the variable TOKEN.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import warnings
import zlib
from contextlib import asynccontextmanager

warnings.simplefilter("ignore")

TOKEN = os.environ.get("TOKEN", "")
HEADERS = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


PIXEL = base64.b64encode(
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", b"\0\0\0\1\0\0\0\1\x08\2\0\0\0")
    + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    + chunk(b"IEND", b"")
).decode()
SHOW = f"import base64\nfrom IPython.display import Image\nImage(data=base64.b64decode('{PIXEL}'), format='png')"
SLOW = "import time\nfor step in range(3):\n    print('step', step, flush=True)\n    time.sleep(0.3)"


def told(value: object, name: str, camel: str) -> object:
    """An attribute of the SDK, whose majors spell it differently."""
    return getattr(value, name) if hasattr(value, name) else getattr(value, camel)


@asynccontextmanager
async def session(target: str, legacy: bool):
    """A connected client of the SDK, whatever its major."""
    import mcp

    if not hasattr(mcp, "Client"):
        from mcp.client.stdio import StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamablehttp_client

        if target.startswith("["):
            command, *arguments = json.loads(target)
            streams = stdio_client(StdioServerParameters(command=command, args=arguments, env=dict(os.environ)))
        else:
            streams = streamablehttp_client(target, headers=HEADERS)
        async with streams as (read, write, *_), mcp.ClientSession(read, write) as client:
            await client.initialize()
            yield client
        return
    import httpx2
    from mcp.client.stdio import StdioServerParameters
    from mcp.client.streamable_http import streamable_http_client

    mode = "legacy" if legacy else "auto"
    if target.startswith("["):
        command, *arguments = json.loads(target)
        where = StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
        async with mcp.Client(where, mode=mode) as client:
            yield client
        return
    timeout = httpx2.Timeout(30, read=300)
    async with (
        httpx2.AsyncClient(headers=HEADERS, timeout=timeout) as http,
        mcp.Client(streamable_http_client(target, http_client=http), mode=mode) as client,
    ):
        yield client


async def with_sdk(target: str, legacy: bool) -> dict[str, object]:
    steps: list[str] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        steps.append(message or "")

    async with session(target, legacy) as client:
        tools = (await client.list_tools()).tools
        image = await client.call_tool("append_execute_code_cell", {"source": SHOW})
        error = await client.call_tool("read_cell", {"cell": "nope"})
        raised = await client.call_tool("append_execute_code_cell", {"source": "1/0"})
        slow = await client.call_tool("append_execute_code_cell", {"source": SLOW}, progress_callback=progress)
        prompts = (await client.list_prompts()).prompts
        prompt = await client.get_prompt("data_analysis", {"request": "Why did sales drop?"})
        resources = (await client.list_resources()).resources
        templates = told(await client.list_resource_templates(), "resource_templates", "resourceTemplates")
        resource = await client.read_resource(resources[0].uri)
    by_name = {tool.name: tool for tool in tools}
    reading = by_name["read_cell"].annotations
    return {
        "tools": sorted(by_name),
        "reads": told(reading, "read_only_hint", "readOnlyHint"),
        "output_schemas": [tool.name for tool in tools if told(tool, "output_schema", "outputSchema")],
        "image": [told(block, "mime_type", "mimeType") for block in image.content if block.type == "image"],
        "error": [told(error, "is_error", "isError"), error.content[0].text.partition(" ")[0]],
        "raised": [told(raised, "is_error", "isError"), raised.content[0].text.partition("\n")[0]],
        "slow": slow.content[0].text,
        "progress": "".join(steps),
        "prompts": [each.name for each in prompts],
        "prompt": prompt.messages[0].content.text,
        "templates": len(templates),
        "resource": resource.contents[0].text,
    }


async def with_langchain_tools(by_name: dict[str, object]) -> dict[str, object]:
    async def call(name: str, **arguments: object):
        return await by_name[name].ainvoke({"type": "tool_call", "id": "call_1", "name": name, "args": arguments})

    image = await call("append_execute_code_cell", source=SHOW)
    error = await call("read_cell", cell="nope")
    raised = await call("append_execute_code_cell", source="1/0")
    slow = await call("append_execute_code_cell", source=SLOW)
    return {
        "tools": sorted(by_name),
        "image": [block["mime_type"] for block in image.content if block["type"] == "image"],
        "error": [error.status == "error", error.text.partition(" ")[0]],
        "raised": [raised.status == "error", raised.text.partition("\n")[0]],
        "slow": slow.text,
    }


async def with_adapters(target: str) -> dict[str, object]:
    from langchain_mcp_adapters.client import MultiServerMCPClient
    from langchain_mcp_adapters.prompts import load_mcp_prompt
    from langchain_mcp_adapters.resources import load_mcp_resources

    if target.startswith("["):
        command, *arguments = json.loads(target)
        connection = {"transport": "stdio", "command": command, "args": arguments, "env": dict(os.environ)}
    else:
        connection = {"transport": "streamable_http", "url": target, "headers": HEADERS}
    client = MultiServerMCPClient({"jupyter": connection})
    if target.startswith("["):  # a process for each call would be a kernel for each call
        from langchain_mcp_adapters.tools import load_mcp_tools

        async with client.session("jupyter") as held:
            seen = await with_langchain_tools({tool.name: tool for tool in await load_mcp_tools(held)})
            prompt = await load_mcp_prompt(held, "data_analysis", arguments={"request": "Why did sales drop?"})
            resource = await load_mcp_resources(held)
    else:
        seen = await with_langchain_tools({tool.name: tool for tool in await client.get_tools()})
        async with client.session("jupyter") as held:
            prompt = await load_mcp_prompt(held, "data_analysis", arguments={"request": "Why did sales drop?"})
            resource = await load_mcp_resources(held)
    return {**seen, "prompt": prompt[0].text, "resource": resource[0].as_string()}


async def with_langchain(target: str) -> dict[str, object]:
    from fastmcp import Client
    from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
    from langchain.mcp import MCPAdapter

    if target.startswith("["):
        command, *arguments = json.loads(target)
        transport = StdioTransport(command=command, args=arguments, env=dict(os.environ))
    else:
        transport = StreamableHttpTransport(target, headers=HEADERS)
    async with MCPAdapter(Client(transport)) as adapter:
        seen = await with_langchain_tools({tool.name: tool for tool in await adapter.list_tools()})
        prompt = await adapter.client.get_prompt("data_analysis", {"request": "Why did sales drop?"})
        resources = await adapter.client.list_resources()
        resource = await adapter.client.read_resource(str(resources[0].uri))
        contents = getattr(resource, "contents", resource)
    return {**seen, "prompt": prompt.messages[0].content.text, "resource": contents[0].text}


async def main() -> None:
    kind, target = sys.argv[1:]
    async with asyncio.timeout(120):
        if kind.startswith("sdk"):
            seen = await with_sdk(target, legacy=kind == "sdk-legacy")
        else:
            seen = await {"adapters": with_adapters, "langchain": with_langchain}[kind](target)
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main())
