"""The HTTP server as the integration guide, plain clients, probes and operators meet it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest

from tests.serving import TOKEN, Served, served, text_of

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}


class JupyterMCPClient:
    """The client of the integration guide, as it stands there, but for the httpx client: it awaits a sync one."""

    def __init__(self, base_url: str = "http://localhost:4040"):
        self.base_url = base_url
        self.client = httpx.AsyncClient()

    async def call_tool(self, tool_name: str, arguments: dict) -> dict:
        response = await self.client.post(
            f"{self.base_url}/mcp",
            json={
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/call",
                "params": {"name": tool_name, "arguments": arguments},
            },
        )
        return response.json()

    async def get_notebook_info(self) -> dict:
        return await self.call_tool("get_notebook_info", {})

    async def execute_code(self, code: str) -> list[str]:
        return await self.call_tool("append_execute_code_cell", {"cell_source": code})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("http") / "notebook.ipynb") as process:
        yield process


@pytest.fixture
def http(server: Served) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def call(http: httpx.Client, tool: str, *, headers: dict[str, str] | None = None, **arguments: Any) -> dict[str, Any]:
    message = {**CALL, "params": {"name": tool, "arguments": arguments}}
    answer = http.post("/mcp", json=message, headers=headers).json()
    result: dict[str, Any] = answer["result"]
    return result


def until(happened: Callable[[], bool]) -> None:
    """Ask until it has happened, half a minute at most."""
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline


def first_line(result: dict[str, Any]) -> str:
    return text_of(result).partition("\n")[0]


class Session:
    """An MCP session over plain HTTP, whose ids count from 1 like everybody's."""

    def __init__(self, http: httpx.Client, name: str) -> None:
        self.http = http
        self.headers = {"Accept": "application/json, text/event-stream"}
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": name, "version": "1"}}
        answer = self.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
        self.headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
        self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def post(self, message: dict[str, Any]) -> httpx.Response:
        answer = self.http.post("/mcp", json=message, headers=self.headers)
        answer.raise_for_status()
        return answer

    def call(self, tool: str, request_id: int, **arguments: Any) -> dict[str, Any]:
        message = {**CALL, "id": request_id, "params": {"name": tool, "arguments": arguments}}
        stream = self.post(message).text
        answers = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
        answer = next(each for each in answers if each.get("id") == request_id)
        result: dict[str, Any] = answer.get("result") or answer
        return result


async def test_the_client_of_the_guide_works(tmp_path: Path) -> None:
    with served(tmp_path / "notebook.ipynb", "--no-auth", token="") as process:
        client = JupyterMCPClient(process.url)
        info = await client.get_notebook_info()
        result = await client.execute_code("print('Hello from MCP!')")
        progress = await client.call_tool("execute_cell_with_progress", {"cell_index": 0, "timeout_seconds": 10})
        health = (await client.client.get(f"{process.url}/api/healthz")).json()
        await client.client.aclose()

    assert "notebook.ipynb" in text_of(info["result"])
    assert "Hello from MCP!" in text_of(result["result"])
    assert " ok " in first_line(progress["result"])
    assert health["status"] == "healthy"
    assert health["kernel_status"] == "idle"


def test_a_json_rpc_id_that_comes_again_is_a_new_call(http: httpx.Client) -> None:
    first, second = (call(http, "append_execute_code_cell", source="'again'") for _ in range(2))

    assert first_line(first).split()[0] != first_line(second).split()[0]


def test_a_call_that_the_client_names_runs_once(http: httpx.Client) -> None:
    named = {"Idempotency-Key": "order-7"}
    first, second = (call(http, "append_execute_code_cell", headers=named, source="'once'") for _ in range(2))
    other = call(http, "append_execute_code_cell", headers={"Idempotency-Key": "order-8"}, source="'once'")

    assert first_line(first) == first_line(second)
    assert first_line(first).split()[0] != first_line(other).split()[0]


def test_sessions_that_count_alike_do_not_get_each_others_executions(http: httpx.Client) -> None:
    one, two = Session(http, "same"), Session(http, "same")

    cells = {first_line(each.call("append_execute_code_cell", 1, source="'mine'")).split()[0] for each in (one, two)}

    assert len(cells) == 2


def test_a_client_with_a_session_per_call_keeps_what_it_has_seen(http: httpx.Client) -> None:
    cell = first_line(call(http, "append_execute_code_cell", source="a = 1")).split()[0]
    Session(http, "forgetful").call("read_cell", 1, cell=cell)
    Session(http, "other").call("overwrite_cell_source", 1, cell=cell, source="a = 2")

    refused = Session(http, "forgetful").call("overwrite_cell_source", 1, cell=cell, source="a = 3")

    assert refused["isError"] is True
    assert text_of(refused).startswith("[cell_changed]")
    assert "a = 2" in text_of(refused)


def test_a_call_that_is_taken_back_is_interrupted(http: httpx.Client) -> None:
    session = Session(http, "hasty")
    answers: list[Any] = []
    source = "import time\nprint('on', flush=True)\ntime.sleep(60)"
    thread = threading.Thread(target=lambda: answers.append(session.call("append_execute_code_cell", 5, source=source)))
    thread.start()
    reader = Session(http, "reader")
    until(lambda: "\non" in text_of(reader.call("read_all_cells", 1, find="time.sleep(60)")))

    session.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}})
    thread.join(20)

    assert not thread.is_alive()
    until(lambda: "KeyboardInterrupt" in text_of(reader.call("read_all_cells", 2, find="time.sleep(60)")))


def test_a_cell_ends_in_the_notebook_when_its_client_has_gone_and_can_be_asked_for_again(http: httpx.Client) -> None:
    named = {"Idempotency-Key": "long-1"}
    source = "import time\ntime.sleep(2)\nprint('end of it')"
    with pytest.raises(httpx.ReadTimeout):
        http.post(
            "/mcp",
            json={**CALL, "params": {"name": "append_execute_code_cell", "arguments": {"source": source}}},
            headers=named,
            timeout=0.5,
        )

    again = call(http, "append_execute_code_cell", headers=named, source=source)
    count = text_of(call(http, "read_all_cells", find="end of it")).count("end of it')")

    assert " ok " in first_line(again)
    assert "end of it" in text_of(again)
    assert count == 1


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (401, {"headers": {"Authorization": "Bearer wrong"}}),
        (401, {"headers": {"Authorization": ""}}),
        (421, {"headers": {"Host": "evil.example"}}),
        (403, {"headers": {"Origin": "https://evil.example"}}),
        (413, {"content": b"{" + b" " * 5_000_000 + b"}"}),
        (400, {"content": b"{not json"}),
        (400, {"content": b"[]"}),
        (400, {"content": b'{"id": 1, "method": "tools/call"}'}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_must_not_come_in_is_refused(http: httpx.Client, status: int, changes: dict[str, Any]) -> None:
    headers = {"Content-Type": "application/json", **changes.get("headers", {})}
    content = changes.get("content") or json.dumps({**CALL, "method": "tools/list"}).encode()

    answer = http.post("/mcp", content=content, headers=headers)

    assert answer.status_code == status
    assert len(answer.text) < 400
    assert "Traceback" not in answer.text
    assert call(http, "get_notebook_info")["isError"] is False


def test_a_body_without_a_length_is_bounded(http: httpx.Client) -> None:
    answer = http.post("/mcp", content=iter([b" " * 1_000_000] * 6), headers={"Content-Type": "application/json"})

    assert answer.status_code == 413


def test_what_is_wrong_in_a_call_is_said(http: httpx.Client) -> None:
    def said(method: str, **params: Any) -> str:
        error = http.post("/mcp", json={**CALL, "method": method, "params": params}).json()["error"]
        return f"{error['code']} {error['message']}"

    missing = call(http, "append_execute_code_cell")

    assert said("tools/call", name="nope").startswith("-32602 Unknown tool 'nope'. Tools: get_notebook_info")
    assert said("prompts/get", name="nope").startswith("-32602 No task 'nope'. Tasks: code_review")
    assert said("resources/read", uri="notebook://other.ipynb").startswith("-32002 No resource")
    assert said("nope/nope").startswith("-32")
    assert missing["isError"] is True
    assert text_of(missing) == "[invalid_argument] source: Field required. Nothing was done."


def test_a_runtime_cannot_be_forged(http: httpx.Client) -> None:
    forged = {"config": {"configurable": {"thread_id": "someone else"}}}

    assert call(http, "get_notebook_info", runtime=forged)["isError"] is False


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", ""])
def test_plain_json_rpc_is_answered_with_json_whatever_is_accepted(http: httpx.Client, accept: str) -> None:
    answer = http.post("/mcp", json={**CALL, "method": "tools/list"}, headers={"Accept": accept})

    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["result"]["tools"]


def test_cells_and_outputs_are_resources(http: httpx.Client) -> None:
    def ask(method: str, **params: Any) -> dict[str, Any]:
        result: dict[str, Any] = http.post("/mcp", json={**CALL, "method": method, "params": params}).json()["result"]
        return result

    def completed(name: str, begun: str) -> list[str]:
        template = {"type": "ref/resource", "uri": "notebook://{path}/cells/{id}"}
        answer = ask("completion/complete", ref=template, argument={"name": name, "value": begun})
        values: list[str] = answer["completion"]["values"]
        return values

    made = call(http, "append_execute_code_cell", source="print('x' * 9000)")
    cell = first_line(made).split()[0]
    uri = ask("resources/list")["resources"][0]["uri"]

    assert uri.startswith("notebook://")
    assert cell in completed("id", cell[:2])
    assert "print('x' * 9000)" in ask("resources/read", uri=f"{uri}/cells/{cell}")["contents"][0]["text"]
    assert "xxxx" in ask("resources/read", uri=f"{uri}/outputs/{completed('ref', 'o')[-1]}")["contents"][0]["text"]


def test_health_needs_no_token_and_tells_no_secret(server: Served) -> None:
    answer = httpx.get(f"{server.url}/api/healthz", headers={"Host": "10.1.2.3:4040"})

    assert answer.status_code == 200
    assert set(answer.json()) == {"status", "kernel_status", "documents", "running_calls", "uptime", "version"}
    assert TOKEN not in answer.text


def test_metrics_need_the_token(http: httpx.Client, server: Served) -> None:
    call(http, "get_notebook_info")

    assert httpx.get(f"{server.url}/metrics").status_code == 401
    metrics = http.get("/metrics").text
    assert 'jupyter_mcp_calls_total{outcome="ok",tool="get_notebook_info"}' in metrics
    assert 'jupyter_mcp_call_seconds_bucket{le="0.1",tool="get_notebook_info"}' in metrics
    assert 'jupyter_mcp_kernels{state="idle"} 1.0' in metrics
    assert "jupyter_mcp_running_executions 0.0" in metrics


def test_a_call_is_one_line_of_the_log_without_code_or_token(http: httpx.Client, server: Served) -> None:
    call(http, "append_execute_code_cell", headers={"X-Request-ID": "req-42"}, source="'a secret of mine'")

    lines = [line for line in server.log if "req-42" in line]
    assert len(lines) == 1
    assert "tool=append_execute_code_cell" in lines[0]
    assert "notebook.ipynb" in lines[0]
    assert "outcome=ok" in lines[0]
    assert not [line for line in server.log if TOKEN in line or "secret of mine" in line]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, None),
        (422, {"room_url": "http://localhost:1"}),
        (422, {"room_url": "localhost", "room_id": "a.ipynb"}),
        (403, {"room_url": "http://evil.example", "room_id": "a.ipynb", "room_token": "t0ken-of-mine"}),
        (422, {"provider": "datalayer", "room_url": "http://localhost:1", "room_id": "a.ipynb"}),
    ],
)
def test_connect_refuses_what_cannot_be(server: Served, status: int, body: dict[str, str] | None) -> None:
    headers = server.headers if body else {}

    answer = httpx.put(f"{server.url}/api/connect", json=body or {}, headers=headers)

    assert answer.status_code == status
    assert "t0ken-of-mine" not in answer.text


def test_stop_saves_and_closes_and_the_next_call_opens_again(http: httpx.Client) -> None:
    call(http, "run_code", code="kept = 1")

    stopped = http.delete("/api/stop").json()
    state = http.get("/api/healthz").json()["kernel_status"]
    after = call(http, "run_code", code="kept")

    assert stopped == {"status": "stopped"}
    assert state == "not started"
    assert "NameError" in first_line(after)


def test_debug_shows_the_protocol_without_the_token(tmp_path: Path) -> None:
    with served(tmp_path / "a.ipynb", "--debug") as process:
        process.call("append_markdown_cell", source=f"The token is {TOKEN}.")

    log = "".join(process.log)
    assert "-> tools/call" in log
    assert "The token is ***." in log
    assert TOKEN not in log


def test_too_many_requests_are_told_to_wait(tmp_path: Path) -> None:
    with served(tmp_path / "a.ipynb", "--rate-limit", "5") as process, process.client() as http:
        answers = [http.post("/mcp", json={**CALL, "method": "ping"}) for _ in range(7)]
        health = http.get("/api/healthz")

    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) > 0
    assert health.status_code == 200


def test_a_running_cell_answers_before_the_server_ends(tmp_path: Path) -> None:
    results: list[dict[str, Any]] = []
    with served(tmp_path / "a.ipynb", "--grace", "20") as process:
        process.call("run_code", code="1")
        source = "import time\ntime.sleep(2)\nprint('finished')"
        thread = threading.Thread(
            target=lambda: results.append(process.call("append_execute_code_cell", source=source))
        )
        thread.start()
        until(lambda: httpx.get(f"{process.url}/api/healthz").json()["running_calls"] == 1)
        process.process.send_signal(signal.SIGTERM)
        thread.join(20)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{process.url}/api/healthz")
        code = process.process.wait(20)

    assert "finished" in text_of(results[0])
    assert code == 0
    assert nbformat.read(tmp_path / "a.ipynb", as_version=4).cells[0].outputs[0].text == "finished\n"


def test_the_server_ends_within_its_grace_and_saves_what_a_cell_has_printed(tmp_path: Path) -> None:
    with served(tmp_path / "a.ipynb", "--grace", "8") as process:
        process.call(
            "append_execute_code_cell", source="import time\nprint('begun', flush=True)\ntime.sleep(600)", timeout=1
        )
        started = time.monotonic()
        code = process.stop()
        seconds = time.monotonic() - started

    assert code == 0
    assert seconds < 30
    assert "begun" in nbformat.read(tmp_path / "a.ipynb", as_version=4).cells[0].outputs[0].text


def test_a_server_that_cannot_be_is_told_why(tmp_path: Path) -> None:
    wrong = {
        "No transport 'carrier-pigeon'": ["--transport", "carrier-pigeon", "-n", "a.ipynb"],
        "--no-auth is for this machine": ["--transport", "http", "--no-auth", "--host", "0.0.0.0", "-n", "a.ipynb"],
        "Which notebook?": ["--transport", "http"],
        "Cannot listen on 192.0.2.1": ["--transport", "http", "-n", "a.ipynb", "--host", "192.0.2.1"],
    }
    command = [sys.executable, "-m", "langchain_jupyter.cli", "serve"]
    started = [
        subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        for options in wrong.values()
    ]

    for said, process in zip(wrong, started, strict=True):
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 1
        assert said in " ".join(stderr.split())
        assert "Traceback" not in stderr


def test_a_token_is_made_and_printed_when_none_is_given(tmp_path: Path) -> None:
    with served(tmp_path / "a.ipynb", token="") as process:
        line = next(line for line in process.log if line.startswith("Token for clients"))
        headers = {"Authorization": f"Bearer {line.split()[-1]}"}
        without = httpx.post(f"{process.url}/mcp", json={**CALL, "method": "ping"})
        with_it = httpx.post(f"{process.url}/mcp", json={**CALL, "method": "ping"}, headers=headers)

    assert without.status_code == 401
    assert with_it.status_code == 200


def test_health_of_the_command_line_tells_and_exits(server: Served) -> None:
    def asked(url: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "langchain_jupyter.cli", "health", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout

    assert asked(server.url)[0] == 0
    assert asked(server.url)[1].startswith("healthy kernel_status=")
    assert asked("http://127.0.0.1:9") == (1, "no answer from http://127.0.0.1:9: ConnectError\n")


async def test_eight_clients_with_eight_notebooks_get_their_own_cells_and_outputs(tmp_path: Path) -> None:
    for number in range(8):
        nbformat.write(nbformat.v4.new_notebook(), tmp_path / f"{number}.ipynb")

    async def work(http: httpx.AsyncClient, number: int) -> list[str]:
        told = []
        for step in range(5):
            arguments = {"notebook": f"{number}.ipynb", "source": f"print('client', {number}, 'step', {step})"}
            message = {**CALL, "params": {"name": "append_execute_code_cell", "arguments": arguments}}
            answer = await http.post("/mcp", json=message)
            told.append(text_of(answer.json()["result"]))
        return told

    with served("", "--root", str(tmp_path)) as process:
        async with (
            asyncio.timeout(120),
            httpx.AsyncClient(base_url=process.url, headers=process.headers, timeout=100) as http,
        ):
            told = await asyncio.gather(*(work(http, number) for number in range(8)))

    for number in range(8):
        printed = [f"client {number} step {step}" for step in range(5)]
        cells = nbformat.read(tmp_path / f"{number}.ipynb", as_version=4).cells
        assert [cell.outputs[0].text.strip() for cell in cells] == printed
        assert [line in text for line, text in zip(printed, told[number], strict=True)] == [True] * 5
