"""Markets with their background: impact and its decay, arbitrage, families together, restarts."""

from decimal import Decimal

import pytest

from lob.errors import InvalidInput
from lob.types import Side, Submit, TimeInForce
from touchstone.exchange import Exchange, ExchangeConfig, Order, OrderRequest
from touchstone.exchange.background import Arbitrageur, FlowKind, usual_lots
from touchstone.exchange.market import Market
from touchstone.exchange.products import PRODUCTS
from touchstone.exchange.state import dump, load, state_hash

SECOND_NS = 1_000_000_000
BTC, ETH, BIP, ETP = PRODUCTS
ALL_FLOWS = (FlowKind.CLUSTERED, FlowKind.ZERO_INTELLIGENCE)


def venue(**options: object) -> Exchange:
    """Return a venue of one coin, whose one customer is rich."""
    config = {"starting_balance": Decimal(10**9), "products": (BTC, BIP), **options}
    exchange = Exchange(ExchangeConfig(**config))  # type: ignore[arg-type]
    exchange.open_account("alice")
    return exchange


def sweep(exchange: Exchange, side: Side, bps: int) -> Order:
    """Take all of BTC-PERP-INTX that is offered up to so far from the index."""
    away = exchange.marketplace.index(BTC) * side.sign * bps / 10_000
    request = OrderRequest(
        client_order_id=f"sweep at {exchange.now_ns}",
        product_id=BTC.product_id,
        side=side,
        size=Decimal(500),
        limit_price=(exchange.marketplace.index(BTC) + away).quantize(Decimal("0.1")),
        time_in_force=TimeInForce.IOC,
    )
    order = exchange.create("alice", request)
    assert isinstance(order, Order), order
    return order


def premium_bps(exchange: Exchange) -> float:
    """Return how far BTC-PERP-INTX's mid is above the index."""
    mid = exchange.markets[BTC.product_id].mid()
    assert mid is not None
    return float(mid / exchange.marketplace.index(BTC) - 1) * 1e4


def run(exchange: Exchange, seconds: int) -> None:
    """Let so many seconds pass, all of them."""
    until_ns = exchange.now_ns + seconds * SECOND_NS
    while exchange.now_ns < until_ns:
        exchange.advance(until_ns)


@pytest.mark.parametrize("side", Side)
def test_a_large_order_moves_the_book_and_the_flow_brings_it_back(side: Side) -> None:
    """Without arbitrage too: the quotes return to what the flow follows within minutes."""
    exchange = venue(arbitrage_band=Decimal("0.5"), index_volatility={})
    run(exchange, 5)
    before = premium_bps(exchange)
    assert sweep(exchange, side, 20).filled_lots > 50_000
    moved = (premium_bps(exchange) - before) * side.sign
    assert moved > 7
    run(exchange, 1)
    assert (premium_bps(exchange) - before) * side.sign > 1
    run(exchange, 120)
    assert (premium_bps(exchange) - before) * side.sign < moved / 3
    exchange.check()


def test_arbitrage_brings_a_book_back_at_once() -> None:
    """A customer's quote beyond the band is taken with the next second of the grid, up to it."""
    exchange = venue(arbitrage_band=Decimal("0.001"), index_volatility={})
    exchange.advance(SECOND_NS // 2)
    sweep(exchange, Side.BUY, 20)
    bid = OrderRequest(
        client_order_id="bid",
        product_id=BTC.product_id,
        side=Side.BUY,
        size=Decimal(3),
        limit_price=exchange.marketplace.index(BTC) + 150,
    )
    order = exchange.create("alice", bid)
    assert isinstance(order, Order)
    assert 30_000 == order.leaves_lots
    exchange.advance(SECOND_NS)
    filled = exchange.order("alice", order.order_id)
    assert filled is not None
    assert 0 == filled.leaves_lots
    best = exchange.markets[BTC.product_id].book.best_bid()
    assert best is not None
    assert best.price_ticks * BTC.instrument.tick_size <= 100_100
    exchange.check()


def test_an_arbitrageur_trades_up_to_the_band_and_no_further() -> None:
    """Of what is offered it takes what lies beyond; within the band it does nothing."""
    market = Market(BTC, run="r", start_ns=0)
    arbitrageur = Arbitrageur(Decimal("0.001"))
    tick, index = BTC.instrument.tick_size, Decimal(100_000)
    for number, price in enumerate((998_999, 999_000, 1_000_500), 1):
        market.apply(Submit(number, Side.SELL, 5, price), 0)
    command = arbitrageur.look(market.book, index, tick)
    assert command is not None
    events = market.apply(command, 1)
    assert [998_999] == [trade.price_ticks for trade in market.tape]
    assert len(events) == 3
    assert arbitrageur.look(market.book, index, tick) is None
    assert 1 == arbitrageur.orders
    market.apply(Submit(9, Side.BUY, 5, 998_000), 2)
    sold = arbitrageur.look(market.book, Decimal("99699.9"), tick)
    assert isinstance(sold, Submit)
    assert (Side.SELL, 997_996) == (sold.side, sold.price_ticks)
    assert arbitrageur.look(market.book, Decimal("99700.3"), tick) is None


@pytest.mark.parametrize("flow", ALL_FLOWS)
def test_the_two_families_and_the_index_stay_together(flow: FlowKind) -> None:
    """With an index twice as volatile as usual neither book strays far from it."""
    exchange = venue(flow=flow, index_volatility={"ETH": 1.3}, products=(ETH, ETP))
    furthest = Decimal(0)
    for _ in range(15):
        run(exchange, 20)
        moved = exchange.marketplace.index(ETH) / ETH.reference_price - 1
        furthest = max(furthest, abs(moved))
        for market in exchange.markets.values():
            mid, index = market.mid(), exchange.marketplace.index(market.product)
            assert mid is not None
            assert abs(mid / index - 1) < Decimal("0.008")
    assert furthest > Decimal("0.001")


def test_books_follow_an_index_that_jumps() -> None:
    """By a tenth: within a minute all books of the coin quote there."""
    exchange = venue()
    run(exchange, 10)
    exchange.marketplace.move_index("BTC", Decimal(110_000))
    run(exchange, 40)
    for product in (BTC, BIP):
        mid = exchange.markets[product.product_id].mid()
        assert mid is not None
        assert abs(mid / exchange.marketplace.index(product) - 1) < Decimal("0.003")


@pytest.mark.parametrize("flow", ALL_FLOWS)
def test_a_restored_venue_prints_the_same_tape(flow: FlowKind) -> None:
    """Kept in the middle of it all, with a customer's orders in the book."""
    exchange = venue(flow=flow)
    run(exchange, 30)
    sweep(exchange, Side.SELL, 3)
    exchange.drain()
    restored = load(dump(exchange))
    assert state_hash(exchange) == state_hash(restored)
    for one in (exchange, restored):
        run(one, 20)
        sweep(one, Side.BUY, 3)
        run(one, 40)
    assert exchange.markets[BTC.product_id].tape == restored.markets[BTC.product_id].tape
    assert state_hash(exchange) == state_hash(restored)


def test_a_faster_flow_is_the_same_market_in_less_time() -> None:
    """Twice the rate, about twice the commands; the first book is of the same kind."""
    counts = []
    for rate in (1.0, 2.0):
        exchange = venue(flow_rate=rate, products=(BTC,))
        run(exchange, 60)
        counts.append(sum(market.flow_commands for market in exchange.markets.values()))
    assert 1.5 < counts[1] / counts[0] < 2.6


def test_a_larger_flow_is_the_same_market_in_larger_orders() -> None:
    """Ten times the size: the same prices, and ten times the depth at each."""
    books = [venue(flow_size=size, products=(BTC,)).markets[BTC.product_id] for size in (1.0, 10.0)]
    (usual, _), (large, _) = (market.levels(10) for market in books)
    assert [level.price for level in usual] == [level.price for level in large]
    assert 8 < sum(v.quantity for v in large) / sum(v.quantity for v in usual) < 12


def test_usual_orders_are_round_and_as_large_in_both_families() -> None:
    """A fifth of a bitcoin, five ether."""
    lots = [usual_lots(product, product.reference_price) for product in PRODUCTS]
    assert [2_000, 50_000, 20, 50] == lots


def test_who_is_in_the_book_is_said() -> None:
    """A flow's name or nobody; a market without background has nothing to carry out."""
    kinds = [
        venue(flow=kind).markets[BTC.product_id].background for kind in (*ALL_FLOWS, FlowKind.NONE)
    ]
    assert ["clustered", "zero-intelligence", "none"] == kinds
    with pytest.raises(InvalidInput, match="background: does nothing more"):
        Market(BTC, run="r", start_ns=0).step_flow()


def test_trades_are_found_by_time() -> None:
    """Newest first, both ends included, as many as asked for."""
    exchange = venue()
    run(exchange, 60)
    market = exchange.markets[BTC.product_id]
    everything = tuple(reversed(market.tape))
    assert everything == market.trades(10**6)
    assert everything[:5] == market.trades(5)
    first, last = everything[20].time_ns, everything[10].time_ns
    expected = [trade for trade in everything if first <= trade.time_ns <= last]
    assert expected == list(market.trades(1_000, first, last))
    assert expected[:3] == list(market.trades(3, first, last))
