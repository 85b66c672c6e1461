"""JSON-RPC messages, as far as they must be right before the SDK reads them, which would say too much or nothing.

Source:
    https://modelcontextprotocol.io/specification/2025-11-25/basic#messages
"""

from __future__ import annotations

import json
from typing import Any

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602

_FORM = '{"jsonrpc": "2.0", "id": 1, "method": …, "params": …}'
_CALL = '{"name": …, "arguments": {…}}'


class Flaw(Exception):
    """What is wrong with a message.

    Args:
        code: Of JSON-RPC.
        text: For whoever sent it.
        request_id: Of the request; None if it has none that could be given back.
    """

    def __init__(self, code: int, text: str, request_id: str | int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.request_id = request_id

    @property
    def answer(self) -> dict[str, Any]:
        """The JSON-RPC error."""
        return {"jsonrpc": "2.0", "id": self.request_id, "error": {"code": self.code, "message": str(self)}}


def parse(body: bytes) -> dict[str, Any]:
    """The one message that a body holds.

    Raises:
        Flaw: It is none.
    """
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        raise Flaw(PARSE_ERROR, "The body is not JSON.") from None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise Flaw(INVALID_REQUEST, f"The body must be one JSON-RPC message: {_FORM}.")
    _check(message)
    return message


def _check(message: dict[str, Any]) -> None:
    request_id = message.get("id")
    if "id" in message and (not isinstance(request_id, str | int) or isinstance(request_id, bool)):
        raise Flaw(INVALID_REQUEST, 'The member "id" must be a string or an integer.')
    if "method" not in message and not message.keys() & {"result", "error"}:
        raise Flaw(INVALID_REQUEST, f"The message has no method: {_FORM}.", request_id)
    method, params = message.get("method", ""), message.get("params", {})
    if not isinstance(method, str):
        raise Flaw(INVALID_REQUEST, 'The member "method" must be a string, such as "tools/call".', request_id)
    if not isinstance(params, dict):
        raise Flaw(INVALID_PARAMS, 'The member "params" must be an object.', request_id)
    if method == "tools/call" and not _names_a_tool(params):
        raise Flaw(INVALID_PARAMS, f"The params of tools/call must be {_CALL}.", request_id)


def _names_a_tool(params: dict[str, Any]) -> bool:
    return isinstance(params.get("name"), str) and isinstance(params.get("arguments") or {}, dict)
