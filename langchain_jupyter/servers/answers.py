"""What a Jupyter server answers, as far as we read it: checked once, where it comes in, and nothing else after that.

Ids become parts of addresses, so they are words. What a server leaves out that we can do without has a default.

Source: https://jupyter-server.readthedocs.io/en/latest/developers/rest-api.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from langchain_jupyter.rendering.fences import one_line

T = TypeVar("T")

_LONGEST = 200

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:~-]{0,199}$")]
Line = Annotated[str, AfterValidator(one_line)]
"""In a server's own words. Names of kernel specs are such, too: those that Jupyter allows are as they were."""

Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class About:
    """Of `/api`."""

    version: Line


@dataclass(frozen=True, slots=True)
class Status:
    """Of `/api/status`: when the server was started, in its own words."""

    started: str = ""


@dataclass(frozen=True, slots=True)
class KernelModel:
    """A kernel that runs.

    Attributes:
        id: Of the kernel.
        name: Of its kernel spec.
        execution_state: As its last status message said.
        connections: WebSockets to it; None where the server does not count them. Less than 0 where it has counted one
            twice that broke, as Jupyter servers do.
    """

    id: Id
    name: Line
    execution_state: str | None = None
    connections: int | None = None

    @property
    def others(self) -> int:
        """Connections, as far as known."""
        return max(self.connections or 0, 0)


@dataclass(frozen=True, slots=True)
class SessionModel:
    """A notebook and its kernel, which is None when it has ended."""

    id: Id
    path: str = ""
    kernel: KernelModel | None = None


@dataclass(frozen=True, slots=True)
class SpecFile:
    """The `kernel.json` of a kernel spec."""

    display_name: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """A kernel that is installed."""

    spec: SpecFile = field(default_factory=SpecFile)


@dataclass(frozen=True, slots=True)
class KernelSpecs:
    """The kernels that are installed, by name, and which is the default."""

    kernelspecs: Mapping[Line, KernelSpec]
    default: Line = "python3"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentsModel:
    """A file, notebook or folder.

    Attributes:
        name: Last part of the path.
        path: On the server.
        type: "notebook", "file" or "directory".
        last_modified: When it was last written.
        size: Bytes; None where the server does not tell.
        writable: Whether the server's user may write it; None where the server does not tell.
        hash: Of what it holds, if it was asked for and the server makes any.
        hash_algorithm: That made the hash.
        content: What it holds, if it was asked for; of a shape that its type and format say.
    """

    name: str
    path: str
    type: str
    last_modified: datetime | None = None
    size: Count | None = None
    writable: bool | None = None
    hash: str | None = None
    hash_algorithm: str | None = None
    content: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModel(ContentsModel):
    """A file with its text."""

    content: str


@dataclass(frozen=True, slots=True)
class RoomSession:
    """The room of a notebook, and the server's life that it belongs to."""

    fileId: Id
    sessionId: Id


@dataclass(frozen=True, slots=True)
class Package:
    """The `package.json` of an extension of JupyterLab."""

    version: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a hub is with the start of a server."""

    progress: float | None = None
    message: Line | None = None
    failed: bool = False


class WrongShape(ValueError):
    """An answer is not what a Jupyter server answers; says in one line where."""


def checked(shape: type[T], answer: object) -> T:
    """The answer, in the shape that was asked for.

    Raises:
        WrongShape: It has another.
    """
    try:
        found: T = _adapter(cast(Any, shape)).validate_python(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise WrongShape(one_line(f"{where}: {first['msg']}".lstrip(": "), _LONGEST)) from None
    return found


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)
