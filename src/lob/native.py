"""The native order book: `lob.book.OrderBook` in C++, with the same rules, answers and state hash.

Commands, feed messages and arrays of them are carried out in `lob._core`; what is here is asked
less often. Importing this module where the extension was not built is an `ImportError`.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, overload

import numpy as np

from lob import _core
from lob.errors import InvalidInput, InvariantViolation
from lob.messages import Array, Participants
from lob.types import (
    INT64_MAX,
    Allocation,
    BookSnapshot,
    Cancel,
    Command,
    Event,
    Level,
    Reduce,
    Replace,
    RestingOrder,
    SelfTradePrevention,
    Side,
    Submit,
    Walk,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lob.c_functions import CFunctions
    from lob.instrument import Instrument

__all__ = ["CompiledTape", "NativeOrderBook", "c_functions"]

MAX_LEVELS_LOOKED_AT: Final = 1_000
"""Of a depth for many moments at once: the memory for all of them is there from the start."""


def c_functions() -> "CFunctions":
    """Return the book's C functions, for strategies in jitted or compiled code.

    >>> book, c = NativeOrderBook(), c_functions()
    >>> c.submit(book.handle, 1, +1, 5, 100, 0, 0, 0, 0), c.best_price(book.handle, +1)
    (0, 100)
    """
    from lob.c_functions import CFunctions  # noqa: PLC0415 - few need it, and it loads ctypes

    return CFunctions.at(_core.c_addresses)


def _packed(array: Any) -> Any:
    """Return an array as it lies, or a copy without the gaps of a strided one."""
    return np.ascontiguousarray(array) if isinstance(array, np.ndarray) and array.ndim else array


def _require_whole(name: str, value: object) -> None:
    # As `lob.faults` has it, which a native book does not import.
    if type(value) is not int:
        raise InvalidInput(f"{name}: {value!r}; allowed: a whole number, 1..{INT64_MAX}")


Sequence.register(_core.Events)


class CompiledTape(_core.CompiledTape):
    """Messages resolved once, against a new book, for repeated replays into new books (rule 40).

    Raises `InvalidInput` for an array of another dtype or shape. A row that is a fault is one when
    the tape is applied. O(messages); it keeps a copy of them.
    """

    def __init__(
        self,
        messages: Array,
        *,
        participants: Participants | None = None,
        strict: bool = True,
    ) -> None:
        """Resolve the messages; `participants` names the participant of each row."""
        super().__init__(_packed(messages), participants=_packed(participants), strict=strict)


MAX_TRADE_SEQUENCE: Final = 1 << 62
"""What a snapshot may say of trades so far, so that the count has room to go on."""

_MAX_NODES: Final = 2**31 - 1
_MAX_TRACKED: Final = 2**31 - 2


class NativeOrderBook(_core.Book):
    """Hold one instrument's resting orders and match new ones against them.

    It is `lob.book.OrderBook` in native code, and keeps the same rules. Calls return their events
    as an immutable sequence that equals the tuple of them; they are made when somebody looks. A
    book is used by one thread at a time: while `apply` has an array in hand, which leaves the
    interpreter's lock to others, any other use of the same book is a `Conflict`.

    >>> book = NativeOrderBook()
    >>> _ = book.submit(1, Side.SELL, 5, 101)
    >>> for event in book.submit(2, Side.BUY, 8, 101): print(type(event).__name__)
    Accepted
    Traded
    >>> book.best_bid()
    Level(price_ticks=101, quantity_lots=3, order_count=1)
    """

    def __init__(
        self,
        instrument: "Instrument | None" = None,
        *,
        max_tracked_orders: int = 10_000,
        max_nodes: int = _MAX_NODES,
    ) -> None:
        """Make an empty book.

        `max_nodes` bounds orders and levels together: what would go beyond is `Overloaded`, and
        nothing happens.
        """
        for name, value, highest in (
            ("max_tracked_orders", max_tracked_orders, _MAX_TRACKED),
            ("max_nodes", max_nodes, _MAX_NODES),
        ):
            if type(value) is not int or not 0 <= value <= highest:
                raise InvalidInput(f"{name}: {value!r}; allowed: 0..{highest}")
        self.instrument = instrument
        pro_rata, minimum_lots, close_ns = False, 1, 0
        if instrument is not None:
            try:
                pro_rata = instrument.allocation == Allocation.PRO_RATA
                minimum_lots = instrument.minimum_allocation_lots
                close_ns = instrument.day_close_ns
            except AttributeError:
                raise InvalidInput(f"instrument: {instrument!r}; allowed: an Instrument") from None
        super().__init__(pro_rata, minimum_lots, close_ns, max_tracked_orders, max_nodes)

    # ---------------------------------------------------------------- commands

    @overload
    def apply(self, command: Command) -> Sequence[Event]: ...

    @overload
    def apply(
        self,
        command: Array,
        *,
        participants: Participants | None = None,
        strict: bool = True,
    ) -> Array: ...

    @overload
    def apply(self, command: _core.CompiledTape) -> Array: ...

    def apply(
        self,
        command: Command | Array | _core.CompiledTape,
        *,
        participants: Participants | None = None,
        strict: bool = True,
    ) -> Sequence[Event] | Array:
        """Carry out one command and return its events, in the order they happened.

        Or carry out an array of `MESSAGE_DTYPE`, or a tape compiled of one, and return its trades
        (rules 39 and 40); `last_apply` has its refusals. `participants` names the participant of
        each row. Raises as rule 39 says, and `Conflict` for a tape where the book is not new.
        """
        match command:
            case Submit():
                return self._submit(command)
            case Cancel():
                return self.cancel(command.order_id)
            case Reduce():
                return self.reduce(command.order_id, command.quantity_lots)
            case Replace():
                return self.replace(command.order_id, command.price_ticks, command.quantity_lots)
            case _core.CompiledTape():
                return self._apply_tape(command)
            case _:
                return self._apply_messages(_packed(command), _packed(participants), bool(strict))

    def apply_and_look(
        self, messages: Array, ends: "NDArray[np.int64]", levels: int
    ) -> "NDArray[np.int64]":
        """Carry out an array as `apply` does with `strict=False`; return the depth along the way.

        `ends` grow: after so many messages each. What is displayed then is `[ends, bids and asks,
        levels, (price, lots, orders)]`, zeros where there are fewer levels. Raises as `apply`, and
        `InvalidInput` for ends that do not grow or go beyond the messages. O(messages + levels).
        """
        if not 0 < levels <= MAX_LEVELS_LOOKED_AT:
            raise InvalidInput(f"levels: {levels!r}; allowed: 1..{MAX_LEVELS_LOOKED_AT}")
        found = np.zeros((len(ends), 2, levels, 3), np.int64)
        self._apply_and_look(_packed(messages), np.ascontiguousarray(ends), levels, found.ravel())
        return found

    # ---------------------------------------------------------------- questions

    @property
    def last_trade_ticks(self) -> int | None:
        """Return the price of the last trade, None before the first."""
        return self._last_trade or None

    def spread_ticks(self) -> int | None:
        """Return best ask minus best bid in ticks; None unless both sides are there."""
        bid, ask = self.best_bid(), self.best_ask()
        return None if bid is None or ask is None else ask.price_ticks - bid.price_ticks

    def mid_ticks(self) -> float | None:
        """Return the mean of best bid and ask in ticks; None unless both sides are there."""
        bid, ask = self.best_bid(), self.best_ask()
        return None if bid is None or ask is None else (bid.price_ticks + ask.price_ticks) / 2

    def depth(self, levels: int) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Return up to `levels` bid levels and ask levels, best first."""
        if not isinstance(levels, int) or levels < 0:
            raise InvalidInput(f"levels: {levels!r}; allowed: a whole number, 0 or more")
        most = min(levels, INT64_MAX)
        return self._levels(Side.BUY, most), self._levels(Side.SELL, most)

    def level(self, side: Side, price_ticks: int) -> Level | None:
        """Return the level at a price, or None where nobody shows anything. O(1)."""
        _require_whole("price_ticks", price_ticks)
        return self._level(side, price_ticks)

    def orders(self, side: Side | None = None) -> Iterator[RestingOrder]:
        """Yield resting orders by priority: bids, then asks, or one side only.

        At one price the displayed orders come before the hidden ones, each class by time. They are
        the orders of the moment of the call.
        """
        return iter(self._orders(side))

    def first_order(self, side: Side, price_ticks: int) -> RestingOrder | None:
        """Return the order that trades first at a price, or None where nobody rests. O(1)."""
        _require_whole("price_ticks", price_ticks)
        return self._first_order(side, price_ticks)

    def stops(self, side: Side | None = None) -> Iterator[Submit]:
        """Yield the stops that wait: BUY lowest stop price first, SELL highest first, then time."""
        return iter(self._stops(side))

    def walk(
        self,
        side: Side,
        quantity_lots: int,
        limit_ticks: int | None = None,
        *,
        participant_id: int = 0,
        stp: SelfTradePrevention = SelfTradePrevention.NONE,
    ) -> Walk:
        """Return what an aggressor of `side` would get now, without touching anything.

        It is what an IOC order of the same quantity, limit, participant and mode trades, hidden
        lots and reserves included. Raises `InvalidInput` for a bad quantity, limit or mode.
        O(levels reached); with a mode and a participant, O(orders reached).
        """
        return self._walk(side, quantity_lots, limit_ticks, participant_id, stp)

    # ---------------------------------------------------------------- whole-book state

    def snapshot(self) -> BookSnapshot:
        """Return everything that decides what the book does next. O(orders)."""
        return BookSnapshot(
            self.instrument,
            tuple(self._orders(None)),
            tuple(self._stops(None)),
            self.trade_count,
            self.last_trade_ticks,
            self.now_ns,
        )

    @classmethod
    def restore(cls, snapshot: BookSnapshot) -> Self:
        """Return a book that behaves as the one the snapshot was taken of; nothing is tracked.

        Raises `InvalidInput` or `Conflict` where no book can be in that state, or where orders or
        stops do not come by priority.
        """
        if not isinstance(snapshot, BookSnapshot):
            raise InvalidInput(f"snapshot: {snapshot!r}; allowed: a BookSnapshot")
        last_trade = snapshot.last_trade_ticks
        for name, value, low, highest in (
            ("trade_sequence", snapshot.trade_sequence, 0, MAX_TRADE_SEQUENCE),
            ("last_trade_ticks", 1 if last_trade is None else last_trade, 1, INT64_MAX),
            ("now_ns", snapshot.now_ns, 0, INT64_MAX),
        ):
            if type(value) is not int or not low <= value <= highest:
                raise InvalidInput(f"snapshot: {name}: {value!r}; allowed: {low}..{highest}")
        book = cls(snapshot.instrument)
        book._restore_counts(snapshot.trade_sequence, last_trade or 0, snapshot.now_ns)
        for order in snapshot.orders:
            book._restore_order(order)
        for stop in snapshot.stops:
            book._restore_stop(stop)
        if book.snapshot() != snapshot:
            raise InvalidInput("snapshot: its orders or stops are not in order of priority")
        try:
            book.check(crossed_allowed=True)
        except InvariantViolation as error:
            raise InvalidInput(f"snapshot: {error}") from error
        return book

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Say how a book is copied: it cannot be pickled, nor copied by `copy`."""
        raise TypeError(
            "a native book is not pickled or copied; pickle book.snapshot(), and restore it: "
            "NativeOrderBook.restore(snapshot)"
        )

    def state_hash(self) -> str:
        """Return a hash that two books share exactly when they will behave the same (rule 43).

        The format is in `lob.state_hash`. O(orders).
        """
        from hashlib import blake2b  # noqa: PLC0415 - it takes longer to import than all of this

        return blake2b(self.state_bytes(), digest_size=16).hexdigest()

    def check(self, *, crossed_allowed: bool = False) -> None:
        """Raise `InvariantViolation` unless every index agrees with every other. O(orders)."""
        self._check(crossed_allowed)
