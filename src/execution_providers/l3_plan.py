"""What a configuration comes to: its models made once, for all the executions under it."""

import json
from typing import Any, Final

from execution_providers.config_digest import config_digest
from execution_providers.l3_dark import DarkVenues
from execution_providers.l3_hidden import HiddenPlan
from execution_providers.l3_impact import OwnImpact, daily_volatility
from execution_providers.l3_scene import Ladders, Units, instrument_of, units_of
from execution_providers.types import BarData, MarketState, Order
from lob.config import L3ExecutionConfig
from lob.fill_probability import FillModel
from lob.latency import Component, LatencyModel, leg_law, round_trip_law
from lob.types import AssetClass, Instrument

NS_PER_MS: Final = 1_000_000
IN_FLIGHT: Final = (Component.ORDER, Component.EXCHANGE)
"""What lies between the decision and the match. The market state is that of the decision, so the
feed's latency is behind it; the fill's is how much later the owner hears."""
_LEVELS: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Plan:
    """The models of one configuration as it stands; a changed one needs a new plan."""

    def __init__(self, config: L3ExecutionConfig, asset_class: AssetClass) -> None:
        self.config = config
        self.asset_class = asset_class
        self.enabled = config.enabled
        self.digest = config_digest(config)
        self.latency: LatencyModel | None = None
        if config.latency.enabled:
            self.latency = config.latency.model(seed=0)
        self.minds_volatility = config.latency.volatility_sensitivity > 0
        self.impact = OwnImpact(config.market_impact) if config.market_impact.enabled else None
        self.dark = DarkVenues(config.dark_pools) if config.dark_pools.enabled else None
        hidden = config.hidden_liquidity
        self.hidden = HiddenPlan(hidden) if hidden.enabled else None
        self.fill_model: FillModel | None = None
        if config.fill_probability.enabled:
            self.fill_model = config.fill_probability.fill_model(config.lob_data)
        self.queue_value = config.queue_value if config.queue_value.enabled else None
        self.horizon_s = config.fill_probability.horizon_s
        rates = config.lob_data
        self.cancels_per_trade = rates.cancels_per_second / rates.markets_per_second
        models = (self.impact, self.dark, self.hidden, self.fill_model, self.queue_value)
        self.modelled = any(model is not None for model in models)
        self.draws = self.modelled or self.latency is not None
        self._names = self._named()
        self._names_texts: dict[bool, str] = {}
        self._estimates: Plan | None = None
        self._ladders: Ladders | None = None
        self._units: tuple[MarketState, Units] | None = None

    def latency_ns(self, seed: int, market: MarketState, bar: BarData | None) -> int:
        """Draw the time from the market state to the match, in nanoseconds."""
        if self.latency is None:
            return 0
        ratio = 1.0
        if self.minds_volatility:
            volatility = daily_volatility(market, bar, self.asset_class)
            if volatility is not None:
                ratio = volatility / self.config.latency.normal_volatility
        now_ns = market.timestamp_ms * NS_PER_MS
        return self.latency.first_draws_ns(seed, IN_FLIGHT, now_ns, ratio)

    def for_estimates(self) -> "Plan":
        """Return the plan by which costs are estimated: nothing of it is drawn."""
        if self._estimates is None:
            latency = self.config.latency.model_copy(update={"enabled": False})
            off: dict[str, Any] = {"latency": latency}
            for name in ("fill_probability", "queue_value", "hidden_liquidity", "dark_pools"):
                off[name] = getattr(self.config, name).model_copy(update={"enabled": False})
            self._estimates = Plan(self.config.model_copy(update=off), self.asset_class)
        return self._estimates

    def instrument(self, order: Order, market: MarketState) -> Instrument:
        """Return an instrument in which a request is in whole numbers, as `instrument_for` does."""
        known = self._units
        if known is None or known[0] is not market:
            known = self._units = market, units_of(self.asset_class, market)
        return instrument_of(self.asset_class, order, known[1])

    def ladders(self, instrument: Instrument, market: MarketState) -> Ladders:
        """Return a market's levels in an instrument's units, found once for the same two."""
        seen = self._ladders
        if seen is None or seen.market is not market or seen.instrument is not instrument:
            known = self._units
            units = known[1] if known is not None and known[0] is market else None
            seen = self._ladders = Ladders(instrument, market, units)
        return seen

    def names(self, bar: BarData | None) -> dict[str, str]:
        """Return the names of what takes part in an execution."""
        flow = "none" if bar is None else "bar-consistent Poisson"
        return {"background_flow": flow, **self._names}

    def names_text(self, bar: BarData | None) -> str:
        """Return the same as JSON, written once."""
        text = self._names_texts.get(bar is None)
        if text is None:
            text = json.dumps(self.names(bar), separators=(",", ":"), ensure_ascii=False)
            self._names_texts[bar is None] = text
        return text

    def states(self) -> dict[str, Any]:
        """Return which models are on."""
        config = self.config
        sections = ("fill_probability", "queue_value", "market_impact", "hidden_liquidity")
        on = {name: _state(getattr(config, name).enabled) for name in (*sections, "dark_pools")}
        return {
            "enabled": config.enabled,
            "matching": "enabled",
            "queue": "enabled",
            "background_flow": "enabled where a bar is given",
            "latency": _state(config.latency.enabled),
            **on,
        }

    def latency_us(self) -> dict[str, dict[str, float]]:
        """Return the median, 95th and 99th percentile of each leg and of the round trip, in us."""
        if self.latency is None:
            return {}
        laws = {leg.value: leg_law(self.latency, leg) for leg in Component}
        found = {
            name: {label: law.quantile_us(level) for label, level in _LEVELS.items()}
            for name, law in laws.items()
        }
        way = round_trip_law(self.latency)
        found["round_trip"] = {label: way.quantile_us(level) for label, level in _LEVELS.items()}
        return found

    def _named(self) -> dict[str, str]:
        config, latency = self.config, self.config.latency
        names = {
            "config": self.digest,
            "latency": f"{latency.distribution} {latency.profile}" if latency.enabled else "none",
            "matching": "price-time",
            "queue": "exact",
        }
        if self.dark is not None:
            names["dark_pools"] = config.dark_pools.routing.value
        if self.hidden is not None:
            names["hidden_liquidity"] = f"{self.hidden.name} hidden orders, icebergs"
        if self.impact is not None:
            names["market_impact"] = config.market_impact.model.value
        if self.fill_model is not None:
            names["fill_probability"] = self.fill_model.name
        if self.queue_value is not None:
            names["queue_value"] = "Moallemi-Yuan"
        return names


def _state(on: bool) -> str:
    return "enabled" if on else "disabled"
