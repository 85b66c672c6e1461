"""For tests of agents: a chat model and a kernel that play a script."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeAlias

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field, PrivateAttr

from langchain_jupyter.kernels.kernel import Message
from langchain_jupyter.models import KernelInfo

Turn: TypeAlias = AIMessage | str | Callable[[Sequence[BaseMessage]], AIMessage]
"""What a scripted model says: a message, a text, or something made from the conversation so far."""


class ScriptedModel(BaseChatModel):
    """A chat model that says what it is told to, turn by turn. It is no intelligence, and says so in its type.

    Args:
        turns: What it says, in order; after the last one it says "Done."

    Attributes:
        seen: The messages of each call.
    """

    seen: list[list[BaseMessage]] = Field(default_factory=list)
    _turns: Iterator[Turn] = PrivateAttr()

    def __init__(self, turns: Iterable[Turn]) -> None:
        super().__init__()
        self._turns = itertools.chain(turns, itertools.repeat("Done."))

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Self:
        """The script knows which tools it calls."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.seen.append(list(messages))
        turn = next(self._turns)
        if isinstance(turn, str):
            turn = AIMessage(turn)
        elif not isinstance(turn, AIMessage):
            turn = turn(messages)
        return ChatResult(generations=[ChatGeneration(message=turn.model_copy(update={"id": str(uuid.uuid4())}))])


def tool_call(name: str, call_id: str = "", **arguments: Any) -> dict[str, Any]:
    """A tool call, as LangChain writes it; with an id of its own if none is given."""
    return {"name": name, "args": arguments, "id": call_id or f"call_{uuid.uuid4().hex[:12]}", "type": "tool_call"}


def calls(*tool_calls: dict[str, Any], text: str = "") -> AIMessage:
    """One turn of a model that calls tools, in parallel where there are several."""
    return AIMessage(content=text, tool_calls=list(tool_calls))


class ScriptedKernel:
    """A kernel that answers each code with the messages it is given, and starts no process.

    Args:
        script: Messages by code; a code that is not in it prints nothing and ends well. An exception is raised.
    """

    def __init__(self, script: dict[str, Sequence[Message | Exception]] | None = None) -> None:
        self.script = dict(script or {})
        self.values: dict[str, str] = {}
        self.ran: list[str] = []
        self.interrupted = 0
        self.restarted = 0
        self.answers: list[str] = []
        self._callbacks: list[Callable[[], None]] = []

    @property
    def info(self) -> KernelInfo:
        """Always there, always idle."""
        return KernelInfo("scripted", "python", "idle")

    def prefer(self, spec: str) -> None:
        """It has no spec."""

    async def start(self) -> None:
        """Nothing to start."""

    async def execute(
        self, code: str, *, allow_stdin: bool = False, store_history: bool = True
    ) -> AsyncIterator[Message]:
        """Play the messages of that code, between `execute_input` and a reply."""
        self.ran.append(code)
        count = len(self.ran)
        yield iopub("execute_input", code=code, execution_count=count)
        replied = False
        for message in self.script.get(code, ()):
            if isinstance(message, Exception):
                raise message
            replied = replied or message.msg_type == "execute_reply"
            yield message
        if not replied:
            yield Message("shell", "execute_reply", {"status": "ok", "execution_count": count})

    async def evaluate(self, expression: str, *, beside: bool = False) -> Mapping[str, Any] | None:
        """Whatever is in `values`; an error for an expression that is not."""
        if expression not in self.values:
            return {"status": "error", "ename": "NameError", "evalue": "not in the script"}
        return {"status": "ok", "data": {"text/plain": self.values[expression]}}

    def answer(self, text: str) -> None:
        """Remember what was answered."""
        self.answers.append(text)

    async def interrupt(self) -> None:
        """Count it."""
        self.interrupted += 1

    async def restart(self) -> None:
        """Count it."""
        self.restarted += 1

    async def close(self) -> None:
        """Nothing to end."""

    def on_death(self, callback: Callable[[], None]) -> None:
        """Remember whom to tell."""
        self._callbacks.append(callback)

    def die(self) -> None:
        """Tell that the process has ended."""
        for callback in self._callbacks:
            callback()


class ScriptedKernels:
    """A scripted kernel for each notebook: `Backend(documents, ScriptedKernels(script))`.

    Args:
        script: Of each kernel, see `ScriptedKernel`.
    """

    def __init__(self, script: Mapping[str, Sequence[Message | Exception]] | None = None) -> None:
        self._script = dict(script or {})

    async def kernel(self, location: str, choice: str) -> ScriptedKernel:
        """Another one."""
        return ScriptedKernel(self._script)

    async def specs(self) -> Mapping[str, str]:
        """One that is called python3."""
        return {"python3": "Python 3"}

    async def close(self) -> None:
        """Nothing to end."""


def iopub(msg_type: str, **content: Any) -> Message:
    """A message as a kernel publishes it."""
    return Message("iopub", msg_type, content)


def printed(text: str, name: str = "stdout") -> Message:
    """What `print` sends."""
    return iopub("stream", name=name, text=text)


def raised(name: str, value: str) -> list[Message]:
    """What an exception sends: the output and the reply."""
    content = {"ename": name, "evalue": value, "traceback": [f"{name}: {value}"]}
    return [Message("iopub", "error", content), Message("shell", "execute_reply", {"status": "error", **content})]
