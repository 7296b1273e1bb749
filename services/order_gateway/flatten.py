"""Close every position through the gateway: stop entries, cancel all, close reduce-only, repeat.

The venue says when it is flat, never the journal, and an answer that did not come is unknown, never
flat. A run is a watermark in the journal, odd while it runs, so that a crash in the middle is gone
on with at the next start. It ends in REDUCE_ONLY, whether or not it got there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import structlog

from lob.errors import Conflict, Fault, Unavailable
from services.order_gateway.engine import Engine
from services.order_gateway.kill_switch import KillSwitch
from touchstone.kit.ledger_entries import Record, Watermark
from touchstone.perps.kill import Action, TradingState

MARK: Final = "flatten"
ROUND_SECONDS: Final = 0.3
ROUND_SECONDS_MAX: Final = 2.0
PROBLEMS_MAX: Final = 5
CLOSE_SECONDS: Final = 10.0

_log = structlog.get_logger("touchstone.gateway.flatten")


class Phase(StrEnum):
    """How far a run has come."""

    IDLE = "IDLE"
    STOPPING_ENTRIES = "STOPPING_ENTRIES"
    CLOSING = "CLOSING"
    FLAT = "FLAT"
    NOT_FLAT = "NOT_FLAT"

    @property
    def is_over(self) -> bool:
        """Return whether nothing runs."""
        return self in (Phase.IDLE, Phase.FLAT, Phase.NOT_FLAT)


@dataclass(slots=True)
class Progress:
    """Where a run stands. `positions` and `orders` are the venue's, None while not known."""

    run: int = 0
    phase: Phase = Phase.IDLE
    reason: str = ""
    actor: str = ""
    resumed: bool = False
    acknowledged: bool = False
    rounds: int = 0
    closes: int = 0
    seconds: float = 0.0
    orders: int | None = None
    positions: dict[str, Decimal] | None = None
    problems: list[str] = field(default_factory=list)

    def note(self, problem: str) -> None:
        """Keep what went wrong, newest last."""
        if problem not in self.problems:
            self.problems = [*self.problems, problem][-PROBLEMS_MAX:]
            _log.warning("flatten_problem", run=self.run, why=problem)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        held = self.positions
        return {
            "run": self.run,
            "phase": self.phase.value,
            "reason": self.reason,
            "actor": self.actor,
            "resumed": self.resumed,
            "entries_acknowledged": self.acknowledged,
            "rounds": self.rounds,
            "closes": self.closes,
            "seconds": round(self.seconds, 3),
            "orders_left": self.orders,
            "positions_left": None if held is None else {k: f"{v:f}" for k, v in held.items()},
            "problems": self.problems,
        }


class Flattening:
    """Run the routine, one at a time; `serve` is the loop that does it."""

    def __init__(
        self,
        engine: Engine,
        kill_switch: KillSwitch,
        *,
        request_resync: Callable[[], None],
        seconds_max: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Make the routine; `request_resync` has positions compared with the venue soon."""
        self._engine = engine
        self._kill_switch = kill_switch
        self._request_resync = request_resync
        self._seconds_max = seconds_max
        self._monotonic = monotonic
        self._sleep = sleep
        self._wanted = asyncio.Event()
        mark = engine.ledger.watermarks.get(MARK)
        self.progress = Progress(run=mark.generation if mark else 0)
        if mark is not None and mark.generation % 2:
            # The last process ended in the middle of it.
            self._begin(mark.generation, "the run before the restart", "order_gateway")
            self.progress.resumed = True

    async def start(self, *, reason: str, actor: str) -> Progress:
        """Begin a run, or return the one that runs; it is journaled before this returns.

        Raises:
            Conflict: the kill switch permits no closing order.
            Fault: it cannot be journaled.
        """
        if not self.progress.phase.is_over:
            return self.progress
        gate = self._kill_switch.gate()
        if not gate.permits(Action.REDUCE):
            raise Conflict(
                f"the kill switch is {gate.state} ({gate.why}), which permits no closing orders; "
                "loosen it to REDUCE_ONLY, or close at the venue: touchstone emergency-close"
            )
        run = self.progress.run + 1 + self.progress.run % 2
        self._begin(run, reason, actor)
        try:
            await self._engine.ledger.raise_watermark(MARK, Watermark(run, Phase.CLOSING.value))
        except Fault:
            self.progress = Progress(run=run - 1)
            raise
        self._note_event("flatten_started")
        return self.progress

    async def serve(self) -> None:
        """Carry out what is started, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._engine.metrics.safety.flattening.set(1)
            try:
                await self._run(self.progress)
            finally:
                self._engine.metrics.safety.flattening.set(0)

    def _begin(self, run: int, reason: str, actor: str) -> None:
        self.progress = Progress(run=run, phase=Phase.STOPPING_ENTRIES, reason=reason, actor=actor)
        self._wanted.set()

    async def _run(self, progress: Progress) -> None:
        started, pause = self._monotonic(), ROUND_SECONDS
        made = await self._kill_switch.tighten(
            TradingState.REDUCE_ONLY, actor=progress.actor, reason=f"close-all: {progress.reason}"
        )
        told = made.acknowledgement
        progress.acknowledged = told is not None and told.acked is not None
        progress.phase = Phase.CLOSING
        flat = False
        while not flat and progress.seconds + pause <= self._seconds_max:
            progress.rounds += 1
            try:
                flat = await self._one_round(progress)
                pause = ROUND_SECONDS
            except Fault as fault:
                progress.orders = progress.positions = None
                progress.note(str(fault))
                pause = min(2 * pause, ROUND_SECONDS_MAX)
            progress.seconds = self._monotonic() - started
            if not flat:
                await self._sleep(pause)
        await self._finish(progress, Phase.FLAT if flat else Phase.NOT_FLAT)

    async def _finish(self, progress: Progress, phase: Phase) -> None:
        _log.warning("flatten_over", run=progress.run, phase=phase, seconds=progress.seconds)
        try:
            await self._engine.ledger.raise_watermark(
                MARK, Watermark(progress.run + 1, phase.value)
            )
        except Fault as fault:
            # The next start runs it once more, which does no harm.
            progress.note(f"its end is not in the journal: {fault}")
        progress.phase = phase
        self._note_event("flatten_finished")

    async def _one_round(self, progress: Progress) -> bool:
        """Look, and act on what is there; return whether the venue had nothing left."""
        engine, venue = self._engine, self._engine.venue
        if not engine.reconciled:
            # Before the rules are known, what the venue lists cannot be told from nothing.
            raise Unavailable("not compared with the venue since the start")
        # Orders first: with none left, a position that is flat afterwards stays so.
        orders = 0
        for symbol in engine.symbols:
            orders += len(await venue.orders(symbol, working_only=True))
        found = await venue.positions()
        held = {
            symbol: found[symbol].quantity
            for symbol in engine.symbols
            if symbol in found and found[symbol].quantity
        }
        progress.orders, progress.positions = orders, held
        if not orders and not held and not engine.ledger.working():
            return True
        ours = {symbol: engine.ledger.position(symbol).quantity for symbol in engine.symbols}
        if len(engine.ledger.working()) < orders or any(
            ours[symbol] != held.get(symbol, Decimal(0)) for symbol in engine.symbols
        ):
            # A fill on its way, or something that is not ours yet: the comparison adopts it.
            self._request_resync()
        # What could increase goes first, everywhere; what protects goes just before its position.
        await engine.cancel_entries()
        for closed in await engine.close_all(
            f"flat-{progress.run}-{progress.rounds}", seconds=CLOSE_SECONDS
        ):
            progress.closes += sum(order.filled_quantity > 0 for order in closed.orders)
            if closed.refusal is not None:
                refusal = closed.refusal
                progress.note(f"{closed.symbol}: {refusal.reason}: {refusal.message}")
            elif closed.problem:
                progress.note(f"{closed.symbol}: {closed.problem}")
        return False

    def _note_event(self, event_type: str) -> None:
        self._engine.ledger.note(Record(type=event_type, payload=self.progress.to_json()))
