"""The native book's C functions: what strategies in jitted or compiled code call."""

import ctypes
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self


class CFunctions(NamedTuple):
    """The book's C functions, typed for ctypes; numba calls them from jitted code too.

    Each takes `NativeOrderBook.handle` first and returns an int64; the rest are int64 as well.
    Below 0 is why not: -1 minus the place of a reason in `tuple(RejectReason)`, or -100 (no
    memory), -101 (the book is full), -102 (another thread is in it), -103 (no such side, time in
    force or mode, or a book that cannot be used any more).
    """

    submit: Any
    """(order_id, side, quantity_lots, price_ticks, time_in_force, display_lots, flags,
    participant_id) -> lots traded. Words as in a message; a price of 0 is a market order."""
    cancel: Any
    """(order_id) -> 0"""
    reduce: Any
    """(order_id, quantity_lots) -> 0"""
    replace: Any
    """(order_id, price_ticks, quantity_lots) -> lots traded"""
    advance: Any
    """(now_ns) -> 0"""
    feed_add: Any
    """(order_id, side, price_ticks, quantity_lots) -> 0"""
    feed_delete: Any
    """(order_id) -> 0"""
    feed_reduce: Any
    """(order_id, quantity_lots) -> 0"""
    feed_modify: Any
    """(order_id, price_ticks, quantity_lots) -> 0"""
    feed_execute: Any
    """(order_id, quantity_lots) -> 0"""
    best_price: Any
    """(side) -> ticks, 0 where nothing is shown"""
    best_lots: Any
    """(side) -> lots"""
    lots_at: Any
    """(side, price_ticks) -> lots shown"""
    leaves: Any
    """(order_id) -> lots, 0 where it does not rest"""
    lots_ahead: Any
    """(order_id) -> lots before it at its price"""
    order_count: Any
    """() -> orders that rest"""
    trade_count: Any
    """() -> trades so far"""

    @classmethod
    def at(cls, addresses: Mapping[str, int]) -> Self:
        """Return the functions that stand at these addresses, by their names."""
        number = ctypes.c_int64
        return cls(
            **{
                name: ctypes.CFUNCTYPE(number, ctypes.c_void_p, *[number] * _ARGUMENTS[name])(at)
                for name, at in addresses.items()
            }
        )


_ARGUMENTS: Final = {
    "submit": 8,
    "cancel": 1,
    "reduce": 2,
    "replace": 3,
    "advance": 1,
    "feed_add": 4,
    "feed_delete": 1,
    "feed_reduce": 2,
    "feed_modify": 3,
    "feed_execute": 2,
    "best_price": 1,
    "best_lots": 1,
    "lots_at": 2,
    "leaves": 1,
    "lots_ahead": 1,
    "order_count": 0,
    "trade_count": 0,
}
