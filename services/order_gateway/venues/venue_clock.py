"""The venue's time: what its clock says now, read off the times it puts on what it sends.

Funding, expiries, trading days and volume windows are the venue's, and a paper exchange's clock may
run faster than ours. Between two signs its speed is taken to be what it was between the last ones.
What is on its way is late, so that this clock is behind by a message's travel, never ahead by more
than a change of speed makes it.
"""

import time
from collections.abc import Callable
from typing import Final

SAMPLE_SECONDS: Final = 0.5
"""Signs closer together say less about the speed than about the network."""
STEP_BACK_NS: Final = 10_000_000_000
"""Beyond this a clock that is behind ours was set back; within it, our estimate was ahead."""
SPEED_MAX: Final = 2_000.0
_USUAL_SPEED: Final = 1.0
_USUAL_WITHIN: Final = 0.05


class VenueClock:
    """Estimate the venue's time between the moments when it tells it.

    `monotonic` gives local seconds.

    >>> seconds = iter([0.0, 1.0, 1.5])
    >>> clock = VenueClock(lambda: next(seconds))
    >>> clock.observe(0); clock.observe(10_000_000_000)
    >>> clock.now_ns()
    15000000000
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._told: tuple[int, float] | None = None
        self._sample = (0, 0.0)
        self._speed = _USUAL_SPEED
        self._shown_ns = 0

    def observe(self, venue_ns: int) -> None:
        """Take a time that the venue has just told: nanoseconds since 1970."""
        now = self._monotonic()
        if self._told is None or self._told[0] - venue_ns > STEP_BACK_NS:
            self._speed, self._shown_ns = _USUAL_SPEED, 0
            self._told = self._sample = (venue_ns, now)
            return
        if venue_ns < self._told[0]:
            return
        self._told = (venue_ns, now)
        sample_ns, sample_at = self._sample
        seconds = now - sample_at
        if seconds >= SAMPLE_SECONDS:
            speed = min((venue_ns - sample_ns) / 1e9 / seconds, SPEED_MAX)
            usual = abs(speed - _USUAL_SPEED) < _USUAL_WITHIN
            self._speed = _USUAL_SPEED if usual else speed
            self._sample = self._told

    def now_ns(self) -> int | None:
        """Return the venue's time in nanoseconds since 1970; None before it told any.

        It never goes back, unless the venue's clock was set back.
        """
        if self._told is None:
            return None
        told_ns, told_at = self._told
        estimate = told_ns + int((self._monotonic() - told_at) * self._speed * 1e9)
        self._shown_ns = max(self._shown_ns, estimate)
        return self._shown_ns
