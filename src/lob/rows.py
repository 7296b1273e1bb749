"""Arrays of messages as rows of Python ints, a block at a time."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from lob.errors import InvalidInput
from lob.messages import MESSAGE_DTYPE, Action, Array, Flag

BLOCK_ROWS: Final = 2048
"""Rows decoded at a time, so that memory does not grow with the array."""

_UNREAD_OF_A_FEED: Final = ("display_lots", "time_in_force", "flags")
_SELDOM_READ_OF_A_FEED: Final = ("ts_event_ns", "price_ticks", "side")
"""The key says where an order rests; these are for trades, new levels and faults."""
ORDER_FLAGS: Final = int(Flag.POST_ONLY | Flag.HIDDEN | Flag.MARKET | Flag.STP_MASK)
"""The flags of a SUBMIT that make an order other than plain."""

NO_LEVEL: Final = 0
"""The key that no level has."""

Row = tuple[int, int, int, int, int, int, int, int, int, int, int]
"""Time, id, price, lots, display, action, side, time in force, flags, participant, key."""


class Stretch(NamedTuple):
    """Rows one after another that are all of a feed, or all commands: their columns, decoded."""

    start: int
    is_feed: bool
    columns: list[Sequence[int]]

    def feed_rows(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield the index of each row with what most of a feed's messages need."""
        _, order_ids, _, lots, _, actions, _, _, _, _, keys = self.columns
        return zip(itertools.count(self.start), order_ids, lots, actions, keys, strict=False)

    def cell(self, column: int, index: int) -> int:
        """Return one column of the row with an index."""
        return int(self.columns[column][index - self.start])

    def command_rows(self) -> Iterator[Row]:
        """Yield each row."""
        return cast("Iterator[Row]", zip(*self.columns, strict=False))


def require_messages(messages: Array, participants: NDArray[np.int64] | None) -> None:
    """Raise unless this is one row after another of messages, with a participant for each."""
    if not isinstance(messages, np.ndarray) or messages.dtype != MESSAGE_DTYPE:
        found = getattr(messages, "dtype", type(messages).__name__)
        raise InvalidInput(f"messages: {found}; allowed: a command, or an array of MESSAGE_DTYPE")
    if messages.ndim != 1:
        raise InvalidInput(f"messages: {messages.ndim} dimensions; allowed: 1")
    if participants is None:
        return
    if not isinstance(participants, np.ndarray) or participants.dtype != np.int64:
        found = getattr(participants, "dtype", type(participants).__name__)
        raise InvalidInput(f"participants: {found}; allowed: an array of int64")
    if participants.shape != messages.shape:
        raise InvalidInput(
            f"participants: shape {participants.shape}; allowed: {messages.shape}, as the messages"
        )


def stretches(messages: Array, participants: NDArray[np.int64] | None) -> Iterator[Stretch]:
    """Decode messages, a block at a time, and part what a feed says from commands."""
    for first in range(0, len(messages), BLOCK_ROWS):
        block = messages[first : first + BLOCK_ROWS]
        is_feed = block["action"] >= Action.FEED_ADD.value
        cuts = np.flatnonzero(is_feed[1:] != is_feed[:-1]) + 1
        columns = _columns(
            block,
            None if participants is None else participants[first:][: len(block)],
            all_feed=bool(is_feed.all()),
        )
        bounds = [0, *cuts.tolist(), len(block)]
        for start, end in itertools.pairwise(bounds):
            whole = end - start == len(block)
            part = columns if whole else [column[start:end] for column in columns]
            yield Stretch(first + start, bool(is_feed[start]), part)


def _columns(
    messages: Array, participants: NDArray[np.int64] | None, *, all_feed: bool
) -> list[Sequence[int]]:
    """Return each field as a list of Python ints, then the participants and the keys.

    Where all are of a feed, what they do not have is left out, and what few of them need stays an
    array: `Stretch.cell` looks there.
    """
    columns: list[Sequence[int]] = []
    for name in MESSAGE_DTYPE.names or ():
        if all_feed and name in _UNREAD_OF_A_FEED:
            columns.append(())
        elif all_feed and name in _SELDOM_READ_OF_A_FEED:
            columns.append(cast("Sequence[int]", messages[name].copy()))
        else:
            columns.append(messages[name].tolist())
    who = np.zeros(len(messages), np.int64) if participants is None else participants.copy()
    columns.append(cast("Sequence[int]", who) if all_feed else who.tolist())
    return [*columns, _keys(messages, participants, all_feed=all_feed).tolist()]


def _keys(
    messages: Array, participants: NDArray[np.int64] | None, *, all_feed: bool
) -> NDArray[np.int64]:
    """Return for each row the key of the level where a bare order of its fields would rest.

    It is 0, which is no level's key, where a field is out of range or the order is not plain, or
    not anonymous: what has another key needs no further look at its fields. Rows that bring no
    order have keys too.
    """
    prices, sides = messages["price_ticks"], messages["side"]
    bare = (sides == 1) | (sides == -1)
    for name in ("order_id", "price_ticks", "quantity_lots"):
        bare &= messages[name] > 0
    if participants is not None:
        bare &= participants == 0
    if not all_feed:
        special = (messages["display_lots"] != 0) | (messages["time_in_force"] != 0)
        special |= (messages["flags"] & ORDER_FLAGS) != 0
        bare &= ~special | (messages["action"] >= Action.FEED_ADD.value)
    found: NDArray[np.int64] = np.where(bare, prices * -sides, NO_LEVEL)
    return found
