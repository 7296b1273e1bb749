"""One product's market: the book, the background flow that fills it, and what the public sees."""

from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple

from lob import OrderBook
from lob.flow import FlowProfile, ZeroIntelligence
from lob.types import Command, Event, Side, Submit, Traded
from touchstone.exchange.identifiers import derived_seed, derived_uuid
from touchstone.exchange.orders import MarketTrade
from touchstone.exchange.products import Family, Product
from touchstone.exchange.statistics import TradeStatistics

FLOW_PARTICIPANT: Final = 0
"""The background flow trades as participant 0, which the book never treats as one customer."""

CUSTOMER_ORDER_IDS: Final = 1 << 62
"""Customers' orders are numbered from here; the flow's ids lie below."""

_TAPE_LENGTH: Final = 1_000


class LevelChange(NamedTuple):
    """A price level as it now stands; `quantity` 0 means that it is gone."""

    side: Side
    price: Decimal
    quantity: Decimal


def flow_profile(product: Product) -> FlowProfile:
    """Return the flow's rates for a product: about 25 commands a second, 400 resting orders.

    Orders are of about 0.2 BTC or 2 ETH whatever the lot, so that both shapes are as deep.
    """
    coins = Decimal("0.2") if product.coin == "BTC" else Decimal(2)
    lots = int(coins / product.lot_value_per_price)
    return FlowProfile(
        resting_orders=400,
        distance_ticks=20.0 if product.family is Family.INTX else 8.0,
        order_lots=float(lots),
        round_lots=max(1, lots // 2),
    )


class Market:
    """Run one book: background flow by its own clock, customers' commands in between.

    The flow's tape depends on its seed, on how much flow time has passed and on customers' orders;
    never on how that time was cut into steps.
    """

    def __init__(
        self, product: Product, *, seed: int, run: str, start_ns: int, background_flow: bool = True
    ) -> None:
        instrument = product.instrument
        self.product = product
        self.run = run
        self.book = OrderBook(instrument)
        self.statistics = TradeStatistics()
        self.tape: deque[MarketTrade] = deque(maxlen=_TAPE_LENGTH)
        self.flow_now_ns = 0
        self.flow_commands = 0
        self._touched: set[tuple[Side, int]] = set()
        self._fresh: list[MarketTrade] = []
        self._flow = _flow(product, seed) if background_flow else None
        self._pending: tuple[int, Command] | None = None
        if self._flow is not None:
            for order in self._flow.seed_book():
                self.apply(order, start_ns)
            self._pending = self._flow.step(self.book)

    # ---------------------------------------------------------------- commands

    def step_flow(
        self, until_flow_ns: int, now_ns: int, limit: int
    ) -> Iterator[tuple[int, tuple[Event, ...]]]:
        """Apply the flow's commands due by `until_flow_ns`, at most `limit`; yield time and events.

        `now_ns` is the exchange's time at `until_flow_ns`. Where the limit ends it sooner, the
        flow's clock stays at the last command, so that what was not reached comes later.
        """
        for _ in range(limit):
            if self._flow is None or self._pending is None or self._pending[0] > until_flow_ns:
                self.flow_now_ns = until_flow_ns
                return
            due_ns, command = self._pending
            time_ns = now_ns - (until_flow_ns - due_ns)
            events = self.apply(command, time_ns)
            self.flow_now_ns = due_ns
            self.flow_commands += 1
            self._pending = self._flow.step(self.book)
            yield time_ns, events

    def apply(self, command: Command, time_ns: int) -> tuple[Event, ...]:
        """Apply one command, note which levels it touched, and print its trades on the tape."""
        before = None if isinstance(command, Submit) else self.book.order(command.order_id)
        if before is not None:
            self._touched.add((before.side, before.price_ticks))
        events = self.book.apply(command)
        rested = self.book.order(command.order_id)
        if rested is not None:
            self._touched.add((rested.side, rested.price_ticks))
        for event in events:
            if isinstance(event, Traded):
                self._print(event, time_ns)
        return events

    def touch(self, side: Side, price_ticks: int) -> None:
        """Note that a level may have changed."""
        self._touched.add((side, price_ticks))

    def drain_changes(self) -> tuple[LevelChange, ...]:
        """Return every level touched since the last call as it stands now, bids first."""
        instrument = self.product.instrument
        changes = []
        for side, price_ticks in sorted(self._touched):
            level = self.book.level(side, price_ticks)
            lots = 0 if level is None else level.quantity_lots
            changes.append(
                LevelChange(side, instrument.price(price_ticks), instrument.quantity(lots))
            )
        self._touched.clear()
        return tuple(changes)

    def drain_trades(self) -> tuple[MarketTrade, ...]:
        """Return the trades since the last call, oldest first."""
        fresh = tuple(self._fresh)
        self._fresh.clear()
        return fresh

    # ---------------------------------------------------------------- questions

    def levels(self, depth: int) -> tuple[tuple[LevelChange, ...], tuple[LevelChange, ...]]:
        """Return up to `depth` bid levels and ask levels, best first, in decimals."""
        instrument = self.product.instrument
        bids, asks = self.book.depth(depth)
        return (
            tuple(
                LevelChange(Side.BUY, instrument.price(p), instrument.quantity(q))
                for p, q, _ in bids
            ),
            tuple(
                LevelChange(Side.SELL, instrument.price(p), instrument.quantity(q))
                for p, q, _ in asks
            ),
        )

    def mark(self) -> Decimal:
        """Return the mark price: the mid, else the last trade, else the reference price.

        There is no index yet, so the mark is the book's own.
        """
        mid_ticks = self.book.mid_ticks()
        if mid_ticks is not None:
            return self.product.instrument.tick_size * Decimal(mid_ticks)
        return self.last_price()

    def last_price(self) -> Decimal:
        """Return the price of the last trade, or the reference price before the first."""
        return self.tape[-1].price if self.tape else self.product.reference_price

    # ---------------------------------------------------------------- inside

    def _print(self, event: Traded, time_ns: int) -> None:
        maker_side = event.aggressor_side.opposite
        self._touched.add((maker_side, event.price_ticks))
        self.statistics.add(event.price_ticks, event.quantity_lots, time_ns)
        trade = MarketTrade(
            trade_id=self.trade_id(event),
            product=self.product,
            price_ticks=event.price_ticks,
            lots=event.quantity_lots,
            maker_side=maker_side,
            time_ns=time_ns,
        )
        self.tape.append(trade)
        self._fresh.append(trade)

    def trade_id(self, event: Traded) -> str:
        """Return the id of a trade: unique over products and over runs of the venue."""
        return derived_uuid("trade", self.run, self.product.product_id, event.sequence)


def _flow(product: Product, seed: int) -> ZeroIntelligence:
    return ZeroIntelligence(
        product.instrument,
        seed=derived_seed("flow", seed, product.product_id),
        mid_ticks=product.instrument.to_ticks(product.reference_price),
        profile=flow_profile(product),
        participant_id=FLOW_PARTICIPANT,
        order_ids=range(1, 1 << 40),
    )
