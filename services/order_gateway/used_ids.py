"""Which client order ids were ever used, in little memory: orders that are over leave it."""

from collections.abc import Iterable, Iterator

import numpy as np


class UsedIds:
    """Remember ids by 8 bytes each; two ids that share them look alike.

    A hit is only a reason to ask SQL: of ten million ids one in 10^12 questions is asked in vain.
    """

    def __init__(self, before: Iterable[str] = ()) -> None:
        """Begin with the ids of earlier runs. O(n log n)."""
        self._before = np.fromiter(_hashes(before), dtype=np.int64)
        self._before.sort()
        self._since: set[int] = set()

    def add(self, client_order_id: str) -> None:
        """Remember one more id. O(1)."""
        self._since.add(hash(client_order_id))

    def __contains__(self, client_order_id: str) -> bool:
        """Return whether an id was used, or looks like one that was. O(log n)."""
        wanted = hash(client_order_id)
        if wanted in self._since:
            return True
        if not self._before.size:
            return False
        place = int(self._before.searchsorted(wanted))
        return place < len(self._before) and int(self._before[place]) == wanted

    def __len__(self) -> int:
        """Return how many ids are remembered."""
        return len(self._before) + len(self._since)


def _hashes(ids: Iterable[str]) -> Iterator[int]:
    # The process's own seed of str hashes: nobody can choose ids that look alike.
    return (hash(client_order_id) for client_order_id in ids)
