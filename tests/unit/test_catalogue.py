"""The catalogue's reader: what it refuses, and how it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from sources.catalogue import catalogue_dir, load_catalogue
from sources.errors import CatalogueError


def edited(tmp_path: Path, old: str, new: str, name: str = "waterlogging.yml") -> tuple[Path, int]:
    """A copy of one contract with one text replaced, and the line where it was."""
    text = (catalogue_dir() / name).read_text(encoding="utf-8")
    assert text.count(old) >= 1
    line = text[: text.index(old)].count("\n") + 1
    (tmp_path / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    return tmp_path, line


def test_the_catalogue_of_the_district_is_whole() -> None:
    systems = load_catalogue()
    assert {"grid_management", "tax_filing", "waterlogging"} <= set(systems)
    events = systems["grid_management"].entity("grid_event")
    assert [c.name for c in events.primary_key] == ["event_id"]
    assert events.identifiers == ("reporterPhone",)
    assert events.column("title").data_class.pi_class == "personal"
    assert events.column("status").data_class.pi_class == "none"
    assert systems["tax_filing"].frequency.days == 31


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("value: files", "value: carrier_pigeon", "delivery is 'carrier_pigeon'"),
        ("logicalType: timestamp", "logicalType: moment", "logicalType 'moment' of observed_at"),
        ("{property: event_time, value: observed_at}", "{property: event_time, value: seen_at}", "event_time is 'seen_at'"),
        ("{property: open_days, value: 35}", "{property: opendays, value: 35}", "unknown custom property 'opendays'"),
        ("primaryKey: true, primaryKeyPosition: 1", "primaryKey: true", "needs both primaryKey and primaryKeyPosition"),
        ("data_level: 一般", "data_level: 普通", "data_level is '普通'"),
        ("unit: d}", "unit: fortnight}", "unit 'fortnight' of frequency"),
        ("tags: [en:Waterlogging monitoring]", "tags: []", "the English name is missing"),
        ("name: battery_pct", "name: Battery", "the column's name 'Battery'"),
        ("physicalName: waterLevel", "physicalName: refDevice", "the column refDevice stands twice"),
    ],
)
def test_a_fault_names_file_line_and_mend(tmp_path: Path, old: str, new: str, says: str) -> None:
    folder, line = edited(tmp_path, old, new)
    with pytest.raises(CatalogueError) as caught:
        load_catalogue(folder)
    message = str(caught.value)
    assert says in message
    named = next(part for part in message.splitlines() if says in part)
    assert named.strip().startswith("waterlogging.yml:")
    number = int(named.strip().split(":")[1])
    text = (folder / "waterlogging.yml").read_text(encoding="utf-8").splitlines()
    # the line named is the edited one, or opens the block that holds it
    assert number <= line
    assert number == line or line - number < 25, (number, line, text[number - 1])
    assert "make catalogue" in message


def test_broken_yaml_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("id: x\nname: [1, 2\nversion: 1\n")
    with pytest.raises(CatalogueError, match=r"x\.yml:3: this is no YAML"):
        load_catalogue(tmp_path)


def test_all_faults_of_all_files_come_at_once(tmp_path: Path) -> None:
    edited(tmp_path, "value: files", "value: pigeon")
    edited(tmp_path, "value: files", "value: pigeon", "tax_filing.yml")
    with pytest.raises(CatalogueError) as caught:
        load_catalogue(tmp_path)
    assert "waterlogging.yml" in str(caught.value) and "tax_filing.yml" in str(caught.value)


def test_hosts_do_not_belong_into_the_catalogue(tmp_path: Path) -> None:
    folder, _ = edited(tmp_path, "  format: ndjson.gz", "  format: ndjson.gz\n  host: db.example.org")
    with pytest.raises(CatalogueError, match="SSC_<SYSTEM>_URL"):
        load_catalogue(folder)


def test_an_identifier_may_not_be_classed_none(tmp_path: Path) -> None:
    folder, _ = edited(
        tmp_path,
        "businessName: 上报人电话, logicalType: string, classification: personal,",
        "businessName: 上报人电话, logicalType: string,",
        "grid_management.yml",
    )
    with pytest.raises(CatalogueError, match="reporter_phone is an identifier and classed none"):
        load_catalogue(folder)
