"""What an order must pass before it is journaled, in a fixed order, and the last gate after that.

duplicate client id -> trading state (kill switch, reduce-only) -> risk -> product rules ->
post-only -> side-aware rounding. The first refusal is the answer. Refusals are values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

from lob.types import OrderType, Side, TimeInForce
from touchstone.perps.kill import Action, Gate, TradingState
from touchstone.perps.orders import Intent, Order
from touchstone.perps.products import ProductRules

RATE_WINDOW_NS: Final = 60_000_000_000


class RefusalReason(StrEnum):
    """Why the gateway itself turned an order down."""

    DUPLICATE_CLIENT_ORDER_ID = "DUPLICATE_CLIENT_ORDER_ID"
    DRAINING = "DRAINING"
    CONTROL_STATE_UNKNOWN = "CONTROL_STATE_UNKNOWN"
    HALTED = "HALTED"
    CANCEL_ONLY = "CANCEL_ONLY"
    REDUCE_ONLY = "REDUCE_ONLY"
    REDUCE_ONLY_WOULD_INCREASE = "REDUCE_ONLY_WOULD_INCREASE"
    NOT_RECONCILED = "NOT_RECONCILED"
    NO_QUOTE = "NO_QUOTE"
    ORDER_NOTIONAL = "ORDER_NOTIONAL"
    ORDER_RATE = "ORDER_RATE"
    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
    PRODUCT_CLOSED = "PRODUCT_CLOSED"
    UNSUPPORTED = "UNSUPPORTED"
    QUANTITY_INCREMENT = "QUANTITY_INCREMENT"
    QUANTITY_RANGE = "QUANTITY_RANGE"
    MIN_NOTIONAL = "MIN_NOTIONAL"
    POST_ONLY_WOULD_CROSS = "POST_ONLY_WOULD_CROSS"
    PRICE_RANGE = "PRICE_RANGE"
    JOURNAL_UNAVAILABLE = "JOURNAL_UNAVAILABLE"
    VENUE_UNAVAILABLE = "VENUE_UNAVAILABLE"
    VENUE_RATE_LIMITED = "VENUE_RATE_LIMITED"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One clear line of why, with a stable reason."""

    reason: RefusalReason
    message: str


@dataclass(frozen=True, slots=True)
class Quote:
    """The touch: best bid and ask, in quote currency, and how old they are."""

    bid: Decimal | None
    ask: Decimal | None
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The risk limits that exist today."""

    max_order_notional: Decimal
    max_orders_per_minute: int
    quote_stale_after_seconds: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything the checks look at, gathered at one moment without awaiting anything.

    `position` is the confirmed signed quantity of the symbol, `working` the symbol's orders that
    are not over (those of unknown outcome included), `entry_times_ns` when recent entries went out.
    """

    gate: Gate
    limits: Limits
    now_ns: int
    rules: ProductRules | None
    quote: Quote | None
    position: Decimal
    reconciled: bool
    known: Mapping[str, Order] = field(default_factory=dict)
    working: Sequence[Order] = ()
    entry_times_ns: Sequence[int] = ()
    draining: bool = False


Outcome = Intent | Refusal
Check = Callable[[Intent, Context], Outcome]


def reduces(intent: Intent, position: Decimal, working: Sequence[Order]) -> bool:
    """Return whether no fill of `intent` can increase or flip the position, in the worst case.

    The worst case: every working order on the reducing side fills first. Only the confirmed
    position counts; a working entry may never fill.
    """
    if position * intent.side.sign >= 0:
        return False
    pending = sum(
        (o.leaves for o in working if _other_of_same_side(o, intent)),
        start=Decimal(0),
    )
    return pending + intent.quantity <= abs(position)


def check_duplicate(intent: Intent, context: Context) -> Outcome:
    """Refuse a client id that belongs to another order (a true repeat never gets here)."""
    if intent.client_order_id in context.known:
        return Refusal(
            RefusalReason.DUPLICATE_CLIENT_ORDER_ID,
            f"client_order_id: {intent.client_order_id}: exists with other terms; "
            "allowed: the same terms again, or a new id",
        )
    return intent


def check_trading_state(intent: Intent, context: Context) -> Outcome:
    """Refuse what the kill switch, a drain, or the reduce-only rule does not permit."""
    if context.draining:
        return Refusal(RefusalReason.DRAINING, "the gateway is stopping: no new orders")
    reducing = reduces(intent, context.position, context.working)
    gate = context.gate
    if not gate.permits(Action.REDUCE if reducing else Action.INCREASE):
        return _closed(gate)
    if intent.reduce_only and not reducing:
        return _would_increase(intent, context)
    if not reducing and _endangers_reduce_only(intent, context):
        return _would_increase(intent, context)
    if not context.reconciled and not reducing:
        return Refusal(
            RefusalReason.NOT_RECONCILED,
            "orders and positions are not yet reconciled with the venue: no new risk",
        )
    return intent


def check_risk(intent: Intent, context: Context) -> Outcome:
    """Refuse an order that is too large, too frequent, or cannot be valued.

    An order that can only reduce the position is bounded by the position, and must not be held
    up; without a quote it only needs a limit price.
    """
    if reduces(intent, context.position, context.working):
        return intent
    touch = _touch(intent.side, context)
    if touch is None:
        return Refusal(
            RefusalReason.NO_QUOTE,
            f"{intent.symbol}: no quote younger than "
            f"{context.limits.quote_stale_after_seconds:g} s; an order cannot be valued without",
        )
    worst_price = touch
    if intent.limit_price is not None:
        buying = intent.side is Side.BUY
        worst_price = intent.limit_price if buying else max(intent.limit_price, touch)
    notional = intent.quantity * worst_price
    if notional > context.limits.max_order_notional:
        return Refusal(
            RefusalReason.ORDER_NOTIONAL,
            f"quantity: {intent.quantity}: notional {notional:f} is above the limit "
            f"{context.limits.max_order_notional:f}",
        )
    recent = sum(1 for at in context.entry_times_ns if at > context.now_ns - RATE_WINDOW_NS)
    if recent >= context.limits.max_orders_per_minute:
        return Refusal(
            RefusalReason.ORDER_RATE,
            f"{recent} orders in the last minute; allowed: {context.limits.max_orders_per_minute}",
        )
    return intent


def check_product(intent: Intent, context: Context) -> Outcome:
    """Refuse what the product's increments, bounds and status do not allow."""
    rules = context.rules
    if rules is None:
        return Refusal(
            RefusalReason.VENUE_UNAVAILABLE,
            f"symbol: {intent.symbol}: the venue's rules for it are not known yet",
        )
    if rules.disabled:
        return Refusal(
            RefusalReason.PRODUCT_CLOSED,
            f"symbol: {intent.symbol}: {rules.product_id} is {rules.disabled} at the venue",
        )
    if (problem := _unsupported(intent, rules)) is not None:
        return Refusal(RefusalReason.UNSUPPORTED, problem)
    if not rules.is_whole(intent.quantity):
        unit = "contracts" if rules.contract_size != 1 else "size increments"
        return Refusal(
            RefusalReason.QUANTITY_INCREMENT,
            f"quantity: {intent.quantity}: not a whole number of {unit} of "
            f"{rules.size_increment} each ({rules.product_id})",
        )
    return _check_bounds(intent, rules)


def check_post_only(intent: Intent, context: Context) -> Outcome:
    """Refuse a post-only order that would cross (buy >= ask, sell <= bid), or without a quote.

    The venue stays the authority: the flag is sent along, and the market may move meanwhile.
    """
    if not intent.post_only or intent.limit_price is None:
        return intent
    other = _touch(intent.side, context)
    if other is None:
        return Refusal(
            RefusalReason.NO_QUOTE,
            f"{intent.symbol}: no quote younger than "
            f"{context.limits.quote_stale_after_seconds:g} s; post-only cannot be checked without",
        )
    crosses = (
        intent.limit_price >= other if intent.side is Side.BUY else intent.limit_price <= other
    )
    if crosses:
        name = "ask" if intent.side is Side.BUY else "bid"
        return Refusal(
            RefusalReason.POST_ONLY_WOULD_CROSS,
            f"limit_price: {intent.limit_price}: a post-only {intent.side} would cross "
            f"the best {name} {other}",
        )
    return intent


def round_price(intent: Intent, context: Context) -> Outcome:
    """Return the intent with its price on the tick, rounded to the passive side."""
    if intent.limit_price is None or context.rules is None:
        return intent
    price = context.rules.round_price(intent.limit_price, intent.side)
    if price <= 0:
        return Refusal(
            RefusalReason.PRICE_RANGE,
            f"limit_price: {intent.limit_price}: below one price increment "
            f"{context.rules.price_increment}",
        )
    return replace(intent, limit_price=price)


CHECKS: Final[tuple[Check, ...]] = (
    check_duplicate,
    check_trading_state,
    check_risk,
    check_product,
    check_post_only,
    round_price,
)


def evaluate(intent: Intent, context: Context) -> Outcome:
    """Run every check in order; return the intent as it may be sent, or the first refusal."""
    for check in CHECKS:
        outcome = check(intent, context)
        if isinstance(outcome, Refusal):
            return outcome
        intent = outcome
    return intent


def last_gate(intent: Intent, context: Context) -> Refusal | None:
    """Check the trading state again, with `context` gathered now; None lets the order pass.

    `context.working` may hold the order itself, which does not count against it.
    """
    others = replace(
        context,
        working=[o for o in context.working if o.intent.client_order_id != intent.client_order_id],
    )
    outcome = check_trading_state(intent, others)
    return outcome if isinstance(outcome, Refusal) else None


def risk_increasing(orders: Sequence[Order], position: Decimal) -> list[Order]:
    """Return the working orders of one symbol that must go when only reducing is allowed.

    Reducing orders stay while they fit into the position together: those flagged reduce-only
    first, then the oldest.
    """
    room = abs(position)
    entries = []
    for order in sorted(orders, key=lambda o: (not o.intent.reduce_only, o.created_ns)):
        if position * order.intent.side.sign < 0 and order.leaves <= room:
            room -= order.leaves
        else:
            entries.append(order)
    return entries


def _other_of_same_side(order: Order, intent: Intent) -> bool:
    return (
        order.intent.side is intent.side and order.intent.client_order_id != intent.client_order_id
    )


def _closed(gate: Gate) -> Refusal:
    reasons = {
        TradingState.REDUCE_ONLY: RefusalReason.REDUCE_ONLY,
        TradingState.CANCEL_ONLY: RefusalReason.CANCEL_ONLY,
        TradingState.HALTED: RefusalReason.HALTED,
    }
    known = RefusalReason.CONTROL_STATE_UNKNOWN if not gate.known else reasons[gate.state]
    return Refusal(
        known,
        f"the kill switch is {gate.state} (control state {gate.age_seconds:.3f} s old): {gate.why}",
    )


def _would_increase(intent: Intent, context: Context) -> Refusal:
    pending = sum(
        (o.leaves for o in context.working if _other_of_same_side(o, intent)),
        start=Decimal(0),
    )
    return Refusal(
        RefusalReason.REDUCE_ONLY_WOULD_INCREASE,
        f"quantity: {intent.quantity}: {intent.side} with {pending} already working could flip or "
        f"increase the position {context.position} against a reduce-only order",
    )


def _endangers_reduce_only(intent: Intent, context: Context) -> bool:
    """Return whether filling this first could let a working reduce-only order flip the position."""
    if context.position * intent.side.sign >= 0:
        return False
    return any(
        o.intent.reduce_only and o.leaves > 0
        for o in context.working
        if _other_of_same_side(o, intent)
    )


def _touch(side: Side, context: Context) -> Decimal | None:
    """Return the price on the other side of the book, None when there is no fresh one."""
    quote = context.quote
    if quote is None or quote.age_seconds > context.limits.quote_stale_after_seconds:
        return None
    return quote.ask if side is Side.BUY else quote.bid


def _unsupported(intent: Intent, rules: ProductRules) -> str | None:
    if intent.order_type not in (OrderType.LIMIT, OrderType.MARKET):
        return f"type: {intent.order_type}: not implemented; allowed: LIMIT, MARKET"
    if intent.time_in_force not in (TimeInForce.GTC, TimeInForce.IOC):
        return f"time_in_force: {intent.time_in_force}: not implemented; allowed: GTC, IOC"
    if rules.limit_only and intent.order_type is OrderType.MARKET:
        return f"type: MARKET: {rules.product_id} takes limit orders only"
    if rules.post_only and not intent.post_only:
        return f"post_only: false: {rules.product_id} takes post-only orders only"
    return None


def _check_bounds(intent: Intent, rules: ProductRules) -> Outcome:
    low, high = rules.min_quantity, rules.max_quantity
    if (low is not None and intent.quantity < low) or (high is not None and intent.quantity > high):
        return Refusal(
            RefusalReason.QUANTITY_RANGE,
            f"quantity: {intent.quantity}; allowed: {low or 0} to {high or 'any'}",
        )
    if rules.min_notional is not None and intent.limit_price is not None:
        notional = intent.quantity * intent.limit_price
        if notional < rules.min_notional:
            return Refusal(
                RefusalReason.MIN_NOTIONAL,
                f"quantity: {intent.quantity}: notional {notional:f} is below "
                f"the venue's {rules.min_notional:f}",
            )
    return intent
