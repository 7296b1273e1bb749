"""The running venue: one event loop, one engine, one clock; commands one after another.

Every command first brings the background flow up to now, then acts, then publishes what happened,
without an await in between: that is what serialises them.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

from lob.errors import Fault, InvariantViolation, Unavailable
from touchstone.exchange import CancelResult, Exchange, Order, OrderRequest, Refusal, Updates

FLOW_COMMANDS_PER_TICK: Final = 250
"""Per market: bounds how long one tick holds the loop (about 3 ms each)."""

_log: Final = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")


class Publisher(Protocol):
    """Where updates go."""

    def publish(self, updates: Updates) -> None:
        """Send updates to whoever listens; never blocks."""
        ...

    def heartbeat(self) -> None:
        """Send one heartbeat to whoever asked for them; never blocks."""
        ...


class ExchangeClock:
    """Turn real time into exchange time, `speed` times as fast; it never goes back.

    It starts at the wall clock's time and then follows a monotonic clock.
    """

    def __init__(
        self,
        speed: float,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._anchor_real_ns = monotonic_ns()
        self._anchor_ns = wall_ns()
        self.speed = speed

    def now_ns(self) -> int:
        """Return the exchange's time in nanoseconds since the epoch."""
        elapsed = self._monotonic_ns() - self._anchor_real_ns
        return self._anchor_ns + round(elapsed * self.speed)

    def set_speed(self, speed: float) -> None:
        """Go on from now at another speed."""
        self._anchor_ns = self.now_ns()
        self._anchor_real_ns = self._monotonic_ns()
        self.speed = speed


class Venue:
    """Own the engine. Once an invariant is broken it stops for good and says why."""

    def __init__(
        self,
        exchange: Exchange,
        clock: ExchangeClock,
        publisher: Publisher,
        tick_seconds: float,
    ) -> None:
        self.exchange = exchange
        self.clock = clock
        self._publisher = publisher
        self._tick_seconds = tick_seconds
        self.failure = ""

    def create(self, account: str, request: OrderRequest) -> Order | Refusal:
        """Enter an order at the present moment."""
        return self._act(lambda: self.exchange.create(account, request))

    def cancel(self, account: str, order_ids: Iterable[str]) -> tuple[CancelResult, ...]:
        """Cancel orders at the present moment."""
        return self._act(lambda: self.exchange.cancel(account, order_ids))

    def tick(self) -> None:
        """Bring the background flow up to now and publish."""
        self._act(lambda: None)

    def pause_flow(self, paused: bool) -> None:
        """Stop or resume the background flow; it resumes where it stopped."""

        def act() -> None:
            self.exchange.flow_paused = paused

        self._act(act)

    def set_speed(self, speed: float) -> None:
        """Change how fast the exchange's time passes."""
        self._act(lambda: self.clock.set_speed(speed))

    def require_running(self) -> None:
        """Raise `Unavailable` once the venue has stopped."""
        if self.failure:
            raise Unavailable(f"the venue has stopped: {self.failure}")

    async def run(self) -> None:
        """Tick until cancelled; a heartbeat goes out each real second."""
        loop = asyncio.get_running_loop()
        next_beat = loop.time() + 1
        while not self.failure:
            await asyncio.sleep(self._tick_seconds)
            try:
                self.tick()
                if loop.time() >= next_beat:
                    next_beat = max(next_beat + 1, loop.time())
                    self._publisher.heartbeat()
            except Exception:  # noqa: BLE001 - whatever it was, the books are no longer trusted
                _log.exception("venue stopped")
                self.failure = self.failure or "a defect; see the log"

    def _act(self, command: Callable[[], ResultT]) -> ResultT:
        self.require_running()
        try:
            self.exchange.advance(
                max(self.clock.now_ns(), self.exchange.now_ns), FLOW_COMMANDS_PER_TICK
            )
            result = command()
        except InvariantViolation as error:
            self.failure = str(error)
            raise
        except Fault:
            raise
        except Exception as error:
            # Half a command may have been carried out: the books cannot be trusted any more.
            self.failure = f"{type(error).__name__}: {error}"
            raise
        self._publisher.publish(self.exchange.drain())
        return result
