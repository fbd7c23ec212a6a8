"""Urban management: requests for service in the manner of Open311 GeoReport v2, the services, and objects that cameras saw falling.

Belongs here: what is requested, what becomes of it, which requests were forwarded by grid management, and the faults planted
among them. The department has its own service codes (`urban_services.csv`, with the incident type that each one means, which
goes into the truth and nowhere else). A place is a building's code; its first twelve digits are the community's.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from sources.reference_district import rates
from sources.reference_district.district import DAY, NEVER, OFFSET, PACKAGE, District, iso_texts
from sources.reference_district.faults import BROKEN_DATES, Breaker
from sources.reference_district.geography import SUBDISTRICTS, all_incident_types, center, codes_on, communities
from sources.reference_district.records import Generated, Register, ordered

SYSTEM = "urban_management"
LINKED_SHARE = 0.08
UNKNOWN, OTHER = "990101", "D99"  # a code that the list of services lacks, and what a product can make of it
FINDINGS = ["市民来电反映", "巡查员上报", "视频发现", "微信随手拍"]
OBJECTS = ["烟头", "塑料袋", "饮料瓶", "纸盒", "花盆", "衣物", "建筑碎料", "不明物体"]
REQUEST_COLUMNS = [
    "service_request_id",
    "service_code",
    "status",
    "status_notes",
    "description",
    "agency_responsible",
    "requested_datetime",
    "expected_datetime",
    "updated_datetime",
    "address",
    "address_id",
    "lat",
    "long",
    "media_url",
    "linked_case_id",
]
OBJECT_COLUMNS = [
    "id",
    "address_id",
    "detected_datetime",
    "floor_estimate",
    "object_kind",
    "confirmed",
    "handled_datetime",
    "updated_datetime",
]


@dataclass(frozen=True)
class Service:
    code: str
    name: str
    description: str
    group: str
    has_metadata: bool
    kind: str  # realtime | batch | blackbox
    agency: str
    incident_type: str
    weight: float
    due_hours: int


@cache
def services() -> tuple[Service, ...]:
    with open(PACKAGE / "urban_services.csv", encoding="utf-8", newline="") as file:
        return tuple(
            Service(
                r["service_code"],
                r["service_name"],
                r["description"],
                r["service_group"],
                r["has_metadata"] == "true",
                r["service_type"],
                r["agency"],
                r["incident_type_id"],
                float(r["weight"]),
                int(r["due_hours"]),
            )
            for r in csv.DictReader(file)
        )


def generate(district: District, events: pl.DataFrame) -> Generated:
    """All three entities. events: the truth of grid_event, some of which were forwarded here."""
    result = Generated({}, [], {})
    _requests(district, result, events)
    _services(district, result)
    _falling_objects(district, result)
    return result


def _services(district: District, result: Generated) -> None:
    """The list of services, as it stood before the first request."""
    rows = services()
    base = pl.DataFrame(
        {
            "service_code": [s.code for s in rows],
            "service_name": [s.name for s in rows],
            "description": [s.description for s in rows],
            "metadata": [s.has_metadata for s in rows],
            "type": [s.kind for s in rows],
            "group": [s.group for s in rows],
        }
    )
    versions = pl.DataFrame(
        {"_key": np.arange(len(rows)), "_arrival": np.full(len(rows), district.start - DAY)}, schema_overrides={"_key": pl.Int64}
    ).with_columns(_override=pl.lit(None, pl.Utf8))
    columns = ["service_code", "service_name", "description", "metadata", "type", "group"]
    result.registers["service"] = Register(base, ordered(versions, np.array([], dtype=np.int64)), columns)
    result.truth["service"] = pl.DataFrame(
        {
            "key": base["service_code"],
            "arrival": versions["_arrival"],
            "incident_type_code": [s.incident_type for s in rows],
            "is_broken": [False] * len(rows),
        }
    )


def _forwarded(district: District, events: pl.DataFrame, count: int) -> pl.DataFrame:
    """Grid events that were forwarded here, in the order of their report: whole ones of a type that a service means."""
    known = sorted({s.incident_type for s in services()})
    pool = events.filter(pl.col("type_code").is_in(known) & ~pl.col("is_broken") & (pl.col("arrival_1") - pl.col("reported_at") < 7200))
    chosen = district.rng("service_request", "forwarded").permutation(len(pool))[: min(count, len(pool))]
    return pool[np.sort(chosen)]


def _requests(district: District, result: Generated, events: pl.DataFrame) -> None:
    places, rows, total = communities(district), services(), district.scale.requests
    parts = []
    for i, _, rng, kind, day in rates.occurrences(
        district, "service_request", [s.incident_type for s in rows], [s.weight for s in rows], total * (1 - LINKED_SHARE)
    ):
        flood = np.isin(kind, [n for n, s in enumerate(rows) if s.incident_type == "B01"])
        moment = day * DAY - OFFSET + rates.seconds_of_day(district, rng, day, flood)
        parts.append(pl.DataFrame({"place": np.full(len(kind), i), "kind": kind, "requested": moment + rng.integers(60, 2400, len(kind))}))
    own = pl.concat(parts).with_columns(linked=pl.lit(None, pl.Utf8))
    span = (district.end - district.start) / (district.as_of - district.start)
    forwarded = _forwarded(district, events, round(total * LINKED_SHARE * span))
    rng = district.rng("service_request", "links")
    codes_of = {t: [n for n, s in enumerate(rows) if s.incident_type == t] for t in {s.incident_type for s in rows}}
    index = {c.code: i for i, c in enumerate(places)}
    linked = pl.DataFrame(
        {
            "place": [index[c] for c in forwarded["community_code"]],
            "kind": [
                codes_of[t][int(r * len(codes_of[t]))] for t, r in zip(forwarded["type_code"], rng.random(len(forwarded)), strict=True)
            ],
            "requested": forwarded["reported_at"].to_numpy() + rng.integers(300, 7000, len(forwarded)),
            "linked": forwarded["event_id"],
        },
        schema_overrides={"place": pl.Int64, "kind": pl.Int64},
    )
    linked_code = dict(zip(forwarded["event_id"], forwarded["community_code"], strict=True))
    frame = pl.concat([own, linked.select(own.columns)])
    count = len(frame)
    rng = district.rng("service_request", "lives")
    due_hours = np.array([s.due_hours for s in rows])[frame["kind"].to_numpy()]
    requested = frame["requested"].to_numpy()
    slow = np.array([district.rng("handling", c.code).lognormal(0, 0.18) for c in places])[frame["place"].to_numpy()]
    late = (rng.random(count) < 0.001) & frame["linked"].is_null().to_numpy()
    arrival_1 = requested + np.where(late, rng.integers(3 * DAY, 30 * DAY, count), rng.integers(30, 900, count))
    noted = np.where(rng.random(count) < 0.4, arrival_1 + rng.integers(600, 14_400, count), NEVER)
    begun = np.where(noted < NEVER, noted, arrival_1)
    closed = begun + (due_hours * 3600 * slow * rng.lognormal(np.log(0.38), 0.7, count)).astype(np.int64) + 120
    closed = np.where(rng.random(count) < 0.03, NEVER, closed)
    frame = frame.with_columns(
        pl.Series("arrival_1", arrival_1), pl.Series("arrival_2", noted), pl.Series("arrival_3", closed), pl.Series("late", late)
    )
    frame = frame.filter(pl.col("arrival_1") <= district.end).sort("arrival_1", "place", "kind", "requested")
    column = {name: frame[name].to_numpy() for name in frame.columns if name != "linked"}
    count, place, kind = len(frame), column["place"], column["kind"]
    rng = district.rng("service_request", "texts")
    code = codes_on(places, place, (column["requested"] + OFFSET) // DAY)
    # a forwarded case keeps the community that grid management wrote, also in the night of a merger
    code = np.array([linked_code[e] if e is not None else c for e, c in zip(frame["linked"], code.tolist(), strict=True)])
    building = rng.integers(1, 80, count)
    middle = np.array([center(district, c.code) for c in places])[place]
    names = pl.Series([s.name for s in rows])[kind]
    where = (
        pl.Series([SUBDISTRICTS[c.subdistrict] for c in places])[place]
        + pl.Series([c.name for c in places])[place]
        + pl.Series(building).cast(pl.Utf8)
        + "栋"
    )
    number = pl.Series(np.arange(1, count + 1)).cast(pl.Utf8).str.zfill(10)
    year = pl.select(pl.from_epoch(pl.Series(column["arrival_1"]) + OFFSET, time_unit="s").dt.strftime("%y")).to_series()
    ids = (year + number).alias("service_request_id")
    base = pl.DataFrame(
        {
            "service_request_id": ids,
            "service_code": pl.Series([s.code for s in rows])[kind],
            "description": pl.Series(FINDINGS)[rng.integers(0, len(FINDINGS), count)] + "：" + where + "附近" + names,
            "agency_responsible": pl.Series([s.agency for s in rows])[kind],
            "requested_datetime": iso_texts(column["requested"]),
            "expected_datetime": iso_texts(column["requested"] + np.array([s.due_hours for s in rows])[kind] * 3600),
            "address": where,
            "address_id": pl.Series(code) + pl.Series(building).cast(pl.Utf8).str.zfill(7),
            "lat": pl.Series(np.round(middle[:, 1] + rng.normal(0, 0.0015, count), 6)),
            "long": pl.Series(np.round(middle[:, 0] + rng.normal(0, 0.0015, count), 6)),
            "media_url": pl.DataFrame({"id": ids, "n": rng.random(count)})
            .select(pl.when(pl.col("n") < 0.3).then(pl.lit("https://media.invalid/") + pl.col("id") + ".jpg"))
            .to_series(),
            "linked_case_id": frame["linked"],
        }
    )
    states = (("open", "arrival_1", None), ("open", "arrival_2", "已立案，派遣处置"), ("closed", "arrival_3", "已处置结案"))
    versions = pl.concat(
        [
            pl.DataFrame({"_key": np.arange(count), "_arrival": column[arrival]}).with_columns(
                _override=pl.lit(None, pl.Utf8), status=pl.lit(status), status_notes=pl.lit(notes, pl.Utf8)
            )
            for status, arrival, notes in states
        ]
    ).filter(pl.col("_arrival") <= district.end)
    breaker = Breaker(district, SYSTEM, result.faults, "service_request", ids, column["arrival_1"])
    address = base["address_id"].to_list()
    for value in BROKEN_DATES:
        breaker.plant(12, "broken_date", "requested_at:type", "requested_datetime", value)
    breaker.plant(12, "empty_required", "service_code:required", "service_code", "")
    breaker.plant(15, "number_as_science", "building_code:pattern", "address_id", "4.40304E+18")
    breaker.plant(15, "cut_off", "building_code:pattern", "address_id", lambda i: address[i][:12])
    breaker.plant(12, "unknown_value", "status:enum", "status", "处理中")
    swapped = (base["long"].to_list(), base["lat"].to_list())
    for i in breaker.take(15):
        breaker.replaced[int(i)] = {"lat": swapped[0][int(i)], "long": swapped[1][int(i)]}
        breaker.note(i, "swapped_coordinates", "quarantined", "latitude:range", note="latitude and longitude changed places")
    for i in breaker.take(30):
        breaker.replaced[int(i)] = {"address_id": int(address[int(i)])}
        breaker.note(i, "number_for_text", "kept", note="the building's code comes as a JSON number of 19 digits; its text is whole")
    unlinked = frame["linked"].is_null().to_numpy()
    dangling = breaker.take(12, unlinked)
    for i in dangling:
        breaker.replaced[int(i)] = {"linked_case_id": f"GE99{int(i):08d}"}
        breaker.note(i, "dangling_link", "kept", note="names a case that grid management does not know: it stands alone")
    unknown = breaker.take(12, unlinked)
    for i in unknown:
        breaker.replaced[int(i)] = {"service_code": UNKNOWN}
        breaker.note(i, "unknown_code", "kept", note=f"no list has the code: its type is {OTHER}, other")
    repeated = breaker.take(150)
    for i in repeated:
        breaker.note(i, "exact_repeat", "superseded", note="every state of it is served twice")
    for i in np.flatnonzero(column["late"] & (column["arrival_1"] < district.as_of) & np.isin(np.arange(count), breaker.pool)).tolist():
        breaker.note(i, "late", "kept", note="arrives 3 to 30 days after it was requested")
    result.registers["service_request"] = Register(
        base, ordered(breaker.overrides(versions), np.sort(repeated), "updated_datetime"), REQUEST_COLUMNS
    )
    successor = {c.code: c.merged_into or c.code for c in places}
    category = {t.code: t.category for t in all_incident_types()}
    types = [rows[k].incident_type for k in kind.tolist()]
    for i in unknown.tolist():
        types[i] = OTHER
    result.truth["service_request"] = pl.DataFrame(
        {
            "service_request_id": ids,
            "service_code": base["service_code"],
            "type_code": types,
            "category": [category[t] for t in types],
            "community_code": pl.Series(code),
            "current_community_code": [successor[c] for c in code.tolist()],
            "linked_event_id": frame["linked"],
            "requested_at": column["requested"],
            **{name: np.where(column[name] < NEVER, column[name], -1) for name in ("arrival_1", "arrival_2", "arrival_3")},
            **breaker.outcome(),
        }
    )


def _falling_objects(district: District, result: Generated) -> None:
    """What cameras at the feet of high buildings saw; few of them are confirmed when somebody looks."""
    places = [c for c in communities(district) if c.kind in ("garden", "mixed")]
    rng = district.rng("falling_object")
    days = np.arange(district.first_day, district.first_day + (district.end - district.start) // DAY)
    span = len(days) / (district.as_of_day - district.first_day)
    count = int(rng.poisson(district.scale.falling_objects * span))
    weight = np.array([c.households * (1.4 if c.kind == "garden" else 1.0) for c in places], dtype=float)
    place = rng.choice(len(places), count, p=weight / weight.sum())
    day = rng.choice(days, count)
    evening = np.array(rates.ROUND_THE_CLOCK) * np.array([1.0] * 7 + [0.9] * 10 + [1.6] * 6 + [1.2])
    detected = day * DAY - OFFSET + rates.seconds_of_day(district, rng, day, np.zeros(count, dtype=bool), evening.tolist())
    order = np.argsort(detected, kind="stable")
    place, detected = place[order], detected[order]
    arrival_1 = detected + rng.integers(5, 90, count)
    reviewed = arrival_1 + 60 + (rng.lognormal(np.log(5), 0.9, count) * 3600).astype(np.int64)
    reviewed = np.where(rng.random(count) < 0.12, NEVER, reviewed)
    confirmed = rng.random(count) < 0.2
    handled = np.where(confirmed, np.minimum(reviewed, NEVER // 2) + rng.integers(3600, 4 * DAY, count), NEVER)
    handled = np.where(reviewed < NEVER, handled, NEVER)
    inside = arrival_1 <= district.end
    place, detected, arrival_1, reviewed, confirmed, handled = (
        x[inside] for x in (place, detected, arrival_1, reviewed, confirmed, handled)
    )
    count = len(place)
    all_places = communities(district)
    index = np.array([all_places.index(c) for c in places])[place]
    code = codes_on(all_places, index, (detected + OFFSET) // DAY)
    ids = ("FO" + pl.Series(np.arange(1, count + 1)).cast(pl.Utf8).str.zfill(8)).alias("falling_object_id")
    base = pl.DataFrame(
        {
            "id": ids,
            "address_id": pl.Series(code) + pl.Series(rng.integers(1, 80, count)).cast(pl.Utf8).str.zfill(7),
            "detected_datetime": iso_texts(detected),
            "floor_estimate": np.clip(rng.gamma(3, 4.5, count).astype(np.int64) + 2, 2, 60),
            "object_kind": pl.Series(OBJECTS)[rng.choice(len(OBJECTS), count, p=[0.24, 0.2, 0.12, 0.1, 0.04, 0.08, 0.04, 0.18])],
        }
    )

    def state(arrival: np.ndarray, verdict: np.ndarray | None, done: np.ndarray | None) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "_key": np.arange(count),
                "_arrival": arrival,
                "confirmed": pl.Series([None] * count, dtype=pl.Boolean) if verdict is None else pl.Series(verdict),
                "handled_datetime": iso_texts(np.full(count, NEVER) if done is None else done),
            }
        ).with_columns(_override=pl.lit(None, pl.Utf8))

    versions = pl.concat(
        [
            state(arrival_1, None, None),
            state(reviewed, confirmed, None),
            state(handled, confirmed, np.where(handled < NEVER, handled - 60, NEVER)),
        ]
    )
    versions = versions.filter(pl.col("_arrival") <= district.end)
    breaker = Breaker(district, SYSTEM, result.faults, "falling_object", ids, arrival_1)
    breaker.plant(8, "broken_date", "detected_at:type", "detected_datetime", BROKEN_DATES[0])
    breaker.plant(8, "out_of_range", "floor_estimate:range", "floor_estimate", 999)
    breaker.plant(8, "cut_off", "building_code:pattern", "address_id", "440304")
    repeated = breaker.take(25)
    for i in repeated:
        breaker.note(i, "exact_repeat", "superseded", note="every state of it is served twice")
    result.registers["falling_object"] = Register(
        base, ordered(breaker.overrides(versions), np.sort(repeated), "updated_datetime"), OBJECT_COLUMNS
    )
    result.truth["falling_object"] = pl.DataFrame(
        {
            "key": ids,
            "arrival": arrival_1,
            "community_code": pl.Series(code),
            "detected_at": detected,
            "reviewed_arrival": np.where(reviewed < NEVER, reviewed, -1),
            "is_confirmed": confirmed & (reviewed < NEVER),
            "is_broken": breaker.outcome()["is_broken"],
        }
    )
