"""Kyle's equilibria solve their equations, and meet one another at their limits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from lob.impact import kyle_continuous, kyle_sequential, kyle_single

VARIANCES = st.floats(-6, 6).map(lambda power: 10.0**power)


@given(variance=VARIANCES, noise=VARIANCES, insiders=st.integers(1, 50))
def test_single_auction_is_an_equilibrium(variance: float, noise: float, insiders: int) -> None:
    """The price is the regression on the flow; each insider's order is the best answer to it."""
    got = kyle_single(variance, noise, insiders)
    flow = insiders * got.beta

    assert math.isclose(got.lam, flow * variance / (flow**2 * variance + noise))
    # max over x of E[(v - p0 - lam (x + (M - 1) beta (v - p0))) x]
    assert math.isclose(got.beta, (1 - got.lam * (insiders - 1) * got.beta) / (2 * got.lam))
    assert math.isclose(got.Sigma1, variance * (1 - got.lam * flow))
    assert math.isclose(got.profit, flow * variance * (1 - got.lam * flow))


@given(variance=VARIANCES, noise=VARIANCES, auctions=st.integers(1, 40), horizon=st.floats(0.1, 9))
def test_sequential_equilibrium_solves_theorem_2(
    variance: float, noise: float, auctions: int, horizon: float
) -> None:
    """Every difference equation holds, with its ends and its second-order condition."""
    got = kyle_sequential(variance, noise, auctions, horizon)
    ahead, gaps = got.alpha[1:] * got.lam, got.dt

    np.testing.assert_allclose(got.lam, got.beta * got.Sigma[1:] / noise, rtol=1e-11)
    np.testing.assert_allclose(got.alpha[:-1], 1 / (4 * got.lam * (1 - ahead)), rtol=1e-11)
    np.testing.assert_allclose(
        got.beta * gaps, (1 - 2 * ahead) / (2 * got.lam * (1 - ahead)), rtol=1e-9
    )
    np.testing.assert_allclose(
        got.Sigma[1:], (1 - got.beta * got.lam * gaps) * got.Sigma[:-1], rtol=1e-9
    )
    np.testing.assert_allclose(
        got.delta[:-1], got.delta[1:] + got.alpha[1:] * got.lam**2 * noise * gaps, rtol=1e-9
    )
    assert (got.lam * (1 - ahead) > 0).all()
    assert 0 == got.alpha[-1] == got.delta[-1]
    assert math.isclose(variance, got.Sigma[0], rel_tol=1e-12)


def test_one_auction_is_the_single_one() -> None:
    """N = 1 gives Theorem 1."""
    one, single = kyle_sequential(4.0, 9.0, 1), kyle_single(4.0, 9.0)

    assert math.isclose(single.lam, one.lam[0])
    assert math.isclose(single.beta, one.beta[0])
    assert math.isclose(single.Sigma1, one.Sigma[1])
    assert math.isclose(single.profit, one.profit)


def test_two_auctions_by_hand() -> None:
    """With N = 2 the last auction is a single one and the first's order solves a cubic.

    With K = lam_2 / lam_1 and beta_n dt = b_n: b_2 = 1 / (2 lam_2), alpha_1 = 1 / (4 lam_2),
    b_1 lam_1 = (2 K - 1) / (4 K - 1) and Sigma_1 = 2 Sigma_2, so that 8 K^3 - 4 K^2 - 4 K + 1 = 0
    (Huddart, Hughes and Levine, Econometrica 69, 2001).
    """
    got = kyle_sequential(1.0, 2.0, 2)
    root = got.lam[1] / got.lam[0]

    assert abs(8 * root**3 - 4 * root**2 - 4 * root + 1) < 1e-13
    assert 0.901 == round(root, 3)
    assert math.isclose(got.beta[0] * 0.5 * got.lam[0], (2 * root - 1) / (4 * root - 1))


def test_many_auctions_tend_to_the_continuous_one() -> None:
    """Lambda, the information left and the profit are those of Theorem 3."""
    times = np.array([0.0, 0.25, 0.5])
    limit = kyle_continuous(4.0, 9.0, times)
    fine = kyle_sequential(4.0, 9.0, 20_000)

    np.testing.assert_allclose(fine.lam[[0, 5_000, 10_000]], limit.lam, rtol=1e-3)
    np.testing.assert_allclose(fine.Sigma[[0, 5_000, 10_000]], limit.Sigma, rtol=1e-3)
    np.testing.assert_allclose(fine.beta[[0, 5_000, 10_000]], limit.beta, rtol=1e-3)
    assert math.isclose(fine.profit, limit.profit, rel_tol=1e-3)
    assert math.isclose(limit.profit, limit.alpha * 4.0 + limit.delta[0])
    assert math.isinf(kyle_continuous(4.0, 9.0, 1.0).beta)


def test_profit_grows_with_the_number_of_auctions() -> None:
    """From the single auction's to the continuous one's, twice as much."""
    profits = [kyle_sequential(1.0, 1.0, n).profit for n in (1, 2, 4, 16, 256)]

    assert profits == sorted(profits)
    assert math.isclose(0.5, profits[0])
    assert 0.98 < profits[-1] < 1


@given(factor=VARIANCES)
def test_units_scale(factor: float) -> None:
    """Prices by c and quantities by d make lambda c/d, beta d/c, profits c d."""
    plain = kyle_sequential(1.0, 1.0, 7)
    scaled = kyle_sequential(factor**2, 4.0, 7)

    np.testing.assert_allclose(scaled.lam, plain.lam * factor / 2, rtol=1e-11)
    np.testing.assert_allclose(scaled.beta, plain.beta * 2 / factor, rtol=1e-11)
    assert math.isclose(scaled.profit, plain.profit * factor * 2, rel_tol=1e-11)


def test_uneven_auctions() -> None:
    """Gaps given one by one solve the equations too, and even ones are the plain answer."""
    even = kyle_sequential(1.0, 1.0, 3, dt=[1 / 3] * 3)
    np.testing.assert_allclose(even.lam, kyle_sequential(1.0, 1.0, 3).lam)
    uneven = kyle_sequential(1.0, 1.0, 3, dt=[0.2, 0.5, 0.3])
    np.testing.assert_allclose(uneven.lam, uneven.beta * uneven.Sigma[1:])
    np.testing.assert_allclose(
        uneven.Sigma[1:], uneven.Sigma[:-1] * (1 - uneven.beta * uneven.lam * uneven.dt)
    )


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf, "4", None, True])
def test_refusals_name_the_argument(wrong: object) -> None:
    """A variance that is none is refused in one line."""
    with pytest.raises(InvalidInput, match=r"^Sigma0: .*; allowed: "):
        kyle_single(wrong, 1.0)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"^sigma_u2: .*; allowed: "):
        kyle_sequential(1.0, wrong, 3)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"^dt: 2 gaps; allowed: as many as N \(3\)$"):
        kyle_sequential(1.0, 1.0, 3, dt=[0.5, 0.5])
    with pytest.raises(InvalidInput, match=r"^t: 2\.0; allowed: 0\.\.1\.0$"):
        kyle_continuous(1.0, 1.0, 2.0)
