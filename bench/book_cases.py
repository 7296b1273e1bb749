"""What is measured of our own books, one class of each at a time.

A case is prepared once and then run in rounds; a round returns its figures by name. The prelude is
never in a figure, except a tape's, which is made for an empty book. In rounds of calls from Python,
the time of the same loop without the call is taken off. The garbage collector is off meanwhile.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final, NamedTuple

import numpy as np

from bench.stream import (
    CANCEL,
    IOC,
    REDUCE,
    REPLACE,
    START_NS,
    STEP_NS,
    SUBMIT,
    Table,
    Touch,
    uniforms,
)
from lob.book import OrderBook
from lob.bulk import CompiledTape
from lob.messages import MESSAGE_DTYPE, Array
from lob.types import Side, TimeInForce

BLOCK: Final = 100
CALL_BATCH: Final = 2_000
clock: Final = time.perf_counter


class Sample(NamedTuple):
    """What one round gave: its figures by name, and where the book stood at its end."""

    figures: dict[str, float]
    touch: Touch | None = None


Ready = Callable[[], None]
"""Waits until the machine is ready; called right before what is timed."""
Run = Callable[[Ready], Sample]


class Kind(NamedTuple):
    """One of our books: its name, its class, and its class of compiled tapes."""

    name: str
    book: type[OrderBook]
    tape: Callable[[Array], Any]


def kinds() -> list[Kind]:
    """Return the books there are: the native one first, where it was built."""
    found = [Kind("python", OrderBook, CompiledTape)]
    try:
        native = import_module("lob.native")
    except ImportError:
        return found
    return [Kind("native", native.NativeOrderBook, native.CompiledTape), *found]


def messages_of(table: Table, end: int | None = None) -> Array:
    """Return a stream's table, up to `end`, as an array of `lob.MESSAGE_DTYPE`."""
    size = len(table["action"][:end])
    found = np.zeros(size, MESSAGE_DTYPE)
    for name in ("order_id", "price_ticks", "quantity_lots", "action", "side"):
        found[name] = table[name][:end]
    found["time_in_force"] = table["tif"][:end]
    found["ts_event_ns"] = START_NS + np.arange(size, dtype=np.int64) * STEP_NS
    return found


def touch_of(book: OrderBook) -> Touch:
    """Return the touch of one of our books."""
    bid, ask = book.best_bid(), book.best_ask()
    return Touch(
        bid.price_ticks if bid else 0,
        bid.quantity_lots if bid else 0,
        ask.price_ticks if ask else 0,
        ask.quantity_lots if ask else 0,
    )


@contextmanager
def quiet(ready: Ready) -> Iterator[None]:
    """Keep the garbage collector off, from when the machine is ready."""
    gc.collect()
    ready()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def at_once() -> None:
    """Wait for nothing."""


def warm_and_timed(ready: Ready) -> tuple[Ready, Ready]:
    """Return what a replay waits for that only warms, and what the next one does, which is timed.

    A stream that nobody has read since the last round is not in memory as one that was just made
    is, which is what the peers' processes get.
    """
    return at_once, ready


def replayed(kind: Kind, messages: Array, prelude: int, limit: int) -> Run:
    """Prepare `apply` of a body of messages, feed or commands, in one call."""
    first, body = messages[:prelude], messages[prelude : prelude + limit]

    def run(ready: Ready) -> Sample:
        for wait in warm_and_timed(ready):
            book = kind.book()
            book.apply(first)
            with quiet(wait):
                started = clock()
                book.apply(body)
                seconds = clock() - started
        return Sample({"messages_per_second": len(body) / seconds}, touch_of(book))

    return run


def taped(kind: Kind, messages: Array, prelude: int, limit: int) -> Run:
    """Prepare `apply` of a compiled tape into an empty book, its prelude included.

    The same messages are replayed plainly in the same round: `tape_over_plain` is the ratio.
    """
    whole = messages[: prelude + limit]
    tape = kind.tape(whole)

    def run(ready: Ready) -> Sample:
        for wait in warm_and_timed(ready):
            plain, book = kind.book(), kind.book()
            with quiet(wait):
                started = clock()
                plain.apply(whole)
                between = clock()
                book.apply(tape)
                ended = clock()
        return Sample(
            {
                "messages_per_second": len(whole) / (ended - between),
                "tape_over_plain": (between - started) / (ended - between),
            },
            touch_of(book),
        )

    return run


def stepped(kind: Kind, messages: Array, prelude: int, limit: int) -> Run:
    """Prepare `apply` of one message at a time, then of `BLOCK`, sliced from the array as it goes.

    Then blocks of `BLOCK` made before, each timed alone, for the percentiles of a message.
    """
    first, body = messages[:prelude], messages[prelude : prelude + limit]
    ones = min(len(body), max(1, limit // 5))

    def run(ready: Ready) -> Sample:
        book = kind.book()
        book.apply(first)
        with quiet(ready):
            apply = book.apply
            started = clock()
            for index in range(ones):
                apply(body[index : index + 1])
            one = (clock() - started) / ones
            book = kind.book()
            book.apply(first)
            apply = book.apply
            started = clock()
            for index in range(0, len(body), BLOCK):
                apply(body[index : index + BLOCK])
            block = (clock() - started) / len(body)
            touch = touch_of(book)
            times = _block_times(kind, first, body)
        p50, p99, worst = np.quantile(times, (0.5, 0.99, 1.0)).tolist()
        figures = {
            "step_1_ns": one * 1e9,
            f"step_{BLOCK}_ns": block * 1e9,
            "p50_ns": p50,
            "p99_ns": p99,
            "max_ns": worst,
        }
        return Sample(figures, touch)

    return run


def _block_times(kind: Kind, first: Array, body: Array) -> list[float]:
    """Return nanoseconds a message of each whole block."""
    book = kind.book()
    book.apply(first)
    blocks = [body[start : start + BLOCK] for start in range(0, len(body) - BLOCK + 1, BLOCK)]
    apply, now = book.apply, time.perf_counter_ns
    times = []
    for block in blocks:
        started = now()
        apply(block)
        times.append((now() - started) / BLOCK)
    return times or [0.0]


def called(kind: Kind, commands: Array, prelude: int, limit: int, seed: int) -> Run:
    """Prepare single calls from Python: submits and cancels in batches, then the mixed body.

    The submits are passive orders like the prelude's, `CALL_BATCH` of them, cancelled in another
    order before the next batch: the book stays at its size.
    """
    first = commands[:prelude]
    batches = _batches(first, max(1, limit // 4), seed)
    rows = _mixed_rows(commands[prelude : prelude + limit])

    def run(ready: Ready) -> Sample:
        book = kind.book()
        book.apply(first)
        with quiet(ready):
            submit_s, cancel_s, count = _submit_and_cancel(book, batches)
            book = kind.book()
            book.apply(first)
            bare = _bare_seconds(rows)
            started = clock()
            _mixed(book, rows)
            mixed_s = clock() - started - bare
        figures = {
            "submit_ns": submit_s / count * 1e9,
            "cancel_ns": cancel_s / count * 1e9,
            "mixed_ns": mixed_s / len(rows) * 1e9,
            "messages_per_second": len(rows) / mixed_s,
        }
        return Sample(figures, touch_of(book))

    return run


Batch = tuple[list[tuple[int, Side, int, int]], list[tuple[int, Side, int, int]]]
"""Orders to submit, and the same in the order of their cancels."""


def _batches(first: Array, count: int, seed: int) -> list[Batch]:
    size = min(CALL_BATCH, len(first))
    batches = []
    for number in range(max(1, count // size)):
        picks = (uniforms(seed, 200 + number, 0, size) * len(first)).astype(np.int64)
        picked = first[picks]
        orders = [
            (1 + number * size + index, Side.BUY if sign > 0 else Side.SELL, lots, price)
            for index, (sign, lots, price) in enumerate(
                zip(
                    picked["side"].tolist(),
                    picked["quantity_lots"].tolist(),
                    picked["price_ticks"].tolist(),
                    strict=True,
                )
            )
        ]
        shuffled = np.argsort(uniforms(seed, 600 + number, 0, size), kind="stable").tolist()
        batches.append((orders, [orders[index] for index in shuffled]))
    return batches


def _submit_and_cancel(book: OrderBook, batches: list[Batch]) -> tuple[float, float, int]:
    """Return the seconds of all submits and of all cancels, and how many there were of each."""
    submit, cancel = book.submit, book.cancel
    submit_s = cancel_s = 0.0
    count = 0
    for orders, gone in batches:
        count += len(orders)
        t0 = clock()
        for order_id, side, lots, price in orders:  # noqa: B007 - unpacks as much
            pass
        t1 = clock()
        for order_id, side, lots, price in orders:
            submit(order_id, side, lots, price)
        t2 = clock()
        for order_id, side, lots, price in gone:  # noqa: B007
            pass
        t3 = clock()
        for order_id, side, lots, price in gone:  # noqa: B007
            cancel(order_id)
        t4 = clock()
        submit_s += (t2 - t1) - (t1 - t0)
        cancel_s += (t4 - t3) - (t3 - t2)
    return submit_s, cancel_s, count


Row = tuple[int, int, Side, int, int, bool]


def _mixed_rows(commands: Array) -> list[Row]:
    columns = (
        commands[name].tolist()
        for name in ("action", "order_id", "side", "quantity_lots", "price_ticks", "time_in_force")
    )
    return [
        (action, order_id, Side.BUY if sign > 0 else Side.SELL, lots, price, tif == IOC)
        for action, order_id, sign, lots, price, tif in zip(*columns, strict=True)
    ]


def _mixed(book: OrderBook, rows: list[Row]) -> None:
    """Send each row by its own call."""
    submit, cancel, reduce, replace = book.submit, book.cancel, book.reduce, book.replace
    ioc = TimeInForce.IOC
    for action, order_id, side, lots, price, is_ioc in rows:
        if action == SUBMIT:
            if is_ioc:
                submit(order_id, side, lots, price, time_in_force=ioc)
            else:
                submit(order_id, side, lots, price)
        elif action == CANCEL:
            cancel(order_id)
        elif action == REDUCE:
            reduce(order_id, lots)
        elif action == REPLACE:
            replace(order_id, price, lots)


def _bare_seconds(rows: list[Row]) -> float:
    """Return how long the loop alone takes: the best of three, as a pause would be taken off."""
    seconds = []
    for _ in range(3):
        started = clock()
        _bare(rows)
        seconds.append(clock() - started)
    return min(seconds)


def _bare(rows: list[Row]) -> None:
    """Go through the rows as `_mixed` does, without a call."""
    for action, _order_id, _side, _lots, _price, is_ioc in rows:
        if action == SUBMIT:
            if is_ioc:
                pass
        elif action == CANCEL:  # noqa: SIM114 - as many comparisons as there
            pass
        elif action == REDUCE:  # noqa: SIM114
            pass
        elif action == REPLACE:
            pass
