"""The go/no-go matrix: rows with bands, decided on confidence intervals, never on a lack of data.

A row is GREEN or RED only where its whole interval is; the bounds of the bands themselves belong to
YELLOW. UNKNOWN (no data, stale, too few, no number) is worse than yellow: it cannot be waived.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from lob.errors import InvalidInput
from touchstone.rollout.intervals import (
    Interval,
    exact,
    mean_interval,
    quantile_interval,
    wilson,
)

DWELL_SECONDS: Final = 86_400.0
"""The plan's 24 hours of stable operation."""
GAP_SECONDS_MAX: Final = 3_600.0
"""Two verdicts further apart do not belong to one dwell: nobody looked in between."""
CLOCK_SKEW_SECONDS: Final = 5.0
_VARIANCE_NEEDS: Final = 2


class Colour(StrEnum):
    """A row's verdict."""

    GREEN = "GREEN"
    YELLOW = "YELLOW"
    RED = "RED"
    UNKNOWN = "UNKNOWN"


class Decision(StrEnum):
    """The matrix's verdict."""

    GO = "GO"
    HOLD = "HOLD"
    NO_GO = "NO-GO"


class Direction(StrEnum):
    """Which way is good."""

    HIGHER = "higher is better"
    LOWER = "lower is better"


class Aggregation(StrEnum):
    """How a row's figure and interval come about."""

    SHARE = "share, Wilson interval"
    MEAN = "mean, normal interval"
    P95 = "p95, interval between order statistics"
    WORST = "worst of all checks, known whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the matrix; `green` and `red` are in `unit`, and belong to yellow themselves."""

    name: str
    numerator: str
    denominator: str
    window_seconds: float
    aggregation: Aggregation
    minimum: int
    direction: Direction
    green: float
    red: float
    unit: str
    stale_seconds: float = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was measured for a row.

    Attributes:
        measured_at: the newest time in it, in seconds since 1970.
        n: the denominator of a share; how many values otherwise.
        part: the numerator of a share.
        total: the sum of the values, for a mean.
        squares: the sum of their squares, for a mean.
        values: the values themselves, in any order, for a p95 and for the worst.
    """

    measured_at: float
    n: int
    part: int = 0
    total: float = 0.0
    squares: float = 0.0
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """A row's colour, with everything it was decided from."""

    row: Row
    colour: Colour
    interval: Interval | None
    reason: str
    measurement: Measurement | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A named person's acceptance of one yellow row until a time."""

    row: str
    by: str
    reason: str
    expires_at: float

    def __post_init__(self) -> None:
        for name in ("row", "by", "reason"):
            if not getattr(self, name).strip():
                raise InvalidInput(f"{name}: blank; allowed: a text")
        if not math.isfinite(self.expires_at):
            raise InvalidInput(f"expires_at: {self.expires_at!r}; allowed: seconds since 1970")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The matrix at one moment, with its inputs; the next decision is made from this one."""

    decision: Decision
    at: float
    reasons: tuple[str, ...]
    rows: tuple[RowVerdict, ...]
    waivers: tuple[Waiver, ...]
    clear_since: float | None
    dwell_seconds: float


_DAY: Final = 86_400.0

ROWS: Final = (
    Row(
        name="order_success_rate",
        numerator="orders filled",
        denominator="orders in a terminal state, without those we cancelled",
        window_seconds=_DAY,
        aggregation=Aggregation.SHARE,
        minimum=100,
        direction=Direction.HIGHER,
        green=0.95,
        red=0.90,
        unit="share",
    ),
    Row(
        name="post_only_rejects",
        numerator="post-only orders rejected because they would cross",
        denominator="post-only orders",
        window_seconds=_DAY,
        aggregation=Aggregation.SHARE,
        minimum=100,
        direction=Direction.LOWER,
        green=0.05,
        red=0.10,
        unit="share",
    ),
    Row(
        name="slippage",
        numerator="sum of signed slippage, positive is a cost",
        denominator="orders filled, in whole or in part",
        window_seconds=_DAY,
        aggregation=Aggregation.MEAN,
        minimum=100,
        direction=Direction.LOWER,
        green=5.0,
        red=10.0,
        unit="bps",
    ),
    Row(
        name="system_latency",
        numerator="time from an order's arrival to the venue's answer",
        denominator="orders sent",
        window_seconds=_DAY,
        aggregation=Aggregation.P95,
        minimum=100,
        direction=Direction.LOWER,
        green=100.0,
        red=500.0,
        unit="ms",
    ),
    Row(
        name="error_rate",
        numerator="orders that failed for a reason of ours or the venue's, without rejects",
        denominator="orders sent",
        window_seconds=_DAY,
        aggregation=Aggregation.SHARE,
        minimum=1_000,
        direction=Direction.LOWER,
        green=0.001,
        red=0.01,
        unit="share",
    ),
    Row(
        name="pnl_drift",
        numerator="absolute difference of our net PnL from the venue's",
        denominator="the venue's own PnL, or 1 % of its equity where that is larger",
        window_seconds=_DAY,
        aggregation=Aggregation.WORST,
        minimum=24,
        direction=Direction.LOWER,
        green=0.001,
        red=0.005,
        unit="share",
    ),
)
"""The plan's matrix."""


def judge_row(row: Row, measured: Measurement | None, now: float) -> RowVerdict:
    """Return the colour of a row: by the whole interval, UNKNOWN where there is none."""
    if measured is None:
        return RowVerdict(row, Colour.UNKNOWN, None, "no data", None)
    why = next(_faults(row, measured, now), None)
    if why is not None:
        return RowVerdict(row, Colour.UNKNOWN, None, why, measured)
    interval = _INTERVALS[row.aggregation](measured)
    colour = _colour(row, interval)
    text = f"{interval.low:.6g} to {interval.high:.6g} {row.unit}"
    return RowVerdict(row, colour, interval, text, measured)


def decide(
    measurements: Mapping[str, Measurement],
    waivers: Sequence[Waiver],
    now: float,
    *,
    previous: Verdict | None,
    dwell_seconds: float = DWELL_SECONDS,
    rows: Sequence[Row] = ROWS,
) -> Verdict:
    """Return GO, HOLD or NO-GO, with what it rests on.

    Any RED is NO-GO. Any UNKNOWN, and any YELLOW that nobody waives, is HOLD. What is then clear
    has to stay clear for the dwell time.

    Args:
        measurements: by the row's name.
        waivers: one of them holds from its making to its expiry, for a yellow row only.
        now: seconds since 1970.
        previous: the last verdict; None at first, and where it is lost.
        dwell_seconds: how long everything has to be clear.
        rows: the matrix.
    """
    verdicts = tuple(judge_row(row, measurements.get(row.name), now) for row in rows)
    used = tuple(waiver for waiver in waivers if now < waiver.expires_at)
    waived = {waiver.row for waiver in used}
    red = [v for v in verdicts if v.colour is Colour.RED]
    held = [
        v
        for v in verdicts
        if v.colour is Colour.UNKNOWN or (v.colour is Colour.YELLOW and v.row.name not in waived)
    ]
    reasons = tuple(f"{v.row.name}: {v.colour}: {v.reason}" for v in (red or held))
    since = None if reasons or not rows else _clear_since(previous, now)
    if red:
        decision = Decision.NO_GO
    elif since is None:
        decision, reasons = Decision.HOLD, reasons or ("the matrix has no rows",)
    elif now - since < dwell_seconds:
        decision = Decision.HOLD
        reasons = (f"clear for {now - since:.0f} s of {dwell_seconds:.0f} s",)
    else:
        decision = Decision.GO
    return Verdict(decision, now, reasons, verdicts, used, since, dwell_seconds)


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as JSON values, with everything it was made from."""
    return {
        "decision": verdict.decision.value,
        "at": verdict.at,
        "reasons": list(verdict.reasons),
        "rows": [
            {
                **asdict(row.row),
                "colour": row.colour.value,
                "reason": row.reason,
                "interval": None
                if row.interval is None
                else {"low": row.interval.low, "high": row.interval.high},
                "measurement": None if row.measurement is None else asdict(row.measurement),
            }
            for row in verdict.rows
        ],
        "waivers": [asdict(waiver) for waiver in verdict.waivers],
        "clear_since": verdict.clear_since,
        "dwell_seconds": verdict.dwell_seconds,
    }


def matrix_markdown(rows: Sequence[Row] = ROWS) -> str:
    """Return the matrix for the documentation."""
    lines = [
        "| Row | Of | Out of | Window | How | At least | Green | Red |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        good, bad = (">", "<") if row.direction is Direction.HIGHER else ("<", ">")
        hours = row.window_seconds / 3_600
        lines.append(
            f"| `{row.name}` | {row.numerator} | {row.denominator} | {hours:g} h"
            f" | {row.aggregation} | {row.minimum:,} | {good} {_band(row, row.green)}"
            f" | {bad} {_band(row, row.red)} |"
        )
    return "\n".join(lines)


def _clear_since(previous: Verdict | None, now: float) -> float:
    if previous is None or previous.clear_since is None:
        return now
    return previous.clear_since if 0 <= now - previous.at <= GAP_SECONDS_MAX else now


def _band(row: Row, value: float) -> str:
    return f"{value * 100:g} %" if row.unit == "share" else f"{value:g} {row.unit}"


def _colour(row: Row, interval: Interval) -> Colour:
    worst, best = interval.low, interval.high
    sign = 1.0
    if row.direction is Direction.LOWER:
        worst, best, sign = interval.high, interval.low, -1.0
    if sign * worst > sign * row.green:
        return Colour.GREEN
    if sign * best < sign * row.red:
        return Colour.RED
    return Colour.YELLOW


def _faults(row: Row, measured: Measurement, now: float) -> Iterator[str]:
    """Yield why a measurement says nothing; the first reason is enough."""
    age = now - measured.measured_at
    if not -CLOCK_SKEW_SECONDS <= age <= row.stale_seconds:
        yield f"stale: measured {age:.0f} s ago; allowed: {row.stale_seconds:.0f} s"
    least = max(row.minimum, _VARIANCE_NEEDS if row.aggregation is Aggregation.MEAN else 1)
    if measured.n < least:
        yield f"{measured.n} observations; at least {least} are needed"
    if row.aggregation is Aggregation.SHARE and not 0 <= measured.part <= measured.n:
        yield f"numerator {measured.part} of {measured.n}"
    if row.aggregation in {Aggregation.P95, Aggregation.WORST}:
        if len(measured.values) != measured.n:
            yield f"{len(measured.values)} values of {measured.n}"
        if not all(math.isfinite(value) for value in measured.values):
            yield "a value is no finite number"
    if not (math.isfinite(measured.total) and math.isfinite(measured.squares)):
        yield "a sum is no finite number"


_INTERVALS: Final[Mapping[Aggregation, Callable[[Measurement], Interval]]] = {
    Aggregation.SHARE: lambda measured: wilson(measured.part, measured.n),
    Aggregation.MEAN: lambda measured: mean_interval(measured.n, measured.total, measured.squares),
    Aggregation.P95: lambda measured: quantile_interval(sorted(measured.values), 0.95),
    Aggregation.WORST: lambda measured: exact(max(measured.values)),
}
