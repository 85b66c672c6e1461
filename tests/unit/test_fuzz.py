"""Whatever comes from outside: an answer or an error of ours, never a hang and never an error of somebody else's."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jupyter_client.session import Session
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from langchain_jupyter.documents import whole
from langchain_jupyter.documents.file import FileStore
from langchain_jupyter.documents.journal import Edit
from langchain_jupyter.documents.memory import MemoryStore
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.errors import DocumentConflict, DocumentError, SettingsError, ToolError
from langchain_jupyter.kernels.local import LocalKernel
from langchain_jupyter.sessions.session import NotebookSession
from langchain_jupyter.sessions.sight import Sight
from langchain_jupyter.settings import Environment, OutputLimits, ServerSettings
from tests.found import CELLS, HANDLES, JOURNALS, MESSAGES, NOTEBOOKS, Sent
from tests.search import examples

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)

# -- messages of a kernel ---------------------------------------------------------------------------------------------

VALID: dict[str, dict[str, Any]] = {
    "status": {"execution_state": "busy"},
    "execute_input": {"code": "1", "execution_count": 1},
    "stream": {"name": "stdout", "text": "x"},
    "display_data": {"data": {"text/plain": "x"}, "metadata": {}, "transient": {"display_id": "p"}},
    "update_display_data": {"data": {"text/plain": "y"}, "metadata": {}, "transient": {"display_id": "p"}},
    "execute_result": {"data": {"text/plain": "x"}, "metadata": {}, "execution_count": 1},
    "error": {"ename": "E", "evalue": "v", "traceback": ["t"]},
    "clear_output": {"wait": True},
    "input_request": {"prompt": "?", "password": False},
    "execute_reply": {"status": "ok", "execution_count": 1},
    "shutdown_reply": {"restart": True},
}
KINDS = st.sampled_from(sorted(VALID)) | st.text(max_size=10)


@st.composite
def contents(draw: st.DrawFn, kind: str) -> Any:
    valid = VALID.get(kind, {})
    if not valid or draw(st.booleans()):
        return draw(JSON) if draw(st.booleans()) else valid
    key = draw(st.sampled_from(sorted(valid)))
    return {**valid, key: draw(JSON)} if draw(st.booleans()) else {k: v for k, v in valid.items() if k != key}


@st.composite
def messages(draw: st.DrawFn) -> Sent:
    kind = draw(KINDS)
    return (
        draw(st.sampled_from(["iopub", "iopub", "shell", "stdin", "control"])),
        kind,
        draw(contents(kind)),
        draw(st.sampled_from(["ours", "ours", "ours", "another", "nobody"])),
        draw(st.sampled_from(["whole", "whole", "whole", "twice", "short", "changed", "empty"])),
    )


class Socket:
    def __init__(self) -> None:
        self.inbox: asyncio.Queue[list[bytes]] = asyncio.Queue()
        self.sent: asyncio.Queue[list[bytes]] = asyncio.Queue()

    async def recv_multipart(self) -> list[bytes]:
        return await self.inbox.get()

    def send_multipart(self, frames: list[bytes]) -> asyncio.Future[None]:
        """As pyzmq's, which sends whether it is awaited or not."""
        self.sent.put_nowait(frames)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class Channel:
    def __init__(self) -> None:
        self.socket = Socket()


class Client:
    """What LocalKernel needs of jupyter_client's: a session that signs, and four sockets."""

    def __init__(self) -> None:
        self.session = Session(key=b"key")
        self.shell_channel, self.iopub_channel, self.stdin_channel, self.control_channel = (Channel() for _ in range(4))


class Played(LocalKernel):
    """A local kernel whose process is played."""

    async def start(self) -> None:
        if self._state == "idle":
            return
        client: Any = Client()
        self._client, self._state = client, "idle"
        channels = ("shell", "iopub", "stdin", "control")
        self._tasks = [asyncio.create_task(self._read(client, channel)) for channel in channels]

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail_waiting("the kernel was stopped.")


async def run_with(sent: list[Sent]) -> Any:
    kernel = Played()
    session = NotebookSession(MemoryStore(), kernel)
    await session.open()
    try:
        running = asyncio.create_task(session.insert_and_run("1", caller="test", timeout=20))
        client: Any = None
        while client is None:
            client = kernel._client
            await asyncio.sleep(0)
        frames = await client.shell_channel.socket.sent.get()
        request = client.session.deserialize(client.session.feed_identities(frames)[1])
        peer = Session(key=b"key")
        another = peer.msg("execute_request", {})
        ending = [
            ("iopub", "execute_input", VALID["execute_input"], "ours", "whole"),
            *sent,
            ("shell", "execute_reply", VALID["execute_reply"], "ours", "whole"),
            ("iopub", "status", {"execution_state": "idle"}, "ours", "whole"),
        ]
        for channel, kind, content, whose, befalls in ending:
            parent = {"ours": request["header"], "another": another["header"], "nobody": {}}[whose]
            message = peer.msg(kind, None)
            message["content"] = json.dumps(content).encode()  # whatever it is
            message["parent_header"] = parent
            put(getattr(client, f"{channel}_channel").socket.inbox, peer.serialize(message), befalls)
        async with asyncio.timeout(60):
            execution = await running
            if not execution.finished:
                session.answer(execution.ref, "x")
                execution = await session.wait(execution.ref, 20)
        return execution
    finally:
        await session.close()


def put(inbox: asyncio.Queue[list[bytes]], frames: list[bytes], befalls: str) -> None:
    if befalls == "short":
        frames = frames[:-1]
    elif befalls == "changed":
        frames = [*frames[:-1], frames[-1][:-1] + b"\xff"]
    elif befalls == "empty":
        frames = []
    for _ in range(2 if befalls == "twice" else 1):
        inbox.put_nowait(frames)


def run(work: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await work

    return asyncio.run(main())


@settings(max_examples=examples(40))
@given(st.lists(messages(), max_size=8))
def test_a_run_ends_whatever_the_kernel_sends(sent: list[Sent]) -> None:
    check_run(sent)


@pytest.mark.parametrize("sent", MESSAGES.values(), ids=MESSAGES)
def test_a_run_ends_with_what_was_found(sent: list[Sent]) -> None:
    check_run(sent)


def check_run(sent: list[Sent]) -> None:
    execution = run(run_with(sent))

    assert execution.finished
    assert execution.status in ("ok", "error", "interrupted", "lost", "died")
    nbformat.validate(new_notebook(cells=[new_code_cell(outputs=list(execution.outputs))]))  # type: ignore[no-untyped-call]


# -- notebooks --------------------------------------------------------------------------------------------------------

NOTEBOOK = json.loads(
    nbformat.writes(  # type: ignore[no-untyped-call]
        new_notebook(
            cells=[
                new_code_cell("1", id="one", outputs=[new_output("stream", name="stdout", text="x")]),
                new_markdown_cell("# Title", id="two"),
            ]
        )
    )
)
PATHS: list[tuple[Any, ...]] = [
    *((key,) for key in NOTEBOOK),
    *(("cells", at) for at in (0, 1)),
    *(("cells", at, key) for at in (0, 1) for key in NOTEBOOK["cells"][at]),
    ("cells", 0, "outputs", 0),
    *(("cells", 0, "outputs", 0, key) for key in ("output_type", "name", "text")),
    ("cells", 0, "metadata", "langchain_jupyter"),
]


def corrupted(path: tuple[Any, ...], value: Any, *, remove: bool) -> str:
    notebook = json.loads(json.dumps(NOTEBOOK))
    place = notebook
    for key in path[:-1]:
        place = place[key]
    if not remove:
        place[path[-1]] = value
    elif isinstance(place, list) or path[-1] in place:
        del place[path[-1]]
    return json.dumps(notebook)


async def edited(path: Path) -> None:
    store = FileStore(path)
    document = await store.open()
    document.insert(document.new_cell("code", "new", "new1"))
    for cell_id in list(document.ids):
        document.cell(cell_id)
        document.set_source(cell_id, "changed")
    document.move(document.ids[0], place=(None, None))
    await store.close()


def check_file(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.ipynb"
        file.write_text(text, encoding="utf-8")
        try:
            with patch.object(whole, "_HALF_WRITTEN", 0.0):  # nobody writes it on
                run(edited(file))
        except DocumentError:
            assert file.read_text(encoding="utf-8") == text
        else:
            assert any(cell.get("id") == "new1" for cell in json.loads(file.read_text(encoding="utf-8"))["cells"])


@given(st.sampled_from(PATHS), JSON, st.booleans(), st.integers(0, 400))
def test_a_notebook_that_is_corrupted_is_edited_or_refused_and_left(
    path: tuple[Any, ...], value: Any, remove: bool, end: int
) -> None:
    text = corrupted(path, value, remove=remove)
    if end < 40:  # torn off
        text = text[: len(text) * end // 40]
    check_file(text)


@pytest.mark.parametrize("wrong", CELLS.values(), ids=CELLS)
def test_a_notebook_with_what_was_found_is_edited_or_refused_and_left(wrong: dict[str, Any]) -> None:
    check_file(corrupted(("cells", 0), {**NOTEBOOK["cells"][0], **wrong}, remove=False))


@pytest.mark.parametrize("text", NOTEBOOKS.values(), ids=NOTEBOOKS)
def test_a_text_that_was_found_is_edited_or_refused_and_left(text: str) -> None:
    check_file(text)


# -- journals of a process that died ----------------------------------------------------------------------------------

EDITS = [
    Edit("cell", "new", None, {**NOTEBOOK["cells"][0], "id": "new", "source": "x"}, place=("one", None)),
    Edit("source", "one", "1", "2"),
    Edit("move", "two", ("one", None), (None, "one")),
    Edit("outputs", "one", {"outputs": [], "execution_count": None}, {"outputs": [], "execution_count": 1}),
    Edit("metadata", "two", None, ["a"], key="tags"),
]
RECORDS: list[dict[str, Any]] = [
    {"langchain_jupyter_journal": 2, "base": None},
    *(edit.to_json() for edit in EDITS),
    {"saving": "digest", "edits": 1},
    {"saved": "digest", "edits": 1},
]
MEMBERS = [(at, key) for at, record in enumerate(RECORDS) for key in record]


@given(
    st.sampled_from(MEMBERS), JSON | st.sampled_from(["cell", "source", "move", "outputs", "metadata"]), st.booleans()
)
def test_a_journal_that_is_corrupted_is_read_or_refused_and_left(
    member: tuple[int, str], value: Any, remove: bool
) -> None:
    at, key = member
    records = [dict(record) for record in RECORDS]
    if remove:
        del records[at][key]
    else:
        records[at][key] = value
    check_journal("".join(json.dumps(record) + "\n" for record in records))


@pytest.mark.parametrize("text", JOURNALS.values(), ids=JOURNALS)
def test_a_journal_that_was_found_is_read_or_refused_and_left(text: str) -> None:
    check_journal(text)


def check_journal(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file, journal = Path(folder) / "a.ipynb", Path(folder) / ".a.ipynb.journal"
        file.write_text(json.dumps(NOTEBOOK))
        journal.write_text(text)
        try:
            run(edited(file))
        except DocumentConflict:  # told as it is closed
            assert not journal.exists()
        except DocumentError:
            assert json.loads(file.read_text()) == NOTEBOOK
            assert journal.read_text() == text


# -- handles and settings ---------------------------------------------------------------------------------------------

LONG = st.builds("{}{}".format, st.sampled_from(["", "#", "["]), st.integers(1, 6_000).map("9".__mul__))
NAMES = st.text(max_size=12) | st.from_regex(r"#?-?\d{1,30}|\[\d{1,30}\]|[a-f0-9]{1,12}", fullmatch=True) | LONG


@given(st.lists(NAMES, min_size=1, max_size=5))
@example(list(HANDLES.values()))
def test_a_handle_is_a_cell_or_refused(handles: list[str]) -> None:
    document = NotebookDocument()
    document.load([{**cell, "source": "x"} for cell in NOTEBOOK["cells"]], {})
    sight = Sight(0)

    for handle in handles:
        try:
            found = sight.resolve(document, handle)
        except ToolError:
            found = ""
        assert found in ("one", "two", "")
        assert found == handle or handle not in ("one", "two")


URLS = st.text(max_size=40) | st.builds("{}://{}:{}/{}".format, st.text(max_size=6), *([st.text(max_size=12)] * 3))


@given(URLS | URLS.map("http://".__add__))
def test_an_address_is_taken_or_refused(url: str) -> None:
    with suppress(SettingsError):
        assert ServerSettings(url=url).url.startswith("http")


@given(st.dictionaries(st.sampled_from(["per_output", "per_call", "images", "per_run", "outputs_per_run"]), JSON))
def test_limits_are_taken_or_refused(limits: dict[str, Any]) -> None:
    with suppress(SettingsError):
        made = OutputLimits(**limits)
        assert all(isinstance(getattr(made, name), int) for name in limits)


VARIABLES = [
    "JUPYTER_URL",
    "JUPYTER_TOKEN",
    "DOCUMENT_URL",
    "RUNTIME_URL",
    "PORT",
    "JUPYTER_VERIFY",
    "PROVIDER",
    "APPROVE",
]
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(st.sampled_from(VARIABLES), VALUES | URLS.filter(lambda url: url.isprintable())))
def test_the_environment_is_taken_or_refused(variables: dict[str, str]) -> None:
    with patch.dict("os.environ", variables), suppress(SettingsError):
        found = Environment.read()
        assert all(each is None or each.url for each in (found.document_server, found.runtime_server))
