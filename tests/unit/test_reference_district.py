"""The reference district without its servers: geography, determinism, what may be seen when, exports, and the truth.

Runs at test scale. Numbers expected here are worked out from the delivered files or stated by the issue, never read from the
generator's own counters.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections import Counter
from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
import yaml

from sources.reference_district import clock, generate, people, rain
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
    assert [name for name in first if first[name] == other.get(name)] == []


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


def test_event_columns_are_those_of_the_contract(here: Path) -> None:
    registers = generate.registers(home() / "generated" / DISTRICT.fingerprint())
    for name, register_ in registers.items():
        assert register_.columns == columns("grid_management", name)


def test_event_truth_is_what_is_served(here: Path) -> None:
    events = generate.registers(home() / "generated" / DISTRICT.fingerprint())["grid_event"]
    types = {r["code"] for r in csv.DictReader((PACKAGE / "incident_types.csv").open(encoding="utf-8"))}
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
    faults = {f["kind"]: f for f in json.loads((here / "truth" / "faults.json").read_bytes())}
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
