"""The report of a session: what is gathered of it, and the page that is made of that."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage

from langchain_jupyter.models import Cell
from langchain_jupyter.report.page import render_page
from langchain_jupyter.report.record import Record, Recorder, Step
from langchain_jupyter.testing import calls, tool_call

PIXEL = "iVBORw0KGgo="
VOID = {"meta", "img", "br", "hr"}


class Page(HTMLParser):
    """Sees that each tag is closed by its own, and keeps what stands in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.tags == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.tags.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def record(**about: Any) -> Record:
    default = {
        "task": "Analyse it.",
        "model": "a script",
        "notebook": "a.ipynb",
        "started": datetime(2026, 11, 24, 12, tzinfo=UTC),
        "seconds": 75.0,
        "steps": (),
    }
    return Record(**{**default, **about})


def code(name: str, source: str, *outputs: dict[str, Any], count: int | None = 1) -> Cell:
    return Cell(name, "code", source, count, outputs)


def test_a_call_and_its_answer_are_one_step() -> None:
    recorder = Recorder(clock=itertools.count().__next__)
    call = tool_call("append_execute_code_cell", call_id="1", source="1/0")
    answer = ToolMessage(
        "a1b2 error 0.1s [1] ZeroDivisionError\n<traceback>",
        tool_call_id="1",
        artifact={"status": "error", "cell": "a1b2c3d4"},
    )

    recorder.hear([calls(call, text="I divide.")])
    recorder.hear([answer, AIMessage("It failed.")])
    found = recorder.record(task="t", model="m", notebook="n")

    assert found.steps == (
        Step(
            "I divide.",
            "append_execute_code_cell",
            {"source": "1/0"},
            result="a1b2 error 0.1s [1] ZeroDivisionError",
            status="error",
            cell="a1b2c3d4",
            seconds=1,
        ),
    )
    assert found.said == "It failed."


def test_a_call_without_an_answer_stands_there_too() -> None:
    recorder = Recorder()

    recorder.hear([calls(tool_call("run_code", code="1"))])

    [step] = recorder.record(task="t", model="m", notebook="n").steps
    assert (step.tool, step.result) == ("run_code", "")


def test_cells_are_told_apart_by_what_became_of_them() -> None:
    before = [code("same", "1"), code("edited", "old = 1\nkept"), code("gone", "removed()"), code("rerun", "2")]
    after = [code("same", "1"), code("edited", "new = 1\nkept"), code("rerun", "2", count=7), code("fresh", "added()")]

    page = Page(render_page(record(before=before, after=after)))

    sections = [attributes["class"] for tag, attributes in page.attributes if tag == "section"]
    assert sections == ["cell changed", "cell run-again", "cell added", "cell removed"]
    assert "-old = 1" in page.text
    assert "+new = 1" in page.text
    assert "1 added, 1 changed, 1 removed" in page.text
    assert "1 other cells are as they were." in page.text


def test_outputs_are_shown_as_people_see_them() -> None:
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": "\x1b[31mred\x1b[0m"},
        {"output_type": "display_data", "data": {"image/png": PIXEL, "text/plain": "<Figure>"}, "metadata": {}},
        {"output_type": "display_data", "data": {"image/svg+xml": "<svg/>"}, "metadata": {}},
        {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["ValueError: no"]},
        {"output_type": "stream", "name": "stdout", "text": "x" * 30_000},
    ]

    page = Page(render_page(record(after=[code("a1b2", "1", *outputs)])))

    pictures = [attributes["src"] for tag, attributes in page.attributes if tag == "img"]
    assert pictures == [f"data:image/png;base64,{PIXEL}", "data:image/svg+xml;base64,PHN2Zy8+"]
    assert "red" in page.text
    assert "\x1b" not in page.text
    assert "ValueError: no" in page.text
    assert "10,000 more characters stand in the notebook" in page.text


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</pre></section>"])
def test_nothing_that_is_printed_becomes_part_of_the_page(evil: str) -> None:
    printed = {"output_type": "stream", "name": "stdout", "text": evil}
    html = {"output_type": "display_data", "data": {"text/html": evil, "text/plain": evil}, "metadata": {}}
    step = Step(evil, evil, {"source": evil}, result=evil, cell=evil)

    page = Page(
        render_page(
            record(
                task=evil, model=evil, notebook=evil, said=evil, stopped=evil, steps=[step],
                before=[code("x", "1")], after=[code(evil, evil, printed, html), code("x", evil)],
            )
        )
    )  # fmt: skip

    assert "script" not in [tag for tag, _ in page.attributes]
    assert "onerror" not in [name for _, attributes in page.attributes for name in attributes]
    assert evil in page.text


def test_secrets_are_taken_out_of_every_text() -> None:
    secret = "hunter2-hunter2"
    printed = {"output_type": "stream", "name": "stdout", "text": "x" * 19_990 + secret}
    step = Step(secret, "run_code", {"code": "x" * 195 + secret}, result=secret)
    cells = [code("a", secret, printed)]

    text = render_page(
        record(task=secret, said=secret, stopped=secret, steps=[step], before=[code("a", "1")], after=cells),
        clean=lambda text: text.replace(secret, "[redacted]"),
    )

    assert "hunter2" not in text
    assert text.count("[redacted]") >= 5


def test_a_page_fetches_nothing_and_runs_nothing() -> None:
    page = Page(render_page(record(after=[code("a", "import os")])))

    [policy] = [attributes["content"] for _, attributes in page.attributes if "http-equiv" in attributes]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.attributes}
