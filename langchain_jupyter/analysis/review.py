"""What a reviewer of a notebook should look at first, told from its cells and outputs alone. Pure."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from langchain_jupyter.analysis.dependencies import names_of
from langchain_jupyter.analysis.magics import LONGEST, code_of
from langchain_jupyter.analysis.names import EVERYTHING, RANDOM
from langchain_jupyter.models import Cell, Standing
from langchain_jupyter.redaction import kinds_of
from langchain_jupyter.rendering.fences import one_line
from langchain_jupyter.rendering.findings import Finding
from langchain_jupyter.rendering.mime import choose

_BIG = 1_000_000
_LONG = 100_000
_SEARCHED = 1_000_000
"""Characters of a source, and of its outputs, that are looked through for secrets; more takes seconds."""
_SILENT = 9
_KNOWN = frozenset(dir(builtins)) | {"get_ipython", "display", "In", "Out", "exit", "quit", "__file__", "__name__"}
_GIVEN = re.compile(
    r"(?i)\b\w*(?:password|passwd|secret|api_?key|access_?key|auth_?token|token)['\"]?\s*[:=]\s*"
    r"['\"](?!\*|<|\{|\$|your|xxx|changeme|none|null)[^'\"\s]{6,}['\"]"
)
_INSTALL = re.compile(r"^\s*[%!]{1,2}\s*(?:python3? -m )?(pip3?|uv pip|conda|mamba)\s+install\b(.*)$", re.MULTILINE)
_HOME = re.compile(r"(?:/home/|/Users/|[A-Za-z]:\\\\?Users\\\\?)[\w.-]+")
_ARROW = re.compile(r"^-+>\s*\d+\s?(.*)$", re.MULTILINE)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_SEEDS = re.compile(r"\b(?:seed|random_state|default_rng|manual_seed|set_seed|RandomState)\b")
_DRAWS = re.compile(
    r"\b(?:np|numpy)\.random\.(?!seed|default_rng|RandomState|Generator)\w+\(|\brandom\.(?!seed|Random)\w+\("
    r"|\b(?:train_test_split|KFold|ShuffleSplit|RandomForest\w+|GradientBoosting\w+|KMeans|MLP\w+)\((?![^()]*random_state)"
    r"|\.sample\((?![^()]*random_state)|\btorch\.rand\w*\(|default_rng\(\s*\)"
)


def review(
    cells: Sequence[Cell], standings: Mapping[str, Standing], *, python: bool, name_of: Callable[[str], str]
) -> list[Finding]:
    """All findings, in no order.

    Args:
        cells: Of the notebook, in order.
        standings: Where its code cells stand.
        python: Whether the code is Python; if not, only what holds for any language is looked at.
        name_of: Cell id -> handle, for what a finding says of other cells.
    """
    found = [
        *_runs(cells, standings, name_of),
        *_story(cells),
        *(finding for cell in cells for finding in _of_cell(cell)),
    ]
    if python:
        found += [*_names(cells, name_of), *_chance(cells)]
        found += [finding for cell in cells if cell.cell_type == "code" for finding in _of_python(cell)]
    return found


# -- runs ----------------------------------------------------------------------------------------------------------


def _runs(cells: Sequence[Cell], standings: Mapping[str, Standing], name_of: Callable[[str], str]) -> Iterator[Finding]:
    """What did not run, ran in another order, or shows something old."""
    code = [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]
    ran = any(cell.execution_count is not None for cell in code)
    highest = 0
    above = ""
    for cell in code:
        count, standing = cell.execution_count, standings.get(cell.id)
        if standing is not None and standing.state == "died":
            yield Finding(cell.id, "wrong", "failing", "was running when the kernel ended")
            continue
        if count is None:
            if ran or cell.outputs:
                said = "has outputs, but no execution count" if cell.outputs else "was never run"
                yield Finding(cell.id, "risky", "not-run", said)
            continue
        if count < highest:
            yield Finding(cell.id, "risky", "order", f"ran as [{count}], before {name_of(above)} [{highest}] above it")
        elif count == highest:
            yield Finding(cell.id, "risky", "order", f"has the same execution count [{count}] as {name_of(above)}")
        if count > highest:
            highest, above = count, cell.id
        if standing is not None and standing.state == "stale" and standing.why != "ran before the kernel started":
            yield Finding(cell.id, "wrong", "stale", f"is stale: {standing.why}")


def _of_cell(cell: Cell) -> Iterator[Finding]:
    """What can be told of a cell of any kind and language."""
    if not cell.source.strip():
        yield Finding(cell.id, "untidy", "empty", f"is an empty {cell.cell_type} cell")
    error = next((each for each in cell.outputs if each["output_type"] == "error"), None)
    if error is not None:
        said = one_line(f"{error['ename']}: {error['evalue']}", 120)
        yield Finding(cell.id, "wrong", "failing", f"fails: {said}")
    yield from _secrets(cell)
    size = sum(_size(each) for each in cell.outputs)
    text = sum(len(str(each.get("text", ""))) for each in cell.outputs)
    if size > _BIG or text > _LONG:
        yield Finding(cell.id, "untidy", "big-output", f"has {max(size, text) / 1e6:.1f} MB of output")


def _size(output: Mapping[str, object]) -> int:
    data = output.get("data")
    return (
        sum(len(str(value)) for value in data.values())
        if isinstance(data, Mapping)
        else len(str(output.get("text", "")))
    )


def _secrets(cell: Cell) -> Iterator[Finding]:
    shown = "\n".join(_shown(cell))
    for where, text in (("source", cell.source[:_SEARCHED]), ("output", shown[:_SEARCHED])):
        kinds = kinds_of(text) or (["a password or key"] if _GIVEN.search(text) else [])
        if kinds:
            yield Finding(cell.id, "wrong", "secret", f"has what looks like {kinds[0]} in its {where}")


def _shown(cell: Cell) -> Iterator[str]:
    for output in cell.outputs:
        if output["output_type"] == "stream":
            yield str(output["text"])
        elif "data" in output:
            yield "\n".join(_text(value) for mime, value in output["data"].items() if mime.startswith("text/"))
        elif output["output_type"] == "error":
            yield str(output["evalue"])


def _text(value: object) -> str:
    """Text that nbformat may keep as a list of lines."""
    return "".join(map(str, value)) if isinstance(value, list) else str(value)


def _story(cells: Sequence[Cell]) -> Iterator[Finding]:
    """Whether somebody explains what the code does."""
    if not cells:
        return
    texts = [cell for cell in cells if cell.cell_type == "markdown" and cell.source.strip()]
    code = [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]
    if len(code) > 2 and not texts:
        yield Finding("", "untidy", "unexplained", "no cell explains what the notebook is for, or its steps")
        return
    if len(code) > 2 and not any(cell.cell_type == "markdown" for cell in cells[:2]):
        yield Finding(cells[0].id, "untidy", "untitled", "no title or purpose before the first code")
    silent: list[Cell] = []
    for cell in [*cells, *texts[:1]]:
        if cell.cell_type == "code":
            silent += [cell] if cell.source.strip() else []
        elif cell.source.strip():
            if len(silent) > _SILENT:
                yield Finding(
                    silent[0].id, "untidy", "unexplained", f"begins {len(silent)} code cells without a word between"
                )
            silent = []


# -- Python --------------------------------------------------------------------------------------------------------


def _names(cells: Sequence[Cell], name_of: Callable[[str], str]) -> Iterator[Finding]:
    """Names that a run from the top would not find."""
    code = [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]
    names = {cell.id: names_of(cell.source) for cell in code}
    wild = any(EVERYTHING in names[cell.id].changes for cell in code if not _unreadable(cell))
    first: dict[str, str] = {}
    for cell in code:
        for name in names[cell.id].sets | names[cell.id].changes:
            first.setdefault(name, cell.id)
    known = set(_KNOWN)
    for cell in code:
        if _unreadable(cell):
            continue
        own = names[cell.id]
        for name in sorted(own.reads - known - {EVERYTHING, RANDOM}):
            later = first.get(name)
            if later is None or (later == cell.id and name not in own.sets and _only_changed(name, code)):
                if wild:  # anything may have been set by `import *`, `exec` or `%run`
                    continue
                lives = cell.execution_count is not None and not any(o["output_type"] == "error" for o in cell.outputs)
                why = ": a deleted cell did, or an earlier version of one" if lives else ""
                yield Finding(cell.id, "wrong", "undefined", f"uses {name}, which no cell sets{why}")
            elif later != cell.id:
                yield Finding(
                    cell.id, "wrong", "used-before", f"uses {name}, which is first set below, in {name_of(later)}"
                )
            else:
                yield Finding(cell.id, "wrong", "used-before", f"uses {name} before it sets it, and no cell above does")
        known |= own.sets | own.changes


def _only_changed(name: str, code: Sequence[Cell]) -> bool:
    """Whether no cell binds a name for certain."""
    return not any(name in names_of(cell.source).sets for cell in code)


def _unreadable(cell: Cell) -> bool:
    return len(cell.source) <= LONGEST and names_of(cell.source).reads == {EVERYTHING} and _tree(cell) is None


def _chance(cells: Sequence[Cell]) -> Iterator[Finding]:
    """Draws of random numbers that nobody has seeded."""
    code = [cell for cell in cells if cell.cell_type == "code" and len(cell.source) <= LONGEST]
    for cell in code:
        if _SEEDS.search(_without_comments(cell)) and not re.search(r"random_state|default_rng\(\s*\)", cell.source):
            return
        if (draw := _DRAWS.search(_without_comments(cell))) is not None:
            said = one_line(draw[0].rstrip("("), 60)
            yield Finding(
                cell.id, "risky", "unseeded", f"draws random numbers without a seed ({said}): each run differs"
            )
            return


def _without_comments(cell: Cell) -> str:
    return re.sub(r"(?m)^\s*#.*$|\s#\s.*$", "", cell.source)


def _of_python(cell: Cell) -> Iterator[Finding]:
    source = cell.source
    if len(source) > LONGEST:
        yield Finding(cell.id, "untidy", "long", f"has {len(source):,} characters of code: too long to be looked into")
        return
    for command, rest in _INSTALL.findall(source):
        if loose := _unpinned(rest, conda=command in ("conda", "mamba")):
            yield Finding(cell.id, "risky", "unpinned", f"installs {', '.join(loose[:4])} in whatever version there is")
    if (home := _HOME.search(_without_comments(cell))) is not None:
        yield Finding(cell.id, "risky", "private-path", f"has a path of one person's machine: {home[0]}")
    tree = _tree(cell)
    if tree is None:
        if source.strip():
            yield Finding(cell.id, "wrong", "syntax", "is not valid Python")
        return
    yield from _patterns(cell, tree)
    whole_magic = source.lstrip().startswith("%%")
    if (cell.execution_count is not None or cell.outputs) and not whole_magic:
        said = mismatch(cell, tree)
        if said:
            yield Finding(cell.id, "wrong", "mismatch", said)


def _tree(cell: Cell) -> ast.Module | None:
    try:
        return ast.parse(code_of(cell.source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _unpinned(rest: str, *, conda: bool) -> list[str]:
    words = re.sub(r"\s#.*$", "", rest).split()
    if any(word in ("-r", "--requirement", "-e", "--editable", "-f", "--file") for word in words):
        return []
    packages = [
        word.strip("'\"")
        for at, word in enumerate(words)
        if not word.startswith("-") and words[at - 1 : at] not in (["-c"], ["-i"])
    ]
    return [
        name
        for name in packages
        if not (("=" in name and conda) or "==" in name or "@" in name or name in (".", "pip"))
    ]


def _patterns(cell: Cell, tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        match node:
            case ast.ExceptHandler(type=None | ast.Name(id="Exception" | "BaseException"), body=[ast.Pass()]):
                yield Finding(cell.id, "risky", "swallowed", f"line {node.lineno} swallows every exception")
            case ast.Call(
                func=ast.Attribute(attr="filterwarnings" | "simplefilter"), args=[ast.Constant(value="ignore"), *_]
            ):
                yield Finding(cell.id, "untidy", "silenced", f"line {node.lineno} hides all warnings")
            case ast.Assign(targets=[ast.Subscript(value=ast.Subscript(value=ast.Name(id=name)))]) if _filters(node):
                yield Finding(
                    cell.id,
                    "risky",
                    "chained",
                    f"line {node.lineno} assigns to a part of {name} that may be a copy; use .loc",
                )


def _filters(node: ast.Assign) -> bool:
    """Whether the inner subscript chooses rows by a condition, or a column by its name."""
    target = node.targets[0]
    assert isinstance(target, ast.Subscript)
    assert isinstance(target.value, ast.Subscript)
    return isinstance(target.value.slice, ast.Compare | ast.BinOp) or isinstance(target.slice, ast.Compare)


def mismatch(cell: Cell, tree: ast.Module) -> str:
    """Why the outputs of a cell cannot come from its source as it is; empty if they can."""
    outputs = [output for output in cell.outputs if output["output_type"] != "error"]
    error = next((output for output in cell.outputs if output["output_type"] == "error"), None)
    if error is not None:
        return _other_line(cell, error)
    printed = "".join(str(output["text"]) for output in outputs if output["output_type"] == "stream")
    result = next((output for output in outputs if output["output_type"] == "execute_result"), None)
    last = tree.body[-1] if tree.body else None
    if result is not None and (not isinstance(last, ast.Expr) or cell.source.rstrip().endswith(";")):
        return "shows a result, but its last line is no expression: edited since it ran"
    if outputs and not any(isinstance(node, ast.Call | ast.Expr) for node in ast.walk(tree)):
        return "has outputs, but nothing in its source can make any"
    missing = next((text for text in _printed(tree) if text not in printed), "")
    if missing and not any("\r" in str(output.get("text", "")) for output in outputs):
        return f"prints {one_line(repr(missing), 60)}, which its output does not have: edited since it ran"
    if isinstance(last, ast.Expr) and not outputs and _shows(last.value) and not cell.source.rstrip().endswith(";"):
        return "ends with a value, but shows none: edited since it ran, or its output was cleared"
    if result is not None and isinstance(last, ast.Expr) and (value := _constant(last.value, tree)) is not None:
        said = choose(result["data"]).text
        if said and repr(value.value) != said.strip():
            return f"ends with {one_line(repr(value.value), 40)}, but shows {one_line(said, 40)}"
    return ""


def _constant(node: ast.expr, tree: ast.Module) -> ast.Constant | None:
    """The constant that an expression is, or that its name was given last, right here."""
    if isinstance(node, ast.Name):
        stores = [each for each in ast.walk(tree) if isinstance(each, ast.Name) and each.id == node.id]
        givers = [each for each in tree.body if isinstance(each, ast.Assign) and each.targets[0] in stores]
        if len(stores) != len(givers) + 1 or not givers:  # it is used in some other way as well
            return None
        node = givers[-1].value
    return node if isinstance(node, ast.Constant) else None


def _other_line(cell: Cell, error: Mapping[str, object]) -> str:
    """Whether the traceback points to a line of this cell that is not there any more."""
    lines = error.get("traceback")
    text = _ANSI.sub("", "\n".join(map(str, lines))) if isinstance(lines, list) else ""
    own = text.partition("File ")[0] if "Cell In" not in text else text
    pointed = _ARROW.search(own)
    if pointed is None or not pointed[1].strip():
        return ""
    if pointed[1].strip() in " ".join(line.strip() for line in cell.source.splitlines()):
        return ""
    return f"its error comes from {one_line(repr(pointed[1].strip()), 60)}, a line that it no longer has"


def _printed(tree: ast.Module) -> Iterator[str]:
    """Texts that a source prints for certain: constants in calls of `print` at its top level."""
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value
            if (
                isinstance(call.func, ast.Name)
                and call.func.id == "print"
                and not any(k.arg == "file" for k in call.keywords)
            ):
                yield from (text for argument in call.args for text in _constants(argument))


def _constants(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int) and not isinstance(node.value, bool):
        text = str(node.value).strip()
        if len(text) > 1:
            yield text.splitlines()[0].strip() if text else ""
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            if isinstance(part, ast.Constant):
                yield from _constants(part)


def _shows(node: ast.expr) -> bool:
    """Whether an expression has a value for certain that is not None."""
    match node:
        case ast.Constant(value=value):
            return value is not None and value is not Ellipsis
        case ast.BinOp() | ast.Compare() | ast.JoinedStr() | ast.List() | ast.Dict() | ast.Tuple():
            return True
        case ast.Call(
            func=ast.Attribute(attr="head" | "describe" | "value_counts" | "mean" | "sum" | "tail" | "sample")
        ):
            return True
    return False


def fresh_of(linted: Sequence[Finding], found: Sequence[Finding]) -> list[Finding]:
    """The linter's findings that do not say again what was found without it."""
    said = {(each.cell_id, each.rule) for each in found}
    texts = {each.cell_id: " ".join(f.text for f in found if f.cell_id == each.cell_id) for each in found}

    def again(each: Finding) -> bool:
        if each.rule == "F821":
            name = each.text.rpartition("`")[0].rpartition("`")[2]
            return f"uses {name}" in texts.get(each.cell_id, "")
        return each.rule == "E722" and (each.cell_id, "swallowed") in said

    return [each for each in linted if not again(each)]
