"""The checks: their order, their edges, and the reduce-only rule under any sequence."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.types import Side, TimeInForce
from touchstone.perps.checks import (
    Context,
    Limits,
    Quote,
    Refusal,
    RefusalReason,
    evaluate,
    last_gate,
    risk_increasing,
)
from touchstone.perps.kill import Gate, TradingState
from touchstone.perps.orders import Intent, Order, OrderState, OrderType
from touchstone.perps.positions import Position, apply_fill
from touchstone.perps.products import ProductRules

R = RefusalReason
ACTIVE = Gate(TradingState.ACTIVE, known=True, age_seconds=0.1, why="")
RULES = ProductRules(
    symbol="BTC-PERP",
    product_id="BIP",
    price_increment=Decimal(5),
    size_increment=Decimal("0.01"),
    contract_size=Decimal("0.01"),
)
CONTEXT = Context(
    gate=ACTIVE,
    limits=Limits(max_order_notional=Decimal(5_000), max_orders_per_minute=2),
    now_ns=10**12,
    rules=RULES,
    quote=Quote(Decimal(60_000), Decimal(60_005), 0.2),
    position=Decimal(0),
    reconciled=True,
)
INTENT = Intent(
    client_order_id="a",
    symbol="BTC-PERP",
    side=Side.BUY,
    quantity=Decimal("0.01"),
    order_type=OrderType.LIMIT,
    limit_price=Decimal(59_998),
    post_only=True,
)


def gate(state: TradingState, *, known: bool = True) -> Gate:
    """Return a gate in a state."""
    return Gate(state, known=known, age_seconds=0.7, why="test")


def reason(intent: Intent, context: Context) -> RefusalReason | None:
    """Return why an intent is refused, None when it passes."""
    outcome = evaluate(intent, context)
    return outcome.reason if isinstance(outcome, Refusal) else None


def working(side: Side, quantity: str, *, reduce_only: bool = False, key: str = "w") -> Order:
    """Return an open order."""
    intent = replace(
        INTENT,
        client_order_id=key,
        side=side,
        quantity=Decimal(quantity),
        post_only=False,
        reduce_only=reduce_only,
    )
    return Order(intent=intent, state=OrderState.OPEN)


def test_the_checks_run_in_the_documented_order() -> None:
    """An order that every check would refuse is refused by one after the other as each is cured."""
    intent = replace(INTENT, quantity=Decimal("10.005"), limit_price=Decimal(60_007))
    context = replace(
        CONTEXT,
        known={"a": Order(intent=INTENT)},
        gate=gate(TradingState.HALTED),
        rules=replace(RULES, disabled="trading_disabled"),
        entries_last_minute=2,
    )
    found = [reason(intent, context)]
    context = replace(context, known={})
    found.append(reason(intent, context))
    context = replace(context, gate=ACTIVE)
    found.append(reason(intent, context))
    intent = replace(intent, quantity=Decimal("0.005"))
    found.append(reason(intent, context))
    context = replace(context, entries_last_minute=1)
    found.append(reason(intent, context))
    context = replace(context, rules=RULES)
    found.append(reason(intent, context))
    intent = replace(intent, quantity=Decimal("0.01"))
    found.append(reason(intent, context))
    assert found == [
        R.DUPLICATE_CLIENT_ORDER_ID,
        R.HALTED,
        R.ORDER_NOTIONAL,
        R.ORDER_RATE,
        R.PRODUCT_CLOSED,
        R.QUANTITY_INCREMENT,
        R.POST_ONLY_WOULD_CROSS,
    ]
    intent = replace(intent, limit_price=Decimal("60004.99"))
    passed = evaluate(intent, context)
    assert passed == replace(intent, limit_price=Decimal(60_000))


def test_prices_round_to_the_passive_side() -> None:
    """A buy rounds down to the tick, a sell up."""
    sell = replace(INTENT, side=Side.SELL, limit_price=Decimal(60_001))
    assert evaluate(INTENT, CONTEXT) == replace(INTENT, limit_price=Decimal(59_995))
    assert evaluate(sell, CONTEXT) == replace(sell, limit_price=Decimal(60_005))


@pytest.mark.parametrize(
    ("side", "price", "refused"),
    [
        (Side.BUY, 60_005, True),
        (Side.BUY, 60_004, False),
        (Side.SELL, 60_000, True),
        (Side.SELL, 60_001, False),
    ],
)
def test_post_only_crosses_at_the_touch(side: Side, price: int, refused: bool) -> None:
    """A buy at the ask or above, and a sell at the bid or below, would cross."""
    found = reason(replace(INTENT, side=side, limit_price=Decimal(price)), CONTEXT)
    assert (found is R.POST_ONLY_WOULD_CROSS) == refused


@pytest.mark.parametrize(
    "quote", [None, Quote(None, None, 0.1), Quote(Decimal(60_000), Decimal(60_005), 10.5)]
)
def test_a_missing_or_old_quote_is_a_refusal(quote: Quote | None) -> None:
    """Without a fresh quote an entry cannot be valued."""
    assert reason(INTENT, replace(CONTEXT, quote=quote)) is R.NO_QUOTE


@pytest.mark.parametrize(
    ("state", "known", "entry", "reducing"),
    [
        (TradingState.ACTIVE, True, None, None),
        (TradingState.REDUCE_ONLY, True, R.REDUCE_ONLY, None),
        (TradingState.CANCEL_ONLY, True, R.CANCEL_ONLY, R.CANCEL_ONLY),
        (TradingState.HALTED, True, R.HALTED, R.HALTED),
        (TradingState.REDUCE_ONLY, False, R.CONTROL_STATE_UNKNOWN, None),
        (TradingState.HALTED, False, R.CONTROL_STATE_UNKNOWN, R.CONTROL_STATE_UNKNOWN),
    ],
)
def test_the_kill_switch_at_the_first_and_the_last_gate(
    state: TradingState, known: bool, entry: RefusalReason | None, reducing: RefusalReason | None
) -> None:
    """Entries and reducing orders are told apart, at both gates alike."""
    context = replace(CONTEXT, gate=gate(state, known=known), position=Decimal("-0.01"))
    entry_intent = replace(INTENT, side=Side.SELL, limit_price=Decimal(60_010))
    for intent, expected in ((entry_intent, entry), (INTENT, reducing)):
        assert reason(intent, context) is expected
        last = last_gate(intent, context)
        assert (last.reason if last else None) is expected


def test_reduce_only_counts_every_working_order_of_its_side() -> None:
    """Pending reducing quantity + new must fit into the confirmed position."""
    intent = replace(INTENT, side=Side.SELL, limit_price=Decimal(60_010), reduce_only=True)
    context = replace(CONTEXT, position=Decimal("0.02"))
    assert reason(intent, context) is None
    assert reason(intent, replace(context, working=[working(Side.SELL, "0.01")])) is None
    unknown = replace(working(Side.SELL, "0.02"), state=OrderState.UNKNOWN)
    expected = R.REDUCE_ONLY_WOULD_INCREASE
    assert reason(intent, replace(context, working=[unknown])) is expected
    assert reason(intent, replace(context, position=Decimal(0))) is expected
    assert reason(intent, replace(context, position=Decimal("-0.02"))) is expected


def test_the_last_gate_does_not_count_the_order_against_itself() -> None:
    """A reserved order is in the working list when it reaches the last gate."""
    intent = replace(INTENT, side=Side.SELL, limit_price=Decimal(60_010), reduce_only=True)
    context = replace(CONTEXT, position=Decimal("0.01"), working=[Order(intent=intent)])
    assert last_gate(intent, context) is None


def test_entries_wait_for_reconciliation_and_a_drain_stops_all() -> None:
    """Unreconciled positions stop new risk only; a stopping gateway takes nothing."""
    short = replace(CONTEXT, reconciled=False, position=Decimal("-0.01"))
    assert reason(INTENT, replace(CONTEXT, reconciled=False)) is R.NOT_RECONCILED
    assert reason(INTENT, short) is None
    assert reason(INTENT, replace(CONTEXT, draining=True)) is R.DRAINING


def test_products_refuse_what_they_do_not_do() -> None:
    """FOK is not offered, unknown rules mean the venue is away, bounds hold."""
    fok = replace(INTENT, time_in_force=TimeInForce.FOK, post_only=False)
    assert reason(fok, CONTEXT) is R.UNSUPPORTED
    assert reason(INTENT, replace(CONTEXT, rules=None)) is R.VENUE_UNAVAILABLE
    bounded = replace(RULES, min_quantity=Decimal("0.02"))
    assert reason(INTENT, replace(CONTEXT, rules=bounded)) is R.QUANTITY_RANGE
    floor = replace(RULES, min_notional=Decimal(1_000))
    assert reason(INTENT, replace(CONTEXT, rules=floor)) is R.MIN_NOTIONAL


def test_closing_keeps_reducing_orders_that_fit() -> None:
    """Flagged reduce-only orders stay first; what does not fit, or increases, goes."""
    orders = [
        working(Side.SELL, "0.02", key="plain"),
        working(Side.SELL, "0.02", key="flagged", reduce_only=True),
        working(Side.BUY, "0.01", key="entry"),
    ]
    gone = {o.intent.client_order_id for o in risk_increasing(orders, Decimal("0.03"))}
    assert gone == {"plain", "entry"}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(list(Side)),
        st.integers(1, 5),
        st.booleans(),
        st.integers(0, 4),
        st.booleans(),
    ),
    max_size=30,
)


@given(STEPS)
def test_no_fill_of_a_reduce_only_order_ever_flips_or_increases(
    steps: list[tuple[Side, int, bool, int, bool]],
) -> None:
    """Whatever is submitted, and in whichever order it fills, reduce-only orders only reduce."""
    context = replace(
        CONTEXT, limits=Limits(max_order_notional=Decimal(10**9), max_orders_per_minute=10**6)
    )
    position, live = Position(symbol="BTC-PERP"), dict[str, Order]()
    for number, (side, hundredths, reduce_only, pick, fill) in enumerate(steps):
        intent = replace(
            INTENT,
            client_order_id=str(number),
            side=side,
            quantity=Decimal(hundredths) / 100,
            post_only=False,
            reduce_only=reduce_only,
        )
        context = replace(context, position=position.quantity, working=list(live.values()))
        outcome = evaluate(intent, context)
        if not isinstance(outcome, Refusal):
            live[str(number)] = Order(intent=outcome, state=OrderState.OPEN)
        if fill and live:
            key = list(live)[pick % len(live)]
            done = live.pop(key).intent
            before = position.quantity
            position = apply_fill(position, done.side, done.quantity, Decimal(60_000))
            if done.reduce_only:
                assert abs(position.quantity) < abs(before)
                assert position.quantity * before >= 0
