"""What the edge types take, and what they refuse by name."""

from decimal import Decimal
from typing import Any

import pytest

from execution_providers import BarData, MarketState, Order, create_execution_provider
from execution_providers.decimals import exact
from execution_providers.slippage import plain
from lob.errors import ConfigError, InvalidInput, NotSupported
from tests.execution_providers.scenes import ladder


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.1, "0.1"), ("64934.310", "64934.31"), (3, "3"), (Decimal("1E+2"), "100"), ("-0.0", "0")],
)
def test_numbers_are_taken_as_written(value: Any, expected: str) -> None:
    """A float means its shortest text, everything else exactly itself."""
    assert expected == plain(exact("x", value))


@pytest.mark.parametrize(
    "value",
    [
        *("NaN", "inf", "1_000", " 1", "", "1E999", "0x10", "\u0663", "1e-30"),
        *(float("nan"), float("inf"), True, None, [1], Decimal("Infinity"), 10**30),
    ],
)
def test_what_is_no_plain_number_is_refused_by_name(value: Any) -> None:
    """The refusal starts with the field's path."""
    with pytest.raises(InvalidInput, match=r"^order\.quantity: "):
        Order("A", "BUY", value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"quantity": 0}, "order.quantity"),
        ({"quantity": "-1"}, "order.quantity"),
        ({"side": "HOLD"}, "order.side"),
        ({"type": "LIMIT"}, "order.limit_price"),
        ({"type": "MARKET", "limit_price": 1}, "order.limit_price"),
        ({"type": "STOP"}, "order.stop_price"),
        ({"symbol": ""}, "order.symbol"),
        ({"symbol": "A\n"}, "order.symbol"),
        ({"time_in_force": "GTD"}, "order.time_in_force"),
        ({"post_only": 1}, "order.post_only"),
        ({"display_quantity": 6}, "order.display_quantity"),
    ],
)
def test_a_wrong_order_names_its_field(changes: dict[str, Any], path: str) -> None:
    """Each field is checked when the order is made."""
    fields: dict[str, Any] = {"symbol": "A", "side": "BUY", "quantity": 5}
    with pytest.raises(InvalidInput, match=f"^{path}: "):
        Order(**(fields | changes))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"bids": [(1, 1), (2, 1)]}, r"market.bids\[1\].price"),
        ({"asks": [(2, 1), (2, 1)]}, r"market.asks\[1\].price"),
        ({"bids": [(2, 1)], "asks": [(2, 1)]}, r"market.asks\[0\].price"),
        ({"bids": [(2, 0)]}, r"market.bids\[0\].size"),
        ({"bids": [(2,)]}, r"market.bids\[0\]"),
        ({"bids": "x"}, r"market.bids"),
        ({"bids": [(i, 1) for i in range(2000, 0, -1)]}, r"market.bids"),
        ({"timestamp_ms": 1.5}, "market.timestamp_ms"),
        ({"volatility": -1}, "market.volatility"),
    ],
)
def test_a_wrong_market_names_its_field(fields: dict[str, Any], path: str) -> None:
    """Levels are best first, strictly ordered, positive and not crossed."""
    with pytest.raises(InvalidInput, match=f"^{path}: "):
        MarketState(**({"timestamp_ms": 1} | fields))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"high": 1}, "bar.high"),
        ({"low": 3}, "bar.low"),
        ({"volume": -1}, "bar.volume"),
        ({"duration_ms": 0}, "bar.duration_ms"),
    ],
)
def test_a_wrong_bar_names_its_field(changes: dict[str, Any], path: str) -> None:
    """A bar holds together."""
    fields: dict[str, Any] = {
        "open": 2,
        "high": 3,
        "low": 1,
        "close": 2,
        "volume": 5,
        "duration_ms": 1000,
    }
    with pytest.raises(InvalidInput, match=f"^{path}: "):
        BarData(**(fields | changes))


def test_the_factory_refuses_what_it_does_not_know() -> None:
    """An unknown level, option, asset class or a config of the wrong level is an error."""
    with pytest.raises(InvalidInput, match="level: 'L4'; allowed: L2, L3"):
        create_execution_provider("EQUITY", level="L4")
    with pytest.raises(InvalidInput, match="sed: no such option"):
        create_execution_provider("EQUITY", sed=3)
    with pytest.raises(InvalidInput, match="asset_class: 'BOND'"):
        create_execution_provider("BOND")
    with pytest.raises(InvalidInput, match="seed: -1"):
        create_execution_provider("EQUITY", seed=-1)
    with pytest.raises(ConfigError, match="config_path"):
        create_execution_provider("EQUITY", config_path="x.yaml")
    with pytest.raises(ConfigError, match="config: dict"):
        create_execution_provider("EQUITY", "L3", config={})  # type: ignore[arg-type]


@pytest.mark.parametrize(("level", "told"), [("L2", "none at level L2"), ("L3", "enabled: false")])
def test_what_is_not_there_says_so(level: str, told: str) -> None:
    """L2 has no model of fills, L3 has one that can be off; neither has icebergs of our own."""
    provider = create_execution_provider("EQUITY", level)
    fields: dict[str, Any] = {"symbol": "A", "side": "BUY", "quantity": 5}
    order = Order(**fields)
    with pytest.raises(NotSupported, match=told):
        provider.get_fill_probability(order, ladder(), 1.0)
    with pytest.raises(NotSupported, match="icebergs are not implemented"):
        provider.execute(Order(**(fields | {"display_quantity": 1})), ladder())
    models = provider.stats()["models"]
    expected = "only at level L3" if level == "L2" else "disabled"
    for model in ("fill_probability", "queue_value", "market_impact", "dark_pools"):
        assert expected == models[model]
