"""What others do while an order is on its way and while it waits: seeded background flow.

The flow is made to agree with the bar: marketable orders of the bar's volume in expectation, and
quotes that follow a random walk whose variance is that of the bar's range (Parkinson 1980), pulled
to the bar's close and reflected at its high and low. A marketable order takes the touch and never
reaches beyond it (what is larger than the touch is not traded in full); what it takes comes back
at the touch. Cancels come so many to a trade as the configuration says (`lob_data`) and strike any
resting order alike; as many lots come back at the tail of the same price, so that the depth stays
what it was.

Time is coarse where a stretch would hold more than `MAX_*` events: then fewer and larger ones stand
for them, with the same expected volume and the same variance.
"""

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import count
from random import Random
from typing import Final, NamedTuple

from execution_providers.l3_scene import FIRST_OTHER_ID, OWN_ORDER_ID
from execution_providers.streams import Stream
from execution_providers.types import BarData
from lob import OrderBook
from lob.config import Reaction
from lob.types import Event, Side, TimeInForce, Traded

MAX_TRADES: Final = 48
MAX_CANCELS: Final = 128
MAX_QUOTE_MOVES: Final = 64
MAX_EVENT_LOTS: Final = 2**60
NS_PER_MS: Final = 1_000_000

# The flow of one bar looks at sides a thousand times; a name here costs less than a member there.
_BUY: Final = Side.BUY
_SELL: Final = Side.SELL
COUNT_NAMES: Final = ("trades", "cancels", "adds", "quote_moves")


class OwnTrade(NamedTuple):
    """One trade of our resting order."""

    time_ns: int
    price_ticks: int
    quantity_lots: int


class _Pace(NamedTuple):
    """Events per nanosecond over one stretch, and how large each is."""

    trades: float
    cancels: float
    moves: float
    trade_lots: float
    move_ticks: float


class BackgroundFlow:
    """Run what others do in `book`, fresh from `build_book`, over the time of one bar."""

    def __init__(
        self,
        book: OrderBook,
        bar: BarData,
        rng: Random,
        *,
        quote_tick: Decimal,
        cancels_per_trade: float,
    ) -> None:
        self._book = book
        self._rng = rng
        self._cancels_per_trade = cancels_per_trade
        self.counts = dict.fromkeys(COUNT_NAMES, 0)
        self._own_trades: list[OwnTrade] = []
        # Set where our own trades move the quotes, and where somebody looks at what trades.
        self.pushed_ticks: Callable[[int], int] | None = None
        self.watch: Callable[[int, Sequence[Event]], None] | None = None
        self._pushed = 0
        self._now_ns = 0
        self.end_ns = bar.duration_ms * NS_PER_MS
        instrument = book.instrument
        tick = Decimal(1) if instrument is None else instrument.tick_size
        lot = Decimal(1) if instrument is None else instrument.lot_size
        bid, ask = book.best_bid(), book.best_ask()
        self._bid0 = None if bid is None else bid.price_ticks
        self._ask0 = None if ask is None else ask.price_ticks
        touches = [price for price in (self._bid0, self._ask0) if price is not None]
        start = sum(touches) / len(touches) if touches else float(bar.open / tick)
        self._start = self._path = start
        self._moved_ns = 0
        self._shift = 0
        self._quote_ticks = max(1, int(quote_tick / tick))
        self._low = min(float(bar.low / tick), start)
        self._high = max(float(bar.high / tick), start)
        self._close = float(bar.close / tick)
        sigma = math.log(float(bar.high / bar.low)) / (2 * math.sqrt(math.log(2)))
        self._variance = (sigma * start) ** 2  # of the whole bar, in ticks^2
        self._volume_lots = float(bar.volume / lot)
        bids, asks = book.depth(len(book))
        lots = sum(level.quantity_lots for level in bids + asks)
        self._order_lots = max(1.0, lots / max(1, len(book)))
        self._level_lots = max(1, lots // max(1, len(bids) + len(asks)))
        self._ids = list(range(FIRST_OTHER_ID, FIRST_OTHER_ID + len(book)))
        self._next_id = count(FIRST_OTHER_ID + len(book))

    def run(self, until_ns: int, *, own_waits: bool) -> list[OwnTrade]:
        """Let time pass to `until_ns` (at most the bar's end) and return our order's trades.

        With `own_waits` it stops as soon as our order is no longer in the book.
        """
        until_ns = min(until_ns, self.end_ns)
        pace = self._pace(until_ns - self._now_ns)
        total = pace.trades + pace.cancels + pace.moves
        trades = self._own_trades = []
        if total <= 0:
            self._now_ns = max(self._now_ns, until_ns)
            return trades
        book, log, draw = self._book, math.log, self._rng.random
        trades_below, cancels_below = pace.trades, pace.trades + pace.cancels
        while True:
            self._now_ns += round(-log(1.0 - draw()) / total) or 1
            if self._now_ns >= until_ns:
                self._now_ns = until_ns
                return trades
            if self.pushed_ticks is not None:
                self.follow_push()
            which = draw() * total
            if which < trades_below:
                self._trade(pace)
            elif which < cancels_below:
                self._cancel()
            else:
                self._move(pace)
            if own_waits and OWN_ORDER_ID not in book:
                return trades

    def react(
        self, reaction: Reaction, side: Side, lots: int, share: float, draws: Stream
    ) -> list[OwnTrade]:
        """Let others answer our having taken `lots`, and return what our order gave meanwhile.

        `side` is our order's; see `lob.config.Reaction` for what each reaction is.
        """
        book, hit = self._book, _SELL if side is _BUY else _BUY
        answered = round(lots * share)
        trades = self._own_trades = []
        if self.pushed_ticks is not None:
            self.follow_push()
        if reaction is Reaction.REPLENISH and answered:
            quote = self._quote(hit)
            if quote is not None:
                self._add(hit, quote, answered)
        elif reaction is Reaction.WITHDRAW:
            leaving = [order.order_id for order in book.orders(hit)]
            for order_id in leaving:
                if draws.random() < share:
                    book.cancel(order_id)
                    self.counts["cancels"] += 1
        elif reaction is Reaction.INFORMED and answered:
            touch = book.best_ask() if side is _BUY else book.best_bid()
            if touch is not None:
                followed = next(self._next_id)
                ticks = touch.price_ticks
                book.submit(followed, side, answered, ticks, time_in_force=TimeInForce.IOC)
                self.counts["trades"] += 1
        return trades

    def follow_push(self) -> None:
        """Move the quotes to where our own trades hold them at this time."""
        if self.pushed_ticks is None:
            return
        pushed = self.pushed_ticks(self._now_ns)
        if pushed != self._pushed:
            up = pushed > self._pushed
            self._pushed = pushed
            self.counts["quote_moves"] += 1
            self._requote(up)

    def _pace(self, stretch_ns: int) -> _Pace:
        """Return rates and sizes such that a stretch has a bounded number of events."""
        if stretch_ns <= 0:
            return _Pace(0.0, 0.0, 0.0, 0.0, 0.0)
        share = stretch_ns / self.end_ns
        lots = self._volume_lots * share
        trades = lots / self._order_lots
        cancels = min(trades * self._cancels_per_trade, MAX_CANCELS)
        trades = min(trades, MAX_TRADES)
        variance = self._variance * share
        moves = min(variance / self._quote_ticks**2, MAX_QUOTE_MOVES)
        return _Pace(
            trades=trades / stretch_ns,
            cancels=cancels / stretch_ns,
            moves=moves / stretch_ns,
            trade_lots=lots / trades if trades else 0.0,
            move_ticks=math.sqrt(variance / moves) if moves else 0.0,
        )

    def _trade(self, pace: _Pace) -> None:
        """Send a marketable order to the touch, and bring back what it took from others."""
        rng, book = self._rng, self._book
        buys = rng.random() < 0.5  # noqa: PLR2004 - a fair coin
        lots = round(-math.log(1.0 - rng.random()) * pace.trade_lots)
        lots = min(max(lots, 1), MAX_EVENT_LOTS)
        touch = book.best_ask() if buys else book.best_bid()
        if touch is None:
            return
        price_ticks = touch.price_ticks
        side, resting = (_BUY, _SELL) if buys else (_SELL, _BUY)
        order_id = next(self._next_id)
        events = book.submit(order_id, side, lots, price_ticks, time_in_force=TimeInForce.IOC)
        self.counts["trades"] += 1
        if self.watch is not None:
            self.watch(self._now_ns, events)
        taken = self._taken_from_others(events)
        if taken:
            quote = self._quote(resting)
            self._add(resting, price_ticks if quote is None else quote, taken)

    def _cancel(self) -> None:
        """Cancel any of the others' orders; as many lots come back at the tail of its price."""
        ids, book, draw = self._ids, self._book, self._rng.random
        while ids:
            index = int(draw() * len(ids))
            order = book.order(ids[index])
            ids[index] = ids[-1]
            ids.pop()
            if order is None:
                continue  # it traded, or a quote move took it
            book.cancel(order.order_id)
            self.counts["cancels"] += 1
            # An iceberg's reserve goes with it: what comes back is what showed.
            self._add(order.side, order.price_ticks, order.displayed_lots)
            return

    def _move(self, pace: _Pace) -> None:
        """Move the price path, and the quotes with it where it has gone a step."""
        elapsed_ns = self._now_ns - self._moved_ns
        left_ns = self.end_ns - self._moved_ns
        self._moved_ns = self._now_ns
        pull = (self._close - self._path) * elapsed_ns / left_ns
        path = self._path + pull + self._rng.gauss(0.0, 1.0) * pace.move_ticks
        low, high = self._low, self._high
        path = high - abs(high - path)
        self._path = path = min(max(low + abs(path - low), low), high)
        steps = round((path - self._start) / self._quote_ticks)
        shift = steps * self._quote_ticks
        if shift == self._shift:
            return
        up = shift > self._shift
        self._shift = shift
        self.counts["quote_moves"] += 1
        self._requote(up)

    def _requote(self, up: bool) -> None:
        """Withdraw others' orders that the new quotes leave behind, and put up the new quotes.

        What comes in at the new price trades with our order where that rests there or beyond.
        """
        book = self._book
        leaving, following = (_SELL, _BUY) if up else (_BUY, _SELL)
        edge = self._quote(leaving)
        if edge is not None:
            self._withdraw(leaving, edge)
        for side in (following, leaving):
            quote = self._quote(side)
            if quote is None:
                continue
            best = book.best_bid() if side is _BUY else book.best_ask()
            if best is None or (quote - best.price_ticks) * side.sign > 0:
                self._add(side, quote, self._level_lots)

    def _withdraw(self, side: Side, edge: int) -> None:
        """Cancel others' orders of `side` that are better than `edge`."""
        book, sign = self._book, side.sign
        leaving: list[int] = []
        for order in book.orders(side):
            if (order.price_ticks - edge) * sign <= 0:
                break
            if order.order_id != OWN_ORDER_ID:
                leaving.append(order.order_id)
        for order_id in leaving:
            book.cancel(order_id)
        self.counts["cancels"] += len(leaving)

    def _quote(self, side: Side) -> int | None:
        """Return where the path puts a side's touch; None where the side was empty."""
        first = self._bid0 if side is _BUY else self._ask0
        if first is None:
            return None
        quote = first + self._shift + self._pushed
        return max(1, quote)

    def _add(self, side: Side, price_ticks: int, lots: int) -> None:
        order_id = next(self._next_id)
        events = self._book.submit(order_id, side, lots, price_ticks)
        self.counts["adds"] += 1
        if len(events) > 1:  # it met somebody; the events of one that did not need no look
            self._taken_from_others(events)
        if order_id in self._book:
            self._ids.append(order_id)

    def _taken_from_others(self, events: Sequence[Event]) -> int:
        """Return the lots that others gave, and note the trades of our own order."""
        taken = 0
        for event in events:
            if type(event) is Traded:
                if event.maker_order_id == OWN_ORDER_ID:
                    own = OwnTrade(self._now_ns, event.price_ticks, event.quantity_lots)
                    self._own_trades.append(own)
                else:
                    taken += event.quantity_lots
        return taken
