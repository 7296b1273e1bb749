"""Random streams that cost nothing to begin: one for each model of each execution.

SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014):
a counter that is mixed, so that a stream begins with one addition.
"""

import math
from typing import TYPE_CHECKING, Final

_MASK: Final = 2**64 - 1
_STEP: Final = 0x9E3779B97F4A7C15
_TO_UNIT: Final = 2.0**-53

# What a stream is for is part of its seed: switching one model off never moves another's draws.
DARK_POOLS: Final = 0x6461726B
HIDDEN_LIQUIDITY: Final = 0x68696464
REACTION: Final = 0x72656163


def mixed(number: int) -> int:
    """Return 64 bits that depend on every bit of `number` (David Stafford's thirteenth mix)."""
    number &= _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)


class PlainStream:
    """Draw numbers from a seed and a key; another key makes a stream of its own.

    Seeds and keys are whole numbers of 64 bits.

    >>> PlainStream(7, DARK_POOLS).random() == PlainStream(7, DARK_POOLS).random()
    True
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int, key: int | None = None) -> None:
        self._state = seed if key is None else mixed(seed + (key + 1) * _STEP)

    def below(self, key: int) -> "PlainStream":
        """Return the stream of one more key; this one stays where it is."""
        return PlainStream(self._state, key)

    def random(self) -> float:
        """Return a number of 0 or more and below 1, one of 2^53."""
        self._state = (self._state + _STEP) & _MASK
        return (mixed(self._state) >> 11) * _TO_UNIT

    def exponential(self) -> float:
        """Return a draw of the exponential law of mean 1."""
        return -math.log(1.0 - self.random())

    def low_places(
        self, first: int, count: int, key: int, step: int, at_once: float, then: float
    ) -> list[int]:
        """Return the places, of `count` from `first` on, whose own stream soon draws a low number.

        Low is below `at_once` for its first number, and below `then` for the one that follows; the
        stream of a place is that of the key `key + step * place`.
        """
        found = []
        for place in range(first, first + count):
            own = self.below(key + step * place)
            if own.random() < at_once or own.random() < then:
                found.append(place)
        return found


if TYPE_CHECKING:
    Stream = PlainStream
else:
    try:
        # The same numbers, a dozen times as fast.
        from lob._core import Stream
    except ImportError:
        Stream = PlainStream
