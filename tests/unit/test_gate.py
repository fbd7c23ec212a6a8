"""The parts of the gate that need no Great Expectations run: identifiers, parameters, verdict, import time; and the DuckDB mend."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest

from expectations import duckdb_engine_compat, gate
from expectations.identifiers import has_identity_number, has_mobile_number
from expectations.suites_reader import SuiteError, read_suites
from expectations.verdict import Finding, Verdict
from sources.errors import SscError


def found(condition: str, text: str, column: str = "t") -> bool:
    return duckdb.execute(f'select {condition} from (select ? as "{column}")', [text]).fetchone()[0]  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    [
        "11010519491231002X",  # the example of GB 11643-1999
        "11010519491231002x",
        "440524198001010013",  # the standard's other example, born a century later
        "身份证440304199001010011，电话",
        "ID440304199001010011",
        "440304 19900101 0011",
        "440304-19900101-0011",
        "４４０３０４１９９００１０１００１１",
        "x,440304199001010010,440304199001010011",
        "440304199001010010 440304199001010011",
        '["440304199001010011"]',
        "913201199001010258",  # in a column that is not made for enterprise codes
    ],
)
def test_identity_numbers_are_found(text: str) -> None:
    assert found(has_identity_number("t", latest_birth="2026-10-01"), text)


@pytest.mark.parametrize(
    "text",
    [
        "440304199001010010",  # check character
        "440304199013010019",  # month 13; this and the next three have a right check character
        "440304209001010018",  # born in the future
        "440524188001010014",  # born in 1880: the standard's other example
        "994304199001010012",  # no such region
        "91350100M000100Y43",  # the example of GB 32100-2015
        "914403001922038216",  # an enterprise code of digits alone
        "4403041990010100111",  # 19 digits: a building code
        "440304001000",
        "20260930T160000Z-0123456789ab",
        "",
    ],
)
def test_other_numbers_are_no_identity_numbers(text: str) -> None:
    assert not found(has_identity_number("t", latest_birth="2026-10-01"), text)


def test_an_enterprise_code_is_told_apart_by_its_own_check_character() -> None:
    condition = has_identity_number("enterprise_id", latest_birth="2026-10-01", holds_enterprise_codes=True)
    assert not found(condition, "913201199001010258", "enterprise_id")
    assert found(condition, "440304199001010011", "enterprise_id")


def test_nulls_hold_nothing() -> None:
    for condition in (has_identity_number("t", latest_birth="2026-10-01"), has_mobile_number("t")):
        count = duckdb.execute(f"select count(*) from (select cast(null as varchar) as t) where {condition}").fetchone()
        assert count == (0,)


@pytest.mark.parametrize(
    "text",
    [
        "13800138000",
        "电话13800138000。",
        "+86 138-0013-8000",
        "008613800138000",
        "138 0013 8000",
        "tel.13800138000.",
        "１３８００１３８０００",
    ],
)
def test_mobile_numbers_are_found(text: str) -> None:
    assert found(has_mobile_number("t"), text)


@pytest.mark.parametrize(
    "text",
    [
        "12800138000",
        "1380013800",
        "138001380001",
        "440304001000",
        "[[114.13912345678,22.5]]",
        "13912345678.50",
        "a13912345678f",
        "0755-83001234",
    ],
)
def test_other_numbers_are_no_mobile_numbers(text: str) -> None:
    assert not found(has_mobile_number("t"), text)


def finding(severity: str, passed: bool = False) -> Finding:
    return Finding("privacy", "no_phone", "mart.t", "c", passed, severity, "1 rows", "出现电话", "a phone", "删除", "remove it")


def test_only_a_critical_failure_refuses() -> None:
    assert not Verdict("candidate", "r", [finding("warning"), finding("critical", passed=True)]).refused
    refused = Verdict("candidate", "r", [finding("warning"), finding("critical")])
    assert refused.refused
    zh, en = refused.paragraph().split("\n\n")
    assert "被拒绝" in zh and "出现电话。处理：删除" in zh and "另有 1 项提醒" in zh
    assert "refused" in en and "a phone. Next: remove it" in en
    assert refused.findings[0].where == "mart.t.c"


@pytest.mark.parametrize(("month", "before"), [("2026-10", "2026-09"), ("2026-01", "2025-12")])
def test_month_before(month: str, before: str) -> None:
    assert gate._month_before(month) == before


def test_a_name_personal_in_one_entity_is_personal_everywhere() -> None:
    dictionary = [
        ("grid_code", "gridCode", "none", "有条件"),
        ("grid_code", "gridCode", "personal", "不予"),
        ("fee_yuan", "费用", "none", "不予"),
    ]
    assert gate._names(dictionary, lambda row: row[2] != "none", every=False) == ["gridcode"]
    assert gate._names(dictionary, lambda row: row[3] == "不予", every=True) == ["feeyuan", "费用"]


@pytest.mark.parametrize(
    ("written", "down"),
    [
        ("- {system: waterlogging, since: 2026-09-30}", ["waterlogging"]),
        ("- {system: waterlogging, since: 2026-10-01}", []),  # midnight belongs to the day that ended
        ("- {system: waterlogging, until: 2026-09-29}", []),
        ("- {system: waterlogging}\n- {system: tax_filing, since: 2026-09-01, until: 2026-09-30}", ["tax_filing", "waterlogging"]),
        ("", []),
    ],
)
def test_systems_down(written: str, down: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "down.yml"
    path.write_text(written)
    monkeypatch.setenv("SSC_SYSTEMS_DOWN", str(path))
    assert gate._systems_down(datetime(2026, 9, 30, 16, tzinfo=UTC)) == down


@pytest.mark.parametrize("written", ["- waterlogging", "- {since: 2026-09-30}", "- {system: a, since: soon}", "- {system: [}"])
def test_a_wrong_list_of_systems_says_so(written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "down.yml"
    path.write_text(written)
    monkeypatch.setenv("SSC_SYSTEMS_DOWN", str(path))
    with pytest.raises(SscError, match=r"down\.yml.*Next: write a list"):
        gate._systems_down(datetime(2026, 9, 30, 16, tzinfo=UTC))


def test_no_list_means_nothing_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSC_SYSTEMS_DOWN", str(tmp_path / "none.yml"))
    assert gate._systems_down(datetime(2026, 9, 30, 16, tzinfo=UTC)) == []


def test_a_wrong_suite_names_file_entry_and_mend(tmp_path: Path) -> None:
    (tmp_path / "odd.yml").write_text(
        "suite: other\nphases: [soon]\ndatabases: [marts]\nexpectations:\n- {name: a, type: b, severity: fatal, tabel: c}\n"
    )
    with pytest.raises(SuiteError) as error:
        read_suites(tmp_path)
    for part in ("odd.yml", "'odd'", "phase 'soon'", "unknown key 'tabel'", "not 'fatal'", "'title_zh'", "a table or for_each"):
        assert part in str(error.value)


def test_importing_the_gate_is_quick_and_does_not_import_great_expectations() -> None:
    code = (
        "import time, sys; t = time.perf_counter(); import expectations.gate; seconds = time.perf_counter() - t\n"
        "assert 'great_expectations' not in sys.modules and 'duckdb' not in sys.modules\n"
        "import os; assert os.environ['GX_ANALYTICS_ENABLED'] == 'false'\nprint(seconds)"
    )
    best = min(
        float(
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(gate.__file__).parents[1]
            ).stdout
        )
        for _ in range(3)
    )
    assert best < 0.3


def test_great_expectations_still_needs_the_mend(tmp_path: Path) -> None:
    """Fails when an upgrade mends it: then expectations/duckdb_engine_compat.py goes."""
    with duckdb.connect(str(tmp_path / "t.duckdb")) as connection:
        connection.execute("create table t as select 1 as a")
    code = f"""
import os; os.environ["GX_ANALYTICS_ENABLED"] = "false"
import sqlalchemy
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
def rows():
    engine = SqlAlchemyExecutionEngine(connection_string="duckdb:///{tmp_path}/t.duckdb")
    return engine.execute_query(sqlalchemy.text("select a from t")).fetchall()
try:
    print("unmended", rows())
except Exception as error:
    print("unmended", type(error).__name__)
from expectations import duckdb_engine_compat
duckdb_engine_compat.apply(); duckdb_engine_compat.apply()
print("mended", rows())
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(gate.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "mended [(1,)]" in done.stdout.splitlines(), done.stderr
    assert "unmended [(1,)]" not in done.stdout, "Great Expectations fetches first now: remove the mend"


def test_an_untried_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_engine_compat, "version", lambda _: "2.0.0")
    with pytest.raises(SscError, match=r"2\.0\.0"):
        duckdb_engine_compat.apply()


def test_moments_are_utc() -> None:
    assert gate._moment(datetime(2026, 10, 1)) == datetime(2026, 10, 1, tzinfo=UTC)
    assert gate._moment(date(2026, 10, 1)) is None
