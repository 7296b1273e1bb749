"""Whatever happens, no money and no position comes from nowhere."""

from decimal import Decimal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lob.types import Side, TimeInForce
from touchstone.exchange import Exchange, ExchangeConfig, Order, OrderRequest, OrderStatus
from touchstone.exchange.background import FlowKind

NAMES = ("alice", "bob", "carol")
PRODUCT_IDS = ("BTC-PERP-INTX", "BIP-20DEC30-CDE")


class Venue(RuleBasedStateMachine):
    """Three customers and the background flow do whatever they like."""

    @initialize(seed=st.integers(0, 50), flow=st.booleans())
    def start(self, seed: int, flow: bool) -> None:
        """Open the venue with odd fee rates, so that fees need rounding."""
        self.exchange = Exchange(
            ExchangeConfig(
                seed=seed,
                maker_fee_rate=Decimal("-0.0000777"),
                taker_fee_rate=Decimal("0.0003333"),
                flow=FlowKind.ZERO_INTELLIGENCE if flow else FlowKind.NONE,
                max_open_orders=8,
                history_limit=5,
            )
        )
        for name in NAMES:
            self.exchange.open_account(name)
        self.count = 0

    @rule(
        name=st.sampled_from(NAMES),
        product_id=st.sampled_from(PRODUCT_IDS),
        side=st.sampled_from(Side),
        lots=st.integers(1, 3_000),
        offset=st.none() | st.integers(-6, 6),
        tif=st.sampled_from(TimeInForce),
        post_only=st.booleans(),
        reduce_only=st.booleans(),
    )
    def enter(
        self,
        name: str,
        product_id: str,
        side: Side,
        lots: int,
        offset: int | None,
        tif: TimeInForce,
        post_only: bool,
        reduce_only: bool,
    ) -> None:
        """Enter an order near the first price; a reduce-only one must never turn a position."""
        product = self.exchange.products[product_id]
        tick = product.instrument.tick_size
        position = self.exchange.accounts[name].position(product_id)
        before = position.lots
        self.count += 1
        result = self.exchange.create(
            name,
            OrderRequest(
                client_order_id=str(self.count),
                product_id=product_id,
                side=side,
                size=product.instrument.quantity(lots),
                limit_price=None if offset is None else product.reference_price + offset * tick,
                time_in_force=tif,
                post_only=post_only and tif is TimeInForce.GTC and offset is not None,
                reduce_only=reduce_only,
            ),
        )
        after = self.exchange.accounts[name].position(product_id).lots
        if reduce_only and isinstance(result, Order):
            assert abs(after) <= abs(before)
            assert before * after >= 0

    @rule(name=st.sampled_from(NAMES), index=st.integers(0, 20))
    def cancel(self, name: str, index: int) -> None:
        """Cancel any order still remembered, ended or not."""
        orders = self.exchange.orders(name)
        if orders:
            self.exchange.cancel(name, [orders[index % len(orders)].order_id])

    @rule(milliseconds=st.integers(1, 5_000))
    def wait(self, milliseconds: int) -> None:
        """Let the background flow go on."""
        self.exchange.advance(self.exchange.now_ns + milliseconds * 1_000_000)

    @invariant()
    def books_and_ledgers_agree(self) -> None:
        """Money, positions, open orders and books agree after every step."""
        if not hasattr(self, "exchange"):
            return
        self.exchange.check()
        for name in NAMES:
            for product_id in PRODUCT_IDS:
                self.reduce_only_orders_cannot_turn(name, product_id)
            for order in self.exchange.orders(name):
                done = order.filled_lots + order.leaves_lots
                assert done <= order.size_lots
                assert (order.leaves_lots > 0) == (order.status is OrderStatus.OPEN)
            self.fills_are_found_by_their_orders(name)
        self.exchange.drain()

    def fills_are_found_by_their_orders(self, name: str) -> None:
        """Of whichever orders are named, known or forgotten, all remembered fills are found."""
        fills = self.exchange.fills(name)
        known = [order.order_id for order in self.exchange.orders(name)]
        for named in ({fill.order_id for fill in fills[1::2]}, set(known[:2]), {*known[-1:], "x"}):
            found = [fill for fill in fills if not named or fill.order_id in named]
            assert found == self.exchange.fills(name, named)

    def reduce_only_orders_cannot_turn(self, name: str, product_id: str) -> None:
        """Where reduce-only orders rest, their whole side fits the position."""
        held = self.exchange.accounts[name].position(product_id).lots
        working = self.exchange.open_orders(name, product_id)
        for side in Side:
            mine = [order for order in working if order.side is side]
            if any(order.request.reduce_only for order in mine):
                assert sum(order.leaves_lots for order in mine) <= -side.sign * held


TestVenue = Venue.TestCase
TestVenue.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
