"""An execution in a book that is there: a live session's, in which others act by themselves.

Nothing is built and nobody is imagined: the order meets the session's book as it stands when it
arrives, a latency after the decision, and what it takes is gone for everybody. The market at the
decision is the session's own. A limit order waits among the others' until the bar ends, counted
from the decision; without a bar it does not wait. What is left is taken out again.

Latency, dark pools and the fill forecast take part as the configuration says. Its hidden liquidity,
market impact and queue value do not: the session's book has what it hides, its own queues, and our
trades move it by what they take.

The session's time is its owner's to move. So an execution is a generator: it yields the time in
nanoseconds that the session has to come to, and goes on once it has.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from decimal import Decimal, localcontext
from typing import Any, Final, NamedTuple, Protocol

from execution_providers.l3_arrival import given, in_units, taken
from execution_providers.l3_dark import DarkShare
from execution_providers.l3_flow import OwnTrade
from execution_providers.l3_forecast import Place, rates_at, state_of, told_forecast, typical_order
from execution_providers.l3_impact import daily_volatility
from execution_providers.l3_plan import NS_PER_MS, Plan
from execution_providers.l3_scene import Ladders, quote_step
from execution_providers.provider import ARITHMETIC
from execution_providers.rules import NO_LIQUIDITY, Ended, Working, arm, opposite_touch, status_of
from execution_providers.slippage import (
    EXACT,
    NOTHING,
    Seen,
    Slippage,
    Totals,
    plain,
    split_moved,
    totals_of,
)
from execution_providers.types import (
    MAX_LEVELS,
    BarData,
    Fill,
    FillStatus,
    MarketState,
    Order,
    PartialFill,
    TimeInForce,
)
from lob import OrderBook
from lob.errors import Conflict
from lob.types import Event, Instrument, OrderType, Rejected, Side, Submit
from lob.types import TimeInForce as BookTimeInForce

_LEVELS: Final = min(50, MAX_LEVELS)
"""How many levels a side the market at the decision has."""
_NOT_IN_SESSIONS: Final = frozenset({"hidden_liquidity", "market_impact", "queue_value"})
_BOOK_TIF: Final[Mapping[TimeInForce, BookTimeInForce]] = {
    TimeInForce.GTC: BookTimeInForce.GTC,
    TimeInForce.DAY: BookTimeInForce.GTC,
    TimeInForce.IOC: BookTimeInForce.IOC,
    TimeInForce.FOK: BookTimeInForce.FOK,
}
Finish = Callable[
    [Order, FillStatus, tuple[PartialFill, ...], Totals, Seen | None, Slippage, Mapping[str, Any]],
    Fill,
]


class LiveBook(Protocol):
    """A session as an execution sees it. `name` says who the others are.

    `counts` has how often others did what, by `COUNT_NAMES`, since the session began.
    """

    @property
    def session_id(self) -> str:
        """Return the session's id."""
        ...

    @property
    def name(self) -> str:
        """Return what drives the book."""
        ...

    @property
    def instrument(self) -> Instrument:
        """Return what is traded."""
        ...

    @property
    def book(self) -> OrderBook:
        """Return the book."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """Return how often others did what."""
        ...

    def enter(self, command: Submit) -> Sequence[Event]:
        """Let our order enter the book, under its own id, and return the events."""
        ...

    def trades(self, order_id: int) -> list[OwnTrade]:
        """Return the trades in which our resting order gave, by the session's time."""
        ...

    def leave(self, order_id: int) -> None:
        """Take out what is left of our order, if anything is."""
        ...

    def next_order_id(self) -> int:
        """Return an id that nobody has had."""
        ...


class AskedLive(NamedTuple):
    """One execution: the order, the market at the decision, the bar it lives in, and the seed."""

    order: Order
    market: MarketState
    bar: BarData | None
    seed: int


def market_of(live: LiveBook, about: MarketState | None) -> MarketState:
    """Return the session's market as it stands, with what `about` knows of volume and volatility.

    Raises:
        Conflict: the book is crossed, as a venue's may be before its open.
    """
    book, instrument = live.book, live.instrument
    if book.crossed:
        raise Conflict(f"session {live.session_id}: its book is crossed; advance it first")
    bids, asks = book.depth(_LEVELS)
    last = book.last_trade_ticks
    return MarketState(
        timestamp_ms=book.now_ns // NS_PER_MS,
        bids=_levels(instrument, bids),
        asks=_levels(instrument, asks),
        last_price=None if last is None else instrument.price(last),
        adv_notional=None if about is None else about.adv_notional,
        volatility=None if about is None else about.volatility,
    )


def run_live(
    plan: Plan, asked: AskedLive, live: LiveBook, finish: Finish
) -> Generator[int, None, Fill]:
    """Execute one order in a session's book; yields the times that the session has to come to.

    `finish` makes the fill of what became of it, as providers do. Closing the generator takes the
    order out of the book.
    """
    with localcontext(ARITHMETIC):
        armed = arm(asked.order, asked.market)
    explained: dict[str, Any] = {
        "seed": asked.seed,
        "models": _names(plan, live),
        "session_id": live.session_id,
    }
    if isinstance(armed, Ended):
        explained["reason"] = armed.reason
        return finish(asked.order, armed.status, (), NOTHING, None, Slippage(), explained)
    run = _LiveRun(plan, asked, live, armed, explained)
    yield from run.steps()
    with localcontext(ARITHMETIC):
        return run.fill(finish)


class _LiveRun:
    """The state of one execution on its way."""

    def __init__(
        self,
        plan: Plan,
        asked: AskedLive,
        live: LiveBook,
        armed: Working,
        explained: dict[str, Any],
    ) -> None:
        self._plan, self._asked, self._live, self._armed = plan, asked, live, armed
        self._explained = explained
        with localcontext(ARITHMETIC):
            self._seen = Seen(asked.market)
            self._lots, self._limit = in_units(live.instrument, armed)
        self._began_ns = live.book.now_ns
        self._dark: DarkShare | None = None
        self._lit: tuple[PartialFill, ...] = ()
        self._refused: str | None = None
        touch = opposite_touch(armed.side, asked.market)
        self._touches: tuple[Decimal | None, Decimal | None, Decimal | None] = (touch, touch, touch)

    def steps(self) -> Generator[int, None, None]:
        """Go through the execution; the session has come to each time yielded."""
        plan, asked, live, armed = self._plan, self._asked, self._live, self._armed
        with localcontext(ARITHMETIC):
            latency_ns = plan.latency_ns(asked.seed, asked.market, asked.bar)
            if plan.dark is not None:
                ladders = Ladders(live.instrument, asked.market)
                dark = plan.dark.send(armed, self._lots, self._limit, ladders, asked.seed)
                if dark is not None:
                    self._dark = dark
                    self._explained["dark"] = dark.explained
                    latency_ns += dark.latency_ns
                    self._lots -= dark.filled_lots
        self._explained["latency_ns"] = latency_ns
        self._explained["events_in_flight"] = dict.fromkeys(live.counts, 0)
        if not self._lots:
            return
        before = dict(live.counts)
        if latency_ns:
            yield self._began_ns + latency_ns
        self._explained["events_in_flight"] = _since(before, live.counts)
        yield from self._in_book(latency_ns)

    def _in_book(self, latency_ns: int) -> Generator[int, None, None]:
        """Enter the book as it stands, wait there if the order may, and leave it."""
        live, asked, armed, book = self._live, self._asked, self._armed, self._live.book
        best = book.best_ask() if armed.side is Side.BUY else book.best_bid()
        if best is not None:
            touch = live.instrument.price(best.price_ticks)
            self._touches = (self._touches[0], touch, touch)
        order_id = live.next_order_id()
        try:
            events = live.enter(self._command(order_id))
            if isinstance(events[0], Rejected):
                self._refused = events[0].reason.value
                return
            with localcontext(ARITHMETIC):
                self._lit = taken(events, live.instrument, latency_ns)
                if order_id in book:
                    self._tell_place(order_id)
            if order_id not in book or asked.bar is None:
                return
            before = dict(live.counts)
            yield self._began_ns + max(latency_ns, asked.bar.duration_ms * NS_PER_MS)
            self._explained["events_while_resting"] = _since(before, live.counts)
            with localcontext(ARITHMETIC):
                trades = [
                    trade._replace(time_ns=trade.time_ns - self._began_ns)
                    for trade in live.trades(order_id)
                ]
                self._lit += given(trades, live.instrument)
        finally:
            live.leave(order_id)

    def _command(self, order_id: int) -> Submit:
        armed = self._armed
        return Submit(
            order_id,
            armed.side,
            self._lots,
            self._limit,
            order_type=OrderType.MARKET if self._limit is None else OrderType.LIMIT,
            time_in_force=_BOOK_TIF[armed.time_in_force],
            post_only=armed.post_only,
        )

    def _tell_place(self, order_id: int) -> None:
        """Say what stands before the resting order, and how likely it is to fill."""
        live, plan, book = self._live, self._plan, self._live.book
        ahead = book.queue_position(order_id).lots_ahead
        self._explained["queue_ahead"] = plain(live.instrument.quantity(ahead))
        resting = book.order(order_id)
        if plan.fill_model is None or resting is None:
            return
        bids, asks = (
            [(level.price_ticks, level.quantity_lots) for level in levels]
            for levels in book.depth(_LEVELS)
        )
        own, other = (bids, asks) if self._armed.side is Side.BUY else (asks, bids)
        own = [
            (ticks, lots - resting.displayed_lots if ticks == resting.price_ticks else lots)
            for ticks, lots in own
        ]
        own = [level for level in own if level[1] > 0]
        place = Place(
            self._armed.side,
            resting.price_ticks,
            resting.leaves,
            ahead,
            own,
            other,
            quote_step(live.instrument),
            typical_order(own, other),
        )
        lot_size, asset_class = live.instrument.lot_size, plan.asset_class
        rates = rates_at(place, self._asked.bar, plan.config.lob_data, lot_size)
        volatility = daily_volatility(self._asked.market, self._asked.bar, asset_class)
        seen_ms = book.now_ns // NS_PER_MS
        state = state_of(place, rates, volatility, asset_class, seen_ms)
        said = plan.fill_model.predict(state, plan.horizon_s)
        self._explained["fill_forecast"] = told_forecast(said, place.unit, live.instrument)

    def fill(self, finish: Finish) -> Fill:
        """Return what became of the order."""
        order, explained, seen = self._asked.order, self._explained, self._seen
        if self._refused is not None:
            explained["reason"] = self._refused
            rejected = FillStatus.REJECTED
            return finish(order, rejected, (), NOTHING, seen, Slippage(), explained)
        in_dark = () if self._dark is None else self._dark.fills
        fills = in_dark + self._lit
        if not fills:
            explained["reason"] = NO_LIQUIDITY
        lit, dark = totals_of(self._lit), totals_of(in_dark)
        slippage = split_moved(order.side, seen.reference.price, lit, self._touches, dark)
        totals = Totals(*map(EXACT.add, lit, dark))
        status = status_of(order.quantity, totals.quantity)
        return finish(order, status, fills, totals, seen, slippage, explained)


def _names(plan: Plan, live: LiveBook) -> dict[str, str]:
    names = {name: said for name, said in plan.names(None).items() if name not in _NOT_IN_SESSIONS}
    return names | {"background_flow": live.name, "book": "live session"}


def _since(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before[name] for name, count in now.items()}


def _levels(instrument: Instrument, levels: Sequence[Any]) -> tuple[tuple[Decimal, Decimal], ...]:
    price, quantity = instrument.price, instrument.quantity
    return tuple((price(level.price_ticks), quantity(level.quantity_lots)) for level in levels)
