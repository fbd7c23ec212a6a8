"""Makes a small release with the tables of ``open_data`` for tests of the dashboards. Figures are made up by formula.

The ``marker`` is what tells two releases apart: every count of the second is the first's plus a fixed step, and the scope note
names it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import duckdb
import polars as pl

from tests.browser import make_marts

CATEGORIES = [
    ("security", "治安防控", "Security"),
    ("emergency", "应急保障", "Emergency preparedness"),
    ("safety", "公共安全", "Public safety"),
    ("environment", "环境监管", "Environment"),
]
TYPES = [("花园住宅社区", "Garden estate"), ("城中村社区", "Urban village"), ("混合社区", "Mixed")]
SUBDISTRICTS = [("440304001", "南园街道", "Nanyuan"), ("440304004", "福田街道", "Futian"), ("440304008", "香蜜湖街道", "Xiangmihu")]
NAMES = [
    "沙埔头",
    "南园",
    "南华",
    "滨河",
    "玉田",
    "滨江",
    "福山",
    "福民",
    "岗厦",
    "圩镇",
    "海滨",
    "水围",
    "香蜜",
    "香安",
    "竹林",
    "农园",
    "竹园",
    "东海",
]
MONTHS = [f"{2024 + (10 + i) // 12}-{(10 + i) % 12 + 1:02d}" for i in range(24)]  # 2024-11 .. 2026-10


def _communities() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for i, name in enumerate(NAMES):
        subdistrict = SUBDISTRICTS[i // 6]
        kind = TYPES[i % 3]
        rows.append(
            {
                "community_id": f"{subdistrict[0]}{i + 1:03d}",
                "subdistrict_id": subdistrict[0],
                "subdistrict_zh": subdistrict[1],
                "subdistrict_en": subdistrict[2],
                "name_zh": f"{name}社区",
                "name_en": f"Community {i + 1}",
                "community_type_zh": kind[0],
                "community_type_en": kind[1],
                "is_ranked": True,
                "is_virtual": False,
                "polygon_json": _tile(i // 6 * 3 + i % 3, i % 6 // 3),
            }
        )
    rows.append(
        {
            "community_id": "440304400400",
            "subdistrict_id": "440304400",
            "subdistrict_zh": "福田保税区",
            "subdistrict_en": "Futian Bonded Zone",
            "name_zh": "福田保税区虚拟社区",
            "name_en": "Bonded zone (virtual)",
            "community_type_zh": None,
            "community_type_en": None,
            "is_ranked": False,
            "is_virtual": True,
            "polygon_json": _tile(4, 2),
        }
    )
    return rows


def _tile(x: int, y: int) -> str:
    west, north, side = 114.0 + x * 0.01, 22.56 - y * 0.0092, 0.0096
    south = north - side * 0.925
    east = west + side
    return json.dumps([[west, south], [east, south], [east, north], [west, north], [west, south]])


def _count(community: int, month: int, category: int, marker: int) -> tuple[int | None, str]:
    """One cell: its count if shown, and its status. One zero, one withheld and one missing cell stand in the latest month."""
    if (community, category) == (2, 0):
        return None, "withheld"
    if (community, category, month) == (7, 3, len(MONTHS) - 1):
        return None, "missing"
    if (community, category) == (4, 1):
        return 0, "shown"
    return 12 + (community * 7 + month * 3 + category * 11) % 40 + marker, "shown"


def make(path: Path, *, marker: int = 0, is_demo: bool = True) -> None:
    """Write ``open_data.duckdb`` to ``path``.

    Args:
        path: of the file; its folder is made.
        marker: added to every shown count above zero.
        is_demo: as in ``open_data.about``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    communities = _communities()
    cells: dict[tuple[str, str, str], tuple[int | None, str]] = {}
    for m, month in enumerate(MONTHS):
        for i, community in enumerate(communities):
            counts = []
            for k, (category, _, _) in enumerate(CATEGORIES):
                cell = (None, "not_applicable") if community["is_virtual"] else _count(i, m, k, marker)
                cells[month, str(community["community_id"]), category] = cell
                counts.append(cell)
            whole = all(status == "shown" for _, status in counts)
            worst = next((status for _, status in counts if status != "shown"), "shown")
            cells[month, str(community["community_id"]), "all"] = (sum(c or 0 for c, _ in counts), "shown") if whole else (None, worst)
        for category, _, _ in CATEGORIES:
            shown = [cells[month, str(c["community_id"]), category][0] or 0 for c in communities]
            cells[month, "440304", category] = (sum(shown), "shown")
        whole_district = sum(cells[month, "440304", category][0] or 0 for category, _, _ in CATEGORIES)
        cells[month, "440304", "all"] = (whole_district, "shown")
    with duckdb.connect(str(path)) as connection:
        connection.execute("set threads = 1")
        connection.execute("create schema open_data.open_data")
        _tables(connection, communities, cells, marker, is_demo)


def _pct(now: int | None, then: int | None) -> float | None:
    return 100 * (now - then) / then if now is not None and then else None


def _tables(
    connection: duckdb.DuckDBPyConnection,
    communities: list[dict[str, object]],
    cells: dict[tuple[str, str, str], tuple[int | None, str]],
    marker: int,
    is_demo: bool,
) -> None:
    connection.execute(
        "create table open_data.open_data.about as select '福田区' as district_zh, 'Futian District' as district_en,"
        " timestamp '2026-10-31 16:00:00' as as_of, '2026-10' as latest_month, cast(? as boolean) as is_demo,"
        " '演示数据：由参照区生成，不是真实统计' as label_zh, 'Demo data: generated, no real statistics' as label_en,"
        " ? as scope_note_zh, ? as scope_note_en",
        [
            is_demo,
            f"件数为各部门系统当月受理的事件；公安警情不在此列，治安防控只统计其他部门的事件。发布标记 {marker}",
            f"Counts are incidents that departments accepted in the month; police cases are not included. Release marker {marker}",
        ],
    )
    columns = [
        "community_id",
        "subdistrict_id",
        "subdistrict_zh",
        "subdistrict_en",
        "name_zh",
        "name_en",
        "community_type_zh",
        "community_type_en",
    ]
    connection.execute(
        f"create table open_data.open_data.community ({', '.join(f'{c} varchar' for c in columns)},"
        " is_ranked boolean, is_virtual boolean, polygon_json varchar)"
    )
    connection.executemany(
        f"insert into open_data.open_data.community values ({', '.join('?' * 11)})", [list(c.values()) for c in communities]
    )
    connection.execute(
        "create table open_data.open_data.community_month (month varchar, area_level varchar, area_id varchar,"
        " area_zh varchar, area_en varchar, subdistrict_id varchar, subdistrict_zh varchar, community_id varchar,"
        " community_type_zh varchar, is_ranked boolean, category_id varchar, category_zh varchar, category_en varchar,"
        " incident_count bigint, cell_status varchar, incidents_per_10k double, previous_month_count bigint,"
        " previous_year_count bigint, change_on_month_pct double, change_on_year_pct double, like_rank bigint,"
        " like_count bigint, is_latest_month boolean)"
    )
    names = {category: (zh, en) for category, zh, en in CATEGORIES} | {"all": ("合计", "All")}
    areas: list[dict[str, object]] = [*communities, {"community_id": "440304", "name_zh": "福田区", "name_en": "Futian District"}]
    rows = []
    for m, month in enumerate(MONTHS):
        for category, (zh, en) in names.items():
            ranked: dict[object, list[int]] = {}
            for area in communities:
                count = cells[month, str(area["community_id"]), category][0]
                if area["is_ranked"] and count is not None:
                    ranked.setdefault(area["community_type_zh"], []).append(count)
            for area in areas:
                key = str(area["community_id"])
                is_district = key == "440304"
                count, status = cells[month, key, category]
                before = cells[MONTHS[m - 1], key, category][0] if m >= 1 else None
                year = cells[MONTHS[m - 12], key, category][0] if m >= 12 else None
                like = ranked.get(area.get("community_type_zh"), [])
                rows.append(
                    (
                        month,
                        "district" if is_district else "community",
                        key,
                        area["name_zh"],
                        area["name_en"],
                        area.get("subdistrict_id"),
                        area.get("subdistrict_zh"),
                        None if is_district else key,
                        area.get("community_type_zh"),
                        bool(area.get("is_ranked")),
                        category,
                        zh,
                        en,
                        count,
                        status,
                        None if count is None else count / (30 if is_district else 1.5),
                        before,
                        year,
                        _pct(count, before),
                        _pct(count, year),
                        sum(other > count for other in like) + 1 if area.get("is_ranked") and count is not None else None,
                        len(like) if area.get("is_ranked") else None,
                        m == len(MONTHS) - 1,
                    )
                )
    frame = pl.DataFrame(rows, orient="row", infer_schema_length=None)
    connection.execute(f"insert into open_data.open_data.community_month select {', '.join(frame.columns)} from frame")
    connection.execute(
        "create table open_data.open_data.waterlogging_month as"
        " select m.month, 'WL' || lpad(cast(i as varchar), 3, '0') as device_id, '第' || i || '号易涝点（路口）' as point_zh,"
        " c.community_id, c.name_zh as community_zh, c.subdistrict_zh, 80.5 + i * 3 as rain_mm, 0.1 + i * 0.06 as max_level_m,"
        f" cast(i % 7 + {marker} as bigint) as waterlogged_hour_count, 99.5 - i as available_pct"
        " from range(1, 9) as t(i) cross join (select distinct month from open_data.open_data.community_month) as m"
        " join (select *, row_number() over (order by community_id) as n from open_data.open_data.community) as c on c.n = i * 2"
    )
    connection.execute(
        "create table open_data.open_data.freshness as select * from (values"
        " ('grid_management', '网格管理系统', 'Grid management', '街道办事处', 'Subdistrict Office', timestamp '2026-10-31 15:40:00',"
        "  timestamp '2026-10-31 16:00:00', 60, false, timestamp '2026-10-31 16:00:00'),"
        " ('tax_filing', '纳税申报', 'Tax filing', '税务局', 'Tax Bureau', timestamp '2026-10-20 02:00:00',"
        "  timestamp '2026-10-31 16:00:00', 43200, false, timestamp '2026-10-31 16:00:00'),"
        " ('waterlogging', '易涝点监测发布', 'Waterlogging', '水务局', 'Water Authority', timestamp '2026-10-31 09:00:00',"
        "  timestamp '2026-10-31 16:00:00', 5, true, timestamp '2026-10-31 16:00:00'))"
        " as t(system, name_zh, name_en, department_zh, department_en, latest_event_at, window_until, frequency_minutes, is_late, as_of)"
    )


def publish(data: Path, release_id: str) -> None:
    """Switch both links of a data folder to a release, each atomically."""
    published = data / "published"
    for link in ("public", "current"):
        draft = published / f".{link}.new"
        draft.unlink(missing_ok=True)
        draft.symlink_to(release_id)
        os.replace(draft, published / link)


def make_release(data: Path, release_id: str, *, marker: int = 0, is_demo: bool = True) -> None:
    """Write the files of a release without publishing it."""
    folder = data / "published" / release_id
    make(folder / "open_data.duckdb", marker=marker, is_demo=is_demo)
    make_marts.make(folder / "marts.duckdb", marker=marker, is_demo=is_demo)
    with duckdb.connect(str(folder / "marts.duckdb")) as connection:
        connection.execute("create or replace table mart.fct_community_month as select 'secret of the mart' as community_id")


if __name__ == "__main__":
    import sys

    target = Path(sys.argv[1])
    make_release(target, "2026-10-31T1600Z-aaaaaaaaaaaa")
    publish(target, "2026-10-31T1600Z-aaaaaaaaaaaa")
