"""What a user makes: the toolkit of one notebook, or of many."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Self

from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import BaseTool, BaseToolkit
from pydantic import PrivateAttr

from langchain_jupyter.backends import LocalBackend
from langchain_jupyter.bridge import LoopBridge
from langchain_jupyter.errors import UsageError
from langchain_jupyter.prompts import get_prompt
from langchain_jupyter.session import NotebookSession
from langchain_jupyter.settings import OutputLimits
from langchain_jupyter.tools import build_tools
from langchain_jupyter.tools.base import JupyterTool
from langchain_jupyter.workspace import Workspace


class JupyterToolkit(BaseToolkit):
    """Tools for one live notebook and its kernel, or for all notebooks below a folder.

    Making one touches nothing: the first call of a tool opens the notebook (a file that is not there yet is created)
    and starts a kernel. `with`, `async with`, `close()` and `aclose()` save, and end what was started; at the exit of
    the interpreter it happens by itself.

    Args:
        path: The .ipynb file. May be left out for the "interpreter" tools, which need none.
        root: A folder, in place of `path`, for work in many notebooks: the tools list and open them, and each of the
            others takes `notebook`. Nothing outside of it can be read or written through them; code that runs can.
        kernel: Name of an installed kernel spec; "" for the one that the notebook names, or else python3.
        tools: "notebook" (the default with a path), "workspace" (the default with a root), "interpreter", "read_only",
            or names of tools.
        soft_wait: Seconds that a run is waited for before the tool answers `running`.
        max_runtime: Seconds after which a run is interrupted; None for never.
        idle_close: Seconds after which a notebook below `root` that nobody has used, and where nothing runs, is closed
            and its kernel ended; None for never.
        limits: How much of an output a model gets to see.

    Raises:
        UsageError: No such preset or tool, or not one of path and root where one is needed.
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
        root: str | PathLike[str] | None = None,
        kernel: str = "",
        tools: str | Iterable[str] = "",
        soft_wait: float = 30.0,
        max_runtime: float | None = None,
        idle_close: float | None = 8 * 3600.0,
        limits: OutputLimits | None = None,
    ) -> None:
        super().__init__()
        _check_place(path, root, tools)
        self._path = None if path is None else Path(path).expanduser()
        self._limits = limits or OutputLimits()
        self._workspace = Workspace(
            LocalBackend(self._path, root=None if root is None else Path(root).expanduser()),
            kernel=kernel,
            soft_wait=soft_wait,
            max_runtime=max_runtime,
            idle_close=idle_close,
        )
        self._bridge = LoopBridge(at_exit=self._workspace.close)
        self._tools = build_tools(tools or ("notebook" if root is None else "workspace"), self)

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
        """The notebook's file; None with a root, or without a notebook."""
        return self._path

    @property
    def workspace(self) -> Workspace:
        """The notebooks that there are, and which of them are open. Its coroutines belong to the bridge's loop."""
        return self._workspace

    @property
    def notebook(self) -> str:
        """What a prompt calls the notebook, or the notebooks."""
        return self._workspace.notebook

    async def session(self, notebook: str = "") -> NotebookSession:
        """The session, on the bridge's loop; opened if it is not open.

        Args:
            notebook: Path below the root; nothing without one.
        """
        return await self._workspace.session(notebook)

    def get_tools(self) -> list[BaseTool]:
        """The selected tools, sync and async; the same objects at each call."""
        return list(self._tools)

    def get_prompt(self, task: str | None = None) -> ChatPromptTemplate:
        """System prompt, with a task's if one is named, and a place for `messages`.

        Raises:
            UsageError: No such task; names those that exist.
        """
        return get_prompt(task, notebook=self.notebook)

    def save(self) -> None:
        """Write all of what is open now; it happens within a second by itself."""
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
        if self._workspace.directory is None:
            await self._workspace.session()
        for session in self._workspace.opened.values():
            await session.store.save()


def _check_place(path: object, root: str | PathLike[str] | None, tools: str | Iterable[str]) -> None:
    if path is not None and root is not None:
        raise UsageError("One notebook or many? Give either a path or root=.")
    if root is not None and not Path(root).expanduser().is_dir():
        raise UsageError(f"root={str(root)!r} is not a folder. Make it, or give another one.")
    if path is None and root is None and tools != "interpreter":
        raise UsageError(
            'Which notebook? JupyterToolkit("analysis.ipynb"), root="folder" for many, or tools="interpreter" for none.'
        )
