"""Waterlogging monitoring: gauges, what they measure, and the daily export files of their platform.

Belongs here: where gauges stand, how a level follows the rain, NGSI-LD payloads (simplified, and normalized for a few
devices), files by day, planted faults. Model of a level: rain above what the drains take raises the water in
proportion to the catchment, and it falls away exponentially. Coordinates are generated, as there is no public geometry.

Truth is kept per device and hour of the true, whole, distinct readings, by the file they arrived in.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from sources.reference_district import rain
from sources.reference_district.district import DAY, District, at, date_of, iso
from sources.reference_district.exports import Delivery
from sources.reference_district.faults import Fault
from sources.reference_district.geography import Community, communities

SYSTEM = "waterlogging"
OPEN_DAYS = 35
SPOTS = ["地铁口", "下沉广场", "地下通道", "公交站", "小学门口", "菜市场路口", "牌坊", "停车场入口", "天桥下", "河堤口"]
SECOND_TEXTS = pl.Series([f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}+08:00" for s in range(DAY)])
MILLI_TEXTS = pl.Series([f"{i / 1000:.3f}" for i in range(-500, 5000)])
TENTH_TEXTS = pl.Series([f"{i / 10:.1f}" for i in range(1000)])


@dataclass
class Device:
    """One gauge as registered. level parameters: drains_mm (per five minutes), gain_m (per mm above), fall_minutes, base_m."""

    id: str
    kind: str  # water_level | rain_gauge
    name: str
    place: Community
    spot: str
    cadence: int
    phase: int
    alarm_m: float | None
    installed: int
    longitude: float
    latitude: float
    normalized: bool = False
    drains_mm: float = 0
    gain_m: float = 0
    fall_minutes: float = 60
    base_m: float = 0.05
    catch: float = 1.0


@dataclass
class Generated:
    deliveries: list[Delivery] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    truth: dict[str, pl.DataFrame] = field(default_factory=dict)
    devices: list[Device] = field(default_factory=list)


def devices(district: District) -> list[Device]:
    """All gauges, in the order of their ids."""
    scale = district.scale
    places = [c for c in communities(district) if c.merged_day is None and c.kind]
    rng = district.rng("devices")
    chance = np.array([{"village": 2.0, "mixed": 1.2}.get(c.kind, 0.8) for c in places])
    found: list[Device] = []
    for kind, cadences in (("water_level", scale.level_cadences), ("rain_gauge", scale.rain_cadences)):
        wanted = sum(cadences.values())
        chosen: list[int] = []
        while len(chosen) < wanted:
            chosen += rng.choice(len(places), min(len(places), wanted - len(chosen)), replace=False, p=chance / chance.sum()).tolist()
        steps = rng.permutation(np.repeat(list(cadences), list(cadences.values())))
        for n, (place_index, cadence) in enumerate(zip(sorted(chosen), steps.tolist(), strict=True), start=1):
            place = places[place_index]
            spot = SPOTS[(n + place_index) % len(SPOTS)]
            level = kind == "water_level"
            found.append(
                Device(
                    f"urn:ngsi-ld:Device:FT-{'WL' if level else 'RG'}-{n:03d}",
                    kind,
                    f"{place.name}{spot}{'水位计' if level else '雨量计'}",
                    place,
                    f"{place.name}{spot}",
                    cadence,
                    int(rng.integers(0, 60)),
                    float(rng.choice([0.15, 0.2, 0.27, 0.4])) if level else None,
                    district.telemetry_first_day - int(rng.integers(100, 1500)),
                    round(114.01 + 0.09 * float(rng.random()), 5),
                    round(22.515 + 0.055 * float(rng.random()), 5),
                    n % 12 == 5,
                    float(rng.uniform(0.5, 1.8)),
                    float(rng.uniform(0.012, 0.05)),
                    float(rng.uniform(35, 160)),
                    float(rng.uniform(0.02, 0.07)),
                    float(rng.lognormal(0, 0.12)),
                )
            )
    return found


def generate(district: District, folder: Path) -> Generated:
    """Write all export files to `folder` and return what was delivered, planted and true."""
    folder.mkdir(parents=True, exist_ok=True)
    result = Generated(devices=devices(district))
    first, days = district.telemetry_first_day, district.as_of_day + district.scale.days_after - district.telemetry_first_day
    down = district.as_of_day - 47 if days > 60 else district.as_of_day - 10
    arrivals = {d: at(d + 1, 38 if d == down else 2) for d in range(first, first + days)}
    result.faults.append(
        Fault(
            SYSTEM,
            "*",
            {"day": str(date_of(down))},
            "export_down",
            "kept",
            arrivals[down],
            note="the export did not run: the files of this day came 36 hours late",
        )
    )
    steps = _rain_steps(district, result.devices, first, days)
    for kind, steps_of in (
        ("water_level", _levels(district, result.devices, steps)),
        ("rain_gauge", np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0)))),
    ):
        mine = [(i, d) for i, d in enumerate(result.devices) if d.kind == kind]
        result.truth[kind] = _telemetry(district, result, folder, kind, mine, steps_of, first, days, arrivals)
    _registrations(district, result, folder, first)
    return result


def _rain_steps(district: District, gauges: list[Device], first: int, days: int) -> np.ndarray:
    """Rain at each device by five-minute step in mm; shape (devices, days * 288)."""
    common = np.stack([rain.profile(district, d) for d in range(first, first + days)])
    local = {s: rain.local_factors(district, s, first, days) for s in sorted({g.place.subdistrict for g in gauges})}
    return np.stack([(common * local[g.place.subdistrict][:, None]).ravel() * g.catch for g in gauges])


def _levels(district: District, gauges: list[Device], rain_mm: np.ndarray) -> np.ndarray:
    """Water above the sensor's foot by five-minute step in m; shape as rain_mm (rows of rain gauges are of no use)."""
    drains, gain = np.array([[g.drains_mm] for g in gauges]), np.array([[g.gain_m] for g in gauges])
    keep = np.exp(-5 / np.array([g.fall_minutes for g in gauges]))
    rise = np.ascontiguousarray((np.maximum(0, rain_mm - drains) * gain + np.minimum(rain_mm, drains) * gain * 0.06).T)
    level = np.zeros(len(gauges))
    for step in range(len(rise)):
        level = level * keep + rise[step]
        rise[step] = level
    return np.minimum(rise.T + np.array([[g.base_m] for g in gauges]), 2.8)


def _readings(
    district: District, kind: str, mine: list[tuple[int, Device]], steps: np.ndarray, first: int, day: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One day's true readings of a kind: device (position in mine), second of the day, value, battery in %.

    A value is mm of water level, or tenths of a mm of rain since the last reading. steps: levels in m by five-minute step, or
    rain in mm summed up.
    """
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for n, (i, device) in enumerate(mine):
        seconds = np.arange(device.phase, DAY, device.cadence * 60)
        rng = district.rng(kind, device.id, day)
        position = (day - first) * 288 + seconds / 300
        if kind == "water_level":
            value = np.round(
                np.interp(
                    position,
                    np.arange((day - first) * 288, (day - first + 1) * 288),
                    steps[i, (day - first) * 288 : (day - first + 1) * 288],
                )
                * 1000
                + rng.normal(0, 2.0, len(seconds))
            ).astype(np.int64)
        else:
            total = steps[i]  # summed up; a tipping bucket tips every 0.2 mm
            tips = np.floor(np.interp(np.concatenate([[position[0] - device.cadence / 5], position]), np.arange(len(total)), total) / 0.2)
            value = (np.diff(tips) * 2).astype(np.int64)
        whole = rng.random(len(seconds)) >= 0.012  # the others never arrive
        parts.append((np.full(int(whole.sum()), n), seconds[whole], value[whole]))
    numbers, seconds, values = (np.concatenate(x) for x in zip(*parts, strict=True))
    order = np.lexsort((numbers, seconds))
    return numbers[order], seconds[order], values[order], 100 - (numbers[order] * 13 + day) % 60


def _telemetry(
    district: District,
    result: Generated,
    folder: Path,
    kind: str,
    mine: list[tuple[int, Device]],
    steps: np.ndarray,
    first: int,
    days: int,
    arrivals: dict[int, int],
) -> pl.DataFrame:
    """Write the daily files of one kind, with their faults; returns the truth by device, hour and arrival."""
    texts = _Texts(kind, [device for _, device in mine])
    rng = district.rng("faults", kind)
    plan = _Plan(district, result.faults, kind, [d for _, d in mine], first, rng)
    held: dict[int, list[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]] = {}
    truths: list[pl.DataFrame] = []
    for day in range(first, first + days):
        device, second, value, battery = _readings(district, kind, mine, steps, first, day)
        device, second, value, battery = plan.alter(day, device, second, value, battery)
        arrival_day = plan.arrival_days(day, device, second)
        for later in np.unique(arrival_day[arrival_day > day]):
            late = arrival_day == later
            held.setdefault(int(later), []).append((day, device[late], second[late], value[late], battery[late]))
        now = arrival_day == day
        batches = [(day, device[now], second[now], value[now], battery[now]), *held.pop(day, [])]
        lines: list[str] = []
        for of_day, d, s, v, b in batches:
            made, whole = plan.lines(day, of_day, arrivals[day], d, s, v, texts.lines(of_day, d, s, v, b), texts)
            lines += made
            if len(d[whole]):
                truths.append(
                    pl.DataFrame({"device": d[whole], "hour_at": at(of_day) + s[whole] // 3600 * 3600, "value": v[whole]})
                    .group_by("device", "hour_at")
                    .agg(
                        reading_count=pl.len(),
                        value_sum=pl.col("value").sum(),
                        value_max=pl.col("value").max(),
                        value_min=pl.col("value").min(),
                    )
                    .with_columns(arrival=pl.lit(arrivals[day], pl.Int64), is_beyond=pl.lit(day - of_day > OPEN_DAYS))
                )
        order = rng.permutation(len(lines)) if day % 9 == 4 else _jumble(rng, len(lines))
        name = f"{kind}_{date_of(day):%Y%m%d}.ndjson.gz"
        _write(folder / name, [lines[i] for i in order])
        result.deliveries.append(Delivery(SYSTEM, name, arrivals[day]))
    unit = 1000 if kind == "water_level" else 10
    ids = pl.Series([d.id for _, d in mine])
    truth = pl.concat(truths).sort("device", "hour_at", "arrival", "is_beyond")
    return truth.select(
        ids[truth["device"]].alias("device_id"),
        "hour_at",
        "arrival",
        "is_beyond",
        "reading_count",
        *[(pl.col(f"value_{x}") / unit).alias(f"value_{x}") for x in ("sum", "max", "min")],
    )


def _jumble(rng: np.random.Generator, count: int) -> np.ndarray:
    """An order in which rows are out of place by up to some fifty rows."""
    return np.argsort(np.arange(count) + rng.uniform(0, 50, count), kind="stable")


class _Texts:
    """Readings as lines of JSON."""

    def __init__(self, kind: str, gauges: list[Device]) -> None:
        self.kind, self.gauges = kind, gauges
        level = kind == "water_level"
        model = "FloodMonitoring" if level else "WeatherObserved"
        self.values, self.zero = (MILLI_TEXTS, 500) if level else (TENTH_TEXTS, 0)
        head, middle, tail, end = [], [], [], []
        for gauge in gauges:
            start = f'{{"id":"urn:ngsi-ld:{model}:{gauge.id.rsplit(":", 1)[1]}","type":"{model}","refDevice":'
            name = "waterLevel" if level else "precipitation"
            if gauge.normalized:
                head.append(f'{start}{{"type":"Property","value":"{gauge.id}"}},"dateObserved":{{"type":"Property","value":"')
                middle.append(f'"}},"{name}":{{"type":"Property","value":')
                tail.append(
                    f',"unitCode":"{"MTR" if level else "MMT"}"}}' + (',"batteryLevel":{"type":"Property","value":' if level else "}")
                )
                end.append("}}" if level else "")
            else:
                head.append(f'{start}"{gauge.id}","dateObserved":"')
                middle.append(f'","{name}":')
                tail.append(',"batteryLevel":' if level else "}")
                end.append("}" if level else "")
        self.head, self.middle, self.tail, self.end = (pl.Series(x) for x in (head, middle, tail, end))

    def lines(self, day: int, device: np.ndarray, second: np.ndarray, value: np.ndarray, battery: np.ndarray) -> list[str]:
        """One line per reading."""
        parts: dict[str, pl.Series] = {
            "head": self.head[device],
            "time": f"{date_of(day)}T" + SECOND_TEXTS[second],
            "middle": self.middle[device],
            "value": self.values[value + self.zero],
            "tail": self.tail[device],
        }
        if self.kind == "water_level":
            parts |= {"battery": pl.Series(battery).cast(pl.Utf8), "end": self.end[device]}
        return pl.DataFrame(parts).select(pl.concat_str(pl.all())).to_series().to_list()


class _Plan:
    """Which faults lie in which day's file of one kind. Days are counted back from AS_OF, so that both scales have them all."""

    def __init__(
        self, district: District, faults: list[Fault], kind: str, gauges: list[Device], first: int, rng: np.random.Generator
    ) -> None:
        self.faults, self.kind, self.gauges, self.rng, self.first = faults, kind, gauges, rng, first
        self.end = end = district.as_of_day
        self.repeats = max(2, district.faults(12))
        self.value_column = "water_level_m" if kind == "water_level" else "rain_mm"
        self.flat = self.silent = self.centimetres = -1
        self.block: tuple[int, int] = (-1, -1)
        self.held_block: list[str] = []
        if kind == "water_level":
            self.flat, self.silent = 2, 4
            candidates = [n for n in range(10, len(gauges)) if not gauges[n].normalized]
            self.centimetres = max(candidates, key=lambda n: gauges[n].base_m)
            self.block = (9, end - 30)
            self.late = {(1, end - 45): end - 42, (3, end - 38): end - 26, (7, end - 60): end - 27, (5, end - 20): end - 18}
            self.beyond = (8, end - 58, end - 17)
            self._say(self.flat, "flatline", "kept", at(end - 25), until=at(end - 5), note="the same value all the time")
            self._say(self.silent, "silent", "kept", at(end - 20), note="no reading any more")
        else:
            self.late, self.beyond = {(0, end - 33): end - 30}, (-1, -1, -1)
        for (n, day), later in self.late.items():
            self._say(
                n,
                "late",
                "kept",
                at(day),
                until=at(day + 1),
                note=f"the readings of this day come in the file of {date_of(later)}",
            )

    def _say(self, n: int, kind: str, expected: str, since: int, until: int | None = None, note: str = "") -> None:
        key = {"device_id": self.gauges[n].id, "observed_since": iso(since)} | ({"observed_until": iso(until)} if until else {})
        self.faults.append(Fault(SYSTEM, self.kind, key, kind, expected, since, note=note))

    def alter(self, day: int, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
        """The flatline and the silence."""
        device, second, value, battery = columns
        if self.end - 25 <= day < self.end - 5:
            value = np.where(device == self.flat, 83, value)
        keep = (device != self.silent) | (day < self.end - 20) if self.silent >= 0 else np.ones(len(device), dtype=bool)
        return device[keep], second[keep], value[keep], battery[keep]

    def arrival_days(self, day: int, device: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The day in whose file each reading comes."""
        result = np.full(len(device), day)
        for (n, late_day), later in self.late.items():
            if day == late_day:
                result[device == n] = later
        if day == self.beyond[1]:
            result[np.flatnonzero(device == self.beyond[0])[20:25]] = self.beyond[2]
        return result

    def lines(
        self,
        day: int,
        of_day: int,
        arrival: int,
        device: np.ndarray,
        second: np.ndarray,
        value: np.ndarray,
        lines: list[str],
        texts: _Texts,
    ) -> tuple[list[str], np.ndarray]:
        """The lines of one batch with faults planted, and which of its readings are whole."""
        whole = np.ones(len(device), dtype=bool)

        def say(i: int, kind: str, expected: str, rule: str | None = None, note: str = "") -> None:
            key = {"device_id": self.gauges[int(device[i])].id, "observed_at": iso(at(of_day) + int(second[i]))}
            self.faults.append(Fault(SYSTEM, self.kind, key, kind, expected, arrival, rule, note=note))

        if of_day != day:
            if day - of_day > OPEN_DAYS:
                for i in range(len(lines)):
                    say(
                        i,
                        "late_beyond_open_days",
                        "quarantined",
                        "late",
                        "kept where its day is still open at loading, as in a first load of everything",
                    )
            return lines, whole
        plain = np.flatnonzero([not self.gauges[int(n)].normalized for n in device])
        free = iter(self.rng.permutation(plain[~np.isin(device[plain], [self.flat, self.centimetres, self.block[0]])]).tolist())
        if self.kind == "water_level" and day == self.end - 15:
            morning = (second >= 8 * 3600) & (second < 12 * 3600)
            for i in np.flatnonzero((device == self.centimetres) & morning & (value >= 55)).tolist():
                lines[i] = self._valued(lines[i], f"{value[i] / 10:.1f}")
                whole[i] = False
                say(i, "wrong_unit", "quarantined", "water_level_m:range", "the level came in cm")
        if day % 5 == 0:
            i = next(free)
            lines[i] = lines[i].replace(f'"dateObserved":"{date_of(day)}T', '"dateObserved":"2026-13-05T')
            whole[i] = False
            say(i, "broken_date", "quarantined", "observed_at:type", "came as 2026-13-05T…")
            i = next(free)
            lines[i] = self._valued(lines[i], "null")
            whole[i] = False
            say(i, "empty_required", "quarantined", f"{self.value_column}:required")
            i = next(free)
            lines[i] = self._valued(lines[i], "-9.999")
            whole[i] = False
            say(i, "out_of_range", "quarantined", f"{self.value_column}:range", "the platform's code for no value")
        repeated = [next(free) for _ in range(self.repeats)]
        for i in repeated:
            say(i, "exact_repeat", "superseded")
        out = lines + [lines[i] for i in repeated]
        if day == self.block[1] + 1:
            out += self.held_block
        if day == self.block[1]:
            block = np.flatnonzero((device == self.block[0]) & (second >= 36000) & (second < 39600))
            self.held_block = [lines[i] for i in block.tolist()]
            for i in block.tolist():
                say(i, "repeat_next_day", "superseded", note="sent again in the next day's file")
        return out, whole

    def _valued(self, line: str, text: str) -> str:
        name = '"waterLevel":' if self.kind == "water_level" else '"precipitation":'
        before, after = line.split(name)
        rest = min(k for k in (after.find(","), after.find("}")) if k >= 0)
        return f"{before}{name}{text}{after[rest:]}"


def _registrations(district: District, result: Generated, folder: Path, first: int) -> None:
    """A snapshot of all gauges before the first reading, and the changed ones whenever something changes."""
    end = district.as_of_day
    rng = district.rng("registrations")
    days: dict[int, list[tuple[Device, dict[str, object], bool]]] = {first - 1: [(d, {}, False) for d in result.devices]}
    levels = [d for d in result.devices if d.kind == "water_level"]
    alarms = {d.id: d.alarm_m for d in levels}
    for back in (80, 52, 33, 12):
        if end - back > first:
            for n in rng.choice(len(levels), 2, replace=False):
                alarms[levels[n].id] = round(float(alarms[levels[n].id] or 0) + 0.05, 2)
                days.setdefault(end - back, []).append((levels[n], {"alarmLevel": alarms[levels[n].id]}, False))
    wrong = levels[11]
    days.setdefault(end - 29, []).append((wrong, {"alarmLevel": round(float(alarms[wrong.id] or 0) * 100, 1)}, True))
    days.setdefault(end - 27, []).append((wrong, {"alarmLevel": alarms[wrong.id]}, False))
    truth: list[dict[str, object]] = []
    for day, changed in sorted(days.items()):
        arrival, lines = at(day + 1, 2), []
        for device, change, broken in changed:
            payload = _payload(device, at(day, 17), change)
            lines.append(orjson.dumps(payload).decode())
            if broken:
                result.faults.append(
                    Fault(
                        SYSTEM,
                        "waterlogging_point",
                        {"device_id": device.id, "modified_at": payload["dateModified"]},
                        "wrong_unit",
                        "quarantined",
                        arrival,
                        "alarm_level_m:range",
                        at(end - 26, 2),
                        "the alarm level came in cm; put right two days later",
                    )
                )
            truth.append(
                {
                    "device_id": device.id,
                    "arrival": arrival,
                    "is_broken": broken,
                    "device_type": device.kind,
                    "community_code": device.place.code,
                    "cadence_minutes": device.cadence,
                    "alarm_level_m": payload.get("alarmLevel"),
                }
            )
        name = f"waterlogging_point_{date_of(day):%Y%m%d}.ndjson.gz"
        _write(folder / name, lines)
        result.deliveries.append(Delivery(SYSTEM, name, arrival))
    result.truth["waterlogging_point"] = pl.DataFrame(truth, infer_schema_length=None)


def _payload(device: Device, modified: int, change: dict[str, object]) -> dict[str, object]:
    """A registration as an NGSI-LD entity, simplified."""
    return {
        "id": device.id,
        "type": "Device",
        "name": device.name,
        "deviceType": device.kind,
        "communityCode": device.place.code,
        "locationName": device.spot,
        "cadenceMinutes": device.cadence,
        **({"alarmLevel": device.alarm_m} if device.alarm_m is not None else {}),
        "dateInstalled": str(date_of(device.installed)),
        "location": {"type": "Point", "coordinates": [device.longitude, device.latitude]},
        "dateModified": iso(modified),
        **change,
    }


def _write(path: Path, lines: list[str]) -> None:
    """Lines as gzip whose bytes depend on nothing but the lines."""
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), 1, mtime=0))
