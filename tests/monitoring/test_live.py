"""The embedded stack under load, a real Prometheus and a real Alertmanager: nothing is empty.

One stack serves all tests of this module, in their order: first everything is well, then it is not.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from grafana.boards.overview import SAFE, queries_of_annotations
from grafana.generate import build
from tests.fakes.families import OWN, names_in
from tests.fakes.postgresql import running_postgresql
from tests.monitoring.harness import (
    ROOT,
    SERVICES,
    Load,
    Prometheus,
    Receiver,
    Stack,
    alertmanager,
    binary,
    embedded_stack,
    eventually,
    process,
    prometheus,
)
from tests.monitoring.rules import rules

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

_COMPARISON = re.compile(r"(?<![=!<>~])(>=|<=|==|!=|>|<)(?![=~])(?!\s*bool)")
WHY = "Why: alerts that fire"


@dataclass(frozen=True)
class Watched:
    """Everything that runs."""

    stack: Stack
    load: Load
    prometheus: Prometheus
    receiver: Receiver
    database_url: str


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The stack in its canary phase, with forecasts on, under load, watched."""
    folder = tmp_path_factory.mktemp("monitoring")
    l3_config = folder / "l3.yaml"
    # The load's bars are a second long: a longer horizon would leave no forecast to judge.
    l3_config.write_text("fill_probability: {enabled: true, horizon_s: 1.0}\n")
    with ExitStack() as context:
        database = context.enter_context(running_postgresql())
        stack = context.enter_context(
            embedded_stack(
                folder,
                TOUCHSTONE_SIMULATOR_L3_CONFIG_PATH=str(l3_config),
                DATABASE_URL=database.url,
                # A busy machine is slow: that alone is not to end the canary phase.
                AUTO_ROLLBACK_ENABLED="false",
            )
        )
        receiver = context.enter_context(Receiver().running())
        port = context.enter_context(
            alertmanager(folder, f"{receiver.url}/operator", f"{receiver.url}/watchdog")
        )
        server = context.enter_context(prometheus(stack, folder, port))
        load = context.enter_context(Load(stack).running())
        eventually("shadow pairs", lambda: _sample(stack, "shadow_pairs_total") > 20)
        stack.phase(phase="CANARY", canary_symbols=["AAPL"])
        eventually("live pairs", lambda: _sample(stack, 'live_pairs_total{outcome="pair"}') > 20)
        yield Watched(stack, load, server, receiver, database.url)


def _sample(stack: Stack, name: str) -> float:
    lines = stack.metrics("router").splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


def as_bool(expression: str) -> str:
    """Return an expression whose comparisons tell 0 or 1 in place of letting nothing through.

    >>> as_bool('a{b!="c"} / (d > 0) >= 2')
    'a{b!="c"} / (d >bool 0) >=bool 2'
    """
    parts = re.split(r"(\{[^}]*\})", expression)
    return "".join(
        part if part.startswith("{") else _COMPARISON.sub(r"\1bool", part) for part in parts
    )


def panel_queries() -> dict[str, str]:
    """Return every expression of every panel, by board and title."""
    return {
        f"{name}: {panel['title']} {target['refId']}": shown(target["expr"])
        for name, document in build().items()
        for panel in document["panels"]
        for target in panel.get("targets", ())
        if "expr" in target
    }


def shown(expression: str) -> str:
    """Return an expression as Grafana would send it."""
    for name, value in (("$__rate_interval", "15s"), ("$__range", "1m"), ("$instance", ".*")):
        expression = expression.replace(name, value)
    return expression


@pytest.mark.parametrize("service", SERVICES)
def test_promtool_finds_nothing_wrong_with_what_is_exported(watched: Watched, service: str) -> None:
    """`promtool check metrics` is silent about the live /metrics."""
    result = subprocess.run(  # noqa: PLW1510 - the exit code is asserted
        [binary("promtool"), "check", "metrics"],
        input=watched.stack.metrics(service),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (0, "", "") == (result.returncode, result.stdout, result.stderr)


def test_every_series_that_is_read_is_exported_live(watched: Watched) -> None:
    """Rules and panels name what the running services say, or what a rule records."""
    exported = {
        re.split(r"[{ ]", line)[0]
        for service in SERVICES
        for line in watched.stack.metrics(service).splitlines()
        if not line.startswith("#")
    }
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    expressions = [*panel_queries().values(), *(rule["expr"] for rule in rules())]
    wanted = {name for expression in expressions for name in names_in(expression)}
    assert set() == wanted - exported - recorded - OWN


def test_every_panel_and_every_rule_shows_data(watched: Watched) -> None:
    """Each expression gives a series that is not NaN; comparisons say 0 or 1 for it."""
    wanted = panel_queries() | {
        f"rule {rule.get('alert') or rule['record']}": as_bool(rule["expr"])
        for rule in rules()
        if "absent(" not in rule["expr"]
    }
    wanted = {name: text for name, text in wanted.items() if WHY not in name}
    missing = dict(wanted)

    def shrink() -> bool:
        for name in [n for n, text in missing.items() if watched.prometheus.shows(text)]:
            del missing[name]
        return not missing

    deadline = time.monotonic() + 90
    while not shrink() and time.monotonic() < deadline:
        time.sleep(1)
    assert {} == missing
    for expression, _ in queries_of_annotations():
        watched.prometheus.query(expression)


def test_every_sql_panel_reads_what_the_gateway_has_written(watched: Watched) -> None:
    """On PostgreSQL, with the schema that the gateway made: each table has rows."""
    statements = {
        panel["title"]: target["rawSql"]
        for document in build().values()
        for panel in document["panels"]
        for target in panel.get("targets", ())
        if "rawSql" in target
    }

    async def rows() -> dict[str, int]:
        connection = await asyncpg.connect(watched.database_url)
        try:
            await connection.execute("SET default_transaction_read_only = on")
            return {title: len(await connection.fetch(text)) for title, text in statements.items()}
        finally:
            await connection.close()

    assert {"Order success, one day", "PnL by symbol"} <= set(statements)
    eventually("rows for each panel", lambda: all(asyncio.run(rows()).values()))


def test_no_rule_fails_and_nothing_pages_while_all_is_well(watched: Watched) -> None:
    """Every rule evaluates, and of those that page none fires."""
    groups = watched.prometheus.get("rules")["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    assert {"ok"} == {rule["health"] for rule in found}, [r for r in found if r["health"] != "ok"]
    severe = 'ALERTS{alertstate="firing",severity="critical"}'
    assert [] == watched.prometheus.query(severe)
    (verdict,) = watched.prometheus.query(SAFE)
    assert verdict["value"][1] in {"0", "1"}


def test_a_halt_reaches_the_receiver_and_resolves(watched: Watched) -> None:
    """From the kill switch through Prometheus and Alertmanager to a webhook, and back."""
    eventually("the Watchdog", lambda: watched.receiver.told("Watchdog", "firing"))
    assert {"/watchdog"} == {a["path"] for a in watched.receiver.told("Watchdog", "firing")}
    watched.stack.kill_state("HALTED")
    (told,) = eventually(
        "KillStateHalted at the receiver",
        lambda: watched.receiver.told("KillStateHalted", "firing"),
    )[:1]
    assert "/operator" == told["path"]
    assert "critical" == told["labels"]["severity"]
    assert (ROOT / told["annotations"]["runbook_url"].split("#")[0]).exists()
    (verdict,) = watched.prometheus.query(SAFE)
    assert "2" == verdict["value"][1]
    why = next(text for name, text in panel_queries().items() if WHY in name)
    assert "KillStateHalted" in json.dumps(watched.prometheus.query(why))
    watched.stack.kill_state("REDUCE_ONLY")
    eventually("its end", lambda: watched.receiver.told("KillStateHalted", "resolved"))


def test_a_simulator_that_is_killed_reaches_the_receiver_and_resolves(watched: Watched) -> None:
    """`kill -9`: while it is gone nothing says that it is safe to go on; a new one ends it."""
    os.kill(watched.stack.pid("simulator"), signal.SIGKILL)
    eventually("UNKNOWN", lambda: not watched.prometheus.query(SAFE))
    (told,) = eventually(
        "ServiceDown at the receiver",
        lambda: watched.receiver.told("ServiceDown", "firing"),
        seconds=45,
    )[:1]
    assert "simulator" == told["labels"]["job"]
    command = [sys.executable, "-m", "services.simulator"]
    folder = watched.stack.folder
    environment = watched.stack.environment | {"TOUCHSTONE_DATA_DIR": str(folder / "data")}
    with process(command, Path(folder / "simulator-again.log"), environment):
        eventually("its end", lambda: watched.receiver.told("ServiceDown", "resolved"), seconds=45)
