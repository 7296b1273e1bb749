"""What the candidate did in the last day, small enough to share and to store with a verdict.

Counts by the hour, and a sample of latencies: each execution draws a number, and those with the
smallest are kept, so that the samples of several processes and hours join into one that is uniform
over all of them (bottom-k sampling; Cohen and Kaplan, PODC 2007). Nothing here grows with the
traffic.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lob.errors import InvalidInput
from touchstone.rollout.go_no_go import CLOCK_SKEW_SECONDS, Measurement

WINDOW_SECONDS: Final = 86_400.0
SLOT_SECONDS: Final = 3_600.0
SAMPLE_MAX: Final = 500
COUNT_MAX: Final = 2**53
_FIELDS: Final = ("orders", "filled", "errors", "priced", "slippage", "slippage_squares")
_SLOTS: Final = round(WINDOW_SECONDS / SLOT_SECONDS)


@dataclass(slots=True)
class _Slot:
    orders: int = 0
    filled: int = 0
    errors: int = 0
    priced: int = 0
    slippage: float = 0.0
    slippage_squares: float = 0.0
    # A heap whose first entry has the largest draw: (-draw, seconds).
    sample: list[tuple[float, float]] = field(default_factory=list)


class ExecutionTally:
    """Count the executions of the candidate in this process, over a day. O(log k) each."""

    def __init__(self, draw: Callable[[], float]) -> None:
        """Begin with nothing; `draw` gives numbers evenly spread over 0..1."""
        self._draw = draw
        self._slots: dict[int, _Slot] = {}
        self._newest: float | None = None

    def observe(
        self,
        at: float,
        *,
        seconds: float,
        filled: bool,
        slippage_bps: float | None,
        error: bool,
    ) -> None:
        """Count one execution.

        Args:
            at: seconds since 1970.
            seconds: from the order's arrival to the candidate's answer.
            filled: whether all of it was filled.
            slippage_bps: signed, positive is a cost; None where nothing filled.
            error: whether it failed for a reason of the candidate's.
        """
        number = math.floor(at / SLOT_SECONDS)
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = _Slot()
            for old in sorted(self._slots)[: -_SLOTS - 1]:
                del self._slots[old]
        self._newest = at
        slot.orders += 1
        slot.filled += filled
        slot.errors += error
        if slippage_bps is not None and math.isfinite(slippage_bps):
            slot.priced += 1
            slot.slippage += slippage_bps
            slot.slippage_squares += slippage_bps * slippage_bps
        entry = (-self._draw(), seconds)
        if len(slot.sample) < SAMPLE_MAX:
            heapq.heappush(slot.sample, entry)
        else:
            heapq.heappushpop(slot.sample, entry)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values, for `measurements`."""
        kept = heapq.nlargest(
            SAMPLE_MAX,
            ((key, number, s) for number, slot in self._slots.items() for key, s in slot.sample),
        )
        return {
            "newest": self._newest,
            "slots": {
                str(number): [getattr(slot, name) for name in _FIELDS]
                for number, slot in self._slots.items()
            },
            "sample": [[number, round(-key, 9), round(s, 6)] for key, number, s in kept],
        }


def measurements(tallies: Iterable[Mapping[str, Any]], now: float) -> dict[str, Measurement]:
    """Return the rows that executions tell of, over the day before `now`, of several processes.

    Those are `order_success_rate`, `slippage`, `system_latency` (of a uniform sample) and
    `error_rate`; none where there was no execution. What a clock that is ahead dates after `now`
    does not count, and makes nothing fresh.

    Raises:
        InvalidInput: a tally is not what `ExecutionTally.to_json` gives.
    """
    oldest = math.floor((now - WINDOW_SECONDS) / SLOT_SECONDS) + 1
    latest = now + CLOCK_SKEW_SECONDS
    slots = range(oldest, math.floor(latest / SLOT_SECONDS) + 1)
    sums = [0.0] * len(_FIELDS)
    sample: list[tuple[float, float]] = []
    newest = -math.inf
    for tally in tallies:
        try:
            for number, values in tally["slots"].items():
                counts = _checked(values)
                if int(number) in slots:
                    for i, value in enumerate(counts):
                        sums[i] += value
            sample += [(float(key), float(s)) for n, key, s in tally["sample"] if int(n) in slots]
            if tally["newest"] is not None and float(tally["newest"]) <= latest:
                newest = max(newest, float(tally["newest"]))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidInput(f"tally: {error!r}; allowed: what a router has shared") from None
    orders, filled, errors, priced = (int(value) for value in sums[:4])
    if not orders or not math.isfinite(newest):
        return {}
    seconds = [s for _, s in heapq.nsmallest(SAMPLE_MAX, sample)]
    return {
        "order_success_rate": Measurement(measured_at=newest, n=orders, part=filled),
        "slippage": Measurement(measured_at=newest, n=priced, total=sums[4], squares=sums[5]),
        "system_latency": Measurement(
            measured_at=newest, n=len(seconds), values=tuple(s * 1000 for s in seconds)
        ),
        "error_rate": Measurement(measured_at=newest, n=orders, part=errors),
    }


def _checked(values: Any) -> list[float]:
    found = [float(value) for value in values]
    if len(found) != len(_FIELDS) or not all(math.isfinite(v) for v in found):
        raise ValueError(f"{values!r:.80}")
    if not all(0 <= value <= COUNT_MAX for value in found[:4]):
        raise ValueError(f"{values!r:.80}")
    return found
