"""What one reference district is: its seed, its time span, its size, its folders, its random streams and its time texts.

Belongs here: settings and the small vectorised helpers that every generator shares. Does not belong here: any figure of
a department (see `grid`, `tax`, `water`) and anything about serving.

Moments are int64 seconds since 1970 UTC throughout the package; days are those of Asia/Shanghai (UTC+8, no summer time),
numbered as days since 1970-01-01.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import polars as pl

from sources import settings
from sources.errors import SscError

SHANGHAI = timezone(timedelta(hours=8))
OFFSET = 8 * 3600
DAY = 86400
NEVER = np.iinfo(np.int64).max
PACKAGE = Path(__file__).resolve().parent


class DistrictError(SscError):
    """The reference district cannot be generated, moved or served."""


@dataclass(frozen=True)
class Scale:
    """How much there is. Counts are targets over the months that end at AS_OF."""

    subdistricts: tuple[str, ...]  # empty: all
    months: int
    telemetry_days: int
    days_after: int  # days generated beyond AS_OF, so that the clock can be moved on
    events: int
    households: int
    rented: int
    enterprises: int
    level_cadences: dict[int, int]  # minutes -> gauges
    rain_cadences: dict[int, int]
    requests: int
    falling_objects: int
    dispatches: int
    collapses: int
    voids: int
    settlement_points: int
    smoke_cadences: dict[int, int]
    fault_share: float  # of the number of planted faults at demo scale


SCALES = {
    "demo": Scale(
        subdistricts=(),
        months=24,
        telemetry_days=120,
        days_after=31,
        events=166_000,
        households=25_000,
        rented=6_000,
        enterprises=6_200,
        level_cadences={1: 3, 2: 6, 5: 27, 10: 24},
        rain_cadences={5: 6, 10: 14},
        requests=200_000,
        falling_objects=6_000,
        dispatches=80_000,
        collapses=60,
        voids=420,
        settlement_points=120,
        smoke_cadences={10: 340, 15: 85, 20: 40, 30: 20, 60: 15},
        fault_share=1.0,
    ),
    "test": Scale(
        subdistricts=("440304001",),
        months=3,
        telemetry_days=62,
        days_after=3,
        events=3_000,
        households=210,
        rented=60,
        enterprises=200,
        level_cadences={1: 1, 2: 1, 5: 2, 10: 36},
        rain_cadences={10: 10},
        requests=3_600,
        falling_objects=100,
        dispatches=1_450,
        collapses=8,
        voids=30,
        settlement_points=12,
        smoke_cadences={10: 2, 20: 4, 30: 4, 60: 2},
        fault_share=0.15,
    ),
}


@dataclass(frozen=True)
class District:
    """One reference district: the same three settings (and the same code) give the same bytes."""

    seed: int
    as_of: int
    scale_name: str

    @classmethod
    def from_environment(cls) -> District:
        """The district that SEED, AS_OF and SCALE describe.

        Raises:
            DistrictError: a setting cannot be read.
        """
        scale = os.environ.get("SCALE") or "demo"
        if scale not in SCALES:
            raise DistrictError(f"there is no scale {scale!r}", where="SCALE", next_step=f"set SCALE to one of {', '.join(SCALES)}")
        try:
            seed = int(os.environ.get("SEED") or 440304)
        except ValueError as error:
            raise DistrictError("the seed is no whole number", where="SEED", next_step="set for example SEED=440304") from error
        return cls(seed, seconds(os.environ.get("AS_OF") or "2026-11-01T00:00+08:00", "AS_OF"), scale)

    @property
    def scale(self) -> Scale:
        return SCALES[self.scale_name]

    @property
    def start(self) -> int:
        """First moment of the records: `months` before AS_OF."""
        return months_before(self.as_of, self.scale.months)

    @property
    def clock_start(self) -> int:
        """Where the clock stands at first: one month before AS_OF."""
        return months_before(self.as_of, 1)

    @property
    def end(self) -> int:
        """Nothing is generated beyond this moment."""
        return self.as_of + self.scale.days_after * DAY

    @property
    def first_day(self) -> int:
        return day_of(self.start)

    @property
    def as_of_day(self) -> int:
        """The first Shanghai day that begins at AS_OF or after it."""
        return day_of(self.as_of + DAY - 1)

    @property
    def telemetry_first_day(self) -> int:
        return self.as_of_day - self.scale.telemetry_days

    def rng(self, *key: str | int) -> np.random.Generator:
        """A random stream of its own for one thing, found by name: adding another thing never shifts it."""
        text = "|".join(str(part) for part in (self.seed, *key))
        return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))

    def faults(self, demo_count: int) -> int:
        """How many of a kind of fault to plant at this scale."""
        return max(2, round(demo_count * self.scale.fault_share))

    def fingerprint(self) -> str:
        """12 hex digits that change with the settings and with the code and data of this package."""
        digest = hashlib.sha256(f"{self.seed}|{self.as_of}|{self.scale_name}".encode())
        for path in sorted(PACKAGE.iterdir()):
            if path.suffix in {".py", ".csv"}:
                digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()[:12]


def home() -> Path:
    """``data/reference_district``: everything this package writes."""
    return settings.data_dir() / "reference_district"


def seconds(text: str, where: str) -> int:
    """An ISO 8601 timestamp with an offset as seconds since 1970 UTC.

    Raises:
        DistrictError: no timestamp, or no offset.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise DistrictError(f"{text!r} is no timestamp", where=where, next_step="write for example 2026-10-01T00:00+08:00") from error
    if moment.tzinfo is None:
        raise DistrictError(f"{text!r} has no offset", where=where, next_step="write for example 2026-10-01T00:00+08:00")
    return int(moment.timestamp())


def iso(moment: int) -> str:
    """A moment as text in Shanghai time, e.g. ``2026-10-01T00:00:00+08:00``."""
    return datetime.fromtimestamp(int(moment), SHANGHAI).isoformat()


def day_of(moment: int) -> int:
    return (int(moment) + OFFSET) // DAY


def at(day: int, hour: float = 0) -> int:
    """The moment of an hour of a Shanghai day."""
    return int(day) * DAY - OFFSET + int(hour * 3600)


def date_of(day: int) -> date:
    return date(1970, 1, 1) + timedelta(days=int(day))


def months_before(moment: int, months: int) -> int:
    """The same day and hour of a month `months` earlier (the last day of it, where it is shorter)."""
    local = datetime.fromtimestamp(moment, SHANGHAI)
    index = local.year * 12 + local.month - 1 - months
    for back in range(4):
        try:
            return int(local.replace(year=index // 12, month=index % 12 + 1, day=local.day - back).timestamp())
        except ValueError:
            continue
    raise AssertionError("every month has 28 days")


def iso_texts(moments: np.ndarray) -> pl.Series:
    """Moments as texts like ``2026-10-01T08:05:00+08:00``; NEVER becomes null."""
    frame = pl.DataFrame({"t": moments.astype(np.int64)})
    return frame.select(
        pl.when(pl.col("t") < NEVER)
        .then(pl.from_epoch(pl.when(pl.col("t") < NEVER).then(pl.col("t")) + OFFSET, time_unit="s").dt.strftime("%Y-%m-%dT%H:%M:%S+08:00"))
        .otherwise(None)
    ).to_series()


def date_texts(days: np.ndarray) -> pl.Series:
    """Days since 1970-01-01 as texts like ``2026-10-01``."""
    return pl.Series(np.asarray(days, dtype="datetime64[D]")).dt.strftime("%Y-%m-%d")


def utc(moment: int) -> datetime:
    return datetime.fromtimestamp(int(moment), UTC)
