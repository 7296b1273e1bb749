"""Write one versioned control state in Redis: rollout and kill state.

Permission expires, prohibition never does. A scope is one hash (the truth), one stream (the audit)
and one channel (the doorbell). A script changes all three at once and counts the generation up, so
state and audit cannot disagree. Nothing here has a time to live: a lost record is `MISSING`, and
every reader takes that for closed. Only commands of Redis 6.2 are used.
"""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from lob.errors import ConfigError, Conflict, DeadlineExceeded, InvalidInput, Unavailable
from touchstone.kit.settings import without_password

AUDIT_ENTRIES_MAX: Final = 100_000
DOCUMENT_BYTES_MAX: Final = 64 * 1024
TEXT_CHARACTERS_MAX: Final = 500
# Lua counts in doubles, which are exact up to here.
GENERATION_MAX: Final = 2**53

# What a lost connection is told by; uvloop says RuntimeError where it is closed within a write.
_LOST: Final = (RedisError, OSError, RuntimeError)

# What a server must be configured with for a halt to survive its crash.
DURABLE_SETTINGS: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
}

# KEYS: hash, stream. ARGV: mode, expected, floor, write_id, state, document, actor, reason,
# updated_at, audit bound, channel. A repeated write_id is a repeated request, and changes nothing.
_WRITE: Final = """
local present = redis.call('HGET', KEYS[1], 'generation')
local current = tonumber(present or '0')
if present and redis.call('HGET', KEYS[1], 'write_id') == ARGV[4] then
  return {'written', present, redis.call('HGETALL', KEYS[1])}
end
if ARGV[1] == 'absent' and present then
  return {'written', present, redis.call('HGETALL', KEYS[1])}
end
if ARGV[1] == 'compare' and current ~= tonumber(ARGV[2]) then
  return {'conflict', present or '0', {}}
end
local generation = string.format('%d', math.max(current or 0, tonumber(ARGV[3])) + 1)
local fields = {'generation', generation, 'state', ARGV[5], 'document', ARGV[6], 'actor', ARGV[7],
  'reason', ARGV[8], 'updated_at', ARGV[9], 'write_id', ARGV[4]}
redis.call('HSET', KEYS[1], unpack(fields))
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[10], '*', unpack(fields))
redis.call('PUBLISH', ARGV[11], cjson.encode(fields))
return {'written', generation, redis.call('HGETALL', KEYS[1])}
"""

_log = structlog.get_logger("touchstone.control")


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """One generation of one scope. `updated_at` is ISO 8601 in UTC, by the writer's clock."""

    scope: str
    generation: int
    state: str
    document: Mapping[str, Any]
    actor: str
    reason: str
    updated_at: str
    write_id: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of a scope's audit; `entry_id` starts with the server's time in milliseconds."""

    entry_id: str
    record: ControlRecord


class UnreadableRecord(Unavailable):
    """Say that Redis answered with a record that is damaged."""


def record_from_fields(scope: str, fields: Mapping[str, str]) -> ControlRecord:
    """Return the record that a hash or an audit entry holds; `UnreadableRecord` if damaged."""
    try:
        generation = int(fields["generation"])
        document = json.loads(fields["document"])
        texts = {name: fields[name] for name in ("state", "actor", "reason", "updated_at")}
    except (KeyError, ValueError, RecursionError) as error:
        raise UnreadableRecord(f"control state {scope} in Redis is unreadable: {error!r}") from None
    if not 1 <= generation <= GENERATION_MAX or not isinstance(document, dict):
        raise UnreadableRecord(
            f"control state {scope} in Redis is unreadable: generation {generation}"
        )
    write_id = fields.get("write_id", "")
    return ControlRecord(
        scope=scope, generation=generation, document=document, write_id=write_id, **texts
    )


def record_from_ring(scope: str, message: object) -> ControlRecord | None:
    """Return the record that the doorbell's message carries; None where it carries none."""
    if not isinstance(message, str):
        return None
    try:
        flat = json.loads(message)
        if not isinstance(flat, list) or not all(isinstance(part, str) for part in flat):
            return None
        return record_from_fields(scope, dict(zip(flat[::2], flat[1::2], strict=True)))
    except (ValueError, RecursionError, UnreadableRecord):
        return None


def require_text(name: str, text: str) -> None:
    """Raise InvalidInput unless `text` can be a record's state, actor or reason.

    What tightens first and writes later asks before it tightens: a record that can never be
    written would be tried again for ever.
    """
    if not text.strip() or len(text) > TEXT_CHARACTERS_MAX:
        raise InvalidInput(f"{name}: {text[:40]!r}; allowed: 1..{TEXT_CHARACTERS_MAX} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{name}: {text[:40]!r}; allowed: text that UTF-8 can hold") from None


def document_text(document: Mapping[str, Any]) -> str:
    """Return a document as it is written; InvalidInput where it is too large to be."""
    encoded = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    if len(encoded) > DOCUMENT_BYTES_MAX:
        raise InvalidInput(f"document: {len(encoded)} bytes; allowed: at most {DOCUMENT_BYTES_MAX}")
    return encoded


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ControlStore:
    """Read and write control records; every call is bounded in time and raises only faults.

    `Unavailable` and `DeadlineExceeded` say that Redis did not answer. A write is repeated at most
    once, under the same write id, so that a lost answer does not apply it twice.
    """

    def __init__(
        self,
        url: str,
        *,
        read_timeout_seconds: float = 0.25,
        write_timeout_seconds: float = 2.0,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._read_timeout = read_timeout_seconds
        self._write_timeout = write_timeout_seconds
        self._now = now
        self._durability_reported: tuple[str, ...] | None = None
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                decode_responses=True,
                protocol=2,
                # A caller beyond these waits for its turn, within its own time-out.
                max_connections=16,
                timeout=write_timeout_seconds,
                socket_timeout=write_timeout_seconds,
                socket_connect_timeout=write_timeout_seconds,
                # A pooled connection that died with the server is replaced once, without delay.
                retry=Retry(NoBackoff(), 1),
            )
        except ValueError as error:
            raise ConfigError(
                f"environment TOUCHSTONE_REDIS_URL: {without_password(url)!r}: {error}"
            ) from None
        self._redis = Redis.from_pool(pool)
        self.url = url

    @property
    def durability(self) -> tuple[str, ...] | None:
        """Return what `durability_problems` found last; None before it was ever found out."""
        return self._durability_reported

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection, within the time-out of a write."""
        with contextlib.suppress(*_LOST, TimeoutError):
            async with asyncio.timeout(self._write_timeout):
                await self._redis.aclose()

    async def read(self, scope: str, *, patient: bool = False) -> ControlRecord | None:
        """Return the present record of `scope`; None when there is none. `patient` as a script."""
        fields = await self._bounded(
            self._redis.hgetall(record_key(scope)),
            self._write_timeout if patient else self._read_timeout,
            f"read of {scope}",
        )
        return record_from_fields(scope, fields) if fields else None

    async def write(
        self,
        scope: str,
        *,
        state: str,
        document: Mapping[str, Any],
        actor: str,
        reason: str,
        expected_generation: int | None,
        floor_generation: int = 0,
    ) -> ControlRecord:
        """Write the next generation of `scope` and return it.

        Args:
            scope: which record.
            state: its state in one word.
            document: its JSON document, at most 64 KiB.
            actor: who writes.
            reason: why.
            expected_generation: what the present generation must be (0: no record); None skips the
                check, which only a tightening may do.
            floor_generation: the highest generation the caller has ever seen; the new one is above
                it, so that readers take it even after the server lost its data.

        Raises:
            Conflict: the present generation is another one.
        """
        mode = "any" if expected_generation is None else "compare"
        expected = expected_generation or 0
        body = self._body(state, document, actor, reason)
        status, present, record = await self._evaluate(
            scope, mode, expected, floor_generation, body
        )
        if status == "conflict":
            raise Conflict(
                f"generation of {scope}: expected {expected_generation}, present is {present}"
            )
        return record_from_fields(scope, record)

    async def initialise(
        self,
        scope: str,
        *,
        state: str,
        document: Mapping[str, Any],
        actor: str,
        reason: str,
        floor_generation: int = 0,
    ) -> ControlRecord:
        """Write the first record of `scope` where none exists; return the one that is there."""
        body = self._body(state, document, actor, reason)
        _, _, record = await self._evaluate(scope, "absent", 0, floor_generation, body)
        return record_from_fields(scope, record)

    async def audit(self, scope: str, limit: int = 100) -> list[AuditEntry]:
        """Return the newest `limit` entries of the audit, newest first."""
        entries = await self._bounded(
            self._redis.xrevrange(_audit_key(scope), count=limit),
            self._write_timeout,
            f"audit of {scope}",
        )
        return [AuditEntry(entry, record_from_fields(scope, fields)) for entry, fields in entries]

    async def run_script(
        self,
        script: str,
        keys: Sequence[str],
        arguments: Sequence[str],
        what: str,
        *,
        patient: bool = False,
    ) -> Any:
        """Run a script within the time-out of a read; `what` names it in a fault.

        With `patient` within that of a write: no order waits for it, and the server's disk may.
        """
        seconds = self._write_timeout if patient else self._read_timeout
        return await self._bounded(
            self._redis.eval(script, len(keys), *keys, *arguments), seconds, what
        )

    async def run_scripts(
        self,
        script: str,
        calls: Sequence[tuple[Sequence[str], Sequence[str]]],
        what: str,
    ) -> list[Any]:
        """Run a script once for each of `calls` (keys, arguments), all in one round trip.

        What one call came to, and be it a `Fault`, says nothing of the others.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for keys, arguments in calls:
            pipeline.eval(script, len(keys), *keys, *arguments)
        answers = await self._bounded(
            pipeline.execute(raise_on_error=False), self._read_timeout, what
        )
        return [
            Unavailable(f"Redis: {what}: {answer}") if isinstance(answer, Exception) else answer
            for answer in answers
        ]

    async def uptime_seconds(self) -> float:
        """Return how long the server has run; 0 where it does not say."""
        info = await self._bounded(self._redis.info("server"), self._read_timeout, "INFO server")
        return float(info.get("uptime_in_seconds", 0))

    async def durability_problems(self) -> tuple[str, ...]:
        """Return what in the server's configuration may lose a halt; log it when it changes."""
        problems = []
        for name, wanted in DURABLE_SETTINGS.items():
            try:
                found = await self._bounded(
                    self._redis.config_get(name), self._read_timeout, f"CONFIG GET {name}"
                )
            except Unavailable as fault:
                # A managed server may refuse CONFIG; one that is away is no finding.
                if not any(word in str(fault) for word in ("unknown command", "NOPERM")):
                    raise
                problems.append(f"{name} cannot be checked (CONFIG is refused)")
                continue
            value = found.get(name)
            if value != wanted:
                problems.append(f"{name} is {value!r}, wanted {wanted!r}")
        result = tuple(problems)
        if result and result != self._durability_reported:
            _log.warning("redis_not_durable", problems=result)
        self._durability_reported = result
        return result

    async def check(self) -> str:
        """Return a readiness detail; `Unavailable` when Redis is away or may lose a halt."""
        problems = await self.durability_problems()
        if problems:
            raise Unavailable(f"Redis may lose control state: {'; '.join(problems)}")
        return "answers; durable"

    @contextlib.asynccontextmanager
    async def doorbell(self, *scopes: str) -> AsyncIterator[PubSub]:
        """Subscribe to the channels that ring at each new generation of one of `scopes`."""
        pubsub = self._redis.pubsub()
        try:
            await self._bounded(
                pubsub.subscribe(*map(channel_of, scopes)),
                self._write_timeout,
                f"subscribe to {scopes[0]}",
            )
            yield pubsub
        finally:
            with contextlib.suppress(*_LOST, TimeoutError):
                async with asyncio.timeout(self._read_timeout):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _body(
        self, state: str, document: Mapping[str, Any], actor: str, reason: str
    ) -> tuple[str, str, str, str, str]:
        for name, text in (("state", state), ("actor", actor), ("reason", reason)):
            require_text(name, text)
        at = self._now().isoformat(timespec="microseconds")
        return state, document_text(document), actor, reason, at

    async def _evaluate(
        self, scope: str, mode: str, expected: int, floor: int, body: tuple[str, ...]
    ) -> tuple[str, str, dict[str, str]]:
        if not 0 <= floor < GENERATION_MAX:
            raise InvalidInput(f"floor_generation: {floor}; allowed: 0..{GENERATION_MAX - 1}")
        call = self._redis.eval(
            _WRITE,
            2,
            record_key(scope),
            _audit_key(scope),
            mode,
            str(expected),
            str(floor),
            uuid.uuid4().hex,
            *body,
            str(AUDIT_ENTRIES_MAX),
            channel_of(scope),
        )
        answer = await self._bounded(call, self._write_timeout, f"write of {scope}")
        status, present, flat = answer
        return status, present, dict(zip(flat[::2], flat[1::2], strict=True))

    async def _bounded(self, call: Awaitable[Any] | Any, seconds: float, what: str) -> Any:
        """Await a Redis call for at most `seconds`; turn whatever goes wrong into a fault."""
        try:
            async with asyncio.timeout(seconds):
                return await call
        except TimeoutError:
            raise DeadlineExceeded(f"Redis: {what}: no answer within {seconds} s") from None
        except _LOST as error:
            raise Unavailable(f"Redis: {what}: {error or type(error).__name__}") from None
        except UnicodeDecodeError:
            raise UnreadableRecord(f"Redis: {what}: the answer is not UTF-8") from None


def record_key(scope: str) -> str:
    """Return the key of a scope's record; the scope's other keys begin with it."""
    # Braces keep a scope's keys in one slot of a cluster, which a script needs.
    return f"control:{{{scope}}}"


def channel_of(scope: str) -> str:
    """Return the channel that rings at each new generation of `scope`."""
    return f"control:{{{scope}}}:doorbell"


def _audit_key(scope: str) -> str:
    return f"control:{{{scope}}}:audit"
