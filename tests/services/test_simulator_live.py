"""Executions in live sessions: the session's book, as it stands when the order arrives."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest

from execution_providers.types import BarData, ExecutionRequest, MarketState, Order
from lob.errors import Conflict, InvalidInput, NotFound
from services.simulator.sessions import FIRST_EXECUTION_ID
from tests.services.simulator_harness import CONFIG, Running, request, running_simulator
from tests.services.test_simulator_books import BUY, SELL, open_session, status_of, submit
from tests.services.test_simulator_sources import (
    SECOND,
    advance,
    book_of,
    day,
    open_file,
    open_flow,
)
from touchstone.kit.rpc import request_to_proto
from touchstone.kit.simulator_stream import SimulatorStream
from touchstone.v1 import book_pb2

Eventually = Callable[..., Awaitable[float]]


@pytest.fixture(name="config")
def config_file(tmp_path: Path) -> Path:
    """A configuration with one latency for every order: 400 ms."""
    file = tmp_path / "l3.yaml"
    file.write_text(
        "latency: {distribution: constant, order_us: 400000, exchange_us: 0}\n"
        "fill_probability: {enabled: true}\n"
    )
    return file


def order(side: str, quantity: int, **fields: Any) -> ExecutionRequest:
    """Return a request without a market of its own."""
    asked = Order("ABC", side, quantity, **fields)  # type: ignore[arg-type]
    return ExecutionRequest(asked, MarketState(0), None, "EQUITY")  # type: ignore[arg-type]


def bar(seconds: float) -> BarData:
    """Return a bar of so long; a session asks for nothing else of it."""
    return BarData("1", "1", "1", "1", 1, round(seconds * 1_000))  # type: ignore[arg-type]


async def two_sided(running: Running, **fields: Any) -> str:
    """Open a session of cents with 99.99:[5] 100.01:[3] 100.02:[10]."""
    asked = book_pb2.OpenSessionRequest(symbol="ABC", tick_size="0.01", lot_size="1", **fields)
    session = str((await running.books.OpenSession(asked, timeout=5)).session_id)
    for order_id, side, lots, ticks in (
        (1, BUY, 5, 9999),
        (2, SELL, 3, 10001),
        (3, SELL, 10, 10002),
    ):
        await submit(running, session, order_id, side=side, quantity_lots=lots, price_ticks=ticks)
    return session


async def test_an_order_takes_from_the_sessions_book_and_it_is_gone(config: Path) -> None:
    """The depth of the request is not looked at; the next order finds what the first one left."""
    async with running_simulator(l3_config_path=config) as running:
        session = await two_sided(running)
        asked = replace(order("BUY", 4), market=request().market)
        first = await running.client.execute(asked, 1, session_id=session)
        assert ("FILLED", Decimal("100.0125")) == (first.status, first.average_price)
        assert "100" == first.attribution["reference_price"]
        assert session == first.attribution["session_id"]
        assert "live session" == first.attribution["models"]["book"]
        assert running.components.executions.current.digest == first.attribution["models"]["config"]
        assert {"spread": "1", "depth": "0.25", "latency_drift": "0", "impact": "0"} == (
            first.attribution["slippage"]
        )
        assert 400_000_000 == first.attribution["latency_ns"]
        book = await book_of(running, session)
        assert [(10002, 9)] == [(a.price_ticks, a.quantity_lots) for a in book.asks]
        assert 400_000_000 == book.now_ns
        second = await running.client.execute(order("BUY", 20), 1, session_id=session)
        assert ("PARTIALLY_FILLED", Decimal(9)) == (second.status, second.filled_quantity)
        third = await running.client.execute(
            order("BUY", 1, type="LIMIT", limit_price="100.00"), 1, session_id=session
        )
        assert ("UNFILLED", "0") == (third.status, third.attribution["queue_ahead"])
        assert 1 == len((await book_of(running, session)).bids)


async def test_the_book_is_that_of_the_arrival(tmp_path: Path, config: Path) -> None:
    """What the file does while the order is on its way happens first, and is counted."""
    day(tmp_path)
    async with running_simulator(l3_config_path=config, replay_dir=tmp_path) as running:
        opened = await open_file(running)
        session = opened.session_id
        await advance(running, session, opened.now_ns + SECOND // 4)
        # 34200.75: sold into 30 at 100.00; at 34201.0 ten of them trade before it arrives.
        sold = await running.client.execute(order("SELL", 25), 1, session_id=session)
        assert ("PARTIALLY_FILLED", Decimal(20)) == (sold.status, sold.filled_quantity)
        assert {"trades": 1, "cancels": 0, "adds": 0, "quote_moves": 0} == (
            sold.attribution["events_in_flight"]
        )
        assert "lobster" == sold.attribution["models"]["background_flow"]
        assert opened.now_ns + SECOND * 65 // 100 == (await book_of(running, session)).now_ns


async def test_a_limit_order_waits_among_the_others_until_its_bar_ends(
    tmp_path: Path, config: Path
) -> None:
    """Its queue is the session's, it fills when the file reaches it, its rest is taken out."""
    day(tmp_path)
    async with running_simulator(l3_config_path=config, replay_dir=tmp_path) as running:
        opened = await open_file(running)
        session = opened.session_id
        await advance(running, session, opened.now_ns + SECOND // 4)
        asked = replace(order("BUY", 4, type="LIMIT", limit_price="100.00"), bar=bar(4))
        fill = await running.client.execute(asked, 1, session_id=session)
        # It arrives at 34201.15 behind 20, which trade at 34203.0; 14 behind it trades at 34204.0.
        assert ("PARTIALLY_FILLED", Decimal(3), "20") == (
            fill.status,
            fill.filled_quantity,
            fill.attribution["queue_ahead"],
        )
        (part,) = fill.fills
        assert ("MAKER", 3 * SECOND + SECOND // 4) == (part.liquidity, part.offset_ns)
        assert "2" == str(fill.attribution["events_while_resting"]["trades"])
        assert 0 < fill.attribution["fill_forecast"]["probability"] < 1
        book = await book_of(running, session)
        assert opened.now_ns + SECOND // 4 + 4 * SECOND == book.now_ns
        assert [14] == [o.order_id for level in book.bids for o in level.orders]


async def test_a_live_session_of_a_symbol_takes_the_executions_that_name_none(
    config: Path,
) -> None:
    """Execute, a batch and the router's stream all go there; other symbols have their own books."""
    async with running_simulator(l3_config_path=config) as running:
        session = await two_sided(running, live=True)
        fill = await running.client.execute(request("BUY", 2), 1)
        assert session == fill.attribution["session_id"]
        (batched,) = await running.client.execute_batch([request("BUY", 1)], 1)
        assert not isinstance(batched, Exception)
        assert session == batched.attribution["session_id"]
        stream = SimulatorStream(running.client)
        answers = await stream.execute_many([request("BUY", 1), request("BUY", 1)], 1)
        await stream.close()
        for answer in answers:
            assert not isinstance(answer, Exception)
            assert (Decimal("100.02"), session) == (
                answer.average_price,
                answer.attribution["session_id"],
            )
        other = await running.client.execute(request("BUY", 1, symbol="XYZ"), 1)
        assert "session_id" not in other.attribution
        with pytest.raises(grpc.aio.AioRpcError, match="live: a session of ABC") as caught:
            await two_sided(running, live=True)
        assert grpc.StatusCode.ABORTED == caught.value.code()
        closing = book_pb2.CloseSessionRequest(session_id=session)
        await running.books.CloseSession(closing, timeout=5)
        again = await running.client.execute(request("BUY", 1), 1)
        assert "session_id" not in again.attribution


async def test_the_same_orders_in_the_same_session_give_the_same_fills() -> None:
    """Latency, flow and queue all come from seeds."""

    async def fills(running: Running) -> list[Any]:
        opened = await open_flow(running, model="queue-reactive")
        found = []
        for number in range(8):
            best = (await book_of(running, opened.session_id)).bids[0].price_ticks
            side, limit = ("BUY", best) if number % 2 else ("SELL", None)
            fields = {} if limit is None else {"type": "LIMIT", "limit_price": f"{limit / 100}"}
            asked = replace(order(side, 150, client_order_id=f"o-{number}", **fields), bar=bar(2))
            fill = await running.client.execute(asked, 3, session_id=opened.session_id)
            attribution = {k: v for k, v in fill.attribution.items() if k != "session_id"}
            found.append(replace(fill, attribution=attribution))
        return found

    async with running_simulator(l3_config_path=CONFIG) as running:
        first, second = await fills(running), await fills(running)
    assert first == second
    assert {"MAKER", "TAKER"} == {part.liquidity for fill in first for part in fill.fills}


async def test_rules_and_faults_hold_in_a_session_too(config: Path) -> None:
    """A refusal is a fill, a fault a status; neither leaves anything in the book."""
    async with running_simulator(l3_config_path=config) as running:
        session = await two_sided(running)

        async def execute(asked: ExecutionRequest, of: str = session) -> Any:
            return await running.client.execute(asked, 1, session_id=of)

        crossing = await execute(
            order("BUY", 1, type="LIMIT", limit_price="100.01", post_only=True)
        )
        assert ("REJECTED", "POST_ONLY_WOULD_CROSS") == (
            crossing.status,
            crossing.attribution["reason"],
        )
        assert (
            "FOK_NOT_FILLABLE"
            == (await execute(order("BUY", 99, time_in_force="FOK"))).attribution["reason"]
        )
        with pytest.raises(InvalidInput, match=r"market\.last_price"):
            await execute(order("BUY", 1, type="STOP", stop_price="105"))
        with pytest.raises(InvalidInput, match=r"order\.limit_price"):
            await execute(order("BUY", 1, type="LIMIT", limit_price="100.001"))
        with pytest.raises(InvalidInput, match=r"order\.symbol: 'XYZ'; allowed in this session"):
            await execute(request("BUY", 1, symbol="XYZ"))
        with pytest.raises(NotFound, match="session_id: 'nothing'"):
            await execute(order("BUY", 1), "nothing")
        empty = await open_session(running)
        with pytest.raises(InvalidInput, match=r"market\.last_price"):
            await execute(order("BUY", 1), empty)
        after = await book_of(running, session)
        assert [(9999, 5)] == [(b.price_ticks, b.quantity_lots) for b in after.bids]


async def test_a_market_may_only_be_missing_where_a_session_is_named() -> None:
    """Without a session there would be nothing to execute in."""
    async with running_simulator() as running:
        message = request_to_proto(order("BUY", 1), 1)
        message.ClearField("market")
        with pytest.raises(grpc.aio.AioRpcError, match="market: missing"):
            await running.executions.Execute(message, timeout=5)
        message.session_id = await two_sided(running)
        answer = await running.executions.Execute(message, timeout=5)
        assert "1" == answer.fill.filled_quantity


async def test_an_execution_whose_time_is_over_leaves_the_book(eventually: Eventually) -> None:
    """A deadline and a caller who goes end the wait, and take the resting order out."""
    async with running_simulator() as running:
        opened = await open_flow(running, rate=1_000.0)
        session = running.components.sessions.get(opened.session_id)
        asked = replace(order("BUY", 9, type="LIMIT", limit_price="50.00"), bar=bar(100_000))
        message = request_to_proto(asked, 1)
        message.session_id = opened.session_id
        assert grpc.StatusCode.DEADLINE_EXCEEDED == await status_of(
            running.executions.Execute(message, timeout=0.3)
        )
        await eventually(lambda: not session.busy.locked(), 2.0)
        market = session.market
        assert market is not None
        assert 0 == len(market.own)
        leaving = running.executions.Execute(message, timeout=30)
        await eventually(lambda: len(market.own) == 1)
        leaving.cancel()
        await eventually(lambda: len(market.own) == 0, 2.0)
        assert not session.watched
        assert 0 == running.components.executions.in_flight


async def test_executions_in_one_session_come_one_after_the_other(config: Path) -> None:
    """Each takes its latency of the session's time; none is lost."""
    async with running_simulator(l3_config_path=config) as running:
        session = await two_sided(running)
        fills = await asyncio.gather(
            *(
                running.client.execute(order("BUY", 1), number, session_id=session)
                for number in range(13)
            )
        )
        assert [Decimal(1)] * 13 == [fill.filled_quantity for fill in fills]
        book = await book_of(running, session)
        assert 13 * 400_000_000 == book.now_ns
        assert [] == list(book.asks)


async def test_a_crossed_book_executes_nothing(config: Path, tmp_path: Path) -> None:
    """Before an open a file's book may be crossed: there is no market to decide in."""
    rows = ["34200.5,1,11,10,1000000,1", "34200.6,1,12,10,999900,-1", "34300,1,13,10,990000,1"]
    (tmp_path / "crossed.csv").write_text("\n".join(rows) + "\n")
    async with running_simulator(l3_config_path=config, replay_dir=tmp_path) as running:
        source = book_pb2.FileSource(path="crossed.csv")
        asked = book_pb2.OpenSessionRequest(symbol="ABC", file=source)
        opened = await running.books.OpenSession(asked, timeout=5)
        await advance(running, opened.session_id, 34_201 * SECOND)
        with pytest.raises(Conflict, match="crossed"):
            await running.client.execute(order("BUY", 1), 1, session_id=opened.session_id)


async def test_an_execution_does_not_take_the_id_of_an_order_of_the_callers(config: Path) -> None:
    """Both are there: the execution has its fill, and the caller keeps his orders."""
    async with running_simulator(l3_config_path=config) as running:
        session = await two_sided(running)
        taken = [FIRST_EXECUTION_ID + number for number in (1, 2)]
        await submit(running, session, taken[0], side=BUY, quantity_lots=7, price_ticks=9000)
        stop: dict[str, Any] = {
            "order_type": book_pb2.BOOK_ORDER_TYPE_STOP_LIMIT,
            "stop_ticks": 11_000,
        }
        await submit(
            *(running, session, taken[1]), side=BUY, quantity_lots=8, price_ticks=11_000, **stop
        )
        fill = await running.client.execute(order("BUY", 2), 1, session_id=session)
        assert ("FILLED", Decimal(2)) == (fill.status, fill.filled_quantity)
        after = await book_of(running, session)
        assert [(9999, 5), (9000, 7)] == [(b.price_ticks, b.quantity_lots) for b in after.bids]
        asked = book_pb2.GetBookRequest(session_id=session, orders=True)
        stops = (await running.books.GetBook(asked, timeout=5)).stops
        assert [taken[1]] == [stop.order_id for stop in stops]
