"""ExecuteMany on an address of its own, without the general server's threads; see `grpc_served`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from services.simulator.many import ManyStream
from services.simulator.wiring import Components
from touchstone.kit.grpc_served import ServedCall, serving_calls
from touchstone.kit.lifecycle import bind
from touchstone.kit.simulator_client import MAX_MESSAGE_BYTES
from touchstone.v1 import execution_pb2 as pb

_LOG = structlog.get_logger("services.simulator")


class _Written:
    """A call as `ManyStream` writes to it."""

    def __init__(self, call: ServedCall) -> None:
        self._call = call

    async def write(self, message: pb.ExecuteManyResponse) -> None:
        """Send an answer."""
        await self._call.write(message.SerializeToString())


async def _read(call: ServedCall) -> AsyncIterator[pb.ExecuteManyRequest]:
    async for encoded in call:
        yield pb.ExecuteManyRequest.FromString(encoded)


@asynccontextmanager
async def serve_stream(components: Components) -> AsyncIterator[int | None]:
    """Serve ExecuteMany on `stream_port` until the block ends; gives the port, None without one.

    Raises:
        Unavailable: the port is in use or the address is not ours.
    """
    settings, executions = components.settings, components.executions
    if settings.stream_port is None:
        yield None
        return

    async def answer(call: ServedCall) -> None:
        await ManyStream(executions, _Written(call)).run(_read(call))

    with bind(settings.host, settings.stream_port) as sock:
        async with serving_calls(
            sock,
            answer,
            message_bytes_max=MAX_MESSAGE_BYTES,
            drain_seconds=settings.drain_seconds,
        ):
            port = sock.getsockname()[1]
            _LOG.info("listening_for_streams", address=f"{settings.host}:{port}")
            yield port
