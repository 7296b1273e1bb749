"""Margin types, leverage, allocation, settlements and fee tiers in a running venue."""

from decimal import Decimal

from lob.types import Side
from tests.exchange.perp_venue import BIP, BTC, PerpVenue
from touchstone.exchange import FailureReason, Family, Order, Refusal
from touchstone.exchange.fees import FeeSchedule, FeeTier
from touchstone.exchange.holds import Working
from touchstone.exchange.requests import MarginType

RICH = "100000000"
ISOLATED, CROSS = MarginType.ISOLATED, MarginType.CROSS


def reason(result: object) -> FailureReason:
    """Return why something was refused."""
    assert isinstance(result, Refusal), result
    return result.reason


def test_the_other_margin_type_is_refused_while_something_lives() -> None:
    """Neither beside a position nor beside an order; once both are gone, it is free again."""
    venue = PerpVenue({"alice": "50000", "bob": RICH})
    create = venue.exchange.create
    resting = venue.order("alice", "BUY", "0.1", "90000", margin_type=ISOLATED)
    crossing = venue.request("BUY", "0.1", "90000", margin_type=CROSS)
    assert FailureReason.INVALID_MARGIN_TYPE is reason(create("alice", crossing))
    venue.exchange.cancel("alice", [resting.order_id])
    venue.trade("alice", "bob", "0.1", "100000", margin_type=CROSS)
    refused = create("alice", venue.request("BUY", "0.1", "90000", margin_type=ISOLATED))
    assert isinstance(refused, Refusal)
    assert "PREVIEW_OPPOSITE_MARGIN_TYPE_EXISTS" == refused.preview
    assert isinstance(create("alice", venue.request("BUY", "0.1", "90000")), Order)


def test_isolated_orders_need_their_margin_from_the_balance() -> None:
    """Orders hold it, fills move it: one BTC at 10 times holds 10,030; 10,000 are allocated."""
    venue = PerpVenue({"alice": "50000", "bob": RICH})
    venue.order("alice", "BUY", "1", "100000", margin_type=ISOLATED)
    assert Decimal(10_030) == venue.clearing.requirement("alice")
    venue.order("bob", "SELL", "1", "100000")
    assert Decimal(0) == venue.clearing.requirement("alice")
    assert Decimal(10_000) == venue.position("alice").collateral
    assert Decimal(40_000) == venue.clearing.withdrawable("alice")


def test_no_more_is_allocated_than_there_is() -> None:
    """A cross loss leaves 8,970 of the 9,000 that a resting isolated order needs when it fills."""
    venue = PerpVenue({"alice": "21000", "bob": RICH})
    venue.trade("alice", "bob", "100", "100000", BIP)
    venue.order("alice", "BUY", "1", "90000", margin_type=ISOLATED)
    venue.index("88000")
    venue.wait(1)
    venue.order("bob", "SELL", "1", "90000")
    assert Decimal(8_970) == venue.position("alice").collateral
    assert Decimal(0) == venue.clearing.cross_equity("alice")
    venue.wait(1)
    assert venue.clearing.cross_equity("alice") >= 0


def test_money_is_allocated_and_taken_back() -> None:
    """What goes in moves the liquidation price away; what comes out leaves initial margin."""
    venue = PerpVenue({"alice": "50000", "bob": RICH})
    venue.trade("alice", "bob", "1", "100000", margin_type=ISOLATED)
    allocate = venue.clearing.allocate
    assert allocate("alice", BTC, Decimal(5_000)) is None
    assert Decimal(15_000) == venue.position("alice").collateral
    assert FailureReason.INSUFFICIENT_FUND is reason(allocate("alice", BTC, Decimal("-5000.01")))
    assert allocate("alice", BTC, Decimal(-5_000)) is None
    assert FailureReason.INSUFFICIENT_FUND is reason(allocate("alice", BTC, Decimal(40_000)))
    assert FailureReason.INVALID_REQUEST is reason(allocate("alice", BTC, Decimal("1E-9")))
    assert FailureReason.INVALID_REQUEST is reason(allocate("alice", BTC, Decimal(0)))
    assert FailureReason.INVALID_REQUEST is reason(allocate("alice", BTC, Decimal("NaN")))
    assert FailureReason.INSUFFICIENT_FUND is reason(allocate("alice", BTC, Decimal("1E+60")))
    assert FailureReason.INVALID_MARGIN_TYPE is reason(allocate("alice", BIP, Decimal(1)))
    assert FailureReason.INVALID_MARGIN_TYPE is reason(allocate("bob", BTC, Decimal(1)))
    venue.exchange.check()


def test_a_lower_leverage_needs_the_margin_for_what_is_held() -> None:
    """An order that says 2 times asks it of the position, too: 50,000 of 20,000 are not there."""
    venue = PerpVenue({"alice": "20000", "bob": RICH})
    venue.trade("alice", "bob", "1", "100000")
    lower = venue.request("SELL", "0.1", "110000", leverage=Decimal(2))
    assert FailureReason.INVALID_LEVERAGE is reason(venue.exchange.create("alice", lower))
    assert Decimal(10) == venue.clearing.leverage("alice", venue.clearing.products[BTC])
    venue.order("alice", "SELL", "0.1", "110000", leverage=Decimal(6))
    assert Decimal(6) == venue.clearing.leverage("alice", venue.clearing.products[BTC])


def test_intx_positions_settle_every_five_minutes_and_cde_positions_do_not() -> None:
    """The vwap moves to the mark and the profit becomes cash; entry and aggregated profit stay."""
    venue = PerpVenue({"alice": "50000", "bob": RICH})
    venue.trade("alice", "bob", "1", "100000")
    venue.trade("alice", "bob", "10", "100000", BIP)
    balance = venue.clearing.account("alice").balance
    venue.index("100500")
    venue.wait(299)
    mark = venue.clearing.mark(BTC)
    product, bip = venue.clearing.products[BTC], venue.clearing.products[BIP]
    held = venue.position("alice")
    assert (Decimal(100_500), Decimal(100_000)) == (mark, held.entry_price(product))
    equity = venue.equity("alice")
    venue.wait(1)
    held, nano = venue.position("alice"), venue.position("alice", BIP)
    assert (mark, Decimal(0)) == (held.entry_price(product), held.unrealised(product, mark))
    assert Decimal(100_000) == held.original_entry_price(product)
    assert Decimal(500) == held.aggregated(product, mark)
    assert balance + 500 == venue.clearing.account("alice").balance
    assert (Decimal(100_000), Decimal(50)) == (nano.entry_price(bip), nano.unrealised(bip, mark))
    assert equity == venue.equity("alice")


def test_the_tier_changes_with_the_hour_and_an_order_keeps_its_own() -> None:
    """After 100,000 of volume the taker rate falls with the next hour, not before.

    An order that was placed in the old tier still pays the old rate when it fills.
    """
    tiers = FeeSchedule(
        (
            FeeTier("one", Decimal(0), Decimal("0.0002"), Decimal("0.0004")),
            FeeTier("two", Decimal(100_000), Decimal("0.0001"), Decimal("0.0003")),
        )
    )
    venue = PerpVenue({"alice": "50000", "bob": RICH}, fee_schedules={Family.INTX: tiers})
    resting = venue.order("alice", "BUY", "0.2", "90000")
    venue.trade("alice", "bob", "1", "100000")
    venue.trade("alice", "bob", "0.1", "100000")
    assert [Decimal(4), Decimal(40)] == [fill.fee for fill in venue.exchange.fills("alice")]
    venue.wait(3_600)
    venue.trade("alice", "bob", "0.1", "100000")
    assert Decimal(3) == venue.exchange.fills("alice")[0].fee
    for _ in range(2):
        venue.order("bob", "SELL", "0.1", "90000")
    after = venue.exchange.order("alice", resting.order_id)
    assert after is not None
    assert Decimal("3.6") == after.fees
    venue.wait(31 * 24 * 3)
    assert "two" == venue.clearing.fee_tier("alice", venue.clearing.products[BTC]).name


def test_a_projection_is_what_happens() -> None:
    """What a preview says of margin, buffer and liquidation price is so after the order."""
    for margin_type in (CROSS, ISOLATED):
        venue = PerpVenue({"alice": "50000", "bob": RICH})
        clearing, product = venue.clearing, venue.clearing.products[BTC]
        order = Working(Side.BUY, 1_000_000, 10_000)
        said = clearing.project("alice", product, order, Decimal(5), margin_type)
        venue.trade("alice", "bob", "1", "100000", leverage=Decimal(5), margin_type=margin_type)
        scope = clearing.scope("alice", BTC if margin_type is ISOLATED else "")
        assert Decimal(20_030) == said.margin
        assert scope.equity - scope.maintenance == said.projected_buffer
        if margin_type is CROSS:
            assert Decimal(50_000) == said.buffer


def test_higher_leverage_does_not_pay_for_an_order_that_the_equity_does_not() -> None:
    """Long one coin at twice, 35,000 left of the 42,500 that it needs at 85,000.

    At ten times it needs 8,500, so that a buy of 3 fits, and one of 4 at 82,000 (32,898.4 more)
    does not, although both together need less than the coin did before.
    """
    venue = PerpVenue({"alice": "50030", "bob": RICH})
    venue.trade("alice", "bob", "1", "100000", leverage=Decimal(2))
    venue.index("85000")
    venue.wait(1)
    assert Decimal(35_000) == venue.equity("alice")
    refused = venue.exchange.create(
        "alice", venue.request("BUY", "4", "82000", leverage=Decimal(10))
    )
    assert isinstance(refused, Refusal)
    assert FailureReason.INSUFFICIENT_FUND is refused.reason
    fitting = venue.request("BUY", "3", "82000", leverage=Decimal(10))
    # 24,600 of margin and 73.8 of fees, although less will be bound than before.
    preview = venue.exchange.preview("alice", fitting)
    assert Decimal("24673.8") == preview.order_margin_total
    assert isinstance(venue.exchange.create("alice", fitting), Order)


def test_lower_leverage_has_to_be_affordable_for_open_orders_of_an_isolated_position_too() -> None:
    """At five times the position's 25,000 are enough, the 10,170 for a buy of one coin are not."""
    venue = PerpVenue({"alice": "20200", "bob": RICH})
    venue.trade("alice", "bob", "1", "100000", margin_type=ISOLATED)
    resting = venue.order("alice", "BUY", "1", "99990")
    venue.index("115000")
    venue.clearing.sample_marks()
    lower = venue.request("SELL", "0.1", "120000", reduce_only=True, leverage=Decimal(5))
    assert FailureReason.INVALID_LEVERAGE is reason(venue.exchange.create("alice", lower))
    venue.exchange.cancel("alice", [resting.order_id])
    venue.order("alice", "SELL", "0.1", "120000", reduce_only=True, leverage=Decimal(5))
