"""The plain Python book and the native one, side by side on the same adversarial streams."""

import os
from collections.abc import Sequence
from typing import Any

import pytest

from lob.book import OrderBook
from lob.books import available_books, why_not_native
from lob.types import Event
from tests.properties.differential import (
    MIXES,
    DifferenceFoundError,
    Differential,
    Flow,
    run_mixes,
)

COMMANDS = int(os.environ.get("TOUCHSTONE_DIFFERENTIAL_COMMANDS", "150000"))
"""How many commands the suite compares; `python -m tests.properties.differential` runs more."""

needs_native = pytest.mark.skipif(
    bool(why_not_native()), reason=f"no native book: {why_not_native()}"
)


class Miscounting(OrderBook):
    """A book with one rule wrong: a reduction to a single lot cancels."""

    def reduce(self, order_id: int, quantity_lots: int) -> tuple[Event, ...]:
        """Reduce, and cancel what has one lot left."""
        events = super().reduce(order_id, quantity_lots)
        order = self.order(order_id)
        return self.cancel(order_id) if order is not None and order.leaves == 1 else events


@needs_native
@pytest.mark.timeout(600)
def test_both_books_agree_on_every_event_and_state() -> None:
    """Adversarial streams of every kind bring the same events, faults, answers and state hashes."""
    first, second = available_books()
    done, events = run_mixes(first, second, COMMANDS, seeds=(1, 2))
    assert done >= COMMANDS
    assert events > COMMANDS // 2


def test_a_seed_names_its_stream() -> None:
    """The same mix and seed draw the same calls and messages; another seed draws others."""

    def drawn(seed: int) -> tuple[Sequence[Any], bytes]:
        flow = Flow(MIXES[0], seed)
        calls = list(flow.calls(200))
        table, participants = flow.messages(50)
        return calls, table.tobytes() + participants.tobytes()

    assert drawn(4) == drawn(4)
    assert drawn(4) != drawn(5)


@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: mix.name)
def test_every_mix_trades_and_comes_to_rest(mix: Any) -> None:
    """Each mix makes trades, fills the book, and is not refused most of the time."""
    pair = Differential(mix, 3, OrderBook, OrderBook)
    pair.run(3_000)
    assert pair.books[0].trade_count > 0
    assert pair.events > 1_000


def test_a_difference_is_found_and_names_its_seed() -> None:
    """A book with one rule wrong is told from the right one, with how to get there again."""
    with pytest.raises(DifferenceFoundError, match=r"mix 'usual', seed 1, after \d+ commands"):
        run_mixes(OrderBook, Miscounting, 20_000, mixes=MIXES[:1])
