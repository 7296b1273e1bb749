"""Order-flow imbalance, the propagator of trades, and Bertsimas and Lo's rules."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.impact import (
    bertsimas_lo_cost,
    bertsimas_lo_information,
    bertsimas_lo_percentage,
    bertsimas_lo_schedule,
    critical_beta,
    fit_depth_law,
    fit_price_impact,
    fit_propagator,
    measure_response,
    ofi_contributions,
    ofi_from_flows,
    ofi_impact_coefficient,
    order_flow_imbalance,
    propagator_kernel,
    propagator_prices,
    response_from_propagator,
    stylized_price_change,
    trade_imbalance,
)

# Bid price and size, ask price and size: before, after, and the contribution by the paper's rules.
EVENTS = [
    ((100, 5, 101, 7), (100, 8, 101, 7), 3),  # a limit order joins the bid
    ((100, 5, 101, 7), (100, 1, 101, 7), -4),  # a market sale, or a cancel, at the bid
    ((100, 5, 102, 7), (101, 2, 102, 7), 2),  # the bid improves: its whole size
    ((100, 5, 102, 7), (99, 9, 102, 7), -5),  # the bid is gone: what it was
    ((100, 5, 101, 7), (100, 5, 101, 9), -2),  # a limit order joins the ask
    ((100, 5, 101, 7), (100, 5, 101, 4), 3),  # a market purchase at the ask
    ((100, 5, 103, 7), (100, 5, 102, 4), -4),  # the ask improves
    ((100, 5, 101, 7), (100, 5, 102, 6), 7),  # the ask is gone
    ((100, 5, 101, 7), (101, 3, 102, 6), 3 + 7),  # both move up
]


@pytest.mark.parametrize(("before", "after", "wanted"), EVENTS)
def test_each_kind_of_event(before: tuple[int, ...], after: tuple[int, ...], wanted: float) -> None:
    """One change of the best quotes contributes what it added to demand less supply."""
    columns = [np.array(pair) for pair in zip(before, after, strict=True)]

    assert [wanted] == ofi_contributions(*columns).tolist()
    mirrored = [-columns[2], columns[3], -columns[0], columns[1]]
    assert [-wanted] == ofi_contributions(*mirrored).tolist()


def test_imbalance_sums_events_between_edges() -> None:
    """An event belongs to the interval that its time ends, or lies within."""
    sizes = [5, 6, 8, 8, 3]
    got = order_flow_imbalance(
        [0, 1, 2, 2, 4], [10] * 5, sizes, [11] * 5, [4, 4, 4, 1, 1], [0, 1, 3, 3.5, 5]
    )

    assert [1.0, 5.0, 0.0, -5.0] == got.tolist()


def test_stylized_book() -> None:
    """Flows at the best quotes: OFI of all six kinds, and half a tick a depth's worth."""
    assert 7.0 == ofi_from_flows(10, 2, 3, 4, 1, 5)
    assert [2.0, -1.0] == trade_imbalance([5, 2], [3, 3]).tolist()
    assert 0.5 == stylized_price_change(100, D=100)
    assert 1 / 400 == ofi_impact_coefficient(200)


def test_regression_finds_what_made_the_data() -> None:
    """Beta and R^2 are those of the noise that was put in; c and lambda those of the depth."""
    rng = np.random.default_rng(5)
    flow = rng.normal(0, 300, 20_000)
    moves = 0.1 + flow / 400 + rng.normal(0, 0.5, flow.size)
    fit = fit_price_impact(moves, flow)
    plain = fit_price_impact(moves, flow, robust=False)

    assert math.isclose(1 / 400, fit.beta, rel_tol=0.01)
    assert math.isclose(0.1, fit.alpha, abs_tol=0.02)
    assert math.isclose(0.75**2 / (0.75**2 + 0.25), fit.r2, rel_tol=0.02)
    assert math.isclose(fit.t_beta, plain.t_beta, rel_tol=0.05)
    # R^2 is the correlation's square, the plain t that of the correlation.
    r = float(np.corrcoef(moves, flow)[0, 1])
    assert math.isclose(r * r, fit.r2, rel_tol=1e-9)
    assert math.isclose(r * math.sqrt(19_998 / (1 - r * r)), plain.t_beta, rel_tol=1e-9)
    np.testing.assert_allclose(fit.predict([0, 400]), [fit.alpha, fit.alpha + 400 * fit.beta])

    depths = np.array([50.0, 100, 200, 400])
    law = fit_depth_law(0.5 / depths**0.9, depths)
    assert math.isclose(0.5, law.c)
    assert math.isclose(0.9, law.lam)
    assert math.isclose(1, law.r2)
    np.testing.assert_allclose(law.beta(depths), 0.5 / depths**0.9)


def test_exact_line() -> None:
    """Data on a line have R^2 1 and no standard error."""
    fit = fit_price_impact([1.0, 3.0, 5.0], [0.0, 1.0, 2.0])

    assert (1.0, 2.0, 1.0, 3) == (fit.alpha, fit.beta, fit.r2, fit.n)
    assert math.isinf(fit.t_beta)


def test_a_trades_impact_fades_as_the_propagator() -> None:
    """One trade moves the price by G(1), G(2), ..; several by the sum; the last entry goes on."""
    kernel = propagator_kernel(4, beta=0.25, l0=20, G0=3.0)

    np.testing.assert_allclose(kernel, 3 * (20 / (20 + np.arange(1, 5))) ** 0.25)
    np.testing.assert_allclose(propagator_prices([2, 0, 0, 0, 0, 0], kernel)[1:5], 2 * kernel)
    signs = np.array([1, -1, 1, 1, -1, 1, -1, -1.0])
    direct = [
        sum(kernel[min(n - m, 4) - 1] * signs[m] for m in range(n)) for n in range(signs.size + 1)
    ]
    np.testing.assert_allclose(propagator_prices(signs, kernel), direct, atol=1e-12)


def test_response_of_unrelated_signs_is_the_propagator() -> None:
    """With C(l) = 0 but for C(0), R(l) = C(0) G(l)."""
    kernel = propagator_kernel(10, beta=0.3)

    np.testing.assert_allclose(response_from_propagator(kernel, [1.5, 0, 0], 10), 1.5 * kernel)


def test_response_is_measured_and_inverted() -> None:
    """What a simulated tape shows is what the formula says, and gives G back."""
    rng = np.random.default_rng(2)
    flips = np.where(rng.random(200_000) < 0.3, -1, 1)
    signs = np.cumprod(flips).astype(np.float64)
    kernel = propagator_kernel(25, beta=0.3, l0=5)
    measured = measure_response(signs, propagator_prices(signs, kernel), 60)

    # A chain that turns with probability .3 has C(l) = .4^l.
    np.testing.assert_allclose(measured.C[:6], 0.4 ** np.arange(6), atol=0.01)
    predicted = response_from_propagator(kernel, measured.C, 25)
    np.testing.assert_allclose(measured.R[:25], predicted, atol=2e-3)
    np.testing.assert_allclose(fit_propagator(predicted, measured.C), kernel, rtol=1e-9)


def test_critical_decay_keeps_the_price_diffusive() -> None:
    """At beta = (1 - gamma) / 2 the variance of l-trade moves grows as l, over decades."""
    assert 0.25 == critical_beta(0.5)
    lags = 4_000
    correlation = np.concatenate([[1.0], np.arange(1, lags) ** -0.5 * 0.5])

    def growth(beta: float) -> float:
        # The variance of p_n from n independent-looking terms: sum of G G C over pairs.
        variances = []
        for far in (400, 1_600):
            kernel = propagator_kernel(far, beta, l0=1.0)
            shared = np.convolve(kernel, kernel[::-1])[far - 1 :]
            twice = np.where(np.arange(far) > 0, 2.0, 1.0)
            variances.append(float((twice * shared * correlation[:far]).sum()))
        return math.log(variances[1] / variances[0]) / math.log(4)

    assert growth(0.1) > growth(0.25) > growth(0.4)
    assert abs(growth(0.25) - 1) < 0.12


def test_even_trading_is_best_under_linear_permanent_impact() -> None:
    """Cost of even trades is the closed form and below that of any other that was tried."""
    rng = np.random.default_rng(3)

    def cost(trades: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
        return float(trades @ (50 + 0.01 * np.cumsum(trades)))

    best = bertsimas_lo_cost(1000.0, 8, 0.01, 50.0)
    assert math.isclose(best, cost(bertsimas_lo_schedule(1000.0, 8)))
    for _ in range(50):
        other = rng.normal(125, 30, 8)
        other += 125 - other.mean()
        assert cost(other) >= best
    rule = bertsimas_lo_information(8, 0.01, 0.0, 0.0)
    assert math.isclose(best, rule.expected_cost(7, 50.0, 1000.0, 0.0))


def nested(k: int, price: float, left: float, signal: float) -> tuple[float, float]:
    """Return the least cost and the trade of the information model, by parabolas over a tree."""
    theta, gamma, rho = 0.01, 0.2, 0.5
    if k == 0:
        return left * (price + theta * left + gamma * signal), left

    def cost(trade: float) -> float:
        paid = price + theta * trade + gamma * signal
        nexts = (nested(k - 1, paid, left - trade, rho * signal + e)[0] for e in (0.3, -0.3))
        return trade * paid + sum(nexts) / 2

    low, middle, high = cost(-1), cost(0), cost(1)
    curve = (low + high) / 2 - middle
    trade = -(high - low) / 4 / curve
    return cost(trade), trade


def test_information_rule_is_the_dynamic_programme() -> None:
    """The recursion's cost and first trade are those found by brute force on a two-point tree."""
    rule = bertsimas_lo_information(3, 0.01, 0.2, 0.5, 0.3)
    cost, trade = nested(2, 50.0, 30.0, 1.5)

    assert math.isclose(cost, rule.expected_cost(2, 50.0, 30.0, 1.5), rel_tol=1e-9)
    assert math.isclose(trade, rule.trade(2, 30.0, 1.5), rel_tol=1e-6)
    np.testing.assert_allclose(rule.delta_w, 1 / np.arange(1, 4))
    assert 30.0 == rule.trade(0, 30.0, 1.5)


def test_percentage_rule_is_the_dynamic_programme() -> None:
    """The same for impact as a share of the price, with a drift."""
    theta, gamma, rho, growth = 0.01, 0.2, 0.5, 1.01

    def best(k: int, left: float, signal: float) -> tuple[float, float]:
        if k == 0:
            return left * (1 + theta * left + gamma * signal), left

        def cost(trade: float) -> float:
            nexts = (best(k - 1, left - trade, rho * signal + e)[0] for e in (0.3, -0.3))
            return trade * (1 + theta * trade + gamma * signal) + growth * sum(nexts) / 2

        low, middle, high = cost(-1), cost(0), cost(1)
        trade = -(high - low) / 4 / ((low + high) / 2 - middle)
        return cost(trade), trade

    rule = bertsimas_lo_percentage(3, theta, gamma, rho, 0.3, q=growth)
    cost, trade = best(2, 30.0, 1.5)
    assert math.isclose(40 * cost, rule.expected_cost(2, 40.0, 30.0, 1.5), rel_tol=1e-9)
    assert math.isclose(trade, rule.trade(2, 30.0, 1.5), rel_tol=1e-6)
    even = bertsimas_lo_percentage(4, theta)
    np.testing.assert_allclose(even.delta_w, 1 / np.arange(1, 5))
    assert even.trade(3, 100.0, 0.0) == pytest.approx(25.0)


@given(left=st.floats(-1e4, 1e4), signal=st.floats(-5, 5))
def test_without_memory_the_signal_moves_the_cost_only(left: float, signal: float) -> None:
    """With rho = 0 today's signal says nothing of tomorrow: trade evenly."""
    rule = bertsimas_lo_information(6, 0.01, 0.2, 0.0, 0.3)

    assert math.isclose(left / 6, rule.trade(5, left, signal), abs_tol=1e-9)


def test_refusals_name_the_argument() -> None:
    """Lists that do not go together, constant regressors, correlations out of range."""
    with pytest.raises(InvalidInput, match=r"^OFI: 2\.0 all along; allowed: values that differ$"):
        fit_price_impact([1, 2, 3], [2, 2, 2])
    with pytest.raises(InvalidInput, match=r"^bid_size: 1 numbers; allowed: as many as bid_price"):
        ofi_contributions([1, 2], [1], [3, 3], [1, 1])
    with pytest.raises(InvalidInput, match=r"^times: one below the one before"):
        order_flow_imbalance([1, 0], [1, 1], [1, 1], [2, 2], [1, 1], [0, 1])
    with pytest.raises(InvalidInput, match=r"^rho: 1\.5; allowed: -1\.\.1$"):
        bertsimas_lo_information(3, 0.1, 0.1, 1.5)
    with pytest.raises(InvalidInput, match=r"^k: 3; allowed: a whole number 0\.\.2$"):
        bertsimas_lo_information(3, 0.1, 0.1, 0.5).trade(3, 1.0, 1.0)
    with pytest.raises(InvalidInput, match=r"^prices: 5; allowed: as many as trades \(3\)"):
        measure_response([1, 1, 1], [1, 2, 3, 4, 5], 1)
    with pytest.raises(InvalidInput, match=r"^C: 1 lags; allowed: 2 or more$"):
        fit_propagator([1.0, 2.0], [1.0])
