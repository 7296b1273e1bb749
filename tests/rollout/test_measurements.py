"""What the candidate did in a day: exact counts, a uniform sample, small whatever the traffic."""

import json
import random

import pytest

from lob.errors import InvalidInput
from touchstone.rollout.go_no_go import ROWS, Colour, decide
from touchstone.rollout.measurements import SAMPLE_MAX, ExecutionTally, measurements

NOW = 1_800_000_000.0
HOUR = 3_600.0


def tally(seed: int, count: int, at: float = NOW, seconds: float = 0.001) -> ExecutionTally:
    """Return a tally of good executions at one time."""
    made = ExecutionTally(random.Random(seed).random)
    for _ in range(count):
        made.observe(at, seconds=seconds, filled=True, slippage_bps=2.0, error=False)
    return made


def test_counts_of_several_processes_add_up() -> None:
    """Orders, fills, errors and sums; an error has no slippage, and JSON holds it all."""
    one, two = tally(1, 30), tally(2, 20)
    one.observe(NOW, seconds=0.2, filled=False, slippage_bps=None, error=True)
    two.observe(NOW + 1, seconds=0.2, filled=False, slippage_bps=4.0, error=False)
    parts = [json.loads(json.dumps(part.to_json())) for part in (one, two)]
    found = measurements(parts, NOW + 2)
    assert (52, 50) == (found["order_success_rate"].n, found["order_success_rate"].part)
    assert (52, 1) == (found["error_rate"].n, found["error_rate"].part)
    slippage = found["slippage"]
    assert (51, 104.0, 216.0) == (slippage.n, slippage.total, slippage.squares)
    assert (52, 200.0) == (found["system_latency"].n, max(found["system_latency"].values))
    assert {NOW + 1} == {measured.measured_at for measured in found.values()}


def test_a_day_is_a_day() -> None:
    """What is older counts no more, also where nothing came since; nothing is no measurement."""
    made = tally(1, 10, NOW - 30 * HOUR)
    for _ in range(5):
        made.observe(NOW, seconds=0.001, filled=True, slippage_bps=1.0, error=False)
    assert 5 == measurements([made.to_json()], NOW)["error_rate"].n
    assert {} == measurements([made.to_json()], NOW + 30 * HOUR)
    assert {} == measurements([ExecutionTally(random.random).to_json()], NOW)
    assert {} == measurements([], NOW)


def test_a_clock_that_is_ahead_makes_nothing_fresh() -> None:
    """A router three days ahead that ended must not stand for the present until then."""
    ahead, old = tally(1, 500, NOW + 72 * HOUR), tally(2, 500, NOW - 2 * HOUR)
    assert {} == measurements([ahead.to_json()], NOW)
    found = measurements([ahead.to_json(), old.to_json()], NOW)
    assert (500, NOW - 2 * HOUR) == (found["error_rate"].n, found["error_rate"].measured_at)
    assert 500 == len(found["system_latency"].values)
    verdict = decide(found, (), NOW, previous=None)
    assert {Colour.UNKNOWN} == {row.colour for row in verdict.rows}
    a_bit = tally(3, 5, NOW + 4).to_json()
    assert 5 == measurements([a_bit], NOW)["error_rate"].n


def test_a_tally_stays_small_however_long_it_counts() -> None:
    """Two weeks of two thousand an hour: at most 25 slots, and a bounded text."""
    made = ExecutionTally(random.Random(1).random)
    for hour in range(14 * 24):
        for n in range(700):
            made.observe(
                NOW + hour * HOUR, seconds=n / 1e4, filled=True, slippage_bps=0.5, error=False
            )
    body = made.to_json()
    assert 25 == len(body["slots"])
    assert SAMPLE_MAX == len(body["sample"])
    assert len(json.dumps(body)) < 40_000


def test_the_sample_is_uniform_over_processes_and_hours() -> None:
    """A process with nine tenths of the orders has nine tenths of the sample, in each of runs."""
    shares = []
    for seed in range(30):
        busy = tally(seed, 2_700, NOW, seconds=0.001)
        idle = tally(seed + 1_000, 300, NOW - HOUR, seconds=0.002)
        values = measurements([busy.to_json(), idle.to_json()], NOW)["system_latency"].values
        assert SAMPLE_MAX == len(values)
        shares.append(sum(value == 1.0 for value in values) / len(values))
    assert 0.9 == pytest.approx(sum(shares) / len(shares), abs=0.01)
    assert all(0.85 < share < 0.95 for share in shares)


def test_a_matrix_is_decided_from_it() -> None:
    """Four rows are known and green after enough orders; the plan's other two are not."""
    found = measurements([tally(1, 5_000).to_json()], NOW)
    verdict = decide(found, (), NOW, previous=None, rows=ROWS)
    colours = {row.row.name: row.colour for row in verdict.rows}
    unknown = {name for name, colour in colours.items() if colour is Colour.UNKNOWN}
    assert {"post_only_rejects", "pnl_drift"} == unknown
    assert {Colour.GREEN, Colour.UNKNOWN} == set(colours.values())


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"slots": {"x": []}, "sample": [], "newest": 1},
        {"slots": {"999999": [1, 2]}, "sample": [], "newest": 1},
        {"slots": {"999999": [-1, 0, 0, 0, 0, 0]}, "sample": [], "newest": 1},
        {"slots": {"999999": [1, 0, 0, 0, "nan", 0]}, "sample": [], "newest": 1},
        {"slots": {}, "sample": [[1]], "newest": 1},
        {"slots": [], "sample": [], "newest": 1},
    ],
)
def test_a_damaged_tally_is_refused(damaged: dict[str, object]) -> None:
    """One line, no traceback of its own."""
    with pytest.raises(InvalidInput, match=r"tally: .*allowed"):
        measurements([damaged], NOW)
