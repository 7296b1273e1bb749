"""The shadow benchmark's arithmetic: ratios, intervals, verdicts, and what an answer is."""

import subprocess
import sys
import time

import pytest

from bench.child_clock import ChildClock
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


def document(*, changed: int = 0, outcome: str = "held", bad: str = "held") -> dict[str, object]:
    """Return a run's document with one candidate of each kind."""
    figures = {"p99_off_ms": 1.0, "p99_shadow_ms": 1.0, "answers": 10, "failed": 0, "shadow": {}}
    figures |= {"router_cpu_off_us": 1.0, "router_cpu_shadow_us": 1.0, "computed_share": 0.01}
    one = {**summary([1.0] * 9), **figures, "changed": changed, "across_phases": summary([1.0])}
    return {
        "rate_per_second": 1_000.0,
        "bar": 1.05,
        "candidates": {
            "l3": one | {"outcome": outcome},
            "raises": one | {"outcome": "not decided"},
        },
        "hostile": summary([1.0] * 9) | {"outcome": bad},
    }


def test_a_changed_answer_or_an_undecided_bar_is_a_failure() -> None:
    """A hostile candidate's own interval decides nothing; all of theirs together do."""
    assert held(document())
    assert not held(document(changed=1))
    assert not held(document(outcome="not decided"))
    assert not held(document(bad="not decided"))
    assert 5 == len(lines_of(document()))


def block_with_bursts(extra_seconds: float) -> Block:
    """Return ten seconds at 100/s, and ten bursts of 10 ms in which requests take longer."""
    block, computed = Block(), 0
    for number in range(1000):
        due = number / 100
        in_burst = number % 100 == 50
        block.looks.append((due - 0.002, computed))
        computed += 5_000_000 if in_burst else 1_000
        block.due_at.append(due)
        # Something of its own is in every tail: the machine's.
        own = 0.004 if number % 100 == 10 else 0.001 + number % 7 / 1e5
        block.latencies.append(own + (extra_seconds if in_burst else 0.0))
    block.looks.append((10.0, computed))
    return block


def test_requests_apart_are_those_that_the_process_had_no_part_in() -> None:
    """A burst has an edge before and after it; what is within costs the ratio what it adds."""
    apart, share = block_with_bursts(0.0).apart()
    # Of each burst: its own 10 ms, the two requests of the 20 ms before it, the one after.
    assert len(apart) == 1000 * (1 - share) == pytest.approx(1000 - 40, abs=10)
    ratio, others = block_with_bursts(0.0).within()
    assert others == share
    assert 1.0 == pytest.approx(ratio)
    assert (block_with_bursts(0.02).within()[0] or 0) > 2


def test_a_process_that_computes_most_of_the_time_leaves_nothing_to_compare_with() -> None:
    """Then phases are compared; a block in which it did nothing is its own measure."""
    busy, idle = block_with_bursts(0.0), block_with_bursts(0.0)
    busy.looks = [(at, index * 1_000_000) for index, (at, _) in enumerate(busy.looks)]
    idle.looks = [(at, 0) for at, _ in idle.looks]
    ratio, others = busy.within()
    assert ratio is None
    assert others > 0.99
    assert 0.1 == pytest.approx(busy.computed_share(), rel=0.01)
    assert (1.0, 0.0, 0.0) == (*idle.within(), idle.computed_share())


PARENT = """
import subprocess, sys
child = None
for line in sys.stdin:
    if child is not None:
        child.kill()
        child.wait()
    busy = [sys.executable, "-c", "while True: pass"]
    child = subprocess.Popen(busy) if line == "start\\n" else None
    print("done", flush=True)
"""


def test_the_clock_of_a_child_follows_who_takes_its_place() -> None:
    """It stands at zero without one, runs while one computes, and begins anew with the next."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=pipe, stdout=pipe) as parent:
        clock = ChildClock(parent.pid)

        def tell(word: str) -> None:
            assert parent.stdin is not None
            assert parent.stdout is not None
            parent.stdin.write(f"{word}\n".encode())
            parent.stdin.flush()
            assert b"done\n" == parent.stdout.readline()

        for _ in range(2):
            tell("stop")
            time.sleep(0.03)
            assert 0 == clock()
            tell("start")
            deadline = time.monotonic() + 20
            while clock() < 100_000_000 and time.monotonic() < deadline:
                time.sleep(0.03)
            assert clock() > 100_000_000
        tell("stop")


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
