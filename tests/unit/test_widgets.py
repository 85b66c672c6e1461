"""Widgets in words, from the messages of their comms."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_jupyter.outputs import Outputs
from langchain_jupyter.widgets import VIEW, Widgets


def opened(widgets: Widgets, comm: str, model: str, **state: Any) -> None:
    content = {"comm_id": comm, "target_name": "jupyter.widget", "data": {"state": {"_model_name": model, **state}}}
    widgets.feed("comm_open", content)


def view(comm: str) -> dict[str, Any]:
    return {VIEW: {"model_id": comm}, "text/plain": "as it was"}


def moved(comm: str, **state: Any) -> dict[str, Any]:
    return {"comm_id": comm, "data": {"method": "update", "state": state}}


def test_a_bar_is_told_as_it_is_now() -> None:
    widgets = Widgets()
    opened(widgets, "a", "HTMLModel", value="training:")
    opened(widgets, "b", "FloatProgressModel", value=0.0, min=0.0, max=50.0)
    opened(widgets, "c", "HTMLModel", value="")
    opened(widgets, "box", "HBoxModel", children=["IPY_MODEL_a", "IPY_MODEL_b", "IPY_MODEL_c"])

    widgets.feed("comm_msg", moved("b", value=25.0))
    widgets.feed("comm_msg", moved("c", value="\u200725/50\u2007[00:01&lt;00:01]"))

    assert widgets.text(view("box")) == "training: |█████     | 25/50 [00:01<00:01]"


@pytest.mark.parametrize(
    ("model", "state", "text"),
    [
        ("IntSliderModel", {"description": "n", "value": 7}, "IntSlider n: 7"),
        ("DropdownModel", {"_options_labels": ["a", "b"], "index": 1}, "Dropdown: b"),
        ("HTMLModel", {"value": "<b>bold</b> text"}, "bold text"),
        ("CheckboxModel", {"description": "on", "value": True}, "Checkbox on: True"),
        ("OutputModel", {"outputs": [{"text": "said\n"}, {"data": {"text/plain": "5"}}]}, "said\n5"),
        ("ImageModel", {}, "Image: "),
    ],
)
def test_a_control_is_told_by_its_value(model: str, state: dict[str, Any], text: str) -> None:
    widgets = Widgets()
    opened(widgets, "a", model, **state)

    assert widgets.text(view("a")) == text


@pytest.mark.parametrize(
    "state",
    [
        {"children": ["IPY_MODEL_elsewhere"]},
        {"children": ["IPY_MODEL_a"]},
        {"children": 5},
        {"_model_name": "IntProgressModel", "value": 1, "min": 0, "max": 0},
        {"_model_name": "IntProgressModel", "value": "x", "min": 0, "max": 1},
        {"_options_labels": ["a"], "index": 4},
    ],
)
def test_a_widget_that_is_not_known_whole_is_left_as_it_was(state: dict[str, Any]) -> None:
    widgets = Widgets()
    opened(widgets, "a", "BoxModel", **state)

    assert widgets.text(view("a")) is None
    assert widgets.text({"text/plain": "no widget"}) is None


def test_what_a_widget_says_is_bounded() -> None:
    widgets = Widgets()
    opened(widgets, "a", "HTMLModel", value="x" * 1_000_000)
    opened(widgets, "box", "VBoxModel", children=["IPY_MODEL_a"] * 1_000)

    said = widgets.text(view("box"))

    assert said is not None
    assert len(said) <= 5_000


def test_boxes_that_hold_each_other_many_times_are_given_up() -> None:
    widgets = Widgets()
    opened(widgets, "0", "HTMLModel", value="x")
    for n in range(1, 19):
        opened(widgets, str(n), "HBoxModel", children=[f"IPY_MODEL_{n - 1}"] * 10)

    assert widgets.text(view("18")) is None


def test_the_outputs_of_a_run_end_with_the_last_state_of_a_widget() -> None:
    outputs = Outputs()
    state = {"_model_name": "IntProgressModel", "value": 0, "min": 0, "max": 4}
    outputs.feed("comm_open", {"comm_id": "a", "target_name": "jupyter.widget", "data": {"state": state}})
    outputs.feed("display_data", {"data": view("a")})
    first = outputs.take()
    outputs.feed("comm_msg", moved("a", value=4))
    meanwhile = outputs.take()
    outputs.finish()
    last = outputs.take()

    assert first is not None
    assert first.added[0]["data"]["text/plain"] == "|          |"
    assert meanwhile is None
    assert last is not None
    assert last.rewritten
    assert last.everything[0]["data"]["text/plain"] == "|██████████|"
    assert outputs.take() is None
