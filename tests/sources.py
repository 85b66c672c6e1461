"""Every place that a text can come from which neither the toolkit nor its caller has written: `SOURCES`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from langchain_jupyter.analysis.review import review
from langchain_jupyter.documents.aside import moved
from langchain_jupyter.documents.directory import nearest
from langchain_jupyter.documents.notebook import METADATA_KEY, NotebookDocument
from langchain_jupyter.errors import CellChanged, InspectionUnavailable, OrderChanged, OutOfReach
from langchain_jupyter.mcp.resources import listed
from langchain_jupyter.middleware import _describe, _describe_many
from langchain_jupyter.models import (
    BatchState,
    Cell,
    CellOutcome,
    ErrorInfo,
    Execution,
    KernelInfo,
    NotebookFile,
    NotebookInfo,
    Standing,
)
from langchain_jupyter.prompts import system_prompt
from langchain_jupyter.redaction import NOTHING
from langchain_jupyter.rendering.cells import render_cell, render_cells, state_of
from langchain_jupyter.rendering.fences import one_line, reason
from langchain_jupyter.rendering.findings import ranked, render_findings
from langchain_jupyter.rendering.listing import render_listing
from langchain_jupyter.rendering.outline import render_diff, render_outline
from langchain_jupyter.rendering.reading import render_output
from langchain_jupyter.rendering.references import Kept, References
from langchain_jupyter.rendering.render import Rendered, render_execution
from langchain_jupyter.rendering.tally import render_batch
from langchain_jupyter.rendering.variables import render_variables
from langchain_jupyter.servers import server
from langchain_jupyter.servers.answers import KernelSpecs, WrongShape, checked
from langchain_jupyter.sessions.inspection import inspect
from langchain_jupyter.sessions.marks import mark_of, past_execution
from langchain_jupyter.sessions.sight import Sight
from langchain_jupyter.sessions.undo import Reverted
from langchain_jupyter.settings import OutputLimits
from langchain_jupyter.widgets import VIEW, Widgets

LIMITS = OutputLimits(per_output=100_000, per_call=200_000)
OPEN = re.compile(r"<(output|traceback|source|diff)(?: stderr)?>")


def text_of(rendered: Rendered) -> str:
    return "\n".join(block["text"] for block in rendered.content)


def outputs(text: str) -> list[dict[str, Any]]:
    return [
        {"output_type": "stream", "name": "stdout", "text": text},
        {"output_type": "stream", "name": "stderr", "text": text},
        {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}},
        {"output_type": "display_data", "data": {"text/markdown": text}, "metadata": {}},
        {"output_type": "error", "ename": "E", "evalue": text, "traceback": [text, f"Cell In[1], line 1\n{text}"]},
        {"output_type": "error", "ename": text, "evalue": text, "traceback": []},
        {"output_type": "stream", "name": text, "text": text},
        {"output_type": "display_data", "data": {text: text}, "metadata": {}},
        {"output_type": "display_data", "data": {f"image/{text}": text, f"text/{text}": text}, "metadata": {}},
        {
            "output_type": "display_data",
            "data": {"image/png": "AAAA", "x/json": {text: [text]}},
            "metadata": {},
        },
        {"output_type": text, "data": {"text/plain": text}, "metadata": {}},
        *({"output_type": "display_data", "data": data, "metadata": {}} for data in displays(text)),
    ]


def displays(text: str) -> list[dict[str, Any]]:
    """Charts, drawings, tables and widgets, with that text wherever they have any."""
    trace = {"type": text, "name": text, "mode": text, "x": [text], "y": [1]}
    axis = {"title": {"text": text}}
    plotly = {"data": [trace], "layout": {**axis, "xaxis": axis, "annotations": [{"text": text}]}}
    channel = {"field": text, "type": text, "aggregate": text}
    vega = {"mark": text, "title": text, "encoding": {"x": channel}, "data": {"values": [{text: text}]}}
    widgets = Widgets()
    state = {"_model_name": text, "description": text, "value": text}
    widgets.feed("comm_open", {"target_name": "jupyter.widget", "comm_id": "w", "data": {"state": state}})
    return [
        {"application/vnd.plotly.v1+json": plotly},
        {"application/vnd.vegalite.v5+json": vega},
        {"image/svg+xml": f"<svg><title>{text}</title><text>{text}</text><!-- {text} --></svg>"},
        {"text/html": f"<table><tr><th>{text}</th></tr><tr><td title='{text}'>{text}</td></tr></table>{text}"},
        {VIEW: {"model_id": "w"}, "text/plain": widgets.text({VIEW: {"model_id": "w"}}) or ""},
    ]


def execution(text: str, status: Any) -> Execution:
    error = ErrorInfo(text, text, (text,)) if status == "error" else None
    return Execution("e1", "a1b2", status, 3, outputs(text), 0.1, error, prompt=text, note=text)


def cell(text: str) -> Cell:
    return Cell("a1b2", "code", text, 1, outputs(text), {"tags": [text, f"agent:{text}"], text: text})


def told(status: str) -> Callable[[str], str]:
    def render(text: str) -> str:
        run = execution(text, status)
        return of_run(run, status)

    return render


def of_run(run: Execution, status: str) -> str:
    """A run, its first line split behind the status: what follows may be foreign."""
    rendered = render_execution(
        run,
        handle="a1b2",
        limits=LIMITS,
        references=References(),
        cell_of=lambda count: "a1b2",
        unmade=lambda name: "a1b2",
    )
    first, _, rest = text_of(rendered).partition("\n")
    return f"{first.partition(status)[0]}{status} · {first}\n{rest}"


def hint(text: str) -> str:
    shown = [
        of_run(Execution("e1", "a1b2", "error", 3, (), 0.1, ErrorInfo(name, value)), "error").replace("\n[", "\nx · [")
        for name, value in (
            ("ModuleNotFoundError", f"No module named '{text}'"),
            ("NameError", f"name '{text}' is not defined"),
        )
    ]
    return "\n".join(shown)


def mark(text: str) -> str:
    """A run as the metadata of a cell tells it, which anybody may have written."""
    sound = {"key": "0" * 16, "status": "ok", "execution": "e1"}
    cells = [Cell("a1b2", "code", "x", 1, (), {METADATA_KEY: {**sound, member: text}}) for member in sound]
    runs = [past_execution(each, mark_of(each)) for each in cells if mark_of(each)]
    return "\n".join(of_run(run, run.status) for run in runs)


def one_cell(text: str) -> str:
    rendered = render_cell(
        cell(text), handle="a1b2", position=0, total=1, limits=LIMITS, references=References(), cell_of=lambda n: None
    )
    return text_of(rendered)


def all_cells(text: str) -> str:
    rendered = render_cells(
        [cell(text), cell(text)],
        handle_of=lambda each: each,
        limits=LIMITS,
        references=References(),
        cell_of=lambda n: None,
    )
    return text_of(rendered)


def outline(text: str) -> str:
    info = NotebookInfo("a.ipynb", True, KernelInfo(text, "python", "idle"), {"code": 1})
    return text_of(render_outline(info, [(cell(text), "a1b2", "ok"), (cell(text), "a1b2", "ok")]))


def stale(text: str) -> str:
    info = NotebookInfo("a.ipynb", True, KernelInfo("p", "python", "idle"), {"code": 1})
    states = {"a1b2": Standing("stale", text)}
    shown = text_of(render_outline(info, [(cell("x"), "a1b2", state_of(cell("x"), states))]))
    return re.sub(r"stale \(.*\)", "stale", shown)


def path(text: str) -> str:
    return "x · " + text_of(render_outline(NotebookInfo(text, True, KernelInfo("p"), {}), []))


def state(text: str) -> str:
    info = NotebookInfo(text, True, KernelInfo(text, "python", "idle"), {"code": 1})
    lines = _describe(info, [(cell(text), "a1b2")], {"a1b2": Standing("ok")}, earlier=0).split("\n")
    assert (lines[0], lines[-1]) == ("<notebook>", "</notebook>")
    assert "</notebook>" not in "\n".join(lines[1:-1])
    lines[1] = f"path · {lines[1]}"
    return "\n".join(lines)


def many(text: str) -> str:
    session = SimpleNamespace(kernel=SimpleNamespace(info=KernelInfo(text, "python", "idle")), document=[])
    shown = _describe_many({text: session})  # type: ignore[dict-item]
    return lines_of(shown.removeprefix("<notebooks>\n").removesuffix("\n</notebooks>"))


def lines_of(*parts: str) -> str:
    """Lines of ours with foreign parts, none of which begins another line."""
    return "\n".join(f"x · {line}" for part in parts for line in part.splitlines())


def listing(text: str) -> str:
    files = [NotebookFile(text, 1, 0.0), NotebookFile("b.ipynb", 1, 0.0)]
    opened = {text: KernelInfo(text, "python", "idle")}
    specs = checked(KernelSpecs, {"kernelspecs": {text: {"spec": {"display_name": text}}}}).kernelspecs
    named = {name: each.spec.display_name for name, each in specs.items()}
    told = text_of(render_listing(files, root="r", folder=text, opened=opened, specs=named))
    return lines_of(told, nearest([text, f"b/{text}"], "a.ipynb"))


def answered(text: str) -> str:
    """What a server says when it refuses, and where its answer has another shape."""
    bodies = [json.dumps({name: text}).encode() for name in ("message", "reason")]
    said = [server._reason(body, NOTHING) for body in bodies]
    for shape in ({"kernelspecs": {text: 7}}, {"kernelspecs": {text: {"spec": {"language": text, "display_name": 7}}}}):
        with pytest.raises(WrongShape) as raised:
            checked(KernelSpecs, shape)
        said.append(str(raised.value))
    return lines_of(*said)


def hung_up(text: str) -> str:
    return lines_of(server._name(ConnectionClosedError(Close(1011, text), None)))


def fault(text: str) -> str:
    return lines_of(reason(OutOfReach(text)), reason(moved(NotebookDocument(), text, [], text)))


def no_python(text: str) -> str:
    async def evaluate(*args: object, **options: object) -> Mapping[str, Any]:
        return {"status": "error", "ename": text, "evalue": text}

    said = []
    for language in (text, "python"):
        kernel: Any = SimpleNamespace(info=KernelInfo("p", language), evaluate=evaluate)
        with pytest.raises(InspectionUnavailable) as raised:
            asyncio.run(inspect(kernel, [], beside=False))
        said.append(str(raised.value))
    return lines_of(*said)


def resources(text: str) -> str:
    return lines_of(*map(str, listed(text).values()))


def prompt(text: str) -> str:
    return lines_of(system_prompt("data_analysis", notebook=text))


def went_back(text: str) -> str:
    return lines_of(str(Reverted(text, ["a1b2"], [], [], True)))


def variables(text: str) -> str:
    row = {"name": text, "type": text, "size": text, "preview": text}
    report = {"variables": [row], "modules": [text], "callables": [text], "more": 0}
    return "\n".join(f"{line[:8]} · {line}" if line[0] == "[" else line for line in _texts(report))


def _texts(report: Any) -> list[str]:
    return text_of(render_variables(report, LIMITS)).splitlines()


def details(text: str) -> str:
    row = {"name": text, "type": text, "size": text, "preview": text, "lines": [text]}
    lines = _texts({"details": [row, {"name": text}], "known": [text]})
    return "\n".join(f"x · {line}" if line.startswith("x ") else line for line in lines)


def window(text: str) -> str:
    return _counted(text_of(render_output("o1", Kept("text/plain", text), limits=LIMITS)))


def found(text: str) -> str:
    return _counted(text_of(render_output("o1", Kept("text/plain", text), find="x", limits=LIMITS)))


def _counted(text: str) -> str:
    return re.sub(r"(?m)^\[.*\]$", "[counts]", text)


def diff(text: str) -> str:
    return render_diff("y", text, budget=100_000)


def batch(text: str) -> str:
    run = execution(text, "error")
    state = BatchState("r1", "error", [CellOutcome("a1b2", run), CellOutcome("a1b2", None, one_line(text))])
    rendered = render_batch(
        state, handle_of=lambda each: each, limits=LIMITS, references=References(), cell_of=lambda n: None
    )
    return re.sub(r"(?m)^(a1b2 error 0.1s \[3\]|a1b2) ", r"\1 · ", text_of(rendered))


def findings(text: str) -> str:
    cells = [
        cell(text),
        Cell("c3d4", "code", "print(y)\n" + text, 2, outputs(text)),
        Cell("e5f6", "code", f"!pip install {''.join(text.split())}</output>[x] /home/x", 3),
    ]
    names = {each: each for each in ("a1b2", "c3d4", "e5f6")}
    standings = {"c3d4": Standing("stale", text)}
    review_found = ranked(review(cells, standings, python=True, name_of=names.__getitem__), list(names))
    rendered = render_findings(review_found, total=2, handle_of=names.__getitem__, limits=LIMITS)
    shown = text_of(rendered)
    assert len(shown.splitlines()) == len(review_found) + 1
    assert not OPEN.search(shown)
    assert "</" not in shown
    return lines_of(shown.splitlines()[0])


def differing(text: str) -> str:
    """The line of a cell that ran with other outputs than before, which are told behind it."""
    run = Execution("e1", "a1b2", "ok", 3, (), 0.1)
    state = BatchState("r1", "ok", [CellOutcome("a1b2", run, text)], restarted=True)
    return text_of(batch_of(state))


def batch_of(state: BatchState) -> Rendered:
    return render_batch(
        state, handle_of=lambda each: each, limits=LIMITS, references=References(), cell_of=lambda n: None
    )


def refusals(text: str) -> tuple[CellChanged, OrderChanged]:
    """What a caller is told who knows a cell, and an order of cells, of before."""
    document = NotebookDocument()
    document.load([{"id": each, "cell_type": "code", "source": "y", "outputs": []} for each in ("a1b2", "c3d4")], {})
    sight = Sight(0)
    sight.saw(document.cell("a1b2"))
    sight.positions.saw(document)
    document.set_source("a1b2", text, expect="y")
    document.move("c3d4", place=(None, "a1b2"))
    with pytest.raises(CellChanged) as changed:
        sight.check(document, "a1b2")
    with pytest.raises(OrderChanged) as shifted:
        sight.resolve(document, "0")
    return changed.value, shifted.value


def refused(text: str) -> str:
    return "\n".join(map(str, refusals(text)))


def stopped(text: str) -> str:
    """A run of many cells that ends at a cell which somebody else has changed meanwhile."""
    return text_of(batch_of(BatchState("r1", "interrupted", [], left=["a1b2"], note=str(refusals(text)[0]))))


SOURCES: Mapping[str, Callable[[str], str]] = {
    **{
        f"what a cell prints, shows, raises and asks, of a run that is {status}": told(status)
        for status in ("ok", "error", "running", "input", "died", "interrupted", "lost")
    },
    "what an exception names, where there is a hint": hint,
    "source, outputs, tags and metadata of a cell": one_cell,
    "those of many cells": all_cells,
    "the first lines of cells, and a kernel's display name": outline,
    "the mark of a run in a cell's metadata": mark,
    "names in the code, where a cell is stale": stale,
    "the name of a file": path,
    "all this in the state at each call of the model": state,
    "paths and kernels of many notebooks there": many,
    "file names, folders, kernel specs and their display names": listing,
    "names, types and values of variables; modules, functions": variables,
    "one variable: its columns, what it looks like; names that are near": details,
    "a window of an output": window,
    "matching lines of an output": found,
    "a diff": diff,
    "cells of a run of many": batch,
    "outputs that differ from those before": differing,
    "findings of a review": findings,
    "a cell that somebody else has changed, cells that were moved": refused,
    "the same amid a run of many cells": stopped,
    "what a server says when it refuses, or in the wrong place": answered,
    "why a server closes a WebSocket": hung_up,
    "errors of documents and kernels, with paths, copies and a server's words": fault,
    "the language of a kernel, and what it raises when its variables are looked at": no_python,
    "names and addresses of MCP resources": resources,
    "the name of a notebook in the system prompt": prompt,
    "the path of a notebook that the user took back": went_back,
}
"""Not there: what collaborators are called (the test below), and what only people get to see."""
