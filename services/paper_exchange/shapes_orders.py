"""Orders, fills and the answers to order requests in Coinbase's shapes."""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from lob.types import TimeInForce
from services.paper_exchange.wire import rfc3339, rounded_text, text
from touchstone.exchange import (
    CancelResult,
    EditRefusal,
    EditResult,
    Fill,
    Order,
    OrderKind,
    OrderStatus,
    Product,
    Refusal,
)
from touchstone.exchange.money import ZERO
from touchstone.exchange.portfolios import portfolio_id
from touchstone.exchange.products import Family

TIMES_IN_FORCE: Final = (
    "UNKNOWN_TIME_IN_FORCE",
    "GOOD_UNTIL_DATE_TIME",
    "GOOD_UNTIL_CANCELLED",
    "IMMEDIATE_OR_CANCEL",
    "FILL_OR_KILL",
)
"""Coinbase's words for how long an order works."""

NO_PREVIEW_REASON: Final = "UNKNOWN_PREVIEW_FAILURE_REASON"

_TIME_IN_FORCE: Final[Mapping[TimeInForce, str]] = {
    TimeInForce.GTC: "GOOD_UNTIL_CANCELLED",
    TimeInForce.GTD: "GOOD_UNTIL_DATE_TIME",
    TimeInForce.IOC: "IMMEDIATE_OR_CANCEL",
    TimeInForce.FOK: "FILL_OR_KILL",
}
_USER_ORDER_TYPE: Final[Mapping[OrderKind, str]] = {
    OrderKind.MARKET: "Market",
    OrderKind.LIMIT: "Limit",
    OrderKind.STOP_LIMIT: "Stop Limit",
    OrderKind.BRACKET: "Bracket",
    OrderKind.TWAP: "TWAP",
    OrderKind.SCALED: "Scaled",
    OrderKind.LIQUIDATION: "Liquidation",
}
_UNSUCCESSFUL: Final = frozenset({OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.FAILED})


def time_in_force(order: Order) -> str:
    """Return how long an order works, in Coinbase's word."""
    return _TIME_IN_FORCE[order.request.time_in_force]


def order_type(order: Order) -> str:
    """Return the kind of an order, in Coinbase's word."""
    return str(order.kind)


def expiry_type(product: Product) -> str:
    """Return what Coinbase calls a product's expiry: its US perpetuals count as expiring."""
    return "PERPETUAL" if product.family is Family.INTX else "EXPIRING"


@lru_cache(maxsize=1_024)
def portfolio_uuid(account: str) -> str:
    """Return the portfolio id of an account: the same in every run."""
    return portfolio_id(account)


# -------------------------------------------------------------------- answers to commands


def created_shape(order: Order) -> dict[str, Any]:
    """Return the answer to an accepted order, or to a repeat of it."""
    return {
        "success": True,
        "success_response": {
            "order_id": order.order_id,
            "product_id": order.product.product_id,
            "side": str(order.side),
            "client_order_id": order.request.client_order_id,
            "attached_order_id": order.attached_order_id,
        },
        "order_configuration": order.request.configuration or {},
    }


def refused_shape(refusal: Refusal, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to a refused order, which Coinbase sends with HTTP status 200."""
    return {
        "success": False,
        "error_response": {
            "error": str(refusal.reason),
            "message": refusal.message,
            "error_details": refusal.message,
            "preview_failure_reason": refusal.preview,
            "new_order_failure_reason": str(refusal.reason),
        },
        "order_configuration": configuration,
    }


def cancel_shape(result: CancelResult) -> dict[str, Any]:
    """Return one result of a batch cancel."""
    return {
        "success": result.success,
        "failure_reason": str(result.failure),
        "order_id": result.order_id,
    }


def edit_shape(result: EditResult) -> dict[str, Any]:
    """Return the answer to an edit; Coinbase sends a refused one with HTTP status 200, too."""
    refusals = [] if result.refusal is None else [result.refusal]
    return {"success": not refusals, "errors": [edit_error_shape(one) for one in refusals]}


def edit_error_shape(refusal: EditRefusal) -> dict[str, str]:
    """Return why an edit was refused."""
    return {
        "edit_failure_reason": str(refusal.reason),
        "preview_failure_reason": refusal.preview_reason or NO_PREVIEW_REASON,
    }


# -------------------------------------------------------------------- orders and fills


def _configuration(order: Order) -> Mapping[str, Any]:
    """Return an order's terms; an attached bracket is as large as its order has traded by now."""
    configuration = order.request.configuration or {}
    if order.kind is not OrderKind.BRACKET or not (order.originating_order_id and order.size_lots):
        return configuration
    size = {"base_size": text(order.size)}
    return {name: {**fields, **size} for name, fields in configuration.items()}


def order_shape(order: Order) -> dict[str, Any]:
    """Return an order as the REST API shows it."""
    request = order.request
    ended = "" if order.end_reason is None else str(order.end_reason)
    failed = order.status is OrderStatus.FAILED
    return {
        "order_id": order.order_id,
        "product_id": order.product.product_id,
        "user_id": portfolio_uuid(order.account),
        "order_configuration": _configuration(order),
        "side": str(order.side),
        "client_order_id": request.client_order_id,
        "status": str(order.status),
        "time_in_force": time_in_force(order),
        "created_time": rfc3339(order.created_ns),
        "completion_percentage": _completion(order),
        "filled_size": text(order.filled_size),
        "average_filled_price": rounded_text(order.average_price),
        "fee": "",
        "number_of_fills": str(order.fill_count),
        "filled_value": text(order.filled_value),
        "pending_cancel": False,
        "size_in_quote": request.quote_size is not None,
        "total_fees": text(order.fees),
        "size_inclusive_of_fees": False,
        "total_value_after_fees": text(_value_after_fees(order)),
        "trigger_status": str(order.trigger),
        "order_type": order_type(order),
        "reject_reason": "REJECT_REASON_UNSPECIFIED",
        "settled": order.status is OrderStatus.FILLED,
        "product_type": "FUTURE",
        "reject_message": ended if failed else "",
        "cancel_message": "" if failed else ended,
        "order_placement_source": "RETAIL_ADVANCED",
        "outstanding_hold_amount": rounded_text(hold(order)),
        "is_liquidation": order.kind is OrderKind.LIQUIDATION,
        "last_fill_time": None if order.last_fill_ns is None else rfc3339(order.last_fill_ns),
        "edit_history": [
            {
                "price": text(edit.price),
                "size": text(edit.size),
                "replace_accept_timestamp": rfc3339(edit.time_ns),
            }
            for edit in order.edits
        ],
        "leverage": text(order.leverage),
        "margin_type": str(order.margin_type),
        "retail_portfolio_id": portfolio_uuid(order.account),
        "originating_order_id": order.originating_order_id,
        "attached_order_id": order.attached_order_id,
        "attached_order_configuration": request.attached_configuration or None,
    }


def user_order_shape(order: Order) -> dict[str, str]:
    """Return an order as the `user` channel shows it: every value a text."""
    request = order.request
    intx = order.product.family is Family.INTX
    end_ns = request.end_time_ns
    return {
        "order_id": order.order_id,
        "client_order_id": request.client_order_id,
        "product_id": order.product.product_id,
        "product_type": "FUTURE",
        "order_side": str(order.side),
        "order_type": _USER_ORDER_TYPE[order.kind],
        "time_in_force": time_in_force(order),
        "status": str(order.status),
        "limit_price": "" if order.limit_price is None else text(order.limit_price),
        "stop_price": "" if order.stop_price is None else text(order.stop_price),
        "post_only": "true" if request.post_only else "false",
        "cumulative_quantity": text(order.filled_size),
        "leaves_quantity": text(order.leaves),
        "avg_price": rounded_text(order.average_price),
        "filled_value": text(order.filled_value),
        "number_of_fills": str(order.fill_count),
        "completion_percentage": _completion(order),
        "total_fees": text(order.fees),
        "total_value_after_fees": text(_value_after_fees(order)),
        "outstanding_hold_amount": rounded_text(hold(order)),
        "cancel_reason": str(order.end_reason or "") if order.status in _UNSUCCESSFUL else "",
        "reject_reason": str(order.end_reason or "") if order.status is OrderStatus.FAILED else "",
        "trigger_status": str(order.trigger),
        "contract_expiry_type": expiry_type(order.product),
        "risk_managed_by": "MANAGED_BY_VENUE" if intx else "MANAGED_BY_FCM",
        "retail_portfolio_id": portfolio_uuid(order.account),
        "creation_time": rfc3339(order.created_ns),
        "end_time": "" if end_ns is None else rfc3339(end_ns),
        "start_time": "" if request.twap is None else rfc3339(request.twap.start_ns),
    }


def fill_shape(fill: Fill, account: str) -> dict[str, Any]:
    """Return a fill; `size_in_quote` is always false here."""
    return {
        "entry_id": fill.entry_id,
        "trade_id": fill.trade_id,
        "order_id": fill.order_id,
        "trade_time": rfc3339(fill.time_ns),
        "trade_type": "FILL",
        "price": text(fill.price),
        "size": text(fill.size),
        "commission": text(fill.fee),
        "product_id": fill.product.product_id,
        "sequence_timestamp": rfc3339(fill.time_ns),
        "liquidity_indicator": str(fill.liquidity),
        "size_in_quote": False,
        "user_id": portfolio_uuid(account),
        "side": str(fill.side),
        "retail_portfolio_id": portfolio_uuid(account),
    }


def hold(order: Order) -> Decimal:
    """Return the initial margin that the working part of a live order needs by itself."""
    if not order.live or order.price_ticks is None:
        return ZERO
    return order.product.notional(order.price_ticks, order.leaves_lots) / order.leverage


def _completion(order: Order) -> str:
    if not order.size_lots:
        return "0"
    return text((Decimal(100) * order.filled_lots / order.size_lots).quantize(Decimal("0.01")))


def _value_after_fees(order: Order) -> Decimal:
    return order.filled_value + order.side.sign * order.fees
