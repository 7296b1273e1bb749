"""The traders of the background: a calibrated flow on a perpetual's grid, and an arbitrageur.

The flow's profile was fitted to a liquid share (`lob.calibration`). What it says is kept where it
is said in units of the spread or of a usual order: how orders cluster, where they are placed, how
long they live, how signs persist. The spread itself, the size of an order and the depth beyond what
the share's file shows are chosen here, so that they are a perpetual's.
"""

import copy
import math
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final

from lob import OrderBook
from lob.clustered_flow import ClusteredFlow, ClusteredProfile, load_profile
from lob.clustered_scale import deepened, scaled
from lob.flow import FlowProfile, SeededFlow, ZeroIntelligence
from lob.types import Command, OrderType, Side, Submit, TimeInForce
from touchstone.exchange.identifiers import derived_seed
from touchstone.exchange.products import Product

FLOW_PARTICIPANT: Final = 0
"""All of the background trades as participant 0, which the book never treats as one customer."""

SPREAD_BPS: Final = 1.5
"""The spread that the flow tends to, where ticks are fine enough for it."""

ORDER_NOTIONAL: Final = 20_000
"""What a usual order is worth."""

_FLOW_IDS: Final = range(1, 1 << 40)
_ARBITRAGE_IDS: Final = 1 << 40
_ARBITRAGE_LOTS: Final = 1 << 50
"""More than any book has: the limit price says how far an arbitrage goes."""

_FITTED_SPREAD_TICKS: Final = 20.0
_FITTED_ORDER_LOTS: Final = 100.0
"""The mean spread and the usual order of the market that the profile was fitted to."""

_NEAR: Final = 0.5
_DEEP_SHARE: Final = 0.25
_DEEP_REACH_BPS: Final = 100.0
_DEEP_LIFE_SECONDS: Final = 120.0
_OWN_NEWS: Final = 0.4
_INFORMED: Final = 0.7
_CHASE: Final = 1.0
_LEAN_SECONDS: Final = 30.0
"""A share's book shows ten levels, a perpetual's hundreds; its price is made by its own trades, a
perpetual's first of all by the index, which all can see. Hence half the distance behind the best
price for what is shown, a quarter of all orders far behind it and there for minutes; runs of trades
and cancels that mostly go after what the flow follows; and less than half the effect of its own
trades on that, which is forgotten in half a minute."""


_PLAIN_DISTANCE_BPS: Final = 1.5
"""Of zero-intelligence orders from the mid, on average: a book as wide as its index moves."""


class FlowKind(StrEnum):
    """Who fills the books of products that no file is replayed for."""

    CLUSTERED = "clustered"
    ZERO_INTELLIGENCE = "zero-intelligence"
    NONE = "none"


def perpetual_profile(
    product: Product, price: Decimal, rate: float = 1.0, size: float = 1.0
) -> ClusteredProfile:
    """Return the clustered flow's profile for a product at a price, `rate` times as fast.

    At the usual rate a market has about 20 commands a second. Orders are `size` times as large as
    usual, and the book is as much deeper.
    """
    fitted = load_profile()
    near = scaled(fitted, ticks=_NEAR)
    fitted = replace(
        fitted,
        behind_ticks=near.behind_ticks,
        life_edges=(0.0, *near.life_edges[1:]),
        anchor_trade_ticks=fitted.anchor_trade_ticks * _OWN_NEWS,
        informed=_INFORMED,
        chase=_CHASE,
        # Coinbase's perpetuals have no hidden orders.
        hidden_only=0.0,
        hidden_mixed=0.0,
    )
    fitted = deepened(
        fitted,
        share=_DEEP_SHARE,
        furthest_ticks=_FITTED_SPREAD_TICKS * _DEEP_REACH_BPS / SPREAD_BPS,
        # The pace below shortens all lives; what stands far off waits as long at any pace.
        life_seconds=_DEEP_LIFE_SECONDS * rate,
    )
    ticks = SPREAD_BPS * ticks_a_bps(product, price)
    return scaled(
        fitted,
        ticks=ticks / _FITTED_SPREAD_TICKS,
        lots=usual_lots(product, price, size) / _FITTED_ORDER_LOTS,
        rate=rate,
    )


def ticks_a_bps(product: Product, price: Decimal) -> float:
    """Return how many ticks a basis point of a price is."""
    return float(price / product.instrument.tick_size) * 1e-4


def usual_lots(product: Product, price: Decimal, size: float = 1.0) -> int:
    """Return the lots of a usual order: a round number of coins (1, 2, 2.5 or 5)."""
    coins = ORDER_NOTIONAL * size / float(price)
    power = 10.0 ** math.floor(math.log10(coins))
    round_coins = power * max(digit for digit in (1.0, 2.0, 2.5, 5.0) if power * digit <= coins)
    return max(1, round(round_coins / float(product.lot_value_per_price)))


def make_flow(
    kind: FlowKind,
    product: Product,
    *,
    seed: int,
    price: Decimal,
    rate: float = 1.0,
    size: float = 1.0,
) -> SeededFlow | None:
    """Return a product's background flow, which starts at `price`; None where it has none."""
    if kind is FlowKind.NONE:
        return None
    seed = derived_seed("flow", seed, product.product_id)
    mid_ticks = max(2, round(price / product.instrument.tick_size))
    if kind is FlowKind.CLUSTERED:
        return copy.deepcopy(_warmed(product, seed, mid_ticks, price, rate, size))
    usual = FlowProfile()
    lots = usual_lots(product, price, size)
    return ZeroIntelligence(
        product.instrument,
        seed,
        mid_ticks,
        profile=replace(
            usual,
            limits_per_second=usual.limits_per_second * rate,
            cancels_per_second=usual.cancels_per_second * rate,
            markets_per_second=usual.markets_per_second * rate,
            resting_orders=400,
            distance_ticks=max(2.0, 2 * _PLAIN_DISTANCE_BPS * ticks_a_bps(product, price)),
            order_lots=float(lots),
            round_lots=max(1, lots // 2),
        ),
        participant_id=FLOW_PARTICIPANT,
        order_ids=_FLOW_IDS,
    )


@lru_cache(maxsize=16)
def _warmed(
    product: Product, seed: int, mid_ticks: int, price: Decimal, rate: float, size: float
) -> ClusteredFlow:
    """Return a flow that has warmed up, not to be changed: that takes a twentieth of a second."""
    flow = ClusteredFlow(
        product.instrument,
        seed,
        mid_ticks,
        profile=perpetual_profile(product, price, rate, size),
        participant_id=FLOW_PARTICIPANT,
        order_ids=_FLOW_IDS,
    )
    flow.seed_book()
    return flow


def tell(flow: SeededFlow | None, before: Decimal, now: Decimal, tick: Decimal) -> None:
    """Let a clustered flow hear a second's move of the index."""
    if isinstance(flow, ClusteredFlow):
        lean = 1 - math.exp(-1 / _LEAN_SECONDS)
        flow.follow(float((now - before) / tick), float(now / tick), lean)


def heed(flow: SeededFlow | None, side: Side, lots: int, usual: int) -> None:
    """Let a clustered flow learn from a customer's trade, as it does from its own market orders.

    What it follows moves by the square root of the size (Bouchaud, Farmer and Lillo, in Handbook of
    Financial Markets: Dynamics and Evolution, 2009), and comes back to the index in time.
    """
    if isinstance(flow, ClusteredFlow):
        flow.follow(side.sign * flow.profile.anchor_trade_ticks * math.sqrt(lots / usual), 0.0, 0.0)


@dataclass(slots=True)
class Arbitrageur:
    """Take what a book offers beyond `band` from the index, as a fraction of it.

    Its funds have no end, and it trades at once or not at all.
    """

    band: Decimal
    orders: int = 0

    def look(self, book: OrderBook, index: Decimal, tick: Decimal) -> Command | None:
        """Return the order that brings a book back within the band; None where it is. O(1)."""
        bid, ask = book.best_bid(), book.best_ask()
        reach = index * self.band
        lowest = math.ceil((index - reach) / tick)
        if ask is not None and ask.price_ticks < lowest:
            # Up to the band's edge, not beyond it: what stands there is no bargain.
            return self._order(Side.BUY, lowest - 1)
        highest = math.floor((index + reach) / tick)
        if bid is not None and bid.price_ticks > highest:
            return self._order(Side.SELL, highest + 1)
        return None

    def _order(self, side: Side, price_ticks: int) -> Command:
        self.orders += 1
        return Submit(
            _ARBITRAGE_IDS + self.orders,
            side,
            _ARBITRAGE_LOTS,
            price_ticks,
            order_type=OrderType.LIMIT,
            time_in_force=TimeInForce.IOC,
            participant_id=FLOW_PARTICIPANT,
        )
