"""What a code cell of Python reads, sets and changes, from its source alone. Pure.

It errs on the side of more dependencies, but takes libraries at their usual word: what a module's function returns is
new, and a method changes its object if its result is thrown away or its name says so (`append`, `fit`, `inplace=True`).
Files, the network, the clock and the environment are outside of it.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

EVERYTHING = "*"
"""In place of a name: all of them. A cell with `exec`, `%run` or `from x import *` sets what nobody can foresee."""

RANDOM = "random numbers"
"""In place of a name: the state of the random generators, which every draw changes."""

_MAGIC = re.compile(r"^\s*(?:[%!?]|.*\?\s*$|[\w\s,.\[\]'\"]*=\s*[%!])", re.MULTILINE)
_WORD = re.compile(r"[^\W\d]\w*")
_LONGEST = 200_000
_PYTHON_MAGICS = frozenset(
    {"time", "timeit", "prun", "memit", "mprun", "lprun", "capture", "debug", "python", "python3"}
)
_WILD_MAGICS = frozenset(
    {"run", "load", "load_ext", "pylab", "store", "reset", "reset_selective", "cython", "R", "xdel"}
)
_INERT_MAGICS = frozenset(
    {"bash", "sh", "html", "HTML", "javascript", "js", "latex", "markdown", "svg", "SVG", "writefile", "script", "perl"}
    | {"ruby", "matplotlib", "config", "pip", "conda", "mamba", "uv", "autoreload", "cd", "pwd", "ls", "env", "set_env"}
    | {"who", "whos", "who_ls", "lsmagic", "magic", "precision", "xmode", "pinfo", "pinfo2", "psource", "pdoc", "pfile"}
)
_WILD = frozenset({"exec", "eval", "globals", "locals", "vars", "setattr", "delattr", "__import__", "get_ipython"})
_HISTORY = re.compile(r"_{1,3}|_i{1,3}|_\d+|_i\d+|In|Out|_[io]h|_dh")
_MUTATORS = frozenset(
    {"append", "extend", "insert", "remove", "pop", "clear", "update", "sort", "reverse", "add", "discard", "popitem"}
    | {
        "setdefault",
        "appendleft",
        "popleft",
        "extendleft",
        "rotate",
        "push",
        "put",
        "fit",
        "fit_transform",
        "partial_fit",
    }
    | {"fit_predict", "train", "step", "backward", "zero_grad", "load_state_dict", "compile", "write", "writelines"}
    | {"read", "readline", "readlines", "seek", "close", "send", "throw", "fill", "resize", "setflags", "itemset"}
    | {
        "intersection_update",
        "difference_update",
        "symmetric_difference_update",
        "drop_duplicates_",
        "execute",
        "commit",
    }
    | {"seed", "set_state", "shuffle", "next", "__next__", "__setitem__", "__delitem__", "__setattr__", "set"}
)
_SHARING = frozenset(
    {"get", "setdefault", "pop", "values", "items", "keys", "view", "reshape", "ravel", "squeeze", "send"}
)
_FRESH = frozenset(
    {"len", "sum", "str", "int", "float", "bool", "abs", "round", "repr", "print", "type", "isinstance", "range", "any"}
    | {"all", "hash", "id", "format", "ord", "chr", "bin", "hex", "pow", "divmod", "callable", "hasattr", "issubclass"}
    | {"complex", "bytes", "ascii", "input", "help", "display"}
)
_ONCE = frozenset(
    {"open", "iter", "map", "filter", "zip", "reversed", "enumerate", "count", "cycle", "reader", "scandir"}
)


@dataclass(frozen=True, slots=True)
class Closure:
    """What a function or an object made of some does later, when it is used.

    Attributes:
        reads: Global names that are looked up then.
        changes: Global names that are set or changed then.
        arguments: Whether its arguments may be changed then.
        once: Whether using it changes it: a generator, an open file, a source of random numbers.
    """

    reads: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    arguments: bool = False
    once: bool = False

    def __or__(self, other: Closure) -> Closure:
        return Closure(
            self.reads | other.reads,
            self.changes | other.changes,
            self.arguments or other.arguments,
            self.once or other.once,
        )


NOTHING = Closure()


@dataclass(slots=True)
class Names:
    """What running a source does to the global names.

    Attributes:
        code: What tells this code from another: the source without comments and layout.
        reads: Looked up before the source itself has set them.
        sets: Bound anew in any case.
        changes: Set in some cases only, or changed in place: what they are then depends on what they were.
        touches: Names of objects with a method that is called for its effect: they change, unless they are modules.
        uses: Names that are loaded at once, whose closures therefore take effect.
        given: Names handed to each called name, which may change them.
        shares: Set or changed name -> the names whose objects it may share.
        closures: Set or changed name -> what it does later.
        draws: Set or changed name -> the names whose closures it takes over.
        modules: Names bound by an import.
    """

    code: str
    reads: set[str] = field(default_factory=set)
    sets: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    touches: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)
    given: dict[str, set[str]] = field(default_factory=dict)
    shares: dict[str, set[str]] = field(default_factory=dict)
    closures: dict[str, Closure] = field(default_factory=dict)
    draws: dict[str, set[str]] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)


@lru_cache(maxsize=32_768)  # more than a long notebook has cells: all are looked at in turn
def names_of(source: str) -> Names:
    """What a cell does to the global names; everything to all of them if it cannot be read. The result is shared."""
    plain, magics = _without_magics(source)
    try:
        if len(plain) > _LONGEST:
            raise ValueError
        tree = ast.parse(plain)
        quiet = ";" if plain.rstrip().endswith(";") else ""
        reader = _Reader(Names(f"{ast.dump(tree)}{quiet}\0{magics}"))
        reader.run(tree.body)
        found = reader.names
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Names(source, reads={EVERYTHING}, changes={EVERYTHING})
    return found


def code_of(source: str) -> str:
    """A cell as IPython hands it to Python: without magics and shell commands."""
    return _without_magics(source)[0]


def _without_magics(source: str) -> tuple[str, str]:
    """The source as IPython hands it to Python, and the cell magic around it."""
    if not _MAGIC.search(source):
        return source, ""
    if (head := re.match(r"\s*%%(\w+)([^\n]*)\n?", source)) is not None:
        return _cell_magic(head[1], head[2], source[head.end() :])
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return TransformerManager().transform_cell(source), ""  # type: ignore[no-untyped-call]
    except SyntaxError:
        return source, ""


def _cell_magic(name: str, line: str, body: str) -> tuple[str, str]:
    label = f"%%{name}{line}"
    if name in _PYTHON_MAGICS:
        inner, more = _without_magics(body)
        target = next(iter(_WORD.findall(re.sub(r"--?\S+", "", line))), "") if name == "capture" else ""
        return (f"{target} = None\n{inner}" if target else inner), label + more
    if name in _WILD_MAGICS:
        return "exec('')", label + body
    words = [] if name in _INERT_MAGICS else _WORD.findall(line + " " + body)
    return "".join(
        f"{word}\n" for word in sorted(set(words)) if word.isidentifier() and not _keyword(word)
    ), label + body


def _keyword(word: str) -> bool:
    import keyword

    return keyword.iskeyword(word)


class _Reader:
    """Walks a source in the order in which it runs; `bound` are the names that it has certainly set by then."""

    def __init__(self, names: Names, *, top: bool = True) -> None:
        self.names = names
        self.bound: set[str] = set()
        self._top = top
        self._locals: set[str] = set()

    # -- statements ---------------------------------------------------------------------------------------------

    def run(self, body: Iterable[ast.stmt]) -> None:
        statements = list(body)
        for at, statement in enumerate(statements):
            self._statement(statement, last=self._top and at == len(statements) - 1)

    def _statement(self, node: ast.stmt, *, last: bool = False) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._define(node)
            case ast.ClassDef():
                self._class(node)
            case ast.Assign(targets=targets, value=value):
                self._assign(targets, value)
            case ast.AnnAssign():
                self._load(node.annotation)
                if node.value is not None:
                    self._assign([node.target], node.value)
            case ast.AugAssign(target=target, value=value):
                self._augment(target, value)
            case ast.Import(names=aliases):
                for alias in aliases:
                    self._import(alias.asname or alias.name.partition(".")[0], alias.name)
            case ast.ImportFrom(names=aliases, module=module):
                for alias in aliases:
                    if alias.name == "*":
                        self._wild()
                    else:
                        self._import(alias.asname or alias.name, module or "")
            case ast.Delete(targets=targets):
                for gone in targets:
                    self._mutate(gone)
                    self._target(gone)
            case ast.If(test=test, body=body, orelse=orelse):
                self._load(test)
                self._branches([body, orelse])
            case ast.While(test=test, body=body, orelse=orelse):
                self._load(test)
                self._branches([[*body, *orelse], []])
                self._load(test)
            case ast.For() | ast.AsyncFor():
                self._for(node)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    self._load(item.context_expr)
                    if item.optional_vars is not None:
                        self._assign([item.optional_vars], item.context_expr, loaded=True)
                for each in node.body:
                    self._statement(each)
            case ast.Try() | ast.TryStar():
                self._try(node)
            case ast.Match(subject=subject, cases=cases):
                self._load(subject)
                for name in (name for case in cases for name in _bindings(case.pattern)):
                    self.names.shares.setdefault(name, set()).update(set(_shared(subject)) - {name})
                self._branches([*([_bindings(case.pattern), case] for case in cases), []])
            case ast.Expr(value=value):
                self._load(value)
                if not last:
                    self._thrown_away(value)
            case ast.Global(names=named) | ast.Nonlocal(names=named):
                self._locals -= set(named)
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self._load(child)

    def _branches(self, branches: list[list[object]] | list[list[ast.stmt]]) -> None:
        """Of several paths one is taken: only what all of them set is certainly set."""
        before, ends = set(self.bound), []
        for branch in branches:
            self.bound = set(before)
            for step in branch:
                if isinstance(step, ast.match_case):
                    if step.guard is not None:
                        self._load(step.guard)
                    for each in step.body:
                        self._statement(each)
                elif isinstance(step, ast.stmt):
                    self._statement(step)
                elif isinstance(step, list):
                    for name in step:
                        self._bind(name)
            ends.append(self.bound)
        self.bound = set.intersection(*ends)
        self._settle(set.union(*ends) - self.bound)

    def _settle(self, unsure: set[str]) -> None:
        """Names that were set on some path only keep, or may keep, what they were."""
        self.names.changes |= unsure
        self.names.sets -= unsure

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        self._load(node.iter)
        self._used_up(node.iter)
        before = set(self.bound)
        self._assign([node.target], node.iter, loaded=True)
        for each in node.body:
            self._statement(each)
        unsure, self.bound = self.bound - before, before
        self._settle(unsure)
        for each in node.orelse:
            self._statement(each)

    def _try(self, node: ast.Try | ast.TryStar) -> None:
        paths: list[list[object]] = [[*node.body, *node.orelse]]
        for handler in node.handlers:
            if handler.type is not None:
                self._load(handler.type)
            paths.append([*([[handler.name]] if handler.name else []), *handler.body])
        before = set(self.bound)
        for each in node.body:  # a handler may run after any part of it
            self._statement(each)
        self._settle(self.bound - before)
        self.bound = before
        self._branches(paths)
        for each in node.finalbody:
            self._statement(each)

    # -- binding ------------------------------------------------------------------------------------------------

    def _bind(self, name: str) -> None:
        if name in self._locals:
            return
        self.bound.add(name)
        if self._top:
            if name not in self.names.changes:
                self.names.sets.add(name)
        else:
            self.names.changes.add(name)

    def _import(self, name: str, module: str) -> None:
        self._bind(name)
        self.names.modules.add(name)
        if "random" in module.split("."):
            self.names.closures[name] = Closure(frozenset({RANDOM}), frozenset({RANDOM}))

    def _wild(self) -> None:
        self.names.reads.add(EVERYTHING)
        self.names.changes.add(EVERYTHING)

    def _assign(self, targets: list[ast.expr], value: ast.expr, *, loaded: bool = False) -> None:
        if isinstance(value, ast.Lambda):
            for default in (*value.args.defaults, *value.args.kw_defaults):
                self._load(default or ast.Constant(None))
        elif not loaded:
            self._load(value)
        shared, closure, drawn = set(_shared(value)), _closure(value), set(_loaded(value))
        for target in targets:
            for name in self._target(target):
                self.names.shares.setdefault(name, set()).update(shared - {name})
                self.names.draws.setdefault(name, set()).update(drawn)
                if closure != NOTHING:
                    self.names.closures[name] = self.names.closures.get(name, NOTHING) | closure

    def _target(self, target: ast.expr) -> Iterator[str]:
        """Bind what a target names, or change what it stands in; gives the names concerned."""
        found: list[str] = []
        match target:
            case ast.Name(id=name):
                self._bind(name)
                found.append(name)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part in parts:
                    found += self._target(part)
            case ast.Starred(value=inner):
                found += self._target(inner)
            case _:
                self._load_inside(target)
                found += self._mutate(target)
        return iter(found)

    def _augment(self, target: ast.expr, value: ast.expr) -> None:
        self._load(value)
        if isinstance(target, ast.Name):
            self._name(target.id)
            self._change(target.id)
            self.bound.add(target.id)
            self.names.draws.setdefault(target.id, set()).update(_loaded(value))
        else:
            self._load_inside(target)
            self._mutate(target)

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if part is not None:
                self._load(part)
        self._keep(node.name, _body(node), [name for part in node.decorator_list for name in _loaded(part)])

    def _class(self, node: ast.ClassDef) -> None:
        for part in (*node.decorator_list, *node.bases, *(each.value for each in node.keywords)):
            self._load(part)
        closure = NOTHING
        inner = {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        outer = self.bound, self._locals
        self._locals = self._locals | {name for each in node.body for name in _stored(each)} | inner
        for each in node.body:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                closure |= _body(each)
            else:
                self._statement(each)
        self.bound, self._locals = outer
        self._keep(node.name, closure, [name for base in node.bases for name in _loaded(base)])

    def _keep(self, name: str, closure: Closure, drawn: Iterable[str]) -> None:
        self._bind(name)
        self.names.closures[name] = closure
        self.names.draws.setdefault(name, set()).update(drawn)

    # -- loading ------------------------------------------------------------------------------------------------

    def _load(self, node: ast.AST) -> None:
        """Everything that evaluating an expression reads and changes."""
        match node:
            case ast.Name(id=name):
                self._name(name)
            case ast.NamedExpr(target=target, value=value):
                self._assign([target], value)
            case ast.Lambda():
                self._absorb(_body(node))
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self._comprehension(node)
            case ast.Call():
                self._call(node)
            case _:
                for child in ast.iter_child_nodes(node):
                    self._load(child)

    def _load_inside(self, target: ast.expr) -> None:
        for child in ast.iter_child_nodes(target):
            self._load(child)

    def _name(self, name: str) -> None:
        if name in self._locals:
            return
        if _HISTORY.fullmatch(name) and self._top:
            self.names.reads.add(EVERYTHING)
        self.names.uses.add(name)
        if name not in self.bound:
            self.names.reads.add(name)
        else:
            self._absorb(self.names.closures.get(name, NOTHING))
            if self.names.closures.get(name, NOTHING).once:
                self._change(name)

    def _absorb(self, closure: Closure) -> None:
        """A closure may take effect now."""
        self.names.reads |= {name for name in closure.reads if name not in self.bound}
        for name in closure.reads & self.bound - self.names.uses:
            self._name(name)
        self.names.changes |= closure.changes
        self.names.sets -= closure.changes

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        outer = self._locals
        targets = {name for each in node.generators for name in _stored(each.target)}
        for at, each in enumerate(node.generators):
            if at:
                self._locals = outer | targets
            self._load(each.iter)
            self._used_up(each.iter)
        self._locals = outer | targets
        parts: list[ast.expr] = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for part in (*parts, *(test for each in node.generators for test in each.ifs)):
            self._load(part)
            if any(isinstance(inner, ast.Call) and _mutates(inner) for inner in ast.walk(part)):
                for each in node.generators:  # its elements may be what is changed
                    self._mutate(each.iter)
        self._locals = outer

    def _call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and _is_shell(node.func.value):
            self._magic(node.func.attr, node)
            return
        for child in ast.iter_child_nodes(node):
            self._load(child)
        arguments = [*node.args, *(each.value for each in node.keywords)]
        given = {name for argument in arguments for name in _shared(argument)} - self._locals
        dotted = _dotted(node.func)
        if (
            "random" in dotted
            or dotted[-1:] in (["seed"], ["shuffle"])
            or {"sample", "choice", "choices"} & set(dotted)
        ):
            self.names.reads.add(RANDOM)
            self.names.changes.add(RANDOM)
        if isinstance(node.func, ast.Name):
            self._call_name(node.func.id, given, arguments)
        elif isinstance(node.func, ast.Attribute):
            self._call_method(node, node.func, given)
        elif isinstance(node.func, ast.Lambda):
            self._hand("lambda", given)

    def _call_name(self, name: str, given: set[str], arguments: list[ast.expr]) -> None:
        if name in _WILD and name not in self.bound:
            self._wild()
        if name in ("next", "setattr", "delattr", "heappush", "heappop", "heapify", "shuffle") and arguments:
            self._mutate(arguments[0])
        if name in self.bound and self.names.closures.get(name, NOTHING).arguments:
            for each in given:
                self._change(each)
        if not hasattr(builtins, name):
            self._hand(name, given)
        for argument in arguments:
            self._used_up(argument)

    def _call_method(self, node: ast.Call, func: ast.Attribute, given: set[str]) -> None:
        root = _root(func.value)
        if _mutates(node):
            self._mutate(func.value)
            if root is not None:
                self.names.draws.setdefault(root, set()).update(given)
                self.names.shares.setdefault(root, set()).update(given - {root})
        if func.attr in ("shuffle", "heappush", "heappop", "heapify") and node.args:
            self._mutate(node.args[0])
        if root is not None and root not in self._locals:
            self._hand(root, given)

    def _hand(self, name: str, given: set[str]) -> None:
        if given and name not in self._locals:
            self.names.given.setdefault(name, set()).update(given)

    def _magic(self, verb: str, node: ast.Call) -> None:
        """A line magic or shell command, as IPython has rewritten it."""
        texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        name = texts[0] if verb in ("run_line_magic", "run_cell_magic") and texts else ""
        rest = " ".join(texts[1:] if name else texts)
        if name in _WILD_MAGICS or (not name and verb not in ("system", "getoutput")):
            self._wild()
        elif name in _PYTHON_MAGICS:
            self._python(re.sub(r"^(?:\s*-\w+(?:\s*\d+)?)+\s", " ", rest).strip())
        elif name.startswith("pinfo") or (name and name not in _INERT_MAGICS):
            self._words(rest)
        else:
            self._words(" ".join(re.findall(r"[{$]\{?([^}\s]*)", rest)))

    def _python(self, source: str) -> None:
        try:
            self.run(ast.parse(source).body)
        except SyntaxError:
            self._words(source)

    def _words(self, text: str) -> None:
        for word in _WORD.findall(text):
            self._name(word)

    # -- changing -----------------------------------------------------------------------------------------------

    def _thrown_away(self, node: ast.expr) -> None:
        """A method whose result nobody takes is called for what it does to its object, unless that is a module."""
        inner = node.value if isinstance(node, ast.Await) else node
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
            root = _root(inner.func.value)
            if root not in (None, "get_ipython", *self.names.modules) and not _printing(inner):
                self._mutate(inner.func.value, unless_module=True)

    def _used_up(self, node: ast.expr) -> None:
        if isinstance(node, ast.Name) and self.names.closures.get(node.id, Closure()).once:
            self._change(node.id)

    def _mutate(self, node: ast.expr, *, unless_module: bool = False) -> list[str]:
        found = [name for name in _shared(node) if name not in self._locals]
        for name in found:
            self._change(name, mild=unless_module)
        return found

    def _change(self, name: str, *, mild: bool = False) -> None:
        if name in self._locals:
            return
        if name in self.bound and name in self.names.sets:
            for source in self.names.shares.get(name, ()):
                if source not in self.bound or source not in self.names.sets:
                    self.names.changes.add(source)
            return
        (self.names.touches if mild else self.names.changes).add(name)
        self.names.reads.add(name)
        for source in self.names.shares.get(name, ()):
            self.names.changes.add(source)


def _is_shell(node: ast.expr) -> bool:
    """Whether an expression is `get_ipython()`."""
    return isinstance(node, ast.Call) and _dotted(node.func) == ["get_ipython"]


def _mutates(node: ast.Call) -> bool:
    """Whether a call says that it changes its object."""
    if not isinstance(node.func, ast.Attribute):
        return False
    inplace = any(
        each.arg in ("inplace", "out") and not (isinstance(each.value, ast.Constant) and not each.value.value)
        for each in node.keywords
    )
    name = node.func.attr
    return inplace or name in _MUTATORS or name.startswith(("set_", "add_")) or name.endswith("_")


def _printing(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute) and node.func.attr in (
        "head", "tail", "describe", "info", "plot", "hist", "show", "print", "display", "items", "keys", "values",
    )  # fmt: skip


def _body(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Closure:
    """What a function does when it is called."""
    arguments = node.args
    parameters = {
        each.arg
        for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
        if each is not None
    }
    body: list[ast.stmt] = [ast.Expr(node.body)] if isinstance(node, ast.Lambda) else node.body
    declared = {name for each in body for inner in _own(each) if isinstance(inner, ast.Global) for name in inner.names}
    local = (parameters | {name for each in body for name in _stored(each)}) - declared
    reader = _Reader(Names(""), top=False)
    reader._locals = set(local)
    reader.run(body)
    names = reader.names
    inner = NOTHING
    for name, closure in names.closures.items():
        if name in local:
            inner |= closure
    once = any(isinstance(each, ast.Yield | ast.YieldFrom) for part in body for each in _own(part))
    return Closure(
        frozenset(names.reads - local) | inner.reads | frozenset(names.changes - {EVERYTHING} - local),
        frozenset(names.changes - local) | inner.changes,
        _touches(body, local) or inner.arguments,
        once,
    )


def _touches(body: list[ast.stmt], local: set[str]) -> bool:
    """Whether a function may change an object that it was given."""
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
                return True
            if isinstance(node, ast.AugAssign):
                return True
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                if isinstance(node.value.func, ast.Attribute) or not hasattr(builtins, _dotted(node.value.func)[0]):
                    return True
            elif isinstance(node, ast.Call) and (_mutates(node) or _dotted(node.func)[-1:] == ["next"]):
                return True
    return False


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """A node and what is in it, without the bodies of inner functions and classes."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return
    for child in ast.iter_child_nodes(node):
        yield from _own(child)


def _stored(node: ast.AST) -> Iterator[str]:
    """Names that a statement or target binds in its own scope."""
    for each in _own(node):
        match each:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                for alias in aliases:
                    yield alias.asname or alias.name.partition(".")[0]
            case ast.ExceptHandler(name=str(name)):
                yield name
            case ast.match_case(pattern=pattern):
                yield from _bindings(pattern)


def _bindings(pattern: ast.pattern) -> list[str]:
    found = []
    for node in ast.walk(pattern):
        if isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            found.append(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found.append(node.rest)
    return found


def _loaded(node: ast.AST) -> Iterator[str]:
    """All names that an expression mentions."""
    return (each.id for each in ast.walk(node) if isinstance(each, ast.Name))


def _shared(node: ast.AST) -> Iterator[str]:
    """Names whose objects, or parts of them, the value of an expression may be or hold."""
    match node:
        case ast.Name(id=name):
            yield name
        case (
            ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Starred(value=inner) | ast.Await(value=inner)
        ):
            yield from _shared(inner)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts) | ast.BoolOp(values=parts):
            for part in parts:
                yield from _shared(part)
        case ast.Dict(values=parts):
            for part in parts:
                yield from _shared(part)
        case ast.IfExp(body=body, orelse=orelse):
            yield from _shared(body)
            yield from _shared(orelse)
        case ast.NamedExpr(value=inner):
            yield from _shared(inner)
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            yield from set(_loaded(node)) - _targets(node)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords) if name not in _FRESH:
            yield name
            for argument in (*arguments, *(each.value for each in keywords)):
                yield from _shared(argument)
        case ast.Call(func=ast.Attribute(value=inner, attr=name), args=arguments) if name in _SHARING:
            yield from _shared(inner)
            for argument in arguments:
                yield from _shared(argument)


def _targets(node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> set[str]:
    """Names that a comprehension binds for itself, those of inner ones included."""
    generators = (inner for inner in ast.walk(node) if isinstance(inner, ast.comprehension))
    return {name for each in generators for name in _stored(each.target)}


def _closure(node: ast.AST) -> Closure:
    """What the value of an expression may do later, by what stands in the expression itself."""
    found = NOTHING
    for each in ast.walk(node):
        if isinstance(each, ast.Lambda):
            found |= _body(each)
        elif isinstance(each, ast.GeneratorExp):
            found |= Closure(reads=frozenset(_loaded(each)) - _targets(each), once=True)
        elif isinstance(each, ast.Call):
            dotted = _dotted(each.func)
            once = dotted[-1] in _ONCE or "random" in dotted or dotted[-1] in ("default_rng", "RandomState", "Random")
            found |= Closure(once=once)
    return found


def _dotted(node: ast.AST) -> list[str]:
    """The parts of `a.b.c`; of anything else the attributes that it ends with, after an empty part."""
    match node:
        case ast.Name(id=name):
            return [name]
        case ast.Attribute(value=inner, attr=name):
            return [*_dotted(inner), name]
    return [""]


def _root(node: ast.AST) -> str | None:
    """The name that an object is reached from."""
    while True:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Call(func=inner):
                node = inner
            case _:
                return None
