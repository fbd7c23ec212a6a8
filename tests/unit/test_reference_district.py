"""The reference district without its servers: geography, determinism, what may be seen when, exports, and the truth.

Runs at test scale. Numbers expected here are worked out from the delivered files or stated by the issue, never read from the
generator's own counters.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from functools import cache
from pathlib import Path

import fastexcel
import numpy as np
import orjson
import polars as pl
import pytest
import yaml

from sources.reference_district import clock, generate, messages, people, police, rain, urban
from sources.reference_district.district import PACKAGE, SHANGHAI, District, DistrictError, home, iso, months_before, seconds
from sources.reference_district.exports import Delivery, settle
from sources.reference_district.records import NEVER, Register, ordered
from sources.reference_district.server import scheduled_fault

AS_OF = "2026-11-01T00:00+08:00"
DISTRICT = District(440304, seconds(AS_OF, ""), "test")
CATALOG = Path(__file__).resolve().parents[2] / "sources" / "catalog"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A district of test scale, moved to AS_OF; its data folder."""
    folder = tmp_path_factory.mktemp("district")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSC_DATA", str(folder))
        clock.move(DISTRICT, DISTRICT.as_of)
    return folder / "reference_district"


@pytest.fixture
def here(generated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSC_DATA", str(generated.parent))
    return generated


def digests(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


@cache
def readings(folder: Path, kind: str) -> list[dict[str, object]]:
    """Every line of a kind's files, flattened, with the file's arrival as ``_arrival`` and, as text, ``_arrived``."""
    rows = []
    for path in sorted((folder / "files" / "waterlogging").glob(f"{kind}_2*.ndjson.gz")):
        arrival = int(path.stat().st_mtime)
        arrived = iso(arrival)  # all of them carry +08:00, so that texts compare as moments do
        for line in gzip.decompress(path.read_bytes()).decode().splitlines():
            record = orjson.loads(line)
            flat = {k: v["value"] if isinstance(v, dict) and v.get("type") == "Property" else v for k, v in record.items()}
            rows.append(flat | {"_arrival": arrival, "_arrived": arrived})
    return rows


def columns(system: str, entity: str) -> list[str]:
    contract = yaml.safe_load((CATALOG / f"{system}.yml").read_text(encoding="utf-8"))
    (schema,) = [s for s in contract["schema"] if s["name"] == entity]
    return [p["physicalName"] for p in schema["properties"]]


def totals(folder: Path, moment: int) -> dict[str, dict]:
    return json.loads((folder / "truth" / "totals.json").read_bytes())["by_clock"][iso(moment)]


def planted(folder: Path, entity: str, moment: int = DISTRICT.as_of) -> list[dict]:
    return [f for f in json.loads((folder / "truth" / "faults.json").read_bytes()) if f["entity"] == entity and f["arrival"] <= iso(moment)]


# Geography


def test_there_are_95_typed_communities_and_a_virtual_one() -> None:
    rows = list(csv.DictReader((PACKAGE / "communities.csv").open(encoding="utf-8")))
    assert Counter(r["community_type"] for r in rows) == {"garden": 38, "village": 23, "mixed": 34, "": 1}
    assert [r["community_code"] for r in rows if r["is_virtual"] == "true"] == ["440304400498"]
    assert sum(r["is_generated"] == "true" for r in rows) == 3
    assert len({r["community_code"] for r in rows}) == 96
    codes = {r["community_code"] for r in rows if r["is_generated"] == "false"}
    merged = {r["valid_to"]: r["merged_into"] for r in rows if r["is_generated"] == "true"}
    assert sorted(merged) == ["2025-03-01", "2025-07-01", "2026-02-01"] and set(merged.values()) <= codes
    assert not [r["name_zh"] for r in rows if "居委会" in r["name_zh"]]
    assert all(r["community_code"].startswith(r["subdistrict_code"]) for r in rows)


# Settings and time


def test_months_before_stays_within_the_month() -> None:
    moment = seconds("2026-03-31T12:00+08:00", "")
    assert iso(months_before(moment, 1)) == "2026-02-28T12:00:00+08:00"
    assert iso(DISTRICT.start) == "2026-08-01T00:00:00+08:00"
    assert iso(District(1, seconds(AS_OF, ""), "demo").start) == "2024-11-01T00:00:00+08:00"


@pytest.mark.parametrize(("name", "value"), [("SCALE", "huge"), ("SEED", "x"), ("AS_OF", "2026-11-01"), ("AS_OF", "soon")])
def test_a_bad_setting_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(DistrictError, match=name):
        District.from_environment()


def test_rain_is_the_real_series_half_a_year_later() -> None:
    # 2026-09-05 less 183 days is 2026-03-06, which stands for the same day of 2014
    table = dict(list(csv.reader((PACKAGE / "rain_daily.csv").open(encoding="utf-8")))[1:])
    day = (datetime(2026, 9, 5) - datetime(1970, 1, 1)).days
    assert rain.daily(day) == pytest.approx(1.7 * float(table["2014-03-06"]))
    assert rain.profile(DISTRICT, day).sum() == pytest.approx(rain.daily(day))


# People who do not exist


def test_identity_numbers_have_right_check_digits_and_no_real_region() -> None:
    # GB 11643's own example is 11010519491231002X. Its weighted sum is 167; region 999999 in place of 110105 adds
    # 8*7 + 8*9 + 9*10 + 8*5 + 9*8 + 4*4 = 346, and 513 % 11 = 7, whose check character is 5.
    born = np.array([(datetime(1949, 12, 31) - datetime(1970, 1, 1)).days])
    assert people.identity_numbers(born, np.array([2])).to_list() == ["999999194912310025"]


def test_residents_and_phones_can_hit_nobody(here: Path) -> None:
    folder = home() / "generated" / DISTRICT.fingerprint()
    residents = generate.registers(folder)["resident"]
    rows = residents.rows(residents.visible(None, DISTRICT.as_of, DISTRICT.as_of))
    assert len(rows) > 400
    assert all(str(r["idNumber"]).startswith("999999") and str(r["phone"]).startswith("100") and len(str(r["phone"])) == 11 for r in rows)


# Determinism


def test_same_settings_give_the_same_bytes_and_another_seed_does_not(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSC_DATA", str(tmp_path / "again"))
    clock.move(DISTRICT, DISTRICT.clock_start)  # another way to the same place
    clock.move(DISTRICT, DISTRICT.as_of)
    again = tmp_path / "again" / "reference_district"
    for part in ("generated", "files", "truth"):
        assert digests(again / part) == digests(here / part)
    monkeypatch.setenv("SSC_DATA", str(tmp_path / "other"))
    clock.move(District(7, DISTRICT.as_of, "test"), DISTRICT.as_of)
    first, other = digests(here / "files"), digests(tmp_path / "other" / "reference_district" / "files")
    nothing = hashlib.sha256(gzip.compress(b"", 1, mtime=0)).hexdigest()  # a day without an alarm
    assert [name for name in first if first[name] == other.get(name) != nothing] == []


# What may be seen when


def register(*states: tuple[int, int, str]) -> Register:
    """A register of (key, arrival, status)."""
    frame = pl.DataFrame({"_key": [s[0] for s in states], "_arrival": [s[1] for s in states], "status": [s[2] for s in states]})
    frame = frame.with_columns(_override=pl.lit(None, pl.Utf8))
    return Register(pl.DataFrame({"id": ["a", "b", "c"]}), ordered(frame, np.array([2])), ["id", "status", "updatedAt"])


@pytest.mark.parametrize(
    ("since", "until", "now", "expected"),
    [
        (None, 100, 100, ["b2", "c1", "c1", "a3"]),  # the latest of each, the repeated one twice, in the order of arrival
        (None, 100, 25, ["b1", "a2"]),  # nothing that arrives after the clock
        (10, 100, 100, ["b2", "c1", "c1", "a3"]),
        (30, 100, 100, ["c1", "c1", "a3"]),  # open at its beginning, closed at its end
        (None, 30, 100, ["b2"]),  # a window that ends before the clock leaves out what has changed since
        (100, 200, 100, []),
    ],
)
def test_a_window_shows_latest_states_only(since: int | None, until: int, now: int, expected: list[str]) -> None:
    r = register((0, 10, "1"), (0, 20, "2"), (0, 50, "3"), (1, 15, "1"), (1, 30, "2"), (2, 40, "1"))
    assert [f"{x['id']}{x['status']}" for x in r.rows(r.visible(since, until, now))] == expected


def test_ordered_knows_the_next_state() -> None:
    r = register((0, 10, "1"), (1, 15, "1"), (0, 20, "2"))
    assert r.next.tolist() == [20, NEVER, NEVER]


def test_settle_delivers_what_has_arrived_and_takes_back_the_rest(tmp_path: Path) -> None:
    (tmp_path / "made" / "s").mkdir(parents=True)
    for name in ("a", "b"):
        (tmp_path / "made" / "s" / name).write_text(name)
    plan = [Delivery("s", "a", 1000), Delivery("s", "b", 2000)]
    assert settle(plan, tmp_path / "made", tmp_path / "files", 999) == (0, 0)
    assert settle(plan, tmp_path / "made", tmp_path / "files", 2000) == (2, 0)
    assert [(p.name, p.stat().st_mtime) for p in sorted((tmp_path / "files" / "s").iterdir())] == [("a", 1000), ("b", 2000)]
    assert settle(plan, tmp_path / "made", tmp_path / "files", 2000) == (0, 0)
    assert settle(plan, tmp_path / "made", tmp_path / "files", 1999) == (0, 1)
    assert [p.name for p in (tmp_path / "files" / "s").iterdir()] == ["a"]


def test_the_clock_cannot_pass_the_end_of_the_data(here: Path) -> None:
    with pytest.raises(DistrictError, match="end of the generated data"):
        clock.move(DISTRICT, DISTRICT.end + 1)


def test_no_file_lies_there_before_it_arrives_and_none_speaks_of_its_future(here: Path) -> None:
    files = [p for p in (here / "files").rglob("*") if p.is_file()]
    assert len(files) > 120 and max(p.stat().st_mtime for p in files) <= DISTRICT.as_of
    for kind in ("water_level", "rain_gauge"):
        for row in readings(here, kind):
            if "2026-13" not in str(row["dateObserved"]):
                assert str(row["dateObserved"]) < str(row["_arrived"])


# The exports are what the contracts say, and the truth is what a careful reader finds in them


@pytest.mark.parametrize("system", ["grid_management", "urban_management"])
def test_the_columns_served_are_those_of_the_contract(system: str, here: Path) -> None:
    registers = generate.registers(home() / "generated" / DISTRICT.fingerprint(), system)
    assert registers
    for name, register_ in registers.items():
        assert register_.columns == columns(system, name)


def test_event_truth_is_what_is_served(here: Path) -> None:
    events = generate.registers(home() / "generated" / DISTRICT.fingerprint())["grid_event"]
    types = {r["code"] for r in csv.DictReader((PACKAGE / "incident_types.csv").open(encoding="utf-8")) if float(r["weight"]) > 0}
    for moment in (DISTRICT.clock_start, DISTRICT.as_of):
        rows = events.rows(events.visible(None, moment, moment))
        assert max(seconds(str(r["updatedAt"]), "") for r in rows) <= moment
        whole = {}
        for r in rows:
            try:
                occurred = datetime.fromisoformat(str(r["occurredAt"]))
            except ValueError:
                continue
            if r["typeCode"] in types and len(str(r["gridCode"])) == 3 and str(r["communityCode"]).isdigit():
                whole[r["eventId"]] = (occurred.astimezone(SHANGHAI).strftime("%Y-%m"), r["typeCode"], str(r["communityCode"]))
        totals = json.loads((here / "truth" / "totals.json").read_bytes())["by_clock"][iso(moment)]["grid_event"]
        assert len(rows) == totals["served_count"] and len({r["eventId"] for r in rows}) == totals["distinct_count"]
        assert len(whole) == totals["kept_count"] < totals["distinct_count"]
        for n, name in enumerate(("by_month", "by_type", "by_community")):
            assert Counter(w[n] for w in whole.values()) == totals[name]


def test_about_3000_events_at_test_scale_each_in_the_right_order(here: Path) -> None:
    truth = pl.read_parquet(here / "truth" / "grid_event.parquet")
    assert 2700 < len(truth.filter(pl.col("arrival_1") <= DISTRICT.as_of)) < 3300
    closed = truth.filter(pl.col("arrival_3") >= 0)
    assert closed.select(
        (
            (pl.col("occurred_at") < pl.col("reported_at"))
            & (pl.col("reported_at") < pl.col("accepted_at"))
            & (pl.col("accepted_at") < pl.col("closed_at"))
            & (pl.col("arrival_1") < pl.col("arrival_2"))
            & (pl.col("arrival_2") < pl.col("arrival_3"))
        ).all()
    ).item()


def test_it_floods_when_it_rains(here: Path) -> None:
    floods = pl.read_parquet(here / "truth" / "grid_event.parquet").filter(pl.col("type_code") == "B01")
    wet = [rain.daily((t + 8 * 3600) // 86400) > 0 or rain.daily((t + 8 * 3600) // 86400 - 1) > 0 for t in floods["occurred_at"]]
    assert len(wet) > 20 and sum(wet) / len(wet) > 0.8


@pytest.mark.parametrize(("kind", "value", "low", "high"), [("water_level", "waterLevel", -0.5, 5), ("rain_gauge", "precipitation", 0, 60)])
def test_telemetry_truth_is_what_the_files_hold(here: Path, kind: str, value: str, low: float, high: float) -> None:
    rows = readings(here, kind)
    assert set(rows[0]) - {"id", "type", "_arrival", "_arrived"} == set(columns("waterlogging", kind))
    good, repeats, beyond = {}, 0, 0
    for r in rows:
        if r[value] is None or not low <= float(str(r[value])) <= high or "2026-13" in str(r["dateObserved"]):
            continue
        key = (r["refDevice"], r["dateObserved"])
        if key in good:
            repeats += 1
            continue
        good[key] = float(str(r[value]))
        beyond += int(str(r["_arrival"])) - seconds(str(r["dateObserved"]), "") > 37 * 86400
    totals = json.loads((here / "truth" / "totals.json").read_bytes())["by_clock"][iso(DISTRICT.as_of)][kind]
    assert len(good) == totals["kept_count"] + totals["late_beyond_count"]
    assert beyond == totals["late_beyond_count"] == (5 if kind == "water_level" else 0)
    faults = json.loads((here / "truth" / "faults.json").read_bytes())
    mine = [f for f in faults if f["entity"] == kind and f["arrival"] <= iso(DISTRICT.as_of)]
    assert repeats == sum(f["expected"] == "superseded" for f in mine) > 100
    assert len(rows) - len(good) - repeats == sum(f["rule"] not in (None, "late") for f in mine) > 20
    truth = pl.read_parquet(here / "truth" / f"{kind}.parquet").filter(pl.col("arrival") <= DISTRICT.as_of)
    assert truth["value_sum"].sum() == pytest.approx(sum(good.values()))


def test_one_gauge_is_flat_one_silent_and_one_day_late(here: Path) -> None:
    faults = {f["kind"]: f for f in json.loads((here / "truth" / "faults.json").read_bytes()) if f["system"] == "waterlogging"}
    rows = readings(here, "water_level")
    flat, silent = faults["flatline"]["key"], faults["silent"]["key"]
    during = {
        r["waterLevel"]
        for r in rows
        if r["refDevice"] == flat["device_id"] and flat["observed_since"] <= str(r["dateObserved"]) < flat["observed_until"]
    }
    before = {r["waterLevel"] for r in rows if r["refDevice"] == flat["device_id"] and str(r["dateObserved"]) < flat["observed_since"]}
    assert len(during - {None, -9.999}) == 1 < 20 < len(before)
    assert (
        max(str(r["dateObserved"]) for r in rows if r["refDevice"] == silent["device_id"] and "-13-" not in str(r["dateObserved"]))
        < silent["observed_since"]
    )
    day = faults["export_down"]["key"]["day"].replace("-", "")
    path = here / "files" / "waterlogging" / f"water_level_{day}.ndjson.gz"
    assert path.stat().st_mtime - seconds(f"{faults['export_down']['key']['day']}T00:00+08:00", "") == (24 + 2 + 36) * 3600


def test_tax_files_and_their_truth(here: Path) -> None:
    header = columns("tax_filing", "filing")
    files = sorted((here / "files" / "tax_filing").iterdir(), key=lambda p: p.stat().st_mtime)
    assert [p.name for p in files] == [
        "纳税申报_202607.csv",
        "纳税申报_202607_更正.csv",
        "纳税申报_202608.csv",
        "纳税申报_202608_更正.csv",
        "纳税申报_202609.csv",
    ]
    heads, kept, broken, corrected = {}, {}, 0, 0
    for path in files:
        lines = list(csv.reader(path.read_bytes().decode("gb18030").split("\r\n")))[:-1]
        heads[path.name] = lines[0]
        for line in lines[1:]:
            row = dict(zip(lines[0], line, strict=True))
            try:
                datetime.strptime(row["申报日期"], "%Y-%m-%d")
                whole = float(row["申报收入(元)"]) >= 0 and len(row["社区代码"]) == 12
            except ValueError:
                whole = False
            if whole:
                corrected += row["申报状态"] == "更正申报"
                kept[row["统一社会信用代码"], row["所属期"]] = float(row["申报收入(元)"])
            else:
                broken += 1
    assert heads["纳税申报_202607.csv"] == header
    assert heads["纳税申报_202608.csv"] == ["从业人数" if c == "用工人数" else c for c in header]
    assert heads["纳税申报_202609.csv"] == [*header, "备注"]
    totals = json.loads((here / "truth" / "totals.json").read_bytes())["by_clock"][iso(DISTRICT.as_of)]["filing"]
    assert (len(kept), broken, corrected) == (totals["kept_count"], totals["quarantined_count"], totals["corrected_count"])
    assert broken == 15 and corrected > 0
    sums: dict[str, float] = {}
    for (_, month), yuan in kept.items():
        sums[month] = sums.get(month, 0) + yuan
    assert sums == pytest.approx(totals["revenue_yuan_by_month"])


def test_every_planted_kind_is_recorded(here: Path) -> None:
    kinds = {f["kind"] for f in json.loads((here / "truth" / "faults.json").read_bytes())}
    assert kinds >= {
        "broken_date",
        "empty_required",
        "lost_leading_zero",
        "wrong_unit",
        "exact_repeat",
        "late",
        "late_beyond_open_days",
        "renamed_column",
        "added_column",
        "export_down",
        "flatline",
        "silent",
        "number_for_text",
        "broken_date_mended",
        "repeat_next_day",
        "cut_off",
        "swapped_coordinates",
        "dangling_link",
        "unknown_code",
        "late_commit",
        "date_without_year",
        "unit_in_number",
        "platform_outage",
        "low_battery",
    }


def test_server_faults_are_bounded() -> None:
    kinds = Counter()
    for ordinal in range(80):
        assert scheduled_fault(1, "grid_event", None, 5, ordinal, 1) is None
        kinds[scheduled_fault(1, "grid_event", None, 5, ordinal, 0)] += 1
    assert kinds == {None: 77, "429": 1, "500": 1, "stall": 1}
    later = [
        [scheduled_fault(1, "resident", since, since + 3600, 0, attempt) for attempt in range(3)] for since in range(0, 3_600_000, 3600)
    ]
    assert all(attempts[2] is None for attempts in later)
    assert 30 < sum(attempts[0] is not None for attempts in later) < 100


# Urban management

REQUEST_STATES = {"open", "closed"}


def request_is_whole(r: dict) -> bool:
    """The contract's rules for a request, by hand."""
    try:
        datetime.fromisoformat(str(r["requested_datetime"]))
    except ValueError:
        return False
    return (
        bool(r["service_code"])
        and r["status"] in REQUEST_STATES
        and bool(re.fullmatch("[0-9]{19}", str(r["address_id"])))
        and abs(r["lat"]) <= 90
    )


def test_requests_and_their_truth(here: Path) -> None:
    register_ = generate.registers(home() / "generated" / DISTRICT.fingerprint(), "urban_management")["service_request"]
    meaning = {s.code: s.incident_type for s in urban.services()}
    for moment in (DISTRICT.clock_start, DISTRICT.as_of):
        rows = register_.rows(register_.visible(None, moment, moment))
        kept = {r["service_request_id"]: r for r in rows if request_is_whole(r)}
        expected = totals(here, moment)["service_request"]
        assert (len(rows), len({r["service_request_id"] for r in rows}), len(kept)) == tuple(
            expected[n] for n in ("served_count", "distinct_count", "kept_count")
        )
        assert Counter(str(r["requested_datetime"])[:7] for r in kept.values()) == expected["by_month"]
        assert Counter(meaning.get(r["service_code"], "D99") for r in kept.values()) == expected["by_type"]
        assert Counter(str(r["address_id"])[:12] for r in kept.values()) == expected["by_community"]
    assert 3300 < expected["distinct_count"] < 3900
    ordered_by = [r["updated_datetime"] for r in rows]
    assert ordered_by == sorted(ordered_by) and ordered_by[-1] <= iso(DISTRICT.as_of)


def test_a_forwarded_request_has_the_place_and_the_meaning_of_its_event_and_comes_within_two_hours(here: Path) -> None:
    folder = home() / "generated" / DISTRICT.fingerprint()
    requests = generate.registers(folder, "urban_management")["service_request"]
    events = generate.registers(folder)["grid_event"]
    now = DISTRICT.as_of
    by_id = {e["eventId"]: e for e in events.rows(events.visible(None, now, now))}
    meaning = {s.code: s.incident_type for s in urban.services()}
    rows = {r["service_request_id"]: r for r in requests.rows(requests.visible(None, now, now)) if request_is_whole(r)}
    linked = [r for r in rows.values() if r["linked_case_id"] in by_id]
    dangling = [r for r in rows.values() if r["linked_case_id"] and r["linked_case_id"] not in by_id]
    assert 0.07 < len(linked) / len(rows) < 0.09
    assert len({r["linked_case_id"] for r in linked}) == len(linked)
    assert len(dangling) == sum(f["kind"] == "dangling_link" for f in planted(here, "service_request")) > 0
    for r in linked:
        event = by_id[r["linked_case_id"]]
        assert meaning[r["service_code"]] == event["typeCode"] and str(r["address_id"])[:12] == str(event["communityCode"])
        assert 0 < seconds(r["requested_datetime"], "") - seconds(event["reportedAt"], "") <= 7200


def test_most_falling_objects_are_not_confirmed(here: Path) -> None:
    register_ = generate.registers(home() / "generated" / DISTRICT.fingerprint(), "urban_management")["falling_object"]
    rows = {r["id"]: r for r in register_.rows(register_.visible(None, DISTRICT.as_of, DISTRICT.as_of))}
    assert 0 < sum(r["confirmed"] is True for r in rows.values()) < 0.4 * len(rows)
    assert not [r for r in rows.values() if r["handled_datetime"] and not r["confirmed"]]
    assert len(rows) == totals(here, DISTRICT.as_of)["falling_object"]["distinct_count"]


@pytest.mark.parametrize("name", ["urban_services.csv", "police_case_types.csv"])
def test_every_code_of_a_department_means_a_known_type(name: str) -> None:
    known = {r["code"] for r in csv.DictReader((PACKAGE / "incident_types.csv").open(encoding="utf-8"))}
    rows = list(csv.DictReader((PACKAGE / name).open(encoding="utf-8")))
    codes = [next(iter(r.values())) for r in rows]
    assert 10 < len(codes) == len(set(codes)) and {r["incident_type_id"] for r in rows} <= known
    assert not known & set(codes)  # codes of their own


# Police dispatch


@contextmanager
def database(folder: Path) -> Iterator[sqlite3.Connection]:
    path = folder / "police_dispatch" / "dispatch.db"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        yield connection
    finally:
        connection.close()


def dump(folder: Path) -> dict[str, list[tuple]]:
    with database(folder) as connection:
        return {t: sorted(tuple(r) for r in connection.execute(f"select * from {t}")) for t in ("dispatch", "patrol_hours_day")}


def test_the_police_database_is_what_the_contract_and_the_truth_say(here: Path) -> None:
    assert (here / "police_dispatch" / "dispatch.db").stat().st_mode & 0o777 == 0o600
    with database(here) as connection:
        assert connection.execute("pragma journal_mode").fetchone()[0] == "wal"
        for table in ("dispatch", "patrol_hours_day"):
            assert [r["name"] for r in connection.execute(f"pragma table_info({table})")] == columns("police_dispatch", table)
        calls = connection.execute("select * from dispatch").fetchall()
        days = connection.execute("select * from patrol_hours_day").fetchall()
    now = iso(DISTRICT.as_of)
    assert max(r["jj_sj"] for r in calls if r["jj_sj"]) <= now and max(r["gx_sj"] for r in days) <= now
    assert len({r["bgxh"] for r in calls}) == len(calls)
    meaning = {t.code: t.incident_type for t in police.case_types()}
    kept = [
        r
        for r in calls
        if r["ajlx_dm"] and r["jj_sj"] and re.fullmatch("[0-9]{12}", r["sq_dm"]) and r["ly"] in ("110", "patrol", "transfer")
    ]
    expected = totals(here, DISTRICT.as_of)["dispatch"]
    assert (len(calls), len(kept)) == (expected["distinct_count"], expected["kept_count"]) and len(kept) < len(calls)
    assert Counter(meaning.get(r["ajlx_dm"], "A99") for r in kept) == expected["by_type"]
    assert Counter(r["jj_sj"][:7] for r in kept) == expected["by_month"]
    assert Counter(r["sq_dm"] for r in kept) == expected["by_community"]
    linked = {r["jjd_bh"]: r["gl_bh"] for r in kept if r["gl_bh"] and not r["gl_bh"].startswith("GE99")}
    assert 0.04 < len(linked) / len(calls) < 0.06
    events = {e["event_id"]: e for e in pl.read_parquet(here / "truth" / "grid_event.parquet").to_dicts()}
    assert all(meaning[r["ajlx_dm"]] == events[r["gl_bh"]]["type_code"] for r in kept if r["jjd_bh"] in linked)
    whole = [r for r in days if r["xl_ss"] >= 0 and r["jl_rs"] <= 1000]
    expected = totals(here, DISTRICT.as_of)["patrol_hours_day"]
    assert (len(days), len(whole)) == (expected["distinct_count"], expected["kept_count"])
    assert max(r["xl_rq"] for r in days) == "2026-10-29"  # two days late
    hours: dict[str, float] = {}
    for r in whole:
        hours[r["xl_rq"][:7]] = hours.get(r["xl_rq"][:7], 0) + r["xl_ss"]
    assert hours == pytest.approx(expected["patrol_hours_by_month"], abs=0.1)


def test_the_police_database_follows_the_clock_both_ways(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSC_DATA", str(tmp_path / "steps"))
    folder = tmp_path / "steps" / "reference_district"
    clock.move(DISTRICT, DISTRICT.clock_start)
    first = dump(folder)
    assert len(first["dispatch"]) == totals(here, DISTRICT.clock_start)["dispatch"]["distinct_count"]
    clock.move(DISTRICT, DISTRICT.clock_start + 20 * 3600)
    evening = {r[0]: (r[11], r[14]) for r in dump(folder)["dispatch"]}
    started = time.monotonic()
    for days in (1, 2, 31):  # in steps or at once, the same
        clock.move(DISTRICT, DISTRICT.clock_start + days * 86400)
    assert time.monotonic() - started < 20
    assert dump(folder) == dump(here)
    later = {r[0]: (r[11], r[14]) for r in dump(folder)["dispatch"]}
    went_on = [key for key, (status, _) in evening.items() if later[key][0] != status]
    assert went_on and all(later[key][1] > evening[key][1] for key in went_on)  # the same row, with a higher number
    assert all(later[key] == evening[key] for key in evening if later[key][1] == evening[key][1])
    clock.move(DISTRICT, DISTRICT.clock_start)
    assert dump(folder) == first


def test_one_batch_of_the_police_is_committed_after_higher_numbers(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSC_DATA", str(tmp_path / "late"))
    folder = tmp_path / "late" / "reference_district"
    clock.move(DISTRICT, DISTRICT.clock_start)
    read = max(r[14] for r in dump(folder)["dispatch"])
    seen = {r[0] for r in dump(folder)["dispatch"]}
    clock.move(DISTRICT, DISTRICT.clock_start + police.LATE_BATCH_HOURS * 3600 - 1)
    assert not [r for r in dump(folder)["dispatch"] if r[0] not in seen and r[14] < read]
    clock.move(DISTRICT, DISTRICT.clock_start + police.LATE_BATCH_HOURS * 3600)
    behind = {r[0] for r in dump(folder)["dispatch"] if r[0] not in seen and r[14] < read}
    batch = {f["key"]["dispatch_id"] for f in planted(here, "dispatch") if f["kind"] == "late_commit"}
    assert behind and behind <= batch and not batch & seen


# Ground collapse


def sheet_rows(path: Path, sheet: str) -> tuple[list[str], list[dict[str, str]]]:
    """Flattened header and rows of one sheet as a careful person reads them: no totals, no blank rows."""
    cells = fastexcel.read_excel(str(path)).load_sheet(sheet, header_row=None, dtypes="string").to_polars().rows()
    assert cells[0][0] and "演示数据" in cells[0][0] and not any(cells[0][1:])
    header, parent = [], ""
    for upper, lower in zip(cells[1], cells[2], strict=True):
        parent = upper or parent
        header.append(f"{parent}|{lower}" if lower else parent)
    rows = [dict(zip(header, r, strict=True)) for r in cells[3:] if any(r)]
    assert re.match("合计|总计", str(next(iter(rows[-1].values()))))
    return header, rows[:-1]


def typed_date(text: str | None) -> date | None:
    """A date in any of the forms that the department types; None where it is none."""
    found = re.fullmatch(r"(\d{4})(?:-|/|\.|年)(\d{1,2})(?:-|/|\.|月)(\d{1,2})日?(?: 00:00:00)?|(\d{4})(\d\d)(\d\d)(?:\.0)?", text or "")
    try:
        return date(*(int(g) for g in found.groups() if g)) if found else None
    except ValueError:
        return None


@pytest.mark.parametrize(
    ("sheet", "entity", "key", "when", "number", "low", "high"),
    [
        ("坍塌事故", "collapse", ["事故编号"], "发现日期", "规模(米)|深", 0, 50),
        ("空洞普查", "void_survey", ["空洞编号"], "普查日期", "空洞(米)|埋深", 0, 50),
        ("沉降监测", "settlement_reading", ["测点编号", "测量日期"], "测量日期", "沉降(毫米)|本次", -200, 200),
    ],
)
def test_workbooks_and_their_truth(
    sheet: str, entity: str, key: list[str], when: str, number: str, low: float, high: float, here: Path
) -> None:
    kept: dict[tuple, dict[str, str]] = {}
    total, broken, forms, grades, repeats = 0, 0, Counter(), Counter(), 0
    files = sorted((here / "files" / "ground_collapse").iterdir(), key=lambda p: p.stat().st_mtime)
    assert len(files) == 13 and files[-1].name == "ground_collapse_2026W43.xlsx"  # W43 ends on Sunday, 25 October
    assert datetime.fromtimestamp(files[-1].stat().st_mtime, SHANGHAI).isoformat() == "2026-10-27T09:00:00+08:00"
    for path in files:
        header, rows = sheet_rows(path, sheet)
        assert header == columns("ground_collapse", entity)
        for row in rows:
            total += 1
            forms[re.sub(r"\d+", "0", row[when] or "")] += 1
            grades[row.get("等级") or row.get("隐患等级")] += 1
            code = str(row[key[0]])
            try:
                value = low <= float(row[number]) <= high
            except ValueError:
                value = False
            if typed_date(row[when]) is None or not value or code[:2] not in ("TX", "KD", "CJ"):
                broken += 1
                continue
            name = (code, *(typed_date(row[k]) for k in key[1:]))
            repeats += name in kept
            kept[name] = row
    expected = totals(here, DISTRICT.as_of)[entity]
    assert (total, broken, len(kept)) == (expected["row_count"], expected["broken_row_count"], expected["kept_count"])
    assert broken == len(planted(here, entity)) > 0
    if entity != "settlement_reading":
        assert repeats > 10
        last = {1: "一Ⅰ1I", 2: "二Ⅱ2", 3: "三Ⅲ3", 4: "四Ⅳ4"}
        read = Counter()
        for row in kept.values():
            text = (row.get("等级") or row["隐患等级"]).removesuffix("级")
            read[str({"I": 1, "II": 2, "III": 3, "IV": 4}.get(text) or next(n for n, marks in last.items() if text in marks))] += 1
        assert read == expected["by_grade"]
        assert len(grades) >= 6
    if entity != "collapse":
        assert len(forms) >= 6, forms


def test_what_is_closed_is_listed_once_more_and_then_gone(here: Path) -> None:
    listed: dict[str, list[tuple[str, str | None]]] = {}
    for path in sorted((here / "files" / "ground_collapse").iterdir()):
        for row in sheet_rows(path, "空洞普查")[1]:
            listed.setdefault(str(row["空洞编号"])[-8:], []).append((path.name, row["处置完成日期"]))
    closed = [weeks for weeks in listed.values() if any(done for _, done in weeks)]
    assert len(closed) > 2
    assert all(sum(bool(done) for _, done in weeks) <= 2 and weeks[-1][1] for weeks in closed)  # twice where it was corrected afterwards


def test_settlement_accelerates_where_the_truth_says(here: Path) -> None:
    points = pl.read_parquet(here / "truth" / "settlement_point.parquet")
    readings_ = pl.read_parquet(here / "truth" / "settlement_reading.parquet")
    moving = points.filter(pl.col("accelerates_from").is_not_null())
    assert len(points) == 12 and len(moving) == 2
    fast = readings_.filter(pl.col("point_code").is_in(moving["point_code"].to_list())).sort("measured_date").group_by("point_code").last()
    still = readings_.filter(~pl.col("point_code").is_in(moving["point_code"].to_list()))
    assert fast["settlement_mm"].max() > 1.3 * still["settlement_mm"].max()


# Fire detection


@cache
def smoke(folder: Path) -> list[dict]:
    """Every line of the reading files, with the file's arrival as ``_arrival``."""
    rows = []
    for path in sorted((folder / "files" / "fire_detection").glob("smoke_reading_*.ndjson.gz")):
        arrival = int(path.stat().st_mtime)
        rows += [orjson.loads(line) | {"_arrival": arrival} for line in gzip.decompress(path.read_bytes()).splitlines()]
    return rows


def lines_of(folder: Path, kind: str) -> list[dict]:
    files = sorted((folder / "files" / "fire_detection").glob(f"{kind}_*.ndjson.gz"))
    return [orjson.loads(line) for path in files for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_smoke_readings_and_their_truth(here: Path) -> None:
    rows = smoke(here)
    assert set(rows[0]) - {"_arrival"} == set(columns("fire_detection", "smoke_reading"))
    good: dict[tuple, float] = {}
    broken = repeats = beyond = 0
    for r in rows:
        if "-13-" in r["time"] or r["smokePct"] is None or r["smokePct"] < 0 or r["tempC"] < -30:
            broken += 1
        elif (r["detectorId"], r["time"]) in good:
            repeats += 1
        else:
            good[r["detectorId"], r["time"]] = r["smokePct"]
            assert r["time"] < iso(r["_arrival"])
            beyond += r["_arrival"] - seconds(r["time"], "") > 37 * 86400
    expected = totals(here, DISTRICT.as_of)["smoke_reading"]
    assert len(good) == expected["kept_count"] + expected["late_beyond_count"]
    assert beyond == expected["late_beyond_count"] == 5
    mine = planted(here, "smoke_reading")
    assert broken == sum(f["rule"] not in (None, "late") for f in mine) > 20
    assert repeats == sum(f["expected"] == "superseded" for f in mine) > 100
    truth = pl.read_parquet(here / "truth" / "smoke_reading.parquet").filter(pl.col("arrival") <= DISTRICT.as_of)
    assert truth["value_sum"].sum() == pytest.approx(sum(good.values()))


def test_silence_flatline_outage_and_low_battery_are_in_the_readings(here: Path) -> None:
    faults: dict[str, dict] = {}
    for f in planted(here, "smoke_reading"):
        faults.setdefault(f["kind"], f["key"])
    rows = [r for r in smoke(here) if "-13-" not in r["time"] and r["smokePct"] is not None and r["smokePct"] >= 0 and r["tempC"] > -30]

    def within(kind: str) -> list[dict]:
        key = faults[kind]
        until = key.get("observed_until", "9")
        return [r for r in rows if r["detectorId"] == key.get("device_id", r["detectorId"]) and key["observed_since"] <= r["time"] < until]

    assert within("silent") == []
    assert [r for r in rows if r["detectorId"] == faults["silent"]["device_id"]]
    assert within("platform_outage") == []
    assert len({r["smokePct"] for r in within("flatline")}) == 1 < len(within("flatline"))
    renewed = faults["low_battery"]["observed_until"]
    battery = [r["battery"] for r in within("low_battery")]
    assert min(battery) <= 4 and battery[-1] <= battery[0]
    after = [r["battery"] for r in rows if r["detectorId"] == faults["low_battery"]["device_id"] and r["time"] > renewed]
    assert after[0] > 95


def test_alarms_and_their_truth(here: Path) -> None:
    rows = lines_of(here, "fire_alarm")
    assert set(rows[0]) == set(columns("fire_detection", "fire_alarm"))
    latest: dict[str, dict] = {}
    for r in rows:
        if r["alarmId"] not in latest or r["updatedAt"] >= latest[r["alarmId"]]["updatedAt"]:
            latest[r["alarmId"]] = r
    kept = [r for r in latest.values() if r["kind"] in ("smoke", "heat", "manual") and "-13-" not in r["raisedAt"]]
    expected = totals(here, DISTRICT.as_of)["fire_alarm"]
    assert (len(latest), len(kept)) == (expected["distinct_count"], expected["kept_count"])
    assert Counter(r["outcome"] or "" for r in kept) == expected["by_outcome"] and expected["by_outcome"]["fire"] >= 1
    levels = {r["detectorId"]: r["alarmPct"] for r in lines_of(here, "detector") if r["alarmPct"] <= 100}
    episodes = pl.read_parquet(here / "truth" / "smoke_episode.parquet").filter(pl.col("is_fire"))
    for r in kept:
        if r["outcome"] == "fire" and r["kind"] != "manual":
            near = [
                s["smokePct"]
                for s in smoke(here)
                if s["detectorId"] == r["detectorId"] and r["raisedAt"] <= s["time"] <= r["clearedAt"] and s["smokePct"] is not None
            ]
            assert near and max(near) > levels[r["detectorId"]]
            assert r["detectorId"] in episodes["device_id"].to_list()


def test_detectors_are_those_of_the_contract(here: Path) -> None:
    rows = lines_of(here, "detector")
    assert all(set(r) == set(columns("fire_detection", "detector")) for r in rows)
    assert len({r["detectorId"] for r in rows}) == 12 == totals(here, DISTRICT.as_of)["detector"]["kept_count"]
    assert {r["cadenceMinutes"] for r in rows} == {10, 20, 30, 60}
    assert all(r["buildingCode"].startswith(r["communityCode"]) and len(r["buildingCode"]) == 19 for r in rows)


# Messages


def entities(text: str) -> list[dict]:
    """The readings in one message, flattened as any client of NGSI-LD does."""
    body = orjson.loads(text)
    found = body["data"] if body.get("type") == "Notification" else [body]
    return [{k: v["value"] if isinstance(v, dict) and v.get("type") == "Property" else v for k, v in e.items()} for e in found]


def test_a_step_sends_what_was_observed_in_it_and_nothing_else(here: Path) -> None:
    folder = home() / "generated" / DISTRICT.fingerprint()
    before, to = DISTRICT.as_of - 10 * 86400 - 1800, DISTRICT.as_of - 10 * 86400 + 1800  # across a midnight
    sent = messages.within(folder, before, to)
    by_topic: dict[str, Counter] = {}
    for topic, text in sent:
        system, entity, device = topic.split("/")
        for reading in entities(text):
            moment = reading.get("dateObserved") or reading.get("time") or reading["updatedAt"]
            assert iso(before) < moment <= iso(to)
            assert device == (reading.get("refDevice") or reading["detectorId"])
            by_topic.setdefault(f"{system}/{entity}", Counter())[device, moment] += 1
    files = {
        "fire_detection/smoke_reading": [(r["detectorId"], r["time"]) for r in smoke(here)],
        **{
            f"waterlogging/{kind}": [(r["refDevice"], r["dateObserved"]) for r in readings(here, kind)]
            for kind in ("water_level", "rain_gauge")
        },
    }
    for name, keys in files.items():
        assert by_topic[name] == Counter(k for k in keys if iso(before) < str(k[1]) <= iso(to)), name
    kinds = Counter(
        "notification" if '"Notification"' in text else "normalised" if '"Property"' in text else "simplified" for _, text in sent
    )
    assert min(kinds[k] for k in ("notification", "normalised", "simplified")) > 0


def test_every_state_of_an_alarm_is_sent_when_it_happens(here: Path) -> None:
    folder = home() / "generated" / DISTRICT.fingerprint()
    states = []
    for day in range(30):
        until = DISTRICT.as_of - day * 86400
        sent = messages.within(folder, until - 86400, until)
        states += [orjson.loads(text) for topic, text in sent if topic.startswith("fire_detection/fire_alarm/")]
    by_alarm: dict[str, list[dict]] = {}
    for state in states:
        by_alarm.setdefault(state["alarmId"], []).append(state)
    whole = [sorted(s, key=lambda x: x["updatedAt"]) for s in by_alarm.values() if len(s) == 3]
    assert whole
    for raised, cleared, judged in whole:
        assert raised["clearedAt"] is None and cleared["clearedAt"] and cleared["outcome"] is None and judged["outcome"]


# Incidents


def test_reports_of_one_incident_are_one_in_the_truth(here: Path) -> None:
    reports = pl.read_parquet(here / "truth" / "incident_report.parquet")
    assert reports["system"].unique().sort().to_list() == ["grid_management", "police_dispatch", "urban_management"]
    kept = reports.filter((pl.col("arrival_1") <= DISTRICT.as_of) & ~(pl.col("is_broken") & (pl.col("mended_arrival") < 0)))
    kept = kept.filter(~(pl.col("mended_arrival") > DISTRICT.as_of))
    expected = totals(here, DISTRICT.as_of)["incident_report"]
    assert (len(kept), kept["incident_id"].n_unique()) == (expected["report_count"], expected["incident_count"])
    by_incident = kept.group_by("incident_id").agg(pl.col("system", "category", "type_code").n_unique())
    assert Counter(str(n) for n in by_incident["system"]) == expected["by_source_count"]
    assert by_incident["category"].max() == by_incident["type_code"].max() == 1
    assert set(expected["by_source_count"]) == {"1", "2", "3"}


@pytest.mark.long
def test_demo_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that the issue states, and the time it takes."""
    monkeypatch.setenv("SSC_DATA", str(tmp_path / "demo"))
    district = District(440304, seconds(AS_OF, ""), "demo")
    started = time.monotonic()
    clock.move(district, district.clock_start)
    assert time.monotonic() - started < 90
    started = time.monotonic()
    clock.move(district, district.as_of)
    assert time.monotonic() - started < 20
    found = totals(tmp_path / "demo" / "reference_district", district.as_of)
    assert found["incident_report"]["report_count"] > 400_000
    assert 9_700_000 < sum(found[n]["kept_count"] for n in ("water_level", "rain_gauge", "smoke_reading")) < 10_500_000
    assert found["detector"]["kept_count"] == 500
    assert 180_000 < found["service_request"]["kept_count"] < 220_000 and 72_000 < found["dispatch"]["kept_count"] < 88_000
