"""What a resting order may expect: the forecast of its fill, and what its place is worth.

Sizes are counted in typical orders (a level's mean size over the mean number of orders that a level
is split into), so that a share and a billionth of a coin are alike to the models. Rates come from
the bar where there is one, else from the configuration's `lob_data`.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from execution_providers.l3_impact import DAY_S
from execution_providers.l3_scene import MAX_ORDERS_PER_LEVEL
from execution_providers.types import BarData
from lob.config import LobDataConfig, QueueValueConfig
from lob.fill_probability import FillForecast, QueueState
from lob.market_making import QueueDecision, QueueValueModel
from lob.types import AssetClass, Instrument, Side

_ORDERS_PER_LEVEL: Final = (1 + MAX_ORDERS_PER_LEVEL) / 2
_QUEUE_MAX: Final = 10_000
_MS_PER_S: Final = 1_000
_S_PER_DAY: Final = 86_400
_BPS: Final = 1e-4

Ladder = Sequence[tuple[int, int]]
"""(price in ticks, lots) of one side's levels, best first."""


class Place(NamedTuple):
    """Where an order rests, or would: others' levels around it, in ticks and lots.

    `ahead_lots` rest before it at its own price; `step` is a price step in ticks, `unit` the lots
    of a typical order.
    """

    side: Side
    limit_ticks: int
    leaves_lots: int
    ahead_lots: int
    own: Ladder
    other: Ladder
    step: int
    unit: float

    @property
    def better_lots(self) -> int:
        """Return the lots at better prices of the order's side."""
        limit, sign = self.limit_ticks, self.side.sign
        return sum(lots for ticks, lots in self.own if (ticks - limit) * sign > 0)


class Rates(NamedTuple):
    """What happens at one side's queue: trades per second, and cancels of each order per second."""

    trades_per_s: float
    cancels_per_s: float


def typical_order(*sides: Ladder) -> float:
    """Return the mean size of an order in these levels, in lots; 1 without levels."""
    count = sum(map(len, sides))
    if not count:
        return 1.0
    total = sum(lots for levels in sides for _, lots in levels)
    return max(1.0, total / count / _ORDERS_PER_LEVEL)


def rates_at(
    place: Place, bar: BarData | None, lob_data: LobDataConfig, lot_size: Decimal
) -> Rates:
    """Return the rates at the order's queue; half of all trades are against either side."""
    if bar is None:
        per_order = lob_data.cancels_per_second / lob_data.resting_orders
        return Rates(lob_data.markets_per_second / 2, per_order)
    ratio = lob_data.cancels_per_second / lob_data.markets_per_second
    trades = float(bar.volume / lot_size) / place.unit / bar.duration_ms * _MS_PER_S
    orders = (len(place.own) + len(place.other)) * _ORDERS_PER_LEVEL
    return Rates(trades / 2, trades * ratio / max(1.0, orders))


def state_of(
    place: Place,
    rates: Rates,
    volatility: float | None,
    asset_class: AssetClass,
    timestamp_ms: int,
) -> QueueState:
    """Return the order's place as the fill models see it; `volatility` is the day's."""
    own, other, unit, step = place.own, place.other, place.unit, place.step
    limit, sign = place.limit_ticks, place.side.sign
    distance = away = spread = imbalance = moves = None
    if own:
        distance = (own[0][0] - limit) * sign / step
    if other:
        away = max(0.0, (other[0][0] - limit) * sign / step)
    if own and other:
        spread = abs(other[0][0] - own[0][0]) / step
        imbalance = (own[0][1] - other[0][1]) / (own[0][1] + other[0][1])
        if volatility is not None:
            mid = (own[0][0] + other[0][0]) / 2
            moves = volatility * mid / step / math.sqrt(DAY_S[asset_class])
    return QueueState(
        lots_ahead=place.ahead_lots / unit,
        own_lots=place.leaves_lots / unit,
        better_lots=place.better_lots / unit,
        displayed_lots=place.ahead_lots / unit,
        opposite_lots=other[0][1] / unit if other else None,
        distance_ticks=distance,
        opposite_distance_ticks=away,
        spread_ticks=spread,
        imbalance=imbalance,
        volatility_ticks=moves,
        trade_lots_per_s=rates.trades_per_s,
        cancel_rate=rates.cancels_per_s,
        time_of_day_s=timestamp_ms / _MS_PER_S % _S_PER_DAY,
    )


def told_forecast(forecast: FillForecast, unit: float, instrument: Instrument) -> dict[str, Any]:
    """Return a forecast in values that JSON has; quantities in units of the symbol."""
    wait, if_filled = forecast.mean_wait_s, forecast.conditional_wait_s
    return {
        "model": forecast.model,
        "horizon_s": forecast.horizon_s,
        "probability": forecast.probability,
        "any_fill_probability": forecast.any_fill_probability,
        "expected_quantity": forecast.expected_lots * unit * float(instrument.lot_size),
        "expected_wait_s": wait if wait is not None and math.isfinite(wait) else None,
        "wait_if_filled_s": if_filled,
        "confidence": forecast.confidence,
        "inputs": list(forecast.inputs),
    }


def told_advice(decision: QueueDecision, *, acted: bool) -> dict[str, Any]:
    """Return advice in values that JSON has; worth in halves of the spread for a unit."""
    other = decision.reprice_value
    return {
        "action": decision.action.value,
        "acted": acted,
        "hold_value": decision.hold_value,
        "reprice_value": other if math.isfinite(other) else None,
    }


def advise(
    config: QueueValueConfig, place: Place, rates: Rates, maker_bps: Decimal
) -> QueueDecision | None:
    """Return what the place is worth; None without both touches, or where nothing ever trades.

    Prices are in halves of the spread, from the mid, which stands for the efficient price. To
    reprice is to join the next price away from the touch.
    """
    if not place.own or not place.other or not rates.trades_per_s:
        return None
    sign = place.side.sign
    mid = (place.own[0][0] + place.other[0][0]) / 2
    half = (place.other[0][0] - place.own[0][0]) * sign / 2
    if half <= 0:
        return None
    fee = float(maker_bps) * _BPS * mid / half
    delta = (mid - place.limit_ticks) * sign / half - fee
    mu = rates.trades_per_s
    model = _value_model(
        mu,
        rates.cancels_per_s,
        config.impact_half_spreads,
        config.away_per_trade,
        config.sweep_per_trade,
        config.sweep_loss_half_spreads,
    )
    before = place.better_lots + place.ahead_lots
    behind_ticks = place.limit_ticks - place.step * sign
    if behind_ticks < 1:
        return model.decide(_in_orders(before, place), delta)
    joined = sum(lots for ticks, lots in place.own if ticks == behind_ticks)
    return model.decide(
        _in_orders(before, place),
        delta,
        reprice_lots_ahead=_in_orders(before + joined, place),
        reprice_delta=delta + place.step / half,
        reprice_cost=config.reprice_cost_bps * _BPS * mid / half,
    )


@lru_cache(maxsize=256)
def _value_model(
    mu: float, cancels: float, impact: float, away: float, sweep: float, sweep_loss: float
) -> QueueValueModel:
    return QueueValueModel(
        trade_rate=mu,
        impact=impact,
        opposite_trade_rate=mu,
        cancel_rate=cancels,
        away_rate=mu * away,
        sweep_rate=mu * sweep,
        sweep_loss=sweep_loss,
    )


def _in_orders(lots: int, place: Place) -> int:
    return min(_QUEUE_MAX, math.ceil(lots / place.unit))
