"""Coinbase's values, products and positions, and ours: contracts and texts to coins and decimals.

Nothing here talks to anybody. What does not have the protocol's shape raises `Unavailable`: an
answer of another shape says nothing, and must never be read as "none".
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

from lob.errors import Unavailable
from services.order_gateway.venues.base import VenuePosition
from touchstone.perps.products import ProductRules

_NANOSECONDS: Final = 1_000_000_000
_FRACTION_DIGITS: Final = 9


def number(value: Any, name: str) -> Decimal:
    """Return a decimal that the venue sent as text, number or `{value, currency}`."""
    if type(value) is str:
        found = _decimal(value)
        if found is not None:
            return found
    if isinstance(value, Mapping):
        value = value.get("value")
    result = _decimal(str(value))
    if result is None:
        raise Unavailable(f"venue: {name}: {value!r:.80} is no number")
    return result


@lru_cache(maxsize=16_384)
def _decimal(text: str) -> Decimal | None:
    """Return a finite decimal, None where there is none; levels come again and again."""
    try:
        result = Decimal(text)
    except InvalidOperation:
        return None
    return result if result.is_finite() else None


def optional(value: Any, name: str) -> Decimal | None:
    """Return a decimal, None where the venue sent nothing or 0."""
    if value in (None, ""):
        return None
    return number(value, name) or None


def _increment(value: Any, name: str) -> Decimal:
    result = number(value, name)
    if result <= 0:
        raise Unavailable(f"venue: {name}: {value!r} is not above 0")
    return result


def rules_from(product: Mapping[str, Any], symbol: str) -> ProductRules:
    """Return a product's rules in coins; sizes of the wire are contracts where it has them."""
    details = product.get("future_product_details") or {}
    contract_size = optional(details.get("contract_size"), "contract_size") or Decimal(1)
    tick = product.get("price_increment") or product.get("quote_increment")
    flags = ("is_disabled", "trading_disabled", "cancel_only", "view_only")
    smallest = optional(product.get("base_min_size"), "base_min_size")
    largest = optional(product.get("base_max_size"), "base_max_size")
    return ProductRules(
        symbol=symbol,
        product_id=str(product["product_id"]),
        price_increment=_increment(tick, "price_increment"),
        size_increment=_increment(product.get("base_increment"), "base_increment") * contract_size,
        contract_size=contract_size,
        min_quantity=None if smallest is None else smallest * contract_size,
        max_quantity=None if largest is None else largest * contract_size,
        min_notional=optional(product.get("quote_min_size"), "quote_min_size"),
        disabled=", ".join(flag for flag in flags if product.get(flag)),
        limit_only=bool(product.get("limit_only")),
        post_only=bool(product.get("post_only")),
    )


def position_from(position: Mapping[str, Any], rules: ProductRules) -> VenuePosition:
    """Return a position of `/cfm/positions` or `/intx/positions`.

    The former has no liquidation price of a position, only the account's buffer.
    """
    if "number_of_contracts" in position:
        sign = -1 if str(position.get("side")) == "SHORT" else 1
        size = sign * abs(number(position["number_of_contracts"], "number_of_contracts"))
        entry = optional(position.get("avg_entry_price"), "avg_entry_price")
        mark = optional(position.get("current_price"), "current_price")
    else:
        short = "SHORT" in str(position.get("position_side"))
        size = abs(number(position.get("net_size"), "net_size")) * (-1 if short else 1)
        entry = optional(position.get("entry_vwap"), "entry_vwap")
        mark = _money(position, "mark_price")
    return VenuePosition(
        rules.to_coins(size),
        entry,
        mark_price=mark,
        liquidation_price=_money(position, "liquidation_price"),
        unrealized_pnl=None
        if position.get("unrealized_pnl") in (None, "")
        else number(position["unrealized_pnl"], "unrealized_pnl"),
    )


def _money(row: Mapping[str, Any], name: str) -> Decimal | None:
    """Return an amount, None where there is none, or 0."""
    value = row.get(name)
    if isinstance(value, Mapping):
        value = value.get("value")
    return optional(value, name)


def nanoseconds(text: Any) -> int | None:
    """Return an RFC 3339 time in nanoseconds since 1970, None where it is none."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    whole = int(moment.replace(microsecond=0).timestamp()) * _NANOSECONDS
    _, dot, rest = text.partition(".")
    digits = "".join(c for c in rest[:_FRACTION_DIGITS] if c.isdigit()) if dot else ""
    return whole + int(digits.ljust(_FRACTION_DIGITS, "0") if digits else 0)


def rfc3339(time_ns: int) -> str:
    """Return a time as the venue reads it.

    >>> rfc3339(1_700_000_000_000_000_001)
    '2023-11-14T22:13:20.000000001Z'
    """
    seconds, fraction = divmod(time_ns, _NANOSECONDS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
