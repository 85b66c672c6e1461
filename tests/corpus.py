"""Notebooks as people have them: one of each kind, made here, small where its kind allows."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple


class Example(NamedTuple):
    """A notebook of the corpus.

    Attributes:
        notebook: nbformat JSON; a text for what is written as it stands.
        ends: How a run of all its cells in a new kernel ends.
        finds: A rule of check_notebook that must tell of it; empty for none in particular.
    """

    notebook: dict[str, Any] | str
    ends: str = "ok"
    finds: str = ""


def md(source: str, **metadata: Any) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": metadata, "source": source}


def code(source: str, *outputs: dict[str, Any], count: int | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "metadata": metadata,
        "source": source,
        "outputs": list(outputs),
        "execution_count": count,
    }


def notebook(
    *cells: dict[str, Any], kernel: str = "python3", language: str = "python", **metadata: Any
) -> dict[str, Any]:
    spec = {"name": kernel, "display_name": kernel, "language": language}
    numbered = [{"id": f"{number:03d}-cell", **cell} for number, cell in enumerate(cells)]
    return {"cells": numbered, "metadata": {"kernelspec": spec, **metadata}, "nbformat": 4, "nbformat_minor": 5}


def printed(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


PNG = base64.b64encode(bytes.fromhex("89504e470d0a1a0a")).decode()

CORPUS: dict[str, Example] = {
    "pandas": Example(notebook(
        md("# Orders\n\nA table, cleaned and grouped."),
        code("import pandas as pd"),
        code("orders = pd.DataFrame({'city': ['Oslo', 'Rome', 'Oslo', None], 'price': [3.5, 2.0, None, 1.0]})\norders"),
        code("orders = orders.dropna()\norders.groupby('city').price.agg(['mean', 'count'])"),
        code("orders.info()"),
        code("orders.style.highlight_max()"),
    )),
    "sklearn": Example(notebook(
        md("# A classifier"),
        code("from sklearn.datasets import load_iris\nfrom sklearn.linear_model import LogisticRegression\n"
             "from sklearn.model_selection import cross_val_score"),
        code("X, y = load_iris(return_X_y=True, as_frame=True)\nX.head(2)"),
        code("model = LogisticRegression(max_iter=500)\nscores = cross_val_score(model, X, y)\nscores.round(2)"),
        code("model.fit(X, y)"),
    )),
    "matplotlib": Example(notebook(
        md("# Figures"),
        code("%matplotlib inline\nimport matplotlib.pyplot as plt\nimport numpy as np"),
        code("x = np.linspace(0, 6, 50)\nplt.plot(x, np.sin(x))\nplt.title('Sine')\nplt.show()"),
        code("fig, axes = plt.subplots(1, 2)\naxes[0].hist(x)\naxes[1].imshow(np.outer(x, x))\nfig"),
    )),
    "plotly": Example(notebook(
        md("# An interactive figure"),
        code("import plotly.graph_objects as go"),
        code("go.Figure(go.Bar(x=['a', 'b'], y=[1, 3]), layout_title_text='Counts')"),
    )),
    "altair": Example(notebook(
        md("# A declared figure"),
        code("import altair as alt\nimport pandas as pd"),
        code("alt.Chart(pd.DataFrame({'a': [1, 2], 'b': [3, 4]})).mark_bar().encode(x='a', y='b')"),
    )),
    "widgets": Example(notebook(
        md("# Widgets and progress bars"),
        code("import ipywidgets as widgets\nfrom tqdm import tqdm\nfrom tqdm.notebook import tqdm as bars"),
        code("slider = widgets.IntSlider(value=3, description='n')\nslider"),
        code("total = 0\nfor n in bars(range(20), desc='Epochs'):\n    total += n\ntotal"),
        code("for n in tqdm(range(50), desc='Again'):\n    pass"),
        widgets={"application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2, "version_minor": 0}},
    )),
    "magics": Example(notebook(
        md("# Magics and shells"),
        code("%load_ext autoreload\n%autoreload 2\n%matplotlib inline"),
        code("%%time\nnumbers = [n * n for n in range(1000)]\nsum(numbers)"),
        code("files = !echo one two\nprint(files)"),
        code("%%bash\necho from the shell"),
        code("%%capture kept\nprint('kept')"),
        code("kept.stdout\n?len"),
        code("%timeit -n 2 -r 1 sum(numbers)"),
        code("!echo {numbers[3]}"),
        code("%%writefile made.py\nanswer = 42"),
        code("%run made.py\nanswer"),
    )),
    "errors": Example(notebook(
        md("# What goes wrong"),
        code("1 / 0", tags=["raises-exception"]),
        code("import warnings\nwarnings.warn('careful')"),
        code("def inner(x):\n    return x['key']\n\ndef outer(x):\n    return inner(x)"),
        code("outer({})"),
        code("print('never reached')"),
    ), ends="error", finds="failing"),
    "hidden_state": Example(notebook(
        md("# It ran once, in some order"),
        code("total = price * 3", count=4),
        code("price = 2", count=3),
        code("print(total, gone)", printed("6 yes\n"), count=7),
        code("import notthere_at_all", count=8),
    ), ends="error", finds="used-before"),
    "bash": Example(notebook(
        md("# A shell"),
        code("name=world"),
        code("echo \"hello $name\""),
        code("for n in 1 2 3; do echo $((n * n)); done"),
        code("ls /no/such/folder || echo failed as it should"),
        kernel="bash", language="bash",
    )),
    "thousand": Example(notebook(*(
        cell
        for n in range(500)
        for cell in (md(f"## Part {n}\n\nText."), code(f"v{n} = {n}" if n % 10 else f"print({n})"))
    ))),
    "big_outputs": Example(notebook(
        md("# Too much"),
        code("print('\\n'.join(f'line {n}' for n in range(20_000)))"),
        code("'x' * 200_000"),
        code("for n in range(300):\n    print(f'{n}/300', end='\\r')"),
        code("from IPython.display import HTML\nHTML('<table>' + '<tr><td>1</td></tr>' * 3000 + '</table>')"),
        code("old = 1", printed("y" * 300_000), count=1),
    ), finds="big-output"),
    "unicode": Example(notebook(
        md("# שלום עולם · مرحبا · 你好 · 🎉 e\u0301 \u202eabc\u202c"),
        code("größe = 'שלום'\nprint(größe, '👩‍👩‍👧‍👦', '\u200b|')"),
        code("名前 = {'ключ': 'قيمة'}\n名前"),
        code("print('\\ud83d'.encode('utf-8', 'replace'))"),
        md("combining: Z\u0351\u036b\u0343\u036a"),
    )),
    "rich": Example(notebook(
        md("# $\\int_0^1 x\\,dx$"),
        code("from IPython.display import SVG, Audio, Latex, Markdown, JSON, Javascript, display"),
        code("Latex(r'\\frac{a}{b}')"),
        code("SVG('<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><text>Title</text></svg>')"),
        code("import numpy\nAudio(numpy.zeros(800), rate=8000)"),
        code("display(Markdown('**bold**'), JSON({'a': [1]}))"),
        code("Javascript('1')"),
    )),
    "odd_metadata": Example({
        **notebook(
            md("# Whatever tools have left", collapsed="yes", tags="not-a-list"),
            code("x = 1\nx", tags=[1, None, "x"], slideshow={"slide_type": 3}, deep={"a": [{"b": None}]}),
            code("x + 1", langchain_jupyter="not ours"),
            {"cell_type": "raw", "metadata": {"format": 7}, "source": "raw <b>text</b>"},
            md("![a](attachment:a.png)"),
        ),
        "metadata": {"kernelspec": {"name": "python3", "display_name": "p"}, "toc": None, "extra": [1, {"a": "b"}]},
    }),
    "old_format": Example({
        "cells": [md("# Before cells had ids"), code("a = 2"), code("a ** 10"), md("end")],
        "metadata": {}, "nbformat": 4, "nbformat_minor": 2,
    }),
    "hand_made": Example(
        '{"nbformat":4,"nbformat_minor":5,"metadata":{},"cells":[{"id":"one","cell_type":"code",'
        '"source":["a = 1\\n","a"],"metadata":{},"outputs":[],"execution_count":null},'
        '\t{"id":"two","cell_type":"markdown","metadata":{},"source":"x"}]}\r\n'
    ),
    "empty": Example(notebook()),
}  # fmt: skip


def write(name: str, folder: Path) -> Path:
    """Put a notebook of the corpus into a folder."""
    made = CORPUS[name].notebook
    path = folder / f"{name}.ipynb"
    path.write_text(made if isinstance(made, str) else json.dumps(made, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path
