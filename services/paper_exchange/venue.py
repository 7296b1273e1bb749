"""The running venue: one event loop, one engine, one clock; commands one after another.

Every command first brings the engine up to now, then acts, is written down, and what happened is
published, without an await in between: that is what serialises them. Its answer waits for the disk.
Nothing is published or answered that was not written down.
"""

import asyncio
import heapq
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

from lob.errors import Fault, InvariantViolation, Unavailable
from services.paper_exchange.clock import ExchangeClock, SpeedGauge
from services.paper_exchange.entries import ADVANCE, encode_command
from services.paper_exchange.latency import Latencies
from services.paper_exchange.store import Store
from touchstone.exchange import CancelResult, Exchange, Order, OrderRequest, Refusal, Updates
from touchstone.exchange.commands import (
    CancelOrders,
    Command,
    CreateOrder,
    OpenAccount,
    PauseFlow,
    Resume,
    apply,
)
from touchstone.kit.journal import JournalFailed

STEP_ITEMS: Final = 100
"""How much the engine does before the loop looks at requests again (a few milliseconds)."""

BEHIND_SECONDS: Final = 2.0
"""An engine that is behind its clock for so long, without a break, is not waited for."""

RECORD_SECONDS: Final = 1.0
"""The longest time that may go on without a record, though nothing happened."""

_log: Final = logging.getLogger(__name__)


class Publisher(Protocol):
    """Where updates go."""

    def publish(self, updates: Updates) -> None:
        """Send updates to whoever listens; never blocks."""
        ...


@dataclass(order=True, slots=True)
class _Arrival:
    """A command on its way to the engine."""

    arrival_ns: int
    number: int
    command: Command = field(compare=False)
    fields: bytes = field(compare=False)
    answer: "asyncio.Future[object]" = field(compare=False)


class Venue:
    """Own the engine. Once an invariant is broken, or nothing can be kept, it stops for good.

    Without a store it keeps nothing; without latencies messages take no time.
    """

    def __init__(
        self,
        exchange: Exchange,
        clock: ExchangeClock,
        publisher: Publisher,
        tick_seconds: float,
        *,
        store: Store | None = None,
        latencies: Latencies | None = None,
    ) -> None:
        self.exchange = exchange
        self.clock = clock
        self.store = store
        self.latencies = latencies or Latencies(seed=0)
        self.gauge = SpeedGauge()
        self.failure = ""
        self._publisher = publisher
        self._tick_seconds = tick_seconds
        self._arrivals: list[_Arrival] = []
        self._arrived = 0
        self._behind_since: float | None = None
        self._recorded_ns = exchange.now_ns
        self._carried_out = 0

    # ---------------------------------------------------------------- commands

    async def create(self, account: str, request: OrderRequest) -> Order | Refusal:
        """Enter an order."""
        return cast(
            "Order | Refusal", await self.execute(CreateOrder(account=account, request=request))
        )

    async def cancel(self, account: str, order_ids: Iterable[str]) -> tuple[CancelResult, ...]:
        """Cancel orders."""
        command = CancelOrders(account=account, order_ids=tuple(order_ids))
        return cast("tuple[CancelResult, ...]", await self.execute(command))

    async def pause_flow(self, paused: bool) -> None:
        """Stop or resume the background flow; it resumes where it stopped."""
        await self.execute(PauseFlow(paused=paused))

    async def execute(self, command: Command) -> Any:
        """Carry a command out, when it has reached the engine; return when its answer may be told.

        The account's latency lies before and after; in between the disk is waited for.

        Raises:
            Unavailable: the venue has stopped, or does now: it cannot keep what was done.
            InvalidInput: the command cannot be written down.
            Fault: the engine's own, as far as it does not answer with a value.
        """
        self.require_running()
        account = getattr(command, "account", None)
        way = self.latencies.way(account, self.clock.now_ns()) if account else None
        if way is None:
            result = self.carry_out(command)
            await self.kept()
            return result
        result = await self._send(command, way.arrival_ns)
        back_at_ns = self.exchange.now_ns + way.back_ns
        await self.kept()
        await asyncio.sleep((back_at_ns - self.clock.now_ns()) / self.clock.speed / 1e9)
        return result

    def carry_out(self, command: Command) -> object:
        """Carry a command out at the present moment and write it down; `kept` is still to come."""
        self.require_running()
        fields = encode_command(command)
        with self._stopping():
            self._bring_up(self._present_ns())
            return self._apply(command, fields)

    async def kept(self) -> None:
        """Return when what was carried out so far is on the disk, as the store's policy asks.

        Raises:
            Unavailable: the disk refused it; the venue has stopped.
        """
        if self.store is not None:
            with self._stopping():
                await self.store.kept()

    def start(self, accounts: Iterable[str]) -> None:
        """Go on at the present moment, the flow from where it was, and open what is not open."""
        present_ns = self._present_ns()
        if self.store is not None and not self.store.recovered.begun:
            resume = Resume(until_ns=present_ns)
            with self._stopping():
                # Not brought up to now before: that is what the flow must not do.
                self._apply(resume, encode_command(resume))
        for account in accounts:
            if account not in self.exchange.accounts:
                self.carry_out(OpenAccount(account=account))

    # ---------------------------------------------------------------- time

    def tick(self) -> bool:
        """Bring the engine up to now, or a step closer, and publish; say whether it is there."""
        self.require_running()
        with self._stopping():
            reached = self._bring_up(self._present_ns())
            self._record_advance()
            self._publish()
        self.gauge.note(self.exchange.now_ns)
        return reached

    def set_speed(self, speed: float) -> None:
        """Change how fast the exchange's time passes from now on."""
        self.tick()
        self.clock.set_back(self.exchange.now_ns)
        self.clock.set_speed(speed)
        self.gauge.forget()

    def require_running(self) -> None:
        """Raise `Unavailable` once the venue has stopped."""
        if self.failure:
            raise Unavailable(f"the venue has stopped: {self.failure}")

    async def run(self) -> None:
        """Tick until cancelled, and see that snapshots are taken."""
        reached = True
        while not self.failure:
            await asyncio.sleep(self._tick_seconds if reached else 0)
            try:
                reached = self.tick()
                self._mind_the_clock(reached)
                if self.store is not None:
                    with self._stopping():
                        self.store.look_after()
            except Exception:  # noqa: BLE001 - whatever it was, the books are no longer trusted
                _log.exception("venue stopped")
                self.failure = self.failure or "a defect; see the log"

    # ---------------------------------------------------------------- inside

    def _present_ns(self) -> int:
        return max(self.clock.now_ns(), self.exchange.now_ns)

    def _bring_up(self, until_ns: int) -> bool:
        """Let the engine do a step towards `until_ns`; what is under way comes in at its time."""
        while self._arrivals and self._arrivals[0].arrival_ns <= until_ns:
            arrival_ns = max(self._arrivals[0].arrival_ns, self.exchange.now_ns)
            if not self._step(arrival_ns):
                return False
            self._let_in(heapq.heappop(self._arrivals))
        return self._step(until_ns)

    def _step(self, until_ns: int) -> bool:
        exchange = self.exchange
        count = exchange.advance(until_ns, STEP_ITEMS)
        if count >= STEP_ITEMS:
            # What is due at one moment is done as a whole: a replay does not stop in its middle.
            while done := exchange.advance(exchange.now_ns, STEP_ITEMS):
                count += done
        self._carried_out += count
        return exchange.now_ns >= until_ns

    def _apply(self, command: Command, fields: bytes) -> object:
        """Carry out, write down, publish. A fault may have left traces, so it is kept, too."""
        refused: Fault | None = None
        result: object = None
        began_ns = self.exchange.now_ns
        try:
            result = apply(self.exchange, command)
        except InvariantViolation:
            raise
        except Fault as fault:
            refused = fault
        if self.store is not None:
            self.store.record(type(command).__name__, began_ns, fields)
        self._recorded_ns, self._carried_out = self.exchange.now_ns, 0
        self._publish()
        if refused is not None:
            raise refused
        return result

    def _record_advance(self) -> None:
        """Write down that time went on, where anything happened or nothing was for a while."""
        quiet_ns = self.exchange.now_ns - self._recorded_ns
        if self._carried_out or quiet_ns >= RECORD_SECONDS * 1e9:
            if self.store is not None:
                self.store.record(ADVANCE, self.exchange.now_ns)
            self._recorded_ns, self._carried_out = self.exchange.now_ns, 0

    def _publish(self) -> None:
        self._publisher.publish(self.exchange.drain())

    def _send(self, command: Command, arrival_ns: int) -> "asyncio.Future[object]":
        """Put a command on its way; the future has its result."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[object] = loop.create_future()
        self._arrived += 1
        arrival = _Arrival(arrival_ns, self._arrived, command, encode_command(command), answer)
        heapq.heappush(self._arrivals, arrival)
        wait_ns = (arrival_ns - self.clock.now_ns()) / self.clock.speed
        loop.call_later(max(0.0, wait_ns / 1e9), self._wake)
        return answer

    def _wake(self) -> None:
        if not self.failure:
            try:
                self.tick()
            except Exception:  # noqa: BLE001 - the venue has stopped, and says why
                _log.exception("venue stopped")

    def _let_in(self, arrival: _Arrival) -> None:
        """Carry out what has come; whoever sent it may have left, which changes nothing."""
        try:
            result = self._apply(arrival.command, arrival.fields)
        except (InvariantViolation, JournalFailed) as error:
            _set_exception(arrival.answer, error)
            raise
        except Fault as fault:
            _set_exception(arrival.answer, fault)
        except Exception as error:
            _set_exception(arrival.answer, error)
            raise
        else:
            if not arrival.answer.done():
                arrival.answer.set_result(result)

    def _mind_the_clock(self, reached: bool) -> None:
        """Set the clock back to what the engine reached, where it cannot keep up with it."""
        now = asyncio.get_running_loop().time()
        if reached:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = now
        elif now - self._behind_since > BEHIND_SECONDS:
            self.clock.set_back(self.exchange.now_ns)
            self._behind_since = None

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """Stop the venue for good where what it holds cannot be trusted, or kept, any more."""
        try:
            yield
        except (InvariantViolation, JournalFailed) as error:
            self._stop(str(error))
            raise
        except Fault:
            raise
        except Exception as error:
            # Half a command may have been carried out.
            self._stop(f"{type(error).__name__}: {error}")
            raise

    def _stop(self, why: str) -> None:
        self.failure = self.failure or why
        while self._arrivals:
            _set_exception(
                self._arrivals.pop().answer, Unavailable(f"the venue has stopped: {why}")
            )


def _set_exception(answer: "asyncio.Future[object]", error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
