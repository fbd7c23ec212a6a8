"""Marts and open data on a reference district at test scale: truth, increments against a full build, and an attack on what is published.

The district is pulled up to two clocks; then rows are landed by hand for what it does not do. Suppression by itself is attacked in
`tests/unit/test_suppression.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import numpy as np
import pytest
from scipy.optimize import linprog

from sources.catalogue import load_catalogue
from sources.settings import root
from tests.support import build, dbt, land, query

pytestmark = pytest.mark.integration
COMMAND = [sys.executable, "-m", "sources.reference_district"]
PULL = """
from sources.catalogue import load_catalogue
from sources.connectors import pull
for system in load_catalogue().values():
    for entity in system.entities:
        pull(entity)
"""
BY_HAND_1 = datetime(2026, 10, 31, 17, tzinfo=UTC)
BY_HAND_2 = datetime(2026, 11, 1, 17, tzinfo=UTC)
EVENT = {
    "eventId": "GE9900000001", "typeCode": "B01", "communityCode": "440304001019", "gridCode": "007", "handlingDept": "水务局",
    "occurredAt": "2026-10-05T08:00:00+08:00", "reportedAt": "2026-10-05T09:00:00+08:00", "status": "reported",
    "dueAt": "2026-12-01T00:00:00+08:00", "updatedAt": "2026-10-05T09:00:00+08:00",
}  # fmt: skip
GAUGE = "urn:ngsi-ld:Device:FT-WL-002"


class Built:
    """The data folder built in three increments, and the one built at once from the same landing."""

    def __init__(self, folder: Path) -> None:
        self.steps, self.whole = folder / "steps", folder / "whole"
        self.after_first_hand: dict[str, tuple] = {}
        self.left_out: list[list[str]] = []  # by each increment

    def rows(self, sql: str, database: str = "marts") -> list[tuple]:
        return query(self.steps, sql, database)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    result = Built(tmp_path_factory.mktemp("marts"))
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SSC_") and k not in {"SEED", "AS_OF", "SCALE", "LIVE"}}
    environment = kept | {"SSC_DATA": str(result.steps), "SCALE": "test", "SSC_DISTRICT_STALL_SECONDS": "0"}

    def run(*command: str) -> None:
        done = subprocess.run(command, cwd=root(), env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr

    run(*COMMAND, "move", "--to", "2026-10-01T00:00+08:00")
    server = subprocess.Popen([*COMMAND, "serve"], cwd=root(), env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout and server.stdout.readline()
        settings = (result.steps / "reference_district/district.env").read_text().splitlines()
        environment |= dict(line.split("=", 1) for line in settings)
        run(sys.executable, "-c", PULL)
        result.left_out.append(build(result.steps).unchanged)
        run(*COMMAND, "move", "--to", "2026-11-01T00:00+08:00")
        run(sys.executable, "-c", PULL)
    finally:
        server.terminate()
        server.wait(10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSC_DATA", str(result.steps))
        land_by_hand_1()
        result.left_out.append(build(result.steps).unchanged)
        result.after_first_hand = {row[0]: row[1:] for row in by_hand(result)}
        land_by_hand_2()
        result.left_out.append(build(result.steps).unchanged)
        shutil.copytree(result.steps / "landing", result.whole / "landing")
        patch.setenv("SSC_DATA", str(result.whole))
        build(result.whole)
    yield result


def land_by_hand_1() -> None:
    events = load_catalogue()["grid_management"].entity("grid_event")
    land(
        events,
        [
            EVENT,  # its day will be corrected
            EVENT | {"eventId": "GE9900000002", "communityCode": "440304001901"},  # a community merged since
            EVENT | {"eventId": "GE9900000003", "communityCode": "440304999999", "typeCode": "Z99", "handlingDept": None},
            EVENT | {"eventId": "GE9900000004", "dueAt": "2026-11-01T12:00:00+08:00"},  # time alone will make it overdue
        ],
        BY_HAND_1,
    )


def land_by_hand_2() -> None:
    waterlogging = load_catalogue()["waterlogging"]
    land(
        load_catalogue()["grid_management"].entity("grid_event"),
        [EVENT | {"occurredAt": "2026-09-07T08:00:00+08:00", "updatedAt": "2026-11-01T10:00:00+08:00"}],
        BY_HAND_2,
    )
    # A registration that comes so late that the base rows of its days are past correction: every level is an alarm from then on.
    registration = {
        "id": GAUGE, "name": "水位计", "deviceType": "water_level", "communityCode": "440304001020", "cadenceMinutes": "10",
        "alarmLevel": "0", "dateModified": "2026-09-02T08:30:00+08:00",
    }  # fmt: skip
    land(waterlogging.entity("waterlogging_point"), [registration], BY_HAND_2)


def by_hand(built: Built) -> list[tuple]:
    return built.rows(
        """select incident_id, community_id, source_community_id, incident_type_id, department_id, occurred_date, occurred_month, is_overdue
        from mart.fct_incident where incident_id like 'grid_management:GE99%' order by 1"""
    )


def test_what_cannot_have_changed_is_left_out(built: Built) -> None:
    """By hand, a grid event and a registration arrived before the third build; the first one found nothing built."""
    first, _, third = built.left_out
    arrived = {"grid_management__grid_event", "waterlogging__waterlogging_point"}
    quiet = {entity.key for system in load_catalogue().values() for entity in system.entities} - arrived
    assert first == []
    assert set(third) == {"resource_type:seed"} | {f"{kind}{key}" for key in quiet for kind in ("base_", "stg_", "quarantine__")}
    at = dict(built.rows("select model, build_id from internal.model_build", "warehouse"))
    assert at["base_grid_management__grid_event"] == at["_project"] == 3 > at["base_tax_filing__filing"]


def test_increments_equal_a_full_build(built: Built) -> None:
    connection = duckdb.connect()
    schemas = {"marts": ("mart", "governance", "quality"), "open_data": ("open_data",)}
    compared = 0
    for database, names in schemas.items():
        for side in ("steps", "whole"):
            path = getattr(built, side) / "build" / f"{database}.duckdb"
            connection.execute(f"attach '{path}' as {side}_{database} (read_only)")
        for schema, table in connection.execute(
            "select table_schema, table_name from information_schema.tables where table_catalog = ?", [f"steps_{database}"]
        ).fetchall():
            if schema not in names:
                continue
            ours, theirs = (f'{side}_{database}.{schema}."{table}"' for side in ("steps", "whole"))
            for one, other in ((ours, theirs), (theirs, ours)):
                more = connection.execute(f"from {one} except all from {other} limit 3").fetchall()
                assert not more, f"{one} has what {other} has not: {more}"
            compared += 1
    assert compared >= 20


def test_what_changes_a_day_after_the_fact(built: Built) -> None:
    before, after = built.after_first_hand, {row[0]: row[1:] for row in by_hand(built)}
    first, merged, unknown, due = (f"grid_management:GE990000000{i}" for i in range(1, 5))
    here = ("440304001019", "440304001019", "B01", "water")
    assert before[first] == (*here, date(2026, 10, 5), "2026-10", False)
    assert after[first] == (*here, date(2026, 9, 7), "2026-09", False), "its old day lost it and its new day has it"
    assert before[due][-1] is False and after[due][-1] is True, "no row came, and it fell due"
    assert after[merged][:2] == ("440304001020", "440304001901")
    assert after[unknown][:4] == (None, "440304999999", "D99", "street_office")
    unmapped = "select code_kind, record_count from quality.unmapped_code where source_code in ('Z99', '440304999999') order by 1"
    assert built.rows(unmapped) == [("community", 1), ("incident_type", 1)]
    assert built.rows("select count(*) - count(distinct incident_id) from mart.fct_incident") == [(0,)]


def test_a_late_registration_reaches_days_that_are_closed(built: Built) -> None:
    rows = built.rows(
        f"""select hour_at >= timestamp '2026-09-02 00:30:00', bool_and(is_waterlogged = (value_max >= 0)),
            min(community_id), max(community_id)
        from mart.fct_sensor_hour where device_id = '{GAUGE}' and hour_at < timestamp '2026-09-20' group by 1 order by 1"""
    )
    assert [row[2:] for row in rows] == [("440304001019", "440304001019"), ("440304001020", "440304001020")]
    assert rows[1][1] is True and rows[0][1] is False


def test_facts_agree_with_the_truth(built: Built) -> None:
    truth = built.steps / "reference_district/truth"
    clock = json.loads((truth / "totals.json").read_text())["by_clock"]["2026-11-01T00:00:00+08:00"]["grid_event"]
    found = dict(
        built.rows(
            """select source_community_id, count(*) from mart.fct_incident
            where system = 'grid_management' and incident_id not like '%:GE99%' group by 1"""
        )
    )
    assert found == clock["by_community"]
    # A reading is too late when it is older than 35 days before the window of its pull; here October is one window.
    for measure, entity in (("water_level_m", "water_level"), ("rain_mm", "rain_gauge")):
        connection = duckdb.connect()
        connection.execute(f"attach '{built.steps / 'build/marts.duckdb'}' as marts (read_only)")
        wrong = connection.execute(
            f"""
            with truth as (
                select device_id, make_timestamp(hour_at * 1000000) as hour_at, cast(sum(reading_count) as bigint) as reading_count,
                    sum(value_sum) as value_sum, min(value_min) as value_min, max(value_max) as value_max
                from '{truth / f"{entity}.parquet"}'
                where arrival <= epoch(timestamptz '2026-11-01 00:00:00+08')
                        and (not is_beyond or hour_at >= epoch(timestamp '2026-09-30 16:00:00' - interval 35 day))
                group by all
            ), built as (
                select * from marts.mart.fct_sensor_hour where measure_id = '{measure}'
            )
            select * from truth full join built using (device_id, hour_at)
            where truth.reading_count is distinct from built.reading_count or abs(truth.value_sum - built.value_sum) > 1e-6
                or abs(truth.value_min - built.value_min) > 1e-9 or abs(truth.value_max - built.value_max) > 1e-9
            """
        ).fetchall()
        assert not wrong, wrong[:3]


def test_nothing_of_the_build_leaves(built: Built) -> None:
    for database in ("marts", "open_data"):
        columns = built.rows("select table_name, column_name from information_schema.columns where table_schema <> 'internal'", database)
        assert columns
        assert not [c for c in columns if c[1].startswith("_") or c[1] in ("build_id", "reporter_phone", "title", "description_text")]


def test_open_data_statuses(built: Built) -> None:
    statuses = dict(
        built.rows(
            "select month, string_agg(distinct cell_status, ',' order by cell_status) from open_data.open_data.community_month group by 1",
            "open_data",
        )
    )
    assert statuses["2026-01"] == "missing" and set(statuses) == {f"2026-{m:02}" for m in range(1, 11)}
    assert "shown" in statuses["2026-10"] and "withheld" in statuses["2026-10"]
    cells = built.rows(
        """select cell_status, rank_status, like_rank, is_ranked from open_data.open_data.community_month
        where area_id = '440304400498' and category_id = 'safety' and is_latest_month""",
        "open_data",
    )
    assert cells == [("shown", "not_applicable", None, False)], "the virtual community is shown and never ranked"
    assert built.rows("select count(*) from open_data.open_data.community", "open_data") == [(93,)]


def test_published_cells_cannot_be_worked_out(built: Built) -> None:
    """All categories and levels at once, with the physical part of every cell and every previous figure known to the attacker."""
    sensitive = defaultdict(int)
    for month, community, category, count in built.rows(
        """with opened as (
            select incident_id, min(occurred_month) as month, any_value(community_id) filter (where is_first) as community_id,
                any_value(incident_type_id) filter (where is_first) as incident_type_id
            from mart.fct_incident_report where system <> 'police_dispatch' group by 1
        )
        select month, community_id, category_id, count(*)
        from opened join mart.dim_incident_type using (incident_type_id)
        where disclosure_unit in ('person', 'enterprise') and community_id is not null group by all"""
    ):
        for area in (community, community[:9], community[:6]):
            for name in (category, "all"):
                sensitive[month, area, name] += count
    rows = built.rows(
        """select month, area_level, area_id, category_id, cell_status, previous_month_count from open_data.open_data.community_month
        where cell_status <> 'missing' order by all""",
        "open_data",
    )
    shown = {(month, area, category) for month, _, area, category, status, _ in rows if status == "shown"}
    months = sorted({row[0] for row in rows})
    for month, _, area, category, status, previous in rows:
        if previous is not None:
            assert status == "shown" and (months[months.index(month) - 1], area, category) in shown
    attacked = 0
    for month in months:
        cells = {(area, category): status for m, _, area, category, status, _ in rows if m == month}
        attacked += attack(cells, {key: sensitive[month, *key] for key in cells})
    assert attacked >= 5, "too little is withheld for this to show anything"


def attack(cells: dict[tuple[str, str], str], sensitive: dict[tuple[str, str], int]) -> int:
    """Bounds of every withheld community's sensitive part from all that is shown; returns how many were attacked."""
    unknown = [key for key, status in cells.items() if status == "withheld"]
    column = {key: j for j, key in enumerate(unknown)}
    sums: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for area, category in cells:
        if category != "all":
            sums[area, "all"].append((area, category))
            if len(area) > 6:
                sums[area[: 9 if len(area) == 12 else 6], category].append((area, category))
    matrix, right = [], []
    for total, parts in sums.items():
        row, known = np.zeros(len(unknown)), 0
        for key, sign in [(total, -1), *((part, 1) for part in parts)]:
            if key in column:
                row[column[key]] += sign
            else:
                known -= sign * sensitive[key]
        if row.any():
            matrix.append(row)
            right.append(known)
        else:
            assert known == 0
    attacked = [key for key in unknown if len(key[0]) == 12 and key[1] != "all"]
    for key in attacked if matrix else []:
        cost = np.zeros(len(unknown))
        cost[column[key]] = 1
        bounds = [(1 if len(area) == 12 else 0, None) for area, _ in unknown]
        least = linprog(cost, A_eq=np.array(matrix), b_eq=right, bounds=bounds)
        most = linprog(-cost, A_eq=np.array(matrix), b_eq=right, bounds=bounds)
        assert least.status == 0 and most.status in (0, 3)
        assert most.status == 3 or -most.fun - least.fun >= 9 - 1e-6, f"{key} lies within {least.fun} to {-most.fun}"
    return len(attacked)


def test_logic_by_case(built: Built) -> None:
    """The unit tests that stand beside the models."""
    done = dbt(built.steps, "test", "--select", "test_type:unit")
    assert done.returncode == 0, done.stdout + done.stderr
