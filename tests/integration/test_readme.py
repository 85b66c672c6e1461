"""The README and the guides are true: their blocks run."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
NOT_RUN = "<!-- not run: "


def blocks(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"(?P<note><!--[^\n]*-->\n)?```python\n(?P<code>.*?)```", text, re.DOTALL)
    return [match["code"] for match in found if not (match["note"] or "").startswith(NOT_RUN)]


BLOCKS = {f"{page.stem}-{at}": code for page in PAGES for at, code in enumerate(blocks(page))}


def test_there_are_blocks_to_run() -> None:
    assert len(blocks(README)) == 4


@pytest.mark.parametrize("code", BLOCKS.values(), ids=BLOCKS)
def test_a_block_runs(code: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=150)

    assert done.returncode == 0, done.stderr


def test_every_extra_of_users_stands_in_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = README.read_text(encoding="utf-8")
    extras = project["optional-dependencies"].keys() - {"docs", "test", "servers"}

    assert [name for name in sorted(extras) if f"`{name}`" not in text] == []


def test_every_tool_stands_in_the_readme() -> None:
    from langchain_jupyter import JupyterToolkit

    text = README.read_text(encoding="utf-8")
    names = [tool.name for tool in JupyterToolkit("none.ipynb").get_tools()]

    assert [name for name in names if f"`{name}`" not in text] == []
