"""The crossover strategy: when it enters, leaves, refuses and holds, on bars counted by hand."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.types import Side
from touchstone.perps.filters import FilterLimits, MarketView
from touchstone.perps.strategy import (
    AccountView,
    Action,
    Decision,
    ExitReason,
    MaCrossover,
    Parameters,
    Strategy,
)

LIMITS = FilterLimits(
    max_spread_bps=Decimal(20),
    min_depth_l1=Decimal(10_000),
    min_depth_l10=Decimal(50_000),
    min_volume_1m=Decimal(10_000),
)
PARAMETERS = Parameters(
    filters=LIMITS,
    liquidation_buffer=Decimal("0.2"),
    max_slippage_bps=Decimal(15),
    max_position_notional=Decimal(5_000),
    leverage=Decimal(2),
    enable_shorts=True,
)
FLAT = AccountView(equity=Decimal(10_000), quantity=Decimal(0))
FALLING = [Decimal(1_000 - n) for n in range(25)]
RISING = [Decimal(1_000 + n) for n in range(25)]


def market(price_text: str = "1000", **changes: object) -> MarketView:
    """Return a good market at a mark."""
    price = Decimal(price_text)
    deep = dict.fromkeys(Side, Decimal(100_000))
    view = MarketView(
        age_seconds=1.0,
        mark=price,
        bid=price - Decimal("0.05"),
        ask=price + Decimal("0.05"),
        depth_l1=deep,
        depth_l10={side: depth * 5 for side, depth in deep.items()},
        volume_1m_usd=Decimal(100_000),
    )
    return replace(view, **changes)  # type: ignore[arg-type]


def fed(closes: Iterable[Decimal], parameters: Parameters = PARAMETERS) -> MaCrossover:
    """Return a strategy that has seen these closes, one a minute."""
    strategy = MaCrossover(parameters)
    for minute, close in enumerate(closes, start=1):
        strategy.on_bar(minute, close)
    return strategy


def until_crossed(
    start: list[Decimal], step: int, parameters: Parameters = PARAMETERS
) -> MaCrossover:
    """Return a strategy right after the bar on which its averages crossed."""
    strategy = fed(start, parameters)
    minute, close = len(start), start[-1]
    while strategy.decide(market(), FLAT).message == "no cross":
        minute, close = minute + 1, close + step
        strategy.on_bar(minute, close)
    return strategy


def test_it_is_a_strategy() -> None:
    """The crossover fits the seam that a replacement has to fit."""
    strategy: Strategy = MaCrossover(PARAMETERS)
    assert strategy.name == "ma_crossover"


def test_the_cross_is_the_one_counted_by_hand() -> None:
    """With averages of 1 and 2 bars, 100 100 then 103: 103 > 101.5 by more than 1 bp: a cross."""
    small = replace(PARAMETERS, short_ma=1, long_ma=2)
    strategy = fed([Decimal(100), Decimal(99)], small)
    assert "no cross" == strategy.decide(market("100"), FLAT).message
    strategy.on_bar(3, Decimal(103))
    decision = strategy.decide(market("100"), FLAT)
    assert (Action.ENTER, Side.BUY) == (decision.action, decision.side)


def test_a_gap_within_epsilon_is_no_cross() -> None:
    """Averages one basis point apart have not crossed; a hair more and they have."""
    small = replace(PARAMETERS, short_ma=1, long_ma=2)
    # Short 10,002, long 10,001: 1 / 10,001 is below 1 bp of the long average.
    strategy = fed([Decimal(10_010), Decimal(10_000), Decimal(10_002)], small)
    assert "no cross" == strategy.decide(market("10000"), FLAT).message
    strategy = fed([Decimal(10_010), Decimal(10_000), Decimal(10_003)], small)
    assert Action.ENTER is strategy.decide(market("10000"), FLAT).action


def test_the_first_side_seen_is_no_cross() -> None:
    """Nobody knows when a trend began that was there before the first bar."""
    assert "no cross" == fed(RISING).decide(market(), FLAT).message


@pytest.mark.parametrize(
    ("start", "step", "side"), [(FALLING, 2, Side.BUY), (RISING, -2, Side.SELL)]
)
def test_a_cross_enters_a_tenth_of_equity_times_leverage(
    start: list[Decimal], step: int, side: Side
) -> None:
    """10 % of 10,000 at leverage 2 is 2,000; asking again gives the same."""
    strategy = until_crossed(start, step)
    decision = strategy.decide(market(), FLAT)
    assert (Action.ENTER, side, Decimal(2_000)) == (
        decision.action,
        decision.side,
        decision.notional,
    )
    assert decision == strategy.decide(market(), FLAT)


def test_a_cross_lasts_until_the_next_bar() -> None:
    """A market that is thin for a moment costs no entry, one that is thin for a bar does."""
    strategy = until_crossed(FALLING, 2)
    thin = market(volume_1m_usd=Decimal(0))
    assert ("VOLUME",) == strategy.decide(thin, FLAT).reasons
    assert Action.ENTER is strategy.decide(market(), FLAT).action
    strategy.on_bar(1_000, Decimal(1_100))
    assert "no cross" == strategy.decide(market(), FLAT).message


def test_the_notional_is_capped() -> None:
    """A rich account enters no more than the largest position."""
    rich = replace(FLAT, equity=Decimal(10**6))
    assert Decimal(5_000) == until_crossed(FALLING, 2).decide(market(), rich).notional


@pytest.mark.parametrize(
    ("changes", "account", "reasons"),
    [
        ({"age_seconds": 10.5}, FLAT, ("STALE_DATA",)),
        ({"age_seconds": None}, FLAT, ("STALE_DATA",)),
        ({"mark": None}, FLAT, ("NO_MARK",)),
        ({}, replace(FLAT, quantity=None), ("NO_POSITION",)),
        ({}, replace(FLAT, equity=None), ("NO_EQUITY",)),
        ({}, replace(FLAT, equity=Decimal(0)), ("SIZE",)),
        ({}, replace(FLAT, reduce_only=True), ("REDUCE_ONLY",)),
        ({}, replace(FLAT, liquidation_price=Decimal(900)), ("LIQUIDATION_BUFFER",)),
        ({"bid": None}, FLAT, ("NO_SPREAD", "SLIPPAGE")),
        (
            {"depth_l1": {}, "volume_1m_usd": None},
            FLAT,
            ("NO_DEPTH_L1", "NO_VOLUME", "SLIPPAGE"),
        ),
    ],
)
def test_every_objection_is_told(
    changes: dict[str, Any], account: AccountView, reasons: tuple[str, ...]
) -> None:
    """What stands against the entry is held with all its codes, for each to be counted."""
    decision = until_crossed(FALLING, 2).decide(market(**changes), account)
    assert (Action.HOLD, reasons) == (decision.action, decision.reasons)


def test_too_few_bars_warm_up() -> None:
    """Nineteen bars are not twenty."""
    assert ("WARMING_UP",) == fed(FALLING[:19]).decide(market(), FLAT).reasons
    assert () == fed(FALLING[:20]).decide(market(), FLAT).reasons


def test_shorts_have_to_be_enabled() -> None:
    """Without them a cross downwards is refused and counted."""
    strategy = until_crossed(RISING, -2, replace(PARAMETERS, enable_shorts=False))
    assert ("SHORTS_DISABLED",) == strategy.decide(market(), FLAT).reasons


def test_rsi_confirmation() -> None:
    """A long after nothing but gains is refused above 70, a short after losses below 30."""
    confirmed = replace(PARAMETERS, rsi_confirm=True, rsi_upper=Decimal(70))
    steep = [Decimal(1_000 - n * Decimal("0.1")) for n in range(25)]
    long_entry = until_crossed(steep, 50, confirmed).decide(market(), FLAT)
    assert (Side.BUY, ("RSI",)) == (long_entry.side, long_entry.reasons)
    rising = [Decimal(1_000 + n * Decimal("0.1")) for n in range(25)]
    short_entry = until_crossed(rising, -50, confirmed).decide(market(), FLAT)
    assert (Side.SELL, ("RSI",)) == (short_entry.side, short_entry.reasons)
    mild = until_crossed(FALLING, 1, confirmed).decide(market(), FLAT)
    assert Action.ENTER is mild.action
    short_history = replace(confirmed, short_ma=1, long_ma=2)
    strategy = fed([Decimal(100), Decimal(99), Decimal(103)], short_history)
    assert ("NO_RSI",) == strategy.decide(market("100"), FLAT).reasons


@pytest.mark.parametrize(
    ("sign", "best", "out", "inside"), [(1, 1_100, 1_089, "1089.1"), (-1, 900, 909, "908.9")]
)
def test_the_trailing_stop_follows_the_best_price(
    sign: int, best: int, out: int, inside: str
) -> None:
    """One percent given up from the best price since the entry closes the whole position."""
    strategy = fed(RISING if sign > 0 else FALLING)
    held = AccountView(
        equity=Decimal(10_000), quantity=Decimal(sign) / 2, entry_price=Decimal(1_000)
    )
    assert Action.HOLD is strategy.decide(market("1000"), held).action
    assert Action.HOLD is strategy.decide(market(str(best)), held).action
    assert Action.HOLD is strategy.decide(market(inside), held).action
    decision = strategy.decide(market(str(out)), held)
    expected = Decision(
        Action.EXIT,
        side=Side.SELL if sign > 0 else Side.BUY,
        quantity=Decimal("0.5"),
        reasons=(ExitReason.TRAILING_STOP.value,),
        message=decision.message,
    )
    assert expected == decision


def test_a_restart_trails_from_the_entry() -> None:
    """A strategy that has not seen the way here takes the entry price as the best it knows."""
    held = AccountView(equity=None, quantity=Decimal(1), entry_price=Decimal(1_000))
    assert Action.EXIT is fed(RISING).decide(market("990"), held).action


def test_crossing_back_leaves_even_where_nothing_may_be_entered() -> None:
    """An exit needs no filter, no equity and no permission; only data that is fresh."""
    strategy = until_crossed(RISING, -2)
    held = AccountView(equity=None, quantity=Decimal(2), entry_price=None, reduce_only=True)
    poor = market(volume_1m_usd=None, bid=None, depth_l1={}, depth_l10={})
    decision = strategy.decide(poor, held)
    assert (Action.EXIT, Side.SELL, Decimal(2), (ExitReason.CROSSED_BACK.value,)) == (
        decision.action,
        decision.side,
        decision.quantity,
        decision.reasons,
    )
    stale = strategy.decide(replace(poor, age_seconds=11.0), held)
    assert ("STALE_DATA",) == stale.reasons


def test_a_bar_that_repeats_changes_nothing() -> None:
    """Bars that a restart reads twice are taken once."""
    strategy = until_crossed(FALLING, 2)
    before = strategy.decide(market(), FLAT)
    strategy.on_bar(1, Decimal(1))
    assert before == strategy.decide(market(), FLAT)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"short_ma": 20}, "1 <= short < long"), ({"trailing_stop": Decimal(0)}, "trailing_stop: 0")],
)
def test_parameters_are_checked(changes: dict[str, object], said: str) -> None:
    """Averages of the wrong order and a stop of nothing are refused."""
    with pytest.raises(InvalidInput, match=said):
        replace(PARAMETERS, **changes)  # type: ignore[arg-type]


@given(
    closes=st.lists(st.integers(900, 1_100).map(Decimal), min_size=1, max_size=60),
    age=st.none() | st.floats(0, 20),
    volume=st.none() | st.integers(0, 20_000).map(Decimal),
    equity=st.none() | st.integers(-5, 10_000).map(Decimal),
    quantity=st.sampled_from([None, Decimal(0), Decimal(1), Decimal(-1)]),
)
def test_an_entry_only_ever_follows_complete_and_fresh_figures(
    closes: list[Decimal],
    age: float | None,
    volume: Decimal | None,
    equity: Decimal | None,
    quantity: Decimal | None,
) -> None:
    """Whatever happens: an entry is of a flat account with equity, in fresh data that passes."""
    account = AccountView(equity=equity, quantity=quantity)
    decision = fed(closes).decide(market(age_seconds=age, volume_1m_usd=volume), account)
    if decision.action is Action.ENTER:
        assert quantity == 0
        assert equity is not None
        assert 0 < (decision.notional or 0) <= equity * Decimal("0.2")
        assert age is not None
        assert age <= 10
        assert (volume or 0) >= 10_000
        assert () == decision.reasons
    if decision.action is Action.EXIT:
        assert quantity
        assert decision.quantity == abs(quantity)
