"""What entries must pass beyond the kill switch: depth, limits, leverage, capabilities, prices."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.types import Side, TimeInForce
from touchstone.perps.capabilities import ASSUMED, Capability
from touchstone.perps.checks import (
    Context,
    Depth,
    Limits,
    Quote,
    Refusal,
    RefusalReason,
    Sizing,
    evaluate,
    last_gate,
)
from touchstone.perps.kill import Gate, TradingState
from touchstone.perps.orders import Attached, Intent, Order, OrderState, OrderType
from touchstone.perps.products import ProductRules
from touchstone.perps.sizing import SizingMode, impact_bps

R = RefusalReason
RULES = ProductRules(
    symbol="BTC-PERP",
    product_id="BTC-PERP-INTX",
    price_increment=Decimal("0.1"),
    size_increment=Decimal("0.0001"),
)
LIMITS = Limits(max_order_notional=Decimal(10**9), max_orders_per_minute=100)
CONTEXT = Context(
    gate=Gate(TradingState.ACTIVE, known=True, age_seconds=0.1, why=""),
    limits=LIMITS,
    now_ns=10**12,
    rules=RULES,
    quote=Quote(Decimal(49_999), Decimal(50_000), 0.2),
    position=Decimal(0),
    reconciled=True,
    depth=Depth(Decimal(50_000), Decimal(200_000)),
)
BUY = Intent(
    client_order_id="a",
    symbol="BTC-PERP",
    side=Side.BUY,
    quantity=Decimal(2),
    order_type=OrderType.MARKET,
    time_in_force=TimeInForce.IOC,
)


def sized(mode: SizingMode, cap: int = 10) -> Limits:
    """Return limits that fit entries to the depth."""
    return replace(LIMITS, sizing=Sizing(mode, Decimal(cap)))


def reason(intent: Intent, context: Context) -> RefusalReason | None:
    """Return why an intent is refused, None when it passes."""
    outcome = evaluate(intent, context)
    return outcome.reason if isinstance(outcome, Refusal) else None


def test_an_entry_is_made_as_small_as_the_depth_wants() -> None:
    """A cap of 10 bps on 50k at the touch and 200k in ten levels allows 59,375 dollars."""
    passed = evaluate(BUY, replace(CONTEXT, limits=sized(SizingMode.CONSERVATIVE)))
    assert passed == replace(BUY, quantity=Decimal("1.1875"), asked_quantity=Decimal(2))


@pytest.mark.parametrize(
    ("mode", "asked", "sent"),
    [
        (SizingMode.CONSERVATIVE, "1.1875", "1.1875"),
        (SizingMode.CONSERVATIVE, "1", "1"),
        (SizingMode.STRICT, "1.1875", "1.1875"),
        (SizingMode.STRICT, "1.1876", None),
        (SizingMode.AGGRESSIVE, "2", "2"),
        (SizingMode.AGGRESSIVE, "3", "2.3750"),
    ],
)
def test_the_mode_decides_what_becomes_of_too_much(
    mode: SizingMode, asked: str, sent: str | None
) -> None:
    """Conservative shrinks, strict refuses, aggressive allows up to twice as much."""
    outcome = evaluate(replace(BUY, quantity=Decimal(asked)), replace(CONTEXT, limits=sized(mode)))
    if sent is None:
        assert isinstance(outcome, Refusal)
        assert outcome.reason is R.IMPACT
    else:
        assert isinstance(outcome, Intent)
        assert outcome.quantity == Decimal(sent)


@given(
    quantity=st.integers(1, 10**6).map(lambda n: Decimal(n) / 10_000),
    l1=st.integers(1, 10**6),
    deeper=st.integers(0, 10**6),
    cap=st.integers(1, 30),
    mode=st.sampled_from(list(SizingMode)),
)
def test_no_sized_entry_costs_more_than_its_mode_allows(
    quantity: Decimal, l1: int, deeper: int, cap: int, mode: SizingMode
) -> None:
    """Sizing only ever makes an order smaller, by whole increments, and within ten levels."""
    depth = Depth(Decimal(l1), Decimal(l1 + deeper))
    context = replace(CONTEXT, limits=sized(mode, cap), depth=depth)
    outcome = evaluate(replace(BUY, quantity=quantity), context)
    if isinstance(outcome, Refusal):
        assert outcome.reason is R.IMPACT
        return
    assert outcome.quantity <= quantity
    assert RULES.is_whole(outcome.quantity)
    notional = outcome.quantity * Decimal(50_000)
    assert notional <= depth.l10
    if mode is not SizingMode.AGGRESSIVE:
        cost = impact_bps(notional, depth.l1, depth.l10)
        assert cost is not None
        assert cost <= Decimal(cap) + Decimal("1E-20")
    if mode is SizingMode.STRICT or outcome.asked_quantity is None:
        assert outcome.quantity == quantity


@pytest.mark.parametrize(
    "depth", [None, Depth(Decimal(0), Decimal(5)), Depth(Decimal(9), Decimal(5))]
)
def test_no_depth_is_no_entry_but_a_way_out(depth: Depth | None) -> None:
    """Where the depth is not known nothing is opened; what reduces is not held up."""
    context = replace(CONTEXT, limits=sized(SizingMode.CONSERVATIVE), depth=depth)
    assert reason(BUY, context) is R.NO_DEPTH
    assert reason(BUY, replace(context, position=Decimal(-2))) is None


def test_positions_exposure_and_leverage_have_limits() -> None:
    """The worst case of everything that works counts, in this symbol and in all."""
    resting = Order(
        intent=replace(BUY, client_order_id="w", quantity=Decimal(1)), state=OrderState.OPEN
    )
    context = replace(CONTEXT, position=Decimal(1), working=[resting])
    per_symbol = replace(LIMITS, max_position_notional=Decimal(200_000))
    assert reason(BUY, replace(context, limits=per_symbol)) is None
    assert reason(BUY, replace(context, limits=per_symbol, position=Decimal("1.1"))) is (
        R.POSITION_NOTIONAL
    )
    total = replace(LIMITS, max_total_notional=Decimal(250_000))
    assert reason(BUY, replace(context, limits=total, other_exposure=Decimal(50_000))) is None
    assert reason(BUY, replace(context, limits=total, other_exposure=Decimal(50_001))) is (
        R.TOTAL_EXPOSURE
    )
    assert reason(BUY, replace(context, limits=total, other_exposure=None)) is R.NO_MARK
    geared = replace(LIMITS, max_leverage=Decimal(5))
    assert reason(BUY, replace(context, limits=geared)) is R.NO_EQUITY
    assert reason(BUY, replace(context, limits=geared, equity=Decimal(40_000))) is None
    assert reason(BUY, replace(context, limits=geared, equity=Decimal(39_999))) is R.LEVERAGE
    assert reason(BUY, replace(context, limits=geared, equity=Decimal(-1))) is R.LEVERAGE


def test_the_rules_of_the_strategy_are_asked_with_the_worst_price_and_only_for_entries() -> None:
    """A rule sees what the order may pay, and its refusal is the answer."""
    seen = []

    def rule(intent: Intent, price: Decimal) -> Refusal | None:
        seen.append((intent.client_order_id, price))
        return Refusal(R.NO_DEPTH, "no")

    context = replace(CONTEXT, entry_rules=[rule])
    assert reason(BUY, context) is R.NO_DEPTH
    assert reason(BUY, replace(context, position=Decimal(-2))) is None
    assert seen == [("a", Decimal(50_000))]


@pytest.mark.parametrize(
    ("side", "limit", "passes"),
    [(Side.BUY, 51_000, True), (Side.BUY, 50_999, False), (Side.SELL, 51_000, True),
     (Side.SELL, 51_001, False)],
)  # fmt: skip
def test_a_stop_limit_needs_its_limit_on_the_far_side(side: Side, limit: int, passes: bool) -> None:
    """A buy may pay its stop price or more, a sell may take its stop price or less."""
    intent = replace(
        BUY,
        side=side,
        order_type=OrderType.STOP_LIMIT,
        time_in_force=TimeInForce.GTC,
        limit_price=Decimal(limit),
        stop_price=Decimal(51_000),
    )
    assert (reason(intent, CONTEXT) is None) == passes
    if not passes:
        assert reason(intent, CONTEXT) is R.STOP_RELATION


def test_a_bracket_closes_with_its_exits_on_either_side() -> None:
    """Both prices are rounded to the passive side, and the profit lies beyond the stop."""
    bracket = replace(
        BUY,
        side=Side.SELL,
        order_type=OrderType.BRACKET,
        time_in_force=TimeInForce.GTC,
        limit_price=Decimal("52000.04"),
        stop_price=Decimal("48000.04"),
        reduce_only=True,
    )
    long = replace(CONTEXT, position=Decimal(2))
    passed = evaluate(bracket, long)
    assert passed == replace(bracket, limit_price=Decimal("52000.1"), stop_price=Decimal("48000.1"))
    wrong = replace(bracket, limit_price=Decimal(47_000))
    assert reason(wrong, long) is R.STOP_RELATION
    assert reason(bracket, CONTEXT) is R.REDUCE_ONLY_WOULD_INCREASE


def test_an_attached_exit_is_rounded_as_the_exits_side() -> None:
    """The exit of a buy sells: its prices go up to the tick."""
    attached = Attached(take_profit_price=Decimal("52000.04"), stop_price=Decimal("48000.04"))
    passed = evaluate(replace(BUY, attached=attached), CONTEXT)
    assert isinstance(passed, Intent)
    assert passed.attached == Attached(
        take_profit_price=Decimal("52000.1"), stop_price=Decimal("48000.1")
    )


def test_what_the_venue_does_not_do_is_refused_by_name() -> None:
    """Fill-or-kill waits for the probe; a held stop needs immediate limit orders only."""
    fok = replace(BUY, time_in_force=TimeInForce.FOK)
    assert reason(fok, CONTEXT) is R.UNSUPPORTED
    assert reason(fok, replace(CONTEXT, capabilities=ASSUMED | {Capability.FOK})) is None
    day = replace(
        BUY,
        order_type=OrderType.LIMIT,
        limit_price=Decimal(1),
        time_in_force=TimeInForce.DAY,
    )
    assert reason(day, CONTEXT) is R.UNSUPPORTED
    attached = replace(BUY, attached=Attached(take_profit_price=Decimal(2), stop_price=Decimal(1)))
    without = replace(CONTEXT, capabilities=ASSUMED - {Capability.ATTACHED})
    assert reason(attached, without) is R.UNSUPPORTED
    held = replace(
        BUY,
        order_type=OrderType.STOP,
        stop_price=Decimal(51_000),
        time_in_force=TimeInForce.GTD,
        expires_at_ns=2,
    )
    bare = frozenset({Capability.LIMIT, Capability.IOC})
    assert reason(held, replace(CONTEXT, capabilities=bare, venue_now_ns=1)) is None


def test_a_time_that_is_over_or_cannot_be_told_is_refused() -> None:
    """Good-till-date orders live by the venue's clock, and there must be one."""
    intent = replace(
        BUY,
        order_type=OrderType.LIMIT,
        limit_price=Decimal(40_000),
        time_in_force=TimeInForce.GTD,
        expires_at_ns=1_000,
    )
    assert reason(intent, CONTEXT) is R.NO_VENUE_TIME
    assert reason(intent, replace(CONTEXT, venue_now_ns=1_000)) is R.EXPIRED
    assert reason(intent, replace(CONTEXT, venue_now_ns=999)) is None


def test_a_dry_run_refuses_at_the_last_gate_and_nowhere_before() -> None:
    """Everything is checked and journaled as for real; nothing leaves."""
    context = replace(CONTEXT, limits=replace(LIMITS, dry_run=True))
    assert reason(BUY, context) is None
    refusal = last_gate(BUY, context)
    assert refusal is not None
    assert refusal.reason is R.DRY_RUN
