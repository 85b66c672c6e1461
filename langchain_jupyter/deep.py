"""A backend for deepagents on a notebook's kernel: files, commands and variables are in one place.

    create_deep_agent(
        model, tools=toolkit.get_tools(), backend=KernelBackend(toolkit),
        interrupt_on={**interrupt_on(toolkit.get_tools(), "runs"), "execute": True},
    )

It is no isolation: commands run with the rights of whoever runs the kernel. Nor do `JupyterToolkit(approve=…)` and the
tags of cells reach deepagents' own tools: name those that a person approves in `interrupt_on`.
"""

from __future__ import annotations

import ast
import base64
import json
from collections.abc import Mapping
from typing import Any

from langchain_jupyter.errors import MissingExtra, OutOfReach, ToolError
from langchain_jupyter.toolkit import JupyterToolkit

try:
    from deepagents.backends.protocol import ExecuteResponse, FileDownloadResponse, FileUploadResponse
    from deepagents.backends.sandbox import BaseSandbox
except ImportError as error:
    raise MissingExtra("deepagents", "KernelBackend") from error

_CHUNK = 1_000_000
_OUTPUT = 10_000_000

# Runs in the kernel, as text in a namespace of its own: nothing of it stays among the user's variables.
_PROGRAM = """
import base64, json, os, signal, subprocess

def execute(command, seconds, most):
    process = subprocess.Popen(
        command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, note = process.communicate(timeout=seconds)[0], ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, note = process.communicate()[0], f"\\n[killed after {seconds:g} s]"
    text = output.decode("utf-8", "replace")
    code = 124 if note else process.returncode
    return {"output": text[:most] + note, "exit_code": code, "truncated": len(text) > most}

def write(path, data, more):
    if not path.startswith("/"):
        return {"error": "invalid_path"}
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "ab" if more else "wb") as file:
        file.write(base64.b64decode(data))
    return {}

def read(path, start, size):
    if not path.startswith("/"):
        return {"error": "invalid_path"}
    with open(path, "rb") as file:
        file.seek(start)
        return {"data": base64.b64encode(file.read(size)).decode()}

def answer(name, arguments):
    try:
        found = globals()[name](**arguments)
    except FileNotFoundError:
        found = {"error": "file_not_found"}
    except IsADirectoryError:
        found = {"error": "is_directory"}
    except NotADirectoryError:
        found = {"error": "invalid_path"}
    except PermissionError:
        found = {"error": "permission_denied"}
    except (OSError, ValueError) as error:
        found = {"error": f"{type(error).__name__}: {error}"}
    return json.dumps(found)
"""


class KernelBackend(BaseSandbox):
    """Where a notebook's kernel runs, as deepagents works with files and commands.

    While a cell runs, it works on kernels that can answer meanwhile (ipykernel 7); others say that they are busy.

    Args:
        toolkit: Whose kernel, of one notebook; it stays the caller's to close. Python only.
        timeout: Seconds after which a command is killed, where a call does not say.
    """

    def __init__(self, toolkit: JupyterToolkit, *, timeout: int = 120) -> None:
        self._toolkit = toolkit
        self._timeout = timeout

    @property
    def id(self) -> str:
        """The notebook."""
        return self._toolkit.notebook

    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """Run a shell command; a failure of the kernel is told as its output."""
        found = self._ask("execute", command=command, seconds=timeout or self._timeout, most=_OUTPUT)
        if "error" in found:
            return ExecuteResponse(output=found["error"], exit_code=1)
        return ExecuteResponse(**self._toolkit.redactor.redacted(found))

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """Write files, each as a whole."""
        return [FileUploadResponse(path=path, error=self._upload(path, content)) for path, content in files]

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """Read files, each as a whole."""
        return [self._download(path) for path in paths]

    def _upload(self, path: str, content: bytes) -> str | None:
        for start in range(0, max(len(content), 1), _CHUNK):
            data = base64.b64encode(content[start : start + _CHUNK]).decode()
            found = self._ask("write", path=path, data=data, more=start > 0)
            if "error" in found:
                return str(found["error"])
        return None

    def _download(self, path: str) -> FileDownloadResponse:
        content, chunk = b"", b"?"
        while chunk:
            found = self._ask("read", path=path, start=len(content), size=_CHUNK)
            if "error" in found:
                return FileDownloadResponse(path=path, error=found["error"])
            chunk = base64.b64decode(found["data"])
            content += chunk
        return FileDownloadResponse(path=path, content=content)

    def _ask(self, name: str, **arguments: Any) -> Mapping[str, Any]:
        """What the program in the kernel answers; an `error` if it cannot be asked."""
        expression = (
            f"(lambda space: (exec({_PROGRAM!r}, space), space['answer']({name!r}, {arguments!r}))[1])"
            "({'__name__': '_langchain_jupyter'})"
        )

        async def ask() -> Mapping[str, Any] | None:
            session = await self._toolkit.session()
            return await session.beside(lambda kernel, beside: kernel.evaluate(expression, beside=beside))

        try:
            found = self._toolkit.bridge.run(ask)
        except (ToolError, OutOfReach) as error:
            return {"error": str(error)}
        if found is None:
            return {"error": "A cell is running, and this kernel does one thing at a time. Nothing was done."}
        if found.get("status") != "ok":
            return {"error": f"The kernel raised {found.get('ename')}: {found.get('evalue')}. It has to run Python."}
        answer: Mapping[str, Any] = json.loads(ast.literal_eval(found["data"]["text/plain"]))
        return answer
