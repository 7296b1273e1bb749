"""The L3 provider: exact matching, latency, queue, and the properties both levels keep."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from execution_providers import (
    ExecutionProvider,
    Fill,
    FillStatus,
    MarketState,
    Order,
    OrderType,
    Side,
    create_execution_provider,
)
from execution_providers.l3_scene import split_lots
from lob.config import create_l3_config
from lob.errors import ConfigError, Conflict
from tests.execution_providers.scenes import bar, bars, ladder, markets, orders
from touchstone.kit.codec import fill_to_json

PROPERTY = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


def provider(preset: str = "minimal", **options: Any) -> ExecutionProvider:
    """Return an L3 provider of a preset."""
    asset_class = options.pop("asset_class", "EQUITY")
    return create_execution_provider(
        asset_class, "L3", config=create_l3_config(preset), seed=7, **options
    )


def run(order: Order, market: MarketState, preset: str = "minimal", **options: Any) -> Fill:
    """Execute one order."""
    fill = provider(preset).execute(order, market, options.get("bar"), seed=options.get("seed"))
    assert fill is not None
    return fill


def limit(side: str, quantity: int, price: str, **fields: Any) -> Order:
    """Return a limit order of ABC."""
    return Order("ABC", side, quantity, "LIMIT", price, **fields)  # type: ignore[arg-type]


def as_bytes(fill: Fill | None) -> bytes:
    """Return the fill's JSON text."""
    assert fill is not None
    return json.dumps(fill_to_json(fill), sort_keys=True).encode()


def test_a_market_order_goes_through_the_book() -> None:
    """Without latency and flow it is exact matching against the given depth."""
    fill = run(Order("ABC", "BUY", 150), ladder())  # type: ignore[arg-type]
    assert ("FILLED", Decimal("100.01333333333333333")) == (fill.status, fill.average_price)
    assert "L3" == fill.attribution["provider"]
    assert 0 == fill.attribution["latency_ns"]


def test_a_resting_order_waits_behind_what_is_there() -> None:
    """100 rest at 99.99 before it, and without a bar nobody comes."""
    fill = run(limit("BUY", 10, "99.99"), ladder())
    assert ("UNFILLED", "100") == (fill.status, fill.attribution["queue_ahead"])


def test_a_resting_order_fills_when_the_flow_reaches_it() -> None:
    """Over a bar with plenty of volume the touch's queue trades, and our order in its turn."""
    filled = [
        run(limit("BUY", 10, "99.99"), ladder(), bar=bar(), seed=seed).fills for seed in range(30)
    ]
    some = [parts for parts in filled if parts]
    assert len(some) > 20
    for parts in some:
        assert all("MAKER" == part.liquidity and part.offset_ns > 0 for part in parts)
        assert all(Decimal("99.99") == part.price for part in parts)


def test_the_queue_matters() -> None:
    """Behind ten thousand lots fewer fill than behind a hundred, in a bar that hardly trades."""
    thin = ladder()
    thick = MarketState(1, bids=(("99.99", 10_000),), asks=(("100.01", 100),))  # type: ignore[arg-type]
    calm = bar(high="100.00", low="100.00", close="100", open="100", volume="2000")

    def fills(market: MarketState) -> int:
        order = limit("BUY", 50, "99.99")
        return sum(
            run(order, market, bar=calm, seed=seed).filled_quantity > 0 for seed in range(40)
        )

    assert fills(thin) > fills(thick)


def test_a_bar_that_never_comes_near_leaves_the_order_alone() -> None:
    """The flow keeps to the bar's range, so a limit far below it stays unfilled."""
    fills = [run(limit("BUY", 10, "99.00"), ladder(), bar=bar(), seed=seed) for seed in range(20)]
    assert {FillStatus.UNFILLED} == {fill.status for fill in fills}


def test_latency_is_drawn_and_the_book_moves_meanwhile() -> None:
    """A retail round takes milliseconds, in which a busy bar has events."""
    busy = bar(volume="20000000")
    fills = [
        run(Order("ABC", "BUY", 10), ladder(), "equity_retail", bar=busy, seed=seed)  # type: ignore[arg-type]
        for seed in range(30)
    ]
    assert all(fill.attribution["latency_ns"] > 1_000_000 for fill in fills)
    assert any(sum(fill.attribution["events_in_flight"].values()) for fill in fills)
    drifts = {fill.attribution["slippage"]["latency_drift"] for fill in fills}
    assert len(drifts) > 1


def test_a_disabled_configuration_refuses_to_act() -> None:
    """`enabled: false` at the root is a clear fault, never a silent L2."""
    config = create_l3_config("minimal")
    config.enabled = False
    off = create_execution_provider("EQUITY", "L3", config=config)
    with pytest.raises(Conflict, match="enabled: false"):
        off.execute(Order("ABC", "BUY", 1), ladder())  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="enabled: false"):
        off.estimate_execution_cost(Order("ABC", "BUY", 1), ladder())  # type: ignore[arg-type]


def test_a_changed_configuration_is_the_one_that_is_used() -> None:
    """Latency of another profile is drawn as soon as the configuration says so."""
    order = Order("ABC", "BUY", 1, client_order_id="one")  # type: ignore[arg-type]
    config = create_l3_config("equity_hft")
    changing = create_execution_provider("EQUITY", "L3", config=config, seed=7)
    fast = changing.execute(order, ladder())
    config.latency.profile = "retail"
    slow = changing.execute(order, ladder())
    retail = provider("equity_retail").execute(order, ladder())
    assert fast is not None
    assert slow is not None
    assert retail is not None
    assert fast.attribution["latency_ns"] < slow.attribution["latency_ns"]
    assert retail.attribution["latency_ns"] == slow.attribution["latency_ns"]


def test_a_missing_configuration_file_is_an_error() -> None:
    """L3 asked for and not available is never L2."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        create_execution_provider("EQUITY", "L3", config_path="nowhere.yaml")


def test_the_guides_health_check_passes(root: Any) -> None:
    """Load the shipped file, make a provider, execute."""
    path = root / "configs" / "execution_l3.yaml"
    shipped = create_execution_provider("EQUITY", level="L3", config_path=path, seed=1)
    fill = shipped.execute(Order("ABC", "BUY", 10), ladder(), bar())  # type: ignore[arg-type]
    assert fill is not None
    assert FillStatus.FILLED == fill.status
    assert 1 == shipped.stats()["by_status"]["FILLED"]


def test_results_do_not_depend_on_the_order_of_calls() -> None:
    """The same order meets the same draws whatever was executed before."""
    first = Order("ABC", "BUY", 10, client_order_id="one")  # type: ignore[arg-type]
    second = limit("SELL", 10, "100.01", client_order_id="two")
    forwards, backwards = provider("crypto"), provider("crypto")
    straight = [as_bytes(forwards.execute(order, ladder(), bar())) for order in (first, second)]
    reverse = [as_bytes(backwards.execute(order, ladder(), bar())) for order in (second, first)]
    assert straight == reverse[::-1]


def test_the_seed_names_the_randomness() -> None:
    """Another seed gives other draws; each fill says which seed it had."""
    order = Order("ABC", "BUY", 10, client_order_id="one")  # type: ignore[arg-type]
    fills = [run(order, ladder(), "equity", bar=bar(), seed=seed) for seed in range(5)]
    assert 5 == len({fill.attribution["seed"] for fill in fills})
    assert 5 == len({fill.attribution["latency_ns"] for fill in fills})


@given(lots=st.integers(1, 10**12), seed=st.integers(0, 2**32))
@PROPERTY
def test_splitting_a_level_loses_nothing(lots: int, seed: int) -> None:
    """The parts are positive, few, and add up."""
    from random import Random  # noqa: PLC0415

    parts = split_lots(lots, Random(seed))
    assert lots == sum(parts)
    assert 1 <= len(parts) <= 4
    assert min(parts) > 0


@given(data=st.data())
@PROPERTY
def test_without_latency_and_flow_l3_is_l2(data: st.DataObject) -> None:
    """Inside the given depth a marketable order gets the same from both, to the last digit."""
    market = data.draw(markets())
    side = data.draw(st.sampled_from(list(Side)))
    opposite = market.asks if side is Side.BUY else market.bids
    there = int(sum(size for _, size in opposite) * 10)
    quantity = Decimal(data.draw(st.integers(1, there))) / 10
    order = Order("ABC", side, quantity, client_order_id="x")
    two = create_execution_provider("CRYPTO", "L2", seed=7).execute(order, market)
    three = provider(asset_class="CRYPTO").execute(order, market)
    assert two is not None
    assert three is not None
    assert FillStatus.FILLED == two.status
    assert (two.status, two.average_price, two.fees, two.slippage_bps, two.fills) == (
        three.status,
        three.average_price,
        three.fees,
        three.slippage_bps,
        three.fills,
    )
    assert two.attribution["slippage"] == three.attribution["slippage"]


@pytest.mark.parametrize("level", ["L2", "minimal", "equity_retail"])
@given(data=st.data())
@PROPERTY
def test_every_fill_keeps_the_rules(level: str, data: st.DataObject) -> None:
    """Limits hold, quantities and slippage add up, and the same seed is the same bytes."""
    market = data.draw(markets())
    order = data.draw(orders(market))
    during = data.draw(st.none() | bars(market))
    made = create_execution_provider("EQUITY", seed=3) if level == "L2" else provider(level)
    fill = made.execute(order, market, during)
    assert fill is not None
    assert as_bytes(fill) == as_bytes(made.execute(order, market, during))
    total = sum((part.quantity for part in fill.fills), Decimal(0))
    assert total == fill.filled_quantity <= order.quantity
    if order.type in {OrderType.LIMIT, OrderType.STOP_LIMIT}:
        assert order.limit_price is not None
        for part in fill.fills:
            assert (order.limit_price - part.price) * order.side.sign >= 0
    if order.post_only:
        assert all("MAKER" == part.liquidity for part in fill.fills)
    if order.time_in_force == "FOK":
        assert fill.filled_quantity in {0, order.quantity}
    if order.time_in_force in {"FOK", "IOC"}:
        assert all("TAKER" == part.liquidity for part in fill.fills)
    _parts_sum_to_the_total(order, fill)


def _parts_sum_to_the_total(order: Order, fill: Fill) -> None:
    if fill.average_price is None:
        assert fill.slippage_bps is None
        assert fill.status in {FillStatus.UNFILLED, FillStatus.REJECTED}
        return
    parts = {name: Decimal(part) for name, part in fill.attribution["slippage"].items()}
    assert fill.slippage_bps == sum(parts.values())
    reference = Decimal(fill.attribution["reference_price"])
    direct = (fill.average_price - reference) * order.side.sign / reference * 10_000
    assert abs(direct - fill.slippage_bps) < Decimal("1E-8")
    full = fill.filled_quantity == order.quantity
    assert (FillStatus.FILLED if full else FillStatus.PARTIALLY_FILLED) == fill.status
