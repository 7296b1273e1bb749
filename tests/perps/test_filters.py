"""Market filters and entry guards: limits at their edges, and nothing passes unknown."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.types import Side
from touchstone.perps.filters import (
    EntryRefusal,
    FilterLimits,
    MarketView,
    check_market,
)
from touchstone.perps.guards import (
    check_liquidation_buffer,
    check_slippage,
    derived_liquidation_price,
    expected_slippage_bps,
    liquidation_distance,
    projected_distance,
)

R = EntryRefusal
LIMITS = FilterLimits(
    max_spread_bps=Decimal(20),
    min_depth_l1=Decimal(10_000),
    min_depth_l10=Decimal(50_000),
    min_volume_1m=Decimal(10_000),
)
# A spread of 20 / 10,000 = exactly 20 bps of the mid.
EDGE = MarketView(
    age_seconds=10.0,
    mark=Decimal(10_000),
    bid=Decimal(9_990),
    ask=Decimal(10_010),
    depth_l1={Side.BUY: Decimal(10_000), Side.SELL: Decimal(10_000)},
    depth_l10={Side.BUY: Decimal(50_000), Side.SELL: Decimal(50_000)},
    volume_1m_usd=Decimal(10_000),
)


def codes(market: MarketView, side: Side = Side.BUY) -> list[EntryRefusal]:
    """Return the codes of the filters' objections."""
    return [objection.reason for objection in check_market(market, side, LIMITS)]


def test_a_market_at_every_limit_passes() -> None:
    """The limits themselves are allowed."""
    assert Decimal(20) == EDGE.spread_bps
    assert EDGE.is_fresh
    assert codes(EDGE) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ask": Decimal("10010.1")}, R.SPREAD),
        ({"depth_l1": {Side.BUY: Decimal(9_999)}}, R.DEPTH_L1),
        ({"depth_l10": {Side.BUY: Decimal(49_999)}}, R.DEPTH_L10),
        ({"volume_1m_usd": Decimal(9_999)}, R.VOLUME),
        ({"ask": None}, R.NO_SPREAD),
        ({"bid": Decimal(0)}, R.NO_SPREAD),
        ({"depth_l1": {Side.SELL: Decimal(10**6)}}, R.NO_DEPTH_L1),
        ({"depth_l10": {}}, R.NO_DEPTH_L10),
        ({"volume_1m_usd": None}, R.NO_VOLUME),
        ({"volume_1m_usd": Decimal("NaN")}, R.NO_VOLUME),
    ],
)
def test_each_filter_refuses_beyond_its_limit_and_without_its_figure(
    changes: dict[str, object], code: EntryRefusal
) -> None:
    """One figure worse, or missing, is exactly one objection."""
    assert codes(replace(EDGE, **changes)) == [code]  # type: ignore[arg-type]


def test_only_the_consumed_side_counts() -> None:
    """A sell looks at the bids, a buy at the asks."""
    thin = replace(EDGE, depth_l1={Side.BUY: Decimal(0), Side.SELL: Decimal(10_000)})
    assert codes(thin, Side.SELL) == []
    assert codes(thin, Side.BUY) == [R.DEPTH_L1]


@pytest.mark.parametrize(
    ("age", "fresh"), [(None, False), (-1.0, False), (0.0, True), (10.1, False)]
)
def test_age_decides_freshness(age: float | None, fresh: bool) -> None:
    """Ten seconds at most; an age that is unknown or impossible is not fresh."""
    assert fresh is replace(EDGE, age_seconds=age).is_fresh


@pytest.mark.parametrize(
    ("quantity", "price", "distance"),
    [
        (1, 8_000, "0.2"),
        (-1, 12_000, "0.2"),
        (1, 11_000, "-0.1"),
        (-1, 9_000, "-0.1"),
        (1, 0, "1"),
        (0, 8_000, None),
        (1, None, None),
        (-1, 0, "1"),
    ],
)
def test_liquidation_distance_by_hand(
    quantity: int, price: int | None, distance: str | None
) -> None:
    """At a mark of 10,000: the way to the venue's price, below zero when it is passed."""
    found = liquidation_distance(
        Decimal(quantity), Decimal(10_000), None if price is None else Decimal(price)
    )
    assert (None if distance is None else Decimal(distance)) == found


@pytest.mark.parametrize(
    ("quantity", "buffer", "price"),
    [("0.1", "1000", "39285.71"), ("-0.1", "1000", "59375.00"), ("0.1", "9000", "0.00")],
)
def test_a_liquidation_price_from_the_accounts_buffer(
    quantity: str, buffer: str, price: str
) -> None:
    """At 50,000 and a maintenance of 1/15 of the worth: the buffer is used up at this mark."""
    found = derived_liquidation_price(
        Decimal(quantity), Decimal(50_000), Decimal(buffer), Decimal(1) / 15
    )
    assert Decimal(price) == found.quantize(Decimal("0.01"))


def test_projected_distance_by_hand() -> None:
    """5,000 at leverage 5 on 10,000 of equity: (10,000 - 666.67) / 5,000."""
    found = projected_distance(Decimal(5_000), Decimal(10_000), Decimal(5))
    assert Decimal("1.8667") == found.quantize(Decimal("0.0001"))
    with pytest.raises(InvalidInput, match="allowed: above 0"):
        projected_distance(Decimal(0), Decimal(1), Decimal(1))


def test_liquidation_buffer_at_its_edge() -> None:
    """A distance of the buffer itself passes, less does not, and none at all does not either."""
    buffer = Decimal("0.2")
    assert check_liquidation_buffer(Decimal("0.2"), buffer) is None
    near = check_liquidation_buffer(Decimal("0.1999"), buffer)
    assert near is not None
    assert R.LIQUIDATION_BUFFER is near.reason
    unknown = check_liquidation_buffer(None, buffer)
    assert unknown is not None
    assert R.NO_LIQUIDATION_PRICE is unknown.reason


def test_expected_slippage_by_hand() -> None:
    """Half a spread of 20 bps and 5 bps for the whole touch, 10 bps for a sixteenth beyond it."""
    assert Decimal(15) == expected_slippage_bps(EDGE, Side.BUY, Decimal(10_000))
    # (12,500 - 10,000) / (50,000 - 10,000) = 1/16, its root 1/4, of 20 bps.
    assert Decimal(20) == expected_slippage_bps(EDGE, Side.BUY, Decimal(12_500))
    assert expected_slippage_bps(EDGE, Side.BUY, Decimal(50_001)) is None
    assert check_slippage(EDGE, Side.BUY, Decimal(10_000), Decimal(15)) is None
    for notional in (Decimal(10_001), Decimal(50_001)):
        objection = check_slippage(EDGE, Side.BUY, notional, Decimal(15))
        assert objection is not None
        assert R.SLIPPAGE is objection.reason
    blind = replace(EDGE, depth_l1={})
    assert check_slippage(blind, Side.BUY, Decimal(1), Decimal(15)) is not None


@given(
    missing=st.sampled_from(["bid", "ask", "depth_l1", "depth_l10", "volume_1m_usd"]),
    side=st.sampled_from(Side),
)
def test_no_filter_passes_without_its_figure(missing: str, side: Side) -> None:
    """Whichever figure is missing, there is an objection, however good the others are."""
    empty: object = {} if missing.startswith("depth") else None
    assert check_market(replace(EDGE, **{missing: empty}), side, LIMITS)  # type: ignore[arg-type]
