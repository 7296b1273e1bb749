"""Fill forecasts at arrival: outcomes of shadow orders, no look-ahead, a market that is known."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lob import MESSAGE_DTYPE, Action
from lob.errors import InvalidInput
from lob.fill_probability import hypoexponential_fill_probability
from lob.messages import Array
from lob.types import AssetClass, Instrument
from touchstone.fidelity.forecast import forecast_cases, measure
from touchstone.fidelity.forecast_baselines import BASELINES
from touchstone.fidelity.forecast_labels import shadow_fills
from touchstone.fidelity.forecast_protocol import (
    Forecasts,
    Protocol,
    prequential_forecasts,
    running_base_rate,
)
from touchstone.fidelity.forecast_scores import block_difference, score_forecast
from touchstone.fidelity.market import Market, load_market, make_market

SHARE = Instrument(
    symbol="A", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
ADD, DELETE, REDUCE, MODIFY, EXECUTE, CLEAR = tuple(Action)[4:]
TRADES, CANCELS, ARRIVALS = 1.0, 0.1, 1.6
SECONDS = 1_800.0
HORIZONS = (2.0, 5.0, 10.0)


def feed(*rows: tuple[float, int, int, int, int, int]) -> Array:
    """Return messages of (seconds, action, order id, side, price, lots)."""
    messages = np.zeros(len(rows), MESSAGE_DTYPE)
    for index, (seconds, action, order_id, side, price, lots) in enumerate(rows):
        ns = round(seconds * 1e9)
        messages[index] = (ns, order_id, price, lots, 0, action, side, 0, 0)
    return messages


def market_of(messages: Array) -> Market:
    """Return messages as a market."""
    return make_market("drawn", SHARE, messages)


def quiet(_: str) -> None:
    """Take progress without a word."""


def known_market(seed: int, seconds: float = SECONDS) -> Market:
    """Return two queues of one-lot orders: arrivals, cancels of each, and trades at the front.

    P(fill within T) of who joins behind n orders is a hypoexponential law, because there is always
    somebody to trade with: where a queue empties, another order comes at once.
    """
    rng = np.random.default_rng(seed)
    rows: list[tuple[float, int, int, int, int, int]] = []
    queues: dict[int, list[int]] = {1: [], -1: []}
    now, order_id = 1.0, 0

    def add(side: int) -> None:
        nonlocal order_id
        order_id += 1
        queues[side].append(order_id)
        rows.append((now, ADD, order_id, side, 100 if side > 0 else 101, 1))

    for side in (1, -1):
        for _ in range(3):
            add(side)
    while now < seconds:
        rates = [ARRIVALS, ARRIVALS, TRADES, TRADES] + [
            CANCELS * len(queues[side]) for side in (1, -1)
        ]
        now += rng.exponential(1 / sum(rates))
        what = int(rng.choice(6, p=np.array(rates) / sum(rates)))
        side = 1 if what % 2 == 0 else -1
        if what < 2:
            add(side)
            continue
        at = 0 if what < 4 else int(rng.integers(len(queues[side])))
        rows.append((now, EXECUTE if what < 4 else DELETE, queues[side].pop(at), 0, 0, 1))
        if not queues[side]:
            add(side)
    return market_of(feed(*rows))


@pytest.fixture(scope="module")
def known() -> Market:
    """The market whose law is known."""
    return known_market(seed=1)


SHORT = Protocol(warm_up_s=500.0, refit_s=250.0, horizons_s=HORIZONS)


def forecasts_of(market: Market) -> Forecasts:
    """Return the prequential forecasts of a market."""
    cases = forecast_cases(market)
    return prequential_forecasts(
        cases.features, cases.queues, market.seconds, SHORT, progress=quiet
    )


def oracle(market: Market) -> NDArray[np.float64]:
    """Return the true P(fill within each horizon) of every order."""
    ahead = market.orders["orders_ahead"]
    table = np.array(
        [
            hypoexponential_fill_probability(
                np.array(HORIZONS), mu=TRADES, theta=CANCELS, n_ahead=int(n)
            )
            for n in range(int(ahead.max()) + 1)
        ]
    )
    return np.asarray(table[ahead], np.float64)


def test_shadows_outlive_their_orders() -> None:
    """A cancelled order's shadow keeps its place: what was ahead goes, what came later waits."""
    market = market_of(
        feed(
            (1, ADD, 1, 1, 100, 5),
            (2, ADD, 2, 1, 100, 5),
            (3, ADD, 3, 1, 100, 5),
            (4, DELETE, 2, 0, 0, 0),
            (5, EXECUTE, 1, 0, 0, 5),
            (6, EXECUTE, 3, 0, 0, 1),
            (7, ADD, 4, -1, 105, 1),
        )
    )
    found = shadow_fills(market)
    assert found.fill_s.tolist() == [4, 4, 3, np.inf]
    assert found.known_s.tolist() == [6, 5, 4, 0]


def test_shadows_fill_where_trades_go_through_them() -> None:
    """A trade at a worse price fills; so does an order of the other side that would have met."""
    market = market_of(
        feed(
            (1, ADD, 1, 1, 100, 5),
            (2, ADD, 2, 1, 99, 5),
            (3, DELETE, 1, 0, 0, 0),
            (4, EXECUTE, 2, 0, 0, 1),
            (5, ADD, 3, 1, 98, 5),
            (6, DELETE, 3, 0, 0, 0),
            (7, DELETE, 2, 0, 0, 0),
            (8, ADD, 4, -1, 98, 1),
        )
    )
    assert shadow_fills(market).fill_s.tolist() == [3, 2, 3, np.inf]


def test_watching_ends_with_the_time_asked_for_or_the_book() -> None:
    """A later fill is not seen; a cleared book says no more."""
    rows = [
        (1.0, ADD, 1, 1, 100, 5),
        (2.0, ADD, 2, -1, 105, 5),
        (4.0, CLEAR, 0, 0, 0, 0),
        (5.0, ADD, 3, 1, 100, 5),
        (9.0, EXECUTE, 3, 0, 0, 5),
        (9.5, ADD, 4, 1, 90, 5),
    ]
    found = shadow_fills(market_of(feed(*rows)), watch_s=2.5)
    assert found.known_s.tolist() == [2.5, 2, 2.5, 0]
    assert found.fill_s.tolist() == [np.inf] * 4
    whole = shadow_fills(market_of(feed(*rows)), watch_s=60)
    assert whole.known_s.tolist() == [3, 2, 4.5, 0]
    assert whole.fill_s.tolist() == [np.inf, np.inf, 4, np.inf]


def test_a_known_law_is_forecast(known: Market) -> None:
    """Calibrated, and nearly as good as the law itself, at every horizon."""
    cases = forecast_cases(known)
    made, truth = forecasts_of(known), oracle(known)
    for column, horizon in enumerate(HORIZONS):
        p = made.corrected[:, column]
        rows = np.isfinite(p) & (cases.queues.known_s >= horizon)
        came = cases.queues.fill_s[rows] <= horizon
        running = running_base_rate(cases.queues, horizon)[rows]
        ours = score_forecast(p[rows], came, running)
        best = score_forecast(truth[rows, column], came, running)
        assert ours.cases > 3_000
        assert ours.ece < 0.03
        assert ours.brier == pytest.approx(best.brier, rel=0.05)
        assert ours.auc > best.auc - 0.05


def test_the_law_is_what_shadows_do(known: Market) -> None:
    """The outcomes themselves agree with the closed form, cancelled orders included."""
    fills, truth = shadow_fills(known), oracle(known)
    for column, horizon in enumerate(HORIZONS):
        closed = fills.known_s >= horizon
        seen = float((fills.fill_s[closed] <= horizon).mean())
        assert seen == pytest.approx(float(truth[closed, column].mean()), abs=0.03)


def test_forecasts_know_nothing_of_what_comes_later(known: Market) -> None:
    """Another market from 1,000 s on changes no forecast made before, of ours or the baselines'."""
    messages = known.messages
    cut = int(np.searchsorted(messages["ts_event_ns"], int(1_000e9)))
    later = known_market(seed=2).messages
    later = later[later["ts_event_ns"] >= int(1_000e9)].copy()
    later["order_id"] += 10**6
    other = market_of(np.concatenate([messages[:cut], later]))
    first, second = forecasts_of(known), forecasts_of(other)
    early = int((forecast_cases(known).queues.arrival_s < 1_000 - 1.0).sum())
    made = np.isfinite(first.corrected[:early, 0])
    assert made.sum() > 1_000
    np.testing.assert_array_equal(second.corrected[:early], first.corrected[:early])
    np.testing.assert_array_equal(second.fitted[:early], first.fitted[:early])
    for name in BASELINES:
        np.testing.assert_array_equal(second.baselines[name][:early], first.baselines[name][:early])


def test_forecasts_grow_with_the_horizon_after_correction(known: Market) -> None:
    """P(1 s) <= P(10 s) <= P(60 s) in what is reported, and in every baseline but constants."""
    made = forecasts_of(known)
    for table in (made.corrected, made.fitted, made.baselines["kaplan_meier_by_depth"]):
        some = table[np.isfinite(table[:, 0])]
        assert (np.diff(some, axis=1) >= 0).all()
        assert ((some >= 0) & (some <= 1)).all()


def test_first_forecasts_come_after_the_warm_up(known: Market) -> None:
    """None before it, all after; fits see only orders that came 60 s before."""
    made, queues = forecasts_of(known), forecast_cases(known).queues
    np.testing.assert_array_equal(np.isfinite(made.corrected[:, 0]), queues.arrival_s >= 500)
    for at_s, model in made.fits:
        assert model.cases[0] == int((queues.arrival_s <= at_s - 60).sum())


def test_evidence_of_a_known_market(known: Market) -> None:
    """Checks, tables and figures are all there, and the same again from the same seed."""
    found = measure(known, progress=quiet, seed=3)
    # Nobody waits for a minute here: that horizon has nothing to be judged by.
    assert [check.bar for check in found.checks] == [
        "at least 0.06", "at most 0.015", "below 0",
        "at least 0.08", "at most 0.02",
    ]  # fmt: skip
    assert ["needed: 50 each"] == [one.why.rsplit("; ")[-1] for one in found.unmeasured]
    assert len(found.tables[0].rows) == 3 * (2 + len(BASELINES))
    assert [len(figure.series) for figure in found.figures] == [3, 2]
    assert measure(known, progress=quiet, seed=3).to_json() == found.to_json()


def test_a_thin_market_is_reported_and_judged_by_nothing() -> None:
    """Too few fills: no check, the reason by horizon, and no crash; so with no order at all."""
    rows = [(1.0 + at, ADD, at + 1, 1 if at % 2 else -1, 100 - at % 2, 5) for at in range(200)]
    found = measure(market_of(feed(*rows)), progress=quiet)
    assert not found.checks
    assert 3 == len(found.unmeasured)
    snapshot = feed((1.0, ADD, 1, 1, 100, 5))
    snapshot["flags"] = 64
    nothing = measure(market_of(snapshot), progress=quiet)
    assert not nothing.checks
    assert all(one.why.startswith("0 fills and 0 orders") for one in nothing.unmeasured)


def test_running_base_rate_counts_closed_windows() -> None:
    """Orders at 0, 1, ... s, every other filling after half a second; known a second later."""
    queues = forecast_cases(
        market_of(feed(*((1.0 + at, ADD, at + 1, 1, 100, 5) for at in range(6))))
    ).queues
    queues = replace(queues, fill_s=np.array([0.5, np.inf] * 3), known_s=np.full(6, 60.0))
    np.testing.assert_allclose(
        running_base_rate(queues, 1.0), [0.5, 1.5 / 2, 1.5 / 3, 2.5 / 4, 2.5 / 5, 3.5 / 6]
    )


def test_blocks_tell_a_better_forecast() -> None:
    """The interval of a better forecast is below zero; of the same forecast it is zero."""
    rng = np.random.default_rng(4)
    truth = rng.uniform(size=5_000)
    came = rng.uniform(size=5_000) < truth
    arrival = np.sort(rng.uniform(0, 3_600, size=5_000))
    better = block_difference(truth, np.full(5_000, 0.5), came, arrival, seed=1)
    assert better.low < better.value < better.high < 0
    same = block_difference(truth, truth, came, arrival, seed=1)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    with pytest.raises(InvalidInput, match="p"):
        block_difference(truth[:0], truth[:0], came[:0], arrival[:0], seed=1)


def test_short_markets_warm_up_in_a_third() -> None:
    """Ten minutes: the first forecast at 200 s, a fit every 50 s; half an hour is enough."""
    short = Protocol().within(600)
    assert (short.warm_up_s, short.refit_s, short.purge_s) == (200, 50, 60)
    assert Protocol().within(1_800) == Protocol()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_aapl_hour(market_data: Path) -> None:
    """Every bar holds on the AAPL hour of 21 June 2012."""
    (path,) = (market_data / "lobster").glob("AAPL*message_50.csv")
    found = measure(load_market(path, progress=quiet), progress=quiet)
    assert [check.name for check in found.checks if not check.holds] == []
    assert len(found.checks) == 7
