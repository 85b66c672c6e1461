"""A record as one HTML page that needs nothing else: no network, no scripts."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import DiffLexer, MarkdownLexer, PythonLexer

from langchain_jupyter.differences import TooDifferent, unified
from langchain_jupyter.models import Cell, Output
from langchain_jupyter.rendering.fences import printable
from langchain_jupyter.rendering.mime import choose
from langchain_jupyter.report.record import Record, Step
from langchain_jupyter.report.style import STYLE

Clean = Callable[[str], str]

_SHOWN = 20_000
_ARGUMENT = 200
_HANDLE = 8
_MARKS = {"ok": "ok", "running": "waiting", "input": "waiting"}


def render_page(record: Record, *, clean: Clean = str) -> str:
    """The page.

    Args:
        record: What happened.
        clean: Takes out of each text what may not be shown. Images are left as they are.
    """
    writer = _Writer(record, clean)
    return "\n".join(writer.page())


class _Writer:
    def __init__(self, record: Record, clean: Clean) -> None:
        self._record = record
        self._clean = clean
        self._before = {cell.id: cell for cell in record.before}
        self._after = {cell.id: cell for cell in record.after}

    def page(self) -> Iterator[str]:
        record = self._record
        yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
        yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Whatever a cell has printed: nothing on this page runs, and nothing is fetched.
        policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        yield f"<title>{self._text(record.notebook)}: what the agent did</title>"
        yield f"<style>\n{STYLE}\n{_colours()}\n</style>\n</head>\n<body>"
        yield from self._head()
        yield '<h2 id="steps">Step by step</h2>\n<ol class="steps">'
        for step in record.steps:
            yield from self._step(step)
        yield '</ol>\n<h2 id="cells">Cell by cell</h2>'
        yield from self._cells()
        yield "</body>\n</html>\n"

    def _head(self) -> Iterator[str]:
        record = self._record
        yield f"<h1>{self._text(record.notebook)}</h1>"
        yield f'<p class="task">{self._text(record.task)}</p>\n<dl class="facts">'
        failed = sum(step.failed for step in record.steps)
        raised = sum(step.status == "error" and not step.failed for step in record.steps)
        facts = {
            "Model": record.model,
            "Began": f"{record.started:%Y-%m-%d %H:%M:%S} UTC",
            "Took": _duration(record.seconds),
            "Calls": f"{len(record.steps)}" + (f", {failed} refused or failed" if failed else ""),
            "Cells": self._counts(),
            "Errors in code": str(raised),
        }
        for name, value in facts.items():
            yield f"<div><dt>{name}</dt><dd>{self._text(value)}</dd></div>"
        yield "</dl>"
        if record.stopped:
            yield f'<p class="stopped">It ended before its end: {self._text(record.stopped)}</p>'
        if record.said:
            yield f'<blockquote class="said">{self._text(record.said)}</blockquote>'

    def _counts(self) -> str:
        added = len(self._after.keys() - self._before.keys())
        removed = len(self._before.keys() - self._after.keys())
        changed = sum(
            cell.source != self._before[cell.id].source for cell in self._record.after if cell.id in self._before
        )
        return f"{added} added, {changed} changed, {removed} removed"

    def _step(self, step: Step) -> Iterator[str]:
        mark = "failed" if step.failed else _MARKS.get(step.status, "failed" if step.status else "ok")
        yield f'<li class="{mark}">'
        if step.said:
            yield f'<p class="said">{self._text(step.said)}</p>'
        shown = ", ".join(f"{name}={_short(self._clean(str(value)))}" for name, value in step.arguments.items())
        where = f' <a href="#{self._anchor(step.cell)}">cell</a>' if step.cell in self._known else ""
        yield f"<p><code>{self._text(step.tool)}</code> <small>{escape(shown)}</small></p>"
        yield f'<p class="result">{self._text(step.result)}{where} <time>{_duration(step.seconds)}</time></p></li>'

    @property
    def _known(self) -> set[str]:
        return self._before.keys() | self._after.keys()

    def _cells(self) -> Iterator[str]:
        untouched = 0
        for cell in self._record.after:
            before = self._before.get(cell.id)
            if before is not None and _same(before, cell):
                untouched += 1
                continue
            yield from self._cell(cell, before)
        for cell in self._record.before:
            if cell.id not in self._after:
                yield from self._box(cell, "removed")
                yield self._source(cell) + "</section>"
        if untouched:
            yield f"<p>{untouched} other cells are as they were.</p>"

    def _cell(self, cell: Cell, before: Cell | None) -> Iterator[str]:
        kind = "added" if before is None else "changed" if before.source != cell.source else "run again"
        yield from self._box(cell, kind)
        yield self._source(cell) if before is None else self._diff(before.source, cell.source) or self._source(cell)
        for output in cell.outputs:
            yield from self._output(output)
        yield "</section>"

    def _box(self, cell: Cell, kind: str) -> Iterator[str]:
        count = "" if cell.execution_count is None else f" [{cell.execution_count}]"
        seconds = sum(step.seconds for step in self._record.steps if step.cell == cell.id)
        took = f" <time>{_duration(seconds)}</time>" if seconds else ""
        handle = self._text(cell.id[:_HANDLE])
        yield f'<section class="cell {kind.replace(" ", "-")}" id="{self._anchor(cell.id)}">'
        yield f"<h3><code>{handle}</code> {cell.cell_type}{count} <em>{kind}</em>{took}</h3>"

    def _source(self, cell: Cell) -> str:
        lexer = PythonLexer() if cell.cell_type == "code" else MarkdownLexer()
        return _coloured(self._clean(printable(cell.source)), lexer)

    def _diff(self, before: str, after: str) -> str:
        old, new = (self._clean(printable(text)).splitlines() for text in (before, after))
        try:
            lines = list(unified(old, new, context=2))
        except TooDifferent:
            lines = [*(f"-{line}" for line in old), *(f"+{line}" for line in new)]
        return _coloured("\n".join(lines), DiffLexer()) if lines else ""

    def _output(self, output: Output) -> Iterator[str]:
        kind = output["output_type"]
        if kind == "stream":
            yield self._printed(_joined(output["text"]), "stderr" if output.get("name") == "stderr" else "stdout")
        elif kind == "error":
            trace = "\n".join(output.get("traceback") or [f"{output.get('ename')}: {output.get('evalue')}"])
            yield self._printed(trace, "error")
        else:
            yield from self._shown(output["data"])

    def _shown(self, data: Any) -> Iterator[str]:
        choice = choose(data)
        if choice.image is not None:
            mime, content = choice.image
            yield _image(mime, "".join(content.split()), self._text(choice.text or "figure"))
        elif "image/svg+xml" in data:
            drawing = base64.b64encode(self._clean(_joined(data["image/svg+xml"])).encode()).decode()
            yield _image("image/svg+xml", drawing, "figure")
        elif choice.text:
            yield self._printed(choice.text, "result")

    def _printed(self, text: str, kind: str) -> str:
        text = self._clean(printable(text))  # whole: half a secret is not found
        shown = escape(text[:_SHOWN])
        cut = f"\n… {len(text) - _SHOWN:,} more characters stand in the notebook" if len(text) > _SHOWN else ""
        return f'<pre class="{kind}">{shown}{cut}</pre>'

    def _text(self, text: str) -> str:
        return escape(self._clean(text))

    def _anchor(self, cell: str) -> str:
        return escape(f"cell-{cell}")


def _same(before: Cell, after: Cell) -> bool:
    return (before.source, before.execution_count, before.outputs) == (
        after.source,
        after.execution_count,
        after.outputs,
    )


def _image(mime: str, content: str, said: str) -> str:
    return f'<img alt="{said}" src="data:{mime};base64,{content}">'


def _coloured(text: str, lexer: Any) -> str:
    return f'<pre class="source">{highlight(text, lexer, HtmlFormatter(nowrap=True))}</pre>'


def _colours() -> str:
    return str(HtmlFormatter(style="friendly").get_style_defs(".source"))  # type: ignore[no-untyped-call]


def _joined(text: str | Sequence[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _ARGUMENT else f"{text[:_ARGUMENT]}…"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
