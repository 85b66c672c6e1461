"""What is set in an ipykernel that we have started, so that less is lost of what it puts out fast."""

from __future__ import annotations

from typing import Any

from langchain_jupyter.kernels.request import execute_content

IPYKERNEL = "ipython"
"""What an ipykernel calls its implementation."""

_QUEUE = 10_000
_PIECE = 1_000_000
_DEEPEN = """
import sys, zmq

def prepare(thread, streams):
    thread.socket.setsockopt(zmq.SNDHWM, {queue})
    for stream in streams:
        if hasattr(stream, "register_hook") and not hasattr(stream, "langchain_jupyter"):
            stream.langchain_jupyter = True
            stream.register_hook(in_pieces(stream))

def in_pieces(stream):
    def hook(message):
        content = message["content"]
        text, name = content["text"], content["name"]
        last = max(len(text) - 1, 0) // {piece} * {piece}
        for at in range(0, last, {piece}):
            piece = {{"name": name, "text": text[at : at + {piece}]}}
            whole = stream.session.msg("stream", piece, message["parent_header"])
            stream.session.send(stream.pub_thread, whole, ident=stream.topic)
        content["text"] = text[last:]
        return message
    return hook

thread, streams = get_ipython().kernel.iopub_thread, (sys.stdout, sys.stderr)
thread.schedule(lambda: prepare(thread, streams))
"""


def deepen_content() -> dict[str, Any]:
    """The content of an execute_request that has an ipykernel lose less of what is put out fast.

    It lets 10,000 messages wait to be sent, where it drops what is over 1,000 otherwise; and it sends what is printed
    in messages of a million characters at most. It leaves nothing in the kernel's namespace or history.

    Source: ipykernel's `OutStream.register_hook`; hooks belong to the thread that sends.
    """
    code = f"exec({_DEEPEN.format(queue=_QUEUE, piece=_PIECE)!r}, {{}})"
    asked = execute_content(code, allow_stdin=False, store_history=False)
    return asked | {"silent": True, "stop_on_error": False}
