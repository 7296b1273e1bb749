"""The exchange's clock: real time times a speed, never back, and never far ahead of the engine."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

SPEED_WINDOW_NS: Final = 5_000_000_000
_SAMPLE_NS: Final = 100_000_000


class ExchangeClock:
    """Turn real time into exchange time, `speed` times as fast; it never goes back.

    It starts at the wall clock's time, or at `earliest_ns` where that is later (an exchange whose
    time ran fast goes on from where it was), and then follows a monotonic clock.
    """

    def __init__(
        self,
        speed: float,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
        earliest_ns: int = 0,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._anchor_real_ns = monotonic_ns()
        self._anchor_ns = max(wall_ns(), earliest_ns)
        self.speed = speed

    def now_ns(self) -> int:
        """Return the exchange's time in nanoseconds since the epoch."""
        elapsed = self._monotonic_ns() - self._anchor_real_ns
        return self._anchor_ns + round(elapsed * self.speed)

    def set_speed(self, speed: float) -> None:
        """Go on from now at another speed."""
        self.set_back(self.now_ns())
        self.speed = speed

    def set_back(self, reached_ns: int) -> None:
        """Go on from what was reached: an engine that cannot keep up is not waited for."""
        self._anchor_ns = min(reached_ns, self.now_ns())
        self._anchor_real_ns = self._monotonic_ns()


class SpeedGauge:
    """Measure how fast exchange time passes, over the last five seconds or less."""

    def __init__(self, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._monotonic_ns = monotonic_ns
        self._samples: deque[tuple[int, int]] = deque()

    def note(self, exchange_ns: int) -> None:
        """Note the exchange's time now."""
        samples, real_ns = self._samples, self._monotonic_ns()
        if samples and real_ns - samples[-1][0] < _SAMPLE_NS:
            return
        samples.append((real_ns, exchange_ns))
        while real_ns - samples[0][0] > SPEED_WINDOW_NS:
            samples.popleft()

    def forget(self) -> None:
        """Begin anew: another speed was asked for."""
        self._samples.clear()

    def speed(self) -> float | None:
        """Return exchange seconds per real second; None before there is anything to measure."""
        if len(self._samples) < 2:  # noqa: PLR2004 - a speed takes two points
            return None
        (real_from, from_ns), (real_to, to_ns) = self._samples[0], self._samples[-1]
        return (to_ns - from_ns) / (real_to - real_from)
