"""The widgets of a run in words, as their messages tell of them: a bar of tqdm.notebook, a slider, a form. Pure.

Source: https://ipywidgets.readthedocs.io/en/stable/examples/Widget%20Low%20Level.html
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

VIEW = "application/vnd.jupyter.widget-view+json"
"""MIME type of an output in which a widget is shown."""

_TARGET = "jupyter.widget"
_REFERENCE = "IPY_MODEL_"
_KEPT = ("_model_name", "children", "description", "index", "max", "min", "outputs", "value", "_options_labels")
_MODELS = 2_000
_CLIP = 2_000
_LONGEST = 5_000
_DEPTH = 20
_BAR = 10
_TAG = re.compile(r"<[^>]*>")
_ASIDE = re.compile(r"(Layout|Style)Model\Z")


class Widgets:
    """The state of each widget that a run makes, from the messages of their comms."""

    def __init__(self) -> None:
        self._states: dict[str, dict[str, Any]] = {}
        self._room = 0

    def feed(self, msg_type: str, content: Mapping[str, Any]) -> None:
        """Take one message; others than those of widgets are left alone."""
        data = content.get("data")
        if not isinstance(data, Mapping) or not isinstance(data.get("state"), Mapping):
            return
        state, comm = data["state"], str(content.get("comm_id"))
        if msg_type == "comm_open" and content.get("target_name") == _TARGET:
            if len(self._states) < _MODELS and not _ASIDE.search(str(state.get("_model_name"))):
                self._states[comm] = _kept(state)
        elif msg_type == "comm_msg" and comm in self._states:
            self._states[comm].update(_kept(state))

    def text(self, data: Mapping[str, Any]) -> str | None:
        """What the widget of a MIME bundle shows now; None if it is none, or not all of it was made in this run."""
        view = data.get(VIEW)
        if not self._states or not isinstance(view, Mapping):
            return None
        try:
            self._room = _MODELS
            said = self._said(str(view.get("model_id")), _DEPTH)
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
            return None
        return said[:_LONGEST]

    def _said(self, model: str, depth: int) -> str:
        """Words for one widget and what is in it.

        Raises:
            KeyError: It was not made in this run.
            TypeError, ValueError, IndexError, ZeroDivisionError: Its state is not as that of such a widget is.
        """
        state, self._room = self._states[model], self._room - 1
        name = str(state["_model_name"]).removesuffix("Model")
        if "children" in state:
            if not depth or self._room < 0:
                raise ValueError("widgets within widgets without end")
            inner = [self._said(str(child).removeprefix(_REFERENCE), depth - 1) for child in state["children"]]
            return (" " if name == "HBox" else "\n").join(each for each in inner if each)
        label = _words(state.get("description"))
        if name in ("FloatProgress", "IntProgress"):
            return f"{label} {_bar(float(state['value']), float(state['min']), float(state['max']))}".strip()
        if name in ("HTML", "HTMLMath", "Label"):
            return f"{label} {_words(state.get('value'))}".strip()
        if name == "Output":
            return "".join(_output(each) for each in state.get("outputs") or ())
        return f"{name} {label}: {_value(state)}" if label else f"{name}: {_value(state)}"


def _kept(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: state[key][:_CLIP] if isinstance(state[key], str) else state[key] for key in _KEPT if key in state}


def _words(value: Any) -> str:
    """Text of the HTML of a label; what tqdm pads with are spaces."""
    text = html.unescape(_TAG.sub("", str(value or "")))
    return " ".join(text.split())


def _bar(value: float, low: float, high: float) -> str:
    done = min(max((value - low) / (high - low), 0), 1)
    return f"|{'█' * round(done * _BAR):{_BAR}}|"


def _value(state: Mapping[str, Any]) -> str:
    options = state.get("_options_labels")
    if options and isinstance(state.get("index"), int):
        return str(options[state["index"]])
    return str(state.get("value", ""))


def _output(output: Mapping[str, Any]) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain") or output.get("evalue") or "")
