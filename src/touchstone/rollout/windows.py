"""Sliding windows as counts in fixed buckets: to be summed over processes by adding integers.

A window is a row of slots on the wall clock, the same in every process, and a slot counts
observations by bucket. `to_counts` names each count `slot:bucket`, so that two processes' windows
are merged by adding what has the same name, in Redis as here.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from lob.errors import InvalidInput

SLOTS_MAX: Final = 10_000
BUCKETS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """The shape of a window.

    Bucket `i` counts values above `edges[i - 1]` and at most `edges[i]`; the last one those above
    all edges, and what is no number. The window covers the present slot, so far, and the
    `slots - 1` before it.
    """

    edges: tuple[float, ...]
    slot_seconds: float
    slots: int

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in pairwise(self.edges))
        if not 1 <= len(self.edges) < BUCKETS_MAX or not rising:
            raise InvalidInput(f"edges: {self.edges!r}; allowed: 1..{BUCKETS_MAX - 1}, rising")
        if not math.isfinite(self.slot_seconds) or self.slot_seconds <= 0:
            raise InvalidInput(f"slot_seconds: {self.slot_seconds!r}; allowed: above 0")
        if not 1 <= self.slots <= SLOTS_MAX:
            raise InvalidInput(f"slots: {self.slots!r}; allowed: 1..{SLOTS_MAX}")

    @property
    def buckets(self) -> int:
        """Return how many buckets a slot has."""
        return len(self.edges) + 1

    @property
    def window_seconds(self) -> float:
        """Return how far the window reaches back at most."""
        return self.slots * self.slot_seconds

    def slot(self, at: float) -> int:
        """Return the slot of a time in seconds since 1970."""
        return math.floor(at / self.slot_seconds)

    def bucket(self, value: float) -> int:
        """Return the bucket of a value; what is no number counts as over every edge."""
        return len(self.edges) if math.isnan(value) else bisect_left(self.edges, value)


class Window:
    """Count observations; holds at most `slots` slots. `observe` is O(log edges)."""

    def __init__(self, spec: WindowSpec) -> None:
        self.spec = spec
        self._slots: dict[int, list[int]] = {}
        self._newest = -(2**62)

    def observe(self, value: float, at: float) -> None:
        """Count a value at a time.

        A time before the window means that the clock was set back: the window begins anew there,
        because dropping would leave it blind until the clock has caught up.
        """
        spec = self.spec
        slot = math.floor(at / spec.slot_seconds)
        counts = self._slots.get(slot) if slot == self._newest else None
        if counts is None:
            counts = self._counts(slot)
        counts[spec.bucket(value)] += 1

    def observe_all(self, values: Iterable[float], at: float) -> None:
        """Count values of one time."""
        counts, bucket = self._counts(math.floor(at / self.spec.slot_seconds)), self.spec.bucket
        for value in values:
            counts[bucket(value)] += 1

    def add(self, value: float, at: float, count: int) -> None:
        """Count a value at a time, so many times over."""
        self._counts(math.floor(at / self.spec.slot_seconds))[self.spec.bucket(value)] += count

    def _counts(self, slot: int) -> list[int]:
        """Return the counts of a slot that is not the newest one, or not there yet."""
        if slot <= self._newest - self.spec.slots:
            self._slots.clear()
            self._newest = slot
        if slot > self._newest:
            self._newest = slot
            for old in [s for s in self._slots if s <= slot - self.spec.slots]:
                del self._slots[old]
        return self._slots.setdefault(slot, [0] * self.spec.buckets)

    def totals(self, now: float) -> tuple[int, ...]:
        """Return the counts by bucket over the window that ends at `now`."""
        present = self.spec.slot(now)
        sums = [0] * self.spec.buckets
        for slot, counts in self._slots.items():
            if present - self.spec.slots < slot <= present:
                for bucket, count in enumerate(counts):
                    sums[bucket] += count
        return tuple(sums)

    def to_counts(self) -> dict[str, int]:
        """Return every count that is not 0 under `slot:bucket`."""
        return {
            f"{slot}:{bucket}": count
            for slot, counts in self._slots.items()
            for bucket, count in enumerate(counts)
            if count
        }

    def clear(self) -> None:
        """Forget everything."""
        self._slots.clear()


def merge(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the counts of several processes together: equal names are added."""
    merged: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            merged[name] = merged.get(name, 0) + count
    return merged


def totals_of(spec: WindowSpec, counts: Mapping[str, int], now: float) -> tuple[int, ...]:
    """Return merged counts by bucket over the window that ends at `now`.

    Raises:
        InvalidInput: a name is not `slot:bucket` of this window, or a count is negative.
    """
    present = spec.slot(now)
    sums = [0] * spec.buckets
    for name, count in counts.items():
        slot, _, bucket = name.partition(":")
        try:
            place, index = int(slot), int(bucket)
        except ValueError:
            place, index = 0, -1
        if not 0 <= index < spec.buckets or count < 0:
            raise InvalidInput(
                f"counts: {name!r}: {count!r}; allowed: slot:bucket with a bucket of "
                f"0..{spec.buckets - 1}, and 0 or more"
            )
        if present - spec.slots < place <= present:
            sums[index] += count
    return tuple(sums)


def over(spec: WindowSpec, totals: tuple[int, ...], limit: float) -> int:
    """Return how many values were above `limit`, exactly.

    Raises:
        InvalidInput: the limit is no edge of the window, so that nobody can know.
    """
    if limit not in spec.edges:
        raise InvalidInput(f"limit: {limit!r}; allowed: an edge of {spec.edges}")
    return sum(totals[spec.edges.index(limit) + 1 :])


def quantile_edge(spec: WindowSpec, totals: tuple[int, ...], share: float) -> float | None:
    """Return the lowest edge that `share` of the values do not exceed; None without values.

    Infinity where no edge is high enough.
    """
    wanted = sum(totals)
    if wanted == 0:
        return None
    below = 0
    for edge, count in zip(spec.edges, totals, strict=False):
        below += count
        if below >= share * wanted:
            return edge
    return math.inf
