"""hftbacktest's files: which events are ours, what a fill means, and floats that are whole."""

import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from lob.errors import InvalidInput
from lob.feeds.hftbacktest import (
    ADD,
    BUY_EVENT,
    CANCEL,
    CLEAR,
    EVENT_DTYPE,
    EXCH_EVENT,
    FILL,
    LOCAL_EVENT,
    MODIFY,
    SELL_EVENT,
    TRADE,
    HftBacktestFeed,
    Scale,
)
from lob.messages import Action, Flag
from tests.lob.feeds.tapes import COIN, SHARE

BOTH = EXCH_EVENT | LOCAL_EVENT
BUY, SELL = BOTH | BUY_EVENT, BOTH | SELL_EVENT

Event = tuple[int, int, int, float, float, int, int, float]


def event(ev: int, order_id: int = 0, px: float = 0.0, qty: float = 0.0, at: int = 1) -> Event:
    """Return one event; it arrives 5 ns after `at`."""
    return (ev, at, at + 5, px, qty, order_id, 0, 0.0)


def feed_of(path: Path, *events: Event, clock: str = "exchange") -> HftBacktestFeed:
    """Write events as hftbacktest does and return the file's reader."""
    np.savez_compressed(path, data=np.array(list(events), EVENT_DTYPE))
    return HftBacktestFeed(path, SHARE, clock=clock, block_rows=3)


def said(feed: HftBacktestFeed) -> list[tuple[int, ...]]:
    """Return (action, id, side, price, lots) of every message."""
    return [
        (Action(row["action"]), *(int(row[name]) for name in names))
        for block in feed.blocks()
        for row in block.messages
        for names in [("order_id", "side", "price_ticks", "quantity_lots")]
    ]


def test_a_fill_is_an_execution_when_its_order_changes(tmp_path: Path) -> None:
    """Filled in part and modified, filled and cancelled, filled and refreshed behind the others."""
    feed = feed_of(
        tmp_path / "x.npz",
        event(BUY | ADD, 1, 10.01, 5.0),
        event(BUY | FILL, 1, 10.01, 2.0),
        event(BUY | MODIFY, 1, 10.01, 3.0),
        event(BUY | FILL, 1, 10.01, 1.0),
        event(BUY | FILL, 1, 10.01, 2.0),
        event(BUY | CANCEL, 1, 10.01, 3.0),
        event(SELL | ADD, 2, 10.02, 4.0),
        event(SELL | FILL, 2, 10.02, 4.0),
        event(SELL | MODIFY, 2, 10.02, 4.0),
        event(SELL | FILL, 2, 10.02, 1.0),
        event(SELL | CANCEL, 2, 10.02, 3.0),
        event(SELL | FILL, 9, 10.02, 1.0),
    )

    assert [
        (Action.FEED_ADD, 1, 1, 1001, 5),
        (Action.FEED_EXECUTE, 1, 1, 1001, 2),
        (Action.FEED_EXECUTE, 1, 1, 1001, 3),
        (Action.FEED_ADD, 2, -1, 1002, 4),
        (Action.FEED_EXECUTE, 2, -1, 1002, 4),
        (Action.FEED_ADD, 2, -1, 1002, 4),
        (Action.FEED_EXECUTE, 2, -1, 1002, 1),
        (Action.FEED_DELETE, 2, -1, 1002, 3),
    ] == said(feed)
    assert {"fill_without_change": 1} == dict(feed.summary.unusable)
    assert {"fill_without_change": 12} == feed.summary.first_unusable


@pytest.mark.parametrize(
    ("clock", "ids", "times"), [("exchange", [1, 3], [1, 1]), ("local", [1, 2], [6, 6])]
)
def test_each_clock_has_its_events(
    tmp_path: Path, clock: str, ids: list[int], times: list[int]
) -> None:
    """An event that is for one side only is another clock's for the other."""
    feed = feed_of(
        tmp_path / "x.npz",
        event(BUY | ADD, 1, 10.0, 5.0),
        event((BUY | ADD) & ~EXCH_EVENT, 2, 10.0, 5.0),
        event((BUY | ADD) & ~LOCAL_EVENT, 3, 10.0, 5.0),
        clock=clock,
    )

    blocks = list(feed.blocks())

    assert ids == [int(at) for block in blocks for at in block.messages["order_id"]]
    assert times == [int(at) for block in blocks for at in block.messages["ts_event_ns"]]
    assert {"other_clock": 1} == dict(feed.summary.unusable)


def test_what_is_no_order_is_counted_where_it_stands(tmp_path: Path) -> None:
    """Every event that says nothing of a queue has its reason and first position."""
    feed = feed_of(
        tmp_path / "x.npz",
        event(BUY | TRADE, 0, 10.0, 1.0),
        event(BOTH | CLEAR),
        event(BUY | CLEAR, 0, 10.0),
        event(BOTH | ADD, 1, 10.0, 1.0),
        event(BUY | ADD, 0, 10.0, 1.0),
        event(BUY | ADD, 2, 10.005, 1.0),
        event(BUY | ADD, 3, 10.0, 1.5),
        event(BUY | ADD, 4, float("nan"), 1.0),
        event(BUY | ADD, 5, 10.0, -1.0),
        event(BUY | ADD, 6, 10.0, float("inf")),
        event(BUY | ADD, 7, 10.0, 1.0, at=-3),
        event(BUY | ADD, 2**64 - 1, 10.0, 1.0),
    )

    assert [(Action.FEED_CLEAR, 0, 0, 0, 0)] == said(feed)
    assert {
        "no_order_event": 1,
        "one_sided_clear": 3,
        "no_side": 4,
        "order_id_out_of_range": 5,
        "price_off_tick": 6,
        "quantity_off_lot": 7,
        "time_out_of_range": 11,
    } == feed.summary.first_unusable
    assert (12, 1) == (feed.summary.records, feed.summary.messages)
    assert 11 == sum(feed.summary.unusable.values())


def test_flags_of_databento_are_marks(tmp_path: Path) -> None:
    """`ival` holds the source's flags: 128 ends an event, 32 is of a snapshot."""
    rows = [
        (*event(BUY | ADD, number, 10.0, 1.0)[:6], flags, 0.0)
        for number, flags in ((1, 32), (2, 160), (3, 128))
    ]
    feed = feed_of(tmp_path / "x.npz", *rows)

    flags = [int(at) for block in feed.blocks() for at in block.messages["flags"]]

    assert [Flag.SNAPSHOT, Flag.SNAPSHOT | Flag.LAST, Flag.LAST] == flags


@pytest.mark.parametrize("units", [1, 3, 58_533, 10**12 + 7, 2**52 + 1])
@pytest.mark.parametrize("size", ["0.01", "0.25", "0.00000001", "1", "5", "0.0000125"])
def test_units_come_back_from_floats(units: int, size: str) -> None:
    """What the scale says it holds is exact there and back, noise of a float included."""
    scale = Scale.of("tick_size", Decimal(size))
    if not scale.holds(units):
        return
    floats = scale.floats(np.array([units], np.int64))

    for value in (floats[0], np.float64(Decimal(size) * units)):
        back, wrong = scale.units(np.array([value]))
        assert (units, False) == (int(back[0]), bool(wrong[0]))


def test_npy_files_are_read_too(tmp_path: Path) -> None:
    """A `.npy` and a `.npz` are both what hftbacktest writes."""
    path = tmp_path / "x.npy"
    np.save(path, np.array([event(SELL | ADD, 1, 64_934.31, 0.05362050)], EVENT_DTYPE))

    assert HftBacktestFeed.sniff(path, path.read_bytes()[:65_536])
    feed = HftBacktestFeed(path, COIN)
    assert [(Action.FEED_ADD, 1, -1, 6_493_431, 5_362_050)] == said(feed)


@pytest.mark.parametrize("cut", [3, 40, 200, -30, -1])
def test_a_file_cut_short_is_named(tmp_path: Path, cut: int) -> None:
    """Wherever a file ends too early, its name is in the fault."""
    path = tmp_path / "x.npz"
    feed = feed_of(path, *[event(BUY | ADD, number, 10.0, 1.0) for number in range(1, 50)])
    path.write_bytes(path.read_bytes()[:cut])

    with pytest.raises(InvalidInput, match=r"x\.npz"):
        list(feed.blocks())


def test_other_arrays_are_named(tmp_path: Path) -> None:
    """Another type, another member and objects are refused."""
    path = tmp_path / "x.npz"
    for arrays in (
        {"data": np.zeros(3)},
        {"other": np.zeros(1, EVENT_DTYPE)},
        {"data": np.array([{}], object)},
        {"data": np.zeros((2, 2), EVENT_DTYPE)},
    ):
        np.savez(path, **arrays)
        with pytest.raises(InvalidInput, match=r"x\.npz: "):
            list(HftBacktestFeed(path, SHARE).blocks())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", b"nonsense")
    with pytest.raises(InvalidInput, match=r"x\.npz: not a numpy array"):
        list(HftBacktestFeed(path, SHARE).blocks())
    with pytest.raises(InvalidInput, match="clock: 'mine'; allowed: exchange, local"):
        HftBacktestFeed(path, SHARE, clock="mine")
