"""The main job end to end: a toolkit, a real kernel, a real file."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from langchain_core.messages import ToolMessage

from langchain_jupyter import JupyterToolkit
from tests.serving import waiting


class Bench:
    """A toolkit and short ways to call its tools."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.toolkit = JupyterToolkit(path, **options)
        self.tools = {tool.name: tool for tool in self.toolkit.get_tools()}
        self._calls = 0

    def __call__(self, name: str, call_id: str = "", **arguments: Any) -> ToolMessage:
        self._calls += 1
        call = {"name": name, "args": arguments, "id": call_id or f"call_{self._calls}", "type": "tool_call"}
        message: ToolMessage = self.tools[name].invoke(call)
        return message

    def run(self, source: str, **arguments: Any) -> ToolMessage:
        return self("append_execute_code_cell", source=source, **arguments)


def line_one(message: ToolMessage) -> str:
    return message.text.partition("\n")[0]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("work") / "a.ipynb")
    yield bench
    bench.toolkit.close()


def test_a_cell_that_raises_is_a_result(bench: Bench) -> None:
    message = bench.run("1/0")

    assert message.status == "success"
    assert message.artifact["status"] == "error"
    assert line_one(message).endswith("ZeroDivisionError: division by zero")
    assert " error " in line_one(message)


def test_after_a_restart_frames_and_missing_names_are_told_by_the_right_cells(bench: Bench) -> None:
    setting = bench.run("nowhere_else = 1")
    bench("restart_kernel")
    failed = bench.run("1 + nowhere_else")  # again [1], as a cell of the old kernel
    scratch = bench("run_code", code="1/0")

    ours, theirs = (line_one(message).partition(" ")[0] for message in (failed, setting))
    assert f"cell {ours}, line 1" in failed.text
    assert f"nowhere_else is set in {theirs}, which has not run since the kernel started." in failed.text
    assert "\nscratch, line 1" in scratch.text
    assert "[" not in line_one(scratch)


def test_input_fails_at_once_and_the_next_cell_works(bench: Bench) -> None:
    started = time.monotonic()
    asked = bench.run("input('name? ')")
    seconds = time.monotonic() - started

    assert asked.artifact["status"] == "error"
    assert seconds < 30  # a busy machine has its own time
    assert bench.run("6 * 7").artifact["status"] == "ok"


@pytest.mark.parametrize("death", ["os._exit(1)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_kernel_that_dies_is_told_and_replaced(bench: Bench, death: str) -> None:
    started = time.monotonic()
    died = bench.run(f"import os, signal; {death}")
    seconds = time.monotonic() - started
    following = bench.run("6 * 7")

    assert died.artifact["status"] == "died"
    assert seconds < 30  # a busy machine has its own time
    assert "all variables are gone" in line_one(following)
    assert following.artifact["status"] == "ok"


def test_long_work_goes_on_after_the_soft_wait(bench: Bench, tmp_path: Path) -> None:
    running = bench.run(f"{waiting(tmp_path / 'gate')}\n'done'", timeout=1)
    refused = bench.run("1")
    (tmp_path / "gate").touch()
    ended = bench("wait_for_execution", execution=running.artifact["execution"])

    assert running.artifact["status"] == "running"
    assert refused.status == "error"
    assert refused.artifact["code"] == "busy"
    assert ended.artifact["status"] == "ok"
    assert "done" in ended.text
    assert (running.text + ended.text).count("\nbegun") == 1  # what was told is not told again


def test_an_interrupted_cell_leaves_a_kernel_that_works(bench: Bench) -> None:
    running = bench.run("import time\ntime.sleep(60)", timeout=0.5)
    stopped = bench("interrupt_kernel")

    assert running.artifact["status"] == "running"
    assert stopped.artifact["status"] == "interrupted"
    assert bench.run("6 * 7").artifact["status"] == "ok"


def test_many_lines_are_cut_and_can_be_searched(bench: Bench) -> None:
    message = bench.run("for i in range(20_000): print('line', i)")
    reference = message.artifact["outputs"][0]["ref"]
    found = bench("read_output", output=reference, find="/^line 12345$/")

    assert sum(len(block["text"]) for block in message.content) <= 12_000
    assert "12345: line 12345" in found.text


def test_a_progress_bar_is_one_line(bench: Bench) -> None:
    code = "import sys\nfor i in range(200):\n    sys.stderr.write(f'\\r{i + 1}/200'); sys.stderr.flush()"

    message = bench.run(code)

    assert message.text.split("\n")[1:] == ["<output stderr>", "200/200", "</output>"]


def test_a_big_figure_is_made_small_and_stays_out_of_the_artifact(bench: Bench) -> None:
    code = (
        "import io, os\nfrom IPython.display import Image\nfrom PIL import Image as P\n"
        "f = io.BytesIO(); P.frombytes('RGB', (900, 800), os.urandom(900 * 800 * 3)).save(f, 'PNG')\n"
        "Image(f.getvalue())"
    )

    message = bench.run(code)
    images = [block for block in message.content if block["type"] == "image"]

    assert len(images) == 1
    assert len(base64.b64decode(images[0]["base64"])) <= 100_000
    assert len(json.dumps(message.artifact)) < 2_000


def test_the_same_tool_call_runs_once(bench: Bench) -> None:
    bench.run("count = 0")

    first = bench.run("count += 1\ncount", call_id="once")
    second = bench.run("count += 1\ncount", call_id="once")

    assert first.content == second.content
    assert "1" in bench("run_code", code="count").text.split("\n")


def test_a_cell_added_above_does_not_move_a_handle(bench: Bench) -> None:
    cell = bench("append_markdown_cell", source="mine").artifact["cell"]
    bench("get_notebook_info")
    session = bench.toolkit.bridge.run(bench.toolkit.session)
    document = session.document
    position = document.index(cell)

    async def somebody_else() -> None:
        document.insert(document.new_cell("markdown", "theirs"), place=(None, document.ids[0]))

    bench.toolkit.bridge.run(somebody_else)
    refused = bench("overwrite_cell_source", cell=str(position), source="wrong")
    edited = bench("overwrite_cell_source", cell=cell[:4], source="mine, mended")

    assert refused.artifact["code"] == "order_changed"
    assert edited.artifact["cell"] == cell
    assert document.source(cell) == "mine, mended"


def test_a_cell_that_somebody_else_changed_is_not_overwritten(bench: Bench) -> None:
    cell = bench("append_markdown_cell", source="mine").artifact["cell"]
    session = bench.toolkit.bridge.run(bench.toolkit.session)

    async def somebody_else() -> None:
        session.document.set_source(cell, "theirs")

    bench.toolkit.bridge.run(somebody_else)
    refused = bench("overwrite_cell_source", cell=cell, source="mine again")

    assert refused.artifact["code"] == "cell_changed"
    assert "theirs" in refused.text
    assert session.document.source(cell) == "theirs"


def test_parallel_calls_of_one_turn_are_run_one_after_the_other(bench: Bench) -> None:
    tool = bench.tools["append_execute_code_cell"]

    async def turn() -> list[Any]:
        return await asyncio.gather(*(tool.ainvoke({"source": f"{n} * 10"}) for n in range(1, 5)))

    results = asyncio.run(turn())

    assert [result[0]["text"].split("\n")[2] for result in results] == ["10", "20", "30", "40"]


def test_two_toolkits_do_not_mix(tmp_path: Path) -> None:
    benches = [Bench(tmp_path / f"{name}.ipynb") for name in "ab"]

    def work(bench: Bench, name: str) -> None:
        for n in range(25):
            bench.run(f"'{name}{n}'")

    threads = [threading.Thread(target=work, args=pair) for pair in zip(benches, "ab", strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for bench in benches:
        bench.toolkit.close()

    for name in "ab":
        notebook = nbformat.read(tmp_path / f"{name}.ipynb", as_version=4)
        nbformat.validate(notebook)
        assert [cell.source for cell in notebook.cells] == [f"'{name}{n}'" for n in range(25)]
        assert [cell.outputs[0].data["text/plain"] for cell in notebook.cells] == [f"'{name}{n}'" for n in range(25)]


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    code = (
        "import os\nfrom langchain_jupyter import JupyterToolkit\n"
        "tool = {t.name: t for t in JupyterToolkit('a.ipynb').get_tools()}['append_markdown_cell']\n"
        "for n in range(20): tool.invoke({'source': f'note {n}'})\n"
        "os.kill(os.getpid(), 9)"
    )

    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False, timeout=60)
    bench = Bench(tmp_path / "a.ipynb", tools="read_only")
    text = bench("read_all_cells", outputs=False).text
    bench.toolkit.close()

    assert [text.count(f"note {n}\n") for n in range(20)] == [1] * 20
    assert len(nbformat.read(tmp_path / "a.ipynb", as_version=4).cells) == 20
    assert sorted(os.listdir(tmp_path)) == ["a.ipynb"]


def test_no_kernel_outlives_an_interpreter_that_forgot_to_close(tmp_path: Path) -> None:
    code = (
        "from langchain_jupyter import JupyterToolkit\n"
        "tool = {t.name: t for t in JupyterToolkit('a.ipynb').get_tools()}['run_code']\n"
        "print(tool.invoke({'code': 'import os; os.getpid()'})[0]['text'].split()[-2])"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert not Path(f"/proc/{done.stdout.strip()}").exists()


def test_a_toolkit_that_is_closed_while_its_kernel_starts_prints_nothing(tmp_path: Path) -> None:
    code = (
        "from langchain_jupyter import JupyterToolkit\n"
        "with JupyterToolkit('a.ipynb') as toolkit:\n"
        "    {t.name: t for t in toolkit.get_tools()}['get_notebook_info'].invoke({})"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_text_that_looks_like_a_fence_can_be_edited_as_it_was_shown(bench: Bench) -> None:
    cell = bench("append_markdown_cell", source="a <output> b").artifact["cell"]
    shown = bench("read_cell", cell=cell).text.split("\n")[2]

    edited = bench("edit_cell_source", cell=cell, old=shown, new=shown.replace("b", "c"))

    assert edited.status == "success"
    assert bench.toolkit.bridge.run(bench.toolkit.session).document.source(cell) == "a <output> c"
