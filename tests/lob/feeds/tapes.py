"""Random feeds that a venue could have published, for tests of what reads and writes them."""

from decimal import Decimal
from typing import Any

import numpy as np
from hypothesis import strategies as st

from lob import MESSAGE_DTYPE, Action, Flag
from lob.messages import Array
from lob.types import AssetClass, Instrument

SHARE = Instrument(
    symbol="AAPL", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
COIN = Instrument(
    symbol="BTC-USD",
    asset_class=AssetClass.CRYPTO,
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.00000001"),
)
LARGE = 10**12


@st.composite
def tapes(draw: st.DrawFn) -> Array:
    """Draw messages that are all possible: adds, then what may happen to live orders, clears."""
    live: dict[int, list[int]] = {}
    rows: list[dict[str, Any]] = []
    numbers = st.integers(1, LARGE)
    now_ns, next_id = draw(st.integers(0, 10**15)), draw(st.integers(1, LARGE))
    for _ in range(draw(st.integers(1, 30))):
        now_ns += draw(st.integers(0, 10**9))
        choices = [Action.FEED_ADD, Action.FEED_CLEAR]
        if live:
            choices += [
                Action.FEED_DELETE,
                Action.FEED_EXECUTE,
                Action.FEED_EXECUTE,
                Action.FEED_REDUCE,
                Action.FEED_MODIFY,
                Action.FEED_ADD,
                Action.FEED_ADD,
            ]
        action = draw(st.sampled_from(choices))
        row: dict[str, Any] = {"ts_event_ns": now_ns, "action": action}
        row["flags"] = draw(st.sampled_from((0, Flag.LAST, Flag.SNAPSHOT)))
        if action is Action.FEED_CLEAR:
            live.clear()
        elif action is Action.FEED_ADD:
            next_id += 1
            live[next_id] = [draw(st.integers(1, 20)), draw(numbers)]
            row |= {"order_id": next_id, "side": draw(st.sampled_from((1, -1)))}
            row |= {"price_ticks": live[next_id][0], "quantity_lots": live[next_id][1]}
        else:
            row |= _change(draw, action, live)
        rows.append(row)
    tape = np.zeros(len(rows), MESSAGE_DTYPE)
    for index, row in enumerate(rows):
        for name, value in row.items():
            tape[index][name] = value
    return tape


def _change(draw: st.DrawFn, action: Action, live: dict[int, list[int]]) -> dict[str, int]:
    order_id = draw(st.sampled_from(sorted(live)))
    order = live[order_id]
    if action is Action.FEED_MODIFY:
        price, lots = draw(st.integers(1, 20)), draw(st.integers(1, LARGE))
        live[order_id] = [price, lots]
        return {"order_id": order_id, "price_ticks": price, "quantity_lots": lots}
    if action is Action.FEED_DELETE:
        del live[order_id]
        return {"order_id": order_id}
    lots = draw(st.one_of(st.just(order[1]), st.integers(1, order[1])))
    order[1] -= lots
    if not order[1]:
        del live[order_id]
    return {"order_id": order_id, "quantity_lots": lots}
