"""The judge: three outcomes, and nothing that is not proven ever counts as success."""

import json
import math
import random
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judge import CONFIG, false_alarm_table, false_alarms, plot, power, power_table
from bench.judge_model import autoregressive, first
from bench.judge_model import judged as judged_by_study
from lob.errors import InvalidInput
from tests.conftest import ROOT
from tests.rollout.test_shadow import pair
from touchstone.rollout import experiment
from touchstone.rollout.experiment import Blocks, clip, unpaired_differences
from touchstone.rollout.judge import Judge, JudgeConfig, Outcome

DAY = 86_400.0


def judged(
    effect_bps: float, minutes: int, *, noise_bps: float = 0.2, per_minute: int = 2, **config: Any
) -> Judge:
    """Return a judge that has seen so many minutes of orders with this effect."""
    rng = random.Random(7)
    judge = Judge(JudgeConfig(**config), started_at=0.0)
    for minute in range(minutes):
        for order in range(per_minute):
            at = 60.0 * minute + order
            judge.observe("AAPL", at, effect_bps + rng.gauss(0, noise_bps))
    return judge


def test_no_data_is_hold_with_a_deadline() -> None:
    """Without an order the judge holds, and after the deadline says so; it never promotes."""
    judge = Judge(JudgeConfig(deadline_seconds=DAY), started_at=100.0)
    early, late = judge.verdict(100.0), judge.verdict(100.0 + DAY)
    assert (early.outcome, early.overdue, early.deadline_at) == (Outcome.HOLD, False, 100.0 + DAY)
    assert (late.outcome, late.overdue) == (Outcome.HOLD, True)
    assert (late.blocks, late.mean_bps, late.lower_bps, late.upper_bps) == (0, None, None, None)
    assert judge.curve() == ()


def test_too_few_blocks_are_hold() -> None:
    """Twenty-nine minutes prove nothing, however clear they are; the thirtieth does."""
    assert judged(5.0, 29).verdict(1e6).outcome is Outcome.HOLD
    assert judged(5.0, 30).verdict(1e6).outcome is Outcome.ROLLBACK
    assert judged(-5.0, 29).verdict(1e6).outcome is Outcome.HOLD
    assert judged(-5.0, 30).verdict(1e6).outcome is Outcome.PROMOTE


def test_orders_within_a_minute_are_one_observation() -> None:
    """A thousand orders in one minute are one block, and an open minute is none yet."""
    judge = judged(5.0, 1, per_minute=59)
    assert judge.verdict(59.0).blocks == 0
    found = judge.verdict(60.0)
    assert (found.blocks, found.orders) == (1, 59)


def test_proven_harm_stays_proven() -> None:
    """Better orders afterwards do not take a rollback back."""
    judge = judged(2.0, 60)
    assert judge.verdict(1e6).outcome is Outcome.ROLLBACK
    for minute in range(60, 1_000):
        judge.observe("AAPL", 1e6 + 60.0 * minute, -3.0)
    found = judge.verdict(1e9)
    assert found.outcome is Outcome.ROLLBACK
    assert found.upper_bps is not None
    assert found.upper_bps < 0


def test_harm_comes_before_the_margin() -> None:
    """Proven to cost something, and proven to cost less than the margin: rolled back."""
    judge = judged(0.1, 400)
    found = judge.verdict(60.0 * 400)
    assert found.lower_bps is not None
    assert found.upper_bps is not None
    assert 0 < found.lower_bps < 0.1 < found.upper_bps < judge.config.margin_bps
    assert (Outcome.ROLLBACK, "harm above 0 bps") == (found.outcome, found.reason[:16])


def test_a_promotion_within_the_margin_ends_where_the_harm_is_proven() -> None:
    """What was unproven at the promotion may become proven: the same candidate, more orders."""
    judge, outcomes = Judge(JudgeConfig(), started_at=0.0), []
    rng = random.Random(7)
    for minute in range(400):
        judge.observe("AAPL", 60.0 * minute, 0.1 + rng.gauss(0, 0.2))
        outcomes.append(judge.verdict(60.0 * (minute + 1)).outcome)
    changes = [o for i, o in enumerate(outcomes) if i == 0 or o is not outcomes[i - 1]]
    assert [Outcome.HOLD, Outcome.PROMOTE, Outcome.ROLLBACK] == changes


def test_a_cost_that_is_accepted_is_said_by_the_harm_limit() -> None:
    """With both limits at 0.5 the verdicts exclude one another: 0.1 bps is promoted and stays."""
    accepted = judged(0.1, 2_000, harm_bps=0.5).verdict(60.0 * 2_000)
    assert Outcome.PROMOTE is accepted.outcome
    beyond = judged(0.7, 2_000, harm_bps=0.5).verdict(60.0 * 2_000)
    assert Outcome.ROLLBACK is beyond.outcome


def test_a_promotion_is_not_latched() -> None:
    """What was proven may cease to be: a candidate that turns bad loses its promotion."""
    judge = judged(0.0, 200)
    assert judge.verdict(60.0 * 200).outcome is Outcome.PROMOTE
    for minute in range(200, 500):
        judge.observe("AAPL", 60.0 * minute, 3.0)
    assert judge.verdict(1e6).outcome is not Outcome.PROMOTE


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_hold(wrong: float) -> None:
    """One difference that is not finite forbids a promotion, and does not hide harm."""
    good, bad = judged(0.0, 200), judged(3.0, 200)
    for judge in (good, bad):
        judge.observe("AAPL", 60.0 * 200, wrong)
    found = good.verdict(1e6)
    assert (found.outcome, found.unusable) == (Outcome.HOLD, 1)
    assert bad.verdict(1e6).outcome is Outcome.ROLLBACK


def test_orders_that_cannot_be_compared_forbid_a_promotion() -> None:
    """Five in a hundred may be missing, one more is HOLD."""
    judge = judged(0.0, 190, per_minute=1)
    for _ in range(10):
        judge.observe("AAPL", 0.0, None)
    assert judge.verdict(60.0 * 190).outcome is Outcome.PROMOTE
    judge.observe("AAPL", 0.0, None)
    found = judge.verdict(60.0 * 190)
    assert (found.outcome, found.missing) == (Outcome.HOLD, 11)


def test_pairs_are_compared_counted_or_missing() -> None:
    """A pair has a difference, is missing where one side filled, and is neither where none did."""
    judge = Judge(JudgeConfig(), started_at=0.0)
    for one in (pair(1, 2), pair(1, None), pair(None, 1), pair(1, None, failed=True)):
        judge.observe_pair(one)
    judge.observe_pair(pair(None, None))
    found = judge.verdict(60.0)
    assert (found.orders, found.missing, found.mean_bps) == (1, 3, 1.0)


def test_differences_beyond_the_clip_count_as_the_clip() -> None:
    """They are counted, and the mean is the clipped one."""
    judge = Judge(JudgeConfig(clip_bps=10.0), started_at=0.0)
    judge.observe("AAPL", 0.0, 1e9)
    judge.observe("AAPL", 1.0, 4.0)
    found = judge.verdict(60.0)
    assert (found.clipped, found.mean_bps) == (1, 7.0)
    assert [clip(x, 2.0) for x in (-3.0, -2.0, 0.5, 3.0)] == [-2.0, -2.0, 0.5, 2.0]


def test_the_curve_is_bounded_and_narrows() -> None:
    """Twenty thousand blocks leave a few hundred points, and the interval gets narrower."""
    judge = judged(0.1, 20_000, per_minute=1)
    judge.verdict(1e9)
    curve = judge.curve()
    assert 100 < len(curve) < 300
    widths = [
        p.upper_bps - p.lower_bps
        for p in curve
        if p.blocks >= 100 and p.upper_bps is not None and p.lower_bps is not None
    ]
    assert widths[-1] < widths[0] / 4
    assert curve[0].lower_bps is None


def test_correlated_minutes_widen_the_bounds() -> None:
    """The same values in long runs prove less than in a mixture."""
    runs, mixed = (Judge(JudgeConfig(), started_at=0.0) for _ in range(2))
    values = [1.0] * 100 + [-1.0] * 100
    shuffled = random.Random(3).sample(values, len(values))
    for minute, (run, mix) in enumerate(zip(values, shuffled, strict=True)):
        runs.observe("AAPL", 60.0 * minute, run)
        mixed.observe("AAPL", 60.0 * minute, mix)
    wide, narrow = runs.verdict(1e6), mixed.verdict(1e6)
    assert wide.correlation > 0.9
    assert abs(narrow.correlation) < 0.2
    assert wide.upper_bps is None or (
        narrow.upper_bps is not None and wide.upper_bps > 2 * narrow.upper_bps
    )


def test_a_minute_is_one_block_of_all_its_symbols() -> None:
    """Each symbol counts alike, however busy; a late order joins the first open minute."""
    blocks = Blocks(60.0)
    assert [] == blocks.observe("A", 0.0, 1.0)
    assert [] == blocks.observe("A", 10.0, 3.0)
    assert [] == blocks.observe("B", 30.0, 5.0)
    (first,) = blocks.observe("A", 60.0, 2.0)
    assert (0.0, 3.5, 3, 2) == (first.start, first.mean_bps, first.orders, first.symbols)
    assert [] == blocks.observe("A", 59.0, 4.0)
    (second,) = blocks.close(120.0)
    assert (60.0, 3.0, 2) == (second.start, second.mean_bps, second.orders)
    assert [] == blocks.close(1e9)
    assert [] == blocks.observe("C", 70.0, 1.0)
    assert [] == blocks.close(120.0)


def test_a_clock_that_goes_back_makes_no_second_block_of_a_minute() -> None:
    """What is from before joins the open minute, so no shock to a minute counts twice."""
    blocks, starts = Blocks(60.0), []
    for at in (0.0, 60.0, 120.0, 30.0, 90.0, 130.0, 180.0, 240.0):
        starts += [block.start for block in blocks.observe("A", at, 1.0)]
    assert [0.0, 60.0, 120.0, 180.0] == starts


def test_the_symbols_of_a_minute_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those beyond the bound count as one symbol, and none of their orders is lost."""
    monkeypatch.setattr(experiment, "OPEN_SYMBOLS_MAX", 2)
    blocks = Blocks(60.0)
    for name, value in (("A", 1.0), ("B", 2.0), ("C", 3.0), ("D", 9.0), ("A", 1.0)):
        assert [] == blocks.observe(name, 0.0, value)
    (block,) = blocks.close(60.0)
    assert (5, 3, 3.0) == (block.orders, block.symbols, block.mean_bps)


def test_many_symbols_in_a_minute_are_one_observation() -> None:
    """A shock to all symbols of 29 minutes proves nothing, whatever their number."""
    judge = Judge(JudgeConfig(), started_at=0.0)
    for minute in range(29):
        for n in range(50):
            judge.observe(f"S{n}", 60.0 * minute, 5.0)
    found = judge.verdict(1e6)
    assert (29, 29 * 50, Outcome.HOLD) == (found.blocks, found.orders, found.outcome)


def test_what_is_proven_only_after_the_deadline_is_no_promotion() -> None:
    """Late evidence stays HOLD and overdue, in time it goes on counting; harm is never late."""
    late, soon, bad = (Judge(JudgeConfig(deadline_seconds=DAY), started_at=0.0) for _ in range(3))
    for minute in range(100):
        soon.observe("AAPL", 60.0 * minute, 0.0)
        late.observe("AAPL", 2 * DAY + 60.0 * minute, 0.0)
        bad.observe("AAPL", 2 * DAY + 60.0 * minute, 5.0)
    held, kept = late.verdict(3 * DAY), soon.verdict(3 * DAY)
    assert (Outcome.HOLD, True) == (held.outcome, held.overdue)
    assert "before the deadline" in held.reason
    assert (Outcome.PROMOTE, False) == (kept.outcome, kept.overdue)
    assert Outcome.ROLLBACK is bad.verdict(3 * DAY).outcome


def test_unpaired_differences_need_both_arms() -> None:
    """The difference of the arms' means; an empty arm has none."""
    control, candidate = np.array([[1.0, 3.0]]), np.array([[4.0, 6.0]])
    assert unpaired_differences(control, candidate).tolist() == [3.0]
    with pytest.raises(InvalidInput, match="one or more"):
        unpaired_differences(control, np.empty((1, 0)))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.0, 0.1, -0.2, 0.4, -0.5]),
            st.sampled_from(["A", "B"]),
            st.integers(0, 90),
        ),
        min_size=40,
        max_size=200,
    ),
    st.dictionaries(st.integers(0, 199), st.sampled_from([None, math.nan, 1e12]), max_size=4),
    st.floats(-1.5, 1.0),
)
def test_success_is_only_what_is_proven(
    orders: list[tuple[float, str, int]], spoilt: dict[int, float | None], shift: float
) -> None:
    """Whatever comes in: PROMOTE has its blocks, its bound, and nothing missing or unusable."""
    config = JudgeConfig(minimum_blocks=20)
    judge, at, blocks = Judge(config, 0.0), 0.0, 0
    for i, (difference, symbol, wait) in enumerate(orders):
        at += wait
        judge.observe(symbol, at, spoilt.get(i, difference + shift))
        found = judge.verdict(at)
        assert found.blocks >= blocks
        blocks = found.blocks
        if found.outcome is Outcome.PROMOTE:
            assert found.blocks >= 20
            assert found.unusable == 0
            assert found.missing <= config.missing_share_max * (i + 1)
            assert found.upper_bps is not None
            assert found.upper_bps <= config.margin_bps
        if found.outcome is not Outcome.HOLD:
            assert not found.overdue
        json.dumps(asdict(found), allow_nan=False)
        json.dumps([asdict(point) for point in judge.curve()], allow_nan=False)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": math.nan}, "alpha"),
        ({"margin_bps": -1.0}, "margin_bps"),
        ({"harm_bps": 1.0, "margin_bps": 0.5}, "margin_bps"),
        ({"clip_bps": math.inf}, "clip_bps"),
        ({"minimum_blocks": 19}, "minimum_blocks"),
        ({"deadline_seconds": 0.0}, "deadline_seconds"),
        ({"block_seconds": 0.0}, "block_seconds"),
        ({"missing_share_max": 1.1}, "missing_share_max"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any], named: str) -> None:
    """Every refusal names the field, the value and what is allowed."""
    with pytest.raises(InvalidInput, match=f"{named}: .*allowed"):
        JudgeConfig(**wrong)
    with pytest.raises(InvalidInput, match="at: nan"):
        Judge(JudgeConfig(), 0.0).observe("A", math.nan, 1.0)


@pytest.mark.parametrize(
    "noise",
    [
        "independent",
        "shared shock per symbol-minute",
        "AR(1), 0.5, across minutes",
        "heavy tails (t, 3 d.f.)",
        "mostly zero",
    ],
)
def test_false_alarms_stay_below_alpha(noise: str) -> None:
    """400 A/A rollouts looked at after each of 500 blocks, with three standard errors of slack."""
    shares = false_alarms(noise, 400, 2_000)["shares"]
    slack = 3 * math.sqrt(CONFIG.alpha * (1 - CONFIG.alpha) / 400)
    assert shares["judge"] <= CONFIG.alpha + slack
    assert shares["judge_at_margin"] <= CONFIG.alpha + slack
    assert shares["z_two_sided"] > 0.2, "the repeated z-test must be seen to fail here"


def test_small_effects_are_found_soon_when_paired_and_not_when_unpaired() -> None:
    """0.3 bps under 8 bps of market noise takes a few hundred orders in pairs."""
    found = power(0.3, 100, 2_000)
    assert found["paired"]["share_found"] == 1.0
    assert found["paired"]["median_orders"] <= 300
    assert found["unpaired"]["share_found"] < 0.3


def test_the_page_shows_the_committed_study() -> None:
    """docs/judge.md has the tables of docs/judge.json, and those keep what they promise."""
    result = json.loads((ROOT / "docs" / "judge.json").read_text())
    page = (ROOT / "docs" / "judge.md").read_text()
    assert f"<!-- false alarms -->\n{false_alarm_table(result)}\n<!-- end -->" in page
    assert f"<!-- power -->\n{power_table(result)}\n<!-- end -->" in page
    assert (ROOT / "docs" / "judge.svg").read_text() == plot(result)
    assert (result["rollouts"], result["orders"]) == (2_000, 5_000)
    for row in result["false_alarms"]:
        if not row["noise"].startswith("outside"):
            assert row["shares"]["judge"] <= result["alpha"], row["noise"]
            assert row["shares"]["judge_at_margin"] <= result["alpha"], row["noise"]


def test_the_study_judges_as_the_judge_does() -> None:
    """Order by order, the judge proves harm after the same block as the study's arrays."""
    rng = np.random.default_rng(4)
    differences = autoregressive(rng, (40, 200, 4), 0.5) + 0.25
    blocks = first(judged_by_study(differences, CONFIG).harm(CONFIG.harm_bps))
    for rollout, expected in zip(differences, blocks, strict=True):
        judge, found = Judge(CONFIG, 0.0), math.inf
        for minute, orders in enumerate(rollout):
            for second, difference in enumerate(orders):
                judge.observe("AAPL", 60.0 * minute + second, float(difference))
            if judge.verdict(60.0 * (minute + 1)).outcome is Outcome.ROLLBACK:
                found = minute
                break
        assert found == expected
    assert 20 < np.isfinite(blocks).sum() <= 40


def test_the_study_is_reproducible() -> None:
    """The same seed gives the same shares, and another configuration would show."""
    assert false_alarms("independent", 50, 400) == false_alarms("independent", 50, 400)
    assert replace(CONFIG, alpha=0.01).mixture == CONFIG.mixture
