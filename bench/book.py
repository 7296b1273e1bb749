"""Measure the plain Python book: `python bench/book.py [--json]`.

Matching: commands of the synthetic flow, recorded first, so that only the book is timed. Feed: the
adds, reductions, executions and deletions that the same flow caused. The best of several rounds is
given, in messages a second.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from decimal import Decimal

from lob.book import OrderBook
from lob.flow import ZeroIntelligence
from lob.types import (
    AssetClass,
    Cancel,
    Cancelled,
    Command,
    Instrument,
    OrderType,
    Submit,
    Traded,
)

SHARE = Instrument(
    symbol="SYNTH", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
SEED = 7
ROUNDS = 5

Step = Callable[[OrderBook], object]


def recorded(count: int) -> tuple[list[Command], list[Step]]:
    """Return `count` commands of the flow, and the feed messages they cause."""
    flow = ZeroIntelligence(SHARE, SEED, mid_ticks=58_500)
    book = OrderBook(SHARE)
    commands: list[Command] = [*flow.seed_book()]
    feed: list[Step] = []
    for command in commands:
        feed.extend(_feed(command, book))
    while len(commands) < count:
        _, command = flow.step(book)
        commands.append(command)
        feed.extend(_feed(command, book))
    return commands, feed


def _feed(command: Command, book: OrderBook) -> list[Step]:
    """Apply a command; return what a venue's feed would say of it."""
    steps: list[Step] = []
    events = book.apply(command)
    for event in events:
        if isinstance(event, Traded):
            maker, lots = event.maker_order_id, event.quantity_lots
            steps.append(lambda b, maker=maker, lots=lots: b.feed_execute(maker, lots))  # type: ignore[misc]
        elif isinstance(event, Cancelled) and isinstance(command, Cancel):
            steps.append(lambda b, gone=event.order_id: b.feed_delete(gone))  # type: ignore[misc]
    if isinstance(command, Submit) and command.order_type is OrderType.LIMIT:
        order = book.order(command.order_id)
        if order is not None:
            steps.append(
                lambda b, o=order: b.feed_add(o.order_id, o.side, o.price_ticks, o.leaves)  # type: ignore[misc]
            )
    return steps


def best_rate(run: Callable[[], None], messages: int) -> int:
    """Return messages a second of the fastest of `ROUNDS` runs."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - started)
    return round(messages / best)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--messages", type=int, default=100_000, help="commands to record")
    arguments = parser.parse_args()
    commands, feed = recorded(arguments.messages)

    def match() -> None:
        book = OrderBook()
        for command in commands:
            book.apply(command)

    def replay() -> None:
        book = OrderBook()
        for step in feed:
            step(book)

    result = {
        "book": "plain Python",
        "python": platform.python_version(),
        "seed": SEED,
        "commands": len(commands),
        "feed_messages": len(feed),
        "matching_messages_per_second": best_rate(match, len(commands)),
        "feed_messages_per_second": best_rate(replay, len(feed)),
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:<32} {value}")


if __name__ == "__main__":
    main()
