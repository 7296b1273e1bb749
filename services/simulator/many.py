"""ExecuteMany: requests as JSON, many at a time on one stream, answered as they are ready."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple, NoReturn

import structlog

from execution_providers.types import ExecutionRequest, Fill
from lob.errors import DeadlineExceeded, Fault
from services.simulator.executions import Executions
from touchstone.kit.codec import decode_execution_request, encode_fill
from touchstone.kit.rpc import failure_to_proto
from touchstone.kit.trace import Carried, continued, is_sampled
from touchstone.v1 import execution_pb2 as pb

TURN_SECONDS: Final = 0.003
"""How long one stream holds the event loop before others get a turn, and answers go out: a message
of 64 quick orders takes less, and so is answered in one."""
_now = time.perf_counter
_LOG: Final = structlog.get_logger("services.simulator")
_UNTRACED: Final = contextlib.nullcontext()


class Terms(NamedTuple):
    """What requests came with; their time counts from `read_at`, 0 seconds are no limit."""

    seed: int | None
    seconds_allowed: float
    read_at: float

    def seconds_left(self) -> float | None:
        """Return how long its caller still waits; None without a limit."""
        if not self.seconds_allowed:
            return None
        return self.seconds_allowed - (_now() - self.read_at)


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
        read_at = turn_at = now = _now()
        results = _Results()
        for asked in message.requests:
            seed = asked.seed if asked.HasField("seed") else None
            terms = Terms(seed, asked.seconds_left, read_at)
            with _within_trace(asked):
                for number, encoded in enumerate((asked.request, *asked.more), asked.request_id):
                    self._execute(number, encoded, terms, now, results)
                    now = _now()
                    if now - turn_at > TURN_SECONDS:
                        await self._write(results.take())
                        await asyncio.sleep(0)
                        now = turn_at = _now()
            results.close()
        await self._write(results.take())

    def _execute(
        self, number: int, encoded: bytes, terms: Terms, now: float, results: "_Results"
    ) -> None:
        """Put the answer among the results, unless a task will give it."""
        executions, request = self._executions, None
        try:
            request = decode_execution_request(encoded)
            if self._last or not executions.is_quick(request):
                self._later(number, terms, request)
                return
            if 0 < terms.seconds_allowed <= now - terms.read_at:
                _refuse_late()
            fill, seconds = executions.execute_now(request, terms.seed)
            if is_sampled():
                _tell(request, fill)
            results.add_fill(number, encode_fill(fill), seconds)
        except Fault as fault:
            executions.count_fault(request, fault)
            results.add(_failed(number, fault))
        except Exception as error:  # noqa: BLE001 - logged; the others' answers go on
            results.add(_defect(number, error))

    def _later(self, number: int, terms: Terms, request: ExecutionRequest) -> None:
        """Execute in a task, behind the symbol's last one; `Overloaded` where no place is left."""
        symbol = request.order.symbol
        self._executions.admit(1)
        before = self._last.get(symbol)
        task = asyncio.create_task(self._execute_later(number, terms, request, before))
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
        number: int,
        terms: Terms,
        request: ExecutionRequest,
        before: "asyncio.Task[None] | None",
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        started = _now()
        try:
            fill = await self._executions.execute(request, terms.seed, terms.seconds_left)
            if is_sampled():
                _tell(request, fill)
            result = pb.JsonResult(
                request_id=number,
                fill=encode_fill(fill),
                provider_seconds=_now() - started,
            )
        except Fault as fault:
            result = _failed(number, fault)
        except Exception as error:  # noqa: BLE001 - logged; the others' answers go on
            result = _defect(number, error)
        await self._write([result])

    async def _write(self, results: list[pb.JsonResult]) -> None:
        if results:
            async with self._writing:
                await self._context.write(pb.ExecuteManyResponse(results=results))


class _Results:
    """Results of one message; fills of requests that came together share one."""

    def __init__(self) -> None:
        self._results: list[pb.JsonResult] = []
        self._fills: list[bytes] = []
        self._first = 0
        self._seconds = 0.0

    def add_fill(self, number: int, fill: bytes, seconds: float) -> None:
        """Add a fill, and what its provider took."""
        if number != self._first + len(self._fills):
            self.close()
            self._first = number
        self._fills.append(fill)
        self._seconds += seconds

    def add(self, result: pb.JsonResult) -> None:
        """Add what is no fill."""
        self.close()
        self._results.append(result)

    def take(self) -> list[pb.JsonResult]:
        """Return everything since the last time."""
        self.close()
        results, self._results = self._results, []
        return results

    def close(self) -> None:
        """Let the next fill begin a result of its own: what came alone is answered alone."""
        fills = self._fills
        if fills:
            self._results.append(
                pb.JsonResult(
                    request_id=self._first,
                    fill=fills[0],
                    more=fills[1:],
                    provider_seconds=self._seconds / len(fills),
                )
            )
            self._fills, self._seconds = [], 0.0
        self._first = -1


def _within_trace(asked: pb.JsonRequest) -> contextlib.AbstractContextManager[object]:
    if not asked.traceparent:
        return _UNTRACED
    return continued(Carried(asked.traceparent, asked.baggage), "ExecuteMany")


def _tell(request: ExecutionRequest, fill: Fill) -> None:
    """Log a traced execution: its line has the ids of the trace and of the decision."""
    _LOG.info("execution", symbol=request.order.symbol, status=fill.status)


def _refuse_late() -> NoReturn:
    raise DeadlineExceeded("the deadline passed before the execution began")


def _failed(number: int, fault: Fault) -> pb.JsonResult:
    return pb.JsonResult(request_id=number, failure=failure_to_proto(fault))


def _defect(number: int, error: Exception) -> pb.JsonResult:
    _LOG.error("defect", exc_info=error)
    return _failed(number, Fault("internal error; see the simulator's log"))
