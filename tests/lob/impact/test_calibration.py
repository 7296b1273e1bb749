"""Coefficients come back from the data they made, and real quotes move as their flow says."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from lob.errors import InvalidInput
from lob.impact import fit_power_impact, fit_price_impact, ofi_contributions


@pytest.mark.parametrize("delta", [0.4, 0.6, 1.0])
def test_coefficients_come_back(delta: float) -> None:
    """From noisy costs, many of them below 0, eta and delta are found within their errors."""
    rng = np.random.default_rng(11)
    size = 10 ** rng.uniform(-4, -1, 20_000)
    sigma = rng.uniform(100, 300, size.size)
    cost = 0.142 * sigma * size**delta + rng.normal(0, 0.5, size.size)
    fit = fit_power_impact(cost, size, sigma)
    fixed = fit_power_impact(cost, size, sigma, delta=delta)

    assert (cost < 0).any()
    assert math.isclose(delta, fit.delta, abs_tol=0.03)
    assert math.isclose(0.142, fit.eta, rel_tol=0.08)
    assert math.isclose(0.142, fixed.eta, rel_tol=0.02)
    assert math.isclose(0.5, fit.rmse, rel_tol=0.02)
    assert fixed.r2 <= fit.r2 + 1e-12


def test_refusals_name_the_argument() -> None:
    """Trades without size say nothing; lists go together."""
    with pytest.raises(InvalidInput, match=r"^size: 0 all along"):
        fit_power_impact([1, 2, 3], [0, 0, 0], [1, 1, 1])
    with pytest.raises(
        InvalidInput, match=r"^size: 2 numbers; allowed: a list of 3 or more numbers$"
    ):
        fit_power_impact([1, 2, 3], [1, 2], [1, 1, 1])
    with pytest.raises(InvalidInput, match=r"^delta: 0\.0; allowed: above 0 and below 10$"):
        fit_power_impact([1, 2, 3], [1, 2, 3], [1, 1, 1], delta=0.0)


@pytest.mark.parametrize(
    "name", ["MSFT_2012-06-21_orderbook_50_first1000.csv", "AAPL_orderbook_10_first.csv"]
)
def test_real_quotes_move_with_their_order_flow(market_data: Path, name: str) -> None:
    """Over 25 events the mid follows OFI, by about the stylised 1 / (2 AD) ticks a share."""
    with (market_data / "lobster" / "trunc" / name).open() as file:
        quotes = np.array([[float(cell) for cell in row[:4]] for row in csv.reader(file)])
    ask, ask_size, bid, bid_size = quotes.T
    events = ofi_contributions(bid, bid_size, ask, ask_size)
    edges = np.arange(0, events.size + 1, 25)
    flow = np.diff(np.concatenate([[0.0], np.cumsum(events)])[edges])
    # LOBSTER's prices are in 1/10,000 dollar; the tick is a cent.
    moves = np.diff((bid + ask)[edges] / 2) / 100
    fit = fit_price_impact(moves, flow)
    stylized = 1 / (bid_size.mean() + ask_size.mean())

    assert fit.r2 > 0.3
    assert fit.t_beta > 3
    assert stylized / 2 < fit.beta < stylized * 2
