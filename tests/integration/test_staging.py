"""Base models on real loads: casts, row rules, superseded versions, the ledger; and a new system without code."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from sources.catalogue import Entity, load_catalogue
from tests.support import build, copy_of_the_project, dbt, land, query

pytestmark = pytest.mark.integration
T1 = datetime(2026, 6, 1, tzinfo=UTC)
T2 = datetime(2026, 6, 2, tzinfo=UTC)
T3 = datetime(2026, 6, 3, tzinfo=UTC)
EVENT = {
    "eventId": "GE0000000001", "typeCode": "A01", "communityCode": "440304001019", "gridCode": "007",
    "occurredAt": "2026-05-31T23:30:00+08:00", "reportedAt": "2026-05-31T15:45:00Z", "status": "reported",
    "updatedAt": "2026-05-31T16:00:00Z",
}  # fmt: skip


@pytest.fixture
def events() -> Entity:
    return load_catalogue()["grid_management"].entity("grid_event")


@pytest.fixture
def levels() -> Entity:
    return load_catalogue()["waterlogging"].entity("water_level")


def event(number: int, **fields: str | None) -> dict[str, str | None]:
    return {**EVENT, "eventId": f"GE{number:010d}", **fields}


def reconciled(data: Path, entity: Entity) -> list[tuple]:
    """(landed, staged, quarantined, superseded) of each load, in order, counted from base and ledger."""
    rows = query(
        data,
        f"""select l.landed_count, coalesce(sum(c.staged_count), 0), coalesce(sum(c.quarantined_count), 0),
            coalesce(sum(c.superseded_count), 0)
        from ledger.{entity.key}__loads as l left join ledger.{entity.key}__counts as c using (load_id)
        group by l.load_id, l.landed_count order by l.load_id""",
    )
    assert all(landed == staged + quarantined + superseded for landed, staged, quarantined, superseded in rows), rows
    return [tuple(int(n) for n in row) for row in rows]


def test_values_rules_versions_and_the_ledger(data: Path, events: Entity) -> None:
    key = events.key
    land(
        events,
        [
            event(1),
            event(2, gridCode="7"),  # lost its leading zeros
            event(3, occurredAt="2026-13-05"),
            event(4, occurredAt="2026-05-31 23:30:00", closedAt="", status="closed"),  # without an offset: Shanghai's time
            event(5, typeCode=None, communityCode="123"),
            event(6), event(6),  # an exact repeat
        ],
        T1,
    )  # fmt: skip
    build(data, f"base_{key}", f"stg_{key}", f"quarantine__{key}")
    rules = dict(query(data, f"select event_id, _broken_rules from base.base_{key} where _broken_rules is not null"))
    assert rules == {
        "GE0000000002": "grid_code:pattern",
        "GE0000000003": "occurred_at:type",
        "GE0000000005": "incident_type_code:required,community_code:pattern",
    }
    times = query(data, f"select event_id, occurred_at, _day, closed_at from staging.stg_{key} order by event_id")
    midnight_half_hour_before = datetime(2026, 5, 31, 15, 30)
    assert times == [(f"GE{n:010d}", midnight_half_hour_before, date(2026, 5, 31), None) for n in (1, 4, 6)]
    assert reconciled(data, events) == [(7, 3, 3, 1)]

    # Day 2: a newer version of 1, an older version of 4 that comes late, the mended 2, and nothing else.
    land(
        events,
        [
            event(1, status="closed", closedAt="2026-06-01T00:00:00Z", updatedAt="2026-06-01T00:00:00Z"),
            event(4, updatedAt="2026-05-30T00:00:00Z"),
            event(2, updatedAt="2026-06-01T01:00:00Z"),
        ],
        T2, T1,
    )  # fmt: skip
    build(data, f"base_{key}", f"stg_{key}", f"quarantine__{key}")
    assert query(data, f"select event_id, status from staging.stg_{key} order by event_id") == [
        ("GE0000000001", "closed"), ("GE0000000002", "reported"), ("GE0000000004", "closed"), ("GE0000000006", "reported"),
    ]  # fmt: skip
    assert query(data, f"select event_id from quarantine.quarantine__{key} order by event_id") == [("GE0000000003",), ("GE0000000005",)]
    # 1's first version and 2's broken one are superseded in load 1; the late version of 4 in load 2
    assert reconciled(data, events) == [(7, 2, 2, 3), (3, 2, 0, 1)]

    # A broken update waits in quarantine beside the whole row, which stays current; its mended form releases it.
    land(events, [event(1, status="closed", closedAt="yesterday", updatedAt="2026-06-02T05:00:00Z")], T3 - timedelta(hours=2), T2)
    build(data, f"base_{key}", f"stg_{key}", f"quarantine__{key}")
    first = f"select status, closed_at from staging.stg_{key} where event_id = 'GE0000000001'"
    assert query(data, first) == [("closed", datetime(2026, 6, 1))]
    assert ("GE0000000001", "closed_at:type") in query(data, f"select event_id, _broken_rules from quarantine.quarantine__{key}")
    mended = event(1, status="closed", closedAt="2026-06-01T08:00:00Z", updatedAt="2026-06-02T05:00:00Z")
    land(events, [mended], T3 - timedelta(hours=1), T3 - timedelta(hours=2))
    build(data, f"base_{key}", f"stg_{key}", f"quarantine__{key}")
    assert query(data, first) == [("closed", datetime(2026, 6, 1, 8))]
    assert query(data, f"select count(*) from quarantine.quarantine__{key} where event_id = 'GE0000000001'") == [(0,)]
    assert reconciled(data, events) == [(7, 2, 2, 3), (3, 1, 0, 2), (1, 0, 0, 1), (1, 1, 0, 0)]

    # A build without news changes nothing; an empty load is taken too.
    before = query(data, f"select * from base.base_{key} order by all")
    land(events, [], T3, T3 - timedelta(hours=1))
    build(data, f"base_{key}")
    assert query(data, f"select * from base.base_{key} order by all") == before
    assert reconciled(data, events)[4] == (0, 0, 0, 0)

    # Full and incremental builds end alike, but for the build's number.
    def state() -> list[tuple]:
        return query(data, f"select * exclude (_build_id) from base.base_{key} order by all")

    incremental = state()
    for path in (data / "build").glob("*.duckdb"):
        path.unlink()
    build(data, f"base_{key}")
    assert state() == incremental
    assert reconciled(data, events) == [(7, 2, 2, 3), (3, 1, 0, 2), (1, 0, 0, 1), (1, 1, 0, 0), (0, 0, 0, 0)]


def test_readings_in_ngsi_ld_late_rows_and_a_rebuild_after_a_change(data: Path, levels: Entity, tmp_path: Path) -> None:
    key = levels.key
    land(
        levels,
        [
            {"refDevice": "a", "dateObserved": "2026-05-31T00:00:00Z", "waterLevel": "1.10"},
            {
                "refDevice": '{"type":"Relationship","object":"b"}', "waterLevel": '{"type":"Property","value":0.5,"unitCode":"MTR"}',
                "dateObserved": '{"type":"Property","value":"2026-05-31T00:05:00Z"}',
            },
            {"refDevice": "a", "dateObserved": "2026-05-31T00:10:00Z", "waterLevel": "110"},  # centimetres
        ],
        T1,
    )  # fmt: skip
    build(data, f"base_{key}", f"stg_{key}")
    assert query(data, f"select device_id, water_level_m from staging.stg_{key} order by 1") == [("a", 1.1), ("b", 0.5)]
    land(
        levels,
        [
            {"refDevice": "a", "dateObserved": "2026-05-31T00:00:00Z", "waterLevel": "1.2"},  # corrected
            {"refDevice": "a", "dateObserved": "2026-05-31T00:10:00Z", "waterLevel": "1.1"},  # mended
            {"refDevice": "a", "dateObserved": "2026-04-01T00:00:00Z", "waterLevel": "1"},  # later than 35 days
            {"refDevice": "a", "dateObserved": "2026-07-01T00:00:00Z", "waterLevel": "1"},  # from the future
        ],
        T2, T1,
    )  # fmt: skip
    build(data, f"base_{key}", f"stg_{key}")
    assert query(data, f"select device_id, water_level_m from staging.stg_{key} order by device_id, observed_at") == [
        ("a", 1.2), ("a", 1.1), ("b", 0.5),
    ]  # fmt: skip
    assert reconciled(data, levels) == [(3, 1, 0, 2), (4, 2, 2, 0)]
    broken = query(data, f"select _broken_rules from base.base_{key} where _broken_rules is not null and not _is_superseded order by 1")
    assert broken == [("observed_at:in_future",), ("observed_at:too_late",)]

    # A changed model is rebuilt from landing: pretend that it was built with other SQL.
    import duckdb

    with duckdb.connect(str(data / "build" / "warehouse.duckdb")) as connection:
        connection.execute("update internal.model_build set fingerprint = 'old'")
        connection.execute(f"delete from base.base_{key}")
    build(data, f"base_{key}", f"stg_{key}")
    assert reconciled(data, levels) == [(3, 1, 0, 2), (4, 2, 2, 0)]


# What is sent -> the day, worked out by hand. Day 46298 of a workbook: 126 years from 1900 on with 31 leap days and Excel's 29 February
# 1900 end with 46022 on 2025-12-31; the 276th day of 2026 is 3 October.
DATES = {
    "2026-10-03": date(2026, 10, 3), "2026-10-3": date(2026, 10, 3), "2026-1-3": date(2026, 1, 3),
    "2026/10/3": date(2026, 10, 3), "2026/10/03": date(2026, 10, 3), "2026.10.3": date(2026, 10, 3),
    "2026年10月3日": date(2026, 10, 3), "2026年10月03日": date(2026, 10, 3), "20261003": date(2026, 10, 3), "46298": date(2026, 10, 3),
    "2026-10-03T00:00:00": date(2026, 10, 3), "2026-10-03 23:59:59": date(2026, 10, 3), "2026-10-03T00:30:00+08:00": date(2026, 10, 3),
    "2026-10-02T16:00:00Z": date(2026, 10, 3),  # midnight in Shanghai
    " 2026-10-03 ": date(2026, 10, 3), "2024-02-29": date(2024, 2, 29), "2024/2/29": date(2024, 2, 29),
    "2026-13-01": None, "2026-02-30": None, "2026/2/30": None, "20261301": None, "2026-10-03x": None, "2026-10/3": None, "2026年10月": None,
    "2026-10": None, "10-03-2026": None, "3/10/2026": None, "03.10.2026": None, "26-10-03": None, "2026103": None, "2026113": None,
    "4629": None, "462980": None, "01003": None, "infinity": None, "去年": None, "2026年10月3号": None, "十月三日": None,
}  # fmt: skip
TIMES = {
    "2026-05-01 08:00:00": datetime(2026, 5, 1), "2026-05-01T08:00:00": datetime(2026, 5, 1),
    "2026-05-01 08:00:00+08": datetime(2026, 5, 1), "2026-05-01 08:00:00.25+08": datetime(2026, 5, 1, 0, 0, 0, 250000),
    "2026-05-01T08:00:00+08:00": datetime(2026, 5, 1), "2026-05-01 00:00:00+00": datetime(2026, 5, 1),
    "2026-05-01 05:30:00+05:30": datetime(2026, 5, 1), "2026-04-30 19:00:00-05": datetime(2026, 5, 1),
    "2026-05-01T00:00:00Z": datetime(2026, 5, 1), "2026-05-01": datetime(2026, 4, 30, 16),
    "2026-13-01 08:00:00+08": None, "2026-05-01 25:00:00": None, "+08": None, "早上八点": None,
}  # fmt: skip


def test_every_form_of_a_date_and_of_a_time(data: Path) -> None:
    systems = load_catalogue()
    collapses, dispatches = systems["ground_collapse"].entity("collapse"), systems["police_dispatch"].entity("dispatch")
    land(
        collapses,
        [{"事故编号": f"TX{number:08d}", "处置|完成日期": sent} for number, sent in enumerate(DATES)],
        datetime(2026, 11, 1, tzinfo=UTC),
    )
    land(dispatches, [{"jjd_bh": f"PD{number:010d}", "dd_sj": sent} for number, sent in enumerate(TIMES)], T1)
    build(data, f"base_{collapses.key}", f"base_{dispatches.key}")
    for entity, key, column, expected in (
        (collapses, "collapse_code", "mitigated_date", DATES),
        (dispatches, "dispatch_id", "arrived_at", TIMES),
    ):
        found = query(data, f"select {column}, contains(_broken_rules, '{column}:type') from base.base_{entity.key} order by {key}")
        assert dict(zip(expected, found, strict=True)) == {sent: (value, value is None) for sent, value in expected.items()}


NEW_SYSTEM = """\
apiVersion: v3.1.0
kind: DataContract
id: lift_safety
name: 电梯安全
version: 1.0.0
status: active
tenant: 市场监管
domain: sensor
description: {purpose: Lift faults, limitations: none}
tags: [en:Lift safety]
servers:
- {server: export, type: custom, format: ndjson, customProperties: [{property: delivery, value: files}]}
slaProperties: [{property: frequency, value: 1, unit: d}, {property: latency, value: 1, unit: d}]
schema:
- name: fault
  businessName: 故障
  physicalName: fault_*.ndjson
  description: One fault of one lift
  properties:
  - {name: fault_id, physicalName: id, businessName: 编号, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
  - {name: trapped_count, physicalName: trapped, businessName: 被困人数, logicalType: integer, logicalTypeOptions: {minimum: 0}}
  customProperties:
  - {property: typed_by_community, value: false}
  - property: default_class
    value: {data_level: 一般, pi_class: none, sharing: 无条件, opening: 无条件, purpose: 电梯安全, retention: P5Y}
"""


def test_a_system_of_a_known_delivery_is_one_file_and_no_code(tmp_path: Path, data: Path) -> None:
    project = copy_of_the_project(tmp_path / "project")
    (project / "sources" / "catalog" / "lift_safety.yml").write_text(NEW_SYSTEM, encoding="utf-8")
    export = tmp_path / "export"
    export.mkdir()
    (export / "fault_1.ndjson").write_text('{"id": "F1", "trapped": 3}\n{"id": "F2", "trapped": -1}\n', encoding="utf-8")
    os.utime(export / "fault_1.ndjson", (1.7e9, 1.7e9))  # it arrived before the pull asks for it
    steps = (
        "from sources.generate import main; main([])\n"
        "from sources.catalogue import load_catalogue; from sources.connectors import pull\n"
        "print(pull(load_catalogue()['lift_safety'].entity('fault')).rows)\n"
        "from orchestration.build import prepare; prepare()\n"
    )
    environment = {"PYTHONPATH": str(project), "SSC_DATA": str(data), "SSC_LIFT_SAFETY_URL": str(export), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", steps], env=environment, cwd=project, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    built = dbt(data, "build", "--select", "+reconciliation", "lift_safety", "stg_lift_safety__fault", project=project / "dbt_project")
    assert built.returncode == 0, built.stdout + built.stderr
    assert query(data, "select fault_id, trapped_count from staging.stg_lift_safety__fault") == [("F1", 3)]
    counted = query(
        data, "select landed_count, staged_count, quarantined_count from quality.reconciliation where system = 'lift_safety'", "marts"
    )
    assert counted == [(2, 1, 1)]
