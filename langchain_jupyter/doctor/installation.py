"""The packages: ours, what it needs, and whether they fit together."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

from langchain_jupyter import __version__
from langchain_jupyter.doctor.finding import Finding, fine, note, problem

_OURS = "langchain-jupyter"
_EXTRAS = ("agents", "mcp", "mcp-adapters", "lab", "clients", "review", "deepagents")
_TOLD = ("langchain-core", "langchain", "langgraph", "mcp", "jupyterlab", "jupyter-collaboration")
_MCP = (
    "One environment has either mcp 1 with langchain-mcp-adapters, or mcp 2 with langchain[mcp]. "
    "For the first: pip install 'langchain-jupyter[mcp-adapters]'. For the second: pip uninstall langchain-mcp-adapters"
)


def installation() -> list[Finding]:
    """Whether what is installed is complete, and of versions that fit together."""
    ours = _installed(_OURS)
    if ours is None:
        said = f"{_OURS} is imported from a folder, and is not installed: what it needs is not known."
        return [problem("Packages", said, "pip install -e . in that folder")]
    needs = [Requirement(each) for each in ours.requires or ()]
    extras = {name: _of_extra(needs, name) for name in _EXTRAS}
    found = [*_core(_applying(needs)), *(each for name in extras for each in _misfits(name, extras[name]))]
    inner = {each.said: each for needed in (_applying(needs), *extras.values()) for each in _disagreements(needed)}
    return [*(found or [_complete(extras)]), *inner.values(), _versions()]


def _versions() -> Finding:
    """Of what a report of a fault should name."""
    there = [f"{name} {found.version}" for name in _TOLD if (found := _installed(name))]
    return fine("Versions", f"{', '.join(there)}.")


def _complete(extras: dict[str, list[Requirement]]) -> Finding:
    there = [name for name, needs in extras.items() if all(_fits(need) for need in needs)]
    absent = [name for name in extras if name not in there]
    said = f"{_OURS} {__version__} on Python {platform.python_version()}; extras: {', '.join(there) or 'none'}."
    if "agents" not in there:
        return note("Packages", said, "For agents: pip install 'langchain-jupyter[agents]'")
    return fine("Packages", said + (f" Not installed: {', '.join(absent)}." if absent else ""))


def _core(needs: Sequence[Requirement]) -> Iterator[Finding]:
    for need in needs:
        if not _fits(need):
            yield problem("Packages", f"{_OURS} needs {need}, and {_version(need)}.", f"pip install '{need}'")


def _misfits(extra: str, needs: Sequence[Requirement]) -> Iterator[Finding]:
    """What is there, but in a version that an extra cannot use; what is not there is nobody's fault."""
    if any(_installed(need.name) is None for need in needs):
        return
    for need in needs:
        if not _fits(need):
            mend = _MCP if need.name == "mcp" else f"pip install '{_OURS}[{extra}]'"
            yield problem("Packages", f"The extra '{extra}' needs {need}, and {_version(need)}.", mend)


def _disagreements(needs: Sequence[Requirement]) -> Iterator[Finding]:
    """Packages that we use whose own requirements are not met by what is there."""
    for name in {need.name for need in needs}:
        found = _installed(name)
        for inner in _applying([Requirement(each) for each in (found.requires if found else None) or ()]):
            if found is not None and not _fits(inner):
                mend = _MCP if inner.name == "mcp" else f"pip install '{name}' '{inner}'"
                yield problem("Packages", f"{name} {found.version} needs {inner}, and {_version(inner)}.", mend)


def _applying(needs: Sequence[Requirement]) -> list[Requirement]:
    """Without those of extras, and those of other systems."""
    return [_bare(need) for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]


def _of_extra(needs: Sequence[Requirement], extra: str) -> list[Requirement]:
    return [
        _bare(need)
        for need in needs
        if need.marker is not None
        and need.marker.evaluate({"extra": extra})
        and not need.marker.evaluate({"extra": ""})
    ]


def _bare(need: Requirement) -> Requirement:
    """As a person would write it."""
    bare = Requirement(str(need))
    bare.marker = None
    return bare


def _fits(need: Requirement) -> bool:
    found = _installed(need.name)
    return found is not None and need.specifier.contains(found.version, prereleases=True)


def _version(need: Requirement) -> str:
    found = _installed(need.name)
    return "it is not installed" if found is None else f"{found.version} is installed"


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None
