"""The shared reference cases of the impact models, the modules' examples, and their manners."""

import contextlib
import dataclasses
import doctest
import importlib
import inspect
import json
import math
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lob.impact
from lob.errors import InvalidInput
from lob.impact import (
    almgren2005_cost,
    almgren_chriss_trajectory,
    gatheral_gamma_star,
    kyle_single,
    obizhaeva_wang_continuous,
)

MODULES = sorted(module.name for module in pkgutil.iter_modules(lob.impact.__path__))


@pytest.fixture(scope="module")
def cases(market_data: Path) -> dict[str, Any]:
    """The reference cases by id."""
    listed = json.loads((market_data / "reference_cases.json").read_text())["cases"]
    return {case["id"]: case for case in listed}


def test_almgren_chriss(cases: dict[str, Any]) -> None:
    """Every risk aversion of the case, to the last digit it gives."""
    case = cases["almgren_chriss2000"]
    given = case["inputs"]
    names = ("X", "T", "N", "sigma", "eta", "gamma", "epsilon")
    terms = {name: given[name] for name in names}

    for risk, wanted in case["expected"].items():
        plan = almgren_chriss_trajectory(**terms, lambda_u=float(risk))
        assert math.isclose(wanted["kappa"], plan.kappa, abs_tol=5e-7)
        np.testing.assert_allclose(plan.holdings, wanted["holdings"], atol=0.051)
        np.testing.assert_allclose(plan.trades, wanted["trades"], atol=0.051)
        assert math.isclose(wanted["E"], plan.expected_cost, abs_tol=0.051)
        assert math.isclose(wanted["V"] * 1e12, plan.variance, abs_tol=5.1e5)
        assert math.isclose(wanted["std"], plan.standard_deviation, abs_tol=0.051)


def test_almgren_2005(cases: dict[str, Any]) -> None:
    """Both stocks at the three durations, to a hundredth of a basis point."""
    case = cases["almgren2005_ibm_dri"]
    for stock in ("IBM", "DRI"):
        given = case["inputs"][stock]
        sigma, turnover = given["daily_vol_bp"] / 1e4, float(given["inv_turnover"])
        for days, wanted in case["expected"][stock].items():
            cost = almgren2005_cost(0.1, 1.0, turnover, sigma, float(days))
            got = [round(float(part) * 1e4, 2) for part in cost]
            assert [wanted["perm_bp"], wanted["temp_bp"], wanted["realized_bp"]] == got


def test_obizhaeva_wang(cases: dict[str, Any]) -> None:
    """Every resilience of the case, to the last digit it gives."""
    case = cases["obizhaeva_wang_cont"]
    given = case["inputs"]
    for rho, wanted in case["expected"].items():
        plan = obizhaeva_wang_continuous(
            given["X0"], given["T"], float(rho), given["q"], given["lambda_perm"]
        )
        got = (plan.x0, plan.xT, plan.rate, plan.transient_cost, plan.permanent_cost)
        np.testing.assert_allclose(got, list(wanted.values()), atol=0.051)


def test_kyle_and_gatheral(cases: dict[str, Any]) -> None:
    """The single auction and the least decay exponent."""
    case = cases["kyle_single"]
    got = kyle_single(case["inputs"]["Sigma0"], case["inputs"]["sigma_u2"])
    for name, wanted in case["expected"].items():
        assert math.isclose(wanted, getattr(got, name), abs_tol=5e-7)
    star = cases["gatheral_gamma_star"]
    assert math.isclose(star["expected"], gatheral_gamma_star(), abs_tol=star["tolerance"])


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    """Every docstring's example prints what it says."""
    assert 0 == doctest.testmod(importlib.import_module(f"lob.impact.{name}")).failed


def test_the_package_names_all_it_has() -> None:
    """`__all__` names each thing once, and each public function says what it is of."""
    assert len(set(lob.impact.__all__)) == len(lob.impact.__all__)
    for name in lob.impact.__all__:
        thing = getattr(lob.impact, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert inspect.getdoc(thing)


CALLS: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (
        lob.impact.almgren_chriss_trajectory,
        {
            "X": 1e6,
            "T": 5.0,
            "N": 5,
            "sigma": 0.95,
            "eta": 2.5e-6,
            "gamma": 2.5e-7,
            "epsilon": 0.06,
            "lambda_u": 1e-6,
            "alpha": 0.0,
        },
    ),
    (
        lob.impact.almgren_chriss_continuous,
        {"X": 1e6, "T": 5.0, "sigma": 0.95, "eta": 2.5e-6, "gamma": 0.0, "lambda_u": 1e-6},
    ),
    (
        lob.impact.almgren_chriss_minimum_var,
        {"X": 1e6, "T": 5.0, "N": 2, "sigma": 1.0, "eta": 1e-6, "p": 0.9},
    ),
    (lob.impact.liquidity_adjusted_var, {"expected_cost": 1.0, "variance": 1.0, "p": 0.9}),
    (
        lob.impact.almgren2003_time,
        {"X": 1e3, "k": 0.6, "eta": 0.05, "lambda_u": 1e-4, "sigma": 1.0},
    ),
    (
        lob.impact.almgren2005_cost,
        {"X": 1.0, "V": 10.0, "Theta": 2e3, "sigma": 0.02, "T": 0.5, "gamma": 0.3, "eta": 0.1},
    ),
    (lob.impact.bertsimas_lo_cost, {"S_bar": 10.0, "T": 3, "theta": 0.1, "P0": 5.0}),
    (
        lob.impact.bertsimas_lo_percentage,
        {"T": 3, "theta": 0.1, "gamma": 0.1, "rho": 0.5, "sigma_eta": 0.1, "q": 1.0},
    ),
    (lob.impact.gatheral_no_arbitrage, {"gamma": 0.5, "delta": 0.5}),
    (lob.impact.power_law_vwap_cost, {"X": 1.0, "T": 1.0, "gamma": 0.5, "delta": 0.5}),
    (lob.impact.power_law_optimal_cost, {"X": 1.0, "T": 1.0, "gamma": 0.5}),
    (lob.impact.kyle_single, {"Sigma0": 1.0, "sigma_u2": 1.0, "M": 1}),
    (lob.impact.kyle_sequential, {"Sigma0": 1.0, "sigma_u2": 1.0, "N": 3, "T": 1.0}),
    (lob.impact.kyle_continuous, {"Sigma0": 1.0, "sigma_u2": 1.0, "t": 0.5, "T": 1.0}),
    (
        lob.impact.obizhaeva_wang_continuous,
        {"X0": 1.0, "T": 1.0, "rho": 2.0, "q": 1.0, "lambda_perm": 0.1, "a": 1.0, "sigma": 1.0},
    ),
    (
        lob.impact.obizhaeva_wang_discrete,
        {"X0": 1.0, "T": 1.0, "rho": 2.0, "q": 1.0, "lambda_perm": 0.1, "N": 3},
    ),
    (lob.impact.propagator_kernel, {"lags": 3, "beta": 0.3, "l0": 20.0, "G0": 1.0}),
    (lob.impact.stylized_price_change, {"OFI": 1.0, "D": 1.0, "tick": 1.0}),
    (
        lob.impact.temporary_impact_bps,
        {"Q": 1.0, "ADV": 1e3, "sigma": 0.02, "eta": 0.1, "delta": 0.5},
    ),
    (lob.impact.square_root_impact, {"Q": 1.0, "V": 1e3, "sigma": 0.02, "Y": 1.0}),
]
ARGUMENTS = [
    pytest.param(function, terms, name, id=f"{function.__name__}({name})")
    for function, terms in CALLS
    for name in terms
]


@pytest.mark.parametrize(("function", "terms", "name"), ARGUMENTS)
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, "1", None, [None]])
def test_what_is_no_number_is_refused(
    function: Callable[..., Any], terms: dict[str, Any], name: str, wrong: object
) -> None:
    """Each argument of each function refuses what is no finite number, by its own name."""
    with pytest.raises(InvalidInput, match=rf"^{name}: .*; allowed: ") as caught:
        function(**{**terms, name: wrong})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("function", "terms", "name"), ARGUMENTS)
@pytest.mark.parametrize("extreme", [1e308, -1e308, 1e-308, 5e-324, 10**400])
def test_extremes_are_answered_or_refused(
    function: Callable[..., Any], terms: dict[str, Any], name: str, extreme: float
) -> None:
    """Figures at the end of the floats give an answer without NaN, or one line of refusal."""
    with contextlib.suppress(InvalidInput):
        answer = function(**{**terms, name: extreme})
        if dataclasses.is_dataclass(answer):
            answer = tuple(getattr(answer, part.name) for part in dataclasses.fields(answer))
        numbers = answer if isinstance(answer, tuple) else [answer]
        assert not any(np.isnan(one).any() for one in numbers if isinstance(one, float))


def test_shapes_that_do_not_go_together() -> None:
    """Arrays that cannot be broadcast are refused in one line, not with numpy's traceback."""
    with pytest.raises(InvalidInput, match=r"^almgren2005_cost: .*; allowed: arguments that go"):
        almgren2005_cost([1.0, 2.0], [1.0, 2.0, 3.0], 1.0, 0.1, 0.1)


def test_the_book_does_not_load_the_models() -> None:
    """`import lob` leaves `lob.impact` alone."""
    code = "import sys, lob; sys.exit(any(name.startswith('lob.impact') for name in sys.modules))"

    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
