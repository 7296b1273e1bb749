"""Which orders and fills a list asks for: filters, sort order, pages.

Pages follow one another by the key of the last row, so that orders which arrive in between neither
repeat nor hide a row. The newest comes first unless `sort_by` says otherwise.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, Generic, TypeVar

from starlette.datastructures import QueryParams

from lob.errors import InvalidInput
from services.paper_exchange.query import (
    FOREVER_NS,
    enum,
    enums,
    period,
    refuse_unknown,
    values,
    whole_number,
)
from services.paper_exchange.shapes_orders import (
    TIMES_IN_FORCE,
    expiry_type,
    order_type,
    portfolio_uuid,
    time_in_force,
)
from services.paper_exchange.wire import text
from touchstone.exchange import Exchange, Fill, Order
from touchstone.exchange.orders import LIVE

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1_000
STATUSES: Final = (
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
)
ORDER_TYPES: Final = (
    "UNKNOWN_ORDER_TYPE",
    "MARKET",
    "LIMIT",
    "STOP",
    "STOP_LIMIT",
    "BRACKET",
    "TWAP",
    "ROLL_OPEN",
    "ROLL_CLOSE",
    "LIQUIDATION",
    "SCALED",
)
SIDES: Final = ("BUY", "SELL", "UNKNOWN_ORDER_SIDE")
PRODUCT_TYPES: Final = ("UNKNOWN_PRODUCT_TYPE", "SPOT", "FUTURE")
EXPIRY_TYPES: Final = ("UNKNOWN_CONTRACT_EXPIRY_TYPE", "EXPIRING", "PERPETUAL")
PLACEMENTS: Final = ("UNKNOWN_PLACEMENT_SOURCE", "RETAIL_SIMPLE", "RETAIL_ADVANCED")
_CURSOR_LENGTH_MAX: Final = 64
_ORDER_FILTERS: Final = frozenset(
    {
        "order_ids",
        "order_id",
        "product_ids",
        "product_id",
        "product_type",
        "order_status",
        "time_in_forces",
        "order_types",
        "order_side",
        "start_date",
        "end_date",
        "order_placement_source",
        "contract_expiry_type",
        "asset_filters",
        "retail_portfolio_id",
        "limit",
        "cursor",
        "sort_by",
        "user_native_currency",
        "use_simplified_total_value_calculation",
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
        "retail_portfolio_id",
        "limit",
        "cursor",
        "sort_by",
    }
)

RowT = TypeVar("RowT", Order, Fill)
_Key = tuple[Decimal | int, int]


@dataclass(frozen=True, slots=True)
class Page(Generic[RowT]):
    """One page of rows and the cursor of the next; "" when there is none."""

    rows: list[RowT]
    cursor: str


def select_orders(exchange: Exchange, account: str, params: QueryParams) -> Page[Order]:
    """Return the page of an account's orders that the query asks for.

    O(orders named) for orders by id, O(live orders) for open ones, else O(orders remembered).
    """
    refuse_unknown(params, _ORDER_FILTERS)
    order_ids = values(params, "order_ids", "order_id")
    statuses = enums(params, "order_status", STATUSES)
    start_ns, end_ns = period(params, "start_date", "end_date")
    tests: list[Callable[[Order], bool]] = []
    for wanted, told in (
        (values(params, "product_ids", "product_id"), _product_id),
        (statuses, _status),
        (enums(params, "order_side", SIDES), _side),
        (enums(params, "order_types", ORDER_TYPES), order_type),
        (enums(params, "time_in_forces", TIMES_IN_FORCE), time_in_force),
        (enums(params, "contract_expiry_type", EXPIRY_TYPES), _expiry),
        (values(params, "asset_filters"), _asset),
    ):
        if wanted:
            tests.append(_one_of(wanted, told))
    if start_ns or end_ns != FOREVER_NS:
        tests.append(lambda order: start_ns <= order.created_ns < end_ns)
    if (
        values(params, "retail_portfolio_id") - {portfolio_uuid(account)}
        or enums(params, "product_type", PRODUCT_TYPES) - {"FUTURE"}
        or enums(params, "order_placement_source", PLACEMENTS) - {"RETAIL_ADVANCED"}
    ):
        return _page([], params, _ORDER_SORTS)
    if order_ids:
        named = (exchange.order(account, order_id) for order_id in order_ids)
        rows = [order for order in named if order is not None]
    elif statuses and statuses <= LIVE:
        rows = exchange.open_orders(account)
    else:
        rows = exchange.orders(account)
    return _page(_passing(rows, tests), params, _ORDER_SORTS)


def select_fills(exchange: Exchange, account: str, params: QueryParams) -> Page[Fill]:
    """Return the page of an account's fills that the query asks for.

    O(fills since the oldest order named) for fills of orders, else O(fills remembered).
    """
    refuse_unknown(params, _FILL_FILTERS)
    order_ids = values(params, "order_ids", "order_id")
    start_ns, end_ns = period(params, "start_sequence_timestamp", "end_sequence_timestamp")
    tests: list[Callable[[Fill], bool]] = []
    for wanted, told in (
        (values(params, "trade_ids"), _trade_id),
        (values(params, "product_ids", "product_id"), _product_id),
    ):
        if wanted:
            tests.append(_one_of(wanted, told))
    if start_ns or end_ns != FOREVER_NS:
        tests.append(lambda fill: start_ns <= fill.time_ns < end_ns)
    foreign = values(params, "retail_portfolio_id") - {portfolio_uuid(account)}
    rows = [] if foreign else _passing(exchange.fills(account, order_ids), tests)
    return _page(rows, params, _FILL_SORTS)


def _one_of(wanted: set[str], told: Callable[[RowT], str]) -> Callable[[RowT], bool]:
    return lambda row: told(row) in wanted


def _passing(rows: list[RowT], tests: Iterable[Callable[[RowT], bool]]) -> list[RowT]:
    for test in tests:
        rows = [row for row in rows if test(row)]
    return rows


def _product_id(row: Order | Fill) -> str:
    return row.product.product_id


def _trade_id(fill: Fill) -> str:
    return fill.trade_id


def _status(order: Order) -> str:
    return order.status


def _side(order: Order) -> str:
    return order.side


def _expiry(order: Order) -> str:
    return expiry_type(order.product)


def _asset(order: Order) -> str:
    return order.product.coin


_ORDER_SORTS: Final[Mapping[str, Callable[[Order], _Key]]] = {
    "": lambda order: (0, order.number),
    "LAST_FILL_TIME": lambda order: (order.last_fill_ns or 0, order.number),
    "LIMIT_PRICE": lambda order: (order.limit_price or 0, order.number),
}
_FILL_SORTS: Final[Mapping[str, Callable[[Fill], _Key]]] = {
    "": lambda fill: (0, fill.number),
    "TRADE_TIME": lambda fill: (0, fill.number),
    "PRICE": lambda fill: (fill.price, fill.number),
}


def _page(
    rows: list[RowT], params: QueryParams, sorts: Mapping[str, Callable[[RowT], _Key]]
) -> Page[RowT]:
    key = sorts[enum(params, "sort_by", [*filter(None, sorts), "UNKNOWN_SORT_BY"])]
    cursor = params.get("cursor") or ""
    if cursor:
        after = _parse_cursor(cursor)
        rows = [row for row in rows if key(row) < after]
    rows.sort(key=key, reverse=True)
    limit = whole_number(params, "limit", LIMIT_DEFAULT, LIMIT_MAX)
    more = len(rows) > limit
    return Page(rows[:limit], _cursor(key(rows[limit - 1])) if more else "")


def _cursor(key: _Key) -> str:
    return f"{text(key[0])}_{key[1]}"


def _parse_cursor(cursor: str) -> _Key:
    """Return the key that a cursor stands for.

    >>> _parse_cursor("100.5_7")
    (Decimal('100.5'), 7)
    """
    first, _, number = cursor.partition("_")
    wrong = InvalidInput(f"cursor: {cursor[:80]!r}; allowed: the cursor of an earlier page")
    if len(cursor) > _CURSOR_LENGTH_MAX or not (number.isascii() and number.isdigit()):
        raise wrong
    try:
        key = Decimal(first)
    except InvalidOperation:
        raise wrong from None
    if not key.is_finite():
        raise wrong
    return key, int(number)
