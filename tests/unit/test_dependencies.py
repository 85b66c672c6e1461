"""What a source reads, sets and changes."""

from __future__ import annotations

import pytest

from langchain_jupyter.analysis.dependencies import names_of
from langchain_jupyter.analysis.names import EVERYTHING, RANDOM


@pytest.mark.parametrize(
    ("source", "reads", "sets", "changes"),
    [
        ("a = b", "b", "a", ""),
        ("a = 1\nprint(a)", "print", "a", ""),
        ("a += 1", "a", "", "a"),
        ("a[0] = b", "a b", "", "a"),
        ("a.b.c = 1", "a", "", "a"),
        ("a.append(b)", "a b", "", "a"),
        ("a.head()", "a", "", ""),
        ("del a", "a", "", "a"),
        ("if a: b = 1", "a", "", "b"),
        ("if a: b = 1\nelse: b = 2", "a", "b", ""),
        ("for i in a: b = i", "a", "", "b i"),
        ("try: import a\nexcept ImportError: a = None", "ImportError", "", "a"),
        ("with a as b: c = b", "a", "b c", ""),
        ("[x for x in a if b]", "a b", "", ""),
        ("def f(x=a): return x + b", "a", "f", ""),
        ("def f(x): return x + b\nf(1)", "b", "f", ""),
        ("def f():\n    global a\n    a = b\nf()", "a b", "f", "a"),
        ("class C(B):\n    x = a\n    y = x", "B a", "C", ""),
        ("import a.b\nfrom c import d as e", "", "a e", ""),
        ("(a := 1) + a", "", "a", ""),
        ("await a()", "a", "", ""),
        ("a: int = b", "b int", "a", ""),
        ("df.dropna(inplace=True)", "df", "", "df"),
        ("b = a\nb.append(1)", "a", "b", "a"),
        ("match a:\n    case [b, *c]: pass", "a", "", "b c"),
    ],
)
def test_names_are_read_set_and_changed(source: str, reads: str, sets: str, changes: str) -> None:
    names = names_of(source)

    assert (names.reads, names.sets, names.changes) == (set(reads.split()), set(sets.split()), set(changes.split()))


@pytest.mark.parametrize(
    ("source", "reads", "sets"),
    [
        ("%time a = f(b)", "b f", "a"),
        ("%timeit -n 10 f(a)", "a f", ""),
        ("%%time\na = b", "b", "a"),
        ("%%capture out\na = b", "b", "a out"),
        ("%matplotlib inline\na = b", "b", "a"),
        ("!ls {folder}", "folder", ""),
        ("files = !ls $folder", "folder", "files"),
        ("%pip install pandas", "", ""),
        ("a?", "a", ""),
        ("%%bash\nls $x", "", ""),
        ("%%html\n<b>a</b>", "", ""),
        ("%%sql\nselect a from b", "a b from select", ""),
    ],
)
def test_magics_are_read_as_ipython_runs_them(source: str, reads: str, sets: str) -> None:
    names = names_of(source)

    assert names.reads - {"from"} == set(reads.split()) - {"from"}
    assert names.sets == set(sets.split())


@pytest.mark.parametrize(
    "source", ["exec(a)", "from a import *", "%run b.py", "globals()['a'] = 1", "a b c", "%%cython\nx"]
)
def test_what_cannot_be_foreseen_may_change_everything(source: str) -> None:
    assert EVERYTHING in names_of(source).changes


def test_the_history_of_results_depends_on_everything() -> None:
    assert EVERYTHING in names_of("_ + 1").reads
    assert EVERYTHING in names_of("Out[3]").reads


@pytest.mark.parametrize(
    "source", ["import numpy as np\nnp.random.rand()", "from random import randint\nrandint(0, 1)"]
)
def test_draws_depend_on_each_other(source: str) -> None:
    assert RANDOM in names_of(source).changes


def test_comments_and_layout_are_not_code_but_a_last_semicolon_is() -> None:
    assert names_of("a = (1)  # one").code == names_of("a = 1").code
    assert names_of("a;").code != names_of("a").code
    assert names_of("%%time\na").code != names_of("a").code


@pytest.mark.parametrize("source", ["def f(:", "\0", "(" * 500, "x = 1\n" * 60_000, "1" * 5_000])
def test_what_is_no_python_or_too_much_is_taken_without_complaint(source: str) -> None:
    names_of(source)
