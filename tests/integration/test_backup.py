"""Backup and restore: nothing is lost, damage is seen, a kill harms nothing, and a rebuild from a restored landing is the same release."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import orchestration.backup as backup_module
from orchestration.backup import backup, main, read_index, restore
from orchestration.release import APPROVAL_FIELDS, equal, read_approvals, read_link
from sources import spool
from sources.catalogue import load_catalogue
from sources.errors import SscError
from sources.landing import Landing
from sources.settings import root, secret
from tests.support import land
from tests.whole_way import MOMENTS, Warehouse, district, environment

pytestmark = pytest.mark.integration
FILING = load_catalogue()["tax_filing"].entities[0]
RELEASE = "2026-09-30T1600Z-0123456789ab"


def land_day(day: int) -> None:
    land(FILING, [{"纳税人识别号": f"9144030{day:02d}", "月份": "2026-09"}], datetime(2026, 9, day, tzinfo=UTC), cursor=str(day))


def approval(action: str) -> str:
    return json.dumps(dict.fromkeys(APPROVAL_FIELDS, "x") | {"release_id": RELEASE, "action": action}) + "\n"


@pytest.fixture
def data(data: Path) -> Path:
    """A data folder by hand: two loads, a release with both links, the log, a secret, metadata that is being written, a page."""
    land_day(1)
    land_day(2)
    release = data / "published" / RELEASE
    release.mkdir(parents=True)
    (release / "marts.duckdb").write_bytes(b"marts")
    (release / "marts.duckdb").chmod(0o444)
    description = {
        "release_id": RELEASE, "as_of": "2026-09-30T16:00:00+00:00", "created_at": "2026-10-01T00:00:00+00:00", "content_hash": "0",
        "is_demo": True, "closed_month": None, "is_month_end": False, "tables": {}, "files": {},
    }  # fmt: skip
    (release / "_release.json").write_text(json.dumps(description))
    for link in ("current", "public"):
        os.symlink(RELEASE, data / "published" / link)
    (data / "publication.jsonl").write_text(approval("approve"))
    secret("superset_admin_password")
    (data / "site" / "editions").mkdir(parents=True)
    (data / "site" / "editions" / "页.html").write_text("一页")
    (data / "build").mkdir()
    (data / "build" / "warehouse.duckdb").write_bytes(b"made again")
    return data


def files(folder: Path) -> dict[str, tuple[bytes | str, int]]:
    """path -> content (or where a link points) and permission bits."""
    found: dict[str, tuple[bytes | str, int]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = (os.readlink(path), 0)
        elif path.is_file() and not path.name.startswith("."):
            found[name] = (path.read_bytes(), path.stat().st_mode & 0o777)
        elif path.is_dir():
            found[name] = ("", path.stat().st_mode & 0o777)
    return found


def test_restored_folder_is_the_same_without_the_build(data: Path, tmp_path: Path) -> None:
    backup(tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "restored")
    expected = {name: what for name, what in files(data).items() if not name.startswith("build")}
    assert files(tmp_path / "restored") == expected
    assert expected["secrets/superset_admin_password"][1] == 0o600 and expected[f"published/{RELEASE}/marts.duckdb"][1] == 0o444
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "restored" / ".restoring").exists()


def test_second_backup_copies_new_loads_only(data: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    backup(tmp_path / "backup", progress=lines.append)
    assert "landing: 2 new of 2 loads" in lines and "releases: 1 new of 1" in lines
    before = {path: path.stat().st_ino for path in (tmp_path / "backup" / "landing").rglob("*") if path.is_file()}
    land_day(3)
    lines.clear()
    backup(tmp_path / "backup", progress=lines.append)
    assert "landing: 1 new of 3 loads" in lines and "releases: 0 new of 1" in lines
    assert all(path.stat().st_ino == inode for path, inode in before.items())
    assert len(list((tmp_path / "backup").glob("state-*"))) == 1
    restore(tmp_path / "backup", tmp_path / "restored")
    assert Landing(tmp_path / "restored" / "landing").load_ids("tax_filing", "filing") == Landing().load_ids("tax_filing", "filing")


def test_metadata_that_is_being_written_is_copied_in_one_state(data: Path, tmp_path: Path) -> None:
    (data / "superset").mkdir(mode=0o700)
    with sqlite3.connect(data / "superset" / "superset.db") as live:
        live.execute("pragma journal_mode = wal")
        live.execute("create table dashboard (id integer)")
        live.executemany("insert into dashboard values (?)", [(n,) for n in range(1000)])
        live.commit()
        live.execute("insert into dashboard values (1000)")  # not committed
        backup(tmp_path / "backup")
        live.rollback()
    restore(tmp_path / "backup", tmp_path / "restored")
    with sqlite3.connect(tmp_path / "restored" / "superset" / "superset.db") as copy:
        assert copy.execute("select count(*), max(id) from dashboard").fetchall() == [(1000, 999)]


def test_messages_that_have_not_landed_are_in_the_backup(data: Path, tmp_path: Path) -> None:
    of = Path("spool", "waterlogging", "live", "water_level")
    segments = spool.Segments(data / of)
    segments.append([b'{"n":"1"}\n'])
    segments.close()
    segments.append([b'{"n":"2"}\n'])  # on the disk, so it is acknowledged, and open
    (data / of.parent / spool.CLIENT_ID).write_text("ssc-1")
    backup(tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "restored")
    assert spool.take_over(tmp_path / "restored" / of) == 1
    assert [path.read_bytes() for path in spool.closed(tmp_path / "restored" / of)] == [b'{"n":"1"}\n', b'{"n":"2"}\n']
    assert (tmp_path / "restored" / of.parent / spool.CLIENT_ID).read_text() == "ssc-1"
    for segment in (data / of).iterdir():  # they land
        segment.unlink()
    backup(tmp_path / "backup")
    assert not [name for name in read_index(tmp_path / "backup").files if name.endswith((spool.OPEN, spool.SUFFIX))]


def test_segments_that_close_or_land_while_they_are_copied(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = data / "spool" / "waterlogging" / "live" / "water_level"
    of.mkdir(parents=True)
    for number in (1, 2, 3):
        (of / f"{number:018d}.open").write_bytes(b"{}\n")
    copy = backup_module._copy_one

    def meanwhile(*arguments: Any) -> None:
        with contextlib.suppress(FileNotFoundError):
            (of / f"{2:018d}.open").rename(of / f"{2:018d}.ndjson")
            (of / f"{3:018d}.open").unlink()
        copy(*arguments)

    monkeypatch.setattr(backup_module, "_copy_one", meanwhile)
    backup(tmp_path / "backup")
    names = [path.split("/")[-1] for path in read_index(tmp_path / "backup").files if "/spool/" in path]
    assert names == [f"{1:018d}.open", f"{2:018d}.ndjson"]


def a_part(folder: Path) -> Path:
    return sorted(folder.glob("landing/*/*/*/part-*.parquet"))[0]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: flip(a_part(folder)), r"part-00000.parquet has changed"),
        (lambda folder: a_part(folder).unlink(), r"part-00000.parquet is missing"),
        (lambda folder: flip(next(folder.glob("published/*/marts.duckdb"))), r"marts.duckdb has changed"),
        (lambda folder: flip(next(folder.glob("state-*/secrets/*"))), r"superset_admin_password has changed"),
        (lambda folder: flip(folder / "index.json"), r"index is damaged"),
        (lambda folder: (folder / "index.json").unlink(), r"there is no whole backup"),
    ],
    ids=["changed part", "missing part", "changed release", "changed secret", "changed index", "no index"],
)
def test_damaged_backup_is_refused_and_nothing_restored(
    data: Path, tmp_path: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    backup(tmp_path / "backup")
    damage(tmp_path / "backup")
    with pytest.raises(SscError, match=sentence):
        restore(tmp_path / "backup", tmp_path / "restored")
    assert not (tmp_path / "restored").exists() or not os.listdir(tmp_path / "restored")


def test_restore_needs_an_empty_folder(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup(tmp_path / "backup")
    before = files(data)
    assert main(["restore", str(tmp_path / "backup")]) == 1
    assert "the data folder is not empty: it holds build, landing" in capsys.readouterr().err
    assert files(data) == before
    assert main(["backup", ""]) == 1 and "make backup TO=/mnt/backup" in capsys.readouterr().err


def test_damaged_new_load_is_refused_and_the_backup_stays(data: Path, tmp_path: Path) -> None:
    backup(tmp_path / "backup")
    before = files(tmp_path / "backup")
    land_day(3)
    flip(sorted(data.glob("landing/*/*/20260903*/part-*.parquet"))[0])
    with pytest.raises(SscError, match=r"1 new loads are damaged: landing/tax_filing/filing/20260903.*is not what was written"):
        backup(tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "restored")
    assert {path.name for path in (tmp_path / "backup" / "landing" / "tax_filing" / "filing").iterdir()} == {
        name.split("/")[-1] for name in before if name.count("/") == 3 and name.startswith("landing")
    }


def test_what_the_source_lost_stays_in_the_backup(data: Path, tmp_path: Path) -> None:
    backup(tmp_path / "backup")
    lost = next((data / "landing" / "tax_filing" / "filing").iterdir())
    shutil.move(lost, tmp_path / "aside")
    with pytest.raises(SscError, match="1 loads that the backup holds are gone from landing"):
        backup(tmp_path / "backup")
    shutil.move(tmp_path / "aside", lost)
    (data / "publication.jsonl").write_text(approval("withdraw"))
    with pytest.raises(SscError, match="the publication log has lost lines"):
        backup(tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "restored")
    assert (tmp_path / "restored" / "publication.jsonl").read_text() == approval("approve")


def test_loads_that_were_compacted_leave_the_backup(data: Path, tmp_path: Path) -> None:
    backup(tmp_path / "backup")
    old = Landing().load_ids("tax_filing", "filing")
    land_day(3)
    [compacted] = set(Landing().load_ids("tax_filing", "filing")) - set(old)
    folder = data / "landing" / "tax_filing" / "filing"
    manifest = folder / compacted / "_manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"replaces": old}))
    backup(tmp_path / "backup")  # between writing the new load and deleting the old ones
    for name in old:
        shutil.rmtree(folder / name)
    backup(tmp_path / "backup")
    assert read_index(tmp_path / "backup").names("landing") == {f"landing/tax_filing/filing/{compacted}"}
    assert [path.name for path in (tmp_path / "backup" / "landing" / "tax_filing" / "filing").iterdir()] == [compacted]


KILLED = """
import os, runpy, signal, sys
left = int(sys.argv.pop(1))
def hook(name, arguments):
    global left
    makes_a_file = name == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_EXCL
    if makes_a_file or name in ("os.rename", "os.mkdir", "shutil.rmtree"):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
sys.argv[0] = "backup"
runpy.run_module("orchestration.backup", run_name="__main__")
"""


def test_killed_backup_leaves_the_one_before_and_the_next_one_is_whole(data: Path, tmp_path: Path) -> None:
    to = tmp_path / "backup"
    backup(to)
    made = read_index(to).made_at, read_index(to).state
    land_day(3)
    (data / "publication.jsonl").write_text(approval("approve") + approval("withdraw"))
    killed, ended = 0, False
    for number in range(1, 60, 3):
        shutil.copytree(to, tmp_path / "it")
        command = [sys.executable, "-c", KILLED, str(number), "backup", str(tmp_path / "it")]
        done = subprocess.run(command, cwd=root(), env=environment(SSC_DATA=data), capture_output=True, text=True)
        ended = done.returncode == 0
        assert ended or done.returncode == -signal.SIGKILL, done.stderr
        killed += not ended
        restore(tmp_path / "it", tmp_path / "restored")
        index = read_index(tmp_path / "it")
        assert len(index.names("landing")) == (2 if (index.made_at, index.state) == made else 3)
        backup(tmp_path / "it")
        assert len(read_index(tmp_path / "it").names("landing")) == 3 and len(list((tmp_path / "it").glob("state-*"))) == 1
        assert not list((tmp_path / "it").rglob(".copying-*"))
        shutil.rmtree(tmp_path / "it")
        shutil.rmtree(tmp_path / "restored")
        if ended:
            break
    assert ended and killed >= 4


@pytest.mark.timeout(600)
@pytest.mark.xdist_group("backup")
def test_restored_landing_builds_the_same_release(tmp_path: Path) -> None:
    with district(tmp_path / "district") as place:
        place.move(MOMENTS[0])
        warehouse = Warehouse(tmp_path / "lost", place)
        warehouse.run("update")
        warehouse.run("release", "approve", "current", "--by", "王")
        released = warehouse.release()
        assert released is not None
        backup(tmp_path / "backup", warehouse.data)
        other = Warehouse(tmp_path / "new", place)
        other.data.rmdir()
        other.copy_parsed_project(warehouse)
        restore(tmp_path / "backup", other.data)
        assert read_link(other.data, "current") == read_link(other.data, "public") == released.name
        assert read_approvals(other.data) == read_approvals(warehouse.data) != []
        other.run("warehouse")
    # The rebuilt files themselves, and not only the release that came out of the backup.
    comparison = equal(other.data / "build", released)
    assert comparison, "\n".join(comparison.differences)
    assert read_link(other.data, "current") == released.name
    assert [path.name for path in (other.data / "published").glob("*Z-*")] == [released.name]
