"""The dossier's parts: kinds, differences, order of orders, plots, and a page that is safe."""

import json

from tests.rollout.dossier_document import document
from touchstone.rollout.dossier import (
    LiveOrder,
    flag_diff,
    kind_of,
    named_trigger,
    orders_to_json,
    window_rows,
)
from touchstone.rollout.dossier_page import dossier_page
from touchstone.rollout.dossier_plots import evidence_plot, orders_plot, window_plot
from touchstone.rollout.triggers import TRIGGERS, TriggerBoard


def test_a_page_escapes_what_came_from_outside() -> None:
    """A reason is text, whatever it holds."""
    page = dossier_page(document("x", reason="<script>alert(1)</script>"))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert 1 == page.count("<svg")


def test_the_worst_orders_come_first() -> None:
    """Those that failed, then the dearest; at most 200 are shown, all are counted."""

    def order(n: int, slippage: float | None, error: str | None = None) -> LiveOrder:
        return LiveOrder(
            decision_id=str(n),
            generation=1,
            at=float(n),
            symbol="A",
            side="BUY",
            quantity="1",
            seconds=0.001,
            slippage_bps=slippage,
            error=error,
        )

    orders = [order(0, 1.0), order(1, 9.0), order(2, None, "UNAVAILABLE")]
    found = orders_to_json([*orders, *(order(n, 0.0) for n in range(3, 300))])
    assert ["2", "1", "0"] == [row["decision_id"] for row in found["shown"][:3]]
    assert (300, 1, 200) == (found["count"], found["failed"], len(found["shown"]))
    assert json.dumps(found)


def test_kinds_and_differences() -> None:
    """Who wrote and how the reason begins say which kind; equal flags are no difference."""
    assert "emergency" == kind_of("casey", "bad fills")
    assert [] == flag_diff({"a": [1]}, {"a": [1]})
    assert [{"key": "a", "before": None, "after": 1}] == flag_diff(None, {"a": 1})


def test_a_window_is_summed_slot_by_slot_over_routers() -> None:
    """Two routers' counts of one slot are one row, and what is above the limit is told apart."""
    boards = [TriggerBoard(), TriggerBoard()]
    for board in boards:
        for at, seconds in ((1_000.0, 0.5), (1_000.0, 0.001), (1_005.0, 0.001)):
            board.observe(at, seconds=seconds)
    trigger = named_trigger("latency_p95: latency p95 above 10 ms")
    assert trigger is not None
    rows = window_rows(trigger, [board.to_counts()[trigger.name] for board in boards])
    assert [
        {"at": 1_000.0, "samples": 4, "over": 2},
        {"at": 1_005.0, "samples": 2, "over": 0},
    ] == rows
    assert named_trigger("bad fills") is None
    assert all(named_trigger(f"{trigger.name}: x") is trigger for trigger in TRIGGERS)


def test_plots_of_nothing_are_none_and_of_one_value_are_whole() -> None:
    """No data is no plot; a single point, or equal ones, still have axes."""
    assert (None, None, None) == (
        evidence_plot([], 0.0, 0.5),
        window_plot([], 5.0, "x"),
        orders_plot([], 0),
    )
    point = {"blocks": 1, "mean_bps": 0.0, "lower_bps": None, "upper_bps": None}
    order = {"at": 5.0, "slippage_bps": None, "error": "UNAVAILABLE"}
    for plot in (
        evidence_plot([point], 0.0, 0.5),
        window_plot([{"at": 5.0, "samples": 0, "over": 0}], 5.0, "x"),
        orders_plot([order], 7),
    ):
        assert plot is not None
        assert "nan" not in plot
        assert 1 == plot.count("<svg")
    assert "the worst 1 of 7" in (orders_plot([order], 7) or "")
