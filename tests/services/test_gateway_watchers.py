"""Guards tighten the kill switch when they trip, and when whoever watches them fails."""

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from typing import cast

import pytest

from services.order_gateway.account import Account
from services.order_gateway.daily import DayKeeper
from services.order_gateway.engine import Engine
from services.order_gateway.watchers import ACCOUNT, Watchers
from tests.services.conftest import Eventually
from tests.services.money_harness import SYMBOLS, House
from touchstone.perps.kill import Gate, TradingState
from touchstone.perps.risk import Finding, Guard, Level, RiskFigures, RiskLimits

D = Decimal
BTC, ETH = SYMBOLS


@dataclass
class FakeKillSwitch:
    """Remember what it was tightened to, and by whom."""

    state: TradingState = TradingState.ACTIVE
    calls: list[tuple[TradingState, str, str]] = field(default_factory=list)

    def gate(self, symbol: str = "", strategy: str = "") -> Gate:  # noqa: ARG002
        """Return the state."""
        return Gate(state=self.state, known=True, age_seconds=0.0, why="")

    async def tighten(self, wanted: TradingState, *, actor: str, reason: str) -> None:
        """Tighten."""
        self.calls.append((wanted, actor, reason))
        if wanted.strictness > self.state.strictness:
            self.state = wanted


class Watched(House):
    """A house with fresh data, 10,000 of equity, and its guards."""

    def __init__(self) -> None:
        super().__init__()
        self.account = Account(self.venue, cast("Engine", self), monotonic=self.monotonic)
        self.days = DayKeeper(
            self.account,
            self.ledger,
            self.metrics.money,
            venue_now_ns=self.venue_now_ns,
            monotonic=self.monotonic,
        )
        self.account.listeners.append(self.days.observe)
        self.journal.listeners.append(self.days.offer)
        self.kill_switch = FakeKillSwitch()
        self.cancelled = 0
        self.quotes.marks = dict(self.venue.marks)
        self.quotes.ages = dict.fromkeys(SYMBOLS, 0.0)
        self.watchers = Watchers(
            cast("Engine", self),
            self.kill_switch,
            self.account,
            self.days,
            self.metrics,
            RiskLimits(max_daily_loss=D(100), max_symbol_notional=D(20_000)),
            venue_now_ns=self.venue_now_ns,
            cancel_entries=self.cancel_entries,
            monotonic=self.monotonic,
        )

    async def cancel_entries(self) -> None:
        """Count it."""
        self.cancelled += 1

    async def state(self) -> None:
        """Ask the venue for a statement, with liquidation prices."""
        stated = await self.account.refresh()
        self.account.take_liquidation_prices(stated, await self.venue.liquidation_prices(stated))

    def tripped(self, guard: Guard) -> float | None:
        """Return the guard's gauge."""
        return self.registry.get_sample_value("gateway_guard_tripped", {"guard": guard.value})


@pytest.fixture
async def house() -> Watched:
    """A house that has been stated once."""
    made = Watched()
    await made.state()
    return made


async def look(house: Watched, guard: Guard) -> Finding:
    """Let one guard look."""
    return await house.watchers.look(guard)


async def test_calm_trips_nothing(house: Watched) -> None:
    """No guard trips on a fresh account without positions."""
    for guard in house.watchers.evaluators:
        assert (await look(house, guard)).level is not Level.TRIPPED
    assert [] == house.kill_switch.calls


async def test_a_daily_loss_closes_entries_and_cancels_them(house: Watched) -> None:
    """A hundred dollars lost: REDUCE_ONLY, the entries go, and it is told once."""
    house.venue.cash -= 100
    await house.state()
    found = await look(house, Guard.DAILY_LOSS)
    assert Level.TRIPPED is found.level
    assert [(TradingState.REDUCE_ONLY, "guard:daily_loss")] == [
        call[:2] for call in house.kill_switch.calls
    ]
    assert (1, 1.0) == (house.cancelled, house.tripped(Guard.DAILY_LOSS))
    await look(house, Guard.DAILY_LOSS)
    assert 1 == len(house.kill_switch.calls)
    (event,) = house.journal.records("risk_guard")
    assert ("daily_loss", "TRIPPED") == (event.payload["guard"], event.payload["level"])


async def test_a_guard_that_is_still_tripped_tightens_again(house: Watched) -> None:
    """Loosened by a person while the day's loss stands: closed again at the next look."""
    house.venue.cash -= 150
    await house.state()
    await look(house, Guard.DAILY_LOSS)
    house.kill_switch.state = TradingState.ACTIVE
    await look(house, Guard.DAILY_LOSS)
    assert TradingState.REDUCE_ONLY is house.kill_switch.state
    assert 2 == len(house.kill_switch.calls)


async def test_a_drawdown_that_was_looked_at_begins_anew(house: Watched) -> None:
    """Loosened by a person, the peak is what the equity is now, and trading goes on."""
    house.venue.cash -= 200
    await house.state()
    assert Level.TRIPPED is (await look(house, Guard.DRAWDOWN)).level
    house.kill_switch.state = TradingState.ACTIVE
    await look(house, Guard.DRAWDOWN)
    assert Level.OK is (await look(house, Guard.DRAWDOWN)).level
    assert TradingState.ACTIVE is house.kill_switch.state
    assert 1 == len(house.journal.records("peak_reset"))


async def test_stale_data_warns_then_halts(house: Watched) -> None:
    """The feed and the statements stop: a warning after 180 s, HALTED after 360 s."""
    house.quotes.ages = dict.fromkeys(SYMBOLS)
    house.seconds += 180
    assert Level.WARN is (await look(house, Guard.STALENESS)).level
    assert [] == house.kill_switch.calls
    house.seconds += 180
    found = await look(house, Guard.STALENESS)
    assert Level.TRIPPED is found.level
    assert TradingState.HALTED is house.kill_switch.state


async def test_a_venue_that_states_nothing_is_stale(house: Watched) -> None:
    """Quotes are fresh and the account is not: equity becomes unknown, and in the end it halts."""
    house.seconds += 40
    assert house.account.equity() is None
    assert Level.UNKNOWN is (await look(house, Guard.DAILY_LOSS)).level
    house.seconds += 360
    found = await look(house, Guard.STALENESS)
    assert (Level.TRIPPED, True) == (found.level, ACCOUNT in found.message)


async def test_a_jump_trips_the_breaker(house: Watched) -> None:
    """More than five percent within five minutes of the venue's clock; after them it is calm."""
    await look(house, Guard.VOLATILITY)
    house.quotes.marks[BTC] *= D("1.06")
    house.now_ns += 60 * 10**9
    assert Level.TRIPPED is (await look(house, Guard.VOLATILITY)).level
    assert TradingState.REDUCE_ONLY is house.kill_switch.state
    house.now_ns += 301 * 10**9
    assert Level.TRIPPED is not (await look(house, Guard.VOLATILITY)).level


async def test_liquidation_and_exposure_by_the_venues_figures(house: Watched) -> None:
    """A liquidation price within 15 % trips, and so does a position above its limit."""
    house.trade(BTC, "0.45")
    house.venue.liquidation = {BTC: D(43_000)}
    await house.state()
    assert Level.TRIPPED is (await look(house, Guard.LIQUIDATION)).level
    assert Level.TRIPPED is (await look(house, Guard.EXPOSURE)).level
    house.trade(BTC, "-0.3")
    # The price was that of another position.
    assert Level.UNKNOWN is (await look(house, Guard.LIQUIDATION)).level
    assert Level.OK is (await look(house, Guard.EXPOSURE)).level


@pytest.mark.parametrize("guard", [Guard.VOLATILITY, Guard.STALENESS, Guard.DAILY_LOSS])
async def test_a_crashed_watcher_trips_its_guard(
    house: Watched, guard: Guard, eventually: Eventually
) -> None:
    """One guard's loop raises: its guard trips, the others watch on, and it is started again."""
    looks = 0

    def broken(_figures: RiskFigures, _limits: RiskLimits) -> Finding:
        nonlocal looks
        looks += 1
        raise ZeroDivisionError("a defect")

    house.watchers.evaluators[guard] = broken
    task = asyncio.create_task(house.watchers.run({}))
    await eventually(lambda: looks > 1)
    task.cancel()
    wanted = TradingState.HALTED if guard is Guard.STALENESS else TradingState.REDUCE_ONLY
    assert wanted is house.kill_switch.state
    assert {f"guard:{guard}"} == {actor for _, actor, _ in house.kill_switch.calls}
    assert "a defect" in house.kill_switch.calls[0][2]
    assert (1.0, 1.0) == (house.tripped(guard), house.tripped(Guard.WATCHER))
    described = house.watchers.describe()
    assert "TRIPPED" == described[guard.value]["level"]
    assert "OK" == described["exposure"]["level"]


async def test_another_loop_that_ends_trips_the_watcher_guard(
    house: Watched, eventually: Eventually
) -> None:
    """Funding, drift and statements are watched over too: one that ends closes new risk."""

    async def ends() -> None:
        await asyncio.sleep(0)

    task = asyncio.create_task(house.watchers.run({"funding": ends}))
    await eventually(lambda: bool(house.kill_switch.calls))
    task.cancel()
    assert (TradingState.REDUCE_ONLY, "guard:watcher") == house.kill_switch.calls[0][:2]
    assert "funding failed" in house.kill_switch.calls[0][2]
