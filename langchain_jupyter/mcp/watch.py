"""What operators see of the server: a log line and a span for each call, and metrics. Never code, output or tokens."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from langchain_jupyter.errors import MissingExtra
from langchain_jupyter.mcp.sdk import Request

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
except ImportError as error:
    raise MissingExtra("mcp", "The MCP server") from error

logger = logging.getLogger(__name__)

_CORRELATION = re.compile(r"[\w.:-]{1,64}")
_FINE = frozenset({"ok", "running"})


@dataclass(slots=True)
class Seen:
    """One call, while it is watched.

    Attributes:
        outcome: "ok", the status of an execution, or the code of a failure.
    """

    outcome: str = "failed"


class Watch:
    """Told of every tool call.

    Attributes:
        registry: The metrics, for prometheus_client.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter("jupyter_mcp_calls", "Tool calls.", ["tool", "outcome"], registry=self.registry)
        self._errors = Counter("jupyter_mcp_errors", "Tool calls that failed.", ["tool"], registry=self.registry)
        self._seconds = Histogram(
            "jupyter_mcp_call_seconds", "Duration of tool calls.", ["tool"], registry=self.registry
        )
        self._running = Gauge("jupyter_mcp_running_calls", "Tool calls without an answer yet.", registry=self.registry)
        self.executions = Gauge("jupyter_mcp_running_executions", "Cells that run now.", registry=self.registry)
        self.kernels = Gauge("jupyter_mcp_kernels", "Kernels of open notebooks.", ["state"], registry=self.registry)
        self._tracer = _tracer()

    @contextmanager
    def call(self, tool: str, notebook: str, request: Request) -> Iterator[Seen]:
        """Watch one call, whatever becomes of it."""
        seen = Seen()
        started = time.monotonic()
        with self._running.track_inprogress(), self._span(tool, notebook, request) as span:
            try:
                yield seen
            except asyncio.CancelledError:
                seen.outcome = "cancelled"
                raise
            finally:
                self._told(tool, notebook, seen.outcome, time.monotonic() - started, request)
                if span is not None:
                    span.set_attribute("jupyter.outcome", seen.outcome)

    def _told(self, tool: str, notebook: str, outcome: str, seconds: float, request: Request) -> None:
        self._calls.labels(tool, outcome).inc()
        self._seconds.labels(tool).observe(seconds)
        if outcome not in _FINE:
            self._errors.labels(tool).inc()
        logger.info(
            "call tool=%s notebook=%s seconds=%.3f outcome=%s client=%s id=%s",
            tool,
            _quoted(notebook),
            seconds,
            outcome,
            _quoted(request.client or "-"),
            correlation_of(request),
        )

    def _span(self, tool: str, notebook: str, request: Request) -> Any:
        """A span under the client's, where opentelemetry-api is there; it costs nothing without an exporter."""
        if self._tracer is None:
            return nullcontext()
        from opentelemetry import propagate, trace

        parent = None
        if not trace.get_current_span().get_span_context().is_valid:
            parent = propagate.extract({**request.headers, **_texts(request.params.get("_meta"))})
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool,
            "mcp.session.id": request.session,
            "jupyter.notebook": notebook,
        }
        return self._tracer.start_as_current_span(f"execute_tool {tool}", context=parent, attributes=attributes)


def correlation_of(request: Request) -> str:
    """What ties the log lines of a request together: the client's X-Request-ID, or one of ours."""
    given = request.headers.get("x-request-id", "")
    return given if _CORRELATION.fullmatch(given) else uuid.uuid4().hex[:12]


def _tracer() -> Any:
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    return trace.get_tracer("langchain_jupyter")


def _texts(meta: Any) -> dict[str, str]:
    return {key: value for key, value in (meta or {}).items() if isinstance(value, str)}


def _quoted(text: str) -> str:
    """On one line and in one piece."""
    plain = re.fullmatch(r"[\w./:@-]+", text)
    return text if plain else '"' + re.sub(r"[^\x20-\x7e]|[\"\\]", "?", text[:80]) + '"'
