"""Generates a whole district once and keeps it: registers as Parquet, export files, and the truth.

Everything lies in ``data/reference_district/generated/<fingerprint>/`` and appears there whole, by rename. The truth is copied
to ``data/reference_district/truth/``, where tests look for it; no product code reads it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import polars as pl

from sources.reference_district import collapse, fire, grid, messages, police, tax, urban, water
from sources.reference_district.district import OFFSET, District, home, iso
from sources.reference_district.exports import Delivery
from sources.reference_district.faults import Fault
from sources.reference_district.records import Register

KEEP = 3  # generated districts kept on disk
REGISTERS = {
    "grid_management": ["grid_event", "resident", "household", "rented_housing"],
    "urban_management": ["service_request", "service", "falling_object"],
}
# Incidents are reported to these: system, entity, key column and column of the moment that counts.
REPORTS = [
    ("grid_management", "grid_event", "event_id", "occurred_at"),
    ("urban_management", "service_request", "service_request_id", "requested_at"),
    ("police_dispatch", "dispatch", "dispatch_id", "received_at"),
]
WITHOUT_TOTALS = ("smoke_episode", "settlement_point")  # what lies behind the readings: no rows that a product loads
COUNTED_BY = {"collapse": ["grade"], "void_survey": ["grade"], "fire_alarm": ["alarm_kind", "outcome"], "falling_object": ["is_confirmed"]}


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """One generation or delivery at a time in this data folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure(district: District) -> Path:
    """The folder of the generated district, generated now if it is missing. The caller holds `lock`."""
    folder = home() / "generated" / district.fingerprint()
    if not folder.exists():
        started = time.monotonic()
        partial = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            _generate(district, partial)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        _say(f"generated in {time.monotonic() - started:.1f} s")
        others = sorted(
            (p for p in folder.parent.iterdir() if p.is_dir() and p != folder and not p.name.startswith(".")),
            key=lambda p: p.stat().st_mtime,
        )
        for path in others[: max(0, len(others) - KEEP + 1)]:
            shutil.rmtree(path, ignore_errors=True)
    _show_truth(folder)
    return folder


def registers(folder: Path, system: str = "grid_management") -> dict[str, Register]:
    return {name: Register.load(folder / system, name) for name in REGISTERS[system]}


def deliveries(folder: Path) -> list[Delivery]:
    return [Delivery(**item) for item in orjson.loads((folder / "deliveries.json").read_bytes())]


def _say(text: str) -> None:
    print(f"reference district: {text}", file=sys.stderr, flush=True)


def _generate(district: District, folder: Path) -> None:
    scale = district.scale
    _say(f"generating {district.scale_name} scale: {scale.months} months of records …")
    records = grid.generate(district)
    requests = urban.generate(district, records.truth["grid_event"])
    for system, generated in (("grid_management", records), ("urban_management", requests)):
        (folder / system).mkdir()
        for name, register in generated.registers.items():
            register.save(folder / system, name)
    calls = police.generate(district, records.truth["grid_event"])
    police.save(calls, folder / police.SYSTEM)
    _say("tax filings and workbooks …")
    filings = tax.generate(district, folder / "tax_filing")
    assert filings.truth is not None
    ground = collapse.generate(district, folder / "ground_collapse")
    _say(f"{scale.telemetry_days + scale.days_after} days of telemetry …")
    sensors = water.generate(district, folder / "waterlogging")
    smoke = fire.generate(district, folder / "fire_detection")
    smoke.alarm_states.write_parquet(folder / messages.ALARM_STATES)
    delivered = filings.deliveries + ground.deliveries + sensors.deliveries + smoke.deliveries
    delivered.sort(key=lambda d: (d.arrival, d.system, d.name))
    (folder / "deliveries.json").write_bytes(orjson.dumps([vars(d) for d in delivered], option=orjson.OPT_INDENT_2))
    truth = {**records.truth, **requests.truth, **calls.truth, "filing": filings.truth, **ground.truth, **sensors.truth, **smoke.truth}
    faults = records.faults + requests.faults + calls.faults + filings.faults + ground.faults + sensors.faults + smoke.faults
    _write_truth(district, folder / "truth", truth, faults)


def _write_truth(district: District, folder: Path, truth: dict[str, pl.DataFrame], faults: list[Fault]) -> None:
    folder.mkdir()
    truth["incident_report"] = _reports(truth)
    for name, frame in truth.items():
        frame.write_parquet(folder / f"{name}.parquet")
    (folder / "faults.json").write_bytes(orjson.dumps([f.as_dict() for f in faults], option=orjson.OPT_INDENT_2))
    clocks = [district.clock_start, district.as_of]
    totals = {
        "seed": district.seed,
        "scale": district.scale_name,
        "as_of": iso(district.as_of),
        "by_clock": {
            iso(clock): {name: _totals(name, frame, faults, clock) for name, frame in truth.items() if name not in WITHOUT_TOTALS}
            for clock in clocks
        },
    }
    (folder / "totals.json").write_bytes(orjson.dumps(totals, option=orjson.OPT_INDENT_2))
    cube = pl.concat(
        [
            kept_events(truth["grid_event"], clock)
            .group_by("community_code", "current_community_code", "month", "type_code", "category")
            .agg(event_count=pl.len())
            .sort("community_code", "month", "type_code")
            .with_columns(clock=pl.lit(iso(clock)))
            for clock in clocks
        ]
    )
    cube.write_parquet(folder / "grid_event_totals.parquet")


def month_of(column: str) -> pl.Expr:
    """The Shanghai month of a moment, as text."""
    return pl.from_epoch(pl.col(column) + OFFSET, time_unit="s").dt.strftime("%Y-%m")


def _reports(truth: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Every report of an incident, whoever got it; those of one incident have one ``incident_id`` (the first report's key)."""
    parts = []
    for system, entity, key, moment in REPORTS:
        frame = truth[entity]
        linked = pl.col("linked_event_id") if "linked_event_id" in frame.columns else pl.lit(None, pl.Utf8)
        parts.append(
            frame.select(
                system=pl.lit(system),
                record_id=pl.col(key),
                incident_id=pl.coalesce(linked, pl.col(key)),
                type_code="type_code",
                category="category",
                community_code="community_code",
                current_community_code="current_community_code",
                reported_moment=pl.col(moment),
                arrival_1="arrival_1",
                is_broken="is_broken",
                mended_arrival="mended_arrival",
            )
        )
    return pl.concat(parts)


def kept_events(truth: pl.DataFrame, clock: int, moment: str = "occurred_at") -> pl.DataFrame:
    """Records that a right product counts at `clock`: arrived, and whole or mended by then; with ``month`` of `moment`."""
    mended = (pl.col("mended_arrival") >= 0) & (pl.col("mended_arrival") <= clock)
    return truth.filter((pl.col("arrival_1") <= clock) & (~pl.col("is_broken") | mended)).with_columns(month=month_of(moment))


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    return {"" if value is None else str(value): n for value, n in frame.group_by(column).len().sort(column).iter_rows()}


def _totals(name: str, frame: pl.DataFrame, faults: list[Fault], clock: int) -> dict[str, object]:
    """Counts of one entity at a clock: distinct keys kept and in quarantine, and the kept ones by what matters."""
    if name == "incident_report":
        return _incident_totals(frame, clock)
    moments = {entity: moment for _, entity, _, moment in REPORTS}
    if name in moments:
        arrived, kept = frame.filter(pl.col("arrival_1") <= clock), kept_events(frame, clock, moments[name])
        repeats = [f for f in faults if f.entity == name and f.kind == "exact_repeat" and f.arrival <= clock]
        return {
            "distinct_count": len(arrived),
            "served_count": len(arrived) + len(repeats),
            "kept_count": len(kept),
            "quarantined_count": len(arrived) - len(kept),
            "by_community": _counts(kept, "community_code"),
            "by_current_community": _counts(kept, "current_community_code"),
            "by_month": _counts(kept, "month"),
            "by_type": _counts(kept, "type_code"),
            "by_category": _counts(kept, "category"),
        }
    arrived = frame.filter(pl.col("arrival") <= clock)
    if name in ("water_level", "rain_gauge", "smoke_reading"):
        inside = arrived.filter(~pl.col("is_beyond")).with_columns(month=month_of("hour_at"))
        return {
            "kept_count": int(inside["reading_count"].sum()),
            "late_beyond_count": int(arrived.filter(pl.col("is_beyond"))["reading_count"].sum()),
            "by_month": {m: int(n) for m, n in inside.group_by("month").agg(pl.col("reading_count").sum()).sort("month").iter_rows()},
        }
    if name == "filing":
        latest = (
            arrived.filter(~pl.col("is_broken"))
            .sort("enterprise_code", "filing_month", "is_corrected")
            .unique(["enterprise_code", "filing_month"], keep="last", maintain_order=True)
        )
        return {
            "kept_count": len(latest),
            "quarantined_count": int(arrived["is_broken"].sum()),
            "corrected_count": int(latest["is_corrected"].sum()),
            "late_count": int(latest["is_late"].sum()),
            "by_month": _counts(latest, "filing_month"),
            "by_community": _counts(latest, "community_code"),
            "revenue_yuan_by_month": {
                m: round(v, 2)
                for m, v in latest.group_by("filing_month").agg(pl.col("revenue_yuan").sum()).sort("filing_month").iter_rows()
            },
        }
    key = "device_id" if name == "waterlogging_point" else "key"
    kept = arrived.filter(~pl.col("is_broken")).sort(key, "arrival").unique(key, keep="last", maintain_order=True)
    distinct = arrived[key].n_unique()
    totals: dict[str, object] = {"distinct_count": distinct, "kept_count": len(kept), "quarantined_count": distinct - len(kept)}
    if "community_code" in kept.columns:
        totals["by_community"] = _counts(kept, "community_code")
    if "file" in arrived.columns:  # every workbook is read anew: rows, and the broken ones among them
        totals |= {"row_count": len(arrived), "broken_row_count": int(arrived["is_broken"].sum())}
    if name == "patrol_hours_day":
        by_month = kept.with_columns(month=pl.col("patrol_date").str.slice(0, 7)).group_by("month").agg(pl.col("patrol_hours").sum())
        totals["patrol_hours_by_month"] = {m: round(hours, 1) for m, hours in by_month.sort("month").iter_rows()}
    return totals | {f"by_{column}": _counts(kept, column) for column in COUNTED_BY.get(name, [])}


def _incident_totals(reports: pl.DataFrame, clock: int) -> dict[str, object]:
    """Incidents at a clock, each counted once however many systems know it; month and place are those of its first report."""
    kept = kept_events(reports, clock, "reported_moment")
    incidents = (
        kept.sort("reported_moment", "record_id")
        .group_by("incident_id", maintain_order=True)
        .agg(pl.col("category", "month", "community_code", "type_code").first(), source_count=pl.col("system").n_unique())
    )
    return {
        "report_count": len(kept),
        "incident_count": len(incidents),
        "by_source_count": _counts(incidents, "source_count"),
        **{
            f"by_{column.removesuffix('_code')}": _counts(incidents, column)
            for column in ("category", "month", "community_code", "type_code")
        },
    }


def _show_truth(folder: Path) -> None:
    target = home() / "truth"
    stamp = target / ".fingerprint"
    if stamp.exists() and stamp.read_text() == folder.name:
        return
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder / "truth", target)
    stamp.write_text(folder.name)
