"""Order flow that looks like a market's: clustered, persistent, fleeting, and seeded.

Arrivals form a Hawkes process drawn as its clusters: each event brings about further ones after
exponential times on several scales (Hawkes and Oakes, Journal of Applied Probability 11, 1974);
signs of market orders persist (Lillo, Mike and Farmer 2005); limit orders are placed by the spread,
and each is cancelled after a life of its own, so that the book's size has a stationary law
whatever happens: it neither empties nor grows for ever.
"""

import heapq
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Final

from lob import OrderBook
from lob.clustered_orders import End, LiveOrders
from lob.clustered_price import Anchor
from lob.clustered_profile import ClusteredProfile, load_profile
from lob.clustered_tables import (
    CANCEL,
    GRAIN,
    LIMIT,
    OWN_LIMIT,
    OWN_MARKET,
    PARENT_CANCEL,
    PARENT_IMPROVING,
    PARENT_LIMIT,
    PARENT_MARKET,
    PATIENT,
    PULL,
    tables_of,
)
from lob.flow import BookView, SeededFlow
from lob.types import INT64_MAX, Cancel, Command, Instrument, Level, OrderType, Side, Submit

__all__ = ["ClusteredFlow", "ClusteredProfile", "generate", "load_profile"]

_NANOSECONDS: Final = 1_000_000_000
_FIRST_ORDERS: Final = 60
_MIN_LEVELS: Final = 3
"""A side with fewer levels loses no order: it waits."""

_THIN_SECONDS: Final = 1.0
_STRIKE_SECONDS: Final = 0.001
"""How soon, on average, a market order takes the order that it has waited for."""
_MAX_TICKS: Final = INT64_MAX // 4
_SOON_SECONDS: Final = 0.005
"""A limit order that a market order brings on a time scale below this answers that trade."""

_NO_CUE, _SAME_SIDE, _OTHER_SIDE = range(3)
_MAY_CHASE: Final = 1

_Due = tuple[float, int, int, int, int]
"""Time, turn, what, sign of its side, and its cue: an order id, a ticket, or how it is placed."""

_Take = Callable[[int, int, int, BookView], Command | None]
"""Take what is due: its turn, sign and cue, and the book. None where it comes to nothing."""


class ClusteredFlow(SeededFlow):
    """Generate commands one at a time, each decided on the book as it then stands.

    The profile is that of a liquid share (`load_profile`) where none is given. The flow first runs
    by itself for the profile's `warm_up_seconds`, so that the initial book and what is yet to come
    of it are already those of a market that has been open for a while. Hidden orders stand in the
    spread only for the moment of the market order that meets them: what a feed shows of them are
    their executions.

    >>> from decimal import Decimal
    >>> from lob.types import AssetClass
    >>> share = Instrument(symbol="A", asset_class=AssetClass.EQUITY,
    ...                    tick_size=Decimal("0.01"), lot_size=Decimal(1))
    >>> flow = ClusteredFlow(share, seed=7, mid_ticks=10_000)
    >>> book = flow.seeded_book()
    >>> timestamp_ns, command = flow.step(book)
    """

    TRANSIENT: ClassVar = frozenset({"_tables", "_takes"})

    def __init__(
        self,
        instrument: Instrument,
        seed: int,
        mid_ticks: int,
        *,
        profile: ClusteredProfile | None = None,
        participant_id: int = 1,
        order_ids: range = range(1, 1_000_000_000),
        start_ns: int = 0,
    ) -> None:
        super().__init__(
            instrument,
            seed,
            mid_ticks,
            participant_id=participant_id,
            order_ids=order_ids,
            start_ns=start_ns,
        )
        self.profile = load_profile() if profile is None else profile
        self._start_ns = start_ns
        self._tables = tables_of(self.profile)
        self._due: list[_Due] = []
        self._orders = LiveOrders(self.profile.pull_recency)
        self._takes = self._all_takes()
        self._turn = 0
        self._clock = 0.0
        self._begun = 0.0
        self._pending: list[Command] = []
        # Market orders that wait for a better price: by sign, in the order in which they came.
        self._patient: dict[int, deque[int]] = {1: deque(), -1: deque()}
        self._anchor = Anchor(self.profile, self._uniform, mid_ticks)
        self._first: list[Submit] | None = None
        self._follows = False

    def __getstate__(self) -> dict[str, Any]:
        """Return what a flow goes on from; the tables of its profile are made again."""
        state = self.__dict__.copy()
        del state["_tables"], state["_takes"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Go on from there: the same tape follows."""
        self.__dict__.update(state)
        self._tables = tables_of(self.profile)
        self._takes = self._all_takes()

    def follow(self, moved_ticks: float, price_ticks: float, lean: float) -> None:
        """Hear of a price that all share: it has moved by so many ticks.

        What the flow follows moves as far, and nearer to it by the share `lean` of the way.
        """
        self.seed_book()
        self._follows = True
        self._anchor.follow(moved_ticks, price_ticks, lean)

    def seed_book(self) -> list[Submit]:
        """Return the orders of the initial book, around `mid_ticks`. The first call warms up."""
        if self._first is None:
            self._first = self._warm_up()
        return list(self._first)

    def step(self, book: BookView) -> tuple[int, Command]:
        """Return the next command and its time in nanoseconds. O(log of what is yet to come)."""
        if self._first is None:
            self._first = self._warm_up()
        command = self._next(book)
        elapsed = round((self._clock - self._begun) * _NANOSECONDS)
        self.now_ns = max(self.now_ns, self._start_ns + elapsed)
        return self.now_ns, command

    def _all_takes(self) -> tuple[_Take, ...]:
        """Return what takes each kind of event, in the order of their numbers."""
        return (
            *(self._take_limit, self._take_cancel, self._take_market, self._take_pull),
            *(self._take_own_limit, self._take_own_market, self._take_patient),
        )

    def _warm_up(self) -> list[Submit]:
        """Run alone on a book of its own; return what rests at the end, around the mid asked for.

        It runs in the middle of the range of prices: no price is too low there.
        """
        middle = max(self._mid_ticks, 1_000_000)
        book = OrderBook(self.instrument)
        self._anchor.start(middle)
        half = 1 + int(self.profile.spread_edges[0] if self.profile.spread_edges else 1) // 2
        for place in range(_FIRST_ORDERS):
            side = Side.BUY if place % 2 == 0 else Side.SELL
            behind = int(self._tables.behind_ticks[int(self._uniform() * GRAIN)])
            price = middle - side.sign * (half + behind)
            book.apply(self._order(side, price, behind, ()))
        self._push(0.0, OWN_LIMIT, 1)
        self._push(0.0, OWN_MARKET, 1)
        end = self.profile.warm_up_seconds
        while self._clock < end:
            book.apply(self._next(book))
        while self._pending:
            book.apply(self._next(book))
        self._begun = self._clock
        bid, ask = book.best_bid(), book.best_ask()
        now = (bid.price_ticks + ask.price_ticks) // 2 if bid and ask else middle
        shift = self._mid_ticks - now
        self._anchor.shift(shift)
        self._orders.shift(shift)
        return [
            Submit(
                order.order_id,
                order.side,
                order.leaves,
                order.price_ticks + shift,
                participant_id=self.participant_id,
            )
            for order in book.orders()
            if order.price_ticks + shift >= 1
        ]

    # ---------------------------------------------------------------- what comes next

    def _next(self, book: BookView) -> Command:
        """Return the next command; `_clock` is its time."""
        if self._pending:
            return self._pending.pop()
        due, takes = self._due, self._takes
        while True:
            self._clock, turn, kind, sign, cue = heapq.heappop(due)
            command = takes[kind](turn, sign, cue, book)
            if command is not None:
                return command

    def _take_cancel(self, turn: int, sign: int, order_id: int, book: BookView) -> Command | None:
        end = self._orders.forget(order_id, turn, sign)
        if end is None or order_id not in book:
            return None
        if self._is_thin(sign, book):
            self._end(self._clock + _THIN_SECONDS, sign, order_id, end.price_ticks)
            return None
        return self._cancel(order_id, sign)

    def _take_pull(self, _turn: int, sign: int, cue: int, book: BookView) -> Command | None:
        order_id = self._pulled(sign, cue, book)
        return self._cancel(order_id, sign) if order_id else None

    def _take_limit(self, _turn: int, sign: int, cue: int, book: BookView) -> Command | None:
        return self._limit(sign, cue, book)

    def _take_own_limit(self, _turn: int, _sign: int, _cue: int, book: BookView) -> Command | None:
        self._push(self._clock + self._exponential(self._tables.own_limit_wait), OWN_LIMIT, 1)
        self._anchor.hear_news()
        sign = 1 if self._uniform() < 0.5 else -1  # noqa: PLR2004 - a fair coin
        return self._limit(sign, _NO_CUE, book)

    def _take_own_market(self, turn: int, _sign: int, _cue: int, book: BookView) -> Command | None:
        if self._tables.own_market_wait == math.inf:
            return None
        self._push(self._clock + self._exponential(self._tables.own_market_wait), OWN_MARKET, 1)
        return self._take_market(turn, 1, _NO_CUE, book)

    def _take_market(self, _turn: int, _sign: int, _cue: int, book: BookView) -> Command | None:
        sign = self._anchor.next_sign()
        if self._uniform() < self.profile.patience:
            self._wait(sign)
            return None
        return self._market(sign, book)

    def _take_patient(self, _turn: int, sign: int, ticket: int, book: BookView) -> Command | None:
        return self._market(sign, book) if self._strikes(ticket, sign) else None

    def _wait(self, sign: int) -> None:
        """Let a market order wait for an order that improves on the side it will hit."""
        self._turn += 1
        ticket = self._turn
        self._patient[sign].append(ticket)
        until = self._clock + self.profile.patience_seconds
        heapq.heappush(self._due, (until, ticket, PATIENT, sign, ticket))

    def _strikes(self, ticket: int, sign: int) -> bool:
        """Say whether a market order goes now: it was called, or has waited long enough."""
        if ticket == 0:
            return True
        waiting = self._patient[sign]
        if waiting and waiting[0] == ticket:
            waiting.popleft()
            return True
        return False

    def _cancel(self, order_id: int, sign: int) -> Command:
        self._bring(PARENT_CANCEL, sign)
        if self._uniform() < self.profile.replace_share:
            self._push(self._clock, LIMIT, sign)
        return Cancel(order_id)

    def _is_thin(self, sign: int, book: BookView) -> bool:
        """Say whether a side has too few levels to lose an order."""
        bids, asks = book.depth(_MIN_LEVELS)
        return len(bids if sign > 0 else asks) < _MIN_LEVELS

    def _pulled(self, sign: int, cue: int, book: BookView) -> int:
        """Take out an order of a side before its time; 0 where none may go.

        It is the first at the best price, or of a few that came lately the one to go soonest.
        """
        if self._is_thin(sign, book):
            return 0
        bid, ask = book.best_bid(), book.best_ask()
        profile = self.profile
        if (
            cue
            and bid is not None
            and ask is not None
            and ask.price_ticks - bid.price_ticks < profile.chase_below
            and self._uniform()
            < -sign * profile.chase * self._anchor.off(bid.price_ticks + ask.price_ticks)
        ):
            best = bid if sign > 0 else ask
            for order_id in self._orders.at(sign, best.price_ticks):
                if order_id in book:
                    self._orders.forget(order_id, self._orders.ends[order_id].turn, sign)
                    return order_id
            return 0
        return self._orders.take_lately(sign, book, self._uniform)

    def _bring(self, parent: int, sign: int) -> None:
        """Schedule what an event brings about by itself."""
        brought = self._tables.brought[parent]
        count = brought.counts[int(self._uniform() * GRAIN)]
        for _ in range(count):
            kind, relation, wait = brought.kinds[int(self._uniform() * GRAIN)]
            at = self._clock - math.log1p(-self._uniform()) * wait
            self._turn += 1
            cue = _NO_CUE
            if kind == PULL:
                cue = _NO_CUE if parent == PARENT_LIMIT else _MAY_CHASE
            elif parent == PARENT_MARKET and wait < _SOON_SECONDS:
                cue = _SAME_SIDE if relation > 0 else _OTHER_SIDE
            heapq.heappush(self._due, (at, self._turn, kind, sign * relation, cue))

    def _push(self, at: float, kind: int, sign: int) -> None:
        self._turn += 1
        heapq.heappush(self._due, (at, self._turn, kind, sign, _NO_CUE))

    def _end(self, at: float, sign: int, order_id: int, price: int) -> None:
        """Schedule the cancel of an order."""
        self._turn += 1
        self._orders.schedule(order_id, sign, End(self._turn, price, at))
        heapq.heappush(self._due, (at, self._turn, CANCEL, sign, order_id))

    def _exponential(self, mean: float) -> float:
        return -math.log1p(-self._uniform()) * mean

    # ---------------------------------------------------------------- limit orders

    def _limit(self, sign: int, cue: int, book: BookView) -> Command:
        profile = self.profile
        bid, ask = book.best_bid(), book.best_ask()
        if bid is None or ask is None:
            return self._refill(sign, bid, ask, book)
        spread = ask.price_ticks - bid.price_ticks
        if self._follows and spread > self._tables.far_ticks:
            return self._refill(sign, bid, ask, book)
        off = self._anchor.off(bid.price_ticks + ask.price_ticks)
        width = bisect_right(profile.spread_edges, spread)
        inside = self._tables.inside_shares[cue][width]
        draw = self._uniform()
        if spread > 1 and draw < inside:
            # What is left of the draw decides the side.
            if draw < abs(off) * inside:
                sign = 1 if off > 0 else -1
            improve = self._tables.inside_ticks[width][int(self._uniform() * GRAIN)]
            behind = -improve if improve < spread else -1
        else:
            behind = self._tables.behind_ticks[int(self._uniform() * GRAIN)]
        side = Side.BUY if sign > 0 else Side.SELL
        best = bid if sign > 0 else ask
        price = best.price_ticks - sign * behind
        return self._order(side, price, behind, book)

    def _refill(self, sign: int, bid: Level | None, ask: Level | None, book: BookView) -> Command:
        """Return an order for the side that is empty, at a place by the last known mid.

        By the price that the flow follows where it follows one; then for a far side too.
        """
        if bid is None or ask is None:
            sign = 1 if bid is None else -1
        behind = self._tables.behind_ticks[int(self._uniform() * GRAIN)]
        mid = round(self._anchor.ticks) if self._follows else self._anchor.twice_mid // 2
        price = mid - sign * (1 + behind)
        if sign > 0 and ask is not None:
            price = min(price, ask.price_ticks - 1)
        elif sign < 0 and bid is not None:
            price = max(price, bid.price_ticks + 1)
        return self._order(Side.BUY if sign > 0 else Side.SELL, price, behind, book)

    def _order(self, side: Side, price: int, behind: int, book: "BookView | tuple[()]") -> Submit:
        """Return a limit order, with its end and what it brings about scheduled."""
        profile = self.profile
        order_id = self._next_id(book, len(self._due))
        lives = self._tables.lives[bisect_right(profile.life_edges, behind)]
        ends = self._clock + lives[int(self._uniform() * GRAIN)]
        sign = side.sign
        self._orders.arrive(order_id, sign)
        price = min(max(price, 1), _MAX_TICKS)
        self._end(ends, sign, order_id, price)
        if book != ():
            self._bring(PARENT_LIMIT, sign)
            if behind < 0:
                if self._anchor.run_sign == -sign:
                    self._bring(PARENT_IMPROVING, sign)
                if self._patient[-sign]:
                    self._patient[-sign].popleft()
                    self._push(self._clock + self._exponential(_STRIKE_SECONDS), PATIENT, -sign)
        lots = self._tables.limit_lots[int(self._uniform() * GRAIN)]
        return Submit(order_id, side, lots, price, participant_id=self.participant_id)

    # ---------------------------------------------------------------- market orders

    def _market(self, sign: int, book: BookView) -> Command | None:
        """Return a market order, or the first of the hidden orders that it meets; None to wait.

        A side that has few levels is not traded away.
        """
        bids, asks = book.depth(_MIN_LEVELS)
        there = asks if sign > 0 else bids
        if len(there) < _MIN_LEVELS or not bids or not asks:
            return None
        self._anchor.twice_mid = bids[0].price_ticks + asks[0].price_ticks
        self._bring(PARENT_MARKET, sign)
        side = Side.BUY if sign > 0 else Side.SELL
        profile = self.profile
        draw = self._uniform()
        spread = asks[0].price_ticks - bids[0].price_ticks
        meets_hidden = spread > 1 and draw < profile.hidden_only + profile.hidden_mixed
        hidden = self._hidden(side, bids, asks, book) if meets_hidden else []
        lots = sum(order.quantity_lots for order in hidden)
        if not meets_hidden or draw >= profile.hidden_only:
            lots += self._visible_lots(there)
        market = Submit(
            self._next_id(book, len(self._due) + len(hidden)),
            side,
            lots,
            order_type=OrderType.MARKET,
            participant_id=self.participant_id,
        )
        if not hidden:
            return market
        self._pending = [market, *hidden[:0:-1]]
        return hidden[0]

    def _visible_lots(self, there: Sequence[Level]) -> int:
        profile = self.profile
        best = there[0].quantity_lots
        draw = self._uniform()
        take = profile.take_shares[bisect_right(profile.take_edges, best)]
        if draw < take:
            return best
        lots = self._tables.market_lots[int(self._uniform() * GRAIN)]
        if draw < take + profile.sweep_share:
            return best + min(lots, there[1].quantity_lots)
        return min(lots, max(best - 1, 1))

    def _hidden(
        self, side: Side, bids: Sequence[Level], asks: Sequence[Level], book: BookView
    ) -> list[Submit]:
        """Return hidden orders of the other side, inside the spread: they trade first."""
        spread = asks[0].price_ticks - bids[0].price_ticks
        touch = asks[0] if side is Side.BUY else bids[0]
        price = touch.price_ticks - side.sign * (1 + int(self._uniform() * (spread - 1)))
        return [
            Submit(
                self._next_id(book, len(self._due) + place),
                side.opposite,
                self._tables.hidden_lots[int(self._uniform() * GRAIN)],
                price,
                participant_id=self.participant_id,
                hidden=True,
            )
            for place in range(self._geometric(self.profile.hidden_slices))
        ]


def generate(
    instrument: Instrument,
    seed: int,
    mid_ticks: int,
    *,
    profile: ClusteredProfile | None = None,
    start_ns: int = 0,
) -> Iterator[tuple[int, Command]]:
    """Yield timed commands without end: first those of the initial book, at `start_ns`.

    They are decided on a book of its own, which takes nothing else; where others trade too, ask a
    `ClusteredFlow` with the book that all share. The profile is that of a liquid share where none
    is given. Same arguments, same commands.

    >>> from decimal import Decimal
    >>> from itertools import islice
    >>> from lob.types import AssetClass
    >>> share = Instrument(symbol="A", asset_class=AssetClass.EQUITY,
    ...                    tick_size=Decimal("0.01"), lot_size=Decimal(1))
    >>> len(list(islice(generate(share, seed=7, mid_ticks=10_000), 500)))
    500
    """
    flow = ClusteredFlow(
        instrument,
        seed,
        mid_ticks,
        profile=profile,
        start_ns=start_ns,
    )
    book = OrderBook(instrument)
    for order in flow.seed_book():
        book.apply(order)
        yield start_ns, order
    while True:
        timestamp_ns, command = flow.step(book)
        book.apply(command)
        yield timestamp_ns, command
