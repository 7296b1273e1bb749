"""Dashboards are what their generator writes, and read what the services export."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from grafana.generate import DASHBOARDS, build, text_of
from tests.fakes.families import OWN, exported_samples, names_in


def panels() -> list[dict[str, Any]]:
    """Return every panel that has queries."""
    return [
        panel
        for dashboard in build().values()
        for panel in dashboard["panels"]
        if panel["type"] != "row"
    ]


def test_committed_dashboards_are_what_the_generator_writes() -> None:
    """Nothing was changed by hand, and nothing is missing or left over."""
    written = {name: text_of(dashboard) for name, dashboard in build().items()}
    assert written == {path.name: path.read_text() for path in DASHBOARDS.glob("*.json")}


def test_every_series_that_a_panel_reads_is_exported() -> None:
    """A panel on a name that nobody exports would stay empty for ever."""
    exported = {name for name, _labels in exported_samples()}
    wanted = {
        name
        for panel in panels()
        for target in panel["targets"]
        if "expr" in target
        for name in names_in(target["expr"])
    }
    assert set() == wanted - exported - OWN


def test_panels_do_not_overlap_and_ids_differ() -> None:
    """Every panel has a place of its own on the page of 24 columns."""
    for dashboard in build().values():
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            grid = panel["gridPos"]
            assert grid["x"] + grid["w"] <= 24, panel["title"]
            cells = {
                (x, y)
                for x in range(grid["x"], grid["x"] + grid["w"])
                for y in range(grid["y"], grid["y"] + grid["h"])
            }
            assert set() == cells & taken, panel["title"]
            taken |= cells
        identifiers = [panel["id"] for panel in dashboard["panels"]]
        assert len(identifiers) == len(set(identifiers))


def test_panels_use_the_data_sources_that_are_provisioned(root: Path) -> None:
    """Type and uid of every panel's data source stand in the provisioning file."""
    path = root / "grafana/provisioning/datasources/datasources.yml"
    sources = YAML(typ="safe").load(path)["datasources"]
    known = {(source["type"], source["uid"]) for source in sources}
    used = {(panel["datasource"]["type"], panel["datasource"]["uid"]) for panel in panels()}
    assert set() == used - known
