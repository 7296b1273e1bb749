"""The multiplexed client against simulators that answer late, wrongly, out of order or not."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import grpc
import pytest

from execution_providers import AssetClass, ExecutionRequest, Fill, FillStatus, MarketState, Order
from lob.errors import (
    DeadlineExceeded,
    Fault,
    InvalidInput,
    NotSupported,
    Overloaded,
    Unavailable,
)
from lob.types import Side
from touchstone.kit.codec import (
    decode_execution_request,
    encode_execution_request,
    encode_fill,
)
from touchstone.kit.grpc_call import open_call
from touchstone.kit.simulator_client import SimulatorClient
from touchstone.kit.simulator_stream import SimulatorStream
from touchstone.v1 import execution_pb2 as pb
from touchstone.v1 import execution_pb2_grpc

Answer = Callable[[list[pb.JsonRequest]], Awaitable[list[pb.JsonResult]]]


def order(quantity: int = 1) -> ExecutionRequest:
    """Return a request that its quantity tells apart."""
    market = MarketState(0, bids=(("9", "5"),), asks=(("10", "5"),))  # type: ignore[arg-type]
    return ExecutionRequest(
        Order("ABC", Side.BUY, Decimal(quantity)), market, None, AssetClass.EQUITY
    )


def filled(asked: pb.JsonRequest) -> pb.JsonResult:
    """Return a result whose fill has the quantity of its request."""
    quantity = decode_execution_request(asked.request).order.quantity
    fill = Fill(FillStatus.FILLED, quantity, Decimal(10), Decimal(0), Decimal(0))
    return pb.JsonResult(
        request_id=asked.request_id, fill=encode_fill(fill), provider_seconds=0.000_02
    )


def alone(asked: pb.JsonRequest) -> list[pb.JsonRequest]:
    """Return each request that came together with others as one of its own."""
    return [
        pb.JsonRequest(
            request_id=asked.request_id + index,
            request=request,
            seed=asked.seed,
            seconds_left=asked.seconds_left,
        )
        for index, request in enumerate((asked.request, *asked.more))
    ]


async def at_once(asked: list[pb.JsonRequest]) -> list[pb.JsonResult]:
    """Answer everything in order."""
    return [filled(one) for one in asked]


@dataclass
class Scripted(execution_pb2_grpc.ExecutionServiceServicer):
    """A simulator that answers each message as the script says, and counts streams."""

    answer: Answer = at_once
    streams: int = 0
    seen: list[pb.JsonRequest] = field(default_factory=list)

    async def ExecuteMany(  # noqa: N802
        self,
        request_iterator: AsyncIterator[pb.ExecuteManyRequest],
        context: Any,  # noqa: ARG002 - the interface's argument
    ) -> AsyncIterator[pb.ExecuteManyResponse]:
        """Answer by the script, one message after another."""
        self.streams += 1
        async for message in request_iterator:
            asked = [one for together in message.requests for one in alone(together)]
            self.seen += asked
            yield pb.ExecuteManyResponse(results=await self.answer(asked))


@asynccontextmanager
async def serving(servicer: Scripted, port: int = 0) -> AsyncIterator[tuple[Any, int]]:
    """Serve on a port; gives the server and the port."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    execution_pb2_grpc.add_ExecutionServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield server, bound
    finally:
        await server.stop(None)


@asynccontextmanager
async def calling(
    port: int, deadline_seconds: float = 5.0, in_flight_max: int = 4096
) -> AsyncIterator[SimulatorStream]:
    """Open a client and its stream to a port."""
    async with SimulatorClient(f"127.0.0.1:{port}", deadline_seconds) as client:
        stream = SimulatorStream(client, in_flight_max)
        try:
            yield stream
        finally:
            await stream.close()


async def collect(stream: SimulatorStream, count: int) -> list[Any]:
    """Ask for so many orders side by side; return their results."""
    asked = (stream.execute(order(n + 1), 0) for n in range(count))
    return await asyncio.gather(*asked, return_exceptions=True)


@pytest.mark.parametrize("moments", range(5))
async def test_nobody_overtakes_who_waits_for_the_stream(
    monkeypatch: pytest.MonkeyPatch, moments: int
) -> None:
    """Whoever asks in the moment when it is open goes behind those who waited for that."""
    held = asyncio.get_running_loop().create_future()
    reached = asyncio.Event()

    async def held_up(*arguments: Any, **options: Any) -> Any:
        call = await open_call(*arguments, **options)
        reached.set()
        await held
        return call

    monkeypatch.setattr("touchstone.kit.simulator_stream.open_call", held_up)
    servicer = Scripted()
    async with serving(servicer) as (_, port), calling(port) as stream:
        asked = [asyncio.create_task(stream.execute(order(1), 0))]
        await reached.wait()
        for quantity in range(2, 7):
            if quantity == 2 + moments:
                held.set_result(None)
            asked.append(asyncio.create_task(stream.execute(order(quantity), 0)))
            await asyncio.sleep(0)
        await asyncio.gather(*asked)
    came = [decode_execution_request(one.request).order.quantity for one in servicer.seen]
    assert [1, 2, 3, 4, 5, 6] == came


async def test_answers_out_of_order_go_to_whoever_asked() -> None:
    """The last request is answered first, in another message; every caller has his own."""
    held: list[pb.JsonRequest] = []

    async def backwards(asked: list[pb.JsonRequest]) -> list[pb.JsonResult]:
        held.extend(asked)
        return [filled(held.pop()) for _ in range(len(held))] if len(held) == 8 else []

    servicer = Scripted(backwards)
    async with serving(servicer) as (_, port), calling(port) as stream:
        one_by_one = [asyncio.create_task(stream.execute(order(n + 1), 7)) for n in range(5)]
        await asyncio.sleep(0.05)
        rest = await stream.execute_many([order(6), order(7), order(8)], 7)
        fills = [*await asyncio.gather(*one_by_one), *rest]
        quantities = [fill.filled_quantity for fill in fills if isinstance(fill, Fill)]
        assert [Decimal(n + 1) for n in range(8)] == quantities
        assert 1 == servicer.streams
        assert {7} == {asked.seed for asked in servicer.seen}
        assert 0 == stream.in_flight


async def test_requests_of_one_moment_share_a_message() -> None:
    """A hundred at a time need far fewer messages than a hundred, and none has more than 64."""
    sizes: list[int] = []

    async def counting(asked: list[pb.JsonRequest]) -> list[pb.JsonResult]:
        sizes.append(len(asked))
        return [filled(one) for one in asked]

    async with serving(Scripted(counting)) as (_, port), calling(port) as stream:
        assert 100 == len([f for f in await collect(stream, 100) if isinstance(f, Fill)])
        assert max(sizes) <= 64
        assert len(sizes) < 20


async def test_a_simulator_that_dies_fails_everything_on_its_way_at_once() -> None:
    """All that wait get Unavailable together, long before their deadline."""

    async def never(_: list[pb.JsonRequest]) -> list[pb.JsonResult]:
        await asyncio.sleep(30)
        return []

    async with serving(Scripted(never)) as (server, port), calling(port, 20.0) as stream:
        waiting = asyncio.create_task(collect(stream, 20))
        while stream.in_flight < 20:  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await server.stop(None)
        results = await waiting
        assert time.monotonic() - started < 2.0
        assert [Unavailable] * 20 == [type(result) for result in results]
        assert 0 == stream.in_flight


async def test_a_simulator_that_comes_back_is_found_again() -> None:
    """Fail-fast while nobody is there; then a new stream, and answers."""
    async with serving(Scripted()) as (_, port), calling(port) as stream:
        assert isinstance(await stream.execute(order(3), 0), Fill)
        first_port = port
        await asyncio.sleep(0)
        back = Scripted()
        await _.stop(None)
        for _n in range(3):
            started = time.monotonic()
            with pytest.raises(Unavailable):
                await stream.execute(order(), 0)
            assert time.monotonic() - started < 0.5
        async with serving(back, first_port):
            give_up = time.monotonic() + 10
            while True:
                try:
                    fill = await stream.execute(order(4), 0)
                    break
                except Unavailable:
                    assert time.monotonic() < give_up
                    await asyncio.sleep(0.02)
            assert Decimal(4) == fill.filled_quantity
            assert 1 == back.streams


async def test_a_late_answer_is_dropped_and_the_stream_goes_on() -> None:
    """The deadline ends the wait; what comes after it is nobody's, and the next is answered."""
    slow = asyncio.Event()

    async def late(asked: list[pb.JsonRequest]) -> list[pb.JsonResult]:
        if not slow.is_set():
            await slow.wait()
        return [filled(one) for one in asked]

    servicer = Scripted(late)
    async with serving(servicer) as (_, port), calling(port, 0.3) as stream:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"0\.3 s"):
            await stream.execute(order(), 0)
        assert 0.25 < time.monotonic() - started < 1.5
        assert 0 == stream.in_flight
        slow.set()
        assert Decimal(2) == (await stream.execute(order(2), 0)).filled_quantity
        assert 1 == stream.late_answers
        assert 1 == servicer.streams


async def test_in_a_group_only_the_late_one_is_late() -> None:
    """What was answered in time stays answered where another of the group is late."""

    async def all_but_one(asked: list[pb.JsonRequest]) -> list[pb.JsonResult]:
        return [filled(one) for one in asked[1:]]

    async with serving(Scripted(all_but_one)) as (_, port), calling(port, 0.3) as stream:
        late, *rest = await stream.execute_many([order(1), order(2), order(3)], 0)
        assert isinstance(late, DeadlineExceeded)
        assert all(isinstance(result, Fill) for result in rest)
        assert 0 == stream.in_flight


async def test_the_bound_in_flight_refuses_at_once() -> None:
    """Beyond the bound there is no wait; a place is free again when an answer has come."""
    release = asyncio.Event()

    async def held(asked: list[pb.JsonRequest]) -> list[pb.JsonResult]:
        await release.wait()
        return [filled(one) for one in asked]

    async with (
        serving(Scripted(held)) as (_, port),
        calling(port, in_flight_max=2) as stream,
    ):
        waiting = asyncio.create_task(collect(stream, 2))
        while stream.in_flight < 2:  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.005)
        with pytest.raises(Overloaded, match="2 requests wait; allowed: 2"):
            await stream.execute(order(), 0)
        with pytest.raises(Overloaded):
            await stream.execute_many([order()] * 3, 0)
        release.set()
        assert all(isinstance(result, Fill) for result in await waiting)
        assert isinstance(await stream.execute(order(), 0), Fill)


@pytest.mark.parametrize(
    "garbage",
    [b"", b"{", b"{}", b"null", b"\xff\xfe", b'{"status":"FILLED","filled_quantity":"NaN"}'],
)
async def test_garbage_is_a_defect_of_the_simulator_and_spoils_no_other(garbage: bytes) -> None:
    """An answer that is no fill is INTERNAL; its neighbours have their fills."""

    async def some(asked: list[pb.JsonRequest]) -> list[pb.JsonResult]:
        wrong = pb.JsonResult(request_id=asked[1].request_id, fill=garbage)
        nobodys = pb.JsonResult(request_id=999_999, fill=b"{}")
        return [nobodys, filled(asked[0]), wrong, filled(asked[2]), filled(asked[2])]

    async with serving(Scripted(some)) as (_, port), calling(port) as stream:
        first, second, third = await stream.execute_many([order(1), order(2), order(3)], 0)
        assert isinstance(first, Fill)
        assert isinstance(third, Fill)
        assert type(second) is Fault
        assert "its answer is no fill" in str(second)
        assert 2 == stream.late_answers


async def test_an_answer_without_an_outcome_is_a_defect_too() -> None:
    """Neither fill nor failure is no answer."""

    async def empty(asked: list[pb.JsonRequest]) -> list[pb.JsonResult]:
        return [pb.JsonResult(request_id=one.request_id) for one in asked]

    async with serving(Scripted(empty)) as (_, port), calling(port) as stream:
        with pytest.raises(Fault, match="its answer is no fill"):
            await stream.execute(order(), 0)


async def test_a_fault_keeps_its_kind_and_words() -> None:
    """What the simulator refused arrives as what it was."""

    async def refusing(asked: list[pb.JsonRequest]) -> list[pb.JsonResult]:
        failure = pb.Failure(code="UNIMPLEMENTED", message="icebergs: not here", retryable=False)
        return [pb.JsonResult(request_id=one.request_id, failure=failure) for one in asked]

    async with serving(Scripted(refusing)) as (_, port), calling(port) as stream:
        with pytest.raises(NotSupported, match="icebergs: not here"):
            await stream.execute(order(), 0)


async def test_a_simulator_of_another_version_is_unavailable() -> None:
    """Where the call does not exist the stream ends, and says so."""
    bare = execution_pb2_grpc.ExecutionServiceServicer()
    async with serving(bare) as (_, port), calling(port) as stream:  # type: ignore[arg-type]
        with pytest.raises(Unavailable, match="the stream ended"):
            await stream.execute(order(), 0)


async def test_nobody_there_is_unavailable_at_once() -> None:
    """No stream is opened to a port where nobody listens."""
    async with serving(Scripted()) as (_, port):
        pass
    async with calling(port) as stream:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await stream.execute(order(), 0)
        assert time.monotonic() - started < 0.5


async def test_a_caller_who_gives_up_leaves_nothing_behind() -> None:
    """A cancelled request takes no place and its answer is dropped."""
    release = asyncio.Event()

    async def held(asked: list[pb.JsonRequest]) -> list[pb.JsonResult]:
        await release.wait()
        return [filled(one) for one in asked]

    async with serving(Scripted(held)) as (_, port), calling(port) as stream:
        task = asyncio.create_task(stream.execute(order(), 0))
        while stream.in_flight < 1:  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert 0 == stream.in_flight
        release.set()
        assert isinstance(await stream.execute(order(), 0), Fill)
        assert 1 == stream.late_answers


async def test_closing_fails_what_is_under_way() -> None:
    """Nobody waits for a stream that is closed."""

    async def never(_: list[pb.JsonRequest]) -> list[pb.JsonResult]:
        await asyncio.sleep(30)
        return []

    async with serving(Scripted(never)) as (_, port), calling(port) as stream:
        waiting = asyncio.create_task(collect(stream, 3))
        while stream.in_flight < 3:  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.005)
        async with asyncio.timeout(2):
            await stream.close()
            assert [Unavailable] * 3 == [type(result) for result in await waiting]


async def test_a_bound_of_nothing_is_refused() -> None:
    """A stream that could carry no request is a mistake."""
    async with SimulatorClient("127.0.0.1:1", 1.0) as client:
        with pytest.raises(InvalidInput, match="in_flight_max: 0; allowed: 1 or more"):
            SimulatorStream(client, 0)


async def test_a_large_group_is_cut_into_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither more orders nor more bytes to a message than its bounds; every result comes back."""
    sizes: list[int] = []

    async def counting(asked: list[pb.JsonRequest]) -> list[pb.JsonResult]:
        sizes.append(len(asked))
        first, *rest = (filled(one) for one in asked)
        together = pb.JsonResult(request_id=first.request_id, fill=first.fill)
        together.more.extend(one.fill for one in rest)
        return [together]

    async with serving(Scripted(counting)) as (_, port), calling(port) as stream:
        orders = [order(n + 1) for n in range(150)]
        results = await stream.execute_many(orders, 0)
        assert [64, 64, 22] == sizes
        quantities = [one.filled_quantity for one in results if isinstance(one, Fill)]
        assert [Decimal(n + 1) for n in range(150)] == quantities
        sizes.clear()
        bytes_of_two = 2 * len(encode_execution_request(order(1)))
        monkeypatch.setattr("touchstone.kit.simulator_stream.MESSAGE_BYTES_MAX", bytes_of_two)
        assert 5 == len(await stream.execute_many(orders[:5], 0))
        assert [2, 2, 1] == sizes
        assert 0 == stream.in_flight


async def test_messages_larger_than_every_window_come_whole() -> None:
    """Megabytes each way, many at a time, on the flow control of a real server."""

    async def wordy(asked: list[pb.JsonRequest]) -> list[pb.JsonResult]:
        results = [filled(one) for one in asked]
        for one, result in zip(asked, results, strict=True):
            result.fill = result.fill + b" " * len(one.request) * 4
        return results

    async with serving(Scripted(wordy)) as (_, port), calling(port) as stream:
        deep = tuple((str(10**9 + n), "1" * 21) for n in range(1_000))
        market = MarketState(0, bids=(), asks=deep)  # type: ignore[arg-type]
        orders = [
            ExecutionRequest(
                Order("ABC", Side.BUY, Decimal(n + 1)), market, None, AssetClass.EQUITY
            )
            for n in range(256)
        ]
        groups = [stream.execute_many(orders[n : n + 64], 0) for n in range(0, 256, 64)]
        results = [one for group in await asyncio.gather(*groups) for one in group]
        quantities = [one.filled_quantity for one in results if isinstance(one, Fill)]
        assert [Decimal(n + 1) for n in range(256)] == quantities


async def test_what_nobody_waits_for_any_more_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A simulator that takes nothing makes no queue without an end, and is answered by none."""
    monkeypatch.setattr("touchstone.kit.simulator_stream.IN_FLIGHT_MAX", 4)
    servicer = Scripted()
    async with serving(servicer) as (_, port), calling(port, 0.1) as stream:
        await stream.execute(order(), 0)
        connection = stream._connection
        assert connection is not None
        connection._call.pause_writing()
        for _n in range(5):
            late = await stream.execute_many([order()], 0)
            late += await stream.execute_many([order()], 0)
            assert [DeadlineExceeded] * 2 == [type(one) for one in late]
        assert len(connection._outbox) <= 5
        connection._call.resume_writing()
        assert isinstance(await stream.execute(order(2), 0), Fill)
        assert 2 == len(servicer.seen)


async def test_a_stream_that_ends_as_it_begins_is_unavailable_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits on it for his deadline, neither now nor later; the next one that opens is used.

    The end may come before anybody listens for it.
    """
    accepting, opened = True, 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def opening(*arguments: Any, **more: Any) -> Any:
        nonlocal opened
        call = await open_call(*arguments, **more)
        opened += 1
        while accepting and not call.ended:  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0.001)
        return call

    monkeypatch.setattr("touchstone.kit.simulator_stream.open_call", opening)
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        serving(Scripted()) as (_, general),
        SimulatorClient(f"127.0.0.1:{general}", 2.0) as client,
    ):
        stream = SimulatorStream(client, address=f"127.0.0.1:{port}")
        for number in range(2):
            with pytest.raises(Unavailable, match="the stream ended"):
                await stream.execute(order(), 0)
            assert number + 1 == opened
        accepting = False
        stream._address = f"127.0.0.1:{general}"
        assert isinstance(await stream.execute(order(), 0), Fill)
        await stream.close()
    server.close()
