"""The demonstration: a scripted analysis of a real data set.

The data are the diabetes study of 442 patients (Efron, Hastie, Johnstone, Tibshirani, "Least Angle Regression", Annals
of Statistics 32, 2004), which ships with scikit-learn.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from langchain_jupyter.errors import MissingExtra
from langchain_jupyter.testing import Turn, calls, tool_call

# What jupyter-client starts as the Python that runs now.
_OURS = (sys.executable, "python", "python3", f"python3.{sys.version_info.minor}")

TASK = (
    "Analyse the diabetes study that ships with scikit-learn (load_diabetes): load it, check its quality, plot what "
    "matters, fit a cross-validated model of the progression after one year, and explain what you found."
)

_INTRODUCTION = """\
# What drives the progression of diabetes?

442 patients, ten measurements at the start, and how far the disease had progressed one year later.
The data ship with scikit-learn (Efron et al., *Least Angle Regression*, 2004)."""

_LOAD = """\
import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_diabetes

names = dict(s1="cholesterol", s2="ldl", s3="hdl", s4="chol_hdl", s5="log_triglycerides", s6="glucose")
data = load_diabetes(as_frame=True, scaled=False).frame
data = data.rename(columns={**names, "target": "progression"})
data.head()"""

_QUALITY = """\
missing = int(data.isna().sum().sum())
print(f"{len(data)} patients, {data.duplicated().sum()} rows twice, {missing} values missing")
data.describe().T[["mean", "std", "min", "max"]].assign(distinct=data.nunique())"""

_PLOT = """\
strength = data.corr()["progression"].drop("progression").sort_values()
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
strength.plot.barh(ax=left, title="Correlation with progression")
data.plot.scatter("bmi", "progression", c="log_triglycerides", colormap="viridis", s=14, ax=right)
right.set_title("Progression by body mass index")
plt.show()"""

_MODEL = """\
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

X, y = data.drop(columns="progression"), data["progression"]
models = {
    "ridge": make_pipeline(StandardScaler(), RidgeCV(alphas=(0.1, 1, 10, 100))),
    "forest": RandomForestRegressor(200, min_samples_leaf=5, random_state=0),
}
scores = {name: [] for name in models}
for fold, (train, test) in enumerate(KFold(5, shuffle=True, random_state=0).split(X), 1):
    for name, model in models.items():
        model.fit(X.iloc[train], y.iloc[train])
        scores[name].append(model.score(X.iloc[test], y.iloc[test]))
    print(f"fold {fold}/5: " + ", ".join(f"{name} R2 {values[-1]:.3f}" for name, values in scores.items()))
for name, values in scores.items():
    print(f"{name}: mean R2 {pd.Series(values).mean():.3f}, spread {pd.Series(values).std():.3f}")"""

_WEIGHTS = """\
ridge = models["ridge"].fit(X, y)
weights = pd.Series(ridge[-1].coef_, index=X.columns).sort_values()
weights.plot.barh(title="Ridge: points of progression per standard deviation", figsize=(7, 4))
plt.tight_layout()
plt.show()
print("strongest:", ", ".join(weights.abs().sort_values(ascending=False).index[:3]))"""


def check_installed() -> None:
    """Whether the cells can run; what a kernel in another environment has, it will show itself.

    Raises:
        MissingExtra: The kernel is of this environment, which lacks what they import.
    """
    try:
        program = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return
    if program in _OURS and not all(find_spec(name) for name in ("matplotlib", "pandas", "sklearn")):
        raise MissingExtra("demo", "The demo's data set")


def script() -> list[Turn]:
    """What the scripted model says, turn by turn; its conclusion is made from what the cells have printed."""
    return [
        calls(tool_call("get_notebook_info"), text="First a look at the notebook."),
        *_documented(_INTRODUCTION, _LOAD),
        *_documented("## Is the data sound?", _QUALITY),
        *_documented("## What goes with progression?", _PLOT),
        *_documented("## How well can it be predicted?\n\nFive folds; a linear model against a forest.", _MODEL),
        calls(tool_call("append_execute_code_cell", source=_WEIGHTS)),
        _conclude,
        "The notebook holds the analysis: data, quality, two figures, two cross-validated models and a summary.",
    ]


def _documented(markdown: str, code: str) -> Sequence[AIMessage]:
    """Two turns: the calls of one turn are made at the same time, and which comes first is not told."""
    return (
        calls(tool_call("append_markdown_cell", source=markdown)),
        calls(tool_call("append_execute_code_cell", source=code)),
    )


def _conclude(messages: Sequence[BaseMessage]) -> AIMessage:
    printed = "\n".join(message.text for message in messages if isinstance(message, ToolMessage))
    means = dict(re.findall(r"^(\w+): mean R2 (-?[\d.]+)", printed, re.MULTILINE))
    strongest = re.search(r"^strongest: (.+)$", printed, re.MULTILINE)
    sound = re.search(r"^(\d+ patients, .+)$", printed, re.MULTILINE)
    if not (means and strongest and sound):
        return AIMessage("A cell did not print what was expected; the notebook shows what it did print.")
    best = max(means, key=lambda name: float(means[name]))
    scores = ", ".join(f"{name} {value}" for name, value in means.items())
    summary = (
        "## Summary\n\n"
        f"- **Data**: {sound[1]}.\n"
        f"- **Prediction**: mean R² over five folds: {scores}. The {best} model explains about "
        f"{100 * float(means[best]):.0f}% of the variance in patients it has not seen.\n"
        f"- **What counts most**: {strongest[1]}.\n"
        "- **With care**: weights of correlated blood values are not causes, and more than half of the variance "
        "is not explained by these ten measurements."
    )
    return calls(tool_call("append_markdown_cell", source=summary))
