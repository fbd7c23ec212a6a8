"""Incidents of several systems, alarms, device days, hazards and warnings: rows landed by hand, worked out by hand, in three increments.

Everything is built once more at once, and once without the police: increments change nothing, and nothing of the police is open.
Times of the sources are Shanghai's, those of the marts UTC.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from sources.catalogue import load_catalogue
from tests.support import build, land, query

pytestmark = pytest.mark.integration
HERE = "440304001019"
FIRST, SECOND, THIRD = (datetime(2026, 10, day, 16, tzinfo=UTC) for day in (2, 3, 5))  # midnight in Shanghai, a day later
Rows = list[dict[str, str | None]]


def shanghai(text: str) -> str:
    return f"2026-{text}:00+08:00"


def utc(text: str) -> datetime:
    """``10-02 22:45`` in Shanghai as the marts hold it."""
    return datetime.fromisoformat(f"2026-{text}") - timedelta(hours=8)


def every(minutes: int, since: str, until: str) -> list[datetime]:
    """Times in Shanghai from `since` to `until`, both included."""
    first, last = (datetime.fromisoformat(f"2026-{text}") for text in (since, until))
    return [first + timedelta(minutes=minutes * n) for n in range(int((last - first).total_seconds()) // 60 // minutes + 1)]


def levels(device: str, since: str, until: str, **at: float) -> Rows:
    """A reading every ten minutes: 0.1 or 0.2 in turn, or what `at` says of a time (``t10_02_23_30``)."""
    return [
        {
            "refDevice": device,
            "dateObserved": f"{time.isoformat()}+08:00",
            "waterLevel": str(at.get(f"t{time:%m_%d_%H_%M}", 0.1 + n % 2 / 10)),
            "batteryLevel": str(90 - time.hour),
        }
        for n, time in enumerate(every(10, since, until))
    ]


def smoke(device: str, minutes: int, since: str, until: str, *, flat: tuple[int, ...] = (), **at: float) -> Rows:
    """A reading every `minutes`: 1.0 or 1.5 in turn, always 0.4 on the days `flat`, or what `at` says of a time."""
    return [
        {
            "detectorId": device,
            "time": f"{time.isoformat()}+08:00",
            "smokePct": str(0.4 if time.day in flat else at.get(f"t{time:%m_%d_%H_%M}", 1.0 + n % 2 / 2)),
            "tempC": "21.0" if time.day in flat else str(20 + n % 3),
        }
        for n, time in enumerate(every(minutes, since, until))
    ]


def gauge(device: str, installed: str) -> dict[str, str | None]:
    return {
        "id": device, "name": device, "deviceType": "water_level", "communityCode": HERE, "cadenceMinutes": "10", "alarmLevel": "0.3",
        "dateInstalled": installed, "dateModified": shanghai("10-01T00:00"),
    }  # fmt: skip


def detector(device: str, cadence: int) -> dict[str, str | None]:
    return {
        "detectorId": device, "name": device, "communityCode": HERE, "cadenceMinutes": str(cadence), "alarmPct": "5",
        "installedOn": "2026-10-01", "modifiedAt": shanghai("10-01T00:00"),
    }  # fmt: skip


def event(number: int, occurred: str, **more: str | None) -> dict[str, str | None]:
    return {
        "eventId": f"GE{number:010}", "typeCode": "B01", "communityCode": HERE, "gridCode": "007", "status": "reported",
        "occurredAt": shanghai(occurred), "reportedAt": shanghai(occurred), "updatedAt": shanghai(occurred), **more,
    }  # fmt: skip


def request(number: int, requested: str, **more: str | None) -> dict[str, str | None]:
    return {
        "service_request_id": f"{number:012}", "service_code": "no-such-code", "status": "open", "requested_datetime": shanghai(requested),
        "updated_datetime": shanghai(requested), "address_id": f"{HERE}0000001", **more,
    }  # fmt: skip


def call(number: int, received: str, change: int, **more: str | None) -> dict[str, str | None]:
    return {
        "jjd_bh": f"PD{number:010}", "ajlx_dm": "no-such-case", "sq_dm": HERE, "jj_sj": shanghai(received), "zt": "received",
        "bgxh": str(change), **more,
    }  # fmt: skip


E1, E2, E9 = (f"GE{number:010}" for number in (1, 2, 9))
P1, P2, P3 = (f"PD{number:010}" for number in (1, 2, 3))
U1 = f"{1:012}"
ARRIVED = {"gl_bh": E1, "pj_sj": shanghai("09-30T23:05"), "dd_sj": shanghai("09-30T23:20"), "zt": "arrived"}
COLLAPSE = {
    "事故编号": "TX20260001",
    "社区": "福山",
    "发现日期": "2026-09-01",
    "等级": "Ⅲ级",
    "伤亡人数": "1",
    "规模(米)|长": "3",
    "规模(米)|宽": "2",
}
VOID = {"空洞编号": "KD20260001", "社区": "福田街道福山社区居委会", "普查日期": "2026-10-03", "隐患等级": "二级", "空洞(米)|面积": "4.5"}
ALARM = {
    "alarmId": "FA00000001", "detectorId": "S1", "raisedAt": shanghai("10-02T10:05"), "kind": "smoke",
    "updatedAt": shanghai("10-02T10:05"),
}  # fmt: skip

#: What arrives by the end of each of three windows: entity -> rows.
ARRIVING: dict[datetime, dict[str, Rows]] = {
    FIRST: {
        "waterlogging.waterlogging_point": [gauge("W1", "2026-10-01"), gauge("W2", "2026-10-02"), gauge("W3", "2026-10-01")],
        "waterlogging.water_level": [
            *levels("W1", "10-01T00:00", "10-02T23:50", t10_02_23_30=0.3, t10_02_23_40=0.31, t10_02_23_50=0.33),
            *levels("W3", "10-01T00:00", "10-02T23:50"),
        ],
        "fire_detection.detector": [detector("S1", 30), detector("S2", 60)],
        "fire_detection.smoke_reading": [
            *smoke("S1", 30, "10-01T00:00", "10-02T23:30", t10_02_10_00=6, t10_02_10_30=8, t10_02_15_00=7),  # the last is one outlier
            *smoke("S2", 60, "10-01T00:00", "10-02T23:00", flat=(2,)),
        ],
        "fire_detection.fire_alarm": [ALARM],
        "grid_management.grid_event": [
            event(1, "10-01T08:00", reportedAt=shanghai("10-01T09:00"), acceptedAt=shanghai("10-01T10:00"), status="accepted"),
            event(2, "09-01T08:00"),
        ],
        "urban_management.service_request": [request(1, "10-02T10:00", linked_case_id=E9)],  # the named event is not there yet
        "police_dispatch.dispatch": [
            call(1, "09-30T23:00", 1, **ARRIVED),  # before the event it names, on another day, in another month
            call(2, "08-31T12:00", 2, gl_bh=E2),
            call(3, "09-10T12:00", 3),
        ],
        "ground_collapse.collapse": [COLLAPSE],
    },
    SECOND: {
        "waterlogging.water_level": [
            *levels("W1", "10-03T00:00", "10-03T12:00", t10_03_00_00=0.35, t10_03_00_40=0.5),  # then silent
            *levels("W3", "10-03T00:00", "10-03T23:50"),
        ],
        "fire_detection.smoke_reading": [
            *smoke("S1", 30, "10-03T00:00", "10-03T23:30"),
            *smoke("S2", 60, "10-03T00:00", "10-03T23:00", flat=(3,)),
        ],
        "fire_detection.fire_alarm": [
            ALARM | {"outcome": "fire", "clearedAt": shanghai("10-02T10:45"), "updatedAt": shanghai("10-03T09:00")},
        ],
        "grid_management.grid_event": [event(9, "10-01T12:00")],
        "ground_collapse.void_survey": [VOID, VOID | {"空洞编号": "KD20260002", "社区": "无此社区", "隐患等级": "不详"}],
    },
    THIRD: {
        "waterlogging.water_level": [
            {"refDevice": "W1", "dateObserved": shanghai("10-02T22:45"), "waterLevel": "0.32"},  # late, and an earlier start
            *levels("W1", "10-04T06:00", "10-05T02:00"),  # then their platform is down for eight hours
            *levels("W3", "10-04T00:00", "10-05T02:00"),
            *levels("W1", "10-05T10:00", "10-05T23:50"),
            *levels("W3", "10-05T10:30", "10-05T23:50"),
        ],
        "fire_detection.smoke_reading": [  # the platform stops here, a day before everything else
            *smoke("S1", 30, "10-04T00:00", "10-05T00:00"),
            *smoke("S2", 60, "10-04T00:00", "10-05T00:00"),
        ],
        "grid_management.grid_event": [
            event(1, "10-01T08:00", reportedAt=shanghai("10-01T09:00"), acceptedAt=shanghai("10-01T10:00"), status="closed",
                  closedAt=shanghai("10-01T18:00"), updatedAt=shanghai("10-04T08:00")),
        ],
        "urban_management.service_request": [
            request(1, "10-02T10:00", linked_case_id=E1, status="closed", updated_datetime=shanghai("10-04T10:00")),
        ],
        "police_dispatch.dispatch": [call(1, "09-30T23:00", 4, **ARRIVED | {"zt": "closed", "jj_wb_sj": shanghai("10-01T01:00")})],
        "ground_collapse.collapse": [COLLAPSE | {"处置|完成日期": "2026-10-04"}],
    },
}  # fmt: skip


class Built:
    """The build in three increments, at once, and without the police; and what some tables held after each increment."""

    def __init__(self, folder: Path) -> None:
        self.steps, self.whole, self.without = folder / "steps", folder / "whole", folder / "without"
        self.after: dict[datetime, dict[str, list[tuple]]] = {}

    def rows(self, sql: str, database: str = "marts") -> list[tuple]:
        return query(self.steps, sql, database)


WATCHED = {
    "incident": """select incident_id, report_count, source_count, occurred_at, accepted_at, arrived_at, closed_at, status, occurred_month
        from mart.fct_incident order by 1""",
    "alarm": "select raised_at, cleared_at, peak_value, reading_count from mart.fct_sensor_alarm where raised_by = 'readings'",
    "warning": """select rule_id, target_id, raised_at, ended_at, is_open, is_overdue, outcome
        from mart.fct_warning order by rule_id, target_id, raised_at""",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    result = Built(tmp_path_factory.mktemp("warnings"))
    catalogue = load_catalogue()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSC_DATA", str(result.steps))
        for until, arriving in ARRIVING.items():
            for name, rows in arriving.items():
                system, entity = name.split(".")
                land(catalogue[system].entity(entity), rows, until)
            build(result.steps)
            result.after[until] = {name: result.rows(sql) for name, sql in WATCHED.items()}
        for other in (result.whole, result.without):
            shutil.copytree(result.steps / "landing", other / "landing")
            if other == result.without:
                shutil.rmtree(other / "landing/police_dispatch")
            patch.setenv("SSC_DATA", str(other))
            build(other)
    yield result


def differences(one: Path, other: Path, database: str, *, leave: tuple[str, ...] = ()) -> tuple[list[str], int]:
    """Tables of a build file whose rows are not the same in two builds, and how many were compared."""
    connection = duckdb.connect()
    connection.execute(f"attach '{one / 'build' / f'{database}.duckdb'}' as one (read_only)")
    connection.execute(f"attach '{other / 'build' / f'{database}.duckdb'}' as other (read_only)")
    found, compared = [], 0
    for schema, table in connection.execute(
        "select table_schema, table_name from information_schema.tables where table_catalog = 'one' and table_schema <> 'internal'"
    ).fetchall():
        if table in leave:
            continue
        compared += 1
        ours, theirs = (f'{side}.{schema}."{table}"' for side in ("one", "other"))
        for here, there in ((ours, theirs), (theirs, ours)):
            more = connection.execute(f"from {here} except all from {there} limit 3").fetchall()
            if more:
                found.append(f"{here} has what {there} has not: {more}")
    return found, compared


def test_increments_equal_a_full_build(built: Built) -> None:
    for database, least in (("marts", 24), ("open_data", 5)):
        found, compared = differences(built.steps, built.whole, database)
        assert not found and compared >= least, found


def test_nothing_of_the_police_is_open(built: Built) -> None:
    """Open data is the same where the police never sent anything, although one incident moved into another month for staff."""
    assert built.rows(f"select occurred_month from mart.fct_incident where incident_id = 'grid_management:{E2}'") == [("2026-08",)]
    found, compared = differences(built.steps, built.without, "open_data", leave=("freshness",))
    assert not found and compared == 4, found
    shown = built.rows(
        """select "month", incident_count from open_data.open_data.community_month
        where area_level = 'district' and category_id = 'emergency' and cell_status = 'shown' and incident_count > 0""",
        "open_data",
    )
    assert shown == [("2026-09", 1)], "the grid's event of September, in the month in which the grid says it was"


def test_reports_of_one_incident_are_one(built: Built) -> None:
    first, second, third = ({row[0]: row[1:] for row in built.after[until]["incident"]} for until in (FIRST, SECOND, THIRD))
    e1, e9, u1 = f"grid_management:{E1}", f"grid_management:{E9}", f"urban_management:{U1}"
    dispatched, arrived = utc("09-30 23:05"), utc("09-30 23:20")
    assert first[e1] == (2, 2, utc("09-30 23:00"), dispatched, arrived, None, "accepted", "2026-09")
    assert first[u1][:3] == (1, 1, utc("10-02 10:00")) and e9 not in first, "a link to nothing is an incident of its own"
    assert u1 not in second and second[e9][:3] == (2, 2, utc("10-01 12:00")), "the named event came"
    assert third[e9][:3] == (1, 1, utc("10-01 12:00")), "the report names another event now"
    assert third[e1] == (3, 3, utc("09-30 23:00"), dispatched, arrived, utc("10-04 10:00"), "closed", "2026-09"), "all closed: the last"
    assert set(third) == {e1, f"grid_management:{E2}", e9, f"police_dispatch:{P3}"}
    by_system = "select system, count(*), count(case when is_first then 1 end) from mart.fct_incident_report group by 1 order by 1"
    assert built.rows(by_system) == [
        ("grid_management", 3, 3), ("police_dispatch", 3, 1), ("urban_management", 1, 0),
    ]  # fmt: skip


def test_every_correction_can_be_undone(built: Built) -> None:
    at = {until: until.replace(tzinfo=None) for until in ARRIVING}
    assert built.rows(
        "select rule, system, source_record_id, before_value, after_value, corrected_at from mart.fct_correction order by 1, 3"
    ) == [
        ("community_name", "ground_collapse", "KD20260001", "福田街道福山社区居委会", "440304004026", at[SECOND]),
        ("community_name", "ground_collapse", "TX20260001", "福山", "440304004026", at[THIRD]),
        ("hazard_grade", "ground_collapse", "TX20260001", "Ⅲ级", "3", at[THIRD]),
        ("same_incident", "urban_management", U1, f"urban_management:{U1}", f"grid_management:{E1}", at[THIRD]),
        ("same_incident", "police_dispatch", P1, f"police_dispatch:{P1}", f"grid_management:{E1}", at[FIRST]),
        ("same_incident", "police_dispatch", P2, f"police_dispatch:{P2}", f"grid_management:{E2}", at[FIRST]),
    ]


def test_unknown_codes_are_seen(built: Built) -> None:
    assert built.rows("select * from quality.unmapped_code order by all") == [
        ("ground_collapse", "community_name", "无此社区", 1, date(2026, 10, 3), date(2026, 10, 3)),
        ("ground_collapse", "hazard_grade", "不详", 1, date(2026, 10, 3), date(2026, 10, 3)),
        ("police_dispatch", "incident_type", "no-such-case", 3, date(2026, 8, 31), date(2026, 9, 30)),
        ("urban_management", "incident_type", "no-such-code", 1, date(2026, 10, 2), date(2026, 10, 2)),
    ]
    assert built.rows("select incident_type_id, is_type_known from mart.fct_incident_report where system = 'urban_management'") == [
        ("D99", False)
    ]


def test_figures_of_staff_count_every_system(built: Built) -> None:
    assert built.rows(
        f"""select month, incident_count, security_count, emergency_count, police_incident_count
        from mart.fct_community_month where community_id = '{HERE}' order by 1"""
    ) == [("2026-08", 1, 0, 1, 0), ("2026-09", 2, 1, 1, 1), ("2026-10", 1, 0, 1, 0)]


def test_an_alarm_over_midnight(built: Built) -> None:
    """From 22:45, which came late, over midnight to 00:40: gaps of 45, 10, 10, 10 and 40 minutes."""
    assert built.after[FIRST]["alarm"] == [(utc("10-02 23:30"), None, 0.33, 3)], "the platform has come no further"
    assert built.after[SECOND]["alarm"] == [(utc("10-02 23:30"), utc("10-03 00:40"), 0.5, 5)]
    assert built.after[THIRD]["alarm"] == [(utc("10-02 22:45"), utc("10-03 00:40"), 0.5, 6)]
    assert built.rows(
        "select alarm_id, device_id, community_id, alarm_kind, cleared_at, outcome from mart.fct_sensor_alarm where raised_by = 'device'"
    ) == [("fire_detection:FA00000001", "S1", HERE, "smoke", utc("10-02 10:45"), "fire")]


def test_device_days(built: Built) -> None:
    days = {(row[0], row[1].day): row[2:] for row in built.rows(
        """select device_id, day_date, expected_count, reading_count, round(availability_pct, 2), longest_silence_minutes, is_silent,
            is_flatline, battery_pct_min, is_whole from mart.fct_device_day"""
    )}  # fmt: skip
    assert {device: sorted(day for name, day in days if name == device) for device in ("W1", "W2", "W3", "S1", "S2")} == {
        "W1": [1, 2, 3, 4, 5], "W2": [2, 3, 4, 5], "W3": [1, 2, 3, 4, 5], "S1": [1, 2, 3, 4, 5], "S2": [1, 2, 3, 4, 5],
    }  # fmt: skip
    assert days["W1", 1] == (144, 144, 100.0, 10.0, False, False, 67.0, True)
    assert days["W1", 2] == (144, 145, 100.0, 10.0, False, False, 67.0, True), "one reading more, at 22:45"
    assert days["W1", 3] == (144, 73, 50.69, 720.0, True, None, 78.0, True), "00:00 to 12:00; flat in 13 hours cannot be judged"
    assert days["W1", 4] == (144, 108, 75.0, 360.0, True, None, 67.0, True), "from 06:00"
    assert days["W1", 5] == (143, 97, 67.83, 480.0, True, None, 67.0, False), "reached to 23:50; 13 readings to 02:00, 84 from 10:00"
    assert days["W2", 2] == (144, 0, 0.0, 1440.0, True, None, None, True), "installed on this day, and never heard"
    assert days["S2", 2][5] is True and days["S2", 3][5] is True and days["S2", 1][5] is False and days["S2", 4][5] is False
    assert days["S1", 5] == (0, 1, None, 0.0, False, None, None, False), "its platform has just begun this day"
    assert built.rows("select distinct flatline_measure_id, flatline_value from mart.fct_device_day where is_flatline") == [
        ("smoke_obscuration_pct", 0.4)
    ]


def test_hours_hold_smoke_and_temperature(built: Built) -> None:
    assert built.rows(
        """select measure_id, reading_count, expected_count, value_min, value_max, community_id from mart.fct_sensor_hour
        where device_id = 'S1' and hour_at = timestamp '2026-10-02 02:00:00' order by 1"""
    ) == [("smoke_obscuration_pct", 2, 2, 6.0, 8.0, HERE), ("temperature_celsius", 2, 2, 20.0, 22.0, HERE)]
    assert built.rows("select distinct gauge_count from mart.fct_community_month where gauge_count > 0") == [(2,)], "W1 and W3, no detector"


def test_hazards(built: Built) -> None:
    assert built.rows(
        """select source_record_id, hazard_kind, grade, community_id, found_date, treated_date, is_open, open_days, area_m2, casualty_count
        from mart.fct_ground_hazard order by 1"""
    ) == [
        ("KD20260001", "void", 2, "440304004026", date(2026, 10, 3), None, True, 3, 4.5, None),
        ("KD20260002", "void", None, None, date(2026, 10, 3), None, True, 3, 4.5, None),
        ("TX20260001", "collapse", 3, "440304004026", date(2026, 9, 1), date(2026, 10, 4), False, 33, 6.0, 1),
    ]


def test_warnings_rise_and_end(built: Built) -> None:
    found, hidden = "ground_collapse:TX20260001", "ground_collapse:KD20260001"
    assert built.after[FIRST]["warning"] == [
        ("device_silent", "W2", utc("10-02 01:00"), None, True, False, None),
        ("hazard_open_30_days", found, utc("10-01 00:00"), None, True, False, None),
        ("smoke_at_alarm_level", "S1", utc("10-02 10:30"), utc("10-02 10:30"), False, False, None),
        ("water_at_alarm_level", "W1", utc("10-02 23:30"), None, True, False, None),
    ], "the flat day S2 2 is not over for its platform, and one outlier of smoke raises nothing"
    assert built.after[SECOND]["warning"] == [
        ("device_flatline", "S2", utc("10-03 00:00"), None, True, False, None),
        ("device_silent", "W1", utc("10-03 13:00"), None, True, False, None),
        ("device_silent", "W2", utc("10-02 01:00"), None, True, True, None),
        ("hazard_grade_1_2", hidden, utc("10-03 00:00"), None, True, False, None),
        ("hazard_open_30_days", found, utc("10-01 00:00"), None, True, False, None),
        ("smoke_at_alarm_level", "S1", utc("10-02 10:30"), utc("10-02 10:30"), False, False, "confirmed"),
        ("water_at_alarm_level", "W1", utc("10-02 23:30"), utc("10-03 00:40"), False, True, None),
    ]
    assert built.after[THIRD]["warning"] == [
        ("device_flatline", "S2", utc("10-03 00:00"), utc("10-05 00:00"), False, False, None),
        ("device_silent", "W1", utc("10-03 13:00"), utc("10-04 06:00"), False, False, None),
        ("device_silent", "W2", utc("10-02 01:00"), None, True, True, None),
        ("hazard_grade_1_2", hidden, utc("10-03 00:00"), None, True, True, None),
        ("hazard_open_30_days", found, utc("10-01 00:00"), utc("10-04 00:00"), False, False, None),
        ("smoke_at_alarm_level", "S1", utc("10-02 10:30"), utc("10-02 10:30"), False, False, "confirmed"),
        ("water_at_alarm_level", "W1", utc("10-02 22:45"), utc("10-03 00:40"), False, True, None),
    ], "no detector is silent, although their platform has sent nothing for a day, and no gauge for the hours in which theirs was down"


def test_a_warning_says_why(built: Built) -> None:
    sql = """select severity, department_id, due_at, observed_value, threshold_value, evidence_zh, evidence_en
        from mart.fct_warning where rule_id = '{}'"""
    assert built.rows(sql.format("water_at_alarm_level")) == [
        (2, "water", utc("10-02 23:45"), 0.5, 0.3, "2026-10-02 22:45 起水位达到报警值，最高 0.5 米，报警值 0.3 米",
         "Water level at or above the alarm level from 2026-10-02 22:45, greatest 0.5 m, alarm level 0.3 m"),
    ]  # fmt: skip
    silent = built.rows(sql.format("device_silent") + " and device_id = 'W1'")
    assert silent == [
        (4, "water", utc("10-04 13:00"), 1080.0, 60.0, "自 2026-10-03 12:00 起无读数，已 1080 分钟，允许 60 分钟",
         "No reading since 2026-10-03 12:00, for 1080 minutes, allowed 60 minutes"),
    ]  # fmt: skip
    assert built.rows("select department_id from mart.fct_warning where rule_id = 'device_flatline'") == [("fire_rescue",)], "the owner"
    assert built.rows("select count(*) from mart.fct_warning where evidence_zh is null or evidence_en is null") == [(0,)]
