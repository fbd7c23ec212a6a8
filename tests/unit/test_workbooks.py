"""Workbooks on real xlsx files: merged headers, titles, blank and totals rows, dates and numbers, and what is missing."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlsxwriter

from sources.catalogue import Entity, load_catalogue
from sources.connectors import pull
from sources.connectors.files import FILE_STRIDE
from sources.errors import PullError
from sources.landing import Landing, Manifest

T1 = datetime(2026, 6, 1, tzinfo=UTC)
T2 = datetime(2026, 6, 2, tzinfo=UTC)
Fill = Callable[[Any, Any], None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "工作簿"
    path.mkdir()
    monkeypatch.setenv("SSC_GROUND_COLLAPSE_URL", path.as_uri())
    return path


@pytest.fixture
def readings() -> Entity:
    return load_catalogue()["ground_collapse"].entity("settlement_reading")


@pytest.fixture
def collapses() -> Entity:
    return load_catalogue()["ground_collapse"].entity("collapse")


def workbook(path: Path, sheet: str, fill: Fill, at: datetime = T1) -> Path:
    """A workbook with one sheet; ``fill`` writes into it."""
    with xlsxwriter.Workbook(path) as book:
        fill(book.add_worksheet(sheet), book)
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def settlement(*rows: list[Any], first: int = 4) -> Fill:
    """Title, two merged header rows and the rows, the first of them in row ``first`` of Excel."""

    def fill(sheet: Any, book: Any) -> None:
        sheet.merge_range("A1:E1", "沉降监测周报")
        for column, name in enumerate(("测点编号", "测量日期", "社区")):
            sheet.merge_range(1, column, 2, column, name)
        sheet.merge_range("D2:E2", "沉降(毫米)")
        sheet.write_row("D3", ["本次", "累计"])
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        for number, row in enumerate(rows, start=first - 1):
            for column, value in enumerate(row):
                if isinstance(value, (date, time)):
                    sheet.write_datetime(number, column, value, day)
                elif value is not None:
                    sheet.write(number, column, value)

    return fill


def landed(manifest: Manifest) -> list[dict[str, Any]]:
    if not manifest.parts:
        return []
    return pl.concat([pl.read_parquet(part) for part in manifest.parts], how="diagonal").drop("_load_id").sort("_row").to_dicts()


def test_merged_headers_are_flattened_and_rows_have_excels_numbers(folder: Path, readings: Entity) -> None:
    workbook(folder / "ground_collapse_1.xlsx", "沉降监测", settlement(["CJ1", date(2026, 5, 30), "甲社区", -1.5, 46298]))
    manifest = pull(readings, until=T1)
    assert landed(manifest) == [
        {"测点编号": "CJ1", "测量日期": "2026-05-30", "社区": "甲社区", "沉降(毫米)|本次": "-1.5", "沉降(毫米)|累计": "46298", "_row": 4}
    ]
    assert manifest.columns == ["测点编号", "测量日期", "社区", "沉降(毫米)|本次", "沉降(毫米)|累计"]


def test_two_merged_parents_beside_each_other_and_beside_plain_columns(folder: Path, collapses: Entity) -> None:
    def fill(sheet: Any, book: Any) -> None:
        sheet.write("A1", "深圳市某区")
        for position, name in ((0, "事故编号"), (1, "社区"), (2, "位置"), (3, "发现日期"), (4, "等级"), (8, "原因"), (9, "伤亡人数")):
            sheet.merge_range(1, position, 2, position, name)
        sheet.merge_range("F2:H2", "规模(米)")
        sheet.write_row("F3", ["长", "宽", "深"])
        sheet.merge_range("K2:L2", "处置\n")  # a line break in a header
        sheet.write_row("K3", [" 措施", "完成日期"])
        sheet.write_row("A4", ["TX20260001", "甲", "路口", "2026.5.3", "三级", 1.1, 2, 0.5, "渗漏", 0, "回填", "2026年5月4日"])

    workbook(folder / "ground_collapse_1.xlsx", "坍塌事故", fill)
    manifest = pull(collapses, until=T1)
    assert set(manifest.columns) == {column.source_name for column in collapses.columns}
    [row] = landed(manifest)
    assert (row["规模(米)|宽"], row["原因"], row["伤亡人数"], row["处置|措施"], row["处置|完成日期"], row["发现日期"]) == (
        "2", "渗漏", "0", "回填", "2026年5月4日", "2026.5.3",
    )  # fmt: skip


def test_every_cell_is_the_text_that_a_person_sees_or_types(folder: Path, readings: Entity) -> None:
    def fill(sheet: Any, book: Any) -> None:
        settlement()(sheet, book)
        moment = book.add_format({"num_format": "yyyy/m/d h:mm"})
        # a workbook holds sixteen digits of a number
        values = ["1.10", "007", 1.10, 46298, 1e15, 0.1 + 0.2, 100 / 3, 0.1234567890123, True, " 甲 ", -0.5, 0]
        for number, value in enumerate(values, start=3):
            sheet.write(number, 0, f"CJ{number}")
            (sheet.write_string if isinstance(value, str) else sheet.write)(number, 2, value)
        sheet.write("A16", "CJ15")
        sheet.write_datetime("C16", datetime(2026, 5, 30, 8, 30), moment)
        sheet.write("A17", "CJ16")
        sheet.write_datetime("C17", time(8, 30), book.add_format({"num_format": "hh:mm"}))
        sheet.write("A18", "CJ17")
        sheet.write_formula("C18", "=1/0", None, "#DIV/0!")
        sheet.write("A19", "CJ18")
        sheet.write_formula("C19", "=1+1", None, 2)

    workbook(folder / "ground_collapse_1.xlsx", "沉降监测", fill)
    assert [row["社区"] for row in landed(pull(readings, until=T1))] == [
        "1.10", "007", "1.1", "46298", "1000000000000000", "0.3", "33.33333333333334", "0.1234567890123", "true", " 甲 ", "-0.5", "0",
        "2026-05-30T08:30:00", "08:30:00", "#DIV/0!", "2",
    ]  # fmt: skip


def test_blank_rows_and_totals_are_left_out_and_counted(folder: Path, readings: Entity, caplog: pytest.LogCaptureFixture) -> None:
    fill = settlement(
        ["CJ1", "2026-05-30", "甲", 1, 1],
        [None, "  ", None, None, None],
        [" 小计", None, None, 1, 1],
        ["CJ2", "2026-05-30", "合计社区", 1, 1],  # 合计 stands in another column: a record
        [None, "合计", None, 2, 2],
        ["总计(全区)", None, None, 2, 2],
    )
    workbook(folder / "ground_collapse_1.xlsx", "沉降监测", fill)
    with caplog.at_level(logging.INFO):
        manifest = pull(readings, until=T1)
    assert [(row["测点编号"], row["_row"]) for row in landed(manifest)] == [("CJ1", 4), ("CJ2", 7)] and manifest.rows == 2
    assert "3 totals row(s) of ground_collapse_1.xlsx left out" in caplog.text


def test_columns_beyond_the_header_and_blank_ones(folder: Path, readings: Entity) -> None:
    def fill(sheet: Any, book: Any) -> None:
        settlement(["CJ1", "2026-05-30", "甲", 1, 1])(sheet, book)
        sheet.write("G4", "见附件")  # a note beside the table; column F stays empty

    workbook(folder / "ground_collapse_1.xlsx", "沉降监测", fill)
    [row] = landed(pull(readings, until=T1))
    assert row["column6"] == "见附件" and len(row) == 7


def test_a_sheet_that_starts_with_empty_rows_counts_them(folder: Path, readings: Entity) -> None:
    def fill(sheet: Any, book: Any) -> None:
        sheet.write_row("A2", ["测点编号", "测量日期", "社区", "沉降(毫米)|本次", "沉降(毫米)|累计"])  # flattened by hand, nothing above
        sheet.write_row("A5", ["CJ1", "2026-05-30", "甲", 1, 1])

    workbook(folder / "ground_collapse_1.xlsx", "沉降监测", fill)
    assert [row["_row"] for row in landed(pull(readings, until=T1))] == [5]


def test_what_is_missing_is_named_and_holds_up_no_other_file(folder: Path, readings: Entity) -> None:
    workbook(folder / "ground_collapse_1.xlsx", "沉降监测", settlement(["CJ1", "2026-05-30", "甲", 1, 1]))
    workbook(folder / "ground_collapse_2.xlsx", "别的", settlement())
    workbook(folder / "ground_collapse_3.xlsx", "沉降监测", lambda sheet, book: sheet.write_row("A2", ["编号", "日期"]))
    workbook(folder / "ground_collapse_4.xlsx", "沉降监测", lambda sheet, book: None)
    broken = workbook(folder / "ground_collapse_5.xlsx", "沉降监测", settlement())
    broken.write_bytes(broken.read_bytes()[:1000])
    os.utime(broken, (T1.timestamp(), T1.timestamp()))
    with pytest.raises(PullError) as error:
        pull(readings, until=T1)
    said = str(error.value)
    assert "4 file(s) cannot be read as xlsx" in said and "Next: ask the department" in said
    assert "ground_collapse_2.xlsx (there is no sheet 沉降监测; there are 别的)" in said
    assert "ground_collapse_3.xlsx (the header in row 2, 3 of sheet 沉降监测 has no column 测点编号, 测量日期; it has 编号, 日期)" in said
    assert "ground_collapse_4.xlsx (the header in row 2, 3 of sheet 沉降监测 has no column 测点编号, 测量日期; it has nothing)" in said
    assert "ground_collapse_5.xlsx (it is no workbook, or a damaged or locked one" in said
    newest = Landing().newest("ground_collapse", "settlement_reading")
    assert newest is not None and [row["测点编号"] for row in landed(newest)] == ["CJ1"]
    workbook(broken, "沉降监测", settlement(["CJ5", "2026-05-30", "甲", 1, 1]), T2)  # delivered again
    with pytest.raises(PullError, match=r"3 file\(s\)"):
        pull(readings, until=T2)
    newest = Landing().newest("ground_collapse", "settlement_reading")
    assert newest is not None and [row["测点编号"] for row in landed(newest)] == ["CJ5"]


def test_rows_of_several_workbooks_are_told_apart_and_only_news_is_taken(folder: Path, readings: Entity) -> None:
    workbook(folder / "ground_collapse_1.xlsx", "沉降监测", settlement(["CJ1", "2026-05-30", "甲", 1, 1]))
    workbook(folder / "ground_collapse_2.xlsx", "沉降监测", settlement(["CJ2", "2026-05-30", "甲", 1, 1]))
    assert [row["_row"] for row in landed(pull(readings, until=T1))] == [4, FILE_STRIDE + 4]
    workbook(folder / "ground_collapse_3.xlsx", "沉降监测", settlement(), T2)  # a week without readings
    assert pull(readings, until=T2).rows == 0
