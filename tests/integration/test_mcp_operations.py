"""The HTTP server as operators meet it: limits, pages of browsers, logs, spans, the monitor, and its end."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest
from typer.testing import CliRunner

from langchain_jupyter.cli import app
from tests.serving import Served, ask, call, served, text_of, until, waiting

CLI = [sys.executable, "-m", "langchain_jupyter.cli"]
PAGE = "https://app.example"
SECRET = "in-the-environment-0123"

# `serve` as whoever watches it with OpenTelemetry starts it, with an exporter that writes spans to a file.
TRACED = """
    import os
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
    file = open(os.environ["SPANS"], "a", buffering=1)
    exporter = ConsoleSpanExporter(out=file, formatter=lambda span: span.to_json(indent=None) + "\\n")
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    from langchain_jupyter.cli import app
    app()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operations")


@pytest.fixture(scope="module")
def strict(folder: Path) -> Iterator[Served]:
    """A server that tells all that it does, lets little in, and has made its token itself."""
    command = [sys.executable, "-c", textwrap.dedent(TRACED), "serve", "--transport", "http", "--port", "0", "--debug"]
    command += ["--notebook", str(folder / "strict.ipynb"), "--rate-limit", "60", "--max-concurrent", "1"]
    command += ["--allow-origin", PAGE]
    with served("", command=command, token="", SPANS=str(folder / "spans"), JUPYTER_TOKEN=SECRET) as process:
        assert process.url
        line = next(line for line in process.log if line.startswith("Token for clients"))
        process.token = line.split()[-1]
        yield process


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """`serve` sets up the logging of its process, which here is that of the tests."""
    root, ours = logging.getLogger(), logging.getLogger("langchain_jupyter")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def spans(folder: Path) -> list[dict[str, Any]]:
    """Those that have been written to their end; a line may be on its way."""
    lines = (folder / "spans").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def test_a_token_is_made_and_printed_when_none_is_given(strict: Served) -> None:
    without = httpx.post(f"{strict.url}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, timeout=60)
    with strict.client() as http:
        answer = ask(http, "ping")

    assert len(strict.token) >= 32
    assert without.status_code == 401
    assert answer["result"] == {}


def test_limits_of_notebooks_are_options_and_variables(tmp_path: Path) -> None:
    for name, cells in (("large", ["x" * 3_000]), ("long", ["x", "x"])):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(source) for source in cells])
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    options = ["--root", str(tmp_path), "--max-notebook-size", "2000"]
    with served("", *options, MAX_NOTEBOOK_CELLS="1", MAX_SOURCE="10") as server:
        large, long = (server.call("get_notebook_info", notebook=f"{name}.ipynb") for name in ("large", "long"))
        server.call("open_notebook", path="new.ipynb", create=True)
        source = server.call("append_markdown_cell", notebook="new.ipynb", source="x" * 11)

    assert "notebooks of up to 2,000 bytes are opened" in text_of(large)
    assert "or MAX_NOTEBOOK_SIZE in the environment" in text_of(large)
    assert "has 2 cells; notebooks of up to 1 are opened" in text_of(long)
    assert "up to 10 are accepted" in text_of(source)


def test_debug_shows_the_protocol_without_tokens(strict: Served) -> None:
    strict.call("append_markdown_cell", source=f"The tokens are {strict.token} and {SECRET}.")
    until(lambda: "<- tools/call" in "".join(strict.log))

    log = "".join(line for line in strict.log if not line.startswith("Token for clients"))
    assert "-> tools/call" in log
    assert re.search(r"The tokens are \[redacted: [^]]+\] and \[redacted: [^]]+\]\.", log)
    assert strict.token not in log
    assert SECRET not in log


def test_a_call_is_a_span_below_the_clients_without_code_or_output(strict: Served, folder: Path) -> None:
    trace_id, parent_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    headers = {"traceparent": f"00-{trace_id}-{parent_id}-01"}

    strict.call("append_execute_code_cell", headers=headers, source="print('mine' + ' alone')")

    def below() -> list[dict[str, Any]]:
        return [each for each in spans(folder) if trace_id in each["context"]["trace_id"]]

    until(below)
    (span,) = below()
    assert span["name"] == "execute_tool append_execute_code_cell"
    assert span["parent_id"] == f"0x{parent_id}"
    assert span["attributes"]["gen_ai.tool.name"] == "append_execute_code_cell"
    assert span["attributes"]["jupyter.outcome"] == "ok"
    assert span["attributes"]["jupyter.notebook"].endswith("strict.ipynb")
    assert "mine alone" not in json.dumps(span)
    assert "print(" not in json.dumps(span)


def test_a_failed_call_is_a_span_with_its_code(strict: Served, folder: Path) -> None:
    strict.call("read_cell", cell="nope")

    def outcomes() -> list[str]:
        return [each["attributes"].get("jupyter.outcome") for each in spans(folder)]

    until(lambda: "cell_not_found" in outcomes())


def test_more_requests_at_a_time_than_may_be_are_told_to_wait(strict: Served, tmp_path: Path) -> None:
    results: list[dict[str, Any]] = []
    source = waiting(tmp_path / "gate")
    running = threading.Thread(target=lambda: results.append(strict.call("run_code", code=source)))
    running.start()
    until(lambda: httpx.get(f"{strict.url}/api/healthz", timeout=60).json()["running_calls"] == 1)

    with strict.client() as http:
        second = http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        metrics = http.get("/metrics")
        (tmp_path / "gate").touch()
        running.join(60)
        third = ask(http, "ping")

    assert second.status_code == 503
    assert second.json() == {"error": "Too many requests at a time. Try again."}
    assert int(second.headers["retry-after"]) > 0
    assert metrics.status_code == 200
    assert "finished" in text_of(results[0])
    assert third["result"] == {}


def test_a_client_that_asks_too_often_is_told_to_wait_and_others_are_not(strict: Served) -> None:
    def ping(http: httpx.Client, token: str) -> httpx.Response:
        message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        return http.post("/mcp", json=message, headers={"Authorization": f"Bearer {token}"})

    with strict.client() as http:
        answers = [ping(http, "a guess")]
        until(lambda: answers.append(ping(http, "a guess")) or answers[-1].status_code == 429)
        other = ping(http, strict.token)

    assert len(answers) > 60
    assert {answer.status_code for answer in answers[:-1]} == {401}
    assert answers[-1].json() == {"error": "Too many requests a minute. Try again later."}
    assert int(answers[-1].headers["retry-after"]) > 0
    assert other.status_code == 200


def test_a_page_that_is_allowed_may_call_and_others_may_not(strict: Served) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}

    with strict.client() as http:
        first = http.options("/mcp", headers={"Origin": PAGE, **asks})
        answer = http.post("/mcp", json=message, headers={"Origin": PAGE})
        strange_first = http.options("/mcp", headers={"Origin": "https://evil.example", **asks})
        strange = http.post("/mcp", json=message, headers={"Origin": "https://evil.example"})

    assert first.status_code == 200
    assert first.headers["access-control-allow-origin"] == answer.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in first.headers["access-control-allow-headers"].lower()
    assert "mcp-session-id" in answer.headers["access-control-expose-headers"].lower()
    assert (strange_first.status_code, strange.status_code) == (403, 403)
    assert "access-control-allow-origin" not in strange_first.headers
    assert "--allow-origin" in strange.json()["error"]


def test_a_running_cell_answers_before_the_server_ends(tmp_path: Path) -> None:
    results: list[dict[str, Any]] = []
    with served(tmp_path / "a.ipynb", "--grace", "90") as process:
        source = waiting(tmp_path / "gate")
        calling = threading.Thread(
            target=lambda: results.append(process.call("append_execute_code_cell", source=source, timeout=80))
        )
        calling.start()
        until(lambda: httpx.get(f"{process.url}/api/healthz", timeout=60).json()["running_calls"] == 1)

        process.process.send_signal(signal.SIGTERM)
        until(lambda: _is_closed(process.url))
        (tmp_path / "gate").touch()
        calling.join(60)
        code = process.process.wait(60)

    assert "finished" in text_of(results[0])
    assert code == 0
    assert nbformat.read(tmp_path / "a.ipynb", as_version=4).cells[0].outputs[0].text == "begun\nfinished\n"


def test_the_server_ends_within_its_grace_and_saves_what_a_cell_has_printed(tmp_path: Path) -> None:
    with served(tmp_path / "a.ipynb", "--grace", "7") as process:
        source = "import time\nprint('begun', flush=True)\ntime.sleep(600)"
        left = process.call("append_execute_code_cell", source=source, timeout=0.1)
        with process.client() as http:
            until(lambda: "\nbegun" in text_of(call(http, "read_all_cells")))
        started = time.monotonic()
        code = process.stop()
        seconds = time.monotonic() - started

    assert " running " in text_of(left)
    assert code == 0
    assert seconds < 7 + 50  # a busy machine has its own time; the cell alone would take 600
    assert "begun" in nbformat.read(tmp_path / "a.ipynb", as_version=4).cells[0].outputs[0].text


def _is_closed(url: str) -> bool:
    try:
        httpx.get(f"{url}/api/healthz", timeout=30)
    except httpx.TransportError:
        return True
    return False


def test_health_tells_and_exits(mcp_server: Served) -> None:
    healthy = CliRunner().invoke(app, ["health", mcp_server.url, "--timeout", "60"])
    the_same = CliRunner().invoke(app, ["health", f"{mcp_server.url}/mcp", "--timeout", "60"])
    nobody = CliRunner().invoke(app, ["health", "http://127.0.0.1:9"])

    assert healthy.exit_code == the_same.exit_code == 0
    assert healthy.stdout.startswith("healthy kernel_status=")
    nowhere = CliRunner().invoke(app, ["health", "nowhere"])
    assert nowhere.stdout == "'nowhere' is no address of a server. Give one like http://localhost:4040.\n"
    assert (nowhere.exit_code, nobody.exit_code) == (1, 1)
    assert nobody.stdout == "no answer from http://127.0.0.1:9: ConnectError\n"


def test_health_watches_until_it_is_stopped(mcp_server: Served) -> None:
    command = [*CLI, "health", mcp_server.url, "--watch", "0.1", "--timeout", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)

    assert all(" healthy kernel_status=" in line for line in lines)
    assert process.returncode == 0
    assert stderr == ""


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ("No transport 'carrier-pigeon'. There are stdio and streamable-http.", ["--transport", "carrier-pigeon"]),
        ("--no-auth is for this machine only, and 0.0.0.0 is open", ["--no-auth", "--host", "0.0.0.0"]),
        ("Which notebook? --notebook PATH, the variable ROOM_ID, or --root FOLDER for many.", ["--notebook", ""]),
        ("Cannot listen on 192.0.2.1 port 0: Cannot assign requested address. Give an addr", ["--host", "192.0.2.1"]),
        ("https cannot be served with nope.pem: No such file or directory.", ["--tls-certificate", "nope.pem"]),
        ("There is no address 'no.such.invalid' to listen on", ["--host", "no.such.invalid"]),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
@pytest.mark.usefixtures("logging_as_before")
def test_a_server_that_cannot_be_is_told_why(said: str, options: list[str], tmp_path: Path) -> None:
    started = ["serve", "--transport", "http", "--port", "0", "--notebook", str(tmp_path / "a.ipynb"), *options]

    done = CliRunner().invoke(app, started)

    assert done.exit_code == 1
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_port_that_there_is_not_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["serve", "--transport", "http", "--port", "99999", "-n", str(tmp_path / "a.ipynb")])

    assert done.exit_code == 2
    assert "--port" in done.stderr
    assert "65535" in done.stderr


def test_a_port_that_is_taken_is_told_by_the_process(mcp_server: Served, tmp_path: Path) -> None:
    port = str(httpx.URL(mcp_server.url).port)
    options = ["serve", "--transport", "http", "--port", port, "--notebook", str(tmp_path / "a.ipynb"), "--no-auth"]

    done = subprocess.run([*CLI, *options], capture_output=True, text=True, timeout=120)

    assert (done.returncode, done.stdout) == (1, "")
    said = " ".join(done.stderr.split())
    assert (
        f"Error: Cannot listen on 127.0.0.1 port {port}: Address already in use. Choose another with --port, or" in said
    )
    assert "Traceback" not in said
