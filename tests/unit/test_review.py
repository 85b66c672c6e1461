"""What a review finds, against defects that were planted; and what it leaves alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from langchain_jupyter.analysis.linting import lint
from langchain_jupyter.analysis.review import fresh_of, review
from langchain_jupyter.models import Cell, Standing
from langchain_jupyter.rendering.findings import Finding, ranked, render_findings
from langchain_jupyter.settings import OutputLimits
from tests.seeded import ALSO, DEFECTS, NOTEBOOKS, code, error, md, out, result


async def found(cells: list[Cell], standings: dict[str, Standing] | None = None) -> list[Finding]:
    findings = review(cells, standings or {}, python=True, name_of=str)
    linted = await lint(cells)
    assert linted is not None
    return ranked([*findings, *fresh_of(linted, findings)], [cell.id for cell in cells])


async def rules(*cells: Cell) -> list[tuple[str, str]]:
    return [(each.cell_id, each.rule) for each in await found(list(cells))]


async def test_at_least_36_of_40_planted_defects_are_found_with_at_most_4_false_alarms() -> None:
    findings = {name: await found(cells) for name, cells in NOTEBOOKS.items()}

    def tells(finding: Finding, name: str) -> bool:
        planted = (d for d in DEFECTS if d.notebook == name and d.cell == finding.cell_id)
        return any(finding.rule in defect.rules for defect in planted) or (name, finding.cell_id, finding.rule) in ALSO

    missed = [d for d in DEFECTS if not any(f.cell_id == d.cell and f.rule in d.rules for f in findings[d.notebook])]
    false = [(name, each) for name, all_of in findings.items() for each in all_of if not tells(each, name)]

    assert (len(NOTEBOOKS), len(DEFECTS)) == (6, 40)
    assert len(missed) <= 4, missed
    assert len(false) <= 4, false


async def test_a_notebook_in_order_has_no_findings() -> None:
    cells = [
        md("a", "# Title\n\nWhat it is for."),
        code("b", 1, "%pip install pandas==2.3.0\n%matplotlib inline\nimport pandas as pd", out("ok\n")),
        code("c", 2, "data = pd.DataFrame({'a': [1, 2]})\nprint('rows:', len(data))", out("rows: 2\n")),
        code("d", 3, "def f(x):\n    return x * factor\n\nfactor = 2\nf(3)", result("6")),
        code("e", 4, "for name in data:\n    print(name)\ntotal = data.a.sum()\ntotal", out("a\n"), result("3")),
        code("f", 5, "files = !ls\nlen(files)", result("7")),
        code("g", 6, "%%time\nbig = [n for n in range(10)]\nbig[-1]", out("CPU times: 1 ms\n"), result("9")),
        md("l", "Some more."),
        code("h", 7, "import asyncio\nawait asyncio.sleep(0)"),
        code("i", 8, "%%bash\necho hi", out("hi\n")),
        code("j", 9, "data?"),
        code("k", 10, "big;"),
    ]

    assert not await found(cells)


async def test_the_weightiest_come_first_then_the_order_of_the_cells() -> None:
    findings = await found([code("a", 2, "import os"), code("b", 1, "gone + 1", result("2")), code("c", 3, "1/0")])

    weights = [each.weight for each in findings]
    assert weights == sorted(weights, key=["wrong", "risky", "untidy"].index)
    assert findings[0].cell_id == "b"


async def test_what_the_kernel_knows_to_be_stale_is_wrong() -> None:
    cells = [code("a", 1, "x = 1"), code("b", 2, "print(x)", out("0\n"))]
    standings = {"a": Standing("ok"), "b": Standing("stale", "x changed in a")}

    assert Finding("b", "wrong", "stale", "is stale: x changed in a") in await found(cells, standings)


async def test_a_notebook_that_was_just_opened_is_not_all_stale() -> None:
    cells = [code("a", 1, "x = 1")]

    assert not await found(cells, {"a": Standing("stale", "ran before the kernel started")})


@pytest.mark.parametrize(
    ("source", "secret"),
    [
        ("key = 'AKIAIOSFODNN7EXAMPLE'", True),
        ("client = OpenAI(api_key='sk-proj-abcdefghijklmnopqrstuvwx')", True),
        ("password = os.environ['PASSWORD']", False),
        ("password = getpass()", False),
        ("password = '***'", False),
        ("api_key = '<your key>'", False),
        ("url = 'https://example.com/a:b@c'", False),
        ("url = f'postgresql://{user}:{password}@host/db'", False),
        ("pem = '''-----BEGIN RSA PRIVATE KEY-----'''", True),
        ("tokens = tokenizer('some text here')", False),
    ],
)
async def test_secrets_are_told_and_never_shown(source: str, secret: bool) -> None:
    findings = [each for each in await found([code("a", None, source)]) if each.rule == "secret"]

    assert bool(findings) is secret
    assert not any("sk-proj" in each.text or "AKIA" in each.text for each in findings)


@pytest.mark.parametrize(
    ("command", "loose"),
    [
        ("%pip install pandas", True),
        ("!pip install 'pandas>=2'", True),
        ("!python -m pip install -q pandas==2.3", False),
        ("%pip install -r requirements.txt", False),
        ("%pip install -e .", False),
        ("%pip install git+https://example.com/a.git@v1", False),
        ("%conda install numpy=2.1", False),
        ("!uv pip install polars", True),
    ],
)
async def test_installs_without_a_version_are_told(command: str, loose: bool) -> None:
    assert (("a", "unpinned") in await rules(code("a", 1, command, out("ok")))) is loose


async def test_an_error_of_the_cell_as_it_is_is_no_mismatch() -> None:
    cell = code("a", 1, "x = 1\nx / 0", error("ZeroDivisionError", "division by zero", "x / 0"))

    assert [rule for _, rule in await rules(cell)] == ["failing"]


async def test_other_languages_are_not_read_as_python() -> None:
    cells = [code("a", 2, "x <- c(1, 2)"), code("b", 1, "print(y)", error("Error", "object 'y' not found", ""))]

    findings = review(cells, {}, python=False, name_of=str)

    assert {each.rule for each in findings} == {"order", "failing"}


async def test_without_ruff_the_rest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langchain_jupyter.analysis.linting._ruff", lambda: None)

    assert await lint([code("a", 1, "import os")]) is None


async def test_a_settings_file_of_the_user_does_not_change_the_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ruff.toml").write_text("[lint]\nignore = ['F401']\n")
    monkeypatch.chdir(tmp_path)

    assert await rules(code("a", 1, "import os")) == [("a", "F401")]


def test_findings_fit_the_budget() -> None:
    findings = [Finding(f"c{n}", "risky", "order", "ran as [1], before b [2] above it") for n in range(1_000)]

    rendered = render_findings(findings, total=1_000, handle_of=str, limits=OutputLimits(per_call=2_000))

    text = rendered.content[0]["text"]
    assert len(text) <= 2_000
    assert text.startswith("1000 findings in 1000 cells: 1000 risky\nrisky: c0 ran as [1]")
    assert re.search(r"\[9\d\d more, of less weight\]$", text)
    assert len(json.dumps(rendered.artifact)) < 50_000
