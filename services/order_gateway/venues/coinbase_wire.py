"""Coinbase's JSON to our words and back, in one place for REST and WebSocket."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from lob.errors import NotSupported, Unavailable
from lob.types import OrderType, Side, TimeInForce
from services.order_gateway.venues.base import VenuePosition, VenueReport
from touchstone.kit.event_store import Fill
from touchstone.perps.orders import Intent, VenueStatus
from touchstone.perps.products import ProductRules

# FAILED is an order that never became live; everything not listed here may still trade.
STATUSES: Final = {
    "FILLED": VenueStatus.FILLED,
    "CANCELLED": VenueStatus.CANCELLED,
    "EXPIRED": VenueStatus.EXPIRED,
    "FAILED": VenueStatus.FAILED,
}
WORKING_STATUSES: Final = ("PENDING", "OPEN", "QUEUED", "CANCEL_QUEUED", "EDIT_QUEUED")


def number(value: Any, name: str) -> Decimal:
    """Return a decimal that the venue sent as text, number or `{value, currency}`."""
    if isinstance(value, Mapping):
        value = value.get("value")
    try:
        result = Decimal(str(value))
    except InvalidOperation:
        result = Decimal("NaN")
    if not result.is_finite():
        raise Unavailable(f"venue: {name}: {value!r} is no number")
    return result


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


_SENT_TYPES: Final = frozenset({OrderType.LIMIT, OrderType.MARKET})
_SENT_TIMES: Final = frozenset({TimeInForce.GTC, TimeInForce.IOC})


def order_configuration(
    intent: Intent, rules: ProductRules, *, forward_reduce_only: bool
) -> dict[str, Any]:
    """Return the one entry of `order_configuration` that says what `intent` says.

    Raises:
        NotSupported: the order's type or time in force has no entry here; the checks refuse it
            first, so that it never becomes another order on its way.
    """
    if intent.order_type not in _SENT_TYPES or intent.time_in_force not in _SENT_TIMES:
        raise NotSupported(
            f"type: {intent.order_type} {intent.time_in_force}; allowed: LIMIT, MARKET; GTC, IOC"
        )
    fields: dict[str, Any] = {"base_size": f"{rules.to_venue_size(intent.quantity):f}"}
    if intent.reduce_only and forward_reduce_only:
        fields["reduce_only"] = True
    if intent.order_type is OrderType.MARKET:
        return {"market_market_ioc": fields}
    fields["limit_price"] = f"{intent.limit_price:f}"
    if intent.time_in_force is TimeInForce.IOC:
        return {"sor_limit_ioc": fields}
    return {"limit_limit_gtc": fields | {"post_only": intent.post_only}}


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


def report_from(order: Mapping[str, Any], rules: ProductRules) -> VenueReport:
    """Return the report in a REST order or in an order of the user channel."""
    filled = order.get("filled_size", order.get("cumulative_quantity"))
    quantity, limit_price = _terms(order, rules)
    texts = ("reject_message", "reject_reason", "cancel_message", "cancel_reason")
    reasons = [str(order.get(name) or "") for name in texts]
    return VenueReport(
        venue_order_id=str(order["order_id"]),
        client_order_id=str(order.get("client_order_id") or ""),
        symbol=rules.symbol,
        side=Side(str(order.get("side") or order.get("order_side"))),
        status=STATUSES.get(str(order.get("status")), VenueStatus.LIVE),
        filled_quantity=rules.to_coins(optional(filled, "filled_size") or Decimal(0)),
        quantity=quantity,
        limit_price=limit_price,
        reason=next((r for r in reasons if r and "UNSPECIFIED" not in r), ""),
    )


def _terms(order: Mapping[str, Any], rules: ProductRules) -> tuple[Decimal | None, Decimal | None]:
    configuration = order.get("order_configuration") or {}
    for fields in configuration.values():
        size = optional(fields.get("base_size"), "base_size")
        price = optional(fields.get("limit_price"), "limit_price")
        return (None if size is None else rules.to_coins(size)), price
    leaves = optional(order.get("leaves_quantity"), "leaves_quantity")
    filled = optional(order.get("cumulative_quantity"), "cumulative_quantity")
    price = optional(order.get("limit_price"), "limit_price")
    live = str(order.get("status")) not in STATUSES
    if leaves is None or not live:
        return None, price
    return rules.to_coins(leaves + (filled or 0)), price


def fill_from(fill: Mapping[str, Any], rules: ProductRules, client_order_id: str) -> Fill:
    """Return one entry of `/orders/historical/fills`."""
    size, price = number(fill["size"], "size"), number(fill["price"], "price")
    if fill.get("size_in_quote"):
        size = size / price / rules.contract_size
    return Fill(
        venue_order_id=str(fill["order_id"]),
        trade_id=str(fill["trade_id"]),
        client_order_id=client_order_id,
        symbol=rules.symbol,
        side=Side(str(fill["side"])),
        quantity=rules.to_coins(size),
        price=price,
        fee=optional(fill.get("commission"), "commission") or Decimal(0),
        liquidity=str(fill.get("liquidity_indicator") or ""),
        ts_event_ns=nanoseconds(fill.get("trade_time")),
    )


def position_from(position: Mapping[str, Any], rules: ProductRules) -> VenuePosition:
    """Return a position of `/cfm/positions` or `/intx/positions`."""
    if "number_of_contracts" in position:
        sign = -1 if str(position.get("side")) == "SHORT" else 1
        size = sign * abs(number(position["number_of_contracts"], "number_of_contracts"))
        entry = optional(position.get("avg_entry_price"), "avg_entry_price")
    else:
        short = "SHORT" in str(position.get("position_side"))
        size = abs(number(position.get("net_size"), "net_size")) * (-1 if short else 1)
        entry = optional(position.get("entry_vwap"), "entry_vwap")
    return VenuePosition(rules.to_coins(size), entry)


def nanoseconds(text: Any) -> int | None:
    """Return an RFC 3339 time in nanoseconds since 1970, None where it is none."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    whole = int(moment.replace(microsecond=0).timestamp()) * 1_000_000_000
    _, dot, rest = text.partition(".")
    digits = "".join(c for c in rest[:9] if c.isdigit()) if dot else ""
    return whole + int(digits.ljust(9, "0") if digits else 0)
