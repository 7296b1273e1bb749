"""Traces: kept from caller to callee, told to the log, and sent where the environment says."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from lob.errors import ConfigError
from touchstone.kit.trace import (
    ENDPOINT,
    NOTHING,
    Carried,
    TraceRequests,
    about,
    add_ids,
    carried,
    configure_tracing,
    continued,
    trace_id,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def test_nothing_is_traced_by_itself() -> None:
    """Outside a request there is no id, and nothing to carry."""
    assert "" == trace_id()
    assert NOTHING is carried()
    assert {"event": "x"} == add_ids(None, "", {"event": "x"})


def test_a_trace_goes_on_with_what_it_is_about() -> None:
    """The trace id stays; the decision's id goes along as baggage, and into log lines."""
    with continued(Carried(PARENT, ""), "work"):
        assert TRACE == trace_id()
        with about(decision_id="d-1"):
            onward = carried()
        assert "" == carried().baggage
    assert TRACE == onward.traceparent.split("-")[1]
    assert "decision_id=d-1" == onward.baggage
    with continued(onward, "elsewhere"):
        line = add_ids(None, "", {"event": "x"})
    assert (TRACE, "d-1") == (line["trace_id"], line["decision_id"])
    assert "" == trace_id()


@pytest.mark.parametrize(
    "parent", ["", "junk", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{TRACE}-{'0' * 16}-01", "ff-"]
)
def test_a_header_that_is_none_begins_a_trace_of_its_own(parent: str) -> None:
    """By the standard, what cannot be read counts as not sent."""
    with continued(Carried(parent, "=;,"), "work"):
        found = trace_id()
    assert 32 == len(found)
    assert TRACE != found


async def test_a_request_is_told_its_trace() -> None:
    """Within the route the caller's id holds, and the answer names it; others have one unseen."""

    async def route(_request: Request) -> JSONResponse:
        return JSONResponse({"trace_id": trace_id()})

    app = TraceRequests(Starlette(routes=[Route("/x", route)]))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        known = await client.get("/x", headers={"traceparent": PARENT})
        fresh = await client.get("/x")
    assert TRACE == known.json()["trace_id"] == known.headers["traceresponse"].split("-")[1]
    assert "traceresponse" not in fresh.headers
    assert 32 == len(fresh.json()["trace_id"])
    assert TRACE != fresh.json()["trace_id"]


def test_an_endpoint_without_the_packages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that go nowhere would be believed to be there."""
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT.*touchstone\[otel\]"):
        configure_tracing("x")
    monkeypatch.delenv(ENDPOINT)
    assert not configure_tracing("x")


@pytest.fixture(name="collector")
def otlp_collector() -> Iterator[tuple[str, list[bytes]]]:
    """A receiver of OTLP over HTTP: its address, and the bodies that it was sent."""
    bodies: list[bytes] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()


def test_spans_reach_a_collector(collector: tuple[str, list[bytes]]) -> None:
    """A process with the endpoint set sends its spans when it ends, below the caller's trace."""
    url, bodies = collector
    script = (
        "from touchstone.kit.trace import *\n"
        "assert configure_tracing('router')\n"
        f"with continued(Carried('{PARENT}', ''), 'POST /v1/executions'): pass\n"
    )
    environment = {**os.environ, ENDPOINT: url, "no_proxy": "127.0.0.1"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, timeout=60)
    sent = b"".join(bodies)
    assert bytes.fromhex(TRACE) in sent
    assert b"touchstone-router" in sent
    assert b"POST /v1/executions" in sent
