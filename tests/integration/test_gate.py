"""The gate over small DuckDB files: a whole build passes, and each critical expectation refuses when its rule is broken."""

from __future__ import annotations

import dataclasses
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from expectations import data_docs, gate
from expectations.gate import Verdict, judge_batches, judge_candidate
from expectations.suites_reader import read_suites

pytestmark = pytest.mark.integration

# Region, birth date and check character are right (worked out with the weights of GB 11643).
IDENTITY_NUMBER = "440304199001010011"
MOBILE = "13800138000"
# An enterprise code (GB 32100) that also reads as an identity number: both check characters are right.
DOUBLE_CODE = "913201199001010258"
NEWEST_LOAD = "20260930T160000Z-0123456789ab"

MARTS = """
create schema mart; create schema governance; create schema quality;
create table mart.dim_subdistrict as select '440304001' as subdistrict_id, '园岭街道' as name_zh;
create table mart.dim_community as
  select '44030400100' || i as community_id, '440304001' as subdistrict_id, '社区' || i as name_zh, true as is_current,
    date '2018-01-01' as valid_from, '[[114.05,22.53],[114.13912345678,22.54]]' as polygon_json from range(3) t(i)
  union all select '440304001000', '440304001', '旧名', false, date '2017-01-01', null;
create table mart.dim_department as select 'water' as department_id, '水务局' as name_zh;
create table mart.dim_incident_type as
  select * from (values ('A01', 'security'), ('B01', 'emergency'), ('C01', 'safety'), ('D01', 'environment'))
    t(incident_type_id, category_id);
create table mart.dim_device as select 'WL-001' as device_id, '笋岗路口' as location_zh;
create table mart.dim_date as select cast(day as date) as date_day
  from range(date '2026-08-01', date '2026-11-01', interval 1 day) t(day);
create table mart.fct_incident as
  select 'grid_management:GE' || lpad(cast(i as varchar), 10, '0') as incident_id, 'grid_management' as "system",
    ['A01', 'B01', 'C01', 'D01'][i % 4 + 1] as incident_type_id, '440304001000' as community_id,
    case when i < 500 then '2026-08' else '2026-09' end as occurred_month, 'closed' as status, '001' as grid_code
  from range(1000) t(i);
create table mart.fct_incident_report as
  select incident_id as report_id, incident_id, "system", incident_type_id, occurred_month, true as is_first from mart.fct_incident;
create table mart.fct_correction (correction_id varchar, rule varchar, "system" varchar);
create table mart.fct_ground_hazard as select 'ground_collapse:TX20260001' as hazard_id, 3 as grade;
create table mart.fct_settlement as select 'CJ-01' as point_id, date '2026-09-01' as measured_date;
create table mart.fct_sensor_alarm as select 'fire_detection:FA00000001' as alarm_id, 'YG-0001' as device_id;
create table mart.fct_device_day as select 'WL-001' as device_id, date '2026-09-01' as day_date, false as is_silent;
create table mart.fct_warning as select 'aghbc' as warning_id, 'device_silent' as rule_id, '自 2026-09-01 08:00 起无读数' as evidence_zh;
create table mart.fct_sensor_hour as
  select 'WL-001' as device_id, 'water_level_m' as measure_id, hour_at, cast(hour_at as date) as hour_date, 0.1 as value_mean
  from range(timestamp '2026-09-01', timestamp '2026-09-05', interval 1 hour) t(hour_at);
create table mart.fct_enterprise_month as
  select * from (values ('91440300MA5ABCDE12', '2026-08'), ('914403001922038216', '2026-08')) t(enterprise_id, filing_month);
create table mart.fct_community_month as select '440304001000' as community_id, '2026-09' as "month", 12 as incident_count;
create table governance.system as select 'grid_management' as "system", '网格管理系统' as name_zh;
create table governance.data_dictionary as select * from (values
  ('grid_management', 'grid_event', 'status', 'status', 'none', '有条件'),
  ('grid_management', 'grid_event', 'reporter_name', 'reporterName', 'personal', '有条件'),
  ('grid_management', 'grid_event', 'grid_code', 'gridCode', 'none', '有条件'),
  ('grid_management', 'resident', 'grid_code', 'gridCode', 'personal', '不予'),
  ('grid_management', 'resident', 'gender', 'gender', 'personal', '不予'),
  ('tax_filing', 'filing', 'revenue_yuan', '申报收入(元)', 'none', '不予'))
  t("system", entity, column_name, source_name, pi_class, opening);
create table governance.release as select '2026-09-30T1600Z-0123456789ab' as release_id;
create table governance.publication_approval (release_id varchar, "month" varchar);
create table quality.load_ledger as
  select 'grid_management' as "system", 'grid_event' as entity,
    strftime(until_at, '%Y%m%dT%H%M%SZ') || '-0123456789ab' as load_id,
    case when i = 0 then null else until_at - interval 1 day end as window_since, until_at as window_until,
    case when i = 0 then 150000 else 200 + i end as landed_count
  from (select i, timestamp '2026-09-20 16:00:00' + to_days(cast(i as int)) as until_at from range(11) t(i));
create table quality.reconciliation as
  select "system", entity, load_id, landed_count, landed_count - 1 as staged_count, 1 as quarantined_count, 0 as superseded_count,
    0 as difference_count from quality.load_ledger;
create table quality.freshness as
  select 'grid_management' as "system", 'grid_event' as entity, timestamp '2026-09-30 16:00:00' as window_until,
    60 as lag_minutes, 180 as allowed_minutes, false as is_late;
create table quality.drift ("system" varchar, entity varchar, load_id varchar, column_name varchar, change varchar);
create table quality.quarantine_summary ("system" varchar, entity varchar, "day" date, broken_rule varchar, row_count bigint);
create table quality.unmapped_code ("system" varchar, code_kind varchar, source_code varchar, record_count bigint);
"""

OPEN_DATA = """
create schema open_data; use open_data.open_data;
create table about as select '2026-09' as latest_month, true as is_demo;
create table community as select '44030400100' || i as community_id, '440304001' as subdistrict_id from range(3) t(i);
create table community_month as
  with areas as (
    select 'district' as area_level, '440304' as area_id, null as subdistrict_id
    union all select 'subdistrict', '440304001', '440304001'
    union all select 'community', '44030400100' || i, '440304001' from range(3) t(i)
  ), cells as (
    select m as "month", areas.*, category_id
    from areas cross join (values ('2026-08'), ('2026-09')) months(m)
    cross join (values ('security'), ('emergency'), ('safety'), ('environment'), ('all')) categories(category_id)
  ), status as (
    select *, case when area_level = 'community' and category_id in ('security', 'all') and area_id < '440304001002'
      then 'withheld' else 'shown' end as cell_status from cells
  )
  select *, case when cell_status = 'shown' then 20 end as incident_count,
    case when cell_status = 'shown' then 2.5 end as incidents_per_10k,
    case when cell_status = 'shown' and "month" = '2026-09' then 20 end as previous_month_count,
    cast(null as int) as previous_year_count, cast(null as double) as change_on_month_pct,
    cast(null as double) as change_on_year_pct, cast(null as int) as like_rank
  from status;
create table waterlogging_month as select '2026-09' as "month", 'WL-001' as device_id;
create table freshness as select 'grid_management' as "system", '网格管理系统' as name_zh;
"""

WAREHOUSE = """
create schema staging;
create table staging.stg_waterlogging__water_level as
  select cast(moment as date) as _day, 0.1 + 0.01 * (epoch(moment) % 7) as water_level_m
  from range(timestamp '2026-08-01', timestamp '2026-10-01', interval 20 minute) t(moment);
create table staging.stg_tax_filing__filing as
  select month as filing_month, 1000.0 + i as revenue_yuan from range(200) t(i), (values ('2026-07'), ('2026-08')) months(month);
"""


def make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, sql in (("marts", MARTS), ("open_data", OPEN_DATA), ("warehouse", WAREHOUSE)):
        with duckdb.connect(str(folder / f"{name}.duckdb")) as connection:
            connection.execute(sql)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("gate") / "2026-09-30T1600Z-0123456789ab")


def broken(whole: Path, tmp_path: Path, database: str, sql: str) -> Path:
    folder = tmp_path / whole.name
    shutil.copytree(whole, folder)
    with duckdb.connect(str(folder / f"{database}.duckdb")) as connection:
        connection.execute(sql)
    return folder


def failed(verdict: Verdict) -> set[str]:
    return {f"{each.suite}/{each.expectation}" for each in verdict.failed()}


def test_a_whole_candidate_passes(whole: Path) -> None:
    verdict = judge_candidate(whole, None)
    assert failed(verdict) == set()
    assert not verdict.refused
    assert verdict.paragraph().startswith("候选发布（candidate-2026-09-30T1600Z-0123456789ab）通过")
    assert len(verdict.findings) > 80


def test_whole_batches_pass(whole: Path) -> None:
    verdict = judge_batches(whole, None)
    assert failed(verdict) == set()
    assert not verdict.refused
    assert verdict.run == "batches-2026-09-30T1600Z"


def test_the_files_are_free_after_judging(whole: Path, tmp_path: Path) -> None:
    folder = broken(whole, tmp_path, "marts", "select 1")
    judge_candidate(folder, None)
    for database in ("marts", "open_data"):
        with duckdb.connect(str(folder / f"{database}.duckdb")) as connection:
            connection.execute("create schema later")


CRITICAL_OF_CANDIDATE = {
    # expectation: (database, what breaks it, what the sentence must name)
    "interface/table_is_there": ("marts", "drop table mart.fct_incident", ["mart.fct_incident", "缺少表"]),
    "interface/table_is_there in open data": ("open_data", "drop table open_data.open_data.freshness", ["open_data.freshness"]),
    "interface/key_is_unique": (
        "marts",
        "insert into mart.fct_incident select * from mart.fct_incident limit 2",
        ["mart.fct_incident", "incident_id", "2"],
    ),
    "interface/key_is_whole": ("marts", "update mart.dim_device set device_id = null", ["mart.dim_device", "device_id"]),
    "interface/table_is_not_empty": ("marts", "delete from mart.dim_department", ["mart.dim_department", "为空"]),
    "interface/table_has_one_row": (
        "open_data",
        "insert into open_data.open_data.about select * from open_data.open_data.about",
        ["open_data.about", "一行"],
    ),
    "reconciliation/nothing_is_lost_or_counted_twice": (
        "marts",
        f"update quality.reconciliation set staged_count = staged_count - 3, difference_count = 3 where load_id = '{NEWEST_LOAD}'",
        ["grid_management/grid_event", NEWEST_LOAD, "(3)"],
    ),
    "reconciliation/difference_is_counted": (
        "marts",
        f"update quality.reconciliation set difference_count = null where load_id = '{NEWEST_LOAD}'",
        [NEWEST_LOAD],
    ),
    "reconciliation/difference_is_that_of_the_counts": (
        "marts",
        f"update quality.reconciliation set staged_count = staged_count - 3 where load_id = '{NEWEST_LOAD}'",
        [NEWEST_LOAD, "差额"],
    ),
    "reconciliation/every_load_is_reconciled": (
        "marts",
        f"delete from quality.reconciliation where load_id = '{NEWEST_LOAD}'",
        [NEWEST_LOAD, "未对账"],
    ),
    "privacy/no_forbidden_column_name": (
        "marts",
        "alter table mart.fct_incident add column Phone varchar",
        ["mart.fct_incident.phone"],
    ),
    "privacy/no_forbidden_column_name in open data": (
        "open_data",
        "alter table open_data.open_data.community add column person_id varchar",
        ["open_data.community.person_id"],
    ),
    "privacy/no_column_classed_personal": (
        "marts",
        "alter table mart.fct_incident add column reporter_name varchar",
        ["mart.fct_incident.reporter_name"],
    ),
    "privacy/no_column_classed_personal by the department's own name": (
        "open_data",
        "alter table open_data.open_data.community add column reporterName varchar",
        ["open_data.community.reportername"],
    ),
    "privacy/no_column_closed_to_the_public": (
        "open_data",
        "alter table open_data.open_data.community add column revenue_yuan double",
        ["open_data.community.revenue_yuan", "不予开放"],
    ),
    "privacy/every_column_is_classed": (
        "marts",
        "update governance.data_dictionary set pi_class = 'harmless' where column_name = 'status'",
        ["grid_management/grid_event.status"],
    ),
    "privacy/no_class_is_empty": (
        "marts",
        "update governance.data_dictionary set pi_class = null where column_name = 'revenue_yuan'",
        ["tax_filing/filing.revenue_yuan"],
    ),
    "privacy/no_identity_number": (
        "marts",
        f"update mart.dim_device set location_zh = '联系人{IDENTITY_NUMBER}张某'",
        ["mart.dim_device", "location_zh", "身份证号"],
    ),
    "privacy/no_identity_number in a nested column": (
        "open_data",
        f"alter table open_data.open_data.about add column notes varchar[] default ['x', '{IDENTITY_NUMBER}']",
        ["open_data.about", "notes"],
    ),
    "privacy/no_identity_number in whole numbers": (
        "marts",
        f"alter table mart.fct_incident add column reporter_code bigint default {IDENTITY_NUMBER}",
        ["mart.fct_incident", "reporter_code"],
    ),
    "privacy/no_identity_number that is an enterprise code elsewhere": (
        "marts",
        f"update mart.dim_device set location_zh = '{DOUBLE_CODE}'",
        ["mart.dim_device", "location_zh"],
    ),
    "privacy/no_identity_number in shareback": (
        "marts",
        f"create schema shareback; create table shareback.record as select '{IDENTITY_NUMBER}' as record_code",
        ["shareback.record", "record_code"],
    ),
    "privacy/no_mobile_number": (
        "open_data",
        f"update open_data.open_data.freshness set name_zh = '网格（{MOBILE}）'",
        ["open_data.freshness", "name_zh", "手机号"],
    ),
    "privacy/only_schema_open_data": (
        "open_data",
        "create schema mart; create table mart.fct_incident as select 1 as incident_id",
        ["mart.fct_incident"],
    ),
    "privacy/only_listed_tables": (
        "open_data",
        "create table open_data.open_data.survey as select 1 as answer",
        ["open_data.survey", "interface.yml"],
    ),
    "privacy/no_views": (
        "open_data",
        "use open_data.open_data; alter table about rename to about_base; create view about as select * from about_base",
        ["open_data.about", "视图"],
    ),
    "disclosure/status_is_known": (
        "open_data",
        "update open_data.open_data.community_month set cell_status = 'hidden', incident_count = null where cell_status = 'withheld'",
        ["状态"],
    ),
    "disclosure/status_is_not_empty": (
        "open_data",
        "update open_data.open_data.community_month set cell_status = null where cell_status = 'withheld'",
        ["没有状态"],
    ),
    "disclosure/figures_only_where_shown": (
        "open_data",
        "update open_data.open_data.community_month set incident_count = 3 where cell_status = 'withheld' and \"month\" = '2026-09'"
        " and area_id = '440304001000' and category_id = 'security'",
        ["2026-09 community 440304001000 security"],
    ),
    "disclosure/figures_only_where_shown as a rate": (
        "open_data",
        "update open_data.open_data.community_month set incidents_per_10k = 1.5 where cell_status = 'withheld'",
        ["2026-08 community 440304001000 all"],
    ),
    "disclosure/shown_cells_have_a_count": (
        "open_data",
        "update open_data.open_data.community_month set incident_count = null where area_level = 'district'",
        ["10"],
    ),
    "disclosure/no_police_cases": (
        "open_data",
        "insert into open_data.open_data.community_month by name select * replace ('police_case' as category_id)"
        " from open_data.open_data.community_month where area_level = 'district' and category_id = 'safety'",
        ["police_case", "警情"],
    ),
    "disclosure/earlier_counts_only_where_shown_then": (
        "open_data",
        "update open_data.open_data.community_month set previous_month_count = 4 where cell_status = 'withheld'"
        " and \"month\" = '2026-09' and area_id = '440304001001' and category_id = 'security'",
        ["2026-09 community 440304001001 security"],
    ),
    "disclosure/total_only_where_all_parts_are_shown": (
        "open_data",
        "update open_data.open_data.community_month set cell_status = 'shown', incident_count = 60"
        " where category_id = 'all' and area_id = '440304001000'",
        ["2026-09 community 440304001000", "合计"],
    ),
    "disclosure/no_single_withheld_part_of_a_shown_area": (
        "open_data",
        "update open_data.open_data.community_month set cell_status = 'shown', incident_count = 12"
        " where category_id = 'security' and area_id = '440304001001'",
        ["2026-09 440304001 security", "次级隐藏"],
    ),
}

CRITICAL_OF_BATCHES = {
    "volume/landed_count_is_known": (
        f"update quality.load_ledger set landed_count = -1 where load_id = '{NEWEST_LOAD}'",
        ["grid_management/grid_event", NEWEST_LOAD],
    ),
    "volume/landed_count_is_not_null": (
        f"update quality.load_ledger set landed_count = null where load_id = '{NEWEST_LOAD}'",
        [NEWEST_LOAD],
    ),
    "freshness/systems_are_on_time": (
        "update quality.freshness set is_late = true, lag_minutes = 4000",
        ["grid_management/grid_event", "4000/180", "systems_down.yml"],
    ),
    "freshness/something_was_loaded": ("delete from quality.freshness", ["时效表为空"]),
    "quarantine/quarantined_share_is_bearable": (
        f"update quality.reconciliation set quarantined_count = 60, staged_count = 150 where load_id = '{NEWEST_LOAD}'",
        ["grid_management/grid_event", "28.6 %", "make quarantine"],
    ),
    "drift/required_columns_arrive": (
        f"insert into quality.drift values ('grid_management', 'grid_event', '{NEWEST_LOAD}', 'occurredAt', 'missing')",
        ["grid_management/grid_event.occurredAt", "make generate"],
    ),
    "reconciliation/nothing_is_lost_or_counted_twice": (
        f"update quality.reconciliation set superseded_count = 1, difference_count = -1 where load_id = '{NEWEST_LOAD}'",
        [NEWEST_LOAD, "(-1)"],
    ),
}

WARNINGS_OF_BATCHES = {
    "volume/newest_day_is_of_usual_size": (
        "marts",
        f"update quality.load_ledger set landed_count = 5000 where load_id = '{NEWEST_LOAD}';"
        f"update quality.reconciliation set landed_count = 5000, staged_count = 4999 where load_id = '{NEWEST_LOAD}'",
        "grid_management/grid_event 2026-10-01 (5000, ~205)",
    ),
    "quarantine/quarantined_share_is_low": (
        "marts",
        f"update quality.reconciliation set quarantined_count = 10, staged_count = 200 where load_id = '{NEWEST_LOAD}'",
        "grid_management/grid_event (4.8 %)",
    ),
    "drift/no_column_is_added": (
        "marts",
        f"insert into quality.drift values ('grid_management', 'grid_event', '{NEWEST_LOAD}', 'weather', 'added')",
        "grid_management/grid_event.weather",
    ),
    "drift/no_optional_column_is_missing": (
        "marts",
        f"insert into quality.drift values ('grid_management', 'grid_event', '{NEWEST_LOAD}', 'closedAt', 'missing')",
        "grid_management/grid_event.closedAt",
    ),
    "distribution/incident_categories_are_stable": (
        "marts",
        "update mart.fct_incident set incident_type_id = 'A01' where occurred_month = '2026-09'",
        "2026-08 → 2026-09: 0.75",
    ),
    "distribution/mean_water_level_is_stable": (
        "warehouse",
        "update staging.stg_waterlogging__water_level set water_level_m = water_level_m + 1 where _day >= date '2026-09-01'",
        " m",
    ),
    "distribution/median_revenue_is_stable": (
        "warehouse",
        "update staging.stg_tax_filing__filing set revenue_yuan = revenue_yuan / 10000 where filing_month = '2026-08'",
        "2026-07 → 2026-08: x 0.0",
    ),
}


@pytest.fixture
def one_suite(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge by the suite of the case alone, to be quick; the list of tables stays."""
    name = request.getfixturevalue("case").split("/")[0]
    suites = tuple(
        suite if suite.name == name else dataclasses.replace(suite, entries=())
        for suite in read_suites()
        if suite.name in (name, "interface")
    )
    monkeypatch.setattr(gate, "read_suites", lambda: suites)


def assert_refused_for(verdict: Verdict, case: str, names: list[str]) -> None:
    expectation = case.split(" ")[0]
    assert verdict.refused
    assert expectation in {f"{each.suite}/{each.expectation}" for each in verdict.failed("critical")}
    paragraph = verdict.paragraph()
    assert "拒绝" in paragraph and "refused" in paragraph and "处理：" in paragraph and "Next: " in paragraph
    for name in names:
        assert name in paragraph


@pytest.mark.usefixtures("one_suite")
@pytest.mark.parametrize("case", CRITICAL_OF_CANDIDATE)
def test_a_broken_candidate_is_refused(case: str, whole: Path, tmp_path: Path) -> None:
    database, sql, names = CRITICAL_OF_CANDIDATE[case]
    verdict = judge_candidate(broken(whole, tmp_path, database, sql), None)
    assert_refused_for(verdict, case, names)
    assert not [each for each in verdict.failed() if "could not be judged" in each.observed]
    text = verdict.paragraph() + "".join(each.observed for each in verdict.findings)
    assert IDENTITY_NUMBER not in text and MOBILE not in text


@pytest.mark.usefixtures("one_suite")
@pytest.mark.parametrize("case", CRITICAL_OF_BATCHES)
def test_broken_batches_are_refused(case: str, whole: Path, tmp_path: Path) -> None:
    sql, names = CRITICAL_OF_BATCHES[case]
    assert_refused_for(judge_batches(broken(whole, tmp_path, "marts", sql), None), case, names)


@pytest.mark.parametrize("case", WARNINGS_OF_BATCHES)
def test_unusual_batches_are_flagged_and_pass(case: str, whole: Path, tmp_path: Path) -> None:
    database, sql, name = WARNINGS_OF_BATCHES[case]
    verdict = judge_batches(broken(whole, tmp_path, database, sql), None)
    assert failed(verdict) == {case}
    assert not verdict.refused
    assert name in verdict.paragraph()


def test_every_critical_expectation_has_a_case() -> None:
    tried = {case.split(" ")[0] for case in (*CRITICAL_OF_CANDIDATE, *CRITICAL_OF_BATCHES)}
    known = {f"{suite.name}/{entry.name}" for suite in read_suites() for entry in suite.entries if entry.severity == "critical"}
    assert tried == known


def test_an_old_drift_says_nothing_about_today(whole: Path, tmp_path: Path) -> None:
    old = "20260922T160000Z-0123456789ab"
    sql = f"insert into quality.drift values ('grid_management', 'grid_event', '{old}', 'occurredAt', 'missing')"
    assert failed(judge_batches(broken(whole, tmp_path, "marts", sql), None)) == set()


def test_a_system_reported_down_does_not_refuse(whole: Path, tmp_path: Path, data: Path) -> None:
    folder = broken(whole, tmp_path, "marts", "update quality.freshness set is_late = true")
    (data / "systems_down.yml").write_text("- {system: grid_management, since: 2026-09-30, until: 2026-10-02}\n")
    verdict = judge_batches(folder, None)
    assert not verdict.refused
    assert failed(verdict) == {"freshness/systems_reported_down"}
    (data / "systems_down.yml").write_text("- {system: grid_management, since: 2026-09-01, until: 2026-09-29}\n")
    assert judge_batches(folder, None).refused


def test_a_month_without_facts_is_a_warning(whole: Path, tmp_path: Path) -> None:
    sql = """
        delete from mart.fct_incident where occurred_month = '2026-09'; delete from mart.fct_sensor_hour;
        delete from mart.fct_enterprise_month; delete from mart.fct_community_month
    """
    verdict = judge_candidate(broken(whole, tmp_path, "marts", sql), None)
    assert not verdict.refused
    assert failed(verdict) == {
        "interface/newest_month_has_incidents",
        "interface/newest_month_has_readings",
        "interface/newest_filing_month_has_filings",
        "interface/newest_month_has_community_figures",
    }
    assert "2026-09" in verdict.paragraph_zh()


def test_an_enterprise_code_in_its_own_column_is_none_of_a_person(whole: Path, tmp_path: Path) -> None:
    sql = f"update mart.fct_enterprise_month set enterprise_id = '{DOUBLE_CODE}' where enterprise_id like '914403001%'"
    assert not judge_candidate(broken(whole, tmp_path, "marts", sql), None).refused
    sql = f"update mart.fct_enterprise_month set enterprise_id = '{IDENTITY_NUMBER}' where enterprise_id like '914403001%'"
    assert judge_candidate(broken(whole, tmp_path / "person", "marts", sql), None).refused


def test_a_name_like_a_forbidden_one_is_a_warning(whole: Path, tmp_path: Path) -> None:
    sql = "alter table mart.fct_incident add column duty_phone varchar"
    verdict = judge_candidate(broken(whole, tmp_path, "marts", sql), None)
    assert failed(verdict) == {"privacy/no_name_like_a_forbidden_one"}
    assert "mart.fct_incident.duty_phone" in verdict.paragraph()


@pytest.mark.parametrize("sql", ["delete from governance.data_dictionary", "alter table governance.data_dictionary drop opening"])
def test_without_a_dictionary_nothing_is_published(sql: str, whole: Path, tmp_path: Path) -> None:
    verdict = judge_candidate(broken(whole, tmp_path, "marts", sql), None)
    assert verdict.refused
    assert "privacy/dictionary_is_readable" in failed(verdict)


def test_missing_and_damaged_files(whole: Path, tmp_path: Path) -> None:
    folder = broken(whole, tmp_path, "marts", "select 1")
    (folder / "open_data.duckdb").unlink()
    verdict = judge_candidate(folder, None)
    assert verdict.refused and "缺少文件 open_data.duckdb" in verdict.paragraph()
    (folder / "open_data.duckdb").write_bytes(b"no database" * 1000)
    verdict = judge_candidate(folder, None)
    assert verdict.refused and "open_data.duckdb 无法读取" in verdict.paragraph()
    (folder / "warehouse.duckdb").unlink()
    assert not judge_batches(folder, None).refused
    (folder / "marts.duckdb").unlink()
    assert judge_batches(folder, None).refused


def test_an_expectation_that_cannot_be_run_refuses_and_quotes_no_value(whole: Path, tmp_path: Path) -> None:
    sql = f"""
        alter table quality.reconciliation alter difference_count type varchar using '{IDENTITY_NUMBER}x';
    """
    docs = tmp_path / "docs"
    verdict = judge_candidate(broken(whole, tmp_path, "marts", sql), docs)
    assert verdict.refused
    assert any("could not be judged" in each.observed for each in verdict.failed("critical"))
    assert IDENTITY_NUMBER not in verdict.paragraph()
    for page in docs.rglob("*"):
        if page.is_file():
            assert IDENTITY_NUMBER not in page.read_text()


LOADS_FROM_ELSEWHERE = re.compile(r"<(?:link|script|img|iframe|source)[^>]*(?:src|href)\s*=|@import|url\(|https?://", re.IGNORECASE)


def test_data_docs_load_nothing_and_link_only_what_is_there(whole: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    sql = f"update mart.dim_device set location_zh = '{IDENTITY_NUMBER}'; alter table mart.fct_incident add column phone varchar"
    verdict = judge_candidate(broken(whole, tmp_path, "marts", sql), docs)
    judge_batches(whole, docs)
    assert verdict.docs == docs / "runs" / "candidate-2026-09-30T1600Z-0123456789ab" / "index.html"
    pages = list(docs.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text()
        assert not LOADS_FROM_ELSEWHERE.search(text), page
        assert IDENTITY_NUMBER not in text
        for link in re.findall(r'<a [^>]*href="([^"#][^"]*)"', text):
            assert (page.parent / link).exists(), (page, link)
    assert "拒绝 Refused" in verdict.docs.read_text()
    assert "拒绝 refused" in (docs / "index.html").read_text()


def test_data_docs_are_the_same_when_judged_again_and_end_after_30_runs(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = tmp_path / "docs"

    def contents() -> dict[str, str]:
        return {str(page.relative_to(docs)): page.read_text() for page in docs.rglob("*") if page.is_file()}

    judge_batches(whole, docs)
    first = contents()
    judge_batches(whole, docs)
    assert contents() == first
    monkeypatch.setattr(data_docs, "RUNS_KEPT", 2)
    for name in ("a", "b", "c"):
        data_docs.write_run(docs, Verdict("candidate", f"candidate-{name}"), [], [], datetime(2026, 10, 1, tzinfo=UTC))
    assert sorted(folder.name for folder in (docs / "runs").iterdir()) == ["candidate-b", "candidate-c"]
    assert "candidate-b" in (docs / "index.html").read_text() and "batches" not in (docs / "index.html").read_text()


def test_the_command_says_why_and_exits_1(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.main(["--batches", str(whole)]) == 0
    assert gate.main(["--candidate", str(whole), "--docs", str(tmp_path / "docs")]) == 0
    folder = broken(whole, tmp_path, "marts", "delete from mart.dim_department")
    assert gate.main(["--candidate", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert "✘ 关键 critical  interface/table_is_not_empty  mart.dim_department" in printed
    assert "被拒绝" in printed and "refused" in printed


def test_a_file_that_is_being_written_is_no_verdict(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = broken(whole, tmp_path, "marts", "select 1")
    with duckdb.connect(str(folder / "marts.duckdb")):
        assert gate.main(["--candidate", str(folder)]) == 2
    assert "a writer has this file open" in capsys.readouterr().err
