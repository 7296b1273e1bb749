"""Time as something that is passed in, in integer nanoseconds."""

from typing import Protocol

from lob.errors import InvalidInput


class Clock(Protocol):
    """Tell the time; nothing in the pure packages reads any other clock."""

    def now_ns(self) -> int:
        """Return the present time in nanoseconds."""
        ...


class ManualClock:
    """Stand still until told otherwise; never go back."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Return the time last set, in nanoseconds."""
        return self._now_ns

    def advance(self, duration_ns: int) -> int:
        """Move on by `duration_ns` and return the new time; `InvalidInput` when negative."""
        return self.set(self._now_ns + duration_ns)

    def set(self, now_ns: int) -> int:
        """Move on to `now_ns` and return it; `InvalidInput` when that lies in the past."""
        if now_ns < self._now_ns:
            raise InvalidInput(f"now_ns: {now_ns} is in the past; allowed: {self._now_ns} or later")
        self._now_ns = now_ns
        return now_ns
