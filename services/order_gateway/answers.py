"""From a refusal to an HTTP answer, in one table."""

from typing import Any, Final

from fastapi.responses import JSONResponse

from services.order_gateway.closing import Closed
from services.order_gateway.engine import Submitted
from services.order_gateway.models import decimal_text, order_json
from services.order_gateway.replacing import Replaced
from touchstone.perps.checks import Refusal, RefusalReason
from touchstone.perps.orders import OrderState

R = RefusalReason

# 409: the present state forbids it. 422: the order itself. 429: too many. 503: something is away.
HTTP_STATUS: Final[dict[RefusalReason, int]] = {
    R.DUPLICATE_CLIENT_ORDER_ID: 409,
    R.DRAINING: 503,
    R.CONTROL_STATE_UNKNOWN: 503,
    R.HALTED: 409,
    R.CANCEL_ONLY: 409,
    R.REDUCE_ONLY: 409,
    R.REDUCE_ONLY_WOULD_INCREASE: 409,
    R.NOT_RECONCILED: 503,
    R.DRY_RUN: 409,
    R.NO_QUOTE: 503,
    R.NO_DEPTH: 503,
    R.NO_MARK: 503,
    R.NO_EQUITY: 503,
    R.NO_VENUE_TIME: 503,
    R.IMPACT: 422,
    R.ORDER_NOTIONAL: 422,
    R.POSITION_NOTIONAL: 422,
    R.TOTAL_EXPOSURE: 422,
    R.LEVERAGE: 422,
    R.ORDER_RATE: 429,
    R.UNKNOWN_SYMBOL: 422,
    R.PRODUCT_CLOSED: 409,
    R.UNSUPPORTED: 422,
    R.QUANTITY_INCREMENT: 422,
    R.QUANTITY_RANGE: 422,
    R.MIN_NOTIONAL: 422,
    R.EXPIRED: 422,
    R.POST_ONLY_WOULD_CROSS: 422,
    R.PRICE_RANGE: 422,
    R.STOP_RELATION: 422,
    R.JOURNAL_UNAVAILABLE: 503,
    R.VENUE_UNAVAILABLE: 503,
    R.VENUE_RATE_LIMITED: 429,
}
RETRYABLE_STATUSES: Final = frozenset({429, 503})

CREATED: Final = 201
OK: Final = 200
ACCEPTED: Final = 202
UNPROCESSABLE: Final = 422


def refusal_answer(refusal: Refusal, submitted: Submitted | None = None) -> JSONResponse:
    """Return the answer to a refused order.

    One that was journaled keeps its client id for good: the same request would only return it, so
    it is not retryable under that id.
    """
    status = HTTP_STATUS[refusal.reason]
    return _error(
        status,
        refusal.reason.value,
        refusal.message,
        retryable=submitted is None and status in RETRYABLE_STATUSES,
        submitted=submitted,
    )


def submit_answer(submitted: Submitted) -> JSONResponse:
    """Return the answer to an order that is in the journal.

    201 for a new order, 200 for a repeat, 202 while its outcome at the venue is unknown, 422 when
    the venue rejected it.
    """
    order = submitted.order
    if submitted.refusal is not None:
        return refusal_answer(submitted.refusal, submitted)
    if order.state is OrderState.REJECTED and not submitted.repeated:
        return _error(
            UNPROCESSABLE, "VENUE_REJECTED", order.reason, retryable=False, submitted=submitted
        )
    status = OK if submitted.repeated else CREATED
    if order.state in (OrderState.UNKNOWN, OrderState.PENDING_SUBMIT):
        status = ACCEPTED
    body = {"order": order_json(order), "repeated": submitted.repeated}
    return JSONResponse(body, status_code=status)


def replaced_answer(replaced: Replaced) -> JSONResponse:
    """Return the answer to a replacement: 200 with the new order, 202 while the old one lives.

    Where the new order was refused after the old one was over, the answer says why.
    """
    child, refusal = replaced.child, replaced.refusal
    if child is None and refusal is not None:
        return refusal_answer(refusal)
    if child is not None and child.state is OrderState.REJECTED:
        return _error(
            UNPROCESSABLE,
            "VENUE_REJECTED",
            child.reason,
            retryable=False,
            submitted=Submitted(child),
        )
    body = {
        "order": None if child is None else order_json(child),
        "original": order_json(replaced.original),
    }
    over = replaced.original.is_done
    return JSONResponse(body, status_code=OK if over else ACCEPTED)


def closed_answer(closed: Closed) -> JSONResponse:
    """Return the answer to a close: a refusal where nothing could be sent, else how far it came."""
    if closed.refusal is not None and not closed.is_flat:
        return refusal_answer(closed.refusal)
    body = {
        "symbol": closed.symbol,
        "flat": closed.is_flat,
        "quantity": decimal_text(closed.quantity),
        "orders": [order_json(order) for order in closed.orders],
        "problem": closed.problem or None,
    }
    return JSONResponse(body)


def _error(
    status: int, code: str, message: str, *, retryable: bool, submitted: Submitted | None
) -> JSONResponse:
    body: dict[str, Any] = {"error": {"code": code, "message": message, "retryable": retryable}}
    if submitted is not None:
        body["order"] = order_json(submitted.order)
    return JSONResponse(body, status_code=status)
