"""Stops that wait in the gateway: when they go, at which price, and how much of them."""

from dataclasses import replace
from decimal import Decimal

import pytest

from lob.types import Side
from touchstone.perps.checks import Quote
from touchstone.perps.orders import Intent, Order, OrderState, OrderType
from touchstone.perps.products import ProductRules
from touchstone.perps.stops import (
    backoff_seconds,
    capped_price,
    is_reached,
    quantity_to_send,
    trigger_price,
)

RULES = ProductRules(
    symbol="BTC-PERP",
    product_id="BIP",
    price_increment=Decimal(5),
    size_increment=Decimal("0.01"),
)
QUOTE = Quote(Decimal(60_000), Decimal(60_005), 0.1)
STOP = Intent(
    client_order_id="s",
    symbol="BTC-PERP",
    side=Side.SELL,
    quantity=Decimal("0.05"),
    order_type=OrderType.STOP,
    stop_price=Decimal(59_000),
    reduce_only=True,
)


@pytest.mark.parametrize(
    ("side", "price", "reached"),
    [
        (Side.SELL, "59000.1", False),
        (Side.SELL, "59000", True),
        (Side.SELL, "58000", True),
        (Side.BUY, "58999.9", False),
        (Side.BUY, "59000", True),
        (Side.BUY, None, False),
    ],
)
def test_a_buy_goes_at_its_price_or_above_and_a_sell_at_it_or_below(
    side: Side, price: str | None, reached: bool
) -> None:
    """The price itself is enough; where no price is known nothing goes."""
    told = None if price is None else Decimal(price)
    assert is_reached(replace(STOP, side=side), told) == reached


def test_the_last_trade_leads_and_else_the_side_that_would_be_taken() -> None:
    """A buy looks at the ask, a sell at the bid, where nothing has traded yet."""
    assert trigger_price(Side.BUY, Decimal(7), QUOTE) == Decimal(7)
    assert [trigger_price(side, None, QUOTE) for side in Side] == [
        Decimal(60_005),
        Decimal(60_000),
    ]
    assert trigger_price(Side.BUY, None, None) is None


def test_the_cap_is_on_the_tick_and_never_beyond_the_slippage() -> None:
    """15 bps of 60,005 are 90.0075: a buy pays 60,095 at most, a sell takes 59,910 at least."""
    assert capped_price(Side.BUY, QUOTE, Decimal(15), RULES) == Decimal(60_095)
    assert capped_price(Side.SELL, QUOTE, Decimal(15), RULES) == Decimal(59_910)
    assert capped_price(Side.SELL, QUOTE, Decimal(0), RULES) == Decimal(60_000)
    assert capped_price(Side.SELL, Quote(None, Decimal(1), 0.0), Decimal(15), RULES) is None


def test_a_protective_stop_takes_the_room_that_there_is() -> None:
    """It shrinks to what the position and other reducing orders leave, in whole increments."""
    order = Order(intent=STOP, state=OrderState.ARMED)
    exit_order = Order(
        intent=replace(STOP, client_order_id="x", order_type=OrderType.LIMIT, stop_price=None),
        state=OrderState.UNKNOWN,
    )
    assert quantity_to_send(order, Decimal(1), [order], RULES) == Decimal("0.05")
    assert quantity_to_send(order, Decimal("0.035"), [order], RULES) == Decimal("0.03")
    assert quantity_to_send(order, Decimal("0.06"), [exit_order, order], RULES) == Decimal("0.01")
    assert quantity_to_send(order, Decimal("0.05"), [exit_order], RULES) == Decimal(0)
    assert quantity_to_send(order, Decimal(-1), [], RULES) == Decimal(0)
    entry = replace(order, intent=replace(STOP, reduce_only=False))
    assert quantity_to_send(entry, Decimal(0), [], RULES) == Decimal("0.05")


def test_attempts_slow_down_and_go_on() -> None:
    """The first goes at once; later ones wait, at most some seconds."""
    waits = [backoff_seconds(attempt) for attempt in range(9)]
    assert waits[0] == 0
    assert waits == sorted(waits)
    assert waits[-1] == waits[-2] == 5
