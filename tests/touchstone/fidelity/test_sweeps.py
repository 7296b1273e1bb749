"""Real sweeps' costs are what they were, forecasts never look ahead, and the bars are reached."""

from decimal import Decimal
from pathlib import Path
from random import Random

import numpy as np
import pytest

from lob.hidden import Depth
from lob.messages import MESSAGE_DTYPE, Action, Flag
from lob.types import AssetClass, Instrument, Side
from touchstone.fidelity.market import HIDDEN_DTYPE, Market, load_market, make_market
from touchstone.fidelity.sweeps import measure
from touchstone.fidelity.sweeps_read import Decision, decisions_of, sweeps_of
from touchstone.fidelity.sweeps_score import (
    Scored,
    ratio_interval,
    ratio_of,
    rmse,
    study_sweeps,
)

MS = 1_000_000
SECOND = 1_000 * MS
SHARE = Instrument(
    symbol="MADE", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
AAPL = "lobster/AAPL_2012-06-21_34200000_37800000_message_50.csv"


def quiet(_: str) -> None:
    """Say nothing of the progress."""


class Tape:
    """Feed messages and hidden executions of a market made by hand."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, ...]] = []
        self.hidden: list[tuple[int, float, int, int, int]] = []

    def add(self, at_ns: int, order_id: int, sign: int, price: int, lots: int) -> None:
        """Let an order come to rest."""
        self._say(at_ns, Action.FEED_ADD, order_id, lots, price, sign)

    def execute(self, at_ns: int, order_id: int, lots: int) -> None:
        """Let a displayed order trade."""
        self._say(at_ns, Action.FEED_EXECUTE, order_id, lots, 0, 0)

    def execute_hidden(self, at_ns: int, sign: int, price: float, lots: int) -> None:
        """Let a hidden order of a side trade."""
        self.hidden.append((at_ns, price, lots, sign, len(self.rows)))

    def market(self) -> Market:
        """Return the market."""
        hidden = np.array(self.hidden, HIDDEN_DTYPE)
        return make_market("made", SHARE, self._messages(), hidden)

    def _messages(self) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
        return np.array(self.rows, MESSAGE_DTYPE)

    def _say(
        self, at_ns: int, action: Action, order_id: int, lots: int, price: int, sign: int
    ) -> None:
        flags = Flag.LAST.value
        self.rows.append((at_ns, order_id, price, lots, 0, action.value, sign, 0, flags))


def simulated(seconds: int, hidden_share: float, seed: int = 1) -> Market:
    """Return a market of one sweep in each half second, 100 lots of 100 at the touch.

    A share of sweeps trades hidden instead, 3 ticks inside a spread of 10. What was taken is put up
    again after 50 ms, and every 5 s both touches step by a tick.
    """
    rng, tape, next_id = Random(seed), Tape(), 10
    mid, orders = 1_000, {1: (1, 0), -1: (2, 0)}
    tape.add(SECOND, 3, 1, 900, 500)
    tape.add(SECOND, 4, -1, 1_100, 500)
    for sign in (1, -1):
        orders[sign] = next_id, mid - 5 * sign
        tape.add(SECOND, next_id, sign, mid - 5 * sign, 100)
        next_id += 1
    for step in range(2 * seconds):
        now = 2 * SECOND + step * SECOND // 2
        sign = rng.choice((1, -1))  # of the resting order
        order_id, price = orders[sign]
        if rng.random() < hidden_share:
            tape.execute_hidden(now, sign, price + 3 * sign, 50)
        else:
            tape.execute(now, order_id, 100)
            orders[sign] = next_id, price
            tape.add(now + 50 * MS, next_id, sign, price, 100)
            next_id += 1
    return tape.market()


def by_hand() -> Market:
    """Return a market of three sweeps: one displayed and hidden, one of each side at one time."""
    tape = Tape()
    tape.add(SECOND, 1, 1, 90, 100)
    tape.add(SECOND, 2, -1, 110, 10)
    tape.add(SECOND, 3, -1, 112, 100)
    tape.execute_hidden(2 * SECOND, -1, 104.5, 4)
    tape.execute(2 * SECOND, 2, 10)
    tape.execute(2 * SECOND, 3, 6)
    tape.add(2 * SECOND + 5 * MS, 4, -1, 108, 10)
    tape.execute(3 * SECOND, 4, 5)
    tape.execute(3 * SECOND, 1, 20)
    return tape.market()


def test_sweeps_by_hand() -> None:
    """All that trades at one time for one side is one sweep, hidden executions first."""
    found = [met.sweep for met in sweeps_of(by_hand())]

    assert [Side.BUY, Side.BUY, Side.SELL] == [sweep.aggressor for sweep in found]
    assert [20, 5, 20] == [sweep.quantity_lots for sweep in found]
    assert [(104.5, 4, True), (110.0, 10, False), (112.0, 6, False)] == [
        tuple(part) for part in found[0].executions
    ]
    assert (4 * 104.5 + 1_100 + 672) / 20 == found[0].vwap_ticks


def test_decisions_by_hand() -> None:
    """With no latency the book is that just before; else all that was said up to then."""
    market = by_hand()
    sweeps = sweeps_of(market)
    first = Depth(((90, 100),), ((110, 10), (112, 100)))
    left = Depth(((90, 100),), ((112, 94),))
    back = Depth(((90, 100),), ((108, 10), (112, 94)))
    taken = Depth(((90, 100),), ((108, 5), (112, 94)))

    at_once = decisions_of(market, sweeps, 0)
    late = decisions_of(market, sweeps, SECOND - 3 * MS)
    too_late = decisions_of(market, sweeps, SECOND + 1)

    assert [
        Decision(2 * SECOND, first, 0),
        Decision(3 * SECOND, back, 1),
        Decision(3 * SECOND, taken, 2),
    ] == at_once
    assert Decision(2 * SECOND + 3 * MS, left, 1) == late[1]
    assert None is too_late[0]
    assert Decision(2 * SECOND - 1, first, 0) == too_late[1]


def test_realised_costs_by_hand() -> None:
    """Cost is the mean price against the mid at the decision, in bps, a loss above 0 on a side."""
    study = study_sweeps(by_hand(), progress=quiet, latencies_ns=(0,))
    (scored,) = study.scored
    vwap = (4 * 104.5 + 1_100 + 672) / 20
    expected = [(vwap - 100) / 100, (108 - 99) / 99, (99 - 90) / 99]
    assert np.allclose(np.array(expected) * 1e4, scored.realised)
    assert np.allclose([(111 - 100) * 100, 9 / 99 * 1e4, 9 / 99 * 1e4], scored.l2)
    assert [True, False, False] == scored.was_hidden.tolist()


@pytest.mark.parametrize("hidden_share", [0.0, 0.5])
def test_forecasts_never_look_ahead(hidden_share: float) -> None:
    """What comes after a decision changes nothing of what was forecast then."""
    whole = simulated(150, hidden_share)
    cut = len(whole.messages) // 2
    until = int(whole.messages["ts_event_ns"][cut])
    hidden = whole.hidden[whole.hidden["before_index"] <= cut]
    part = make_market("part", whole.instrument, whole.messages[:cut].copy(), hidden)
    latencies = (0, 10 * MS, 700 * MS)
    studies = [study_sweeps(one, progress=quiet, latencies_ns=latencies) for one in (whole, part)]
    warm_up = studies[0].warm_up
    assert warm_up > studies[1].warm_up
    for all_of, some in zip(studies[0].scored, studies[1].scored, strict=True):
        skipped = warm_up - studies[1].warm_up
        known = some.ts_ns[skipped:] < until
        count = int(known.sum())
        assert count > 40
        assert np.array_equal(all_of.costs[:count], some.costs[skipped:][known])
        assert np.array_equal(all_of.l3[:count], some.l3[skipped:][known])


def test_hidden_liquidity_is_found_in_a_simulated_market() -> None:
    """Where half of the sweeps trade hidden, L3 reaches the bar at no latency and loses at none."""
    evidence = measure(simulated(600, 0.5), progress=quiet)

    assert 4 == len(evidence.checks)
    assert "<= 0.80" == evidence.checks[0].bar
    assert evidence.holds, evidence.checks


def test_a_market_without_hidden_executions_loses_nothing() -> None:
    """Where nothing is hidden both forecasts are the same, and the bar is to be no worse."""
    evidence = measure(simulated(300, 0.0), progress=quiet)

    assert ["<= 1.00"] * 4 == [check.bar for check in evidence.checks]
    assert evidence.holds
    assert "names no hidden execution" in evidence.text
    rows = evidence.tables[0].rows
    assert rows[0][2] == rows[0][3]


def test_too_few_sweeps_decide_nothing() -> None:
    """A market of a few sweeps gets its table, no check, and is said to have too few."""
    evidence = measure(by_hand(), progress=quiet)
    assert () == evidence.checks
    assert "Too few" in evidence.text


def test_ratios() -> None:
    """Ratios of errors that are 0, and intervals that hold the ratio."""
    assert [0.5, 1.0, float("inf")] == [ratio_of(1, 2), ratio_of(0, 0), ratio_of(1, 0)]
    rng = np.random.default_rng(3)
    realised = np.zeros(2_000)
    costs = rng.normal(size=(2_000, 3)) * (1.0, 0.6, 0.6)
    scored = Scored(
        0,
        np.arange(2_000) * SECOND,
        realised,
        costs,
        costs[:, 1],
        realised,
        np.zeros(2_000, bool),
        np.zeros(2_000, np.int64),
        (),
    )
    low, high = ratio_interval(scored, np.random.default_rng(0))
    assert low < rmse(costs[:, 1]) / rmse(costs[:, 0]) < high
    assert high - low < 0.1
    assert (low, high) == ratio_interval(scored, np.random.default_rng(0))


def test_the_same_seed_gives_the_same_evidence() -> None:
    """Nothing is drawn but by the seed."""
    market = simulated(100, 0.5)
    first, again = (measure(market, progress=quiet, seed=5).to_json() for _ in range(2))
    assert first == again


def test_the_bars_on_a_real_hour(market_data: Path) -> None:
    """AAPL: at least 20 % under the L2 walk at no latency, the interval too, and no loss at any."""
    market = load_market(market_data / AAPL, progress=quiet)

    evidence = measure(market, progress=quiet)

    assert evidence.holds, evidence.checks
    rows = evidence.tables[0].rows
    assert [0.0, 1.0, 10.0, 100.0] == [row[0] for row in rows]
    assert np.isclose(0.84, float(rows[0][2]), atol=0.005)
    assert float(rows[0][6]) < 0.8
    assert all(float(row[6]) < 1 for row in rows)
    # Not only where sweeps follow one another at once.
    assert all(float(row[5]) < 0.8 for row in evidence.tables[1].rows)
