"""The go/no-go matrix: every boundary, every way not to know, and the dwell."""

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lob.errors import InvalidInput
from tests.conftest import ROOT
from touchstone.rollout.go_no_go import (
    DWELL_SECONDS,
    ROWS,
    Aggregation,
    Colour,
    Decision,
    Direction,
    Measurement,
    Row,
    Verdict,
    Waiver,
    decide,
    judge_row,
    matrix_markdown,
)
from touchstone.rollout.intervals import mean_interval, quantile_interval, wilson

NOW = 1_800_000_000.0
BY_NAME = {row.name: row for row in ROWS}
MANY = 1_000_000


def shares(part: int, n: int = MANY, at: float = NOW) -> Measurement:
    """Return a measured share."""
    return Measurement(measured_at=at, n=n, part=part)


def constant(value: float, n: int = 1_000, at: float = NOW) -> Measurement:
    """Return n equal values: an interval of no width, whichever way a row aggregates."""
    return Measurement(
        measured_at=at, n=n, total=value * n, squares=value * value * n, values=(value,) * n
    )


GREEN = {
    "order_success_rate": shares(990_000),
    "post_only_rejects": shares(10_000),
    "slippage": constant(1.0),
    "system_latency": constant(20.0),
    "error_rate": shares(100),
    "pnl_drift": constant(0.0001),
}
YELLOW = GREEN | {"slippage": constant(7.0)}
RED = GREEN | {"slippage": constant(11.0)}


def verdict(
    measurements: Mapping[str, Measurement], *waivers: Waiver, now: float = NOW, **more: Any
) -> Verdict:
    """Return the decision on these, measured now."""
    fresh = {name: replace(m, measured_at=now) for name, m in measurements.items()}
    return decide(fresh, waivers, now, **{"previous": None} | more)


def test_the_rows_are_the_plans() -> None:
    """Names, directions and bands as printed in the plan."""
    assert [(row.name, row.green, row.red) for row in ROWS] == [
        ("order_success_rate", 0.95, 0.90),
        ("post_only_rejects", 0.05, 0.10),
        ("slippage", 5.0, 10.0),
        ("system_latency", 100.0, 500.0),
        ("error_rate", 0.001, 0.01),
        ("pnl_drift", 0.001, 0.005),
    ]
    assert [row.direction for row in ROWS].count(Direction.HIGHER) == 1
    page = (ROOT / "docs" / "go-no-go.md").read_text()
    assert f"<!-- matrix -->\n{matrix_markdown()}\n<!-- end -->" in page


@pytest.mark.parametrize("name", ["slippage", "system_latency", "pnl_drift"])
def test_both_boundaries_of_a_value_are_yellow(name: str) -> None:
    """Exactly on a bound is neither green nor red; a hair beyond it is."""
    row = BY_NAME[name]
    for value, expected in (
        (math.nextafter(row.green, 0) * 0.999999, Colour.GREEN),
        (row.green, Colour.YELLOW),
        (row.red, Colour.YELLOW),
        (row.red * 1.000001, Colour.RED),
    ):
        assert judge_row(row, constant(value), NOW).colour is expected, value


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_an_interval_ending_on_a_boundary_is_yellow(row: Row) -> None:
    """For each row: the ends of its interval decide, and equality is yellow."""
    measured = shares(500, 5_000) if row.aggregation is Aggregation.SHARE else constant(3.0)
    found = judge_row(row, measured, NOW)
    assert found.interval is not None
    low, high = found.interval.low, found.interval.high
    if row.direction is Direction.HIGHER:
        edges = {"green": low, "red": high}
        better, worse = math.nextafter(low, -math.inf), math.nextafter(high, math.inf)
    else:
        edges = {"green": high, "red": low}
        better, worse = math.nextafter(high, math.inf), math.nextafter(low, -math.inf)
    never = math.inf if row.direction is Direction.HIGHER else -math.inf
    for bands, expected in (
        ({"green": edges["green"], "red": -never}, Colour.YELLOW),
        ({"green": better, "red": -never}, Colour.GREEN),
        ({"green": never, "red": edges["red"]}, Colour.YELLOW),
        ({"green": never, "red": worse}, Colour.RED),
    ):
        changed = replace(row, green=bands["green"], red=bands["red"])
        assert judge_row(changed, measured, NOW).colour is expected, bands


def test_ninety_five_percent_exactly_is_yellow_however_many() -> None:
    """The point on the bound has an interval on both sides of it."""
    row = BY_NAME["order_success_rate"]
    assert judge_row(row, shares(95 * MANY, 100 * MANY), NOW).colour is Colour.YELLOW
    assert judge_row(row, shares(90 * MANY, 100 * MANY), NOW).colour is Colour.YELLOW


def test_a_good_share_of_few_is_not_green() -> None:
    """97 of 100 may be 92 % in truth; 970 of 1,000 may not be 95 %."""
    row = BY_NAME["order_success_rate"]
    assert judge_row(row, shares(97, 100), NOW).colour is Colour.YELLOW
    assert judge_row(row, shares(970, 1_000), NOW).colour is Colour.GREEN
    assert judge_row(row, shares(88, 100), NOW).colour is Colour.YELLOW
    assert judge_row(row, shares(880, 1_000), NOW).colour is Colour.RED


def test_no_errors_in_few_orders_is_not_yet_green() -> None:
    """Below 0.1 % needs 3,838 orders without an error before the interval says so."""
    row = BY_NAME["error_rate"]
    assert judge_row(row, shares(0, 3_837), NOW).colour is Colour.YELLOW
    assert judge_row(row, shares(0, 3_838), NOW).colour is Colour.GREEN


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_not_known_is_unknown(row: Row) -> None:
    """No data, too few, stale, from the future, no number, or counts that cannot be."""
    good = GREEN[row.name]
    nan = math.nan
    unknown = [
        None,
        replace(good, n=row.minimum - 1, values=good.values[: row.minimum - 1]),
        replace(good, measured_at=NOW - row.stale_seconds - 1),
        replace(good, measured_at=NOW + 60),
        replace(good, measured_at=nan),
    ]
    if row.aggregation is Aggregation.SHARE:
        unknown += [replace(good, part=-1), replace(good, part=good.n + 1)]
    elif row.aggregation is Aggregation.MEAN:
        unknown += [replace(good, total=nan), replace(good, squares=math.inf)]
    else:
        unknown += [
            replace(good, values=(*good.values[1:], nan)),
            replace(good, values=(*good.values[1:], math.inf)),
            replace(good, values=good.values[1:]),
        ]
    for measured in unknown:
        found = judge_row(row, measured, NOW)
        assert (found.colour, found.interval) == (Colour.UNKNOWN, None), measured
    assert judge_row(row, good, NOW).colour is Colour.GREEN


def test_the_minimum_itself_is_enough() -> None:
    """One fewer is unknown, as the test above shows."""
    for row in ROWS:
        good = GREEN[row.name]
        least = replace(good, n=row.minimum, part=0, values=good.values[: row.minimum])
        assert judge_row(row, least, NOW).colour is not Colour.UNKNOWN


def test_red_is_no_go_whatever_else() -> None:
    """Even waived, even beside an unknown row."""
    waiver = Waiver(row="slippage", by="casey", reason="r", expires_at=NOW + 1)
    assert verdict(RED, waiver).decision is Decision.NO_GO
    without = {name: m for name, m in RED.items() if name != "error_rate"}
    found = verdict(without)
    assert found.decision is Decision.NO_GO
    assert [reason.split(":")[0] for reason in found.reasons] == ["slippage"]


def test_unknown_is_hold_and_cannot_be_waived() -> None:
    """A row without data holds, with or without a waiver; so does a matrix without any."""
    without = {name: m for name, m in GREEN.items() if name != "pnl_drift"}
    waiver = Waiver(row="pnl_drift", by="casey", reason="r", expires_at=NOW + 1)
    assert verdict(without, waiver, dwell_seconds=0.0).decision is Decision.HOLD
    assert verdict({}, dwell_seconds=0.0).decision is Decision.HOLD
    assert verdict({}, dwell_seconds=0.0, rows=()).decision is Decision.HOLD


def test_yellow_is_hold_unless_waived_by_name_until_its_expiry() -> None:
    """At the expiry itself the waiver is over, and one for another row is none."""
    assert verdict(YELLOW, dwell_seconds=0.0).decision is Decision.HOLD
    for row, expires_at, expected in (
        ("slippage", NOW + 1, Decision.GO),
        ("slippage", NOW, Decision.HOLD),
        ("error_rate", NOW + 1, Decision.HOLD),
    ):
        waiver = Waiver(row=row, by="casey", reason="known", expires_at=expires_at)
        found = verdict(YELLOW, waiver, dwell_seconds=0.0)
        assert found.decision is expected
        assert found.waivers == ((waiver,) if expires_at > NOW else ())


def test_go_takes_the_whole_dwell() -> None:
    """Every half hour all green: HOLD until 24 hours are over, GO at the hour itself."""
    previous, decisions = None, []
    for half_hours in range(49):
        previous = verdict(GREEN, now=NOW + 1_800 * half_hours, previous=previous)
        decisions.append(previous.decision)
    assert decisions == [Decision.HOLD] * 48 + [Decision.GO]
    assert previous is not None
    assert previous.at - (previous.clear_since or 0) == DWELL_SECONDS


@pytest.mark.parametrize("between", [YELLOW, RED, {}])
def test_any_interruption_starts_the_dwell_again(between: dict[str, Measurement]) -> None:
    """One verdict that is not clear, and the clock starts anew."""
    first = verdict(GREEN)
    second = verdict(between, now=NOW + 60, previous=first)
    third = verdict(GREEN, now=NOW + 120, previous=second)
    assert [v.clear_since for v in (first, second, third)] == [NOW, None, NOW + 120]


def test_nobody_looking_starts_the_dwell_again() -> None:
    """A gap between verdicts is not stability, nor is a clock that went back."""
    first = verdict(GREEN)
    assert verdict(GREEN, now=NOW + 3_600, previous=first).clear_since == NOW
    assert verdict(GREEN, now=NOW + 3_601, previous=first).clear_since == NOW + 3_601
    assert verdict(GREEN, now=NOW - 1, previous=first).clear_since == NOW - 1


def test_a_verdict_keeps_its_inputs() -> None:
    """From the stored verdict alone the same verdict can be made again."""
    found = verdict(YELLOW)
    inputs = {v.row.name: v.measurement for v in found.rows if v.measurement is not None}
    assert found == decide(inputs, found.waivers, found.at, previous=None)


@given(st.sampled_from(ROWS), st.integers(0, 5_000), st.floats(0, 1))
def test_more_of_the_bad_never_looks_better(row: Row, n: int, share: float) -> None:
    """Colours get no better as a share gets worse."""
    if row.aggregation is not Aggregation.SHARE or n < row.minimum:
        return
    order = [Colour.GREEN, Colour.YELLOW, Colour.RED]
    part = int(share * (n - 1))
    one, two = (order.index(judge_row(row, shares(p, n), NOW).colour) for p in (part, part + 1))
    assert two <= one if row.direction is Direction.HIGHER else one <= two


@pytest.mark.parametrize(
    "wrong", [{"row": " "}, {"by": ""}, {"reason": ""}, {"expires_at": math.inf}]
)
def test_a_waiver_has_a_name_a_reason_and_an_end(wrong: dict[str, Any]) -> None:
    """Nothing is waived by nobody, or for ever."""
    right: dict[str, Any] = {"row": "slippage", "by": "casey", "reason": "r", "expires_at": NOW}
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        Waiver(**right | wrong)


def test_intervals_have_their_published_values() -> None:
    """Wilson for 0 and 10 of 100; a mean by hand; the p95's ranks of 1,000 values."""
    assert [round(x, 4) for x in wilson(10, 100)] == [0.1, 0.0552, 0.1744]
    assert wilson(100, 100).high == 1.0
    found = mean_interval(4, 10.0, 30.0)
    assert found.estimate == 2.5
    assert found.high - 2.5 == pytest.approx(1.959964 * math.sqrt(5 / 3 / 4), rel=1e-6)
    assert quantile_interval(range(1, 1_001), 0.95) == (950, 936, 965)
    assert quantile_interval(range(50), 0.95).high == math.inf


def test_the_quantiles_interval_covers() -> None:
    """Of 500 samples of 400 uniform values, at least 95 % have the true p95 inside."""
    rng = random.Random(1)
    inside = 0
    for _ in range(500):
        found = quantile_interval(sorted(rng.random() for _ in range(400)), 0.95)
        inside += found.low <= 0.95 <= found.high
    assert inside >= 475 - 3 * math.sqrt(500 * 0.05 * 0.95)
