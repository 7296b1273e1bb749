"""What the watchdog does: hear the gateway, and cancel at the venue when it has been silent long.

The gateway is alive when it answers over HTTP or renews its lease in Redis; either will do, so that
an outage of Redis alone, or of the port alone, fires nothing. What was cancelled is believed only
when a later look at the venue finds it gone. While the silence lasts it looks again and again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

import httpx
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from lob.errors import Fault
from services.order_gateway.venue_account import Account, LiveOrder, protective
from touchstone.kit.control import KILL_SCOPE, ControlStore
from touchstone.kit.leases import LEASE_SECONDS
from touchstone.kit.membership import take_census

# A member's time in the census is renewed once a second, with the renewal of its lease.
HEARD_MILLISECONDS: Final = int((1.5 + 2 * LEASE_SECONDS) * 1000)
RETRY_SECONDS: Final = 0.5
RETRY_SECONDS_MAX: Final = 5.0
HTTP_OK: Final = 200

_log = structlog.get_logger("touchstone.watchdog")


class Cancels(StrEnum):
    """What is cancelled: all but what protects an open position, or everything."""

    ENTRIES = "entries"
    EVERYTHING = "everything"


class Heartbeat(Protocol):
    """Whether the gateway is heard now."""

    async def heard(self) -> bool:
        """Return whether the gateway lives; bounded in time, raises nothing."""
        ...


class GatewayHeartbeat:
    """Ask the gateway over HTTP, and where it does not answer, look for its lease in Redis."""

    def __init__(self, client: httpx.AsyncClient, control: ControlStore) -> None:
        self._client = client
        self._control = control
        self._member = ""

    async def heard(self) -> bool:
        """Return whether one of the two shows that it lives.

        Its name in the census is learnt from its own answer: another gateway's lease says nothing
        of this one.
        """
        try:
            response = await self._client.get("/v1/heartbeat", params={"by": "watchdog"})
            answer = response.json()
            if response.status_code == HTTP_OK and answer["status"] == "ok":
                self._member = str(answer["member"])
                return True
        except (httpx.HTTPError, OSError, ValueError, KeyError, TypeError) as error:
            _log.debug("gateway_does_not_answer", why=str(error) or type(error).__name__)
        return await self._has_lease()

    async def _has_lease(self) -> bool:
        if not self._member:
            return False
        try:
            census = await take_census(self._control, KILL_SCOPE)
        except Fault as fault:
            _log.debug("census_not_known", why=str(fault))
            return False
        seen = census.entries.get(self._member, "").partition(" ")[2]
        return seen.isdecimal() and census.now_ms - int(seen) < HEARD_MILLISECONDS


class WatchdogMetrics:
    """What the watchdog exports."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.silence = Gauge(
            "watchdog_gateway_silence_seconds",
            "Since the gateway was last heard",
            registry=registry,
        )
        self.armed = Gauge(
            "watchdog_armed", "1 while it waits for a silence, 0 while it fires", registry=registry
        )
        self.fired = Counter(
            "watchdog_fired", "Times the gateway's silence set it off", registry=registry
        )
        self.cancelled = Counter(
            "watchdog_orders_cancelled",
            "Orders that were gone from the venue after it cancelled them",
            registry=registry,
        )
        self.failures = Counter(
            "watchdog_venue_failures",
            "Looks and cancels that the venue did not answer while it fired",
            registry=registry,
        )
        self.armed.set(1)


@dataclass(frozen=True, slots=True)
class Duty:
    """How long to wait, how often to look, what to cancel; times in seconds."""

    silence_seconds: float
    poll_seconds: float
    recheck_seconds: float
    cancels: Cancels


class Watchdog:
    """Watch one gateway and one account, until cancelled."""

    def __init__(
        self,
        heartbeat: Heartbeat,
        account: Account,
        duty: Duty,
        metrics: WatchdogMetrics,
        record: Callable[[str, dict[str, Any]], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Make the watchdog; `record` keeps an event (type, payload)."""
        self._heartbeat = heartbeat
        self._account = account
        self.duty = duty
        self._metrics = metrics
        self._record = record
        self._monotonic = monotonic
        self._sleep = sleep
        # From the start on: a gateway that never comes is silent, too.
        self._heard_at = monotonic()
        self._fired_at: float | None = None
        self.problem = ""

    @property
    def silence_seconds(self) -> float:
        """Return for how long the gateway has not been heard."""
        return self._monotonic() - self._heard_at

    async def watch(self) -> None:
        """Listen, fire when it has been silent for too long, and arm again when it is back."""
        while True:
            await self._listen()
            if self._fired_at is not None:
                await self._fire()
            await self._sleep(self.duty.poll_seconds)

    async def _listen(self) -> None:
        """Ask for the gateway; arm again where it is back, fire where it was silent for too long.

        Asked first: a watchdog that was itself stopped for a while must not take that for silence.
        """
        if await self._heartbeat.heard():
            self._heard_at = self._monotonic()
            if self._fired_at is not None:
                self._arm()
        elif self._fired_at is None and self.silence_seconds >= self.duty.silence_seconds:
            self._fired_at = self._monotonic()
            self._metrics.fired.inc()
            self._metrics.armed.set(0)
            self._tell("watchdog_fired", silence_seconds=round(self.silence_seconds, 3))
        self._metrics.silence.set(self.silence_seconds)

    def _arm(self) -> None:
        self._tell("watchdog_armed", why="the gateway is back")
        self._fired_at = None
        self.problem = ""
        self._metrics.armed.set(1)

    async def _fire(self) -> None:
        """Cancel until a look finds nothing to cancel, then rest; stop at once when it is back."""
        asked: set[str] = set()
        gone: set[str] = set()
        pause = RETRY_SECONDS
        while self._fired_at is not None:
            try:
                wanted, kept = await self._wanted()
                left = {order.order_id for order in wanted}
                self._metrics.cancelled.inc(len(asked - left - gone))
                gone |= asked - left
                if not wanted:
                    if asked:
                        self._tell("watchdog_done", cancelled=sorted(asked), kept=sorted(kept))
                    self.problem = ""
                    await self._rest()
                    return
                answers = await self._account.cancel([order.order_id for order in wanted])
                asked |= left
                refused = {key: why for key, why in answers.items() if why}
                self._tell("watchdog_cancelled", orders=sorted(answers), refused=refused)
                pause = RETRY_SECONDS
            except Fault as fault:
                self._metrics.failures.inc()
                self._fail(str(fault))
                pause = min(2 * pause, RETRY_SECONDS_MAX)
            await self._sleep(pause)
            await self._listen()

    async def _wanted(self) -> tuple[list[LiveOrder], frozenset[str]]:
        """Return what is to be cancelled, and the ids of what is to stay."""
        orders = await self._account.working_orders()
        if self.duty.cancels is Cancels.EVERYTHING or not orders:
            return orders, frozenset()
        try:
            positions = await self._account.positions()
        except Fault as fault:
            # Not known: only what can do no harm stays.
            self._fail(str(fault))
            kept = protective(orders, None)
        else:
            kept = protective(orders, positions)
        return [order for order in orders if order.order_id not in kept], kept

    async def _rest(self) -> None:
        """Wait before the next look, and end the wait when the gateway is back."""
        until = self._monotonic() + self.duty.recheck_seconds
        while self._fired_at is not None and self._monotonic() < until:
            await self._sleep(self.duty.poll_seconds)
            await self._listen()

    def _fail(self, why: str) -> None:
        if why != self.problem:
            self._tell("watchdog_failed", why=why)
        self.problem = why

    def _tell(self, event_type: str, **payload: Any) -> None:
        _log.warning(event_type, **payload)
        try:
            self._record(event_type, payload)
        except OSError as error:
            # It cancels all the same: the log has it.
            _log.error("watchdog_event_not_kept", why=str(error))
