"""What the dashboards are put together from: queries, panels, variables, annotations."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Literal, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

# The uids that role grafana gives its data sources.
DATABASE = shapes.DataSourceRef(type_val="grafana-postgresql-datasource", uid="timescaledb")
METRICS = shapes.DataSourceRef(type_val="prometheus", uid="prometheus")
# Grafana's own, for a panel with queries to both.
_MIXED = shapes.DataSourceRef(type_val="datasource", uid="-- Mixed --")

P = TypeVar("P", timeseries.Panel, stat.Panel, table.Panel, heatmap.Panel, bargauge.Panel)
Steps = Sequence[tuple[float | None, str]]
Form = Literal["time_series", "table"]


class Sql(Dataquery, Builder[Dataquery]):
    """A query of the database; the SDK has none for PostgreSQL."""

    def __init__(self, text: str, form: Form) -> None:
        """Take SQL with Grafana's macros, and the shape that Grafana makes of its rows."""
        self._text = textwrap.dedent(text).strip()
        self._form = form
        self._ref_id = "A"

    def ref_id(self, ref_id: str) -> Sql:
        """Name it within its panel."""
        self._ref_id = ref_id
        return self

    def build(self) -> Dataquery:
        """It needs no building."""
        return self

    def to_json(self) -> dict[str, object]:
        """As Grafana's editor saves it."""
        return {
            "refId": self._ref_id,
            "datasource": DATABASE,
            "editorMode": "code",
            "format": self._form,
            "rawQuery": True,
            "rawSql": self._text,
        }


def series(text: str) -> Sql:
    """Rows with a column `time`, figures, and optionally a column `metric` that names the line."""
    return Sql(text, "time_series")


def rows(text: str) -> Sql:
    """Rows as they are."""
    return Sql(text, "table")


def prom(expression: str, legend: str = "__auto") -> prometheus.Dataquery:
    """PromQL over the dashboard's time range; a line is named by its labels as in `legend`."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).range().datasource(METRICS)


def newest(expression: str, legend: str = "__auto") -> prometheus.Dataquery:
    """PromQL at the end of the time range, as rows of a table."""
    return (
        prometheus.Dataquery()
        .expr(expression)
        .legend_format(legend)
        .instant()
        .format(PromQueryFormat.TABLE)
        .datasource(METRICS)
    )


def steps(*limits: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Colours from values on; the first has no value."""
    return (
        dashboard.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value=value, color=color) for value, color in limits])
    )


def _place(  # noqa: PLR0913, PLR0917 - what every panel has
    panel: P,
    title: str,
    about: str,
    queries: Sequence[Sql | prometheus.Dataquery],
    unit: str,
    size: tuple[int, int],
) -> P:
    """Give a panel its title, description, queries, unit and size in columns (of 24) and rows."""
    width, height = size
    for number, query in enumerate(queries):
        panel.with_target(query.ref_id(chr(ord("A") + number)))
    of_database = {isinstance(query, Sql) for query in queries}
    source = _MIXED if len(of_database) > 1 else DATABASE if True in of_database else METRICS
    panel.title(title).description(about).datasource(source).unit(unit)
    return panel.span(width).height(height)


def lines(  # noqa: PLR0913 - each has its default
    title: str,
    about: str,
    *queries: Sql | prometheus.Dataquery,
    unit: str,
    size: tuple[int, int] = (12, 8),
    limit: float | None = None,
    least: float | None = 0,
    log: bool = False,
    interval: str = "10s",
) -> timeseries.Panel:
    """Figures over time, with a dashed line at `limit` and its axis from `least` on."""
    panel = _place(timeseries.Panel(), title, about, queries, unit, size)
    panel.legend(
        common.VizLegendOptions()
        .show_legend(show_legend=True)
        .display_mode(shapes.LegendDisplayMode.TABLE)
        .placement(shapes.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "max"])
    )
    panel.tooltip(
        common.VizTooltipOptions()
        .mode(shapes.TooltipDisplayMode.MULTI)
        .sort(shapes.SortOrder.DESCENDING)
    )
    panel.interval(interval).fill_opacity(8).line_width(1).show_points(shapes.VisibilityMode.AUTO)
    if log:
        panel.scale_distribution(
            common.ScaleDistributionConfig().type(shapes.ScaleDistribution.LOG).log(10)
        )
    elif least is not None:
        panel.axis_soft_min(least)
    if limit is not None:
        panel.thresholds(steps((None, "green"), (limit, "red")))
        panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED)
        )
    return panel


def figure(  # noqa: PLR0913 - each has its default
    title: str,
    about: str,
    query: Sql | prometheus.Dataquery,
    *,
    unit: str,
    size: tuple[int, int] = (6, 4),
    limits: Steps = ((None, "blue"),),
) -> stat.Panel:
    """The newest figure, large."""
    panel = _place(stat.Panel(), title, about, [query], unit, size)
    panel.reduce_options(common.ReduceDataOptions().values(values=False).calcs(["lastNotNull"]))
    panel.graph_mode(shapes.BigValueGraphMode.NONE)
    return panel.thresholds(steps(*limits))


def bars(  # noqa: PLR0913 - each has its default
    title: str,
    about: str,
    query: prometheus.Dataquery,
    *,
    unit: str,
    size: tuple[int, int] = (8, 8),
    limits: Steps = ((None, "blue"),),
    most: float | None = None,
) -> bargauge.Panel:
    """The newest figure of each line as a bar."""
    panel = _place(bargauge.Panel(), title, about, [query], unit, size)
    panel.reduce_options(common.ReduceDataOptions().values(values=False).calcs(["lastNotNull"]))
    panel.orientation(shapes.VizOrientation.HORIZONTAL).display_mode(
        shapes.BarGaugeDisplayMode.BASIC
    )
    if most is not None:
        panel.min(0).max(most)
    return panel.thresholds(steps(*limits))


def listing(
    title: str,
    about: str,
    *queries: Sql | prometheus.Dataquery,
    units: dict[str, str] | None = None,
    size: tuple[int, int] = (24, 8),
) -> table.Panel:
    """A table; `units` of columns by name."""
    panel = _place(table.Panel(), title, about, queries, "short", size)
    panel.cell_options(shapes.TableAutoCellOptions())
    for column, unit in (units or {}).items():
        panel.override_by_name(column, [model.DynamicConfigValue(id_val="unit", value=unit)])
    return panel


def coloured(panel: table.Panel, column: str, *limits: tuple[float | None, str]) -> table.Panel:
    """Colour a table's column by its values."""
    return panel.override_by_name(
        column,
        [
            model.DynamicConfigValue(id_val="thresholds", value=steps(*limits).build()),
            model.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
        ],
    )


def dashed(panel: timeseries.Panel, name: str) -> timeseries.Panel:
    """Draw the line of that name as a limit: dashed, red, without a fill."""
    return panel.override_by_name(
        name,
        [
            model.DynamicConfigValue(
                id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 8]}
            ),
            model.DynamicConfigValue(id_val="custom.fillOpacity", value=0),
            model.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": "red"}),
        ],
    )


def only(panel: table.Panel, *columns: str) -> table.Panel:
    """Show these columns of a table of Prometheus' alone, in this order."""
    names = {column: number for number, column in enumerate(columns)}
    return panel.with_transformation(
        model.DataTransformerConfig(
            id_val="filterFieldsByName", options={"include": {"names": list(columns)}}
        )
    ).with_transformation(
        model.DataTransformerConfig(id_val="organize", options={"indexByName": names})
    )


def heat(title: str, about: str, query: Sql, *, unit: str, size: tuple[int, int]) -> heatmap.Panel:
    """Counts in cells: a column for each bucket, named by its upper bound, ascending."""
    panel = _place(heatmap.Panel(), title, about, [query], "short", size)
    panel.calculate(calculate=False).interval("1m")
    panel.rows_frame(heatmap.RowsHeatmapOptions().layout(shapes.HeatmapCellLayout.LE))
    panel.y_axis(heatmap.YAxisConfig().unit(unit))
    panel.cell_values(heatmap.CellValues().unit("short"))
    return panel.tooltip(
        heatmap.HeatmapTooltip()
        .mode(shapes.TooltipDisplayMode.SINGLE)
        .y_histogram(y_histogram=True)
    )


def choice(name: str, label: str, about: str, query: str) -> dashboard.QueryVariable:
    """A variable with any number of the values that a query of the database finds; first all."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .description(about)
        .datasource(DATABASE)
        .query(textwrap.dedent(query).strip())
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def option(
    name: str, label: str, about: str, values: Sequence[tuple[str, str]]
) -> dashboard.CustomVariable:
    """A variable with one of fixed values, given as text and value; first the first."""
    text, value = values[0]
    return (
        dashboard.CustomVariable(name)
        .label(label)
        .description(about)
        .values(", ".join(f"{shown} : {worth}" for shown, worth in values))
        .options(
            [
                model.VariableOption(selected=number == 0, text=shown, value=worth)
                for number, (shown, worth) in enumerate(values)
            ]
        )
        .current(model.VariableOption(selected=True, text=text, value=value))
        .multi(multi=False)
        .include_all(include_all=False)
    )


def events(name: str, color: str, query: str) -> dashboard.AnnotationQuery:
    """Marks in all panels: rows with `time`, and optionally `timeend`, `text` and `tags`."""
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(DATABASE)
        .enable(enable=True)
        .hide(hide=False)
        .icon_color(color)
        .target(rows(query).ref_id("Anno"))
    )


def board(uid: str, title: str, about: str, *, since: str, refresh: str) -> dashboard.Dashboard:
    """An empty dashboard, with links to the others."""
    others = (
        dashboard.DashboardLink("Edge telemetry")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags(["edge-telemetry"])
        .as_dropdown(as_dropdown=False)
        .keep_time(keep_time=True)
    )
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags(["edge-telemetry"])
        .timezone("browser")
        .time(since, "now")
        .refresh(refresh)
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(others)
    )
