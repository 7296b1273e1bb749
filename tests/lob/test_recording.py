"""A synthetic flow written down in bulk leads every book to the same place, as does its feed."""

from collections.abc import Callable

import numpy as np
import pytest

from lob import Action, Flag, OrderBook
from lob.books import available_books
from lob.errors import InvalidInput
from lob.flow import SeededFlow, ZeroIntelligence, record
from lob.queue_reactive import QueueReactive
from lob.recording import published_by
from lob.types import (
    Cancel,
    Command,
    OrderType,
    Reduce,
    Replace,
    SelfTradePrevention,
    Side,
    Submit,
    TimeInForce,
)
from tests.lob.feeds.tapes import SHARE

MakeFlow = Callable[[int], SeededFlow]


def zero_intelligence(seed: int) -> SeededFlow:
    """Return the flow whose rates depend on nothing."""
    return ZeroIntelligence(SHARE, seed, 10_000)


def queue_reactive(seed: int) -> SeededFlow:
    """Return the flow whose rates depend on the queues."""
    return QueueReactive(SHARE, seed, 10_000)


FLOWS = pytest.mark.parametrize("flow", [zero_intelligence, queue_reactive])


def queues(book: OrderBook) -> list[tuple[int, Side, int, int]]:
    """Return what a feed shows of every order, in order of priority."""
    return [
        (order.order_id, order.side, order.price_ticks, order.leaves)
        for side in Side
        for order in book.orders(side)
    ]


@FLOWS
def test_the_same_seed_gives_the_same_bytes(flow: MakeFlow) -> None:
    """Commands and feed repeat to the byte, and differ with another seed."""
    first, again, other = (record(flow(seed), 1_500) for seed in (7, 7, 8))

    for name in ("commands", "participants", "feed"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert first.commands.tobytes() != other.commands.tobytes()
    assert first.book.state_hash() == again.book.state_hash()


@FLOWS
@pytest.mark.parametrize("book_class", available_books())
def test_every_book_replays_both_tapes_alike(flow: MakeFlow, book_class: type[OrderBook]) -> None:
    """Commands lead to the same state, the feed to the same queues and trades."""
    recorded = record(flow(11), 2_000)
    matched, rebuilt = book_class(SHARE), book_class(SHARE)

    trades = matched.apply(recorded.commands, participants=recorded.participants)
    executions = rebuilt.apply(recorded.feed)

    assert recorded.book.state_hash() == matched.state_hash()
    assert queues(recorded.book) == queues(rebuilt)
    assert 50 < len(trades)
    for name in ("sequence", "maker_order_id", "price_ticks", "quantity_lots", "ts_event_ns"):
        assert trades[name].tolist() == executions[name].tolist()
    rebuilt.check()


@FLOWS
def test_a_feed_is_never_crossed_and_marks_its_ends(flow: MakeFlow) -> None:
    """After any message the book is uncrossed; each command's messages end with LAST."""
    recorded = record(flow(3), 1_000)
    book = OrderBook(SHARE)
    book.apply(recorded.feed)

    assert 0 == len(book.last_apply.crossings)
    ends = (recorded.feed["flags"] & Flag.LAST) != 0
    assert ends[-1]
    # A market order says nothing but its executions: never more ends than commands.
    assert 0.9 * len(recorded.commands) < ends.sum() <= len(recorded.commands)
    assert (np.diff(recorded.feed["ts_event_ns"]) >= 0).all()


class Script:
    """A flow of given commands, a second apart."""

    def __init__(self, *commands: Command) -> None:
        self.instrument = SHARE
        self.now_ns = 0
        self._commands = list(commands)

    def seed_book(self) -> list[Submit]:
        """Return nothing: the script is all there is."""
        return []

    def step(self, book: OrderBook) -> tuple[int, Command]:  # noqa: ARG002 - it looks at nothing
        """Return the next command."""
        self.now_ns += 1_000_000_000
        return self.now_ns, self._commands.pop(0)


def test_every_kind_of_change_is_published() -> None:
    """Replaces that move, cross and fill, reduces, remainders and self-trades: the same queues."""
    bid, ask = Side.BUY, Side.SELL
    newest, both = SelfTradePrevention.CANCEL_NEWEST, SelfTradePrevention.CANCEL_BOTH
    script: list[Command] = [
        Submit(1, bid, 5, 100),
        Submit(2, bid, 5, 100, participant_id=3),
        Submit(3, ask, 9, 105),
        Reduce(1, 2),
        Replace(1, 100, 2),
        Replace(2, 105, 20),
        Replace(1, 99, 4),
        Submit(4, ask, 30, 104, time_in_force=TimeInForce.IOC),
        Submit(5, ask, 3, order_type=OrderType.MARKET),
        Submit(6, bid, 8, 98, participant_id=7),
        Submit(7, ask, 4, 98, participant_id=7, stp=newest),
        Submit(8, ask, 4, 98, participant_id=7, stp=both),
        Submit(9, ask, 5, 110),
        Submit(10, bid, 9, 110, time_in_force=TimeInForce.DAY),
        Replace(10, 111, 1),
        Submit(11, ask, 1, 111),
        Replace(99, 1, 1),
        Cancel(9),
        Submit(12, bid, 6, 90),
    ]
    commands = len(script)

    recorded = record(Script(*script), commands)
    book = OrderBook(SHARE)
    book.apply(recorded.feed)

    assert queues(recorded.book) == queues(book)
    assert recorded.book.trade_count == book.trade_count == 6
    assert commands == len(recorded.commands)


def test_what_a_tape_cannot_say_is_named() -> None:
    """Stops, GTD and icebergs are refused, and so is a book that is not empty."""
    for order, field in (
        (Submit(1, Side.BUY, 5, order_type=OrderType.STOP, stop_ticks=9), "order_type"),
        (Submit(1, Side.BUY, 5, 9, time_in_force=TimeInForce.GTD, expire_ns=9), "time_in_force"),
        (Submit(1, Side.BUY, 5, 9, display_lots=2), "display_lots"),
    ):
        with pytest.raises(InvalidInput, match=f"^{field}: "):
            record(Script(order), 1)
    with pytest.raises(InvalidInput, match=r"^commands: -1"):
        record(Script(), -1)
    book = OrderBook(SHARE)
    book.submit(1, Side.BUY, 1, 1)
    with pytest.raises(InvalidInput, match=r"^book: 1 orders"):
        record(Script(), 0, book=book)


def test_a_refused_command_publishes_nothing() -> None:
    """What changed nothing is not seen."""
    book = OrderBook()
    command = Cancel(5)

    assert [] == list(published_by(1, command, book.apply(command)))
    assert (
        Action.FEED_ADD
        == next(published_by(1, Submit(5, Side.BUY, 1, 1), book.submit(5, Side.BUY, 1, 1)))[5]
    )
