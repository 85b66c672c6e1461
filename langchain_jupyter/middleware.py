"""What our agent does around LangChain's: the notebook in view, images where they can be, approvals asked once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage

from langchain_jupyter.approvals import asked_about
from langchain_jupyter.errors import MissingExtra
from langchain_jupyter.guards import guards_of
from langchain_jupyter.human import APPROVED, Approve
from langchain_jupyter.models import Cell, NotebookInfo
from langchain_jupyter.redaction import CURRENT
from langchain_jupyter.rendering.cells import States, state_of
from langchain_jupyter.rendering.fences import one_line
from langchain_jupyter.sessions.positions import first_line
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.toolkit import JupyterToolkit
from langchain_jupyter.tools.call import thread_of

try:
    from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse, ToolCallRequest
    from langgraph.config import get_config
    from langgraph.types import Command
except ImportError as error:
    raise MissingExtra("agents", "JupyterMiddleware") from error

_CELLS = 11


class JupyterMiddleware(AgentMiddleware):
    """Shows the model the notebook as it is now, at each call, without storing it in the thread.

    It also carries images of tool results in a message of the user where the model's API takes none in tool messages
    (OpenAI's Chat Completions).

    Args:
        toolkit: Whose notebook.
        approve: Which calls a HumanInTheLoopMiddleware before this one asks a person about, so that a cell tagged
            `agent:ask` among them is not asked about twice.
    """

    def __init__(self, toolkit: JupyterToolkit, *, approve: Approve = "none") -> None:
        super().__init__()
        self._toolkit = toolkit
        self._approve = approve

    def wrap_model_call(self, request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]) -> ModelResponse:
        """Add the state of the notebook to what the model sees."""
        state = self._toolkit.bridge.run(self._shown)
        return handler(_with_state(request, state))

    async def awrap_model_call(
        self, request: ModelRequest, handler: Callable[[ModelRequest], Awaitable[ModelResponse]]
    ) -> ModelResponse:
        """Add the state of the notebook to what the model sees."""
        state = await self._toolkit.bridge.arun(self._shown)
        return await handler(_with_state(request, state))

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Tell the tool whether a person has approved this call already."""
        with _approval(asked_about(request, self._approve)):
            return handler(request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Tell the tool whether a person has approved this call already."""
        with _approval(asked_about(request, self._approve)):
            return await handler(request)

    async def _shown(self) -> str:
        """The state without secrets."""
        token = CURRENT.set(self._toolkit.redactor)
        try:
            return self._toolkit.redactor.redact(await self._state())
        finally:
            CURRENT.reset(token)

    async def _state(self) -> str:
        if self._toolkit.workspace.directory is not None:
            return _describe_many(self._toolkit.workspace.opened)
        session = await self._toolkit.session(thread=thread_of(SimpleNamespace(config=get_config())))
        document = session.document
        last = document.ids[-_CELLS:]
        rows = [(document.cell(cell_id), document.handle(cell_id)) for cell_id in last]
        return _describe(session.info, rows, session.standings, earlier=len(document) - len(last))


@contextmanager
def _approval(given: bool) -> Iterator[None]:
    token = APPROVED.set(given)
    try:
        yield
    finally:
        APPROVED.reset(token)


def _describe(info: NotebookInfo, rows: Sequence[tuple[Cell, str]], states: States, *, earlier: int) -> str:
    """The notebook in at most 15 lines."""
    lines = ["<notebook>", f"{one_line(info.path)} · kernel {one_line(info.kernel.label, 80)}"]
    if earlier:
        lines.append(f"({earlier} cells before these)")
    for cell, handle in rows:
        state = f" {state_of(cell, states)}" if cell.cell_type == "code" else ""
        guards = "".join(f" {guard}" for guard in guards_of(cell.metadata))
        said = first_line(cell.source, 60)
        lines.append(f"{handle} {cell.cell_type}{state}{guards}{f' · {said}' if said else ''}")
    return "\n".join([*lines, "</notebook>"])


def _describe_many(opened: Mapping[str, NotebookSession]) -> str:
    """The notebooks that are open, in at most 15 lines."""
    lines = []
    for path, session in opened.items():
        kernel = session.kernel.info
        cells = len(session.document)
        counted = f"{cells} {'cell' if cells == 1 else 'cells'}"
        lines.append(f"{one_line(path)} · kernel {one_line(kernel.label, 80)} · {counted}")
    more = [f"({len(lines) - _CELLS} more)"] if len(lines) > _CELLS else []
    return "\n".join(["<notebooks>", *(lines[:_CELLS] or ["none is open"]), *more, "</notebooks>"])


def _with_state(request: ModelRequest, state: str) -> ModelRequest:
    messages = request.messages
    if not _takes_images_in_tool_messages(request.model):
        messages = _images_to_user(messages)
    return request.override(messages=[*messages, HumanMessage(state, name="notebook_state")])


def _takes_images_in_tool_messages(model: BaseChatModel) -> bool:
    """OpenAI's Chat Completions API does not, though its profile says so (openai-openapi#523, langchain#31950)."""
    chat_completions = "ChatOpenAI" in {cls.__name__ for cls in type(model).__mro__}
    return not chat_completions or bool(getattr(model, "use_responses_api", False))


def _images_to_user(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Tool messages without their images, which follow the last tool message of the turn as a user's."""
    moved: list[AnyMessage] = []
    images: list[Any] = []
    for message in messages:
        if images and not isinstance(message, ToolMessage):
            moved.append(HumanMessage(content=images, name="notebook_images"))
            images = []
        if isinstance(message, ToolMessage) and isinstance(message.content, list):
            pictures = [block for block in message.content if isinstance(block, dict) and block["type"] == "image"]
            rest = [block for block in message.content if block not in pictures]
            images += pictures
            moved.append(message.model_copy(update={"content": rest}))
        else:
            moved.append(message)
    return [*moved, HumanMessage(content=images, name="notebook_images")] if images else moved
