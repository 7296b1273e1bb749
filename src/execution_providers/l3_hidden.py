"""What stands in the book without showing: seeded hidden orders, and icebergs' reserves.

Each price level has draws of its own, by its side and its place, so that a part of the market has
the hidden orders that the whole has.
"""

from collections.abc import Sequence
from typing import Final

from execution_providers.l3_scene import split_lots
from execution_providers.streams import HIDDEN_LIQUIDITY, Stream, mixed
from lob import OrderBook
from lob.config import HiddenLiquidityConfig
from lob.hidden import IcebergDetector
from lob.types import Event, Refilled, Side, Traded

FIRST_HIDDEN_ID: Final = 2**40
"""Ids from here on are hidden orders and icebergs; an execution has far fewer others."""
_REFILLS_MAX: Final = 1_000
_LOTS_MAX: Final = 2**60
_SIDE_KEYS: Final = {Side.BUY: 1, Side.SELL: 2}
_INSIDE: Final = 2**32
"""Keys of levels are below it: a place is at most some thousands."""


class HiddenOrders:
    """The hidden orders and icebergs of one execution's book."""

    def __init__(self, config: HiddenLiquidityConfig, seed: int) -> None:
        self._config = config
        self._seed = seed
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
        touches: tuple[tuple[int, int] | None, tuple[int, int] | None],
    ) -> None:
        """Put one side's hidden orders into a book that has its displayed ones.

        `levels` are the (ticks, lots) of that side in the book, the first of them at place `first`
        of the market; `touches` are the market's best bid and best ask.
        """
        self._inside(book, side, *touches)
        for place, (ticks, lots) in enumerate(levels, first):
            self._behind(book, side, ticks, lots, place)

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

    def _inside(
        self,
        book: OrderBook,
        side: Side,
        bid: tuple[int, int] | None,
        ask: tuple[int, int] | None,
    ) -> None:
        """Put a hidden order between the touches, where there is room and one is drawn."""
        if bid is None or ask is None:
            return
        room = ask[0] - bid[0] - 1
        # Each side keeps to its half, so that hidden orders do not trade with one another; whose
        # the tick in the middle is, where there is one, is the seed's to say.
        reach = (room + (mixed(self._seed) + _SIDE_KEYS[side]) % 2) // 2
        if reach < 1:
            return
        draws = self._streams.below(_INSIDE + _SIDE_KEYS[side])
        if draws.random() >= self._config.inside_probability:
            return
        touch = bid if side is Side.BUY else ask
        away = 1 + int(draws.random() * reach)
        lots = self._lots(draws, touch[1])
        self._hide(book, side, touch[0] + side.sign * away, lots)

    def _behind(
        self, book: OrderBook, side: Side, price_ticks: int, shown_lots: int, place: int
    ) -> None:
        """Put what a level does not show behind it, and a reserve behind its first order."""
        config = self._config
        draws = self._streams.below(2 * place + _SIDE_KEYS[side])
        if draws.random() < config.hidden_probability:
            self._hide(book, side, price_ticks, self._lots(draws, shown_lots))
        if draws.random() >= config.iceberg_probability:
            return
        refills = self._refills(draws)
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

    def _lots(self, draws: Stream, displayed_lots: int) -> int:
        drawn = draws.exponential() * self._config.hidden_ratio * displayed_lots
        return min(max(1, round(drawn)), _LOTS_MAX)

    def _refills(self, draws: Stream) -> int:
        """Return a beta-geometric number of refills, as `lob.hidden.RefillPosterior` has it.

        After k refills there is another with chance (a + k) / (a + b + k).
        """
        a, total = self._config.prior_a, self._config.prior_a + self._config.prior_b
        drawn, at_least, refills = draws.random(), 1.0, 0
        while refills < _REFILLS_MAX:
            at_least *= (a + refills) / (total + refills)
            if drawn >= at_least:
                break
            refills += 1
        return refills
