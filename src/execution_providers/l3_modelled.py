"""One execution with models on: the dark first, then the book with what it hides, then the queue.

In order: the dark pools take what may go there; what is left goes on its way, while others act; on
arrival the quotes give way before it (impact), it trades, and what rests is told what it may expect
(fill forecast) and what its place is worth (queue value); others react, and time goes on to the
bar's end with the quotes where our trades hold them.

Quotes that give way by k ticks are the same as an order whose limit is k ticks lower and whose
prices are k ticks higher: the book stays as it is, and the order is seen from its frame. Ticks of
the frame are k less than those of the market throughout (k is below 0 for a SELL).
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any, Final, NamedTuple

from execution_providers.l3_arrival import given, in_units, submit, taken
from execution_providers.l3_dark import DarkShare
from execution_providers.l3_flow import COUNT_NAMES, BackgroundFlow
from execution_providers.l3_forecast import (
    Ladder,
    Place,
    advise,
    rates_at,
    state_of,
    told_advice,
    told_forecast,
    typical_order,
)
from execution_providers.l3_hidden import HiddenOrders
from execution_providers.l3_impact import PathShift, concession_bps, daily_volatility, in_ticks
from execution_providers.l3_plan import Plan
from execution_providers.l3_scene import (
    OWN_ORDER_ID,
    book_of,
    usual_tick,
)
from execution_providers.rules import NO_LIQUIDITY, Working, opposite_touch
from execution_providers.slippage import NOTHING, Totals, plain, totals_of
from execution_providers.streams import REACTION, Stream
from execution_providers.types import BarData, MarketState, PartialFill
from lob import OrderBook
from lob.config import Reaction
from lob.impact import Impact
from lob.market_making import QueueAction
from lob.types import INT64_MAX, Instrument, Level, Rejected, Side

_NO_IMPACT: Final = Impact(0.0, 0.0)
_BPS: Final = 10_000


class Asked(NamedTuple):
    """One execution: the armed order, its market and bar, and what the provider knows besides."""

    order: Working
    market: MarketState
    bar: BarData | None
    seed: int
    instrument: Instrument
    reference: Decimal
    latency_ns: int
    maker_bps: Decimal


class Modelled(NamedTuple):
    """What became of it: fills of the book and of the dark, the touches, and the reasons.

    `touches` are the opposite side's at the decision, on arrival, and once the quotes had given
    way. What `explained` has functions for is written down when somebody asks (`told_of`).
    """

    lit: tuple[PartialFill, ...]
    dark: tuple[PartialFill, ...]
    touches: tuple[Decimal | None, Decimal | None, Decimal | None]
    refused: str | None
    explained: dict[str, Any]

    def totals(self) -> tuple[Totals, Totals]:
        """Return what the book's fills, and the dark's, add up to."""
        return totals_of(self.lit), totals_of(self.dark) if self.dark else NOTHING


def told_of(seed: int, plan: Plan, bar: BarData | None, done: Modelled) -> dict[str, Any]:
    """Return what an execution says of itself, in values that JSON has."""
    told = {"seed": seed, "models": plan.names(bar)}
    for name, value in done.explained.items():
        told[name] = value() if type(value) is partial else value
    if done.refused is not None:
        told["reason"] = done.refused
    elif not done.dark and not done.lit:
        told["reason"] = NO_LIQUIDITY
    return told


def run_modelled(plan: Plan, asked: Asked) -> Modelled:
    """Execute one order with the models of a plan."""
    return _Run(plan, asked).run()


class _Run:
    """The state of one execution on its way."""

    def __init__(self, plan: Plan, asked: Asked) -> None:
        self._plan = plan
        self._asked = asked
        self._side = asked.order.side
        self._instrument = asked.instrument
        self._seen = plan.ladders(asked.instrument, asked.market)
        self._step = self._seen.step
        self._explained: dict[str, Any] = {}
        self._hidden: HiddenOrders | None = None
        if plan.hidden is not None:
            self._hidden = HiddenOrders(plan.hidden, asked.seed, asked.instrument, self._step)
        self._flow: BackgroundFlow | None = None
        self._moved = 0
        self._leaked_bps = 0.0
        self._impact = _NO_IMPACT
        self._latency_ns = asked.latency_ns
        self._volatility = daily_volatility(asked.market, asked.bar, plan.asset_class)

    def run(self) -> Modelled:
        """Return what becomes of the order."""
        asked, explained = self._asked, self._explained
        order = asked.order
        lots, limit_ticks = in_units(self._instrument, order)
        dark = self._send_dark(order, lots, limit_ticks)
        touch0 = opposite_touch(order.side, asked.market)
        dark_fills: tuple[PartialFill, ...] = ()
        if dark is not None:
            dark_fills = dark.fills
            self._latency_ns += dark.latency_ns
            self._leaked_bps = dark.leakage_bps
            lots -= dark.filled_lots
        explained["latency_ns"] = self._latency_ns
        explained["events_in_flight"] = dict.fromkeys(COUNT_NAMES, 0)
        if not lots:
            return Modelled((), dark_fills, (touch0, touch0, touch0), None, explained)
        acting = asked.bar if self._latency_ns > 0 or order.rests else None
        book = self._book(lots, limit_ticks, acting)
        if self._flow is not None:
            self._flow.run(self._latency_ns, own_waits=False)
            explained["events_in_flight"] = dict(self._flow.counts)
        lit, touches, refused = self._arrive(book, order, lots, limit_ticks)
        return Modelled(lit, dark_fills, (touch0, *touches), refused, explained)

    # ------------------------------------------------------------------ before the book

    def _send_dark(self, order: Working, lots: int, limit_ticks: int | None) -> DarkShare | None:
        if self._plan.dark is None:
            return None
        dark = self._plan.dark.send(order, lots, limit_ticks, self._seen, self._asked.seed)
        if dark is not None:
            self._explained["dark"] = dark.told
        return dark

    def _book(self, lots: int, limit_ticks: int | None, acting: BarData | None) -> OrderBook:
        """Return the book of the market with what it hides, and the flow where others act in it.

        Where nobody acts, it is the part of the market that the order can meet, and the quotes'
        giving way is known before it is built.
        """
        seen, side = self._seen, self._side
        bids, asks, places = seen.bids, seen.asks, (0, 0)
        if acting is None:
            self._give_way(lots, limit_ticks, seen.of(_opposite(side)))
            if self._plan.queue_value is None or not self._plan.queue_value.act:
                place, own, other = seen.reached(side, lots, self._in_frame(limit_ticks))
                buys = side is Side.BUY
                bids, asks = (own, other) if buys else (other, own)
                places = (place, 0) if buys else (0, place)
        # Into which orders a level is split matters to those alone who come and go one by one.
        rng = None if acting is None else Random(self._asked.seed)  # noqa: S311 - no secret
        book = book_of(self._instrument, bids, asks, rng)
        if rng is not None and acting is not None:
            self._flow = BackgroundFlow(
                book,
                acting,
                rng,
                quote_tick=usual_tick(self._plan.asset_class),
                cancels_per_trade=self._plan.cancels_per_trade,
            )
        if self._hidden is not None:
            touches = seen.bids[0] if seen.bids else None, seen.asks[0] if seen.asks else None
            # Where nobody else acts, our order meets the opposite side alone.
            if acting is not None or side is Side.SELL:
                self._hidden.put_up(book, Side.BUY, bids, places[0], touches)
            if acting is not None or side is Side.BUY:
                self._hidden.put_up(book, Side.SELL, asks, places[1], touches)
            if self._flow is not None:
                self._flow.watch = self._hidden.watch
        return book

    # ------------------------------------------------------------------ impact on arrival

    def _give_way(self, lots: int, limit_ticks: int | None, other: Ladder) -> None:
        """Find by how many ticks the quotes move against the order before it trades."""
        bps = self._leaked_bps
        own_impact = self._plan.impact
        if own_impact is not None:
            got = cost = 0
            # A post-only order takes nothing: quotes that gave way would let it rest where it is
            # to be refused.
            if not self._asked.order.post_only:
                got, cost = _visible(other, lots, limit_ticks, self._side)
            about = own_impact.market(self._asked.market, self._asked.reference, self._volatility)
            self._impact = own_impact.of(got * self._seen.lot_size, about)
            touch = other[0][0] if other else 0
            deep_bps = (cost - touch * got) * self._side.sign / (touch * got) * _BPS if got else 0.0
            conceded = concession_bps(self._impact, deep_bps)
            if own_impact.config.apply_to_lob:
                bps += conceded
            self._explained["impact"] = {
                "model": own_impact.config.model.value,
                "temporary_bps": self._impact.temporary_bps,
                "permanent_bps": self._impact.permanent_bps,
                "conceded_bps": conceded,
                "adv_quantity": about.adv_quantity,
                "volatility": about.volatility,
            }
        if bps and other:
            moved = self._side.sign * in_ticks(bps, self._mid_ticks(), self._step)
            self._moved = self._bounded(moved, limit_ticks, other[-1][0])
        if "impact" in self._explained or self._moved:
            told = self._explained.setdefault("impact", {"model": "leakage of dark pools"})
            told["moved_ticks"] = self._moved

    def _bounded(self, moved: int, limit_ticks: int | None, furthest_ticks: int) -> int:
        """Return a move that leaves every price it touches from 1 tick to the largest."""
        if moved < 0:
            moved = max(moved, 1 - furthest_ticks)
            return moved if limit_ticks is None else max(moved, limit_ticks - INT64_MAX)
        moved = min(moved, INT64_MAX - furthest_ticks)
        return moved if limit_ticks is None else min(moved, limit_ticks - 1)

    def _in_frame(self, limit_ticks: int | None) -> int | None:
        """Return the limit as the unmoved book sees it."""
        return None if limit_ticks is None else limit_ticks - self._moved

    def _mid_ticks(self) -> float:
        seen = self._seen
        if seen.bids and seen.asks:
            return (seen.bids[0][0] + seen.asks[0][0]) / 2
        return float(self._asked.reference / self._instrument.tick_size)

    # ------------------------------------------------------------------ in the book

    def _arrive(
        self, book: OrderBook, order: Working, lots: int, limit_ticks: int | None
    ) -> tuple[tuple[PartialFill, ...], tuple[Decimal | None, Decimal | None], str | None]:
        """Let the order meet the book, and wait where it rests; return fills, touches, refusal."""
        if self._flow is not None:
            bids, asks = book.depth(len(book))
            opposite = asks if self._side is Side.BUY else bids
            self._give_way(lots, limit_ticks, _ladder(opposite))
        best = book.best_ask() if self._side is Side.BUY else book.best_bid()
        touches = self._touches(best)
        if self._hidden is not None:
            self._hidden.note_shown(book)
        events = submit(book, order, lots, self._in_frame(limit_ticks))
        first = events[0]
        if isinstance(first, Rejected):
            return (), touches, first.reason.value
        fills = taken(events, self._instrument, self._latency_ns, self._moved)
        hidden = self._hidden
        took = 0 if hidden is None else hidden.lots_taken(events)
        if hidden is not None:
            self._explained["hidden"] = partial(_told_hidden, self._instrument, took, lots, None)
        if OWN_ORDER_ID not in book:
            return fills, touches, None
        leaves = self._leaves(book)
        rested = self._rest(book, lots - leaves)
        if hidden is not None:
            found = hidden.detected()
            self._explained["hidden"] = partial(_told_hidden, self._instrument, took, lots, found)
        return fills + rested, touches, None

    def _touches(self, best: Level | None) -> tuple[Decimal | None, Decimal | None]:
        if best is None:
            return None, None
        touch = self._instrument.price(best.price_ticks)
        if not self._moved:
            return touch, touch
        return touch, self._instrument.price(best.price_ticks + self._moved)

    def _leaves(self, book: OrderBook) -> int:
        resting = book.order(OWN_ORDER_ID)
        return 0 if resting is None else resting.leaves

    def _rest(self, book: OrderBook, taken_lots: int) -> tuple[PartialFill, ...]:
        """Tell what the resting order may expect, and let the bar go on to its end."""
        plan, instrument = self._plan, self._instrument
        ahead = book.queue_position(OWN_ORDER_ID).lots_ahead
        self._explained["queue_ahead"] = plain(instrument.quantity(ahead))
        if plan.fill_model is not None or plan.queue_value is not None:
            self._tell_and_act(book, ahead)
        if self._flow is None:
            return ()
        flow, before = self._flow, dict(self._flow.counts)
        reacted = self._react(flow, taken_lots)
        trades = reacted
        if OWN_ORDER_ID in book:
            trades = reacted + flow.run(flow.end_ns, own_waits=True)
        counts = flow.counts.items()
        self._explained["events_while_resting"] = {name: n - before[name] for name, n in counts}
        return given(trades, instrument, self._moved)

    def _react(self, flow: BackgroundFlow, taken_lots: int) -> list[Any]:
        """Hand the path over to where our trades hold it, and let others answer them."""
        impact = self._plan.impact
        if impact is None or not impact.config.apply_to_lob or not (taken_lots or self._moved):
            return []
        flow.pushed_ticks = PathShift(
            self._side,
            self._impact,
            self._leaked_bps,
            impact.fade,
            at_ns=self._latency_ns,
            mid_ticks=self._mid_ticks(),
            step=self._step,
            moved_ticks=self._moved,
        ).ticks_at
        config = impact.config
        draws = Stream(self._asked.seed, REACTION)
        reaction = config.reaction if taken_lots else Reaction.NONE
        return flow.react(reaction, self._side, taken_lots, config.reaction_share, draws)

    # ------------------------------------------------------------------ forecast and advice

    def _tell_and_act(self, book: OrderBook, ahead: int) -> None:
        plan, asked = self._plan, self._asked
        place = self._place(book, ahead)
        rates = rates_at(place, asked.bar, plan.config.lob_data, self._instrument.lot_size)
        if plan.fill_model is not None:
            seen_ms = asked.market.timestamp_ms
            state = state_of(place, rates, self._volatility, plan.asset_class, seen_ms)
            said = plan.fill_model.predict(state, plan.horizon_s)
            told = partial(told_forecast, said, place.unit, self._instrument)
            self._explained["fill_forecast"] = told
        if plan.queue_value is None:
            return
        decision = advise(plan.queue_value, place, rates, asked.maker_bps)
        if decision is None:
            return
        acts = plan.queue_value.act and decision.action is not QueueAction.HOLD
        self._explained["queue_value"] = partial(told_advice, decision, acted=acts)
        if not acts:
            return
        if decision.action is QueueAction.CANCEL:
            book.cancel(OWN_ORDER_ID)
            return
        behind = place.limit_ticks - self._step * self._side.sign
        book.replace(OWN_ORDER_ID, behind, place.leaves_lots)
        again = book.queue_position(OWN_ORDER_ID).lots_ahead
        self._explained["queue_ahead"] = plain(self._instrument.quantity(again))

    def _place(self, book: OrderBook, ahead: int) -> Place:
        """Return where the order rests among the others, in the ticks of the frame."""
        resting = book.order(OWN_ORDER_ID)
        if resting is None:
            raise AssertionError("the order rests")  # asked for only then
        if self._flow is None:
            own: Ladder = self._seen.of(self._side)
            other: Ladder = self._seen.of(_opposite(self._side))
        else:
            bids, asks = (_ladder(levels) for levels in book.depth(len(book)))
            own, other = (bids, asks) if self._side is Side.BUY else (asks, bids)
            own = _without(own, resting.price_ticks, resting.displayed_lots)
        unit = typical_order(own, other)
        limit = resting.price_ticks
        return Place(self._side, limit, resting.leaves, ahead, own, other, self._step, unit)


def _told_hidden(
    instrument: Instrument, took: int, lots: int, detected: dict[str, int] | None
) -> dict[str, Any]:
    """Return how much an order took that did not show, and what gave itself away since."""
    told: dict[str, Any] = {"filled": plain(instrument.quantity(took)), "share": took / lots}
    if detected is not None:
        told["icebergs_detected"] = detected
    return told


def _opposite(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY


def _ladder(levels: Sequence[Level]) -> Ladder:
    return [(level.price_ticks, level.quantity_lots) for level in levels]


def _visible(levels: Ladder, lots: int, limit_ticks: int | None, side: Side) -> tuple[int, int]:
    """Return the lots that an order takes of what shows, and their cost in tick-lots."""
    got = cost = 0
    for ticks, there in levels:
        if got == lots or (limit_ticks is not None and (ticks - limit_ticks) * side.sign > 0):
            break
        part = min(there, lots - got)
        got += part
        cost += part * ticks
    return got, cost


def _without(levels: Ladder, price_ticks: int, lots: int) -> Ladder:
    """Return levels without so many lots at a price."""
    less = [(ticks, left - lots if ticks == price_ticks else left) for ticks, left in levels]
    return [(ticks, left) for ticks, left in less if left > 0]
