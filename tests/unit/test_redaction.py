"""Secrets are taken out of text, whole or in pieces, and put back where a model has copied their markers."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_jupyter.backends import Backend, LocalDocuments
from langchain_jupyter.outputs import OutputChange, Outputs
from langchain_jupyter.redaction import CURRENT, NOTHING, RedactingFilter, Redactor, kinds_of
from langchain_jupyter.rendering.fences import one_line, printable
from langchain_jupyter.sessions.executions import Run
from langchain_jupyter.settings import secrets_of_environment
from langchain_jupyter.testing import ScriptedKernels
from langchain_jupyter.toolkit import JupyterToolkit
from langchain_jupyter.tools.events import output_event

TOKEN = "plum-7731/tree+river"
BODY = "Aa0Bb1Cc2Dd3Ee4Ff5Gg6Hh7Ii8Jj9Kk0Ll1Mm2"

# Made up here, in the forms that the providers document; split, so that no scanner of sources takes them for real.
KNOWN = {
    "a private key": f"-----BEGIN RSA PRIVATE KEY-----\n{BODY * 2}\n{BODY * 2}\nAb12=\n-----END RSA PRIVATE KEY-----",
    "an Anthropic key": "sk-" + f"ant-api03-{BODY}-{BODY}",
    "an OpenAI key": "sk-" + f"proj-{BODY}_{BODY}",
    "an AWS key": "AKI" + "AQ3EGRIJKLMNOPQRS",
    "a GitHub token": "gh" + f"p_{BODY[:36]}",
    "a GitLab token": "glp" + "at-Ab1cD2eF3gH4iJ5kL6mN",
    "a Slack token": "xox" + "b-123456789012-abcdefABCDEF",
    "a Google key": "AIz" + f"a{BODY[:35]}",
    "a Google token": "ya2" + f"9.{BODY}",
    "a Hugging Face token": "hf" + f"_{BODY[:34]}",
    "a LangSmith key": "lsv2" + "_pt_0123456789abcdef0123456789abcdef_0123456789",
    "an API key": "gsk" + f"_{BODY}",
    "a JSON web token": "eyJ" + f"hbGciOiJIUzI1NiJ9.eyJ{BODY}.{BODY}",
}
INSIDE = {
    "a token in a URL": ("http://localhost:8888/lab?token={}&reset", "0a1b2c3d4e5f60718293"),
    "a password in a URL": ("postgresql://ada:{}@db.example.org/sales", "pAss-w0rd!"),
    "a token in a header": ('{{"Authorization": "token {}"}}', "0a1b2c3d4e5f"),
}
HARMLESS = [
    "risk-averse investors in task-based work",
    "sk-learn-extensions",
    "hf_hub_download",
    "https://docs.example.org/a?page=2&token=",
    "see https://example.org:8080/a@b",
    "npm_config_registry",
    "eyJhbGciOiJIUzI1NiJ9",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    "ASIA and AKIAK",
    "Authorization: required",
]


@pytest.fixture
def redactor() -> Redactor:
    return Redactor({"JUPYTER_TOKEN": TOKEN})


@pytest.mark.parametrize("kind", KNOWN)
def test_known_formats_are_taken_out(kind: str, redactor: Redactor) -> None:
    secret = KNOWN[kind]
    for text in (f"key={secret}\n", f"'{secret}'", json.dumps({"a": f"x\n{secret} y"}), secret):
        shown = redactor.redact(text)

        assert BODY[:12] not in shown
        assert secret not in shown
        assert f"[redacted: {kind.partition(' ')[2]}" in shown
    assert kinds_of(f"a = '{secret}'") == [kind]


@pytest.mark.parametrize("kind", INSIDE)
def test_what_stands_around_a_secret_stays(kind: str, redactor: Redactor) -> None:
    frame, secret = INSIDE[kind]

    shown = redactor.redact(frame.format(secret))

    assert shown == frame.format(f"[redacted: {kind.partition(' ')[2]}]")


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_text_stays(text: str, redactor: Redactor) -> None:
    assert redactor.redact(text) == text


@pytest.mark.parametrize("form", [TOKEN, "plum-7731%2Ftree%2Briver", f"x{TOKEN}y"])
def test_a_configured_secret_is_taken_out_in_all_its_forms(form: str, redactor: Redactor) -> None:
    assert "7731" not in redactor.redact(f"<{form}>")
    assert "[redacted: JUPYTER_TOKEN]" in redactor.redact(form)


def test_short_secrets_are_left_out() -> None:
    assert Redactor({"TOKEN": "abc"}).redact("abc") == "abc"


def test_nothing_is_taken_out_when_it_is_turned_off() -> None:
    text = f"{TOKEN} {KNOWN['an OpenAI key']}"

    assert NOTHING.redact(text) == text
    assert Redactor({"T": TOKEN}, formats=False).redact(KNOWN["an OpenAI key"]) == KNOWN["an OpenAI key"]


def test_json_is_redacted_at_any_depth_and_pictures_stay(redactor: Redactor) -> None:
    picture = "iVBOR" + KNOWN["an AWS key"]
    value = {"a": [{"b": TOKEN, TOKEN: 1}], "image/png": picture, "n": None}

    shown = redactor.redacted(value)

    assert TOKEN not in json.dumps(shown)
    assert shown["image/png"] == picture


def test_two_secrets_of_a_kind_are_told_apart_and_put_back(redactor: Redactor) -> None:
    first, second = KNOWN["an OpenAI key"], KNOWN["an OpenAI key"].replace("Aa0", "Zz9")
    source = f"a = '{first}'\nb = '{second}'\nc = '{TOKEN}'\nd = '{first}'"

    shown = redactor.redact(source)

    assert shown.splitlines()[0] == "a = '[redacted: OpenAI key]'"
    assert shown.splitlines()[1] == "b = '[redacted: OpenAI key 2]'"
    assert redactor.restored(shown + "\ne = 5", source) == source + "\ne = 5"


@given(st.lists(st.sampled_from([*KNOWN.values(), TOKEN, "x = ", "\n", " ", "'", "[redacted: x]"]), max_size=12))
def test_what_is_redacted_stays_so_and_can_be_put_back(parts: list[str]) -> None:
    redactor = Redactor({"JUPYTER_TOKEN": TOKEN})
    text = " ".join(parts)

    shown = redactor.redact(text)

    assert redactor.redact(shown) == shown
    assert redactor.restored(shown, text) == text


@given(st.text(max_size=200))
def test_text_without_secrets_is_the_same(text: str) -> None:
    if not kinds_of(text):
        assert Redactor({"T": "\x00never\x00"}).redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "eyJ" * 700_000,
        "sk-" * 700_000,
        "a" * 2_000_000,
        "://:" * 500_000,
        ("://" + "a" * 200) * 10_000,
        "-----BEGIN " + "A " * 1_000_000,
        "-----BEGIN PRIVATE KEY-----\n" + ("A" * 64 + "\n") * 30_000,
        "authorization: a " * 100_000,
        "?token=" * 300_000,
    ],
    ids=lambda text: text[:12],
)
def test_no_text_makes_it_slow(text: str, redactor: Redactor) -> None:
    began = time.process_time()

    redactor.redact(text)

    assert time.process_time() - began < 20  # seconds for 2 MB; 0.1 to 1 on a quiet machine, hours if it were quadratic


# -- streams -------------------------------------------------------------------------------------------------------


def told(run: Run, pieces: list[str], redactor: Redactor) -> str:
    """The text of a stream as whoever listens puts it together."""
    text = ""
    changes: list[OutputChange | None] = []
    for piece in pieces:
        run.outputs.feed("stream", {"name": "stdout", "text": piece})
        changes.append(run.outputs.take())
    for change in [*changes, None]:
        event = output_event(run, change, redactor)
        if event is None:
            continue
        text = "" if event["rewritten"] else text + event["text"]
        text += "".join(output["text"] for output in event["outputs"])
        assert not leaks(text)
    return text


def leaks(text: str) -> bool:
    return TOKEN[:12] in text or BODY[:12] in text


@given(
    st.lists(st.sampled_from([*KNOWN.values(), TOKEN, "word ", "\n", "s", "https://a.org/b "]), max_size=8),
    st.lists(st.integers(1, 30), min_size=1, max_size=60),
)
def test_a_secret_in_pieces_is_not_told(parts: list[str], lengths: list[int]) -> None:
    text = " ".join(parts)
    pieces, at = [], 0
    for length in lengths:
        pieces.append(text[at : at + length])
        at += length
    pieces.append(text[at:])
    redactor = Redactor({"JUPYTER_TOKEN": TOKEN})

    heard = told(_run(), [piece for piece in pieces if piece], redactor)

    assert not leaks(heard)
    assert len(heard) == len(redactor.redact(text))


def test_text_that_is_no_secret_is_told_at_once(redactor: Redactor) -> None:
    run = _run()
    run.outputs.feed("stream", {"name": "stdout", "text": "epoch 1\n"})

    event = output_event(run, run.outputs.take(), redactor)

    assert event is not None
    assert event["outputs"][0]["text"] == "epoch 1\n"


def test_what_was_held_back_is_told_at_the_end(redactor: Redactor) -> None:
    run = _run()
    run.outputs.feed("stream", {"name": "stdout", "text": "task"})
    run.outputs.feed("stream", {"name": "stdout", "text": "s plum"})
    first = output_event(run, run.outputs.take(), redactor)

    last = output_event(run, None, redactor)

    assert first is not None
    assert first["outputs"][0]["text"] == "tasks "
    assert last is not None
    assert last["text"] == "plum"
    assert output_event(run, None, redactor) is None


def test_displays_and_errors_are_told_without_secrets(redactor: Redactor) -> None:
    run = _run()
    run.outputs.feed("display_data", {"data": {"text/plain": TOKEN}, "metadata": {}})
    run.outputs.feed("error", {"ename": "E", "evalue": TOKEN, "traceback": []})

    event = output_event(run, run.outputs.take(), redactor)

    assert event is not None
    assert TOKEN not in json.dumps(event)


# -- elsewhere -----------------------------------------------------------------------------------------------------


def test_what_is_clipped_is_redacted_before(redactor: Redactor) -> None:
    token = CURRENT.set(redactor)
    try:
        assert "plum" not in one_line("key = " + TOKEN, 16)
        assert TOKEN not in printable(f"\x1b[31m{TOKEN}\x1b[0m")
    finally:
        CURRENT.reset(token)


def test_log_records_and_their_stack_traces_are_redacted(redactor: Redactor, caplog: pytest.LogCaptureFixture) -> None:
    records: list[str] = []
    handler = logging.StreamHandler()
    handler.addFilter(RedactingFilter(redactor))
    handler.emit = lambda record: records.append(handler.format(record))  # type: ignore[method-assign]
    logger = logging.getLogger("a logger of this test")
    logger.propagate = False
    logger.addHandler(handler)

    try:
        raise ValueError(TOKEN)
    except ValueError:
        logger.exception("failed with %s", TOKEN)

    assert "ValueError" in records[0]
    assert TOKEN not in records[0]


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("OPENAI_API_KEY", "abc-123-def", True),
        ("DB_PASSWORD", "hunter22", True),
        ("GITHUB_TOKEN", "0123abcd", True),
        ("MY_TOKEN", "short1", False),
        ("API_KEY", "development", False),
        ("TOKEN_FILE", "/run/secrets/token1", False),
        ("PASSWORD_STORE_DIR", "/home/ada/.password-store", False),
        ("AWS_PUBLIC_KEY", "ssh-ed25519 AAAA1", False),
        ("LANG", "en_US.UTF-8", False),
    ],
)
def test_environment_variables_that_are_named_like_secrets(
    name: str, value: str, secret: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    assert (name in secrets_of_environment()) is secret


def test_a_secret_that_comes_into_the_environment_later_is_known_at_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redactor = Redactor(secrets_of_environment(), later=secrets_of_environment)
    monkeypatch.setenv("LATE_API_KEY", "plum-7731-tree-river")
    before = redactor.redact("plum-7731-tree-river")

    redactor.look_again()
    monkeypatch.delenv("LATE_API_KEY")
    redactor.look_again()

    assert before == "plum-7731-tree-river"
    assert redactor.redact("plum-7731-tree-river") == "[redacted: LATE_API_KEY]"  # also after it has gone


async def test_each_call_of_a_tool_looks_for_new_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    backend = Backend(LocalDocuments(tmp_path / "a.ipynb"), ScriptedKernels())
    async with JupyterToolkit(backend=backend, tools=["append_markdown_cell", "read_cell"]) as toolkit:
        append, read = toolkit.get_tools()
        await append.ainvoke({"source": "It is plum-7731-tree-river."})
        monkeypatch.setenv("LATE_API_KEY", "plum-7731-tree-river")

        told = await read.ainvoke({"cell": "0"})

    assert "It is [redacted: LATE_API_KEY]." in str(told)


def _run() -> Run:
    return Run("e1", "c", asyncio.Event(), Outputs())
