"""Who listens to a scope: members with a lease, their acknowledgements, and the wait for them.

One question serves for everything: *"I have applied generation g; may I go on?"* The script
answers yes only while g is the present generation, and writes down that this member has applied
it. So renewing is acknowledging, and nobody's lease outlives a new generation unless he applied
it: a kill is obeyed, at the latest, one lease after it was written. No clock but the asker's own
is trusted with that.

Where nothing changed the script writes nothing, so that a renewal costs no disk write; but it does
*attempt* a write (HSETNX of what is there), so that a server which could not take a kill (out of
memory, a replica, too few replicas) grants nothing either.

The census is a hash `control:{scope}:members`: a member's name to `<generation acked> <seen>`, by
the server's clock in milliseconds, and `@founded` to when it last began or lost a name. The
server's clock only decides when a name is forgotten, and for two seconds after that, or after the
server's start, whoever kills does not trust the census and waits a whole lease.
"""

import asyncio
import os
import platform
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client import CollectorRegistry, Histogram

from lob.errors import Fault, InvalidInput
from touchstone.kit.control_store import ControlRecord, ControlStore, record_key
from touchstone.kit.leases import DRAIN_SECONDS, LEASE_SECONDS, Lease, SendGate

ACK_POLL_SECONDS: Final = 0.002
BEFORE_ACK_SECONDS_MAX: Final = 0.2
ACK_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.6, 0.65, 1, 2.5)

# A census younger than this may miss a member that still holds a lease.
SETTLED_SECONDS: Final = 2.0
SEEN_MILLISECONDS: Final = 10_000
FORGOTTEN_MILLISECONDS: Final = 60_000
_FOUNDED: Final = "@founded"
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

# KEYS: record, members. ARGV: name, generation applied, seen limit ms, forgotten limit ms.
_RENEW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%d', now)
local present = redis.call('HGET', KEYS[1], 'generation')
local granted = present and present == ARGV[2]
local acked = granted and ARGV[2] or '0'
redis.call('HSETNX', KEYS[2], '@founded', stamp)
local changed = redis.call('HSETNX', KEYS[2], ARGV[1], acked .. ' ' .. stamp) == 1
if not changed then
  local held, seen = string.match(redis.call('HGET', KEYS[2], ARGV[1]), '^(%d+) (%d+)$')
  local gone_back = (tonumber(ARGV[2]) or 0) > (tonumber(present or '0') or 0)
  if not granted and not gone_back then acked = held or '0' end
  if held ~= acked or math.abs(now - tonumber(seen or '0')) > tonumber(ARGV[3]) then
    redis.call('HSET', KEYS[2], ARGV[1], acked .. ' ' .. stamp)
    changed = true
  end
end
if changed then
  local all = redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do
    if all[i] ~= '@founded' then
      local seen = tonumber(string.match(all[i + 1], ' (%d+)$') or '')
      if not seen or math.abs(now - seen) > tonumber(ARGV[4]) then
        redis.call('HDEL', KEYS[2], all[i])
        redis.call('HSET', KEYS[2], '@founded', stamp)
      end
    end
  end
end
return {granted and 1 or 0, redis.call('HGETALL', KEYS[1])}
"""

_CENSUS: Final = """
local time = redis.call('TIME')
local now = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
local present = redis.call('HGET', KEYS[1], 'generation')
return {now, present or '0', redis.call('HGETALL', KEYS[2])}
"""

# A name whose entry is still the one that was seen: its holder has not been back since.
_FORGET: Final = """
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
"""


async def _nothing(_record: ControlRecord) -> None:
    """Ask for nothing before an acknowledgement."""


@dataclass(slots=True)
class Membership:
    """One sender's part in the protocol, for one scope.

    `before_ack` is awaited with each new record after it took effect and before it is
    acknowledged: what must be durable first. Where it fails, or a passage stays open, nothing is
    acknowledged, and the lease runs out. `seen_milliseconds` is how old the time in the census may
    become before a renewal writes it anew.
    """

    name: str
    lease: Lease = field(default_factory=Lease)
    gate: SendGate = field(default_factory=SendGate)
    before_ack: Callable[[ControlRecord], Awaitable[None]] = _nothing
    applied_generation: int = 0
    seen_milliseconds: int = SEEN_MILLISECONDS
    # The first mark of the generation being applied: later passages were checked against it.
    _applying: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(f"member: {self.name!r}; allowed: {_NAME.pattern}")

    def see(self, generation: int) -> None:
        """Note that from now on every check sees `generation`."""
        if self._applying[0] != generation:
            self._applying = (generation, self.gate.mark())

    async def apply(self, record: ControlRecord) -> None:
        """Let what was checked under an older generation go out, then make the record durable.

        Raises:
            TimeoutError: a passage is still open, or the record is not yet durable.
            Fault: it could not be made durable.
        """
        self.see(record.generation)
        async with asyncio.timeout(DRAIN_SECONDS):
            await self.gate.drained(self._applying[1])
        async with asyncio.timeout(BEFORE_ACK_SECONDS_MAX):
            await self.before_ack(record)
        self.applied_generation = record.generation


def member_name(role: str) -> str:
    """Return a name that no other process has, nor this one after a restart.

    >>> member_name("router").startswith("router:")
    True
    """
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", platform.node())[:64] or "host"
    return f"{role}:{host}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


Renewal = tuple[bool, Mapping[str, str]]
"""Whether a lease is renewed, and the fields of the present record."""


async def renew(store: ControlStore, scope: str, member: Membership) -> Renewal:
    """Ask whether the member may go on; return that, and the fields of the present record."""
    granted, flat = await store.run_script(
        _RENEW,
        (record_key(scope), _members_key(scope)),
        _renewal_arguments(member),
        f"renewal for {scope}",
    )
    return granted == 1, _pairs(flat)


async def renew_all(
    store: ControlStore, members: Mapping[str, Membership]
) -> list[Renewal | Fault]:
    """Ask for all of `members` (by scope) in one round trip; return what `renew` does for each.

    Raises:
        Fault: Redis did not answer.
    """
    calls = [
        ((record_key(scope), _members_key(scope)), _renewal_arguments(member))
        for scope, member in members.items()
    ]
    answers = await store.run_scripts(_RENEW, calls, f"renewal for {len(calls)} scopes")
    return [a if isinstance(a, Fault) else (a[0] == 1, _pairs(a[1])) for a in answers]


async def leave(store: ControlStore, scope: str, member: Membership) -> None:
    """End the lease, let what is under way go out, and take the name off the census.

    Raises:
        Fault: Redis did not take it; the name is forgotten in time.
    """
    member.lease.end()
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await member.gate.drained(member.gate.mark())
    except TimeoutError:
        # Somebody may still be sending: the census must not say that nobody is.
        return
    await store.run_script(
        "return redis.call('HDEL', KEYS[1], ARGV[1])",
        (_members_key(scope),),
        (member.name,),
        f"farewell to {scope}",
    )


@dataclass(frozen=True, slots=True)
class Census:
    """Who is listed under a scope. `members` are names to the generation they have acknowledged."""

    generation: int
    now_ms: int
    founded_ms: int
    members: Mapping[str, int]
    entries: Mapping[str, str]

    @property
    def settled(self) -> bool:
        """Return whether it is old enough for everybody who holds a lease to be listed."""
        return self.now_ms - self.founded_ms >= SETTLED_SECONDS * 1000


async def take_census(store: ControlStore, scope: str) -> Census:
    """Return who is listed under `scope` now."""
    now, generation, flat = await store.run_script(
        _CENSUS, (record_key(scope), _members_key(scope)), (), f"census of {scope}"
    )
    entries = _pairs(flat)
    # A census that is not there begins now, at the earliest.
    founded = entries.pop(_FOUNDED, now)
    members = {name: _number(entry.partition(" ")[0]) for name, entry in entries.items()}
    return Census(_number(generation), int(now), _number(founded), members, entries)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What became of a generation among the members of its scope.

    `acked` is the generation when nobody can begin a send under an older one any more, else None,
    and `why` says why not. `acks` are the members that said so and after how many seconds; `lapsed`
    are those that did not, and whose leases have run out. `seconds` is the whole wait.
    """

    acked: int | None
    acks: Mapping[str, float]
    lapsed: tuple[str, ...]
    seconds: float
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the acknowledgement as JSON values, the first to answer first."""
        return {
            "acked": self.acked,
            "acks": [
                {"member": name, "seconds": round(seconds, 6)}
                for name, seconds in sorted(self.acks.items(), key=lambda item: item[1])
            ],
            "lapsed": list(self.lapsed),
            "seconds": round(self.seconds, 6),
        } | ({"why": self.why} if self.why else {})

    def describe(self) -> str:
        """Return one line for a person."""
        if self.acked is None:
            return f"not acknowledged: {self.why}"
        told = [f"{len(self.acks)} acknowledged"]
        if self.lapsed:
            told.append(f"lease lapsed: {', '.join(self.lapsed)}")
        return f"generation {self.acked} in {self.seconds * 1000:.1f} ms ({'; '.join(told)})"


def not_waited(why: str, seconds: float = 0.0) -> Acknowledgement:
    """Return the acknowledgement of a generation that was never written."""
    return Acknowledgement(None, {}, (), seconds, why)


async def wait_for_acks(
    store: ControlStore,
    scope: str,
    generation: int,
    *,
    since: float | None = None,
    forget: bool = True,
    monotonic: Callable[[], float] = time.monotonic,
) -> Acknowledgement:
    """Return once no member can begin a send under a generation below `generation`.

    That is when every listed member has acknowledged it, and otherwise a lease and a drain after
    this call: a lease that was granted before the write has run out by then, none was granted
    since, and what was checked in its last moment has gone out (which also covers two clocks that
    run at somewhat different rates).

    Args:
        store: where the generation was just written; the answer of the write must be in.
        scope: which record.
        generation: what was written.
        since: monotonic time that `acks` and `seconds` count from; now where not given.
        forget: strike who was silent off the census, so that a process that died costs this wait
            once. Who looks again for the same members must not: a silent one may be busy with what
            he began before, and would be missing from the next look.
        monotonic: seconds of this process's own clock.
    """
    wait = _Wait(store, scope, generation, monotonic, forget=forget)
    return await wait.run(monotonic() if since is None else since)


class _Wait:
    """One wait for acknowledgements: what was seen so far."""

    def __init__(
        self,
        store: ControlStore,
        scope: str,
        generation: int,
        monotonic: Callable[[], float],
        *,
        forget: bool,
    ) -> None:
        self._store = store
        self._scope = scope
        self._forgets = forget
        self._generation = generation
        self._monotonic = monotonic
        self._acks: dict[str, float] = {}
        self._first: Census | None = None
        self._last: Census | None = None
        self._trusted = False
        self._why = ""

    async def run(self, since: float) -> Acknowledgement:
        deadline = self._monotonic() + LEASE_SECONDS + DRAIN_SECONDS
        while True:
            # Noted before the look: what the look finds was so by then, and not before.
            over = self._monotonic() >= deadline
            await self._look(since)
            if self._trusted and not self._silent():
                break
            if over:
                break
            await asyncio.sleep(ACK_POLL_SECONDS)
        if self._last is None:
            return Acknowledgement(None, self._acks, (), self._monotonic() - since, self._why)
        silent = self._silent()
        for name in silent if self._forgets else ():
            await self._forget(name, self._last.entries[name])
        return Acknowledgement(
            self._generation, self._acks, silent, self._monotonic() - since, self._why
        )

    def _silent(self) -> tuple[str, ...]:
        """Return who is listed and has not acknowledged; who left had closed himself before."""
        listed = self._last.members if self._last else {}
        return tuple(sorted(name for name in listed if name not in self._acks))

    async def _look(self, since: float) -> None:
        try:
            census = await take_census(self._store, self._scope)
            if self._first is None:
                self._first = census
                self._trusted = census.settled and await _is_up_long(self._store)
        except Fault as fault:
            # Nothing was seen: the last look, if this was it, must not be taken for an answer.
            self._last, self._trusted, self._why = None, False, str(fault)
            return
        if census.generation < self._generation:
            self._last, self._trusted = None, False
            self._why = (
                f"generation {self._generation} was lost: {census.generation} is in Redis now"
            )
            return
        if census.founded_ms != self._first.founded_ms:
            self._trusted = False
        self._last, self._why = census, ""
        after = self._monotonic() - since
        for name, acked in census.members.items():
            if acked >= self._generation:
                self._acks.setdefault(name, after)

    async def _forget(self, name: str, entry: str) -> None:
        try:
            await self._store.run_script(
                _FORGET, (_members_key(self._scope),), (name, entry), f"census of {self._scope}"
            )
        except Fault as fault:
            self._why = str(fault)


async def _is_up_long(store: ControlStore) -> bool:
    """Return whether the server runs for longer than a lease: a start may have lost names."""
    return await store.uptime_seconds() >= SETTLED_SECONDS


def ack_histogram(registry: CollectorRegistry, *scopes: str) -> Histogram:
    """Register `kill_switch_ack_seconds` and return it with the scopes' children at zero."""
    histogram = Histogram(
        "kill_switch_ack_seconds",
        "From the call of a tightening until every member acknowledged it or its lease lapsed",
        ["scope"],
        buckets=ACK_BUCKETS,
        registry=registry,
    )
    for scope in scopes:
        histogram.labels(scope)
    return histogram


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _renewal_arguments(member: Membership) -> tuple[str, ...]:
    return (
        member.name,
        str(member.applied_generation),
        str(member.seen_milliseconds),
        str(FORGOTTEN_MILLISECONDS),
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0


def _members_key(scope: str) -> str:
    return f"{record_key(scope)}:members"
