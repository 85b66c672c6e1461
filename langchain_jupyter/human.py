"""The person behind a graph, asked in the middle of a tool call through LangGraph's interrupt.

The graph is interrupted with one of these values, and goes on with `Command(resume={interrupt.id: answer})`:

    {"type": "tool_approval", "tool_call_id", "name", "args", "description"}
        LangChain's ToolApprovalRequest. The answer is one of its decisions: {"type": "approve"},
        {"type": "reject", "message": …}, {"type": "edit", "edited_action": {"name": …, "args": …}}.
    {"type": "jupyter_input", "tool_call_id", "execution", "cell", "prompt", "password"}
        A cell waits in input() or getpass(). The answer is a text; for a password what `JupyterToolkit.conceal`
        made of it, because LangGraph keeps every answer in its checkpoints.

An answer of another form is refused by LangGraph, and can be given again. Given by the id of the interrupt it is
refused before it is kept; a bare `Command(resume=answer)` is in the checkpoint by then.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, StringConstraints

from langchain_jupyter.errors import MissingExtra, UsageError
from langchain_jupyter.models import Execution
from langchain_jupyter.redaction import redact

Act: TypeAlias = Literal["write", "run", "kernel"]
"""What a call does: write to the notebook, run code, or stop or restart the kernel."""

Approve: TypeAlias = Literal["none", "writes", "runs", "all"]
"""Which calls a person approves."""

GATED: Mapping[Approve, frozenset[Act]] = {
    "none": frozenset(),
    "writes": frozenset({"write"}),
    "runs": frozenset({"run"}),
    "all": frozenset({"write", "run", "kernel"}),
}

APPROVED: ContextVar[bool] = ContextVar("approved", default=False)
"""Set around a call that a middleware has asked a person about already."""

_CHECKPOINTER = "__pregel_checkpointer"  # LangGraph tells in no other way whether an interrupt can be resumed
_SECRET = "secret:"
_KEPT = 1_000

K = TypeVar("K")
V = TypeVar("V")


class ApproveDecision(BaseModel):
    """Do it."""

    type: Literal["approve"]


class RejectDecision(BaseModel):
    """Leave it; the message is for the model."""

    type: Literal["reject"]
    message: str = ""


class EditedAction(BaseModel):
    """The call as it is to be done."""

    name: str
    args: dict[str, Any]


class EditDecision(BaseModel):
    """Do it otherwise."""

    type: Literal["edit"]
    edited_action: EditedAction


Decision: TypeAlias = ApproveDecision | RejectDecision | EditDecision


def gated(approve: str) -> frozenset[Act]:
    """The acts that a person approves.

    Raises:
        UsageError: No such value; names those that exist.
    """
    for name, acts in GATED.items():
        if name == approve:
            return acts
    raise UsageError(f"approve={approve!r}? It is one of {', '.join(map(repr, GATED))}.")


class Human:
    """What a toolkit remembers of its person; all of it is lost with the process, and none of it is needed then.

    Args:
        approve: Which calls are asked about.
    """

    def __init__(self, approve: str = "none") -> None:
        self.gated = gated(approve)
        self._answered: dict[str, int] = {}
        self._shown: dict[str, Mapping[str, str]] = {}
        self._secrets: dict[str, str] = {}
        self._untold: dict[str, str] = {}

    def person(self, runtime: Any, ours: Collection[str]) -> Person | str:
        """The person for one call, or why none can be asked.

        Args:
            runtime: LangGraph's ToolRuntime; None outside of a graph.
            ours: Names of the tools that may ask.
        """
        info = getattr(runtime, "execution_info", None)
        if info is None:
            return "the call does not come from a graph"
        if not (runtime.config.get("configurable") or {}).get(_CHECKPOINTER):
            return "the graph has no checkpointer, so it could not go on afterwards"
        if not _asks_first(runtime, ours):
            return "another call of the same turn is asked about first; call again with this one alone"
        return Person(self, info.task_id)

    def conceal(self, secret: str) -> str:
        """A reference to a secret, good for one use in this process."""
        reference = _SECRET + secrets.token_hex(16)
        _keep(self._secrets, reference, secret)
        return reference

    def check(self, reference: str) -> str:
        """The reference, if there is a secret behind it.

        Raises:
            ValueError: It is unknown here, or was used already.
        """
        if reference not in self._secrets:
            raise ValueError("nothing stands behind it in this process; JupyterToolkit.conceal() makes one for one use")
        return reference

    def reveal(self, reference: str) -> str:
        """The secret behind a reference, which is forgotten thereby."""
        return self._secrets.pop(reference)

    def show(self, key: str, sources: Mapping[str, str]) -> None:
        """The person sees these cells, by id, before a call; only the first time counts."""
        if key and key not in self._shown:
            _keep(self._shown, key, sources)

    def approved(self, key: str) -> Mapping[str, str]:
        """The cells that the person saw before the call of that key, as they were; asked once."""
        sources = self._shown.get(key, {})
        if sources:
            self._shown[key] = {}
        return sources

    def leave_untold(self, key: str, news: str) -> None:
        """A call was interrupted before it could tell its news."""
        if news:
            _keep(self._untold, key, news)

    def untold(self, key: str) -> str:
        """The news that an interrupted call still has to tell."""
        return self._untold.pop(key, "")


class Person:
    """Who answers the questions of one call.

    LangGraph hands out the answers that were given in a task by their order. So the questions of a call that is
    entered again must come in the same order, and what was answered before is asked again, without effect.
    """

    def __init__(self, human: Human, task: str) -> None:
        self._human = human
        self._task = task
        self._position = 0

    @property
    def answered(self) -> bool:
        """Whether the task has had an answer already."""
        return self._task in self._human._answered

    def decide(self, request: Mapping[str, Any], check: Callable[[EditDecision], EditDecision]) -> Decision:
        """What the person decides about a call; the first question of a task.

        Args:
            request: The value of the interrupt.
            check: Raises ValueError for an edit that cannot be done.
        """
        edit = Annotated[EditDecision, AfterValidator(check)]
        schema = Annotated[ApproveDecision | RejectDecision | edit, Field(discriminator="type")]
        decision: Decision = self._ask(request, schema)
        return decision

    def answer(self, execution: Execution, tool_call_id: str) -> str:
        """What the person answers to the input() that an execution waits in."""
        request = {
            "type": "jupyter_input",
            "tool_call_id": tool_call_id,
            "execution": execution.ref,
            "cell": execution.cell_id,
            "prompt": redact(execution.prompt),
            "password": execution.password,
        }
        while self._position < self._human._answered.get(self._task, 0):
            self._ask(request, None)
        if not execution.password:
            return str(self._ask(request, str))
        return self._human.reveal(self._ask(request, _concealed(self._human)).root)

    def _ask(self, request: Mapping[str, Any], schema: Any) -> Any:
        answer = _interrupt(dict(request), schema)
        self._position += 1
        _keep(self._human._answered, self._task, max(self._position, self._human._answered.get(self._task, 0)))
        return answer


def _concealed(human: Human) -> type[RootModel[str]]:
    """What the answer to a password is: a reference. A refused one may be the password, so no error repeats it."""

    class Concealed(
        RootModel[Annotated[str, StringConstraints(pattern=f"^{_SECRET}[0-9a-f]{{32}}$"), AfterValidator(human.check)]]
    ):
        model_config = ConfigDict(hide_input_in_errors=True)

    return Concealed


def _interrupt(value: Any, schema: Any) -> Any:
    try:
        from langgraph.types import interrupt
    except ImportError as error:
        raise MissingExtra("agents", "Asking a person") from error
    return interrupt(value, response_schema=schema)


def is_refused_answer(error: BaseException) -> bool:
    """Whether a person's answer had the wrong form; whoever resumed the graph has to be told, not the model."""
    try:
        from langgraph.errors import is_invalid_resume
    except ImportError:
        return False
    return is_invalid_resume(error)


def _asks_first(runtime: Any, ours: Collection[str]) -> bool:
    """Whether this call may ask in its task.

    Where each call has a task of its own (create_agent, create_react_agent) every one may. In a ToolNode that is
    entered by an edge all calls of a turn share one task, run at the same time, and would take each other's answers:
    only the first of them may ask.
    """
    path = (runtime.config.get("metadata") or {}).get("langgraph_path") or ("",)
    if path[0] != "__pregel_pull":
        return True
    state = runtime.state
    messages = state.get("messages", ()) if isinstance(state, Mapping) else getattr(state, "messages", state)
    for message in reversed(list(messages or ())):
        calls = getattr(message, "tool_calls", None) or ()
        ids = [call["id"] for call in calls if call["name"] in ours]
        if runtime.tool_call_id in ids:
            return bool(ids[0] == runtime.tool_call_id)
    return False


def _keep(memory: MutableMapping[K, V], key: K, value: V) -> None:
    """Remember, and forget the oldest."""
    memory[key] = value
    while len(memory) > _KEPT:
        del memory[next(iter(memory))]
