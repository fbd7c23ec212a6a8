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

from sources.reference_district import grid, tax, water
from sources.reference_district.district import OFFSET, District, home, iso
from sources.reference_district.exports import Delivery
from sources.reference_district.faults import Fault
from sources.reference_district.records import Register

KEEP = 3  # generated districts kept on disk
REGISTERS = ["grid_event", "resident", "household", "rented_housing"]


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


def registers(folder: Path) -> dict[str, Register]:
    return {name: Register.load(folder / "grid_management", name) for name in REGISTERS}


def deliveries(folder: Path) -> list[Delivery]:
    return [Delivery(**item) for item in orjson.loads((folder / "deliveries.json").read_bytes())]


def _say(text: str) -> None:
    print(f"reference district: {text}", file=sys.stderr, flush=True)


def _generate(district: District, folder: Path) -> None:
    scale = district.scale
    _say(f"generating {district.scale_name} scale: {scale.months} months of records …")
    records = grid.generate(district)
    (folder / "grid_management").mkdir()
    for name, register in records.registers.items():
        register.save(folder / "grid_management", name)
    _say("tax filings …")
    filings = tax.generate(district, folder / "tax_filing")
    _say(f"{scale.telemetry_days + scale.days_after} days of telemetry …")
    sensors = water.generate(district, folder / "waterlogging")
    everything = sorted(filings.deliveries + sensors.deliveries, key=lambda d: (d.arrival, d.system, d.name))
    (folder / "deliveries.json").write_bytes(orjson.dumps([vars(d) for d in everything], option=orjson.OPT_INDENT_2))
    assert filings.truth is not None
    truth = {**records.truth, "filing": filings.truth, **sensors.truth}
    _write_truth(district, folder / "truth", truth, records.faults + filings.faults + sensors.faults)


def _write_truth(district: District, folder: Path, truth: dict[str, pl.DataFrame], faults: list[Fault]) -> None:
    folder.mkdir()
    for name, frame in truth.items():
        frame.write_parquet(folder / f"{name}.parquet")
    (folder / "faults.json").write_bytes(orjson.dumps([f.as_dict() for f in faults], option=orjson.OPT_INDENT_2))
    clocks = [district.clock_start, district.as_of]
    totals = {
        "seed": district.seed,
        "scale": district.scale_name,
        "as_of": iso(district.as_of),
        "by_clock": {iso(clock): {name: _totals(name, frame, faults, clock) for name, frame in truth.items()} for clock in clocks},
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


def kept_events(truth: pl.DataFrame, clock: int) -> pl.DataFrame:
    """Events that a right product counts at `clock`: arrived, and whole or mended by then; with ``month`` of occurrence."""
    mended = (pl.col("mended_arrival") >= 0) & (pl.col("mended_arrival") <= clock)
    return truth.filter((pl.col("arrival_1") <= clock) & (~pl.col("is_broken") | mended)).with_columns(month=month_of("occurred_at"))


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(frame.group_by(column).len().sort(column).iter_rows())


def _totals(name: str, frame: pl.DataFrame, faults: list[Fault], clock: int) -> dict[str, object]:
    """Counts of one entity at a clock: distinct keys kept and in quarantine, and the kept ones by what matters."""
    if name == "grid_event":
        arrived, kept = frame.filter(pl.col("arrival_1") <= clock), kept_events(frame, clock)
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
    if name in ("water_level", "rain_gauge"):
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
    if name == "waterlogging_point":
        arrived = arrived.filter(~pl.col("is_broken"))
    latest = arrived.sort(key, "arrival").unique(key, keep="last", maintain_order=True)
    kept = latest.filter(~pl.col("is_broken"))
    return {
        "distinct_count": len(latest),
        "kept_count": len(kept),
        "quarantined_count": len(latest) - len(kept),
        "by_community": _counts(kept, "community_code"),
    }


def _show_truth(folder: Path) -> None:
    target = home() / "truth"
    stamp = target / ".fingerprint"
    if stamp.exists() and stamp.read_text() == folder.name:
        return
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder / "truth", target)
    stamp.write_text(folder.name)
