"""Watch the risk guards, and tighten the kill switch when one trips.

Each guard has a loop of its own. One that fails trips its guard, because nobody watches any more,
and is started again; the kill switch stays where that put it until a person loosens it. A guard
that is still tripped after a loosening tightens again, but for the drawdown, whose peak begins anew
once somebody has looked at it and let trading go on.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from decimal import Decimal
from typing import Any, Final, Protocol

import structlog

from lob.errors import Fault
from services.order_gateway.account import Account
from services.order_gateway.daily import DayKeeper
from services.order_gateway.engine import Engine
from services.order_gateway.metrics import GatewayMetrics
from touchstone.kit.ledger_entries import Record
from touchstone.perps.guards import liquidation_distance
from touchstone.perps.kill import Gate, TradingState
from touchstone.perps.risk import (
    EVALUATORS,
    TRIPS_TO,
    Finding,
    Guard,
    Level,
    RiskFigures,
    RiskLimits,
    drawdown_share,
    gross_exposure,
)
from touchstone.perps.volatility import PriceRange

WATCH_SECONDS: Final = 0.5
RESTART_SECONDS: Final = 1.0
ACCOUNT: Final = "account"
"""The name under which the account's statement has an age beside those of the symbols' data."""

_QUIET: Final = frozenset({(Level.OK, Level.UNKNOWN), (Level.UNKNOWN, Level.OK)})
"""What is not known for a moment (a position's first second) is no event."""

Loop = Callable[[], Coroutine[Any, Any, None]]

_log = structlog.get_logger("touchstone.gateway.watchers")


class Tightening(Protocol):
    """What the watchers need of the kill switch."""

    def gate(self, symbol: str = "", strategy: str = "") -> Gate:
        """Return the effective state now."""
        ...

    async def tighten(self, wanted: TradingState, *, actor: str, reason: str) -> object:
        """Close at once in this process, then everywhere."""
        ...


class Watchers:
    """Gather the figures, evaluate every guard again and again, and act on what trips."""

    def __init__(
        self,
        engine: Engine,
        kill_switch: Tightening,
        account: Account,
        days: DayKeeper,
        metrics: GatewayMetrics,
        limits: RiskLimits,
        *,
        venue_now_ns: Callable[[], int | None],
        cancel_entries: Callable[[], Awaitable[object]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._kill_switch = kill_switch
        self._account = account
        self._days = days
        self._metrics = metrics
        self._limits = limits
        self._venue_now_ns = venue_now_ns
        self._cancel_entries = cancel_entries
        self._monotonic = monotonic
        self._ranges = {symbol: PriceRange() for symbol in engine.symbols}
        self._seen_at: dict[str, float] = dict.fromkeys((*engine.symbols, ACCOUNT), monotonic())
        self._findings: dict[Guard, Finding] = {}
        self.evaluators = dict(EVALUATORS)

    # ---------------------------------------------------------------- loops

    async def run(self, others: Mapping[str, Loop]) -> None:
        """Run every guard's loop, and `others` by name under the guard `watcher`; never returns."""
        async with asyncio.TaskGroup() as group:
            for guard in self.evaluators:
                group.create_task(self._watch(guard), name=f"guard {guard}")
            for name, loop in others.items():
                group.create_task(self.supervised(name, loop, Guard.WATCHER), name=name)

    async def supervised(self, name: str, loop: Loop, guard: Guard) -> None:
        """Run a loop; should it fail, trip `guard`, and start it again."""
        while True:
            try:
                await loop()
            except Exception as error:  # noqa: BLE001 - whatever it was, nobody watches now
                _log.exception("watcher_failed", watcher=name)
                await self._failed(guard, name, error)
            else:
                await self._failed(guard, name, RuntimeError("ended"))
            await asyncio.sleep(RESTART_SECONDS)

    async def _watch(self, guard: Guard) -> None:
        async def loop() -> None:
            while True:
                await self.look(guard)
                await asyncio.sleep(WATCH_SECONDS)

        await self.supervised(f"guard {guard}", loop, guard)

    async def look(self, guard: Guard) -> Finding:
        """Evaluate one guard now, and act on it."""
        self._observe()
        found = self.evaluators[guard](self.figures(), self._limits)
        before = self._findings.get(guard)
        level_before = Level.OK if before is None else before.level
        self._findings[guard] = found
        self._metrics.safety.set_guard(guard.value, tripped=found.level is Level.TRIPPED)
        if found.state is not None:
            await self._trip(found, before)
        elif found.level is not level_before and (found.level, level_before) not in _QUIET:
            self._tell(found, before)
        return found

    # ---------------------------------------------------------------- figures

    def describe(self) -> dict[str, Any]:
        """Return how every guard stands, as JSON."""
        return {
            guard.value: {
                "level": found.level.value,
                "message": found.message,
                "tightens_to": None if found.state is None else found.state.value,
            }
            for guard, found in self._findings.items()
        }

    def figures(self) -> RiskFigures:
        """Return what the guards look at, as of now."""
        now_ns, now = self._venue_now_ns(), self._monotonic()
        figures = RiskFigures(
            equity=self._account.equity(),
            day_start_equity=self._days.day_start_equity,
            peak_equity=self._days.peak_equity,
            holdings=self._account.holdings(),
            ranges={
                symbol: None if now_ns is None else prices.ratio(now_ns)
                for symbol, prices in self._ranges.items()
            },
            ages={name: now - at for name, at in self._seen_at.items()},
        )
        self._show(figures)
        return figures

    def _observe(self) -> None:
        """Take in the newest prices, and when each kind of data was last seen."""
        now_ns, now = self._venue_now_ns(), self._monotonic()
        for symbol, prices in self._ranges.items():
            age = self._engine.quotes.age_seconds(symbol)
            if age is not None:
                self._seen_at[symbol] = max(self._seen_at[symbol], now - age)
            price = self._account.mark(symbol)
            if price is not None and now_ns is not None:
                prices.add(now_ns, price)
        age = self._account.age_seconds
        if age is not None:
            self._seen_at[ACCOUNT] = max(self._seen_at[ACCOUNT], now - age)

    def _show(self, figures: RiskFigures) -> None:
        money = self._metrics.money
        gross = gross_exposure(figures)
        if gross is not None:
            worths = [held.quantity * (held.mark or 0) for held in figures.holdings.values()]
            largest = max((abs(worth) for worth in worths), default=Decimal(0))
            net = sum(worths, Decimal(0))
            money.set_exposure(gross=float(gross), net=float(net), largest=float(largest))
            if figures.equity is not None and figures.equity > 0:
                money.leverage.set(float(gross / figures.equity))
        if figures.equity is not None and figures.peak_equity:
            money.drawdown.set(float(drawdown_share(figures.equity, figures.peak_equity)))
        distances = [
            liquidation_distance(held.quantity, held.mark, held.liquidation_price)
            for held in figures.holdings.values()
        ]
        known = [float(distance) for distance in distances if distance is not None]
        money.liquidation_distance.set(min(known, default=float("inf")))

    # ---------------------------------------------------------------- acting

    async def _trip(self, found: Finding, before: Finding | None) -> None:
        """Tighten where trading is more open than the finding allows."""
        wanted = found.state
        if wanted is None:
            return
        is_new = before is None or before.level is not Level.TRIPPED
        gate = self._kill_switch.gate()
        if is_new:
            self._tell(found, before)
        elif gate.state.strictness >= wanted.strictness or not gate.known:
            return
        elif found.guard is Guard.DRAWDOWN:
            self._days.reset_peak()
            self._engine.ledger.note(Record(type="peak_reset", payload={"message": found.message}))
            return
        await self._tighten(wanted, found)
        if found.guard is Guard.DAILY_LOSS:
            await self._cancel_entries()

    async def _failed(self, guard: Guard, name: str, error: BaseException) -> None:
        """Trip the guard of a loop that has failed: nobody watches it now."""
        text = f"{name} failed: {error!r:.200}"
        found = Finding(guard, Level.TRIPPED, text, TRIPS_TO[guard])
        self._findings[guard] = found
        for tripped in (guard, Guard.WATCHER):
            self._metrics.safety.set_guard(tripped.value, tripped=True)
        self._tell(found, None)
        await self._tighten(TRIPS_TO[guard], found)

    async def _tighten(self, wanted: TradingState, found: Finding) -> None:
        try:
            await self._kill_switch.tighten(
                wanted, actor=f"guard:{found.guard}", reason=found.message
            )
        except Fault as fault:
            _log.error("guard_not_persisted", guard=found.guard, why=str(fault))

    def _tell(self, found: Finding, before: Finding | None) -> None:
        """Record a change of level, and log it."""
        payload = {
            "guard": found.guard.value,
            "level": found.level.value,
            "before": None if before is None else before.level.value,
            "message": found.message,
            "tightens_to": None if found.state is None else found.state.value,
        }
        write = _log.warning if found.level in (Level.TRIPPED, Level.WARN) else _log.info
        write("risk_guard", **payload)
        self._engine.ledger.note(Record(type="risk_guard", payload=payload))
