"""hftbacktest's market-by-order backtest: its exchange with FIFO queues, and its local book.

Prices are whole ticks and quantities whole lots, as floats. An execution is a MODIFY to what is
left of the order, or a CANCEL, which is what its book needs; no FILL event is added, which spares
it work that a real feed would give. No strategy runs: the time is that of the events alone.
"""

from collections.abc import Callable
from typing import Any

import hftbacktest as hft  # type: ignore[import-not-found]
import numpy as np
from hftbacktest.types import event_dtype  # type: ignore[import-not-found]

from bench.peers.protocol import Case, Round, clock, serve
from bench.stream import (
    ADD,
    DELETE,
    START_NS,
    START_TICKS,
    STEP_NS,
    Stream,
    Touch,
)

FEED_LATENCY_NS = 100
FOREVER_NS = 1 << 60


def events(stream: Stream, rows: int, *, exchange: bool) -> Any:
    """Return the first `rows` feed messages as an array of hftbacktest's own events."""
    feed = {name: column[:rows] for name, column in stream.feed.items()}
    found = np.zeros(rows, event_dtype)
    gone = (feed["action"] == DELETE) | (feed["leaves"] == 0)
    kind = np.where(
        feed["action"] == ADD,
        hft.ADD_ORDER_EVENT,
        np.where(gone, hft.CANCEL_ORDER_EVENT, hft.MODIFY_ORDER_EVENT),
    ).astype(np.uint64)
    side = np.where(feed["side"] > 0, hft.BUY_EVENT, hft.SELL_EVENT).astype(np.uint64)
    flags = hft.LOCAL_EVENT | (hft.EXCH_EVENT if exchange else 0)
    found["ev"] = kind | side | np.uint64(flags)
    found["ev"][0] |= np.uint64(hft.EXCH_EVENT)  # an exchange without any event does not start
    found["exch_ts"] = START_NS + np.arange(rows, dtype=np.int64) * STEP_NS
    found["local_ts"] = found["exch_ts"] + FEED_LATENCY_NS
    found["px"], found["qty"] = feed["price_ticks"], feed["leaves"]
    found["order_id"] = feed["order_id"]
    return found


def replay(*, exchange: bool) -> Case:
    """Return the case with both books, or with the local one alone."""

    def prepare(stream: Stream, limit: int) -> Callable[[], Round]:
        messages = min(limit, stream.body_feed)
        rows = events(stream, stream.prelude + messages, exchange=exchange)
        _run(rows[: min(1_000, stream.prelude)], 10)  # numba compiles here

        def run() -> Round:
            seconds, touch = _run(rows, stream.prelude)
            return Round(seconds, messages, touch)

        return run

    return prepare


def _run(rows: Any, prelude: int) -> tuple[float, Touch]:
    asset = (
        hft.BacktestAsset()
        .data(rows)
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .l3_fifo_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(1.0)
        .lot_size(1.0)
        .roi_lb(1.0)
        .roi_ub(3.0 * START_TICKS)
        .last_trades_capacity(0)
    )
    backtest = hft.ROIVectorMarketDepthBacktest([asset])
    backtest.elapse(prelude * STEP_NS)
    started = clock()
    backtest.elapse(FOREVER_NS)
    seconds = clock() - started
    depth = backtest.depth(0)
    touch = Touch(
        int(depth.best_bid_tick),
        round(depth.bid_qty_at_tick(depth.best_bid_tick)),
        int(depth.best_ask_tick),
        round(depth.ask_qty_at_tick(depth.best_ask_tick)),
    )
    backtest.close()
    return seconds, touch


CASES = {"exchange_and_local": replay(exchange=True), "local_only": replay(exchange=False)}

if __name__ == "__main__":
    serve("hftbacktest", CASES)
