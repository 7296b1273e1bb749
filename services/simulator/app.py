"""The simulator's two servers: gRPC for the work, HTTP for health and metrics."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
import structlog
from fastapi import FastAPI
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lob.errors import Conflict, Unavailable
from services.simulator.book_servicer import BookServicer
from services.simulator.servicer import ExecutionServicer
from services.simulator.stream_server import serve_stream
from services.simulator.wiring import Components
from touchstone.kit.lifecycle import bind, serve_web
from touchstone.kit.web import create_web_app
from touchstone.v1 import book_pb2, book_pb2_grpc, execution_pb2, execution_pb2_grpc

LOGGER: Final = structlog.get_logger("services.simulator")
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
# Health checks, reads and streams on top of the executions.
SPARE_CALLS: Final = 256

SERVICE_NAMES: Final[tuple[str, ...]] = (
    execution_pb2.DESCRIPTOR.services_by_name["ExecutionService"].full_name,
    book_pb2.DESCRIPTOR.services_by_name["BookService"].full_name,
)


@dataclass(frozen=True, slots=True)
class RpcServer:
    """A gRPC server that accepts calls on `port`."""

    server: Any
    health: Any
    port: int
    drain_seconds: float

    async def stop(self) -> None:
        """Say NOT_SERVING, refuse new calls, and finish those under way within the drain time."""
        await self.health.enter_graceful_shutdown()
        await self.server.stop(grace=self.drain_seconds)


@asynccontextmanager
async def serve_rpc(components: Components) -> AsyncIterator[RpcServer]:
    """Serve gRPC until the block ends; the port is bound first.

    Raises:
        Unavailable: the port is in use or the address is not ours.
    """
    settings = components.settings
    # gRPC itself reports a failed bind in several lines and without the reason.
    with bind(settings.host, settings.port) as probe:
        port = probe.getsockname()[1]
    server = grpc.aio.server(
        maximum_concurrent_rpcs=settings.max_in_flight + SPARE_CALLS,
        options=(
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ),
    )
    servicer = ExecutionServicer(
        components.executions,
        components.metrics,
        settings.max_batch,
    )
    execution_pb2_grpc.add_ExecutionServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    books = BookServicer(components.sessions, components.replays, settings.replay_dir)
    book_pb2_grpc.add_BookServiceServicer_to_server(books, server)  # type: ignore[no-untyped-call]
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    names = (*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise Unavailable(f"cannot listen on {host}:{port}: {error}") from None
    checked = components.self_check

    async def tell(serving: bool) -> None:
        # A book session needs no provider: it is served whatever the check says.
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if serving else states.NOT_SERVING
        for name in ("", SERVICE_NAMES[0]):
            await health_servicer.set(name, state)

    await tell(not checked.why)
    await health_servicer.set(SERVICE_NAMES[1], health_pb2.HealthCheckResponse.SERVING)
    checked.tell = tell
    await server.start()
    running = RpcServer(server, health_servicer, bound, settings.drain_seconds)
    LOGGER.info(
        "listening",
        address=f"{host}:{bound}",
        l3_enabled=components.executions.current.config.enabled,
    )
    try:
        yield running
    finally:
        checked.tell = None
        # Streams of events last as long as their sessions: end those, so that they do not make
        # the drain wait.
        components.sessions.close_all()
        await running.stop()


def create_app(components: Components) -> FastAPI:
    """Return the HTTP app: `/healthz`, `/readyz`, `/metrics`."""
    readiness = components.readiness

    async def l3() -> str:
        if not components.executions.current.config.enabled:
            raise Conflict("enabled: false in the L3 configuration: executions are refused")
        return "enabled"

    # A disabled simulator is up, and keeps its promise by refusing.
    readiness.add("l3", l3, required=False)
    readiness.add("self_check", components.self_check.readiness)
    return create_web_app("simulator", readiness, components.registry)


async def serve(components: Components) -> None:
    """Serve both until SIGTERM or SIGINT, then drain."""
    settings = components.settings
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, components.reloads.ask, "SIGHUP")
    async with serve_rpc(components), serve_stream(components):
        await serve_web(create_app(components), settings.host, settings.metrics_port)
