"""What a developer can set: servers, how large a notebook may be, how much of it a model sees.

The only reader of the environment.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit, urlunsplit

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from langchain_jupyter.errors import NotebookTooLarge, SettingsError, SourceTooLarge
from langchain_jupyter.outputs import OUTPUTS_PER_RUN, PER_RUN

_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")
_NO_TOKEN = SecretStr("")
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:TOKEN|KEY|APIKEY|PAT|PASS|DSN)$|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|PRIVATE_KEY"
)
_NO_SECRET_NAME = re.compile(r"_(?:FILE|PATH|DIR|ID|NAME|URL|URI|HOST|COMMAND|TTL|STORE)$|^PASSWORD_STORE|PUBLIC_KEY")
_SECRET = 8
_PAGES = frozenset({"lab", "tree", "notebooks", "doc", "edit", "consoles"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLimits:
    """How much of what code prints one tool call may show a model, and how much of it a notebook keeps.

    A notebook keeps everything, as Jupyter does, up to `per_run` and `outputs_per_run`; of what is longer it keeps the
    beginning, a note in the cell, and the end.

    Attributes:
        per_output: Characters of one output, its fence and notes included; never more than `per_call`.
        per_call: Characters of all text of one result together, first line, fences and notes included.
        images: Images shown per call; the others are named by reference. 0 shows none.
        image_side: Pixels of the longer side that an image is scaled down to.
        image_bytes: Bytes that an encoded image may have, before base64.
        per_run: Characters of all outputs of one run that are kept, in the notebook and in memory; base64 is counted.
        outputs_per_run: Outputs of one run that are kept. Text of one stream that follows itself is one output.

    Raises:
        SettingsError: A limit is not a whole number, or is one that nothing fits into.
    """

    per_output: int = 4_000
    per_call: int = 12_000
    images: int = 3
    image_side: int = 768
    image_bytes: int = 100_000
    per_run: int = PER_RUN
    outputs_per_run: int = OUTPUTS_PER_RUN

    def __post_init__(self) -> None:
        _check_numbers(self, least={"images": 0})


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookLimits:
    """How large a notebook may be that is opened, and a source that a tool writes or runs.

    A notebook that is larger is refused before it is read, where its place says how large it is, and else amid reading;
    nothing of it is changed. Cells and attachments that stand in one that is opened may be of any size.

    Attributes:
        size: Bytes of a notebook, with its outputs and attachments.
        cells: Cells of a notebook.
        source: Characters of the source that a tool puts into one cell, or runs.

    Raises:
        SettingsError: A limit is not a whole number of 1 or more.
    """

    size: int = 200_000_000
    cells: int = 50_000
    source: int = 1_000_000

    def __post_init__(self) -> None:
        _check_numbers(self)

    def check_size(self, notebook: str, size: int) -> None:
        """Refuse a notebook of so many bytes.

        Raises:
            NotebookTooLarge: They are more than may be opened.
        """
        if size > self.size:
            raise self.too_large(f"{notebook} has {size:,} bytes; notebooks of up to {self.size:,} bytes are opened.")

    def too_large(self, what: str) -> NotebookTooLarge:
        """The error for a notebook of more bytes than may be opened: what there is, and what to do."""
        more = "NotebookLimits(size=…), or MAX_NOTEBOOK_SIZE in the environment"
        remedy = f"Clear outputs that are not needed, or allow more: {more}."
        return NotebookTooLarge(f"{what} Nothing of it was changed. {remedy}")

    def check_cells(self, notebook: str, count: int) -> None:
        """Refuse a notebook of so many cells.

        Raises:
            NotebookTooLarge: They are more than may be opened.
        """
        if count > self.cells:
            raise NotebookTooLarge(
                f"{notebook} has {count:,} cells; notebooks of up to {self.cells:,} are opened. Nothing of it was "
                "changed. Split it, or allow more: NotebookLimits(cells=…), or MAX_NOTEBOOK_CELLS in the environment."
            )

    def check_source(self, source: str) -> None:
        """Refuse a source that a tool is to write or to run.

        Raises:
            SourceTooLarge: It has more characters than may be.
        """
        if len(source) > self.source:
            raise SourceTooLarge(f"The source has {len(source):,} characters; up to {self.source:,} are accepted.")


def _check_numbers(limits: OutputLimits | NotebookLimits, least: Mapping[str, int] = MappingProxyType({})) -> None:
    """Refuse limits that are no whole numbers of 1 or more, or what is `least` for one.

    Raises:
        SettingsError: Names the limit.
    """
    for each in fields(limits):
        value: object = getattr(limits, each.name)
        lowest = least.get(each.name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise SettingsError(
                f"{type(limits).__name__}.{each.name} is {value!r}; it must be a whole number, {lowest} or more. "
                f"Leave it out for {each.default!r}."
            )


@dataclass(frozen=True, kw_only=True)
class TLS:
    """How https and wss connections are checked.

    Attributes:
        ca_bundle: PEM file of the authorities to trust; None for the system's.
        certificate: PEM file of our own certificate, where the server asks clients for one.
        key: PEM file of its key; None if it stands in `certificate`.
        verify: False accepts any server, with a warning: for development only.

    Raises:
        SettingsError: A file that is not there, or a key without a certificate.
    """

    ca_bundle: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        for name in ("ca_bundle", "certificate", "key"):
            path: Path | None = getattr(self, name)
            if path is not None and not Path(path).is_file():
                raise SettingsError(f"TLS.{name}: there is no file {path}. Give the path of a PEM file.")
        if self.key is not None and self.certificate is None:
            raise SettingsError("TLS.key needs TLS.certificate, the PEM file of the certificate that it belongs to.")

    @cached_property
    def context(self) -> ssl.SSLContext:
        """What httpx and websockets take.

        Raises:
            SettingsError: A file does not hold what it should.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_bundle)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (ssl.SSLError, OSError) as error:
            raise SettingsError(f"The TLS files cannot be used: {error}. They must be PEM files.") from error
        if not self.verify:
            warnings.warn(
                "verify=False: whoever answers is taken for the server, and gets the token. Development only.",
                stacklevel=2,
            )
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How to reach one Jupyter server, hub server or gateway.

    Attributes:
        url: Base of its REST API, such as `http://localhost:8888` or `https://hub.example.org/user/ada`. An address
            copied from the browser will do: a page of JupyterLab and a `?token=` are taken off.
        token: Sent as `Authorization: token …`, never in a URL; empty for a server without authentication.
        tls: How https is checked.

    Raises:
        SettingsError: Not an http or https URL.
    """

    url: str
    token: SecretStr = field(default=_NO_TOKEN)
    tls: TLS = field(default_factory=TLS)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url.strip())
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # half of an IPv6 address, a port that is no number
            usable = False
        if not usable:
            raise SettingsError(
                f"The server's URL is {self.url.strip()!r}; it must begin with http:// or https:// and name a host, "
                "such as http://localhost:8888."
            )
        pasted = parse_qs(parts.query).get("token", [""])[0]
        object.__setattr__(
            self, "url", urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], _base(parts.path), "", ""))
        )
        if pasted and not self.token.get_secret_value():
            object.__setattr__(self, "token", SecretStr(pasted))

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        token = self.token.get_secret_value()
        return {"Authorization": f"token {token}"} if token else {}


def _base(path: str) -> str:
    """The path without the page of JupyterLab or Notebook that it ends in."""
    kept: list[str] = []
    for part in path.split("/"):
        if part in _PAGES:
            break
        kept.append(part)
    return "/".join(kept).rstrip("/")


def _nothing(value: object) -> object:
    """An empty variable, as compose files leave them, counts as none."""
    return None if isinstance(value, str) and not value.strip() else value


_Text = Annotated[str | None, BeforeValidator(_nothing)]
_Secret = Annotated[SecretStr | None, BeforeValidator(_nothing)]
_Path = Annotated[Path | None, BeforeValidator(_nothing)]
_Most = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_nothing)]


class Environment(BaseSettings):
    """The environment variables, under the guide's names and their later ones.

    Attributes:
        provider: PROVIDER; `jupyter` is the only one.
        jupyter_url: JUPYTER_URL: one server for notebook and kernel.
        jupyter_token: JUPYTER_TOKEN: its token, and that of the others where they have none of their own.
        document_url: DOCUMENT_URL or ROOM_URL: the server that has the notebook.
        document_id: DOCUMENT_ID or ROOM_ID: the notebook's path there.
        document_token: DOCUMENT_TOKEN or ROOM_TOKEN.
        runtime_url: RUNTIME_URL: the server that runs the kernel; that of the notebook if not set.
        runtime_id: RUNTIME_ID: id of a running kernel.
        runtime_token: RUNTIME_TOKEN.
        start_new_runtime: START_NEW_RUNTIME: a new kernel, even where the notebook has one.
        transport: TRANSPORT of the MCP server.
        port: PORT of the MCP server.
        ca_bundle: JUPYTER_CA_BUNDLE, a PEM file.
        client_certificate: JUPYTER_CLIENT_CERTIFICATE, a PEM file.
        client_key: JUPYTER_CLIENT_KEY, a PEM file.
        verify: JUPYTER_VERIFY; false accepts any server, for development only.
        model: MODEL of the agent that LangGraph's server serves, as `provider:name`.
        approve: APPROVE: which calls of that agent a person approves.
        isolation: ISOLATION: "thread" gives each of its threads a notebook.
        redact: REDACT; false shows secrets to models.
        max_notebook_size: MAX_NOTEBOOK_SIZE: bytes of a notebook that is opened; see `NotebookLimits`.
        max_notebook_cells: MAX_NOTEBOOK_CELLS: cells of one.
        max_source: MAX_SOURCE: characters of a source that a tool writes or runs.
    """

    model_config = SettingsConfigDict(extra="ignore", populate_by_name=True)

    provider: Annotated[Literal["jupyter"], BeforeValidator(lambda value: value or "jupyter")] = "jupyter"
    jupyter_url: _Text = None
    jupyter_token: _Secret = None
    document_url: _Text = Field(default=None, validation_alias=AliasChoices("DOCUMENT_URL", "ROOM_URL"))
    document_id: _Text = Field(default=None, validation_alias=AliasChoices("DOCUMENT_ID", "ROOM_ID"))
    document_token: _Secret = Field(default=None, validation_alias=AliasChoices("DOCUMENT_TOKEN", "ROOM_TOKEN"))
    runtime_url: _Text = None
    runtime_id: _Text = None
    runtime_token: _Secret = None
    start_new_runtime: Annotated[bool, BeforeValidator(lambda value: value or False)] = False
    transport: _Text = None
    port: Annotated[int | None, BeforeValidator(_nothing)] = None
    ca_bundle: _Path = Field(default=None, validation_alias="JUPYTER_CA_BUNDLE")
    client_certificate: _Path = Field(default=None, validation_alias="JUPYTER_CLIENT_CERTIFICATE")
    client_key: _Path = Field(default=None, validation_alias="JUPYTER_CLIENT_KEY")
    verify: bool = Field(default=True, validation_alias="JUPYTER_VERIFY")
    model: str = ""
    approve: Literal["none", "writes", "runs", "all"] = "none"
    isolation: Literal["shared", "thread"] = "shared"
    redact: Annotated[bool, BeforeValidator(lambda value: True if value == "" else value)] = True
    max_notebook_size: _Most = None
    max_notebook_cells: _Most = None
    max_source: _Most = None

    @classmethod
    def read(cls) -> Environment:
        """Read the variables now.

        Raises:
            SettingsError: One has a value that cannot work; names it, and never shows a token.
        """
        try:
            return cls()
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors())
            raise SettingsError(f"The environment cannot be used. {wrong}.") from None

    @property
    def tls(self) -> TLS:
        """How https is checked, for all servers."""
        return TLS(
            ca_bundle=self.ca_bundle, certificate=self.client_certificate, key=self.client_key, verify=self.verify
        )

    @property
    def notebook_limits(self) -> NotebookLimits:
        """How large a notebook may be, and a source."""
        given = {"size": self.max_notebook_size, "cells": self.max_notebook_cells, "source": self.max_source}
        return NotebookLimits(**{name: most for name, most in given.items() if most is not None})

    @property
    def document_server(self) -> ServerSettings | None:
        """Where the notebook is; None for a file on this machine."""
        return self._server(self.document_url or self.jupyter_url, self.document_token)

    @property
    def runtime_server(self) -> ServerSettings | None:
        """Where the kernel runs; None for this machine."""
        if self.runtime_url is None:
            return self.document_server
        return self._server(self.runtime_url, self.runtime_token)

    @property
    def kernel(self) -> str:
        """Which kernel: an id, "new", or "" for the notebook's."""
        return self.runtime_id or ("new" if self.start_new_runtime else "")

    def _server(self, url: str | None, token: SecretStr | None) -> ServerSettings | None:
        if url is None:
            return None
        settings = ServerSettings(url=url, token=token or _NO_TOKEN, tls=self.tls)
        if not settings.token.get_secret_value() and self.jupyter_token is not None:
            return replace(settings, token=self.jupyter_token)
        return settings


def secrets_of_environment() -> dict[str, str]:
    """The environment variables that are named like secrets, and have a value that can be one: name -> value."""
    return {name: value for name, value in os.environ.items() if _is_secret(name.upper(), value)}


@lru_cache(maxsize=1_024)  # asked at each call of a tool
def _is_secret(name: str, value: str) -> bool:
    if len(value) < _SECRET or value.isdigit() or (value.isalpha() and len(value) < 2 * _SECRET):
        return False  # "development", a count: such a text stands everywhere
    return _SECRET_NAME.search(name) is not None and _NO_SECRET_NAME.search(name) is None


def has_screen() -> bool:
    """Whether a browser can show a page to whoever sits at this machine."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in _SCREENS)
