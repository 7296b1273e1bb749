"""The background flow agrees with the bar it is made for."""

import statistics
from decimal import Decimal
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from execution_providers import BarData, MarketState
from execution_providers.l3_flow import MAX_CANCELS, MAX_QUOTE_MOVES, MAX_TRADES, BackgroundFlow
from execution_providers.l3_scene import build_book, usual_tick
from lob import OrderBook
from lob.types import AssetClass, Instrument
from tests.execution_providers.scenes import bar, bars, ladder, markets

SHARE = Instrument(
    symbol="ABC",
    asset_class=AssetClass.EQUITY,
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.1"),
)


def scene(during: BarData, seed: int, market: MarketState | None = None) -> BackgroundFlow:
    """Return the flow of a bar over a fresh book."""
    rng = Random(seed)
    book = build_book(SHARE, ladder() if market is None else market, rng)
    tick = usual_tick(AssetClass.EQUITY)
    return BackgroundFlow(book, during, rng, quote_tick=tick, cancels_per_trade=9.0)


def book_of(flow: BackgroundFlow) -> OrderBook:
    """Return the book a flow runs in."""
    return flow._book


@given(data=st.data(), seed=st.integers(0, 2**32), share=st.floats(0, 2))
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_book_stays_whole_and_the_work_bounded(
    data: st.DataObject, seed: int, share: float
) -> None:
    """Whatever the bar, every invariant holds and events stay within a few times their bound."""
    market = data.draw(markets())
    flow = scene(data.draw(bars(market)), seed, market)
    flow.run(int(flow.end_ns * share), own_waits=False)
    book_of(flow).check()
    assert flow.counts["trades"] <= 3 * MAX_TRADES
    assert flow.counts["quote_moves"] <= 3 * MAX_QUOTE_MOVES
    most_cancels = 3 * MAX_CANCELS + 3 * MAX_QUOTE_MOVES * 40
    assert flow.counts["cancels"] <= most_cancels


def test_the_same_seed_is_the_same_book() -> None:
    """Seeds are the only randomness."""
    hashes = []
    for seed in (1, 1, 2):
        flow = scene(bar(), seed)
        flow.run(flow.end_ns, own_waits=False)
        hashes.append(book_of(flow).state_hash())
    assert hashes[0] == hashes[1] != hashes[2]


def test_quotes_keep_to_the_bars_range() -> None:
    """The touch is never further out than the range and the spread around it."""
    for seed in range(20):
        flow = scene(bar(), seed)
        for step in range(1, 20):
            flow.run(flow.end_ns * step // 20, own_waits=False)
            bid, ask = book_of(flow).best_bid(), book_of(flow).best_ask()
            assert bid is not None
            assert ask is not None
            assert 9_978 <= bid.price_ticks < ask.price_ticks <= 10_022


@pytest.mark.parametrize("share", [0.01, 0.04])
def test_drift_grows_as_the_root_of_time(share: float) -> None:
    """Over a share of the bar the mid's deviation is Parkinson's sigma times the share's root."""
    wide = bar(high="101", low="99")  # sigma = ln(101/99) / 1.665 = 1.2 % = 120 ticks
    moves = []
    for seed in range(300):
        flow = scene(wide, seed)
        flow.run(int(flow.end_ns * share), own_waits=False)
        mid = book_of(flow).mid_ticks()
        assert mid is not None
        moves.append(mid - 10_000)
    expected = 120.1 * share**0.5
    assert abs(statistics.mean(moves)) < 4 * expected / 300**0.5
    assert expected * 0.8 < statistics.pstdev(moves) < expected * 1.2


def test_trades_come_at_the_bars_rate() -> None:
    """A bar of 20 mean orders has 20 trades on average."""
    counts = []
    for seed in range(200):
        flow = scene(bar(volume="1"), seed)
        orders = len(book_of(flow))
        bids, asks = book_of(flow).depth(99)
        lots = sum(level.quantity_lots for level in bids + asks)
        flow = scene(bar(volume=Decimal(20 * lots // orders) / 10), seed)
        flow.run(flow.end_ns, own_waits=False)
        counts.append(flow.counts["trades"])
    assert 19 < statistics.mean(counts) < 21
