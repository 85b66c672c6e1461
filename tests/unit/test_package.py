"""The shape of the package: its layers, what it imports, what it declares."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import metadata, packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import langchain_jupyter

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "langchain_jupyter"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Lowest first. A module may import from its own row and from the rows before it.
LAYERS = [
    {"errors", "models", "guards"},
    {"settings", "redaction", "tokens", "outputs", "streams", "differences", "widgets", "rendering", "analysis"},
    {"servers"},
    {"documents", "kernels"},
    {"sessions"},
    {"backends", "reach", "isolation", "workspace"},
    {"bridge", "human", "tools", "prompts", "testing"},
    {"toolkit", "approvals", "middleware", "agent", "studio", "deep"},
    {"mcp", "cli", "token_commands", "demo", "doctor", "report", "terminal"},
]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}

# Who may import what is not ours; whatever is not named here, everybody may.
ONLY_IN = {
    "langchain_core": (
        "tools/",
        "prompts.py",
        "toolkit.py",
        "agent.py",
        "approvals.py",
        "middleware.py",
        "studio.py",
        "testing.py",
        "mcp/",
        "cli.py",
        "terminal.py",
        "report/",
        "demo.py",
    ),
    "langchain": ("agent.py", "approvals.py", "middleware.py"),
    "langgraph": ("agent.py", "approvals.py", "human.py", "middleware.py", "studio.py"),
    "mcp": ("mcp/sdk.py", "mcp/remote.py"),
}

# The one door upwards, opened when it is asked for.
UPWARDS = {("toolkit.py", "langchain_jupyter.mcp.remote.McpToolkit")}

# Modules that need an extra, and say so when it is missing; the others live on the core at import.
EXTRA_OF = {
    "mcp/remote.py": "mcp-adapters",
    "agent.py": "agents",
    "approvals.py": "agents",
    "middleware.py": "agents",
    "studio.py": "agents",
    "deep.py": "deepagents",
    "mcp/": "mcp",
}


class Import(NamedTuple):
    file: str
    line: int
    module: str
    lazy: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def _imports() -> Iterator[Import]:
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lazy = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.If)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            for module in _modules(node):
                yield Import(file, node.lineno, module, node in lazy)  # type: ignore[attr-defined]


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute here"
        assert node.module is not None
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


IMPORTS = list(_imports())
OURS = [found for found in IMPORTS if found.module.startswith("langchain_jupyter.")]
FOREIGN = [
    found
    for found in IMPORTS
    if (top := found.module.split(".")[0]) != "langchain_jupyter" and top not in sys.stdlib_module_names
]


def _top(file: str) -> str:
    return file.split("/", maxsplit=1)[0].removesuffix(".py")


def _distribution_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _declared(requirements: list[str]) -> set[str]:
    return {_distribution_name(re.split(r"[^\w.-]", requirement, maxsplit=1)[0]) for requirement in requirements}


def test_every_module_has_a_layer() -> None:
    modules = {_top(path.relative_to(PACKAGE).as_posix()) for path in PACKAGE.rglob("*.py")}

    homeless = modules - LAYER.keys() - {"__init__", "__main__"}

    assert not homeless, f"say in LAYERS, and in CONTRIBUTING.md, where {sorted(homeless)} belong"


def test_imports_point_down() -> None:
    upwards = [
        str(found)
        for found in OURS
        if _top(found.file) in LAYER
        and LAYER.get(found.module.split(".")[1], -1) > LAYER[_top(found.file)]
        and (found.file, found.module) not in UPWARDS
    ]

    assert not upwards


def test_frameworks_stay_in_their_modules() -> None:
    strays = [
        str(found)
        for found in FOREIGN
        if (homes := ONLY_IN.get(found.module.split(".")[0])) and not found.file.startswith(homes)
    ]

    assert not strays


def test_what_is_imported_is_declared() -> None:
    core = _declared(PROJECT["dependencies"])
    extras = {name: _declared(needs) for name, needs in PROJECT["optional-dependencies"].items() if name != "test"}
    distributions = packages_distributions()

    undeclared = []
    for found in FOREIGN:
        names = {_distribution_name(name) for name in distributions.get(found.module.split(".")[0], ["?"])}
        extra = next((extra for file, extra in EXTRA_OF.items() if found.file.startswith(file)), None)
        allowed = core | (set().union(*extras.values()) if found.lazy else extras.get(extra or "", set()))
        if not names & allowed:
            undeclared.append(f"{found}, of {' or '.join(sorted(names))}")

    assert not undeclared


def _tested(name: str) -> dict[str, str]:
    """The versions of a file of constraints."""
    lines = (ROOT / name).read_text().splitlines()
    return {_distribution_name(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}


def test_lower_bounds_are_the_versions_that_make_test_lowest_installs() -> None:
    lowest, highest = _tested("constraints-lowest.txt"), _tested("constraints.txt")
    groups = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}

    untested = []
    for group, needs in groups.items():
        for need in (Requirement(each) for each in needs if not each.startswith("langchain-jupyter")):
            bound = next((Version(each.version) for each in need.specifier if each.operator in (">=", "==")), None)
            tested = (highest if group == "servers" else lowest).get(_distribution_name(need.name))
            if bound is None or tested is None or bound != Version(tested):
                untested.append(f"{need}, tested with {tested}")

    assert not untested


def test_constraints_name_all_that_is_declared() -> None:
    known = _tested("constraints.txt").keys()

    assert not {*_declared(PROJECT["dependencies"]), *_declared(PROJECT["optional-dependencies"]["servers"])} - known


def _reasons() -> dict[str, str]:
    """The licence of each package in the tables of what we depend on."""
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## What we depend on")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `([\w-]+)` \| [^|]*\w[^|]* \| ([^|]+) \| 20\d\d-\d\d \|$", section, re.MULTILINE))


def test_contributing_gives_a_reason_for_each_dependency() -> None:
    extras = set().union(*map(_declared, PROJECT["optional-dependencies"].values())) - {"langchain-jupyter"}

    assert _reasons().keys() == _declared(PROJECT["dependencies"]) | extras


def test_contributing_gives_the_licences_that_packages_give_themselves() -> None:
    others = _declared(PROJECT["optional-dependencies"]["servers"])  # not installed here

    untrue = []
    for name in _reasons().keys() - others:
        about = metadata(name)
        classes = [each for each in about.get_all("Classifier", []) if each.startswith("License")]
        said = " ".join([about.get("License-Expression", ""), about.get("License", ""), *classes])
        if _reasons()[name].split("-")[0].split()[0] not in re.findall(r"\w+", said):
            untrue.append(f"{name}, {said}")

    assert not untrue


def test_the_version_is_that_of_the_project() -> None:
    assert langchain_jupyter.__version__ == PROJECT["version"]


@pytest.mark.parametrize("name", langchain_jupyter.__all__)
def test_public_names_can_be_imported(name: str) -> None:
    assert getattr(langchain_jupyter, name).__name__ == name


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
