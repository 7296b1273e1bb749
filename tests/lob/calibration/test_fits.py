"""Fits give back what simulated data were made of, and refuse what says too little."""

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from lob.calibration import flow_fit, impact_fit
from lob.calibration.flow_fit import (
    LIFE_LEVELS,
    fit_flow,
    law,
    life_quantiles,
    not_negative_least_squares,
)
from lob.calibration.hidden_fit import fit_hidden
from lob.calibration.impact_fit import fit_impact
from lob.calibration.latency_fit import fit_latency
from lob.calibration.market_fit import MarketCalibration
from lob.calibration.measures import aggressors, autocorrelation
from lob.calibration.moments import closeness, draw_flow, fit_moments
from lob.calibration.rates_fit import fit_rates
from lob.calibration.tape import Tape, make_tape
from lob.clustered_flow import ClusteredProfile, load_profile
from lob.errors import InvalidInput
from lob.hawkes.multiscale import MultiscaleFit, fit_multiscale
from lob.hidden import Depth, Execution, Sweep
from lob.impact import Regression
from lob.latency import Shape
from lob.messages import MESSAGE_DTYPE, Action, Flag
from lob.types import AssetClass, Instrument, Side

SECOND = 1_000_000_000
SHARE = Instrument(
    symbol="MADE", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
PLAIN = replace(load_profile(), warm_up_seconds=60.0)


@pytest.fixture(scope="module")
def tape() -> Tape:
    """Ten minutes of the shipped profile's flow."""
    return drawn(PLAIN, 600.0, seed=11)


def drawn(profile: ClusteredProfile, seconds: float, seed: int) -> Tape:
    """Return the tape of a profile's flow."""
    flow = draw_flow(profile, SHARE, seconds=seconds, mid_ticks=50_000, seed=seed)
    return make_tape(flow.feed, SHARE, flow.hidden, skip_seconds=0.0)


def test_excitation_is_recovered_on_both_scales() -> None:
    """A process of clusters with known offspring: within four standard errors, and it fits."""
    rng = np.random.default_rng(5)
    waiting, times = rng.uniform(0, 4_000, 4_000).tolist(), []
    while waiting:
        at = waiting.pop()
        times.append(at)
        for mean, decay in ((0.3, 1.0), (0.2, 100.0)):
            waiting += (at + rng.exponential(1 / decay, rng.poisson(mean))).tolist()
    events = np.sort([at for at in times if at <= 4_000])

    fit = fit_multiscale(events, [events], (1.0, 100.0), 4_000.0)

    assert abs(fit.mu - 1.0) < 4 * fit.mu_error
    for found, error, made in zip(
        fit.offspring[0], fit.offspring_errors[0], (0.3, 0.2), strict=True
    ):
        assert abs(found - made) < 4 * error < 0.1
    assert 0.01 < fit.residual_test.p_value
    assert fit.poisson_log_likelihood < fit.log_likelihood


def test_flow_of_a_known_profile_is_fitted_back(tape: Tape) -> None:
    """Shares, sizes and places by their frequencies; the arrivals are fewer than critical."""
    profile = fit_flow(tape, warm_up_seconds=60.0).profile

    assert PLAIN.hidden_only == pytest.approx(profile.hidden_only, abs=0.06)
    assert dict(PLAIN.limit_lots)[100.0] == pytest.approx(dict(profile.limit_lots)[100.0], abs=0.03)
    assert profile.branching_ratio < 1
    signs = aggressors(drawn(profile, 600.0, seed=12)).sign
    wanted = autocorrelation(aggressors(tape).sign, 1)
    assert wanted == pytest.approx(autocorrelation(signs, 1), abs=0.15)


def test_moments_bring_the_flow_nearer(tape: Tape) -> None:
    """More evaluations never lose, the same seed gives the same profile."""
    fit = fit_flow(tape, warm_up_seconds=30.0)
    one = fit_moments(tape, fit, evaluations=1, seconds=60.0)
    few = fit_moments(tape, fit, evaluations=6, seconds=60.0)

    assert few.loss <= one.loss
    assert few == fit_moments(tape, fit, evaluations=6, seconds=60.0)


def test_closeness_counts_what_is_near() -> None:
    """A quarter off counts a half, hopeless figures 1, those that are 0 not at all."""
    assert 0.5 == pytest.approx(closeness({"a": 1.0}, {"a": 1.25}))
    assert 1.0 == closeness({"a": 1.0}, {"a": math.nan})
    assert 0.0 == closeness({"a": 1.0, "b": -1.0}, {"a": 1.0, "b": 5.0})


def test_lives_are_those_of_kaplan_and_meier() -> None:
    """Half of the orders of a known life are seen to trade first: censored, not short."""
    rng = np.random.default_rng(2)
    lives, trades = rng.exponential(2.0, 20_000), rng.exponential(2.0, 20_000)
    found = life_quantiles(np.minimum(lives, trades), lives < trades, 1_000.0)
    middle = found[LIFE_LEVELS.index(0.5)]
    assert 2.0 * math.log(2) == pytest.approx(middle, rel=0.05)


def test_laws_and_least_squares() -> None:
    """A law has few entries of total 1; weights are never below 0."""
    values = np.random.default_rng(1).geometric(0.01, 5_000)
    found = law(values)
    assert len(found) <= 96
    assert 1.0 == pytest.approx(sum(share for _, share in found))
    assert values.mean() == pytest.approx(sum(v * share for v, share in found), rel=0.02)
    design = np.random.default_rng(2).random((30, 3))
    weights = not_negative_least_squares(design, design @ np.array([0.5, 0.0, 2.0]))
    assert [0.5, 0.0, 2.0] == pytest.approx(weights.tolist(), abs=1e-4)


def test_rates_are_counted_with_their_errors(tape: Tape) -> None:
    """The rates are the tape's; a Poisson process is refused, as it should be."""
    found = fit_rates(tape)

    assert found.limits.events / tape.duration == found.limits.per_second
    assert 0 < found.limits.error < found.limits.per_second
    assert found.limits.poisson_test.p_value < 0.01
    assert 1 < found.limits.fano_1s
    assert 100 == found.round_lots


def impact_tape(slope: float, seconds: int = 2_000, seed: int = 3) -> Tape:
    """Return a market where each trade of 10..90 lots moves both quotes by `slope` a lot."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, ...]] = []
    mid, number = 1_000_000, 10

    def say(at_ns: int, action: Action, order: int, lots: int, price: int, side: int) -> None:
        rows.append((at_ns, order, price, lots, 0, action.value, side, 0, Flag.LAST.value))

    quotes = {1: 1, -1: 2}
    for side, order in quotes.items():
        say(0, Action.FEED_ADD, order, 100, mid - side, side)
    for step in range(1, 2 * seconds):
        at_ns = step * SECOND // 2
        sign, lots = int(rng.choice((-1, 1))), int(rng.integers(10, 91))
        say(at_ns, Action.FEED_EXECUTE, quotes[-sign], lots, 0, 0)
        for order in quotes.values():
            say(at_ns + 1_000, Action.FEED_DELETE, order, 0, 0, 0)
        mid += round(sign * lots * slope + rng.normal(0, 20))
        for side in (1, -1):
            number += 1
            quotes[side] = number
            say(at_ns + 2_000, Action.FEED_ADD, number, 100, mid - side, side)
    return make_tape(np.array(rows, MESSAGE_DTYPE), SHARE, skip_seconds=0.0)


def test_permanent_impact_is_recovered() -> None:
    """Half a tick a lot, drawn out to a day: within three standard errors."""
    fit = fit_impact(impact_tape(0.5), session_seconds=2_000.0)

    adv = fit.adv_quantity
    made = 0.5 / 1_000_000 * adv
    assert abs(fit.gamma.value - made) < 3 * fit.gamma.error
    assert fit.gamma.error < 0.1 * made
    assert fit.gamma.significant
    # all of it is permanent: nothing more was paid at once
    assert abs(fit.eta.value) < 4 * fit.eta.error
    assert 0.5 * 0.01 == pytest.approx(fit.kyle.value, rel=0.2)
    assert made == pytest.approx(fit.linear.value, rel=0.1)


def test_no_impact_is_no_significant_impact() -> None:
    """Where trades move nothing the slope is within its error of 0."""
    fit = fit_impact(impact_tape(0.0), session_seconds=2_000.0)
    assert abs(fit.gamma.value) < 3.5 * fit.gamma.error


def test_too_short_a_market_has_no_impact() -> None:
    """It says how many intervals there are."""
    with pytest.raises(InvalidInput, match="intervals of 10 s"):
        fit_impact(impact_tape(0.5, seconds=40))


def test_the_feed_latency_is_recovered() -> None:
    """Mean, variation and family of two clocks; None of one clock or clocks that run backwards."""
    rng = np.random.default_rng(4)
    sent = np.arange(1, 5_001, dtype=np.int64) * SECOND
    spread = math.sqrt(math.log(1 + 0.8**2))
    took = rng.lognormal(math.log(150.0) - spread**2 / 2, spread, 5_000)
    fit = fit_latency(sent, sent + (took * 1_000).astype(np.int64))

    assert fit is not None
    assert 150.0 == pytest.approx(fit.feed_us, rel=0.05)
    assert 0.8 == pytest.approx(fit.cv, rel=0.1)
    assert Shape.LOGNORMAL is fit.distribution
    assert fit.gaps["lognormal"] < fit.gaps["gamma"]
    assert fit_latency(sent, np.zeros(5_000, np.int64)) is None
    assert fit_latency(sent, sent - 1_000) is None


def test_the_hidden_share_is_recovered() -> None:
    """Three sweeps in ten meet one inside the spread; a market of none says nothing."""
    rng = np.random.default_rng(6)
    depth = Depth(bids=((95, 100),), asks=((100, 100),))

    def sweep(number: int, *, hidden: bool) -> tuple[Sweep, Depth]:
        part = Execution(97, 50, hidden=True) if hidden else Execution(100, 50, hidden=False)
        return Sweep(number * SECOND, Side.BUY, (part,)), depth

    made = [sweep(number, hidden=bool(rng.random() < 0.3)) for number in range(1, 801)]
    fit = fit_hidden(made, SHARE)

    assert fit is not None
    assert 0.3 == pytest.approx(fit.inside_share, abs=0.05)
    assert 0.5 == pytest.approx(fit.size_ratio)
    assert fit.brier == pytest.approx(fit.brier_constant, abs=0.03)
    assert fit_hidden([sweep(number, hidden=False) for number in range(1, 801)], SHARE) is None
    assert fit_hidden(made[:20], SHARE) is None


def test_a_market_of_few_orders_is_refused() -> None:
    """The error counts what there is."""
    rows = [
        (SECOND, 1, 9, 5, 0, Action.FEED_ADD.value, 1, 0, 0),
        (SECOND, 2, 11, 5, 0, Action.FEED_ADD.value, -1, 0, 0),
        (3 * SECOND, 2, 0, 5, 0, Action.FEED_EXECUTE.value, 0, 0, 0),
    ]
    few = make_tape(np.array(rows, MESSAGE_DTYPE), SHARE, skip_seconds=0.0)
    with pytest.raises(InvalidInput, match="2 limit orders; allowed: 30 or more"):
        fit_flow(few)
    with pytest.raises(InvalidInput, match="0 cancels; allowed: 2 or more"):
        fit_rates(few)


def test_a_market_that_excites_itself_without_end_is_scaled_back(
    tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much excitation likelihood finds, the profile is one whose flow does not explode."""

    def wild(*arguments: Any, **options: Any) -> MultiscaleFit:
        found = fit_multiscale(*arguments, **options)
        rows = tuple(tuple(20 * value for value in row) for row in found.offspring)
        return replace(found, offspring=rows)

    monkeypatch.setattr(flow_fit, "fit_multiscale", wild)
    profile = fit_flow(tape, warm_up_seconds=30.0).profile
    assert 0.5 < profile.branching_ratio < 1


def one_sided(tape: Tape) -> Tape:
    """Return a tape whose events met no asks."""
    nothing = np.zeros_like(tape.quotes.ask)
    return replace(tape, quotes=replace(tape.quotes, ask=nothing, ask_lots=nothing))


@pytest.mark.parametrize(
    ("fit", "change", "said"),
    [
        (fit_flow, one_sided, "no limit order met both sides of the book"),
        (fit_flow, lambda tape: replace(tape, ended=tape.ended & False), "was cancelled whole"),
        (
            fit_impact,
            one_sided,
            "hardly an aggressive order met both sides of the book",
        ),
    ],
)
def test_what_a_tape_lacks_is_said_in_one_line(
    tape: Tape, fit: Callable[[Tape], object], change: Callable[[Tape], Tape], said: str
) -> None:
    """No index out of bounds, no division by zero."""
    with pytest.raises(InvalidInput, match=f"^messages: .*{said}.*; allowed: ") as refusal:
        fit(change(tape))
    assert "\n" not in str(refusal.value)


def test_a_slope_of_nothing_is_not_significant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moves that go with no volume have a slope of exactly 0, of which no error can be told."""
    flat = Regression(0.0, 0.0, 0.0, 0.0, 0.0, 200)
    monkeypatch.setattr(impact_fit, "fit_price_impact", lambda *_: flat)
    fit = fit_impact(impact_tape(0.5), session_seconds=2_000.0)
    assert (0.0, math.inf, False) == (fit.gamma.value, fit.gamma.error, fit.gamma.significant)


def test_a_book_too_deep_for_the_key_is_written_as_its_most(tape: Tape) -> None:
    """A file is written, and loads, whatever Little's law says of the resting orders."""
    rates = fit_rates(tape)._replace(resting_orders=4_000_000)
    impact = fit_impact(impact_tape(0.5), session_seconds=2_000.0)
    found = MarketCalibration(
        "MADE", 600.0, 1, fit_flow(tape), None, rates, impact, None, None, None
    )
    assert 1_000_000 == found.config().lob_data.resting_orders
