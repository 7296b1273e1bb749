"""What stands in the book without showing: seeded hidden orders, and icebergs' reserves.

Hidden orders are those of `lob.hidden.HiddenLiquidityModel`, as the configuration states or a
calibration fitted it: where both touches are known, by the spread and the sizes there, inside the
spread and behind what is displayed. Of two that would trade with one another the seed says which
is there.

Each price level has draws of its own, by its side and its place, so that a part of the market has
the hidden orders that the whole has.
"""

from collections.abc import Sequence
from typing import Final

from execution_providers.l3_scene import split_lots
from execution_providers.streams import HIDDEN_LIQUIDITY, Stream, mixed
from lob import OrderBook
from lob.config import HiddenLiquidityConfig
from lob.hidden import IcebergDetector, RefillPosterior, UsualHidden
from lob.types import Event, Instrument, Refilled, Side, Traded

FIRST_HIDDEN_ID: Final = 2**40
"""Ids from here on are hidden orders and icebergs; an execution has far fewer others."""
_REFILLS_MAX: Final = 1_000
_SIDES: Final = (Side.BUY, Side.SELL)
_LOTS_MAX: Final = 2**60
_SIDE_KEYS: Final = {Side.BUY: 1, Side.SELL: 2}
_INSIDE: Final = 2**32
"""Keys of levels are below it: a place is at most some thousands."""


Touches = tuple[tuple[int, int] | None, tuple[int, int] | None]
"""The market's best bid and best ask, (ticks, lots) each."""


class HiddenPlan:
    """The model of a configuration, made once for all the executions under it."""

    def __init__(self, config: HiddenLiquidityConfig) -> None:
        self.config = config
        self.usual = config.usual()
        self.prior = RefillPosterior(0, config.prior_a, config.prior_b)
        self.name = "fitted" if config.parameters else "stated"


class HiddenOrders:
    """The hidden orders and icebergs of one execution's book.

    `step` is the price step of the market, in ticks of the instrument.
    """

    def __init__(self, plan: HiddenPlan, seed: int, instrument: Instrument, step: int) -> None:
        self._config = plan.config
        self._usual = plan.usual
        self._prior = plan.prior
        self._seed = seed
        self._step = step
        self._lots_each = 1.0
        if plan.usual is not None and plan.usual.told_sizes:
            self._lots_each = plan.usual.lot_size / float(instrument.lot_size)
        if plan.usual is not None and plan.usual.tick_size is not None:
            self._step = max(1, round(plan.usual.tick_size / float(instrument.tick_size)))
        self._drawn: dict[Side, list[tuple[int, int]]] | None = None
        self._streams = Stream(seed, HIDDEN_LIQUIDITY)
        self._next_id = FIRST_HIDDEN_ID
        self._icebergs: dict[int, int] = {}
        self._detector: IcebergDetector | None = None
        self._shown: dict[int, int] = {}
        self._found: dict[int, str] = {}
        self.hidden_lots = 0

    def put_up(
        self,
        book: OrderBook,
        side: Side,
        levels: Sequence[tuple[int, int]],
        first: int,
        touches: Touches,
    ) -> None:
        """Put one side's hidden orders into a book that has its displayed ones.

        `levels` are the (ticks, lots) of that side in the book, the first of them at place `first`
        of the market; `touches` are the market's best bid and best ask.
        """
        behind = 0.0
        if self._usual is not None and touches[0] is not None and touches[1] is not None:
            if self._drawn is None:
                self._drawn = self._inside(self._usual, touches[0], touches[1])
            for ticks, lots in self._drawn[side]:
                self._hide(book, side, ticks, lots)
            spread, imbalance = self._seen(side, touches[0], touches[1])
            behind = self._usual.chances(spread, imbalance).touch
        key = _SIDE_KEYS[side]
        # Most levels have nothing behind them: those are not looked at one by one.
        for place in self._streams.low_places(
            first, len(levels), key, 2, behind, self._config.iceberg_probability
        ):
            self._behind(book, side, *levels[place - first], place, behind)

    def note_shown(self, book: OrderBook) -> None:
        """Remember what each iceberg shows at this moment, before an order trades with it."""
        for order_id in self._icebergs:
            order = book.order(order_id)
            self._shown[order_id] = 0 if order is None else order.displayed_lots

    def lots_taken(self, events: Sequence[Event]) -> int:
        """Return how many of the lots that an order took did not show when it came."""
        taken = 0
        for event in events:
            if type(event) is Traded and event.maker_order_id >= FIRST_HIDDEN_ID:
                shown = self._shown.get(event.maker_order_id, 0)
                self._shown[event.maker_order_id] = max(0, shown - event.quantity_lots)
                taken += max(0, event.quantity_lots - shown)
        return taken

    def watch(self, now_ns: int, events: Sequence[Event]) -> None:
        """Look at what traded for refills, by the configuration's rules."""
        detector = self._detector
        if detector is None:
            detector = self._detector = self._config.detector()
        at: dict[int, Traded] = {}
        for event in events:
            if type(event) is Traded:
                at[event.maker_order_id] = event
            elif type(event) is Refilled and event.order_id in at:
                traded = at[event.order_id]
                side = Side.SELL if traded.aggressor_side is Side.BUY else Side.BUY
                shown = self._icebergs.get(event.order_id, event.displayed_lots)
                detector.used_up(now_ns, side, traded.price_ticks, shown)
                found = detector.shown(now_ns, side, traded.price_ticks, event.displayed_lots)
                if found is not None:
                    self._found[event.order_id] = f"{found.state.value} {found.confidence.value}"

    def detected(self) -> dict[str, int]:
        """Return how many icebergs have given themselves away, by state and confidence."""
        counts: dict[str, int] = {}
        for told in self._found.values():
            counts[told] = counts.get(told, 0) + 1
        return counts

    def _seen(self, side: Side, bid: tuple[int, int], ask: tuple[int, int]) -> tuple[int, float]:
        """Return spread and imbalance as those see them who trade with this side."""
        own, other = (ask[1], bid[1]) if side is Side.BUY else (bid[1], ask[1])
        return max(1, (ask[0] - bid[0]) // self._step), (own - other) / (own + other)

    def _inside(
        self, usual: UsualHidden, bid: tuple[int, int], ask: tuple[int, int]
    ) -> dict[Side, list[tuple[int, int]]]:
        """Draw the hidden orders between the touches, (ticks, lots) by side.

        Of one that would trade with the other side's, the side that the seed names first stays.
        """
        found: dict[Side, list[tuple[int, int]]] = {}
        sides = _SIDES if mixed(self._seed) % 2 else _SIDES[::-1]
        for side in sides:
            touch = bid if side is Side.BUY else ask
            draws = self._streams.below(_INSIDE + _SIDE_KEYS[side])
            orders = found[side] = []
            for away, exponential in usual.inside(*self._seen(side, bid, ask), draws):
                ticks = touch[0] + side.sign * away * self._step
                others = found[sides[0]] if side is sides[1] else ()
                if bid[0] < ticks < ask[0] and all(
                    (ticks - at) * side.sign < 0 for at, _ in others
                ):
                    orders.append((ticks, self._lots(exponential, touch[1])))
        return found

    def _behind(
        self,
        book: OrderBook,
        side: Side,
        price_ticks: int,
        shown_lots: int,
        place: int,
        chance: float,
    ) -> None:
        """Put what a level does not show behind it, and a reserve behind its first order."""
        draws = self._streams.below(2 * place + _SIDE_KEYS[side])
        if draws.random() < chance:
            self._hide(book, side, price_ticks, self._lots(draws.exponential(), shown_lots))
        if draws.random() >= self._config.iceberg_probability:
            return
        refills = self._prior.draw(draws.random(), _REFILLS_MAX)
        first = book.first_order(side, price_ticks)
        if not refills or first is None or first.hidden:
            return
        # What shows stays what was given: the order, or a part of it where the level is one order,
        # gives way to its like with a reserve behind.
        shown = first.displayed_lots
        if shown == shown_lots:
            shown = split_lots(shown_lots, draws)[0]
        book.reduce(first.order_id, shown)
        order_id, self._next_id = self._next_id, self._next_id + 1
        lots = shown * (1 + min(refills, _LOTS_MAX // shown - 1))
        book.submit(order_id, side, lots, price_ticks, display_lots=shown)
        self._icebergs[order_id] = shown
        self.hidden_lots += lots - shown

    def _hide(self, book: OrderBook, side: Side, price_ticks: int, lots: int) -> None:
        order_id, self._next_id = self._next_id, self._next_id + 1
        book.submit(order_id, side, lots, price_ticks, hidden=True)
        self.hidden_lots += lots

    def _lots(self, exponential: float, displayed_lots: int) -> int:
        if self._usual is None:
            return 0
        lots = self._usual.lots(exponential, displayed_lots) * self._lots_each
        return min(max(1, round(lots)), _LOTS_MAX)
