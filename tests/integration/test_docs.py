"""The documentation can be built, and what it points to is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer
from typer.main import get_command

from langchain_jupyter.cli import app
from langchain_jupyter.settings import Environment

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS: dict[str, typer.core.TyperCommand] = get_command(app).commands  # type: ignore[attr-defined]


def test_the_documentation_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]

    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=150, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )

    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert "JupyterToolkit" in (tmp_path / "site" / "reference" / "toolkit.html").read_text()
    commands = (tmp_path / "site" / "reference" / "command-line.html").read_text()
    tools = (tmp_path / "site" / "reference" / "tools.html").read_text()
    assert "--tls-certificate" in commands
    assert "TLS_CERTIFICATE" in commands
    assert "execute_cell_with_progress" in tools
    assert "open_notebook" in tools
    assert "generated:" not in commands + tools


def test_links_elsewhere_are_well_formed_and_of_sites_that_we_know() -> None:
    links = {link for page in PAGES for link in re.findall(r"\]\((https?:[^)\s]+)", page.read_text(encoding="utf-8"))}
    parts = [urlsplit(link) for link in links]

    assert {each.scheme for each in parts} == {"https"}
    assert {each.hostname for each in parts} <= {"github.com", "docs.langchain.com"}
    assert [each.path for each in parts if each.hostname == "github.com" and each.path.count("/") != 2] == []


def test_the_variables_of_the_guide_are_read() -> None:
    page = (ROOT / "docs" / "integration-guide.md").read_text(encoding="utf-8")
    section = page.partition("## Variables")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([A-Z_]+)`", section))
    options = {option.envvar for option in COMMANDS["serve"].params} - {None}
    fields = Environment.model_fields.items()
    aliases = {str(name) for _, field in fields for name in getattr(field.validation_alias, "choices", [])}

    assert {"ROOM_URL", "RUNTIME_TOKEN", "START_NEW_RUNTIME", "JUPYTER_TOKEN", "PROVIDER", "TRANSPORT", "PORT"} <= named
    assert named - options - aliases - {name.upper() for name, _ in fields} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)", text)

    missing = [target for target in targets if not (page.parent / target).exists()]

    assert missing == []


def lines_of(page: Path) -> list[str]:
    """Lines of shell blocks, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in lines_of(page):
        program, *words = line.split()
        if program == "make":
            assert words[0] in targets, line
        elif program == "langchain-jupyter":
            command = COMMANDS[words[0]]
            command = getattr(command, "commands", {}).get(words[1], command) if len(words) > 1 else command
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
            unknown = [word for word in words if word.startswith("--") and word not in known]
            assert not unknown, line


def test_every_command_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")

    assert [name for name in COMMANDS if f"`{name}" not in page] == []
