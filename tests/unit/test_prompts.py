"""What the model is told before it starts."""

import re
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from langchain_jupyter import prompts
from langchain_jupyter.errors import UsageError
from langchain_jupyter.tools import TOOLS
from tests.snapshots import check

TOOL_NAMES = {tool.model_fields["name"].default for tool in TOOLS}
TASKS = ("code_review", "data_analysis", "machine_learning")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's own prompts, with a task and nothing else yet."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "forecast.md").write_text("Forecast {{{series}}} in {'a': 1} style.\n", encoding="utf-8")
    return tmp_path


def test_the_system_prompt_reads_as_reviewed() -> None:
    check("prompts/system", prompts.system_text(notebook="analysis.ipynb", language="Python"))


@pytest.mark.parametrize("task", TASKS)
def test_a_task_prompt_reads_as_reviewed(task: str) -> None:
    check(f"prompts/{task}", prompts.task_text(task))


def test_the_tasks_are_those_of_the_folder() -> None:
    assert prompts.task_names() == TASKS


def test_prompts_are_short() -> None:
    assert len(prompts.system_text(notebook="analysis.ipynb")) <= 2_500
    assert all(len(prompts.task_text(task)) <= 1_300 for task in TASKS)


def test_prompts_name_tools_that_exist() -> None:
    text = "\n".join([prompts.system_text(notebook="x"), *map(prompts.task_text, TASKS)])

    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)\b[^`]*`", text))

    assert named, "tools stand in backticks"
    assert not named - TOOL_NAMES


def test_a_prompt_is_the_system_and_the_task_then_the_conversation() -> None:
    prompt = prompts.get_prompt("data_analysis", notebook="analysis.ipynb")

    system, human = prompt.invoke({"messages": [("user", "Why?")]}).to_messages()

    assert isinstance(system, SystemMessage)
    assert system.text.startswith("# Working in a live notebook")
    assert "# Task: data analysis" in system.text
    assert human == HumanMessage("Why?")


def test_without_a_task_there_is_only_the_system_text() -> None:
    assert "# Task" not in prompts.system_prompt(notebook="analysis.ipynb")


def test_braces_and_angles_in_a_value_are_text() -> None:
    prompt = prompts.get_prompt(notebook="a<b & {c} {{d}}.ipynb")

    text = prompt.invoke({"messages": []}).to_messages()[0].text

    assert "`a<b & {c} {{d}}.ipynb`" in text
    assert prompt.input_variables == ["messages"]


def test_an_unknown_task_is_refused_with_the_names_of_those_that_exist() -> None:
    with pytest.raises(UsageError, match=r"'astrology'.*code_review, data_analysis, machine_learning"):
        prompts.get_prompt("astrology", notebook="analysis.ipynb")


def test_a_task_is_a_name_and_never_a_path() -> None:
    with pytest.raises(UsageError, match="No task"):
        prompts.task_text("../system")


def test_a_missing_variable_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Missing variables notebook.*language, notebook"):
        prompts.system_text()


def test_an_unknown_variable_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Unknown variables notbook.*language, notebook"):
        prompts.system_text(notebook="analysis.ipynb", notbook="analysis.ipynb")


def test_a_task_of_ones_own_is_found_beside_ours(folder: Path) -> None:
    text = prompts.system_prompt("forecast", folder=folder, notebook="analysis.ipynb", series="sales")

    assert prompts.task_names(folder=folder) == ("code_review", "data_analysis", "forecast", "machine_learning")
    assert text.startswith("# Working in a live notebook")
    assert text.endswith("Forecast sales in {'a': 1} style.\n")


def test_a_system_text_of_ones_own_goes_before_ours(folder: Path) -> None:
    (folder / "system.md").write_text("Speak of nothing.", encoding="utf-8")

    assert prompts.system_text(folder=folder, notebook="not mentioned in it") == "Speak of nothing."


def test_a_missing_variable_of_a_task_is_refused_too(folder: Path) -> None:
    with pytest.raises(UsageError, match="Missing variables series"):
        prompts.get_prompt("forecast", folder=folder, notebook="analysis.ipynb")


def test_double_braces_are_refused_because_they_escape_html(folder: Path) -> None:
    (folder / "tasks" / "forecast.md").write_text("Forecast {{ series }}.", encoding="utf-8")

    with pytest.raises(UsageError, match=r"Write \{\{\{series\}\}\}\."):
        prompts.task_text("forecast", folder=folder, series="sales")


def test_a_broken_template_is_named(folder: Path) -> None:
    (folder / "tasks" / "forecast.md").write_text("Forecast {{#series}} and then", encoding="utf-8")

    with pytest.raises(UsageError, match=r"tasks/forecast\.md is not a mustache template"):
        prompts.task_text("forecast", folder=folder, series="sales")


def test_a_file_that_is_not_text_is_named(folder: Path) -> None:
    (folder / "tasks" / "forecast.md").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(UsageError, match=r"forecast\.md' cannot be read as UTF-8"):
        prompts.task_text("forecast", folder=folder)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No folder of prompts .*nowhere"):
        prompts.task_names(folder=tmp_path / "nowhere")
