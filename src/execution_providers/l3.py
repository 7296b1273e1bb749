"""The L3 provider: the order really goes through a market-by-order book.

The book is built from the market state's depth. The order leaves at the decision, others act while
it is on its way, it matches on arrival against what is there *then*, and what rests waits its turn
in the queue until the bar ends. Without latency and without a bar this is exact matching against
the given depth.
"""

import logging
from collections.abc import Mapping
from decimal import Decimal, localcontext
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from execution_providers.config_digest import config_digest
from execution_providers.fees import FeeSchedule
from execution_providers.l2 import L2Config, estimate_from
from execution_providers.l3_flow import COUNT_NAMES, BackgroundFlow, OwnTrade
from execution_providers.l3_scene import (
    OWN_ORDER_ID,
    Reach,
    build_book,
    instrument_for,
    usual_tick,
    within_reach,
)
from execution_providers.provider import (
    ARITHMETIC,
    NOT_IMPLEMENTED,
    UNIMPLEMENTED_MODELS,
    ExecutionProvider,
)
from execution_providers.rules import (
    NO_LIQUIDITY,
    Ended,
    Working,
    arm,
    opposite_levels,
    opposite_touch,
    status_of,
)
from execution_providers.slippage import (
    NOTHING,
    Slippage,
    plain,
    reference_of,
    split,
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
from execution_providers.walk import fits_a_book, joined_size, meet
from lob import OrderBook
from lob.config import L3ExecutionConfig, create_l3_config
from lob.errors import ConfigError, Conflict, InvalidInput
from lob.latency import Component, LatencyModel
from lob.types import (
    AssetClass,
    Event,
    Instrument,
    OrderType,
    Rejected,
    Side,
    Traded,
)
from lob.types import TimeInForce as BookTimeInForce

LOGGER: Final = logging.getLogger("execution_providers_l3")
NS_PER_MS: Final = 1_000_000

_PRESETS: Final[Mapping[AssetClass, str]] = {
    AssetClass.EQUITY: "equity",
    AssetClass.CRYPTO: "crypto",
    AssetClass.FUTURES: "crypto",
}
_IN_FLIGHT: Final = (Component.ORDER, Component.EXCHANGE)
"""What lies between the decision and the match. The market state is that of the decision, so the
feed's latency is behind it; the fill's is how much later the owner hears."""
_NO_EVENTS: Final = dict.fromkeys(COUNT_NAMES, 0)
_BOOK_TIF: Final[Mapping[TimeInForce, BookTimeInForce]] = {
    TimeInForce.GTC: BookTimeInForce.GTC,
    TimeInForce.DAY: BookTimeInForce.GTC,
    TimeInForce.IOC: BookTimeInForce.IOC,
    TimeInForce.FOK: BookTimeInForce.FOK,
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


class _Outcome(NamedTuple):
    """What became of the order: events are counted where others act in the book."""

    fills: tuple[PartialFill, ...]
    touch: Decimal | None
    refused: str | None = None
    queue_ahead: Decimal | None = None
    in_flight: dict[str, int] | None = None
    while_resting: dict[str, int] | None = None


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
        # Part of every fill: whoever keeps the fill can make it again.
        self._config_digest = config_digest(config)
        self._instruments = dict(instruments or {})
        self._latency: tuple[tuple[Any, ...], LatencyModel] | None = None

    def stats(self) -> dict[str, Any]:
        """Return counts, the seed, and which models are on, off, or not implemented."""
        models = {
            "enabled": self.config.enabled,
            "matching": "enabled",
            "queue": "enabled",
            "background_flow": "enabled where a bar is given",
            "latency": "enabled" if self.config.latency.enabled else "disabled",
        }
        return {
            **self._base_stats(),
            "models": models | dict.fromkeys(UNIMPLEMENTED_MODELS, NOT_IMPLEMENTED),
        }

    def estimate_execution_cost(
        self,
        order: Order,
        market_state: MarketState,
        bar: BarData | None = None,  # noqa: ARG002
    ) -> CostEstimate:
        """Return what the book as given would cost an immediate order: no latency, no flow."""
        self._require_enabled()
        with localcontext(ARITHMETIC):
            fill = self._run(order, market_state, None, self.seed, latency_ns=0)
            return estimate_from(self, order, fill)

    def _execute(self, order: Order, market: MarketState, bar: BarData | None, seed: int) -> Fill:
        self._require_enabled()
        fill = self._run(order, market, bar, seed, self._draw_latency_ns(seed, market))
        if LOGGER.isEnabledFor(logging.DEBUG):
            LOGGER.debug("execution of %s: %s", order, fill)
        return fill

    def _run(
        self,
        order: Order,
        market: MarketState,
        bar: BarData | None,
        seed: int,
        latency_ns: int,
    ) -> Fill:
        """Let the order meet the book `latency_ns` after the decision."""
        models = self._models(bar)
        armed = arm(order, market)
        if isinstance(armed, Ended):
            ended = {"seed": seed, "models": models, "reason": armed.reason}
            return self._finish(order, armed.status, (), NOTHING, None, Slippage(), ended)
        reference = reference_of(market)
        others_act = bar is not None and (latency_ns > 0 or armed.rests)
        outcome: _Outcome | None = None
        if not others_act and order.symbol not in self._instruments:
            outcome = _met_alone(armed, market, latency_ns)
        if outcome is None:
            rng = Random(seed)  # noqa: S311 - a simulation, not a secret
            acting = bar if others_act else None
            outcome = self._in_book(order, armed, market, acting, rng, latency_ns)
        fills, touch, refused, queue_ahead, in_flight, while_resting = outcome
        explained: dict[str, Any] = {
            "seed": seed,
            "models": models,
            "latency_ns": latency_ns,
            "events_in_flight": _NO_EVENTS.copy() if in_flight is None else in_flight,
        }
        if refused is not None:
            explained["reason"] = refused
            rejected = FillStatus.REJECTED
            return self._finish(order, rejected, (), NOTHING, reference, Slippage(), explained)
        if queue_ahead is not None:
            explained["queue_ahead"] = plain(queue_ahead)
        if while_resting is not None:
            explained["events_while_resting"] = while_resting
        if not fills:
            explained["reason"] = NO_LIQUIDITY
        totals = totals_of(fills)
        touch0 = opposite_touch(order.side, market)
        slippage = split(order.side, reference.price, totals, touch0, touch)
        status = status_of(order.quantity, totals.quantity)
        return self._finish(order, status, fills, totals, reference, slippage, explained)

    def _in_book(
        self,
        order: Order,
        armed: Working,
        market: MarketState,
        bar: BarData | None,
        rng: Random,
        latency_ns: int,
    ) -> _Outcome:
        """Let the order meet a book built of the market; `bar` is given where others act in it."""
        seen, first_bid, first_ask = within_reach(armed, market) if bar is None else Reach(market)
        instrument = self._instruments.get(order.symbol)
        if instrument is None:
            instrument = instrument_for(self.asset_class, order, seen)
        book = build_book(instrument, seen, rng, first_bid, first_ask)
        if bar is None:
            return _arrive(book, instrument, armed, latency_ns)
        flow = self._flow(book, bar, rng)
        flow.run(latency_ns, own_waits=False)
        in_flight = dict(flow.counts)
        arrived = _arrive(book, instrument, armed, latency_ns)._replace(in_flight=in_flight)
        if arrived.queue_ahead is None:
            return arrived
        given = _given(flow.run(flow.end_ns, own_waits=True), instrument)
        waited = {name: total - in_flight[name] for name, total in flow.counts.items()}
        return arrived._replace(fills=arrived.fills + given, while_resting=waited)

    def _require_enabled(self) -> None:
        if not self.config.enabled:
            raise Conflict("L3 configuration: enabled: false; allowed for an execution: true")

    def _draw_latency_ns(self, seed: int, market: MarketState) -> int:
        """Return the time from the market state to the match, in nanoseconds."""
        if not self.config.latency.enabled:
            return 0
        model = self._latency_model().reseeded(seed)
        now_ns = market.timestamp_ms * NS_PER_MS
        return sum(model.draw_ns(leg, now_ns) for leg in _IN_FLIGHT)

    def _latency_model(self) -> LatencyModel:
        """Return the configuration's latency model, made anew where a key of it was changed."""
        keys = tuple(self.config.latency.__dict__.values())
        if self._latency is None or self._latency[0] != keys:
            self._latency = keys, self.config.latency.model(seed=0)
        return self._latency[1]

    def _flow(self, book: OrderBook, bar: BarData, rng: Random) -> BackgroundFlow:
        rates = self.config.lob_data
        return BackgroundFlow(
            book,
            bar,
            rng,
            quote_tick=usual_tick(self.asset_class),
            cancels_per_trade=rates.cancels_per_second / rates.markets_per_second,
        )

    def _models(self, bar: BarData | None) -> dict[str, str]:
        """Return the names of what took part."""
        latency = self.config.latency
        return {
            "background_flow": "none" if bar is None else "bar-consistent Poisson",
            "config": self._config_digest,
            "latency": f"{latency.distribution} {latency.profile}" if latency.enabled else "none",
            "matching": "price-time",
            "queue": "exact",
        }


def _met_alone(order: Working, market: MarketState, offset_ns: int) -> _Outcome | None:
    """Return what a book of the market would answer where nobody else acts, without making one.

    None leaves the answer to a book: it has the words for numbers that it does not take.
    """
    fills, leaves, touch, refused = meet(order, market, offset_ns)
    # A refused order may have met any of them; one that nobody accepted met the touch.
    if refused or len(fills) > 1:
        levels = opposite_levels(order.side, market)
        reached = levels if refused else levels[: len(fills)]
    else:
        best = market.best(Side.SELL if order.side is Side.BUY else Side.BUY)
        reached = () if best is None else (best,)
    joined = joined_size(order, market)
    if not fits_a_book(order, reached, joined):
        return None
    waits = order.rests and leaves and refused is None
    return _Outcome(fills, touch, refused, joined if waits else None)


def _arrive(book: OrderBook, instrument: Instrument, order: Working, offset_ns: int) -> _Outcome:
    """Submit the order to the book as it stands."""
    best = book.best_ask() if order.side is Side.BUY else book.best_bid()
    try:
        lots = instrument.to_lots(order.quantity)
        limit_ticks = None if order.limit is None else instrument.to_ticks(order.limit)
    except InvalidInput as error:
        text = str(error)
        name = "limit_price" if text.startswith("price") else "quantity"
        raise InvalidInput(f"order.{name}: {text.partition(': ')[2]}") from None
    events = book.submit(
        OWN_ORDER_ID,
        order.side,
        lots,
        limit_ticks,
        order_type=OrderType.MARKET if limit_ticks is None else OrderType.LIMIT,
        time_in_force=_BOOK_TIF[order.time_in_force],
        post_only=order.post_only,
    )
    touch = None if best is None else instrument.price(best.price_ticks)
    first = events[0]
    if isinstance(first, Rejected):
        return _Outcome((), touch, first.reason.value)
    ahead: Decimal | None = None
    if OWN_ORDER_ID in book:
        ahead = instrument.quantity(book.queue_position(OWN_ORDER_ID).lots_ahead)
    return _Outcome(_taken(events, instrument, offset_ns), touch, None, ahead)


def _taken(
    events: tuple[Event, ...], instrument: Instrument, offset_ns: int
) -> tuple[PartialFill, ...]:
    """Return what the order took on arrival, one fill a price."""
    lots_at: dict[int, int] = {}
    for event in events:
        if isinstance(event, Traded):
            lots_at[event.price_ticks] = lots_at.get(event.price_ticks, 0) + event.quantity_lots
    return tuple(
        PartialFill(instrument.price(ticks), instrument.quantity(lots), Liquidity.TAKER, offset_ns)
        for ticks, lots in lots_at.items()
    )


def _given(trades: list[OwnTrade], instrument: Instrument) -> tuple[PartialFill, ...]:
    """Return what the resting order gave, trade by trade."""
    return tuple(
        PartialFill(
            instrument.price(trade.price_ticks),
            instrument.quantity(trade.quantity_lots),
            Liquidity.MAKER,
            trade.time_ns,
        )
        for trade in trades
    )
