"""Turn orders into observations that may be counted as independent: one per minute.

Orders of one symbol within a minute meet the same book, and orders of all symbols the same mood of
the market, so their differences move together. A minute is therefore one observation, however many
orders and symbols it holds: the mean over its symbols of each symbol's mean, so that a busy symbol
does not speak for the others. Nothing is assumed about the dependence within a minute.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from lob.errors import InvalidInput
from touchstone.rollout.shadow import ShadowPair

OPEN_SYMBOLS_MAX: Final = 10_000
REST: Final = ""
"""Under this name the symbols beyond `OPEN_SYMBOLS_MAX` of a minute count as one."""


@dataclass(frozen=True, slots=True)
class Block:
    """A finished minute: its start (seconds since 1970), mean difference, orders and symbols."""

    start: float
    mean_bps: float
    orders: int
    symbols: int


@dataclass(slots=True)
class _Open:
    total_bps: float = 0.0
    orders: int = 0


class Blocks:
    """Collect paired differences, and give each minute's mean once it is over.

    A difference that comes late joins the open minute, or the first one that is not finished: it
    is never dropped, and no finished block changes.
    """

    def __init__(self, block_seconds: float) -> None:
        self._block_seconds = block_seconds
        self._open: dict[str, _Open] = {}
        self._number: int | None = None

    def observe(self, symbol: str, at: float, difference_bps: float) -> list[Block]:
        """Add one order's difference; return the block that is finished by that, if any. O(1)."""
        number = math.floor(at / self._block_seconds)
        finished = []
        if self._number is None:
            self._number = number
        elif number > self._number:
            finished = self._finish()
            self._number = number
        if symbol not in self._open and len(self._open) >= OPEN_SYMBOLS_MAX:
            symbol = REST
        part = self._open.setdefault(symbol, _Open())
        part.total_bps += difference_bps
        part.orders += 1
        return finished

    def close(self, now: float) -> list[Block]:
        """Return the open block where its minute is over at `now`."""
        present = math.floor(now / self._block_seconds)
        if self._number is None or self._number >= present:
            return []
        finished = self._finish()
        self._number = present
        return finished

    def _finish(self) -> list[Block]:
        if not self._open or self._number is None:
            return []
        parts = self._open.values()
        mean = math.fsum(part.total_bps / part.orders for part in parts) / len(parts)
        orders = sum(part.orders for part in parts)
        block = Block(self._number * self._block_seconds, mean, orders, len(parts))
        self._open = {}
        return [block]


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
