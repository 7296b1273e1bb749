"""Iceberg detection is scored against icebergs that are known, and counted on real feeds."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from lob.errors import InvalidInput
from lob.hidden import detect_in_feed
from lob.messages import MESSAGE_DTYPE, Action
from lob.types import AssetClass, Instrument, Side
from touchstone.fidelity.market import load_market, make_market
from touchstone.fidelity.sweeps_icebergs import (
    TrueIceberg,
    measure,
    same_id_refills,
    score_icebergs,
    synthetic_icebergs,
)

SECOND = 1_000_000_000
SHARE = Instrument(
    symbol="MADE", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)


def quiet(_: str) -> None:
    """Say nothing of the progress."""


def refills(price: int, times: int, *, own_id: bool = False) -> list[tuple[int, ...]]:
    """Return the feed of an iceberg at a price that refills so often, once a second."""
    rows: list[tuple[int, ...]] = []
    for part in range(times + 1):
        order_id = price if own_id else 1_000 * price + part
        at = (1 + part) * SECOND
        came = at - SECOND if part else 0
        rows.append((came, order_id, price, 10, 0, Action.FEED_ADD.value, 1, 0, 0))
        rows.append((at, order_id, price, 10, 0, Action.FEED_EXECUTE.value, 0, 0, 0))
    return rows


def test_scores_by_hand() -> None:
    """Two icebergs there and two detections, one of which is right."""
    rows = sorted([*refills(100, 3), *refills(90, 2)], key=lambda row: row[0])
    found = detect_in_feed(np.array(rows, MESSAGE_DTYPE))
    times = [SECOND, 2 * SECOND, 3 * SECOND]
    truth = [TrueIceberg(Side.BUY, 100, times), TrueIceberg(Side.SELL, 90, times)]

    score = score_icebergs(found, truth, 2)

    assert (2, 1, 2, 1) == (score.found, score.right, score.there, score.caught)
    assert (0.5, 0.5) == (score.precision, score.recall)
    assert 1.0 == score_icebergs([], [], 1).precision
    # Refills too far from one another cannot be told.
    assert 0 == score_icebergs(found, truth, 2, within_ns=SECOND // 2).there


def test_orders_that_trade_before_a_refill_do_not_end_an_iceberg() -> None:
    """A refill stands at the tail: others of its size trade first, and it is known by its id."""
    add, execute = Action.FEED_ADD.value, Action.FEED_EXECUTE.value
    said = [
        (0, 10, add),
        (0, 50, add),
        (1, 10, execute),
        (1, 11, add),
        (2, 50, execute),
        (5, 11, execute),
        (5, 12, add),
        (6, 12, execute),
        (6, 13, add),
    ]
    rows = [(at * SECOND, order_id, 100, 10, 0, action, 1, 0, 0) for at, order_id, action in said]

    (found,) = detect_in_feed(np.array(rows, MESSAGE_DTYPE))

    assert (3, 30) == (found.refills, found.traded_lots)


@pytest.mark.parametrize(("own_id", "expected"), [(True, 3), (False, 0)])
def test_refills_that_keep_their_id_are_counted(own_id: bool, expected: int) -> None:
    """An order that traded to its end and came again at once is a venue's own refill."""
    messages = np.array(refills(100, 3, own_id=own_id), MESSAGE_DTYPE)
    assert expected == same_id_refills(messages)


def test_known_icebergs_are_found() -> None:
    """On the synthetic venue confirmed detections reach the bars; another seed, another venue."""
    evidence = measure((), progress=quiet, seed=3, steps=20_000)
    assert 2 == len(evidence.checks)
    assert evidence.holds, evidence.checks
    assert evidence != measure((), progress=quiet, seed=4, steps=20_000)


def test_the_synthetic_venue_is_reproducible_and_consistent() -> None:
    """The same seed gives the same feed, and a book takes all of it."""
    messages, truth = synthetic_icebergs(5_000, 7)
    again, _ = synthetic_icebergs(5_000, 7)
    assert np.array_equal(messages, again)
    assert any(one.refills(60 * SECOND) >= 2 for one in truth)
    assert () == make_market("synthetic", SHARE, messages).notes


def test_wrong_arguments_are_refused() -> None:
    """Steps and seeds are whole numbers."""
    with pytest.raises(InvalidInput, match="steps: 0"):
        synthetic_icebergs(0, 1)
    with pytest.raises(InvalidInput, match="seed: -1"):
        synthetic_icebergs(1, -1)


def test_refills_go_on_in_a_real_hour(market_data: Path) -> None:
    """AAPL: a level that refilled once does so again far more often than orders have their like."""
    path = market_data / "lobster/AAPL_2012-06-21_34200000_37800000_message_50.csv"
    evidence = measure([load_market(path, progress=quiet)], progress=quiet, steps=20_000)
    _, used, first, again, *_ = evidence.tables[1].rows[0]
    assert int(used) > 2_000
    assert float(again) > 3 * float(first)
