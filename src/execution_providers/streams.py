"""Random streams that cost nothing to begin: one for each model of each execution.

SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014):
a counter that is mixed, so that a stream begins with one addition.
"""

import math
from typing import Final

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


class Stream:
    """Draw numbers from a seed and keys; other keys make a stream of its own.

    >>> Stream(7, DARK_POOLS).random() == Stream(7, DARK_POOLS).random()
    True
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int, *keys: int) -> None:
        state = seed
        for key in keys:
            state = mixed(state + (key + 1) * _STEP)
        self._state = state

    def below(self, key: int) -> "Stream":
        """Return the stream of one more key; this one stays where it is."""
        return Stream(self._state, key)

    def random(self) -> float:
        """Return a number of 0 or more and below 1, one of 2^53."""
        self._state = (self._state + _STEP) & _MASK
        return (mixed(self._state) >> 11) * _TO_UNIT

    def exponential(self) -> float:
        """Return a draw of the exponential law of mean 1."""
        return -math.log(1.0 - self.random())
