"""Sums over pairs that only grow give the correlation, the means and the overhead."""

import math
import random
from decimal import Decimal

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from execution_providers import Fill, FillStatus
from services.router.metrics import PairMetrics
from touchstone.rollout.shadow import ShadowPair


def fill(bps: float | None) -> Fill:
    """Return a whole fill with this slippage, or none at all."""
    filled = Decimal(0 if bps is None else 10)
    return Fill(
        FillStatus.UNFILLED if bps is None else FillStatus.FILLED,
        filled,
        None if bps is None else Decimal(100),
        Decimal(0),
        None if bps is None else Decimal(str(bps)),
    )


def pair(control: float | None, candidate: float | None, *, failed: bool = False) -> ShadowPair:
    """Return a pair with these slippages; L3 takes three times as long."""
    return ShadowPair(
        decision_id="d",
        generation=1,
        at=0.0,
        symbol="AAPL",
        side="BUY",
        quantity=Decimal(10),
        inputs_digest="0",
        seed=0,
        control=fill(control),
        candidate=None if failed else fill(candidate),
        error="UNAVAILABLE" if failed else None,
        control_seconds=0.001,
        candidate_seconds=0.003,
    )


def read(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """Return one sample."""
    found = registry.get_sample_value(name, labels)
    assert found is not None, name
    return found


def test_the_correlation_follows_from_sums_that_only_grow() -> None:
    """Signed slippage of both, by the formula of the recording rule, is numpy's correlation."""
    rng = random.Random(5)
    registry = CollectorRegistry()
    metrics = PairMetrics(registry)
    both = []
    for _ in range(500):
        control = round(rng.gauss(0.5, 4), 4)
        both.append((control, round(0.7 * control + rng.gauss(1, 2), 4)))
        metrics.observe(pair(*both[-1]))
    n = read(registry, "pair_priced_total")
    means, variances, squares = {}, {}, 0.0
    for provider in ("L2", "L3"):
        signed = [
            read(registry, "pair_slippage_bps_total", provider=provider, sign=sign) / n
            for sign in ("cost", "gain")
        ]
        square = read(registry, "pair_slippage_bps_square_total", provider=provider) / n
        means[provider] = signed[0] - signed[1]
        variances[provider] = square - means[provider] ** 2
        squares += square
    apart = read(registry, "pair_slippage_difference_bps_square_total") / n
    covariance = (squares - apart) / 2 - means["L2"] * means["L3"]
    found = covariance / math.sqrt(variances["L2"] * variances["L3"])
    assert pytest.approx(np.corrcoef(np.array(both).T)[0, 1]) == found


def test_only_answers_count_and_only_fills_have_a_price() -> None:
    """A failed candidate counts nowhere; an unfilled one has a time and a share of nothing."""
    registry = CollectorRegistry()
    metrics = PairMetrics(registry)
    metrics.observe(pair(1.0, None, failed=True))
    metrics.observe(pair(1.0, None))
    metrics.observe(pair(1.0, -2.0))
    assert 2 == read(registry, "pair_answered_total")
    assert 1 == read(registry, "pair_priced_total")
    assert 2 == read(registry, "pair_slippage_bps_total", provider="L3", sign="gain")
    assert 0 == read(registry, "pair_slippage_bps_total", provider="L3", sign="cost")
    assert 2 == read(registry, "pair_filled_share_total", provider="L2")
    assert 1 == read(registry, "pair_filled_share_total", provider="L3")
    seconds = [read(registry, "pair_latency_seconds_total", provider=p) for p in ("L2", "L3")]
    assert pytest.approx([0.002, 0.006]) == seconds
