"""Rain: how much fell on a day and when in the day.

Source: `rain_daily.csv`, the wet days of 2012-2015 at Seattle (NOAA, public domain). The series is real; it is shifted by
half a year, because Seattle's wet months are Shenzhen's dry ones, and multiplied by 1.7, the ratio of the yearly sums
(about 1,900 mm against 1,100 mm). Local factors and the course within a day are generated.
"""

from __future__ import annotations

import csv
from datetime import date, timedelta
from functools import cache

import numpy as np

from sources.reference_district.district import PACKAGE, District, date_of

FACTOR = 1.7
STEPS = 288  # five-minute steps of a day


@cache
def _series() -> dict[date, float]:
    with open(PACKAGE / "rain_daily.csv", encoding="utf-8", newline="") as file:
        return {date.fromisoformat(row["date"]): float(row["rain_mm"]) for row in csv.DictReader(file)}


def daily(day: int) -> float:
    """Rain of one Shanghai day in mm, the district's mean."""
    shifted = date_of(day) - timedelta(days=183)
    month_day = (2, 28) if (shifted.month, shifted.day) == (2, 29) else (shifted.month, shifted.day)
    return FACTOR * _series().get(date(2012 + (shifted.year - 2024) % 4, *month_day), 0.0)


def local_factors(district: District, subdistrict: str, first_day: int, days: int) -> np.ndarray:
    """What a subdistrict gets as a share of the district's mean, by day; shape (days,).

    Drawn from a fixed origin, so that two spans agree where they overlap.
    """
    origin = 18262  # 2020-01-01
    drawn = district.rng("rain", subdistrict).lognormal(-0.045, 0.3, first_day - origin + days)
    return drawn[first_day - origin :]


def bursts(district: District, day: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middle (minute of the day), width (minutes) and share of each burst of a day's rain."""
    rng = district.rng("bursts", day)
    count = int(rng.integers(1, 4))
    return (
        rng.choice([200, 460, 820, 930, 1020, 1180], count) + rng.uniform(-60, 60, count),
        rng.uniform(18, 80, count),
        rng.dirichlet([2.0] * count),
    )


def profile(district: District, day: int) -> np.ndarray:
    """Rain of a day by five-minute step in mm, the district's mean; shape (288,), sums to `daily`."""
    total = daily(day)
    if total == 0:
        return np.zeros(STEPS)
    minute = np.arange(STEPS) * 5 + 2.5
    middle, width, share = bursts(district, day)
    shape = (share[:, None] / width[:, None] * np.exp(-0.5 * ((minute - middle[:, None]) / width[:, None]) ** 2)).sum(axis=0)
    shape[shape < shape.max() * 0.01] = 0
    return total * shape / shape.sum()
