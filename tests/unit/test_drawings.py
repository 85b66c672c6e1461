"""SVG drawings in words."""

from __future__ import annotations

import io
import time

import pytest
from matplotlib.figure import Figure

from langchain_jupyter.rendering.drawings import in_words
from langchain_jupyter.rendering.mime import choose


def test_a_drawing_is_told_by_its_title_and_its_labels() -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg"><title>Trees &amp; bushes</title><desc>by height</desc>'
        '<text x="1">oak</text><text><tspan>elm</tspan></text><text>oak</text></svg>'
    )

    assert in_words(svg) == "SVG drawing: Trees & bushes; by height; labels: oak · elm"


def test_a_figure_of_matplotlib_is_told_by_what_is_written_in_it() -> None:
    figure, file = Figure(), io.StringIO()
    axes = figure.subplots()
    axes.plot([0, 1])
    axes.set(title="Revenue", xlabel="month")
    figure.savefig(file, format="svg")

    shown = choose({"image/svg+xml": file.getvalue(), "text/plain": "<Figure size 640x480 with 1 Axes>"})

    assert shown.text.startswith("SVG drawing; labels: ")
    assert "month" in shown.text
    assert "Revenue" in shown.text
    assert [other.mime for other in shown.others] == ["image/svg+xml"]  # the whole, by reference


@pytest.mark.parametrize("svg", ["", "<svg", "<text " * 300_000, "<!-- " * 300_000, "<title>" + "x" * 2_000_000])
def test_a_drawing_that_is_broken_or_huge_takes_no_time(svg: str) -> None:
    started = time.process_time()

    text = in_words(svg)

    assert text.startswith("SVG drawing")
    assert len(text) <= 600
    assert time.process_time() - started < 20
