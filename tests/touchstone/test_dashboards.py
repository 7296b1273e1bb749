"""Dashboards are what their generator writes, and read what the services export."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as models
from ruamel.yaml import YAML

from grafana.boards.overview import queries_of_annotations
from grafana.generate import BOARDS, DASHBOARDS, build, text_of
from tests.fakes.families import OWN, exported_samples, names_in
from tests.monitoring.rules import rules

DOCUMENTS = build()
UNITS = {"short", "ops", "s", "bps", "bytes", "percentunit", "currencyUSD"}


def panels() -> list[dict[str, Any]]:
    """Return every panel that has queries."""
    return [
        panel
        for document in DOCUMENTS.values()
        for panel in document["panels"]
        if panel["type"] != "row"
    ]


def test_committed_dashboards_are_what_the_generator_writes() -> None:
    """Nothing was changed by hand, and nothing is missing or left over."""
    written = {name: text_of(document) for name, document in DOCUMENTS.items()}
    assert written == {path.name: path.read_text() for path in DASHBOARDS.glob("*.json")}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_dashboard_goes_through_grafanas_schema_and_back(name: str) -> None:
    """No key is lost that the file has: what the schema does not know would be."""
    register_default_plugins()
    document = DOCUMENTS[name]
    again = json.loads(json.dumps(models.Dashboard.from_json(document), cls=JSONEncoder))
    for mark in document["annotations"]["list"]:
        assert mark["titleFormat"]
    assert [] == list(_lost(_without_marks(document), _without_marks(again)))


def _without_marks(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "annotations"}


def _lost(ours: Any, theirs: Any, place: str = "") -> list[str]:
    """Return where something of ours is not there any more, or is another."""
    if isinstance(ours, dict):
        missing = [f"{place}.{key}" for key in ours if key not in (theirs or {})]
        deeper = [
            lost
            for key, value in ours.items()
            if key in (theirs or {})
            for lost in _lost(value, theirs[key], f"{place}.{key}")
        ]
        return missing + deeper
    if isinstance(ours, list):
        if len(ours) != len(theirs):
            return [place]
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [x for number, (a, b) in pairs for x in _lost(a, b, f"{place}[{number}]")]
    return [] if ours == theirs else [place]


def test_every_series_that_a_panel_reads_is_exported_or_recorded() -> None:
    """A panel on a name that nobody exports would stay empty for ever."""
    exported = {name for name, _labels in exported_samples()}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    expressions = [
        *(target["expr"] for panel in panels() for target in panel["targets"] if "expr" in target),
        *(expression for expression, _ in queries_of_annotations()),
    ]
    wanted = {name for expression in expressions for name in names_in(expression)}
    assert set() == wanted - exported - recorded - OWN


def test_panels_do_not_overlap_and_ids_differ() -> None:
    """Every panel has a place of its own on the page of 24 columns."""
    for document in DOCUMENTS.values():
        taken: set[tuple[int, int]] = set()
        for panel in document["panels"]:
            grid = panel["gridPos"]
            assert grid["x"] + grid["w"] <= 24, panel["title"]
            cells = {
                (x, y)
                for x in range(grid["x"], grid["x"] + grid["w"])
                for y in range(grid["y"], grid["y"] + grid["h"])
            }
            assert set() == cells & taken, panel["title"]
            taken |= cells
        identifiers = [panel["id"] for panel in document["panels"]]
        assert len(identifiers) == len(set(identifiers))


def test_boards_differ_in_file_uid_and_title_and_panels_in_title() -> None:
    """Whoever names a panel in a message names one."""
    assert len(BOARDS) == len({board.name for board in BOARDS})
    assert len(BOARDS) == len({document["uid"] for document in DOCUMENTS.values()})
    for document in DOCUMENTS.values():
        titles = [panel["title"] for panel in document["panels"] if panel["type"] != "row"]
        assert sorted(set(titles)) == sorted(titles)


def test_panels_use_the_data_sources_that_are_provisioned(root: Path) -> None:
    """Type and uid of every panel's data source stand in the provisioning file."""
    path = root / "grafana/provisioning/datasources/datasources.yml"
    sources = YAML(typ="safe").load(path)["datasources"]
    known = {(source["type"], source["uid"]) for source in sources}
    used = {(panel["datasource"]["type"], panel["datasource"]["uid"]) for panel in panels()}
    assert known == used


def test_every_figure_has_a_unit_that_grafana_knows() -> None:
    """A duration is not shown as a bare number."""
    for panel in panels():
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "short")
        assert unit in UNITS, panel["title"]
        seconds = [t["expr"] for t in panel["targets"] if "_seconds_bucket" in t.get("expr", "")]
        if seconds and all(text.startswith("histogram_quantile") for text in seconds):
            assert "s" == unit, panel["title"]


def test_every_variable_that_is_used_is_declared() -> None:
    """`$instance` of a board that has no such variable would match nothing."""
    for name, document in DOCUMENTS.items():
        declared = {variable["name"] for variable in document["templating"]["list"]}
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(document["panels"])))
        assert set() == used - declared - {"__rate_interval", "__range"}, name


def test_links_to_runbooks_lead_to_pages(root: Path) -> None:
    """`${docs}/runbooks/kill.html` is made of `docs/runbooks/kill.md`."""
    pages = set(re.findall(r"\$\{docs\}/([\w/-]+)\.html", json.dumps(DOCUMENTS)))
    assert pages
    assert set() == {page for page in pages if not (root / "docs" / f"{page}.md").exists()}


def test_the_home_page_is_a_board(root: Path) -> None:
    """The file that the compose file opens first is one of ours."""
    home = re.search(r"HOME_DASHBOARD_PATH: \S+/(\S+)", (root / "docker-compose.yml").read_text())
    assert home is not None
    assert home.group(1) in DOCUMENTS
