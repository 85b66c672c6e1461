"""A cell as IPython hands it to Python: its magics and shell commands. Pure."""

from __future__ import annotations

import keyword
import re

LONGEST = 200_000
"""Characters of a source that is read as Python; reading 20 million takes minutes and gigabytes."""

_MAGIC = re.compile(r"^\s*(?:[%!?]|.*\?\s*$|[\w\s,.\[\]'\"]*=\s*[%!])", re.MULTILINE)
WORD = re.compile(r"[^\W\d]\w*")
PYTHON_MAGICS = frozenset(
    {"time", "timeit", "prun", "memit", "mprun", "lprun", "capture", "debug", "python", "python3"}
)
WILD_MAGICS = frozenset(
    {"run", "load", "load_ext", "pylab", "store", "reset", "reset_selective", "cython", "R", "xdel"}
)
INERT_MAGICS = frozenset(
    {"bash", "sh", "html", "HTML", "javascript", "js", "latex", "markdown", "svg", "SVG", "writefile", "script", "perl"}
    | {"ruby", "matplotlib", "config", "pip", "conda", "mamba", "uv", "autoreload", "cd", "pwd", "ls", "env", "set_env"}
    | {"who", "whos", "who_ls", "lsmagic", "magic", "precision", "xmode", "pinfo", "pinfo2", "psource", "pdoc", "pfile"}
)


def code_of(source: str) -> str:
    """A cell as IPython hands it to Python: without magics and shell commands."""
    return without_magics(source)[0]


def without_magics(source: str) -> tuple[str, str]:
    """The source as IPython hands it to Python, and the cell magic around it."""
    if not _MAGIC.search(source):
        return source, ""
    if (head := re.match(r"\s*%%(\w+)([^\n]*)\n?", source)) is not None:
        return _cell_magic(head[1], head[2], source[head.end() :])
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return TransformerManager().transform_cell(source), ""  # type: ignore[no-untyped-call]
    except SyntaxError:
        return source, ""


def _cell_magic(name: str, line: str, body: str) -> tuple[str, str]:
    label = f"%%{name}{line}"
    if name in PYTHON_MAGICS:
        inner, more = without_magics(body)
        target = next(iter(WORD.findall(re.sub(r"--?\S+", "", line))), "") if name == "capture" else ""
        return (f"{target} = None\n{inner}" if target else inner), label + more
    if name in WILD_MAGICS:
        return "exec('')", label + body
    words = [] if name in INERT_MAGICS else WORD.findall(line + " " + body)
    return "".join(
        f"{word}\n" for word in sorted(set(words)) if word.isidentifier() and not keyword.iskeyword(word)
    ), label + body
