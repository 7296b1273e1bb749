"""Whatever a closed form is asked, it answers a number that is one, or refuses in one line."""

import importlib
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lob.errors import InvalidInput

# Right arguments, from which one after the other is taken away.
CASES: dict[str, dict[str, Any]] = {
    "dark.dark_split_value": {"r": [0.5, 0.5], "V": [1.0], "D": [[1.0, 2.0]], "rho": [1.0, 1.0]},
    "dark.greedy_allocation": {"tails": [[0.5, 0.2]], "volume": 2},
    "dark.kaplan_meier_tail": {"submitted": [1], "filled": [1], "up_to": 2},
    "dark.optimal_dark_split": {"V": [1.0], "D": [[1.0, 2.0]], "rho": [1.0, 1.0]},
    "dark.project_to_simplex": {"r": [1.0, 2.0]},
    "fill_probability.compound_poisson_fill_probability": {
        "t": 1.0, "rate": 1.0, "sizes": [1.0], "n_ahead": 2, "quantity": 1,
    },
    "fill_probability.erlang_fill_probability": {"t": 1.0, "mu": 1.0, "n_ahead": 2, "quantity": 1},
    "fill_probability.first_passage_fill_probability": {
        "t": 1.0, "distance": 1.0, "sigma": 1.0, "drift": 0.1,
    },
    "fill_probability.geometric_fill_probability": {
        "t": 1.0, "price": 100.0, "limit": 99.0, "sigma": 0.1, "drift": 0.1,
    },
    "fill_probability.hypoexponential_fill_probability": {
        "t": 1.0, "mu": 1.0, "theta": 1.0, "n_ahead": 2, "quantity": 1,
    },
    "fill_probability.kaplan_meier": {"durations": [1.0, 2.0], "events": [1, 0]},
    "fill_probability.lower_before_upper": {
        "below": 1.0, "above": 1.0, "sigma": 1.0, "drift": 0.1,
    },
    "hawkes.hawkes_branching_ratio": {"alpha": 0.2, "beta": 1.0},
    "hawkes.hawkes_count_covariance": {"window": 1.0, "mu": 0.5, "alpha": 0.2, "beta": 1.0},
    "hawkes.hawkes_covariance_density": {"lag": 1.0, "mu": 0.5, "alpha": 0.2, "beta": 1.0},
    "hawkes.hawkes_intensity": {"t": 1.0, "events": [0.5], "mu": 0.5, "alpha": 0.2, "beta": 1.0},
    "hawkes.hawkes_log_likelihood": {
        "events": [[1.0, 2.0]], "horizon": 3.0, "mu": 0.5, "alpha": 0.2, "beta": 1.0,
    },
    "hawkes.hawkes_stationary_rates": {"mu": 0.5, "alpha": 0.2, "beta": 1.0},
    "hidden.lots_until_filled": {"total": 10, "peak": 3, "lots_ahead": 1, "lots_behind": 2},
    "hidden.refill_tranches": {"total": 10, "peak": 3},
    "impact.walk_book": {"levels": [(1.0, 2.0)], "q": 1.0, "mid": 1.0},
    "latency.erlang_c": {"servers": 2, "offered_load": 1.0},
    "latency.matched": {"shape": "gamma", "mean_us": 1.0, "cv": 0.5},
    "market_making.asymptotic_quotes": {
        "q": 1.0, "sigma": 1.0, "a": 1.0, "k": 1.0, "gamma": 0.1, "mu": 0.1,
    },
    "market_making.avellaneda_stoikov_quotes": {
        "s": 1.0, "q": 1.0, "gamma": 0.1, "sigma": 1.0, "time_left": 1.0, "k": 1.0,
    },
    "market_making.infinite_horizon_reservation_prices": {
        "s": 1.0, "q": 1.0, "gamma": 0.1, "sigma": 1.0, "q_max": 4,
    },
    "queueing.cont_de_larrard_mean_duration": {
        "n": 1, "p": 1, "lam": 1.0, "mu": 0.5, "theta": 0.7,
    },
    "queueing.cont_de_larrard_up_probability": {
        "n": 1, "p": 1, "lam": 1.0, "mu": 0.5, "theta": 0.5,
    },
    "queueing.cst_making_the_spread_probability": {
        "b": 1, "a": 1, "lambda_": 1.0, "theta": 0.5, "mu": 1.0,
    },
    "queueing.cst_mid_move_cdf": {
        "t": 1.0, "b": 1, "a": 1, "lambda_": 1.0, "theta": 0.5, "mu": 1.0,
    },
    "queueing.cst_mid_up_probability": {
        "b": 1, "a": 1, "lambda_": 1.0, "theta": 0.5, "mu": 1.0,
    },
    "queueing.heavy_traffic_up_probability": {"x": 1.0, "y": 1.0, "rho": 0.1},
    "queueing.mm1_first_passage_cdf": {"t": 1.0, "x": 1, "lam": 1.0, "delta": 1.0},
    "queueing.mm1_first_passage_pdf": {"t": 1.0, "x": 1, "lam": 1.0, "delta": 1.0},
}  # fmt: skip
NO_NUMBERS = (None, "x", "1", 1 + 2j, object(), float("nan"))
ODD: tuple[Any, ...] = (float("inf"), -1, -1.5, 1e308, 1e-308, [], [[1]], 0, True)


def found(name: str) -> Callable[..., object]:
    """Return a public function by its package and name."""
    package, function = name.split(".")
    return getattr(importlib.import_module(f"lob.{package}"), function)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", CASES)
def test_it_answers_what_is_right(name: str) -> None:
    """The arguments that the tests below take apart are taken as they are."""
    assert found(name)(**CASES[name]) is not None


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_number_is_refused(name: str) -> None:
    """One line, whichever argument it is."""
    for argument, wrong in itertools.product(CASES[name], NO_NUMBERS):
        with pytest.raises(InvalidInput) as refused:
            found(name)(**CASES[name] | {argument: wrong})
        assert 1 == len(str(refused.value).splitlines())


@pytest.mark.parametrize("name", CASES)
def test_odd_numbers_are_answered_or_refused(name: str) -> None:
    """Neither a warning, nor another error, nor NaN comes of extremes, signs and shapes."""
    for argument, odd in itertools.product(CASES[name], ODD):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                answer = found(name)(**CASES[name] | {argument: odd})
            except InvalidInput:
                continue
        if isinstance(answer, float | np.ndarray):
            assert not np.isnan(answer).any()
