"""Orders, fills and the answers to order requests in Coinbase's shapes."""

from decimal import Decimal
from typing import Any, Final

from lob.types import OrderType, TimeInForce
from services.paper_exchange.wire import rfc3339, rounded_text, text
from touchstone.exchange import CancelResult, Family, Fill, Order, OrderStatus, Refusal
from touchstone.exchange.identifiers import derived_uuid
from touchstone.exchange.money import ZERO

_TIME_IN_FORCE: Final = {
    TimeInForce.GTC: "GOOD_UNTIL_CANCELLED",
    TimeInForce.IOC: "IMMEDIATE_OR_CANCEL",
    TimeInForce.FOK: "FILL_OR_KILL",
}


def portfolio_uuid(account: str) -> str:
    """Return the portfolio id of an account: the same in every run."""
    return derived_uuid("portfolio", account)


def created_shape(order: Order) -> dict[str, Any]:
    """Return the answer to an accepted order, or to a repeat of it."""
    return {
        "success": True,
        "success_response": {
            "order_id": order.order_id,
            "product_id": order.product.product_id,
            "side": str(order.side),
            "client_order_id": order.request.client_order_id,
            "attached_order_id": "",
        },
        "order_configuration": order.request.configuration or {},
    }


def refused_shape(refusal: Refusal, configuration: dict[str, Any]) -> dict[str, Any]:
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


def order_shape(order: Order) -> dict[str, Any]:
    """Return an order as the REST API shows it."""
    request = order.request
    return {
        "order_id": order.order_id,
        "product_id": order.product.product_id,
        "user_id": portfolio_uuid(order.account),
        "order_configuration": request.configuration or {},
        "side": str(order.side),
        "client_order_id": request.client_order_id,
        "status": str(order.status),
        "time_in_force": _TIME_IN_FORCE[request.time_in_force],
        "created_time": rfc3339(order.created_ns),
        "completion_percentage": _completion(order),
        "filled_size": text(order.filled_size),
        "average_filled_price": rounded_text(order.average_price),
        "fee": "",
        "number_of_fills": str(order.fill_count),
        "filled_value": text(order.filled_value),
        "pending_cancel": False,
        "size_in_quote": False,
        "total_fees": text(order.fees),
        "size_inclusive_of_fees": False,
        "total_value_after_fees": text(_value_after_fees(order)),
        "trigger_status": "INVALID_ORDER_TYPE",
        "order_type": str(request.order_type),
        "reject_reason": "REJECT_REASON_UNSPECIFIED",
        "settled": order.status is OrderStatus.FILLED,
        "product_type": "FUTURE",
        "reject_message": "",
        "cancel_message": order.end_reason or "",
        "order_placement_source": "RETAIL_ADVANCED",
        "outstanding_hold_amount": rounded_text(hold(order)),
        "is_liquidation": False,
        "last_fill_time": None if order.last_fill_ns is None else rfc3339(order.last_fill_ns),
        "edit_history": [],
        "leverage": text(order.leverage),
        "margin_type": "CROSS",
        "retail_portfolio_id": portfolio_uuid(order.account),
        "originating_order_id": "",
        "attached_order_id": "",
    }


def user_order_shape(order: Order) -> dict[str, str]:
    """Return an order as the `user` channel shows it: every value a text."""
    request = order.request
    cancelled = order.status is OrderStatus.CANCELLED
    intx = order.product.family is Family.INTX
    limit_price = "" if request.limit_price is None else text(request.limit_price)
    return {
        "order_id": order.order_id,
        "client_order_id": request.client_order_id,
        "product_id": order.product.product_id,
        "product_type": "FUTURE",
        "order_side": str(order.side),
        "order_type": "Market" if request.order_type is OrderType.MARKET else "Limit",
        "time_in_force": _TIME_IN_FORCE[request.time_in_force],
        "status": str(order.status),
        "limit_price": limit_price,
        "stop_price": "",
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
        "cancel_reason": str(order.end_reason or "") if cancelled else "",
        "reject_reason": "",
        "trigger_status": "INVALID_ORDER_TYPE",
        "contract_expiry_type": "PERPETUAL" if intx else "EXPIRING",
        "risk_managed_by": "MANAGED_BY_VENUE" if intx else "MANAGED_BY_FCM",
        "retail_portfolio_id": portfolio_uuid(order.account),
        "creation_time": rfc3339(order.created_ns),
        "end_time": "",
        "start_time": "",
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
    """Return the initial margin that the working part of a resting order needs by itself."""
    if order.status is not OrderStatus.OPEN or order.price_ticks is None:
        return ZERO
    return order.product.notional(order.price_ticks, order.leaves_lots) / order.leverage


def _completion(order: Order) -> str:
    return text((Decimal(100) * order.filled_lots / order.size_lots).quantize(Decimal("0.01")))


def _value_after_fees(order: Order) -> Decimal:
    return order.filled_value + order.side.sign * order.fees
