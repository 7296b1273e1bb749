"""Names of Prometheus families: those that the services export, those that an expression reads."""

import asyncio
import functools
import re
import tempfile
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from services.order_gateway.metrics import GatewayMetrics, VenueMetrics
from services.order_gateway.watchdog_duty import WatchdogMetrics
from services.paper_exchange.settings import ExchangeSettings
from services.paper_exchange.wiring import wire as wire_exchange
from services.router.settings import RouterSettings
from services.router.wiring import wire as wire_router
from services.simulator.settings import SimulatorSettings
from services.simulator.wiring import wire as wire_simulator
from touchstone.kit.metrics import create_registry

ROOT = Path(__file__).resolve().parents[2]
NOBODY = "127.0.0.1:1"

# What Prometheus itself makes.
OWN = frozenset(
    {
        "up",
        "ALERTS",
        "prometheus_notifications_dropped_total",
        "prometheus_rule_evaluation_failures_total",
    }
)

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_LABELS = re.compile(r"\{[^}]*\}")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_RANGE = re.compile(r"\[[^]]*\]|\boffset\s+\w+")
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


Sample = tuple[str, tuple[tuple[str, str], ...]]


@functools.cache
def exported_samples() -> frozenset[Sample]:
    """Return every sample (name, sorted labels) that the services export before any traffic."""
    return frozenset(
        sample for samples in asyncio.run(_samples_by_service()).values() for sample in samples
    )


async def _samples_by_service() -> dict[str, set[Sample]]:
    """Compose each service as it composes itself, without Redis, venue or simulator."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        common: dict[str, Any] = {
            "TOUCHSTONE_DATA_DIR": folder,
            "TOUCHSTONE_REDIS_URL": f"redis://{NOBODY}/0",
        }
        configs = ROOT / "configs"
        router = RouterSettings(
            simulator_address=NOBODY,
            config_path=configs / "config_backtest.yaml",
            rollout_path=configs / "l3_rollout.yaml",
            **common,
        )
        l3_config = configs / "execution_l3.yaml"
        simulator = SimulatorSettings(port=0, l3_config_path=l3_config, **common)
        exchange = ExchangeSettings(port=0, **common)
        async with (
            wire_router(router) as router_parts,
            wire_simulator(simulator) as simulator_parts,
            wire_exchange(exchange) as exchange_parts,
        ):
            return {
                "router": _samples(router_parts.registry),
                "simulator": _samples(simulator_parts.registry),
                "paper_exchange": _samples(exchange_parts.registry),
                "order_gateway": _samples(_gateway()),
                "watchdog": _samples(_watchdog()),
            }


def _gateway() -> CollectorRegistry:
    registry = create_registry("order_gateway")
    GatewayMetrics(registry, ["BTC-PERP"])
    VenueMetrics(registry)
    return registry


def _watchdog() -> CollectorRegistry:
    registry = create_registry("watchdog")
    WatchdogMetrics(registry)
    return registry


def _samples(registry: CollectorRegistry) -> set[Sample]:
    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in registry.collect()
        for sample in family.samples
    }
