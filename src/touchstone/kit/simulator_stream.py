"""Many requests at a time to one simulator, on one stream that is opened again when it ends.

A unary call costs the caller ~130 us of CPU, a request on a stream that is open a fraction of it,
and requests that are asked for in the same moment share one message. The stream is a `GrpcCall` of
its own; the general client's channel says whether somebody is there.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError

from execution_providers.types import ExecutionRequest, Fill
from lob.errors import DeadlineExceeded, Fault, InvalidInput, Overloaded, Unavailable
from touchstone.kit.codec import decode_fill, request_bytes
from touchstone.kit.grpc_call import GrpcCall, open_call
from touchstone.kit.received import ReceivedFill
from touchstone.kit.rpc import fault_of
from touchstone.kit.simulator_client import (
    CONNECT_SECONDS_MAX,
    MAX_MESSAGE_BYTES,
    SERVICE_NAME,
    SimulatorClient,
)
from touchstone.kit.trace import NOTHING, carried
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
    traced = carried()
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
        if traced is not NOTHING:
            message.traceparent, message.baggage = traced
        found.append((message, end - start, size))
        start = end
    return found


class _Connection:
    """One stream, from its opening to its end. When it ends, everything on it fails at once."""

    def __init__(self, call: GrpcCall, address: str) -> None:
        self._call = call
        self.ended = False
        self._address = address
        self._waiting: dict[int, tuple[_Group, int]] = {}
        self._outbox: list[_Asked] = []
        self._loop = asyncio.get_running_loop()
        self._gathering = False
        self.dropped = 0
        call.on_message = self._read
        call.on_free = self._send
        call.on_end = self._lost
        if call.ended:  # before there was anybody to tell
            self._lost("the connection was closed at once")

    @property
    def in_flight(self) -> int:
        """Return how many requests wait for their answer."""
        return len(self._waiting)

    def ask(self, asked: Sequence[_Asked], group: _Group, first: int) -> None:
        """Hand requests over; the results of `first` and on go to `group`, in their order."""
        waiting = self._waiting
        alone = not waiting
        for index in range(len(group.results)):
            waiting[first + index] = (group, index)
        self._outbox.extend(asked)
        if len(self._outbox) > IN_FLIGHT_MAX:
            # A simulator that takes nothing: what nobody waits for any more is let go.
            self._outbox = [one for one in self._outbox if one[0].request_id in waiting]
        if not self._gathering:
            self._gathering = True
            self._loop.call_soon(self._send_gathered)
            if alone:
                # Nobody is ahead: it goes at once, and what is asked for beside it shares the next.
                self._send()

    def forget(self, first: int, count: int) -> None:
        """Wait no longer: an answer that still comes is dropped, a request not sent is not sent."""
        for number in range(first, first + count):
            self._waiting.pop(number, None)

    def close(self) -> None:
        """End the stream; what is under way fails."""
        self._call.close()
        self._end(Unavailable(f"simulator at {self._address}: the client was closed"))

    def _send_gathered(self) -> None:
        self._gathering = False
        self._send()

    def _send(self) -> None:
        """Send what is asked for; what piles up until there is room shares the next message."""
        call = self._call
        while self._outbox and call.is_free:
            requests = self._next()
            if requests:
                call.send(pb.ExecuteManyRequest(requests=requests).SerializeToString())

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

    def _read(self, encoded: bytes) -> None:
        try:
            message = pb.ExecuteManyResponse.FromString(encoded)
        except DecodeError as error:
            self._call.close()
            self._lost(f"its answer cannot be read: {error}")
            return
        for result in message.results:
            self._take(result.request_id, result, None)
            for number, fill in enumerate(result.more, result.request_id + 1):
                self._take(number, result, fill)

    def _lost(self, why: str) -> None:
        # Whatever ended the stream was not these requests' doing.
        self._end(Unavailable(f"simulator at {self._address}: the stream ended: {why}"))

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

    def _end(self, why: Fault) -> None:
        if self.ended:
            return
        self.ended = True
        waiting, self._waiting = self._waiting, {}
        self._outbox.clear()
        for group, index in waiting.values():
            group.take(index, why)


class SimulatorStream:
    """Execute on one simulator over one stream; the channel and its fail-fast are `client`'s.

    Args:
        client: whose channel, address and deadline are used.
        in_flight_max: how many requests may wait for their answers at a time.
        address: where the stream goes, host:port; the client's address where it is not given.
    """

    def __init__(
        self, client: SimulatorClient, in_flight_max: int = IN_FLIGHT_MAX, *, address: str = ""
    ) -> None:
        if in_flight_max < 1:
            raise InvalidInput(f"in_flight_max: {in_flight_max}; allowed: 1 or more")
        self._client = client
        self._address = address or client.address
        self._in_flight_max = in_flight_max
        self._connection: _Connection | None = None
        self._opening: asyncio.Task[_Connection] | None = None
        # Who waits until the stream is open, in the order in which they came.
        self._entering: deque[object] = deque()
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
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        connection, self._connection = self._connection, None
        if connection is not None:
            self._late += connection.dropped
            connection.close()

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
        if connection is not None and not connection.ended and not self._entering:
            return connection
        ticket = object()
        self._entering.append(ticket)
        try:
            if connection is None or connection.ended:
                opening = self._opening
                if opening is None:
                    opening = self._opening = asyncio.create_task(self._open_anew())
                    opening.add_done_callback(self._opened)
                # One attempt for all who ask meanwhile, whoever of them gives up.
                connection = await asyncio.shield(opening)
            # Who waited hears of it a moment later; who comes in that moment does not overtake.
            while self._entering[0] is not ticket:  # noqa: ASYNC110 - it is a moment or two
                await asyncio.sleep(0)
        finally:
            self._entering.remove(ticket)
        if connection.ended:
            raise Unavailable(f"simulator at {self._address}: the stream ended")
        return connection

    async def _open_anew(self) -> _Connection:
        client, before = self._client, self._connection
        await client.connected()
        call = await open_call(
            self._address,
            f"/{SERVICE_NAME}/ExecuteMany",
            message_bytes_max=MAX_MESSAGE_BYTES,
            seconds_max=min(CONNECT_SECONDS_MAX, client.deadline_seconds),
        )
        if before is not None:
            self._late += before.dropped
        self._connection = connection = _Connection(call, self._address)
        return connection

    def _opened(self, opening: asyncio.Task[_Connection]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # whoever waited has it; where nobody did, it is nobody's


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
