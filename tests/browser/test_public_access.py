"""What a visitor without an account gets beyond the public dashboard: nothing. Over HTTP, against a running Superset."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pytest

from tests.browser.superset_server import Server, csrf_token

pytestmark = pytest.mark.browser
RANKING, HEADLINE = "同类社区排名", "全区主要指标"
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def visitor(first_release: Server) -> httpx.Client:
    return httpx.Client(base_url=first_release.url, timeout=60)


def _ask(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/chart/data", json=body)


def test_the_saved_chart_is_answered_without_sql(first_release: Server, visitor: httpx.Client) -> None:
    answer = _ask(visitor, first_release.chart_request(HEADLINE))
    assert answer.status_code == 200
    (result,) = answer.json()["result"]
    assert [row["category"] for row in result["data"]] == ["合计", "治安防控", "应急保障", "公共安全", "环境监管"]
    assert not result.get("query") and "select" not in answer.text.lower()


def test_csv_of_the_saved_chart(first_release: Server, visitor: httpx.Client) -> None:
    answer = _ask(visitor, {**first_release.chart_request(RANKING), "result_format": "csv"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    lines = answer.content.decode("utf-8-sig").strip().splitlines()
    assert "社区类型" in lines[0]
    assert len(lines) > 18


def _query(**changes: Any) -> Change:
    return lambda body: body["queries"][0].update(changes)


def _body(**changes: Any) -> Change:
    return lambda body: body.update(changes)


def _add_filter(**item: Any) -> Change:
    return lambda body: body["queries"][0]["filters"].append(item)


SQL_COLUMN = {"label": "x", "sqlExpression": "(select 1)", "expressionType": "SQL"}
SQL_METRIC = {"label": "x", "sqlExpression": "sum(like_rank)", "expressionType": "SQL"}
REFUSED: dict[str, Change] = {
    "samples": _body(result_type="samples"),
    "drill to detail": _body(result_type="drill_detail"),
    "the SQL text": _body(result_type="query"),
    "the columns of the dataset": _body(result_type="columns"),
    "post-processed": _body(result_type="post_processed"),
    "a workbook": _body(result_format="xlsx"),
    "samples by the query": _query(result_type="samples"),
    "an SQL column": _query(columns=[SQL_COLUMN]),
    "an SQL column dressed up as the axis": _query(columns=[{**SQL_COLUMN, "columnType": "BASE_AXIS"}]),
    "another column": _query(columns=["shade"]),
    "an SQL metric": _query(columns=["community"], metrics=[SQL_METRIC]),
    "another metric": _query(columns=["community"], metrics=["shade_value"]),
    "an order by SQL": _query(orderby=[[SQL_METRIC, True]]),
    "an order by another column": _query(orderby=[["polygon_json", True]]),
    "where": _query(extras={"where": "1 = 1", "having": ""}),
    "having": _query(extras={"where": "", "having": "count(*) > 0"}),
    "a filter on another column": _add_filter(col="cell", op="IN", val=["隐去*"]),
    "a filter on an SQL column": _add_filter(col=SQL_COLUMN, op="IN", val=["1"]),
    "a pattern": _add_filter(col="month", op="LIKE", val="%"),
    "a filter with too many values": _add_filter(col="month", op="IN", val=[str(i) for i in range(500)]),
    "a resampling": _query(post_processing=[{"operation": "resample", "options": {"rule": "1S", "method": "ffill"}}]),
    "a shifted time": _query(time_offsets=["1 year ago"]),
    "a page further on": _query(row_offset=100),
    "a row count": _query(is_rowcount=True),
    "another chart's data as an annotation": _query(
        annotation_layers=[{"annotationType": "EVENT", "sourceType": "table", "name": "x", "value": 1, "show": True}]
    ),
    "no chart": lambda body: body["form_data"].pop("slice_id"),
    "no dashboard": lambda body: body["form_data"].pop("dashboardId"),
    "a chart that is not there": lambda body: body["form_data"].update(slice_id=99999),
    "words for keys": lambda body: body["form_data"].update(slice_id="1 or 1=1"),
    "another dataset": lambda body: body["datasource"].update(id=body["datasource"]["id"] - 1),
    "an undeclared filter's values": lambda body: body.update(
        form_data={**body["form_data"], "type": "NATIVE_FILTER", "native_filter_id": "NATIVE_FILTER-none"}
    ),
    "another column by way of a declared filter": lambda body: body.update(
        form_data={**body["form_data"], "type": "NATIVE_FILTER", "native_filter_id": "NATIVE_FILTER-month"}
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused(first_release: Server, visitor: httpx.Client, name: str) -> None:
    body = first_release.chart_request(RANKING)
    assert _ask(visitor, copy.deepcopy(body)).status_code == 200, "the unchanged request must be answered"
    REFUSED[name](body)
    answer = _ask(visitor, body)
    assert answer.status_code in (400, 403), answer.text[:500]
    assert "result" not in answer.json()


def test_a_filter_that_is_declared_is_answered(first_release: Server, visitor: httpx.Client) -> None:
    body = first_release.chart_request(RANKING)
    body["queries"][0]["filters"].append({"col": "subdistrict", "op": "IN", "val": ["南园街道"]})
    rows = _ask(visitor, body).json()["result"][0]["data"]
    assert rows and {row["subdistrict"] for row in rows} == {"南园街道"}


def test_force_does_not_pass_the_cache(first_release: Server, visitor: httpx.Client) -> None:
    body = first_release.chart_request(HEADLINE, month="2026-07")
    _ask(visitor, body)
    for change in ({"force": True}, {"custom_cache_timeout": -1}):
        assert _ask(visitor, {**body, **change}).json()["result"][0]["is_cached"]


def test_rows_are_capped(first_release: Server, visitor: httpx.Client) -> None:
    body = first_release.chart_request(RANKING, month=None)
    body["queries"][0]["row_limit"] = 1_000_000
    assert _ask(visitor, body).json()["result"][0]["rowcount"] == 2000  # of 18 communities x 24 months x 5 categories = 2160


@pytest.fixture(scope="module")
def internal(server: Server) -> dict[str, int]:
    """A dashboard with a chart for administrators alone."""
    admin = server.admin()
    ((dataset,),) = server.query("select id from tables where table_name = 'fct_community_month'")
    slug = "internal-only"
    dashboard = admin.post("/api/v1/dashboard/", json={"dashboard_title": "内部看板", "slug": slug, "published": True}).json()["id"]
    params = '{"viz_type": "table", "query_mode": "raw", "all_columns": ["community_id"], "order_by_cols": [], "adhoc_filters": []}'
    chart = admin.post(
        "/api/v1/chart/",
        json={
            "slice_name": "内部图",
            "viz_type": "table",
            "datasource_id": dataset,
            "datasource_type": "table",
            "params": params,
            "dashboards": [dashboard],
        },
    ).json()["id"]
    return {"dashboard": dashboard, "chart": chart, "dataset": dataset}


def test_the_administrator_sees_the_internal_chart(first_release: Server, internal: dict[str, int]) -> None:
    """So that the refusals below mean something."""
    body = first_release.chart_request("内部图", slug="internal-only", month=None)
    answer = _ask(first_release.admin(), body)
    assert answer.status_code == 200 and "secret of the mart" in answer.text


def test_a_visitor_does_not(first_release: Server, visitor: httpx.Client, internal: dict[str, int]) -> None:
    body = first_release.chart_request("内部图", slug="internal-only", month=None)
    public = first_release.chart_request(RANKING)["form_data"]
    for form_data in (body["form_data"], {**body["form_data"], "dashboardId": public["dashboardId"]}, public):
        answer = _ask(visitor, {**body, "form_data": form_data})
        assert answer.status_code in (400, 403) and "secret" not in answer.text


CLOSED = [
    "/api/v1/dashboard/",
    "/api/v1/chart/",
    "/api/v1/chart/1",
    "/api/v1/chart/1/data/",
    "/api/v1/theme/",
    "/superset/welcome/",
    "/api/v1/database/",
    "/api/v1/database/1",
    "/api/v1/database/1/schemas/",
    "/api/v1/dataset/",
    "/api/v1/dataset/1",
    "/api/v1/saved_query/",
    "/api/v1/query/",
    "/api/v1/sqllab/",
    "/api/v1/log/",
    "/api/v1/security/users/",
    "/api/v1/security/roles/",
    "/api/v1/rowlevelsecurity/",
    "/api/v1/me/",
    "/api/v1/datasource/table/1/column/month/values/",
    "/api/v1/dashboard/export/?q=!(1)",
    "/api/v1/chart/export/?q=!(1)",
    "/api/v1/assets/export/",
    "/api/v1/explore/?slice_id=1",
    "/api/v1/_openapi",
    "/swagger/v1",
    "/explore/?slice_id=1",
    "/superset/explore/table/1/",
    "/superset/slice/1/",
    "/superset/sql/1/",
    "/sqllab/",
    "/chart/list/",
    "/dashboard/list/",
    "/tablemodelview/list/",
    "/databaseview/list/",
    "/users/",
    "/roles/",
    "/users/list/",
    "/superset/dashboard/internal-only/",
    "/api/v1/dashboard/internal-only",
    "/api/v1/dashboard/internal-only/charts",
    "/api/v1/dashboard/internal-only/datasets",
]


@pytest.mark.parametrize("path", CLOSED)
def test_closed_to_visitors(first_release: Server, visitor: httpx.Client, internal: dict[str, int], path: str) -> None:
    answer = visitor.get(path)
    if answer.status_code in (301, 302, 308):
        assert "/login" in answer.headers["location"] or answer.headers["location"].rstrip("/") in ("", first_release.url)
    else:
        assert answer.status_code in (401, 403, 404), f"{answer.status_code}: {answer.text[:300]}"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/sqllab/execute/", {"database_id": 1, "sql": "select 1"}),
        ("/api/v1/sqllab/format_sql/", {"sql": "select 1"}),
        ("/api/v1/query/", {"query_context": "{}"}),
        ("/api/v1/dataset/", {"database": 1, "table_name": "x"}),
        ("/api/v1/chart/", {"slice_name": "x", "datasource_id": 1, "datasource_type": "table"}),
        ("/api/v1/dashboard/", {"dashboard_title": "x"}),
        ("/datasource/samples?datasource_type=table&datasource_id=1", {}),
        ("/superset/explore_json/?form_data=%7B%22slice_id%22%3A1%7D", {}),
    ],
)
def test_closed_to_visitors_who_post(first_release: Server, visitor: httpx.Client, path: str, body: dict[str, Any]) -> None:
    answer = visitor.post(path, json=body)
    assert answer.status_code in (302, 400, 401, 403, 404)
    assert "result" not in (answer.json() if "json" in answer.headers.get("content-type", "") else {})


def test_answers_about_the_dashboard_name_no_people_and_no_sql(first_release: Server, visitor: httpx.Client) -> None:
    for part in ("", "/datasets", "/charts"):
        answer = visitor.get(f"/api/v1/dashboard/transparency{part}")
        assert answer.status_code == 200
        for word in ("owners", "changed_by_name", '"sql"', "select_star", "管理员", "duckdb"):
            assert word not in answer.text, f"{word} in the answer to {part}"


def test_headers(first_release: Server, visitor: httpx.Client) -> None:
    headers = visitor.get("/superset/dashboard/transparency/").headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert "'unsafe-eval'" not in policy["script-src"] and "'unsafe-inline'" not in policy["script-src"]
    assert policy["connect-src"] == policy["default-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert "httponly" in headers["set-cookie"].lower() and "samesite=lax" in headers["set-cookie"].lower()


def test_site_public_and_internal(first_release: Server, visitor: httpx.Client) -> None:
    assert "公开页" in visitor.get("/site/public/").text
    for path in ("/site/internal/", "/site/internal/index.html", "/site/", "/site/public/%2e%2e/internal/index.html"):
        answer = visitor.get(path)
        assert "内部页" not in answer.text and answer.status_code in (302, 404), path
    for path in ("/site/public/../../secrets/superset_secret_key", "/site/public/..%2f..%2fsecrets%2fsuperset_secret_key"):
        assert visitor.get(path).status_code in (302, 404)
    admin = first_release.admin()
    assert "内部页" in admin.get("/site/internal/").text
    assert "allow-same-origin" not in admin.get("/site/internal/").headers["content-security-policy"]
    assert admin.get("/site/internal/..%2f..%2fsecrets%2fsuperset_secret_key").status_code == 404
    secret = first_release.data / "site" / "internal" / "out"
    secret.unlink(missing_ok=True)
    secret.symlink_to(first_release.data / "secrets" / "superset_secret_key")
    assert admin.get("/site/internal/out").status_code == 404


def test_login_is_limited_over_all_workers(first_release: Server) -> None:
    first_release.admin()  # before the limit is used up
    counters = first_release.data / "superset" / "login_limit.db"
    with closing(sqlite3.connect(counters)) as connection:
        connection.execute("delete from hit")
        connection.commit()
    statuses = []
    for _ in range(13):
        with httpx.Client(base_url=first_release.url, timeout=60) as client:  # a connection each: both workers get some
            form = {"username": "admin", "password": "admin", "csrf_token": csrf_token(client)}
            statuses.append(client.post("/login/", data=form).status_code)
            assert client.get("/api/v1/me/").status_code == 403, "admin / admin must not open"
            body = {"username": "admin", "password": "admin", "provider": "db"}
            assert client.post("/api/v1/security/login", json=body).status_code in (403, 429), "no way around by the API"
    assert statuses[10:] == [429, 429, 429]
    assert 429 not in statuses[:10]
    with closing(sqlite3.connect(counters)) as connection:
        connection.execute("delete from hit")
        connection.commit()


def test_the_root_leads_visitors_to_the_public_page(first_release: Server, visitor: httpx.Client) -> None:
    assert visitor.get("/").headers["location"] == "/superset/dashboard/transparency/"
