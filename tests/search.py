"""How far Hypothesis looks: the same few examples in each run of the tests, and others in a search.

`pytest --hypothesis-profile search` looks for what nobody has found yet, at random: EXAMPLES of them (1,500) for each
test, or as many as fit into MINUTES (5), whichever comes first; then a test passes. What is found goes into
`tests/found.py`, or becomes a test of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, settings

_SECONDS = 60.0 * float(os.environ.get("MINUTES", "5"))
PATIENCE = 2 * _SECONDS + 900
"""Seconds after which a test hangs: what was found is made smaller for some minutes."""


def register() -> None:
    """The two profiles; the tests begin with theirs.

    In `tests`, the same examples each time, however long one takes: a push does not fail for an example that nobody
    wrote, nor for a busy machine.
    """
    count = int(os.environ.get("EXAMPLES", "1500"))
    settings.register_profile(
        "search", deadline=None, max_examples=count, suppress_health_check=[HealthCheck.too_slow], print_blob=True
    )
    settings.register_profile(
        "tests", settings.get_profile("search"), max_examples=100, derandomize=True, database=None, print_blob=False
    )
    settings.load_profile("tests")


def searching() -> bool:
    """Whether this run is a search."""
    return not settings.default.derandomize


def examples(count: int) -> int:
    """So many, or as many as a search looks at: for a test whose examples take longer than most."""
    return settings.default.max_examples if searching() else count


@contextmanager
def bounded(test: Any) -> Iterator[None]:
    """A search in a test of Hypothesis ends with its time: later examples are passed over, if nothing was found."""
    inner: Callable[..., None] = test.hypothesis.inner_test
    end, found = time.monotonic() + _SECONDS, False

    def until_then(*args: Any, **given: Any) -> None:
        nonlocal found
        if time.monotonic() > end and not found:
            return
        try:
            inner(*args, **given)
        except BaseException:
            found = True
            raise

    test.hypothesis.inner_test = until_then
    try:
        yield
    finally:
        test.hypothesis.inner_test = inner
