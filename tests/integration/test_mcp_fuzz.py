"""What anybody may send to the HTTP edge: it is answered in a few words, and the server lives on."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving import Served, ask, until

ONE_SERVER = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["\ud800", "\x00", "notebook://", "notebook:///../a/cells/\x00", "[12]", "/(a+)+$/"])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
methods = st.sampled_from(
    [
        "initialize",
        "ping",
        "tools/list",
        "tools/call",
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "resources/subscribe",
        "completion/complete",
        "logging/setLevel",
        "notifications/cancelled",
        "notifications/initialized",
        "notifications/progress",
    ]
)
# None of these runs anything.
tools = st.sampled_from(
    ["get_notebook_info", "read_all_cells", "read_cell", "read_output", "move_cell", "no_such_tool"]
)
members = st.sampled_from(
    ["name", "arguments", "uri", "ref", "argument", "context", "_meta", "cursor", "requestId", "protocolVersion"]
)
params = st.dictionaries(members, anything, max_size=4) | st.fixed_dictionaries(
    {
        "name": tools,
        "arguments": st.dictionaries(st.sampled_from(["cell", "output", "find", "start", "limit"]), anything),
    }
)
messages = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | scalars},
    optional={"id": scalars | anything, "method": methods | scalars, "params": params | anything, "result": anything},
)
accepted = st.sampled_from(["*/*", "application/json", "application/json, text/event-stream", "\u00fc"])


@pytest.fixture
def http(mcp_server: Served) -> Any:
    with mcp_server.client() as client:
        yield client


def check(http: httpx.Client, body: bytes, *, method: str = "POST", path: str = "/mcp", accept: str = "*/*") -> None:
    """Send a body; the answer must not be a failure of ours, and nothing of our inside."""
    headers = {b"content-type": b"application/json", b"accept": accept.encode()}
    answer = http.request(method, path, content=body, headers=headers)

    assert answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text
    assert "Internal error" not in answer.text
    assert 'File "' not in answer.text


@given(body=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@ONE_SERVER
def test_bytes_that_are_no_json_are_refused(http: httpx.Client, body: bytes) -> None:
    check(http, body)


@given(message=messages | anything | st.lists(messages, max_size=3), accept=accepted)
@ONE_SERVER
def test_json_that_is_no_request_is_refused(http: httpx.Client, message: Any, accept: str) -> None:
    check(http, json.dumps(message).encode(), accept=accept)


@given(method=methods, given=params)
@ONE_SERVER
def test_parameters_that_are_wrong_are_told(http: httpx.Client, method: str, given: Any) -> None:
    check(http, json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": given}).encode())


@given(
    body=st.dictionaries(
        st.sampled_from(
            ["provider", "room_url", "room_id", "room_token", "runtime_url", "runtime_id", "runtime_token"]
        ),
        anything | st.sampled_from(["http://[", "http://evil.example", "//x", "ftp://localhost", "http://a:b@c:99999"]),
    )
    | anything
)
@ONE_SERVER
def test_no_other_server_is_connected_to_by_nonsense(http: httpx.Client, body: Any) -> None:
    check(http, json.dumps(body).encode(), method="PUT", path="/api/connect")


@pytest.mark.parametrize("depth", [100, 1_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_is_bounded(http: httpx.Client, depth: int, opening: str, closing: str) -> None:
    nested = opening * depth + "1" + closing * depth
    call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_notebook_info","arguments":{"a":%s}}}'

    check(http, nested.encode())
    check(http, (call % nested).encode())
    assert ask(http, "ping")["result"] == {}


@pytest.mark.parametrize("number", ["9" * 5_000, "1e999999", "-1e-999999", "NaN", "Infinity", "0" * 100])
def test_numbers_are_bounded(http: httpx.Client, number: str) -> None:
    for place in (
        '{"jsonrpc":"2.0","id":%s,"method":"ping"}',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%s}',
    ):
        check(http, (place % number).encode())
    assert ask(http, "ping")["result"] == {}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"id": None}, '-32600 The member "id" must be a string or an integer.'),
        ({"method": 7}, '-32600 The member "method" must be a string, such as "tools/call".'),
        ({"params": [1]}, '-32602 The member "params" must be an object.'),
        ({"params": {"name": 1}}, '-32602 The params of tools/call must be {"name": …, "arguments": {…}}.'),
        ({"params": {"name": "a", "arguments": "b"}}, '-32602 The params of tools/call must be {"name": …, "argum'),
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "application/json, text/event-stream"])
def test_what_is_wrong_with_a_message_is_said(http: httpx.Client, message: Any, said: str, accept: str) -> None:
    whole = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", **message}

    answer = http.post("/mcp", json=whole, headers={"Accept": accept}).json()

    assert f"{answer['error']['code']} {answer['error']['message']}".startswith(said)
    assert answer["id"] == (whole["id"] if "id" not in message else None)


def test_the_log_has_a_line_for_what_is_wrong_and_nothing_of_its_contents(
    http: httpx.Client, mcp_server: Served
) -> None:
    before = len(mcp_server.log)
    for message in ({"id": 1, "method": "prompts/get"}, {"method": "nonsense"}, {"id": 2, "method": "nonsense"}):
        check(http, json.dumps({"jsonrpc": "2.0", **message, "params": {"code": "print('for my eyes')"}}).encode())
    ask(http, "tools/call", name="get_notebook_info")
    until(lambda: "tool=get_notebook_info" in "".join(mcp_server.log[before:]))

    lines = mcp_server.log[before:]
    assert "Failed to validate" in "".join(lines)
    assert [line for line in lines if not line.startswith("20")] == []
    assert "for my eyes" not in "".join(lines)
