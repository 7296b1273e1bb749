"""Rates of the providers are measured with requests that differ, and judged by their bars."""

import json
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.provider_docs import read_document, write
from bench.provider_rates import (
    BARS,
    CASES,
    ORDERS,
    RATE,
    Bar,
    Options,
    figures_of,
    held,
    lines_of,
    measure,
    mixed_orders,
    providers,
    told_market,
)
from execution_providers import Fill, OrderType
from lob.errors import InvalidInput
from touchstone.cli.bench import app

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Return what one round comes to."""
    told: list[str] = []
    found = measure(Options(rounds=1), told.append)
    assert ["warming up", "round 1 of 1"] == told
    return found


def test_orders_are_what_the_page_says() -> None:
    """All differ; a third rest, and the others take one to four levels of ten."""
    asked = mixed_orders()
    assert ORDERS == len(asked) == len(set(asked))
    fills = providers()["minimal"].execute_many(asked, told_market())
    levels: Counter[int] = Counter()
    for order, fill in zip(asked, fills, strict=True):
        assert isinstance(fill, Fill)
        rests = order.type is OrderType.LIMIT
        assert rests == ("queue_ahead" in fill.attribution)
        levels[len(fill.fills)] += 1
    assert {0, 1, 2, 3, 4} == set(levels)
    assert 167 == levels[0]
    assert min(levels.values()) > 20


def test_markets_differ_at_every_level() -> None:
    """No two of a round are the same, and each has ten levels a side."""
    markets = [told_market(place) for place in range(ORDERS)]
    assert ORDERS == len(set(markets))
    assert {(10, 10)} == {(len(each.bids), len(each.asks)) for each in markets}
    first, second = markets[:2]
    assert all(one != other for one, other in zip(first.bids, second.bids, strict=True))


def test_every_case_and_bar_is_measured(document: dict[str, Any]) -> None:
    """A round gives every case its figures, and each bar its verdict."""
    assert {case.name for case in CASES} == set(document["figures"])
    for case in CASES:
        found = document["figures"][case.name]
        assert 0 < found["lowest"] <= found[RATE] <= found["highest"]
        assert ("p95_ms" in found) is not case.batch
        if not case.batch:
            assert 0 < found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"]
    assert [each.case for each in BARS] == [each["case"] for each in document["bars"]]
    assert held(document) == all(each["holds"] for each in document["bars"])


def test_a_bar_is_a_least_rate_or_a_longest_time() -> None:
    """At the limit a rate holds and a time does not; both are compared with the guide's."""
    rate, late = Bar("a", RATE, 10.0, 5.0), Bar("b", "p95_ms", 0.3, 1.0)
    assert (True, False) == (rate.holds(10.0), rate.holds(9.9))
    assert (False, True) == (late.holds(0.3), late.holds(0.29))
    assert (2.0, 4.0) == (rate.over_guide(10.0), late.over_guide(0.25))
    assert Bar("c", RATE, 1.0).over_guide(3.0) is None


def test_a_figure_is_the_median_of_its_rounds() -> None:
    """Of three rounds the middle one counts, in rates and in percentiles."""
    single, batch = CASES[2], CASES[0]
    rounds = [[one] * ORDERS for one in (0.001, 0.003, 0.002)]
    found = figures_of(single, rounds)
    assert pytest.approx((500, 2.0, 2.0)) == (found[RATE], found["p50_ms"], found["p99_ms"])
    found = figures_of(batch, [[0.5], [0.25], [5.0]])
    assert {RATE: 1_000, "lowest": 100, "highest": 2_000} == found


def test_lines_say_what_holds(document: dict[str, Any]) -> None:
    """Every case has a line, and every bar one with its verdict and the ratio to the guide's."""
    lines = lines_of(document)
    assert len(CASES) + len(BARS) + 2 == len(lines)
    for case in CASES:
        assert any(line.startswith(case.name) for line in lines)
    for line, judged in zip(lines[-len(BARS) :], document["bars"], strict=True):
        assert ("holds" if judged["holds"] else "MISSED") in line
        assert ("the guide's" in line) is (judged["guide"] is not None)


def test_command_judges_an_earlier_run(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path
) -> None:
    """An earlier run's JSON is printed as it is, with the exit code of its bars."""
    monkeypatch.setenv("TOUCHSTONE_HOME", str(root))
    path = tmp_path / "run.json"
    for holds, code in ((True, 0), (False, 1)):
        said = {**document, "bars": [{**each, "holds": holds} for each in document["bars"]]}
        path.write_text(json.dumps(said), "utf-8")
        result = RUNNER.invoke(app, ["providers", "--from-json", str(path), "--json"])
        assert code == result.exit_code
        assert said == json.loads(result.stdout)
        shown = RUNNER.invoke(app, ["providers", "--from-json", str(path)])
        assert code == shown.exit_code
        assert ("MISSED" in shown.stdout) is not holds


def test_command_measures(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Without an earlier run it measures, and its exit code is that of what it found."""
    monkeypatch.setenv("TOUCHSTONE_HOME", str(root))
    result = RUNNER.invoke(app, ["providers", "--rounds", "1", "--json"])
    found = json.loads(result.stdout)
    assert (0 if held(found) else 1) == result.exit_code
    assert ORDERS == found["orders"]


def test_a_run_is_written_down(document: dict[str, Any], tmp_path: Path) -> None:
    """The page has every case and bar, its plot draws them, and its JSON is read back."""
    page, plot, figures = write(document, tmp_path)
    assert document == read_document(figures)
    text, drawing = page.read_text("utf-8"), plot.read_text("utf-8")
    for case in CASES:
        assert f"| {case.name} |" in text
        assert f">{escape(case.name)}<" in drawing
    assert text.count("| holds |") + text.count("| **missed** |") == len(BARS)
    assert "the guide&#x27;s full preset" in drawing


def test_the_page_is_what_its_json_says(root: Path, tmp_path: Path) -> None:
    """The committed page and plot are those of the committed JSON."""
    docs = root / "docs"
    written = write(read_document(docs / "benchmarks" / "providers.json"), tmp_path)
    for path in written:
        committed = docs / path.relative_to(tmp_path)
        assert path.read_text("utf-8") == committed.read_text("utf-8")


def test_a_file_that_is_no_document_is_refused(tmp_path: Path) -> None:
    """A file that is missing, no JSON, or other JSON is named in one line."""
    path = tmp_path / "other.json"
    for text in (None, "{", "[]", '{"schema": "touchstone.bench.book/1"}'):
        if text is not None:
            path.write_text(text, "utf-8")
        with pytest.raises(InvalidInput, match=r"other\.json"):
            read_document(path)
