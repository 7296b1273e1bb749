"""Query parameters of the order and fill lists, read as Coinbase's clients send them.

List parameters are repeated keys; the deprecated singular names count as well. A filter that
Coinbase has and this venue has not is refused, because ignoring it would return wrong rows.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from starlette.datastructures import QueryParams

from lob.errors import InvalidInput
from services.paper_exchange.wire import parse_rfc3339
from touchstone.exchange import Fill, Order

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1_000
STATUSES: Final = frozenset(
    {
        "PENDING",
        "OPEN",
        "FILLED",
        "CANCELLED",
        "EXPIRED",
        "FAILED",
        "UNKNOWN_ORDER_STATUS",
        "QUEUED",
        "CANCEL_QUEUED",
        "EDIT_QUEUED",
    }
)
_ORDER_FILTERS: Final = frozenset(
    {
        "order_ids",
        "order_id",
        "product_ids",
        "product_id",
        "order_status",
        "order_side",
        "order_types",
        "product_type",
        "start_date",
        "end_date",
        "limit",
        "cursor",
        "retail_portfolio_id",
        "sort_by",
    }
)
_FILL_FILTERS: Final = frozenset(
    {
        "order_ids",
        "order_id",
        "trade_ids",
        "product_ids",
        "product_id",
        "start_sequence_timestamp",
        "end_sequence_timestamp",
        "limit",
        "cursor",
        "retail_portfolio_id",
        "sort_by",
    }
)

RowT = TypeVar("RowT")


@dataclass(frozen=True, slots=True)
class Page(Generic[RowT]):
    """One page of rows, newest first, and the cursor of the next; "" when there is none."""

    rows: list[RowT]
    cursor: str


def select_orders(orders: Iterable[Order], params: QueryParams) -> Page[Order]:
    """Return the page of orders (given newest first) that the query asks for."""
    _refuse_unknown(params, _ORDER_FILTERS, "LAST_FILL_TIME", "LIMIT_PRICE")
    order_ids = _values(params, "order_ids", "order_id")
    product_ids = _values(params, "product_ids", "product_id")
    statuses = _values(params, "order_status")
    wrong = statuses - STATUSES
    if wrong:
        raise InvalidInput(f"order_status: {sorted(wrong)}; allowed: {', '.join(sorted(STATUSES))}")
    sides = _values(params, "order_side")
    types = _values(params, "order_types")
    start_ns, end_ns = _times(params, "start_date", "end_date")
    if params.get("product_type") not in (None, "", "UNKNOWN_PRODUCT_TYPE", "FUTURE"):
        return Page([], "")
    return _page(
        [
            order
            for order in orders
            if (not order_ids or order.order_id in order_ids)
            and (not product_ids or order.product.product_id in product_ids)
            and (not statuses or order.status in statuses)
            and (not sides or order.side in sides)
            and (not types or order.request.order_type in types)
            and start_ns <= order.created_ns < end_ns
        ],
        params,
        lambda order: order.number,
    )


def select_fills(fills: Iterable[Fill], params: QueryParams) -> Page[Fill]:
    """Return the page of fills (given newest first) that the query asks for."""
    _refuse_unknown(params, _FILL_FILTERS, "PRICE")
    order_ids = _values(params, "order_ids", "order_id")
    trade_ids = _values(params, "trade_ids")
    product_ids = _values(params, "product_ids", "product_id")
    start_ns, end_ns = _times(params, "start_sequence_timestamp", "end_sequence_timestamp")
    return _page(
        [
            fill
            for fill in fills
            if (not order_ids or fill.order_id in order_ids)
            and (not trade_ids or fill.trade_id in trade_ids)
            and (not product_ids or fill.product.product_id in product_ids)
            and start_ns <= fill.time_ns < end_ns
        ],
        params,
        lambda fill: fill.number,
    )


def whole_number(params: QueryParams, name: str, default: int, maximum: int) -> int:
    """Return a whole number of 1..maximum; larger ones count as the maximum."""
    value = params.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and len(value) <= 9 and int(value) > 0):  # noqa: PLR2004 - digits of a sane limit
        raise InvalidInput(f"{name}: {value!r}; allowed: 1..{maximum}")
    return min(int(value), maximum)


def _page(rows: list[RowT], params: QueryParams, number: Callable[[RowT], int]) -> Page[RowT]:
    cursor = params.get("cursor") or ""
    if cursor:
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 20):  # noqa: PLR2004 - digits of 2^63
            raise InvalidInput(f"cursor: {cursor!r}; allowed: the cursor of an earlier page")
        rows = [row for row in rows if number(row) < int(cursor)]
    limit = whole_number(params, "limit", LIMIT_DEFAULT, LIMIT_MAX)
    more = len(rows) > limit
    return Page(rows[:limit], str(number(rows[limit - 1])) if more else "")


def _values(params: QueryParams, *names: str) -> set[str]:
    """Return all values of the parameters; commas separate, too."""
    values = (value for name in names for value in params.getlist(name))
    return {part for value in values for part in value.split(",") if part}


def _times(params: QueryParams, start: str, end: str) -> tuple[int, int]:
    first, last = params.get(start), params.get(end)
    return (
        parse_rfc3339(start, first) if first else 0,
        parse_rfc3339(end, last) if last else 1 << 63,
    )


def _refuse_unknown(params: QueryParams, known: frozenset[str], *sorts: str) -> None:
    for name in params:
        if name not in known:
            raise InvalidInput(f"{name}: not implemented; allowed: {', '.join(sorted(known))}")
    if params.get("sort_by") in sorts:
        raise InvalidInput(f"sort_by: {params['sort_by']!r} is not implemented")
