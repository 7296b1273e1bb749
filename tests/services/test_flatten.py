"""Close-all over a fake engine: the venue decides, unknown is never flat, a crash ends nothing."""

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, Gauge

from lob.errors import Conflict, Unavailable
from services.order_gateway.closing import Closed
from services.order_gateway.engine import Engine
from services.order_gateway.flatten import Flattening, Phase
from services.order_gateway.kill_switch import KillSwitch
from services.order_gateway.venues.base import VenuePosition
from touchstone.kit.ledger_entries import Record, Watermark
from touchstone.perps.kill import Gate, TradingState

SYMBOL = "BTC-PERP"


@dataclass
class Scene:
    """Stands for the engine, its ledger, its venue and the kill switch."""

    held: Decimal = Decimal(2)
    resting: int = 1
    closes_per_round: int = 1
    fails: list[str] = field(default_factory=list)
    state: TradingState = TradingState.ACTIVE
    watermarks: dict[str, Watermark] = field(default_factory=dict)
    tightened: list[TradingState] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    resyncs: int = 0
    reconciled: bool = True
    now: float = 0.0

    symbols = {SYMBOL: "BIP"}  # noqa: RUF012 - as the engine's

    def __post_init__(self) -> None:
        self.ledger = self
        self.venue = self
        gauge = Gauge("flattening", "test", registry=CollectorRegistry())
        self.metrics = SimpleNamespace(safety=SimpleNamespace(flattening=gauge))

    def working(self) -> list[int]:
        """Return the journal's working orders."""
        return [0] * self.resting

    def position(self, _symbol: str) -> SimpleNamespace:
        """Return the journal's position."""
        return SimpleNamespace(quantity=self.held)

    async def raise_watermark(self, scope: str, mark: Watermark) -> None:
        """Keep a mark."""
        self.watermarks[scope] = mark

    def note(self, record: Record) -> None:
        """Keep an event."""
        self.events.append(record.type)

    async def orders(self, _symbol: str, *, working_only: bool) -> list[int]:
        """Return the venue's working orders, unless it fails now."""
        assert working_only
        self._fail()
        return [0] * self.resting

    async def positions(self) -> dict[str, VenuePosition]:
        """Return the venue's positions, unless it fails now."""
        self._fail()
        return {SYMBOL: VenuePosition(self.held, None)} if self.held else {}

    async def cancel_entries(self) -> int:
        """Note the step."""
        self.steps.append("cancel entries")
        return 0

    async def close_all(self, request_id: str, *, seconds: float) -> list[Closed]:
        """Cancel the rest and close a part."""
        assert seconds > 0
        self.steps.append(f"close {request_id}")
        self.resting = 0
        self.held = max(Decimal(0), self.held - self.closes_per_round)
        return [Closed(SYMBOL, self.held)]

    def gate(self) -> Gate:
        """Return the kill switch's state."""
        return Gate(self.state, known=True, age_seconds=0, why="test")

    async def tighten(self, wanted: TradingState, *, actor: str, reason: str) -> SimpleNamespace:
        """Note the tightening."""
        assert actor
        assert reason
        self.tightened.append(wanted)
        return SimpleNamespace(acknowledgement=SimpleNamespace(acked=1))

    async def sleep(self, seconds: float) -> None:
        """Move the clock."""
        self.now += seconds
        await asyncio.sleep(0)

    def resync(self) -> None:
        """Count the wish."""
        self.resyncs += 1

    def _fail(self) -> None:
        if self.fails:
            raise Unavailable(self.fails.pop(0))


def routine(scene: Scene, seconds_max: float = 30) -> Flattening:
    """Return the routine over a scene."""
    return Flattening(
        cast("Engine", scene),
        cast("KillSwitch", scene),
        request_resync=scene.resync,
        seconds_max=seconds_max,
        monotonic=lambda: scene.now,
        sleep=scene.sleep,
    )


async def over(flattening: Flattening) -> Phase:
    """Let it run to its end and return how it ended."""
    task = asyncio.create_task(flattening.serve())
    async with asyncio.timeout(5):
        while not flattening.progress.phase.is_over:  # noqa: ASYNC110 - rings no bell
            await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return flattening.progress.phase


async def test_it_repeats_until_the_venue_says_flat() -> None:
    """Entries are stopped first; each round cancels and closes; the run is marked as over."""
    scene = Scene()
    flattening = routine(scene)
    started = await flattening.start(reason="test", actor="me")
    assert (await flattening.start(reason="again", actor="me")) is started
    assert scene.watermarks["flatten"].generation == 1
    assert await over(flattening) is Phase.FLAT
    assert scene.tightened == [TradingState.REDUCE_ONLY]
    assert scene.steps == ["cancel entries", "close flat-1-1", "cancel entries", "close flat-1-2"]
    assert scene.events == ["flatten_started", "flatten_finished"]
    assert scene.watermarks["flatten"] == Watermark(2, "FLAT")
    assert flattening.progress.positions == {}
    assert (await flattening.start(reason="once more", actor="me")).run == 3


async def test_a_look_that_failed_is_never_flat() -> None:
    """Nothing is there, but the venue does not say so for a while: it waits for the answer."""
    scene = Scene(held=Decimal(0), resting=0, fails=["no answer"] * 3)
    flattening = routine(scene)
    await flattening.start(reason="test", actor="me")
    assert await over(flattening) is Phase.FLAT
    assert (flattening.progress.rounds, flattening.progress.problems) == (4, ["no answer"])


async def test_before_the_first_comparison_nothing_counts_as_flat() -> None:
    """A start in the middle of a run: without the rules, every list of the venue looks empty."""
    scene = Scene(held=Decimal(0), resting=0, reconciled=False)
    flattening = routine(scene, seconds_max=5)
    await flattening.start(reason="test", actor="me")
    assert await over(flattening) is Phase.NOT_FLAT
    assert (flattening.progress.positions, scene.steps) == (None, [])


async def test_it_is_bounded_and_says_what_is_left() -> None:
    """A position that cannot be closed ends the run as not flat, and unknown stays unknown."""
    scene = Scene(closes_per_round=0)
    flattening = routine(scene, seconds_max=5)
    await flattening.start(reason="test", actor="me")
    assert await over(flattening) is Phase.NOT_FLAT
    assert flattening.progress.positions == {SYMBOL: Decimal(2)}
    assert scene.watermarks["flatten"] == Watermark(2, "NOT_FLAT")
    silent = Scene(held=Decimal(0), resting=0, fails=["no answer"] * 1_000)
    flattening = routine(silent, seconds_max=5)
    await flattening.start(reason="test", actor="me")
    assert await over(flattening) is Phase.NOT_FLAT
    assert flattening.progress.positions is None


async def test_a_run_that_a_crash_cut_short_goes_on_at_the_next_start() -> None:
    """The mark is odd: it was running. An even one begins nothing."""
    scene = Scene(watermarks={"flatten": Watermark(7, "CLOSING")})
    flattening = routine(scene)
    assert (flattening.progress.run, flattening.progress.resumed) == (7, True)
    assert await over(flattening) is Phase.FLAT
    assert scene.watermarks["flatten"] == Watermark(8, "FLAT")
    idle = routine(Scene(watermarks={"flatten": Watermark(8, "FLAT")}))
    assert (idle.progress.phase, idle.progress.run) == (Phase.IDLE, 8)


async def test_a_state_that_permits_no_closing_order_is_a_conflict() -> None:
    """HALTED closes nothing: the answer says what to do instead."""
    flattening = routine(Scene(state=TradingState.HALTED))
    with pytest.raises(Conflict, match="emergency-close"):
        await flattening.start(reason="test", actor="me")
    assert flattening.progress.phase is Phase.IDLE


async def test_what_only_the_venue_has_is_adopted_first() -> None:
    """An order that the journal does not know asks for the comparison."""
    scene = Scene(resting=0)

    async def orders(_symbol: str, *, working_only: bool) -> list[int]:
        return [0] if working_only and scene.held else []

    scene.orders = orders  # type: ignore[method-assign]
    flattening = routine(scene)
    await flattening.start(reason="test", actor="me")
    assert await over(flattening) is Phase.FLAT
    assert scene.resyncs == 2


def test_progress_shows_unknown_as_null() -> None:
    """JSON values, decimals as texts."""
    shown: dict[str, Any] = routine(Scene()).progress.to_json()
    assert (shown["phase"], shown["orders_left"], shown["positions_left"]) == ("IDLE", None, None)
