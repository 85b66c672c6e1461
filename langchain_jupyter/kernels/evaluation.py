"""An expression evaluated in a kernel without a trace, beside what runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

from langchain_jupyter.kernels.kernel import Channel

SUBSHELLS = "kernel subshells"
"""Among the `supported_features` of a kernel that can do two things at once."""

Evaluation: TypeAlias = Mapping[str, Any]

_NONE: Evaluation = {"status": "error", "ename": "NotEvaluated", "evalue": "the kernel gives no values of expressions"}


class Ask(Protocol):
    """Sends a request to a kernel and gives the content of its reply."""

    async def __call__(
        self, channel: Channel, msg_type: str, content: Mapping[str, Any], *, subshell: str = ""
    ) -> Mapping[str, Any]:
        """Send it, to a subshell if one is named.

        Raises:
            KernelDied, ConnectionLost: No reply comes.
        """


async def evaluate(ask: Ask, expression: str, *, beside: bool) -> Evaluation:
    """What the kernel makes of an expression; see `Kernel.evaluate`.

    Args:
        ask: Of the kernel.
        expression: In its language.
        beside: Whether code runs, so that a subshell is needed.

    Source:
        https://jupyter-client.readthedocs.io/en/latest/messaging.html#execute
        https://jupyter-client.readthedocs.io/en/latest/messaging.html#create-subshell
    """
    subshell = ""
    if beside:
        subshell = str((await ask("control", "create_subshell_request", {}))["subshell_id"])
    content = {
        "code": "",
        "silent": True,
        "store_history": False,
        "user_expressions": {"value": expression},
        "allow_stdin": False,
        "stop_on_error": False,
    }
    try:
        reply = await ask("shell", "execute_request", content, subshell=subshell)
        if reply.get("status") == "aborted":
            reply = await ask("shell", "execute_request", content, subshell=subshell)
    finally:
        if subshell:
            await ask("control", "delete_subshell_request", {"subshell_id": subshell})
    found: Evaluation = (reply.get("user_expressions") or {}).get("value", _NONE)
    return found
