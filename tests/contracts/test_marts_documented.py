"""What must agree around the marts: documentation, contracts, the interface of a release, seeds and the tile map.

What belongs here: agreements that can be read from files. What the marts hold is tested in `tests/integration/test_marts.py`.
"""

from __future__ import annotations

import csv
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "dbt_project"
SEEDS = PROJECT / "seeds"
DISTRICT = ROOT / "sources/reference_district"
TYPES = {"varchar", "bigint", "double", "boolean", "date", "timestamp"}
FORBIDDEN = {"person_id", "id_number", "phone", "plate", "name_hash", "address"}
INTERFACE = {
    "dim_subdistrict": "subdistrict_id name_zh name_en is_ranked community_count",
    "dim_community": "community_id subdistrict_id name_zh name_full_zh name_en community_type_id community_type_zh community_type_en "
    "population_count household_count is_virtual is_generated is_ranked is_current valid_from valid_to merged_into_community_id "
    "tile_x tile_y polygon_json",
    "dim_department": "department_id name_zh name_en",
    "dim_incident_type": "incident_type_id name_zh name_en category_id category_zh category_en disclosure_unit department_id due_hours "
    "is_district_only",
    "dim_device": "device_id name_zh device_type system community_id location_zh cadence_minutes alarm_level_m alarm_level_pct "
    "installed_date",
    "dim_date": "date_day month quarter year iso_week weekday is_weekend",
    "fct_incident": "incident_id system incident_type_id community_id source_community_id grid_code occurred_at reported_at accepted_at "
    "arrived_at closed_at due_at occurred_date occurred_month status handling_minutes is_overdue department_id is_open report_count "
    "source_count",
    "fct_incident_report": "report_id incident_id system source_record_id is_first incident_type_id is_type_known community_id "
    "occurred_at reported_at accepted_at arrived_at closed_at due_at status occurred_date occurred_month",
    "fct_correction": "correction_id rule system source_record_id field before_value after_value corrected_at",
    "fct_ground_hazard": "hazard_id system source_record_id hazard_kind grade community_id location_zh found_date treated_date is_open "
    "open_days length_m width_m depth_m area_m2 casualty_count",
    "fct_settlement": "point_id measured_date system community_id settlement_mm cumulative_mm days_since_previous rate_mm_per_day",
    "fct_sensor_alarm": "alarm_id system device_id community_id raised_by alarm_kind measure_id raised_at cleared_at is_open peak_value "
    "threshold_value outcome raised_date raised_month",
    "fct_device_day": "device_id day_date system community_id is_whole expected_count reading_count availability_pct "
    "longest_silence_minutes is_silent is_flatline battery_pct_min",
    "fct_warning": "warning_id rule_id system target_kind target_id device_id community_id severity raised_at ended_at is_open due_at "
    "is_overdue department_id measure_id observed_value threshold_value evidence_zh evidence_en outcome raised_date raised_month",
    "fct_sensor_hour": "device_id measure_id hour_at hour_date reading_count expected_count value_mean value_min value_max value_sum "
    "community_id",
    "fct_enterprise_month": "enterprise_id filing_month community_id industry_code revenue_yuan tax_due_yuan tax_paid_yuan "
    "employee_count filed_date is_late is_corrected",
    "fct_community_month": "community_id month incident_count security_count emergency_count safety_count environment_count "
    "police_incident_count closed_count overdue_count "
    "median_handling_minutes population_count incidents_per_10k enterprise_count late_filing_count "
    "gauge_count waterlogged_hour_count rain_mm",
    "governance_system": "system name_zh name_en department_zh domain delivery frequency_minutes latency_minutes version",
    "governance_data_dictionary": "system entity column_name source_name name_zh logical_type data_level pi_class sharing opening "
    "is_identifier purpose retention typed_by_community",
    "open_about": "district_zh district_en as_of latest_month is_demo label_zh label_en scope_note_zh scope_note_en",
    "open_community": "community_id subdistrict_id subdistrict_zh subdistrict_en name_zh name_en community_type_zh community_type_en "
    "is_ranked is_virtual polygon_json",
    "open_community_month": "month area_level area_id area_zh area_en subdistrict_id subdistrict_zh community_id community_type_zh "
    "is_ranked category_id category_zh category_en incident_count cell_status incidents_per_10k previous_month_count "
    "previous_year_count change_on_month_pct change_on_year_pct like_rank like_count is_latest_month",
    "open_waterlogging_month": "month device_id point_zh community_id community_zh subdistrict_zh rain_mm max_level_m "
    "waterlogged_hour_count available_pct",
    "open_freshness": "system name_zh name_en department_zh latest_event_at window_until frequency_minutes is_late as_of",
}


@cache
def documented() -> dict[str, dict[str, Any]]:
    """Every model of marts, warnings and open data by name, as its YAML has it."""
    models: dict[str, dict[str, Any]] = {}
    for folder in ("marts", "warnings", "open_data"):
        for path in sorted((PROJECT / "models" / folder).rglob("*.yml")):
            models |= {model["name"]: model for model in yaml.safe_load(path.read_text())["models"]}
    return models


def seed(name: str) -> list[dict[str, str]]:
    with (SEEDS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def released() -> list[str]:
    return sorted(path.stem for folder in ("marts", "warnings", "open_data") for path in (PROJECT / "models" / folder).rglob("*.sql"))


@pytest.mark.parametrize("name", released())
def test_model_is_documented_under_contract(name: str) -> None:
    model = documented().get(name)
    assert model, f"{name}: no YAML"
    assert "One row is" in model["description"] or "The one row" in model["description"], f"{name}: says not what one row is"
    assert model["config"]["contract"]["enforced"] is True
    assert model["config"]["meta"]["label_zh"]
    for column in model["columns"]:
        where = f"{name}.{column['name']}"
        assert column["data_type"] in TYPES, f"{where}: {column['data_type']} is not portable"
        label, _, text = column["description"].partition(" · ")
        assert text, f"{where}: no English description"
        assert re.search("[一-鿿]", column["config"]["meta"]["label_zh"]), f"{where}: no Chinese label"
        assert label == column["config"]["meta"]["label_zh"], f"{where}: label and description differ"
        assert column["name"] not in FORBIDDEN, f"{where}: a name that no release may hold"
        assert set(column) <= {"name", "data_type", "description", "config", "constraints", "data_tests"}, f"{where}: an unknown key"


@pytest.mark.parametrize("name", released())
def test_model_has_a_tested_key(name: str) -> None:
    model = documented()[name]
    together = any("unique_together" in test for test in model.get("data_tests", []) if isinstance(test, dict))
    single = any({"unique", "not_null"} <= set(map(str, c.get("data_tests", []))) for c in model["columns"])
    assert together or single, f"{name}: no key is tested unique and not null"


@pytest.mark.parametrize("name", sorted(INTERFACE))
def test_interface_of_the_release(name: str) -> None:
    columns = {column["name"] for column in documented()[name]["columns"]}
    assert set(INTERFACE[name].split()) <= columns


def test_every_community_id_of_a_fact_is_a_community() -> None:
    for name, model in documented().items():
        if not name.startswith("fct_"):
            continue
        column = next(c for c in model["columns"] if c["name"] == "community_id")
        related = [t["relationships"]["arguments"] for t in column["data_tests"] if isinstance(t, dict) and "relationships" in t]
        assert related == [{"to": "ref('dim_community')", "field": "community_id"}], name


def test_seeds_are_documented() -> None:
    described = {s["name"]: s for s in yaml.safe_load((SEEDS / "_seeds.yml").read_text())["seeds"]}
    assert set(described) == {path.stem for path in SEEDS.glob("*.csv")}
    for name, entry in described.items():
        assert [column["name"] for column in entry["columns"]] == list(seed(name)[0]), name
        assert all(column["description"] for column in entry["columns"])
    assert "National Bureau of Statistics" in described["community"]["description"]


def test_seeds_leave_blank_only_what_may_be() -> None:
    may = {
        "community": {"community_type_id", "valid_to", "merged_into_community_id", "tile_x", "tile_y"},
        "department": {"short_zh"},
        "warning_rule": {"measure_id", "threshold", "reading_count", "department_id"},
    }
    for path in SEEDS.glob("*.csv"):
        for row in seed(path.stem):
            blank = {column for column, value in row.items() if not value} - may.get(path.stem, set())
            assert not blank, f"{path.name}: {row} lacks {blank}"


def test_counts_of_the_report() -> None:
    communities = seed("community")
    assert len([c for c in communities if not c["valid_to"] and c["is_virtual"] == "false"]) == 92
    assert [c["subdistrict_id"] for c in communities if c["is_virtual"] == "true"] == ["440304400"]
    assert len([c for c in communities if c["is_generated"] == "true" and c["valid_to"]]) == 3
    kinds = [c["community_type_id"] for c in communities]
    assert (kinds.count("garden"), kinds.count("village"), kinds.count("mixed"), kinds.count("")) == (38, 23, 34, 1)


def test_communities_equal_the_reference_district() -> None:
    theirs = list(csv.DictReader((DISTRICT / "communities.csv").open(encoding="utf-8")))
    names = {
        "community_id": "community_code",
        "subdistrict_id": "subdistrict_code",
        "community_type_id": "community_type",
        "merged_into_community_id": "merged_into",
    }
    names |= {same: same for same in ("name_full_zh", "name_en", "population_count", "household_count", "is_virtual", "is_generated")}
    names |= {same: same for same in ("valid_from", "valid_to")}
    ours = {c["community_id"]: {name: c[name] for name in names} for c in seed("community")}
    assert ours == {c["community_code"]: {name: c[their] for name, their in names.items()} for c in theirs}
    for community in theirs:
        assert community["name_zh"] == community["name_full_zh"].replace("居委会", "")


def test_incident_types_equal_the_reference_district() -> None:
    departments = {d["department_id"]: d["name_zh"] for d in seed("department")}
    ours = {
        t["incident_type_id"]: (
            t["name_zh"], t["name_en"], t["category_id"], t["disclosure_unit"], departments[t["department_id"]], t["due_hours"],
        )
        for t in seed("incident_type")
    }  # fmt: skip
    theirs = {
        t["code"]: (t["name_zh"], t["name_en"], t["category_id"], t["disclosure_unit"], t["department"], t["due_hours"])
        for t in csv.DictReader((DISTRICT / "incident_types.csv").open(encoding="utf-8"))
    }
    assert theirs and {code: ours.get(code) for code in theirs} == theirs


def test_police_cases_are_types_of_their_own() -> None:
    """Nothing but a police case is disclosed as one, and domestic, sexual and minors' cases are marked among them."""
    types = {t["incident_type_id"]: t for t in seed("incident_type")}
    marked = {t["name_en"] for t in types.values() if t["is_district_only"] == "true"}
    assert marked == {"Domestic violence", "Sexual offence", "Case with a minor"}
    assert {t["disclosure_unit"] for t in types.values() if t["is_district_only"] == "true"} == {"police_case"}
    units = {unit["disclosure_unit"]: unit["in_community_month"] for unit in seed("disclosure_threshold")}
    assert units["police_case"] == units["unknown"] == "false"


def test_every_system_of_incidents_has_a_type_for_what_is_unknown() -> None:
    sql = (PROJECT / "models/intermediate/int_incident_reports_conformed.sql").read_text()
    systems = set(re.findall(r"'(\w+)' as system", sql))
    types = {t["incident_type_id"]: t["disclosure_unit"] for t in seed("incident_type")}
    others = {row["system"]: types[row["incident_type_id"]] for row in seed("incident_type_other")}
    assert set(others) == systems and len(systems) == 3
    assert set(others.values()) <= {"unknown", "police_case"}, "what nobody knows must not be opened"


def test_rules_say_all_that_their_kind_needs() -> None:
    """A level rule has a measure and a count of readings, every other a threshold; every kind is a detector."""
    needs = {"level": {"measure_id", "reading_count"}}
    warning = (PROJECT / "models/warnings/fct_warning.sql").read_text()
    detectors = "".join(path.read_text() for path in (PROJECT / "macros/detectors").glob("*.sql"))
    for rule in seed("warning_rule"):
        filled = {name for name in ("measure_id", "reading_count", "threshold") if rule[name]}
        assert filled == needs.get(rule["kind"], {"threshold"}), rule["rule_id"]
        assert f"when '{rule['kind']}'" in warning and f"'{rule['kind']}'" in detectors, rule["kind"]


def test_official_codes_and_names() -> None:
    folder = os.environ.get("SSC_TEST_DIVISION_CODES")
    if not folder:
        pytest.skip("SSC_TEST_DIVISION_CODES names no folder with the division codes (communities.csv, subdistricts.csv)")
    official = {c["code"]: c["name"] for c in csv.DictReader((Path(folder) / "communities.csv").open(encoding="utf-8"))}
    assert {c["community_id"]: c["name_full_zh"] for c in seed("community") if c["is_generated"] == "false"} == official
    official = {c["code"]: c["name"] for c in csv.DictReader((Path(folder) / "subdistricts.csv").open(encoding="utf-8"))}
    assert {s["subdistrict_id"]: s["name_zh"] for s in seed("subdistrict")} == official


def test_tile_map() -> None:
    """A cell for each community of today, none twice, and each subdistrict in one piece (4-neighbourhood); so is the district."""
    cells: dict[tuple[int, int], str] = {}
    for community in seed("community"):
        assert bool(community["tile_x"]) == bool(community["tile_y"]) == (not community["valid_to"]), community
        if community["tile_x"]:
            cell = (int(community["tile_x"]), int(community["tile_y"]))
            assert cell not in cells, f"two communities in cell {cell}"
            cells[cell] = community["subdistrict_id"]
    assert set(cells.values()) == {s["subdistrict_id"] for s in seed("subdistrict")}
    for subdistrict in set(cells.values()):
        assert in_one_piece({cell for cell, owner in cells.items() if owner == subdistrict}), subdistrict
    assert in_one_piece(set(cells))


def in_one_piece(cells: set[tuple[int, int]]) -> bool:
    left, edge = set(cells), [next(iter(cells))]
    while edge:
        x, y = edge.pop()
        if (x, y) in left:
            left.discard((x, y))
            edge += [(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)]
    return not left


def test_in_one_piece_can_say_no() -> None:
    assert in_one_piece({(0, 0), (0, 1)}) and not in_one_piece({(0, 0), (1, 1)})


def test_models_are_portable() -> None:
    """No QUALIFY, no double colon cast, no clock, outside the macros that may."""
    for path in [
        *(PROJECT / "models").rglob("*.sql"),
        *(PROJECT / "tests").rglob("*.sql"),
        *(PROJECT / "macros/disclosure").rglob("*.sql"),
    ]:
        text = re.sub(r"--.*", "", re.sub(r"{#.*?#}", "", path.read_text(), flags=re.S))
        found = re.search(r"\bqualify\b|::|\bnow\(|current_timestamp|current_date|\blist_|\barg_max\b", text, flags=re.I)
        assert not found, f"{path.relative_to(ROOT)}: {found.group()}"
