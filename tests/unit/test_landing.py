"""Landing: a load exists as a whole or not at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from sources.errors import LandingError
from sources.landing import MANIFEST, Landing, Manifest

JUNE = datetime(2026, 6, 1, tzinfo=UTC)
JULY = datetime(2026, 7, 1, tzinfo=UTC)


def land(landing: Landing, rows: list[dict[str, str]], until: datetime = JUNE, cursor: object = "c") -> Manifest:
    with landing.writer("s", "e", "1.0.0", None, until) as writer:
        return writer.commit_frames([pl.DataFrame(rows)] if rows else [], cursor)


def test_a_load_holds_the_rows_its_id_and_their_order(data: Path) -> None:
    manifest = land(Landing(data), [{"a": "1.10"}, {"a": "x"}])
    frame = pl.read_parquet(manifest.parts)
    assert frame.to_dicts() == [
        {"a": "1.10", "_load_id": manifest.load_id, "_row": 0},
        {"a": "x", "_load_id": manifest.load_id, "_row": 1},
    ]
    assert manifest.load_id.startswith("20260601T000000Z-") and len(manifest.load_id) == 16 + 1 + 12
    assert manifest.rows == 2 and manifest.columns == ["a"]


def test_the_same_content_and_window_make_the_same_load(data: Path) -> None:
    landing = Landing(data)
    first, second = land(landing, [{"a": "1"}]), land(landing, [{"a": "1"}])
    assert first.load_id == second.load_id and landing.load_ids("s", "e") == [first.load_id]
    assert land(landing, [{"a": "2"}]).load_id != first.load_id


def test_a_folder_without_a_manifest_does_not_exist_and_is_replaced(data: Path) -> None:
    landing = Landing(data)
    whole = land(landing, [{"a": "1"}])
    (Path(whole.path) / MANIFEST).unlink()
    assert landing.manifest("s", "e", whole.load_id) is None and landing.newest("s", "e") is None
    assert land(landing, [{"a": "1"}]).load_id == whole.load_id
    assert landing.newest("s", "e") is not None


def test_what_is_not_committed_leaves_no_trace(data: Path) -> None:
    landing = Landing(data)
    with pytest.raises(ZeroDivisionError), landing.writer("s", "e", "1", None, JUNE) as writer:
        pl.DataFrame({"a": ["1"]}).write_parquet(writer.part(0))
        raise ZeroDivisionError
    assert list((data / "s" / "e").iterdir()) == []


def test_what_a_killed_pull_left_is_swept_by_the_next(data: Path) -> None:
    left = data / "s" / "e" / ".incoming-999999999-abcd"
    left.mkdir(parents=True)
    assert Landing(data).load_ids("s", "e") == []
    land(Landing(data), [{"a": "1"}])
    assert not left.exists()


def test_newest_is_the_greatest_window_and_a_backfill_moves_no_cursor(data: Path) -> None:
    landing = Landing(data)
    land(landing, [{"a": "1"}], until=JUNE, cursor="june")
    land(landing, [{"a": "2"}], until=JULY, cursor="july")
    land(landing, [{"a": "3"}], until=JUNE, cursor=None)
    newest = landing.newest("s", "e")
    assert newest is not None and newest.until == JULY and landing.cursor("s", "e") == "july"
    # a backfill that ends where the newest load ends
    land(landing, [{"a": "4"}], until=JULY, cursor=None)
    newest = landing.newest("s", "e")
    assert newest is not None and newest.cursor_after == "july"


def test_an_empty_load_moves_the_window_on(data: Path) -> None:
    manifest = land(Landing(data), [], until=JULY)
    assert manifest.rows == 0 and manifest.parts == [] and Landing(data).newest("s", "e") is not None


def test_a_damaged_manifest_is_named_with_what_to_do(data: Path) -> None:
    landing = Landing(data)
    manifest = land(landing, [{"a": "1"}])
    (Path(manifest.path) / MANIFEST).write_text("{")
    with pytest.raises(LandingError, match=rf"s/e load {manifest.load_id}.*Next: restore"):
        landing.newest("s", "e")


def test_frames_with_other_columns_are_one_load(data: Path) -> None:
    landing = Landing(data)
    with landing.writer("s", "e", "1", None, JUNE) as writer:
        manifest = writer.commit_frames([pl.DataFrame({"a": ["1"]}), pl.DataFrame({"a": ["2"], "b": ["3"]})], "c")
    assert pl.read_parquet(manifest.parts)["b"].to_list() == [None, "3"]
    assert json.loads((Path(manifest.path) / MANIFEST).read_text())["columns"] == ["a", "b"]
