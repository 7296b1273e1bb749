"""The gateway's benchmark: its arithmetic, its orders, and one short run of all of it."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from bench.gateway import (
    BARS,
    DECISIONS,
    REST,
    bars_of,
    decisions_block,
    held,
    lines_of,
    rest_block,
    summary,
    write,
)
from bench.gateway_rest_load import requests
from bench.gateway_stack import running_stack
from bench.router import RESULTS_BEGIN, RESULTS_END
from services.order_gateway.models import OrderRequest


def block(**changes: Any) -> dict[str, Any]:
    """Return one block's figures."""
    return {
        "orders": 2_000,
        "fills": 1_000,
        "seconds": 1.0,
        "gateway_cpu_seconds": 0.8,
        "exchange_cpu_seconds": 1.0,
        "handed_us": [300.0] * 99 + [1_500.0],
        "sent_us": [310.0] * 100,
        "answered_us": [900.0] * 99 + [5_000.0],
    } | changes


def document(**changes: Any) -> dict[str, Any]:
    """Return a document of like blocks, with `changes` in those of decisions."""
    cases = {name: summary([block(**changes), block(**changes)]) for name in DECISIONS}
    over_rest = {name: figure for name, figure in block().items() if name != "handed_us"}
    cases |= {name: summary([over_rest]) for name in REST}
    found: dict[str, Any] = {
        "machine": {"processors": 2, "python": "3", "system": "S", "load_average": (1, 1, 1)},
        "seconds": 1.0,
        "rounds": 2,
        "disk_alone": {"p50_us": 200.0, "p99_us": 900.0, "max_us": 5_000.0},
        "cases": cases,
    }
    found["bars"] = bars_of(found)
    return found


def test_every_bar_holds_or_is_missed() -> None:
    """A slow median, a slow tail, or too few orders: each is a bar missed."""
    good = document()
    assert held(good)
    assert len(BARS) == len(good["bars"])
    assert 400 == good["cases"]["decisions, 200/s open loop"]["gateway_cpu_us"]
    assert not held(document(handed_us=[600.0] * 100))
    assert not held(document(handed_us=[300.0] * 98 + [2_500.0] * 2))
    assert not held(document(seconds=4.0))
    assert any("MISSED" in line for line in lines_of(document(seconds=4.0)))


def test_results_go_between_their_marks(tmp_path: Path) -> None:
    """The rest of the page stays as it was."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{RESULTS_BEGIN}STALE\n{RESULTS_END}after\n")
    write(document(), page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{RESULTS_END}after\n")
    assert "STALE" not in text
    assert "decision to bytes p50" in text


def test_rest_orders_are_what_the_gateway_takes() -> None:
    """Each is valid, ids differ, half fill, and of those as many buy as sell."""
    sizes, far = {"BTC-PERP": "0.0002", "ETH-PERP": "0.005"}, {"BTC-PERP": "9", "ETH-PERP": "8"}
    read = [
        OrderRequest.model_validate(json.loads(request.partition(b"\r\n\r\n")[2]))
        for request in itertools.islice(requests(sizes, far), 64)
    ]
    assert 64 == len({order.client_order_id for order in read})
    market = [order for order in read if order.type == "MARKET"]
    assert 32 == len(market)
    for symbol in sizes:
        sides = [order.side for order in market if order.symbol == symbol]
        assert sides.count("BUY") == sides.count("SELL") == 8  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_short_run_of_each_kind(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real processes: orders are taken and over at the end, in process and over REST."""
    # Beside other tests a lease of half a second may lapse: nothing is measured here.
    monkeypatch.setattr("bench.gateway.REFUSED_SHARE_MAX", 0.5)
    with running_stack(root, tmp_path) as stack:
        inside = decisions_block(stack, next(iter(DECISIONS)), 1, rate=20, warm_seconds=0.1)
        outside = rest_block(stack, next(iter(REST)), 1, rate=20)
    case = summary([inside])
    assert case["orders"] >= case["fills"] > 0
    assert case["handed_p50_us"] <= case["sent_p50_us"] <= case["answered_p50_us"]
    assert summary([outside])["orders"] > 0
