"""The alert rules and their unit tests, read as data: which case says what of which alert."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.fakes.families import names_in

ROOT = Path(__file__).resolve().parents[2]
RULE_FILES = ("l3_alerts.yaml", "perps_alerts.yaml")
UNIT_TESTS = ("l3_alerts.yml", "burn_rate.yml", "perps_alerts.yml")
_LOOKED_AT_BY = {
    "l3_alerts.yaml": {"l3_alerts.yml", "burn_rate.yml"},
    "perps_alerts.yaml": {"perps_alerts.yml", "burn_rate.yml"},
}
_MATCHER = re.compile(r'alertname(=~|!~|!=|=)"([^"]*)"')
_UNLESS = re.compile(r"unless ALERTS\{[^}]*\}")


@functools.cache
def load(path: Path) -> Any:
    """Return what a YAML file says."""
    return YAML(typ="safe").load(path)


def rules(name: str | None = None) -> list[dict[str, Any]]:
    """Return the rules of one file, or of all."""
    return [
        rule
        for file in RULE_FILES
        if name in {None, file}
        for group in load(ROOT / "alerts" / file)["groups"]
        for rule in group["rules"]
    ]


@functools.cache
def _file_of(alert: str) -> str:
    return next(file for file in RULE_FILES if alert in {rule.get("alert") for rule in rules(file)})


def alerts() -> dict[str, list[dict[str, Any]]]:
    """Return the alerting rules by name; a name may have several."""
    found: dict[str, list[dict[str, Any]]] = {}
    for rule in rules():
        if "alert" in rule:
            found.setdefault(rule["alert"], []).append(rule)
    return found


@dataclass(frozen=True)
class Look:
    """One moment at which a case looks at ALERTS."""

    file: str
    case: dict[str, Any]
    expression: str
    eval_time: str
    samples: tuple[dict[str, Any], ...]

    @property
    def inputs(self) -> set[str]:
        """Return the names of the series that the case has."""
        return {series["series"].split("{")[0] for series in self.case["input_series"]}

    def covers(self, alert: str) -> bool:
        """Return whether the look would see this alert firing."""
        if "ALERTS" not in self.expression or self.file not in _LOOKED_AT_BY[_file_of(alert)]:
            return False
        for operator, wanted in _MATCHER.findall(_UNLESS.sub("", self.expression)):
            matches = re.fullmatch(wanted, alert) if "~" in operator else wanted == alert
            if bool(matches) is operator.startswith("!"):
                return False
        return not any(
            re.fullmatch(wanted, alert)
            for unless in _UNLESS.findall(self.expression)
            for _, wanted in _MATCHER.findall(unless)
        )

    def expects(self, alert: str) -> int:
        """Return how many series of this alert the look expects."""
        alone = {w for op, w in _MATCHER.findall(self.expression) if op == "="} == {alert}
        return sum(
            int(sample["value"])
            for sample in self.samples
            if f'alertname="{alert}"' in sample["labels"]
            or (alone and "alertname" not in sample["labels"])
        )


def looks() -> Iterator[Look]:
    """Yield every look of every unit test at ALERTS."""
    for file in UNIT_TESTS:
        for case in load(ROOT / "alerts/tests" / file)["tests"]:
            for look in case.get("promql_expr_test", ()):
                samples = tuple(look.get("exp_samples") or ())
                yield Look(file, case, look["expr"], look["eval_time"], samples)


def read_by(rule: dict[str, Any]) -> set[str]:
    """Return the exported series that a rule reads, through what is recorded."""
    recorded = {other["record"]: other for other in rules() if "record" in other}
    found: set[str] = set()
    wanted = [*names_in(rule["expr"])]
    while wanted:
        name = wanted.pop()
        if name in recorded:
            wanted += names_in(recorded[name]["expr"])
        else:
            found.add(name)
    return found


def alone(alert: str, expressions: list[str]) -> dict[str, Any]:
    """Return a rule file with what is recorded and this alert, its expressions replaced."""
    copies = [
        rule | {"expr": expression}
        for rule, expression in zip(alerts()[alert], expressions, strict=True)
    ]
    recorded = [rule for rule in rules() if "record" in rule]
    needed = set().union(*(names_in(copy["expr"]) for copy in copies))
    while (
        more := {
            name for rule in recorded if rule["record"] in needed for name in names_in(rule["expr"])
        }
        - needed
    ):
        needed |= more
    kept = [rule for rule in recorded if rule["record"] in needed]
    return {"groups": [{"name": "alone", "rules": [*kept, *copies]}]}


def cases_of(alert: str) -> dict[str, Any]:
    """Return a unit test file with the looks at this alert, and nothing else."""
    tests = []
    firing = 'alertstate="firing"'
    for look in looks():
        if look.covers(alert):
            expected = look.expects(alert)
            narrowed = re.search(r"window=\"\w+\"", look.expression)
            matcher = f",{narrowed.group()}" if narrowed else ""
            tests.append(
                {
                    **{name: look.case[name] for name in ("name", "interval", "input_series")},
                    "promql_expr_test": [
                        {
                            "expr": f'count(ALERTS{{{firing},alertname="{alert}"{matcher}}})',
                            "eval_time": look.eval_time,
                            "exp_samples": [{"labels": "", "value": expected}] if expected else [],
                        }
                    ],
                }
            )
    slow = any(look.file == "burn_rate.yml" for look in looks() if look.expects(alert))
    return {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "10m" if slow else "30s",
        "tests": tests,
    }
