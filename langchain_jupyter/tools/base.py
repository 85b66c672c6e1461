"""What all tools share: the two faces, exactly once, and errors by audience."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeAlias

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, InjectedToolArg, ToolException
from pydantic import BaseModel, PrivateAttr, ValidationError

from langchain_jupyter.bridge import LoopBridge
from langchain_jupyter.documents.journal import AUTHOR
from langchain_jupyter.errors import ChangedOnDisk, DocumentConflict, ToolError
from langchain_jupyter.human import Act, Human
from langchain_jupyter.redaction import CURRENT, Redactor
from langchain_jupyter.rendering.fences import one_line, reason
from langchain_jupyter.rendering.render import Rendered
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.sessions.sight import member_of
from langchain_jupyter.sessions.undo import Undo
from langchain_jupyter.settings import OutputLimits
from langchain_jupyter.tools.approval import Preview, approved, block
from langchain_jupyter.tools.arguments import explain, naming_notebook
from langchain_jupyter.tools.call import Call, configurable_of, thread_of
from langchain_jupyter.tools.order import Order
from langchain_jupyter.tools.results import preceded
from langchain_jupyter.workspace import Workspace

Effect: TypeAlias = Literal["read", "edit", "run", "kernel"]

_ANSWERED_ONCE: frozenset[Effect] = frozenset({"edit", "kernel"})
"""Their answers are kept for the same call, made again; of a run its session knows, and reading can be done again."""

_ACTS: Mapping[Effect, frozenset[Act]] = {
    "read": frozenset(),
    "edit": frozenset({"write"}),
    "run": frozenset({"run"}),
    "kernel": frozenset({"kernel"}),
}


_PENDING = 1_000


class ToolHost(Protocol):
    """What a tool needs of the toolkit that made it."""

    @property
    def bridge(self) -> LoopBridge:
        """Carries calls onto the loop where sessions live."""

    @property
    def limits(self) -> OutputLimits:
        """How much a model gets to see."""

    @property
    def redactor(self) -> Redactor:
        """What a model, a stream and a person who approves never see."""

    @property
    def human(self) -> Human:
        """The person behind the graph."""

    @property
    def undo(self) -> Undo:
        """The way back to earlier states of the notebooks."""

    @property
    def order(self) -> Order:
        """The calls of each turn."""

    @property
    def workspace(self) -> Workspace:
        """The notebooks that there are."""

    async def session(self, notebook: str = "", *, thread: str = "") -> NotebookSession:
        """The session to work on, opened at the first call.

        Args:
            notebook: Its path where there are many.
            thread: The LangGraph thread that asks; "" outside of a graph.
        """


class JupyterTool(BaseTool):
    """A verb over a notebook session, callable from sync and async code, on any loop and thread.

    Attributes:
        effect: What it does to the world.
        on_notebook: Whether it works on one notebook, which a call has to name where there are many.
    """

    effect: ClassVar[Effect]
    on_notebook: ClassVar[bool] = True
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    _host: ToolHost = PrivateAttr()

    def __init__(self, host: ToolHost, **kwargs: Any) -> None:
        if host.workspace.directory is not None and self.on_notebook:
            kwargs["args_schema"] = naming_notebook(type(self).model_fields["args_schema"].default)
        super().__init__(
            handle_tool_error=True,
            handle_validation_error=explain,
            tags=["jupyter", f"jupyter:{self.effect}"],
            metadata={"effect": self.effect},
            **kwargs,
        )
        self._host = host

    def acts(self, arguments: Mapping[str, Any]) -> frozenset[Act]:
        """What a call with these arguments would do; nothing if it only reads."""
        return _ACTS[self.effect]

    def touches(self, call: Call, arguments: Mapping[str, Any]) -> list[str]:
        """Ids of the cells that stand there already, and that a call would change or run."""
        return [call.resolve(arguments["cell"])] if "cell" in arguments else []

    def runs(self, call: Call, arguments: Mapping[str, Any]) -> list[str]:
        """Ids of the cells that stand there already, and that a call would run."""
        return self.touches(call, arguments) if "run" in self.acts(arguments) else []

    def preview(self, call: Call, arguments: Mapping[str, Any]) -> Preview:
        """What a person sees of a call before it is done.

        Raises:
            CellNotFound, CellAmbiguous, OrderChanged: There is nothing to do it to.
        """
        document = call.session.document
        cells = self.touches(call, arguments)
        lines = [f"{self.name} in {call.session.store.path}: {self.description}", self._place(call, arguments)]
        lines.append(self._shown(call, cells, arguments))
        return Preview("\n\n".join(line for line in lines if line), {cell: document.source(cell) for cell in cells})

    def _place(self, call: Call, arguments: Mapping[str, Any]) -> str:
        """Which cells a call is about, in a line."""
        named = [(name, arguments[name]) for name in ("cell", "before") if arguments.get(name)]
        found = [(name, call.resolve(text)) for name, text in named]
        document = call.session.document
        return "; ".join(f"{name} {document.handle(cell)} at {document.index(cell)}" for name, cell in found)

    def _shown(self, call: Call, cells: Sequence[str], arguments: Mapping[str, Any]) -> str:
        """The code of a call, or what it changes, as Markdown."""
        if (source := arguments.get("source", arguments.get("code"))) is not None:
            return block(source, call.language)
        return "\n".join(block(call.session.document.source(cell), call.language) for cell in cells)

    def parsed(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments as a model or a person gives them, checked and complete.

        Raises:
            ValidationError: They are not valid.
        """
        assert isinstance(self.args_schema, type)
        assert issubclass(self.args_schema, BaseModel)
        parsed = self.args_schema.model_validate(dict(arguments))
        return {name: getattr(parsed, name) for name in type(parsed).model_fields if name != "runtime"}

    def describe(self, tool_call: Mapping[str, Any], runtime: Any) -> str:
        """A call before it is done, for a person who has to approve it: the code, or the diff.

        Args:
            tool_call: As the model made it.
            runtime: Whatever has a `config`, such as LangGraph's ToolRuntime; None outside of a graph.
        """
        return self._host.bridge.run(lambda: self._described(tool_call, runtime))

    async def _described(self, tool_call: Mapping[str, Any], runtime: Any) -> str:
        self._host.redactor.look_again()
        token = CURRENT.set(self._host.redactor)
        try:
            return self._host.redactor.redact(await self._description(tool_call, runtime))
        finally:
            CURRENT.reset(token)

    async def _description(self, tool_call: Mapping[str, Any], runtime: Any) -> str:
        try:
            arguments = self.parsed(tool_call["args"])
            session = await self._host.session(arguments.get("notebook", ""), thread=thread_of(runtime))
            call = self._describe(session, runtime, tool_call["id"], arguments)
            preview = self.preview(call, arguments)
        except ValidationError as error:
            return f"{self.name} will refuse this call: {explain(error)}"
        except ToolError as error:
            return f"{self.name} will refuse this call: {error}"
        self._host.human.show(call.key, preview.sources)
        return preview.text

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        """Do it.

        Raises:
            ToolError: The model is told and can act upon it.
            OutOfReach: The agent's run stops.
        """
        raise NotImplementedError

    def _run(
        self,
        runtime: Annotated[Any, InjectedToolArg] = None,
        tool_call_id: str = "",
        run_manager: CallbackManagerForToolRun | None = None,
        **arguments: Any,
    ) -> Any:
        return self._host.bridge.run(lambda: self._answered(runtime, tool_call_id, arguments))

    async def _arun(
        self,
        runtime: Annotated[Any, InjectedToolArg] = None,
        tool_call_id: str = "",
        run_manager: AsyncCallbackManagerForToolRun | None = None,
        **arguments: Any,
    ) -> Any:
        return await self._host.bridge.arun(lambda: self._answered(runtime, tool_call_id, arguments))

    def _to_args_and_kwargs(
        self, tool_input: str | dict[str, Any], tool_call_id: str | None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Pass the id of the tool call on, which BaseTool keeps to itself unless plain invocation is given up."""
        if isinstance(tool_input, str):
            first = next((name for name in self.args_schema.model_fields if name != "runtime"), "")  # type: ignore[union-attr]
            tool_input = {first: tool_input} if first else {}
        _, arguments = super()._to_args_and_kwargs(tool_input, tool_call_id)
        return (), {**arguments, "tool_call_id": tool_call_id or ""}

    async def _answered(self, runtime: Any, tool_call_id: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
        """What is told of a call: without secrets, however it came about."""
        redactor = self._host.redactor
        redactor.look_again()
        token = CURRENT.set(redactor)
        state, names = getattr(runtime, "state", None), jupyter_tools(runtime)
        try:
            async with self._host.order.kept(thread_of(runtime), state, tool_call_id, names):
                content, artifact = await self._perform(runtime, tool_call_id, arguments)
        except ToolException as error:
            raise ToolException(redactor.redact(str(error))) from error.__cause__
        finally:
            CURRENT.reset(token)
        if isinstance(content, ToolMessage):
            return content.model_copy(update={"content": redactor.redacted(content.content)}), artifact
        return redactor.redacted(content), redactor.redacted(artifact)

    async def _perform(self, runtime: Any, tool_call_id: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
        try:
            session = await self._host.session(arguments.get("notebook", ""), thread=thread_of(runtime))
        except ToolError as error:
            return self._failed(error, tool_call_id)
        call = self._describe(session, runtime, tool_call_id, arguments)
        news = session.news(call.caller) or self._host.human.untold(call.key)
        try:
            await _refresh(session)
            rendered = await self._once(call, arguments)
            if self.effect == "run" and rendered.artifact.get("status") not in ("died", "lost"):
                news = news or session.news(call.caller)  # what it ran in took the place of a kernel that was gone
        except ToolError as error:
            return self._failed(error, tool_call_id, news)
        except asyncio.CancelledError:
            if getattr(runtime, "withdrawn", False):
                await _stop(session, call.key)
            raise
        except Exception:  # among them LangGraph's interrupt, after which the call comes again
            self._host.human.leave_untold(call.key, news)
            raise
        if news:
            rendered = preceded(f"[{news}]", rendered)
        return rendered.content, rendered.artifact

    async def _once(self, call: Call, arguments: dict[str, Any]) -> Rendered:
        """Do it, unless that call was done already."""
        if (known := self._known(call)) is not None:
            return known
        call, arguments, change = approved(self, self._host.human, call, arguments)
        if (known := self._known(call)) is not None:
            return known
        if self.effect != "read":
            self._host.undo.before_write(call.session, call.thread, call.checkpoint_id)
        given = {name: value for name, value in arguments.items() if name != "notebook"}
        author = AUTHOR.set(call.thread)
        try:
            rendered = await self._call(call, **given)
        finally:
            AUTHOR.reset(author)
        if self.effect != "read" and (pending := await call.session.store.settle()):
            rendered = preceded(f"[{one_line(pending, _PENDING)}]", rendered)
        if change:
            rendered = preceded(change, rendered)
        if self.effect in _ANSWERED_ONCE:
            call.session.results.put(call.key, rendered)
        return rendered

    def _known(self, call: Call) -> Rendered | None:
        """What that call has answered already; runs find their execution by themselves."""
        known: Rendered | None = call.session.results.get(call.key) if self.effect in _ANSWERED_ONCE else None
        return known

    def _failed(self, error: ToolError, tool_call_id: str, news: str = "") -> tuple[ToolMessage, None]:
        """A failure as the model is told it."""
        text = f"[{news}]\n{error}" if news else str(error)
        if not tool_call_id:
            raise ToolException(text) from error
        artifact = {"status": "failed", "code": error.code}
        return ToolMessage(text, tool_call_id=tool_call_id, name=self.name, status="error", artifact=artifact), None

    def _describe(
        self, session: NotebookSession, runtime: Any, tool_call_id: str, arguments: Mapping[str, Any]
    ) -> Call:
        caller, key = self.identify(runtime, tool_call_id, arguments)
        person = self._host.human.person(runtime, jupyter_tools(runtime))
        return Call(session, caller, key, self._host.limits, tool_call_id, runtime, person, self._host.redactor)

    def identify(self, runtime: Any, tool_call_id: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
        """Who calls, and the key of the call."""
        thread = thread_of(runtime) or "toolkit"
        caller = member_of(thread, str(configurable_of(runtime).get("caller_session") or ""))
        done = {name: value for name, value in arguments.items() if name != "timeout"}  # how long to wait is not done
        text = json.dumps([self.name, done], sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
        return caller, f"{thread}/{tool_call_id}/{digest}" if tool_call_id else ""


def jupyter_tools(runtime: Any) -> list[str]:
    """Names of the tools of ours that a graph has."""
    return [tool.name for tool in getattr(runtime, "tools", None) or () if isinstance(tool, JupyterTool)]


async def _stop(session: NotebookSession, key: str) -> None:
    """Interrupt what that tool call has started, if it still runs: its caller took the call back."""
    run = session.executions.of_key(key)
    if run is not None and run is session.executions.current:
        await session.interrupt()


async def _refresh(session: NotebookSession) -> None:
    """Take in what others did to the file.

    Raises:
        ChangedOnDisk: Their version of some cells stands; ours is beside it.
    """
    try:
        await session.store.refresh()
    except DocumentConflict as error:
        raise ChangedOnDisk(reason(error)) from error
