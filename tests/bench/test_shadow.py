"""The shadow benchmark's arithmetic: ratios, intervals, verdicts, and what an answer is."""

import pytest

from bench.shadow import chosen, held, lines_of, summary
from bench.shadow_candidates import HOSTILE
from bench.shadow_load import Block, fill_of, request_bodies
from lob.errors import InvalidInput
from touchstone.kit.codec import decode_execution_request


@pytest.mark.parametrize(
    ("ratios", "outcome"),
    [([1.0, 1.01, 0.99] * 8, "held"), ([1.2, 1.3] * 8, "not held"), ([0.5, 1.6], "not decided")],
)
def test_the_verdict_is_the_intervals(ratios: list[float], outcome: str) -> None:
    """Held only where the whole interval is under the bar."""
    found = summary(ratios)
    assert outcome == found["outcome"]
    assert found["p99_ratio_low"] <= found["p99_ratio"] <= found["p99_ratio_high"]


def document(*, changed: int = 0, outcome: str = "held") -> dict[str, object]:
    """Return a run's document with one candidate of each kind."""
    figures = {"p99_off_ms": 1.0, "p99_shadow_ms": 1.0, "answers": 10, "failed": 0, "shadow": {}}
    figures |= {"router_cpu_off_us": 1.0, "router_cpu_shadow_us": 1.0}
    one = {**summary([1.0] * 9), **figures, "changed": changed}
    return {
        "rate_per_second": 1_000.0,
        "bar": 1.05,
        "candidates": {
            "l3": one | {"outcome": outcome},
            "raises": one | {"outcome": "not decided"},
        },
        "hostile": summary([1.0] * 9),
    }


def test_a_changed_answer_or_an_undecided_bar_is_a_failure() -> None:
    """A hostile candidate's own interval decides nothing; all of theirs together do."""
    assert held(document())
    assert not held(document(changed=1))
    assert not held(document(outcome="not decided"))
    assert 5 == len(lines_of(document()))


def test_candidates_are_chosen_by_name() -> None:
    """None named is all; a wrong name is one clear line."""
    assert set(HOSTILE) < set(chosen(""))
    assert ("l3", "forks") == chosen("l3, forks")
    with pytest.raises(InvalidInput, match="'l4'; allowed: simulator, l3"):
        chosen("l4")


def test_a_block_counts_from_what_it_has() -> None:
    """The 99th of a hundred; the fill alone is compared, and only L2's."""
    assert 0.99 == Block([n / 100 for n in range(100)]).quantile(0.99)
    assert b'{"a":1}}' == fill_of(b'{"decision":{"arm":"L2"},"fill":{"a":1}}')
    assert fill_of(b'{"decision":{"arm":"L3"},"fill":{}}') is None
    assert 28 == len({decode_execution_request(body).order.symbol + str(n)
                      for n, body in enumerate(request_bodies())})  # fmt: skip
