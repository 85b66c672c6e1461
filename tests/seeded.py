"""Six notebooks with forty defects planted in them, and the table that says where.

Every notebook is one that somebody could have left so; what is not in the table is meant to be in order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from langchain_jupyter.models import Cell


class Defect(NamedTuple):
    """One planted defect.

    Attributes:
        notebook: In which one.
        cell: Id of the cell; empty if it is the whole notebook's.
        rules: Any of these findings tells of it.
        what: What was planted.
    """

    notebook: str
    cell: str
    rules: tuple[str, ...]
    what: str


def md(cell_id: str, source: str) -> Cell:
    return Cell(cell_id, "markdown", source)


def code(cell_id: str, count: int | None, source: str, *outputs: dict[str, Any]) -> Cell:
    return Cell(cell_id, "code", source, count, outputs)


def out(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


def result(text: str) -> dict[str, Any]:
    return {"output_type": "execute_result", "data": {"text/plain": text}, "metadata": {}, "execution_count": 1}


def figure() -> dict[str, Any]:
    return {
        "output_type": "display_data",
        "data": {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"},
        "metadata": {},
    }


def error(name: str, value: str, line: str) -> dict[str, Any]:
    trace = [f"{name}  Traceback (most recent call last)", f"Cell In[1], line 1\n----> 1 {line}\n", f"{name}: {value}"]
    return {"output_type": "error", "ename": name, "evalue": value, "traceback": trace}


SALES = [
    md("s0", "# Sales in spring\n\nWhy did revenue fall in March?"),
    code("s1", 1, "%pip install pandas requests==2.32.0", out("Successfully installed\n")),
    code("s2", 2, "import os\nimport pandas as pd\nimport requests"),
    code("s3", 3, 'TOKEN = "ghp_a8Fk29sLmQ7xZ0pW3nRt5vYc1bUeHd6J"\nurl = "https://data.example.com/sales.csv"'),
    code("s4", 4, "sales = pd.read_csv('/home/ada/work/sales.csv')\nprint('Rows:', len(sales))", out("Lines: 1200\n")),
    md("s5", "One row is one order."),
    code(
        "s6",
        5,
        "monthly = sales.groupby('month')['revenue'].sum()\nmonthly.head()",
        result("month\n1  10.5\n2  11.2\n3  7.9"),
    ),
    code("s7", 9, "march = sales[sales.month == 3]\nmarch.describe()", result("count 400")),
    code("s8", 7, "sales[sales.month == 3]['flag'] = True"),
    code("s9", None, "returns = sales[sales.returned]"),
    code("s10", 10, "len(rückläufer)", result("17")),
    code("s11", 11, ""),
    md("s12", "Returns explain half of the fall."),
    code(
        "s13", 12, "response = requests.get(url, headers={'Authorization': TOKEN})\nresponse.status_code", result("200")
    ),
]

CHURN = [
    md("c0", "# Who leaves?\n\nA model of churn, on the customers of 2025."),
    code(
        "c1",
        1,
        "import numpy as np\nimport pandas as pd\nfrom sklearn.ensemble import RandomForestClassifier\n"
        "from sklearn.model_selection import train_test_split\nfrom sklearn.metrics import *",
    ),
    code("c2", 2, "data = pd.read_parquet('churn.parquet')\ndata.shape", result("(7043, 21)")),
    md("c3", "Split before anything is fitted."),
    code(
        "c4",
        3,
        "X, y = data.drop(columns='churn'), data['churn']\nX_train, X_test, y_train, y_test = train_test_split(X, y)",
    ),
    code(
        "c5",
        4,
        "def scale(frame, columns=[]):\n    for name in columns:\n        frame[name] = frame[name] / 100\n"
        "    return frame",
    ),
    code("c6", 5, "try:\n    X_train = scale(X_train, ['tenure'])\nexcept:\n    pass"),
    code("c7", 6, "model = RandomForestClassifier(random_state=0).fit(X_train, y_train)"),
    code("c8", 7, "accuracy = model.score(X_test, y_test)\nprint(f'accuracy {accuracy:.2f}')", out("accuracy 0.79\n")),
    code(
        "c9",
        8,
        "importance = pd.Series(model.feature_importances_, X.columns)\nbest = tuned.best_params_",
        error("NameError", "name 'tuned' is not defined", "best = tuned.best_params_"),
    ),
    code("c10", 9, "tuned = search(model)\ntuned.best_params_", result("{'max_depth': 7}")),
    code("c11", 10, "threshold = 0.5\nthreshold", result("0.3")),
    code("c12", 11, "if accuracy == None:\n    print('no model')"),
    md("c13", "The model finds 79 % of those who leave."),
]

WEATHER = [
    code("w0", 1, "import matplotlib.pyplot as plt\nimport xarray as xr"),
    code("w1", 2, "import warnings\nwarnings.filterwarnings('ignore')"),
    code("w2", 3, "grid = xr.open_dataset('era5.nc')\ngrid", result("<xarray.Dataset> ...")),
    code("w3", 4, "mean = grid.t2m.mean('time')"),
    code("w4", 5, "mean.plot()\nplt.title('Mean temperature')", figure()),
    code("w5", 6, "trend = grid.t2m.polyfit('time', 1)"),
    code("w6", 7, "trend.polyfit_coefficients.plot()", figure()),
    code("w7", 8, "station = grid.sel(lat=52.5, lon=13.4, method='nearest')"),
    code("w8", 9, "print(station.t2m.values[:100000].tolist())", out("[" + "273.15, " * 20_000 + "]\n")),
    code("w9", 10, "station.to_netcdf('C:\\\\Users\\\\grace\\\\berlin.nc')"),
    md("w10", "Berlin warms by 0.4 K in ten years."),
    code("w11", 10, "plt.savefig('berlin.png')"),
    code(
        "w12",
        None,
        "",
    ),
]

SURVEY = [
    md("v0", "# Survey of 2026\n\nCleaning and first counts."),
    code("v1", 1, "!pip install polars\nimport polars as pl", out("ok\n")),
    code(
        "v2",
        2,
        "DB = 'postgresql://ada:hunter22@db.example.com/survey'\nanswers = pl.read_database_uri('select * from a', DB)",
    ),
    code("v3", 3, "answers.head()", result("shape: (5, 12)")),
    md("v4", "Ages below 16 are entry errors."),
    code(
        "v5",
        4,
        "clean = answers.filter(pl.col('age') >= 16)\nprint('dropped', len(answers) - len(clean))",
        out("dropped 31\n"),
    ),
    code("v6", 5, "counts = clean.group_by('city').len()", result("shape: (12, 2)")),
    code(
        "v7",
        6,
        "top = counts.sort('len', descending=True).head(3)\ntop",
        error("ColumnNotFoundError", "count", "counts.sort('count')"),
    ),
    code("v8", 7, "x = 3\nx == 4\nprint(x)", out("3\n")),
    code("v9", 8, "def rate(part, whole):\n    return part / hole"),
    code("v10", 9, "for city in top['city']:\n    print(city)", out("Oslo\nRome\nKyiv\n")),
    code("v11", 10, "def rate(part whole):\n    return part / whole"),
    md("v12", "Oslo answers most."),
]

SIGNAL = [
    md("g0", "# Signals\n\nDetect steps in sensor data; made with numpy alone."),
    code("g1", 1, "import numpy as np"),
    code("g2", 2, "noise = np.random.normal(size=500)\nsignal = np.repeat([0, 1], 250) + noise"),
    code("g3", 3, "window = 25\nkernel = np.ones(window) / window"),
    md("g4", "A moving average, then the largest difference."),
    code(
        "g5",
        4,
        "smooth = np.convolve(signal, kernel, mode='same')\nstep = int(np.argmax(np.diff(smooth)))\nstep",
        result("249"),
    ),
    code("g6", 6, "print('step at', step, 'of', len(signal))", out("step at 251 of 500\n")),
    code("g7", 5, "found = abs(step - 250) < 10\nassert found, 'missed'\nfound", result("True")),
    code("g8", 7, "window = 25", result("25")),
    code("g9", 8, "api_key = 'Zx81kQp4vT6nB2mW9sLd'\nupload(signal, api_key)", out("uploaded\n")),
    code("g10", 9, "np.save('smooth.npy', smooth)", out("key=AKIAIOSFODNN7EXAMPLE used\n")),
    md("g11", "The step is found within ten samples."),
]

TEXT = [
    md("t0", "# Reviews\n\nWhich words go with good marks?"),
    code("t1", 1, "import collections\nimport json\nimport re\nimport re"),
    code("t2", 2, "reviews = json.load(open('reviews.json'))\nlen(reviews)", result("5000")),
    code("t3", 3, "def words(text):\n    return re.findall(r'\\w+', text.lower())"),
    code("t4", 4, "good = collections.Counter(w for r in reviews for w in words(r['text']))\ngood.most_common(3)",
         result("[('great', 900), ('love', 700), ('nice', 400)]")),
    md("t5", "Words alone mislead: look at pairs."),
    code("t6", 5, "pairs = collections.Counter(zip(all_words, all_words[1:]))"),
    code("t7", 6, "all_words = [w for r in reviews for w in words(r['text'])]"),
    code("t8", 7, "print('%s and %s' % ('love',))", error("TypeError", "not enough arguments for format string",
         "print('%s and %s' % ('love',))")),
    code("t9", 8, "total = sum(good.values())\nshare = good['great'] / total\nround(share, 3)", result("0.031")),
    code("t10", 9, "shares = {w: n / total for w, n in good.items()}\nshare is 0.031", result("False")),
    md("t11", ""),
]  # fmt: skip

NOTEBOOKS: dict[str, list[Cell]] = {
    "sales": SALES, "churn": CHURN, "weather": WEATHER, "survey": SURVEY, "signal": SIGNAL, "text": TEXT,
}  # fmt: skip

DEFECTS = [
    Defect("sales", "s1", ("unpinned",), "an install without a version"),
    Defect("sales", "s2", ("F401",), "an import that nobody uses"),
    Defect("sales", "s3", ("secret",), "a token in the source"),
    Defect("sales", "s4", ("private-path",), "a path of somebody's home"),
    Defect("sales", "s4", ("mismatch",), "a text that the source does not print"),
    Defect("sales", "s8", ("order",), "run before the cell above it"),
    Defect("sales", "s8", ("chained",), "an assignment to a copy"),
    Defect("sales", "s9", ("not-run",), "never run"),
    Defect("sales", "s10", ("undefined",), "a name of a deleted cell lives on"),
    Defect("sales", "s11", ("empty",), "an empty cell"),
    Defect("churn", "c1", ("F403",), "everything imported by a star"),
    Defect("churn", "c4", ("unseeded",), "a split without a seed"),
    Defect("churn", "c5", ("B006",), "a mutable default"),
    Defect("churn", "c6", ("swallowed", "E722"), "all exceptions swallowed"),
    Defect("churn", "c9", ("failing",), "a cell that fails"),
    Defect("churn", "c9", ("used-before",), "a name used before the cell that sets it"),
    Defect("churn", "c10", ("undefined", "F821"), "a function that nobody defines"),
    Defect("churn", "c11", ("mismatch",), "a constant changed after the run"),
    Defect("churn", "c12", ("E711",), "None compared by equality"),
    Defect("churn", "c13", ("claim",), "the text mistakes accuracy for recall"),
    Defect("weather", "w0", ("untitled",), "no title or purpose"),
    Defect("weather", "w0", ("unexplained",), "ten code cells without a word"),
    Defect("weather", "w1", ("silenced",), "warnings switched off"),
    Defect("weather", "w8", ("big-output",), "a hundred thousand numbers printed"),
    Defect("weather", "w9", ("private-path",), "a path of somebody's machine"),
    Defect("weather", "w11", ("order",), "the same execution count twice"),
    Defect("survey", "v1", ("unpinned",), "an install without a version"),
    Defect("survey", "v2", ("secret",), "a password in a URL"),
    Defect("survey", "v6", ("mismatch",), "a result that no expression can show"),
    Defect("survey", "v7", ("mismatch",), "an error from a line that is not there any more"),
    Defect("survey", "v8", ("B015",), "a comparison without effect"),
    Defect("survey", "v9", ("F821",), "a name misspelt inside of a function"),
    Defect("survey", "v11", ("syntax",), "a cell that is no Python"),
    Defect("signal", "g2", ("unseeded",), "noise without a seed"),
    Defect("signal", "g6", ("stale-number",), "an output of an older run: another number than above"),
    Defect("signal", "g8", ("mismatch",), "a result without an expression"),
    Defect("signal", "g9", ("secret",), "a key in the source"),
    Defect("signal", "g10", ("secret",), "a key in an output"),
    Defect("text", "t6", ("used-before",), "a list used above the cell that makes it"),
    Defect("text", "t8", ("F507",), "too few values for a format"),
]

ALSO = {
    ("churn", "c1", "F401"),
    ("weather", "w12", "empty"),
    ("survey", "v7", "failing"),
    ("signal", "g7", "order"),
    ("signal", "g9", "undefined"),
    ("text", "t1", "F811"),
    ("text", "t8", "failing"),
    ("text", "t10", "F632"),
    ("text", "t11", "empty"),
}
"""True as well, and counted on neither side: what the planted defects bring with them."""
