"""Interactive charts in words: what a plotly figure or a Vega-Lite chart shows, where there is no image of it. Pure."""

from __future__ import annotations

import array
import base64
import binascii
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_jupyter.rendering.fences import one_line

_PLOTLY = "application/vnd.plotly.v1+json"
_VEGA = re.compile(r"application/vnd\.vega(?:lite)?\.v\d+(?:\.\d+)?\+json")
_HTML = 20_000_000
_MARKS = 12
_COLUMNS = 8
_READ = 1_000_000
_CLIP = 60
_TYPES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d"}
_AXES = ("x", "y", "z", "r", "theta", "lat", "lon", "values", "labels", "locations", "open", "close")
_CHANNELS = ("x", "y", "x2", "y2", "color", "size", "shape", "row", "column", "facet", "theta", "text", "detail")


def chart(data: Mapping[str, Any]) -> str | None:
    """What the chart of a MIME bundle shows, in a few lines; None if it has none that we can read."""
    for mime, value in data.items():
        try:
            if mime == _PLOTLY and isinstance(value, Mapping):
                return "\n".join(_plotly(value))
            if _VEGA.fullmatch(mime) and isinstance(value, Mapping):
                return "\n".join(_vega(value))
            if mime == "text/html" and (spec := _embedded(value)) is not None:
                return "\n".join(_vega(spec))
        except (AttributeError, TypeError, ValueError, LookupError, RecursionError):
            continue  # not as its schema has it: shown like any other
    return None


# -- plotly; source: https://plotly.com/chart-studio-help/json-chart-schema/ --------------------------------------


def _plotly(figure: Mapping[str, Any]) -> Iterator[str]:
    traces, layout = figure.get("data") or [], figure.get("layout") or {}
    yield f"plotly figure{_quoted(_title(layout))}, {_count(len(traces), 'trace')}"
    axes = {
        name[: -len("axis")]: _title(axis) for name, axis in sorted(layout.items()) if re.fullmatch(r"[xyz]axis", name)
    }
    if named := [f"{name}: {one_line(title, _CLIP)}" for name, title in axes.items() if title]:
        yield f"axes: {' · '.join(named)}"
    for trace in traces[:_MARKS]:
        yield f"- {_trace(trace)}"
    if len(traces) > _MARKS:
        yield f"- and {len(traces) - _MARKS:,} more"
    for note in (layout.get("annotations") or [])[:_COLUMNS]:
        yield f"note: {one_line(str(note.get('text', '')), _CLIP)}"


def _title(of: Mapping[str, Any]) -> str:
    title = of.get("title") or ""
    return str(title.get("text") or "") if isinstance(title, Mapping) else str(title)


def _trace(trace: Mapping[str, Any]) -> str:
    columns = {name: values for name in _AXES if (values := _values(trace.get(name))) is not None}
    kind = str(trace.get("type") or "scatter")
    mode = f" ({one_line(str(trace['mode']), _CLIP)})" if trace.get("mode") else ""
    size = f": {_count(max(map(len, columns.values())), 'row' if 'z' in columns else 'point')}" if columns else ""
    said = [f"{name} {span}" for name, values in columns.items() if (span := _span(values))]
    return ", ".join((f"{one_line(kind, _CLIP)}{mode}{_quoted(str(trace.get('name') or ''))}{size}", *said))


def _values(value: Any) -> Sequence[Any] | None:
    """The numbers or words of a column; plotly 6 packs numbers as base64."""
    if isinstance(value, Mapping) and "bdata" in value:
        found = array.array(_TYPES[str(value["dtype"]).lstrip("<=|")])
        try:
            found.frombytes(base64.b64decode(value["bdata"]))
        except (binascii.Error, ValueError):
            return None
        shape = [int(each) for each in str(value.get("shape", "")).split(",") if each.strip()]
        if len(shape) > 1 and shape[0]:
            width = len(found) // shape[0]
            return [found[row * width : (row + 1) * width] for row in range(shape[0])]
        return found
    return value if isinstance(value, list) else None


# -- Vega-Lite; source: https://vega.github.io/vega-lite/docs/spec.html --------------------------------------------


def _embedded(html: Any) -> Mapping[str, Any] | None:
    """The specification in the pages that altair makes."""
    text = "".join(html) if isinstance(html, list) else str(html)
    if "vega-lite" not in text[:_HTML]:
        return None
    for found in re.finditer(r"(?:\}\)\(|var spec = )(?=\{)", text[:_HTML]):
        try:
            spec, _ = json.JSONDecoder().raw_decode(text, found.end())
        except ValueError:
            continue
        if isinstance(spec, dict) and "vega" in str(spec.get("$schema", "")):
            return spec
    return None


def _vega(spec: Mapping[str, Any]) -> Iterator[str]:
    views = list(_views(spec))
    if not views:
        raise ValueError("it has no mark")
    yield f"Vega-Lite chart{_quoted(_title(spec))}"
    for view in views[:_MARKS]:
        mark = view["mark"]
        kind = str(mark.get("type")) if isinstance(mark, Mapping) else str(mark)
        encoding = {**(spec.get("encoding") or {}), **(view.get("encoding") or {})}
        channels = [f"{name}: {_field(encoding[name])}" for name in _CHANNELS if name in encoding]
        yield f"- {one_line(kind, _CLIP)}{_quoted(_title(view) if view is not spec else '')}: {' · '.join(channels)}"
    if len(views) > _MARKS:
        yield f"- and {len(views) - _MARKS:,} more"
    for rows in _tables(spec, views):
        yield _table(rows)


def _views(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Those with a mark, of layers, rows, columns and grids."""
    if "mark" in spec:
        yield spec
    for name in ("layer", "hconcat", "vconcat", "concat"):
        for inner in spec.get(name) or ():
            yield from _views(inner)
    if isinstance(spec.get("spec"), Mapping):
        yield from _views(spec["spec"])


def _field(channel: Any) -> str:
    """`mean of value (quantitative)`, or a constant."""
    if not isinstance(channel, Mapping):
        return one_line(str(channel), _CLIP)
    name = channel.get("field")
    if isinstance(name, Mapping):
        name = "repeated field"
    how = channel.get("aggregate")
    words = [str(how) if isinstance(how, str) else "", "of" if how and name else "", str(name or "")]
    said = " ".join(word for word in words if word) or f"constant {channel.get('value', channel.get('datum', ''))}"
    binned = ", binned" if channel.get("bin") else ""
    kind = f" ({channel['type']}{binned})" if channel.get("type") else ""
    return one_line(f"{said}{kind}", _CLIP)


def _tables(spec: Mapping[str, Any], views: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Any]]:
    datasets = spec.get("datasets") or {}
    seen: list[int] = []
    for holder in (spec, *views):
        source = holder.get("data") or {}
        rows = source.get("values", datasets.get(source.get("name")))
        if isinstance(rows, list) and id(rows) not in seen:
            seen.append(id(rows))
            yield rows


def _table(rows: Sequence[Any]) -> str:
    first = rows[0] if rows and isinstance(rows[0], Mapping) else {}
    columns = [f"{one_line(str(name), _CLIP)} {_span([row.get(name) for row in rows[:_READ]])}" for name in first]
    more = f", and {len(columns) - _COLUMNS} more columns" if len(columns) > _COLUMNS else ""
    return f"data: {_count(len(rows), 'row')}{': ' if columns else ''}{', '.join(columns[:_COLUMNS])}{more}"


# -- both -----------------------------------------------------------------------------------------------------------


def _span(values: Sequence[Any]) -> str:
    """From the smallest to the largest number, or from the first word to the last."""
    flat = list(_flat(values[:_READ]))
    of = f" (of the first {_READ:,})" if len(values) > _READ else ""
    numbers = [each for each in flat if isinstance(each, int | float) and math.isfinite(each)]
    if numbers:
        return f"{min(numbers):.6g} … {max(numbers):.6g}{of}"
    words = [str(each) for each in flat if each is not None]
    if not words:
        return ""
    first, last = (one_line(each, _CLIP) for each in (words[0], words[-1]))
    return f"'{first}' … '{last}'" if len(words) > 1 else f"'{first}'"


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for each in values:
        if isinstance(each, list | array.array):
            yield from each
        else:
            yield each


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _quoted(text: str) -> str:
    return f' "{one_line(text, _CLIP)}"' if text.strip() else ""
