"""Know what is left of each live order, for readers whose format says only what changes.

A block of changes is settled at once: sorted by order, each order's changes in time, its leaves run
along with sums instead of a loop. What is kept between blocks is as large as the live book.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Histories(NamedTuple):
    """The rows of a block, grouped by order: the work that every question of them shares.

    `by_order` lists the rows order by order, in time; `begins` marks the first of each order's,
    also where the book was cleared in between; `leaves_before` is of the rows in their own order.
    """

    by_order: Ints
    begins: Bools
    leaves_before: Ints


class LiveOrders:
    """Hold id, leaves and a mark (such as the side) of live orders, sorted by id."""

    def __init__(self) -> None:
        self._ids: Ints = np.zeros(0, np.int64)
        self._leaves: Ints = np.zeros(0, np.int64)
        self._marks: NDArray[np.int8] = np.zeros(0, np.int8)

    def __len__(self) -> int:
        """Return how many orders live."""
        return len(self._ids)

    def marks(self, order_ids: Ints) -> NDArray[np.int8]:
        """Return the marks of these orders as the last block left them, 0 where one is unknown."""
        at, known = self._find(order_ids)
        marks = np.zeros(len(order_ids), np.int8)
        marks[known] = self._marks[at[known]]
        return marks

    def settle(
        self,
        order_ids: Ints,
        sets: Bools,
        lots: Ints,
        clears: Ints,
        marks: NDArray[np.int8] | None = None,
    ) -> Histories:
        """Carry a block's rows out, and return what was left of each row's order before it.

        A row sets its order's leaves to `lots`, or takes `lots` off them, at most what is left: 0
        left is not live. `clears` counts, for each row, how often the book was emptied before it in
        the block; the caller says with `clear` where it was emptied after the last row. `marks` are
        those of the rows that set. O(rows log rows + live orders).
        """
        by_order = np.argsort(order_ids, kind="stable")
        ids, cleared = order_ids[by_order], clears[by_order]
        begins = np.ones(len(ids), bool)
        begins[1:] = (ids[1:] != ids[:-1]) | (cleared[1:] != cleared[:-1])
        first = np.flatnonzero(begins)
        carried = self._carried(ids[first], cleared[first])[np.cumsum(begins) - 1]

        is_set, amount = sets[by_order], lots[by_order]
        taken = np.where(is_set, 0, amount)
        total_taken = np.cumsum(taken)
        rows = np.arange(len(ids))
        base = np.maximum.accumulate(np.where(begins | is_set, rows, 0))
        # Where nothing has set it yet in this block, the first row's own change counts as well.
        at_base = np.where(is_set[base], amount[base], carried - taken[base])
        after = np.maximum(at_base - (total_taken - total_taken[base]), 0)
        before = np.empty_like(after)
        before[1:] = after[:-1]
        before[first] = carried[first]

        leaves_before = np.empty_like(before)
        leaves_before[by_order] = before
        self._keep(by_order, ids, cleared, begins, after, is_set, marks)
        return Histories(by_order, begins, leaves_before)

    def clear(self) -> None:
        """Forget all orders."""
        self._ids, self._leaves, self._marks = self._ids[:0], self._leaves[:0], self._marks[:0]

    def _find(self, ids: Ints) -> tuple[Ints, Bools]:
        at = np.searchsorted(self._ids, ids)
        known = at < len(self._ids)
        known[known] = self._ids[at[known]] == ids[known]
        return at, known

    def _carried(self, ids: Ints, cleared: Ints) -> Ints:
        at, known = self._find(ids)
        known &= cleared == 0
        carried = np.zeros(len(ids), np.int64)
        carried[known] = self._leaves[at[known]]
        return carried

    def _keep(
        self,
        by_order: Ints,
        ids: Ints,
        cleared: Ints,
        begins: Bools,
        after: Ints,
        is_set: Bools,
        marks: NDArray[np.int8] | None,
    ) -> None:
        """Take over each order's state after its last row since the last clear."""
        if not len(ids):
            return
        ends = np.append(begins[1:], True)  # the last row of all ends its order
        clears = int(cleared.max())
        last = np.flatnonzero(ends & (cleared == clears))
        new_marks = np.zeros(len(ids), np.int8)
        if marks is not None:
            rows = np.arange(len(ids))
            base = np.maximum.accumulate(np.where(begins | is_set, rows, 0))
            new_marks = np.where(is_set[base], marks[by_order][base], self.marks(ids))
        if clears:
            self.clear()
        else:
            at, known = self._find(ids[last])
            stays = np.ones(len(self._ids), bool)
            stays[at[known]] = False
            self._ids, self._leaves = self._ids[stays], self._leaves[stays]
            self._marks = self._marks[stays]
        live = last[after[last] > 0]
        ids_now = np.concatenate((self._ids, ids[live]))
        order = np.argsort(ids_now, kind="stable")
        self._ids = ids_now[order]
        self._leaves = np.concatenate((self._leaves, after[live]))[order]
        self._marks = np.concatenate((self._marks, new_marks[live]))[order]
