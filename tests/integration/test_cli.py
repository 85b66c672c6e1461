"""The command line: what it prints, and what it says to bad input."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from langchain_jupyter import demo
from langchain_jupyter.cli import EXAMPLES, app
from langchain_jupyter.errors import UsageError
from langchain_jupyter.testing import calls, tool_call

COMMANDS = [
    [name, *inner]
    for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
    for inner in ([[each] for each in command.commands] if hasattr(command, "commands") else [[]])
]
MODEL = ("--model", "anthropic:nobody")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with what is no notebook, a wide terminal, and no key of whoever runs the tests."""
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "broken.ipynb").write_text("{")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "ROOM_ID", "DOCUMENT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield str(listener.getsockname()[1])


def invoked(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def said(*arguments: str) -> str:
    """The one paragraph that a failing command prints on stderr."""
    done = invoked(*arguments)
    assert done.exit_code == 1, done.output
    assert "Traceback" not in done.output
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_of_a_command_says_how_to_see_where_an_error_comes_from(command: list[str]) -> None:
    done = invoked(*command, "--help")

    assert done.exit_code == 0
    assert "--debug" in done.output


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_of_a_command_ends_with_examples_that_can_be_read(command: list[str]) -> None:
    examples = EXAMPLES[" ".join(command)]
    done = invoked(*command, "-h")
    found = get_command(app)
    for each in command:
        found = found.commands[each]  # type: ignore[attr-defined]

    assert examples
    for example in examples:
        program, *words = shlex.split(example)
        assert (program, words[: len(command)]) == ("langchain-jupyter", command)
        assert example in done.stdout
        found.make_context(command[-1], words[len(command) :])


def test_the_help_names_the_doctor() -> None:
    assert "langchain-jupyter doctor" in invoked("--help").output


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("--notebook", "nowhere/a.ipynb"), "nowhere. Make it, or give another path."),
        (("--notebook", "folder.ipynb"), "folder.ipynb is a folder. Give the path of an .ipynb file in it."),
        (("--notebook", "broken.ipynb"), "broken.ipynb cannot be opened: it is not JSON"),
        (("--kernel", "julia-1.11"), "There is no kernel spec 'julia-1.11'. There are: "),
        (("--prompt", "poetry"), "No task 'poetry'. Tasks: code_review, data_analysis, machine_learning."),
        (("--server-url", "localhost:8888"), "it must begin with http:// or https://"),
        (("--server-url", "http://127.0.0.1:9"), "No Jupyter server answers at http://127.0.0.1:9"),
        (("--server-url", "http://127.0.0.1:9", "--lab"), "give one of them"),
        (("--report", "nowhere/report.html"), "nowhere for the report. Make it, or give another path."),
    ],
)
def test_a_task_that_cannot_be_done_says_why(arguments: tuple[str, ...], cause: str) -> None:
    assert cause in said("run", "Do it.", *MODEL, *arguments)


def test_a_notebook_that_is_larger_than_the_environment_allows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large.ipynb").write_text(f'{{"cells": [], "metadata": {{"x": "{"x" * 2_000}"}}, "nbformat": 4}}')
    monkeypatch.setenv("MAX_NOTEBOOK_SIZE", "1000")

    for command in (("run", "Do it.", *MODEL), ("demo",)):
        text = said(*command, "--notebook", "large.ipynb")

        assert "notebooks of up to 1,000 bytes are opened" in text
        assert "or MAX_NOTEBOOK_SIZE in the environment" in text
    assert "notebooks of up to 1,000 bytes are opened" in invoked("doctor", "--notebook", "large.ipynb").output


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        ("nobody:none", "The model 'nobody:none' cannot be made"),
        ("google_genai:gemini-2.5-flash", "API key required"),
    ],
)
def test_a_model_that_cannot_be_made_says_why(model: str, cause: str) -> None:
    text = said("run", "Do it.", "--model", model)

    assert cause in text
    assert "Give it as provider:name" in text


def test_a_port_that_is_taken_is_named(taken: str) -> None:
    assert f"Port {taken} of this machine cannot be listened on: Address already in use." in said(
        "lab", "--port", taken
    )


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("tools", "nonsense"), "Presets: notebook, interpreter, read_only"),
        (("prompts", "nonsense"), "Tasks: code_review, data_analysis, machine_learning."),
        (("lab", "--notebook", "nowhere/a.ipynb"), "nowhere. Make it, or give another path."),
        (("demo", "--notebook", "folder.ipynb"), "folder.ipynb is a folder."),
    ],
)
def test_other_commands_say_what_there_is(arguments: tuple[str, ...], cause: str) -> None:
    assert cause in said(*arguments)


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [
        ("langchain", ["run", "Do it.", *MODEL], "agents"),
        ("jupyterlab", ["lab"], "lab"),
        ("sklearn", ["demo"], "demo"),
        ("jwt", ["serve", "--notebook", "a.ipynb", "--transport", "http", "--port", "0"], "mcp"),
    ],
)
def test_a_missing_extra_is_named_with_what_installs_it(module: str, command: list[str], extra: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; from langchain_jupyter.cli import app; app({command!r})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)

    assert done.returncode == 1
    assert done.stderr.endswith(f"Install it: pip install 'langchain-jupyter[{extra}]'\n")
    assert "Traceback" not in done.stderr


def test_debug_shows_where_an_error_comes_from() -> None:
    done = invoked("tools", "nonsense", "--debug")

    assert isinstance(done.exception, UsageError)


def test_the_demo_says_that_it_asks_no_model_and_writes_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = "from IPython.display import Image\nImage(data=bytes(8), format='png')"
    monkeypatch.setattr(demo, "script", lambda: [calls(tool_call("append_execute_code_cell", source=figure)), "There."])

    done = invoked("demo", "--notebook", "demo.ipynb", "--report", "report.html")
    page = (tmp_path / "report.html").read_text()

    assert done.exit_code == 0, done.output
    assert "Scripted model:" in done.output
    assert "Report: report.html" in done.output
    assert "a script; no language model was asked" in page
    assert page.count('<section class="cell added"') == 1
    assert page.count("data:image/png;base64,") == 1


def test_a_session_that_breaks_off_has_a_report_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks_off(messages: object) -> None:
        raise RuntimeError("the provider is away")

    turns = [calls(tool_call("append_execute_code_cell", source="6 * 7")), breaks_off]
    monkeypatch.setattr(demo, "script", lambda: turns)

    done = invoked("demo", "--notebook", "demo.ipynb", "--report", "report.html")
    page = (tmp_path / "report.html").read_text()

    assert done.exit_code == 1
    assert "Error: RuntimeError: the provider is away. --debug shows where it comes from." in done.stderr
    assert "It ended before its end: RuntimeError: the provider is away" in page
    assert ">42<" in page
