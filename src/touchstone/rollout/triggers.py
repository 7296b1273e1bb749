"""The hard triggers of an automatic rollback: the guide's four, a health check, and a breaker.

Each looks at a window of counts, wants a minimum of observations, and asks one question: is the
share of values above the limit larger than tolerated? "p95 above 10 ms" is exactly "more than 5 %
of the values above 10 ms", so nothing is interpolated. The first trigger that trips latches the
board; only a re-arm, which also forgets the windows, opens it again.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from touchstone.rollout.windows import (
    Window,
    WindowSpec,
    merge,
    over,
    quantile_edge,
    totals_of,
)

# Edges on every threshold that a trigger or an alert rule names. The first of the slippage is
# negative: a price better than the mid is a cost below 0.
SLIPPAGE_EDGES_BPS: Final = (
    *(-50.0, -20.0, -10.0, -5.0, -2.0, -1.0, -0.5, 0.0),
    *(0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0),
)
LATENCY_EDGES_SECONDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
EVENT_EDGES: Final = (0.5,)
"""Of what either happened (1) or did not (0)."""


CountsByTrigger: TypeAlias = Mapping[str, Mapping[str, int]]
"""What `TriggerBoard.to_counts` gives: counts by the trigger's name."""


class Measure(StrEnum):
    """What an execution is measured by."""

    ERROR = "error"
    CRITICAL = "critical"
    SLIPPAGE_BPS = "slippage_bps"
    LATENCY_SECONDS = "latency_seconds"
    HEALTH = "health"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Trip where more than `share_max` of at least `minimum` values are above `limit`."""

    name: str
    measure: Measure
    window: WindowSpec
    limit: float
    share_max: float
    minimum: int
    text: str


def _window(edges: tuple[float, ...], seconds: float, slots: int) -> WindowSpec:
    return WindowSpec(edges, seconds / slots, slots)


TRIGGERS: Final = (
    Trigger(
        name="critical_exception",
        measure=Measure.CRITICAL,
        window=_window(EVENT_EDGES, 300, 60),
        limit=0.5,
        share_max=0.0,
        minimum=1,
        text="any critical exception in L3",
    ),
    Trigger(
        name="error_storm",
        measure=Measure.ERROR,
        window=_window(EVENT_EDGES, 1, 20),
        limit=0.5,
        share_max=0.5,
        minimum=20,
        text="more than half of the executions of one second failed",
    ),
    Trigger(
        name="health_check",
        measure=Measure.HEALTH,
        window=_window(EVENT_EDGES, 10, 10),
        limit=0.5,
        share_max=0.5,
        minimum=5,
        text="more than half of the simulator's health checks of 10 seconds failed",
    ),
    Trigger(
        name="error_rate",
        measure=Measure.ERROR,
        window=_window(EVENT_EDGES, 300, 60),
        limit=0.5,
        share_max=0.01,
        minimum=100,
        text="error rate above 1 % over 5 minutes",
    ),
    Trigger(
        name="slippage_p95",
        measure=Measure.SLIPPAGE_BPS,
        window=_window(SLIPPAGE_EDGES_BPS, 600, 60),
        limit=10.0,
        share_max=0.05,
        minimum=100,
        text="slippage p95 above 10 bps over 10 minutes",
    ),
    Trigger(
        name="latency_p95",
        measure=Measure.LATENCY_SECONDS,
        window=_window(LATENCY_EDGES_SECONDS, 300, 60),
        limit=0.01,
        share_max=0.05,
        minimum=100,
        text="latency p95 above 10 ms over 5 minutes",
    ),
)
"""In the order in which they are asked: the most urgent first."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A trigger's window at one moment. `quantile` is an edge, for measures that have quantiles."""

    trigger: Trigger
    samples: int
    over: int
    quantile: float | None

    @property
    def share(self) -> float | None:
        """Return the share of values above the limit; None without values."""
        return self.over / self.samples if self.samples else None

    @property
    def tripped(self) -> bool:
        """Return whether this is enough, and too much."""
        enough = self.samples >= self.trigger.minimum
        return enough and self.over > self.trigger.share_max * self.samples


@dataclass(frozen=True, slots=True)
class Trip:
    """The latched finding: which trigger, when, and what its window held."""

    reading: Reading
    at: float

    @property
    def reason(self) -> str:
        """Return one line for the audit."""
        reading, trigger = self.reading, self.reading.trigger
        return (
            f"{trigger.name}: {trigger.text}: {reading.over} of {reading.samples} above "
            f"{trigger.limit:g}, tolerated {trigger.share_max * 100:g} %"
        )


def read(trigger: Trigger, totals: tuple[int, ...]) -> Reading:
    """Return what a trigger sees in these counts."""
    share = 1 - trigger.share_max
    has_quantiles = trigger.window.edges != EVENT_EDGES
    return Reading(
        trigger,
        sum(totals),
        over(trigger.window, totals, trigger.limit),
        quantile_edge(trigger.window, totals, share) if has_quantiles else None,
    )


class TriggerBoard:
    """Hold the windows of this process, and the latch."""

    def __init__(self, triggers: tuple[Trigger, ...] = TRIGGERS) -> None:
        self._windows = {trigger.name: Window(trigger.window) for trigger in triggers}
        self._by_measure = {
            measure: tuple(t for t in triggers if t.measure is measure) for measure in Measure
        }
        windows = {
            measure: tuple(self._windows[trigger.name] for trigger in found)
            for measure, found in self._by_measure.items()
        }
        self._errors, self._criticals = windows[Measure.ERROR], windows[Measure.CRITICAL]
        self._slippages = windows[Measure.SLIPPAGE_BPS]
        self._latencies = windows[Measure.LATENCY_SECONDS]
        self._triggers = triggers
        self.trip: Trip | None = None

    def observe(
        self,
        at: float,
        *,
        seconds: float,
        slippage_bps: float | None = None,
        error: bool = False,
        critical: bool = False,
    ) -> Trip | None:
        """Count an execution; return the trip where an event has tripped a trigger just now.

        Only what can trip within a second is asked here (errors); `evaluate` asks the rest.

        Args:
            at: seconds since 1970.
            seconds: what the execution took to compute.
            slippage_bps: signed, positive is a cost; None when nothing filled.
            error: whether it failed for a reason of L3's.
            critical: whether that was a defect rather than a refusal.
        """
        for window in self._errors:
            window.observe(float(error or critical), at)
        for window in self._criticals:
            window.observe(float(critical), at)
        for window in self._latencies:
            window.observe(seconds, at)
        if slippage_bps is not None:
            for window in self._slippages:
                window.observe(slippage_bps, at)
        if error or critical:
            asked = (*self._by_measure[Measure.CRITICAL], *self._by_measure[Measure.ERROR])
            return self._ask(asked, at, {})
        return None

    def observe_answers(
        self, at: float, *, seconds: float, slippages_bps: Sequence[float], count: int
    ) -> None:
        """Count `count` executions that went well, as `observe` counts each: none can trip now.

        Args:
            at: seconds since 1970.
            seconds: what each took to compute.
            slippages_bps: signed, of those where something filled.
            count: how many there were, filled or not.
        """
        for window in (*self._errors, *self._criticals):
            window.add(0.0, at, count)
        for window in self._latencies:
            window.add(seconds, at, count)
        for window in self._slippages:
            window.observe_all(slippages_bps, at)

    def observe_health(self, at: float, *, failed: bool) -> None:
        """Count a health check of the candidate; `evaluate` asks what it amounts to."""
        for trigger in self._by_measure[Measure.HEALTH]:
            self._windows[trigger.name].observe(float(failed), at)

    def evaluate(self, now: float, others: Iterable[CountsByTrigger] = ()) -> Trip | None:
        """Ask every trigger, with the counts of other processes added; return a new trip.

        Args:
            now: seconds since 1970.
            others: what `to_counts` gave in each other process.
        """
        return self._ask(self._triggers, now, self._added(others))

    def readings(self, now: float, others: Iterable[CountsByTrigger] = ()) -> tuple[Reading, ...]:
        """Return what each trigger sees in this process, and in `others` where they are given."""
        added = self._added(others)
        return tuple(self._read(trigger, now, added) for trigger in self._triggers)

    def to_counts(self) -> dict[str, dict[str, int]]:
        """Return the windows as counts by trigger, to be added to those of other processes."""
        return {name: window.to_counts() for name, window in self._windows.items()}

    def rearm(self) -> None:
        """Open the latch, and forget what led to it."""
        self.trip = None
        for window in self._windows.values():
            window.clear()

    def _added(self, others: Iterable[CountsByTrigger]) -> CountsByTrigger:
        others = tuple(others)
        if len(others) == 1:
            return others[0]
        return {t.name: merge(part.get(t.name, {}) for part in others) for t in self._triggers}

    def _ask(
        self, triggers: tuple[Trigger, ...], now: float, added: CountsByTrigger
    ) -> Trip | None:
        if self.trip is not None:
            return None
        for trigger in triggers:
            reading = self._read(trigger, now, added)
            if reading.tripped:
                self.trip = Trip(reading, now)
                return self.trip
        return None

    def _read(self, trigger: Trigger, now: float, added: CountsByTrigger) -> Reading:
        totals = self._windows[trigger.name].totals(now)
        if counts := added.get(trigger.name):
            more = totals_of(trigger.window, counts, now)
            totals = tuple(a + b for a, b in zip(totals, more, strict=True))
        return read(trigger, totals)


def triggers_markdown(triggers: tuple[Trigger, ...] = TRIGGERS) -> str:
    """Return the triggers for the documentation."""
    lines = [
        "| Trigger | Trips on | Window | At least | Tolerated |",
        "|---|---|---|---|---|",
    ]
    for trigger in triggers:
        tolerated = f"{trigger.share_max * 100:g} %" if trigger.share_max else "none"
        if trigger.window.edges != EVENT_EDGES:
            tolerated += f" of the values above {trigger.limit:g}"
        lines.append(
            f"| `{trigger.name}` | {trigger.text} | {trigger.window.window_seconds:g} s "
            f"| {trigger.minimum} | {tolerated} |"
        )
    return "\n".join(lines)


def reading_to_json(reading: Reading) -> dict[str, object]:
    """Return a reading as JSON values; an infinite quantile is the text `inf`."""
    quantile = reading.quantile
    return {
        "trigger": reading.trigger.name,
        "text": reading.trigger.text,
        "window_seconds": reading.trigger.window.window_seconds,
        "limit": reading.trigger.limit,
        "share_max": reading.trigger.share_max,
        "minimum": reading.trigger.minimum,
        "samples": reading.samples,
        "over": reading.over,
        "share": reading.share,
        "quantile_at_most": "inf" if quantile is not None and math.isinf(quantile) else quantile,
        "tripped": reading.tripped,
    }
