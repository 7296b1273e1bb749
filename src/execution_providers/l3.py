"""The L3 provider: the order really goes through a market-by-order book.

The book is built from the market state's depth. The order leaves at the decision, others act while
it is on its way, it matches on arrival against what is there *then*, and what rests waits its turn
in the queue until the bar ends. Without latency and without a bar this is exact matching against
the given depth.
"""

import logging
from collections.abc import Generator, Mapping
from decimal import Decimal, localcontext
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from execution_providers.decimals import DecimalLike
from execution_providers.decimals import not_negative as quantity_of
from execution_providers.fees import FeeSchedule
from execution_providers.l2 import L2Config, estimate_from
from execution_providers.l3_arrival import Outcome, arrive, given, in_units, met_alone
from execution_providers.l3_flow import BackgroundFlow
from execution_providers.l3_forecast import Place, rates_at, state_of, typical_order
from execution_providers.l3_impact import daily_volatility
from execution_providers.l3_live import AskedLive, LiveBook, market_of, run_live
from execution_providers.l3_modelled import Asked, run_modelled, told_of
from execution_providers.l3_plan import Plan
from execution_providers.l3_scene import (
    Ladders,
    Reach,
    build_book,
    instrument_for,
    usual_tick,
    within_reach,
)
from execution_providers.l3_told import Told
from execution_providers.outlook import FillOutlook, decided, expected
from execution_providers.provider import (
    ARITHMETIC,
    ExecutionProvider,
    OwnSeed,
    execution_seed,
    require_seed,
)
from execution_providers.rules import (
    Ended,
    Working,
    arm,
    status_of,
)
from execution_providers.slippage import (
    EXACT,
    NOTHING,
    Seen,
    Slippage,
    Totals,
    split,
    split_moved,
    totals_of,
)
from execution_providers.types import (
    BarData,
    CostEstimate,
    Fill,
    FillStatus,
    MarketState,
    Order,
)
from execution_providers.walk import joined_size, meet
from lob.bounds import not_negative
from lob.config import CHANGES, L3ExecutionConfig, create_l3_config
from lob.errors import ConfigError, Conflict, NotSupported
from lob.types import AssetClass, Instrument, Side

LOGGER: Final = logging.getLogger("execution_providers_l3")

_PRESETS: Final[Mapping[AssetClass, str]] = {
    AssetClass.EQUITY: "equity",
    AssetClass.CRYPTO: "crypto",
    AssetClass.FUTURES: "crypto",
}


def create_l3(
    asset_class: AssetClass,
    config: L2Config | L3ExecutionConfig | None,
    config_path: str | Path | None,
    seed: int,
    fees: FeeSchedule | None,
    instruments: Mapping[str, Instrument] | None,
) -> ExecutionProvider:
    """Return the L3 provider for `create_execution_provider`.

    Raises:
        ConfigError: both `config` and `config_path`, a wrong kind, or a file that is not right.
    """
    if config is not None and config_path is not None:
        raise ConfigError("config_path: given together with config; allowed: one of the two")
    if config_path is not None:
        config = L3ExecutionConfig.from_yaml(config_path)
    elif config is None:
        config = create_l3_config(_PRESETS[asset_class])
    if not isinstance(config, L3ExecutionConfig):
        raise ConfigError(f"config: {type(config).__name__}; allowed for L3: L3ExecutionConfig")
    return L3Provider(asset_class, config, seed, fees, instruments)


class L3Provider(ExecutionProvider):
    """Execute through a book, with latency and a queue."""

    level = "L3"

    def __init__(
        self,
        asset_class: AssetClass,
        config: L3ExecutionConfig,
        seed: int = 0,
        fees: FeeSchedule | None = None,
        instruments: Mapping[str, Instrument] | None = None,
    ) -> None:
        super().__init__(asset_class, seed, fees)
        self.config = config
        self._instruments = dict(instruments or {})
        self._plan_of: tuple[L3ExecutionConfig, int, Plan] | None = None
        self._plan()

    def stats(self) -> dict[str, Any]:
        """Return counts, the seed, which models are on, and latency percentiles in microseconds."""
        plan = self._plan()
        found = {
            **self._base_stats(),
            "models": plan.states(),
            "latency_us": plan.latency_us(),
        }
        if plan.dark is not None:
            found["dark_pools"] = plan.dark.summary()
        return found

    def estimate_execution_cost(
        self,
        order: Order,
        market_state: MarketState,
        bar: BarData | None = None,  # noqa: ARG002
    ) -> CostEstimate:
        """Return what the book as given would cost an immediate order: no latency, no flow.

        Of the models only market impact has a part in it: the others are draws.
        """
        plan = self._require_enabled()
        with localcontext(ARITHMETIC):
            seed = OwnSeed(self.seed)
            fill = self._run(order, market_state, None, seed, plan.for_estimates(), 0)
            return estimate_from(self, order, fill)

    def get_fill_probability(
        self, order: Order, market_state: MarketState, horizon_seconds: float
    ) -> float:
        """Return the probability that all of `order` has filled `horizon_seconds` from now.

        Raises:
            InvalidInput: as `fill_outlook`.
            NotSupported: `fill_probability` is off.
        """
        return self.fill_outlook(order, market_state, horizon_seconds).probability

    def fill_outlook(
        self,
        order: Order,
        market_state: MarketState,
        horizon_seconds: float,
        *,
        queue_ahead: DecimalLike | None = None,
    ) -> FillOutlook:
        """Return how likely `order` is to fill within `horizon_seconds`, and how much of it.

        What the given depth fills at once counts as filled; what then rests is forecast by the
        configuration's model, from the queue ahead of it and the rates of `lob_data`; an order that
        cannot rest fills now or never. The queue is exact, also where the market shows levels only:
        who joins now stands behind all that is displayed at the price. For an order that has been
        waiting, `queue_ahead` is what still stands before it there, in units of the symbol:
        `config.queue_tracking.tracker()` follows it from one depth to the next.

        Raises:
            InvalidInput: a horizon or a queue below 0, or something that the order or the model
                needs.
            NotSupported: `fill_probability` is off.
        """
        horizon_s = not_negative("horizon_seconds", horizon_seconds)
        waiting = None if queue_ahead is None else quantity_of("queue_ahead", queue_ahead)
        plan = self._require_enabled()
        if plan.fill_model is None:
            raise NotSupported(
                "fill probability: fill_probability.enabled: false; allowed for a forecast: true"
            )
        with localcontext(ARITHMETIC):
            armed = arm(order, market_state)
            if isinstance(armed, Ended):
                return decided(NOTHING.quantity, whole=False, horizon_s=horizon_s)
            met = meet(armed, market_state)
            at_once = totals_of(met.fills).quantity
            if met.refused is not None or not met.leaves or not armed.rests:
                whole = met.refused is None and not met.leaves
                return decided(at_once, whole=whole, horizon_s=horizon_s)
            instrument = self._instruments.get(order.symbol)
            if instrument is None:
                instrument = plan.instrument(order, market_state)
            seen = plan.ladders(instrument, market_state)
            ahead = joined_size(armed, market_state) if waiting is None else waiting
            place = _would_rest(seen, armed, met.leaves, ahead)
            rates = rates_at(place, None, plan.config.lob_data, instrument.lot_size)
            volatility = daily_volatility(market_state, None, self.asset_class)
            seen_ms = market_state.timestamp_ms
            state = state_of(place, rates, volatility, self.asset_class, seen_ms)
            forecast = plan.fill_model.predict(state, horizon_s)
            per_unit = place.unit * float(instrument.lot_size)
            return expected(forecast, per_unit, ahead, at_once)

    def execute_live(
        self,
        order: Order,
        live: LiveBook,
        about: MarketState | None = None,
        bar: BarData | None = None,
        *,
        seed: int | None = None,
    ) -> Generator[int, None, Fill]:
        """Execute `order` in a session's book; yields the times the session has to come to.

        The generator's value is the fill. See `execution_providers.l3_live`; `about` is asked for
        `adv_notional` and `volatility` only.

        Raises:
            Fault: as `execute`, and `Conflict` where the session's book is crossed.
        """
        plan = self._require_enabled()
        base = self.seed if seed is None else require_seed(seed)
        market = market_of(live, about)
        asked = AskedLive(order, market, bar, execution_seed(base, order, market))
        fill = yield from run_live(plan, asked, live, self._finish)
        self._counts[fill.status] += 1
        return fill

    def _execute(
        self, order: Order, market: MarketState, bar: BarData | None, seed: OwnSeed
    ) -> Fill:
        plan = self._require_enabled()
        if plan.draws or bar is not None:
            seed = seed.made()
        latency_ns = 0 if plan.latency is None else plan.latency_ns(seed.value, market, bar)
        fill = self._run(order, market, bar, seed, plan, latency_ns)
        if LOGGER.isEnabledFor(logging.DEBUG):
            LOGGER.debug("execution of %s: %s", order, fill)
        return fill

    def _plan(self) -> Plan:
        """Return the models of the configuration as it stands."""
        made = self._plan_of
        if made is not None and made[0] is self.config and made[1] == CHANGES.latest:
            return made[2]
        changes = CHANGES.latest
        plan = Plan(self.config, self.asset_class)
        if made is not None and made[0] is self.config and made[2].digest == plan.digest:
            plan = made[2]  # another configuration was changed
        self._plan_of = (self.config, changes, plan)
        return plan

    def _require_enabled(self) -> Plan:
        plan = self._plan()
        if not plan.enabled:
            raise Conflict("L3 configuration: enabled: false; allowed for an execution: true")
        return plan

    def _run(
        self,
        order: Order,
        market: MarketState,
        bar: BarData | None,
        seed: OwnSeed,
        plan: Plan,
        latency_ns: int,
    ) -> Fill:
        """Let the order meet the book `latency_ns` after the decision."""
        armed = arm(order, market)
        if isinstance(armed, Ended):
            ended = {"seed": seed.value, "models": plan.names(bar), "reason": armed.reason}
            return self._finish(order, armed.status, (), NOTHING, None, Slippage(), ended)
        seen = self._seen_in(market)
        if plan.modelled:
            instrument = self._instruments.get(order.symbol)
            if instrument is None:
                instrument = plan.instrument(order, market)
            maker_bps = self.fees.maker_bps
            price = seen.reference.price
            asked = Asked(armed, market, bar, seed.value, instrument, price, latency_ns, maker_bps)
            return self._modelled(order, plan, asked, seen)
        others_act = bar is not None and (latency_ns > 0 or armed.rests)
        outcome: Outcome | None = None
        if not others_act and order.symbol not in self._instruments:
            outcome = met_alone(armed, market, latency_ns)
        if outcome is None:
            rng = Random(seed.value)  # noqa: S311 - a simulation, not a secret
            acting = bar if others_act else None
            outcome = self._in_book(plan, order, armed, market, acting, rng, latency_ns)
        explained = Told(seed, plan, bar, latency_ns, outcome)
        fills, totals = outcome.fills, outcome.totals
        if outcome.refused is not None:
            rejected = FillStatus.REJECTED
            return self._finish(order, rejected, (), NOTHING, seen, Slippage(), explained)
        slippage = split(order.side, seen, totals, outcome.touch)
        status = status_of(order.quantity, totals.quantity)
        return self._finish(order, status, fills, totals, seen, slippage, explained)

    def _in_book(
        self,
        plan: Plan,
        order: Order,
        armed: Working,
        market: MarketState,
        bar: BarData | None,
        rng: Random,
        latency_ns: int,
    ) -> Outcome:
        """Let the order meet a book built of the market; `bar` is given where others act in it."""
        seen, first_bid, first_ask = within_reach(armed, market) if bar is None else Reach(market)
        instrument = self._instruments.get(order.symbol)
        if instrument is None:
            instrument = instrument_for(self.asset_class, order, seen)
        book = build_book(instrument, seen, rng, first_bid, first_ask)
        if bar is None:
            return arrive(book, instrument, armed, latency_ns)
        flow = BackgroundFlow(
            book,
            bar,
            rng,
            quote_tick=usual_tick(self.asset_class),
            cancels_per_trade=plan.cancels_per_trade,
        )
        flow.run(latency_ns, own_waits=False)
        in_flight = dict(flow.counts)
        arrived = arrive(book, instrument, armed, latency_ns)._replace(in_flight=in_flight)
        if arrived.queue_ahead is None:
            return arrived
        rested = given(flow.run(flow.end_ns, own_waits=True), instrument)
        waited = {name: total - in_flight[name] for name, total in flow.counts.items()}
        fills = arrived.fills + rested
        return arrived._replace(fills=fills, totals=totals_of(fills), while_resting=waited)

    def _modelled(self, order: Order, plan: Plan, asked: Asked, seen: Seen) -> Fill:
        """Return the fill of an execution with models on."""
        done = run_modelled(plan, asked)
        explained = partial(told_of, asked.seed, plan, asked.bar, done)
        lit, dark = done.totals()
        if done.refused is not None:
            # Nothing went into the dark: what the book may refuse whole does not go there.
            rejected = FillStatus.REJECTED
            return self._finish(order, rejected, (), NOTHING, seen, Slippage(), explained)
        fills = done.dark + done.lit
        slippage = split_moved(order.side, seen.reference.price, lit, done.touches, dark)
        totals = Totals(*map(EXACT.add, lit, dark)) if done.dark else lit
        status = status_of(order.quantity, totals.quantity)
        return self._finish(order, status, fills, totals, seen, slippage, explained)


def _would_rest(seen: Ladders, order: Working, leaves: Decimal, ahead: Decimal) -> Place:
    """Return where a limit order rests in the given depth, `leaves` left and `ahead` before it."""
    instrument = seen.instrument
    own, other = (seen.bids, seen.asks) if order.side is Side.BUY else (seen.asks, seen.bids)
    leaves_lots, limit_ticks = in_units(instrument, order._replace(quantity=leaves))
    return Place(
        order.side,
        limit_ticks or 0,
        leaves_lots,
        instrument.round_lots(ahead) if ahead else 0,
        own,
        [level for level in other if (level[0] - (limit_ticks or 0)) * order.side.sign > 0],
        seen.step,
        typical_order(own, other),
    )
