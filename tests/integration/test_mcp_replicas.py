"""Several servers before one Jupyter server: any of them can answer any call."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest

from langchain_jupyter.servers.lab import LabServer
from tests.serving import Served, balancer, served, text_of, until, waiting

SHARED, ALONE = "replicas/shared.ipynb", "replicas/alone.ipynb"


@contextmanager
def replica(lab: LabServer, *options: str, notebook: str = SHARED) -> Iterator[Served]:
    """A stateless server on a notebook in the lab, as the guide's variables and our Kubernetes manifests start it."""
    token = lab.settings.token.get_secret_value()
    server = {"ROOM_URL": lab.settings.url, "RUNTIME_URL": lab.settings.url, "JUPYTER_TOKEN": token}
    with served("", "--stateless", *options, ROOM_ID=notebook, **server) as process:
        yield process


@pytest.fixture(scope="module", autouse=True)
def notebooks(lab: LabServer) -> None:
    """The notebooks, on the server."""
    (lab.root / "replicas").mkdir()
    for name in (SHARED, ALONE):
        nbformat.write(nbformat.v4.new_notebook(), lab.root / name)


@pytest.fixture(scope="module")
def pair(notebooks: None, lab: LabServer) -> Iterator[tuple[Served, Served]]:
    with replica(lab) as first, replica(lab) as second:
        yield first, second


class Slow:
    """A cell that runs until it may end, and leaves a mark each time that it runs."""

    def __init__(self, folder: Path) -> None:
        self._gate, self._mark = folder / "gate", folder / "ran.txt"
        self.source = f"open({str(self._mark)!r}, 'a').write('x')\n{waiting(self._gate)}"

    def end(self) -> None:
        self._gate.touch()

    @property
    def runs(self) -> int:
        return len(self._mark.read_text())

    def has_begun(self, server: Served) -> bool:
        return "\nbegun" in call(server, "read_all_cells", find=str(self._gate))


def call(server: Served, tool: str, *, key: str = "", **arguments: Any) -> str:
    return text_of(server.call(tool, headers={"Idempotency-Key": key} if key else None, **arguments))


def reference(text: str) -> str:
    found = re.search(r"execution (e\d+)", text)
    assert found is not None, text
    return found[1]


async def test_calls_that_alternate_between_replicas_see_one_notebook_and_one_kernel(
    pair: tuple[Served, Served],
) -> None:
    first, second = pair
    before = [len(each.log) for each in pair]
    told = []
    async with balancer(first, second) as between:
        for step in range(6):
            source = "total = 1" if step == 0 else "total += 1\ntotal"
            message = {"name": "append_execute_code_cell", "arguments": {"source": source}}
            request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": message}
            async with httpx.AsyncClient(base_url=between.url, headers=first.headers, timeout=60) as http:
                told.append(text_of((await http.post("/mcp", json=request)).json()["result"]))
    shown = await asyncio.to_thread(call, second, "read_all_cells")

    def answered() -> list[int]:
        """By each; the last line of a log may still be on its way."""
        lines = (each.log[start:] for each, start in zip(pair, before, strict=True))
        return [sum("append_execute_code_cell" in line for line in log) for log in lines]

    until(lambda: answered() == [3, 3])
    counts = [int(re.search(r"\[(\d+)\]", text)[1]) for text in told]  # type: ignore[index]
    assert counts == list(range(counts[0], counts[0] + 6))
    assert "\n6\n" in told[-1]
    assert shown.count("total += 1") == 5


def test_the_other_replica_tells_of_an_execution_and_does_not_run_it_again(
    pair: tuple[Served, Served], tmp_path: Path
) -> None:
    first, second = pair
    slow = Slow(tmp_path)

    left = call(first, "append_execute_code_cell", key="k1", source=slow.source, timeout=1)
    again = call(second, "append_execute_code_cell", key="k1", source=slow.source, timeout=0.1)
    slow.end()
    ended = call(second, "wait_for_execution", execution=reference(left), timeout=60)

    assert reference(left) == reference(again)
    assert " ok " in ended.partition("\n")[0]
    assert "finished" in ended
    assert slow.runs == 1


def test_when_a_replica_is_killed_in_mid_cell_the_other_tells_what_is_known(
    lab: LabServer, pair: tuple[Served, Served], tmp_path: Path
) -> None:
    _, second = pair
    slow = Slow(tmp_path)
    with replica(lab) as victim:
        left = call(victim, "append_execute_code_cell", key="k2", source=slow.source, timeout=1)
        until(lambda: slow.has_begun(second))
        victim.process.kill()
        victim.process.wait()

        running = call(second, "wait_for_execution", execution=reference(left), timeout=0.1)
        slow.end()
        ended = call(second, "wait_for_execution", execution=reference(left), timeout=60)
        again = call(second, "append_execute_code_cell", key="k2", source=slow.source)

    assert " running " in running.partition("\n")[0]
    assert "begun" in running
    assert " lost " in ended.partition("\n")[0]  # the reply went to the one that was killed
    assert "nothing was run again" in again
    assert "finished" in again
    assert slow.runs == 1


def test_a_replica_that_is_stopped_leaves_its_cell_running_on_the_server(lab: LabServer, tmp_path: Path) -> None:
    slow = Slow(tmp_path)
    with (
        replica(lab, "--grace", "7", notebook=ALONE) as first,
        replica(lab, notebook=ALONE) as next_one,
    ):
        left = call(first, "append_execute_code_cell", source=f"{slow.source}\nkept = 'kept'", timeout=1)
        until(lambda: slow.has_begun(first))
        assert first.stop() == 0
        slow.end()
        ended = call(next_one, "wait_for_execution", execution=reference(left), timeout=60)
        kept = call(next_one, "run_code", code="kept")

    assert " ok " in ended.partition("\n")[0]
    assert "finished" in ended
    assert "'kept'" in kept
