"""Tool calls on their way: who calls, what is told while a cell runs, and taking a call back."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from langchain_jupyter.mcp import TOOL_CALL_ID
from langchain_jupyter.mcp.sdk import Request

_KEEP_ALIVE = 10.0
_INTERVAL = 0.1
_TEXT = 2_000


class CallRuntime:
    """What a tool sees of its call, in the place of LangGraph's ToolRuntime.

    The caller's memory is that of its MCP session, or, where there is none, of its token and client name. The key of
    exactly-once is never the JSON-RPC id: clients count from 1 in each session, and plain ones always say 1. It is the
    id that the client gives to the tool call (`_meta`, or the header `Idempotency-Key`), if it gives one.

    Attributes:
        tool_call_id: The client's, or one that comes once.
        withdrawn: The client has taken the call back: what it runs is interrupted.
    """

    def __init__(self, request: Request, progress: Progress) -> None:
        meta = request.params.get("_meta") or {}
        named = str(meta.get(TOOL_CALL_ID) or request.headers.get("idempotency-key") or "")
        self.tool_call_id = f"named:{named}" if named else uuid.uuid4().hex
        self.withdrawn = False
        family = f"{request.subject}|{request.client}"
        self.config: Mapping[str, Any] = {"configurable": {"thread_id": family, "caller_session": request.session}}
        self.state: Mapping[str, Any] = {}
        self.store = None
        self.context = None
        self._progress = progress

    def stream_writer(self, event: Mapping[str, Any]) -> None:
        """Take what a run has printed; on the toolkit's thread."""
        self._progress.put(_text_of(event))


class Progress:
    """Tells a client what a cell prints, while it runs, and that it still runs if it prints nothing.

    Args:
        request: Whose client it is; nothing is sent if it did not ask.
    """

    def __init__(self, request: Request) -> None:
        self._report = request.report
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._text = ""
        self._count = 0
        self._started = self._loop.time()

    def put(self, text: str) -> None:
        """Take a text, on any thread."""
        if self._report is not None:
            self._loop.call_soon_threadsafe(self._take, text)

    async def __aenter__(self) -> Progress:
        self._task = asyncio.create_task(self._pump()) if self._report is not None else None
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._text and exc_info[0] is None:
            await self._send(self._text)

    def _take(self, text: str) -> None:
        self._text = (self._text + text)[-_TEXT:]
        self._news.set()

    async def _pump(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_KEEP_ALIVE):
                    await self._news.wait()
            except TimeoutError:
                await self._send(f"running for {self._loop.time() - self._started:.0f}s")
                continue
            self._news.clear()
            text, self._text = self._text, ""
            await self._send(text)
            await asyncio.sleep(_INTERVAL)

    async def _send(self, text: str) -> None:
        assert self._report is not None
        self._count += 1
        await self._report(self._count, text)


class RunningCalls:
    """The tool calls that have no answer yet, by MCP session and JSON-RPC id."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], CallRuntime] = {}
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def running(self, request: Request, runtime: CallRuntime) -> Iterator[None]:
        """Know the call while it runs. Without a session an id tells nobody apart, and cannot be taken back."""
        known = (request.session, request.id) if request.session or not request.headers else None
        if known is not None:
            self._calls[known] = runtime
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            if known is not None and self._calls.get(known) is runtime:
                del self._calls[known]
            self._count -= 1
            if not self._count:
                self._none.set()

    def withdraw(self, session: str, request_id: str) -> None:
        """The client takes a call back."""
        if (runtime := self._calls.get((session, request_id))) is not None:
            runtime.withdrawn = True

    async def finished(self) -> None:
        """Wait until there is none."""
        await self._none.wait()


def _text_of(event: Mapping[str, Any]) -> str:
    """What a run has printed, with its pictures by name."""
    text = str(event.get("text", ""))
    for output in event.get("outputs", ()):
        pictures = [kind for kind in output.get("mime_types", ()) if kind.startswith("image/")]
        text += f"[{pictures[0]}]" if pictures else str(output.get("text", ""))
    return text
