"""Tools over the notebooks of a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from langchain_jupyter.errors import ToolError
from langchain_jupyter.human import APPROVED, Act
from langchain_jupyter.rendering.listing import render_listing
from langchain_jupyter.rendering.render import Rendered
from langchain_jupyter.tools.approval import Preview, decided
from langchain_jupyter.tools.arguments import ToolArgs
from langchain_jupyter.tools.base import JupyterTool, jupyter_tools
from langchain_jupyter.tools.read import outline_of
from langchain_jupyter.tools.results import preceded


class ListNotebooksArgs(ToolArgs):
    """Arguments of list_notebooks."""

    path: str = Field(default="", description='Folder; "" for all')


class OpenNotebookArgs(ToolArgs):
    """Arguments of open_notebook."""

    path: str = Field(description="Path from list_notebooks")
    kernel: str = Field(default="", description='"" = the one it has; a kernel spec; "new" starts afresh')
    create: bool = Field(default=False, description="Make it if it is not there")


class WorkspaceTool(JupyterTool):
    """A verb that belongs to no one notebook."""

    on_notebook = False

    async def _perform(self, runtime: Any, tool_call_id: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
        caller, key = self.identify(runtime, tool_call_id, arguments)
        results = self._host.workspace.results
        try:
            rendered = results.get(key) if self.effect == "edit" else None
            if rendered is None:
                arguments, change = self._approved(runtime, tool_call_id, arguments)
                rendered = await self._do(caller, **arguments)
                if change:
                    rendered = preceded(change, rendered)
                if self.effect == "edit":
                    results.put(key, rendered)
        except ToolError as error:
            return self._failed(error, tool_call_id)
        return rendered.content, rendered.artifact

    async def _description(self, tool_call: Mapping[str, Any], runtime: Any) -> str:
        return self._outlook(tool_call["args"]).text

    async def _do(self, caller: str, **arguments: Any) -> Rendered:
        """Do it.

        Raises:
            ToolError: The model is told and can act upon it.
        """
        raise NotImplementedError

    def _approved(self, runtime: Any, tool_call_id: str, arguments: dict[str, Any]) -> tuple[dict[str, Any], str]:
        human = self._host.human
        if APPROVED.get() or not self.acts(arguments) & human.gated:
            return arguments, ""
        person = human.person(runtime, jupyter_tools(runtime))
        return decided(self, person, tool_call_id, arguments, self._outlook(arguments))

    def _outlook(self, arguments: Mapping[str, Any]) -> Preview:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return Preview(f"{self.name}: {self.description}\n\n{given}")


class ListNotebooks(WorkspaceTool):
    """What there is to open."""

    effect = "read"
    name: str = "list_notebooks"
    description: str = "The notebooks, which of them are open, and the kernels they can run on. Start here."
    args_schema: type[BaseModel] = ListNotebooksArgs

    async def _do(self, caller: str, **arguments: Any) -> Rendered:
        workspace = self._host.workspace
        assert workspace.directory is not None
        files = await workspace.directory.notebooks(arguments["path"])
        opened = {path: session.kernel.info for path, session in workspace.opened.items()}
        return render_listing(
            files,
            root=workspace.directory.root,
            folder=arguments["path"],
            opened=opened,
            specs=await workspace.kernel_specs(),
        )


class OpenNotebook(WorkspaceTool):
    """A notebook, ready to be worked in."""

    effect = "edit"
    name: str = "open_notebook"
    description: str = "Open a notebook, or make a new one, and choose its kernel; gives its outline."
    args_schema: type[BaseModel] = OpenNotebookArgs

    def acts(self, arguments: Mapping[str, Any]) -> frozenset[Act]:
        asked: list[Act] = []
        if arguments.get("create"):
            asked.append("write")
        if arguments.get("kernel"):
            asked.append("kernel")
        return frozenset(asked)

    async def _do(self, caller: str, **arguments: Any) -> Rendered:
        session = await self._host.workspace.open(
            arguments["path"], kernel=arguments["kernel"], create=arguments["create"]
        )
        news = session.news(caller)
        outline = outline_of(session, caller)
        return preceded(f"[{news}]", outline) if news else outline
