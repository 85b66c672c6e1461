"""Variables of a kernel, looked at from outside: the probe is sent, its report comes back, and nothing else happens."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_jupyter.errors import InspectionUnavailable
from langchain_jupyter.kernels import probe
from langchain_jupyter.rendering.fences import one_line

if TYPE_CHECKING:
    from langchain_jupyter.kernels.kernel import Kernel

_SECONDS = 2.0
_PYTHON = frozenset({"python", "ipython", "python3"})


async def inspect(kernel: Kernel, names: Sequence[str], *, beside: bool) -> Mapping[str, Any]:
    """What `probe.report` tells.

    Args:
        kernel: Ready for code.
        names: Variables to tell more about; none for all in brief.
        beside: Whether code runs in it now.

    Raises:
        InspectionUnavailable: The kernel's language is not Python, or it cannot answer while code runs.
    """
    language = kernel.info.language
    if language not in _PYTHON:
        raise InspectionUnavailable(
            f"Variables can be inspected in Python kernels only, and this one runs {one_line(language, 40)}.",
            hint="Look at them with run_code, in the kernel's own language.",
        )
    found = await kernel.evaluate(_expression(names), beside=beside)
    if found is None:
        raise InspectionUnavailable(
            "A cell is running, and this kernel does one thing at a time.",
            hint="wait_for_execution or interrupt_kernel() first. With ipykernel 7 it works meanwhile, too.",
        )
    if found.get("status") != "ok":
        raise InspectionUnavailable(
            f"The kernel could not look at its variables: {one_line(str(found.get('ename')))}: "
            f"{one_line(str(found.get('evalue')))}.",
            hint="Look at them with run_code.",
        )
    report: Mapping[str, Any] = json.loads(ast.literal_eval(found["data"]["text/plain"]))
    return report


def _expression(names: Sequence[str]) -> str:
    """The probe as one expression, in a namespace of its own."""
    source = Path(probe.__file__).read_text(encoding="utf-8")
    shell = "__import__('IPython').get_ipython()"
    report = f"s[1]['report']({shell}.user_ns, {shell}.user_ns_hidden, {list(names)!r}, {_SECONDS})"
    return f"(lambda s: (exec(s[0], s[1]), {report})[1])(({source!r}, {{'__name__': 'probe'}}))"
