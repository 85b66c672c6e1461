"""Our process is killed: whatever was acknowledged is there afterwards, once."""

import asyncio
import json
import random
import signal
import sys
from pathlib import Path

import nbformat

from langchain_jupyter.documents import recovery, whole
from langchain_jupyter.documents.file import FileStore

CHILD = """
import asyncio, sys
from pathlib import Path
from langchain_jupyter.documents import file, whole
whole._SAVE_AFTER, whole._SAVE_SHARE = 0.005, 0

async def main():
    document = await file.FileStore(Path(sys.argv[1])).open()
    print("ready", flush=True)
    for number in range(200):
        if number % 3 == 2:
            cell_id = f"edit-{number - 1}"
            document.set_source(cell_id, document.source(cell_id) + f"\\n#{number}#")
        else:
            document.insert(document.new_cell("code", f"#{number}#", f"edit-{number}"))
        print(number, flush=True)
        await asyncio.sleep(0.001)
    print("done", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def an_empty_notebook(path: Path) -> Path:
    path.write_text(nbformat.writes(nbformat.v4.new_notebook()), encoding="utf-8")
    return path


async def acknowledged_until_killed(path: Path, after: int) -> int:
    """Kill a child that edits, once it has acknowledged that many edits; how many it did acknowledge."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(path), stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    count = 0
    async for line in child.stdout:
        count += line.strip().isdigit()
        if count >= after and child.returncode is None:
            child.send_signal(signal.SIGKILL)
            break
    rest = await child.stdout.read()
    await child.wait()
    return count + sum(line.isdigit() for line in rest.split())


async def test_every_acknowledged_edit_is_there_once_after_a_kill(tmp_path: Path) -> None:
    moments = random.Random(20)
    paths = [an_empty_notebook(tmp_path / f"{number}.ipynb") for number in range(4)]

    async with asyncio.timeout(120):
        counts = await asyncio.gather(*(acknowledged_until_killed(path, moments.randrange(1, 200)) for path in paths))

    for path, count in zip(paths, counts, strict=True):
        store = FileStore(path)
        document = await store.open()
        await store.close()
        for text in ("\n".join(document.source(i) for i in document.ids), path.read_text(encoding="utf-8")):
            assert [text.count(f"#{number}#") for number in range(count)] == [1] * count
        nbformat.validate(nbformat.read(path, as_version=4))
        assert [file.name for file in tmp_path.glob(f".{path.name}.journal*")] == []


async def test_a_kill_between_the_renaming_and_the_new_journal_repeats_nothing(tmp_path: Path, monkeypatch) -> None:
    path = an_empty_notebook(tmp_path / "a.ipynb")
    store = FileStore(path)
    document = await store.open()
    document.insert(document.new_cell("code", "one", "first"))
    document.delete("first")
    document.insert(document.new_cell("code", "two", "second"))
    document.set_source("second", "three")
    monkeypatch.setattr(store._journal, "saved", lambda digest, edits: None)
    monkeypatch.setattr(whole, "_SAVE_AFTER", 60)

    await store.save()
    document.set_source("second", "four")  # acknowledged after the renaming, in the old journal
    left = store._journal.path.read_bytes()
    store._autosave.cancel()
    store._journal.close()

    assert b'"saving"' in left
    assert json.loads(path.read_text())["cells"][0]["source"] == ["three"]
    again = FileStore(path)
    document = await again.open()
    assert [document.source(i) for i in document.ids] == ["four"]
    await again.close()
    assert not again._journal.path.exists()


async def test_what_a_killed_save_left_is_removed_at_the_next_opening_and_a_save_under_way_is_not(
    tmp_path: Path,
) -> None:
    path = an_empty_notebook(tmp_path / "a.ipynb")
    left = [tmp_path / ".a.ipynb.x1y2.tmp", tmp_path / ".a.ipynb.journal.new"]
    others = [tmp_path / ".b.ipynb.x1y2.tmp", tmp_path / ".a.ipynb.tmp.txt", tmp_path / ".a.ipynb.busy.tmp"]
    for file in [*left, *others]:
        file.write_text("half")

    with others[-1].open("rb") as saving:
        assert recovery.lock(saving.fileno())  # as a process that saves does
        store = FileStore(path)
        await store.open()
        await store.close()

    assert sorted(tmp_path.iterdir()) == sorted([path, *others])
