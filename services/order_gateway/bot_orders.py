"""The orders that a decision of the bot comes to; a decision has one client id, whoever repeats it.

The id names bot, symbol, the bar's time and the side, so that a bot that is restarted within the
same bar asks for the same order again and gets the one that is there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from hashlib import blake2b
from typing import Final

from lob.types import Side, TimeInForce
from touchstone.perps.filters import MarketView
from touchstone.perps.orders import Intent, Order, OrderType
from touchstone.perps.products import ProductRules
from touchstone.perps.profiles import Profile

CLIENT_ID_MAX: Final = 64
_BPS: Final = Decimal(10_000)
_PERCENT: Final = Decimal(100)
_MILLISECOND_NS: Final = 1_000_000
STOP_LIMIT_REACH: Final = Decimal("0.01")
"""How far beyond its stop price a protective stop-limit may trade: a stop that does not fill is
none."""

HEADROOM: Final = Decimal("0.9")
"""Of the position limit, what an entry fills at most."""

ENTRY, EXIT, PROTECTION = "e", "x", "p"


@dataclass(frozen=True, slots=True)
class DecisionKey:
    """What makes a decision this one: who decided about what, in which bar."""

    bot_id: str
    symbol: str
    bar_ns: int

    def client_order_id(self, side: Side, purpose: str) -> str:
        """Return the client id of the order that the decision comes to.

        >>> DecisionKey("bot", "BTC-PERP", 1_700_000_005_000_000_000).client_order_id(Side.BUY, "e")
        'bot:BTC-PERP:1700000005000:BUY:e'
        """
        tail = f":{self.symbol}:{self.bar_ns // _MILLISECOND_NS}:{side}:{purpose}"
        head = self.bot_id
        if len(head) + len(tail) > CLIENT_ID_MAX:
            head = blake2b(head.encode(), digest_size=6).hexdigest()
        return head + tail


def entry_intent(
    key: DecisionKey,
    side: Side,
    notional: Decimal,
    market: MarketView,
    *,
    profile: Profile,
    rules: ProductRules,
    strategy: str,
    expires_at_ns: int,
) -> Intent | str:
    """Return the entry of a decision, or why there is none.

    Args:
        key: of the decision.
        side: of the entry.
        notional: in dollars; what it comes to at the touch is never more.
        market: at the decision.
        profile: type, distances, time in force.
        rules: of the product.
        strategy: who asks for it.
        expires_at_ns: venue time at which an entry with an end ends.
    """
    touch = market.ask if side is Side.BUY else market.bid
    behind = market.bid if side is Side.BUY else market.ask
    if touch is None or behind is None:
        return "a side of the book is empty"
    kind, offset = profile.order_type, profile.limit_offset_bps / _BPS * side.sign
    limit = stop = None
    if kind is OrderType.LIMIT:
        limit = rules.round_price(behind * (1 - offset), side)
    elif kind.has_stop:
        stop = rules.round_price(touch * (1 + side.sign * profile.stop_pct / _PERCENT), side)
        limit = _beyond(stop * (1 + offset), stop, side, rules) if kind.has_limit else None
    worst = max(price for price in (touch, limit, stop) if price is not None)
    # A position that fills its limit trips the guard of exposure with the first gain.
    notional = min(notional, profile.max_position_notional * HEADROOM)
    quantity = (notional / worst / rules.size_increment).to_integral_value(ROUND_FLOOR)
    if quantity <= 0:
        return f"{notional:.2f} USD are less than one step of {rules.size_increment} coins"
    time_in_force = _time_in_force(profile)
    return Intent(
        client_order_id=key.client_order_id(side, ENTRY),
        symbol=key.symbol,
        side=side,
        quantity=quantity * rules.size_increment,
        order_type=kind,
        time_in_force=time_in_force,
        limit_price=limit,
        stop_price=stop,
        post_only=profile.post_only,
        expires_at_ns=expires_at_ns if time_in_force is TimeInForce.GTD else None,
        strategy=strategy,
    )


def exit_intent(key: DecisionKey, position: Decimal, strategy: str) -> Intent:
    """Return the market order that closes a position; it can only reduce."""
    side = Side.SELL if position > 0 else Side.BUY
    return Intent(
        client_order_id=key.client_order_id(side, EXIT),
        symbol=key.symbol,
        side=side,
        quantity=abs(position),
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
        reduce_only=True,
        strategy=strategy,
    )


def protection_intent(
    key: DecisionKey,
    position: Decimal,
    entry_price: Decimal,
    *,
    stop_pct: Decimal,
    rules: ProductRules,
    strategy: str,
) -> Intent:
    """Return the stop-limit order at the venue that closes a position `stop_pct` % against it.

    It waits at the venue, not here: it holds when this process is gone.
    """
    side = Side.SELL if position > 0 else Side.BUY
    stop = rules.round_price(entry_price * (1 + side.sign * stop_pct / _PERCENT), side)
    limit = _beyond(stop * (1 + side.sign * STOP_LIMIT_REACH), stop, side, rules)
    return Intent(
        client_order_id=key.client_order_id(side, PROTECTION),
        symbol=key.symbol,
        side=side,
        quantity=abs(position),
        order_type=OrderType.STOP_LIMIT,
        time_in_force=TimeInForce.GTC,
        limit_price=limit,
        stop_price=stop,
        reduce_only=True,
        strategy=strategy,
    )


def entries(orders: Iterable[Order], strategy: str) -> list[Order]:
    """Return the working entries of the strategy."""
    return [o for o in orders if o.intent.strategy == strategy and not o.intent.reduce_only]


def reducing(orders: Iterable[Order], strategy: str) -> list[Order]:
    """Return the working exits and protective stops of the strategy."""
    return [o for o in orders if o.intent.strategy == strategy and o.intent.reduce_only]


def _time_in_force(profile: Profile) -> TimeInForce:
    if profile.order_type is OrderType.MARKET and profile.tif is TimeInForce.GTC:
        return TimeInForce.IOC
    return profile.tif


def _beyond(limit: Decimal, stop: Decimal, side: Side, rules: ProductRules) -> Decimal:
    """Return `limit` on the tick, but never on the wrong side of the stop price."""
    rounded = rules.round_price(limit, side)
    return max(rounded, stop) if side is Side.BUY else min(rounded, stop)
