"""What all lives of a run share: metrics (to register them takes longer than a seed) and logs."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from services.order_gateway import kill_switch, projector
from services.order_gateway.metrics import GatewayMetrics, VenueMetrics
from tests.simulation.clocks import rebind_default_clocks
from tests.simulation.disk import ProcessFiles
from touchstone.kit import disk, journal, membership
from touchstone.kit.control import ScopesReader

SILENCE: Final = 50
POLL_SECONDS: Final = 0.2
_RARER: Final = (
    (kill_switch, "WATCH_SECONDS", 0.1),
    (membership, "ACK_POLL_SECONDS", 0.02),
    (projector, "LINGER_SECONDS", 0.2),
)
_REGISTRY: Final = CollectorRegistry()
GATEWAY_METRICS: Final = GatewayMetrics(_REGISTRY, ("BTC-PERP", "ETH-PERP"))
VENUE_METRICS: Final = VenueMetrics(_REGISTRY)

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(SILENCE))
rebind_default_clocks()


@contextlib.contextmanager
def on_files(files: ProcessFiles) -> Iterator[None]:
    """Have the journal's system calls come through a process's own files."""
    of_journal: Any = journal
    of_disk: Any = disk
    kept = (of_journal.os, of_journal.open_disk)
    of_journal.os = of_disk.os = files
    of_journal.open_disk = disk.PythonDisk
    try:
        yield
    finally:
        of_journal.os = of_disk.os = kept[0]
        of_journal.open_disk = kept[1]


def _remembering(labels: Callable[..., Any]) -> Callable[..., Any]:
    """Return `labels` with a memory: most of its time it spends on making sure."""

    def found(self: Any, *values: Any, **named: Any) -> Any:
        if named:
            return labels(self, *values, **named)
        key = (self._name, values)
        child = _CHILDREN.get(key)
        if child is None:
            child = _CHILDREN[key] = labels(self, *values)
        return child

    return found


_CHILDREN: Final[dict[tuple[str, tuple[Any, ...]], Any]] = {}


@contextlib.contextmanager
def rarer_polls() -> Iterator[None]:
    """Have what only polls poll less often: it is most of the work, and little of the risk."""
    kept = [(module, name, getattr(module, name)) for module, name, _ in _RARER]
    labels = MetricWrapperBase.labels
    MetricWrapperBase.labels = _remembering(labels)  # type: ignore[method-assign]
    polling: dict[str, Any] = ScopesReader.__init__.__kwdefaults__ or {}
    poll_seconds = polling["poll_seconds"]
    for module, name, seconds in _RARER:
        setattr(module, name, seconds)
    polling["poll_seconds"] = POLL_SECONDS
    try:
        yield
    finally:
        MetricWrapperBase.labels = labels  # type: ignore[method-assign]
        polling["poll_seconds"] = poll_seconds
        for module, name, seconds in kept:
            setattr(module, name, seconds)
