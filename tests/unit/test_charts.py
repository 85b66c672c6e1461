"""Interactive charts in words, for a model that gets no image of them."""

from __future__ import annotations

import json
from typing import Any

import altair
import pytest
from plotly import graph_objects as go
from plotly.utils import PlotlyJSONEncoder

from langchain_jupyter.rendering.charts import chart

PLOTLY = "application/vnd.plotly.v1+json"
VEGA = "application/vnd.vegalite.v6+json"


def figure(*traces: Any, **layout: Any) -> dict[str, Any]:
    """As plotly's renderer sends it."""
    found: dict[str, Any] = json.loads(json.dumps(go.Figure(list(traces), layout=layout), cls=PlotlyJSONEncoder))
    return {PLOTLY: found, "text/html": "<div></div>"}


def test_a_plotly_figure_is_told_by_its_title_axes_and_traces() -> None:
    data = figure(
        go.Bar(x=["jan", "feb"], y=[3, 4.5], name="2024"),
        go.Scatter(x=[1, 2, 3], y=[1, None, -3], mode="lines"),
        title={"text": "Sales"},
        xaxis_title="month",
        yaxis={"title": {"text": "EUR"}},
    )

    assert chart(data) == (
        'plotly figure "Sales", 2 traces\n'
        "axes: x: month · y: EUR\n"
        "- bar \"2024\": 2 points, x 'jan' … 'feb', y 3 … 4.5\n"
        "- scatter (lines): 3 points, x 1 … 3, y -3 … 1"
    )


@pytest.mark.parametrize(
    ("packed", "span"),
    [
        ({"dtype": "i1", "bdata": "Af8D"}, "3 points, x -1 … 3"),
        ({"dtype": "f8", "bdata": "AAAAAAAA+D8AAAAAAAD4fw=="}, "2 points, x 1.5 … 1.5"),
        ({"dtype": "u1", "bdata": "AQIDBAUG", "shape": "2, 3"}, "2 points, x 1 … 6"),
    ],
    ids=["small numbers", "one is no number", "rows"],
)
def test_numbers_that_plotly_packs_are_read(packed: dict[str, str], span: str) -> None:
    text = chart({PLOTLY: {"data": [{"type": "scatter", "x": packed}], "layout": {}}})

    assert text is not None
    assert span in text


def test_a_vega_lite_chart_is_told_by_its_marks_channels_and_data() -> None:
    rows = altair.Data(values=[{"a": "x", "b": 1}, {"a": "y", "b": 5}])
    bars = altair.Chart(rows, title="Means").mark_bar().encode(x="a:N", y="mean(b):Q", color=altair.value("red"))
    spec = (bars + bars.mark_text()).to_dict()

    text = chart({VEGA: spec, "text/plain": "alt.LayerChart(...)"})

    assert text == (
        "Vega-Lite chart\n"
        '- bar "Means": x: a (nominal) · y: mean of b (quantitative) · color: constant red\n'
        '- text "Means": x: a (nominal) · y: mean of b (quantitative) · color: constant red\n'
        "data: 2 rows: a 'x' … 'y', b 1 … 5"
    )


def test_a_chart_in_the_page_that_altair_makes_is_found() -> None:
    page = altair.Chart(altair.Data(values=[{"a": 1}])).mark_point().encode(x="a:Q").to_html()

    text = chart({"text/html": page, "text/plain": "alt.Chart(...)"})

    assert text == "Vega-Lite chart\n- point: x: a (quantitative)\ndata: 1 row: a 1 … 1"


def test_many_traces_and_long_names_stay_short() -> None:
    data = figure(*(go.Scatter(x=list(range(1000)), y=list(range(1000)), name="n" * 500) for _ in range(300)))

    text = chart(data)

    assert text is not None
    assert "300 traces" in text
    assert "- and 288 more" in text
    assert len(text) < 3000


@pytest.mark.parametrize(
    "data",
    [
        {"text/html": "<p>vega-lite is a library</p>"},
        {"text/html": "<script>x})({ vega-lite</script>"},
        {PLOTLY: "no figure"},
        {PLOTLY: {"data": [1], "layout": []}},
        {PLOTLY: {"data": [{"x": {"dtype": "?", "bdata": ""}}]}},
        {VEGA: {"layer": []}},
        {"image/png": "aGk="},
    ],
)
def test_what_is_no_chart_is_left_to_others(data: dict[str, Any]) -> None:
    assert chart(data) is None
