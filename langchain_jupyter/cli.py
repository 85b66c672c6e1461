"""The command line."""

from __future__ import annotations

import functools
import json
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from rich.console import Console
from rich.markup import escape

from langchain_jupyter import __version__
from langchain_jupyter.errors import JupyterError, MissingExtra, UsageError
from langchain_jupyter.mcp.command import health, serve
from langchain_jupyter.prompts import system_prompt, task_names
from langchain_jupyter.sessions.sight import first_line
from langchain_jupyter.settings import Environment, has_screen
from langchain_jupyter.toolkit import JupyterToolkit

app = typer.Typer(
    help="LangChain agents in live Jupyter notebooks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(highlight=False)

NotebookOption = Annotated[Path, typer.Option("--notebook", "-n", help="The .ipynb file; made if it is not there.")]
ModelOption = Annotated[str, typer.Option("--model", "-m", help="A chat model as provider:name.")]
KernelOption = Annotated[str, typer.Option(help="Name of an installed kernel spec.")]
LabOption = Annotated[bool, typer.Option("--lab", help="Work in a JupyterLab of its own, where you can watch.")]
ServerOption = Annotated[
    str, typer.Option("--server-url", help="Work live on that Jupyter server; JUPYTER_TOKEN has its token.")
]
TaskOption = Annotated[str, typer.Option("--prompt", "-p", help="Task prompt; `prompts` lists them.")]

_SHOWN = 8


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """LangChain agents in live Jupyter notebooks."""
    if version:
        console.print(__version__)
        raise typer.Exit


@app.command()
def demo(
    notebook: Annotated[Path | None, typer.Option("--notebook", "-n", help="Where; a new file by default.")] = None,
    model: ModelOption = "",
    lab: LabOption = False,
) -> None:
    """Watch an agent analyse a real data set in a new notebook."""
    from langchain_jupyter.demo import TASK, script
    from langchain_jupyter.testing import ScriptedModel

    if model:
        console.print(f"The model {escape(model)} does the task.")
    else:
        console.print(
            "[bold]Scripted model:[/] this replays a written plan on a real kernel; no language model is asked. "
            "--model provider:name lets one do the task."
        )
    path = notebook or _unused(Path("demo") / "diabetes.ipynb")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _told(), _toolkit(path, lab=lab) as toolkit:
        _work(TASK, toolkit, model or ScriptedModel(script()), prompt="data_analysis")
    _report(path)


@app.command()
def run(
    task: Annotated[str, typer.Argument(help="What the agent is to do.")],
    model: ModelOption,
    notebook: NotebookOption = Path("notebook.ipynb"),
    kernel: KernelOption = "",
    prompt: TaskOption = "",
    lab: LabOption = False,
    server_url: ServerOption = "",
) -> None:
    """Let an agent do a task in a notebook."""
    with _told(), _toolkit(notebook, kernel=kernel, lab=lab, server_url=server_url) as toolkit:
        _work(task, toolkit, model, prompt=prompt or None)
    if not server_url:
        _report(notebook)


@app.command()
def lab(
    notebook: NotebookOption = Path("notebook.ipynb"),
    port: Annotated[int, typer.Option(help="TCP port; 0 for a free one.")] = 0,
) -> None:
    """Open a notebook in a JupyterLab that agents can join; Ctrl-C ends it and its kernels."""
    with _told(), JupyterToolkit.launch(notebook, port=port) as toolkit:
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


@app.command()
def tools(
    preset: Annotated[str, typer.Argument(help="notebook, interpreter, read_only or workspace.")] = "notebook",
    as_json: Annotated[bool, typer.Option("--json", help="In OpenAI's form.")] = False,
) -> None:
    """List the tools that a model gets."""
    with _told():
        many = preset == "workspace"
        toolkit = JupyterToolkit(root=".") if many else JupyterToolkit("none.ipynb", tools=preset)
        selected = toolkit.get_tools()
    if as_json:
        typer.echo(json.dumps([convert_to_openai_tool(tool) for tool in selected], indent=1))
        return
    for tool in selected:
        console.print(f"[bold]{tool.name}[/] ({', '.join(tool.args)})\n    {escape(tool.description)}")


@app.command()
def prompts(name: Annotated[str, typer.Argument(help="Show this one; none lists them.")] = "") -> None:
    """List the task prompts, or show one with the system prompt."""
    with _told():
        if name:
            typer.echo(system_prompt(name, notebook="notebook.ipynb"))
            return
    for each in task_names():
        console.print(each)


class _told:
    """Errors of ours as one paragraph, without a stack trace."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, JupyterError):
            Console(stderr=True).print(f"[red]Error:[/] {escape(str(error))}")
            raise typer.Exit(1) from error


def _plainly(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose errors are told so."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        with _told():
            command(*args, **options)

    return run


app.command()(_plainly(serve))
app.command()(health)


@contextmanager
def _toolkit(notebook: Path, *, kernel: str = "", lab: bool = False, server_url: str = "") -> Iterator[JupyterToolkit]:
    """The notebook in a file, on a server, or in a JupyterLab of its own, which stays until the person has looked."""
    if lab and server_url:
        raise UsageError("--lab starts a server of its own, --server-url names another one: give one of them.")
    if not lab:
        token = Environment.read().jupyter_token or ""
        with JupyterToolkit(notebook, kernel=kernel, server_url=server_url, token=token) as toolkit:
            yield toolkit
        return
    with JupyterToolkit.launch(notebook, kernel=kernel) as toolkit:
        _show(toolkit.lab_url)
        yield toolkit
        if sys.stdin.isatty():
            typer.prompt("\nEnter ends JupyterLab", default="", show_default=False, prompt_suffix=" ")


def _show(address: str) -> None:
    """Print an address, and open it where there is a screen."""
    console.print(f"JupyterLab: {address}", markup=False, soft_wrap=True)
    if has_screen():
        webbrowser.open(address)


def _work(task: str, toolkit: JupyterToolkit, model: Any, *, prompt: str | None) -> None:
    """Run an agent, and tell what it does while it does it."""
    try:
        from langchain_jupyter.agent import create_jupyter_agent
    except ImportError as error:
        raise MissingExtra("agents", "An agent") from error
    try:
        agent = create_jupyter_agent(model, toolkit, task=prompt)
    except (ImportError, ValueError) as error:
        if isinstance(error, JupyterError):
            raise
        raise UsageError(f"The model {model!r} cannot be used: {error}") from error
    messages = {"messages": [("user", task)]}
    for mode, event in agent.stream(messages, stream_mode=["updates", "custom"]):
        _tell(mode, event)


def _tell(mode: str, event: Any) -> None:
    if mode == "custom":
        _tell_output(event)
        return
    for update in event.values():
        for message in (update or {}).get("messages", ()):
            _tell_message(message)


def _tell_message(message: BaseMessage) -> None:
    if isinstance(message, AIMessage):
        if message.text:
            console.print(f"\n{escape(message.text)}")
        for call in message.tool_calls:
            what = first_line(str(next(iter(call["args"].values()), "")), 70)
            console.print(f"[cyan]●[/] [bold]{call['name']}[/] [dim]{escape(what)}[/]")
    elif isinstance(message, ToolMessage):
        color = "green" if message.status == "success" else "red"
        console.print(f"  [{color}]{escape(message.text.partition(chr(10))[0])}[/]")


def _tell_output(event: Mapping[str, Any]) -> None:
    """What a running cell has printed since the last event."""
    text = str(event.get("text", ""))
    for output in event.get("outputs", ()):
        pictures = [kind for kind in output.get("mime_types", ()) if kind.startswith("image/")]
        text += f"[{pictures[0]}]\n" if pictures else str(output.get("text", ""))
    lines = [line for line in text.splitlines() if line.strip()]
    for line in lines[-_SHOWN:]:
        console.print(f"    [dim]{escape(line[:110])}[/]")


def _report(notebook: Path) -> None:
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
