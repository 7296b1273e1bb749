"""ExecuteMany: requests as JSON, many at a time on one stream, answered as they are ready."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import structlog

from execution_providers.types import ExecutionRequest
from lob.errors import DeadlineExceeded, Fault
from services.simulator.executions import Executions
from touchstone.kit.codec import decode_execution_request, encode_fill
from touchstone.kit.rpc import failure_to_proto
from touchstone.v1 import execution_pb2 as pb

TURN_SECONDS: Final = 0.001
"""How long one stream holds the event loop before others get a turn, and answers go out."""
_LOG: Final = structlog.get_logger("services.simulator")


class ManyStream:
    """One caller's stream.

    A quick execution runs where it is read: a task for each would cost as much as the execution.
    One of a slow kind goes to a thread in a task of its own, and whatever comes after it for the
    same symbol waits behind it, so that answers for one symbol keep the order of their requests.
    The next message is read when the quick ones of the last are answered: a caller who sends
    faster than that is held up by the stream's flow control, not kept in memory here.
    """

    def __init__(self, executions: Executions, context: Any) -> None:
        self._executions = executions
        self._context = context
        self._writing = asyncio.Lock()
        # The last task of every symbol that has one, and all of them.
        self._last: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, messages: AsyncIterator[pb.ExecuteManyRequest]) -> None:
        """Answer until the caller has no more, and everything is answered."""
        try:
            async for message in messages:
                await self._answer(message)
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()

    async def _answer(self, message: pb.ExecuteManyRequest) -> None:
        read_at = turn_at = time.perf_counter()
        results: list[pb.JsonResult] = []
        for asked in message.requests:
            result = self._execute(asked, read_at)
            if result is not None:
                results.append(result)
            now = time.perf_counter()
            if now - turn_at > TURN_SECONDS:
                await self._write(results)
                results = []
                await asyncio.sleep(0)
                turn_at = time.perf_counter()
        await self._write(results)

    def _execute(self, asked: pb.JsonRequest, read_at: float) -> pb.JsonResult | None:
        """Return the answer; None where a task will give it."""
        executions, request = self._executions, None
        try:
            request = decode_execution_request(asked.request)
            if self._last or not executions.is_quick(request):
                self._later(asked, request, read_at)
                return None
            _require_time(asked, read_at)
            fill, seconds = executions.execute_now(request, _seed(asked))
        except Fault as fault:
            executions.count_fault(request, fault)
            return pb.JsonResult(request_id=asked.request_id, failure=failure_to_proto(fault))
        except Exception as error:  # noqa: BLE001 - logged; the others' answers go on
            return _defect(asked, error)
        return pb.JsonResult(
            request_id=asked.request_id, fill=encode_fill(fill), provider_seconds=seconds
        )

    def _later(self, asked: pb.JsonRequest, request: ExecutionRequest, read_at: float) -> None:
        """Execute in a task, behind the symbol's last one; `Overloaded` where no place is left."""
        symbol = request.order.symbol
        self._executions.admit(1)
        task = asyncio.create_task(
            self._execute_later(asked, request, read_at, self._last.get(symbol))
        )
        self._last[symbol] = task
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(symbol, done))

    def _ended(self, symbol: str, task: "asyncio.Task[None]") -> None:
        self._executions.release(1)
        self._tasks.discard(task)
        if self._last.get(symbol) is task:
            del self._last[symbol]

    async def _execute_later(
        self,
        asked: pb.JsonRequest,
        request: ExecutionRequest,
        read_at: float,
        before: "asyncio.Task[None] | None",
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        started = time.perf_counter()
        try:
            fill = await self._executions.execute(
                request, _seed(asked), lambda: _seconds_left(asked, read_at)
            )
            seconds = time.perf_counter() - started
            result = pb.JsonResult(
                request_id=asked.request_id, fill=encode_fill(fill), provider_seconds=seconds
            )
        except Fault as fault:
            result = pb.JsonResult(request_id=asked.request_id, failure=failure_to_proto(fault))
        except Exception as error:  # noqa: BLE001 - logged; the others' answers go on
            result = _defect(asked, error)
        await self._write([result])

    async def _write(self, results: list[pb.JsonResult]) -> None:
        if results:
            async with self._writing:
                await self._context.write(pb.ExecuteManyResponse(results=results))


def _seed(asked: pb.JsonRequest) -> int | None:
    return asked.seed if asked.HasField("seed") else None


def _seconds_left(asked: pb.JsonRequest, read_at: float) -> float | None:
    if not asked.seconds_left:
        return None
    return asked.seconds_left - (time.perf_counter() - read_at)


def _require_time(asked: pb.JsonRequest, read_at: float) -> None:
    left = _seconds_left(asked, read_at)
    if left is not None and left <= 0:
        raise DeadlineExceeded("the deadline passed before the execution began")


def _defect(asked: pb.JsonRequest, error: Exception) -> pb.JsonResult:
    _LOG.error("defect", exc_info=error)
    fault = Fault("internal error; see the simulator's log")
    return pb.JsonResult(request_id=asked.request_id, failure=failure_to_proto(fault))
