"""bourse's Rust order book, called once for each command from Python.

It numbers its orders itself, from 0. It has no IOC: such an order is placed as a limit order and
what may be left of it cancelled, which makes two calls of one command. The clock is moved on for
each new order, as its queues go by arrival time. The bare loop's time is taken off.
"""

from collections.abc import Callable
from typing import Any

from bourse.core import OrderBook  # type: ignore[import-not-found]

from bench.peers.protocol import Round, clock, serve
from bench.stream import CANCEL, IOC, REDUCE, SUBMIT, Stream, Touch

Row = tuple[int, int, int, int, bool, bool]


def rows_of(stream: Stream, end: int) -> list[Row]:
    """Return action, bourse's id, price, lots (or leaves), whether it buys, whether it is IOC."""
    commands = stream.commands
    names = ("action", "order_id", "price_ticks", "quantity_lots", "leaves", "side", "tif")
    columns = [commands[name][:end].tolist() for name in names]
    numbers: dict[int, int] = {}
    rows = []
    for action, order_id, price, lots, leaves, side, tif in zip(*columns, strict=True):
        number = numbers.setdefault(order_id, len(numbers))
        rows.append(
            (action, number, price, leaves if action == REDUCE else lots, side > 0, tif == IOC)
        )
    return rows


def carry_out(book: Any, rows: list[Row], now: int) -> None:
    """Send every row to the book; `now` is the time of the first."""
    place, cancel, modify, set_time = (
        book.place_order,
        book.cancel_order,
        book.modify_order,
        book.set_time,
    )
    for action, number, price, lots, buys, ioc in rows:
        now += 1
        if action == SUBMIT:
            set_time(now)
            place(buys, lots, 0, price)
            if ioc:
                cancel(number)
        elif action == CANCEL:
            cancel(number)
        elif action == REDUCE:
            modify(number, None, lots)
        else:
            set_time(now)
            modify(number, price, lots)


def nothing(rows: list[Row], now: int) -> None:
    """Go through the rows as `carry_out` does, without a call."""
    for action, _number, _price, _lots, _buys, ioc in rows:
        now += 1
        if action == SUBMIT:
            if ioc:
                pass
        elif action == CANCEL:  # noqa: SIM114 - as many comparisons as there
            pass
        elif action == REDUCE:
            pass


def mixed(stream: Stream, limit: int) -> Callable[[], Round]:
    """Prepare a run of the body's commands, one call each."""
    messages = min(limit, stream.body_commands)
    rows = rows_of(stream, stream.prelude + messages)
    prelude, body = rows[: stream.prelude], rows[stream.prelude :]

    def run() -> Round:
        book = OrderBook(0, 1)
        carry_out(book, prelude, 0)
        started = clock()
        nothing(body, 0)
        bare = clock() - started
        started = clock()
        carry_out(book, body, len(prelude))
        seconds = clock() - started - bare
        bid, ask = book.bid_ask()
        return Round(seconds, messages, Touch(bid, book.best_bid_vol(), ask, book.best_ask_vol()))

    return run


CASES = {"mixed": mixed}

if __name__ == "__main__":
    serve("bourse", CASES)
