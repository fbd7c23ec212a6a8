"""What people who may not build charts (visitors without an account, and the people of a place) may ask of a saved chart: the
rules, as pure functions over plain values.

Superset lets whoever may see a chart change its query: other columns, own SQL, samples, the SQL text, past the cache. It guards
guest tokens against some of that, but nobody else. The rule here is the reverse: what is not in the saved chart, and
is not a choice in a filter that the dashboard declares, is refused. No Superset import: ``security_manager`` calls it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MAX_ROWS = 2000
MAX_CHOICES = 200
MAX_CHOICE_LENGTH = 100
RESULT_TYPES = {"full", "results"}
RESULT_FORMATS = {"json", "csv"}
FILTER_OPERATORS = {"IN", "=="}
POST_PROCESSING = {"pivot", "flatten", "rename"}

# Params of a saved chart that name columns and metrics. The charts here use no ad-hoc ones: a contract test sees to it.
_COLUMN_PARAMS = ("columns", "groupby", "all_columns", "x_axis", "line_column", "js_columns", "series")
_METRIC_PARAMS = ("metrics", "metric")
_MUST_BE_EMPTY = (
    "annotation_layers",
    "applied_time_extras",
    "apply_fetch_values_predicate",
    "from_dttm",
    "granularity",
    "group_others_when_limit_reached",
    "inner_from_dttm",
    "inner_to_dttm",
    "is_rowcount",
    "row_offset",
    "series_limit",
    "series_limit_metric",
    "time_offsets",
    "time_shift",
    "to_dttm",
)


def _listed(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def saved_columns(params: Mapping[str, Any]) -> set[str]:
    """The columns that a saved chart shows."""
    names = [name for key in _COLUMN_PARAMS for name in _listed(params.get(key))]
    names += [item.get("column_name") for item in _listed(params.get("tooltip_contents")) if isinstance(item, Mapping)]
    return {name for name in names if isinstance(name, str)}


def saved_metrics(params: Mapping[str, Any]) -> set[str]:
    """The metrics of the dataset that a saved chart shows."""
    return {name for key in _METRIC_PARAMS for name in _listed(params.get(key)) if isinstance(name, str)}


def saved_order(params: Mapping[str, Any]) -> set[str]:
    """The columns that a saved table is sorted by; Superset keeps each as JSON text, ``["column", true]``."""
    pairs = [json.loads(text) for text in _listed(params.get("order_by_cols"))]
    return {pair[0] for pair in pairs if isinstance(pair[0], str)}


def filter_columns(dashboard_metadata: Mapping[str, Any]) -> set[str]:
    """The columns that a dashboard's filters are declared on."""
    return {
        target["column"]["name"]
        for declared in dashboard_metadata.get("native_filter_configuration", [])
        for target in declared.get("targets", [])
        if isinstance(target.get("column"), Mapping) and "name" in target["column"]
    }


def _column_name(column: Any, x_axis: Any) -> Any:
    """The plain name of a requested column; the axis of a time series comes wrapped, and nothing else may."""
    if not isinstance(column, Mapping):
        return column
    wrapped = column.get("columnType") == "BASE_AXIS" and column.get("sqlExpression") == column.get("label") == x_axis
    return x_axis if wrapped else None


def _choice(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= MAX_CHOICE_LENGTH)


def _filter_refusals(filters: Iterable[Any], allowed: set[str], saved: Sequence[Mapping[str, Any]]) -> list[str]:
    own = [(item.get("subject"), item.get("operator"), item.get("comparator")) for item in saved]
    refused = []
    for item in filters:
        column, operator, value = item.get("col"), item.get("op"), item.get("val")
        if (column, operator, value) in own:
            continue
        if not isinstance(column, str) or column not in allowed:
            refused.append("a filter on a column that no filter of the dashboard is declared on")
        elif operator not in FILTER_OPERATORS:
            refused.append(f"the filter operator {operator}")
        elif len(_listed(value)) > MAX_CHOICES or not all(_choice(choice) for choice in _listed(value)):
            refused.append("the values of a filter")
    return refused


def _query_refusals(
    query: Mapping[str, Any],
    *,
    columns: set[str],
    metrics: set[str],
    filters: set[str],
    params: Mapping[str, Any],
    dataset_id: int,
) -> list[str]:
    refused = [f"{name}" for name in _MUST_BE_EMPTY if query.get(name)]
    if query.get("result_type") is not None and query["result_type"] not in RESULT_TYPES:
        refused.append(f"the result type {query['result_type']}")
    if query.get("datasource_id") not in (None, dataset_id):
        refused.append("another dataset")
    if query.get("time_range") not in (None, "", "No filter"):
        refused.append("a time range")
    asked = [_column_name(column, params.get("x_axis")) for column in _listed(query.get("columns"))]
    asked += [_column_name(column, params.get("x_axis")) for column in _listed(query.get("series_columns"))]
    if any(not isinstance(column, str) or column not in columns for column in asked):
        refused.append("a column that the chart does not show")
    if any(not isinstance(metric, str) or metric not in metrics for metric in _listed(query.get("metrics"))):
        refused.append("a metric that the chart does not show")
    for order in _listed(query.get("orderby")):
        by = order[0] if isinstance(order, list | tuple) and order else order
        if not isinstance(by, str) or by not in columns | metrics | saved_order(params):
            refused.append("an order by something that the chart does not show")
    for key, value in (query.get("extras") or {}).items():
        if value and not (key == "time_grain_sqla" and value == params.get("time_grain_sqla")):
            refused.append(f"extras: {key}")
    for step in _listed(query.get("post_processing")):
        if not isinstance(step, Mapping) or step.get("operation") not in POST_PROCESSING:
            refused.append("a post-processing step that the chart does not need")
    saved = [item for item in params.get("adhoc_filters") or [] if item.get("expressionType") == "SIMPLE"]
    return refused + _filter_refusals(_listed(query.get("filter")), filters, saved)


def refusals(
    *,
    form_data: Mapping[str, Any],
    result_type: str,
    result_format: str,
    queries: Sequence[Mapping[str, Any]],
    dataset_id: int,
    chart_params: Mapping[str, Any] | None,
    dashboard_metadata: Mapping[str, Any],
) -> list[str]:
    """Why a request for chart data may not be answered; empty if it may.

    Args:
        form_data: as sent by the browser.
        result_type: of the whole request (``full``, ``samples``, ``query``, ...).
        result_format: ``json``, ``csv``, ...
        queries: one mapping per query, with the names of Superset's QueryObject and ``datasource_id``.
        dataset_id: the dataset that the request names.
        chart_params: of the saved chart that the request names, after it was found on the dashboard; None if there is none.
        dashboard_metadata: of the dashboard that the request names; empty if there is none.
    """
    refused = []
    if result_type not in RESULT_TYPES:
        refused.append(f"the result type {result_type}")
    if result_format not in RESULT_FORMATS:
        refused.append(f"the format {result_format}")
    filters = filter_columns(dashboard_metadata)
    if form_data.get("type") == "NATIVE_FILTER":
        targets = [
            target
            for declared in dashboard_metadata.get("native_filter_configuration", [])
            if declared.get("id") == form_data.get("native_filter_id")
            for target in declared.get("targets", [])
            if target.get("datasetId") == dataset_id
        ]
        columns, metrics, params = filter_columns({"native_filter_configuration": [{"targets": targets}]}), set(), {}
        if not columns:
            refused.append("a filter that the dashboard does not declare")
    elif chart_params is None:
        return [*refused, "a chart that is not on the dashboard"]
    else:
        columns, metrics, params = saved_columns(chart_params), saved_metrics(chart_params), dict(chart_params)
    if not queries:
        refused.append("no query")
    for query in queries:
        refused += _query_refusals(query, columns=columns, metrics=metrics, filters=filters, params=params, dataset_id=dataset_id)
    return refused


def capped(row_limit: int | None) -> int:
    """The row limit that they get."""
    return min(row_limit, MAX_ROWS) if row_limit and row_limit > 0 else MAX_ROWS
