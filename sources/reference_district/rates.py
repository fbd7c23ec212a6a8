"""How often incidents of a type occur: by community, season, weekday, holiday, rain and hour of the day, whoever reports them.

Belongs here: the rates that the systems with incidents share, so that a busy community is busy in all of them. What a report
looks like and what becomes of it is the business of `grid`, `urban` and `police`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sources.reference_district import rain
from sources.reference_district.district import DAY, District, date_of
from sources.reference_district.geography import Community, communities, populations

# How much more (or less) often than elsewhere a type occurs in a kind of community; other types: 1.
KIND_FACTORS = {
    "village": {
        "A01": 1.6,
        "A02": 1.5,
        "A06": 3.0,
        "B01": 1.5,
        "C01": 1.8,
        "C02": 1.7,
        "C06": 1.6,
        "C07": 1.4,
        "C08": 1.9,
        "C05": 0.4,
        "C04": 0.4,
        "D05": 1.3,
        "A07": 1.4,
        "A08": 1.1,
        "A09": 1.5,
        "A14": 1.3,
    },
    "garden": {"A06": 0.4, "A04": 0.3, "C03": 1.5, "C05": 1.6, "C09": 0.4, "D02": 0.6, "D04": 0.7, "A07": 0.6, "A09": 0.6, "A13": 1.1},
    "mixed": {"A04": 2.2, "C04": 2.4, "C05": 1.3, "C09": 2.1, "C10": 1.5, "D02": 1.3, "D04": 1.6, "D05": 1.5, "A07": 1.3, "A12": 1.6},
}
# Factors by weekday, Monday first.
WEEKDAY = {
    "A04": [1.5, 1.3, 1.2, 1.1, 1.1, 0.5, 0.3],
    "C09": [1.3, 1.2, 1.2, 1.2, 1.1, 0.6, 0.4],
    "D03": [0.8, 0.8, 0.8, 0.9, 1.1, 1.4, 1.2],
    "A07": [1.0, 1.0, 1.0, 1.0, 1.05, 1.0, 0.95],
    "A08": [1.1, 1.1, 1.1, 1.05, 1.05, 0.8, 0.8],
    "A09": [0.85, 0.85, 0.85, 0.9, 1.15, 1.3, 1.1],
    "A14": [0.9, 0.9, 0.9, 0.9, 1.0, 1.2, 1.2],
    "A13": [1.0] * 7,
}
OFFICE_WEEK = [1.12, 1.06, 1.04, 1.03, 1.03, 0.88, 0.84]
HOLIDAYS = ["2025-01-29", "2025-10-01", "2026-02-17", "2026-10-01"]
DAY_SHIFT = [1, 0.6, 0.5, 0.4, 0.5, 1, 2, 4.5, 8, 9.5, 9.5, 7.5, 4.5, 5.5, 8, 9, 9, 7.5, 5, 5, 5.5, 4, 2.5, 1.5]
ROUND_THE_CLOCK = [3.4, 2.6, 1.9, 1.5, 1.2, 1.2, 1.8, 3.0, 4.4, 5.2, 5.2, 5.0, 4.4, 4.4, 4.8, 5.0, 5.2, 5.6, 5.6, 5.8, 6.2, 6.4, 5.6, 4.6]


def occurrences(
    district: District, stream: str, codes: Sequence[str], weights: Sequence[float], total: float
) -> Iterator[tuple[int, Community, np.random.Generator, np.ndarray, np.ndarray]]:
    """What occurs, community by community: its index, itself, its random stream, and of each occurrence the position in codes
    and the day.

    weights: share of each code. total: expected number over the months that end at AS_OF.
    """
    places = communities(district)
    days = np.arange(district.first_day, district.first_day + (district.end - district.start) // DAY)
    in_span = days < district.as_of_day
    share = np.array(weights)
    kinds = np.array([[KIND_FACTORS.get(c.kind, {}).get(code, 1.0) for code in codes] for c in places])
    local = np.array([district.rng("community", c.code).lognormal(0, 0.22) for c in places])
    local = np.where([c.kind == "" for c in places], 4.0, local)  # few live in the bonded zone, many work there
    head = populations(places, days) * local[:, None]
    wet = {
        s: np.array([rain.daily(int(d)) for d in days]) * rain.local_factors(district, s, int(days[0]), len(days))
        for s in sorted({c.subdistrict for c in places})
    }
    factors = {s: _day_factors(codes, days, mm) for s, mm in wet.items()}
    rates = [head[i][None, :] * (share * kinds[i])[:, None] * factors[c.subdistrict] for i, c in enumerate(places)]
    scale = total / sum(rate[:, in_span].sum() for rate in rates)
    for i, c in enumerate(places):
        rng = district.rng(stream, c.code)
        weeks = rng.gamma(14, 1 / 14, (len(codes), len(days) // 7 + 1))
        counts = rng.poisson(rates[i] * scale * np.repeat(weeks, 7, axis=1)[:, : len(days)])
        kind, day = np.repeat(np.indices(counts.shape).reshape(2, -1), counts.ravel(), axis=1)
        yield i, c, rng, kind, days[day]


def _day_factors(codes: Sequence[str], days: np.ndarray, wet: np.ndarray) -> np.ndarray:
    """Season, weekday, holiday, trend and rain by type and day; shape (types, days). wet: rain in mm by day."""
    dates = [date_of(d) for d in days]
    weekday = np.array([d.weekday() for d in dates])
    phase = 2 * np.pi * np.array([d.timetuple().tm_yday for d in dates]) / 365.25
    holiday = np.ones(len(days))
    for name in HOLIDAYS:
        holiday[np.abs(days - np.datetime64(name).astype(int) - 3) <= 4] = 0.7
    week = np.convolve(wet, np.ones(7))[: len(wet)]
    recent = wet + 0.25 * np.concatenate([[0], wet[:-1]])
    factors = np.empty((len(codes), len(days)))
    for i, code in enumerate(codes):
        base = np.array(WEEKDAY.get(code, OFFICE_WEEK))[weekday] * holiday * (1 + 0.08 * (days - days[0]) / 730)
        season = {"C06": 0.35, "B04": 0.35, "D05": 0.15, "C02": -0.3, "D03": 0.15, "D01": 0.15}.get(code, 0.05)
        base = base * (1 - season * np.cos(phase - 0.4))
        match code:
            case "B01":
                base = 0.04 + (recent / 14) ** 1.35
            case "B02":
                base = base * (0.6 + week / 90)
            case "B03":
                base = 0.3 + recent / 14
            case "B04" | "D06":
                base = base * (0.8 + recent / 40)
            case "D04":
                base = base * np.where(wet > 2, 0.4, 1.15)
            case "A12":
                base = base * (1 + recent / 90)
        factors[i] = base
    return factors


def seconds_of_day(
    district: District, rng: np.random.Generator, day: np.ndarray, is_flood: np.ndarray, profile: Sequence[float] = DAY_SHIFT
) -> np.ndarray:
    """When in the day things are seen: by the profile of hours, and floods soon after the rain."""
    weights = np.array(profile)
    count = len(day)
    second = (rng.choice(24, count, p=weights / weights.sum()) * 3600 + rng.integers(0, 3600, count)).astype(np.int64)
    for wet in np.unique(day[is_flood]):
        middle, width, share = rain.bursts(district, int(wet))
        chosen = is_flood & (day == wet)
        which = rng.choice(len(middle), int(chosen.sum()), p=share)
        second[chosen] = np.clip(
            (middle[which] + rng.normal(25, 1, len(which)) + width[which] * rng.normal(0, 0.8, len(which))) * 60, 0, DAY - 1
        )
    return second
