"""Coinbase's orders and fills: our terms as an order configuration, its reports in our words."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from lob.errors import NotSupported
from lob.types import Side, TimeInForce
from services.order_gateway.venues.base import VenueReport
from services.order_gateway.venues.coinbase_wire import nanoseconds, number, optional, rfc3339
from touchstone.kit.ledger_entries import Fill
from touchstone.perps.orders import Intent, OrderType, VenueStatus
from touchstone.perps.products import ProductRules

# FAILED is an order that never became live; everything not listed here may still trade.
STATUSES: Final = {
    "FILLED": VenueStatus.FILLED,
    "CANCELLED": VenueStatus.CANCELLED,
    "EXPIRED": VenueStatus.EXPIRED,
    "FAILED": VenueStatus.FAILED,
}
WORKING_STATUSES: Final = ("PENDING", "OPEN", "QUEUED", "CANCEL_QUEUED", "EDIT_QUEUED")

_ORDER_TYPES: Final = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "STOP_LIMIT": OrderType.STOP_LIMIT,
    "BRACKET": OrderType.BRACKET,
}
_LIQUIDATION: Final = "LIQUIDATION"
_TIMES_IN_FORCE: Final = {
    "GOOD_UNTIL_CANCELLED": TimeInForce.GTC,
    "GOOD_UNTIL_DATE_TIME": TimeInForce.GTD,
    "IMMEDIATE_OR_CANCEL": TimeInForce.IOC,
    "FILL_OR_KILL": TimeInForce.FOK,
}
_FLAGS: Final = {True: True, False: False, "true": True, "false": False}

Fields = dict[str, Any]


def _market(intent: Intent) -> Fields:  # noqa: ARG001 - as the others
    return {}


def _limit(intent: Intent) -> Fields:
    return {"limit_price": _text(intent.limit_price)}


def _resting(intent: Intent) -> Fields:
    return _limit(intent) | {"post_only": intent.post_only}


def _stop_limit(intent: Intent) -> Fields:
    direction = "UP" if intent.side is Side.BUY else "DOWN"
    return _limit(intent) | {
        "stop_price": _text(intent.stop_price),
        "stop_direction": f"STOP_DIRECTION_STOP_{direction}",
    }


def _bracket(intent: Intent) -> Fields:
    return _limit(intent) | {"stop_trigger_price": _text(intent.stop_price)}


_CONFIGURATIONS: Final[
    Mapping[tuple[OrderType, TimeInForce], tuple[str, Callable[[Intent], Fields]]]
] = {
    (OrderType.MARKET, TimeInForce.IOC): ("market_market_ioc", _market),
    # A market order never rests, whatever its time in force.
    (OrderType.MARKET, TimeInForce.GTC): ("market_market_ioc", _market),
    (OrderType.MARKET, TimeInForce.FOK): ("market_market_fok", _market),
    (OrderType.LIMIT, TimeInForce.GTC): ("limit_limit_gtc", _resting),
    (OrderType.LIMIT, TimeInForce.GTD): ("limit_limit_gtd", _resting),
    (OrderType.LIMIT, TimeInForce.IOC): ("sor_limit_ioc", _limit),
    (OrderType.LIMIT, TimeInForce.FOK): ("limit_limit_fok", _limit),
    (OrderType.STOP_LIMIT, TimeInForce.GTC): ("stop_limit_stop_limit_gtc", _stop_limit),
    (OrderType.STOP_LIMIT, TimeInForce.GTD): ("stop_limit_stop_limit_gtd", _stop_limit),
    (OrderType.BRACKET, TimeInForce.GTC): ("trigger_bracket_gtc", _bracket),
    (OrderType.BRACKET, TimeInForce.GTD): ("trigger_bracket_gtd", _bracket),
}


def order_configuration(
    intent: Intent, rules: ProductRules, *, forward_reduce_only: bool
) -> dict[str, Any]:
    """Return the one entry of `order_configuration` that says what `intent` says.

    Raises:
        NotSupported: the order's type, time in force or post-only has no entry here; the checks
            refuse it first, so that it never becomes another order on its way.
    """
    found = _CONFIGURATIONS.get((intent.order_type, intent.time_in_force))
    if found is None:
        known = ", ".join(f"{kind} {time}" for kind, time in _CONFIGURATIONS)
        raise NotSupported(f"type: {intent.order_type} {intent.time_in_force}; allowed: {known}")
    name, terms = found
    if intent.post_only and terms is not _resting:
        raise NotSupported(f"post_only: true; {name} has none")
    fields = {"base_size": _text(rules.to_venue_size(intent.quantity)), **terms(intent)}
    # A bracket only ever closes; the others say so where the venue takes it.
    if intent.reduce_only and forward_reduce_only and terms is not _bracket:
        fields["reduce_only"] = True
    if intent.time_in_force is TimeInForce.GTD:
        if intent.expires_at_ns is None:
            raise NotSupported("time_in_force: GTD; it needs expires_at_ns")
        fields["end_time"] = rfc3339(intent.expires_at_ns)
    return {name: fields}


def attached_configuration(intent: Intent) -> dict[str, Any] | None:
    """Return `attached_order_configuration`: the exit that the venue makes when the order fills."""
    if intent.attached is None:
        return None
    fields = {
        "limit_price": _text(intent.attached.take_profit_price),
        "stop_trigger_price": _text(intent.attached.stop_price),
    }
    return {"trigger_bracket_gtc": fields}


def report_from(order: Mapping[str, Any], rules: ProductRules) -> VenueReport:
    """Return the report in a REST order or in an order of the user channel."""
    filled = order.get("filled_size", order.get("cumulative_quantity"))
    quantity, fields = _terms(order, rules)
    texts = ("reject_message", "reject_reason", "cancel_message", "cancel_reason")
    reasons = [str(order.get(name) or "") for name in texts]
    kind = str(order.get("order_type") or "").upper().replace(" ", "_")
    stop = fields.get("stop_price") or fields.get("stop_trigger_price")
    return VenueReport(
        venue_order_id=str(order["order_id"]),
        client_order_id=str(order.get("client_order_id") or ""),
        symbol=rules.symbol,
        side=Side(str(order.get("side") or order.get("order_side"))),
        status=STATUSES.get(str(order.get("status")), VenueStatus.LIVE),
        filled_quantity=rules.to_coins(optional(filled, "filled_size") or Decimal(0)),
        quantity=quantity,
        limit_price=optional(fields.get("limit_price"), "limit_price"),
        stop_price=optional(stop, "stop_price"),
        order_type=_ORDER_TYPES.get(kind),
        time_in_force=_TIMES_IN_FORCE.get(str(order.get("time_in_force"))),
        reduce_only=_FLAGS.get(fields.get("reduce_only")),
        post_only=_FLAGS.get(fields.get("post_only")),
        attached_order_id=str(order.get("attached_order_id") or ""),
        originating_order_id=str(order.get("originating_order_id") or ""),
        is_liquidation=kind == _LIQUIDATION or bool(order.get("is_liquidation")),
        reason=next((r for r in reasons if r and "UNSPECIFIED" not in r), ""),
    )


def _terms(
    order: Mapping[str, Any], rules: ProductRules
) -> tuple[Decimal | None, Mapping[str, Any]]:
    """Return quantity in coins and the fields that say the terms; the user channel has no size."""
    configuration = order.get("order_configuration") or {}
    for fields in configuration.values():
        size = optional(fields.get("base_size"), "base_size")
        return (None if size is None else rules.to_coins(size)), fields
    leaves = optional(order.get("leaves_quantity"), "leaves_quantity")
    filled = optional(order.get("cumulative_quantity"), "cumulative_quantity")
    if leaves is None or str(order.get("status")) in STATUSES:
        return None, order
    return rules.to_coins(leaves + (filled or 0)), order


def fill_from(fill: Mapping[str, Any], rules: ProductRules) -> Fill:
    """Return one entry of `/orders/historical/fills`, which does not tell the client id."""
    size, price = number(fill["size"], "size"), number(fill["price"], "price")
    if fill.get("size_in_quote"):
        size = size / price / rules.contract_size
    return Fill(
        venue_order_id=str(fill["order_id"]),
        trade_id=str(fill["trade_id"]),
        client_order_id="",
        symbol=rules.symbol,
        side=Side(str(fill["side"])),
        quantity=rules.to_coins(size),
        price=price,
        fee=optional(fill.get("commission"), "commission") or Decimal(0),
        liquidity=str(fill.get("liquidity_indicator") or ""),
        ts_event_ns=nanoseconds(fill.get("trade_time")),
    )


def _text(value: Decimal | None) -> str:
    if value is None:
        raise NotSupported("price: missing")
    return f"{value:f}"
