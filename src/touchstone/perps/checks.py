"""What an order must pass before it is journaled, in a fixed order, and the last gate after that.

duplicate client id -> trading state (kill switch, reduce-only) -> capabilities -> sizing -> risk
(and the rules of the strategy) -> product rules -> post-only -> side-aware rounding -> stop
relations. The first refusal is the answer. Refusals are values, and what is not known refuses.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from typing import Final

from lob.types import Side, TimeInForce
from touchstone.perps.capabilities import missing
from touchstone.perps.context import Context, Depth, EntryRule, Limits, Quote, Sizing
from touchstone.perps.exposure import (
    endangers_reduce_only,
    pending,
    reduces,
    risk_increasing,
    worst_position,
)
from touchstone.perps.kill import Action, Gate, TradingState
from touchstone.perps.orders import Attached, Intent, OrderType
from touchstone.perps.products import ProductRules
from touchstone.perps.refusals import Refusal, RefusalReason
from touchstone.perps.sizing import size

__all__ = [
    "CHECKS",
    "RATE_WINDOW_NS",
    "Context",
    "Depth",
    "EntryRule",
    "Limits",
    "Quote",
    "Refusal",
    "RefusalReason",
    "Sizing",
    "attached_problem",
    "evaluate",
    "last_gate",
    "on_tick",
    "reduces",
    "risk_increasing",
    "stop_relation_problem",
]

RATE_WINDOW_NS: Final = 60_000_000_000

Outcome = Intent | Refusal
Check = Callable[[Intent, Context], Outcome]


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
    # What is flagged reduce-only and does not fit is told that, not that entries are closed.
    if not gate.permits(Action.REDUCE if reducing or intent.reduce_only else Action.INCREASE):
        return _closed(gate)
    if intent.reduce_only and not reducing:
        return _would_increase(intent, context)
    if not reducing and endangers_reduce_only(intent, context.position, context.working):
        return _would_increase(intent, context)
    if not context.reconciled and not reducing:
        return Refusal(
            RefusalReason.NOT_RECONCILED,
            "orders and positions are not yet reconciled with the venue: no new risk",
        )
    return intent


def check_capabilities(intent: Intent, context: Context) -> Outcome:
    """Refuse what the venue does not do, or was not shown to do."""
    lacking = missing(intent, context.capabilities)
    if lacking:
        return Refusal(
            RefusalReason.UNSUPPORTED,
            f"type: {intent.order_type} {intent.time_in_force}: the venue does not do: {lacking}",
        )
    return intent


def check_sizing(intent: Intent, context: Context) -> Outcome:
    """Fit an entry to the depth that it would consume, by mode; no depth is no entry.

    The smaller order remembers what was asked for.
    """
    sizing = context.limits.sizing
    if sizing is None or reduces(intent, context.position, context.working):
        return intent
    price = _worst_price(intent, context)
    if isinstance(price, Refusal):
        return price
    depth, rules = context.depth, context.rules
    if rules is None:
        return _no_rules(intent)
    if depth is None or not 0 < depth.l1 <= depth.l10:
        return Refusal(
            RefusalReason.NO_DEPTH,
            f"symbol: {intent.symbol}: the depth that a {intent.side} consumes is not known; "
            "an order cannot be sized without",
        )
    return _fitted(intent, price, depth, sizing, rules)


def check_risk(intent: Intent, context: Context) -> Outcome:
    """Refuse an order that is too large, too frequent, or cannot be valued.

    An order that can only reduce the position is bounded by the position, and must not be held
    up; without a quote it only needs a limit price.
    """
    if reduces(intent, context.position, context.working):
        return intent
    price = _worst_price(intent, context)
    if isinstance(price, Refusal):
        return price
    refusal = _too_large(intent, context, price) or _too_frequent(context)
    for rule in context.entry_rules:
        refusal = refusal or rule(intent, price)
    return refusal or intent


def check_product(intent: Intent, context: Context) -> Outcome:
    """Refuse what the product's increments, bounds and status do not allow."""
    rules = context.rules
    if rules is None:
        return _no_rules(intent)
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
    refusal = _out_of_bounds(intent, rules) or _expired(intent, context)
    return refusal or intent


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
    """Return the intent with its prices on the tick, rounded to the passive side."""
    if context.rules is None:
        return intent
    rounded = on_tick(intent, context.rules)
    attached = rounded.attached
    exits = () if attached is None else (attached.take_profit_price, attached.stop_price)
    for price in (rounded.limit_price, rounded.stop_price, *exits):
        if price is not None and price <= 0:
            return Refusal(
                RefusalReason.PRICE_RANGE,
                f"limit_price: {intent.limit_price}, stop_price: {intent.stop_price}: below one "
                f"price increment {context.rules.price_increment}",
            )
    return rounded


def check_stop_relation(
    intent: Intent,
    context: Context,  # noqa: ARG001 - a check's signature
) -> Outcome:
    """Refuse prices that do not go together, after they were rounded."""
    problem = ""
    if intent.limit_price is not None and intent.stop_price is not None:
        problem = stop_relation_problem(
            intent.order_type, intent.side, intent.limit_price, intent.stop_price
        )
    elif intent.attached is not None:
        problem = attached_problem(intent.side, intent.limit_price, intent.attached)
    return Refusal(RefusalReason.STOP_RELATION, problem) if problem else intent


CHECKS: Final[tuple[Check, ...]] = (
    check_duplicate,
    check_trading_state,
    check_capabilities,
    check_sizing,
    check_risk,
    check_product,
    check_post_only,
    round_price,
    check_stop_relation,
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

    `context.working` may hold the order itself, which does not count against it. Nothing passes
    in a dry run.
    """
    others = replace(
        context,
        working=[o for o in context.working if o.intent.client_order_id != intent.client_order_id],
    )
    outcome = check_trading_state(intent, others)
    if isinstance(outcome, Refusal):
        return outcome
    if context.limits.dry_run:
        return Refusal(RefusalReason.DRY_RUN, "dry run: nothing is sent to the venue")
    return None


def stop_relation_problem(
    order_type: OrderType, side: Side, limit_price: Decimal, stop_price: Decimal
) -> str:
    """Return why limit and stop price do not go together, '' when they do.

    A stop-limit that buys on a rise may pay its stop price or more, one that sells on a fall may
    take its stop price or less. A bracket has its two exits on either side of the market.

    >>> stop_relation_problem(OrderType.STOP_LIMIT, Side.BUY, Decimal(99), Decimal(100))
    'limit_price: 99; allowed for a BUY STOP_LIMIT: at or above stop_price 100'
    """
    buying = side is Side.BUY
    if order_type is OrderType.BRACKET:
        fits = limit_price < stop_price if buying else limit_price > stop_price
        where = "below" if buying else "above"
    else:
        fits = limit_price >= stop_price if buying else limit_price <= stop_price
        where = "at or above" if buying else "at or below"
    allowed = f"allowed for a {side} {order_type}: {where} stop_price {stop_price}"
    return "" if fits else f"limit_price: {limit_price}; {allowed}"


def attached_problem(side: Side, entry_price: Decimal | None, attached: Attached) -> str:
    """Return why an entry does not go with the exit that it brings along, '' when it does.

    >>> exits = Attached(take_profit_price=Decimal(110), stop_price=Decimal(95))
    >>> attached_problem(Side.BUY, Decimal(100), exits)
    ''
    >>> attached_problem(Side.BUY, Decimal(90), exits).partition(" must lie")[0]
    'attached: take_profit_price 110 and stop_price 95'
    """
    low, high = attached.stop_price, attached.take_profit_price
    if side is Side.SELL:
        low, high = high, low
    if low < high and (entry_price is None or low < entry_price < high):
        return ""
    return (
        f"attached: take_profit_price {attached.take_profit_price} and stop_price "
        f"{attached.stop_price} must lie on either side of the entry of a {side}"
    )


def on_tick(intent: Intent, rules: ProductRules) -> Intent:
    """Return `intent` with every price on the tick: BUY down, SELL up, exits as the other side."""

    def rounded(price: Decimal | None, side: Side) -> Decimal | None:
        return None if price is None else rules.round_price(price, side)

    attached = intent.attached
    if attached is not None:
        exit_side = intent.side.opposite
        attached = replace(
            attached,
            take_profit_price=rules.round_price(attached.take_profit_price, exit_side),
            stop_price=rules.round_price(attached.stop_price, exit_side),
        )
    if intent.limit_price is None and intent.stop_price is None and attached is None:
        return intent
    return replace(
        intent,
        limit_price=rounded(intent.limit_price, intent.side),
        stop_price=rounded(intent.stop_price, intent.side),
        attached=attached,
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
    waiting = pending(intent.side, context.working, but=intent.client_order_id)
    return Refusal(
        RefusalReason.REDUCE_ONLY_WOULD_INCREASE,
        f"quantity: {intent.quantity}: {intent.side} with {waiting} already working could flip or "
        f"increase the position {context.position} against a reduce-only order",
    )


def _no_rules(intent: Intent) -> Refusal:
    return Refusal(
        RefusalReason.VENUE_UNAVAILABLE,
        f"symbol: {intent.symbol}: the venue's rules for it are not known yet",
    )


def _touch(side: Side, context: Context) -> Decimal | None:
    """Return the price on the other side of the book, None when there is no fresh one."""
    quote = context.quote
    if quote is None or quote.age_seconds > context.limits.quote_stale_after_seconds:
        return None
    return quote.ask if side is Side.BUY else quote.bid


def _worst_price(intent: Intent, context: Context) -> Decimal | Refusal:
    """Return the price that values an order for the limits: what it may pay, or what it sells."""
    touch = _touch(intent.side, context)
    if touch is None:
        return Refusal(
            RefusalReason.NO_QUOTE,
            f"{intent.symbol}: no quote younger than "
            f"{context.limits.quote_stale_after_seconds:g} s; an order cannot be valued without",
        )
    own = intent.limit_price or intent.stop_price
    if own is None:
        return touch
    if intent.side is Side.BUY and intent.order_type is not OrderType.STOP:
        return own
    return max(own, touch)


def _fitted(
    intent: Intent, price: Decimal, depth: Depth, sizing: Sizing, rules: ProductRules
) -> Outcome:
    wanted = intent.quantity * price
    fitted = size(wanted, sizing.max_impact_bps, depth.l1, depth.l10, sizing.mode)
    if fitted.adjusted == wanted:
        return intent
    steps = (fitted.adjusted / price / rules.size_increment).to_integral_value(ROUND_FLOOR)
    if steps > 0:
        quantity = steps * rules.size_increment
        return replace(intent, quantity=quantity, asked_quantity=intent.quantity)
    return Refusal(
        RefusalReason.IMPACT,
        f"quantity: {intent.quantity}: notional {wanted:.2f} is beyond the "
        f"{fitted.limit:.2f} that {sizing.max_impact_bps} bps of impact allow "
        f"({sizing.mode}; depth {depth.l1:.0f} at the touch, {depth.l10:.0f} in ten levels)",
    )


def _too_large(intent: Intent, context: Context, price: Decimal) -> Refusal | None:
    limits = context.limits
    notional = intent.quantity * price
    if notional > limits.max_order_notional:
        return Refusal(
            RefusalReason.ORDER_NOTIONAL,
            f"quantity: {intent.quantity}: notional {notional:f} is above the limit "
            f"{limits.max_order_notional:f}",
        )
    worst = worst_position(intent.side, intent.quantity, context.position, context.working) * price
    if limits.max_position_notional is not None and worst > limits.max_position_notional:
        return Refusal(
            RefusalReason.POSITION_NOTIONAL,
            f"quantity: {intent.quantity}: the position in {intent.symbol} could come to "
            f"{worst:.2f}, above the limit {limits.max_position_notional:f}",
        )
    if limits.max_total_notional is None and limits.max_leverage is None:
        return None
    if context.other_exposure is None:
        return Refusal(
            RefusalReason.NO_MARK, "the positions in other symbols cannot be valued: no quote"
        )
    total = worst + context.other_exposure
    if limits.max_total_notional is not None and total > limits.max_total_notional:
        return Refusal(
            RefusalReason.TOTAL_EXPOSURE,
            f"quantity: {intent.quantity}: all positions together could come to {total:.2f}, "
            f"above the limit {limits.max_total_notional:f}",
        )
    return _too_leveraged(total, context)


def _too_leveraged(total: Decimal, context: Context) -> Refusal | None:
    allowed, equity = context.limits.max_leverage, context.equity
    if allowed is None:
        return None
    if equity is None:
        return Refusal(RefusalReason.NO_EQUITY, "the account's equity is not known: no new risk")
    if total > allowed * max(equity, Decimal(0)):
        return Refusal(
            RefusalReason.LEVERAGE,
            f"positions could come to {total:.2f}, more than {allowed:f} times the equity "
            f"{equity:.2f}",
        )
    return None


def _too_frequent(context: Context) -> Refusal | None:
    recent = context.entries_last_minute
    if recent < context.limits.max_orders_per_minute:
        return None
    return Refusal(
        RefusalReason.ORDER_RATE,
        f"{recent} orders in the last minute; allowed: {context.limits.max_orders_per_minute}",
    )


def _unsupported(intent: Intent, rules: ProductRules) -> str | None:
    if intent.time_in_force is TimeInForce.DAY:
        return "time_in_force: DAY: there is no close; allowed: GTC, GTD, IOC, FOK"
    if rules.limit_only and intent.order_type is OrderType.MARKET:
        return f"type: MARKET: {rules.product_id} takes limit orders only"
    if rules.post_only and not intent.post_only:
        return f"post_only: false: {rules.product_id} takes post-only orders only"
    return None


def _out_of_bounds(intent: Intent, rules: ProductRules) -> Refusal | None:
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
    return None


def _expired(intent: Intent, context: Context) -> Refusal | None:
    if intent.expires_at_ns is None:
        return None
    if context.venue_now_ns is None:
        return Refusal(RefusalReason.NO_VENUE_TIME, "expires_at: the venue's time is not known yet")
    if intent.expires_at_ns <= context.venue_now_ns:
        late = (context.venue_now_ns - intent.expires_at_ns) / 1e9
        return Refusal(RefusalReason.EXPIRED, f"expires_at: {late:.1f} s ago by the venue's clock")
    return None
