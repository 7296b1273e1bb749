"""One product's market: its book, the background that fills it, and what the public sees."""

from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar, Final, NamedTuple

from lob import OrderBook
from lob.clustered_flow import ClusteredFlow
from lob.errors import InvalidInput
from lob.flow import SeededFlow
from lob.live_feed import FeedMarket
from lob.live_market import FIRST_OWN_ID
from lob.types import Command, Event, Replace, Side, Submit, Traded
from touchstone.exchange.background import (
    FLOW_PARTICIPANT,
    Arbitrageur,
    FlowKind,
    heed,
    tell,
    usual_lots,
)
from touchstone.exchange.candles import Candles
from touchstone.exchange.identifiers import derived_uuid
from touchstone.exchange.orders import MarketTrade
from touchstone.exchange.products import Product

__all__ = ["CUSTOMER_ORDER_IDS", "FLOW_PARTICIPANT", "LevelChange", "Market", "TouchedLevel"]

CUSTOMER_ORDER_IDS: Final = FIRST_OWN_ID
"""Customers' orders are numbered from here; the background's ids lie below."""

TAPE_LENGTH: Final = 2_000
"""Trades kept for whoever asks: at the usual rate of the flow those of about 25 minutes."""


class LevelChange(NamedTuple):
    """A price level as it now stands; `quantity` 0 means that it is gone."""

    side: Side
    price: Decimal
    quantity: Decimal


class TouchedLevel(NamedTuple):
    """A price level as it now stands, in ticks and lots; 0 lots mean that it is gone."""

    side: Side
    price_ticks: int
    quantity_lots: int


class Market:
    """Run one book: the background by its own clock, customers' commands in between.

    The background is a seeded flow, a file, or nobody. What comes of it depends on the seed or the
    file, on how much of its time has passed, on the index and on customers' orders; never on how
    that time was cut into steps. A flow decides one command ahead. After the end of a file its book
    stands still but for customers' orders.
    """

    TRANSIENT: ClassVar = frozenset({"_touched", "_fresh"})
    """What waits to be drained."""

    def __init__(
        self,
        product: Product,
        *,
        run: str,
        start_ns: int,
        background: SeededFlow | FeedMarket | None = None,
        arbitrageur: Arbitrageur | None = None,
        opening_price: Decimal | None = None,
        flow_size: float = 1.0,
    ) -> None:
        self.product = product
        self.run = run
        self.candles = Candles()
        self.tape: deque[MarketTrade] = deque(maxlen=TAPE_LENGTH)
        self.opening_price = product.reference_price if opening_price is None else opening_price
        self._usual_lots = usual_lots(product, self.opening_price, flow_size)
        self.flow_now_ns = 0
        self.flow_commands = 0
        self._arbitrageur = arbitrageur
        self._file = background if isinstance(background, FeedMarket) else None
        self._flow = background if isinstance(background, SeededFlow) else None
        self._flow_start_ns = start_ns
        self._paused_ns: int | None = None
        self._fault = ""
        self._touched: set[tuple[Side, int]] = set()
        self._fresh: list[MarketTrade] = []
        self._pending: tuple[int, Command] | None = None
        if self._file is not None:
            self.book = self._file.book
            self._touched.update((order.side, order.price_ticks) for order in self.book.orders())
            self._file_start_ns = self.book.now_ns
        else:
            self.book = OrderBook(product.instrument)
        if self._flow is not None:
            for order in self._flow.seed_book():
                self._carry_out(order, start_ns)
            self._pending = self._flow.step(self.book)

    # ---------------------------------------------------------------- the background

    @property
    def background(self) -> str:
        """Return who is in the book besides customers: a flow's name, a file's format, nobody."""
        if self._file is not None:
            return f"file ({self._file.name})"
        if self._flow is None:
            return FlowKind.NONE
        clustered = isinstance(self._flow, ClusteredFlow)
        return FlowKind.CLUSTERED if clustered else FlowKind.ZERO_INTELLIGENCE

    @property
    def standstill(self) -> str:
        """Return why the background does nothing any more; "" while it goes on, or is nobody."""
        if self._fault:
            return self._fault
        ended = self._file is not None and self._file.ended
        return "the file has ended" if ended else ""

    def flow_due_ns(self) -> int | None:
        """Return the exchange's time of what the background does next; None of nothing or paused.

        A file that cannot be read any further ends there: `standstill` says why.
        """
        if self._paused_ns is not None:
            return None
        if self._pending is not None:
            return self._flow_start_ns + self._pending[0]
        if self._file is None:
            return None
        file_ns = self._next_of(self._file)
        return None if file_ns is None else self._flow_start_ns + file_ns - self._file_start_ns

    def step_flow(self) -> tuple[int, Sequence[Event]]:
        """Carry out what the background does next, whenever it is due.

        Return its time and the events that may concern customers.
        """
        due_ns = self.flow_due_ns()
        if due_ns is None:
            raise InvalidInput("background: does nothing more, or is paused")
        self.flow_now_ns = due_ns - self._flow_start_ns
        self.flow_commands += 1
        if self._flow is None or self._pending is None:
            return due_ns, self._step_file(due_ns)
        trades = self.book.trade_count
        events = self._carry_out(self._pending[1], due_ns)
        self._pending = self._flow.step(self.book)
        return due_ns, () if self.book.trade_count == trades else events

    def hear_index(self, before: Decimal, now: Decimal, time_ns: int) -> Sequence[Event]:
        """Let the flow and the arbitrageur hear the index; return the arbitrage's events.

        A file's book hears nothing: what is in it has happened.
        """
        if self._flow is None or self._arbitrageur is None or self._paused_ns is not None:
            return ()
        tick = self.product.instrument.tick_size
        tell(self._flow, before, now, tick)
        command = self._arbitrageur.look(self.book, now, tick)
        return () if command is None else self._carry_out(command, time_ns)

    def pause_flow(self, now_ns: int) -> None:
        """Stop the background's clock."""
        if self._paused_ns is None:
            self._paused_ns = now_ns

    def resume_flow(self, now_ns: int) -> None:
        """Let the background's clock go on from where it stopped."""
        if self._paused_ns is not None:
            self._flow_start_ns += now_ns - self._paused_ns
            self._paused_ns = None

    # ---------------------------------------------------------------- commands

    def apply(self, command: Command, time_ns: int) -> Sequence[Event]:
        """Apply a customer's command: its trades are on the tape, and the flow learns from them."""
        trades = self.book.trade_count
        events = self._carry_out(command, time_ns)
        if self._flow is not None and self.book.trade_count != trades:
            lots = dict.fromkeys(Side, 0)
            for event in events:
                if isinstance(event, Traded):
                    lots[event.aggressor_side] += event.quantity_lots
            for side, taken in lots.items():
                if taken:
                    heed(self._flow, side, taken, self._usual_lots)
        return events

    def _carry_out(self, command: Command, time_ns: int) -> Sequence[Event]:
        """Apply one command, note which levels it touched, and print its trades on the tape."""
        book, touched = self.book, self._touched
        trades = book.trade_count
        before = None if isinstance(command, Submit) else book.order(command.order_id)
        if before is not None:
            touched.add((before.side, before.price_ticks))
        events = book.apply(command) if self._file is None else self._file.act(command)
        if isinstance(command, Submit):
            if command.price_ticks is not None and command.order_id in book:
                touched.add((command.side, command.price_ticks))
        elif isinstance(command, Replace) and before is not None:
            touched.add((before.side, command.price_ticks))
        if book.trade_count != trades:
            self._print_all(events, time_ns)
        return events

    def touch(self, side: Side, price_ticks: int) -> None:
        """Note that a level may have changed."""
        self._touched.add((side, price_ticks))

    def drain_changes(self) -> tuple[TouchedLevel, ...]:
        """Return every level touched since the last call as it stands now, bids first."""
        if not self._touched:
            return ()
        touched = sorted(self._touched)
        self._touched.clear()
        found = self.book.level
        changes = []
        for side, price_ticks in touched:
            level = found(side, price_ticks)
            lots = 0 if level is None else level.quantity_lots
            changes.append(TouchedLevel(side, price_ticks, lots))
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

    def mid(self) -> Decimal | None:
        """Return the mean of the best bid and ask; None unless both sides are there."""
        mid_ticks = self.book.mid_ticks()
        if mid_ticks is None:
            return None
        return self.product.instrument.tick_size * Decimal(mid_ticks)

    def mark(self) -> Decimal:
        """Return the mid, else the last trade, else the opening price."""
        mid = self.mid()
        return self.last_price() if mid is None else mid

    def last_price(self) -> Decimal:
        """Return the price of the last trade, or the opening price before the first."""
        return self.tape[-1].price if self.tape else self.opening_price

    def trades(
        self, limit: int, start_ns: int | None = None, end_ns: int | None = None
    ) -> tuple[MarketTrade, ...]:
        """Return the latest trades within start_ns..end_ns, newest first. O(trades kept)."""
        found: list[MarketTrade] = []
        for trade in reversed(self.tape):
            if len(found) >= limit or (start_ns is not None and trade.time_ns < start_ns):
                break
            if end_ns is None or trade.time_ns <= end_ns:
                found.append(trade)
        return tuple(found)

    def trade_id(self, event: Traded) -> str:
        """Return the id of a trade: unique over products and over runs of the venue."""
        return derived_uuid("trade", self.run, self.product.product_id, event.sequence)

    # ---------------------------------------------------------------- inside

    def _next_of(self, file: FeedMarket) -> int | None:
        if self._fault:
            return None
        try:
            return file.next_ns()
        except InvalidInput as fault:
            self._fault = str(fault)
            return None

    def _step_file(self, time_ns: int) -> Sequence[Event]:
        if self._file is None:
            return ()
        self._touched.update(self._file.concerned())
        events = self._file.step()
        self._print_all(events, time_ns)
        return events

    def _print_all(self, events: Sequence[Event], time_ns: int) -> None:
        for event in events:
            if isinstance(event, Traded):
                self._print(event, time_ns)

    def _print(self, event: Traded, time_ns: int) -> None:
        maker_side = event.aggressor_side.opposite
        self._touched.add((maker_side, event.price_ticks))
        self.candles.add(event.price_ticks, event.quantity_lots, time_ns)
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
