"""The HTTP server as the integration guide, plain clients, probes and operators meet it."""

from __future__ import annotations

import http.client as http_client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving import TOKEN, Served, ask, call, first_line, served, text_of, until, waiting

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}


class JupyterMCPClient:
    """The client of the integration guide, as it stands there, but for the httpx client: it awaits a sync one."""

    def __init__(self, base_url: str = "http://localhost:4040"):
        self.base_url = base_url
        self.client = httpx.AsyncClient(timeout=60)

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


@pytest.fixture
def http(mcp_server: Served) -> Iterator[httpx.Client]:
    with mcp_server.client() as client:
        yield client


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


def test_every_tool_of_the_guide_takes_the_guides_arguments(tmp_path: Path) -> None:
    with served(tmp_path / "notebook.ipynb") as process, process.client() as http:
        told = [
            call(http, "append_markdown_cell", content="# From the guide"),
            call(http, "append_execute_code_cell", code="20 + 1"),
            call(http, "insert_execute_code_cell", index=1, code="20 + 2"),
            call(http, "execute_cell_with_progress", index=2, timeout=60),
            call(http, "overwrite_cell_source", index=2, source="20 + 3"),
            call(http, "read_cell", index=2),
            call(http, "delete_cell", index=0),
            call(http, "read_all_cells"),
            call(http, "get_notebook_info"),
        ]

    assert [text_of(each) for each in told if each["isError"]] == []
    assert "\n22\n" in text_of(told[2])
    assert "\n21\n" in text_of(told[3])
    assert "20 + 3" in text_of(told[5])
    assert "From the guide" not in text_of(told[7])
    assert "2 cells" in text_of(told[8])


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
    source = "import time\nprint('on', flush=True)\ntime.sleep(600)"
    thread = threading.Thread(target=lambda: answers.append(session.call("append_execute_code_cell", 5, source=source)))
    thread.start()
    reader = Session(http, "reader")
    until(lambda: "\non" in text_of(reader.call("read_all_cells", 1, find="time.sleep(600)")))

    session.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}})
    thread.join(60)

    assert not thread.is_alive()
    until(lambda: "KeyboardInterrupt" in text_of(reader.call("read_all_cells", 2, find="time.sleep(600)")))


def test_a_cell_ends_in_the_notebook_when_its_client_has_gone_and_can_be_asked_for_again(
    mcp_server: Served, http: httpx.Client, tmp_path: Path
) -> None:
    named = {"Idempotency-Key": "long-1"}
    source = waiting(tmp_path / "gate")
    message = {**CALL, "params": {"name": "append_execute_code_cell", "arguments": {"source": source}}}
    headers = {**mcp_server.headers, **named, "Content-Type": "application/json"}

    gone = http_client.HTTPConnection("127.0.0.1", httpx.URL(mcp_server.url).port)
    gone.request("POST", "/mcp", json.dumps(message), headers)
    until(lambda: "\nbegun" in text_of(call(http, "read_all_cells", find=str(tmp_path))))
    gone.close()
    (tmp_path / "gate").touch()
    again = call(http, "append_execute_code_cell", headers=named, source=source)

    assert " ok " in first_line(again)
    assert "\nfinished" in text_of(again)
    assert text_of(call(http, "read_all_cells", find=str(tmp_path))).count("os.path.exists") == 1


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (401, {"headers": {"Authorization": "Bearer wrong"}}),
        (401, {"headers": {"Authorization": ""}}),
        (421, {"headers": {"Host": "evil.example"}}),
        (403, {"headers": {"Origin": "https://evil.example"}}),
        (413, {"content": b"{" + b" " * 5_000_000 + b"}"}),
        (415, {"headers": {"Content-Type": "application/x-www-form-urlencoded"}}),
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
        error = ask(http, method, **params)["error"]
        return f"{error['code']} {error['message']}"

    missing = call(http, "append_execute_code_cell")

    assert said("tools/call", name="nope").startswith("-32602 Unknown tool 'nope'. Tools: get_notebook_info")
    assert said("prompts/get", name="nope").startswith("-32602 No prompt 'nope'. Prompts: system, code_review")
    assert said("resources/read", uri="notebook://other.ipynb").startswith("-32002 No resource")
    assert said("nope/nope") == "-32601 There is no method 'nope/nope'."
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


def test_health_needs_no_token_and_tells_no_secret(mcp_server: Served) -> None:
    answer = httpx.get(f"{mcp_server.url}/api/healthz", headers={"Host": "10.1.2.3:4040"}, timeout=60)

    assert answer.status_code == 200
    assert set(answer.json()) == {"status", "kernel_status", "documents", "running_calls", "uptime", "version"}
    assert TOKEN not in answer.text


def test_metrics_need_the_token(http: httpx.Client, mcp_server: Served) -> None:
    call(http, "run_code", code="1")
    call(http, "get_notebook_info")

    assert httpx.get(f"{mcp_server.url}/metrics", timeout=60).status_code == 401
    metrics = http.get("/metrics").text
    assert 'jupyter_mcp_calls_total{outcome="ok",tool="get_notebook_info"}' in metrics
    assert 'jupyter_mcp_call_seconds_bucket{le="0.1",tool="get_notebook_info"}' in metrics
    assert 'jupyter_mcp_kernels{state="idle"} 1.0' in metrics
    assert "jupyter_mcp_running_executions 0.0" in metrics


def test_a_call_is_one_line_of_the_log_without_code_or_token(http: httpx.Client, mcp_server: Served) -> None:
    call(http, "append_execute_code_cell", headers={"X-Request-ID": "req-42"}, source="'a secret of mine'")

    until(lambda: "req-42" in "".join(mcp_server.log))  # what was written last need not be read yet
    lines = [line for line in mcp_server.log if "req-42" in line]
    assert len(lines) == 1
    assert "tool=append_execute_code_cell" in lines[0]
    assert "notebook.ipynb" in lines[0]
    assert "outcome=ok" in lines[0]
    assert not [line for line in mcp_server.log if TOKEN in line or "secret of mine" in line]


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
def test_connect_refuses_what_cannot_be(mcp_server: Served, status: int, body: dict[str, str] | None) -> None:
    headers = mcp_server.headers if body else {}

    answer = httpx.put(f"{mcp_server.url}/api/connect", json=body or {}, headers=headers, timeout=60)

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
