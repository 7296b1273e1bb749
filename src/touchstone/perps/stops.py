"""When a stop that waits in the gateway goes, at which price, and how much of it.

The venue knows stop-limit orders only; a plain stop is watched here. It goes when the last trade
reaches its price (where no trade is known: the side of the touch that it would take), as an
immediate order whose limit is a bounded distance beyond the touch.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from lob.types import Side
from touchstone.perps.context import Quote
from touchstone.perps.exposure import room
from touchstone.perps.orders import Intent, Order, OrderState
from touchstone.perps.products import ProductRules

BPS: Final = Decimal(10_000)
ALARM_ATTEMPTS: Final = 3
"""A stop that was sent so often and is not done is told to people."""
BACKOFF_SECONDS: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)
RESTS: Final = frozenset(
    {OrderState.CANCELLED, OrderState.FILLED, OrderState.EXPIRED, OrderState.MISSING}
)
"""Ends after which the part of a stop that did not fill waits again."""


def trigger_price(side: Side, last_trade: Decimal | None, quote: Quote | None) -> Decimal | None:
    """Return the price that stops of `side` are held against; None where nothing is known."""
    if last_trade is not None:
        return last_trade
    if quote is None:
        return None
    return quote.ask if side is Side.BUY else quote.bid


def is_reached(intent: Intent, price: Decimal | None) -> bool:
    """Return whether `price` sets a stop off: at or above it for BUY, at or below it for SELL."""
    if price is None or intent.stop_price is None:
        return False
    if intent.side is Side.BUY:
        return price >= intent.stop_price
    return price <= intent.stop_price


def capped_price(
    side: Side, quote: Quote | None, max_slippage_bps: Decimal, rules: ProductRules
) -> Decimal | None:
    """Return the worst price that a triggered stop may trade at, on the tick; None without a touch.

    >>> rules = ProductRules(symbol="S", product_id="P", price_increment=Decimal(1),
    ...                      size_increment=Decimal(1))
    >>> touch = Quote(Decimal(10_000), Decimal(10_010), 0.0)
    >>> [str(capped_price(side, touch, Decimal(15), rules)) for side in Side]
    ['10025', '9985']
    """
    touch = None if quote is None else (quote.ask if side is Side.BUY else quote.bid)
    if touch is None:
        return None
    # Rounded to the passive side, so that the cap holds; the touch itself is on the tick.
    return rules.round_price(touch * (1 + side.sign * max_slippage_bps / BPS), side)


def quantity_to_send(
    order: Order, position: Decimal, working: Sequence[Order], rules: ProductRules
) -> Decimal:
    """Return how much of a triggered stop may leave now; 0 where it has to wait.

    One that only reduces takes the room that other reducing orders leave it.
    """
    intent = order.intent
    if not intent.reduce_only:
        return order.leaves
    fits = min(order.leaves, room(intent.side, position, working, but=intent.client_order_id))
    return fits - fits % rules.size_increment


def backoff_seconds(attempt: int) -> float:
    """Return how long a stop that was sent `attempt` times waits for its next attempt."""
    return BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)]


def rest_id(client_order_id: str) -> str:
    """Return the client id of what takes up the rest of a stop: `<first>.s<n>`.

    >>> [rest_id("a"), rest_id("a.s1"), rest_id("a.s9.s")]
    ['a.s1', 'a.s2', 'a.s9.s.s1']
    """
    return numbered(client_order_id, "s")


def numbered(client_order_id: str, letter: str) -> str:
    """Return the next client id of a series `<first>.<letter><n>`."""
    first, dot, last = client_order_id.rpartition(".")
    if dot and last[:1] == letter and last[1:].isdecimal():
        return f"{first}.{letter}{int(last[1:]) + 1}"
    return f"{client_order_id}.{letter}1"
