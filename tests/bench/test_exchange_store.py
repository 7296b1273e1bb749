"""The benchmark of the paper exchange's store: it measures what it says it does."""

from pathlib import Path

from bench.exchange_store import FLOW_EACH, measure


def test_measures_orders_recovery_and_snapshot(tmp_path: Path) -> None:
    """Every figure is there; the recovery replayed what the clients did, and time."""
    commands = 4 * FLOW_EACH
    found = measure(tmp_path, commands, rounds=1)
    assert {"memory", "journal", "synced"} == set(found["order_cpu_us"])
    assert min(found["order_cpu_us"].values()) > 0
    assert 1 < found["records_per_sync"] <= 2 * FLOW_EACH
    opened, ticks = 1, commands // (2 * FLOW_EACH)
    assert opened + commands <= found["recovery"]["records"] <= opened + commands + ticks
    assert found["snapshot"]["bytes"] > 0
    assert found["snapshot"]["written_ms"] >= found["snapshot"]["stood_still_ms"] > 0
