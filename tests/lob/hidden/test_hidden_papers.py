"""Icebergs worked through a queue by hand, and beta-geometric refills by integrating over p."""

import math

import numpy as np
import pytest

from lob.hidden import (
    RefillPosterior,
    TotalSizeCurve,
    lots_until_filled,
    refill_count,
    refill_tranches,
)


@pytest.mark.parametrize(("total", "peak"), [(47, 10), (40, 10), (9, 10), (1, 1), (1_001, 7)])
def test_parts_by_taking_a_peak_at_a_time(total: int, peak: int) -> None:
    """Show a peak until nothing is left: so many parts, one refill fewer."""
    parts, left = [], total
    while left:
        parts.append(min(peak, left))
        left -= parts[-1]

    assert parts == refill_tranches(total=total, peak=peak)
    assert len(parts) - 1 == refill_count(total=total, peak=peak)


def test_each_refill_joins_the_tail() -> None:
    """Lots traded one by one at a level where others stand before and behind the iceberg."""
    total, peak, ahead, behind = 25, 10, 3, 8
    queue = ["other"] * ahead + ["ours"] * peak + ["other"] * behind
    left, shown, traded, done = total - peak, peak, 0, []
    while queue:
        traded += 1
        if queue.pop(0) != "ours":
            continue
        shown -= 1
        if not shown:
            done.append(traded)
            shown = min(peak, left)
            left -= shown
            queue += ["ours"] * shown

    assert done == lots_until_filled(total, peak, lots_ahead=ahead, lots_behind=behind)


def test_refills_to_come_integrated_over_the_chance() -> None:
    """P(k more) is the mean of p^k (1 - p) under the Beta posterior, by quadrature."""
    posterior = RefillPosterior(refills_seen=3, a=1.5, b=2.5)
    at, weights = np.polynomial.legendre.leggauss(200)
    p, w = (1 + at) / 2, weights / 2
    density = p ** (0.5 + 3) * (1 - p) ** 1.5
    density /= w @ density
    for k in (0, 1, 5):
        exact = float(w @ (density * p**k * (1 - p)))
        assert exact == pytest.approx(posterior.probability(k), rel=1e-6)
        assert float(w @ (density * p**k)) == pytest.approx(posterior.at_least(k), rel=1e-6)
    assert float(w @ (density * p / (1 - p))) == pytest.approx(posterior.expected_refills, rel=1e-3)


def test_totals_of_icebergs_some_of_which_were_cancelled() -> None:
    """Zotikov and Antonov's product limit: its factors and the restricted mean by hand."""
    curve = TotalSizeCurve.fit([10, 20, 20, 40], [1, 0, 1, 1])
    after_10, after_20 = 3 / 4, 3 / 4 * 2 / 3

    assert [1.0, after_10, after_20, 0.0] == pytest.approx(curve.survival([5, 10, 20, 40]))
    assert after_20 / after_10 == pytest.approx(curve.probability_of_more(10, 10))
    area = 10 * after_10 + 20 * after_20
    assert area / after_10 == pytest.approx(curve.expected_remaining(10))
    assert math.isclose(0.0, curve.probability_of_more(20, 20))
