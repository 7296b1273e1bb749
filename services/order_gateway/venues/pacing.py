"""How fast we ask: as the venue's rate-limit headers say, and what matters most first.

The venue counts with a bucket: `x-ratelimit-limit` requests at most, `-remaining` now, full again
in `-reset` seconds. We keep our own, a little below it, and leave the last of it to what must not
wait: a query goes while much is left, an entry while some is, a cancel always.
"""

import asyncio
import heapq
import itertools
from collections.abc import Mapping
from random import Random
from typing import Final

from services.order_gateway.metrics_safety import PaceMetrics
from services.order_gateway.venues.base import Priority

USUAL_RATE: Final = 30.0
"""Requests a second where the venue does not say: what Coinbase's clients have long used."""
RESERVED: Final = {
    Priority.CANCEL: 0.0,
    Priority.REDUCE: 0.05,
    Priority.ENTRY: 0.15,
    Priority.QUERY: 0.3,
}
"""The part of the bucket that a request must leave untouched."""
BACKOFF_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 5.0)
RETRY_AFTER_SECONDS_MAX: Final = 30.0
HTTP_TOO_MANY_REQUESTS: Final = 429
_RATE_MIN: Final = 0.1
_RANK: Final = {priority: rank for rank, priority in enumerate(Priority)}


class Pacer:
    """Let requests go when it is their turn. One event loop uses it; times are the loop's.

    Args:
        metrics: what is told about limits and waits.
        random: for the jitter of pauses.
    """

    def __init__(self, metrics: PaceMetrics, random: Random | None = None) -> None:
        self._metrics = metrics
        self._random = random or Random()  # noqa: S311 - jitter
        self._capacity = self._tokens = self._rate = USUAL_RATE
        self._told = False
        self._at: float | None = None
        self._under_way = 0
        self._blocked_until = 0.0
        self._refusals = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self, priority: Priority, deadline: float) -> bool:
        """Wait until a request may go; False where that is not before `deadline`.

        Whoever was let go says what came of it: `answered`, or `unanswered`.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting and self._seconds_until(priority, loop.time()) <= 0:
            self._take()
            self._metrics.observe_wait(priority.value, 0.0)
            return True
        return await self._wait(priority, deadline, loop)

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Learn from an answer to a request that was let go."""
        now = asyncio.get_running_loop().time()
        self._under_way -= 1
        quota = _quota(headers)
        if quota is not None:
            self._learn(*quota, now)
        if status == HTTP_TOO_MANY_REQUESTS:
            self._metrics.limited.inc()
            if now >= self._blocked_until:
                self._blocked_until = now + self._pause(headers)
                self._refusals += 1
        elif now >= self._blocked_until:
            self._refusals = 0
        if self._waiting:
            self._let_go(now)

    def unanswered(self, *, sent: bool) -> None:
        """Count a request that ended without an answer; one that was not sent costs nothing."""
        self._under_way -= 1
        if not sent:
            self._tokens = min(self._capacity, self._tokens + 1)
        if self._waiting:
            self._let_go(asyncio.get_running_loop().time())

    async def _wait(
        self, priority: Priority, deadline: float, loop: asyncio.AbstractEventLoop
    ) -> bool:
        began = loop.time()
        turn: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._waiting, (_RANK[priority], next(self._numbers), turn))
        self._let_go(began)
        try:
            async with asyncio.timeout_at(deadline):
                await turn
        except TimeoutError:
            return turn.done() and not turn.cancelled()
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.unanswered(sent=False)
            raise
        finally:
            self._metrics.observe_wait(priority.value, loop.time() - began)
        return True

    def _let_go(self, now: float) -> None:
        """Let go whose turn it is, the most urgent first, and come back for the next one."""
        while self._waiting:
            rank, _, turn = self._waiting[0]
            if turn.done():
                heapq.heappop(self._waiting)
                continue
            seconds = self._seconds_until(tuple(Priority)[rank], now)
            if seconds > 0:
                self._call_again(seconds)
                return
            heapq.heappop(self._waiting)
            self._take()
            turn.set_result(None)

    def _call_again(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(seconds, lambda: self._let_go(loop.time()))

    def _seconds_until(self, priority: Priority, now: float) -> float:
        """Return how long a request of this kind has to wait; not above 0 where it may go."""
        if self._at is not None:
            grown = self._tokens + (now - self._at) * self._rate
            self._tokens = min(self._capacity, grown)
        self._at = now
        needed = min(1 + self._capacity * RESERVED[priority], self._capacity)
        return max((needed - self._tokens) / self._rate, self._blocked_until - now)

    def _take(self) -> None:
        self._tokens -= 1
        self._under_way += 1

    def _learn(self, limit: float, remaining: float, reset_seconds: float, now: float) -> None:
        """Take the venue's figures; what is still under way it may not have counted yet."""
        self._capacity = limit
        self._tokens = remaining - self._under_way
        self._at = now
        if remaining < limit and reset_seconds > 0:
            # The venue rounds the time up, so that this is below the truth.
            self._rate = max((limit - remaining) / reset_seconds, _RATE_MIN)
        elif not self._told:
            self._rate = min(self._rate, limit)
        self._told = True
        self._metrics.limit.set(limit)
        self._metrics.remaining.set(remaining)

    def _pause(self, headers: Mapping[str, str]) -> float:
        asked = headers.get("retry-after", "")
        usual = BACKOFF_SECONDS[min(self._refusals, len(BACKOFF_SECONDS) - 1)]
        if asked.isdecimal():
            usual = max(usual, min(float(asked), RETRY_AFTER_SECONDS_MAX))
        # Clients that were turned away together should not come back together.
        return usual * (1 + self._random.random() / 2)


def _quota(headers: Mapping[str, str]) -> tuple[float, float, float] | None:
    """Return limit, remaining and reset seconds; None where the answer does not say all three."""
    try:
        limit = float(headers["x-ratelimit-limit"])
        remaining = float(headers["x-ratelimit-remaining"])
        reset = float(headers["x-ratelimit-reset"])
    except (KeyError, ValueError):
        return None
    sensible = limit >= 1 and 0 <= remaining <= limit and 0 <= reset < float("inf")
    return (limit, remaining, reset) if sensible else None
