"""The arithmetic of liquidation, by hand: margins, prices, lots, the fund's room, ADL's ranking."""

from decimal import Decimal
from fractions import Fraction

import pytest

from lob.errors import ConfigError
from touchstone.exchange import PRODUCTS
from touchstone.exchange.liquidation import (
    Counterparty,
    Held,
    MarginRule,
    Scope,
    bankruptcy_ticks,
    bearable_lots,
    deleveraging,
    fund_lots,
    liquidation_price,
    lots_to_close,
)

BTC, BIP = PRODUCTS[0], PRODUCTS[2]
RULE = MarginRule()


def held(lots: int, mark: str = "100000", leverage: int = 10) -> Held:
    """Return a position in BTC-PERP-INTX; 10,000 lots are one coin."""
    return Held(product=BTC, lots=lots, mark=Decimal(mark), leverage=Decimal(leverage))


def scope(equity: str, *positions: Held) -> Scope:
    """Return positions margined together."""
    return Scope(held=positions, equity=Decimal(equity), rule=RULE)


def test_margins_of_one_coin_at_ten_times() -> None:
    """Initial 10,000, maintenance two thirds of it, close-out half of that."""
    one = scope("9000", held(10_000))
    assert (Decimal(10_000), Decimal("6666.66666667")) == (one.initial, one.maintenance)
    assert not one.is_short_of_maintenance
    assert one.is_short_of_initial
    assert scope("6666.66", held(-10_000)).is_short_of_maintenance
    assert not scope("3333.34", held(10_000)).is_short_of_close_out
    assert scope("3333.33", held(10_000)).is_short_of_close_out
    assert not scope("-5").is_short_of_maintenance


def test_closing_back_to_initial_margin() -> None:
    """Each lot (10 of notional) frees 1 of margin and costs 0.003 of fee: 4000/0.997 lots."""
    assert 4_013 == lots_to_close(held(10_000), Decimal(4_000), Decimal("0.0003"))
    assert 4_000 == lots_to_close(held(-10_000), Decimal(4_000), Decimal(0))
    assert 10_000 == lots_to_close(held(10_000), Decimal(99_999), Decimal(0))
    assert 10_000 == lots_to_close(held(10_000), Decimal(1), Decimal("0.5"))


def test_bankruptcy_prices() -> None:
    """A long with 3,000 behind it is bankrupt at 97,000; with the fee, a tick above 97,029.1."""
    assert 970_000 == bankruptcy_ticks(held(10_000), Decimal(3_000))
    assert 970_292 == bankruptcy_ticks(held(10_000), Decimal(3_000), Decimal("0.0003"))
    assert 1_030_000 == bankruptcy_ticks(held(-10_000), Decimal(3_000))
    assert 1_029_691 == bankruptcy_ticks(held(-10_000), Decimal(3_000), Decimal("0.0003"))
    assert 1_010_000 == bankruptcy_ticks(held(10_000), Decimal(-1_000))


def test_bankruptcy_prices_are_on_the_ticks_of_the_product() -> None:
    """A nano contract's ticks are 5: the price is rounded to where equity stays at 0 or above."""
    position = Held(product=BIP, lots=1, mark=Decimal(100_000), leverage=Decimal(10))
    assert 100_000 - 5 * 4 == 5 * bankruptcy_ticks(position, Decimal("0.24"))


def test_equity_is_shared_by_maintenance_margin() -> None:
    """Two positions on cross margin: the larger one has the larger part behind it."""
    large, small = held(30_000), held(-10_000)
    both = scope("1000", large, small)
    assert (Decimal(750), Decimal(250)) == (both.equity_share(large), both.equity_share(small))
    assert [large, small] == both.by_risk()


def test_the_fund_takes_what_it_can_carry() -> None:
    """At the mark with 1,000 of its own, 10 times: 10,000 of notional are 1,000 lots."""
    long = held(10_000)
    assert 1_000 == fund_lots(long, 1_000_000, Decimal(1_000), Decimal(0), RULE)
    assert 500 == fund_lots(long, 1_000_000, Decimal(1_000), Decimal(5_000), RULE)
    assert 0 == fund_lots(long, 1_000_000, Decimal(0), Decimal(0), RULE)
    assert 0 == fund_lots(long, 900_000, Decimal(0), Decimal(0), RULE)
    assert 0 == fund_lots(long, 1_000_000, Decimal(1_000), Decimal(10_001), RULE)
    # Bought 10 % below the mark, each lot brings as much as it binds.
    assert 10_000 == fund_lots(long, 900_000, Decimal(1), Decimal(0), RULE)
    # Bought 1 % above the mark, each lot loses 0.1 and binds 11.
    assert 909 == fund_lots(long, 1_010_000, Decimal(1_000), Decimal(0), RULE)


def test_the_fund_takes_what_makes_its_own_position_smaller() -> None:
    """Short 1,000 lots, all that 1,000 can carry: a long of 1,500 nets it and 500 more fit.

    Bought 20 % above the mark, each of these lots costs 2, ten times as much room as it frees: the
    5,000 that are left go with 500 of them. One that is beyond its bound may still come back.
    """
    full, none = Decimal(10_000), Decimal(0)
    assert 1_500 == fund_lots(held(1_500), 1_000_000, Decimal(1_000), full, RULE, -1_000)
    assert 2_000 == fund_lots(held(9_000), 1_000_000, Decimal(1_000), full, RULE, -1_000)
    assert 0 == fund_lots(held(-9_000), 1_000_000, Decimal(1_000), full, RULE, -1_000)
    half = Decimal(5_000)
    assert 500 == fund_lots(held(9_000), 1_200_000, Decimal(1_000), half, RULE, -1_000)
    assert 1_000 == fund_lots(held(1_000), 1_000_000, Decimal(500), full, RULE, -1_000)
    assert 0 == fund_lots(held(1_000), 1_000_000, none, full, RULE, -1_000)


def test_nobody_gives_up_more_than_its_equity_bears() -> None:
    """A short closed 500 above the mark loses 0.05 a lot: 10 of equity bear 200 lots.

    Below the mark it gains, and can give up everything, even with nothing behind it.
    """
    terms = (BTC, -1_000, Decimal(100_000))
    assert 200 == bearable_lots(*terms, 1_005_000, Decimal(10))
    assert 1_000 == bearable_lots(*terms, 1_005_000, Decimal(51))
    assert 0 == bearable_lots(*terms, 1_005_000, Decimal(-1))
    assert 1_000 == bearable_lots(*terms, 995_000, Decimal(-1))
    assert 200 == bearable_lots(BTC, 1_000, Decimal(100_000), 995_000, Decimal(10))


def customer(name: str, number: int, lots: int, profit: int, equity: int) -> Counterparty:
    """Return a counterparty that entered at 100 each."""
    return Counterparty(
        name=name,
        participant_id=number,
        lots=lots,
        notional=Decimal(lots * 100),
        profit=Decimal(profit),
        cost=Decimal(lots * -100),
        equity=Decimal(equity),
    )


def test_deleveraging_takes_profit_times_leverage_first() -> None:
    """Scores: a 10 % x 10; b 20 % x 2; c the same as b but later; d a loss."""
    a, b = customer("a", 4, 10, 100, 100), customer("b", 2, 5, 100, 250)
    c, d = customer("c", 3, 5, 100, 250), customer("d", 1, 50, -1, 100)
    assert [Decimal(1), Decimal("0.4"), Decimal("0.4")] == [one.score for one in (a, b, c)]
    assert d.score < 0
    assert [("a", 10), ("b", 5), ("c", 3)] == deleveraging([d, c, b, a], 18)
    assert [("a", 10), ("b", 5), ("c", 5), ("d", 50)] == deleveraging([a, b, c, d], 99)
    assert [] == deleveraging([], 5)


@pytest.mark.parametrize(("lots", "leverage"), [(10_000, 10), (-10_000, 10), (10_000, 3)])
def test_at_its_liquidation_price_equity_is_maintenance_margin(lots: int, leverage: int) -> None:
    """Moving the mark to the price found makes equity and maintenance equal (to the cent)."""
    position = held(lots, leverage=leverage)
    before = scope(str(position.initial + 500), position, held(-4_000, "100000", 5))
    price = liquidation_price(position, before)
    assert price is not None
    moved = Held(product=BTC, lots=lots, mark=price, leverage=position.leverage)
    gained = BTC.value(price - position.mark, lots)
    after = Scope(held=(moved, before.held[1]), equity=before.equity + gained, rule=RULE)
    assert abs(after.equity - after.maintenance) < Decimal("0.01")


def test_a_long_that_is_paid_in_full_is_never_liquidated() -> None:
    """Equity of twice the notional: no price above zero is too low."""
    position = held(10_000)
    assert liquidation_price(position, scope("200000", position)) is None


@pytest.mark.parametrize(
    "options",
    [
        {"maintenance": Fraction(0)},
        {"maintenance": Fraction(3, 2)},
        {"close_out": Fraction(2)},
        {"fund_leverage_max": Decimal(0)},
    ],
)
def test_rules_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    """Each part has its bounds."""
    with pytest.raises(ConfigError, match="margin"):
        MarginRule(**options)  # type: ignore[arg-type]
