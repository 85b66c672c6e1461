"""Looks at the variables of a Python kernel, from inside of it. It runs there as text, and imports nothing of ours.

Nothing is changed and nothing of the user's own is called: no `repr`, no property, no iteration of types that are not
known here. What is known is looked at in parts of a fixed size, so that a table of ten million rows costs no more than
one of two hundred thousand.
"""

import json
import math
import sys
import time
import types
from itertools import islice
from typing import Any

_PREVIEW = 100
_ITEMS = 8
_DEPTH = 2
_SAMPLE = 200_000
_COLUMNS = 60
_ROWS = 5
_SHOWN_COLUMNS = 20
_CELL = 30
_VARIABLES = 200
_LIBRARIES = frozenset(
    {"numpy", "pandas", "geopandas", "polars", "torch", "tensorflow", "jax", "jaxlib", "xarray", "scipy", "sklearn"}
    | {"xgboost", "lightgbm", "catboost", "statsmodels", "keras", "matplotlib", "PIL", "pyarrow", "collections"}
    | {"datetime", "decimal", "fractions", "pathlib", "re", "builtins", "uuid", "plotly", "altair", "seaborn"}
)


def report(namespace: Any, hidden: Any, names: Any, seconds: Any) -> Any:
    """What there is, or more about the named ones, as JSON text.

    Args:
        namespace: Of the user.
        hidden: What the kernel itself has put there.
        names: Variables to tell more about; empty for all in brief.
        seconds: After which the rest is told by type only.
    """
    deadline = time.monotonic() + seconds
    found = dict(namespace)
    if names:
        details = [_detail(name, found[name], deadline) if name in found else {"name": name} for name in names]
        return json.dumps({"details": details, "known": sorted(_own(found, hidden), key=str)[:_VARIABLES]})
    own = _own(found, hidden)
    modules = [name for name in own if type(found[name]) is types.ModuleType]
    callables = [name for name in own if _made_of(found[name], types.FunctionType, type)]
    variables = [name for name in own if name not in modules and name not in callables]
    rows = [_brief(name, found[name], deadline) for name in variables[:_VARIABLES]]
    return json.dumps(
        {"variables": rows, "modules": modules, "callables": callables, "more": max(len(variables) - _VARIABLES, 0)}
    )


def _own(found: Any, hidden: Any) -> Any:
    return [
        name
        for name in found
        if type(name) is str and not name.startswith("_") and not (name in hidden and hidden[name] is found[name])
        and name not in ("In", "Out", "exit", "quit", "get_ipython", "open")
    ]  # fmt: skip


def _brief(name: Any, value: Any, deadline: Any) -> Any:
    row = {"name": name, "type": _type(value), "size": "", "preview": ""}
    if time.monotonic() < deadline:
        try:
            row["size"], row["preview"] = _size(value), _preview(value, _DEPTH)
        except Exception as error:  # noqa: BLE001, what a library's object raises is not ours
            row["preview"] = f"(not shown: {type(error).__name__})"
    return row


def _detail(name: Any, value: Any, deadline: Any) -> Any:
    row = _brief(name, value, deadline)
    row["lines"] = []
    try:
        row["lines"] = _lines(value)
    except Exception as error:  # noqa: BLE001, what a library's object raises is not ours
        row["lines"] = [f"(not shown: {type(error).__name__})"]
    return row


def _type(value: Any) -> Any:
    kind = type(value)
    name = type.__getattribute__(kind, "__qualname__")
    return name if _home(kind) in ("builtins", "__main__") else f"{_home(kind)}.{name}"


def _home(kind: Any) -> str:
    """The top-level package of a type; its metaclass is not asked."""
    module = type.__getattribute__(kind, "__module__")
    return module.partition(".")[0] if type(module) is str else ""


def _made_of(value: Any, *kinds: Any) -> bool:
    """As `isinstance`, which asks the value for its `__class__`."""
    return any(kind in type.mro(type(value)) for kind in kinds)


def _is(value: Any, module: str, *names: str) -> Any:
    """Whether the type of a value is one of a library, or made of one by a library."""
    kind = type(value)
    if _home(kind) not in _LIBRARIES:
        return False
    return any(_home(base) == module and type.__getattribute__(base, "__name__") in names for base in type.mro(kind))


# -- size and preview ----------------------------------------------------------------------------------------------


def _size(value: Any) -> Any:
    kind = type(value)
    if kind in (str, bytes, bytearray, list, tuple, dict, set, frozenset, range):
        return str(len(value))
    if _is(value, "pandas", "DataFrame", "Series", "Index") or _is(value, "polars", "DataFrame", "Series"):
        return _shape(value.shape)
    if _is(value, "numpy", "ndarray") or _is(value, "torch", "Tensor") or _is(value, "scipy", "spmatrix", "sparray"):
        return f"{_shape(value.shape)} {str(value.dtype).replace('torch.', '')}"
    if _is(value, "xarray", "DataArray", "Dataset"):
        return " ".join(f"{name}={length}" for name, length in list(value.sizes.items())[:_ITEMS])
    if _is(value, "tensorflow", "Tensor", "EagerTensor", "Variable") or _is(value, "jaxlib", "ArrayImpl"):
        return f"{_shape(tuple(value.shape))} {value.dtype}"
    if _is(value, "pyarrow", "Table"):
        return _shape(value.shape)
    if _is(value, "PIL", "Image"):
        return f"{value.size[0]}x{value.size[1]}"
    if _home(kind) == "collections" and kind.__name__ in ("OrderedDict", "defaultdict", "Counter", "deque"):
        return str(len(value))
    return ""


def _shape(shape: Any) -> Any:
    return "x".join(str(length) for length in shape) or "scalar"


def _preview(value: Any, depth: Any) -> Any:
    """A value in at most a line, with nothing called that could be the user's."""
    kind = type(value)
    if value is None or kind in (bool, float, complex):
        return repr(value)
    if kind is int:
        return repr(value) if value.bit_length() < 256 else f"({value.bit_length()} bits)"
    if kind in (str, bytes, bytearray):
        text = repr(value[:_PREVIEW])
        return text if len(value) <= _PREVIEW else text + "…"
    if kind in (list, tuple, set, frozenset, dict, range) or _home(kind) == "collections":
        return _container(value, kind, depth)
    if _home(kind) in ("datetime", "decimal", "fractions", "uuid", "pathlib", "re"):
        return _clipped(repr(value))
    if _is(value, "numpy", "generic"):
        return _clipped(str(value)) if value.dtype.kind in "biufcmM" else ""
    if _is(value, "numpy", "ndarray"):
        return _numbers(value)
    if _is(value, "pandas", "DataFrame") or _is(value, "polars", "DataFrame"):
        return _clipped(", ".join(_text(each) for each in list(value.columns[:_ITEMS])))
    if _is(value, "pandas", "Series"):
        return f"{value.dtype}: {', '.join(_cell(each) for each in value.iloc[:_ITEMS].tolist())}"
    if _is(value, "torch", "Tensor"):
        return f"on {value.device}{', needs gradients' if value.requires_grad else ''}"
    if _is(value, "sklearn", "BaseEstimator"):
        return "fitted" if any(name.endswith("_") and name[:1] != "_" for name in vars(value)) else "not fitted"
    return ""


def _container(value: Any, kind: Any, depth: Any) -> Any:
    if kind in (list, tuple, range):
        parts = [_part(each, depth) for each in value[:_ITEMS]]
    elif kind is dict or kind.__name__ in ("OrderedDict", "defaultdict", "Counter"):
        pairs = islice(dict.items(value), _ITEMS)
        parts = [f"{_part(key, 0)}: {_part(each, depth)}" for key, each in pairs]
    elif kind in (set, frozenset) or kind.__name__ == "deque":
        parts = [_part(each, 0) for each in islice(value, _ITEMS)]
    else:
        return ""
    inner = _clipped(", ".join(parts)) + (", …" if len(value) > _ITEMS else "")
    left, right = {list: ("[", "]"), tuple: ("(", ")")}.get(kind, ("{", "}"))
    return left + inner + right


def _part(value: Any, depth: Any) -> Any:
    if depth <= 0 and type(value) in (list, tuple, dict, set, frozenset):
        return f"{type(value).__name__} of {len(value)}"
    return _preview(value, depth - 1) or f"<{_type(value)}>"


def _numbers(value: Any) -> Any:
    """Range of an array, of a part of it if it is large."""
    if value.dtype.kind not in "biuf" or value.size == 0:
        return ""
    part, note = _part_of(value.reshape(-1) if value.flags.c_contiguous else value[:_SAMPLE], value.size)
    finite = part[~sys.modules["numpy"].isnan(part)] if value.dtype.kind == "f" else part
    missing = part.size - finite.size
    if not finite.size:
        return f"all NaN{note}"
    said = f"{_number(finite.min())} to {_number(finite.max())}"
    return f"{said}{f', {missing} NaN' if missing else ''}{note}"


def _part_of(value: Any, size: Any) -> Any:
    """Evenly spaced elements of something long, and how that is said."""
    step = -(-size // _SAMPLE)
    return (value, "") if step <= 1 else (value[::step], f" (one in {step} looked at)")


# -- in detail -----------------------------------------------------------------------------------------------------


def _lines(value: Any) -> Any:
    if _is(value, "pandas", "DataFrame"):
        return _frame(value)
    if _is(value, "pandas", "Series"):
        return _frame(value.to_frame(value.name if type(value.name) is str else "values"))
    if _is(value, "polars", "DataFrame"):
        heads = [f"{_text(n)} {value[n].dtype}, {value[n].null_count()} null" for n in value.columns[:_COLUMNS]]
        return heads + _table(
            value.columns[:_SHOWN_COLUMNS], value.head(_ROWS).select(value.columns[:_SHOWN_COLUMNS]).rows()
        )
    if _is(value, "numpy", "ndarray"):
        flat = value.flat[: _ITEMS * 2]
        return [_memory(value.nbytes), "first: " + ", ".join(_cell(each) for each in flat.tolist())]
    if _is(value, "torch", "Tensor"):
        return [_memory(value.nelement() * value.element_size()), _preview(value, 0)]
    if _is(value, "torch", "Module"):
        return _module(value)
    if _is(value, "sklearn", "BaseEstimator"):
        return _estimator(value)
    if type(value) is types.FunctionType:
        code = value.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        doc = value.__doc__ if type(value.__doc__) is str else ""
        return [f"({', '.join(names)})", *doc.strip().splitlines()[:1]]
    if type(value) in (list, tuple, dict):
        pairs = value.items() if type(value) is dict else enumerate(value)
        return [f"{_part(key, 0)}: {_part(each, _DEPTH)}" for key, each in islice(pairs, _ITEMS * 3)]
    if type(value) is str:
        return [repr(line) for line in value[:2_000].splitlines()]
    return _attributes(value)


def _attributes(value: Any) -> Any:
    """Names and types of what an object holds, read past its own ways of giving them."""
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return []
    if type(held) is not dict:
        return []
    return [
        f".{name}: {_type(each)} {_preview(each, 1)}".rstrip()
        for name, each in list(held.items())[: _ITEMS * 3]
        if type(name) is str
    ]


def _frame(frame: Any) -> Any:
    rows, columns = frame.shape
    step = -(-rows // _SAMPLE) if rows else 1
    sample = frame.iloc[::step] if step > 1 else frame
    note = " without the contents of objects" if "O" in [kind.kind for kind in frame.dtypes] else ""
    note += f"; nulls and ranges of a sample only, one row in {step}" if step > 1 else ""
    lines = [_memory(frame.memory_usage(index=False).sum()) + note]
    for at in range(min(columns, _COLUMNS)):
        column = sample.iloc[:, at]
        nulls = int(column.isna().sum())
        said = f"{_text(frame.columns[at])} {column.dtype}, {nulls} null"
        lines.append(said + _range(column))
    if columns > _COLUMNS:
        lines.append(f"and {columns - _COLUMNS} columns more")
    head = frame.iloc[:_ROWS, :_SHOWN_COLUMNS]
    body = [[_cell(head.iat[row, at]) for at in range(head.shape[1])] for row in range(head.shape[0])]
    index = [_cell(each) for each in head.index.tolist()]
    titles = ["", *(_text(each) for each in head.columns)]
    return lines + _table(titles, [[index[at], *body[at]] for at in range(len(body))])


def _memory(size: Any) -> str:
    unit, least = ("MB", 1e6) if size >= 1e6 else ("kB", 1e3) if size >= 1e3 else ("B", 1)
    return f"{size / least:.0f} {unit}" if least == 1 else f"{size / least:.1f} {unit}"


def _range(column: Any) -> Any:
    kind = getattr(column.dtype, "kind", "O")
    if kind in "iuf" and len(column):
        low, high = column.min(), column.max()
        return "" if low != low else f", {_number(low)} to {_number(high)}"
    if kind in "mM" and len(column):
        return f", {column.min()} to {column.max()}"
    if kind == "b":
        return f", {int(column.sum())} true"
    if str(column.dtype) == "category":
        return f", {len(column.cat.categories)} categories"
    return ""


def _table(head: Any, rows: Any) -> Any:
    cells = [[_clipped(str(each), _CELL) for each in row] for row in [head, *rows]]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    return ["first rows:"] + ["  ".join(row[at].rjust(widths[at]) for at in range(len(head))) for row in cells]


def _module(value: Any) -> Any:
    """A network: its layers and how many parameters they have."""
    held = object.__getattribute__(value, "__dict__")
    layers = [f"{name}: {_type(each)}" for name, each in list(held.get("_modules", {}).items())[: _ITEMS * 3]]
    count, ahead = 0, [value]
    while ahead:
        inner = object.__getattribute__(ahead.pop(), "__dict__")
        count += sum(each.nelement() for each in inner.get("_parameters", {}).values() if each is not None)
        ahead += [each for each in inner.get("_modules", {}).values() if each is not None]
    return [f"{count} parameters", *layers]


def _estimator(value: Any) -> Any:
    held = object.__getattribute__(value, "__dict__")
    lines = []
    for name, each in list(held.items())[: _ITEMS * 4]:
        if not name.startswith("_"):
            lines.append(f"{name}: {_preview(each, 1) or _type(each)} {_size(each)}")
    return [line.rstrip() for line in lines]


def _cell(value: Any) -> Any:
    if type(value) is float or (_is(value, "numpy", "floating") and value.dtype.kind == "f"):
        return _number(value)
    if type(value) is str:
        return value
    text = _preview(value, 1)
    if not text and _home(type(value)) == "pandas":
        return str(value)
    return text or f"<{_type(value)}>"


def _number(value: Any) -> Any:
    number = value.item() if hasattr(value, "item") else value
    if type(number) is not float:
        return str(number)
    whole = math.isfinite(number) and number == int(number) and abs(number) < 1e15
    return str(int(number)) if whole else f"{number:.6g}"


def _text(name: Any) -> Any:
    return name if type(name) is str else _cell(name)


def _clipped(text: Any, width: Any = _PREVIEW) -> Any:
    return text if len(text) <= width else text[: width - 1] + "…"
