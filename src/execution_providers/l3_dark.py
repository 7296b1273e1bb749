"""Dark pools first: what may go there is sent at the mid, and the rest goes on to the lit book."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from functools import partial
from typing import Any, Final, NamedTuple

from execution_providers.l3_scene import Ladders
from execution_providers.rules import Working
from execution_providers.slippage import EXACT, plain
from execution_providers.streams import DARK_POOLS, Stream
from execution_providers.types import Liquidity, PartialFill, TimeInForce
from lob.config import DarkPoolsConfig
from lob.dark import DarkFill, DarkPoolRouter, DarkResult
from lob.types import Instrument, Side

_HALF: Final = Decimal("0.5")
_NS_PER_US: Final = 1_000


class DarkShare(NamedTuple):
    """What became of an order in the dark: fills, what it told the market, and when it was over."""

    fills: tuple[PartialFill, ...]
    filled_lots: int
    leakage_bps: float
    latency_ns: int
    told: Callable[[], dict[str, Any]]

    @property
    def explained(self) -> dict[str, Any]:
        """Return what came of it, venue by venue, in values that JSON has."""
        return self.told()


@dataclass(slots=True)
class DarkVenues:
    """The venues of a configuration, in the lots of any instrument, and the latest of their fills.

    The history is for `summary` alone: no answer depends on it.
    """

    config: DarkPoolsConfig
    _routers: dict[Decimal, DarkPoolRouter] = field(default_factory=dict)
    _history: deque[tuple[DarkFill, Instrument]] = field(default_factory=deque)
    _kinds: dict[str, str] = field(default_factory=dict)
    _latest: tuple[Decimal, DarkPoolRouter] | None = None

    def __post_init__(self) -> None:
        self._kinds = {venue.name: venue.type.value for venue in self.config.venues}
        self._history = deque(maxlen=self.config.max_history_size)

    def send(
        self, order: Working, lots: int, limit_ticks: int | None, seen: Ladders, seed: int
    ) -> DarkShare | None:
        """Send what may go in the dark; None where nothing of the order may.

        Post-only and fill-or-kill orders are for one book alone; without two touches there is no
        mid. `lots` and `limit_ticks` are the order's.
        """
        market, instrument = seen.market, seen.instrument
        if not seen.bids or not seen.asks or order.post_only:
            return None
        if order.time_in_force is TimeInForce.FOK:
            return None
        router = self._router(instrument.lot_size)
        bid_ticks, ask_ticks = seen.bids[0][0], seen.asks[0][0]
        draws = Stream(seed, DARK_POOLS)
        streams = [draws.below(place) for place in range(len(router.venues))]
        result = router.route(order.side, lots, bid_ticks, ask_ticks, limit_ticks, streams=streams)
        if not result.fills:
            return None
        mid_ticks = (bid_ticks + ask_ticks) / 2
        fills: list[PartialFill] = []
        one_by_one, offset_us = self.config.routing == "SEQUENTIAL", 0.0
        for visit in result.fills:
            offset_us = offset_us + visit.latency_us if one_by_one else visit.latency_us
            self._history.append((visit, instrument))
            if visit.filled_lots:
                # A mid that leaks have moved is put on half ticks, in the order's favour.
                if visit.price_ticks == mid_ticks:
                    price = EXACT.multiply(EXACT.add(market.bids[0][0], market.asks[0][0]), _HALF)
                else:
                    price = _on_half_ticks(visit.price_ticks, order.side, instrument)
                at_ns = round(offset_us * _NS_PER_US)
                filled = instrument.quantity(visit.filled_lots)
                fills.append(PartialFill(price, filled, Liquidity.TAKER, at_ns))
        latency_ns = round(result.latency_us * _NS_PER_US)
        told = partial(self._told, result, instrument, lots, latency_ns)
        return DarkShare(tuple(fills), result.filled_lots, result.leakage_bps, latency_ns, told)

    def _told(
        self, result: DarkResult, instrument: Instrument, lots: int, latency_ns: int
    ) -> dict[str, Any]:
        """Return what came of an order of so many lots, in values that JSON has."""
        return {
            "filled": plain(instrument.quantity(result.filled_lots)),
            "share": result.filled_lots / lots,
            "leakage_bps": result.leakage_bps,
            "latency_ns": latency_ns,
            "venues": [
                {
                    "venue": visit.venue,
                    "type": self._kinds[visit.venue],
                    "sent": plain(instrument.quantity(visit.sent_lots)),
                    "filled": plain(instrument.quantity(visit.filled_lots)),
                }
                for visit in result.fills
            ],
        }

    def summary(self) -> dict[str, Any]:
        """Return how many visits are remembered, and what share of the sent each venue filled."""
        sent: dict[str, Decimal] = {}
        filled: dict[str, Decimal] = {}
        visits = tuple(self._history)  # other threads go on adding to it
        for visit, instrument in visits:
            name = visit.venue
            asked, got = map(instrument.quantity, (visit.sent_lots, visit.filled_lots))
            sent[name] = EXACT.add(sent.get(name, Decimal(0)), asked)
            filled[name] = EXACT.add(filled.get(name, Decimal(0)), got)
        rates = {name: float(filled[name]) / float(total) for name, total in sent.items()}
        return {"visits": len(visits), "fill_rates": rates}

    def _router(self, lot_size: Decimal) -> DarkPoolRouter:
        latest = self._latest
        if latest is not None and latest[0] is lot_size:
            return latest[1]
        router = self._routers.get(lot_size)
        if router is None:
            if len(self._routers) >= _ROUTERS_MAX:
                self._routers.clear()
            router = self._routers[lot_size] = DarkPoolRouter(
                [venue.venue(float(lot_size)) for venue in self.config.venues],
                seed=0,
                routing=self.config.routing,
                max_dark_fill_pct=self.config.max_dark_fill_pct,
                max_history_size=1,
            )
        self._latest = lot_size, router
        return router


_ROUTERS_MAX: Final = 64


def _on_half_ticks(price_ticks: float, side: Side, instrument: Instrument) -> Decimal:
    """Return a price in half ticks: down for a BUY, up for a SELL, so never through a limit."""
    halves = Decimal(price_ticks * 2 * side.sign).to_integral_value(ROUND_FLOOR)
    return EXACT.multiply(EXACT.multiply(halves, instrument.tick_size), _HALF * side.sign)
