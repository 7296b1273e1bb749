"""The L2 provider: walk the given depth; without one, half-spread plus square-root impact.

No latency, no queue: an aggressor takes the depth as it was seen, and a resting order fills only
where the bar trades *through* its limit, because a trade at the limit may have gone to others. A
quantity is filled in part where there is not enough; nothing is ever forced.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal, localcontext
from functools import partial
from typing import Any, Final

from execution_providers.decimals import not_negative
from execution_providers.fees import FeeSchedule
from execution_providers.provider import (
    ARITHMETIC,
    MODELS_OF_L3,
    ONLY_AT_L3,
    ExecutionProvider,
    OwnSeed,
)
from execution_providers.rules import (
    FOK_NOT_FILLABLE,
    NO_LIQUIDITY,
    POST_ONLY_WOULD_CROSS,
    Ended,
    Working,
    arm,
    status_of,
)
from execution_providers.slippage import (
    EXACT,
    NOTHING,
    Reference,
    Slippage,
    average_price,
    rounded,
    split,
    split_moved,
    totals_of,
)
from execution_providers.types import (
    BarData,
    CostEstimate,
    Fill,
    FillStatus,
    Liquidity,
    MarketState,
    Order,
    PartialFill,
    TimeInForce,
)
from execution_providers.walk import Met, meet
from lob.errors import ConfigError, InvalidInput
from lob.types import AssetClass, Side

_ZERO: Final = Decimal(0)
_TEN_THOUSAND: Final = Decimal(10_000)
_MODEL_DIGITS: Final = Decimal("1E-6")
_UNIT_DIGITS: Final = Decimal("1E-8")
_NS_PER_MS: Final = 1_000_000
# A price a hundred million times the reference: beyond it is no market, and no digits for it.
_IMPACT_BPS_MAX: Final = 1e12

DEFAULT_HALF_SPREAD_BPS: Final[Mapping[AssetClass, Decimal]] = {
    AssetClass.EQUITY: Decimal("1.0"),
    AssetClass.CRYPTO: Decimal("1.0"),
    AssetClass.FUTURES: Decimal("0.5"),
}
"""What half the spread is taken to be where no depth is given: a round figure for liquid names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class L2Config:
    """What the L2 provider assumes where it is given no depth.

    impact = `impact_coefficient` x sigma x sqrt(quantity / volume), the square-root law (Toth et
    al. 2011, who find a coefficient of order one). Volume and sigma are of the same period: the
    day's (`market.adv_notional` and `market.volatility`), else the bar's (its volume, and sigma
    from its range after Parkinson 1980). `half_spread_bps` None takes the asset class's default.
    At most `max_participation` of the period's volume fills.
    """

    half_spread_bps: Decimal | None = None
    impact_coefficient: Decimal = Decimal(1)
    max_participation: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                try:
                    object.__setattr__(self, field.name, not_negative(field.name, value))
                except InvalidInput as error:
                    raise ConfigError(str(error)) from None


@dataclass(frozen=True, slots=True)
class _Modelled:
    """What the square-root law says of one order."""

    quantity: Decimal
    price: Decimal
    spread_bps: Decimal
    impact_bps: Decimal
    inputs: str


class L2Provider(ExecutionProvider):
    """Execute against depth, or against a model of it."""

    level = "L2"

    def __init__(
        self,
        asset_class: AssetClass,
        config: L2Config | None = None,
        seed: int = 0,
        fees: FeeSchedule | None = None,
    ) -> None:
        super().__init__(asset_class, seed, fees)
        self.config = L2Config() if config is None else config

    def stats(self) -> dict[str, Any]:
        """Return counts, the seed, and which models are on."""
        models = {"depth_walk": "enabled", "square_root_impact": "enabled where no depth is given"}
        return {
            **self._base_stats(),
            "models": models | dict.fromkeys(MODELS_OF_L3, ONLY_AT_L3),
        }

    def estimate_execution_cost(
        self, order: Order, market_state: MarketState, bar: BarData | None = None
    ) -> CostEstimate:
        """Return what `execute` would say of the part that trades at once."""
        with localcontext(ARITHMETIC):
            fill = self._execute(order, market_state, bar, OwnSeed(self.seed))
            return estimate_from(self, order, fill)

    def _execute(
        self, order: Order, market: MarketState, bar: BarData | None, seed: OwnSeed
    ) -> Fill:
        armed = arm(order, market)
        if isinstance(armed, Ended):
            ended = partial(_told, seed, {}, armed.reason)
            return self._finish(order, armed.status, (), NOTHING, None, Slippage(), ended)
        seen = self._seen_in(market)
        modelled: _Modelled | None = None
        if seen.bid is not None or seen.ask is not None:
            met = meet(armed, market)
        else:
            modelled = self._model(armed, seen.reference, market, bar)
            met = _meet_modelled(armed, seen.reference, modelled)
        if met.refused is not None:
            explained = partial(_told, seed, {}, met.refused)
            rejected = FillStatus.REJECTED
            return self._finish(order, rejected, (), NOTHING, seen, Slippage(), explained)
        fills = met.fills
        if bar is not None and met.leaves:
            fills += self._rest(armed, met.leaves, bar)
        totals = met.totals if fills is met.fills else totals_of(fills)
        if modelled is None:
            slippage = split(armed.side, seen, totals, met.touch)
        else:
            # What a modelled price costs beyond the half-spread is impact, not depth.
            touches = (met.touch, met.touch, met.touch)
            slippage = split_moved(armed.side, seen.reference.price, totals, touches, NOTHING)
            slippage = slippage._replace(depth=_ZERO, impact=slippage.depth)
        status = status_of(armed.quantity, totals.quantity)
        explained = partial(_told, seed, _models(modelled), None if fills else NO_LIQUIDITY)
        return self._finish(order, status, fills, totals, seen, slippage, explained)

    def _rest(self, working: Working, leaves: Decimal, bar: BarData) -> tuple[PartialFill, ...]:
        """Return the fill of a resting remainder: at its limit, if the bar trades through it."""
        limit = working.limit
        if limit is None or not working.rests or not leaves:
            return ()
        extreme = bar.low if working.side is Side.BUY else bar.high
        if (limit - extreme) * working.side.sign <= 0:
            return ()
        quantity = min(leaves, _units(bar.volume * self.config.max_participation))
        if not quantity:
            return ()
        end_ns = bar.duration_ms * _NS_PER_MS
        return (PartialFill(limit, quantity, Liquidity.MAKER, end_ns),)

    def _model(
        self, working: Working, reference: Reference, market: MarketState, bar: BarData | None
    ) -> _Modelled:
        """Return the square-root law's price for the whole order, capped by participation."""
        half_spread = self.config.half_spread_bps
        if half_spread is None:
            half_spread = DEFAULT_HALF_SPREAD_BPS[self.asset_class]
        volume, sigma, inputs = _volume_and_sigma(reference.price, market, bar)
        quantity = min(working.quantity, _units(volume * self.config.max_participation))
        participation = float(quantity / volume)
        coefficient = float(self.config.impact_coefficient)
        impact_bps = coefficient * sigma * math.sqrt(participation) * 10_000
        if impact_bps > _IMPACT_BPS_MAX:
            raise InvalidInput(
                f"market.volatility: the modelled impact is {impact_bps:g} bps; allowed: at most"
                f" {_IMPACT_BPS_MAX:g}"
            )
        impact = Decimal(repr(impact_bps)).quantize(_MODEL_DIGITS, ROUND_HALF_EVEN)
        price = _shift(reference.price, working.side, half_spread + impact)
        if price <= 0:
            raise InvalidInput(
                f"market.volatility: the modelled cost of {half_spread + impact} bps leaves no"
                " price above 0; allowed: less volatility or a smaller order"
            )
        return _Modelled(quantity, price, half_spread, impact, inputs)


def estimate_from(provider: ExecutionProvider, order: Order, fill: Fill) -> CostEstimate:
    """Return the cost estimate that the takers' part of `fill` amounts to."""
    taken = tuple(part for part in fill.fills if part.liquidity is Liquidity.TAKER)
    totals = totals_of(taken)
    quantity = totals.quantity
    average = average_price(totals)
    if average is None:
        return CostEstimate(_ZERO, None, None, _ZERO, None, provider.level)
    reference = Decimal(fill.attribution["reference_price"])
    fees = rounded(provider.fees.of_totals(order.side, totals))
    slippage = (average - reference) * order.side.sign / reference * _TEN_THOUSAND
    digits = Decimal("1E-9")
    return CostEstimate(
        fillable_quantity=quantity,
        average_price=average,
        slippage_bps=slippage.quantize(digits, None, EXACT),
        fees=fees,
        fees_bps=(fees / (average * quantity) * _TEN_THOUSAND).quantize(digits, None, EXACT),
        model=provider.level,
    )


def _meet_modelled(working: Working, reference: Reference, modelled: _Modelled) -> Met:
    """Take the modelled quantity, or nothing at once where its price is beyond the limit."""
    touch = _shift(reference.price, working.side, modelled.spread_bps)
    leaves = working.quantity
    if working.post_only and working.accepts(touch):
        return Met((), leaves, touch, POST_ONLY_WOULD_CROSS)
    fills: tuple[PartialFill, ...] = ()
    if modelled.quantity and working.accepts(modelled.price):
        fills = (PartialFill(modelled.price, modelled.quantity, Liquidity.TAKER),)
        leaves = EXACT.subtract(leaves, modelled.quantity)
    if leaves and working.time_in_force is TimeInForce.FOK:
        return Met((), working.quantity, touch, FOK_NOT_FILLABLE)
    return Met(fills, leaves, touch, None, totals_of(fills))


def _told(seed: OwnSeed, models: dict[str, str], reason: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {"seed": seed.value, "models": models}
    if reason is not None:
        told["reason"] = reason
    return told


def _models(modelled: _Modelled | None) -> dict[str, str]:
    if modelled is None:
        return {"liquidity": "depth walk"}
    return {"liquidity": "half-spread and square-root impact", "inputs": modelled.inputs}


def _units(quantity: Decimal) -> Decimal:
    """Return a computed quantity rounded down to 8 decimals: it is a cap, so never up."""
    return quantity.quantize(_UNIT_DIGITS, ROUND_DOWN, EXACT).normalize(EXACT)


def _shift(price: Decimal, side: Side, bps: Decimal) -> Decimal:
    """Return `price` made worse for `side` by `bps`."""
    return rounded(price * (1 + side.sign * bps / _TEN_THOUSAND))


def _volume_and_sigma(
    price: Decimal, market: MarketState, bar: BarData | None
) -> tuple[Decimal, float, str]:
    """Return volume in units, sigma as a fraction, and the period both are of."""
    if market.adv_notional is not None and market.volatility is not None:
        return market.adv_notional / price, float(market.volatility), "day"
    if bar is not None and bar.volume > 0:
        # Parkinson (1980): sigma^2 = ln(high/low)^2 / (4 ln 2)
        sigma = math.log(float(bar.high / bar.low)) / (2 * math.sqrt(math.log(2)))
        return bar.volume, sigma, "bar"
    raise InvalidInput(
        "market.adv_notional and market.volatility: nothing; allowed where neither depth nor a bar"
        " with volume is given: both"
    )
