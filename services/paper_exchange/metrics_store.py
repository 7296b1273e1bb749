"""What the paper exchange exports of its journal, its snapshots and its clock."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge

from services.paper_exchange.store import Store
from services.paper_exchange.venue import Venue


def export_store(registry: CollectorRegistry, venue: Venue) -> None:
    """Export what the venue is doing, as it is at each scrape; of a store only where there is one.

    All of it is gauges that are read when asked for: an order costs nothing for it.
    """
    _gauge(
        registry,
        "exchange_clock_speed",
        "Exchange seconds per real second, as achieved over the last five",
        lambda: venue.gauge.speed() or 0.0,
    )
    _gauge(
        registry,
        "exchange_running",
        "1 while the venue runs, 0 once it has stopped for good",
        lambda: float(not venue.failure),
    )
    store = venue.store
    _gauge(
        registry,
        "exchange_durable",
        "1 where a restart forgets nothing, 0 where everything is in memory only",
        lambda: float(store is not None),
    )
    if store is not None:
        _export_journal(registry, store)


def _export_journal(registry: CollectorRegistry, store: Store) -> None:
    recovered = store.recovered
    for name, meaning, value in (
        ("journal_records", "Records written since the start", store.records_written),
        ("journal_bytes", "Size of the journal's files", store.journal_bytes),
        ("journal_syncs", "Times the disk was waited for since the start", store.syncs),
        (
            "journal_records_since_snapshot",
            "Records that a restart would replay",
            lambda: store.records_since_snapshot,
        ),
        ("snapshot_age_seconds", "Age of the newest snapshot", lambda: store.snapshot_age_seconds),
        (
            "snapshot_failed",
            "1 where the last snapshot failed",
            lambda: bool(store.snapshot_failure),
        ),
        ("recovery_seconds", "How long the last recovery took", lambda: recovered.seconds),
        (
            "recovery_records",
            "Records that the last recovery replayed",
            lambda: recovered.records_replayed,
        ),
    ):
        _gauge(registry, f"exchange_{name}", meaning, value)


def _gauge(
    registry: CollectorRegistry, name: str, meaning: str, value: Callable[[], float]
) -> None:
    Gauge(name, meaning, registry=registry).set_function(lambda: float(value()))
