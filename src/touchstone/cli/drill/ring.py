"""What a worker has begun, in memory it shares with the drill: counters and a ring of times.

Times are CLOCK_MONOTONIC in nanoseconds, which all processes of one machine share. A worker is the
only one that writes its ring; every field is one aligned store of eight bytes.
"""

import mmap
import time
from pathlib import Path
from typing import Final, Self

STAMPS: Final = 1 << 18
_FIELDS: Final = 8
_COUNT, _REFUSED, _ANSWERED, _GENERATION, _HANDED, _OPEN, _PID, _AWAITED = range(_FIELDS)
BYTES: Final = 8 * (_FIELDS + STAMPS)


def monotonic_ns() -> int:
    """Return the time on the clock that all rings use."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class OrderRing:
    """The orders one worker has begun; the newest `STAMPS` by their time."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), BYTES)
        self._words = memoryview(self._map).cast("Q")

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make an empty ring at `path` and open it."""
        path.write_bytes(b"")
        with path.open("r+b") as file:
            file.truncate(BYTES)
        return cls(path)

    def close(self) -> None:
        """Let go of the memory."""
        self._words.release()
        self._map.close()

    def restart(self, pid: int) -> None:
        """Begin another life of the worker; its orders so far stay counted."""
        for field in (_REFUSED, _ANSWERED, _GENERATION, _OPEN):
            self._words[field] = 0
        self._words[_PID] = pid

    def begin(self, now_ns: int) -> None:
        """Note that an order was begun at `now_ns`."""
        count = self._words[_COUNT]
        self._words[_FIELDS + count % STAMPS] = now_ns
        self._words[_COUNT] = count + 1

    def hand_over(self, now_ns: int) -> None:
        """Note that the socket had taken the newest order by `now_ns`."""
        self._words[_HANDED] = now_ns

    def refuse(self) -> None:
        """Count an order that was not begun because the gate was closed."""
        self._words[_REFUSED] += 1

    def await_inside(self) -> None:
        """Count an order whose passage held an await."""
        self._words[_AWAITED] += 1

    def look(self, *, answered: bool, generation: int, is_open: bool) -> None:
        """Note what the worker sees of the control state."""
        self._words[_ANSWERED] = int(answered)
        self._words[_GENERATION] = generation
        self._words[_OPEN] = int(is_open)

    @property
    def count(self) -> int:
        """Return how many orders were begun."""
        return self._words[_COUNT]

    @property
    def refused(self) -> int:
        """Return how many orders were refused in this life of the worker."""
        return self._words[_REFUSED]

    @property
    def awaited(self) -> int:
        """Return how many orders had an await between check and hand-over."""
        return self._words[_AWAITED]

    @property
    def handed_ns(self) -> int:
        """Return when the socket had taken the newest order."""
        return self._words[_HANDED]

    @property
    def answered(self) -> bool:
        """Return whether Redis has answered this life of the worker."""
        return bool(self._words[_ANSWERED])

    @property
    def generation(self) -> int:
        """Return the generation that the worker sees."""
        return self._words[_GENERATION]

    @property
    def is_open(self) -> bool:
        """Return whether the worker may begin orders."""
        return bool(self._words[_OPEN])

    @property
    def pid(self) -> int:
        """Return the process id of the worker's present life."""
        return self._words[_PID]

    def since(self, start_ns: int) -> list[int]:
        """Return the times of the orders begun at `start_ns` or later, newest first.

        Raises:
            OverflowError: the ring does not reach back that far.
        """
        found: list[int] = []
        count = self._words[_COUNT]
        for back in range(min(count, STAMPS)):
            stamp = self._words[_FIELDS + (count - 1 - back) % STAMPS]
            if stamp < start_ns:
                return found
            found.append(stamp)
        if count > STAMPS:
            raise OverflowError("more orders than the ring holds")
        return found
