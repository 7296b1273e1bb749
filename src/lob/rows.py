"""Arrays of messages as rows of Python ints, a block at a time."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from lob.errors import InvalidInput
from lob.messages import MESSAGE_DTYPE, Action, Array

BLOCK_ROWS: Final = 2048
"""Rows decoded at a time, so that memory does not grow with the array."""

_SELDOM_OF_A_FEED: Final = ("ts_event_ns", "display_lots", "time_in_force", "flags")

Row = tuple[int, int, int, int, int, int, int, int, int, int]
"""Time, id, price, lots, display, action, side, time in force, flags, participant."""


class Stretch(NamedTuple):
    """Rows one after another that are all of a feed, or all commands: their columns, decoded."""

    start: int
    is_feed: bool
    columns: list[Sequence[int]]

    def feed_rows(self) -> Iterator[tuple[int, int, int, int, int, int, int]]:
        """Yield the index of each row with what a feed's messages have: no more is decoded."""
        _, order_ids, prices, lots, _, actions, sides, _, _, participants = self.columns
        return zip(
            itertools.count(self.start),
            order_ids,
            prices,
            lots,
            actions,
            sides,
            participants,
            strict=False,
        )

    def command_rows(self) -> Iterator[Row]:
        """Yield each row."""
        return cast("Iterator[Row]", zip(*self.columns, strict=False))

    def time_ns(self, index: int) -> int:
        """Return the time of the row with an index of the whole array."""
        return int(self.columns[0][index - self.start])


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
    """Return each field as a list of Python ints, and the participants.

    Of a feed's messages few say their time and none some other fields: those stay undecoded.
    """
    columns: list[Sequence[int]] = [
        cast("Sequence[int]", messages[name])
        if all_feed and name in _SELDOM_OF_A_FEED
        else messages[name].tolist()
        for name in MESSAGE_DTYPE.names or ()
    ]
    nobody = [0] * len(messages)
    return [*columns, nobody if participants is None else participants.tolist()]
