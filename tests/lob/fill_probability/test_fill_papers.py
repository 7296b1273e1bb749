"""Fill probabilities and survival curves by other means than the functions' own."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob.fill_probability import (
    compound_poisson_fill_probability,
    erlang_fill_probability,
    expected_wait,
    filled_quantity_law,
    first_passage_density,
    first_passage_fill_probability,
    first_passage_quantile,
    geometric_fill_probability,
    hypoexponential_fill_probability,
    kaplan_meier,
    lower_before_upper,
    nelson_aalen,
)


@pytest.mark.parametrize(("mu", "t"), [(2.0, 1.0), (0.5, 10.0), (30.0, 2.0)])
def test_erlang_is_the_poisson_sum(mu: float, t: float) -> None:
    """One less the chance of too few trades, term by term, with and without size of ours."""
    for ahead, size in itertools.product((0, 3, 40), (1, 5)):
        few = math.fsum(
            math.exp(k * math.log(mu * t) - mu * t - math.lgamma(k + 1))
            for k in range(ahead + size)
        )
        ours = float(erlang_fill_probability(t, mu=mu, n_ahead=ahead, quantity=size))
        assert 1 - few == pytest.approx(ours, abs=1e-12)


@pytest.mark.parametrize(("mu", "theta"), [(0.94, 0.71), (3.0, 0.8), (0.2, 2.0)])
@pytest.mark.parametrize("ahead", [0, 1, 4, 9])
def test_hypoexponential_by_partial_fractions(mu: float, theta: float, ahead: int) -> None:
    """Distinct stages r_i: 1 less the sum of exp(-r_i t) times the product of r_j / (r_j - r_i)."""
    rates = [mu + n * theta for n in range(ahead + 1)]
    for t in (0.3, 2.0, 12.0):
        left = math.fsum(
            math.exp(-r * t) * math.prod(s / (s - r) for s in rates if s != r) for r in rates
        )
        ours = float(hypoexponential_fill_probability(t, mu=mu, theta=theta, n_ahead=ahead))
        assert 1 - left == pytest.approx(ours, abs=1e-8)
    wait = expected_wait(mu=mu, theta=theta, n_ahead=ahead)
    assert math.fsum(1 / r for r in rates) == pytest.approx(wait)


def test_cancels_ahead_and_trades_of_any_size_drawn_one_by_one() -> None:
    """The law of the filled quantity against a queue whose events are drawn."""
    rng, paths, counts = np.random.default_rng(8), 20_000, np.zeros(4)
    sizes = [0.5, 0.3, 0.2]
    for _ in range(paths):
        ahead, ours, clock = 4, 3, 0.0
        while ours:
            rate = 1.2 + 0.4 * ahead
            clock += rng.exponential(1 / rate)
            if clock > 2.0:
                break
            if rng.random() * rate < 1.2:
                lots = 1 + int(rng.choice(3, p=sizes))
                taken = min(ahead, lots)
                ahead, ours = ahead - taken, max(0, ours - (lots - taken))
            else:
                ahead -= 1
        counts[3 - ours] += 1
    law = filled_quantity_law(2.0, mu=1.2, theta=0.4, n_ahead=4, quantity=3, sizes=sizes)

    for share, chance in zip(counts / paths, law, strict=True):
        assert abs(share - chance) < 4 * math.sqrt(chance * (1 - chance) / paths)


def test_compound_poisson_by_convolutions() -> None:
    """Given k trades their sizes are the law convolved k times; k is Poisson."""
    sizes, mean = np.array([0.2, 0.5, 0.0, 0.3]), 3.5
    total, power = np.zeros(200), np.array([1.0])
    for k in range(40):
        weight = math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))
        total[: power.size] += weight * power[:200]
        power = np.convolve(power, np.concatenate([[0.0], sizes]))
    for ahead, quantity in ((0, 1), (5, 2), (20, 10)):
        ours = compound_poisson_fill_probability(
            0.7, rate=5.0, sizes=sizes, n_ahead=ahead, quantity=quantity
        )
        assert 1 - total[: ahead + quantity].sum() == pytest.approx(ours, abs=1e-10)


@pytest.mark.parametrize("drift", [-0.8, 0.0, 0.5])
def test_first_passage_by_the_heat_equation(drift: float) -> None:
    """A diffusion absorbed at 0, stepped implicitly over a grid: what has been absorbed by t."""
    distance, sigma, horizon, cells, steps = 0.6, 0.9, 1.0, 1_200, 500
    h, dt = 6.0 / cells, horizon / steps
    # Backward: u(x) is P(absorbed within the time left | x above the limit); u(0) = 1.
    diffuse, carry = sigma**2 / 2 / h**2, drift / 2 / h
    matrix = (
        np.diag(np.full(cells, 2 * diffuse))
        - np.diag(np.full(cells - 1, diffuse + carry), 1)
        - np.diag(np.full(cells - 1, diffuse - carry), -1)
    )
    source = np.zeros(cells)
    source[0] = diffuse - carry
    one, value = np.eye(cells), np.zeros(cells)
    # Two half steps of a plain implicit scheme first, which the jump at 0 needs; then the mean.
    implicit = np.linalg.inv(one + matrix * dt / 2)
    for _ in range(2):
        value = implicit @ (value + source * dt / 2)
    for _ in range(steps - 1):
        value = implicit @ (value - matrix @ value * dt / 2 + source * dt)
    place = round(distance / h) - 1

    ours = float(
        first_passage_fill_probability(horizon, distance=distance, sigma=sigma, drift=drift)
    )
    assert value[place] == pytest.approx(ours, abs=2e-4)


def test_the_density_adds_up_and_the_quantile_inverts() -> None:
    """The inverse Gaussian density's area is the probability; half have touched by the median."""
    t = np.linspace(1e-6, 2.0, 200_001)
    density = first_passage_density(t, distance=1.2, sigma=0.8, drift=-0.3)
    area = float((density[1:] + density[:-1]).sum() * (t[1] - t[0]) / 2)
    reached = float(first_passage_fill_probability(2.0, distance=1.2, sigma=0.8, drift=-0.3))
    median = first_passage_quantile(0.5, distance=1.2, sigma=0.8)

    assert area == pytest.approx(reached, abs=1e-8)
    assert 0.5 == pytest.approx(float(
        first_passage_fill_probability(median, distance=1.2, sigma=0.8)
    ))  # fmt: skip


def test_geometric_fills_on_a_binomial_tree() -> None:
    """Limits below and above a geometric price, on a tree of 4,000 steps through the limit."""
    price, sigma, drift, horizon = 100.0, 0.3, 0.1, 0.5
    for limit in (90.0, 112.0):
        # The limit is to be on a level of the tree: a whole number of steps of the logarithm away.
        levels = round(abs(math.log(limit / price)) / (sigma * math.sqrt(horizon / 4_000)))
        step = abs(math.log(limit / price)) / levels
        count = round(horizon * sigma**2 / step**2)
        dt = horizon / count
        up = 0.5 + (drift - sigma**2 / 2) * dt / (2 * step)
        towards = up if limit > price else 1 - up
        alive, touched = np.zeros(levels + count + 2), 0.0
        alive[levels] = 1.0  # index: steps still to the limit
        for _ in range(count):
            touched += towards * alive[1]
            moved = np.zeros_like(alive)
            moved[1:-1] = towards * alive[2:]
            moved[2:] += (1 - towards) * alive[1:-1]
            alive = moved
        ours = geometric_fill_probability(
            horizon, price=price, limit=limit, sigma=sigma, drift=drift
        )
        assert touched == pytest.approx(float(ours), abs=1e-3)


@pytest.mark.parametrize("drift", [-0.5, 0.0, 0.3])
def test_which_barrier_first_by_gamblers_ruin(drift: float) -> None:
    """A walk of tiny steps between two barriers: ((q/p)^l - ..) / .. of Feller I, XIV.2."""
    below, above, sigma, step = 0.7, 1.3, 1.1, 1e-3
    up = 0.5 * (1 + drift * step / sigma**2)
    odds = (1 - up) / up
    low, high = round(below / step), round(above / step)
    ruin = high / (low + high)
    if drift:
        ruin = (odds**low - odds ** (low + high)) / (1 - odds ** (low + high))

    ours = float(lower_before_upper(below=below, above=above, sigma=sigma, drift=drift))
    assert ruin == pytest.approx(ours, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 8), st.booleans()), min_size=1, max_size=30),
)
def test_kaplan_meier_by_redistribution_to_the_right(seen: list[tuple[int, bool]]) -> None:
    """Efron's way: each censored observation leaves its weight to those after it, ties included."""
    # At ties events come first: a censored one lasted a little longer.
    ordered = sorted(seen, key=lambda one: (one[0], not one[1]))
    weights = [1 / len(ordered)] * len(ordered)
    for place, (_, event) in enumerate(ordered):
        after = len(ordered) - place - 1
        if not event and after:
            for later in range(place + 1, len(ordered)):
                weights[later] += weights[place] / after
            weights[place] = 0.0
    durations, events = ([one[k] for one in seen] for k in (0, 1))
    curve = kaplan_meier(durations, events)
    for t in range(10):
        gone = sum(
            w for w, (when, event) in zip(weights, ordered, strict=True) if event and when <= t
        )
        assert 1 - gone == pytest.approx(float(curve.survival_at(t)), abs=1e-12)


def test_greenwood_and_nelson_with_ties_by_hand() -> None:
    """Five at risk with two events at 2; three with one at 4: S, Greenwood's sum, and d / n."""
    durations, events = [2, 2, 4, 4, 5], [1, 1, 1, 0, 0]
    curve, hazard = kaplan_meier(durations, events), nelson_aalen(durations, events)
    survival = (3 / 5) * (2 / 3)

    assert survival == pytest.approx(float(curve.survival_at(4)))
    assert survival**2 * (2 / (5 * 3) + 1 / (3 * 2)) == pytest.approx(float(curve.variance_at(4)))
    assert 2 / 5 + 1 / 3 == pytest.approx(float(hazard.hazard_at(4)))
