"""A room of a real server: who is seen there, what becomes of the file, and what does not fit into a frame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from langchain_jupyter.documents import overwrites
from langchain_jupyter.documents.notebook import NotebookDocument
from langchain_jupyter.documents.presence import Collaborator
from langchain_jupyter.documents.provider import Replica, RoomProvider
from langchain_jupyter.documents.room import RoomStore
from langchain_jupyter.errors import DocumentConflict, DocumentError, ServerUnreachable
from langchain_jupyter.servers.lab import LabServer
from langchain_jupyter.servers.server import JupyterServer, quoted
from langchain_jupyter.settings import TLS
from tests.certificates import certificate
from tests.notebooks import sources, written
from tests.servers import Child, collaboration_server

LIST = "JupyterLab:globalAwareness"


@pytest.fixture
async def server(lab: LabServer) -> AsyncIterator[JupyterServer]:
    async with asyncio.timeout(90):
        server = JupyterServer(lab.settings)
        yield server
        await server.close()


@pytest.fixture
def name(lab: LabServer, tmp_path: Path) -> str:
    name = f"{tmp_path.name}.ipynb"
    write(lab.root / name, [new_code_cell("a = 1", id="one")])
    return name


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Child, Path]]:
    """A server with rooms over https, by a certificate of its own, with files that are read-only; and its folder."""
    root, state = tmp_path_factory.mktemp("secure"), tmp_path_factory.mktemp("secure-state")
    files = "--ServerApp.contents_manager_class=tests.readonly.ReadOnlyFiles"
    child = collaboration_server(root, state, files, certificate=certificate(state / "cert.pem"))
    asyncio.run(child.start())
    yield child, root
    asyncio.run(child.close())


@pytest.fixture
async def store(server: JupyterServer, name: str) -> AsyncIterator[RoomStore]:
    store = RoomStore(server, name, collaborator=Collaborator(name="Ada's agent"))
    yield store
    await store.close()


@pytest.fixture
async def join(server: JupyterServer) -> AsyncIterator[Callable[[str, dict[str, Any]], Any]]:
    """Somebody else joins a room, with what they say of themselves."""
    async with AsyncExitStack() as stack:

        async def join(room: str, state: dict[str, Any]) -> Replica:
            session = {} if room == LIST else await session_of(server, room)
            path = LIST if room == LIST else f"json:notebook:{session['fileId']}"
            params = {} if room == LIST else {"sessionId": session["sessionId"]}
            replica = Replica()
            provider = RoomProvider(await server.connect(f"/api/collaboration/room/{path}", params=params), replica)
            stack.push_async_callback(provider.close)
            replica.awareness.set_local_state(state)
            await provider.join()
            return replica

        yield join


async def session_of(server: JupyterServer, path: str) -> dict[str, str]:
    body = {"format": "json", "type": "notebook"}
    session: dict[str, str] = await server.request("PUT", f"/api/collaboration/session/{quoted(path)}", json=body)
    return session


def write(path: Path, cells: list[Any]) -> None:
    nbformat.write(new_notebook(cells=cells), path)  # type: ignore[no-untyped-call]


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


async def test_an_agent_is_in_the_list_of_collaborators_with_its_notebook_and_leaves_it(
    store: RoomStore, name: str, join: Callable[..., Any]
) -> None:
    replica = await join(LIST, {"user": {"username": "ada", "name": "Ada"}})

    def listed() -> list[Any]:
        return [state for state in replica.awareness.states.values() if state.get("documents") == [name]]

    await store.open()
    await until(lambda: bool(listed()))
    there = listed()[0]
    await store.close()
    await until(lambda: not listed())

    assert (there["user"]["display_name"], there["current"]) == ("Ada's agent", f"notebook:{name}")


async def test_the_file_is_written_by_itself_only_if_people_in_the_room_want_it(
    store: RoomStore, lab: LabServer, name: str, join: Callable[..., Any]
) -> None:
    document = await store.open()
    replica = await join(name, {"user": {"username": "ada", "name": "Ada"}, "autosave": False})

    def agents() -> list[Any]:
        return [state for client, state in replica.awareness.states.items() if client != replica.awareness.client_id]

    await until(lambda: [state.get("autosave") for state in agents()] == [False])
    document.set_source("one", "a = 2")
    await store.settle()
    await asyncio.sleep(1.5)  # the server would write a second after the change
    unwritten = sources(lab.root / name)
    replica.awareness.set_local_state_field("autosave", True)
    await until(lambda: [state.get("autosave") for state in agents()] == [True])
    document.set_source("one", "a = 3")
    await written(lab.root / name, lambda notebook: notebook.cells[0].source == "a = 3")

    assert unwritten == ["a = 1"]


async def test_a_notebook_that_is_renamed_meanwhile_gets_our_edits_under_its_new_name(
    store: RoomStore, server: JupyterServer, lab: LabServer, name: str
) -> None:
    document = await store.open()
    document.set_source("one", "before")
    await store.settle()

    renamed = f"renamed-{name}"
    await server.request("PATCH", f"/api/contents/{quoted(name)}", json={"path": renamed})
    document.set_source("one", "after")
    await store.refresh()
    settled = await store.settle()
    await store.save()
    await store.close()

    assert (settled, sources(lab.root / renamed)) == ("", ["after"])
    assert not (lab.root / name).exists()


async def test_a_notebook_larger_than_a_frame_of_most_clients_opens_and_takes_edits(
    store: RoomStore, lab: LabServer, name: str
) -> None:
    printed = "0123456789abcde\n" * 1_150_000  # 18 MB
    cell = new_code_cell("print()", id="one", execution_count=1)
    cell["outputs"] = [new_output("stream", name="stdout", text=printed)]
    write(lab.root / name, [cell])

    document = await store.open()
    found = document.snapshot("one")["outputs"][0]["text"]
    document.set_source("one", "print(2)")
    await store.save()

    assert found == printed
    assert sources(lab.root / name) == ["print(2)"]


async def edited(server: JupyterServer, name: str) -> None:
    """Open the notebook there, change its cell, and leave."""
    store = RoomStore(server, name)
    try:
        async with asyncio.timeout(60):
            document = await store.open()
            document.set_source("one", "a = 2")
            await store.save()
    finally:
        await store.close()
        await server.close()


async def test_a_room_is_reached_over_https_by_a_ca_of_ones_own(secure: tuple[Child, Path]) -> None:
    child, root = secure
    write(root / "trusted.ipynb", [new_code_cell("a = 1", id="one")])

    await edited(JupyterServer(child.settings), "trusted.ipynb")

    assert sources(root / "trusted.ipynb") == ["a = 2"]


async def test_a_server_that_another_ca_vouches_for_is_refused_and_the_error_says_what_to_do(
    secure: tuple[Child, Path], tmp_path: Path
) -> None:
    child, root = secure
    write(root / "other.ipynb", [new_code_cell("a = 1", id="one")])
    settings = replace(child.settings, tls=TLS(ca_bundle=certificate(tmp_path / "other.pem")))

    with pytest.raises(ServerUnreachable, match=r"certificate.*ca_bundle"):
        await edited(JupyterServer(settings), "other.ipynb")

    assert sources(root / "other.ipynb") == ["a = 1"]


async def test_without_verification_there_is_a_warning_and_the_room_opens(secure: tuple[Child, Path]) -> None:
    child, root = secure
    write(root / "unverified.ipynb", [new_code_cell("a = 1", id="one")])

    with pytest.warns(UserWarning, match="verify=False"):
        server = JupyterServer(replace(child.settings, tls=TLS(verify=False)))
    await edited(server, "unverified.ipynb")

    assert sources(root / "unverified.ipynb") == ["a = 2"]


async def test_a_read_only_file_says_that_it_was_not_written_and_the_room_keeps_the_change(
    secure: tuple[Child, Path],
) -> None:
    child, root = secure
    write(root / "readonly.ipynb", [new_code_cell("a = 1", id="one")])
    server = JupyterServer(child.settings)
    store, other = RoomStore(server, "readonly.ipynb"), RoomStore(server, "readonly.ipynb")
    document = await store.open()

    document.set_source("one", "a = 2")
    with pytest.raises(DocumentError, match="read-only"):
        await store.save()

    assert (await store.settle(), (await other.open()).source("one")) == ("", "a = 2")
    assert sources(root / "readonly.ipynb") == ["a = 1"]
    await other.close()
    await store.close()
    await server.close()


@pytest.fixture(scope="module")
def unhurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Child, Path]]:
    """A server with rooms that it does not save by itself, and its folder."""
    root, state = tmp_path_factory.mktemp("unhurried"), tmp_path_factory.mktemp("unhurried-state")
    child = collaboration_server(root, state, "--YDocExtension.document_save_delay=600")
    asyncio.run(child.start())
    yield child, root
    asyncio.run(child.close())


@asynccontextmanager
async def opened(unhurried: tuple[Child, Path], name: str) -> AsyncIterator[tuple[RoomStore, NotebookDocument, Path]]:
    """A notebook in a room that has saved it, and the cell "one" once more."""
    child, root = unhurried
    write(root / name, [new_code_cell("'first'", id="one"), new_code_cell("2", id="two")])
    server = JupyterServer(child.settings)
    store = RoomStore(server, name)
    async with asyncio.timeout(120):
        document = await store.open()
        document.set_source("one", "'after: the server was killed'")
        await store.save()
        yield store, document, root / name
        await store.close()
    await server.close()


async def test_edits_of_the_second_before_a_server_is_killed_come_back(unhurried: tuple[Child, Path]) -> None:
    async with opened(unhurried, "killed.ipynb") as (store, document, file):
        document.set_source("one", "'in between'")
        document.set_source("one", "'before: the server is killed'")
        document.insert(document.new_cell("markdown", "three", "three"), place=("one", "two"))
        document.delete("two")
        assert await store.settle() == ""

        await unhurried[0].kill()
        await unhurried[0].start()
        while await store.settle():
            pass
        await store.refresh()
        await store.save()

        assert sources(file) == ["'before: the server is killed'", "three"]


async def test_edits_that_a_program_overwrites_past_the_server_come_back_into_what_it_wrote(
    unhurried: tuple[Child, Path],
) -> None:
    async with opened(unhurried, "overwritten.ipynb") as (store, document, file):
        document.set_source("one", "'before: the file is written'")
        document.insert(document.new_cell("markdown", "three", "three"), place=("one", "two"))
        assert await store.settle() == ""

        overwrite(file, [new_code_cell("'after: the server was killed'", id="one"), new_code_cell("theirs", id="two")])
        while document.source("two") != "theirs":
            await changed(document)
        await store.refresh()
        await store.save()

        assert sources(file) == ["'before: the file is written'", "three", "theirs"]


async def test_where_a_program_has_written_the_same_cell_theirs_stands_and_ours_is_beside_it(
    unhurried: tuple[Child, Path],
) -> None:
    async with opened(unhurried, "conflict.ipynb") as (store, document, file):
        document.set_source("one", "ours")
        assert await store.settle() == ""

        overwrite(file, [new_code_cell("theirs", id="one"), new_code_cell("2", id="two")])
        while document.source("one") != "theirs":
            await changed(document)
        with pytest.raises(DocumentConflict, match="Another program") as caught:
            await store.refresh()
        await store.refresh()
        await store.save()

        assert sources(file) == ["theirs", "2"]
        assert sources(file.with_name(caught.value.copy)) == ["ours", "2"]


async def test_a_program_that_writes_again_and_again_gets_its_way_and_ours_is_told(
    unhurried: tuple[Child, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overwrites, "_PUT_BACK", 1)
    async with opened(unhurried, "again.ipynb") as (store, document, file):
        document.set_source("one", "ours")
        assert await store.settle() == ""

        for theirs in ("a", "b"):
            overwrite(
                file, [new_code_cell("'after: the server was killed'", id="one"), new_code_cell(theirs, id="two")]
            )
            while document.source("two") != theirs:
                await changed(document)
            while await store.settle():
                pass
        assert document.source("one") == "'after: the server was killed'"
        with pytest.raises(DocumentConflict, match="Another program"):
            await store.refresh()


async def changed(document: NotebookDocument) -> None:
    """Wait until somebody has changed it."""
    version = document.version
    while document.version == version:
        await asyncio.sleep(0.02)


def overwrite(file: Path, cells: list[Any]) -> None:
    """As other programs do: whoever reads it finds the whole of one or of the other."""
    write(file.with_suffix(".new"), cells)
    file.with_suffix(".new").replace(file)
