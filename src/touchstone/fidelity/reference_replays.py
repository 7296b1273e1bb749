"""The reference cases that replay a real file: each yields (name, expected, measured)."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from lob import OrderBook
from lob.errors import InvalidInput
from lob.feeds.lobster import BookRow, LobsterMessage, LobsterReader, MessageType, read_book_rows
from lob.replay import LobsterReplay
from lob.types import Level, OrderType, Side, TimeInForce

Named = Iterator[tuple[str, float, float]]


def rebuilt_rows_values(case: Mapping[str, Any], data_dir: Path | None) -> Named:
    """Rebuild the book and count, at depths 1, 3, 5, 10 and 25, the rows that differ."""
    messages, rows = _files(case, data_dir)
    summary = LobsterReplay(messages, rows, depth=25).run()
    wanted = case["expected"]["mismatch_rows_depth_1_3_5_10_25"]
    for depth, expected in zip((1, 3, 5, 10, 25), wanted, strict=True):
        differing = summary.rows_compared - summary.rows_agreeing_to[depth - 1]
        yield f"rows that differ at depth {depth}", expected, differing


def aapl_hour_values(case: Mapping[str, Any], data_dir: Path | None) -> Named:
    """Rebuild the hour and hold its first level against the venue's."""
    messages, rows = _files(case, data_dir)
    summary = LobsterReplay(messages, rows, depth=1).run()
    wanted = case["expected"]
    yield "level-1 rows that agree", wanted["level1_rows_matched"], summary.rows_agreeing
    differing = summary.rows_compared - summary.rows_agreeing
    yield "rows that differ", wanted["residual_mismatches"], differing
    yield "stale orders", wanted["stale_orders_purged"], summary.stale_count
    for kind, count in wanted["type_counts"].items():
        name = MessageType(int(kind)).name
        yield f"messages {name}", count, summary.by_type.get(name, 0)


def one_step_values(case: Mapping[str, Any], data_dir: Path | None) -> Named:
    """From each row, its next message through a book: how often is that not the next row?"""
    messages, rows = _files(case, data_dir)
    bad = steps = 0
    states = list(read_book_rows(rows))
    for (before, after), message in zip(
        pairwise(states), list(LobsterReader(messages))[1:], strict=True
    ):
        steps += 1
        bad += not _leads_to(before, message, after)
    yield "steps", case["expected"]["of"], steps
    yield "steps that do not lead to the next row", case["expected"]["bad"], bad


def _leads_to(before: BookRow, message: LobsterMessage, after: BookRow) -> bool:
    """Put the row into a book, carry out the message, and compare what the row can show.

    A level that goes, or one that comes, moves what was the eleventh level into or out of sight:
    the levels compared are those that both can know.
    """
    book = OrderBook()
    ids: dict[tuple[Side, int], int] = {}
    for side, levels in ((Side.BUY, before.bids), (Side.SELL, before.asks)):
        for level in levels:
            ids[side, level.price_ticks] = len(ids) + 1
            book.submit(len(ids), side, level.quantity_lots, level.price_ticks)
    _carry_out(book, message, ids)
    depth = max(len(before.bids), len(before.asks))
    bids, asks = book.depth(depth)
    for side, ours, theirs, old in (
        (Side.BUY, bids, after.bids, before.bids),
        (Side.SELL, asks, after.asks, before.asks),
    ):
        # What lies beyond the last level that the row before showed is not known from it.
        edge = old[-1].price_ticks * side.sign
        known = [_pair(level) for level in ours if level.price_ticks * side.sign >= edge]
        shown = [_pair(level) for level in theirs if level.price_ticks * side.sign >= edge]
        if known[: len(theirs)] != shown[:depth]:
            return False
    return True


def _pair(level: Level) -> tuple[int, int]:
    return level.price_ticks, level.quantity_lots


def _carry_out(book: OrderBook, message: LobsterMessage, ids: dict[tuple[Side, int], int]) -> None:
    kind, lots, price = message.kind, message.quantity_lots, message.price_ticks
    resting = ids.get((message.side, price))
    if kind is MessageType.ADD:
        book.submit(len(ids) + 1, message.side, lots, price)
    elif resting is None:
        return
    elif kind in {MessageType.REDUCE, MessageType.DELETE}:
        book.reduce(resting, lots)
    elif kind is MessageType.EXECUTE:
        book.submit(
            len(ids) + 1,
            message.side.opposite,
            lots,
            price,
            order_type=OrderType.LIMIT,
            time_in_force=TimeInForce.IOC,
        )


def _files(case: Mapping[str, Any], data_dir: Path | None) -> tuple[Path, Path]:
    given = case["inputs"]
    if data_dir is None:
        raise InvalidInput(f"data: none; allowed: a folder with {given['message']}")
    messages, rows = data_dir / given["message"], data_dir / given["orderbook"]
    for path in (messages, rows):
        if not path.is_file():
            raise InvalidInput(f"data: {path.name} is not in the folder; the case replays it")
    return messages, rows
