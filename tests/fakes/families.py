"""Names of Prometheus families: those that the services export, those that an expression reads."""

import re
from types import SimpleNamespace
from typing import cast

from prometheus_client import CollectorRegistry

from services.order_gateway.metrics import GatewayMetrics, VenueMetrics
from services.paper_exchange.metrics import ExchangeMetrics
from services.router import metrics as router_metrics
from services.router.analysis import Analysis
from services.router.durability import export_durability
from services.router.judgement import JudgeWatch
from services.router.reload import ReloadCounter
from services.router.rollout_control import RolloutControl
from services.simulator.metrics import SimulatorMetrics
from touchstone.kit.control import ControlStore
from touchstone.kit.metrics import create_registry

# What Prometheus itself makes.
OWN = frozenset({"up", "ALERTS"})

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_LABELS = re.compile(r"\{[^}]*\}")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_RANGE = re.compile(r"\[[^]]*\]")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\(|[a-zA-Z0-9_:])")
_WORDS = frozenset({"and", "or", "unless", "by", "on", "offset", "bool", "inf", "nan"})


def names_in(expression: str) -> set[str]:
    """Return the series that a PromQL expression reads.

    >>> sorted(names_in('sum by (a) (rate(x_total{b="c"}[5m])) / (up > 0) and on () y:z'))
    ['up', 'x_total', 'y:z']
    """
    for pattern in (_STRING, _LABELS, _RANGE, _GROUPING):
        expression = pattern.sub(" ", expression)
    return {name for name in _NAME.findall(expression) if name not in _WORDS}


def exported_samples() -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """Return every sample (name, sorted labels) that the services export before any traffic."""
    found = set()
    for registry in _registries():
        # Families, not samples, for what is read at a scrape: nothing runs behind them here.
        for family in registry.collect():
            for sample in family.samples:
                found.add((sample.name, tuple(sorted(sample.labels.items()))))
    return found


def _registries() -> list[CollectorRegistry]:
    router, simulator, gateway, exchange = (
        create_registry(name) for name in ("router", "simulator", "order_gateway", "paper_exchange")
    )
    router_metrics.ExecutionMetrics(router)
    router_metrics.ShadowMetrics(router)
    router_metrics.export_control(router, cast("RolloutControl", _UnreadControl()))
    export_durability(router, cast("ControlStore", SimpleNamespace(durability=None)))
    JudgeWatch(cast("Analysis", None), cast("RolloutControl", None), enabled=False, registry=router)
    ReloadCounter(router)
    SimulatorMetrics(simulator)
    GatewayMetrics(gateway, ["BTC-PERP"])
    VenueMetrics(gateway)
    ExchangeMetrics(exchange, lambda: 0)
    return [router, simulator, gateway, exchange]


class _UnreadControl:
    """A rollout control that has read nothing yet."""

    def __init__(self) -> None:
        view = SimpleNamespace(age_seconds=float("inf"))
        self.reader = SimpleNamespace(view=lambda: view)

    def routing(self) -> SimpleNamespace:
        return SimpleNamespace(document=None, generation=0)
