"""How scenarios say and picture what a book did: events as phrases, levels as rows."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final

from lob.book import OrderBook
from lob.types import (
    Accepted,
    Cancelled,
    Event,
    Expired,
    Reduced,
    Refilled,
    Rejected,
    Replaced,
    RestingOrder,
    Side,
    Submit,
    Traded,
    Triggered,
)

Row = tuple[str, str, str]
"""Bid queue, price, ask queue."""

_CELLS: Final = re.compile(r"\|\s*([\d+()\[\]]*)\s*\|\s*(\d+)\s*\|\s*([\d+()\[\]]*)\s*\|")


def picture(book: OrderBook) -> str:
    """Return the displayed book as rows of `| bid lots | price | ask lots |`, highest first."""
    return drawn(displayed_rows(book))


def drawn(rows: Sequence[Row]) -> str:
    """Return rows as text."""
    text = "\n".join(f"| {bid:>12} | {price:>8} | {ask:<12} |" for bid, price, ask in rows)
    return text or "empty"


def read_rows(text: str) -> tuple[list[Row], str]:
    """Return the rows of a picture, and what in it is none."""
    return list(_CELLS.findall(text)), _CELLS.sub("", text).strip()


def displayed_rows(book: OrderBook) -> list[Row]:
    """Return what is displayed, order by order as `5+3`, from the highest price down."""
    shown = (order for order in book.orders() if not order.hidden)
    return _rows((order, str(order.displayed_lots)) for order in shown)


def all_rows(book: OrderBook) -> list[Row]:
    """Return everything: `3(7)` shows 3 and has 7 in reserve, `[4]` is hidden."""
    return _rows((order, _whole(order)) for order in book.orders())


def same_rows(expected: Sequence[Row], actual: Sequence[Row]) -> bool:
    """Say whether a picture is true, each queue order by order or as its total."""
    return len(expected) == len(actual) and all(
        price == our_price and _shows(bid, our_bid) and _shows(ask, our_ask)
        for (bid, price, ask), (our_bid, our_price, our_ask) in zip(expected, actual, strict=True)
    )


def phrases(events: Sequence[Event], names: Mapping[int, str]) -> Iterator[str]:
    """Say each event of one command; being accepted goes without saying."""
    trades: list[str] = []
    for event, following in zip_longest(events, events[1:]):
        if isinstance(event, Traded):
            trades.append(f"{event.quantity_lots}@{event.price_ticks}")
            goes_on = isinstance(following, Traded) and (
                following.taker_order_id == event.taker_order_id
            )
            if not goes_on:
                yield f"traded {' '.join(trades)}"
                trades = []
            if event.taker_leaves == 0:
                yield f"{names[event.taker_order_id]} filled"
        elif not isinstance(event, Accepted):
            yield f"{names[event.order_id]} {_said(event)}"


def waiting(stop: Submit, names: Mapping[int, str]) -> str:
    """Say a stop that waits."""
    limit = "" if stop.price_ticks is None else f" @{stop.price_ticks}"
    return f"{names[stop.order_id]} {stop.side} {stop.quantity_lots}{limit} at {stop.stop_ticks}"


def _said(
    event: Rejected | Cancelled | Reduced | Replaced | Refilled | Expired | Triggered,
) -> str:
    match event:
        case Rejected():
            said = f"rejected {event.reason}"
        case Cancelled():
            said = f"cancelled {event.quantity_lots} {event.reason}"
        case Reduced():
            said = f"reduced to {event.leaves}"
        case Replaced():
            said = "keeps its place" if event.kept_priority else "loses its place"
        case Refilled():
            said = f"refilled {event.displayed_lots} of {event.leaves}"
        case Expired():
            said = f"expired {event.quantity_lots}"
        case Triggered():
            said = f"triggered at {event.stop_ticks}"
    return said


def _rows(orders: Iterable[tuple[RestingOrder, str]]) -> list[Row]:
    rows: dict[int, dict[Side, list[str]]] = {}
    for order, text in orders:
        row = rows.setdefault(order.price_ticks, {Side.BUY: [], Side.SELL: []})
        row[order.side].append(text)
    return [
        ("+".join(row[Side.BUY]), str(price), "+".join(row[Side.SELL]))
        for price, row in sorted(rows.items(), reverse=True)
    ]


def _whole(order: RestingOrder) -> str:
    if order.hidden:
        return f"[{order.leaves}]"
    reserve = order.leaves - order.displayed_lots
    return f"{order.displayed_lots}({reserve})" if reserve else str(order.displayed_lots)


def _shows(expected: str, queue: str) -> bool:
    """Say whether a cell shows this queue: order by order, or as its total."""
    if expected == queue:
        return True
    orders = [int(lots) for lots in re.findall(r"\d+", queue)]
    return bool(orders) and expected == str(sum(orders))
