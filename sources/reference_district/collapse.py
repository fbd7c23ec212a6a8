"""Ground collapse: a workbook a week with collapses, voids found by survey, and settlement measured by hand.

Belongs here: what happens to the ground, and how a person types it: merged headers, totals rows, blank rows, dates and grades
in many forms, names of communities with and without their ending. Each workbook repeats what is still open and what was closed
in its week; a later one puts earlier ones right. It is at hand on the Tuesday after the week, 09:00.

Settlement is positive downwards, in mm since the measurement before. Where it accelerates, the ground collapses some weeks later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xlsxwriter

from sources.reference_district.district import DAY, District, at, date_of, day_of
from sources.reference_district.exports import Delivery
from sources.reference_district.faults import Fault
from sources.reference_district.geography import SUBDISTRICTS, Community, communities

SYSTEM = "ground_collapse"
CREATED = datetime(2024, 1, 1)  # the same in every workbook, so that the same content gives the same bytes
GRADES = {
    1: ["一级", "Ⅰ级", "1级", "I级"],
    2: ["二级", "Ⅱ级", "2级", "II级"],
    3: ["三级", "Ⅲ级", "3级", "III级"],
    4: ["四级", "Ⅳ级", "4级", "IV级"],
}
CAUSES = ["排水管渗漏", "给水管爆裂", "基坑施工扰动", "地铁施工扰动", "强降雨冲刷", "回填不密实"]
MEASURES = ["围挡警示、注浆回填", "砂石回填、路面修复", "混凝土回填", "管道修复后回填"]
ROADS = ["红荔路", "福华路", "滨河大道辅道", "振华路", "梅林路", "新洲路", "彩田路", "景田路", "福强路", "石厦街"]
HEADERS: dict[str, list[tuple[str, list[str]]]] = {
    "坍塌事故": [
        ("事故编号", []),
        ("社区", []),
        ("位置", []),
        ("发现日期", []),
        ("等级", []),
        ("规模(米)", ["长", "宽", "深"]),
        ("原因", []),
        ("伤亡人数", []),
        ("处置", ["措施", "完成日期"]),
    ],
    "空洞普查": [
        ("空洞编号", []),
        ("社区", []),
        ("位置", []),
        ("普查日期", []),
        ("隐患等级", []),
        ("空洞(米)", ["埋深", "面积"]),
        ("处置完成日期", []),
    ],
    "沉降监测": [("测点编号", []), ("测量日期", []), ("社区", []), ("沉降(毫米)", ["本次", "累计"])],
}
SHEETS = {"坍塌事故": "collapse", "空洞普查": "void_survey", "沉降监测": "settlement_reading"}
NO_YEAR, NO_DAY = "no_year", "no_day"  # forms of a broken date; the others are numbers


@dataclass
class Row:
    """One row of one sheet as it should be: true values under the contract's names, dates as day numbers."""

    values: dict[str, Any]
    broken: dict[str, str] = field(default_factory=dict)  # column -> how it is mistyped


@dataclass
class Thing:
    """A collapse or a void through time. corrected: the day from which `after` holds, and what it changes."""

    code: str
    place: Community
    found: int
    closed: int | None
    values: dict[str, Any]
    corrected: int | None = None
    after: dict[str, Any] = field(default_factory=dict)
    point: str = ""


@dataclass
class Point:
    code: str
    place: Community
    day_of_month: int
    rate_mm: float
    accelerates: int | None
    collapses: int | None  # the day on which the ground gives way; after that it is mended


@dataclass
class Generated:
    deliveries: list[Delivery] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    truth: dict[str, pl.DataFrame] = field(default_factory=dict)


def generate(district: District, folder: Path) -> Generated:
    """Write every workbook to `folder` and return what was delivered, planted and true."""
    folder.mkdir(parents=True, exist_ok=True)
    result = Generated()
    points = _points(district)
    collapses, voids = _collapses(district, points), _voids(district)
    readings = _readings(district, points)
    truth: dict[str, list[dict[str, Any]]] = {name: [] for name in SHEETS.values()}
    plan = _Plan(district, result.faults)
    monday = district.first_day - (district.first_day + 3) % 7  # 1970-01-01 was a Thursday
    for start in range(monday, day_of(district.end), 7):
        arrival = at(start + 8, 9)
        if not district.start < arrival <= district.end:
            continue
        year, week, _ = date_of(start).isocalendar()
        name = f"ground_collapse_{year}W{week:02d}.xlsx"
        rng = district.rng("collapse", "typing", name)
        sheets = {
            "坍塌事故": [_collapse_row(t, start + 7) for t in _listed(collapses, start)],
            "空洞普查": [_void_row(t, start + 7) for t in _listed(voids, start)],
            "沉降监测": [r for r in readings if start <= r.values["measured_date"] < start + 7],
        }
        plan.alter(sheets, name, arrival, rng)
        _write(folder / name, f"{year}年第{week}周", sheets, start + 6, rng)
        result.deliveries.append(Delivery(SYSTEM, name, arrival))
        for sheet, entity in SHEETS.items():
            truth[entity] += [
                {"key": _key(entity, r), "arrival": arrival, "file": name, "is_broken": bool(r.broken), **_dated(r.values)}
                for r in sheets[sheet]
            ]
    for entity, rows in truth.items():
        result.truth[entity] = pl.DataFrame(rows, infer_schema_length=None)
    result.truth["settlement_point"] = pl.DataFrame(
        {
            "point_code": [p.code for p in points],
            "community_code": [p.place.code for p in points],
            "accelerates_from": [None if p.accelerates is None else str(date_of(p.accelerates)) for p in points],
            "collapse_code": [next((t.code for t in collapses if t.point == p.code), None) for p in points],
            "arrival": [district.start + DAY] * len(points),
        },
        schema_overrides={"accelerates_from": pl.Utf8, "collapse_code": pl.Utf8},
    )
    return result


def _key(entity: str, row: Row) -> str:
    v = row.values
    if entity == "settlement_reading":
        return f"{v['point_code']} {date_of(v['measured_date'])}"
    return str(v["collapse_code" if entity == "collapse" else "void_code"])


def _dated(values: dict[str, Any]) -> dict[str, Any]:
    return {k: (None if v is None else str(date_of(v))) if k.endswith("_date") else v for k, v in values.items()}


def _grounds(district: District) -> tuple[Community, ...]:
    return tuple(c for c in communities(district) if c.merged_day is None and c.kind)


def _points(district: District) -> list[Point]:
    places, rng = _grounds(district), district.rng("settlement_point")
    count = district.scale.settlement_points
    span = district.as_of_day - district.first_day
    moving = rng.permutation(count)[: max(2, round(count * 0.06))].tolist()
    points = []
    for n in range(count):
        place = places[int(rng.integers(0, len(places)))]
        point = Point(f"CJ-{n + 1:03d}", place, int(rng.integers(1, 28)), float(rng.gamma(2, 0.15)), None, None)
        if n in moving:
            share = 0.3 if n == moving[0] else float(rng.uniform(0.15, 0.85))
            point.accelerates = district.first_day + int(span * share)
            point.collapses = point.accelerates + int(rng.integers(70, 160))
        points.append(point)
    return points


def _readings(district: District, points: list[Point]) -> list[Row]:
    rows, total = [], dict.fromkeys((p.code for p in points), 0.0)
    rng = district.rng("settlement_reading")
    for day in range(district.first_day - 31, day_of(district.end)):
        for point in points:
            if date_of(day).day != point.day_of_month:
                continue
            begun, ends = point.accelerates, point.collapses
            months = (day - begun) / 30.4 if begun is not None and ends is not None and begun < day <= ends else 0.0
            now = round(point.rate_mm + 1.2 * months**1.5 + float(rng.normal(0, 0.25)), 2)
            total[point.code] = round(total[point.code] + now, 2)
            if day >= district.first_day - 7:
                rows.append(
                    Row(
                        {
                            "point_code": point.code,
                            "measured_date": day,
                            "community_name": point.place.name,
                            "settlement_mm": now,
                            "cumulative_mm": total[point.code],
                        }
                    )
                )
    return rows


def _spot(rng: np.random.Generator, place: Community) -> str:
    return f"{SUBDISTRICTS[place.subdistrict]}{ROADS[int(rng.integers(0, len(ROADS)))]}{int(rng.integers(1, 400))}号前"


def _collapses(district: District, points: list[Point]) -> list[Thing]:
    """Collapses, more of them after wet weeks, and one where each accelerating point ends."""
    places, rng = _grounds(district), district.rng("collapse")
    first, span = district.first_day, day_of(district.end) - district.first_day
    count = round(district.scale.collapses * span / (district.as_of_day - first))
    causes = [(p.place, p.collapses, p.code) for p in points if p.collapses is not None and p.collapses < first + span]
    while len(causes) < count:
        day = first + int(rng.integers(0, span))
        summer = date_of(day).month in (5, 6, 7, 8, 9)
        if rng.random() < (1.0 if summer else 0.45):
            causes.append((places[int(rng.integers(0, len(places)))], day, ""))
    things: list[Thing] = []
    for n, (place, day, point) in enumerate(sorted(causes, key=lambda c: (c[1], c[0].code, c[2])), start=1):
        grade = int(rng.choice([1, 2, 3, 4], p=[0.02, 0.1, 0.4, 0.48]))
        size = {1: 14.0, 2: 7.0, 3: 3.5, 4: 1.6}[grade] * float(rng.lognormal(0, 0.25))
        still = rng.random() < 0.04
        thing = Thing(
            f"TX{date_of(day).year}{n:04d}",
            place,
            day,
            None if still else day + 1 + int(rng.gamma(2, 9)),
            {
                "location_zh": _spot(rng, place),
                "grade": grade,
                "length_m": round(size, 1),
                "width_m": round(size * float(rng.uniform(0.5, 0.95)), 1),
                "depth_m": round(min(12.0, size * float(rng.uniform(0.3, 0.7))), 1),
                "cause": "地铁施工扰动" if point else CAUSES[int(rng.integers(0, len(CAUSES)))],
                "casualty_count": int(rng.integers(1, 4)) if grade == 1 or rng.random() < 0.02 else 0,
                "measure_taken": MEASURES[int(rng.integers(0, len(MEASURES)))],
            },
            point=point,
        )
        if rng.random() < 0.2:
            thing.corrected = day + 7 + int(rng.integers(0, 14))
            if rng.random() < 0.4:
                thing.after = {"grade": max(1, grade - 1)}
            else:
                thing.after = {
                    "depth_m": round(float(thing.values["depth_m"]) * 1.5, 1),
                    "length_m": round(float(thing.values["length_m"]) + 0.8, 1),
                }
        things.append(thing)
    return things


def _voids(district: District) -> list[Thing]:
    places, rng = _grounds(district), district.rng("void_survey")
    first, span = district.first_day, day_of(district.end) - district.first_day
    count = round(district.scale.voids * span / (district.as_of_day - first))
    days = np.sort(rng.integers(first, first + span, count))
    things = []
    for n, day in enumerate(days.tolist(), start=1):
        place = places[int(rng.integers(0, len(places)))]
        grade = int(rng.choice([1, 2, 3, 4], p=[0.01, 0.09, 0.38, 0.52]))
        wait = {1: 4, 2: 15, 3: 60, 4: 130}[grade] * float(rng.lognormal(0, 0.4))
        thing = Thing(
            f"KD{date_of(day).year}{n:04d}",
            place,
            day,
            day + 1 + int(wait),
            {
                "location_zh": _spot(rng, place),
                "grade": grade,
                "depth_m": round(float(rng.uniform(0.4, 3.5)), 2),
                "area_m2": round({1: 30.0, 2: 12.0, 3: 5.0, 4: 1.8}[grade] * float(rng.lognormal(0, 0.3)), 1),
            },
        )
        if rng.random() < 0.08:
            thing.corrected = day + 7 + int(rng.integers(0, 21))
            thing.after = {"area_m2": round(float(thing.values["area_m2"]) * 1.6, 1)}
        things.append(thing)
    return things


def _listed(things: list[Thing], week: int) -> list[Thing]:
    """Known by the end of the week that begins on `week`, and open at its beginning, or found, closed or corrected in it."""
    return [
        t
        for t in things
        if t.found < week + 7
        and (t.closed is None or t.closed >= week or t.found >= week or (t.corrected is not None and week <= t.corrected < week + 7))
    ]


def _collapse_row(t: Thing, until: int) -> Row:
    v = t.values | (t.after if t.corrected is not None and t.corrected < until else {})
    closed = t.closed is not None and t.closed < until
    return Row(
        {
            "collapse_code": t.code,
            "community_name": t.place.name,
            "location_zh": v["location_zh"],
            "found_date": t.found,
            "grade": v["grade"],
            "length_m": v["length_m"],
            "width_m": v["width_m"],
            "depth_m": v["depth_m"],
            "cause": v["cause"],
            "casualty_count": v["casualty_count"],
            "measure_taken": v["measure_taken"] if closed else "围挡警示",
            "mitigated_date": t.closed if closed else None,
        }
    )


def _void_row(t: Thing, until: int) -> Row:
    v = t.values | (t.after if t.corrected is not None and t.corrected < until else {})
    return Row(
        {
            "void_code": t.code,
            "community_name": t.place.name,
            "location_zh": v["location_zh"],
            "surveyed_date": t.found,
            "grade": v["grade"],
            "depth_m": v["depth_m"],
            "area_m2": v["area_m2"],
            "treated_date": t.closed if t.closed is not None and t.closed < until else None,
        }
    )


class _Plan:
    """Which rows are mistyped in which workbook: every fourth one has a few. What is open is typed right in the next."""

    def __init__(self, district: District, faults: list[Fault]) -> None:
        self.district, self.faults, self.number = district, faults, 0

    def alter(self, sheets: dict[str, list[Row]], file: str, arrival: int, rng: np.random.Generator) -> None:
        self.number += 1
        for sheet, rows in sheets.items():
            rows[:] = [Row(dict(r.values)) for r in rows]  # a mistyped row is mistyped in this workbook alone
            if len(rows) < 3:
                continue
            picks = rng.permutation(len(rows)).tolist()
            if self.number % 4 == 1 and sheet == "空洞普查":
                self._break(sheet, rows[picks[0]], "surveyed_date", NO_YEAR, "date_without_year", "surveyed_date:type", file, arrival)
            if self.number % 4 == 2 and sheet == "空洞普查":
                self._break(sheet, rows[picks[0]], "surveyed_date", NO_DAY, "broken_date", "surveyed_date:type", file, arrival)
                self._break(sheet, rows[picks[1]], "void_code", "lost", "broken_code", "void_code:pattern", file, arrival)
            if self.number % 4 == 2 and sheet == "沉降监测":
                self._break(sheet, rows[picks[0]], "settlement_mm", "unit", "unit_in_number", "settlement_mm:type", file, arrival)
            if self.number % 4 == 3 and sheet == "沉降监测":
                self._break(sheet, rows[picks[0]], "measured_date", NO_DAY, "broken_date", "measured_date:type", file, arrival)
            if self.number % 4 == 3 and sheet == "坍塌事故":
                self._break(sheet, rows[picks[0]], "found_date", NO_YEAR, "date_without_year", "found_date:type", file, arrival)
            if self.number % 4 == 0 and sheet == "坍塌事故":
                self._break(sheet, rows[picks[0]], "depth_m", "range", "out_of_range", "depth_m:range", file, arrival)

    def _break(self, sheet: str, row: Row, column: str, how: str, kind: str, rule: str, file: str, arrival: int) -> None:
        row.broken[column] = how
        entity = SHEETS[sheet]
        note = "typed right in the next workbook, where it is still listed" if entity != "settlement_reading" else ""
        names = {"collapse": ["collapse_code"], "void_survey": ["void_code"]}.get(entity, ["point_code", "measured_date"])
        key = {name: value for name, value in _dated(row.values).items() if name in names} | {"file": file}
        self.faults.append(Fault(SYSTEM, entity, key, kind, "quarantined", arrival, rule, note=note))


# The workbook


def _write(path: Path, title: str, sheets: dict[str, list[Row]], last_day: int, rng: np.random.Generator) -> None:
    book = xlsxwriter.Workbook(str(path))
    book.set_properties({"created": CREATED, "title": f"地面坍塌事故及隐患周报（{title}）演示数据", "author": "住房建设局（演示）"})
    style = {
        "title": book.add_format({"bold": True, "font_size": 14, "align": "center"}),
        "head": book.add_format({"bold": True, "align": "center", "valign": "vcenter", "border": 1}),
        "date": book.add_format({"num_format": "yyyy-mm-dd"}),
    }
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        columns = sum(max(1, len(children)) for _, children in HEADERS[name])
        sheet.merge_range(0, 0, 0, columns - 1, f"福田区{name}周报（{title}，截至{date_of(last_day)}）演示数据", style["title"])
        _header(sheet, HEADERS[name], style["head"])
        line = 3
        for n, row in enumerate(rows):
            if n and n % 12 == 0 and rng.random() < 0.5:
                line += 1  # a blank row between
            for column, (kind, value) in enumerate(_typed(name, row, rng)):
                if kind == "date":
                    sheet.write_datetime(line, column, datetime.combine(value, datetime.min.time()), style["date"])
                elif kind == "number":
                    sheet.write_number(line, column, value)
                elif value:
                    sheet.write_string(line, column, value)
            line += 1
        sheet.write_string(line, 0, "合计" if rng.random() < 0.8 else "总计")
        sheet.write_string(line, 1, f"{len(rows)}条")
        if name == "坍塌事故":
            sheet.write_number(line, 9, sum(int(r.values["casualty_count"]) for r in rows))
        sheet.set_column(0, columns - 1, 14)
    book.close()


def _header(sheet: Any, header: list[tuple[str, list[str]]], style: Any) -> None:
    """Two rows: a parent over its children, a column without children over both."""
    column = 0
    for parent, children in header:
        if not children:
            sheet.merge_range(1, column, 2, column, parent, style)
            column += 1
            continue
        sheet.merge_range(1, column, 1, column + len(children) - 1, parent, style)
        for child in children:
            sheet.write_string(2, column, child, style)
            column += 1


def _typed(sheet: str, row: Row, rng: np.random.Generator) -> list[tuple[str, Any]]:
    """The cells of a row as a person types them: (kind, value), kind one of text, number, date."""
    v, cells = row.values, []
    for column, value in v.items():
        how = row.broken.get(column)
        if column.endswith("_date"):
            cells.append(("text", "") if value is None else _typed_date(date_of(value), how, rng))
        elif column == "grade":
            cells.append(("text", GRADES[value][int(rng.integers(0, 4))]))
        elif column == "community_name":
            cells.append(("text", [value, value + "居委会", value.removesuffix("社区")][int(rng.choice(3, p=[0.6, 0.25, 0.15]))]))
        elif how == "unit":
            cells.append(("text", f"{value}毫米"))
        elif how == "range":
            cells.append(("number", 980.0))
        elif how == "lost":
            cells.append(("text", value[2:]))
        elif isinstance(value, (int, float)):
            cells.append(("number", value))
        else:
            cells.append(("text", value))
    return cells


def _typed_date(day: date, how: str | None, rng: np.random.Generator) -> tuple[str, Any]:
    if how == NO_YEAR:
        return "text", f"{day.month}月{day.day}日"
    if how == NO_DAY:
        return "text", f"{day.year}-13-40"
    match int(rng.choice(6, p=[0.3, 0.2, 0.12, 0.12, 0.08, 0.18])):
        case 0:
            return "text", str(day)
        case 1:
            return "text", f"{day.year}/{day.month}/{day.day}"
        case 2:
            return "text", f"{day.year}.{day.month}.{day.day}"
        case 3:
            return "text", f"{day.year}年{day.month}月{day.day}日"
        case 4:
            return "number", int(f"{day:%Y%m%d}")
        case _:
            return "date", day
