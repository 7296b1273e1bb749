"""What the simulation counts beside a reducing order."""

from dataclasses import replace
from decimal import Decimal

import pytest

from lob.types import Side
from tests.simulation.reducing import may_fill, only_reduces
from touchstone.perps.orders import Intent, Order, OrderState, OrderType

ENTRY = Order(
    intent=Intent(
        client_order_id="a",
        symbol="BTC-PERP",
        side=Side.BUY,
        quantity=Decimal(5),
        order_type=OrderType.LIMIT,
        limit_price=Decimal(100),
    ),
    state=OrderState.OPEN,
)
EXIT = replace(ENTRY, intent=replace(ENTRY.intent, client_order_id="a.x", side=Side.SELL))


@pytest.mark.parametrize(
    ("entry", "exited", "counts"),
    [
        (None, 0, 5),
        (ENTRY, 0, 0),
        (replace(ENTRY, filled_quantity=Decimal(3)), 0, 3),
        (replace(ENTRY, filled_quantity=Decimal(3)), 1, 2),
        # Its fills may be booked before those of the entry.
        (ENTRY, 1, 0),
        (replace(ENTRY, filled_quantity=Decimal(3), state=OrderState.CANCELLED), 1, 4),
    ],
)
def test_an_exit_counts_as_far_as_its_entry_filled(
    entry: Order | None, exited: int, counts: int
) -> None:
    """While the entry works; else it counts as any other order does."""
    assert Decimal(counts) == may_fill(replace(EXIT, filled_quantity=Decimal(exited)), entry)


@pytest.mark.parametrize(
    ("position", "quantity", "beside", "expected"),
    [(3, 3, 0, True), (3, 2, 1, True), (3, 3, 1, False), (-3, 1, 0, False), (0, 1, 0, False)],
)
def test_all_that_may_fill_has_to_fit(
    position: int, quantity: int, beside: int, expected: bool
) -> None:
    """A sell reduces a long position that holds it and everything beside it."""
    found = only_reduces(Side.SELL, Decimal(quantity), Decimal(beside), Decimal(position))
    assert expected is found
