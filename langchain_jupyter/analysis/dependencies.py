"""What a code cell of Python reads, sets and changes, from its source alone. Pure.

It errs on the side of more dependencies, but takes libraries at their usual word: what a module's function returns is
new, and a method changes its object if its result is thrown away or its name says so (`append`, `fit`, `inplace=True`).
Files, the network, the clock and the environment are outside of it.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial

from langchain_jupyter.analysis.magics import INERT_MAGICS, LONGEST, PYTHON_MAGICS, WILD_MAGICS, WORD, without_magics
from langchain_jupyter.analysis.names import EVERYTHING, NOTHING, RANDOM, Closure, Names
from langchain_jupyter.analysis.syntax import (
    ONCE,
    bound_names,
    is_shell,
    loaded_names,
    mutates,
    own_nodes,
    own_targets,
    parts_of,
    prints,
    root_of,
    shared_names,
    stored_names,
)

_WILD = frozenset({"exec", "eval", "globals", "locals", "vars", "setattr", "delattr", "__import__", "get_ipython"})
_HISTORY = re.compile(r"_{1,3}|_i{1,3}|_\d+|_i\d+|In|Out|_[io]h|_dh")


def names_of(source: str) -> Names:
    """What a cell does to the global names; everything to all of them if it cannot be read. The result is shared."""
    if len(source) > LONGEST:
        return Names(_short(source), reads={EVERYTHING}, changes={EVERYTHING})
    return _names_of(source)


@lru_cache(maxsize=32_768)  # more than a long notebook has cells: all are looked at in turn
def _names_of(source: str) -> Names:
    plain, magics = without_magics(source)
    try:
        tree = ast.parse(plain)
        quiet = ";" if plain.rstrip().endswith(";") else ""
        reader = _Reader(Names(_short(f"{ast.dump(tree)}{quiet}\0{magics}")))
        reader.run(tree.body)
        found = reader.names
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Names(_short(source), reads={EVERYTHING}, changes={EVERYTHING})
    return found


def _short(code: str) -> str:
    """What tells one code from another, at a tenth of a kilobyte: very many are remembered."""
    return hashlib.blake2b(code.encode("utf-8", "replace"), digest_size=16).hexdigest()


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
            case ast.Expr(value=value):
                self._load(value)
                if not last:
                    self._thrown_away(value)
            case ast.Assign(targets=targets, value=value):
                self._assign(targets, value)
            case ast.AnnAssign():
                self._load(node.annotation)
                if node.value is not None:
                    self._assign([node.target], node.value)
            case ast.AugAssign(target=target, value=value):
                self._augment(target, value)
            case ast.Delete(targets=targets):
                for gone in targets:
                    self._mutate(gone)
                    self._target(gone)
            case ast.Import() | ast.ImportFrom():
                self._imports(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._define(node)
            case ast.ClassDef():
                self._class(node)
            case ast.Global(names=named) | ast.Nonlocal(names=named):
                self._locals -= set(named)
            case _:
                self._compound(node)

    def _compound(self, node: ast.stmt) -> None:
        """A statement with statements inside, or one that only evaluates something."""
        match node:
            case ast.If(test=test, body=body, orelse=orelse):
                self._load(test)
                self._branches(partial(self._all, body), partial(self._all, orelse))
            case ast.While(test=test, body=body, orelse=orelse):
                self._load(test)
                self._branches(partial(self._all, [*body, *orelse]), partial(self._all, ()))
                self._load(test)
            case ast.For() | ast.AsyncFor():
                self._for(node)
            case ast.With() | ast.AsyncWith():
                self._with(node)
            case ast.Try() | ast.TryStar():
                self._try(node)
            case ast.Match():
                self._match(node)
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self._load(child)

    def _all(self, body: Iterable[ast.stmt]) -> None:
        """Statements that do not end a cell."""
        for each in body:
            self._statement(each)

    def _branches(self, *paths: Callable[[], None]) -> None:
        """Of several paths one is taken: only what all of them set is certainly set."""
        before, ends = set(self.bound), []
        for read in paths:
            self.bound = set(before)
            read()
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
        self._all(node.body)
        unsure, self.bound = self.bound - before, before
        self._settle(unsure)
        self._all(node.orelse)

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self._load(item.context_expr)
            if item.optional_vars is not None:
                self._assign([item.optional_vars], item.context_expr, loaded=True)
        self._all(node.body)

    def _match(self, node: ast.Match) -> None:
        self._load(node.subject)
        for name in (name for case in node.cases for name in bound_names(case.pattern)):
            self.names.shares.setdefault(name, set()).update(set(shared_names(node.subject)) - {name})
        self._branches(*(partial(self._case, case) for case in node.cases), partial(self._all, ()))

    def _case(self, case: ast.match_case) -> None:
        for name in bound_names(case.pattern):
            self._bind(name)
        if case.guard is not None:
            self._load(case.guard)
        self._all(case.body)

    def _try(self, node: ast.Try | ast.TryStar) -> None:
        for handler in node.handlers:
            if handler.type is not None:
                self._load(handler.type)
        before = set(self.bound)
        self._all(node.body)  # a handler may run after any part of it
        self._settle(self.bound - before)
        self.bound = before
        self._branches(
            partial(self._all, [*node.body, *node.orelse]), *(partial(self._handler, each) for each in node.handlers)
        )
        self._all(node.finalbody)

    def _handler(self, handler: ast.ExceptHandler) -> None:
        if handler.name:
            self._bind(handler.name)
        self._all(handler.body)

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

    def _imports(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self._wild()
            elif isinstance(node, ast.Import):
                self._import(alias.asname or alias.name.partition(".")[0], alias.name)
            else:
                self._import(alias.asname or alias.name, node.module or "")

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
        shared, closure, drawn = set(shared_names(value)), _closure(value), set(loaded_names(value))
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
            self.names.draws.setdefault(target.id, set()).update(loaded_names(value))
        else:
            self._load_inside(target)
            self._mutate(target)

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if part is not None:
                self._load(part)
        self._keep(node.name, _body(node), [name for part in node.decorator_list for name in loaded_names(part)])

    def _class(self, node: ast.ClassDef) -> None:
        for part in (*node.decorator_list, *node.bases, *(each.value for each in node.keywords)):
            self._load(part)
        closure = NOTHING
        inner = {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        outer = self.bound, self._locals
        self._locals = self._locals | {name for each in node.body for name in stored_names(each)} | inner
        for each in node.body:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                closure |= _body(each)
            else:
                self._statement(each)
        self.bound, self._locals = outer
        self._keep(node.name, closure, [name for base in node.bases for name in loaded_names(base)])

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
        targets = {name for each in node.generators for name in stored_names(each.target)}
        for at, each in enumerate(node.generators):
            if at:
                self._locals = outer | targets
            self._load(each.iter)
            self._used_up(each.iter)
        self._locals = outer | targets
        parts: list[ast.expr] = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        for part in (*parts, *(test for each in node.generators for test in each.ifs)):
            self._load(part)
            if any(isinstance(inner, ast.Call) and mutates(inner) for inner in ast.walk(part)):
                for each in node.generators:  # its elements may be what is changed
                    self._mutate(each.iter)
        self._locals = outer

    def _call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and is_shell(node.func.value):
            self._magic(node.func.attr, node)
            return
        for child in ast.iter_child_nodes(node):
            self._load(child)
        arguments = [*node.args, *(each.value for each in node.keywords)]
        given = {name for argument in arguments for name in shared_names(argument)} - self._locals
        dotted = parts_of(node.func)
        if "random" in dotted or dotted[-1] in ("seed", "shuffle") or {"sample", "choice", "choices"} & set(dotted):
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
        root = root_of(func.value)
        if mutates(node):
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
        if name in WILD_MAGICS or (not name and verb not in ("system", "getoutput")):
            self._wild()
        elif name in PYTHON_MAGICS:
            self._python(re.sub(r"^(?:\s*-\w+(?:\s*\d+)?)+\s", " ", rest).strip())
        elif name.startswith("pinfo") or (name and name not in INERT_MAGICS):
            self._words(rest)
        else:
            self._words(" ".join(re.findall(r"[{$]\{?([^}\s]*)", rest)))

    def _python(self, source: str) -> None:
        try:
            self.run(ast.parse(source).body)
        except SyntaxError:
            self._words(source)

    def _words(self, text: str) -> None:
        for word in WORD.findall(text):
            self._name(word)

    # -- changing -----------------------------------------------------------------------------------------------

    def _thrown_away(self, node: ast.expr) -> None:
        """A method whose result nobody takes is called for what it does to its object, unless that is a module."""
        inner = node.value if isinstance(node, ast.Await) else node
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
            root = root_of(inner.func.value)
            if root not in (None, "get_ipython", *self.names.modules) and not prints(inner):
                self._mutate(inner.func.value, unless_module=True)

    def _used_up(self, node: ast.expr) -> None:
        if isinstance(node, ast.Name) and self.names.closures.get(node.id, Closure()).once:
            self._change(node.id)

    def _mutate(self, node: ast.expr, *, unless_module: bool = False) -> list[str]:
        found = [name for name in shared_names(node) if name not in self._locals]
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


def _body(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Closure:
    """What a function does when it is called."""
    arguments = node.args
    parameters = {
        each.arg
        for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
        if each is not None
    }
    body: list[ast.stmt] = [ast.Expr(node.body)] if isinstance(node, ast.Lambda) else node.body
    declared = {
        name for each in body for inner in own_nodes(each) if isinstance(inner, ast.Global) for name in inner.names
    }
    local = (parameters | {name for each in body for name in stored_names(each)}) - declared
    reader = _Reader(Names(""), top=False)
    reader._locals = set(local)
    reader.run(body)
    names = reader.names
    inner = NOTHING
    for name, closure in names.closures.items():
        if name in local:
            inner |= closure
    once = any(isinstance(each, ast.Yield | ast.YieldFrom) for part in body for each in own_nodes(part))
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
                if isinstance(node.value.func, ast.Attribute) or not hasattr(builtins, parts_of(node.value.func)[0]):
                    return True
            elif isinstance(node, ast.Call) and (mutates(node) or parts_of(node.func)[-1:] == ["next"]):
                return True
    return False


def _closure(node: ast.AST) -> Closure:
    """What the value of an expression may do later, by what stands in the expression itself."""
    found = NOTHING
    for each in ast.walk(node):
        if isinstance(each, ast.Lambda):
            found |= _body(each)
        elif isinstance(each, ast.GeneratorExp):
            found |= Closure(reads=frozenset(loaded_names(each)) - own_targets(each), once=True)
        elif isinstance(each, ast.Call):
            dotted = parts_of(each.func)
            once = dotted[-1] in ONCE or "random" in dotted or dotted[-1] in ("default_rng", "RandomState", "Random")
            found |= Closure(once=once)
    return found
