"""Sheets of xlsx workbooks, as people keep them: titles, merged headers, blank rows, totals between the rows. Read by fastexcel.

The catalogue names the sheet, the rows of the header and what a totals row begins with. Every cell is the text that a person sees or
types: a number with its digits (46298, not 46298.0), a date as ISO (with its time where it has one), an error as Excel writes it,
typed text as it stands. What only a cell's format adds (leading zeros, a percent sign) is not seen: 7 shown as 007 lands as 7.

Which files there are, which are new and what becomes of a file that cannot be read belongs in ``files.py``.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

import fastexcel
import polars as pl

from sources.catalogue import Entity

ROW = "_row"  # the row's number as Excel shows it
ERRORS = {
    "Div0": "#DIV/0!", "NA": "#N/A", "Name": "#NAME?", "Null": "#NULL!", "Num": "#NUM!", "Ref": "#REF!", "Value": "#VALUE!",
    "GettingData": "#GETTING_DATA",
}  # fmt: skip
SHOWN = 10  # names of a header that an error message repeats

log = logging.getLogger(__name__)


class WorkbookFault(Exception):
    """A workbook that does not hold what the catalogue says."""


def read_sheet(entity: Entity, path: Path) -> pl.DataFrame:
    """The records of the entity's sheet: text columns named as in the header (merged ones as ``parent|child``), and ``_row``.

    Raises:
        WorkbookFault: this is no workbook, or the sheet or its header is missing.
    """
    cells = _cells(path, str(entity.options["sheet"]))
    header_rows: list[int] = entity.options.get("header_rows", [1])
    names = _header([_row(cells, number) for number in header_rows])
    keys = [(column.source_name, *column.synonyms) for column in entity.primary_key]
    if absent := [" or ".join(known) for known in keys if not set(known) & set(names.values())]:
        shown = ", ".join(list(names.values())[:SHOWN])
        raise WorkbookFault(
            f"the header in row {', '.join(map(str, header_rows))} of sheet {entity.options['sheet']} has no column "
            f"{', '.join(absent)}; it has {shown or 'nothing'}"
        )
    body = cells.slice(max(header_rows))
    filled = [name for name in cells.columns if name != ROW and (name in names or body[name].is_not_null().any())]
    named = {name: names.get(name, f"column{cells.columns.index(name)}") for name in filled}  # a column without a name keeps its place
    body = body.select(*(pl.col(name).alias(named[name]) for name in filled), ROW)
    body = body.filter(~pl.all_horizontal(pl.col(name).is_null() for name in named.values()))
    if pattern := entity.options.get("total_rows"):
        first = pl.coalesce(list(named.values())).str.strip_chars()
        totals = body.select(first.map_elements(lambda value: bool(re.search(pattern, value)), return_dtype=pl.Boolean)).to_series()
        if totals.any():
            log.info("%s/%s: %d totals row(s) of %s left out", entity.system, entity.name, totals.sum(), path.name)
        body = body.filter(~totals)
    return body


def _cells(path: Path, sheet: str) -> pl.DataFrame:
    """Every cell as text, blank ones null, from the sheet's first row on; a column's name tells nothing."""
    try:
        book = fastexcel.read_excel(str(path))
        if sheet not in book.sheet_names:
            raise WorkbookFault(f"there is no sheet {sheet}; there are {', '.join(book.sheet_names)}")
        batch, problems = book.load_sheet(sheet, header_row=None, skip_rows=0, dtypes="string").to_arrow_with_errors()
        numbers = book.load_sheet(sheet, header_row=None, skip_rows=0, dtypes="float").to_polars()
    except fastexcel.FastExcelError as error:
        raise WorkbookFault(f"it is no workbook, or a damaged or locked one ({str(error).splitlines()[0]})") from None
    text = pl.DataFrame(pl.from_arrow(batch))
    for problem in problems.errors if problems else []:  # cells that hold an error of Excel are empty in the batch
        row, column = problem.offset_position
        kind = re.search(r"Error\((\w+)\)", problem.detail)
        name = text.columns[column]
        value = ERRORS.get(kind.group(1), "#ERROR!") if kind else "#ERROR!"
        text = text.with_columns(pl.when(pl.int_range(pl.len()) == row).then(pl.lit(value)).otherwise(pl.col(name)).alias(name))
    return text.select(
        *(_shown(text[name], numbers[name] if name in numbers.columns else None) for name in text.columns),
        (pl.int_range(pl.len(), dtype=pl.Int64) + 1).alias(ROW),
    )


def _shown(cells: pl.Series, numbers: pl.Series | None) -> pl.Series:
    """A column as it is landed. fastexcel writes numbers with nine decimals, and dates with a time in any case."""
    frame = pl.DataFrame({"text": cells, "number": numbers if numbers is not None else pl.Series([None] * len(cells), dtype=pl.Float64)})
    value, number = pl.col("text"), pl.col("number")
    rounded = number.is_not_null() & (value.cast(pl.Float64, strict=False) != number)
    moment = r"^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)$"
    return frame.select(
        pl.when(value.str.strip_chars() == "").then(None)
        .when(rounded).then(number.cast(pl.String))
        .when(value.str.contains(r"^1899-12-3[01] \d\d:\d\d:\d\d")).then(value.str.slice(11))  # a time of day
        .when(value.str.contains(r"^\d{4}-\d\d-\d\d 00:00:00$")).then(value.str.slice(0, 10))
        .when(value.str.contains(moment)).then(value.str.replace(moment, "${1}T${2}"))
        .otherwise(value)
        .alias(cells.name)
    ).to_series()  # fmt: skip


def _row(cells: pl.DataFrame, number: int) -> list[tuple[str, str]]:
    """(column, text) of a row by its number in Excel, without line breaks and blanks; empty where the sheet ends before it."""
    if number > cells.height:
        return []
    values = cells.drop(ROW).row(number - 1)
    return [(name, re.sub(r"\s+", "", value or "")) for name, value in zip(cells.drop(ROW).columns, values, strict=True)]


def _header(rows: list[list[tuple[str, str]]]) -> dict[str, str]:
    """The name of each column that has one.

    A merged cell holds its text in its first cell alone. A cell merged to the right spreads over the columns that have a text below; one
    merged downwards leaves its name as it is. A name that stands twice gets its position.
    """
    columns = [name for name, _ in rows[0]] if rows and rows[0] else []
    names: dict[str, str] = {}
    parents: list[str] = []
    for position, column in enumerate(columns):
        own = [row[position][1] for row in rows if row]
        path: list[str] = []
        for level, text in enumerate(own):
            is_below = any(own[level + 1 :])
            if not text and is_below and path == parents[:level] and len(parents) > level + 1:
                text = parents[level]
            if text:
                path.append(text)
        parents = path
        if path:
            name = "|".join(path)
            names[column] = name if name not in names.values() else f"{name}_{position}"
    return names
