"""Every alert has cases in which it fires, stays quiet and has no data; and they would notice."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.monitoring.harness import binary
from tests.monitoring.rules import alerts, alone, cases_of, looks, read_by

# The guide's expressions, which never work, by the alert that they would replace: a ratio that
# matches label for label, quantiles of what has no buckets, and a top bucket of 10 ms.
GUIDE_FORMS = {
    "L3HighErrorRate": 'rate(exec_orders_total{provider="L3",outcome="error"}[5m])'
    ' / rate(exec_orders_total{provider="L3"}[5m]) > 0.001',
    "L3ErrorRateRollback": 'rate(exec_orders_total{provider="L3",outcome="error"}[5m])'
    ' / rate(exec_orders_total{provider="L3"}[5m]) > 0.01',
    "SimulatorErrors": 'rate(l3_executions_total{result="error"}[5m])'
    " / rate(l3_executions_total[5m]) > 0.001",
    "L3HighSlippage": "histogram_quantile(0.95, exec_slippage_bps) > 5",
    "L3SlippageRollback": "histogram_quantile(0.95, exec_slippage_bps) > 10",
    "L3HighLatency": "histogram_quantile(0.95, exec_latency_seconds) > 0.005",
    "L3LatencyRollback": "histogram_quantile(0.95, sum by (provider, mode, le)"
    ' (rate(exec_latency_seconds_bucket{provider="L3",le=~"0.001|0.005|0.01|.Inf"}[5m]))) > 0.01',
}
_GUARD = re.compile(r" and (?:on \(\) )?sum[^<>]*(?:\([^<>]*\))+ >= \d+$")
GUARDED = [name for name, found in alerts().items() if _GUARD.search(found[0]["expr"])]


def outcome(folder: Path, alert: str, expressions: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the cases of one alert against these expressions in its place."""
    yaml = YAML()
    yaml.width = 10_000
    for name, document in (
        ("rules.yaml", alone(alert, expressions)),
        ("cases.yml", cases_of(alert)),
    ):
        yaml.dump(_plain(document), folder / name)
    return subprocess.run(  # noqa: PLW1510 - the caller judges the exit code
        [binary("promtool"), "test", "rules", "cases.yml"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("alert", [name for name in alerts() if name != "Watchdog"])
def test_every_alert_fires_stays_quiet_and_bears_no_data(alert: str) -> None:
    """One look expects it; one, with every series that it reads, does not; one has no series."""
    seen = [look for look in looks() if look.covers(alert)]
    needed = set().union(*(read_by(rule) for rule in alerts()[alert]))
    is_absence = all("absent(" in rule["expr"] for rule in alerts()[alert])
    fires = [look for look in seen if look.expects(alert)]
    assert fires, "no case in which it fires"
    assert [x for x in seen if not x.expects(alert) and x.inputs >= needed], (
        f"never quiet: {needed}"
    )
    nothing = [look for look in seen if not look.inputs]
    assert nothing, "no case without any data"
    assert {is_absence} == {look.expects(alert) > 0 for look in nothing}


@pytest.mark.slow
@pytest.mark.parametrize("alert", GUIDE_FORMS)
def test_the_guides_form_breaks_the_cases(tmp_path: Path, alert: str) -> None:
    """The rule passes its cases alone, and with the guide's expression it does not."""
    right = outcome(tmp_path, alert, [rule["expr"] for rule in alerts()[alert]])
    assert 0 == right.returncode, right.stdout
    wrong = outcome(tmp_path, alert, [GUIDE_FORMS[alert]])
    assert 1 == wrong.returncode
    assert "FAILED" in wrong.stdout
    assert "parse error" not in wrong.stdout


@pytest.mark.slow
@pytest.mark.parametrize("alert", GUARDED)
def test_a_rule_without_its_minimum_of_traffic_breaks_the_cases(tmp_path: Path, alert: str) -> None:
    """One bad order among a few proves nothing, and a case says so."""
    right = [rule["expr"] for rule in alerts()[alert]]
    wrong = [_GUARD.sub("", expression) for expression in right]
    assert right != wrong
    result = outcome(tmp_path, alert, wrong)
    assert 1 == result.returncode, result.stdout
    assert "FAILED" in result.stdout
