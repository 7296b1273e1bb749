"""Prometheus registries: one per service process, with build information."""

import platform

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
)

import touchstone


def create_registry(service: str) -> CollectorRegistry:
    """Return a fresh registry that already exports `touchstone_build_info` and process figures.

    A registry belongs to one composition of a service, never to the module: tests compose several.
    """
    # A second series for each counter and histogram, which nothing here reads.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build = Gauge(
        "touchstone_build_info",
        "Version of the running build; always 1",
        ["service", "version", "python"],
        registry=registry,
    )
    build.labels(service, touchstone.__version__, platform.python_version()).set(1)
    return registry
