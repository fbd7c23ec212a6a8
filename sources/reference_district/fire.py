"""Smoke detectors: their register, what they measure, the alarms they raise, and the daily export files of their platform.

Belongs here: where detectors hang, cooking smoke and fires, batteries, silences, planted faults, and the text of a reading. A
reading's value is hundredths of a percent per metre; a day of all detectors is made and written at once.

Truth is kept per detector and hour of the true, whole, distinct readings, by the file they arrived in.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from sources.reference_district.district import DAY, District, at, date_of, date_texts, iso, iso_texts
from sources.reference_district.exports import Delivery
from sources.reference_district.faults import Fault
from sources.reference_district.geography import codes_on, communities

SYSTEM = "fire_detection"
OPEN_DAYS = 35
SPOTS = ["一楼楼梯间", "三楼走廊", "出租屋客厅", "小餐馆后厨", "便利店", "五楼楼梯间", "快递站", "出租屋厨房", "理发店", "仓库"]
SECOND_TEXTS = pl.Series([f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}+08:00" for s in range(DAY)])
HUNDREDTH_TEXTS = pl.Series([f"{i / 100:.2f}" for i in range(10_001)])
TENTH_TEXTS = pl.Series([f"{i / 10:.1f}" for i in range(1500)])
COOKING_A_DAY = 0.5  # episodes of cooking smoke by detector and day; most stay far below the alarm level
OUTAGE = (6 * 3600, 20 * 3600)
ALARM_SCHEMA = {
    "alarmId": pl.Utf8,
    "detectorId": pl.Utf8,
    "raisedAt": pl.Utf8,
    "clearedAt": pl.Utf8,
    "kind": pl.Utf8,
    "outcome": pl.Utf8,
    "updatedAt": pl.Utf8,
    "_updated": pl.Int64,
}


@dataclass
class Detectors:
    """All detectors, one array position each. place is an index into communities(district)."""

    ids: pl.Series
    place: np.ndarray
    building: np.ndarray
    spot: list[str]
    cadence: np.ndarray
    phase: np.ndarray
    alarm: np.ndarray  # hundredths of % per m
    installed: np.ndarray
    base: np.ndarray
    warmth: np.ndarray
    battery: np.ndarray  # % on the first day of telemetry
    drain: np.ndarray  # % a day


@dataclass
class Episodes:
    """Smoke above the usual, sorted by start: detector, start (moment), minutes of rise and fall, peak, and whether it is a fire."""

    detector: np.ndarray
    start: np.ndarray
    minutes: np.ndarray
    peak: np.ndarray
    fire: np.ndarray


@dataclass
class Generated:
    deliveries: list[Delivery] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    truth: dict[str, pl.DataFrame] = field(default_factory=dict)
    alarm_states: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ALARM_SCHEMA))


def detectors(district: District) -> Detectors:
    scale, rng, places = district.scale, district.rng("detectors"), communities(district)
    count = sum(scale.smoke_cadences.values())
    weight = np.array(
        [c.households * {"village": 5.0, "mixed": 1.5, "garden": 0.4}.get(c.kind, 0.0) * (c.merged_day is None) for c in places]
    )
    place = np.sort(rng.choice(len(places), count, p=weight / weight.sum()))
    return Detectors(
        pl.Series([f"FT-SD-{n + 1:04d}" for n in range(count)]),
        place,
        rng.integers(1, 80, count),
        [SPOTS[int(x)] for x in rng.integers(0, len(SPOTS), count)],
        rng.permutation(np.repeat(list(scale.smoke_cadences), list(scale.smoke_cadences.values()))),
        rng.integers(0, 600, count),
        rng.choice([800, 1000, 1200], count),
        district.telemetry_first_day - rng.integers(60, 1200, count),
        rng.uniform(4, 30, count),
        rng.normal(0, 1.5, count),
        rng.uniform(55, 100, count),
        rng.uniform(0.02, 0.08, count),
    )


def generate(district: District, folder: Path) -> Generated:
    """Write all export files to `folder` and return what was delivered, planted and true."""
    folder.mkdir(parents=True, exist_ok=True)
    result, known = Generated(), detectors(district)
    first, days = district.telemetry_first_day, district.as_of_day + district.scale.days_after - district.telemetry_first_day
    episodes = _episodes(district, known, first, days)
    plan = _Plan(district, result.faults, known, episodes)
    truths = []
    for day in range(first, first + days):
        truths.append(_day(district, result, folder, known, episodes, plan, day))
    truth = pl.concat([t for t in truths if len(t)]).sort("device", "hour_at", "arrival", "is_beyond")
    result.truth["smoke_reading"] = truth.select(
        known.ids[truth["device"]].alias("device_id"),
        "hour_at",
        "arrival",
        "is_beyond",
        "reading_count",
        *[(pl.col(f"value_{x}") / 100).alias(f"value_{x}") for x in ("sum", "max", "min")],
    )
    _alarms(district, result, folder, known, episodes, first, days)
    _registrations(district, result, folder, known, first)
    result.truth["smoke_episode"] = pl.DataFrame(
        {
            "device_id": known.ids[episodes.detector],
            "started_at": episodes.start,
            "minutes": episodes.minutes,
            "peak_pct": np.round(episodes.peak / 100, 2),
            "is_fire": episodes.fire,
            "arrival": episodes.start,
        }
    )
    return result


def _episodes(district: District, known: Detectors, first: int, days: int) -> Episodes:
    """Cooking in the hours of meals, and a few fires at any hour."""
    rng = district.rng("smoke_episodes")
    count = len(known.ids)
    kitchens = np.where(["厨" in s or "客厅" in s for s in known.spot], 2.2, 0.6)
    cooking = rng.poisson(kitchens * COOKING_A_DAY * days)
    detector = np.repeat(np.arange(count), cooking)
    total = len(detector)
    hour = rng.choice([7.2, 11.8, 18.4, 21.5], total, p=[0.15, 0.3, 0.45, 0.1]) + rng.normal(0, 0.6, total)
    start = at(first) + rng.integers(0, days, total) * DAY + (np.clip(hour, 0, 23.9) * 3600).astype(np.int64)
    peak = np.minimum(rng.lognormal(np.log(140), 0.75, total), 2600)
    minutes = rng.uniform(8, 35, total)
    fires = max(3, round(count * days / 120 / 40))
    burning = rng.permutation(count)[:fires]
    # some before AS_OF and at least one beyond it, so that a live clock meets one too
    fire_start = at(first) + rng.integers(3 * DAY, days * DAY - DAY // 2, fires)
    fire_start[0] = district.as_of + 5400 if district.scale.days_after else fire_start[0]
    fire_start[1] = district.as_of - 6 * DAY + 80_000
    order_detector = np.concatenate([detector, burning])
    start = np.concatenate([start, fire_start])
    order = np.argsort(start, kind="stable")
    return Episodes(
        order_detector[order],
        start[order],
        np.concatenate([minutes, rng.uniform(50, 110, fires)])[order],
        np.concatenate([peak, rng.uniform(2500, 7000, fires)])[order],
        np.concatenate([np.zeros(total, dtype=bool), np.ones(fires, dtype=bool)])[order],
    )


def _course(moment: np.ndarray, start: np.ndarray, minutes: np.ndarray) -> np.ndarray:
    """Share of an episode's peak at a moment: up within a fifth of its length, then down. Zero outside of it."""
    x = (moment - start) / (minutes * 60)
    return np.where((x >= 0) & (x <= 1), np.where(x < 0.2, x / 0.2, (1 - x) / 0.8), 0.0)


class _Plan:
    """Which detector has which fault when. Days are counted back from AS_OF, so that both scales have them all."""

    def __init__(self, district: District, faults: list[Fault], known: Detectors, episodes: Episodes) -> None:
        self.faults, self.known, self.end = faults, known, district.as_of_day
        rng = district.rng("faults", "smoke_reading")
        count, end = len(known.ids), self.end
        burning = set(episodes.detector[episodes.fire].tolist())
        free = [n for n in rng.permutation(count).tolist() if n not in burning]
        n = max(1, round(count / 100))
        self.silent = {d: end - int(back) for d, back in zip(free[:n], rng.integers(6, 40, n), strict=True)}
        self.flat = {d: end - int(back) for d, back in zip(free[n : 2 * n], rng.integers(8, 35, n), strict=True)}
        self.low = {d: end - int(back) for d, back in zip(free[2 * n : 4 * n], rng.integers(4, 30, 2 * n), strict=True)}
        rest = free[4 * n :]
        self.outage = end - 23
        late = [(rest[0], end - 45, end - 42), (rest[1], end - 20, end - 17), (rest[2 % len(rest)], end - 38, end - 26)]
        self.late = {(d, day): later for d, day, later in late}
        self.beyond = (rest[3 % len(rest)], end - 57, end - 16)
        self.block = (rest[4 % len(rest)], end - 29)
        self.repeats = max(2, district.faults(20))
        for d, day in self.silent.items():
            self._say(d, "silent", at(day), note="no reading any more")
        for d, day in self.flat.items():
            self._say(d, "flatline", at(day), at(day + 5), note="the same value all the time, for five days")
        for d, day in self.low.items():
            self._say(
                d,
                "low_battery",
                at(day - 12),
                at(day + 1),
                note="the battery runs down, the detector falls silent, and gets a new one a day later",
            )
        for (d, day), later in self.late.items():
            self._say(d, "late", at(day), at(day + 1), note=f"the readings of this day come in the file of {date_of(later)}")
        faults.append(
            Fault(
                SYSTEM,
                "smoke_reading",
                {"observed_since": iso(at(self.outage) + OUTAGE[0]), "observed_until": iso(at(self.outage) + OUTAGE[1])},
                "platform_outage",
                "kept",
                at(self.outage + 1, 2),
                note="the platform was down: no reading of any detector was kept, and none comes later",
            )
        )

    def _say(self, d: int, kind: str, since: int, until: int | None = None, note: str = "") -> None:
        key = {"device_id": self.known.ids[d], "observed_since": iso(since)} | ({"observed_until": iso(until)} if until else {})
        self.faults.append(Fault(SYSTEM, "smoke_reading", key, kind, "kept", since, note=note))

    def battery(self, day: int, first: int) -> np.ndarray:
        """Percent by detector on a day; the low ones fall from what they have to nothing in twelve days, then are new."""
        level = self.known.battery - self.known.drain * (day - first)
        for d, out in self.low.items():
            if out - 12 <= day <= out:
                level[d] = min(level[d], 24 * (out - day) / 12)
            elif day > out:
                level[d] = 100 - self.known.drain[d] * (day - out)
        return np.clip(np.round(level), 0, 100).astype(np.int64)

    def keep(self, day: int, device: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Which readings reach the platform."""
        kept = np.ones(len(device), dtype=bool)
        for d, since in self.silent.items():
            if day >= since:
                kept &= device != d
        for d, out in self.low.items():
            if day == out:
                kept &= device != d
        if day == self.outage:
            kept &= (second < OUTAGE[0]) | (second >= OUTAGE[1])
        return kept

    def arrival_days(self, day: int, device: np.ndarray) -> np.ndarray:
        """The day in whose file each reading comes."""
        result = np.full(len(device), day)
        for (d, late_day), later in self.late.items():
            if day == late_day:
                result[device == d] = later
        if day == self.beyond[1]:
            result[np.flatnonzero(device == self.beyond[0])[:5]] = self.beyond[2]
        return result


def _readings(
    district: District, known: Detectors, episodes: Episodes, plan: _Plan, day: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One day's true readings in the order of time: detector, second of the day, smoke, tenths of a degree, battery."""
    rng = district.rng("smoke_reading", day)
    per_day = 86_400 // (known.cadence * 60)
    device = np.repeat(np.arange(len(known.ids)), per_day)
    step = np.arange(len(device)) - np.repeat(np.cumsum(per_day) - per_day, per_day)
    second = known.phase[device] + step * known.cadence[device] * 60
    smoke = known.base[device] * rng.lognormal(0, 0.18, len(device))
    hour = second / 3600
    season = 22.5 + 6.5 * np.cos(2 * np.pi * (date_of(day).timetuple().tm_yday - 200) / 365.25)
    warm = season + known.warmth[device] + 2.5 * np.sin((hour - 9) / 24 * 2 * np.pi) + rng.normal(0, 0.25, len(device))
    moment = at(day) + second
    low, high = np.searchsorted(episodes.start, [at(day) - 2 * 3600, at(day + 1)])
    begins = np.cumsum(per_day) - per_day
    for e in range(int(low), int(high)):
        d = int(episodes.detector[e])
        rows = slice(int(begins[d]), int(begins[d] + per_day[d]))
        share = _course(moment[rows], episodes.start[e], episodes.minutes[e])
        smoke[rows] += episodes.peak[e] * share
        warm[rows] += (episodes.peak[e] / 100 * 0.9 if episodes.fire[e] else 1.5) * share
    value = np.clip(np.round(smoke), 0, 10_000).astype(np.int64)
    tenths = np.clip(np.round(warm * 10), 0, 1400).astype(np.int64)
    for d, since in plan.flat.items():
        if since <= day < since + 5:
            rows = slice(int(begins[d]), int(begins[d] + per_day[d]))
            value[rows], tenths[rows] = 12, 251
    battery = plan.battery(day, district.telemetry_first_day)[device]
    arrives = (rng.random(len(device)) >= 0.012) & plan.keep(day, device, second)
    order = np.flatnonzero(arrives)[np.argsort(second[arrives], kind="stable")]
    return device[order], second[order], value[order], tenths[order], battery[order]


def _day(district: District, result: Generated, folder: Path, known: Detectors, episodes: Episodes, plan: _Plan, day: int) -> pl.DataFrame:
    """Write one day's file with its faults; returns the truth of it by detector and hour.

    What is late is made again from its own day when the file in which it comes is written.
    """
    arrival = at(day + 1, 2)
    batches = []
    own = _readings(district, known, episodes, plan, day)
    now = plan.arrival_days(day, own[0]) == day
    batches.append((day, tuple(x[now] for x in own)))
    for of_day in sorted(
        {d for (_, d), later in plan.late.items() if later == day} | ({plan.beyond[1]} if plan.beyond[2] == day else set())
    ):
        if of_day >= district.telemetry_first_day:
            again = _readings(district, known, episodes, plan, of_day)
            late = plan.arrival_days(of_day, again[0]) == day
            batches.append((of_day, tuple(x[late] for x in again)))
    rng = district.rng("faults", "smoke_reading", day)
    texts: list[pl.Series] = []
    truths = []
    for of_day, (device, second, value, tenths, battery) in batches:
        lines = _lines(known, of_day, device, second, value, tenths, battery)
        whole = np.ones(len(device), dtype=bool)

        def say(
            i: int, kind: str, expected: str, rule: str | None = None, note: str = "", of_day: int = of_day, device=device, second=second
        ) -> None:
            key = {"device_id": known.ids[int(device[i])], "observed_at": iso(at(of_day) + int(second[i]))}
            result.faults.append(Fault(SYSTEM, "smoke_reading", key, kind, expected, arrival, rule, note=note))

        if of_day == day:
            free = iter(rng.permutation(np.flatnonzero(~np.isin(device, [plan.block[0], *plan.flat]))).tolist())
            if day % 4 == 0:
                changes: list[tuple[int, str]] = []
                for kind, rule, column, to in (
                    ("broken_date", "observed_at:type", "time", "2026-13-05T08:00:00+08:00"),
                    ("empty_required", "smoke_obscuration_pct:required", "smokePct", None),
                    ("out_of_range", "smoke_obscuration_pct:range", "smokePct", -1.0),
                    ("out_of_range", "temperature_celsius:range", "tempC", -127.0),
                ):
                    i = next(free)
                    changes.append((i, orjson.dumps(orjson.loads(lines[i]) | {column: to}).decode()))
                    whole[i] = False
                    say(i, kind, "quarantined", rule)
                lines = lines.scatter([i for i, _ in changes], [text for _, text in changes])
            repeated = [next(free) for _ in range(min(plan.repeats, len(device) // 4))]
            for i in repeated:
                say(i, "exact_repeat", "superseded")
            texts += [lines, lines.gather(repeated)]
            if day == plan.block[1]:
                for i in np.flatnonzero((device == plan.block[0]) & (second >= 36_000) & (second < 46_800)).tolist():
                    say(i, "repeat_next_day", "superseded", note="sent again in the next day's file")
        else:
            texts.append(lines)
            if day - of_day > OPEN_DAYS:
                for i in range(len(device)):
                    say(
                        i,
                        "late_beyond_open_days",
                        "quarantined",
                        "late",
                        "kept where its day is still open at loading, as in a first load of everything",
                    )
        if whole.any():
            truths.append(
                pl.DataFrame({"device": device[whole], "hour_at": at(of_day) + second[whole] // 3600 * 3600, "value": value[whole]})
                .group_by("device", "hour_at")
                .agg(
                    reading_count=pl.len(),
                    value_sum=pl.col("value").sum(),
                    value_max=pl.col("value").max(),
                    value_min=pl.col("value").min(),
                )
                .with_columns(arrival=pl.lit(arrival, pl.Int64), is_beyond=pl.lit(day - of_day > OPEN_DAYS))
            )
    if day == plan.block[1] + 1:
        again = _readings(district, known, episodes, plan, plan.block[1])
        block = (again[0] == plan.block[0]) & (again[1] >= 36_000) & (again[1] < 46_800)
        texts.append(_lines(known, plan.block[1], *(x[block] for x in again)))
    everything = pl.concat(texts)
    order = np.argsort(np.arange(len(everything)) + rng.uniform(0, 50, len(everything)), kind="stable")
    name = f"smoke_reading_{date_of(day):%Y%m%d}.ndjson.gz"
    _write(folder / name, everything[order])
    result.deliveries.append(Delivery(SYSTEM, name, arrival))
    return pl.concat(truths) if truths else pl.DataFrame()


def _lines(
    known: Detectors, day: int, device: np.ndarray, second: np.ndarray, value: np.ndarray, tenths: np.ndarray, battery: np.ndarray
) -> pl.Series:
    """One line of JSON per reading."""
    parts = pl.DataFrame(
        {
            "id": known.ids[device],
            "time": SECOND_TEXTS[second],
            "smoke": HUNDREDTH_TEXTS[value],
            "temp": TENTH_TEXTS[tenths],
            "battery": pl.Series(battery).cast(pl.Utf8),
        },
        schema_overrides={"battery": pl.Utf8},
    )
    return parts.select(
        pl.concat_str(
            pl.lit('{"detectorId":"'),
            "id",
            pl.lit(f'","time":"{date_of(day)}T'),
            "time",
            pl.lit('","smokePct":'),
            "smoke",
            pl.lit(',"tempC":'),
            "temp",
            pl.lit(',"battery":'),
            "battery",
            pl.lit("}"),
        ).alias("line")
    )["line"]


def _alarms(district: District, result: Generated, folder: Path, known: Detectors, episodes: Episodes, first: int, days: int) -> None:
    """Alarms where smoke passes a detector's level, a few called by hand, and a test of some detectors each month."""
    rng = district.rng("fire_alarm")
    end = at(first + days)
    level = known.alarm[episodes.detector]
    loud = np.flatnonzero((episodes.peak > level) & (episodes.start + 3600 < end))
    share = level[loud] / episodes.peak[loud] * 0.2
    raised = episodes.start[loud] + (share * episodes.minutes[loud] * 60).astype(np.int64) + rng.integers(1, 20, len(loud))
    cleared = raised + (episodes.minutes[loud] * 60 * (0.8 - share)).astype(np.int64) + rng.integers(60, 600, len(loud))
    fire = episodes.fire[loud]
    kind = np.where(fire & (rng.random(len(loud)) < 0.3), "heat", "smoke")
    outcome = np.where(fire, "fire", "false_alarm")
    manual = rng.integers(0, len(known.ids), max(2, round(len(loud) * 0.02)))
    manual_at = at(first) + rng.integers(0, days * DAY - 7200, len(manual))
    test_days = [d for d in range(first, first + days) if date_of(d).day == 15]
    tested = [(n, d) for d in test_days for n in rng.permutation(len(known.ids))[: max(1, len(known.ids) // 40)].tolist()]
    test_at = np.array([at(d, 10) + 90 * i for i, (_, d) in enumerate(tested)]) if tested else np.empty(0, dtype=np.int64)
    detector = np.concatenate([episodes.detector[loud], manual, np.array([n for n, _ in tested], dtype=np.int64)])
    raised = np.concatenate([raised, manual_at, test_at]).astype(np.int64)
    cleared = np.concatenate([cleared, manual_at + rng.integers(600, 5400, len(manual)), test_at + 45]).astype(np.int64)
    kind = np.concatenate([kind, np.full(len(manual), "manual"), np.full(len(tested), "smoke")])
    outcome = np.concatenate([outcome, rng.choice(["false_alarm", "fire"], len(manual), p=[0.8, 0.2]), np.full(len(tested), "test")])
    judged = cleared + rng.integers(120, 3600, len(cleared))
    order = np.argsort(raised, kind="stable")
    detector, raised, cleared, kind, outcome, judged = (x[order] for x in (detector, raised, cleared, kind, outcome, judged))
    count = len(raised)
    ids = "FA" + pl.Series(np.arange(1, count + 1)).cast(pl.Utf8).str.zfill(8)
    frame = pl.DataFrame({"alarmId": ids, "detectorId": known.ids[detector], "raisedAt": iso_texts(raised), "kind": kind})
    states = pl.concat(
        [
            frame.with_columns(
                clearedAt=iso_texts(cleared) if with_cleared else pl.lit(None, pl.Utf8),
                outcome=pl.Series(outcome) if with_outcome else pl.lit(None, pl.Utf8),
                updatedAt=iso_texts(moment + 2),
                _updated=pl.Series(moment + 2),
            ).select(list(ALARM_SCHEMA))
            for moment, with_cleared, with_outcome in ((raised, False, False), (cleared, True, False), (judged, True, True))
        ]
    )
    states = states.filter(pl.col("_updated") < end).sort("_updated", "alarmId")
    result.alarm_states = states
    broken: set[str] = set()
    candidates = [i for i in rng.permutation(count).tolist() if raised[i] < district.as_of - 2 * DAY]
    for i, rule, kind_ in zip(candidates, ("alarm_kind:enum", "raised_at:type"), ("unknown_value", "broken_date"), strict=False):
        broken.add(ids[i])
        change = {"kind": "烟雾"} if kind_ == "unknown_value" else {"raisedAt": "2026-13-05T08:00:00+08:00"}
        result.alarm_states = result.alarm_states.with_columns(
            *[pl.when(pl.col("alarmId") == ids[i]).then(pl.lit(v)).otherwise(pl.col(c)).alias(c) for c, v in change.items()]
        )
        result.faults.append(
            Fault(SYSTEM, "fire_alarm", {"alarm_id": ids[i]}, kind_, "quarantined", at((int(raised[i]) + 28_800) // DAY + 1, 2), rule)
        )
    states = result.alarm_states.with_columns(_day=(pl.col("_updated") + 28_800) // DAY)
    truth = []
    for day in range(first, first + days):
        mine = states.filter(pl.col("_day") == day).unique("alarmId", keep="last", maintain_order=True)
        name, arrival = f"fire_alarm_{date_of(day):%Y%m%d}.ndjson.gz", at(day + 1, 2)
        texts = [orjson.dumps(row).decode() for row in mine.select([c for c in ALARM_SCHEMA if not c.startswith("_")]).to_dicts()]
        _write(folder / name, pl.Series(texts, dtype=pl.Utf8))
        result.deliveries.append(Delivery(SYSTEM, name, arrival))
        truth.append(mine.with_columns(arrival=pl.lit(arrival, pl.Int64)))
    fire_of = dict(zip(ids, (outcome == "fire").tolist(), strict=True))
    place_of = dict(zip(known.ids, [communities(district)[p].code for p in known.place.tolist()], strict=True))
    rows = pl.concat(truth)
    result.truth["fire_alarm"] = rows.select(
        key="alarmId",
        device_id="detectorId",
        arrival="arrival",
        alarm_kind="kind",
        outcome="outcome",
        updated_at="_updated",
        community_code=pl.col("detectorId").replace_strict(place_of),
        is_fire=pl.col("alarmId").replace_strict(fire_of),
        is_broken=pl.col("alarmId").is_in(sorted(broken)),
    )


def _registrations(district: District, result: Generated, folder: Path, known: Detectors, first: int) -> None:
    """A snapshot of all detectors before the first reading, and the changed ones whenever something changes."""
    rng, end, places = district.rng("detector", "registrations"), district.as_of_day, communities(district)
    count = len(known.ids)
    days: dict[int, dict[int, dict[str, object]]] = {first - 1: {n: {} for n in range(count)}}
    for back in (70, 41, 18, 7):
        if end - back > first:
            for n in rng.choice(count, max(1, count // 60), replace=False).tolist():
                days.setdefault(end - back, {})[n] = {"alarmPct": round(float(known.alarm[n]) / 100 + float(rng.choice([1.0, -1.0])), 1)}
    wrong = int(rng.integers(0, count))
    days.setdefault(end - 28, {})[wrong] = {"alarmPct": 1000.0}
    days.setdefault(end - 25, {})[wrong] = {}
    truth, current = [], {n: {} for n in range(count)}  # type: ignore[var-annotated]
    for day, changed in sorted(days.items()):
        arrival, texts = at(day + 1, 2), []
        codes = codes_on(places, known.place, np.full(count, day))
        for n, change in sorted(changed.items()):
            broken = change.get("alarmPct") == 1000.0
            if not broken:
                current[n] |= change
            payload = {
                "detectorId": known.ids[n],
                "name": f"{places[known.place[n]].name}{known.building[n]}栋{known.spot[n]}烟感",
                "communityCode": str(codes[n]),
                "buildingCode": f"{codes[n]}{known.building[n]:07d}",
                "locationName": f"{places[known.place[n]].name}{known.building[n]}栋{known.spot[n]}",
                "cadenceMinutes": int(known.cadence[n]),
                "alarmPct": float(known.alarm[n]) / 100,
                "installedOn": str(date_texts(known.installed[n : n + 1])[0]),
                "modifiedAt": iso(at(day, 17)),
            }
            payload |= change if broken else current[n]
            texts.append(orjson.dumps(payload).decode())
            if broken:
                result.faults.append(
                    Fault(
                        SYSTEM,
                        "detector",
                        {"device_id": known.ids[n], "modified_at": str(payload["modifiedAt"])},
                        "out_of_range",
                        "quarantined",
                        arrival,
                        "alarm_level_pct:range",
                        at(end - 24, 2),
                        "put right three days later",
                    )
                )
            truth.append(
                {
                    "key": known.ids[n],
                    "arrival": arrival,
                    "is_broken": broken,
                    "community_code": str(codes[n]),
                    "cadence_minutes": int(known.cadence[n]),
                    "alarm_level_pct": payload["alarmPct"],
                }
            )
        name = f"detector_{date_of(day):%Y%m%d}.ndjson.gz"
        _write(folder / name, pl.Series(texts, dtype=pl.Utf8))
        result.deliveries.append(Delivery(SYSTEM, name, arrival))
    result.truth["detector"] = pl.DataFrame(truth, infer_schema_length=None)


def _write(path: Path, lines: pl.Series) -> None:
    """Lines as gzip whose bytes depend on nothing but the lines."""
    text = "\n".join(lines.to_list())
    path.write_bytes(gzip.compress((text + "\n" if text else "").encode(), 1, mtime=0))
