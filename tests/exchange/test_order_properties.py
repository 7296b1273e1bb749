"""Whatever customers do with every kind of order, the rules that hold for all of them hold."""

import random
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lob.types import Side
from tests.exchange.floor import BTC, SECOND_NS, Floor
from touchstone.exchange import (
    Bracket,
    CloseRequest,
    EditRequest,
    Exchange,
    ExchangeConfig,
    Order,
    OrderKind,
    OrderRequest,
    OrderStatus,
    Refusal,
    Scaled,
    Twap,
)
from touchstone.exchange.background import FlowKind
from touchstone.exchange.orders import TRANSITIONS
from touchstone.exchange.state import dump, load

NAMES = ("alice", "bob", "carol")
PRICE = Decimal(100_000)
KINDS = ("limit", "market", "money", "gtd", "stop", "bracket", "attached", "twap", "scaled")

QUICK = settings(deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])


@dataclass(frozen=True)
class Step:
    """One thing that a customer does, or a wait; what the numbers mean depends on it."""

    what: str
    name: str
    side: str
    lots: int
    offset: int
    pick: int
    reduce_only: bool
    immediate: str


SEEDS = st.integers(0, 1 << 32)


def script(seed: int, length: int) -> list[Step]:
    """Return the steps that a seed always gives.

    Drawn one by one they would come out too alike: few stops would ever be reached.
    """
    draw = random.Random(seed)
    return [
        Step(
            what=draw.choice((*KINDS, *KINDS, "limit", "cancel", "edit", "close", "wait")),
            name=draw.choice(NAMES),
            side=draw.choice(("BUY", "SELL")),
            lots=draw.randint(1, 3_000),
            offset=draw.randint(-5, 5),
            pick=draw.randint(0, 30),
            reduce_only=draw.random() < 0.3,
            immediate=draw.choice(("GTC", "GTC", "IOC", "FOK")),
        )
        for _ in range(length)
    ]


def terms(step: Step, floor: Floor) -> dict[str, Any]:
    """Return what a step asks for, around the opening price in steps of 500."""
    sign = 1 if step.side == "BUY" else -1
    price = PRICE + 500 * step.offset
    size = Decimal(step.lots) / 10_000
    near, far = price - 1_000 * sign, price + 1_000 * sign
    own: dict[str, dict[str, Any]] = {
        "limit": {"limit_price": price, "tif": step.immediate},
        "market": {"tif": "IOC"},
        "money": {"size": None, "quote_size": size * price, "tif": "IOC"},
        "gtd": {"limit_price": price, "tif": "GTD", "end_time_ns": floor.at(1 + step.pick)},
        "stop": {"limit_price": far, "stop_price": price},
        "bracket": {"limit_price": near, "stop_trigger_price": far},
        "attached": {"limit_price": price, "attached": Bracket(far, near)},
        "twap": {
            "limit_price": price,
            "tif": "GTD",
            "end_time_ns": floor.at(step.pick + 9),
            "twap": Twap(floor.at(step.pick % 4), 3, Decimal("0.1"), 2 * SECOND_NS),
        },
        "scaled": {"scaled": Scaled(3, price - 1_000, price)},
    }
    common = {"side": step.side, "size": size, "reduce_only": step.reduce_only}
    return {**common, **own[step.what]}


def take(floor: Floor, step: Step, waits: int = 1) -> None:
    """Take one step; a wait is cut into so many parts. Previews say what is refused, and how."""
    exchange = floor.exchange
    orders = exchange.open_orders(step.name)
    picked = orders[step.pick % len(orders)] if orders else None
    if step.what == "wait":
        until_ns = exchange.now_ns + step.lots * SECOND_NS // 300
        for part in range(1, waits):
            exchange.advance(exchange.now_ns + (until_ns - exchange.now_ns) * part // waits)
        exchange.advance(until_ns)
    elif step.what == "close":
        exchange.close_position(
            step.name, CloseRequest(client_order_id=f"close-{floor.at(0)}", product_id=BTC)
        )
    elif step.what == "cancel":
        exchange.cancel(step.name, [picked.order_id] if picked else [])
    elif step.what == "edit":
        if picked is not None:
            price = PRICE + 500 * step.offset
            size = Decimal(step.lots) / 10_000
            edit = EditRequest(order_id=picked.order_id, price=price, size=size)
            foreseen = exchange.preview_edit(step.name, edit).errors
            refusal = exchange.edit(step.name, edit).refusal
            assert foreseen == (() if refusal is None else (refusal,))
    else:
        request = floor.request(**terms(step, floor))
        errors = exchange.preview(step.name, request).errors
        answer = exchange.create(step.name, request)
        assert errors == ((answer,) if isinstance(answer, Refusal) else ())


class Watch:
    """Follow the statuses of all orders, as whoever drains the updates sees them."""

    def __init__(self) -> None:
        """Start with no order known."""
        self.last: dict[str, OrderStatus] = {}

    def look(self, exchange: Exchange) -> None:
        """Hold every change against the table, and every order against itself."""
        for order in exchange.drain().orders:
            before = self.last.get(order.order_id)
            assert before is None or order.status in TRANSITIONS[before]
            self.last[order.order_id] = order.status
            assert 0 <= order.leaves_lots
            assert order.filled_lots + order.leaves_lots <= order.size_lots
            assert order.live or order.leaves_lots == 0
            assert (order.status is OrderStatus.FILLED) <= (order.filled_lots == order.size_lots)
        exchange.check()


def check_families(exchange: Exchange, name: str) -> None:
    """Hold children against their parents."""
    orders = {order.order_id: order for order in exchange.orders(name)}
    filled: dict[str, int] = defaultdict(int)
    left: dict[str, int] = defaultdict(int)
    for order in orders.values():
        filled[order.originating_order_id] += order.filled_lots
        left[order.originating_order_id] += order.leaves_lots
        if order.kind is OrderKind.BRACKET and order.originating_order_id:
            parent = orders[order.originating_order_id]
            assert order.filled_lots <= order.size_lots <= parent.filled_lots
    for order in orders.values():
        if order.kind is OrderKind.SCALED:
            assert (filled[order.order_id], left[order.order_id]) == (
                order.filled_lots,
                order.leaves_lots,
            )


def check_reductions(exchange: Exchange, name: str) -> None:
    """Find the fills by order and replay them: reduce-only ones only made the position smaller."""
    held = 0
    fills = exchange.fills(name)
    for order in exchange.orders(name):
        mine = [fill for fill in fills if fill.order_id == order.order_id]
        assert mine == exchange.fills(name, {order.order_id})
    for fill in reversed(fills):
        whose = exchange.order(name, fill.order_id)
        assert whose is not None
        if whose.request.reduce_only:
            assert held * fill.side.sign < 0
            assert fill.lots <= abs(held)
        held += fill.side.sign * fill.lots
    assert held == exchange.accounts[name].position(BTC).lots


def check_resting(exchange: Exchange, name: str) -> None:
    """Hold what rests against the position: beside reduce-only orders nothing could turn it."""
    held = exchange.accounts[name].position(BTC).lots
    for side in Side:
        resting = [
            order for order in exchange.open_orders(name) if order.in_book and order.side is side
        ]
        if any(order.request.reduce_only for order in resting):
            assert sum(order.leaves_lots for order in resting) <= -side.sign * held


@settings(QUICK, max_examples=60)
@given(SEEDS)
def test_every_rule_holds_after_every_step(seed: int) -> None:
    """Money, books, statuses, sizes, families and reduce-only, over all kinds and commands."""
    floor = Floor(starting_balance=Decimal(40_000))
    watch = Watch()
    for step in script(seed, 60):
        take(floor, step)
        watch.look(floor.exchange)
        check_resting(floor.exchange, step.name)
    for name in NAMES:
        check_families(floor.exchange, name)
        check_reductions(floor.exchange, name)


@settings(QUICK, max_examples=20)
@given(SEEDS, st.integers(2, 7))
def test_it_does_not_matter_how_time_is_cut(seed: int, waits: int) -> None:
    """The same commands at the same times leave the same state."""
    whole, cut = Floor(), Floor()
    for step in script(seed, 30):
        take(whole, step)
        take(cut, step, waits)
    for floor in (whole, cut):
        floor.wait(60)
        floor.exchange.drain()
    assert whole.exchange.state_hash() == cut.exchange.state_hash()


@settings(QUICK, max_examples=8)
@given(SEEDS)
def test_a_restored_venue_goes_on_alike(seed: int) -> None:
    """Stops that wait, slices to come and brackets that may grow are all in what is kept."""
    floor, steps = Floor(), script(seed, 80)
    for step in steps[:50]:
        take(floor, step)
    floor.exchange.drain()
    other = floor.restored(load(dump(floor.exchange)))
    for step in steps[50:]:
        take(floor, step)
        take(other, step)
    for one in (floor, other):
        one.wait(60)
        one.exchange.drain()
        one.exchange.check()
    assert floor.exchange.state_hash() == other.exchange.state_hash()


def among_the_flow(limit: int) -> Exchange:
    """Let alice enter one order of most kinds in a running market, and half a minute pass."""
    exchange = Exchange(ExchangeConfig(flow=FlowKind.ZERO_INTELLIGENCE, seed=5))
    exchange.open_account("alice")
    last = exchange.markets[BTC].last_price()
    asked: list[dict[str, Any]] = [
        {"limit_price": last + 20, "stop_price": last + 5},
        {"limit_price": last + 100, "attached": Bracket(last + 200, last - 100)},
        {"scaled": Scaled(5, last - 50, last)},
        {
            "limit_price": last + 50,
            "end_time_ns": 20 * SECOND_NS,
            "twap": Twap(0, 5, Decimal("0.002"), 3 * SECOND_NS),
        },
        {"limit_price": last - 100, "end_time_ns": 15 * SECOND_NS},
    ]
    for number, wanted in enumerate(asked):
        request = OrderRequest(
            client_order_id=str(number),
            product_id=BTC,
            side=Side.BUY,
            size=Decimal("0.01"),
            **wanted,
        )
        assert isinstance(exchange.create("alice", request), Order)
    while exchange.now_ns < 30 * SECOND_NS:
        exchange.advance(30 * SECOND_NS, limit=limit)
    exchange.check()
    exchange.drain()
    return exchange


def test_all_kinds_among_the_flow() -> None:
    """With the background flow, too: items one at a time or all at once lead to the same state."""
    single, whole = among_the_flow(1), among_the_flow(10_000)
    assert single.state_hash() == whole.state_hash()
    assert {"FILLED", "EXPIRED"} <= {str(order.status) for order in whole.orders("alice")}
