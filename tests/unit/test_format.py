"""The text of a file: what nobody touched keeps its bytes; what is older is converted; what is no notebook is told."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from langchain_jupyter.documents import format as ipynb
from langchain_jupyter.documents.file import FileStore


def notebook(**more: Any) -> dict[str, Any]:
    cells = [
        {
            "cell_type": "code",
            "execution_count": 3,
            "id": "first",
            "metadata": {"deep": {"er": [1, {"x": None}]}},
            "outputs": [{"name": "stdout", "output_type": "stream", "text": ["é🐍\n", "b"]}],
            "source": ["a = 1\n", "b"],
        },
        {"source": "# as a string", "id": "second", "metadata": {}, "cell_type": "markdown"},
        {"cell_type": "code", "execution_count": None, "id": "third", "metadata": {}, "outputs": [], "source": []},
        {"cell_type": "raw", "id": "last", "metadata": {}, "source": ["the end"]},
    ]
    return {
        "cells": cells,
        "metadata": {"é": "ü", "kernelspec": {"name": "p", "display_name": "P"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    } | more


BIG = notebook(metadata={"big": 2**53 + 1, "float": 1.0, "exponent": 1e300})
ZOO = {
    "indent 1": json.dumps(notebook(), indent=1, ensure_ascii=False) + "\n",
    "indent 2": json.dumps(notebook(), indent=2, ensure_ascii=False),
    "indent 4": json.dumps(notebook(), indent=4, ensure_ascii=False) + "\n\n",
    "one line": json.dumps(notebook(), ensure_ascii=False),
    "compact": json.dumps(notebook(), separators=(",", ":")),
    "tabs": json.dumps(notebook(), indent="\t", ensure_ascii=False) + "\n",
    "CRLF": json.dumps(notebook(), indent=1).replace("\n", "\r\n") + "\r\n",
    "BOM": "\ufeff" + json.dumps(notebook(), indent=1),
    "escapes": json.dumps(notebook(), indent=1, ensure_ascii=True),
    "odd order": json.dumps(dict(reversed(notebook().items())), indent=1),
    "big integers": json.dumps(BIG, indent=1),
    "more members": json.dumps(notebook(more={"a": [1, 2]}), indent=1),
}


async def saved_with_one_change(path: Path, text: str, cell_id: str = "second", source: str = "new") -> str:
    path.write_bytes(text.encode())
    store = FileStore(path)
    document = await store.open()
    document.set_source(cell_id, source)
    await store.close()
    return path.read_bytes().decode()


@pytest.mark.parametrize("name", ZOO)
async def test_one_change_leaves_every_other_byte(tmp_path: Path, name: str) -> None:
    before = ZOO[name]
    cell = next(raw for raw in ipynb.parse(before).raws if raw and '"second"' in raw)

    after = await saved_with_one_change(tmp_path / "a.ipynb", before)

    head, tail = before.split(cell)
    assert after.startswith(head)
    assert after.endswith(tail)
    changed = json.loads(after.removeprefix("\ufeff"))
    assert changed["cells"][1]["source"] == ["new"]
    changed.pop("more", None)  # not in the schema, and kept all the same
    nbformat.validate(changed)


@pytest.mark.parametrize("name", ZOO)
def test_a_text_that_is_joined_again_is_the_same(name: str) -> None:
    text = ipynb.parse(ZOO[name])

    joined = text.layout.join([raw or "" for raw in text.raws], text.raw_metadata)

    assert joined == ZOO[name]


@pytest.mark.parametrize("value", [2**53 + 1, 2**63 - 1, 2**64, 10**30, -(2**70)], ids=str)
async def test_huge_integers_in_a_cell_survive_a_change_elsewhere(tmp_path: Path, value: int) -> None:
    made = notebook()
    made["cells"][0]["metadata"]["huge"] = value

    after = await saved_with_one_change(tmp_path / "a.ipynb", json.dumps(made, indent=1))

    assert json.loads(after)["cells"][0]["metadata"]["huge"] == value


async def test_a_lone_surrogate_in_a_file_survives_a_change_elsewhere(tmp_path: Path) -> None:
    made = notebook()
    made["cells"][0]["source"] = ["a\ud800b"]

    after = await saved_with_one_change(tmp_path / "a.ipynb", json.dumps(made, indent=1))

    assert json.loads(after)["cells"][0]["source"] == ["a\ud800b"]


@pytest.mark.parametrize("cell_id", ["first", "second"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")], ids=str)
async def test_numbers_that_json_does_not_know_do_not_make_a_save_fail(
    tmp_path: Path, value: float, cell_id: str
) -> None:
    made = notebook()
    made["cells"][0]["metadata"]["odd"] = value
    made["metadata"]["odd"] = value

    after = await saved_with_one_change(tmp_path / "a.ipynb", json.dumps(made, indent=1), cell_id)

    assert any(cell["source"] == ["new"] for cell in json.loads(after)["cells"])


@pytest.mark.parametrize("minor", range(5))
async def test_older_minor_versions_get_the_same_ids_each_time(tmp_path: Path, minor: int) -> None:
    made = notebook(nbformat_minor=minor)
    for cell in made["cells"]:
        del cell["id"]
    text = json.dumps(made, indent=1)
    ids = [cell["id"] for cell in ipynb.parse(text).cells]

    after = await saved_with_one_change(tmp_path / "a.ipynb", text, ids[1])

    assert len(set(ids)) == 4
    assert [cell["id"] for cell in json.loads(after)["cells"]] == ids
    nbformat.validate(json.loads(after))


async def test_version_3_is_converted_with_the_same_ids_each_time(tmp_path: Path) -> None:
    old = nbformat.v3.new_notebook(
        worksheets=[
            nbformat.v3.new_worksheet(
                cells=[
                    nbformat.v3.new_code_cell("1 + 1", prompt_number=1),
                    nbformat.v3.new_text_cell("markdown", "text"),
                ]
            )
        ]
    )
    text = json.dumps(old)
    ids = [cell["id"] for cell in ipynb.parse(text).cells]

    after = await saved_with_one_change(tmp_path / "a.ipynb", text, ids[0])

    assert [cell["id"] for cell in json.loads(after)["cells"]] == ids
    assert (json.loads(after)["nbformat"], json.loads(after)["nbformat_minor"]) == (4, 5)
    nbformat.validate(json.loads(after))


@pytest.mark.parametrize("cell_id", [None, "second", "not valid", "", 7, ["x"], {}, "x" * 65], ids=repr)
async def test_an_id_that_is_missing_taken_or_not_valid_is_replaced(tmp_path: Path, cell_id: Any) -> None:
    made = notebook()
    made["cells"][2]["id"] = cell_id
    text = json.dumps(made, indent=1)

    ids = [cell["id"] for cell in ipynb.parse(text).cells]
    after = await saved_with_one_change(tmp_path / "a.ipynb", text)

    assert ids[:2] == ["first", "second"]
    assert len(set(ids)) == 4
    assert [cell["id"] for cell in json.loads(after)["cells"]] == ids
    nbformat.validate(json.loads(after))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ('{"cells": [', "not JSON"),
        ("[]", "not a notebook"),
        ("{}", "not a notebook"),
        ('{"nbformat": 4}', "not a notebook"),
        ('{"nbformat": 4, "cells": {}, "metadata": {}, "nbformat_minor": 5}', "not a list of cells"),
        ('{"nbformat": 4, "cells": [1], "metadata": {}, "nbformat_minor": 5}', "not a list of cells"),
        ('{"nbformat": 4, "worksheets": []}', "not a"),
        ('{"nbformat": 5, "cells": []}', "nbformat 5"),
        ('{"nbformat": 2, "worksheets": []}', "nbformat 2"),
        ("[" * 200_000, "nested too deeply"),
    ],
)
def test_what_is_not_a_notebook_is_told(text: str, why: str) -> None:
    with pytest.raises(ipynb.NotANotebook, match=why):
        ipynb.parse(text)
