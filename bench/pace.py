"""Wait until the machine computes at its best pace, so that what is timed begins there.

Where other machines' work runs on the other threads of the same cores, everything takes up to 1.7
times as long for some of the seconds. A loop that has nothing to do with what is measured tells.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

LOOP: Final = 60_000
WINDOW: Final = 40
"""Loops that are timed together: a tenth of a second."""
SLOWER_MAX: Final = 1.15
TURN_SECONDS_MAX: Final = 5.0


def loop_seconds() -> float:
    """Return how long a fixed piece of plain Python takes now, two to five milliseconds."""
    started = time.perf_counter()
    total = 0
    for number in range(LOOP):
        total += number * number
    return time.perf_counter() - started


class Pace:
    """The best pace seen so far, and how long one still waits for it.

    `patience` is in seconds, for all turns together; with 0 none waits, and nothing is timed.
    """

    def __init__(self, patience: float, loop: Callable[[], float] = loop_seconds) -> None:
        self._left = patience
        self._patience = patience
        self._loop = loop
        self._best = float("inf")
        self._turns = self._slow_turns = 0

    def wait(self) -> None:
        """Return when the last tenth of a second was near the best, or patience is over."""
        self._turns += 1
        turn_left = min(TURN_SECONDS_MAX, self._left)
        while turn_left > 0:
            window = [self._loop() for _ in range(WINDOW)]
            self._best = min(self._best, *window)
            if statistics.mean(window) <= SLOWER_MAX * self._best:
                return
            self._left -= sum(window)
            turn_left -= sum(window)
        self._slow_turns += 1

    def document(self) -> dict[str, Any]:
        """Return how many turns there were, and how many began at a slower pace."""
        return {
            "patience_seconds": self._patience,
            "waited_seconds": round(self._patience - max(0.0, self._left), 1),
            "turns": self._turns,
            "slow_turns": self._slow_turns,
        }
