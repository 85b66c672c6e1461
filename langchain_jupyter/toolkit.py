"""What a user makes: the toolkit of one notebook, or of many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, BaseToolkit
from pydantic import PrivateAttr, SecretStr

from langchain_jupyter.backends import Backend
from langchain_jupyter.bridge import Closing, LoopBridge
from langchain_jupyter.documents.presence import Collaborator
from langchain_jupyter.errors import UsageError
from langchain_jupyter.human import Approve, Human
from langchain_jupyter.isolation import Isolation, isolated
from langchain_jupyter.prompts import get_prompt
from langchain_jupyter.reach import Reach, ServerDocuments, ServerKernels, documents_of, kernels_of
from langchain_jupyter.redaction import NOTHING, Redactor
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.sessions.undo import Checkpoint, Reverted, Undo, beginning, moment, revert
from langchain_jupyter.settings import (
    TLS,
    Environment,
    NotebookLimits,
    OutputLimits,
    ServerSettings,
    secrets_of_environment,
)
from langchain_jupyter.tokens import token_of
from langchain_jupyter.tools import build_tools
from langchain_jupyter.tools.base import JupyterTool
from langchain_jupyter.tools.order import Order
from langchain_jupyter.workspace import Workspace

if TYPE_CHECKING:
    from langchain_jupyter.mcp.remote import McpToolkit


class JupyterToolkit(Closing, BaseToolkit):
    """Tools for one live notebook and its kernel, or for all notebooks below a folder.

    Making one touches nothing: the first call of a tool opens the notebook (a file that is not there yet is created)
    and starts a kernel. `with`, `async with`, `close()` and `aclose()` save, and end what was started; at the exit of
    the interpreter it happens by itself.

    Args:
        path: The .ipynb file. May be left out for the "interpreter" tools, which need none.
        root: A folder, in place of `path`, for work in many notebooks: the tools list and open them, and each of the
            others takes `notebook`. Nothing outside of it can be read or written through them; code that runs can.
        server_url: A Jupyter server, or a user's server of a hub: `path` and `root` are paths there, the notebook is
            edited live beside people where the server has real-time collaboration, and its kernel there is used.
        token: For that server; if it is not given, the one that `langchain-jupyter token set` keeps for it.
        runtime_url: The server or gateway that runs the kernel, where it is another one than the notebook's.
        runtime_token: For that one; `token` if not given.
        notebook_client: An `NbModelClient` of jupyter-nbmodel-client that you have, in place of `path`; what it cannot
            do stands at `langchain_jupyter.documents.client.ClientStore`.
        kernel_client: A `JupyterKernelClient` of jupyter-kernel-client that you have, for the kernel of the one
            notebook; what it cannot do stands at `langchain_jupyter.kernels.client.ClientKernel`.
        username: Whom people see in JupyterLab.
        tls: How https is checked.
        kernel: Name of an installed kernel spec; "" for the notebook's running kernel, or else the spec that it names,
            or else python3. On a server also the id of a running kernel, or "new".
        tools: "notebook" (the default with a path), "workspace" (the default with a root), "interpreter", "read_only",
            or names of tools.
        soft_wait: Seconds that a run is waited for before the tool answers `running`.
        max_runtime: Seconds after which a run is interrupted; None for never.
        idle_close: Seconds after which a notebook below `root`, or of a thread, that nobody has used, and where nothing
            runs, is closed and its kernel ended; None for never.
        keep_kernels: Whether kernels that were started on a server go on there when the toolkit is closed, with what
            runs in them.
        limits: How much of an output a model gets to see, and how much of a run's outputs the notebook keeps.
        notebook_limits: How large a notebook may be that is opened, and a source that a tool writes or runs.
        redact: Whether secrets are taken out of what a model, a stream or a person who approves gets to see: the
            tokens given here, environment variables that are named like secrets, and what has the form of a known key.
            Or a `Redactor` of your own. The notebook itself stays as it is.
        approve: Which calls a person approves before they are done, by an interrupt of the graph inside the tool:
            "writes" to the notebook, "runs" of code, "all" (the kernel's restart too) or "none". For any graph with a
            checkpointer; `create_jupyter_agent(approve=…)` asks once for all calls of a turn.
        isolation: "shared", or "thread" for a notebook and a kernel of its own for each LangGraph thread; it begins as
            a copy of `path`, beside it, and is closed after `idle_close`.
        backend: Documents and kernels of your own, in place of all places above.

    Raises:
        SettingsError: A URL that is none.
        UsageError: No such preset or tool, or not one of path and root where one is needed.
    """

    _bridge: LoopBridge = PrivateAttr()
    _workspace: Workspace = PrivateAttr()
    _limits: OutputLimits = PrivateAttr()
    _redactor: Redactor = PrivateAttr()
    _human: Human = PrivateAttr()
    _undo: Undo = PrivateAttr()
    _order: Order = PrivateAttr()
    _isolation: Isolation = PrivateAttr()
    _tools: list[JupyterTool] = PrivateAttr()
    _own: LabServer | None = PrivateAttr(default=None)

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        *,
        root: str | PathLike[str] | None = None,
        server_url: str = "",
        token: str | SecretStr = "",
        runtime_url: str = "",
        runtime_token: str | SecretStr = "",
        notebook_client: Any = None,
        kernel_client: Any = None,
        username: str = "Agent",
        tls: TLS | None = None,
        kernel: str = "",
        tools: str | Iterable[str] = "",
        soft_wait: float = 30.0,
        max_runtime: float | None = None,
        idle_close: float | None = 8 * 3600.0,
        keep_kernels: bool = False,
        limits: OutputLimits | None = None,
        notebook_limits: NotebookLimits | None = None,
        redact: bool | Redactor = True,
        approve: Approve = "none",
        isolation: Isolation = "shared",
        backend: Backend | None = None,
    ) -> None:
        super().__init__()
        self._human = Human(approve)
        self._undo = Undo()
        self._order = Order()
        notebook_limits = notebook_limits or NotebookLimits()
        servers: tuple[ServerSettings | None, ...] = ()
        if backend is None:
            if notebook_client is None:
                _check_place(path, root, tools, server_url)
            else:
                _check_notebook_client(path, root, server_url, isolation)
            _check_kernel_client(kernel_client, root, runtime_url, kernel, isolation)
            server, runtimes = servers = _servers(server_url, token, runtime_url, runtime_token, tls or TLS())
            documents = documents_of(
                path, root, server, Collaborator(name=username), notebook_client, limits=notebook_limits
            )
            kernels = kernels_of(runtimes, documents, kernel_client, keep=keep_kernels)
            backend = Backend(documents, kernels, shared=server is not None)
        if isolation == "thread":
            backend = isolated(backend, None if path is None else Path(path).expanduser(), notebook_limits)
        self._isolation = isolation
        self._limits = limits or OutputLimits()
        self._redactor = _redactor(redact, servers)
        self._workspace = Workspace(
            backend,
            kernel=kernel,
            soft_wait=soft_wait,
            max_runtime=max_runtime,
            idle_close=idle_close,
            limits=self._limits,
            notebook_limits=notebook_limits,
        )
        self._bridge = LoopBridge(at_exit=self._workspace.close, at_loss=self._workspace.abandon)
        self._tools = build_tools(tools or ("notebook" if self._workspace.directory is None else "workspace"), self)

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """A toolkit for what the environment says, under the guide's names and their later ones.

        Args:
            options: As for the constructor; they go before the environment.

        Raises:
            SettingsError: A variable has a value that cannot work.
            UsageError: No notebook is named: DOCUMENT_ID (or ROOM_ID).
        """
        found = Environment.read()
        documents, runtimes = found.document_server, found.runtime_server
        named: dict[str, Any] = {
            "path": found.document_id,
            "kernel": found.kernel,
            "tls": found.tls,
            "redact": found.redact,
            "notebook_limits": found.notebook_limits,
        }
        if documents is not None:
            named |= {"server_url": documents.url, "token": documents.token}
        if runtimes is not None and runtimes != documents:
            named |= {"runtime_url": runtimes.url, "runtime_token": runtimes.token}
        if "root" in options:
            del named["path"]
        elif not (found.document_id or options.get("path")):
            raise UsageError("The environment names no notebook. Set DOCUMENT_ID (or ROOM_ID) to its path.")
        return cls(**{**named, **options})

    @classmethod
    def launch(cls, path: str | PathLike[str], *, port: int = 0, username: str = "Agent", **options: Any) -> Self:
        """A toolkit in a JupyterLab of its own, where a person can watch and join in: `lab_url` is its address.

        The server is ended with the toolkit, its kernels included.

        Args:
            path: The .ipynb file; its folder is what the server serves.
            port: TCP port; 0 for a free one.
            username: Whom people see.
            options: As for the constructor.

        Raises:
            MissingExtra: The extra `lab` is not installed.
            OutOfReach: The server did not start.
        """
        file = Path(path).expanduser()
        if not file.absolute().parent.is_dir():
            raise UsageError(f"There is no folder {file.absolute().parent}. Make it, or give another path.")
        own = LabServer(file.absolute().parent, port=port)
        reach = Reach(own)
        documents = ServerDocuments(
            reach, file.name, collaborator=Collaborator(name=username), limits=options.get("notebook_limits")
        )
        toolkit = cls(backend=Backend(documents, ServerKernels(reach)), **options)
        toolkit._own = own
        if toolkit._redactor is not NOTHING:
            toolkit._redactor.add("Jupyter token", own.token.get_secret_value())
        toolkit._bridge.run(reach.open)
        return toolkit

    @staticmethod
    async def from_mcp(url: str, token: str = "") -> McpToolkit:
        """The tools and prompts of a `langchain-jupyter serve` that runs elsewhere, over one MCP session held open.

        Args:
            url: Such as `http://localhost:4040/mcp`.
            token: What the server wants as a bearer token.

        Raises:
            MissingExtra: The extra `mcp-adapters` is not installed.
            ServerUnreachable: Nobody answers.
            ServerRefused: The token is not accepted.
        """
        from langchain_jupyter.mcp.remote import McpToolkit

        return await McpToolkit.connect(url, token)

    @property
    def lab_url(self) -> str:
        """Address of the notebook in JupyterLab, for a browser; with the token, if the server is our own.

        Raises:
            UsageError: There is no server.
        """
        if self._own is not None:
            return self._own.page(self._workspace.notebook)
        raise UsageError("There is no JupyterLab of ours to look at. JupyterToolkit.launch(path) starts one.")

    @property
    def bridge(self) -> LoopBridge:
        """Carries calls onto the loop where the session lives."""
        return self._bridge

    @property
    def limits(self) -> OutputLimits:
        """How much of an output a model gets to see."""
        return self._limits

    @property
    def redactor(self) -> Redactor:
        """What a model, a stream and a person who approves never see."""
        return self._redactor

    @property
    def human(self) -> Human:
        """The person behind the graph: what they approve, and what they said in confidence."""
        return self._human

    @property
    def order(self) -> Order:
        """The calls of each turn."""
        return self._order

    @property
    def undo(self) -> Undo:
        """What was written from which step of a graph. Its methods belong to the bridge's loop."""
        return self._undo

    @property
    def workspace(self) -> Workspace:
        """The notebooks that there are, and which of them are open. Its coroutines belong to the bridge's loop."""
        return self._workspace

    @property
    def notebook(self) -> str:
        """What a prompt calls the notebook, or the notebooks."""
        return self._workspace.notebook

    async def session(self, notebook: str = "", *, thread: str = "") -> NotebookSession:
        """The session, on the bridge's loop; opened if it is not open.

        Args:
            notebook: Path below the root; nothing without one.
            thread: The LangGraph thread that asks, which may have a notebook of its own.
        """
        return await self._workspace.session(thread if self._isolation == "thread" else notebook)

    def get_tools(self) -> list[BaseTool]:
        """The selected tools, sync and async; the same objects at each call."""
        return list(self._tools)

    def get_prompt(self, task: str | None = None) -> ChatPromptTemplate:
        """System prompt, with a task's if one is named, and a place for `messages`.

        Raises:
            UsageError: No such task; names those that exist.
        """
        return get_prompt(task, notebook=self.notebook)

    def conceal(self, secret: str) -> str:
        """A reference to a password, to resume a graph with in which a cell asks for it through getpass().

        The password itself stays in the memory of this process until the cell has it. LangGraph would keep it in its
        checkpoints.
        """
        return self._human.conceal(secret)

    def checkpoint(self) -> Checkpoint:
        """This moment of the notebook, or of all that are open, for `revert`."""
        return self._bridge.run(self._checkpoint)

    async def acheckpoint(self) -> Checkpoint:
        """This moment of the notebook, or of all that are open, for `arevert`."""
        return await self._bridge.arun(self._checkpoint)

    def revert(self, to: Checkpoint | RunnableConfig) -> list[Reverted]:
        """Take back what was done to the notebooks since; what others have changed since stays.

        Variables of the kernel do not go back: the answer names the cells that are stale.

        Args:
            to: What `checkpoint` gave: everything is taken back that went through this toolkit. Or the config of a
                checkpoint of a LangGraph thread, as `get_state_history` gives it: what that thread did since is taken
                back. The graph can then go on from there.

        Returns:
            What it came to in each notebook in which something was done since.

        Raises:
            UsageError: A config without thread and checkpoint; a notebook was closed since; or the checkpoint is older
                than this toolkit, so that what was done since is not remembered. Nothing was changed.
            Busy: A cell is running.
        """
        return self._bridge.run(lambda: self._revert(to))

    async def arevert(self, to: Checkpoint | RunnableConfig) -> list[Reverted]:
        """See `revert`."""
        return await self._bridge.arun(lambda: self._revert(to))

    def save(self) -> None:
        """Write all of what is open now; it happens within a second by itself."""
        self._bridge.run(self._save)

    async def _end(self) -> None:
        await self._workspace.close()

    async def _opened(self) -> Mapping[str, NotebookSession]:
        if self._workspace.directory is None and self._isolation == "shared":
            await self._workspace.session()
        return self._workspace.opened

    async def _checkpoint(self) -> Checkpoint:
        return Checkpoint({path: moment(session) for path, session in (await self._opened()).items()})

    async def _revert(self, to: Checkpoint | RunnableConfig) -> list[Reverted]:
        opened = await self._opened()
        if isinstance(to, Checkpoint):
            moments = {path: to.moments.get(path) or beginning(session) for path, session in opened.items()}
            thread = ""
        else:
            thread, checkpoint_id = _checkpoint_of(to)
            moments = dict(self._undo.at(opened, thread, checkpoint_id))
        done = []
        for path, session in opened.items():
            if moments[path] != moment(session):
                done.append(revert(session, moments[path], thread=thread))
                await session.store.settle()
        return done

    async def _save(self) -> None:
        for session in (await self._opened()).values():
            await session.store.save()


def _servers(
    url: str, token: str | SecretStr, runtime_url: str, runtime_token: str | SecretStr, tls: TLS
) -> tuple[ServerSettings | None, ServerSettings | None]:
    """The server of the notebook, and that of the kernel."""
    documents = _known(ServerSettings(url=url, token=_secret(token), tls=tls)) if url else None
    if not runtime_url:
        return documents, documents
    return documents, _known(ServerSettings(url=runtime_url, token=_secret(runtime_token or token), tls=tls))


def _known(server: ServerSettings) -> ServerSettings:
    """The server with the token that the user keeps for it, if none was given."""
    kept = None if server.token else token_of(server.url)
    return server if kept is None else replace(server, token=kept)


def _redactor(redact: bool | Redactor, servers: Iterable[ServerSettings | None]) -> Redactor:
    if isinstance(redact, Redactor):
        return redact
    if not redact:
        return NOTHING
    redactor = Redactor(secrets_of_environment(), later=secrets_of_environment)
    redactor.add("Jupyter token", *(server.token.get_secret_value() for server in servers if server is not None))
    return redactor


def _secret(token: str | SecretStr) -> SecretStr:
    return token if isinstance(token, SecretStr) else SecretStr(token)


def _check_notebook_client(path: object, root: object, server_url: str, isolation: Isolation) -> None:
    given = {"path": path is not None, "root": root is not None, "server_url": bool(server_url)}
    if clash := [name for name, there in given.items() if there]:
        raise UsageError(f"notebook_client has its notebook already: leave out {' and '.join(clash)}=.")
    if isolation != "shared":
        raise UsageError('notebook_client has one notebook, for all threads: leave out isolation="thread".')


def _check_kernel_client(client: Any, root: object, runtime_url: str, kernel: str, isolation: Isolation) -> None:
    if client is None:
        return
    given = {"root": root is not None, "runtime_url": bool(runtime_url), "kernel": bool(kernel)}
    if clash := [name for name, there in given.items() if there]:
        raise UsageError(f"kernel_client has the one kernel that there is: leave out {' and '.join(clash)}=.")
    if isolation != "shared":
        raise UsageError('kernel_client has one kernel, for all threads: leave out isolation="thread".')


def _check_place(path: object, root: str | PathLike[str] | None, tools: str | Iterable[str], server_url: str) -> None:
    if path is not None and root is not None:
        raise UsageError("One notebook or many? Give either a path or root=.")
    if root is not None and not server_url and not Path(root).expanduser().is_dir():
        raise UsageError(f"root={str(root)!r} is not a folder. Make it, or give another one.")
    if path is None and root is None and tools != "interpreter":
        raise UsageError(
            'Which notebook? JupyterToolkit("analysis.ipynb"), root="folder" for many, or tools="interpreter" for none.'
        )


def _checkpoint_of(config: RunnableConfig) -> tuple[str, str]:
    """Thread and checkpoint that a config names."""
    named = config.get("configurable") or {}
    if not named.get("thread_id") or not named.get("checkpoint_id"):
        raise UsageError(
            "Revert to what? Give what checkpoint() returned, or the config of a checkpoint with its thread_id and "
            "checkpoint_id, as `agent.get_state_history(config)` has them."
        )
    return str(named["thread_id"]), str(named["checkpoint_id"])
