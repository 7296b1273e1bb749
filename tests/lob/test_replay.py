"""A book rebuilt from a file is held against the venue's own, and what differs is explained."""

from pathlib import Path

import pytest

from lob.errors import InvalidInput
from lob.replay import MAX_REPORTED, LobsterReplay, ReplaySummary
from lob.types import Level, Side


def replayed(
    folder: Path, messages: list[str], rows: list[str] | None = None, depth: int = 1
) -> tuple[LobsterReplay, ReplaySummary]:
    """Write small files, replay them, and return the replay and its summary."""
    message_file, row_file = folder / "messages.csv", folder / "rows.csv"
    message_file.write_text("\n".join(messages), encoding="utf-8")
    if rows is not None:
        row_file.write_text("\n".join(rows), encoding="utf-8")
    replay = LobsterReplay(message_file, None if rows is None else row_file, depth=depth)
    return replay, replay.run()


def test_a_book_is_rebuilt_and_agrees(tmp_path: Path) -> None:
    """Every message moves the book as the venue's rows say; reductions remove their size."""
    replay, summary = replayed(
        tmp_path,
        [
            "1,1,10,5,1000000,1",
            "2,1,11,7,1010000,-1",
            "3,2,11,2,1010000,-1",
            "4,4,11,1,1010000,-1",
            "5,5,0,1,1005000,-1",
            "6,1,12,9,1000000,1",
            "7,3,10,5,1000000,1",
        ],
        [
            "9999999999,0,1000000,5",
            "1010000,7,1000000,5",
            "1010000,5,1000000,5",
            "1010000,4,1000000,5",
            "1010000,4,1000000,5",
            "1010000,4,1000000,14",
            "1010000,4,1000000,9",
        ],
    )

    assert summary.agrees
    assert (7, 7) == (summary.rows_agreeing, summary.rows_compared)
    assert replay.book.best_ask() == Level(10100, 4, 1)
    assert replay.book.best_bid() == Level(10000, 9, 1)
    assert 1 == replay.book.trade_count
    assert {"hidden_execution": 1} == dict(summary.unusable)


def test_orders_from_before_the_file_are_found_in_it(tmp_path: Path) -> None:
    """An id below the first add's rested from the start; one above it was added out of sight."""
    replay, summary = replayed(
        tmp_path,
        [
            "1,1,100,5,1000000,1",
            "2,4,7,3,1010000,-1",
            "3,3,7,2,1010000,-1",
            "4,3,105,9,900000,1",
        ],
    )

    assert 1 == summary.initial_orders
    assert replay.book.best_ask() is None
    assert {"unknown_order": 1} == dict(summary.unusable)
    assert [4] == summary.unknown


def test_rows_only_where_the_level_changes_are_lined_up(tmp_path: Path) -> None:
    """Messages behind the touch have no row; a hidden execution repeats one; rows may go on."""
    _, summary = replayed(
        tmp_path,
        [
            "1,1,100,5,1000000,1",
            "2,3,7,3,1010000,-1",
            "3,1,101,5,990000,1",
            "4,5,0,1,1005000,-1",
            "5,1,102,2,1020000,-1",
        ],
        [
            "1010000,3,1000000,5",
            "9999999999,0,1000000,5",
            "9999999999,0,1000000,5",
            "1020000,2,1000000,5",
            "1030000,2,1000000,5",
            "1040000,2,1000000,5",
        ],
    )

    assert summary.agrees
    assert 4 == summary.rows_compared


TWO_LEVEL_MESSAGES = [
    "1,1,100,5,1000000,1",
    "2,1,101,4,990000,1",
    "3,1,102,3,980000,1",
    "4,1,103,2,1000000,1",
]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_rows_line_up_with_the_file_s_levels_whatever_is_compared(
    tmp_path: Path, depth: int
) -> None:
    """A row is due where the file's own levels change, and no more levels than it has compare."""
    replay, summary = replayed(
        tmp_path,
        TWO_LEVEL_MESSAGES,
        [
            "9999999999,0,1000000,5,9999999999,0,-9999999999,0",
            "9999999999,0,1000000,5,9999999999,0,990000,4",
            "9999999999,0,1000000,7,9999999999,0,990000,4",
        ],
        depth,
    )

    assert summary.agrees
    assert (3, 3) == (summary.rows_agreeing, summary.rows_compared)
    assert min(depth, 2) == replay.depth


def test_an_empty_venue_book_agrees_with_an_empty_one_only(tmp_path: Path) -> None:
    """A row without any level is compared like every other."""
    empty = "9999999999,0,-9999999999,0"
    _, summary = replayed(tmp_path, ["1,1,100,5,1000000,1"], [empty])

    assert not summary.agrees
    assert (((10_000, 5),), ()) == summary.mismatches[0].ours


@pytest.mark.parametrize("rows", [None, ["9999999999,0,1000000,5"]])
def test_a_file_without_messages_is_no_success(tmp_path: Path, rows: list[str] | None) -> None:
    """Nothing to rebuild a book from is a fault, not an agreement."""
    with pytest.raises(InvalidInput, match=r"messages\.csv: empty"):
        replayed(tmp_path, [], rows)


def test_a_book_file_without_rows_is_no_success(tmp_path: Path) -> None:
    """Nothing to compare with, where it was asked for, is a fault, not an agreement."""
    with pytest.raises(InvalidInput, match=r"rows\.csv: empty"):
        replayed(tmp_path, TWO_LEVEL_MESSAGES, [])


def test_stale_orders_are_counted_all_and_named_up_to_a_bound(tmp_path: Path) -> None:
    """However many orders are stale, the summary stays small."""
    count = MAX_REPORTED + 5
    added = [f"1,1,{100 + i},5,{(10_001 + i) * 100},1" for i in range(count)]
    rows = [f"9999999999,0,{(10_001 + i) * 100},5" for i in range(count)]
    _, summary = replayed(
        tmp_path,
        ["1,1,99,5,1000000,1", *added, "2,5,0,1,1005000,-1"],
        ["9999999999,0,1000000,5", *rows, "9999999999,0,1000000,5"],
    )

    assert summary.agrees
    assert (count, MAX_REPORTED) == (summary.stale_count, len(summary.stale))


STALE_MESSAGES = [
    "1,1,100,5,1010000,-1",
    "2,1,101,5,1000000,1",
    "3,1,102,5,1001000,1",
    "4,3,102,5,1001000,1",
]


def test_a_stale_order_is_named_and_explained(tmp_path: Path) -> None:
    """An order better than the venue's touch goes where the row then agrees, and is reported."""
    rows = [
        "1010000,5,999000,1",
        "1010000,5,1000000,5",
        "1010000,5,1001000,5",
        "1010000,5,999000,1",
    ]
    replay, summary = replayed(tmp_path, STALE_MESSAGES, rows)

    (stale,) = summary.stale
    assert summary.agrees
    assert (101, Side.BUY, 10_000, 5) == (
        stale.order_id,
        stale.side,
        stale.price_ticks,
        stale.quantity_lots,
    )
    assert (2, 4, 4, 9_990) == (
        stale.added_line,
        stale.found_line,
        stale.row,
        stale.venue_touch_ticks,
    )
    assert 2 == stale.furthest_level
    assert 101 not in replay.book


def test_what_staleness_does_not_explain_is_a_mismatch(tmp_path: Path) -> None:
    """Nothing is taken out where the row would not agree all the same."""
    rows = [
        "1010000,5,999000,1",
        "1010000,5,1000000,5",
        "1010000,5,1001000,5",
        "1010000,5,999000,2",
    ]
    replay, summary = replayed(tmp_path, STALE_MESSAGES, rows)

    assert not summary.agrees
    assert (3, 4) == (summary.rows_agreeing, summary.rows_compared)
    assert (4, 4) == (summary.mismatches[0].line, summary.mismatches[0].row)
    assert 101 in replay.book
    assert [] == summary.stale


def test_contradictions_and_crossed_books_have_positions(tmp_path: Path) -> None:
    """A second add of one id, and a crossed book, are counted and placed."""
    _, summary = replayed(
        tmp_path,
        ["1,1,100,5,1000000,1", "2,1,100,5,1000000,1", "3,1,101,5,1000000,-1"],
    )

    assert {"contradiction": 1} == dict(summary.unusable)
    assert [2] == summary.unknown
    assert (1, [3]) == (summary.crossed_count, summary.crossed)


def test_messages_that_do_not_fit_their_order_are_counted(tmp_path: Path) -> None:
    """Another side, another price or another size is never used in silence."""
    replay, summary = replayed(
        tmp_path,
        [
            "1,1,100,5,1000000,1",
            "2,2,100,1,1000000,-1",
            "3,4,100,1,1010000,1",
            "4,3,100,4,1000000,1",
        ],
    )

    assert {"contradiction": 2, "delete_size": 1} == dict(summary.unusable)
    assert [2, 3, 4] == summary.unknown
    assert 0 == len(replay.book)


def test_missing_rows_are_no_agreement(tmp_path: Path) -> None:
    """A book file that ends too early does not agree."""
    _, summary = replayed(
        tmp_path,
        ["1,1,100,5,1000000,1", "2,1,101,5,1010000,1", "3,1,102,5,1020000,1"],
        ["9999999999,0,1000000,5", "9999999999,0,1010000,5"],
    )

    assert 1 == summary.rows_missing
    assert not summary.agrees


def test_progress_is_told(tmp_path: Path) -> None:
    """The last call says that everything is done."""
    path = tmp_path / "m.csv"
    path.write_text("1,1,100,5,1000000,1\n", encoding="utf-8")
    calls: list[tuple[int, int]] = []

    LobsterReplay(path, progress=lambda done, total: calls.append((done, total))).run()

    assert [(1, 1)] == calls


def test_an_hour_of_aapl_agrees_on_every_row(market_data: Path) -> None:
    """25,641 of 25,641 level-1 rows agree; the one stale order was once outside the 50 levels."""
    folder = market_data / "lobster"
    replay = LobsterReplay(
        folder / "AAPL_2012-06-21_34200000_37800000_message_50.csv",
        folder / "AAPL_2012-06-21_34200000_57600000_orderbook_1.csv",
    )

    summary = replay.run()
    replay.book.check()

    assert 91_997 == summary.messages
    assert {
        "ADD": 44_256,
        "DELETE": 41_004,
        "REDUCE": 469,
        "EXECUTE": 4_067,
        "EXECUTE_HIDDEN": 2_201,
    } == summary.by_type
    assert (25_641, 25_641) == (summary.rows_agreeing, summary.rows_compared)
    (stale,) = summary.stale
    assert (45_367_855, Side.BUY, 58_421) == (stale.order_id, stale.side, stale.price_ticks)
    assert (40_854, 54_607) == (stale.added_line, stale.found_line)
    assert stale.furthest_level > 50


def test_msft_agrees_down_to_twenty_five_levels(market_data: Path) -> None:
    """From the file's own first row, all 1,000 rows agree at every depth up to 25."""
    folder = market_data / "lobster" / "trunc"
    for depth in (1, 10, 25):
        summary = LobsterReplay(
            folder / "MSFT_2012-06-21_message_50_first1000.csv",
            folder / "MSFT_2012-06-21_orderbook_50_first1000.csv",
            depth=depth,
        ).run()
        assert (1_000, 1_000) == (summary.rows_agreeing, summary.rows_compared)
        assert [] == summary.stale


def test_ten_levels_of_aapl_agree_until_the_touch_leaves_them(market_data: Path) -> None:
    """A 10-level file says nothing of an order beyond them: row 441 is the first that shows one."""
    folder = market_data / "lobster" / "trunc"
    summary = LobsterReplay(
        folder / "AAPL_message_10_first.csv", folder / "AAPL_orderbook_10_first.csv"
    ).run()

    assert 441 == summary.mismatches[0].row
    assert ((58_540, 50),) == summary.mismatches[0].venue[0]
    assert (955, 999) == (summary.rows_agreeing, summary.rows_compared)


def test_what_the_file_never_said_is_told_from_a_wrong_book(tmp_path: Path) -> None:
    """A price that comes into view from beyond the last level is expected to differ, others not."""
    _, summary = replayed(
        tmp_path,
        [
            "1,1,10,5,1000000,1",
            "2,1,11,3,1010000,1",
            "3,3,11,3,1010000,1",
            "4,1,12,4,1020000,1",
            "5,1,13,1,1020000,1",
        ],
        [
            "9999999999,0,1000000,5",
            "9999999999,0,1010000,3",
            "9999999999,0,990000,7",
            "9999999999,0,1020000,4",
            "9999999999,0,1020000,9",
        ],
    )

    assert [(3, True), (5, False)] == [
        (mismatch.row, mismatch.out_of_sight) for mismatch in summary.mismatches
    ]
    assert (3, 1, [3]) == (
        summary.rows_agreeing,
        summary.rows_out_of_sight,
        summary.rows_agreeing_to,
    )


def test_ten_levels_of_aapl_differ_only_where_the_file_is_silent(market_data: Path) -> None:
    """All 886 rows that differ do so at prices that had been beyond the tenth level."""
    folder = market_data / "lobster" / "trunc"
    summary = LobsterReplay(
        folder / "AAPL_message_10_first.csv", folder / "AAPL_orderbook_10_first.csv", depth=10
    ).run()

    assert (113, 886) == (summary.rows_agreeing, summary.rows_out_of_sight)
    assert [955, 901, 790] == summary.rows_agreeing_to[:3]
    assert all(mismatch.out_of_sight for mismatch in summary.mismatches)
