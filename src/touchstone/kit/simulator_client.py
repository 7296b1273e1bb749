"""A client of the simulator: a deadline on every call, faults instead of gRPC errors.

A simulator that is not there fails at once with `Unavailable`; the channel goes on trying to
connect in the background, so that calls succeed again soon after it is back.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from execution_providers.outlook import FillOutlook
from execution_providers.types import ExecutionRequest, Fill
from lob.errors import DeadlineExceeded, Fault, InvalidInput, InvariantViolation, Unavailable
from touchstone.kit.rpc import (
    fault_of_error,
    fill_from_proto,
    outlook_from_proto,
    outlook_request_to_proto,
    request_to_proto,
    result_from_proto,
)
from touchstone.v1 import execution_pb2, execution_pb2_grpc

SERVICE_NAME: Final = "touchstone.v1.ExecutionService"
CONNECT_SECONDS_MAX: Final = 0.08
"""How long a call waits for a connection that is still being made."""
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024

_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)


class SimulatorClient:
    """Call one simulator at `address` (host:port). Make and close it inside a running loop."""

    def __init__(self, address: str, deadline_seconds: float) -> None:
        if not deadline_seconds > 0:
            raise InvalidInput(f"deadline_seconds: {deadline_seconds}; allowed: above 0")
        self.address = address
        self.deadline_seconds = deadline_seconds
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None
        self._health: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel; calls that are under way fail."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def execute(
        self, request: ExecutionRequest, seed: int, *, session_id: str | None = None
    ) -> Fill:
        """Execute one order with `seed` as the base seed, in a session's book where one is named.

        Raises:
            Unavailable: nobody answers at the address (within about 100 ms).
            DeadlineExceeded: no answer in time.
            Fault: whatever the simulator answered.
        """
        message = request_to_proto(request, seed)
        if session_id is not None:
            message.session_id = session_id
        answer = await self._call("Execute", message)
        return fill_from_proto(answer.fill)

    async def execute_batch(
        self, requests: Sequence[ExecutionRequest], seed: int
    ) -> list[Fill | Fault]:
        """Execute orders in one call; each has its fill or its fault, in order.

        Raises:
            Fault: as `execute`, where the call as a whole failed.
        """
        batch = execution_pb2.ExecuteBatchRequest(
            requests=[request_to_proto(request, seed) for request in requests]
        )
        answer = await self._call("ExecuteBatch", batch)
        if len(answer.results) != len(requests):
            raise InvariantViolation(
                f"ExecuteBatch at {self.address}: {len(answer.results)} results for"
                f" {len(requests)} requests"
            )
        return [result_from_proto(result) for result in answer.results]

    async def fill_probability(
        self, request: ExecutionRequest, horizon_seconds: float
    ) -> FillOutlook:
        """Return how likely the request's order is to fill within a horizon, and how much of it.

        The bar of the request is not looked at.

        Raises:
            NotSupported: the simulator's configuration has no fill model.
            Fault: as `execute`.
        """
        message = outlook_request_to_proto(request, horizon_seconds)
        return outlook_from_proto(await self._call("FillProbability", message))

    async def check(self) -> str:
        """Return a short text when the simulator serves; for readiness.

        Raises:
            Unavailable: it does not serve, or nobody answers.
        """
        request = health_pb2.HealthCheckRequest(service=SERVICE_NAME)
        answer = await self._call("Check", request)
        status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise Unavailable(f"simulator at {self.address}: {status}")
        return f"{self.address} {status}"

    async def _call(self, method: str, message: Any) -> Any:
        """Call `method`, never waiting longer than the deadline."""
        await self.connected()
        target = self._health if method == "Check" else self._stub
        try:
            return await getattr(target, method)(message, timeout=self.deadline_seconds)
        except grpc.aio.AioRpcError as error:
            raise fault_of_error(error, f"{method} at {self.address}") from None

    async def connected(self) -> Any:
        """Return the stub of ExecutionService once the channel is connected, or fail fast.

        A call on an idle channel would wait for the connection attempt up to its deadline, so the
        wait is bounded here.

        Raises:
            Unavailable: nobody answers at the address.
            DeadlineExceeded: as above, where the deadline is shorter than that takes.
        """
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self.address, options=_OPTIONS)
            self._stub = execution_pb2_grpc.ExecutionServiceStub(self._channel)  # type: ignore[no-untyped-call]
            self._health = health_pb2_grpc.HealthStub(self._channel)
        channel, ready = self._channel, grpc.ChannelConnectivity.READY
        state = channel.get_state(try_to_connect=True)
        if state == ready:
            return self._stub
        limit = min(CONNECT_SECONDS_MAX, self.deadline_seconds)
        try:
            async with asyncio.timeout(limit):
                while state not in {ready, grpc.ChannelConnectivity.TRANSIENT_FAILURE}:
                    await channel.wait_for_state_change(state)
                    state = channel.get_state(try_to_connect=True)
        except TimeoutError:
            if limit < CONNECT_SECONDS_MAX:
                raise DeadlineExceeded(f"simulator at {self.address}: not connected") from None
        if state != ready:
            raise Unavailable(f"simulator at {self.address}: cannot connect")
        return self._stub
