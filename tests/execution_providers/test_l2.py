"""The L2 provider, case by case."""

from decimal import Decimal
from typing import Any

import pytest

from execution_providers import Fill, L2Config, MarketState, Order, create_execution_provider
from lob.errors import InvalidInput
from tests.execution_providers.scenes import bar, ladder


def run(order: Order, market: MarketState | None = None, **options: Any) -> Fill:
    """Execute with a fresh equity provider."""
    with_bar = options.pop("bar", None)
    provider = create_execution_provider(options.pop("asset_class", "EQUITY"), **options)
    fill = provider.execute(order, ladder() if market is None else market, with_bar)
    assert fill is not None
    return fill


def outcome(fill: Fill) -> tuple[str, int]:
    """Return the status and the filled quantity, which is whole here."""
    assert fill.filled_quantity == int(fill.filled_quantity)
    return fill.status.value, int(fill.filled_quantity)


def order(side: str, quantity: Any, **fields: Any) -> Order:
    """Return an order of ABC."""
    return Order("ABC", side, quantity, **fields)  # type: ignore[arg-type]


def test_a_market_order_walks_the_depth() -> None:
    """100 at the touch and 50 a cent beyond; the half-spread is counted once."""
    fill = run(order("BUY", 150))
    assert "FILLED" == fill.status
    assert [("100.01", "100"), ("100.02", "50")] == [
        (str(part.price), str(part.quantity)) for part in fill.fills
    ]
    assert Decimal("1.333333333") == fill.slippage_bps
    assert "1" == fill.attribution["slippage"]["spread"]
    assert "0.333333333" == fill.attribution["slippage"]["depth"]


def test_a_market_order_is_never_forced() -> None:
    """What the depth does not have stays unfilled."""
    fill = run(order("SELL", 5_000))
    assert ("PARTIALLY_FILLED", 1500) == outcome(fill)


def test_a_limit_is_never_traded_through() -> None:
    """An IOC limit takes only the levels it accepts."""
    fill = run(order("BUY", 1_000, type="LIMIT", limit_price="100.02", time_in_force="IOC"))
    assert ("PARTIALLY_FILLED", 300) == outcome(fill)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"limit_price": "100.01", "post_only": True}, "POST_ONLY_WOULD_CROSS"),
        (
            {"limit_price": "99", "post_only": True, "time_in_force": "IOC"},
            "POST_ONLY_NEEDS_RESTING",
        ),
        ({"limit_price": "100.01", "time_in_force": "FOK"}, "FOK_NOT_FILLABLE"),
    ],
)
@pytest.mark.parametrize("level", ["L2", "L3"])
def test_refusals_are_whole_and_named(fields: dict[str, Any], reason: str, level: str) -> None:
    """Nothing of a refused order fills, at either level."""
    fill = run(order("BUY", 101, type="LIMIT", **fields), level=level)
    assert ("REJECTED", 0) == outcome(fill)
    assert reason == fill.attribution["reason"]
    assert fill.slippage_bps is None


@pytest.mark.parametrize("level", ["L2", "L3"])
@pytest.mark.parametrize(
    ("side", "stop", "status"),
    [
        ("BUY", "100", "FILLED"),
        ("BUY", "100.01", "UNFILLED"),
        ("SELL", "100", "FILLED"),
        ("SELL", "99.99", "UNFILLED"),
    ],
)
def test_stops_trigger_on_the_last_price(side: str, stop: str, status: str, level: str) -> None:
    """The last price is 100: a stop there triggers, one beyond it does not."""
    fill = run(order(side, 10, type="STOP", stop_price=stop), level=level)
    assert status == fill.status


def test_a_stop_needs_a_last_price() -> None:
    """Without one it cannot be decided."""
    market = MarketState(1, bids=((99, 1),), asks=((101, 1),))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"^market\.last_price"):
        run(order("BUY", 1, type="STOP", stop_price=100), market)


@pytest.mark.parametrize(("low", "filled"), [("99.95", 0), ("99.94", 50)])
def test_a_resting_order_fills_only_where_the_bar_trades_through_it(low: str, filled: int) -> None:
    """A touch of the limit may have gone to others."""
    resting = order("BUY", 50, type="LIMIT", limit_price="99.95")
    fill = run(resting, bar=bar(low=low))
    assert filled == fill.filled_quantity
    if filled:
        assert "MAKER" == fill.fills[0].liquidity
        assert Decimal("-5.000000000") == fill.slippage_bps


def test_without_depth_it_is_half_spread_plus_square_root_impact() -> None:
    """ADV 1e6 at 100 is 10,000 units: 100 units at 2 % cost 0.02 * sqrt(0.01) = 20 bps."""
    market = MarketState(1, last_price=100, adv_notional=1_000_000, volatility="0.02")  # type: ignore[arg-type]
    fill = run(order("BUY", 100), market)
    assert Decimal(21) == fill.slippage_bps
    assert {"spread": "1", "depth": "0", "latency_drift": "0", "impact": "20"} == (
        fill.attribution["slippage"]
    )
    assert Decimal("100.21") == fill.average_price


def test_without_depth_the_bar_will_do_and_caps_what_fills() -> None:
    """Volume and sigma come from the bar, and no more fills than traded."""
    market = MarketState(1, last_price=100)  # type: ignore[arg-type]
    fill = run(order("SELL", 150_000), market, bar=bar())
    assert ("PARTIALLY_FILLED", 100_000) == outcome(fill)
    assert "bar" == fill.attribution["models"]["inputs"]


def test_without_depth_and_inputs_it_is_an_error_that_names_them() -> None:
    """No silent default stands in for volatility or volume."""
    market = MarketState(1, last_price=100)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"^market\.adv_notional and market\.volatility"):
        run(order("BUY", 1), market)
    with pytest.raises(InvalidInput, match=r"^market\.last_price"):
        run(order("BUY", 1), MarketState(1))


def test_an_empty_side_of_a_given_book_is_no_liquidity() -> None:
    """Bids are given and asks are not: there is nothing to buy."""
    market = MarketState(1, bids=((99, 5),), last_price=100)  # type: ignore[arg-type]
    fill = run(order("BUY", 1), market)
    assert ("UNFILLED", "NO_LIQUIDITY") == (fill.status, fill.attribution["reason"])


def test_l2_config_is_used() -> None:
    """Half-spread and coefficient change the modelled price."""
    market = MarketState(1, last_price=100, adv_notional=1_000_000, volatility="0.02")  # type: ignore[arg-type]
    config = L2Config(half_spread_bps=Decimal(3), impact_coefficient=Decimal("0.5"))
    assert Decimal(13) == run(order("BUY", 100), market, config=config).slippage_bps


@pytest.mark.parametrize(
    ("asset_class", "side", "expected"),
    [
        ("CRYPTO", "BUY", "0.040004"),  # 4 bps of 100.01
        ("FUTURES", "BUY", "0.050005"),  # 5 bps
        ("EQUITY", "BUY", "0"),
        ("EQUITY", "SELL", "0.002945722"),  # 99.99 x 0.0000278 + 0.000166
    ],
)
def test_fees_follow_the_schedule(asset_class: str, side: str, expected: str) -> None:
    """Takers' rates by asset class; equities pay on sales only."""
    assert Decimal(expected) == run(order(side, 1), asset_class=asset_class).fees


def test_the_activity_fee_is_capped() -> None:
    """FINRA's fee is at most $8.30 a trade."""
    market = MarketState(1, bids=((1, 1_000_000),), asks=((2, 1),))  # type: ignore[arg-type]
    assert Decimal("36.1") == run(order("SELL", 1_000_000), market).fees


def test_an_estimate_is_what_the_execution_costs() -> None:
    """Of the part that trades at once."""
    provider = create_execution_provider("CRYPTO")
    estimate = provider.estimate_execution_cost(order("BUY", 150), ladder())
    fill = provider.execute(order("BUY", 150), ladder())
    assert fill is not None
    assert (fill.filled_quantity, fill.average_price, fill.slippage_bps, fill.fees) == (
        estimate.fillable_quantity,
        estimate.average_price,
        estimate.slippage_bps,
        estimate.fees,
    )


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_an_impact_without_bounds_is_refused(side: str) -> None:
    """A volatility that may be given, and leaves no digits for a price."""
    market = MarketState(0, (), (), "5", "7203", "502430902628490863359")  # type: ignore[arg-type]
    for quantity in ("141159904086733960000", "1"):
        with pytest.raises(InvalidInput, match=r"market\.volatility: the modelled"):
            run(order(side, quantity), market)


def test_the_smallest_price_is_a_price() -> None:
    """An average of 1e-20 is not rounded to nothing, and fees have a share of it."""
    market = MarketState(0, (("1E-20", "100.5"),), (("100.5", "0.01"),))  # type: ignore[arg-type]
    fill = run(order("SELL", "1.5"), market)
    assert ("FILLED", Decimal("1E-20")) == (fill.status, fill.average_price)
    assert Decimal(fill.attribution["fees_bps"]) > 0
    provider = create_execution_provider("EQUITY")
    assert (
        Decimal("1E-20") == provider.estimate_execution_cost(order("SELL", 1), market).average_price
    )
