"""Makes ``marts.duckdb`` of a small release for tests of the operations dashboard: the communities, departments, systems and rules of
the seeds, 500 devices, 30 days, some hundred warnings. Figures are made up by formula; tables and types are those of the dbt models.

``tables`` gives the rows as plain Python, so that a test works out by itself what a chart must show.
"""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import yaml

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
AS_OF = datetime(2026, 10, 31, 16, 0)  # UTC: midnight in Shanghai
SHANGHAI = timedelta(hours=8)
DAYS = [date(2026, 10, 31) - timedelta(days=29 - i) for i in range(30)]
DEVICES, WARNINGS, ALARMS, HAZARDS = 500, 420, 160, 60
Row = dict[str, Any]


def seed(name: str) -> list[dict[str, str]]:
    """The rows of a dbt seed."""
    with (PROJECT / "seeds" / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@functools.cache
def _columns() -> dict[str, dict[str, str]]:
    """Types of the columns of every documented model, by its name."""
    models: dict[str, dict[str, str]] = {}
    for path in (PROJECT / "models").rglob("*.yml"):
        for model in (yaml.safe_load(path.read_text()) or {}).get("models", []):
            models[model["name"]] = {column["name"]: column.get("data_type", "varchar") for column in model.get("columns", [])}
    return models


def communities() -> list[Row]:
    """The communities that exist today, with their subdistrict and tile."""
    subdistricts = {row["subdistrict_id"]: row for row in seed("subdistrict")}
    rows: list[Row] = []
    for row in seed("community"):
        if row["valid_to"]:
            continue
        west, north = 114.05 + (int(row["tile_x"]) - 6) * 0.01, 22.54 - (int(row["tile_y"]) - 4) * 0.0092
        east, south = west + 0.01, north - 0.0092
        ring = [[west, north], [east, north], [east, south], [west, south], [west, north]]
        rows.append(
            {
                "community_id": row["community_id"],
                "subdistrict_id": row["subdistrict_id"],
                "subdistrict_zh": subdistricts[row["subdistrict_id"]]["name_zh"],
                "name_zh": row["name_full_zh"].removesuffix("居委会"),
                "name_full_zh": row["name_full_zh"],
                "name_en": row["name_en"],
                "is_virtual": row["is_virtual"] == "true",
                "is_current": True,
                "polygon_json": json.dumps([[round(x, 4), round(y, 4)] for x, y in ring]),
            }
        )
    return rows


def _devices(places: list[Row]) -> list[Row]:
    kinds = [
        ("smoke_detector", "fire_detection", "楼道"),
        ("water_level", "waterlogging", "下穿道"),
        ("rain_gauge", "waterlogging", "楼顶"),
    ]
    rows = []
    for i in range(DEVICES):
        kind, system, spot = kinds[0 if i % 10 < 7 else 1 if i % 10 < 9 else 2]
        place = places[i * 37 % len(places)]
        rows.append(
            {
                "device_id": f"{kind[:2].upper()}{i:04d}",
                "name_zh": f"{i} 号设备",
                "device_type": kind,
                "system": system,
                "community_id": None if i % 125 == 124 else place["community_id"],  # registered with a code that nobody knows
                "location_zh": f"{i % 60 + 1} 号{spot}",
                "cadence_minutes": 5,
            }
        )
    return rows


def _hazards(places: list[Row]) -> list[Row]:
    rows = []
    for i in range(HAZARDS):
        found = DAYS[-1] - timedelta(days=i * 7 % 90)
        is_open = i % 3 != 0
        treated = None if is_open else min(found + timedelta(days=9), DAYS[-1])
        rows.append(
            {
                "hazard_id": f"ground_collapse:{i:03d}",
                "system": "ground_collapse",
                "source_record_id": f"{i:03d}",
                "hazard_kind": "collapse" if i % 4 == 0 else "void",
                "grade": None if i == 10 else (4, 3, 4, 3, 4, 2, 3, 4, 1, 3)[i % 10],
                "community_id": None if i == 20 else places[i * 29 % len(places)]["community_id"],
                "location_zh": f"福华 {i % 9 + 1} 路 {i + 1} 号前",
                "found_date": found,
                "treated_date": treated,
                "is_open": is_open,
                "open_days": ((treated or DAYS[-1] + timedelta(days=1)) - found).days,
                "depth_m": 0.5 + i % 5 * 0.4,
            }
        )
    return rows


def _device_warnings(devices: list[Row], extra: int) -> Iterator[Row]:
    """What the rules on devices raised; each device has at most one open warning."""
    sentences = {
        "level": ("达到报警值，最高 0.42 米，报警值 0.30 米", "At or above the alarm level, greatest 0.42 m, alarm level 0.30 m"),
        "silence": ("无读数，已 190 分钟，允许 60 分钟", "No reading for 190 minutes, allowed 60 minutes"),
        "flatline": ("读数始终不变，判定需 1 整日", "Reads the same all the time, whole days it takes: 1"),
    }
    by_rule = {
        "water_at_alarm_level": [d for d in devices if d["device_type"] == "water_level"],
        "smoke_at_alarm_level": [d for d in devices if d["device_type"] == "smoke_detector"],
        "device_silent": devices,
        "device_flatline": devices,
    }
    rules = {rule["rule_id"]: rule for rule in seed("warning_rule")}
    pattern = ["device_silent"] * 5 + ["water_at_alarm_level"] * 3 + ["smoke_at_alarm_level"] * 2 + ["device_flatline"]
    taken: set[str] = set()
    for i in range(WARNINGS + extra):
        rule = rules["smoke_at_alarm_level" if i >= WARNINGS else pattern[i % len(pattern)]]
        fitting = by_rule[rule["rule_id"]]
        device = fitting[i * 53 % len(fitting)]
        minutes = 20 + i if i >= WARNINGS else 7 + (i * 23 % 2000 if i % 8 == 0 else i * 1031 % (29 * 1440))
        raised = AS_OF - timedelta(minutes=minutes)
        is_open = (i % 8 == 0 or i >= WARNINGS) and device["device_id"] not in taken
        if is_open:
            taken.add(device["device_id"])
        ended = None if is_open else raised + timedelta(minutes=min(minutes, 20 + i * 17 % 900))
        due = raised + timedelta(minutes=int(rule["due_minutes"]))
        evidence = sentences[rule["kind"]]
        start = (raised + SHANGHAI).strftime("%Y-%m-%d %H:%M")
        yield {
            "warning_id": f"w{i:04d}",
            **{name: rule[key] for name, key in (("rule_id", "rule_id"), ("rule_zh", "name_zh"), ("rule_en", "name_en"), ("kind", "kind"))},
            "system": device["system"],
            "target_kind": "device",
            "target_id": device["device_id"],
            "device_id": device["device_id"],
            "community_id": device["community_id"],
            "severity": int(rule["severity"]),
            "raised_at": raised,
            "ended_at": ended,
            "is_open": is_open,
            "due_at": due,
            "is_overdue": (ended or AS_OF) > due,
            "department_id": rule["department_id"] or {"fire_detection": "fire_rescue", "waterlogging": "water"}[device["system"]],
            "evidence_zh": f"自 {start} 起{evidence[0]}",
            "evidence_en": f"{evidence[1]}, from {start}",
            "outcome": None if is_open or rule["kind"] != "level" else "false" if i % 4 == 1 else "confirmed",
            "raised_date": (raised + SHANGHAI).date(),
            "raised_month": (raised + SHANGHAI).strftime("%Y-%m"),
        }


def _hazard_warnings(hazards: list[Row]) -> Iterator[Row]:
    for rule in seed("warning_rule"):
        if not rule["kind"].startswith("hazard"):
            continue
        for hazard in hazards:
            limit = int(rule["threshold"])
            if rule["kind"] == "hazard_grade" and (hazard["grade"] or 9) > limit:
                continue
            if rule["kind"] == "hazard_overdue" and hazard["open_days"] < limit:
                continue
            wait = limit if rule["kind"] == "hazard_overdue" else 0
            raised = datetime.combine(hazard["found_date"], datetime.min.time()) - SHANGHAI + timedelta(days=wait)
            ended = datetime.combine(hazard["treated_date"], datetime.min.time()) - SHANGHAI if hazard["treated_date"] else None
            due = raised + timedelta(minutes=int(rule["due_minutes"]))
            yield {
                "warning_id": f"{rule['rule_id']}-{hazard['hazard_id']}",
                "rule_id": rule["rule_id"],
                "rule_zh": rule["name_zh"],
                "rule_en": rule["name_en"],
                "kind": rule["kind"],
                "system": hazard["system"],
                "target_kind": "place",
                "target_id": hazard["hazard_id"],
                "community_id": hazard["community_id"],
                "severity": int(rule["severity"]),
                "raised_at": raised,
                "ended_at": ended,
                "is_open": ended is None,
                "due_at": due,
                "is_overdue": (ended or AS_OF) > due,
                "department_id": rule["department_id"],
                "evidence_zh": f"{hazard['found_date']} 发现，未处置 {hazard['open_days']} 天",
                "evidence_en": f"Found {hazard['found_date']}, open for {hazard['open_days']} days",
                "raised_date": (raised + SHANGHAI).date(),
                "raised_month": (raised + SHANGHAI).strftime("%Y-%m"),
            }


def _device_days(devices: list[Row], warnings: list[Row]) -> Iterator[Row]:
    silent = {w["device_id"]: w["raised_at"] for w in warnings if w["kind"] == "silence" and w["is_open"]}
    flat = {w["device_id"] for w in warnings if w["kind"] == "flatline" and w["is_open"]}
    for i, device in enumerate(devices):
        for d, day in enumerate(DAYS):
            begins = datetime.combine(day, datetime.min.time()) - SHANGHAI
            stopped = silent.get(device["device_id"])
            missed = (i * 5 + d * 11) % 23
            if stopped is not None and stopped < begins + timedelta(days=1):
                missed = max(missed, 288 - max(0, int((stopped - begins).total_seconds() // 300)))
            count = 288 - missed
            yield {
                "device_id": device["device_id"],
                "day_date": day,
                "system": device["system"],
                "device_type": device["device_type"],
                "community_id": device["community_id"],
                "is_whole": True,
                "expected_count": 288,
                "reading_count": count,
                "availability_pct": 100 * count / 288,
                "longest_silence_minutes": 5.0 + missed * 5,
                "is_silent": missed > 24,
                "is_flatline": day == DAYS[-1] and device["device_id"] in flat,
                "last_reading_at": begins + timedelta(minutes=5 * count) if count else None,
            }


def _alarms(devices: list[Row]) -> Iterator[Row]:
    for i in range(ALARMS):
        kind = ("smoke", "water_level", "smoke", "heat", "manual")[i % 5]
        fitting = [d for d in devices if d["device_type"] == ("water_level" if kind == "water_level" else "smoke_detector")]
        device = fitting[i * 31 % len(fitting)]
        raised = AS_OF - timedelta(minutes=11 + i * 263 % (29 * 1440))
        is_open = i % 20 == 0
        cleared = None if is_open else raised + timedelta(minutes=5 + i % 40)
        outcome = None if kind == "water_level" or is_open or i % 7 == 3 else ("false_alarm", "false_alarm", "test", "fire")[i % 4]
        yield {
            "alarm_id": f"{device['system']}:{i:04d}",
            "system": device["system"],
            "device_id": device["device_id"],
            "community_id": device["community_id"],
            "raised_by": "readings" if kind == "water_level" else "device",
            "alarm_kind": kind,
            "raised_at": raised,
            "cleared_at": cleared,
            "is_open": is_open,
            "duration_minutes": None if cleared is None else (cleared - raised).total_seconds() / 60,
            "outcome": outcome,
            "raised_date": (raised + SHANGHAI).date(),
            "raised_month": (raised + SHANGHAI).strftime("%Y-%m"),
        }


def _loads() -> tuple[list[Row], list[Row], list[Row], list[Row]]:
    """Ledger, reconciliation, freshness and quarantine of every entity of the catalogue; one system is late."""
    agreed = {row["system"]: row for row in seed("generated/catalogue_system")}
    entities = sorted({(row["system"], row["entity"]) for row in seed("generated/catalogue_column")})
    ledger, reconciliation, freshness, quarantine = [], [], [], []
    for e, (system, entity) in enumerate(entities):
        is_late = system == "police_dispatch"
        for d in range(30):
            until = AS_OF - timedelta(days=d, hours=9 if is_late else 0)
            load = f"{until:%Y%m%dT%H%M%S}Z-{e:012x}"
            landed, broken = 100 + e * 10 + d, (e + d) % 4
            ledger.append(
                {
                    "system": system,
                    "entity": entity,
                    "load_id": load,
                    "window_since": until - timedelta(days=1),
                    "window_until": until,
                    "landed_count": landed,
                    "bytes": landed * 200,
                    "started_at": until,
                    "ended_at": until,
                    "is_demo": True,
                    "contract_version": agreed[system]["version"],
                }
            )
            reconciliation.append(
                {
                    "system": system,
                    "entity": entity,
                    "load_id": load,
                    "landed_count": landed,
                    "staged_count": landed - broken,
                    "quarantined_count": broken,
                    "superseded_count": 0,
                    "difference_count": 0,
                }
            )
            if broken:
                rule = {"broken_rule": f"{entity}_id:required", "row_count": broken}
                quarantine.append({"system": system, "entity": entity, "day": DAYS[29 - d], **rule})
        lag = 540 if is_late else 0
        freshness.append(
            {
                "system": system,
                "entity": entity,
                "latest_load_id": f"{AS_OF - timedelta(minutes=lag):%Y%m%dT%H%M%S}Z-{e:012x}",
                "window_until": AS_OF - timedelta(minutes=lag),
                "latest_event_at": AS_OF - timedelta(minutes=lag + 12),
                "lag_minutes": lag,
                "allowed_minutes": int(agreed[system]["frequency_minutes"]) + int(agreed[system]["latency_minutes"]),
                "is_late": is_late,
            }
        )
    return ledger, reconciliation, freshness, quarantine


def tables(*, marker: int = 0, is_demo: bool = True, release_id: str = "2026-10-31T1600Z-aaaaaaaaaaaa") -> dict[str, list[Row]]:
    """Rows by table, named ``schema.table``. With a marker there are three more warnings of level 1, the newest of all."""
    places = communities()
    devices = _devices(places)
    hazards = _hazards(places)
    warnings = [*_device_warnings(devices, 3 if marker else 0), *_hazard_warnings(hazards)]
    departments = seed("department")
    owner = {row["name_zh"]: row for row in departments} | {row["short_zh"]: row for row in departments if row["short_zh"]}
    ledger, reconciliation, freshness, quarantine = _loads()
    return {
        "governance.release": [{"release_id": release_id, "as_of": AS_OF, "is_demo": is_demo}],
        "governance.system": [
            {**row, "department_zh": owner[row["department_zh"]]["name_zh"], "department_en": owner[row["department_zh"]]["name_en"]}
            for row in seed("generated/catalogue_system")
        ],
        "mart.dim_subdistrict": [{key: row[key] for key in ("subdistrict_id", "name_zh", "name_en")} for row in seed("subdistrict")],
        "mart.dim_community": places,
        "mart.dim_department": departments,
        "mart.dim_device": devices,
        "mart.fct_warning": warnings,
        "mart.fct_device_day": list(_device_days(devices, warnings)),
        "mart.fct_sensor_alarm": list(_alarms(devices)),
        "mart.fct_ground_hazard": hazards,
        "quality.freshness": freshness,
        "quality.load_ledger": ledger,
        "quality.reconciliation": reconciliation,
        "quality.quarantine_summary": quarantine,
    }


def make(path: Path, *, marker: int = 0, is_demo: bool = True) -> None:
    """Write ``marts.duckdb`` to ``path``; its release is named by the folder."""
    path.unlink(missing_ok=True)
    models = dict(_columns())
    # The release's own row is written by the release, not by a model.
    models["governance_release"] = {"release_id": "varchar", "as_of": "timestamp", "is_demo": "boolean"}
    with duckdb.connect(str(path)) as connection:
        connection.execute("set threads = 1")
        for name, rows in tables(marker=marker, is_demo=is_demo, release_id=path.parent.name).items():
            schema, table = name.split(".")
            columns = models.get(table) or models[f"{schema}_{table}"]
            listed = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
            connection.execute(f"create schema if not exists {schema}")
            connection.execute(f"create table {schema}.{table} ({listed})")
            frame = pl.DataFrame([{key: row.get(key) for key in columns} for row in rows], infer_schema_length=None)
            frame = frame.select(column for column in frame.columns if frame[column].dtype != pl.Null)
            connection.execute(f"insert into {schema}.{table} by name select * from frame")


def when(moment: datetime) -> str:
    """A UTC time as the dashboard writes it, in Shanghai."""
    return (moment.replace(tzinfo=UTC) + SHANGHAI).strftime("%Y-%m-%d %H:%M")
