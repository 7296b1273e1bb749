"""The background flow: the same tape for the same seed, and customers among it."""

from decimal import Decimal

import pytest

from lob.types import Side
from touchstone.exchange import Exchange, ExchangeConfig, Order, OrderRequest
from touchstone.exchange.products import PRODUCTS

SECOND_NS = 1_000_000_000
BIP = "BIP-20DEC30-CDE"


def tape(exchange: Exchange) -> dict[str, list[tuple[int, int]]]:
    """Return the public trades by product."""
    return {
        name: [(trade.price_ticks, trade.lots) for trade in market.tape]
        for name, market in exchange.markets.items()
    }


def hashes(exchange: Exchange) -> dict[str, str]:
    """Return the state of every book."""
    return {name: market.book.state_hash() for name, market in exchange.markets.items()}


def limit(side: Side, price: Decimal, size: int = 1, name: str = "c") -> OrderRequest:
    """Return a limit order for the nano contract."""
    return OrderRequest(
        client_order_id=name, product_id=BIP, side=side, size=Decimal(size), limit_price=price
    )


def test_same_seed_same_tape() -> None:
    """Two venues with one seed print the same trades; another seed prints others."""
    first, again, other = (
        Exchange(ExchangeConfig(seed=seed, products=PRODUCTS[2:])) for seed in (3, 3, 4)
    )
    for exchange in (first, again, other):
        exchange.advance(60 * SECOND_NS)
    assert all(tape(first).values())
    assert (tape(first), hashes(first)) == (tape(again), hashes(again))
    assert tape(first) != tape(other)


@pytest.mark.parametrize("step_ms", [7, 50, 1_000])
def test_the_tape_does_not_depend_on_how_time_is_cut(step_ms: int) -> None:
    """Many small steps and one large one lead to the same books."""
    whole, cut = Exchange(), Exchange()
    whole.advance(21 * SECOND_NS)
    for now_ms in range(0, 21_000 + 1, step_ms):
        cut.advance(now_ms * 1_000_000)
    cut.advance(21 * SECOND_NS)
    assert hashes(whole) == hashes(cut)


def test_a_bounded_step_puts_the_rest_off() -> None:
    """What a bounded step does not reach comes later; nothing is left out."""
    bounded, free = Exchange(), Exchange()
    assert bounded.advance(60 * SECOND_NS, limit=10) == 10
    assert 0 < bounded.now_ns < 60 * SECOND_NS
    free.advance(bounded.now_ns)
    assert hashes(free) == hashes(bounded)


def test_a_paused_flow_stands_still_and_goes_on_where_it_stopped() -> None:
    """Paused time does not count for the flow."""
    paused, free = Exchange(), Exchange()
    for exchange in (paused, free):
        exchange.advance(5 * SECOND_NS)
    paused.flow_paused = True
    before = hashes(paused)
    paused.advance(9 * SECOND_NS)
    assert before == hashes(paused)
    paused.flow_paused = False
    paused.advance(14 * SECOND_NS)
    free.advance(10 * SECOND_NS)
    assert hashes(paused) == hashes(free)


def test_our_order_queues_behind_what_was_there() -> None:
    """A customer's order joins the tail of its level."""
    exchange = Exchange()
    exchange.open_account("alice")
    market = exchange.markets[BIP]
    touch = market.book.best_bid()
    assert touch is not None
    order = exchange.create("alice", limit(Side.BUY, market.product.instrument.price(touch[0])))
    assert isinstance(order, Order)
    ahead = market.book.queue_position(order.number)
    assert (touch.order_count, touch.quantity_lots) == ahead


def test_our_trades_move_the_book_and_the_tape_after_them() -> None:
    """A large aggressive order takes levels away, and the flow goes on from what is left."""
    exchange = Exchange()
    exchange.open_account("alice")
    market = exchange.markets[BIP]
    before = market.book.best_ask()
    assert before is not None
    order = exchange.create("alice", limit(Side.BUY, Decimal(100_500), 900))
    assert isinstance(order, Order)
    after = market.book.best_ask()
    assert after is not None
    assert after.price_ticks > before.price_ticks
    exchange.advance(10 * SECOND_NS)
    exchange.check()


def test_the_flow_fills_resting_orders() -> None:
    """A quote at the touch is filled as MAKER by the background flow within minutes."""
    exchange = Exchange()
    exchange.open_account("alice")
    bids, _ = exchange.markets[BIP].levels(1)
    exchange.create("alice", limit(Side.BUY, bids[0].price))
    for minute in range(1, 31):
        exchange.advance(minute * 60 * SECOND_NS)
        if exchange.fills("alice"):
            break
    (fill,) = exchange.fills("alice")
    assert ("MAKER", bids[0].price) == (fill.liquidity, fill.price)
    exchange.check()


def test_trade_times_lie_within_the_step() -> None:
    """Trades carry the time they were due, in order, never later than now."""
    exchange = Exchange(ExchangeConfig(start_ns=10 * SECOND_NS))
    exchange.advance(40 * SECOND_NS)
    times = [trade.time_ns for trade in exchange.markets[BIP].tape]
    assert times
    assert sorted(times) == times
    assert 10 * SECOND_NS < times[0] <= times[-1] <= 40 * SECOND_NS


def test_ids_differ_between_runs() -> None:
    """A restarted venue with the same seed reuses no id."""
    orders = []
    for run in ("first", "second"):
        exchange = Exchange(ExchangeConfig(run=run))
        exchange.open_account("alice")
        orders.append(exchange.create("alice", limit(Side.BUY, Decimal(90_000))))
    first, second = orders
    assert isinstance(first, Order)
    assert isinstance(second, Order)
    assert first.order_id != second.order_id
