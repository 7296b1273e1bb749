"""Commands and feed messages in bulk: one row of a numpy array each.

`MESSAGE_DTYPE` is what `OrderBook.apply` takes and what every reader of `lob.feeds` gives;
`TRADE_DTYPE` is what comes back. Both are C structs of 8-byte integers followed by single bytes, so
that native code reads them as they lie.
"""

from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np


class Action(IntEnum):
    """What a message asks for (commands), or says has happened (`FEED_`).

    SUBMIT takes every field but the order type's extras: stops and GTD orders need
    `OrderBook.submit`. REDUCE and FEED_REDUCE and FEED_EXECUTE take `quantity_lots` off; REPLACE
    and FEED_MODIFY set price and leaves. FEED_CLEAR empties the book of a venue that starts anew.
    """

    SUBMIT = 0
    CANCEL = 1
    REDUCE = 2
    REPLACE = 3
    FEED_ADD = 4
    FEED_DELETE = 5
    FEED_REDUCE = 6
    FEED_MODIFY = 7
    FEED_EXECUTE = 8
    FEED_CLEAR = 9


class Flag(IntFlag):
    """The bits of a message's `flags`; SUBMIT reads the first six, readers set the last two.

    The `STP_` values are one number of three bits, not bits of their own. LAST marks the end of one
    of the venue's events: until then its book may be between two states. SNAPSHOT marks an order
    of a snapshot, which was there before.
    """

    NONE = 0
    POST_ONLY = 1
    HIDDEN = 2
    MARKET = 4
    STP_CANCEL_NEWEST = 1 << 3
    STP_CANCEL_OLDEST = 2 << 3
    STP_CANCEL_BOTH = 3 << 3
    STP_DECREMENT_AND_CANCEL = 4 << 3
    STP_MASK = 7 << 3
    SNAPSHOT = 64
    LAST = 128


MESSAGE_DTYPE: Final = np.dtype(
    [
        ("ts_event_ns", "<i8"),
        ("order_id", "<i8"),
        ("price_ticks", "<i8"),
        ("quantity_lots", "<i8"),
        ("display_lots", "<i8"),
        ("action", "u1"),
        ("side", "i1"),
        ("time_in_force", "u1"),
        ("flags", "u1"),
    ],
    align=True,
)
"""One message, 48 bytes. `side` is `Side.sign` (+1 BUY, -1 SELL) where the action needs one: SUBMIT
and FEED_ADD; `time_in_force` counts GTC 0, IOC 1, FOK 2, DAY 3. A time of 0 is no time. Fields that
an action does not use are not looked at."""

TRADE_DTYPE: Final = np.dtype(
    [
        ("ts_event_ns", "<i8"),
        ("sequence", "<i8"),
        ("maker_order_id", "<i8"),
        ("taker_order_id", "<i8"),
        ("price_ticks", "<i8"),
        ("quantity_lots", "<i8"),
        ("aggressor_side", "i1"),
    ],
    align=True,
)
"""One trade, 56 bytes, with the time of the message that caused it. A FEED_EXECUTE trades with an
unknown taker: id 0."""

REFUSAL_DTYPE: Final = np.dtype(
    [("index", "<i8"), ("order_id", "<i8"), ("reason", "u1")], align=True
)
"""One message that `apply` could not use: its place in the array, and the place of its reason in
`tuple(RejectReason)`."""

CROSSING_DTYPE: Final = np.dtype([("first", "<i8"), ("end", "<i8")])
"""One stretch of feed messages after which the book was crossed: [first, end) in the array."""

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.void]
    """An array of one of the dtypes above."""
    Participants = NDArray[np.int64]
    """The participant of each message."""
else:
    # What only type checkers read is not worth half a millisecond of every import.
    Array = Participants = np.ndarray


class Applied(NamedTuple):
    """What one `apply` of messages came to: arrays of the three dtypes above.

    `crossings` holds the stretches of rows after which the book was crossed; only a feed makes
    it so.
    """

    trades: Array
    refusals: Array
    crossings: Array
