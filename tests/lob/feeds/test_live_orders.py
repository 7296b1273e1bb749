"""What is left of live orders, settled in blocks, against a plain loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob.feeds.live_orders import LiveOrders

ROW = st.tuples(
    st.integers(1, 6), st.booleans(), st.integers(0, 9), st.booleans(), st.sampled_from((1, -1))
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(ROW, max_size=12), max_size=4))
def test_blocks_settle_as_a_loop_would(
    blocks: list[list[tuple[int, bool, int, bool, int]]],
) -> None:
    """Before each row its order has what a loop over all rows would have left of it."""
    live = LiveOrders()
    left: dict[int, tuple[int, int]] = {}
    for block in blocks:
        expected, cleared, clears = [], [], 0
        for order_id, sets, lots, clear_first, mark in block:
            if clear_first:
                left.clear()
                clears += 1
            cleared.append(clears)
            before = left.get(order_id, (0, 0))
            expected.append(before[0])
            after = (lots, mark) if sets else (max(before[0] - lots, 0), before[1])
            left.pop(order_id, None)
            if after[0]:
                left[order_id] = after
        columns = list(zip(*block, strict=True)) or [(), (), (), (), ()]
        histories = live.settle(
            np.array(columns[0], np.int64),
            np.array(columns[1], bool),
            np.array(columns[2], np.int64),
            np.array(cleared, np.int64),
            np.array(columns[4], np.int8),
        )
        assert expected == histories.leaves_before.tolist()
        ids = np.arange(1, 7)
        assert [left.get(order, (0, 0))[1] for order in range(1, 7)] == live.marks(ids).tolist()
        assert len(left) == len(live)


def test_clear_forgets_all() -> None:
    """After a clear no order has anything left."""
    live = LiveOrders()
    nothing = np.zeros(1, np.int64)
    live.settle(np.array([7]), np.array([True]), np.array([5]), nothing)
    assert len(live) == 1
    live.clear()
    again = live.settle(np.array([7]), np.array([False]), np.array([1]), nothing)
    assert again.leaves_before.tolist() == [0]


@pytest.mark.parametrize("rows", [1, 1000])
def test_memory_is_that_of_the_live_orders(rows: int) -> None:
    """Orders that have gone are not kept."""
    live = LiveOrders()
    for begin in range(0, 10 * rows, rows):
        ids = np.repeat(np.arange(begin + 1, begin + rows + 1), 2)
        sets = np.tile([True, False], rows)
        live.settle(ids, sets, np.full(2 * rows, 5), np.zeros(2 * rows, np.int64))
        assert len(live) == 0
