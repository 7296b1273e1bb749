"""Orders and markets that the provider tests share, drawn by Hypothesis or written out."""

from decimal import Decimal

from hypothesis import strategies as st

from execution_providers import BarData, MarketState, Order, OrderType, Side, TimeInForce


def ladder(levels: int = 5) -> MarketState:
    """Return a market around 100 with `levels` cent-wide levels of 100, 200, ... a side."""
    steps = [Decimal(step) / 100 for step in range(levels)]
    return MarketState(
        timestamp_ms=1_700_000_000_000,
        bids=tuple((Decimal("99.99") - step, 100 * (1 + step * 100)) for step in steps),
        asks=tuple((Decimal("100.01") + step, 100 * (1 + step * 100)) for step in steps),
        last_price=Decimal(100),
    )


def bar(**changes: object) -> BarData:
    """Return a minute around 100 in which 100,000 trade."""
    figures: dict[str, object] = {
        "open": "100",
        "high": "100.20",
        "low": "99.80",
        "close": "100.05",
        "volume": "100000",
        "duration_ms": 60_000,
    }
    return BarData(**(figures | changes))  # type: ignore[arg-type]


@st.composite
def markets(draw: st.DrawFn) -> MarketState:
    """Draw a two-sided market in cents, of 1 to 6 levels a side."""
    bid = draw(st.integers(5_000, 20_000))
    ask = bid + draw(st.integers(1, 40))
    gaps = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5_000)), min_size=1, max_size=6)

    def side(touch: int, direction: int) -> tuple[tuple[Decimal, Decimal], ...]:
        found = []
        for gap, size in draw(gaps):
            found.append((Decimal(touch) / 100, Decimal(size) / 10))
            touch += direction * gap
        return tuple(found)

    return MarketState(
        timestamp_ms=draw(st.integers(0, 2**40)),
        bids=side(bid, -1),
        asks=side(ask, 1),
        last_price=Decimal(draw(st.integers(bid, ask))) / 100,
    )


@st.composite
def orders(draw: st.DrawFn, market: MarketState) -> Order:
    """Draw an order near the market's touch, of any type and time in force."""
    middle = int(market.bids[0][0] * 100)
    prices = st.integers(middle - 60, middle + 90).map(lambda cents: Decimal(cents) / 100)
    kind = draw(st.sampled_from(list(OrderType)))
    limited = kind in {OrderType.LIMIT, OrderType.STOP_LIMIT}
    stopped = kind in {OrderType.STOP, OrderType.STOP_LIMIT}
    return Order(
        symbol="ABC",
        side=draw(st.sampled_from(list(Side))),
        quantity=Decimal(draw(st.integers(1, 30_000))) / 10,
        type=kind,
        limit_price=draw(prices) if limited else None,
        stop_price=draw(prices) if stopped else None,
        time_in_force=draw(st.sampled_from(list(TimeInForce))),
        post_only=draw(st.booleans()),
        client_order_id=draw(st.sampled_from(["", "a-1"])),
    )


@st.composite
def bars(draw: st.DrawFn, market: MarketState) -> BarData:
    """Draw a bar around the market's touch."""
    middle = int(market.bids[0][0] * 100)
    low, first, last, high = sorted(draw(st.integers(middle - 80, middle + 80)) for _ in range(4))
    return BarData(
        open=Decimal(first) / 100,
        high=Decimal(high) / 100,
        low=Decimal(low) / 100,
        close=Decimal(last) / 100,
        volume=Decimal(draw(st.integers(0, 100_000))),
        duration_ms=draw(st.integers(1, 120_000)),
    )
