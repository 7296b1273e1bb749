"""For every key of the L3 configuration: a change of it, and where the change has to show."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from typing import Any, Final, NamedTuple, get_args

from pydantic import BaseModel

from execution_providers import BarData, Fill, MarketState, Order, create_execution_provider
from lob import OrderBook
from lob.clock import ManualClock
from lob.config import L3ExecutionConfig, create_l3_config
from lob.errors import Fault
from lob.flow import ZeroIntelligence
from lob.hidden import Depth, Execution, HiddenLiquidityModel, Sweep
from lob.types import AssetClass, Instrument, Side, Submit
from tests.execution_providers.scenes import bar, ladder
from touchstone.kit.codec import fill_to_json

_SECOND: Final = 1_000_000_000
SYMBOL: Final = "ABC"


def schema_keys(model: type[BaseModel] = L3ExecutionConfig, above: str = "") -> Iterator[str]:
    """Yield every key of the configuration, sections within sections, as `section.key`."""
    for name, field in model.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        below = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if below:
            yield from schema_keys(below[0], f"{above}{name}.")
        else:
            yield f"{above}{name}"


class Change(NamedTuple):
    """One key's value in place of what `base` has; `seen_in` is what has to come out differently.

    `base` is a configuration by section, on top of the minimal preset.
    """

    key: str
    value: Any
    base: Mapping[str, Any]
    seen_in: Callable[[L3ExecutionConfig], object]


def wide_market() -> MarketState:
    """Return a market with room inside the spread, and with a day's volume and volatility."""
    bids = (("99.97", 300), ("99.96", 500), ("99.95", 400))
    asks = (("100.03", 300), ("100.04", 500), ("100.05", 400))
    return MarketState(
        timestamp_ms=1_700_000_000_000,
        bids=bids,  # type: ignore[arg-type]
        asks=asks,  # type: ignore[arg-type]
        last_price=Decimal(100),
        adv_notional=Decimal(10_000_000),
        volatility=Decimal("0.03"),
    )


def orders() -> list[tuple[Order, BarData | None]]:
    """Return orders that take, that rest, and that do both, with a bar and without."""
    quiet = bar(high="100.06", low="99.94", volume="30000")
    plain: list[tuple[Any, ...]] = [
        ("BUY", 250),
        ("SELL", 900),
        ("BUY", 700, "LIMIT", "100.04"),
        ("SELL", 450, "LIMIT", "99.97"),
        ("BUY", 80, "LIMIT", "99.97"),
        ("SELL", 80, "LIMIT", "100.04"),
        ("BUY", 500, "LIMIT", "100.03"),
    ]
    made = [Order(SYMBOL, *fields) for fields in plain]
    return [(order, during) for order in made for during in (None, quiet)]


def executions(config: L3ExecutionConfig) -> object:
    """Return what the provider answers, without the names that a configuration goes by."""
    return _answers(config, wide_market())


def without_figures(config: L3ExecutionConfig) -> object:
    """Return the answers where the market tells neither its volume nor its volatility."""
    return _answers(config, replace(wide_market(), adv_notional=None, volatility=None))


def _answers(config: L3ExecutionConfig, market: MarketState) -> object:
    provider = create_execution_provider(AssetClass.EQUITY, "L3", config=config, seed=1)
    told: list[object] = []
    for seed in range(6):
        for order, during in orders():
            try:
                fill = provider.execute(order, market, during, seed=seed)
            except Fault as fault:
                told.append(str(fault))
                continue
            told.append(_plain(fill))
    stats = provider.stats()
    stats.pop("models")
    return [*told, stats]


def _plain(fill: Fill | None) -> object:
    assert fill is not None
    answer = fill_to_json(fill)
    del answer["attribution"]["models"]
    # What a section calls its model is no answer either.
    answer["attribution"].get("impact", {}).pop("model", None)
    answer["attribution"].get("fill_forecast", {}).pop("model", None)
    return answer


def switched_on(config: L3ExecutionConfig) -> object:
    """Return the answer to one order, or how it was refused."""
    provider = create_execution_provider(AssetClass.EQUITY, "L3", config=config, seed=1)
    try:
        return provider.execute(Order(SYMBOL, "BUY", 1), ladder()) is not None  # type: ignore[arg-type]
    except Fault as fault:
        return str(fault)


def generator(config: L3ExecutionConfig) -> object:
    """Return the first commands of the synthetic flow of `lob_data`."""
    share = Instrument(
        symbol=SYMBOL,
        asset_class=AssetClass.EQUITY,
        tick_size=Decimal("0.01"),
        lot_size=Decimal(1),
    )
    book = OrderBook(share)
    flow = ZeroIntelligence(share, seed=3, mid_ticks=10_000, profile=config.lob_data.profile())
    told = []
    for _ in islice(iter(int, 1), 600):
        step = flow.step(book)
        if step is None:
            break
        told.append(step)
        book.apply(step[1])
    return told


def engine(config: L3ExecutionConfig) -> object:
    """Return how many orders the engine takes before it is full, and what it says then."""
    session = config.engine(OrderBook(), ManualClock(), seed=1)
    for number in range(1, 100):
        try:
            session.send(Submit(number, Side.BUY, 1, 99))
        except Fault as fault:
            return number, str(fault)
    return "never full"


def detector(config: L3ExecutionConfig) -> object:
    """Return what the detector makes of an iceberg's refills: late ones, small ones, large ones."""
    watch = config.hidden_liquidity.detector()
    told: list[object] = []
    sizes = (10, 12, 7, 10, 10, 13, 10, 7, 10)
    now_ns = 0
    for step, lots in enumerate(sizes):
        told.append(watch.used_up(now_ns, Side.SELL, 100, 10))
        now_ns += (1 + step % 4) * _SECOND * 3 // 10
        told.append(watch.shown(now_ns, Side.SELL, 100, lots))
        now_ns += 25 * _SECOND
        told.append(watch.used_up(now_ns, Side.BUY, 90 - step, 5))
        told.append(watch.shown(now_ns, Side.BUY, 90 - step, 5))
        told.append(watch.used_up(now_ns, Side.BUY, 70, 5))
        told.append(watch.shown(now_ns, Side.BUY, 70, 5))
        told.append(sorted(map(str, watch.expire(now_ns))))
    return [str(each) for each in told]


def met_hidden() -> Iterator[tuple[Sweep, Depth]]:
    """Yield sweeps, each of which met a hidden order at the mid."""
    depth = Depth(bids=((9_997, 300),), asks=((10_003, 300),))
    for number in range(1, 50):
        met = (Execution(10_000, 20 + number, hidden=True),)
        yield Sweep(number * _SECOND, Side.BUY, met), depth


def tracked(config: L3ExecutionConfig) -> object:
    """Return what is before an order after a cancel in a queue that shows its lots only."""
    tracker = config.queue_tracking.tracker()
    tracker.on_depth(Side.BUY, 100, 5)
    tracker.join(1, Side.BUY, 100)
    for lots in (8, 5):
        tracker.on_depth(Side.BUY, 100, lots)
    return tracker.estimator(1).ahead


_LATENCY: Final = {"latency": {"enabled": True}}
_SPIKY: Final = {"latency": {"enabled": True, "spike_probability": 0.5}}
_MINDFUL: Final = {"latency": {"enabled": True, "volatility_sensitivity": 0.5}}
_IMPACT: Final = {"market_impact": {"enabled": True, "eta": 5.0, "gamma": 1.0}}
_HIDDEN: Final = {
    "hidden_liquidity": {
        "enabled": True,
        "probability": 0.5,
        "iceberg_probability": 0.5,
    }
}
_VENUE: Final = {"name": "A", "base_fill_probability": 0.6, "leakage_bps": 2.0}
_DARK: Final = {"dark_pools": {"enabled": True, "venues": [_VENUE, {"name": "B"}]}}
_FORECAST: Final = {"fill_probability": {"enabled": True}}
_VALUE: Final = {"queue_value": {"enabled": True}}


def _with(base: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return a base of one section with more keys in it."""
    ((name, keys),) = base.items()
    return {name: keys | more}


def _venues(**changes: Any) -> list[dict[str, Any]]:
    return [_VENUE | changes, {"name": "B"}]


def _impact(key: str, value: Any, **more: Any) -> Change:
    return Change(f"market_impact.{key}", value, _with(_IMPACT, **more), executions)


CHANGES: Final = (
    Change("enabled", False, {}, switched_on),
    *(
        Change(f"lob_data.{key}", value, {}, generator)
        for key, value in {
            "limits_per_second": 20.0,
            "markets_per_second": 2.0,
            "resting_orders": 50,
            "distance_ticks": 4.0,
            "order_lots": 30.0,
            "round_lots": 10,
            "round_share": 0.1,
        }.items()
    ),
    Change("lob_data.cancels_per_second", 0.5, {}, executions),
    Change("latency.enabled", True, {}, executions),
    *(
        Change(f"latency.{key}", value, _LATENCY, executions)
        for key, value in {
            "profile": "retail",
            "distribution": "gamma",
            "cv": 0.9,
            "feed_us": 77.0,
            "order_us": 77.0,
            "exchange_us": 77.0,
            "fill_us": 77.0,
            "spike_probability": 0.5,
            "min_us": 400.0,
            "max_us": 90.0,
            "hour_multipliers": [2.0] * 24,
            "volatility_sensitivity": 1.0,
        }.items()
    ),
    Change("latency.spike_multiplier", 2.0, _SPIKY, executions),
    Change("latency.normal_volatility", 0.01, _MINDFUL, executions),
    Change("fill_probability.enabled", True, {}, executions),
    Change("fill_probability.horizon_s", 1.0, _FORECAST, executions),
    Change("fill_probability.model", "distance", _FORECAST, executions),
    Change("fill_probability.parameters", {"trade_sizes": [0.5, 0.5]}, _FORECAST, executions),
    Change("queue_value.enabled", True, {}, executions),
    *(
        Change(f"queue_value.{key}", value, _VALUE, executions)
        for key, value in {
            "act": True,
            "impact_half_spreads": 1.5,
            "away_per_trade": 3.0,
            "sweep_per_trade": 1.0,
            "sweep_loss_half_spreads": 9.0,
            "reprice_cost_bps": 3.0,
        }.items()
    ),
    Change("market_impact.enabled", True, {}, executions),
    _impact("model", "square_root"),
    _impact("eta", 9.0),
    _impact("gamma", 4.0),
    _impact("delta", 1.0),
    _impact("tau_s", 1.0),
    _impact("beta", 9.0, model="gatheral"),
    Change("market_impact.sigma", 0.2, _with(_IMPACT, adv_quantity=1e6), without_figures),
    _impact("decay", "power_law"),
    _impact("permanent_share", 0.9, model="square_root"),
    _impact("linear_coefficient", 9.0, model="linear"),
    _impact("square_root_y", 9.0, model="square_root"),
    _impact("kyle_lambda", 0.01, model="kyle", kyle_lambda=0.0001),
    _impact("book_density", 500.0, model="obizhaeva_wang", book_density=90_000.0),
    _impact("composite_weights", {"linear": 1.0}, model="composite"),
    Change("market_impact.adv_quantity", 1e5, _with(_IMPACT, adv_quantity=1e6), without_figures),
    Change("market_impact.adv_notional", 1e6, _with(_IMPACT, adv_notional=1e8), without_figures),
    _impact("apply_to_lob", False),
    _impact("reaction", "informed", eta=0.0, gamma=0.0),
    _impact("reaction_share", 0.1, eta=0.0, gamma=0.0),
    Change("hidden_liquidity.enabled", True, {}, executions),
    *(
        Change(f"hidden_liquidity.{key}", value, _HIDDEN, executions)
        for key, value in {
            "probability": 0.9,
            "size_ratio": 5.0,
            "parameters": HiddenLiquidityModel.fit(met_hidden()).to_parameters(
                tick_size=0.01, lot_size=1.0
            ),
            "iceberg_probability": 1.0,
            "prior_a": 30.0,
            "prior_b": 30.0,
        }.items()
    ),
    *(
        Change(f"hidden_liquidity.{key}", value, _HIDDEN, detector)
        for key, value in {
            "confirm_refills": 3,
            "high_confidence_refills": 4,
            "window_s": 20.0,
            "refill_within_s": 0.5,
            "low_ratio": 0.5,
            "high_ratio": 1.5,
            "display_weight": 0.9,
            "max_candidates": 1,
        }.items()
    ),
    Change("dark_pools.enabled", True, {}, executions),
    *(
        Change(f"dark_pools.{key}", value, _DARK, executions)
        for key, value in {
            "routing": "PARALLEL",
            "max_dark_fill_pct": 20.0,
            "max_history_size": 3,
        }.items()
    ),
    *(
        Change(f"dark_pools.venues.{key}", _venues(**{key: value}), _DARK, executions)
        for key, value in {
            "name": "C",
            "type": "BLOCK_POOL",
            "min_quantity": 200,
            "max_quantity": 200,
            "base_fill_probability": 0.1,
            "size_penalty": 20.0,
            "latency_us": 5.0,
            "leakage_bps": 20.0,
        }.items()
    ),
    Change("queue_tracking.max_tracked_orders", 5, {}, engine),
    Change("queue_tracking.estimator", "optimistic", {}, tracked),
    Change("event_scheduling.max_events", 7, {}, engine),
)
"""One change of each key; where a key is a venue's, the whole list of venues is given."""


def configurations(change: Change) -> tuple[L3ExecutionConfig, L3ExecutionConfig]:
    """Return the configuration without the change, and with it."""
    before = create_l3_config("minimal", **change.base)
    section, _, key = change.key.partition(".")
    key = "venues" if key.startswith("venues.") else key
    nested: Any = {key: change.value} if key else change.value
    base = dict(change.base)
    base[section] = dict(base.get(section, {})) | nested if key else nested
    return before, create_l3_config("minimal", **base)
