"""Split a volume over venues whose hidden volumes are known by their tails."""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import row, whole
from lob.errors import InvalidInput

MAX_COMBINATIONS = 2_000_000


@dataclass(frozen=True, slots=True)
class Allocation:
    """Units for each venue, and how many of them are expected to trade."""

    allocation: tuple[int, ...]
    expected_fill: float


def greedy_allocation(tails: Sequence[ArrayLike], volume: int) -> Allocation:
    """Return the optimal split: unit after unit to the venue whose next one is likeliest to trade.

    `tails[i][s - 1]` is T_i(s) = P(venue i has s units or more), falling in s, 0 beyond its end.
    Figure 1 and Theorem 1 of the paper: no split of `volume` units trades more on average. Of equal
    probabilities the first venue's is taken; units that cannot trade anywhere are given out too, to
    the first venue. O(volume log venues).

    >>> greedy_allocation([[0.9, 0.6, 0.5, 0.1, 0.05], [0.8, 0.7, 0.3, 0.2, 0.1],
    ...                    [0.5, 0.5, 0.5, 0.5, 0.0]], volume=7)
    Allocation(allocation=(3, 2, 2), expected_fill=4.5)
    """
    lists = checked_tails(tails)
    whole("volume", volume, 0)
    given = [0] * len(lists)
    waiting = [(-tail[0], venue) for venue, tail in enumerate(lists) if tail]
    heapq.heapify(waiting)
    for done in range(volume):
        if not waiting or waiting[0][0] == 0:
            given[0] += volume - done
            break
        _, venue = waiting[0]
        given[venue] += 1
        tail = lists[venue]
        if given[venue] < len(tail):
            heapq.heapreplace(waiting, (-tail[given[venue]], venue))
        else:
            heapq.heappop(waiting)
    return Allocation(tuple(given), _expected(lists, given))


def brute_force_allocation(tails: Sequence[ArrayLike], volume: int) -> Allocation:
    """Return the best of all splits, the first in dictionary order of the best ones.

    What the greedy split is checked against; `InvalidInput` above 2,000,000 splits.
    """
    lists = checked_tails(tails)
    whole("volume", volume, 0)
    count = math.comb(volume + len(lists) - 1, len(lists) - 1)
    if count > MAX_COMBINATIONS:
        raise InvalidInput(
            f"volume: {volume} in {len(lists)} venues has {count} splits; allowed: at most "
            f"{MAX_COMBINATIONS}"
        )
    best = max(_splits(volume, len(lists)), key=lambda split: _expected(lists, split))
    return Allocation(best, _expected(lists, best))


def expected_fill(tails: Sequence[ArrayLike], allocation: Sequence[int]) -> float:
    """Return how many units trade on average: sum over venues and s <= v_i of T_i(s)."""
    lists = checked_tails(tails)
    if len(allocation) != len(lists):
        raise InvalidInput(f"allocation: {len(allocation)} venues; allowed: {len(lists)}")
    for units in allocation:
        whole("allocation", units, 0)
    return _expected(lists, allocation)


def checked_tails(tails: Sequence[ArrayLike]) -> list[list[float]]:
    """Return tails as lists; `InvalidInput` unless each falls, or stays, between 1 and 0."""
    if not isinstance(tails, Sequence | np.ndarray):
        raise InvalidInput(f"tails: {type(tails).__name__}; allowed: a list for each venue")
    if not len(tails):
        raise InvalidInput("tails: none; allowed: one venue or more")
    lists = [row("tails", tail, low=0, at_least=0).tolist() for tail in tails]
    for venue, tail in enumerate(lists):
        before = 1.0
        for place, chance in enumerate(tail):
            if chance > before:
                allowed = f"at most {before:g}, as a tail falls from 1"
                raise InvalidInput(f"tails[{venue}][{place}]: {chance!r}; allowed: {allowed}")
            before = chance
    return lists


def _expected(lists: Sequence[Sequence[float]], allocation: Sequence[int]) -> float:
    return math.fsum(
        chance for tail, units in zip(lists, allocation, strict=True) for chance in tail[:units]
    )


def _splits(volume: int, venues: int) -> Iterator[tuple[int, ...]]:
    """Yield every way of giving `volume` units to venues, in dictionary order."""
    if venues == 1:
        yield (volume,)
        return
    for first in range(volume + 1):
        for rest in _splits(volume - first, venues - 1):
            yield (first, *rest)
