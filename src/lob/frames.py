"""Tables of what the book and its feeds give: pyarrow, polars, pandas.

Each `to_` function takes an array of messages, trades or refusals, the `(bids, asks)` of
`OrderBook.depth`, or orders (`OrderBook.orders`, a snapshot's). Numbers stay integers, and codes
become words: actions, sides, times in force. Of an order, `expire_ns` 0 is no expiry. The package
is imported when it is asked for.
"""

import importlib
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lob.errors import ConfigError, InvalidInput
from lob.messages import MESSAGE_DTYPE, REFUSAL_DTYPE, TRADE_DTYPE, Action
from lob.types import Level, RejectReason, RestingOrder, Side, TimeInForce

Columns = Mapping[str, NDArray[Any] | list[Any]]
Source = NDArray[Any] | tuple[tuple[Level, ...], tuple[Level, ...]] | Iterable[RestingOrder]

_SIDES: Final = np.array([Side.SELL.value, None, Side.BUY.value], object)
_ACTIONS: Final = np.array([action.name for action in Action], object)
_TIMES: Final = np.array([time.value for time in TimeInForce], object)
_REASONS: Final = np.array([reason.value for reason in RejectReason], object)
_WORDS: Final[Mapping[str, tuple[NDArray[Any], int]]] = {
    "action": (_ACTIONS, 0),
    "side": (_SIDES, 1),
    "aggressor_side": (_SIDES, 1),
    "time_in_force": (_TIMES, 0),
    "reason": (_REASONS, 0),
}
"""The words of each coded column, and what to add to a code to find its word."""

_LEVEL_COLUMNS: Final = ("price_ticks", "quantity_lots", "order_count")


def to_arrow(source: Source) -> Any:
    """Return a `pyarrow.Table`; `ConfigError` where pyarrow is not installed.

    >>> from lob import OrderBook
    >>> book = OrderBook()
    >>> _ = book.submit(1, Side.BUY, 5, 100)
    >>> to_arrow(book.depth(10)).to_pylist()
    [{'side': 'BUY', 'level': 1, 'price_ticks': 100, 'quantity_lots': 5, 'order_count': 1}]
    """
    return _package("pyarrow").table(dict(columns(source)))


def to_polars(source: Source) -> Any:
    """Return a `polars.DataFrame`; `ConfigError` where polars is not installed."""
    polars = _package("polars")
    return polars.DataFrame(
        {
            name: polars.Series(name, list(values)) if _is_words(values) else np.asarray(values)
            for name, values in columns(source).items()
        }
    )


def to_pandas(source: Source) -> Any:
    """Return a `pandas.DataFrame`; `ConfigError` where pandas is not installed."""
    return _package("pandas").DataFrame(dict(columns(source)))


def columns(source: Source) -> Columns:
    """Return the columns of a source by name.

    Raises:
        InvalidInput: an array of another type, or something else that is no source.
    """
    if isinstance(source, np.ndarray):
        return _of_array(source)
    if isinstance(source, tuple) and len(source) == len(Side) and isinstance(source[0], tuple):
        bids, asks = source
        if not isinstance(bids, RestingOrder):
            return _of_depth(bids, asks)
    orders = list(source)
    if not all(isinstance(order, RestingOrder) for order in orders):
        raise InvalidInput(f"source: {type(source).__name__}; allowed: an array, depth, or orders")
    return _of_orders(orders)


def _of_array(source: NDArray[Any]) -> Columns:
    if source.dtype not in (MESSAGE_DTYPE, TRADE_DTYPE, REFUSAL_DTYPE):
        raise InvalidInput(
            f"source: array of {source.dtype}; allowed: messages, trades or refusals"
        )
    found: dict[str, NDArray[Any]] = {}
    for name in source.dtype.names or ():
        values = np.ascontiguousarray(source[name])
        if name in _WORDS:
            words, shift = _WORDS[name]
            codes = values.astype(np.int64) + shift
            if ((codes < 0) | (codes >= len(words))).any():
                raise InvalidInput(f"{name}: a code that stands for nothing; allowed: those of lob")
            values = words[codes]
        found[name] = values
    return found


def _of_depth(bids: Iterable[Level], asks: Iterable[Level]) -> Columns:
    rows = [
        (side.value, number, *level)
        for side, levels in ((Side.BUY, bids), (Side.SELL, asks))
        for number, level in enumerate(levels, start=1)
    ]
    return _columns_of(("side", "level", *_LEVEL_COLUMNS), rows)


def _of_orders(orders: list[RestingOrder]) -> Columns:
    rows = [
        tuple(value.value if isinstance(value, str) else value for value in order)
        for order in orders
    ]
    return _columns_of(RestingOrder._fields, rows)


def _columns_of(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Columns:
    by_name = zip(*rows, strict=True) if rows else ((),) * len(names)
    return {name: _column(name, list(values)) for name, values in zip(names, by_name, strict=True)}


def _column(name: str, values: list[Any]) -> NDArray[Any]:
    if name in {"side", "stp"}:
        return np.array(values, object)
    if name in {"post_only", "hidden"}:
        return np.array(values, bool)
    if name == "expire_ns":
        return np.array([0 if value is None else value for value in values], np.int64)
    return np.array(values, np.int64)


def _is_words(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.hasobject


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"{name}: not installed; tables of it need it") from error
