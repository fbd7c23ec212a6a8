"""Releases on real DuckDB files: content hash, candidates, refusal, kills, retention, equality and publication.

What the gate finds is tested with the gate; here a judge says yes or no. Nothing here needs dbt or Dagster.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from orchestration import release
from sources.errors import BuildError, ReleaseRefused, SscError

OCTOBER = "2026-09-30T16:00:00"  # midnight of 1 October in Shanghai, as UTC


@dataclass
class Says:
    """A judge that always says the same."""

    refused: bool = False
    findings: tuple = ()
    calls: int = 0

    def __call__(self, candidate: Path, data: Path) -> Says:
        assert (candidate / "marts.duckdb").exists()
        self.calls += 1
        return self

    def paragraph(self) -> str:
        return "水位 31 行无处可查。31 rows of water_level are unaccounted for."


def make_build(data: Path, *, until: dict[str, str] | None = None, rows: list[tuple] | None = None, backwards: bool = False) -> None:
    """A tiny build: one mart, two governance tables, the ledger, two open tables."""
    build = data / "build"
    build.mkdir(parents=True, exist_ok=True)
    rows = rows if rows is not None else [("440304001001", "2026-09", 12, 1.5), ("440304001002", "2026-09", 0, None)]
    for file in release.FILES:
        (build / file).unlink(missing_ok=True)
    with duckdb.connect(str(build / "marts.duckdb")) as c:
        c.execute("create schema mart; create schema governance; create schema quality")
        c.execute("create table mart.fct (community_id varchar, month varchar, n bigint, mean double)")
        c.executemany("insert into mart.fct values (?, ?, ?, ?)", rows[::-1] if backwards else rows)
        c.execute("create table governance.system as select 'tax' as system, '1.2.0' as version")
        c.execute("insert into governance.system values ('water', '1.0.0')")
        c.execute("create table governance.release (release_id varchar)")
        c.execute(
            "create table quality.load_ledger (system varchar, entity varchar, load_id varchar, window_until timestamp,"
            " is_demo boolean, contract_version varchar)"
        )
        for system, moment in (until or {"tax": OCTOBER, "water": OCTOBER}).items():
            c.execute("insert into quality.load_ledger values (?, 'e', 'l', ?, true, '1.0.0')", [system, moment])
    with duckdb.connect(str(build / "open_data.duckdb")) as c:
        c.execute("create schema open_data")
        c.execute("create table open_data.open_data.about as select '2026-09' as latest_month")
        c.execute("create table open_data.open_data.community_month as select '2026-09' as month, 5 as incident_count")
    (build / "run_results.json").write_text(json.dumps({"results": [{"unique_id": "test.p.ok.1", "status": "pass"}]}))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make_build(tmp_path)
    return tmp_path


def made(data: Path, **changes) -> release.Release:
    if changes:
        make_build(data, **changes)
    return release.make_candidate(data, judge=Says())


def folders(data: Path) -> set[str]:
    return {path.name for path in (data / "published").iterdir() if not path.name.startswith(".lock")}


# ------------------------------------------------------------------------------------------------------------ content hash


def hash_of(tmp_path: Path, sql: str, *, threads: int = 2) -> str:
    path = tmp_path / "t.duckdb"
    path.unlink(missing_ok=True)
    with duckdb.connect(str(path), config={"threads": threads}) as c:
        c.execute("create schema mart")
        c.execute(sql)
    return release.content_hash(release.fingerprint(path, ["mart"]))


def test_hash_ignores_row_order_and_threads(tmp_path: Path) -> None:
    rows = "select i as id, 'n' || i as name, i / 7.0 as x from range(300000) r(i)"
    forwards = hash_of(tmp_path, f"create table mart.t as {rows} order by i", threads=1)
    assert forwards == hash_of(tmp_path, f"create table mart.t as {rows} order by i desc", threads=4)


@pytest.mark.parametrize(
    ("what", "one", "other"),
    [
        ("null and empty text", "select null::varchar a", "select '' a"),
        ("null and the text of a dash", "select null::varchar a", "select '-' a"),
        ("shifted columns", "select 'ab' a, 'c' b", "select 'a' a, 'bc' b"),
        ("null in one column or the other", "select null::int a, 1 b", "select 1 a, null::int b"),
        ("a type", "select 1::int a", "select 1::bigint a"),
        ("a column's name", "select 1 a", "select 1 b"),
        ("a row twice", "select 1 a", "select 1 a union all select 1"),
        ("two rows twice, four times", "select 1 a from range(2)", "select 1 a from range(4)"),
        ("which row is twice", "select unnest([1, 1, 2]) a", "select unnest([1, 2, 2]) a"),
        ("the ninth digit", "select 0.123456789::double a", "select 0.123456788::double a"),
        ("a list's null and its text", "select [null]::varchar[] a", "select ['NULL'] a"),
    ],
)
def test_hash_tells_apart(tmp_path: Path, what: str, one: str, other: str) -> None:
    assert hash_of(tmp_path, f"create table mart.t as {one}") != hash_of(tmp_path, f"create table mart.t as {other}"), what


@pytest.mark.parametrize(
    ("what", "one", "other"),
    [
        ("the order of addition", "select 0.1::double + 0.2::double a", "select 0.3::double a"),
        ("the sign of zero", "select '-0.0'::double a", "select 0.0::double a"),
        ("column order", "select 1 a, 'x' b", "select 'x' b, 1 a"),
    ],
)
def test_hash_does_not_depend_on(tmp_path: Path, what: str, one: str, other: str) -> None:
    assert hash_of(tmp_path, f"create table mart.t as {one}") == hash_of(tmp_path, f"create table mart.t as {other}"), what


def test_hash_of_an_instant_does_not_depend_on_the_machines_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = "create table mart.t as select timestamptz '2026-10-01 00:00:00+08' a"
    here = hash_of(tmp_path, sql)
    monkeypatch.setenv("TZ", "America/New_York")
    assert hash_of(tmp_path, sql) == here


def test_a_view_into_another_file_is_named(tmp_path: Path) -> None:
    with duckdb.connect() as c:
        c.execute(f"attach '{tmp_path}/t.duckdb' as t; attach '{tmp_path}/other.duckdb' as other")
        c.execute("create schema t.mart; create table other.x as select 1 a; create view t.mart.v as select * from other.x")
    with pytest.raises(BuildError, match=r"t\.duckdb mart\.v"):
        release.fingerprint(tmp_path / "t.duckdb", ["mart"])


# ------------------------------------------------------------------------------------------------------------ candidates


def test_release_holds_what_it_says(data: Path) -> None:
    done = made(data)
    assert done.is_new
    assert done.release_id == f"2026-09-30T1600Z-{done.content_hash[:12]}"
    assert os.readlink(data / "published" / "current") == done.release_id
    assert folders(data) == {done.release_id, "current"}
    described = json.loads((done.path / "_release.json").read_text())
    assert described["as_of"] == "2026-09-30T16:00:00+00:00"
    assert described["tables"]["mart.fct"]["rows"] == 2
    assert set(described["tables"]) == {"mart.fct", "governance.system", "open_data.about", "open_data.community_month"}
    assert described["files"]["marts.duckdb"] == hashlib.sha256((done.path / "marts.duckdb").read_bytes()).hexdigest()
    with duckdb.connect(str(done.path / "marts.duckdb"), read_only=True) as c:
        row = c.execute("select release_id, as_of, content_hash, contract_versions, is_demo from governance.release").fetchall()
    versions = '{"tax": "1.2.0", "water": "1.0.0"}'
    assert row == [(done.release_id, datetime(2026, 9, 30, 16), done.content_hash, versions, True)]


def test_same_content_is_the_same_release_and_nothing_is_copied(data: Path) -> None:
    first = made(data)
    before = {path: path.stat().st_mtime_ns for path in first.path.iterdir()}
    judge = Says()
    make_build(data, backwards=True)
    second = release.make_candidate(data, judge=judge)
    assert (second.release_id, second.is_new, judge.calls) == (first.release_id, False, 0)
    assert {path: path.stat().st_mtime_ns for path in first.path.iterdir()} == before


def test_refused_candidate_leaves_the_last_good_one(data: Path) -> None:
    good = made(data)
    make_build(data, rows=[("440304001001", "2026-09", 99, 0.0)])
    with pytest.raises(ReleaseRefused, match="31 rows of water_level") as caught:
        release.make_candidate(data, judge=Says(refused=True))
    assert f"{good.release_id} goes on serving" in str(caught.value)
    assert release.read_link(data, "current") == good.release_id
    assert folders(data) == {good.release_id, "current", "refused"}
    [reason] = (data / "published" / "refused").glob("*.txt")
    assert "31 rows of water_level" in reason.read_text()


def test_failed_dbt_test_refuses_before_anything_is_copied(data: Path) -> None:
    results = [
        {"unique_id": "test.p.unique_fct.ab", "status": "fail", "message": "Got 3 results"},
        {"unique_id": "test.p.volume.cd", "status": "warn", "message": "Got 1 result"},
        {"unique_id": "model.p.community_month", "status": "skipped", "message": None},
    ]
    (data / "build" / "run_results.json").write_text(json.dumps({"results": results}))
    with pytest.raises(ReleaseRefused, match=r"1 failed: test unique_fct \(fail: Got 3 results\)\. 1 further"):
        made(data)
    assert folders(data) == {"refused"}


def test_unfinished_build_is_not_released(data: Path) -> None:
    (data / "build" / "run_results.json").unlink()
    with pytest.raises(BuildError, match="did not finish"):
        made(data)


def test_build_with_a_write_ahead_log_is_released_whole(data: Path) -> None:
    code = f"""
        import duckdb, os
        c = duckdb.connect({str(data / "build" / "marts.duckdb")!r})
        c.execute("set checkpoint_threshold = '1GB'; insert into mart.fct values ('440304001003', '2026-09', 7, 0.5)")
        os._exit(1)  # as a kill would
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert (data / "build" / "marts.duckdb.wal").exists()
    assert made(data).tables["mart.fct"]["rows"] == 3


def test_build_that_is_being_written_is_not_released(data: Path) -> None:
    path = data / "build" / "marts.duckdb"
    code = f"import duckdb, time; c = duckdb.connect({str(path)!r}); print('open', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout is not None and writer.stdout.readline()
            with pytest.raises(BuildError, match="cannot be opened"):
                made(data)
        finally:
            writer.kill()


def test_full_disk_is_one_sentence(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = made(data)
    make_build(data, rows=[("440304001001", "2026-09", 98, 0.0)])
    monkeypatch.setattr(release.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(BuildError, match="the disk is full"):
        release.make_candidate(data, judge=Says())
    assert folders(data) == {good.release_id, "current"}


KILL = """
    import os, shutil, signal, sys
    from pathlib import Path
    from orchestration import release
    sys.path.insert(0, {tests!r})
    from test_release import Says
    place, number = {place!r}, {number}
    module, name = (os, place[3:]) if place.startswith("os.") else (release, place)
    real, calls = getattr(module, name), []
    def deadly(*args, **kwargs):
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    setattr(module, name, deadly)
    release.make_candidate(Path({data!r}), judge=Says())
"""


@pytest.mark.parametrize(
    ("place", "number"),
    [("_copy", 1), ("_copy_rows", 1), ("_write_governance", 1), ("_write_synced", 1), ("os.rename", 1), ("os.replace", 1)],
)
def test_killed_anywhere_and_repeated_ends_in_the_same_release(tmp_path: Path, place: str, number: int) -> None:
    undisturbed, killed = tmp_path / "a", tmp_path / "b"
    for folder in (undisturbed, killed):
        make_build(folder)
    expected = made(undisturbed)
    code = textwrap.dedent(KILL).format(tests=str(Path(__file__).parent), place=place, number=number, data=str(killed))
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -signal.SIGKILL
    again = made(killed)
    assert again.release_id == expected.release_id
    assert folders(killed) == {expected.release_id, "current"}
    assert release.equal(expected.path, again.path)


def test_two_at_once_make_one_release(data: Path) -> None:
    code = f"""
        import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_release import made; from pathlib import Path
        print(made(Path({str(data)!r})).is_new)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) for _ in range(2)]
    assert sorted(process.communicate()[0].strip() for process in running) == ["False", "True"]


# ------------------------------------------------------------------------------------------------------------ equality


def test_equal_names_table_rows_and_example(tmp_path: Path) -> None:
    make_build(tmp_path / "a", rows=[("c1", "2026-09", 1, None), ("c2", "2026-09", 2, None)])
    make_build(tmp_path / "b", rows=[("c1", "2026-09", 1, None), ("c1", "2026-09", 1, None)])
    with duckdb.connect(str(tmp_path / "b" / "build" / "open_data.duckdb")) as c:
        c.execute("create table open_data.open_data.freshness as select 1 a")
    comparison = release.equal(tmp_path / "a" / "build", tmp_path / "b" / "build")
    assert not comparison
    fct, freshness = comparison.differences
    assert fct.startswith("mart.fct: 1 rows only in") and "e.g. ('c2', None, '2026-09', 2)" in fct
    assert freshness == f"open_data.freshness: only in {tmp_path / 'b' / 'build'}"


def test_equal_leaves_release_and_approvals_out(tmp_path: Path) -> None:
    make_build(tmp_path / "a")
    make_build(tmp_path / "b", backwards=True)
    one = made(tmp_path / "a")
    release.approve(one.release_id, signed_by="王", data_dir=tmp_path / "a")
    make_build(tmp_path / "a", until={"tax": "2026-10-01T16:00", "water": "2026-10-01T16:00"})
    assert release.equal(made(tmp_path / "a").path, made(tmp_path / "b").path)


# ------------------------------------------------------------------------------------------------------------ month ends


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_closed_month() -> None:
    until = {
        ("tax", "filing"): at("2026-10-01T00:00+08:00"),
        ("water", "level"): at("2026-10-03T00:00+08:00"),
        ("water", "rain"): at("2026-09-30T23:59+08:00"),
    }
    month = release.closed_month
    assert month(until, {"tax", "water"}, set()) == "2026-08", "one entity has not reached the end of September"
    assert month(until, {"tax", "water"}, {"water"}) == "2026-09", "a system reported down is not waited for"
    assert month(until, {"tax", "water", "grid"}, {"water"}) is None, "a system without any load has reached nothing"
    assert month(until, {"water"}, {"water"}) is None


def test_systems_down(tmp_path: Path) -> None:
    path = tmp_path / "systems_down.yml"
    moment = at("2026-10-12T00:00+08:00")  # belongs to 11 October
    assert release.systems_down(path, moment) == set()
    path.write_text(
        "- {system: tax, since: 2026-10-11, until: 2026-10-11, reason: moved}\n"
        "- {system: water, since: 2026-10-12}\n- {system: fire, until: 2026-10-10}\n- {system: grid}\n"
    )
    assert release.systems_down(path, moment) == {"tax", "grid"}
    for wrong in ("tax: down", "- tax", "- {since: 2026-10-11}", "- {system: tax, since: soon}", "["):
        path.write_text(wrong)
        with pytest.raises(SscError, match=r"systems_down\.yml"):
            release.systems_down(path, moment)


def test_retention(data: Path) -> None:
    """Ten days over a month's end: kept are the month ends, the last three, and what is named."""
    made_on = {}
    for day in range(26, 36):
        moment = f"2026-{'09' if day <= 30 else '10'}-{day if day <= 30 else day - 30:02}T16:00:00"
        made_on[day] = made(data, until={"tax": moment, "water": moment}).release_id
        if day == 27:
            release.approve(made_on[27], signed_by="王", data_dir=data)
        if day == 28:
            edition = data / "site" / "editions" / "2026-09" / "briefing-2026-09-v1.json"
            edition.parent.mkdir(parents=True)
            edition.write_text(json.dumps({"release_id": made_on[28]}))
    assert {r.release_id for r in release.list_releases(data) if r.is_month_end} == {made_on[26], made_on[30]}
    there = {name for name in folders(data) if release.RELEASE_ID.fullmatch(name)}
    assert there == {made_on[day] for day in (26, 27, 28, 30, 33, 34, 35)}
    release.withdraw(signed_by="王", data_dir=data)
    made(data, until={"tax": "2026-10-06T16:00", "water": "2026-10-06T16:00"})
    assert (data / "published" / made_on[27]).exists(), "an approval names it, though it was withdrawn"


# ------------------------------------------------------------------------------------------------------------ publication


@pytest.fixture
def two(data: Path) -> tuple[Path, str, str]:
    first = made(data).release_id
    second = made(data, until={"tax": "2026-10-31T16:00", "water": "2026-10-31T16:00"}).release_id
    return data, first, second


def test_approve_and_withdraw(two: tuple[Path, str, str]) -> None:
    data, first, second = two
    assert release.read_link(data, "public") is None, "a release publishes nothing"
    lines = release.approve(first, signed_by="王", secrecy_review="passed: 保密办 2026-17", data_dir=data)
    assert [line["table_name"] for line in lines] == ["open_data.about", "open_data.community_month"]
    assert {line["month"] for line in lines} == {"2026-09"} and {line["is_demo"] for line in lines} == {True}
    assert release.read_link(data, "public") == first
    assert release.approve(first, signed_by="王", data_dir=data) == [], "the same approval twice is one"
    release.approve("2026-10-31", signed_by="李", data_dir=data)
    assert release.read_link(data, "public") == second
    assert release.withdraw(signed_by="李", data_dir=data) == first
    assert release.withdraw(signed_by="李", data_dir=data) is None
    assert not (data / "published" / "public").is_symlink()
    with pytest.raises(SscError, match="nothing is public"):
        release.withdraw(signed_by="李", data_dir=data)
    actions = [(line["release_id"], line["action"]) for line in release.read_approvals(data)]
    once = [(first, "approve"), (second, "approve"), (second, "withdraw"), (first, "withdraw")]
    assert actions == [action for action in once for _table in range(2)]


def test_withdrawing_an_older_release_leaves_the_public_one(two: tuple[Path, str, str]) -> None:
    data, first, second = two
    release.approve(first, signed_by="王", data_dir=data)
    release.approve(second, signed_by="王", data_dir=data)
    assert release.withdraw(first, signed_by="王", data_dir=data) == second
    assert release.withdraw(signed_by="王", data_dir=data) is None
    with pytest.raises(SscError, match="nothing is public"):
        release.withdraw(first, signed_by="王", data_dir=data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"release_id": "2027"}, "no such release"),
        ({"release_id": ""}, "no such release"),
        ({"release_id": "2026"}, "several releases"),
        ({"signed_by": " "}, "who signs"),
        ({"month": "2026-13"}, "no month"),
        ({"tables": ["persons"]}, "no open table open_data.persons"),
        ({"disclosure_review": "open"}, "disclosure review is 'open'"),
    ],
)
def test_approval_errors(two: tuple[Path, str, str], arguments: dict, message: str) -> None:
    data, first, _ = two
    with pytest.raises(SscError, match=message):
        release.approve(**{"release_id": first, "signed_by": "王", "data_dir": data, **arguments})
    assert not (data / "publication.jsonl").exists()


def test_a_kill_between_log_and_link_is_mended(two: tuple[Path, str, str]) -> None:
    data, first, second = two
    release.approve(first, signed_by="王", data_dir=data)
    log = data / "publication.jsonl"
    log.write_text(log.read_text() + log.read_text().replace(first, second))
    assert release.read_link(data, "public") == first
    made(data)
    assert release.read_link(data, "public") == second


def test_an_unfinished_line_never_counts(two: tuple[Path, str, str]) -> None:
    data, first, second = two
    release.approve(first, signed_by="王", data_dir=data)
    log = data / "publication.jsonl"
    whole = log.read_text()
    log.write_text(whole + json.dumps({"release_id": second})[:20])
    assert len(release.read_approvals(data)) == 2
    release.approve(second, signed_by="王", data_dir=data)
    assert log.read_text().startswith(whole) and len(release.read_approvals(data)) == 4
    log.write_text("{}\n" + whole)
    with pytest.raises(SscError, match="line 1"):
        release.read_approvals(data)


def test_later_releases_carry_the_approvals(two: tuple[Path, str, str]) -> None:
    data, first, _ = two
    release.approve(first, signed_by="王", is_demo=True, data_dir=data)
    third = made(data, until={"tax": "2026-11-01T16:00", "water": "2026-11-01T16:00"})
    with duckdb.connect(str(third.path / "marts.duckdb"), read_only=True) as c:
        rows = c.execute("select release_id, table_name, signed_by, action from governance.publication_approval").fetchall()
    assert sorted(rows) == [(first, table, "王", "approve") for table in ("open_data.about", "open_data.community_month")]


def test_command_line(two: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    data, first, second = two
    monkeypatch.setenv("SSC_DATA", str(data))
    assert release.main(["approve", first, "--by", "王"]) == 0
    assert release.main(["list"]) == 0
    listed = [line.split() for line in capsys.readouterr().out.splitlines() if " rows " in line]
    assert [(line[0], line[-1]) for line in listed] == [(first, "public"), (second, "current")]
    assert release.main(["compare", str(data / "published" / first), str(data / "published" / second)]) == 0
    assert release.main(["approve", "nothing", "--by", "王"]) == 1
    assert "Next: name one of" in capsys.readouterr().err
