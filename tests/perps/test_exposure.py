"""Reduce-only in the worst case: whatever fills, in whichever order, nothing flips a position."""

from dataclasses import dataclass, field, replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from lob.types import Side
from touchstone.perps.checks import Context, Limits, Quote, Refusal, evaluate, last_gate
from touchstone.perps.exposure import pending, reduces, risk_increasing, room, worst_position
from touchstone.perps.kill import Gate, TradingState
from touchstone.perps.orders import Intent, Order, OrderState, OrderType
from touchstone.perps.positions import Position, apply_fill
from touchstone.perps.products import ProductRules

PRICE = Decimal(60_000)
RULES = ProductRules(
    symbol="BTC-PERP",
    product_id="BIP",
    price_increment=Decimal(5),
    size_increment=Decimal(1),
)


def intent(side: Side, quantity: int, key: str = "n", *, reduce_only: bool = False) -> Intent:
    """Return a limit order."""
    return Intent(
        client_order_id=key,
        symbol="BTC-PERP",
        side=side,
        quantity=Decimal(quantity),
        order_type=OrderType.LIMIT,
        limit_price=PRICE,
        reduce_only=reduce_only,
    )


def stop(side: Side, quantity: int, key: str = "s", *, reduce_only: bool = True) -> Intent:
    """Return a stop that waits in the gateway."""
    plain = intent(side, quantity, key, reduce_only=reduce_only)
    return replace(plain, order_type=OrderType.STOP, limit_price=None, stop_price=PRICE)


def order(asked: Intent, state: OrderState = OrderState.OPEN, filled: int = 0) -> Order:
    """Return an order in a state."""
    return Order(intent=asked, state=state, filled_quantity=Decimal(filled))


def test_room_is_what_the_working_orders_leave() -> None:
    """Orders of the other side and of other states do not take room; unknown ones do."""
    orders = [
        order(intent(Side.SELL, 2, "a"), filled=1),
        order(intent(Side.SELL, 3, "b"), OrderState.UNKNOWN),
        order(intent(Side.BUY, 9, "c")),
        order(stop(Side.SELL, 9, "d"), OrderState.ARMED),
    ]
    assert pending(Side.SELL, orders) == Decimal(4)
    assert room(Side.SELL, Decimal(6), orders) == Decimal(2)
    assert room(Side.SELL, Decimal(6), orders, but="b") == Decimal(5)
    assert room(Side.BUY, Decimal(6), orders) == Decimal(0)
    assert room(Side.SELL, Decimal(3), orders) == Decimal(0)


def test_a_stop_that_waits_here_needs_a_position_but_no_room() -> None:
    """A protective stop and a closing order do not stand in each other's way."""
    working = [order(intent(Side.SELL, 5, "close", reduce_only=True))]
    assert reduces(stop(Side.SELL, 5), Decimal(5), working)
    assert not reduces(stop(Side.SELL, 6), Decimal(5), working)
    assert not reduces(stop(Side.SELL, 1), Decimal(-5), working)
    assert not reduces(intent(Side.SELL, 1, reduce_only=True), Decimal(5), working)


def test_closing_keeps_every_protective_stop_that_waits_here() -> None:
    """It cannot do harm, even where the position is smaller than it by now."""
    kept = order(stop(Side.SELL, 9), OrderState.ARMED)
    entry = order(stop(Side.SELL, 2, "entry", reduce_only=False), OrderState.ARMED)
    native = order(intent(Side.SELL, 3, "native", reduce_only=True))
    assert risk_increasing([kept, native], Decimal(3)) == []
    assert risk_increasing([entry], Decimal(0)) == [entry]


def test_the_worst_position_counts_orders_that_only_reduce_as_filled_or_not() -> None:
    """A sell of 4 against a long of 3 comes to 4 short once the exit of 3 has filled first."""
    exit_first = [order(intent(Side.SELL, 3, "exit", reduce_only=True))]
    assert worst_position(Side.SELL, Decimal(4), Decimal(3), exit_first) == Decimal(4)
    assert worst_position(Side.SELL, Decimal(4), Decimal(3), []) == Decimal(1)
    resting = [order(intent(Side.BUY, 2, "more"))]
    assert worst_position(Side.BUY, Decimal(1), Decimal(3), resting) == Decimal(6)


@dataclass
class Market:
    """A venue that fills what it likes, also what the gateway believes to be over."""

    position: Position = field(default_factory=lambda: Position(symbol="BTC-PERP"))
    live: dict[str, Order] = field(default_factory=dict)
    ended: dict[str, Order] = field(default_factory=dict)

    def context(self) -> Context:
        """Return what the gateway sees: ends that nobody confirmed count as working."""
        ghosts = [replace(one, state=OrderState.UNKNOWN) for one in self.ended.values()]
        return Context(
            gate=Gate(TradingState.ACTIVE, known=True, age_seconds=0.0, why=""),
            limits=Limits(max_order_notional=Decimal(10**9), max_orders_per_minute=10**6),
            now_ns=1,
            rules=RULES,
            quote=Quote(PRICE, PRICE, 0.0),
            position=self.position.quantity,
            reconciled=True,
            working=[*self.live.values(), *ghosts],
        )

    def fill(self, key: str, most: int) -> None:
        """Fill part of an order, live or believed to be over, and look at what it did."""
        home = self.live if key in self.live else self.ended
        found = home[key]
        quantity = min(Decimal(most), found.quantity_at_venue - found.filled_quantity)
        if quantity <= 0:
            return
        before = self.position.quantity
        self.position = apply_fill(self.position, found.intent.side, quantity, PRICE)
        home[key] = found.with_fill(quantity, PRICE, Decimal(0))
        if found.intent.reduce_only:
            assert abs(self.position.quantity) == abs(before) - quantity
        if home[key].filled_quantity == found.quantity_at_venue:
            del home[key]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "stop", "trigger", "fill", "cancel", "confirm"]),
        st.sampled_from(list(Side)),
        st.integers(1, 5),
        st.booleans(),
        st.integers(0, 9),
    ),
    max_size=40,
)


@given(ACTIONS)
def test_no_interleaving_of_fills_lets_a_reduce_only_order_flip_the_position(
    actions: list[tuple[str, Side, int, bool, int]],
) -> None:
    """Fills may be partial, late, or of orders believed cancelled; stops fit into the room."""
    market = Market()
    armed: dict[str, Order] = {}
    for number, (action, side, quantity, reduce_only, pick) in enumerate(actions):
        context, key = market.context(), str(number)
        if action == "submit":
            outcome = evaluate(intent(side, quantity, key, reduce_only=reduce_only), context)
            if not isinstance(outcome, Refusal):
                market.live[key] = order(outcome)
        elif action == "stop":
            outcome = evaluate(stop(side, quantity, key, reduce_only=True), context)
            if not isinstance(outcome, Refusal):
                armed[key] = order(outcome, OrderState.ARMED)
        elif action == "trigger" and armed:
            key = list(armed)[pick % len(armed)]
            held = armed[key]
            fits = room(held.intent.side, context.position, context.working)
            sent = replace(held, sent_quantity=min(fits, held.leaves), state=OrderState.OPEN)
            if sent.sent_quantity and last_gate(sent.as_sent(), context) is None:
                market.live[key] = armed.pop(key) and sent
        else:
            _venue_does(market, action, quantity, pick)


def _venue_does(market: Market, action: str, quantity: int, pick: int) -> None:
    everything = [*market.live, *market.ended]
    if action == "fill" and everything:
        market.fill(everything[pick % len(everything)], quantity)
    elif action == "cancel" and market.live:
        key = list(market.live)[pick % len(market.live)]
        market.ended[key] = market.live.pop(key)
    elif action == "confirm" and market.ended:
        del market.ended[list(market.ended)[pick % len(market.ended)]]
