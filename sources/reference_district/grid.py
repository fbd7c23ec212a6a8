"""Grid management: events that grid workers report, and the registers of residents, households and rented housing.

Belongs here: how many, where, in which states, and the faults planted among them; how often and when is in `rates`. The
resident register is a sample of the district's people (about one in 26), as a demo needs no more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from sources.reference_district import people, rates
from sources.reference_district.district import DAY, NEVER, District, at, date_texts, iso_texts
from sources.reference_district.faults import BROKEN_DATES, Breaker, Fault
from sources.reference_district.geography import SUBDISTRICTS, Community, codes_on, communities, incident_types
from sources.reference_district.records import Generated, Register, ordered

SYSTEM = "grid_management"
EVENT_COLUMNS = [
    "eventId",
    "typeCode",
    "communityCode",
    "gridCode",
    "title",
    "description",
    "address",
    "reporterName",
    "reporterPhone",
    "occurredAt",
    "reportedAt",
    "acceptedAt",
    "closedAt",
    "dueAt",
    "status",
    "handlingDept",
    "attachments",
    "updatedAt",
]
PHOTO = '[{"name":"现场照片.jpg","bytes":%d}]'
FINDINGS = ["网格员巡查发现", "居民来电反映", "物业上报", "社区走访发现", "视频巡查发现"]


def generate(district: District) -> Generated:
    """All four entities of the system."""
    result = Generated({}, [], {})
    _events(district, result)
    _registers(district, result)
    return result


def _events(district: District, result: Generated) -> None:
    places, types = communities(district), incident_types()
    parts = [
        _lives(district, rng, i, c, kind, day)
        for i, c, rng, kind, day in rates.occurrences(
            district, "grid_event", [t.code for t in types], [t.weight for t in types], district.scale.events
        )
    ]
    frame = pl.concat(parts).filter(pl.col("arrival_1") <= district.end).sort("arrival_1", "place", "kind", "occurred")
    count = len(frame)
    column = {name: frame[name].to_numpy() for name in frame.columns}
    place, kind = column["place"], column["kind"]
    rng = district.rng("grid_event", "texts")
    code = codes_on(places, place, (column["occurred"] + 28800) // DAY)
    type_names = pl.Series([t.name for t in types])[kind]
    place_names = pl.Series([c.name for c in places])[place]
    street = pl.Series([SUBDISTRICTS[c.subdistrict] for c in places])[place]
    finding = pl.Series(FINDINGS)[rng.integers(0, len(FINDINGS), count)]
    building = pl.Series(rng.integers(1, 60, count)).cast(pl.Utf8)
    years = pl.Series(column["arrival_1"]).cast(pl.Int64)
    year = pl.select(pl.from_epoch(years + 28800, time_unit="s").dt.strftime("%y")).to_series()
    base = pl.DataFrame(
        {
            "eventId": "GE" + year + pl.Series(np.arange(1, count + 1)).cast(pl.Utf8).str.zfill(8),
            "typeCode": pl.Series([t.code for t in types])[kind],
            "communityCode": pl.Series(code),
            "gridCode": pl.Series(column["grid"]).cast(pl.Utf8).str.zfill(3),
            "title": place_names + type_names,
            "description": finding + "，" + place_names + building + "栋" + type_names + "，请尽快处置。",
            "address": street + place_names + building + "栋",
            "reporterName": people.names(rng, count),
            "reporterPhone": people.phones(rng.integers(0, 10**8, count)),
            "occurredAt": iso_texts(column["occurred"]),
            "reportedAt": iso_texts(column["reported"]),
            "dueAt": iso_texts(column["due"]),
            "handlingDept": pl.Series([t.department for t in types])[kind],
            "attachments": pl.Series(np.where(rng.random(count) < 0.35, np.char.mod(PHOTO, rng.integers(100_000, 4_000_000, count)), "[]")),
        }
    )
    versions = pl.concat(
        [
            _state(base, "reported", column, "arrival_1", with_accepted=False, with_closed=False),
            _state(base, "accepted", column, "arrival_2", with_accepted=True, with_closed=False),
            _state(base, "closed", column, "arrival_3", with_accepted=True, with_closed=True),
        ]
    ).filter(pl.col("_arrival") <= district.end)
    base, versions, repeated, outcome = _break_events(district, result.faults, base, versions, column)
    result.registers["grid_event"] = Register(base, ordered(versions, repeated), EVENT_COLUMNS, frozenset({"attachments"}))
    successor = {c.code: c.merged_into or c.code for c in places}
    result.truth["grid_event"] = pl.DataFrame(
        {
            "event_id": base["eventId"],
            "type_code": pl.Series([t.code for t in types])[kind],
            "category": pl.Series([t.category for t in types])[kind],
            "community_code": pl.Series(code),
            "current_community_code": pl.Series([successor[c] for c in code]),
            **{
                f"{name}_at": pl.Series(np.where(column[name] < NEVER, column[name], -1))
                for name in ("occurred", "reported", "accepted", "closed", "due")
            },
            **{name: pl.Series(np.where(column[name] < NEVER, column[name], -1)) for name in ("arrival_1", "arrival_2", "arrival_3")},
            **outcome,
        }
    )


def _lives(district: District, rng: np.random.Generator, i: int, c: Community, kind: np.ndarray, day: np.ndarray) -> pl.DataFrame:
    """When each event of one community occurred, was reported, accepted and closed, and when each state arrived."""
    types = incident_types()
    count = len(kind)
    second = rates.seconds_of_day(district, rng, day, kind == [t.code for t in types].index("B01"))
    due_hours = np.array([t.due_hours for t in types])[kind]
    slow = district.rng("handling", c.code).lognormal(0, 0.18)
    occurred = day * DAY - 28800 + second
    reported = occurred + (rng.lognormal(np.log(12), 0.8, count) * 60).astype(np.int64) + 30
    accepted = reported + (rng.lognormal(np.log(35), 0.9, count) * 60).astype(np.int64) + 60
    closed = accepted + (due_hours * 3600 * slow * rng.lognormal(np.log(0.32), 0.75, count)).astype(np.int64) + 120
    fate = rng.random(count)
    closed[fate < 0.025] = NEVER
    accepted[fate < 0.004] = NEVER
    late = rng.random(count) < 0.0012  # written on paper, typed in days later
    delay = np.where(late, rng.integers(3 * DAY, 30 * DAY, count), rng.integers(60, 1500, count))
    arrival_1 = reported + delay
    arrival_2 = np.where(
        accepted < NEVER, np.maximum(np.minimum(accepted, NEVER // 2) + rng.integers(20, 900, count), arrival_1 + 60), NEVER
    )
    arrival_3 = np.where(
        closed < NEVER,
        np.maximum(np.minimum(closed, NEVER // 2) + rng.integers(20, 900, count), np.minimum(arrival_2, NEVER // 2) + 60),
        NEVER,
    )
    return pl.DataFrame(
        {
            "place": np.full(count, i),
            "kind": kind,
            "grid": rng.integers(1, c.grids + 1, count),
            "occurred": occurred,
            "reported": reported,
            "accepted": accepted,
            "closed": closed,
            "due": reported + due_hours * 3600,
            "arrival_1": arrival_1,
            "arrival_2": arrival_2,
            "arrival_3": arrival_3,
            "late": late,
        }
    )


def _state(
    base: pl.DataFrame, status: str, column: dict[str, np.ndarray], arrival: str, *, with_accepted: bool, with_closed: bool
) -> pl.DataFrame:
    nothing = np.full(len(base), NEVER)
    return pl.DataFrame(
        {
            "_key": np.arange(len(base)),
            "_arrival": column[arrival],
            "_override": pl.Series([None], dtype=pl.Utf8).extend_constant(None, len(base) - 1),
            "acceptedAt": iso_texts(column["accepted"] if with_accepted else nothing),
            "closedAt": iso_texts(column["closed"] if with_closed else nothing),
            "status": pl.Series([status]).extend_constant(status, len(base) - 1),
        }
    )


def _break_events(
    district: District, faults: list[Fault], base: pl.DataFrame, versions: pl.DataFrame, column: dict[str, np.ndarray]
) -> tuple[pl.DataFrame, pl.DataFrame, np.ndarray, dict[str, pl.Series]]:
    """Plant the faults of grid_event; returns base, versions, repeated keys and the truth columns."""
    breaker = Breaker(district, SYSTEM, faults, "grid_event", base["eventId"], column["arrival_1"])
    grid = base["gridCode"].to_list()
    for value in BROKEN_DATES:
        breaker.plant(14, "broken_date", "occurred_at:type", "occurredAt", value)
    breaker.plant(12, "empty_required", "incident_type_code:required", "typeCode", None)
    breaker.plant(12, "empty_required", "occurred_at:required", "occurredAt", "")
    breaker.plant(60, "lost_leading_zero", "grid_code:pattern", "gridCode", lambda i: str(int(grid[i])))
    breaker.plant(15, "number_as_science", "community_code:pattern", "communityCode", "4.40304E+11")
    for i in breaker.take(30):
        breaker.replaced[int(i)] = {"communityCode": int(base["communityCode"][int(i)])}
        breaker.note(i, "number_for_text", "kept", note="the code comes as a JSON number; its text is whole")
    mended = np.full(len(base), -1)
    accepted = column["arrival_2"] < district.as_of
    for i in breaker.take(20, accepted):
        breaker.replaced_once[int(i)] = {"occurredAt": BROKEN_DATES[0]}
        mended[i] = column["arrival_2"][i]
        breaker.note(
            i,
            "broken_date_mended",
            "quarantined",
            "occurred_at:type",
            int(mended[i]),
            "the next state of the event is right: kept from then on",
        )
    repeated = breaker.take(150)
    for i in repeated:
        breaker.note(i, "exact_repeat", "superseded", note="every state of it is served twice")
    late = np.flatnonzero(column["late"] & (column["arrival_1"] < district.as_of) & np.isin(np.arange(len(base)), breaker.pool))
    for i in late.tolist():
        breaker.note(i, "late", "kept", note="arrives 3 to 30 days after it was reported")
    return base, breaker.overrides(versions), np.sort(repeated), breaker.outcome(mended)


def _spread(total: int, places: tuple[Community, ...]) -> np.ndarray:
    """Place index of each of `total` things, in proportion to people; sorted."""
    people_ = np.array([c.population for c in places], dtype=float)
    ends = np.round(np.cumsum(people_) / people_.sum() * total).astype(int)
    return np.searchsorted(ends, np.arange(total), side="right")


def _visits(
    district: District, rng: np.random.Generator, places: tuple[Community, ...], place: np.ndarray, rate: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States of register rows: key, arrival and number of the state, sorted by key and arrival.

    Seven in ten are on record before the span begins; each is visited `rate` times on average afterwards; and whoever lies
    in a community that merges gets a state with the new code within three days, but for one in twenty.
    """
    count, span = len(place), district.end - district.start
    first = np.where(
        rng.random(count) < 0.7,
        district.start - rng.integers(DAY, 300 * DAY, count),
        district.start + rng.integers(0, span, count),
    )
    visits = rng.poisson(rate * span / (730 * DAY), count)
    keys = np.repeat(np.arange(count), visits)
    keys_, arrivals = [np.arange(count), keys], [first, rng.integers(district.start, district.end, len(keys))]
    for i, c in enumerate(places):
        if c.merged_day is not None and at(c.merged_day) > district.start:
            moved = np.flatnonzero((place == i) & (rng.random(count) < 0.95))
            keys_.append(moved)
            arrivals.append(at(c.merged_day) + rng.integers(3600, 3 * DAY, len(moved)))
    frame = pl.DataFrame({"k": np.concatenate(keys_), "a": np.concatenate(arrivals)}).unique(maintain_order=True).sort("k", "a")
    frame = frame.join(pl.DataFrame({"k": np.arange(count), "f": first}), on="k").filter(pl.col("a") >= pl.col("f")).sort("k", "a")
    number = frame.select(pl.int_range(pl.len()).over("k")).to_series()
    return frame["k"].to_numpy(), frame["a"].to_numpy(), number.to_numpy()


def _registers(district: District, result: Generated) -> None:
    """household, resident and rented_housing: who lives in a household follows from the households."""
    places, scale = communities(district), district.scale
    names = pl.Series([c.name for c in places])
    rng = district.rng("household")
    count = scale.households
    place = _spread(count, places)
    grid = 1 + rng.integers(0, 1 << 30, count) % np.array([c.grids for c in places])[place]
    size = rng.choice([1, 2, 3, 4, 5, 6], count, p=[0.28, 0.31, 0.22, 0.13, 0.05, 0.01])
    rented = np.zeros(count, dtype=bool)
    appeal = rng.random(count) + np.array([{"village": 0.7, "mixed": 0.25}.get(c.kind, 0.0) for c in places])[place]
    rented[np.argsort(-appeal, kind="stable")[: scale.rented]] = True
    building, floor, room = rng.integers(1, 80, count), rng.integers(1, 28, count), rng.integers(1, 9, count)
    codes = np.array([c.code for c in places])[place]
    room_no = pl.Series(floor).cast(pl.Utf8) + pl.Series(room).cast(pl.Utf8).str.zfill(2)
    household_ids = "HH" + pl.Series(np.arange(1, count + 1)).cast(pl.Utf8).str.zfill(8)
    street = pl.Series([SUBDISTRICTS[c.subdistrict] for c in places])[place]
    base = pl.DataFrame(
        {
            "householdId": household_ids,
            "address": street + names[place] + pl.Series(building).cast(pl.Utf8) + "栋" + room_no,
            "buildingCode": pl.Series(codes) + pl.Series(building).cast(pl.Utf8).str.zfill(7),
            "roomNo": room_no,
            "isRented": pl.Series(rented),
        }
    )
    _finish(
        district,
        result,
        "household",
        base,
        "householdId",
        places,
        place,
        grid,
        0.8,
        lambda key, arrival, number, draw: {
            "memberCount": pl.Series(np.clip(size[key] + np.where(number > 0, draw.integers(-1, 2, len(key)), 0), 1, 12))
        },
        ["householdId", "address", "buildingCode", "roomNo", "memberCount", "isRented", "communityCode", "gridCode", "updatedAt"],
        [
            ("lost_leading_zero", "grid_code:pattern", "gridCode", "zero"),
            ("out_of_range", "member_count:range", "memberCount", 99),
            ("empty_required", "building_code:required", "buildingCode", ""),
        ],
    )

    owner = np.repeat(np.arange(count), size)
    people_count = len(owner)
    rng = district.rng("resident")
    birth = district.as_of_day - (rng.gamma(5.2, 6.6, people_count).clip(0, 98) * 365.25).astype(np.int64) - 40
    sequence = rng.integers(0, 1000, people_count)
    phone = rng.integers(0, 10**8, people_count)
    base = pl.DataFrame(
        {
            "residentId": "RS" + pl.Series(np.arange(1, people_count + 1)).cast(pl.Utf8).str.zfill(8),
            "name": people.names(rng, people_count),
            "idNumber": people.identity_numbers(birth, sequence),
            "gender": pl.Series(np.where(sequence % 2 == 1, "男", "女")),
            "birthDate": date_texts(birth),
            "residenceType": pl.Series(np.where(rng.random(people_count) < np.where(rented[owner], 0.12, 0.58), "户籍", "流动")),
            "householdId": household_ids[owner],
        }
    )
    _finish(
        district,
        result,
        "resident",
        base,
        "residentId",
        places,
        place[owner],
        grid[owner],
        0.8,
        lambda key, arrival, number, draw: {"phone": people.phones(phone[key] + 7919 * (number // 2))},
        [
            "residentId",
            "name",
            "idNumber",
            "phone",
            "gender",
            "birthDate",
            "residenceType",
            "householdId",
            "communityCode",
            "gridCode",
            "updatedAt",
        ],
        [
            ("broken_date", "birth_date:type", "birthDate", "1985-02-30"),
            ("empty_required", "resident_name:required", "name", ""),
            ("lost_leading_zero", "grid_code:pattern", "gridCode", "zero"),
            ("unknown_value", "gender:enum", "gender", "M"),
        ],
    )

    let = np.flatnonzero(rented)
    rng = district.rng("rented_housing")
    landlord = rng.integers(0, 10**8, len(let))
    base = pl.DataFrame(
        {
            "houseId": "RH" + pl.Series(np.arange(1, len(let) + 1)).cast(pl.Utf8).str.zfill(7),
            "householdId": household_ids[let],
            "landlordName": people.names(rng, len(let)),
            "landlordPhone": people.phones(landlord),
            "rooms": pl.Series(rng.choice([1, 2, 3, 4, 6, 10], len(let), p=[0.42, 0.3, 0.15, 0.08, 0.03, 0.02])),
        }
    )
    _finish(
        district,
        result,
        "rented_housing",
        base,
        "houseId",
        places,
        place[let],
        grid[let],
        1.6,
        lambda key, arrival, number, draw: {
            "tenantCount": pl.Series(np.clip(size[let[key]] + draw.integers(0, 3, len(key)), 0, 60)),
            "fireCheckedOn": date_texts((arrival + 28800) // DAY - draw.integers(0, 40, len(key))),
        },
        [
            "houseId",
            "householdId",
            "landlordName",
            "landlordPhone",
            "rooms",
            "tenantCount",
            "fireCheckedOn",
            "communityCode",
            "gridCode",
            "updatedAt",
        ],
        [
            ("broken_date", "fire_checked_date:type", "fireCheckedOn", "2026-13-05"),
            ("out_of_range", "room_count:range", "rooms", 0),
            ("lost_leading_zero", "grid_code:pattern", "gridCode", "zero"),
        ],
    )


def _finish(
    district: District,
    result: Generated,
    entity: str,
    base: pl.DataFrame,
    key_name: str,
    places: tuple[Community, ...],
    place: np.ndarray,
    grid: np.ndarray,
    rate: float,
    changing: Callable[..., dict[str, pl.Series]],
    columns: list[str],
    plans: list[tuple[str, str, str, object]],
) -> None:
    """States, faults and truth of one register. plans: kind, rule, source column and value ("zero": lose leading zeros)."""
    rng = district.rng(entity, "states")
    key, arrival, number = _visits(district, rng, places, place, rate)
    grids = pl.Series(grid).cast(pl.Utf8).str.zfill(3)
    codes = codes_on(places, place[key], (arrival + 28800) // DAY)
    versions = pl.DataFrame(
        {
            "_key": key,
            "_arrival": arrival,
            "_override": pl.Series([None], dtype=pl.Utf8).extend_constant(None, len(key) - 1),
            **changing(key, arrival, number, rng),
            "communityCode": pl.Series(codes),
            "gridCode": grids[key],
        }
    ).filter(pl.col("_arrival") <= district.end)
    first = np.full(len(base), NEVER)
    np.minimum.at(first, key, arrival)
    breaker = Breaker(district, SYSTEM, result.faults, entity, base[key_name], first)
    for kind, rule, source, value in plans:
        breaker.plant(12, kind, rule, source, (lambda i: str(int(grid[i]))) if value == "zero" else value)
    repeated = breaker.take(25)
    for i in repeated:
        breaker.note(i, "exact_repeat", "superseded", note="every state of it is served twice")
    outcome = breaker.outcome()
    result.registers[entity] = Register(base, ordered(breaker.overrides(versions), np.sort(repeated)), columns)
    last = versions.sort("_key", "_arrival")
    result.truth[entity] = pl.DataFrame(
        {
            "key": base[key_name][last["_key"]],
            "arrival": last["_arrival"],
            "community_code": last["communityCode"],
            "is_broken": outcome["is_broken"][last["_key"]],
        }
    )
