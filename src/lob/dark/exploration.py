"""Allocate, see what trades, estimate anew: the paper's loop (its Figure 2)."""

from collections import deque
from collections.abc import Sequence

from lob.bounds import Floats, positive, whole
from lob.dark.allocation import Allocation, greedy_allocation
from lob.dark.tails import optimistic_kaplan_meier_tail
from lob.errors import InvalidInput

DEFAULT_MAX_HISTORY_SIZE = 1_000


class CensoredExploration:
    """Learn the tails of venues by sending orders there, and split each order by what is known.

    `volume_max` bounds an order. Of each venue the last `max_history_size` fills are kept;
    `observations` is how many make an estimate trusted (see `optimistic_kaplan_meier_tail`).

    >>> loop = CensoredExploration(venues=2, volume_max=10, observations=1)
    >>> loop.observe(loop.allocate(4).allocation, filled=(1, 0))
    >>> loop.allocate(4).allocation
    (1, 3)
    """

    def __init__(
        self,
        venues: int,
        volume_max: int,
        *,
        observations: float = 10.0,
        max_history_size: int = DEFAULT_MAX_HISTORY_SIZE,
    ) -> None:
        whole("venues", venues, 1)
        self._volume_max = whole("volume_max", volume_max, 1)
        self._observations = positive("observations", observations)
        whole("max_history_size", max_history_size, 1)
        self._history: list[deque[tuple[int, int]]] = [
            deque(maxlen=max_history_size) for _ in range(venues)
        ]

    def tails(self) -> list[Floats]:
        """Return the present optimistic estimate of each venue's tail."""
        return [
            optimistic_kaplan_meier_tail(
                [sent for sent, _ in fills],
                [traded for _, traded in fills],
                self._volume_max,
                self._observations,
            )
            for fills in self._history
        ]

    def allocate(self, volume: int) -> Allocation:
        """Return the greedy split of a volume by the present estimates."""
        whole("volume", volume, 0, self._volume_max)
        return greedy_allocation(self.tails(), volume)

    def observe(self, allocation: Sequence[int], filled: Sequence[int]) -> None:
        """Note what traded of what was sent, a number for each venue; nothing sent, nothing told.

        All or nothing: a wrong number is refused before any is noted.
        """
        count = len(self._history)
        if len(allocation) != count or len(filled) != count:
            raise InvalidInput(
                f"filled: {len(allocation)} sent and {len(filled)} filled; allowed: {count} each"
            )
        for sent, traded in zip(allocation, filled, strict=True):
            whole("filled", traded, 0, whole("allocation", sent, 0, self._volume_max))
        for fills, sent, traded in zip(self._history, allocation, filled, strict=True):
            if sent:
                fills.append((sent, traded))
