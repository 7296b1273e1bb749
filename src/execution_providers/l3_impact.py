"""Our own trades move the price: by how much on arrival, and where the path goes after it.

An order that takes Q pays, beyond the touch, what its model says of a trade of Q: the temporary
impact and half the permanent one, which grows while the order trades (Almgren, Thum, Hauptmann and
Li 2005: J = I/2 + h). What the walk of the visible depth already costs beyond the touch is a part
of that, so only what is more moves the quotes against the order before it trades; they move by
whole ticks, all by as many, so that they never cross. Afterwards the quotes are where the tracker
holds them: the permanent part stays, the temporary one fades.
"""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from execution_providers.types import BarData, MarketState
from lob.config import MarketImpactConfig
from lob.errors import InvalidInput
from lob.impact import (
    ExponentialKernel,
    Impact,
    ImpactMarket,
    ImpactModel,
    Kernel,
    MixedKernel,
    ShiftedPowerLawKernel,
)
from lob.types import AssetClass, Side

_BPS: Final = 1e-4
_IMPACT_BPS_MAX: Final = 10_000.0
_NS_PER_S: Final = 1e9
_MS_PER_S: Final = 1_000
DAY_S: Final = {
    AssetClass.EQUITY: 23_400,
    AssetClass.CRYPTO: 86_400,
    AssetClass.FUTURES: 86_400,
}
"""The trading day that a daily volatility is of: 6.5 hours for shares, else the whole day."""


def daily_volatility(
    market: MarketState, bar: BarData | None, asset_class: AssetClass
) -> float | None:
    """Return the day's standard deviation of returns: the market's, else the bar's, else None.

    The bar's is Parkinson's (1980) of its range, scaled by the root of time.
    """
    if market.volatility is not None:
        return float(market.volatility)
    if bar is None or bar.high == bar.low:
        return None
    sigma = math.log(float(bar.high / bar.low)) / (2 * math.sqrt(math.log(2)))
    return sigma * math.sqrt(DAY_S[asset_class] * _MS_PER_S / bar.duration_ms)


def fading(kernel: Kernel) -> Callable[[float], float]:
    """Return G(t) of plain floats, t in seconds: kernels are for arrays, and cost their making."""
    if isinstance(kernel, ExponentialKernel):
        rho = kernel.rho
        return lambda age_s: math.exp(-rho * age_s)
    if isinstance(kernel, ShiftedPowerLawKernel):
        tau, beta = kernel.tau, kernel.beta
        return lambda age_s: (1 + age_s / tau) ** -beta
    if isinstance(kernel, MixedKernel):
        parts = [
            (share, fading(each)) for share, each in zip(kernel.shares, kernel.kernels, strict=True)
        ]
        return lambda age_s: math.fsum(share * fade(age_s) for share, fade in parts)
    return lambda age_s: float(kernel.value(age_s))


class OwnImpact:
    """The impact model of a configuration, and what it says of single executions."""

    def __init__(self, config: MarketImpactConfig) -> None:
        self.config = config
        self.model: ImpactModel = config.impact_model()
        self.fade = fading(config.kernel())
        self._about: tuple[MarketState, float | None, ImpactMarket] | None = None

    def market(self, market: MarketState, price: Decimal, volatility: float | None) -> ImpactMarket:
        """Return what the model asks of the instrument, at a price.

        The daily volume in units is the market's notional over the price, else the configuration's.
        """
        known = self._about
        if known is not None and known[0] is market and known[1] == volatility:
            return known[2]
        config = self.config
        mid, given = float(price), volatility
        if market.adv_notional is not None:
            volume: float | None = float(market.adv_notional) / mid
        elif config.adv_quantity is not None:
            volume = config.adv_quantity
        else:
            volume = None if config.adv_notional is None else config.adv_notional / mid
        # What the configuration states counts more than what was made out of a bar's range.
        if market.volatility is None and config.sigma is not None:
            volatility = config.sigma
        about = ImpactMarket(adv_quantity=volume or None, volatility=volatility, mid_price=mid)
        self._about = market, given, about
        return about

    def of(self, quantity: float, about: ImpactMarket) -> Impact:
        """Return the impact of taking `quantity` units.

        Raises:
            InvalidInput: the model needs a volume or a volatility that nobody gave, or says more
                than 10,000 bps.
        """
        if quantity <= 0:
            return Impact(0.0, 0.0)
        try:
            impact = self.model.impact(quantity, about)
        except InvalidInput as error:
            name = str(error).partition(":")[0]
            if name not in _ASKED_OF:
                raise
            raise InvalidInput(
                f"market.{_ASKED_OF[name]}: nothing; allowed with the impact model"
                f" {self.config.model}: a number above 0, here or in market_impact"
            ) from None
        if not impact.total_bps <= _IMPACT_BPS_MAX:
            raise InvalidInput(
                f"market_impact.model: {self.config.model} says {impact.total_bps:g} bps; allowed:"
                f" at most {_IMPACT_BPS_MAX:g}"
            )
        return impact


_ASKED_OF: Final = {"adv_quantity": "adv_notional", "volatility": "volatility"}


def concession_bps(impact: Impact, depth_bps: float) -> float:
    """Return what an order pays beyond what the visible depth has cost it: never below 0.

    >>> concession_bps(Impact(3.0, 2.0), depth_bps=1.5), concession_bps(Impact(3.0, 2.0), 9.0)
    (2.5, 0.0)
    """
    return max(0.0, impact.temporary_bps + impact.permanent_bps / 2 - depth_bps)


def in_ticks(bps: float, mid_ticks: float, step: int) -> int:
    """Return so many bps of the mid in whole steps of ticks, half to even."""
    return step * round(bps * _BPS * mid_ticks / step)


class PathShift:
    """Where our trades hold the quotes over time, in ticks beyond the frame of the book.

    On arrival the book's prices are taken to have moved by `moved_ticks` at once; `ticks_at` is by
    how much more, or less, at a later time.
    """

    __slots__ = ("_at_ns", "_fade", "_impact", "_leak_bps", "_mid", "_moved", "_sign", "_step")

    def __init__(
        self,
        side: Side,
        impact: Impact,
        leak_bps: float,
        fade: Callable[[float], float],
        *,
        at_ns: int,
        mid_ticks: float,
        step: int,
        moved_ticks: int,
    ) -> None:
        self._sign = side.sign
        self._impact = impact
        self._leak_bps = leak_bps
        self._fade = fade
        self._at_ns = at_ns
        self._mid = mid_ticks
        self._step = step
        self._moved = moved_ticks

    def ticks_at(self, now_ns: int) -> int:
        """Return the shift at a time in nanoseconds since the decision, not before the arrival."""
        age_s = (now_ns - self._at_ns) / _NS_PER_S
        held = self._impact.permanent_bps + self._impact.temporary_bps * self._fade(age_s)
        ticks = in_ticks(held + self._leak_bps, self._mid, self._step)
        return self._sign * ticks - self._moved
