"""What the shadow process may compute: a share of one processor, saved up while it takes less.

The scheduler gives it what nobody else wants, but two processors of one core feel each other, and
so do their caches. Whatever a candidate does, in the long run it has no more than its share: what
it took beyond that at once is paid for by waiting.
"""

import time
from collections.abc import Callable
from typing import Final

SAVED_SECONDS_MAX: Final = 0.25
"""So much may be computed at once after a quiet time."""


class ProcessorAccount:
    """An income of processor time, and what was spent; in seconds.

    Spending is never refused, for nothing here can stop a process that computes: what it took goes
    below zero, and its owner waits until that is paid.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Open an account with all that can be saved; `share` is the income in a second."""
        self.share = share
        self._clock = clock
        self._balance = SAVED_SECONDS_MAX
        self._at = clock()

    @property
    def balance(self) -> float:
        """Return what is left; below zero, what is owed."""
        now = self._clock()
        self._balance = min(SAVED_SECONDS_MAX, self._balance + (now - self._at) * self.share)
        self._at = now
        return self._balance

    @property
    def paid_in(self) -> float:
        """Return in how many seconds nothing will be owed."""
        return max(0.0, -self.balance / self.share)

    def spend(self, seconds: float) -> None:
        """Take what was computed from the balance."""
        self._balance = self.balance - seconds
