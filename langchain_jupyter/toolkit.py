"""What a user makes: the toolkit of one notebook."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Self

from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import BaseTool, BaseToolkit
from pydantic import PrivateAttr

from langchain_jupyter.bridge import LoopBridge
from langchain_jupyter.errors import UsageError
from langchain_jupyter.prompts import get_prompt
from langchain_jupyter.session import NotebookSession
from langchain_jupyter.settings import OutputLimits
from langchain_jupyter.tools import build_tools
from langchain_jupyter.tools.base import JupyterTool
from langchain_jupyter.workspace import Workspace


class JupyterToolkit(BaseToolkit):
    """Tools for one live notebook and its kernel.

    Making one touches nothing: the first call of a tool opens the notebook (a file that is not there yet is created)
    and starts a kernel. `with`, `async with`, `close()` and `aclose()` save, and end what was started; at the exit of
    the interpreter it happens by itself.

    Args:
        path: The .ipynb file. May be left out for the "interpreter" tools, which need none.
        kernel: Name of an installed kernel spec; "" for the one that the notebook names, or else python3.
        tools: "notebook" (default), "interpreter", "read_only", or names of tools.
        soft_wait: Seconds that a run is waited for before the tool answers `running`.
        max_runtime: Seconds after which a run is interrupted; None for never.
        limits: How much of an output a model gets to see.

    Raises:
        UsageError: No such preset or tool, or no path where one is needed.
    """

    _bridge: LoopBridge = PrivateAttr()
    _workspace: Workspace = PrivateAttr()
    _limits: OutputLimits = PrivateAttr()
    _tools: list[JupyterTool] = PrivateAttr()
    _path: Path | None = PrivateAttr()

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        *,
        kernel: str = "",
        tools: str | Iterable[str] = "notebook",
        soft_wait: float = 30.0,
        max_runtime: float | None = None,
        limits: OutputLimits | None = None,
    ) -> None:
        super().__init__()
        if path is None and tools != "interpreter":
            raise UsageError('Which notebook? JupyterToolkit("analysis.ipynb"), or tools="interpreter" for none.')
        self._path = None if path is None else Path(path).expanduser()
        self._limits = limits or OutputLimits()
        self._workspace = Workspace(self._path, kernel=kernel, soft_wait=soft_wait, max_runtime=max_runtime)
        self._bridge = LoopBridge(at_exit=self._workspace.close)
        self._tools = build_tools(tools, self)

    @property
    def bridge(self) -> LoopBridge:
        """Carries calls onto the loop where the session lives."""
        return self._bridge

    @property
    def limits(self) -> OutputLimits:
        """How much of an output a model gets to see."""
        return self._limits

    @property
    def path(self) -> Path | None:
        """The notebook's file."""
        return self._path

    async def session(self) -> NotebookSession:
        """The session, on the bridge's loop; opened if it is not open."""
        return await self._workspace.session()

    def get_tools(self) -> list[BaseTool]:
        """The selected tools, sync and async; the same objects at each call."""
        return list(self._tools)

    def get_prompt(self, task: str | None = None) -> ChatPromptTemplate:
        """System prompt, with a task's if one is named, and a place for `messages`.

        Raises:
            UsageError: No such task; names those that exist.
        """
        return get_prompt(task, notebook=self._path.name if self._path else "none")

    def save(self) -> None:
        """Write the whole notebook now; it happens within a second by itself."""
        self._bridge.run(self._save)

    def close(self) -> None:
        """Save, and end the kernel that we started. The next call of a tool opens again."""
        self._bridge.run(self._workspace.close)
        self._bridge.close()

    async def aclose(self) -> None:
        """Save, and end the kernel that we started. The next call of a tool opens again."""
        await self._bridge.arun(self._workspace.close)
        await asyncio.to_thread(self._bridge.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self.aclose()

    async def _save(self) -> None:
        await (await self._workspace.session()).store.save()
