"""Variables looked at in a real kernel: bounded, and without a trace."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_main_job import Bench
from tests.serving import until

EVIL = '''
import time

class Evil:
    """Everything about it costs or does something."""

    def __init__(self):
        object.__setattr__(self, "weight", 3)
    def _trap(self, *args, **kwargs):
        print("touched")
        touched.append(1)
        time.sleep(60)
        raise RuntimeError("touched")
    __repr__ = __str__ = __len__ = __iter__ = __getattr__ = __getattribute__ = __hash__ = _trap
    __eq__ = __bool__ = __format__ = __dir__ = __getitem__ = __class_getitem__ = _trap
    shape = dtype = columns = property(_trap)

class EvilList(list):
    __iter__ = __len__ = __repr__ = __getitem__ = Evil._trap

class EvilMeta(type):
    def __repr__(cls):
        time.sleep(60)

class OfEvilMeta(metaclass=EvilMeta):
    pass

touched = []
evil = Evil()
evils = [Evil(), EvilList([1, 2])]
by_name = {"evil": evil, "list": EvilList([1])}
odd = OfEvilMeta()
'''

TABLES = """
import numpy as np, pandas as pd
big = pd.DataFrame({"id": np.arange(10_000_000), "value": np.linspace(0.0, 1.0, 10_000_000)})
big["kind"] = pd.Categorical.from_codes(np.arange(10_000_000) % 3, ["a", "b", "c"])
days = pd.date_range("2026-01-01", periods=3)
small = pd.DataFrame({"name": ["Ada", "Bob", None], "day": days, "ok": [True, False, True]})
wide = pd.DataFrame(np.zeros((3, 2_000)))
matrix = np.arange(12.0).reshape(3, 4)
matrix[0, 0] = np.nan
huge_number = 10**100_000
long_text = "x" * 50_000_000
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("work") / "a.ipynb")
    bench.run(TABLES, timeout=120)
    bench.run(EVIL)
    yield bench
    bench.toolkit.close()


def seconds(started: float) -> float:
    return time.monotonic() - started


def test_a_table_of_ten_million_rows_is_told_in_a_moment(bench: Bench) -> None:
    started = time.monotonic()
    brief = bench("inspect_variables")
    details = bench("inspect_variables", names=["big"])
    took = seconds(started)

    assert "big: pandas.DataFrame 10000000x3 · id, value, kind" in brief.text
    assert "one row in 50" in details.text
    assert "id int64, 0 null, 0 to 9999950" in details.text
    assert "kind category, 0 null, 3 categories" in details.text
    assert took < 30  # a busy machine has its own time; whatever is called sleeps for a minute
    assert len(brief.text) <= 12_000
    assert len(details.text) <= 12_000


def test_columns_missing_values_ranges_and_first_rows_are_told(bench: Bench) -> None:
    text = bench("inspect_variables", names=["small", "matrix"]).text

    assert "name str, 1 null" in text or "name object, 1 null" in text
    assert "0 null, 2026-01-01 00:00:00 to 2026-01-03 00:00:00" in text
    assert "ok bool, 0 null, 2 true" in text
    assert "Ada  2026-01-01 00:00:00   True" in text
    assert "matrix: numpy.ndarray 3x4 float64 · 1 to 11, 1 NaN" in text


def test_what_is_long_is_cut(bench: Bench) -> None:
    text = bench("inspect_variables", names=["wide", "long_text", "huge_number"]).text

    assert "and 1940 columns more" in text
    assert "huge_number: int · (332193 bits)" in text
    assert len(text) <= 12_000


def test_nothing_of_the_users_own_is_called(bench: Bench) -> None:
    names = ["evil", "evils", "by_name", "odd", "Evil"]
    started = time.monotonic()
    brief = bench("inspect_variables")
    details = bench("inspect_variables", names=names)
    took = seconds(started)

    assert "evil: Evil" in brief.text
    assert "evils: list 2 · [<Evil>, <EvilList>]" in brief.text
    assert ".weight: int 3" in details.text
    assert "touched" not in details.text.replace("touched: list", "")
    assert "[]" in bench("run_code", code="print(touched)").text
    assert took < 30  # a busy machine has its own time; whatever is called sleeps for a minute


def test_it_leaves_no_trace(bench: Bench) -> None:
    look = "import sys; print(len(In), _i, sorted(n for n in globals() if n[0] != '_'), len(sys.modules), touched)"
    bench("run_code", code=look)
    before = bench("run_code", code=look).text.partition("\n")[2]
    cells = bench("get_notebook_info").artifact["cells"]

    bench("inspect_variables")
    bench("inspect_variables", names=["big", "evil", "nothing of that name"])

    assert bench("run_code", code=look).text.partition("\n")[2] == before
    assert bench("get_notebook_info").artifact["cells"] == cells


def test_a_name_that_is_not_there_is_told_with_those_that_are_near(bench: Bench) -> None:
    assert "smal is not defined. Near: small." in bench("inspect_variables", names=["smal"]).text


def test_it_works_while_a_cell_runs(bench: Bench) -> None:
    running = bench.run("import time\nprogress = 7\nprint('begun', flush=True)\ntime.sleep(600)", timeout=0.5)
    until(lambda: "\nbegun" in bench("read_all_cells", find="progress = 7").text)

    started = time.monotonic()
    found = bench("inspect_variables", names=["progress"])
    took = seconds(started)
    stopped = bench("interrupt_kernel")

    assert running.artifact["status"] == "running"
    assert "progress: int · 7" in found.text
    assert took < 30  # a busy machine has its own time; whatever is called sleeps for a minute
    assert stopped.artifact["status"] == "interrupted"


def test_a_name_cannot_be_code(bench: Bench) -> None:
    found = bench("inspect_variables", names=["touched.append(1)", "'], __import__('os')._exit(1), ['"])

    assert found.text.count("is not defined") == 2
    assert "[]" in bench("run_code", code="print(touched)").text


def test_other_languages_are_refused_with_what_to_do(tmp_path: Path) -> None:
    from langchain_jupyter.errors import InspectionUnavailable
    from langchain_jupyter.models import KernelInfo
    from langchain_jupyter.sessions.inspection import inspect
    from langchain_jupyter.testing import ScriptedKernel

    class Julia(ScriptedKernel):
        info = KernelInfo("julia-1.12", "julia", "idle")  # type: ignore[assignment]

    with pytest.raises(InspectionUnavailable, match=r"this one runs julia\. Look at them with run_code"):
        __import__("asyncio").run(inspect(Julia(), [], beside=False))
