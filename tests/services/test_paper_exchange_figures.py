"""An account's figures against what then happens to it: buffers, and what orders ask for."""

from decimal import Decimal

from lob.types import Side, TimeInForce
from services.paper_exchange import shapes_cfm, shapes_intx
from services.paper_exchange.figures import one_position
from services.paper_exchange.shapes_accounts import account_shape, breakdown_shape
from tests.exchange.perp_venue import BIP, BTC, PerpVenue
from touchstone.exchange import MarginType, OrderRequest
from touchstone.exchange.requests import Scaled

RICH = "100000000"


def split_account() -> PerpVenue:
    """Return a venue where alice is long 500 contracts on cross and short 4 BTC isolated."""
    venue = PerpVenue({"alice": "100270", "bob": RICH})
    venue.trade("alice", "bob", "500", "100000", BIP)
    venue.order("bob", "BUY", "4", "100000")
    venue.order("alice", "SELL", "4", "100000", margin_type=MarginType.ISOLATED)
    assert Decimal(60_000) == venue.clearing.account("alice").balance
    return venue


def test_the_buffer_is_below_zero_exactly_where_liquidation_begins() -> None:
    """60,000 - 5 x (100,000 - mark) meets 5 x mark / 15 at 94,285.71, whatever is isolated.

    The short has made 23,000 by then, which are not the long's to lose.
    """
    for price, begun in (("94286", False), ("94285", True)):
        venue = split_account()
        venue.index(price)
        venue.clearing.sample_marks()
        summary = shapes_cfm.balance_shape(venue.exchange, "alice")["balance_summary"]
        (portfolio,) = shapes_intx.portfolio_shape(venue.exchange, "alice")["portfolios"]
        assert begun is (Decimal(summary["liquidation_buffer_percentage"]) < 0)
        assert begun is (Decimal(summary["liquidation_buffer_amount"]["value"]) < 0)
        assert begun is (Decimal(portfolio["liquidation_percentage"]) > 100)
        assert begun is (Decimal(portfolio["liquidation_buffer"]) < 0)
        level = summary["intraday_margin_window_measure"]["margin_level"]
        assert begun is (level == "MARGIN_LEVEL_TYPE_LIQUIDATION")
        venue.wait(1)
        assert begun is ("" in venue.clearing.account("alice").liquidating)
        assert -40_000 == venue.position("alice").lots


def test_an_isolated_position_shows_its_own_buffer() -> None:
    """40,000 behind a short of 400,000, and 5,000 of profit at 98,750: less 26,333.33."""
    venue = split_account()
    venue.index("98750")
    venue.clearing.sample_marks()
    portfolio = venue.exchange.portfolios.listed("alice")[0]
    shape = breakdown_shape(venue.exchange, portfolio, "USD")["breakdown"]
    (short,) = shape["perp_positions"]
    assert "18666.66666667" == short["liquidation_buffer"]


def test_what_is_free_and_what_is_held_is_the_equity() -> None:
    """Whatever an isolated position has won: 60,000, less 25,000 and 50,000, and 40,000 + 20,000.

    Cross margin has less than the initial 47,500 of its long, so nothing is free.
    """
    for price, free in (("100000", "10000"), ("95000", "0")):
        venue = split_account()
        venue.index(price)
        venue.clearing.sample_marks()
        shape = account_shape(venue.exchange, "alice")
        assert free == shape["available_balance"]["value"]
        assert venue.equity("alice") == Decimal(free) + Decimal(shape["hold"]["value"])
        balances = shapes_intx.balances_shape(venue.exchange, "alice")["portfolio_balances"]
        assert [free == "0"] == [one["is_margin_limit_reached"] for one in balances]


def test_a_scaled_order_is_counted_once() -> None:
    """One coin over four prices is one coin that is asked for, not two."""
    venue = PerpVenue({"alice": "100000"})
    venue.exchange.create(
        "alice",
        OrderRequest(
            client_order_id="scaled",
            product_id=BTC,
            side=Side.BUY,
            size=Decimal(1),
            time_in_force=TimeInForce.GTC,
            scaled=Scaled(order_count=4, min_price=Decimal(90_000), max_price=Decimal(95_000)),
        ),
    )
    figures = one_position(venue.exchange, "alice", venue.clearing.products[BTC])
    assert (Decimal(1), Decimal(0)) == (figures.buying, figures.selling)
