"""Who may come in by which way: OAuth tokens, https, stdio, and /api/connect to a live server."""

from __future__ import annotations

import asyncio
import datetime
import http.server
import ipaddress
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import nbformat
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from langchain_jupyter.mcp.auth import OAuthTokens
from langchain_jupyter.servers.lab import LabServer
from tests.serving import TOKEN, Served, served, text_of

RESOURCE = "https://mcp.example.org/mcp"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Issuer:
    """An authorization server: its metadata, its keys, and what it says of opaque tokens."""

    def __init__(self) -> None:
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(issuer.pages[self.path])

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                known = {"active": True, "aud": RESOURCE, "sub": "ada", "client_id": "app", "scope": "notebooks"}
                self._answer(known if "token=opaque-1" in body else {"active": False})

            def _answer(self, page: dict[str, Any]) -> None:
                body = json.dumps(page).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
        metadata = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", "introspection_endpoint": f"{self.url}/ask"}
        self.pages = {
            "/.well-known/oauth-authorization-server": metadata,
            "/keys": {"keys": [{**public, "kid": "one", "alg": "RS256", "use": "sig"}]},
        }
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def token(self, *, key: Any = KEY, **changes: Any) -> str:
        claims = {"iss": self.url, "aud": RESOURCE, "sub": "ada", "client_id": "app", "scope": "notebooks"}
        claims |= {"exp": int(time.time()) + 60, **changes}
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "one"})

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture(scope="module")
def oauth(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    options = ["--oauth-issuer", issuer.url, "--oauth-resource", RESOURCE, "--oauth-scopes", "notebooks"]
    with served(tmp_path_factory.mktemp("oauth") / "a.ipynb", *options, token="") as process:
        yield process


def asked(server: Served, token: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{server.url}/mcp", json=PING, headers=headers, timeout=60)


def test_a_token_of_the_authorization_server_is_good(oauth: Served, issuer: Issuer) -> None:
    assert asked(oauth, issuer.token()).status_code == 200


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (401, {"aud": "https://another.example.org"}),
        (401, {"exp": int(time.time()) - 60}),
        (401, {"iss": "https://evil.example.org"}),
        (401, {"key": rsa.generate_private_key(public_exponent=65537, key_size=2048)}),
        (403, {"scope": "something else"}),
    ],
    ids=["audience", "expired", "issuer", "signature", "scope"],
)
def test_a_token_that_is_not_meant_for_us_is_refused(
    oauth: Served, issuer: Issuer, status: int, changes: dict[str, Any]
) -> None:
    assert asked(oauth, issuer.token(**changes)).status_code == status


def test_clients_learn_where_tokens_come_from(oauth: Served, issuer: Issuer) -> None:
    refused = httpx.post(f"{oauth.url}/mcp", json=PING, timeout=60)
    metadata = httpx.get(f"{oauth.url}/.well-known/oauth-protected-resource/mcp", timeout=60).json()

    assert refused.status_code == 401
    assert "resource_metadata=" in refused.headers["www-authenticate"]
    assert metadata["resource"] == RESOURCE
    assert [url.rstrip("/") for url in metadata["authorization_servers"]] == [issuer.url]


async def test_opaque_tokens_are_asked_about(issuer: Issuer) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        tokens = OAuthTokens(issuer.url, RESOURCE, client=("us", "secret"), http=client)

        known, unknown = await tokens.verify_token("opaque-1"), await tokens.verify_token("opaque-2")

    assert (known.client_id, known.subject, known.scopes) == ("app", "ada", ["notebooks"])
    assert unknown is None


def test_the_server_speaks_https(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder(name, name, KEY.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(KEY, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    (tmp_path / "key.pem").write_bytes(KEY.private_bytes(serialization.Encoding.PEM, *pem))
    options = ["--tls-certificate", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]

    with served(tmp_path / "a.ipynb", *options) as process:
        trusting = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        answer = httpx.get(f"{process.url}/api/healthz", verify=trusting, timeout=60)

    assert process.url.startswith("https://")
    assert answer.json()["status"] == "healthy"


def test_stdio_ends_in_order_at_a_signal_and_at_the_end_of_input(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "langchain_jupyter.cli", "serve", "--notebook"]
    hello = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    call = {"name": "append_execute_code_cell", "arguments": {"source": "print('kept')"}}
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": "odd", "method": "nope/nope"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call},
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with (
        subprocess.Popen([*command, str(tmp_path / "signal.ipynb")], **pipes) as signalled,
        subprocess.Popen([*command, str(tmp_path / "input.ipynb")], **pipes) as ended,
    ):
        answers = {}
        for process in (signalled, ended):
            process.stdin.writelines(f"{json.dumps(message)}\n" for message in messages)
            process.stdin.flush()
        for process in (signalled, ended):
            answers[process] = [json.loads(process.stdout.readline()) for _ in range(3)]
        signalled.terminate()
        ended.stdin.close()
        assert (signalled.wait(60), ended.wait(60)) == (0, 0)

    for process, name in ((signalled, "signal"), (ended, "input")):
        refused = {"code": -32601, "message": "There is no method 'nope/nope'."}
        assert answers[process][1] == {"jsonrpc": "2.0", "id": "odd", "error": refused}
        assert "kept" in text_of(answers[process][2]["result"])
        cells = nbformat.read(tmp_path / f"{name}.ipynb", as_version=4).cells
        assert cells[0].outputs[0].text == "kept\n"


def test_a_person_who_starts_it_by_hand_is_told_that_it_waits_for_a_client(tmp_path: Path) -> None:
    person, terminal = os.openpty()
    command = [sys.executable, "-m", "langchain_jupyter.cli", "serve", "--notebook", str(tmp_path / "a.ipynb")]
    pipes = {"stdin": terminal, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        told = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
    os.close(person)
    os.close(terminal)

    assert "Waiting for an MCP client on stdin" in told
    assert "--transport streamable-http" in told
    assert code == 0


async def test_connect_moves_to_another_notebook_as_in_the_guide(lab: LabServer, tmp_path: Path) -> None:
    nbformat.write(nbformat.v4.new_notebook(), lab.root / "connected.ipynb")
    token = lab.settings.token.get_secret_value()
    config = {
        "provider": "jupyter",
        "room_url": lab.settings.url,
        "room_id": "connected.ipynb",
        "room_token": token,
        "runtime_url": lab.settings.url,
        "runtime_id": None,
        "runtime_token": token,
    }
    with served(tmp_path / "a.ipynb") as process:
        async with httpx.AsyncClient(base_url=process.url, headers=process.headers, timeout=60) as client:
            refused = await client.put("/api/connect", json={**config, "room_token": "wrong", "runtime_token": "wrong"})
            before = await asyncio.to_thread(process.call, "get_notebook_info")
            connected = await client.put("/api/connect", json=config)
        ran = await asyncio.to_thread(process.call, "append_execute_code_cell", source="'over there'")
        after = await asyncio.to_thread(process.call, "get_notebook_info")

    assert refused.status_code == 502
    assert "a.ipynb" in text_of(before)
    assert connected.json()["status"] == "connected"
    assert "over there" in text_of(ran)
    assert "connected.ipynb" in text_of(after)
    assert token not in "".join(process.log) + connected.text + refused.text
    assert TOKEN not in "".join(process.log)
