"""Tables of messages, trades, depth and orders, in three packages, with words for codes."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lob import OrderBook
from lob.errors import ConfigError, InvalidInput
from lob.flow import ZeroIntelligence, record
from lob.frames import columns, to_arrow, to_pandas, to_polars
from lob.types import Side
from tests.lob.feeds.tapes import SHARE

Rows = list[dict[str, Any]]


def arrow_rows(source: Any) -> Rows:
    """Return the rows of the pyarrow table."""
    rows: Rows = to_arrow(source).to_pylist()
    return rows


def polars_rows(source: Any) -> Rows:
    """Return the rows of the polars frame."""
    rows: Rows = to_polars(source).to_dicts()
    return rows


def pandas_rows(source: Any) -> Rows:
    """Return the rows of the pandas frame."""
    rows: Rows = to_pandas(source).to_dict("records")
    return rows


PACKAGES = pytest.mark.parametrize("rows_of", [arrow_rows, polars_rows, pandas_rows])


@pytest.fixture(scope="module")
def book() -> OrderBook:
    """A book with both sides, an iceberg and a hidden order."""
    book = OrderBook()
    book.submit(1, Side.BUY, 5, 100)
    book.submit(2, Side.BUY, 50, 100, display_lots=10)
    book.submit(3, Side.SELL, 7, 102, hidden=True, participant_id=4)
    book.submit(4, Side.SELL, 2**60, 103)
    return book


@PACKAGES
def test_depth_is_a_row_a_level(book: OrderBook, rows_of: Callable[[Any], Rows]) -> None:
    """Sides are words, levels count from 1, numbers are whole."""
    names = ("side", "level", "price_ticks", "quantity_lots", "order_count")

    rows = rows_of(book.depth(5))

    assert [("BUY", 1, 100, 15, 2), ("SELL", 1, 103, 2**60, 1)] == [
        tuple(row[name] for name in names) for row in rows
    ]
    assert [] == rows_of(OrderBook().depth(5))


@PACKAGES
def test_orders_show_what_the_book_keeps(book: OrderBook, rows_of: Callable[[Any], Rows]) -> None:
    """Reserve, hidden lots and participants are columns; iterators and snapshots serve."""
    rows = rows_of(book.orders(Side.BUY))
    snapshot = rows_of(book.snapshot().orders)

    assert [(1, 5, 5, 0), (2, 50, 10, 10)] == [
        (row["order_id"], row["leaves"], row["displayed_lots"], row["display_lots"]) for row in rows
    ]
    assert (4, "SELL", True, 0) == tuple(
        snapshot[2][name] for name in ("participant_id", "side", "hidden", "expire_ns")
    )
    assert [] == rows_of(())


@PACKAGES
def test_arrays_keep_their_integers(rows_of: Callable[[Any], Rows]) -> None:
    """Messages and trades come with the words of their codes, and not a digit lost."""
    recorded = record(ZeroIntelligence(SHARE, 3, 10_000), 200)
    trades = OrderBook().apply(recorded.feed)

    messages = rows_of(recorded.feed)
    traded = rows_of(trades)

    assert recorded.feed["order_id"].tolist() == [row["order_id"] for row in messages]
    assert "FEED_ADD" == messages[0]["action"]
    # Of a missing word pandas makes what its version says.
    sides = [row["side"] if isinstance(row["side"], str) else None for row in messages]
    assert {1: "BUY", -1: "SELL", 0: None} == dict(
        zip(recorded.feed["side"].tolist(), sides, strict=True)
    )
    assert "GTC" == messages[0]["time_in_force"]
    assert {"BUY", "SELL"} >= {row["aggressor_side"] for row in traded}
    assert trades["quantity_lots"].tolist() == [row["quantity_lots"] for row in traded]


def test_refusals_have_their_reasons() -> None:
    """The codes of `last_apply` become the words of the rulebook."""
    recorded = record(ZeroIntelligence(SHARE, 3, 10_000), 10)
    book = OrderBook()
    book.apply(recorded.feed)
    book.apply(recorded.feed[:3], strict=False)

    rows = arrow_rows(book.last_apply.refusals)

    assert [(index, "DUPLICATE_ORDER_ID") for index in range(3)] == [
        (row["index"], row["reason"]) for row in rows
    ]


@pytest.mark.parametrize("source", [np.zeros(3), np.zeros(1, "i8"), (1, 2), ["x"]])
def test_other_things_are_refused(source: Any) -> None:
    """What is no source is named by its type."""
    with pytest.raises(InvalidInput, match=r"^source: "):
        columns(source)


@pytest.mark.parametrize(
    ("name", "to_table"), [("pyarrow", to_arrow), ("polars", to_polars), ("pandas", to_pandas)]
)
def test_a_missing_package_is_named(
    name: str, to_table: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says what is not installed."""
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=f"^{name}: not installed"):
        to_table(())
