"""What a model, a stream and a person who approves never see, on a real kernel; and what the notebook keeps."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langchain_jupyter import JupyterToolkit, create_jupyter_agent
from langchain_jupyter.redaction import Redactor
from langchain_jupyter.testing import ScriptedModel, calls, tool_call

SECRET = "swordfish-4711-on-the-table"
KEY = "sk-" + "proj-0123456789abcdefghijABCDEFGHIJ"
ASK: Any = {"messages": [("user", "Go.")]}
CONFIG: Any = {"configurable": {"thread_id": "t"}}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secrets") / "a.ipynb"


@pytest.fixture(scope="module")
def toolkit(path: Path) -> Iterator[JupyterToolkit]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SALES_DB_PASSWORD", SECRET)
        with JupyterToolkit(path) as toolkit:
            yield toolkit


@pytest.fixture
def tools(toolkit: JupyterToolkit) -> dict[str, Any]:
    return {tool.name: tool for tool in toolkit.get_tools()}


def call(tool: Any, **arguments: Any) -> str:
    """All that a tool answers, its artifact too."""
    message = tool.invoke(tool_call(tool.name, **arguments))
    return json.dumps([message.content, message.artifact, message.status], ensure_ascii=False)


def sources(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


def test_what_a_cell_prints_reaches_the_notebook_whole_and_the_model_without_secrets(
    toolkit: JupyterToolkit, tools: dict[str, Any], path: Path
) -> None:
    source = f"import os\nprint(os.environ['SALES_DB_PASSWORD'])\nkey = '{KEY}'\nkey"

    told = call(tools["append_execute_code_cell"], source=source)

    assert "[redacted: SALES_DB_PASSWORD]" in told
    assert "[redacted: OpenAI key]" in told
    assert not {SECRET, KEY} & {each for each in (SECRET, KEY) if each in told}
    toolkit.save()
    kept = path.read_text()
    assert SECRET in kept
    assert KEY in kept


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("get_notebook_info", {}),
        ("read_all_cells", {}),
        ("read_all_cells", {"find": "key"}),
        ("read_cell", {"cell": "0"}),
        ("inspect_variables", {}),
        ("inspect_variables", {"names": ["key", "held"]}),
        ("check_notebook", {}),
        ("run_code", {"code": "raise ValueError(os.environ['SALES_DB_PASSWORD'] + key)"}),
        ("run_code", {"code": "print('x' * 3990 + key + 'y' * 9000)"}),
        ("run_code", {"code": "{key: [os.environ['SALES_DB_PASSWORD']] * 300}"}),
        ("run_cells", {"scope": "all"}),
        ("edit_cell_source", {"cell": "0", "old": "never there", "new": KEY}),
        ("move_cell", {"cell": "0", "before": ""}),
    ],
)
def test_no_tool_tells_them(tools: dict[str, Any], name: str, arguments: dict[str, Any]) -> None:
    call(tools["run_code"], code="held = {'a': os.environ['SALES_DB_PASSWORD']}")

    told = call(tools[name], **arguments)

    assert SECRET[:9] not in told
    assert KEY[:14] not in told


def test_what_is_cut_is_paged_without_them(tools: dict[str, Any]) -> None:
    code = "print('\\n'.join(f'{n} {key}' for n in range(2000)))"
    reference = tools["run_code"].invoke(tool_call("run_code", code=code)).artifact["outputs"][0]["ref"]

    window = call(tools["read_output"], output=reference, start=1000)
    found = call(tools["read_output"], output=reference, find=KEY)

    assert "1000 [redacted: OpenAI key]" in window
    assert KEY not in window
    assert "0 matching" in found  # a search is no way to ask for a secret


def test_a_marker_that_the_model_writes_back_is_what_it_stands_for(
    toolkit: JupyterToolkit, tools: dict[str, Any], path: Path
) -> None:
    call(tools["append_markdown_cell"], source=f"The key is {KEY}, of {SECRET}.")
    last = str(len(toolkit.bridge.run(toolkit.session).document) - 1)  # type: ignore[arg-type]

    told = call(
        tools["edit_cell_source"],
        cell=last,
        old="key is [redacted: OpenAI key]",
        new="keys are [redacted: OpenAI key] and others",
    )
    assert KEY[:14] not in told
    call(tools["overwrite_cell_source"], cell=last, source="Of [redacted: SALES_DB_PASSWORD]: [redacted: OpenAI key]")

    toolkit.save()
    assert sources(path)[-1] == f"Of {SECRET}: {KEY}"


def test_streams_tell_none_though_they_come_in_pieces(toolkit: JupyterToolkit) -> None:
    source = (
        "import time\n"
        "for piece in ['pass: ', *os.environ['SALES_DB_PASSWORD'], '\\n', key[:9], key[9:20], key[20:]]:\n"
        "    print(piece, end='', flush=True)\n    time.sleep(0.02)"
    )
    model = ScriptedModel([calls(tool_call("run_code", code=source)), "Done."])
    agent = create_agent(model, toolkit.get_tools())

    events = [event for mode, event in agent.stream(ASK, stream_mode=["custom", "updates"]) if mode == "custom"]

    text = "".join(event["text"] + "".join(output.get("text", "") for output in event["outputs"]) for event in events)
    assert text == "pass: [redacted: SALES_DB_PASSWORD]\n[redacted: OpenAI key]"


def test_approvals_and_checkpoints_hold_none(toolkit: JupyterToolkit, tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.cells.append(nbformat.v4.new_code_cell(f"password = '{SECRET}'\nrows = 1", id="cell-0"))
    nbformat.write(notebook, tmp_path / "b.ipynb")
    saver = InMemorySaver()
    model = ScriptedModel(
        [calls(tool_call("edit_cell_source", cell="cell-0", old="rows = 1", new="rows = 2")), "Done."]
    )
    with JupyterToolkit(tmp_path / "b.ipynb", redact=Redactor({"THE_PASSWORD": SECRET})) as other:
        agent = create_jupyter_agent(model, other, approve="writes", checkpointer=saver)
        state = agent.invoke(ASK, CONFIG)
        asked = state["__interrupt__"][0].value["action_requests"][0]["description"]

        agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), CONFIG)

    assert "password = '[redacted: THE_PASSWORD]'" in asked
    assert SECRET not in str(list(saver.list(CONFIG)))
    assert SECRET not in str(saver.storage)
    assert SECRET not in str(saver.writes)
    assert SECRET not in str(saver.blobs)
    assert SECRET not in str(model.seen)
    assert sources(tmp_path / "b.ipynb") == [f"password = '{SECRET}'\nrows = 2"]


def test_what_a_person_edits_is_done_with_the_secret_that_they_were_not_shown(tmp_path: Path) -> None:
    source = f"password = '{SECRET}'"
    model = ScriptedModel([calls(tool_call("append_markdown_cell", source=source)), "Done."])
    with (
        JupyterToolkit(tmp_path / "b.ipynb", approve="writes", redact=Redactor({"THE_PASSWORD": SECRET})) as other,
        warnings.catch_warnings(),
    ):
        agent = create_agent(model, other.get_tools(), checkpointer=InMemorySaver())
        interrupt = agent.invoke(ASK, CONFIG)["__interrupt__"][0]
        edited = {"name": "append_markdown_cell", "args": {"source": interrupt.value["args"]["source"] + "  # kept"}}

        agent.invoke(Command(resume={interrupt.id: {"type": "edit", "edited_action": edited}}), CONFIG)

    assert interrupt.value["args"] == {"source": "password = '[redacted: THE_PASSWORD]'"}
    assert SECRET not in interrupt.value["description"]
    assert sources(tmp_path / "b.ipynb") == [source + "  # kept"]


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    with JupyterToolkit(tmp_path / "b.ipynb", redact=False) as other:
        tools = {tool.name: tool for tool in other.get_tools()}
        call(tools["append_markdown_cell"], source=KEY)

        assert KEY in call(tools["read_all_cells"])
