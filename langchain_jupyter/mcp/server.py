"""What the MCP server answers: tools, prompts, resources and completion, over one toolkit at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool

from langchain_jupyter import __version__
from langchain_jupyter.errors import JupyterError, UsageError
from langchain_jupyter.mcp import ARTIFACT
from langchain_jupyter.mcp.calls import CallRuntime, Progress, RunningCalls
from langchain_jupyter.mcp.resources import TEMPLATES, Address, blocks_of, contents_of, listed
from langchain_jupyter.mcp.sdk import Json, Refused, Request
from langchain_jupyter.mcp.watch import Watch
from langchain_jupyter.prompts import system_prompt, task_names, task_text
from langchain_jupyter.rendering.fences import one_line, reason
from langchain_jupyter.toolkit import JupyterToolkit
from langchain_jupyter.tools import build_tools

_NOT_FOUND = -32002
_READERS = ("read_all_cells", "read_cell", "read_output")
_COMPLETIONS = 100
_SYSTEM = "system"

_PROMPT_ARGUMENTS: list[Json] = [
    {"name": "request", "description": "What is to be done, in the user's words."},
    {"name": "notebook", "description": "Name of the notebook; the one that is served if left out."},
    {"name": "language", "description": "Language of its code; Python if left out."},
]

# A hint that is left out counts as: not read-only, destructive, not idempotent, open world.
_ANNOTATIONS: Mapping[str, Json] = {
    "read": {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False},
    "edit": {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False, "openWorldHint": False},
    "run": {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False, "openWorldHint": True},
    "kernel": {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True, "openWorldHint": False},
}
_ADDING = ("append_markdown_cell", "insert_markdown_cell", "move_cell")
_REPLACING = ("overwrite_cell_source", "delete_cell")


class NotebookServer:
    """Answers MCP requests by way of a toolkit's tools.

    Args:
        toolkit: Whose tools; closed by `close`, or when another takes its place.
        watch: Told of every call.
    """

    name = "langchain-jupyter"
    version = __version__

    def __init__(self, toolkit: JupyterToolkit, watch: Watch) -> None:
        self.calls = RunningCalls()
        self.stopping = False
        self._watch = watch
        self._take(toolkit)

    @property
    def instructions(self) -> str:
        """For the model: how to work in the notebook."""
        return system_prompt(notebook=self.toolkit.notebook)

    @property
    def methods(self) -> Mapping[str, Callable[[Request], Awaitable[Json]]]:
        """What answers each method."""
        return {
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
            "prompts/list": self._list_prompts,
            "prompts/get": self._get_prompt,
            "resources/list": self._list_resources,
            "resources/templates/list": self._list_templates,
            "resources/read": self._read_resource,
            "completion/complete": self._complete,
        }

    def cancelled(self, session: str, request_id: str) -> None:
        """The client takes a call back: what it runs is interrupted."""
        self.calls.withdraw(session, request_id)

    async def replace(self, toolkit: JupyterToolkit) -> None:
        """Serve another toolkit from now on; the old one is closed when its calls have ended."""
        old = self.toolkit
        self._take(toolkit)
        await self.calls.finished()
        await old.aclose()

    async def close(self) -> None:
        """Save, and end the kernels that we started."""
        await self.toolkit.aclose()

    # -- tools --------------------------------------------------------------------------------------------------

    async def _list_tools(self, request: Request) -> Json:
        return {"tools": self._listed}

    async def _call_tool(self, request: Request) -> Json:
        name = str(request.params.get("name", ""))
        tool = self._tools.get(name)
        if tool is None:
            raise Refused(f"Unknown tool {name[:80]!r}. Tools: {', '.join(self._tools)}.")
        message = await self._call(tool, request, dict(request.params.get("arguments") or {}))
        result: Json = {
            "content": [_content(block) for block in blocks_of(message)],
            "isError": message.status == "error",
        }
        if isinstance(message.artifact, dict):
            result["_meta"] = {ARTIFACT: message.artifact}
        return result

    async def _call(self, tool: BaseTool, request: Request, arguments: Json) -> ToolMessage:
        if self.stopping:
            raise Refused("The server is stopping. Nothing was done.", -32000)
        arguments.pop("runtime", None)
        notebook = str(arguments.get("notebook") or arguments.get("path") or self._path)
        async with Progress(request) as progress:
            runtime = CallRuntime(request, progress)
            call = {"type": "tool_call", "name": tool.name, "id": runtime.tool_call_id}
            with self.calls.running(request, runtime), self._watch.call(tool.name, notebook, request) as seen:
                try:
                    message: ToolMessage = await tool.ainvoke({**call, "args": {**arguments, "runtime": runtime}})
                except JupyterError as error:
                    message = ToolMessage(reason(error), tool_call_id=runtime.tool_call_id, status="error")
                seen.outcome = _outcome(message)
        return message

    # -- prompts ------------------------------------------------------------------------------------------------

    async def _list_prompts(self, request: Request) -> Json:
        prompts = [{"name": _SYSTEM, "description": "How to work in a live notebook.", "arguments": _PROMPT_ARGUMENTS}]
        prompts += [
            {"name": task, "description": _purpose(task), "arguments": _PROMPT_ARGUMENTS} for task in task_names()
        ]
        return {"prompts": prompts}

    async def _get_prompt(self, request: Request) -> Json:
        name, arguments = str(request.params.get("name", "")), dict(request.params.get("arguments") or {})
        if name not in (names := (_SYSTEM, *task_names())):
            raise Refused(f"No prompt {name[:80]!r}. Prompts: {', '.join(names)}.")
        wish = str(arguments.pop("request", "")).strip()
        arguments = {
            "notebook": self.toolkit.notebook,
            **{key: str(value) for key, value in arguments.items() if value},
        }
        try:
            text = system_prompt(None if name == _SYSTEM else name, **arguments)
        except (UsageError, TypeError) as error:
            raise Refused(str(error)) from None
        if wish:
            text = f"{text}\n# What is to be done\n\n{wish}\n"
        message = {"role": "user", "content": {"type": "text", "text": text}}
        return {"description": _titled(name), "messages": [message]}

    # -- resources ----------------------------------------------------------------------------------------------

    async def _list_resources(self, request: Request) -> Json:
        paths = await self._paths()
        return {"resources": [listed(path) for path in paths]}

    async def _list_templates(self, request: Request) -> Json:
        return {"resourceTemplates": TEMPLATES}

    async def _read_resource(self, request: Request) -> Json:
        uri = str(request.params.get("uri", ""))
        address = Address.parse(uri)
        if address is None or not (self._many or (self._path and address.path == self._path)):
            there = Address(self._path or "PATH").uri
            raise Refused(
                f"No resource {uri[:200]!r}. There is {there}, with /cells/HANDLE or /outputs/REF behind it.",
                _NOT_FOUND,
            )
        name, arguments = address.tool_call
        if self._many:
            arguments["notebook"] = address.path
        message = await self._call(self._readers[name], request, arguments)
        if message.status == "error":
            raise Refused(message.text, _NOT_FOUND)
        return {"contents": contents_of(uri, message)}

    async def _complete(self, request: Request) -> Json:
        reference, argument = request.params.get("ref") or {}, request.params.get("argument") or {}
        known = (request.params.get("context") or {}).get("arguments") or {}
        name, begun = str(argument.get("name", "")), str(argument.get("value", ""))
        choices = await self._choices(str(reference.get("type", "")), name, unquote(str(known.get("path", ""))))
        values = [choice for choice in choices if choice.startswith(begun)]
        shown = values[:_COMPLETIONS]
        return {"completion": {"values": shown, "total": len(values), "hasMore": len(values) > len(shown)}}

    async def _choices(self, kind: str, name: str, path: str) -> Sequence[str]:
        """What an argument of a prompt or a template can be."""
        if name in ("path", "notebook"):
            return [quote(each) if kind == "ref/resource" else one_line(each) for each in await self._paths()]
        session = self.toolkit.workspace.opened.get(path if self._many else "")
        if kind != "ref/resource" or name not in ("id", "ref") or session is None:
            return []
        if name == "ref":
            return session.references.names
        return [session.document.handle(cell_id) for cell_id in session.document.ids]

    # -- inside -------------------------------------------------------------------------------------------------

    def _take(self, toolkit: JupyterToolkit) -> None:
        self.toolkit = toolkit
        self._tools = {tool.name: tool for tool in toolkit.get_tools()}
        self._readers = {tool.name: tool for tool in build_tools(_READERS, toolkit)}
        self._listed = [_described(tool) for tool in self._tools.values()]

    @property
    def _path(self) -> str:
        """Of the one notebook; empty where there are many, or none."""
        return "" if self._many or self.toolkit.notebook == "none" else self.toolkit.notebook

    @property
    def _many(self) -> bool:
        return self.toolkit.workspace.directory is not None

    async def _paths(self) -> Sequence[str]:
        directory = self.toolkit.workspace.directory
        if directory is None:
            return [self._path] if self._path else []
        files = await self.toolkit.bridge.arun(directory.notebooks)
        return [file.path for file in files]


def _described(tool: BaseTool) -> Json:
    """A tool as tools/list shows it; none has an output schema, because results may hold images."""
    schema: Any = tool.tool_call_schema
    parameters = schema if isinstance(schema, dict) else schema.model_json_schema()
    properties = {
        name: {key: value for key, value in each.items() if key != "title"}
        for name, each in parameters.get("properties", {}).items()
    }
    effect = str((tool.metadata or {}).get("effect", "run"))
    return {
        "name": tool.name,
        "title": _titled(tool.name),
        "description": tool.description,
        "inputSchema": {"type": "object", "properties": properties, "required": parameters.get("required", [])},
        "annotations": {
            **_ANNOTATIONS[effect],
            **({"destructiveHint": False} if tool.name in _ADDING else {}),
            **({"idempotentHint": True} if tool.name in _REPLACING else {}),
        },
    }


def _content(block: Mapping[str, Any]) -> Json:
    """A content block of langchain-core as one of MCP."""
    if block["type"] == "image":
        return {"type": "image", "data": block["base64"], "mimeType": block["mime_type"]}
    return {"type": "text", "text": block["text"]}


def _outcome(message: ToolMessage) -> str:
    """One word of how it went: that of the artifact, or the code of the failure."""
    artifact = message.artifact if isinstance(message.artifact, dict) else {}
    if message.status == "error":
        return str(artifact.get("code") or "failed")
    return str(artifact.get("status") or "ok")


def _purpose(task: str) -> str:
    """What a task prompt is for: its first paragraph below the title."""
    paragraphs = task_text(task).split("\n\n")
    return next((each for each in paragraphs if not each.startswith("#")), _titled(task))


def _titled(name: str) -> str:
    return name.replace("_", " ").capitalize()
