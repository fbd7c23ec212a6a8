"""The operations dashboard: what each kind of person sees of it, in a real Chromium and over HTTP. Figures that must appear are worked
out here from the rows that the release was made of."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page

from dashboards import bundle
from tests.browser import make_marts
from tests.browser.make_marts import AS_OF, when
from tests.browser.make_open_data import publish
from tests.browser.superset_server import SECOND, Server

pytestmark = pytest.mark.browser
ROWS = make_marts.tables()
PLACES = {place["community_id"]: place for place in ROWS["mart.dim_community"]}
WARNINGS = ROWS["mart.fct_warning"]
OPEN = [warning for warning in WARNINGS if warning["is_open"]]
OWN = next(iter(Counter(w["community_id"] for w in OPEN if w["severity"] == 1 and w["community_id"])))  # has something grave to see
OTHER = next(w["community_id"] for w in OPEN if w["community_id"] not in (OWN, None))
WORKER = f"community_{OWN}"
SUBDISTRICT = PLACES[OWN]["subdistrict_id"]
DASHBOARD = bundle.read()["dashboards"]["operations"]
TITLES = [n["meta"]["sliceName"] for n in DASHBOARD["position"].values() if isinstance(n, dict) and n["type"] == "CHART"]
LIST, RULES, MAP = "未结束的风险提示", "各规则的提示与处置，近 30 天", "未结束提示地图（示意）"
WITHOUT_PLACE = {"数据截至", "系统", "各系统数据新旧", "隔离的行，按规则"}


def _headline(warnings: list[make_marts.Row]) -> dict[str, int]:
    still = [w for w in warnings if w["is_open"]]
    return {
        **{f"{level}级未结束": sum(w["severity"] == level for w in still) for level in (1, 2, 3, 4)},
        "未结束且超期": sum(w["is_overdue"] for w in still),
        "近 24 小时新增": sum(w["raised_at"] > AS_OF - timedelta(hours=24) for w in warnings),
    }


def _of(places: set[str | None], warnings: list[make_marts.Row]) -> list[make_marts.Row]:
    return [w for w in warnings if w["community_id"] in places]


# In the browser --------------------------------------------------------------------------------------------------------------


def _page(chromium: Browser, client: httpx.Client) -> tuple[Page, list[str]]:
    """A page with the client's session, and the list of what goes wrong on it."""
    context = chromium.new_context(viewport={"width": 1600, "height": 3500}, locale="zh-CN")
    context.add_cookies([{"name": c.name, "value": c.value or "", "url": str(client.base_url)} for c in client.cookies.jar])
    page = context.new_page()
    wrong: list[str] = []
    page.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    # The policy stops the counting pixel of Superset's maker, and the browser says so.
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" and "scarf.sh" not in m.text else None)
    return page, wrong


def _drawn(page: Page) -> None:
    page.wait_for_function(f"() => document.querySelectorAll('[data-test-chart-name]').length >= {len(TITLES)}", timeout=90_000)
    page.wait_for_load_state("networkidle", timeout=90_000)
    page.wait_for_function("() => document.querySelectorAll('.loading, [data-test=\"loading-indicator\"]').length === 0", timeout=90_000)
    page.wait_for_timeout(1500)


def _figures(page: Page, title: str) -> dict[str, int]:
    """The figures of a headline: name and number."""
    chart = page.locator(f'[data-test-chart-name="{title}"]')
    names = [text.strip() for text in chart.locator("thead:visible th").all_inner_texts()]
    cells = [text.strip() for text in chart.locator("tbody:visible td").all_inner_texts()]
    return {name: int(cell.replace(",", "")) for name, cell in zip(names, cells, strict=False) if name and cell}


def test_the_district_sees_every_chart(first_release: Server, chromium: Browser, artefacts: Path) -> None:
    page, wrong = _page(chromium, first_release.person("district"))
    page.goto(f"{first_release.url}/superset/dashboard/operations/")
    _drawn(page)
    page.screenshot(path=artefacts / "operations-zh.png")
    assert wrong == []
    assert page.title().startswith("监测预警与处置")
    text = page.inner_text("body")
    assert [title for title in TITLES if title not in text and title != "数据截至"] == []
    assert "演示数据" in text and "数据截至 2026-11-01 00:00（北京时间）" in text
    for word in ("错误", "Error", "没有数据返回"):
        assert word not in text
    assert _figures(page, "未结束风险提示") == _headline(WARNINGS)
    silent = {w["device_id"] for w in OPEN if w["kind"] == "silence"}
    flat = {w["device_id"] for w in OPEN if w["kind"] == "flatline"} - silent
    assert _figures(page, "设备") == {"静默设备": len(silent), "读数不变": len(flat)}
    late = {row["system"] for row in ROWS["quality.freshness"] if row["is_late"]}
    assert _figures(page, "系统") == {"延迟系统": len(late), "来源系统数": len(ROWS["governance.system"])}
    gravest = min(OPEN, key=lambda w: (w["severity"], w["due_at"], w["warning_id"]))
    first = page.locator(f'[data-test-chart-name="{LIST}"] tbody:visible tr').first.inner_text()
    for part in (gravest["rule_zh"], gravest["evidence_zh"], when(gravest["raised_at"]), when(gravest["due_at"]), "超期"):
        assert part in re.sub(r"\s+", " ", first)
    assert page.locator(f'[data-test-chart-name="{MAP}"] canvas').count() >= 1
    wide = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1]


def test_english_twin(first_release: Server, chromium: Browser, artefacts: Path) -> None:
    page, wrong = _page(chromium, first_release.person("district"))
    page.goto(f"{first_release.url}/superset/dashboard/operations-en/")
    _drawn(page)
    page.screenshot(path=artefacts / "operations-en.png")
    assert wrong == []
    figures = _figures(page, "Open risk hints")
    assert list(figures.values()) == list(_headline(WARNINGS).values())
    assert "Demo data" in page.inner_text("body") and "Level 1 open" in figures


def test_a_worker_begins_at_the_dashboard_and_sees_one_community(first_release: Server, chromium: Browser, artefacts: Path) -> None:
    """By the login form, as a person does it."""
    first_release.person(WORKER)
    page, wrong = _page(chromium, httpx.Client(base_url=first_release.url))
    page.goto(f"{first_release.url}/login/")
    page.wait_for_load_state("networkidle")  # a late answer to the visitor would bring the visitor's session back
    page.locator("input:visible").first.fill(WORKER)
    page.locator("input[type=password]").fill(first_release.passwords[WORKER])
    page.keyboard.press("Enter")
    page.wait_for_url("**/superset/dashboard/operations/**", timeout=60_000)
    _drawn(page)
    page.screenshot(path=artefacts / "operations-community.png")
    assert wrong == []
    own = _of({OWN}, WARNINGS)
    assert _figures(page, "未结束风险提示") == _headline(own)
    places = page.locator(f'[data-test-chart-name="{LIST}"] tbody:visible tr').all_inner_texts()
    assert len(places) == sum(w["is_open"] for w in own) and all(PLACES[OWN]["name_zh"] in place for place in places)
    text = page.inner_text("body")
    strangers = [p["name_zh"] for p in PLACES.values() if p["name_zh"] in text and p["name_zh"] not in PLACES[OWN]["name_zh"]]
    assert strangers == []


def test_filters_narrow_every_chart_and_the_communities(first_release: Server, chromium: Browser) -> None:
    page, wrong = _page(chromium, first_release.person("district"))
    page.goto(f"{first_release.url}/superset/dashboard/operations/")
    _drawn(page)
    name = PLACES[OWN]["subdistrict_zh"]
    within = {key for key, place in PLACES.items() if place["subdistrict_zh"] == name}
    page.locator(".ant-select").first.click()
    page.locator(".ant-select-item-option", has_text=name).click()
    page.keyboard.press("Escape")
    page.locator('[data-test="filter-bar__apply-button"]').click()
    _drawn(page)
    assert wrong == []
    assert _figures(page, "未结束风险提示") == _headline(_of(within, WARNINGS))
    page.locator(".ant-select").nth(1).click()
    page.wait_for_timeout(1000)
    offered = {text.strip() for text in page.locator(".ant-select-dropdown:visible .ant-select-item-option-content").all_inner_texts()}
    assert offered and offered <= {PLACES[key]["name_zh"] for key in within}


def test_a_new_release_appears_within_a_minute_by_itself(first_release: Server, chromium: Browser) -> None:
    page, wrong = _page(chromium, first_release.person("district"))
    page.goto(f"{first_release.url}/superset/dashboard/operations/")
    _drawn(page)
    before = _figures(page, "未结束风险提示")
    publish(first_release.data, SECOND)
    deadline = time.monotonic() + 60 + 20  # the machine may be busy drawing
    expected = before["1级未结束"] + 3  # what the second release has more
    while (seen := _figures(page, "未结束风险提示").get("1级未结束")) != expected and time.monotonic() < deadline:
        page.wait_for_timeout(1000)
    assert seen == expected
    page.wait_for_selector(f"text={SECOND}", timeout=10_000)
    assert wrong == []


# Over HTTP -------------------------------------------------------------------------------------------------------------------


def _ask(client: httpx.Client, body: dict[str, Any]) -> httpx.Response:
    return client.post("/api/v1/chart/data", json=body)


def _rows(server: Server, client: httpx.Client, title: str, slug: str = "operations") -> list[dict[str, Any]]:
    answer = _ask(client, server.chart_request(title, slug=slug, month=None))
    assert answer.status_code == 200, f"{title}: {answer.text[:500]}"
    return answer.json()["result"][0]["data"]  # type: ignore[no-any-return]


def _counts(server: Server, client: httpx.Client) -> dict[str, int]:
    """How much each chart with a place shows: rows of its lists, sums of its counts."""
    counted = {
        "设备": lambda rows: rows[0]["silent_count"],
        "各类设备在线情况": lambda rows: sum(row["device_count"] for row in rows),
        "静默和读数不变的设备": len,
        "传感器报警及结果，近 30 天": lambda rows: sum(row["alarm_count"] for row in rows),
        "未处置地面隐患，按等级": lambda rows: sum(row["hazard_count"] for row in rows),
        "超期未处置的地面隐患": len,
        "未结束风险提示": lambda rows: sum(rows[0][f"open_level_{level}"] for level in (1, 2, 3, 4)),
        LIST: len,
        RULES: lambda rows: sum(row["open_count"] for row in rows),
        "每日新增提示，近 30 天": lambda rows: sum(row["raised_30d"] for row in rows),
        MAP: len,
        "设备在线率，近 30 天（%）": lambda rows: len({row["device_type"] for row in rows}),
    }
    assert set(counted) | WITHOUT_PLACE == set(TITLES), "a chart is not counted here"
    return {title: count(_rows(server, client, title)) for title, count in counted.items()}


def _expected(places: set[str | None]) -> dict[str, int]:
    still = _of(places, OPEN)
    devices = _of(places, ROWS["mart.dim_device"])
    silent = {w["device_id"] for w in still if w["kind"] == "silence"}
    flat = {w["device_id"] for w in still if w["kind"] == "flatline"}
    overdue = {w["target_id"] for w in still if w["kind"] == "hazard_overdue"}
    recent = [w for w in _of(places, WARNINGS) if w["raised_date"] >= make_marts.DAYS[0]]
    hazards = _of(places, ROWS["mart.fct_ground_hazard"])
    return {
        "设备": len(silent),
        "各类设备在线情况": len(devices),
        "静默和读数不变的设备": len(silent | flat),
        "传感器报警及结果，近 30 天": len(_of(places, ROWS["mart.fct_sensor_alarm"])),
        "未处置地面隐患，按等级": sum(h["is_open"] for h in hazards),
        "超期未处置的地面隐患": len(overdue),
        "未结束风险提示": len(still),
        LIST: len(still),
        RULES: len(still),
        "每日新增提示，近 30 天": len(recent),
        MAP: len(places & set(PLACES)),
        "设备在线率，近 30 天（%）": len({d["device_type"] for d in devices}),
    }


def test_each_role_gets_the_rows_of_its_place(first_release: Server) -> None:
    whole: set[str | None] = {*PLACES, None}
    within: set[str | None] = {key for key, place in PLACES.items() if place["subdistrict_id"] == SUBDISTRICT}
    assert _counts(first_release, first_release.person("district")) == _expected(whole)
    assert _counts(first_release, first_release.person(f"subdistrict_{SUBDISTRICT}")) == _expected(within)
    assert _counts(first_release, first_release.person(WORKER)) == _expected({OWN})
    assert _counts(first_release, first_release.person(WORKER, f"community_{OTHER}")) == _expected({OWN, OTHER})


def test_the_cache_keeps_places_apart(first_release: Server) -> None:
    """The district's figures are cached first; the worker must not get them."""
    for client, places in ((first_release.person("district"), {*PLACES, None}), (first_release.person(WORKER), {OWN})):
        for _ in range(2):
            rows = _rows(first_release, client, "未结束风险提示")
            assert sum(rows[0][f"open_level_{level}"] for level in (1, 2, 3, 4)) == len(_of(places, OPEN))


@pytest.mark.parametrize("slug", ["operations", "operations-en"])
def test_the_choices_of_the_filters_are_of_the_place(first_release: Server, slug: str) -> None:
    worker = first_release.person(WORKER)
    ((dashboard,),) = first_release.query("select id from dashboards where slug = ?", slug)
    suffix = "_en" if slug.endswith("-en") else ""
    offered = {}
    for declared in DASHBOARD["metadata"]["native_filter_configuration"]:
        column = declared["targets"][0]["column"]["name"]
        table = ("operations_community" if column in ("community", "subdistrict") else "operations_warning") + suffix
        ((dataset,),) = first_release.query("select id from tables where table_name = ?", table)
        form = {"type": "NATIVE_FILTER", "native_filter_id": declared["id"], "dashboardId": dashboard, "viz_type": "filter_select"}
        body = {
            "datasource": {"id": dataset, "type": "table"},
            "queries": [{"columns": [column], "metrics": [], "filters": [], "row_limit": 1000, "orderby": [[column, True]]}],
            "form_data": form,
            "result_format": "json",
            "result_type": "full",
        }
        answer = _ask(worker, body)
        assert answer.status_code == 200, answer.text[:500]
        offered[column] = {row[column] for row in answer.json()["result"][0]["data"]}
    own = PLACES[OWN]
    assert offered["community"] == {own["name_en" if suffix else "name_zh"]}
    assert len(offered["subdistrict"]) == 1
    rules = {w["rule_en" if suffix else "rule_zh"] for w in _of({OWN}, WARNINGS) if w["is_open"] or w["raised_date"] >= make_marts.DAYS[0]}
    assert offered["rule"] == rules


Change = Callable[[dict[str, Any]], None]
QUOTING = "error(evidence)"  # DuckDB would quote a row in its error
REFUSED: dict[str, Change] = {
    "a condition of one's own": lambda b: b["queries"][0].update(extras={"where": f"{QUOTING} is null", "having": ""}),
    "a column of one's own": lambda b: b["queries"][0].update(
        columns=[{"label": "x", "sqlExpression": QUOTING, "expressionType": "SQL"}], orderby=[]
    ),
    "a column that the chart does not show": lambda b: b["queries"][0].update(columns=["warning_id"], orderby=[]),
    "a filter on a column that is no filter": lambda b: b["queries"][0]["filters"].append(
        {"col": "community_id", "op": "IN", "val": [OTHER]}
    ),
    "samples": lambda b: b.update(result_type="samples"),
    "drill to detail": lambda b: b.update(result_type="drill_detail"),
    "the SQL text": lambda b: b.update(result_type="query"),
    "without a dashboard": lambda b: b["form_data"].pop("dashboardId"),
    "without a chart": lambda b: b["form_data"].pop("slice_id"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("role", [WORKER, "district"])
def test_anything_but_the_saved_chart_is_refused(first_release: Server, role: str, name: str) -> None:
    person = first_release.person(role)
    body = first_release.chart_request(LIST, slug="operations", month=None)
    assert _ask(person, body).status_code == 200, "the unchanged request must be answered"
    REFUSED[name](body)
    answer = _ask(person, body)
    assert answer.status_code in (400, 403), answer.text[:500]
    assert "result" not in answer.json() and "sql" not in answer.text.lower()
    quoted = json.dumps(answer.json(), ensure_ascii=False)
    assert [w["warning_id"] for w in WARNINGS if w["evidence_zh"] in quoted] == []


def test_a_filter_for_another_community_finds_nothing(first_release: Server) -> None:
    body = first_release.chart_request(LIST, slug="operations", month=None)
    body["queries"][0]["filters"].append({"col": "community", "op": "IN", "val": [PLACES[OTHER]["name_zh"]]})
    assert _ask(first_release.person("district"), body).json()["result"][0]["data"]
    assert _ask(first_release.person(WORKER), body).json()["result"][0]["data"] == []


def test_no_other_way_to_the_data_for_a_worker(first_release: Server) -> None:
    worker = first_release.person(WORKER)
    token = first_release.admin().get("/api/v1/security/csrf_token/")
    assert token.status_code == 200
    own = worker.get("/api/v1/security/csrf_token/")
    worker.headers["X-CSRFToken"] = own.json()["result"] if own.status_code == 200 else ""
    ((warehouse,),) = first_release.query("select id from dbs where sqlalchemy_uri like '%marts%'")
    datasets = [key for (key,) in first_release.query("select id from tables")]
    asked = [
        worker.post("/api/v1/sqllab/execute/", json={"database_id": warehouse, "sql": "select * from mart.fct_warning"}),
        worker.post("/api/v1/sqllab/estimate/", json={"database_id": warehouse, "sql": "select 1"}),
        worker.get("/sqllab/"),
        worker.get("/explore/?slice_id=1"),
        worker.get(f"/api/v1/database/{warehouse}"),
        worker.get("/api/v1/rowlevelsecurity/"),
        worker.get("/api/v1/security/users/"),
        worker.get("/api/v1/security/roles/"),
        worker.post("/api/v1/dataset/", json={"database": warehouse, "table_name": "fct_warning", "schema": "mart"}),
        worker.get("/api/v1/assets/export/"),
    ]
    for key in datasets:
        asked.append(worker.get(f"/api/v1/dataset/{key}"))
        asked.append(worker.get(f"/api/v1/datasource/table/{key}/column/community/values/"))
        asked.append(worker.post(f"/datasource/samples?datasource_type=table&datasource_id={key}", json={}))
        query = {"columns": ["community_id"], "metrics": [], "filters": [], "row_limit": 10}
        body = {"datasource": {"id": key, "type": "table"}, "queries": [query], "form_data": {}, "result_type": "full"}
        asked.append(_ask(worker, {**body, "result_format": "json"}))
    for answer in asked:
        page = answer.request.url
        assert answer.status_code in (302, 400, 401, 403, 404), f"{answer.status_code} {page}: {answer.text[:200]}"
        assert "warning_id" not in answer.text and "result" not in (answer.json() if "json" in answer.headers["content-type"] else {})
    del worker.headers["X-CSRFToken"]
    listed = worker.get("/api/v1/dashboard/").json()["result"]
    assert {row["slug"] for row in listed} <= {"operations", "operations-en", "transparency", "transparency-en"}


def test_whoever_builds_charts_without_a_place_sees_no_row(first_release: Server) -> None:
    """Alpha may read every dataset of Superset: the rule for everybody else must hold there too."""
    stranger, analyst = first_release.person("Alpha"), first_release.person("district_analyst")
    for table in ("operations_warning", "operations_device", "fct_community_month"):
        ((dataset,),) = first_release.query("select id from tables where table_name = ?", table)
        body = {
            "datasource": {"id": dataset, "type": "table"},
            "queries": [{"columns": ["community_id"], "metrics": [], "filters": [], "row_limit": 10}],
            "form_data": {},
            "result_format": "json",
            "result_type": "full",
        }
        seen = _ask(analyst, body)
        assert seen.status_code == 200 and seen.json()["result"][0]["data"]
        assert _ask(stranger, body).json()["result"][0]["data"] == []


def test_nothing_made_in_the_browser_reaches_a_place(first_release: Server) -> None:
    """A dataset that a person made carries no rule by place; put on a dashboard for everyone, it still shows a worker nothing."""
    admin = first_release.admin()
    ((warehouse,),) = first_release.query("select id from dbs where sqlalchemy_uri like '%marts%'")
    made = admin.post(
        "/api/v1/dataset/",
        json={"database": warehouse, "schema": "mart", "table_name": "own", "sql": "select warning_id, community_id from mart.fct_warning"},
    )
    assert made.status_code == 201, made.text
    params = '{"viz_type": "table", "query_mode": "raw", "all_columns": ["warning_id"], "adhoc_filters": [], "row_limit": 10}'
    role = [first_release.query("select id from ab_role where name like ? || ' %'", WORKER)[0][0]]
    role.append(first_release.query("select id from ab_role where name = 'district'")[0][0])
    dashboard = admin.post("/api/v1/dashboard/", json={"dashboard_title": "自建", "slug": "own", "published": True, "roles": role})
    chart = admin.post(
        "/api/v1/chart/",
        json={
            "slice_name": "自建图",
            "viz_type": "table",
            "datasource_id": made.json()["id"],
            "datasource_type": "table",
            "params": params,
            "dashboards": [dashboard.json()["id"]],
        },
    )
    try:
        body = first_release.chart_request("自建图", slug="own", month=None)
        assert _ask(first_release.person("district"), body).status_code == 200
        refused = _ask(first_release.person(WORKER), body)
        assert refused.status_code in (400, 403) and "w0" not in refused.text
    finally:
        admin.delete(f"/api/v1/chart/{chart.json()['id']}")
        admin.delete(f"/api/v1/dashboard/{dashboard.json()['id']}")
        admin.delete(f"/api/v1/dataset/{made.json()['id']}")


def test_a_visitor_gets_nothing_of_it(first_release: Server) -> None:
    with httpx.Client(base_url=first_release.url, timeout=60) as visitor:
        for title in TITLES:
            body = first_release.chart_request(title, slug="operations", month=None)
            public = first_release.chart_request("全区主要指标")["form_data"]
            for form_data in (body["form_data"], public, {**body["form_data"], "dashboardId": public["dashboardId"]}):
                answer = _ask(visitor, {**body, "form_data": form_data})
                assert answer.status_code in (400, 403) and "result" not in answer.json(), title
        for slug in ("operations", "operations-en"):
            assert "/login" in visitor.get(f"/superset/dashboard/{slug}/").headers.get("location", "")
            for part in ("", "/charts", "/datasets", "/tabs"):
                assert visitor.get(f"/api/v1/dashboard/{slug}{part}").status_code in (401, 403, 404)
