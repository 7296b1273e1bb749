"""The published tables of the queue models, where the market data folder has them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lob.fill_probability import (
    erlang_fill_probability,
    hypoexponential_fill_probability,
    kaplan_meier,
)
from lob.queueing import (
    ContStoikovTalreja,
    cont_de_larrard_up_probability,
    mm1_first_passage_cdf,
    simulate_mid_up,
)

SIZES = np.arange(1, 6)


@pytest.fixture(scope="module")
def cases(market_data: Path) -> dict[str, Any]:
    """The reference cases by their ids."""
    path = market_data / "reference_cases.json"
    if not path.is_file():
        pytest.skip(f"no reference cases at {path}")
    return {case["id"]: case for case in json.loads(path.read_text())["cases"]}


def cst(case: dict[str, Any]) -> ContStoikovTalreja:
    """Return the model of the case's rates."""
    given = case["inputs"]
    return ContStoikovTalreja(lambda_=(given["lambda1"],), theta=(given["theta1"],), mu=given["mu"])


def test_cont_stoikov_talreja_table(cases: dict[str, Any]) -> None:
    """The exact probabilities are the table's to its last digit."""
    case = cases["cst2010_up_S1"]
    table = cst(case).mid_up_probability(b=SIZES[:, None], a=SIZES[None, :])
    np.testing.assert_allclose(table, case["expected"], atol=5.1e-5)


@pytest.mark.slow
def test_the_book_reaches_the_table(cases: dict[str, Any]) -> None:
    """A hundred thousand paths through the real book come within the table's tolerance."""
    case = cases["cst2010_up_S1"]
    found = simulate_mid_up(cst(case), b=1, a=2, paths=100_000, seed=20100603)
    assert case["expected"][0][1] == pytest.approx(found.probability, abs=case["tolerance"])


def test_cont_de_larrard_table(cases: dict[str, Any]) -> None:
    """The balanced probabilities are the table's to its last digit."""
    case = cases["cont_delarrard2013_pup"]
    table = cont_de_larrard_up_probability(SIZES[:, None], SIZES[None, :])
    np.testing.assert_allclose(table, case["expected"], atol=5.1e-6)


def test_mm1_depletion(cases: dict[str, Any]) -> None:
    """The first-passage probabilities of the M/M/1 queue are the published ones."""
    case = cases["mm1_queue_depletion"]
    given = case["inputs"]
    found = mm1_first_passage_cdf(given["t"], x=given["x"], lam=given["lam"], delta=given["delta"])
    np.testing.assert_allclose(found, case["expected"], atol=1e-6)


def test_fifo_fills(cases: dict[str, Any]) -> None:
    """Fills behind a queue, without and with cancels, are the cases' to their last digit."""
    case = cases["fifo_no_cancel_erlang"]
    for (n, t), expected in zip(case["inputs"]["cases_n_t"], case["expected"], strict=True):
        found = erlang_fill_probability(t, mu=case["inputs"]["mu"], n_ahead=n)
        assert expected == pytest.approx(float(found), abs=1e-6)
    case = cases["fifo_with_cancel_hypoexp"]
    rates = {"mu": case["inputs"]["mu"], "theta": case["inputs"]["theta"]}
    for (n, t), expected in zip(case["inputs"]["cases_n_t"], case["expected"], strict=True):
        found = hypoexponential_fill_probability(t, n_ahead=n, **rates)
        assert expected == pytest.approx(float(found), abs=1e-6)


def test_kaplan_meier(cases: dict[str, Any]) -> None:
    """The product-limit curve is the one worked by hand."""
    case = cases["kaplan_meier_toy"]
    values, events = zip(*case["inputs"]["obs_value_event"], strict=True)
    curve = kaplan_meier(values, events)
    for t, expected in case["expected"].items():
        assert expected == pytest.approx(float(curve.survival_at(float(t))), abs=1e-12)
