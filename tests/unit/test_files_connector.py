"""The files connector on real folders: encodings, malformed lines, late, repeated and changing files."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from sources.catalogue import Entity, load_catalogue
from sources.connectors import pull
from sources.connectors.files import FILE_STRIDE
from sources.errors import PullError
from sources.landing import Landing, Manifest

T1 = datetime(2026, 6, 1, tzinfo=UTC)
T2 = datetime(2026, 6, 2, tzinfo=UTC)
T3 = datetime(2026, 6, 3, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "export"
    path.mkdir()
    monkeypatch.setenv("SSC_WATERLOGGING_URL", path.as_uri())
    monkeypatch.setenv("SSC_TAX_FILING_URL", path.as_uri())
    return path


@pytest.fixture
def levels() -> Entity:
    return load_catalogue()["waterlogging"].entity("water_level")


@pytest.fixture
def filings() -> Entity:
    return load_catalogue()["tax_filing"].entity("filing")


def deliver(path: Path, content: bytes, at: datetime) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def rows(manifest: Manifest) -> list[dict[str, str | None]]:
    frame = pl.concat([pl.read_parquet(part) for part in manifest.parts], how="diagonal").drop("_load_id", "_row")
    return frame.to_dicts()


def test_numbers_keep_their_digits_and_nested_values_are_json(folder: Path, levels: Entity) -> None:
    sent = b'{"refDevice":"a","waterLevel":1.10,"x":{"k":[1]},"note":"waterLevel\\": 9"}\n{"refDevice":"b","waterLevel":1e2}\n'
    deliver(folder / "water_level_1.ndjson.gz", sent, T1)
    manifest = pull(levels, until=T1)
    assert rows(manifest) == [
        {"refDevice": "a", "waterLevel": "1.10", "note": 'waterLevel": 9', "x": '{"k":[1]}'},
        {"refDevice": "b", "waterLevel": "1e2", "note": None, "x": None},
    ]


@pytest.mark.parametrize("name", ["water_level_1.ndjson.gz", "water_level_1.ndjson"])
def test_a_file_without_a_line_is_a_load_without_rows(folder: Path, levels: Entity, name: str) -> None:
    deliver(folder / name, b"", T1)
    levels = replace(levels, source="water_level_*")
    assert (pull(levels, until=T1).rows, pull(levels, until=T2).rows) == (0, 0)


def test_a_field_that_turns_up_late_or_under_a_name_of_the_same_length_lands(folder: Path, levels: Entity) -> None:
    usual = b'{"refDevice":"a","waterLevel":1.5}\n' * 3
    deliver(
        folder / "water_level_1.ndjson.gz", usual + b'{"refDevice":"b","water_levl":1.5}\n{"refDevice":"c","waterLevel":null,"n":1}\n', T1
    )
    found = rows(pull(levels, until=T1))
    assert found[3] == {"refDevice": "b", "waterLevel": None, "n": None, "water_levl": "1.5"}
    assert found[4]["n"] == "1" and len(found) == 5


def test_digits_are_kept_wherever_the_line_differs_from_the_first(folder: Path, levels: Entity) -> None:
    sent = ["1.5", "1.50", "1e1", "-0.0", "100", "1.5E+00", "123456789012345678901234567890"]
    lines = "".join(f'{{"refDevice":"a","waterLevel":{text}}}\n' for text in sent) + '{"waterLevel" : 2.0, "refDevice" : "b"}\n'
    deliver(folder / "water_level_1.ndjson.gz", lines.encode(), T1)
    assert [row["waterLevel"] for row in rows(pull(levels, until=T1))] == [*sent, "2.0"]


def test_lines_that_are_no_record_land_whole(folder: Path, levels: Entity) -> None:
    deliver(folder / "water_level_1.ndjson.gz", b'{"refDevice":"a"}\nnot json {\n\n[1,2]\n{}\n', T1)
    manifest = pull(levels, until=T1)
    assert manifest.rows == 4
    assert [row["_malformed"] for row in rows(manifest)] == [None, "not json {", "[1,2]", None]


def test_gb18030_headers_quotes_and_ragged_lines(folder: Path, filings: Entity) -> None:
    text = '统一社会信用代码,企业名称,申报收入(元)\n91,"深圳""某""公司",1.10\n坏行,太,多,了\n007,𠮷野家,\n'
    deliver(folder / "纳税申报_202605.csv", text.encode("gb18030"), T1)
    manifest = pull(filings, until=T1)
    found = rows(manifest)
    assert {"统一社会信用代码": "91", "企业名称": '深圳"某"公司', "申报收入(元)": "1.10", "_malformed": None} in found
    assert {"统一社会信用代码": "007", "企业名称": "𠮷野家", "申报收入(元)": None, "_malformed": None} in found
    assert [row["_malformed"] for row in found if row["_malformed"]] == ["坏行,太,多,了"]
    assert manifest.rows == 3


def test_bytes_outside_the_encoding_stay_readable(folder: Path, levels: Entity) -> None:
    deliver(folder / "water_level_1.ndjson.gz", b'{"refDevice":"a\xff"}\n', T1)
    [row] = rows(pull(levels, until=T1))
    assert row["_malformed"] == '{"refDevice":"a\\xff"}'


def test_a_line_of_a_csv_file_outside_its_encoding_stays_readable(folder: Path, filings: Entity) -> None:
    utf8 = replace(filings, server=replace(filings.server, encoding="UTF-8"), deliveries=())
    head, line = "统一社会信用代码,企业名称\n".encode(), "91,深圳某公司\n".encode()
    deliver(folder / "纳税申报_202605.csv", head + line * 200_000 + b"92,\xff\n" + line + b"93\n", T1)
    manifest = pull(utf8, until=T1)
    frame = pl.concat([pl.read_parquet(part) for part in manifest.parts], how="diagonal").sort("_row")
    assert manifest.rows == frame.height == 200_003 and frame["_row"].to_list() == list(range(1, 200_004))
    assert set(frame["企业名称"].value_counts().rows()) == {(None, 1), ("\\xff", 1), ("深圳某公司", 200_001)}
    assert frame["_malformed"].drop_nulls().to_list() == ["93"]


def test_only_news_is_taken_and_a_late_file_under_an_old_date_too(folder: Path, levels: Entity) -> None:
    deliver(folder / "water_level_20260531.ndjson.gz", b'{"refDevice":"a"}\n', T1)
    deliver(folder / "water_level_20260602.ndjson.gz", b'{"refDevice":"c"}\n', T3)
    assert [r["refDevice"] for r in rows(pull(levels, until=T1))] == ["a"]
    deliver(folder / "water_level_20260501.ndjson.gz", b'{"refDevice":"late"}\n', T1)
    assert [r["refDevice"] for r in rows(pull(levels, until=T2))] == ["late"]
    assert [r["refDevice"] for r in rows(pull(levels, until=T3))] == ["c"]


def test_a_file_exported_again_is_taken_again(folder: Path, levels: Entity) -> None:
    deliver(folder / "water_level_1.ndjson.gz", b'{"refDevice":"a"}\n', T1)
    pull(levels, until=T1)
    deliver(folder / "water_level_1.ndjson.gz", b'{"refDevice":"a"}\n{"refDevice":"b"}\n', T2)
    assert pull(levels, until=T2).rows == 2
    assert pull(levels, until=T3).rows == 0


def test_rows_are_numbered_by_file_and_line(folder: Path, levels: Entity) -> None:
    for day in (1, 2):
        deliver(folder / f"water_level_{day}.ndjson.gz", b'{"refDevice":"a"}\n{"refDevice":"b"}\n', T1)
    frame = pl.read_parquet(pull(levels, until=T1).parts)
    assert sorted(frame["_row"].to_list()) == [1, 2, FILE_STRIDE + 1, FILE_STRIDE + 2]


def test_a_backfill_takes_its_window_and_moves_nothing(folder: Path, levels: Entity) -> None:
    deliver(folder / "water_level_1.ndjson.gz", b'{"refDevice":"a"}\n', T1)
    deliver(folder / "water_level_2.ndjson.gz", b'{"refDevice":"b"}\n', T2)
    pull(levels, until=T3)
    again = pull(levels, since=T1, until=T2)
    assert [r["refDevice"] for r in rows(again)] == ["b"] and again.cursor_after is None
    assert pull(levels, until=datetime(2026, 6, 4, tzinfo=UTC)).rows == 0


def test_a_folder_that_is_not_there_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch, levels: Entity) -> None:
    monkeypatch.setenv("SSC_WATERLOGGING_URL", "/nowhere/at/all")
    with pytest.raises(
        PullError, match=r"waterlogging/water_level: the folder /nowhere/at/all is not there\. Next: .*SSC_WATERLOGGING_URL"
    ):
        pull(levels, until=T1)


def test_a_further_server_has_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, folder: Path, levels: Entity, tmp_path: Path) -> None:
    other = tmp_path / "archive"
    other.mkdir()
    monkeypatch.setenv("SSC_WATERLOGGING_ARCHIVE_URL", str(other))
    deliver(folder / "water_level_1.ndjson.gz", b'{"refDevice":"first"}\n', T1)
    deliver(other / "water_level_1.ndjson.gz", b'{"refDevice":"archive"}\n', T1)
    archive = replace(levels, server=replace(levels.server, name="archive", is_first=False), deliveries=())
    assert [r["refDevice"] for r in rows(pull(archive, until=T1))] == ["archive"]
    monkeypatch.setenv("SSC_WATERLOGGING_ARCHIVE_URL", "/nowhere/at/all")
    with pytest.raises(PullError, match="SSC_WATERLOGGING_ARCHIVE_URL"):
        pull(archive, until=T2)


def test_a_truncated_gzip_is_named_holds_up_no_other_and_is_tried_again(folder: Path, levels: Entity) -> None:
    broken = deliver(folder / "water_level_1.ndjson.gz", b'{"refDevice":"a"}\n' * 50_000, T1)
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    os.utime(broken, (T1.timestamp(), T1.timestamp()))
    deliver(folder / "water_level_2.ndjson.gz", b'{"refDevice":"b"}\n', T1)
    with pytest.raises(PullError, match=r"water_level_1\.ndjson\.gz.*Next: ask the department"):
        pull(levels, until=T1)
    newest = Landing().newest("waterlogging", "water_level")
    assert newest is not None and newest.rows == 1
    deliver(broken, b'{"refDevice":"a"}\n', T2)
    assert pull(levels, until=T2).rows == 1


def test_of_two_files_the_one_that_arrived_later_counts_as_later(folder: Path, levels: Entity) -> None:
    deliver(folder / "water_level_a.ndjson.gz", b'{"refDevice":"correction"}\n', T2)
    deliver(folder / "water_level_b.ndjson.gz", b'{"refDevice":"original"}\n', T1)
    frame = pl.read_parquet(pull(levels, until=T2).parts).sort("_row")
    assert frame["refDevice"].to_list() == ["original", "correction"]
