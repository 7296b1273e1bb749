"""The windows of all routers together, through Redis and without Prometheus.

Once a second each router writes what changed in its own windows (absolute counts, so that a write
whose answer was lost may be repeated) and reads those of the others, in one script. A router that
ended is still counted until its slots have left the windows: what L3 did to it, L3 did. Without
Redis each router sees its own counts only.

Keys: `control:{rollout}:windows` holds each member's last visit, by the server's clock in
milliseconds, and `@since`, before which nothing counts (a re-arm sets it);
`control:{rollout}:windows:<member>` holds the counts under `<trigger> <slot>:<bucket>`. Both
expire.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from lob.errors import Fault
from touchstone.kit.control import ROLLOUT_SCOPE, ControlStore
from touchstone.kit.control_store import record_key
from touchstone.rollout.triggers import TRIGGERS, CountsByTrigger, Trigger, TriggerBoard
from touchstone.rollout.windows import merge

SHARE_SECONDS: Final = 1.0
AGE_SECONDS_MAX: Final = 5.0
"""Counts of others that are older than this are not used: Redis is away."""
LIFETIME_SECONDS: Final = 660
"""The longest window and a minute: afterwards the counts of a member that ended say nothing."""
SHORTEST_WINDOW_SECONDS: Final = 10 * SHARE_SECONDS
"""Below this a second's delay is too long; the breaker for error storms is each router's own."""
COUNT_MAX: Final = 2**53

# KEYS: index. ARGV: member, since ms, lifetime ms, number of counts, then name and count of each,
# then the names that left the window.
_SHARE: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local own = KEYS[1] .. ':' .. ARGV[1]
local held = redis.call('HLEN', own)
local last = 4 + 2 * tonumber(ARGV[4])
for i = 5, last, 2 do redis.call('HSET', own, ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV do redis.call('HDEL', own, ARGV[i]) end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', now))
redis.call('PEXPIRE', own, ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local since = tonumber(redis.call('HGET', KEYS[1], '@since') or '0') or 0
local wanted = math.min(tonumber(ARGV[2]), now)
if wanted > since then
  since = wanted
  redis.call('HSET', KEYS[1], '@since', string.format('%d', since))
end
local others = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i] ~= '@since' and all[i] ~= ARGV[1] then
    if now - (tonumber(all[i + 1]) or 0) > tonumber(ARGV[3]) then
      redis.call('HDEL', KEYS[1], all[i])
    else
      others[#others + 1] = {all[i], redis.call('HGETALL', KEYS[1] .. ':' .. all[i])}
    end
  end
end
return {held, string.format('%d', since), others}
"""

_log = structlog.get_logger("touchstone.router")


class SharedWindows:
    """Share one board's windows with those of the other routers. `others` never waits."""

    def __init__(
        self,
        store: ControlStore,
        member: str,
        board: TriggerBoard,
        *,
        triggers: tuple[Trigger, ...] = TRIGGERS,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._member = member
        self._board = board
        self._shared = {
            trigger.name: trigger
            for trigger in triggers
            if trigger.window.window_seconds >= SHORTEST_WINDOW_SECONDS
        }
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._published: dict[str, int] = {}
        self._others: CountsByTrigger = {}
        self._replicas = 0
        self._read_at = float("-inf")
        self._since_ms = 0
        self._why = "not shared yet"

    def others(self) -> tuple[CountsByTrigger, ...]:
        """Return the counts of the other routers, already added up; none where they are old."""
        fresh = self._monotonic() - self._read_at <= AGE_SECONDS_MAX
        return (self._others,) if fresh and self._others else ()

    def forget(self) -> None:
        """Let nothing before now count any more, here and in every other router: a re-arm."""
        self._since_ms = int(self._wall_clock() * 1000)
        self._others = {}

    def to_json(self) -> dict[str, Any]:
        """Return how many other routers are counted, and why they are not."""
        age = self._monotonic() - self._read_at
        fresh = age <= AGE_SECONDS_MAX
        return {
            "other_routers": self._replicas if fresh else 0,
            "age_seconds": age if self._replicas and fresh else None,
            "why": self._why,
        }

    async def work(self) -> None:
        """Share once a second, until cancelled."""
        while True:
            await self.share()
            await asyncio.sleep(SHARE_SECONDS)

    async def share(self) -> None:
        """Write what changed here and read the others; raises nothing."""
        try:
            await self._share()
        except Fault as fault:
            if not self._why:
                _log.warning("windows_not_shared", why=str(fault))
            self._why = str(fault)
        except Exception as error:  # noqa: BLE001 - logged; own counts go on being watched
            _log.exception("windows_not_shared")
            self._why = f"{type(error).__name__}: {error}"

    async def _share(self) -> None:
        counts = {
            f"{name} {place}": count
            for name, by_place in self._board.to_counts().items()
            if name in self._shared
            for place, count in by_place.items()
        }
        changed = {n: c for n, c in counts.items() if self._published.get(n) != c}
        gone = [name for name in self._published if name not in counts]
        asked_at, since_ms = self._monotonic(), self._since_ms
        pairs = [part for name, count in changed.items() for part in (name, str(count))]
        held, since, others = await self._store.run_script(
            _SHARE,
            (f"{record_key(ROLLOUT_SCOPE)}:windows",),
            (
                self._member,
                str(since_ms),
                str(LIFETIME_SECONDS * 1000),
                str(len(changed)),
                *pairs,
                *gone,
            ),
            "windows of the triggers",
        )
        # Fewer than were written means that the server lost them: all are written again.
        self._published = counts if held >= len(self._published) else {}
        self._follow(int(since), since_ms)
        counted_since = self._since_ms
        parts = []
        for member, flat in others:
            part = self._counts_of(member, flat, counted_since)
            if part is not None:
                parts.append(part)
            # A millisecond each: orders get their turn in between, and perhaps a re-arm.
            await asyncio.sleep(0)
        if self._since_ms != counted_since:
            return
        self._others = {
            name: merge(part[name] for part in parts if name in part) for name in self._shared
        }
        self._replicas, self._read_at, self._why = len(parts), asked_at, ""

    def _follow(self, since_ms: int, sent_ms: int) -> None:
        """Forget what another router's re-arm made void; a latch of this one's stays.

        What was sent from a clock that is ahead of the server's was taken for the server's now, and
        is that from here on: else it would be a new re-arm at each look.
        """
        if since_ms > self._since_ms:
            self._since_ms = since_ms
            if self._board.trip is None:
                self._board.rearm()
        elif self._since_ms == sent_ms:
            self._since_ms = since_ms

    def _counts_of(
        self, member: str, flat: Sequence[str], since_ms: int
    ) -> Mapping[str, Mapping[str, int]] | None:
        """Return another router's counts by trigger; None, and a warning, where they are wrong.

        One member's damage must not blind the watch of all.
        """
        counts: dict[str, dict[str, int]] = {}
        try:
            for field, text in zip(flat[::2], flat[1::2], strict=True):
                name, _, place = field.partition(" ")
                trigger = self._shared.get(name)
                if trigger is None:
                    continue
                slot, count = _slot_and_count(trigger, place, text)
                if slot * trigger.window.slot_seconds * 1000 >= since_ms:
                    counts.setdefault(name, {})[place] = count
        except ValueError as error:
            _log.warning("windows_of_other_unreadable", member=member, error=str(error))
            return None
        return counts


def _slot_and_count(trigger: Trigger, place: str, text: str) -> tuple[int, int]:
    """Return what one field says; `ValueError` where it is no count of the trigger's window."""
    slot, _, bucket = place.partition(":")
    count = int(text)
    if not 0 <= int(bucket) < trigger.window.buckets or not 0 <= count <= COUNT_MAX:
        raise ValueError(f"{place}: {text}")
    return int(slot), count
