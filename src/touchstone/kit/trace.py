"""W3C Trace Context through REST, gRPC, logs and events; spans where OpenTelemetry is set up.

A request with a `traceparent` keeps its trace id all the way: each log line below it has `trace_id`
and `span_id`, each message to the simulator carries both on, with the decision's id as baggage. A
request without one is given an id where it takes the ordinary way through the framework; the quick
ways do without. A caller who sets the flag `sampled` finds a line on each execution in each
service. Spans are recorded only where `OTEL_EXPORTER_OTLP_ENDPOINT` says where they go.

Sources: https://www.w3.org/TR/trace-context/, https://www.w3.org/TR/baggage/.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator, MutableMapping
from typing import Any, Final, NamedTuple

from opentelemetry import baggage, context, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lob.errors import ConfigError

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
SERVER_ERROR: Final = 500

_PARENTS: Final = TraceContextTextMapPropagator()
_BAGGAGE: Final = W3CBaggagePropagator()
_TRACER: Final = trace.get_tracer("touchstone")
_UNSAMPLED: Final = trace.TraceFlags(trace.TraceFlags.DEFAULT)


class Carried(NamedTuple):
    """A trace as two header values; both are empty where nothing is traced."""

    traceparent: str = ""
    baggage: str = ""


NOTHING: Final = Carried()


def configure_tracing(service: str) -> bool:
    """Send spans where the environment says, if it does; return whether spans are recorded.

    Raises:
        ConfigError: an endpoint is set, and the packages of the extra `otel` are not installed.
    """
    if not os.environ.get(ENDPOINT):
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError(
            f"environment {ENDPOINT}: set, but OpenTelemetry's exporter is not installed; "
            "install touchstone[otel], or unset it"
        ) from None
    provider = TracerProvider(resource=Resource.create({"service.name": f"touchstone-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return True


def trace_id() -> str:
    """Return the present trace id, 32 hex digits; '' where nothing is traced."""
    found = trace.get_current_span().get_span_context()
    return f"{found.trace_id:032x}" if found.is_valid else ""


def is_sampled() -> bool:
    """Return whether the caller of what is traced here wants to find it again."""
    found = trace.get_current_span().get_span_context()
    return found.is_valid and found.trace_flags.sampled


def carried() -> Carried:
    """Return the present trace as it travels to another process."""
    if not trace.get_current_span().get_span_context().is_valid:
        return NOTHING
    headers: dict[str, str] = {}
    _PARENTS.inject(headers)
    _BAGGAGE.inject(headers)
    return Carried(headers.get("traceparent", ""), headers.get("baggage", ""))


@contextlib.contextmanager
def continued(from_caller: Carried, name: str, **attributes: str) -> Iterator[trace.Span]:
    """Go on with a caller's trace; one that is none, by the standard, begins a new one."""
    headers = {"traceparent": from_caller.traceparent, "baggage": from_caller.baggage}
    found = _PARENTS.extract(headers)
    found = _BAGGAGE.extract(headers, found)
    if not trace.get_current_span(found).get_span_context().is_valid:
        found = _begun(found)
    token = context.attach(found)
    try:
        with _TRACER.start_as_current_span(
            name, kind=SpanKind.SERVER, attributes=attributes
        ) as span:
            yield span
    finally:
        context.detach(token)


@contextlib.contextmanager
def about(**known: str) -> Iterator[None]:
    """Let what happens within be about these ids (`decision_id`), here and wherever it is sent."""
    present = context.get_current()
    for name, value in known.items():
        present = baggage.set_baggage(name, value, present)
    token = context.attach(present)
    try:
        yield
    finally:
        context.detach(token)


def add_ids(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the ids to a log line (a structlog processor)."""
    found = trace.get_current_span().get_span_context()
    if found.is_valid:
        event["trace_id"] = f"{found.trace_id:032x}"
        event["span_id"] = f"{found.span_id:016x}"
        for name, value in baggage.get_all().items():
            event.setdefault(name, value)
    return event


class TraceRequests:
    """Give each HTTP request its place in a trace; who sent one is told it in `traceresponse`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on within its span."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        caller = Carried(
            headers.get(b"traceparent", b"").decode("latin-1"),
            headers.get(b"baggage", b"").decode("latin-1"),
        )
        method, path = scope["method"], scope["path"]
        named = {"http.request.method": method, "url.path": path}
        with continued(caller, f"{method} {path}", **named) as span:
            told = (
                []
                if not caller.traceparent
                else [(b"traceresponse", carried().traceparent.encode())]
            )

            async def say(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message.get("headers", ()), *told]}
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= SERVER_ERROR:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            await self._app(scope, receive, say)


def _begun(under: context.Context) -> context.Context:
    """Return a context whose trace begins here; where spans are recorded, theirs is its root."""
    if hasattr(trace.get_tracer_provider(), "add_span_processor"):
        return under
    own = SpanContext(
        secrets.randbits(128) or 1,
        secrets.randbits(64) or 1,
        is_remote=False,
        trace_flags=_UNSAMPLED,
    )
    return trace.set_span_in_context(NonRecordingSpan(own), under)
