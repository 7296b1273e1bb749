"""Whole blocks of LOBSTER lines say what the lines say one by one, and what is wrong with one."""

from pathlib import Path

import numpy as np
import pytest

from lob import OrderBook
from lob.errors import InvalidInput
from lob.feeds.base import FeedBlock
from lob.feeds.lobster import LobsterReader
from lob.feeds.lobster_feed import LobsterFeed
from lob.messages import Action, Array, Flag
from lob.replay import LobsterReplay
from tests.lob.feeds.tapes import SHARE

AAPL = "AAPL_2012-06-21_34200000_37800000_message_50.csv"


def feed_of(path: Path, *lines: str, block_rows: int = 2, start_orders: bool = True) -> LobsterFeed:
    """Write lines to a file and return its reader."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="latin-1")
    return LobsterFeed(path, SHARE, block_rows=block_rows, start_orders=start_orders)


def rows_of(blocks: list[FeedBlock]) -> list[tuple[int, ...]]:
    """Return (time, action, id, side, price, lots, flags, position) of every message."""
    return [
        (*(int(message[name]) for name in names), int(position))
        for block in blocks
        for message, position in zip(block.messages, block.positions, strict=True)
        for names in [
            ("ts_event_ns", "action", "order_id", "side", "price_ticks", "quantity_lots", "flags")
        ]
    ]


def test_lines_become_messages(tmp_path: Path) -> None:
    """What rested before comes first; hidden executions, crosses and halts are counted."""
    feed = feed_of(
        tmp_path / "m.csv",
        "34200.000000001,4,7,3,1010000,-1",
        "34200.1,1,100,5,1000000,1",
        "34200.1,5,0,1,1005050,-1",
        "34201,2,100,1,1000000,1",
        "34201.5,7,0,0,-1,-1",
        "34202,3,7,2,1010000,-1",
        "34202.0123456789,3,100,4,1000000,1",
    )
    start_ns = 34_200_000_000_001

    rows = rows_of(list(feed.blocks()))

    assert [
        (start_ns, Action.FEED_ADD, 7, -1, 10_100, 5, Flag.SNAPSHOT, 1),
        (start_ns, Action.FEED_EXECUTE, 7, -1, 10_100, 3, 0, 1),
        (34_200_100_000_000, Action.FEED_ADD, 100, 1, 10_000, 5, 0, 2),
        (34_201_000_000_000, Action.FEED_REDUCE, 100, 1, 10_000, 1, 0, 4),
        (34_202_000_000_000, Action.FEED_DELETE, 7, -1, 10_100, 2, 0, 6),
        (34_202_012_345_678, Action.FEED_DELETE, 100, 1, 10_000, 4, 0, 7),
    ] == rows
    assert (7, 6) == (feed.summary.records, feed.summary.messages)
    assert {"hidden_execution": 1, "trading_halt": 1} == dict(feed.summary.unusable)
    assert {"hidden_execution": 3, "trading_halt": 5} == feed.summary.first_unusable
    assert feed.bytes_done == feed.bytes_total == feed.path.stat().st_size


def test_reading_again_starts_anew(tmp_path: Path) -> None:
    """Counts are those of the last reading, and start orders can be left out."""
    feed = feed_of(tmp_path / "m.csv", "1,4,7,3,1010000,-1", start_orders=False)

    for _ in range(2):
        assert [(10**9, Action.FEED_EXECUTE, 7, -1, 10_100, 3, 0, 1)] == rows_of(
            list(feed.blocks())
        )
        assert 1 == feed.summary.messages


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n"])
@pytest.mark.parametrize("block_rows", [1, 2, 1000])
def test_line_ends_and_blocks_make_no_difference(
    tmp_path: Path, ending: str, last: str, block_rows: int
) -> None:
    """The same messages come out of any cut, and with either line end or none at the end."""
    lines = [f"{second}.5,1,{second + 10},5,1000000,1" for second in range(5)]
    path = tmp_path / "m.csv"
    path.write_text(ending.join(lines) + last, encoding="ascii", newline="")

    rows = rows_of(list(LobsterFeed(path, SHARE, block_rows=block_rows).blocks()))

    assert [second + 10 for second in range(5)] == [row[2] for row in rows]
    assert [second * 10**9 + 5 * 10**8 for second in range(5)] == [row[0] for row in rows]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,1,11,18,5853300", "5 fields"),
        ("1,9,11,18,5853300,1", "type: '9'"),
        ("x,1,11,18,5853300,1", "time: 'x'"),
        ("1,1,11,18,5853350,1", "price: 5853350"),
        ("1,1,11,18,0,1", "price: 0"),
        ("1,1,-1,18,5853300,1", "order id: -1"),
        ("1,1,11,-3,5853300,1", "size: -3"),
        ("1,1,11,18,5853300,2", "direction: 2"),
        ("1,1,11,1_8,5853300,1", "invalid literal '1_8'"),
        ("1,1,11,,5853300,1", "invalid literal ''"),
        ("1,1,99999999999999999999,18,5853300,1", "order id: 99999999999999999999"),
        ("0.5,1,11,18,5853300,1", "time: 500000000 ns; allowed: 600000000 or later"),
        ("99999999999999999999,1,11,18,5853300,1", "or later"),
        ("1,1,11,18,5853300,\xe9", "not ASCII"),
        ("1" * 70_000, "longer than"),
        ("", "1 fields"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    """File, line and field are in the fault, whichever block the line is in."""
    good = [f"0.6,1,{number},18,5853300,1" for number in range(1, 4)]
    feed = feed_of(tmp_path / "m.csv", *good, line, start_orders=False)

    with pytest.raises(InvalidInput) as caught:
        list(feed.blocks())

    assert str(caught.value).startswith(f"{feed.path}:4: ")
    assert message in str(caught.value)


def test_numbers_of_nineteen_digits_are_exact(tmp_path: Path) -> None:
    """What is too long for the fast way is read line by line, to the last digit."""
    lots = 2**63 - 1
    feed = feed_of(tmp_path / "m.csv", f"1,1,{lots},{lots},100,1")

    (row,) = rows_of(list(feed.blocks()))

    assert (lots, lots) == (row[2], row[5])


def test_an_hour_of_aapl_is_what_its_lines_say(market_data: Path) -> None:
    """Field by field, the blocks equal the lines; the rebuilt book equals the replayed one."""
    path = market_data / "lobster" / AAPL
    feed = LobsterFeed(path, LobsterFeed.default_instrument(path))
    messages: Array = np.concatenate([block.messages for block in feed.blocks()])
    used = messages[messages["flags"] == 0]
    lines = [line for line in LobsterReader(path) if line.price_ticks]

    for name, expected in (
        ("ts_event_ns", [line.time_ns for line in lines]),
        ("order_id", [line.order_id for line in lines]),
        ("price_ticks", [line.price_ticks for line in lines]),
        ("quantity_lots", [line.quantity_lots for line in lines]),
        ("side", [line.side.sign for line in lines]),
    ):
        assert expected == used[name].tolist()
    book = OrderBook()
    book.apply(messages, strict=False)
    replay = LobsterReplay(path)
    assert 44 == replay.run().unusable["unknown_order"] == len(book.last_apply.refusals)
    assert replay.book.state_hash() == book.state_hash()
