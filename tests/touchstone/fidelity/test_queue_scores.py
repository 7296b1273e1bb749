"""Estimators are scored against exact replays, on the level-only view of the same feed."""

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from lob import MESSAGE_DTYPE, Action
from lob.flow import ZeroIntelligence
from lob.queue_estimators import DEFAULT, FAMILIES
from lob.queue_reactive import QueueReactive
from lob.recording import record
from lob.types import AssetClass, Instrument, Side
from touchstone.fidelity.market import Market, find_markets, load_market, make_market
from touchstone.fidelity.queue_scores import (
    Join,
    joins_at_arrivals,
    joins_at_quotes,
    measure,
    run_trial,
)

SHARE = Instrument(
    symbol="A", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
SECOND_NS = 1_000_000_000


def quiet(_: str) -> None:
    """Take progress without a word."""


def synthetic(commands: int = 8_000) -> Market:
    """Return a market of the queue-reactive generator."""
    feed = record(QueueReactive(SHARE, seed=9, mid_ticks=10_000), commands).feed
    return make_market("synthetic", SHARE, feed)


def small(*rows: tuple[int, int, int, int, int]) -> Market:
    """Return a market of (second, action, order id, price, lots) messages of BUY orders."""
    messages = np.zeros(len(rows), MESSAGE_DTYPE)
    messages["side"] = 1
    names = ("ts_event_ns", "action", "order_id", "price_ticks", "quantity_lots")
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        messages[name] = column
    messages["ts_event_ns"] *= SECOND_NS
    return make_market("small", SHARE, messages)


def test_a_cancel_that_only_orders_can_place_separates_the_estimators() -> None:
    """Two orders of 5 and 7 lots ahead, one of 5 behind; 7 go: ours knows that it was ahead."""
    add, delete, execute = Action.FEED_ADD, Action.FEED_DELETE, Action.FEED_EXECUTE
    market = small(
        (1, add, 1, 100, 5),
        (2, add, 2, 100, 7),
        (4, add, 3, 100, 9),
        (5, delete, 2, 0, 0),
        (8, execute, 1, 0, 5),
        (9, execute, 3, 0, 6),
        (90, add, 9, 50, 1),
    )
    trial = run_trial(market, [Join(2, 3 * SECOND_NS, Side.BUY, 100)])
    assert trial.true_s.tolist() == [6.0]
    assert trial.estimated_s[DEFAULT].tolist() == [6.0]
    assert np.isnan(trial.estimated_s["risk-averse"][0])
    # One second after the join nothing was in doubt; after ten both had ended for ours.
    assert trial.ahead[DEFAULT] == [(1.0, 1.0)]
    score = trial.score("risk-averse")
    assert (score.right, score.bias) == ((0.0, 0.0), (-1.0, -1.0))
    assert trial.score(DEFAULT).same_message == 1.0


def test_joins_at_quotes_are_at_the_touch_and_drawn_by_the_seed() -> None:
    """Both sides, at one interval, never so late that the horizon is cut off."""
    market = synthetic()
    joins = joins_at_quotes(market, every_s=2.0, after_s=30.0, seed=1)
    assert joins == joins_at_quotes(market, every_s=2.0, after_s=30.0, seed=1)
    assert joins != joins_at_quotes(market, every_s=2.0, after_s=30.0, seed=2)
    assert {join.side for join in joins} == {Side.BUY, Side.SELL}
    assert max(join.ts_event_ns for join in joins) <= market.end_ns - 30 * SECOND_NS
    times = sorted({join.ts_event_ns for join in joins})
    assert set(np.diff(times).tolist()) == {2 * SECOND_NS}
    for join in joins[:50]:
        before = market.messages["ts_event_ns"][: join.before_index]
        assert before[-1] <= join.ts_event_ns


def test_joins_at_arrivals_are_behind_orders_that_came_to_the_touch() -> None:
    """Each just after its order's message; no more than asked for."""
    market = synthetic()
    joins = joins_at_arrivals(market, most=100, after_s=10.0)
    assert len(joins) == 100
    for join in joins:
        message = market.messages[join.before_index - 1]
        assert (message["action"], message["price_ticks"]) == (Action.FEED_ADD, join.price_ticks)
        assert message["ts_event_ns"] == join.ts_event_ns


def test_ours_is_better_than_every_family_on_a_synthetic_market() -> None:
    """Where orders have sizes, most cancels can be placed; the extremes bound the rest."""
    market = synthetic()
    horizons = (market.seconds / 40, market.seconds / 10)
    joins = joins_at_quotes(market, every_s=market.seconds / 400, after_s=horizons[-1])
    trial = run_trial(market, joins, longest_s=horizons[-1])
    scores = {name: trial.score(name, horizons) for name in FAMILIES}
    for name, score in scores.items():
        if name != DEFAULT:
            assert scores[DEFAULT].right[0] > score.right[0]
            assert scores[DEFAULT].ahead_error < score.ahead_error
    assert scores["risk-averse"].bias[0] < 0 < scores["optimistic"].bias[0]
    assert scores["risk-averse"].ahead_bias > 0 > scores["optimistic"].ahead_bias


def test_evidence_has_every_family_and_says_it_in_json() -> None:
    """Two samples, a row for each family, the same to the byte for the same seed."""
    feed = record(ZeroIntelligence(SHARE, seed=3, mid_ticks=10_000), 4_000).feed
    market = make_market("synthetic", SHARE, feed)
    evidence = measure([market], progress=quiet, seed=5)
    assert len(evidence.tables) == 2
    for table in evidence.tables:
        assert {row[0] for row in table.rows} == set(FAMILIES)
    # The bias has a bar only where figures are known to be reached.
    assert 6 == len(evidence.checks) + len(evidence.unmeasured)
    assert evidence.checks
    text = json.dumps(evidence.to_json())
    assert text == json.dumps(measure([market], progress=quiet, seed=5).to_json())


@pytest.mark.slow
def test_the_real_hour_reaches_the_reference(market_data: Path) -> None:
    """At the quotes and at arrivals: .998 and .999 right, no bias, better than every family."""
    (path,) = [path for path in find_markets(market_data / "lobster") if "37800000" in path.name]
    evidence = measure([load_market(path, progress=quiet)], progress=quiet)
    assert [check.name for check in evidence.checks if not check.holds] == []
    quotes = evidence.tables[0]
    assert quotes.rows[0][0] == DEFAULT
    assert float(quotes.rows[0][2]) >= 0.998
    assert float(quotes.rows[0][3]) >= 0.999
