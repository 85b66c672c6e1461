"""The command line."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from langchain_core.language_models import BaseChatModel
from langchain_core.utils.function_calling import convert_to_openai_tool
from rich.console import Console
from rich.markup import escape

from langchain_jupyter import __version__, token_commands
from langchain_jupyter.doctor.examination import Case, examine
from langchain_jupyter.errors import MissingExtra, UsageError
from langchain_jupyter.kernels.local import installed_specs
from langchain_jupyter.mcp.command import health, serve
from langchain_jupyter.models import Cell
from langchain_jupyter.prompts import system_prompt, task_names
from langchain_jupyter.report.page import render_page
from langchain_jupyter.report.record import Recorder
from langchain_jupyter.settings import Environment, has_screen
from langchain_jupyter.terminal import Terminal, Told, presentable
from langchain_jupyter.toolkit import JupyterToolkit

Command = TypeVar("Command", bound=Callable[..., None])

_HELP = {"help_option_names": ["-h", "--help"]}
_AGENTS, _CLIENTS, _LOOK = "Agents", "MCP clients", "Look, and set up"

# What the help of a command ends with, by its path.
EXAMPLES: Mapping[str, Sequence[str]] = {
    "demo": ["langchain-jupyter demo --report report.html", "langchain-jupyter demo --lab"],
    "run": [
        'langchain-jupyter run "Plot sales by month" -n analysis.ipynb -m anthropic:claude-sonnet-4-5',
        'langchain-jupyter run "Review it" -n analysis.ipynb -m anthropic:claude-sonnet-4-5 --prompt code_review',
    ],
    "lab": ["langchain-jupyter lab --notebook analysis.ipynb"],
    "serve": [
        "langchain-jupyter serve --notebook analysis.ipynb",
        "langchain-jupyter serve --notebook analysis.ipynb --transport streamable-http",
        "langchain-jupyter serve --root ~/work --transport streamable-http --port 0",
    ],
    "health": ["langchain-jupyter health http://localhost:4040 --watch 30"],
    "doctor": [
        "langchain-jupyter doctor --notebook analysis.ipynb --model anthropic:claude-sonnet-4-5",
        "langchain-jupyter doctor --server-url http://localhost:8888",
    ],
    "tools": ["langchain-jupyter tools read_only", "langchain-jupyter tools --json"],
    "prompts": ["langchain-jupyter prompts data_analysis"],
    "token set": ["langchain-jupyter token set http://localhost:8888"],
    "token list": ["langchain-jupyter token list"],
    "token remove": ["langchain-jupyter token remove http://localhost:8888"],
}

app = typer.Typer(
    help="LangChain agents in live Jupyter notebooks.",
    epilog="New here? `langchain-jupyter demo` shows an agent at work. Something does not work? "
    "`langchain-jupyter doctor` says what, and how to mend it.",
    context_settings=_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
token_app = typer.Typer(help="Tokens of Jupyter servers, kept for you.", context_settings=_HELP, no_args_is_help=True)
console = Console(highlight=False)
terminal = Terminal(console)

NotebookOption = Annotated[Path, typer.Option("--notebook", "-n", help="The .ipynb file; made if it is not there.")]
ModelOption = Annotated[str, typer.Option("--model", "-m", help="A chat model as provider:name.")]
KernelOption = Annotated[str, typer.Option(help="Name of an installed kernel spec.")]
LabOption = Annotated[bool, typer.Option("--lab", help="Work in a JupyterLab of its own, where you can watch.")]
ServerOption = Annotated[
    str, typer.Option("--server-url", help="Work live on that Jupyter server; JUPYTER_TOKEN has its token.")
]
TaskOption = Annotated[str, typer.Option("--prompt", "-p", help="Task prompt; `prompts` lists them.")]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", help="Write a page of what the agent did: cell by cell, diffs, times, figures."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the stack trace of an error.")]


def _command(panel: str, name: str = "", *, group: typer.Typer = app) -> Callable[[Command], Command]:
    """Makes a command of the app, or of a group, shown in that panel, with its examples."""

    def make(function: Command) -> Command:
        called = name or function.__name__
        path = f"token {called}" if group is token_app else called
        shown = "\n\n".join(["For example:", *EXAMPLES[path]])
        group.command(called, epilog=shown, rich_help_panel=panel, context_settings=_HELP)(_told(function))
        return function

    return make


def _told(function: Command) -> Callable[..., None]:
    """The function with the option --debug; its errors are one paragraph, unless that asks where they come from."""
    signature = inspect.signature(function, eval_str=True)
    known = "debug" in signature.parameters

    @functools.wraps(function)
    def run(**options: Any) -> None:
        debug = options["debug"] if known else options.pop("debug")
        with Told(debug=debug):
            function(**options)

    if not known:
        debug = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=DebugOption)
        parameters = [*signature.parameters.values(), debug]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {**get_type_hints(function, include_extras=True), "debug": DebugOption}
    return run


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """LangChain agents in live Jupyter notebooks."""
    if version:
        console.print(__version__)
        raise typer.Exit


@_command(_AGENTS)
def demo(
    notebook: Annotated[Path | None, typer.Option("--notebook", "-n", help="Where; a new file by default.")] = None,
    model: ModelOption = "",
    lab: LabOption = False,
    report: ReportOption = None,
) -> None:
    """Watch an agent analyse a real data set in a new notebook."""
    from langchain_jupyter.demo import TASK, check_installed, script
    from langchain_jupyter.testing import ScriptedModel

    if model:
        console.print(f"The model {escape(model)} does the task.")
    else:
        check_installed()
        console.print(
            "[bold]Scripted model:[/] this replays a written plan on a real kernel; no language model is asked. "
            "--model provider:name lets one do the task."
        )
    path = notebook or _unused(Path("demo") / "diabetes.ipynb")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _toolkit(path, lab=lab) as toolkit:
        _work(TASK, toolkit, model or ScriptedModel(script()), prompt="data_analysis", report=report)
    _rendered(path)


@_command(_AGENTS)
def run(
    task: Annotated[str, typer.Argument(help="What the agent is to do.")],
    model: ModelOption,
    notebook: NotebookOption = Path("notebook.ipynb"),
    kernel: KernelOption = "",
    prompt: TaskOption = "",
    lab: LabOption = False,
    server_url: ServerOption = "",
    report: ReportOption = None,
) -> None:
    """Let an agent do a task in a notebook."""
    if report is not None and not report.absolute().parent.is_dir():
        raise UsageError(
            f"There is no folder {report.absolute().parent} for the report. Make it, or give another path."
        )
    with _toolkit(notebook, kernel=kernel, lab=lab, server_url=server_url) as toolkit:
        _work(task, toolkit, model, prompt=prompt or None, report=report)
    if not server_url:
        _rendered(notebook)


@_command(_AGENTS)
def lab(
    notebook: NotebookOption = Path("notebook.ipynb"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 for a free one.")] = 0,
) -> None:
    """Open a notebook in a JupyterLab that agents can join; Ctrl-C ends it and its kernels."""
    with JupyterToolkit.launch(notebook, port=port) as toolkit:
        _show(toolkit.lab_url)
        server, _, token = toolkit.lab_url.partition("/lab/tree/")
        console.print(
            "An agent joins with\n"
            f'  JupyterToolkit("{notebook.name}", server_url="{server}", token="{token.partition("token=")[2]}")\n'
            "Ctrl-C ends the server and its kernels.",
            markup=False,
            soft_wrap=True,
        )
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


@_command(_LOOK)
def doctor(
    notebook: Annotated[
        str, typer.Option("--notebook", "-n", help="Can it be written? A path, or one on the server.")
    ] = "",
    kernel: KernelOption = "",
    server_url: Annotated[
        str, typer.Option(help="A Jupyter server; JUPYTER_URL if left out. JUPYTER_TOKEN has its token.")
    ] = "",
    mcp_url: Annotated[str, typer.Option(help="A `langchain-jupyter serve` over HTTP; MCP_TOKEN has its token.")] = "",
    model: ModelOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Find out what is wrong, and how to mend it. Starts a kernel for a moment; changes nothing.

    Without options it looks at the packages and at the kernels of this machine, and at what the environment names.
    The exit code is 1 if there is a problem.
    """
    case = Case(notebook=notebook, kernel=kernel, server_url=server_url, mcp_url=mcp_url, model=model)
    found = asyncio.run(examine(case))
    if as_json:
        typer.echo(json.dumps([each.as_json() for each in found], indent=1))
    else:
        terminal.findings(found)
    raise typer.Exit(1 if any(each.state == "problem" for each in found) else 0)


@_command(_LOOK)
def tools(
    preset: Annotated[str, typer.Argument(help="notebook, interpreter, read_only or workspace.")] = "notebook",
    as_json: Annotated[bool, typer.Option("--json", help="In OpenAI's form.")] = False,
) -> None:
    """List the tools that a model gets."""
    many = preset == "workspace"
    toolkit = JupyterToolkit(root=".") if many else JupyterToolkit("none.ipynb", tools=preset)
    selected = toolkit.get_tools()
    if as_json:
        typer.echo(json.dumps([convert_to_openai_tool(tool) for tool in selected], indent=1))
        return
    for tool in selected:
        console.print(f"[bold]{tool.name}[/] ({', '.join(tool.args)})\n    {escape(tool.description)}")


@_command(_LOOK)
def prompts(name: Annotated[str, typer.Argument(help="Show this one; none lists them.")] = "") -> None:
    """List the task prompts, or show one with the system prompt."""
    if name:
        typer.echo(system_prompt(name, notebook="notebook.ipynb"))
        return
    for each in task_names():
        console.print(each)


_command(_CLIENTS)(serve)
_command(_CLIENTS)(health)
_command("Commands", "set", group=token_app)(token_commands.keep)
_command("Commands", "list", group=token_app)(token_commands.show)
_command("Commands", "remove", group=token_app)(token_commands.forget)
app.add_typer(token_app, name="token", rich_help_panel=_LOOK)


@contextmanager
def _toolkit(notebook: Path, *, kernel: str = "", lab: bool = False, server_url: str = "") -> Iterator[JupyterToolkit]:
    """The notebook in a file, on a server, or in a JupyterLab of its own, which stays until the person has looked."""
    if lab and server_url:
        raise UsageError("--lab starts a server of its own, --server-url names another one: give one of them.")
    if kernel and not server_url and kernel not in (known := installed_specs()):
        raise UsageError(f"There is no kernel spec {kernel!r}. There are: {', '.join(known)}. Give one as --kernel.")
    environment = Environment.read()
    options: dict[str, Any] = {"kernel": kernel, "notebook_limits": environment.notebook_limits}
    if not lab:
        token = environment.jupyter_token or ""
        with JupyterToolkit(notebook, server_url=server_url, token=token, **options) as toolkit:
            yield toolkit
        return
    with JupyterToolkit.launch(notebook, **options) as toolkit:
        _show(toolkit.lab_url)
        yield toolkit
        if sys.stdin.isatty():
            typer.prompt("\nEnter ends JupyterLab", default="", show_default=False, prompt_suffix=" ")


def _show(address: str) -> None:
    """Print an address, and open it where there is a screen."""
    console.print(f"JupyterLab: {address}", markup=False, soft_wrap=True)
    if has_screen():
        webbrowser.open(address)


def _work(
    task: str, toolkit: JupyterToolkit, model: str | BaseChatModel, *, prompt: str | None, report: Path | None
) -> None:
    """Run an agent, and tell what it does while it does it."""
    try:
        from langchain_jupyter.agent import create_jupyter_agent
    except ImportError as error:
        raise MissingExtra("agents", "An agent") from error
    agent = create_jupyter_agent(model, toolkit, task=prompt)
    name = model if isinstance(model, str) else "a script; no language model was asked"
    with nullcontext() if report is None else _recording(report, toolkit, task, name) as recorder:
        mode: str
        event: Any
        for mode, event in agent.stream({"messages": [("user", task)]}, stream_mode=["updates", "custom"]):
            if mode == "custom":
                terminal.output(event)
                continue
            told = (message for update in event.values() for message in (update or {}).get("messages", ()))
            messages = [presentable(message, toolkit.redactor) for message in told]
            terminal.messages(messages)
            if recorder is not None:
                recorder.hear(messages)


@contextmanager
def _recording(file: Path, toolkit: JupyterToolkit, task: str, model: str) -> Iterator[Recorder]:
    """A page of what happens inside, also where it ends by an error or Ctrl-C."""
    recorder, before, stopped = Recorder(), _cells(toolkit), ""
    try:
        yield recorder
    except BaseException as error:
        stopped = f"{type(error).__name__}: {error}".removesuffix(": ")
        raise
    finally:
        record = recorder.record(
            task=task, model=model, notebook=toolkit.notebook, stopped=stopped, before=before, after=_cells(toolkit)
        )
        file.write_text(render_page(record, clean=toolkit.redactor.redact), encoding="utf-8")
        console.print(f"\nReport: {file}")


def _cells(toolkit: JupyterToolkit) -> Sequence[Cell]:
    async def read() -> Sequence[Cell]:
        return tuple((await toolkit.session()).document.cells())

    return toolkit.bridge.run(read)


def _rendered(notebook: Path) -> None:
    """Where the notebook is, and a rendered page beside it where nbconvert is there to make one."""
    console.print(f"\nNotebook: {notebook}")
    try:
        from nbconvert import HTMLExporter
    except ImportError:
        console.print("pip install nbconvert to get a rendered page beside it.", style="dim")
        return
    page, _ = HTMLExporter().from_filename(str(notebook))  # type: ignore[no-untyped-call]
    target = notebook.with_suffix(".html")
    target.write_text(page, encoding="utf-8")
    console.print(f"Rendered: {target}")


def _unused(path: Path) -> Path:
    """The path, or the next of its name that is free."""
    number, free = 2, path
    while free.exists():
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return free


if __name__ == "__main__":
    sys.exit(app())
