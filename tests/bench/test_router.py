"""The router's benchmark: its arithmetic, its requests, and one short run of all of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.router import (
    BARS,
    CASES,
    RESULTS_BEGIN,
    RESULTS_END,
    Options,
    bars_of,
    held,
    lines_of,
    measure,
    percentile,
    summary,
    write,
)
from bench.router_load import http_requests, request_bodies
from touchstone.kit.codec import complete, receive_execution_request


def test_percentiles_are_values_that_were_measured() -> None:
    """The smallest that the share does not exceed."""
    values = list(range(1, 101))
    assert (50, 99, 100, 1) == tuple(percentile(values, p) for p in (0.5, 0.99, 1.0, 0.001))
    assert 7 == percentile([7], 0.99)


def test_every_request_is_one_that_the_router_takes() -> None:
    """Ten levels a side, and no two alike."""
    bodies = request_bodies()
    requests = {complete(receive_execution_request(body)) for body in bodies}
    assert len(bodies) == len(requests)
    assert {10} == {len(request.market.bids) for request in requests}


def test_a_batch_has_as_many_orders_as_are_asked_for() -> None:
    """The length that the head says is that of the body."""
    for request in http_requests("/x", request_bodies(), 256):
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert 256 == len(json.loads(body)["requests"])


def block(**changes: Any) -> dict[str, Any]:
    """Return one block's figures."""
    return {
        "answered": 100,
        "other_arm": 0,
        "executions_per_second": 30_000.0,
        "cpu_us": {"router": 50.0},
        "latency_us": [110.0] * 100,
        "provider_us": [10.0] * 100,
        "overhead_us": [100.0] * 100,
        "late_us": [1.0] * 100,
    } | changes


def document(**changes: Any) -> dict[str, Any]:
    """Return a document whose every case has the same blocks."""
    found: dict[str, Any] = {
        "machine": {"processors": 2, "python": "3", "system": "S", "load_average": (1, 1, 1)},
        "seconds": 1.0,
        "rounds": 2,
        "assignment_us": 1.5,
        "cases": {case.name: summary([block(**changes), block()]) for case in CASES},
    }
    found["bars"] = bars_of(found)
    return found


def test_every_bar_holds_or_says_why_not() -> None:
    """Slow or slower than promised is missed, and so is an answer by another arm."""
    assert held(document())
    assert len(BARS) + 1 == len(document()["bars"])
    slow = document(overhead_us=[5_000.0] * 100)
    assert not held(slow)
    fallen_back = document(other_arm=3)
    assert not held(fallen_back)
    assert any("3 answered by another arm" in line for line in lines_of(fallen_back))


def test_results_go_between_their_marks(tmp_path: Path) -> None:
    """Twice in a row leaves one set of results, and the rest of the page as it was."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{RESULTS_BEGIN}STALE\n{RESULTS_END}after\n")
    write(document(), page)
    first = page.read_text()
    write(document(), page)
    assert first == page.read_text()
    assert "STALE" not in first
    assert first.startswith("before\n")
    assert first.endswith(f"{RESULTS_END}after\n")
    assert "L3 single executions/s" in first


@pytest.mark.slow
def test_a_short_run_measures_every_case(root: Path) -> None:
    """Real processes: every answer is of the arm that was asked for, and none is an error."""
    found = measure(Options(seconds=0.3, rounds=1), root, lambda _text: None)
    assert {case.name for case in CASES} == set(found["cases"])
    for name, case in found["cases"].items():
        assert case["answered"] > 0, name
    assert found["cases"][CASES[0].name]["other_arm"] == 0
    assert found["cases"][CASES[1].name]["overhead_p50_us"] > 0
