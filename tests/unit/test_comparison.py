"""What differs between two runs, and what differs at every run."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image, ImageDraw

from langchain_jupyter.analysis.comparison import differences


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def result(text: str) -> dict[str, Any]:
    return {"output_type": "execute_result", "data": {"text/plain": text}, "metadata": {}}


def error(name: str, value: str) -> dict[str, Any]:
    return {"output_type": "error", "ename": name, "evalue": value, "traceback": []}


def figure(*, bars: int = 3, dot: bool = False, size: int = 200) -> dict[str, Any]:
    image = Image.new("RGB", (size, 100), "white")
    draw = ImageDraw.Draw(image)
    for at in range(bars):
        draw.rectangle((at * 20, 20, at * 20 + 10, 90), fill="blue")
    if dot:
        draw.point((150, 50), fill="black")
    file = io.BytesIO()
    image.save(file, "PNG")
    data = {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": "<Figure size 200x100 with 1 Axes>"}
    return {"output_type": "display_data", "data": data, "metadata": {}}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<__main__.A object at 0x7f0011223344>", "<__main__.A object at 0x7fffeeddccbb>"),
        ("trained in 12.3 s", "trained in 9.87 s"),
        ("5.1 µs ± 20 ns per loop", "6 µs ± 31 ns per loop"),
        ("CPU times: user 3 ms, sys: 1 ms, total: 4 ms\nWall time: 5 ms", "CPU times: user 9 ms\nWall time: 1min 3s"),
        ("2026-11-24 10:00:01,123 start", "2026-11-25T09:59:59 start"),
        ("10:00:01 start", "9:59:59.25 start"),
        ("memory usage: 1.2+ MB", "memory usage: 1.2+ MB"),
        ("used 120.5 MiB", "used 98.1 MiB"),
        ("100%|###| 10/10 [00:03<00:00,  3.1it/s]", "100%|###| 10/10 [00:09<00:00,  1.05it/s]"),
        ("saved to /tmp/abc123/x.png", "saved to /tmp/zyx/x.png"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id 00000000-e89b-12d3-a456-426614174000"),
        ("loss 0.123456789", "loss 0.123456790"),
        ("trailing  \n", "trailing"),
        ("\x1b[31mred\x1b[0m", "red"),
    ],
)
def test_what_differs_at_every_run_is_the_same(old: str, new: str) -> None:
    assert differences([stream(old)], [stream(new)]) == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ([stream("rows 891")], [stream("rows 714")], "output: rows 891 -> rows 714"),
        ([result("0.91")], [result("0.87")], "result: 0.91 -> 0.87"),
        (
            [result("   a  b\n0  1  2\n1  3  4\n2  5  6")],
            [result("   a  b\n0  1  2\n1  3  7\n2  5  8")],
            "result: 1 3 4 -> 1 3 7 and 1 more lines",
        ),
        ([stream("a\n")], [], "output is gone: a"),
        ([], [result("a")], "result is new: a"),
        ([result("1")], [error("NameError", "name 'x' is not defined")], "now fails with NameError: name 'x' is not"),
        ([error("KeyError", "'x'")], [result("1")], "failed before with KeyError: 'x'"),
        ([error("KeyError", "'x'")], [error("ValueError", "y")], "error KeyError: 'x' -> ValueError: y"),
        ([figure()], [figure(bars=5)], "figure differs in 7.8% of its pixels"),
        ([figure()], [figure(), figure()], "1 figures -> 2"),
        ([figure()], [figure(size=201)], "figure differs in 100.0% of its pixels"),
    ],
)
def test_what_has_changed_is_told(old: list[Any], new: list[Any], said: str) -> None:
    assert said in differences(old, new)


def test_figures_that_differ_in_a_pixel_are_the_same() -> None:
    assert differences([figure()], [figure(dot=True)]) == ""


def test_warnings_are_no_difference() -> None:
    assert differences([stream("warning a", "stderr")], [stream("warning b", "stderr")]) == ""


def test_long_outputs_are_compared_in_a_moment() -> None:
    import time

    old, new = ("\n".join(str(n * k) for n in range(20_000)) for k in (3, 7))
    started = time.process_time()

    assert differences([stream(old)], [stream(new)])

    assert time.process_time() - started < 30
