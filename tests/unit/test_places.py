"""The roles of the places: names, clauses, and what a seed may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboards import places


def _seeds(folder: Path, communities: str) -> Path:
    (folder / "subdistrict.csv").write_text("subdistrict_id,name_zh\n100,东街道\n200,空街道\n", encoding="utf-8")
    header = "community_id,subdistrict_id,name_full_zh,valid_to\n"
    (folder / "community.csv").write_text(header + communities, encoding="utf-8")
    return folder


def test_subdistricts_come_with_their_communities_and_merged_ones_have_no_role(tmp_path: Path) -> None:
    seeds = _seeds(tmp_path, "100001,100,甲社区居委会,\n100002,100,乙社区居委会,\n100003,100,丙社区居委会,2020-01-01\n")
    found = {place.role: place.clause("community_id") for place in places.read(seeds)}
    assert found == {
        "subdistrict_100 东街道": "community_id in ('100001', '100002')",
        "community_100001 甲社区": "community_id in ('100001')",
        "community_100002 乙社区": "community_id in ('100002')",
    }


def test_a_code_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1' or '1"):
        list(places.read(_seeds(tmp_path, "1' or '1,100,甲社区居委会,\n")))


def test_a_role_keeps_its_place_when_the_name_changes() -> None:
    assert places.key_of("community_100001 旧名") == places.key_of("community_100001 新名") == "community_100001"
    assert places.key_of("district") is None and places.key_of("my community_100001 x") is None


def test_the_district_has_a_role_for_each_place() -> None:
    keys = [place.key for place in places.read()]
    assert len(keys) == len(set(keys))
    in_subdistricts = [code for place in places.read() if place.key.startswith("subdistrict_") for code in place.community_ids]
    assert sorted(in_subdistricts) == sorted(key.removeprefix("community_") for key in keys if key.startswith("community_"))
