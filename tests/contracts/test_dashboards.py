"""What must agree around the dashboards: assets among themselves, with the tables that they read, and both languages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from dashboards import bundle, places, provision, public_access
from tests.browser import make_marts, make_open_data

ROOT = Path(__file__).resolve().parents[2]
ASSETS = bundle.read()
ALL = bundle.everything()
TRANSLATIONS = yaml.safe_load((ROOT / "dashboards" / "translations" / "en.yml").read_text())
SECURITY = yaml.safe_load((ROOT / "dashboards" / "security.yml").read_text())
DATASETS = {dataset["uuid"]: dataset for dataset in ALL["datasets"].values()}
CHARTS = {chart["uuid"]: chart for chart in ALL["charts"].values()}
PUBLIC = [d for d in ALL["dashboards"].values() if "Public" in SECURITY["dashboards"].get(d["slug"], [])]
PUBLIC_CHARTS = [CHARTS[key] for dashboard in PUBLIC for key in bundle.chart_uuids(dashboard)]
VIEWERS = {"Public", "district", "places"}
HELD_CHARTS = {
    key: CHARTS[key]
    for dashboard in ALL["dashboards"].values()
    if VIEWERS & set(SECURITY["dashboards"].get(dashboard["slug"], []))
    for key in bundle.chart_uuids(dashboard)
}
WAREHOUSE = {name: d for name, d in ALL["datasets"].items() if d["database_uuid"] == ASSETS["databases"]["warehouse"]["uuid"]}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> dict[str, duckdb.DuckDBPyConnection]:
    """The made-up release by the UUID of the database that reads it."""
    folder = tmp_path_factory.mktemp("release")
    make_open_data.make(folder / "open_data.duckdb")
    make_marts.make(folder / "marts.duckdb")
    files = {"open_data": "open_data.duckdb", "warehouse": "marts.duckdb"}
    return {ASSETS["databases"][name]["uuid"]: duckdb.connect(str(folder / file), read_only=True) for name, file in files.items()}


@pytest.fixture(scope="module")
def open_data(release: dict[str, duckdb.DuckDBPyConnection]) -> duckdb.DuckDBPyConnection:
    return release[ASSETS["databases"]["open_data"]["uuid"]]


def _columns(dataset: dict[str, Any]) -> list[str]:
    return [column["column_name"] for column in dataset["columns"]]


@pytest.mark.parametrize("name", ALL["charts"])
def test_chart_shows_what_its_dataset_has(name: str) -> None:
    chart = ALL["charts"][name]
    dataset = DATASETS[chart["dataset_uuid"]]
    params = chart["params"]
    assert params["viz_type"] == chart["viz_type"]
    used = public_access.saved_columns(params) | public_access.saved_order(params)
    used |= {item["subject"] for item in params["adhoc_filters"]}
    assert used <= set(_columns(dataset))
    assert public_access.saved_metrics(params) <= {metric["metric_name"] for metric in dataset["metrics"]}


@pytest.mark.parametrize("chart", HELD_CHARTS.values(), ids=lambda chart: chart["slice_name"])
def test_chart_for_people_who_are_held_to_it_uses_nothing_ad_hoc(chart: dict[str, Any]) -> None:
    """The rules for them compare names: an ad-hoc column or metric would make the chart unreadable, or be a way in."""
    text = json.dumps(chart["params"])
    assert "sqlExpression" not in text
    assert all(item["expressionType"] == "SIMPLE" for item in chart["params"]["adhoc_filters"])
    assert chart["params"]["row_limit"] <= public_access.MAX_ROWS


def test_public_charts_read_the_open_data_alone() -> None:
    database = ASSETS["databases"]["open_data"]
    assert database["sqlalchemy_uri"] == "duckdb:///public/open_data.duckdb"
    assert not database["expose_in_sqllab"]
    for chart in PUBLIC_CHARTS:
        dataset = DATASETS[chart["dataset_uuid"]]
        assert dataset["database_uuid"] == database["uuid"]
        tables = re.findall(r"\b(?:from|join)\s+([\w.]+)", dataset["sql"])
        inner = {"community", "cell", "shaded"}
        assert tables and all(table.startswith("open_data.open_data.") or table in inner for table in tables)


@pytest.mark.parametrize("name", [n for n, d in ALL["datasets"].items() if d.get("sql")])
def test_dataset_columns_are_those_of_its_sql(release: dict[str, duckdb.DuckDBPyConnection], name: str) -> None:
    dataset = ALL["datasets"][name]
    connection = release[dataset["database_uuid"]]
    result = connection.execute(dataset["sql"])
    assert [column[0] for column in result.description] == _columns(dataset)
    assert result.fetchall()
    for metric in dataset["metrics"]:
        connection.execute(f"select {metric['expression']} from ({dataset['sql']})")


@pytest.mark.parametrize("name", ["headline", "community_month"])
def test_zero_withheld_missing_and_not_applicable_differ(open_data: duckdb.DuckDBPyConnection, name: str) -> None:
    sql = ASSETS["datasets"][name]["sql"]
    source = "district" if name == "headline" else "community"
    statuses = open_data.execute(
        f"select distinct cell_status from open_data.open_data.community_month where area_level = '{source}'"
    ).fetchall()
    texts = {row[0] for row in open_data.execute(f"select distinct cell from ({sql}) where not regexp_matches(cell, '^[0-9]')").fetchall()}
    assert len(texts) == len({status for (status,) in statuses} - {"shown"})
    if name == "community_month":
        assert texts == {"隐去*", "缺报", "不适用"}
        shades = open_data.execute(f"select cell, min(shade), max(shade) from ({sql}) group by cell").fetchall()
        by_cell = {cell: (low, high) for cell, low, high in shades}
        assert by_cell["0"] == (0, 0) and by_cell["隐去*"] == (-1, -1)
        assert by_cell["缺报"] == (-2, -2) and by_cell["不适用"] == (-3, -3)


def test_virtual_community_is_never_ranked(open_data: duckdb.DuckDBPyConnection) -> None:
    sql = ASSETS["datasets"]["community_month"]["sql"]
    ranks = open_data.execute(f"select distinct like_rank from ({sql}) where community like '%虚拟%'").fetchall()
    assert ranks == [(None,)]


def test_equal_counts_have_equal_shades(open_data: duckdb.DuckDBPyConnection) -> None:
    sql = ASSETS["datasets"]["community_month"]["sql"]
    differing = open_data.execute(f"select month, category, cell from ({sql}) group by all having count(distinct shade) > 1").fetchall()
    assert differing == []


@pytest.mark.parametrize("dashboard", ALL["dashboards"].values(), ids=lambda dashboard: dashboard["slug"])
def test_dashboard_holds_together(dashboard: dict[str, Any]) -> None:
    position = {key: node for key, node in dashboard["position"].items() if isinstance(node, dict)}
    for key, node in position.items():
        assert node["id"] == key
        assert all(child in position for child in node.get("children", []))
    charts = [node["meta"] for node in position.values() if node["type"] == "CHART"]
    assert len({meta["chartId"] for meta in charts}) == len(charts)
    for meta in charts:
        assert CHARTS[meta["uuid"]]["slice_name"] == meta["sliceName"]
    for declared in dashboard["metadata"]["native_filter_configuration"]:
        for target in declared["targets"]:
            assert target["column"]["name"] in _columns(DATASETS[target["datasetUuid"]])
    for title in re.findall(r'data-test-chart-name="([^"]+)"', dashboard["css"]):
        assert title in {meta["sliceName"] for meta in charts}
    for row in (node for node in position.values() if node["type"] == "ROW"):
        assert sum(position[child]["meta"]["width"] for child in row["children"]) <= 12


def test_every_chart_stands_on_a_dashboard() -> None:
    standing = {key for dashboard in ALL["dashboards"].values() for key in bundle.chart_uuids(dashboard)}
    assert standing == set(CHARTS)


def test_no_address_or_path_in_the_assets() -> None:
    text = "".join(bundle.contents(ALL).values())
    assert not re.search(r"https?://|duckdb:////", text)


def test_english_twins_hold_no_chinese() -> None:
    twins = bundle.english(ASSETS, TRANSLATIONS)
    for kind in twins.values():
        for name, asset in kind.items():
            text = yaml.safe_dump(asset, allow_unicode=True, width=10_000)
            assert not bundle.CHINESE.search(text), name


def test_a_missing_translation_is_named() -> None:
    texts = {key: value for key, value in TRANSLATIONS["texts"].items() if key != "易涝点"}
    with pytest.raises(bundle.MissingTranslation, match="易涝点"):
        bundle.english(ASSETS, {**TRANSLATIONS, "texts": texts})


def test_no_translation_is_left_over() -> None:
    names = TRANSLATIONS["dashboards"]
    used = yaml.safe_dump(
        {kind: ASSETS[kind] for kind in ("charts", "datasets")} | {name: ASSETS["dashboards"][name] for name in names},
        allow_unicode=True,
        width=10_000,
    )
    assert [text for text in TRANSLATIONS["texts"] if text not in used] == []


def test_who_may_open_what_names_dashboards_that_exist() -> None:
    assert set(SECURITY["dashboards"]) <= {dashboard["slug"] for dashboard in ALL["dashboards"].values()}
    for role in (SECURITY["roles"]["Public"], SECURITY["roles"]["district"], SECURITY["places"]):
        assert not {"like", "databases"} & set(role)
        granted = {tuple(pair) for pair in role["permissions"]}
        assert not any(permission.startswith(("all_", "database_", "datasource_", "schema_")) for permission, _ in granted)
        assert not any(word in view for _, view in granted for word in ("SQL", "Database", "Dataset", "Datasource"))
        assert ("can_explore", "Superset") not in granted  # who may explore is not held to saved charts


def _columns_of_table(schema: str, table: str) -> set[str]:
    written_by_the_release = {("governance", "release")}
    if (schema, table) in written_by_the_release:
        return set()
    models = _dbt_models()
    return next(columns for (_, model), columns in models.items() if model in (table, f"{schema}_{table}"))


@pytest.mark.parametrize("name", WAREHOUSE)
def test_dataset_with_a_place_is_held_to_it(name: str) -> None:
    """What reads a table with a place has the place itself, so that row-level security covers it; the rest reads no such table."""
    held, dataset = SECURITY["places"]["column"], WAREHOUSE[name]
    read = re.findall(
        r"\b(?:from|join)\s+(mart|quality|governance)\.(\w+)", dataset["sql"] or f"from {dataset['schema']}.{dataset['table_name']}"
    )
    assert read
    has_place = any(held in _columns_of_table(schema, table) for schema, table in read)
    assert (name in provision.held_datasets(SECURITY, ALL)) == has_place


@pytest.mark.parametrize("name", [n for n in provision.held_datasets(SECURITY, ALL) if WAREHOUSE[n]["sql"]])
def test_rows_of_a_place_name_no_other(release: dict[str, duckdb.DuckDBPyConnection], name: str) -> None:
    dataset, place = WAREHOUSE[name], next(p for p in places.read() if p.key.startswith("community_"))
    shown = release[dataset["database_uuid"]].execute(
        f"select distinct community from ({dataset['sql']}) where {place.clause(SECURITY['places']['column'])}"
    )
    names = {
        row["name_en" if name.endswith("_en") else "name_zh"]
        for row in make_marts.communities()
        if row["community_id"] in place.community_ids
    }
    assert {community for (community,) in shown.fetchall()} <= names


def _dbt_models() -> dict[tuple[str, str], set[str]]:
    """Documented columns by (folder, model) of the dbt project."""
    models: dict[tuple[str, str], set[str]] = {}
    for path in (ROOT / "dbt_project" / "models").rglob("*.yml"):
        for model in (yaml.safe_load(path.read_text()) or {}).get("models", []):
            models[path.parent.name, model["name"]] = {column["name"] for column in model.get("columns", [])}
    return models


@pytest.mark.parametrize("name", [n for n, d in ASSETS["datasets"].items() if not d.get("sql")])
def test_dataset_of_the_warehouse_matches_its_model(name: str) -> None:
    dataset = ASSETS["datasets"][name]
    table, schema = dataset["table_name"], dataset["schema"]
    found = [c for (_, model), c in _dbt_models().items() if model in (table, f"{schema}_{table}")]
    assert found, f"no dbt model documents {schema}.{table}"
    assert set(_columns(dataset)) <= found[0]


@pytest.mark.parametrize("table", ["about", "community", "community_month", "waterlogging_month", "freshness"])
def test_made_up_release_has_the_columns_of_the_real_one(open_data: duckdb.DuckDBPyConnection, table: str) -> None:
    documented = _dbt_models().get(("open_data", f"open_{table}"))
    assert documented, f"no dbt model documents open_data.{table}"
    made = open_data.execute(f"select * from open_data.open_data.{table} limit 0").description
    assert {column[0] for column in made} <= documented
