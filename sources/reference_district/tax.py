"""Tax filing: one CSV a month in GB18030 with Chinese headers, and a supplementary file of late and corrected filings.

Belongs here: enterprises, what they file, the faults planted among them. A month's file comes around the 20th of the next
month, its supplement (更正) about two weeks later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from sources.reference_district import people
from sources.reference_district.district import District, at, date_of, date_texts, day_of
from sources.reference_district.exports import Delivery
from sources.reference_district.faults import Fault
from sources.reference_district.geography import codes_on, communities

SYSTEM = "tax_filing"
HEADER = [
    "统一社会信用代码",
    "所属期",
    "企业名称",
    "社区代码",
    "行业代码",
    "申报日期",
    "申报收入(元)",
    "应纳税额(元)",
    "实缴税额(元)",
    "用工人数",
    "申报状态",
]
RENAMED = ("用工人数", "从业人数")  # in the file that came three months before AS_OF's month
ADDED = "备注"  # in the file of the month after that
INDUSTRIES = {
    "C": (0.10, 13.2, 30),
    "E": (0.06, 13.6, 25),
    "F": (0.28, 13.0, 8),
    "G": (0.05, 12.8, 15),
    "H": (0.10, 11.8, 10),
    "I": (0.12, 13.1, 18),
    "J": (0.04, 14.2, 20),
    "K": (0.07, 13.0, 16),
    "L": (0.12, 12.4, 12),
    "M": (0.06, 12.5, 12),
}
TRADES = {
    "C": "制造",
    "E": "建筑工程",
    "F": "贸易",
    "G": "物流",
    "H": "餐饮管理",
    "I": "科技",
    "J": "投资",
    "K": "物业",
    "L": "商务服务",
    "M": "检测技术",
}
BROKEN_DATES = ["2026-13-05", "二〇二六年三月五日", "2026/02/30"]


@dataclass
class Generated:
    deliveries: list[Delivery] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    truth: pl.DataFrame | None = None


def months(district: District) -> list[tuple[int, int]]:
    """(year, month) of every filing month whose file arrives within the span generated, oldest first."""
    first, last = date_of(district.first_day), date_of(day_of(district.end))
    found = [(y, m) for y in range(first.year - 1, last.year + 1) for m in range(1, 13)]
    return [(y, m) for y, m in found if district.start < _arrival(district, y, m) <= district.end]


def _arrival(district: District, year: int, month: int) -> int:
    """The moment a month's file arrives: the 19th to the 22nd of the next month, 17:30."""
    following = date(year + month // 12, month % 12 + 1, 19)
    late = int(district.rng("tax", "arrival", year, month).integers(0, 4))
    return at((following - date(1970, 1, 1)).days + late, 17.5)


def generate(district: District, folder: Path) -> Generated:
    """Write all files to `folder` and return what was delivered, planted and true."""
    result, truths = Generated(), []
    folder.mkdir(parents=True, exist_ok=True)
    places = communities(district)
    rng = district.rng("enterprise")
    count = district.scale.enterprises
    pull = np.array([c.population * {"village": 0.7, "mixed": 2.4, "garden": 0.6, "": 60.0}[c.kind] for c in places], dtype=float)
    place = np.sort(rng.choice(len(places), count, p=pull / pull.sum()))
    codes = people.credit_codes(rng, count)
    letters = np.array(list(INDUSTRIES))
    shares = np.array([v[0] for v in INDUSTRIES.values()])
    industry = rng.choice(len(letters), count, p=shares / shares.sum())
    size = rng.normal(0, 1.1, count)
    employees = np.maximum(1, np.array([v[2] for v in INDUSTRIES.values()])[industry] * np.exp(0.8 * size + rng.normal(0, 0.4, count)))
    revenue = np.exp(np.array([v[1] for v in INDUSTRIES.values()])[industry] + size)
    opened = np.where(rng.random(count) < 0.9, -1, rng.integers(0, max(2, district.scale.months), count))
    closed = np.where(rng.random(count) < 0.94, 10_000, rng.integers(0, max(2, district.scale.months), count))
    given = people.names(rng, count).str.slice(0, 2)
    titles = "深圳市演示" + given + pl.Series([TRADES[x] for x in letters])[industry] + "有限公司"
    as_of_date = date_of(district.as_of_day)
    for number, (year, month) in enumerate(months(district)):
        since_as_of = (as_of_date.year - year) * 12 + as_of_date.month - month
        truths.append(
            _month(
                district,
                result,
                folder,
                number,
                year,
                month,
                since_as_of,
                {
                    "place": place,
                    "codes": codes,
                    "industry": letters[industry],
                    "employees": employees,
                    "revenue": revenue,
                    "titles": titles,
                    "active": (opened <= number) & (closed > number) | (opened > closed) & (opened <= number),
                },
            )
        )
    result.truth = pl.concat(truths)
    return result


def _month(
    district: District, result: Generated, folder: Path, number: int, year: int, month: int, since_as_of: int, firm: dict
) -> pl.DataFrame:
    """Write one month's file and its supplement; returns the truth rows, one per row that a reader should keep or supersede."""
    rng = district.rng("tax", year, month)
    active = np.flatnonzero(firm["active"])
    n = len(active)
    arrival = _arrival(district, year, month)
    later = arrival + int(rng.integers(11, 16)) * 86400 - int(1.5 * 3600)
    month_text = f"{year}-{month:02d}"
    season = {1: 0.8, 2: 0.7, 12: 1.25, 11: 1.1, 6: 1.08}.get(month, 1.0) * (1 + 0.004 * number)
    revenue = np.round(firm["revenue"][active] * season * rng.lognormal(0, 0.25, n), 2)
    due = np.round(revenue * np.where(np.isin(firm["industry"][active], ["J", "I"]), 0.045, 0.027), 2)
    paid = np.where(rng.random(n) < 0.965, due, np.round(due * rng.uniform(0, 0.9, n), 2))
    staff = np.maximum(1, np.round(firm["employees"][active] * (1 + 0.002 * number) * rng.lognormal(0, 0.06, n))).astype(np.int64)
    filed = day_of(arrival) - rng.integers(3, 19, n)
    fate = rng.random(n)
    is_late, is_corrected = fate < 0.015, fate > 0.994
    places = communities(district)
    month_end = (date(year + month // 12, month % 12 + 1, 1) - date(1970, 1, 1)).days
    community = codes_on(places, firm["place"][active], np.full(n, month_end))
    frame = pl.DataFrame(
        {
            "i": np.arange(n),
            HEADER[0]: firm["codes"][active],
            HEADER[1]: pl.Series([month_text]).extend_constant(month_text, n - 1),
            HEADER[2]: firm["titles"][active],
            HEADER[3]: pl.Series(community),
            HEADER[4]: pl.Series(firm["industry"][active]),
            HEADER[5]: date_texts(filed),
            HEADER[6]: _money(revenue),
            HEADER[7]: _money(due),
            HEADER[8]: _money(paid),
            HEADER[9]: pl.Series(staff).cast(pl.Utf8),
            HEADER[10]: pl.Series(np.where(is_late, "逾期申报", "按期申报")),
        }
    )
    supplement_filed = day_of(arrival) + rng.integers(2, 9, n)
    corrected_revenue = np.round(revenue * rng.uniform(0.8, 1.3, n), 2)
    corrected_due = np.round(corrected_revenue * 0.03, 2)
    truth = pl.DataFrame(
        {
            "enterprise_code": frame[HEADER[0]],
            "filing_month": frame[HEADER[1]],
            "community_code": frame[HEADER[3]],
            "arrival": np.where(is_late, later, arrival),
            "filed_date": date_texts(np.where(is_late, supplement_filed, filed)),
            "revenue_yuan": revenue,
            "tax_due_yuan": due,
            "tax_paid_yuan": paid,
            "employee_count": pl.Series(staff),
            "is_late": is_late,
            "is_corrected": np.zeros(n, dtype=bool),
            "is_broken": np.zeros(n, dtype=bool),
        }
    )
    main, supplement = frame.filter(pl.Series(~is_late)), frame.filter(pl.Series(is_late | is_corrected))
    # the supplement: late filings as they are, corrected ones with new amounts
    s = supplement["i"].to_numpy()
    corrected = is_corrected[s]
    supplement = supplement.with_columns(
        pl.Series(HEADER[5], date_texts(supplement_filed[s])),
        pl.Series(HEADER[6], _money(np.where(corrected, corrected_revenue[s], revenue[s]))),
        pl.Series(HEADER[7], _money(np.where(corrected, corrected_due[s], due[s]))),
        pl.Series(HEADER[8], _money(np.where(corrected, corrected_due[s], paid[s]))),
        pl.Series(HEADER[10], np.where(corrected, "更正申报", "逾期申报")),
    )
    amended = truth.filter(pl.Series(is_corrected)).with_columns(
        arrival=pl.lit(later, pl.Int64),
        filed_date=date_texts(supplement_filed[is_corrected]),
        revenue_yuan=pl.Series(corrected_revenue[is_corrected]),
        tax_due_yuan=pl.Series(corrected_due[is_corrected]),
        tax_paid_yuan=pl.Series(corrected_due[is_corrected]),
        is_corrected=pl.lit(True),
    )
    name = f"纳税申报_{year}{month:02d}.csv"
    main, broken, repeats = _plant(
        district, result.faults, main, rng, month_text, name, arrival, set(np.flatnonzero(is_corrected).tolist())
    )
    truth = truth.with_columns(is_broken=pl.Series(np.isin(np.arange(n), broken)))
    if since_as_of == 3:
        main = main.rename({RENAMED[0]: RENAMED[1]})
        truth = truth.with_columns(employee_count=pl.when(pl.Series(is_late)).then(pl.col("employee_count")))
        result.faults.append(
            Fault(
                SYSTEM,
                "filing",
                {"file": name},
                "renamed_column",
                "kept",
                arrival,
                note=f"{RENAMED[0]} is called {RENAMED[1]}: employee_count is empty in this file, unless the contract names the synonym",
            )
        )
    if since_as_of == 2:
        main = main.with_columns(pl.lit("无").alias(ADDED))
        result.faults.append(
            Fault(
                SYSTEM,
                "filing",
                {"file": name},
                "added_column",
                "kept",
                arrival,
                note=f"a column {ADDED} that the contract does not know",
            )
        )
    _write(folder / name, pl.concat([main, main.filter(pl.col("i").is_in(repeats))]).drop("i"))
    result.deliveries.append(Delivery(SYSTEM, name, arrival))
    if later <= district.end and len(supplement):
        amended_name = f"纳税申报_{year}{month:02d}_更正.csv"
        _write(folder / amended_name, supplement.drop("i"))
        result.deliveries.append(Delivery(SYSTEM, amended_name, later))
    return pl.concat([truth, amended if later <= district.end else amended.clear()])


def _plant(
    district: District,
    faults: list[Fault],
    main: pl.DataFrame,
    rng: np.random.Generator,
    month: str,
    name: str,
    arrival: int,
    leave: set[int],
) -> tuple[pl.DataFrame, list[int], list[int]]:
    """Break a few rows of one month's file, repeat a few; returns the file, broken and repeated row ids."""
    plans = [
        ("broken_date", "filed_date:type", HEADER[5], BROKEN_DATES[int(rng.integers(0, 3))]),
        ("empty_required", "filed_date:required", HEADER[5], ""),
        ("number_as_science", "community_code:pattern", HEADER[3], "4.40304E+11"),
        ("thousands_separator", "revenue_yuan:type", HEADER[6], "1,234,567.00"),
        ("negative_amount", "revenue_yuan:range", HEADER[6], "-5000.00"),
    ]
    ids = [int(i) for i in rng.permutation(main["i"].to_numpy()) if int(i) not in leave]
    codes = dict(zip(main["i"].to_list(), main[HEADER[0]].to_list(), strict=True))
    broken, take = [], 1
    for kind, rule, column, value in plans:
        for i in ids[take - 1 : take]:
            main = main.with_columns(pl.when(pl.col("i") == i).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))
            faults.append(
                Fault(
                    SYSTEM,
                    "filing",
                    {"enterprise_code": codes[i], "filing_month": month, "file": name},
                    kind,
                    "quarantined",
                    arrival,
                    rule,
                )
            )
            broken.append(i)
        take += 1
    repeats = ids[10:13]
    for i in repeats:
        faults.append(
            Fault(
                SYSTEM,
                "filing",
                {"enterprise_code": codes[i], "filing_month": month, "file": name},
                "exact_repeat",
                "superseded",
                arrival,
            )
        )
    return main, broken, repeats


def _money(values: np.ndarray) -> pl.Series:
    return pl.Series(np.char.mod("%.2f", values))


def _write(path: Path, frame: pl.DataFrame) -> None:
    """CSV with CRLF in GB18030."""
    text = frame.write_csv(line_terminator="\r\n")
    path.write_bytes(text.encode("gb18030"))
