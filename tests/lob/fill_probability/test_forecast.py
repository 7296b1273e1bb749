"""The fitted hazard forecast: it finds a known law, never contradicts itself, refuses nonsense."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lob.errors import InvalidInput
from lob.fill_probability.forecast import (
    ArrivalForecast,
    Recalibration,
    fill_probabilities,
    fit_arrival_forecast,
    fit_recalibration,
)
from lob.fill_probability.scores import brier_score, expected_calibration_error

HORIZONS = np.array([1.0, 10.0, 60.0])


def drawn(
    count: int, seed: int, features: int = 4
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return features, waits drawn from known logistic hazards, and the true probabilities."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(count, features))
    weights = rng.normal(size=(3, features)) * 0.7
    hazards = 1 / (1 + np.exp(-(np.array([-2.0, -1.0, -0.5]) + table @ weights.T)))
    truth = 1 - np.cumprod(1 - hazards, axis=1)
    luck = rng.uniform(size=count)
    stage = (luck[:, None] > truth).sum(axis=1)
    waits = np.append(HORIZONS - 0.5, np.inf)[stage]
    return table, np.asarray(waits, np.float64), np.asarray(truth, np.float64)


def test_known_hazards_are_found() -> None:
    """With little penalty, new orders are forecast as well as by the truth itself."""
    table, waits, truth = drawn(20_000, seed=1)
    known = np.full(10_000, 60.0)
    model = fit_arrival_forecast(table[:10_000], waits[:10_000], known, ridges=(1.0,))
    said = model.predict(table[10_000:])
    for column, horizon in enumerate(HORIZONS):
        came = waits[10_000:] <= horizon
        best = brier_score(truth[10_000:, column], came)
        assert brier_score(said[:, column], came) == pytest.approx(best, rel=0.01)
        assert expected_calibration_error(said[:, column], came) < 0.02
    assert model.cases[0] == 10_000


def test_the_usual_penalties_shrink() -> None:
    """Their mean is a lesser forecast of 10,000 orders by a seventh at most, and less spread."""
    table, waits, truth = drawn(20_000, seed=1)
    said = fit_arrival_forecast(table[:10_000], waits[:10_000], np.full(10_000, 60.0)).predict(
        table[10_000:]
    )
    for column, horizon in enumerate(HORIZONS):
        came = waits[10_000:] <= horizon
        best = brier_score(truth[10_000:, column], came)
        assert best < brier_score(said[:, column], came) < best * 8 / 7
        assert said[:, column].std() < truth[10_000:, column].std()


def test_forecasts_grow_with_the_horizon() -> None:
    """P within 1 s is at most P within 10 s, which is at most P within 60 s, far features too."""
    table, waits, _ = drawn(2_000, seed=2)
    model = fit_arrival_forecast(table, waits, np.full(2_000, 60.0))
    wild = np.random.default_rng(3).normal(scale=50, size=(500, 4))
    said = model.predict(wild)
    assert (np.diff(said, axis=1) >= 0).all()
    assert ((said >= 0) & (said <= 1)).all()
    times = (0.0, 0.3, 1.0, 4.0, 10.0, 33.0, 60.0)
    path = np.column_stack([model.predict_within(wild, t) for t in times])
    assert (np.diff(path, axis=1) >= 0).all()
    np.testing.assert_allclose(path[:, [2, 4, 6]], said)
    np.testing.assert_array_equal(path[:, 0], np.zeros(500))


def test_unclosed_windows_do_not_count() -> None:
    """An order watched for 5 s is a case of the first stage only, even where it filled."""
    table, waits, _ = drawn(3_000, seed=4)
    known = np.full(3_000, 60.0)
    whole = fit_arrival_forecast(table[:2_000], waits[:2_000], known[:2_000])
    known[2_000:] = 5.0
    waits = np.where(waits <= known, waits, np.inf)
    more = fit_arrival_forecast(table, waits, known)
    assert more.cases == (3_000, *whole.cases[1:])


def test_few_fills_give_the_rate_alone() -> None:
    """With fewer than 20 fills of a stage no weight is fitted, and nothing breaks."""
    table = np.random.default_rng(5).normal(size=(200, 3))
    waits = np.full(200, np.inf)
    waits[:10] = 0.5
    model = fit_arrival_forecast(table, waits, np.full(200, 60.0))
    np.testing.assert_allclose(model.predict(table)[:, 0], 10.5 / 201)
    assert np.count_nonzero(model.weights[:, 1:]) == 0


def test_steady_features_and_a_start_change_nothing() -> None:
    """A feature that does not vary has no part; a warm start comes to the same weights."""
    table, waits, _ = drawn(4_000, seed=6)
    known = np.full(4_000, 60.0)
    table[:, 2] = 7.0
    cold = fit_arrival_forecast(table, waits, known)
    warm = fit_arrival_forecast(table, waits, known, start=cold)
    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-3)
    np.testing.assert_allclose(cold.weights[:, 3], 0, atol=1e-12)


def test_a_forecast_can_be_written_down() -> None:
    """JSON and back gives the very same bytes of weights and forecasts."""
    table, waits, _ = drawn(1_000, seed=7)
    model = fit_arrival_forecast(table, waits, np.full(1_000, 60.0))
    again = ArrivalForecast.from_json(model.to_json())
    assert again.to_json() == model.to_json()
    assert again.predict(table).tobytes() == model.predict(table).tobytes()


def test_a_text_that_is_no_forecast_is_refused() -> None:
    """Not JSON, a missing part, another version, weights of another shape."""
    table, waits, _ = drawn(500, seed=8)
    good: dict[str, Any] = json.loads(
        fit_arrival_forecast(table, waits, np.full(500, 60.0)).to_json()
    )
    bad = [
        "{",
        "[1]",
        json.dumps({key: good[key] for key in good if key != "weights"}),
        json.dumps(good | {"version": 99}),
        json.dumps(good | {"weights": [[0.0, 1.0]]}),
        json.dumps(good | {"spread": [0.0] * 4}),
    ]
    for text in bad:
        with pytest.raises(InvalidInput):
            ArrivalForecast.from_json(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": [1.0, 2.0]}, "features"),
        ({"features": [[np.nan], [1.0]]}, "features"),
        ({"fill_s": [1.0]}, "fill_s"),
        ({"fill_s": [-1.0, 2.0]}, "fill_s"),
        ({"known_s": [60.0, np.inf]}, "known_s"),
        ({"known_s": [0.5, 0.5]}, "known_s"),
        ({"horizons_s": [10.0, 1.0]}, "horizons_s"),
        ({"horizons_s": [0.0, 1.0]}, "horizons_s"),
        ({"ridges": ()}, "ridges"),
        ({"ridges": (0.0,)}, "ridges"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], words: str) -> None:
    """Each refusal names the argument."""
    given: dict[str, Any] = {
        "features": [[1.0], [2.0]],
        "fill_s": [1.0, np.inf],
        "known_s": [60.0, 60.0],
    } | change
    with pytest.raises(InvalidInput, match=words):
        fit_arrival_forecast(**given)


def test_a_forecast_refuses_what_it_was_not_fitted_to() -> None:
    """Other columns, and times beyond its last horizon or before the arrival."""
    table, waits, _ = drawn(500, seed=9)
    model = fit_arrival_forecast(table, waits, np.full(500, 60.0))
    with pytest.raises(InvalidInput, match="features"):
        model.predict(table[:, :3])
    for within in (-1.0, 60.5, float("nan")):
        with pytest.raises(InvalidInput, match="within_s"):
            model.predict_within(table, within)


def test_recalibration_undoes_a_known_error() -> None:
    """Log odds that are half as steep and one too high are put right by many outcomes."""
    rng = np.random.default_rng(10)
    true = rng.normal(size=50_000)
    came = rng.uniform(size=50_000) < 1 / (1 + np.exp(-true))
    found = fit_recalibration(0.5 * true + 1, came, np.ones(50_000))
    np.testing.assert_allclose(found.apply(0.5 * true + 1), true, atol=0.15)


def test_recalibration_is_drawn_to_none() -> None:
    """Without weight, or under a strong prior, nothing is corrected; nor is an order reversed."""
    logits, came = np.array([1.0, -1.0, 2.0]), np.array([0, 1, 0])
    assert fit_recalibration(logits, came, np.zeros(3)) == Recalibration(0.0, 1.0)
    strong = fit_recalibration(logits, came, np.ones(3), strength=1e9)
    assert (strong.shift, strong.slope) == pytest.approx((0, 1), abs=1e-6)
    reversed_order = fit_recalibration(np.tile(logits, 1_000), np.tile(came, 1_000), np.ones(3_000))
    assert reversed_order == Recalibration()
    with pytest.raises(InvalidInput, match="outcomes"):
        fit_recalibration(logits, came[:2], np.ones(3))


def test_probabilities_of_stages_multiply() -> None:
    """Two stages of even odds: a half, then three quarters; NaN stays NaN without a warning."""
    found = fill_probabilities(np.array([[0.0, 0.0], [np.nan, 0.0]]))
    np.testing.assert_allclose(found, [[0.5, 0.75], [np.nan, np.nan]])
