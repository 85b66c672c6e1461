"""What all tools share: arguments, the two faces, exactly once, and errors by audience."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeAlias

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, InjectedToolArg, ToolException
from pydantic import BaseModel, Field, PrivateAttr, ValidationError, create_model, model_validator
from pydantic.json_schema import SkipJsonSchema

from langchain_jupyter.bridge import LoopBridge
from langchain_jupyter.errors import ChangedOnDisk, DocumentConflict, ToolError
from langchain_jupyter.executions import Run
from langchain_jupyter.outputs import OutputChange
from langchain_jupyter.render import Rendered
from langchain_jupyter.session import NotebookSession
from langchain_jupyter.settings import OutputLimits
from langchain_jupyter.sight import member_of
from langchain_jupyter.workspace import Workspace

Effect: TypeAlias = Literal["read", "edit", "run", "kernel"]

_SPELLINGS: Mapping[str, str] = {
    "cell_index": "cell",
    "index": "cell",
    "cell_source": "source",
    "code": "source",
    "content": "source",
    "timeout_seconds": "timeout",
}


class ToolHost(Protocol):
    """What a tool needs of the toolkit that made it."""

    @property
    def bridge(self) -> LoopBridge:
        """Carries calls onto the loop where sessions live."""

    @property
    def limits(self) -> OutputLimits:
        """How much a model gets to see."""

    @property
    def workspace(self) -> Workspace:
        """The notebooks that there are."""

    async def session(self, notebook: str = "") -> NotebookSession:
        """The session to work on, opened at the first call; `notebook` is its path where there are many."""


class ToolArgs(BaseModel):
    """Base of all arguments. `runtime` is hidden from the model and cannot be forged by it.

    Other people's spellings (`cell_index`, `cell_source`, `timeout_seconds`, …) are accepted and not in the schema.
    """

    runtime: Annotated[SkipJsonSchema[Any], InjectedToolArg] = Field(default=None, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _other_spellings(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        known = dict(values)
        for spelling, name in _SPELLINGS.items():
            if spelling in known and spelling not in cls.model_fields and name in cls.model_fields:
                known.setdefault(name, known.pop(spelling))
        for name in ("cell", "before"):
            if isinstance(known.get(name), int):
                known[name] = str(known[name])
        return known


def naming_notebook(arguments: type[BaseModel]) -> type[BaseModel]:
    """The same arguments, with the notebook that is meant before them: for tools that work on many."""
    others = {name: (field.annotation, field) for name, field in arguments.model_fields.items() if name != "runtime"}
    fields: dict[str, Any] = {"notebook": (str, Field(description="Path from list_notebooks")), **others}
    return create_model(arguments.__name__, __base__=ToolArgs, __doc__=arguments.__doc__, **fields)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool.

    Attributes:
        session: The notebook it works on.
        caller: Who calls: a LangGraph thread, a session of a client, or the toolkit's user.
        key: The same for the same tool call, also when it is repeated after a crash; empty if there is no id.
        limits: How much the model gets to see.
        runtime: LangGraph's ToolRuntime; None outside of a graph.
    """

    session: NotebookSession
    caller: str
    key: str
    limits: OutputLimits
    runtime: Any = None

    def emit(self, run: Run, change: OutputChange) -> None:
        """Tell the graph's `custom` and `tools` streams what a run has printed."""
        event = {
            "type": "jupyter_output",
            "execution": run.ref,
            "cell": run.cell_id,
            "tool_call_id": getattr(self.runtime, "tool_call_id", None),
            "rewritten": change.rewritten,
            "text": change.text,
            "outputs": [_brief(output) for output in (change.everything if change.rewritten else change.added)],
        }
        for name in ("stream_writer", "emit_output_delta"):
            if (emit := getattr(self.runtime, name, None)) is not None:
                emit(event)


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
            handle_validation_error=_explain,
            tags=["jupyter", f"jupyter:{self.effect}"],
            metadata={"effect": self.effect},
            **kwargs,
        )
        self._host = host

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
        return self._host.bridge.run(lambda: self._perform(runtime, tool_call_id, arguments))

    async def _arun(
        self,
        runtime: Annotated[Any, InjectedToolArg] = None,
        tool_call_id: str = "",
        run_manager: AsyncCallbackManagerForToolRun | None = None,
        **arguments: Any,
    ) -> Any:
        return await self._host.bridge.arun(lambda: self._perform(runtime, tool_call_id, arguments))

    def _to_args_and_kwargs(
        self, tool_input: str | dict[str, Any], tool_call_id: str | None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Pass the id of the tool call on, which BaseTool keeps to itself unless plain invocation is given up."""
        if isinstance(tool_input, str):
            first = next((name for name in self.args_schema.model_fields if name != "runtime"), "")  # type: ignore[union-attr]
            tool_input = {first: tool_input} if first else {}
        _, arguments = super()._to_args_and_kwargs(tool_input, tool_call_id)
        return (), {**arguments, "tool_call_id": tool_call_id or ""}

    async def _perform(self, runtime: Any, tool_call_id: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
        try:
            session = await self._host.session(arguments.get("notebook", ""))
        except ToolError as error:
            return self._failed(error, tool_call_id)
        call = self._describe(session, runtime, tool_call_id, arguments)
        news = session.news(call.caller)
        try:
            await _refresh(session)
            rendered = session.results.get(call.key) if self.effect in ("edit", "kernel") else None
            if rendered is None:
                arguments = {name: value for name, value in arguments.items() if name != "notebook"}
                rendered = await self._call(call, **arguments)
                if self.effect != "read" and (pending := await session.store.settle()):
                    rendered = preceded(f"[{pending}]", rendered)
                session.results.put(call.key, rendered)
        except ToolError as error:
            return self._failed(error, tool_call_id, news)
        except asyncio.CancelledError:
            if getattr(runtime, "withdrawn", False):
                await _stop(session, call.key)
            raise
        if news:
            rendered = preceded(f"[{news}]", rendered)
        return rendered.content, rendered.artifact

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
        caller, key = self._identify(runtime, tool_call_id, arguments)
        return Call(session, caller, key, self._host.limits, runtime)

    def _identify(self, runtime: Any, tool_call_id: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
        """Who calls, and the key of the call."""
        config = (getattr(runtime, "config", None) or {}).get("configurable") or {}
        thread = str(config.get("thread_id") or "toolkit")
        caller = member_of(thread, str(config.get("caller_session") or ""))
        text = json.dumps([self.name, arguments], sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
        return caller, f"{thread}/{tool_call_id}/{digest}" if tool_call_id else ""


def answer(text: str, artifact: dict[str, Any]) -> Rendered:
    """A result of one text."""
    return Rendered([{"type": "text", "text": text}], artifact)


def preceded(text: str, rendered: Rendered) -> Rendered:
    """A result under another first line."""
    first, *more = rendered.content
    return replace(rendered, content=[{"type": "text", "text": f"{text}\n{first['text']}"}, *more])


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
        raise ChangedOnDisk(str(error)) from error


def _explain(error: ValidationError | Any) -> str:
    """A validation error as a model can use it: no URLs, no types of pydantic."""
    problems = "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}" for problem in error.errors()
    )
    return f"[invalid_argument] {problems}. Nothing was done."


def _brief(output: Mapping[str, Any]) -> dict[str, Any]:
    """An output without its pictures, for a stream of events."""
    if "data" not in output:
        return dict(output)
    text = output["data"].get("text/plain", "")
    return {"output_type": output["output_type"], "mime_types": sorted(output["data"]), "text": text}
