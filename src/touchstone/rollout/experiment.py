"""Turn orders into observations that may be counted as independent: one per symbol and minute.

Orders of one symbol within a minute meet the same book and the same mood of the market, so their
differences move together. Their mean is one observation, however many they are; nothing is assumed
about the dependence within a block.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lob.errors import InvalidInput
from touchstone.rollout.shadow import ShadowPair

OPEN_BLOCKS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Block:
    """A finished block: when it began (seconds since 1970), its mean difference, its orders."""

    symbol: str
    start: float
    mean_bps: float
    orders: int


@dataclass(slots=True)
class _Open:
    number: int
    total_bps: float = 0.0
    orders: int = 0


class Blocks:
    """Collect paired differences, and give each symbol-minute's mean once it is over.

    A difference that comes late joins its symbol's open block: it is never dropped, and no finished
    block changes. At most `OPEN_BLOCKS_MAX` are open; beyond, the oldest is finished early.
    """

    def __init__(self, block_seconds: float) -> None:
        self._block_seconds = block_seconds
        self._open: dict[str, _Open] = {}

    def observe(self, symbol: str, at: float, difference_bps: float) -> list[Block]:
        """Add one order's difference; return the blocks that are finished by that. O(1)."""
        finished = []
        number = math.floor(at / self._block_seconds)
        block = self._open.get(symbol)
        if block is not None and number > block.number:
            finished.append(self._finish(symbol))
            block = None
        if block is None:
            if len(self._open) >= OPEN_BLOCKS_MAX:
                finished.append(self._finish(next(iter(self._open))))
            block = self._open[symbol] = _Open(number)
        block.total_bps += difference_bps
        block.orders += 1
        return finished

    def close(self, now: float) -> list[Block]:
        """Return the blocks whose minute is over at `now`, oldest first."""
        present = math.floor(now / self._block_seconds)
        over = [name for name, block in self._open.items() if block.number < present]
        over.sort(key=lambda name: self._open[name].number)
        return [self._finish(name) for name in over]

    def _finish(self, symbol: str) -> Block:
        block = self._open.pop(symbol)
        start = block.number * self._block_seconds
        return Block(symbol, start, block.total_bps / block.orders, block.orders)


def clip(value: float, limit: float) -> float:
    """Return `value` within -limit..limit."""
    return max(-limit, min(limit, value))


def comparable(pair: ShadowPair) -> bool | None:
    """Return whether a pair has a difference; None where neither side filled, which is agreement.

    False says that only one side filled, or that the candidate failed: such a pair is evidence that
    no difference of slippage can show.
    """
    if pair.difference_bps is not None:
        return True
    nothing = pair.candidate is not None and pair.candidate.slippage_bps is None
    return None if nothing and pair.control.slippage_bps is None else False


def unpaired_differences(
    control: npt.NDArray[np.float64], candidate: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the differences of the arms' means, where each order was executed by one arm only.

    Args:
        control: slippage in bps, shape (..., orders of the block on the control).
        candidate: the same for the candidate; the other axes agree.

    Raises:
        InvalidInput: an arm has no orders.
    """
    if control.shape[-1] == 0 or candidate.shape[-1] == 0:
        raise InvalidInput("control, candidate: an arm without orders; allowed: one or more each")
    return np.asarray(candidate.mean(axis=-1) - control.mean(axis=-1), dtype=np.float64)
