"""The few kinds of panels that the boards are made of, on Grafana's own schema (foundation SDK).

The SDK's classes know every key of Grafana's schema, so that a key that does not exist cannot be
written. What they do not know is said where it is added.
"""

from collections.abc import Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog import builder as cogbuilder
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

PROMETHEUS: Final = models.DataSourceRef(type_val="prometheus", uid="prometheus")
POSTGRES: Final = models.DataSourceRef(type_val="grafana-postgresql-datasource", uid="postgres")

RATE: Final = "[$__rate_interval]"
"""Grafana fills this in: at least four scrapes, wider for a longer range."""
ON: Final = 'instance=~"$instance"'
"""Matches what the variable `instance` has chosen."""

Query = tuple[str, str]
"""An expression and the legend of its series."""
Steps = Sequence[tuple[float, str]]
"""Thresholds, each a value from which on a colour holds; `base` is the one below the first."""
Panel = cogbuilder.Builder[models.Panel]

KILL_STATES: Final = (
    ("ACTIVE", "green"),
    ("REDUCE_ONLY", "yellow"),
    ("CANCEL_ONLY", "orange"),
    ("HALTED", "red"),
)
NO_YES: Final = (("no", "red"), ("yes", "green"))
_COLUMN_MAX: Final = 12
"""Below so many columns of 24 a legend stands under the lines, else beside them."""


class SqlQuery(variants.Dataquery):
    """A query of PostgreSQL, which the SDK has no class for."""

    def __init__(self, sql: str, ref_id: str) -> None:
        self._sql = sql
        self._ref_id = ref_id

    def to_json(self) -> dict[str, object]:
        """Return the query as Grafana's data source reads it."""
        return {
            "refId": self._ref_id,
            "datasource": POSTGRES,
            "editorMode": "code",
            "format": "table",
            "rawQuery": True,
            "rawSql": self._sql,
        }


class _Sql(cogbuilder.Builder[variants.Dataquery]):
    """Hands an SQL query to the SDK."""

    def __init__(self, sql: str) -> None:
        self._query = SqlQuery(sql, "A")

    def build(self) -> variants.Dataquery:
        """Return the query."""
        return self._query


def row(title: str) -> dashboard.Row:
    """Return a heading over the panels that follow."""
    return dashboard.Row(title)


def number(
    title: str,
    expression: str,
    legend: str = "",
    *,
    width: int = 4,
    height: int = 4,
    unit: str = "short",
    steps: Steps = (),
    base: str = "green",
    names: Sequence[tuple[str, str]] = (),
    show_name: bool = False,
    text: str = "",
    nothing: str = "no data",
    link: tuple[str, str] | None = None,
) -> stat.Panel:
    """Return one figure, or one for each series; `names` are texts and colours of 0, 1, 2 ...

    `show_name` shows the legend in the value's place; `link` is a title and an address.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(text)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit(unit)
        .no_value(nothing)
        .thresholds(_thresholds(steps, base))
        .mappings(_mappings(names))
        .color_mode(common_models.BigValueColorMode.BACKGROUND)
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_instant(expression, legend))
    )
    if show_name:
        panel.text_mode(common_models.BigValueTextMode.NAME)
    return panel.links([_link(*link)]) if link else panel


def chart(
    title: str,
    queries: Sequence[Query],
    *,
    width: int = 8,
    height: int = 7,
    unit: str = "short",
    steps: Steps = (),
    base: str = "green",
    text: str = "",
    stacked: bool = False,
) -> timeseries.Panel:
    """Return lines over time; thresholds are drawn as dashed lines."""
    wide = width >= _COLUMN_MAX
    legend = common.VizLegendOptions().show_legend(True).calcs(["lastNotNull", "max"])
    legend.display_mode(
        common_models.LegendDisplayMode.TABLE if wide else common_models.LegendDisplayMode.LIST
    )
    legend.placement(
        common_models.LegendPlacement.RIGHT if wide else common_models.LegendPlacement.BOTTOM
    )
    panel = (
        timeseries.Panel()
        .title(title)
        .description(text)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit(unit)
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
        .show_points(common_models.VisibilityMode.NEVER)
        .fill_opacity(30 if stacked else 0)
    )
    if steps:
        style = common.GraphThresholdsStyleConfig().mode(
            common_models.GraphThresholdsStyleMode.DASHED
        )
        panel.thresholds(_thresholds(steps, base)).thresholds_style(style)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    for letter, (expression, name) in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_over_time(expression, name, letter))
    return panel


def timeline(
    title: str,
    queries: Sequence[Query],
    names: Sequence[tuple[str, str]],
    *,
    width: int = 12,
    height: int = 5,
    text: str = "",
) -> statetimeline.Panel:
    """Return states over time, each series a band."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(text)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .mappings(_mappings(names))
        .merge_values(True)
    )
    for letter, (expression, name) in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_over_time(expression, name, letter))
    return panel


def bars(
    title: str,
    queries: Sequence[Query],
    *,
    width: int = 8,
    height: int = 7,
    unit: str = "short",
    steps: Steps = (),
    text: str = "",
) -> bargauge.Panel:
    """Return a bar for each series as it is now."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(text)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .unit(unit)
        .thresholds(_thresholds(steps))
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    for letter, (expression, name) in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_instant(expression, name, letter))
    return panel


def listing(
    title: str,
    expression: str,
    *,
    width: int = 12,
    height: int = 7,
    text: str = "",
    nothing: str = "",
) -> table.Panel:
    """Return a table of the series that an expression gives now, a label a column."""
    query = _instant(expression, "").format(PromQueryFormat.TABLE)
    organise = models.DataTransformerConfig(
        id_val="organize",
        options={"excludeByName": {"Time": True, "Value": True, "__name__": True, "job": True}},
    )
    return (
        table.Panel()
        .title(title)
        .description(text)
        .datasource(PROMETHEUS)
        .span(width)
        .height(height)
        .no_value(nothing)
        .with_target(query)
        .with_transformation(organise)
    )


def sql(
    title: str, statement: str, *, width: int = 12, height: int = 7, text: str = ""
) -> table.Panel:
    """Return a table read from PostgreSQL."""
    return (
        table.Panel()
        .title(title)
        .description(text)
        .datasource(POSTGRES)
        .span(width)
        .height(height)
        .with_target(_Sql(statement))
    )


def quantiles(bucket: str, by: str, legend: str, levels: Sequence[float]) -> list[Query]:
    """Return one query for each quantile of a histogram; `by` are labels beside `le`."""
    labels = f"{by}, le" if by else "le"
    return [
        (
            f"histogram_quantile({level}, sum by ({labels}) (rate({bucket}{RATE})))",
            f"p{round(level * 100)} {legend}".strip(),
        )
        for level in levels
    ]


def link(title: str, address: str) -> dashboard.DashboardLink:
    """Return a link that opens in a window of its own."""
    return _link(title, address)


def _link(title: str, address: str) -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .url(address)
        .target_blank(True)
    )


def _instant(expression: str, legend: str, letter: str = "A") -> prometheus.Dataquery:
    return _query(expression, legend, letter).instant()


def _over_time(expression: str, legend: str, letter: str) -> prometheus.Dataquery:
    return _query(expression, legend, letter).range()


def _query(expression: str, legend: str, letter: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery().datasource(PROMETHEUS).expr(expression)
    return query.legend_format(legend).ref_id(letter)


def _thresholds(steps: Steps, base: str = "green") -> dashboard.ThresholdsConfig:
    made = [models.Threshold(value=None, color=base)]
    made += [models.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


def _mappings(names: Sequence[tuple[str, str]]) -> list[Any]:
    if not names:
        return []
    options = {
        str(value): models.ValueMappingResult(text=text, color=colour, index=value)
        for value, (text, colour) in enumerate(names)
    }
    return [models.ValueMap(options=options)]
