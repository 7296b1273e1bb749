"""Liquidation in a running venue, to the cent: the book, the fund, deleveraging, isolated."""

from decimal import Decimal

from tests.exchange.perp_venue import BIP, BTC, PerpVenue
from touchstone.exchange import FailureReason, Refusal
from touchstone.exchange.reasons import EndReason
from touchstone.exchange.requests import MarginType, OrderKind

RICH = "100000000"


def test_a_long_is_closed_back_to_initial_margin() -> None:
    """One BTC at 100,000 with 10,000 of equity, and the mark at 96,000.

    Equity 6,000 is below 2/3 of 9,600. 3,600 are missing; a lot (9.6) frees 0.96 - 0.00288, so
    3,762 lots go at 95,990: 3.762 of slippage, 10.8334314 of fee. The next second 3.0754314 are
    missing: 4 more lots.
    """
    venue = PerpVenue({"alice": "10030", "bob": RICH, "carol": RICH})
    venue.trade("alice", "bob", "1", "100000")
    resting = venue.order("alice", "SELL", "0.5", "120000")
    venue.quote("carol", "95990", "96010")
    venue.index("96000")
    venue.wait(1)
    assert 6_238 == venue.position("alice").lots
    assert Decimal("5985.4045686") == venue.equity("alice")
    assert {""} == venue.clearing.account("alice").liquidating
    cancelled = venue.exchange.order("alice", resting.order_id)
    assert cancelled is not None
    assert EndReason.LIQUIDATION is cancelled.end_reason
    refused = venue.exchange.create("alice", venue.request("BUY", "0.1", "90000"))
    assert isinstance(refused, Refusal)
    assert FailureReason.IN_LIQUIDATION is refused.reason
    venue.wait(1)
    assert 6_234 == venue.position("alice").lots
    assert Decimal("5985.3890498") == venue.equity("alice")
    assert not venue.clearing.account("alice").liquidating
    venue.wait(10)
    assert 6_234 == venue.position("alice").lots
    kinds = [order.kind for order in venue.exchange.orders("alice")[:2]]
    assert [OrderKind.LIQUIDATION] * 2 == kinds


def test_a_short_is_closed_back_to_initial_margin() -> None:
    """The mirror image at 104,000: 4,400 missing, a lot frees 1.04 - 0.00312: 4,244 lots.

    They cost 4.244 of slippage and 13.2425532 of fee. 5982.5134468 is still below the 5,986.24 of
    what is left; the 3.7265532 that are missing take 4 lots: 0.004 and 0.0124812.
    """
    venue = PerpVenue({"alice": RICH, "bob": "10030", "carol": RICH})
    venue.order("alice", "BUY", "1", "100000")
    venue.order("bob", "SELL", "1", "100000")
    venue.quote("carol", "103990", "104010")
    venue.index("104000")
    venue.wait(2)
    assert -5_752 == venue.position("bob").lots
    assert Decimal("5982.4969656") == venue.equity("bob")
    assert not venue.clearing.account("bob").liquidating


def test_a_bankrupt_long_goes_to_the_insurance_fund() -> None:
    """At 89,000 with no bid there are 1,000 too little: the fund takes over at 90,000.

    The customer has lost the 10,000 and nothing more; the fund has lost 1,000 and is long.
    """
    venue = PerpVenue({"alice": "10030", "bob": RICH})
    venue.trade("alice", "bob", "1", "100000")
    venue.index("89000")
    venue.wait(1)
    assert (0, Decimal(0)) == (venue.position("alice").lots, venue.equity("alice"))
    (fill, _) = venue.exchange.fills("alice")
    assert (Decimal(90_000), Decimal(0)) == (fill.price, fill.fee)
    fund = venue.clearing.fund
    assert (10_000, Decimal(90_000)) == (fund.position(BTC).lots, fund.position(BTC).cost)
    assert Decimal(999_000) == fund.equity(venue.clearing.products, venue.clearing.mark_prices())


def test_the_fund_sells_what_it_took_over() -> None:
    """Once there are bids near the mark, they get it; the loss is then the fund's, in cash."""
    venue = PerpVenue({"alice": "10030", "bob": RICH, "carol": RICH})
    venue.trade("alice", "bob", "1", "100000")
    venue.index("89000")
    venue.wait(1)
    venue.quote("carol", "88990", "89010")
    venue.wait(1)
    assert 0 == venue.position("insurance-fund").lots
    assert Decimal(1_000_000 - 1_010) == venue.clearing.fund.balance


def test_without_a_fund_the_most_profitable_by_leverage_give_up_theirs() -> None:
    """Bob and carol are short from 100,000, carol with less behind it: she is first.

    At the bankruptcy price of 90,000 she gives up 0.6 and has made 6,000, bob gives up the other
    0.4 and has made 4,000; he keeps a short of 0.2.
    """
    venue = PerpVenue(
        {"alice": "10030", "bob": "50000", "carol": "20000", "dave": RICH},
        insurance_fund=Decimal(0),
    )
    venue.trade("alice", "bob", "0.6", "100000")
    venue.trade("alice", "carol", "0.4", "100000")
    venue.trade("dave", "carol", "0.2", "100000")
    venue.index("89000")
    venue.wait(1)
    assert Decimal(0) == venue.equity("alice")
    assert (0, -2_000) == (venue.position("carol").lots, venue.position("bob").lots)
    assert Decimal(26_000) == venue.equity("carol")
    assert Decimal(50_000 + 4_000 + 2_200) == venue.equity("bob")
    assert 10_000 == venue.exchange.liquidator.deleveraged_lots
    assert Decimal(0) == venue.clearing.fund.balance


def test_leverage_is_that_of_all_that_shares_the_margin() -> None:
    """Bob and carol are short alike; she is long 70 contracts besides and therefore first.

    Her 57,800 make up for what the contracts cost her, so that she has a little more than bob.
    """
    venue = PerpVenue(
        {"alice": "10030", "bob": "50000", "carol": "57800", "dave": RICH},
        insurance_fund=Decimal(0),
    )
    venue.trade("alice", "bob", "0.5", "100000")
    venue.trade("alice", "carol", "0.5", "100000")
    venue.trade("dave", "bob", "0.3", "100000")
    venue.trade("dave", "carol", "0.3", "100000")
    venue.trade("carol", "dave", "70", "100000", BIP)
    venue.index("89000")
    venue.wait(1)
    assert (0, -6_000) == (venue.position("carol").lots, venue.position("bob").lots)


def test_the_background_flow_is_last_in_line() -> None:
    """What no customer and no fund can take ends with the flow, at the same price."""
    venue = PerpVenue({"alice": "10030", "bob": RICH}, insurance_fund=Decimal(0))
    venue.trade("alice", "bob", "1", "100000")
    # Bob's short is the only one; give most of it away first, at a loss that is his own.
    venue.clearing.book("bob", venue.clearing.products[BTC], 7_000, 1_000_000)
    venue.clearing.flow.settle(venue.clearing.products[BTC], -7_000, 1_000_000, Decimal(0))
    venue.index("89000")
    venue.wait(1)
    assert (0, 0) == (venue.position("bob").lots, venue.clearing.flow.position(BTC).lots)
    assert Decimal(7_000) == venue.clearing.flow.balance


def test_an_isolated_long_is_closed_back_to_initial_margin() -> None:
    """The same amounts as on cross margin, because what is closed leaves its collateral behind.

    If it took its part along, the ratio would stay and closing would go on until nothing is left.
    """
    venue = PerpVenue({"alice": "20030", "bob": RICH, "carol": RICH})
    venue.trade("alice", "bob", "1", "100000", margin_type=MarginType.ISOLATED)
    venue.quote("carol", "95990", "96010")
    venue.index("96000")
    venue.wait(1)
    assert (6_238, {BTC}) == (
        venue.position("alice").lots,
        venue.clearing.account("alice").liquidating,
    )
    venue.wait(10)
    assert 6_234 == venue.position("alice").lots
    assert Decimal("5985.3890498") == venue.clearing.scope("alice", BTC).equity
    assert Decimal(10_000) == venue.clearing.account("alice").balance
    assert not venue.clearing.account("alice").liquidating


def test_an_isolated_position_loses_its_allocation_and_no_more() -> None:
    """100 nano contracts with 10,000 allocated, and the price halves: 10,000 are gone."""
    venue = PerpVenue({"alice": "50000", "bob": RICH})
    venue.trade("alice", "bob", "100", "100000", BIP, margin_type=MarginType.ISOLATED)
    venue.trade("alice", "bob", "0.1", "100000")
    before = venue.clearing.account("alice").balance
    assert Decimal(50_000 - 10_000 - 30 - 3) == before
    venue.index("50000")
    venue.wait(1)
    assert 0 == venue.position("alice", BIP).lots
    assert before == venue.clearing.account("alice").balance
    assert 1_000 == venue.position("alice").lots


def test_cross_margin_shares_the_loss_between_positions() -> None:
    """A profit in one position keeps another from being liquidated."""
    venue = PerpVenue({"alice": "25000", "bob": RICH})
    venue.trade("alice", "bob", "1", "100000")
    venue.trade("bob", "alice", "100", "100000", BIP)
    venue.index("60000")
    venue.wait(5)
    assert (10_000, -100) == (venue.position("alice").lots, venue.position("alice", BIP).lots)
    assert Decimal(25_000 - 30) == venue.equity("alice")


def test_a_customer_s_own_close_below_zero_is_made_good() -> None:
    """A close at a price beyond bankruptcy leaves nothing; the fund pays the rest, visibly."""
    venue = PerpVenue({"alice": "10030", "bob": RICH, "carol": RICH})
    venue.trade("alice", "bob", "1", "100000")
    venue.order("carol", "BUY", "1", "85000")
    venue.order("alice", "SELL", "1", "85000", reduce_only=True)
    assert Decimal("-5025.5") == venue.equity("alice")
    venue.wait(1)
    assert Decimal(0) == venue.equity("alice")
    assert Decimal(1_000_000) - Decimal("5025.5") == venue.clearing.fund.balance


def test_a_customer_s_own_close_of_an_isolated_position_is_bounded_too() -> None:
    """Closed at 85,000 it has lost 15,000 of the 10,000 it had; the fund pays 5,025.5 at once."""
    venue = PerpVenue({"alice": "50030", "bob": RICH, "carol": RICH})
    venue.trade("alice", "bob", "1", "100000", margin_type=MarginType.ISOLATED)
    venue.order("carol", "BUY", "1", "85000")
    venue.order("alice", "SELL", "1", "85000", reduce_only=True)
    assert Decimal(40_000) == venue.equity("alice")
    assert Decimal(1_000_000) - Decimal("5025.5") == venue.clearing.fund.balance
    venue.exchange.check()


def test_deleveraging_takes_nobody_below_zero() -> None:
    """A gap to 60,000 leaves alice 30,000 short; closing at her 90,000 costs a short 3 a lot.

    Carol is short 0.4, and long 0.5 in nano contracts: 5,185 are left of her 9,200. That bears
    1,728 lots; bob gives up his 6,000, and the flow takes the other 2,272. With 1 left, carol is
    next.
    """
    venue = PerpVenue({"alice": "10030", "bob": RICH, "carol": "9200"}, insurance_fund=Decimal(0))
    venue.trade("alice", "carol", "0.4", "100000")
    venue.trade("alice", "bob", "0.6", "100000")
    venue.trade("carol", "bob", "50", "100000", BIP)
    venue.index("60000")
    venue.wait(1)
    assert (0, Decimal(0)) == (venue.position("alice").lots, venue.equity("alice"))
    taken = [fill for fill in venue.exchange.fills("carol") if fill.price == 90_000]
    assert [1_728] == [fill.lots for fill in taken]
    assert (0, 0) == (venue.position("carol").lots, venue.position("carol", BIP).lots)
    assert Decimal(0) <= venue.equity("carol") <= 1
    assert Decimal(0) == venue.clearing.fund.balance
