"""What Coinbase's answers say of money, in both families' shapes."""

from decimal import Decimal
from typing import Any

import pytest

from lob.errors import Unavailable
from services.order_gateway.venues.coinbase_money import (
    derived_from,
    funding_from,
    stated_from,
)
from services.order_gateway.venues.coinbase_rest import readable
from touchstone.perps.funding import FundingFigures
from touchstone.perps.products import ProductRules

D = Decimal


def rules(symbol: str, product_id: str, contract: str = "1") -> ProductRules:
    """Return a product's rules."""
    return ProductRules(
        symbol=symbol,
        product_id=product_id,
        price_increment=D(1),
        size_increment=D(contract),
        contract_size=D(contract),
    )


KNOWN = {
    "BTC-PERP-INTX": rules("BTC-PERP", "BTC-PERP-INTX"),
    "ETP-20DEC30-CDE": rules("ETH-PERP", "ETP-20DEC30-CDE", "0.1"),
}


def money(value: str) -> dict[str, str]:
    """Return an amount as Coinbase writes it."""
    return {"value": value, "currency": "USDC"}


def both(value: str) -> dict[str, Any]:
    """Return an amount in the customer's currency and the position's."""
    return {"userNativeCurrency": money(value), "rawCurrency": money(value)}


def perpetual(product_id: str = "BTC-PERP-INTX", **changes: Any) -> dict[str, Any]:
    """Return a short of half a bitcoin."""
    return {
        "product_id": product_id,
        "position_side": "FUTURES_POSITION_SIDE_SHORT",
        "net_size": "-0.5",
        "mark_price": both("60000.5"),
        "liquidation_price": both("0"),
        "unrealized_pnl": both("12"),
        **changes,
    }


def future(product_id: str = "ETP-20DEC30-CDE", **changes: Any) -> dict[str, Any]:
    """Return 20 contracts of a tenth of an ether, long."""
    return {
        "product_id": product_id,
        "contract_size": "0.1",
        "side": "FUTURES_POSITION_SIDE_LONG",
        "amount": "20",
        "avg_entry_price": "2900",
        "current_price": "3000",
        "unrealized_pnl": "200",
        **changes,
    }


def breakdown(*rows: dict[str, Any], total: str = "10000") -> dict[str, Any]:
    """Return a portfolio breakdown."""
    return {
        "portfolio_balances": {"total_balance": money(total)},
        "perp_positions": [row for row in rows if "net_size" in row],
        "futures_positions": [row for row in rows if "amount" in row],
    }


def test_both_families_in_one_answer() -> None:
    """Coins with their sign, marks, and the book value that follows from them."""
    stated = stated_from([breakdown(perpetual(), future())], KNOWN.get)
    held = stated.statement.positions
    assert (D("-0.5"), D("60000.5")) == (held["BTC-PERP"].quantity, held["BTC-PERP"].mark)
    assert (D(2), D(3_000)) == (held["ETH-PERP"].quantity, held["ETH-PERP"].mark)
    assert D("10000") + D("30000.25") - D(6_000) == stated.statement.book_value
    assert D(0) == stated.positions["BTC-PERP"].liquidation_price
    assert stated.positions["ETH-PERP"].liquidation_price is None


def test_two_portfolios_are_added_up() -> None:
    """A family each, in portfolios of their own."""
    stated = stated_from([breakdown(perpetual()), breakdown(future(), total="500")], KNOWN.get)
    assert (D(10_500), 2) == (stated.statement.equity, len(stated.positions))


def test_positions_of_others_are_worth_something() -> None:
    """A product that is not ours is no position here, and its worth is left out of the account."""
    stated = stated_from([breakdown(future("OIL-CDE")), breakdown(total="0")], KNOWN.get)
    assert ({}, D(6_000)) == (dict(stated.positions), stated.statement.other_value)
    assert D(4_000) == stated.statement.book_value


@pytest.mark.parametrize(
    "broken",
    [
        {"portfolio_balances": {}},
        {"portfolio_balances": {"total_balance": money("x")}},
        {"perp_positions": [perpetual(mark_price="")]},
        {"perp_positions": [perpetual(net_size="")]},
        {"futures_positions": None},
    ],
)
def test_an_answer_of_another_shape_says_nothing(broken: dict[str, Any]) -> None:
    """Nothing is taken for a flat account, or for one without money."""
    with pytest.raises(Unavailable), readable("portfolio"):
        stated_from([breakdown() | broken], KNOWN.get)


def test_a_liquidation_price_of_a_future_follows_from_the_buffer() -> None:
    """Buffer 900, maintenance 400 of 6,000 long: 3,000 - 900 / (2 - 2 / 15)."""
    stated = stated_from([breakdown(future())], KNOWN.get)
    summary = {"liquidation_buffer_amount": money("900"), "liquidation_threshold": money("400")}
    found = derived_from(stated, summary)
    assert D("2517.86") == found["ETH-PERP"].quantize(D("0.01"))


def test_funding_stands_where_each_family_has_it() -> None:
    """CDE: beside the details of perpetuals, with interval and mark; INTX: among them, without."""
    cde = {
        "future_product_details": {
            "funding_rate": "0.00001",
            "funding_time": "2026-11-21T10:00:00Z",
            "funding_interval": "3600s",
            "settlement_price": "60000",
            "perpetual_details": {"funding_rate": "", "funding_time": None},
        }
    }
    at = 1_795_255_200_000_000_000
    expected = FundingFigures(
        rate=D("0.00001"), next_time_ns=at, interval_ns=3_600_000_000_000, mark=D(60_000)
    )
    assert expected == funding_from(cde)
    inner = {"funding_rate": "-0.5", "funding_time": "2026-11-21T10:00:00Z"}
    intx = {"future_product_details": {"perpetual_details": inner}}
    assert FundingFigures(rate=D("-0.5"), next_time_ns=at) == funding_from(intx)
    assert FundingFigures(rate=None, next_time_ns=None) == funding_from({})
