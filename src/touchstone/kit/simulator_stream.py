"""Many requests at a time to one simulator, on one stream that is opened again when it ends.

A unary call costs the caller ~130 us of CPU, a request on a stream that is open a fraction of it,
and requests that are asked for in the same moment share one message.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import grpc

from execution_providers.types import ExecutionRequest, Fill
from lob.errors import DeadlineExceeded, Fault, InvalidInput, Overloaded, Unavailable
from touchstone.kit.codec import decode_fill, request_bytes
from touchstone.kit.received import ReceivedFill
from touchstone.kit.rpc import fault_of, fault_of_error
from touchstone.kit.simulator_client import SimulatorClient
from touchstone.v1 import execution_pb2 as pb

MESSAGE_REQUESTS_MAX: Final = 64
MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of the requests of one message, after the first: well below what gRPC carries."""
IN_FLIGHT_MAX: Final = 4096


class _Group:
    """Requests that were asked for together, and what has come back of them."""

    __slots__ = ("done", "left", "results")

    def __init__(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self.results: list[Fill | Fault | None] = [None] * size
        self.left = size
        self.done: asyncio.Future[None] = loop.create_future()

    def take(self, index: int, result: Fill | Fault) -> None:
        """Keep one result; the last one wakes whoever waits."""
        self.results[index] = result
        self.left -= 1
        if self.left == 0 and not self.done.done():
            self.done.set_result(None)


_Asked = tuple[pb.JsonRequest, int, int]
"""Requests of one call, how many they are, and of how many bytes."""


def _asked(
    requests: Sequence[ExecutionRequest], first: int, seed: int, seconds_left: float
) -> list[_Asked]:
    """Return requests as what fits a message each, numbered from `first`."""
    found: list[_Asked] = []
    encoded = [request_bytes(request) for request in requests]
    start = 0
    while start < len(encoded):
        end, size = start + 1, len(encoded[start])
        while end < min(len(encoded), start + MESSAGE_REQUESTS_MAX):
            if size + len(encoded[end]) > MESSAGE_BYTES_MAX:
                break
            size += len(encoded[end])
            end += 1
        message = pb.JsonRequest(
            request_id=first + start,
            request=encoded[start],
            seed=seed,
            seconds_left=seconds_left,
            more=encoded[start + 1 : end],
        )
        found.append((message, end - start, size))
        start = end
    return found


class _Connection:
    """One stream, from its opening to its end. When it ends, everything on it fails at once."""

    def __init__(self, call: Any, address: str) -> None:
        self.call = call
        self.ended = False
        self._address = address
        self._waiting: dict[int, tuple[_Group, int]] = {}
        self._outbox: list[_Asked] = []
        self._woken = asyncio.Event()
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]
        self.dropped = 0

    @property
    def in_flight(self) -> int:
        """Return how many requests wait for their answer."""
        return len(self._waiting)

    def ask(self, asked: Sequence[_Asked], group: _Group, first: int) -> None:
        """Hand requests over; the results of `first` and on go to `group`, in their order."""
        waiting = self._waiting
        for index in range(len(group.results)):
            waiting[first + index] = (group, index)
        self._outbox.extend(asked)
        self._woken.set()

    def forget(self, first: int, count: int) -> None:
        """Wait no longer: an answer that still comes is dropped, a request not sent is not sent."""
        for number in range(first, first + count):
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """End the stream; what is under way fails."""
        self.call.cancel()
        self._end(Unavailable(f"simulator at {self._address}: the client was closed"))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self) -> None:
        """Send what is asked for; what piles up meanwhile shares the next message."""
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                while self._outbox:
                    await self.call.write(pb.ExecuteManyRequest(requests=self._next()))
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            self._end(self._reason(error))

    def _next(self) -> list[pb.JsonRequest]:
        """Return what the next message carries: not more than its bounds, at least one."""
        outbox, found, count, size = self._outbox, 0, 0, 0
        for _, requests, more in outbox:
            count += requests
            size += more
            if found and (count > MESSAGE_REQUESTS_MAX or size > MESSAGE_BYTES_MAX):
                break
            found += 1
        now, self._outbox = outbox[:found], outbox[found:]
        return [message for message, _, _ in now if message.request_id in self._waiting]

    async def _read(self) -> None:
        try:
            while (message := await self.call.read()) is not grpc.aio.EOF:
                for result in message.results:
                    self._take(result.request_id, result, None)
                    for number, fill in enumerate(result.more, result.request_id + 1):
                        self._take(number, result, fill)
            why: Fault = Unavailable(f"simulator at {self._address}: the stream ended")
        except grpc.RpcError as error:
            why = self._reason(error)
        except asyncio.CancelledError:
            why = Unavailable(f"simulator at {self._address}: the stream was cancelled")
        self._end(why)

    def _take(self, number: int, result: pb.JsonResult, fill: bytes | None) -> None:
        """Take the result's own outcome, or one of the fills that came with it."""
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            self.dropped += 1
            return
        group, index = waiting
        if fill is None:
            group.take(index, _result_of(result, self._address))
        else:
            group.take(index, _fill_of(fill, result.provider_seconds, self._address))

    def _reason(self, error: Exception) -> Fault:
        if isinstance(error, grpc.RpcError):
            error = fault_of_error(error, f"ExecuteMany at {self._address}")
        # Whatever ended the stream was not these requests' doing.
        return Unavailable(f"simulator at {self._address}: the stream ended: {error}")

    def _end(self, why: Fault) -> None:
        if self.ended:
            return
        self.ended = True
        waiting, self._waiting = self._waiting, {}
        self._outbox.clear()
        for group, index in waiting.values():
            group.take(index, why)
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()


class SimulatorStream:
    """Execute on one simulator over one stream; the channel and its fail-fast are `client`'s.

    Args:
        client: whose channel, address and deadline are used.
        in_flight_max: how many requests may wait for their answers at a time.
    """

    def __init__(self, client: SimulatorClient, in_flight_max: int = IN_FLIGHT_MAX) -> None:
        if in_flight_max < 1:
            raise InvalidInput(f"in_flight_max: {in_flight_max}; allowed: 1 or more")
        self._client = client
        self._in_flight_max = in_flight_max
        self._connection: _Connection | None = None
        self._next_id = 1
        self._late = 0

    @property
    def in_flight(self) -> int:
        """Return how many requests wait for their answers."""
        return 0 if self._connection is None else self._connection.in_flight

    @property
    def late_answers(self) -> int:
        """Return how many answers came for which nobody waited any more."""
        return self._late + (0 if self._connection is None else self._connection.dropped)

    async def close(self) -> None:
        """End the stream; what is under way fails. The client stays open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._late += connection.dropped
            await connection.close()

    async def execute(self, request: ExecutionRequest, seed: int) -> Fill:
        """Execute one order with `seed` as the base seed.

        Raises:
            Unavailable: nobody answers at the address, or the stream ended meanwhile.
            DeadlineExceeded: no answer in time.
            Overloaded: too many requests wait already.
            Fault: whatever the simulator answered.
        """
        (result,) = await self.execute_many([request], seed)
        if isinstance(result, Fault):
            raise result
        return result

    async def execute_many(
        self, requests: Sequence[ExecutionRequest], seed: int
    ) -> list[Fill | Fault]:
        """Execute orders together; each has its fill or its fault, in order.

        Raises:
            Fault: as `execute`, where nothing was sent.
        """
        if self.in_flight + len(requests) > self._in_flight_max:
            raise Overloaded(
                f"simulator at {self._client.address}: {self.in_flight} requests wait; allowed: "
                f"{self._in_flight_max}"
            )
        deadline_seconds = self._client.deadline_seconds
        connection = await self._open()
        first = self._next_id
        self._next_id += len(requests)
        asked = _asked(requests, first, seed, deadline_seconds)
        loop = asyncio.get_running_loop()
        group = _Group(len(requests), loop)
        timer = loop.call_later(deadline_seconds, _expire, group.done)
        connection.ask(asked, group, first)
        try:
            await group.done
        finally:
            timer.cancel()
            if group.left:
                connection.forget(first, len(requests))
        late = DeadlineExceeded(
            f"simulator at {self._client.address}: no answer within {deadline_seconds} s"
        )
        return [late if result is None else result for result in group.results]

    async def _open(self) -> _Connection:
        """Return the stream; open one where there is none, failing fast where nobody is there."""
        connection = self._connection
        if connection is not None and not connection.ended:
            return connection
        stub = await self._client.connected()
        # Somebody else may have opened it while this one waited.
        if self._connection is connection:
            if connection is not None:
                self._late += connection.dropped
            self._connection = _Connection(stub.ExecuteMany(), self._client.address)
        opened = self._connection
        if opened is None or opened.ended:
            raise Unavailable(f"simulator at {self._client.address}: the stream ended")
        return opened


def _expire(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)


def _result_of(result: pb.JsonResult, address: str) -> Fill | Fault:
    """Return a result's fill or fault; what is neither is the simulator's defect."""
    kind = result.WhichOneof("outcome")
    if kind == "failure":
        return fault_of(result.failure.code, result.failure.message)
    return _fill_of(result.fill, result.provider_seconds, address)


def _fill_of(encoded: bytes, provider_seconds: float, address: str) -> Fill | Fault:
    try:
        fill = decode_fill(encoded)
    except InvalidInput as error:
        return Fault(f"simulator at {address}: its answer is no fill: {error}")
    if isinstance(fill, ReceivedFill):
        fill.timed(provider_seconds)
    return fill
