"""pyorderbook's plain Python book, called once for each command.

A command makes its order object, as its users must. It has neither IOC nor reductions: what is left
of an IOC order is cancelled, lots are taken off the order object, and an order that moves is
cancelled and sent again. The bare loop's time is taken off.
"""

from collections.abc import Callable
from typing import Any

from pyorderbook import Book, Side, ask, bid  # type: ignore[import-not-found]

from bench.peers.protocol import Round, clock, serve
from bench.stream import CANCEL, IOC, REDUCE, SUBMIT, Stream, Touch

Row = tuple[int, int, int, int, bool, bool]


def rows_of(stream: Stream, end: int) -> list[Row]:
    """Return action, order id, price, lots, whether it buys, whether it is IOC."""
    names = ("action", "order_id", "price_ticks", "quantity_lots", "side", "tif")
    columns = [stream.commands[name][:end].tolist() for name in names]
    return [
        (action, order_id, price, lots, side > 0, tif == IOC)
        for action, order_id, price, lots, side, tif in zip(*columns, strict=True)
    ]


def carry_out(book: Any, orders: dict[int, Any], rows: list[Row]) -> None:
    """Send every row to the book."""
    match, cancel = book.match, book.cancel
    for action, number, price, lots, buys, ioc in rows:
        if action == SUBMIT:
            order = bid("S", price, lots) if buys else ask("S", price, lots)
            match(order)
            if not ioc:
                orders[number] = order
            elif order.quantity:
                cancel(order)
        elif action == CANCEL:
            cancel(orders[number])
        elif action == REDUCE:
            orders[number].quantity -= lots
        else:
            order = orders[number]
            if order.price == price and lots <= order.quantity:
                order.quantity = lots
            else:
                cancel(order)
                order = bid("S", price, lots) if buys else ask("S", price, lots)
                match(order)
                orders[number] = order


def nothing(rows: list[Row]) -> None:
    """Go through the rows as `carry_out` does, without a call."""
    for action, _number, _price, _lots, _buys, ioc in rows:
        if action == SUBMIT:
            if ioc:
                pass
        elif action == CANCEL:  # noqa: SIM114 - as many comparisons as there
            pass
        elif action == REDUCE:
            pass


def _best(book: Any, side: Any) -> tuple[int, int]:
    """Return the best price with lots, and its lots: levels emptied by cancels stay in its heap."""
    sums = {
        int(price): sum(order.quantity for order in level.orders.values())
        for price, level in book.level_map["S"][side].items()
        if level.orders
    }
    if not sums:
        return 0, 0
    price = max(sums) if side == "bid" else min(sums)
    return price, sums[price]


def mixed(stream: Stream, limit: int) -> Callable[[], Round]:
    """Prepare a run of the body's commands, one call each."""
    messages = min(limit, stream.body_commands)
    rows = rows_of(stream, stream.prelude + messages)
    prelude, body = rows[: stream.prelude], rows[stream.prelude :]

    def run() -> Round:
        book = Book()
        orders: dict[int, Any] = {}
        carry_out(book, orders, prelude)
        started = clock()
        nothing(body)
        bare = clock() - started
        started = clock()
        carry_out(book, orders, body)
        seconds = clock() - started - bare
        touch = Touch(*_best(book, Side.BID), *_best(book, Side.ASK))
        return Round(seconds, messages, touch)

    return run


CASES = {"mixed": mixed}

if __name__ == "__main__":
    serve("pyorderbook", CASES)
