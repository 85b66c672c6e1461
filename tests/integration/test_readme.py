"""The README is true: its blocks run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
NOT_RUN = "<!-- not run: needs a key -->\n"


def blocks() -> list[str]:
    text = README.read_text(encoding="utf-8")
    found = re.finditer(r"(?P<note><!--.*?-->\n)?```python\n(?P<code>.*?)```", text, re.DOTALL)
    return [match["code"] for match in found if match["note"] != NOT_RUN]


def test_there_are_blocks_to_run() -> None:
    assert len(blocks()) == 3


@pytest.mark.parametrize("code", blocks(), ids=range(len(blocks())))
def test_a_block_of_the_readme_runs(code: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr


def test_every_tool_stands_in_the_readme() -> None:
    from langchain_jupyter import JupyterToolkit

    text = README.read_text(encoding="utf-8")
    names = [tool.name for tool in JupyterToolkit("none.ipynb").get_tools()]

    assert [name for name in names if f"`{name}`" not in text] == []
