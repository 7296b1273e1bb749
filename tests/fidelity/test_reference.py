"""Reference cases are evaluated by what the project says, and a wrong figure is caught."""

import copy
import doctest
import importlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lob.errors import InvalidInput
from touchstone.fidelity import reference, reference_engine
from touchstone.fidelity.reference_cases import CaseResult, Value, evaluate, shown_parts
from touchstone.fidelity.reference_crosschecks import cross_checks
from touchstone.fidelity.reference_published import PUBLISHED


def silent(_: str) -> None:
    """Show no progress."""


def nudged(expected: Any, by: float) -> Any:
    """Return the expected figures with the first number among them moved."""
    if isinstance(expected, dict):
        first, *_ = expected
        return {**expected, first: nudged(expected[first], by)}
    if isinstance(expected, list):
        return [nudged(expected[0], by), *expected[1:]]
    return expected + by


@pytest.mark.parametrize("name", ["reference_engine", "document"])
def test_examples(name: str) -> None:
    """The docstrings' examples hold."""
    tried = doctest.testmod(importlib.import_module(f"touchstone.fidelity.{name}"))
    assert 0 == tried.failed
    assert tried.attempted > 0


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: str(case["id"]))
def test_published_figures_hold(case: dict[str, Any]) -> None:
    """Every published figure that goes with the project is reproduced."""
    result = evaluate(case)
    assert "" == result.not_evaluated
    assert result.holds, result.worst


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: str(case["id"]))
def test_a_wrong_figure_is_caught(case: dict[str, Any]) -> None:
    """One figure of a case moved by three tolerances, or by one unit, and it does not hold."""
    wrong = copy.deepcopy(dict(case))
    if wrong["id"].startswith("dark_pool"):
        wrong["expected"]["expected_fill"] += 0.1
    else:
        wrong["expected"] = nudged(wrong["expected"], max(3 * wrong["tolerance"], 1.0))
    assert not evaluate(wrong).holds


def test_an_unknown_family_is_not_passed() -> None:
    """A case that nothing evaluates is said to be so, and does not hold."""
    result = evaluate({"id": "of_another_world", "tolerance": 1.0, "expected": 1, "inputs": {}})
    assert "no function is known for its family" == result.not_evaluated
    assert not result.holds


@pytest.mark.parametrize("part", ["inputs", "expected", "tolerance"])
def test_a_case_of_another_form_is_not_passed(part: str) -> None:
    """A case without one of its members is not evaluated, whatever its family."""
    for case in PUBLISHED:
        bare = {key: value for key, value in case.items() if key != part}
        if part == "inputs" and case["id"] == "gatheral_gamma_star":
            continue
        result = evaluate(bare)
        assert result.not_evaluated
        assert not result.holds


def test_a_case_of_files_needs_them(tmp_path: Path) -> None:
    """A replay case says which file is missing."""
    given = {"message": "m.csv", "orderbook": "o.csv"}
    case = {"id": "real_lobster_msft", "tolerance": 0, "inputs": given, "expected": {}}
    assert "data: none" in evaluate(case).not_evaluated
    assert "m.csv is not in the folder" in evaluate(case, tmp_path).not_evaluated


@pytest.mark.parametrize(
    ("tolerance", "rounding", "off", "holds"),
    [(0.1, 0.0, 0.09, True), (0.1, 0.0, 0.11, False), (0.0, 0.5, 0.5, True), (0, 0, 1e-9, False)],
)
def test_the_tolerance(tolerance: float, rounding: float, off: float, holds: bool) -> None:
    """A figure holds within the tolerance and the rounding of what is stated, absolutely."""
    value = Value("one", 100.0, 100.0 + off, rounding)
    assert holds == CaseResult("case", "", tolerance, (value,)).holds


@pytest.mark.parametrize(("total", "peak"), [(47, 10), (5, 5), (3, 10), (21, 7)])
def test_the_book_shows_an_icebergs_parts(total: int, peak: int) -> None:
    """Parts shown by a real book add up to the total, all but the last of the peak."""
    parts = shown_parts(total, peak)
    assert total == sum(parts)
    assert math.ceil(total / peak) == len(parts)


def test_two_ways_agree() -> None:
    """Every figure computed in two ways agrees, whatever the seed of the simulated ones."""
    for seed in (0, 7):
        assert [] == [one for one in cross_checks(seed) if not one.holds]


def test_the_book_is_the_monte_carlo() -> None:
    """Few paths agree with theory in standard errors; the same seed gives the same."""
    evidence = reference_engine.measure(progress=silent, seed=5, paths=200)
    assert evidence.holds
    assert evidence == reference_engine.measure(progress=silent, seed=5, paths=200)
    assert 10 == len(evidence.checks)
    assert 5 == len(evidence.tables)


def test_the_book_against_a_wrong_theory(monkeypatch: pytest.MonkeyPatch) -> None:
    """With probabilities of other rates the simulation does not agree."""
    question = reference_engine._questions()[0]

    def other(**at: int) -> float:
        return min(0.95, 1.3 * float(np.asarray(question.exact(**at))))

    wrong = question._replace(exact=other)
    monkeypatch.setattr(reference_engine, "_questions", lambda: (wrong,))
    assert not reference_engine.measure(progress=silent, paths=400).holds


def test_without_a_folder_part_one_is_shown() -> None:
    """The published figures and the cross-checks need no data."""
    evidence = reference.measure(None, progress=silent)
    assert evidence.holds
    assert len(PUBLISHED) < len(evidence.checks)
    assert 2 == len(evidence.tables)


def test_a_folders_cases_are_added(tmp_path: Path) -> None:
    """The cases of a folder's file are evaluated too; one that is unknown fails its check only."""
    cases = [dict(PUBLISHED[5]), {"id": "unknown", "tolerance": 1, "inputs": {}, "expected": 1}]
    (tmp_path / reference.FILE).write_text(json.dumps({"cases": cases}), encoding="utf-8")

    evidence = reference.measure(tmp_path, progress=silent)

    assert ["case unknown"] == [check.name for check in evidence.checks if not check.holds]
    json.dumps(evidence.to_json(), allow_nan=False)


@pytest.mark.parametrize("text", ["", "[]", '{"cases": 1}', '{"cases": [1]}', "{"])
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    """A file of cases that cannot be read is bad data, in one line."""
    (tmp_path / reference.FILE).write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"^reference_cases.json: .*") as caught:
        reference.read_cases(tmp_path)
    assert "\n" not in str(caught.value)


def test_all_reference_cases(market_data: Path) -> None:
    """Every case of the data folder is evaluated and holds."""
    for case in reference.read_cases(market_data):
        result = evaluate(case, market_data)
        assert result.holds, (result.id, result.not_evaluated)
