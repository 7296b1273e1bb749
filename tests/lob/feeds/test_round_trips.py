"""What one format is written as and read back says the same, up to what it cannot say."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob import MESSAGE_DTYPE, Action, OrderBook
from lob.feeds import open_feed
from lob.feeds.arrays import TapeFeed
from lob.feeds.base import Feed, FeedBlock
from lob.feeds.writers import convert
from lob.messages import Array, Flag
from lob.types import Instrument
from tests.lob.feeds.tapes import COIN, SHARE, tapes

EXAMPLES = settings(max_examples=40, deadline=None)


def everything(feed: Feed) -> FeedBlock:
    """Return a feed's blocks as one, which may be empty."""
    nothing = np.zeros(0, np.int64)
    blocks = [FeedBlock(np.zeros(0, MESSAGE_DTYPE), nothing, nothing, nothing), *feed.blocks()]
    return FeedBlock(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def there_and_back(
    source: TapeFeed, ending: str, instrument: Instrument
) -> tuple[FeedBlock, Counter[str]]:
    """Write a feed and return what its reader then gives, and what could not be said."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        done = convert(source, path)
        feed = open_feed(path, format=done.format, instrument=instrument, block_rows=7)
        return everything(feed), done.left_out


def replayed(messages: Array) -> OrderBook:
    """Return the book that messages lead to; every one of them must be possible."""
    book = OrderBook()
    book.apply(messages)
    return book


@pytest.mark.parametrize("ending", [".parquet", ".npy"])
@EXAMPLES
@given(tape=tapes(), data=st.data())
def test_our_own_formats_keep_every_message(ending: str, tape: Array, data: st.DataObject) -> None:
    """All fields are equal; Parquet keeps times of receipt and sequences too."""
    many = st.lists(st.integers(0, 2**62), min_size=len(tape), max_size=len(tape))
    recv, sequences = (np.array(data.draw(many), np.int64) for _ in range(2))
    source = TapeFeed(tape, COIN, ts_recv_ns=recv, sequences=sequences, block_rows=11)

    back, left_out = there_and_back(source, ending, COIN)

    assert tape.tolist() == back.messages.tolist()
    assert Counter() == left_out
    if ending == ".parquet":
        assert recv.tolist() == back.ts_recv_ns.tolist()
        assert sequences.tolist() == back.sequences.tolist()


@pytest.mark.parametrize(
    ("ending", "instrument"), [(".csv", SHARE), (".csv", COIN), (".npz", SHARE), (".npz", COIN)]
)
@EXAMPLES
@given(tape=tapes())
def test_other_formats_lead_to_the_same_book(
    ending: str, instrument: Instrument, tape: Array
) -> None:
    """The same queues, trades and last price; only changes that change nothing are left out."""
    back, left_out = there_and_back(TapeFeed(tape, instrument), ending, instrument)

    ours, theirs = replayed(tape), replayed(back.messages)
    assert ours.state_hash() == theirs.state_hash()
    assert set(left_out) <= {"no_change"}
    theirs.check(crossed_allowed=True)


@EXAMPLES
@given(tape=tapes())
def test_hftbacktest_keeps_event_ends_and_snapshots(tape: Array) -> None:
    """The marks come back where Databento's own conversion puts them."""
    back, left_out = there_and_back(TapeFeed(tape, SHARE), ".npz", SHARE)
    marks = Flag.LAST | Flag.SNAPSHOT

    if not left_out:
        assert (tape["flags"] & marks).tolist() == back.messages["flags"].tolist()
        assert tape["ts_event_ns"].tolist() == back.messages["ts_event_ns"].tolist()


@EXAMPLES
@given(tape=tapes(), swap=st.integers(0, 29), by=st.integers(1, 10**10))
def test_what_cannot_be_said_is_counted(tape: Array, swap: int, by: int) -> None:
    """Times that go back and orders that were never there are counted, and the rest is written."""
    tape = tape.copy()
    later = tape["ts_event_ns"].copy()
    later[swap % len(tape)] += by
    tape["ts_event_ns"] = later
    unknown = np.zeros(1, MESSAGE_DTYPE)
    unknown["action"], unknown["order_id"] = Action.FEED_DELETE, 2**62
    unknown["ts_event_ns"] = later[-1]
    behind = int((later < np.maximum.accumulate(later)).sum())

    back, left_out = there_and_back(TapeFeed(np.concatenate((tape, unknown)), SHARE), ".csv", SHARE)

    assert 1 == left_out["unknown_order"]
    assert behind + (later[-1] < later.max()) == left_out["time_out_of_order"]
    assert (np.diff(back.messages["ts_event_ns"]) >= 0).all()


def test_commands_are_no_feed() -> None:
    """Orders sent, rather than seen, are counted by every writer that has no word for them."""
    tape = np.zeros(3, MESSAGE_DTYPE)
    tape["action"] = (Action.FEED_ADD, Action.SUBMIT, Action.SUBMIT)
    tape["order_id"], tape["side"] = (1, 2, 3), 1
    tape["price_ticks"] = tape["quantity_lots"] = 5

    for ending in (".csv", ".npz"):
        back, left_out = there_and_back(TapeFeed(tape, SHARE), ending, SHARE)
        assert {"command": 2} == dict(left_out)
        assert [1] == back.messages["order_id"].tolist()
    back, left_out = there_and_back(TapeFeed(tape, SHARE), ".npy", SHARE)
    assert (3, {}) == (len(back.messages), dict(left_out))
