"""The tools of a server that runs elsewhere, as LangChain tools."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

import httpx
from langchain_core.messages import SystemMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.tools import BaseTool, BaseToolkit, StructuredTool
from pydantic import PrivateAttr

from langchain_jupyter.bridge import Closing, LoopBridge
from langchain_jupyter.errors import (
    ConnectionLost,
    MissingExtra,
    OutOfReach,
    ServerError,
    ServerRefused,
    ServerUnreachable,
    UsageError,
)
from langchain_jupyter.mcp import ARTIFACT, TOOL_CALL_ID
from langchain_jupyter.mcp.grammar import compiled_when_used
from langchain_jupyter.rendering.fences import one_line

try:
    with compiled_when_used():
        from langchain_mcp_adapters.client import MultiServerMCPClient
        from langchain_mcp_adapters.interceptors import MCPToolCallRequest
        from langchain_mcp_adapters.prompts import load_mcp_prompt
        from langchain_mcp_adapters.tools import load_mcp_tools
        from mcp.shared.exceptions import McpError
except ImportError as error:
    raise MissingExtra("mcp-adapters", "JupyterToolkit.from_mcp") from error

_NAME = "jupyter"
_SYSTEM = "system"
_HANG_UP = 10.0
_UNAUTHORIZED = (401, 403)
_SESSION_GONE = 32600  # what the SDK makes of a 404: the server has not looked at the call


class McpToolkit(Closing, BaseToolkit):
    """Tools of an MCP server, sync and async, over one session that is held open; `aclose()` or `async with` ends it.

    A session that was lost (the server was started anew) is replaced at the next call. Inside a graph the id of a tool
    call goes along, so that the same call again, after a resume, is not done twice; what a cell prints while it runs
    goes to the graph's custom stream.
    """

    _line: _Line = PrivateAttr()
    _tools: list[BaseTool] = PrivateAttr()
    _prompts: dict[str, str] = PrivateAttr()

    @classmethod
    async def connect(cls, url: str, token: str = "") -> Self:
        """Open a session and learn what the server has.

        Raises:
            ServerUnreachable: Nobody answers.
            ServerRefused: The token is not accepted.
            ServerError: It is no MCP server.
        """
        toolkit = cls()
        toolkit._line = _Line(url, token)
        try:
            tools, toolkit._prompts = await toolkit.bridge.arun(toolkit._line.learn)
        except BaseException:
            await toolkit.aclose()
            raise
        toolkit._tools = [_two_faced(tool, toolkit.bridge) for tool in tools]
        return toolkit

    def get_tools(self) -> list[BaseTool]:
        """The server's tools; the same objects at each call."""
        return list(self._tools)

    def get_prompt(self, task: str | None = None) -> ChatPromptTemplate:
        """The server's system prompt, with a task's if one is named, and a place for `messages`.

        Raises:
            UsageError: The server has no such prompt; names those that it has.
        """
        name = task or _SYSTEM
        if name not in self._prompts:
            raise UsageError(f"The server has no prompt {name!r}. Prompts: {', '.join(self._prompts) or 'none'}.")
        return ChatPromptTemplate.from_messages([SystemMessage(self._prompts[name]), MessagesPlaceholder("messages")])

    @property
    def bridge(self) -> LoopBridge:
        """Carries calls onto the loop where the session lives."""
        return self._line.bridge

    async def _end(self) -> None:
        """End the session; notebook and kernel stay with the server."""
        await self._line.hang_up()


class _Line:
    """One MCP session, kept by a task of its own: it has to be closed in the task that opened it."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._url = url
        self._client = MultiServerMCPClient({_NAME: {"transport": "streamable_http", "url": url, "headers": headers}})
        self._session: asyncio.Future[Any] | None = None
        self._holding: asyncio.Task[None] | None = None
        self._enough = asyncio.Event()
        self._ended: OutOfReach | None = None
        self.bridge = LoopBridge(at_exit=self.hang_up)

    async def learn(self) -> tuple[list[BaseTool], dict[str, str]]:
        """The server's tools, and the text of its prompts."""
        session = await self._open()
        try:
            tools = await load_mcp_tools(session, tool_interceptors=[self._call])
            names = [prompt.name for prompt in (await session.list_prompts()).prompts]
            prompts = {name: str((await load_mcp_prompt(session, name))[0].content) for name in names}
        except Exception as error:
            raise self._ours(error) from error
        return tools, prompts

    async def hang_up(self) -> None:
        """End the session."""
        holding, self._holding, self._session = self._holding, None, None
        if holding is not None:
            self._enough.set()
            await asyncio.wait({holding}, timeout=_HANG_UP)
            holding.cancel()

    async def _call(self, request: MCPToolCallRequest, handler: Callable[[MCPToolCallRequest], Awaitable[Any]]) -> Any:
        """Call a tool on the session that is open now, which need not be the one that the tool was loaded with."""
        meta = {TOOL_CALL_ID: call_id} if (call_id := getattr(request.runtime, "tool_call_id", None)) else None
        told = _teller(request.runtime)
        try:
            try:
                result = await self._asked(request.name, request.args, told, meta)
            except McpError as error:
                if error.error.code != _SESSION_GONE:
                    raise
                await self.hang_up()
                result = await self._asked(request.name, request.args, told, meta)
        except Exception as error:
            await self.hang_up()
            raise self._ours(error) from error
        if result.structuredContent is None and isinstance(artifact := (result.meta or {}).get(ARTIFACT), Mapping):
            result.structuredContent = dict(artifact)
        return result

    async def _asked(self, name: str, arguments: dict[str, Any], told: Any, meta: Any) -> Any:
        """The answer, or the end of the session: the SDK leaves a call waiting when its line breaks."""
        session = await self._open()
        holding = self._holding
        assert holding is not None
        asked = asyncio.ensure_future(session.call_tool(name, arguments, progress_callback=told, meta=meta))
        try:
            await asyncio.wait({asked, holding}, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                raise self._ended or ConnectionLost(f"The session with {self._url} was closed.")
            return asked.result()
        finally:
            asked.cancel()

    async def _open(self) -> Any:
        if self._holding is None or self._holding.done():
            self._enough, self._ended = asyncio.Event(), None
            self._session = asyncio.get_running_loop().create_future()
            self._holding = asyncio.create_task(self._hold(self._session, self._enough))
        assert self._session is not None
        return await asyncio.shield(self._session)

    async def _hold(self, session: asyncio.Future[Any], enough: asyncio.Event) -> None:
        try:
            async with self._client.session(_NAME) as opened:
                session.set_result(opened)
                await enough.wait()
        except Exception as error:  # noqa: BLE001 - what the SDK lets out, in groups too; whoever calls is told
            self._ended = self._ours(error)
            if not session.done():
                session.set_exception(self._ended)

    def _ours(self, error: BaseException) -> OutOfReach:
        """A failure of the line as one of ours, by class."""
        first = _first_of(error)
        if isinstance(first, OutOfReach):
            return first
        if isinstance(first, McpError) and first.error.code == _SESSION_GONE:
            return ServerError(f"{self._url} answered 404; the address ends in /mcp.", status=404)
        if isinstance(first, httpx.HTTPStatusError):
            status = first.response.status_code
            if status in _UNAUTHORIZED:
                return ServerRefused(f"{self._url} does not accept the token: {status}.", status=status)
            return ServerError(f"{self._url} answered {status}; the address ends in /mcp.", status=status)
        if isinstance(first, httpx.TransportError):
            return ServerUnreachable(f"Nobody answers at {self._url} ({type(first).__name__}). Does the server run?")
        return ConnectionLost(
            f"The session with {self._url} broke: {one_line(str(first))}. Whether a call was done is not known."
        )


def _two_faced(tool: BaseTool, bridge: LoopBridge) -> BaseTool:
    """A tool of the adapters, which is async only and belongs to the loop of its session, for everybody."""
    assert isinstance(tool, StructuredTool)
    inner = tool.coroutine
    assert inner is not None

    @functools.wraps(inner)
    async def acall(*args: Any, **arguments: Any) -> Any:
        return await bridge.arun(lambda: inner(*args, **arguments))

    @functools.wraps(inner)
    def call(*args: Any, **arguments: Any) -> Any:
        return bridge.run(lambda: inner(*args, **arguments))

    return tool.model_copy(update={"coroutine": acall, "func": call})


def _teller(runtime: Any) -> Callable[[float, float | None, str | None], Awaitable[None]] | None:
    """Passes progress on to the graph, if there is one."""
    write = getattr(runtime, "stream_writer", None)
    if write is None:
        return None
    call_id = getattr(runtime, "tool_call_id", None)
    graph = contextvars.copy_context()  # the session tells it from a context of its own, where there is no graph

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        graph.run(write, {"type": "jupyter_output", "tool_call_id": call_id, "text": message or ""})

    return tell


def _first_of(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
