"""The database connector on a real SQLite file and a real PostgreSQL: exact text, change numbers that come late, windows, and faults.

The expected values stand in the tests, worked out by hand. Where PostgreSQL is not installed its tests are skipped, with the reason.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import adbc_driver_manager as adbc
import polars as pl
import psycopg
import pytest
import tenacity

from sources.catalogue import Entity, load_catalogue
from sources.connectors import database, pull
from sources.errors import PullError
from sources.landing import Landing, Manifest
from sources.protect import identifier_key, keyed_hash
from tests.postgres import Postgres, postgres, reason_to_skip

pytestmark = pytest.mark.integration
T1 = datetime(2026, 6, 1, tzinfo=UTC)
T2 = datetime(2026, 6, 2, tzinfo=UTC)
T3 = datetime(2026, 6, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
Run = Callable[..., None]

DISPATCH = """create table dispatch (
    jjd_bh {text} primary key, ajlx_dm {text}, sq_dm {text}, sfdd {text}, bjr_xm {text}, bjr_dh {text}, jq_nr {text},
    jj_sj {timestamp}, pj_sj {timestamp}, dd_sj {timestamp}, jj_wb_sj {timestamp}, zt {text}, ly {text}, gl_bh {text}, bgxh bigint)"""
PATROL = """create table patrol_hours_day (
    xl_rq {date}, sq_dm {text}, xl_ss numeric(10, 2), jl_rs integer, gx_sj {timestamp}, primary key (xl_rq, sq_dm))"""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    if reason := reason_to_skip():
        pytest.skip(reason)
    with postgres() as running:
        yield running


def sqlite_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, dict[str, str]]:
    path = tmp_path / "replica.db"
    connection = sqlite3.connect(path, isolation_level=None)
    monkeypatch.setenv("SSC_POLICE_DISPATCH_URL", f"sqlite:///{path}")

    def run(sql: str, *values: Any) -> None:
        connection.execute(sql, values)

    return run, {"text": "text", "timestamp": "text", "date": "text"}


def postgres_schema(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, dict[str, str]]:
    monkeypatch.setenv("SSC_POLICE_DISPATCH_URL", server.url)
    monkeypatch.setenv("SSC_POLICE_DISPATCH_PASSWORD", server.password)

    def run(sql: str, *values: Any) -> None:
        with psycopg.connect(server.conninfo, autocommit=True) as connection:
            connection.execute(sql.replace("?", "%s"), values or None)

    run("drop schema public cascade")
    run("create schema public")
    return run, {"text": "text", "timestamp": "timestamp", "date": "date"}


@pytest.fixture(params=["sqlite", "postgresql"])
def department(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A department's database with the tables of police_dispatch; returns how to run a statement in it."""
    if request.param == "sqlite":
        run, types = sqlite_file(tmp_path, monkeypatch)
    else:
        run, types = postgres_schema(request.getfixturevalue("server"), monkeypatch)
    run(DISPATCH.format(**types))
    run(PATROL.format(**types))
    return run


@pytest.fixture
def on_postgres(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Run:
    run, types = postgres_schema(server, monkeypatch)
    run(DISPATCH.format(**types))
    run(PATROL.format(**types))
    return run


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAIT", tenacity.wait_fixed(0.2))


@pytest.fixture
def dispatch() -> Entity:
    return load_catalogue()["police_dispatch"].entity("dispatch")


@pytest.fixture
def patrol() -> Entity:
    return load_catalogue()["police_dispatch"].entity("patrol_hours_day")


def call(run: Run, number: int, change: int | None, received: str = "2026-05-31 12:00:00", **fields: str) -> None:
    """One dispatch, new or changed."""
    values = {"ajlx_dm": "A01", "zt": "received", "bjr_dh": "13800000000", **fields}
    names, marks = ", ".join(values), ", ".join("?" for _ in values)
    sets = ", ".join(f"{name} = excluded.{name}" for name in (*values, "bgxh"))
    run(
        f"insert into dispatch (jjd_bh, jj_sj, bgxh, {names}) values (?, ?, ?, {marks}) on conflict (jjd_bh) do update set {sets}",
        f"PD{number:010d}", received, change, *values.values(),
    )  # fmt: skip


def hours(run: Run, day: str, community: str, at: str, number: str = "1.10") -> None:
    run(
        "insert into patrol_hours_day values (?, ?, ?, 3, ?) on conflict (xl_rq, sq_dm) do update set xl_ss = excluded.xl_ss, "
        "gx_sj = excluded.gx_sj",
        day, community, number, at,
    )  # fmt: skip


def rows(manifest: Manifest) -> list[dict[str, Any]]:
    if not manifest.parts:
        return []
    return pl.concat([pl.read_parquet(part) for part in manifest.parts]).to_dicts()


def changes(manifest: Manifest) -> list[int]:
    return sorted(int(row["bgxh"]) for row in rows(manifest))


def test_rows_land_as_text_and_identifiers_hashed(department: Run, dispatch: Entity, data: Path) -> None:
    call(department, 7, 41, jq_nr="", sq_dm="007")
    manifest = pull(dispatch, until=T1)
    [row] = rows(manifest)
    assert row["_load_id"] == manifest.load_id and row["_row"] == 0 and manifest.rows == 1
    assert (row["jjd_bh"], row["sq_dm"], row["jj_sj"], row["bgxh"]) == ("PD0000000007", "007", "2026-05-31 12:00:00", "41")
    assert row["jq_nr"] == "" and row["dd_sj"] is None
    assert row["bjr_dh"] == keyed_hash("13800000000", identifier_key())
    for path in data.rglob("*"):
        if path.is_file():
            assert b"13800000000" not in path.read_bytes(), path
    assert sorted(path.name for path in Path(manifest.path).iterdir()) == ["_manifest.json", "part-00000.parquet"]


def test_a_column_that_the_contract_does_not_know_lands_hashed_beside_identifiers_and_clear_elsewhere(
    department: Run, dispatch: Entity, patrol: Entity
) -> None:
    department("alter table dispatch add column phone_2 text")
    call(department, 1, 1, phone_2="13900000000")
    hours(department, "2026-05-30", "440304001001", "2026-05-31 06:00:00")
    department("alter table patrol_hours_day add column vehicle_km text")
    department("update patrol_hours_day set vehicle_km = '12.50'")
    assert rows(pull(dispatch, until=T1))[0]["phone_2"] == keyed_hash("13900000000", identifier_key())
    assert rows(pull(patrol, until=T1))[0]["vehicle_km"] == "12.50"


def test_every_type_of_postgresql_lands_as_its_own_text(on_postgres: Run, patrol: Entity) -> None:
    on_postgres(
        """alter table patrol_hours_day add column a numeric, add column b double precision, add column c real,
        add column d boolean, add column e timestamptz, add column f jsonb, add column g numeric[], add column h uuid,
        add column i char(4), add column j bigint"""
    )
    hours(on_postgres, "2026-05-30", "440304001001", "2026-05-31 06:00:00.250")
    on_postgres(
        """update patrol_hours_day set a = 1.10, b = 0.1, c = 1.1, d = true, e = '2026-05-31 00:00:00+00', f = '{"k": 1.10}',
        g = array[1.10, 2], h = '00000000-0000-0000-0000-00000000000a', i = 'ab', j = 9223372036854775807"""
    )
    [row] = rows(pull(patrol, until=T1))
    assert {name: row[name] for name in ("xl_rq", "xl_ss", "jl_rs", "gx_sj")} == {
        "xl_rq": "2026-05-30", "xl_ss": "1.10", "jl_rs": "3", "gx_sj": "2026-05-31 06:00:00.25",
    }  # fmt: skip
    assert {name: row[name] for name in "abcdefghij"} == {
        "a": "1.10", "b": "0.1", "c": "1.1", "d": "true", "e": "2026-05-31 08:00:00+08", "f": '{"k": 1.10}', "g": "[1.10,2]",
        "h": "00000000-0000-0000-0000-00000000000a", "i": "ab", "j": "9223372036854775807",
    }  # fmt: skip


def test_what_sqlite_holds_lands_as_it_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patrol: Entity) -> None:
    run, _ = sqlite_file(tmp_path, monkeypatch)
    run("create table patrol_hours_day (xl_rq text, sq_dm text, xl_ss text, jl_rs integer, gx_sj text, a boolean, b real, c text)")
    run("insert into patrol_hours_day values ('2026-05-30', '007', '1.10', 9007199254740993, '2026-05-31', 1, 0.1, cast(x'61ff' as text))")
    [row] = rows(pull(patrol, until=T1))
    assert (row["sq_dm"], row["xl_ss"], row["jl_rs"], row["a"], row["b"], row["c"]) == (
        "007", "1.10", "9007199254740993", "true", "0.1", "a\\xff",
    )  # fmt: skip


def test_binary_values_are_refused(department: Run, dispatch: Entity, request: pytest.FixtureRequest) -> None:
    department(f"alter table dispatch add column photo {'bytea' if 'postgresql' in request.node.name else 'blob'}")
    with pytest.raises(PullError, match=r"police_dispatch/dispatch table dispatch: column photo is binary.*Next: have it left out"):
        pull(dispatch, until=T1)
    assert Landing().load_ids("police_dispatch", "dispatch") == []


def test_by_change_number_only_what_is_new_is_taken(department: Run, dispatch: Entity) -> None:
    call(department, 1, 1)
    call(department, 2, 2)
    assert changes(pull(dispatch, until=T1)) == [1, 2]
    call(department, 1, 3, zt="closed")
    assert [(row["jjd_bh"], row["zt"]) for row in rows(pull(dispatch, until=T2))] == [("PD0000000001", "closed")]
    assert pull(dispatch, until=T3).rows == 0


def test_a_number_that_is_committed_after_a_higher_one_is_taken(department: Run, dispatch: Entity) -> None:
    for number in (1, 2, 5, 9):
        call(department, number, number)
    first = pull(dispatch, until=T1)
    assert first.cursor_after == {"greatest": 9, "gaps": [{"missed_at": T1.isoformat(), "numbers": "3-4,6-8"}]}
    call(department, 4, 4)  # committed late
    call(department, 7, 7)
    call(department, 12, 12)
    second = pull(dispatch, until=T1 + HOUR)
    assert changes(second) == [4, 7, 12]
    assert second.cursor_after == {
        "greatest": 12,
        "gaps": [{"missed_at": T1.isoformat(), "numbers": "3,6,8"}, {"missed_at": (T1 + HOUR).isoformat(), "numbers": "10-11"}],
    }
    call(department, 6, 6)
    assert changes(pull(dispatch, until=T1 + 2 * HOUR)) == [6]
    assert pull(dispatch, until=T1 + 3 * HOUR).rows == 0


def test_a_gap_is_asked_for_once_more_however_late_the_next_pull_is_and_then_let_go(department: Run, dispatch: Entity) -> None:
    for number in (1, 3, 5):
        call(department, number, number)
    pull(dispatch, until=T1)
    call(department, 2, 2)
    late = pull(dispatch, until=T2)  # a day later: older than GAP_HOURS
    assert changes(late) == [2] and late.cursor_after == {"greatest": 5, "gaps": []}
    call(department, 4, 4)
    assert pull(dispatch, until=T3).rows == 0
    assert changes(pull(dispatch, since=T1 - timedelta(days=1), until=T1)) == [1, 2, 3, 4, 5]  # a backfill by event time finds it


def test_gaps_are_bounded_and_the_newest_stay(department: Run, dispatch: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "GAP_RANGES", 3)
    for number in (2, 4, 6, 8, 10):
        call(department, number, number)
    assert pull(dispatch, until=T1).cursor_after["gaps"] == [{"missed_at": T1.isoformat(), "numbers": "5,7,9"}]
    call(department, 12, 12)
    gaps = pull(dispatch, until=T1 + HOUR).cursor_after["gaps"]
    assert [gap["numbers"] for gap in gaps] == ["7,9", "11"]


def test_a_transaction_that_is_open_during_a_pull_is_not_lost(on_postgres: Run, dispatch: Entity, server: Postgres) -> None:
    on_postgres("create sequence change")
    insert = "insert into dispatch (jjd_bh, jj_sj, bgxh) values (%s, '2026-05-31', nextval('change'))"
    with psycopg.connect(server.conninfo) as slow, psycopg.connect(server.conninfo, autocommit=True) as quick:
        slow.execute(insert, ["slow"])
        quick.execute(insert, ["quick"])
        assert [row["jjd_bh"] for row in rows(pull(dispatch, until=T1))] == ["quick"]
        slow.commit()
    assert [row["jjd_bh"] for row in rows(pull(dispatch, until=T2))] == ["slow"]


def test_rows_without_a_number_land_with_the_first_load(department: Run, dispatch: Entity) -> None:
    call(department, 1, None)
    call(department, 2, 2)
    assert pull(dispatch, until=T1).rows == 2
    call(department, 3, 3)
    assert changes(pull(dispatch, until=T2)) == [3]


def test_an_empty_table_makes_an_empty_load_and_the_first_rows_come_after(department: Run, dispatch: Entity, patrol: Entity) -> None:
    assert pull(dispatch, until=T1).rows == pull(patrol, until=T1).rows == 0
    call(department, 1, 1)
    assert changes(pull(dispatch, until=T2)) == [1]


def test_by_time_the_window_ends_at_until_and_times_without_offset_are_shanghais(department: Run, patrol: Entity) -> None:
    hours(department, "2026-05-30", "a", "2026-06-01 07:59:59")
    hours(department, "2026-05-30", "b", "2026-06-01 08:00:00")  # T1, the window's end
    hours(department, "2026-05-30", "c", "2026-06-01 08:00:01")
    assert sorted(row["sq_dm"] for row in rows(pull(patrol, until=T1))) == ["a", "b"]
    assert sorted(row["sq_dm"] for row in rows(pull(patrol, until=T2))) == ["c"]


def test_a_row_committed_late_is_taken_and_repeats_of_the_overlap_are_not(department: Run, patrol: Entity) -> None:
    for number in range(500):  # a bulk update shortly before the pull
        hours(department, "2026-05-30", f"{number}", "2026-06-01 07:55:00")
    assert pull(patrol, until=T1).rows == 500
    hours(department, "2026-05-30", "late", "2026-06-01 07:56:00")
    hours(department, "2026-05-30", "7", "2026-06-01 07:57:00", "2.5")  # changed before the pull, committed after it
    second = pull(patrol, until=T1 + HOUR)
    assert sorted(row["sq_dm"] for row in rows(second)) == ["7", "late"]
    assert pull(patrol, until=T1 + HOUR + timedelta(minutes=5)).rows == 0


def test_times_with_an_offset_are_compared_as_times_in_both(department: Run, patrol: Entity, request: pytest.FixtureRequest) -> None:
    if "postgresql" in request.node.name:
        department("alter table patrol_hours_day alter gx_sj type timestamptz")
    hours(department, "2026-05-30", "a", "2026-06-01T09:00:00+09:00")  # T1
    hours(department, "2026-05-30", "b", "2026-05-31T20:00:01-04:00")  # a second later
    assert [row["sq_dm"] for row in rows(pull(patrol, until=T1))] == ["a"]
    assert [row["sq_dm"] for row in rows(pull(patrol, until=T2))] == ["b"]


def test_a_backfill_takes_its_window_and_moves_nothing(department: Run, dispatch: Entity, patrol: Entity) -> None:
    hours(department, "2026-05-29", "a", "2026-05-31 08:00:00")
    hours(department, "2026-05-29", "b", "2026-05-31 08:00:01")
    hours(department, "2026-05-29", "c", "2026-06-01 08:00:00")
    call(department, 1, 1, "2026-05-31 08:00:00")
    call(department, 2, 9, "2026-05-31 08:00:01")
    call(department, 3, 5, "2026-06-01 08:00:00")
    call(department, 4, 6, "2026-06-01 08:00:01")
    pull(dispatch, until=T2)
    pull(patrol, until=T2)
    window = {"since": T1 - timedelta(days=1), "until": T1}
    again = pull(patrol, **window)
    assert sorted(row["sq_dm"] for row in rows(again)) == ["b", "c"] and again.cursor_after is None
    assert changes(pull(dispatch, **window)) == [5, 9]
    assert pull(dispatch, **window).load_id == pull(dispatch, **window).load_id
    assert pull(dispatch, until=T3).rows == 0


def test_a_schema_and_odd_names_are_quoted(on_postgres: Run, dispatch: Entity) -> None:
    on_postgres('create schema "Replica"')
    on_postgres("""create table "Replica"."select" as select jjd_bh, bgxh, jj_sj, 'x' as "a ""b"" 列" from dispatch""")
    on_postgres("""insert into "Replica"."select" values ('PD0000000001', 1, '2026-05-31', 'x')""")
    [row] = rows(pull(replace(dispatch, source="Replica.select", deliveries=()), until=T1))
    assert 'a "b" 列' in row
    with pytest.raises(PullError, match=r"there is no table nowhere\.select"):
        pull(replace(dispatch, source="nowhere.select", deliveries=()), until=T2)


@pytest.mark.parametrize("names", [("jjd_bh", "jj_sj")])
def test_a_missing_column_of_read_by_is_named(department: Run, dispatch: Entity, names: tuple[str, ...]) -> None:
    department("drop table dispatch")
    department("create table dispatch (jjd_bh text, jj_sj text)")
    with pytest.raises(PullError, match=r"there is no column bgxh, by which change_number is read.*Next: compare.*police_dispatch\.yml"):
        pull(dispatch, until=T1)


def test_a_change_number_that_is_no_integer_is_named(department: Run, dispatch: Entity) -> None:
    department("drop table dispatch")
    department("create table dispatch (jjd_bh text, bgxh text)")
    with pytest.raises(PullError, match=r"column bgxh, by which changes are numbered, is of type (text|TEXT), no integer"):
        pull(dispatch, until=T1)


def test_a_missing_table_is_named(department: Run, dispatch: Entity) -> None:
    department("drop table dispatch")
    with pytest.raises(PullError, match="police_dispatch/dispatch table dispatch: there is no table dispatch"):
        pull(dispatch, until=T1)


def test_a_wrong_password_is_told_apart_and_never_shown(
    on_postgres: Run, dispatch: Entity, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SSC_POLICE_DISPATCH_PASSWORD", "not-the-password '\\")
    with pytest.raises(PullError, match=r"refuses the login.*Next: set SSC_POLICE_DISPATCH_PASSWORD") as error:
        pull(dispatch, until=T1)
    assert "not-the-password" not in f"{error.value!r} {error.value.__cause__!r} {error.value.__context__!r} {caplog.text}"


def test_a_password_in_the_address_is_refused_unseen(dispatch: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSC_POLICE_DISPATCH_URL", "postgresql://someone:geheim@127.0.0.1:1/x")
    with pytest.raises(PullError, match=r"SSC_POLICE_DISPATCH_URL holds a password.*SSC_POLICE_DISPATCH_PASSWORD") as error:
        pull(dispatch, until=T1)
    assert "geheim" not in str(error.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "just text", "postgresql://someone@127.0.0.1:port/x"])
def test_an_address_of_no_database_is_named(dispatch: Entity, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SSC_POLICE_DISPATCH_URL", url)
    with pytest.raises(PullError, match=r"SSC_POLICE_DISPATCH_URL .*Next: write postgresql://… or sqlite://…"):
        pull(dispatch, until=T1)


def test_a_file_that_is_not_there_is_named_and_not_made(dispatch: Entity, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSC_POLICE_DISPATCH_URL", f"sqlite:///{tmp_path}/nowhere.db")
    with pytest.raises(PullError, match=r"the file .*nowhere\.db is not there.*Next: check SSC_POLICE_DISPATCH_URL"):
        pull(dispatch, until=T1)
    assert not (tmp_path / "nowhere.db").exists()


def test_a_file_that_is_no_database_is_named(dispatch: Entity, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database" * 100)
    monkeypatch.setenv("SSC_POLICE_DISPATCH_URL", f"sqlite:///{tmp_path}/text.db")
    with pytest.raises(PullError, match="the database cannot be read"):
        pull(dispatch, until=T1)


def test_nothing_can_be_written_through_the_connector(department: Run, dispatch: Entity) -> None:
    call(department, 1, 1)
    with database._connect(dispatch) as opened, pytest.raises((sqlite3.OperationalError, adbc.ProgrammingError), match=r"read-?only"):
        opened.connection.cursor().execute("delete from dispatch")  # type: ignore[attr-defined]
    assert pull(dispatch, until=T1).rows == 1


def test_a_server_that_goes_away_is_asked_again(dispatch: Entity, server: Postgres, on_postgres: Run) -> None:
    call(on_postgres, 1, 1)
    server.control("stop", "-m", "fast")
    starting = threading.Timer(0.3, server.control, ["start"])
    starting.start()
    try:
        assert changes(pull(dispatch, until=T1)) == [1]
    finally:
        starting.join()


def test_a_connection_that_is_cut_in_the_middle_is_read_again_from_the_beginning(
    dispatch: Entity, server: Postgres, on_postgres: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_postgres(
        "insert into dispatch (jjd_bh, jj_sj, bgxh, jq_nr) "
        "select i::text, '2026-05-31', i, repeat('x', 500) from generate_series(1, 100000) as i"
    )
    cut = []
    original = database.keyed_hashes

    def cutting(values: list[str | None], key: bytes) -> list[str | None]:
        if not cut:  # the first batch is here, the others are on their way
            cut.append(True)
            on_postgres("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'smart-safe-community'")
        return original(values, key)

    monkeypatch.setattr(database, "keyed_hashes", cutting)
    manifest = pull(dispatch, until=T1)
    assert cut and manifest.rows == 100_000 and len({row["bgxh"] for row in rows(manifest)}) == 100_000


def test_a_server_that_stays_down_lands_nothing(dispatch: Entity, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSC_POLICE_DISPATCH_URL", "postgresql://someone@127.0.0.1:1/x")
    with pytest.raises(PullError, match=r"Connection refused\) after 5 attempts\. Next: check SSC_POLICE_DISPATCH_URL"):
        pull(dispatch, until=T1)
    assert Landing().load_ids("police_dispatch", "dispatch") == []


def test_a_large_table_lands_in_parts_and_its_rows_are_numbered_through(
    department: Run, dispatch: Entity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PART_ROWS", 1000)
    department(
        "insert into dispatch (jjd_bh, bgxh) with recursive n(i) as (select 1 union all select i + 1 from n where i < 2500) "
        "select cast(i as text), i from n"
    )
    manifest = pull(dispatch, until=T1)
    assert manifest.rows == 2500 and len(manifest.parts) == 3
    assert sorted(row["_row"] for row in rows(manifest)) == list(range(2500))
    assert changes(manifest) == list(range(1, 2501))
    assert json.loads((Path(manifest.path) / "_manifest.json").read_text())["cursor_after"] == {"greatest": 2500, "gaps": []}


def test_ranges() -> None:
    assert database.ranges_of("3-5,9") == [(3, 5), (9, 9)] and database.numbers_of([(3, 5), (9, 9)]) == "3-5,9"
    assert database.without([(3, 5), (9, 9), (11, 20)], [4, 9, 11, 20]) == [(3, 3), (5, 5), (12, 19)]
    assert database.covering([(1, 1), (3, 3), (100, 100), (104, 110)], 2) == [(1, 3), (100, 110)]
    assert database.covering([(1, 1), (3, 3)], 5) == [(1, 1), (3, 3)] and database.covering([], 5) == []
