from __future__ import annotations

import base64
import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from langchain_jupyter.errors import InvalidArgument
from langchain_jupyter.kernels.conversation import GAP
from langchain_jupyter.kernels.kernel import UNFINISHED
from langchain_jupyter.kernels.request import UNHEARD
from langchain_jupyter.models import Cell, ErrorInfo, Execution, KernelInfo, NotebookInfo
from langchain_jupyter.rendering.cells import render_cell, render_cells, state_of
from langchain_jupyter.rendering.outline import render_diff, render_outline
from langchain_jupyter.rendering.references import References
from langchain_jupyter.rendering.render import Rendered, render_execution
from langchain_jupyter.settings import OutputLimits
from tests.snapshots import check

# Sent by ipykernel 7.4 with IPython 9.18 on Python 3.11.
TRACEBACKS = {
    "two_cells": [
        ("\x1b[31m---------------------------------------------------------------------------\x1b[39m"),
        ("\x1b[31mZeroDivisionError\x1b[39m                         Traceback (most recent call last)"),
        (
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[2]\x1b[39m\x1b[32m, line 5\x1b[39m\n"
            "\x1b[32m      1\x1b[39m \x1b[38;5;28;01mdef\x1b[39;00m g(x):\n"
            "\x1b[32m      2\x1b[39m     y = x\n"
            "\x1b[32m      3\x1b[39m     \x1b[38;5;28;01mreturn\x1b[39;00m f(y)\n"
            "\x1b[32m      4\x1b[39m \n"
            "\x1b[32m----> \x1b[39m\x1b[32m5\x1b[39m g(\x1b[32m0\x1b[39m)\n"
        ),
        (
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[2]\x1b[39m\x1b[32m, line 3\x1b[39m, in \x1b[36mg\x1b"
            "[39m\x1b[34m(x)\x1b[39m\n"
            "\x1b[32m      1\x1b[39m \x1b[38;5;28;01mdef\x1b[39;00m g(x):\n"
            "\x1b[32m      2\x1b[39m     y = x\n"
            "\x1b[32m----> \x1b[39m\x1b[32m3\x1b[39m     \x1b[38;5;28;01mreturn\x1b[39;00m f(y)\n"
        ),
        (
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[1]\x1b[39m\x1b[32m, line 2\x1b[39m, in \x1b[36mf\x1b"
            "[39m\x1b[34m(x)\x1b[39m\n"
            "\x1b[32m      1\x1b[39m \x1b[38;5;28;01mdef\x1b[39;00m f(x):\n"
            "\x1b[32m----> \x1b[39m\x1b[32m2\x1b[39m     \x1b[38;5;28;01mreturn\x1b[39;00m \x1b[32m1\x1b[39"
            "m / x\n"
        ),
        ("\x1b[31mZeroDivisionError\x1b[39m: division by zero"),
    ],
    "json": [
        ("\x1b[31m---------------------------------------------------------------------------\x1b[39m"),
        ("\x1b[31mJSONDecodeError\x1b[39m                           Traceback (most recent call last)"),
        (
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[3]\x1b[39m\x1b[32m, line 4\x1b[39m\n"
            "\x1b[32m      1\x1b[39m \x1b[38;5;28;01mimport\x1b[39;00m json\n"
            "\x1b[32m      2\x1b[39m \x1b[38;5;28;01mdef\x1b[39;00m load(t):\n"
            "\x1b[32m      3\x1b[39m     \x1b[38;5;28;01mreturn\x1b[39;00m json.loads(t)\n"
            "\x1b[32m----> \x1b[39m\x1b[32m4\x1b[39m load(\x1b[33m'{bad'\x1b[39m)\n"
        ),
        (
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[3]\x1b[39m\x1b[32m, line 3\x1b[39m, in \x1b[36mlo"
            "ad\x1b[39m\x1b[34m(t)\x1b[39m\n"
            "\x1b[32m      2\x1b[39m \x1b[38;5;28;01mdef\x1b[39;00m load(t):\n"
            "\x1b[32m----> \x1b[39m\x1b[32m3\x1b[39m     \x1b[38;5;28;01mreturn\x1b[39;00m json.loads"
            "(t)\n"
        ),
        (
            "\x1b[36mFile \x1b[39m\x1b[32m~/.pyenv/versions/3.11.7/lib/python3.11/json/__ini"
            "t__.py:346\x1b[39m, in \x1b[36mloads\x1b[39m\x1b[34m(s, cls, object_hook, parse_fl"
            "oat, parse_int, parse_constant, object_pairs_hook, **kw)\x1b[39m\n"
            "\x1b[32m    341\x1b[39m     s = s.decode(detect_encoding(s), \x1b[33m'\x1b[39m\x1b[33"
            "msurrogatepass\x1b[39m\x1b[33m'\x1b[39m)\n"
            "\x1b[32m    343\x1b[39m \x1b[38;5;28;01mif\x1b[39;00m (\x1b[38;5;28mcls\x1b[39m \x1b[38;5;1"
            "29;01mis\x1b[39;00m \x1b[38;5;28;01mNone\x1b[39;00m \x1b[38;5;129;01mand\x1b[39;00m o"
            "bject_hook \x1b[38;5;129;01mis\x1b[39;00m \x1b[38;5;28;01mNone\x1b[39;00m \x1b[38;5;1"
            "29;01mand\x1b[39;00m\n"
            "\x1b[32m    344\x1b[39m         parse_int \x1b[38;5;129;01mis\x1b[39;00m \x1b[38;5;28"
            ";01mNone\x1b[39;00m \x1b[38;5;129;01mand\x1b[39;00m parse_float \x1b[38;5;129;01mi"
            "s\x1b[39;00m \x1b[38;5;28;01mNone\x1b[39;00m \x1b[38;5;129;01mand\x1b[39;00m\n"
            "\x1b[32m    345\x1b[39m         parse_constant \x1b[38;5;129;01mis\x1b[39;00m \x1b[38"
            ";5;28;01mNone\x1b[39;00m \x1b[38;5;129;01mand\x1b[39;00m object_pairs_hook \x1b[38"
            ";5;129;01mis\x1b[39;00m \x1b[38;5;28;01mNone\x1b[39;00m \x1b[38;5;129;01mand\x1b[39;0"
            "0m \x1b[38;5;129;01mnot\x1b[39;00m kw):\n"
            "\x1b[32m--> \x1b[39m\x1b[32m346\x1b[39m     \x1b[38;5;28;01mreturn\x1b[39;00m \x1b[30;43m_d"
            "efault_decoder\x1b[39;49m\x1b[30;43m.\x1b[39;49m\x1b[30;43mdecode\x1b[39;49m\x1b[30;43m("
            "\x1b[39;49m\x1b[30;43ms\x1b[39;49m\x1b[30;43m)\x1b[39;49m\n"
            "\x1b[32m    347\x1b[39m \x1b[38;5;28;01mif\x1b[39;00m \x1b[38;5;28mcls\x1b[39m \x1b[38;5;12"
            "9;01mis\x1b[39;00m \x1b[38;5;28;01mNone\x1b[39;00m:\n"
            "\x1b[32m    348\x1b[39m     \x1b[38;5;28mcls\x1b[39m = JSONDecoder\n"
        ),
        (
            "\x1b[36mFile \x1b[39m\x1b[32m~/.pyenv/versions/3.11.7/lib/python3.11/json/decod"
            "er.py:337\x1b[39m, in \x1b[36mJSONDecoder.decode\x1b[39m\x1b[34m(self, s, _w)\x1b[39m"
            "\n"
            "\x1b[32m    332\x1b[39m \x1b[38;5;28;01mdef\x1b[39;00m\x1b[38;5;250m \x1b[39m\x1b[34mdecode"
            "\x1b[39m(\x1b[38;5;28mself\x1b[39m, s, _w=WHITESPACE.match):\n"
            '\x1b[32m    333\x1b[39m \x1b[38;5;250m    \x1b[39m\x1b[33;03m"""Return the Python rep'
            "resentation of ``s`` (a ``str`` instance\x1b[39;00m\n"
            "\x1b[32m    334\x1b[39m \x1b[33;03m    containing a JSON document).\x1b[39;00m\n"
            "\x1b[32m    335\x1b[39m \n"
            '\x1b[32m    336\x1b[39m \x1b[33;03m    """\x1b[39;00m\n'
            "\x1b[32m--> \x1b[39m\x1b[32m337\x1b[39m     obj, end = \x1b[30;43mself\x1b[39;49m\x1b[30;43"
            "m.\x1b[39;49m\x1b[30;43mraw_decode\x1b[39;49m\x1b[30;43m(\x1b[39;49m\x1b[30;43ms\x1b[39;49m"
            "\x1b[30;43m,\x1b[39;49m\x1b[30;43m \x1b[39;49m\x1b[30;43midx\x1b[39;49m\x1b[30;43m=\x1b[39;49m"
            "\x1b[30;43m_w\x1b[39;49m\x1b[30;43m(\x1b[39;49m\x1b[30;43ms\x1b[39;49m\x1b[30;43m,\x1b[39;49m\x1b"
            "[30;43m \x1b[39;49m\x1b[30;43m0\x1b[39;49m\x1b[30;43m)\x1b[39;49m\x1b[30;43m.\x1b[39;49m\x1b[3"
            "0;43mend\x1b[39;49m\x1b[30;43m(\x1b[39;49m\x1b[30;43m)\x1b[39;49m\x1b[30;43m)\x1b[39;49m\n"
            "\x1b[32m    338\x1b[39m     end = _w(s, end).end()\n"
            "\x1b[32m    339\x1b[39m     \x1b[38;5;28;01mif\x1b[39;00m end != \x1b[38;5;28mlen\x1b[39"
            "m(s):\n"
        ),
        (
            "\x1b[36mFile \x1b[39m\x1b[32m~/.pyenv/versions/3.11.7/lib/python3.11/json/decod"
            "er.py:353\x1b[39m, in \x1b[36mJSONDecoder.raw_decode\x1b[39m\x1b[34m(self, s, idx)"
            "\x1b[39m\n"
            '\x1b[32m    344\x1b[39m \x1b[38;5;250m\x1b[39m\x1b[33;03m"""Decode a JSON document fr'
            "om ``s`` (a ``str`` beginning with\x1b[39;00m\n"
            "\x1b[32m    345\x1b[39m \x1b[33;03ma JSON document) and return a 2-tuple of the"
            " Python\x1b[39;00m\n"
            "\x1b[32m    346\x1b[39m \x1b[33;03mrepresentation and the index in ``s`` where "
            "the document ended.\x1b[39;00m\n"
            "\x1b[32m   (...)\x1b[39m\x1b[32m    350\x1b[39m \n"
            '\x1b[32m    351\x1b[39m \x1b[33;03m"""\x1b[39;00m\n'
            "\x1b[32m    352\x1b[39m \x1b[38;5;28;01mtry\x1b[39;00m:\n"
            "\x1b[32m--> \x1b[39m\x1b[32m353\x1b[39m     obj, end = \x1b[30;43mself\x1b[39;49m\x1b[30;43"
            "m.\x1b[39;49m\x1b[30;43mscan_once\x1b[39;49m\x1b[30;43m(\x1b[39;49m\x1b[30;43ms\x1b[39;49m\x1b"
            "[30;43m,\x1b[39;49m\x1b[30;43m \x1b[39;49m\x1b[30;43midx\x1b[39;49m\x1b[30;43m)\x1b[39;49m\n"
            "\x1b[32m    354\x1b[39m \x1b[38;5;28;01mexcept\x1b[39;00m \x1b[38;5;167;01mStopIterat"
            "ion\x1b[39;00m \x1b[38;5;28;01mas\x1b[39;00m err:\n"
            "\x1b[32m    355\x1b[39m     \x1b[38;5;28;01mraise\x1b[39;00m JSONDecodeError(\x1b[33m"
            '"\x1b[39m\x1b[33mExpecting value\x1b[39m\x1b[33m"\x1b[39m, s, err.value) \x1b[38;5;28;01'
            "mfrom\x1b[39;00m\x1b[38;5;250m \x1b[39m\x1b[38;5;28;01mNone\x1b[39;00m\n"
        ),
        (
            "\x1b[31mJSONDecodeError\x1b[39m: Expecting property name enclosed in double "
            "quotes: line 1 column 2 (char 1)"
        ),
    ],
    "syntax": [
        (
            "  \x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[5]\x1b[39m\x1b[32m, line 2\x1b[39m\n"
            "\x1b[31m    \x1b[39m\x1b[31mfor i in range(3)\x1b[39m\n"
            "                     ^\n"
            "\x1b[31mSyntaxError\x1b[39m\x1b[31m:\x1b[39m expected ':'\n"
        ),
    ],
    "chain": [
        ("\x1b[31m---------------------------------------------------------------------------\x1b[39m"),
        ("\x1b[31mZeroDivisionError\x1b[39m                         Traceback (most recent call last)"),
        (
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[6]\x1b[39m\x1b[32m, line 5\x1b[39m, in \x1b[36mh\x1b"
            "[39m\x1b[34m()\x1b[39m\n"
            "\x1b[32m      3\x1b[39m         f(\x1b[32m0\x1b[39m)\n"
            "\x1b[32m      4\x1b[39m     \x1b[38;5;28;01mexcept\x1b[39;00m ZeroDivisionError:\n"
            "\x1b[32m----> \x1b[39m\x1b[32m5\x1b[39m         \x1b[38;5;28;01mraise\x1b[39;00m KeyErro"
            "r(\x1b[33m'k'\x1b[39m)\n"
        ),
        (
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[1]\x1b[39m\x1b[32m, line 2\x1b[39m, in \x1b[36mf\x1b"
            "[39m\x1b[34m(x)\x1b[39m\n"
            "\x1b[32m      1\x1b[39m \x1b[38;5;28;01mdef\x1b[39;00m f(x):\n"
            "\x1b[32m----> \x1b[39m\x1b[32m2\x1b[39m     \x1b[38;5;28;01mreturn\x1b[39;00m \x1b[32m1\x1b[39"
            "m / x\n"
        ),
        ("\x1b[31mZeroDivisionError\x1b[39m: division by zero"),
        ("\nDuring handling of the above exception, another exception occurred:\n"),
        ("\x1b[31mKeyError\x1b[39m                                  Traceback (most recent call last)"),
        (
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[6]\x1b[39m\x1b[32m, line 6\x1b[39m\n"
            "\x1b[32m      2\x1b[39m     \x1b[38;5;28;01mtry\x1b[39;00m:\n"
            "\x1b[32m      3\x1b[39m         f(\x1b[32m0\x1b[39m)\n"
            "\x1b[32m      4\x1b[39m     \x1b[38;5;28;01mexcept\x1b[39;00m ZeroDivisionError:\n"
            "\x1b[32m      5\x1b[39m         \x1b[38;5;28;01mraise\x1b[39;00m KeyError(\x1b[33m'k'"
            "\x1b[39m)\n"
            "\x1b[32m----> \x1b[39m\x1b[32m6\x1b[39m h()\n"
        ),
        (
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[6]\x1b[39m\x1b[32m, line 5\x1b[39m, in \x1b[36mh\x1b"
            "[39m\x1b[34m()\x1b[39m\n"
            "\x1b[32m      1\x1b[39m \x1b[38;5;28;01mdef\x1b[39;00m h():\n"
            "\x1b[32m      2\x1b[39m     \x1b[38;5;28;01mtry\x1b[39;00m:\n"
            "\x1b[32m      3\x1b[39m         f(\x1b[32m0\x1b[39m)\n"
            "\x1b[32m      4\x1b[39m     \x1b[38;5;28;01mexcept\x1b[39;00m ZeroDivisionError:\n"
            "\x1b[32m----> \x1b[39m\x1b[32m5\x1b[39m         \x1b[38;5;28;01mraise\x1b[39;00m KeyErro"
            "r(\x1b[33m'k'\x1b[39m)\n"
        ),
        ("\x1b[31mKeyError\x1b[39m: 'k'"),
    ],
    "interrupt": [
        ("\x1b[31m---------------------------------------------------------------------------\x1b[39m"),
        ("\x1b[31mKeyboardInterrupt\x1b[39m                         Traceback (most recent call last)"),
        (
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[17]\x1b[39m\x1b[32m, line 4\x1b[39m\n"
            "\x1b[32m      1\x1b[39m \x1b[38;5;28;01mimport\x1b[39;00m time\n"
            "\x1b[32m      2\x1b[39m \x1b[38;5;28;01mdef\x1b[39;00m wait():\n"
            "\x1b[32m      3\x1b[39m     time.sleep(\x1b[32m60\x1b[39m)\n"
            "\x1b[32m----> \x1b[39m\x1b[32m4\x1b[39m wait()\n"
        ),
        (
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[17]\x1b[39m\x1b[32m, line 3\x1b[39m, in \x1b[36mw"
            "ait\x1b[39m\x1b[34m()\x1b[39m\n"
            "\x1b[32m      2\x1b[39m \x1b[38;5;28;01mdef\x1b[39;00m wait():\n"
            "\x1b[32m----> \x1b[39m\x1b[32m3\x1b[39m     time.sleep(\x1b[32m60\x1b[39m)\n"
        ),
        ("\x1b[31mKeyboardInterrupt\x1b[39m: "),
    ],
    "note": [
        ("\x1b[31m---------------------------------------------------------------------------\x1b[39m"),
        ("\x1b[31mValueError\x1b[39m                                Traceback (most recent call last)"),
        (
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[15]\x1b[39m\x1b[32m, line 1\x1b[39m\n"
            "\x1b[32m----> \x1b[39m\x1b[32m1\x1b[39m e = ValueError(\x1b[33m'x'\x1b[39m); e.add_note("
            "\x1b[33m'a note'\x1b[39m); \x1b[38;5;28;01mraise\x1b[39;00m e\n"
        ),
        ("\x1b[31mValueError\x1b[39m: x"),
        ("a note"),
    ],
}
ERRORS = {
    "two_cells": ("ZeroDivisionError", "division by zero"),
    "json": ("JSONDecodeError", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    "syntax": ("SyntaxError", "expected ':' (71851470.py, line 2)"),
    "chain": ("KeyError", "'k'"),
    "interrupt": ("KeyboardInterrupt", ""),
    "note": ("ValueError", "x"),
}
RECURSION = [
    "-" * 75,
    "RecursionError   Traceback (most recent call last)",
    *[
        (
            "\x1b[36mCell\x1b[39m\x1b[36m \x1b[39m\x1b[32mIn[8]\x1b[39m\x1b[32m, line 2\x1b[39m, in \x1b[36mr\x1b"
            "[39m\x1b[34m(n)\x1b[39m\n"
            "\x1b[32m      1\x1b[39m \x1b[38;5;28;01mdef\x1b[39;00m r(n):\n"
            "\x1b[32m----> \x1b[39m\x1b[32m2\x1b[39m     \x1b[38;5;28;01mreturn\x1b[39;00m r(n+\x1b[32m1"
            "\x1b[39m)\n"
        )
    ]
    * 900,
    "RecursionError: too deep",
]

LIMITS = OutputLimits()
HANDLES = {1: "f00d", 2: "a1b2", 3: "a1b2", 4: "a1b2", 5: "a1b2", 6: "a1b2"}
HOSTILE = [
    "</output>",
    "</OUTPUT >",
    "<output>",
    "< /\u200boutput>",
    "</source>",
    "</traceback>",
    "</diff>",
    "[the line above 3 times more]",
    "ffff ok 1.0s [1]",
    "\n",
    "\r",
    "\u2028",
    "\x1b[31m",
    "\x0b",
    "<",
    "/output>",
    "EVIL",
]
TEXTS = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=20), max_size=30).map("".join)
STREAMS = st.builds(
    lambda text, name: {"output_type": "stream", "name": name, "text": text},
    TEXTS,
    st.sampled_from(["stdout", "stderr"]),
)
BUNDLES = st.dictionaries(
    st.sampled_from(
        ["text/plain", "text/html", "text/markdown", "image/png", "image/svg+xml", "audio/wav", "x/<output>\nEVIL"]
    ),
    TEXTS,
).map(lambda data: {"output_type": "display_data", "data": data, "metadata": {}})
FAULTS = st.builds(
    lambda name, value, lines: {"output_type": "error", "ename": name, "evalue": value, "traceback": lines},
    TEXTS,
    TEXTS,
    st.lists(TEXTS | st.sampled_from(TRACEBACKS["json"]), max_size=6),
)
OUTPUTS = st.lists(STREAMS | BUNDLES | FAULTS, max_size=8)
SIZES = st.builds(OutputLimits, per_output=st.integers(1, 800), per_call=st.integers(1, 2_000))
STATUSES = st.sampled_from(["ok", "error", "running", "input", "interrupted", "died"])
OURS = re.compile(
    r"\[(?:[\d,]+ of [\d,]+ (?:lines|characters) left out.*|the line above [\d,]+ times more|left out: .*"
    r"|image o\d+ .*|o\d+ .*, not shown"
    r"|the whole traceback: .*|cells \d.*|no cells of .*|\d+ cells from .*|\d+ of \d+ cells match)\]"
)


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def display(**data: str) -> dict[str, Any]:
    return {
        "output_type": "display_data",
        "data": {mime.replace("_", "/"): text for mime, text in data.items()},
        "metadata": {},
    }


def figure(width: int = 64, height: int = 48) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def failed(sample: str, status: Any = "error") -> Execution:
    name, value = ERRORS[sample]
    error = {"output_type": "error", "ename": name, "evalue": value, "traceback": TRACEBACKS[sample]}
    return Execution("e1", "a1b2c3d4", status, 9, [error], 0.1, ErrorInfo(name, value, TRACEBACKS[sample]))


def run(*outputs: dict[str, Any], limits: OutputLimits = LIMITS, **facts: Any) -> Rendered:
    execution = Execution(
        **{"ref": "e7", "cell_id": "a1b2c3d4", "status": "ok", "execution_count": 8, "duration": 1.2, **facts},
        outputs=outputs,
    )
    return rendered(execution, limits=limits)


def rendered(execution: Execution, limits: OutputLimits = LIMITS) -> Rendered:
    return render_execution(
        execution,
        handle="a1b2" if execution.cell_id else "scratch",
        limits=limits,
        references=References(),
        cell_of=HANDLES.get,
    )


def read(cells: list[Cell], limits: OutputLimits = LIMITS, **options: Any) -> Rendered:
    return render_cells(
        cells,
        handle_of=lambda cell_id: cell_id[:4],
        limits=limits,
        references=References(),
        cell_of=HANDLES.get,
        **options,
    )


def text_of(result: Rendered) -> str:
    return "\n".join(block["text"] if block["type"] == "text" else "<image block>" for block in result.content)


def notebook(count: int, source: str = "x = 1") -> list[Cell]:
    return [
        Cell(f"{number:04x}cafe", "code", f"{source}\n# {number}", number + 1, [stream(f"out {number}")])
        for number in range(count)
    ]


def outside(text: str) -> list[str]:
    """The lines that stand in no fence, but the first."""
    lines, closing = [], ""
    for line in text.split("\n")[1:]:
        if closing:
            closing = "" if line == closing else closing
        elif opened := re.fullmatch(r"<(output|traceback|source|diff)(?: stderr)?>", line):
            closing = f"</{opened[1]}>"
        else:
            lines.append(line)
    assert not closing, "a fence is left open"
    return lines


def assert_sound(result: Rendered, limits: OutputLimits) -> None:
    texts = [block["text"] for block in result.content if block["type"] == "text"]
    assert texts
    assert all(texts)
    assert sum(map(len, texts)) <= limits.per_call
    assert json.loads(json.dumps(result.artifact)) == result.artifact


@pytest.mark.parametrize("sample", sorted(TRACEBACKS))
def test_a_traceback_is_the_exception_and_the_users_frames(sample: str) -> None:
    result = rendered(failed(sample, "interrupted" if sample == "interrupt" else "error"))

    check(f"render/traceback_{sample}", text_of(result))


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("ok", {}),
        (
            "error",
            {"status": "error", "execution_count": 9, "error": ErrorInfo("ZeroDivisionError", "division by zero")},
        ),
        ("running", {"status": "running", "duration": 30.0}),
        ("input", {"status": "input", "prompt": "name? ", "duration": 0.2}),
        ("interrupted", {"status": "interrupted", "duration": 5.0}),
        ("died", {"status": "died", "note": "the kernel ended (out of memory?) and was restarted.", "duration": 3.0}),
        ("scratch", {"cell_id": None, "execution_count": None}),
    ],
)
def test_the_first_line_says_how_it_went(name: str, facts: dict[str, Any]) -> None:
    result = run(stream("epoch 2/50\nepoch 3/50 loss 0.41\n\n"), **facts)

    check(f"render/status_{name}", text_of(result))


def test_a_run_whose_line_broke_twice_still_says_that_it_was_not_run_again() -> None:
    result = run(status="lost", note=f"{GAP} {UNFINISHED} {UNHEARD}")

    assert f": {GAP} {UNFINISHED} {UNHEARD}" in text_of(result).splitlines()[0]


def test_a_long_output_is_head_and_tail_with_counts() -> None:
    result = run(stream("".join(f"row {number}\n" for number in range(20_000))), limits=OutputLimits(per_output=400))

    check("render/cut_lines", text_of(result))
    assert result.artifact["truncated"]


def test_a_single_long_line_is_cut_inside() -> None:
    result = run(stream("x" * 100_000), limits=OutputLimits(per_output=900))

    check("render/cut_characters", text_of(result))


def test_the_tail_of_a_very_long_line_is_its_own_end() -> None:
    result = run(stream("x" * 1_000_000 + "END\n"), limits=OutputLimits(per_output=900))

    assert "xEND\n</output>" in text_of(result)


def test_an_output_of_very_many_lines_is_counted_in_full() -> None:
    result = run(stream("".join(f"row {number}\n" for number in range(200_000))), limits=OutputLimits(per_output=400))

    text = text_of(result)
    shown = len(re.findall(r"^row \d+$", text, re.MULTILINE))
    assert f"[{200_000 - shown:,} of 200,000 lines left out" in text
    assert "row 199999\n</output>" in text


def test_a_budget_without_room_for_a_fence_shows_no_empty_line() -> None:
    result = run(stream("</output>"), limits=OutputLimits(per_output=1, per_call=18))

    assert text_of(result) == "a1b2 ok 1.2s [8]"


def test_runs_of_the_same_line_are_folded() -> None:
    result = run(stream("a\n" + "warning\n" * 199 + "b\n"))

    check("render/folded", text_of(result))


def test_an_image_is_shown_instead_of_its_repr() -> None:
    result = run(display(image_png=figure(), text_plain="<Figure size 640x480 with 1 Axes>"))

    check("render/image", text_of(result))
    assert result.content[1] == {"type": "image", "base64": figure(), "mime_type": "image/png"}
    assert figure() not in json.dumps(result.artifact)


def test_the_fourth_image_is_named_by_reference() -> None:
    result = run(*(display(image_png=figure(60 + number)) for number in range(5)))

    check("render/images", text_of(result))


def test_an_image_that_is_damaged_is_named_by_reference() -> None:
    result = run(display(image_png="bm9uZQ=="))

    assert "not shown" in text_of(result)


def test_html_wins_over_a_mere_repr_and_keeps_its_tables() -> None:
    table = "<style>td {color: red}</style><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>x_y</td></tr></table>"

    result = run(display(text_html=table, text_plain="<pandas.io.formats.style.Styler at 0x7f00>"))

    check("render/html", text_of(result))


def test_plain_text_wins_over_html() -> None:
    assert "<b>" not in text_of(run(display(text_html="<b>no</b>", text_plain="yes")))


def test_html_nested_without_end_is_reduced_all_the_same() -> None:
    assert "deep" in text_of(run(display(text_html="<div>" * 20_000 + "deep")))


def test_what_cannot_be_shown_is_named() -> None:
    result = run(display(audio_wav="A" * 120_000, text_plain="<IPython.lib.display.Audio object>"))

    check("render/audio", text_of(result))


def test_outputs_that_do_not_fit_are_one_reference_but_the_last_and_the_traceback_are_shown() -> None:
    error = {"output_type": "error", "ename": "E", "evalue": "v", "traceback": TRACEBACKS["two_cells"]}

    result = run(
        *(stream(f"{number} " * 40, "stderr" if number % 2 else "stdout") for number in range(60)),
        error,
        limits=OutputLimits(per_call=1_500),
    )

    check("render/many_outputs", text_of(result))


def test_a_recursion_is_folded() -> None:
    error = {"output_type": "error", "ename": "RecursionError", "evalue": "too deep", "traceback": RECURSION}

    result = run(error, status="error", error=ErrorInfo("RecursionError", "too deep"))

    assert "… 892 frames more" in text_of(result)
    assert len(text_of(result)) < 1_000


def test_the_traceback_of_another_kernel_is_shown_as_it_is() -> None:
    lines = ["\x1b[1;31mError in f(): object 'x' not found\x1b[0m", "1. f()"]

    result = run({"output_type": "error", "ename": "ERROR", "evalue": "x", "traceback": lines})

    assert "<traceback>\nError in f(): object 'x' not found\n1. f()\n</traceback>" in text_of(result)


def test_an_error_that_left_no_output_is_shown_from_the_execution() -> None:
    result = run(status="error", error=ErrorInfo("ZeroDivisionError", "no", TRACEBACKS["two_cells"]))

    assert "cell a1b2, line 5" in text_of(result)


def test_a_cell_is_title_source_and_outputs() -> None:
    cell = Cell("a1b2c3d4", "code", "import pandas as pd\npd", 8, [stream("hi\n")])

    result = render_cell(
        cell, handle="a1b2", position=3, total=12, limits=LIMITS, references=References(), cell_of=HANDLES.get
    )

    check("render/cell", text_of(result))
    assert result.whole == ("a1b2c3d4",)


def test_a_source_that_is_cut_has_not_been_seen_whole() -> None:
    cell = Cell("a1b2c3d4", "code", "".join(f"x = {number}\n" for number in range(9_000)))

    result = render_cell(
        cell, handle="a1b2", position=0, total=1, limits=LIMITS, references=References(), cell_of=HANDLES.get
    )

    assert result.whole == ()
    assert 'read_output("o1")' in text_of(result)


def test_the_lines_of_a_source_are_never_folded() -> None:
    cell = Cell("a1b2c3d4", "code", "x\n" * 50)

    result = render_cell(
        cell, handle="a1b2", position=0, total=1, limits=LIMITS, references=References(), cell_of=HANDLES.get
    )

    assert text_of(result).count("x\n") == 50


def test_cells_are_shown_while_they_fit_and_then_how_to_go_on() -> None:
    result = read(notebook(40), OutputLimits(per_call=600))

    check("render/cells", text_of(result))
    assert result.whole == tuple(f"000{number}cafe" for number in range(6))


def test_going_on_shows_every_cell_once() -> None:
    cells = notebook(30)
    start: int | None = 0
    seen: list[str] = []
    while start is not None:
        result = read(cells, OutputLimits(per_call=600), start=start)
        seen += result.whole
        start = result.artifact["next"]

    assert seen == [cell.id for cell in cells]


def test_find_keeps_the_cells_that_have_it_in_source_or_output() -> None:
    result = read(notebook(20), find="/out 1[02]$|# 5$/")

    check("render/find", text_of(result))


def test_a_start_behind_the_end_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        read(notebook(3), start=3)


def test_an_empty_notebook_is_shown() -> None:
    assert text_of(read([])) == "[no cells of 0]"


def test_an_outline_is_a_line_per_cell() -> None:
    info = NotebookInfo("analysis.ipynb", True, KernelInfo("python3", "python", "idle"), {"code": 2, "markdown": 1})
    cells = [Cell("aaaa1111", "markdown", "# Title\u2028evil\nmore"), *notebook(2, "import pandas as pd")]

    result = render_outline(info, [(cell, cell.id[:4], state_of(cell)) for cell in cells])

    check("render/outline", text_of(result))


def test_an_outline_of_many_cells_is_head_and_tail() -> None:
    info = NotebookInfo("big.ipynb", False, KernelInfo("python3"), {"code": 900})

    result = render_outline(info, [(cell, cell.id[:4], state_of(cell)) for cell in notebook(900)], budget=600)

    assert (len(result.artifact["cells"]), result.artifact["total"]) == (500, 900)  # a checkpoint holds it
    check("render/outline_long", text_of(result))
    assert len(text_of(result)) <= 600


def test_a_diff_is_the_lines_that_changed() -> None:
    check("render/diff", render_diff("a\nb\nc\nd\ne", "a\nB\nc\nd\ne"))


def test_a_diff_is_bounded() -> None:
    assert len(render_diff("a\n" * 400, "".join(f"{number}\n" for number in range(400)))) <= 1_500
    assert render_diff("a\n" * 2_000, "b\n" * 2_000) == "[2,001 lines became 2,001]"


@pytest.mark.parametrize(
    ("cell", "state"),
    [
        (Cell("a", "code", "", None, running=True), "running"),
        (Cell("a", "code", "", 1, [{"output_type": "error"}]), "error"),
        (Cell("a", "code", "", 1), "ok"),
        (Cell("a", "code", ""), "not run"),
    ],
)
def test_the_state_of_a_cell(cell: Cell, state: str) -> None:
    assert state_of(cell) == state


@given(OUTPUTS, SIZES, STATUSES, TEXTS, TEXTS)
def test_no_execution_exceeds_its_budget_or_leaves_its_fences(
    outputs: list[dict[str, Any]], limits: OutputLimits, status: Any, name: str, value: str
) -> None:
    result = run(
        *outputs, limits=limits, status=status, error=ErrorInfo(name, value, [value]), prompt=value, note=value
    )

    assert_sound(result, limits)
    assert [line for line in outside(text_of(result)) if line != "<image block>" and not OURS.fullmatch(line)] == []


@given(st.lists(st.tuples(TEXTS, OUTPUTS), max_size=5), SIZES)
def test_no_cells_exceed_their_budget_or_leave_their_fences(
    contents: list[tuple[str, list[Any]]], limits: OutputLimits
) -> None:
    cells = [Cell(f"{number:04x}cafe", "code", source, 1, outputs) for number, (source, outputs) in enumerate(contents)]

    result = read(cells, limits)

    assert_sound(result, limits)


@given(st.lists(st.tuples(TEXTS, OUTPUTS), min_size=1, max_size=5))
def test_no_cell_can_forge_a_line_of_ours(contents: list[tuple[str, list[Any]]]) -> None:
    cells = [Cell(f"{number:04x}cafe", "code", source, 1, outputs) for number, (source, outputs) in enumerate(contents)]

    lines = outside(text_of(read(cells)))

    titles = [line for line in lines if re.fullmatch(r"\d+ [0-9a-f]{4} code (?:ok|error) \[1\]", line)]
    assert len(titles) < len(cells)
    assert [line for line in lines if line not in titles and line != "<image block>" and not OURS.fullmatch(line)] == []


@given(st.lists(TEXTS, max_size=30), st.integers(1, 900))
def test_an_outline_has_one_line_per_cell(sources: list[str], budget: int) -> None:
    info = NotebookInfo("evil\n0 ffff code", True, KernelInfo("python3"), {})
    cells = [Cell(f"{number:04x}cafe", "markdown", source) for number, source in enumerate(sources)]

    text = text_of(render_outline(info, [(cell, cell.id[:4], "ok") for cell in cells], budget=budget))

    assert len(text) <= budget
    assert len(text.splitlines()) <= len(cells) + 2


@given(TEXTS, TEXTS, st.integers(20, 800))
def test_a_diff_stays_in_its_fence(old: str, new: str, budget: int) -> None:
    text = render_diff(old, new, budget=budget)

    assert [line for line in outside(f"\n{text}") if not line.startswith("[")] == []
