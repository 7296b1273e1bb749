"""Token buckets, one per key or address, and the response headers that tell their state."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

RATE_MAX: Final = 1_000_000.0
"""Requests a second; beyond any real rate, and below infinity, which no bucket can count."""
_BUCKETS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Quota:
    """What a caller may still do: requests at once, left now, seconds until the bucket is full."""

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers, in lower case because Coinbase's SDK looks them up that way."""
        return [
            (b"x-ratelimit-limit", str(self.limit).encode()),
            (b"x-ratelimit-remaining", str(self.remaining).encode()),
            (b"x-ratelimit-reset", str(self.reset_seconds).encode()),
        ]


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class RateLimiter:
    """Let `per_second` requests through for each name, and bursts of `burst_seconds` of them.

    `monotonic` gives seconds. The least recently seen of more than 10,000 names is forgotten.
    """

    def __init__(
        self, per_second: float, monotonic: Callable[[], float], burst_seconds: float = 1.0
    ) -> None:
        self.per_second = per_second
        self._burst_seconds = burst_seconds
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, name: str, per_second: float | None = None) -> Quota:
        """Take one token and say what is left; `per_second` is a name's own rate. O(1)."""
        rate = self.per_second if per_second is None else per_second
        capacity = max(1.0, rate * self._burst_seconds)
        now = self._monotonic()
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(capacity, now)
            if len(self._buckets) > _BUCKETS_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)
        bucket.tokens = min(capacity, bucket.tokens + (now - bucket.filled_at) * rate)
        bucket.filled_at = now
        allowed = bucket.tokens >= 1
        if allowed:
            bucket.tokens -= 1
        return Quota(
            allowed=allowed,
            limit=int(capacity),
            remaining=int(bucket.tokens),
            reset_seconds=math.ceil((capacity - bucket.tokens) / rate),
        )
