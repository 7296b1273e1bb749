"""The go/no-go matrix at work: what all routers measured, waivers, verdicts with their inputs.

Keys in Redis, all under the rollout's: `...:tallies` (a router's counts of the last day by its
name), `...:reported` (a row that somebody else measures), `...:waivers` (one a row) and
`...:verdicts` (a stream, the newest some 2,000). Time is the server's, so that all routers agree.
"""

import asyncio
import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, NamedTuple

import structlog
from prometheus_client import CollectorRegistry, Gauge

from execution_providers import FillStatus
from lob.errors import Fault, InvalidInput, NotFound
from touchstone.kit.control import ROLLOUT_SCOPE, ControlStore
from touchstone.kit.control_store import record_key, require_text
from touchstone.rollout.go_no_go import (
    CLOCK_SKEW_SECONDS,
    ROWS,
    Decision,
    Measurement,
    Verdict,
    Waiver,
    decide,
    verdict_to_json,
)
from touchstone.rollout.measurements import WINDOW_SECONDS, ExecutionTally, measurements
from touchstone.rollout.plan import Plan
from touchstone.rollout.shadow import ShadowPair

LOOK_SECONDS: Final = 30.0
STORE_SECONDS: Final = 300.0
"""A verdict that says the same as the last one is stored no more often than this."""
VERDICTS_MAX: Final = 2_000
WAIVER_HOURS_MAX: Final = 720
REPORTED_VALUES_MAX: Final = 2_000
_KEY: Final = record_key(ROLLOUT_SCOPE)
_TALLIES, _REPORTED, _WAIVERS, _VERDICTS = (
    f"{_KEY}:{name}" for name in ("tallies", "reported", "waivers", "verdicts")
)
_LIFETIME_MS: Final = str(round((WINDOW_SECONDS + 3_600) * 1000))
_ROW_NAMES: Final = tuple(row.name for row in ROWS)
MEASURED: Final = ("order_success_rate", "slippage", "system_latency", "error_rate")

# KEYS: tallies, reported, waivers, verdicts. ARGV: member, its tally or '', lifetime ms.
_SHARE: Final = """
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return {redis.call('TIME'), redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]),
  redis.call('HGETALL', KEYS[3]), redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)}
"""
_STORE: Final = (
    "return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'verdict', ARGV[2])"
)
_SET: Final = "return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])"
_DROP: Final = "return redis.call('HDEL', KEYS[1], ARGV[1])"
_NEWEST: Final = "return redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[1])"

_log = structlog.get_logger("touchstone.router")


class _Stored(NamedTuple):
    """The verdict stored last, with what another one is compared by."""

    verdict: Verdict
    colours: list[str]
    waived: list[str]


class GoNoGo:
    """Measure the candidate, join what all routers measured, decide, and keep each verdict."""

    def __init__(
        self,
        store: ControlStore,
        member: str,
        plan: Callable[[], Plan],
        *,
        registry: CollectorRegistry,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._member = member
        self._plan = plan
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        # Which latencies are kept: no secret, and no part of any answer.
        self._tally = ExecutionTally(random.Random(member).random)  # noqa: S311
        self._server_offset: float | None = None
        self._one_at_a_time = asyncio.Lock()
        self.latest: Verdict | None = None
        gauge = Gauge(
            "rollout_go_no_go",
            "1 for the present verdict of the go/no-go matrix",
            ["decision"],
            registry=registry,
        )
        self._gauges = {decision: gauge.labels(decision.value) for decision in Decision}

    def observe(self, pair: ShadowPair) -> None:
        """Count what the candidate did with an order, in shadow or live."""
        fill = pair.candidate
        slippage = None if fill is None else fill.slippage_bps
        self._tally.observe(
            pair.at,
            seconds=pair.candidate_seconds,
            filled=fill is not None and fill.status is FillStatus.FILLED,
            slippage_bps=None if slippage is None else float(slippage),
            error=fill is None,
        )

    def server_now(self) -> float | None:
        """Return the time of the Redis server, in seconds since 1970; None before it was heard."""
        return None if self._server_offset is None else self._server_offset + self._monotonic()

    async def work(self) -> None:
        """Evaluate twice a minute, until cancelled."""
        while True:
            try:
                await self.evaluate()
            except Exception:  # noqa: BLE001 - logged with its trace, and tried again
                _log.exception("go_no_go_failed")
            await asyncio.sleep(LOOK_SECONDS)

    async def evaluate(self) -> Verdict:
        """Return the verdict now; without Redis it is made from own counts, and never GO."""
        async with self._one_at_a_time:
            try:
                verdict = await self._evaluate()
            except Fault as fault:
                verdict = self._alone(str(fault))
            self.latest = verdict
            for decision, gauge in self._gauges.items():
                gauge.set(decision is verdict.decision)
            return verdict

    async def waive(self, row: str, *, by: str, reason: str, hours: float) -> Waiver:
        """Accept one yellow row until a time, by name; it replaces an earlier waiver of that row.

        Raises:
            InvalidInput: no such row, a blank name or reason, or no allowed time.
            Unavailable: Redis did not take it.
        """
        _require_row(row)
        for name, text in (("by", by), ("reason", reason)):
            require_text(name, text)
        if not 0 < hours <= WAIVER_HOURS_MAX:
            raise InvalidInput(f"hours: {hours!r}; allowed: above 0, up to {WAIVER_HOURS_MAX}")
        now = self._wall_clock() if (server := self.server_now()) is None else server
        waiver = Waiver(row=row, by=by, reason=reason, expires_at=now + hours * 3_600)
        await self._run(_SET, _WAIVERS, row, json.dumps(asdict(waiver)), what="a waiver")
        _log.warning("go_no_go_waived", **asdict(waiver))
        return waiver

    async def withdraw(self, row: str) -> None:
        """Take a waiver back.

        Raises:
            NotFound: there is none of that row.
        """
        _require_row(row)
        if not await self._run(_DROP, _WAIVERS, row, what="the end of a waiver"):
            raise NotFound(f"waiver: {row!r}; allowed: a row that is waived")
        _log.warning("go_no_go_waiver_withdrawn", row=row)

    async def report(self, row: str, measured: Measurement, by: str) -> None:
        """Take the measurement of a row from whoever has it, such as the order gateway.

        It grows stale as the routers' own do.

        Raises:
            InvalidInput: no such row, one that the routers measure, or a measurement that is none.
        """
        _require_row(row)
        if row in MEASURED:
            others = ", ".join(name for name in _ROW_NAMES if name not in MEASURED)
            raise InvalidInput(f"row: {row!r} is measured by the routers; allowed: {others}")
        require_text("by", by)
        if len(measured.values) > REPORTED_VALUES_MAX:
            raise InvalidInput(
                f"values: {len(measured.values)}; allowed: at most {REPORTED_VALUES_MAX}"
            )
        body = asdict(measured) | {"by": by}
        await self._run(_SET, _REPORTED, row, json.dumps(body), what="a measurement")

    async def verdicts(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest stored verdicts with their inputs, newest first."""
        entries = await self._run(_NEWEST, _VERDICTS, str(limit), what="verdicts")
        return [
            {"id": entry, **json.loads(fields[1])}
            for entry, fields in entries
            if _stored(fields) is not None
        ]

    async def _evaluate(self) -> Verdict:
        asked_at = self._monotonic()
        tally = self._tally.to_json()
        own = "" if tally["newest"] is None else json.dumps(tally)
        keys = (_TALLIES, _REPORTED, _WAIVERS, _VERDICTS)
        clock, tallies, reported, waivers, newest = await self._store.run_script(
            _SHARE, keys, (self._member, own, _LIFETIME_MS), "go/no-go"
        )
        now = int(clock[0]) + int(clock[1]) / 1e6
        self._server_offset = now - asked_at
        plan = self._plan()
        last = _stored(newest[0][1]) if newest else None
        measured = _reported(_pairs(reported)) | await self._joined(_pairs(tallies), now)
        verdict = decide(
            measured,
            [w for text in _pairs(waivers).values() if (w := _waiver(text)) is not None],
            now,
            previous=None if last is None else last.verdict,
            dwell_seconds=plan.go_dwell_seconds,
            rows=plan.rows,
        )
        if last is None or _differs(last, verdict) or now - last.verdict.at >= STORE_SECONDS:
            body = json.dumps(verdict_to_json(verdict))
            await self._run(_STORE, _VERDICTS, str(VERDICTS_MAX), body, what="a verdict")
        return verdict

    async def _joined(self, tallies: Mapping[str, str], now: float) -> dict[str, Measurement]:
        """Return what all routers measured; a damaged tally is left out, one too far let go."""
        good = []
        for member, text in tallies.items():
            try:
                tally = json.loads(text)
                measurements([tally], now)
                if abs(now - float(tally["newest"] or 0)) > WINDOW_SECONDS + 3_600:
                    await self._run(_DROP, _TALLIES, member, what="an old tally")
                    continue
            except (ValueError, TypeError, InvalidInput) as error:
                _log.warning("tally_unreadable", member=member, error=str(error)[:200])
                continue
            good.append(tally)
        return measurements(good, now)

    def _alone(self, why: str) -> Verdict:
        plan, now = self._plan(), self._wall_clock()
        verdict = decide(
            measurements([self._tally.to_json()], now),
            (),
            now,
            previous=None,
            dwell_seconds=max(plan.go_dwell_seconds, CLOCK_SKEW_SECONDS),
            rows=plan.rows,
        )
        return Verdict(
            verdict.decision,
            now,
            (f"not shared: {why}", *verdict.reasons),
            verdict.rows,
            (),
            None,
            verdict.dwell_seconds,
        )

    async def _run(self, script: str, key: str, *arguments: str, what: str) -> Any:
        return await self._store.run_script(script, (key,), arguments, what, patient=True)


def _require_row(row: str) -> None:
    if row not in _ROW_NAMES:
        raise InvalidInput(f"row: {row[:80]!r}; allowed: {', '.join(_ROW_NAMES)}")


def _stored(fields: Sequence[str]) -> _Stored | None:
    """Return the last verdict; None where it is damaged, so that the dwell begins anew."""
    try:
        last = json.loads(fields[1], parse_constant=_time)
        since = last["clear_since"]
        return _Stored(
            Verdict(
                *(Decision(last["decision"]), _time(last["at"]), (), (), ()),
                None if since is None else _time(since),
                float(last["dwell_seconds"]),
            ),
            [row["colour"] for row in last["rows"]],
            [waiver["row"] for waiver in last["waivers"]],
        )
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        _log.warning("verdict_unreadable", error=repr(error)[:200])
        return None


def _time(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.80} is no time")
    return float(value)


def _differs(last: _Stored, verdict: Verdict) -> bool:
    return (
        last.verdict.decision is not verdict.decision
        or last.colours != [row.colour.value for row in verdict.rows]
        or last.waived != [waiver.row for waiver in verdict.waivers]
    )


def _reported(texts: Mapping[str, str]) -> dict[str, Measurement]:
    found = {}
    for row, text in texts.items():
        try:
            body = {k: v for k, v in json.loads(text).items() if k != "by"}
            values = tuple(_number(value) for value in body.pop("values", ()))
            whole = {name: int(_number(body.pop(name, 0))) for name in ("n", "part")}
            rest = {name: _number(value) for name, value in body.items()}
            found[row] = Measurement(**rest, **whole, values=values)  # type: ignore[arg-type]
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            _log.warning("reported_measurement_unreadable", row=row, error=str(error)[:200])
    return found


def _number(value: object) -> float:
    """Return a number, which may be none that counts; what it amounts to is the matrix's word."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r:.80} is no number")
    return float(value)


def _waiver(text: str) -> Waiver | None:
    try:
        return Waiver(**json.loads(text))
    except (ValueError, TypeError, InvalidInput) as error:
        _log.warning("waiver_unreadable", error=str(error)[:200])
        return None


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
