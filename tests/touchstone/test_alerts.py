"""Alert rules and the configuration around them, checked with Prometheus' own tools."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.fakes.families import OWN, exported_samples, names_in
from tests.monitoring.rules import UNIT_TESTS, rules


def tool(name: str, package: str) -> str:
    """Return the path of a tool, or skip where it is not installed."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return path


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a tool and return what it said."""
    return subprocess.run(  # noqa: PLW1510 - the caller judges the exit code
        command,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], **environment},
    )


def test_prometheus_accepts_its_configuration_and_the_rules(root: Path) -> None:
    """`promtool check config` passes, and it finds both rule files."""
    result = run(tool("promtool", "prometheus"), "check", "config", root / "configs/prometheus.yml")
    assert 0 == result.returncode, result.stderr
    assert "2 rule files found" in result.stdout


@pytest.mark.parametrize("name", UNIT_TESTS)
def test_rules_fire_stay_quiet_and_bear_no_data(root: Path, name: str) -> None:
    """`promtool test rules` passes."""
    result = run(tool("promtool", "prometheus"), "test", "rules", root / "alerts/tests" / name)
    assert 0 == result.returncode, result.stdout + result.stderr


def test_every_alert_has_a_severity_and_a_summary(root: Path) -> None:
    """Nobody is woken by an alert that does not say what and how bad."""
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"critical", "warning", "none"}, rule["alert"]
            assert rule["annotations"]["summary"], rule["alert"]


def test_every_series_that_a_rule_reads_is_exported_or_recorded(root: Path) -> None:
    """A rule on a name that nobody exports would be silent for ever."""
    exported = {name for name, _labels in exported_samples()}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    wanted = {name for rule in rules() for name in names_in(rule["expr"])}
    assert set() == wanted - exported - recorded - OWN


def test_every_label_that_a_no_data_rule_asks_for_exists_before_any_traffic(root: Path) -> None:
    """What `absent()` looks for is exported from the start, so that a quiet system is no alarm."""
    exported = exported_samples()
    for rule in rules():
        for name, matchers in re.findall(r"absent\((\w+)\{([^}]*)\}\)", rule["expr"]):
            wanted = dict(re.findall(r'(\w+)="([^"]*)"', matchers))
            wanted.pop("job", None)
            if name not in OWN:
                assert any(
                    name == sample and wanted.items() <= dict(labels).items()
                    for sample, labels in exported
                ), f"{rule['alert']}: {name}{wanted}"


def test_every_threshold_of_a_bucket_rule_is_an_edge(root: Path) -> None:
    """A rule on a bucket edge that does not exist would be silent for ever."""
    edges = {
        (name, dict(labels)["le"]) for name, labels in exported_samples() if "le" in dict(labels)
    }
    for rule in rules():
        for name, matchers in re.findall(r"(\w+_bucket)\{([^}]*)\}", rule["expr"]):
            for le in re.findall(r'le="([^"]*)"', matchers):
                assert (name, le) in edges, rule["alert"]


def start_alertmanager(root: Path, tmp_path: Path, **webhooks: str) -> tuple[int, str, Path]:
    """Run the start script with amtool in Alertmanager's place."""
    rendered = tmp_path / "alertmanager.yml"
    result = run(
        "sh",
        root / "configs/alertmanager-start.sh",
        "check-config",
        rendered,
        ALERTMANAGER_TEMPLATE=str(root / "configs/alertmanager.yml"),
        ALERTMANAGER_RENDERED=str(rendered),
        ALERTMANAGER_BINARY=tool("amtool", "prometheus-alertmanager"),
        **webhooks,
    )
    return result.returncode, result.stdout + result.stderr, rendered


def test_alertmanager_starts_without_a_webhook(root: Path, tmp_path: Path) -> None:
    """The committed file is valid as it stands, and unchanged where no webhook is set."""
    code, said, rendered = start_alertmanager(root, tmp_path)
    assert 0 == code, said
    assert (root / "configs/alertmanager.yml").read_text() == rendered.read_text()


def test_webhooks_of_the_environment_reach_their_receivers(root: Path, tmp_path: Path) -> None:
    """Each URL stands below its own receiver, with the characters a URL may have."""
    code, said, rendered = start_alertmanager(
        root,
        tmp_path,
        ALERT_WEBHOOK_URL="http://alerts.example/a?b=1&c=%20#d",
        WATCHDOG_WEBHOOK_URL="http://watchdog.example/",
    )
    assert 0 == code, said
    receivers = YAML(typ="safe").load(rendered)["receivers"]
    assert [
        {
            "name": "operator",
            "webhook_configs": [{"url": "http://alerts.example/a?b=1&c=%20#d"}],
        },
        {"name": "watchdog", "webhook_configs": [{"url": "http://watchdog.example/"}]},
    ] == receivers


def test_a_webhook_that_would_break_the_file_is_refused(root: Path, tmp_path: Path) -> None:
    """A quote in the URL is one clear line and exit code 2."""
    code, said, _ = start_alertmanager(root, tmp_path, ALERT_WEBHOOK_URL="http://x/'\nroute: {}")
    assert 2 == code
    assert "alertmanager-start: a webhook URL holds" in said
