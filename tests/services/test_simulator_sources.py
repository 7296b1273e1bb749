"""Sessions that a file or a generator drives, over real gRPC."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from lob.feeds import open_feed
from lob.feeds.writers import convert
from lob.live_feed import FeedMarket
from lob.live_market import FIRST_OWN_ID, FLOWS
from lob.replay import FeedReplay
from lob.types import Cancel
from services.simulator import sessions as sessions_module
from tests.services.simulator_harness import Running, running_simulator
from tests.services.test_simulator_books import BUY, SELL, kinds, lobster_file, status_of, submit
from touchstone.v1 import book_pb2

Eventually = Callable[..., Awaitable[float]]
SECOND = 1_000_000_000
OPEN_NS = 34_200 * SECOND + SECOND // 2


def day(folder: Path) -> Path:
    """Write a small LOBSTER day: three bids, an ask, then trades and an ask through the bids."""
    rows = [
        "34200.5,1,11,10,1000000,1",
        "34200.6,1,12,20,1000000,1",
        "34200.7,1,13,5,1000300,-1",
        "34201.0,4,11,10,1000000,1",
        "34202.0,1,14,7,1000000,1",
        "34203.0,4,12,20,1000000,1",
        "34204.0,4,14,3,1000000,1",
        "34205.0,1,15,9,1000100,-1",
        "34206.0,3,13,5,1000300,-1",
    ]
    file = folder / "ABC_day.csv"
    file.write_text("\n".join(rows) + "\n")
    return file


async def open_file(running: Running, **fields: Any) -> Any:
    """Open a session that the small day drives."""
    source = book_pb2.FileSource(path="ABC_day.csv")
    asked = book_pb2.OpenSessionRequest(symbol="ABC", file=source, **fields)
    return await running.books.OpenSession(asked, timeout=5)


async def open_flow(running: Running, seed: int = 7, **fields: Any) -> Any:
    """Open a session that a generator drives."""
    source = book_pb2.GeneratorSource(seed=seed, **fields)
    asked = book_pb2.OpenSessionRequest(symbol="ABC", generator=source)
    return await running.books.OpenSession(asked, timeout=5)


async def advance(running: Running, session_id: str, now_ns: int) -> Any:
    """Move a session's time on."""
    asked = book_pb2.AdvanceRequest(session_id=session_id, now_ns=now_ns)
    return await running.books.Advance(asked, timeout=10)


async def book_of(running: Running, session_id: str) -> Any:
    """Return a session's book with its orders and hash."""
    asked = book_pb2.GetBookRequest(session_id=session_id, orders=True, state_hash=True)
    return await running.books.GetBook(asked, timeout=5)


async def test_a_file_drives_a_session_and_says_when_it_ends(tmp_path: Path) -> None:
    """Time moves by Advance; the file's events up to it happen; its end is told once."""
    day(tmp_path)
    async with running_simulator(replay_dir=tmp_path) as running:
        opened = await open_file(running)
        assert ("lobster", "0.01", "1", OPEN_NS, FIRST_OWN_ID) == (
            opened.source,
            opened.tick_size,
            opened.lot_size,
            opened.now_ns,
            opened.first_own_order_id,
        )
        session = opened.session_id
        stream = running.books.StreamEvents(
            book_pb2.StreamEventsRequest(session_id=session), timeout=10
        )
        await stream.initial_metadata()
        some = await advance(running, session, 34_200 * SECOND + 7 * SECOND // 10)
        assert (3, False, []) == (some.source_events, some.source_ended, list(some.events))
        book = await book_of(running, session)
        assert [(10000, 30, 2)] == [
            (level.price_ticks, level.quantity_lots, level.order_count) for level in book.bids
        ]
        rest = await advance(running, session, 34_300 * SECOND)
        assert (6, True, 34_300 * SECOND) == (rest.source_events, rest.source_ended, rest.now_ns)
        assert ["source_ended"] == kinds(list(rest.events))
        assert 0 == rest.events[0].source_ended.unfitting
        seen = [await stream.read() for _ in range(10)]
        assert list(range(1, 11)) == [event.sequence for event in seen]
        assert "source_ended" == kinds(seen)[-1]
        assert [34_201 * SECOND, 34_203 * SECOND, 34_204 * SECOND] == [
            event.now_ns for event in seen if event.HasField("traded")
        ]
        after = await advance(running, session, 34_400 * SECOND)
        assert (0, True, []) == (after.source_events, after.source_ended, list(after.events))
        assert (await book_of(running, session)).source_ended
        market = FeedMarket(open_feed(tmp_path / "ABC_day.csv"))
        while market.next_ns() is not None:
            market.step()
        orders = [order for level in (*book.bids, *book.asks) for order in level.orders]
        assert orders
        final = await book_of(running, session)
        ours = [o.order_id for level in (*final.bids, *final.asks) for o in level.orders]
        assert [order.order_id for order in market.book.orders()] == ours


async def test_own_orders_queue_and_fill_among_a_files(tmp_path: Path) -> None:
    """Ours waits behind 30, is reached when an order behind it trades, and meets a new ask."""
    day(tmp_path)
    async with running_simulator(replay_dir=tmp_path) as running:
        opened = await open_file(running)
        session, own = opened.session_id, opened.first_own_order_id
        own_events = running.books.StreamEvents(
            book_pb2.StreamEventsRequest(session_id=session, own_only=True), timeout=10
        )
        await own_events.initial_metadata()
        await advance(running, session, 34_200 * SECOND + 8 * SECOND // 10)
        resting = await submit(running, session, own, side=BUY, quantity_lots=4, price_ticks=10000)
        better = await submit(
            running, session, own + 1, side=BUY, quantity_lots=2, price_ticks=10001
        )
        assert ["accepted"] == kinds(resting) == kinds(better)
        moved = await advance(running, session, 34_300 * SECOND)
        trades = [event.traded for event in moved.events if event.HasField("traded")]
        # The better bid gives to the first execution; ours at 100.00 to that of the order behind.
        assert [(own + 1, 2, 10001), (own, 3, 10000)] == [
            (trade.maker_order_id, trade.quantity_lots, trade.price_ticks) for trade in trades
        ]
        assert [34_201 * SECOND, 34_204 * SECOND] == [
            event.now_ns for event in moved.events if event.HasField("traded")
        ]
        heard = [await own_events.read() for _ in range(5)]
        assert ["accepted", "accepted", "traded", "traded", "source_ended"] == kinds(heard)
        left = await book_of(running, session)
        assert (own, 1) in [(o.order_id, o.leaves) for level in left.bids for o in level.orders]


async def test_in_a_session_with_a_source_ids_below_the_first_own_are_others(
    tmp_path: Path,
) -> None:
    """They can be neither taken nor touched, and the text says from where on."""
    day(tmp_path)
    async with running_simulator(replay_dir=tmp_path) as running:
        session = (await open_file(running)).session_id
        with pytest.raises(grpc.aio.AioRpcError, match=f"order_id: 5.*{FIRST_OWN_ID}"):
            await submit(running, session, 5, side=BUY, quantity_lots=1, price_ticks=1)
        cancel = book_pb2.CancelRequest(session_id=session, order_id=11)
        assert grpc.StatusCode.INVALID_ARGUMENT == await status_of(
            running.books.Cancel(cancel, timeout=5)
        )


@pytest.mark.parametrize("model", ["", *FLOWS])
async def test_a_generator_drives_a_session_the_same_way_for_the_same_seed(model: str) -> None:
    """Same seed and steps give the same book; another seed another one; rate is the pace."""
    async with running_simulator() as running:
        hashes = []
        for seed in (7, 7, 8):
            opened = await open_flow(running, seed, model=model)
            assert opened.source == (model or "zero-intelligence")
            await submit(
                running,
                opened.session_id,
                opened.first_own_order_id,
                side=SELL,
                quantity_lots=5,
                price_ticks=10_001,
            )
            moved = await advance(running, opened.session_id, opened.now_ns + 5 * SECOND)
            assert moved.source_events > 10
            assert not moved.source_ended
            hashes.append((await book_of(running, opened.session_id)).state_hash)
        assert hashes[0] == hashes[1] != hashes[2]
        slow, fast = [await open_flow(running, 7, model=model, rate=rate) for rate in (1.0, 10.0)]
        few = await advance(running, slow.session_id, slow.now_ns + SECOND)
        many = await advance(running, fast.session_id, fast.now_ns + SECOND)
        assert few.source_events * 4 < many.source_events


async def test_own_orders_fill_in_a_generators_book() -> None:
    """A bid that improves the touch is reached within a minute, and its trades are told."""
    async with running_simulator() as running:
        opened = await open_flow(running)
        session, own = opened.session_id, opened.first_own_order_id
        best = (await book_of(running, session)).bids[0].price_ticks
        await submit(running, session, own, side=BUY, quantity_lots=3, price_ticks=best)
        moved = await advance(running, session, opened.now_ns + 120 * SECOND)
        trades = [event.traded for event in moved.events if event.HasField("traded")]
        assert 3 == sum(trade.quantity_lots for trade in trades)
        assert {own} == {trade.maker_order_id for trade in trades}


async def test_a_listener_that_reads_gets_every_event_of_a_long_move() -> None:
    """The source waits for the listener: thousands of events come through a queue of a few."""
    async with running_simulator(subscriber_queue_size=64) as running:
        opened = await open_flow(running)
        stream = running.books.StreamEvents(
            book_pb2.StreamEventsRequest(session_id=opened.session_id), timeout=30
        )
        await stream.initial_metadata()
        moving = asyncio.create_task(
            advance(running, opened.session_id, opened.now_ns + 60 * SECOND)
        )
        sequence = 0
        while not moving.done() or sequence < (await book_of(running, opened.session_id)).sequence:
            sequence += 1
            assert sequence == (await stream.read()).sequence
        assert (await moving).source_events > 1_000
        assert sequence > 1_000


async def test_a_listener_that_does_not_read_is_cut_off_and_the_move_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The source's patience has an end."""
    monkeypatch.setattr(sessions_module, "PATIENCE_SECONDS", 0.05)
    async with running_simulator(subscriber_queue_size=8) as running:
        opened = await open_flow(running)
        slow = running.components.sessions.get(opened.session_id).subscribe()
        moved = await advance(running, opened.session_id, opened.now_ns + 60 * SECOND)
        assert moved.source_events > 1_000
        with pytest.raises(Exception, match="fell behind"):
            await slow.next()
        sample = running.components.registry.get_sample_value
        assert 1 == sample("simulator_subscribers_cut_off_total")


async def test_a_move_of_time_stops_at_its_deadline_and_with_its_caller(
    eventually: Eventually,
) -> None:
    """The session stays where it has come to, and goes on from there for the next caller."""
    async with running_simulator() as running:
        opened = await open_flow(running, rate=1_000.0)
        ask = book_pb2.AdvanceRequest(
            session_id=opened.session_id, now_ns=opened.now_ns + 100_000 * SECOND
        )
        assert grpc.StatusCode.DEADLINE_EXCEEDED == await status_of(
            running.books.Advance(ask, timeout=0.3)
        )
        session = running.components.sessions.get(opened.session_id)
        await eventually(lambda: not session.busy.locked(), 2.0)
        reached = session.book.now_ns
        assert opened.now_ns < reached < ask.now_ns
        leaving = running.books.Advance(ask, timeout=30)
        await eventually(lambda: session.book.now_ns > reached)
        leaving.cancel()
        await eventually(lambda: not session.busy.locked(), 2.0)
        again = await advance(running, opened.session_id, session.book.now_ns + SECOND // 1_000)
        assert again.now_ns == session.book.now_ns


async def test_commands_wait_for_a_move_that_is_under_way() -> None:
    """An order sent during a move acts at its end, not somewhere in it."""
    async with running_simulator() as running:
        opened = await open_flow(running)
        end_ns = opened.now_ns + 200 * SECOND
        moving = asyncio.create_task(advance(running, opened.session_id, end_ns))
        session = running.components.sessions.get(opened.session_id)
        while not session.busy.locked():  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0)
        own = opened.first_own_order_id
        (accepted,) = await submit(
            running, opened.session_id, own, side=BUY, quantity_lots=1, price_ticks=1
        )
        assert end_ns == accepted.now_ns
        await moving


async def test_a_session_that_is_closed_while_time_moves_ends_the_move() -> None:
    """The caller is told that it is not open any more."""
    async with running_simulator() as running:
        opened = await open_flow(running, rate=1_000.0)
        moving = asyncio.create_task(
            advance(running, opened.session_id, opened.now_ns + 100_000 * SECOND)
        )
        session = running.components.sessions.get(opened.session_id)
        while not session.busy.locked():  # noqa: ASYNC110 - it is no event
            await asyncio.sleep(0)
        await running.books.CloseSession(
            book_pb2.CloseSessionRequest(session_id=opened.session_id), timeout=5
        )
        assert grpc.StatusCode.NOT_FOUND == await status_of(moving)


async def test_own_orders_of_a_driven_session_are_bounded() -> None:
    """Others' orders do not count; the bound of the source's own does."""
    async with running_simulator(max_orders_per_session=2) as running:
        opened = await open_flow(running)
        own = opened.first_own_order_id
        for number in range(2):
            await submit(
                running, opened.session_id, own + number, side=BUY, quantity_lots=1, price_ticks=1
            )
        third = submit(
            running, opened.session_id, own + 2, side=BUY, quantity_lots=1, price_ticks=1
        )
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == await status_of(third)
        session = running.components.sessions.get(opened.session_id)
        session.apply(Cancel(own))
        await submit(running, opened.session_id, own + 2, side=BUY, quantity_lots=1, price_ticks=1)
    async with running_simulator(max_source_orders=10) as running:
        opened = await open_flow(running)
        moving = advance(running, opened.session_id, opened.now_ns + SECOND)
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == await status_of(moving)


async def test_a_file_that_breaks_off_is_told_when_it_is_reached(tmp_path: Path) -> None:
    """A line that is none is INVALID_ARGUMENT of the move that comes to it."""
    lobster_file(tmp_path / "long.csv", 9_000)
    with (tmp_path / "long.csv").open("a") as file:
        file.write("not,a,line\n")
    async with running_simulator(replay_dir=tmp_path) as running:
        source = book_pb2.FileSource(path="long.csv")
        asked = book_pb2.OpenSessionRequest(symbol="ABC", file=source)
        # What rested at the start is found by reading the whole file: it is refused at once.
        with pytest.raises(grpc.aio.AioRpcError, match="9002") as caught:
            await running.books.OpenSession(asked, timeout=10)
        assert grpc.StatusCode.INVALID_ARGUMENT == caught.value.code()


async def test_the_real_hour_drives_a_session(market_data: Path) -> None:
    """A minute of AAPL by the day's own clock: own orders at the touch trade among its own."""
    folder = market_data / "lobster"
    (file,) = sorted(folder.rglob("AAPL_*message*.csv"))[:1]
    async with running_simulator(replay_dir=folder) as running:
        source = book_pb2.FileSource(path=str(file.relative_to(folder)))
        asked = book_pb2.OpenSessionRequest(symbol="AAPL", file=source)
        opened = await running.books.OpenSession(asked, timeout=30)
        session, own = opened.session_id, opened.first_own_order_id
        await advance(running, session, opened.now_ns + 10 * SECOND)
        best = (await book_of(running, session)).bids[0].price_ticks
        await submit(running, session, own, side=BUY, quantity_lots=10, price_ticks=best)
        moved = await advance(running, session, opened.now_ns + 70 * SECOND)
        assert moved.source_events > 500
        assert 10 == sum(event.traded.quantity_lots for event in moved.events)


ENDINGS = {
    "parquet": "parquet",
    "arrays": "npy",
    "hftbacktest": "npz",
    "lobster": "csv",
    "databento": "dbn.zst",
    "itch": "itch",
}
UNSCALED = {"arrays", "hftbacktest"}
"""Formats that do not say their scale."""


@pytest.mark.parametrize("name", ENDINGS)
async def test_every_format_drives_a_session_and_a_replay(name: str, tmp_path: Path) -> None:
    """Stepping through a file and replaying it lead to the same book, whatever the format."""
    path = tmp_path / f"flow.{ENDINGS[name]}"
    convert(open_feed(day(tmp_path)), path, format=name)
    async with running_simulator(replay_dir=tmp_path) as running:
        source = book_pb2.FileSource(path=path.name)
        scale: dict[str, Any] = (
            {} if name not in UNSCALED else {"tick_size": "0.01", "lot_size": "1"}
        )
        asked = book_pb2.OpenSessionRequest(symbol="ABC", file=source, **scale)
        opened = await running.books.OpenSession(asked, timeout=10)
        tick = "0.0001" if name == "itch" else "0.01"
        assert (name, tick, "1") == (opened.source, opened.tick_size, opened.lot_size)
        moved = await advance(running, opened.session_id, opened.now_ns + 100 * SECOND)
        assert moved.source_ended
        driven = await book_of(running, opened.session_id)
        replay = book_pb2.ReplayRequest(path=path.name, **scale)
        steps = [step async for step in running.books.Replay(replay, timeout=10)]
    assert steps[-1].done
    assert steps[-1].messages == steps[-1].messages_total
    resting = [
        (o.order_id, o.leaves) for level in (*driven.bids, *driven.asks) for o in level.orders
    ]
    share = open_feed(tmp_path / "ABC_day.csv").instrument
    instrument = share if name in UNSCALED else None
    replayed = FeedReplay(open_feed(path, instrument=instrument))
    replayed.run()
    assert [(o.order_id, o.leaves) for o in replayed.book.orders()] == resting
    assert len(resting) == steps[-1].summary["resting_orders"]
    if name != "lobster":  # its replay numbers anonymous orders in its own way
        assert replayed.book.state_hash() == steps[-1].state_hash


@pytest.mark.parametrize("name", sorted(UNSCALED))
async def test_a_file_that_does_not_say_its_scale_needs_one(name: str, tmp_path: Path) -> None:
    """A session and a replay both name the field that is missing."""
    path = tmp_path / f"flow.{ENDINGS[name]}"
    convert(open_feed(day(tmp_path)), path, format=name)
    async with running_simulator(replay_dir=tmp_path) as running:
        source = book_pb2.FileSource(path=path.name)
        asked = book_pb2.OpenSessionRequest(symbol="ABC", file=source)
        with pytest.raises(grpc.aio.AioRpcError, match="tick_size: missing"):
            await running.books.OpenSession(asked, timeout=10)
        replay = running.books.Replay(book_pb2.ReplayRequest(path=path.name), timeout=10)
        with pytest.raises(grpc.aio.AioRpcError, match="tick_size: missing"):
            await replay.read()
