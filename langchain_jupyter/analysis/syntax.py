"""What an expression or a statement names, holds and changes, by its syntax alone. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

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
ONCE = frozenset(
    {"open", "iter", "map", "filter", "zip", "reversed", "enumerate", "count", "cycle", "reader", "scandir"}
)


def is_shell(node: ast.expr) -> bool:
    """Whether an expression is `get_ipython()`."""
    return isinstance(node, ast.Call) and parts_of(node.func) == ["get_ipython"]


def mutates(node: ast.Call) -> bool:
    """Whether a call says that it changes its object."""
    if not isinstance(node.func, ast.Attribute):
        return False
    inplace = any(
        each.arg in ("inplace", "out") and not (isinstance(each.value, ast.Constant) and not each.value.value)
        for each in node.keywords
    )
    name = node.func.attr
    return inplace or name in _MUTATORS or name.startswith(("set_", "add_")) or name.endswith("_")


def prints(node: ast.Call) -> bool:
    """Whether a method is called to look at its object."""
    return isinstance(node.func, ast.Attribute) and node.func.attr in (
        "head", "tail", "describe", "info", "plot", "hist", "show", "print", "display", "items", "keys", "values",
    )  # fmt: skip


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """A node and what is in it, without the bodies of inner functions and classes."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return
    for child in ast.iter_child_nodes(node):
        yield from own_nodes(child)


def stored_names(node: ast.AST) -> Iterator[str]:
    """Names that a statement or target binds in its own scope."""
    for each in own_nodes(node):
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
                yield from bound_names(pattern)


def bound_names(pattern: ast.pattern) -> list[str]:
    """Names that a pattern of `match` binds."""
    found = []
    for node in ast.walk(pattern):
        if isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            found.append(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found.append(node.rest)
    return found


def loaded_names(node: ast.AST) -> Iterator[str]:
    """All names that an expression mentions."""
    return (each.id for each in ast.walk(node) if isinstance(each, ast.Name))


def shared_names(node: ast.AST) -> Iterator[str]:
    """Names whose objects, or parts of them, the value of an expression may be or hold."""
    match node:
        case ast.Name(id=name):
            yield name
        case (
            ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Starred(value=inner) | ast.Await(value=inner)
        ):
            yield from shared_names(inner)
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts) | ast.BoolOp(values=parts):
            for part in parts:
                yield from shared_names(part)
        case ast.Dict(values=parts):
            for part in parts:
                yield from shared_names(part)
        case ast.IfExp(body=body, orelse=orelse):
            yield from shared_names(body)
            yield from shared_names(orelse)
        case ast.NamedExpr(value=inner):
            yield from shared_names(inner)
        case ast.BinOp(op=ast.Add() | ast.BitOr()):  # what lists and dicts hold is in both, when they are joined
            joined = list(_joined(node))
            if all(isinstance(part, ast.Name | ast.List | ast.Dict) for part in joined):  # others make new numbers
                for part in joined:
                    yield from shared_names(part)
        case ast.BinOp(left=ast.List() as listed, op=ast.Mult()) | ast.BinOp(op=ast.Mult(), right=ast.List() as listed):
            yield from shared_names(listed)
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            yield from set(loaded_names(node)) - own_targets(node)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords) if name not in _FRESH:
            yield name
            for argument in (*arguments, *(each.value for each in keywords)):
                yield from shared_names(argument)
        case ast.Call(func=ast.Attribute(value=inner, attr=name), args=arguments) if name in _SHARING:
            yield from shared_names(inner)
            for argument in arguments:
                yield from shared_names(argument)


def _joined(node: ast.expr) -> Iterator[ast.expr]:
    """The parts of a sum, or of a union."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.BitOr):
        yield from _joined(node.left)
        yield from _joined(node.right)
    else:
        yield node


def own_targets(node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> set[str]:
    """Names that a comprehension binds for itself, those of inner ones included."""
    generators = (inner for inner in ast.walk(node) if isinstance(inner, ast.comprehension))
    return {name for each in generators for name in stored_names(each.target)}


def parts_of(node: ast.AST) -> list[str]:
    """The parts of `a.b.c`; of anything else the attributes that it ends with, after an empty part."""
    match node:
        case ast.Name(id=name):
            return [name]
        case ast.Attribute(value=inner, attr=name):
            return [*parts_of(inner), name]
    return [""]


def root_of(node: ast.AST) -> str | None:
    """The name that an object is reached from."""
    while True:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Call(func=inner):
                node = inner
            case _:
                return None
