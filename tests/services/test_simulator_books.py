"""BookService over real gRPC: sessions, depth, events, and every bound."""

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from lob import OrderBook
from lob.replay import LobsterReplay
from lob.types import Side
from services.simulator import replays
from services.simulator.sessions import Limits, Sessions
from tests.services.simulator_harness import Running, running_simulator
from touchstone.v1 import book_pb2, execution_pb2

BUY, SELL = execution_pb2.SIDE_BUY, execution_pb2.SIDE_SELL


async def open_session(running: Running, symbol: str = "ABC") -> str:
    """Open a session and return its id."""
    answer = await running.books.OpenSession(book_pb2.OpenSessionRequest(symbol=symbol), timeout=5)
    return str(answer.session_id)


async def submit(running: Running, session_id: str, order_id: int, **fields: Any) -> list[Any]:
    """Submit an order and return its events."""
    message = book_pb2.SubmitRequest(session_id=session_id, order_id=order_id, **fields)
    answer = await running.books.Submit(message, timeout=5)
    return list(answer.events)


def kinds(events: list[Any]) -> list[str]:
    """Return the names of events."""
    return [event.WhichOneof("event") for event in events]


async def status_of(call: Any) -> grpc.StatusCode:
    """Return the status that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def test_a_session_is_a_book() -> None:
    """Submit, trade, replace, cancel and read: as the matching core itself would answer."""
    async with running_simulator() as running:
        session = await open_session(running)
        resting = await submit(running, session, 1, side=SELL, quantity_lots=5, price_ticks=101)
        assert ["accepted"] == kinds(resting)
        await submit(running, session, 2, side=SELL, quantity_lots=4, price_ticks=101)
        taken = await submit(running, session, 3, side=BUY, quantity_lots=7, price_ticks=101)
        assert ["accepted", "traded", "traded"] == kinds(taken)
        assert [3, 4, 5] == [event.sequence for event in taken]
        assert (1, 3, 5, BUY) == (
            taken[1].traded.maker_order_id,
            taken[1].traded.taker_order_id,
            taken[1].traded.quantity_lots,
            taken[1].traded.aggressor_side,
        )
        replaced = await running.books.Replace(
            book_pb2.ReplaceRequest(
                session_id=session, order_id=2, price_ticks=102, quantity_lots=9
            ),
            timeout=5,
        )
        assert ["replaced"] == kinds(list(replaced.events))
        unknown = await running.books.Cancel(
            book_pb2.CancelRequest(session_id=session, order_id=77), timeout=5
        )
        assert "UNKNOWN_ORDER" == unknown.events[0].rejected.reason

        same = OrderBook()
        same.submit(1, Side.SELL, 5, 101)
        same.submit(2, Side.SELL, 4, 101)
        same.submit(3, Side.BUY, 7, 101)
        same.replace(2, 102, 9)
        book = await running.books.GetBook(
            book_pb2.GetBookRequest(session_id=session, orders=True, state_hash=True),
            timeout=5,
        )
        assert same.state_hash() == book.state_hash
        assert [(102, 9, 1)] == [
            (level.price_ticks, level.quantity_lots, level.order_count) for level in book.asks
        ]
        assert [2] == [order.order_id for order in book.asks[0].orders]
        cancelled = await running.books.Cancel(
            book_pb2.CancelRequest(session_id=session, order_id=2), timeout=5
        )
        assert ["cancelled"] == kinds(list(cancelled.events))


async def test_a_session_keeps_the_whole_rulebook() -> None:
    """Pro-rata, icebergs, hidden orders, stops and expiry go in and come out over the wire."""
    async with running_simulator() as running:
        opened = await running.books.OpenSession(
            book_pb2.OpenSessionRequest(
                symbol="ABC",
                allocation=book_pb2.ALLOCATION_PRO_RATA,
                minimum_allocation_lots=2,
                day_close_ns=40,
            ),
            timeout=5,
        )
        session = opened.session_id
        await submit(
            running, session, 1, side=SELL, quantity_lots=9, price_ticks=101, display_lots=3
        )
        await submit(running, session, 2, side=SELL, quantity_lots=6, price_ticks=101)
        await submit(
            running,
            session,
            3,
            side=SELL,
            quantity_lots=5,
            price_ticks=101,
            hidden=True,
            time_in_force=execution_pb2.TIME_IN_FORCE_GTD,
            expire_ns=30,
        )
        await submit(
            running,
            session,
            4,
            side=BUY,
            quantity_lots=2,
            price_ticks=90,
            stop_ticks=101,
            order_type=book_pb2.BOOK_ORDER_TYPE_STOP_LIMIT,
            time_in_force=execution_pb2.TIME_IN_FORCE_DAY,
        )
        ask = book_pb2.GetBookRequest(session_id=session, orders=True)
        book = await running.books.GetBook(ask, timeout=5)
        assert [(101, 9, 2)] == [(a.price_ticks, a.quantity_lots, a.order_count) for a in book.asks]
        assert [(1, 9, 3, False), (2, 6, 6, False), (3, 5, 0, True)] == [
            (o.order_id, o.leaves, o.displayed_lots, o.hidden) for o in book.asks[0].orders
        ]
        assert [(4, 101, 90, 2)] == [
            (s.order_id, s.stop_ticks, s.price_ticks, s.quantity_lots) for s in book.stops
        ]
        reduced = await running.books.Reduce(
            book_pb2.ReduceRequest(session_id=session, order_id=2, quantity_lots=3), timeout=5
        )
        assert ["reduced"] == kinds(list(reduced.events))

        # Three and three show: a share of 2 each, and the last lot by time empties the iceberg.
        events = await submit(running, session, 5, side=BUY, quantity_lots=5, price_ticks=101)
        assert ["accepted", "traded", "traded", "refilled", "triggered"] == kinds(events)
        assert [3, 2] == [event.traded.quantity_lots for event in events[1:3]]
        expired = await running.books.Advance(
            book_pb2.AdvanceRequest(session_id=session, now_ns=40), timeout=5
        )
        assert [(3, 5), (4, 2)] == [
            (event.expired.order_id, event.expired.quantity_lots) for event in expired.events
        ]
        assert 40 == (await running.books.GetBook(ask, timeout=5)).now_ns
        earlier = running.books.Advance(
            book_pb2.AdvanceRequest(session_id=session, now_ns=39), timeout=5
        )
        assert grpc.StatusCode.INVALID_ARGUMENT == await status_of(earlier)


async def test_levels_without_orders_unless_asked() -> None:
    """L2 depth is levels only; L3 adds the orders of exactly those levels."""
    async with running_simulator() as running:
        session = await open_session(running)
        for order_id in range(1, 7):
            await submit(
                running,
                session,
                order_id,
                side=BUY,
                quantity_lots=1,
                price_ticks=100 - order_id % 3,
            )
        ask = book_pb2.GetBookRequest
        plain = await running.books.GetBook(ask(session_id=session, levels=2), timeout=5)
        assert [[], []] == [list(level.orders) for level in plain.bids]
        assert not plain.HasField("state_hash")
        deep = await running.books.GetBook(
            ask(session_id=session, levels=2, orders=True), timeout=5
        )
        assert [[3, 6], [1, 4]] == [
            [order.order_id for order in level.orders] for level in deep.bids
        ]


async def test_events_stream_to_a_subscriber_until_the_session_closes() -> None:
    """Every event from the subscription on, in sequence; then NOT_FOUND."""
    async with running_simulator() as running:
        session = await open_session(running)
        stream = running.books.StreamEvents(
            book_pb2.StreamEventsRequest(session_id=session), timeout=10
        )
        await stream.initial_metadata()
        await submit(running, session, 1, side=BUY, quantity_lots=1, price_ticks=9)
        await submit(running, session, 2, side=SELL, quantity_lots=1, price_ticks=9)
        seen = [await stream.read() for _ in range(3)]
        assert ["accepted", "accepted", "traded"] == kinds(seen)
        assert [1, 2, 3] == [event.sequence for event in seen]
        await running.books.CloseSession(
            book_pb2.CloseSessionRequest(session_id=session), timeout=5
        )
        assert grpc.StatusCode.NOT_FOUND == await status_of(stream.read())


async def test_sessions_are_bounded_and_named() -> None:
    """One too many is RESOURCE_EXHAUSTED; an unknown one is NOT_FOUND; closing frees a place."""
    async with running_simulator(max_sessions=2) as running:
        first = await open_session(running)
        await open_session(running)
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == await status_of(open_session(running))
        await running.books.CloseSession(book_pb2.CloseSessionRequest(session_id=first), timeout=5)
        await open_session(running)
        assert grpc.StatusCode.NOT_FOUND == await status_of(
            submit(running, first, 1, side=BUY, quantity_lots=1, price_ticks=1)
        )


async def test_an_unspecified_side_is_refused_and_a_bad_number_is_an_event() -> None:
    """What the message cannot say is a status; what the book refuses is an event."""
    async with running_simulator() as running:
        session = await open_session(running)
        assert grpc.StatusCode.INVALID_ARGUMENT == await status_of(
            submit(running, session, 1, quantity_lots=1, price_ticks=1)
        )
        events = await submit(running, session, 1, side=BUY, quantity_lots=0, price_ticks=1)
        assert "INVALID_QUANTITY" == events[0].rejected.reason


async def test_a_full_book_takes_no_more_orders() -> None:
    """The bound on resting orders is RESOURCE_EXHAUSTED; cancelling makes room."""
    async with running_simulator(max_orders_per_session=1) as running:
        session = await open_session(running)
        await submit(running, session, 1, side=BUY, quantity_lots=1, price_ticks=1)
        full = submit(running, session, 2, side=BUY, quantity_lots=1, price_ticks=1)
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == await status_of(full)


def lobster_file(path: Path, orders: int) -> None:
    """Write a LOBSTER message file that adds bids and deletes the first."""
    lines = [f"{34200 + i}.5,1,{100 + i},10,{1_000_000 - 100 * (i % 50)},1" for i in range(orders)]
    lines.append(f"{34200 + orders}.5,3,100,10,1000000,1")
    path.write_text("\n".join(lines) + "\n")


async def test_a_replay_tells_its_progress_and_ends_with_the_book(tmp_path: Path) -> None:
    """The last message has the counts and the hash of the rebuilt book."""
    lobster_file(tmp_path / "day.csv", 5_000)
    async with running_simulator(replay_dir=tmp_path) as running:
        ask = book_pb2.ReplayRequest(path="day.csv")
        seen = [step async for step in running.books.Replay(ask, timeout=30)]
    same = LobsterReplay(tmp_path / "day.csv")
    same.run()
    assert [step.messages for step in seen] == sorted(step.messages for step in seen)
    last = seen[-1]
    assert (True, 5_001, 5_001) == (last.done, last.messages, last.messages_total)
    assert not any(step.done for step in seen[:-1])
    assert same.book.state_hash() == last.state_hash
    assert 4_999 == last.summary["resting_orders"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("../secret.csv", grpc.StatusCode.INVALID_ARGUMENT),
        ("/etc/hostname", grpc.StatusCode.INVALID_ARGUMENT),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        ("none.csv", grpc.StatusCode.NOT_FOUND),
        ("bad.csv", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_a_replay_reads_good_files_below_its_folder_only(
    tmp_path: Path, path: str, status: grpc.StatusCode
) -> None:
    """Anything above, absent or malformed is refused."""
    folder = tmp_path / "data"
    folder.mkdir()
    lobster_file(tmp_path / "secret.csv", 3)
    (folder / "bad.csv").write_text("no,numbers\n")
    async with running_simulator(replay_dir=folder) as running:
        stream = running.books.Replay(book_pb2.ReplayRequest(path=path), timeout=5)
        assert status == await status_of(stream.read())


async def test_a_replay_without_a_folder_is_refused() -> None:
    """The text names the setting."""
    async with running_simulator() as running:
        stream = running.books.Replay(book_pb2.ReplayRequest(path="x.csv"), timeout=5)
        with pytest.raises(grpc.aio.AioRpcError, match="TOUCHSTONE_SIMULATOR_REPLAY_DIR"):
            await stream.read()


async def test_replays_are_bounded_and_end_with_their_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one is RESOURCE_EXHAUSTED; cancelling the first makes room."""
    lobster_file(tmp_path / "day.csv", 3)

    def endless(_: Path, __: Any, progress: Any) -> None:
        for messages in range(10_000):
            progress.tell(messages, 10_000)
            time.sleep(0.005)

    monkeypatch.setattr(replays, "_replay", endless)
    async with running_simulator(replay_dir=tmp_path) as running:
        ask = book_pb2.ReplayRequest(path="day.csv")
        first = running.books.Replay(ask, timeout=30)
        await first.read()
        second = running.books.Replay(ask, timeout=30)
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == await status_of(second.read())
        first.cancel()
        async with asyncio.timeout(10):
            while running.components.replays.running:  # noqa: ASYNC110 - it is no event
                await asyncio.sleep(0.01)


async def test_a_slow_subscriber_is_cut_off_and_the_session_goes_on() -> None:
    """A full queue ends that subscription with `Overloaded`, and nothing else."""
    async with running_simulator(subscriber_queue_size=4) as running:
        sessions = running.components.sessions
        session = sessions.open("ABC")
        slow, quick = session.subscribe(), session.subscribe()
        heard = []
        for order_id in range(1, 10):
            message = book_pb2.SubmitRequest(
                session_id=session.session_id,
                order_id=order_id,
                side=BUY,
                quantity_lots=1,
                price_ticks=1,
            )
            await running.books.Submit(message, timeout=5)
            heard.append((await quick.next())[0])
        assert list(range(1, 10)) == heard
        with pytest.raises(Exception, match="fell behind"):
            await slow.next()
        sample = running.components.registry.get_sample_value
        assert 1 == sample("simulator_subscribers_cut_off_total")


async def test_idle_sessions_end() -> None:
    """A session that nobody used for its idle time is gone; a used one stays."""
    async with running_simulator() as running:
        now = [0.0]
        limits = Limits(
            sessions=5,
            orders_per_session=5,
            subscribers_per_session=1,
            queue_size=5,
            idle_seconds=10.0,
        )
        sessions = Sessions(limits, running.components.metrics, lambda: now[0])
        idle, used = sessions.open("A"), sessions.open("B")
        listening = asyncio.ensure_future(idle.subscribe().next())
        await asyncio.sleep(0)
        now[0] = 8.0
        sessions.get(used.session_id)
        now[0] = 11.0
        sessions.expire()
        assert 1 == len(sessions)
        with pytest.raises(Exception, match="the session has ended"):
            await asyncio.wait_for(listening, 5)
