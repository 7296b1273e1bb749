"""ExecutionService: translate, run, translate back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from execution_providers.types import ExecutionRequest
from lob.errors import Fault, InvalidInput
from services.simulator.configured import Configured
from services.simulator.executions import Executions
from services.simulator.faults import answering, require_time
from services.simulator.many import ManyStream
from services.simulator.metrics import SimulatorMetrics
from touchstone.kit.rpc import (
    cost_to_proto,
    failure_to_proto,
    fill_to_proto,
    outlook_request_from_proto,
    outlook_to_proto,
    request_from_proto,
)
from touchstone.v1 import execution_pb2 as pb
from touchstone.v1 import execution_pb2_grpc

# How many executions of a batch run before others get a turn.
BATCH_TURN: Final = 4


class ExecutionServicer(execution_pb2_grpc.ExecutionServiceServicer):
    """Answer `touchstone.v1.ExecutionService`."""

    def __init__(
        self,
        executions: Executions,
        metrics: SimulatorMetrics,
        max_batch: int,
    ) -> None:
        self._executions = executions
        self._metrics = metrics
        self._max_batch = max_batch

    async def Execute(self, request: pb.ExecuteRequest, context: Any) -> pb.ExecuteResponse:  # noqa: N802
        """Execute one order."""
        async with answering(context):
            return pb.ExecuteResponse(fill=await self._execute(request, context))
        raise AssertionError  # the context manager has ended the call

    async def ExecuteStream(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.ExecuteStreamRequest], context: Any
    ) -> AsyncIterator[pb.ExecuteStreamResponse]:
        """Execute orders one after the other: the next is read when the last is answered.

        So answers keep the order of requests, for every symbol, and a caller that does not read is
        not read from.
        """
        async with answering(context):
            async for message in request_iterator:
                result = await self._result(message.request, context)
                yield pb.ExecuteStreamResponse(request_id=message.request_id, result=result)

    async def ExecuteBatch(  # noqa: N802
        self, request: pb.ExecuteBatchRequest, context: Any
    ) -> pb.ExecuteBatchResponse:
        """Execute several orders; each has a result of its own."""
        async with answering(context):
            if len(request.requests) > self._max_batch:
                raise InvalidInput(
                    f"requests: {len(request.requests)}; allowed: at most {self._max_batch}"
                )
            results: list[pb.ExecuteResult] = []
            under = self._executions.current
            for index, message in enumerate(request.requests):
                if index % BATCH_TURN == BATCH_TURN - 1:
                    await asyncio.sleep(0)
                    require_time(context)
                results.append(await self._result(message, context, under))
            return pb.ExecuteBatchResponse(results=results)
        raise AssertionError

    async def ExecuteMany(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.ExecuteManyRequest], context: Any
    ) -> None:
        """Execute requests given as JSON; see `ManyStream`."""
        async with answering(context):
            await ManyStream(self._executions, context).run(request_iterator)

    async def EstimateCost(  # noqa: N802
        self, request: pb.EstimateCostRequest, context: Any
    ) -> pb.EstimateCostResponse:
        """Estimate what an order costs now."""
        async with answering(context):
            require_time(context)
            cost, under = self._executions.estimate(request_from_proto(request))
            return cost_to_proto(cost, under.digest)
        raise AssertionError

    async def Describe(  # noqa: N802
        self,
        request: pb.DescribeRequest,  # noqa: ARG002 - the interface's argument
        context: Any,
    ) -> pb.DescribeResponse:
        """Say what executions depend on besides their requests."""
        async with answering(context):
            return self._executions.current.described
        raise AssertionError

    async def FillProbability(  # noqa: N802
        self, request: pb.FillProbabilityRequest, context: Any
    ) -> pb.FillProbabilityResponse:
        """Say how likely an order is to fill within a horizon."""
        async with answering(context):
            require_time(context)
            asked = outlook_request_from_proto(request)
            outlook, under = self._executions.outlook(asked, request.horizon_seconds)
            return outlook_to_proto(outlook, under.digest)
        raise AssertionError

    async def _result(
        self, message: pb.ExecuteRequest, context: Any, under: Configured | None = None
    ) -> pb.ExecuteResult:
        """Execute one of several: its fault is its own."""
        try:
            return pb.ExecuteResult(fill=await self._execute(message, context, under))
        except Fault as fault:
            return pb.ExecuteResult(failure=failure_to_proto(fault))

    async def _execute(
        self, message: pb.ExecuteRequest, context: Any, under: Configured | None = None
    ) -> pb.Fill:
        request = self._read(message)
        seed = message.seed if message.HasField("seed") else None
        session_id = message.session_id if message.HasField("session_id") else None
        try:
            self._executions.admit(1)
        except Fault as fault:
            self._metrics.record_fault(request.order, fault)
            raise
        try:
            fill = await self._executions.execute(
                request, seed, context.time_remaining, under, session_id
            )
        finally:
            self._executions.release(1)
        return fill_to_proto(fill)

    def _read(self, message: pb.ExecuteRequest) -> ExecutionRequest:
        try:
            return request_from_proto(message)
        except Fault as fault:
            self._metrics.record_fault(None, fault)
            raise
